//! Asking an authorization server for a delegated token.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::authorization_server::AuthorizationServer;
use super::delegated;
use super::error_response::{ErrorClass, ErrorResponse};
use super::outbound::{OutboundAnswer, OutboundClient, OutboundError};
use super::{ActorToken, ExchangeSettings, Grant};
use crate::audit::AuditUnavailable;
use crate::checked_url::CheckedUrl;
use crate::clock::Now;
use crate::identity::{Caller, IssuerName, Scopes, SecretToken};
use crate::tool::Target;

mod actor;
mod answer;
mod application;
mod code;
mod id_jag;
mod platform_token;
mod recording;
pub(super) mod request;

pub use actor::OwnToken;
pub use answer::IssuedToken;
#[cfg(any(fuzzing, test))]
pub(crate) use answer::read as read_answer;
pub use code::{TokenKind, is_over};
use recording::Asked;
pub use recording::{Asking, failure};
use request::{Request, Surroundings};

/// What the grant of the gateway's own tokens is called in records (RFC 6749 section 4.4).
const CLIENT_CREDENTIALS: &str = "client_credentials";

/// Why there is no delegated token, or no application token. None of these ever leads to another kind of token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The authorization server said no.
    #[error("{issuer} refused the exchange: {refused}")]
    Refused {
        /// Who.
        issuer: IssuerName,
        /// What it said.
        refused: Box<ErrorResponse>,
        /// Where the person, or an administrator, can agree, when that is what is missing.
        consent_url: Option<String>,
    },
    /// The authorization server did not answer in time.
    #[error("{issuer} gave no answer in {waited:?}")]
    TimedOut {
        /// Who.
        issuer: IssuerName,
        /// How long the gateway waited.
        waited: Duration,
    },
    /// It has failed again and again, and is left alone for a moment.
    #[error("{issuer} has failed again and again, and is not asked for {retry_after:.0?}")]
    CircuitOpen {
        /// Who.
        issuer: IssuerName,
        /// For how long.
        retry_after: Duration,
    },
    /// It said that it gets too many requests, and is left alone for as long as it wants.
    #[error("{issuer} throttles the gateway, and is not asked for {retry_after:.0?}")]
    LeftAlone {
        /// Who.
        issuer: IssuerName,
        /// For how long.
        retry_after: Duration,
    },
    /// The authorization server could not be reached.
    #[error("could not reach {issuer}")]
    Unreachable {
        /// Who.
        issuer: IssuerName,
        /// Why.
        #[source]
        source: OutboundError,
    },
    /// The authorization server's answer is of no use.
    #[error("{issuer} gave an answer that cannot be used: {why}")]
    Unusable {
        /// Who.
        issuer: IssuerName,
        /// Why.
        why: &'static str,
    },
    /// The token may do less than the tool needs.
    #[error("{issuer} granted less than was asked for: {} is missing", missing.canonical())]
    ScopesNotGranted {
        /// Who.
        issuer: IssuerName,
        /// All that was asked for.
        asked: Scopes,
        /// What of it was not granted.
        missing: Scopes,
    },
    /// The token may do more than the tool needs, and the site does not want that.
    #[error("{issuer} granted more than was asked for: {}", more.canonical())]
    MoreScopesGranted {
        /// Who.
        issuer: IssuerName,
        /// What nobody asked for.
        more: Scopes,
    },
    /// Where to ask is not known: the server's metadata has not been read yet, or names no token endpoint.
    #[error("the token endpoint of {issuer} is not known")]
    NoTokenEndpoint {
        /// Who.
        issuer: IssuerName,
    },
    /// The gateway cannot ask: nothing says how, or its own key does not sign.
    #[error("the gateway cannot ask {issuer}: {why}")]
    Unprepared {
        /// Who.
        issuer: IssuerName,
        /// Why.
        why: &'static str,
    },
    /// There is no place for its record, so it was not made.
    #[error("the exchange cannot be recorded")]
    NotRecorded(#[from] AuditUnavailable),
}

