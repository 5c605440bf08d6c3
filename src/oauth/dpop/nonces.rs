//! Nonces for DPoP proofs (RFC 9449 section 9): the time they were made, under a key of this process. None is kept.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// How long a nonce is good: a proof that was made ahead of time is of no use to a thief after that.
const NONCE_SECONDS_MAX: u64 = 300;
/// What a nonce's time takes.
const TIME_BYTES: usize = 8;

/// Makes nonces, and knows its own again.
pub struct Nonces(hmac::Key);

impl Default for Nonces {
    fn default() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &aws_lc_rs::rand::SystemRandom::new());
        Self(key.expect("the system's random source works: TLS could not start without it"))
    }
}

impl Nonces {
    /// A nonce that is good from now on. `now` is in seconds since 1970 UTC.
    pub fn issue(&self, now: u64) -> String {
        let time = now.to_be_bytes();
        let mut nonce = time.to_vec();
        nonce.extend_from_slice(hmac::sign(&self.0, &time).as_ref());
        URL_SAFE_NO_PAD.encode(nonce)
    }

    /// Whether `nonce` is one of ours that is still good.
    pub fn is_current(&self, nonce: &str, now: u64) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(nonce) else { return false };
        let Some((time, tag)) = bytes.split_first_chunk::<TIME_BYTES>() else { return false };
        let made_at = u64::from_be_bytes(*time);
        hmac::verify(&self.0, time, tag).is_ok() && now.saturating_sub(made_at) <= NONCE_SECONDS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_for_a_while_and_only_here() {
        let (ours, theirs) = (Nonces::default(), Nonces::default());
        let nonce = ours.issue(1_000);
        assert!(ours.is_current(&nonce, 1_000));
        assert!(ours.is_current(&nonce, 1_300));
        assert!(!ours.is_current(&nonce, 1_301));
        assert!(!theirs.is_current(&nonce, 1_000));
        assert!(!ours.is_current("", 1_000));
        assert!(!ours.is_current("AAAA", 1_000));
    }
}
