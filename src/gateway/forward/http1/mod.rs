//! One HTTP/1.1 connection to a connector (RFC 9112), for one call at a time.
//!
//! It belongs to the call that uses it, and is read and written in the call's own task: nothing is handed to another task and back. A
//! connection is used again only when a request has been sent whole, its answer has been read whole, and nothing has come beside it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::task::unconstrained;
use tokio_util::io::poll_read_buf;
use tower::BoxError;

use super::sockets::Placed;
use crate::gateway::upload::UploadBody;

mod body;
mod request;
mod response;

use body::Framing;
use request::Sending;
use response::{HEAD_BYTES_MAX, Head, take_head};

/// How much is read at once to begin with: a head, and a small body with it.
const READ_BYTES: usize = 8_192;
/// How much is read at once of a large body.
const READ_BYTES_MAX: usize = 65_536;
/// Least room that is worth reading into.
const ROOM_MIN: usize = 1_024;
/// Most interim answers (1xx) before the answer itself: one that goes on, and a few that say how far it is.
const INTERIM_MAX: usize = 16;
/// The end of a chunk, and of a body with it that has no trailers.
const CHUNK_AND_BODY_END: &[u8] = b"\r\n0\r\n\r\n";

/// Why a request got no whole answer.
#[derive(Debug, thiserror::Error)]
pub enum Http1Error {
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// It was closed, or the connector spoke unasked, while nobody used it.
    #[error("the connection had come to its end before it was used")]
    Stale,
    /// It was closed where the answer should have begun.
    #[error("the connection was closed before an answer")]
    Closed,
    /// It was closed before the answer was whole.
    #[error("the connection was closed in the middle of the answer")]
    Incomplete,
    /// The head of the answer is none.
    #[error("the answer has no head of HTTP/1: {0}")]
    Head(httparse::Error),
    /// The head of the answer is longer than any should be.
    #[error("the head of the answer is too long")]
    HeadTooLong,
    /// There are too many interim answers.
    #[error("the answer itself does not come after {INTERIM_MAX} interim ones")]
    TooManyInterim,
    /// An interim answer announces a body, which none has.
    #[error("an interim answer announces a body")]
    InterimBody,
    /// The answer gives no length that can be read in one way.
    #[error("the answer's `Content-Length` is not one number")]
    ContentLength,
    /// The answer is coded in a way that was not asked for, or gives a length beside.
    #[error("the answer's `Transfer-Encoding` is not `chunked` alone, or stands beside a `Content-Length`")]
    TransferCoding,
    /// The body of the answer is said to come in chunks, and does not.
    #[error("the answer's body is not in chunks")]
    Chunk,
    /// What comes after the last chunk are no trailers.
    #[error("the answer's trailers cannot be read: {0}")]
    Trailers(httparse::Error),
    /// They are longer than any should be.
    #[error("the answer's trailers are too long")]
    TrailersTooLong,
    /// The agent's body broke off.
    #[error("the request's body broke off: {0}")]
    Upload(#[source] BoxError),
    /// The agent's body has another length than the agent said.
    #[error("the request's body has not the length that was announced")]
    UploadLength,
}

/// A connection that nobody uses.
pub struct Http1(Box<Wire>);

/// The connection itself. It is large, and handed about.
struct Wire {
    stream: TokioIo<Placed>,
    /// What has come, and has not been taken yet.
    received: BytesMut,
    /// How many of these bytes were no whole head.
    looked_at: usize,
    /// The request, for as long as not all of it has been sent.
    sending: Option<Sending>,
    /// Why not all of it was sent.
    send_error: Option<Http1Error>,
    /// Whether it stays open after this answer.
    is_persistent: bool,
    made_at: Instant,
}

impl Http1 {
    /// A connection that has just been made.
    pub fn new(stream: Placed) -> Self {
        Self(Box::new(Wire {
            stream: TokioIo::new(stream),
            received: BytesMut::new(),
            looked_at: 0,
            sending: None,
            send_error: None,
            is_persistent: true,
            made_at: Instant::now(),
        }))
    }

    /// Since when it has been there.
    pub fn made_at(&self) -> Instant {
        self.0.made_at
    }

    /// Whether a request can be sent on it, as far as is known: the connector has not closed it, and has not said anything unasked.
    pub fn is_usable(&mut self) -> bool {
        let mut byte = [0];
        let stream = &mut self.0.stream;
        // A look is no work, whatever else the task has done before.
        let look = std::pin::pin!(unconstrained(std::future::poll_fn(|cx| {
            Pin::new(&mut *stream).poll_read(cx, &mut ReadBuf::new(&mut byte))
        })));
        look.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Sends a request to the `host` of this name, and waits for the head of the answer.
    ///
    /// # Errors
    ///
    /// [`Http1Error`] when there is none.
    pub async fn send(
        self,
        request: Request<UploadBody>,
        host: &HeaderValue,
    ) -> Result<Response<Receiving>, Http1Error> {
        let Self(mut wire) = self;
        let method = request.method().clone();
        wire.sending = Some(Sending::new(request, host));
        for _ in 0..=INTERIM_MAX {
            let Head { response, framing, is_persistent } =
                std::future::poll_fn(|cx| wire.poll_head(&method, cx)).await?;
            let is_upgrade = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            // What comes after an upgrade is no HTTP.
            if is_upgrade || !response.status().is_informational() {
                // What an early answer has not waited for, its connector may take for another request.
                wire.is_persistent = is_persistent && !is_upgrade && wire.sending.is_none();
                return Ok(response.map(|()| Receiving { wire, framing }));
            }
        }
        Err(Http1Error::TooManyInterim)
    }
}

impl Wire {
    /// Sends what can be sent. Ready once that is all, or no more can be.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(sending) = &mut self.sending {
            self.send_error = ready!(sending.poll(&mut self.stream, cx)).err();
            self.sending = None;
        }
        Poll::Ready(())
    }

