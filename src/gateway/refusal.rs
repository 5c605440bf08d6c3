//! Every way the gateway says no, and what the agent hears.
//!
//! One taxonomy: each refusal has a stable code, a status, whose fault it is, what happened, and one sentence that
//! an agent can repeat to the person. The same code stands in the record and in the metrics.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::authenticate::AuthenticateError;
use super::forward::ForwardError;
use super::path::PathError;
use super::request::RequestError;
use crate::audit::{AuditUnavailable, Fault, RefusalNote, RequestId};
use crate::credential::ObtainError;
use crate::identity::Scopes;
use crate::oauth::claims::ClaimsError;
use crate::oauth::grant::ExchangeError;
use crate::oauth::jws::JwsError;
use crate::oauth::key_set::RETRY_AFTER_WITHOUT_KEYS;
use crate::oauth::refused::{Class, Refused};
use crate::oauth::verifier::VerifyError;
use crate::policy::Denial;

/// What an agent should wait when a server is down and does not say for how long.
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
    /// The connector is for the people of other issuers.
    #[error("the connector does not take callers from this issuer")]
    IssuerNotAccepted,
    /// The connector has no such tool.
    #[error("the connector lists no tool for this request")]
    NoTool,
    /// The subject token lacks scopes that the tool needs.
    #[error("the tool needs scopes that the token lacks: {}", missing.canonical())]
    Scopes {
        /// All that the tool needs.
        required: Scopes,
        /// Those that are lacking.
        missing: Scopes,
    },
    /// Policy says no.
    #[error("policy: {0}")]
    Denied(#[from] Denial),
    /// There is no credential.
    #[error(transparent)]
    Obtain(#[from] ObtainError),
    /// The connector gave no answer.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The call cannot be recorded.
    #[error(transparent)]
    Audit(#[from] AuditUnavailable),
    /// The gateway's own code failed.
    #[error("the call ended in a panic")]
    Panicked,
}

/// What the agent hears.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The stable code.
    pub code: &'static str,
    /// Who can do something about it.
    pub fault: Fault,
    /// One sentence that an agent can repeat to the person.
    pub remedy: &'static str,
    /// The challenge that goes with it.
    pub challenge: Challenge,
    /// When asking again makes sense.
    pub retry_after: Option<Duration>,
    /// Where the person can agree to what is missing.
    pub consent_url: Option<String>,
    /// What an authorization server demands, as JSON.
    pub claims: Option<String>,
    /// The scopes that are needed, all at once.
    pub scopes: Option<Scopes>,
}

/// The `WWW-Authenticate` header of an answer (RFC 6750 section 3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Challenge {
    /// None.
    None,
    /// A bearer token is needed. The agent sent no credentials, so there is no error to name.
    Bearer,
    /// The request is malformed.
    InvalidRequest,
    /// The token is not taken.
    InvalidToken,
    /// The token lacks scopes.
    InsufficientScope,
    /// The person has to sign in anew, with the claims that go with the answer (Entra's claims challenge).
    InsufficientClaims,
}

impl Answer {
    const fn new(status: StatusCode, code: &'static str, fault: Fault, remedy: &'static str) -> Self {
        Self {
            status,
            code,
            fault,
            remedy,
            challenge: Challenge::None,
            retry_after: None,
            consent_url: None,
            claims: None,
            scopes: None,
        }
    }

    const fn invalid_token(code: &'static str, fault: Fault, remedy: &'static str) -> Self {
        let mut answer = Self::new(StatusCode::UNAUTHORIZED, code, fault, remedy);
        answer.challenge = Challenge::InvalidToken;
        answer
    }

    const fn bad_request(code: &'static str, remedy: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, Fault::Agent, remedy)
    }

    const fn forbidden(code: &'static str, fault: Fault, remedy: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, fault, remedy)
    }

    fn insufficient_scope(required: &Scopes) -> Self {
        Self {
            challenge: Challenge::InsufficientScope,
            scopes: Some(required.clone()),
            ..Self::forbidden(
                "scope_missing",
                Fault::Agent,
                "Sign in again and grant the agent the scopes that are listed.",
            )
        }
    }

    const fn later(status: StatusCode, code: &'static str, fault: Fault, remedy: &'static str, after: Duration) -> Self {
        let mut answer = Self::new(status, code, fault, remedy);
        answer.retry_after = Some(after);
        answer
    }
}

