//! Calls that are too many: of one person, agent or tool, of all together, and at a time.

mod places;

use obo_gateway::demo::script::Reply;
use reqwest::Response;
use serde_json::{Value, json};

use crate::bed::{ANYTHING, Setup, TestBed, assert_refused, refusal};
use crate::mcp::bed::McpBed;

/// A gateway with these keys of the connector.
async fn bed(limits: &'static str) -> TestBed {
    Setup::default()
        .config(move |parts| {
            parts.whole(&parts.issuer(), &parts.mail(&format!("{ANYTHING}    limits: {limits}\n")))
        })
        .start()
        .await
}

async fn get(bed: &TestBed, who: &str) -> Response {
    bed.get("/mail/me/messages", &bed.token(who)).await
}

async fn check_served(bed: &TestBed, who: &str, times: usize) {
    for _ in 0..times {
        let answer = get(bed, who).await;
        assert_eq!(answer.status(), 200);
        answer.bytes().await.expect("a body");
    }
}

/// Checks that the next call is refused; the problem.
async fn check_limited(bed: &TestBed, who: &str, limit: &str) -> Value {
    let answer = get(bed, who).await;
    let retry_after: u64 = answer.headers()["retry-after"].to_str().expect("text").parse().expect("a number");
    let refused = refusal(answer).await;
    assert_refused(&refused, 429, "rate_limited");
    assert_eq!(
        (&refused.2["fault"], &refused.2["retry_after_seconds"]),
        (&json!("agent"), &json!(retry_after))
    );
    assert!(refused.2["detail"].as_str().expect("a text").contains(limit), "{}", refused.2);
    assert!((1..=3_600).contains(&retry_after), "{}", refused.2);
    refused.2
}

#[tokio::test]
async fn each_person_has_so_many_calls_whatever_their_token() {
    let bed = bed("{ per_person: { calls: 2, per: 1h } }").await;
    check_served(&bed, "ada", 2).await;
    check_limited(&bed, "ada", "connectors.mail.limits.per_person (2 calls in 1h, 2 at once)").await;
    // Through another agent, with another token: the same person.
    let through_another = bed.authorization_server.subject_token("ada").agent("another-agent").mint();
    let refused = refusal(bed.get("/mail/me/messages", &through_another).await).await;
    assert_refused(&refused, 429, "rate_limited");
    check_served(&bed, "bob", 2).await;
    let records = bed.calls(6).await;
    assert_eq!(records[2]["unmapped"]["obo"]["limit"], "connectors.mail.limits.per_person");
    assert_eq!(records[2]["status_code"], "rate_limited");
    assert_eq!(records[1]["unmapped"]["obo"].get("limit"), None);
    let series = r#"obo_gateway_limit_refusals_total{connector="mail",limit="connector_per_person"}"#;
    assert_eq!(bed.metric(series).await, Some(2.0));
    assert_eq!(bed.connector.requests().len(), 4);
}

#[tokio::test]
async fn a_refused_call_costs_the_authorization_server_nothing() {
    let bed = bed("{ total: { calls: 1, per: 1h } }").await;
    check_served(&bed, "ada", 1).await;
    check_limited(&bed, "bob", "connectors.mail.limits.total").await;
    assert_eq!(bed.exchanges(), 1);
}

#[tokio::test]
async fn who_is_throttled_by_the_connector_uses_up_no_limit() {
    let bed = bed("{ total: { calls: 2, per: 1h } }").await;
    bed.connector.script().once(Reply::too_many_requests(600));
    for _ in 0..4 {
        assert_refused(&refusal(get(&bed, "ada").await).await, 429, "connector_throttled");
    }
    assert_eq!(bed.connector.requests().len(), 1);
    check_served(&bed, "bob", 1).await;
    check_limited(&bed, "bob", "connectors.mail.limits.total").await;
}

#[tokio::test]
async fn what_policy_denies_counts_for_nobody() {
    let bed = Setup::default()
        .config(|parts| {
            let mail = parts.mail(&format!("{ANYTHING}    limits: {{ total: {{ calls: 1, per: 1h }} }}\n"));
            let bob = &parts.authorization_server.person("bob").oid;
            parts.whole(&parts.issuer(), &mail).replace(
                "tools: [\"*/*\"] }",
                &format!(
                    "tools: [\"*/*\"] }}\n  deny:\n    - {{ subjects: {{ ids: [{bob}] }}, tools: [\"*/*\"] }}"
                ),
            )
        })
        .start()
        .await;
    for _ in 0..3 {
        assert_refused(&refusal(get(&bed, "bob").await).await, 403, "policy_forbidden");
    }
    check_served(&bed, "ada", 1).await;
}

