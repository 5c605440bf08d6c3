//! What the connector records, what it streams, and how it misbehaves.

use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use http::Version;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::demo::certificates::DevelopmentCertificates;
use crate::demo::jws::base64url;
use crate::demo::script::Reply;
use crate::demo::testing::{client_builder, header};

#[tokio::test]
async fn every_request_is_recorded_with_all_that_could_carry_a_secret() {
    let pair = Pair::start().await;
    let token = pair.token("ada", "Mail.Read").mint();
    let request =
        pair.get_request("/me/messages?x=needle-in-query", &token).header("x-a", "needle-in-header");
    assert_eq!(request.body("needle-in-body").send().await.expect("an answer").status(), 200);
    let received = pair.mail.only_request();
    assert_eq!(received.bearer().as_deref(), Some(token.as_str()));
    assert_eq!((received.method.as_str(), received.uri.path()), ("GET", "/v1.0/me/messages"));
    assert_eq!((received.version, received.status), (Version::HTTP_11, Some(StatusCode::OK)));
    assert_eq!((&received.body[..], received.body_bytes), (&b"needle-in-body"[..], 14));
    assert!(received.body_complete);
    let ada = pair.server.person("ada").oid.clone();
    let caller = received.caller.clone().expect("a good token");
    assert_eq!(caller.person, Some(ada));
    assert_eq!(caller.client_id.as_ref(), Some(&pair.server.settings().gateway.client_id));
    assert_eq!(caller.permissions, ["Mail.Read"]);
    for needle in ["needle-in-query", "NEEDLE-IN-HEADER", "needle-in-body", token.as_str()] {
        assert!(received.contains(needle), "{needle}");
    }
    assert!(!received.contains("needle-in-nothing"));
    assert!(!format!("{received:?}").contains(&token));
    pair.mail.forget_requests();
    assert!(pair.mail.requests().is_empty());
}

#[tokio::test]
async fn trailers_and_broken_bodies_are_seen_for_what_they_are() {
    let pair = Pair::start().await;
    let head = "POST /v1.0/echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n3\r\nabc\r\n";
    let mut stream = TcpStream::connect(pair.mail.address()).await.expect("it listens");
    stream.write_all(format!("{head}0\r\nx-t: needle\r\n\r\n").as_bytes()).await.expect("it reads");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
    let received = pair.mail.only_request();
    assert_eq!(
        received.trailers.as_ref().and_then(|fields| fields.get("x-t")?.to_str().ok()),
        Some("needle")
    );
    assert!(received.contains("needle") && received.body_complete);

    pair.mail.forget_requests();
    let mut stream = TcpStream::connect(pair.mail.address()).await.expect("it listens");
    stream.write_all(head.as_bytes()).await.expect("it reads");
    stream.shutdown().await.expect("an end in the middle");
    let mut rest = Vec::new();
    _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    let received = pair.mail.only_request();
    assert_eq!((received.body_bytes, received.body_complete, received.status), (3, false, None));
}

#[tokio::test]
async fn a_body_is_kept_only_up_to_a_bound_and_an_upload_not_at_all() {
    let pair = Pair::start().await;
    let bytes = vec![b'u'; BODY_BYTES_KEPT + 5];
    let sum = base64url(digest::digest(&digest::SHA256, &bytes).as_ref());
    let length = bytes.len();
    let upload = client().post(pair.url("/upload")).body(bytes.clone()).send().await.expect("an answer");
    assert_eq!(json(upload).await, json!({ "bytes": length, "sha256": sum }));
    let echo = client().post(pair.url("/echo")).header("x-seen", "yes").body(bytes).send().await;
    let echo = json(echo.expect("an answer")).await;
    assert_eq!(echo["body_bytes"], json!(length));
    assert!(echo["headers"].as_array().expect("a list").contains(&json!(["x-seen", "yes"])));
    let kept: Vec<usize> = pair.mail.requests().iter().map(|request| request.body.len()).collect();
    assert_eq!(kept, [0, BODY_BYTES_KEPT]);
    let counted: Vec<u64> = pair.mail.requests().iter().map(|request| request.body_bytes).collect();
    assert_eq!(counted, [length as u64; 2]);
}

#[tokio::test]
async fn events_come_one_by_one_and_stop_when_nobody_listens() {
    let pair = Pair::start().await;
    let url = pair.url("/events?count=3&every_ms=150");
    let begun = Instant::now();
    let mut response = client().get(&url).send().await.expect("an answer");
    assert_eq!(header(&response, "content-type"), "text/event-stream");
    let first = response.chunk().await.expect("a stream").expect("an event");
    assert_eq!(&first[..], b"id: 1\nevent: tick\ndata: {\"number\":1,\"of\":3}\n\n");
    assert!(begun.elapsed() < Duration::from_millis(400), "the first event does not wait for the last");
    assert_eq!(pair.mail.in_flight(), 1);
    let rest = response.text().await.expect("a stream");
    assert!(rest.ends_with("\"number\":3,\"of\":3}\n\n"), "{rest}");
    assert!(begun.elapsed() >= Duration::from_millis(450));

    let endless = client().get(pair.url("/events?count=1000000&every_ms=5")).send().await.expect("an answer");
    assert_eq!(pair.mail.in_flight(), 1);
    drop(endless);
    idle(&pair.mail).await;
}

/// Waits until nothing is being answered any more.
async fn idle(mail: &MailConnector) {
    let quiet = async {
        while mail.in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), quiet).await.expect("every answer ends with its caller");
}

