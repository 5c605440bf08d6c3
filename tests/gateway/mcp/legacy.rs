//! 2025-11-25 and before: sessions.

use reqwest::Method;
use serde_json::json;

use super::bed::{McpBed, names};

#[tokio::test]
async fn a_session_is_opened_used_and_ended() {
    let bed = McpBed::start().await;
    let session = bed.session("bob").await;
    let (status, list) = session.answer("tools/list", json!({})).await;
    assert_eq!((status, names(&list["result"]["tools"])), (200, vec!["list_notes", "read_note"]));
    let (_, read) =
        session.answer("tools/call", json!({ "name": "read_note", "arguments": { "id": "n1" } })).await;
    assert_eq!(read["result"]["isError"], json!(false), "{read:#}");
    let end = session.request(Method::DELETE).send().await.expect("an answer");
    assert_eq!(end.status(), 204);
    let (status, over) = session.answer("ping", json!({})).await;
    assert_eq!((status, &over["error"]["data"]["code"]), (404, &json!("session_unknown")));
}

#[tokio::test]
async fn a_session_is_its_persons_alone() {
    let bed = McpBed::start().await;
    let mut session = bed.session("ada").await;
    let before = bed.notes.requests().len();
    session.who = "bob".to_owned();
    for method in [Method::GET, Method::DELETE] {
        let answer = session.request(method).header("accept", "text/event-stream").send().await;
        assert_eq!(answer.expect("an answer").status(), 404);
    }
    let (status, _) = session.answer("ping", json!({})).await;
    assert_eq!(status, 404);
    assert_eq!(bed.notes.requests().len(), before, "nothing of it reached the server");
}
