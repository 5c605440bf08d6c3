//! A sign-in while the browser is at the issuer: sealed, and kept by the browser itself.
//!
//! So a flood of sign-ins that nobody completes takes no memory, and pushes nobody else's out; and what comes back by another
//! browser has nothing to be completed with. The key is this process's, made anew when it starts. What the process remembers is
//! which of them have been used: a browser can keep one for longer than it was told to.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::link::{Link, LinkPage};
use crate::clock::Now;
use crate::identity::{Issuer, SecretToken};
use crate::oauth::sign_in::Attempt;
use crate::random;

/// How long a person may take to sign in.
pub const FLOW_LIFETIME: Duration = Duration::from_secs(600);
/// Most used ones that are remembered, some 6 MB: more than are completed while one lives.
const USED_MAX: usize = 100_000;
/// Bytes of the nonce that stands before what is sealed.
const NONCE_BYTES: usize = 12;
/// What is sealed, so that nothing else sealed by the same key could be taken for it.
const LABEL: &[u8] = b"obo-gateway sign-in/1";

/// A sign-in under way.
pub struct Flow {
    /// What proves that an answer belongs to it.
    pub attempt: Attempt,
    /// At which issuer.
    pub issuer: Issuer,
    /// The link that the person came by.
    pub link: Option<Link>,
}

/// Seals what browsers keep, and knows what of it has been used.
pub struct FlowKey {
    key: RandomizedNonceKey,
    /// What ages are counted from.
    made: Instant,
    used: Mutex<Used>,
}

/// Tells a flow that came back from others, and how long it is good.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mark {
    /// Since the key was made.
    until: Duration,
    state: [u8; 32],
}

/// The flows that have been used and would still be good, those first that are the soonest over.
#[derive(Default)]
struct Used {
    marks: BTreeSet<Mark>,
    /// Until when those were good that had to be left out. None of that time is good any more: it might be one of them.
    left_out: Duration,
}

#[derive(Serialize, Deserialize)]
struct Written<'a> {
    state: &'a str,
    nonce: &'a str,
    verifier: &'a str,
    #[serde(borrow)]
    issuer: Cow<'a, str>,
    /// Which page, and about what.
    link: Option<(&'a str, &'a str)>,
    /// Milliseconds since the key was made. Whoever sets the wall clock makes no sign-in longer or shorter.
    until: u64,
}

impl FlowKey {
    /// A new one.
    pub fn new() -> Self {
        let mut key = Zeroizing::new([0_u8; 32]);
        random::fill(&mut *key);
        let key = RandomizedNonceKey::new(&AES_256_GCM, &*key).expect("the key has the algorithm's length");
        Self { key, made: Instant::now(), used: Mutex::default() }
    }

    /// The flow as the browser keeps it.
    pub fn seal(&self, flow: &Flow, now: Now) -> String {
        let written = Written {
            state: flow.attempt.state.expose(),
            nonce: flow.attempt.nonce.expose(),
            verifier: flow.attempt.verifier.expose(),
            issuer: flow.issuer.as_str().into(),
            link: flow.link.as_ref().map(|link| (link.page().path(), link.id())),
            until: u64::try_from((self.age(now) + FLOW_LIFETIME).as_millis()).unwrap_or(u64::MAX),
        };
        let mut sealed = serde_json::to_vec(&written).expect("texts and a number are JSON");
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(LABEL), &mut sealed)
            .expect("some hundred bytes can be sealed");
        let whole = [nonce.as_ref().as_slice(), &sealed].concat();
        URL_SAFE_NO_PAD.encode(whole)
    }

    /// The flow that the browser kept, and by what it is remembered; `None` when it is none of this process's, or too old.
    pub fn open(&self, sealed: &str, now: Now) -> Option<(Flow, Mark)> {
        let mut whole = Zeroizing::new(URL_SAFE_NO_PAD.decode(sealed).ok()?);
        let (nonce, sealed) = whole.split_at_mut_checked(NONCE_BYTES)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.key.open_in_place(nonce, Aad::from(LABEL), sealed).ok()?;
        let Written { state, nonce, verifier, issuer, link, until } = serde_json::from_slice(opened).ok()?;
        let until = Duration::from_millis(until);
        if self.age(now) >= until {
            return None;
        }
        let attempt = Attempt {
            state: SecretToken::new(state),
            nonce: SecretToken::new(nonce),
            verifier: SecretToken::new(verifier),
        };
        let link = link.and_then(|(page, id)| {
            let page = LinkPage::ALL.into_iter().find(|known| known.path() == page)?;
            Link::new(page, id)
        });
        let mark = Mark { until, state: attempt.state.digest() };
        Some((Flow { attempt, issuer: Issuer::new(&*issuer), link }, mark))
    }

    /// Uses a flow up. Returns whether it was still to be had: it is, once.
    pub fn use_up(&self, mark: Mark, now: Now) -> bool {
        // It is whole after every change.
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.add(mark, self.age(now))
    }

    fn age(&self, now: Now) -> Duration {
        now.monotonic.saturating_duration_since(self.made)
    }
}

