//! When the connector turns the delegated token away: another one, once, and what the agent hears when that is not
//! enough.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use obo_gateway::demo::authorization_server::Endpoint;
use obo_gateway::demo::script::Reply;
use reqwest::{Method, Response};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::bed::{ANYTHING, Setup, TOOLS, TestBed, assert_refused, refusal};

const CLAIMS: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1763800000"}}}"#;

/// A call with a token that says that its agent can act on a claims challenge; what it is told to do.
async fn challenged(bed: &TestBed) -> String {
    let token = bed.authorization_server.subject_token("ada").claim("xms_cc", vec!["cp1"]).mint();
    let answer = bed.get("/mail/me/messages", &token).await;
    let challenge = answer.headers()["www-authenticate"].to_str().expect("text").to_owned();
    assert_refused(&refusal(answer).await, 401, "step_up_required");
    challenge
}

async fn get(bed: &TestBed) -> Response {
    bed.get("/mail/me/messages", &bed.token("ada")).await
}

#[tokio::test]
async fn a_kept_token_that_is_turned_away_is_replaced_and_the_call_sent_again() {
    let bed = TestBed::start().await;
    assert_eq!(get(&bed).await.status(), 200);
    bed.connector.script().once(Reply::status(401));
    assert_eq!(get(&bed).await.status(), 200);
    assert_eq!(bed.exchanges(), 2);
    let requests = bed.connector.requests();
    assert_eq!(requests.len(), 3);
    assert_eq!(requests[0].bearer(), requests[1].bearer(), "the kept one was tried first");
    assert_eq!(requests[2].bearer(), bed.authorization_server.last_issued());
    assert_eq!(
        bed.metric(r#"obo_gateway_connector_retries_total{connector="mail",reason="unauthorized"}"#).await,
        Some(1.0)
    );
    assert_eq!(bed.outcomes(2).await, ["answered", "answered"]);
    assert_eq!(bed.records().await[1]["unmapped"]["obo"]["second_try"], "unauthorized");

    // A token that has just replaced another is not replaced in turn, however often the connector says no.
    bed.connector.script().always(Reply::status(401));
    for _ in 0..3 {
        assert_eq!(get(&bed).await.status(), 401);
    }
    assert_eq!(bed.exchanges(), 2);
}

#[tokio::test]
async fn a_fresh_token_that_is_turned_away_is_not_replaced() {
    let bed = TestBed::start().await;
    bed.connector.script().once(Reply::status(401));
    let answer = get(&bed).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()["www-authenticate"], r#"Bearer realm="obo-gateway""#);
    assert_eq!((bed.exchanges(), bed.connector.requests().len()), (1, 1));
}

#[tokio::test]
async fn callers_turned_away_together_share_one_new_token() {
    let bed = TestBed::start().await;
    assert_eq!(get(&bed).await.status(), 200);
    // All of them have come to the connector before it answers any.
    let all_there = CancellationToken::new();
    let script = bed.connector.script();
    script.times(8, &Reply::status(401).held_until(all_there.clone()));
    let calls = futures_util::future::join_all((0..8).map(|_| get(&bed)));
    let release = async {
        while script.queued() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        all_there.cancel();
    };
    let (answers, ()) = tokio::join!(calls, release);
    assert!(answers.iter().all(|answer| answer.status() == 200), "{answers:?}");
    assert_eq!(bed.exchanges(), 2);
}

#[tokio::test]
async fn a_body_is_sent_again_as_it_was_unless_it_is_too_large() {
    let bed = Setup::default().tools(ANYTHING).start().await;
    let token = bed.token("ada");
    let post = async |bytes: usize| {
        let request = bed.request(Method::POST, "/mail/upload").bearer_auth(&token).body(vec![b'x'; bytes]);
        request.send().await.expect("an answer")
    };
    assert_eq!(post(10).await.status(), 200);
    bed.connector.script().once(Reply::status(401));
    assert_eq!(post(65_536).await.status(), 200);
    assert_eq!(bed.connector.requests()[2].body_bytes, 65_536);

    let bed = Setup::default().tools(ANYTHING).start().await;
    let token = bed.token("ada");
    let post = async |bytes: usize| {
        let request = bed.request(Method::POST, "/mail/upload").bearer_auth(&token).body(vec![b'x'; bytes]);
        request.send().await.expect("an answer")
    };
    assert_eq!(post(10).await.status(), 200);
    bed.connector.script().once(Reply::status(401));
    let refused = refusal(post(65_537).await).await;
    assert_refused(&refused, 503, "call_not_repeated");
    assert_eq!(post(65_537).await.status(), 200, "the agent sends it again, and a new token is there");
    assert_eq!(bed.exchanges(), 2);
}

#[tokio::test]
async fn a_claims_challenge_is_passed_to_the_authorization_server_and_the_call_sent_again() {
    let bed = Setup::default()
        .config(|parts| {
            let declared = "grant: on_behalf_of\n      client_capabilities: [cp1]";
            parts.whole(&parts.issuer().replace("grant: on_behalf_of", declared), &parts.mail(TOOLS))
        })
        .start()
        .await;
    assert_eq!(get(&bed).await.status(), 200);
    bed.connector.script().once(Reply::claims_challenge(CLAIMS));
    assert_eq!(get(&bed).await.status(), 200);
    let exchanges = bed.authorization_server.exchanges();
    let claims = |at: usize| -> serde_json::Value {
        serde_json::from_str(exchanges[at].parameter("claims").expect("claims")).expect("JSON")
    };
    let cp1 = json!({ "values": ["cp1"] });
    assert_eq!(claims(0), json!({ "access_token": { "xms_cc": cp1 } }));
    let nbf = json!({ "essential": true, "value": "1763800000" });
    assert_eq!(claims(1), json!({ "access_token": { "xms_cc": cp1, "nbf": nbf } }));
    assert_eq!(bed.connector.requests()[2].bearer(), bed.authorization_server.last_issued());
    // What was obtained is kept in place of what was turned away.
    assert_eq!(get(&bed).await.status(), 200);
    assert_eq!(bed.exchanges(), 2);
}

#[tokio::test]
async fn a_demand_that_the_new_token_does_not_meet_reaches_the_agent_after_one_round() {
    let bed = TestBed::start().await;
    bed.connector.script().always(Reply::claims_challenge(CLAIMS));
    for call in 1..=3 {
        let challenge = challenged(&bed).await;
        assert!(challenge.contains(&STANDARD.encode(CLAIMS)), "{challenge}");
        // The same demand a moment later is not worth another exchange.
        assert_eq!((bed.exchanges(), bed.connector.requests().len()), (2, call + 1));
    }
    let refused = refusal(get(&bed).await).await;
    assert_refused(&refused, 403, "step_up_required");
}

#[tokio::test]
async fn what_the_authorization_server_demands_for_it_reaches_the_agent() {
    let bed = TestBed::start().await;
    assert_eq!(get(&bed).await.status(), 200);
    bed.connector.script().once(Reply::claims_challenge(CLAIMS));
    let demand = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let reply = Reply::json(400, &json!({ "error": "interaction_required", "claims": demand }));
    bed.authorization_server.script(Endpoint::Token).once(reply);
    let challenge = challenged(&bed).await;
    assert!(challenge.contains(&STANDARD.encode(demand)), "{challenge}");
}
