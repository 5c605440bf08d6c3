//! What is refused at the door, what is recorded, and how the connector misbehaves.

use super::*;
use crate::demo::authorization_server::MAIL_AUDIENCE;
use crate::demo::script::Reply;

fn list() -> Value {
    modern_body("tools/list", json!({}))
}

#[tokio::test]
async fn a_token_that_is_not_for_notes_is_refused_and_challenged() {
    let pair = Pair::start().await;
    let refuse = async |token: TokenBuilder| {
        let response = pair.modern(&token, "tools/list", json!({})).send().await.expect("an answer");
        assert_eq!(response.status(), 401);
        header(&response, "www-authenticate")
    };
    let good = || pair.token("ada", "Notes.Read");
    assert!(refuse(good().audience(MAIL_AUDIENCE)).await.contains("another audience"));
    assert!(refuse(pair.server.subject_token("ada")).await.contains("another audience"), "the agent's own");
    assert!(refuse(good().expired()).await.contains("expired"));
    assert!(refuse(good().signed_by_a_stranger()).await.contains("signature"));
    assert!(refuse(good().without("scp")).await.contains("no scopes"));
    let bare = client().post(pair.notes.endpoint()).json(&list()).send().await.expect("an answer");
    assert_eq!(
        (bare.status().as_u16(), header(&bare, "www-authenticate").as_str()),
        (401, "Bearer realm=\"notes\"")
    );
    assert!(pair.notes.requests().iter().all(|request| request.caller.is_none()));
}

