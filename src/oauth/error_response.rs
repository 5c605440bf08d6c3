//! What an authorization server's error answer means, and who can do something about it.
//!
//! Servers say the same thing in different words. The order of the questions matters: a throttled request also
//! says `invalid_grant`, and "sign in again" would be the wrong advice (Entra's 50196).

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value};

use super::outbound::OutboundAnswer;
use crate::sparing::retry_after;
use crate::strict_json;

/// Longest delay that an authorization server is believed, in its `Retry-After`.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// Entra has seen the same request too often.
const LOOP_DETECTED: u64 = 50196;
/// Somebody has not agreed yet to what the gateway wants to do for them.
const CONSENT: u64 = 65001;
/// What Entra wants when it has seen the same request too often (50196).
const LOOP_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Longest claims demand that is passed on. Real ones are below 1 kB.
const CLAIMS_BYTES_MAX: usize = 4_096;
/// Longest word of an answer that is kept for records: error codes and UUIDs fit.
const WORD_BYTES_MAX: usize = 128;
/// Most error codes of an answer that are kept. Entra sends one or two.
const CODES_MAX: usize = 8;

/// An authorization server's refusal of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErrorResponse {
    /// What it comes down to.
    pub class: ErrorClass,
    /// The status code.
    pub status: StatusCode,
    /// `error` (RFC 6749 section 5.2), for records.
    pub error: Word,
    /// Entra's `error_codes`, for records.
    pub codes: Vec<u64>,
    /// The identifier by which the server's operators find the request (Entra's `correlation_id`).
    pub correlation_id: Option<Word>,
}

/// What a refusal comes down to: who has to do what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ErrorClass {
    /// Too many requests; wait.
    Throttled {
        /// How long, where the server says so.
        retry_after: Option<Duration>,
    },
    /// The server has a problem of its own that may pass.
    Unavailable {
        /// How long to wait, where the server says so.
        retry_after: Option<Duration>,
    },
    /// The person has to prove more than so far: another factor, a compliant device.
    StepUp {
        /// What exactly, as JSON to be sent with the next authorization request. Passed on as it came.
        claims: Option<String>,
    },
    /// The person has not agreed yet to what the gateway wants to do.
    Consent,
    /// An administrator has not agreed yet.
    AdminConsent,
    /// The subject token is expired, or not what the server takes.
    SubjectToken,
    /// The person's session is over.
    SignIn,
    /// The person is not let in: blocked, not assigned, or against a policy.
    Blocked,
    /// The gateway's registration or settings are wrong; an operator has to act.
    Misconfigured,
}

impl ErrorClass {
    /// The class as a metric label.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Throttled { .. } => "throttled",
            Self::Unavailable { .. } => "unavailable",
            Self::StepUp { .. } => "step_up",
            Self::Consent => "consent",
            Self::AdminConsent => "admin_consent",
            Self::SubjectToken => "subject_token",
            Self::SignIn => "sign_in",
            Self::Blocked => "blocked",
            Self::Misconfigured => "misconfigured",
        }
    }
}

/// A short text from outside that is safe in a record: printable ASCII without quotes, cut where it is too long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word(String);

impl Word {
    /// Takes what is printable of a text.
    pub fn new(text: &str) -> Self {
        let printable = |c: &char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '<' | '>');
        Self(text.chars().filter(printable).take(WORD_BYTES_MAX).collect())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether the `error` that a browser brings back says that its person did not go on, or is not let (RFC 6749 section 4.1.2.1, and
/// OpenID Connect Core section 3.1.2.6).
pub fn is_declined(error: &str) -> bool {
    matches!(error, "access_denied" | "consent_required" | "interaction_required" | "login_required")
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ErrorResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status.as_u16(), self.error)?;
        match self.codes.as_slice() {
            [] => Ok(()),
            codes => write!(f, " {codes:?}"),
        }
    }
}

impl ErrorResponse {
    /// Whether it is throttling of one request that came too often, and not of all of the gateway's (Entra's 50196).
    pub fn is_about_one_request(&self) -> bool {
        matches!(self.class, ErrorClass::Throttled { .. }) && self.codes.contains(&LOOP_DETECTED)
    }

