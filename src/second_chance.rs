//! A table of which what was not used lately goes first.
//!
//! A hand goes round: what was used since it came by last has a second chance (CLOCK), the next that was not has to go. Unlike in a
//! list by the time of use, nothing moves when something is used.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

/// How many entries are looked at with each that is added, so that none that is over stays for long.
const SWEPT_WITH_EACH_ADDED: usize = 4;
/// How many are looked at where nothing is added, and how often at most: some 300 a second, which nobody notices.
const SWEPT_AT_ONCE: usize = 32;
/// See [`SWEPT_AT_ONCE`].
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// Entries by their hashes. Two whose hashes are the same have one place: who looks something up compares what it is.
pub struct SecondChance<T> {
    places: HashMap<u64, u32, BuildHasherDefault<AlreadyHashed>>,
    slots: Vec<Option<Slot<T>>>,
    free: Vec<u32>,
    bytes: usize,
    /// Where the hand has just been.
    hand: usize,
    /// How far it has been swept of what is over.
    swept_to: usize,
    /// When it was swept last without anything being added.
    swept_at: Option<Instant>,
}

struct Slot<T> {
    hash: u64,
    /// Again, since the hand was here last: who comes once makes nobody go who comes again and again.
    is_used: bool,
    entry: T,
}

/// What takes room.
pub trait ByteCount {
    /// How many bytes of memory it takes, with all that goes with it.
    fn byte_count(&self) -> usize;
}

impl<T: ByteCount> SecondChance<T> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// How many bytes they take.
    #[cfg(test)]
    pub fn byte_count(&self) -> usize {
        self.bytes
    }

    /// The place of the entry with this hash.
    pub fn find(&self, hash: u64) -> Option<u32> {
        self.places.get(&hash).copied()
    }

    /// The entry in a place.
    pub fn get(&self, place: u32) -> Option<&T> {
        self.slots.get(place as usize)?.as_ref().map(|slot| &slot.entry)
    }

    /// The entry in a place is used.
    pub fn mark_used(&mut self, place: u32) {
        if let Some(Some(slot)) = self.slots.get_mut(place as usize) {
            slot.is_used = true;
        }
    }

    /// Changes the entry in a place.
    pub fn change<R>(&mut self, place: u32, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        let slot = self.slots.get_mut(place as usize)?.as_mut()?;
        let before = slot.entry.byte_count();
        let result = change(&mut slot.entry);
        self.bytes = self.bytes - before + slot.entry.byte_count();
        Some(result)
    }

    /// Adds an entry. Whatever has the same hash is to be removed before.
    ///
    /// # Panics
    ///
    /// With more than `u32::MAX` entries, for which there is no memory.
    pub fn add(&mut self, hash: u64, entry: T) -> u32 {
        debug_assert!(self.find(hash).is_none(), "whatever has the same hash was to be removed before");
        let place = self.free.pop().unwrap_or_else(|| self.add_slot());
        self.bytes += entry.byte_count();
        self.slots[place as usize] = Some(Slot { hash, is_used: false, entry });
        self.places.insert(hash, place);
        place
    }

    /// Removes the entry in a place.
    pub fn remove(&mut self, place: u32) -> Option<T> {
        let Slot { hash, entry, .. } = self.slots.get_mut(place as usize)?.take()?;
        self.places.remove(&hash);
        self.bytes -= entry.byte_count();
        self.free.push(place);
        Some(entry)
    }

    /// The place of the one that has to go next, as long as all take more than `bytes_max`.
    pub fn next_to_go(&mut self, bytes_max: usize) -> Option<u32> {
        while self.bytes > bytes_max && !self.places.is_empty() {
            self.hand = (self.hand + 1) % self.slots.len();
            match &mut self.slots[self.hand] {
                Some(slot) if slot.is_used => slot.is_used = false,
                Some(_) => return Some(place(self.hand)),
                None => {}
            }
        }
        None
    }

    /// Something is about to be added: the places of entries that are over, among the next few.
    pub fn sweep(&mut self, is_over: impl Fn(&T) -> bool) -> Vec<u32> {
        self.sweep_next(SWEPT_WITH_EACH_ADDED, is_over)
    }

    /// The same, where it was not swept for a while: so that what is over does not stay where nothing is added.
    pub fn sweep_at(&mut self, now: Instant, is_over: impl Fn(&T) -> bool) -> Vec<u32> {
        if self.swept_at.is_some_and(|at| now.saturating_duration_since(at) < SWEEP_INTERVAL) {
            return Vec::new();
        }
        self.swept_at = Some(now);
        self.sweep_next(SWEPT_AT_ONCE, is_over)
    }

    fn sweep_next(&mut self, count: usize, is_over: impl Fn(&T) -> bool) -> Vec<u32> {
        let count = count.min(self.slots.len());
        let mut over = Vec::new();
        for _ in 0..count {
            self.swept_to = (self.swept_to + 1) % self.slots.len();
            if self.slots[self.swept_to].as_ref().is_some_and(|slot| is_over(&slot.entry)) {
                over.push(place(self.swept_to));
            }
        }
        over
    }

    /// The places of the entries that `is_meant`.
    pub fn places_of(&self, is_meant: impl Fn(&T) -> bool) -> Vec<u32> {
        self.places.values().copied().filter(|place| self.get(*place).is_some_and(&is_meant)).collect()
    }

    fn add_slot(&mut self) -> u32 {
        // Not twice as many each time: of a million, most of that would be for nothing.
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(self.slots.len() / 8 + 16);
        }
        self.slots.push(None);
        place(self.slots.len() - 1)
    }
}

