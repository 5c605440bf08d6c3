//! The exchange: what is asked, what is believed, and what the agent hears when it fails.

use std::time::Duration;

use obo_gateway::demo::authorization_server::{Endpoint, Fault, MAIL_AUDIENCE, Settings};
use obo_gateway::demo::certificates::DevelopmentCertificates;
use obo_gateway::demo::script::Reply;
use reqwest::Method;
use serde_json::{Value, json};

use crate::bed::{Parts, Setup, TOOLS, TestBed, assert_refused, refusal};

#[tokio::test]
async fn a_client_certificate_proves_the_gateway() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificates = DevelopmentCertificates::ensure(folder.path()).expect("certificates");
    let client = certificates.client;
    let registered = client.certificate.to_vec();
    let bed = Setup::default()
        .server(move |settings: &mut Settings| settings.gateway.certificates = vec![registered])
        .config(move |parts| {
            let secret = format!("client_auth: {{ secret_file: {} }}", parts.folder.join("secret").display());
            let certificate = format!(
                "client_auth: {{ certificate: {}, key: {} }}",
                client.certificate_path.display(),
                client.key_path.display()
            );
            parts.whole(&parts.issuer().replace(&secret, &certificate), &parts.mail(TOOLS))
        })
        .start()
        .await;
    for who in ["ada", "bob"] {
        bed.get("/mail/me/messages", &bed.token(who)).await;
    }
    let exchanges = bed.authorization_server.exchanges();
    assert!(
        exchanges.len() == 2 && exchanges.iter().all(|exchange| exchange.error.is_none()),
        "{exchanges:?}"
    );
    assert!(exchanges[0].parameter("client_secret").is_none());
    assert_ne!(exchanges[0].parameter("client_assertion"), exchanges[1].parameter("client_assertion"));
}

#[tokio::test]
async fn the_secret_goes_into_the_form_or_the_header() {
    for (method, in_form) in [("post", true), ("basic", false)] {
        let bed = Setup::default()
            .config(move |parts| {
                let path = parts.folder.join("secret").display().to_string();
                let issuer = parts.issuer().replace(&path, &format!("{path}, method: {method}"));
                parts.whole(&issuer, &parts.mail(TOOLS))
            })
            .start()
            .await;
        assert_eq!(bed.get("/mail/me/messages", &bed.token("ada")).await.status(), 200);
        let exchange = &bed.authorization_server.exchanges()[0];
        assert_eq!(exchange.parameter("client_secret").is_some(), in_form);
        assert_eq!(exchange.header_names().contains(&"authorization"), !in_form);
    }
}

#[tokio::test]
async fn a_token_of_the_platform_is_read_for_each_request() {
    let bed = Setup::default()
        .server(|settings: &mut Settings| {
            settings.gateway.workload_tokens = vec!["first-token".to_owned(), "second-token".to_owned()];
        })
        .config(|parts| {
            let file = parts.folder.join("platform-token");
            std::fs::write(&file, "first-token\n").expect("written");
            let secret = format!("secret_file: {}", parts.folder.join("secret").display());
            let issuer = parts.issuer().replace(&secret, &format!("token_file: {}", file.display()));
            parts.whole(&issuer, &parts.mail(TOOLS))
        })
        .start()
        .await;
    assert_eq!(bed.get("/mail/me/messages", &bed.token("ada")).await.status(), 200);
    std::fs::write(bed.folder.path().join("platform-token"), "second-token").expect("written");
    assert_eq!(bed.get("/mail/me/messages", &bed.token("bob")).await.status(), 200);
    let exchanges = bed.authorization_server.exchanges();
    let sent: Vec<_> = exchanges.iter().map(|exchange| exchange.parameter("client_assertion")).collect();
    assert_eq!(sent, [Some("first-token"), Some("second-token")]);
    std::fs::remove_file(bed.folder.path().join("platform-token")).expect("removed");
    let token = bed.authorization_server.subject_token("ada").agent("another-agent").mint();
    let refused = refusal(bed.get("/mail/me/messages", &token).await).await;
    assert_refused(&refused, 500, "exchange_misconfigured");
    assert!(
        refused.2["detail"].as_str().is_some_and(|detail| detail.contains("token_file")),
        "{:#}",
        refused.2
    );
}

