//! JSON in few bytes: what several texts have in common as the number of a phrase, and the rest by what it consists of.
//!
//! A text is cut behind each comma that a quotation mark follows, so that a piece is a claim, or an element of a list. A piece that
//! has been learnt is one byte. Of any other, its name may be, and its value is written with as many bits for each character as its
//! alphabet needs: identifiers are hexadecimal or base64.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Most phrases: each has a byte of its own, and so has each way to write a value.
const PHRASES_MAX: usize = 192;
/// The byte of the first way to write a value.
const VALUES: u8 = PHRASES_MAX as u8;
/// The byte that ends a text.
const END: u8 = u8::MAX;
/// What a value may end with. One that ends with a quotation mark begins with one.
const ENDS: [&[u8]; 8] = [b"", b",", b"\",", b"\"", b"\"},", b"\"],", b"\"}", b"\"]"];
/// How a UUID is written (RFC 9562 section 4): where the hyphens are.
const UUID_LENGTH: usize = 36;
const UUID_HYPHENS: [usize; 4] = [8, 13, 18, 23];
/// Shortest value that is written as an earlier one.
const EARLIER_LENGTH_MIN: usize = 4;
/// How many values a text mostly has at most.
const VALUES_EXPECTED: usize = 32;
/// Longest value that is written as one.
const VALUE_LENGTH_MAX: usize = 0x7fff;

const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const ASCII: [u8; 128] = {
    let (mut characters, mut at) = ([0; 128], 0);
    while at < characters.len() {
        characters[at] = at as u8;
        at += 1;
    }
    characters
};

/// What the characters of each alphabet stand for; 255: it is not among them.
const FROM_HEXADECIMAL: [u8; 256] = inverse(HEXADECIMAL);
const FROM_BASE64_URL: [u8; 256] = inverse(BASE64_URL);
const FROM_BASE64: [u8; 256] = inverse(BASE64);
const FROM_ASCII: [u8; 256] = inverse(&ASCII);

/// How the characters of a value are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alphabet {
    Any,
    Uuid,
    Hexadecimal,
    Base64Url,
    Base64,
    Ascii,
    /// It stands further up, and only its number is written: people's names do, several times.
    Earlier,
}

/// What texts of one kind have in common.
#[derive(Default)]
pub struct Phrases {
    phrases: Vec<Box<[u8]>>,
    numbers: HashMap<Box<[u8]>, u8>,
}

impl Phrases {
    /// What these two texts have in common: pieces that stand in both, and names that do. Where they are about two people, what is one
    /// person's own is not in it. That goes for names as well: a text within a text may look like one.
    pub fn common_to(one: &[u8], other: &[u8]) -> Self {
        let mut learnt = Self::default();
        let name = |piece| split(piece).0;
        let others: HashSet<&[u8]> = pieces(other).flat_map(|piece| [piece, name(piece)]).collect();
        pieces(one)
            .chain(pieces(one).map(name))
            .filter(|text| others.contains(text))
            .for_each(|text| learnt.learn(text));
        learnt
    }

    fn learn(&mut self, phrase: &[u8]) {
        // What is shorter is no longer where it is written out.
        if phrase.len() > 2 && self.phrases.len() < PHRASES_MAX && !self.numbers.contains_key(phrase) {
            self.numbers.insert(phrase.into(), self.phrases.len() as u8);
            self.phrases.push(phrase.into());
        }
    }

    /// Appends `text`, written with these phrases.
    pub fn write(&self, text: &[u8], bytes: &mut Vec<u8>) {
        let mut values = Vec::new();
        for piece in pieces(text) {
            if let Some(number) = self.numbers.get(piece) {
                bytes.push(*number);
                continue;
            }
            let (name, value) = split(piece);
            match self.numbers.get(name) {
                Some(number) => {
                    bytes.push(*number);
                    write_value(value, &mut values, bytes);
                }
                None if name.is_empty() => write_value(value, &mut values, bytes),
                None => {
                    write_as(name, Alphabet::Any, 0, &mut values, bytes);
                    write_value(value, &mut values, bytes);
                }
            }
        }
        bytes.push(END);
    }

    /// Appends the text that `bytes` begin with. Returns what comes after it; `None`: these phrases have not written it.
    pub fn read<'a>(&self, mut bytes: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
        let mut values = Vec::with_capacity(VALUES_EXPECTED);
        loop {
            let (code, rest) = bytes.split_first()?;
            bytes = match *code {
                END => return Some(rest),
                code if code < VALUES => {
                    text.extend_from_slice(self.phrases.get(usize::from(code))?);
                    rest
                }
                code => read_value(code - VALUES, rest, &mut values, text)?,
            };
        }
    }
}

