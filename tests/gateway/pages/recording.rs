//! What people do on the pages is recorded: once each, before the page answers. Without a place for its record it is not done.

use obo_gateway::audit::Slot;
use serde_json::{Value, json};

use super::connecting::{OURS, PATH, bed, connect, link, status, way_back};
use super::{ADA, BOB, account, browser, sign_in, sign_in_from, to_the_issuer, with};
use crate::bed::{TestBed, outcome, refusal};
use crate::browser::{Browser, PUBLIC};

/// What each record of class 3002 is of, and what came of it.
async fn deeds(bed: &TestBed) -> Vec<String> {
    let shown = |record: &Value| {
        let kind = record["unmapped"]["obo"]["kind"].as_str().expect("a kind");
        format!("{kind} {}", outcome(record))
    };
    bed.authentications().await.iter().map(shown).collect()
}

/// The link of another agent of Ada's. One that she declined gets none for a while.
async fn others_link(bed: &TestBed, agent: &str) -> String {
    let token = bed.authorization_server.subject_token("ada").agent(agent).mint();
    let refused = refusal(bed.get(PATH, &token).await).await;
    refused.2["connect_url"].as_str().expect("a link").to_owned()
}

async fn answer_link(browser: &mut Browser, bed: &TestBed, agent: &str, with: &str) {
    let link = others_link(bed, agent).await;
    let page = browser.open(&link).await;
    let path = link.strip_prefix(PUBLIC).expect("a link of ours");
    assert_eq!(browser.submit(&page, &format!("{path}/{with}")).await.status, 200);
}

#[tokio::test]
async fn each_thing_that_somebody_does_has_one_record_before_that_of_the_request() {
    let bed = bed().await;
    let (mut adas, mut bobs) = (browser(&bed), browser(&bed));
    let adas_link = link(&bed, "ada").await;
    sign_in_from(&mut bobs, &bed, &adas_link, BOB).await.assert_says(403, "This link is for somebody else");
    connect(&mut adas, &bed, &adas_link).await.assert_says(200, "mail is connected");
    assert_eq!(status(&bed, "ada").await, 200);
    answer_link(&mut adas, &bed, "unwanted-agent", "decline").await;
    answer_link(&mut adas, &bed, "another-agent", "agree").await;
    let page = adas.open(&account("/")).await;
    adas.submit(&page, "/account/disconnect").await.assert_says(200, "Your connections");
    let page = adas.open(&account("/")).await;
    adas.submit(&page, "/account/sign-out").await.assert_says(200, "You are signed out");
    let expected = [
        "sign_in signed_in",
        "foreign_link other_person",
        "sign_in signed_in",
        "connect connected",
        "decline declined",
        "consent consented",
        "disconnect disconnected",
        "service_revocation revoked",
        "sign_out signed_out",
    ];
    assert_eq!(deeds(&bed).await, expected);

    let (lines, deeds) = (bed.all_records().await, bed.authentications().await);
    let position = |found: &dyn Fn(&Value) -> bool| lines.iter().position(found).expect("it is in the trail");
    for deed in &deeds {
        let request = &deed["unmapped"]["obo"]["for_request"];
        let own = position(&|line| line == deed);
        let page = position(&|line| line["metadata"]["uid"] == *request);
        assert!(own < page, "{deed:#}");
        assert_eq!(lines[page]["unmapped"]["obo"]["kind"], "page");
        let uid = if deed == &deeds[0] || deed == &deeds[1] { BOB } else { ADA };
        assert_eq!(deed["user"]["uid"], uid, "{deed:#}");
        assert_eq!(deed["metadata"]["tenant_uid"], json!(bed.authorization_server.settings().tenant));
    }
    assert_eq!(deeds[1]["unmapped"]["obo"]["owner"], ADA);
    for (pointer, expected) in [
        ("/unmapped/obo/agent", json!("demo-agent")),
        ("/unmapped/obo/connector", json!("mail")),
        ("/unmapped/obo/account", json!("ada.lindqvist@demo.test")),
        ("/src_endpoint/ip", json!("127.0.0.1")),
        ("/http_request/url/path", json!("/account/callback/mail")),
    ] {
        assert_eq!(deeds[3].pointer(pointer), Some(&expected), "{pointer} {:#}", deeds[3]);
    }
    let calls = bed.records().await;
    let served = calls.iter().find(|call| call["unmapped"]["obo"]["exchange"].is_string());
    let served = &served.expect("the call that worked")["unmapped"]["obo"];
    assert_eq!(served["exchange"], deeds[3]["metadata"]["uid"]);
    assert_eq!(served["delegated_token"], deeds[3]["unmapped"]["obo"]["delegated_token"]);
}

