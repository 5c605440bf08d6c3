//! Metadata, keys, limits, and the ways this server can be told to misbehave.

use std::time::Instant;

use serde_json::json;

use super::*;
use crate::demo::jws::{Jws, PublicKey};
use crate::demo::script::Reply;

fn discovery(server: &AuthorizationServer) -> String {
    format!("{}/.well-known/openid-configuration", server.issuer())
}

async fn get(url: &str) -> Response {
    client().get(url).send().await.expect("the server answers")
}

#[tokio::test]
async fn discovery_says_where_everything_is_and_counts_who_asks() {
    let server = start().await;
    let metadata = json(get(&discovery(&server)).await).await;
    assert_eq!(metadata["issuer"], json!(server.issuer()));
    assert_eq!(metadata["jwks_uri"], json!(server.jwks_uri()));
    assert_eq!(metadata["token_endpoint"], json!(server.token_endpoint()));
    assert_eq!(metadata["authorization_endpoint"], json!(server.authorization_endpoint()));
    assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(metadata["userinfo_endpoint"], json!(format!("{}/{TENANT}/oidc/userinfo", server.origin())));
    let rfc8414 = format!("{}/.well-known/oauth-authorization-server/{TENANT}/v2.0", server.origin());
    assert_eq!(json(get(&rfc8414).await).await, metadata);
    assert_eq!(server.fetches(Endpoint::Discovery), 2);
    assert_eq!(server.fetches(Endpoint::Jwks), 0);
}

#[tokio::test]
async fn both_keys_verify_what_is_signed_with_them_and_rotation_replaces_them() {
    let server = start().await;
    let rs256 = server.subject_token("ada").mint();
    let es256 = server.subject_token("ada").es256().mint();
    assert!(verifies(&server, &rs256).await && verifies(&server, &es256).await);
    assert!(!verifies(&server, &server.subject_token("ada").signed_by_a_stranger().mint()).await);
    assert!(!verifies(&server, &server.subject_token("ada").es256().signed_by_a_stranger().mint()).await);

    server.rotate_keys(true);
    assert!(verifies(&server, &rs256).await, "the old key is still published");
    let second = server.subject_token("ada").mint();
    assert!(verifies(&server, &second).await);
    server.rotate_keys(false);
    assert!(!verifies(&server, &second).await && !verifies(&server, &es256).await);
    assert!(verifies(&server, &server.subject_token("ada").mint()).await);
}

async fn verifies(server: &AuthorizationServer, token: &str) -> bool {
    let keys = json(get(&server.jwks_uri()).await).await;
    let jws = Jws::parse(token).expect("three parts");
    let keys = keys["keys"].as_array().expect("a key set").clone();
    let named = keys.iter().find(|key| key["kid"].as_str() == jws.header("kid"));
    let algorithm = jws.header("alg").and_then(crate::demo::jws::Algorithm::named).expect("a known one");
    named.and_then(PublicKey::from_jwk).is_some_and(|key| key.verifies(algorithm, &jws))
}

#[tokio::test]
async fn two_servers_do_not_take_each_others_tokens() {
    let (one, two) = (start().await, start().await);
    let token = one.subject_token("ada").mint();
    let form = TestForm::on_behalf_of(&two, "ada", MAIL_READ).with("assertion", &token);
    assert_eq!(form.refused(&two).await.1["error_codes"], json!([50013]));
}

#[tokio::test]
async fn raw_tokens_are_signed_exactly_as_written() {
    let server = start().await;
    let claims = server.subject_token("ada").claims_text();
    let doubled = format!("{},\"oid\":\"second\"}}", claims.trim_end_matches('}'));
    let token = server.subject_token("ada").raw_claims(&doubled).mint();
    let payload = token.split('.').nth(1).expect("three parts");
    assert_eq!(payload, crate::demo::jws::base64url(doubled.as_bytes()));
    assert!(verifies(&server, &token).await);
    let version_1 = server.subject_token("ada").version_1(TENANT, "api://obo-gateway").mint();
    let claims = crate::demo::testing::claims(&version_1);
    assert_eq!(claims["iss"], format!("https://sts.windows.net/{TENANT}/"));
    assert_eq!(claims["appid"], "demo-agent");
}

