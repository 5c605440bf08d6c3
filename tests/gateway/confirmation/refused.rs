//! What cannot be shown completely is not asked about, and does not run.

use reqwest::Method;

use super::{TOOLS, bed, post, setup_with, started};
use crate::bed::{Setup, TestBed, assert_refused, refusal};

async fn check(bed: &TestBed, content_type: &str, body: &[u8]) {
    let refused =
        refusal(post(bed, &bed.token("ada"), "/mail/echo", content_type, body.to_vec()).await).await;
    assert_refused(&refused, 422, "confirmation_impossible");
    assert!(refused.2.get("confirm_url").is_none(), "{}", refused.2);
}

#[tokio::test]
async fn a_body_that_nobody_could_read_is_refused() {
    let bed = bed().await;
    check(&bed, "application/octet-stream", b"\x00\x01").await;
    check(&bed, "image/png", b"\x89PNG").await;
    check(&bed, "multipart/form-data; boundary=x", b"--x--").await;
    check(&bed, "text/plain", b"caf\xe9").await;
    check(&bed, "text/plain; charset=utf-16", b"a\0b\0").await;
    check(&bed, "text/plain; charset=utf-7", b"+ADw-").await;
    check(&bed, "application/json; charset=utf-16", b"{}").await;
    check(&bed, "application/json", br#"{"to":"bob","to":"eve"}"#).await;
    check(&bed, "application/json", br#"{"amount":100000000000000000001}"#).await;
    check(&bed, "application/json", b"{").await;
    check(&bed, "application/json", b"\xff").await;
    check(&bed, "text/plain", "x".repeat(65_537).as_bytes()).await;
    let deep = format!("{}{}{}", "[".repeat(60), "0,".repeat(20_000) + "0", "]".repeat(60));
    check(&bed, "application/json", deep.as_bytes()).await;
    for (name, value) in [("content-encoding", "gzip"), ("content-range", "bytes 0-1/9")] {
        let request =
            bed.request(Method::POST, "/mail/echo").bearer_auth(bed.token("ada")).header(name, value);
        let refused = refusal(request.json(&1).send().await.expect("an answer")).await;
        assert_refused(&refused, 422, "confirmation_impossible");
    }
    let nameless = bed.request(Method::POST, "/mail/echo").bearer_auth(bed.token("ada")).body("text");
    assert_refused(&refusal(nameless.send().await.expect("an answer")).await, 422, "confirmation_impossible");
    assert!(bed.connector.requests().is_empty());
    assert_eq!(
        bed.metric("obo_gateway_confirmations_total{connector=\"mail\",outcome=\"asked\"}").await,
        None
    );
}

#[tokio::test]
async fn a_token_in_what_would_be_shown_is_refused_and_not_kept() {
    let bed = bed().await;
    let token = bed.token("ada");
    let body = format!(r#"{{"text":"{token}"}}"#);
    assert_refused(
        &refusal(post(&bed, &token, "/mail/echo", "application/json", body).await).await,
        400,
        "token_misplaced",
    );
    let path = format!("/mail/echo?token={token}");
    assert_refused(
        &refusal(post(&bed, &token, &path, "application/json", "{}").await).await,
        400,
        "token_misplaced",
    );
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let bed = started(setup_with(TOOLS, "").hasty()).await;
    let stalled = futures_util::stream::once(async { Ok::<_, std::io::Error>("{") });
    let never = futures_util::stream::pending();
    let body = reqwest::Body::wrap_stream(futures_util::StreamExt::chain(stalled, never));
    let refused = refusal(post(&bed, &bed.token("ada"), "/mail/echo", "application/json", body).await).await;
    assert_refused(&refused, 408, "request_stalled");
}

#[tokio::test]
async fn what_policy_or_the_issuer_refuses_is_not_asked_about() {
    let bed = Setup::default()
        .config(|parts| {
            let whole = parts
                .whole(&parts.issuer(), &parts.mail(TOOLS))
                .replace("tools: [\"*/*\"]", "tools: [mail/list_messages]");
            format!("public_url: https://gateway.example\n{whole}")
        })
        .start()
        .await;
    let refused = refusal(super::send(&bed, &bed.token("ada"), &super::mail("Lunch?")).await).await;
    assert_refused(&refused, 403, "policy_denied");
}
