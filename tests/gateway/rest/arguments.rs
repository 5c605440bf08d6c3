//! What policies can look at in a call, and that the connector sees the same.

use super::*;
use serde_json::{Value, json};

const SEND: &str = "    tools:
      send_message:
        match: POST /me/sendMail
        scopes: [Mail.Send]
        arguments:
          subject: { type: string, body: /message/subject }
          to: { type: strings, body: '/message/toRecipients/*/emailAddress/address' }
          save: { type: boolean, query: save }
";
const SEARCH: &str = "    tools:
      read_message:
        match: GET /me/messages/{id}
        scopes: [Mail.Read]
        arguments:
          id: { type: string, path: id }
          folder: { type: string, query: folder }
          top: { type: integer, query: $top }
          tags: { type: strings, query: tag }
";

fn mail(to: &[&str]) -> Value {
    let recipient = |address: &&str| json!({ "emailAddress": { "address": address } });
    json!({ "message": { "subject": "hello", "toRecipients": to.iter().map(recipient).collect::<Vec<_>>() } })
}

async fn send(bed: &TestBed, body: impl Into<reqwest::Body>) -> Response {
    let request = bed.request(Method::POST, "/mail/me/sendMail").bearer_auth(bed.token("ada"));
    request.header("content-type", "application/json").body(body).send().await.expect("an answer")
}

