//! What happened to people's connections: counted, logged, and recorded.

use std::sync::Arc;

use crate::identity::Actor;
use crate::metrics::Metrics;
use crate::tool::ConnectorName;
use crate::vault::Owner;

/// Something that happened to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A person connected an account.
    Connected,
    /// A person agreed that another agent may use a connection.
    Consented,
    /// A person, or the service, did not let a connection come about; or the answer was none that could be believed.
    Refused,
    /// The access token was renewed.
    Refreshed,
    /// The access token could not be renewed this time.
    RefreshFailed,
    /// The service withdrew the connection.
    Withdrawn,
    /// The person took the connection away.
    Disconnected,
    /// The person was forgotten.
    Forgotten,
    /// The service took the tokens back.
    Revoked,
    /// The service was asked to take the tokens back, and did not.
    RevocationFailed,
}

impl Event {
    /// As it stands in metrics and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Consented => "consented",
            Self::Refused => "refused",
            Self::Refreshed => "refreshed",
            Self::RefreshFailed => "refresh_failed",
            Self::Withdrawn => "withdrawn",
            Self::Disconnected => "disconnected",
            Self::Forgotten => "forgotten",
            Self::Revoked => "revoked",
            Self::RevocationFailed => "revocation_failed",
        }
    }
}

/// Where events go.
pub struct Events(Arc<Metrics>);

impl Events {
    /// Counted here.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self(metrics)
    }

    /// Notes what happened to what `owner` has. `agent` is who asked, where one did; `detail` never holds a token.
    pub fn note(&self, event: Event, owner: &Owner, agent: Option<&Actor>, detail: &str) {
        self.note_of(event, &owner.connector);
        // THE PLACE OF THE RECORD: one of class 3002 for each event, of the person of `owner`, is made here and nowhere else.
        tracing::info!(
            connector = %owner.connector,
            event = event.as_str(),
            agent = agent.map(Actor::as_str),
            detail,
            "Connection changed"
        );
    }

    /// Notes what happened to a connection of a connector, whose is not known.
    pub fn note_of(&self, event: Event, connector: &ConnectorName) {
        self.0.connection_changed(connector.as_str(), event.as_str());
    }
}
