//! What happens to people's connections: counted, logged, and recorded.

use std::sync::Arc;

use super::{ConnectError, Service};
use crate::audit::{
    AuditUnavailable, Deed, DeedEnd, DeedKind, DeedRecording, DeedServer, Destination, Failure, Fault,
    Issued, KnownPerson, PageVisit, Place, Recorder,
};
use crate::error_chain::ErrorChain;
use crate::identity::Actor;
use crate::metrics::Metrics;
use crate::oauth::code_client::GrantedTokens;
use crate::oauth::error_response::is_declined;
use crate::oauth::exchange;
use crate::tool::ConnectorName;
use crate::vault::Owner;

/// Something that happened to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A person connected an account.
    Connected,
    /// A person agreed that another agent may use a connection.
    Consented,
    /// A person declined what an agent asks for: here, or at the service.
    Declined,
    /// A connection did not come about: a service did not let it, or its answer was none that could be believed.
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
    /// As it stands in metrics and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Consented => "consented",
            Self::Declined => "declined",
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

/// Where events go. Renewals have records of their own kind, those of exchanges; all else is a deed.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
    metrics: Arc<Metrics>,
}

/// A deed that is under way, about a connection.
pub struct Doing {
    events: Events,
    recording: DeedRecording,
    connector: Option<ConnectorName>,
    agent: Option<Actor>,
}

impl Events {
    /// Counted and recorded here.
    pub fn new(recorder: Recorder, metrics: Arc<Metrics>) -> Self {
        Self { recorder, metrics }
    }

    /// Who keeps the records.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Takes a place for a record that may come.
    ///
    /// # Errors
    ///
    /// [`AuditUnavailable`] while there is none; nothing must be done then.
    pub fn reserve(&self) -> Result<Place, AuditUnavailable> {
        self.recorder.reserve()
    }

    /// Begins a deed of whoever asks for this page. Of what, comes to be known later.
    pub fn begin_unknown(&self, place: Place, kind: DeedKind, visit: &PageVisit) -> Doing {
        let recording = place.begin(Deed::on_page(kind, visit));
        Doing { events: self.clone(), recording, connector: None, agent: None }
    }

    /// Begins a deed about what `owner` has.
    pub fn begin(&self, place: Place, kind: DeedKind, owner: &Owner, visit: Option<&PageVisit>) -> Doing {
        let deed = visit.map_or_else(|| Deed::of(kind), |visit| Deed::on_page(kind, visit));
        let events = self.clone();
        let mut doing = Doing { events, recording: place.begin(deed), connector: None, agent: None };
        doing.about(owner);
        doing
    }

    /// Notes what happened. `agent` is who asked, where one did; `detail` never holds a token.
    pub fn note(&self, event: Event, connector: &ConnectorName, agent: Option<&Actor>, detail: &str) {
        self.metrics.connection_changed(connector.as_str(), event.as_str());
        let (name, agent) = (event.as_str(), agent.map(Actor::as_str));
        match event {
            // Each of many calls may bring one about.
            Event::Refreshed => tracing::debug!(%connector, event = name, agent, "Connection changed"),
            Event::Refused | Event::RefreshFailed | Event::RevocationFailed => {
                tracing::warn!(%connector, event = name, agent, detail, "Connection not changed");
            }
            Event::Connected
            | Event::Consented
            | Event::Declined
            | Event::Withdrawn
            | Event::Disconnected
            | Event::Forgotten
            | Event::Revoked => {
                tracing::info!(%connector, event = name, agent, detail, "Connection changed");
            }
        }
    }
}

impl Doing {
    /// It is about what `owner` has. Where somebody else does it, the record names both.
    pub fn about(&mut self, owner: &Owner) {
        self.connector = Some(owner.connector.clone());
        self.recording.add(|deed| {
            deed.connector = Some(owner.connector.clone());
            match &deed.person {
                None => deed.person = Some(KnownPerson::of(&owner.person)),
                Some(person) if person.id == owner.person => {}
                Some(_) => deed.owner = Some(KnownPerson::of(&owner.person)),
            }
        });
    }

