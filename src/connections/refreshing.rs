//! The access token that a call needs: as it is kept, or renewed. Whoever needs the same one waits for the same refresh, and
//! nobody gets a token before the vault has what came with it: a server that rotates refresh tokens takes each of them once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::{ConnectionError, Connections, Event, Grant, Held, Leftover, Missing, Service, Wanted};
use crate::clock::Now;
use crate::error_chain::ErrorChain;
use crate::identity::{Actor, Scopes, SecretToken};
use crate::metrics::CacheLookup;
use crate::oauth::delegated;
use crate::oauth::exchange::{ExchangeError, TokenKind, is_over};
use crate::vault::{Generation, Owner, VaultError};

/// How long a token is not replaced that a connector turned away and that is not older. It would not help, and the server would
/// be asked for every call.
const RENEWAL_PAUSE_SECONDS: u64 = 60;
/// How long to wait after one attempt to renew ahead before the next.
const REFRESH_PAUSE_SECONDS: u64 = 30;
/// How exactly it is known when an agent last used a connection.
const USED_SECONDS: u64 = 60;
/// Most grants that wait for the vault to take them. While it cannot be written, nobody else's is asked for.
const UNSAVED_MAX: usize = 4_096;

/// A grant, as it is kept open.
#[derive(Debug)]
pub struct OpenedGrant {
    pub(super) generation: Generation,
    pub(super) grant: Grant,
    /// When it may be renewed ahead again, in seconds since 1970 UTC.
    next_attempt: AtomicU64,
}

impl OpenedGrant {
    pub(super) fn new(generation: Generation, grant: Grant) -> Arc<Self> {
        Arc::new(Self { generation, grant, next_attempt: AtomicU64::new(0) })
    }

    /// The access token, for the connector and for nobody else.
    pub fn access_token(&self) -> &SecretToken {
        &self.grant.access_token
    }

    /// The scopes that were granted, where the service says so.
    pub fn granted(&self) -> Option<&Scopes> {
        self.grant.granted.as_ref()
    }

    /// How long the access token lived when it was obtained, where the service says so.
    pub fn lifetime(&self) -> Option<Duration> {
        self.grant.expires_at.map(|end| Duration::from_secs(end.saturating_sub(self.grant.obtained_at)))
    }

    /// Whether it is time to renew it, and nobody else has been told so.
    fn is_to_be_renewed(&self, now: u64) -> bool {
        let next = self.next_attempt.load(Ordering::Relaxed);
        if now < next || !self.grant.is_to_be_renewed(now) {
            return false;
        }
        let later = now.saturating_add(REFRESH_PAUSE_SECONDS);
        self.next_attempt.compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Connections {
    /// The access token for a call: of this person, for this agent, at this connector.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::Missing`] when the person has to act; the others say who else has to.
    pub async fn credential(
        &self,
        wanted: &Wanted,
        now: Now,
    ) -> Result<(Arc<OpenedGrant>, CacheLookup), ConnectionError> {
        let service = self.service(&wanted.connector).ok_or(ConnectionError::NotConfigured)?;
        let owner = wanted.holder.owner(&wanted.connector);
        let opened = self.held.open(&owner).await?.ok_or(ConnectionError::Missing(Missing::Connection))?;
        check(service, &opened.grant, wanted)?;
        self.held.note_use(&owner, &wanted.agent, now);
        let at = now.unix_seconds();
        if opened.grant.is_fresh(at) {
            if opened.is_to_be_renewed(at) {
                let start = || self.refresh(service, &owner, &opened);
                self.held.flights.start_unless_under_way(owner.clone(), start);
            }
            return Ok((opened, CacheLookup::Hit));
        }
        let renewed = self.join(service, &owner, &opened).await?;
        check(service, &renewed.grant, wanted)?;
        Ok((renewed, CacheLookup::Miss))
    }

    /// Another access token in place of one that the connector turned away. `None` when it has only just been obtained, so that
    /// another one would not help.
    ///
    /// # Errors
    ///
    /// [`ConnectionError`] when there is none.
    pub async fn renew(
        &self,
        wanted: &Wanted,
        turned_away: &OpenedGrant,
        now: Now,
    ) -> Result<Option<Arc<OpenedGrant>>, ConnectionError> {
        let service = self.service(&wanted.connector).ok_or(ConnectionError::NotConfigured)?;
        let owner = wanted.holder.owner(&wanted.connector);
        let opened = self.held.open(&owner).await?.ok_or(ConnectionError::Missing(Missing::Connection))?;
        check(service, &opened.grant, wanted)?;
        if opened.access_token().digest() != turned_away.access_token().digest() {
            return Ok(Some(opened));
        }
        if now.unix_seconds().saturating_sub(opened.grant.obtained_at) < RENEWAL_PAUSE_SECONDS {
            return Ok(None);
        }
        let renewed = self.join(service, &owner, &opened).await?;
        check(service, &renewed.grant, wanted)?;
        Ok(Some(renewed))
    }

    /// Waits for the refresh that replaces the access token of `opened`; starts it when there is none.
    async fn join(
        &self,
        service: &Arc<Service>,
        owner: &Owner,
        opened: &OpenedGrant,
    ) -> Result<Arc<OpenedGrant>, ConnectionError> {
        if opened.grant.refresh_token.is_none() {
            return Err(ConnectionError::Missing(Missing::Renewal));
        }
        if let Some(refused) = self.held.refused.get(owner) {
            return Err(refused);
        }
        let old = opened.access_token().digest();
        let landed = || self.held.opened(owner).filter(|found| found.access_token().digest() != old).map(Ok);
        let start = || self.refresh(service, owner, opened);
        let landed = self.held.flights.join(owner.clone(), landed, start).await;
        landed.map_err(|_| ConnectionError::BrokeOff)?
    }

    /// The work of one refresh.
    fn refresh(
        &self,
        service: &Arc<Service>,
        owner: &Owner,
        opened: &OpenedGrant,
    ) -> impl Future<Output = Result<Arc<OpenedGrant>, ConnectionError>> + Send + 'static {
        let (held, service, owner) = (Arc::clone(&self.held), Arc::clone(service), owner.clone());
        let old = opened.access_token().digest();
        async move { held.refresh(&service, &owner, old).await }
    }
}

/// Whether a grant will do for what is wanted.
fn check(service: &Service, grant: &Grant, wanted: &Wanted) -> Result<(), ConnectionError> {
    let missing = if !service.matches(grant) {
        Missing::Settings
    } else if !grant.is_for(&wanted.agent) {
        Missing::Consent
    } else if grant
        .granted
        .as_ref()
        .is_some_and(|granted| !delegated::not_granted(&wanted.scopes, granted).is_empty())
    {
        Missing::Scopes
    } else {
        return Ok(());
    };
    Err(ConnectionError::Missing(missing))
}

impl Held {
    /// The grant of `owner`, as it is kept open, unless it has been taken away meanwhile.
    fn opened(&self, owner: &Owner) -> Option<Arc<OpenedGrant>> {
        self.opened.get(owner).filter(|opened| opened.generation == self.vault.generation(owner))
    }

