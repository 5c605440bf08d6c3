//! Who reads what they asked for. On HTTP/2 an agent can take a piece of an answer and then want no more, for ever:
//! the connection lives, nothing is written, and nobody polls the body. So each connection knows which of its answers
//! wait for their reader, and since when.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The answers of one connection that wait for their readers.
#[derive(Default)]
pub struct Readers {
    waiting: Mutex<HashMap<u64, Instant>>,
    count: AtomicU64,
}

/// The reader of one answer.
pub struct Reader {
    id: u64,
    readers: Arc<Readers>,
}

impl Readers {
    /// The reader of another answer on this connection.
    pub fn reader(self: &Arc<Self>) -> Reader {
        Reader { id: self.count.fetch_add(1, Ordering::Relaxed), readers: Arc::clone(self) }
    }

    /// How long the slowest reader has left a piece where it is.
    pub fn longest_wait(&self, now: Instant) -> Duration {
        let waits = self.lock().values().map(|since| now.saturating_duration_since(*since)).max();
        waits.unwrap_or_default()
    }

    /// Every operation leaves the map whole, so a panic elsewhere says nothing about it.
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// The reader was given a piece, and has to ask for the next.
    pub fn was_given(&self, now: Instant) {
        self.readers.lock().insert(self.id, now);
    }

    /// The reader asks for more.
    pub fn asks(&self) {
        self.readers.lock().remove(&self.id);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.asks();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_reader_counts_until_it_asks_or_leaves() {
        let readers = Arc::new(Readers::default());
        let (slow, quick) = (readers.reader(), readers.reader());
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(readers.longest_wait(begin), Duration::ZERO);
        slow.was_given(begin);
        quick.was_given(after(5));
        assert_eq!(readers.longest_wait(after(8)), Duration::from_secs(8));
        slow.asks();
        assert_eq!(readers.longest_wait(after(8)), Duration::from_secs(3));
        drop(quick);
        assert_eq!(readers.longest_wait(after(8)), Duration::ZERO);
    }
}
