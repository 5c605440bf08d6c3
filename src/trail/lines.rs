//! Lines of a file, one by one, whether it is compressed or not.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::rc::Rc;

use memchr::memchr;
use zstd::stream::read::Decoder;

/// Longest line that is taken. A record has a few kilobytes: every text in it has a bound.
pub const LINE_BYTES_MAX: usize = 1_048_576;
/// How much is read at once: enough for system calls not to count, and it stays in the processor's cache.
const READ_BYTES: usize = 262_144;
/// Begins a compressed file (RFC 8878 section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What comes next in a file.
#[derive(PartialEq, Eq, Debug)]
pub enum Text<'a> {
    /// A line, without its line break.
    Line(&'a [u8]),
    /// A line that is longer than [`LINE_BYTES_MAX`].
    TooLong,
    /// What stands after the last line break.
    Unfinished(&'a [u8]),
    /// From here on the file cannot be decompressed.
    Damaged(String),
}

/// A [`Text`], by its place in what was read.
pub(super) enum Found {
    Line(Range<usize>),
    TooLong,
    Unfinished(Range<usize>),
    Damaged(String),
}

/// The lines of a file.
pub struct LineReader<R> {
    input: R,
    buffer: Vec<u8>,
    /// Where the next line begins, up to where it has been searched for its end, and where what was read ends.
    start: usize,
    searched: usize,
    end: usize,
    is_over: bool,
}

impl<R: Read> LineReader<R> {
    /// Reads from here.
    pub fn new(input: R) -> Self {
        let buffer = vec![0; LINE_BYTES_MAX + READ_BYTES];
        Self { input, buffer, start: 0, searched: 0, end: 0, is_over: false }
    }

    /// The next line; `None` after the last one.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn next_text(&mut self) -> io::Result<Option<Text<'_>>> {
        Ok(self.find()?.map(|found| self.text(found)))
    }

    /// Finds the next line; `None` after the last one.
    pub(super) fn find(&mut self) -> io::Result<Option<Found>> {
        let mut is_too_long = false;
        loop {
            if let Some(length) = memchr(b'\n', &self.buffer[self.searched..self.end]) {
                let line = self.start..self.searched + length;
                (self.start, self.searched) = (line.end + 1, line.end + 1);
                is_too_long |= line.len() > LINE_BYTES_MAX;
                return Ok(Some(if is_too_long { Found::TooLong } else { Found::Line(line) }));
            }
            if self.end - self.start > LINE_BYTES_MAX {
                is_too_long = true;
                self.start = self.end;
            }
            self.searched = self.end;
            if self.is_over {
                let rest = self.start..self.end;
                self.start = self.end;
                return Ok(match (is_too_long, rest.is_empty()) {
                    (true, _) => Some(Found::TooLong),
                    (false, true) => None,
                    (false, false) => Some(Found::Unfinished(rest)),
                });
            }
            if let Some(why) = self.read_more()? {
                self.is_over = true;
                (self.start, self.searched) = (self.end, self.end);
                return Ok(Some(Found::Damaged(why)));
            }
        }
    }

    /// What was found last.
    pub(super) fn text(&self, found: Found) -> Text<'_> {
        match found {
            Found::Line(line) => Text::Line(&self.buffer[line]),
            Found::TooLong => Text::TooLong,
            Found::Unfinished(rest) => Text::Unfinished(&self.buffer[rest]),
            Found::Damaged(why) => Text::Damaged(why),
        }
    }

    /// Reads more behind what there is. Says why when what was read cannot be decompressed.
    fn read_more(&mut self) -> io::Result<Option<String>> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.searched, self.end) = (0, self.searched - self.start, self.end - self.start);
        let room = (self.end + READ_BYTES).min(self.buffer.len());
        match self.input.read(&mut self.buffer[self.end..room]) {
            Ok(0) => self.is_over = true,
            Ok(read) => self.end += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What the system says has a number; what the decompressor says has none.
            Err(error) if error.raw_os_error().is_none() => return Ok(Some(error.to_string())),
            Err(error) => return Err(error),
        }
        Ok(None)
    }
}

