//! The gateway's application identity, by its client credentials: for shared work, and never a fallback.
//!
//! Who asks here has an [`ApplicationPermit`], and only `mode.rs` hands that out, for tools that declare `app_only`.

use std::sync::Arc;

use http::HeaderValue;

use super::cache::CredentialCache;
use super::key::CacheKey;
use super::mode::ApplicationPermit;
use super::reason::Reason;
use super::refusals::{Refusals, withdraws};
use super::{Credential, ObtainError, Source, bearer, note_of};
use crate::audit::{Occasion, Recorder, RequestId};
use crate::clock::Now;
use crate::error_chain::ErrorChain;
use crate::flight::Flights;
use crate::metrics::{CacheLookup, CacheRefresh, Metrics};
use crate::oauth::authorization_server::{AuthorizationServer, AuthorizationServers};
use crate::oauth::exchange::{Asking, ExchangeError, IssuedToken};
use crate::tool::IdentityMode;

mod tokens;

use tokens::ApplicationFields;
pub use tokens::{ApplicationToken, ApplicationTokens};

/// Obtains application tokens: from those that are kept, from a request under way, or by one of its own.
pub struct AppOnly {
    servers: AuthorizationServers,
    shared: Arc<Kept>,
    flights: Flights<CacheKey, Result<Arc<ApplicationToken>, ExchangeError>>,
}

/// What is kept of earlier requests.
struct Kept {
    cache: Arc<CredentialCache>,
    refusals: Refusals,
    recorder: Recorder,
    metrics: Arc<Metrics>,
}

/// A token that somebody needs.
#[derive(Clone)]
struct Wanted {
    server: Arc<AuthorizationServer>,
    key: CacheKey,
    fields: Arc<ApplicationFields>,
    reason: Reason,
    occasion: Occasion,
}

impl AppOnly {
    /// Asks these servers.
    pub fn new(
        servers: AuthorizationServers,
        cache: Arc<CredentialCache>,
        recorder: Recorder,
        metrics: Arc<Metrics>,
    ) -> Self {
        let shared = Arc::new(Kept { cache, refusals: Refusals::new(), recorder, metrics });
        Self { servers, shared, flights: Flights::default() }
    }

    /// Obtains the application token for a permitted call.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] when there is none.
    pub async fn obtain(
        &self,
        permit: ApplicationPermit<'_>,
        call: RequestId,
        now: Now,
    ) -> Result<Credential, ObtainError> {
        let wanted = self.wanted(permit, Reason::Needed, call)?;
        let kept = &self.shared;
        let Some(token) = kept.cache.applications().get(&wanted.key, &wanted.fields, now) else {
            return Ok(from_token(self.join(&wanted, now).await?, CacheLookup::Miss));
        };
        kept.metrics.cache_looked_up(CacheLookup::Hit);
        if token.life.is_to_be_renewed(now) {
            let occasion = Occasion { reason: wanted.reason.recorded(true), ..wanted.occasion.clone() };
            self.refresh(Wanted { occasion, ..wanted }, Arc::clone(&token));
        }
        Ok(from_token(token, CacheLookup::Hit))
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
        permit: ApplicationPermit<'_>,
        turned_away: &Credential,
        claims: Option<&str>,
        call: RequestId,
        now: Now,
    ) -> Result<Option<Credential>, ObtainError> {
        let Source::Application(old) = &turned_away.source else { return Ok(None) };
        let wanted = self.wanted(permit, Reason::turned_away(claims), call)?;
        if !wanted.reason.is_worth_another(&old.reason, old.life.age(now), turned_away.lookup) {
            return Ok(None);
        }
        self.shared.cache.applications().evict(&wanted.key, old);
        Ok(Some(from_token(self.join(&wanted, now).await?, CacheLookup::Miss)))
    }

    /// As which client the gateway asks for the token of a permitted call.
    pub fn client_id(&self, permit: ApplicationPermit<'_>) -> Option<&Arc<str>> {
        let server = self.servers.get(permit.issuer())?;
        server.settings().application.as_ref().map(|application| &application.client_id)
    }

