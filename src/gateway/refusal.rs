//! Every way the gateway says no, and what the agent hears.
//!
//! One taxonomy: each refusal has a stable code, a status, whose fault it is, what happened, and one sentence that
//! an agent can repeat to the person. The same code stands in the record and in the metrics.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use super::answer::{Answer, Challenge, DpopError};
use super::authenticate::AuthenticateError;
use super::forward::ForwardError;
use super::path::PathError;
use super::request::RequestError;
use crate::audit::{AuditUnavailable, Fault, RefusalNote};
use crate::credential::ObtainError;
use crate::error_chain::ErrorChain;
use crate::identity::{Caller, Scopes};
use crate::oauth::claims::ClaimsError;
use crate::oauth::dpop::ProofError;
use crate::oauth::error_response::{ErrorClass, ErrorResponse};
use crate::oauth::exchange::ExchangeError;
use crate::oauth::jws::{JwsError, OtherToken};
use crate::oauth::key_set::RETRY_AFTER_WITHOUT_KEYS;
use crate::oauth::possession::PossessionError;
use crate::oauth::verifier::{AgentError, VerifyError};
use crate::policy::Denial;

/// What a person can do about a sign-in that is not enough.
const STEP_UP_REMEDY: &str =
    "Sign in again and complete the additional verification that your organisation asks for.";
/// What an agent should wait when a server is down and does not say for how long: long enough for a restart.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(10);

