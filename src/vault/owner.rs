//! Whose a record is, and the names under which that stands in a vault.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::VaultError;
use super::key::{Name, NameKey, Place};
use crate::identity::{Issuer, Person, PersonId, Realm, Subject, Tenant};
use crate::tool::ConnectorName;

/// Longest description of an owner that is kept: four identifiers, each of which has a bound of its own where it comes from.
pub const OWNER_BYTES_MAX: usize = 16_384;

/// Whose a record is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Owner {
    /// The person's.
    pub person: PersonId,
    /// What it is for.
    pub connector: ConnectorName,
}

impl Owner {
    /// Who owns what `person` has for `connector`.
    pub fn new(person: &PersonId, connector: &ConnectorName) -> Self {
        Self { person: person.clone(), connector: connector.clone() }
    }

    /// The place of what is the owner's, of some kind.
    pub(super) fn place(&self, label: &str) -> Place {
        person_place(&self.person, label).at(self.connector.as_str().as_bytes())
    }

    /// The name of what the owner has.
    pub(super) fn name(&self, names: &NameKey) -> Name {
        names.name(&self.place("owner"))
    }

    /// Every name under which something can have been taken away from the owner: this record, or all of the person's, whether
    /// the person was named by an issuer or by a tenant.
    pub(super) fn revocable(&self, names: &NameKey) -> Vec<Name> {
        let mut names_taken = forgettable(&self.person, names);
        names_taken.push(self.name(names));
        names_taken
    }
}

/// The name of a person, by which all that they have is found.
pub fn person_name(person: &PersonId, names: &NameKey) -> Name {
    names.name(&person_place(person, "person"))
}

/// Every name under which a person is forgotten.
pub fn forgettable(person: &PersonId, names: &NameKey) -> Vec<Name> {
    let by_issuer = names.name(&at_issuer(&person.issuer, &person.subject));
    let by_tenant = person.tenant.id().map(|tenant| names.name(&in_tenant(tenant, &person.subject)));
    std::iter::once(by_issuer).chain(by_tenant).collect()
}

/// The names under which all that a person has is taken away, also what nobody finds at the time.
pub fn names_of_person(person: &Person, names: &NameKey) -> Vec<Name> {
    match &person.realm {
        Realm::Issuers(issuers) => {
            issuers.iter().map(|issuer| names.name(&at_issuer(issuer, &person.subject))).collect()
        }
        Realm::Tenant(tenant) => vec![names.name(&in_tenant(tenant, &person.subject))],
    }
}

fn person_place(person: &PersonId, label: &str) -> Place {
    let PersonId { issuer, tenant, subject } = person;
    Place::new(label).at(issuer.as_str().as_bytes()).at_optional(tenant.id()).at(subject.as_str().as_bytes())
}

fn at_issuer(issuer: &Issuer, subject: &Subject) -> Place {
    Place::new("person at issuer").at(issuer.as_str().as_bytes()).at(subject.as_str().as_bytes())
}

fn in_tenant(tenant: &str, subject: &Subject) -> Place {
    Place::new("person in tenant").at(tenant.as_bytes()).at(subject.as_str().as_bytes())
}

/// An owner, as it is written within what is sealed.
#[derive(Serialize, Deserialize)]
struct WrittenOwner<'a> {
    issuer: Cow<'a, str>,
    tenant: Option<Cow<'a, str>>,
    subject: Cow<'a, str>,
    connector: Cow<'a, str>,
}

/// An owner, to be sealed.
pub fn write(owner: &Owner) -> Result<Vec<u8>, VaultError> {
    let Owner { person: PersonId { issuer, tenant, subject }, connector } = owner;
    let written = WrittenOwner {
        issuer: issuer.as_str().into(),
        tenant: tenant.id().map(Into::into),
        subject: subject.as_str().into(),
        connector: connector.as_str().into(),
    };
    let written = serde_json::to_vec(&written).map_err(|_| VaultError::TooLarge)?;
    if written.len() > OWNER_BYTES_MAX { Err(VaultError::TooLarge) } else { Ok(written) }
}

/// Reads what `write` wrote.
pub fn read(bytes: &[u8]) -> Option<Owner> {
    let WrittenOwner { issuer, tenant, subject, connector } = serde_json::from_slice(bytes).ok()?;
    Some(Owner {
        person: PersonId {
            issuer: Issuer::new(&*issuer),
            tenant: tenant.map_or(Tenant::Sole, |id| Tenant::Named((&*id).into())),
            subject: Subject::new(&*subject),
        },
        connector: ConnectorName::new(&*connector),
    })
}
