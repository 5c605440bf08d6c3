//! What a person does about a connection: makes it, lets another agent use it, looks at it, and takes it away.
//!
//! Whoever calls here has signed the person in. That it is the person whose agent asked is checked here all the same.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::{Position, Url};

use super::event::Doing;
use super::flows::Flow;
use super::keeping::GivenBack;
use super::{
    ConnectError, Connections, DisconnectError, Event, Grant, Service, Summary, Ticket, TicketId, Wanted,
};
use crate::audit::{AuditUnavailable, DeedKind, Failure, Fault, PageVisit, Place, RequestId};
use crate::clock::Now;
use crate::error_chain::ErrorChain;
use crate::identity::{Actor, Person, PersonId, SecretToken};
use crate::oauth::code_client::AuthorizationRequest;
use crate::oauth::error_response::Word;
use crate::tool::ConnectorName;
use crate::vault::{Owner, VaultError};

/// Longest part of a callback that is looked at. Codes are below 4 kB.
const CALLBACK_BYTES_MAX: usize = 16_384;

/// A service's answer, as a browser brings it.
pub struct Callback<'a> {
    /// The connector whose address it came to.
    pub connector: &'a str,
    /// `state`.
    pub state: &'a str,
    /// `code`, where there is one.
    pub code: Option<&'a str>,
    /// `error`, where there is one.
    pub error: Option<&'a str>,
    /// `iss` (RFC 9207), where there is one.
    pub iss: Option<&'a str>,
}

impl fmt::Debug for Callback<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback")
            .field("connector", &self.connector)
            .field("error", &self.error)
            .field("iss", &self.iss)
            .finish_non_exhaustive()
    }
}

/// A connection that has come about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connected {
    /// The connector.
    pub connector: ConnectorName,
    /// The agent that may use it from now on.
    pub agent: Actor,
    /// What the service calls the account, where it says so.
    pub account: Option<Arc<str>>,
}

/// What came of taking a connection away. It is gone in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disconnected {
    /// Whether there was one.
    pub was_there: bool,
    /// Whether the service took the tokens back; `None`: it takes none, or there were none.
    pub revoked: Option<bool>,
}

impl Connections {
    /// Begins the sign-in that a ticket asks for: of this person, in this browser. `browser` is what its cookie says, which
    /// nobody else knows; `visit` is the request for the page. Only that it could not be begun is recorded here. Returns the page
    /// of the service where the browser goes.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when the ticket is over or for another person, or when the service cannot be asked.
    pub async fn begin(
        &self,
        ticket: &TicketId,
        holder: &PersonId,
        browser: &str,
        visit: &PageVisit,
        now: Now,
    ) -> Result<Url, ConnectError> {
        let place = self.events.reserve()?;
        // Before the ticket is looked at: who is forgotten from here on has no connection of it, wherever this has come by then.
        let forgettings = self.held.vault.forgettings(holder);
        let asked = self.held.tickets.get(ticket, now).ok_or(ConnectError::TicketOver)?;
        self.check_person(&asked, holder, visit)?;
        let service = Arc::clone(self.service(&asked.connector).ok_or(ConnectError::NotConfigured)?);
        let flow =
            Flow::begin(ticket.clone(), holder.clone(), Arc::clone(&service), forgettings, browser, now);
        let code_challenge = URL_SAFE_NO_PAD.encode(flow.verifier.digest());
        let nonce = flow.nonce.clone();
        let state = self.held.flows.put(flow, now);
        let request = AuthorizationRequest {
            redirect_uri: &self.links.callback(&service.connector),
            state: &state,
            nonce: &nonce,
            code_challenge: &code_challenge,
        };
        match service.client.authorization_url(request).await {
            Ok(url) => Ok(url),
            Err(error) => {
                self.held.flows.take(&state, now);
                let owner = Owner::new(&asked.holder, &asked.connector);
                let mut doing = self.events.begin(place, DeedKind::Connect, &owner, Some(visit));
                doing.for_ticket(&asked, &service);
                Err(doing.came_to_nothing(error.into()))
            }
        }
    }

