//! URIs of resources: written in the one way that everybody reads alike, or refused.
//!
//! Policy compares a URI as it is written, and servers resolve it: whoever is let into `file:///shared/*` must not get out
//! of it by `file:///shared/../private`, and what is denied must not be had by another spelling.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// How often a URI may be encoded over and over. One that holds another one is encoded twice.
const ENCODINGS_MAX: usize = 4;

/// Whether a URI, or a template of URIs, is canonical as far as can be told without knowing its scheme.
///
/// Refused are `.` and `..` between slashes, encoded however often; `\` and control characters in any form; blanks at
/// either end; broken or needless percent-encodings; and a scheme in upper case (RFC 3986 section 6.2.2). Of `file` it is
/// known that an empty segment and `localhost` say nothing.
pub fn is_canonical(uri: &str) -> bool {
    let scheme = uri.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| is_scheme(scheme));
    scheme.is_none_or(|scheme| !scheme.bytes().any(|byte| byte.is_ascii_uppercase()))
        && uri.trim() == uri
        && !uri.chars().any(|character| character.is_control() || character == '\\')
        && uri.split('%').skip(1).all(is_needed_encoding)
        && uri.strip_prefix("file:").is_none_or(is_plain_file)
        && !has_dot_segment(uri)
}

/// RFC 3986 section 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// Whether what follows a `%` encodes something, and something that needs it.
fn is_needed_encoding(rest: &str) -> bool {
    let digits = rest.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let Some(octet) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else { return false };
    let is_unreserved = octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
    !is_unreserved && !octet.is_ascii_control() && octet != b'\\'
}

/// RFC 8089 section 2, in the form without a host.
fn is_plain_file(rest: &str) -> bool {
    rest.strip_prefix("///").is_some_and(|path| !path.starts_with('/') && !path.contains("//"))
}

/// Whether some reader would go up by it, or stay: one who decodes once, or again and again, or cuts off what follows a
/// `;`.
fn has_dot_segment(uri: &str) -> bool {
    let mut text = Cow::Borrowed(uri);
    for _ in 0..=ENCODINGS_MAX {
        let segments = text.split(['/', '\\']).map(|segment| segment.split(';').next().unwrap_or_default());
        if segments.into_iter().any(|segment| matches!(segment, "." | "..")) {
            return true;
        }
        let decoded = percent_decode_str(&text).decode_utf8_lossy();
        if *decoded == *text {
            return false;
        }
        text = Cow::Owned(decoded.into_owned());
    }
    // Nobody encodes that often who means well.
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(uri: &str, canonical: bool) {
        assert_eq!(is_canonical(uri), canonical, "{uri:?}");
    }

    #[test]
    fn a_uri_as_servers_write_it_is_canonical() {
        for uri in [
            "notes://summary",
            "file:///shared/a.txt",
            "file:///shared/My%20Documents/caf%C3%A9.txt",
            "file:///shared/.hidden/..x/x..",
            "https://example.com/a?path=../b#../c",
            "github://owner%2Frepo/README.md",
            "web://https%3A%2F%2Fexample.com%2Fa%2520b",
            "web:https://example.com/a",
            "urn:isbn:0451450523",
            "postgres://db/table/schema",
            "notes:///{id}",
            "file:///{+path}",
            "note 1",
            "ui://ä/ö",
            "Notes",
        ] {
            check(uri, true);
        }
    }

    #[test]
    fn a_uri_that_readers_take_differently_is_not() {
        for uri in [
            "file:///shared/../private/a",
            "file:///shared/./a",
            "file:///shared/..",
            "notes://a/../b",
            "file:///shared/%2e%2e/private",
            "file:///shared/%2E./private",
            "file:///shared/..%2fprivate",
            "file:///shared/%252e%252e/private",
            "file:///shared/%25252e%25252e%25252fprivate",
            "file:///shared/..;x/private",
            "file:///shared\\..\\private",
            "file:///shared/..%5cprivate",
            "file:///private%5Ca",
            "FILE:///private/a",
            "File:///private/a",
            "file:///%70rivate/a",
            "file:///private%2/a",
            "file:///private%zz",
            "file:///a%",
            "file:///private%00",
            "file:///private/a\u{0}",
            "file:///private/a\n",
            " file:///private/a",
            "file:///private/a ",
            "file:////private/a",
            "file:///shared//a",
            "file://localhost/private/a",
            "file:/private/a",
            "a:%2525252525252e",
        ] {
            check(uri, false);
        }
    }
}
