//! The answer's body on its way to the agent: streamed, never collected.
//!
//! It carries the call's record to its end: the record is handed to the trail when the connector's last byte is there, when the
//! agent hangs up, or when the connector breaks off. The end of the answer is released once the record is safe.

use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::Semaphore;
use tokio::time::Sleep;
use tower::BoxError;

use super::call::Call;
use super::forward::ConnectorStream;
use super::mcp::screen::{Screen, ScreenError};
use super::readers::Reader;
use super::rewrite;
use super::upload::IdleDeadline;
use crate::audit::{AuditUnavailable, Ending, Receipt};
use crate::limit::Place;

/// Most bodies that are read at a time though nobody takes them: a connection each.
static READ_ON: Semaphore = Semaphore::const_new(1_024);
/// How much of such a body is read. Results are below a megabyte; what is larger is a stream of its own.
const READ_ON_BYTES_MAX: usize = 16 * 1_048_576;
/// How long such a body is read: as long as a tool may well take.
const READ_ON_TIME_MAX: Duration = Duration::from_secs(600);

/// Why a body breaks off. Whoever reads it sees a broken connection, never a shorter body that looks whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The other side broke off.
    #[error("the body broke off")]
    Broke(#[source] BoxError),
    /// Nothing came for too long.
    #[error("nothing came for {0:?}")]
    Stalled(Duration),
    /// It has had all the time that a call has.
    #[error("the call has taken too long")]
    TimedOut,
    /// An MCP server sent what cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ScreenError),
    /// Our own code failed.
    #[error("the body's reader panicked")]
    Panicked,
    /// What happened cannot be recorded, so nobody is told that it ended well.
    #[error(transparent)]
    Unrecorded(#[from] AuditUnavailable),
}

/// An answer's body.
pub struct Body {
    source: Source,
    call: Option<Box<Call>>,
    reader: Option<Reader>,
    /// What was there of it before anybody asked.
    first: Option<Result<Frame<Bytes>, BodyError>>,
    last: Option<Last>,
    /// Why it breaks off. It is said a moment later: what came before it, the head among it, is written first.
    broken: Option<BodyError>,
}

/// The end of an answer, held back until the call's record is safe: its last piece, or that there is none any more.
struct Last {
    receipt: Receipt,
    piece: Option<Frame<Bytes>>,
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
    Connector(Box<ConnectorBody>),
}

/// What the connector sends, and what becomes of it.
pub struct ConnectorBody {
    body: ConnectorStream,
    idle: IdleDeadline,
    /// What an MCP server sends is looked at.
    screen: Option<Box<Screen>>,
    /// When the stream ends: the caller's token does.
    until: Option<Pin<Box<Sleep>>>,
    /// The connector is at work until it has been read.
    place: Place,
    /// When it is cut: a call has no more time than that.
    deadline: Option<Instant>,
    /// It is read to its end though nobody takes it: to hang up would tell the connector to stop.
    outlives_agent: bool,
    /// Nothing more comes from the connector.
    over: Option<Ending>,
}

impl ConnectorBody {
    /// A body that is passed on as it comes, as long as something comes at least every `idle_timeout`. It holds its `place` until the connector
    /// has said all.
    pub fn new(body: ConnectorStream, idle_timeout: Duration, place: Place) -> Self {
        let place = if is_over(&body) { Place::NONE } else { place };
        Self {
            body,
            idle: IdleDeadline::new(idle_timeout),
            screen: None,
            until: None,
            place,
            deadline: None,
            outlives_agent: false,
            over: None,
        }
    }

    /// Gives its place back before its end.
    pub fn leave_place(&mut self) {
        self.place = Place::NONE;
    }

    /// It goes through `screen` on its way.
    pub fn screened(&mut self, screen: Screen) {
        self.screen = Some(Box::new(screen));
    }

    /// It ends at this moment, whether or not the connector has more to say.
    pub fn ends_at(&mut self, until: Instant) {
        self.until = Some(Box::pin(tokio::time::sleep_until(until.into())));
    }

    /// It breaks off at this moment, if it has not ended by then.
    pub fn cut_at(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// It is read to its end though the agent leaves.
    pub fn outlives_agent(&mut self) {
        self.outlives_agent = true;
    }

    /// The connector's own body, for whoever reads it whole, and its place until then.
    pub fn into_parts(self) -> (ConnectorStream, Place) {
        (self.body, self.place)
    }

    /// Whether nothing more comes. HTTP/2 may say so in a frame of its own, after the last byte that was announced.
    fn is_over(&self) -> bool {
        is_over(&self.body) && self.screen.as_ref().is_none_or(|screen| screen.is_empty())
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let now = Instant::now();
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(now));
        if left.is_some_and(|left| left.is_zero()) {
            return Poll::Ready(Some(Err(BodyError::TimedOut)));
        }
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.body).poll_frame(cx)));
        match polled {
            Ok(Poll::Ready(frame)) => {
                self.idle.restart();
                // The end may still have to wait for the call's record, and nobody else for that.
                if matches!(frame, None | Some(Err(_))) || is_over(&self.body) {
                    self.leave_place();
                }
                Poll::Ready(frame.map(|frame| frame.map_err(|error| BodyError::Broke(error.into()))))
            }
            Ok(Poll::Pending) => {
                ready!(self.idle.poll_within(left.unwrap_or(Duration::MAX), cx));
                Poll::Ready(Some(Err(
                    match self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                        true => BodyError::TimedOut,
                        false => BodyError::Stalled(self.idle.timeout),
                    },
                )))
            }
            Err(_) => Poll::Ready(Some(Err(BodyError::Panicked))),
        }
    }

    /// The next piece for the agent. Once there is none, `over` says how it ended.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(piece) = self.screen.as_mut().and_then(|screen| screen.take()) {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if self.over.is_some() {
                return Poll::Ready(None);
            }
            if let Some(until) = &mut self.until
                && until.as_mut().poll(cx).is_ready()
            {
                self.over = Some(Ending::TokenExpired);
                self.screen.iter_mut().for_each(|screen| screen.expire());
                continue;
            }
            let Some(frame) = ready!(self.poll_body(cx)) else {
                self.over = Some(Ending::Answered);
                if let Some(Err(error)) = self.screen.as_mut().map(|screen| screen.finish()) {
                    return Poll::Ready(Some(Err(error.into())));
                }
                continue;
            };
            let (Ok(frame), Some(screen)) = (&frame, &mut self.screen) else {
                return Poll::Ready(Some(frame));
            };
            // Trailers of an MCP server have no meaning, and nothing has judged them.
            if let Some(data) = frame.data_ref()
                && let Err(error) = screen.push(data, is_over(&self.body))
            {
                return Poll::Ready(Some(Err(error.into())));
            }
        }
    }
}

