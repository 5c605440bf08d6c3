//! Keyed digests: by them records can be compared, and by nobody without the key can it be guessed what they are about.
//!
//! A plain hash of an e-mail address says who it is to whoever hashes a directory. These are HMACs, shown as the name of their
//! key's epoch and the first 32 hexadecimal digits.

use std::fmt;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::hmac;

use super::record;
use crate::digest::Hex;
use crate::identity::Caller;
use crate::random;
use crate::unique::Unique;

/// Fewest bytes that a key has: as many as its digests (RFC 2104 section 3).
pub const KEY_BYTES_MIN: usize = 32;
/// Longest name of an epoch.
const EPOCH_BYTES_MAX: usize = 32;
/// How much of an HMAC is shown: 128 bits. Two that are equal by chance are not to be expected.
const SHOWN_BYTES: usize = 16;

/// The name of the time in which a key was used: 1 to 32 letters, digits, `.` and `-`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Epoch(Box<str>);

impl Epoch {
    /// Reads a name; `None` when it has other characters, none at all, or too many.
    pub fn parse(name: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        let is_name = (1..=EPOCH_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits);
        is_name.then(|| Self(name.into()))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key, and the name of its epoch.
#[derive(Clone)]
pub struct AuditKey {
    epoch: Epoch,
    key: hmac::Key,
}

impl AuditKey {
    /// The key of this epoch; `None` when `secret` has less than [`KEY_BYTES_MIN`] bytes.
    pub fn new(epoch: Epoch, secret: &[u8]) -> Option<Self> {
        let is_long = secret.len() >= KEY_BYTES_MIN;
        is_long.then(|| Self { epoch, key: hmac::Key::new(hmac::HMAC_SHA256, secret) })
    }

    /// Its epoch.
    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// The digest of these fields. `label` says what they are, so that digests of different things never meet; each field
    /// is preceded by its length.
    fn digest(&self, label: &str, fields: &[&[u8]]) -> String {
        let mut digest = hmac::Context::with_key(&self.key);
        for field in std::iter::once(&label.as_bytes()).chain(fields) {
            digest.update(&(field.len() as u64).to_be_bytes());
            digest.update(field);
        }
        let tag = digest.sign();
        format!("{}:{}", self.epoch.as_str(), Hex(&tag.as_ref()[..SHOWN_BYTES]))
    }

    /// What stands in records for the person `subject` of a tenant, or where there are none of an issuer.
    pub fn person(&self, realm: &str, subject: &str) -> String {
        self.digest("person/1", &[realm.as_bytes(), subject.as_bytes()])
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuditKey").field(&self.epoch.0).finish()
    }
}

/// What records say of people, and by which keys they hint at what they do not say.
#[derive(Clone, Debug)]
pub struct Privacy {
    /// The first is used; the others are for looking up. Never empty.
    keys: Vec<AuditKey>,
    configured: bool,
    pseudonyms: bool,
    /// So that nothing that was written under another is reused.
    unique: Unique,
}

impl Privacy {
    /// With these keys, of which the first is used. `None` when there are none.
    pub fn new(keys: Vec<AuditKey>, pseudonyms: bool) -> Option<Self> {
        (!keys.is_empty()).then_some(Self { keys, configured: true, pseudonyms, unique: Unique::default() })
    }

    /// With a random key that lives as long as the process: digests compare within one run, and people stand as they are.
    pub fn of_this_run() -> Arc<Self> {
        static OF_THIS_RUN: LazyLock<Arc<Privacy>> = LazyLock::new(|| {
            let mut secret = [0; KEY_BYTES_MIN];
            random::fill(&mut secret);
            let epoch = Epoch(format!("boot-{:08x}", record::boot() >> 32).into());
            let key = AuditKey::new(epoch, &secret).expect("the secret is as long as it has to be");
            let unique = Unique::default();
            Arc::new(Privacy { keys: vec![key], configured: false, pseudonyms: false, unique })
        });
        Arc::clone(&OF_THIS_RUN)
    }

    /// Its number among all of the process: what was written under one is not what another would write.
    pub fn number(&self) -> u64 {
        self.unique.number()
    }

    /// Whether people stand under pseudonyms.
    pub fn has_pseudonyms(&self) -> bool {
        self.pseudonyms
    }

    /// Whether the keys are an operator's, and digests compare beyond this run.
    pub fn is_configured(&self) -> bool {
        self.configured
    }

    /// The keys, the one that is used first.
    pub fn keys(&self) -> &[AuditKey] {
        &self.keys
    }

    fn key(&self) -> &AuditKey {
        self.keys.first().expect("there is a key: nothing makes this without one")
    }

    /// What stands for a token of this SHA-256.
    pub fn token(&self, digest: &[u8; 32]) -> String {
        self.key().digest("token/1", &[digest])
    }

    /// What stands for arguments whose canonical form has this SHA-256.
    pub fn arguments(&self, digest: &[u8; 32]) -> String {
        self.key().digest("arguments/1", &[digest])
    }

    /// What stands for the person `subject` of a realm, where people stand under pseudonyms.
    pub fn person(&self, realm: &str, subject: &str) -> Option<String> {
        self.pseudonyms.then(|| self.key().person(realm, subject))
    }

    /// What stands for a sign-in session of the caller's, where people stand under pseudonyms.
    pub fn session(&self, caller: &Caller) -> Option<String> {
        let session = caller.session().filter(|_| self.pseudonyms)?;
        Some(self.key().digest("session/1", &[caller.realm().as_bytes(), session.as_bytes()]))
    }

    /// What stands for the caller's token's own identifier, where people stand under pseudonyms.
    pub fn token_id(&self, caller: &Caller) -> Option<String> {
        let id = caller.token_id().filter(|_| self.pseudonyms)?;
        Some(self.key().digest("token id/1", &[caller.realm().as_bytes(), id.as_bytes()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(epoch: &str, secret: u8) -> AuditKey {
        let epoch = Epoch::parse(epoch).expect("a name of the test");
        AuditKey::new(epoch, &[secret; KEY_BYTES_MIN]).expect("a key of the test")
    }

    #[test]
    fn a_digest_shows_its_epoch_and_half_of_itself() {
        // Computed with Python's hmac, over 8-byte lengths in big-endian order and the fields.
        let shown = key("2026-11", b'k').person("t-1", "ada");
        assert_eq!(shown, "2026-11:93415088a044f221f26876e4e444091d");
    }

    #[test]
    fn whatever_differs_has_another_digest() {
        let (one, other) = (key("a", 1), key("a", 2));
        let digests = [
            one.person("t-1", "ada"),
            one.person("t-2", "ada"),
            one.person("t-1", "bob"),
            one.person("t-1a", "da"),
            one.digest("session/1", &[b"t-1", b"ada"]),
            other.person("t-1", "ada"),
        ];
        for (i, digest) in digests.iter().enumerate() {
            assert_eq!(digests.iter().position(|same| same == digest), Some(i), "{digest}");
        }
        assert_eq!(one.person("t-1", "ada"), key("a", 1).person("t-1", "ada"));
    }

    #[test]
    fn keys_are_long_and_epochs_have_plain_names() {
        let epoch = || Epoch::parse("2026.11-a").expect("a name");
        assert!(AuditKey::new(epoch(), &[0; 31]).is_none());
        assert!(AuditKey::new(epoch(), &[0; 32]).is_some());
        let long = "a".repeat(33);
        for name in ["", "a b", "a:b", "a_b", "ä", long.as_str()] {
            assert_eq!(Epoch::parse(name), None, "{name}");
        }
        assert!(Privacy::new(Vec::new(), true).is_none());
    }

    #[test]
    fn a_key_is_not_shown() {
        let privacy = Privacy::new(vec![key("2026-11", b'k')], true).expect("a key");
        let shown = format!("{privacy:?}");
        assert!(shown.contains("2026-11") && !shown.contains("kk") && !shown.contains("107"), "{shown}");
    }

    #[test]
    fn without_keys_digests_are_of_this_run_and_people_stand_as_they_are() {
        let privacy = Privacy::of_this_run();
        let token = privacy.token(&[7; 32]);
        assert!(token.starts_with("boot-") && token.len() == "boot-".len() + 8 + 1 + 32, "{token}");
        assert_eq!(token, Privacy::of_this_run().token(&[7; 32]));
        assert_eq!(privacy.person("t-1", "ada"), None);
    }
}
