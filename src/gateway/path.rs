//! Request paths: canonical, or refused.
//!
//! Policy decides about a path and the connector acts on one. They must be the same path to every reader in
//! between, so whatever two readers could take differently is refused rather than repaired.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

/// Longest path that is read, in bytes: what common servers take.
const PATH_BYTES_MAX: usize = 8_192;
/// Most segments that are read: deeper than any REST API, shallow enough to look up prefix by prefix.
const SEGMENTS_MAX: usize = 64;

/// A path that every reader takes alike: the proof that the checks of [`CanonicalPath::parse`] have passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CanonicalPath<'a>(&'a str);

/// Why a path is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathError {
    /// It does not begin with a slash.
    #[error("does not begin with `/`")]
    NotAbsolute,
    /// It is too long.
    #[error("is longer than {PATH_BYTES_MAX} bytes")]
    TooLong,
    /// It has too many segments.
    #[error("has more than {SEGMENTS_MAX} segments")]
    TooDeep,
    /// It has `//` in it.
    #[error("has an empty segment (`//`)")]
    EmptySegment,
    /// It has a segment `.` or `..`.
    #[error("has a `.` or `..` segment")]
    DotSegment,
    /// It has a character that must not stand there as it is.
    #[error("has a character that is not allowed in a path: {0:?}")]
    Character(char),
    /// It has a `%` without two hexadecimal digits.
    #[error("has a broken percent encoding")]
    BrokenEncoding,
    /// It encodes something that could be read as more than a plain character, or that needs no encoding.
    #[error("percent-encodes {0:?}, which readers take differently")]
    AmbiguousEncoding(char),
    /// What it encodes is not UTF-8.
    #[error("percent-encodes bytes that are not UTF-8")]
    NotUtf8,
}

impl<'a> CanonicalPath<'a> {
    /// Checks a path, without its query.
    ///
    /// Refused are `//`, `.` and `..`, `\` and `;` in any form, broken or needless percent encodings, encoded
    /// slashes, percent signs that encode an encoding, control characters, and what is not UTF-8.
    ///
    /// # Errors
    ///
    /// [`PathError`] says what is ambiguous, or too long.
    pub fn parse(path: &'a str) -> Result<Self, PathError> {
        if path.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        let Some(segments) = path.strip_prefix('/') else { return Err(PathError::NotAbsolute) };
        if segments.is_empty() {
            return Ok(Self(path));
        }
        let mut rest = segments;
        for count in 1.. {
            if count > SEGMENTS_MAX {
                return Err(PathError::TooDeep);
            }
            let Some((segment, following)) = rest.split_once('/') else {
                // The last segment may be empty: a trailing slash.
                check_segment(rest)?;
                break;
            };
            if segment.is_empty() {
                return Err(PathError::EmptySegment);
            }
            check_segment(segment)?;
            rest = following;
        }
        Ok(Self(path))
    }

    /// The path.
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// The path with its percent-encodings decoded. No slash appears by it, and no second decoding changes it: paths
    /// for which that is not so are not canonical.
    pub fn decoded(&self) -> Cow<'a, str> {
        match self.0.contains('%') {
            true => percent_decode_str(self.0).decode_utf8_lossy(),
            false => Cow::Borrowed(self.0),
        }
    }

    /// What follows `prefix`, when this path lies under it: empty, or beginning with a slash.
    pub fn under(&self, prefix: &ConnectorPath) -> Option<CanonicalPath<'a>> {
        if prefix.0.as_ref() == "/" {
            return Some(*self);
        }
        match self.0.strip_prefix(prefix.0.as_ref()) {
            Some("") => Some(Self("/")),
            Some(rest) if rest.starts_with('/') => Some(Self(rest)),
            _ => None,
        }
    }

    /// This path and each path above it, the longest first: `/a/b`, `/a`, `/`.
    pub fn prefixes(&self) -> impl Iterator<Item = &'a str> {
        std::iter::successors(Some(self.0), |path| match path.rfind('/') {
            Some(0) if path.len() > 1 => Some("/"),
            Some(0) | None => None,
            Some(end) => Some(&path[..end]),
        })
    }
}

