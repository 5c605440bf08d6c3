//! Who gets whose mail, and what Graph says to the others.

use serde_json::json;

use super::*;
use crate::demo::authorization_server::Endpoint;
use crate::demo::script::Reply;
use crate::demo::testing::header;

#[tokio::test]
async fn everybody_reads_their_own_mail_and_nobody_elses() {
    let pair = Pair::start().await;
    let (ada, bob) = (pair.subjects("ada").await, pair.subjects("bob").await);
    assert_eq!(ada.len(), 4);
    assert!(ada.iter().all(|subject| !bob.contains(subject)), "{ada:?} {bob:?}");

    let body = json(pair.get("/me/messages?$top=1", &pair.token("ada", "Mail.Read")).await).await;
    let id = body["value"][0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/me/messages/{id}");
    let message = json(pair.get(&path, &pair.token("ada", "Mail.Read")).await).await;
    assert_eq!(message["subject"], json!(ada[0]));
    assert!(message["@odata.context"].as_str().expect("text").ends_with("/messages/$entity"));
    let response = pair.get(&path, &pair.token("bob", "Mail.Read")).await;
    check_fault(response, 404, "ErrorItemNotFound").await;
}

#[tokio::test]
async fn a_profile_is_the_callers_own() {
    let pair = Pair::start().await;
    for who in ["ada", "bob"] {
        let profile = json(pair.get("/me", &pair.token(who, "User.Read")).await).await;
        let person = pair.server.person(who);
        assert_eq!(profile["id"], json!(person.oid));
        assert_eq!(profile["displayName"], json!(person.name));
        assert_eq!(profile["mail"], json!(person.user_name));
    }
    let settings = pair.get("/me/mailboxSettings", &pair.token("ada", "MailboxSettings.Read")).await;
    assert_eq!(json(settings).await["timeZone"], "UTC");
}

#[tokio::test]
async fn a_list_comes_in_pages_with_the_properties_asked_for() {
    let pair = Pair::start().await;
    let token = pair.token("ada", "Mail.Read");
    let all = pair.subjects("ada").await;
    let first = json(pair.get("/me/messages?$top=3&$select=subject", &token).await).await;
    assert_eq!(first["value"].as_array().map(Vec::len), Some(3));
    let members: Vec<&String> = first["value"][0].as_object().expect("an object").keys().collect();
    assert_eq!(members, ["@odata.etag", "id", "subject"]);
    let next = first["@odata.nextLink"].as_str().expect("there is more");
    let request = client().get(next).bearer_auth(token.mint());
    let second = json(request.send().await.expect("an answer")).await;
    assert_eq!(second["value"][0]["subject"], json!(all[3]));
    assert_eq!(second.get("@odata.nextLink"), None);
    check_fault(pair.get("/me/messages?$top=0", &token).await, 400, "BadRequest").await;
}

#[tokio::test]
async fn each_operation_needs_its_own_scope() {
    let pair = Pair::start().await;
    check_fault(pair.get("/me", &pair.token("ada", "Mail.Read")).await, 403, "ErrorAccessDenied").await;
    for scopes in ["User.Read", "Mail.ReadBasic", "mail.read", "XMail.Read"] {
        let response = pair.get("/me/messages", &pair.token("ada", scopes)).await;
        check_fault(response, 403, "ErrorAccessDenied").await;
    }
    let letter = letter("bob.okafor@demo.test");
    let response = send(&pair, "/me/sendMail", &pair.token("ada", "Mail.Read Mail.ReadWrite"), &letter).await;
    check_fault(response, 403, "ErrorAccessDenied").await;
    assert!(pair.mail.sent().is_empty());
}

#[tokio::test]
async fn a_token_must_be_right_in_every_part() {
    let pair = Pair::start().await;
    let good = || pair.token("ada", "Mail.Read");
    for bad in [
        good().audience("https://other.test"),
        good().audience(&pair.server.settings().gateway.client_id),
        good().claim("aud", json!({ "x": MAIL_AUDIENCE })),
        good().claim("iss", "https://other.test"),
        good().expired(),
        good().not_yet_valid(),
        good().without("exp"),
        good().claim("exp", "9999999999"),
        good().unsigned(),
        good().signed_with_the_public_key(),
        good().signed_by_a_stranger(),
        good().es256().signed_by_a_stranger(),
        good().header("crit", json!(["x"])),
        good().header("kid", "unknown"),
        good().without("scp"),
        good().raw_claims("[]"),
    ] {
        let response = pair.get("/me/messages", &bad).await;
        assert!(header(&response, "www-authenticate").contains("error=\"invalid_token\""));
        check_fault(response, 401, "InvalidAuthenticationToken").await;
    }
    assert!(pair.mail.requests().iter().all(|request| request.caller.is_none()));
    assert_eq!(pair.get("/me/messages", &good()).await.status(), 200);
    assert_eq!(pair.get("/me/messages", &good().es256()).await.status(), 200);
    let several = good().claim("aud", json!(["api://x", MAIL_AUDIENCE]));
    assert_eq!(pair.get("/me/messages", &several).await.status(), 200);
}

#[tokio::test]
async fn without_one_bearer_token_nobody_is_there() {
    let pair = Pair::start().await;
    let token = pair.token("ada", "Mail.Read").mint();
    let url = pair.url("/me/messages");
    let none = client().get(&url);
    let basic = client().get(&url).basic_auth("ada", Some("secret"));
    let two = client().get(&url).bearer_auth(&token).header("authorization", format!("Bearer {token}"));
    for request in [none, basic, two] {
        let response = request.send().await.expect("the connector answers");
        assert!(!header(&response, "www-authenticate").contains("error="));
        check_fault(response, 401, "InvalidAuthenticationToken").await;
    }
}

#[tokio::test]
async fn a_person_without_a_mailbox_is_told_whom_to_ask() {
    let pair = Pair::start_with(|settings| settings.people[1].mailbox = false).await;
    let response = pair.get("/me/messages", &pair.token("bob", "Mail.Read")).await;
    let message = check_fault(response, 404, "MailboxNotEnabledForRESTAPI").await;
    assert!(message.contains("Ask your administrator to assign you a licence"), "{message}");
    let token = pair.token("bob", "Mail.Send");
    let response = send(&pair, "/me/sendMail", &token, &letter("ada.lindqvist@demo.test")).await;
    check_fault(response, 404, "MailboxNotEnabledForRESTAPI").await;
    assert_eq!(pair.subjects("ada").await.len(), 4, "nothing was delivered");
    let profile = json(pair.get("/me", &pair.token("bob", "User.Read")).await).await;
    assert_eq!(profile["mail"], Value::Null);
}

#[tokio::test]
async fn mail_sent_arrives_and_says_from_whom() {
    let pair = Pair::start().await;
    let token = pair.token("ada", "Mail.Send");
    let response = send(&pair, "/me/sendMail", &token, &letter("Bob.Okafor@demo.test")).await;
    assert_eq!(response.status(), 202);
    assert_eq!(response.text().await.expect("a body"), "");
    assert_eq!(pair.subjects("bob").await[0], "Lunch?");
    let sent = pair.mail.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!((&sent[0].from, sent[0].by_application), (&pair.server.person("ada").oid, false));
    let nobody = json!({ "message": { "subject": "x" } });
    check_fault(send(&pair, "/me/sendMail", &token, &nobody).await, 400, "ErrorInvalidRecipients").await;
    check_fault(send(&pair, "/me/sendMail", &token, &json!([])).await, 400, "BadRequest").await;
    assert_eq!(pair.mail.sent().len(), 1);
}

#[tokio::test]
async fn an_application_names_the_mailbox_and_has_no_self() {
    let pair = Pair::start().await;
    let token = |role| pair.token("ada", "").app_only().without("oid").claim("roles", json!([role]));
    let ada = pair.server.person("ada");
    check_fault(pair.get("/me/messages", &token("Mail.Read")).await, 400, "BadRequest").await;
    let path = format!("/users/{}/messages", ada.oid);
    assert_eq!(pair.get(&path, &token("Mail.Read")).await.status(), 200);
    check_fault(pair.get(&path, &token("Mail.Send")).await, 403, "ErrorAccessDenied").await;
    check_fault(pair.get("/users/nobody/messages", &token("Mail.Read")).await, 404, "ErrorInvalidUser").await;
    let path = format!("/users/{}/sendMail", ada.user_name);
    let response = send(&pair, &path, &token("Mail.Send"), &letter("bob.okafor@demo.test")).await;
    assert_eq!(response.status(), 202);
    assert!(pair.mail.sent()[0].by_application);
    assert_eq!(pair.mail.requests().last().and_then(|request| request.caller.clone()?.person), None);

    let bobs = format!("/users/{}/messages", pair.server.person("bob").oid);
    check_fault(pair.get(&bobs, &pair.token("ada", "Mail.Read")).await, 403, "ErrorAccessDenied").await;
    let own = format!("/users/{}/messages", ada.oid);
    assert_eq!(pair.get(&own, &pair.token("ada", "Mail.Read")).await.status(), 200);
}

#[tokio::test]
async fn what_graph_does_not_have_it_says_in_its_own_words() {
    let pair = Pair::start().await;
    let token = pair.token("ada", "Mail.Read Mail.Send");
    check_fault(pair.get("/me/drive", &token).await, 400, "BadRequest").await;
    check_fault(pair.get("/planets", &token).await, 400, "BadRequest").await;
    let response = pair.get("/me/sendMail", &token).await;
    assert_eq!(header(&response, "allow"), "POST");
    check_fault(response, 405, "Request_BadRequest").await;
    let id = "0d6c2f0e-2a41-4f4c-9a53-53a1d6d3a111";
    let request = pair.get_request("/me/drive", &token.mint()).header("client-request-id", id);
    let body = json(request.send().await.expect("an answer")).await;
    assert_eq!(body["error"]["innerError"]["client-request-id"], id);
}

#[tokio::test]
async fn keys_are_fetched_once_and_again_when_a_new_one_appears() {
    let pair = Pair::start().await;
    for who in ["ada", "bob", "ada"] {
        pair.subjects(who).await;
    }
    assert_eq!(pair.server.fetches(Endpoint::Jwks), 1);
    let before = pair.token("ada", "Mail.Read");
    pair.server.rotate_keys(false);
    pair.subjects("ada").await;
    assert_eq!(pair.server.fetches(Endpoint::Jwks), 2);
    check_fault(pair.get("/me/messages", &before).await, 401, "InvalidAuthenticationToken").await;
    pair.server.rotate_keys(false);
    pair.server.script(Endpoint::Jwks).once(Reply::status(500));
    let response = pair.get("/me/messages", &pair.token("ada", "Mail.Read")).await;
    check_fault(response, 503, "serviceNotAvailable").await;
    pair.subjects("ada").await;
}

fn letter(to: &str) -> Value {
    json!({ "message": {
        "subject": "Lunch?",
        "body": { "contentType": "Text", "content": "At noon." },
        "toRecipients": [{ "emailAddress": { "address": to } }],
    }})
}

async fn send(pair: &Pair, path: &str, token: &TokenBuilder, letter: &Value) -> Response {
    let request = client().post(pair.url(path)).bearer_auth(token.mint()).json(letter);
    request.send().await.expect("the connector answers")
}

/// Checks a Graph error body, and gives its message.
async fn check_fault(response: Response, status: u16, code: &str) -> String {
    assert_eq!(response.status(), status);
    let request_id = header(&response, "request-id");
    let error = json(response).await["error"].clone();
    assert_eq!(error["code"], code);
    assert_eq!(error["innerError"]["request-id"], json!(request_id));
    assert!(error["innerError"]["date"].is_string() && error["innerError"]["client-request-id"].is_string());
    error["message"].as_str().expect("a message is text").to_owned()
}
