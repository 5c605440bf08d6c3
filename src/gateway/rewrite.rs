//! The agent's credentials off, the delegated token on.
//!
//! What reaches the connector is a positive list: headers about content, conditions and negotiation, and those that
//! the connector's configuration names. Anything that says who somebody is stays behind whatever it is called, and
//! so do headers that would make the connector do something else than was judged (`X-HTTP-Method-Override`). Ours
//! are added last, so nothing the agent sends can remove them.

use std::collections::HashSet;
use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, AUTHORIZATION,
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, GetAll, HeaderMap, HeaderName, HeaderValue, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PROXY_AUTHENTICATE, RANGE, SERVER,
    SET_COOKIE, TE, TRANSFER_ENCODING, UPGRADE, VIA, WWW_AUTHENTICATE,
};
use http::{Method, Request, Response, StatusCode, Version};

use super::confirmation::Cleared;
use super::request::RequestError;
use super::tool_call::Onward;
use crate::audit::RequestId;
use crate::credential::Credential;
use crate::identity::Caller;
use crate::tool::IdentityMode;

/// Names of headers. Agents and connectors look them up by names of their choosing, but add none.
type HeaderNames = HashSet<HeaderName, foldhash::fast::RandomState>;

/// Request headers that every connector gets.
static PASSED: LazyLock<HeaderNames> = LazyLock::new(|| {
    [
        // Content and negotiation.
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-range",
        "content-type",
        "pragma",
        "prefer",
        "range",
        "user-agent",
        "digest",
        "content-digest",
        "repr-digest",
        "want-content-digest",
        // Conditions.
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        // Repetition and resumption.
        "idempotency-key",
        "last-event-id",
        // Correlation: identifiers of requests, never of people.
        "traceparent",
        "tracestate",
        "x-request-id",
        "x-correlation-id",
        "client-request-id",
        "return-client-request-id",
        // OData, as Microsoft Graph speaks it.
        "consistencylevel",
        "odata-version",
        "odata-maxversion",
        "odata-isolation",
        "x-ms-throttle-priority",
    ]
    .into_iter()
    .map(HeaderName::from_static)
    .collect()
});

