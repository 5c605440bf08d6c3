//! Agents that prove by a token of their own who they are, and are named to the authorization server as the actor.

use obo_gateway::demo::authorization_server::{MAIL_AUDIENCE, TokenBuilder};
use reqwest::{Method, Response};
use serde_json::json;

use crate::bed::{Parts, Setup, TestBed, assert_refused, refusal};

const AGENTS: &str = "agents: [demo-agent, planner]";

fn with_agents_tokens(parts: &Parts<'_>) -> String {
    let issuer = parts.issuer().replace("kind: entra", &format!("kind: oidc\n    {AGENTS}"));
    let tenant = format!("    tenant: {}\n", parts.authorization_server.settings().tenant);
    let grant = "grant: token_exchange\n      target: audience\n      actor_token: agent";
    let issuer = issuer.replace(&tenant, "").replace("grant: on_behalf_of", grant);
    let scopes = format!("    audience: {MAIL_AUDIENCE}\n    scopes: [Mail.Read]\n");
    let mail = parts.mail("").replace(&format!("    audience: {MAIL_AUDIENCE}\n"), "");
    parts.whole(&issuer, &format!("{mail}{scopes}"))
}

async fn bed() -> TestBed {
    Setup::default().config(with_agents_tokens).start().await
}

/// An application's own token for the gateway.
fn agents_token(bed: &TestBed, agent: &str) -> TokenBuilder {
    bed.authorization_server.subject_token("bob").agent(agent).app_only().claim("sub", agent)
}

async fn call(bed: &TestBed, token: &str, actor_token: &str) -> Response {
    let request = bed.request(Method::GET, "/mail/me/messages").bearer_auth(token);
    request.header("Obo-Actor-Token", actor_token).send().await.expect("an answer")
}

#[tokio::test]
async fn the_agents_own_token_says_who_acts_and_goes_no_further() {
    let bed = bed().await;
    let actor_token = agents_token(&bed, "demo-agent").mint();
    for _ in 0..2 {
        assert_eq!(call(&bed, &bed.token("ada"), &actor_token).await.status(), 200);
    }
    let exchanges = bed.authorization_server.exchanges();
    assert_eq!(exchanges.len(), 1, "another token of the same agent's is no other agent");
    assert_eq!(exchanges[0].parameter("actor_token"), Some(actor_token.as_str()));
    let kind = exchanges[0].parameter("actor_token_type").expect("a type");
    assert_eq!(kind, "urn:ietf:params:oauth:token-type:access_token");
    for request in bed.connector.requests() {
        assert!(!format!("{request:?}").contains(&actor_token));
    }
}

#[tokio::test]
async fn an_agent_acts_with_a_token_that_was_issued_to_it_or_lets_it_act() {
    let bed = bed().await;
    let planner = agents_token(&bed, "planner").mint();
    // Ada signed in with the demo agent; another one got hold of her token.
    let refused = refusal(call(&bed, &bed.token("ada"), &planner).await).await;
    assert_refused(&refused, 403, "actor_not_authorized");
    let ada = || bed.authorization_server.subject_token("ada");
    let elsewhere =
        ada().claim("may_act", json!({ "sub": "planner", "iss": "https://other.example" })).mint();
    let refused = refusal(call(&bed, &elsewhere, &planner).await).await;
    assert_refused(&refused, 403, "actor_not_authorized");
    assert_eq!((bed.exchanges(), bed.connector.requests().len()), (0, 0));
    let delegated = ada().claim("may_act", json!({ "sub": "planner" })).mint();
    assert_eq!(call(&bed, &delegated, &planner).await.status(), 200);
    let records = bed.records().await;
    let record = records.last().expect("a record");
    assert_eq!(record.pointer("/actor/app_uid"), Some(&json!("planner")), "who acts is who is recorded");
}

#[tokio::test]
async fn an_agent_without_a_good_token_of_its_own_is_refused() {
    let bed = bed().await;
    let good = agents_token(&bed, "demo-agent");
    let ada = bed.token("ada");
    let missing = bed.get("/mail/me/messages", &ada).await;
    assert_refused(&refusal(missing).await, 401, "actor_token_required");
    for (actor_token, status, code) in [
        (good.clone().expired().mint(), 401, "actor_token_refused"),
        (good.clone().audience("api://other").mint(), 401, "actor_token_refused"),
        (good.clone().signed_by_a_stranger().mint(), 401, "actor_token_refused"),
        (good.clone().claim("iss", "https://other.example").mint(), 401, "actor_token_refused"),
        (good.clone().claim("cnf", json!({ "jkt": "x" })).mint(), 401, "actor_token_refused"),
        // Bob's token was issued to this agent, too, and says nothing about who sends it.
        (bed.token("bob"), 401, "actor_token_refused"),
        ("not-a-token".to_owned(), 401, "actor_token_refused"),
        ("not a token".to_owned(), 400, "authorization_malformed"),
        (good.clone().agent("stranger").mint(), 403, "agent_not_allowed"),
    ] {
        assert_refused(&refusal(call(&bed, &ada, &actor_token).await).await, status, code);
    }
    assert_eq!((bed.exchanges(), bed.connector.requests().len()), (0, 0));
    let twice = bed.request(Method::GET, "/mail/me/messages").bearer_auth(&ada);
    let twice = twice.header("Obo-Actor-Token", good.mint()).header("Obo-Actor-Token", good.mint());
    let refused = refusal(twice.send().await.expect("an answer")).await;
    assert_refused(&refused, 400, "authorization_malformed");
}

#[tokio::test]
async fn a_token_of_the_agents_is_not_passed_on_in_other_clothes() {
    let bed = bed().await;
    let actor_token = agents_token(&bed, "demo-agent").mint();
    let request = bed
        .request(Method::GET, &format!("/mail/me/messages?x={actor_token}"))
        .bearer_auth(bed.token("ada"))
        .header("Obo-Actor-Token", &actor_token);
    let refused = refusal(request.send().await.expect("an answer")).await;
    assert_refused(&refused, 400, "token_misplaced");
    assert!(bed.connector.requests().is_empty());
}