#[tokio::test]
async fn the_gateways_own_token_says_who_acts() {
    let bed = Setup::default()
        .config(|parts| {
            let connector = format!("    audience: {MAIL_AUDIENCE}\n    scopes: [Mail.Read]\n");
            let target = format!(
                "audience\n      actor_token: gateway\n      actor_scopes: ['{MAIL_AUDIENCE}/.default']"
            );
            token_exchange(parts, &target, &connector)
        })
        .start()
        .await;
    for who in ["ada", "bob"] {
        assert_eq!(bed.get("/mail/me/messages", &bed.token(who)).await.status(), 200);
    }
    let own = bed.authorization_server.issued_to_application();
    assert_eq!(own.len(), 1, "it is kept while it lives");
    let exchanges = bed.authorization_server.exchanges();
    let sent: Vec<_> = exchanges.iter().filter_map(|exchange| exchange.parameter("actor_token")).collect();
    assert_eq!(sent, [own[0].as_str(), own[0].as_str()]);
}

pub fn token_exchange(parts: &Parts<'_>, target: &str, connector: &str) -> String {
    let issuer = parts.issuer().replace("kind: entra", "kind: oidc");
    let tenant = format!("    tenant: {}\n", parts.authorization_server.settings().tenant);
    let issuer = issuer
        .replace(&tenant, "")
        .replace("grant: on_behalf_of", &format!("grant: token_exchange\n      target: {target}"));
    let mail = parts.mail("").replace(&format!("    audience: {MAIL_AUDIENCE}\n"), "");
    parts.whole(&issuer, &format!("{mail}{connector}"))
}

#[tokio::test]
async fn rfc_8693_names_its_target_as_configured() {
    for (target, connector, parameter) in [
        ("audience", format!("    audience: {MAIL_AUDIENCE}\n    scopes: [Mail.Read]\n"), Some("audience")),
        ("resource", format!("    resource: {MAIL_AUDIENCE}\n    scopes: [Mail.Read]\n"), Some("resource")),
        ("scope", format!("    scopes: ['{MAIL_AUDIENCE}/Mail.Read']\n"), None),
    ] {
        let bed =
            Setup::default().config(move |parts| token_exchange(parts, target, &connector)).start().await;
        let reply = bed.get("/mail/me/messages", &bed.token("ada")).await;
        assert_eq!(reply.status(), 200, "{target}: {:?}", reply.text().await);
        let exchange = &bed.authorization_server.exchanges()[0];
        assert_eq!(exchange.parameter("grant_type"), Some("urn:ietf:params:oauth:grant-type:token-exchange"));
        for name in ["audience", "resource"] {
            assert_eq!(exchange.parameter(name).is_some(), parameter == Some(name), "{target}");
        }
        assert_eq!(bed.connector.only_request().bearer(), bed.authorization_server.last_issued());
    }
}

#[tokio::test]
async fn missing_consent_is_answered_with_the_link_to_the_consent_page() {
    let bed = TestBed::start().await;
    let send = || async {
        let message = json!({"message": {"subject": "Hi", "toRecipients": [{"emailAddress": {"address": "bob@demo.test"}}]}});
        let request =
            bed.request(Method::POST, "/mail/me/sendMail").bearer_auth(bed.token("ada")).json(&message);
        request.send().await.expect("an answer")
    };
    let refused = refusal(send().await).await;
    assert_refused(&refused, 403, "consent_required");
    assert_eq!(refused.2["fault"], "user");
    assert!(refused.2["issuer_correlation_id"].is_string());
    let link = refused.2["consent_url"].as_str().expect("a link");
    assert!(link.starts_with(&bed.authorization_server.authorization_endpoint()), "{link}");
    for part in
        ["prompt=consent", "Mail.Send", bed.authorization_server.settings().gateway.client_id.as_str()]
    {
        assert!(link.contains(part), "{link}");
    }
    let page = crate::bed::client().get(link).send().await.expect("a page");
    assert_eq!(page.status(), 200);
    // What agreeing on that page does.
    bed.authorization_server.grant_consent("ada", MAIL_AUDIENCE, "Mail.Send");
    assert_eq!(send().await.status(), 202);
}

