//! ID-JAG (draft-ietf-oauth-identity-assertion-authz-grant): the issuer vouches for the person to another authorization
//! server, and that one issues the token. Two requests, two clients, two servers, and one deadline for both.

use std::sync::Arc;

use http::StatusCode;
use tokio::time::Instant;

use super::request::{Request, Surroundings};
use super::{Asked, Asking, ExchangeError, IssuedToken, answer, check_granted, fit_for, post};
use crate::checked_url::CheckedUrl;
use crate::clock::Now;
use crate::identity::{Caller, SecretToken};
use crate::oauth::ExchangeSettings;
use crate::oauth::authorization_server::AuthorizationServer;
use crate::oauth::delegated;
use crate::oauth::error_response::ErrorResponse;
use crate::oauth::id_jag::ExpectedIdJag;
use crate::oauth::protection::EXCHANGE_TIMEOUT;
use crate::oauth::resource_authorization_server::{
    ResourceAuthorizationServer, ResourceAuthorizationServerSettings,
};
use crate::tool::Target;

/// Why the gateway cannot ask.
pub const NO_RESOURCE_AUTHORIZATION_SERVER: &str =
    "the connector names none of its `resource_authorization_servers`";

impl AuthorizationServer {
    /// Both legs. The ID-JAG of the first is used for the second, and then forgotten.
    pub(super) async fn exchange_in_two_legs(
        &self,
        settings: &ExchangeSettings,
        caller: &Arc<Caller>,
        target: &Target,
        asking: Asking<'_>,
        now: Now,
    ) -> Result<IssuedToken, ExchangeError> {
        let started = Instant::now();
        let server = self.resource_authorization_server(target).ok_or_else(|| ExchangeError::Unprepared {
            issuer: self.settings().name.clone(),
            why: NO_RESOURCE_AUTHORIZATION_SERVER,
        })?;
        // Whoever is not asked needs no word of the issuer.
        if let Err(error) = server.protection().check() {
            return asking.recorded(server.asked(), Some(caller), target, async { Err(error) }).await;
        }
        let endpoint = self.token_endpoint();
        let asked = self.asked(settings.grant.as_str(), endpoint.as_ref(), &settings.client_id);
        let first = async {
            let issuer = || self.settings().name.clone();
            let endpoint =
                endpoint.as_ref().ok_or_else(|| ExchangeError::NoTokenEndpoint { issuer: issuer() })?;
            let attempt = || self.id_jag(settings, endpoint, server.settings(), caller, target, now);
            self.protection().run(attempt).await
        };
        let id_jag = asking.recorded(asked, Some(caller), target, first).await?.token;
        let first_took = started.elapsed();
        let time_left = EXCHANGE_TIMEOUT.saturating_sub(first_took);
        let attempt = || server.redeem(settings, &id_jag, caller, target, now);
        let second = server.protection().run_within(time_left, attempt);
        let result = asking.recorded(server.asked(), Some(caller), target, second).await;
        let outcome = result.as_ref().err().map_or("issued", ExchangeError::outcome);
        server.protection().exchanged(outcome, started.elapsed().saturating_sub(first_took));
        result
    }

    /// One attempt at the first leg: the issuer's word for `server` that this is who asks.
    async fn id_jag(
        &self,
        settings: &ExchangeSettings,
        endpoint: &CheckedUrl,
        server: &ResourceAuthorizationServerSettings,
        caller: &Caller,
        target: &Target,
        now: Now,
    ) -> Result<IssuedToken, ExchangeError> {
        let issuer = || self.settings().name.clone();
        let unprepared = |why| ExchangeError::Unprepared { issuer: issuer(), why };
        let surroundings = Surroundings::of(settings).await.map_err(unprepared)?;
        // What a connector demands of a token (Entra's `claims`) has no words here.
        let request = Request::exchange(settings, endpoint, caller, target, None, &surroundings, now)
            .map_err(unprepared)?;
        let answer = self.send(endpoint, request).await?;
        if answer.status != StatusCode::OK {
            return Err(self.refused(&answer, settings, target));
        }
        let unusable = |why| ExchangeError::Unusable { issuer: issuer(), why };
        let id_jag = answer::read_id_jag(&answer).map_err(unusable)?;
        let expected = ExpectedIdJag {
            issuer: &self.settings().issuer,
            audience: &server.issuer,
            client_id: &server.client_id,
            caller,
            subject_token: caller.subject_token().expose(),
            pairwise: self.has_pairwise_subjects(),
        };
        // Read anew: a moment has passed, and what it is compared with was signed just now.
        expected.check(id_jag.token.expose(), Now::read()).map_err(unusable)?;
        check_granted(&id_jag, target, &issuer())?;
        Ok(id_jag)
    }
}

impl ResourceAuthorizationServer {
    /// That this server is asked.
    fn asked(&self) -> Asked<'_> {
        let settings = self.settings();
        Asked {
            grant: "id_jag_redemption",
            server: self.label(),
            issuer: &settings.issuer,
            endpoint: Some(&settings.token_endpoint),
            client_id: &settings.client_id,
        }
    }

    /// One attempt at the second leg: a token on the issuer's word.
    async fn redeem(
        &self,
        exchange: &ExchangeSettings,
        id_jag: &SecretToken,
        caller: &Caller,
        target: &Target,
        now: Now,
    ) -> Result<IssuedToken, ExchangeError> {
        let (settings, issuer) = (self.settings(), || self.label().clone());
        let unprepared = |why| ExchangeError::Unprepared { issuer: issuer(), why };
        let surroundings = Surroundings::of_client(&settings.client_auth).await.map_err(unprepared)?;
        let request =
            Request::redemption(settings, id_jag, target, &surroundings, now).map_err(unprepared)?;
        let answer = post(self.client(), &settings.token_endpoint, request, self.label()).await?;
        if answer.status != StatusCode::OK {
            let refused = Box::new(ErrorResponse::read(&answer));
            return Err(ExchangeError::Refused { issuer: issuer(), refused, consent_url: None });
        }
        let unusable = |why| ExchangeError::Unusable { issuer: issuer(), why };
        let token = answer::read_bearer(&answer).map_err(unusable)?;
        for (sent, why) in [
            (caller.subject_token(), "its token is the caller's own"),
            (id_jag, "its token is the assertion that it was sent"),
        ] {
            if token.token.expose() == sent.expose() {
                return Err(unusable(why));
            }
        }
        delegated::check_audience(token.token.expose(), &settings.issuer, target).map_err(unusable)?;
        fit_for(target, token, exchange.refuses_more_scopes, self.label(), now)
    }
}
