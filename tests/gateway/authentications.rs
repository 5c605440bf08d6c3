//! The records of exchanges with authorization servers: one for each, before the records of the calls that it was made for.

use std::time::Duration;

use obo_gateway::demo::authorization_server::{Endpoint, Fault, MAIL_AUDIENCE};
use obo_gateway::demo::script::Reply;
use reqwest::Method;
use serde_json::{Value, json};

use crate::bed::{Setup, TestBed, outcome};

fn position(lines: &[Value], record: &Value) -> usize {
    lines.iter().position(|line| line == record).expect("it is in the trail")
}

#[tokio::test]
async fn an_exchange_is_recorded_before_the_calls_that_use_its_token() {
    let bed = TestBed::start().await;
    for _ in 0..2 {
        bed.get("/mail/me/messages", &bed.token("ada")).await.bytes().await.expect("a body");
    }
    let calls = bed.calls(2).await;
    let exchanges = bed.authentications().await;
    let [exchange] = exchanges.as_slice() else { panic!("one exchange: {exchanges:#?}") };
    let lines = bed.all_records().await;
    assert!(position(&lines, exchange) < position(&lines, &calls[0]));
    let server = bed.authorization_server.settings();
    for (pointer, expected) in [
        ("/activity_id", json!(4)),
        ("/user/uid", json!(bed.authorization_server.person("ada").oid)),
        ("/actor/app_uid", json!(server.gateway.client_id)),
        ("/service/name", json!("mail")),
        ("/dst_endpoint/port", json!(bed.authorization_server.address().port())),
        ("/metadata/tenant_uid", json!(server.tenant)),
        ("/unmapped/obo/outcome", json!("issued")),
        ("/unmapped/obo/grant", json!("on_behalf_of")),
        ("/unmapped/obo/agent", json!("demo-agent")),
        ("/unmapped/obo/for_request", calls[0]["metadata"]["uid"].clone()),
    ] {
        assert_eq!(exchange.pointer(pointer), Some(&expected), "{pointer} in {exchange:#}");
    }
    for call in &calls {
        let details = &call["unmapped"]["obo"];
        assert_eq!(details["exchange"], exchange["metadata"]["uid"], "{call:#}");
        assert_eq!(details["delegated_token"], exchange["unmapped"]["obo"]["delegated_token"]);
        assert_eq!(details["gateway_client_id"], json!(server.gateway.client_id));
    }
    assert_eq!(calls[0]["unmapped"]["obo"]["subject_token"], exchange["unmapped"]["obo"]["subject_token"]);
    assert_ne!(calls[1]["unmapped"]["obo"]["subject_token"], exchange["unmapped"]["obo"]["subject_token"]);
}

#[tokio::test]
async fn a_refused_exchange_is_recorded_with_what_the_server_said_and_before_the_refused_call() {
    let bed = TestBed::start().await;
    bed.authorization_server.refuse_exchanges("ada", Fault::blocked());
    bed.get("/mail/me/messages", &bed.token("ada")).await;
    let (calls, exchanges) = (bed.calls(1).await, bed.authentications().await);
    let [exchange] = exchanges.as_slice() else { panic!("one exchange: {exchanges:#?}") };
    assert_eq!(
        (outcome(&calls[0]).as_str(), &exchange["status_code"]),
        ("access_blocked", &json!("blocked"))
    );
    assert_eq!(exchange["unmapped"]["obo"]["error_codes"], json!([53003]));
    assert_eq!(exchange["metadata"]["correlation_uid"], calls[0]["metadata"]["correlation_uid"]);
    assert!(exchange["metadata"]["correlation_uid"].is_string(), "{exchange:#}");
    let lines = bed.all_records().await;
    assert!(position(&lines, exchange) < position(&lines, &calls[0]));
    assert_eq!(calls[0].pointer("/unmapped/obo/exchange"), None, "nothing came of it");
}

