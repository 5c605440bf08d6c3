//! SHA-256 digests: of one text, and of several fields that cannot run into one another; and how digests are shown.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256, digest};

/// The SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    into_array(digest(&SHA256, bytes).as_ref())
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// A digest in hexadecimal, in lower case.
pub fn hex(digest: &[u8; 32]) -> [u8; 64] {
    let mut digits = [0; 64];
    write_digits(digest, &mut digits);
    digits
}

/// Two digits for each byte.
fn write_digits(bytes: &[u8], digits: &mut [u8]) {
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Bytes in hexadecimal, in lower case.
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 64];
        for bytes in self.0.chunks(digits.len() / 2) {
            let digits = &mut digits[..2 * bytes.len()];
            write_digits(bytes, digits);
            f.write_str(std::str::from_utf8(digits).expect("digits are text"))?;
        }
        Ok(())
    }
}

/// How many bytes are gathered before they are digested. Most lists of fields have fewer, and each turn costs more than the bytes.
const GATHERED_BYTES: usize = 768;

/// A running digest over fields. Each is preceded by its length, so no two lists of fields give the same digest.
pub struct FieldDigest {
    /// What came before, where there was too much to be gathered.
    before: Option<Context>,
    gathered: [u8; GATHERED_BYTES],
    length: usize,
}

impl FieldDigest {
    /// Begins with a label that says what is digested, so that digests of different things never meet.
    pub fn new(label: &str) -> Self {
        let mut digest = Self { before: None, gathered: [0; GATHERED_BYTES], length: 0 };
        digest.field(label.as_bytes());
        digest
    }

    /// Adds a field.
    pub fn field(&mut self, field: &[u8]) {
        self.gather(&(field.len() as u64).to_be_bytes());
        self.gather(field);
    }

    /// Adds a field that may be absent, which differs from one that is empty.
    pub fn optional(&mut self, field: Option<&str>) {
        match field {
            None => self.field(b"absent"),
            Some(text) => {
                self.field(b"present");
                self.field(text.as_bytes());
            }
        }
    }

    /// Adds a list: how many texts there are, and each.
    pub fn list(&mut self, texts: &[Arc<str>]) {
        self.field(&(texts.len() as u64).to_be_bytes());
        texts.iter().for_each(|text| self.field(text.as_bytes()));
    }

    /// The digest of all fields.
    pub fn finish(self) -> [u8; 32] {
        let gathered = &self.gathered[..self.length];
        match self.before {
            None => sha256(gathered),
            Some(mut before) => {
                before.update(gathered);
                into_array(before.finish().as_ref())
            }
        }
    }

    fn gather(&mut self, bytes: &[u8]) {
        if bytes.len() > GATHERED_BYTES - self.length {
            let before = self.before.get_or_insert_with(|| Context::new(&SHA256));
            before.update(&self.gathered[..self.length]);
            self.length = 0;
            if bytes.len() > GATHERED_BYTES {
                before.update(bytes);
                return;
            }
        }
        self.gathered[self.length..][..bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }
}

fn into_array(digest: &[u8]) -> [u8; 32] {
    digest.try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest_of(fields: &[&str]) -> [u8; 32] {
        let mut digest = FieldDigest::new("test");
        fields.iter().for_each(|field| digest.field(field.as_bytes()));
        digest.finish()
    }

    #[test]
    fn fields_cannot_run_into_one_another() {
        assert_ne!(digest_of(&["ab", "c"]), digest_of(&["a", "bc"]));
        assert_ne!(digest_of(&["ab"]), digest_of(&["ab", ""]));
        assert_ne!(digest_of(&[]), sha256(b"test"));
    }

    #[test]
    fn the_digest_is_the_same_however_many_fields_are_gathered() {
        let text = "x".repeat(2 * GATHERED_BYTES);
        for (first, second) in
            [(0, 0), (1, 700), (700, 60), (744, 0), (745, 0), (768, 768), (769, 5), (5, 1_536)]
        {
            let fields = [&text[..first], &text[..second], "end"];
            let mut whole = Vec::new();
            for field in ["test"].iter().chain(&fields) {
                whole.extend_from_slice(&(field.len() as u64).to_be_bytes());
                whole.extend_from_slice(field.as_bytes());
            }
            assert_eq!(digest_of(&fields), sha256(&whole), "{first} and {second}");
        }
    }
}
