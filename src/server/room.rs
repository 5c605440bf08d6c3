//! How many connections there may be at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Room for so many, which a reload can change. Who is in already stays.
pub struct Room {
    max: AtomicUsize,
    taken: AtomicUsize,
    changed: Notify,
}

/// A place, taken until this is dropped.
pub struct Place(Arc<Room>);

impl Room {
    /// Nobody is in yet.
    pub fn for_up_to(max: usize) -> Self {
        Self { max: AtomicUsize::new(max), taken: AtomicUsize::new(0), changed: Notify::new() }
    }

    /// From here on there is room for so many.
    pub fn is_for_up_to(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// A place, once there is one. One at a time asks for one.
    pub async fn enter(self: &Arc<Self>) -> Place {
        while self.taken.load(Ordering::Relaxed) >= self.max.load(Ordering::Relaxed) {
            // A change that came since then is not missed: it is kept for who waits next.
            self.changed.notified().await;
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
        Place(Arc::clone(self))
    }
}

impl Drop for Place {
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
        let room = Arc::new(Room::for_up_to(2));
        let (first, second) = (room.enter().await, room.enter().await);
        assert!(room.enter().now_or_never().is_none());
        drop(first);
        let third = room.enter().now_or_never().expect("a place");
        room.is_for_up_to(1);
        drop(second);
        assert!(room.enter().now_or_never().is_none(), "who was in already counts");
        let entering = room.enter();
        tokio::pin!(entering);
        assert!(entering.as_mut().now_or_never().is_none());
        room.is_for_up_to(2);
        let fourth = entering.await;
        drop((third, fourth));
        assert_eq!(room.taken.load(Ordering::Relaxed), 0);
    }
}
