//! Connectors that fail again and again.

use std::time::Duration;

use obo_gateway::demo::script::Reply;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{delay, get, spared};
use crate::bed::{ANYTHING, Setup, TestBed, assert_refused, refusal};

const GAUGE: &str = r#"obo_gateway_connector_circuit_open{connector="mail"}"#;

/// What `/readyz` says of connectors. They are never a reason not to be ready.
async fn open_circuits(bed: &TestBed) -> Value {
    let (status, body) = bed.admin("/readyz").await;
    assert_eq!(status, 200);
    serde_json::from_str::<Value>(&body).expect("JSON")["open_circuits"].clone()
}

/// Calls of this person until the circuit is open. Of two attempts each, the fifth failure is in the third.
async fn until_it_is_open(bed: &TestBed, who: &str, code: &str) {
    for _ in 0..3 {
        assert_refused(&refusal(get(bed, who).await).await, 502, code);
    }
    is_refused_at_once(bed, who).await;
}

/// The connector is not asked for this person. A machine may be busy for longer than the circuit is open; a call that tries and
/// fails opens it again.
async fn is_refused_at_once(bed: &TestBed, who: &str) {
    for _ in 0..20 {
        let answer = get(bed, who).await;
        if answer.status() == 503 {
            let seconds = delay(answer, 503, "connector_unavailable").await;
            assert!((1..=5).contains(&seconds), "{seconds}");
            return;
        }
        assert_eq!(answer.status(), 502);
    }
    panic!("the connector is asked again and again");
}

#[tokio::test]
async fn a_connector_that_cannot_be_reached_is_left_alone_until_it_is_back() {
    let bed = TestBed::start().await;
    assert_eq!((bed.metric(GAUGE).await, open_circuits(&bed).await), (Some(0.0), json!([])));
    bed.connector.stop_listening().await;
    until_it_is_open(&bed, "ada", "connector_unreachable").await;
    assert_eq!((bed.metric(GAUGE).await, open_circuits(&bed).await), (Some(1.0), json!(["mail"])));
    assert_eq!(spared(&bed, "circuit_open").await, Some(1.0));

    bed.gateway.reload().await.expect("the same configuration");
    assert_eq!((bed.metric(GAUGE).await, open_circuits(&bed).await), (Some(1.0), json!(["mail"])));
    is_refused_at_once(&bed, "bob").await;

    bed.connector.listen_again().await.expect("listening");
    let mut tries = 0;
    while get(&bed, "ada").await.status() != 200 {
        assert!(tries < 400, "it stays closed to everybody");
        tries += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(get(&bed, "bob").await.status(), 200);
    assert_eq!((bed.metric(GAUGE).await, open_circuits(&bed).await), (Some(0.0), json!([])));
}

#[tokio::test]
async fn whoever_makes_a_connector_break_off_takes_it_away_from_nobody_else() {
    let bed = TestBed::start().await;
    bed.connector.script().always(Reply::reset());
    until_it_is_open(&bed, "ada", "connector_broke").await;
    bed.connector.script().clear();
    assert_eq!(get(&bed, "bob").await.status(), 200);
    assert_eq!(get(&bed, "ada").await.status(), 200, "it is there, as his call has shown");
}

/// A call whose body goes on for ever.
fn dripping(bed: &TestBed) -> JoinHandle<Result<Response, reqwest::Error>> {
    let pieces = futures_util::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Some((Ok::<_, std::io::Error>("x"), ()))
    });
    let post = bed.request(Method::POST, "/mail/echo").bearer_auth(bed.token("ada"));
    tokio::spawn(post.body(reqwest::Body::wrap_stream(pieces)).send())
}

/// A connector that is back, which the one call that was let through to try is never going to find out.
async fn tried_for_ever() -> (TestBed, JoinHandle<Result<Response, reqwest::Error>>) {
    let bed = Setup::default().tools(ANYTHING).start().await;
    bed.connector.stop_listening().await;
    until_it_is_open(&bed, "ada", "connector_unreachable").await;
    bed.connector.listen_again().await.expect("listening");
    for _ in 0..20 {
        // Those that are not let through are answered at once.
        let drips = dripping(&bed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        if !drips.is_finished() {
            return (bed, drips);
        }
    }
    panic!("nobody is let through any more")
}

#[tokio::test]
async fn whoever_sends_slowly_keeps_nobody_from_trying_whether_a_connector_is_back() {
    let (bed, drips) = tried_for_ever().await;
    assert_eq!(get(&bed, "bob").await.status(), 200);
    drips.abort();
}

#[tokio::test]
async fn a_small_body_right_after_its_head_may_try_while_another_drips() {
    let (bed, drips) = tried_for_ever().await;
    let post = bed.request(Method::POST, "/mail/echo").bearer_auth(bed.token("bob")).body("{}");
    assert_eq!(post.send().await.expect("an answer").status(), 200);
    drips.abort();
}

#[tokio::test]
async fn a_connector_that_is_no_more_has_no_circuit() {
    let bed = TestBed::start().await;
    bed.connector.stop_listening().await;
    until_it_is_open(&bed, "ada", "connector_unreachable").await;
    let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    std::fs::write(bed.config_path(), text.replace("  mail:\n", "  post:\n")).expect("written");
    bed.gateway.reload().await.expect("another configuration");
    assert_eq!((bed.metric(GAUGE).await, open_circuits(&bed).await), (None, json!([])));
}
