//! Whose calls are counted together: identities, by digest. A refreshed token is the same person, and a bucket takes as many bytes
//! whatever its owner is called.

use crate::digest::FieldDigest;
use crate::identity::{Caller, Issuer, Subject, Tenant};

/// The digest of an identity.
pub type Key = [u8; 32];

/// What stands for everybody.
pub const EVERYBODY: Key = [0; 32];

/// A person and an agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Who {
    /// The person.
    pub person: Key,
    /// The agent. Those that a token does not name are one, for each issuer.
    pub agent: Key,
}

impl Who {
    /// Who calls.
    pub fn of(caller: &Caller) -> Self {
        let mut agent = FieldDigest::new("limited-agent/1");
        agent.field(caller.issuer().as_str().as_bytes());
        agent.optional(caller.actor().map(|actor| actor.as_str()));
        Self { person: person_key(caller.issuer(), caller.tenant(), caller.subject()), agent: agent.finish() }
    }
}

/// The key of a person.
pub fn person_key(issuer: &Issuer, tenant: &Tenant, subject: &Subject) -> Key {
    let mut person = FieldDigest::new("limited-person/1");
    person.field(issuer.as_str().as_bytes());
    person.optional(tenant.id());
    person.field(subject.as_str().as_bytes());
    person.finish()
}
