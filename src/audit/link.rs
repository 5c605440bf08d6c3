//! The chain: how each line of a trail holds on to the line before it.
//!
//! A record is one JSON object whose last member is `metadata`. The writer of the trail closes that member with the record's place: its
//! number in the trail, the gateway that wrote it, the start of that gateway, and the SHA-256 of the line before. Whoever changes,
//! removes, adds or moves a line breaks what the next one says of it; the last line is held by a checkpoint.

use std::fmt;

use crate::digest::{Hex, hex, sha256};

/// Longest name of an instance. Host names have up to 64 bytes.
const INSTANCE_BYTES_MAX: usize = 64;
/// Largest number of a line: file names have as many digits. A trail that goes on after it would take ages.
const SEQUENCE_MAX: u64 = 9_999_999_999_999_999;
/// More than any link takes: its fixed texts, an instance, a number, and two digests.
const LINK_BYTES_MAX: usize = 384;

const SEQUENCE: &str = r#","sequence":"#;
const INSTANCE: &str = r#","tags":[{"name":"instance","value":""#;
const BOOT: &str = r#""},{"name":"boot","value":""#;
const PREVIOUS: &str = r#""},{"name":"previous","value":""#;
const END: &str = r#""}]}}"#;

/// The SHA-256 of a line, without its line break.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LineHash(pub [u8; 32]);

impl LineHash {
    /// Stands before the first line of a trail.
    pub const NONE: Self = Self([0; 32]);

    /// The hash of this line.
    pub fn of(line: &[u8]) -> Self {
        Self(sha256(line))
    }

