//! Checkpoints: signed statements of how far a trail had come, kept beside it and published, so that a trail that was cut, or
//! written anew from some line on, does not fit what was said of it.
//!
//! Form: a signed note (C2SP signed-note) with an Ed25519 signature. Its text is that of a checkpoint (C2SP tlog-checkpoint): where it is
//! from, a number, a hash; here those of the last line, and two lines more.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::link::{Instance, LineHash};
use crate::digest::sha256;

/// What stands before the instance in the name of a key, and so in the first line of each of its notes.
pub const ORIGIN: &str = "obo-gateway.audit/";
/// What a private key is called in PEM form (RFC 7468 section 10).
const PEM_LABEL: &str = "PRIVATE KEY";
/// Marks a key as Ed25519 (C2SP signed-note).
const ED25519_KEY: u8 = 1;
/// Longest note: its lines have bounds, and there is one signature.
pub const NOTE_BYTES_MAX: usize = 1_024;

/// How far a trail had come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// Whose trail.
    pub instance: Instance,
    /// The number of its last line.
    pub sequence: u64,
    /// The hash of that line.
    pub hash: LineHash,
    /// The run of the gateway that says so.
    pub boot: u64,
    /// When, since 1970 UTC.
    pub time: Duration,
}

impl Checkpoint {
    /// Reads the checkpoint in a note, and does not look at who signed it.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Unreadable`].
    pub fn unverified(note: &str) -> Result<Self, CheckpointError> {
        let text = note.split_once("\n\n").filter(|_| note.len() <= NOTE_BYTES_MAX).map(|(text, _)| text);
        text.and_then(|text| Self::parse(&format!("{text}\n"))).ok_or(CheckpointError::Unreadable)
    }

    fn text(&self) -> String {
        format!(
            "{ORIGIN}{}\n{}\n{}\nboot {:016x}\ntime {}\n",
            self.instance.as_str(),
            self.sequence,
            STANDARD.encode(self.hash.0),
            self.boot,
            self.time.as_millis(),
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let [origin, sequence, hash, boot, time] =
            text.strip_suffix('\n')?.split('\n').collect::<Vec<_>>().try_into().ok()?;
        let checkpoint = Self {
            instance: Instance::parse(origin.strip_prefix(ORIGIN)?)?,
            sequence: sequence.parse().ok()?,
            hash: LineHash(STANDARD.decode(hash).ok()?.try_into().ok()?),
            boot: u64::from_str_radix(boot.strip_prefix("boot ")?, 16).ok()?,
            time: Duration::from_millis(time.strip_prefix("time ")?.parse().ok()?),
        };
        // One text for each checkpoint: no other spelling of a number or a hash.
        (checkpoint.text() == text).then_some(checkpoint)
    }
}

/// What a gateway signs its checkpoints with.
pub struct CheckpointKey {
    pair: Ed25519KeyPair,
    public: CheckpointPublicKey,
}

impl fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// What checkpoints are verified with. As text it is a verifier key of C2SP signed-note: `name+id+key`.
#[derive(Clone, PartialEq, Eq)]
pub struct CheckpointPublicKey {
    instance: Instance,
    key: [u8; 32],
}

/// Why a key or a checkpoint is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The key is none.
    #[error("it is no Ed25519 private key in PEM form (PKCS#8)")]
    NoPrivateKey,
    /// The public key is none.
    #[error("it is no key for checkpoints, like `obo-gateway.audit/gateway-1+1a2b3c4d+AQ…`")]
    NoPublicKey,
    /// The note cannot be read.
    #[error("it is no checkpoint")]
    Unreadable,
    /// It is signed by another key.
    #[error("it is not signed by this key")]
    OtherKey,
    /// The signature does not fit: the note was changed.
    #[error("its signature is wrong")]
    BadSignature,
}

