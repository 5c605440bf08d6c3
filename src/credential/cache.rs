//! Where delegated tokens are kept, and how they are forgotten.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;

use super::app_only::ApplicationTokens;
use super::key::{CacheKey, KeyFields};
use super::life::Life;
use super::reason::Reason;
use crate::audit::{CredentialNote, RequestId};
use crate::clock::Now;
use crate::identity::{Caller, Person, Scopes};
use crate::metrics::Metrics;

mod compact;
mod kind;
mod phrases;
mod shard;

use kind::{CompactFields, Kinds};
use shard::Shard;

/// Most bytes held, unless it is configured: some 45,000 people's, of whom those who call are ready.
pub const CACHE_BYTES_MAX: usize = 64 * 1_048_576;
/// Of how many parts it consists, each with a lock of its own. They are looked through one after the other, and none for long.
const SHARDS: usize = 64;
/// How long the mark of someone who was forgotten is kept. It stops exchanges that were under way; none takes longer.
const MARK_LIFETIME: Duration = Duration::from_secs(300);
/// Most marks. One more, and the oldest goes.
const MARKS_MAX: usize = 10_000;

/// What is kept of a delegated token beside its text. There may be a million of them.
pub struct Entry {
    /// The scopes that were granted.
    pub granted: Option<Arc<Scopes>>,
    /// The record of the exchange that it is from.
    pub exchange: Option<RequestId>,
    /// `None`: it was needed.
    reason: Option<Box<Reason>>,
    fields: CompactFields,
    life: Life,
    /// How long its header value is.
    header_bytes: u32,
}

/// An entry, and its token, ready to be sent.
#[derive(Clone)]
pub struct Served {
    /// The entry.
    pub entry: Arc<Entry>,
    /// The ready header value.
    pub authorization: HeaderValue,
    /// What records say of it.
    pub note: Arc<CredentialNote>,
}

/// What an authorization server has issued.
pub struct Issued {
    /// The ready header value.
    pub authorization: HeaderValue,
    /// The token's SHA-256.
    pub token: [u8; 32],
    /// The scopes that were granted.
    pub granted: Option<Scopes>,
    /// How long it lives, where its server says so.
    pub lifetime: Option<Duration>,
    /// Why it was obtained.
    pub reason: Reason,
    /// The record of the exchange that it is from.
    pub exchange: Option<RequestId>,
}

impl Entry {
    /// How long it lives from when it was asked for, where its server says so.
    pub fn lifetime(&self) -> Option<Duration> {
        self.life.lifetime()
    }

    /// How long ago it was asked for.
    pub fn age(&self, now: Now) -> Duration {
        self.life.age(now)
    }

    /// Why it was obtained.
    pub fn reason(&self) -> &Reason {
        self.reason.as_deref().unwrap_or(&Reason::Needed)
    }

    /// Whether it was made for the very same fields.
    pub fn is_for(&self, fields: &KeyFields) -> bool {
        self.fields.are(fields)
    }

    /// How much room it takes beside its token, with its part of what it has in common with others as they are now.
    fn byte_count(&self) -> usize {
        let granted =
            self.granted.as_ref().map_or(0, |scopes| kind::part_of(scopes, kind::scopes_bytes(scopes)));
        let claims = self.reason().claims().map_or(0, str::len);
        self.fields.byte_count(self.header_bytes as usize) + granted + claims
    }

    /// Whether it is time to renew it, and nobody else has been told so.
    pub fn is_to_be_renewed(&self, now: Now) -> bool {
        self.life.is_to_be_renewed(now)
    }
}

impl Served {
    fn new(entry: Arc<Entry>, authorization: HeaderValue, token: [u8; 32]) -> Self {
        let note = Arc::new(CredentialNote::new(token, entry.exchange, entry.granted.clone()));
        Self { entry, authorization, note }
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("reason", self.reason())
            .field("exchange", &self.exchange)
            .finish_non_exhaustive()
    }
}

/// Delegated tokens of all people, within a bound.
pub struct CredentialCache {
    shards: Box<[Mutex<Shard>]>,
    /// Most bytes of each part.
    shard_bytes_max: AtomicUsize,
    kinds: Kinds,
    /// Who was forgotten, and when: what was asked for before that is neither kept nor served.
    forgotten: Mutex<Vec<(Person, Instant)>>,
    /// What is no person's, and nobody is forgotten in.
    applications: ApplicationTokens,
    metrics: Arc<Metrics>,
}