fn check_segment(segment: &str) -> Result<(), PathError> {
    if segment == "." || segment == ".." {
        return Err(PathError::DotSegment);
    }
    let bytes = segment.as_bytes();
    if bytes.iter().all(|byte| is_plain(*byte)) {
        return Ok(());
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte != b'%' {
            if !is_plain(byte) {
                let character = segment[at..].chars().next().unwrap_or(char::REPLACEMENT_CHARACTER);
                return Err(PathError::Character(character));
            }
            decoded.push(byte);
            at += 1;
            continue;
        }
        let digits = bytes.get(at + 1..at + 3).ok_or(PathError::BrokenEncoding)?;
        let octet = hex(digits[0])? << 4 | hex(digits[1])?;
        match octet {
            // Encoded, these are separators to one reader and text to another; or they need no encoding, and so
            // hide a literal name from whoever compares without decoding (RFC 3986 section 6.2.2.2).
            0..=0x1f | 0x7f | b'/' | b'\\' | b';' => return Err(PathError::AmbiguousEncoding(octet.into())),
            _ if is_unreserved(octet) => return Err(PathError::AmbiguousEncoding(octet.into())),
            // `%25` followed by two digits would mean something else to whoever decodes twice.
            b'%' if matches!(bytes.get(at + 3..at + 5), Some([a, b]) if hex(*a).is_ok() && hex(*b).is_ok()) =>
            {
                return Err(PathError::AmbiguousEncoding('%'));
            }
            _ => decoded.push(octet),
        }
        at += 3;
    }
    match std::str::from_utf8(&decoded) {
        Ok(text) => match text.chars().find(|character| character.is_control()) {
            Some(control) => Err(PathError::AmbiguousEncoding(control)),
            None => Ok(()),
        },
        Err(_) => Err(PathError::NotUtf8),
    }
}

/// A character that may stand in a segment as it is: RFC 3986 `pchar`, without `;`, which some servers take as
/// the end of the segment.
fn is_plain(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@')
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn hex(digit: u8) -> Result<u8, PathError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(PathError::BrokenEncoding),
    }
}

/// The path under which a connector is called: canonical, without a trailing slash (but for `/` itself).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ConnectorPath(Arc<str>);

/// Why a connector's path is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConnectorPathError {
    /// No request could have such a path.
    #[error("{0}")]
    NotCanonical(#[from] PathError),
    /// It ends with a slash.
    #[error("must not end with `/`")]
    TrailingSlash,
    /// It belongs to the gateway itself.
    #[error("lies under /.well-known, which belongs to the gateway itself")]
    Reserved,
}

impl std::str::FromStr for ConnectorPath {
    type Err = ConnectorPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = CanonicalPath::parse(text)?;
        if text.len() > 1 && text.ends_with('/') {
            return Err(ConnectorPathError::TrailingSlash);
        }
        if path.prefixes().any(|prefix| prefix == "/.well-known") {
            return Err(ConnectorPathError::Reserved);
        }
        Ok(Self(text.into()))
    }
}

