//! The answer's body on its way to the agent: streamed, never collected.
//!
//! It carries the call's record to its end: the record is written when the last byte has been
//! handed over, when the agent hangs up, or when the connector breaks off.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::call::Call;
use super::readers::Reader;
use super::rewrite;
use super::upload::IdleDeadline;
use crate::audit::Ending;

/// Why a body breaks off. Whoever reads it sees a broken connection, never a shorter body that looks whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The other side broke off.
    #[error("the body broke off")]
    Broke(#[source] hyper::Error),
    /// Nothing came for too long.
    #[error("nothing came for {0:?}")]
    Stalled(Duration),
    /// Our own code failed.
    #[error("the body's reader panicked")]
    Panicked,
}

/// An answer's body.
pub struct Body {
    source: Source,
    call: Option<Box<Call>>,
    reader: Option<Reader>,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body")
    }
}

enum Source {
    /// One of ours.
    Whole(Option<Bytes>),
    /// The connector's.
    Connector { body: Incoming, idle: IdleDeadline },
}

impl Body {
    /// A body of ours. The call ends when it has been handed over.
    pub fn whole(bytes: Bytes, call: Option<Box<Call>>) -> Self {
        Self { source: Source::Whole(Some(bytes)), call, reader: None }
    }

    /// The connector's body. The call ends when it does. `reader` is watched where nothing else would tell that the
    /// agent has stopped reading.
    pub fn from_connector(
        body: Incoming,
        idle_timeout: Duration,
        mut call: Box<Call>,
        reader: Option<Reader>,
    ) -> Self {
        // Nobody polls a body that is over from the start, or that an answer of this kind does not have.
        if is_over(&body) || call.has_bodyless_answer() {
            call.end(Ending::Answered);
        }
        let source = Source::Connector { body, idle: IdleDeadline::new(idle_timeout) };
        Self { source, call: Some(call), reader }
    }

    fn end(&mut self, ending: Ending) {
        if let Some(mut call) = self.call.take() {
            call.end(ending);
        }
    }

    fn poll_connector(
        body: &mut Incoming,
        idle: &mut IdleDeadline,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut *body).poll_frame(cx)));
        match polled {
            Ok(Poll::Ready(frame)) => {
                idle.restart();
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Broke)))
            }
            Ok(Poll::Pending) => {
                ready!(idle.poll(cx));
                Poll::Ready(Some(Err(BodyError::Stalled(idle.timeout))))
            }
            Err(_) => Poll::Ready(Some(Err(BodyError::Panicked))),
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let (body, idle) = match &mut this.source {
            Source::Whole(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                // The call ends with the only piece: whoever took it may never ask again.
                if let Some(mut call) = this.call.take() {
                    call.passed_on(bytes.as_ref().map_or(0, Bytes::len));
                }
                return Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))));
            }
            Source::Connector { body, idle } => (body, idle),
        };
        if let Some(reader) = &this.reader {
            reader.asks();
        }
        match ready!(Self::poll_connector(body, idle, cx)) {
            None => {
                this.end(Ending::Answered);
                Poll::Ready(None)
            }
            Some(Ok(mut frame)) => {
                if let (Some(data), Some(call)) = (frame.data_ref(), this.call.as_mut()) {
                    call.passed_on(data.len());
                }
                if let Some(trailers) = frame.trailers_mut() {
                    rewrite::clean_response(trailers);
                }
                // A reader that knows the length does not ask again after the last byte.
                if is_over(body) {
                    this.end(Ending::Answered);
                }
                if let Some(reader) = &this.reader {
                    reader.was_given(Instant::now());
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                this.end(match error {
                    BodyError::Broke(_) | BodyError::Stalled(_) => Ending::ConnectorBroke,
                    BodyError::Panicked => Ending::Panicked,
                });
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Source::Connector { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::Connector { body, .. } => body.size_hint(),
        }
    }
}

/// Whether nothing more comes. HTTP/2 may say so in a frame of its own, after the last byte that was announced.
fn is_over(body: &Incoming) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}
