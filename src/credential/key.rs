//! What a delegated token is kept under: everything that shaped it, and never the bytes of a token alone.

use std::sync::Arc;

use crate::digest::FieldDigest;
use crate::identity::{Actor, Authentication, Caller, Issuer, Scopes, Subject, Tenant};
use crate::oauth::Reuse;
use crate::oauth::authorization_server::AuthorizationServer;
use crate::policy::Permit;
use crate::tool::{ConnectorName, Target};

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
    /// How the person signed in. A weaker sign-in must not be served what a stronger one was given, and a stronger
    /// one must not be held to what a weaker one was given.
    pub authentication: Arc<Authentication>,
    /// The scopes of the subject token: a server may grant less for a token that may less.
    pub subject_scopes: Scopes,
    /// What the site ties reuse to beside the identity.
    pub binding: Binding,
    /// The connector.
    pub connector: ConnectorName,
    /// What the token is good for.
    pub target: Target,
    /// The settings of the exchange.
    pub exchange: [u8; 32],
}

/// What the reuse of a delegated token is tied to beside the identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Binding {
    /// Nothing.
    Identity,
    /// The sign-in session.
    Session(Arc<str>),
    /// The subject token, by its SHA-256.
    Token([u8; 32]),
}

/// The digest of all key fields, each with its length before it, under a label.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CacheKey([u8; 32]);

impl KeyFields {
    /// The key for a permit, and its fields; `None` when one is missing, and then nothing may be kept.
    pub fn of(permit: &Permit, server: &AuthorizationServer) -> Option<(CacheKey, Self)> {
        let (caller, tool) = (permit.caller(), permit.tool());
        let reuse = server.settings().exchange.as_ref().map_or(Reuse::Identity, |exchange| exchange.reuse);
        let fields = Self {
            issuer: caller.issuer().clone(),
            tenant: caller.tenant().clone(),
            subject: caller.subject().clone(),
            actor: caller.actor()?.clone(),
            authentication: Arc::clone(caller.authentication()),
            subject_scopes: caller.scopes().clone(),
            binding: Binding::of(caller, reuse)?,
            connector: tool.connector.clone(),
            target: permit.target().clone(),
            exchange: *server.fingerprint(),
        };
        // All of them are the caller's, the tool's or the server's, none of which ever changes.
        let key = caller.keys().recall((tool.memo.number(), server.number()), || fields.key().0);
        Some((CacheKey(key), fields))
    }

    /// Whether they differ in the person alone, and in what reuse is tied to.
    pub fn is_same_kind(&self, other: &Self) -> bool {
        let Self {
            issuer,
            tenant,
            subject: _,
            actor,
            authentication,
            subject_scopes,
            binding: _,
            connector,
            target,
            exchange,
        } = other;
        self.issuer == *issuer
            && self.tenant == *tenant
            && self.actor == *actor
            && self.authentication == *authentication
            && self.subject_scopes == *subject_scopes
            && self.connector == *connector
            && self.target == *target
            && self.exchange == *exchange
    }

    /// The key of these fields.
    pub fn key(&self) -> CacheKey {
        let Self {
            issuer,
            tenant,
            subject,
            actor,
            authentication,
            subject_scopes,
            binding,
            connector,
            target,
            exchange,
        } = self;
        let Authentication { acr, acrs, amr } = &**authentication;
        let Target { audience, resource, authorization_server, scopes } = target;
        let mut digest = FieldDigest::new("delegated-token/3");
        digest.field(issuer.as_str().as_bytes());
        digest.optional(tenant.id());
        digest.field(subject.as_str().as_bytes());
        digest.field(actor.as_str().as_bytes());
        digest.optional(acr.as_deref());
        digest.list(acrs);
        digest.list(amr);
        digest.field(subject_scopes.canonical().as_bytes());
        match binding {
            Binding::Identity => digest.field(b"identity"),
            Binding::Session(session) => {
                digest.field(b"session");
                digest.field(session.as_bytes());
            }
            Binding::Token(token) => {
                digest.field(b"token");
                digest.field(token);
            }
        }
        digest.field(connector.as_str().as_bytes());
        digest.optional(audience.as_ref().map(|audience| audience.as_str()));
        digest.optional(resource.as_ref().map(|resource| resource.as_str()));
        digest.optional(authorization_server.as_ref().map(|server| server.as_str()));
        digest.field(scopes.canonical().as_bytes());
        digest.field(exchange);
        CacheKey::of(digest)
    }
}