#[tokio::test]
async fn each_agent_has_so_many_calls_for_whomever() {
    let bed = bed("{ per_agent: { calls: 2, per: 1h } }").await;
    check_served(&bed, "ada", 1).await;
    check_served(&bed, "bob", 1).await;
    let problem = check_limited(&bed, "ada", "connectors.mail.limits.per_agent").await;
    assert!(problem["remedy"].as_str().expect("a text").starts_with("The agent has made"), "{problem}");
    let through_another = bed.authorization_server.subject_token("ada").agent("another-agent").mint();
    assert_eq!(bed.get("/mail/me/messages", &through_another).await.status(), 200);
}

#[tokio::test]
async fn a_tool_has_limits_of_its_own_beside_the_gateways() {
    let tools = "    tools:
      list_messages: { match: GET /me/messages, scopes: [Mail.Read], limits: { per_person: { calls: 1, per: 1h } } }
      read_message: { match: 'GET /me/messages/{id}', scopes: [Mail.Read] }
";
    let bed = Setup::default()
        .config(move |parts| {
            let whole = parts.whole(&parts.issuer(), &parts.mail(tools));
            format!("limits: {{ per_person: {{ calls: 3, per: 1h }} }}\n{whole}")
        })
        .start()
        .await;
    check_served(&bed, "ada", 1).await;
    check_limited(&bed, "ada", "connectors.mail.tools.list_messages.limits.per_person").await;
    let read = async || bed.get("/mail/me/messages/m-1", &bed.token("ada")).await;
    for _ in 0..2 {
        assert_ne!(read().await.status(), 429);
    }
    let refused = refusal(read().await).await;
    assert_refused(&refused, 429, "rate_limited");
    assert!(
        refused.2["detail"].as_str().expect("a text").contains("limit limits.per_person"),
        "{}",
        refused.2
    );
}

async fn reload(bed: &TestBed, from: &str, to: &str) {
    let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    assert!(text.contains(from), "{text}");
    std::fs::write(bed.config_path(), text.replace(from, to)).expect("written");
    bed.gateway.reload().await.expect("a good configuration");
}

#[tokio::test]
async fn a_reload_keeps_what_was_counted_unless_the_limit_changes() {
    let bed = bed("{ per_person: { calls: 1, per: 1h } }").await;
    check_served(&bed, "ada", 1).await;
    reload(&bed, "name: everybody", "name: all").await;
    check_limited(&bed, "ada", "connectors.mail.limits.per_person").await;
    reload(&bed, "calls: 1", "calls: 2").await;
    check_served(&bed, "ada", 2).await;
    check_limited(&bed, "ada", "connectors.mail.limits.per_person").await;
}

#[tokio::test]
async fn who_is_forgotten_begins_anew() {
    let bed = bed("{ per_person: { calls: 1, per: 1h } }").await;
    check_served(&bed, "ada", 1).await;
    check_served(&bed, "bob", 1).await;
    let person = bed.authorization_server.person("ada").oid.clone();
    let tenant = &bed.authorization_server.settings().tenant;
    let forget = format!("http://{}/forget?tenant={tenant}&subject={person}", bed.gateway.admin_address());
    assert_eq!(crate::bed::client().post(forget).send().await.expect("an answer").status(), 200);
    check_served(&bed, "ada", 1).await;
    check_limited(&bed, "bob", "connectors.mail.limits.per_person").await;
}

#[tokio::test]
async fn an_mcp_client_hears_it_in_its_own_form() {
    let bed = McpBed::with(
        "    scopes: [Notes.Read]\n    limits: { per_person: { calls: 1, per: 1h, burst: 1 } }\n",
    )
    .await;
    let call = json!({ "name": "list_notes", "arguments": {} });
    let (status, answer) = bed.modern_answer("ada", "tools/call", call.clone()).await;
    assert_eq!((status, &answer["result"]["isError"]), (200, &json!(false)), "{answer}");
    let refused = bed.modern("ada", "tools/call", call).send().await.expect("an answer");
    assert!(refused.headers().contains_key("retry-after"));
    let (status, answer) = crate::mcp::bed::answer(refused).await;
    assert_eq!((status, &answer["result"]["isError"]), (200, &json!(true)), "{answer}");
    let problem = &answer["result"]["_meta"]["obo-gateway/refusal"];
    assert_eq!(problem["code"], "rate_limited");
    assert!(problem["retry_after_seconds"].as_u64().is_some_and(|seconds| seconds > 3_000), "{answer}");
    // What is no tool is answered with an error.
    let (status, answer) = bed.modern_answer("ada", "tools/list", json!({})).await;
    assert_eq!((status, &answer["error"]["data"]["code"]), (429, &json!("rate_limited")), "{answer}");
}