/// A no, with its reason.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// The request is not one that can be judged.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Its path could be read in more than one way.
    #[error("the path {0}")]
    Path(#[from] PathError),
    /// Its path belongs to no connector.
    #[error("no connector has this path")]
    NoConnector,
    /// The caller is not known.
    #[error(transparent)]
    Unauthenticated(#[from] AuthenticateError),
    /// The connector has no such tool.
    #[error("the connector lists no tool for this request")]
    NoTool,
    /// Policy says no.
    #[error("policy: {0}")]
    Denied(#[from] Denial),
    /// There is no credential.
    #[error(transparent)]
    Obtain(#[from] ObtainError),
    /// The connector gave no answer.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The connector demands claims that no token of this sign-in has.
    #[error("the connector demands claims that the delegated token does not have")]
    ClaimsDemanded {
        /// What exactly, as JSON.
        claims: String,
    },
    /// The connector turned a request away that is too large to be sent a second time.
    #[error("the connector turned the delegated token away, and the request cannot be sent a second time")]
    NotRepeated,
    /// The call cannot be recorded.
    #[error(transparent)]
    Audit(#[from] AuditUnavailable),
    /// The gateway's own code failed.
    #[error("the call ended in a panic")]
    Panicked,
}

impl Refusal {
    /// What the agent hears. There is no catch-all: a new refusal does not compile until someone has chosen its
    /// answer. `caller` is whom it is told, where that is known.
    pub fn answer(&self, caller: Option<&Caller>) -> Answer {
        match self {
            Self::Request(error) => answer_to_request(*error),
            Self::Path(_) => Answer::bad_request(
                "path_not_canonical",
                "The agent has to send the path in its plain form: no `..`, `//` or `;`, and no needless percent-encoding.",
            ),
            Self::NoConnector => Answer::new(
                StatusCode::NOT_FOUND,
                "connector_unknown",
                Fault::Agent,
                "Check the address: no connector of this gateway has this path.",
            ),
            Self::Unauthenticated(error) => answer_to_authentication(error),
            Self::NoTool => Answer::forbidden(
                "tool_unlisted",
                Fault::Agent,
                "This operation is not among the tools of the connector; use one that is, or ask an administrator to add it.",
            ),
            Self::Denied(Denial::IssuerNotAccepted) => Answer::forbidden(
                "issuer_not_accepted",
                Fault::User,
                "Sign in with an account of the organisation that this connector is for.",
            ),
            Self::Denied(Denial::ScopesMissing { required, .. }) => insufficient_scope(required),
            Self::Denied(Denial::NoRule) => Answer::forbidden(
                "policy_denied",
                Fault::User,
                "You are not allowed to use this tool through this agent; an administrator can allow it.",
            ),
            Self::Denied(Denial::ContextsMissing { missing }) => {
                step_up(Some(&demand_for_contexts(missing)), caller)
            }
            Self::Denied(Denial::SignIn(required)) => Answer {
                challenge: Challenge::InsufficientUserAuthentication,
                sign_in: Some(required.clone()),
                ..Answer::new(StatusCode::UNAUTHORIZED, "step_up_required", Fault::User, STEP_UP_REMEDY)
            },
            Self::Obtain(error) => answer_to_obtaining(error, caller),
            Self::Forward(error) => answer_to_forwarding(error),
            Self::ClaimsDemanded { claims } => step_up(Some(claims), caller),
            Self::NotRepeated => Answer::later(
                StatusCode::SERVICE_UNAVAILABLE,
                "call_not_repeated",
                Fault::Connector,
                "The service behind this tool turned the call away and did not take it; the agent can send it again.",
                Duration::from_secs(1),
            ),
            Self::Audit(AuditUnavailable) => Answer::later(
                StatusCode::SERVICE_UNAVAILABLE,
                "audit_unavailable",
                Fault::Gateway,
                "The gateway cannot record calls at the moment; try again shortly.",
                RETRY_AFTER_DEFAULT,
            ),
            Self::Panicked => internal_error(),
        }
    }

    /// What the record says.
    pub fn note(&self, answer: &Answer) -> RefusalNote {
        RefusalNote {
            code: answer.code,
            fault: answer.fault,
            detail: ErrorChain(self).to_string(),
            denied: matches!(self, Self::Denied(_)),
            issuer_correlation_id: self
                .exchange_refused()
                .and_then(|refused| refused.correlation_id.as_ref().map(|id| id.as_str().to_owned())),
        }
    }

    fn exchange_refused(&self) -> Option<&ErrorResponse> {
        match self {
            Self::Obtain(ObtainError::Exchange(ExchangeError::Refused { refused, .. })) => Some(refused),
            _ => None,
        }
    }
}

fn answer_to_request(error: RequestError) -> Answer {
    match error {
        RequestError::Method => Answer::new(
            StatusCode::NOT_IMPLEMENTED,
            "method_not_served",
            Fault::Agent,
            "The agent has to use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.",
        ),
        RequestError::Host => Answer::bad_request(
            "host_invalid",
            "The agent has to name exactly one host, and the same one wherever the request names it.",
        ),
        RequestError::TokenMisplaced => Answer::bad_request(
            "token_misplaced",
            "The agent has to send the access token in the Authorization header, and nowhere else.",
        ),
        RequestError::Framing => Answer::bad_request(
            "framing_invalid",
            "The agent has to send either a Content-Length or `Transfer-Encoding: chunked`, and nothing else of that kind.",
        ),
    }
}

fn answer_to_authentication(error: &AuthenticateError) -> Answer {
    match error {
        AuthenticateError::NoCredentials | AuthenticateError::OtherScheme => Answer {
            challenge: Challenge::Bearer,
            ..Answer::new(
                StatusCode::UNAUTHORIZED,
                "no_credentials",
                Fault::Agent,
                "Sign in; the agent then has to send your access token in the Authorization header.",
            )
        },
        AuthenticateError::Repeated(_) | AuthenticateError::Malformed(_) => Answer {
            challenge: Challenge::InvalidRequest,
            ..Answer::bad_request(
                "authorization_malformed",
                "The agent has to send each of its credentials once: one token in one Authorization header.",
            )
        },
        AuthenticateError::NoProof => proof_invalid(),
        AuthenticateError::Token(error) => answer_to_token(error),
    }
}

fn answer_to_token(error: &VerifyError) -> Answer {
    match error {
        VerifyError::Form(JwsError::TooLarge) => Answer::invalid_token(
            "token_too_large",
            Fault::Agent,
            "The agent has to send an access token of at most 16 KiB.",
        ),
        VerifyError::Form(JwsError::Malformed) => Answer::invalid_token(
            "token_malformed",
            Fault::Agent,
            "The agent has to send the access token unchanged.",
        ),
        VerifyError::Form(JwsError::Repeated) => Answer::invalid_token(
            "token_member_repeated",
            Fault::Agent,
            "The agent has to send the access token unchanged: this one says something twice.",
        ),
        VerifyError::Form(JwsError::Encrypted) => Answer::invalid_token(
            "token_encrypted",
            Fault::Agent,
            "The agent has to ask for a signed access token: this one is encrypted, and the gateway cannot read it.",
        ),
        VerifyError::Form(JwsError::Algorithm) => Answer::invalid_token(
            "token_algorithm_refused",
            Fault::Agent,
            "The agent has to send an access token that its issuer signed with an asymmetric key.",
        ),
        VerifyError::Form(JwsError::Header(_)) => Answer::invalid_token(
            "token_header_refused",
            Fault::Agent,
            "The agent has to send an access token as its issuer makes it, without `crit` and without keys of its own.",
        ),
        VerifyError::Form(JwsError::Type(other)) => not_an_access_token(*other),
        VerifyError::UnknownIssuer => Answer::invalid_token(
            "issuer_unknown",
            Fault::User,
            "Sign in with an account of an organisation that this gateway serves.",
        ),
        VerifyError::KeysUnavailable { .. } => Answer::later(
            StatusCode::SERVICE_UNAVAILABLE,
            "issuer_not_ready",
            Fault::AuthorizationServer,
            "Your organisation's sign-in service cannot be reached at the moment; try again shortly.",
            RETRY_AFTER_WITHOUT_KEYS,
        ),
        VerifyError::Inactive => Answer::invalid_token(
            "token_inactive",
            Fault::User,
            "Sign in again: your access token has expired or was revoked.",
        ),
        VerifyError::IntrospectionFailed { .. } => unavailable(None),
        VerifyError::UnknownKey => Answer::invalid_token(
            "signing_key_unknown",
            Fault::Agent,
            "Sign in again to get a newly signed token.",
        ),
        VerifyError::Signature => Answer::invalid_token(
            "signature_invalid",
            Fault::Agent,
            "The agent has to send the access token unchanged.",
        ),
        VerifyError::Claims(error) => answer_to_claims(error),
        VerifyError::Possession(error) => answer_to_possession(error),
        VerifyError::Agent(AgentError::NoToken) => Answer::invalid_token(
            "actor_token_required",
            Fault::Agent,
            "The agent has to send an access token of its own in the Obo-Actor-Token header, beside yours.",
        ),
        VerifyError::Agent(AgentError::Token(error)) => match &**error {
            VerifyError::KeysUnavailable { .. } | VerifyError::IntrospectionFailed { .. } => {
                answer_to_token(error)
            }
            VerifyError::Claims(ClaimsError::Agent) => answer_to_token(error),
            _ => actor_token_refused(),
        },
        VerifyError::Agent(AgentError::Another) => Answer::forbidden(
            "actor_not_authorized",
            Fault::Agent,
            "Sign in through this agent: your access token was issued to another one, which does not let it act for you.",
        ),
    }
}

const fn actor_token_refused() -> Answer {
    Answer::invalid_token(
        "actor_token_refused",
        Fault::Agent,
        "The agent has to get itself a new access token of its own for this gateway and send it in the Obo-Actor-Token header.",
    )
}

fn answer_to_possession(error: &PossessionError) -> Answer {
    match error {
        PossessionError::NoProof => Answer {
            challenge: Challenge::Dpop(DpopError::InvalidToken),
            ..Answer::invalid_token(
                "token_bound",
                Fault::Agent,
                "The agent has to send your access token with the DPoP scheme and a proof: it is bound to the agent's key.",
            )
        },
        PossessionError::ProofsNotServed => Answer::invalid_token(
            "token_bound",
            Fault::Agent,
            "The agent has to ask for an access token that is not bound to a key: this gateway does not check proofs.",
        ),
        PossessionError::NoCertificate => Answer::invalid_token(
            "token_bound",
            Fault::Agent,
            "The agent has to connect with its client certificate: your access token is bound to it.",
        ),
        PossessionError::OtherCertificate => Answer::invalid_token(
            "certificate_mismatch",
            Fault::Agent,
            "The agent has to connect with the client certificate that it got your access token with.",
        ),
        PossessionError::NotBound => Answer {
            challenge: Challenge::Dpop(DpopError::InvalidToken),
            ..Answer::invalid_token(
                "token_not_bound",
                Fault::Agent,
                "The agent has to send your access token with the Bearer scheme: it is not bound to a key.",
            )
        },
        PossessionError::Proof(ProofError::Nonce { next }) => Answer {
            challenge: Challenge::Dpop(DpopError::NonceNeeded),
            dpop_nonce: Some(next.clone()),
            ..Answer::invalid_token(
                "dpop_nonce_required",
                Fault::Agent,
                "The agent has to put the nonce of this answer into its DPoP proof and send the call again.",
            )
        },
        PossessionError::Proof(ProofError::Replayed) => Answer {
            challenge: Challenge::Dpop(DpopError::InvalidProof),
            ..Answer::invalid_token(
                "dpop_proof_replayed",
                Fault::Agent,
                "The agent has to make a new DPoP proof for every call.",
            )
        },
        PossessionError::Proof(ProofError::TooMany) => Answer::later(
            StatusCode::SERVICE_UNAVAILABLE,
            "dpop_proofs_exhausted",
            Fault::Gateway,
            "More calls with DPoP proofs came than the gateway can tell apart; try again in some minutes.",
            RETRY_AFTER_DEFAULT,
        ),
        PossessionError::Proof(
            ProofError::Malformed(_)
            | ProofError::Signature
            | ProofError::OtherKey
            | ProofError::OtherToken
            | ProofError::OtherRequest(_)
            | ProofError::OutOfTime,
        ) => proof_invalid(),
    }
}

fn proof_invalid() -> Answer {
    Answer {
        challenge: Challenge::Dpop(DpopError::InvalidProof),
        ..Answer::invalid_token(
            "dpop_proof_invalid",
            Fault::Agent,
            "The agent has to send a fresh DPoP proof for this very call, made with the key that your access token is bound to.",
        )
    }
}

fn answer_to_claims(error: &ClaimsError) -> Answer {
    match error {
        ClaimsError::Missing(_) => Answer::invalid_token(
            "claim_missing",
            Fault::Agent,
            "Ask an administrator to check how your sign-in service issues tokens: this one lacks a claim.",
        ),
        ClaimsError::WrongType(_) => Answer::invalid_token(
            "claim_invalid",
            Fault::Agent,
            "Ask an administrator to check how your sign-in service issues tokens: this one has a claim in the wrong form.",
        ),
        ClaimsError::ActorsDiffer => Answer::invalid_token(
            "agent_ambiguous",
            Fault::Agent,
            "Ask an administrator to check how your sign-in service issues tokens: this one names two agents.",
        ),
        ClaimsError::Audience { .. } => Answer::invalid_token(
            "audience_mismatch",
            Fault::Agent,
            "The agent has to ask for an access token for this gateway, not for another service.",
        ),
        ClaimsError::Expired => Answer::invalid_token(
            "token_expired",
            Fault::User,
            "Sign in again: your access token has expired.",
        ),
        ClaimsError::NotYetValid => Answer::invalid_token(
            "token_not_yet_valid",
            Fault::Agent,
            "Try again in a minute; if it still fails, ask an administrator to check the clocks.",
        ),
        ClaimsError::Tenant => Answer::invalid_token(
            "tenant_not_allowed",
            Fault::User,
            "Sign in with an account of the organisation that this gateway serves.",
        ),
        ClaimsError::NotAnAccessToken(other) => not_an_access_token(*other),
        ClaimsError::NoPerson => Answer::forbidden(
            "person_required",
            Fault::Agent,
            "Sign in first: the gateway acts for people, not for an application alone.",
        ),
        ClaimsError::NoApplication => actor_token_refused(),
        ClaimsError::Bound => Answer::invalid_token(
            "token_bound",
            Fault::Agent,
            "The agent has to ask for an access token that is bound by DPoP, by its client certificate, or not at all.",
        ),
        ClaimsError::Agent => Answer::forbidden(
            "agent_not_allowed",
            Fault::Agent,
            "This agent may not use the gateway; an administrator can let it in.",
        ),
        ClaimsError::Scopes { required, .. } => insufficient_scope(required),
    }
}

const fn not_an_access_token(other: OtherToken) -> Answer {
    let (code, remedy) = match other {
        OtherToken::Id => ("id_token_refused", "The agent has to send an access token, not an ID token."),
        OtherToken::Refresh => {
            ("refresh_token_refused", "The agent has to send an access token, and never a refresh token.")
        }
        OtherToken::Logout => {
            ("logout_token_refused", "The agent has to send an access token, not a logout token.")
        }
        OtherToken::Other => {
            ("not_an_access_token", "The agent has to send an access token, not a token for another purpose.")
        }
    };
    Answer::invalid_token(code, Fault::Agent, remedy)
}

fn answer_to_obtaining(error: &ObtainError, caller: Option<&Caller>) -> Answer {
    match error {
        ObtainError::Exchange(error) => answer_to_exchange(error, caller),
        ObtainError::UnknownIssuer(_) | ObtainError::NotServed(_) => misconfigured(),
        ObtainError::BrokeOff => internal_error(),
    }
}

const fn internal_error() -> Answer {
    Answer::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal_error",
        Fault::Gateway,
        "The gateway failed; give the request id to its operators.",
    )
}

fn insufficient_scope(required: &Scopes) -> Answer {
    Answer {
        challenge: Challenge::InsufficientScope,
        scopes: Some(required.clone()),
        ..Answer::forbidden(
            "scope_missing",
            Fault::Agent,
            "Sign in again so that the agent can get the scopes listed in this answer.",
        )
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

fn unavailable(retry_after: Option<Duration>) -> Answer {
    Answer::later(
        StatusCode::SERVICE_UNAVAILABLE,
        "issuer_unavailable",
        Fault::AuthorizationServer,
        "Your organisation's sign-in service cannot be reached at the moment; try again shortly.",
        retry_after.unwrap_or(RETRY_AFTER_DEFAULT),
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

/// What a token must carry to have passed these authentication contexts, as Entra's claims challenges say it.
fn demand_for_contexts(contexts: &[Arc<str>]) -> String {
    let contexts: Vec<&str> = contexts.iter().map(AsRef::as_ref).collect();
    let acrs = match contexts.as_slice() {
        [one] => json!({ "essential": true, "value": one }),
        several => json!({ "essential": true, "values": several }),
    };
    format!(r#"{{"access_token":{{"acrs":{acrs}}}}}"#)
}

/// More verification is demanded. Only a client that said that it can act on claims gets them (Entra's `cp1`); another
/// would repeat the call for ever.
fn step_up(claims: Option<&String>, caller: Option<&Caller>) -> Answer {
    match claims {
        Some(claims) if caller.is_some_and(Caller::handles_claims_challenges) => Answer {
            challenge: Challenge::InsufficientClaims,
            claims: Some(claims.clone()),
            ..Answer::new(StatusCode::UNAUTHORIZED, "step_up_required", Fault::User, STEP_UP_REMEDY)
        },
        Some(_) | None => Answer::forbidden("step_up_required", Fault::User, STEP_UP_REMEDY),
    }
}

fn answer_to_forwarding(error: &ForwardError) -> Answer {
    match error {
        ForwardError::Unreachable(_) => Answer::later(
            StatusCode::BAD_GATEWAY,
            "connector_unreachable",
            Fault::Connector,
            "The service behind this tool cannot be reached; try again shortly.",
            RETRY_AFTER_DEFAULT,
        ),
        ForwardError::ConnectTimedOut => Answer::later(
            StatusCode::GATEWAY_TIMEOUT,
            "connector_timeout",
            Fault::Connector,
            "The service behind this tool could not be reached in time; the call was not made, so try again shortly.",
            RETRY_AFTER_DEFAULT,
        ),
        ForwardError::ResponseTimedOut => Answer::new(
            StatusCode::GATEWAY_TIMEOUT,
            "connector_timeout",
            Fault::Connector,
            "The service behind this tool did not answer in time; check whether the call took effect before repeating it.",
        ),
        ForwardError::Broke(_) => Answer::new(
            StatusCode::BAD_GATEWAY,
            "connector_broke",
            Fault::Connector,
            "The service behind this tool broke off; check whether the call took effect before repeating it.",
        ),
        ForwardError::Upgraded => Answer::new(
            StatusCode::BAD_GATEWAY,
            "connector_upgraded",
            Fault::Connector,
            "The service behind this tool answered in another protocol than HTTP; give the request id to the gateway's operators.",
        ),
        ForwardError::Address => {
            Answer::bad_request("request_target_invalid", "The agent has to send a shorter path and query.")
        }
        ForwardError::UploadStalled => Answer::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_stalled",
            Fault::Agent,
            "The agent has to send the body of its request without long pauses.",
        ),
        ForwardError::UploadBroke => Answer::bad_request(
            "request_broke_off",
            "The agent has to send the body of its request to its end.",
        ),
    }
}