    /// It is for this agent.
    pub fn by(&mut self, agent: &Actor) {
        self.agent = Some(agent.clone());
        self.recording.add(|deed| deed.agent = Some(agent.clone()));
    }

    /// This service is asked.
    pub fn at(&mut self, service: &Service) {
        self.recording.add(|deed| deed.server = Some(service.as_recorded()));
    }

    /// Adds what is known by now.
    pub fn add(&mut self, add: impl FnOnce(&mut Deed)) {
        self.recording.add(add);
    }

    /// The record's identifier.
    pub fn id(&self) -> crate::audit::RequestId {
        self.recording.id()
    }

    /// It is done.
    pub fn done(self, event: Option<Event>, issued: Option<Issued>) {
        self.recording.end(DeedEnd::Done(issued));
        if let Some((event, connector)) = event.zip(self.connector.as_ref()) {
            self.events.note(event, connector, self.agent.as_ref(), "");
        }
    }

    /// It ends with this error.
    pub fn came_to_nothing(self, error: ConnectError) -> ConnectError {
        let event = match &error {
            ConnectError::Declined { error } if is_declined(error.as_str()) => Event::Declined,
            _ => Event::Refused,
        };
        self.failed(Some(event), failure(&error));
        error
    }

    /// It is not.
    pub fn failed(self, event: Option<Event>, failure: Failure) {
        let detail = failure.detail.clone();
        self.recording.end(DeedEnd::Failed(failure));
        if let Some((event, connector)) = event.zip(self.connector.as_ref()) {
            self.events.note(event, connector, self.agent.as_ref(), &detail);
        }
    }
}

impl Service {
    /// As it stands in records.
    pub fn as_recorded(&self) -> DeedServer {
        let settings = self.client.settings();
        DeedServer {
            name: settings.label.clone(),
            issuer: settings.issuer.clone(),
            endpoint: self.client.token_endpoint().as_ref().map(Destination::of),
            client_id: Arc::clone(&settings.client_id),
        }
    }
}

/// What records say of tokens that came.
pub fn issued(tokens: &GrantedTokens) -> Issued {
    Issued {
        token: tokens.access_token.digest(),
        granted: tokens.granted.clone(),
        lifetime: tokens.lifetime,
        correlation_id: tokens.correlation_id.as_ref().map(|word| word.as_str().to_owned()),
    }
}

/// What records say of a connection that did not come about.
pub fn failure(error: &ConnectError) -> Failure {
    let of = |code, fault| Failure::of(code, fault, ErrorChain(error).to_string());
    match error {
        ConnectError::TicketOver => of("link_gone", Fault::User),
        ConnectError::OtherPerson => of("other_person", Fault::User),
        ConnectError::StateUnknown => of("not_begun", Fault::User),
        ConnectError::OtherBrowser => of("other_browser", Fault::User),
        ConnectError::OtherServer => of("other_server", Fault::AuthorizationServer),
        ConnectError::Declined { error } => {
            let (code, fault) = match is_declined(error.as_str()) {
                true => ("declined_at_service", Fault::User),
                false => ("service_error", Fault::AuthorizationServer),
            };
            Failure { error: Some(error.as_str().to_owned()), ..of(code, fault) }
        }
        ConnectError::NoCode => of("no_code", Fault::AuthorizationServer),
        ConnectError::NothingToAgreeTo => of("no_connection", Fault::User),
        ConnectError::Forgotten => of("forgotten", Fault::User),
        ConnectError::NotConfigured => of("not_configured", Fault::Gateway),
        ConnectError::Exchange(error) => exchange::failure(error, true),
        ConnectError::Vault(_) => of("vault_unavailable", Fault::Gateway),
        ConnectError::NotRecorded(_) => of("audit_unavailable", Fault::Gateway),
        ConnectError::BrokeOff => of("broke_off", Fault::Gateway),
    }
}
