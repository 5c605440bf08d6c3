//! The signed-in user's identity at a service with accounts of its own, by a grant that the user made once.
//!
//! Who asks here has a [`ConnectionPermit`], and only `mode.rs` hands that out, for tools that declare `connection`.

use std::sync::Arc;

use super::mode::ConnectionPermit;
use super::{Credential, ObtainError, Source, bearer};
use crate::audit::{CredentialNote, RequestId};
use crate::clock::Now;
use crate::connections::{ConnectionError, Connections, OpenedGrant, TicketId, Wanted};
use crate::metrics::CacheLookup;
use crate::oauth::authorization_server::{AuthorizationServers, person_of};
use crate::oauth::exchange::ExchangeError;
use crate::tool::IdentityMode;

/// Obtains access tokens of people's own connections.
pub struct ByConnection {
    servers: AuthorizationServers,
    /// `None`: there is no vault, as in a rehearsal.
    connections: Option<Arc<Connections>>,
}

impl ByConnection {
    /// From these connections, of the people of these servers.
    pub fn new(servers: AuthorizationServers, connections: Option<Arc<Connections>>) -> Self {
        Self { servers, connections }
    }

    /// Obtains the access token for a permitted call, `call`, which the record of a renewal names.
    ///
    /// # Errors
    ///
    /// [`ObtainError::NotConnected`] when the person has to sign in, or to agree; the others say who else has to act.
    pub async fn obtain(
        &self,
        permit: ConnectionPermit<'_>,
        call: RequestId,
        now: Now,
    ) -> Result<Credential, ObtainError> {
        let connections = self.connections()?;
        let wanted = self.wanted(permit, call)?;
        let obtained = connections.credential(&wanted, now).await;
        let (grant, lookup) = obtained.map_err(|error| not_obtained(connections, &wanted, error, now))?;
        from_grant(&wanted, grant, lookup)
    }

    /// Obtains another token in place of `turned_away`, which the connector did not take. What it demanded beside is the
    /// service's own matter. `None` when another one would not help: this one has only just been obtained.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] when there is none.
    pub async fn renew(
        &self,
        permit: ConnectionPermit<'_>,
        turned_away: &Credential,
        call: RequestId,
        now: Now,
    ) -> Result<Option<Credential>, ObtainError> {
        let Source::Connection(old) = &turned_away.source else { return Ok(None) };
        let connections = self.connections()?;
        let wanted = self.wanted(permit, call)?;
        let renewed = connections.renew(&wanted, old, now).await;
        match renewed.map_err(|error| not_obtained(connections, &wanted, error, now))? {
            Some(grant) => from_grant(&wanted, grant, CacheLookup::Miss).map(Some),
            None => Ok(None),
        }
    }

    /// The person says no to what a ticket asks for.
    pub fn decline(&self, permit: ConnectionPermit<'_>, ticket: &str, call: RequestId, now: Now) {
        if let (Some(connections), Some(ticket), Ok(wanted)) =
            (&self.connections, TicketId::parse(ticket), self.wanted(permit, call))
            && let Err(error) = connections.decline_in_client(&ticket, &wanted, now)
        {
            // It was used meanwhile, or is too old: then there is nothing left to say no to.
            tracing::debug!(connector = %permit.tool().connector, %error, "Ticket not declined");
        }
    }

    /// The person is at the page of a ticket: waits for them, for some seconds at most.
    pub async fn wait_for_person(
        &self,
        permit: ConnectionPermit<'_>,
        ticket: &str,
        call: RequestId,
        now: Now,
    ) {
        if let (Some(connections), Some(ticket), Ok(wanted)) =
            (&self.connections, TicketId::parse(ticket), self.wanted(permit, call))
        {
            connections.wait_for_person(&wanted, &ticket, now).await;
        }
    }

    /// As which client the gateway is known to the service behind the connector.
    pub fn client_id(&self, permit: ConnectionPermit<'_>) -> Option<&Arc<str>> {
        self.connections.as_ref()?.client_id(&permit.tool().connector)
    }

    fn connections(&self) -> Result<&Arc<Connections>, ObtainError> {
        self.connections.as_ref().ok_or(ObtainError::NotServed(IdentityMode::Connection))
    }

    fn wanted(&self, permit: ConnectionPermit<'_>, call: RequestId) -> Result<Wanted, ObtainError> {
        let caller = permit.caller();
        let unknown = || ObtainError::UnknownIssuer(caller.issuer_name().clone());
        Ok(Wanted {
            request: call,
            holder: person_of(caller, &self.servers).ok_or_else(unknown)?,
            // Who nobody can name, nobody can have agreed to.
            agent: caller.actor().ok_or(ObtainError::AgentUnknown)?.clone(),
            connector: permit.tool().connector.clone(),
            tool: permit.tool().name.clone(),
            scopes: permit.target().scopes.clone(),
        })
    }
}

/// What the caller hears. When the person has to act, it is by a link that is made here.
fn not_obtained(connections: &Connections, wanted: &Wanted, error: ConnectionError, now: Now) -> ObtainError {
    match error {
        ConnectionError::Missing(_) if connections.is_declined(wanted, now) => ObtainError::Declined,
        ConnectionError::Missing(missing) => {
            let ticket = connections.ask(wanted, missing, now);
            let url = connections.links().connect(&ticket);
            ObtainError::NotConnected { missing, ticket, url }
        }
        error => ObtainError::Connection(error),
    }
}

fn from_grant(
    wanted: &Wanted,
    grant: Arc<OpenedGrant>,
    lookup: CacheLookup,
) -> Result<Credential, ObtainError> {
    let authorization = bearer(grant.access_token()).ok_or_else(|| {
        ObtainError::Connection(ConnectionError::Exchange(ExchangeError::Unusable {
            issuer: crate::identity::IssuerName::new(format!("connections/{}", wanted.connector)),
            why: "its token does not fit in a header",
        }))
    })?;
    let (token, granted) = (grant.access_token().digest(), grant.granted().cloned().map(Arc::new));
    let note = Arc::new(CredentialNote::new(token, Some(grant.recorded_as()), granted));
    Ok(Credential::new(IdentityMode::Connection, authorization, lookup, Source::Connection(grant), note))
}