    /// Ends a sign-in with the service's answer, which came to this browser. `holder` is who is signed in there, and `visit` the
    /// request that brought it.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when no connection came about. The state is used up in any case but [`ConnectError::NotRecorded`]; the
    /// ticket only by a connection.
    pub async fn complete(
        &self,
        callback: &Callback<'_>,
        holder: &PersonId,
        browser: &str,
        visit: &PageVisit,
        now: Now,
    ) -> Result<Connected, ConnectError> {
        // Tokens that cannot be kept are given back, which has a record of its own.
        let (place, leftover) = (self.events.reserve()?, self.events.reserve()?);
        let mut doing = self.events.begin_unknown(place, DeedKind::Connect, visit);
        let Some(flow) = self.held.flows.take(callback.state, now) else {
            return Err(doing.came_to_nothing(ConnectError::StateUnknown));
        };
        doing.about(&Owner::new(&flow.holder, &flow.service.connector));
        doing.at(&flow.service);
        let code = match check_answer(callback, &flow, holder, browser) {
            Ok(code) => code,
            Err(error) => return Err(doing.came_to_nothing(error)),
        };
        // Of two answers for one ticket, one makes a connection.
        let Some(ticket) = self.held.tickets.take(&flow.ticket, now) else {
            return Err(doing.came_to_nothing(ConnectError::TicketOver));
        };
        doing.for_ticket(&ticket, &flow.service);
        let redirect_uri = self.links.callback(&flow.service.connector);
        let held = Arc::clone(&self.held);
        // A browser that is closed meanwhile loses nothing.
        let work = async move {
            let recorder = flow.service.events.recorder().clone();
            let _under_way = recorder.under_way();
            let client = &flow.service.client;
            let redeemed = client.redeem(&code, &flow.verifier, &redirect_uri, &flow.nonce, now);
            let connected = match recorder.within_grace(redeemed).await {
                Some(Ok(tokens)) => held.keep(&flow, &ticket, tokens, doing, leftover, now).await,
                Some(Err(error)) => Err(doing.came_to_nothing(error.into())),
                None => Err(doing.came_to_nothing(ConnectError::BrokeOff)),
            };
            // Of a person who was forgotten meanwhile nothing is put back.
            if connected.is_err() && held.vault.forgettings(&ticket.holder) == flow.forgettings {
                held.tickets.put_back(flow.ticket, ticket);
            }
            connected
        };
        tokio::spawn(work).await.map_err(|_| ConnectError::BrokeOff)?
    }

    /// Lets the agent of a ticket use the connection that its person has already. `visit` is the request for the page.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when the ticket is over or for another person, or when there is nothing to agree to.
    pub async fn agree(
        &self,
        ticket: &TicketId,
        holder: &PersonId,
        visit: &PageVisit,
        now: Now,
    ) -> Result<Connected, ConnectError> {
        let place = self.events.reserve()?;
        let asked = self.held.tickets.get(ticket, now).ok_or(ConnectError::TicketOver)?;
        self.check_person(&asked, holder, visit)?;
        let service = Arc::clone(self.service(&asked.connector).ok_or(ConnectError::NotConfigured)?);
        let owner = Owner::new(holder, &asked.connector);
        let mut doing = self.events.begin(place, DeedKind::Consent, &owner, Some(visit));
        doing.by(&asked.agent);
        let (held, ticket) = (Arc::clone(&self.held), ticket.clone());
        // What is recorded is what came of it, also where the browser is closed meanwhile.
        let work = async move {
            match held.agree(&service, &owner, &ticket, &mut doing, now).await {
                Ok(connected) => {
                    doing.done(Some(Event::Consented), None);
                    Ok(connected)
                }
                Err(error) => Err(doing.came_to_nothing(error)),
            }
        };
        tokio::spawn(work).await.map_err(|_| ConnectError::BrokeOff)?
    }

    /// Uses a ticket up without letting its agent have anything: its person says no. The agent hears that for as long as
    /// a ticket lives, and gets no other one. `visit` is the request for the page.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when the ticket is over or for another person.
    pub fn decline(
        &self,
        ticket: &TicketId,
        holder: &PersonId,
        visit: &PageVisit,
        now: Now,
    ) -> Result<(), ConnectError> {
        let place = self.events.reserve()?;
        let asked = self.held.tickets.get(ticket, now).ok_or(ConnectError::TicketOver)?;
        self.check_person(&asked, holder, visit)?;
        self.decline_in(place, ticket, Some(visit), None, now)
    }

