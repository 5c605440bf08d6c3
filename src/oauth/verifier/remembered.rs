//! Tokens that have been verified, each with what was learned from it, within a bound in bytes.

use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use foldhash::quality::RandomState;

use super::RememberedAgent;
use crate::clock::Now;
use crate::identity::{Caller, Person, SecretToken, VerifiedClaims};
use crate::oauth::authorization_server::AuthorizationServer;
use crate::second_chance::{ByteCount, SecondChance};

/// Most bytes that remembered tokens may take, unless it is configured: some 20,000 people's.
pub const REMEMBERED_BYTES_MAX: usize = 128 * 1_048_576;
/// Of how many parts they consist, each with a lock of its own.
const SHARDS: usize = 64;
/// By how many of its bytes in the middle, and how many of its last, a token is looked for. Of a signed one the last are signature, which is
/// as good as a hash of all of it; opaque ones may end alike. Whatever they are, all bytes are compared then.
const HASHED_BYTES: usize = 64;
/// What a remembered token takes beside its caller: its place, and how long it holds.
const ENTRY_BYTES: usize = 256;

/// What was learned from a token, and until when it holds.
pub struct Remembered {
    /// For whom it speaks.
    pub(super) caller: Arc<Caller>,
    /// Who issued it.
    pub(super) server: Arc<AuthorizationServer>,
    pub(super) validity: Validity,
    /// The last agent with a token of its own that acted for this caller, and the caller with that agent.
    pub(super) acting: ArcSwapOption<(Arc<RememberedAgent>, Arc<Caller>)>,
}

/// Until when something that was learned from a token holds.
pub struct Validity {
    /// By the wall clock, in seconds since 1970 UTC.
    expires_at: u64,
    /// By the monotonic clock, which nobody sets back.
    forgotten_at: Instant,
    /// The keys that vouched for it. `None`: its issuer did, when asked.
    key_generation: Option<u64>,
}

impl Validity {
    /// Until `expires_at` by the wall clock, in seconds since 1970 UTC, and for `longest` at most.
    pub fn until(expires_at: u64, longest: Duration, key_generation: Option<u64>, now: Now) -> Self {
        let lifetime = Duration::from_secs(expires_at.saturating_sub(now.latest_unix_seconds())).min(longest);
        // Where clocks cannot count that far, it is not believed again.
        let forgotten_at = now.monotonic.checked_add(lifetime).unwrap_or(now.monotonic);
        Self { expires_at, forgotten_at, key_generation }
    }

    /// Whether it does now, as long as this server's keys are the same.
    pub(super) fn holds(&self, server: &AuthorizationServer, now: Now) -> bool {
        !self.is_over(now)
            && self.key_generation.is_none_or(|made_with| server.key_set().generation() == made_with)
    }

    fn is_over(&self, now: Now) -> bool {
        now.latest_unix_seconds() >= self.expires_at || now.monotonic >= self.forgotten_at
    }
}

impl Remembered {
    /// What was learned from `token`: it speaks for whom these claims name.
    pub fn new(
        verified: VerifiedClaims,
        token: SecretToken,
        server: Arc<AuthorizationServer>,
        validity: Validity,
    ) -> Self {
        let caller = super::caller(verified, token);
        Self { caller, server, validity, acting: ArcSwapOption::empty() }
    }

    fn holds(&self, now: Now) -> bool {
        self.validity.holds(&self.server, now)
    }

    fn is_token(&self, token: &[u8]) -> bool {
        self.caller.subject_token().is(token)
    }
}

/// What is remembered, of all people.
pub(super) struct RememberedTokens {
    shards: Box<[Mutex<Shard>]>,
    shard_bytes_max: usize,
    hasher: RandomState,
    /// How often somebody was forgotten.
    forgettings: AtomicU64,
}

type Shard = SecondChance<Weighed>;

struct Weighed {
    remembered: Arc<Remembered>,
    bytes: usize,
}

impl Weighed {
    fn is_over(&self, now: Now) -> bool {
        self.remembered.validity.is_over(now)
    }
}

impl ByteCount for Weighed {
    fn byte_count(&self) -> usize {
        self.bytes
    }
}

