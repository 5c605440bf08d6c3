//! Opaque tokens: the authorization server says what they mean (RFC 7662).
//!
//! It is asked once for each token at a time, by a bounded number of calls, and its word holds for a short time: never
//! beyond the token's own end, and never as long as a signature would.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::authorization_server::AuthorizationServer;
use super::claims;
use super::verifier::{Remembered, Validity, VerifyError};
use crate::clock::Now;
use crate::digest::sha256;
use crate::flight::Flights;
use crate::identity::SecretToken;
use crate::strict_json;

/// How long the server's word holds. Someone whose token is revoked keeps access until then.
const ACTIVE_FOR: Duration = Duration::from_secs(30);
/// How long a token is not asked about again that the server did not know, or that may not be used here.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// Most refused tokens that are remembered.
const REFUSED_MAX: u64 = 10_000;
/// Most questions at a time. Whoever makes up tokens must not be able to make up load.
const CONCURRENT_MAX: usize = 32;
/// Longest wait for a turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks one authorization server what opaque tokens mean.
pub struct Introspector {
    server: Arc<AuthorizationServer>,
    flights: Flights<[u8; 32], Result<Arc<Remembered>, VerifyError>>,
    refused: moka::sync::Cache<[u8; 32], VerifyError>,
    turns: Arc<Semaphore>,
}

impl Introspector {
    /// For the opaque tokens of this server.
    pub fn new(server: Arc<AuthorizationServer>) -> Self {
        let refused =
            moka::sync::Cache::builder().max_capacity(REFUSED_MAX).time_to_live(REFUSED_FOR).build();
        Self { server, flights: Flights::default(), refused, turns: Arc::new(Semaphore::new(CONCURRENT_MAX)) }
    }

    /// Finds out what `token` means.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] says why it is refused.
    pub async fn introspect(&self, token: &str, now: Now) -> Result<Arc<Remembered>, VerifyError> {
        let digest = sha256(token.as_bytes());
        if let Some(error) = self.refused.get(&digest) {
            return Err(error);
        }
        let start = || {
            let (server, refused) = (Arc::clone(&self.server), self.refused.clone());
            let (turns, token) = (Arc::clone(&self.turns), SecretToken::new(token));
            async move {
                let result = ask(&server, &turns, token, now).await;
                match &result {
                    Ok(_) | Err(VerifyError::IntrospectionFailed { .. }) => {}
                    Err(error) => refused.insert(digest, error.clone()),
                }
                result
            }
        };
        let lost = |_| self.failed("the answer got lost");
        self.flights.join(digest, || None, start).await.map_err(lost)?
    }

    fn failed(&self, why: &'static str) -> VerifyError {
        VerifyError::IntrospectionFailed { issuer: self.server.settings().name.clone(), why }
    }
}

async fn ask(
    server: &Arc<AuthorizationServer>,
    turns: &Semaphore,
    token: SecretToken,
    now: Now,
) -> Result<Arc<Remembered>, VerifyError> {
    let failed = |why| VerifyError::IntrospectionFailed { issuer: server.settings().name.clone(), why };
    let _turn = tokio::time::timeout(TURN_TIMEOUT, turns.acquire())
        .await
        .map_err(|_| failed("too many tokens are being asked about"))?
        .expect("nobody closes it");
    let answer = server.introspect(&token, now).await.map_err(failed)?;
    if answer.status != StatusCode::OK {
        return Err(failed("it answered with an error"));
    }
    let members =
        strict_json::parse_object(&answer.body).map_err(|_| failed("its answer is no JSON object"))?;
    match members.get("active") {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Err(VerifyError::Inactive),
        _ => return Err(failed("its answer does not say whether the token is active")),
    }
    let verified = claims::check(&completed(members, server, now), server.settings(), now)?;
    let validity = Validity::until(verified.expires_at, ACTIVE_FOR, None, now);
    Ok(Arc::new(Remembered::new(verified, token, Arc::clone(server), validity)))
}

/// RFC 7662 section 2.2 requires nothing but `active`. Who answers is who was asked; an end that is not named is near.
fn completed(mut members: Map<String, Value>, server: &AuthorizationServer, now: Now) -> Map<String, Value> {
    members.entry("iss").or_insert_with(|| server.settings().issuer.as_str().into());
    members.entry("exp").or_insert_with(|| (now.latest_unix_seconds() + ACTIVE_FOR.as_secs()).into());
    members
}