#[cfg(feature = "cedar")]
#[tokio::test]
async fn policy_decides_by_what_stands_in_the_body() {
    let forbid = "forbid(principal, action, resource == Tool::\"mail/send_message\")
                  unless { context.arguments has to && [\"bob@contoso.example\", \"eve@contoso.example\"]
                           .containsAll(context.arguments.to) };";
    let bed = bed(SEND, forbid).await;
    assert_eq!(send(&bed, mail(&["bob@contoso.example"]).to_string()).await.status(), 202);
    assert_eq!(bed.connector.sent()[0].to, ["bob@contoso.example"]);
    for refused in [mail(&["bob@contoso.example", "mallory@elsewhere.example"]), mail(&[]), json!({})] {
        let refused = refusal(send(&bed, refused.to_string()).await).await;
        assert_refused(&refused, 403, "policy_forbidden");
    }
    assert_eq!(bed.connector.requests().len(), 1);
}

#[cfg(feature = "cedar")]
#[tokio::test]
async fn policy_decides_by_path_and_query() {
    let forbid = "forbid(principal, action, resource == Tool::\"mail/read_message\")
                  when { context.arguments has id && context.arguments.id == \"secret\" }
                  when { context.arguments has top && context.arguments.top > 10
                         || context.arguments has folder && context.arguments.folder == \"private\"
                         || context.arguments has tags && context.arguments.tags.contains(\"red\") };";
    let bed = bed(SEARCH, forbid).await;
    for (query, refused) in [
        ("", false),
        ("?$top=10&folder=inbox&tag=blue", false),
        ("?$top=11", true),
        ("?%24top=11", true),
        ("?folder=private", true),
        ("?folder=%70rivate", true),
        ("?tag=blue&tag=red", true),
    ] {
        let answer = call(&bed, Method::GET, &format!("/mail/me/messages/secret{query}")).await;
        match refused {
            true => assert_refused(&refusal(answer).await, 403, "policy_forbidden"),
            false => assert_eq!(answer.headers()["obo-identity-mode"], "on_behalf_of", "{query}"),
        }
        let other = call(&bed, Method::GET, &format!("/mail/me/messages/other{query}")).await;
        assert_eq!(other.headers()["obo-identity-mode"], "on_behalf_of", "{query}");
    }
}

#[tokio::test]
async fn what_goes_on_is_what_was_judged_written_anew() {
    let bed = bed(SEND, "").await;
    let body = " { \"message\" : { \"s\\u0075bject\" : \"x\",\n \"importance\": 1.50 } } ";
    let request =
        bed.request(Method::POST, "/mail/me/sendMail?a=%2f&save=%74rue").bearer_auth(bed.token("ada"));
    let request =
        request.header("content-type", "application/json; charset=utf-8").header("digest", "sha-256=x");
    request.body(body).send().await.expect("an answer");
    let received = bed.connector.only_request();
    assert_eq!(received.body, r#"{"message":{"subject":"x","importance":1.5}}"#);
    assert_eq!(received.uri.query(), Some("a=%2f&save=true"));
    assert_eq!(received.header("content-type"), Some("application/json"));
    assert_eq!(received.header("content-length"), Some("44"));
    assert_eq!(received.header("digest"), None, "it is of other bytes");
}

#[tokio::test]
async fn a_condition_goes_with_a_body_that_is_read() {
    // A change that was to be made to one version alone was made to whichever there was.
    let bed = bed(SEND, "").await;
    let request = bed.request(Method::POST, "/mail/me/sendMail").bearer_auth(bed.token("ada"));
    let request = request.header("content-type", "application/json").header("if-match", "\"v1\"");
    request.body(mail(&["bob@contoso.example"]).to_string()).send().await.expect("an answer");
    assert_eq!(bed.connector.only_request().header("if-match"), Some("\"v1\""));
}

#[tokio::test]
async fn an_argument_of_another_type_is_refused_by_name() {
    let bed = bed(SEARCH, "").await;
    for (query, name) in [
        ("$top=ten", "top"),
        ("$top=1&$top=2", "top"),
        ("top=5", "top"),
        ("folder=a&Folder=b", "folder"),
        ("folder[]=a", "folder"),
        ("folder=%c0%ae", "folder"),
        ("folder=%00", "folder"),
        ("tag=a,b", "tags"),
    ] {
        let refused = refusal(call(&bed, Method::GET, &format!("/mail/me/messages/1?{query}")).await).await;
        assert_refused(&refused, 400, "argument_invalid");
        assert!(
            refused.2["detail"].as_str().is_some_and(|why| why.contains(&format!("`{name}`"))),
            "{query}"
        );
    }
    let refused = refusal(call(&bed, Method::GET, "/mail/me/messages/1?folder=a;folder=b").await).await;
    assert_refused(&refused, 400, "query_not_canonical");
    assert_eq!((bed.exchanges(), bed.connector.requests().len()), (0, 0));
}

#[tokio::test]
async fn a_body_that_cannot_be_judged_is_refused() {
    let bed = bed(SEND, "").await;
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    for (body, status, code) in [
        ("{", 400, "body_malformed"),
        ("{} {}", 400, "body_malformed"),
        (r#"{"message":{},"message":{}}"#, 400, "body_malformed"),
        (r#"{"size":99999999999999999999}"#, 400, "body_malformed"),
        (deep.as_str(), 400, "body_malformed"),
        (r#"{"message":{"subject":5}}"#, 400, "argument_invalid"),
        (r#"{"message":{"Subject":"x"}}"#, 400, "argument_invalid"),
        (r#"{"message":"x"}"#, 400, "argument_invalid"),
        (r#"{"message":{"toRecipients":"x"}}"#, 400, "argument_invalid"),
        (r#"[]"#, 400, "argument_invalid"),
    ] {
        assert_refused(&refusal(send(&bed, body.to_owned()).await).await, status, code);
    }
    for (name, value) in [
        ("content-type", "text/plain"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-encoding", "gzip"),
        ("content-range", "bytes 0-1/5"),
    ] {
        let request = bed.request(Method::POST, "/mail/me/sendMail").bearer_auth(bed.token("ada"));
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert("content-type", "application/json".parse().expect("a type"));
        headers.insert(name, value.parse().expect("a value"));
        let answer = request.headers(headers).body("{}").send().await.expect("an answer");
        assert_refused(&refusal(answer).await, 415, "media_type_refused");
    }
    assert_eq!((bed.exchanges(), bed.connector.requests().len()), (0, 0));
}

#[tokio::test]
async fn a_body_that_is_read_is_bounded() {
    let bed = bed(SEND, "").await;
    let of_size = |bytes: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8));
    let whole = send(&bed, of_size(1_048_576)).await;
    assert_eq!(whole.headers()["obo-identity-mode"], "on_behalf_of");
    assert_refused(&refusal(send(&bed, of_size(1_048_577)).await).await, 413, "body_too_large");
    assert_eq!(bed.connector.only_request().body_bytes, 1_048_576);
}

#[tokio::test]
async fn the_callers_token_does_not_go_on_in_a_body_that_is_read() {
    let bed = bed(SEND, "").await;
    let token = bed.token("ada");
    let request = bed.request(Method::POST, "/mail/me/sendMail").bearer_auth(&token);
    let answer = request.json(&json!({ "token": token })).send().await.expect("an answer");
    assert_refused(&refusal(answer).await, 400, "token_misplaced");
    assert_eq!(bed.connector.requests().len(), 0);
}

#[tokio::test]
async fn a_tool_without_arguments_in_its_body_is_not_held_to_json() {
    let bed = bed(TOOLS, "").await;
    let request = bed.request(Method::POST, "/mail/me/sendMail").bearer_auth(bed.token("ada"));
    request.header("content-type", "text/plain").body("{ not json").send().await.expect("an answer");
    assert_eq!(bed.connector.only_request().body, "{ not json");
}

#[tokio::test]
async fn a_call_without_a_body_has_no_arguments_in_it() {
    let bed = bed(SEND, "").await;
    let answer = call(&bed, Method::POST, "/mail/me/sendMail").await;
    assert_eq!(answer.headers()["obo-identity-mode"], "on_behalf_of");
    assert_eq!(bed.connector.only_request().body_bytes, 0);
}
