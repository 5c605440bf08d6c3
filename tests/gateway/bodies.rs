//! Bodies: streamed both ways, bounded in time, never shorter than they look.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use obo_gateway::demo::script::Reply;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bed::{ANYTHING, Setup, TestBed, assert_refused, refusal};

async fn open_bed() -> TestBed {
    Setup::default().tools(ANYTHING).start().await
}

#[tokio::test]
async fn server_sent_events_arrive_one_by_one() {
    let bed = open_bed().await;
    let reply = bed.get("/mail/events?count=3&every_ms=200", &bed.token("ada")).await;
    assert_eq!(reply.headers()["content-type"], "text/event-stream");
    let mut events = reply.bytes_stream();
    let started = Instant::now();
    let mut arrivals = Vec::new();
    while let Some(event) = events.next().await {
        event.expect("an event");
        arrivals.push(started.elapsed());
    }
    assert!(arrivals.len() >= 3, "buffered into {} pieces", arrivals.len());
    let spread = *arrivals.last().expect("events") - arrivals[0];
    assert!(spread >= Duration::from_millis(200), "all came together, within {spread:?}");
}

#[tokio::test]
async fn an_upload_passes_whole() {
    let bed = open_bed().await;
    let upload = bed.request(reqwest::Method::POST, "/mail/upload").bearer_auth(bed.token("ada"));
    assert_eq!(upload.body(vec![b'x'; 1_000_000]).send().await.expect("an answer").status(), 200);
    assert_eq!(bed.connector.only_request().body_bytes, 1_000_000);
    assert_eq!(bed.records().await[0]["http_request"]["body_length"], 1_000_000);
}

#[tokio::test]
async fn a_download_passes_whole() {
    let bed = open_bed().await;
    let reply = bed.get("/mail/download?bytes=10000000", &bed.token("ada")).await;
    assert_eq!(reply.bytes().await.expect("a body").len(), 10_000_000);
    let records = bed.records().await;
    assert_eq!(records[0]["http_response"]["body_length"], 10_000_000);
}

