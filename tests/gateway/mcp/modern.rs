//! 2026-07-28: every request says all there is to know.

use serde_json::{Value, json};

use super::bed::{McpBed, names};

#[tokio::test]
async fn a_tool_is_called_for_the_person_with_a_delegated_token() {
    let bed = McpBed::start().await;
    let arguments = json!({ "name": "read_note", "arguments": { "id": "n1" } });
    let response = bed.modern("ada", "tools/call", arguments).send().await.expect("an answer");
    assert_eq!(response.headers()["obo-identity-mode"], "on_behalf_of");
    let (status, answer) = super::bed::answer(response).await;
    assert_eq!((status, &answer["result"]["structuredContent"]["title"]), (200, &json!("Failure budget")));
    let seen = bed.notes.only_request();
    assert_eq!(seen.bearer(), bed.bed.authorization_server.last_issued());
    assert_eq!(seen.header("mcp-name"), Some("read_note"));
    assert!(!seen.contains(bed.bed.token("ada").as_bytes()));
}

#[tokio::test]
async fn a_list_shows_what_its_reader_may_use() {
    let bed = McpBed::start().await;
    let (_, ada) = bed.modern_answer("ada", "tools/list", json!({})).await;
    let (_, bob) = bed.modern_answer("bob", "tools/list", json!({})).await;
    assert_eq!(names(&ada["result"]["tools"]).len(), 5, "{ada:#}");
    assert_eq!(names(&bob["result"]["tools"]), ["list_notes", "read_note"]);
    assert_eq!(bob["result"]["tools"][0]["annotations"], json!({ "readOnlyHint": true }));
    for list in [&ada, &bob] {
        assert_eq!(list["result"]["cacheScope"], "private");
        let cursor = &list["result"]["nextCursor"];
        assert!(cursor.is_string(), "{list:#}");
    }
    let next = json!({ "cursor": bob["result"]["nextCursor"] });
    let (_, next) = bed.modern_answer("bob", "tools/list", next).await;
    assert_eq!(names(&next["result"]["tools"]), ["count_slowly"]);
}

#[tokio::test]
async fn a_hidden_tool_is_answered_like_one_that_is_not_there() {
    let bed = McpBed::start().await;
    let call = |name: &str| json!({ "name": name, "arguments": { "id": "n1" } });
    let (status, hidden) = bed.modern_answer("bob", "tools/call", call("delete_note")).await;
    assert_eq!(status, 200);
    let unknown = |name: &str| json!({ "jsonrpc": "2.0", "id": 7, "error": { "code": -32602, "message": format!("Unknown tool: {name}") } });
    assert_eq!(hidden, unknown("delete_note"));
    let (status, missing) = bed.modern_answer("bob", "tools/call", call("no_such_tool")).await;
    assert_eq!((status, missing), (200, unknown("no_such_tool")));
    assert!(bed.notes.requests().is_empty());
    assert_eq!(bed.bed.outcomes(2).await, ["policy_denied", "policy_denied"]);
}

#[tokio::test]
async fn what_arguments_a_hidden_tool_takes_is_not_told_either() {
    let tools = "    scopes: [Notes.Read]\n    tools:\n      list_notes: {}\n      read_note: {}\n      count_slowly: {}\n      delete_note: { arguments: { id: { type: integer } } }\n";
    let bed = McpBed::with(tools).await;
    let call = json!({ "name": "delete_note", "arguments": { "id": "n1" } });
    let (status, hidden) = bed.modern_answer("bob", "tools/call", call.clone()).await;
    let error = json!({ "code": -32602, "message": "Unknown tool: delete_note" });
    assert_eq!((status, &hidden["error"]), (200, &error));
    let (_, shown) = bed.modern_answer("ada", "tools/call", call).await;
    assert_eq!(shown["result"]["isError"], true, "{shown:#}");
    assert!(bed.notes.requests().is_empty());
    assert_eq!(bed.bed.outcomes(2).await, ["policy_denied", "argument_invalid"]);
}

#[tokio::test]
async fn headers_and_message_have_to_agree() {
    let bed = McpBed::start().await;
    let request = bed.modern("ada", "tools/call", json!({ "name": "read_note" }));
    let mut request = request.build().expect("a request");
    request.headers_mut().insert("mcp-name", "list_notes".parse().expect("a value"));
    let response = reqwest::Client::new().execute(request).await.expect("an answer");
    let (status, answer) = super::bed::answer(response).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32020)));
    assert_eq!(answer["error"]["data"]["code"], "mcp_headers_mismatch");
    assert!(bed.notes.requests().is_empty());
}

#[tokio::test]
async fn a_call_without_a_token_is_told_where_to_sign_in() {
    let bed = McpBed::start().await;
    let request = bed.modern("ada", "tools/list", json!({}));
    let mut request = request.build().expect("a request");
    request.headers_mut().remove("authorization");
    let response = reqwest::Client::new().execute(request).await.expect("an answer");
    assert_eq!(response.status(), 401);
    assert!(response.headers()["www-authenticate"].to_str().expect("text").starts_with("Bearer "));
    let answer: Value = response.json().await.expect("a message");
    assert_eq!(answer["error"]["data"]["code"], "no_credentials");
}
