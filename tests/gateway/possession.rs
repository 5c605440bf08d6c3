//! Tokens that are bound to a key: good with the proof that goes with them, and worth nothing without.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use obo_gateway::demo::certificates::{DevelopmentCertificates, KeyedCertificate};
use obo_gateway::demo::jws::{Algorithm, SigningKey, sha256_base64url};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::bed::{Setup, TOOLS, TestBed, assert_refused, client, refusal};

const PUBLIC_URL: &str = "https://gateway.example";
const PATH: &str = "/mail/me/messages";

/// An agent with a key of its own, and Ada's token that is bound to it.
struct Agent {
    key: SigningKey,
    token: String,
}

impl Agent {
    fn new(bed: &TestBed) -> Self {
        let key = SigningKey::p256("agent");
        let jwk = key.jwk();
        // RFC 7638 section 3: the required members in order.
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]);
        let bound = json!({ "jkt": sha256_base64url(canonical.as_bytes()) });
        let token = bed.authorization_server.subject_token("ada").claim("cnf", bound).mint();
        Self { key, token }
    }

    /// The claims of a good proof for a GET of [`PATH`].
    fn claims(&self) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        json!({
            "jti": format!("proof-{id}"), "htm": "GET", "htu": format!("{PUBLIC_URL}{PATH}"), "iat": now,
            "ath": sha256_base64url(self.token.as_bytes()),
        })
    }

    fn proof(&self, claims: &Value) -> String {
        let jwk = self.key.jwk();
        let public = json!({ "kty": jwk["kty"], "crv": jwk["crv"], "x": jwk["x"], "y": jwk["y"] });
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": public });
        self.key.sign(Algorithm::Es256, &header.to_string(), &claims.to_string())
    }
}

async fn bed(settings: &'static str) -> TestBed {
    Setup::default()
        .config(move |parts| format!("{settings}\n{}", parts.whole(&parts.issuer(), &parts.mail(TOOLS))))
        .start()
        .await
}

async fn call(bed: &TestBed, scheme: &str, token: &str, proof: &str) -> Response {
    let request = bed.request(Method::GET, PATH).header("Authorization", format!("{scheme} {token}"));
    request.header("DPoP", proof).send().await.expect("an answer")
}

fn challenge(response: &Response) -> String {
    response.headers()["www-authenticate"].to_str().expect("text").to_owned()
}

#[tokio::test]
async fn a_token_bound_to_a_key_is_good_with_a_proof_and_the_proof_goes_no_further() {
    let bed = bed("public_url: https://gateway.example").await;
    let agent = Agent::new(&bed);
    for _ in 0..2 {
        let reply = call(&bed, "DPoP", &agent.token, &agent.proof(&agent.claims())).await;
        assert_eq!(reply.status(), 200);
        assert!(!reply.headers().contains_key("dpop-nonce"), "none was asked for");
    }
    assert_eq!(bed.exchanges(), 1, "a fresh proof is no fresh identity");
    for record in bed.records().await {
        assert_eq!(record.pointer("/unmapped/obo/proofs"), Some(&json!(["dpop"])), "{record:#}");
    }
    for request in bed.connector.requests() {
        assert!(!request.headers.contains_key("dpop"), "{:?}", request.headers);
        assert!(request.bearer().is_some_and(|token| token != agent.token));
    }
}