impl Body {
    /// A body of ours. The call ends when it has been handed over.
    pub fn whole(bytes: Bytes, call: Option<Box<Call>>) -> Self {
        Self { source: Source::Whole(Some(bytes)), call, reader: None, first: None, last: None, broken: None }
    }

    /// The connector's body. The call ends when it does. `reader` is watched where nothing else would tell that the
    /// agent has stopped reading.
    pub fn from_connector(body: Box<ConnectorBody>, mut call: Box<Call>, reader: Option<Reader>) -> Self {
        // Nobody polls a body that is over from the start, or that an answer of this kind does not have.
        if body.is_over() || call.has_bodyless_answer() {
            call.end(Ending::Answered);
        }
        Self {
            source: Source::Connector(body),
            call: Some(call),
            reader,
            first: None,
            last: None,
            broken: None,
        }
    }

    /// Waits for the call's record, where nothing more can happen to the call: an answer of ours, one without a body, or one that is
    /// all there already. Its head and its body then go out together.
    ///
    /// # Errors
    ///
    /// [`AuditUnavailable`] when the record of one without a body, or of one of ours, cannot be written. The answer must not be given
    /// then. Any other breaks off after its head.
    pub async fn settle(&mut self) -> Result<(), AuditUnavailable> {
        let is_settled = match &self.source {
            Source::Whole(_) => true,
            Source::Connector(body) => {
                body.is_over() || self.call.as_ref().is_some_and(|call| call.has_bodyless_answer())
            }
        };
        match self.call.take_if(|_| is_settled) {
            Some(mut call) => {
                if let Source::Whole(Some(bytes)) = &self.source {
                    call.passed_on(bytes.len());
                }
                call.finish().await
            }
            None => {
                if self.call.is_some() {
                    self.look_ahead().await;
                }
                Ok(())
            }
        }
    }

    /// Takes the first piece, if it is there already, and waits for the record if it is the last one. What fails is told once the head
    /// has been written.
    async fn look_ahead(&mut self) {
        let first = poll_fn(|cx| match self.poll_next(cx) {
            // All has come, and the record alone is waited for.
            Poll::Pending if self.last.is_some() => Poll::Pending,
            polled => Poll::Ready(polled),
        });
        if let Poll::Ready(first) = first.await {
            self.first = first;
        }
    }

    fn end(&mut self, ending: Ending) -> Receipt {
        let Some(mut call) = self.call.take() else { return Receipt::none() };
        call.end(ending);
        call.finish()
    }

