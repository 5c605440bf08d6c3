//! What a person does about a connection: makes it, lets another agent use it, looks at it, and takes it away.
//!
//! Whoever calls here has signed the person in. That it is the person whose agent asked is checked here all the same.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::{Position, Url};

use super::flows::Flow;
use super::{
    ConnectError, Connections, Event, Grant, Held, Holder, Leftover, Service, Summary, Ticket, TicketId,
    account,
};
use crate::clock::Now;
use crate::error_chain::ErrorChain;
use crate::identity::{Actor, Person, Scopes, SecretToken};
use crate::oauth::code_client::{AuthorizationRequest, GrantedTokens};
use crate::oauth::error_response::Word;
use crate::tool::ConnectorName;
use crate::vault::{Owner, VaultError};

/// Longest part of a callback that is looked at. Codes are below 4 kB.
const CALLBACK_BYTES_MAX: usize = 16_384;

/// Where a browser goes to sign in at a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authorization {
    /// The service's page, with the request in its query.
    pub url: String,
    /// The state of the request, which comes back with the answer.
    pub state: String,
}

/// A service's answer, as a browser brings it.
pub struct Callback<'a> {
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
        f.debug_struct("Callback").field("error", &self.error).field("iss", &self.iss).finish_non_exhaustive()
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
    /// The scopes that were granted, where the service says so.
    pub granted: Option<Scopes>,
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
    /// nobody else knows.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when the ticket is over or for another person, or when the service cannot be asked.
    pub async fn begin(
        &self,
        ticket: &TicketId,
        holder: &Holder,
        browser: &str,
        now: Now,
    ) -> Result<Authorization, ConnectError> {
        let asked = self.held.tickets.get(ticket, now).ok_or(ConnectError::TicketOver)?;
        self.check_person(&asked, holder)?;
        let service = Arc::clone(self.service(&asked.connector).ok_or(ConnectError::NotConfigured)?);
        let flow = Flow::begin(ticket.clone(), holder.clone(), Arc::clone(&service), browser, now);
        let code_challenge = URL_SAFE_NO_PAD.encode(flow.verifier.digest());
        let nonce = flow.nonce.clone();
        let state = self.held.flows.put(flow, now);
        let request = AuthorizationRequest {
            redirect_uri: &self.links.callback(),
            state: &state,
            nonce: &nonce,
            code_challenge: &code_challenge,
        };
        let url = service.client.authorization_url(request).await?;
        Ok(Authorization { url: url.into(), state })
    }

    /// Ends a sign-in with the service's answer, which came to this browser. `holder` is who is signed in there.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when no connection came about. The state is used up in any case; the ticket only by a connection.
    pub async fn complete(
        &self,
        callback: &Callback<'_>,
        holder: &Holder,
        browser: &str,
        now: Now,
    ) -> Result<Connected, ConnectError> {
        let flow = self.held.flows.take(callback.state, now).ok_or(ConnectError::StateUnknown)?;
        let owner = flow.holder.owner(&flow.service.connector);
        let completed = self.complete_flow(callback, flow, holder, browser, now).await;
        if let Err(error) = &completed {
            self.held.events.note(Event::Refused, &owner, None, &ErrorChain(error).to_string());
        }
        completed
    }

    async fn complete_flow(
        &self,
        callback: &Callback<'_>,
        flow: Flow,
        holder: &Holder,
        browser: &str,
        now: Now,
    ) -> Result<Connected, ConnectError> {
        if !flow.is_in(browser) {
            return Err(ConnectError::OtherBrowser);
        }
        if flow.holder != *holder {
            return Err(ConnectError::OtherPerson);
        }
        if !flow.service.client.may_have_answered(callback.iss) {
            return Err(ConnectError::OtherServer);
        }
        if let Some(error) = callback.error {
            return Err(ConnectError::Declined { error: Word::new(error) });
        }
        let code = callback.code.filter(|code| !code.is_empty() && code.len() <= CALLBACK_BYTES_MAX);
        let code = SecretToken::new(code.ok_or(ConnectError::NoCode)?);
        // Of two answers for one ticket, one makes a connection.
        let ticket = self.held.tickets.take(&flow.ticket, now).ok_or(ConnectError::TicketOver)?;
        let (held, redirect_uri) = (Arc::clone(&self.held), self.links.callback());
        // A browser that is closed meanwhile loses nothing.
        let work = async move {
            let Flow { ticket: id, holder, service, verifier, nonce, .. } = flow;
            let tokens = service.client.redeem(&code, &verifier, &redirect_uri, &nonce, now).await;
            let connected = match tokens {
                Ok(tokens) => held.keep(&service, &holder, &ticket, tokens, now).await,
                Err(error) => Err(error.into()),
            };
            if connected.is_err() {
                held.tickets.put_back(id, ticket);
            }
            connected
        };
        tokio::spawn(work).await.map_err(|_| ConnectError::BrokeOff)?
    }

    /// Lets the agent of a ticket use the connection that its person has already.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when the ticket is over or for another person, or when there is nothing to agree to.
    pub async fn agree(
        &self,
        ticket: &TicketId,
        holder: &Holder,
        now: Now,
    ) -> Result<Connected, ConnectError> {
        let asked = self.held.tickets.get(ticket, now).ok_or(ConnectError::TicketOver)?;
        self.check_person(&asked, holder)?;
        let service = self.service(&asked.connector).ok_or(ConnectError::NotConfigured)?;
        let owner = holder.owner(&asked.connector);
        let _turn = self.held.turns.take(&owner).await;
        let opened = match self.held.open_in_turn(&owner).await {
            Ok(opened) => opened.filter(|opened| service.matches(&opened.grant)),
            Err(super::ConnectionError::Vault(error)) => return Err(error.into()),
            Err(_) => None,
        };
        let opened = opened.ok_or(ConnectError::NothingToAgreeTo)?;
        let taken = self.held.tickets.take(ticket, now).ok_or(ConnectError::TicketOver)?;
        let mut grant = opened.grant.clone();
        grant.agree_to(&taken.agent, now.unix_seconds());
        // Nothing is lost when this cannot be written: the person agrees once more.
        if let Err(error) = self.held.vault.put(&owner, opened.generation, &grant.write()).await {
            self.held.tickets.put_back(ticket.clone(), taken);
            return Err(match error {
                VaultError::Superseded => ConnectError::NothingToAgreeTo,
                error => error.into(),
            });
        }
        let connected = connected(&taken, &grant);
        self.held.opened.insert(owner.clone(), super::OpenedGrant::new(opened.generation, grant));
        self.held.events.note(Event::Consented, &owner, Some(&taken.agent), "");
        Ok(connected)
    }

    /// Uses a ticket up without letting its agent have anything: its person says no.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when the ticket is over or for another person.
    pub fn decline(&self, ticket: &TicketId, holder: &Holder, now: Now) -> Result<(), ConnectError> {
        let asked = self.held.tickets.get(ticket, now).ok_or(ConnectError::TicketOver)?;
        self.check_person(&asked, holder)?;
        let taken = self.held.tickets.take(ticket, now).ok_or(ConnectError::TicketOver)?;
        let owner = holder.owner(&taken.connector);
        self.held.events.note(Event::Refused, &owner, Some(&taken.agent), "the person declined");
        Ok(())
    }

    /// The host where people sign in for a connector, for them to read.
    pub fn place(&self, connector: &ConnectorName) -> Option<String> {
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
    pub async fn of(&self, holder: &Holder) -> Result<Vec<Summary>, VaultError> {
        let any = holder.owner(&ConnectorName::new(""));
        let records = self.held.vault.of_the_person_of(&any).await?;
        let mut summaries: Vec<Summary> = records
            .into_iter()
            .filter_map(|(owner, record)| {
                let mut grant = Grant::read(&record.bytes)?;
                self.held.note_uses(&owner, &mut grant);
                let service = self.service(&owner.connector);
                let is_usable = service.is_some_and(|service| service.matches(&grant));
                Some(grant.summary(&owner.connector, is_usable))
            })
            .collect();
        summaries.sort_by(|one, other| one.connector.cmp(&other.connector));
        Ok(summaries)
    }

    /// Takes a person's connection away: from the vault first, and then from the service, where it takes tokens back.
    ///
    /// # Errors
    ///
    /// [`VaultError`] when the vault cannot be written; then the connection is still there.
    pub async fn disconnect(
        &self,
        holder: &Holder,
        connector: &ConnectorName,
    ) -> Result<Disconnected, VaultError> {
        let owner = holder.owner(connector);
        let (held, service) = (Arc::clone(&self.held), self.service(connector).cloned());
        let work = async move {
            let _turn = held.turns.take(&owner).await;
            let leftover = held.leftover(&owner).await;
            let was_there = held.vault.remove(&owner).await?;
            held.drop_open(&owner);
            if was_there {
                held.events.note(Event::Disconnected, &owner, None, "");
            }
            let revoked = match (leftover, service) {
                (Some(leftover), Some(service)) => held.give_back(&service, &owner, &leftover).await,
                (Some(_), None) | (None, _) => None,
            };
            Ok(Disconnected { was_there, revoked })
        };
        tokio::spawn(work).await.map_err(|_| VaultError::BrokeOff)?
    }

    /// Takes away all that a person has connected, and what is under way. Returns how many connections that were; the services
    /// are asked in the background to take the tokens back.
    ///
    /// # Errors
    ///
    /// [`VaultError`] when the vault cannot be written; then the connections are still there.
    pub async fn forget(&self, person: &Person) -> Result<usize, VaultError> {
        let (held, person) = (Arc::clone(&self.held), person.clone());
        let services = self.services.clone();
        let work = async move {
            held.tickets.forget(&person);
            held.flows.forget(&person);
            held.unsaved().retain(|owner, _| !owner.is(&person));
            let mut leftovers: Vec<(Owner, Leftover)> = Vec::new();
            held.vault
                .list(|listed| {
                    let owner = listed.owner.filter(|owner| owner.is(&person));
                    let grant = listed.record.ok().and_then(|record| Grant::read(&record.bytes));
                    leftovers.extend(owner.zip(grant).map(|(owner, grant)| {
                        let leftover = grant.leftover();
                        (owner, leftover)
                    }));
                })
                .await?;
            let forgotten = held.vault.forget(&person).await?;
            for owner in &forgotten {
                held.drop_open(owner);
                held.events.note(Event::Forgotten, owner, None, "");
            }
            let count = forgotten.len();
            tokio::spawn(async move {
                for (owner, leftover) in leftovers {
                    if let Some(service) = services.get(&owner.connector) {
                        held.give_back(service, &owner, &leftover).await;
                    }
                }
            });
            Ok(count)
        };
        tokio::spawn(work).await.map_err(|_| VaultError::BrokeOff)?
    }

    fn check_person(&self, asked: &Ticket, holder: &Holder) -> Result<(), ConnectError> {
        if asked.holder == *holder {
            return Ok(());
        }
        let owner = asked.holder.owner(&asked.connector);
        self.held.events.note(
            Event::Refused,
            &owner,
            Some(&asked.agent),
            "the link was opened by another person",
        );
        Err(ConnectError::OtherPerson)
    }
}

