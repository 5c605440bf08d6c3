//! Marked secrets are sent through the whole gateway, by every way a call can end, and looked for in everything that it puts out:
//! the trail, the log with all its details, metrics, what agents hear of refusals, and files.

use std::time::Duration;

use obo_gateway::demo::authorization_server::{Endpoint, Fault, MAIL_AUDIENCE, Settings};
use obo_gateway::demo::script::Reply;
use reqwest::{Method, Response};
use serde_json::json;

use crate::bed::{Setup, TestBed};
use crate::leaks;
use crate::log::Log;
use crate::mcp::bed::McpBed;

const CLIENT_SECRET: &str = "canary-client-secret-41f09b27";
const AUDIT_KEY: &str = "canary-audit-key-5b0d2c7e94a1386f";
const REQUEST_BODY: &str = "canary-request-body-77aa01d3";
const RESPONSE_BODY: &str = "canary-response-body-90ce55b2";
const ARGUMENT: &str = "canary-argument-2b6d18e0c3";
const QUERY: &str = "canary-query-e4480f1162";
const HEADER: &str = "canary-header-0d97ab3c55";
const MARKED: [&str; 7] = [CLIENT_SECRET, AUDIT_KEY, REQUEST_BODY, RESPONSE_BODY, ARGUMENT, QUERY, HEADER];

const TOOLS: &str = "    tools:
      list_messages: { match: GET /me/messages, scopes: [Mail.Read] }
      send_message:
        match: POST /me/sendMail
        scopes: [Mail.Send]
        arguments:
          subject: { type: string, body: /message/subject }
          content: { type: string, body: /message/body/content }
          save: { type: boolean, query: save }
        record_arguments: [subject]
      announce: { match: 'POST /users/{user}/sendMail', identity: app_only, scopes: [.default] }
";

/// What agents heard of the gateway itself: the heads of all answers, and the bodies of refusals.
#[derive(Default)]
struct Heard(String);

impl Heard {
    /// Takes note of an answer, and returns its status.
    async fn note(&mut self, answer: reqwest::Result<Response>) -> u16 {
        let Ok(answer) = answer else { return 0 };
        let status = answer.status().as_u16();
        self.0.push_str(&format!("{:?}\n", answer.headers()));
        let is_problem = answer
            .headers()
            .get("content-type")
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json"));
        let text = answer.text().await.unwrap_or_default();
        if is_problem {
            self.0.push_str(&text);
        }
        status
    }
}

async fn bed() -> TestBed {
    let marked = |settings: &mut Settings| settings.gateway.secret = CLIENT_SECRET.to_owned();
    let setup = Setup::default().server(marked).hasty().config(|parts| {
        let key = parts.folder.join("audit.key");
        std::fs::write(&key, AUDIT_KEY).expect("a key");
        let audit = parts.folder.join("audit.jsonl").display().to_string();
        let keys = format!("{audit}, keys: [{{ epoch: e1, file: {} }}], pseudonyms: true", key.display());
        parts.whole(&parts.issuer(), &parts.mail(TOOLS)).replace(&audit, &keys)
    });
    setup.start().await
}

/// Looks through everything there is.
async fn check(bed: &TestBed, log: &Log, heard: &Heard) {
    check_for(bed, log, heard, &[]).await;
}

/// The same, for these secrets as well.
async fn check_for(bed: &TestBed, log: &Log, heard: &Heard, more: &[String]) {
    let mut secrets = bed.secrets();
    secrets.extend(MARKED.map(str::to_owned));
    secrets.extend_from_slice(more);
    let trail = std::fs::read_to_string(bed.audit_path()).expect("a trail");
    leaks::assert_none("trail", &trail, &secrets);
    leaks::assert_none("log", &log.text(), &secrets);
    leaks::assert_none("answers", &heard.0, &secrets);
    for path in ["/metrics", "/readyz", "/connectors"] {
        leaks::assert_none(path, &bed.admin(path).await.1, &secrets);
    }
    // What the test itself put there.
    let own = ["secret", "audit.key", "gateway.yaml"];
    for entry in std::fs::read_dir(bed.folder.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        if !own.contains(&name.as_str()) {
            let text = String::from_utf8_lossy(&std::fs::read(&path).expect("a file")).into_owned();
            leaks::assert_none(&name, &text, &secrets);
        }
    }
}

