//! Entra's on-behalf-of: what is granted, by which proof, and each error body.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use serde_json::json;

use super::*;
use crate::demo::clock;
use crate::demo::jws::{self, Algorithm, SigningKey};
use crate::demo::random;
use crate::demo::testing::claims;

#[tokio::test]
async fn a_secret_buys_a_token_for_the_person_at_the_resource_and_no_other() {
    let server = start().await;
    let answer = TestForm::on_behalf_of(&server, "ada", MAIL_READ).granted(&server).await;
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["expires_in"], 3600);
    assert_eq!(answer["ext_expires_in"], 3600);
    assert_eq!(answer["scope"], format!("{MAIL_READ} https://graph.demo.test/User.Read"));
    let token = answer["access_token"].as_str().expect("a token is text");
    let claims = claims(token);
    let ada = server.person("ada");
    for (name, expected) in [
        ("aud", json!(MAIL_AUDIENCE)),
        ("iss", json!(server.issuer())),
        ("oid", json!(ada.oid)),
        ("tid", json!(TENANT)),
        ("azp", json!(GATEWAY)),
        ("azpacr", json!("1")),
        ("scp", json!("Mail.Read User.Read")),
        ("name", json!(ada.name)),
        ("preferred_username", json!(ada.user_name)),
        ("ver", json!("2.0")),
    ] {
        assert_eq!(claims[name], expected, "{name}");
    }
    assert_ne!(claims["sub"], json!(ada.oid));
    assert_eq!(server.last_issued().as_deref(), Some(token));
    assert_eq!(server.issued().len(), 1);
    let exchanges = server.exchanges();
    assert_eq!(exchanges[0].grant, GrantKind::OnBehalfOf);
    assert_eq!(exchanges[0].parameter("scope"), Some(MAIL_READ));
    assert_eq!(exchanges[0].status, Some(StatusCode::OK));
    assert_eq!(exchanges[0].error, None);
}

#[tokio::test]
async fn two_people_get_two_subjects_and_one_person_keeps_hers() {
    let server = start().await;
    let mut subjects = Vec::new();
    for who in ["ada", "bob", "ada"] {
        let answer = TestForm::on_behalf_of(&server, who, MAIL_READ).granted(&server).await;
        subjects.push(claims(answer["access_token"].as_str().expect("text"))["sub"].clone());
    }
    assert_ne!(subjects[0], subjects[1]);
    assert_eq!(subjects[0], subjects[2]);
}

#[tokio::test]
async fn basic_authentication_is_decoded_twice() {
    let server = start_with(|settings| settings.gateway.secret = "a+b%c:d &=e".to_owned()).await;
    let form =
        TestForm::on_behalf_of(&server, "ada", MAIL_READ).without("client_id").without("client_secret");
    let encoded: String = url::form_urlencoded::byte_serialize(b"a+b%c:d &=e").collect();
    let request = client().post(server.token_endpoint()).basic_auth(GATEWAY, Some(encoded)).form(&form.0);
    let response = request.send().await.expect("the server answers");
    assert_eq!(response.status(), 200);
    let wrong = client().post(server.token_endpoint()).basic_auth(GATEWAY, Some("a+b")).form(&form.0);
    assert_eq!(wrong.send().await.expect("the server answers").status(), 401);
}

