//! The head of an answer in HTTP/1 (RFC 9112 section 4), and what it says about the body and the connection.

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};

use super::Http1Error;
use super::body::Framing;

/// Most fields in a head, or in trailers: as many as an agent's request has by default.
pub const FIELDS_MAX: usize = 100;
/// Longest head: as long as that of an agent's request by default.
pub const HEAD_BYTES_MAX: usize = u16::MAX as usize;

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    /// Status and headers. The version is for this connection alone: to the agent, an answer of HTTP/1.0 would end like a whole one wherever
    /// it breaks off.
    pub response: Response<()>,
    /// How the end of its body is told.
    pub framing: Framing,
    /// Whether the connector keeps the connection open after it.
    pub is_persistent: bool,
}

/// Where name and value of a field stand in a head: beginning and end of each. They are small, since there is room for all of them on the
/// stack: no head is longer than they can say.
type FieldRange = [u16; 4];

/// The head at the beginning of what was `received`, out of which it is taken; `None` while its end is not there. It is the answer to a request
/// of this `method`. It may be an interim one (1xx), after which another one comes.
///
/// # Errors
///
/// [`Http1Error`] when it is none, or can be read in two ways.
pub fn take_head(received: &mut BytesMut, method: &Method) -> Result<Option<Head>, Http1Error> {
    let mut ranges = [FieldRange::default(); FIELDS_MAX];
    let Some(parsed) = parse(received, &mut ranges)? else {
        return if received.len() <= HEAD_BYTES_MAX { Ok(None) } else { Err(Http1Error::HeadTooLong) };
    };
    if parsed.bytes > HEAD_BYTES_MAX {
        return Err(Http1Error::HeadTooLong);
    }
    let head = received.split_to(parsed.bytes).freeze();
    let ranges = &ranges[..parsed.fields];
    let mut headers = HeaderMap::with_capacity(ranges.len());
    let mut framing_fields = FramingFields::default();
    for range in ranges {
        let [name_begin, name_end, begin, end] = range.map(usize::from);
        let name = HeaderName::from_bytes(&head[name_begin..name_end]);
        let name = name.map_err(|_| Http1Error::Head(httparse::Error::HeaderName))?;
        // A piece of the whole head, not a copy.
        let value = HeaderValue::from_maybe_shared(head.slice(begin..end));
        let value = value.map_err(|_| Http1Error::Head(httparse::Error::HeaderValue))?;
        if framing_fields.note(&name, value.as_bytes())? {
            headers.append(name, value);
        }
    }
    let framing = framing_fields.framing(method, parsed.status, parsed.version)?;
    let is_persistent = framing_fields.is_persistent(parsed.version)
        && !matches!(framing, Framing::UntilClose { .. })
        // There must be none, and nobody knows whether there is.
        && !(parsed.status == StatusCode::NO_CONTENT && framing_fields.announce_body());
    let mut response = Response::new(());
    *response.status_mut() = parsed.status;
    *response.headers_mut() = headers;
    Ok(Some(Head { response, framing, is_persistent }))
}

/// What stands at the beginning of what was received.
struct ParsedHead {
    bytes: usize,
    fields: usize,
    status: StatusCode,
    version: Version,
}

fn parse(received: &[u8], ranges: &mut [FieldRange; FIELDS_MAX]) -> Result<Option<ParsedHead>, Http1Error> {
    // The parser would skip empty lines, however many there are, and each time anew.
    if matches!(received.first(), Some(b'\r' | b'\n')) {
        return Err(Http1Error::Head(httparse::Error::NewLine));
    }
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let parsed = parser.parse_response_with_uninit_headers(&mut response, received, &mut fields);
    let httparse::Status::Complete(bytes) = parsed.map_err(Http1Error::Head)? else { return Ok(None) };
    for (range, field) in ranges.iter_mut().zip(&*response.headers) {
        let (name, value) = (range_of(received, field.name.as_bytes()), range_of(received, field.value));
        *range = [name.0, name.1, value.0, value.1];
    }
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    Ok(Some(ParsedHead {
        bytes,
        fields: response.headers.len(),
        status: status.ok_or(Http1Error::Head(httparse::Error::Status))?,
        version: if response.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 },
    }))
}

