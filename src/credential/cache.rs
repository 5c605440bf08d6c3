//! Where delegated tokens are kept, and how they are forgotten.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::HeaderValue;
use moka::notification::RemovalCause;

use super::Origin;
use super::app_only::ApplicationTokens;
use super::key::{CacheKey, KeyFields};
use super::life::{Life, REUSE_CAP};
use super::reason::Reason;
use crate::clock::Now;
use crate::identity::{Caller, Person, Scopes};
use crate::metrics::{CacheRemoval, Metrics};

/// Most bytes held. A token takes its own size, twice at most, the subject token it is renewed with, and the fields
/// of its key: 64 MiB are some 15,000 people's.
const CACHE_BYTES_MAX: u64 = 64 * 1_048_576;
/// Most entries held. Small tokens are charged more than they take, so that looking through all of them, as `forget`
/// does, stays a matter of milliseconds.
const CACHE_ENTRIES_MAX: u64 = 50_000;
/// What an entry takes beside its tokens.
const ENTRY_BYTES: usize = 640;
/// How long the mark of someone who was forgotten is kept. It stops exchanges that were under way; none takes longer.
const MARK_LIFETIME: Duration = Duration::from_secs(300);
/// Most marks. One more, and the oldest goes.
const MARKS_MAX: usize = 10_000;

/// A delegated token, ready to be sent.
#[derive(Debug)]
pub struct Entry {
    /// The ready header value.
    pub authorization: HeaderValue,
    /// The scopes that were granted.
    pub granted: Option<Scopes>,
    /// Why it was obtained.
    pub reason: Reason,
    /// What records say of where it is from.
    pub origin: Origin,
    fields: Arc<KeyFields>,
    life: Life,
    /// Of those who were served it, the one whose subject token lives longest.
    newest: ArcSwap<Caller>,
    newest_expires_at: AtomicU64,
}

impl Entry {
    /// An entry for a token that was asked for at `asked`, with the subject token of `caller`.
    #[expect(clippy::too_many_arguments, reason = "each is something else that is kept of a token")]
    pub fn new(
        fields: Arc<KeyFields>,
        caller: Arc<Caller>,
        authorization: HeaderValue,
        granted: Option<Scopes>,
        lifetime: Option<Duration>,
        reason: Reason,
        origin: Origin,
        asked: Now,
    ) -> Self {
        Self {
            authorization,
            granted,
            reason,
            origin,
            life: Life::new(lifetime, &fields.key(), asked),
            fields,
            newest_expires_at: AtomicU64::new(caller.expires_at()),
            newest: ArcSwap::new(caller),
        }
    }

    /// How long it lives from when it was asked for, where its server says so.
    pub fn lifetime(&self) -> Option<Duration> {
        self.life.lifetime()
    }

    /// How long ago it was asked for.
    pub fn age(&self, now: Now) -> Duration {
        self.life.age(now)
    }

    /// Whether it was made for the very same fields.
    pub fn is_for(&self, fields: &KeyFields) -> bool {
        *self.fields == *fields
    }

    /// Someone is served it. Returns whose subject token to renew it with, when it is time for that and nobody else
    /// has been told so.
    pub fn used_by(&self, caller: &Arc<Caller>, now: Now) -> Option<Arc<Caller>> {
        if caller.expires_at() > self.newest_expires_at.load(Ordering::Relaxed) {
            self.newest_expires_at.store(caller.expires_at(), Ordering::Relaxed);
            self.newest.store(Arc::clone(caller));
        }
        self.life.is_to_be_renewed(now).then(|| self.newest.load_full())
    }

    /// In bytes, and at least its share of the most entries there may be.
    fn weight(&self) -> u32 {
        let bytes = self.authorization.len() + self.newest.load().subject_token().byte_count() + ENTRY_BYTES;
        u32::try_from(bytes.max((CACHE_BYTES_MAX / CACHE_ENTRIES_MAX) as usize)).unwrap_or(u32::MAX)
    }
}

/// Delegated tokens of all people, within a bound.
pub struct CredentialCache {
    entries: moka::sync::Cache<CacheKey, Arc<Entry>>,
    /// Who was forgotten, and when: what was asked for before that is neither kept nor served.
    forgotten: Mutex<Vec<(Person, Instant)>>,
    /// What is no person's, and nobody is forgotten in.
    applications: ApplicationTokens,
    metrics: Arc<Metrics>,
}

