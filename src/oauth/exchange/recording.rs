//! The record of each request for a token: begun before it is made, and handed over before anybody gets what it yielded.

use std::sync::Arc;

use super::{ExchangeError, IssuedToken};
use crate::audit::{Destination, Exchange, ExchangeEnd, Failure, Fault, Issued, Occasion, Recorder, Whom};
use crate::checked_url::CheckedUrl;
use crate::error_chain::ErrorChain;
use crate::identity::{Caller, Issuer, IssuerName};
use crate::oauth::error_response::{ErrorClass, Word};
use crate::tool::Target;

/// Who keeps the record of an exchange, and why it is made.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// Who keeps it.
    pub recorder: &'a Recorder,
    /// Why.
    pub occasion: &'a Occasion,
}

/// Whom a token is asked of, by which grant, as which client.
pub(super) struct Asked<'a> {
    /// As it stands in records.
    pub grant: &'static str,
    /// The gateway's name for the server.
    pub server: &'a IssuerName,
    /// The server.
    pub issuer: &'a Issuer,
    /// Its token endpoint, where it is known.
    pub endpoint: Option<&'a CheckedUrl>,
    /// The gateway's client there.
    pub client_id: &'a Arc<str>,
}

impl Asking<'_> {
    /// Makes an exchange that is recorded. `caller` is whom it is for; `None`: the gateway's own application.
    ///
    /// # Errors
    ///
    /// Those of the exchange, and [`ExchangeError::NotRecorded`] when there is no place for its record: it is not made then.
    pub(super) async fn recorded(
        &self,
        asked: Asked<'_>,
        caller: Option<&Arc<Caller>>,
        target: &Target,
        exchange: impl Future<Output = Result<IssuedToken, ExchangeError>>,
    ) -> Result<IssuedToken, ExchangeError> {
        let recording = self.recorder.begin(Exchange {
            grant: asked.grant,
            whom: caller.map_or(Whom::Application, |caller| Whom::Caller(Arc::clone(caller))),
            server: asked.server.clone(),
            issuer: Some(asked.issuer.clone()),
            endpoint: asked.endpoint.map(Destination::of),
            client_id: Arc::clone(asked.client_id),
            target: target.clone(),
            occasion: self.occasion.clone(),
            end: ExchangeEnd::BrokeOff,
        })?;
        let result = tokio::select! {
            biased;
            result = exchange => result,
            // Its record says that it broke off.
            () = self.recorder.exchanges_are_over() => {
                let (issuer, why) = (asked.server.clone(), "the gateway is stopping");
                return Err(ExchangeError::Unprepared { issuer, why });
            }
        };
        let recorded_as = recording.end(end(&result, caller.is_some()));
        result.map(|issued| IssuedToken { recorded_as: Some(recorded_as), ..issued })
    }
}

fn end(result: &Result<IssuedToken, ExchangeError>, is_a_persons: bool) -> ExchangeEnd {
    match result {
        Ok(issued) => ExchangeEnd::Issued(Issued {
            token: issued.token.digest(),
            granted: issued.granted.clone(),
            lifetime: issued.lifetime,
            correlation_id: issued.correlation_id.as_ref().map(|word| word.as_str().to_owned()),
        }),
        Err(error) => ExchangeEnd::Failed(failure(error, is_a_persons)),
    }
}

/// What a record says of an error. `is_a_persons`: it is about a person's tokens, and not the gateway's own.
pub fn failure(error: &ExchangeError, is_a_persons: bool) -> Failure {
    let text = |word: &Word| word.as_str().to_owned();
    let refused = match error {
        ExchangeError::Refused { refused, .. } => Some(refused),
        _ => None,
    };
    Failure {
        code: error.outcome(),
        fault: fault(error, is_a_persons),
        detail: ErrorChain(error).to_string(),
        error: refused.map(|refused| text(&refused.error)),
        error_codes: refused.map(|refused| refused.codes.clone()).unwrap_or_default(),
        correlation_id: refused.and_then(|refused| refused.correlation_id.as_ref().map(text)),
    }
}

/// Who can do something about it. Nobody who signs in can about the gateway's own application.
fn fault(error: &ExchangeError, is_a_persons: bool) -> Fault {
    let persons = if is_a_persons { Fault::User } else { Fault::Gateway };
    match error {
        ExchangeError::Refused { refused, .. } => match refused.class {
            ErrorClass::Throttled { .. } | ErrorClass::Unavailable { .. } => Fault::AuthorizationServer,
            ErrorClass::StepUp { .. }
            | ErrorClass::Consent
            | ErrorClass::AdminConsent
            | ErrorClass::SubjectToken
            | ErrorClass::SignIn
            | ErrorClass::Blocked => persons,
            ErrorClass::Misconfigured => Fault::Gateway,
        },
        ExchangeError::TimedOut { .. }
        | ExchangeError::CircuitOpen { .. }
        | ExchangeError::LeftAlone { .. }
        | ExchangeError::Unreachable { .. }
        | ExchangeError::NoTokenEndpoint { .. }
        | ExchangeError::Unusable { .. } => Fault::AuthorizationServer,
        ExchangeError::ScopesNotGranted { .. } => persons,
        ExchangeError::MoreScopesGranted { .. }
        | ExchangeError::Unprepared { .. }
        | ExchangeError::NotRecorded(_) => Fault::Gateway,
    }
}
