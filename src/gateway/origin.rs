//! Where a page in a browser is from.

use std::fmt;
use std::str::FromStr;

use http::HeaderValue;
use url::Url;

use crate::checked_url::{CheckedUrl, PlainHttp, UrlError};

/// An origin, as browsers write it into the `Origin` header (RFC 6454 section 6.2): scheme, host, and the port unless it
/// is the scheme's own.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// Why a text is no origin that could be let in.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OriginError {
    /// It would be any.
    #[error("would let in every page that anybody opens: list the origins that may call")]
    Any,
    /// It is what browsers send in place of an origin that they keep to themselves.
    #[error("is what sandboxed pages of any origin send: list the origins that may call")]
    Opaque,
    /// It is none.
    #[error("is not an origin: write scheme, host and port, like `https://app.example`")]
    NotAnOrigin,
    /// Browsers write it otherwise.
    #[error("would match nothing: write it as browsers send it, `{0}`")]
    NotAsSent(String),
    /// Anybody on the way can change what the page does.
    #[error("must be https, unless its host is loopback: whoever can change the page on its way could call")]
    PlainHttp,
}

impl Origin {
    /// Whether a header names it.
    pub fn is(&self, header: &HeaderValue) -> bool {
        self.0 == header
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "*" => return Err(OriginError::Any),
            "null" => return Err(OriginError::Opaque),
            _ => {}
        }
        let (scheme, host) = text.split_once("://").ok_or(OriginError::NotAnOrigin)?;
        if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http") {
            let url = Url::parse(text).map_err(|_| OriginError::NotAnOrigin)?;
            let sent = url.origin().ascii_serialization();
            if sent != text {
                return Err(OriginError::NotAsSent(sent));
            }
            if CheckedUrl::parse(text, PlainHttp::LoopbackOnly) == Err(UrlError::PlainHttp) {
                return Err(OriginError::PlainHttp);
            }
        } else if !is_plain(scheme) || !is_plain(host) {
            // Of a browser's extension, or of an editor's window: `chrome-extension://abc`.
            return Err(OriginError::NotAnOrigin);
        }
        HeaderValue::from_str(text).map(Self).map_err(|_| OriginError::NotAnOrigin)
    }
}

fn is_plain(part: &str) -> bool {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_');
    !part.is_empty() && part.bytes().all(fits)
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(), OriginError>) {
        assert_eq!(text.parse::<Origin>().map(|_| ()), expected, "{text}");
    }

    #[test]
    fn an_origin_is_written_as_browsers_send_it() {
        for sound in [
            "https://app.example",
            "https://app.example:8443",
            "http://localhost:3000",
            "http://127.0.0.1",
            "http://[::1]:8080",
            "https://xn--bcher-kva.example",
            "chrome-extension://abcdefgh",
            "vscode-webview://0a1b2c",
        ] {
            check(sound, Ok(()));
        }
        for (other, sent) in [
            ("https://app.example/", "https://app.example"),
            ("https://APP.example", "https://app.example"),
            ("https://app.example:443", "https://app.example"),
            ("https://app.example/page?a#b", "https://app.example"),
            ("https://me:pw@app.example", "https://app.example"),
            ("HTTPS://app.example", "https://app.example"),
        ] {
            check(other, Err(OriginError::NotAsSent(sent.to_owned())));
        }
    }

    #[test]
    fn no_entry_lets_in_everybody() {
        check("*", Err(OriginError::Any));
        check("null", Err(OriginError::Opaque));
        check("http://app.example", Err(OriginError::PlainHttp));
        for none in [
            "",
            "app.example",
            "https://",
            "file://",
            "https:app.example",
            "chrome-extension://a/b",
            "a://b c",
        ] {
            check(none, Err(OriginError::NotAnOrigin));
        }
    }
}
