//! The files of a trail, by their names. `audit.jsonl` is written; beside it stand the closed ones, by the number of their first
//! line and compressed or not (`audit.jsonl.0000000000000001.zst`), the checkpoints, and the lock of the one writer.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

/// Digits of a first line's number in a file name: they sort as numbers do.
const DIGITS: usize = 16;
/// Ends the name of a compressed file.
const COMPRESSED: &str = ".zst";
/// Ends the name of the file of checkpoints.
const CHECKPOINTS: &str = ".checkpoints";
/// Ends the name of the lock.
const LOCK: &str = ".lock";
/// Ends the name of a copy that is being made.
const PART: &str = ".part";

/// Longest line that is read back. Records are far shorter.
pub const LINE_BYTES_MAX: u64 = 1_048_576;

/// A closed file of a trail.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ClosedFile {
    /// The number of its first line.
    pub first: u64,
    /// Where it is.
    pub path: PathBuf,
}

impl ClosedFile {
    /// What the file whose first line has this number is called once it is closed.
    pub fn of(trail: &Path, first: u64) -> Self {
        Self { first, path: beside(trail, &format!(".{first:0DIGITS$}")) }
    }

    /// Reads the name of a closed file: the trail that it is of, and itself. `None` when it is not named like one.
    pub fn parse(path: &Path) -> Option<(PathBuf, Self)> {
        let name = path.file_name()?.to_str()?;
        let (trail, digits) = name.strip_suffix(COMPRESSED).unwrap_or(name).rsplit_once('.')?;
        let is_number = digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit());
        let first = digits.parse().ok().filter(|_| is_number && !trail.is_empty())?;
        Some((path.with_file_name(trail), Self { first, path: path.to_owned() }))
    }

    /// Whether it is compressed.
    pub fn is_compressed(&self) -> bool {
        self.path.as_os_str().as_encoded_bytes().ends_with(COMPRESSED.as_bytes())
    }

    /// Reads it, whichever way it is.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub fn reader(&self) -> io::Result<Box<dyn BufRead>> {
        let file = File::open(&self.path)?;
        Ok(match self.is_compressed() {
            true => Box::new(BufReader::new(zstd::Decoder::new(file)?)),
            false => Box::new(BufReader::new(file)),
        })
    }

    /// Its last line, without the line break.
    ///
    /// # Errors
    ///
    /// When it cannot be read, has none, or has a line longer than [`LINE_BYTES_MAX`].
    pub fn last_line(&self) -> io::Result<Vec<u8>> {
        let (mut reader, mut line, mut last) = (self.reader()?, Vec::new(), None);
        while reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? > 0 {
            if line.len() as u64 > LINE_BYTES_MAX {
                return Err(io::Error::other("a line is too long"));
            }
            if line.pop_if(|byte| *byte == b'\n').is_some() {
                last = Some(std::mem::take(&mut line));
            }
        }
        last.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// What it is called once it is compressed.
    pub fn compressed(&self) -> PathBuf {
        beside(&self.path, COMPRESSED)
    }
}

/// What the copy of a closed file is called while it is being made.
pub fn rescued(closed: &Path) -> PathBuf {
    beside(closed, PART)
}

/// Where the checkpoints of a trail are kept: signed notes, one after the other, each followed by an empty line.
pub fn checkpoints(trail: &Path) -> PathBuf {
    beside(trail, CHECKPOINTS)
}

/// What the one writer of a trail has locked.
pub fn lock(trail: &Path) -> PathBuf {
    beside(trail, LOCK)
}

/// The trail that a file stands beside as its checkpoints, its lock, or an unfinished copy of a closed file, by its name.
pub fn stands_beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    if let Some(closed) = name.strip_suffix(PART) {
        return ClosedFile::parse(&path.with_file_name(closed)).map(|(trail, _)| trail);
    }
    let trail = name.strip_suffix(CHECKPOINTS).or_else(|| name.strip_suffix(LOCK))?;
    (!trail.is_empty()).then(|| path.with_file_name(trail))
}

