//! What pages in browsers may do: ask whether they may call (a preflight), and read the answers (the CORS protocol of
//! the Fetch standard).
//!
//! Tokens come in a header that a page has to set itself, and never by a cookie, so no answer allows credentials.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::{Method, Request, Response, StatusCode};

use super::rewrite;
use crate::audit::RequestId;

/// How long a browser may rely on the answer to a preflight, in seconds: long enough to spare most calls one, short
/// enough for an origin that is taken off the list to stay out soon. The calls themselves are judged one by one.
const PREFLIGHT_SECONDS: &str = "600";
/// Every method that is served. What a tool takes is decided when it is called.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// What scripts may read of an answer, beside what every script may.
const EXPOSED: &str =
    "WWW-Authenticate, DPoP-Nonce, Retry-After, Mcp-Session-Id, Obo-Request-Id, Obo-Identity-Mode";

/// Which pages may read an answer.
#[derive(Clone, Default, Debug)]
pub enum CorsAccess {
    /// None, whatever they are.
    #[default]
    None,
    /// None: pages of some origins may, and this call is from none of them.
    Others,
    /// Those of this origin.
    Of(HeaderValue),
    /// All: it says the same to everybody.
    All,
}

impl CorsAccess {
    /// Says so in the header of an answer.
    pub fn mark(&self, headers: &mut HeaderMap) {
        let origin = match self {
            Self::None => return,
            Self::Others => None,
            Self::Of(origin) => Some(origin.clone()),
            Self::All => Some(HeaderValue::from_static("*")),
        };
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
        if let Self::Others | Self::Of(_) = self {
            // What is kept for one origin must not be given to another.
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
    }
}

/// Whether a browser asks on behalf of a page whether it may call.
pub fn is_preflight(request: &Request<()>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight of a page that may call: with those of the headers it asks about that `may_send` lets
/// through.
pub fn answer_preflight(
    request: &Request<()>,
    request_id: RequestId,
    may_send: impl Fn(&HeaderName) -> bool,
) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let asked: Vec<HeaderName> = request
        .headers()
        .get_all(ACCESS_CONTROL_REQUEST_HEADERS)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| may_send(name))
        .collect();
    let asked: Vec<&str> = asked.iter().map(HeaderName::as_str).collect();
    let headers = response.headers_mut();
    rewrite::set_request_id(headers, request_id);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_SECONDS));
    if let Ok(allowed) = HeaderValue::from_str(&asked.join(", "))
        && !asked.is_empty()
    {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::super::request;
    use super::*;

    #[test]
    fn all_methods_that_are_served_may_be_asked_about() {
        assert_eq!(METHODS, request::METHODS.map(|method| method.to_string()).join(", "));
    }

    #[test]
    fn a_preflight_is_told_of_the_headers_that_pass_and_of_no_others() {
        let request = Request::options("/mail")
            .header(ACCESS_CONTROL_REQUEST_HEADERS, "authorization, x-evil")
            .header(ACCESS_CONTROL_REQUEST_HEADERS, "a b,mcp-method")
            .body(())
            .expect("a request");
        let answer = answer_preflight(&request, RequestId::next(), |name| name != "x-evil");
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_HEADERS], "authorization, mcp-method");
        let answer = answer_preflight(&request, RequestId::next(), |_| false);
        assert!(!answer.headers().contains_key(ACCESS_CONTROL_ALLOW_HEADERS));
    }

    #[test]
    fn only_the_pages_that_may_are_named() {
        let marked = |access: CorsAccess| {
            let mut headers = HeaderMap::new();
            headers.insert(VARY, HeaderValue::from_static("Accept"));
            access.mark(&mut headers);
            let origin = headers
                .get(ACCESS_CONTROL_ALLOW_ORIGIN)
                .map(|origin| origin.to_str().expect("text").to_owned());
            (origin, headers.get_all(VARY).iter().count())
        };
        assert_eq!(marked(CorsAccess::None), (None, 1));
        assert_eq!(marked(CorsAccess::Others), (None, 2));
        assert_eq!(marked(CorsAccess::All), (Some("*".to_owned()), 1));
        let of = HeaderValue::from_static("https://app.example");
        assert_eq!(marked(CorsAccess::Of(of)), (Some("https://app.example".to_owned()), 2));
    }
}
