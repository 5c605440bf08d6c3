//! The signed-in user's identity, by an exchange of the subject token.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderValue;

use super::cache::{CredentialCache, Entry, Issued, Served};
use super::key::{CacheKey, KeyFields};
use super::mode::PersonsPermit;
use super::reason::Reason;
use super::refusals::{Refusals, withdraws};
use super::{Credential, ObtainError, Source, bearer, note_of};
use crate::audit::{Occasion, Recorder, RequestId};
use crate::clock::Now;
use crate::error_chain::ErrorChain;
use crate::flight::Flights;
use crate::identity::Caller;
use crate::metrics::{CacheLookup, CacheRefresh, Metrics};
use crate::oauth::authorization_server::{AuthorizationServer, AuthorizationServers};
use crate::oauth::error_response::ErrorClass;
use crate::oauth::exchange::{Asking, ExchangeError, IssuedToken};
use crate::tool::{IdentityMode, Target};

/// How often a caller joins an exchange before it takes the answer as its own: another caller's subject token may be
/// refused where its own is not.
const FLIGHTS_MAX: usize = 3;

/// Obtains delegated tokens: from the cache, from an exchange under way, or by one of its own.
pub struct OnBehalfOf {
    servers: AuthorizationServers,
    shared: Arc<Kept>,
    flights: Flights<CacheKey, Result<Served, Failure>>,
}

/// What is kept of earlier exchanges.
struct Kept {
    tokens: Arc<CredentialCache>,
    refusals: Refusals,
    recorder: Recorder,
    metrics: Arc<Metrics>,
}

/// Why an exchange gave nothing to keep.
#[derive(Clone)]
enum Failure {
    /// It failed, with the caller's tokens of this digest.
    Exchange { error: ExchangeError, tokens: [u8; 32] },
    /// Its person was forgotten meanwhile.
    Forgotten,
}

/// A token that somebody needs.
#[derive(Clone)]
struct Wanted {
    server: Arc<AuthorizationServer>,
    caller: Arc<Caller>,
    target: Target,
    key: CacheKey,
    fields: Arc<KeyFields>,
    reason: Reason,
    occasion: Occasion,
}

impl OnBehalfOf {
    /// Exchanges tokens at these servers.
    pub fn new(
        servers: AuthorizationServers,
        cache: Arc<CredentialCache>,
        recorder: Recorder,
        metrics: Arc<Metrics>,
    ) -> Self {
        let shared = Arc::new(Kept { tokens: cache, refusals: Refusals::new(), recorder, metrics });
        Self { servers, shared, flights: Flights::default() }
    }

    /// Obtains the delegated token for a permitted call.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] when there is none.
    pub async fn obtain(
        &self,
        permit: PersonsPermit<'_>,
        call: RequestId,
        now: Now,
    ) -> Result<Credential, ObtainError> {
        let server = self.server(permit)?;
        let metrics = &self.shared.metrics;
        let Some((key, fields)) = KeyFields::of(&permit, server) else {
            metrics.cache_looked_up(CacheLookup::Uncacheable);
            let reason = Reason::Needed;
            return Box::pin(self.obtain_uncached(server, permit, &reason, call, now)).await;
        };
        if let Some(served) = self.shared.tokens.get(&key, &fields, permit.caller(), now) {
            metrics.cache_looked_up(CacheLookup::Hit);
            if served.entry.is_to_be_renewed(now) {
                let newest = self.shared.tokens.newest(&key, &fields);
                let wanted = wanted(server, permit, (key, fields), Reason::Needed, call);
                let occasion = occasion(permit, &wanted.reason, true, call);
                let caller = newest.unwrap_or_else(|| Arc::clone(permit.caller()));
                self.refresh(Wanted { caller, occasion, ..wanted }, Arc::clone(&served.entry));
            }
            return Ok(credential(served, CacheLookup::Hit));
        }
        let wanted = wanted(server, permit, (key, fields), Reason::Needed, call);
        Ok(credential(self.join(&wanted, now).await?, CacheLookup::Miss))
    }

