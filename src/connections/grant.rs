//! What a person has granted: the tokens, the account they are for, and the agents that may use them. As it is in memory, and as
//! it stands within a record of the vault.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Leftover;
use crate::audit::RequestId;
use crate::identity::{Actor, Scopes, SecretToken};
use crate::oauth::code_client::GrantedTokens;
use crate::tool::ConnectorName;

/// The version of what is written.
const VERSION: u32 = 1;
/// Most agents that a grant is for. The one that was agreed to first gives way.
const AGENTS_MAX: usize = 64;
/// How long before its end an access token is no longer handed out, in seconds: time for the call to arrive and be checked.
const MARGIN_SECONDS: u64 = 30;
/// How far in the future a token may have been obtained, in seconds: whoever asks has read the clock a while ago. Further on, the
/// clock has been set back.
const AHEAD_SECONDS_MAX: u64 = 60;

/// What a person has granted.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The settings under which it was granted.
    pub fingerprint: [u8; 32],
    /// The access token.
    pub access_token: SecretToken,
    /// The token by which the next one is obtained.
    pub refresh_token: Option<SecretToken>,
    /// The scopes that were granted, where the service says so.
    pub granted: Option<Scopes>,
    /// When the access token was asked for, in seconds since 1970 UTC. So are the others.
    pub obtained_at: u64,
    /// When the access token ends, where the service says so.
    pub expires_at: Option<u64>,
    /// What the service calls the account.
    pub account: Option<Arc<str>>,
    /// When the person connected it.
    pub connected_at: u64,
    /// The agents that the person agreed to.
    pub agents: Vec<AgentConsent>,
    /// The record of how the access token was obtained.
    pub recorded_as: RequestId,
}

/// A person's agreement that an agent may use their connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentConsent {
    /// The agent.
    pub agent: Actor,
    /// When the person agreed, in seconds since 1970 UTC.
    pub since: u64,
    /// When the agent last used it, as far as that is known.
    pub last_used: Option<u64>,
}

/// A connection, for its person to look at. No token is in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    /// The connector.
    pub connector: ConnectorName,
    /// What the service calls the account, where it says so.
    pub account: Option<Arc<str>>,
    /// The scopes that were granted, where the service says so.
    pub granted: Option<Scopes>,
    /// When it was made, in seconds since 1970 UTC.
    pub connected_at: u64,
    /// When the access token was last renewed, in seconds since 1970 UTC.
    pub refreshed_at: u64,
    /// The agents that may use it.
    pub agents: Vec<AgentConsent>,
    /// Whether it can be used under the present configuration.
    pub is_usable: bool,
}

#[derive(Serialize, Deserialize)]
struct Written<'a> {
    version: u32,
    fingerprint: String,
    access_token: Cow<'a, str>,
    refresh_token: Option<Cow<'a, str>>,
    granted: Option<Cow<'a, str>>,
    obtained_at: u64,
    expires_at: Option<u64>,
    account: Option<Cow<'a, str>>,
    connected_at: u64,
    agents: Vec<WrittenConsent>,
    recorded_as: String,
}

#[derive(Serialize, Deserialize)]
struct WrittenConsent {
    agent: String,
    since: u64,
    last_used: Option<u64>,
}

impl Grant {
    /// What came of a sign-in at `now`, of which this is the record.
    pub fn new(
        fingerprint: [u8; 32],
        tokens: GrantedTokens,
        account: Option<Arc<str>>,
        recorded_as: RequestId,
        now: u64,
    ) -> Self {
        Self {
            fingerprint,
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            granted: tokens.granted,
            obtained_at: now,
            expires_at: tokens.lifetime.map(|lifetime| now.saturating_add(lifetime.as_secs())),
            account,
            connected_at: now,
            agents: Vec::new(),
            recorded_as,
        }
    }

    /// The same with the tokens of a refresh at `now`, of which this is the record. What the service does not say stays as it was
    /// (RFC 6749 section 6).
    pub fn refreshed(&self, tokens: GrantedTokens, recorded_as: RequestId, now: u64) -> Self {
        Self {
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token.or_else(|| self.refresh_token.clone()),
            granted: tokens.granted.or_else(|| self.granted.clone()),
            obtained_at: now,
            expires_at: tokens.lifetime.map(|lifetime| now.saturating_add(lifetime.as_secs())),
            recorded_as,
            ..self.clone()
        }
    }

