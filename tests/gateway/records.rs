//! Exactly one record and one count for each call, and never a secret in either.

use std::collections::BTreeSet;

use obo_gateway::demo::authorization_server::Endpoint;
use obo_gateway::demo::script::Reply;
use reqwest::Method;
use serde_json::{Value, json};

use crate::bed::TestBed;

#[tokio::test]
async fn a_record_tells_who_what_and_with_whose_permission() {
    let bed = TestBed::start().await;
    let reply = bed.get("/mail/me/messages?$top=1", &bed.token("ada")).await;
    let request_id = reply.headers()["obo-request-id"].to_str().expect("text").to_owned();
    reply.bytes().await.expect("a body");
    let records = bed.records().await;
    assert_eq!(records.len(), 1);
    let record = &records[0];
    let expect =
        |pointer: &str, expected: Value| assert_eq!(record.pointer(pointer), Some(&expected), "{record:#}");
    let ada = bed.authorization_server.person("ada");
    expect("/class_uid", json!(6003));
    expect("/metadata/uid", json!(request_id));
    expect("/actor/user/uid", json!(ada.oid));
    expect("/metadata/tenant_uid", json!(bed.authorization_server.settings().tenant));
    expect("/actor/app_uid", json!("demo-agent"));
    expect("/api/operation", json!("GET /mail/me/messages"));
    expect("/unmapped/obo/tool", json!("list_messages"));
    expect("/unmapped/obo/identity", json!("on_behalf_of"));
    expect("/unmapped/obo/cache", json!("miss"));
    expect("/unmapped/obo/scopes_requested", json!(["https://graph.demo.test/Mail.Read"]));
    expect("/http_response/code", json!(200));
    // Required and recommended by OCSF 1.8.0, class 6003.
    for member in
        ["activity_id", "type_uid", "severity_id", "time", "status_id", "src_endpoint", "actor", "api"]
    {
        assert!(record.get(member).is_some(), "{member} is missing");
    }
}

#[tokio::test]
async fn every_call_has_one_record_and_one_count() {
    let bed = TestBed::start().await;
    let token = bed.token("ada");
    bed.get("/mail/me/messages", &token).await.bytes().await.expect("a body");
    bed.get("/mail/me/messages/none", &token).await.bytes().await.expect("a body");
    bed.get("/mail/none", &token).await;
    bed.get("/none", &token).await;
    bed.get("/mail/me/messages", "garbage").await;
    bed.get("/mail/a//b", &token).await;
    bed.request(Method::HEAD, "/mail/me/messages").bearer_auth(&token).send().await.expect("an answer");
    bed.authorization_server.script(Endpoint::Token).times(3, &Reply::status(500));
    bed.get("/mail/me/messages", &bed.token("bob")).await;
    bed.connector.script().times(2, &Reply::reset());
    bed.get("/mail/me/messages", &token).await;
    let expected = [
        "answered",
        "answered",
        "tool_unlisted",
        "connector_unknown",
        "token_malformed",
        "path_not_canonical",
        "tool_unlisted",
        "issuer_unavailable",
        "connector_broke",
    ];
    assert_eq!(bed.outcomes(expected.len()).await, expected);
    let ids: BTreeSet<_> = bed
        .records()
        .await
        .iter()
        .map(|record| record["metadata"]["uid"].as_str().expect("an id").to_owned())
        .collect();
    assert_eq!(ids.len(), expected.len());
    let (_, metrics) = bed.admin("/metrics").await;
    let counted: f64 = metrics
        .lines()
        .filter(|line| line.starts_with("obo_gateway_requests_total{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert_eq!(counted, expected.len() as f64);
    let lines = bed.all_records().await.len();
    assert_eq!(bed.metric("obo_gateway_audit_records_total").await, Some(lines as f64));
    assert_eq!(bed.metric("obo_gateway_calls_in_progress").await, Some(0.0));
}

#[tokio::test]
async fn no_secret_is_in_any_output() {
    let bed = TestBed::start().await;
    let mut secrets = vec![bed.authorization_server.settings().gateway.secret.clone()];
    for who in ["ada", "bob"] {
        let token = bed.token(who);
        bed.get("/mail/me/messages", &token).await;
        bed.get(&format!("/mail/me/messages?token={token}"), &token).await;
        bed.get(&format!("/none?token={token}"), &token).await;
        secrets.push(token);
    }
    let expired = bed.authorization_server.subject_token("ada").expired().mint();
    let answer = bed.get("/mail/me/messages", &expired).await.text().await.expect("a text");
    secrets.push(expired);
    secrets.extend(bed.authorization_server.issued());
    let trail = serde_json::to_string(&bed.records().await).expect("JSON");
    let (_, metrics) = bed.admin("/metrics").await;
    for secret in secrets {
        // The parts of a token are enough to tell that it is there.
        for part in secret.split('.').filter(|part| part.len() > 20) {
            for (name, output) in [("trail", &trail), ("metrics", &metrics), ("answer", &answer)] {
                assert!(!output.contains(part), "a secret is in the {name}");
            }
        }
    }
}

#[tokio::test]
async fn labels_come_from_the_configuration_alone() {
    let bed = TestBed::start().await;
    let series = async || {
        let (_, metrics) = bed.admin("/metrics").await;
        metrics.lines().filter(|line| line.starts_with("obo_gateway_requests_total{")).count()
    };
    bed.get("/mail/none", &bed.token("ada")).await;
    bed.get("/none", &bed.token("ada")).await;
    let before = series().await;
    for number in 0..20 {
        let token = bed.authorization_server.subject_token("ada").agent(&format!("agent-{number}")).mint();
        bed.get(&format!("/mail/none-{number}"), &token).await;
        bed.get(&format!("/none-{number}"), &token).await;
    }
    assert_eq!(series().await, before);
}

#[tokio::test]
async fn hostile_text_stays_on_its_line() {
    let bed = TestBed::start().await;
    let token = bed
        .authorization_server
        .subject_token("ada")
        .agent("evil\n{\"forged\":true}\u{1b}[31m\u{2028}")
        .mint();
    let request =
        bed.request(Method::GET, "/mail/me/messages").header("user-agent", "a\tb").bearer_auth(token);
    request.send().await.expect("an answer");
    let trail = {
        bed.gateway.audit().flush().await;
        std::fs::read_to_string(bed.audit_path()).expect("a trail")
    };
    let calls: Vec<&str> = trail.lines().filter(|line| line.contains("\"class_uid\":6003")).collect();
    assert_eq!(calls.len(), 1, "{trail}");
    assert!(!trail.trim_end().contains(['\u{1b}', '\u{2028}']), "{trail}");
    assert!(trail.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
}