    /// Reads 64 hexadecimal digits, in lower case.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut hash = [0; 32];
        if text.len() != 64 {
            return None;
        }
        for (byte, digits) in hash.iter_mut().zip(text.chunks_exact(2)) {
            *byte = hex_digit(digits[0])? << 4 | hex_digit(digits[1])?;
        }
        Some(Self(hash))
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for LineHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for LineHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The name of the gateway that writes a trail: letters, digits, `.`, `_` and `-`, so that it stands in a line as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instance(Box<str>);

impl Instance {
    /// Reads a name; `None` when it has other characters, none at all, or too many.
    pub fn parse(name: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let is_name = !name.is_empty() && name.len() <= INSTANCE_BYTES_MAX && name.bytes().all(fits);
        is_name.then(|| Self(name.into()))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The place of the next line of a trail.
pub struct Chain {
    instance: Instance,
    boot: u64,
    /// What stands between the number of a line and the hash of the one before it: who wrote it.
    writer: String,
    next: u64,
    previous: LineHash,
}

impl Chain {
    /// Goes on after line `sequence`, which has this hash: 0 and [`LineHash::NONE`] for a new trail. `boot` tells this run of
    /// the gateway from others.
    pub fn after(sequence: u64, previous: LineHash, instance: Instance, boot: u64) -> Self {
        let writer = format!("{INSTANCE}{}{BOOT}{boot:016x}{PREVIOUS}", instance.as_str());
        Self { instance, boot, writer, next: sequence.saturating_add(1), previous }
    }

    /// The number of the last line, 0 before the first.
    pub fn sequence(&self) -> u64 {
        self.next - 1
    }

    /// The hash of the last line.
    pub fn hash(&self) -> LineHash {
        self.previous
    }

    /// The gateway's name.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Which run of the gateway this is.
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// Closes the record that begins at `start` with its place, and ends the line. The record is a JSON object, and an object that
    /// is not empty is its last member.
    pub fn close(&mut self, lines: &mut Vec<u8>, start: usize) {
        let is_open = lines.ends_with(b"}}") && lines.len() > start + 2;
        assert!(is_open, "a record ends with its metadata, which is never empty");
        lines.truncate(lines.len() - 2);
        lines.extend_from_slice(SEQUENCE.as_bytes());
        lines.extend_from_slice(itoa::Buffer::new().format(self.next).as_bytes());
        lines.extend_from_slice(self.writer.as_bytes());
        lines.extend_from_slice(&hex(&self.previous.0));
        lines.extend_from_slice(END.as_bytes());
        self.previous = LineHash::of(&lines[start..]);
        self.next += 1;
        lines.push(b'\n');
    }
}

/// What a line says of its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link<'a> {
    /// Its number. A trail begins with 1.
    pub sequence: u64,
    /// The gateway that wrote it.
    pub instance: &'a str,
    /// Which run of that gateway, as 16 hexadecimal digits.
    pub boot: &'a str,
    /// The hash of the line before it.
    pub previous: LineHash,
}

impl<'a> Link<'a> {
    /// Reads the end of a line, which has no line break. `None` when it is not as [`Chain::close`] writes it. Texts within a record
    /// cannot look like it: their quotes are escaped.
    pub fn of(line: &'a [u8]) -> Option<Self> {
        let tail = &line[line.len().saturating_sub(LINK_BYTES_MAX)..];
        let start = tail.windows(SEQUENCE.len()).rposition(|window| window == SEQUENCE.as_bytes())?;
        let link = std::str::from_utf8(&tail[start..]).ok()?;
        let (sequence, link) = link.strip_prefix(SEQUENCE)?.split_once(INSTANCE)?;
        let (instance, link) = link.split_once(BOOT)?;
        let (boot, link) = link.split_once(PREVIOUS)?;
        let previous = link.strip_suffix(END)?;
        let is_number = !sequence.starts_with(['0', '+']) && boot.len() == 16;
        Instance::parse(instance)
            .filter(|_| is_number && boot.bytes().all(|digit| hex_digit(digit).is_some()))?;
        let sequence = sequence.parse().ok().filter(|sequence| *sequence <= SEQUENCE_MAX)?;
        Some(Self { sequence, instance, boot, previous: LineHash::parse(previous.as_bytes())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Chain {
        Chain::after(0, LineHash::NONE, Instance::parse("gateway-1").expect("a name"), 0xb007)
    }

    #[test]
    fn each_line_holds_on_to_the_one_before() {
        let (mut chain, mut lines) = (chain(), Vec::new());
        for record in [r#"{"metadata":{"uid":"a"}}"#, r#"{"metadata":{"uid":",\"sequence\":7"}}"#] {
            let start = lines.len();
            lines.extend_from_slice(record.as_bytes());
            chain.close(&mut lines, start);
        }
        let lines: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').collect();
        let [first, second] = [0, 1].map(|line| Link::of(lines[line]).expect("a link"));
        assert_eq!((first.sequence, first.previous), (1, LineHash::NONE));
        assert_eq!((second.sequence, second.previous), (2, LineHash::of(lines[0])));
        assert_eq!((second.instance, second.boot), ("gateway-1", "000000000000b007"));
        assert_eq!((chain.sequence(), chain.hash()), (2, LineHash::of(lines[1])));
        serde_json::from_slice::<serde_json::Value>(lines[1]).expect("JSON");
    }

    #[test]
    fn what_is_not_a_link_is_none() {
        let (mut chain, mut line) = (chain(), br#"{"metadata":{"uid":"a"}}"#.to_vec());
        chain.close(&mut line, 0);
        let good = String::from_utf8(line).expect("text");
        let good = good.trim_end();
        assert!(Link::of(good.as_bytes()).is_some());
        let changed = [
            String::new(),
            good.replace(":1,", ":01,"),
            good.replace(":1,", ":+1,"),
            good.replace(":1,", ":18446744073709551616,"),
            // File names have no more digits, and there has to be a number after it.
            good.replace(":1,", ":18446744073709551615,"),
            good.replace(":1,", ":10000000000000000,"),
            good.replace("gateway-1", "gateway 1"),
            good.replace("b007", "B007"),
            good.replace("boot", "boat"),
            good[..good.len() - 1].to_owned(),
            format!("{good} "),
        ];
        for line in changed {
            assert_eq!(Link::of(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn an_instance_has_a_plain_name() {
        let long = "a".repeat(65);
        for name in ["", "a b", "a\"", "ä", long.as_str()] {
            assert_eq!(Instance::parse(name), None, "{name}");
        }
        assert!(Instance::parse("gw-1.example_A").is_some());
    }
}
