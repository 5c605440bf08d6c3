//! The signed-in user's identity, by an exchange of the subject token.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderValue;

use super::cache::{CacheKey, CredentialCache, Entry, KeyFields};
use super::{Credential, ObtainError, bearer};
use crate::clock::Now;
use crate::error_chain::ErrorChain;
use crate::flight::Flights;
use crate::identity::Scopes;
use crate::metrics::{CacheLookup, Metrics};
use crate::oauth::authorization_server::{AuthorizationServer, AuthorizationServers};
use crate::oauth::exchange::{DelegatedToken, ExchangeError};
use crate::policy::Permit;
use crate::tool::IdentityMode;

/// Obtains delegated tokens: from the cache, from an exchange under way, or by one of its own.
pub struct OnBehalfOf {
    servers: AuthorizationServers,
    cache: Arc<CredentialCache>,
    flights: Flights<CacheKey, Result<Arc<Entry>, ExchangeError>>,
    metrics: Arc<Metrics>,
}

impl OnBehalfOf {
    /// Exchanges tokens at these servers.
    pub fn new(servers: AuthorizationServers, cache: Arc<CredentialCache>, metrics: Arc<Metrics>) -> Self {
        Self { servers, cache, flights: Flights::default(), metrics }
    }

    /// Obtains the delegated token for a permitted call.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] when there is none.
    pub async fn obtain(&self, permit: &Permit, now: Now) -> Result<Credential, ObtainError> {
        let caller = permit.caller();
        let server = self
            .servers
            .get(caller.issuer())
            .ok_or_else(|| ObtainError::UnknownIssuer(caller.issuer_name().clone()))?;
        let Some(fields) = KeyFields::of(permit, server) else {
            self.metrics.cache_looked_up(CacheLookup::Uncacheable);
            let token = exchange(server, permit, &self.metrics, now).await?;
            let authorization = header(server, &token)?;
            return Ok(credential(authorization, token.granted, CacheLookup::Uncacheable));
        };
        let key = fields.key();
        if let Some(entry) = self.cache.get(&key, &fields, now) {
            self.metrics.cache_looked_up(CacheLookup::Hit);
            return Ok(from_entry(&entry, CacheLookup::Hit));
        }
        self.metrics.cache_looked_up(CacheLookup::Miss);
        let fields = Arc::new(fields);
        let landed = || self.cache.get(&key, &fields, now).map(Ok);
        let start = || {
            let (server, permit, fields) = (Arc::clone(server), permit.clone(), Arc::clone(&fields));
            let (cache, metrics) = (Arc::clone(&self.cache), Arc::clone(&self.metrics));
            async move {
                let token = exchange(&server, &permit, &metrics, now).await?;
                let authorization = header(&server, &token)?;
                let entry = Arc::new(Entry::new(fields, authorization, token.granted, token.lifetime, now));
                cache.put(key, Arc::clone(&entry), Now::read());
                Ok(entry)
            }
        };
        let entry = self.flights.join(key, landed, start).await.map_err(|_| ObtainError::BrokeOff)??;
        Ok(from_entry(&entry, CacheLookup::Miss))
    }
}

async fn exchange(
    server: &AuthorizationServer,
    permit: &Permit,
    metrics: &Metrics,
    now: Now,
) -> Result<DelegatedToken, ExchangeError> {
    let started = Instant::now();
    let result = server.exchange(permit.caller(), permit.target(), now).await;
    let outcome = match &result {
        Ok(_) => "issued",
        Err(error) => error.outcome(),
    };
    metrics.exchanged(&server.settings().name, outcome, started.elapsed());
    if let Err(error) = &result {
        tracing::debug!(error = %ErrorChain(error), tool = %permit.tool(), "Exchange failed");
    }
    result
}

fn header(server: &AuthorizationServer, token: &DelegatedToken) -> Result<HeaderValue, ExchangeError> {
    bearer(&token.token).ok_or_else(|| ExchangeError::Unusable {
        issuer: server.settings().name.clone(),
        why: "its token does not fit in a header",
    })
}

fn from_entry(entry: &Entry, lookup: CacheLookup) -> Credential {
    credential(entry.authorization.clone(), entry.granted.clone(), lookup)
}

fn credential(authorization: HeaderValue, granted: Option<Scopes>, lookup: CacheLookup) -> Credential {
    Credential { authorization, identity: IdentityMode::OnBehalfOf, granted, lookup }
}
