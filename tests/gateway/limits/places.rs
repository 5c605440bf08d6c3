//! Calls at a time: who waits, who is refused at once, and when a place is free again.

use std::time::{Duration, Instant};

use obo_gateway::demo::authorization_server::Endpoint;
use obo_gateway::demo::notes::CountEnd;
use obo_gateway::demo::script::Reply;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{bed, get, reload};
use crate::bed::{ANYTHING, PATIENT, Setup, TestBed, assert_refused, refusal};
use crate::mcp::bed::{McpBed, request};

fn call(bed: &TestBed, who: &str) -> RequestBuilder {
    bed.request(Method::GET, "/mail/me/messages").bearer_auth(bed.token(who))
}

/// A call that goes on by itself.
fn sent(call: RequestBuilder) -> JoinHandle<Response> {
    tokio::spawn(async move { call.send().await.expect("an answer") })
}

/// Waits until a gauge of a connector has this value.
async fn until(bed: &TestBed, connector: &str, gauge: &str, value: f64) {
    let series = format!("obo_gateway_connector_{gauge}{{connector=\"{connector}\"}}");
    for _ in 0..1_000 {
        if bed.metric(&series).await == Some(value) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came about: {series} {value}, but {:?}", bed.metric(&series).await);
}

/// A call that the connector keeps under way until it is released.
async fn held(bed: &TestBed) -> (JoinHandle<Response>, CancellationToken) {
    let release = CancellationToken::new();
    bed.connector.script().once(Reply::normal().held_until(release.clone()));
    let held = sent(call(bed, "ada"));
    until(bed, "mail", "calls_in_progress", 1.0).await;
    while bed.connector.in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (held, release)
}

fn queue(record: &Value) -> &Value {
    &record["unmapped"]["obo"]["queue"]
}

#[tokio::test]
async fn calls_wait_for_a_place_and_beyond_that_are_refused_at_once() {
    let bed = bed("{ concurrent: 1, queue: 1, queue_timeout: 1h }").await;
    let (held, release) = held(&bed).await;
    let waiting = sent(call(&bed, "ada"));
    until(&bed, "mail", "queue_entries", 1.0).await;
    let began = Instant::now();
    let answer = get(&bed, "bob").await;
    assert_eq!(answer.headers()["retry-after"], "1");
    let refused = refusal(answer).await;
    assert_refused(&refused, 503, "connector_busy");
    assert!(began.elapsed() < Duration::from_secs(10), "it is not what it waits for");
    assert_eq!((&refused.2["fault"], &refused.2["retry_after_seconds"]), (&json!("connector"), &json!(1)));
    assert_eq!((bed.exchanges(), bed.connector.requests().len()), (1, 1), "bob's call cost nobody anything");
    release.cancel();
    for answer in [held, waiting] {
        assert_eq!(answer.await.expect("an answer").status(), 200);
    }
    until(&bed, "mail", "calls_in_progress", 0.0).await;
    until(&bed, "mail", "queue_entries", 0.0).await;
    let records = bed.calls(3).await;
    assert_eq!(records[0]["status_code"], "connector_busy");
    assert_eq!(queue(&records[1]), &Value::Null);
    assert_eq!(queue(&records[2])["ended"], "served");
    let waited = queue(&records[2])["waited_us"].as_u64().expect("a number");
    assert!(waited > 0 && waited <= records[2]["unmapped"]["obo"]["duration_us"].as_u64().expect("a number"));
    for (series, value) in [
        (r#"obo_gateway_limit_refusals_total{connector="mail",limit="queue_full"}"#, 1.0),
        (r#"obo_gateway_connector_queue_wait_seconds_count{connector="mail"}"#, 1.0),
    ] {
        assert_eq!(bed.metric(series).await, Some(value), "{series}");
    }
}

#[tokio::test]
async fn an_agent_that_hangs_up_leaves_the_line_at_once() {
    let bed = bed("{ concurrent: 1, queue: 1, queue_timeout: 1h }").await;
    let (held, release) = held(&bed).await;
    let leaves = sent(call(&bed, "bob"));
    until(&bed, "mail", "queue_entries", 1.0).await;
    leaves.abort();
    until(&bed, "mail", "queue_entries", 0.0).await;
    let records = bed.calls(1).await;
    assert_eq!(records[0]["unmapped"]["obo"]["outcome"], "agent_left");
    assert_eq!(queue(&records[0])["ended"], "left");
    // With a body, of which the connector has wanted nothing yet.
    for body in ["{}".to_owned(), "x".repeat(60_000)] {
        let post = bed.request(Method::POST, "/mail/me/sendMail").bearer_auth(bed.token("bob")).body(body);
        let leaves = sent(post);
        until(&bed, "mail", "queue_entries", 1.0).await;
        leaves.abort();
        until(&bed, "mail", "queue_entries", 0.0).await;
    }
    for record in &bed.calls(3).await[1..] {
        assert_eq!(queue(record)["ended"], "left", "{record}");
    }
    let waiting = sent(call(&bed, "ada"));
    until(&bed, "mail", "queue_entries", 1.0).await;
    release.cancel();
    for answer in [held, waiting] {
        assert_eq!(answer.await.expect("an answer").status(), 200);
    }
    assert_eq!(bed.connector.requests().len(), 2, "bob's call never came there");
}

#[tokio::test]
async fn nobody_waits_longer_than_calls_wait_and_then_nobody_waits_at_all() {
    let bed = bed("{ concurrent: 1, queue: 8, queue_timeout: 300ms }").await;
    let (held, release) = held(&bed).await;
    let refused = refusal(get(&bed, "ada").await).await;
    assert_refused(&refused, 503, "connector_busy");
    // The connector has ended nothing in all that time, so the next one is not let wait.
    assert_refused(&refusal(get(&bed, "ada").await).await, 503, "connector_busy");
    let records = bed.calls(2).await;
    let first = queue(&records[0]);
    assert_eq!(first["ended"], "timed_out");
    assert!(first["waited_us"].as_u64().is_some_and(|waited| waited <= 20_000_000), "{first}");
    assert_eq!(queue(&records[1]), &Value::Null);
    for limit in ["queue_timeout", "queue_slow"] {
        let series = format!("obo_gateway_limit_refusals_total{{connector=\"mail\",limit=\"{limit}\"}}");
        assert_eq!(bed.metric(&series).await, Some(1.0), "{series}");
    }
    release.cancel();
    assert_eq!(held.await.expect("an answer").status(), 200);
    assert_eq!(get(&bed, "ada").await.status(), 200);
}

#[tokio::test]
async fn a_call_that_waits_in_vain_uses_up_no_limit() {
    let bed =
        bed("{ concurrent: 1, queue: 8, queue_timeout: 300ms, per_person: { calls: 1, per: 1h } }").await;
    let (held, release) = held(&bed).await;
    assert_refused(&refusal(get(&bed, "bob").await).await, 503, "connector_busy");
    assert_eq!(queue(&bed.calls(1).await[0])["ended"], "timed_out", "it was let through to wait");
    release.cancel();
    assert_eq!(held.await.expect("an answer").status(), 200);
    assert_eq!(get(&bed, "bob").await.status(), 200);
    assert_refused(&refusal(get(&bed, "bob").await).await, 429, "rate_limited");
}

#[tokio::test]
async fn a_place_is_free_again_however_a_call_ends() {
    let bed = bed("{ concurrent: 1, queue: 0 }").await;
    let script = bed.connector.script();
    for (reply, times, status) in [
        (Reply::normal(), 1, 200),
        (Reply::status(500), 1, 500),
        (Reply::reset(), 2, 502),
        (Reply::raw("garbage\r\n\r\n"), 2, 502),
        // One that is turned away is sent again, and so is one that is throttled or broke off.
        (Reply::status(401).body("no"), 1, 200),
        (Reply::status(429).body("no"), 1, 200),
        (Reply::reset(), 1, 200),
    ] {
        script.times(times, &reply);
        let answer = get(&bed, "ada").await;
        assert_eq!(answer.status(), status);
        drop(answer.bytes().await);
        until(&bed, "mail", "calls_in_progress", 0.0).await;
    }
    script.once(Reply::json(200, &json!({ "a": "body" })).cut_after(3));
    let broken = get(&bed, "ada").await;
    assert!(broken.bytes().await.is_err());
    until(&bed, "mail", "calls_in_progress", 0.0).await;

    // The agent leaves while the connector is at work, and within its answer.
    let (held, _release) = held(&bed).await;
    held.abort();
    until(&bed, "mail", "calls_in_progress", 0.0).await;
    let mut events = bed.get("/mail/events?count=10000&every_ms=20", &bed.token("ada")).await;
    events.chunk().await.expect("an event").expect("an event");
    assert_refused(&refusal(get(&bed, "ada").await).await, 503, "connector_busy");
    drop(events);
    until(&bed, "mail", "calls_in_progress", 0.0).await;
    assert_eq!(get(&bed, "ada").await.status(), 200);
}

#[tokio::test]
async fn what_waited_with_its_call_comes_to_the_connector_as_it_was_sent() {
    let bed = bed("{ concurrent: 1, queue: 1, queue_timeout: 1h }").await;
    for chunked in [false, true] {
        for body in [String::new(), "short".to_owned(), "long ".repeat(100_000)] {
            let (held, release) = held(&bed).await;
            let post = bed.request(Method::POST, "/mail/echo").bearer_auth(bed.token("ada"));
            let post = match chunked {
                true => {
                    let piece = Ok::<_, std::io::Error>(body.clone());
                    post.body(reqwest::Body::wrap_stream(futures_util::stream::iter([piece])))
                }
                false => post.body(body.clone()),
            };
            let waiting = sent(post);
            until(&bed, "mail", "queue_entries", 1.0).await;
            // Some of it is read while it waits.
            tokio::time::sleep(Duration::from_millis(20)).await;
            release.cancel();
            held.await.expect("an answer");
            waiting.await.expect("an answer");
            let requests = bed.connector.requests();
            let last = requests.last().expect("a request");
            assert_eq!((last.body_complete, last.body_bytes), (true, body.len() as u64), "{chunked}");
            assert!(body.as_bytes().starts_with(&last.body));
            until(&bed, "mail", "calls_in_progress", 0.0).await;
        }
    }
}

#[tokio::test]
async fn what_was_read_while_its_call_waited_can_be_sent_again() {
    let bed = bed("{ concurrent: 1, queue: 1, queue_timeout: 1h }").await;
    assert_eq!(get(&bed, "ada").await.status(), 200);
    let (held, release) = held(&bed).await;
    bed.connector.script().once(Reply::status(401));
    let body = "x".repeat(50_000);
    let waiting =
        sent(bed.request(Method::POST, "/mail/echo").bearer_auth(bed.token("ada")).body(body.clone()));
    until(&bed, "mail", "queue_entries", 1.0).await;
    // Some of it is read while it waits.
    tokio::time::sleep(Duration::from_millis(20)).await;
    release.cancel();
    held.await.expect("an answer");
    assert_eq!(waiting.await.expect("an answer").status(), 200);
    let requests = bed.connector.requests();
    let sent: Vec<_> = requests[2..].iter().map(|sent| (sent.body_complete, sent.body_bytes)).collect();
    assert_eq!(sent, [(true, 50_000); 2]);
}

#[tokio::test]
async fn the_connectors_time_to_answer_begins_when_the_call_has_its_place() {
    let bed = Setup::default()
        .config(|parts| {
            let limits = "limits: { concurrent: 1, queue: 1, queue_timeout: 1h }";
            let mail = parts.mail(&format!("{ANYTHING}    {limits}\n"));
            parts.whole(&parts.issuer(), &mail.replace(PATIENT, "{ response: 2s }"))
        })
        .start()
        .await;
    let mut events = bed.get("/mail/events?count=10000&every_ms=20", &bed.token("ada")).await;
    events.chunk().await.expect("an event").expect("an event");
    let waiting = sent(call(&bed, "bob"));
    until(&bed, "mail", "queue_entries", 1.0).await;
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    drop(events);
    assert_eq!(waiting.await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn a_call_that_is_to_be_sent_again_leaves_its_place_to_others_meanwhile_and_hears_the_last_answer() {
    let bed = bed("{ concurrent: 1, queue: 1, queue_timeout: 1h }").await;
    let release = CancellationToken::new();
    let script = bed.connector.script();
    script
        .once(Reply::status(503).header("retry-after", "4").body("no"))
        .once(Reply::normal().held_until(release.clone()));
    let pauses = sent(call(&bed, "ada"));
    while bed.connector.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let other = sent(call(&bed, "bob"));
    while bed.connector.requests().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Had it waited until the pause was over, the first call would have its answer by now.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!pauses.is_finished(), "the other call had to wait for it");
    let refused = refusal(pauses.await.expect("an answer")).await;
    assert_refused(&refused, 503, "connector_not_ready");
    assert_eq!(refused.2["retry_after_seconds"], 4);
    release.cancel();
    assert_eq!(other.await.expect("an answer").status(), 200);
    assert_eq!(bed.connector.requests().len(), 2);
    let retries = r#"obo_gateway_connector_retries_total{connector="mail",reason="unavailable"}"#;
    assert_eq!(bed.metric(retries).await, None);
    let refusals = r#"obo_gateway_limit_refusals_total{connector="mail",limit="queue_full"}"#;
    assert_eq!(bed.metric(refusals).await, None, "it was not refused for that");
    let records = bed.calls(2).await;
    assert_eq!(
        (records[0]["status_code"].as_str(), queue(&records[0])),
        (Some("connector_not_ready"), &Value::Null)
    );
}

#[tokio::test]
async fn a_call_that_waits_for_another_credential_leaves_its_place_to_others() {
    let bed = bed("{ concurrent: 1, queue: 1, queue_timeout: 1h }").await;
    for who in ["ada", "bob"] {
        assert_eq!(get(&bed, who).await.status(), 200);
    }
    let (renewed, release) = (CancellationToken::new(), CancellationToken::new());
    bed.authorization_server.script(Endpoint::Token).once(Reply::normal().held_until(renewed.clone()));
    let no = Reply::status(401).body("no");
    bed.connector.script().once(no).once(Reply::normal().held_until(release.clone()));
    let turned_away = sent(call(&bed, "ada"));
    while bed.connector.requests().len() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until(&bed, "mail", "calls_in_progress", 0.0).await;
    let other = sent(call(&bed, "bob"));
    until(&bed, "mail", "calls_in_progress", 1.0).await;
    // And it has to wait for its turn then.
    renewed.cancel();
    until(&bed, "mail", "queue_entries", 1.0).await;
    release.cancel();
    for answer in [turned_away, other] {
        assert_eq!(answer.await.expect("an answer").status(), 200);
    }
    let records = bed.calls(4).await;
    let again = records.iter().find(|record| !record["unmapped"]["obo"]["second_try"].is_null());
    assert_eq!(queue(again.expect("a second try"))["ended"], "served");
}

#[tokio::test]
async fn a_list_that_is_read_whole_keeps_its_place_until_then() {
    let bed = McpBed::with("    scopes: [Notes.Read]\n    limits: { concurrent: 1, queue: 0 }\n").await;
    let list = json!({ "jsonrpc": "2.0", "id": 1, "result": { "tools": [] } });
    bed.notes.script().once(Reply::json(200, &list).dripping(1, Duration::from_secs(5)));
    let listing = sent(bed.modern("ada", "tools/list", json!({})));
    until(&bed.bed, "notes", "calls_in_progress", 1.0).await;
    for _ in 0..50 {
        let (status, answer) = bed.modern_answer("ada", "tools/list", json!({})).await;
        assert_eq!((status, &answer["error"]["data"]["code"]), (503, &json!("connector_busy")), "{answer}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    listing.abort();
    until(&bed.bed, "notes", "calls_in_progress", 0.0).await;
}

/// A call whose body never comes to its end.
fn uploading(bed: &TestBed, who: &str) -> JoinHandle<Response> {
    let first = futures_util::stream::iter([Ok::<_, std::io::Error>("x".repeat(100_000))]);
    let body = futures_util::StreamExt::chain(first, futures_util::stream::pending());
    let post = bed.request(Method::POST, "/mail/echo").bearer_auth(bed.token(who));
    sent(post.body(reqwest::Body::wrap_stream(body)))
}

#[tokio::test]
async fn nobody_takes_all_places_away_from_others_with_uploads_that_never_end() {
    let bed = bed("{ concurrent: 8, queue: 8, queue_timeout: 1h }").await;
    let uploads: Vec<_> = (0..7).map(|_| uploading(&bed, "ada")).collect();
    until(&bed, "mail", "calls_in_progress", 6.0).await;
    until(&bed, "mail", "queue_entries", 1.0).await;
    for _ in 0..3 {
        assert_eq!(get(&bed, "bob").await.status(), 200);
    }
    uploads.iter().for_each(JoinHandle::abort);
    until(&bed, "mail", "calls_in_progress", 0.0).await;
    until(&bed, "mail", "queue_entries", 0.0).await;
}

#[tokio::test]
async fn a_reload_gives_more_places_to_those_who_wait() {
    let bed = bed("{ concurrent: 1, queue: 1, queue_timeout: 1h }").await;
    let (held, release) = held(&bed).await;
    let waiting = sent(call(&bed, "ada"));
    until(&bed, "mail", "queue_entries", 1.0).await;
    reload(&bed, "concurrent: 1", "concurrent: 2").await;
    assert_eq!(waiting.await.expect("an answer").status(), 200);
    // And a bad one changes nothing.
    release.cancel();
    assert_eq!(held.await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn an_mcp_call_keeps_its_place_as_long_as_the_server_works_and_what_ends_it_needs_none() {
    let bed = McpBed::with("    scopes: [Notes.Read]\n    limits: { concurrent: 1, queue: 0 }\n").await;
    let session = bed.session("ada").await;
    until(&bed.bed, "notes", "calls_in_progress", 0.0).await;
    bed.notes.hold_counting();
    let count = json!({ "name": "count_slowly", "arguments": { "to": 3 }, "_meta": { "progressToken": 1 } });
    let mut counting = session.post(&request(9, "tools/call", count)).await;
    counting.chunk().await.expect("an event").expect("an event");
    // A call within a session outlives its agent's connection.
    drop(counting);
    bed.bed.calls(3).await;
    until(&bed.bed, "notes", "calls_in_progress", 1.0).await;
    let (status, answer) = session.answer("tools/list", json!({})).await;
    assert_eq!((status, &answer["error"]["data"]["code"]), (503, &json!("connector_busy")), "{answer}");
    // Whoever only listens, tells, or ends something is let through.
    let stream = session.request(Method::GET).header("accept", "text/event-stream").send().await;
    assert_eq!(stream.as_ref().map(|stream| stream.status().as_u16()).ok(), Some(200));
    let cancelled =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 9 } });
    assert_eq!(session.post(&cancelled).await.status(), 202);
    bed.notes.go_on_counting();
    until(&bed.bed, "notes", "calls_in_progress", 0.0).await;
    assert_ne!(bed.notes.counts()[0].end, CountEnd::Counting);
    let (status, _) = session.answer("tools/list", json!({})).await;
    assert_eq!(status, 200);
    drop(stream);
}
