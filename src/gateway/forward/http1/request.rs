//! A request on its way in HTTP/1 (RFC 9112 sections 3, 6 and 7): its head as bytes, and its body in pieces.

use std::fmt::Write as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::buf::Chain;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request};
use http_body::Body as _;
use tokio::io::AsyncWrite;
use tokio_util::io::poll_write_buf;

use super::{CHUNK_AND_BODY_END, Http1Error};
use crate::gateway::upload::UploadBody;

/// Methods whose requests have a length even when they have no body (RFC 9110 section 8.6).
const METHODS_WITH_CONTENT: [Method; 3] = [Method::POST, Method::PUT, Method::PATCH];
/// Room in a head for what is not of the agent: method, version, names and length, and the size of a first chunk.
const ROOM_FOR_OURS: usize = 128;
const CRLF: &[u8] = b"\r\n";
/// How a chunked body without trailers ends.
const BODY_END: &[u8] = b"0\r\n\r\n";

/// A request of which something is still to be sent.
pub struct Sending {
    /// What goes next: a head or the size of a chunk, a piece of the body, the end of the chunk.
    out: Chain<Chain<BytesMut, Bytes>, &'static [u8]>,
    /// What comes after that. `None`: nothing.
    body: Option<UploadBody>,
    framing: RequestFraming,
}

/// How the end of the body is told.
#[derive(Clone, Copy)]
enum RequestFraming {
    /// So many bytes are still to be sent.
    Length(u64),
    /// In chunks.
    Chunked,
}

impl Sending {
    /// All of this request is still to be sent, to the `host` of this name. It is the body that says how long it is.
    pub fn new(request: Request<UploadBody>, host: &HeaderValue) -> Self {
        let (head, body) = request.into_parts();
        let size = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
        let framing = size.map_or(RequestFraming::Chunked, RequestFraming::Length);
        let body = Some(body).filter(|_| size != Some(0));
        Self { out: head_bytes(&head, host, framing).chain(Bytes::new()).chain(b""), body, framing }
    }

    /// Sends as much as the connection takes. Ready once all has been sent.
    ///
    /// # Errors
    ///
    /// The connection takes no more, or the body broke off. Nothing more can be sent then.
    pub fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Http1Error>> {
        loop {
            // The beginning of a body goes out with the head.
            let next = self.poll_next_piece(cx)?;
            while self.out.has_remaining() {
                if ready!(poll_write_buf(Pin::new(&mut *stream), cx, &mut self.out))? == 0 {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
                }
            }
            if next.is_pending() || self.body.is_none() {
                // What there is must not wait for what comes.
                ready!(Pin::new(stream).poll_flush(cx))?;
                return next.map(Ok);
            }
        }
    }

    /// Puts the next piece of the body behind what goes out next, unless there is one already, or there are no more.
    fn poll_next_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Http1Error>> {
        while !self.has_piece() {
            let Some(body) = &mut self.body else { break };
            let frame = ready!(Pin::new(&mut *body).poll_frame(cx)).transpose();
            let frame = frame.map_err(|error| Http1Error::Upload(error.into()))?;
            let is_last = frame.is_none() || body.is_end_stream();
            let piece = frame.and_then(|frame| frame.into_data().ok()).unwrap_or_default();
            self.put(piece, is_last)?;
        }
        Poll::Ready(Ok(()))
    }

    fn has_piece(&self) -> bool {
        self.out.first_ref().last_ref().has_remaining() || self.out.last_ref().has_remaining()
    }

    fn put(&mut self, piece: Bytes, is_last: bool) -> Result<(), Http1Error> {
        let is_whole = match &mut self.framing {
            RequestFraming::Length(left) => {
                *left = left.checked_sub(piece.len() as u64).ok_or(Http1Error::UploadLength)?;
                if is_last && *left > 0 {
                    return Err(Http1Error::UploadLength);
                }
                *left == 0
            }
            RequestFraming::Chunked => {
                let has_data = !piece.is_empty();
                if has_data {
                    let size = self.out.first_mut().first_mut();
                    write!(size, "{:x}\r\n", piece.len()).expect("a buffer grows");
                }
                *self.out.last_mut() = match (has_data, is_last) {
                    (true, true) => CHUNK_AND_BODY_END,
                    (true, false) => CRLF,
                    (false, true) => BODY_END,
                    (false, false) => b"",
                };
                is_last
            }
        };
        *self.out.first_mut().last_mut() = piece;
        if is_whole {
            self.body = None;
        }
        Ok(())
    }
}

/// The head of a request. The fields that say where it goes and how long it is are ours.
fn head_bytes(head: &Parts, host: &HeaderValue, framing: RequestFraming) -> BytesMut {
    let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let (name, value) = match framing {
        RequestFraming::Chunked => (TRANSFER_ENCODING, HeaderValue::from_static("chunked")),
        RequestFraming::Length(length) => (CONTENT_LENGTH, HeaderValue::from(length)),
    };
    let has_framing =
        !matches!(framing, RequestFraming::Length(0)) || METHODS_WITH_CONTENT.contains(&head.method);
    let own = std::iter::once((&HOST, host)).chain(has_framing.then_some((&name, &value)));
    let is_own = |name: &HeaderName| [HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name);
    let passed = || head.headers.iter().filter(|(name, _)| !is_own(name));

    let bytes: usize = passed().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let mut out = BytesMut::with_capacity(bytes + target.len() + host.len() + ROOM_FOR_OURS);
    for part in [head.method.as_str().as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\n"] {
        out.put_slice(part);
    }
    for (name, value) in own.chain(passed()) {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), CRLF] {
            out.put_slice(part);
        }
    }
    out.put_slice(CRLF);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes out of a body in such pieces, of which the last one is said to be that.
    fn sent(framing: RequestFraming, pieces: &[&'static str]) -> Result<String, Http1Error> {
        let (body, _) = UploadBody::read(Bytes::from_static(b"a body"));
        let out = BytesMut::new().chain(Bytes::new()).chain(&b""[..]);
        let mut sending = Sending { out, body: Some(body), framing };
        let mut sent = Vec::new();
        for (at, piece) in pieces.iter().enumerate() {
            sending.put(Bytes::from_static(piece.as_bytes()), at + 1 == pieces.len())?;
            sent.put(&mut sending.out);
        }
        assert!(sending.body.is_none(), "more is waited for");
        Ok(String::from_utf8(sent).expect("text"))
    }

    #[test]
    fn a_body_of_unknown_length_goes_in_chunks() {
        let sent = |pieces| sent(RequestFraming::Chunked, pieces).expect("sent");
        assert_eq!(
            sent(&["hello", "", " wonderful world"]),
            "5\r\nhello\r\n10\r\n wonderful world\r\n0\r\n\r\n"
        );
        // Some say that it was the last only afterwards.
        assert_eq!(sent(&["hello", ""]), "5\r\nhello\r\n0\r\n\r\n");
        assert_eq!(sent(&[""]), "0\r\n\r\n");
    }

    #[test]
    fn a_body_has_the_length_that_was_announced() {
        let sent = |pieces| sent(RequestFraming::Length(5), pieces);
        assert_eq!(sent(&["he", "", "llo"]).expect("sent"), "hello");
        for pieces in [&["hell"] as &[&str], &["hello", "!"], &["hello!"], &[""]] {
            assert!(matches!(sent(pieces), Err(Http1Error::UploadLength)), "{pieces:?}");
        }
    }
}
