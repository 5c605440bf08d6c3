//! The head of an answer in HTTP/1 (RFC 9112 section 4), and what it says about the body and the connection.

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};

use super::Http1Error;
use super::body::Framing;

/// Most fields in a head, or in trailers.
pub const FIELDS_MAX: usize = 100;
/// Longest head.
pub const HEAD_BYTES_MAX: usize = u16::MAX as usize;

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    /// Status and headers.
    pub response: Response<()>,
    /// How the end of its body is told.
    pub framing: Framing,
    /// Whether the connector keeps the connection open after it.
    pub is_kept_alive: bool,
}

/// Where name and value of a field stand in a head: beginning and end of each.
type Place = [u16; 4];

/// The head at the beginning of what was `received`, out of which it is taken; `None` while its end is not there. It is the answer to a request
/// of this `method`. It may be an interim one (1xx), after which another one comes.
///
/// # Errors
///
/// [`Http1Error`] when it is none, or can be read in two ways.
pub fn take_head(received: &mut BytesMut, method: &Method) -> Result<Option<Head>, Http1Error> {
    let mut places = [Place::default(); FIELDS_MAX];
    let Some(found) = find(received, &mut places)? else {
        return if received.len() <= HEAD_BYTES_MAX { Ok(None) } else { Err(Http1Error::HeadTooLong) };
    };
    if found.bytes > HEAD_BYTES_MAX {
        return Err(Http1Error::HeadTooLong);
    }
    let head = received.split_to(found.bytes).freeze();
    let places = &places[..found.fields];
    let mut headers = HeaderMap::with_capacity(places.len());
    let mut told = Told::default();
    for place in places {
        let [name_begin, name_end, begin, end] = place.map(usize::from);
        let name = HeaderName::from_bytes(&head[name_begin..name_end]);
        let name = name.map_err(|_| Http1Error::Head(httparse::Error::HeaderName))?;
        // A piece of the whole head, not a copy.
        let value = HeaderValue::from_maybe_shared(head.slice(begin..end));
        let value = value.map_err(|_| Http1Error::Head(httparse::Error::HeaderValue))?;
        if told.hear(&name, value.as_bytes())? {
            headers.append(name, value);
        }
    }
    let framing = told.framing(method, found.status, found.version)?;
    let is_kept_alive = told.keeps_alive(found.version) && !matches!(framing, Framing::UntilClose { .. });
    let mut response = Response::new(());
    *response.status_mut() = found.status;
    *response.version_mut() = found.version;
    *response.headers_mut() = headers;
    Ok(Some(Head { response, framing, is_kept_alive }))
}

/// What stands at the beginning of what was received.
struct Found {
    bytes: usize,
    fields: usize,
    status: StatusCode,
    version: Version,
}

fn find(received: &[u8], places: &mut [Place; FIELDS_MAX]) -> Result<Option<Found>, Http1Error> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let parsed = parser.parse_response_with_uninit_headers(&mut response, received, &mut fields);
    let httparse::Status::Complete(bytes) = parsed.map_err(Http1Error::Head)? else { return Ok(None) };
    for (place, field) in places.iter_mut().zip(&*response.headers) {
        let (name, value) = (place_of(received, field.name.as_bytes()), place_of(received, field.value));
        *place = [name.0, name.1, value.0, value.1];
    }
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    Ok(Some(Found {
        bytes,
        fields: response.headers.len(),
        status: status.ok_or(Http1Error::Head(httparse::Error::Status))?,
        version: if response.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 },
    }))
}

/// Where a `part` of the `whole` stands in it. Heads in which that has no room are refused for their length.
fn place_of(whole: &[u8], part: &[u8]) -> (u16, u16) {
    let begin = part.as_ptr().addr().saturating_sub(whole.as_ptr().addr());
    let place = |at: usize| u16::try_from(at).unwrap_or_default();
    if part.is_empty() { (0, 0) } else { (place(begin), place(begin + part.len())) }
}