impl RememberedTokens {
    /// None yet, and never more than so many bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shard_bytes_max: bytes_max / SHARDS,
            hasher: RandomState::default(),
            forgettings: AtomicU64::new(0),
        }
    }

    /// How often somebody was forgotten: to be asked before a token is verified, for [`Self::put`].
    pub fn forgettings(&self) -> u64 {
        self.forgettings.load(Ordering::Acquire)
    }

    /// What was learned from a token, where that holds still. Whatever these bytes are, it is theirs only when they are the same to
    /// the last.
    pub fn get(&self, token: &[u8], now: Now) -> Option<Arc<Remembered>> {
        let hash = self.hash(token);
        let remembered = {
            let mut shard = self.shard(hash);
            let over = shard.sweep_at(now.monotonic, |weighed| weighed.is_over(now));
            remove(&mut shard, over);
            let place = shard.find(hash)?;
            shard.mark_used(place);
            Arc::clone(&shard.get(place)?.remembered)
        };
        if !remembered.is_token(token) {
            return None;
        }
        if !remembered.holds(now) {
            self.remove(hash, &remembered);
            return None;
        }
        Some(remembered)
    }

    /// Remembers what was learned from `token`, unless somebody was forgotten since `forgettings` was asked: it may have been this
    /// person.
    pub fn put(&self, token: &[u8], remembered: &Arc<Remembered>, forgettings: u64, now: Now) {
        let Remembered { caller, server, .. } = &**remembered;
        let exchange = server.settings().exchange.as_ref();
        let acting = match exchange.is_some_and(|exchange| exchange.grant.wants_agents_token()) {
            true => caller.byte_count_beside_texts(),
            false => 0,
        };
        let bytes = ENTRY_BYTES + caller.byte_count() + acting;
        let hash = self.hash(token);
        let mut shard = self.shard(hash);
        // Whoever is forgotten from here on is looked for in this part later.
        if self.forgettings() != forgettings {
            return;
        }
        if let Some(place) = shard.find(hash) {
            shard.remove(place);
        }
        let over = shard.sweep(|weighed| weighed.is_over(now));
        remove(&mut shard, over);
        shard.add(hash, Weighed { remembered: Arc::clone(remembered), bytes });
        while let Some(place) = shard.next_to_go(self.shard_bytes_max) {
            shard.remove(place);
        }
    }

    /// Drops what was learned from tokens of a person. Returns how many there were.
    pub fn forget(&self, person: &Person) -> usize {
        self.forgettings.fetch_add(1, Ordering::Release);
        let is_theirs = |weighed: &Weighed| {
            let caller = &weighed.remembered.caller;
            person.is(caller.issuer(), caller.tenant(), caller.subject())
        };
        let forget = |shard: &Mutex<Shard>| {
            let mut shard = lock(shard);
            let places = shard.places_of(is_theirs);
            remove(&mut shard, places)
        };
        self.shards.iter().map(forget).sum()
    }

    fn remove(&self, hash: u64, remembered: &Arc<Remembered>) {
        let mut shard = self.shard(hash);
        if let Some(place) = shard.find(hash)
            && shard.get(place).is_some_and(|weighed| Arc::ptr_eq(&weighed.remembered, remembered))
        {
            shard.remove(place);
        }
    }

    fn hash(&self, token: &[u8]) -> u64 {
        let middle = &token[token.len() / 2..];
        let last = &token[token.len().saturating_sub(HASHED_BYTES)..];
        self.hasher.hash_one((token.len(), &middle[..middle.len().min(HASHED_BYTES)], last))
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // From the middle: within the part, the table uses the lowest bits and the highest.
        lock(&self.shards[(hash >> 32) as usize % SHARDS])
    }
}