impl Used {
    fn add(&mut self, mark: Mark, age: Duration) -> bool {
        while self.marks.first().is_some_and(|first| first.until <= age) {
            self.marks.pop_first();
        }
        if mark.until <= self.left_out || !self.marks.insert(mark) {
            return false;
        }
        if self.marks.len() > USED_MAX
            && let Some(first) = self.marks.pop_first()
        {
            self.left_out = first.until;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> Flow {
        let issuer = Issuer::new("https://issuer.example");
        Flow { attempt: Attempt::begin(), issuer, link: Link::new(LinkPage::Confirm, "t") }
    }

    #[test]
    fn a_flow_comes_back_as_it_was() {
        let (key, flow, now) = (FlowKey::new(), flow(), Now::read());
        let sealed = key.seal(&flow, now);
        assert!(!sealed.contains(flow.attempt.state.expose()));
        let (opened, _) = key.open(&sealed, now).expect("the flow");
        assert_eq!(opened.attempt.state.expose(), flow.attempt.state.expose());
        assert_eq!(opened.attempt.verifier.expose(), flow.attempt.verifier.expose());
        assert!(flow.link.is_some());
        assert_eq!((opened.issuer, opened.link), (flow.issuer, flow.link));
    }

    #[test]
    fn a_flow_that_is_old_changed_or_anothers_is_none() {
        let (key, now) = (FlowKey::new(), Now::read());
        let sealed = key.seal(&flow(), now);
        assert!(key.open(&sealed, now.after(FLOW_LIFETIME - Duration::from_secs(1))).is_some());
        assert!(key.open(&sealed, now.after(FLOW_LIFETIME)).is_none());
        assert!(FlowKey::new().open(&sealed, now).is_none());
        // What happened: whoever set the wall clock forward ended every sign-in, and whoever set it back made old ones good again.
        let wall = Duration::from_secs(1);
        assert!(key.open(&sealed, Now { wall, ..now.after(FLOW_LIFETIME) }).is_none());
        assert!(key.open(&sealed, Now { wall: now.wall + FLOW_LIFETIME * 2, ..now }).is_some());
        for bad in ["", "AAAA", "%", &sealed[4..], &sealed[..sealed.len() - 4]] {
            assert!(key.open(bad, now).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_flow_is_used_once() {
        let (key, now) = (FlowKey::new(), Now::read());
        let (one, other) = (key.seal(&flow(), now), key.seal(&flow(), now));
        let use_up = |sealed| key.use_up(key.open(sealed, now).expect("a flow").1, now);
        assert!(use_up(&one) && use_up(&other));
        assert!(!use_up(&one) && !use_up(&other));
    }

    #[test]
    fn what_is_used_is_remembered_for_as_long_as_it_would_be_good_within_bounds_and_never_good_again() {
        let mark = |until: u64, n: usize| {
            let mut state = [0; 32];
            state[..8].copy_from_slice(&n.to_be_bytes());
            Mark { until: Duration::from_secs(until), state }
        };
        let (mut used, age) = (Used::default(), Duration::from_secs(5));
        assert!(used.add(mark(10, 0), age) && used.add(mark(20, 0), age));
        assert!(used.add(mark(30, 0), Duration::from_secs(10)));
        assert_eq!(used.marks.len(), 2, "what is over is not remembered");
        for n in 1..USED_MAX {
            assert!(used.add(mark(30, n), age));
        }
        assert_eq!(used.marks.len(), USED_MAX);
        assert!(!used.add(mark(20, 0), age) && !used.add(mark(20, 1), age), "it may have been used");
        assert!(!used.add(mark(30, 1), age) && used.add(mark(40, 1), age));
    }
}
