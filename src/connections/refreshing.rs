//! The access token that a call needs: as it is kept, or renewed. Whoever needs the same one waits for the same refresh, and
//! nobody gets a token before the vault has what came with it: a server that rotates refresh tokens takes each of them once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::event;
use super::{ConnectionError, Connections, Event, Grant, Held, Leftover, Missing, Service, Wanted};
use crate::audit::{
    DeedKind, Destination, Exchange, ExchangeEnd, ExchangeReason, Failure, Fault, KnownPerson, Occasion,
    Place, Recording, RequestId, Whom,
};
use crate::clock::Now;
use crate::error_chain::ErrorChain;
use crate::identity::{Actor, Scopes, SecretToken};
use crate::metrics::CacheLookup;
use crate::oauth::delegated;
use crate::oauth::exchange::{self, ExchangeError, TokenKind, is_over};
use crate::tool::Target;
use crate::vault::{Generation, Owner, VaultError};

/// How long a token is not replaced that a connector turned away and that is not older. It would not help, and the server would
/// be asked for every call.
const RENEWAL_PAUSE_SECONDS: u64 = 60;
/// How long to wait after one attempt to renew ahead before the next.
const REFRESH_PAUSE_SECONDS: u64 = 30;
/// How exactly it is known when an agent last used a connection.
const USED_SECONDS: u64 = 60;
/// From how many grants on that wait for the vault to take them nobody else's is asked for. Those that are being asked for then
/// are kept as well.
pub(super) const UNSAVED_MAX: usize = 4_096;

/// What the grant of a renewal is called in records (RFC 6749 section 6).
const REFRESH_TOKEN: &str = "refresh_token";

/// A grant, as it is kept open.
#[derive(Debug)]
pub struct OpenedGrant {
    pub(super) generation: Generation,
    pub(super) grant: Grant,
    /// When it was opened, by both clocks.
    opened: Now,
    /// When it may be renewed ahead again, in seconds since 1970 UTC.
    next_attempt: AtomicU64,
}

impl OpenedGrant {
    pub(super) fn new(generation: Generation, grant: Grant) -> Arc<Self> {
        Arc::new(Self { generation, grant, opened: Now::read(), next_attempt: AtomicU64::new(0) })
    }

    /// What time it is, in seconds since 1970 UTC: by the wall clock, or by how long this has been open, whichever is later. So an
    /// access token is over in time, also when somebody sets the wall clock back.
    fn time(&self, now: Now) -> u64 {
        let open_for = now.monotonic.saturating_duration_since(self.opened.monotonic);
        now.unix_seconds().max(self.opened.after(open_for).unix_seconds())
    }

    /// The access token, for the connector and for nobody else.
    pub fn access_token(&self) -> &SecretToken {
        &self.grant.access_token
    }

    /// The scopes that were granted, where the service says so.
    pub fn granted(&self) -> Option<&Scopes> {
        self.grant.granted.as_ref()
    }

