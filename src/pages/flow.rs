//! A sign-in while the browser is at the issuer: sealed, and kept by the browser itself.
//!
//! So a flood of sign-ins that nobody completes takes no memory, and pushes nobody else's out; and what comes back by another
//! browser has nothing to be completed with. The key is this process's, made anew when it starts.

use std::borrow::Cow;
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

/// How long a person may take to sign in.
pub const FLOW_LIFETIME: Duration = Duration::from_secs(600);
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

/// Seals what browsers keep.
pub struct FlowKey {
    key: RandomizedNonceKey,
    /// What ages are counted from.
    made: Instant,
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
        aws_lc_rs::rand::fill(&mut *key)
            .expect("the system's random source works: TLS could not start without it");
        let key = RandomizedNonceKey::new(&AES_256_GCM, &*key).expect("the key has the algorithm's length");
        Self { key, made: Instant::now() }
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

    /// The flow that the browser kept; `None` when it is none of this process's, or too old.
    pub fn open(&self, sealed: &str, now: Now) -> Option<Flow> {
        let mut whole = Zeroizing::new(URL_SAFE_NO_PAD.decode(sealed).ok()?);
        let (nonce, sealed) = whole.split_at_mut_checked(NONCE_BYTES)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.key.open_in_place(nonce, Aad::from(LABEL), sealed).ok()?;
        let Written { state, nonce, verifier, issuer, link, until } = serde_json::from_slice(opened).ok()?;
        (self.age(now) < Duration::from_millis(until)).then(|| Flow {
            attempt: Attempt {
                state: SecretToken::new(state),
                nonce: SecretToken::new(nonce),
                verifier: SecretToken::new(verifier),
            },
            issuer: Issuer::new(&*issuer),
            link: link.and_then(|(page, id)| {
                let page = LinkPage::ALL.into_iter().find(|known| known.path() == page)?;
                Link::new(page, id)
            }),
        })
    }

    fn age(&self, now: Now) -> Duration {
        now.monotonic.saturating_duration_since(self.made)
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
        let opened = key.open(&sealed, now).expect("the flow");
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
}