#[tokio::test]
async fn a_token_in_place_of_one_that_was_turned_away_is_a_renewal() {
    let bed = TestBed::start().await;
    let get = async || bed.get("/mail/me/messages", &bed.token("ada")).await.bytes().await.expect("a body");
    get().await;
    bed.connector.script().once(Reply::status(401));
    get().await;
    let (calls, exchanges) = (bed.calls(2).await, bed.authentications().await);
    let reasons: Vec<_> = exchanges
        .iter()
        .map(|exchange| (exchange["activity_id"].clone(), exchange["unmapped"]["obo"]["reason"].clone()))
        .collect();
    assert_eq!(reasons, [(json!(4), json!("needed")), (json!(5), json!("turned_away"))]);
    assert_eq!(calls[1]["unmapped"]["obo"]["exchange"], exchanges[1]["metadata"]["uid"]);
}

#[tokio::test]
async fn an_exchange_that_nobody_waits_for_any_more_is_recorded_before_the_gateway_stops() {
    let bed = TestBed::start().await;
    bed.authorization_server.script(Endpoint::Token).always(Reply::hang());
    let token = bed.token("ada");
    let leaves = bed.get("/mail/me/messages", &token);
    assert!(tokio::time::timeout(Duration::from_millis(300), leaves).await.is_err(), "the agent left");
    assert_eq!(bed.outcomes(1).await, ["agent_left"]);
    bed.gateway.drain().await;
    let trail = std::fs::read_to_string(bed.audit_path()).expect("a trail");
    let last: Vec<Value> =
        trail.lines().rev().take(2).map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
    assert_eq!(last[0]["unmapped"]["obo"]["mark"], "stop");
    assert_eq!(last[1]["status_code"], "broke_off", "{:#}", last[1]);
}

#[tokio::test]
async fn a_record_says_when_each_stage_was_done() {
    let bed = TestBed::start().await;
    bed.get("/mail/me/messages", &bed.token("ada")).await.bytes().await.expect("a body");
    bed.get("/mail/nothing", &bed.token("ada")).await;
    let calls = bed.calls(2).await;
    let stages =
        ["authenticated", "identified", "decided", "obtained"].map(|stage| format!("{stage}_after_us"));
    let times: Vec<u64> = stages
        .iter()
        .map(|stage| {
            calls[0]["unmapped"]["obo"][stage].as_u64().unwrap_or_else(|| panic!("{stage}: {:#}", calls[0]))
        })
        .collect();
    assert!(
        times.is_sorted() && times[3] <= calls[0]["unmapped"]["obo"]["duration_us"].as_u64().expect("a time")
    );
    let known: Vec<bool> =
        stages.iter().map(|stage| calls[1]["unmapped"]["obo"].get(stage).is_some()).collect();
    assert_eq!(known, [true, false, false, false], "no tool, nothing decided, nothing obtained");
    assert_eq!(calls[0]["dst_endpoint"]["port"].as_u64(), Some(u64::from(bed.connector.address().port())));
}

#[tokio::test]
async fn arguments_are_recorded_as_far_as_the_operator_says() {
    const SEND: &str = "    tools:
      send_message:
        match: POST /me/sendMail
        scopes: [Mail.Send]
        arguments:
          subject: { type: string, body: /message/subject }
          to: { type: strings, body: '/message/toRecipients/*/emailAddress/address' }
        record_arguments: [subject]
";
    let bed = Setup::default().tools(SEND).start().await;
    bed.authorization_server.grant_consent("ada", MAIL_AUDIENCE, "Mail.Send");
    for (subject, to) in [("hello", "bob@contoso.example"), ("hello", "eve@contoso.example")] {
        let recipients = json!([{ "emailAddress": { "address": to } }]);
        let body = json!({ "message": { "subject": subject, "toRecipients": recipients } });
        let request = bed.request(Method::POST, "/mail/me/sendMail").bearer_auth(bed.token("ada"));
        assert_eq!(request.json(&body).send().await.expect("an answer").status(), 202);
    }
    let calls = bed.calls(2).await;
    for call in &calls {
        assert_eq!(call["unmapped"]["obo"]["arguments"], json!({ "subject": "hello" }), "{call:#}");
        assert!(!call.to_string().contains("contoso.example"), "{call:#}");
    }
    let digest =
        |call: &Value| call["unmapped"]["obo"]["arguments_digest"].as_str().expect("a digest").to_owned();
    assert_ne!(digest(&calls[0]), digest(&calls[1]), "the recipients differ");
}

