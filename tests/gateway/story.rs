//! What the gateway is for: each person's call with their own identity, and nothing else.

use obo_gateway::demo::authorization_server::Settings;
use reqwest::Method;
use serde_json::Value;

use crate::bed::{Setup, TestBed, assert_refused, refusal};

#[tokio::test]
async fn a_call_goes_out_with_the_persons_own_delegated_token() {
    let bed = TestBed::start().await;
    let reply = bed.get("/mail/me/messages", &bed.token("ada")).await;
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.headers()["obo-identity-mode"], "on_behalf_of");
    assert!(reply.headers().contains_key("obo-request-id"));
    let mail: Value = reply.json().await.expect("mail");
    assert!(mail["value"].as_array().is_some_and(|messages| !messages.is_empty()), "{mail}");
    let received = bed.connector.only_request();
    assert_eq!(received.bearer(), bed.authorization_server.last_issued());
    assert_eq!(received.uri.path(), "/v1.0/me/messages");
}

#[tokio::test]
async fn the_agents_own_token_never_reaches_the_connector() {
    let bed = TestBed::start().await;
    let token = bed.token("ada");
    let headers = ["x-copy", "x-request-id", "user-agent", "prefer"];
    let request = headers.iter().fold(bed.request(Method::GET, "/mail/me/messages"), |request, name| {
        request.header(*name, format!("a {token}"))
    });
    assert_eq!(request.bearer_auth(&token).send().await.expect("an answer").status(), 200);
    assert!(!bed.connector.only_request().contains(&token));
    for path in [
        format!("/mail/me/messages?access_token={token}"),
        "/mail/me/messages?access_token=another".to_owned(),
        format!("/mail/me/messages?q=a{token}b"),
        format!("/mail/me/messages/{token}"),
    ] {
        let refused = refusal(bed.get(&path, &token).await).await;
        assert_refused(&refused, 400, "token_misplaced");
    }
    assert_eq!(bed.connector.requests().len(), 1);
}

#[tokio::test]
async fn the_same_call_again_needs_no_exchange() {
    let bed = TestBed::start().await;
    for _ in 0..3 {
        assert_eq!(bed.get("/mail/me/messages", &bed.token("ada")).await.status(), 200);
    }
    assert_eq!(bed.exchanges(), 1, "each token was a fresh one, of the same person");
    assert_eq!(bed.metric("obo_gateway_credential_cache_lookups_total{result=\"hit\"}").await, Some(2.0));
}

#[tokio::test]
async fn two_people_never_share_a_token() {
    let bed = TestBed::start().await;
    for _ in 0..2 {
        for who in ["ada", "bob"] {
            bed.get("/mail/me/messages", &bed.token(who)).await;
        }
    }
    assert_eq!(bed.exchanges(), 2);
    let bearers: Vec<_> = bed.connector.requests().iter().map(|request| request.bearer()).collect();
    assert_eq!((&bearers[0], &bearers[1]), (&bearers[2], &bearers[3]));
    assert_ne!(bearers[0], bearers[1]);
}

#[tokio::test]
async fn two_agents_of_one_person_never_share_a_token() {
    let bed = TestBed::start().await;
    for agent in ["planner", "researcher", "planner"] {
        let token = bed.authorization_server.subject_token("ada").agent(agent).mint();
        assert_eq!(bed.get("/mail/me/messages", &token).await.status(), 200);
    }
    assert_eq!(bed.exchanges(), 2);
}

#[tokio::test]
async fn an_agent_without_a_name_gets_nothing_from_the_cache() {
    let bed = TestBed::start().await;
    let token = bed.authorization_server.subject_token("ada").without("azp").mint();
    for _ in 0..2 {
        assert_eq!(bed.get("/mail/me/messages", &token).await.status(), 200);
    }
    assert_eq!(bed.exchanges(), 2);
}

#[tokio::test]
async fn each_tool_has_a_token_for_its_own_scopes() {
    let bed = TestBed::start().await;
    bed.authorization_server.grant_consent("ada", "https://graph.demo.test", "Mail.Send");
    assert_eq!(bed.get("/mail/me/messages", &bed.token("ada")).await.status(), 200);
    let message = r#"{"message":{"subject":"Hi","body":{"contentType":"Text","content":"x"},
        "toRecipients":[{"emailAddress":{"address":"bob@demo.test"}}]}}"#;
    let send = bed.request(Method::POST, "/mail/me/sendMail").bearer_auth(bed.token("ada"));
    let sent = send.header("content-type", "application/json").body(message).send().await.expect("an answer");
    assert_eq!(sent.status(), 202);
    let scopes: Vec<_> = bed
        .authorization_server
        .exchanges()
        .iter()
        .map(|exchange| exchange.parameter("scope").map(str::to_owned))
        .collect();
    let scope = |name: &str| Some(format!("https://graph.demo.test/{name}"));
    assert_eq!(scopes, [scope("Mail.Read"), scope("Mail.Send")]);
}

