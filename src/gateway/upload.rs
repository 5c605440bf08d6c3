//! The agent's body on its way to the connector: streamed, never collected, and watched.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::body::BodyError;

/// How far the agent's body has come, for whoever waits for the answer.
#[derive(Debug)]
pub struct Upload {
    started: Instant,
    bytes: AtomicU64,
    /// Milliseconds from `started` to the last sign of life.
    last_progress: AtomicU64,
    /// Whether it is the agent that everybody waits for, and not the connector.
    waits_for_agent: AtomicBool,
    end: OnceLock<UploadEnd>,
}

/// How the agent's body ended, when it did not come whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UploadEnd {
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
            end: OnceLock::new(),
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

    /// How it ended, when it did not come whole.
    pub fn end(&self) -> Option<UploadEnd> {
        self.end.get().copied()
    }

    fn progressed(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let since = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_progress.store(since, Ordering::Relaxed);
        self.waits_for_agent.store(false, Ordering::Relaxed);
    }

    fn ended(&self, end: UploadEnd) {
        // The first end is the true one.
        let _ = self.end.set(end);
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
                    this.upload.ended(UploadEnd::Broke);
                    return Poll::Ready(Some(Err(BodyError::Broke(error))));
                }
                Poll::Ready(None) => {
                    this.upload.progressed(0);
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    this.upload.waits_for_agent.store(true, Ordering::Relaxed);
                    ready!(this.idle.poll(cx));
                    this.upload.ended(UploadEnd::Stalled);
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
pub struct IdleDeadline {
    /// How long nothing may come.
    pub timeout: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl IdleDeadline {
    /// A deadline that has not begun.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, sleep: None }
    }

    /// Something came.
    pub fn restart(&mut self) {
        self.sleep = None;
    }

    /// Whether nothing has come for too long.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.timeout;
        self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout))).as_mut().poll(cx)
    }
}
