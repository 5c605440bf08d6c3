//! Whether a connection has calls under way: one that has none is not kept for long.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long an agent on HTTP/1 may take to send what it was about to send when it would be told that its connection goes.
const LINGER: Duration = Duration::from_millis(500);

/// The calls of one connection.
pub struct Activity {
    running: AtomicUsize,
    begun: AtomicU64,
    /// When something last happened that was no call.
    last: Mutex<Instant>,
    is_http2: AtomicBool,
    /// Wakes whoever waits to tell the agent that its connection goes.
    spoken: Notify,
}

/// A call under way, to the end of its answer.
pub struct CallGuard(Arc<Activity>);

impl Activity {
    /// Of a connection that has just come.
    pub fn new() -> Arc<Self> {
        let last = Mutex::new(Instant::now());
        Arc::new(Self {
            running: AtomicUsize::new(0),
            begun: AtomicU64::new(0),
            last,
            is_http2: AtomicBool::new(false),
            spoken: Notify::new(),
        })
    }

    /// A call begins.
    pub fn begin(self: &Arc<Self>) -> CallGuard {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        CallGuard(Arc::clone(self))
    }

    /// How many calls have begun so far.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether no call is under way.
    pub fn is_idle(&self) -> bool {
        self.running.load(Ordering::Relaxed) == 0
    }

    /// The agent has something to say.
    pub fn heard(&self) {
        *self.last() = Instant::now();
    }

    /// The agent speaks HTTP/2.
    pub fn speaks_http2(&self) {
        self.is_http2.store(true, Ordering::Relaxed);
        self.spoken.notify_one();
    }

    /// A call has begun on a connection that is to go.
    pub fn spoke(&self) {
        self.spoken.notify_one();
    }

    /// Ends when the agent can be told that its connection goes, and loses nothing by it: at once over HTTP/2, where that names the
    /// calls that are answered still, and where there is a call, with whose answer it is said. Over HTTP/1 it is said by closing, which
    /// may cross with a call that is on its way: so there is a moment for that.
    pub async fn lingers(&self) {
        let spoken = async {
            while self.is_idle() && !self.is_http2.load(Ordering::Relaxed) {
                self.spoken.notified().await;
            }
        };
        // Nobody has anything to say.
        let _ = tokio::time::timeout(LINGER, spoken).await;
    }

    /// Ends when there has been no call for so long.
    pub async fn idle_for(&self, idle_timeout: Duration) {
        loop {
            let waited = if self.is_idle() { self.last().elapsed() } else { Duration::ZERO };
            match idle_timeout.checked_sub(waited) {
                Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
                Some(_) | None => return,
            }
        }
    }

    /// Every change leaves it whole.
    fn last(&self) -> MutexGuard<'_, Instant> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        // First the time, so that nobody sees an idle connection with an old one.
        self.0.heard();
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer, with its call.
pub struct GuardedBody<B> {
    body: B,
    _call: CallGuard,
}

impl<B> GuardedBody<B> {
    /// The call lasts as long as this body.
    pub fn new(body: B, call: CallGuard) -> Self {
        Self { body, _call: call }
    }
}

impl<B: Body + Unpin> Body for GuardedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_over_when_it_has_had_no_call_for_long_enough() {
        let (activity, begun) = (Activity::new(), Instant::now());
        let busy = activity.begin();
        let long_call = tokio::time::sleep(10 * IDLE);
        tokio::select! {
            () = activity.idle_for(IDLE) => panic!("a call is under way"),
            () = long_call => drop(busy),
        }
        activity.idle_for(IDLE).await;
        assert!((10 * IDLE + IDLE..12 * IDLE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_goes_lingers_until_there_is_a_call_or_nothing_comes() {
        let (activity, begun) = (Activity::new(), Instant::now());
        activity.lingers().await;
        assert_eq!(begun.elapsed(), LINGER, "nobody spoke");
        let late = async {
            tokio::time::sleep(LINGER / 2).await;
            let call = activity.begin();
            activity.spoke();
            call
        };
        let ((), call) = tokio::join!(activity.lingers(), late);
        assert_eq!(begun.elapsed(), LINGER + LINGER / 2, "with the call");
        activity.lingers().await;
        drop(call);
        activity.speaks_http2();
        activity.lingers().await;
        assert_eq!(begun.elapsed(), LINGER + LINGER / 2, "at once");
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_has_something_to_say_is_heard() {
        let (activity, begun) = (Activity::new(), Instant::now());
        tokio::time::sleep(IDLE / 2).await;
        activity.heard();
        activity.idle_for(IDLE).await;
        assert_eq!(begun.elapsed(), IDLE / 2 + IDLE);
    }
}
