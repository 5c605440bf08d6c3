//! People's own connections: what a person has granted the gateway at a service with accounts of its own.
//!
//! An agent's first call gets a ticket: a link that carries no authority. Whoever opens it signs in at the gateway's pages, and
//! only the person whose agent asked goes on from there to the service. What comes back is kept in the vault, for that person,
//! that connector, and the agents that the person agreed to. Pages, and how an agent hears of the link, are others' business.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use url::Url;

use crate::audit::{AuditUnavailable, Recorder, RequestId};
use crate::clock::Now;
use crate::error_chain::ErrorChain;
use crate::flight::Flights;
use crate::identity::{Actor, PersonId, Scopes, SecretToken};
use crate::metrics::Metrics;
use crate::oauth::code_client::{CodeClient, CodeClientSettings};
use crate::oauth::error_response::Word;
use crate::oauth::exchange::ExchangeError;
use crate::tool::{ConnectorName, ToolName};
use crate::vault::{Generation, Owner, RecordFault, Vault, VaultError};

mod account;
mod connecting;
mod event;
mod flows;
mod grant;
mod keeping;
mod refreshing;
mod saving;
mod tickets;
mod turns;
mod waiting;

#[cfg(all(test, feature = "demo"))]
mod tests;

pub use connecting::{Callback, Connected, Disconnected};
pub use grant::{AgentConsent, Summary};
pub use refreshing::OpenedGrant;
pub use tickets::{Ticket, TicketId};

use event::{Event, Events};
use flows::Flows;
use grant::Grant;
use tickets::Tickets;
use turns::Turns;

/// Most grants that are kept open in memory. The others are read from the vault when they are needed.
const OPENED_MAX: u64 = 16_384;
/// How long one is kept open that nobody uses.
const OPENED_IDLE: Duration = Duration::from_secs(3_600);
/// How long a server's no is repeated to a person's agents without asking it again.
const REFUSED_FOR: Duration = Duration::from_secs(2);

/// What the configuration says about the connections of one connector, checked.
#[derive(Clone, Debug)]
pub struct ConnectionSettings {
    /// The connector.
    pub connector: ConnectorName,
    /// Where people sign in for it.
    pub client: CodeClientSettings,
    /// Which member of user-info, or of the ID token, names the account. `None`: the usual ones.
    pub account: Option<Arc<str>>,
}

/// Where the gateway's pages are, as browsers reach them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Links {
    base: Arc<str>,
}

impl Links {
    /// Under `path` of `public_url`.
    pub fn new(public_url: &Url, path: &str) -> Self {
        let base = public_url.as_str().trim_end_matches('/');
        Self { base: format!("{base}{}", path.trim_end_matches('/')).into() }
    }

    /// The page on which a ticket is used.
    pub fn connect(&self, ticket: &TicketId) -> String {
        format!("{}/connect/{ticket}", self.base)
    }

    /// Where the service of a connector sends a browser back to (`redirect_uri`). Each has its own, so that no server can have an
    /// answer of another one taken for its own (RFC 9700 section 4.4.2).
    pub fn callback(&self, connector: &ConnectorName) -> String {
        format!("{}/callback/{connector}", self.base)
    }
}

/// What a call needs of a connection.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// By which call.
    pub request: RequestId,
    /// For whom.
    pub holder: PersonId,
    /// By whom.
    pub agent: Actor,
    /// Of which connector.
    pub connector: ConnectorName,
    /// For which tool.
    pub tool: ToolName,
    /// What the tool needs.
    pub scopes: Scopes,
}

/// What is missing before a person's connection can be used by an agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    /// The person has none.
    Connection,
    /// The person has not agreed to this agent.
    Consent,
    /// The person granted less than the tool needs.
    Scopes,
    /// It was made under other settings: another client, another service, other scopes.
    Settings,
    /// It is over, and there is nothing to renew it by.
    Renewal,
    /// The service has withdrawn it.
    Withdrawn,
    /// What is kept of it cannot be used.
    Unusable(RecordFault),
}

impl Missing {
    /// Whether the person has to agree, and nothing more.
    pub const fn is_consent_alone(self) -> bool {
        matches!(self, Self::Consent)
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "the person has not connected an account yet",
            Self::Consent => "the person has not agreed to this agent yet",
            Self::Scopes => "the person granted less than the tool needs",
            Self::Settings => "the connection was made under other settings of the connector",
            Self::Renewal => "the connection is over, and cannot be renewed",
            Self::Withdrawn => "the service has withdrawn the connection",
            Self::Unusable(_) => "what is kept of the connection cannot be used",
        })
    }
}