impl Refusal {
    /// What the agent hears. There is no catch-all: a new refusal does not compile until someone has chosen its
    /// answer.
    pub fn answer(&self) -> Answer {
        match self {
            Self::Request(error) => request(error),
            Self::Path(_) => Answer::bad_request(
                "path_not_canonical",
                "Send the path in its plain form: no `..`, `//`, `;`, and no needless percent-encoding.",
            ),
            Self::NoConnector => Answer::new(
                StatusCode::NOT_FOUND,
                "connector_unknown",
                Fault::Agent,
                "Check the address: no connector of this gateway has this path.",
            ),
            Self::Unauthenticated(error) => unauthenticated(error),
            Self::IssuerNotAccepted => Answer::forbidden(
                "issuer_not_accepted",
                Fault::Agent,
                "Sign in with an account of the organisation that this connector is for.",
            ),
            Self::NoTool => Answer::forbidden(
                "tool_unlisted",
                Fault::Agent,
                "This operation is not among the tools of the connector; use one that is, or ask an administrator to add it.",
            ),
            Self::Scopes { required, .. } => Answer::insufficient_scope(required),
            Self::Denied(Denial::NoRule) => Answer::forbidden(
                "policy_denied",
                Fault::User,
                "You are not allowed to use this tool through this agent; an administrator can allow it.",
            ),
            Self::Obtain(error) => obtain(error),
            Self::Forward(error) => forward(error),
            Self::Audit(AuditUnavailable) => Answer::later(
                StatusCode::SERVICE_UNAVAILABLE,
                "audit_unavailable",
                Fault::Gateway,
                "The gateway cannot record calls at the moment; try again shortly.",
                RETRY_AFTER_DEFAULT,
            ),
            Self::Panicked => Answer::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_error",
                Fault::Gateway,
                "The gateway failed; tell its operators the request id.",
            ),
        }
    }

    /// What the record says.
    pub fn note(&self, answer: &Answer) -> RefusalNote {
        RefusalNote {
            code: answer.code,
            fault: answer.fault,
            detail: self.to_string(),
            issuer_correlation_id: self.exchange_refused().and_then(|refused| {
                refused.correlation_id.as_ref().map(|id| id.as_str().to_owned())
            }),
        }
    }

    fn exchange_refused(&self) -> Option<&Refused> {
        match self {
            Self::Obtain(ObtainError::Exchange(ExchangeError::Refused { refused, .. })) => Some(refused),
            _ => None,
        }
    }
}

fn request(error: &RequestError) -> Answer {
    match error {
        RequestError::Method => Answer::new(
            StatusCode::NOT_IMPLEMENTED,
            "method_not_served",
            Fault::Agent,
            "Use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.",
        ),
        RequestError::Host => Answer::bad_request(
            "host_invalid",
            "Send exactly one Host, and the same one wherever the request names it.",
        ),
        RequestError::Framing => Answer::bad_request(
            "framing_invalid",
            "Send either a Content-Length or `Transfer-Encoding: chunked`, and nothing else of that kind.",
        ),
    }
}

fn unauthenticated(error: &AuthenticateError) -> Answer {
    match error {
        AuthenticateError::NoCredentials | AuthenticateError::OtherScheme => Answer {
            challenge: Challenge::Bearer,
            ..Answer::new(
                StatusCode::UNAUTHORIZED,
                "no_credentials",
                Fault::Agent,
                "Sign in, and let the agent send your access token as `Authorization: Bearer`.",
            )
        },
        AuthenticateError::Repeated | AuthenticateError::Malformed => Answer {
            challenge: Challenge::InvalidRequest,
            ..Answer::bad_request("authorization_malformed", "Send one Authorization header with one bearer token.")
        },
        AuthenticateError::Token(error) => token(error),
    }
}

fn token(error: &VerifyError) -> Answer {
    match error {
        VerifyError::Form(JwsError::TooLarge) => {
            Answer::invalid_token("token_too_large", Fault::Agent, "Send an access token of at most 16 KiB.")
        }
        VerifyError::Form(JwsError::Malformed) => {
            Answer::invalid_token("token_malformed", Fault::Agent, "Send the access token as it was issued.")
        }
        VerifyError::Form(JwsError::Encrypted | JwsError::Algorithm | JwsError::Header(_)) => Answer::invalid_token(
            "token_form_refused",
            Fault::Agent,
            "Send an access token that its issuer signed with an asymmetric key.",
        ),
        VerifyError::Form(JwsError::Type) => not_an_access_token(),
        VerifyError::UnknownIssuer => Answer::invalid_token(
            "issuer_unknown",
            Fault::Agent,
            "Sign in with an organisation that this gateway serves.",
        ),
        VerifyError::KeysUnavailable { .. } => Answer::later(
            StatusCode::SERVICE_UNAVAILABLE,
            "issuer_not_ready",
            Fault::AuthorizationServer,
            "Your organisation's sign-in service cannot be reached at the moment; try again shortly.",
            RETRY_AFTER_WITHOUT_KEYS,
        ),
        VerifyError::UnknownKey => {
            Answer::invalid_token("signing_key_unknown", Fault::Agent, "Sign in again to get a newly signed token.")
        }
        VerifyError::Signature => {
            Answer::invalid_token("signature_invalid", Fault::Agent, "Send the access token as it was issued.")
        }
        VerifyError::Claims(error) => claims(error),
    }
}

