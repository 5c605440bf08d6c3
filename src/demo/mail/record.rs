//! What the connector received, kept for tests to search.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri, Version, header};

/// Most bytes of one body that are kept: more than a tool call may have.
pub(super) const BODY_BYTES_KEPT: usize = 1 << 20;

/// One request. Its `Debug` shows names, not values.
#[derive(Clone)]
pub struct ReceivedRequest {
    /// The method.
    pub method: Method,
    /// The target, as it came.
    pub uri: Uri,
    /// The version of HTTP.
    pub version: Version,
    /// Every header field.
    pub headers: HeaderMap,
    /// The beginning of the body. Uploads are counted and not kept.
    pub body: Bytes,
    /// How long the body was.
    pub body_bytes: u64,
    /// Whether the body came to its proper end.
    pub body_complete: bool,
    /// The trailers, if any came.
    pub trailers: Option<HeaderMap>,
    /// Who the token spoke for, if there was a good one.
    pub caller: Option<Caller>,
    /// What it was answered, once it was: nothing while it waits, or if a script broke the connection.
    pub status: Option<StatusCode>,
}

/// Who a verified token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The person's object id; none for an application.
    pub person: Option<String>,
    /// The client the token was issued to.
    pub client_id: Option<String>,
    /// Delegated scopes, or the application's roles.
    pub permissions: Vec<String>,
}

impl ReceivedRequest {
    /// The token after `Bearer`, if there is exactly one Authorization header and it has one.
    pub fn bearer(&self) -> Option<String> {
        bearer(&self.headers).map(str::to_owned)
    }

    /// A header field that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether these bytes are anywhere in it: target, header names and values, body, trailers.
    pub fn contains(&self, needle: impl AsRef<[u8]>) -> bool {
        let needle = needle.as_ref();
        let is_in = |hay: &[u8]| {
            needle.is_empty() || hay.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle))
        };
        let fields = self.headers.iter().chain(self.trailers.iter().flatten());
        is_in(self.uri.to_string().as_bytes())
            || is_in(&self.body)
            || fields.into_iter().any(|(name, value)| is_in(name.as_ref()) || is_in(value.as_bytes()))
    }
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then_some(token)
}

impl fmt::Debug for ReceivedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedRequest")
            .field("method", &self.method)
            .field("path", &self.uri.path())
            .field("version", &self.version)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("body_bytes", &self.body_bytes)
            .field("body_complete", &self.body_complete)
            .field("caller", &self.caller)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