    /// Reads an answer that is not a success.
    pub fn read(answer: &OutboundAnswer) -> Self {
        // A body that is no JSON object (a proxy's page, a cut answer) leaves only the status to go by.
        let members = strict_json::parse_object(&answer.body).unwrap_or_default();
        let text = |name| members.get(name).and_then(Value::as_str).unwrap_or_default();
        let codes = codes(&members);
        let class = classify(answer, &members, &codes);
        let correlation_id = Some(text("correlation_id")).filter(|id| !id.is_empty()).map(Word::new);
        let correlation_id = correlation_id.or_else(|| self::correlation_id(answer));
        Self { class, status: answer.status, error: Word::new(text("error")), codes, correlation_id }
    }
}

/// The identifier that the server gives to a request in its headers, by the names that servers have for it.
pub fn correlation_id(answer: &OutboundAnswer) -> Option<Word> {
    let named = |name: &&str| answer.headers.get(*name)?.to_str().ok();
    let id = ["x-ms-request-id", "request-id", "x-request-id", "x-correlation-id"].iter().find_map(named)?;
    Some(Word::new(id)).filter(|id| !id.as_str().is_empty())
}

fn classify(answer: &OutboundAnswer, members: &Map<String, Value>, codes: &[u64]) -> ErrorClass {
    let text = |name| members.get(name).and_then(Value::as_str).unwrap_or_default();
    let (error, suberror, description) = (text("error"), text("suberror"), text("error_description"));
    let code = |listed: &[u64]| codes.iter().any(|code| listed.contains(code));
    let retry_after = retry_after(&answer.headers).map(|pause| pause.min(RETRY_AFTER_MAX));

    if answer.status == StatusCode::TOO_MANY_REQUESTS {
        return ErrorClass::Throttled { retry_after };
    }
    if code(&[LOOP_DETECTED]) {
        return ErrorClass::Throttled {
            retry_after: Some(retry_after.unwrap_or(LOOP_RETRY_AFTER).max(LOOP_RETRY_AFTER)),
        };
    }
    let transient = matches!(error, "temporarily_unavailable" | "server_error") || code(TRANSIENT);
    if answer.status.is_server_error() || transient {
        return ErrorClass::Unavailable { retry_after };
    }
    if let claims @ 1..=CLAIMS_BYTES_MAX = text("claims").len() {
        return ErrorClass::StepUp { claims: Some(text("claims")[..claims].to_owned()) };
    }
    if code(ADMIN_CONSENT) {
        return ErrorClass::AdminConsent;
    }
    if suberror == "consent_required"
        || error == "consent_required"
        || code(&[CONSENT])
        // Keycloak's standard token exchange has no code for it.
        || (error == "invalid_scope" && description.starts_with("Missing consents"))
    {
        return ErrorClass::Consent;
    }
    // Keycloak answers an expired token, or one whose session is over, with `invalid_request`.
    if code(SUBJECT_TOKEN) || (error == "invalid_request" && description == "Invalid token") {
        return ErrorClass::SubjectToken;
    }
    if code(BLOCKED) {
        return ErrorClass::Blocked;
    }
    if code(SIGN_IN) {
        return ErrorClass::SignIn;
    }
    if code(MISCONFIGURED) {
        return ErrorClass::Misconfigured;
    }
    if code(STEP_UP)
        || matches!(error, "interaction_required" | "insufficient_user_authentication" | "mfa_required")
    {
        return ErrorClass::StepUp { claims: None };
    }
    match error {
        "invalid_grant" => match suberror {
            "bad_token" | "token_expired" => ErrorClass::SubjectToken,
            "message_only" | "protection_policy_required" | "device_authentication_failed" => {
                ErrorClass::Blocked
            }
            "basic_action" | "additional_action" => ErrorClass::StepUp { claims: None },
            _ => ErrorClass::SignIn,
        },
        "login_required" => ErrorClass::SignIn,
        // Keycloak says it when the gateway is missing from the subject token's audience.
        "access_denied" if description.starts_with("Client is not within") => ErrorClass::Misconfigured,
        "access_denied" => ErrorClass::Blocked,
        _ => ErrorClass::Misconfigured,
    }
}

