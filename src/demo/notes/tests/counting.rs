//! Streams: event by event, left early, and come back to.

use super::*;

fn counting(to: u64) -> Value {
    json!({ "name": "count_slowly", "arguments": { "to": to, "every_ms": 1 }, "_meta": { "progressToken": "p" } })
}

#[tokio::test]
async fn a_count_is_told_number_by_number() {
    let pair = Pair::start().await;
    pair.notes.hold_counting();
    let response = pair.modern(&pair.token("ada", "Notes.Read"), "tools/call", counting(3)).send().await;
    let mut stream = Stream::of(response.expect("an answer"));
    let first = stream.message().await;
    assert_eq!(first["params"], json!({ "progressToken": "p", "progress": 1, "total": 3 }));
    // The first number was here while the second could not be.
    pair.notes.go_on_counting();
    assert_eq!(stream.message().await["params"]["progress"], 2);
    assert_eq!(stream.message().await["params"]["progress"], 3);
    let last = stream.message().await;
    assert_eq!((&last["id"], &last["result"]["structuredContent"]), (&json!(7), &json!({ "counted": 3 })));
    assert!(stream.next().await.is_none());
    until("a whole answer", || pair.notes.only_request().answer_end == AnswerEnd::Whole).await;
    assert_eq!((pair.notes.counts()[0].reached, pair.notes.counts()[0].end), (3, CountEnd::Finished));
}

#[tokio::test]
async fn without_a_progress_token_a_count_shows_in_comments_alone() {
    let pair = Pair::start().await;
    let mut call = counting(2);
    call["_meta"] = json!({});
    let response = pair.modern(&pair.token("ada", "Notes.Read"), "tools/call", call).send().await;
    let text = response.expect("an answer").text().await.expect("a text");
    assert!(text.starts_with(": 1\n\n: 2\n\nevent: message\ndata: {"), "{text}");
}

#[tokio::test]
async fn who_leaves_a_modern_count_has_cancelled_it() {
    let pair = Pair::start().await;
    pair.notes.hold_counting();
    let response = pair.modern(&pair.token("ada", "Notes.Read"), "tools/call", counting(9)).send().await;
    let mut stream = Stream::of(response.expect("an answer"));
    stream.message().await;
    assert_eq!(pair.notes.only_request().answer_end, AnswerEnd::Pending);
    assert_eq!(pair.notes.in_flight(), 1);
    drop(stream);
    until("a cancelled count", || pair.notes.counts()[0].end == CountEnd::Cancelled).await;
    until("a cut answer", || pair.notes.only_request().answer_end == AnswerEnd::Cut).await;
    until("nothing in flight", || pair.notes.in_flight() == 0).await;
    assert_eq!(pair.notes.counts()[0].reached, 1);
}

#[tokio::test]
async fn who_leaves_a_legacy_count_can_come_back_for_the_rest_of_it() {
    let pair = Pair::start().await;
    let talk = pair.session(pair.token("ada", "Notes.Read"), "2025-11-25").await;
    pair.notes.hold_counting();
    let mut stream = talk.stream(3, "tools/call", counting(3)).await;
    let primed = stream.next().await.expect("an event to come back to");
    assert!(primed.message.is_null() && primed.id.is_some());
    let first = stream.next().await.expect("a number");
    assert_eq!(first.message["params"]["progress"], 1);
    drop(stream);
    until("a cut answer", || pair.notes.requests().last().expect("one").answer_end == AnswerEnd::Cut).await;
    assert_eq!(pair.notes.counts()[0].end, CountEnd::Counting);
    pair.notes.go_on_counting();
    until("a finished count", || pair.notes.counts()[0].end == CountEnd::Finished).await;

    let resume = async |id: &str| talk.get().header("last-event-id", id).send().await.expect("an answer");
    let mut rest = Stream::of(resume(&first.id.expect("an id")).await);
    assert_eq!(rest.message().await["params"]["progress"], 2);
    assert_eq!(rest.message().await["params"]["progress"], 3);
    assert_eq!(rest.message().await["result"]["structuredContent"]["counted"], 3);
    assert!(rest.next().await.is_none());
    for unknown in ["999-0", "nonsense", "1"] {
        assert_eq!(resume(unknown).await.status(), 404, "{unknown}");
    }
}

#[tokio::test]
async fn a_legacy_count_ends_when_it_is_called_off_and_by_its_own_client_alone() {
    let pair = Pair::start().await;
    let talk = pair.session(pair.token("ada", "Notes.Read"), "2025-06-18").await;
    let other = pair.session(pair.token("bob", "Notes.Read"), "2025-06-18").await;
    pair.notes.hold_counting();
    let mut stream = talk.stream(3, "tools/call", counting(3)).await;
    assert_eq!(stream.message().await["params"]["progress"], 1, "this version has no event before the first");
    let call_off = json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 3 },
    });
    assert_eq!(other.post(&call_off).await.status(), 202);
    assert_eq!(pair.notes.counts()[0].end, CountEnd::Counting);
    assert_eq!(talk.post(&call_off).await.status(), 202);
    assert!(stream.next().await.is_none(), "who calls off gets no result");
    assert_eq!(pair.notes.counts()[0].end, CountEnd::Cancelled);
}
