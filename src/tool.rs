//! What a tool is, as its connector declares it: a name, whose identity it runs with, and what it may ask for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::identity::{Audience, IssuerName, Scopes, word};

word! {
    /// The configuration's name for a connector. Safe as a metric label.
    ConnectorName
}
word! {
    /// The name of a tool on its connector. Safe as a metric label.
    ToolName
}
word! {
    /// The configuration's name for an authorization server that issues tokens for connectors. Safe as a metric label.
    ResourceAuthorizationServerName
}
word! {
    /// The target service's location, an absolute URI (RFC 8707 section 2).
    Resource
}

/// The name of the one tool that a REST connector without a list of tools has.
pub const ANY_TOOL: &str = "any";

/// Who the connector sees. Declared for each tool; nothing ever falls back from one to another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IdentityMode {
    /// The signed-in user, by an exchange of the subject token.
    OnBehalfOf,
    /// The signed-in user, by a grant the user made once at a service with its own accounts.
    Connection,
    /// The gateway's application identity.
    AppOnly,
}

impl IdentityMode {
    /// As it stands in the configuration, in records, metrics and the `Obo-Identity-Mode` header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnBehalfOf => "on_behalf_of",
            Self::Connection => "connection",
            Self::AppOnly => "app_only",
        }
    }
}

impl fmt::Display for IdentityMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a credential for the tool has to be good for.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Target {
    /// The logical name of the target service (RFC 8693 section 2.1).
    pub audience: Option<Audience>,
    /// The location of the target service (RFC 8707 section 2).
    pub resource: Option<Resource>,
    /// Who issues the token, where that is not the issuer of the subject token: the second leg of an ID-JAG.
    pub authorization_server: Option<ResourceAuthorizationServerName>,
    /// The scopes to ask for: this tool's, and no more.
    pub scopes: Scopes,
}

/// One named operation on a connector, with everything declared for it.
#[derive(Clone, Debug)]
pub struct Tool {
    /// The connector it is on.
    pub connector: ConnectorName,
    /// Its name there.
    pub name: ToolName,
    /// Who the connector sees.
    pub identity: IdentityMode,
    /// What its credential has to be good for.
    pub target: Target,
    /// The issuers whose people may call it.
    pub issuers: Arc<[IssuerName]>,
    /// Scopes that the subject token itself must hold.
    pub required_scopes: Scopes,
    /// How the person must have signed in.
    pub required_sign_in: RequiredSignIn,
}

/// What is demanded of how the person signed in. By default, nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RequiredSignIn {
    /// Entra's authentication contexts, each of which must have been passed (`acrs`).
    pub acrs: Vec<Arc<str>>,
    /// Authentication context classes, one of which must be the token's (`acr`). Empty: any.
    pub acr: Vec<Arc<str>>,
    /// How long ago the person may have signed in (`auth_time`).
    pub max_age: Option<Duration>,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.connector, self.name)
    }
}
