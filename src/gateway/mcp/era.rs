//! Which revision of the protocol a message is of. There are two eras: up to 2025-11-25 a session begins with `initialize`;
//! since 2026-07-28 every request says all there is to know.
//!
//! The signs, and what holds where they disagree:
//!
//! | `MCP-Protocol-Version` | revision in `_meta` | the message is |
//! |---|---|---|
//! | none | none | of 2025-03-26, which had no such header |
//! | none | any | of the modern era, and lacks a header: the mirror says so |
//! | up to 2025-11-25 | none, or the same | of that revision |
//! | 2026-07-28 | none, or the same | of that revision, `Mcp-Session-Id` or not: the modern era has none and ignores it |
//! | another | none, or the same | refused: of the modern era if `_meta` has a revision, or the header a later one |
//! | any | not the same | refused: header and body differ |
//!
//! `initialize` under a header of the modern era is refused as well: it begins a session, and there are none. With a revision
//! of that era in `_meta` it is a method that is not known, as the others are that this era has no more. A response is refused
//! in the modern era, where servers ask nothing.

use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::META_PROTOCOL_VERSION;
use super::message::Message;
use super::method::Method;
use super::mirror::PROTOCOL_VERSION;

/// Longest name of a revision that an answer repeats. Revisions are dates.
const REQUESTED_BYTES_MAX: usize = 32;

/// How the protocol works.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Era {
    /// With sessions, up to 2025-11-25.
    Legacy,
    /// Without, since 2026-07-28.
    Modern,
}

/// A revision of the protocol that is served.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ProtocolVersion {
    /// 2025-03-26, which is meant where nothing is said.
    V2025_03_26,
    /// 2025-06-18.
    V2025_06_18,
    /// 2025-11-25.
    V2025_11_25,
    /// 2026-07-28.
    V2026_07_28,
}

impl ProtocolVersion {
    /// All that are served, the newest first.
    pub const SERVED: [Self; 4] =
        [Self::V2026_07_28, Self::V2025_11_25, Self::V2025_06_18, Self::V2025_03_26];

    /// Those that a request of the modern era can be of, the newest first: what `server/discover` tells of, and an error
    /// that names what is supported. The earlier ones are agreed upon by `initialize`.
    pub const MODERN: [Self; 1] = [Self::V2026_07_28];

    /// As it stands in messages. Safe as a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The era it is of.
    pub const fn era(self) -> Era {
        match self {
            Self::V2025_03_26 | Self::V2025_06_18 | Self::V2025_11_25 => Era::Legacy,
            Self::V2026_07_28 => Era::Modern,
        }
    }

    /// Whether what `_meta` says of the revision means the modern era, where that of the header is the same.
    pub(super) fn is_meant_as_modern(said: &Value) -> bool {
        let named = said.as_str().and_then(Self::named);
        named.is_none_or(|version| version.era() == Era::Modern)
    }

    fn named(text: &str) -> Option<Self> {
        Self::SERVED.into_iter().find(|version| version.as_str() == text)
    }
}

/// Why a message is of no revision that is served.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EraError {
    /// The revision is another one.
    #[error("this revision of the protocol is not served")]
    Unsupported {
        /// The era that the message is of.
        era: Era,
        /// The revision that was asked for, cut where it is too long for one.
        requested: String,
    },
    /// The header is there twice, or is no text.
    #[error("header mismatch: MCP-Protocol-Version is not there once, as a text")]
    Header(Era),
    /// Header and body are of different revisions.
    #[error("header mismatch: MCP-Protocol-Version is not what the body says")]
    Mismatch,
    /// A session is begun in an era without sessions.
    #[error("header mismatch: MCP-Protocol-Version is of a revision without \"initialize\"")]
    Initialize,
    /// A response is sent in an era in which nothing is asked.
    #[error("this revision of the protocol has no responses to servers")]
    Response,
}

impl EraError {
    /// The code of the error that answers it, with status 400. What an agent of the modern era gets makes it mend its
    /// request, and not go back to `initialize`.
    pub const fn rpc_code(&self) -> i32 {
        match self {
            Self::Unsupported { era: Era::Modern, .. } => -32_022,
            Self::Header(Era::Modern) | Self::Mismatch | Self::Initialize => -32_020,
            Self::Unsupported { era: Era::Legacy, .. } | Self::Header(Era::Legacy) | Self::Response => {
                -32_600
            }
        }
    }

