//! Bodies, streamed both ways and never collected.
//!
//! The answer's body carries the call's record to its end: the record is written when the last byte has been
//! handed over, when the agent hangs up, or when the connector breaks off.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::call::Call;
use super::rewrite;
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
        Self { source: Source::Whole(Some(bytes)), call }
    }

    /// The connector's body. The call ends when it does.
    pub fn from_connector(body: Incoming, idle_timeout: Duration, mut call: Box<Call>) -> Self {
        // Nobody polls a body that is over from the start: an answer to HEAD, a 204.
        if body.is_end_stream() {
            call.end(Ending::Answered);
        }
        Self { source: Source::Connector { body, idle: IdleDeadline::new(idle_timeout) }, call: Some(call) }
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
                if let (Some(bytes), Some(mut call)) = (&bytes, this.call.take()) {
                    call.passed_on(bytes.len());
                }
                return Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))));
            }
            Source::Connector { body, idle } => (body, idle),
        };
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
                if body.is_end_stream() {
                    this.end(Ending::Answered);
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

/// How far the agent's body has come, for whoever waits for the answer.
#[derive(Debug)]
pub struct Upload {
    started: Instant,
    bytes: AtomicU64,
    /// Milliseconds from `started` to the last sign of life.
    last_progress: AtomicU64,
    /// Whether it is the agent that everybody waits for, and not the connector.
    waits_for_agent: AtomicBool,
    state: AtomicU8,
}

/// What became of the agent's body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UploadState {
    /// Still coming, or not asked for any more.
    Open,
    /// The agent sent nothing for too long.
    Stalled,
    /// The agent broke off.
    Broke,
}

impl Upload {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            bytes: AtomicU64::new(0),
            last_progress: AtomicU64::new(0),
            waits_for_agent: AtomicBool::new(false),
            state: AtomicU8::new(0),
        })
    }

    /// How many bytes have been passed on.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// When the last piece was passed on, or the call began.
    pub fn last_progress(&self) -> Instant {
        let since = Duration::from_millis(self.last_progress.load(Ordering::Relaxed));
        self.started.checked_add(since).unwrap_or(self.started)
    }

    /// Whether it is the agent that everybody waits for: the connector would take more.
    pub fn waits_for_agent(&self) -> bool {
        self.waits_for_agent.load(Ordering::Relaxed)
    }

    /// What became of it.
    pub fn state(&self) -> UploadState {
        match self.state.load(Ordering::Relaxed) {
            0 => UploadState::Open,
            1 => UploadState::Stalled,
            _ => UploadState::Broke,
        }
    }

    fn progressed(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let since = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_progress.store(since, Ordering::Relaxed);
        self.waits_for_agent.store(false, Ordering::Relaxed);
    }

    fn ended(&self, state: UploadState) {
        let number = match state {
            UploadState::Open => 0,
            UploadState::Stalled => 1,
            UploadState::Broke => 2,
        };
        self.state.store(number, Ordering::Relaxed);
    }
}

/// The agent's body on its way to the connector. Its trailers are dropped: nothing has judged them.
pub struct UploadBody {
    body: Incoming,
    idle: IdleDeadline,
    upload: Arc<Upload>,
}

impl UploadBody {
    /// Streams `body`, as long as something comes at least every `idle_timeout`.
    pub fn new(body: Incoming, idle_timeout: Duration) -> (Self, Arc<Upload>) {
        let upload = Upload::new();
        (Self { body, idle: IdleDeadline::new(idle_timeout), upload: Arc::clone(&upload) }, upload)
    }
}

impl HttpBody for UploadBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.idle.restart();
                    if let Some(data) = frame.data_ref() {
                        this.upload.progressed(data.len());
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    this.upload.ended(UploadState::Broke);
                    return Poll::Ready(Some(Err(BodyError::Broke(error))));
                }
                Poll::Ready(None) => {
                    this.upload.progressed(0);
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    this.upload.waits_for_agent.store(true, Ordering::Relaxed);
                    ready!(this.idle.poll(cx));
                    this.upload.ended(UploadState::Stalled);
                    return Poll::Ready(Some(Err(BodyError::Stalled(this.idle.timeout))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A deadline that begins anew with every piece. The timer is only set once something has to be waited for.
struct IdleDeadline {
    timeout: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl IdleDeadline {
    fn new(timeout: Duration) -> Self {
        Self { timeout, sleep: None }
    }

    fn restart(&mut self) {
        self.sleep = None;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.timeout;
        self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout))).as_mut().poll(cx)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body")
    }
}
