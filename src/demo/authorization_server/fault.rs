//! Every way this server says no at its token endpoint, with the codes and bodies that Entra uses.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::respond::json_response;
use crate::demo::body::Body;
use crate::demo::{clock, random};

/// A refusal. With a code it is written as Entra writes it, without one as RFC 6749 section 5.2 has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    status: StatusCode,
    error: &'static str,
    code: Option<u32>,
    text: String,
    suberror: Option<&'static str>,
    claims: Option<String>,
}

impl Fault {
    /// A refusal in the words of RFC 6749.
    pub fn plain(error: &'static str, text: impl Into<String>) -> Self {
        let status =
            if error == "invalid_client" { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
        Self { status, error, code: None, text: text.into(), suberror: None, claims: None }
    }

    /// A refusal with an AADSTS code. `invalid_client` is 401, anything else 400.
    pub fn coded(error: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self { code: Some(code), ..Self::plain(error, text) }
    }

    /// The same refusal with another status.
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The same refusal with a suberror.
    pub fn with_suberror(self, suberror: &'static str) -> Self {
        Self { suberror: Some(suberror), ..self }
    }

    /// The same refusal with a claims challenge, a JSON text.
    pub fn with_claims(self, claims: impl Into<String>) -> Self {
        Self { claims: Some(claims.into()), ..self }
    }

    /// AADSTS65001: the person has not consented to the client for a scope.
    pub fn consent_missing(client_id: &str, client_name: &str) -> Self {
        let text = format!(
            "The user or administrator has not consented to use the application with ID '{client_id}' named \
             '{client_name}'. Send an interactive authorization request for this user and resource."
        );
        Self::coded("invalid_grant", 65001, text).with_suberror("consent_required")
    }

    /// AADSTS50076: policy asks for multi-factor authentication, and says so in a claims challenge.
    pub fn multi_factor_required(audience: &str, claims: impl Into<String>) -> Self {
        let text = format!(
            "Due to a configuration change made by your administrator, or because you moved to a new location, \
             you must use multi-factor authentication to access '{audience}'."
        );
        Self::coded("invalid_grant", 50076, text).with_suberror("basic_action").with_claims(claims)
    }

    /// AADSTS50105: the person is not assigned to the application.
    pub fn not_assigned(user_name: &str, audience: &str) -> Self {
        let text = format!(
            "Your administrator has configured the application '{audience}' to block users unless they are \
             specifically granted ('assigned') access to the application. The signed-in user '{user_name}' is \
             blocked because they are not a direct member of a group with access."
        );
        Self::coded("invalid_grant", 50105, text)
    }

    /// AADSTS53003: blocked by Conditional Access, with nothing the person could do.
    pub fn blocked() -> Self {
        let text = "Access has been blocked by Conditional Access policies. The access policy does not allow \
                    token issuance.";
        Self::coded("invalid_grant", 53003, text).with_suberror("message_only")
    }

    /// AADSTS50196: throttled, in Entra's misleading words.
    pub fn loop_detected() -> Self {
        let text = "The server terminated an operation because it encountered a client request loop while processing \
             a request. Please contact your app vendor.";
        Self::coded("invalid_grant", 50196, text)
    }

    /// AADSTS90033: a passing fault of the server.
    pub fn transient() -> Self {
        Self::coded("temporarily_unavailable", 90033, "A transient error has occurred. Please try again.")
            .with_status(StatusCode::SERVICE_UNAVAILABLE)
    }

    /// AADSTS900144: a parameter is missing.
    pub fn parameter_missing(name: &str) -> Self {
        let text = format!("The request body must contain the following parameter: '{name}'.");
        Self::coded("invalid_request", 900_144, text)
    }

    /// AADSTS50013: the assertion's signature or content is bad.
    pub fn bad_assertion(why: &str) -> Self {
        let text = format!("Assertion failed signature validation. [Reason - {why}]");
        Self::coded("invalid_grant", 50013, text).with_suberror("bad_token")
    }

    /// AADSTS500131: the assertion is for someone else.
    pub fn wrong_assertion_audience() -> Self {
        let text = "Assertion audience does not match the Client app presenting the assertion. The audience in \
                    the assertion was another application's.";
        Self::coded("invalid_grant", 500_131, text)
    }

    /// AADSTS500133: the assertion has expired, or is not valid yet.
    pub fn assertion_out_of_time() -> Self {
        let text = "Assertion is not within its valid time range. Ensure that the access token is not expired \
                    before using it for user assertion, or request a new token.";
        Self::coded("invalid_grant", 500_133, text).with_suberror("token_expired")
    }

    /// AADSTS240002: an ID token came where an access token is needed.
    pub fn id_token_used() -> Self {
        let text = "Input id_token cannot be used as 'urn:ietf:params:oauth:grant-type:jwt-bearer' grant.";
        Self::coded("invalid_grant", 240_002, text)
    }

    /// AADSTS7000114: there is no user in the assertion.
    pub fn app_only_assertion(client_id: &str) -> Self {
        let text =
            format!("Application '{client_id}' is not allowed to make application on-behalf-of calls.");
        Self::coded("unauthorized_client", 7_000_114, text)
    }

    /// AADSTS7000218: a confidential client came without proof.
    pub fn credential_missing() -> Self {
        let text = "The request body must contain the following parameter: 'client_assertion' or \
                    'client_secret'.";
        Self::coded("invalid_client", 7_000_218, text)
    }

    /// AADSTS7000215: the secret is wrong.
    pub fn wrong_secret(client_id: &str) -> Self {
        let text = format!(
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
             value, not the client secret ID, for a secret added to app '{client_id}'."
        );
        Self::coded("invalid_client", 7_000_215, text)
    }

    /// AADSTS700027: the client assertion is not one of the client's.
    pub fn bad_client_assertion(why: &str) -> Self {
        let text = format!("Client assertion failed signature validation. [Reason - {why}]");
        Self::coded("invalid_client", 700_027, text)
    }

    /// AADSTS700024: the client assertion is outside its time, or claims too much of it.
    pub fn client_assertion_out_of_time(why: &str) -> Self {
        let text = format!("Client assertion is not within its valid time range. [Reason - {why}]");
        Self::coded("invalid_client", 700_024, text)
    }

    /// AADSTS700021: the client assertion speaks for another client.
    pub fn client_assertion_of_another() -> Self {
        let text = "Client assertion application identifier doesn't match 'client_id' parameter.";
        Self::coded("invalid_client", 700_021, text)
    }

    /// AADSTS700016: no such client in the tenant.
    pub fn unknown_client(client_id: &str, tenant: &str) -> Self {
        let text = format!(
            "Application with identifier '{client_id}' was not found in the directory '{tenant}'. This can \
             happen if the application has not been installed by the administrator of the tenant or consented \
             to by any user in the tenant."
        );
        Self::coded("unauthorized_client", 700_016, text)
    }

    /// AADSTS70011: a scope is malformed, or its resource does not have it.
    pub fn bad_scope(scope: &str) -> Self {
        let text = format!(
            "The provided request must include a 'scope' input parameter. The provided value for the input \
             parameter 'scope' is not valid. The scope '{scope}' is not valid."
        );
        Self::coded("invalid_scope", 70011, text)
    }

    /// AADSTS700022: one request, two resources.
    pub fn two_resources(scope: &str) -> Self {
        let text = format!(
            "The provided value for the input parameter scope '{scope}' is not valid because it contains more \
             than one resource."
        );
        Self::coded("invalid_request", 700_022, text)
    }

    /// AADSTS500011: no such resource in the tenant.
    pub fn unknown_resource(resource: &str, tenant: &str) -> Self {
        let text =
            format!("The resource principal named {resource} was not found in the tenant named {tenant}.");
        Self::coded("invalid_resource", 500_011, text)
    }

    /// AADSTS9010010: `resource` and `scope` disagree.
    pub fn resource_unlike_scope() -> Self {
        let text = "The resource parameter provided in the request doesn't match with the requested scopes.";
        Self::coded("invalid_target", 9_010_010, text)
    }

    /// AADSTS90002: no such tenant.
    pub fn unknown_tenant(tenant: &str) -> Self {
        let text = format!(
            "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing \
             into the correct cloud."
        );
        Self::coded("invalid_request", 90002, text)
    }

    /// AADSTS70003: the grant is not one of ours.
    pub fn unsupported_grant(grant: &str) -> Self {
        let text = format!("The app requested an unsupported grant type '{grant}'.");
        Self::coded("unsupported_grant_type", 70003, text)
    }

    /// The value of `error`.
    pub fn error(&self) -> &'static str {
        self.error
    }

    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The AADSTS code, where there is one.
    pub fn code(&self) -> Option<u32> {
        self.code
    }