impl ExchangeError {
    /// The outcome as a metric label: one of a closed set.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Refused { refused, .. } => refused.class.as_str(),
            Self::TimedOut { .. } => "timed_out",
            Self::CircuitOpen { .. } => "circuit_open",
            Self::LeftAlone { .. } => "left_alone",
            Self::Unreachable { .. } => "unreachable",
            Self::Unusable { .. } => "unusable_answer",
            Self::ScopesNotGranted { .. } => "scopes_not_granted",
            Self::MoreScopesGranted { .. } => "more_scopes_granted",
            Self::NoTokenEndpoint { .. } => "no_token_endpoint",
            Self::Unprepared { .. } => "unprepared",
            Self::NotRecorded(_) => "audit_unavailable",
        }
    }
}

impl AuthorizationServer {
    /// Exchanges the caller's token for one that is good for `target`. `claims` is what the connector demands beside
    /// (OpenID Connect Core section 5.5), as JSON. `asking` says why, and keeps the record.
    ///
    /// # Errors
    ///
    /// [`ExchangeError`] when there is none; the call it was for is then refused.
    pub async fn exchange(
        &self,
        caller: &Arc<Caller>,
        target: &Target,
        claims: Option<&str>,
        asking: Asking<'_>,
        now: Now,
    ) -> Result<IssuedToken, ExchangeError> {
        let issuer = || self.settings().name.clone();
        let settings = self.settings().exchange.as_ref().ok_or_else(|| ExchangeError::Unprepared {
            issuer: issuer(),
            why: "its entry has no `exchange`",
        })?;
        if let Grant::IdJag { .. } = &settings.grant {
            return self.exchange_in_two_legs(settings, caller, target, asking, now).await;
        }
        let endpoint = self.token_endpoint();
        let asked = self.asked(settings.grant.as_str(), endpoint.as_ref(), &settings.client_id);
        let exchange = async {
            let endpoint =
                endpoint.as_ref().ok_or_else(|| ExchangeError::NoTokenEndpoint { issuer: issuer() })?;
            let attempt = || self.attempt(settings, endpoint, caller, target, claims, asking, now);
            self.protection().run(attempt).await
        };
        asking.recorded(asked, Some(caller), target, exchange).await
    }

    /// That this server is asked, as this client.
    fn asked<'a>(
        &'a self,
        grant: &'static str,
        endpoint: Option<&'a CheckedUrl>,
        client_id: &'a Arc<str>,
    ) -> Asked<'a> {
        let settings = self.settings();
        Asked { grant, server: &settings.name, issuer: &settings.issuer, endpoint, client_id }
    }

    /// One attempt. It has a client assertion of its own, since servers may refuse one that they have seen.
    #[expect(clippy::too_many_arguments, reason = "each is something else that an attempt needs")]
    async fn attempt(
        &self,
        settings: &ExchangeSettings,
        endpoint: &CheckedUrl,
        caller: &Caller,
        target: &Target,
        claims: Option<&str>,
        asking: Asking<'_>,
        now: Now,
    ) -> Result<IssuedToken, ExchangeError> {
        let issuer = || self.settings().name.clone();
        let unprepared = |why| ExchangeError::Unprepared { issuer: issuer(), why };
        let mut surroundings = Surroundings::of(settings).await.map_err(unprepared)?;
        if let Grant::TokenExchange { actor: ActorToken::Gateway { scopes }, .. } = &settings.grant {
            surroundings.actor_token =
                Some(self.own_token(settings, endpoint, scopes, &surroundings, asking, now).await?);
        }
        let request = Request::exchange(settings, endpoint, caller, target, claims, &surroundings, now)
            .map_err(unprepared)?;
        let answer = self.send(endpoint, request).await?;
        if answer.status != StatusCode::OK {
            return Err(self.refused(&answer, settings, target));
        }
        let unusable = |why| ExchangeError::Unusable { issuer: issuer(), why };
        let delegated = answer::read(&answer, &settings.grant, caller).map_err(unusable)?;
        let pairwise = self.has_pairwise_subjects();
        delegated::check(delegated.token.expose(), self.settings(), pairwise, caller, target)
            .map_err(unusable)?;
        fit_for(target, delegated, settings.refuses_more_scopes, &self.settings().name, now)
    }

    fn refused(
        &self,
        answer: &OutboundAnswer,
        settings: &ExchangeSettings,
        target: &Target,
    ) -> ExchangeError {
        let refused = Box::new(ErrorResponse::read(answer));
        let consent_url = self.consent_url(&refused.class, settings, target);
        ExchangeError::Refused { issuer: self.settings().name.clone(), refused, consent_url }
    }

    /// Asks what an opaque token means (RFC 7662 section 2.1), as the client that exchanges tokens.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    pub(super) async fn introspect(
        &self,
        token: &SecretToken,
        now: Now,
    ) -> Result<OutboundAnswer, &'static str> {
        let settings = self.settings().exchange.as_ref().ok_or("its entry has no `exchange`")?;
        let endpoint = self.introspection_endpoint().ok_or("its introspection endpoint is not known")?;
        let surroundings = Surroundings::of(settings).await?;
        let request = Request::introspection(settings, &endpoint, token, &surroundings, now)?;
        self.send(&endpoint, request).await.map_err(|_| "it cannot be reached")
    }

    async fn send(&self, endpoint: &CheckedUrl, request: Request) -> Result<OutboundAnswer, ExchangeError> {
        post(self.client(), endpoint, request, &self.settings().name).await
    }

    /// Where the missing consent can be given: an authorization request of the gateway's own client. It carries no
    /// authority; whoever opens it signs in and agrees for themselves.
    fn consent_url(
        &self,
        class: &ErrorClass,
        settings: &ExchangeSettings,
        target: &Target,
    ) -> Option<String> {
        let mut url = self.authorization_endpoint()?.as_url().clone();
        match class {
            ErrorClass::Consent => {
                url.query_pairs_mut().append_pair("response_type", "code").append_pair("prompt", "consent");
            }
            ErrorClass::AdminConsent => {
                // Entra's page for administrators lies beside the authorization endpoint.
                let path = url.path().strip_suffix("/oauth2/v2.0/authorize")?.to_owned();
                url.set_path(&format!("{path}/v2.0/adminconsent"));
            }
            ErrorClass::Throttled { .. }
            | ErrorClass::Unavailable { .. }
            | ErrorClass::StepUp { .. }
            | ErrorClass::SubjectToken
            | ErrorClass::SignIn
            | ErrorClass::Blocked
            | ErrorClass::Misconfigured => return None,
        }
        url.query_pairs_mut()
            .append_pair("client_id", &settings.client_id)
            .append_pair("scope", target.scopes.canonical());
        Some(url.into())
    }
}

