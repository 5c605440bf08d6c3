//! Where delegated tokens are kept: by identity, never by the bytes of a token.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;

use crate::clock::Now;
use crate::digest::FieldDigest;
use crate::identity::{Actor, Issuer, Scopes, Subject, Tenant};
use crate::metrics::Metrics;
use crate::oauth::authorization_server::AuthorizationServer;
use crate::policy::Permit;
use crate::tool::{ConnectorName, Target};

/// Most bytes held. A token takes its own size, twice at most, and the fields of its key: 64 MiB are some 20,000
/// people's.
const CACHE_BYTES_MAX: u64 = 64 * 1_048_576;
/// What an entry takes beside its token.
const ENTRY_BYTES: usize = 512;
/// Longest time that a delegated token is reused. Someone who is locked out keeps access until then, or until their
/// own token expires, whichever is first.
const REUSE_CAP: Duration = Duration::from_secs(3_600);
/// How long before its end a token is no longer handed out: time for the call to arrive and be checked.
const REUSE_MARGIN: Duration = Duration::from_secs(30);

/// Everything that shaped a delegated token. Two calls share an entry when all of this is the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyFields {
    /// Who vouches for the person.
    pub issuer: Issuer,
    /// The person's tenant.
    pub tenant: Tenant,
    /// The person.
    pub subject: Subject,
    /// The agent.
    pub actor: Actor,
    /// The scopes of the subject token: a server may grant less for a token that may less.
    pub subject_scopes: Scopes,
    /// The connector.
    pub connector: ConnectorName,
    /// What the token is good for.
    pub target: Target,
    /// The settings of the exchange.
    pub exchange: [u8; 32],
}

/// The digest of all key fields, each with its length before it, under a label.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CacheKey([u8; 32]);

impl KeyFields {
    /// The fields for a permit; `None` when one is missing, and then nothing may be kept.
    pub fn of(permit: &Permit, server: &AuthorizationServer) -> Option<Self> {
        let (caller, tool) = (permit.caller(), permit.tool());
        Some(Self {
            issuer: caller.issuer().clone(),
            tenant: caller.tenant().clone(),
            subject: caller.subject().clone(),
            actor: caller.actor()?.clone(),
            subject_scopes: caller.scopes().clone(),
            connector: tool.connector.clone(),
            target: permit.target().clone(),
            exchange: *server.fingerprint(),
        })
    }

    /// The key of these fields.
    pub fn key(&self) -> CacheKey {
        let mut digest = FieldDigest::new("delegated-token/1");
        digest.field(self.issuer.as_str().as_bytes());
        digest.optional(self.tenant.id());
        digest.field(self.subject.as_str().as_bytes());
        digest.field(self.actor.as_str().as_bytes());
        digest.field(self.subject_scopes.canonical().as_bytes());
        digest.field(self.connector.as_str().as_bytes());
        digest.optional(self.target.audience.as_ref().map(|audience| audience.as_str()));
        digest.optional(self.target.resource.as_ref().map(|resource| resource.as_str()));
        digest.field(self.target.scopes.canonical().as_bytes());
        digest.field(&self.exchange);
        CacheKey(digest.finish())
    }
}

/// A delegated token, ready to be sent.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The ready header value.
    pub authorization: HeaderValue,
    /// The scopes that were granted.
    pub granted: Option<Scopes>,
    fields: Arc<KeyFields>,
    reusable_until: Instant,
}

impl Entry {
    /// An entry for a token that was asked for at `asked`.
    pub fn new(
        fields: Arc<KeyFields>,
        authorization: HeaderValue,
        granted: Option<Scopes>,
        lifetime: Option<Duration>,
        asked: Now,
    ) -> Self {
        // A server that does not say how long its token lives gets asked each time.
        let reusable = lifetime.map_or(Duration::ZERO, |lifetime| reusable_for(lifetime, REUSE_CAP));
        let reusable_until = asked.monotonic.checked_add(reusable).unwrap_or(asked.monotonic);
        Self { authorization, granted, fields, reusable_until }
    }
}

/// How long a delegated token may be reused: its own life, capped, less a margin.
fn reusable_for(lifetime: Duration, cap: Duration) -> Duration {
    lifetime.min(cap).saturating_sub(REUSE_MARGIN)
}

/// Delegated tokens of all people, within a bound.
pub struct CredentialCache {
    entries: moka::sync::Cache<CacheKey, Arc<Entry>>,
    metrics: Arc<Metrics>,
}