    /// What the error's `data` says.
    pub fn data(&self) -> Option<Value> {
        match self {
            Self::Unsupported { era: Era::Modern, requested } => {
                let supported = ProtocolVersion::MODERN.map(ProtocolVersion::as_str);
                Some(json!({ "supported": supported, "requested": requested }))
            }
            Self::Unsupported { era: Era::Legacy, .. }
            | Self::Header(_)
            | Self::Mismatch
            | Self::Initialize
            | Self::Response => None,
        }
    }
}

/// The revision that a message is of.
///
/// # Errors
///
/// [`EraError`], where it is not served, or header and body do not agree.
pub fn of_message(headers: &HeaderMap, message: &Message) -> Result<ProtocolVersion, EraError> {
    let meta = match message {
        Message::Request(request) => request.meta(),
        Message::Notification(notification) => notification.meta(),
        Message::Response(_) => None,
    };
    let body = meta.and_then(|meta| meta.get(META_PROTOCOL_VERSION));
    let version = match (header(headers, body.is_some())?, body) {
        (None, None) => ProtocolVersion::V2025_03_26,
        (None, Some(_)) => ProtocolVersion::V2026_07_28,
        (Some(header), body) => {
            if body.is_some_and(|body| body != header) {
                return Err(EraError::Mismatch);
            }
            served(header, body.is_some())?
        }
    };
    match (version.era(), message) {
        (Era::Modern, Message::Request(request)) if request.method() == Method::Initialize => {
            Err(EraError::Initialize)
        }
        (Era::Modern, Message::Response(_)) => Err(EraError::Response),
        (Era::Modern | Era::Legacy, _) => Ok(version),
    }
}

/// The revision that a request without a body is of: one that opens a stream or ends a session, which are of the legacy
/// era. The modern one has no such requests, and answers them with 405.
///
/// # Errors
///
/// [`EraError`], where it is not served.
pub fn of_headers(headers: &HeaderMap) -> Result<ProtocolVersion, EraError> {
    match header(headers, false)? {
        Some(header) => served(header, false),
        None => Ok(ProtocolVersion::V2025_03_26),
    }
}

fn header(headers: &HeaderMap, body_says: bool) -> Result<Option<&str>, EraError> {
    let era = if body_says { Era::Modern } else { Era::Legacy };
    let mut values = headers.get_all(PROTOCOL_VERSION).iter().map(HeaderValue::to_str);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(version)), None) => Ok(Some(version)),
        (Some(_), _) => Err(EraError::Header(era)),
    }
}

fn served(header: &str, body_says: bool) -> Result<ProtocolVersion, EraError> {
    ProtocolVersion::named(header).ok_or_else(|| {
        let is_later = is_date(header) && header > ProtocolVersion::V2025_11_25.as_str();
        let era = if body_says || is_later { Era::Modern } else { Era::Legacy };
        EraError::Unsupported { era, requested: header.chars().take(REQUESTED_BYTES_MAX).collect() }
    })
}