/// A file of a trail, decompressed while it is read.
pub enum Input {
    /// As it is.
    Plain(Counted),
    /// Compressed.
    Compressed(Box<Decoder<'static, BufReader<Counted>>>),
}

impl Input {
    /// Reads this file, and adds to `count` the bytes that were read of it. It is decompressed when its name or its first bytes say so.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn open(mut file: File, is_named_compressed: bool, count: Rc<Cell<u64>>) -> io::Result<Self> {
        let is_compressed = is_named_compressed || begins_compressed(&mut file)?;
        let file = Counted { file, count };
        Ok(match is_compressed {
            false => Self::Plain(file),
            true => Self::Compressed(Box::new(Decoder::new(file)?)),
        })
    }
}

fn begins_compressed(file: &mut File) -> io::Result<bool> {
    let mut magic = Vec::with_capacity(ZSTD_MAGIC.len());
    file.by_ref().take(ZSTD_MAGIC.len() as u64).read_to_end(&mut magic)?;
    io::Seek::rewind(file)?;
    Ok(magic == ZSTD_MAGIC)
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Compressed(decoder) => decoder.read(buffer),
        }
    }
}

/// A file, and how much of it was read.
pub struct Counted {
    file: File,
    count: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.count.set(self.count.get().saturating_add(read as u64));
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives what it holds in pieces of this size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(buffer.len());
            (&mut self.0).take(size as u64).read(buffer)
        }
    }

    fn read(text: &[u8], size: usize) -> Vec<String> {
        let mut reader = LineReader::new(Pieces(text, size));
        let mut lines = Vec::new();
        while let Some(text) = reader.next_text().expect("it is read") {
            lines.push(match text {
                Text::Line(line) => String::from_utf8_lossy(line).into_owned(),
                Text::Unfinished(line) => format!("unfinished {}", String::from_utf8_lossy(line)),
                Text::TooLong => "too long".to_owned(),
                Text::Damaged(why) => why,
            });
        }
        lines
    }

    #[test]
    fn lines_are_the_same_in_whatever_pieces_they_come() {
        for size in [1, 2, 3, 100] {
            assert_eq!(read(b"one\n\nthree\nfo", size), ["one", "", "three", "unfinished fo"]);
            assert_eq!(read(b"one\n", size), ["one"]);
            assert_eq!(read(b"", size), [""; 0]);
        }
    }

    #[test]
    fn an_endless_line_is_skipped_and_takes_no_memory() {
        let longest = vec![b'a'; LINE_BYTES_MAX];
        let text = [b"one\n", longest.as_slice(), b"\n", longest.as_slice(), &longest, &longest, b"\nlast\n"];
        let lines = read(&text.concat(), usize::MAX);
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [3, LINE_BYTES_MAX, 8, 4]);
        assert_eq!(lines[2], "too long");
        assert_eq!(read(&vec![b'a'; 3 * LINE_BYTES_MAX], usize::MAX), ["too long"]);
    }

    #[test]
    fn a_compressed_file_is_read_until_it_is_damaged() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trail");
        let lines: String = (0..100_000).map(|line| format!("line {line}\n")).collect();
        let mut compressed = zstd::encode_all(lines.as_bytes(), 3).expect("it is compressed");
        let open = |compressed: &[u8], named| {
            std::fs::write(&path, compressed).expect("written");
            let file = File::open(&path).expect("a file");
            LineReader::new(Input::open(file, named, Rc::default()).expect("it opens"))
        };
        let mut reader = open(&compressed, false);
        let mut count = 0;
        while let Some(text) = reader.next_text().expect("it is read") {
            assert!(matches!(text, Text::Line(_)), "{text:?}");
            count += 1;
        }
        assert_eq!(count, 100_000);
        let mut reader = open(&compressed[..compressed.len() / 2], false);
        let mut last = None;
        while let Some(text) = reader.next_text().expect("it is read") {
            last = Some(matches!(text, Text::Damaged(_)));
        }
        assert_eq!(last, Some(true), "it was cut");
        compressed[0] ^= 1;
        assert!(matches!(open(&compressed, true).next_text(), Ok(Some(Text::Damaged(_)))));
    }
}
