//! Who is signed in, in which browser: in memory, bounded, and for hours at most.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::digest::sha256;
use crate::identity::Person;
use crate::oauth::sign_in::SignedIn;
use crate::random;

/// How long a session lasts that nobody uses.
pub const IDLE_MAX: Duration = Duration::from_secs(30 * 60);
/// How long a session lasts at most: a working day.
pub const LIFETIME_MAX: Duration = Duration::from_secs(8 * 3_600);
/// Most sessions at a time, some 25 MB. People come here now and then; beyond it, the one longest unused ends.
const SESSIONS_MAX: usize = 50_000;
/// Most sessions of one person: so many browsers nobody has. Beyond it, their own longest unused ends.
const SESSIONS_OF_ONE_MAX: usize = 10;
/// How many people are remembered who were forgotten, for sign-ins that are just being completed. Whoever is overtaken by more of
/// them begins again.
const FORGOTTEN_MAX: usize = 1_000;
/// Bytes of a token of forms.
const TOKEN_BYTES: usize = 32;

/// All sessions. A session is known by the digest of its id, so that nothing here is good for anybody's cookie.
#[derive(Default)]
pub struct Sessions(Mutex<All>);

#[derive(Default)]
struct All {
    sessions: HashMap<[u8; 32], Kept>,
    /// Who was forgotten last, and before them.
    forgotten: VecDeque<Person>,
    /// How many people were forgotten so far.
    forgets: u64,
}

/// How many people had been forgotten when a sign-in began to be completed.
#[derive(Clone, Copy, Debug)]
pub struct Forgets(u64);

/// The person was forgotten while they signed in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forgotten;

struct Kept {
    person: SignedIn,
    key: [u8; 32],
    began: Instant,
    seen: Instant,
}

/// A session that a request came with.
#[derive(Clone)]
pub struct Session {
    digest: [u8; 32],
    person: SignedIn,
    key: [u8; 32],
}

impl Kept {
    fn holds(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) < LIFETIME_MAX
            && now.saturating_duration_since(self.seen) < IDLE_MAX
    }
}

impl Sessions {
    /// How many people have been forgotten so far.
    pub fn forgets(&self) -> Forgets {
        Forgets(self.lock().forgets)
    }

    /// Begins a session of `person`. Returns its id, for the browser alone. `since` was read before their issuer was asked who
    /// they are.
    ///
    /// # Errors
    ///
    /// [`Forgotten`] when the person was forgotten since then, or may have been.
    pub fn begin(&self, person: SignedIn, since: Forgets, now: Instant) -> Result<String, Forgotten> {
        let id = random::text::<32>();
        let key = sha256(random::text::<32>().as_bytes());
        let mut all = self.lock();
        if all.has_forgotten(&person, since) {
            return Err(Forgotten);
        }
        let sessions = &mut all.sessions;
        let of_person: Vec<([u8; 32], Instant)> = sessions
            .iter()
            .filter(|(_, kept)| kept.person.id() == person.id())
            .map(|(digest, kept)| (*digest, kept.seen))
            .collect();
        if of_person.len() >= SESSIONS_OF_ONE_MAX {
            remove_oldest(sessions, of_person);
        }
        if sessions.len() >= SESSIONS_MAX {
            sessions.retain(|_, kept| kept.holds(now));
        }
        if sessions.len() >= SESSIONS_MAX {
            let all = sessions.iter().map(|(digest, kept)| (*digest, kept.seen)).collect();
            remove_oldest(sessions, all);
        }
        sessions.insert(sha256(id.as_bytes()), Kept { person, key, began: now, seen: now });
        Ok(id)
    }

    /// The session of this id, used now; `None` when there is none, or none any more.
    pub fn open(&self, id: &str, now: Instant) -> Option<Session> {
        let digest = sha256(id.as_bytes());
        let sessions = &mut self.lock().sessions;
        let kept = sessions.get_mut(&digest)?;
        if !kept.holds(now) {
            sessions.remove(&digest);
            return None;
        }
        kept.seen = now;
        Some(Session { digest, person: kept.person.clone(), key: kept.key })
    }

    /// Ends a session.
    pub fn end(&self, session: &Session) {
        self.lock().sessions.remove(&session.digest);
    }

    /// Ends the sessions of a person, and has none begin whose sign-in is being completed.
    pub fn forget(&self, person: &Person) -> usize {
        let mut all = self.lock();
        all.forgets += 1;
        all.forgotten.push_front(person.clone());
        all.forgotten.truncate(FORGOTTEN_MAX);
        let sessions = &mut all.sessions;
        let before = sessions.len();
        sessions.retain(|_, kept| !kept.person.id().is(person));
        before - sessions.len()
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn has_forgotten(&self, person: &SignedIn, since: Forgets) -> bool {
        let count = usize::try_from(self.forgets - since.0).unwrap_or(usize::MAX);
        let is_them = |forgotten: &Person| person.id().is(forgotten);
        count > FORGOTTEN_MAX || self.forgotten.iter().take(count).any(is_them)
    }
}

fn remove_oldest(sessions: &mut HashMap<[u8; 32], Kept>, of: Vec<([u8; 32], Instant)>) {
    if let Some((digest, _)) = of.into_iter().min_by_key(|(_, seen)| *seen) {
        sessions.remove(&digest);
    }
}

impl Session {
    /// Who is signed in.
    pub fn person(&self) -> &SignedIn {
        &self.person
    }