/// Where a `part` of the `whole` stands in it. Heads in which that has no room are refused for their length.
fn range_of(whole: &[u8], part: &[u8]) -> (u16, u16) {
    let begin = part.as_ptr().addr().saturating_sub(whole.as_ptr().addr());
    let range = |at: usize| u16::try_from(at).unwrap_or_default();
    if part.is_empty() { (0, 0) } else { (range(begin), range(begin + part.len())) }
}

/// What the fields of a head say about the body and the connection.
#[derive(Default)]
struct FramingFields {
    /// `Content-Length`.
    length: Option<u64>,
    /// `Transfer-Encoding`.
    is_chunked: bool,
    /// `Connection`.
    closes: bool,
    keeps_alive: bool,
}

impl FramingFields {
    /// Takes note of a field. Returns whether it says anything that has not been said.
    fn note(&mut self, name: &HeaderName, value: &[u8]) -> Result<bool, Http1Error> {
        match *name {
            CONTENT_LENGTH => {
                let length = content_length(value).ok_or(Http1Error::ContentLength)?;
                return match self.length.replace(length) {
                    Some(before) if before != length => Err(Http1Error::ContentLength),
                    before => Ok(before.is_none()),
                };
            }
            TRANSFER_ENCODING => {
                // Coded in any other way it would be so still for the agent, and would not say it.
                let is_chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
                if !is_chunked || std::mem::replace(&mut self.is_chunked, true) {
                    return Err(Http1Error::TransferCoding);
                }
            }
            CONNECTION => {
                for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    self.closes |= option.eq_ignore_ascii_case(b"close");
                    self.keeps_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            _ => {}
        }
        Ok(true)
    }

    /// How the end of the body is told (RFC 9112 section 6.3). Where that can be understood in two ways, others would take the rest of it
    /// for somebody else's answer.
    fn framing(&self, method: &Method, status: StatusCode, version: Version) -> Result<Framing, Http1Error> {
        if self.is_chunked && (self.length.is_some() || version == Version::HTTP_10) {
            return Err(Http1Error::TransferCoding);
        }
        if status.is_informational() && self.announce_body() {
            return Err(Http1Error::InterimBody);
        }
        let is_bodyless = status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || method == Method::HEAD;
        Ok(match self.length {
            _ if is_bodyless => Framing::Length(0),
            _ if self.is_chunked => Framing::CHUNKED,
            Some(length) => Framing::Length(length),
            None => Framing::UntilClose { is_over: false },
        })
    }

    fn announce_body(&self) -> bool {
        self.is_chunked || self.length.is_some_and(|length| length > 0)
    }

    /// Whether the connection stays open after this answer (RFC 9112 section 9.3).
    fn is_persistent(&self, version: Version) -> bool {
        !self.closes && (version == Version::HTTP_11 || self.keeps_alive)
    }
}

/// A length: digits and nothing else.
fn content_length(value: &[u8]) -> Option<u64> {
    let digits = Some(value).filter(|value| value.iter().all(u8::is_ascii_digit))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head_for(method: &Method, text: &str) -> Result<Option<Head>, Http1Error> {
        take_head(&mut BytesMut::from(text), method)
    }

    fn head(text: &str) -> Result<Head, Http1Error> {
        head_for(&Method::GET, text).map(|head| head.expect("a whole head"))
    }

    #[test]
    fn a_head_is_the_same_however_it_is_cut() {
        let text = "HTTP/1.1 404 Not here\r\nContent-Length: 5\r\nX-Empty:\r\nX-Two: a\r\nx-two:  b \r\n\r\n";
        for cut in 0..text.len() {
            let mut received = BytesMut::from(&text[..cut]);
            assert!(take_head(&mut received, &Method::GET).expect("so far so good").is_none(), "{cut}");
            received.extend_from_slice(&text.as_bytes()[cut..]);
            received.extend_from_slice(b"hello");
            let Head { response, framing, is_persistent } =
                take_head(&mut received, &Method::GET).expect("a head").expect("all of it");
            assert_eq!(response.status(), 404);
            assert_eq!(response.headers()["x-empty"], "");
            let two: Vec<_> = response.headers().get_all("x-two").iter().collect();
            assert_eq!(two, ["a", "b"]);
            assert!(matches!(framing, Framing::Length(5)) && is_persistent);
            assert_eq!(received, b"hello"[..]);
        }
    }

    #[test]
    fn some_answers_have_no_body_whatever_they_say() {
        let length = |text: &str| format!("HTTP/1.1 {text}\r\nContent-Length: 5\r\n\r\n");
        for (status, is_persistent) in [("204 None", false), ("304 Same", true)] {
            let head = head(&length(status)).expect("a head");
            assert_eq!((head.framing.is_over(), head.is_persistent), (true, is_persistent), "{status}");
        }
        let interim = head("HTTP/1.1 103 Early\r\nContent-Length: 0\r\n\r\n").expect("a head");
        assert!(interim.framing.is_over());
        assert!(matches!(head(&length("103 Early")), Err(Http1Error::InterimBody)));
        let to_head = head_for(&Method::HEAD, &length("200 OK")).expect("a head").expect("all of it");
        assert!(to_head.framing.is_over());
        assert!(!head(&length("200 OK")).expect("a head").framing.is_over());
    }

    #[test]
    fn a_body_of_unknown_length_ends_with_the_connection() {
        for text in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"] {
            let head = head(text).expect("a head");
            assert!(matches!(head.framing, Framing::UntilClose { is_over: false }));
            assert!(!head.is_persistent);
            assert_eq!(head.response.version(), Version::HTTP_11, "the agent gets it otherwise");
        }
    }

