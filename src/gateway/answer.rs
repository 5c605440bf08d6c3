//! What an agent hears when the gateway says no: RFC 9457 body, RFC 6750 challenge, and when to come back.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::Value;

use crate::audit::{Fault, RefusalNote, RequestId};
use crate::identity::Scopes;
use crate::oauth::keys::accepted_algorithms;
use crate::tool::RequiredSignIn;

/// The nonce for an agent's next DPoP proof (RFC 9449 section 9).
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// What the agent hears.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The stable code.
    pub code: &'static str,
    /// Who can do something about it.
    pub fault: Fault,
    /// One sentence that an agent can repeat to the person: "you" is the person, the agent is "the agent".
    pub remedy: &'static str,
    /// The challenge that goes with it.
    pub challenge: Challenge,
    /// When asking again makes sense.
    pub retry_after: Option<Duration>,
    /// Where the person can agree to what is missing.
    pub consent_url: Option<String>,
    /// Where the person connects an account of theirs, or agrees that the agent may use it.
    pub connect_url: Option<String>,
    /// Where the person sees what the call would do, and agrees to it or declines.
    pub confirm_url: Option<String>,
    /// What an authorization server demands, as JSON.
    pub claims: Option<String>,
    /// The scopes that are needed, all at once.
    pub scopes: Option<Scopes>,
    /// How the person has to sign in.
    pub sign_in: Option<RequiredSignIn>,
    /// The nonce that the next DPoP proof needs.
    pub dpop_nonce: Option<String>,
    /// Where a client reads how the person signs in (RFC 9728 section 5.1).
    pub resource_metadata: Option<String>,
    /// The scopes that a client asks for there, in place of those that a token has to hold.
    pub scopes_to_ask_for: Option<Scopes>,
    /// The methods that there are, when this is none of them (RFC 9110 section 15.5.6).
    pub allow: Option<&'static str>,
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
    /// The person has to sign in anew, in the way that goes with the answer (RFC 9470 section 3).
    InsufficientUserAuthentication,
    /// The person has to connect an account at the page that goes with the answer. It is a scheme of its own: no other token, nor
    /// another sign-in at the issuer, would help, and clients would try both.
    Connect,
    /// The proof that goes with the token is not taken, with this error (RFC 9449 section 7.1).
    Dpop(DpopError),
}

/// What is wrong with a token that came with a DPoP proof, or should have (RFC 9449 sections 7.1 and 9).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DpopError {
    /// The token, or that it came as it did.
    InvalidToken,
    /// The proof.
    InvalidProof,
    /// The proof lacks the nonce that goes with the answer.
    NonceNeeded,
}

impl Answer {
    /// An answer without a challenge.
    pub const fn new(status: StatusCode, code: &'static str, fault: Fault, remedy: &'static str) -> Self {
        Self {
            status,
            code,
            fault,
            remedy,
            challenge: Challenge::None,
            retry_after: None,
            consent_url: None,
            connect_url: None,
            confirm_url: None,
            claims: None,
            scopes: None,
            sign_in: None,
            dpop_nonce: None,
            resource_metadata: None,
            scopes_to_ask_for: None,
            allow: None,
        }
    }

    /// 401: the token is not taken.
    pub const fn invalid_token(code: &'static str, fault: Fault, remedy: &'static str) -> Self {
        let mut answer = Self::new(StatusCode::UNAUTHORIZED, code, fault, remedy);
        answer.challenge = Challenge::InvalidToken;
        answer
    }

    /// 400: the agent's request is wrong.
    pub const fn bad_request(code: &'static str, remedy: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, Fault::Agent, remedy)
    }

    /// 403: asking again with the same token will not help.
    pub const fn forbidden(code: &'static str, fault: Fault, remedy: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, fault, remedy)
    }

    /// An answer that may be another one after a while.
    pub const fn later(
        status: StatusCode,
        code: &'static str,
        fault: Fault,
        remedy: &'static str,
        after: Duration,
    ) -> Self {
        let mut answer = Self::new(status, code, fault, remedy);
        answer.retry_after = Some(after);
        answer
    }

