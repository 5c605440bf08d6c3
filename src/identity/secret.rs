//! Secrets: what proves who somebody is, and is shown to nobody.

use std::fmt;
use std::sync::{Arc, OnceLock};

use zeroize::Zeroize;

use crate::digest::sha256;

/// A credential's text. It cannot be shown by accident: no `Display`, no `Serialize`, and wiped when dropped.
#[derive(Clone)]
pub struct SecretToken(Arc<Wiped>);

struct Wiped {
    text: String,
    /// Computed once, by whoever asks first.
    digest: OnceLock<[u8; 32]>,
}

impl Drop for Wiped {
    fn drop(&mut self) {
        self.text.zeroize();
    }
}

impl SecretToken {
    /// Takes charge of a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Arc::new(Wiped { text: secret.into(), digest: OnceLock::new() }))
    }

    /// How many bytes it has.
    pub fn byte_count(&self) -> usize {
        self.0.text.len()
    }

    /// Tells it from others without showing it: its SHA-256.
    pub fn digest(&self) -> [u8; 32] {
        *self.0.digest.get_or_init(|| sha256(self.0.text.as_bytes()))
    }

    /// Whether it is `other`. Every byte is looked at: how long it takes does not tell where they differ.
    pub fn is(&self, other: &[u8]) -> bool {
        let own = self.0.text.as_bytes();
        let difference = own.iter().zip(other).fold(0, |difference, (own, other)| difference | (own ^ other));
        own.len() == other.len() && std::hint::black_box(difference) == 0
    }

    /// Whether `bytes` hold the secret.
    pub fn is_within(&self, bytes: &[u8]) -> bool {
        let secret = self.0.text.as_bytes();
        !secret.is_empty()
            && bytes.len() >= secret.len()
            && bytes.windows(secret.len()).any(|window| window == secret)
    }

    /// The secret itself. The one way out, and loud: search for `expose` to see who looks.
    pub fn expose(&self) -> &str {
        &self.0.text
    }
}

impl fmt::Debug for SecretToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        assert_eq!(format!("{:?}", SecretToken::new("eyJ-canary")), "[secret]");
    }

    #[test]
    fn a_secret_is_the_same_text_to_its_last_byte() {
        let secret = SecretToken::new("eyJ-canary");
        assert!(secret.is(b"eyJ-canary"));
        for other in ["", "eyJ-canar", "eyJ-canary.", "eyJ-canarz", "fyJ-canary"] {
            assert!(!secret.is(other.as_bytes()), "{other}");
        }
    }
}