#[tokio::test]
async fn a_sign_in_that_comes_to_nothing_is_recorded_with_why() {
    let bed = bed().await;
    let changes: [(&str, Option<&str>, &str); 5] = [
        ("state", None, "malformed"),
        ("state", Some("another"), "not_begun"),
        ("iss", Some("https://evil.example"), "other_server"),
        ("code", Some("another"), "not_begun"),
        ("error", Some("access_denied"), "not_let_in"),
    ];
    let mut expected = Vec::new();
    for (name, value, code) in changes {
        let mut browser = browser(&bed);
        let back = super::way_back(&mut browser, &bed).await;
        browser.open(&with(&back, name, value)).await;
        expected.push(format!("sign_in {code}"));
        assert_eq!(deeds(&bed).await, expected, "{name}");
    }
    let records = bed.authentications().await;
    assert!(records.iter().all(|record| record["user"] == json!({"name": "unknown", "type_id": 0})));
    assert_eq!(records[3]["actor"]["idp"]["name"], "contoso");
    assert!(
        records[3]["status_detail"].as_str().expect("why").contains("refused the code"),
        "{:#}",
        records[3]
    );
}

#[tokio::test]
async fn an_answer_of_the_service_that_nobody_asked_for_is_recorded() {
    let bed = bed().await;
    let mut stranger = browser(&bed);
    stranger.open(&account("/callback/mail?state=x&code=y")).await;
    sign_in(&mut stranger, &bed, ADA).await;
    stranger.open(&account("/callback/mail?state=x&code=y")).await;
    assert_eq!(deeds(&bed).await, ["connect not_begun", "sign_in signed_in", "connect not_begun"]);
    let records = bed.authentications().await;
    assert_eq!((&records[0]["user"]["type_id"], &records[2]["user"]["uid"]), (&json!(0), &json!(ADA)));
}

/// Takes all places for records but this many.
fn leave_places(bed: &TestBed, count: usize) -> Vec<Slot> {
    let trail = bed.gateway.audit();
    let mut places: Vec<Slot> = std::iter::from_fn(|| trail.reserve().ok()).collect();
    places.truncate(places.len() - count);
    places
}

/// Without any place, and with one for the request alone.
const TOO_FEW: [usize; 2] = [0, 1];
const CANNOT: &str = "This cannot be done at the moment";

#[tokio::test]
async fn without_a_place_for_the_record_nobody_signs_in_or_out() {
    let bed = bed().await;
    let mut browser = browser(&bed);
    let page = to_the_issuer(&mut browser).await;
    let back = browser.pick_only(&page, &super::issuer(&bed), ADA).await;
    for places in TOO_FEW {
        let places = leave_places(&bed, places);
        browser.step(&back).await.assert_says(503, CANNOT);
        drop(places);
    }
    assert_eq!(deeds(&bed).await, [""; 0]);
    // What came was not used, so it is still good.
    let page = browser.open(&back).await;
    page.assert_says(200, "Your connections");
    let form = page.form("/account/sign-out");
    for places in TOO_FEW {
        let places = leave_places(&bed, places);
        browser.post(&account("/sign-out"), &form, &OURS).await.assert_says(503, CANNOT);
        drop(places);
    }
    browser.open(&account("/")).await.assert_says(200, "Your connections");
    assert_eq!(deeds(&bed).await, ["sign_in signed_in"]);
}

