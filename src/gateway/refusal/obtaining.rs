//! What an agent hears when there is no credential for its call: mostly, what an authorization server said.

use std::time::Duration;

use http::StatusCode;

use super::{RETRY_AFTER_DEFAULT, audit_unavailable, internal_error, step_up, unavailable};
use crate::audit::Fault;
use crate::connections::{ConnectionError, Missing};
use crate::credential::ObtainError;
use crate::gateway::answer::{Answer, Challenge};
use crate::identity::Caller;
use crate::oauth::error_response::{ErrorClass, ErrorResponse};
use crate::oauth::exchange::ExchangeError;
use crate::tool::ConnectorName;

/// What an agent hears when there is no credential. `caller` is whom it is told.
pub fn answer_to_obtaining(error: &ObtainError, caller: Option<&Caller>) -> Answer {
    match error {
        ObtainError::Exchange(error) => answer_to_exchange(error, caller),
        ObtainError::Application(error) => answer_to_application(error),
        ObtainError::NotConnected { missing, url, .. } => connection_required(*missing, url),
        ObtainError::Declined => Answer::forbidden(
            "connection_declined",
            Fault::User,
            "You declined to let this agent use an account of yours; should you change your mind, have it try again in ten minutes.",
        ),
        ObtainError::Dismissed => Answer::forbidden(
            "connection_declined",
            Fault::User,
            "You closed the question about your account at the service behind this tool; have the agent try again to be asked again.",
        ),
        ObtainError::Connection(error) => answer_to_connection(error),
        ObtainError::AgentUnknown => Answer::forbidden(
            "agent_unidentified",
            Fault::Agent,
            "The agent has to use an access token that says which agent it is: this tool is for agents that you agreed to.",
        ),
        ObtainError::UnknownIssuer(_) | ObtainError::NotServed(_) => misconfigured(),
        ObtainError::BrokeOff => internal_error(),
    }
}

/// What a person has to do before their own account can be used.
fn connection_required(missing: Missing, url: &str) -> Answer {
    let remedy = match missing {
        Missing::Connection => {
            "Open the link to connect your account at the service behind this tool, then have the agent try again."
        }
        Missing::Consent => {
            "Open the link to let this agent use the account that you have connected, then have the agent try again."
        }
        Missing::Scopes => {
            "Open the link to connect your account again, and grant all that the tool needs, then have the agent try again."
        }
        Missing::Settings | Missing::Renewal | Missing::Withdrawn | Missing::Unusable(_) => {
            "Open the link to connect your account again, since the connection that you had is over, then have the agent try \
             again."
        }
    };
    Answer {
        challenge: Challenge::Connect,
        connect_url: Some(url.to_owned()),
        ..Answer::new(StatusCode::UNAUTHORIZED, "connection_required", Fault::User, remedy)
    }
}

/// What the person is asked for, where the client shows it beside the link. "You" is the person.
pub fn wish(missing: Missing, connector: &ConnectorName) -> String {
    match missing {
        Missing::Connection => {
            format!("Connect your account at \"{connector}\", so that this agent can use it for you.")
        }
        Missing::Consent => {
            format!("Let this agent use the account that you have connected at \"{connector}\".")
        }
        Missing::Scopes => format!(
            "Connect your account at \"{connector}\" again, and grant all that this agent needs to go on."
        ),
        Missing::Settings | Missing::Renewal | Missing::Withdrawn | Missing::Unusable(_) => {
            format!("Connect your account at \"{connector}\" again: the connection that you had is over.")
        }
    }
}

/// What an agent hears when a person's connection yields no token, and the person can do nothing about it.
fn answer_to_connection(error: &ConnectionError) -> Answer {
    let unavailable = |retry_after: Option<Duration>| {
        Answer::later(
            StatusCode::SERVICE_UNAVAILABLE,
            "connection_unavailable",
            Fault::Connector,
            "The sign-in of the service behind this tool cannot be reached at the moment; try again shortly.",
            retry_after.unwrap_or(RETRY_AFTER_DEFAULT),
        )
    };
    match error {
        ConnectionError::Vault(_) => Answer::later(
            StatusCode::SERVICE_UNAVAILABLE,
            "vault_unavailable",
            Fault::Gateway,
            "The gateway cannot get at your connections at the moment; try again shortly.",
            RETRY_AFTER_DEFAULT,
        ),
        ConnectionError::Exchange(ExchangeError::Refused { refused, .. }) => match refused.class {
            ErrorClass::Throttled { retry_after } | ErrorClass::Unavailable { retry_after } => {
                unavailable(retry_after)
            }
            ErrorClass::StepUp { .. }
            | ErrorClass::Consent
            | ErrorClass::AdminConsent
            | ErrorClass::SubjectToken
            | ErrorClass::SignIn
            | ErrorClass::Blocked
            | ErrorClass::Misconfigured => misconfigured(),
        },
        ConnectionError::Exchange(
            ExchangeError::CircuitOpen { retry_after, .. } | ExchangeError::LeftAlone { retry_after, .. },
        ) => unavailable(Some(*retry_after)),
        ConnectionError::Exchange(
            ExchangeError::TimedOut { .. }
            | ExchangeError::Unreachable { .. }
            | ExchangeError::NoTokenEndpoint { .. }
            | ExchangeError::Unusable { .. },
        ) => unavailable(None),
        ConnectionError::Exchange(ExchangeError::NotRecorded(_)) => audit_unavailable(),
        ConnectionError::Exchange(
            ExchangeError::ScopesNotGranted { .. }
            | ExchangeError::MoreScopesGranted { .. }
            | ExchangeError::Unprepared { .. },
        )
        | ConnectionError::NotConfigured => misconfigured(),
        // It is told by a link before it comes here.
        ConnectionError::Missing(_) | ConnectionError::BrokeOff => internal_error(),
    }
}