    /// The next piece, or the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.last.is_some() {
            return self.poll_last(cx);
        }
        let body = match &mut self.source {
            // Its record is safe already.
            Source::Whole(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                return Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))));
            }
            Source::Connector(body) => body,
        };
        if let Some(reader) = &self.reader {
            reader.asks();
        }
        match ready!(body.poll_piece(cx)) {
            None => {
                let ending = body.over.unwrap_or(Ending::Answered);
                self.last = Some(Last { receipt: self.end(ending), piece: None });
                self.poll_last(cx)
            }
            Some(Ok(mut frame)) => {
                if let (Some(data), Some(call)) = (frame.data_ref(), self.call.as_mut()) {
                    call.passed_on(data.len());
                }
                if let Some(trailers) = frame.trailers_mut() {
                    rewrite::clean_response(trailers);
                }
                // A reader that knows the length does not ask again after the last byte, and trailers are the end of any.
                if body.is_over() || frame.is_trailers() {
                    self.last = Some(Last { receipt: self.end(Ending::Answered), piece: Some(frame) });
                    return self.poll_last(cx);
                }
                if let Some(reader) = &self.reader {
                    reader.was_given(Instant::now());
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                // Nobody waits for the record of what did not end well.
                drop(self.end(match error {
                    BodyError::Broke(_) | BodyError::Stalled(_) | BodyError::Unreadable(_) => {
                        Ending::ConnectorBroke
                    }
                    BodyError::TimedOut => Ending::CallTimedOut,
                    BodyError::Panicked | BodyError::Unrecorded(_) => Ending::Panicked,
                }));
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    /// The end of the answer, once the record is safe.
    fn poll_last(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(last) = &mut self.last else { return Poll::Ready(None) };
        let recorded = ready!(Pin::new(&mut last.receipt).poll(cx));
        let piece = self.last.take().and_then(|last| last.piece);
        if let Some(reader) = &self.reader {
            reader.was_given(Instant::now());
        }
        Poll::Ready(match recorded {
            Ok(()) => piece.map(Ok),
            Err(unavailable) => Some(Err(unavailable.into())),
        })
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let source = std::mem::replace(&mut self.source, Source::Whole(None));
        let Source::Connector(body) = source else { return };
        if let ConnectorBody { body, idle, over: None, outlives_agent: true, place, .. } = *body
            && !is_over(&body)
        {
            read_on(body, idle.timeout, place);
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
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let next = match self.first.take() {
            Some(first) => Some(first),
            None => ready!(self.poll_next(cx)),
        };
        if let Some(Err(error)) = next {
            self.broken = Some(error);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Source::Connector(body) => {
                let is_held = self.first.is_some() || self.last.is_some() || self.broken.is_some();
                !is_held && body.body.is_end_stream() && body.is_over()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            // One that breaks off has the length of none: whoever writes it would take it for whole.
            Source::Connector(_) if self.broken.is_some() || matches!(self.first, Some(Err(_))) => {
                SizeHint::default()
            }
            Source::Connector(body) if body.screen.as_ref().is_some_and(|screen| screen.rewrites()) => {
                SizeHint::default()
            }
            Source::Connector(body) => {
                let first = self.first.as_ref().and_then(|first| first.as_ref().ok());
                let first = first.and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
                let (rest, mut hint) = (body.body.size_hint(), SizeHint::new());
                hint.set_lower(rest.lower().saturating_add(first));
                rest.upper().into_iter().for_each(|upper| hint.set_upper(upper.saturating_add(first)));
                hint
            }
        }
    }
}

/// Whether nothing more comes. HTTP/2 may say so in a frame of its own, after the last byte that was announced.
fn is_over(body: &ConnectorStream) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}

/// Reads a body that nobody takes any more to its end, so that the connector is not told to stop. There are bounds: what
/// goes beyond them is cut. As long as it takes, the connector is at work, and its place is taken.
pub fn read_on(mut body: ConnectorStream, idle_timeout: Duration, place: Place) {
    let Ok(permit) = READ_ON.try_acquire() else { return };
    tokio::spawn(async move {
        let (_permit, _place) = (permit, place);
        let reading = async {
            let mut bytes = 0;
            while let Ok(Some(Ok(frame))) = tokio::time::timeout(idle_timeout, body.frame()).await {
                bytes += frame.data_ref().map_or(0, Bytes::len);
                if bytes > READ_ON_BYTES_MAX {
                    return;
                }
            }
        };
        // Whether it came to its end makes no difference to anybody.
        let _ = tokio::time::timeout(READ_ON_TIME_MAX, reading).await;
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_not_recorded_is_not_taken_for_one_without_a_body() {
        let connector = ConnectorBody::new(ConnectorStream::over(), Duration::MAX, Place::NONE);
        let mut body = Body::whole(Bytes::new(), None);
        body.source = Source::Connector(Box::new(connector));
        body.first = Some(Err(AuditUnavailable.into()));
        assert!(!body.is_end_stream() && body.size_hint().exact().is_none());
    }
}
