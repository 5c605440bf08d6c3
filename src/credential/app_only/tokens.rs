//! Application tokens that are kept, and what they are kept under.
//!
//! No person is in the key, and that is right: the token speaks for the application, is the same for everybody who may
//! use the tool, and policy has decided about the person before anybody asks for it.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::audit::CredentialNote;
use crate::clock::Now;
use crate::credential::key::CacheKey;
use crate::credential::life::{Life, REUSE_CAP};
use crate::credential::mode::ApplicationPermit;
use crate::credential::reason::Reason;
use crate::digest::FieldDigest;
use crate::identity::Issuer;
use crate::oauth::authorization_server::AuthorizationServer;
use crate::tool::{ConnectorName, Target};

/// Most tokens kept: one for each issuer or tenant, connector and set of scopes. At 64 KiB each, the largest there are,
/// they take 128 MiB; at the usual 2 KiB, 4.
const TOKENS_MAX: u64 = 2_048;

/// Everything that shaped an application token. Two calls share one when all of this is the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApplicationFields {
    /// The server that issued it, for which a tenant of an issuer counts by itself.
    pub issuer: Issuer,
    /// The connector.
    pub connector: ConnectorName,
    /// What the token is good for.
    pub target: Target,
    /// The settings by which it is asked for.
    pub settings: [u8; 32],
}

/// An application token, ready to be sent.
#[derive(Debug)]
pub struct ApplicationToken {
    /// The ready header value.
    pub authorization: HeaderValue,
    /// Why it was obtained.
    pub reason: Reason,
    /// What records say of it.
    pub note: Arc<CredentialNote>,
    /// How long it is kept.
    pub life: Life,
    fields: Arc<ApplicationFields>,
}

/// The tokens, within a bound.
pub struct ApplicationTokens(moka::sync::Cache<CacheKey, Arc<ApplicationToken>>);

impl ApplicationFields {
    /// The fields for a permit; `None` when the server issues no application tokens.
    pub fn of(permit: ApplicationPermit<'_>, server: &AuthorizationServer) -> Option<Self> {
        Some(Self {
            issuer: permit.issuer().clone(),
            connector: permit.connector().clone(),
            target: permit.target().clone(),
            settings: *server.application_fingerprint()?,
        })
    }

    /// The key of these fields.
    pub fn key(&self) -> CacheKey {
        let Self { issuer, connector, target, settings } = self;
        let Target { audience, resource, authorization_server, scopes } = target;
        let mut digest = FieldDigest::new("application-token/1");
        digest.field(issuer.as_str().as_bytes());
        digest.field(connector.as_str().as_bytes());
        digest.optional(audience.as_ref().map(|audience| audience.as_str()));
        digest.optional(resource.as_ref().map(|resource| resource.as_str()));
        digest.optional(authorization_server.as_ref().map(|server| server.as_str()));
        digest.field(scopes.canonical().as_bytes());
        digest.field(settings);
        CacheKey::of(digest)
    }
}

impl ApplicationToken {
    /// A token that was asked for at `asked`.
    pub fn new(
        fields: Arc<ApplicationFields>,
        authorization: HeaderValue,
        lifetime: Option<Duration>,
        reason: Reason,
        note: Arc<CredentialNote>,
        asked: Now,
    ) -> Self {
        let life = Life::new(lifetime, &fields.key(), asked);
        Self { authorization, reason, note, life, fields }
    }

    /// Whether it was obtained for the very same fields.
    pub fn is_for(&self, fields: &ApplicationFields) -> bool {
        *self.fields == *fields
    }
}

impl ApplicationTokens {
    /// None yet.
    pub fn new() -> Self {
        Self(moka::sync::Cache::builder().max_capacity(TOKENS_MAX).time_to_live(REUSE_CAP).build())
    }

    /// The token of `key`, when it was obtained for the very same `fields` and may still be reused.
    pub fn get(&self, key: &CacheKey, fields: &ApplicationFields, now: Now) -> Option<Arc<ApplicationToken>> {
        // The digest has decided already. Should it ever be wrong, this keeps connectors apart.
        self.0.get(key).filter(|token| token.life.is_reusable(now) && token.is_for(fields))
    }

    /// Keeps a token, unless its time is over already.
    pub fn put(&self, key: CacheKey, token: &Arc<ApplicationToken>, now: Now) {
        if token.life.is_reusable(now) {
            self.0.insert(key, Arc::clone(token));
        }
    }