#[tokio::test]
async fn a_bound_token_without_its_proof_is_worth_nothing() {
    let bed = bed("public_url: https://gateway.example").await;
    let (agent, thief) = (Agent::new(&bed), Agent::new(&bed));
    let good = agent.claims();
    let with = |name: &str, value: Value| {
        let mut claims = agent.claims();
        claims[name] = value;
        agent.proof(&claims)
    };
    let proof = agent.proof(&good);
    let plain = bed.token("ada");
    for (scheme, token, proof, code, error) in [
        ("Bearer", &agent.token, proof.clone(), "token_bound", "invalid_token"),
        ("DPoP", &plain, proof.clone(), "token_not_bound", "invalid_token"),
        ("DPoP", &agent.token, thief.proof(&good), "dpop_proof_invalid", "invalid_dpop_proof"),
        ("DPoP", &agent.token, with("htm", json!("POST")), "dpop_proof_invalid", "invalid_dpop_proof"),
        (
            "DPoP",
            &agent.token,
            with("htu", json!("https://other.example/mail/me/messages")),
            "dpop_proof_invalid",
            "invalid_dpop_proof",
        ),
        (
            "DPoP",
            &agent.token,
            with("ath", json!(sha256_base64url(plain.as_bytes()))),
            "dpop_proof_invalid",
            "invalid_dpop_proof",
        ),
        ("DPoP", &agent.token, with("iat", json!(1)), "dpop_proof_invalid", "invalid_dpop_proof"),
        ("DPoP", &agent.token, "x".to_owned(), "dpop_proof_invalid", "invalid_dpop_proof"),
    ] {
        let reply = call(&bed, scheme, token, &proof).await;
        let challenge = challenge(&reply);
        assert_refused(&refusal(reply).await, 401, code);
        assert!(
            challenge.starts_with("DPoP ") && challenge.contains(&format!(r#"error="{error}""#)),
            "{challenge}"
        );
        assert!(challenge.contains("ES256"), "{challenge}");
    }
    let bare = bed.request(Method::GET, PATH).header("Authorization", format!("DPoP {}", agent.token));
    assert_refused(&refusal(bare.send().await.expect("an answer")).await, 401, "dpop_proof_invalid");
    assert_eq!((bed.exchanges(), bed.connector.requests().len()), (0, 0));
    // The proof itself was good all along, once.
    assert_eq!(call(&bed, "DPoP", &agent.token, &proof).await.status(), 200);
    let again = refusal(call(&bed, "DPoP", &agent.token, &proof).await).await;
    assert_refused(&again, 401, "dpop_proof_replayed");
    // A reload forgets no proof.
    bed.gateway.reload().await.expect("a good configuration");
    let again = refusal(call(&bed, "DPoP", &agent.token, &proof).await).await;
    assert_refused(&again, 401, "dpop_proof_replayed");
}

#[tokio::test]
async fn an_agent_gets_the_nonce_that_its_proofs_need() {
    let bed = bed("public_url: https://gateway.example\nrequire_dpop_nonce: true").await;
    let agent = Agent::new(&bed);
    let reply = call(&bed, "DPoP", &agent.token, &agent.proof(&agent.claims())).await;
    let nonce = reply.headers()["dpop-nonce"].to_str().expect("text").to_owned();
    assert!(challenge(&reply).contains(r#"error="use_dpop_nonce""#), "{}", challenge(&reply));
    assert_refused(&refusal(reply).await, 401, "dpop_nonce_required");
    let mut claims = agent.claims();
    claims["nonce"] = json!(nonce);
    let reply = call(&bed, "DPoP", &agent.token, &agent.proof(&claims)).await;
    assert_eq!(reply.status(), 200);
    assert!(reply.headers().contains_key("dpop-nonce"), "the next one comes along");
}

#[tokio::test]
async fn without_an_address_to_check_proofs_against_none_is_taken() {
    let bed = bed("").await;
    let agent = Agent::new(&bed);
    let refused = refusal(call(&bed, "DPoP", &agent.token, &agent.proof(&agent.claims())).await).await;
    assert_refused(&refused, 401, "token_bound");
    assert!(
        refused.2["detail"].as_str().is_some_and(|detail| detail.contains("public_url")),
        "{:#}",
        refused.2
    );
}

/// A gateway that asks for client certificates, and certificates to show.
async fn bed_with_tls(clients: &'static str) -> (TestBed, DevelopmentCertificates, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let certificates = DevelopmentCertificates::ensure(folder.path()).expect("certificates");
    let made = certificates.clone();
    let bed = Setup::default()
        .config(move |parts| {
            let (own, authority) = (&made.server, made.authority_path.display().to_string());
            format!(
                "tls: {{ certificate: {}, key: {}, {} }}\n{}",
                own.certificate_path.display(),
                own.key_path.display(),
                clients.replace("AUTHORITY", &authority),
                parts.whole(&parts.issuer(), &parts.mail(TOOLS))
            )
        })
        .start()
        .await;
    (bed, certificates, folder)
}

fn tls_client(certificates: &DevelopmentCertificates, shown: Option<&KeyedCertificate>) -> Client {
    let authority = std::fs::read(&certificates.authority_path).expect("an authority");
    let root = reqwest::Certificate::from_pem(&authority).expect("a certificate");
    let builder = Client::builder().no_proxy().tls_certs_merge([root]);
    let builder = match shown {
        None => builder,
        Some(shown) => {
            let mut pem = std::fs::read(&shown.certificate_path).expect("a certificate");
            pem.extend(std::fs::read(&shown.key_path).expect("a key"));
            builder.identity(reqwest::Identity::from_pem(&pem).expect("an identity"))
        }
    };
    builder.build().expect("a client")
}

#[tokio::test]
async fn a_token_bound_to_a_certificate_is_good_on_its_connections() {
    for clients in
        ["client_certificates: optional", "client_certificates: optional, client_ca_file: AUTHORITY"]
    {
        let (bed, certificates, _folder) = bed_with_tls(clients).await;
        let bound = |certificate: &[u8]| {
            let cnf = json!({ "x5t#S256": sha256_base64url(certificate) });
            bed.authorization_server.subject_token("ada").claim("cnf", cnf).mint()
        };
        let (own, others) = (bound(&certificates.client.certificate), bound(b"another certificate"));
        let url = format!("https://localhost:{}{PATH}", bed.gateway.agent_address().port());
        let get = async |client: &Client, token: &str| {
            client.get(&url).bearer_auth(token).send().await.expect("an answer")
        };
        let agent = tls_client(&certificates, Some(&certificates.client));
        assert_eq!(get(&agent, &own).await.status(), 200);
        assert_refused(&refusal(get(&agent, &others).await).await, 401, "certificate_mismatch");
        let thief = tls_client(&certificates, None);
        assert_refused(&refusal(get(&thief, &own).await).await, 401, "token_bound");
        assert_eq!(get(&thief, &bed.token("ada")).await.status(), 200, "who has no certificate is served");
        assert_eq!(bed.connector.requests().len(), 2);
    }
}

#[tokio::test]
async fn who_has_no_certificate_is_not_served_where_one_is_required() {
    let (bed, certificates, _folder) = bed_with_tls("client_certificates: required").await;
    let url = format!("https://localhost:{}{PATH}", bed.gateway.agent_address().port());
    let stranger = tls_client(&certificates, None).get(&url).bearer_auth(bed.token("ada")).send().await;
    assert!(stranger.is_err(), "{stranger:?}");
    let agent = tls_client(&certificates, Some(&certificates.client));
    let reply = agent.get(&url).bearer_auth(bed.token("ada")).send().await.expect("an answer");
    assert_eq!(reply.status(), 200);
}

#[tokio::test]
async fn a_bound_token_on_a_plain_connection_is_refused() {
    let bed = TestBed::start().await;
    let cnf = json!({ "x5t#S256": sha256_base64url(b"some certificate") });
    let token = bed.authorization_server.subject_token("ada").claim("cnf", cnf).mint();
    let reply = client().get(bed.url(PATH)).bearer_auth(&token).header("Client-Cert", ":c29tZQ==:").send();
    assert_refused(&refusal(reply.await.expect("an answer")).await, 401, "token_bound");
}