#[tokio::test]
async fn a_download_has_exactly_the_bytes_asked_for() {
    let pair = Pair::start().await;
    for bytes in [0, 1, 65_536, 200_000] {
        let response = client().get(pair.url(&format!("/download?bytes={bytes}"))).send().await;
        let response = response.expect("an answer");
        assert_eq!(header(&response, "content-length"), bytes.to_string());
        assert_eq!(response.bytes().await.expect("a body").len(), bytes);
    }
}

#[tokio::test]
async fn trailers_follow_where_they_are_asked_for() {
    let pair = Pair::start().await;
    let mut stream = TcpStream::connect(pair.mail.address()).await.expect("it listens");
    let request = "GET /v1.0/trailers HTTP/1.1\r\nhost: x\r\nte: trailers\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.contains("trailers follow\n"), "{answer}");
    assert!(answer.ends_with("0\r\nx-demo-checksum: c0ffee\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn http_2_is_spoken_in_the_clear_and_over_tls() {
    let server = AuthorizationServer::start(Settings::default()).await.expect("a loopback port is free");
    let mail = MailConnector::start(MailSettings::trusting(&server)).await.expect("a loopback port is free");
    let clear = client_builder().http2_prior_knowledge().build().expect("a client");
    let response =
        clear.get(format!("{}/download?bytes=9", mail.base_url())).send().await.expect("an answer");
    assert_eq!((response.version(), response.status().as_u16()), (Version::HTTP_2, 200));
    mail.script().once(Reply::reset());
    assert!(clear.get(format!("{}/events", mail.base_url())).send().await.is_err());

    let directory = TempDir::new().expect("a directory");
    let certificates = DevelopmentCertificates::ensure(directory.path()).expect("certificates");
    let tls = certificates.server_config().expect("a configuration");
    let settings = Settings { tls: Some(Arc::clone(&tls)), ..Settings::default() };
    let server = AuthorizationServer::start(settings).await.expect("a loopback port is free");
    assert!(server.issuer().starts_with("https://127.0.0.1:"));
    let mut settings = MailSettings::trusting(&server);
    settings.tls = Some(tls);
    settings.roots = certificates.roots().expect("an authority");
    let mail = MailConnector::start(settings).await.expect("a loopback port is free");
    let authority = reqwest::Certificate::from_der(&certificates.authority).expect("a certificate");
    let secure = client_builder().tls_certs_only([authority]).build().expect("a client");
    let token = server.subject_token("ada").audience(MAIL_AUDIENCE).scopes("User.Read").mint();
    let request = secure.get(format!("{}/me", mail.base_url())).bearer_auth(token);
    let response = request.send().await.expect("an answer");
    assert_eq!((response.version(), response.status().as_u16()), (Version::HTTP_2, 200));
    assert_eq!(mail.only_request().version, Version::HTTP_2);
    let strange = client_builder().tls_certs_only([]).build().expect("a client");
    assert!(strange.get(format!("{}/me", mail.base_url())).send().await.is_err());
}

#[tokio::test]
async fn the_connector_throttles_fails_and_challenges_as_told() {
    let pair = Pair::start().await;
    let token = pair.token("ada", "Mail.Read");
    pair.mail.script().once(Reply::too_many_requests(3)).once(Reply::too_many_requests_until(784_111_777));
    let response = pair.get("/me/messages", &token).await;
    assert_eq!((response.status().as_u16(), header(&response, "retry-after")), (429, "3".to_owned()));
    let response = pair.get("/me/messages", &token).await;
    assert_eq!(header(&response, "retry-after"), "Sun, 06 Nov 1994 08:49:37 GMT");
    pair.mail.script().once(Reply::status(503).padded_with_headers(60, 1_000));
    let response = pair.get("/me/messages", &token).await;
    assert_eq!(response.status(), 503);
    assert_eq!(header(&response, "x-padding-59").len(), 1_000);
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1763800000"}}}"#;
    pair.mail.script().once(Reply::claims_challenge(claims));
    let response = pair.get("/me/messages", &token).await;
    assert_eq!(response.status(), 401);
    let challenge = header(&response, "www-authenticate");
    assert!(
        challenge.contains("error=\"insufficient_claims\", claims=\"eyJhY2Nlc3NfdG9rZW4iOnsibmJm"),
        "{challenge}"
    );
    assert_eq!(pair.mail.requests().len(), 4, "scripted answers are recorded requests too");
    assert_eq!(pair.get("/me/messages", &token).await.status(), 200);
}

#[tokio::test]
async fn the_connector_can_answer_before_it_has_read_and_for_ever() {
    let pair = Pair::start().await;
    pair.mail.script().once(Reply::status(413).without_reading_the_body());
    let mut stream = TcpStream::connect(pair.mail.address()).await.expect("it listens");
    let head = "POST /v1.0/upload HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("an answer before the body");
    assert_eq!(&answer, b"HTTP/1.1 413");

    pair.mail.script().once(Reply::status(200).body("again ").endless());
    let mut response = client().get(pair.url("/me")).send().await.expect("an answer");
    let mut read = 0;
    while read < 100_000 {
        read += response.chunk().await.expect("a stream").expect("it has no end").len();
    }
}

#[tokio::test]
async fn a_hung_answer_ends_with_its_caller() {
    let pair = Pair::start().await;
    pair.mail.script().always(Reply::hang());
    for http2 in [false, true] {
        let builder = if http2 { client_builder().http2_prior_knowledge() } else { client_builder() };
        let client = builder.build().expect("a client");
        let request = client.get(pair.url("/me")).send();
        assert!(tokio::time::timeout(Duration::from_millis(200), request).await.is_err());
        drop(client);
        idle(&pair.mail).await;
    }
    assert_eq!(pair.mail.requests().len(), 2);
    assert!(pair.mail.requests().iter().all(|request| request.status.is_none()));
}
