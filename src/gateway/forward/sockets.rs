//! How many connections to connectors there may be at a time, all of them together. Each takes a file descriptor. Agents are let in only as
//! far as there is another one for each (`server/descriptors.rs`), but one of them can have hundreds of calls on one connection.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pool::Pool;

/// How often who waits for a connection looks whether others are idle.
const LOOK: Duration = Duration::from_secs(1);

/// So many connections to connectors.
pub struct ConnectorSockets {
    free: Arc<Semaphore>,
    /// How many calls wait until they may have one made.
    waiting: AtomicUsize,
    /// Where idle ones are, which go when calls wait.
    pools: Mutex<Vec<Weak<Pool>>>,
}

/// A connection may be there until this is dropped.
pub struct SocketPermit {
    _permit: OwnedSemaphorePermit,
}

impl ConnectorSockets {
    /// None is there yet.
    pub fn new(max: usize) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { free, waiting: AtomicUsize::new(0), pools: Mutex::default() })
    }

    /// A permit, once there may be one more. Idle connections go, whoever's they are.
    pub async fn acquire(&self) -> SocketPermit {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return SocketPermit { _permit: permit };
        }
        let _waiting = Waiting::one_more(&self.waiting);
        let mut permit = std::pin::pin!(Arc::clone(&self.free).acquire_owned());
        loop {
            self.close_idle();
            // Another may become idle in the same moment.
            if let Ok(permit) = tokio::time::timeout(LOOK, permit.as_mut()).await {
                return SocketPermit { _permit: permit.expect("nobody closes the semaphore") };
            }
        }
    }

    /// Whether there are too few of them, so that none is to be kept idle.
    pub fn are_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Connections of this pool are among them.
    pub(super) fn watch(&self, pool: &Arc<Pool>) {
        let mut pools = self.pools();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    fn close_idle(&self) {
        let pools: Vec<_> = self.pools().iter().filter_map(Weak::upgrade).collect();
        pools.iter().for_each(|pool| pool.close_idle());
    }

    /// Every change leaves it whole.
    fn pools(&self) -> MutexGuard<'_, Vec<Weak<Pool>>> {
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
