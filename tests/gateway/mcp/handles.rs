//! What a server gives out is for whom it was given to, and for what.

use reqwest::Method;
use serde_json::{Value, json};

use super::bed::{McpBed, answer, modern, request};

fn asked(more: Value) -> Value {
    let mut call = json!({ "name": "ask_back" });
    call.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    call
}

/// The refusal of a message, and that the server has not seen it.
#[track_caller]
fn assert_refused((status, message): &(u16, Value), expected: u16, code: &str) {
    assert_eq!((*status, &message["error"]["data"]["code"]), (expected, &json!(code)), "{message:#}");
}

#[tokio::test]
async fn a_call_that_waits_goes_on_for_its_person_and_with_its_arguments_alone() {
    let bed = McpBed::start().await;
    let (_, waiting) = bed.modern_answer("ada", "tools/call", asked(json!({}))).await;
    assert_eq!(waiting["result"]["resultType"], "input_required", "{waiting:#}");
    let state = waiting["result"]["requestState"].as_str().expect("a state").to_owned();
    let reply = |name: &str| json!({ "name": { "action": "accept", "content": { "name": name } } });
    let goes_on = |state: &str| json!({ "requestState": state, "inputResponses": reply("Ada") });
    let before = bed.notes.requests().len();
    let altered = format!("{state}x");
    for params in [
        asked(goes_on(&altered)),
        asked(json!({ "requestState": state, "inputResponses": reply("Ada"), "arguments": { "x": 1 } })),
        json!({ "name": "list_notes", "requestState": state, "inputResponses": reply("Ada") }),
    ] {
        assert_refused(&bed.modern_answer("ada", "tools/call", params).await, 400, "state_refused");
    }
    let agent = bed.bed.authorization_server.subject_token("ada").agent("another-agent").mint();
    let mut another = bed.modern("ada", "tools/call", asked(goes_on(&state))).build().expect("a request");
    another.headers_mut().insert("authorization", format!("Bearer {agent}").parse().expect("a value"));
    let another = reqwest::Client::new().execute(another).await.expect("an answer");
    assert_refused(&answer(another).await, 400, "state_refused");
    assert_eq!(bed.notes.requests().len(), before, "nothing of it reached the server");
    let outcomes = bed.bed.outcomes(5).await;
    assert_eq!(outcomes[1..], ["state_refused"; 4]);
    let (status, done) = bed.modern_answer("ada", "tools/call", asked(goes_on(&state))).await;
    assert_eq!((status, &done["result"]["resultType"]), (200, &json!("complete")), "{done:#}");
}

#[tokio::test]
async fn a_task_is_its_persons_alone() {
    let bed = McpBed::start().await;
    let ada = bed.session("ada").await;
    bed.notes.hold_counting();
    let call = json!({ "name": "count_later", "arguments": { "to": 3 }, "task": { "ttl": 60_000 } });
    let (_, begun) = ada.answer("tools/call", call).await;
    let id = json!({ "taskId": begun["result"]["task"]["taskId"] });
    let (_, list) = ada.answer("tasks/list", json!({})).await;
    assert_eq!(list["result"]["tasks"].as_array().map(Vec::len), Some(1), "{list:#}");
    let bob = bed.session("bob").await;
    let before = bed.notes.requests().len();
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        assert_refused(&bob.answer(method, id.clone()).await, 404, "task_unknown");
    }
    let related = json!({ "_meta": { "io.modelcontextprotocol/related-task": id } });
    assert_refused(&bob.answer("tools/list", related).await, 404, "task_unknown");
    assert_eq!(bed.notes.requests().len(), before, "nothing of it reached the server");
    let (_, list) = bob.answer("tasks/list", json!({})).await;
    assert_eq!(list["result"]["tasks"], json!([]));
    let (status, seen) = ada.answer("tasks/get", id.clone()).await;
    assert_eq!((status, &seen["result"]["status"]), (200, &json!("working")), "{seen:#}");
    bed.notes.go_on_counting();
}

#[tokio::test]
async fn another_agent_of_the_same_person_has_no_part_in_a_session() {
    let bed = McpBed::start().await;
    let session = bed.session("ada").await;
    let before = bed.notes.requests().len();
    let agent = bed.bed.authorization_server.subject_token("ada").agent("another-agent").mint();
    for method in [Method::GET, Method::POST, Method::DELETE] {
        let mut sent =
            session.request(method.clone()).header("accept", "application/json, text/event-stream");
        if method == Method::POST {
            sent = sent.json(&request(1, "ping", json!({})));
        }
        let mut sent = sent.header("last-event-id", "1").build().expect("a request");
        sent.headers_mut().insert("authorization", format!("Bearer {agent}").parse().expect("a value"));
        let response = reqwest::Client::new().execute(sent).await.expect("an answer");
        assert_refused(&answer(response).await, 404, "session_unknown");
    }
    assert_eq!(bed.notes.requests().len(), before);
}

#[tokio::test]
async fn a_forgotten_person_begins_anew() {
    let bed = McpBed::start().await;
    let (ada, bob) = (bed.session("ada").await, bed.session("bob").await);
    let oid = bed.bed.authorization_server.person("ada").oid.clone();
    let tenant = bed.bed.authorization_server.settings().tenant.clone();
    let url = format!("http://{}/forget?tenant={tenant}&subject={oid}", bed.bed.gateway.admin_address());
    let forgotten = reqwest::Client::new().post(url).send().await.expect("an answer");
    assert!(forgotten.status().is_success(), "{forgotten:?}");
    assert_refused(&ada.answer("ping", json!({})).await, 404, "session_unknown");
    assert_eq!(bob.answer("ping", json!({})).await.0, 200, "somebody else's goes on");
}

#[tokio::test]
async fn the_callers_own_token_never_goes_on_in_a_message() {
    let bed = McpBed::start().await;
    let token = bed.bed.token("ada");
    let escaped: String = token.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    for text in [token.as_str(), escaped.as_str()] {
        let body =
            modern("tools/call", json!({ "name": "write_note", "arguments": { "title": "t", "text": "@" } }));
        let body = body.to_string().replace('@', text);
        let sent = bed.post("ada", body).bearer_auth(&token).header("mcp-protocol-version", "2026-07-28");
        let mut sent = sent.header("mcp-method", "tools/call").header("mcp-name", "write_note").build();
        let headers = sent.as_mut().expect("a request").headers_mut();
        headers.insert("authorization", format!("Bearer {token}").parse().expect("a value"));
        let response = reqwest::Client::new().execute(sent.expect("a request")).await.expect("an answer");
        assert_refused(&answer(response).await, 400, "token_misplaced");
    }
    assert!(bed.notes.requests().is_empty());
}
