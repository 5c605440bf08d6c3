//! Places at a connector, in one number, as long as few are taken: whoever finds one then waits at no lock, and nobody asks whose it is.

use std::sync::atomic::{AtomicU64, Ordering};

/// The queue says who has a place: many are taken, somebody waits, or it is being changed.
const BY_LINE: u64 = 1 << 63;
/// Where the number of places begins that are taken here. Below is how many are taken in all.
const UNCOUNTED_SHIFT: u32 = 32;

/// How many places are taken, and how many may be before it matters whose they are.
///
/// From then on, until fewer are taken and nobody waits, the queue counts, under its lock.
pub struct Places(AtomicU64);

impl Places {
    /// None is taken, and so many are given here.
    pub fn new(uncounted: usize) -> Self {
        Self(AtomicU64::new(packed(0, uncounted)))
    }

    /// Takes one, unless as many are taken as are given here, or the queue says who has one.
    pub fn take(&self) -> bool {
        self.change(|state| (is_open(state) && taken(state) < uncounted(state)).then(|| state + 1))
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

    /// There are enough again: so many are taken, of so many that are given here.
    pub fn open(&self, taken: usize, uncounted: usize) {
        self.0.store(packed(taken, uncounted), Ordering::Release);
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

fn packed(taken: usize, uncounted: usize) -> u64 {
    ((uncounted as u64) << UNCOUNTED_SHIFT) | taken as u64
}

const fn is_open(state: u64) -> bool {
    state & BY_LINE == 0
}

const fn taken(state: u64) -> usize {
    (state & ((1 << UNCOUNTED_SHIFT) - 1)) as usize
}

const fn uncounted(state: u64) -> usize {
    ((state & !BY_LINE) >> UNCOUNTED_SHIFT) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_taken_without_the_line() {
        let places = Places::new(2);
        assert_eq!((places.take(), places.take(), places.take()), (true, true, false));
        assert_eq!(places.taken(), Some(2));
        assert!(places.give_back());
        assert_eq!((places.take(), places.take()), (true, false));
        assert!(!Places::new(0).take());
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
        places.open(65_534, 65_535);
        assert_eq!((places.take(), places.take(), places.taken()), (true, false, Some(65_535)));
    }
}
