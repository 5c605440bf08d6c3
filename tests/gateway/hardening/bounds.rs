//! Each bound and each deadline of what agents have open and send, exceeded.

use std::time::Duration;

use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::frames::{Answers, REFUSED_STREAM};
use super::http2::{answers, begin, call};
use super::{HardenedBed, PATIENCE, answers};
use crate::bed::{PATIENT, assert_refused, outcome, refusal};

/// What is waited for so long did not come. No test passes only because a machine is slow.
const IN_VAIN: Duration = Duration::from_millis(300);

/// Longer than any machine is busy, and shorter than any of the defaults: one that holds in place of what is configured is found
/// out.
const SOONER: Duration = Duration::from_secs(8);

/// Everything that comes until the gateway closes.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(SOONER, stream.read_to_end(&mut rest)).await;
    // A reset is an end as well.
    let _ = closed.expect("it stays open");
    rest
}

fn get(bed: &HardenedBed, lines: &str) -> String {
    format!("GET /mail/me HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {}\r\n{lines}\r\n", bed.ada)
}

/// The answer to one request, on a connection that stays open.
async fn one_answer(stream: &mut TcpStream, request: &str) -> Vec<u8> {
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok") {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await;
        assert_ne!(read.expect("in time").expect("read"), 0, "{:?}", String::from_utf8_lossy(&answer));
    }
    answer
}

#[tokio::test]
async fn who_comes_when_all_connections_are_taken_waits() {
    let bed = HardenedBed::within("idle: 1h", "connections: 2").await;
    let (first, mut second) = (bed.connect().await, bed.connect().await);
    one_answer(&mut second, &get(&bed, "")).await;
    let mut third = bed.connect().await;
    let request = get(&bed, "");
    let answer = one_answer(&mut third, &request);
    tokio::pin!(answer);
    assert!(tokio::time::timeout(IN_VAIN, answer.as_mut()).await.is_err(), "a third one is served");
    drop(first);
    answer.await;
}

#[tokio::test]
async fn streams_are_counted() {
    let bed = HardenedBed::within("idle: 1h", "streams: 2").await;
    let begun: Vec<u8> = [1, 3, 5].into_iter().flat_map(|id| begin(&bed, id, "/mail/echo", &[])).collect();
    let (came, _stream) = answers(&bed, &begun, |came| !came.resets.is_empty()).await;
    assert_eq!(came.resets.into_iter().collect::<Vec<_>>(), [(5, REFUSED_STREAM)]);
}

#[tokio::test]
async fn heads_and_targets_are_measured() {
    let bed = HardenedBed::within("idle: 1h", "head_bytes: 8KiB, headers: 16, target_bytes: 1KiB").await;
    let large = format!("x: {}\r\n", "y".repeat(8_192));
    let many = "x: y\r\n".repeat(16);
    let target = format!("/mail/me?{}", "x".repeat(1_024));
    let long = get(&bed, "").replacen("/mail/me", &target, 1);
    for (request, status) in [(get(&bed, &large), 431), (get(&bed, &many), 431), (long, 414)] {
        let answer =
            bed.exchange(format!("{request}{}", get(&bed, "connection: close\r\n")).as_bytes(), 1_000).await;
        let answers = answers::read(&answer).expect("answers");
        assert_eq!(answers[0].status, status);
    }
    let many = vec![("x", "y"); 16];
    for (request, status) in [
        (call(&bed, 1, "GET", "/mail/me", &[("x", &"y".repeat(8_192))]), 431),
        (call(&bed, 1, "GET", "/mail/me", &many), 431),
        (call(&bed, 1, "GET", &target, &[]), 414),
    ] {
        let (came, _stream) = answers(&bed, &request, |came| came.is_over(1)).await;
        assert_eq!(came.statuses.get(&1), Some(&status));
    }
    bed.upstream.take();
    bed.assert_serves("what is too large").await;
    let refused: Vec<_> =
        bed.bed.records().await.iter().map(outcome).filter(|outcome| outcome != "answered").collect();
    assert_eq!(refused, ["target_too_long", "headers_too_many", "target_too_long"]);
}

// They were refused as if two readers could take them differently, with a remedy that did not help.
#[tokio::test]
async fn paths_have_a_bound_of_their_own() {
    let bed = HardenedBed::within("idle: 1h", "streams: 256").await;
    for path in [format!("/mail/{}", "x".repeat(8_192)), format!("/mail{}", "/x".repeat(64))] {
        let request = get(&bed, "connection: close\r\n").replacen("/mail/me", &path, 1);
        let answer = bed.exchange(request.as_bytes(), 1_000).await;
        assert_eq!(answers::read(&answer).expect("an answer")[0].status, 414);
    }
    let refused: Vec<_> = bed.bed.records().await.iter().map(outcome).collect();
    assert_eq!(refused, ["target_too_long"; 2]);
}