#[tokio::test]
async fn each_fault_has_its_code_its_error_and_the_body_that_entra_writes() {
    let server = start().await;
    let good = || TestForm::on_behalf_of(&server, "ada", MAIL_READ);
    let assertion = |token: TokenBuilder| good().with("assertion", &token.mint());
    let ada = || server.subject_token("ada");
    let both = format!("{MAIL_READ} api://obo-gateway/access_as_user");

    check_fault(&server, good().with("scope", MAIL_SEND), 400, "invalid_grant", 65001).await;
    check_fault(&server, assertion(ada().signed_by_a_stranger()), 400, "invalid_grant", 50013).await;
    check_fault(&server, assertion(ada().unsigned()), 400, "invalid_grant", 50013).await;
    check_fault(&server, assertion(ada().signed_with_the_public_key()), 400, "invalid_grant", 50013).await;
    check_fault(&server, assertion(ada().header("kid", "none")), 400, "invalid_grant", 50013).await;
    check_fault(&server, assertion(ada().claim("iss", "https://else.test")), 400, "invalid_grant", 50013)
        .await;
    check_fault(&server, good().with("assertion", "junk"), 400, "invalid_grant", 50013).await;
    check_fault(&server, assertion(ada().audience("api://other")), 400, "invalid_grant", 500_131).await;
    check_fault(&server, assertion(ada().expired()), 400, "invalid_grant", 500_133).await;
    check_fault(&server, assertion(ada().not_yet_valid()), 400, "invalid_grant", 500_133).await;
    let id_token = server.id_token("ada");
    check_fault(&server, good().with("assertion", &id_token), 400, "invalid_grant", 240_002).await;
    check_fault(&server, assertion(ada().app_only()), 400, "unauthorized_client", 7_000_114).await;
    check_fault(&server, assertion(ada().claim("oid", "nobody")), 400, "invalid_grant", 50034).await;
    check_fault(&server, good().with("client_secret", "guess"), 401, "invalid_client", 7_000_215).await;
    check_fault(&server, good().without("client_secret"), 401, "invalid_client", 7_000_218).await;
    check_fault(&server, good().with("client_id", "stranger"), 400, "unauthorized_client", 700_016).await;
    check_fault(&server, good().with("client_id", "demo-agent"), 401, "invalid_client", 700_025).await;
    let no_proof = good().with("client_id", "demo-agent").without("client_secret");
    check_fault(&server, no_proof, 401, "invalid_client", 7_000_218).await;
    check_fault(&server, good().with("scope", "openid"), 400, "invalid_scope", 70011).await;
    let unheard = "https://graph.demo.test/Mail.Burn";
    check_fault(&server, good().with("scope", unheard), 400, "invalid_scope", 70011).await;
    check_fault(&server, good().with("scope", &both), 400, "invalid_request", 700_022).await;
    check_fault(&server, good().with("scope", "https://x.test/A"), 400, "invalid_resource", 500_011).await;
    check_fault(&server, good().without("scope"), 400, "invalid_request", 900_144).await;
    check_fault(&server, good().without("assertion"), 400, "invalid_request", 900_144).await;
    check_fault(&server, good().without("requested_token_use"), 400, "invalid_request", 900_144).await;
    check_fault(&server, good().and("resource", MAIL_AUDIENCE), 400, "invalid_request", 901_002).await;
    check_fault(&server, good().and("claims", "{"), 400, "invalid_request", 9_002_313).await;
    check_fault(&server, good().with("grant_type", "password"), 400, "unsupported_grant_type", 70003).await;

    assert!(server.issued().is_empty(), "a refusal issues nothing");
}

#[track_caller]
fn check_entra_body(body: &Value, error: &str, code: u32) {
    let text = body["error_description"].as_str().expect("a description is text");
    assert_eq!(body["error"], error, "{text}");
    assert_eq!(body["error_codes"], json!([code]), "{text}");
    assert!(text.starts_with(&format!("AADSTS{code}: ")), "{text}");
    let trace =
        format!("Trace ID: {} Correlation ID: {} Timestamp: ", body["trace_id"], body["correlation_id"])
            .replace('"', "");
    assert!(text.contains(&trace), "{text} does not contain {trace}");
    assert!(body["timestamp"].as_str().is_some_and(|timestamp| timestamp.ends_with('Z')));
    assert!(body["error_uri"].as_str().is_some_and(|uri| uri.ends_with(&format!("error?code={code}"))));
}

