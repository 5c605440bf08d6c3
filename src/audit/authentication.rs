//! What was done about somebody's tokens: each time an authorization server is asked for one, and each time somebody has a
//! person forgotten.
//!
//! An exchange begins by taking a place for its record, as a call does, and its record is handed over before anybody gets what
//! it yielded: in the trail it stands before the records of the calls that used it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Method};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::keyed::Privacy;
use super::log::{AuditLog, AuditUnavailable, Slot};
use super::record::{Destination, Fault, Record, RequestId};

use crate::clock::Now;
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
}

/// The exchanges under way, for whoever ends them: some are for nobody who waits.
#[derive(Clone, Default)]
pub struct Exchanges {
    running: TaskTracker,
    over: CancellationToken,
}

impl Exchanges {
    /// Breaks off what is under way, and waits until all of it has been handed to the trail.
    pub async fn end(&self) {
        self.over.cancel();
        self.running.close();
        self.running.wait().await;
    }
}

/// Where records go, and what they may say of people.
#[derive(Clone)]
pub struct Recorder {
    trail: Option<AuditLog>,
    privacy: Arc<Privacy>,
    exchanges: Exchanges,
}

impl Recorder {
    /// To this trail.
    pub fn new(trail: AuditLog, privacy: Arc<Privacy>, exchanges: Exchanges) -> Self {
        Self { trail: Some(trail), privacy, exchanges }
    }

    /// Nowhere, for a rehearsal: it asks authorization servers at somebody's own wish, and serves nobody. A test holds that
    /// nothing else makes this.
    pub fn for_rehearsal() -> Self {
        Self { trail: None, privacy: Privacy::of_this_run(), exchanges: Exchanges::default() }
    }

    /// Waits until exchanges are to be broken off.
    pub async fn exchanges_are_over(&self) {
        self.exchanges.over.cancelled().await;
    }

    /// What records may say of people.
    pub fn privacy(&self) -> &Arc<Privacy> {
        &self.privacy
    }

    /// Begins the record of an exchange.
    ///
    /// # Errors
    ///
    /// [`AuditUnavailable`] while there is no place for it; the exchange must then not be made.
    pub fn begin(&self, exchange: Exchange) -> Result<Recording, AuditUnavailable> {
        let slot = self.trail.as_ref().map(AuditLog::reserve).transpose()?;
        let now = Now::read();
        let record = AuthenticationRecord {
            id: RequestId::next(),
            privacy: Arc::clone(&self.privacy),
            began_at: now.wall,
            duration: Duration::ZERO,
            what: Authentication::Exchange(exchange),
        };
        let running = self.exchanges.running.token();
        Ok(Recording { slot, record: Some(Box::new(record)), began: now.monotonic, _running: running })
    }
}

/// The record of an exchange that is under way. When it is dropped, however that came about, it is written.
#[derive(Debug)]
pub struct Recording {
    slot: Option<Slot>,
    record: Option<Box<AuthenticationRecord>>,
    began: Instant,
    /// Counts it as long as its record may still be to come.
    _running: TaskTrackerToken,
}

impl Recording {
    /// It has come to this end. Returns the record's identifier.
    pub fn end(mut self, end: ExchangeEnd) -> RequestId {
        let record = self.record.as_mut().expect("it is taken when this is dropped, and not before");
        if let Authentication::Exchange(exchange) = &mut record.what {
            exchange.end = end;
        }
        record.id
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let (Some(slot), Some(mut record)) = (self.slot.take(), self.record.take()) {
            record.duration = self.began.elapsed();
            // Nobody waits for it: the records of the calls that it was made for come later, and those are waited for.
            drop(slot.write(Record::Authentication(record)));
        }
    }
}
