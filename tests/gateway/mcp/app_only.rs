//! Tools that the application uses among those that a person does, and lists that an agent gets without a person.

use obo_gateway::demo::authorization_server::{GrantKind, NOTES_AUDIENCE};
use obo_gateway::demo::connector::ReceivedRequest;
use serde_json::{Value, json};

use super::bed::{McpBed, answer, modern};
use crate::bed::outcome;

const BOTH: &str = "    scopes: [Notes.Read]
    identity: on_behalf_of
    tools:
      list_notes: { identity: on_behalf_of }
      read_note: { identity: on_behalf_of }
      count_slowly: { identity: on_behalf_of }
      publish_announcement: { identity: app_only, scopes: [.default], annotations: { read_only: false } }
";

fn publish() -> Value {
    json!({ "name": "publish_announcement", "arguments": { "text": "Closed on Monday" } })
}

/// The person that a request was made for; none for the application's.
fn person(request: &ReceivedRequest) -> Option<String> {
    request.caller.clone().expect("a good token").person
}

#[tokio::test]
async fn one_session_has_tools_of_both_modes() {
    let bed = McpBed::with(BOTH).await;
    let response = bed.modern("ada", "tools/call", publish()).send().await.expect("an answer");
    assert_eq!(response.headers()["obo-identity-mode"], "app_only");
    let (status, published) = answer(response).await;
    assert_eq!(
        (status, &published["result"]["structuredContent"]["published_by"]),
        (200, &json!("application"))
    );
    let session = bed.session("ada").await;
    let (_, published) = session.answer("tools/call", publish()).await;
    assert_eq!(published["result"]["structuredContent"]["published_by"], "application");
    let read = json!({ "name": "read_note", "arguments": { "id": "n1" } });
    let (status, read) = session.answer("tools/call", read).await;
    assert_eq!((status, &read["result"]["structuredContent"]["title"]), (200, &json!("Failure budget")));
    assert!(bed.notes.announcements().iter().all(|announcement| announcement.by.person.is_none()));
    let exchanges = bed.bed.authorization_server.exchanges();
    let of = |grant| exchanges.iter().filter(|exchange| exchange.grant == grant).count();
    assert_eq!(of(GrantKind::ClientCredentials), 1);
}

#[tokio::test]
async fn an_app_only_tool_needs_a_rule_like_any_other() {
    let bed = McpBed::with(BOTH).await;
    let (status, refused) = bed.modern_answer("bob", "tools/call", publish()).await;
    assert!(status != 200 || refused.get("error").is_some(), "{refused:#}");
    assert!(bed.notes.announcements().is_empty());
    assert_eq!(bed.bed.exchanges(), 0);
}

#[tokio::test]
async fn an_agent_without_a_person_lists_as_the_application_and_calls_nothing() {
    let bed = McpBed::with("    scopes: [Notes.Read]\n    list_without_person: app_only\n").await;
    let agent = bed.bed.authorization_server.subject_token("ada").app_only().mint();
    let send = async |method: &str, params: Value| {
        let mut request = bed.bed.request(reqwest::Method::POST, "/notes").bearer_auth(&agent);
        if let Some(name) = params["name"].as_str() {
            request = request.header("mcp-name", name.to_owned());
        }
        let request = request
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", method)
            .json(&modern(method, params));
        request.send().await.expect("an answer")
    };
    let response = send("tools/list", json!({})).await;
    assert_eq!(response.headers()["obo-identity-mode"], "app_only");
    let (status, list) = answer(response).await;
    assert_eq!(status, 200, "{list:#}");
    assert!(list["result"]["tools"].is_array(), "{list:#}");
    let seen = bed.notes.only_request();
    assert_eq!(
        (person(&seen), seen.bearer()),
        (None, bed.bed.authorization_server.issued_to_application().pop())
    );
    let exchanges = bed.bed.authorization_server.exchanges();
    let default = format!("{NOTES_AUDIENCE}/.default");
    assert_eq!((exchanges.len(), exchanges[0].parameter("scope")), (1, Some(default.as_str())));
    let called = send("tools/call", publish()).await;
    assert!(!called.headers().contains_key("obo-identity-mode"), "{called:?}");
    assert!(bed.notes.announcements().is_empty());
    assert_eq!(bed.bed.exchanges(), 1);
    let records = bed.bed.records().await;
    assert_eq!(records[0].pointer("/unmapped/obo/identity"), Some(&json!("app_only")));
    assert_ne!(outcome(records.last().expect("a record")), "answered");
}
