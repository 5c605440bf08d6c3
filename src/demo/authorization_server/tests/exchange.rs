//! RFC 8693 token exchange, and client credentials.

use serde_json::json;

use super::*;
use crate::demo::testing::claims;

#[tokio::test]
async fn an_exchange_gives_a_narrow_token_that_names_who_acts() {
    let server = start().await;
    let answer = TestForm::token_exchange(&server, "ada").granted(&server).await;
    assert_eq!(answer["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["scope"], "Mail.Read");
    let token = answer["access_token"].as_str().expect("text");
    let claims = claims(token);
    assert_eq!(claims["act"], json!({ "sub": GATEWAY }));
    assert_eq!(claims["aud"], MAIL_AUDIENCE);
    assert_eq!(claims["client_id"], GATEWAY);
    assert_eq!(claims["scope"], "Mail.Read");
    assert_eq!(claims["oid"], json!(server.person("ada").oid));
    assert!(!claims.contains_key("scp"));
    assert_eq!(server.last_issued().as_deref(), Some(token));
    assert_eq!(server.exchanges()[0].grant, GrantKind::TokenExchange);
}

#[tokio::test]
async fn the_target_can_be_an_audience_a_resource_or_in_the_scope() {
    let server = start().await;
    let good = TestForm::token_exchange(&server, "ada");
    for form in [
        good.clone().without("audience").and("resource", MAIL_AUDIENCE),
        good.clone().without("audience").with("scope", MAIL_READ),
        good.clone().and("resource", MAIL_AUDIENCE),
        good.clone().without("scope"),
    ] {
        let answer = form.granted(&server).await;
        assert_eq!(claims(answer["access_token"].as_str().expect("text"))["aud"], MAIL_AUDIENCE);
    }
}

#[tokio::test]
async fn earlier_actors_stand_inside_the_present_one() {
    let server = start().await;
    let subject = server.subject_token("ada").claim("act", json!({ "sub": "agent-travel" })).mint();
    let good = TestForm::token_exchange(&server, "ada");
    let answer = good.clone().with("subject_token", &subject).granted(&server).await;
    let act = &claims(answer["access_token"].as_str().expect("text"))["act"];
    assert_eq!(*act, json!({ "sub": GATEWAY, "act": { "sub": "agent-travel" } }));

    let actor = server.subject_token("bob").claim("azp", "planner").app_only().mint();
    let access_token = "urn:ietf:params:oauth:token-type:access_token";
    let form = good.with("actor_token", &actor).with("actor_token_type", access_token);
    let answer = form.granted(&server).await;
    assert_eq!(claims(answer["access_token"].as_str().expect("text"))["act"], json!({ "sub": "planner" }));
}

#[tokio::test]
async fn each_bad_exchange_is_refused_in_the_words_of_the_rfc() {
    let server = start().await;
    let good = || TestForm::token_exchange(&server, "ada");
    let subject = |token: TokenBuilder| good().with("subject_token", &token.mint());
    let ada = || server.subject_token("ada");

    check_error(&server, good().without("subject_token"), 400, "invalid_request").await;
    check_error(&server, good().without("subject_token_type"), 400, "invalid_request").await;
    check_error(&server, good().with("subject_token_type", "urn:x"), 400, "invalid_request").await;
    check_error(&server, good().with("requested_token_type", "urn:x"), 400, "invalid_request").await;
    check_error(&server, good().with("actor_token", "x"), 400, "invalid_request").await;
    check_error(&server, good().with("actor_token_type", "x"), 400, "invalid_request").await;
    check_error(&server, subject(ada().expired()), 400, "invalid_request").await;
    check_error(&server, subject(ada().signed_by_a_stranger()), 400, "invalid_request").await;
    check_error(&server, subject(ada().audience("api://other")), 400, "invalid_request").await;
    check_error(&server, subject(ada().without("scp")), 400, "invalid_request").await;
    let other = json!({ "sub": "other" });
    check_error(&server, subject(ada().claim("may_act", other)), 400, "invalid_request").await;
    check_error(&server, good().with("audience", "https://x.test"), 400, "invalid_target").await;
    check_error(&server, good().and("audience", "api://obo-gateway"), 400, "invalid_target").await;
    check_error(&server, good().with("resource", "not absolute"), 400, "invalid_target").await;
    check_error(&server, good().with("resource", "https://graph.demo.test#x"), 400, "invalid_target").await;
    let alone = good().without("scope").with("audience", "api://obo-gateway");
    check_error(&server, alone, 400, "invalid_target").await;
    check_error(&server, good().without("audience").without("scope"), 400, "invalid_target").await;
    check_error(&server, good().with("scope", "Mail.Burn"), 400, "invalid_scope").await;
    check_error(&server, good().with("scope", "Mail.Send"), 400, "invalid_scope").await;
    check_error(&server, good().with("client_secret", "guess"), 401, "invalid_client").await;
    check_error(&server, good().with("client_id", "stranger"), 401, "invalid_client").await;
    let public = good().with("client_id", "demo-agent").without("client_secret");
    check_error(&server, public, 401, "invalid_client").await;
    assert!(server.issued().is_empty());
}

async fn check_error(server: &AuthorizationServer, form: TestForm, status: u16, error: &str) {
    let (answered, body) = form.refused(server).await;
    assert_eq!((answered, body["error"].as_str()), (status, Some(error)), "{body}");
    assert_eq!(body.get("error_codes"), None, "a plain server knows no AADSTS codes");
}

#[tokio::test]
async fn the_application_gets_roles_and_never_scopes() {
    let server = start().await;
    let form = TestForm::new(&[
        ("grant_type", "client_credentials"),
        ("client_id", GATEWAY),
        ("client_secret", &server.settings().gateway.secret),
        ("scope", "https://graph.demo.test/.default"),
    ]);
    let answer = form.granted(&server).await;
    let token = answer["access_token"].as_str().expect("text");
    let claims = claims(token);
    assert_eq!(claims["idtyp"], "app");
    assert_eq!(claims["roles"], json!(["Mail.Send"]));
    assert_eq!(claims["oid"], claims["sub"]);
    assert!(!claims.contains_key("scp"));
    assert!(server.issued().is_empty(), "an app-only token is not a delegated one");
    assert_eq!(server.issued_to_application(), [token]);
    let (_, body) = form.clone().with("scope", MAIL_READ).refused(&server).await;
    assert_eq!(body["error_codes"], json!([1_002_012]));
    let public = form.with("client_id", "demo-agent").without("client_secret");
    assert_eq!(public.refused(&server).await.0, 401);
}

#[tokio::test]
async fn an_application_that_names_its_target_by_parameter_gets_scopes_and_no_person() {
    let server = start().await;
    let form = TestForm::new(&[
        ("grant_type", "client_credentials"),
        ("client_id", GATEWAY),
        ("client_secret", &server.settings().gateway.secret),
        ("audience", "https://graph.demo.test"),
        ("scope", "Mail.Send"),
    ]);
    let answer = form.granted(&server).await;
    let claims = claims(answer["access_token"].as_str().expect("text"));
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(GATEWAY), &json!(GATEWAY)));
    assert_eq!((&claims["scope"], &answer["scope"]), (&json!("Mail.Send"), &json!("Mail.Send")));
    assert!(!claims.contains_key("oid") && !claims.contains_key("roles"), "{claims:?}");
    check_error(&server, form.clone().with("scope", "Mail.Read"), 400, "invalid_scope").await;
    check_error(&server, form.clone().with("audience", "https://other.test"), 400, "invalid_target").await;
    server.refuse_application(Fault::blocked());
    check_error(&server, form.clone(), 400, "invalid_grant").await;
    server.allow_application();
    form.granted(&server).await;
}