    fn wanted(
        &self,
        permit: ApplicationPermit<'_>,
        reason: Reason,
        call: RequestId,
    ) -> Result<Wanted, ObtainError> {
        let server = self.servers.get(permit.issuer());
        let server = server.ok_or_else(|| ObtainError::UnknownIssuer(permit.issuer_name().clone()))?;
        let fields = ApplicationFields::of(permit, server).ok_or_else(|| {
            ObtainError::Application(ExchangeError::Unprepared {
                issuer: permit.issuer_name().clone(),
                why: "its entry names no client for application tokens",
            })
        })?;
        let connector = permit.connector().clone();
        let occasion = Occasion { request: call, connector, reason: reason.recorded(false) };
        let (server, key, fields) = (Arc::clone(server), fields.key(), Arc::new(fields));
        Ok(Wanted { server, key, fields, reason, occasion })
    }

    /// Waits for the request that obtains what is wanted; starts it when there is none.
    async fn join(&self, wanted: &Wanted, now: Now) -> Result<Arc<ApplicationToken>, ObtainError> {
        let (kept, flight) = (&self.shared, wanted.reason.flight(wanted.key));
        if let Some(error) = kept.refusals.get(&flight, now) {
            kept.metrics.cache_looked_up(CacheLookup::Refused);
            return Err(ObtainError::Application(error));
        }
        kept.metrics.cache_looked_up(CacheLookup::Miss);
        let landed = || {
            let found = kept.cache.applications().get(&wanted.key, &wanted.fields, now);
            found.filter(|found| wanted.reason.is_met_by(&found.reason)).map(Ok)
        };
        let start = || wanted.clone().obtain(Arc::clone(kept));
        match self.flights.join(flight, landed, start).await.map_err(|_| ObtainError::BrokeOff)? {
            // As with what is kept: should the digest ever be wrong, this keeps connectors apart.
            Ok(token) if token.is_for(&wanted.fields) => Ok(token),
            Ok(_) => Err(ObtainError::BrokeOff),
            Err(error) => Err(ObtainError::Application(error)),
        }
    }

    /// Renews a token that is in use, in the background. As long as that does not succeed, the old one serves on, unless
    /// the server says that the application may not have it any more.
    fn refresh(&self, wanted: Wanted, old: Arc<ApplicationToken>) {
        let (key, kept) = (wanted.key, Arc::clone(&self.shared));
        let start = || async move {
            let result = wanted.clone().obtain(Arc::clone(&kept)).await;
            kept.metrics.cache_refreshed(match &result {
                Ok(_) => CacheRefresh::Renewed,
                Err(error) if withdraws(error) => {
                    kept.cache.applications().evict(&wanted.key, &old);
                    CacheRefresh::Withdrawn
                }
                Err(_) => CacheRefresh::Failed,
            });
            result
        };
        self.flights.start_unless_under_way(key, start);
    }
}

impl Wanted {
    async fn obtain(self, kept: Arc<Kept>) -> Result<Arc<ApplicationToken>, ExchangeError> {
        let asked = Now::read();
        let (authorization, issued) = match self.ask(&kept, asked).await {
            Ok(issued) => issued,
            Err(error) => {
                kept.refusals.put(&self.reason.flight(self.key), &error, Now::read());
                return Err(error);
            }
        };
        let Self { fields, reason, key, .. } = self;
        let (note, lifetime) = (note_of(&issued), issued.lifetime);
        let token = ApplicationToken::new(fields, authorization, lifetime, reason, note, asked);
        let token = Arc::new(token);
        kept.cache.applications().put(key, &token, Now::read());
        Ok(token)
    }

    async fn ask(&self, kept: &Kept, asked: Now) -> Result<(HeaderValue, IssuedToken), ExchangeError> {
        let (server, claims) = (&self.server, self.reason.claims());
        let asking = Asking { recorder: &kept.recorder, occasion: &self.occasion };
        let result = server.application_token(&self.fields.target, claims, asking, asked).await;
        let outcome = result.as_ref().err().map_or("issued", ExchangeError::outcome);
        kept.metrics.application_token_asked(&server.settings().name, outcome);
        if let Err(error) = &result {
            tracing::debug!(error = %ErrorChain(error), "No application token");
        }
        let issued = result?;
        let authorization = bearer(&issued.token).ok_or_else(|| ExchangeError::Unusable {
            issuer: server.settings().name.clone(),
            why: "its token does not fit in a header",
        })?;
        Ok((authorization, issued))
    }
}

fn from_token(token: Arc<ApplicationToken>, lookup: CacheLookup) -> Credential {
    let (authorization, note) = (token.authorization.clone(), Arc::clone(&token.note));
    Credential::new(IdentityMode::AppOnly, authorization, lookup, Source::Application(token), note)
}

#[cfg(all(test, feature = "demo"))]
mod tests;