fn claims(error: &ClaimsError) -> Answer {
    match error {
        ClaimsError::Missing(_) | ClaimsError::WrongType(_) => Answer::invalid_token(
            "claims_invalid",
            Fault::Agent,
            "Send an access token of this gateway's issuer; this one lacks something every such token has.",
        ),
        ClaimsError::Audience { .. } => Answer::invalid_token(
            "audience_mismatch",
            Fault::Agent,
            "Let the agent ask for an access token for this gateway, not for another service.",
        ),
        ClaimsError::Expired => {
            Answer::invalid_token("token_expired", Fault::User, "Sign in again: your access token has expired.")
        }
        ClaimsError::NotYetValid => Answer::invalid_token(
            "token_not_yet_valid",
            Fault::Agent,
            "Try again in a minute; if it stays, a clock is wrong.",
        ),
        ClaimsError::Tenant => Answer::invalid_token(
            "tenant_not_allowed",
            Fault::User,
            "Sign in with an account of the organisation that this gateway serves.",
        ),
        ClaimsError::NotAnAccessToken(_) => not_an_access_token(),
        ClaimsError::NoPerson => Answer::forbidden(
            "person_required",
            Fault::Agent,
            "A person has to sign in: this tool is not for applications of their own.",
        ),
        ClaimsError::Bound => Answer::invalid_token(
            "token_bound",
            Fault::Agent,
            "Ask for an access token that is not bound to a key: this gateway cannot check the proof.",
        ),
        ClaimsError::Agent => Answer::forbidden(
            "agent_not_allowed",
            Fault::Agent,
            "This agent may not use the gateway; an administrator can let it in.",
        ),
        ClaimsError::Scopes { required, .. } => Answer::insufficient_scope(required),
    }
}

const fn not_an_access_token() -> Answer {
    Answer::invalid_token(
        "not_an_access_token",
        Fault::Agent,
        "Let the agent send an access token, not an ID token, a refresh token or another kind.",
    )
}

fn obtain(error: &ObtainError) -> Answer {
    match error {
        ObtainError::Exchange(error) => exchange(error),
        ObtainError::UnknownIssuer(_) | ObtainError::NotServed(_) => misconfigured(),
        ObtainError::BrokeOff => Answer::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            Fault::Gateway,
            "The gateway failed; tell its operators the request id.",
        ),
    }
}

const fn misconfigured() -> Answer {
    Answer::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "exchange_misconfigured",
        Fault::Gateway,
        "The gateway is not set up for this tool; tell its operators the request id.",
    )
}