    #[test]
    fn a_length_may_be_repeated_but_not_change() {
        let twice =
            head("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n").expect("a head");
        assert!(matches!(twice.framing, Framing::Length(5)));
        assert_eq!(twice.response.headers().get_all(CONTENT_LENGTH).iter().count(), 1);
        for length in ["5\r\nContent-Length: 6", "5, 5", "+5", "-5", "", "0x5", "5 5", "18446744073709551616"]
        {
            let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            assert!(matches!(head(&text), Err(Http1Error::ContentLength)), "{length}");
        }
    }

    #[test]
    fn a_transfer_coding_is_chunked_and_alone() {
        let chunked = head("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n").expect("a head");
        assert!(matches!(chunked.framing, Framing::Chunked { .. }));
        for fields in [
            "1 200 OK\r\nTransfer-Encoding: gzip, chunked",
            "1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
            "1 200 OK\r\nTransfer-Encoding: chunked, identity",
            "1 200 OK\r\nTransfer-Encoding: identity",
            "1 200 OK\r\nTransfer-Encoding:",
            "1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5",
            "0 200 OK\r\nTransfer-Encoding: chunked",
        ] {
            let refused = head(&format!("HTTP/1.{fields}\r\n\r\n"));
            assert!(matches!(refused, Err(Http1Error::TransferCoding)), "{fields}");
        }
    }

    #[test]
    fn a_connection_persists_unless_version_or_connection_says_otherwise() {
        for (text, is_persistent) in [
            ("1.1 200 OK", true),
            ("1.1 200 OK\r\nConnection: close", false),
            ("1.1 200 OK\r\nConnection: keep-alive, Close", false),
            ("1.1 200 OK\r\nConnection: keep-alive\r\nConnection: close", false),
            ("1.0 200 OK", false),
            ("1.0 200 OK\r\nConnection: Keep-Alive", true),
        ] {
            let text = format!("HTTP/{text}\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(head(&text).expect("a head").is_persistent, is_persistent, "{text}");
        }
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for text in [
            "SSH-2.0-OpenSSH_9.2\r\n",
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 000 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno field\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx y: z\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: a\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
        ] {
            assert!(matches!(head_for(&Method::GET, text), Err(Http1Error::Head(_))), "{text:?}");
        }
    }

    #[test]
    fn heads_are_bounded() {
        let fields = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(count));
        assert_eq!(head(&fields(FIELDS_MAX)).expect("a head").response.headers().len(), FIELDS_MAX);
        let refused = head(&fields(FIELDS_MAX + 1));
        assert!(matches!(refused, Err(Http1Error::Head(httparse::Error::TooManyHeaders))), "{refused:?}");

        let long = |bytes: usize| format!("HTTP/1.1 200 OK\r\nx: {}\r\ny: z\r\n\r\n", "x".repeat(bytes));
        assert_eq!(head(&long(HEAD_BYTES_MAX - 100)).expect("a head").response.headers()["y"], "z");
        assert!(matches!(head(&long(HEAD_BYTES_MAX)), Err(Http1Error::HeadTooLong)));
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(HEAD_BYTES_MAX));
        assert!(matches!(head_for(&Method::GET, &endless), Err(Http1Error::HeadTooLong)));
    }
}
