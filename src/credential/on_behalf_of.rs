//! The signed-in user's identity, by an exchange of the subject token.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderValue;

use super::cache::{CredentialCache, Entry};
use super::key::{CacheKey, KeyFields};
use super::mode::PersonsPermit;
use super::reason::Reason;
use super::refusals::{Refusals, withdraws};
use super::{Credential, ObtainError, Source, bearer};
use crate::clock::Now;
use crate::error_chain::ErrorChain;
use crate::flight::Flights;
use crate::identity::Caller;
use crate::metrics::{CacheLookup, CacheRefresh, Metrics};
use crate::oauth::authorization_server::{AuthorizationServer, AuthorizationServers};
use crate::oauth::error_response::ErrorClass;
use crate::oauth::exchange::{ExchangeError, IssuedToken};
use crate::tool::{IdentityMode, Target};

/// How often a caller joins an exchange before it takes the answer as its own: another caller's subject token may be
/// refused where its own is not.
const FLIGHTS_MAX: usize = 3;
/// Obtains delegated tokens: from the cache, from an exchange under way, or by one of its own.
pub struct OnBehalfOf {
    servers: AuthorizationServers,
    shared: Arc<Kept>,
    flights: Flights<CacheKey, Result<Arc<Entry>, Failure>>,
}

/// What is kept of earlier exchanges.
struct Kept {
    tokens: Arc<CredentialCache>,
    refusals: Refusals,
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
}

impl OnBehalfOf {
    /// Exchanges tokens at these servers.
    pub fn new(servers: AuthorizationServers, cache: Arc<CredentialCache>, metrics: Arc<Metrics>) -> Self {
        let shared = Arc::new(Kept { tokens: cache, refusals: Refusals::new(), metrics });
        Self { servers, shared, flights: Flights::default() }
    }

    /// Obtains the delegated token for a permitted call.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] when there is none.
    pub async fn obtain(&self, permit: PersonsPermit<'_>, now: Now) -> Result<Credential, ObtainError> {
        let server = self.server(permit)?;
        let metrics = &self.shared.metrics;
        let Some(fields) = KeyFields::of(&permit, server) else {
            metrics.cache_looked_up(CacheLookup::Uncacheable);
            return self.obtain_uncached(server, permit, None, now).await;
        };
        let key = fields.key();
        if let Some(entry) = self.shared.tokens.get(&key, &fields, now) {
            metrics.cache_looked_up(CacheLookup::Hit);
            if let Some(newest) = entry.used_by(permit.caller(), now) {
                let wanted = wanted(server, permit, (key, Arc::new(fields)), Reason::Needed);
                self.refresh(Wanted { caller: newest, ..wanted }, Arc::clone(&entry));
            }
            return Ok(from_entry(entry, CacheLookup::Hit));
        }
        let wanted = wanted(server, permit, (key, Arc::new(fields)), Reason::Needed);
        Ok(from_entry(self.join(&wanted, now).await?, CacheLookup::Miss))
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
        now: Now,
    ) -> Result<Option<Credential>, ObtainError> {
        let server = self.server(permit)?;
        let (Source::Kept(old), Some(fields)) = (&turned_away.source, KeyFields::of(&permit, server)) else {
            return match claims {
                Some(_) => self.obtain_uncached(server, permit, claims, now).await.map(Some),
                None => Ok(None),
            };
        };
        let reason = Reason::turned_away(claims);
        if !reason.is_worth_another(&old.reason, old.age(now), turned_away.lookup) {
            return Ok(None);
        }
        let key = fields.key();
        self.shared.tokens.evict(&key, old);
        let wanted = wanted(server, permit, (key, Arc::new(fields)), reason);
        Ok(Some(from_entry(self.join(&wanted, now).await?, CacheLookup::Miss)))
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
        claims: Option<&str>,
        now: Now,
    ) -> Result<Credential, ObtainError> {
        let token =
            exchange(server, permit.caller(), permit.target(), claims, &self.shared.metrics, now).await?;
        let authorization = header(server, &token)?;
        Ok(Credential::new(
            IdentityMode::OnBehalfOf,
            authorization,
            token.granted,
            CacheLookup::Uncacheable,
            Source::Fresh { lifetime: token.lifetime },
        ))
    }

    /// Waits for the exchange that obtains what is wanted; starts it when there is none.
    async fn join(&self, wanted: &Wanted, now: Now) -> Result<Arc<Entry>, ObtainError> {
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
                    .get(&wanted.key, &wanted.fields, now)
                    .filter(|found| wanted.reason.is_met_by(&found.reason))
                    .map(Ok)
            };
            let start = || wanted.clone().obtain(Arc::clone(kept));
            match self.flights.join(flight, landed, start).await.map_err(|_| ObtainError::BrokeOff)? {
                // As with what is kept: should the digest ever be wrong, this keeps people apart.
                Ok(entry) if entry.is_for(&wanted.fields) => return Ok(entry),
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
    async fn obtain(self, kept: Arc<Kept>) -> Result<Arc<Entry>, Failure> {
        // Read anew: what is to be renewed was asked for long before.
        let asked = Now::read();
        let claims = self.reason.claims();
        let token = exchange(&self.server, &self.caller, &self.target, claims, &kept.metrics, asked).await;
        let made = token.and_then(|token| header(&self.server, &token).map(|header| (token, header)));
        let (token, authorization) = made.map_err(|error| {
            let digest = self.caller.tokens_digest();
            kept.refusals.put(&self.reason.flight(self.key).with(&digest), &error, Now::read());
            Failure::Exchange { error, tokens: digest }
        })?;
        let Self { caller, fields, reason, key, .. } = self;
        let entry = Entry::new(fields, caller, authorization, token.granted, token.lifetime, reason, asked);
        let entry = Arc::new(entry);
        match kept.tokens.put(key, &entry, Now::read()) {
            true => Ok(entry),
            false => Err(Failure::Forgotten),
        }
    }
}

fn wanted(
    server: &Arc<AuthorizationServer>,
    permit: PersonsPermit<'_>,
    (key, fields): (CacheKey, Arc<KeyFields>),
    reason: Reason,
) -> Wanted {
    let (server, caller) = (Arc::clone(server), Arc::clone(permit.caller()));
    Wanted { server, caller, target: permit.target().clone(), key, fields, reason }
}

/// Whether a refusal is about the subject token that was sent, so that another one of the same person may do better.
fn is_about_the_token(error: &ExchangeError) -> bool {
    let ExchangeError::Refused { refused, .. } = error else { return false };
    matches!(refused.class, ErrorClass::SubjectToken | ErrorClass::SignIn)
}

async fn exchange(
    server: &AuthorizationServer,
    caller: &Caller,
    target: &Target,
    claims: Option<&str>,
    metrics: &Metrics,
    now: Now,
) -> Result<IssuedToken, ExchangeError> {
    let started = Instant::now();
    let result = server.exchange(caller, target, claims, now).await;
    let outcome = match &result {
        Ok(_) => "issued",
        Err(error) => error.outcome(),
    };
    metrics.exchanged(&server.settings().name, outcome, started.elapsed());
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

fn from_entry(entry: Arc<Entry>, lookup: CacheLookup) -> Credential {
    let (authorization, granted) = (entry.authorization.clone(), entry.granted.clone());
    Credential::new(IdentityMode::OnBehalfOf, authorization, granted, lookup, Source::Kept(entry))
}

#[cfg(all(test, feature = "demo"))]
mod tests;
