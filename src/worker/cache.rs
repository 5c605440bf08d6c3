//! What each worker has met lately: a small cache that is nobody else's, in front of what is shared, or takes long to make.
//!
//! A look costs a few nanoseconds. Nothing is ever served that its user has not recognised as the very same: the hash only says
//! where to look.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::PerWorker;

/// How many places there are, and how many entries of any hashes can be in one. Together: most entries of a worker.
const PLACES: usize = 1_024;
const PLACE_ENTRIES_MAX: usize = 4;

/// A cache of each worker's own, of 4,096 entries at most.
pub struct WorkerCache<T>(PerWorker<Mutex<Places<T>>>);

/// Those of one worker, by their hashes. None are there before the first entry is.
struct Places<T>(Vec<Vec<T>>);

impl<T> WorkerCache<T> {
    /// An empty one.
    pub fn new() -> Self {
        Self(PerWorker::new(|| Mutex::new(Places(Vec::new()))))
    }

    /// What `recognise` makes of the first entry with this hash that it knows, where this worker has one.
    pub fn find<R>(&self, hash: u64, recognise: impl FnMut(&mut T) -> Option<R>) -> Option<R> {
        self.own().place(hash)?.iter_mut().find_map(recognise)
    }

    /// Keeps an entry, until others with similar hashes take its place. It takes that of those that are over.
    pub fn put(&self, hash: u64, entry: T, is_over: impl Fn(&T) -> bool) {
        self.own().put(hash, entry, is_over);
    }

    fn own(&self) -> MutexGuard<'_, Places<T>> {
        // It is whole after every change.
        self.0.own().lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Places<T> {
    fn place(&mut self, hash: u64) -> Option<&mut Vec<T>> {
        // The lowest bits: there are as many places as a power of two.
        self.0.get_mut(hash as usize % PLACES)
    }

    fn put(&mut self, hash: u64, entry: T, is_over: impl Fn(&T) -> bool) -> &mut T {
        if self.0.is_empty() {
            self.0.resize_with(PLACES, Vec::new);
        }
        let place = self.place(hash).expect("the places have just been made");
        place.retain(|entry| !is_over(entry));
        if place.len() == PLACE_ENTRIES_MAX {
            place.remove(0);
        }
        place.push_mut(entry)
    }
}

/// What was made of two values that are shared, and is always the same for the same two.
pub struct PairCache<A, B, T>(WorkerCache<Pair<A, B, T>>);

struct Pair<A, B, T> {
    /// As long as these are here, nothing else has their addresses. The values themselves go with their last users.
    of: (Weak<A>, Weak<B>),
    made: T,
}

impl<A, B, T> Pair<A, B, T> {
    /// Whether nobody can ask for it any more.
    fn is_over(&self) -> bool {
        self.of.0.strong_count() == 0 || self.of.1.strong_count() == 0
    }
}

impl<A, B, T> PairCache<A, B, T> {
    /// An empty one.
    pub fn new() -> Self {
        Self(WorkerCache::new())
    }

    /// What `then` makes of what was made of these two before, or is made by `make` now.
    pub fn with<R>(
        &self,
        (a, b): (&Arc<A>, &Arc<B>),
        make: impl FnOnce() -> T,
        then: impl FnOnce(&mut T) -> R,
    ) -> R {
        let (address_a, address_b) = (Arc::as_ptr(a), Arc::as_ptr(b));
        let hash = mixed(address_a.addr()) ^ mixed(address_b.addr()).rotate_left(7);
        let is_of_these =
            |pair: &Pair<A, B, T>| pair.of.0.as_ptr() == address_a && pair.of.1.as_ptr() == address_b;
        let mut places = self.0.own();
        let found = places.place(hash).and_then(|place| place.iter().position(is_of_these));
        let pair = match found {
            Some(at) => &mut places.place(hash).expect("it was found there")[at],
            None => {
                let pair = Pair { of: (Arc::downgrade(a), Arc::downgrade(b)), made: make() };
                places.put(hash, pair, Pair::is_over)
            }
        };
        then(&mut pair.made)
    }
}

/// An address, so that similar ones differ in their lowest bits.
fn mixed(address: usize) -> u64 {
    // The multiplier of Fibonacci hashing: 2^64 by the golden ratio.
    (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the cache has this entry under this hash.
    fn has(cache: &WorkerCache<u64>, hash: u64, entry: u64) -> bool {
        cache.find(hash, |other| (*other == entry).then_some(())).is_some()
    }

    #[test]
    fn only_what_is_recognised_is_found() {
        let cache = WorkerCache::new();
        assert!(!has(&cache, 7, 70));
        cache.put(7, 70, |_| false);
        cache.put(7 + PLACES as u64, 71, |_| false);
        assert!(has(&cache, 7, 70) && has(&cache, 7, 71));
        assert!(!has(&cache, 7, 72) && !has(&cache, 8, 70));
    }

    #[test]
    fn what_is_over_gives_way_and_then_the_oldest() {
        let cache = WorkerCache::new();
        (0..5).for_each(|entry| cache.put(3, entry, |_| false));
        assert_eq!([0, 1, 2, 3, 4].map(|entry| has(&cache, 3, entry)), [false, true, true, true, true]);
        cache.put(3, 5, |entry| *entry == 2);
        assert_eq!([1, 2, 3, 4, 5].map(|entry| has(&cache, 3, entry)), [true, false, true, true, true]);
    }

    #[test]
    fn what_was_made_of_two_is_of_no_others() {
        let cache = PairCache::new();
        let (ada, bob, mail) = (Arc::new("ada"), Arc::new("bob"), Arc::new("mail"));
        let call = |who: &Arc<&'static str>| {
            cache.with(
                (who, &mail),
                || (*Arc::clone(who), 0),
                |(made_of, calls)| {
                    *calls += 1;
                    (*made_of, *calls)
                },
            )
        };
        assert_eq!([call(&ada), call(&bob), call(&ada)], [("ada", 1), ("bob", 1), ("ada", 2)]);
        // Its address is not given to anybody else.
        let address = Arc::as_ptr(&ada).addr();
        drop(ada);
        let others: Vec<Arc<&str>> = (0..1_000).map(|_| Arc::new("carol")).collect();
        assert!(others.iter().all(|other| Arc::as_ptr(other).addr() != address));
    }
}
