//! How many connections there may be at a time: a semaphore that a reload can make smaller as well, which tokio's cannot be while its
//! permits are taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// So many, which a reload can change. Who is connected already stays so.
pub struct ConnectionLimit {
    max: AtomicUsize,
    taken: AtomicUsize,
    changed: Notify,
}

/// A connection may be there until this is dropped.
pub struct ConnectionPermit(Arc<ConnectionLimit>);

impl ConnectionLimit {
    /// Nobody is connected yet.
    pub fn new(max: usize) -> Self {
        Self { max: AtomicUsize::new(max), taken: AtomicUsize::new(0), changed: Notify::new() }
    }

    /// From here on there may be so many.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// A permit, once there may be one more. One at a time asks for it.
    pub async fn acquire(self: &Arc<Self>) -> ConnectionPermit {
        while self.taken.load(Ordering::Relaxed) >= self.max.load(Ordering::Relaxed) {
            // A change that came since then is not missed: it is kept for who waits next.
            self.changed.notified().await;
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
        ConnectionPermit(Arc::clone(self))
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn there_is_room_again_when_somebody_leaves_or_there_is_more_of_it() {
        let limit = Arc::new(ConnectionLimit::new(2));
        let (first, second) = (limit.acquire().await, limit.acquire().await);
        assert!(limit.acquire().now_or_never().is_none());
        drop(first);
        let third = limit.acquire().now_or_never().expect("a place");
        limit.set_max(1);
        drop(second);
        assert!(limit.acquire().now_or_never().is_none(), "who was in already counts");
        let entering = limit.acquire();
        tokio::pin!(entering);
        assert!(entering.as_mut().now_or_never().is_none());
        limit.set_max(2);
        let fourth = entering.await;
        drop((third, fourth));
        assert_eq!(limit.taken.load(Ordering::Relaxed), 0);
    }
}