/// The closed files of a trail, in the order of their lines. Of one that stands there both ways, being compressed at the moment or when
/// the gateway died, the one that is not compressed: it is deleted last.
///
/// # Errors
///
/// When the folder cannot be read.
pub fn closed(trail: &Path) -> io::Result<Vec<ClosedFile>> {
    let Some(name) = trail.file_name().map(|name| name.as_encoded_bytes()) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder(trail))? {
        let entry = entry?.file_name();
        let rest = entry.as_encoded_bytes().strip_prefix(name).and_then(|rest| rest.strip_prefix(b"."));
        let Some(digits) = rest.map(|rest| rest.strip_suffix(COMPRESSED.as_bytes()).unwrap_or(rest)) else {
            continue;
        };
        let is_number = digits.len() == DIGITS && digits.iter().all(u8::is_ascii_digit);
        if let Some(first) =
            std::str::from_utf8(digits).ok().filter(|_| is_number).and_then(|digits| digits.parse().ok())
        {
            found.push(ClosedFile { first, path: trail.with_file_name(entry) });
        }
    }
    // The longer name, with `.zst`, comes after the other.
    found.sort();
    found.dedup_by_key(|file| file.first);
    Ok(found)
}

/// The folder that a file is in.
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The files beside a trail that have the names that logrotate gives: `audit.jsonl.1`, `audit.jsonl-20261128`. Whether they are of the
/// trail, their lines tell.
///
/// # Errors
///
/// When the folder cannot be read.
pub fn moved(trail: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = trail.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(name) = trail.file_name().map(|name| name.as_encoded_bytes()) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?.file_name();
        let rest = entry.as_encoded_bytes().strip_prefix(name).unwrap_or_default();
        let (numbers, digits_max) = match rest.split_first() {
            Some((b'.', number)) => (number, 5),
            Some((b'-', date)) => (date, 14),
            Some(_) | None => continue,
        };
        if (1..=digits_max).contains(&numbers.len()) && numbers.iter().all(u8::is_ascii_digit) {
            found.push(trail.with_file_name(entry));
        }
    }
    found.sort();
    Ok(found)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_files_are_found_in_the_order_of_their_lines() {
        let folder = tempfile::tempdir().expect("a folder");
        let trail = folder.path().join("audit.jsonl");
        let plain = ClosedFile::of(&trail, 900);
        assert!(plain.path.ends_with("audit.jsonl.0000000000000900"));
        let both = ClosedFile::of(&trail, 1);
        let others = [
            "audit.jsonl",
            "audit.jsonl.lock",
            "audit.jsonl.1",
            "audit.jsonl.000000000000000a",
            "b.jsonl.0000000000000001",
        ];
        for path in [plain.path.clone(), both.path.clone(), both.compressed()] {
            std::fs::write(path, "").expect("written");
        }
        others.iter().for_each(|name| std::fs::write(folder.path().join(name), "").expect("written"));
        assert_eq!(closed(&trail).expect("a folder"), [both, plain]);
        assert!(closed(&folder.path().join("none").join("audit.jsonl")).is_err());
        assert_eq!(moved(&trail).expect("a folder"), [folder.path().join("audit.jsonl.1")]);
    }

    #[test]
    fn a_name_tells_which_trail_a_file_is_of() {
        let trail = Path::new("/logs/audit.jsonl");
        let closed = ClosedFile::of(trail, 900);
        assert_eq!(ClosedFile::parse(&closed.path), Some((trail.to_owned(), closed.clone())));
        let compressed = ClosedFile { first: 900, path: closed.compressed() };
        assert_eq!(ClosedFile::parse(&compressed.path), Some((trail.to_owned(), compressed)));
        for other in ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.000000000000000a", ".0000000000000001"] {
            assert_eq!(ClosedFile::parse(Path::new(other)), None, "{other}");
        }
        assert_eq!(stands_beside(&checkpoints(trail)).as_deref(), Some(trail));
        assert_eq!(stands_beside(&lock(trail)).as_deref(), Some(trail));
        assert_eq!(stands_beside(&rescued(&closed.path)).as_deref(), Some(trail));
        assert_eq!(stands_beside(trail), None);
        assert_eq!(stands_beside(Path::new("other.part")), None);
    }

    #[test]
    fn a_closed_file_without_line_breaks_takes_no_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = ClosedFile::of(&folder.path().join("audit.jsonl"), 1);
        let endless = vec![b'a'; 3 * 1_048_576];
        std::fs::write(&file.path, &endless).expect("written");
        assert_eq!(file.last_line().expect_err("too long").to_string(), "a line is too long");
        std::fs::write(&file.path, b"one\ntwo\nunfinished").expect("written");
        assert_eq!(file.last_line().expect("a line"), b"two");
    }
}