// Codes by class, from Entra's list of error codes.
const TRANSIENT: &[u64] = &[90033, 90006, 90024, 50033, 50087, 90012, 40008, 40010];
const ADMIN_CONSENT: &[u64] = &[90094, 90095];
const SUBJECT_TOKEN: &[u64] = &[50013, 500131, 500133, 50027, 240002];
const SIGN_IN: &[u64] = &[50055, 50058, 50132, 50133, 50173, 70043, 70008, 700_082, 700_084, 40009, 40015];
const MISCONFIGURED: &[u64] = &[
    650_052, 650_054, 650_056, 650_057, 65005, 500_011, 70011, 28002, 700_023, 700_022, 700_016, 700_011,
    7_000_215, 7_000_222, 7_000_218, 700_027, 700_024, 700_021, 70021, 700_229, 7_000_112, 7_000_114, 70003,
    9_001_023, 901_002, 9_010_010, 90009, 50146, 50003, 82014,
];
const STEP_UP: &[u64] = &[50076, 50079, 50072, 50074, 50078, 50097, 50129, 53000, 53001, 50131, 50158];
const BLOCKED: &[u64] = &[
    65004, 53002, 53003, 53004, 53010, 53011, 530_032, 530_034, 530_035, 50105, 50057, 50020, 500_212,
    500_213, 90002, 900_382, 900_432, 1_000_104,
];

