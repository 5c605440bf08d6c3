//! Calls that their person has to agree to: held back, shown, and let through once.

mod form;
pub mod mcp;
mod policy;
mod recorded;
mod refused;
mod shown;

use std::time::Duration;

use obo_gateway::clock::Now;
use obo_gateway::confirmation::{ANSWER_TIME, QuestionId, USE_TIME};
use obo_gateway::demo::authorization_server::MAIL_AUDIENCE;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use url::Url;

use crate::bed::{Setup, TestBed, assert_refused, refusal};
use crate::browser::{Browser, PUBLIC, Page};

pub const ADA: &str = "2f9a1c64-7d0e-4b7e-9d57-0c3a51f0a001";
const BOB: &str = "8c41d2b7-53ae-4f09-8a1b-6e2f7b90b002";
const OURS: [(&str, &str); 2] = [("sec-fetch-site", "same-origin"), ("origin", "null")];
const OVER: &str = "There is nothing to answer here any more";

/// Sending asks first.
const TOOLS: &str = "    pass_headers: [x-tenant]
    tools:
      list_messages: { match: GET /me/messages, scopes: [Mail.Read] }
      read_message: { match: 'GET /me/messages/{id}', scopes: [Mail.Read], confirm: true }
      send_message: { match: POST /me/sendMail, scopes: [Mail.Send], confirm: true }
      echo: { match: POST /echo, scopes: [Mail.Send], confirm: page }
";

fn setup_with(tools: &'static str, more: &'static str) -> Setup {
    Setup::default()
        .server(|server| server.gateway.redirect_uris.push(format!("{PUBLIC}/account/signed-in")))
        .config(move |parts| {
            let whole =
                parts.whole(&parts.issuer(), &parts.mail(tools)).replace("audit:", &format!("{more}audit:"));
            format!("public_url: {PUBLIC}\n{whole}")
        })
}

pub async fn bed() -> TestBed {
    bed_with(TOOLS, "").await
}

async fn bed_with(tools: &'static str, more: &'static str) -> TestBed {
    started(setup_with(tools, more)).await
}

/// Whoever sends mail has let the gateway do it.
async fn started(setup: Setup) -> TestBed {
    let bed = setup.start().await;
    for who in ["ada", "bob"] {
        bed.authorization_server.grant_consent(who, MAIL_AUDIENCE, "Mail.Send");
    }
    bed
}

fn mail(subject: &str) -> Value {
    json!({
        "message": {
            "subject": subject,
            "body": { "contentType": "Text", "content": "See you at noon." },
            "toRecipients": [{ "emailAddress": { "address": "bob@contoso.example" } }],
        },
        "saveToSentItems": true,
    })
}

pub async fn post(
    bed: &TestBed,
    token: &str,
    path: &str,
    content_type: &str,
    body: impl Into<reqwest::Body>,
) -> Response {
    let request = bed.request(Method::POST, path).bearer_auth(token).header("content-type", content_type);
    request.body(body).send().await.expect("an answer")
}

pub async fn send(bed: &TestBed, token: &str, mail: &Value) -> Response {
    post(bed, token, "/mail/me/sendMail", "application/json", mail.to_string()).await
}

/// The link that a call is held back with.
pub async fn held(response: Response) -> String {
    let refused = refusal(response).await;
    assert_refused(&refused, 428, "confirmation_required");
    assert_eq!(refused.2["fault"], "user");
    let link = refused.2["confirm_url"].as_str().expect("a link");
    assert!(link.starts_with(&format!("{PUBLIC}/account/confirm/")), "{link}");
    link.to_owned()
}

pub fn browser(bed: &TestBed) -> Browser {
    Browser::at(bed.url(""))
}

/// Opens a link, and signs in for it.
pub async fn open(browser: &mut Browser, bed: &TestBed, link: &str, person: &str) -> Page {
    let page = browser.open(link).await;
    page.assert_says(200, "Sign in");
    let issuer = Url::parse(&bed.authorization_server.issuer()).expect("an issuer");
    let page = browser.open(&format!("{PUBLIC}{}", page.link("/sign-in?"))).await;
    browser.pick(&page, &issuer, person).await
}