impl Held {
    /// Keeps what came of a sign-in. When this returns, the disk has it.
    async fn keep(
        &self,
        service: &Arc<Service>,
        holder: &Holder,
        ticket: &Ticket,
        tokens: GrantedTokens,
        now: Now,
    ) -> Result<Connected, ConnectError> {
        let account = self.account(service, &tokens).await;
        let owner = holder.owner(&ticket.connector);
        let mut grant = Grant::new(*service.client.fingerprint(), tokens, account, now.unix_seconds());
        let _turn = self.turns.take(&owner).await;
        // What was unsaved is older than this.
        self.unsaved().remove(&owner);
        let before = self.open_in_turn(&owner).await.ok().flatten();
        if let Some(before) = &before
            && before.grant.account.is_some()
            && before.grant.account == grant.account
        {
            // The person agreed to these for the same account.
            grant.agents.clone_from(&before.grant.agents);
        }
        grant.agree_to(&ticket.agent, now.unix_seconds());
        let generation = self.vault.generation(&owner);
        let connected = connected(ticket, &grant);
        if let Err(error) = self.vault.put(&owner, generation, &grant.write()).await {
            // Nobody can use it, so it is not left lying at the service.
            self.give_back(service, &owner, &grant.leftover()).await;
            return Err(error.into());
        }
        self.refused.invalidate(&owner);
        self.opened.insert(owner.clone(), super::OpenedGrant::new(generation, grant));
        self.events.note(Event::Connected, &owner, Some(&ticket.agent), "");
        Ok(connected)
    }

