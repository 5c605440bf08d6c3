//! A person is asked for a connection in the form that their client's protocol has for it.

use std::time::{Duration, Instant};

use obo_gateway::demo::authorization_server::{NOTES_AUDIENCE, Settings};
use obo_gateway::demo::script::Reply;
use obo_gateway::identity::{Issuer, PersonId, Subject, Tenant};
use obo_gateway::tool::ConnectorName;
use serde_json::{Value, json};

use super::bed::{McpBed, answer, request};
use crate::bed::outcome;
use crate::browser::{PUBLIC, Page};
use crate::connections::visit;
use crate::pages::{ADA, browser, connecting, sign_in_from};

const METHODS: [&str; 3] = ["tools/call", "prompts/get", "resources/read"];

/// The notes as a service that people have accounts at. These keys say for whom what is.
async fn bed(keys: &'static str) -> McpBed {
    let mut settings = Settings::default();
    let back = ["signed-in", "callback/notes"].map(|rest| format!("{PUBLIC}/account/{rest}"));
    settings.gateway.redirect_uris.extend(back);
    McpBed::between(settings, |parts| {
        let (server, folder) = (parts.authorization_server, parts.folder.display());
        std::fs::write(parts.folder.join("vault.key"), (0..32).collect::<Vec<u8>>()).expect("a key");
        let before = format!(
            "public_url: {PUBLIC}
vault: {{ file: {folder}/vault.db, keys: [{{ id: a, file: {folder}/vault.key }}] }}
"
        );
        let connection = format!(
            "{keys}
    connection:
      issuer: {issuer}
      client_id: {client_id}
      client_auth: {{ secret_file: {folder}/secret }}
      scopes: [openid, offline_access, \"{NOTES_AUDIENCE}/Notes.Read\"]
",
            issuer = server.issuer(),
            client_id = server.settings().gateway.client_id,
        );
        (before, connection)
    })
    .await
}

/// All of the server is for people's own accounts.
const WHOLE: &str = "    identity: connection";
/// Two of its tools are, so that a session can begin without one.
const TWO_TOOLS: &str = "    identity: on_behalf_of
    audience: api://notes
    scopes: [Notes.Read]
    tools:
      list_notes: { identity: connection, scopes: [\"api://notes/Notes.Read\"] }
      ask_back: { identity: connection, scopes: [\"api://notes/Notes.Read\"] }
      read_note: { identity: on_behalf_of, scopes: [Notes.Read] }
      count_slowly: { identity: on_behalf_of, scopes: [Notes.Read] }";

/// These parameters, of a client that can show forms and pages.
fn showing(mut params: Value) -> Value {
    let capabilities = json!({ "elicitation": { "form": {}, "url": {} } });
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities;
    params
}

fn list_notes(more: Value) -> Value {
    with(json!({ "name": "list_notes", "arguments": {} }), more)
}

fn with(params: Value, more: Value) -> Value {
    let mut params = showing(params);
    params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    params
}

fn goes_on(asked: &Value, action: &str) -> Value {
    let answers = json!({ "obo.connect": { "action": action } });
    json!({ "requestState": asked["result"]["requestState"], "inputResponses": answers })
}

/// The call goes on though nobody has answered.
fn unanswered(asked: &Value) -> Value {
    json!({ "requestState": asked["result"]["requestState"] })
}

/// The link in a question of the gateway's.
#[track_caller]
fn link((status, asked): &(u16, Value)) -> String {
    let result = &asked["result"];
    assert_eq!((*status, &result["resultType"]), (200, &json!("input_required")), "{asked:#}");
    assert!(result["requestState"].as_str().is_some_and(|state| state.starts_with("obo1.")), "{asked:#}");
    assert_eq!(result["_meta"]["obo-gateway/refusal"]["code"], "connection_required");
    let question = &result["inputRequests"]["obo.connect"];
    assert_eq!(
        (&question["method"], &question["params"]["mode"]),
        (&json!("elicitation/create"), &json!("url"))
    );
    assert!(question["params"]["message"].as_str().is_some_and(|message| message.contains("\"notes\"")));
    let link = question["params"]["url"].as_str().expect("a link").to_owned();
    assert!(link.starts_with(&format!("{PUBLIC}/account/connect/")), "{link}");
    link
}

/// That the model reads a refusal.
#[track_caller]
fn assert_told((status, told): &(u16, Value), code: &str) {
    let result = &told["result"];
    assert_eq!((*status, &result["isError"]), (200, &json!(true)), "{told:#}");
    assert_eq!(result["_meta"]["obo-gateway/refusal"]["code"], code, "{told:#}");
}

#[track_caller]
fn assert_state_refused((status, told): &(u16, Value)) {
    assert_eq!((*status, &told["error"]["data"]["code"]), (400, &json!("state_refused")), "{told:#}");
}

impl McpBed {
    async fn listed(&self, who: &str, more: Value) -> (u16, Value) {
        self.modern_answer(who, "tools/call", list_notes(more)).await
    }

    async fn connect(&self, link: &str) {
        let page = connecting::connect(&mut browser(&self.bed), &self.bed, link).await;
        page.assert_says(200, "notes is connected");
    }

    async fn decline(&self, link: &str) -> Page {
        let mut browser = browser(&self.bed);
        let page = sign_in_from(&mut browser, &self.bed, link, ADA).await;
        let path = link.strip_prefix(PUBLIC).expect("a link of ours");
        browser.submit(&page, &format!("{path}/decline")).await
    }

    async fn disconnect(&self) {
        let server = &self.bed.authorization_server;
        let holder = PersonId {
            issuer: Issuer::new(server.issuer()),
            tenant: Tenant::Named(server.settings().tenant.as_str().into()),
            subject: Subject::new(ADA),
        };
        let connections = self.bed.gateway.connections().expect("a vault");
        let gone = connections.disconnect(&holder, &ConnectorName::new("notes"), &visit()).await;
        assert!(gone.expect("the vault can be written").was_there);
    }

    /// What became of the calls of the connector.
    async fn outcomes(&self) -> Vec<String> {
        let is_call = |record: &&Value| record.pointer("/api/service/name").is_some();
        self.bed.records().await.iter().filter(is_call).map(outcome).collect()
    }

    /// That nothing of the gateway's own reached the server.
    fn assert_kept(&self) {
        for request in self.notes.requests() {
            for ours in ["obo1.", "obo.connect", "obo.confirm"] {
                assert!(!request.contains(ours), "{ours}");
            }
        }
    }
}

#[tokio::test]
async fn a_modern_client_opens_the_link_and_the_same_call_goes_on() {
    let bed = bed(TWO_TOOLS).await;
    let response = bed.modern("ada", "tools/call", list_notes(json!({}))).send().await.expect("an answer");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(!response.headers().contains_key("www-authenticate"));
    let first = answer(response).await;
    let link = link(&first);
    let second = bed.listed("ada", unanswered(&first.1)).await;
    assert_eq!(self::link(&second), link);
    assert_ne!(first.1["result"]["requestState"], second.1["result"]["requestState"]);
    assert!(bed.notes.requests().is_empty());
    bed.connect(&link).await;
    let (status, done) = bed.listed("ada", goes_on(&second.1, "accept")).await;
    assert_eq!((status, &done["result"]["resultType"]), (200, &json!("complete")), "{done:#}");
    assert!(done["result"]["structuredContent"]["notes"].is_array(), "{done:#}");
    let seen = bed.notes.only_request();
    assert_eq!(seen.bearer(), bed.bed.authorization_server.last_issued());
    bed.assert_kept();
    assert_eq!(bed.outcomes().await, ["connection_required", "connection_required", "answered"]);
}

#[tokio::test]
async fn a_call_waits_a_little_for_its_person_who_is_at_the_page() {
    let bed = bed(TWO_TOOLS).await;
    let asked = bed.listed("ada", json!({})).await;
    let link = link(&asked);
    let going_on = async || (bed.listed("ada", goes_on(&asked.1, "accept")).await, Instant::now());
    let at_the_page = async || {
        bed.connect(&link).await;
        Instant::now()
    };
    let ((done, answered_at), connected_at) = tokio::join!(going_on(), at_the_page());
    assert_eq!(done.1["result"]["resultType"], "complete", "{:#}", done.1);
    let longer = answered_at.saturating_duration_since(connected_at);
    assert!(longer < Duration::from_secs(10), "it does not wait to the end: {longer:?}");
    // Nor does it when the answer is no.
    bed.disconnect().await;
    let asked = bed.listed("ada", json!({})).await;
    let link = self::link(&asked);
    let going_on = async || (bed.listed("ada", goes_on(&asked.1, "accept")).await, Instant::now());
    let at_the_page = async || (bed.decline(&link).await, Instant::now());
    let ((told, answered_at), (page, declined_at)) = tokio::join!(going_on(), at_the_page());
    page.assert_says(200, "Declined");
    assert_told(&told, "connection_declined");
    let longer = answered_at.saturating_duration_since(declined_at);
    assert!(longer < Duration::from_secs(10), "it does not wait to the end: {longer:?}");
}

#[tokio::test]
async fn only_what_may_wait_for_a_person_is_answered_with_a_question() {
    let bed = bed(WHOLE).await;
    let params = [
        json!({ "name": "list_notes" }),
        json!({ "name": "summarise_notes" }),
        json!({ "uri": "note://mine/latest" }),
    ];
    for (method, params) in METHODS.into_iter().zip(params) {
        link(&bed.modern_answer("ada", method, showing(params.clone())).await);
        // A client that shows forms alone reads the link.
        let (_, told) = bed.modern_answer("ada", method, params).await;
        assert!(
            told.to_string().contains("/account/connect/") && told.get("requestState").is_none(),
            "{told:#}"
        );
    }
    for method in ["tools/list", "server/discover"] {
        let (status, told) = bed.modern_answer("ada", method, showing(json!({}))).await;
        assert_eq!(
            (status, &told["error"]["data"]["code"]),
            (403, &json!("connection_required")),
            "{told:#}"
        );
        assert_eq!(told["error"]["code"], 403, "never -32042 in this era: {told:#}");
    }
    assert!(bed.notes.requests().is_empty());
}

#[tokio::test]
async fn who_declines_or_closes_the_question_is_not_asked_on_the_same_call() {
    let bed = bed(TWO_TOOLS).await;
    let first = bed.listed("ada", json!({})).await;
    assert_told(&bed.listed("ada", goes_on(&first.1, "cancel")).await, "connection_declined");
    let second = bed.listed("ada", json!({})).await;
    assert_eq!(link(&second), link(&first), "who closed the question can be asked again");
    assert_told(&bed.listed("ada", goes_on(&second.1, "decline")).await, "connection_declined");
    let gone = browser(&bed.bed).open(&link(&first)).await;
    gone.assert_says(410, "This link does not lead anywhere any more");
    // Nor is who declined asked on the next one, by that agent.
    assert_told(&bed.listed("ada", json!({})).await, "connection_declined");
    assert_told(&bed.listed("ada", goes_on(&second.1, "accept")).await, "connection_declined");
    link(&bed.listed("bob", json!({})).await);
    assert!(bed.notes.requests().is_empty());
    let outcomes = bed.outcomes().await;
    assert_eq!(
        outcomes.iter().filter(|outcome| *outcome == "connection_declined").count(),
        4,
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn who_declines_on_the_page_has_declined_for_the_call_that_waits() {
    let bed = bed(TWO_TOOLS).await;
    let asked = bed.listed("ada", json!({})).await;
    bed.decline(&link(&asked)).await.assert_says(200, "Declined");
    assert_told(&bed.listed("ada", goes_on(&asked.1, "accept")).await, "connection_declined");
    let legacy = bed.session_with("ada", json!({ "elicitation": { "url": {} } })).await;
    assert_told(&legacy.answer("tools/call", json!({ "name": "list_notes" })).await, "connection_declined");
}

#[tokio::test]
async fn a_client_that_only_ever_goes_on_is_told_in_the_end() {
    let bed = bed(TWO_TOOLS).await;
    let mut asked = bed.listed("ada", json!({})).await;
    let link = link(&asked);
    for _ in 1..5 {
        asked = bed.listed("ada", unanswered(&asked.1)).await;
        assert_eq!(self::link(&asked), link);
    }
    let told = bed.listed("ada", unanswered(&asked.1)).await;
    assert_told(&told, "connection_required");
    assert!(told.1.to_string().contains(&link), "{:#}", told.1);
}

#[tokio::test]
async fn a_state_is_for_its_call_its_person_and_its_agent() {
    let bed = bed(TWO_TOOLS).await;
    let (_, asked) = bed.listed("ada", json!({})).await;
    let accepted = goes_on(&asked, "accept");
    let state = asked["result"]["requestState"].as_str().expect("a state");
    let altered =
        |state: String| json!({ "requestState": state, "inputResponses": accepted["inputResponses"] });
    let other_arguments = with(json!({ "name": "list_notes", "arguments": { "x": 1 } }), accepted.clone());
    let other_tool = with(json!({ "name": "ask_back" }), accepted.clone());
    let without_state = json!({ "inputResponses": accepted["inputResponses"] });
    for refused in [
        bed.listed("bob", accepted.clone()).await,
        bed.modern_answer("ada", "tools/call", other_arguments).await,
        bed.modern_answer("ada", "tools/call", other_tool).await,
        bed.modern_answer("ada", "tools/list", showing(accepted.clone())).await,
        bed.listed("ada", altered(format!("{state}AA"))).await,
        bed.listed("ada", altered(state[..state.len() - 4].to_owned())).await,
        bed.listed("ada", altered("obo1.AAAA".to_owned())).await,
        bed.listed("ada", without_state).await,
    ] {
        assert_state_refused(&refused);
    }
    let agent = bed.bed.authorization_server.subject_token("ada").agent("another-agent").mint();
    let mut another = bed.modern("ada", "tools/call", list_notes(accepted)).build().expect("a request");
    another.headers_mut().insert("authorization", format!("Bearer {agent}").parse().expect("a value"));
    let another = reqwest::Client::new().execute(another).await.expect("an answer");
    assert_state_refused(&answer(another).await);
    assert!(bed.notes.requests().is_empty());
    assert_eq!(bed.outcomes().await[1..], ["state_refused"; 9]);
}

#[tokio::test]
async fn the_servers_own_question_outlives_ours() {
    let bed = bed(TWO_TOOLS).await;
    let ask_back = |more| with(json!({ "name": "ask_back" }), more);
    let call = async |more| bed.modern_answer("ada", "tools/call", ask_back(more)).await;
    let asked = call(json!({})).await;
    bed.connect(&link(&asked)).await;
    let (_, theirs) = call(goes_on(&asked.1, "accept")).await;
    let state = theirs["result"]["requestState"].as_str().expect("a state").to_owned();
    assert!(state.starts_with("notes."), "{theirs:#}");
    assert!(theirs["result"]["inputRequests"]["name"].is_object(), "{theirs:#}");
    // The person answers, and has disconnected meanwhile: the gateway's question comes in between.
    bed.disconnect().await;
    let answers = json!({ "name": { "action": "accept", "content": { "name": "Ada" } } });
    let asked = call(json!({ "requestState": state, "inputResponses": answers })).await;
    let link = link(&asked);
    assert!(!asked.1.to_string().contains(&state), "it is sealed");
    let asked = call(unanswered(&asked.1)).await;
    bed.connect(&link).await;
    let (_, done) = call(goes_on(&asked.1, "accept")).await;
    assert_eq!(done["result"]["structuredContent"]["greeting"], "Good day, Ada.", "{done:#}");
    let seen = bed.notes.requests().pop().expect("a request");
    assert!(seen.contains(&state));
    bed.assert_kept();
}

#[tokio::test]
async fn a_server_cannot_ask_in_the_gateways_name() {
    let bed = bed(TWO_TOOLS).await;
    let asked = bed.listed("ada", json!({})).await;
    bed.connect(&link(&asked)).await;
    let question =
        json!({ "method": "elicitation/create", "params": { "mode": "url", "url": "https://evil.example" } });
    for result in [
        json!({ "resultType": "input_required", "requestState": asked.1["result"]["requestState"] }),
        json!({ "resultType": "input_required", "inputRequests": { "obo.connect": question } }),
    ] {
        let message = json!({ "jsonrpc": "2.0", "id": 7, "result": result });
        for reply in [
            Reply::status(200).replacing_header("content-type", "application/json").body(message.to_string()),
            Reply::status(200)
                .replacing_header("content-type", "text/event-stream")
                .body(format!("data: {message}\n\n")),
        ] {
            bed.notes.script().once(reply);
            let broken = match bed.modern("ada", "tools/call", list_notes(json!({}))).send().await {
                Ok(response) => response.text().await.is_err(),
                // It broke off before anything was sent.
                Err(error) => error.is_request(),
            };
            assert!(broken, "{message}");
        }
    }
    let outcomes = bed.bed.calls(1).await.iter().map(outcome).collect::<Vec<_>>();
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "answer_broke_off").count(), 4, "{outcomes:?}");
}

#[tokio::test]
async fn a_legacy_client_is_told_by_an_error_to_open_the_link() {
    let bed = bed(TWO_TOOLS).await;
    let call = json!({ "name": "list_notes" });
    let session = bed.session_with("ada", json!({ "elicitation": { "url": {} } })).await;
    let (status, asked) = session.answer("tools/call", call.clone()).await;
    let error = &asked["error"];
    assert_eq!((status, &error["code"]), (200, &json!(-32042)), "{asked:#}");
    let elicitation = &error["data"]["elicitations"][0];
    let link = elicitation["url"].as_str().expect("a link");
    assert!(link.starts_with(&format!("{PUBLIC}/account/connect/")), "{link}");
    assert_eq!(
        (&elicitation["mode"], elicitation["elicitationId"].as_str().map(str::len)),
        (&json!("url"), Some(22))
    );
    // Earlier revisions have no such error, and a client that shows no pages reads the link.
    let mut earlier = session
        .request(reqwest::Method::POST)
        .header("accept", "application/json, text/event-stream")
        .json(&request(8, "tools/call", call.clone()))
        .build()
        .expect("a request");
    earlier.headers_mut().insert("mcp-protocol-version", "2025-06-18".parse().expect("a value"));
    let earlier = reqwest::Client::new().execute(earlier).await.expect("an answer");
    assert_told(&answer(earlier).await, "connection_required");
    for capabilities in [json!({}), json!({ "elicitation": {} }), json!({ "elicitation": { "form": {} } })] {
        let told = bed.session_with("ada", capabilities).await.answer("tools/call", call.clone()).await;
        assert_told(&told, "connection_required");
        assert!(told.1.to_string().contains(link), "{:#}", told.1);
    }
    bed.connect(link).await;
    let (status, done) = session.answer("tools/call", call).await;
    assert_eq!((status, &done["result"]["isError"]), (200, &json!(false)), "{done:#}");
}
