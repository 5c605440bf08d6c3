//! The words for who is asking: peers, subjects, actors, callers, and the secrets they carry.
//!
//! Each word is a type of its own, so that two kinds of text cannot be swapped. Whoever makes one has checked it, once,
//! at the edge; from then on a `String` is only ever text for people.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

mod caller;
mod secret;

pub use caller::{Authentication, Caller, Confirmation, VerifiedClaims};
pub use secret::SecretToken;

/// Declares a word that is text with a meaning of its own, so that two kinds of text cannot be swapped.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Takes the text as it is.
            pub fn new(text: impl Into<std::sync::Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The text, exactly as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}
pub(crate) use word;

word! {
    /// The `iss` value of an authorization server. Compared byte for byte, never normalised (RFC 8414 section 3.3).
    Issuer
}
word! {
    /// The name the configuration gives to an issuer: `contoso` in `issuers.contoso`. Safe as a metric label.
    IssuerName
}
word! {
    /// Who a token is meant for: one value of `aud` (RFC 7519 section 4.1.3).
    Audience
}
word! {
    /// The stable identifier of a person at an issuer: Entra's `oid`, elsewhere `sub`. Never a name or an e-mail.
    Subject
}
word! {
    /// The agent's own identity as the issuer vouches for it: `azp`, `appid`, `client_id` or `cid`.
    Actor
}

word! {
    /// What a rule of policy is called in records: its name in the configuration, or its place (`allow[0]`).
    RuleName
}

/// Which part of an issuer a person belongs to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Tenant {
    /// The issuer serves several tenants and names this one (Entra's `tid`).
    Named(Arc<str>),
    /// The issuer is its own only tenant.
    Sole,
}

impl Tenant {
    /// The tenant's identifier, where it has one.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Named(id) => Some(id),
            Self::Sole => None,
        }
    }
}

/// Which person: the three parts without which an identifier is nobody's. What people are called is no part of it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PersonId {
    /// Who vouches for the person: the issuer as it is configured, also where its tokens have another `iss`.
    pub issuer: Issuer,
    /// The person's tenant there.
    pub tenant: Tenant,
    /// The person.
    pub subject: Subject,
}

impl PersonId {
    /// Where the subject's identifier means something: the tenant, or where there is none, the issuer.
    pub fn realm(&self) -> &str {
        self.tenant.id().unwrap_or(self.issuer.as_str())
    }

    /// Whether it is `person`.
    pub fn is(&self, person: &Person) -> bool {
        person.is(&self.issuer, &self.tenant, &self.subject)
    }
}

/// A person, as an operator names them to have everything forgotten that is held for them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Person {
    /// Where the identifier means something.
    pub realm: Realm,
    /// The identifier: Entra's `oid`, elsewhere `sub`.
    pub subject: Subject,
}

/// Where a person's identifier means something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Realm {
    /// At any of these issuers.
    Issuers(Arc<[Issuer]>),
    /// In this tenant, whichever issuer speaks for it.
    Tenant(Arc<str>),
}

impl Person {
    /// Whether this is the person `subject` of `tenant` at `issuer`.
    pub fn is(&self, issuer: &Issuer, tenant: &Tenant, subject: &Subject) -> bool {
        self.has(issuer, tenant, subject.as_str())
    }

    /// The same, of a subject that is kept as text.
    pub fn has(&self, issuer: &Issuer, tenant: &Tenant, subject: &str) -> bool {
        let at_home = match &self.realm {
            Realm::Issuers(issuers) => issuers.contains(issuer),
            Realm::Tenant(id) => tenant.id() == Some(id),
        };
        at_home && self.subject.as_str() == subject
    }
}

/// A set of scopes (RFC 6749 section 3.3): sorted, without doubles.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Scopes {
    scopes: Arc<[Arc<str>]>,
    canonical: Arc<str>,
}

impl Scopes {
    /// The set of the scopes given, in whatever order and however often.
    pub fn new<T: Into<Arc<str>>>(scopes: impl IntoIterator<Item = T>) -> Self {
        let mut scopes: Vec<Arc<str>> = scopes.into_iter().map(Into::into).collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self { canonical: scopes.join(" ").into(), scopes: scopes.into() }
    }

    /// Reads a space-separated list, the form that `scope` and `scp` take.
    pub fn parse(list: &str) -> Self {
        Self::new(list.split(' ').filter(|scope| !scope.is_empty()))
    }

    /// The one way to write this set: sorted, separated by one space.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.scopes.is_empty()
    }

    /// Whether `scope` is in it, compared exactly.
    pub fn contains(&self, scope: &str) -> bool {
        self.scopes.binary_search_by(|held| held.as_ref().cmp(scope)).is_ok()
    }

    /// Whether all of `others` are in it.
    pub fn contains_all(&self, others: &Self) -> bool {
        others.iter().all(|scope| self.contains(scope))
    }

    /// The scopes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().map(AsRef::as_ref)
    }

    /// What of this set `held` lacks.
    pub fn missing_from(&self, held: &Self) -> Self {
        Self::new(self.scopes.iter().filter(|scope| !held.contains(scope)).cloned())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.canonical)
    }
}

/// The other end of an inbound connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The SHA-256 of the certificate that it was made with, where the other end showed one and proved to hold its key.
    pub certificate: Option<[u8; 32]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_a_set_whatever_their_order() {
        let scopes = Scopes::parse("Mail.Send  Mail.Read Mail.Send");
        assert_eq!(scopes.canonical(), "Mail.Read Mail.Send");
        assert!(scopes.contains("Mail.Read"));
        assert!(!scopes.contains("Mail.Rea"));
        assert!(!scopes.contains("Mail.ReadWrite"));
        assert!(scopes.contains_all(&Scopes::default()));
        assert!(scopes.contains_all(&Scopes::parse("Mail.Read Mail.Send")));
        assert!(!scopes.contains_all(&Scopes::parse("Mail.Read Mail.ReadWrite")));
    }
}
