//! The state of a call whose person was asked something by the gateway: sealed, and kept by the client.
//!
//! So nothing is remembered here for calls that never go on. A state opens for the caller and the call that it was given out for, and
//! in this process alone: the key is made anew when it starts.

use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::elicitation::{Brought, Purpose};
use super::handles::HANDLE_BYTES_MAX;
use crate::clock::Now;
use crate::digest::FieldDigest;
use crate::identity::Caller;
use crate::random;
use crate::tool::ConnectorName;

/// What our states begin with. A server's that does is none of its own.
pub const PREFIX: &str = "obo1.";
/// How long a call can go on. The pages that people are sent to live as long.
pub const STATE_LIFETIME: Duration = Duration::from_secs(600);
/// Most bytes that are sealed. In base64 they still are a state that is taken, and the call that goes on with it, which may have to
/// be sent again with all its arguments, a message that is read.
const SEALED_BYTES_MAX: usize = HANDLE_BYTES_MAX / 4 * 3 - 64;
/// Bytes of the nonce that stands before what is sealed.
const NONCE_BYTES: usize = 12;
/// What is sealed, so that nothing else sealed by the same key could be taken for it.
const LABEL: &[u8] = b"obo-gateway mcp-question/1";

/// A call that waits for its person.
#[derive(Clone, PartialEq, Debug)]
pub struct Waiting {
    /// What the person was asked about.
    pub purpose: Purpose,
    /// How often the call has been answered with a question by now.
    pub asked: u8,
    /// What the call brought along for the server.
    pub brought: Brought,
}

/// For which call, and of whom, a state is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound([u8; 32]);

/// Seals the states that clients keep.
pub struct StateKey {
    key: RandomizedNonceKey,
    /// Times are counted from here, by the clock that nobody can set back.
    born: Instant,
}

/// Why a call does not go on with the state that it brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StateFault {
    /// It was not given to this caller for this call.
    #[error("the state was not given to this caller for this call")]
    NotGiven,
    /// It was, too long ago.
    #[error("the state of the gateway's question is too old")]
    Over,
    /// There is an answer to a question of the gateway's, without the state that goes with it.
    #[error("the answer is to a question that the gateway did not ask about this call")]
    NotAsked,
}

impl Bound {
    /// A call of `caller`, at this connector, with this digest.
    pub fn to(caller: &Caller, connector: &ConnectorName, call: &[u8; 32]) -> Self {
        let mut digest = FieldDigest::new("mcp-question/1");
        digest.field(caller.issuer().as_str().as_bytes());
        digest.optional(caller.tenant().id());
        digest.field(caller.subject().as_str().as_bytes());
        digest.optional(caller.actor().map(|actor| actor.as_str()));
        digest.field(connector.as_str().as_bytes());
        digest.field(call);
        Self(digest.finish())
    }

    /// What is sealed opens with this alone.
    fn associated(self) -> Aad<Vec<u8>> {
        Aad::from([LABEL, &self.0].concat())
    }
}

#[derive(Serialize, Deserialize)]
struct Written {
    purpose: Purpose,
    asked: u8,
    brought: Brought,
    /// Seconds since the key was made.
    until: u64,
}

impl Default for StateKey {
    fn default() -> Self {
        let mut key = Zeroizing::new([0_u8; 32]);
        random::fill(&mut *key);
        let key = RandomizedNonceKey::new(&AES_256_GCM, &*key).expect("the key has the algorithm's length");
        Self { key, born: Instant::now() }
    }
}

impl StateKey {
    /// The state that a client keeps. `None`: it would be larger than any that is taken.
    pub fn seal(&self, waiting: Waiting, bound: Bound, now: Now) -> Option<String> {
        let Waiting { purpose, asked, brought } = waiting;
        let until = self.age(now).saturating_add(STATE_LIFETIME).as_secs();
        let written = Written { purpose, asked, brought, until };
        let mut sealed = serde_json::to_vec(&written).expect("its names are texts");
        if sealed.len() > SEALED_BYTES_MAX {
            return None;
        }
        let nonce = self
            .key
            .seal_in_place_append_tag(bound.associated(), &mut sealed)
            .expect("some kilobytes can be sealed");
        Some(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([nonce.as_ref().as_slice(), &sealed].concat())))
    }

    /// What waits under a state.
    ///
    /// # Errors
    ///
    /// `StateFault` when the call cannot go on with it.
    pub fn open(&self, state: &str, bound: Bound, now: Now) -> Result<Waiting, StateFault> {
        let Written { purpose, asked, brought, until } =
            self.opened(state, bound).ok_or(StateFault::NotGiven)?;
        match self.age(now).as_secs() < until {
            true => Ok(Waiting { purpose, asked, brought }),
            false => Err(StateFault::Over),
        }
    }

    fn opened(&self, state: &str, bound: Bound) -> Option<Written> {
        let sealed = state.strip_prefix(PREFIX).filter(|_| state.len() <= HANDLE_BYTES_MAX)?;
        let mut whole = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = whole.split_at_mut_checked(NONCE_BYTES)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.key.open_in_place(nonce, bound.associated(), sealed).ok()?;
        serde_json::from_slice(opened).ok()
    }

    fn age(&self, now: Now) -> Duration {
        now.monotonic.saturating_duration_since(self.born)
    }
}