/// Removes what is in these places. Returns how many there were.
fn remove(shard: &mut Shard, places: Vec<u32>) -> usize {
    places.into_iter().filter_map(|place| shard.remove(place)).count()
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // It is whole after every change.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Issuer, Realm, Subject};
    use crate::oauth::{IssuerKind, IssuerSettings};

    /// Bytes that most tokens of these tests take: with claims and all.
    const ONE: usize = 4_096;

    fn server() -> Arc<AuthorizationServer> {
        let settings = IssuerSettings::of(IssuerKind::Oidc);
        Arc::new(AuthorizationServer::start(settings, None, Arc::default()).expect("it starts"))
    }

    fn remembered(
        server: &Arc<AuthorizationServer>,
        subject: &str,
        token: &str,
        seconds: u64,
        now: Now,
    ) -> Arc<Remembered> {
        let lifetime = Duration::from_secs(seconds);
        let validity = Validity::until(now.latest_unix_seconds() + seconds, lifetime, None, now);
        let claims = VerifiedClaims::of(subject);
        Arc::new(Remembered::new(claims, SecretToken::new(token), Arc::clone(server), validity))
    }

    fn subject_of(tokens: &RememberedTokens, token: &str, now: Now) -> Option<String> {
        let found = tokens.get(token.as_bytes(), now)?;
        Some(found.caller.subject().as_str().to_owned())
    }

    #[tokio::test]
    async fn a_token_is_known_by_every_byte_of_it_until_it_is_over() {
        let (server, now) = (server(), Now::read());
        let tokens = RememberedTokens::new(1_048_576);
        let end = "e".repeat(3 * HASHED_BYTES);
        let [adas, bobs] = ["a", "b"].map(|begin| format!("{begin}{end}"));
        tokens.put(adas.as_bytes(), &remembered(&server, "ada", &adas, 60, now), 0, now);
        assert_eq!(subject_of(&tokens, &adas, now).as_deref(), Some("ada"));
        for other in [bobs.as_str(), end.as_str(), "", "a"] {
            assert_eq!(subject_of(&tokens, other, now), None, "{other}");
        }
        // Two that are alike in the middle and at the end have one place.
        tokens.put(bobs.as_bytes(), &remembered(&server, "bob", &bobs, 60, now), 0, now);
        assert_eq!(subject_of(&tokens, &bobs, now).as_deref(), Some("bob"));
        assert_eq!(subject_of(&tokens, &adas, now), None);
        assert_eq!(subject_of(&tokens, &bobs, now.after(Duration::from_secs(60))), None);
        assert_eq!(held(&tokens), (0, 0), "what is over is not kept");
    }

    #[tokio::test]
    async fn the_bound_holds_and_who_calls_again_and_again_stays() {
        let (server, now) = (server(), Now::read());
        let bytes_max = SHARDS * 8 * ONE;
        let tokens = RememberedTokens::new(bytes_max);
        tokens.put(b"adas", &remembered(&server, "ada", "adas", 60, now), 0, now);
        for number in 0..4_000 {
            let token = format!("{}-{number}", "t".repeat(1_700));
            tokens.put(token.as_bytes(), &remembered(&server, "somebody", &token, 60, now), 0, now);
            assert_eq!(subject_of(&tokens, "adas", now).as_deref(), Some("ada"), "{number}");
        }
        let (count, bytes) = held(&tokens);
        assert!(bytes <= bytes_max && (SHARDS * 4..SHARDS * 24).contains(&count), "{count}, {bytes}");
    }

    #[tokio::test]
    async fn a_person_is_forgotten_and_nobody_else_is() {
        let (server, now) = (server(), Now::read());
        let tokens = RememberedTokens::new(1_048_576);
        for (subject, token) in [("ada", "1"), ("ada", "2"), ("bob", "3")] {
            tokens.put(token.as_bytes(), &remembered(&server, subject, token, 60, now), 0, now);
        }
        let issuer = Issuer::new("https://issuer.example");
        let ada = Person { realm: Realm::Issuers([issuer].into()), subject: Subject::new("ada") };
        let before = tokens.forgettings();
        assert_eq!((tokens.forget(&ada), tokens.forget(&ada)), (2, 0));
        // Somebody was asked about a token of hers before.
        tokens.put(b"2", &remembered(&server, "ada", "2", 60, now), before, now);
        let left = ["1", "2", "3"].map(|token| subject_of(&tokens, token, now).is_some());
        assert_eq!(left, [false, false, true]);
    }

    #[tokio::test]
    async fn what_is_over_goes_where_nobody_new_comes() {
        let (server, now) = (server(), Now::read());
        let tokens = RememberedTokens::new(16 * 1_048_576);
        for number in 0..64 * SHARDS {
            let token = format!("t-{number}");
            tokens.put(token.as_bytes(), &remembered(&server, "somebody", &token, 60, now), 0, now);
        }
        tokens.put(b"adas", &remembered(&server, "ada", "adas", 600, now), 0, now);
        for tenths in 0..20 {
            let later = now.after(Duration::from_millis(60_000 + 100 * tenths));
            assert!(subject_of(&tokens, "adas", later).is_some());
        }
        let hers = tokens.shard(tokens.hash(b"adas"));
        assert_eq!(hers.len(), 1, "all others of her part are gone");
    }

    /// How many there are, and how many bytes they take.
    fn held(tokens: &RememberedTokens) -> (usize, usize) {
        let counts = tokens.shards.iter().map(|shard| {
            let shard = lock(shard);
            (shard.len(), shard.byte_count())
        });
        counts.fold((0, 0), |(count, bytes), (more, more_bytes)| (count + more, bytes + more_bytes))
    }
}
