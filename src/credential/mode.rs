//! The one fork between identity modes. A permit goes down one way, and each way asks for the kind of permit that only
//! this fork hands out: what obtains application tokens cannot be reached for an `on_behalf_of` tool, whatever happens
//! to its exchange, and what exchanges tokens cannot be reached for an `app_only` one; nor does a person's own connection ever
//! stand in for either.

use std::ops::Deref;

use crate::identity::{Issuer, IssuerName};
use crate::policy::Permit;
use crate::tool::{ConnectorName, IdentityMode, Target};

/// A permit, by the mode that its tool declares.
pub enum ByMode<'a> {
    /// The connector sees the person.
    OnBehalfOf(PersonsPermit<'a>),
    /// The connector sees the person, at a service with accounts of its own.
    Connection(ConnectionPermit<'a>),
    /// The connector sees the application.
    AppOnly(ApplicationPermit<'a>),
}

/// A permit for a tool whose connector sees the person, by an exchange of their token.
#[derive(Clone, Copy)]
pub struct PersonsPermit<'a>(&'a Permit);

/// A permit for a tool whose connector sees the person, by what they granted at a service with accounts of its own.
#[derive(Clone, Copy)]
pub struct ConnectionPermit<'a>(&'a Permit);

/// A permit for a tool whose connector sees the gateway's application. It shows nothing of the person but at which
/// issuer they are: the rest has no part in the token.
#[derive(Clone, Copy)]
pub struct ApplicationPermit<'a>(&'a Permit);

impl<'a> ByMode<'a> {
    /// Which way a permit goes.
    pub fn of(permit: &'a Permit) -> Self {
        match permit.identity() {
            IdentityMode::OnBehalfOf => Self::OnBehalfOf(PersonsPermit(permit)),
            IdentityMode::Connection => Self::Connection(ConnectionPermit(permit)),
            IdentityMode::AppOnly => Self::AppOnly(ApplicationPermit(permit)),
        }
    }
}

impl Deref for PersonsPermit<'_> {
    type Target = Permit;

    fn deref(&self) -> &Permit {
        self.0
    }
}

impl Deref for ConnectionPermit<'_> {
    type Target = Permit;

    fn deref(&self) -> &Permit {
        self.0
    }
}

impl ApplicationPermit<'_> {
    /// The connector that the token is for.
    pub fn connector(&self) -> &ConnectorName {
        &self.0.tool().connector
    }

    /// What it has to be good for.
    pub fn target(&self) -> &Target {
        self.0.target()
    }

    /// The issuer that it is asked of: the caller's, so that one tenant's people never act with another's application.
    pub fn issuer(&self) -> &Issuer {
        self.0.caller().issuer()
    }

    /// The name of that issuer.
    pub fn issuer_name(&self) -> &IssuerName {
        self.0.caller().issuer_name()
    }
}