impl ConnectorPath {
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConnectorPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Result<(), PathError>) {
        assert_eq!(CanonicalPath::parse(path).map(|_| ()), expected, "{path:?}");
    }

    #[test]
    fn ordinary_paths_are_canonical() {
        for path in [
            "/",
            "/mail/me/messages",
            "/mail/me/messages/",
            "/a/b(id='x')/$value",
            "/users/ada@example.test",
            "/files/caf%C3%A9",
            "/files/caf%c3%a9",
            "/search/100%25",
            "/search/a%20b",
            "/q/%3F%23",
            "/..a/b..",
        ] {
            check(path, Ok(()));
        }
    }

    #[test]
    fn what_two_readers_could_take_differently_is_refused() {
        check("", Err(PathError::NotAbsolute));
        check("*", Err(PathError::NotAbsolute));
        check("//mail", Err(PathError::EmptySegment));
        check("/mail//me", Err(PathError::EmptySegment));
        check("/mail/../admin", Err(PathError::DotSegment));
        check("/mail/./me", Err(PathError::DotSegment));
        check("/mail/..", Err(PathError::DotSegment));
        check("/mail/%2e%2e/admin", Err(PathError::AmbiguousEncoding('.')));
        check("/mail/%2E./admin", Err(PathError::AmbiguousEncoding('.')));
        check("/mail/a%2Fb", Err(PathError::AmbiguousEncoding('/')));
        check("/mail/a%5cb", Err(PathError::AmbiguousEncoding('\\')));
        check("/mail/a\\b", Err(PathError::Character('\\')));
        check("/mail/..;/admin", Err(PathError::Character(';')));
        check("/mail/me;x=1", Err(PathError::Character(';')));
        check("/mail/me%3bx", Err(PathError::AmbiguousEncoding(';')));
        check("/mail/%00", Err(PathError::AmbiguousEncoding('\0')));
        check("/mail/%0d%0a", Err(PathError::AmbiguousEncoding('\r')));
        check("/mail/%7f", Err(PathError::AmbiguousEncoding('\u{7f}')));
        check("/mail/%C2%85", Err(PathError::AmbiguousEncoding('\u{85}')));
        check("/mail/%6De", Err(PathError::AmbiguousEncoding('m')));
        check("/mail/%252e%252e", Err(PathError::AmbiguousEncoding('%')));
        check("/mail/%252F", Err(PathError::AmbiguousEncoding('%')));
        check("/mail/%c0%ae", Err(PathError::NotUtf8));
        check("/mail/%ff", Err(PathError::NotUtf8));
        check("/mail/%", Err(PathError::BrokenEncoding));
        check("/mail/%4", Err(PathError::BrokenEncoding));
        check("/mail/%zz", Err(PathError::BrokenEncoding));
        check("/mail/a b", Err(PathError::Character(' ')));
        check("/mail/é", Err(PathError::Character('é')));
        check("/mail/{id}", Err(PathError::Character('{')));
    }

    #[test]
    fn the_bounds_hold() {
        check(&format!("/{}", "a".repeat(PATH_BYTES_MAX)), Err(PathError::TooLong));
        check(&"/a".repeat(SEGMENTS_MAX), Ok(()));
        check(&"/a".repeat(SEGMENTS_MAX + 1), Err(PathError::TooDeep));
    }

    #[test]
    fn a_prefix_ends_where_a_segment_ends() {
        let mail: ConnectorPath = "/mail".parse().expect("a path of the test");
        let under =
            |path| CanonicalPath::parse(path).expect("a path of the test").under(&mail).map(|rest| rest.0);
        assert_eq!(under("/mail/me"), Some("/me"));
        assert_eq!(under("/mail/"), Some("/"));
        assert_eq!(under("/mail"), Some("/"));
        assert_eq!(under("/mailbox"), None);
        assert_eq!(under("/Mail/me"), None);
    }

    #[test]
    fn prefixes_come_longest_first() {
        let path = CanonicalPath::parse("/a/b/c").expect("a path of the test");
        assert_eq!(path.prefixes().collect::<Vec<_>>(), ["/a/b/c", "/a/b", "/a", "/"]);
        let root = CanonicalPath::parse("/").expect("a path of the test");
        assert_eq!(root.prefixes().collect::<Vec<_>>(), ["/"]);
    }

    #[test]
    fn a_connectors_path_is_canonical_and_its_own() {
        assert_eq!("/mail/".parse::<ConnectorPath>(), Err(ConnectorPathError::TrailingSlash));
        assert_eq!("/.well-known/x".parse::<ConnectorPath>(), Err(ConnectorPathError::Reserved));
        assert!("mail".parse::<ConnectorPath>().is_err());
        assert!("/".parse::<ConnectorPath>().is_ok());
    }
}
