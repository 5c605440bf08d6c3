//! Clients that can ask their person themselves: by the page, or in a form where that is enough.

use serde_json::{Value, json};

use super::mcp::{bed, bed_with, link};
use super::{ADA, agree, browser, open};
use crate::browser::PUBLIC;
use crate::mcp::bed::McpBed;

/// A call of a client that shows these.
fn call(params: Value, shows: Value, more: Value) -> Value {
    let mut params = params;
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({ "elicitation": shows });
    params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    params
}

fn write(title: &str) -> Value {
    json!({ "name": "write_note", "arguments": { "title": title, "text": "Milk" } })
}

fn forms() -> Value {
    json!({ "form": {} })
}

fn pages() -> Value {
    json!({ "form": {}, "url": {} })
}

/// The question in an answer.
#[track_caller]
fn question(asked: &Value) -> Value {
    let result = &asked["result"];
    assert_eq!(result["resultType"], "input_required", "{asked:#}");
    assert_eq!(result["_meta"]["obo-gateway/refusal"]["code"], "confirmation_required", "{asked:#}");
    let question = &result["inputRequests"]["obo.confirm"];
    assert_eq!(question["method"], "elicitation/create", "{asked:#}");
    question["params"].clone()
}

fn goes_on(asked: &Value, answer: Value) -> Value {
    json!({ "requestState": asked["result"]["requestState"], "inputResponses": { "obo.confirm": answer } })
}

fn agreed() -> Value {
    json!({ "action": "accept", "content": { "agree": true } })
}

#[track_caller]
fn assert_told(told: &Value, code: &str) {
    assert_eq!(told["result"]["isError"], true, "{told:#}");
    assert_eq!(told["result"]["_meta"]["obo-gateway/refusal"]["code"], code, "{told:#}");
}

#[track_caller]
fn assert_ran(ran: &Value) {
    assert_eq!(ran["result"]["isError"], json!(false), "{ran:#}");
}

impl McpBed {
    async fn called(&self, who: &str, params: Value) -> Value {
        self.modern_answer(who, "tools/call", params).await.1
    }

    /// The kind and the outcome of each thing that somebody did.
    async fn deeds(&self) -> Vec<String> {
        let text = |record: &Value, name: &str| {
            record["unmapped"]["obo"][name].as_str().unwrap_or_default().to_owned()
        };
        let all = self.bed.authentications().await;
        let deeds = all.iter().filter(|record| record["unmapped"]["obo"]["kind"] != "exchange");
        deeds.map(|record| format!("{} {}", text(record, "kind"), text(record, "outcome"))).collect()
    }
}

#[tokio::test]
async fn a_form_shows_all_of_the_call_and_agreeing_to_it_lets_it_run_once() {
    let bed = bed().await;
    let asked = bed.called("ada", call(write("List"), forms(), json!({}))).await;
    let form = question(&asked);
    assert_eq!(form["mode"], "form");
    let message = form["message"].as_str().expect("a message");
    for shown in
        ["demo-agent wants to call write_note on notes, as you", "\"title\": \"List\"", "\"text\": \"Milk\""]
    {
        assert!(message.contains(shown), "{shown} in {message}");
    }
    assert_eq!(form["requestedSchema"]["required"], json!(["agree"]));
    assert!(bed.notes.requests().is_empty());
    assert_ran(&bed.called("ada", call(write("List"), forms(), goes_on(&asked, agreed()))).await);
    assert_eq!(bed.notes.requests().len(), 1);
    let seen = bed.notes.only_request();
    assert!(!seen.contains("obo.confirm") && !seen.contains("obo1."));
    // The same answer a second time is none: the call is asked about anew.
    let again = bed.called("ada", call(write("List"), forms(), goes_on(&asked, agreed()))).await;
    question(&again);
    assert_eq!(bed.notes.requests().len(), 1);
    assert_eq!(bed.deeds().await, ["confirmation confirmed"]);
    let records = bed.bed.records().await;
    let ran =
        records.iter().find(|record| record["unmapped"]["obo"]["outcome"] == "answered").expect("a record");
    let confirmation = &ran["unmapped"]["obo"]["confirmation"];
    assert_eq!(confirmation["agreed_by"], "form", "{ran:#}");
    let deeds = bed.bed.authentications().await;
    let deed = deeds.iter().find(|record| record["unmapped"]["obo"]["kind"] == "confirmation").expect("one");
    assert_eq!(deed["unmapped"]["obo"]["question"], confirmation["question"]);
}

