//! Tools of MCP servers: the model reads the link, and the same call runs once its person has agreed.

use obo_gateway::demo::authorization_server::{AuthorizationServer, NOTES_AUDIENCE, Settings};
use obo_gateway::demo::mail::{MailConnector, MailSettings};
use obo_gateway::demo::notes::{NotesConnector, NotesSettings};
use serde_json::{Value, json};

use super::{ADA, agree, browser, open};
use crate::bed::TestBed;
use crate::browser::PUBLIC;
use crate::mcp::bed::McpBed;

pub const TOOLS: &str = "    scopes: [Notes.ReadWrite]
    tools:
      list_notes: {}
      read_note: {}
      write_note: { confirm: true }
      delete_note: { confirm: page }
";

pub async fn bed() -> McpBed {
    bed_with(TOOLS, "").await
}

pub async fn bed_with(more: &str, policy: &str) -> McpBed {
    let mut settings = Settings::default();
    settings.gateway.redirect_uris.push(format!("{PUBLIC}/account/signed-in"));
    let server = AuthorizationServer::start(settings).await.expect("an authorization server");
    let mail = MailConnector::start(MailSettings::trusting(&server)).await.expect("a mail connector");
    let notes = NotesConnector::start(NotesSettings::trusting(&server)).await.expect("a connector");
    let endpoint = notes.endpoint();
    let bed = TestBed::between(server, mail, |parts| {
        let connector = format!(
            "  notes:
    kind: mcp
    path: /notes
    upstream: {endpoint}
    audience: {NOTES_AUDIENCE}
    timeouts: {{ connect: 20s, response: 20s, idle: 20s }}
{more}"
        );
        let whole = parts.whole(&parts.issuer(), &connector);
        let everything = "tools: [\"*/*\"], prompts: [\"*/*\"], resources: [\"*/*\"]";
        let whole =
            whole.replace("tools: [\"*/*\"]", everything).replace("audit:", &format!("{policy}audit:"));
        format!("public_url: {PUBLIC}\n{whole}")
    })
    .await;
    McpBed { bed, notes }
}

/// The link that a tool's result carries, for the model and for programs.
#[track_caller]
pub fn link(answer: &Value) -> String {
    let result = &answer["result"];
    assert_eq!(result["isError"], true, "{answer:#}");
    let refusal = &result["_meta"]["obo-gateway/refusal"];
    assert_eq!(refusal["code"], "confirmation_required", "{answer:#}");
    let link = refusal["confirm_url"].as_str().expect("a link").to_owned();
    let text = result["content"][0]["text"].as_str().expect("a text");
    assert!(text.contains(&link), "{text}");
    link
}

/// These parameters, of a client that can ask its person nothing.
fn silent(mut params: Value) -> Value {
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    params
}

fn write(title: &str) -> Value {
    json!({ "name": "write_note", "arguments": { "title": title, "text": "Milk" } })
}

#[tokio::test]
async fn a_modern_call_runs_once_after_its_person_has_agreed_to_it() {
    let bed = bed().await;
    let (status, held) = bed.modern_answer("ada", "tools/call", silent(write("List"))).await;
    assert_eq!(status, 200);
    assert_eq!(held["result"]["resultType"], "complete", "{held:#}");
    let link = link(&held);
    assert!(bed.notes.requests().is_empty());
    let page = open(&mut browser(&bed.bed), &bed.bed, &link, ADA).await;
    page.assert_says(200, "May this run?");
    for shown in ["write_note", "List", "Milk", "Arguments"] {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    agree(&bed.bed, &link).await;
    // Other arguments are another call, and so is whatever else the server could act on.
    let (_, other) = bed.modern_answer("ada", "tools/call", silent(write("Other"))).await;
    self::link(&other);
    let (_, bobs) = bed.modern_answer("bob", "tools/call", silent(write("List"))).await;
    self::link(&bobs);
    let mut flagged = write("List");
    flagged["_meta"] = json!({ "com.example/confirmed": true });
    let (_, flagged) = bed.modern_answer("ada", "tools/call", silent(flagged)).await;
    self::link(&flagged);
    assert!(bed.notes.requests().is_empty());
    // Another id and another progress token are not.
    let mut again = write("List");
    again["_meta"] = json!({ "progressToken": "p2" });
    let (_, ran) = bed.modern_answer("ada", "tools/call", silent(again)).await;
    assert_eq!(ran["result"]["isError"], json!(false), "{ran:#}");
    assert_eq!(bed.notes.requests().len(), 1);
    let (_, second) = bed.modern_answer("ada", "tools/call", silent(write("List"))).await;
    assert_ne!(self::link(&second), link);
}

#[tokio::test]
async fn a_legacy_call_runs_once_after_its_person_has_agreed_to_it() {
    let bed = bed().await;
    let session = bed.session("ada").await;
    let before = bed.notes.requests().len();
    let (_, held) = session.answer("tools/call", write("List")).await;
    let link = link(&held);
    assert_eq!(bed.notes.requests().len(), before);
    agree(&bed.bed, &link).await;
    let (_, ran) = session.answer("tools/call", write("List")).await;
    assert_eq!(ran["result"]["isError"], json!(false), "{ran:#}");
    let (_, second) = session.answer("tools/call", write("List")).await;
    assert_ne!(self::link(&second), link);
}

#[tokio::test]
async fn what_was_declined_is_told_to_the_model() {
    let bed = bed().await;
    let call = json!({ "name": "delete_note", "arguments": { "id": "n1" } });
    let (_, held) = bed.modern_answer("ada", "tools/call", call.clone()).await;
    let link = link(&held);
    let mut browser = browser(&bed.bed);
    let page = open(&mut browser, &bed.bed, &link, ADA).await;
    super::answer(&mut browser, &page, &link, "decline").await.assert_says(200, "Declined");
    let (_, declined) = bed.modern_answer("ada", "tools/call", call).await;
    assert_eq!(
        declined["result"]["_meta"]["obo-gateway/refusal"]["code"], "confirmation_declined",
        "{declined:#}"
    );
    let (_, read) = bed
        .modern_answer("ada", "tools/call", json!({ "name": "read_note", "arguments": { "id": "n1" } }))
        .await;
    assert_eq!(read["result"]["isError"], json!(false), "what asks nobody runs: {read:#}");
    let outcomes = bed.bed.outcomes(3).await;
    let refused: Vec<_> = outcomes.iter().filter(|outcome| outcome.starts_with("confirmation_")).collect();
    assert_eq!(refused, ["confirmation_required", "confirmation_declined"]);
}

#[tokio::test]
async fn a_rule_can_ask_about_prompts_and_resources_as_well() {
    let rule = "  confirm:\n    - { name: reads ask, resources: [\"notes/*\"] }\n";
    let bed = bed_with(TOOLS, rule).await;
    let read = || bed.modern_answer("ada", "resources/read", silent(json!({ "uri": "note://mine/n1" })));
    let (status, held) = read().await;
    assert_eq!((status, &held["error"]["data"]["code"]), (428, &json!("confirmation_required")), "{held:#}");
    let link = held["error"]["data"]["confirm_url"].as_str().expect("a link");
    assert!(held["error"]["message"].as_str().is_some_and(|message| message.contains(link)), "{held:#}");
    let (status, list) = bed.modern_answer("ada", "tools/list", json!({})).await;
    assert_eq!(status, 200, "what the protocol needs asks nobody: {list:#}");
    let before = bed.notes.requests().len();
    agree(&bed.bed, link).await;
    read().await;
    assert_eq!(bed.notes.requests().len(), before + 1);
}