    /// The same, said to the agent's client, which asked its person itself. `wanted` is for the call that brings the answer.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when the ticket is over, or not for this person and agent.
    pub fn decline_in_client(
        &self,
        ticket: &TicketId,
        wanted: &Wanted,
        now: Now,
    ) -> Result<(), ConnectError> {
        let place = self.events.reserve()?;
        let asked = self.held.tickets.get(ticket, now).ok_or(ConnectError::TicketOver)?;
        match asked.asker() == wanted.asker() {
            true => self.decline_in(place, ticket, None, Some(wanted.request), now),
            false => Err(ConnectError::OtherPerson),
        }
    }

    fn decline_in(
        &self,
        place: Place,
        ticket: &TicketId,
        visit: Option<&PageVisit>,
        request: Option<RequestId>,
        now: Now,
    ) -> Result<(), ConnectError> {
        let taken = self.held.tickets.decline(ticket, now).ok_or(ConnectError::TicketOver)?;
        let owner = Owner::new(&taken.holder, &taken.connector);
        let mut doing = self.events.begin(place, DeedKind::Decline, &owner, visit);
        doing.by(&taken.agent);
        doing.add(|deed| {
            deed.requested = Some(taken.scopes.clone());
            deed.request = request;
        });
        doing.done(Some(Event::Declined), None);
        Ok(())
    }

    /// The host where people sign in for a connector, for them to read.
    pub fn sign_in_host(&self, connector: &ConnectorName) -> Option<String> {
        let settings = self.service(connector)?.client.settings();
        let endpoint = settings.endpoints.authorization.as_ref().map(|endpoint| endpoint.as_url().clone());
        let issuer = || Url::parse(settings.issuer.as_ref()?.as_str()).ok();
        let url = endpoint.or_else(issuer)?;
        Some(url[Position::BeforeHost..Position::AfterPort].to_owned())
    }

    /// What a person has connected.
    ///
    /// # Errors
    ///
    /// [`VaultError`] when the vault cannot be read.
    pub async fn of(&self, holder: &PersonId) -> Result<Vec<Summary>, VaultError> {
        let records = self.held.vault.of_person(holder).await?;
        let mut summaries: Vec<Summary> = records
            .into_iter()
            .filter_map(|(owner, record)| {
                let mut grant = Grant::read(&record.bytes)?;
                self.held.note_uses(&owner, &mut grant);
                let service = self.service(&owner.connector);
                let is_usable = service.is_some_and(|service| service.matches(&grant));
                let mut summary = grant.summary(&owner.connector, is_usable);
                // RFC 6749 section 5.1: a service that does not say what it granted has granted what was asked for.
                if let Some(service) = service.filter(|_| is_usable) {
                    summary.granted.get_or_insert_with(|| service.client.settings().scopes.clone());
                }
                Some(summary)
            })
            .collect();
        summaries.sort_by(|one, other| one.connector.cmp(&other.connector));
        Ok(summaries)
    }

    /// Takes a person's connection away: from the vault first, and then from the service, where it takes tokens back. `visit` is
    /// the request for the page.
    ///
    /// # Errors
    ///
    /// [`DisconnectError`] when it cannot be recorded, or the vault cannot be written; then the connection is still there.
    pub async fn disconnect(
        &self,
        holder: &PersonId,
        connector: &ConnectorName,
        visit: &PageVisit,
    ) -> Result<Disconnected, DisconnectError> {
        let (place, at_service) = (self.events.reserve()?, self.events.reserve()?);
        let owner = Owner::new(holder, connector);
        let (held, service) = (Arc::clone(&self.held), self.service(connector).cloned());
        let (events, visit) = (self.events.clone(), visit.clone());
        let work = async move {
            let _turn = held.turns.take(&owner).await;
            let leftover = held.leftover(&owner).await;
            let removed = held.vault.remove(&owner).await;
            if matches!(removed, Ok(false)) {
                held.drop_open(&owner);
                return Ok(Disconnected { was_there: false, revoked: None });
            }
            let mut doing = events.begin(place, DeedKind::Disconnect, &owner, Some(&visit));
            let account = leftover.as_ref().and_then(|leftover| leftover.account.clone());
            doing.add(|deed| deed.account = account);
            if let Err(error) = removed {
                let failure =
                    Failure::of("vault_unavailable", Fault::Gateway, ErrorChain(&error).to_string());
                doing.failed(None, failure);
                return Err(error.into());
            }
            held.drop_open(&owner);
            held.drop_uses(|used| *used == owner);
            doing.done(Some(Event::Disconnected), None);
            let revoked = match (leftover, service) {
                (Some(leftover), Some(service)) => {
                    held.give_back(&service, &owner, &leftover, at_service, Some(visit.request)).await
                }
                (Some(_), None) | (None, _) => None,
            };
            Ok(Disconnected { was_there: true, revoked })
        };
        tokio::spawn(work).await.map_err(|_| VaultError::BrokeOff)?
    }