/// The claims of a JSON text, more or less: all of them together are the text, whatever it is.
fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        // Behind a comma, a quotation mark, and what ends an object whose text another one follows.
        let end =
            rest.windows(2).position(|pair| pair == b",\"" || pair == b"}{").map_or(rest.len(), |at| at + 1);
        let (piece, after) = rest.split_at(end);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// A piece's name, with what is around it, and its value.
fn split(piece: &[u8]) -> (&[u8], &[u8]) {
    let colon = piece.windows(2).rposition(|pair| pair == b"\":");
    piece.split_at(colon.map_or(0, |at| at + 2))
}

fn write_value<'a>(value: &'a [u8], values: &mut Vec<&'a [u8]>, bytes: &mut Vec<u8>) {
    if value.is_empty() {
        return;
    }
    // The longest end that fits.
    let ends = ENDS.iter().enumerate().filter(|(_, end)| {
        value.ends_with(end) && (end.first() != Some(&b'"') || value.len() > end.len() && value[0] == b'"')
    });
    let (end, text) = ends.max_by_key(|(_, end)| end.len()).expect("everything ends with nothing");
    let inner = &value[usize::from(text.first() == Some(&b'"'))..value.len() - text.len()];
    let earlier = values.iter().take(usize::from(u8::MAX)).position(|earlier| *earlier == inner);
    match earlier.filter(|_| inner.len() >= EARLIER_LENGTH_MIN && inner.len() <= VALUE_LENGTH_MAX) {
        Some(number) => {
            bytes.extend([code(Alphabet::Earlier, end as u8), number as u8]);
            values.push(inner);
        }
        None => write_as(inner, Alphabet::of(inner), end as u8, values, bytes),
    }
}

/// The byte of a value that is written so and has this end.
fn code(alphabet: Alphabet, end: u8) -> u8 {
    VALUES + alphabet as u8 * ENDS.len() as u8 + end
}

fn write_as<'a>(
    inner: &'a [u8],
    alphabet: Alphabet,
    end: u8,
    values: &mut Vec<&'a [u8]>,
    bytes: &mut Vec<u8>,
) {
    if inner.len() > VALUE_LENGTH_MAX {
        let (first, rest) = inner.split_at(VALUE_LENGTH_MAX);
        // A part of it: without an end, and so without the quotation mark at its beginning.
        let quoted = ENDS[usize::from(end)].first() == Some(&b'"');
        if quoted {
            write_as(b"\"", Alphabet::Any, 0, values, bytes);
        }
        write_as(first, Alphabet::Any, 0, values, bytes);
        write_as(rest, Alphabet::Any, 0, values, bytes);
        if end != 0 {
            write_as(ENDS[usize::from(end)], Alphabet::Any, 0, values, bytes);
        }
        return;
    }
    values.push(inner);
    bytes.push(code(alphabet, end));
    match alphabet {
        Alphabet::Uuid => {
            let digits: Vec<u8> = inner.iter().copied().filter(|byte| *byte != b'-').collect();
            write_bits(&digits, &FROM_HEXADECIMAL, 4, bytes);
            return;
        }
        _ if inner.len() < 0x80 => bytes.push(inner.len() as u8),
        _ => bytes.extend_from_slice(&(inner.len() as u16 | 0x8000).to_be_bytes()),
    }
    match alphabet {
        Alphabet::Hexadecimal => write_bits(inner, &FROM_HEXADECIMAL, 4, bytes),
        Alphabet::Base64Url => write_bits(inner, &FROM_BASE64_URL, 6, bytes),
        Alphabet::Base64 => write_bits(inner, &FROM_BASE64, 6, bytes),
        Alphabet::Ascii => write_bits(inner, &FROM_ASCII, 7, bytes),
        Alphabet::Any | Alphabet::Uuid | Alphabet::Earlier => bytes.extend_from_slice(inner),
    }
}

fn read_value<'a>(
    form: u8,
    bytes: &'a [u8],
    values: &mut Vec<Range<usize>>,
    text: &mut Vec<u8>,
) -> Option<&'a [u8]> {
    let end = ENDS[usize::from(form) % ENDS.len()];
    let alphabet = Alphabet::ALL.get(usize::from(form) / ENDS.len())?;
    if end.first() == Some(&b'"') {
        text.push(b'"');
    }
    let begin = text.len();
    let rest = match alphabet {
        Alphabet::Earlier => {
            let (number, rest) = bytes.split_first()?;
            text.extend_from_within(values.get(usize::from(*number))?.clone());
            rest
        }
        Alphabet::Uuid => {
            let (digits, rest) = bytes.split_at_checked((UUID_LENGTH - UUID_HYPHENS.len()) / 2)?;
            for (at, byte) in digits.iter().enumerate() {
                if [4, 6, 8, 10].contains(&at) {
                    text.push(b'-');
                }
                text.extend([byte >> 4, byte & 15].map(|digit| HEXADECIMAL[usize::from(digit)]));
            }
            rest
        }
        alphabet => {
            let (length, rest) = read_length(bytes)?;
            let (inner, rest) = rest.split_at_checked((length * alphabet.bits() as usize).div_ceil(8))?;
            match alphabet {
                Alphabet::Hexadecimal => read_bits(inner, length, HEXADECIMAL, 4, text),
                Alphabet::Base64Url => read_bits(inner, length, BASE64_URL, 6, text),
                Alphabet::Base64 => read_bits(inner, length, BASE64, 6, text),
                Alphabet::Ascii => read_bits(inner, length, &ASCII, 7, text),
                Alphabet::Any | Alphabet::Uuid | Alphabet::Earlier => text.extend_from_slice(inner),
            }
            rest
        }
    };
    values.push(begin..text.len());
    text.extend_from_slice(end);
    Some(rest)
}