impl CheckpointKey {
    /// Reads a private key (PKCS#8 in PEM form, as `openssl genpkey -algorithm ed25519` writes it).
    ///
    /// # Errors
    ///
    /// [`CheckpointError::NoPrivateKey`].
    pub fn from_pem(pem: &[u8], instance: Instance) -> Result<Self, CheckpointError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| CheckpointError::NoPrivateKey)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        Self::new(pair.map_err(|_| CheckpointError::NoPrivateKey)?, instance)
    }

    /// A key made for a test.
    #[cfg(any(test, feature = "demo"))]
    pub fn generate(instance: Instance) -> Self {
        let pair = Ed25519KeyPair::generate().expect("the system's random source works");
        Self::new(pair, instance).expect("an Ed25519 key has 32 bytes")
    }

    /// A new private key, in the form that [`Self::from_pem`] reads.
    ///
    /// # Errors
    ///
    /// When the system has no randomness to give.
    pub fn generate_pem() -> Result<Zeroizing<String>, Unspecified> {
        let pair = Ed25519KeyPair::generate()?;
        // The first version of the form, without the public key, is what every reader takes (RFC 8410).
        let der = pair.to_pkcs8v1()?;
        let encoded = Zeroizing::new(STANDARD.encode(der.as_ref()));
        let mut pem = Zeroizing::new(String::with_capacity(encoded.len() + 128));
        pem.push_str(&format!("-----BEGIN {PEM_LABEL}-----\n"));
        for line in encoded.as_bytes().chunks(64) {
            pem.extend(line.iter().map(|byte| char::from(*byte)));
            pem.push('\n');
        }
        pem.push_str(&format!("-----END {PEM_LABEL}-----\n"));
        Ok(pem)
    }

    fn new(pair: Ed25519KeyPair, instance: Instance) -> Result<Self, CheckpointError> {
        let key = pair.public_key().as_ref().try_into().map_err(|_| CheckpointError::NoPrivateKey)?;
        Ok(Self { pair, public: CheckpointPublicKey { instance, key } })
    }

    /// What its checkpoints are verified with.
    pub fn public(&self) -> &CheckpointPublicKey {
        &self.public
    }

    /// Signs a checkpoint, as a note.
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        let text = checkpoint.text();
        let mut signature = self.public.id().to_vec();
        signature.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        format!("{text}\n\u{2014} {} {}\n", self.public.name(), STANDARD.encode(signature))
    }
}

impl CheckpointPublicKey {
    /// Reads a verifier key.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::NoPublicKey`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let read = || {
            let (name, rest) = text.trim().split_once('+')?;
            let (_, key) = rest.split_once('+')?;
            let key = STANDARD.decode(key).ok()?;
            let key = key.strip_prefix(&[ED25519_KEY])?.try_into().ok()?;
            let key = Self { instance: Instance::parse(name.strip_prefix(ORIGIN)?)?, key };
            (key.to_string() == text.trim()).then_some(key)
        };
        read().ok_or(CheckpointError::NoPublicKey)
    }

    /// Whose checkpoints it verifies.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Verifies a note, and reads the checkpoint in it. Signatures by others (witnesses) may stand beside ours.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] says what is wrong with it.
    pub fn verify(&self, note: &str) -> Result<Checkpoint, CheckpointError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(CheckpointError::Unreadable);
        }
        let (text, signatures) = note.split_once("\n\n").ok_or(CheckpointError::Unreadable)?;
        let text = format!("{text}\n");
        let ours = signatures.lines().find_map(|line| {
            let signature = line.strip_prefix("\u{2014} ")?.strip_prefix(&self.name())?.strip_prefix(' ')?;
            STANDARD.decode(signature).ok()?.strip_prefix(&self.id()).map(<[u8]>::to_vec)
        });
        let signature = ours.ok_or(CheckpointError::OtherKey)?;
        let key = UnparsedPublicKey::new(&ED25519, self.key);
        key.verify(text.as_bytes(), &signature).map_err(|_| CheckpointError::BadSignature)?;
        let checkpoint = Checkpoint::parse(&text).ok_or(CheckpointError::Unreadable)?;
        match checkpoint.instance == self.instance {
            true => Ok(checkpoint),
            false => Err(CheckpointError::OtherKey),
        }
    }

    fn name(&self) -> String {
        format!("{ORIGIN}{}", self.instance.as_str())
    }

    /// The first four bytes of the hash of name and key (C2SP signed-note).
    fn id(&self) -> [u8; 4] {
        let mut named = self.name().into_bytes();
        named.extend_from_slice(&[b'\n', ED25519_KEY]);
        named.extend_from_slice(&self.key);
        let [a, b, c, d, ..] = sha256(&named);
        [a, b, c, d]
    }
}

impl fmt::Display for CheckpointPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519_KEY];
        key.extend_from_slice(&self.key);
        write!(f, "{}+{:08x}+{}", self.name(), u32::from_be_bytes(self.id()), STANDARD.encode(key))
    }
}

impl fmt::Debug for CheckpointPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The notes in a file of checkpoints: each with its one empty line, and an empty line after it.
pub fn notes(text: &str) -> impl Iterator<Item = &str> {
    let begins = text.match_indices(ORIGIN).map(|(at, _)| at);
    let begins = begins.filter(|at| *at == 0 || text[..*at].ends_with("\n\n"));
    begins.filter_map(|begin| {
        let rest = &text[begin..];
        let (head, signatures) = rest.split_once("\n\n")?;
        let signatures = signatures.split("\n\n").next()?;
        rest.get(..head.len() + 2 + signatures.len() + 1).filter(|note| note.ends_with('\n'))
    })
}