/// Gives an answer on a question's page.
pub async fn answer(browser: &mut Browser, page: &Page, link: &str, step: &str) -> Page {
    page.assert_says(200, "May this run?");
    let path = link.strip_prefix(PUBLIC).expect("a link of ours");
    browser.submit(page, &format!("{path}/{step}")).await
}

/// What Ada does who agrees.
pub async fn agree(bed: &TestBed, link: &str) {
    let mut browser = browser(bed);
    let page = open(&mut browser, bed, link, ADA).await;
    answer(&mut browser, &page, link, "agree").await.assert_says(200, "You have agreed");
}

#[tokio::test]
async fn a_call_is_held_back_until_its_person_has_seen_it_and_then_runs_once() {
    let bed = bed().await;
    let token = bed.token("ada");
    let link = held(send(&bed, &token, &mail("Lunch?")).await).await;
    assert_eq!(held(send(&bed, &token, &mail("Lunch?")).await).await, link, "one link for one call");
    assert!(bed.connector.requests().is_empty());

    let mut browser = browser(&bed);
    let page = open(&mut browser, &bed, &link, ADA).await;
    page.assert_says(200, "May this run?");
    for shown in
        ["demo-agent", "mail", "send_message", "As you", "POST /me/sendMail", "Lunch?", "See you at noon."]
    {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    assert!(bed.connector.requests().is_empty(), "to look at it does nothing");
    let done = answer(&mut browser, &page, &link, "agree").await;
    done.assert_says(200, "You have agreed");
    browser.open(&link).await.assert_says(200, "You have agreed");

    // Another order of members is the same call.
    let reordered = format!(r#"{{"saveToSentItems": true, "message": {}}}"#, mail("Lunch?")["message"]);
    let ran = post(&bed, &token, "/mail/me/sendMail", "application/json", reordered).await;
    assert_eq!(ran.status(), 202);
    assert_eq!(bed.connector.sent().len(), 1);
    assert_eq!(bed.connector.sent()[0].subject, "Lunch?");
    browser.open(&link).await.assert_says(410, OVER);

    let again = held(send(&bed, &token, &mail("Lunch?")).await).await;
    assert_ne!(again, link, "a second run is a question of its own");
    assert_eq!(bed.connector.sent().len(), 1);

    let series = |outcome: &str| {
        format!("obo_gateway_confirmations_total{{connector=\"mail\",outcome=\"{outcome}\"}}")
    };
    for (outcome, count) in [("asked", 2.0), ("agreed", 1.0), ("used", 1.0)] {
        assert_eq!(bed.metric(&series(outcome)).await, Some(count), "{outcome}");
    }
    let records = bed.records().await;
    let of_calls: Vec<_> =
        records.iter().filter(|record| record["unmapped"]["obo"]["tool"] == "send_message").collect();
    let question = link.rsplit('/').next().expect("an identifier");
    let said: Vec<_> = of_calls.iter().map(|record| &record["unmapped"]["obo"]["confirmation"]).collect();
    assert_eq!((&said[0]["question"], &said[2]["question"]), (&json!(question), &json!(question)));
    assert_eq!((&said[0]["agreed_by"], &said[2]["agreed_by"]), (&Value::Null, &json!("page")));
    assert!(said[2]["agreed_at"].as_u64().is_some_and(|at| at > 1_700_000_000_000), "{}", said[2]);
    let outcomes: Vec<_> = of_calls.iter().map(|record| crate::bed::outcome(record)).collect();
    let required = "confirmation_required";
    assert_eq!(outcomes, [required, required, "answered", required]);
}

#[tokio::test]
async fn tools_that_ask_nobody_run_at_once() {
    let bed = bed().await;
    assert_eq!(bed.get("/mail/me/messages", &bed.token("ada")).await.status(), 200);
}

#[tokio::test]
async fn an_answer_covers_the_call_that_was_shown_and_no_other() {
    let bed = bed().await;
    let token = bed.token("ada");
    let link = held(send(&bed, &token, &mail("Lunch?")).await).await;
    agree(&bed, &link).await;
    // Other arguments, another person, another agent.
    held(send(&bed, &token, &mail("Lunch!")).await).await;
    held(send(&bed, &bed.token("bob"), &mail("Lunch?")).await).await;
    let other_agent = bed.authorization_server.subject_token("ada").agent("another-agent").mint();
    held(send(&bed, &other_agent, &mail("Lunch?")).await).await;
    // Another address, other header fields, another way of saying what the body is.
    let body = mail("Lunch?").to_string();
    let other =
        |path: &'static str, content_type: &'static str| post(&bed, &token, path, content_type, body.clone());
    held(other("/mail/me/sendMail?dry=1", "application/json").await).await;
    held(other("/mail/me/sendMail", "application/merge-patch+json").await).await;
    held(other("/mail/me/sendMail", "text/plain").await).await;
    for (name, value) in [("x-tenant", "fabrikam"), ("prefer", "respond-async"), ("if-match", "\"1\"")] {
        let request = bed.request(Method::POST, "/mail/me/sendMail").bearer_auth(&token).header(name, value);
        held(request.json(&mail("Lunch?")).send().await.expect("an answer")).await;
    }
    // The same path in another spelling is no path at all, or none of the connector's.
    for path in [
        "/mail/me/sendmail",
        "/mail/me//sendMail",
        "/mail/me/x/../sendMail",
        "/mail/me/send%4Dail",
        "/mail/me/sendMail/",
    ] {
        let url = format!("http://{}{path}", bed.gateway.agent_address());
        let refused = raw(&bed, &url, &token, &body).await;
        assert!(refused.starts_with("HTTP/1.1 4"), "{path}: {refused}");
    }
    assert!(bed.connector.requests().is_empty());
    // What only says how the answer is wanted, and names this try, makes no difference.
    let request = bed
        .request(Method::POST, "/mail/me/sendMail")
        .bearer_auth(&token)
        .header("accept", "application/json");
    let request =
        request.header("x-request-id", "7").header("traceparent", "00-1-2-3").header("idempotency-key", "k");
    assert_eq!(request.json(&mail("Lunch?")).send().await.expect("an answer").status(), 202);
    assert_eq!(bed.connector.sent().len(), 1);
}

/// A request whose path no library repairs, and the beginning of its answer.
async fn raw(bed: &TestBed, url: &str, token: &str, body: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let path = url.splitn(4, '/').nth(3).expect("a path");
    let request = format!(
        "POST /{path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        bed.gateway.agent_address(),
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(bed.gateway.agent_address()).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn the_same_call_with_another_identity_is_asked_about_anew() {
    let bed = bed().await;
    let token = bed.token("ada");
    let link = held(send(&bed, &token, &mail("Lunch?")).await).await;
    agree(&bed, &link).await;
    let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    let client = bed.authorization_server.settings().gateway.client_id.clone();
    let secret = bed.folder.path().join("secret");
    let application = format!(
        "    application: {{ client_id: {client}, client_auth: {{ secret_file: {} }} }}\n    exchange:",
        secret.display()
    );
    let changed = text.replacen("    exchange:", &application, 1).replace(
        "scopes: [Mail.Send], confirm: true }",
        "scopes: [.default], identity: app_only, confirm: true }",
    );
    assert_ne!(changed, text);
    std::fs::write(bed.config_path(), changed).expect("written");
    bed.gateway.reload().await.expect("a good configuration");
    let other = held(send(&bed, &token, &mail("Lunch?")).await).await;
    assert_ne!(other, link);
    let mut browser = browser(&bed);
    let page = open(&mut browser, &bed, &other, ADA).await;
    assert!(page.text.contains("As the application, and not as you"), "{}", page.text);
    // What was agreed to outlives the reloads, for what it was.
    std::fs::write(bed.config_path(), text).expect("written");
    bed.gateway.reload().await.expect("a good configuration");
    assert_eq!(send(&bed, &token, &mail("Lunch?")).await.status(), 202);
}

#[tokio::test]
async fn of_many_tries_at_once_one_runs() {
    let bed = bed().await;
    let token = bed.token("ada");
    let call = mail("Once");
    agree(&bed, &held(send(&bed, &token, &call).await).await).await;
    let tries = (0..12).map(|_| send(&bed, &token, &call));
    let statuses: Vec<u16> =
        futures_util::future::join_all(tries).await.iter().map(|answer| answer.status().as_u16()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 202).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 428).count(), 11, "{statuses:?}");
    assert_eq!(bed.connector.sent().len(), 1);
}

#[tokio::test]
async fn what_was_declined_does_not_run_and_is_not_asked_again() {
    let bed = bed().await;
    let token = bed.token("ada");
    let link = held(send(&bed, &token, &mail("Lunch?")).await).await;
    let mut browser = browser(&bed);
    let page = open(&mut browser, &bed, &link, ADA).await;
    answer(&mut browser, &page, &link, "decline").await.assert_says(200, "Declined");
    for _ in 0..3 {
        assert_refused(
            &refusal(send(&bed, &token, &mail("Lunch?")).await).await,
            403,
            "confirmation_declined",
        );
    }
    // The other answer of the same page, as if it had been open in another window.
    let path = link.strip_prefix(PUBLIC).expect("a link of ours");
    let agree = page.form(&format!("{path}/agree"));
    browser
        .post(&format!("{link}/agree"), &agree, &OURS)
        .await
        .assert_says(409, "You have answered this already");
    assert_refused(&refusal(send(&bed, &token, &mail("Lunch?")).await).await, 403, "confirmation_declined");
    held(send(&bed, &token, &mail("Dinner?")).await).await;
    assert!(bed.connector.requests().is_empty());
}

#[tokio::test]
async fn a_link_shows_nothing_before_somebody_signs_in_and_nothing_to_anybody_else() {
    let bed = bed().await;
    let token = bed.token("ada");
    let link = held(send(&bed, &token, &mail("Lunch?")).await).await;
    let hides = |page: &Page| {
        for hidden in ["demo-agent", "send_message", "Lunch?"] {
            assert!(!page.text.contains(hidden), "{hidden}: {}", page.text);
        }
    };
    let mut bobs = browser(&bed);
    let page = bobs.open(&link).await;
    page.assert_says(200, "Sign in");
    hides(&page);
    let page = open(&mut bobs, &bed, &link, BOB).await;
    page.assert_says(403, "This link is for somebody else");
    hides(&page);
    let anew = bobs.open(&format!("{PUBLIC}{}", page.link("anew=1"))).await;
    let asked =
        bobs.step(&format!("{PUBLIC}{}", anew.link("question="))).await.location().expect("an address");
    assert!(asked.contains("prompt=login"), "the issuer would sign the same one in again: {asked}");
    for step in ["agree", "decline"] {
        let page = bobs.post(&format!("{link}/{step}"), &[], &OURS).await;
        page.assert_says(403, "This did not come from your page");
        browser(&bed)
            .post(&format!("{link}/{step}"), &[], &OURS)
            .await
            .assert_says(403, "You are not signed in any more");
    }
    for gone in ["AAAAAAAAAAAAAAAAAAAAAA", "short", "a%20b"] {
        bobs.open(&format!("{PUBLIC}/account/confirm/{gone}")).await.assert_says(410, OVER);
    }
    held(send(&bed, &token, &mail("Lunch?")).await).await;
}

#[tokio::test]
async fn a_form_gives_the_answer_that_it_is_for_and_only_from_our_page() {
    let bed = bed().await;
    let token = bed.token("ada");
    let link = held(send(&bed, &token, &mail("Lunch?")).await).await;
    let other = held(send(&bed, &token, &mail("Dinner?")).await).await;
    let mut browser = browser(&bed);
    let page = open(&mut browser, &bed, &link, ADA).await;
    let path = link.strip_prefix(PUBLIC).expect("a link of ours");
    let (agree, decline) = (page.form(&format!("{path}/agree")), page.form(&format!("{path}/decline")));
    let not_ours = "This did not come from your page";
    browser.post(&format!("{link}/agree"), &decline, &OURS).await.assert_says(403, not_ours);
    browser.post(&format!("{link}/decline"), &agree, &OURS).await.assert_says(403, not_ours);
    browser.post(&format!("{other}/agree"), &agree, &OURS).await.assert_says(403, not_ours);
    let cross = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")];
    browser.post(&format!("{link}/agree"), &agree, &cross).await.assert_says(403, not_ours);
    browser.open(&format!("{link}/agree")).await.assert_says(405, "This page does not work like that");
    held(send(&bed, &token, &mail("Lunch?")).await).await;
    browser.post(&format!("{link}/agree"), &agree, &OURS).await.assert_says(200, "You have agreed");
    assert_eq!(send(&bed, &token, &mail("Lunch?")).await.status(), 202);
}

#[tokio::test]
async fn who_is_forgotten_has_agreed_to_nothing() {
    let bed = bed().await;
    let token = bed.token("ada");
    let link = held(send(&bed, &token, &mail("Lunch?")).await).await;
    agree(&bed, &link).await;
    let tenant = &bed.authorization_server.settings().tenant;
    let url = format!("http://{}/forget?tenant={tenant}&subject={ADA}", bed.gateway.admin_address());
    assert_eq!(crate::bed::client().post(url).send().await.expect("an answer").status(), 200);
    assert_ne!(held(send(&bed, &token, &mail("Lunch?")).await).await, link);
}

/// Has the time of a question go by: it is looked at `later`, which is how it comes to be over.
pub fn time_goes_by(bed: &TestBed, link: &str, later: Duration) {
    let id = QuestionId::parse(link.rsplit('/').next().expect("a name")).expect("the name of a question");
    let over = bed.gateway.questions().get(&id, Now::read().after(later), "a-test");
    assert!(over.is_none(), "{over:?}");
}

#[tokio::test]
async fn a_call_that_comes_too_late_does_not_run_and_is_asked_about_anew() {
    let bed = bed().await;
    let token = bed.token("ada");
    let (unanswered, agreed) = (
        held(send(&bed, &token, &mail("one")).await).await,
        held(send(&bed, &token, &mail("two")).await).await,
    );
    agree(&bed, &agreed).await;
    time_goes_by(&bed, &unanswered, ANSWER_TIME);
    time_goes_by(&bed, &agreed, USE_TIME);
    for (subject, link) in [("one", &unanswered), ("two", &agreed)] {
        browser(&bed).open(link).await.assert_says(410, OVER);
        let before = bed.records().await.len();
        let refused = refusal(send(&bed, &token, &mail(subject)).await).await;
        assert_refused(&refused, 403, "confirmation_expired");
        assert_eq!(refused.2["fault"], "user");
        let record = bed.records().await.split_off(before).pop().expect("a record");
        assert_eq!(crate::bed::outcome(&record), "confirmation_expired");
        let confirmation = &record["unmapped"]["obo"]["confirmation"];
        assert_eq!(confirmation["question"], link.rsplit('/').next().expect("a name"));
        assert_eq!(confirmation["agreed_by"], Value::Null);
        // It is told once.
        assert_ne!(&held(send(&bed, &token, &mail(subject)).await).await, link);
    }
    assert!(bed.connector.requests().is_empty());
    let expired = "obo_gateway_confirmations_total{connector=\"mail\",outcome=\"expired\"}";
    assert_eq!(bed.metric(expired).await, Some(2.0));
}