    /// Whether the person agreed that `agent` may use it.
    pub fn is_for(&self, agent: &Actor) -> bool {
        self.agents.iter().any(|consent| consent.agent == *agent)
    }

    /// Notes that the person agrees to `agent`.
    pub fn agree_to(&mut self, agent: &Actor, now: u64) {
        if self.is_for(agent) {
            return;
        }
        if self.agents.len() >= AGENTS_MAX {
            self.agents.remove(0);
        }
        self.agents.push(AgentConsent { agent: agent.clone(), since: now, last_used: None });
    }

    /// Whether the access token can be handed out at `now`.
    pub fn is_fresh(&self, now: u64) -> bool {
        match self.expires_at {
            None => true,
            // By a clock that has been set back nobody can tell when it ends.
            Some(_) if self.obtained_at > now.saturating_add(AHEAD_SECONDS_MAX) => false,
            Some(end) => now.saturating_add(MARGIN_SECONDS.min(self.lifetime() / 4)) < end,
        }
    }

    /// Whether it is time to renew the access token, though it can still be handed out.
    pub fn is_to_be_renewed(&self, now: u64) -> bool {
        self.refresh_token.is_some()
            && self.expires_at.is_some()
            && now >= self.obtained_at.saturating_add(self.lifetime() / 4 * 3)
    }

    fn lifetime(&self) -> u64 {
        self.expires_at.unwrap_or(self.obtained_at).saturating_sub(self.obtained_at)
    }

    /// The tokens, to be given back.
    pub fn leftover(&self) -> Leftover {
        Leftover {
            fingerprint: self.fingerprint,
            refresh_token: self.refresh_token.clone(),
            access_token: self.access_token.clone(),
            account: self.account.clone(),
        }
    }

    /// What a person sees of it. `is_usable`: under the present configuration.
    pub fn summary(&self, connector: &ConnectorName, is_usable: bool) -> Summary {
        Summary {
            connector: connector.clone(),
            account: self.account.clone(),
            granted: self.granted.clone(),
            connected_at: self.connected_at,
            refreshed_at: self.obtained_at,
            agents: self.agents.clone(),
            is_usable,
        }
    }

    /// As it stands in the vault.
    pub fn write(&self) -> Zeroizing<Vec<u8>> {
        let tokens = self.access_token.byte_count()
            + self.refresh_token.as_ref().map(SecretToken::byte_count).unwrap_or_default();
        // Room for all of it from the start: no copy of a token is left behind by growing.
        let mut written = Zeroizing::new(Vec::with_capacity(2 * tokens + 65_536));
        let form = Written {
            version: VERSION,
            fingerprint: URL_SAFE_NO_PAD.encode(self.fingerprint),
            access_token: self.access_token.expose().into(),
            refresh_token: self.refresh_token.as_ref().map(|token| token.expose().into()),
            granted: self.granted.as_ref().map(|scopes| scopes.canonical().into()),
            obtained_at: self.obtained_at,
            expires_at: self.expires_at,
            account: self.account.as_deref().map(Into::into),
            connected_at: self.connected_at,
            recorded_as: self.recorded_as.to_string(),
            agents: (self.agents.iter())
                .map(|AgentConsent { agent, since, last_used }| WrittenConsent {
                    agent: agent.as_str().to_owned(),
                    since: *since,
                    last_used: *last_used,
                })
                .collect(),
        };
        serde_json::to_writer(&mut *written, &form).expect("texts and numbers are JSON");
        written
    }