#[tokio::test]
async fn without_a_place_for_the_record_nothing_is_connected_agreed_to_declined_or_disconnected() {
    let bed = bed().await;
    let mut browser = browser(&bed);
    let first = link(&bed, "ada").await;
    let page = sign_in_from(&mut browser, &bed, &first, ADA).await;
    let back = way_back(&mut browser, &bed, &page).await;
    for places in TOO_FEW {
        let places = leave_places(&bed, places);
        browser.step(back.as_str()).await.assert_says(503, CANNOT);
        drop(places);
    }
    browser.open(back.as_str()).await.assert_says(200, "mail is connected");
    let others = others_link(&bed, "another-agent").await;
    let page = browser.open(&others).await;
    let path = others.strip_prefix(PUBLIC).expect("a link of ours");
    for (step, places) in
        ["agree", "decline"].into_iter().flat_map(|step| TOO_FEW.map(|places| (step, places)))
    {
        let form = page.form(&format!("{path}/{step}"));
        let places = leave_places(&bed, places);
        browser.post(&format!("{others}/{step}"), &form, &OURS).await.assert_says(503, CANNOT);
        drop(places);
    }
    browser.open(&others).await.assert_says(200, "Let another agent use mail?");
    let form = browser.open(&account("/")).await.form("/account/disconnect");
    for places in TOO_FEW {
        let places = leave_places(&bed, places);
        browser.post(&account("/disconnect"), &form, &OURS).await.assert_says(503, CANNOT);
        drop(places);
    }
    assert_eq!(status(&bed, "ada").await, 200);
    assert_eq!(deeds(&bed).await, ["sign_in signed_in", "connect connected"]);
}

#[tokio::test]
async fn a_page_that_is_looked_at_has_the_record_of_its_request_and_no_other() {
    let bed = bed().await;
    let mut browser = browser(&bed);
    for rest in ["/", "/style.css", "/nowhere", "/sign-in", "/connect/x"] {
        browser.open(&account(rest)).await;
    }
    let records = bed.calls(5).await;
    assert_eq!(records.len(), 5);
    for record in &records {
        assert_eq!(record["unmapped"]["obo"]["kind"], "page", "{record:#}");
        assert_eq!(record["actor"], json!({"app_name": "browser"}));
    }
    assert_eq!(deeds(&bed).await, [""; 0]);
}

/// What the program says of the trail.
fn audit(bed: &TestBed, arguments: &[&str]) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_obo-gateway"));
    let output =
        command.arg("audit").args(arguments).arg(bed.audit_path()).output().expect("the program runs");
    assert!(output.status.code().is_some_and(|code| code != 101), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test]
async fn what_people_did_is_found_again_in_the_trail() {
    let bed = bed().await;
    let (mut adas, mut bobs) = (browser(&bed), browser(&bed));
    let adas_link = link(&bed, "ada").await;
    connect(&mut adas, &bed, &adas_link).await.assert_says(200, "mail is connected");
    sign_in_from(&mut bobs, &bed, &link(&bed, "bob").await, BOB).await;
    bobs.open(&others_link(&bed, "another-agent").await)
        .await
        .assert_says(403, "This link is for somebody else");
    assert_eq!(status(&bed, "ada").await, 200);
    let page = adas.open(&account("/")).await;
    adas.submit(&page, "/account/disconnect").await;
    bed.gateway.audit().flush().await;

    let tail = audit(&bed, &["tail", "-n", "100"]);
    let line = |part: &str| {
        tail.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {tail}"))
    };
    for (part, expected) in [
        ("sign_in", format!("signed_in         {ADA}  sign_in")),
        ("connect for", format!("connected         {ADA} via demo-agent  connect for mail")),
        ("foreign_link", format!("other_person      {BOB} via another-agent  foreign_link for mail")),
        ("disconnect for", format!("disconnected      {ADA}  disconnect for mail")),
        ("page GET", "page GET /account".to_owned()),
    ] {
        assert!(line(part).contains(&expected), "{expected}: {}", line(part));
    }
    let found = audit(&bed, &["query", "--outcome", "connected", "--format", "json"]);
    assert_eq!(found.lines().count(), 1, "{found}");
    let of_ada = audit(&bed, &["query", "--person", ADA, "--format", "json"]);
    for kind in ["sign_in", "connect", "disconnect", "service_revocation", "foreign_link"] {
        assert!(of_ada.contains(&format!(r#""kind":"{kind}""#)), "{kind}: {of_ada}");
    }
    let stats = audit(&bed, &["stats"]);
    assert!(stats.contains("4 calls, 3 of them refused") && stats.contains("requests for pages"), "{stats}");
    let page = bed.folder.path().join("ada.html");
    let page = page.to_str().expect("a path");
    audit(&bed, &["report", "--person", ADA, "-o", page]);
    let report = std::fs::read_to_string(page).expect("a report");
    for shown in
        ["connect for mail", "ada.lindqvist@demo.test", "disconnect for mail", "foreign_link for mail"]
    {
        assert!(report.contains(shown), "{shown}");
    }
}