    /// The record of how the access token was obtained.
    pub fn recorded_as(&self) -> RequestId {
        self.grant.recorded_as
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

/// A renewal: of what, and why.
struct Renewal {
    service: Arc<Service>,
    owner: Owner,
    /// The digest of the access token that it is to replace.
    old: [u8; 32],
    agent: Actor,
    occasion: Occasion,
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
        let owner = Owner::new(&wanted.holder, &wanted.connector);
        let opened = self.held.open(&owner).await?.ok_or(ConnectionError::Missing(Missing::Connection))?;
        check(service, &opened.grant, wanted)?;
        self.held.note_use(&owner, &wanted.agent, now);
        let at = opened.time(now);
        if opened.grant.is_fresh(at) {
            if opened.is_to_be_renewed(at) {
                let start = || self.refresh(service, &opened, wanted, ExchangeReason::RefreshAhead);
                self.held.flights.start_unless_under_way(owner.clone(), start);
            }
            return Ok((opened, CacheLookup::Hit));
        }
        let renewed = self.join(service, &opened, wanted, ExchangeReason::Expired).await?;
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
        let owner = Owner::new(&wanted.holder, &wanted.connector);
        let opened = self.held.open(&owner).await?.ok_or(ConnectionError::Missing(Missing::Connection))?;
        check(service, &opened.grant, wanted)?;
        if opened.access_token().digest() != turned_away.access_token().digest() {
            return Ok(Some(opened));
        }
        if opened.time(now).saturating_sub(opened.grant.obtained_at) < RENEWAL_PAUSE_SECONDS {
            return Ok(None);
        }
        let renewed = self.join(service, &opened, wanted, ExchangeReason::TurnedAway).await?;
        check(service, &renewed.grant, wanted)?;
        Ok(Some(renewed))
    }

    /// Waits for the refresh that replaces the access token of `opened`; starts it when there is none.
    async fn join(
        &self,
        service: &Arc<Service>,
        opened: &OpenedGrant,
        wanted: &Wanted,
        reason: ExchangeReason,
    ) -> Result<Arc<OpenedGrant>, ConnectionError> {
        if opened.grant.refresh_token.is_none() {
            return Err(ConnectionError::Missing(Missing::Renewal));
        }
        let owner = Owner::new(&wanted.holder, &wanted.connector);
        if let Some(refused) = self.held.refused.get(&owner) {
            return Err(refused);
        }
        let old = opened.access_token().digest();
        let landed = || self.held.opened(&owner).filter(|found| found.access_token().digest() != old).map(Ok);
        let start = || self.refresh(service, opened, wanted, reason);
        let landed = self.held.flights.join(owner.clone(), landed, start).await;
        landed.map_err(|_| ConnectionError::BrokeOff)?
    }

    /// The work of one refresh.
    fn refresh(
        &self,
        service: &Arc<Service>,
        opened: &OpenedGrant,
        wanted: &Wanted,
        reason: ExchangeReason,
    ) -> impl Future<Output = Result<Arc<OpenedGrant>, ConnectionError>> + Send + 'static {
        let Wanted { request, holder, agent, connector, .. } = wanted.clone();
        let renewal = Renewal {
            owner: Owner::new(&holder, &connector),
            service: Arc::clone(service),
            old: opened.access_token().digest(),
            agent,
            occasion: Occasion { request, connector, reason },
        };
        let held = Arc::clone(&self.held);
        async move { held.refresh(renewal).await }
    }
}

impl Renewal {
    /// Begins its record, which says that it broke off until it is said otherwise.
    fn begin(&self) -> Result<Recording, ExchangeError> {
        let settings = self.service.client.settings();
        let target = Target {
            scopes: settings.scopes.clone(),
            resource: settings.resource.clone(),
            ..Target::default()
        };
        let recorded = self.service.events.recorder().begin(Exchange {
            grant: REFRESH_TOKEN,
            whom: Whom::Owner(KnownPerson::of(&self.owner.person).into(), self.agent.clone()),
            server: settings.label.clone(),
            issuer: settings.issuer.clone(),
            endpoint: self.service.client.token_endpoint().as_ref().map(Destination::of),
            client_id: Arc::clone(&settings.client_id),
            target,
            occasion: self.occasion.clone(),
            end: ExchangeEnd::BrokeOff,
        });
        Ok(recorded?)
    }