    /// Reads what `write` wrote. `None` when it is of another version.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let written: Written<'_> = serde_json::from_slice(bytes).ok()?;
        if written.version != VERSION {
            return None;
        }
        let fingerprint = URL_SAFE_NO_PAD.decode(written.fingerprint).ok()?;
        Some(Self {
            fingerprint: fingerprint.try_into().ok()?,
            // Each is its own copy, and is wiped with what it becomes.
            access_token: SecretToken::new(written.access_token.into_owned()),
            refresh_token: written.refresh_token.map(|token| SecretToken::new(token.into_owned())),
            granted: written.granted.map(|scopes| Scopes::parse(&scopes)),
            obtained_at: written.obtained_at,
            expires_at: written.expires_at,
            account: written.account.map(|account| (&*account).into()),
            connected_at: written.connected_at,
            recorded_as: RequestId::parse(&written.recorded_as)?,
            agents: (written.agents.into_iter())
                .map(|WrittenConsent { agent, since, last_used }| AgentConsent {
                    agent: Actor::new(agent),
                    since,
                    last_used,
                })
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn tokens(access: &str, refresh: Option<&str>, lifetime: Option<u64>) -> GrantedTokens {
        GrantedTokens {
            access_token: SecretToken::new(access),
            refresh_token: refresh.map(SecretToken::new),
            granted: None,
            lifetime: lifetime.map(Duration::from_secs),
            correlation_id: None,
            id_claims: None,
        }
    }

    fn id() -> RequestId {
        RequestId::parse("0123456789abcdef-00000007").expect("an identifier of the test")
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut grant = Grant::new(
            [7; 32],
            tokens("acc\"ess", Some("refresh"), Some(300)),
            Some("ada".into()),
            id(),
            1_000,
        );
        grant.granted = Some(Scopes::parse("b a"));
        grant.agree_to(&Actor::new("planner"), 1_001);
        let read = Grant::read(&grant.write()).expect("a grant");
        assert_eq!(format!("{read:?}"), format!("{grant:?}"));
        assert_eq!(read.access_token.expose(), "acc\"ess");
        assert_eq!(read.refresh_token.map(|token| token.expose().to_owned()).as_deref(), Some("refresh"));
        for other in ["", "{}", r#"{"version":2}"#] {
            assert!(Grant::read(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn a_grant_is_not_shown() {
        let grant = Grant::new([7; 32], tokens("canary-1", Some("canary-2"), None), None, id(), 0);
        assert!(!format!("{grant:?}").contains("canary"));
    }

    #[test]
    fn a_refresh_keeps_what_the_service_does_not_say() {
        let grant = Grant::new([7; 32], tokens("a", Some("r1"), Some(300)), Some("ada".into()), id(), 1_000);
        let next = grant.refreshed(tokens("b", None, None), id(), 2_000);
        assert_eq!(next.refresh_token.as_ref().map(|token| token.expose()), Some("r1"));
        assert_eq!((next.expires_at, next.connected_at, next.obtained_at), (None, 1_000, 2_000));
        let next = next.refreshed(tokens("c", Some("r2"), None), id(), 3_000);
        assert_eq!(next.refresh_token.as_ref().map(|token| token.expose()), Some("r2"));
    }

    #[track_caller]
    fn check_life(lifetime: Option<u64>, after: u64, fresh: bool, due: bool) {
        let grant = Grant::new([7; 32], tokens("a", Some("r"), lifetime), None, id(), 1_000);
        assert_eq!(
            (grant.is_fresh(1_000 + after), grant.is_to_be_renewed(1_000 + after)),
            (fresh, due),
            "{after}"
        );
    }

    #[test]
    fn an_access_token_is_renewed_ahead_of_its_end() {
        check_life(Some(400), 0, true, false);
        check_life(Some(400), 299, true, false);
        check_life(Some(400), 300, true, true);
        check_life(Some(400), 369, true, true);
        check_life(Some(400), 370, false, true);
        check_life(Some(20), 14, true, false);
        check_life(Some(20), 15, false, true);
        check_life(None, 1_000_000, true, false);
        let without = Grant::new([7; 32], tokens("a", None, Some(400)), None, id(), 1_000);
        assert!(!without.is_to_be_renewed(1_390));
    }

    #[test]
    fn an_access_token_of_the_future_is_not_trusted_to_end_in_time() {
        let grant = |lifetime| Grant::new([7; 32], tokens("a", Some("r"), lifetime), None, id(), 10_000);
        let fresh = [10_000 - AHEAD_SECONDS_MAX, 9_999 - AHEAD_SECONDS_MAX, 6_400];
        assert_eq!(fresh.map(|now| grant(Some(3_600)).is_fresh(now)), [true, false, false]);
        assert!(grant(None).is_fresh(6_400), "it has no end");
    }

    #[test]
    fn agents_are_agreed_to_one_by_one_and_not_without_bound() {
        let mut grant = Grant::new([7; 32], tokens("a", None, None), None, id(), 0);
        assert!(!grant.is_for(&Actor::new("a0")));
        for n in 0..=AGENTS_MAX {
            grant.agree_to(&Actor::new(format!("a{n}")), n as u64);
            grant.agree_to(&Actor::new(format!("a{n}")), 99);
        }
        assert_eq!(grant.agents.len(), AGENTS_MAX);
        assert!(!grant.is_for(&Actor::new("a0")) && grant.is_for(&Actor::new("a1")));
    }
}
