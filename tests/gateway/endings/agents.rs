//! Ends that the agent brings about: it leaves, or says no more.

use futures_util::{StreamExt as _, stream};
use obo_gateway::demo::authorization_server::Endpoint;
use obo_gateway::demo::script::Reply;
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{McpBed, Way, until};

/// What an agent that leaves while it sends is recorded as: the body's end and the agent's are seen in either order.
const LEFT_IN_BODY: &[&str] = &["request_broke_off", "agent_left"];

/// A call over HTTP/1, or over HTTP/2 on a connection that stays when the call is reset.
fn call(bed: &McpBed, http2: Option<&reqwest::Client>, method: Method, path: &str) -> RequestBuilder {
    let call = match http2 {
        Some(client) => client.request(method, bed.bed.url(path)),
        None => bed.bed.request(method, path),
    };
    call.bearer_auth(bed.bed.token("ada"))
}

/// Sends a call and leaves it when the moment has come: over HTTP/1 the connection ends, over HTTP/2 its stream is reset.
async fn leave(call: RequestBuilder, moment: impl Future<Output = ()>) {
    tokio::select! {
        answer = call.send() => panic!("it was answered: {answer:?}"),
        () = moment => {}
    }
}

/// It is over for the gateway although the connection stays: what ended it was the reset of its stream.
async fn was_reset(bed: &McpBed, client: reqwest::Client) {
    bed.bed.outcomes(1).await;
    assert_eq!(bed.bed.metric("obo_gateway_open_connections").await, Some(1.0));
    drop(client);
}

async fn leave_within_exchange(bed: &McpBed, http2: Option<&reqwest::Client>) {
    let server = &bed.bed.authorization_server;
    server.script(Endpoint::Token).always(Reply::hang());
    let asked = until("an exchange", || server.fetches(Endpoint::Token) == 1);
    leave(call(bed, http2, Method::GET, "/mail/me"), asked).await;
}

async fn leave_the_connector_at_work(bed: &McpBed, http2: Option<&reqwest::Client>) {
    bed.bed.connector.script().once(Reply::hang());
    let at_work = until("a connector at work", || bed.bed.connector.in_flight() == 1);
    leave(call(bed, http2, Method::GET, "/mail/me"), at_work).await;
}

async fn leave_within_request(bed: &McpBed, http2: Option<&reqwest::Client>) {
    let body = stream::iter([Ok::<_, std::io::Error>("abc")]).chain(stream::pending());
    let upload = call(bed, http2, Method::POST, "/mail/upload").body(reqwest::Body::wrap_stream(body));
    leave(upload, until("a connector at work", || bed.bed.connector.in_flight() == 1)).await;
}

async fn leave_within_answer(bed: &McpBed, http2: Option<&reqwest::Client>) {
    let events = call(bed, http2, Method::GET, "/mail/events?count=10000&every_ms=20");
    let mut events = events.send().await.expect("an answer").bytes_stream();
    events.next().await.expect("an event").expect("an event");
}

/// Sends the beginning of a request by hand.
async fn begin(bed: &McpBed, path: &str) -> TcpStream {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\ncontent-length: 100\r\n\r\n{{\"a",
        bed.bed.token("ada")
    );
    let mut stream = TcpStream::connect(bed.bed.gateway.agent_address()).await.expect("a connection");
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream
}

pub(super) const WAYS: &[Way] = &[
    Way::new("the agent leaves before the exchange", &["agent_left"], |bed| {
        Box::pin(async {
            let server = &bed.bed.authorization_server;
            server.rotate_keys(false);
            server.script(Endpoint::Jwks).always(Reply::hang());
            let before = server.fetches(Endpoint::Jwks);
            let asked = until("a fetch of the keys", || server.fetches(Endpoint::Jwks) > before);
            leave(call(bed, None, Method::GET, "/mail/me"), asked).await;
        })
    }),
    Way::new("the agent leaves within the exchange", &["agent_left"], |bed| {
        Box::pin(leave_within_exchange(bed, None))
    }),
    Way::new("the agent leaves while the connector works", &["agent_left"], |bed| {
        Box::pin(leave_the_connector_at_work(bed, None))
    }),
    Way::new("the agent leaves within its request", LEFT_IN_BODY, |bed| {
        Box::pin(leave_within_request(bed, None))
    }),
    Way::new("the agent leaves within the answer", &["agent_left"], |bed| {
        Box::pin(leave_within_answer(bed, None))
    }),
    Way::new("the agent leaves within an MCP message", LEFT_IN_BODY, |bed| {
        Box::pin(async { drop(begin(bed, "/notes").await) })
    }),
    Way::new("the agent leaves within an MCP stream", &["agent_left"], |bed| {
        Box::pin(async {
            bed.notes.hold_counting();
            let count = json!({
                "name": "count_slowly", "arguments": { "to": 3 }, "_meta": { "progressToken": 1 },
            });
            let mut reply = bed.modern("ada", "tools/call", count).send().await.expect("an answer");
            reply.chunk().await.expect("a piece").expect("a piece");
        })
    }),
    Way::new("the agent says no more within its request", &["request_stalled"], |bed| {
        Box::pin(async {
            let mut stalled = begin(bed, "/mail/upload").await;
            let mut answer = vec![0; 4_096];
            let read = stalled.read(&mut answer).await.expect("an answer");
            assert!(answer[..read].starts_with(b"HTTP/1.1 408"));
        })
    })
    .in_haste(),
    Way::new("the agent resets its stream within the exchange", &["agent_left"], |bed| {
        Box::pin(async {
            let client = crate::http2::client(None);
            leave_within_exchange(bed, Some(&client)).await;
            was_reset(bed, client).await;
        })
    }),
    Way::new("the agent resets its stream while the connector works", &["agent_left"], |bed| {
        Box::pin(async {
            let client = crate::http2::client(None);
            leave_the_connector_at_work(bed, Some(&client)).await;
            was_reset(bed, client).await;
        })
    }),
    Way::new("the agent resets its stream within its request", LEFT_IN_BODY, |bed| {
        Box::pin(async {
            let client = crate::http2::client(None);
            leave_within_request(bed, Some(&client)).await;
            was_reset(bed, client).await;
        })
    }),
    Way::new("the agent resets its stream within the answer", &["agent_left"], |bed| {
        Box::pin(async {
            let client = crate::http2::client(None);
            leave_within_answer(bed, Some(&client)).await;
            was_reset(bed, client).await;
        })
    }),
    Way::new("the agent's connection ends with the stream on it", &["agent_left"], |bed| {
        Box::pin(async {
            let client = crate::http2::client(None);
            let events = call(bed, Some(&client), Method::GET, "/mail/events?count=10000&every_ms=20");
            let mut events = events.send().await.expect("an answer").bytes_stream();
            events.next().await.expect("an event").expect("an event");
            drop(client);
        })
    }),
];
