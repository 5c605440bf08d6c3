//! Server-sent events (WHATWG HTML section 9.2), event by event as they arrive.
//!
//! Each event keeps the very bytes it came in, so that whoever changes nothing passes on what was sent. Comments come out as
//! soon as their line has ended: they are what keeps an idle stream alive. Bytes are only ever looked at once to find where
//! an event ends, and once to read it.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::message::MESSAGE_BYTES_MAX;

/// Largest event that is read: the largest message, and 64 KiB for the names of fields and the ends of lines.
pub const EVENT_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 65_536;

/// What a stream may begin with, and that says nothing.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Takes a stream apart.
#[derive(Debug)]
pub struct EventReader {
    /// What has come and is no event yet.
    buffer: BytesMut,
    /// Where in it the event's first line begins.
    first_line: usize,
    /// Where in it the line begins that has not ended yet.
    line: usize,
    /// Up to where in it the end of that line has been looked for.
    scanned: usize,
    bytes_max: usize,
    /// Whether nothing of the stream has been read yet.
    is_start: bool,
    /// Whether the stream ends lines with CR alone. One that does cannot be known to end an event until more comes, and
    /// from then on CR ends a line at once.
    ends_with_cr: bool,
    /// Whether a CR has just ended a line, and an LF would belong to it.
    after_cr: bool,
    is_over: bool,
    is_too_large: bool,
}

/// Why a stream is not read on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EventError {
    /// An event has no end within the bound.
    #[error("an event of the stream is larger than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: usize,
    },
}

/// An event; or a comment, or what else stands between events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// All its bytes, with the blank line that ends it.
    pub raw: Bytes,
    /// Its data; lines are divided by LF. `None`: it has none, and nobody hears of it. So it is when they are empty.
    pub data: Option<Bytes>,
    /// What the agent repeats to have the stream go on after it (`Last-Event-ID`).
    pub id: Option<String>,
    /// Where in `raw` its first line begins.
    first_line: usize,
}

impl Default for EventReader {
    fn default() -> Self {
        Self::bounded(EVENT_BYTES_MAX)
    }
}

impl EventReader {
    /// A reader of events of at most `bytes_max`.
    pub fn bounded(bytes_max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            first_line: 0,
            line: 0,
            scanned: 0,
            bytes_max,
            is_start: true,
            ends_with_cr: false,
            after_cr: false,
            is_over: false,
            is_too_large: false,
        }
    }

    /// Takes what has come. To be followed by [`next_event`](Self::next_event) until it gives none: what has come is kept
    /// until then.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.is_too_large {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Nothing more will come. An event may have ended with that; [`next_event`](Self::next_event) gives it.
    pub fn close(&mut self) {
        self.is_over = true;
    }

    /// How many bytes are held that are no event yet. Once the stream is over they are none, and are not to be passed on:
    /// nobody has looked at them.
    #[cfg(any(fuzzing, test))]
    pub fn unfinished(&self) -> usize {
        self.buffer.len()
    }

    /// The next event, if one has come whole.
    ///
    /// # Errors
    ///
    /// When the event that is coming is too large. Nothing is read after that.
    pub fn next_event(&mut self) -> Result<Option<Event>, EventError> {
        let end = if self.is_too_large { None } else { self.find_end() };
        if self.is_too_large || end.unwrap_or(self.buffer.len()) > self.bytes_max {
            self.is_too_large = true;
            self.buffer = BytesMut::new();
            return Err(EventError::TooLarge { bytes_max: self.bytes_max });
        }
        let Some(end) = end else { return Ok(None) };
        let raw = self.buffer.split_to(end).freeze();
        let first_line = self.first_line;
        (self.first_line, self.line, self.scanned) = (0, 0, 0);
        Ok(Some(Event::read(raw, first_line)))
    }

    /// Where the event ends: after a blank line, or after a comment that it begins with.
    fn find_end(&mut self) -> Option<usize> {
        loop {
            if self.after_cr {
                let is_lf = *self.buffer.get(self.line)? == b'\n';
                self.after_cr = false;
                if is_lf {
                    self.first_line += usize::from(self.first_line == self.line);
                    self.line += 1;
                    self.scanned = self.line;
                }
            }
            let Some(length) = self.buffer[self.scanned..].iter().position(|byte| is_end(*byte)) else {
                self.scanned = self.buffer.len();
                return None;
            };
            let end_of_line = self.scanned + length;
            self.scanned = end_of_line;
            let next_line = self.line_after(end_of_line)?;
            if self.is_start {
                self.is_start = false;
                if self.buffer[self.line..end_of_line].starts_with(BYTE_ORDER_MARK) {
                    self.line += BYTE_ORDER_MARK.len();
                    self.first_line = self.line;
                }
            }
            let line = &self.buffer[self.line..end_of_line];
            let is_comment_between = self.line == self.first_line && line.first() == Some(&b':');
            let ends_event = line.is_empty() || is_comment_between;
            (self.line, self.scanned) = (next_line, next_line);
            if ends_event {
                return Some(next_line);
            }
        }
    }

    /// Where the line begins that follows the one that ends here. `None`: whether an LF belongs to the CR is not known yet.
    fn line_after(&mut self, end: usize) -> Option<usize> {
        if self.buffer[end] == b'\n' {
            return Some(end + 1);
        }
        if self.ends_with_cr {
            self.after_cr = true;
            return Some(end + 1);
        }
        match self.buffer.get(end + 1) {
            Some(b'\n') => Some(end + 2),
            Some(_) => {
                self.ends_with_cr = true;
                Some(end + 1)
            }
            None if self.is_over => Some(end + 1),
            None => None,
        }
    }
}