/// Whether a state is one of the gateway's own, or wants to be taken for one.
pub fn is_ours(state: &str) -> bool {
    state.starts_with(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Actor, Issuer, SecretToken, Tenant, VerifiedClaims};
    use serde_json::json;

    fn caller(change: impl FnOnce(&mut VerifiedClaims)) -> Caller {
        let mut claims = VerifiedClaims { actor: Some(Actor::new("planner")), ..VerifiedClaims::of("ada") };
        change(&mut claims);
        Caller::verified(claims, SecretToken::new("token"))
    }

    fn bound() -> Bound {
        Bound::to(&caller(|_| {}), &ConnectorName::new("notes"), &[7; 32])
    }

    fn waiting() -> Waiting {
        let responses = json!({ "name": { "action": "accept", "content": { "name": "Ada", "half": 0.5 } } });
        Waiting {
            purpose: Purpose::Connect { ticket: "t".to_owned() },
            asked: 2,
            brought: Brought { state: Some("theirs".to_owned()), responses: responses.as_object().cloned() },
        }
    }

    #[test]
    fn what_waits_comes_back_as_it_was_and_nobody_reads_it_on_the_way() {
        let (key, now) = (StateKey::default(), Now::read());
        let state = key.seal(waiting(), bound(), now).expect("a state");
        assert!(is_ours(&state) && !state.contains("theirs"));
        assert_eq!(key.open(&state, bound(), now), Ok(waiting()));
        assert_ne!(key.seal(waiting(), bound(), now), Some(state), "no two are alike");
    }

    #[test]
    fn a_state_is_for_one_call_of_one_person_by_one_agent_at_one_connector() {
        let (key, now) = (StateKey::default(), Now::read());
        let state = key.seal(waiting(), bound(), now).expect("a state");
        let (ada, notes, call) = (caller(|_| {}), ConnectorName::new("notes"), [7; 32]);
        assert_eq!(Bound::to(&ada, &notes, &call), bound());
        let others = [
            Bound::to(&ada, &notes, &[8; 32]),
            Bound::to(&ada, &ConnectorName::new("crm"), &call),
            Bound::to(&caller(|claims| claims.subject = VerifiedClaims::of("bob").subject), &notes, &call),
            Bound::to(&caller(|claims| claims.actor = Some(Actor::new("other"))), &notes, &call),
            Bound::to(&caller(|claims| claims.actor = None), &notes, &call),
            Bound::to(&caller(|claims| claims.tenant = Tenant::Named("other".into())), &notes, &call),
            Bound::to(&caller(|claims| claims.issuer = Issuer::new("https://other.example")), &notes, &call),
        ];
        for other in others {
            assert_eq!(key.open(&state, other, now), Err(StateFault::NotGiven), "{other:?}");
            let theirs = key.seal(waiting(), other, now).expect("a state");
            assert_eq!(key.open(&theirs, bound(), now), Err(StateFault::NotGiven), "{other:?}, swapped");
        }
    }

    #[test]
    fn a_state_that_is_forged_cut_changed_or_of_another_process_opens_nothing() {
        let (key, now) = (StateKey::default(), Now::read());
        let state = key.seal(waiting(), bound(), now).expect("a state");
        let (body, not_given) = (&state[PREFIX.len()..], Err(StateFault::NotGiven));
        let mut turned = state.clone().into_bytes();
        let at = turned.len() / 2;
        turned[at] = if turned[at] == b'A' { b'B' } else { b'A' };
        let turned = String::from_utf8(turned).expect("ASCII");
        let long = format!("{PREFIX}{}", "A".repeat(HANDLE_BYTES_MAX));
        let bad = [
            "",
            PREFIX,
            "obo1.%",
            "obo1.AAAA",
            body,
            &state[..state.len() - 4],
            &format!("{PREFIX}{}", &body[4..]),
            &format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(r#"{"purpose":{"Connect":{"ticket":"t"}}}"#)),
            &turned,
            &long,
        ];
        for bad in bad {
            assert_eq!(key.open(bad, bound(), now), not_given, "{bad:.40}");
        }
        assert_eq!(StateKey::default().open(&state, bound(), now), not_given);
    }

    #[test]
    fn a_state_is_over_after_ten_minutes_whatever_the_wall_clock_says() {
        let (key, now) = (StateKey::default(), Now::read());
        let state = key.seal(waiting(), bound(), now).expect("a state");
        let last = now.after(STATE_LIFETIME - Duration::from_secs(1));
        assert!(key.open(&state, bound(), last).is_ok());
        let late = now.after(STATE_LIFETIME);
        assert_eq!(key.open(&state, bound(), late), Err(StateFault::Over));
        let set_back = Now { wall: Duration::ZERO, ..late };
        assert_eq!(key.open(&state, bound(), set_back), Err(StateFault::Over));
    }

    #[test]
    fn what_is_too_large_to_come_back_is_not_sealed() {
        let (key, now) = (StateKey::default(), Now::read());
        let with = |bytes| {
            let brought = Brought { state: Some("x".repeat(bytes)), responses: None };
            key.seal(Waiting { brought, ..waiting() }, bound(), now)
        };
        let largest = with(SEALED_BYTES_MAX - 200).expect("it fits");
        assert!(largest.len() <= HANDLE_BYTES_MAX && key.open(&largest, bound(), now).is_ok());
        assert_eq!(with(SEALED_BYTES_MAX), None);
    }
}
