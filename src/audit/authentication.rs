//! What was done about somebody's tokens: each time an authorization server is asked for one, each time somebody has a person
//! forgotten, and what people do about it themselves (`deed.rs`).

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method};

use super::deed::{Deed, KnownPerson};
use super::keyed::Privacy;
use super::record::{Destination, Fault, RequestId};
use crate::identity::{Actor, Caller, Issuer, IssuerName, Peer, Person, Scopes};
use crate::tool::{ConnectorName, Target};

/// Something that was done about somebody's tokens.
#[derive(Clone, Debug)]
pub struct AuthenticationRecord {
    /// Its identifier, from the same numbers as calls have.
    pub id: RequestId,
    /// What it may say of people.
    pub privacy: Arc<Privacy>,
    /// When it began, since 1970 UTC.
    pub began_at: Duration,
    /// From there to its end.
    pub duration: Duration,
    /// What.
    pub what: Authentication,
}

/// What was done.
#[derive(Clone, Debug)]
pub enum Authentication {
    /// An authorization server was asked for a token.
    Exchange(Exchange),
    /// Whatever was held for a person was dropped.
    Revocation(Revocation),
    /// A person did something themselves, or something became of what they had connected.
    Deed(Box<Deed>),
}

/// A request to an authorization server for a token.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// By which grant, as in the configuration; the second leg of an ID-JAG is `id_jag_redemption`, and the renewal of a
    /// connection `refresh_token`.
    pub grant: &'static str,
    /// For whom.
    pub whom: Whom,
    /// The gateway's name for the server.
    pub server: IssuerName,
    /// The server's identifier, where it has one.
    pub issuer: Option<Issuer>,
    /// Its token endpoint, where it is known.
    pub endpoint: Option<Destination>,
    /// The gateway's own client there.
    pub client_id: Arc<str>,
    /// What the token is to be good for.
    pub target: Target,
    /// Why it is asked.
    pub occasion: Occasion,
    /// What came of it.
    pub end: ExchangeEnd,
}

/// For whom a token is asked.
#[derive(Clone, Debug)]
pub enum Whom {
    /// The person of a call, by their own token.
    Caller(Arc<Caller>),
    /// A person, by what they have connected, and the agent whose call it is for.
    Owner(Box<KnownPerson>, Actor),
    /// The gateway's own application.
    Application,
}

impl Whom {
    /// The caller of the call, where their token is what is exchanged.
    pub fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Caller(caller) => Some(caller),
            Self::Owner(..) | Self::Application => None,
        }
    }

    /// The agent that it is for.
    pub fn agent(&self) -> Option<&Actor> {
        match self {
            Self::Caller(caller) => caller.actor(),
            Self::Owner(_, agent) => Some(agent),
            Self::Application => None,
        }
    }
}

/// Why an authorization server is asked for a token.
#[derive(Clone, Debug)]
pub struct Occasion {
    /// The call it is for, or in whose course it was noticed that a token has to be renewed.
    pub request: RequestId,
    /// The connector that gets the token.
    pub connector: ConnectorName,
    /// What made it necessary.
    pub reason: ExchangeReason,
}

/// What made an exchange necessary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExchangeReason {
    /// There was no token.
    Needed,
    /// The one that there was has ended.
    Expired,
    /// The token in use is about to end.
    RefreshAhead,
    /// The connector turned the one before it away.
    TurnedAway,
    /// The connector turned the one before it away, and demanded claims of the next.
    ClaimsDemanded,
}

impl ExchangeReason {
    /// As it stands in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Needed => "needed",
            Self::Expired => "expired",
            Self::RefreshAhead => "refresh_ahead",
            Self::TurnedAway => "turned_away",
            Self::ClaimsDemanded => "claims_demanded",
        }
    }

    /// Whether the token takes the place of another one.
    pub const fn is_renewal(self) -> bool {
        match self {
            Self::Needed => false,
            Self::Expired | Self::RefreshAhead | Self::TurnedAway | Self::ClaimsDemanded => true,
        }
    }
}

/// What came of an exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExchangeEnd {
    /// A token.
    Issued(Issued),
    /// None.
    Failed(Failure),
    /// Nobody heard the end of it: the gateway stopped, or its own code failed.
    BrokeOff,
}

/// A token that a server gave. Never the token itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issued {
    /// Its SHA-256.
    pub token: [u8; 32],
    /// The scopes it was granted, where the server says so.
    pub granted: Option<Scopes>,
    /// How long it lives from when it was asked for, where the server says so.
    pub lifetime: Option<Duration>,
    /// The identifier by which the server's operators find the request.
    pub correlation_id: Option<String>,
}

/// Why something did not come about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What it comes down to: one of a closed set.
    pub code: &'static str,
    /// Who can do something about it.
    pub fault: Fault,
    /// What exactly happened. Never a token.
    pub detail: String,
    /// The server's `error`, where it gave one.
    pub error: Option<String>,
    /// Its numbers for it (Entra's `error_codes`).
    pub error_codes: Vec<u64>,
    /// The identifier by which the server's operators find the request.
    pub correlation_id: Option<String>,
}

impl Failure {
    /// One of which no server said anything.
    pub fn of(code: &'static str, fault: Fault, detail: impl Into<String>) -> Self {
        Self {
            code,
            fault,
            detail: detail.into(),
            error: None,
            error_codes: Vec::new(),
            correlation_id: None,
        }
    }
}

/// A person was forgotten.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// Who.
    pub person: Person,
    /// The realms in which their identifier means somebody: tenants, and issuers that have none.
    pub realms: Vec<Arc<str>>,
    /// What was dropped.
    pub dropped: Forgotten,
    /// The connectors whose connections were.
    pub connectors: Vec<ConnectorName>,
    /// How many sessions at the pages ended.
    pub sessions: usize,
    /// Why their connections are still in the vault, where they may be.
    pub failure: Option<Failure>,
    /// Who asked for it.
    pub peer: Peer,
    /// By which method.
    pub method: Method,
    /// Of which path. The query names the person, and is not recorded.
    pub path: Arc<str>,
    /// What the asking program calls itself.
    pub user_agent: Option<HeaderValue>,
}

/// What was dropped when a person was forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Forgotten {
    /// Delegated tokens that were kept for them.
    pub credentials: usize,
    /// Tokens of theirs that were remembered as verified.
    pub remembered_tokens: usize,
    /// Connections of theirs, whose grants were in the vault.
    pub connections: usize,
}