#[tokio::test]
async fn answers_trailers_pass_and_the_agents_are_dropped() {
    let bed = open_bed().await;
    let token = bed.token("ada");
    let mut stream = TcpStream::connect(bed.gateway.agent_address()).await.expect("a connection");
    let request = format!(
        "POST /mail/trailers HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {token}\r\nte: trailers\r\nconnection: close\r\n\
         transfer-encoding: chunked\r\ntrailer: x-agent\r\n\r\n3\r\nabc\r\n0\r\nx-agent: canary\r\n\r\n"
    );
    stream.write_all(request.replacen("POST", "GET", 1).as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (_, trailers) = answer.rsplit_once("0\r\n").expect("a last chunk");
    assert!(trailers.contains(':'), "no trailers: {answer}");
    assert!(!bed.connector.only_request().contains("canary"));
}

#[tokio::test]
async fn trailers_end_an_answer_over_http2_that_is_recorded_as_whole() {
    // What happened: trailers end an answer over HTTP/2, and were passed on before there was a record; then the agent was said to
    // have left.
    let bed = open_bed().await;
    let reply = crate::http2::client(None).get(bed.url("/mail/trailers")).bearer_auth(bed.token("ada"));
    let reply = reply.header("te", "trailers").send().await.expect("an answer");
    assert_eq!(reply.text().await.expect("a whole body"), "trailers follow\n");
    let trail = std::fs::read_to_string(bed.audit_path()).expect("a trail");
    assert!(trail.contains(r#""outcome":"answered""#), "{trail}");
}

#[tokio::test]
async fn a_body_that_is_cut_short_never_looks_whole() {
    let bed = open_bed().await;
    bed.connector.script().once(Reply::normal().cut_after(40));
    let reply = bed.get("/mail/me", &bed.token("ada")).await;
    assert_eq!(reply.status(), 200);
    assert!(reply.bytes().await.is_err(), "a cut body looked whole");
    assert_eq!(bed.outcomes(1).await, ["answer_broke_off"]);
}

#[tokio::test]
async fn a_connector_that_misbehaves_is_given_up_in_time() {
    let bed = Setup::default().tools(ANYTHING).hasty().start().await;
    let token = bed.token("ada");
    for (reply, status, code) in [
        (Reply::hang(), 504, "connector_timeout"),
        (Reply::reset(), 502, "connector_broke"),
        (Reply::raw("this is not HTTP\r\n\r\n"), 502, "connector_broke"),
        (
            Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef"),
            502,
            "connector_broke",
        ),
        (Reply::normal().padded_with_headers(10_000, 20), 502, "connector_broke"),
    ] {
        bed.connector.script().always(reply);
        let refused = refusal(bed.get("/mail/me", &token).await).await;
        assert_refused(&refused, status, code);
        bed.connector.script().clear();
        assert_eq!(bed.get("/mail/me", &token).await.status(), 200);
    }
    bed.connector.stop_listening().await;
    let refused = refusal(bed.get("/mail/me", &token).await).await;
    assert_refused(&refused, 502, "connector_unreachable");
    bed.connector.listen_again().await.expect("listening");
    assert_eq!(bed.get("/mail/me", &token).await.status(), 200);
}

#[tokio::test]
async fn a_connector_that_stops_in_the_middle_is_given_up_in_time() {
    let bed = Setup::default().tools(ANYTHING).hasty().start().await;
    bed.connector
        .script()
        .once(Reply::status(200).body(vec![b'x'; 1_000]).dripping(100, Duration::from_secs(30)));
    let reply = bed.get("/mail/me", &bed.token("ada")).await;
    assert!(reply.bytes().await.is_err(), "a stalled body looked whole");
    assert_eq!(bed.outcomes(1).await, ["answer_broke_off"]);
}

#[tokio::test]
async fn an_agent_that_stalls_or_leaves_while_sending_is_recorded() {
    let bed = Setup::default().tools(ANYTHING).hasty().start().await;
    let token = bed.token("ada");
    let head = format!(
        "POST /mail/upload HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {token}\r\ncontent-length: 100\r\n\r\nabc"
    );
    let mut stalled = TcpStream::connect(bed.gateway.agent_address()).await.expect("a connection");
    stalled.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 4_096];
    let read = stalled.read(&mut answer).await.expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    drop(stalled);
    let mut leaving = TcpStream::connect(bed.gateway.agent_address()).await.expect("a connection");
    leaving.write_all(head.as_bytes()).await.expect("sent");
    drop(leaving);
    let outcomes = bed.outcomes(2).await;
    assert_eq!(outcomes[0], "request_stalled");
    assert!(["request_broke_off", "agent_left"].contains(&outcomes[1].as_str()), "{outcomes:?}");
    for received in bed.connector.requests() {
        assert!(!received.body_complete, "the connector took a cut body for a whole one");
    }
}

#[tokio::test]
async fn an_agent_that_leaves_within_the_answer_is_recorded() {
    let bed = open_bed().await;
    let reply = bed.get("/mail/events?count=100&every_ms=50", &bed.token("ada")).await;
    let mut events = reply.bytes_stream();
    events.next().await.expect("an event").expect("an event");
    drop(events);
    assert_eq!(bed.outcomes(1).await, ["agent_left"]);
    for _ in 0..100 {
        if bed.connector.in_flight() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the connector is still at work for nobody");
}

#[tokio::test]
async fn a_connector_that_accepts_and_says_nothing_is_given_up_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = silent.local_addr().expect("an address");
    let bed = Setup::default()
        .config(move |parts| {
            let whole = parts.whole(&parts.issuer(), &parts.mail(ANYTHING));
            whole.replace(&parts.connector.base_url(), &format!("https://{address}"))
        })
        .hasty()
        .start()
        .await;
    let refused = refusal(bed.get("/mail/me", &bed.token("ada")).await).await;
    assert_refused(&refused, 504, "connector_timeout");
    assert!(
        refused.2["detail"].as_str().is_some_and(|detail| detail.contains("connection")),
        "{}",
        refused.2
    );
}