async fn post(
    client: &OutboundClient,
    endpoint: &CheckedUrl,
    request: Request,
    issuer: &IssuerName,
) -> Result<OutboundAnswer, ExchangeError> {
    let issuer = || issuer.clone();
    let form: Vec<(&str, &str)> =
        request.form.iter().map(|field| (field.name.as_str(), field.value())).collect();
    client.post_form(endpoint, request.authorization, &form).await.map_err(|error| match error {
        OutboundError::TimedOut { waited } => ExchangeError::TimedOut { issuer: issuer(), waited },
        OutboundError::TooLarge => ExchangeError::Unusable { issuer: issuer(), why: "it is too large" },
        source => ExchangeError::Unreachable { issuer: issuer(), source },
    })
}

/// The token, when it may do what the tool needs for a while, and no more than the site wants.
fn fit_for(
    target: &Target,
    mut token: IssuedToken,
    refuses_more_scopes: bool,
    issuer: &IssuerName,
    now: Now,
) -> Result<IssuedToken, ExchangeError> {
    let life_left = delegated::life_left(token.token.expose(), now)
        .map_err(|why| ExchangeError::Unusable { issuer: issuer.clone(), why })?;
    token.lifetime = token.lifetime.into_iter().chain(life_left).min();
    check_granted(&token, target, issuer)?;
    let more = token.granted.as_ref().map(|granted| delegated::not_asked(granted, &target.scopes));
    match more.filter(|more| refuses_more_scopes && !more.is_empty()) {
        Some(more) => Err(ExchangeError::MoreScopesGranted { issuer: issuer.clone(), more }),
        None => Ok(token),
    }
}

/// Whether a token was granted what was asked for.
fn check_granted(token: &IssuedToken, target: &Target, issuer: &IssuerName) -> Result<(), ExchangeError> {
    // RFC 6749 section 5.1: a server that does not say what it granted has granted what was asked for.
    let missing = token.granted.as_ref().map(|granted| delegated::not_granted(&target.scopes, granted));
    match missing.filter(|missing| !missing.is_empty()) {
        Some(missing) => Err(ExchangeError::ScopesNotGranted {
            issuer: issuer.clone(),
            asked: target.scopes.clone(),
            missing,
        }),
        None => Ok(()),
    }
}