impl CredentialCache {
    /// An empty cache.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let entries = moka::sync::Cache::builder()
            .max_capacity(CACHE_BYTES_MAX)
            .weigher(|_, entry: &Arc<Entry>| {
                u32::try_from(entry.authorization.len() + ENTRY_BYTES).unwrap_or(u32::MAX)
            })
            .time_to_live(REUSE_CAP)
            .build();
        Self { entries, metrics }
    }

    /// The entry of `key`, when it was made for the very same `fields` and may still be reused.
    pub fn get(&self, key: &CacheKey, fields: &KeyFields, now: Now) -> Option<Arc<Entry>> {
        let entry = self.entries.get(key)?;
        if now.monotonic >= entry.reusable_until {
            self.entries.invalidate(key);
            return None;
        }
        // The digest has decided already. Should it ever be wrong, this keeps people apart.
        (*entry.fields == *fields).then_some(entry)
    }

    /// Keeps an entry, unless its time is over already.
    pub fn put(&self, key: CacheKey, entry: Arc<Entry>, now: Now) {
        if now.monotonic < entry.reusable_until {
            self.entries.insert(key, entry);
            // Otherwise the count lags behind. An exchange has just cost a thousand times as much.
            self.entries.run_pending_tasks();
            self.metrics.cache_entries.set(i64::try_from(self.entries.entry_count()).unwrap_or(i64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Audience;
    use crate::tool::Resource;

    fn fields() -> KeyFields {
        KeyFields {
            issuer: Issuer::new("https://issuer.example"),
            tenant: Tenant::Named("t-1".into()),
            subject: Subject::new("ada"),
            actor: Actor::new("planner"),
            subject_scopes: Scopes::parse("access_as_user"),
            connector: ConnectorName::new("mail"),
            target: Target {
                audience: Some(Audience::new("api://mail")),
                resource: None,
                scopes: Scopes::parse("Mail.Read"),
            },
            exchange: [7; 32],
        }
    }

    fn entry(fields: &KeyFields, lifetime: u64, asked: Now) -> Arc<Entry> {
        let lifetime = Some(Duration::from_secs(lifetime));
        let token = HeaderValue::from_static("Bearer token");
        Arc::new(Entry::new(Arc::new(fields.clone()), token, None, lifetime, asked))
    }

    #[test]
    fn no_two_different_identities_share_a_key() {
        let target = |audience: Option<&str>, resource: Option<&str>, scopes: &str| Target {
            audience: audience.map(Audience::new),
            resource: resource.map(Resource::new),
            scopes: Scopes::parse(scopes),
        };
        let different = [
            fields(),
            KeyFields { issuer: Issuer::new("https://issuer.example/"), ..fields() },
            KeyFields { tenant: Tenant::Named("t-2".into()), ..fields() },
            KeyFields { tenant: Tenant::Named("".into()), ..fields() },
            KeyFields { tenant: Tenant::Sole, ..fields() },
            KeyFields { subject: Subject::new("Ada"), ..fields() },
            KeyFields { subject: Subject::new("adaplanner"), actor: Actor::new(""), ..fields() },
            KeyFields { subject: Subject::new(""), actor: Actor::new("adaplanner"), ..fields() },
            KeyFields { actor: Actor::new("planner2"), ..fields() },
            KeyFields { subject_scopes: Scopes::parse("access_as_user more"), ..fields() },
            KeyFields { subject_scopes: Scopes::default(), ..fields() },
            KeyFields { connector: ConnectorName::new("notes"), ..fields() },
            KeyFields { target: target(Some("api://notes"), None, "Mail.Read"), ..fields() },
            KeyFields { target: target(None, Some("api://mail"), "Mail.Read"), ..fields() },
            KeyFields { target: target(Some("api://mail"), Some(""), "Mail.Read"), ..fields() },
            KeyFields { target: target(Some("api://mail"), None, "Mail.Read Mail.Send"), ..fields() },
            KeyFields { target: target(Some("api://mail"), None, ""), ..fields() },
            KeyFields { exchange: [8; 32], ..fields() },
        ];
        for (i, one) in different.iter().enumerate() {
            for (j, other) in different.iter().enumerate() {
                assert_eq!(one.key() == other.key(), i == j, "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn the_order_of_scopes_does_not_matter() {
        let scopes = |list| KeyFields {
            target: Target { scopes: Scopes::parse(list), ..fields().target },
            ..fields()
        };
        assert_eq!(scopes("a b").key(), scopes("b a b").key());
    }

    #[track_caller]
    fn check_reuse(lifetime: u64, cap: u64, expected: u64) {
        let reusable = reusable_for(Duration::from_secs(lifetime), Duration::from_secs(cap));
        assert_eq!(reusable, Duration::from_secs(expected));
    }

    #[test]
    fn a_token_is_reused_for_its_own_life_capped_less_a_margin() {
        check_reuse(3600, 600, 570);
        check_reuse(300, 600, 270);
        check_reuse(30, 600, 0);
        check_reuse(10, 600, 0);
        check_reuse(u64::MAX, 600, 570);
    }

    #[test]
    fn an_entry_is_served_to_its_own_identity_within_its_time() {
        let cache = CredentialCache::new(Arc::default());
        let (fields, now) = (fields(), Now::read());
        let key = fields.key();
        cache.put(key, entry(&fields, 300, now), now);
        assert!(cache.get(&key, &fields, now).is_some());
        let other = KeyFields { subject: Subject::new("bob"), ..fields.clone() };
        assert!(cache.get(&key, &other, now).is_none(), "a digest that collides must not let anyone in");
        assert!(cache.get(&key, &fields, now.after(Duration::from_secs(269))).is_some());
        assert!(cache.get(&key, &fields, now.after(Duration::from_secs(270))).is_none());
    }

    #[test]
    fn what_is_over_already_is_not_kept() {
        let cache = CredentialCache::new(Arc::default());
        let (fields, now) = (fields(), Now::read());
        cache.put(fields.key(), entry(&fields, 30, now), now);
        assert!(cache.get(&fields.key(), &fields, now).is_none());
    }
}