impl CredentialCache {
    /// An empty cache that takes at most so many bytes.
    pub fn new(bytes_max: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shard_bytes_max: AtomicUsize::new(bytes_max / SHARDS),
            kinds: Kinds::default(),
            forgotten: Mutex::default(),
            applications: ApplicationTokens::new(),
            metrics,
        }
    }

    /// From now on it takes at most so many bytes. What is too much goes at once.
    pub fn set_bytes_max(&self, bytes_max: usize) {
        self.shard_bytes_max.store(bytes_max / SHARDS, Ordering::Relaxed);
        for shard in &self.shards {
            self.change(shard, |shard, max, removed| shard.keep_within(max, removed));
        }
    }

    /// The application's own tokens, which are kept apart.
    pub(super) fn applications(&self) -> &ApplicationTokens {
        &self.applications
    }

    /// What an authorization server has issued for `fields`, asked at `asked`, as it is kept.
    pub fn entry(&self, fields: &KeyFields, issued: Issued, asked: Now) -> Served {
        let Issued { authorization, token, granted, lifetime, reason, exchange } = issued;
        let life = Life::new(lifetime, &fields.key(), asked);
        let header_bytes = u32::try_from(authorization.len()).unwrap_or(u32::MAX);
        let fields = self.kinds.compact(fields);
        let granted = fields.kind().granted(granted);
        let reason = (reason != Reason::Needed).then(|| Box::new(reason));
        let entry = Arc::new(Entry { granted, exchange, reason, fields, life, header_bytes });
        Served::new(entry, authorization, token)
    }

    /// The entry of `key`, when it was made for the very same `fields` and may still be reused. `caller` is who asks.
    pub fn get(&self, key: &CacheKey, fields: &KeyFields, caller: &Arc<Caller>, now: Now) -> Option<Served> {
        self.change(self.shard(key), |shard, max, removed| shard.get(key, fields, caller, now, max, removed))
    }

    /// Of those who were served the entry of `key` lately, the one whose subject token lives longest: of the very same `fields`.
    pub fn newest(&self, key: &CacheKey, fields: &KeyFields) -> Option<Arc<Caller>> {
        lock(self.shard(key)).newest(key, fields)
    }

    /// Keeps an entry that was obtained with the subject token of `caller`, unless its time is over already, or its person
    /// has been forgotten since it was asked for. Returns whether it may be used.
    pub fn put(&self, key: CacheKey, served: &Served, caller: &Arc<Caller>, now: Now) -> bool {
        // Locked for as long as it takes, so that nobody is forgotten between the look and the act.
        let forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        let Entry { fields, life, .. } = &*served.entry;
        if forgotten.iter().any(|(person, at)| fields.are_of(person) && life.asked() <= *at) {
            return false;
        }
        if life.is_reusable(now) {
            self.change(self.shard(&key), |shard, max, removed| {
                shard.put(key, served, caller, now, max, removed);
            });
        }
        true
    }

    /// Drops `entry`, when it is still the one of `key`.
    pub fn evict(&self, key: &CacheKey, entry: &Arc<Entry>) {
        self.change(self.shard(key), |shard, _, removed| shard.evict(key, entry, removed));
    }

    /// Drops all that is kept for someone, and whatever is being obtained for them. Returns how many were kept.
    pub fn forget(&self, person: &Person, now: Now) -> usize {
        let mut forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        forgotten.retain(|(_, at)| now.monotonic.saturating_duration_since(*at) < MARK_LIFETIME);
        if forgotten.len() >= MARKS_MAX {
            forgotten.remove(0);
        }
        forgotten.push((person.clone(), now.monotonic));
        // Whatever is put from here on has seen the mark; what was put before is found.
        drop(forgotten);
        let is_theirs = |entry: &Entry| entry.fields.are_of(person);
        let forget = |shard| self.change(shard, |shard, _, removed| shard.forget(is_theirs, removed));
        let count = self.shards.iter().map(forget).sum();
        // Now that no entry of theirs is left, nothing more is seen of them.
        self.kinds.forget();
        count
    }

    fn shard(&self, key: &CacheKey) -> &Mutex<Shard> {
        &self.shards[key.ending() % SHARDS]
    }

    /// Changes a part, and counts what became of its entries.
    fn change<R>(
        &self,
        shard: &Mutex<Shard>,
        change: impl FnOnce(&mut Shard, usize, shard::Removed<'_>) -> R,
    ) -> R {
        let mut shard = lock(shard);
        let before = shard.len();
        let result = change(&mut shard, self.shard_bytes_max.load(Ordering::Relaxed), &|why| {
            self.metrics.cache_removed(why);
        });
        if shard.len() != before {
            self.metrics.cache_entries.add(shard.len() as i64 - before as i64);
        }
        result
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // It is whole after every change.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