async fn check_fault(server: &AuthorizationServer, form: TestForm, status: u16, error: &str, code: u32) {
    let (answered, body) = form.refused(server).await;
    check_entra_body(&body, error, code);
    assert_eq!(answered, status, "{code}");
    let suberror = match code {
        65001 => json!("consent_required"),
        50076 => json!("basic_action"),
        50013 => json!("bad_token"),
        500_133 => json!("token_expired"),
        _ => Value::Null,
    };
    assert_eq!(body["suberror"], suberror, "{code}");
    assert_eq!(body["claims"].is_string(), code == 50076, "{code}");
}

#[tokio::test]
async fn a_tenant_that_is_not_here_is_not_found() {
    let server = start().await;
    let elsewhere = server.token_endpoint().replace(TENANT, "00000000-0000-4000-8000-000000000000");
    let form = TestForm::on_behalf_of(&server, "ada", MAIL_READ);
    let response = client().post(elsewhere).form(&form.0).send().await.expect("the server answers");
    assert_eq!(response.status(), 400);
    check_entra_body(&json(response).await, "invalid_request", 90002);
    assert!(server.exchanges().is_empty());
}

#[tokio::test]
async fn the_callers_own_correlation_id_comes_back() {
    let server = start().await;
    let form = TestForm::on_behalf_of(&server, "ada", MAIL_SEND);
    let id = "0d6c2f0e-2a41-4f4c-9a53-53a1d6d3a111";
    let request = client().post(server.token_endpoint()).header("client-request-id", id).form(&form.0);
    let response = request.send().await.expect("the server answers");
    assert_eq!(header(&response, "client-request-id"), id);
    assert_eq!(json(response).await["correlation_id"], id);
}

#[tokio::test]
async fn a_parameter_given_twice_is_refused() {
    let server = start().await;
    let form = TestForm::on_behalf_of(&server, "ada", MAIL_READ).and("scope", MAIL_SEND);
    let (status, body) = form.refused(&server).await;
    assert_eq!((status, &body["error"]), (400, &json!("invalid_request")));
    assert!(server.issued().is_empty());
}

#[tokio::test]
async fn default_means_whatever_is_consented_and_nothing_is_too_little() {
    let server = start().await;
    let form = TestForm::on_behalf_of(&server, "bob", "https://graph.demo.test/.default");
    assert_eq!(
        claims(form.granted(&server).await["access_token"].as_str().expect("text"))["scp"],
        "Mail.Read User.Read"
    );
    for scope in ["Mail.Read", "User.Read"] {
        server.withdraw_consent("bob", MAIL_AUDIENCE, scope);
    }
    check_fault(&server, form, 400, "invalid_grant", 65001).await;
    server.grant_consent("bob", MAIL_AUDIENCE, "Mail.Send");
    let form = TestForm::on_behalf_of(&server, "bob", MAIL_SEND);
    assert_eq!(form.granted(&server).await["scope"], MAIL_SEND);
}