/// Dates compare as texts.
fn is_date(text: &str) -> bool {
    let is_fit = |(at, byte): (usize, u8)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 10 && text.bytes().enumerate().all(is_fit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        headers
    }

    fn message(method: &str, version: Option<&str>) -> Message {
        let meta = version.map(|version| format!(r#""_meta":{{"{META_PROTOCOL_VERSION}":"{version}"}}"#));
        let both = [(method == "initialize").then(|| r#""protocolVersion":"2025-11-25""#.to_owned()), meta];
        let params = both.into_iter().flatten().collect::<Vec<_>>().join(",");
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}}}}}"#);
        Message::parse(text.as_bytes()).expect(&text)
    }

    #[track_caller]
    fn check(header: Option<&str>, body: Option<&str>, expected: Result<ProtocolVersion, EraError>) {
        let lines: Vec<_> = header.map(|version| ("mcp-protocol-version", version)).into_iter().collect();
        assert_eq!(
            of_message(&headers(&lines), &message("tools/list", body)),
            expected,
            "{header:?} {body:?}"
        );
    }

    fn unsupported(era: Era, requested: &str) -> EraError {
        EraError::Unsupported { era, requested: requested.to_owned() }
    }

    #[test]
    fn the_signs_say_which_revision_it_is() {
        use ProtocolVersion::{V2025_03_26, V2026_07_28};
        check(None, None, Ok(V2025_03_26));
        check(None, Some("2026-07-28"), Ok(V2026_07_28));
        check(None, Some("anything"), Ok(V2026_07_28));
        for version in ProtocolVersion::SERVED {
            check(Some(version.as_str()), None, Ok(version));
            check(Some(version.as_str()), Some(version.as_str()), Ok(version));
        }
        assert_eq!(V2026_07_28.era(), Era::Modern);
        assert_eq!(V2025_03_26.era(), Era::Legacy);
    }

    #[test]
    fn another_revision_is_refused_in_the_form_of_its_era() {
        for later in ["2026-07-29", "2027-01-01", "9999-12-31"] {
            check(Some(later), None, Err(unsupported(Era::Modern, later)));
        }
        for other in ["2024-11-05", "1900-01-01", "2026-07-28x", "tomorrow", "DRAFT-2026", ""] {
            check(Some(other), None, Err(unsupported(Era::Legacy, other)));
            check(Some(other), Some(other), Err(unsupported(Era::Modern, other)));
        }
        let modern = unsupported(Era::Modern, "2027-01-01");
        assert_eq!(modern.rpc_code(), -32_022);
        let data = json!({
            "supported": ["2026-07-28"],
            "requested": "2027-01-01",
        });
        assert_eq!(modern.data(), Some(data));
        let legacy = unsupported(Era::Legacy, "tomorrow");
        assert_eq!((legacy.rpc_code(), legacy.data()), (-32_600, None));
        check(
            Some(&"9".repeat(1_000)),
            None,
            Err(unsupported(Era::Legacy, &"9".repeat(REQUESTED_BYTES_MAX))),
        );
    }

    #[test]
    fn header_and_body_of_different_revisions_are_refused() {
        for (header, body) in [
            ("2025-11-25", "2026-07-28"),
            ("2026-07-28", "2025-11-25"),
            ("2026-07-28", "2027-01-01"),
            ("2027-01-01", "2026-07-28"),
        ] {
            check(Some(header), Some(body), Err(EraError::Mismatch));
        }
        assert_eq!(EraError::Mismatch.rpc_code(), -32_020);
    }

    #[test]
    fn a_version_header_that_is_not_one_text_is_refused() {
        let twice =
            headers(&[("mcp-protocol-version", "2026-07-28"), ("mcp-protocol-version", "2026-07-28")]);
        let garbled = headers(&[("mcp-protocol-version", "ä")]);
        for bad in [twice, garbled] {
            assert_eq!(of_message(&bad, &message("ping", None)), Err(EraError::Header(Era::Legacy)));
            let modern = of_message(&bad, &message("ping", Some("2026-07-28")));
            assert_eq!(modern, Err(EraError::Header(Era::Modern)));
            assert_eq!(of_headers(&bad), Err(EraError::Header(Era::Legacy)));
        }
        assert_eq!(EraError::Header(Era::Modern).rpc_code(), -32_020);
        assert_eq!(EraError::Header(Era::Legacy).rpc_code(), -32_600);
    }

    #[test]
    fn a_session_means_nothing_in_the_modern_era() {
        let lines = [("mcp-protocol-version", "2026-07-28"), ("mcp-session-id", "s-1")];
        let version = of_message(&headers(&lines), &message("tools/list", None));
        assert_eq!(version, Ok(ProtocolVersion::V2026_07_28));
        let initialize = of_message(&headers(&lines[..1]), &message("initialize", None));
        assert_eq!(initialize, Err(EraError::Initialize));
        assert!(of_message(&headers(&[]), &message("initialize", None)).is_ok());
    }

    #[test]
    fn nothing_is_answered_in_the_modern_era() {
        let answer = Message::parse(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#).expect("a response");
        let lines = |version| [("mcp-protocol-version", version)];
        assert_eq!(of_message(&headers(&lines("2026-07-28")), &answer), Err(EraError::Response));
        assert_eq!(EraError::Response.rpc_code(), -32_600);
        assert!(of_message(&headers(&lines("2025-11-25")), &answer).is_ok());
        assert!(of_message(&headers(&[]), &answer).is_ok());
    }

    #[test]
    fn a_request_without_a_body_goes_by_its_header() {
        let of = |version| of_headers(&headers(&[("mcp-protocol-version", version)]));
        assert_eq!(of("2025-06-18"), Ok(ProtocolVersion::V2025_06_18));
        assert_eq!(of("2026-07-28"), Ok(ProtocolVersion::V2026_07_28));
        assert_eq!(of("2027-01-01"), Err(unsupported(Era::Modern, "2027-01-01")));
        assert_eq!(of_headers(&headers(&[])), Ok(ProtocolVersion::V2025_03_26));
    }
}
