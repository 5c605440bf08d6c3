//! The buckets of one rate: as many as there are people or agents whose calls still count, and never more than so many.
//!
//! A bucket that is full says nothing, so nobody notices when it goes. When there is no room for another one, all full ones go. When
//! there is none even then, the one goes that lacks least: whose owner would have had it full first. What that one is forgiven is the
//! least that anybody has used, so whoever has used up a limit is the last to get it back, however many others come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::bucket::Bucket;
use super::settings::{Each, RateLimit};
use super::who::{EVERYBODY, Key, Who};

/// Most buckets of one rate: some seven megabytes.
const BUCKETS_MAX: usize = 100_000;
/// How many locks they are behind, so that calls of different people seldom meet.
const SHARDS: usize = 16;

type Buckets = HashMap<Key, Bucket>;

/// The buckets of one rate.
pub struct Limiter {
    limit: Arc<RateLimit>,
    /// What time is counted from.
    epoch: Instant,
    shards: [Mutex<Buckets>; SHARDS],
    /// Most buckets behind each lock.
    shard_max: usize,
}

impl Limiter {
    /// Nobody has called yet.
    pub fn new(limit: Arc<RateLimit>) -> Self {
        Self::holding(BUCKETS_MAX, limit)
    }

    fn holding(buckets_max: usize, limit: Arc<RateLimit>) -> Self {
        let shard_max = (buckets_max / SHARDS).max(1);
        Self { limit, epoch: Instant::now(), shards: Default::default(), shard_max }
    }

    /// What it counts.
    pub fn limit(&self) -> &Arc<RateLimit> {
        &self.limit
    }

    /// Counts a call.
    ///
    /// # Errors
    ///
    /// How long until the next one is let through.
    pub fn take(&self, who: &Who, now: Instant) -> Result<(), Duration> {
        let (key, now, rate) = (self.key(who), self.micros(now), self.limit.rate);
        let mut buckets = self.shard(&key);
        if let Some(bucket) = buckets.get_mut(&key) {
            return bucket.take(rate, now);
        }
        if buckets.len() >= self.shard_max {
            buckets.retain(|_, bucket| bucket.lacks(rate, now) > 0);
        }
        if buckets.len() >= self.shard_max {
            let least = buckets.iter().min_by_key(|(_, bucket)| bucket.lacks(rate, now));
            if let Some(least) = least.map(|(key, _)| *key) {
                buckets.remove(&least);
            }
        }
        let mut bucket = Bucket::default();
        let taken = bucket.take(rate, now);
        buckets.insert(key, bucket);
        taken
    }

    /// Counts a call no more that was let through here, and refused elsewhere.
    pub fn give_back(&self, who: &Who) {
        let key = self.key(who);
        if let Some(bucket) = self.shard(&key).get_mut(&key) {
            bucket.give_back(self.limit.rate);
        }
    }

    /// How long until the next call is let through.
    pub fn wait(&self, who: &Who, now: Instant) -> Duration {
        let key = self.key(who);
        let bucket = self.shard(&key).get(&key).copied().unwrap_or_default();
        bucket.wait(self.limit.rate, self.micros(now))
    }

    /// Drops the bucket of a person, where it has some for people.
    pub fn forget(&self, person: &Key) {
        if self.limit.each == Each::Person {
            self.shard(person).remove(person);
        }
    }

    fn key(&self, who: &Who) -> Key {
        match self.limit.each {
            Each::Person => who.person,
            Each::Agent => who.agent,
            Each::Total => EVERYBODY,
        }
    }

    fn micros(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.epoch).as_micros();
        u64::try_from(elapsed).unwrap_or(u64::MAX)
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Buckets> {
        let shard = &self.shards[usize::from(key[0]) % SHARDS];
        // It is whole after every change.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;
    use crate::limit::testing::{limit, who};

    fn buckets(limiter: &Limiter) -> usize {
        limiter.shards.iter().map(|shard| shard.lock().expect("nobody panics here").len()).sum()
    }

    #[test]
    fn each_person_has_a_bucket_and_each_agent() {
        let now = Instant::now();
        let people = Limiter::new(limit(Each::Person, 1));
        assert_eq!(people.take(&who("ada", "planner"), now), Ok(()));
        assert!(people.take(&who("ada", "helper"), now).is_err());
        assert_eq!(people.take(&who("bob", "planner"), now), Ok(()));
        let agents = Limiter::new(limit(Each::Agent, 1));
        assert_eq!(agents.take(&who("ada", "planner"), now), Ok(()));
        assert_eq!(agents.take(&who("ada", "helper"), now), Ok(()));
        assert!(agents.take(&who("bob", "planner"), now).is_err());
        let everybody = Limiter::new(limit(Each::Total, 1));
        assert_eq!(everybody.take(&who("ada", "planner"), now), Ok(()));
        assert!(everybody.take(&who("bob", "helper"), now).is_err());
        assert_eq!((buckets(&people), buckets(&agents), buckets(&everybody)), (2, 2, 1));
    }

    #[test]
    fn buckets_are_bounded_and_full_ones_go_first() {
        let (began, limiter) = (Now::read(), Limiter::holding(SHARDS * 4, limit(Each::Person, 2)));
        for person in 0..1_000 {
            assert_eq!(limiter.take(&who(&person.to_string(), "planner"), began.monotonic), Ok(()));
        }
        assert!(buckets(&limiter) <= SHARDS * 4, "{}", buckets(&limiter));
        // Ada uses hers up when all others have long been full again.
        let later = began.after(Duration::from_secs(3_600)).monotonic;
        let ada = who("ada", "planner");
        assert_eq!((limiter.take(&ada, later), limiter.take(&ada, later)), (Ok(()), Ok(())));
        for person in 2_000..2_100 {
            assert_eq!(limiter.take(&who(&person.to_string(), "planner"), later), Ok(()));
            assert!(limiter.take(&ada, later).is_err(), "hers is the last to go");
        }
        assert!(buckets(&limiter) <= SHARDS * 4);
    }

    #[test]
    fn nobody_gets_a_limit_back_by_bringing_others() {
        let (now, limiter) = (Instant::now(), Limiter::holding(SHARDS * 4, limit(Each::Person, 2)));
        let ada = who("ada", "planner");
        assert_eq!((limiter.take(&ada, now), limiter.take(&ada, now)), (Ok(()), Ok(())));
        for person in 0..10_000 {
            assert_eq!(limiter.take(&who(&person.to_string(), "planner"), now), Ok(()));
        }
        assert!(limiter.take(&ada, now).is_err());
    }

    #[test]
    fn who_is_forgotten_begins_anew() {
        let now = Instant::now();
        for (each, is_forgotten) in [(Each::Person, true), (Each::Agent, false), (Each::Total, false)] {
            let (limiter, ada) = (Limiter::new(limit(each, 1)), who("ada", "planner"));
            assert_eq!(limiter.take(&ada, now), Ok(()));
            limiter.forget(&ada.person);
            assert_eq!(limiter.take(&ada, now).is_ok(), is_forgotten, "{each:?}");
        }
    }

    #[test]
    fn a_wait_is_told_without_counting() {
        let (now, limiter) = (Instant::now(), Limiter::new(limit(Each::Person, 1)));
        let ada = who("ada", "planner");
        assert_eq!(limiter.wait(&ada, now), Duration::ZERO);
        assert_eq!(limiter.take(&ada, now), Ok(()));
        let wait = limiter.wait(&ada, now);
        assert_eq!(limiter.take(&ada, now), Err(wait));
        limiter.give_back(&ada);
        assert_eq!(limiter.take(&ada, now), Ok(()));
    }
}