#[tokio::test]
async fn silence_ends_a_connection_wherever_it_begins() {
    let bed = HardenedBed::within("opening: 300ms, head: 300ms, idle: 300ms", "streams: 256").await;
    // Nothing, the beginning of either preface, a part of a head.
    for begun in
        [String::new(), "GET".to_owned(), "PRI * HTTP/2".to_owned(), get(&bed, "").replace("\r\n\r\n", "")]
    {
        let mut stream = bed.connect().await;
        stream.write_all(begun.as_bytes()).await.expect("sent");
        assert!(rest(&mut stream).await.is_empty(), "{begun}");
    }
    // After an answer.
    let mut stream = bed.connect().await;
    one_answer(&mut stream, &get(&bed, "")).await;
    assert!(rest(&mut stream).await.is_empty());
    let (_, mut stream) = answers(&bed, &call(&bed, 1, "GET", "/mail/me", &[]), |came| came.is_over(1)).await;
    let mut came = Answers::default();
    let told = came.read(&mut stream, |came| came.gone_away.is_some());
    tokio::time::timeout(SOONER, told).await.expect("a client is told that its connection goes");
    // One that does not say that it has heard gets some seconds.
    tokio::time::timeout(PATIENCE, came.read(&mut stream, |_| false)).await.expect("closed");
    // HTTP/2 without any call.
    let (came, _stream) = answers(&bed, &[], |came| came.gone_away.is_some()).await;
    assert_eq!(came.gone_away, Some(0));
    bed.upstream.take();
    bed.assert_serves("silence").await;
}

#[tokio::test]
async fn a_call_is_no_silence() {
    let bed = HardenedBed::within("opening: 300ms, head: 300ms, idle: 300ms", "streams: 256").await;
    let mut stream = bed.connect().await;
    stream.write_all(get(&bed, "").replace("/me", "/drip").as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    // A piece comes every twenty milliseconds.
    while answer.iter().filter(|byte| **byte == b'.').count() < 60 {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await;
        assert_ne!(read.expect("in time").expect("read"), 0, "it was closed");
    }
}

#[tokio::test]
async fn a_body_that_stops_coming_is_not_waited_for() {
    let bed = HardenedBed::configured(|config| {
        let config = config.replace("timeouts: { drain: 2s }", "timeouts: { body: 300ms, idle: 300ms }");
        config.replace(PATIENT, "{ idle: 1h }")
    })
    .await;
    let request = get(&bed, "content-length: 10\r\n").replacen("GET", "POST", 1);
    let mut stream = bed.connect().await;
    stream.write_all(format!("{request}abc").as_bytes()).await.expect("sent");
    assert!(rest(&mut stream).await.starts_with(b"HTTP/1.1 408"));
    assert_eq!(bed.bed.outcomes(1).await, ["request_stalled"]);
}

#[tokio::test]
async fn an_agent_that_reads_nothing_is_not_waited_for() {
    let bed = HardenedBed::within("write: 400ms", "streams: 256").await;
    let mut stalled = bed.connect().await;
    stalled.write_all(get(&bed, "").replace("/me", "/large").as_bytes()).await.expect("sent");
    assert_eq!(bed.bed.outcomes(1).await, ["agent_left"]);
    // Over HTTP/2 with a window that is never opened.
    let (_, _stalled) =
        answers(&bed, &call(&bed, 1, "GET", "/mail/large", &[]), |came| came.statuses.len() == 1).await;
    assert_eq!(bed.bed.outcomes(2).await, ["agent_left", "agent_left"]);
    bed.assert_idle("agents that do not read").await;
}

#[tokio::test]
async fn a_call_ends_when_its_time_is_over() {
    let bed = HardenedBed::within("call: 1s", "streams: 256").await;
    let never = bed.bed.request(Method::GET, "/mail/never").bearer_auth(&bed.ada).send().await;
    assert_refused(&refusal(never.expect("an answer")).await, 504, "call_timeout");
    let endless = bed.bed.request(Method::GET, "/mail/drip").bearer_auth(&bed.ada).send().await;
    assert!(endless.expect("a head").bytes().await.is_err(), "a cut answer looks whole");
    assert_eq!(bed.bed.outcomes(2).await, ["call_timeout", "call_timeout"]);
}

#[tokio::test]
async fn a_handshake_is_not_waited_for() {
    use obo_gateway::demo::certificates::DevelopmentCertificates;
    let folder = tempfile::tempdir().expect("a folder");
    let server = DevelopmentCertificates::ensure(folder.path()).expect("certificates").server;
    let tls = format!(
        "tls: {{ certificate: {}, key: {} }}",
        server.certificate_path.display(),
        server.key_path.display()
    );
    let bed = HardenedBed::configured(move |config| {
        config.replace("timeouts: { drain: 2s }", &format!("{tls}\ntimeouts: {{ handshake: 300ms }}"))
    })
    .await;
    for begun in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = bed.connect().await;
        stream.write_all(begun).await.expect("sent");
        assert!(rest(&mut stream).await.is_empty());
    }
}

#[tokio::test]
async fn a_reload_takes_bounds_over_for_what_comes_next() {
    let bed = HardenedBed::within("idle: 1h", "connections: 1").await;
    let mut before = bed.connect().await;
    one_answer(&mut before, &get(&bed, "")).await;
    let path = bed.bed.config_path();
    let config = std::fs::read_to_string(&path).expect("a configuration");
    let config =
        config.replace("connections: 1", "connections: 3, headers: 16").replace("idle: 1h", "opening: 300ms");
    std::fs::write(&path, config).expect("written");
    let mut waiting = bed.connect().await;
    bed.bed.gateway.reload().await.expect("a good configuration");
    assert!(rest(&mut waiting).await.is_empty(), "it has a place, and the new deadline");
    let mut after = bed.connect().await;
    let many = get(&bed, &"x: y\r\n".repeat(20));
    after.write_all(many.as_bytes()).await.expect("sent");
    assert!(rest(&mut after).await.starts_with(b"HTTP/1.1 431"));
    one_answer(&mut before, &get(&bed, "")).await;
}