    /// Takes away all that a person has connected, and what is under way. The services are asked in the background to take the
    /// tokens back, each of which has a record; that of the whole, which is whoever asks's to make, is named by `request`. Returns
    /// the connectors whose connections are gone, one for each connection.
    ///
    /// # Errors
    ///
    /// [`DisconnectError`] when there is no place for those records, or the vault cannot be written; then what is under way is gone,
    /// and the connections are still there.
    pub async fn forget(
        &self,
        person: &Person,
        request: RequestId,
    ) -> Result<Vec<ConnectorName>, DisconnectError> {
        let (held, person) = (Arc::clone(&self.held), person.clone());
        let (services, events) = (self.services.clone(), self.events.clone());
        let work = async move {
            held.drop_all_of(&person);
            let (preparing, noting) = (Arc::clone(&held), events.clone());
            let forgotten = held.vault.forget_with(&person, move |person, found| {
                preparing.given_back(person, found, &services, &events)
            });
            let Some((forgotten, given_back)) = forgotten.await? else { return Err(AuditUnavailable.into()) };
            held.drop_all_of(&person);
            held.unsaved().retain(|owner, _| !owner.person.is(&person));
            for owner in &forgotten {
                noting.note(Event::Forgotten, &owner.connector, None, "");
            }
            tokio::spawn(async move {
                for GivenBack { service, owner, leftover, place } in given_back {
                    held.give_back(&service, &owner, &leftover, place, Some(request)).await;
                }
            });
            Ok(forgotten.into_iter().map(|owner| owner.connector).collect())
        };
        tokio::spawn(work).await.map_err(|_| VaultError::BrokeOff)?
    }

    /// Whether a ticket is for this person. That somebody else opened it is recorded, once.
    fn check_person(&self, asked: &Ticket, holder: &PersonId, visit: &PageVisit) -> Result<(), ConnectError> {
        if asked.holder == *holder {
            return Ok(());
        }
        self.opened_by_another(asked, visit)?;
        Err(ConnectError::OtherPerson)
    }

    /// Records that somebody opened a ticket that is for another person.
    ///
    /// # Errors
    ///
    /// [`ConnectError::NotRecorded`] while there is no place for the record.
    pub fn opened_by_another(&self, asked: &Ticket, visit: &PageVisit) -> Result<(), ConnectError> {
        let place = self.events.reserve()?;
        let mut doing = self.events.begin_unknown(place, DeedKind::ForeignLink, visit);
        doing.about(&Owner::new(&asked.holder, &asked.connector));
        doing.by(&asked.agent);
        doing.came_to_nothing(ConnectError::OtherPerson);
        Ok(())
    }
}

impl Doing {
    /// It is about what a ticket asks for.
    fn for_ticket(&mut self, ticket: &Ticket, service: &Service) {
        self.by(&ticket.agent);
        self.at(service);
        self.add(|deed| deed.requested = Some(ticket.scopes.clone()));
    }
}

/// The code of an answer that came to the browser that asked, for the person who asked, from the server that was asked.
fn check_answer(
    callback: &Callback<'_>,
    flow: &Flow,
    holder: &PersonId,
    browser: &str,
) -> Result<SecretToken, ConnectError> {
    if !flow.is_in(browser) {
        return Err(ConnectError::OtherBrowser);
    }
    if flow.holder != *holder {
        return Err(ConnectError::OtherPerson);
    }
    // A server that had another one answer, with the state that it got itself, would be sent that one's code: many answers do not
    // say whose they are, so each connector has a redirect address of its own, and servers answer to registered ones alone
    // (RFC 9700 section 4.4.2).
    if callback.connector != flow.service.connector.as_str() {
        return Err(ConnectError::OtherServer);
    }
    if !flow.service.client.may_have_answered(callback.iss) {
        return Err(ConnectError::OtherServer);
    }
    if let Some(error) = callback.error {
        return Err(ConnectError::Declined { error: Word::new(error) });
    }
    let code = callback.code.filter(|code| !code.is_empty() && code.len() <= CALLBACK_BYTES_MAX);
    code.map(SecretToken::new).ok_or(ConnectError::NoCode)
}