#[tokio::test]
async fn each_refusal_of_the_authorization_server_has_its_answer() {
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let entra = |error: &str, code: u64| {
        Reply::json(400, &json!({"error": error, "error_codes": [code], "correlation_id": "c-1"}))
    };
    for (reply, status, code) in [
        (entra("invalid_grant", 90094), 403, "admin_consent_required"),
        (entra("invalid_grant", 500_133), 401, "subject_token_rejected"),
        (entra("invalid_grant", 50173), 401, "sign_in_required"),
        (entra("invalid_grant", 50105), 403, "access_blocked"),
        (entra("invalid_grant", 50196), 503, "issuer_throttled"),
        (entra("invalid_client", 7_000_215), 500, "exchange_misconfigured"),
        (Reply::too_many_requests(9), 503, "issuer_throttled"),
        (Reply::status(503), 503, "issuer_unavailable"),
        (Reply::reset(), 503, "issuer_unavailable"),
        (
            Reply::json(200, &json!({"access_token": "a\r\nb", "token_type": "Bearer"})),
            502,
            "issuer_answer_invalid",
        ),
        (Reply::json(200, &json!({"access_token": "a", "token_type": "mac"})), 502, "issuer_answer_invalid"),
        (Reply::json(200, &json!({"error": "invalid_grant"})), 502, "issuer_answer_invalid"),
        (Reply::json(200, &json!([])), 502, "issuer_answer_invalid"),
        (Reply::status(302).header("location", "http://127.0.0.1:1/"), 500, "exchange_misconfigured"),
        (Reply::json(400, &json!({"error": "invalid_grant", "claims": claims})), 401, "step_up_required"),
    ] {
        // What fails for a passing reason is tried again, and the next one finds a server that is left alone.
        let bed = TestBed::start().await;
        bed.authorization_server.script(Endpoint::Token).always(reply);
        let token = bed.authorization_server.subject_token("ada").claim("xms_cc", vec!["cp1"]).mint();
        let reply = bed.get("/mail/me/messages", &token).await;
        let challenge =
            reply.headers().get("www-authenticate").map(|value| value.to_str().expect("text").to_owned());
        let retry_after = reply.headers().get("retry-after").cloned();
        let refused = refusal(reply).await;
        assert_refused(&refused, status, code);
        assert_eq!(status == 401, challenge.is_some(), "{code}: {challenge:?}");
        assert_eq!(status == 503, retry_after.is_some(), "{code}: {retry_after:?}");
        let attempts = if code == "issuer_unavailable" { 3 } else { 1 };
        assert_eq!(bed.authorization_server.fetches(Endpoint::Token), attempts, "{code}");
        assert!(bed.connector.requests().is_empty(), "nothing goes out without a delegated token");
        if code == "step_up_required" {
            use base64::Engine as _;
            let encoded = base64::engine::general_purpose::STANDARD.encode(claims);
            let challenge = challenge.expect("a challenge");
            assert!(
                challenge.contains(r#"error="insufficient_claims""#) && challenge.contains(&encoded),
                "{challenge}"
            );
            assert_eq!(refused.2["claims"], claims);
        }
    }
    // An agent that did not say that it can act on claims gets none: it would repeat the call for ever.
    let bed = TestBed::start().await;
    let demand = Reply::json(400, &json!({"error": "invalid_grant", "claims": claims}));
    bed.authorization_server.script(Endpoint::Token).once(demand);
    let reply = bed.get("/mail/me/messages", &bed.token("ada")).await;
    assert!(!reply.headers().contains_key("www-authenticate"));
    let refused = refusal(reply).await;
    assert_refused(&refused, 403, "step_up_required");
    assert!(refused.2.get("claims").is_none());
    assert_eq!(
        bed.get("/mail/me/messages", &bed.token("ada")).await.status(),
        200,
        "another token is another matter"
    );
}

#[tokio::test]
async fn an_administrators_consent_has_a_page_of_its_own() {
    let bed = TestBed::start().await;
    bed.authorization_server
        .refuse_exchanges("ada", Fault::coded("invalid_grant", 90094, "An administrator has to agree"));
    let refused = refusal(bed.get("/mail/me/messages", &bed.token("ada")).await).await;
    assert_refused(&refused, 403, "admin_consent_required");
    let link = refused.2["consent_url"].as_str().expect("a link");
    assert!(link.contains("/v2.0/adminconsent?") && !link.contains("/oauth2/"), "{link}");
}

#[tokio::test]
async fn the_exchange_never_follows_a_redirect() {
    let bed = TestBed::start().await;
    let elsewhere = bed.connector.origin().to_owned();
    bed.authorization_server.script(Endpoint::Token).always(Reply::status(307).header("location", elsewhere));
    let refused = refusal(bed.get("/mail/me/messages", &bed.token("ada")).await).await;
    assert_refused(&refused, 500, "exchange_misconfigured");
    assert!(bed.connector.requests().is_empty(), "the client's secret went elsewhere");
}

#[tokio::test]
async fn many_callers_on_one_cold_key_make_one_exchange() {
    let bed = TestBed::start().await;
    bed.authorization_server.script(Endpoint::Token).once(Reply::normal().after(Duration::from_millis(300)));
    let token = bed.token("ada");
    let calls: Vec<_> =
        (0..100).map(|_| bed.request(Method::GET, "/mail/me/messages").bearer_auth(&token).send()).collect();
    let calls: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
    for call in calls {
        assert_eq!(call.await.expect("no panic").expect("an answer").status(), 200);
    }
    assert_eq!(bed.exchanges(), 1);
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_cancel_the_exchange() {
    let bed = TestBed::start().await;
    bed.authorization_server.script(Endpoint::Token).once(Reply::normal().after(Duration::from_millis(300)));
    let token = bed.token("ada");
    let hasty =
        bed.request(Method::GET, "/mail/me/messages").bearer_auth(&token).timeout(Duration::from_millis(100));
    assert!(hasty.send().await.expect_err("gone before the exchange is over").is_timeout());
    assert_eq!(bed.get("/mail/me/messages", &token).await.status(), 200);
    assert_eq!(bed.exchanges(), 1);
    assert_eq!(bed.outcomes(2).await, ["agent_left", "answered"]);
}

#[tokio::test]
async fn a_token_is_reused_only_within_its_stated_lifetime() {
    let bed = TestBed::start().await;
    // It knows no such token, and takes it all the same.
    bed.connector.script().always(Reply::status(204));
    let issued = json!({"access_token": "opaque", "token_type": "Bearer"});
    for (lifetime, exchanges) in [(Value::Null, 2), (json!(20), 2), (json!(300), 1), (json!("300"), 1)] {
        let mut answer = issued.clone();
        answer["expires_in"] = lifetime.clone();
        bed.authorization_server.script(Endpoint::Token).clear().always(Reply::json(200, &answer));
        let before = bed.authorization_server.fetches(Endpoint::Token);
        let token = bed.authorization_server.subject_token("ada").agent(&format!("agent-{lifetime}")).mint();
        for _ in 0..2 {
            assert_eq!(bed.get("/mail/me/messages", &token).await.status(), 204);
        }
        assert_eq!(bed.authorization_server.fetches(Endpoint::Token) - before, exchanges, "{lifetime}");
    }
}

#[tokio::test]
async fn a_connectors_401_does_not_send_the_agent_to_another_server() {
    let bed = TestBed::start().await;
    bed.connector.script().once(
        Reply::status(401).header("www-authenticate", "Bearer authorization_uri=\"https://evil.example\""),
    );
    let reply = bed.get("/mail/me/messages", &bed.token("ada")).await;
    assert_eq!(reply.status(), 401);
    assert_eq!(reply.headers()["www-authenticate"], r#"Bearer realm="obo-gateway""#);
}

#[tokio::test]
async fn an_authorization_server_that_hangs_is_given_up_in_time() {
    let bed = TestBed::start().await;
    assert_eq!(bed.get("/mail/me/messages", &bed.token("ada")).await.status(), 200);
    bed.authorization_server.script(Endpoint::Token).always(Reply::hang());
    let started = std::time::Instant::now();
    let hanging =
        tokio::spawn(bed.request(Method::GET, "/mail/me/messages").bearer_auth(bed.token("bob")).send());
    assert_eq!(bed.get("/mail/me/messages", &bed.token("ada")).await.status(), 200, "others notice nothing");
    let refused = refusal(hanging.await.expect("no panic").expect("an answer")).await;
    assert_refused(&refused, 504, "issuer_timeout");
    assert!(started.elapsed() < Duration::from_secs(15), "waited {:?}", started.elapsed());
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let bed = TestBed::start().await;
    bed.authorization_server
        .script(Endpoint::Token)
        .once(Reply::status(200).body(vec![b' '; 65_536]).endless());
    let refused = refusal(bed.get("/mail/me/messages", &bed.token("ada")).await).await;
    assert_refused(&refused, 502, "issuer_answer_invalid");
    assert!(refused.2["detail"].as_str().is_some_and(|detail| detail.contains("too large")), "{}", refused.2);
}

#[tokio::test]
async fn a_token_that_may_less_does_not_get_what_one_that_may_more_obtained() {
    let bed = TestBed::start().await;
    for scopes in ["access_as_user more", "access_as_user", "more access_as_user"] {
        let token = bed.authorization_server.subject_token("ada").scopes(scopes).mint();
        assert_eq!(bed.get("/mail/me/messages", &token).await.status(), 200);
    }
    assert_eq!(bed.exchanges(), 2);
}

#[tokio::test]
async fn a_token_for_somebody_else_is_never_used() {
    let bed = TestBed::start().await;
    // The token that the authorization server issued for Bob, given out as if it were Ada's.
    assert_eq!(bed.get("/mail/me/messages", &bed.token("bob")).await.status(), 200);
    let bobs = bed.authorization_server.last_issued().expect("a token");
    let answer = json!({"access_token": bobs, "token_type": "Bearer", "expires_in": 300});
    bed.authorization_server.script(Endpoint::Token).once(Reply::json(200, &answer));
    let refused = refusal(bed.get("/mail/me/messages", &bed.token("ada")).await).await;
    assert_refused(&refused, 502, "issuer_answer_invalid");
    assert_eq!(bed.connector.requests().len(), 1);
}

#[tokio::test]
async fn more_scopes_than_were_asked_for_are_recorded_or_refused_as_the_site_wants_it() {
    for (setting, status) in [("allow", 200), ("refuse", 500)] {
        let bed = Setup::default()
            .config(move |parts| {
                let connector = format!("    audience: {MAIL_AUDIENCE}\n    scopes: [Mail.Read]\n");
                token_exchange(parts, &format!("audience\n      more_scopes: {setting}"), &connector)
            })
            .start()
            .await;
        assert_eq!(bed.get("/mail/me/messages", &bed.token("ada")).await.status(), 200);
        let answer = json!({
            "access_token": bed.authorization_server.last_issued(), "token_type": "Bearer", "expires_in": 300,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "scope": "Mail.Read Mail.Send",
        });
        bed.authorization_server.script(Endpoint::Token).once(Reply::json(200, &answer));
        let token = bed.authorization_server.subject_token("ada").agent("another-agent").mint();
        let reply = bed.get("/mail/me/messages", &token).await;
        assert_eq!(reply.status(), status, "{setting}");
        if status == 500 {
            let refused = refusal(reply).await;
            assert_refused(&refused, 500, "exchange_misconfigured");
            assert!(refused.2["detail"].as_str().is_some_and(|detail| detail.ends_with(": Mail.Send")));
            continue;
        }
        let records = bed.records().await;
        let granted =
            records[1].pointer("/unmapped/obo/scopes_granted").expect("what was granted").to_string();
        assert!(granted.contains("Mail.Send"), "{granted}");
    }
}

#[tokio::test]
async fn fewer_scopes_than_the_tool_needs_are_a_refusal_that_names_them() {
    let bed = TestBed::start().await;
    let answer =
        json!({"access_token": "t", "token_type": "Bearer", "expires_in": 300, "scope": "User.Read"});
    bed.authorization_server.script(Endpoint::Token).once(Reply::json(200, &answer));
    let refused = refusal(bed.get("/mail/me/messages", &bed.token("ada")).await).await;
    assert_refused(&refused, 403, "scope_not_granted");
    assert_eq!(refused.2["required_scopes"], json!(["https://graph.demo.test/Mail.Read"]));
    assert!(bed.connector.requests().is_empty());
}

#[tokio::test]
async fn a_passing_fault_is_tried_again_and_a_lasting_one_opens_the_circuit() {
    let bed = TestBed::start().await;
    let retries = r#"obo_gateway_exchange_retries_total{issuer="contoso"}"#;
    assert_eq!(bed.metric(retries).await, Some(0.0), "from the start");
    let token = bed.authorization_server.script(Endpoint::Token);
    token.once(Reply::status(503)).once(Reply::reset());
    assert_eq!(bed.get("/mail/me/messages", &bed.token("ada")).await.status(), 200);
    assert_eq!(bed.metric(retries).await, Some(2.0));
    token.always(Reply::status(503));
    for _ in 0..2 {
        let refused = refusal(bed.get("/mail/me/messages", &bed.token("bob")).await).await;
        assert_refused(&refused, 503, "issuer_unavailable");
    }
    let asked = bed.authorization_server.fetches(Endpoint::Token);
    let refused = refusal(bed.get("/mail/me/messages", &bed.token("bob")).await).await;
    assert_refused(&refused, 503, "issuer_unavailable");
    assert_eq!(bed.authorization_server.fetches(Endpoint::Token), asked, "it is left alone");
    assert_eq!(bed.metric(r#"obo_gateway_issuer_circuit_open{issuer="contoso"}"#).await, Some(1.0));
    assert_eq!(
        bed.get("/mail/me/messages", &bed.token("ada")).await.status(),
        200,
        "what is kept needs no exchange"
    );
}

#[tokio::test]
async fn throttling_is_obeyed() {
    let bed = TestBed::start().await;
    bed.authorization_server.script(Endpoint::Token).once(Reply::too_many_requests(60));
    for who in ["ada", "bob"] {
        let reply = bed.get("/mail/me/messages", &bed.token(who)).await;
        let wait: u64 = reply.headers()["retry-after"].to_str().expect("text").parse().expect("seconds");
        assert!((50..=60).contains(&wait), "{wait}");
        assert_refused(&refusal(reply).await, 503, "issuer_throttled");
    }
    assert_eq!(bed.authorization_server.fetches(Endpoint::Token), 1);

    // Entra's loop detection is about one request, and says nothing about anybody else's.
    let bed = TestBed::start().await;
    let token = bed.token("ada");
    bed.authorization_server.refuse_exchanges("ada", Fault::loop_detected());
    for _ in 0..2 {
        assert_refused(&refusal(bed.get("/mail/me/messages", &token).await).await, 503, "issuer_throttled");
    }
    assert_eq!(bed.exchanges(), 1);
    assert_eq!(bed.get("/mail/me/messages", &bed.token("bob")).await.status(), 200);
}