fn exchange(error: &ExchangeError) -> Answer {
    match error {
        ExchangeError::Refused { refused, consent_url, .. } => {
            Answer { consent_url: consent_url.clone(), ..refused_exchange(refused) }
        }
        ExchangeError::TimedOut { .. } => Answer::later(
            StatusCode::GATEWAY_TIMEOUT,
            "issuer_timeout",
            Fault::AuthorizationServer,
            "Your organisation's sign-in service is slow at the moment; try again shortly.",
            RETRY_AFTER_DEFAULT,
        ),
        ExchangeError::Unreachable { .. } | ExchangeError::NoTokenEndpoint { .. } => unavailable(None),
        ExchangeError::Unusable { .. } => Answer::new(
            StatusCode::BAD_GATEWAY,
            "issuer_answer_invalid",
            Fault::AuthorizationServer,
            "Your organisation's sign-in service gave an answer that cannot be used; tell the gateway's operators the request id.",
        ),
        ExchangeError::Unprepared { .. } => misconfigured(),
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

fn refused_exchange(refused: &Refused) -> Answer {
    match &refused.class {
        Class::Throttled { retry_after } => Answer::later(
            StatusCode::SERVICE_UNAVAILABLE,
            "issuer_throttled",
            Fault::AuthorizationServer,
            "Too many requests to your organisation's sign-in service; wait before trying again.",
            retry_after.unwrap_or(RETRY_AFTER_DEFAULT),
        ),
        Class::Unavailable { retry_after } => unavailable(*retry_after),
        Class::StepUp { claims } => Answer {
            challenge: Challenge::InsufficientClaims,
            claims: claims.clone(),
            ..Answer::new(
                StatusCode::UNAUTHORIZED,
                "step_up_required",
                Fault::User,
                "Sign in again and complete the additional verification that your organisation asks for.",
            )
        },
        Class::Consent => Answer::forbidden(
            "consent_required",
            Fault::User,
            "Open the consent link, agree to what the gateway may do for you, then try again.",
        ),
        Class::AdminConsent => Answer::forbidden(
            "admin_consent_required",
            Fault::User,
            "Ask an administrator of your organisation to open the consent link and agree, then try again.",
        ),
        Class::SubjectToken => Answer::invalid_token(
            "subject_token_rejected",
            Fault::User,
            "Sign in again: your sign-in service does not take this access token any more.",
        ),
        Class::SignIn => Answer::invalid_token("sign_in_required", Fault::User, "Sign in again: your session is over."),
        Class::Blocked => Answer::forbidden(
            "access_blocked",
            Fault::User,
            "Your organisation does not let you use this; ask an administrator for access.",
        ),
        Class::Misconfigured => misconfigured(),
    }
}

fn forward(error: &ForwardError) -> Answer {
    match error {
        ForwardError::Unreachable(_) => Answer::later(
            StatusCode::BAD_GATEWAY,
            "connector_unreachable",
            Fault::Connector,
            "The service behind this tool cannot be reached; try again shortly.",
            RETRY_AFTER_DEFAULT,
        ),
        ForwardError::ConnectTimedOut | ForwardError::ResponseTimedOut => Answer::new(
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
            "The service behind this tool answered in another protocol than HTTP; tell the gateway's operators.",
        ),
        ForwardError::Address => Answer::bad_request("request_target_invalid", "Send a shorter or simpler address."),
        ForwardError::UploadStalled => Answer::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_stalled",
            Fault::Agent,
            "Send the request's body without long pauses.",
        ),
        ForwardError::UploadBroke => Answer::bad_request("request_broke_off", "Send the request's body to its end."),
    }
}

/// RFC 9457.
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    fault: &'a str,
    remedy: &'a str,
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer_correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consent_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    required_scopes: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
}

impl Answer {
    /// The answer as an HTTP response: RFC 9457 body, challenge, and when to come back.
    pub fn response(&self, note: &RefusalNote, request_id: RequestId) -> Response<Bytes> {
        let problem = Problem {
            kind: format!("urn:obo-gateway:refusal:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Refused"),
            status: self.status.as_u16(),
            detail: &note.detail,
            code: self.code,
            fault: self.fault.as_str(),
            remedy: self.remedy,
            request_id: request_id.to_string(),
            issuer_correlation_id: note.issuer_correlation_id.as_deref(),
            consent_url: self.consent_url.as_deref(),
            claims: self.claims.as_deref(),
            required_scopes: self.scopes.as_ref().map(|scopes| scopes.iter().collect()),
            retry_after_seconds: self.retry_after.map(|after| after.as_secs()),
        };
        // Texts and numbers only: writing them into memory does not fail.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge_value(&note.detail) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        response
    }

    fn challenge_value(&self, detail: &str) -> Option<HeaderValue> {
        let error = match self.challenge {
            Challenge::None => return None,
            Challenge::Bearer => return Some(HeaderValue::from_static(r#"Bearer realm="obo-gateway""#)),
            Challenge::InvalidRequest => "invalid_request",
            Challenge::InvalidToken => "invalid_token",
            Challenge::InsufficientScope => "insufficient_scope",
            Challenge::InsufficientClaims => "insufficient_claims",
        };
        let detail = quotable(detail);
        let mut value = format!(r#"Bearer realm="obo-gateway", error="{error}", error_description="{detail}""#);
        if let Some(scopes) = &self.scopes {
            value.push_str(&format!(r#", scope="{}""#, quotable(scopes.canonical())));
        }
        if let Some(claims) = &self.claims {
            use base64::Engine as _;
            let claims = base64::engine::general_purpose::STANDARD.encode(claims);
            value.push_str(&format!(r#", claims="{claims}""#));
        }
        HeaderValue::from_str(&value).ok()
    }
}

/// What may stand between the quotes of a challenge parameter (RFC 6750 section 3).
fn quotable(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') && c != '"' && c != '\\' { c } else { '\'' }).collect()
}
