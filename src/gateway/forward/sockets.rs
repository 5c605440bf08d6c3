//! How many connections to connectors there may be at a time, all of them together. Each takes a file descriptor. Agents are let in only as
//! far as there is another one for each (`server/descriptors.rs`), but one of them can have hundreds of calls on one connection.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::Stream;
use super::pool::Pool;

/// How often idle connections are closed while calls wait for a place, and at most, however many they are.
const CLOSE_INTERVAL: Duration = Duration::from_millis(100);

/// So many connections to connectors.
pub struct ConnectorSockets {
    free: Arc<Semaphore>,
    /// How many calls wait until they may have one made.
    waiting: AtomicUsize,
    pools: Mutex<Pools>,
}

/// Where idle ones are, which go when calls wait.
#[derive(Default)]
struct Pools {
    all: Vec<Weak<Pool>>,
    closed_at: Option<Instant>,
}

/// The place of one connection. It is others' once this is dropped.
pub struct SocketPlace {
    _permit: OwnedSemaphorePermit,
}

impl ConnectorSockets {
    /// None is there yet.
    pub fn new(max: usize) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { free, waiting: AtomicUsize::new(0), pools: Mutex::default() })
    }

    /// A place, once there is one. While there is none, idle connections go, whichever connector they are to.
    pub async fn acquire(&self) -> SocketPlace {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return SocketPlace { _permit: permit };
        }
        let _waiting = Waiting::one_more(&self.waiting);
        let mut place = std::pin::pin!(Arc::clone(&self.free).acquire_owned());
        loop {
            self.close_idle();
            // Another may become idle in the same moment.
            if let Ok(permit) = tokio::time::timeout(CLOSE_INTERVAL, place.as_mut()).await {
                return SocketPlace { _permit: permit.expect("nobody closes the semaphore") };
            }
        }
    }

    /// Whether calls wait for a place, so that no connection is to be kept idle.
    pub fn are_scarce(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Has the idle connections of this pool closed when calls wait.
    pub(super) fn register(&self, pool: &Arc<Pool>) {
        let mut pools = self.pools();
        pools.all.retain(|pool| pool.strong_count() > 0);
        pools.all.push(Arc::downgrade(pool));
    }

    fn close_idle(&self) {
        let now = Instant::now();
        let mut pools = self.pools();
        if pools.closed_at.is_some_and(|at| now.duration_since(at) < CLOSE_INTERVAL) {
            return;
        }
        pools.closed_at = Some(now);
        let all: Vec<_> = pools.all.iter().filter_map(Weak::upgrade).collect();
        drop(pools);
        all.iter().for_each(|pool| pool.close_idle(now));
    }

    /// Every change leaves it whole.
    fn pools(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one who waits, for as long as it is there.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn one_more(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection in its place. That is free only once the connection is closed, whoever has it until then.
pub struct Placed {
    stream: Stream,
    _place: SocketPlace,
}

impl Placed {
    /// This connection, in this place.
    pub fn new(stream: Stream, place: SocketPlace) -> Self {
        Self { stream, _place: place }
    }
}

impl Read for Placed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Write for Placed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }
}
