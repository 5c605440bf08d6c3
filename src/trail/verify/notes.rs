//! Checkpoints as they are kept: notes, one after the other, each followed by an empty line.

use std::io::{self, BufRead, Read as _};

use crate::audit::checkpoint::{NOTE_BYTES_MAX, ORIGIN};

/// Reads notes one by one. What is no note comes out as well, for its reader to say so.
pub struct Notes<R> {
    input: R,
    /// The line that was read last, and is not part of a note yet.
    line: Vec<u8>,
    has_line: bool,
    /// How many notes came out.
    count: u64,
}

/// A note.
#[derive(PartialEq, Eq, Debug)]
pub struct Note {
    /// What stands there.
    pub text: String,
    /// Which one it is, counted from 1.
    pub number: u64,
    /// Whether it is followed by an empty line. The last one is not while it is being written.
    pub is_finished: bool,
}

impl<R: BufRead> Notes<R> {
    /// Reads from here.
    pub fn new(input: R) -> Self {
        Self { input, line: Vec::new(), has_line: false, count: 0 }
    }

    /// The next note. It ends with the second empty line, or where another one begins.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn next_note(&mut self) -> io::Result<Option<Note>> {
        let mut text = Vec::new();
        let mut empty_lines = 0;
        loop {
            if !self.has_line && !self.read_line()? {
                break;
            }
            let is_empty = self.line == b"\n";
            if text.is_empty() && is_empty {
                self.has_line = false;
                continue;
            }
            if !text.is_empty() && self.line.starts_with(ORIGIN.as_bytes()) {
                break;
            }
            self.has_line = false;
            empty_lines += usize::from(is_empty);
            if empty_lines == 2 {
                break;
            }
            // Beyond the bound it is no note, however it goes on.
            if text.len() <= NOTE_BYTES_MAX {
                text.extend_from_slice(&self.line);
            }
        }
        if text.is_empty() {
            return Ok(None);
        }
        self.count += 1;
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(Some(Note { text, number: self.count, is_finished: empty_lines == 2 || self.has_line }))
    }

    /// Reads a line with its line break; of an overlong one a part, and the rest as lines of their own.
    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        let bound = NOTE_BYTES_MAX as u64 + 1;
        self.has_line = self.input.by_ref().take(bound).read_until(b'\n', &mut self.line)? > 0;
        Ok(self.has_line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, bool)> {
        let mut notes = Notes::new(text.as_bytes());
        let mut read = Vec::new();
        while let Some(note) = notes.next_note().expect("it is read") {
            assert_eq!(note.number, read.len() as u64 + 1);
            read.push((note.text, note.is_finished));
        }
        read
    }

    const ONE: &str = "obo-gateway.audit/a\n1\n\n— a x\n";
    const TWO: &str = "obo-gateway.audit/a\n2\n\n— a y\n— witness z\n";

    #[test]
    fn notes_are_told_apart() {
        let both = [(ONE.to_owned(), true), (TWO.to_owned(), true)];
        assert_eq!(read(&format!("{ONE}\n{TWO}\n")), both);
        assert_eq!(read(&format!("\n\n{ONE}\n\n\n{TWO}\n")), both, "empty lines beside");
        assert_eq!(read(&format!("{ONE}{TWO}\n")), both, "without one between");
        assert_eq!(read(&format!("{ONE}\n{TWO}")), [both[0].clone(), (TWO.to_owned(), false)]);
        assert_eq!(read(""), []);
    }

    #[test]
    fn what_is_damaged_takes_no_other_note_along() {
        let without_end = ONE.replace("\n\n", "\nx");
        assert_eq!(
            read(&format!("{without_end}\n{TWO}\n")),
            [(format!("{without_end}\n"), true), (TWO.to_owned(), true)]
        );
        let without_head = ONE.replace("obo", "0bo");
        assert_eq!(read(&format!("{TWO}\n{without_head}\n{TWO}\n")).len(), 3);
        let long = "x".repeat(100_000);
        let read = read(&format!("{ONE}\n{long}\n{TWO}\n"));
        assert_eq!(read.len(), 3);
        assert!(read[1].0.len() <= 2 * NOTE_BYTES_MAX + 2);
    }
}
