//! Every way the gateway says no, and what the agent hears.
//!
//! One taxonomy: each refusal has a stable code, a status, whose fault it is, what happened, and one sentence that
//! an agent can repeat to the person. The same code stands in the record and in the metrics.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;

use super::answer::{Answer, Challenge};
use super::authenticate::AuthenticateError;
use super::confirmation::ConfirmError;
use super::forward::ForwardError;
use super::mcp::elicitation::{Elicits, Kind, Purpose, Question};
use super::mcp::{McpCall, McpError};
use super::path::PathError;
use super::request::RequestError;
use super::rest::error::RestError;
use crate::audit::{AuditUnavailable, Fault, RefusalNote, RequestId};
use crate::credential::ObtainError;
use crate::error_chain::ErrorChain;
use crate::identity::{Caller, Scopes};
use crate::limit::LimitError;
use crate::oauth::claims::ClaimsError;
use crate::oauth::error_response::ErrorResponse;
use crate::oauth::exchange::ExchangeError;
use crate::oauth::published_metadata::RETRY_AFTER_WITHOUT_METADATA;
use crate::policy::Denial;
use crate::tool::ConnectorName;

mod authentication;
mod confirmation;
mod forwarding;
mod limit;
mod mcp;
mod obtaining;
mod rest;

use authentication::{answer_to_authentication, answer_to_claims};
use confirmation::answer_to_confirmation;
use forwarding::answer_to_forwarding;
use limit::answer_to_limit;
pub use mcp::Asks;
use mcp::{answer_to_mcp, mcp_response};
use obtaining::{answer_to_obtaining, wish};
use rest::answer_to_rest;

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
    /// Metadata that is published for an authorization server has not been fetched yet.
    #[error("the authorization server's metadata is not known yet")]
    MetadataUnavailable,
    /// The caller is not known.
    #[error(transparent)]
    Unauthenticated(#[from] AuthenticateError),
    /// The call is none of a REST connector's, or none that can be judged.
    #[error(transparent)]
    Rest(#[from] RestError),
    /// Policy says no.
    #[error("policy: {0}")]
    Denied(#[from] Denial),
    /// Policy says no, to somebody who does not get to know that there is such a tool.
    #[error("policy, hidden: {0}")]
    Hidden(Denial),
    /// The request is none that an MCP connector takes, or its answer none that can be judged.
    #[error(transparent)]
    Mcp(#[from] McpError),
    /// There are too many calls.
    #[error(transparent)]
    Limited(#[from] LimitError),
    /// There is no credential.
    #[error(transparent)]
    Obtain(#[from] ObtainError),
    /// Its person has to agree to it, and has not.
    #[error(transparent)]
    Unconfirmed(#[from] ConfirmError),
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
    /// The call has had all the time that a call has.
    #[error("the call has not been answered in {0:?}")]
    CallTimedOut(Duration),
    /// The gateway's own code failed.
    #[error("the call ended in a panic")]
    Panicked,
}

impl Refusal {
    /// The no of policy about a tool. `is_shown` says whether lists of tools show it to the caller: to those who may not use
    /// it in any way, a tool of an MCP server is one that is not there. A policy that cannot be evaluated is the operators'
    /// to mend, and says nothing about the tool.
    pub fn denied(denial: Denial, is_shown: impl FnOnce() -> bool) -> Self {
        match matches!(denial, Denial::PolicyError { .. }) || is_shown() {
            true => Self::Denied(denial),
            false => Self::Hidden(denial),
        }
    }

    /// Whether nothing more can be read on its connection: nobody knows where its request ends (RFC 9112 section 6.3).
    pub fn ends_connection(&self) -> bool {
        matches!(self, Self::Request(RequestError::Framing))
    }

    /// What the agent hears. There is no catch-all: a new refusal does not compile until someone has chosen its
    /// answer. `caller` is whom it is told, where that is known.
    pub fn answer(&self, caller: Option<&Caller>) -> Answer {
        match self {
            Self::Request(error) => answer_to_request(*error),
            Self::Path(PathError::TooLong | PathError::TooDeep) => target_too_long(),
            Self::Path(
                PathError::NotAbsolute
                | PathError::EmptySegment
                | PathError::DotSegment
                | PathError::Character(_)
                | PathError::BrokenEncoding
                | PathError::AmbiguousEncoding(_)
                | PathError::NotUtf8,
            ) => Answer::bad_request(
                "path_not_canonical",
                "The agent has to send the path in its plain form: no `..`, `//` or `;`, and no needless percent-encoding.",
            ),
            Self::NoConnector => Answer::new(
                StatusCode::NOT_FOUND,
                "connector_unknown",
                Fault::Agent,
                "Check the address: no connector of this gateway has this path.",
            ),
            Self::MetadataUnavailable => issuer_not_ready(RETRY_AFTER_WITHOUT_METADATA),
            Self::Unauthenticated(error) => answer_to_authentication(error),
            Self::Rest(error) => answer_to_rest(error),
            Self::Mcp(error) => answer_to_mcp(error),
            Self::Denied(denial) | Self::Hidden(denial) => answer_to_denial(denial, caller),
            Self::Limited(error) => answer_to_limit(error),
            Self::Obtain(error) => answer_to_obtaining(error, caller),
            Self::Unconfirmed(error) => answer_to_confirmation(error),
            Self::Forward(error) => answer_to_forwarding(error),
            Self::ClaimsDemanded { claims } => step_up(Some(claims), caller),
            Self::NotRepeated => Answer::later(
                StatusCode::SERVICE_UNAVAILABLE,
                "call_not_repeated",
                Fault::Connector,
                "The service behind this tool turned the call away and did not take it; the agent can send it again.",
                Duration::from_secs(1),
            ),
            Self::Audit(AuditUnavailable) => audit_unavailable(),
            Self::CallTimedOut(_) => Answer::new(
                StatusCode::GATEWAY_TIMEOUT,
                "call_timeout",
                Fault::Connector,
                "The call took longer than any may; check whether it took effect before repeating it.",
            ),
            Self::Panicked => internal_error(),
        }
    }

    /// What the person behind the call can be asked, so that it can go on. Of a new refusal, too, somebody has to choose that.
    /// `elicits` is what their client can show.
    pub fn question(&self, connector: &ConnectorName, elicits: Elicits) -> Option<Question> {
        match self {
            Self::Unconfirmed(ConfirmError::Required { question, url }) => {
                confirmation::question(question, url, elicits)
            }
            Self::Obtain(ObtainError::NotConnected { missing, ticket, url }) => Some(Question {
                purpose: Purpose::Connect { ticket: ticket.to_string() },
                kind: Kind::Url { url: url.clone(), message: wish(*missing, connector) },
            }),
            Self::Unconfirmed(
                ConfirmError::Declined
                | ConfirmError::Dismissed
                | ConfirmError::Expired
                | ConfirmError::Unshowable(_)
                | ConfirmError::NobodyToAsk,
            )
            | Self::Obtain(
                ObtainError::Exchange(_)
                | ObtainError::Application(_)
                | ObtainError::UnknownIssuer(_)
                | ObtainError::Declined
                | ObtainError::Dismissed
                | ObtainError::Connection(_)
                | ObtainError::AgentUnknown
                | ObtainError::NotServed(_)
                | ObtainError::BrokeOff,
            )
            | Self::Request(_)
            | Self::Path(_)
            | Self::NoConnector
            | Self::MetadataUnavailable
            | Self::Unauthenticated(_)
            | Self::Rest(_)
            | Self::Denied(_)
            | Self::Hidden(_)
            | Self::Mcp(_)
            | Self::Limited(_)
            | Self::Forward(_)
            | Self::ClaimsDemanded { .. }
            | Self::NotRepeated
            | Self::Audit(_)
            | Self::CallTimedOut(_)
            | Self::Panicked => None,
        }
    }

    /// What the agent hears, in the form that it understands: RFC 9457, or for an MCP client what MCP has for it. `asks` is for clients
    /// that can ask their person.
    pub fn response(
        &self,
        answer: &Answer,
        note: &RefusalNote,
        mcp: Option<&McpCall>,
        asks: Option<Asks<'_>>,
        request_id: RequestId,
    ) -> Response<Bytes> {
        match mcp {
            Some(spoken) => mcp_response(self, answer, note, spoken, asks, request_id),
            None => answer.response(note, request_id),
        }
    }

    /// What the record says.
    pub fn note(&self, answer: &Answer) -> RefusalNote {
        RefusalNote {
            code: answer.code,
            fault: answer.fault,
            detail: ErrorChain(self).to_string(),
            denied: self.denial().is_some(),
            issuer_correlation_id: self
                .exchange_refused()
                .and_then(|refused| refused.correlation_id.as_ref().map(|id| id.as_str().to_owned())),
        }
    }

    /// What policy said, where it is policy that says no.
    pub fn denial(&self) -> Option<&Denial> {
        match self {
            Self::Denied(denial) | Self::Hidden(denial) => Some(denial),
            _ => None,
        }
    }

    fn exchange_refused(&self) -> Option<&ErrorResponse> {
        match self {
            Self::Obtain(
                ObtainError::Exchange(ExchangeError::Refused { refused, .. })
                | ObtainError::Application(ExchangeError::Refused { refused, .. }),
            ) => Some(refused),
            _ => None,
        }
    }
}

fn answer_to_denial(denial: &Denial, caller: Option<&Caller>) -> Answer {
    match denial {
        Denial::AgentAlone => answer_to_claims(&ClaimsError::NoPerson),
        Denial::IssuerNotAccepted => Answer::forbidden(
            "issuer_not_accepted",
            Fault::User,
            "Sign in with an account of the organisation that this connector is for.",
        ),
        Denial::ScopesMissing { required, .. } => insufficient_scope(required),
        Denial::NoRule => Answer::forbidden(
            "policy_denied",
            Fault::User,
            "You are not allowed to use this tool through this agent; an administrator can allow it.",
        ),
        Denial::Forbidden { .. } => Answer::forbidden(
            "policy_forbidden",
            Fault::User,
            "A rule of your organisation forbids this call; the agent should not try it again, and an administrator can tell you more.",
        ),
        Denial::PolicyError { .. } => Answer::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "policy_failed",
            Fault::Gateway,
            "Whether you are allowed to do this cannot be told; give the request id to the gateway's operators.",
        ),
        Denial::ContextsMissing { missing } => step_up(Some(&demand_for_contexts(missing)), caller),
        Denial::SignIn(required) => Answer {
            challenge: Challenge::InsufficientUserAuthentication,
            sign_in: Some(required.clone()),
            ..Answer::new(StatusCode::UNAUTHORIZED, "step_up_required", Fault::User, STEP_UP_REMEDY)
        },
    }
}

fn target_too_long() -> Answer {
    Answer::new(
        StatusCode::URI_TOO_LONG,
        "target_too_long",
        Fault::Agent,
        "The agent has to send a shorter address; what is long belongs in the body.",
    )
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
        RequestError::TargetTooLong { .. } => target_too_long(),
        RequestError::HeadersTooMany { .. } => Answer::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_many",
            Fault::Agent,
            "The agent has to send fewer header lines.",
        ),
        RequestError::Origin => Answer::forbidden(
            "origin_not_allowed",
            Fault::Agent,
            "Pages of this origin may not call the gateway; an administrator can allow it.",
        ),
        RequestError::ForeignHost => Answer::forbidden(
            "host_not_allowed",
            Fault::Agent,
            "The agent has to call the gateway as localhost, or an administrator has to give the gateway's public address.",
        ),
        RequestError::NotRead => Answer {
            allow: Some("GET, HEAD"),
            ..Answer::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                Fault::Agent,
                "The agent has to use GET or HEAD to read metadata.",
            )
        },
    }
}

const fn issuer_not_ready(retry_after: Duration) -> Answer {
    Answer::later(
        StatusCode::SERVICE_UNAVAILABLE,
        "issuer_not_ready",
        Fault::AuthorizationServer,
        "Your organisation's sign-in service cannot be reached at the moment; try again shortly.",
        retry_after,
    )
}

const fn audit_unavailable() -> Answer {
    Answer::later(
        StatusCode::SERVICE_UNAVAILABLE,
        "audit_unavailable",
        Fault::Gateway,
        "The gateway cannot record calls at the moment; try again shortly.",
        RETRY_AFTER_DEFAULT,
    )
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

fn unavailable(retry_after: Option<Duration>) -> Answer {
    Answer::later(
        StatusCode::SERVICE_UNAVAILABLE,
        "issuer_unavailable",
        Fault::AuthorizationServer,
        "Your organisation's sign-in service cannot be reached at the moment; try again shortly.",
        retry_after.unwrap_or(RETRY_AFTER_DEFAULT),
    )
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
