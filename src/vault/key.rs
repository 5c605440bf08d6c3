//! The keys of a vault, and what is done with them: sealing, and names that say nothing.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::identity::word;

/// How many bytes a key has.
pub const KEY_BYTES: usize = 32;
/// What AES-GCM adds to what it seals (NIST SP 800-38D).
const TAG_BYTES: usize = 16;

word! {
    /// The configuration's name for a key of the vault.
    KeyId
}

/// A key by which a vault is sealed, and its name.
#[derive(Clone)]
pub struct VaultKey {
    /// Its name.
    pub id: KeyId,
    secret: Zeroizing<[u8; KEY_BYTES]>,
}

/// Why a text is no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VaultKeyError {
    /// It has another length.
    #[error("is not a key: 32 random bytes, as they are or in base64; `openssl rand -base64 32` makes them")]
    Length,
    /// Nobody drew it at random.
    #[error("holds the same byte over and over, which is no random key: `openssl rand -base64 32` makes one")]
    NotRandom,
}

impl VaultKey {
    /// Reads a key: 32 bytes as they are, or in base64 with or without padding, perhaps with a line break at the end.
    ///
    /// # Errors
    ///
    /// [`VaultKeyError`] when it is none.
    pub fn read(id: KeyId, bytes: &[u8]) -> Result<Self, VaultKeyError> {
        let mut secret = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() == KEY_BYTES {
            secret.copy_from_slice(bytes);
        } else {
            let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            let text = text.strip_suffix(b"=").unwrap_or(text);
            let decoded = STANDARD_NO_PAD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text));
            let decoded = Zeroizing::new(decoded.map_err(|_| VaultKeyError::Length)?);
            if decoded.len() != KEY_BYTES {
                return Err(VaultKeyError::Length);
            }
            secret.copy_from_slice(&decoded);
        }
        match secret.iter().all(|byte| *byte == secret[0]) {
            true => Err(VaultKeyError::NotRandom),
            false => Ok(Self { id, secret }),
        }
    }

    /// Whether both are the same key under the same name.
    pub fn is(&self, other: &Self) -> bool {
        self.id == other.id && self.has_the_secret_of(other)
    }

    /// Its name.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Whether both are the same key, whatever they are called.
    pub fn has_the_secret_of(&self, other: &Self) -> bool {
        verify_slices_are_equal(&*self.secret, &*other.secret).is_ok()
    }
}

impl fmt::Debug for VaultKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VaultKey").field(&self.id).finish()
    }
}

/// A key, as it is used. Nonces are random, so it may seal 2^32 times (NIST SP 800-38D section 8.3): at ten refreshes a second,
/// which seal two things each, for seven years.
pub struct SealingKey {
    id: KeyId,
    seal: RandomizedNonceKey,
    check: [u8; 32],
}

impl SealingKey {
    /// What is derived from `key` (RFC 5869): no bytes of it are used twice.
    pub fn of(key: &VaultKey) -> Self {
        let derived = Zeroizing::new(derive(&key.secret, b"obo-gateway vault: seal"));
        let seal =
            RandomizedNonceKey::new(&AES_256_GCM, &*derived).expect("a key of 32 bytes is an AES-256 key");
        Self { id: key.id.clone(), seal, check: derive(&key.secret, b"obo-gateway vault: check") }
    }

    /// Its name.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// What the vault keeps of it, to tell it from another key of the same name. It says nothing about the key.
    pub fn check(&self) -> &[u8; 32] {
        &self.check
    }

    /// Seals `plain`, for this place alone. `None` when the system has no randomness.
    pub fn seal(&self, place: &Place, plain: &[u8]) -> Option<Vec<u8>> {
        // Room for all of it from the start: no copy is left behind by growing.
        let mut sealed = Zeroizing::new(Vec::with_capacity(plain.len() + TAG_BYTES));
        sealed.extend_from_slice(plain);
        let nonce = self.seal.seal_in_place_append_tag(place.aad(&self.id), &mut *sealed).ok()?;
        let mut whole = Vec::with_capacity(NONCE_LEN + sealed.len());
        whole.extend_from_slice(nonce.as_ref());
        whole.extend_from_slice(&sealed);
        Some(whole)
    }

    /// What was sealed at this place. `None` when it was not, or has been changed.
    pub fn open(&self, place: &Place, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let bytes = self.seal.open_in_place(nonce, place.aad(&self.id), &mut plain).ok()?.len();
        plain.truncate(bytes);
        Some(plain)
    }
}

/// Where something sealed belongs. What was sealed for one place cannot be opened at another.
pub struct Place(Vec<u8>);

