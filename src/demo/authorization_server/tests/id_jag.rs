//! ID-JAG, from both sides.

use serde_json::json;

use super::*;
use crate::demo::testing::claims;

const TYPE: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// An issuer, and a server that trusts it.
async fn start_two() -> [AuthorizationServer; 2] {
    let corp = start().await;
    let trusted = corp.as_trusted();
    let crm = start_with(|settings| {
        settings.tenant = "8d2f6c1b-5c2e-4d6a-a054-3e7a2b9cf200".to_owned();
        settings.trusted_issuers = vec![trusted];
    })
    .await;
    corp.vouch_to(&crm.issuer(), GATEWAY);
    [corp, crm]
}

fn first_leg(corp: &AuthorizationServer, crm: &AuthorizationServer) -> TestForm {
    TestForm::token_exchange(corp, "ada").with("requested_token_type", TYPE).with("audience", &crm.issuer())
}

fn second_leg(crm: &AuthorizationServer, id_jag: &str) -> TestForm {
    TestForm::on_behalf_of(crm, "ada", "Mail.Read").without("requested_token_use").with("assertion", id_jag)
}

#[tokio::test]
async fn one_server_vouches_and_the_other_issues() {
    let [corp, crm] = start_two().await;
    let answer = first_leg(&corp, &crm).granted(&corp).await;
    assert_eq!([&answer["issued_token_type"], &answer["token_type"]], [TYPE, "N_A"]);
    let id_jag = answer["access_token"].as_str().expect("text");
    let said = claims(id_jag);
    assert_eq!(said["aud"], json!(crm.issuer()));
    assert_eq!([&said["client_id"], &said["scope"]], [GATEWAY, "Mail.Read"]);
    assert_eq!(said["sub"].as_str().map(str::len), Some(43), "a name for that server alone");
    let answer = second_leg(&crm, id_jag).granted(&crm).await;
    let token = answer["access_token"].as_str().expect("text");
    assert_eq!(claims(token)["oid"], json!(crm.person("ada").oid));
    assert_eq!(claims(token)["iss"], json!(crm.issuer()));
    assert_eq!(crm.last_issued().as_deref(), Some(token));
    let (status, again) = second_leg(&crm, id_jag).refused(&crm).await;
    assert_eq!((status, &again["error"]), (400, &json!("invalid_grant")), "it is good once");
}

#[tokio::test]
async fn nobody_is_vouched_for_to_a_stranger() {
    let [corp, crm] = start_two().await;
    for (form, error) in [
        (first_leg(&corp, &crm).with("audience", MAIL_AUDIENCE), "invalid_target"),
        (first_leg(&corp, &crm).and("audience", MAIL_AUDIENCE), "invalid_request"),
        (first_leg(&corp, &crm).without("audience"), "invalid_request"),
        (first_leg(&corp, &crm).and("resource", "not a URI"), "invalid_target"),
        (first_leg(&corp, &crm).with("subject_token", "x"), "invalid_request"),
        (first_leg(&corp, &crm).with("client_secret", "x"), "invalid_client"),
    ] {
        assert_eq!(form.refused(&corp).await.1["error"], error);
    }
}

#[tokio::test]
async fn each_bad_assertion_is_refused() {
    let [corp, crm] = start_two().await;
    let good = || corp.id_jag("ada", &crm.issuer(), GATEWAY, "Mail.Read");
    for bad in [
        good().header("typ", "JWT"),
        good().claim("iss", "https://stranger.example"),
        good().audience(MAIL_AUDIENCE),
        good().claim("aud", json!([crm.issuer()])),
        good().claim("client_id", "another"),
        good().claim("sub", "x").claim("email", "x"),
        good().without("jti"),
        good().without("iat"),
        good().expired(),
        good().signed_by_a_stranger(),
        good().unsigned(),
        crm.id_jag("ada", &crm.issuer(), GATEWAY, "Mail.Read"),
        corp.subject_token("ada"),
    ] {
        let (status, answer) = second_leg(&crm, &bad.mint()).refused(&crm).await;
        assert_eq!((status, &answer["error"]), (400, &json!("invalid_grant")), "{}", bad.claims_text());
        assert!(answer.get("error_codes").is_none(), "{answer}");
    }
    let more = second_leg(&crm, &good().mint()).with("scope", "Mail.Send");
    assert_eq!(more.refused(&crm).await.1["error"], "invalid_scope");
    second_leg(&crm, &good().mint()).granted(&crm).await;
}