fn read_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [high, low, rest @ ..] if *high >= 0x80 => {
            Some((usize::from(u16::from_be_bytes([*high & 0x7f, *low])), rest))
        }
        [length, rest @ ..] if *length < 0x80 => Some((usize::from(*length), rest)),
        _ => None,
    }
}

impl Alphabet {
    /// In the order of their numbers.
    const ALL: [Self; 7] =
        [Self::Any, Self::Uuid, Self::Hexadecimal, Self::Base64Url, Self::Base64, Self::Ascii, Self::Earlier];

    /// The one that needs the fewest bits for this.
    fn of(inner: &[u8]) -> Self {
        let all = |from: &[u8; 256]| inner.iter().all(|byte| from[usize::from(*byte)] != u8::MAX);
        match () {
            () if is_uuid(inner) => Self::Uuid,
            () if all(&FROM_HEXADECIMAL) => Self::Hexadecimal,
            () if all(&FROM_BASE64_URL) => Self::Base64Url,
            () if all(&FROM_BASE64) => Self::Base64,
            () if inner.is_ascii() => Self::Ascii,
            () => Self::Any,
        }
    }

    /// How many for each character.
    fn bits(self) -> u32 {
        match self {
            Self::Any | Self::Earlier => 8,
            Self::Ascii => 7,
            Self::Uuid | Self::Hexadecimal => 4,
            Self::Base64Url | Self::Base64 => 6,
        }
    }
}

fn is_uuid(text: &[u8]) -> bool {
    text.len() == UUID_LENGTH
        && text.iter().enumerate().all(|(at, byte)| match UUID_HYPHENS.contains(&at) {
            true => *byte == b'-',
            false => FROM_HEXADECIMAL[usize::from(*byte)] != u8::MAX,
        })
}

fn write_bits(inner: &[u8], from: &[u8; 256], bits: u32, bytes: &mut Vec<u8>) {
    let (mut held, mut count) = (0_u32, 0);
    for byte in inner {
        held = held << bits | u32::from(from[usize::from(*byte)]);
        count += bits;
        if count >= 8 {
            count -= 8;
            bytes.push((held >> count) as u8);
            held &= (1 << count) - 1;
        }
    }
    if count > 0 {
        bytes.push((held << (8 - count)) as u8);
    }
}

fn read_bits<const N: usize>(inner: &[u8], length: usize, alphabet: &[u8; N], bits: u32, text: &mut Vec<u8>) {
    let (mut held, mut count) = (0_u32, 0);
    let begin = text.len();
    for byte in inner {
        held = held << 8 | u32::from(*byte);
        count += 8;
        while count >= bits {
            count -= bits;
            text.push(alphabet[(held >> count) as usize % N]);
            held &= (1 << count) - 1;
        }
    }
    // What fills up the last byte may look like one more.
    text.truncate(begin + length);
}

const fn inverse<const N: usize>(alphabet: &[u8; N]) -> [u8; 256] {
    let (mut values, mut at) = ([u8::MAX; 256], 0);
    while at < N {
        values[alphabet[at] as usize] = at as u8;
        at += 1;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_learnt_that_only_one_of_two_says() {
        let one = br#"{"aud":"mail","ada@example.com":"1","ctx":"{\"mail\":\"ada@example.com\",\"n\":1}"}"#;
        let other = br#"{"aud":"mail","bob@example.com":"1","ctx":"{\"mail\":\"bob@example.com\",\"n\":1}"}"#;
        let learnt = Phrases::common_to(one, other);
        let holds = |text: &[u8]| {
            learnt.phrases.iter().any(|phrase| phrase.windows(text.len()).any(|part| part == text))
        };
        assert!(holds(b"\"aud\":\"mail\","));
        assert!(!holds(b"ada@") && !holds(b"bob@"));
    }
}
