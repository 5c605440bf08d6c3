//! What was done about somebody's tokens: each time an authorization server is asked for one, and each time somebody has a
//! person forgotten.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method};

use super::keyed::Privacy;
use super::record::{Destination, Fault, RequestId};
use crate::identity::{Caller, Issuer, IssuerName, Peer, Person, Scopes};
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
}

/// A request to an authorization server for a token.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// By which grant, as in the configuration; the second leg of an ID-JAG is `id_jag_redemption`.
    pub grant: &'static str,
    /// For whom. `None`: for the gateway's own application.
    pub caller: Option<Arc<Caller>>,
    /// The gateway's name for the server.
    pub server: IssuerName,
    /// The server.
    pub issuer: Issuer,
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
            Self::RefreshAhead => "refresh_ahead",
            Self::TurnedAway => "turned_away",
            Self::ClaimsDemanded => "claims_demanded",
        }
    }

    /// Whether the token takes the place of another one.
    pub const fn is_renewal(self) -> bool {
        match self {
            Self::Needed => false,
            Self::RefreshAhead | Self::TurnedAway | Self::ClaimsDemanded => true,
        }
    }
}

/// What came of an exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExchangeEnd {
    /// A token.
    Issued {
        /// Its SHA-256.
        token: [u8; 32],
        /// The scopes it was granted, where the server says so.
        granted: Option<Scopes>,
        /// How long it lives from when it was asked for, where the server says so.
        lifetime: Option<Duration>,
        /// The identifier by which the server's operators find the request.
        correlation_id: Option<String>,
    },
    /// None.
    Failed {
        /// What it comes down to: one of a closed set.
        code: &'static str,
        /// Who can do something about it.
        fault: Fault,
        /// What exactly happened. Never a token.
        detail: String,
        /// The server's `error`, where it gave one.
        error: Option<String>,
        /// Its numbers for it (Entra's `error_codes`).
        error_codes: Vec<u64>,
        /// The identifier by which the server's operators find the request.
        correlation_id: Option<String>,
    },
    /// Nobody heard the end of it: the gateway stopped, or its own code failed.
    BrokeOff,
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
