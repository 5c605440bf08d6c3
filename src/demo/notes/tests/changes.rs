//! What changes, who is told, and what there is to read.

use super::*;

fn write() -> Value {
    json!({ "name": "write_note", "arguments": { "title": "New", "text": "Text" } })
}

#[tokio::test]
async fn a_subscription_says_what_was_agreed_to_and_then_what_changes() {
    let pair = Pair::start().await;
    let (ada, bob) = (pair.token("ada", "Notes.ReadWrite"), pair.token("bob", "Notes.ReadWrite"));
    let wanted = json!({
        "toolsListChanged": true,
        "resourceSubscriptions": ["note://mine/latest", "file:///etc/passwd"],
        "somethingElse": true,
    });
    let listen = json!({ "notifications": wanted });
    let response = pair.modern(&ada, "subscriptions/listen", listen).send().await;
    let mut stream = Stream::of(response.expect("an answer"));
    let agreed = stream.message().await;
    assert_eq!(agreed["method"], "notifications/subscriptions/acknowledged");
    let granted = json!({ "toolsListChanged": true, "resourceSubscriptions": ["note://mine/latest"] });
    assert_eq!(agreed["params"]["notifications"], granted);

    pair.notes.tell_of_prompts();
    pair.modern_result(&bob, "tools/call", write()).await;
    pair.modern_result(&ada, "tools/call", write()).await;
    pair.notes.tell_of_tools();
    let about = json!({ "io.modelcontextprotocol/subscriptionId": 7 });
    let updated = stream.message().await;
    assert_eq!(updated["params"], json!({ "uri": "note://mine/latest", "_meta": about }));
    let changed = stream.message().await;
    assert_eq!(changed["method"], "notifications/tools/list_changed", "neither prompts nor Bob's note");

    pair.notes.end_subscriptions();
    let last = stream.message().await;
    assert_eq!((&last["id"], &last["result"]["_meta"]), (&json!(7), &about));
    assert!(stream.next().await.is_none());
    until("no subscription", || pair.notes.subscriptions() == 0).await;
}

#[tokio::test]
async fn who_stops_listening_is_not_subscribed_any_more() {
    let pair = Pair::start().await;
    let listen = json!({ "notifications": { "toolsListChanged": true } });
    let response = pair.modern(&pair.token("ada", "Notes.Read"), "subscriptions/listen", listen).send().await;
    let mut stream = Stream::of(response.expect("an answer"));
    stream.message().await;
    assert_eq!(pair.notes.subscriptions(), 1);
    drop(stream);
    until("no subscription", || pair.notes.subscriptions() == 0).await;
}

#[tokio::test]
async fn a_session_hears_on_its_own_stream_what_it_subscribed_to() {
    let pair = Pair::start().await;
    let talk = pair.session(pair.token("ada", "Notes.ReadWrite"), "2025-11-25").await;
    let mut stream = Stream::of(talk.get().send().await.expect("an answer"));
    talk.result("tools/call", write()).await;
    let uri = json!({ "uri": "note://mine/latest" });
    talk.result("resources/subscribe", uri.clone()).await;
    pair.modern_result(&pair.token("bob", "Notes.ReadWrite"), "tools/call", write()).await;
    talk.result("tools/call", write()).await;
    let told = stream.next().await.expect("an event");
    assert_eq!(
        (&told.message["method"], &told.message["params"]),
        (&json!("notifications/resources/updated"), &uri)
    );

    // A second reader takes the stream over and hears what comes after; the first one is let go.
    let mut second = Stream::of(talk.get().send().await.expect("an answer"));
    assert!(stream.next().await.is_none());
    talk.result("resources/unsubscribe", uri).await;
    talk.result("tools/call", write()).await;
    pair.notes.tell_of_resources();
    assert_eq!(second.message().await["method"], "notifications/resources/list_changed");
    // And with an event's id, what came after that event.
    let resumed = talk.get().header("last-event-id", told.id.expect("an id")).send().await;
    let again = Stream::of(resumed.expect("an answer")).message().await;
    assert_eq!(again["method"], "notifications/resources/list_changed");
    let unknown = talk.call(9, "resources/subscribe", json!({ "uri": "file:///etc/passwd" })).await;
    assert_eq!(json(unknown).await["error"]["code"], -32_002);
}

#[tokio::test]
async fn prompts_and_resources_are_listed_and_read() {
    let pair = Pair::start().await;
    let token = pair.token("ada", "Notes.Read");
    let prompts = pair.modern_result(&token, "prompts/list", json!({})).await;
    assert_eq!(names(&prompts["prompts"]), ["summarise_notes", "draft_announcement"]);
    let call = json!({ "name": "draft_announcement", "arguments": { "subject": "lunch" } });
    let prompt = pair.modern_result(&token, "prompts/get", call).await;
    assert_eq!(prompt["messages"][0]["content"]["text"], "Draft an announcement about lunch.");
    let templates = pair.modern_result(&token, "resources/templates/list", json!({})).await;
    assert_eq!(names(&templates["resourceTemplates"]), ["note"]);
    let resources = pair.modern_result(&token, "resources/list", json!({})).await;
    assert_eq!(names(&resources["resources"]), ["handbook", "announcements", "latest"]);

    let read = async |token: &TokenBuilder, uri: &str| {
        let result = pair.modern_result(token, "resources/read", json!({ "uri": uri })).await;
        assert_eq!(result["cacheScope"], "private");
        result["contents"][0]["text"].as_str().expect("a text").to_owned()
    };
    assert!(read(&token, "note://mine/latest").await.starts_with("Names for the new service"));
    assert!(read(&pair.token("bob", "Notes.Read"), "note://mine/n1").await.starts_with("Accruals"));
    assert!(read(&pair.application(), "note://shared/handbook").await.contains("No passwords."));
    let own =
        pair.modern(&pair.application(), "resources/read", json!({ "uri": "note://mine/latest" })).send();
    assert_eq!(own.await.expect("an answer").status(), 403);
    let none = pair.modern(&token, "resources/read", json!({ "uri": "note://mine/n9" })).send().await;
    assert_eq!(json(none.expect("an answer")).await["error"]["code"], -32_602);
    let talk = pair.session(token, "2025-11-25").await;
    let none = talk.call(9, "resources/read", json!({ "uri": "note://mine/n9" })).await;
    assert_eq!(json(none).await["error"]["code"], -32_002);
}