#[tokio::test]
async fn an_answer_is_for_the_call_that_was_shown_and_for_nobody_elses() {
    let bed = bed().await;
    let asked = bed.called("ada", call(write("List"), forms(), json!({}))).await;
    for other in [
        bed.called("ada", call(write("Other"), forms(), goes_on(&asked, agreed()))).await,
        bed.called("bob", call(write("List"), forms(), goes_on(&asked, agreed()))).await,
        bed.called(
            "ada",
            call(write("List"), forms(), json!({ "inputResponses": { "obo.confirm": agreed() } })),
        )
        .await,
    ] {
        assert_eq!(other["error"]["data"]["code"], "state_refused", "{other:#}");
    }
    // A flag in the arguments is an argument.
    let mut flagged = write("List");
    flagged["arguments"]["agree"] = json!(true);
    question(&bed.called("ada", call(flagged, forms(), json!({}))).await);
    assert!(bed.notes.requests().is_empty());
    assert!(bed.deeds().await.is_empty());
}

#[tokio::test]
async fn whoever_declines_in_the_client_is_not_asked_again() {
    for no in [json!({ "action": "decline" }), json!({ "action": "accept", "content": { "agree": false } })] {
        let bed = bed().await;
        let asked = bed.called("ada", call(write("List"), forms(), json!({}))).await;
        assert_told(
            &bed.called("ada", call(write("List"), forms(), goes_on(&asked, no))).await,
            "confirmation_declined",
        );
        assert_told(
            &bed.called("ada", call(write("List"), forms(), json!({}))).await,
            "confirmation_declined",
        );
        // Nor does a yes that comes after it count.
        assert_told(
            &bed.called("ada", call(write("List"), forms(), goes_on(&asked, agreed()))).await,
            "confirmation_declined",
        );
        assert!(bed.notes.requests().is_empty());
        assert_eq!(bed.deeds().await, ["confirmation_decline declined", "confirmation answered_otherwise"]);
    }
}

#[tokio::test]
async fn a_question_that_is_closed_or_sent_empty_is_no_answer() {
    let bed = bed().await;
    let asked = bed.called("ada", call(write("List"), forms(), json!({}))).await;
    let closed =
        bed.called("ada", call(write("List"), forms(), goes_on(&asked, json!({ "action": "cancel" })))).await;
    assert_told(&closed, "confirmation_declined");
    let asked = bed.called("ada", call(write("List"), forms(), json!({}))).await;
    for empty in [json!({ "action": "accept" }), json!({ "action": "accept", "content": { "agree": "yes" } })]
    {
        question(&bed.called("ada", call(write("List"), forms(), goes_on(&asked, empty))).await);
    }
    assert!(bed.notes.requests().is_empty());
    assert!(bed.deeds().await.is_empty());
}

#[tokio::test]
async fn a_client_that_opens_pages_is_sent_to_the_page_and_the_call_waits_there() {
    let bed = bed().await;
    let asked = bed.called("ada", call(write("List"), pages(), json!({}))).await;
    let url = question(&asked);
    assert_eq!(url["mode"], "url");
    let link = url["url"].as_str().expect("a link").to_owned();
    assert!(link.starts_with(&format!("{PUBLIC}/account/confirm/")), "{link}");
    let accepted = goes_on(&asked, agreed());
    let going_on = bed.called("ada", call(write("List"), pages(), accepted));
    let (ran, ()) = tokio::join!(going_on, agree(&bed.bed, &link));
    assert_ran(&ran);
    assert_eq!(bed.deeds().await, ["sign_in signed_in", "confirmation confirmed"]);
    let records = bed.bed.records().await;
    let agreed_by = |record: &Value| record["unmapped"]["obo"]["confirmation"]["agreed_by"].clone();
    let ways: Vec<Value> = records.iter().map(agreed_by).filter(Value::is_string).collect();
    assert_eq!(ways, ["page"]);
}