impl Binding {
    /// What a call of `caller` is tied to; `None` when the token does not say.
    fn of(caller: &Caller, reuse: Reuse) -> Option<Self> {
        match reuse {
            Reuse::Identity => Some(Self::Identity),
            Reuse::Session => caller.session().map(|session| Self::Session(session.into())),
            Reuse::Token => Some(Self::Token(caller.subject_token().digest())),
        }
    }
}

impl CacheKey {
    /// The key that is this digest, whose label says of what.
    pub fn of(digest: FieldDigest) -> Self {
        Self(digest.finish())
    }

    /// The key of what was obtained, or refused, under this key for something more: `more` says what.
    pub fn with(&self, more: &[u8]) -> Self {
        let mut digest = FieldDigest::new("delegated-token/3 with");
        digest.field(&self.0);
        digest.field(more);
        Self(digest.finish())
    }

    /// What it begins with. That of no other key is the same, but by a chance that does not come.
    pub fn beginning(&self) -> u64 {
        let (beginning, _) = self.0.split_first_chunk().expect("a digest has 32 bytes");
        u64::from_be_bytes(*beginning)
    }

    /// A number that has nothing to do with what it begins with.
    pub fn ending(&self) -> usize {
        usize::from(self.0[31])
    }

    /// A fraction between 0 and 1 that is spread evenly over keys.
    pub fn fraction(&self) -> f64 {
        f64::from(u16::from_be_bytes([self.0[0], self.0[1]])) / f64::from(u16::MAX)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::identity::Audience;
    use crate::tool::{Resource, ResourceAuthorizationServerName};

    mod properties;

    /// Ada's fields, for the tests of this module and the cache's.
    pub fn fields() -> KeyFields {
        KeyFields {
            issuer: Issuer::new("https://issuer.example"),
            tenant: Tenant::Named("t-1".into()),
            subject: Subject::new("ada"),
            actor: Actor::new("planner"),
            authentication: Arc::default(),
            subject_scopes: Scopes::parse("access_as_user"),
            binding: Binding::Identity,
            connector: ConnectorName::new("mail"),
            target: Target {
                audience: Some(Audience::new("api://mail")),
                resource: None,
                authorization_server: None,
                scopes: Scopes::parse("Mail.Read"),
            },
            exchange: [7; 32],
        }
    }

    #[test]
    fn no_two_different_identities_share_a_key() {
        let target = |audience: Option<&str>, resource: Option<&str>, scopes: &str| Target {
            audience: audience.map(Audience::new),
            resource: resource.map(Resource::new),
            authorization_server: None,
            scopes: Scopes::parse(scopes),
        };
        let issued_by = |resource: Option<&str>, server: &str| KeyFields {
            target: Target {
                authorization_server: Some(ResourceAuthorizationServerName::new(server)),
                ..target(None, resource, "Mail.Read")
            },
            ..fields()
        };
        let authenticated = |acr: Option<&str>, acrs: &[&str], amr: &[&str]| KeyFields {
            authentication: Arc::new(Authentication {
                acr: acr.map(Into::into),
                acrs: acrs.iter().map(|acr| Arc::from(*acr)).collect(),
                amr: amr.iter().map(|amr| Arc::from(*amr)).collect(),
            }),
            ..fields()
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
            authenticated(Some("1"), &[], &[]),
            authenticated(Some(""), &[], &[]),
            authenticated(None, &["1"], &[]),
            authenticated(None, &[], &["1"]),
            authenticated(None, &["c1"], &["mfa"]),
            authenticated(None, &["c1", "mfa"], &[]),
            authenticated(None, &["c1mfa"], &[]),
            KeyFields { subject_scopes: Scopes::parse("access_as_user more"), ..fields() },
            KeyFields { subject_scopes: Scopes::default(), ..fields() },
            KeyFields { binding: Binding::Session("s-1".into()), ..fields() },
            KeyFields { binding: Binding::Session("identity".into()), ..fields() },
            KeyFields { binding: Binding::Token([7; 32]), ..fields() },
            KeyFields { connector: ConnectorName::new("notes"), ..fields() },
            KeyFields { target: target(Some("api://notes"), None, "Mail.Read"), ..fields() },
            KeyFields { target: target(None, Some("api://mail"), "Mail.Read"), ..fields() },
            KeyFields { target: target(Some("api://mail"), Some(""), "Mail.Read"), ..fields() },
            KeyFields { target: target(Some("api://mail"), None, "Mail.Read Mail.Send"), ..fields() },
            KeyFields { target: target(Some("api://mail"), None, ""), ..fields() },
            issued_by(None, "crm"),
            issued_by(None, "crm2"),
            issued_by(None, ""),
            issued_by(Some("crm"), ""),
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
}
