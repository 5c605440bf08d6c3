//! A token becomes a caller: signature, then claims, each checked in full.
//!
//! A token that has passed is remembered (`remembered.rs`), together with what was learned from it, until it expires or its issuer's keys
//! change; it is known again only by all of its bytes.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::Profile;
use super::authorization_server::{AuthorizationServer, AuthorizationServers};
use super::claims::{self, CLOCK_SKEW_SECONDS, ClaimsError};
use super::dpop::ProofChecker;
use super::introspection::Introspector;
use super::jws::{Jws, JwsError, OtherToken, TOKEN_BYTES_MAX};
use super::keys::Keys;
use super::possession::{self, PossessionError, Presented, read_token};
use crate::clock::Now;
use crate::digest::sha256;
use crate::identity::{Actor, Caller, Issuer, IssuerName, Person, SecretToken, VerifiedClaims};

/// Most agents' tokens that are remembered. Agents are programs; there are few beside the people.
const REMEMBERED_AGENTS_MAX: u64 = 4_096;
/// Longest time that an agent's token is remembered.
const REMEMBERED_AGENT_FOR_MAX: Duration = Duration::from_secs(3_600);
/// Longest time that a token is remembered, whatever its `exp` says. Issuers' longest are 28 hours.
const REMEMBERED_FOR_MAX: Duration = Duration::from_secs(24 * 3_600);

mod examination;
mod remembered;

pub use examination::{Checked, Examination, Outcome, Supposed, TokenCheck, Unchecked};
use remembered::RememberedTokens;
pub use remembered::{REMEMBERED_BYTES_MAX, Remembered, Validity};