    /// The same refusal as a server knows it that never heard of AADSTS.
    pub(super) fn without_code(self) -> Self {
        // Entra calls an unknown client unauthorized; RFC 6749 section 5.2 calls it invalid.
        let (status, error) = match self.code {
            Some(700_016) => (StatusCode::UNAUTHORIZED, "invalid_client"),
            _ => (self.status, self.error),
        };
        Self { status, error, code: None, suberror: None, claims: None, ..self }
    }

    /// The answer. `request` is the head of what is refused, and lends it the correlation id.
    pub(super) fn answer(&self, request: &HeaderMap, origin: &str) -> Response<Body> {
        let Some(code) = self.code else {
            let mut response =
                json_response(self.status, &json!({ "error": self.error, "error_description": self.text }));
            if self.status == StatusCode::UNAUTHORIZED {
                let challenge = HeaderValue::from_static("Basic realm=\"token endpoint\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            }
            return response;
        };
        let (trace_id, timestamp) = (random::guid(), clock::entra_timestamp(clock::now()));
        let correlation_id = correlation_id(request);
        let mut body = json!({
            "error": self.error,
            "error_description": format!(
                "AADSTS{code}: {} Trace ID: {trace_id} Correlation ID: {correlation_id} Timestamp: {timestamp}",
                self.text
            ),
            "error_codes": [code],
            "timestamp": timestamp,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": format!("{origin}/error?code={code}"),
        });
        if let Some(suberror) = self.suberror {
            body["suberror"] = Value::from(suberror);
        }
        if let Some(claims) = &self.claims {
            body["claims"] = Value::from(claims.as_str());
        }
        let mut response = json_response(self.status, &body);
        for (name, value) in [("x-ms-request-id", &trace_id), ("client-request-id", &correlation_id)] {
            let value = HeaderValue::from_str(value).expect("an id here is letters, digits and hyphens");
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// The caller's own id for this request, if it looks like one.
fn correlation_id(request: &HeaderMap) -> String {
    request
        .get("client-request-id")
        .and_then(|id| id.to_str().ok())
        .filter(|id| id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'))
        .map_or_else(random::guid, str::to_owned)
}