/// What an agent says of the bytes of its body (RFC 9530, and the `Digest` of RFC 3230 before it): not true of a body that
/// was written anew.
const OF_SENT_BYTES: [HeaderName; 3] = [
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// Hop-by-hop headers (RFC 9110 section 7.6.1), beside those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Answer headers that stay with us: the connector's own sign-in demands and sessions are no business of the
/// agent's, and its transport is not ours.
const KEPT_BACK: [HeaderName; 18] = [
    // A connector that echoes them would hand our delegated token to the agent.
    AUTHORIZATION,
    HeaderName::from_static("proxy-authorization"),
    SET_COOKIE,
    WWW_AUTHENTICATE,
    PROXY_AUTHENTICATE,
    SERVER,
    HeaderName::from_static("authentication-info"),
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("alt-svc"),
    HeaderName::from_static("set-cookie2"),
    // An agent would take it for ours, and every proof with it would be refused.
    HeaderName::from_static("dpop-nonce"),
    // Which pages may read an answer is for `allowed_origins` to say.
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
    HeaderName::from_static("access-control-allow-private-network"),
];

/// Every header that is removed from an answer: those of one hop, those kept back, and those that are the gateway's own to set.
static REMOVED_FROM_ANSWERS: LazyLock<HeaderNames> =
    LazyLock::new(|| HOP_BY_HOP.into_iter().chain(KEPT_BACK).chain([IDENTITY_MODE, REQUEST_ID]).collect());

/// Headers that a message of MCP has no use for, and with which a server might answer a part of it, or something else.
const NOT_OF_MESSAGES: [HeaderName; 8] = [
    CONTENT_ENCODING,
    RANGE,
    IF_RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    // Where a stream is resumed it is among `own_headers`.
    HeaderName::from_static("last-event-id"),
];

/// Tells agents whose identity the connector saw.
const IDENTITY_MODE: HeaderName = HeaderName::from_static("obo-identity-mode");
/// Tells agents, and connectors, the call's identifier.
const REQUEST_ID: HeaderName = HeaderName::from_static("obo-request-id");

/// A request as the connector will see it: written anew from what was judged, with a credential on it. Only
/// [`delegate`] makes one, and only this can be forwarded.
pub struct Delegated {
    method: Method,
    target: String,
    headers: HeaderMap,
}

impl Delegated {
    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Path and query, to be appended to the connector's own address.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The headers, the credential among them.
    pub fn into_headers(self) -> HeaderMap {
        self.headers
    }
}

/// Takes the agent's credentials off a request that was cleared and puts `credential` on. `onward` takes the place of what the agent sent;
/// `pass_headers` are let through beside the standard ones.
///
/// # Errors
///
/// [`RequestError::TokenMisplaced`] when the caller's own token stands in the address.
pub fn delegate(
    request: &Request<()>,
    onward: &Onward,
    pass_headers: &[HeaderName],
    cleared: &Cleared,
    credential: &Credential,
    request_id: RequestId,
) -> Result<Delegated, RequestError> {
    let caller = cleared.permit().caller();
    let target = target(request, onward);
    if caller.has_token_within(target.as_bytes()) {
        return Err(RequestError::TokenMisplaced);
    }
    let inbound = request.headers();
    let mut headers = passed(inbound, onward, pass_headers, caller);
    if has_member(&inbound.get_all(TE), "trailers") {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    for (name, value) in &onward.headers {
        headers.insert(name.clone(), value.clone());
    }
    headers.insert(VIA, via(request.version()));
    set_request_id(&mut headers, request_id);
    // RFC 9110 section 7.6.1: headers that `Connection` names belong to this hop only. An agent must not be able to
    // use it to strip the header we are about to add, so we remove first and add last.
    headers.insert(AUTHORIZATION, credential.authorization().clone());
    Ok(Delegated { method: request.method().clone(), target, headers })
}

/// Path and query as they go on.
pub fn target(request: &Request<()>, onward: &Onward) -> String {
    let Onward { path, query, .. } = onward;
    match query.as_deref().or(request.uri().query()) {
        Some(query) => [path, "?", query].concat(),
        None => path.to_string(),
    }
}

/// What of the agent's headers goes on.
pub fn passed(
    inbound: &HeaderMap,
    onward: &Onward,
    pass_headers: &[HeaderName],
    caller: &Caller,
) -> HeaderMap {
    let Onward { body_is_anew, is_message, .. } = onward;
    let mut headers = HeaderMap::with_capacity(inbound.len() + 3);
    let connection = inbound.get_all(CONNECTION);
    for (name, value) in inbound {
        // The name as we have it ourselves: to copy that one costs nothing.
        let Some(name) = PASSED.get(name).or_else(|| pass_headers.iter().find(|passed| *passed == name))
        else {
            continue;
        };
        if *body_is_anew && OF_SENT_BYTES.contains(name) {
            continue;
        }
        if !has_member(&connection, name.as_str()) && !caller.has_token_within(value.as_bytes()) {
            headers.append(name.clone(), value.clone());
        }
    }
    if *is_message {
        NOT_OF_MESSAGES.iter().for_each(|name| _ = headers.remove(name));
    }
    headers
}

/// Whether a connector gets a header of this name, where `pass_headers` are let through beside the standard ones.
pub fn passes(name: &HeaderName, pass_headers: &[HeaderName]) -> bool {
    PASSED.contains(name) || pass_headers.contains(name)
}

/// Takes off what must not reach the agent. Also for trailers.
pub fn clean_response(headers: &mut HeaderMap) {
    let named: HeaderNames = headers
        .get_all(CONNECTION)
        .iter()
        // Most answers name none.
        .filter(|value| *value != "keep-alive" && *value != "close")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    // An answer has fewer headers than this list.
    let is_removed = |name: &&HeaderName| REMOVED_FROM_ANSWERS.contains(*name) || named.contains(*name);
    let removed: Vec<HeaderName> = headers.keys().filter(is_removed).cloned().collect();
    removed.iter().for_each(|name| _ = headers.remove(name));
}

/// Makes the connector's answer ours: cleaned, and marked with whose identity it was made with.
pub fn answer_headers<B>(response: &mut Response<B>, identity: IdentityMode, request_id: RequestId) {
    let status = response.status();
    let headers = response.headers_mut();
    clean_response(headers);
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110 section 15.5.2 wants a challenge; the connector's own would send the agent to another server.
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="obo-gateway""#));
    }
    headers.insert(IDENTITY_MODE, HeaderValue::from_static(identity.as_str()));
    set_request_id(headers, request_id);
}

/// Marks a request or an answer with the call's identifier.
pub fn set_request_id(headers: &mut HeaderMap, request_id: RequestId) {
    let value = HeaderValue::from_bytes(request_id.text().as_bytes());
    headers.insert(REQUEST_ID, value.expect("a request id is hexadecimal digits and a dash"));
}

/// Leaves out the body that an answer to HEAD does not have, but not its length (RFC 9110 section 9.3.2).
pub fn leave_out_body_for_head(response: &mut Response<Bytes>, method: &Method) {
    if method == Method::HEAD {
        let length = HeaderValue::from(response.body().len());
        response.headers_mut().insert(CONTENT_LENGTH, length);
        *response.body_mut() = Bytes::new();
    }
}

fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_10 => "1.0 obo-gateway",
        Version::HTTP_2 => "2 obo-gateway",
        _ => "1.1 obo-gateway",
    })
}

/// Whether a comma-separated list, in as many header lines as there are, has `member`, whatever its case.
fn has_member(list: &GetAll<'_, HeaderValue>, member: &str) -> bool {
    list.iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(member.as_bytes()))
    })
}