/// How many bytes at the end of a file of checkpoints, of which this is the end, are the beginning of one that was never finished.
pub fn unfinished(end: &[u8]) -> usize {
    let empty_line = |text: &[u8]| text.windows(2).position(|pair| pair == b"\n\n");
    let begins =
        |at: &usize| end[*at..].starts_with(ORIGIN.as_bytes()) && (*at == 0 || end[..*at].ends_with(b"\n\n"));
    let note = end.len().checked_sub(ORIGIN.len()).and_then(|last| (0..=last).rev().find(begins));
    let rest = match note.map(|begin| &end[begin..]) {
        Some(note) => {
            let text = empty_line(note).map(|at| at + 2);
            let whole = text.and_then(|text| Some(text + empty_line(&note[text..])? + 2));
            &note[whole.unwrap_or_default()..]
        }
        None if ORIGIN.as_bytes().starts_with(end) => end,
        None => &[],
    };
    // Whatever is longer is none of ours.
    if rest.len() < NOTE_BYTES_MAX { rest.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance() -> Instance {
        Instance::parse("gateway-1").expect("a name")
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            instance: instance(),
            sequence: 42,
            hash: LineHash::of(b"a line"),
            boot: 0xb007,
            time: Duration::from_millis(1_795_341_600_123),
        }
    }

    #[test]
    fn a_signed_checkpoint_is_read_back() {
        let key = CheckpointKey::generate(instance());
        let note = key.sign(&checkpoint());
        let public = CheckpointPublicKey::parse(&key.public().to_string()).expect("a verifier key");
        assert_eq!(public.verify(&note), Ok(checkpoint()));
        assert!(note.len() < NOTE_BYTES_MAX);
        assert!(note.starts_with("obo-gateway.audit/gateway-1\n42\n"), "{note}");
    }

    #[test]
    fn a_new_key_is_read_back() {
        let pem = CheckpointKey::generate_pem().expect("randomness");
        let key = CheckpointKey::from_pem(pem.as_bytes(), instance()).expect("a key");
        let note = key.sign(&checkpoint());
        assert!(key.public().verify(&note).is_ok());
        assert_eq!(Checkpoint::unverified(&note), Ok(checkpoint()));
        assert_eq!(Checkpoint::unverified(&note.replace("time", "tide")), Err(CheckpointError::Unreadable));
        assert_ne!(pem, CheckpointKey::generate_pem().expect("randomness"));
    }

    #[test]
    fn nothing_in_it_can_be_changed() {
        let key = CheckpointKey::generate(instance());
        let note = key.sign(&checkpoint());
        assert_eq!(
            key.public().verify(&note.replace("\n42\n", "\n41\n")),
            Err(CheckpointError::BadSignature)
        );
        assert_eq!(key.public().verify(&note.replace("boot", "b00t")), Err(CheckpointError::BadSignature));
        assert_eq!(key.public().verify(&note.replace("\n\n", "\n")), Err(CheckpointError::Unreadable));
        let other = CheckpointKey::generate(instance());
        assert_eq!(other.public().verify(&note), Err(CheckpointError::OtherKey));
        // A key of the same name, under our key's id, is caught by the signature.
        let id = |note: &str| note.lines().last().map(|line| line[32..37].to_owned()).expect("a signature");
        let forged = other.sign(&checkpoint());
        let forged = forged.replace(&id(&forged), &id(&note));
        assert!(key.public().verify(&forged).is_err());
    }

    #[test]
    fn a_note_is_what_the_specification_says() {
        // The verifier key of C2SP signed-note's own example has this form; the id is over name, line break, type and key.
        let key = CheckpointKey::generate(instance());
        let text = key.public().to_string();
        let parts: Vec<&str> = text.splitn(3, '+').collect();
        assert_eq!(parts[0], "obo-gateway.audit/gateway-1");
        assert_eq!((parts[1].len(), parts[2].len()), (8, 44));
        for wrong in ["", "a+b+c", &text.replace("gateway-1", "gateway-2"), &text[1..]] {
            assert_eq!(CheckpointPublicKey::parse(wrong), Err(CheckpointError::NoPublicKey), "{wrong}");
        }
    }

    #[test]
    fn notes_are_found_in_a_file_of_them() {
        let key = CheckpointKey::generate(instance());
        let [one, two] = [42, 43].map(|sequence| key.sign(&Checkpoint { sequence, ..checkpoint() }));
        let file = format!("{one}\n{two}\n");
        assert_eq!(notes(&file).collect::<Vec<_>>(), [one.as_str(), two.as_str()]);
        assert_eq!(notes(&file[10..]).collect::<Vec<_>>(), [two.as_str()]);
        assert_eq!(notes(&file[..file.len() - 5]).collect::<Vec<_>>(), [one.as_str()]);
        assert_eq!(notes("").count(), 0);
    }

    #[test]
    fn a_private_key_is_read_from_pem() {
        let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key").serialize_pem();
        let key = CheckpointKey::from_pem(pem.as_bytes(), instance()).expect("a key");
        assert!(key.public().verify(&key.sign(&checkpoint())).is_ok());
        let other =
            rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key").serialize_pem();
        for wrong in [other.as_str(), "", &format!("-----BEGIN {PEM_LABEL}-----")] {
            assert_eq!(
                CheckpointKey::from_pem(wrong.as_bytes(), instance()).err(),
                Some(CheckpointError::NoPrivateKey)
            );
        }
    }
}
