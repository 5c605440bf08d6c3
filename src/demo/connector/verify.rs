//! A connector's own check of the token it is sent, by keys it fetched itself.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::sync::Mutex;

use super::record::Caller;
use crate::demo::clock;
use crate::demo::jws::{Algorithm, Jws, PublicKey};

/// Largest key set read.
const KEY_SET_BYTES_MAX: usize = 262_144;

/// Longest wait for a key set.
const KEY_SET_TIMEOUT: Duration = Duration::from_secs(5);

/// Seconds by which two clocks may differ.
const SKEW_SECONDS: i64 = 60;

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::demo) enum TokenFault {
    Malformed,
    BadSignature,
    OtherIssuer,
    OtherAudience,
    OutOfTime,
    NoPermissions,
    KeysUnavailable,
}

/// Checks tokens for one audience of one issuer.
pub(in crate::demo) struct Verifier {
    issuer: String,
    audience: String,
    jwks_uri: Uri,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    keys: Mutex<HashMap<String, PublicKey>>,
}

impl Verifier {
    pub(in crate::demo) fn new(
        issuer: String,
        audience: String,
        jwks_uri: Uri,
        roots: RootCertStore,
    ) -> Result<Self, rustls::Error> {
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { issuer, audience, jwks_uri, client, keys: Mutex::default() })
    }

    /// Who a token speaks for, if everything about it is right.
    pub(in crate::demo) async fn verify(&self, token: &str) -> Result<Caller, TokenFault> {
        let jws = Jws::parse(token).ok_or(TokenFault::Malformed)?;
        let algorithm = jws
            .header("alg")
            .and_then(Algorithm::named)
            .filter(|algorithm| *algorithm != Algorithm::Ps256)
            .ok_or(TokenFault::Malformed)?;
        let kid = jws.header("kid").ok_or(TokenFault::Malformed)?;
        if jws.header.contains_key("crit") {
            return Err(TokenFault::Malformed);
        }
        if !self.key(kid).await?.verifies(algorithm, &jws) {
            return Err(TokenFault::BadSignature);
        }
        if jws.text("iss") != Some(self.issuer.as_str()) {
            return Err(TokenFault::OtherIssuer);
        }
        if !jws.is_for(&self.audience) {
            return Err(TokenFault::OtherAudience);
        }
        let now = clock::now();
        let expires = jws.number("exp").ok_or(TokenFault::Malformed)?;
        let begins = jws.number("nbf").unwrap_or(now);
        if expires <= now - SKEW_SECONDS || begins > now + SKEW_SECONDS {
            return Err(TokenFault::OutOfTime);
        }
        // Entra says so; elsewhere the client is its own subject (RFC 9068 section 2.2).
        let is_entra_application = jws.text("idtyp") == Some("app");
        let is_application =
            is_entra_application || jws.text("sub").is_some_and(|sub| jws.text("client_id") == Some(sub));
        let permissions = if is_entra_application { jws.list("roles") } else { jws.scopes() };
        let permissions: Vec<String> = permissions.into_iter().map(str::to_owned).collect();
        if permissions.is_empty() {
            return Err(TokenFault::NoPermissions);
        }
        let person = if is_application { None } else { jws.text("oid").or_else(|| jws.text("sub")) };
        let client_id = jws.text("azp").or_else(|| jws.text("client_id"));
        Ok(Caller { person: person.map(str::to_owned), client_id: client_id.map(str::to_owned), permissions })
    }

    /// The key of this id, fetched if we do not have it.
    async fn key(&self, kid: &str) -> Result<PublicKey, TokenFault> {
        let mut keys = self.keys.lock().await;
        if !keys.contains_key(kid) {
            let fetched = tokio::time::timeout(KEY_SET_TIMEOUT, self.fetch()).await.ok().flatten();
            *keys = fetched.ok_or(TokenFault::KeysUnavailable)?;
        }
        keys.get(kid).cloned().ok_or(TokenFault::BadSignature)
    }

    async fn fetch(&self) -> Option<HashMap<String, PublicKey>> {
        let response = self.client.get(self.jwks_uri.clone()).await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        let body = Limited::new(response.into_body(), KEY_SET_BYTES_MAX).collect().await.ok()?.to_bytes();
        let set: Value = serde_json::from_slice(&body).ok()?;
        let keys = set.get("keys")?.as_array()?;
        let named = |key: &Value| Some((key.get("kid")?.as_str()?.to_owned(), PublicKey::from_jwk(key)?));
        Some(keys.iter().filter_map(named).collect())
    }
}