    /// Tells it from others without being good for anything.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// What a form or link of this session carries that does `purpose`: no other site can know it, and it does nothing else.
    pub fn token(&self, purpose: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.hmac_key(), purpose.as_bytes()))
    }

    /// Whether `given` is the token for `purpose`, compared in constant time.
    pub fn has_token(&self, purpose: &str, given: &str) -> bool {
        let given = URL_SAFE_NO_PAD.decode(given).unwrap_or_default();
        given.len() == TOKEN_BYTES && hmac::verify(&self.hmac_key(), purpose.as_bytes(), &given).is_ok()
    }

    fn hmac_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{PersonId, Realm, Subject};
    use crate::oauth::sign_in::testing::signed_in;

    fn begin(sessions: &Sessions, who: &str, now: Instant) -> String {
        sessions.begin(signed_in(who), sessions.forgets(), now).expect("nobody is forgotten meanwhile")
    }

    fn person(who: &str) -> Person {
        let PersonId { issuer, subject, .. } = signed_in(who).id().clone();
        Person { realm: Realm::Issuers([issuer].into()), subject }
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_after_a_day() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let id = begin(&sessions, "ada", now);
        assert!(sessions.open(&id, now + IDLE_MAX - Duration::from_secs(1)).is_some());
        assert!(sessions.open("another", now).is_none());
        let mut last = now;
        while last + IDLE_MAX / 2 < now + LIFETIME_MAX {
            assert!(sessions.open(&id, last).is_some());
            last += IDLE_MAX / 2;
        }
        assert!(sessions.open(&id, now + LIFETIME_MAX).is_none());
        let idle = begin(&sessions, "ada", now);
        assert!(sessions.open(&idle, now + IDLE_MAX).is_none());
        assert!(sessions.open(&idle, now).is_none(), "it is gone for good");
    }

    #[test]
    fn a_token_does_one_thing_in_one_session() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let [one, other] =
            ["ada", "ada"].map(|who| sessions.open(&begin(&sessions, who, now), now).expect("a session"));
        let token = one.token("disconnect:crm");
        assert!(one.has_token("disconnect:crm", &token));
        for (session, purpose, given) in [
            (&one, "disconnect:mail", token.as_str()),
            (&other, "disconnect:crm", &token),
            (&one, "disconnect:crm", ""),
            (&one, "disconnect:crm", &token[..40]),
        ] {
            assert!(!session.has_token(purpose, given), "{purpose} {given}");
        }
    }

    #[test]
    fn nobody_fills_the_memory_and_nobody_is_pushed_out_by_another() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let bobs = begin(&sessions, "bob", now);
        let adas: Vec<String> = (0..SESSIONS_OF_ONE_MAX as u64 + 3)
            .map(|second| begin(&sessions, "ada", now + Duration::from_secs(second)))
            .collect();
        let open =
            adas.iter().filter(|id| sessions.open(id, now + Duration::from_secs(60)).is_some()).count();
        assert_eq!(open, SESSIONS_OF_ONE_MAX);
        assert!(sessions.open(&adas[0], now).is_none());
        assert!(sessions.open(&bobs, now).is_some());
    }

    #[test]
    fn beyond_the_bound_what_is_over_goes_first_and_then_the_longest_unused() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let fill = |from: usize, seen: Instant| {
            let mut all = sessions.lock();
            for n in from..SESSIONS_MAX {
                let kept = Kept { person: signed_in("eve"), key: [0; 32], began: seen, seen };
                all.sessions.insert(sha256(&n.to_be_bytes()), kept);
            }
        };
        let second = Duration::from_secs(1);
        let (oldest, other) = (begin(&sessions, "ada", now), begin(&sessions, "bob", now + second));
        fill(2, now + 2 * second);
        let newest = begin(&sessions, "ada", now + 3 * second);
        assert_eq!(sessions.lock().sessions.len(), SESSIONS_MAX);
        assert!(sessions.open(&oldest, now + 3 * second).is_none());
        for id in [&other, &newest] {
            assert!(sessions.open(id, now + IDLE_MAX - second).is_some());
        }
        // By now those that fill it are over, and nobody else has to go.
        begin(&sessions, "bob", now + IDLE_MAX + 2 * second);
        assert_eq!(sessions.lock().sessions.len(), 3);
    }

    #[test]
    fn who_is_forgotten_is_signed_out() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let [ada, bob] = ["ada", "bob"].map(|who| begin(&sessions, who, now));
        assert_eq!(sessions.forget(&person("ada")), 1);
        assert!(sessions.open(&ada, now).is_none());
        assert!(sessions.open(&bob, now).is_some());
    }

    #[test]
    fn who_is_forgotten_while_they_sign_in_has_no_session_and_anybody_else_has() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let since = sessions.forgets();
        sessions.forget(&person("ada"));
        sessions.forget(&person("bob"));
        assert_eq!(sessions.begin(signed_in("ada"), since, now), Err(Forgotten));
        assert!(sessions.begin(signed_in("eve"), since, now).is_ok());
        assert!(sessions.begin(signed_in("ada"), sessions.forgets(), now).is_ok(), "they signed in anew");
        for n in 0..FORGOTTEN_MAX {
            sessions.forget(&Person { subject: Subject::new(n.to_string()), ..person("ada") });
        }
        assert_eq!(sessions.lock().forgotten.len(), FORGOTTEN_MAX);
        assert_eq!(sessions.begin(signed_in("eve"), since, now), Err(Forgotten), "nobody can say any more");
    }
}
