//! What comes of what a person did about a connection: kept in the vault, or dropped.

use std::collections::HashMap;
use std::sync::Arc;

use super::connecting::Connected;
use super::event::{self, Doing, Events};
use super::flows::Flow;
use super::{
    ConnectError, ConnectionError, Event, Grant, Held, Leftover, OpenedGrant, Service, Ticket, TicketId,
    account,
};
use crate::audit::Place;
use crate::clock::Now;
use crate::error_chain::ErrorChain;
use crate::identity::Person;
use crate::oauth::code_client::GrantedTokens;
use crate::tool::ConnectorName;
use crate::vault::{Owner, Record, VaultError};

/// Tokens that are to be given back.
pub(super) struct GivenBack {
    /// Where.
    pub service: Arc<Service>,
    /// Whose they were.
    pub owner: Owner,
    /// The tokens.
    pub leftover: Leftover,
    /// The place of the record of it.
    pub place: Place,
}

impl Held {
    /// Keeps what came of a sign-in, unless its person has been forgotten since they began it. When this returns, the disk has it.
    pub(super) async fn keep(
        self: &Arc<Self>,
        flow: &Flow,
        ticket: &Ticket,
        tokens: GrantedTokens,
        mut doing: Doing,
        place: Place,
        now: Now,
    ) -> Result<Connected, ConnectError> {
        let service = &flow.service;
        let (account, issued) = (self.account(service, &tokens).await, event::issued(&tokens));
        doing.add(|deed| deed.account.clone_from(&account));
        let owner = Owner::new(&ticket.holder, &ticket.connector);
        let mut grant =
            Grant::new(*service.client.fingerprint(), tokens, account, doing.id(), now.unix_seconds());
        let _turn = self.turns.take(&owner).await;
        let before = self.open_in_turn(&owner).await.ok().flatten();
        if let Some(before) = &before
            && service.matches(&before.grant)
            && before.grant.account.is_some()
            && before.grant.account == grant.account
        {
            // The person agreed to these for the same account, at the same service, and for the same scopes.
            grant.agents.clone_from(&before.grant.agents);
        }
        grant.agree_to(&ticket.agent, now.unix_seconds());
        let connected = connected(ticket, &grant);
        // A sign-in is a generation of its own: the grant before, and whoever it was for, cannot be put back.
        let generation = match self.vault.replace(&owner, flow.forgettings, &grant.write()).await {
            Ok(generation) => generation,
            Err(error) => {
                let error = doing.came_to_nothing(match error {
                    VaultError::Superseded => ConnectError::Forgotten,
                    error => error.into(),
                });
                // Nobody can use it, so it is not left lying at the service.
                self.give_back(service, &owner, &grant.leftover(), place, None).await;
                return Err(error);
            }
        };
        // Its record stands before those of the calls that use it.
        doing.done(Some(Event::Connected), Some(issued));
        self.drop_open(&owner);
        self.opened.insert(owner.clone(), OpenedGrant::new(generation, grant));
        self.tickets.agreed_to(ticket);
        Ok(connected)
    }

    /// Lets the agent of a ticket use what `owner` has.
    pub(super) async fn agree(
        self: &Arc<Self>,
        service: &Service,
        owner: &Owner,
        ticket: &TicketId,
        doing: &mut Doing,
        now: Now,
    ) -> Result<Connected, ConnectError> {
        let _turn = self.turns.take(owner).await;
        let opened = match self.open_in_turn(owner).await {
            Ok(opened) => opened.filter(|opened| service.matches(&opened.grant)),
            Err(ConnectionError::Vault(error)) => return Err(error.into()),
            Err(_) => None,
        };
        let opened = opened.ok_or(ConnectError::NothingToAgreeTo)?;
        doing.add(|deed| deed.account.clone_from(&opened.grant.account));
        let taken = self.tickets.take(ticket, now).ok_or(ConnectError::TicketOver)?;
        let mut grant = opened.grant.clone();
        grant.agree_to(&taken.agent, now.unix_seconds());
        // Nothing is lost when this cannot be written: the person agrees once more.
        if let Err(error) = self.vault.put(owner, opened.generation, &grant.write()).await {
            self.tickets.put_back(ticket.clone(), taken);
            return Err(match error {
                VaultError::Superseded => ConnectError::NothingToAgreeTo,
                error => error.into(),
            });
        }
        let connected = connected(&taken, &grant);
        self.opened.insert(owner.clone(), OpenedGrant::new(opened.generation, grant));
        self.tickets.agreed_to(&taken);
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
    pub(super) async fn leftover(self: &Arc<Self>, owner: &Owner) -> Option<Leftover> {
        if let Some((_, grant)) = self.unsaved().get(owner) {
            return Some(grant.leftover());
        }
        let opened = self.open_in_turn(owner).await.ok().flatten()?;
        Some(opened.grant.leftover())
    }

    /// What is to be given back of a person's, each with the place of its record: what the vault has of theirs, or could not take,
    /// which is newer. `None`: there is no place.
    pub(super) fn given_back(
        &self,
        person: &Person,
        found: &[(Owner, Option<Record>)],
        services: &HashMap<ConnectorName, Arc<Service>>,
        events: &Events,
    ) -> Option<Vec<GivenBack>> {
        let unsaved = self.unsaved();
        let unsaved = unsaved.iter().filter(|(owner, _)| owner.person.is(person));
        let mut leftovers: HashMap<Owner, Leftover> =
            unsaved.map(|(owner, (_, grant))| (owner.clone(), grant.leftover())).collect();
        for (owner, record) in found {
            if let Some(grant) = record.as_ref().and_then(|record| Grant::read(&record.bytes)) {
                leftovers.entry(owner.clone()).or_insert_with(|| grant.leftover());
            }
        }
        let mut given_back = Vec::new();
        for (owner, leftover) in leftovers {
            if let Some(service) = services.get(&owner.connector) {
                let (service, place) = (Arc::clone(service), events.reserve().ok()?);
                given_back.push(GivenBack { service, owner, leftover, place });
            }
        }
        Some(given_back)
    }

    /// Drops what is in memory of a person's. What the vault could not take stays: it is newer than what the vault has.
    pub(super) fn drop_all_of(&self, person: &Person) {
        self.tickets.forget(person);
        self.flows.forget(person);
        for (owner, _) in self.opened.iter().filter(|(owner, _)| owner.person.is(person)) {
            self.opened.invalidate(&*owner);
        }
        for (owner, _) in self.refused.iter().filter(|(owner, _)| owner.person.is(person)) {
            self.refused.invalidate(&*owner);
        }
        self.drop_uses(|owner| owner.person.is(person));
    }

    /// Drops when agents last used what these owners had.
    pub(super) fn drop_uses(&self, of: impl Fn(&Owner) -> bool) {
        for (used, _) in self.used.iter().filter(|(used, _)| of(&used.0)) {
            self.used.invalidate(&*used);
        }
    }

    pub(super) fn drop_open(&self, owner: &Owner) {
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
    }
}
