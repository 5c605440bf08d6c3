//! An answer to a browser, with the header that keeps it in its place.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, RETRY_AFTER,
    SET_COOKIE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

/// The stylesheet.
pub const STYLE: &str = include_str!("templates/style.css");

/// Nothing is loaded but the stylesheet, nothing runs, forms go nowhere else, and nobody frames it (CSP level 3).
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What is sent back.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    body: Bytes,
    content_type: &'static str,
    cache: &'static str,
    location: Option<HeaderValue>,
    allow: Option<&'static str>,
    retry_after: Option<u64>,
    cookies: Vec<HeaderValue>,
}

impl Reply {
    /// A page.
    pub fn page(status: StatusCode, html: String) -> Self {
        Self {
            status,
            body: html.into(),
            content_type: "text/html; charset=utf-8",
            cache: "no-store",
            location: None,
            allow: None,
            retry_after: None,
            cookies: Vec::new(),
        }
    }

    /// The stylesheet. Its address changes with it.
    pub fn style() -> Self {
        let body = Bytes::from_static(STYLE.as_bytes());
        let (content_type, cache) = ("text/css; charset=utf-8", "public, max-age=86400");
        Self { body, content_type, cache, ..Self::page(StatusCode::OK, String::new()) }
    }

    /// Sends the browser on, to read what is there. `address` is one that the gateway has made or was configured with, never
    /// one that came with a request.
    pub fn see_other(address: &str) -> Self {
        let location = HeaderValue::from_str(address).expect("addresses are ASCII without controls");
        Self { location: Some(location), ..Self::page(StatusCode::SEE_OTHER, String::new()) }
    }

    /// The same, and the browser keeps or drops a cookie.
    pub fn with_cookie(mut self, cookie: HeaderValue) -> Self {
        self.cookies.push(cookie);
        self
    }

    /// The same, with the method that there is.
    pub fn allowing(mut self, allow: Option<&'static str>) -> Self {
        self.allow = allow;
        self
    }

    /// The same, with the seconds to wait.
    pub fn after(mut self, seconds: Option<u64>) -> Self {
        self.retry_after = seconds;
        self
    }

    /// As it is sent.
    pub fn into_response(self) -> Response<Bytes> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(self.cache));
        keep_in_place(headers);
        headers.extend(self.location.map(|location| (LOCATION, location)));
        headers.extend(self.allow.map(|allow| (ALLOW, HeaderValue::from_static(allow))));
        headers.extend(self.retry_after.map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds))));
        for cookie in self.cookies {
            headers.append(SET_COOKIE, cookie);
        }
        response
    }
}

fn keep_in_place(headers: &mut HeaderMap) {
    let fixed = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // For browsers that do not know `frame-ancestors`.
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