    /// The grant of `owner`, where there is one.
    pub(super) async fn open(&self, owner: &Owner) -> Result<Option<Arc<OpenedGrant>>, ConnectionError> {
        if let Some(opened) = self.opened(owner) {
            return Ok(Some(opened));
        }
        let _turn = self.turns.take(owner).await;
        self.open_in_turn(owner).await
    }

    /// The same, for whoever has the turn.
    pub(super) async fn open_in_turn(
        &self,
        owner: &Owner,
    ) -> Result<Option<Arc<OpenedGrant>>, ConnectionError> {
        // What the vault could not take before is newer than what it has.
        let unsaved = self.unsaved().get(owner).cloned();
        if let Some((generation, grant)) = unsaved {
            return self.save(owner, generation, grant).await;
        }
        if let Some(opened) = self.opened(owner) {
            return Ok(Some(opened));
        }
        let record = match self.vault.get(owner).await {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(None),
            Err(VaultError::Record(fault)) => {
                return Err(ConnectionError::Missing(Missing::Unusable(fault)));
            }
            Err(error) => return Err(error.into()),
        };
        let Some(grant) = Grant::read(&record.bytes) else {
            tracing::error!(connector = %owner.connector, "Connection of another version of the gateway not used");
            return Err(ConnectionError::Missing(Missing::Connection));
        };
        let opened = OpenedGrant::new(record.generation, grant);
        self.opened.insert(owner.clone(), Arc::clone(&opened));
        Ok(Some(opened))
    }

    /// Keeps a grant: when this returns it, the disk has it. `None` when what it was to replace has been taken away meanwhile.
    pub(super) async fn save(
        &self,
        owner: &Owner,
        generation: Generation,
        grant: Grant,
    ) -> Result<Option<Arc<OpenedGrant>>, ConnectionError> {
        let saved = self.vault.put(owner, generation, &grant.write()).await;
        match saved {
            Ok(()) => {
                self.unsaved().remove(owner);
                let opened = OpenedGrant::new(generation, grant);
                self.opened.insert(owner.clone(), Arc::clone(&opened));
                Ok(Some(opened))
            }
            Err(VaultError::Superseded) => {
                self.unsaved().remove(owner);
                self.opened.invalidate(owner);
                Ok(None)
            }
            Err(error) => {
                tracing::error!(connector = %owner.connector, error = %ErrorChain(&error), "Connection not written to the vault");
                self.opened.invalidate(owner);
                let mut unsaved = self.unsaved();
                if unsaved.len() < UNSAVED_MAX || unsaved.contains_key(owner) {
                    unsaved.insert(owner.clone(), (generation, grant));
                }
                Err(error.into())
            }
        }
    }