    /// Obtains another token in place of `turned_away`, which the connector did not take. `claims` is what it
    /// demanded, as JSON. `None` when another one would not help: this one has only just been obtained, or obtained for
    /// that very demand.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] when there is none. The old one is not used again then either.
    pub async fn renew(
        &self,
        permit: PersonsPermit<'_>,
        turned_away: &Credential,
        claims: Option<&str>,
        call: RequestId,
        now: Now,
    ) -> Result<Option<Credential>, ObtainError> {
        let server = self.server(permit)?;
        let reason = Reason::turned_away(claims);
        let (Source::Kept(old), Some((key, fields))) = (&turned_away.source, KeyFields::of(&permit, server))
        else {
            return match claims {
                Some(_) => Box::pin(self.obtain_uncached(server, permit, &reason, call, now)).await.map(Some),
                None => Ok(None),
            };
        };
        if !reason.is_worth_another(old.reason(), old.age(now), turned_away.lookup) {
            return Ok(None);
        }
        self.shared.tokens.evict(&key, old);
        let wanted = wanted(server, permit, (key, fields), reason, call);
        Ok(Some(credential(self.join(&wanted, now).await?, CacheLookup::Miss)))
    }

    /// As which client the gateway asks for the token of a permitted call.
    pub fn client_id(&self, permit: PersonsPermit<'_>) -> Option<&Arc<str>> {
        let server = self.servers.get(permit.caller().issuer())?;
        server.settings().exchange.as_ref().map(|exchange| &exchange.client_id)
    }

    fn server(&self, permit: PersonsPermit<'_>) -> Result<&Arc<AuthorizationServer>, ObtainError> {
        let caller = permit.caller();
        let server = self.servers.get(caller.issuer());
        server.ok_or_else(|| ObtainError::UnknownIssuer(caller.issuer_name().clone()))
    }

    async fn obtain_uncached(
        &self,
        server: &AuthorizationServer,
        permit: PersonsPermit<'_>,
        reason: &Reason,
        call: RequestId,
        now: Now,
    ) -> Result<Credential, ObtainError> {
        let occasion = occasion(permit, reason, false, call);
        let (claims, kept) = (reason.claims(), &self.shared);
        let token = exchange(server, permit.caller(), permit.target(), claims, &occasion, kept, now).await?;
        let (authorization, note) = (header(server, &token)?, note_of(&token));
        Ok(Credential::new(
            IdentityMode::OnBehalfOf,
            authorization,
            CacheLookup::Uncacheable,
            Source::Fresh { lifetime: token.lifetime },
            note,
        ))
    }

    /// Waits for the exchange that obtains what is wanted; starts it when there is none.
    async fn join(&self, wanted: &Wanted, now: Now) -> Result<Served, ObtainError> {
        let (kept, flight, tokens) =
            (&self.shared, wanted.reason.flight(wanted.key), wanted.caller.tokens_digest());
        let mut last = ObtainError::BrokeOff;
        for attempt in 0..FLIGHTS_MAX {
            if let Some(error) = kept.refusals.get(&flight.with(&tokens), now) {
                kept.metrics.cache_looked_up(CacheLookup::Refused);
                return Err(error.into());
            }
            if attempt == 0 {
                kept.metrics.cache_looked_up(CacheLookup::Miss);
            }
            let landed = || {
                kept.tokens
                    .get(&wanted.key, &wanted.fields, &wanted.caller, now)
                    .filter(|found| wanted.reason.is_met_by(found.entry.reason()))
                    .map(Ok)
            };
            let start = || wanted.clone().obtain(Arc::clone(kept));
            match self.flights.join(flight, landed, start).await.map_err(|_| ObtainError::BrokeOff)? {
                // As with what is kept: should the digest ever be wrong, this keeps people apart.
                Ok(served) if served.entry.is_for(&wanted.fields) => return Ok(served),
                Ok(_) => return Err(ObtainError::BrokeOff),
                Err(Failure::Forgotten) => {}
                Err(Failure::Exchange { error, tokens: theirs }) => {
                    if theirs == tokens || !is_about_the_token(&error) {
                        return Err(error.into());
                    }
                    last = error.into();
                }
            }
        }
        Err(last)
    }