#[tokio::test]
async fn a_client_that_only_says_that_its_person_agreed_on_the_page_does_not_get_through() {
    let bed = bed().await;
    let asked = bed.called("ada", call(write("List"), pages(), json!({}))).await;
    let link = question(&asked)["url"].as_str().expect("a link").to_owned();
    let accepted = goes_on(&asked, agreed());
    let going_on = bed.called("ada", call(write("List"), pages(), accepted));
    let mut browser = browser(&bed.bed);
    let declining = async {
        let page = open(&mut browser, &bed.bed, &link, ADA).await;
        super::answer(&mut browser, &page, &link, "decline").await
    };
    let (told, page) = tokio::join!(going_on, declining);
    page.assert_says(200, "Declined");
    assert_told(&told, "confirmation_declined");
    assert!(bed.notes.requests().is_empty());
}

#[tokio::test]
async fn where_the_page_is_wanted_a_form_is_not_offered() {
    let bed = bed().await;
    let delete = json!({ "name": "delete_note", "arguments": { "id": "n1" } });
    let told = bed.called("ada", call(delete.clone(), forms(), json!({}))).await;
    assert_told(&told, "confirmation_required");
    link(&told);
    assert_eq!(question(&bed.called("ada", call(delete, pages(), json!({}))).await)["mode"], "url");
    // Nor where the form would be longer than anybody reads in one.
    let long = write(&"x".repeat(9_000));
    assert_told(&bed.called("ada", call(long, forms(), json!({}))).await, "confirmation_required");
}

#[tokio::test]
async fn an_agreement_in_a_form_does_not_count_once_the_page_is_wanted() {
    let bed = bed().await;
    let asked = bed.called("ada", call(write("List"), forms(), json!({}))).await;
    let path = bed.bed.config_path();
    let config = std::fs::read_to_string(&path).expect("a configuration");
    std::fs::write(&path, config.replace("write_note: { confirm: true }", "write_note: { confirm: page }"))
        .expect("written");
    bed.bed.gateway.reload().await.expect("a good configuration");
    let told = bed.called("ada", call(write("List"), forms(), json!({}))).await;
    assert_told(&told, "confirmation_required");
    let told = bed.called("ada", call(write("List"), forms(), goes_on(&asked, agreed()))).await;
    assert_told(&told, "confirmation_required");
    assert!(bed.notes.requests().is_empty());
    assert_eq!(bed.deeds().await, ["confirmation page_required"]);
}

#[tokio::test]
async fn without_a_place_for_its_record_an_answer_is_none() {
    let bed = bed_with(super::mcp::TOOLS, "").await;
    let asked = bed.called("ada", call(write("List"), forms(), json!({}))).await;
    let trail = bed.bed.gateway.audit();
    let mut places: Vec<_> = std::iter::from_fn(|| trail.reserve().ok()).collect();
    places.pop();
    let refused = bed.called("ada", call(write("List"), forms(), goes_on(&asked, agreed()))).await;
    assert!(refused.to_string().contains("audit_unavailable"), "{refused:#}");
    drop(places);
    assert!(bed.notes.requests().is_empty());
    assert_ran(&bed.called("ada", call(write("List"), forms(), goes_on(&asked, agreed()))).await);
}

#[tokio::test]
async fn a_legacy_client_that_opens_pages_hears_of_the_page_in_its_own_form() {
    let bed = bed().await;
    let session = bed.session_with("ada", json!({ "elicitation": { "url": {} } })).await;
    let (status, held) = session.answer("tools/call", write("List")).await;
    assert_eq!((status, &held["error"]["code"]), (200, &json!(-32_042)), "{held:#}");
    let asked = &held["error"]["data"]["elicitations"][0];
    let link = asked["url"].as_str().expect("a link").to_owned();
    agree(&bed.bed, &link).await;
    let (_, ran) = session.answer("tools/call", write("List")).await;
    assert_ran(&ran);
}