/// Why there is no access token of a connection.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The person has to act.
    #[error("{0}")]
    Missing(Missing),
    /// The connector has no connections any more.
    #[error("the connector has no connections")]
    NotConfigured,
    /// The service's authorization server gave none.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The vault cannot be used.
    #[error("the vault cannot be used")]
    Vault(#[from] VaultError),
    /// The task that was to obtain it ended without a result.
    #[error("obtaining the access token broke off")]
    BrokeOff,
}

/// Why a person's connection did not come about.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// The link is over: it was used, or is too old.
    #[error("the link has been used, or is too old")]
    TicketOver,
    /// Whoever is signed in is not the person whose agent asked.
    #[error("the link is for another person")]
    OtherPerson,
    /// The answer belongs to no request: it was used, is too old, or was never asked for.
    #[error("the answer belongs to no request that is under way")]
    StateUnknown,
    /// The answer came to another browser than the one that asked.
    #[error("the answer came to another browser than the one that asked")]
    OtherBrowser,
    /// The answer is another server's: by its name (RFC 9207), or by the connector whose address it came to.
    #[error("the answer came from another server than was asked")]
    OtherServer,
    /// The person, or the service, said no.
    #[error("the service said no: {error}")]
    Declined {
        /// The service's `error`.
        error: Word,
    },
    /// The answer has neither a code nor an error.
    #[error("the answer of the service has no code")]
    NoCode,
    /// There is no connection that could be agreed to.
    #[error("there is no connection that the agent could be let use")]
    NothingToAgreeTo,
    /// The person was forgotten while they signed in.
    #[error("the person was forgotten while they signed in")]
    Forgotten,
    /// The connector has no connections any more.
    #[error("the connector has no connections")]
    NotConfigured,
    /// The service gave no tokens.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The vault cannot be used.
    #[error("the vault cannot be used")]
    Vault(#[from] VaultError),
    /// It cannot be recorded, so it was not done.
    #[error(transparent)]
    NotRecorded(#[from] AuditUnavailable),
    /// The task that was to do it ended without a result.
    #[error("connecting broke off")]
    BrokeOff,
}

/// Why connections were not taken away. They are still there.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DisconnectError {
    /// The vault cannot be written.
    #[error("the vault cannot be written")]
    Vault(#[from] VaultError),
    /// It cannot be recorded.
    #[error(transparent)]
    NotRecorded(#[from] AuditUnavailable),
}

/// The service behind the connections of one connector.
struct Service {
    connector: ConnectorName,
    client: CodeClient,
    account: Option<Arc<str>>,
    /// Where it is recorded what happens there.
    events: Events,
}

/// What outlives reloads: the vault, and what is under way.
pub struct Held {
    vault: Vault,
    tickets: Tickets,
    flows: Flows,
    turns: Turns,
    flights: Flights<Owner, Result<Arc<OpenedGrant>, ConnectionError>>,
    opened: moka::sync::Cache<Owner, Arc<OpenedGrant>>,
    refused: moka::sync::Cache<Owner, ConnectionError>,
    /// Grants that are newer than what the vault has, since it could not be written: a server that rotates refresh tokens
    /// knows these alone.
    unsaved: std::sync::Mutex<HashMap<Owner, (Generation, Grant)>>,
    /// When an agent last used a connection, in seconds since 1970 UTC. It reaches the vault with the next refresh.
    used: moka::sync::Cache<(Owner, Actor), u64>,
    /// Whether somebody tries from time to time to write what is unsaved.
    is_saving: AtomicBool,
    /// The gateway is stopping, and no token is renewed any more.
    is_closing: AtomicBool,
}

/// The connections, under one configuration.
pub struct Connections {
    held: Arc<Held>,
    services: HashMap<ConnectorName, Arc<Service>>,
    links: Links,
    events: Events,
}

impl Held {
    /// Nothing is under way yet.
    pub fn new(vault: Vault) -> Self {
        let opened = moka::sync::Cache::builder().max_capacity(OPENED_MAX).time_to_idle(OPENED_IDLE);
        Self {
            vault,
            tickets: Tickets::default(),
            flows: Flows::default(),
            turns: Turns::default(),
            flights: Flights::default(),
            opened: opened.build(),
            refused: moka::sync::Cache::builder().max_capacity(OPENED_MAX).time_to_live(REFUSED_FOR).build(),
            unsaved: std::sync::Mutex::default(),
            used: moka::sync::Cache::builder().max_capacity(OPENED_MAX).build(),
            is_saving: AtomicBool::default(),
            is_closing: AtomicBool::default(),
        }
    }

    /// The vault.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }
}

impl Connections {
    /// The connections of these connectors. What `previous` has learned of their servers is taken over. `recorder` records what
    /// happens to them.
    ///
    /// # Errors
    ///
    /// The connector whose server's certificate authorities cannot be used, and why.
    pub fn new(
        held: Arc<Held>,
        settings: Vec<ConnectionSettings>,
        links: Links,
        previous: Option<&Self>,
        recorder: Recorder,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, (ConnectorName, rustls::Error)> {
        let events = Events::new(recorder, Arc::clone(metrics));
        let mut services = HashMap::with_capacity(settings.len());
        for ConnectionSettings { connector, client, account } in settings {
            let before = previous.and_then(|previous| previous.services.get(&connector));
            let client = CodeClient::new(client, before.map(|service| &service.client), metrics)
                .map_err(|source| (connector.clone(), source))?;
            let service = Service { connector: connector.clone(), client, account, events: events.clone() };
            services.insert(connector, Arc::new(service));
        }
        Ok(Self { held, services, links, events })
    }

    /// Warns of grants in the vault for connectors that have no connections any more, since nobody gives their tokens back. With
    /// `previous`, of those that had some until now.
    pub async fn warn_of_what_is_left(&self, previous: Option<&Self>) {
        let has_left = |connector: &ConnectorName| {
            let had = previous.is_none_or(|previous| previous.services.contains_key(connector));
            had && !self.services.contains_key(connector)
        };
        // To find them takes the whole vault.
        if previous.is_some_and(|previous| !previous.services.keys().any(has_left)) {
            return;
        }
        let counted = match self.held.vault.count_by_connector().await {
            Ok(counted) => counted,
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&error), "Vault not searched for connections that are left");
                return;
            }
        };
        for (connector, count) in counted.into_iter().filter(|(connector, _)| has_left(connector)) {
            tracing::warn!(
                %connector,
                count,
                remedy = "their tokens have not been given back: put `identity: connection` and `connection` back until these \
                          people have disconnected or been forgotten; or take them out of the vault with `obo-gateway vault \
                          forget`, and have the service end them",
                "Connections left in the vault of a connector that has none any more"
            );
        }
    }

    /// Waits for what is under way, and closes the vault. Nothing can be done with connections then.
    pub async fn close(&self) {
        self.held.close().await;
    }

    /// Where the pages are.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// As which client the gateway is known to the service behind a connector.
    pub fn client_id(&self, connector: &ConnectorName) -> Option<&Arc<str>> {
        self.service(connector).map(|service| &service.client.settings().client_id)
    }

    /// The link that an agent gets for what is missing: the same one for the same agent, person and connector while it is
    /// fresh. It carries no authority.
    pub fn ask(&self, wanted: &Wanted, missing: Missing, now: Now) -> TicketId {
        let scopes = match self.services.get(&wanted.connector) {
            Some(service) => service.client.settings().scopes.clone(),
            None => wanted.scopes.clone(),
        };
        self.held.tickets.ask(wanted, scopes, missing, now)
    }

    /// Whether the person said no to this agent at this connector a moment ago.
    pub fn is_declined(&self, wanted: &Wanted, now: Now) -> bool {
        self.held.tickets.is_declined(wanted, now)
    }

    /// What a link is about, while it can be used.
    pub fn ticket(&self, id: &TicketId, now: Now) -> Option<Ticket> {
        self.held.tickets.get(id, now)
    }

    fn service(&self, connector: &ConnectorName) -> Option<&Arc<Service>> {
        self.services.get(connector)
    }
}

impl Service {
    fn matches(&self, grant: &Grant) -> bool {
        grant.fingerprint == *self.client.fingerprint()
    }
}

/// What a record of the vault says of a connection, for whoever looks after the vault. Whether it can be used is not known
/// there. `None` when it is of another version of the gateway.
pub fn summary_of(connector: &ConnectorName, record: &[u8]) -> Option<Summary> {
    Grant::read(record).map(|grant| grant.summary(connector, false))
}

/// The tokens of a grant that is no longer kept, so that they can be given back.
#[derive(Clone, Debug)]
struct Leftover {
    fingerprint: [u8; 32],
    refresh_token: Option<SecretToken>,
    access_token: SecretToken,
    account: Option<Arc<str>>,
}