    /// The answer as an HTTP response.
    pub fn response(&self, note: &RefusalNote, request_id: RequestId) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.problem(note, request_id).to_string()));
        *response.status_mut() = self.status;
        self.add_headers(note, response.headers_mut());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }

    /// The answer as the members of a problem (RFC 9457).
    pub fn problem(&self, note: &RefusalNote, request_id: RequestId) -> Value {
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
            connect_url: self.connect_url.as_deref(),
            confirm_url: self.confirm_url.as_deref(),
            claims: self.claims.as_deref(),
            required_scopes: self.scopes.as_ref().map(|scopes| scopes.iter().collect()),
            acr_values: self.acr_values(),
            max_age: self.max_age(),
            retry_after_seconds: self.retry_after_seconds(),
        };
        serde_json::to_value(&problem).expect("texts and numbers are JSON")
    }

    /// The headers that go with the answer, whatever its form.
    pub fn add_headers(&self, note: &RefusalNote, headers: &mut HeaderMap) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge_value(&note.detail) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(nonce) = self.dpop_nonce.as_ref().and_then(|nonce| HeaderValue::from_str(nonce).ok()) {
            headers.insert(DPOP_NONCE, nonce);
        }
        if let Some(methods) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        if let Some(seconds) = self.retry_after_seconds() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
    }

    /// When asking again makes sense, in seconds.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        // Whoever comes back a moment too early comes twice.
        self.retry_after
            .map(|after| after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0)).max(1))
    }

    fn challenge_value(&self, detail: &str) -> Option<HeaderValue> {
        let error = match self.challenge {
            Challenge::None => return None,
            Challenge::Connect => {
                let url = quotable(self.connect_url.as_deref().unwrap_or_default());
                return HeaderValue::from_str(&format!(
                    r#"Connect realm="obo-gateway", connect_url="{url}""#
                ))
                .ok();
            }
            Challenge::Bearer => None,
            Challenge::InvalidRequest => Some("invalid_request"),
            Challenge::InvalidToken => Some("invalid_token"),
            Challenge::InsufficientScope => Some("insufficient_scope"),
            Challenge::InsufficientClaims => Some("insufficient_claims"),
            Challenge::InsufficientUserAuthentication => Some("insufficient_user_authentication"),
            Challenge::Dpop(DpopError::InvalidToken) => Some("invalid_token"),
            Challenge::Dpop(DpopError::InvalidProof) => Some("invalid_dpop_proof"),
            Challenge::Dpop(DpopError::NonceNeeded) => Some("use_dpop_nonce"),
        };
        let scheme = if let Challenge::Dpop(_) = self.challenge { "DPoP" } else { "Bearer" };
        let mut value = format!(r#"{scheme} realm="obo-gateway""#);
        if let Some(error) = error {
            value.push_str(&format!(r#", error="{error}", error_description="{}""#, quotable(detail)));
        }
        if let Challenge::Dpop(_) = self.challenge {
            value.push_str(&format!(r#", algs="{}""#, accepted_algorithms()));
        }
        if let Some(scopes) = self.scopes_to_ask_for.as_ref().or(self.scopes.as_ref()) {
            value.push_str(&format!(r#", scope="{}""#, quotable(scopes.canonical())));
        }
        if let Some(url) = &self.resource_metadata {
            value.push_str(&format!(r#", resource_metadata="{}""#, quotable(url)));
        }
        if let Some(claims) = &self.claims {
            value.push_str(&format!(r#", claims="{}""#, STANDARD.encode(claims)));
        }
        if let Some(acr_values) = self.acr_values() {
            value.push_str(&format!(r#", acr_values="{}""#, quotable(&acr_values)));
        }
        if let Some(max_age) = self.max_age() {
            value.push_str(&format!(r#", max_age="{max_age}""#));
        }
        HeaderValue::from_str(&value).ok()
    }

    fn acr_values(&self) -> Option<String> {
        self.sign_in.as_ref().map(|required| required.acr.join(" ")).filter(|values| !values.is_empty())
    }

    fn max_age(&self) -> Option<u64> {
        self.sign_in.as_ref()?.max_age.map(|age| age.as_secs())
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
    connect_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    required_scopes: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr_values: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
}

/// What may stand between the quotes of a challenge parameter (RFC 6750 section 3).
fn quotable(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') && c != '"' && c != '\\' { c } else { '\'' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(answer: &Answer, detail: &str) -> Response<Bytes> {
        let note = RefusalNote {
            code: answer.code,
            fault: answer.fault,
            detail: detail.to_owned(),
            denied: false,
            issuer_correlation_id: None,
        };
        answer.response(&note, RequestId::next())
    }

    #[track_caller]
    fn check_challenge(answer: &Answer, detail: &str, expected: Option<&str>) {
        let response = response(answer, detail);
        assert_eq!(
            response.headers().get(WWW_AUTHENTICATE).map(HeaderValue::as_bytes),
            expected.map(str::as_bytes)
        );
    }

    #[test]
    fn a_challenge_says_what_is_wrong_and_cannot_be_broken_out_of() {
        let answer = Answer::invalid_token("token_expired", Fault::User, "Sign in again.");
        check_challenge(
            &answer,
            "bad \"quote\" \\ and\r\nX-Evil: 1 é",
            Some(
                r#"Bearer realm="obo-gateway", error="invalid_token", error_description="bad 'quote' ' and''X-Evil: 1 '""#,
            ),
        );
        let none = Answer { challenge: Challenge::Bearer, ..answer.clone() };
        check_challenge(&none, "anything", Some(r#"Bearer realm="obo-gateway""#));
        check_challenge(&Answer::bad_request("path_not_canonical", "x."), "anything", None);
    }

    #[test]
    fn scopes_and_claims_are_in_the_challenge() {
        let answer = Answer {
            challenge: Challenge::InsufficientScope,
            scopes: Some(Scopes::parse("b a")),
            claims: Some("{}".to_owned()),
            ..Answer::forbidden("scope_missing", Fault::Agent, "x.")
        };
        let expected = r#"Bearer realm="obo-gateway", error="insufficient_scope", error_description="d", scope="a b", claims="e30=""#;
        check_challenge(&answer, "d", Some(expected));
    }

    #[test]
    fn header_and_body_agree_on_when_to_come_back() {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        for (milliseconds, seconds) in [(0, 1), (200, 1), (7_000, 7), (7_001, 8)] {
            let after = Duration::from_millis(milliseconds);
            let answer = Answer::later(status, "issuer_unavailable", Fault::Gateway, "x.", after);
            let response = response(&answer, "d");
            assert_eq!(response.headers()[RETRY_AFTER], seconds.to_string());
            let body: serde_json::Value = serde_json::from_slice(response.body()).expect("a problem");
            assert_eq!(body["retry_after_seconds"], seconds);
            assert_eq!(body["type"], "urn:obo-gateway:refusal:issuer_unavailable");
        }
    }
}
