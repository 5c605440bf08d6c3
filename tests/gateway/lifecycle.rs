//! Start, readiness, reload and drain.

use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::Method;

use crate::bed::{ANYTHING, Setup, TestBed, assert_refused, refusal};

#[tokio::test]
async fn the_admin_port_says_how_it_is() {
    let bed = TestBed::start().await;
    assert_eq!(bed.admin("/healthz").await, (200, "ok\n".to_owned()));
    let (status, body) = bed.admin("/readyz").await;
    assert_eq!(status, 200);
    assert_eq!(
        body,
        r#"{"ready":true,"draining":false,"audit_writable":true,"issuers":{"contoso":true},"open_circuits":[]}"#
    );
    assert_eq!(bed.admin("/mail/me/messages").await.0, 404);
    let foreign = crate::bed::client()
        .get(format!("http://{}/metrics", bed.gateway.admin_address()))
        .header("host", "rebound.example");
    assert_eq!(foreign.send().await.expect("an answer").status(), 421);
}

#[tokio::test]
async fn each_metric_is_there_and_counts() {
    let bed = TestBed::start().await;
    for _ in 0..2 {
        bed.get("/mail/me/messages", &bed.token("ada")).await.bytes().await.expect("a body");
    }
    bed.get("/mail/me/messages", "garbage").await;
    bed.gateway.audit().flush().await;
    for (series, value) in [
        (
            r#"obo_gateway_requests_total{connector="mail",identity="on_behalf_of",outcome="answered",tool="list_messages"}"#,
            2.0,
        ),
        (r#"obo_gateway_request_duration_seconds_count{connector="mail"}"#, 3.0),
        (r#"obo_gateway_added_latency_seconds_count{connector="mail"}"#, 2.0),
        (r#"obo_gateway_authentication_failures_total{reason="token_malformed"}"#, 1.0),
        (r#"obo_gateway_exchanges_total{issuer="contoso",outcome="issued"}"#, 1.0),
        (r#"obo_gateway_exchange_duration_seconds_count{issuer="contoso"}"#, 1.0),
        (r#"obo_gateway_credential_cache_lookups_total{result="hit"}"#, 1.0),
        (r#"obo_gateway_credential_cache_lookups_total{result="miss"}"#, 1.0),
        (r#"obo_gateway_key_set_refreshes_total{issuer="contoso",result="changed"}"#, 1.0),
        (r#"obo_gateway_issuer_ready{issuer="contoso"}"#, 1.0),
        ("obo_gateway_config_last_reload_success", 1.0),
        ("obo_gateway_credential_cache_entries", 1.0),
        ("obo_gateway_calls_in_progress", 0.0),
        // The start is marked, and the exchange has a record of its own.
        ("obo_gateway_audit_records_total", 5.0),
        ("obo_gateway_audit_write_failures_total", 0.0),
        (concat!("obo_gateway_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
    ] {
        assert_eq!(bed.metric(series).await, Some(value), "{series}");
    }
    assert!(bed.metric("obo_gateway_open_connections").await >= Some(1.0));
}

#[tokio::test]
async fn a_good_configuration_is_swapped_in_whole() {
    let bed = TestBed::start().await;
    let token = bed.token("ada");
    assert_eq!(bed.get("/mail/me/messages", &token).await.status(), 200);
    let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    std::fs::write(bed.config_path(), text.replace("path: /mail", "path: /post")).expect("written");
    bed.gateway.reload().await.expect("a good configuration");
    assert_refused(&refusal(bed.get("/mail/me/messages", &token).await).await, 404, "connector_unknown");
    assert_eq!(bed.get("/post/me/messages", &token).await.status(), 200);
    assert_eq!(bed.exchanges(), 1, "the settings of the exchange are the same, so its tokens still serve");
}

#[tokio::test]
async fn a_bad_configuration_is_refused_and_the_old_one_serves_on() {
    let bed = TestBed::start().await;
    let token = bed.token("ada");
    let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    for bad in [
        text.replace("path: /mail", "paht: /mail"),
        text.replace("admin: 127.0.0.1:0", "admin: 127.0.0.1:9"),
        "not: [a, configuration".to_owned(),
        String::new(),
    ] {
        std::fs::write(bed.config_path(), bad).expect("written");
        bed.gateway.reload().await.expect_err("a bad configuration");
        assert_eq!(bed.metric("obo_gateway_config_last_reload_success").await, Some(0.0));
        assert_eq!(bed.get("/mail/me/messages", &token).await.status(), 200);
    }
    std::fs::write(bed.config_path(), text).expect("written");
    bed.gateway.reload().await.expect("the good configuration");
    assert_eq!(bed.metric("obo_gateway_config_last_reload_success").await, Some(1.0));
}

#[tokio::test]
async fn a_trail_that_is_come_back_to_keeps_its_instance_until_a_restart() {
    // What happened: the trail went on under the name that it had, and its checkpoints were signed under the new one.
    let bed = TestBed::start().await;
    let config = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    std::fs::write(bed.config_path(), config.replace("audit.jsonl", "other.jsonl")).expect("written");
    bed.gateway.reload().await.expect("another trail");
    let renamed = config.replace("audit: {", "audit: { instance: another-one,");
    assert_ne!(renamed, config);
    std::fs::write(bed.config_path(), renamed).expect("written");
    let refused = bed.gateway.reload().await.expect_err("another name");
    assert!(refused.to_string().contains("`audit.instance` has changed"), "{refused}");
    std::fs::write(bed.config_path(), config).expect("written");
    bed.gateway.reload().await.expect("the first trail");
}

#[tokio::test]
async fn a_reload_keeps_keys_while_the_issuer_is_away() {
    let bed = TestBed::start().await;
    assert_eq!(bed.get("/mail/me/messages", &bed.token("ada")).await.status(), 200);
    bed.authorization_server.stop_listening().await;
    bed.gateway.reload().await.expect("the same configuration");
    assert_eq!(
        bed.get("/mail/me/messages", &bed.token("ada")).await.status(),
        200,
        "keys and token are still known"
    );
}

#[tokio::test]
async fn reloads_under_load_fail_no_call() {
    let bed = TestBed::start().await;
    let token = bed.token("ada");
    assert_eq!(bed.get("/mail/me/messages", &token).await.status(), 200);
    let (url, client) = (bed.url("/mail/me/messages"), crate::bed::client());
    let load = tokio::spawn(async move {
        let mut statuses = Vec::new();
        for _ in 0..200 {
            let reply = client.get(&url).bearer_auth(&token).send().await.expect("an answer");
            statuses.push(reply.status().as_u16());
        }
        statuses
    });
    for _ in 0..20 {
        bed.gateway.reload().await.expect("the same configuration");
    }
    let statuses = load.await.expect("no panic");
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(bed.records().await.len(), 201);
}

#[tokio::test]
async fn draining_finishes_what_runs_and_takes_nothing_new() {
    let bed = Setup::default().tools(ANYTHING).start().await;
    let token = bed.token("ada");
    let running = bed.get("/mail/events?count=5&every_ms=150", &token).await;
    let mut events = running.bytes_stream();
    events.next().await.expect("an event").expect("an event");
    let (ready, refused, rest, cut) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            bed.admin("/readyz").await.0
        },
        async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            crate::bed::client().get(bed.url("/mail/me")).bearer_auth(&token).send().await.is_err()
        },
        async { events.filter_map(async |event| event.ok()).count().await },
        bed.gateway.drain(),
    );
    assert_eq!(ready, 503);
    assert!(refused, "a new connection was taken");
    assert!(rest >= 4, "the running call was cut after {rest} more events");
    assert_eq!(cut, 0);
    let trail = std::fs::read_to_string(bed.audit_path()).expect("a trail");
    assert!(trail.contains(r#""outcome":"answered""#), "{trail}");
}

#[tokio::test]
async fn what_outlasts_the_drain_is_cut_and_recorded() {
    let bed = Setup::default().tools(ANYTHING).start().await;
    let endless = bed.get("/mail/events?count=1000&every_ms=100", &bed.token("ada")).await;
    let mut events = endless.bytes_stream();
    events.next().await.expect("an event").expect("an event");
    assert_eq!(bed.gateway.drain().await, 1, "the deadline of the configuration is two seconds");
    assert_eq!(bed.outcomes(1).await, ["gateway_stopped"]);
}

#[tokio::test]
async fn the_public_port_has_no_admin_endpoints() {
    let bed = TestBed::start().await;
    for path in ["/metrics", "/healthz", "/readyz"] {
        let probe = bed.request(Method::GET, path).header("user-agent", "kube-probe/1.30");
        assert_refused(&refusal(probe.send().await.expect("an answer")).await, 404, "connector_unknown");
    }
}

#[tokio::test]
async fn a_new_client_secret_is_taken_by_a_reload() {
    let bed = TestBed::start().await;
    let (path, good) =
        (bed.folder.path().join("secret"), &bed.authorization_server.settings().gateway.secret);
    std::fs::write(&path, "one that the server does not take any more").expect("written");
    bed.gateway.reload().await.expect("a good configuration");
    let refused = refusal(bed.get("/mail/me/messages", &bed.token("ada")).await).await;
    assert_refused(&refused, 500, "exchange_misconfigured");
    std::fs::write(&path, good).expect("written");
    bed.gateway.reload().await.expect("a good configuration");
    assert_eq!(bed.get("/mail/me/messages", &bed.token("ada")).await.status(), 200);
}