fn codes(members: &Map<String, Value>) -> Vec<u64> {
    match members.get("error_codes") {
        Some(Value::Array(codes)) => codes.iter().filter_map(Value::as_u64).take(CODES_MAX).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{DATE, RETRY_AFTER};
    use http::{HeaderMap, HeaderValue};
    use serde_json::json;

    fn answer(status: u16, body: &Value) -> OutboundAnswer {
        let status = StatusCode::from_u16(status).expect("a status of the test");
        OutboundAnswer { status, headers: HeaderMap::new(), body: body.to_string().into_bytes() }
    }

    #[track_caller]
    fn check(status: u16, body: Value, expected: ErrorClass) {
        assert_eq!(ErrorResponse::read(&answer(status, &body)).class, expected, "{status} {body}");
    }

    fn entra(error: &str, code: u64) -> Value {
        json!({"error": error, "error_codes": [code], "error_description": format!("AADSTS{code}: …")})
    }

    #[test]
    fn entra_errors_come_down_to_who_must_act() {
        check(400, entra("invalid_grant", 65001), ErrorClass::Consent);
        check(400, json!({"error": "invalid_grant", "suberror": "consent_required"}), ErrorClass::Consent);
        check(400, entra("invalid_grant", 90094), ErrorClass::AdminConsent);
        check(400, entra("invalid_grant", 50013), ErrorClass::SubjectToken);
        check(400, entra("invalid_grant", 500_133), ErrorClass::SubjectToken);
        check(400, entra("invalid_grant", 50105), ErrorClass::Blocked);
        check(400, entra("invalid_grant", 50173), ErrorClass::SignIn);
        check(400, entra("invalid_grant", 1), ErrorClass::SignIn);
        check(400, entra("interaction_required", 50076), ErrorClass::StepUp { claims: None });
        check(401, entra("invalid_client", 7_000_215), ErrorClass::Misconfigured);
        check(400, entra("invalid_scope", 70011), ErrorClass::Misconfigured);
        check(400, entra("unauthorized_client", 700_016), ErrorClass::Misconfigured);
        check(400, entra("invalid_grant", 90033), ErrorClass::Unavailable { retry_after: None });
        // The code says more than the word beside it.
        check(400, entra("interaction_required", 50058), ErrorClass::SignIn);
        check(400, entra("invalid_grant", 65005), ErrorClass::Misconfigured);
        check(400, entra("invalid_grant", 50146), ErrorClass::Misconfigured);
    }

    #[test]
    fn every_code_has_one_class() {
        let lists = [TRANSIENT, ADMIN_CONSENT, SUBJECT_TOKEN, STEP_UP, BLOCKED, SIGN_IN, MISCONFIGURED];
        let mut all: Vec<u64> = lists.concat();
        all.extend([LOOP_DETECTED, CONSENT]);
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn a_claims_demand_is_passed_on_as_it_came() {
        let claims = r#"{"access_token":{"capolids":{"essential":true,"values":["x"]}}}"#;
        let mut body = entra("invalid_grant", 50076);
        body["claims"] = json!(claims);
        check(400, body.clone(), ErrorClass::StepUp { claims: Some(claims.to_owned()) });
        body["claims"] = json!("x".repeat(CLAIMS_BYTES_MAX + 1));
        check(400, body, ErrorClass::StepUp { claims: None });
    }

    #[test]
    fn throttling_is_never_sign_in_again() {
        check(
            400,
            entra("invalid_grant", 50196),
            ErrorClass::Throttled { retry_after: Some(LOOP_RETRY_AFTER) },
        );
        let mut throttled = answer(429, &json!({}));
        throttled.headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
        let class = ErrorResponse::read(&throttled).class;
        assert_eq!(class, ErrorClass::Throttled { retry_after: Some(Duration::from_secs(7)) });
        throttled.headers.insert(RETRY_AFTER, HeaderValue::from_static("99999999"));
        let class = ErrorResponse::read(&throttled).class;
        assert_eq!(class, ErrorClass::Throttled { retry_after: Some(RETRY_AFTER_MAX) });
    }

    #[test]
    fn a_date_to_come_back_at_is_counted_by_the_servers_own_clock() {
        let mut throttled = answer(429, &json!({}));
        let mut check = |retry_after: &'static str, expected: Option<u64>| {
            throttled.headers.insert(DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
            throttled.headers.insert(RETRY_AFTER, HeaderValue::from_static(retry_after));
            let expected = ErrorClass::Throttled { retry_after: expected.map(Duration::from_secs) };
            assert_eq!(ErrorResponse::read(&throttled).class, expected, "{retry_after}");
        };
        check("Sun, 06 Nov 1994 08:50:07 GMT", Some(30));
        check("Sun, 06 Nov 1994 08:00:00 GMT", Some(0));
        check("Fri, 06 Nov 2026 08:49:37 GMT", Some(RETRY_AFTER_MAX.as_secs()));
        check("soon", None);
        check("-1", None);
    }

    #[test]
    fn keycloak_errors_come_down_to_who_must_act() {
        let keycloak = |error, description| json!({"error": error, "error_description": description});
        check(400, keycloak("invalid_request", "Invalid token"), ErrorClass::SubjectToken);
        check(
            400,
            keycloak("invalid_request", "Requested audience not available: x"),
            ErrorClass::Misconfigured,
        );
        check(
            403,
            keycloak("access_denied", "Client is not within the token audience"),
            ErrorClass::Misconfigured,
        );
        check(
            400,
            keycloak("invalid_scope", "Missing consents for Token Exchange in client x"),
            ErrorClass::Consent,
        );
        check(400, keycloak("invalid_scope", "Invalid scopes: x"), ErrorClass::Misconfigured);
    }

    #[test]
    fn an_answer_that_says_nothing_is_classed_by_its_status() {
        let page = |status| OutboundAnswer {
            status: StatusCode::from_u16(status).expect("a status of the test"),
            headers: HeaderMap::new(),
            body: b"<html>\xff".to_vec(),
        };
        assert_eq!(ErrorResponse::read(&page(502)).class, ErrorClass::Unavailable { retry_after: None });
        assert_eq!(ErrorResponse::read(&page(302)).class, ErrorClass::Misconfigured);
        assert_eq!(ErrorResponse::read(&page(404)).class, ErrorClass::Misconfigured);
    }

    #[test]
    fn words_from_outside_are_made_safe() {
        let refused = ErrorResponse::read(&answer(
            400,
            &json!({"error": "bad\r\n\u{1b}[31m\"é\"", "correlation_id": "c-1"}),
        ));
        assert_eq!(refused.error.as_str(), "bad[31m");
        assert_eq!(refused.correlation_id.map(|id| id.to_string()), Some("c-1".to_owned()));
        assert_eq!(Word::new(&"x".repeat(10_000)).as_str().len(), WORD_BYTES_MAX);
    }
}