    /// What the service calls the account. That it does not say keeps nobody from connecting it.
    async fn account(&self, service: &Service, tokens: &GrantedTokens) -> Option<Arc<str>> {
        let configured = service.account.as_deref();
        let said = service.client.user_info(&tokens.access_token).await.unwrap_or_else(|error| {
            tracing::debug!(connector = %service.connector, error = %ErrorChain(&error), "No user-info");
            None
        });
        let named = said.and_then(|claims| account::name(&claims, configured));
        named.or_else(|| account::name(tokens.id_claims.as_ref()?, configured))
    }

    /// The tokens that `owner` has, to be given back.
    async fn leftover(&self, owner: &Owner) -> Option<Leftover> {
        if let Some((_, grant)) = self.unsaved().get(owner) {
            return Some(grant.leftover());
        }
        let opened = self.open_in_turn(owner).await.ok().flatten()?;
        Some(opened.grant.leftover())
    }

    fn drop_open(&self, owner: &Owner) {
        self.opened.invalidate(owner);
        self.refused.invalidate(owner);
        self.unsaved().remove(owner);
    }
}

fn connected(ticket: &Ticket, grant: &Grant) -> Connected {
    Connected {
        connector: ticket.connector.clone(),
        agent: ticket.agent.clone(),
        account: grant.account.clone(),
        granted: grant.granted.clone(),
    }
}
