//! HTTP/2 by hand: frames as they are on the wire (RFC 9113), with header blocks that nobody else would write, and what comes
//! back.

use std::collections::{BTreeMap, BTreeSet};

use tokio::io::{AsyncRead, AsyncReadExt as _};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Flags. That of an acknowledgement and that of a stream's end are one bit.
pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const WITH_PRIORITY: u8 = 0x20;

/// Error codes (RFC 9113 section 7).
pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame of the test").to_be_bytes();
    let stream = stream.to_be_bytes();
    [&length[1..], &[kind, flags], &stream, payload].concat()
}

/// A frame with one number in it.
pub fn number(kind: u8, stream: u32, number: u32) -> Vec<u8> {
    frame(kind, 0, stream, &number.to_be_bytes())
}

/// SETTINGS with one value.
pub fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// What a connection begins with. The table of header fields is empty, so that answers can be read without one.
pub fn opening() -> Vec<u8> {
    [PREFACE, &setting(1, 0), &frame(SETTINGS, ACK, 0, &[])].concat()
}

/// A header field as it is (RFC 7541 section 6.2.2), whatever is in it.
pub fn field(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    [&[0][..], &text(name.as_ref()), &text(value.as_ref())].concat()
}

fn text(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() + 4);
    // RFC 7541 section 5.1, with a prefix of seven bits.
    match text.len() {
        length @ 0..127 => bytes.push(length as u8),
        length => {
            bytes.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                bytes.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            bytes.push(rest as u8);
        }
    }
    bytes.extend_from_slice(text);
    bytes
}

/// A block of header fields.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// What has come back on a connection.
#[derive(Default, Debug)]
pub struct Answers {
    /// The status of each stream's answer.
    pub statuses: BTreeMap<u32, u16>,
    /// The streams whose answers are whole.
    pub ended: BTreeSet<u32>,
    /// The streams that were reset, and why.
    pub resets: BTreeMap<u32, u32>,
    /// Why the gateway goes away, when it says so.
    pub gone_away: Option<u32>,
    /// Whether the connection is closed.
    pub closed: bool,
    /// How many frames of a kind came.
    pub frames: BTreeMap<u8, usize>,
}

impl Answers {
    /// Whether a stream is over.
    pub fn is_over(&self, stream: u32) -> bool {
        self.ended.contains(&stream) || self.resets.contains_key(&stream)
    }

    /// Reads frames until it is `enough`, or there are no more.
    pub async fn read(&mut self, mut reader: impl AsyncRead + Unpin, enough: impl Fn(&Self) -> bool) {
        while !enough(self) {
            let mut head = [0; 9];
            if reader.read_exact(&mut head).await.is_err() {
                self.closed = true;
                return;
            }
            let [a, b, c, kind, flags, stream @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            if reader.read_exact(&mut payload).await.is_err() {
                self.closed = true;
                return;
            }
            *self.frames.entry(kind).or_default() += 1;
            self.take(kind, flags, u32::from_be_bytes(stream), &payload);
        }
    }

    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let number = |at: usize| payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        match kind {
            HEADERS if !self.statuses.contains_key(&stream) => {
                self.statuses.insert(stream, status(payload).expect("a status comes first"));
            }
            RST_STREAM => {
                self.resets.insert(stream, number(0).map(u32::from_be_bytes).expect("a code"));
            }
            GOAWAY => self.gone_away = number(4).map(u32::from_be_bytes),
            _ => {}
        }
        if [DATA, HEADERS].contains(&kind) && flags & END_STREAM != 0 {
            self.ended.insert(stream);
        }
    }
}

/// The status at the beginning of a block of header fields: one of the table, or its digits, coded or not.
fn status(block: &[u8]) -> Option<u16> {
    let block = match block {
        // The table's new size.
        [size, rest @ ..] if size & 0xe0 == 0x20 => rest,
        block => block,
    };
    let (first, rest) = block.split_first()?;
    if let 0x88..=0x8e = first {
        return Some([200, 204, 206, 304, 400, 404, 500][usize::from(first - 0x88)]);
    }
    let (length, digits) = rest.split_first()?;
    if ![0x08, 0x18, 0x48].contains(first) {
        return None;
    }
    let digits = digits.get(..usize::from(length & 0x7f))?;
    match length & 0x80 {
        0 => std::str::from_utf8(digits).ok()?.parse().ok(),
        _ => uncoded(digits),
    }
}

/// Three digits in the code of RFC 7541 appendix B: 0, 1 and 2 take five bits, the others six.
fn uncoded(coded: &[u8]) -> Option<u16> {
    let mut bits = coded.iter().flat_map(|byte| (0..8).rev().map(move |at| u16::from(byte >> at & 1)));
    let mut next = |count: usize| (0..count).try_fold(0, |value, _| Some(value << 1 | bits.next()?));
    let mut status = 0;
    for _ in 0..3 {
        let digit = match next(5)? {
            digit @ 0..=2 => digit,
            begun => (begun << 1 | next(1)?) - 0x16,
        };
        status = status * 10 + digit;
    }
    Some(status)
}

#[test]
fn a_status_is_read_in_each_of_its_forms() {
    assert_eq!(status(&[0x88]), Some(200));
    assert_eq!(status(&[0x20, 0x8d]), Some(404));
    assert_eq!(status(&[0x48, 3, b'4', b'0', b'1']), Some(401));
    // 302, as RFC 7541 appendix C.6.1 codes it.
    assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), Some(302));
}