#[tokio::test]
async fn a_step_up_is_a_claims_challenge_until_the_assertion_has_it() {
    let server = start().await;
    server.require_step_up("ada", "c1");
    let form = TestForm::on_behalf_of(&server, "ada", MAIL_READ);
    let (status, body) = form.refused(&server).await;
    assert_eq!(status, 400);
    check_entra_body(&body, "invalid_grant", 50076);
    assert_eq!(body["suberror"], "basic_action");
    let challenge = body["claims"].as_str().expect("claims is a text that holds JSON").to_owned();
    assert_eq!(challenge, r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#);

    let stepped_up = server.subject_token("ada").claim("acrs", json!(["c1"])).mint();
    let answer = form.clone().with("assertion", &stepped_up).granted(&server).await;
    assert!(answer["access_token"].is_string());

    // The same demand, made by the resource and carried in the request.
    server.allow_exchanges("ada");
    let demanding = form.with("claims", &challenge);
    check_fault(&server, demanding.clone(), 400, "invalid_grant", 50076).await;
    let answer = demanding.with("assertion", &stepped_up).granted(&server).await;
    assert_eq!(claims(answer["access_token"].as_str().expect("text"))["acrs"], json!(["c1"]));
}

#[tokio::test]
async fn a_person_can_be_refused_for_any_reason_and_let_in_again() {
    let server = start().await;
    server.refuse_exchanges("bob", Fault::not_assigned("bob.okafor@demo.test", MAIL_AUDIENCE));
    check_fault(&server, TestForm::on_behalf_of(&server, "bob", MAIL_READ), 400, "invalid_grant", 50105)
        .await;
    TestForm::on_behalf_of(&server, "ada", MAIL_READ).granted(&server).await;
    server.refuse_exchanges("bob", Fault::transient());
    let form = TestForm::on_behalf_of(&server, "bob", MAIL_READ);
    check_fault(&server, form.clone(), 503, "temporarily_unavailable", 90033).await;
    server.allow_exchanges("bob");
    form.granted(&server).await;
}

#[tokio::test]
async fn capabilities_asked_for_are_in_the_token() {
    let server = start().await;
    let form = TestForm::on_behalf_of(&server, "ada", MAIL_READ)
        .and("claims", r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#);
    let answer = form.granted(&server).await;
    assert_eq!(claims(answer["access_token"].as_str().expect("text"))["xms_cc"], json!(["cp1"]));
}

#[tokio::test]
async fn a_certificate_proves_the_client_by_either_algorithm_and_thumbprint() {
    let proof = CertificateProof::new();
    let server = proof.server(|_| {}).await;
    let ps256 = proof.assertion(&server, |_, _| {});
    let answer = proof.form(&server, &ps256).granted(&server).await;
    assert_eq!(claims(answer["access_token"].as_str().expect("text"))["azpacr"], "2");
    let rs256 = proof.sign(&server, Algorithm::Rs256, |header, _| {
        header["x5t"] = json!(jws::sha1_base64url(&proof.certificate));
        header.as_object_mut().expect("an object").remove("x5t#S256");
    });
    proof.form(&server, &rs256).without("client_id").granted(&server).await;
}

#[tokio::test]
async fn a_client_assertion_may_be_written_as_msal_for_python_writes_it() {
    let proof = CertificateProof::new();
    let server = proof.server(|_| {}).await;
    let now = clock::now();
    let as_msal_does = |exp: f64| {
        proof.sign(&server, Algorithm::Ps256, move |header, claims| {
            let thumbprint = header["x5t#S256"].as_str().expect("a thumbprint").to_owned();
            header["x5t#S256"] = json!(thumbprint + "=");
            claims["exp"] = json!(exp);
            claims["iat"] = json!(now as f64 + 0.25);
            claims.as_object_mut().expect("an object").remove("nbf");
        })
    };
    proof.form(&server, &as_msal_does(now as f64 + 599.75)).granted(&server).await;
    let expired = proof.form(&server, &as_msal_does(now as f64 - 120.5));
    check_fault(&server, expired, 401, "invalid_client", 700_024).await;
}

#[tokio::test]
async fn a_client_assertion_must_be_right_in_every_part() {
    let proof = CertificateProof::new();
    let server = proof.server(|_| {}).await;
    let now = clock::now();
    let check = async |code, change: &dyn Fn(&mut Value, &mut Value)| {
        let assertion = proof.assertion(&server, change);
        check_fault(&server, proof.form(&server, &assertion), 401, "invalid_client", code).await;
    };
    check(700_021, &|_, claims| claims["iss"] = json!("another")).await;
    check(700_021, &|_, claims| claims["sub"] = json!("another")).await;
    check(700_027, &|_, claims| claims["aud"] = json!("https://login.test/token")).await;
    check(700_027, &|_, claims| claims["jti"] = Value::Null).await;
    check(700_024, &|_, claims| claims["exp"] = json!(now - 120)).await;
    check(700_024, &|_, claims| claims["exp"] = json!(now + 3_600)).await;
    check(700_024, &|_, claims| claims["nbf"] = json!(now + 300)).await;
    check(700_024, &|_, claims| claims["exp"] = Value::Null).await;
    check(700_027, &|header, _| header["x5t#S256"] = json!(jws::sha256_base64url(b"other"))).await;
    check(700_027, &|header, _| header["alg"] = json!("RS256")).await;
    check(700_027, &|header, _| header["alg"] = json!("none")).await;
    let stranger = CertificateProof { key: SigningKey::strange_rsa("x"), ..CertificateProof::new() };
    let forged = CertificateProof { certificate: proof.certificate.clone(), ..stranger };
    let assertion = forged.assertion(&server, |_, _| {});
    check_fault(&server, proof.form(&server, &assertion), 401, "invalid_client", 700_027).await;
    let untyped = proof.form(&server, &proof.assertion(&server, |_, _| {})).without("client_assertion_type");
    check_fault(&server, untyped, 400, "invalid_request", 900_144).await;
    let two_ways = proof.form(&server, &proof.assertion(&server, |_, _| {})).and("client_secret", "x");
    assert_eq!(two_ways.refused(&server).await.1["error"], "invalid_request");
}

#[tokio::test]
async fn a_client_assertion_works_once_unless_the_server_is_told_otherwise() {
    let proof = CertificateProof::new();
    let strict = proof.server(|_| {}).await;
    let form = proof.form(&strict, &proof.assertion(&strict, |_, _| {}));
    form.granted(&strict).await;
    check_fault(&strict, form, 401, "invalid_client", 700_027).await;
    let lenient = proof.server(|settings| settings.single_use_assertions = false).await;
    let form = proof.form(&lenient, &proof.assertion(&lenient, |_, _| {}));
    form.granted(&lenient).await;
    form.granted(&lenient).await;
}

/// A registered certificate and the key to it.
struct CertificateProof {
    key: SigningKey,
    certificate: Vec<u8>,
}

impl CertificateProof {
    fn new() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("an RSA key");
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().expect("an encoded key");
        let pkcs8 = pkcs8.as_ref().to_vec();
        let key = SigningKey::from_rsa_pkcs8("unused", &pkcs8).expect("an RSA key");
        let pkcs8 = rustls::pki_types::PrivatePkcs8KeyDer::from(pkcs8);
        let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &rcgen::PKCS_RSA_SHA256);
        let parameters = rcgen::CertificateParams::new(vec!["gateway.test".to_owned()]).expect("a name");
        let certificate = parameters.self_signed(&pair.expect("an RSA key")).expect("a certificate");
        Self { key, certificate: certificate.der().to_vec() }
    }

    async fn server(&self, change: impl FnOnce(&mut Settings)) -> AuthorizationServer {
        start_with(|settings| {
            settings.gateway.certificates.push(self.certificate.clone());
            change(settings);
        })
        .await
    }

    fn assertion(&self, server: &AuthorizationServer, change: impl Fn(&mut Value, &mut Value)) -> String {
        self.sign(server, Algorithm::Ps256, change)
    }

    fn sign(
        &self,
        server: &AuthorizationServer,
        algorithm: Algorithm,
        change: impl Fn(&mut Value, &mut Value),
    ) -> String {
        let now = clock::now();
        let thumbprint = jws::sha256_base64url(&self.certificate);
        let mut header = json!({ "alg": algorithm.name(), "typ": "JWT", "x5t#S256": thumbprint });
        let mut claims = json!({
            "iss": GATEWAY, "sub": GATEWAY, "aud": server.token_endpoint(), "jti": random::guid(),
            "iat": now, "nbf": now, "exp": now + 600,
        });
        change(&mut header, &mut claims);
        self.key.sign(algorithm, &header.to_string(), &claims.to_string())
    }

    fn form(&self, server: &AuthorizationServer, assertion: &str) -> TestForm {
        TestForm::on_behalf_of(server, "ada", MAIL_READ)
            .without("client_secret")
            .and("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            .and("client_assertion", assertion)
    }
}
