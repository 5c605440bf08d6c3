//! Tasks, in the way of each era.

use super::*;

fn later(to: u64) -> Value {
    json!({ "name": "count_later", "arguments": { "to": to, "every_ms": 1 } })
}

#[tokio::test]
async fn a_legacy_task_is_asked_for_looked_at_and_its_result_waited_for() {
    let pair = Pair::start().await;
    let talk = pair.session(pair.token("ada", "Notes.Read"), "2025-11-25").await;
    pair.notes.hold_counting();
    let mut call = later(3);
    call["task"] = json!({ "ttl": 60_000 });
    let task = talk.result("tools/call", call.clone()).await["task"].take();
    let id = json!({ "taskId": task["taskId"] });
    assert_eq!(task["status"], "working");
    assert!(task["ttl"].is_number() && task["ttlMs"].is_null(), "{task}");
    assert_eq!(talk.result("tasks/get", id.clone()).await["status"], "working");
    let mut waiting = talk.stream(4, "tasks/result", id.clone()).await;
    pair.notes.go_on_counting();
    let result = waiting.message().await["result"].take();
    assert_eq!(result["structuredContent"]["counted"], 3);
    assert_eq!(result["_meta"]["io.modelcontextprotocol/related-task"], id);
    assert_eq!(talk.result("tasks/get", id.clone()).await["status"], "completed");

    let bob = pair.session(pair.token("bob", "Notes.Read"), "2025-11-25").await;
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        let refused = bob.call(5, method, id.clone()).await;
        assert_eq!(json(refused).await["error"]["code"], -32_602, "another person's, by {method}");
    }
    assert_eq!(bob.result("tasks/list", json!({})).await["tasks"], json!([]));
    assert_eq!(talk.result("tasks/list", json!({})).await["tasks"].as_array().map(Vec::len), Some(1));
    let ended = talk.call(6, "tasks/cancel", id).await;
    assert_eq!(json(ended).await["error"]["code"], -32_602);

    let mut not_a_task = json!({ "name": "list_notes", "task": {} });
    assert_eq!(json(talk.call(7, "tools/call", not_a_task.take()).await).await["error"]["code"], -32_601);
}

#[tokio::test]
async fn a_cancelled_task_stops() {
    let pair = Pair::start().await;
    let talk = pair.session(pair.token("ada", "Notes.Read"), "2025-11-25").await;
    pair.notes.hold_counting();
    let mut call = later(3);
    call["task"] = json!({});
    let task = talk.result("tools/call", call).await["task"].take();
    let id = json!({ "taskId": task["taskId"] });
    assert_eq!(talk.result("tasks/cancel", id).await["status"], "cancelled");
    until("a cancelled count", || pair.notes.counts()[0].end == CountEnd::Cancelled).await;
}

#[tokio::test]
async fn a_modern_task_is_given_to_clients_that_know_tasks() {
    let pair = Pair::start().await;
    let token = pair.token("ada", "Notes.Read");
    let plain = pair.modern(&token, "tools/call", later(2)).send().await.expect("an answer");
    assert_eq!(Stream::of(plain).message().await["result"]["structuredContent"]["counted"], 2);

    let mut body = modern_body("tools/call", later(2));
    body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
        json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let response = pair.modern(&token, "tools/call", later(2)).json(&body).send().await;
    let task = json(response.expect("an answer")).await["result"].take();
    assert_eq!((&task["resultType"], &task["status"]), (&json!("task"), &json!("working")));
    let id = json!({ "taskId": task["taskId"] });
    until("a finished count", || pair.notes.counts().last().expect("one").end == CountEnd::Finished).await;
    let mut seen = Value::Null;
    while seen["status"] != "completed" {
        seen = pair.modern_result(&token, "tasks/get", id.clone()).await;
    }
    assert_eq!(seen["result"]["structuredContent"]["counted"], 2);
    assert_eq!(seen["resultType"], "complete");
    let gone = pair.modern(&token, "tasks/result", id).send().await.expect("an answer");
    assert_eq!(gone.status(), 404);
}
