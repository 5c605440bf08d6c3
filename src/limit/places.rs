//! Places at a connector, in one number, as long as there are enough: whoever finds one then waits at no lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// The queue says who has a place: all are taken, or it is being changed.
const BY_LINE: u64 = 1 << 63;
/// Where the number of all places begins. Below is how many of them are taken.
const ALL_SHIFT: u32 = 32;

/// How many places there are, and how many of them are taken.
///
/// The last one is never taken here. From then on, until there is one again that nobody waits for, the queue counts, under its lock.
pub struct Places(AtomicU64);

impl Places {
    /// So many, all of them free.
    pub fn new(all: usize) -> Self {
        Self(AtomicU64::new(packed(0, all)))
    }

    /// Takes one, unless it is the last, or the queue says who has one.
    pub fn take(&self) -> bool {
        self.change(|state| (is_open(state) && taken(state) + 1 < all(state)).then(|| state + 1))
    }

    /// Gives one back, unless the queue says who has it next.
    pub fn give_back(&self) -> bool {
        self.change(|state| is_open(state).then(|| state - 1))
    }

    /// Leaves it to the queue who has one. How many are taken, where it was not up to the queue already.
    pub fn close(&self) -> Option<usize> {
        let before = self.0.fetch_or(BY_LINE, Ordering::AcqRel);
        is_open(before).then(|| taken(before))
    }

    /// There are enough again, of so many.
    pub fn open(&self, taken: usize, all: usize) {
        self.0.store(packed(taken, all), Ordering::Release);
    }

    /// How many are taken. `None`: the queue says.
    pub fn taken(&self) -> Option<usize> {
        let state = self.0.load(Ordering::Acquire);
        is_open(state).then(|| taken(state))
    }

    fn change(&self, change: impl FnMut(u64) -> Option<u64>) -> bool {
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, change).is_ok()
    }
}

fn packed(taken: usize, all: usize) -> u64 {
    ((all as u64) << ALL_SHIFT) | taken as u64
}

const fn is_open(state: u64) -> bool {
    state & BY_LINE == 0
}

const fn taken(state: u64) -> usize {
    (state & ((1 << ALL_SHIFT) - 1)) as usize
}

const fn all(state: u64) -> usize {
    ((state & !BY_LINE) >> ALL_SHIFT) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_last_are_taken_without_the_line() {
        let places = Places::new(3);
        assert_eq!((places.take(), places.take(), places.take()), (true, true, false));
        assert_eq!(places.taken(), Some(2));
        assert!(places.give_back());
        assert_eq!((places.take(), places.take()), (true, false));
        assert!(!Places::new(1).take());
    }

    #[test]
    fn what_is_up_to_the_line_changes_by_it_alone() {
        let places = Places::new(3);
        assert!(places.take());
        assert_eq!(places.close(), Some(1));
        assert_eq!(
            (places.close(), places.taken(), places.take(), places.give_back()),
            (None, None, false, false)
        );
        places.open(65_534, 65_536);
        assert_eq!((places.take(), places.take(), places.taken()), (true, false, Some(65_535)));
    }
}
