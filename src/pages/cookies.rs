//! The two cookies: the session's, and the one by which a sign-in comes back to the browser that began it.
//!
//! With `__Host-` a browser takes them from this host alone, over https, for all of it: no sibling domain can plant one
//! (RFC 6265bis section 4.1.3.2). Over plain http, which is loopback for development, there is no such thing.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use super::settings::PagesSettings;

/// Longest value that is read. A sealed sign-in has some 600 bytes.
const VALUE_BYTES_MAX: usize = 4_096;

/// One of the cookies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cookie {
    /// Whose session it is. It ends with the browser.
    Session,
    /// The sign-in that is under way. It ends by itself.
    Flow,
}

impl Cookie {
    const fn name(self, is_secure: bool) -> &'static str {
        match (self, is_secure) {
            (Self::Session, true) => "__Host-obo-session",
            (Self::Session, false) => "obo-session",
            (Self::Flow, true) => "__Host-obo-flow",
            (Self::Flow, false) => "obo-flow",
        }
    }

    /// What the browser sent. `None` as well when it sent several, of which one is not ours.
    pub fn read(self, headers: &HeaderMap, settings: &PagesSettings) -> Option<String> {
        let name = self.name(settings.is_secure());
        let sent = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let mut values = sent
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().strip_prefix(name)?.strip_prefix('='));
        match (values.next(), values.next()) {
            (Some(value), None) if value.len() <= VALUE_BYTES_MAX => Some(value.to_owned()),
            (Some(_), None) | (None, _) | (_, Some(_)) => None,
        }
    }

    /// Has the browser keep `value`, for `seconds` or as long as it runs.
    pub fn set(self, value: &str, seconds: Option<u64>, settings: &PagesSettings) -> HeaderValue {
        let name = self.name(settings.is_secure());
        let age = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
        let secure = if settings.is_secure() { "; Secure" } else { "" };
        let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{age}{secure}");
        HeaderValue::from_str(&cookie).expect("values are base64url")
    }

    /// Has the browser drop it.
    pub fn clear(self, settings: &PagesSettings) -> HeaderValue {
        self.set("", Some(0), settings)
    }
}