impl Place {
    /// A place of this kind.
    pub fn new(label: &str) -> Self {
        Self(Vec::new()).at(label.as_bytes())
    }

    /// The place within that `field` names. Each is preceded by its length, so no two places are the same.
    pub fn at(mut self, field: &[u8]) -> Self {
        self.0.extend_from_slice(&(field.len() as u64).to_be_bytes());
        self.0.extend_from_slice(field);
        self
    }

    /// The same with a field that may be absent, which differs from one that is empty.
    pub fn at_optional(self, field: Option<&str>) -> Self {
        match field {
            None => self.at(b"absent"),
            Some(text) => self.at(b"present").at(text.as_bytes()),
        }
    }

    fn aad(&self, key: &KeyId) -> Aad<Vec<u8>> {
        Aad::from(Self(self.0.clone()).at(key.as_str().as_bytes()).0)
    }
}

/// The key by which names are made. It is drawn when the vault is made, and is kept within, sealed, so that names outlive
/// the keys.
pub struct NameKey {
    key: hmac::Key,
    secret: Zeroizing<[u8; KEY_BYTES]>,
}

/// A name that says nothing of what it names.
pub type Name = [u8; 32];

impl NameKey {
    /// A new one. `None` when the system has no randomness.
    pub fn draw() -> Option<Self> {
        let mut secret = Zeroizing::new([0; KEY_BYTES]);
        aws_lc_rs::rand::fill(&mut *secret).ok()?;
        Some(Self::of(secret))
    }

    /// The one with this secret.
    pub fn of(secret: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &*secret), secret }
    }

    /// Its secret, to be sealed.
    pub fn secret(&self) -> &[u8; KEY_BYTES] {
        &self.secret
    }

    /// The name of a place.
    pub fn name(&self, place: &Place) -> Name {
        hmac::sign(&self.key, &place.0).as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
    }
}

fn derive(secret: &[u8; KEY_BYTES], label: &[u8]) -> [u8; 32] {
    let mut derived = [0; 32];
    let extracted = Salt::new(HKDF_SHA256, b"obo-gateway vault").extract(secret);
    extracted
        .expand(&[label], HKDF_SHA256)
        .and_then(|expanded| expanded.fill(&mut derived))
        .expect("32 bytes can be derived");
    derived
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fill: u8) -> VaultKey {
        let mut bytes = [fill; KEY_BYTES];
        bytes[0] = 1;
        VaultKey::read(KeyId::new("a"), &bytes).expect("a key")
    }

    #[test]
    fn a_key_is_read_as_it_is_or_in_base64() {
        let bytes: Vec<u8> = (0..32).map(|n| n * 8 + 3).collect();
        let read = |bytes: &[u8]| VaultKey::read(KeyId::new("a"), bytes).map(|key| key.secret.to_vec());
        assert_eq!(read(&bytes), Ok(bytes.clone()));
        let text = base64::engine::general_purpose::STANDARD.encode(&bytes);
        for written in [text.clone(), format!("{text}\n"), format!("{text}\r\n"), text.replace('=', "")] {
            assert_eq!(read(written.as_bytes()), Ok(bytes.clone()), "{written:?}");
        }
        assert_eq!(read(URL_SAFE_NO_PAD.encode(&bytes).as_bytes()), Ok(bytes.clone()));
        for wrong in [&bytes[..31], b"", b"not base64 at all, but of some length!", b"AAAA"] {
            assert_eq!(read(wrong), Err(VaultKeyError::Length), "{wrong:?}");
        }
        assert_eq!(read(&[0; 32]), Err(VaultKeyError::NotRandom));
    }

    #[test]
    fn what_is_sealed_opens_at_its_own_place_by_its_own_key_and_whole() {
        let (key, other) = (SealingKey::of(&key(7)), SealingKey::of(&key(8)));
        let place = || Place::new("test").at(b"ab").at(b"c");
        let sealed = key.seal(&place(), b"secret").expect("sealed");
        assert_eq!(key.open(&place(), &sealed).as_deref().map(Vec::as_slice), Some(&b"secret"[..]));
        assert_ne!(sealed, key.seal(&place(), b"secret").expect("sealed"), "no nonce comes twice");
        assert!(other.open(&place(), &sealed).is_none());
        assert!(key.open(&Place::new("test").at(b"a").at(b"bc"), &sealed).is_none());
        for cut in 0..sealed.len() {
            assert!(key.open(&place(), &sealed[..cut]).is_none(), "{cut}");
            let mut flipped = sealed.clone();
            flipped[cut] ^= 1;
            assert!(key.open(&place(), &flipped).is_none(), "{cut}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", key(7)), r#"VaultKey("a")"#);
    }
}