const fn misconfigured() -> Answer {
    Answer::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "exchange_misconfigured",
        Fault::Gateway,
        "The gateway is not set up for this tool; give the request id to its operators.",
    )
}

fn answer_to_exchange(error: &ExchangeError, caller: Option<&Caller>) -> Answer {
    match error {
        ExchangeError::Refused { refused, consent_url, .. } => {
            let answer = answer_to_error_response(refused, consent_url.is_some(), caller);
            Answer { consent_url: consent_url.clone(), ..answer }
        }
        ExchangeError::TimedOut { .. } => Answer::later(
            StatusCode::GATEWAY_TIMEOUT,
            "issuer_timeout",
            Fault::AuthorizationServer,
            "Your organisation's sign-in service is slow at the moment; try again shortly.",
            RETRY_AFTER_DEFAULT,
        ),
        ExchangeError::CircuitOpen { retry_after, .. } => unavailable(Some(*retry_after)),
        ExchangeError::LeftAlone { retry_after, .. } => throttled(*retry_after),
        ExchangeError::Unreachable { .. } | ExchangeError::NoTokenEndpoint { .. } => unavailable(None),
        ExchangeError::Unusable { .. } => Answer::new(
            StatusCode::BAD_GATEWAY,
            "issuer_answer_invalid",
            Fault::AuthorizationServer,
            "Your organisation's sign-in service gave an answer that cannot be used; give the request id to the gateway's operators.",
        ),
        ExchangeError::ScopesNotGranted { asked, .. } => Answer {
            scopes: Some(asked.clone()),
            ..Answer::forbidden(
                "scope_not_granted",
                Fault::User,
                "Agree to the scopes listed in this answer, or ask an administrator to allow them, then try again.",
            )
        },
        ExchangeError::MoreScopesGranted { .. } | ExchangeError::Unprepared { .. } => misconfigured(),
        ExchangeError::NotRecorded(_) => audit_unavailable(),
    }
}

/// What an agent hears when the application got no token. None of it is about the person, who can do nothing about it.
fn answer_to_application(error: &ExchangeError) -> Answer {
    match error {
        ExchangeError::Refused { refused, .. } => match refused.class {
            ErrorClass::Throttled { .. } | ErrorClass::Unavailable { .. } => {
                answer_to_error_response(refused, false, None)
            }
            ErrorClass::StepUp { .. }
            | ErrorClass::Consent
            | ErrorClass::AdminConsent
            | ErrorClass::SubjectToken
            | ErrorClass::SignIn
            | ErrorClass::Blocked
            | ErrorClass::Misconfigured => misconfigured(),
        },
        ExchangeError::ScopesNotGranted { .. } => misconfigured(),
        ExchangeError::TimedOut { .. }
        | ExchangeError::CircuitOpen { .. }
        | ExchangeError::LeftAlone { .. }
        | ExchangeError::Unreachable { .. }
        | ExchangeError::NoTokenEndpoint { .. }
        | ExchangeError::Unusable { .. }
        | ExchangeError::MoreScopesGranted { .. }
        | ExchangeError::Unprepared { .. }
        | ExchangeError::NotRecorded(_) => answer_to_exchange(error, None),
    }
}

fn throttled(retry_after: Duration) -> Answer {
    Answer::later(
        StatusCode::SERVICE_UNAVAILABLE,
        "issuer_throttled",
        Fault::AuthorizationServer,
        "Too many requests to your organisation's sign-in service; wait before trying again.",
        retry_after,
    )
}

fn answer_to_error_response(refused: &ErrorResponse, has_link: bool, caller: Option<&Caller>) -> Answer {
    match &refused.class {
        ErrorClass::Throttled { retry_after } => throttled(retry_after.unwrap_or(RETRY_AFTER_DEFAULT)),
        ErrorClass::Unavailable { retry_after } => unavailable(*retry_after),
        ErrorClass::StepUp { claims } => step_up(claims.as_ref(), caller),
        ErrorClass::Consent => Answer::forbidden(
            "consent_required",
            Fault::User,
            match has_link {
                true => "Open the consent link, agree to what the gateway may do for you, then try again.",
                false => {
                    "Agree to what the gateway may do for you in your organisation's sign-in service, then try again."
                }
            },
        ),
        ErrorClass::AdminConsent => Answer::forbidden(
            "admin_consent_required",
            Fault::User,
            match has_link {
                true => {
                    "Ask an administrator of your organisation to open the consent link and agree, then try again."
                }
                false => "Ask an administrator of your organisation to allow the gateway, then try again.",
            },
        ),
        ErrorClass::SubjectToken => Answer::invalid_token(
            "subject_token_rejected",
            Fault::User,
            "Sign in again: your sign-in service no longer accepts this access token.",
        ),
        ErrorClass::SignIn => {
            Answer::invalid_token("sign_in_required", Fault::User, "Sign in again: your session is over.")
        }
        ErrorClass::Blocked => Answer::forbidden(
            "access_blocked",
            Fault::User,
            "Your organisation does not let you use this; ask an administrator for access.",
        ),
        ErrorClass::Misconfigured => misconfigured(),
    }
}
