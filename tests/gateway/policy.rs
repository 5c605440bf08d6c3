//! Rules and policies, through the whole gateway.

use crate::bed::{Setup, TestBed, assert_refused, refusal};

/// The usual configuration with another policy, and with these Cedar policies in a file.
async fn bed(policy: &'static str, policies: &'static str) -> TestBed {
    Setup::default()
        .config(move |parts| {
            let file = parts.folder.join("policies.cedar");
            std::fs::write(&file, policies).expect("a file of policies");
            let whole = parts.whole(&parts.issuer(), &parts.mail(crate::bed::TOOLS));
            let (before, rest) = whole.split_once("policy:").expect("a policy");
            let (_, audit) = rest.split_once("audit:").expect("audit");
            let policy = policy.replace("FILE", &file.display().to_string());
            format!("{before}policy:\n{policy}\naudit:{audit}")
        })
        .start()
        .await
}

fn authorizations(record: &serde_json::Value) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let each = record["authorizations"].as_array().into_iter().flatten();
    each.map(|each| (text(&each["decision"]), text(&each["policy"]["name"]))).collect()
}

#[tokio::test]
async fn a_rule_that_denies_beats_one_that_allows() {
    let policy = "  allow: [{ tools: [\"*/*\"] }]\n  deny: [{ name: no lists, tools: [mail/list_messages] }]";
    let bed = bed(policy, "").await;
    let refused = refusal(bed.get("/mail/me/messages", &bed.token("ada")).await).await;
    assert_refused(&refused, 403, "policy_forbidden");
    assert!(!refused.2.to_string().contains("no lists"), "a rule is named to the agent: {}", refused.2);
    assert_eq!(bed.exchanges(), 0);
    let read = bed.get("/mail/me/messages/1", &bed.token("ada")).await;
    assert_eq!(read.headers()["obo-identity-mode"], "on_behalf_of");
    let records = bed.records().await;
    assert_eq!(authorizations(&records[0]), [("Denied".to_owned(), "no lists".to_owned())]);
}

const CEDAR: &str = "  cedar: { files: [FILE] }";

#[tokio::test]
async fn policies_decide_by_person_agent_and_tool() {
    let policies = "@id(\"readers\") permit(principal in Group::\"contoso/readers\", action == Action::\"call\", resource \
                    in Connector::\"mail\");
                    @id(\"not through it\") forbid(principal, action, resource) when { context has agent && context.agent == \
                    Agent::\"contoso/stranger\" };";
    let bed = bed(CEDAR, policies).await;
    let ada = || bed.authorization_server.subject_token("ada").claim("groups", vec!["readers"]);
    assert_eq!(bed.get("/mail/me/messages", &ada().mint()).await.status(), 200);
    let refused = refusal(bed.get("/mail/me/messages", &bed.token("ada")).await).await;
    assert_refused(&refused, 403, "policy_denied");
    let refused = refusal(bed.get("/mail/me/messages", &ada().agent("stranger").mint()).await).await;
    assert_refused(&refused, 403, "policy_forbidden");
    assert!(!refused.2.to_string().contains("not through it"), "{}", refused.2);
    let records = bed.records().await;
    let said: Vec<_> = records.iter().map(authorizations).collect();
    let one = |decision: &str, policy: &str| vec![(decision.to_owned(), policy.to_owned())];
    assert_eq!(said, [one("Allowed", "readers"), one("Denied", ""), one("Denied", "not through it")]);
}

#[tokio::test]
async fn a_policy_that_cannot_be_evaluated_is_a_no_and_an_alarm() {
    let policies = "@id(\"all\") permit(principal, action, resource);
                    @id(\"sum\") forbid(principal, action, resource == Tool::\"mail/list_messages\") when { context.weekday + \
                    9223372036854775807 < 0 };";
    let bed = bed(CEDAR, policies).await;
    let read = bed.get("/mail/me/messages/1", &bed.token("ada")).await;
    assert_eq!(read.headers()["obo-identity-mode"], "on_behalf_of");
    assert_eq!(bed.metric("obo_gateway_policy_errors_total").await, Some(0.0));
    let refused = refusal(bed.get("/mail/me/messages", &bed.token("ada")).await).await;
    assert_refused(&refused, 500, "policy_failed");
    assert!(!refused.2.to_string().contains("sum"), "{}", refused.2);
    assert_eq!(bed.metric("obo_gateway_policy_errors_total").await, Some(1.0));
    let records = bed.records().await;
    assert_eq!(authorizations(&records[1]), [("Denied".to_owned(), "sum".to_owned())]);
}

#[tokio::test]
async fn a_broken_set_of_policies_leaves_the_old_one_in_place() {
    let bed = bed(CEDAR, "permit(principal, action, resource == Tool::\"mail/list_messages\");").await;
    let file = bed.folder.path().join("policies.cedar");
    for broken in [
        "permit(principal, action, resource",
        "permit(principal, action, resource == Tool::\"mail/lsit_messages\");",
        "permit(principal, action, resource) when { context.huor < 3 };",
        "forbid(principal, action == Action::\"read\", resource is Tool);",
        "",
    ] {
        std::fs::write(&file, broken).expect("written");
        bed.gateway.reload().await.expect_err("broken policies");
        assert_eq!(bed.metric("obo_gateway_config_last_reload_success").await, Some(0.0));
        assert_eq!(bed.get("/mail/me/messages", &bed.token("ada")).await.status(), 200, "{broken}");
    }
    std::fs::write(&file, "permit(principal, action, resource == Tool::\"mail/read_message\");")
        .expect("written");
    bed.gateway.reload().await.expect("good policies");
    let refused = refusal(bed.get("/mail/me/messages", &bed.token("ada")).await).await;
    assert_refused(&refused, 403, "policy_denied");
}