impl CredentialCache {
    /// An empty cache.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let counted = Arc::clone(&metrics);
        let entries = moka::sync::Cache::builder()
            .max_capacity(CACHE_BYTES_MAX)
            .weigher(|_, entry: &Arc<Entry>| entry.weight())
            .time_to_live(REUSE_CAP)
            .eviction_listener(move |_, _, cause| {
                counted.cache_removed(match cause {
                    RemovalCause::Expired => CacheRemoval::Expired,
                    RemovalCause::Explicit => CacheRemoval::Dropped,
                    RemovalCause::Replaced => CacheRemoval::Replaced,
                    RemovalCause::Size => CacheRemoval::Full,
                });
            })
            .build();
        Self { entries, forgotten: Mutex::default(), applications: ApplicationTokens::new(), metrics }
    }

    /// The application's own tokens, which are kept apart.
    pub(super) fn applications(&self) -> &ApplicationTokens {
        &self.applications
    }

    /// The entry of `key`, when it was made for the very same `fields` and may still be reused.
    pub fn get(&self, key: &CacheKey, fields: &KeyFields, now: Now) -> Option<Arc<Entry>> {
        let entry = self.entries.get(key)?;
        if !entry.life.is_reusable(now) {
            self.entries.invalidate(key);
            return None;
        }
        // The digest has decided already. Should it ever be wrong, this keeps people apart.
        entry.is_for(fields).then_some(entry)
    }

    /// Keeps an entry, unless its time is over already, or its person has been forgotten since it was asked for.
    /// Returns whether it may be used.
    pub fn put(&self, key: CacheKey, entry: &Arc<Entry>, now: Now) -> bool {
        // Locked for as long as it takes, so that nobody is forgotten between the look and the act.
        let forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        if forgotten.iter().any(|(person, at)| entry.fields.are_of(person) && entry.life.asked() <= *at) {
            return false;
        }
        if entry.life.is_reusable(now) {
            self.entries.insert(key, Arc::clone(entry));
        }
        drop(forgotten);
        self.count();
        true
    }

    /// Drops `entry`, when it is still the one of `key`.
    pub fn evict(&self, key: &CacheKey, entry: &Arc<Entry>) {
        let _ = self.entries.entry(*key).and_compute_with(|found| match found {
            Some(found) if Arc::ptr_eq(found.value(), entry) => moka::ops::compute::Op::Remove,
            Some(_) | None => moka::ops::compute::Op::Nop,
        });
        self.count();
    }

    /// Drops all that is kept for someone, and whatever is being obtained for them. Returns how many were kept.
    pub fn forget(&self, person: &Person, now: Now) -> usize {
        let mut forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        forgotten.retain(|(_, at)| now.monotonic.saturating_duration_since(*at) < MARK_LIFETIME);
        if forgotten.len() >= MARKS_MAX {
            forgotten.remove(0);
        }
        forgotten.push((person.clone(), now.monotonic));
        let keys: Vec<CacheKey> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.fields.are_of(person))
            .map(|(key, _)| *key)
            .collect();
        keys.iter().for_each(|key| self.entries.invalidate(key));
        drop(forgotten);
        self.count();
        keys.len()
    }

    fn count(&self) {
        // Otherwise the count lags behind. An exchange has just cost a thousand times as much.
        self.entries.run_pending_tasks();
        self.metrics.cache_entries.set(i64::try_from(self.entries.entry_count()).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::key::tests::fields;
    use crate::identity::{Realm, SecretToken, Subject, VerifiedClaims};

    const ORIGIN: Origin = Origin { token: [0; 32], exchange: None };

    fn caller(expires_at: u64) -> Arc<Caller> {
        let claims = VerifiedClaims { expires_at, ..VerifiedClaims::of("ada") };
        Arc::new(Caller::verified(claims, SecretToken::new(format!("token-{expires_at}"))))
    }

    fn entry(fields: &KeyFields, lifetime: u64, asked: Now) -> Arc<Entry> {
        let (lifetime, token) =
            (Some(Duration::from_secs(lifetime)), HeaderValue::from_static("Bearer token"));
        let fields = Arc::new(fields.clone());
        Arc::new(Entry::new(fields, caller(1), token, None, lifetime, Reason::Needed, ORIGIN, asked))
    }

    #[test]
    fn an_entry_is_served_to_its_own_identity_within_its_time() {
        let cache = CredentialCache::new(Arc::default());
        let (fields, now) = (fields(), Now::read());
        let key = fields.key();
        assert!(cache.put(key, &entry(&fields, 300, now), now));
        assert!(cache.get(&key, &fields, now).is_some());
        let other = KeyFields { subject: Subject::new("bob"), ..fields.clone() };
        assert!(cache.get(&key, &other, now).is_none(), "a digest that collides must not let anyone in");
        assert!(cache.get(&key, &fields, now.after(Duration::from_secs(269))).is_some());
        assert!(cache.get(&key, &fields, now.after(Duration::from_secs(270))).is_none());
    }

    #[test]
    fn what_is_over_already_is_not_kept() {
        let cache = CredentialCache::new(Arc::default());
        let (fields, now) = (fields(), Now::read());
        assert!(cache.put(fields.key(), &entry(&fields, 30, now), now), "it is good for the call it is for");
        assert!(cache.get(&fields.key(), &fields, now).is_none());
    }

    #[test]
    fn neither_many_small_tokens_nor_a_few_large_ones_fill_the_memory() {
        let now = Now::read();
        let small = entry(&fields(), 300, now);
        assert!(u64::from(small.weight()) * CACHE_ENTRIES_MAX >= CACHE_BYTES_MAX - CACHE_ENTRIES_MAX);
        let token = HeaderValue::from_str(&format!("Bearer {}", "t".repeat(60_000))).expect("a token");
        let lifetime = Some(Duration::from_secs(300));
        let large =
            Entry::new(Arc::new(fields()), caller(1), token, None, lifetime, Reason::Needed, ORIGIN, now);
        assert!(large.weight() > 60_000);
    }

    #[test]
    fn only_the_entry_that_was_turned_away_is_evicted() {
        let cache = CredentialCache::new(Arc::default());
        let (fields, now) = (fields(), Now::read());
        let (key, old, new) = (fields.key(), entry(&fields, 300, now), entry(&fields, 300, now));
        cache.put(key, &new, now);
        cache.evict(&key, &old);
        assert!(cache.get(&key, &fields, now).is_some());
        cache.evict(&key, &new);
        assert!(cache.get(&key, &fields, now).is_none());
    }

    #[test]
    fn whoever_is_forgotten_loses_what_is_kept_and_what_is_on_its_way() {
        let metrics = Arc::<Metrics>::default();
        let cache = CredentialCache::new(Arc::clone(&metrics));
        let (ada, now) = (fields(), Now::read());
        let bob = KeyFields { subject: Subject::new("bob"), ..fields() };
        for fields in [&ada, &bob] {
            cache.put(fields.key(), &entry(fields, 300, now), now);
        }
        let on_its_way = entry(&ada, 300, now);
        let person = Person { realm: Realm::Tenant("t-1".into()), subject: Subject::new("ada") };
        let later = now.after(Duration::from_secs(1));
        assert_eq!(cache.forget(&person, later), 1);
        assert!(cache.get(&ada.key(), &ada, later).is_none());
        assert!(cache.get(&bob.key(), &bob, later).is_some());
        assert!(!cache.put(ada.key(), &on_its_way, later), "it was asked for before");
        assert!(cache.get(&ada.key(), &ada, later).is_none());
        let even_later = later.after(Duration::from_secs(1));
        assert!(cache.put(ada.key(), &entry(&ada, 300, even_later), even_later));
        assert_eq!(metrics.cache_entries.get(), 2);
    }

    #[test]
    fn an_entry_in_use_is_renewed_once_from_three_quarters_of_its_life_on() {
        let now = Now::read();
        let entry = entry(&fields(), 1_030, now);
        let at = |seconds| now.after(Duration::from_secs(seconds));
        assert!(entry.used_by(&caller(1), at(699)).is_none());
        let newest = entry.used_by(&caller(5), at(801)).expect("it is time");
        assert_eq!(newest.expires_at(), 5);
        assert!(entry.used_by(&caller(5), at(802)).is_none(), "somebody renews it already");
        let again = entry.used_by(&caller(3), at(801 + 31)).expect("it is time again");
        assert_eq!(again.expires_at(), 5, "the token that lives longest");
    }
}