    /// Drops `token`, when it is still the one of `key`.
    pub fn evict(&self, key: &CacheKey, token: &Arc<ApplicationToken>) {
        let _ = self.0.entry(*key).and_compute_with(|found| match found {
            Some(found) if Arc::ptr_eq(found.value(), token) => moka::ops::compute::Op::Remove,
            Some(_) | None => moka::ops::compute::Op::Nop,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Audience, Scopes};
    use crate::tool::{Resource, ResourceAuthorizationServerName};

    fn fields() -> ApplicationFields {
        ApplicationFields {
            issuer: Issuer::new("https://issuer.example"),
            connector: ConnectorName::new("mail"),
            target: Target {
                audience: Some(Audience::new("api://mail")),
                scopes: Scopes::parse("mail.send"),
                ..Target::default()
            },
            settings: [7; 32],
        }
    }

    fn token(fields: &ApplicationFields, lifetime: Option<u64>, asked: Now) -> Arc<ApplicationToken> {
        let (fields, lifetime) = (Arc::new(fields.clone()), lifetime.map(Duration::from_secs));
        let authorization = HeaderValue::from_static("Bearer token");
        let note = Arc::new(CredentialNote::new([0; 32], None, None));
        Arc::new(ApplicationToken::new(fields, authorization, lifetime, Reason::Needed, note, asked))
    }

    #[test]
    fn what_differs_in_anything_shares_no_token() {
        let target = |audience: Option<&str>, resource: Option<&str>, scopes: &str| ApplicationFields {
            target: Target {
                audience: audience.map(Audience::new),
                resource: resource.map(Resource::new),
                authorization_server: None,
                scopes: Scopes::parse(scopes),
            },
            ..fields()
        };
        let of_server = Target {
            authorization_server: Some(ResourceAuthorizationServerName::new("crm")),
            ..fields().target
        };
        let different = [
            fields(),
            ApplicationFields { issuer: Issuer::new("https://issuer.example/"), ..fields() },
            ApplicationFields { connector: ConnectorName::new("notes"), ..fields() },
            target(Some("api://notes"), None, "mail.send"),
            target(None, Some("api://mail"), "mail.send"),
            target(None, None, "mail.send"),
            target(Some("api://mail"), Some(""), "mail.send"),
            target(Some("api://mail"), None, "mail.send mail.read"),
            target(Some("api://mail"), None, ""),
            ApplicationFields { target: of_server, ..fields() },
            ApplicationFields { settings: [8; 32], ..fields() },
        ];
        for (i, one) in different.iter().enumerate() {
            for (j, other) in different.iter().enumerate() {
                assert_eq!(one.key() == other.key(), i == j, "{one:?} and {other:?}");
            }
        }
        assert_eq!(
            target(None, None, "a b").key(),
            target(None, None, "b a").key(),
            "the order of scopes does not matter"
        );
    }

    #[test]
    fn a_token_is_served_for_its_own_fields_within_its_time() {
        let (tokens, fields, now) = (ApplicationTokens::new(), fields(), Now::read());
        let key = fields.key();
        tokens.put(key, &token(&fields, Some(300), now), now);
        assert!(tokens.get(&key, &fields, now).is_some());
        let other = ApplicationFields { connector: ConnectorName::new("notes"), ..fields.clone() };
        assert!(tokens.get(&key, &other, now).is_none(), "a digest that collides must not let anyone in");
        assert!(tokens.get(&key, &fields, now.after(Duration::from_secs(269))).is_some());
        assert!(tokens.get(&key, &fields, now.after(Duration::from_secs(270))).is_none());
        for lifetime in [None, Some(30)] {
            let tokens = ApplicationTokens::new();
            tokens.put(key, &token(&fields, lifetime, now), now);
            assert!(tokens.get(&key, &fields, now).is_none(), "{lifetime:?}");
        }
    }

    #[test]
    fn only_the_token_that_was_turned_away_is_evicted() {
        let (tokens, fields, now) = (ApplicationTokens::new(), fields(), Now::read());
        let (key, old, new) = (fields.key(), token(&fields, Some(300), now), token(&fields, Some(300), now));
        tokens.put(key, &new, now);
        tokens.evict(&key, &old);
        assert!(tokens.get(&key, &fields, now).is_some());
        tokens.evict(&key, &new);
        assert!(tokens.get(&key, &fields, now).is_none());
    }
}