/// With people under pseudonyms.
fn pseudonymous() -> Setup {
    Setup::default().config(|parts| {
        let key = parts.folder.join("audit.key");
        std::fs::write(&key, [b'k'; 32]).expect("a key");
        let audit = parts.folder.join("audit.jsonl").display().to_string();
        let keys = format!("{audit}, keys: [{{ epoch: e1, file: {} }}], pseudonyms: true", key.display());
        parts.whole(&parts.issuer(), &parts.mail(crate::bed::TOOLS)).replace(&audit, &keys)
    })
}

#[tokio::test]
async fn a_person_stands_under_one_pseudonym_everywhere_and_the_command_finds_it() {
    let bed = pseudonymous().start().await;
    let ada = bed.authorization_server.person("ada").clone();
    for who in ["ada", "ada", "bob"] {
        bed.get("/mail/me/messages", &bed.token(who)).await.bytes().await.expect("a body");
    }
    bed.get(&format!("/mail/users/{}/messages", ada.oid), &bed.token("ada")).await;
    let forget = format!("http://{}/forget?issuer=contoso&subject={}", bed.gateway.admin_address(), ada.oid);
    assert_eq!(crate::bed::client().post(forget).send().await.expect("an answer").status(), 200);
    let calls = bed.calls(4).await;
    let authentications = bed.authentications().await;
    let text: String = bed.all_records().await.iter().map(Value::to_string).collect();
    for named in [&ada.oid, &ada.name, &ada.user_name] {
        assert!(!text.contains(named.as_str()), "{named} is in {text}");
    }
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_obo-gateway"))
        .args(["audit", "pseudonym", "--issuer", "contoso", "--subject", &ada.oid, "--config"])
        .arg(bed.config_path())
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    let pseudonym = String::from_utf8(output.stdout).expect("text").trim_end().to_owned();
    assert!(pseudonym.starts_with("e1:") && pseudonym.len() == 3 + 32, "{pseudonym}");
    let uids: Vec<&str> =
        calls.iter().map(|call| call["actor"]["user"]["uid"].as_str().expect("an id")).collect();
    assert_eq!([uids[0], uids[1], uids[3]], [pseudonym.as_str(); 3]);
    assert_ne!(uids[2], pseudonym);
    let of_exchange = &authentications[0]["user"]["uid"];
    let of_revocation = &authentications.last().expect("it was recorded")["user"]["uid"];
    assert_eq!((of_exchange, of_revocation), (&json!(pseudonym), &json!(pseudonym)));
    let path = calls[3]["http_request"]["url"]["path"].as_str().expect("a path");
    assert_eq!(path, format!("/mail/users/{pseudonym}/messages"));
}

#[tokio::test]
async fn what_people_are_called_is_recorded_where_that_is_wanted() {
    for wanted in [false, true] {
        let setup = Setup::default().config(move |parts| {
            let audit = parts.folder.join("audit.jsonl").display().to_string();
            let names = format!("{audit}, display_names: {wanted}");
            parts.whole(&parts.issuer(), &parts.mail(crate::bed::TOOLS)).replace(&audit, &names)
        });
        let bed = setup.start().await;
        let token = bed.authorization_server.subject_token("ada").claim("name", "Ada Lindqvist").mint();
        bed.get("/mail/me/messages", &token).await.bytes().await.expect("a body");
        let calls = bed.calls(1).await;
        let name = calls[0]["actor"]["user"].get("name").and_then(Value::as_str);
        assert_eq!(name, wanted.then_some("Ada Lindqvist"));
        assert_eq!(calls[0].to_string().contains("Lindqvist"), wanted);
    }
}