    fn note(&self, event: Event, detail: &str) {
        self.service.events.note(event, &self.owner.connector, Some(&self.agent), detail);
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
    pub(super) async fn open(
        self: &Arc<Self>,
        owner: &Owner,
    ) -> Result<Option<Arc<OpenedGrant>>, ConnectionError> {
        if let Some(opened) = self.opened(owner) {
            return Ok(Some(opened));
        }
        let _turn = self.turns.take(owner).await;
        self.open_in_turn(owner).await
    }

    /// The same, for whoever has the turn.
    pub(super) async fn open_in_turn(
        self: &Arc<Self>,
        owner: &Owner,
    ) -> Result<Option<Arc<OpenedGrant>>, ConnectionError> {
        // What the vault could not take before is newer than what it has.
        let unsaved = self.unsaved().get(owner).cloned();
        if let Some((generation, grant)) = unsaved {
            let saved = self.save(owner, generation, grant).await?;
            if saved.is_some() {
                tracing::info!(connector = %owner.connector, "Renewed connection written to the vault after all");
            }
            return Ok(saved);
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

    /// Renews an access token.
    async fn refresh(self: &Arc<Self>, renewal: Renewal) -> Result<Arc<OpenedGrant>, ConnectionError> {
        let gone = || ConnectionError::Missing(Missing::Connection);
        let Renewal { service, owner, .. } = &renewal;
        let _turn = self.turns.take(owner).await;
        let opened = self.open_in_turn(owner).await?.ok_or_else(gone)?;
        let grant = &opened.grant;
        // A refresh token goes to the server that gave it, and to no other, whatever has been configured meanwhile.
        if !service.matches(grant) {
            return Err(ConnectionError::Missing(Missing::Settings));
        }
        if grant.access_token.digest() != renewal.old {
            return Ok(opened);
        }
        let Some(refresh_token) = &grant.refresh_token else {
            return Err(ConnectionError::Missing(Missing::Renewal));
        };
        // Where nothing can be kept, a token that can be used once is not used.
        if self.is_closing.load(Ordering::Relaxed) {
            return Err(VaultError::Closed.into());
        }
        if self.unsaved().len() >= UNSAVED_MAX {
            return Err(VaultError::Waiting.into());
        }
        let recorder = service.events.recorder();
        // What comes late is given back, which has a record as well.
        let late = recorder.reserve().map_err(ExchangeError::NotRecorded)?;
        let recording = renewal.begin()?;
        let recorded_as = recording.id();
        // The vault is not closed before it has what comes.
        let _under_way = recorder.under_way();
        let now = Now::read();
        let Some(answer) = recorder.within_grace(service.client.refresh(refresh_token, now)).await else {
            // Its record says that it broke off.
            return Err(ConnectionError::BrokeOff);
        };
        match answer {
            Ok(tokens) => {
                recording.end(ExchangeEnd::Issued(event::issued(&tokens)));
                let mut next = grant.refreshed(tokens, recorded_as, now.unix_seconds());
                self.note_uses(owner, &mut next);
                let leftover = next.leftover();
                let saved = self.save(owner, opened.generation, next).await;
                let saved = saved.inspect_err(|_| {
                    renewal.note(Event::RefreshFailed, "the vault did not take the renewed tokens");
                });
                match saved? {
                    Some(opened) => {
                        renewal.note(Event::Refreshed, "");
                        Ok(opened)
                    }
                    None => {
                        let Occasion { request, .. } = renewal.occasion;
                        self.give_back(service, owner, &leftover, late, Some(request)).await;
                        Err(gone())
                    }
                }
            }
            Err(error) if is_over(&error) => {
                let failure =
                    Failure { code: "withdrawn", fault: Fault::User, ..exchange::failure(&error, true) };
                recording.end(ExchangeEnd::Failed(failure));
                renewal.note(Event::Withdrawn, &ErrorChain(&error).to_string());
                self.withdraw(owner).await;
                Err(ConnectionError::Missing(Missing::Withdrawn))
            }
            Err(error) => {
                recording.end(ExchangeEnd::Failed(exchange::failure(&error, true)));
                renewal.note(Event::RefreshFailed, &ErrorChain(&error).to_string());
                let error = ConnectionError::Exchange(error);
                if matches!(error, ConnectionError::Exchange(ExchangeError::Refused { .. })) {
                    self.refused.insert(owner.clone(), error.clone());
                }
                Err(error)
            }
        }
    }

    /// The service says that the grant is over: it is forgotten, and the person is asked anew.
    async fn withdraw(&self, owner: &Owner) {
        self.opened.invalidate(owner);
        if let Err(error) = self.vault.remove(owner).await {
            tracing::error!(connector = %owner.connector, error = %ErrorChain(&error), "Withdrawn connection not removed from the vault");
            // It is still there, and the service is not asked about it for every call.
            self.refused.insert(owner.clone(), ConnectionError::Missing(Missing::Withdrawn));
        }
    }

    /// Gives the tokens of a grant back, where the service takes them (RFC 7009). Returns whether it did. Its record has this
    /// place; without being asked, the service has done nothing that would be recorded.
    pub(super) async fn give_back(
        &self,
        service: &Service,
        owner: &Owner,
        leftover: &Leftover,
        place: Place,
        request: Option<RequestId>,
    ) -> Option<bool> {
        if leftover.fingerprint != *service.client.fingerprint()
            || !service.client.may_take_tokens_back().await
        {
            return None;
        }
        let (token, kind) = match &leftover.refresh_token {
            // With it go the access tokens (RFC 7009 section 2.1).
            Some(token) => (token, TokenKind::Refresh),
            None => (&leftover.access_token, TokenKind::Access),
        };
        let mut doing = service.events.begin(place, DeedKind::ServiceRevocation, owner, None);
        doing.at(service);
        doing.add(|deed| {
            deed.account.clone_from(&leftover.account);
            deed.request = request;
        });
        let revoked = service.client.revoke(token, kind, Now::read());
        match service.events.recorder().within_grace(revoked).await {
            Some(Ok(true)) => {
                doing.done(Some(Event::Revoked), None);
                Some(true)
            }
            Some(Ok(false)) => {
                let why = "the service does not take tokens back any more";
                let failure = Failure::of("not_taken_back", Fault::AuthorizationServer, why);
                doing.failed(Some(Event::RevocationFailed), failure);
                None
            }
            Some(Err(error)) => {
                doing.failed(Some(Event::RevocationFailed), exchange::failure(&error, true));
                Some(false)
            }
            None => Some(false),
        }
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