    /// Renews the access token whose digest is `old`.
    async fn refresh(
        &self,
        service: &Arc<Service>,
        owner: &Owner,
        old: [u8; 32],
    ) -> Result<Arc<OpenedGrant>, ConnectionError> {
        let gone = || ConnectionError::Missing(Missing::Connection);
        let _turn = self.turns.take(owner).await;
        let opened = self.open_in_turn(owner).await?.ok_or_else(gone)?;
        let grant = &opened.grant;
        // A refresh token goes to the server that gave it, and to no other, whatever has been configured meanwhile.
        if !service.matches(grant) {
            return Err(ConnectionError::Missing(Missing::Settings));
        }
        if grant.access_token.digest() != old {
            return Ok(opened);
        }
        let Some(refresh_token) = &grant.refresh_token else {
            return Err(ConnectionError::Missing(Missing::Renewal));
        };
        // Where nothing can be kept, a token that can be used once is not used.
        if self.unsaved().len() >= UNSAVED_MAX {
            return Err(VaultError::Waiting.into());
        }
        let now = Now::read();
        match service.client.refresh(refresh_token, now).await {
            Ok(tokens) => {
                let mut next = grant.refreshed(tokens, now.unix_seconds());
                self.note_uses(owner, &mut next);
                let leftover = next.leftover();
                match self.save(owner, opened.generation, next).await? {
                    Some(opened) => {
                        self.events.note(Event::Refreshed, owner, None, "");
                        Ok(opened)
                    }
                    None => {
                        self.give_back(service, owner, &leftover).await;
                        Err(gone())
                    }
                }
            }
            Err(error) if is_over(&error) => {
                self.withdraw(owner, &error).await;
                Err(ConnectionError::Missing(Missing::Withdrawn))
            }
            Err(error) => {
                self.events.note(Event::RefreshFailed, owner, None, &ErrorChain(&error).to_string());
                let error = ConnectionError::Exchange(error);
                if matches!(error, ConnectionError::Exchange(ExchangeError::Refused { .. })) {
                    self.refused.insert(owner.clone(), error.clone());
                }
                Err(error)
            }
        }
    }

    /// The service says that the grant is over: it is forgotten, and the person is asked anew.
    async fn withdraw(&self, owner: &Owner, why: &ExchangeError) {
        self.events.note(Event::Withdrawn, owner, None, &ErrorChain(why).to_string());
        self.opened.invalidate(owner);
        if let Err(error) = self.vault.remove(owner).await {
            tracing::error!(connector = %owner.connector, error = %ErrorChain(&error), "Withdrawn connection not removed from the vault");
        }
    }

    /// Gives the tokens of a grant back, where the service takes them (RFC 7009). Returns whether it did.
    pub(super) async fn give_back(
        &self,
        service: &Service,
        owner: &Owner,
        leftover: &Leftover,
    ) -> Option<bool> {
        if leftover.fingerprint != *service.client.fingerprint() {
            return None;
        }
        let (token, kind) = match &leftover.refresh_token {
            // With it go the access tokens (RFC 7009 section 2.1).
            Some(token) => (token, TokenKind::Refresh),
            None => (&leftover.access_token, TokenKind::Access),
        };
        match service.client.revoke(token, kind, Now::read()).await {
            Ok(true) => {
                self.events.note(Event::Revoked, owner, None, "");
                Some(true)
            }
            Ok(false) => None,
            Err(error) => {
                self.events.note(Event::RevocationFailed, owner, None, &ErrorChain(&error).to_string());
                Some(false)
            }
        }
    }

    pub(super) fn unsaved(&self) -> MutexGuard<'_, std::collections::HashMap<Owner, (Generation, Grant)>> {
        // It is whole after every change.
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_use(&self, owner: &Owner, agent: &Actor, now: Now) {
        let (key, at) = ((owner.clone(), agent.clone()), now.unix_seconds());
        if self.used.get(&key).is_none_or(|before| at.saturating_sub(before) >= USED_SECONDS) {
            self.used.insert(key, at);
        }
    }

    /// Notes in a grant when its agents last used it.
    pub(super) fn note_uses(&self, owner: &Owner, grant: &mut Grant) {
        for consent in &mut grant.agents {
            let used = self.used.get(&(owner.clone(), consent.agent.clone()));
            consent.last_used = used.max(consent.last_used);
        }
    }
}
