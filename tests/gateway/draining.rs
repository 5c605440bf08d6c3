//! What a drain says to those who are connected: nobody loses a call that was on its way.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use obo_gateway::demo::certificates::DevelopmentCertificates;

use crate::bed::{ANYTHING, Setup, TOOLS, TestBed};

/// A connection that has said nothing yet. Its other end has not been looked at when this returns.
fn connect(bed: &TestBed) -> TcpStream {
    let stream = TcpStream::connect(bed.gateway.agent_address()).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    stream
}

fn request(token: &str) -> String {
    format!("GET /mail/me/messages HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {token}\r\n\r\n")
}

/// Sends a call, and reads until the connection is closed: off this thread, on which the gateway runs.
async fn last_call(mut stream: TcpStream, token: String) -> String {
    let answer = tokio::task::spawn_blocking(move || {
        stream.write_all(request(&token).as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer, and the end");
        answer
    });
    answer.await.expect("no panic")
}

#[track_caller]
fn assert_last(answer: &str) {
    let head = answer.split("\r\n\r\n").next().expect("a head").to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(head.lines().any(|line| line == "connection: close"), "{head}");
}

#[tokio::test]
async fn who_has_connected_is_answered_and_told_that_it_was_the_last_one() {
    // What happened: a connection on which no byte had come was closed, and the call that was on its way was lost. Those that nobody had
    // accepted were reset.
    let bed = TestBed::start().await;
    let token = bed.token("ada");
    // Nobody accepts them before the drain: nothing is awaited here.
    let connections: Vec<TcpStream> = (0..50).map(|_| connect(&bed)).collect();
    let drain = bed.gateway.drain();
    let calls = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        join_all(connections.into_iter().map(|stream| last_call(stream, token.clone()))).await
    };
    let (cut, answers) = tokio::join!(drain, calls);
    assert_eq!(cut, 0);
    answers.iter().for_each(|answer| assert_last(answer));
    assert_eq!(bed.records().await.len(), 50);
}

#[tokio::test]
async fn a_kept_connection_has_its_last_call_and_a_silent_one_is_closed_soon() {
    let bed = Setup::default().start().await;
    let token = bed.token("ada");
    let (mut kept, mut silent) = (connect(&bed), connect(&bed));
    let first = request(&token);
    let (kept, silent) = tokio::task::spawn_blocking(move || {
        for stream in [&mut kept, &mut silent] {
            stream.write_all(first.as_bytes()).expect("sent");
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n0\r\n\r\n") && !answer.ends_with(b"]}") {
                let mut bytes = [0; 4_096];
                let count = stream.read(&mut bytes).expect("an answer");
                assert_ne!(count, 0, "it was closed");
                answer.extend_from_slice(&bytes[..count]);
            }
        }
        (kept, silent)
    })
    .await
    .expect("no panic");
    let begun = Instant::now();
    let silence = tokio::task::spawn_blocking(move || {
        let mut silent = silent;
        assert_eq!(silent.read(&mut [0]).expect("the end"), 0);
    });
    let last = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        last_call(kept, token.clone()).await
    };
    let (cut, answer, silence) = tokio::join!(bed.gateway.drain(), last, silence);
    silence.expect("nothing but the end");
    assert_eq!(cut, 0, "nobody has to be cut");
    assert_last(&answer);
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "nothing waits for the deadline: {:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn http2_is_told_with_goaway() {
    const GOAWAY: u8 = 7;
    let bed = TestBed::start().await;
    let mut stream = connect(&bed);
    let frames = tokio::task::spawn_blocking(move || {
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("sent");
        let mut frames: Vec<(u8, Vec<u8>)> = Vec::new();
        let mut head = [0; 9];
        while stream.read_exact(&mut head).is_ok() {
            let length = usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; length];
            stream.read_exact(&mut payload).expect("a payload");
            // A ping is answered, as any client would.
            if head[3] == 6 && head[4] == 0 {
                let answer = [&[0, 0, 8, 6, 1, 0, 0, 0, 0], payload.as_slice()].concat();
                stream.write_all(&answer).expect("sent");
            }
            frames.push((head[3], payload));
        }
        frames
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (cut, frames) = tokio::join!(bed.gateway.drain(), frames);
    let goaways: Vec<_> = frames.expect("no panic").into_iter().filter(|(kind, _)| *kind == GOAWAY).collect();
    assert_eq!(cut, 0);
    // First any stream is taken still, so that none that is on its way is lost; then the last one is named.
    let expected: [&[u8]; 2] = [&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0], &[0, 0, 0, 0, 0, 0, 0, 0]];
    assert_eq!(goaways.iter().map(|(_, payload)| payload.as_slice()).collect::<Vec<_>>(), expected);
}

/// Calls one after the other until nobody listens any more. Anything else that ends it is a call that was lost.
async fn until_nobody_listens(client: reqwest::Client, url: String, token: String) -> usize {
    let mut calls = 0;
    loop {
        match client.get(&url).bearer_auth(&token).send().await {
            Ok(answer) => {
                assert_eq!(answer.status(), 200);
                answer.bytes().await.unwrap_or_else(|error| panic!("call {calls} broke off: {error:?}"));
                calls += 1;
            }
            Err(error) if error.is_connect() => return calls,
            Err(error) => panic!("call {calls} was lost: {error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_under_way_lose_no_call_to_a_drain() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificates = DevelopmentCertificates::ensure(folder.path()).expect("certificates");
    let (certificate, key) = (certificates.server.certificate_path, certificates.server.key_path);
    let tls = format!("tls: {{ certificate: {}, key: {} }}\n", certificate.display(), key.display());
    let bed = Setup::default()
        .config(move |parts| format!("{tls}{}", parts.whole(&parts.issuer(), &parts.mail(TOOLS))))
        .start()
        .await;
    let token = bed.token("ada");
    let url = format!("https://localhost:{}/mail/me/messages", bed.gateway.agent_address().port());
    let root = reqwest::Certificate::from_der(&certificates.authority).expect("a certificate");
    let lanes = (0..8).map(|lane| {
        let builder = reqwest::Client::builder().no_proxy().tls_certs_only([root.clone()]);
        let builder = builder.retry(reqwest::retry::never()).timeout(Duration::from_secs(20));
        let client = if lane % 2 == 0 { builder.http1_only() } else { builder }.build().expect("a client");
        tokio::spawn(until_nobody_listens(client, url.clone(), token.clone()))
    });
    let lanes: Vec<_> = lanes.collect();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(bed.gateway.drain().await, 0);
    let mut calls = 0;
    for lane in lanes {
        calls += lane.await.expect("no call was lost");
    }
    assert_eq!(bed.records().await.len(), calls, "each call has its record");
}

#[tokio::test]
async fn it_is_not_ready_within_a_tenth_of_a_second() {
    let bed = Setup::default().tools(ANYTHING).start().await;
    let running = bed.get("/mail/events?count=5&every_ms=150", &bed.token("ada")).await;
    let drain = bed.gateway.drain();
    let ready = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        bed.admin("/readyz").await
    };
    let (cut, (status, body), rest) = tokio::join!(drain, ready, running.text());
    assert_eq!((cut, status), (0, 503));
    assert!(body.contains(r#""draining":true"#), "{body}");
    assert_eq!(rest.expect("a whole answer").matches("data:").count(), 5);
}