/// Why a token is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VerifyError {
    /// It has not the form that any token has.
    #[error("what was sent as a token is none")]
    NotAToken,
    /// Its form or header is refused.
    #[error(transparent)]
    Form(#[from] JwsError),
    /// No issuer of the configuration has its `iss`.
    #[error("the token is from an issuer that this gateway does not know")]
    UnknownIssuer,
    /// The issuer's keys have not been fetched yet.
    #[error("the keys of {issuer} are not known yet")]
    KeysUnavailable {
        /// The issuer.
        issuer: IssuerName,
    },
    /// The issuer's key set has no such key.
    #[error("the token is signed with a key that its issuer does not list")]
    UnknownKey,
    /// The signature is not that key's, or the key is not for that algorithm or issuer.
    #[error("the token's signature is not valid")]
    Signature,
    /// The authorization server says that the token is not active: expired, revoked, or never issued.
    #[error("the token is not active")]
    Inactive,
    /// The authorization server did not say what the token means.
    #[error("{issuer} could not be asked what the token means: {why}")]
    IntrospectionFailed {
        /// The issuer.
        issuer: IssuerName,
        /// Why.
        why: &'static str,
    },
    /// The claims are refused.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// It is not proved to be its sender's.
    #[error(transparent)]
    Possession(#[from] PossessionError),
    /// The agent has not proved which one it is.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

/// Why an agent is not taken to be the one that may act for the person.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AgentError {
    /// It sent no token of its own, and has to.
    #[error("the agent sent no token of its own")]
    NoToken,
    /// Its token is refused.
    #[error("the agent's own token: {0}")]
    Token(Box<VerifyError>),
    /// The person's token is for another agent.
    #[error("the token was issued to another agent, and does not let this one act")]
    Another,
}

/// Verifies the tokens of all issuers.
pub struct Verifier {
    servers: AuthorizationServers,
    remembered: RememberedTokens,
    /// The agents' own tokens.
    agents: moka::sync::Cache<[u8; 32], Arc<RememberedAgent>>,
    /// Checks DPoP proofs; `None` where the configuration does not say for which address they are.
    proofs: Option<ProofChecker>,
    /// Where opaque tokens are from, when any are taken.
    introspector: Option<Introspector>,
}

/// What was learned from an agent's own token, and until when it holds.
struct RememberedAgent {
    actor: Actor,
    issuer: Issuer,
    token: SecretToken,
    validity: Validity,
}

impl Verifier {
    /// A verifier for these issuers, that checks DPoP proofs by `proofs` and remembers tokens of at most so many bytes.
    pub fn new(servers: AuthorizationServers, proofs: Option<ProofChecker>, bytes_max: usize) -> Self {
        let introspecting = servers.values().find(|server| server.settings().introspects);
        let introspector = introspecting.map(|server| Introspector::new(Arc::clone(server)));
        let agents = moka::sync::Cache::builder()
            .max_capacity(REMEMBERED_AGENTS_MAX)
            .time_to_live(REMEMBERED_AGENT_FOR_MAX)
            .build();
        Self { servers, remembered: RememberedTokens::new(bytes_max), agents, proofs, introspector }
    }

    /// The caller that the presented token speaks for, once it is proved to be the sender's.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] says why it is refused.
    pub async fn verify(&self, presented: &Presented<'_>, now: Now) -> Result<Arc<Caller>, VerifyError> {
        let remembered = match self.remembered.get(presented.token, now) {
            Some(remembered) => remembered,
            None => {
                // What is known to be a token needs no look at each of its characters.
                let token = read_token(presented.token).ok_or(VerifyError::NotAToken)?;
                Box::pin(self.verify_anew(token, now)).await?
            }
        };
        let caller = &remembered.caller;
        possession::check(caller.confirmation(), presented, self.proofs.as_ref(), now)?;
        let exchange = remembered.server.settings().exchange.as_ref();
        match exchange.is_some_and(|exchange| exchange.grant.wants_agents_token()) {
            true => Box::pin(self.acting(&remembered, presented.actor_token, now)).await,
            false => Ok(Arc::clone(caller)),
        }
    }

    /// The agent that sent a token of its own, without a person. Nothing is remembered of it: agents ask for lists when they
    /// start.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] says why it is refused.
    pub async fn verify_agent_alone(&self, token: &str, now: Now) -> Result<Arc<Caller>, VerifyError> {
        let jws = Jws::parse(token)?;
        let server = self.issuer_of(&jws)?;
        check_signature_with_keys_of(server, &jws, now).await?;
        let verified = claims::check_agent_alone(&jws.claims, server.settings(), now)?;
        Ok(Arc::new(Caller::verified(verified, SecretToken::new(token))))
    }

    /// The nonce for an agent's next DPoP proof, where one is needed.
    pub fn next_nonce(&self, now: Now) -> Option<String> {
        self.proofs.as_ref()?.next_nonce(now)
    }

    /// Verifies a token that is not remembered, and remembers what it says.
    async fn verify_anew(&self, token: &str, now: Now) -> Result<Arc<Remembered>, VerifyError> {
        let forgettings = self.remembered.forgettings();
        let remembered = match self.introspector.as_ref().filter(|_| is_opaque(token)) {
            Some(introspector) => introspector.introspect(token, now).await?,
            None => Arc::new(self.verify_signed(token, now).await?),
        };
        self.remembered.put(token.as_bytes(), &remembered, forgettings, now);
        Ok(remembered)
    }

    async fn verify_signed(&self, token: &str, now: Now) -> Result<Remembered, VerifyError> {
        let jws = Jws::parse(token)?;
        let server = self.issuer_of(&jws)?;
        let key_generation = check_signature_with_keys_of(server, &jws, now).await?;
        check_type(server, &jws)?;
        let verified = claims::check(&jws.claims, server.settings(), now)?;
        let expires_at = verified.expires_at.saturating_add(CLOCK_SKEW_SECONDS);
        let validity = Validity::until(expires_at, REMEMBERED_FOR_MAX, Some(key_generation), now);
        Ok(Remembered::new(verified, SecretToken::new(token), Arc::clone(server), validity))
    }

    /// The caller with the agent that `token`, its own, says it is: the one that the subject token was issued to, or
    /// one that the subject token lets act.
    async fn acting(
        &self,
        remembered: &Remembered,
        token: Option<&str>,
        now: Now,
    ) -> Result<Arc<Caller>, VerifyError> {
        let token = token.ok_or(AgentError::NoToken)?;
        let agent = self.recognise_agent(token, &remembered.server, now).await;
        let agent = agent.map_err(|error| AgentError::Token(Box::new(error)))?;
        if let Some(last) = &*remembered.acting.load()
            && Arc::ptr_eq(&last.0, &agent)
        {
            return Ok(Arc::clone(&last.1));
        }
        let (caller, actor) = (&remembered.caller, &agent.actor);
        if ![caller.actor(), caller.may_act()].contains(&Some(actor)) {
            return Err(AgentError::Another.into());
        }
        let acting = Arc::new(caller.acting_by(actor.clone(), agent.token.clone()));
        remembered.acting.store(Some(Arc::new((agent, Arc::clone(&acting)))));
        Ok(acting)
    }

    async fn recognise_agent(
        &self,
        token: &str,
        server: &AuthorizationServer,
        now: Now,
    ) -> Result<Arc<RememberedAgent>, VerifyError> {
        let (digest, settings) = (sha256(token.as_bytes()), server.settings());
        let holds = |agent: &Arc<RememberedAgent>| {
            agent.issuer == settings.issuer && agent.validity.holds(server, now)
        };
        if let Some(agent) = self.agents.get(&digest).filter(holds) {
            return Ok(agent);
        }
        let jws = Jws::parse(token)?;
        if !self.issuer_of(&jws).is_ok_and(|issuer| issuer.settings().issuer == settings.issuer) {
            return Err(VerifyError::UnknownIssuer);
        }
        let key_generation = check_signature_with_keys_of(server, &jws, now).await?;
        let (actor, expires_at) = claims::check_agents_token(&jws.claims, settings, now)?;
        let expires_at = expires_at.saturating_add(CLOCK_SKEW_SECONDS);
        let validity = Validity::until(expires_at, REMEMBERED_AGENT_FOR_MAX, Some(key_generation), now);
        let (issuer, token) = (settings.issuer.clone(), SecretToken::new(token));
        let agent = Arc::new(RememberedAgent { actor, issuer, token, validity });
        self.agents.insert(digest, Arc::clone(&agent));
        Ok(agent)
    }

    /// Drops the remembered tokens of a person. Returns how many there were.
    pub fn forget(&self, person: &Person) -> usize {
        self.remembered.forget(person)
    }

    fn issuer_of(&self, jws: &Jws<'_>) -> Result<&Arc<AuthorizationServer>, VerifyError> {
        match jws.claims.get("iss") {
            Some(Value::String(issuer)) => {
                self.servers.get(issuer.as_str()).ok_or(VerifyError::UnknownIssuer)
            }
            Some(_) => Err(ClaimsError::WrongType("iss").into()),
            None => Err(ClaimsError::Missing("iss").into()),
        }
    }
}

fn caller(verified: VerifiedClaims, token: SecretToken) -> Arc<Caller> {
    Arc::new(Caller::verified(verified, token))
}

/// Whether a token can mean something to its issuer alone: it has not the three parts of a signed one.
fn is_opaque(token: &str) -> bool {
    token.len() <= TOKEN_BYTES_MAX && token.split('.').count() != 3
}

/// Checks the signature, after fetching the keys again when the token names one that is not there. Returns the
/// generation of the keys that it was checked with.
pub(super) async fn check_signature_with_keys_of(
    server: &AuthorizationServer,
    jws: &Jws<'_>,
    now: Now,
) -> Result<u64, VerifyError> {
    let key_set = server.key_set();
    let issuer = &server.settings().issuer;
    let unavailable = || VerifyError::KeysUnavailable { issuer: server.settings().name.clone() };
    let mut snapshot = key_set.snapshot().ok_or_else(unavailable)?;
    let mut result = check_signature(jws, &snapshot.keys, issuer);
    if result == Err(VerifyError::UnknownKey) {
        key_set.refresh_for_unknown_key(now.monotonic).await;
        snapshot = key_set.snapshot().ok_or_else(unavailable)?;
        result = check_signature(jws, &snapshot.keys, issuer);
    }
    result.map(|()| snapshot.generation)
}

/// Checks that the header says that it is an access token, where the configuration wants that.
fn check_type(server: &AuthorizationServer, jws: &Jws<'_>) -> Result<(), VerifyError> {
    match server.settings().profile {
        Profile::Rfc9068 if !jws.is_at_jwt => Err(JwsError::Type(OtherToken::Other).into()),
        Profile::Rfc9068 | Profile::Lenient => Ok(()),
    }
}

/// Checks that `jws` is signed with the key it names, by an algorithm of that key, and that the key may speak
/// for `issuer`.
///
/// # Errors
///
/// [`VerifyError::UnknownKey`] or [`VerifyError::Signature`].
pub fn check_signature(jws: &Jws<'_>, keys: &Keys, issuer: &Issuer) -> Result<(), VerifyError> {
    let key = keys.find(jws.key_id.as_deref()).ok_or(VerifyError::UnknownKey)?;
    if key.issuer().is_some_and(|bound| !speaks_for(bound, issuer, &jws.claims)) {
        return Err(VerifyError::Signature);
    }
    match key.verifies(jws.algorithm, jws.signed.as_bytes(), jws.signature) {
        true => Ok(()),
        false => Err(VerifyError::Signature),
    }
}

/// Whether a key bound to an issuer may sign for `issuer`. Entra's keys for every tenant say `{tenantid}`, which
/// stands for the tenant of the token.
fn speaks_for(bound: &str, issuer: &Issuer, claims: &serde_json::Map<String, Value>) -> bool {
    match (bound.split_once("{tenantid}"), claims.get("tid").and_then(Value::as_str)) {
        (None, _) => bound == issuer.as_str(),
        (Some((before, after)), Some(tenant)) => {
            issuer.as_str().strip_prefix(before).and_then(|rest| rest.strip_suffix(after)) == Some(tenant)
        }
        (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check_speaks_for(bound: &str, issuer: &str, claims: Value, expected: bool) {
        let claims = claims.as_object().expect("an object of the test").clone();
        assert_eq!(speaks_for(bound, &Issuer::new(issuer), &claims), expected, "{bound} for {issuer}");
    }

    #[test]
    fn a_key_speaks_for_the_issuer_it_is_bound_to() {
        let template = "https://login.example/{tenantid}/v2.0";
        check_speaks_for("https://a.example", "https://a.example", json!({}), true);
        check_speaks_for("https://a.example", "https://a.example/", json!({}), false);
        check_speaks_for(template, "https://login.example/t-1/v2.0", json!({"tid": "t-1"}), true);
        check_speaks_for(template, "https://login.example/t-1/v2.0", json!({"tid": "t-2"}), false);
        check_speaks_for(template, "https://login.example/t-1/v2.0", json!({}), false);
        check_speaks_for(template, "https://other.example/t-1/v2.0", json!({"tid": "t-1"}), false);
        check_speaks_for(template, "https://login.example/{tenantid}/v2.0", json!({"tid": "t-1"}), false);
    }
}