#[tokio::test]
async fn what_is_too_large_unknown_or_asked_the_wrong_way_is_refused() {
    let server = start().await;
    let large = TestForm::on_behalf_of(&server, "ada", MAIL_READ).and("padding", &"x".repeat(65_536));
    assert_eq!(large.post(&server).await.status(), 413);
    let unknown = get(&format!("{}/nowhere", server.origin())).await;
    assert_eq!(unknown.status(), 404);
    assert_eq!(json(unknown).await["error"], "not_found");
    let wrong = get(&server.token_endpoint()).await;
    assert_eq!((wrong.status().as_u16(), header(&wrong, "allow")), (405, "POST".to_owned()));
    let untyped = client().post(server.token_endpoint()).body("grant_type=client_credentials").send();
    assert_eq!(json(untyped.await.expect("an answer")).await["error"], "invalid_request");
}

#[tokio::test]
async fn a_script_answers_in_place_of_the_server_and_the_request_is_still_recorded() {
    let server = start().await;
    let body = json!({ "error": "slow_down" });
    let throttled = Reply::json(429, &body).header("retry-after", "7").header("x-a", "1").header("x-a", "2");
    server.script(Endpoint::Token).once(throttled);
    let form = TestForm::on_behalf_of(&server, "ada", MAIL_READ);
    let response = form.post(&server).await;
    assert_eq!(response.status(), 429);
    assert_eq!(header(&response, "retry-after"), "7");
    assert_eq!(response.headers().get_all("x-a").iter().count(), 2);
    assert_eq!(json(response).await, body);
    form.granted(&server).await;
    let statuses: Vec<_> = server.exchanges().iter().map(|exchange| exchange.status).collect();
    assert_eq!(statuses, [Some(StatusCode::TOO_MANY_REQUESTS), Some(StatusCode::OK)]);
    let shown = format!("{:?}", server.exchanges());
    assert!(shown.contains("client_secret") && !shown.contains(&server.settings().gateway.secret));
}

#[tokio::test]
async fn a_script_can_delay_hang_reset_cut_and_answer_garbage() {
    let server = start().await;
    let url = discovery(&server);
    let script = server.script(Endpoint::Discovery);

    script.once(Reply::normal().after(Duration::from_millis(300)));
    let begun = Instant::now();
    assert_eq!(get(&url).await.status(), 200);
    assert!(begun.elapsed() >= Duration::from_millis(300));

    script.once(Reply::hang());
    let hung = tokio::time::timeout(Duration::from_millis(300), client().get(&url).send()).await;
    assert!(hung.is_err(), "a hung server gives no answer");

    script.once(Reply::reset());
    assert!(client().get(&url).send().await.is_err());

    script.once(Reply::raw("HTTP/1.1 2oo WHAT\r\n\r\n"));
    assert!(client().get(&url).send().await.is_err());

    script.once(Reply::normal().cut_after(10));
    let half = get(&url).await;
    assert_eq!(half.status(), 200);
    assert!(half.text().await.is_err(), "half an answer is not an answer");

    script.once(Reply::normal().dripping(400, Duration::from_millis(60)));
    let begun = Instant::now();
    assert_eq!(json(get(&url).await).await["issuer"], json!(server.issuer()));
    assert!(begun.elapsed() >= Duration::from_millis(120));

    script.always(Reply::status(500));
    assert_eq!(get(&url).await.status(), 500);
    assert_eq!(get(&url).await.status(), 500);
    script.clear();
    assert_eq!(get(&url).await.status(), 200);
    assert_eq!(get(&server.jwks_uri()).await.status(), 200, "other endpoints keep their manners");
}

#[tokio::test]
async fn a_raw_reply_is_on_the_wire_byte_for_byte_and_a_reset_is_one() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = start().await;
    let script = server.script(Endpoint::Discovery);
    let path = format!("/{TENANT}/v2.0/.well-known/openid-configuration");
    let ask = async || {
        let address = server.origin().trim_start_matches("http://").to_owned();
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.map(|_| answer)
    };
    script.once(Reply::raw(&b"\x00\xffanything"[..]));
    assert_eq!(ask().await.expect("an orderly end"), b"\x00\xffanything");
    script.once(Reply::reset());
    assert_eq!(ask().await.expect_err("a reset").kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn the_server_can_go_away_come_back_and_stop_with_its_last_handle() {
    let server = start().await;
    let url = discovery(&server);
    let pooled = client();
    assert_eq!(pooled.get(&url).send().await.expect("an answer").status(), 200);
    server.stop_listening().await;
    assert!(pooled.get(&url).send().await.is_err(), "no pooled connection survives");
    server.listen_again().await.expect("the port is still ours");
    assert_eq!(pooled.get(&url).send().await.expect("an answer").status(), 200);
    let handle = server.clone();
    drop(server);
    assert_eq!(get(&url).await.status(), 200);
    drop(handle);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(client().get(&url).send().await.is_err());
}