fn place(at: usize) -> u32 {
    u32::try_from(at).expect("memory has no room for so many")
}

impl<T> Default for SecondChance<T> {
    fn default() -> Self {
        Self {
            places: HashMap::default(),
            slots: Vec::new(),
            free: Vec::new(),
            bytes: 0,
            hand: 0,
            swept_to: 0,
            swept_at: None,
        }
    }
}

/// Hashes need no more mixing.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl ByteCount for &str {
        fn byte_count(&self) -> usize {
            self.len()
        }
    }

    fn all(table: &SecondChance<&'static str>) -> Vec<&'static str> {
        let mut all: Vec<_> =
            table.places_of(|_| true).into_iter().filter_map(|place| table.get(place).copied()).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn what_was_used_has_a_second_chance() {
        let mut table = SecondChance::default();
        for (hash, entry) in [(1, "one"), (2, "two"), (3, "three")] {
            table.add(hash, entry);
        }
        let two = table.find(2).expect("it was added");
        table.mark_used(two);
        let mut gone = Vec::new();
        while let Some(place) = table.next_to_go(0) {
            gone.push(table.remove(place).expect("it is there"));
        }
        assert_eq!(gone, ["three", "one", "two"]);
        assert_eq!((table.len(), table.byte_count()), (0, 0));
    }

    #[test]
    fn bytes_are_counted_as_entries_come_change_and_go() {
        let mut table = SecondChance::default();
        let one = table.add(1, "one");
        table.add(2, "two");
        assert_eq!(table.byte_count(), 6);
        table.change(one, |entry| *entry = "a longer one");
        assert_eq!((table.byte_count(), all(&table)), (15, vec!["a longer one", "two"]));
        assert_eq!(table.remove(one), Some("a longer one"));
        assert_eq!((table.byte_count(), table.find(1)), (3, None));
        assert_eq!((table.add(3, "three"), table.byte_count()), (one, 8), "its place is another's now");
        assert_eq!(table.remove(9), None);
    }

    #[test]
    fn all_places_are_looked_at() {
        let mut table = SecondChance::default();
        let is_over = |entry: &&str| entry.starts_with("over");
        assert!(table.sweep(is_over).is_empty());
        let over: Vec<u32> = (0..6).map(|hash| table.add(hash, "over")).collect();
        table.add(6, "entry");
        let mut seen = [table.sweep(is_over), table.sweep(is_over)].concat();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, over);
        let now = Instant::now();
        assert_eq!(table.sweep_at(now, is_over).len(), 6);
        assert!(table.sweep_at(now, is_over).is_empty());
        assert_eq!(table.sweep_at(now + SWEEP_INTERVAL, is_over).len(), 6);
    }
}