impl Event {
    fn read(raw: Bytes, first_line: usize) -> Self {
        let (mut data, mut id) = (Data::default(), None);
        for (field, value) in fields(&raw, first_line) {
            match field {
                Field::Data => data.add(&raw, value),
                // An id with NUL does not count (section 9.2.6).
                Field::Id if !raw[value.clone()].contains(&0) => {
                    id = std::str::from_utf8(&raw[value]).ok().map(str::to_owned);
                }
                Field::Id | Field::Event | Field::Retry | Field::Other => {}
            }
        }
        Self { data: data.finish(&raw), id, raw, first_line }
    }

    /// The event with other data, written anew: `id`, `event` and `retry` stay as they are. Ends of lines within the data
    /// become LF.
    pub fn with_data(&self, data: &[u8]) -> Self {
        let mut raw = BytesMut::with_capacity(data.len() + 64);
        for (field, value) in fields(&self.raw, self.first_line) {
            let name = match field {
                Field::Id => "id",
                Field::Event => "event",
                Field::Retry => "retry",
                Field::Data | Field::Other => continue,
            };
            write_line(&mut raw, name, &self.raw[value]);
        }
        for line in lines(data, 0) {
            write_line(&mut raw, "data", &data[line]);
        }
        raw.extend_from_slice(b"\n");
        Self::read(raw.freeze(), 0)
    }
}

fn write_line(raw: &mut BytesMut, name: &str, value: &[u8]) {
    raw.extend_from_slice(name.as_bytes());
    raw.extend_from_slice(b": ");
    raw.extend_from_slice(value);
    raw.extend_from_slice(b"\n");
}

/// What a line is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Data,
    Id,
    Event,
    Retry,
    /// A comment, a blank line, or a field that nobody knows.
    Other,
}

/// The lines from `start` on: what each is about, and where its value is.
fn fields(raw: &[u8], start: usize) -> impl Iterator<Item = (Field, Range<usize>)> {
    lines(raw, start).map(|line| {
        let text = &raw[line.clone()];
        let (name, value) = match text.iter().position(|byte| *byte == b':') {
            Some(colon) => {
                let blank = usize::from(text.get(colon + 1) == Some(&b' '));
                (&text[..colon], line.start + colon + 1 + blank..line.end)
            }
            None => (text, line.end..line.end),
        };
        let field = match name {
            b"data" => Field::Data,
            b"id" => Field::Id,
            b"event" => Field::Event,
            b"retry" => Field::Retry,
            _ => Field::Other,
        };
        (field, value)
    })
}

/// Where the lines are, without their ends. What follows the last end is a line as well.
fn lines(text: &[u8], start: usize) -> impl Iterator<Item = Range<usize>> {
    let mut next = Some(start);
    std::iter::from_fn(move || {
        let start = next?;
        let Some(length) = text[start..].iter().position(|byte| is_end(*byte)) else {
            next = None;
            return Some(start..text.len());
        };
        let end = start + length;
        next = Some(if text[end..].starts_with(b"\r\n") { end + 2 } else { end + 1 });
        Some(start..end)
    })
}

fn is_end(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

/// The lines of data. One alone is not copied.
#[derive(Default)]
enum Data {
    #[default]
    None,
    One(Range<usize>),
    Many(BytesMut),
}

impl Data {
    fn add(&mut self, raw: &[u8], line: Range<usize>) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(line),
            Self::One(first) => {
                let mut lines = BytesMut::from(&raw[first]);
                lines.extend_from_slice(b"\n");
                lines.extend_from_slice(&raw[line]);
                Self::Many(lines)
            }
            Self::Many(mut lines) => {
                lines.extend_from_slice(b"\n");
                lines.extend_from_slice(&raw[line]);
                Self::Many(lines)
            }
        };
    }

    fn finish(self, raw: &Bytes) -> Option<Bytes> {
        match self {
            Self::None => None,
            Self::One(line) => Some(raw.slice(line)),
            Self::Many(lines) => Some(lines.freeze()),
        }
    }
}

#[cfg(test)]
mod tests;
