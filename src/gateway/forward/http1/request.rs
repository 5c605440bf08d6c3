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

use super::Http1Error;
use crate::gateway::upload::UploadBody;

/// Methods whose requests have a length even when they have no body (RFC 9110 section 8.6).
const WITH_CONTENT: [Method; 3] = [Method::POST, Method::PUT, Method::PATCH];
/// Room in a head for what is not of the agent: method, version, names and length, and the size of a first chunk.
const ROOM_FOR_OURS: usize = 128;
const CRLF: &[u8] = b"\r\n";
/// How a chunked body without trailers ends.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// The end of a chunk, and of the body with it.
const LAST_PIECE_END: &[u8] = b"\r\n0\r\n\r\n";

/// A request of which something is still to be sent.
pub struct Sending {
    /// What goes next: a head or the size of a chunk, a piece of the body, the end of the chunk.
    out: Chain<Chain<BytesMut, Bytes>, &'static [u8]>,
    /// What comes after that. `None`: nothing.
    body: Option<UploadBody>,
    length: Length,
}

/// How the end of the body is told.
#[derive(Clone, Copy)]
enum Length {
    /// So many bytes are still to be sent.
    Known(u64),
    /// In chunks.
    Chunked,
}

impl Sending {
    /// All of this request is still to be sent, to the `host` of this name. It is the body that says how long it is.
    pub fn new(request: Request<UploadBody>, host: &HeaderValue) -> Self {
        let (head, body) = request.into_parts();
        let length = body.size_hint().exact().map_or(Length::Chunked, Length::Known);
        let body = Some(body).filter(|body| !body.is_end_stream() && !matches!(length, Length::Known(0)));
        let length = if body.is_some() { length } else { Length::Known(0) };
        Self { out: head_bytes(&head, host, length).chain(Bytes::new()).chain(b""), body, length }
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
        let is_whole = match &mut self.length {
            Length::Known(left) => {
                *left = left.checked_sub(piece.len() as u64).ok_or(Http1Error::UploadLength)?;
                if is_last && *left > 0 {
                    return Err(Http1Error::UploadLength);
                }
                *left == 0
            }
            Length::Chunked => {
                let has_data = !piece.is_empty();
                if has_data {
                    let size = self.out.first_mut().first_mut();
                    write!(size, "{:x}\r\n", piece.len()).expect("a buffer grows");
                }
                *self.out.last_mut() = match (has_data, is_last) {
                    (true, true) => LAST_PIECE_END,
                    (true, false) => CRLF,
                    (false, true) => LAST_CHUNK,
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
fn head_bytes(head: &Parts, host: &HeaderValue, length: Length) -> BytesMut {
    let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let (key, value) = match length {
        Length::Chunked => (TRANSFER_ENCODING, HeaderValue::from_static("chunked")),
        Length::Known(length) => (CONTENT_LENGTH, HeaderValue::from(length)),
    };
    let has_length = !matches!(length, Length::Known(0))
        || WITH_CONTENT.contains(&head.method)
        || head.headers.contains_key(CONTENT_LENGTH);
    let own = [(&HOST, host), (&key, &value)].into_iter().take(1 + usize::from(has_length));
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