/// What the fields of a head say about the body and the connection.
#[derive(Default)]
struct Told {
    /// `Content-Length`.
    length: Option<u64>,
    /// `Transfer-Encoding`.
    is_chunked: bool,
    /// `Connection`.
    closes: bool,
    keeps_alive: bool,
}

impl Told {
    /// Takes note of a field. Returns whether it says anything that has not been said.
    fn hear(&mut self, name: &HeaderName, value: &[u8]) -> Result<bool, Http1Error> {
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

    /// Whether the connection stays open after this answer (RFC 9112 section 9.3).
    fn keeps_alive(&self, version: Version) -> bool {
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
            let Head { response, framing, is_kept_alive } =
                take_head(&mut received, &Method::GET).expect("a head").expect("all of it");
            assert_eq!(response.status(), 404);
            assert_eq!(response.headers()["x-empty"], "");
            let two: Vec<_> = response.headers().get_all("x-two").iter().collect();
            assert_eq!(two, ["a", "b"]);
            assert!(matches!(framing, Framing::Length(5)) && is_kept_alive);
            assert_eq!(received, b"hello"[..]);
        }
    }

    #[test]
    fn some_answers_have_no_body_whatever_they_say() {
        let length = |text: &str| format!("HTTP/1.1 {text}\r\nContent-Length: 5\r\n\r\n");
        for status in ["100 Continue", "103 Early", "204 None", "304 Same"] {
            assert!(head(&length(status)).expect("a head").framing.is_over(), "{status}");
        }
        let to_head = head_for(&Method::HEAD, &length("200 OK")).expect("a head").expect("all of it");
        assert!(to_head.framing.is_over());
        assert!(!head(&length("200 OK")).expect("a head").framing.is_over());
    }

    #[test]
    fn a_body_of_unknown_length_ends_with_the_connection() {
        let head = head("HTTP/1.1 200 OK\r\n\r\n").expect("a head");
        assert!(matches!(head.framing, Framing::UntilClose { is_over: false }));
    }

    #[test]
    fn a_length_may_be_repeated_but_not_change() {
        let twice = head("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n").expect("a head");
        assert!(matches!(twice.framing, Framing::Length(5)));
        assert_eq!(twice.response.headers().get_all(CONTENT_LENGTH).iter().count(), 1);
        for length in ["5\r\nContent-Length: 6", "5, 5", "+5", "-5", "", "0x5", "5 5", "18446744073709551616"] {
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
    fn who_closes_says_so() {
        for (text, is_kept_alive) in [
            ("1.1 200 OK", true),
            ("1.1 200 OK\r\nConnection: close", false),
            ("1.1 200 OK\r\nConnection: keep-alive, Close", false),
            ("1.1 200 OK\r\nConnection: keep-alive\r\nConnection: close", false),
            ("1.0 200 OK", false),
            ("1.0 200 OK\r\nConnection: Keep-Alive", true),
        ] {
            let text = format!("HTTP/{text}\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(head(&text).expect("a head").is_kept_alive, is_kept_alive, "{text}");
        }
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for text in [
            "SSH-2.0-OpenSSH_9.2\r\n",
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
        assert!(matches!(head(&fields(FIELDS_MAX + 1)), Err(Http1Error::Head(_))));

        let long = |bytes: usize| format!("HTTP/1.1 200 OK\r\nx: {}\r\ny: z\r\n\r\n", "x".repeat(bytes));
        assert_eq!(head(&long(HEAD_BYTES_MAX - 100)).expect("a head").response.headers()["y"], "z");
        assert!(matches!(head(&long(HEAD_BYTES_MAX)), Err(Http1Error::HeadTooLong)));
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(HEAD_BYTES_MAX));
        assert!(matches!(head_for(&Method::GET, &endless), Err(Http1Error::HeadTooLong)));
    }
}