    fn poll_head(&mut self, method: &Method, cx: &mut Context<'_>) -> Poll<Result<Head, Http1Error>> {
        // A connector may answer before it has all of the request.
        if self.poll_send(cx).is_ready()
            && let Some(error) = self.send_error.take_if(|error| !matches!(error, Http1Error::Io(_)))
        {
            return Poll::Ready(Err(error));
        }
        loop {
            // Line by line, however slowly it comes.
            let is_line = self.received[self.looked_at..].contains(&b'\n');
            if (is_line || self.received.len() > HEAD_BYTES_MAX)
                && let Some(head) = take_head(&mut self.received, method)?
            {
                self.looked_at = 0;
                return Poll::Ready(Ok(head));
            }
            self.looked_at = self.received.len();
            let read = match ready!(self.poll_read(READ_BYTES, cx)) {
                Ok(0) => Err(Http1Error::Closed),
                read => read,
            };
            // Where nothing is answered, why the request could not be sent says more than that the connection ended.
            read.map_err(|error| self.send_error.take().unwrap_or(error))?;
        }
    }

    /// Reads what there is. Returns how many bytes that were; none at the end.
    fn poll_read(&mut self, size: usize, cx: &mut Context<'_>) -> Poll<Result<usize, Http1Error>> {
        if self.received.capacity() - self.received.len() < ROOM_MIN {
            self.received.reserve(size);
        }
        poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.received).map_err(Http1Error::Io)
    }
}

/// An answer of which the head has been read.
pub struct Receiving {
    wire: Box<Wire>,
    framing: Framing,
}

impl Receiving {
    /// Whether all of it has been read.
    pub fn is_over(&self) -> bool {
        self.framing.is_over()
    }

    /// How much of it is still to come, as far as is known.
    pub fn size_hint(&self) -> SizeHint {
        self.framing.size_hint()
    }

    /// The next piece of the body. Whatever of the request has not been sent goes on meanwhile.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Http1Error>>> {
        // Whether all of it can be sent makes no difference to who has an answer.
        let _ = self.poll_send(cx);
        loop {
            match self.framing.take(&mut self.wire.received) {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if self.is_over() => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            let read = ready!(self.wire.poll_read(self.read_size(), cx));
            let read = read.and_then(|bytes| if bytes == 0 { self.framing.end() } else { Ok(()) });
            if let Err(error) = read {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn read_size(&self) -> usize {
        let next =
            self.framing.next_size().map_or(READ_BYTES, |size| usize::try_from(size).unwrap_or(usize::MAX));
        next.clamp(ROOM_MIN, READ_BYTES_MAX)
    }

    /// Whether the request is still being sent.
    pub fn is_sending(&self) -> bool {
        self.wire.sending.is_some()
    }

    /// Ready once nothing more is to be sent.
    pub fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.wire.poll_send(cx)
    }

    /// The connection for the next call, if it can be used again.
    pub fn into_connection(self) -> Option<Http1> {
        let Self { mut wire, framing } = self;
        let is_whole = wire.sending.is_none() && wire.send_error.is_none() && framing.is_over();
        if !is_whole || !wire.is_persistent || !wire.received.is_empty() {
            return None;
        }
        // The answer's bytes are in it, for as long as somebody reads them. And idle connections are many.
        wire.received = BytesMut::new();
        Some(Http1(wire))
    }
}

/// An answer to a GET that comes in such pieces, after which the connection ends: its status, its body, and what is left over.
///
/// # Errors
///
/// [`Http1Error`] when it is none, or not whole.
#[cfg(any(fuzzing, test))]
pub(crate) fn read_connector_answer<'p>(
    pieces: impl IntoIterator<Item = &'p [u8]>,
) -> Result<(StatusCode, Vec<u8>, Vec<u8>), Http1Error> {
    let (mut received, mut answer, mut body) = (BytesMut::new(), None, Vec::new());
    for piece in pieces {
        received.extend_from_slice(piece);
        while answer.is_none()
            && let Some(head) = take_head(&mut received, &Method::GET)?
        {
            let status = head.response.status();
            answer = Some((status, head.framing)).filter(|_| !status.is_informational());
        }
        while let Some((_, framing)) = &mut answer
            && let Some(frame) = framing.take(&mut received)?
        {
            body.extend(frame.into_data().unwrap_or_default());
        }
    }
    let (status, mut framing) = answer.ok_or(Http1Error::Closed)?;
    framing.end()?;
    Ok((status, body, received.into()))
}

#[cfg(test)]
mod tests;