#[tokio::test]
async fn what_is_not_for_the_endpoint_is_turned_away() {
    let pair = Pair::start().await;
    let token = pair.token("ada", "Notes.Read");
    let check = async |request: RequestBuilder, expected: u16| {
        assert_eq!(request.send().await.expect("an answer").status(), expected);
    };
    let good = || pair.modern(&token, "tools/list", json!({}));
    check(good(), 200).await;
    check(good().header("origin", "http://127.0.0.1:7"), 200).await;
    check(good().header("origin", "https://evil.test"), 403).await;
    check(good().header("origin", "http://localhost.evil.test"), 403).await;
    check(good().header("content-type", "text/plain"), 415).await;
    let picky = client().post(pair.notes.endpoint()).bearer_auth(token.mint());
    check(picky.header("accept", "application/json").json(&list()), 406).await;
    let bare = || client().get(pair.notes.endpoint()).bearer_auth(token.mint());
    check(bare().header("mcp-protocol-version", "2026-07-28"), 405).await;
    check(bare(), 400).await;
    check(client().put(pair.notes.endpoint()).bearer_auth(token.mint()), 405).await;
    check(client().get(format!("{}/mcp/x", pair.notes.origin())), 404).await;
    for body in ["[]", "{}", "null", "{\"jsonrpc\":\"2.0\"", r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#]
    {
        check(pair.post(&token).header("content-type", "application/json").body(body), 400).await;
    }
    check(pair.post(&token).json(&request(1, "ping", json!({}))), 400).await;
    let talk = pair.session(pair.token("ada", "Notes.Read"), "2025-11-25").await;
    let odd = pair
        .post(&token)
        .header("mcp-session-id", &talk.session)
        .header("mcp-protocol-version", "2024-01-01");
    check(odd.json(&request(1, "ping", json!({}))), 400).await;
}

#[tokio::test]
async fn a_request_is_recorded_with_its_caller_its_body_and_its_end() {
    let pair = Pair::start().await;
    let token = pair.token("ada", "Notes.Read");
    pair.modern_result(&token, "tools/list", json!({})).await;
    until("a whole answer", || pair.notes.only_request().answer_end == AnswerEnd::Whole).await;
    let received = pair.notes.only_request();
    assert_eq!(serde_json::from_slice::<Value>(&received.body).expect("JSON"), list());
    assert_eq!(received.header("mcp-method"), Some("tools/list"));
    let caller = received.caller.expect("a good token");
    assert_eq!(caller.person.as_ref(), Some(&pair.server.person("ada").oid));
    assert_eq!(caller.permissions, ["Notes.Read"]);
}

#[tokio::test]
async fn every_answer_can_be_a_stream() {
    let pair = Pair::start().await;
    pair.notes.answer_with_streams(true);
    let token = pair.token("ada", "Notes.Read");
    let response = pair.modern(&token, "tools/list", json!({})).send().await.expect("an answer");
    let mut stream = Stream::of(response);
    let event = stream.next().await.expect("an event");
    assert_eq!((event.id, names(&event.message["result"]["tools"]).len()), (None, 5));
    assert!(stream.next().await.is_none());
    pair.notes.answer_with_streams(false);
    let talk = pair.session(token, "2025-11-25").await;
    pair.notes.answer_with_streams(true);
    let event = talk.stream(2, "tools/list", json!({})).await.next().await.expect("an event");
    assert!(event.id.is_some() && event.message["result"]["tools"].is_array());
}

#[tokio::test]
async fn the_connector_breaks_as_told_and_only_where_it_was_told() {
    let pair = Pair::start().await;
    let token = pair.token("ada", "Notes.Read");
    let lists = pair.notes.script_of("tools/list");
    lists.once(faults::duplicate_member()).once(faults::not_json()).once(faults::wrong_content_type());
    lists.once(faults::unauthorized()).once(Reply::status(500)).once(faults::line_without_end(10_000_000));
    pair.modern_result(&token, "server/discover", json!({})).await;
    assert_eq!(lists.queued(), 6, "another method's script is left alone");

    let send = async || pair.modern(&token, "tools/list", json!({})).send().await.expect("an answer");
    let text = send().await.text().await.expect("a text");
    assert_eq!(text.matches("\"tools\":[").count(), 2);
    assert!(serde_json::from_str::<Value>(&text).is_ok(), "and otherwise well formed");
    let text = send().await.text().await.expect("a text");
    assert!(serde_json::from_str::<Value>(&text).is_err());
    assert_eq!(header(&send().await, "content-type"), "text/html");
    let unauthorized = send().await;
    assert_eq!(unauthorized.status(), 401);
    assert!(header(&unauthorized, "www-authenticate").contains("invalid_token"));
    assert_eq!(send().await.status(), 500);
    let line = send().await;
    assert_eq!(header(&line, "content-type"), "text/event-stream");
    let line = line.bytes().await.expect("bytes");
    assert!(line.len() > 10_000_000 && !line.contains(&b'\n'));
    assert_eq!(send().await.status(), 200);
}

#[tokio::test]
async fn a_stream_dies_in_the_middle_or_drips_as_told() {
    let pair = Pair::start().await;
    let token = pair.token("ada", "Notes.Read");
    let count = json!({
        "name": "count_slowly", "arguments": { "to": 5, "every_ms": 1 }, "_meta": { "progressToken": 1 },
    });
    pair.notes
        .script()
        .once(faults::dies_after_events(2))
        .once(Reply::normal().dripping(7, Duration::from_millis(1)));
    let response = pair.modern(&token, "tools/call", count.clone()).send().await.expect("an answer");
    let mut stream = Stream::of(response);
    assert_eq!(stream.message().await["params"]["progress"], 1);
    assert_eq!(stream.message().await["params"]["progress"], 2);
    assert!(stream.response.chunk().await.is_err(), "an end that is none");
    until("a cut answer", || pair.notes.requests()[0].answer_end == AnswerEnd::Cut).await;
    let response = pair.modern(&token, "tools/call", count).send().await.expect("an answer");
    let mut stream = Stream::of(response);
    assert_eq!(stream.message().await["params"]["progress"], 1);

    pair.notes.script_of("initialize").once(faults::another_session());
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
    let response = pair.post(&token).json(&request(1, "initialize", params)).send().await.expect("an answer");
    assert_eq!(header(&response, "mcp-session-id"), "another-session");
    assert_eq!(pair.notes.sessions(), 1);
    pair.notes.forget_sessions();
    assert_eq!(pair.notes.sessions(), 0);
}
