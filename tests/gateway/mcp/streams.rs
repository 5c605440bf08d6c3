//! Streams: event by event, until one of the two leaves or the caller's token ends.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use obo_gateway::demo::notes::CountEnd;
use obo_gateway::demo::script::Reply;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::bed::{McpBed, answer, modern, request};

/// How long a stream lives on a token that expired a while ago, but not so long ago that it is refused: clocks may differ by
/// a minute.
const LEFT: u64 = 12;

fn count(to: u64) -> Value {
    json!({ "name": "count_slowly", "arguments": { "to": to }, "_meta": { "progressToken": 1 } })
}

/// The next event with data.
async fn next_event(response: &mut Response) -> Option<Value> {
    let mut text = String::new();
    loop {
        let chunk = response.chunk().await.ok()??;
        text.push_str(std::str::from_utf8(&chunk).expect("text"));
        let mut data = text.lines().filter_map(|line| line.strip_prefix("data:"));
        // Sessions begin with an event without data, from which the stream can be resumed.
        if text.ends_with("\n\n")
            && let Some(message) = data.find_map(|data| serde_json::from_str(data).ok())
        {
            return Some(message);
        }
    }
}

async fn until(what: impl Fn() -> bool) -> bool {
    for _ in 0..500 {
        if what() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let bed = McpBed::start().await;
    bed.notes.hold_counting();
    let mut response = bed.modern("ada", "tools/call", count(2)).send().await.expect("an answer");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let first = next_event(&mut response).await.expect("the first event, while the second is held");
    assert_eq!(first["params"]["progress"], 1, "{first}");
    bed.notes.go_on_counting();
    let (_, last) = answer(response).await;
    assert_eq!(last["result"]["isError"], false, "{last}");
    assert_eq!(bed.bed.outcomes(1).await, ["answered"]);
}

#[tokio::test]
async fn an_agent_that_leaves_cancels_a_modern_call_and_no_legacy_one() {
    let bed = McpBed::start().await;
    let session = bed.session("ada").await;
    for (is_modern, end) in [(true, CountEnd::Cancelled), (false, CountEnd::Finished)] {
        let before = bed.notes.counts().len();
        bed.notes.hold_counting();
        let mut response = match is_modern {
            true => bed.modern("ada", "tools/call", count(3)).send().await.expect("an answer"),
            false => session.post(&request(9, "tools/call", count(3))).await,
        };
        next_event(&mut response).await.expect("an event");
        let counted = || bed.notes.counts()[before].end;
        drop(response);
        if is_modern {
            assert!(until(|| counted() != CountEnd::Counting).await, "the server hears of it");
            bed.notes.go_on_counting();
        } else {
            let recorded = bed.bed.outcomes(4).await;
            assert_eq!(recorded.last().map(String::as_str), Some("agent_left"));
            bed.notes.go_on_counting();
            assert!(until(|| counted() != CountEnd::Counting).await, "it comes to an end");
        }
        assert_eq!(counted(), end, "modern: {is_modern}");
    }
}

#[tokio::test]
async fn a_stream_ends_when_the_token_does() {
    let bed = McpBed::start().await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let token = bed.bed.authorization_server.subject_token("ada").claim("exp", now - 60 + LEFT).mint();
    let session = bed.session("ada").await;
    bed.notes.hold_counting();
    let stream = session.request(Method::GET).header("accept", "text/event-stream");
    let listen =
        bed.modern("ada", "subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } }));
    let call = bed.modern("ada", "tools/call", count(3));
    let send = async |request: reqwest::RequestBuilder| {
        let mut request = request.build().expect("a request");
        let value = format!("Bearer {token}").parse().expect("a value");
        request.headers_mut().insert("authorization", value);
        let response = reqwest::Client::new().execute(request).await.expect("an answer");
        assert_eq!(response.status(), 200);
        response.text().await.expect("a clean end")
    };
    let (stream, listened, called) = tokio::join!(send(stream), send(listen), send(call));
    let last = |text: &str| -> Value {
        let data = text.lines().filter_map(|line| line.strip_prefix("data:")).next_back().expect("an event");
        serde_json::from_str(data).expect("a message")
    };
    assert!(!stream.contains("error"), "{stream}");
    assert_eq!(last(&listened)["result"], json!({ "resultType": "complete" }), "{listened}");
    assert_eq!(last(&called)["error"]["code"], 401, "{called}");
    let outcomes = bed.bed.outcomes(5).await;
    assert_eq!(outcomes[2..], ["stream_expired", "stream_expired", "stream_expired"]);
}

#[tokio::test]
async fn an_event_without_an_end_is_cut_and_the_record_says_who_broke_off() {
    let bed = McpBed::start().await;
    let endless = Reply::status(200)
        .replacing_header("content-type", "text/event-stream")
        .body(Bytes::from([b"data: ".as_slice(), &vec![b'x'; 10 * 1_048_576]].concat()));
    bed.notes.script_of("tools/call").once(endless);
    let response = bed.modern("ada", "tools/call", count(1)).send().await.expect("an answer");
    let passed = response.bytes().await;
    assert!(passed.is_err(), "what cannot be read is not passed on: {:?}", passed.map(|bytes| bytes.len()));
    assert_eq!(bed.bed.outcomes(1).await, ["answer_broke_off"]);
}

#[tokio::test]
async fn a_request_of_another_form_is_answered_in_mcps_own() {
    let bed = McpBed::start().await;
    let malformed = [
        ("{", -32700),
        ("[]", -32600),
        (r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","method":"tools/call"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","Method":"tools/call"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"} {}"#, -32700),
        (r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{}}"#, -32602),
        (r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","name":"b"}}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","Name":"b"}}"#, -32602),
    ];
    for (text, code) in malformed {
        for version in [None, Some("2026-07-28")] {
            let mut request = bed.post("ada", text);
            if let Some(version) = version {
                request = request.header("mcp-protocol-version", version);
            }
            let (status, refused) = answer(request.send().await.expect("an answer")).await;
            assert_eq!((status, &refused["error"]["code"]), (400, &json!(code)), "{text}");
            assert_eq!(refused["error"]["data"]["code"], "message_malformed");
        }
    }
    let large = modern("tools/call", json!({ "name": "a", "arguments": { "x": "x".repeat(1_048_576) } }));
    let (status, _) = answer(bed.post("ada", large.to_string()).send().await.expect("an answer")).await;
    assert_eq!(status, 413);
    for method in [Method::GET, Method::DELETE, Method::PUT] {
        let request = bed.bed.request(method, "/notes").bearer_auth(bed.bed.token("ada"));
        let response = request.header("mcp-protocol-version", "2026-07-28").send().await.expect("an answer");
        assert_eq!(
            (response.status().as_u16(), &response.headers()["allow"]),
            (405, &"POST".parse().expect("a value"))
        );
    }
    for path in ["/notes/", "/notes/x", "/notes?a=b"] {
        let request = bed.bed.request(Method::POST, path).bearer_auth(bed.bed.token("ada"));
        assert_eq!(request.send().await.expect("an answer").status(), 404, "{path}");
    }
    let (status, unknown) = bed.modern_answer("ada", "tools/burn", json!({})).await;
    assert_eq!((status, &unknown["error"]["code"]), (404, &json!(-32601)));
    let unsupported =
        bed.post("ada", modern("tools/list", json!({})).to_string().replace("2026-07-28", "2027-01-01"));
    let response = unsupported.header("mcp-protocol-version", "2027-01-01").send().await.expect("an answer");
    let (status, unsupported) = answer(response).await;
    assert_eq!((status, &unsupported["error"]["code"]), (400, &json!(-32022)));
    assert_eq!(unsupported["error"]["data"]["requested"], "2027-01-01");
    assert!(bed.notes.requests().is_empty());
}
