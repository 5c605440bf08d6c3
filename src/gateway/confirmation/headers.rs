//! The header fields of a call: those that a person is shown, and that an answer is bound to.

use http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, USER_AGENT,
};
use http::{HeaderName, HeaderValue, Request};

use crate::confirmation::{Content, Part};
use crate::digest::FieldDigest;
use crate::gateway::rewrite;
use crate::gateway::routes::Connector;
use crate::gateway::tool_call::ToolCall;
use crate::identity::Caller;

/// Headers that go on and say nothing about what is to be done: in which form the answer is wanted, and by what the request is
/// known. They differ from one try to the next. Whatever else goes on is shown, and an answer is bound to it.
const OF_THE_TRY: [HeaderName; 20] = [
    ACCEPT,
    ACCEPT_CHARSET,
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    CACHE_CONTROL,
    PRAGMA,
    USER_AGENT,
    HeaderName::from_static("want-content-digest"),
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-correlation-id"),
    HeaderName::from_static("client-request-id"),
    HeaderName::from_static("return-client-request-id"),
    // Of the body, which is shown itself.
    CONTENT_TYPE,
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// The header fields that go on and say something, by name.
pub(super) struct BoundHeaders(Vec<(HeaderName, HeaderValue)>);

impl BoundHeaders {
    /// Of a call.
    pub(super) fn of(
        request: &Request<()>,
        connector: &Connector,
        caller: &Caller,
        tool_call: &ToolCall,
    ) -> Self {
        let passed = rewrite::passed(request.headers(), &tool_call.onward, &connector.pass_headers, caller);
        let is_written = |name: &HeaderName| tool_call.onward.headers.iter().any(|(own, _)| own == name);
        let mut bound: Vec<_> = passed
            .iter()
            .filter(|(name, _)| !OF_THE_TRY.contains(name) && !is_written(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        // Of one name, they stay in their order.
        bound.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
        Self(bound)
    }

    /// Adds them to what an answer is bound to.
    pub(super) fn add_to(&self, digest: &mut FieldDigest) {
        digest.field(&(self.0.len() as u64).to_be_bytes());
        for (name, value) in &self.0 {
            digest.field(name.as_str().as_bytes());
            digest.field(value.as_bytes());
        }
    }

    /// As they are shown, where there are any.
    pub(super) fn shown(&self) -> Option<Part> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let fields: Vec<_> =
            self.0.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        (!fields.is_empty())
            .then(|| Part { heading: "Header fields".to_owned(), content: Content::Fields(fields) })
    }

    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }
}
