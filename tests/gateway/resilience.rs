//! Connectors that throttle or fail: what is tried again, what is passed on, and who is not asked for.

use std::time::{SystemTime, UNIX_EPOCH};

use obo_gateway::demo::script::Reply;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::bed::{ANYTHING, Setup, TOOLS, TestBed, assert_refused, refusal};

mod circuit;
mod mcp;

/// Tools of which the configuration says what they do.
const DECLARED: &str = "    tools:
      find: { match: POST /find, annotations: { read_only: true }, scopes: [Mail.Read] }
      mark: { match: POST /mark, annotations: { idempotent: true }, scopes: [Mail.Read] }
      count: { match: PUT /count, annotations: { idempotent: false }, scopes: [Mail.Read] }
";

async fn get(bed: &TestBed, who: &str) -> Response {
    bed.get("/mail/me/messages", &bed.token(who)).await
}

async fn send(bed: &TestBed, method: Method, path: &str, bytes: usize) -> Response {
    let request = bed.request(method, path).bearer_auth(bed.token("ada")).body(vec![b'x'; bytes]);
    request.send().await.expect("an answer")
}

async fn retries(bed: &TestBed, reason: &str) -> Option<f64> {
    let series = format!(r#"obo_gateway_connector_retries_total{{connector="mail",reason="{reason}"}}"#);
    bed.metric(&series).await
}

async fn spared(bed: &TestBed, reason: &str) -> Option<f64> {
    let series = format!(r#"obo_gateway_connector_spared_total{{connector="mail",reason="{reason}"}}"#);
    bed.metric(&series).await
}

/// Seconds since 1970, so far from now.
fn moment(from_now: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    i64::try_from(now).expect("a moment") + from_now
}

/// How long a refusal says to wait, which its header and its body agree on.
async fn delay(response: Response, status: u16, code: &str) -> u64 {
    let header = response.headers()["retry-after"].to_str().expect("text").to_owned();
    let refused = refusal(response).await;
    assert_refused(&refused, status, code);
    let seconds = refused.2["retry_after_seconds"].as_u64().expect("a number");
    assert_eq!(header, seconds.to_string());
    seconds
}

#[tokio::test]
async fn what_may_be_repeated_is_tried_again_and_has_one_record() {
    let bed = TestBed::start().await;
    bed.connector.script().once(Reply::status(429)).once(Reply::status(503));
    assert_eq!(get(&bed, "ada").await.status(), 200);
    bed.connector.script().once(Reply::too_many_requests(0)).once(Reply::too_many_requests_until(moment(-9)));
    assert_eq!(get(&bed, "ada").await.status(), 200);
    let requests = bed.connector.requests();
    assert_eq!(requests.len(), 6);
    assert!(requests.iter().all(|request| request.bearer() == requests[0].bearer()));
    assert_eq!(bed.exchanges(), 1);
    assert_eq!(
        (retries(&bed, "throttled").await, retries(&bed, "unavailable").await),
        (Some(3.0), Some(1.0))
    );

    bed.connector.script().once(Reply::status(404));
    assert_eq!(get(&bed, "ada").await.status(), 404);
    let calls = bed.calls(3).await;
    let said = |call: usize, what: &str| calls[call]["unmapped"]["obo"][what].clone();
    assert_eq!((calls.len(), said(0, "outcome"), said(0, "attempts")), (3, json!("answered"), json!(3)));
    let connector_share = said(0, "connector_latency_us").as_u64().expect("a time");
    assert!(said(0, "paused_us").as_u64().expect("a time") <= connector_share, "{:#}", calls[0]);
    assert_eq!((said(2, "attempts"), said(2, "paused_us")), (Value::Null, Value::Null), "it was sent once");
}

#[tokio::test]
async fn a_short_delay_is_waited_for() {
    let bed = TestBed::start().await;
    bed.connector.script().once(Reply::too_many_requests(1));
    assert_eq!(get(&bed, "ada").await.status(), 200);
    let calls = bed.calls(1).await;
    let paused = calls[0]["unmapped"]["obo"]["paused_us"].as_u64().expect("a time");
    assert!(paused >= 1_000_000, "{paused}");
}

#[tokio::test]
async fn what_might_do_a_thing_twice_is_not_repeated() {
    let bed = Setup::default().tools(ANYTHING).start().await;
    for method in [Method::POST, Method::PATCH] {
        bed.connector.script().once(Reply::status(503));
        assert_eq!(send(&bed, method.clone(), "/mail/upload", 10).await.status(), 503);
        bed.connector.script().once(Reply::status(429));
        let refused = send(&bed, method, "/mail/upload", 10).await;
        assert_eq!(delay(refused, 429, "connector_throttled").await, 10, "as long as nobody says otherwise");
    }
    assert_eq!(bed.connector.requests().len(), 4);
    for method in [Method::PUT, Method::DELETE, Method::GET] {
        bed.connector.script().once(Reply::status(503));
        send(&bed, method, "/mail/upload", 10).await;
    }
    assert_eq!(bed.connector.requests().len(), 10);
}

#[tokio::test]
async fn what_a_tool_declares_says_whether_it_is_repeated() {
    let bed = Setup::default().tools(DECLARED).start().await;
    for (method, path, is_repeated) in [
        (Method::POST, "/mail/find", true),
        (Method::POST, "/mail/mark", true),
        (Method::PUT, "/mail/count", false),
    ] {
        let before = bed.connector.requests().len();
        bed.connector.script().clear().once(Reply::status(503)).once(Reply::status(200));
        let status = send(&bed, method, path, 10).await.status().as_u16();
        assert_eq!(status, if is_repeated { 200 } else { 503 }, "{path}");
        let requests = bed.connector.requests().split_off(before);
        assert_eq!(requests.len(), if is_repeated { 2 } else { 1 }, "{path}");
        assert!(requests.iter().all(|request| request.body == [b'x'; 10].as_slice()), "{path}");
    }
}

#[tokio::test]
async fn a_body_is_sent_again_unless_it_is_too_large() {
    let bed = Setup::default().tools(ANYTHING).start().await;
    for (bytes, sent) in [(65_536, 2), (65_537, 1)] {
        let before = bed.connector.requests().len();
        bed.connector.script().clear().once(Reply::status(503)).once(Reply::status(200));
        let status = send(&bed, Method::PUT, "/mail/upload", bytes).await.status();
        assert_eq!(status, if sent == 2 { 200 } else { 503 });
        let requests = bed.connector.requests().split_off(before);
        let whole: Vec<_> = requests.iter().map(|request| request.body_bytes).collect();
        assert_eq!(whole, vec![bytes as u64; sent]);
    }
}

#[tokio::test]
async fn a_person_who_is_throttled_is_answered_at_once_until_then_and_nobody_else_is() {
    let bed = TestBed::start().await;
    for reply in [Reply::too_many_requests(600), Reply::too_many_requests_until(moment(600))] {
        let before = bed.connector.requests().len();
        bed.connector.script().once(reply.header("x-ms-request-id", "theirs"));
        let seconds = delay(get(&bed, "ada").await, 429, "connector_throttled").await;
        assert!((590..=600).contains(&seconds), "{seconds}");
        for _ in 0..3 {
            let seconds = delay(get(&bed, "ada").await, 429, "connector_throttled").await;
            assert!((500..=600).contains(&seconds), "{seconds}");
        }
        assert_eq!(bed.connector.requests().len(), before + 1, "it was asked once");
        assert_eq!(get(&bed, "bob").await.status(), 200);

        // Whoever is forgotten is asked for again.
        let person = &bed.authorization_server.person("ada").oid;
        let tenant = &bed.authorization_server.settings().tenant;
        let forget =
            format!("http://{}/forget?tenant={tenant}&subject={person}", bed.gateway.admin_address());
        crate::bed::client().post(forget).send().await.expect("an answer");
        assert_eq!(get(&bed, "ada").await.status(), 200);
    }
    assert_eq!(spared(&bed, "throttled").await, Some(6.0));
    assert_eq!(retries(&bed, "throttled").await, None);
    let calls = bed.calls(12).await;
    assert_eq!(crate::bed::outcome(&calls[0]), "connector_throttled");
    assert_eq!(calls[0]["unmapped"]["obo"]["connector_request_id"], "theirs");
    assert_eq!(calls[1]["unmapped"]["obo"]["fault"], "connector");
}

#[tokio::test]
async fn throttling_is_remembered_over_a_reload_while_the_connector_is_the_same() {
    let bed = TestBed::start().await;
    bed.connector.script().once(Reply::too_many_requests(600));
    delay(get(&bed, "ada").await, 429, "connector_throttled").await;
    bed.gateway.reload().await.expect("the same configuration");
    delay(get(&bed, "ada").await, 429, "connector_throttled").await;
    let change = async |from: &str, to: &str| {
        let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
        assert!(text.contains(from), "{text}");
        std::fs::write(bed.config_path(), text.replace(from, to)).expect("written");
        bed.gateway.reload().await.expect("another configuration");
    };
    // How long it may take to answer makes it no other connector; how it is reached does.
    change("response: 20s", "response: 21s").await;
    delay(get(&bed, "ada").await, 429, "connector_throttled").await;
    change("connect: 20s", "connect: 21s").await;
    assert_eq!(get(&bed, "ada").await.status(), 200);
}

#[tokio::test]
async fn the_application_is_throttled_for_all_who_use_it_and_nobody_as_a_person() {
    let tools = "    tools:
      list_messages: { match: GET /me/messages, scopes: [Mail.Read] }
      post: { match: 'POST /users/{user}/sendMail', identity: app_only, scopes: [.default] }
";
    let bed = Setup::default().tools(tools).start().await;
    let post = async |who: &str| {
        let request = bed.request(Method::POST, "/mail/users/x/sendMail").bearer_auth(bed.token(who));
        request.send().await.expect("an answer")
    };
    bed.connector.script().once(Reply::too_many_requests(600));
    delay(post("ada").await, 429, "connector_throttled").await;
    delay(post("bob").await, 429, "connector_throttled").await;
    assert_eq!(get(&bed, "ada").await.status(), 200);
    assert_eq!(get(&bed, "bob").await.status(), 200);
    bed.connector.script().once(Reply::too_many_requests(600));
    delay(get(&bed, "bob").await, 429, "connector_throttled").await;
    assert_eq!(get(&bed, "ada").await.status(), 200);
}

#[tokio::test]
async fn a_service_that_names_the_time_when_it_is_back_is_believed_and_asked_by_the_next_call() {
    let bed = TestBed::start().await;
    bed.connector.script().once(Reply::status(503).header("retry-after", "120").body("maintenance"));
    assert_eq!(delay(get(&bed, "ada").await, 503, "connector_not_ready").await, 120);
    assert_eq!(get(&bed, "ada").await.status(), 200, "it says nothing about her");

    bed.connector.script().always(Reply::status(503).body("it is broken"));
    let answer = get(&bed, "ada").await;
    assert_eq!(
        (answer.status().as_u16(), answer.text().await.expect("a body")),
        (503, "it is broken".to_owned())
    );
    assert_eq!(bed.connector.requests().len(), 5, "three attempts");
}

#[tokio::test]
async fn retries_are_a_tenth_of_all_calls_and_no_status_opens_the_circuit() {
    let bed = TestBed::start().await;
    for status in [429, 503] {
        bed.connector.script().always(Reply::status(status));
        for _ in 0..15 {
            assert_eq!(get(&bed, "ada").await.status(), status);
        }
    }
    // Thirty calls, what they pay for, and what was saved before.
    let asked = bed.connector.requests().len();
    assert!((40..=43).contains(&asked), "{asked}");
    bed.connector.script().clear();
    assert_eq!(get(&bed, "ada").await.status(), 200);
    assert_eq!(spared(&bed, "circuit_open").await, Some(0.0));
}

#[tokio::test]
async fn a_broken_connection_is_tried_once_more_if_that_cannot_do_a_thing_twice() {
    let bed = Setup::default().tools(ANYTHING).start().await;
    bed.connector.script().once(Reply::reset());
    assert_eq!(send(&bed, Method::GET, "/mail/me", 0).await.status(), 200);
    bed.connector.script().always(Reply::reset());
    assert_refused(&refusal(send(&bed, Method::PUT, "/mail/me", 10).await).await, 502, "connector_broke");
    assert_eq!(bed.connector.requests().len(), 4);
    assert_eq!(retries(&bed, "broke").await, Some(2.0));
    bed.connector.script().clear().once(Reply::reset());
    assert_refused(&refusal(send(&bed, Method::POST, "/mail/me", 10).await).await, 502, "connector_broke");
    assert_eq!(bed.connector.requests().len(), 5);
}

#[tokio::test]
async fn another_token_and_another_attempt_are_of_one_call() {
    let bed = TestBed::start().await;
    assert_eq!(get(&bed, "ada").await.status(), 200);
    bed.connector.script().once(Reply::status(503)).once(Reply::status(401)).once(Reply::status(503));
    assert_eq!(get(&bed, "ada").await.status(), 503, "three attempts are the most there are");
    assert_eq!(bed.connector.requests().len(), 4);
    let call = bed.calls(2).await.remove(1);
    let said = |what: &str| call["unmapped"]["obo"][what].clone();
    assert_eq!((said("attempts"), said("second_try")), (json!(3), json!("unauthorized")));
}

#[tokio::test]
async fn a_connector_that_must_not_see_anything_twice_does_not() {
    let no_retries = format!("    retries: false\n{TOOLS}");
    let bed = Setup::default().config(move |parts| parts.whole(&parts.issuer(), &parts.mail(&no_retries)));
    let bed = bed.start().await;
    for reply in [Reply::status(503), Reply::status(429), Reply::reset()] {
        bed.connector.script().once(reply);
        assert_ne!(get(&bed, "ada").await.status(), 200);
    }
    assert_eq!(bed.connector.requests().len(), 3);
}

#[tokio::test]
async fn nobody_waits_for_what_does_not_fit_into_the_time_of_the_call() {
    let bed = Setup::default().hasty().start().await;
    bed.connector.script().always(Reply::too_many_requests(1));
    assert_eq!(delay(get(&bed, "ada").await, 429, "connector_throttled").await, 1);
    assert_eq!(bed.connector.requests().len(), 1, "a second is longer than it has");
}
