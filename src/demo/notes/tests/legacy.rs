//! The legacy era: sessions and their streams.

use super::*;

#[tokio::test]
async fn a_session_is_opened_used_and_ended() {
    let pair = Pair::start().await;
    for version in ["2025-11-25", "2025-06-18"] {
        let talk = pair.session(pair.token("ada", "Notes.Read"), version).await;
        assert_eq!(talk.result("ping", json!({})).await, json!({}));
        let page = talk.result("tools/list", json!({})).await;
        assert_eq!((names(&page["tools"]).len(), &page["resultType"]), (5, &Value::Null));
        let result =
            talk.result("tools/call", json!({ "name": "read_note", "arguments": { "id": "n1" } })).await;
        assert_eq!(result["structuredContent"]["title"], "Failure budget");
        let unknown = talk.call(8, "tools/lists", json!({})).await;
        assert_eq!(unknown.status(), 200);
        assert_eq!(json(unknown).await["error"]["code"], -32_601);

        let end = talk.with_session(client().delete(pair.notes.endpoint()).bearer_auth(talk.token.mint()));
        assert_eq!(end.send().await.expect("an answer").status(), 204);
        assert_eq!(talk.call(9, "ping", json!({})).await.status(), 404);
    }
}

#[tokio::test]
async fn a_session_is_its_persons_alone() {
    let pair = Pair::start().await;
    let mut talk = pair.session(pair.token("ada", "Notes.Read"), "2025-11-25").await;
    talk.token = pair.token("bob", "Notes.Read");
    assert_eq!(talk.call(1, "ping", json!({})).await.status(), 404);
    assert_eq!(talk.get().send().await.expect("an answer").status(), 404);
    talk.token = pair.token("ada", "Notes.Read").agent("another-gateway");
    assert_eq!(talk.call(1, "ping", json!({})).await.status(), 404);
    talk.token = pair.application();
    assert_eq!(talk.call(1, "ping", json!({})).await.status(), 200, "the same client, for itself");

    let mut talk = pair.session(pair.application(), "2025-11-25").await;
    talk.token = pair.token("ada", "Notes.Read");
    assert_eq!(talk.call(1, "ping", json!({})).await.status(), 404, "a person in the application's session");
}
