//! Ends that the connector brings about.

use std::time::Duration;

use bytes::Bytes;
use obo_gateway::demo::script::Reply;
use reqwest::Method;
use serde_json::json;

use super::{McpBed, Way};

/// A call, and the status of its answer. Whether its body comes whole, the record says.
async fn call(bed: &McpBed, status: u16) {
    let reply = bed.bed.get("/mail/me", &bed.bed.token("ada")).await;
    assert_eq!(reply.status(), status);
    drop(reply.bytes().await);
}

pub(super) const WAYS: &[Way] = &[
    Way::new("it is answered", &["answered"], |bed| Box::pin(call(bed, 200))),
    Way::new("it is answered with a fault", &["answered"], |bed| {
        Box::pin(async {
            bed.bed.connector.script().once(Reply::status(500).body("it is broken"));
            call(bed, 500).await;
        })
    }),
    Way::new("it is answered with a head alone", &["answered"], |bed| {
        Box::pin(async {
            let head = bed.bed.request(Method::HEAD, "/mail/me").bearer_auth(bed.bed.token("ada"));
            bed.bed.connector.script().once(Reply::status(200).header("content-length", "5"));
            assert_eq!(head.send().await.expect("a head").status(), 200);
        })
    }),
    Way::new("it is answered with nothing", &["answered"], |bed| {
        Box::pin(async {
            bed.bed.connector.script().once(Reply::status(204));
            call(bed, 204).await;
        })
    }),
    Way::new("the connector does not take the connection", &["connector_unreachable"], |bed| {
        Box::pin(async {
            bed.bed.connector.stop_listening().await;
            call(bed, 502).await;
        })
    }),
    Way::new("the connector breaks off before its answer", &["connector_broke"], |bed| {
        Box::pin(async {
            bed.bed.connector.script().always(Reply::reset());
            call(bed, 502).await;
        })
    }),
    Way::new("the connector answers what is not HTTP", &["connector_broke"], |bed| {
        Box::pin(async {
            bed.bed.connector.script().always(Reply::raw("this is not HTTP\r\n\r\n"));
            call(bed, 502).await;
        })
    }),
    Way::new("the connector breaks off within its answer", &["answer_broke_off"], |bed| {
        Box::pin(async {
            bed.bed.connector.script().once(Reply::normal().cut_after(40));
            call(bed, 200).await;
        })
    }),
    Way::new("the connector does not answer in time", &["connector_timeout"], |bed| {
        Box::pin(async {
            bed.bed.connector.script().once(Reply::hang());
            call(bed, 504).await;
        })
    })
    .in_haste(),
    Way::new("the connector stops within its answer", &["answer_broke_off"], |bed| {
        Box::pin(async {
            let slow = Reply::status(200).body(vec![b'x'; 1_000]).dripping(100, Duration::from_secs(30));
            bed.bed.connector.script().once(slow);
            call(bed, 200).await;
        })
    })
    .in_haste(),
    Way::new("an MCP server sends what cannot be read", &["answer_broke_off"], |bed| {
        Box::pin(async {
            let endless = Reply::status(200)
                .replacing_header("content-type", "text/event-stream")
                .body(Bytes::from([b"data: ".as_slice(), &vec![b'x'; 10 * 1_048_576]].concat()));
            bed.notes.script_of("tools/call").once(endless);
            let count = json!({ "name": "count_slowly", "arguments": { "to": 1 } });
            let reply = bed.modern("ada", "tools/call", count).send().await.expect("an answer");
            assert!(reply.bytes().await.is_err(), "what cannot be read was passed on");
        })
    }),
];