#[tokio::test]
async fn an_unlisted_tool_is_refused() {
    let bed = TestBed::start().await;
    for (method, path) in
        [(Method::DELETE, "/mail/me/messages/1"), (Method::GET, "/mail/me"), (Method::GET, "/mail")]
    {
        let request = bed.request(method, path).bearer_auth(bed.token("ada"));
        let refused = refusal(request.send().await.expect("an answer")).await;
        assert_refused(&refused, 403, "tool_unlisted");
    }
    assert!(bed.connector.requests().is_empty());
    assert_eq!(bed.exchanges(), 0);
}

#[tokio::test]
async fn a_path_of_no_connector_is_refused() {
    let bed = TestBed::start().await;
    for path in ["/", "/mailbox", "/Mail/me/messages", "/metrics", "/healthz", "/.well-known/x"] {
        let refused = refusal(bed.get(path, &bed.token("ada")).await).await;
        assert_refused(&refused, 404, "connector_unknown");
    }
}

#[tokio::test]
async fn the_longest_prefix_finds_the_connector() {
    let bed = Setup::default()
        .config(|parts| {
            let inner = parts.mail("    scopes: [Mail.Read]\n").replace("  mail:", "  inner:");
            let inner = inner.replace("path: /mail", "path: /mail/inner");
            parts.whole(&parts.issuer(), &format!("{}{inner}", parts.mail("    scopes: [Mail.Read]\n")))
        })
        .start()
        .await;
    for path in ["/mail/inner/me", "/mail/me", "/mail/innermost"] {
        bed.get(path, &bed.token("ada")).await;
    }
    let records = bed.records().await;
    let connectors: Vec<_> =
        records.iter().map(|record| record["unmapped"]["obo"]["connector"].clone()).collect();
    assert_eq!(connectors, ["inner", "mail", "mail"]);
    let paths: Vec<_> =
        bed.connector.requests().iter().map(|request| request.uri.path().to_owned()).collect();
    assert_eq!(paths, ["/v1.0/me", "/v1.0/me", "/v1.0/innermost"]);
}

#[tokio::test]
async fn what_no_rule_allows_is_denied() {
    let policy = "
  allow:
    - { name: readers, subjects: { groups: [readers] }, tools: [mail/list_*] }
    - { name: a listed agent, agents: [planner], tools: [mail/read_message] }
";
    let bed = Setup::default()
        .config(move |parts| {
            let whole = parts.whole(&parts.issuer(), &parts.mail(crate::bed::TOOLS));
            let (before, _) = whole.split_once("policy:").expect("a policy");
            format!(
                "{before}policy:{policy}audit: {{ file: {} }}\n",
                parts.folder.join("audit.jsonl").display()
            )
        })
        .start()
        .await;
    let token = |groups: &[&str], agent: &str| {
        bed.authorization_server.subject_token("ada").claim("groups", groups.to_vec()).agent(agent).mint()
    };
    assert_eq!(bed.get("/mail/me/messages", &token(&["readers"], "other")).await.status(), 200);
    let refused = refusal(bed.get("/mail/me/messages", &token(&["writers"], "other")).await).await;
    assert_refused(&refused, 403, "policy_denied");
    let refused = refusal(bed.get("/mail/me/messages/1", &token(&["readers"], "other")).await).await;
    assert_refused(&refused, 403, "policy_denied");
    let read = bed.get("/mail/me/messages/1", &token(&[], "planner")).await;
    assert_eq!(read.headers()["obo-identity-mode"], "on_behalf_of");
    let records = bed.records().await;
    assert_eq!(records[0]["authorizations"][0]["policy"]["name"], "readers");
    assert_eq!(records[1]["authorizations"][0]["decision"], "Denied");
}

#[tokio::test]
async fn a_connectors_own_refusal_is_passed_on() {
    let without_mailbox = |people: &mut Settings| people.people[1].mailbox = false;
    let bed = Setup::default().server(without_mailbox).start().await;
    let reply = bed.get("/mail/me/messages", &bed.token("bob")).await;
    assert_eq!(reply.status(), 404);
    let error: Value = reply.json().await.expect("an error");
    assert_eq!(error["error"]["code"], "MailboxNotEnabledForRESTAPI");
    assert_eq!(bed.outcomes(1).await, ["answered"]);
}

#[tokio::test]
async fn another_spelling_of_a_tool_is_not_another_tool() {
    let tools = "    tools:
      count: { match: 'GET /me/messages/$count', scopes: [Mail.Read] }
      delta: { match: GET /me/messages/delta, scopes: [Mail.Read] }
      read: { match: 'GET /me/messages/{id}', scopes: [Mail.Read] }
";
    let bed = Setup::default()
        .config(move |parts| {
            parts.whole(&parts.issuer(), &parts.mail(tools)).replace("tools: [\"*/*\"]", "tools: [mail/read]")
        })
        .start()
        .await;
    for name in ["$count", "%24count", "delta", "Delta", "delta%20", "delta.", "%64elta"] {
        let reply = bed.get(&format!("/mail/me/messages/{name}"), &bed.token("ada")).await;
        assert!([400, 403].contains(&reply.status().as_u16()), "{name}: {}", reply.status());
    }
    assert!(bed.connector.requests().is_empty());
}