    /// Renews an entry that is in use, in the background. As long as that does not succeed, the old one serves on,
    /// unless the server says that the person may not have it any more.
    fn refresh(&self, wanted: Wanted, old: Arc<Entry>) {
        let (key, kept) = (wanted.key, Arc::clone(&self.shared));
        let start = || async move {
            let result = wanted.clone().obtain(Arc::clone(&kept)).await;
            kept.metrics.cache_refreshed(match &result {
                Ok(_) => CacheRefresh::Renewed,
                Err(Failure::Exchange { error, .. }) if withdraws(error) => {
                    kept.tokens.evict(&wanted.key, &old);
                    CacheRefresh::Withdrawn
                }
                Err(Failure::Exchange { .. } | Failure::Forgotten) => CacheRefresh::Failed,
            });
            result
        };
        self.flights.start_unless_under_way(key, start);
    }
}

impl Wanted {
    async fn obtain(self, kept: Arc<Kept>) -> Result<Served, Failure> {
        // Read anew: what is to be renewed was asked for long before.
        let asked = Now::read();
        let (claims, occasion) = (self.reason.claims(), &self.occasion);
        let token = exchange(&self.server, &self.caller, &self.target, claims, occasion, &kept, asked).await;
        let made = token.and_then(|token| header(&self.server, &token).map(|header| (token, header)));
        let (token, authorization) = made.map_err(|error| {
            let digest = self.caller.tokens_digest();
            kept.refusals.put(&self.reason.flight(self.key).with(&digest), &error, Now::read());
            Failure::Exchange { error, tokens: digest }
        })?;
        let Self { caller, fields, reason, key, .. } = self;
        let (digest, IssuedToken { granted, lifetime, recorded_as, .. }) = (token.token.digest(), token);
        let issued =
            Issued { authorization, token: digest, granted, lifetime, reason, exchange: recorded_as };
        let served = kept.tokens.entry(&fields, issued, asked);
        match kept.tokens.put(key, &served, &caller, Now::read()) {
            true => Ok(served),
            false => Err(Failure::Forgotten),
        }
    }
}

fn wanted(
    server: &Arc<AuthorizationServer>,
    permit: PersonsPermit<'_>,
    (key, fields): (CacheKey, KeyFields),
    reason: Reason,
    call: RequestId,
) -> Wanted {
    let (server, caller) = (Arc::clone(server), Arc::clone(permit.caller()));
    let occasion = occasion(permit, &reason, false, call);
    let (target, fields) = (permit.target().clone(), Arc::new(fields));
    Wanted { server, caller, target, key, fields, reason, occasion }
}

/// Why the token of a permitted call is asked for; `refreshes` when one that is in use is renewed before its end.
fn occasion(permit: PersonsPermit<'_>, reason: &Reason, refreshes: bool, call: RequestId) -> Occasion {
    let connector = permit.tool().connector.clone();
    Occasion { request: call, connector, reason: reason.recorded(refreshes) }
}

/// Whether a refusal is about the subject token that was sent, so that another one of the same person may do better.
fn is_about_the_token(error: &ExchangeError) -> bool {
    let ExchangeError::Refused { refused, .. } = error else { return false };
    matches!(refused.class, ErrorClass::SubjectToken | ErrorClass::SignIn)
}

async fn exchange(
    server: &AuthorizationServer,
    caller: &Arc<Caller>,
    target: &Target,
    claims: Option<&str>,
    occasion: &Occasion,
    kept: &Kept,
    now: Now,
) -> Result<IssuedToken, ExchangeError> {
    let started = Instant::now();
    let asking = Asking { recorder: &kept.recorder, occasion };
    let result = server.exchange(caller, target, claims, asking, now).await;
    let outcome = match &result {
        Ok(_) => "issued",
        Err(error) => error.outcome(),
    };
    kept.metrics.exchanged(&server.settings().name, outcome, started.elapsed());
    if let Err(error) = &result {
        tracing::debug!(error = %ErrorChain(error), "Exchange failed");
    }
    result
}

fn header(server: &AuthorizationServer, token: &IssuedToken) -> Result<HeaderValue, ExchangeError> {
    bearer(&token.token).ok_or_else(|| ExchangeError::Unusable {
        issuer: server.settings().name.clone(),
        why: "its token does not fit in a header",
    })
}

fn credential(served: Served, lookup: CacheLookup) -> Credential {
    let Served { entry, authorization, note } = served;
    Credential::new(IdentityMode::OnBehalfOf, authorization, lookup, Source::Kept(entry), note)
}

#[cfg(all(test, feature = "demo"))]
mod tests;