#[tokio::test]
async fn no_marked_secret_is_in_anything_that_is_put_out() {
    let (log, _guard) = Log::capture();
    let bed = bed().await;
    bed.authorization_server.grant_consent("ada", MAIL_AUDIENCE, "Mail.Send");
    let mut heard = Heard::default();
    let mut statuses = Vec::new();
    let mail = |subject: &str| json!({ "message": { "subject": subject, "body": { "content": ARGUMENT }, "x": REQUEST_BODY } });
    let send = |who: &str, body: String| {
        let target = format!("/mail/me/sendMail?save=true&token={QUERY}");
        let request = bed.request(Method::POST, &target).bearer_auth(bed.token(who));
        let request = request.header("cookie", HEADER).header("x-api-key", HEADER);
        request.header("content-type", "application/json").body(body).send()
    };
    let get = |target: &str, token: &str| {
        bed.request(Method::GET, target).bearer_auth(token).header("x-forwarded-user", HEADER).send()
    };
    let list = format!("/mail/me/messages?token={QUERY}");
    let answers_with_canary =
        || Reply::json(200, &json!({ "value": RESPONSE_BODY })).header("x-echo", "plain");

    // Answered, also with what the connector says of it.
    bed.connector.script().once(answers_with_canary());
    statuses.push(heard.note(get(&list, &bed.token("ada")).await).await);
    statuses.push(heard.note(send("ada", mail("hello").to_string()).await).await);
    // The application's.
    let announce = format!("/mail/users/{}/sendMail", bed.authorization_server.person("bob").oid);
    let announced =
        bed.request(Method::POST, &announce).bearer_auth(bed.token("ada")).json(&mail("all")).send();
    statuses.push(heard.note(announced.await).await);
    // Refused before anybody is known.
    for token in [
        "not-a-token-but-long-enough".to_owned(),
        bed.authorization_server.subject_token("ada").expired().mint(),
        bed.authorization_server.subject_token("ada").audience("api://other").mint(),
        bed.authorization_server.subject_token("ada").signed_by_a_stranger().mint(),
        bed.authorization_server.id_token("ada"),
    ] {
        let answer = bed.get(&list, &token).await;
        statuses.push(heard.note(Ok(answer)).await);
    }
    // No credentials, the token in other places, no connector, no tool, paths that can be read in two ways.
    let token = bed.token("ada");
    statuses.push(heard.note(bed.request(Method::GET, &list).send().await).await);
    for target in [
        format!("/mail/me/messages?access_token={token}"),
        format!("/none?token={QUERY}"),
        format!("/mail/none?token={QUERY}"),
        format!("/mail/a//b?token={QUERY}"),
    ] {
        statuses.push(heard.note(get(&target, &token).await).await);
    }
    // Arguments that cannot be judged.
    for body in [
        format!("{{\"message\": \"{REQUEST_BODY}"),
        json!({ "message": { "subject": { "x": ARGUMENT } } }).to_string(),
        json!({ "message": { "subject": "x", "Subject": ARGUMENT } }).to_string(),
    ] {
        statuses.push(heard.note(send("ada", body).await).await);
    }
    // No exchange.
    let faults = [
        Fault::blocked(),
        Fault::consent_missing("gateway", "obo-gateway"),
        Fault::multi_factor_required("mail", r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#),
        Fault::wrong_secret("gateway"),
    ];
    for fault in faults {
        bed.authorization_server.refuse_exchanges("bob", fault);
        statuses.push(heard.note(get(&list, &bed.token("bob")).await).await);
    }
    bed.authorization_server.allow_exchanges("bob");
    for reply in [
        Reply::json(200, &json!({ "access_token": RESPONSE_BODY, "token_type": "mac" })),
        Reply::json(200, &json!([RESPONSE_BODY])),
        Reply::json(400, &json!({ "error": "invalid_grant", "error_description": RESPONSE_BODY })),
        Reply::reset(),
    ] {
        let reset = bed.authorization_server.script(Endpoint::Token);
        reset.times(3, &reply);
        statuses.push(heard.note(get(&list, &bed.token("bob")).await).await);
        reset.clear();
    }
    // A second try, and what the connector does wrong.
    for reply in [Reply::status(401), Reply::reset(), Reply::hang(), Reply::status(101)] {
        bed.connector.script().clear().times(2, &reply);
        statuses.push(heard.note(get(&list, &bed.token("ada")).await).await);
    }
    let cut = answers_with_canary().body(RESPONSE_BODY.repeat(1_000)).cut_after(2_000);
    bed.connector.script().clear().once(cut);
    heard.note(get(&list, &bed.token("ada")).await).await;
    // The agent leaves.
    bed.connector.script().once(answers_with_canary().after(Duration::from_secs(1)));
    let leaves = tokio::time::timeout(Duration::from_millis(100), get(&list, &bed.token("ada"))).await;
    assert!(leaves.is_err(), "the agent left");
    let forget = format!(
        "http://{}/forget?issuer=contoso&subject={}",
        bed.gateway.admin_address(),
        bed.authorization_server.person("ada").oid
    );
    statuses.push(heard.note(crate::bed::client().post(forget).send().await).await);

    let calls = bed.calls(statuses.len()).await;
    let outcomes: std::collections::BTreeSet<String> = calls.iter().map(crate::bed::outcome).collect();
    assert!(outcomes.len() > 18, "calls ended in many ways: {outcomes:?} {statuses:?}");
    let shown =
        calls.iter().any(|call| call["unmapped"]["obo"]["arguments"] == json!({ "subject": "hello" }));
    assert!(shown, "what is to be recorded is");
    assert!(log.text().contains("TRACE") && log.text().contains("Call refused"), "the log has everything");
    check(&bed, &log, &heard).await;
}

#[tokio::test]
async fn no_marked_secret_of_an_mcp_call_is_in_anything_that_is_put_out() {
    let (log, _guard) = Log::capture();
    let bed = McpBed::start().await;
    let mut heard = Heard::default();
    for (who, method, params) in [
        ("ada", "tools/call", json!({ "name": "read_note", "arguments": { "id": ARGUMENT } })),
        ("ada", "tools/call", json!({ "name": "no_such_tool", "arguments": { "id": ARGUMENT } })),
        ("bob", "tools/call", json!({ "name": "delete_note", "arguments": { "id": ARGUMENT } })),
        ("ada", "tools/list", json!({ "cursor": ARGUMENT })),
        ("ada", "prompts/get", json!({ "name": "summary", "arguments": { "topic": ARGUMENT } })),
        ("ada", ARGUMENT, json!({ "x": REQUEST_BODY })),
    ] {
        heard.note(bed.modern(who, method, params).send().await).await;
    }
    for body in [format!("{{\"{REQUEST_BODY}\""), format!("[\"{REQUEST_BODY}\"]")] {
        heard.note(bed.post("ada", body).send().await).await;
    }
    let session = bed.session("ada").await;
    heard.note(Ok(session.post(&json!({ "jsonrpc": "2.0", "id": 7, "method": ARGUMENT })).await)).await;
    let calls = bed.bed.calls(11).await;
    assert!(calls.iter().any(|call| call["unmapped"]["obo"]["arguments_digest"].is_string()), "{calls:#?}");
    assert!(calls.iter().any(|call| call["api"]["operation"] == "tools/call read_note"), "{calls:#?}");
    check(&bed.bed, &log, &heard).await;
}

#[tokio::test]
async fn no_secret_of_the_pages_and_of_connections_is_in_anything_that_is_put_out() {
    use crate::pages;
    let (log, _guard) = Log::capture();
    let bed = pages::connecting::bed_for_canaries(CLIENT_SECRET).await;
    let (mut adas, mut bobs) = (pages::browser(&bed), pages::browser(&bed));
    // A sign-in that fails, one that is for another person, and one that is good.
    let link = pages::connecting::link(&bed, "ada").await;
    let back = pages::way_back(&mut bobs, &bed).await;
    bobs.open(&pages::with(&back, "code", Some(QUERY))).await;
    bobs.open(&pages::with(&back, "error", Some("access_denied"))).await;
    pages::sign_in_from(&mut bobs, &bed, &link, pages::BOB).await;
    // What the service says no to, what is not believed, and what is.
    let page = pages::sign_in_from(&mut adas, &bed, &link, pages::ADA).await;
    let back = pages::connecting::way_back(&mut adas, &bed, &page).await;
    bobs.open(back.as_str()).await;
    let stolen = adas.gateway_cookies()[0].1.to_owned();
    bobs.plant("__Host-obo-session", &stolen);
    bobs.open(&pages::with(&back, "iss", Some("https://evil.example"))).await;
    for reply in [
        Reply::json(200, &json!({ "access_token": RESPONSE_BODY, "token_type": "mac" })),
        Reply::json(400, &json!({ "error": "invalid_grant", "error_description": RESPONSE_BODY })),
    ] {
        let page = adas.open(&link).await;
        let back = pages::connecting::way_back(&mut adas, &bed, &page).await;
        bed.authorization_server.script(Endpoint::Token).once(reply);
        adas.open(back.as_str()).await;
    }
    pages::connecting::connect_signed_in(&mut adas, &bed, &link).await.assert_says(200, "mail is connected");
    let mut heard = Heard::default();
    for _ in 0..2 {
        heard.note(Ok(bed.get(pages::connecting::PATH, &bed.token("ada")).await)).await;
        // Its token is renewed before the second.
        tokio::time::sleep(Duration::from_millis(2_100)).await;
    }
    let page = adas.open(&pages::account("/")).await;
    adas.submit(&page, "/account/disconnect").await.assert_says(200, "Your connections");
    let page = adas.open(&pages::account("/")).await;
    adas.submit(&page, "/account/sign-out").await.assert_says(200, "You are signed out");

    let kinds: std::collections::BTreeSet<String> = bed
        .authentications()
        .await
        .iter()
        .map(|record| record["unmapped"]["obo"]["kind"].as_str().expect("a kind").to_owned())
        .collect();
    assert!(kinds.len() >= 7, "much was done: {kinds:?}");
    let secrets: Vec<String> = adas.secrets().iter().chain(bobs.secrets()).cloned().collect();
    assert!(secrets.len() > 20, "there was much to keep");
    check_for(&bed, &log, &heard, &secrets).await;
    // Forms and links carry tokens of their own; nothing else of it is on any page.
    let mut hidden = bed.secrets();
    hidden.push(stolen);
    for shown in [adas.shown(), bobs.shown()] {
        leaks::assert_none("pages", shown, &hidden);
    }
}

#[tokio::test]
async fn no_marked_secret_of_a_call_that_a_person_is_asked_about_is_in_anything_that_is_put_out() {
    use crate::confirmation::{self, ADA};
    let (log, _guard) = Log::capture();
    let bed = confirmation::bed().await;
    let (mut heard, mut adas) = (Heard::default(), confirmation::browser(&bed));
    let token = bed.token("ada");
    let mail = |subject: &str| {
        let to = json!([{ "emailAddress": { "address": "bob@contoso.example", "name": REQUEST_BODY } }]);
        let body = json!({ "contentType": "Text", "content": ARGUMENT });
        json!({ "message": { "subject": subject, "body": body, "toRecipients": to } }).to_string()
    };
    let send = async |body: String| {
        let target = format!("/mail/me/sendMail?token={QUERY}");
        let request = bed.request(Method::POST, &target).bearer_auth(&token).header("x-tenant", HEADER);
        request.header("content-type", "application/json").body(body).send().await
    };
    let link = async |body: String| confirmation::held(send(body).await.expect("an answer")).await;
    // Agreed to, declined, left to itself, and forgotten.
    let [agreed, declined, left, forgotten] = ["agreed", "declined", "left", "forgotten"].map(mail);
    let page = confirmation::open(&mut adas, &bed, &link(agreed.clone()).await, ADA).await;
    assert!(
        [ARGUMENT, REQUEST_BODY, QUERY, HEADER].iter().all(|shown| page.text.contains(shown)),
        "{}",
        page.text
    );
    confirmation::answer(&mut adas, &page, &link(agreed.clone()).await, "agree")
        .await
        .assert_says(200, "You have agreed");
    let to_decline = link(declined.clone()).await;
    let page = adas.open(&to_decline).await;
    confirmation::answer(&mut adas, &page, &to_decline, "decline").await.assert_says(200, "Declined");
    let to_leave = link(left.clone()).await;
    confirmation::time_goes_by(&bed, &to_leave, obo_gateway::confirmation::ANSWER_TIME);
    adas.open(&to_leave).await.assert_says(410, "There is nothing to answer here any more");
    let mut statuses = Vec::new();
    for body in [&agreed, &declined, &left, &left, &forgotten] {
        statuses.push(heard.note(send(body.clone()).await).await);
    }
    assert_eq!(statuses, [202, 403, 403, 428, 428]);
    let forget = format!("http://{}/forget?issuer=contoso&subject={ADA}", bed.gateway.admin_address());
    assert_eq!(heard.note(crate::bed::client().post(forget).send().await).await, 200);
    // What cannot be shown.
    for body in [format!("{{\"x\": \"{REQUEST_BODY}"), format!("[\"{}\"]", REQUEST_BODY.repeat(3_000))] {
        assert_eq!(heard.note(send(body).await).await, 422);
    }
    assert!(log.text().contains("Call refused"), "the log has everything");
    check_for(&bed, &log, &heard, adas.secrets()).await;
}

#[tokio::test]
async fn no_marked_secret_of_an_mcp_call_that_a_person_is_asked_about_is_in_anything_that_is_put_out() {
    use crate::confirmation;
    let (log, _guard) = Log::capture();
    let bed = confirmation::mcp::bed().await;
    let call = |title: &str, more: serde_json::Value| {
        let mut params = json!({ "name": "write_note", "arguments": { "title": title, "text": ARGUMENT } });
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
            json!({ "elicitation": { "form": {} } });
        params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        params
    };
    let mut states = Vec::new();
    for (title, agree) in [("one", json!(false)), ("two", json!(true)), ("three", json!(REQUEST_BODY))] {
        let (_, asked) = bed.modern_answer("bob", "tools/call", call(title, json!({}))).await;
        let state = asked["result"]["requestState"].as_str().expect("a state");
        assert!(asked["result"]["inputRequests"]["obo.confirm"].to_string().contains(ARGUMENT), "{asked:#}");
        let answer = json!({ "obo.confirm": { "action": "accept", "content": { "agree": agree } } });
        let goes_on = call(title, json!({ "requestState": state, "inputResponses": answer }));
        bed.modern_answer("bob", "tools/call", goes_on).await;
        states.push(state.to_owned());
    }
    check_for(&bed.bed, &log, &Heard::default(), &states).await;
}
