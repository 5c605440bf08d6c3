//! Tokens that have been verified, each with what was learned from it, within a bound in bytes.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::RememberedAgent;
use crate::clock::Now;
use crate::identity::{Caller, Person, SecretToken, VerifiedClaims};
use crate::oauth::authorization_server::AuthorizationServer;
use crate::second_chance::{ByteCount, SecondChance};

/// Most bytes that remembered tokens may take, unless it is configured: some 25,000 people's.
pub const REMEMBERED_BYTES_MAX: usize = 128 * 1_048_576;
/// Of how many parts they consist, each with a lock of its own.
const SHARDS: usize = 64;
/// By how many of its last bytes a token is looked for. They are of its signature, and as good as a hash of all of it.
const HASHED_BYTES: usize = 64;
/// What a remembered token takes beside its caller: its place, and how long it holds.
const ENTRY_BYTES: usize = 256;
/// What the same caller takes again, with the agent that acts and what records say of that.
const ACTING_BYTES: usize = 2_048;

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
}

type Shard = SecondChance<Slot>;

struct Slot {
    remembered: Arc<Remembered>,
    bytes: usize,
}

impl Slot {
    fn is_over(&self, now: Now) -> bool {
        self.remembered.validity.is_over(now)
    }
}

impl ByteCount for Slot {
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
            hasher: RandomState::new(),
        }
    }

    /// What was learned from a token, where that holds still. Whatever these bytes are, it is theirs only when they are the same to
    /// the last.
    pub fn get(&self, token: &[u8], now: Now) -> Option<Arc<Remembered>> {
        let hash = self.hash(token);
        let remembered = {
            let mut shard = self.shard(hash);
            let over = shard.look_through_at(now.monotonic, |slot| slot.is_over(now));
            remove(&mut shard, over);
            let place = shard.find(hash)?;
            shard.used(place);
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

    /// Remembers what was learned from a token, unless it is more than there is room for.
    pub fn put(&self, remembered: &Arc<Remembered>, now: Now) {
        let token = remembered.caller.subject_token();
        let hash = self.hash(token.expose().as_bytes());
        let exchange = remembered.server.settings().exchange.as_ref();
        let acting =
            exchange.filter(|exchange| exchange.grant.wants_agents_token()).map_or(0, |_| ACTING_BYTES);
        let bytes = ENTRY_BYTES + remembered.caller.byte_count() + acting;
        let mut shard = self.shard(hash);
        if let Some(place) = shard.find(hash) {
            shard.remove(place);
        }
        let over = shard.look_through(|slot| slot.is_over(now));
        remove(&mut shard, over);
        shard.add(hash, Slot { remembered: Arc::clone(remembered), bytes });
        while shard.byte_count() > self.shard_bytes_max
            && let Some(place) = shard.next_to_go()
        {
            shard.remove(place);
        }
    }

    /// Drops what was learned from tokens of a person. Returns how many there were.
    pub fn forget(&self, person: &Person) -> usize {
        let is_theirs = |slot: &Slot| {
            let caller = &slot.remembered.caller;
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
            && shard.get(place).is_some_and(|slot| Arc::ptr_eq(&slot.remembered, remembered))
        {
            shard.remove(place);
        }
    }

    fn hash(&self, token: &[u8]) -> u64 {
        self.hasher.hash_one(&token[token.len().saturating_sub(HASHED_BYTES)..])
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // The highest bits: the lowest say where it is within its part.
        lock(&self.shards[(hash >> 58) as usize % SHARDS])
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
        let end = "e".repeat(HASHED_BYTES);
        let [adas, bobs] = ["a", "b"].map(|begin| format!("{begin}{end}"));
        tokens.put(&remembered(&server, "ada", &adas, 60, now), now);
        assert_eq!(subject_of(&tokens, &adas, now).as_deref(), Some("ada"));
        for other in [bobs.as_str(), end.as_str(), "", "a"] {
            assert_eq!(subject_of(&tokens, other, now), None, "{other}");
        }
        // Two that end alike have one place.
        tokens.put(&remembered(&server, "bob", &bobs, 60, now), now);
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
        tokens.put(&remembered(&server, "ada", "adas", 60, now), now);
        for number in 0..4_000 {
            let token = format!("{}-{number}", "t".repeat(1_700));
            tokens.put(&remembered(&server, "somebody", &token, 60, now), now);
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
            tokens.put(&remembered(&server, subject, token, 60, now), now);
        }
        let issuer = Issuer::new("https://issuer.example");
        let ada = Person { realm: Realm::Issuers([issuer].into()), subject: Subject::new("ada") };
        assert_eq!((tokens.forget(&ada), tokens.forget(&ada)), (2, 0));
        let left = ["1", "2", "3"].map(|token| subject_of(&tokens, token, now).is_some());
        assert_eq!(left, [false, false, true]);
    }

    #[tokio::test]
    async fn what_is_over_goes_where_nobody_new_comes() {
        let (server, now) = (server(), Now::read());
        let tokens = RememberedTokens::new(16 * 1_048_576);
        for number in 0..64 * SHARDS {
            tokens.put(&remembered(&server, "somebody", &format!("t-{number}"), 60, now), now);
        }
        tokens.put(&remembered(&server, "ada", "adas", 600, now), now);
        let before = held(&tokens).0;
        for tenths in 0..20 {
            let later = now.after(Duration::from_millis(60_000 + 100 * tenths));
            assert!(subject_of(&tokens, "adas", later).is_some());
        }
        // All of her part are gone.
        assert!(held(&tokens).0 < before - 32, "{} of {before}", held(&tokens).0);
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
