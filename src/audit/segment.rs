//! The file that a trail is being written to: found, locked, recovered, appended to, and closed.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FallocateFlags, OFlags};
use serde_json::Value;

use super::files::{self, ClosedFile, LINE_BYTES_MAX};
use super::link::{Instance, LineHash, Link};

/// How much of a file is read at a time while its last line break is looked for.
const CHUNK_BYTES: u64 = 64 * 1_024;

/// Why a trail cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system says no.
    #[error("{what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Another gateway has it, or still compresses a file of it.
    #[error("another gateway is writing this trail, or still compresses a file of it: give each its own")]
    Locked,
    /// It is a link, a pipe, a device, or a folder.
    #[error("it is no regular file: name one, and not a link to it")]
    NotRegular,
    /// What is in it was not written by this gateway.
    #[error("its last line is no record of a trail: move the file away, or name another")]
    NotATrail,
    /// It belongs to another gateway.
    #[error(
        "it is the trail of {found:?}, and this gateway is {own:?}: name it so (`audit.instance`), or name another file"
    )]
    OtherInstance {
        /// Whose it is.
        found: String,
        /// Who wants it.
        own: String,
    },
}

/// Where a trail goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tail {
    /// The number of its last line; 0: it has none.
    pub sequence: u64,
    /// The hash of that line.
    pub hash: LineHash,
    /// Whether whoever wrote it stopped as one should.
    pub stopped: bool,
    /// Bytes of an unfinished line that were taken away.
    pub torn_bytes: u64,
}

impl Tail {
    const NONE: Self = Self { sequence: 0, hash: LineHash::NONE, stopped: true, torn_bytes: 0 };
}

/// Where the file of a segment is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Where it was.
    Here,
    /// Somewhere else, and nothing has taken its place, or an empty file.
    Moved,
    /// Somewhere else, and something has taken its place.
    Replaced,
    /// Nowhere: it was deleted. Nothing, or something, has taken its place.
    Removed,
}

/// The file that a trail is being written to.
pub struct Segment {
    file: File,
    path: PathBuf,
    first: u64,
    begun: Duration,
    /// Bytes of whole lines, each of them as safe as it has to be.
    bytes: u64,
    /// Up to where there is room on the disk.
    allocated: u64,
    /// Whether the file system can be asked for room.
    allocates: bool,
    /// The disk has said no once, so that a later yes means nothing.
    is_lost: bool,
    /// What it had has been copied to where it would stand once it is closed.
    is_rescued: bool,
}

impl Segment {
    /// Opens the trail at `path`, to go on where it ends. Whoever calls holds its lock.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when it cannot be gone on with.
    pub fn open(path: &Path, instance: &Instance, now: Duration) -> Result<(Self, Tail), OpenError> {
        let file = open(OpenOptions::new().read(true).append(true).create(true), path)?;
        let (bytes, torn_bytes) = cut_unfinished_line(&file).map_err(system("its end cannot be read"))?;
        let (tail, first, begun);
        if bytes == 0 {
            // A large one, if it is compressed, is read from its beginning: only where there is nothing else to go on after.
            tail = Tail { torn_bytes, ..closed_tail(path, instance)? };
            (first, begun) = (tail.sequence + 1, now);
        } else {
            let last = last_line(&file, bytes).map_err(system("its last line cannot be read"))?;
            tail = Tail { torn_bytes, ..Tail::of(&last, instance)? };
            let head =
                first_line(io::BufReader::new(&file)).map_err(system("its first line cannot be read"))?;
            first = Link::of(&head).ok_or(OpenError::NotATrail)?.sequence;
            begun = time(&head).unwrap_or(now);
        }
        let segment = Self {
            file,
            path: path.to_owned(),
            first,
            begun,
            bytes,
            allocated: bytes,
            allocates: true,
            is_lost: false,
            is_rescued: false,
        };
        Ok((segment, tail))
    }

    /// Begins a new file at `path`, whose first line will have the number `first`. An empty one that is there already is taken.
    ///
    /// # Errors
    ///
    /// What the system says, also when there is something at `path`.
    pub fn begin(path: &Path, first: u64, now: Duration) -> io::Result<Self> {
        let file =
            open(OpenOptions::new().read(true).append(true).create(true), path).map_err(io::Error::other)?;
        if file.metadata()?.len() > 0 {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        sync_folder(path)?;
        Ok(Self {
            file,
            path: path.to_owned(),
            first,
            begun: now,
            bytes: 0,
            allocated: 0,
            allocates: true,
            is_lost: false,
            is_rescued: false,
        })
    }

    /// The number of its first line.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// When its first line was written, since 1970 UTC.
    pub fn begun(&self) -> Duration {
        self.begun
    }

    /// Bytes of whole lines.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends as much of `bytes` as the system takes.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    /// What was written since, `bytes` in all, is as safe as it has to be.
    pub fn keep(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Takes away what was written and is not kept.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn take_back(&mut self) -> io::Result<()> {
        self.allocated = self.bytes;
        self.cut()
    }

    /// Cuts what is beyond the kept lines. Where somebody has cut more than that, there is nothing to fill up.
    fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.bytes.min(self.file.metadata()?.len()))
    }

    /// Whether the disk has failed to take it.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Waits until the disk has everything.
    ///
    /// # Errors
    ///
    /// What the system says. What the disk has then is not known, and asking again would not tell (fsync forgets).
    pub fn sync(&mut self) -> io::Result<()> {
        if self.is_lost {
            return Err(io::Error::other("the disk has failed to take this file before"));
        }
        self.file.sync_data().inspect_err(|_| self.is_lost = true)
    }

    /// Makes sure that there is room on the disk for this many bytes more.
    ///
    /// # Errors
    ///
    /// When there is not. Where the file system cannot be asked, there is hope.
    pub fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        let wanted = self.bytes.saturating_add(bytes);
        if !self.allocates || wanted <= self.allocated {
            return Ok(());
        }
        // Twice that, if it can be had, so as not to ask for every batch.
        for room in [bytes.saturating_mul(2), bytes] {
            let allocate = || rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.bytes, room);
            // A signal says nothing about the disk.
            match rustix::io::retry_on_intr(allocate) {
                Ok(()) => {
                    self.allocated = self.bytes.saturating_add(room);
                    return Ok(());
                }
                Err(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT | rustix::io::Errno::FBIG)
                    if room > bytes => {}
                Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                    self.allocates = false;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    /// Where its file is now.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn place(&self) -> io::Result<Place> {
        let own = self.file.metadata()?;
        let there = match std::fs::symlink_metadata(&self.path) {
            Ok(there) => Some(there),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(match there {
            Some(there) if (there.dev(), there.ino()) == (own.dev(), own.ino()) => Place::Here,
            _ if own.nlink() == 0 => Place::Removed,
            Some(there) if !there.is_file() || there.len() > 0 => Place::Replaced,
            Some(_) | None => Place::Moved,
        })
    }

    /// Copies what a deleted file had to where it would stand once it is closed. That can be done again when what comes after it
    /// fails.
    ///
    /// # Errors
    ///
    /// What the system says, also when there is one of that name that is not such a copy.
    pub fn rescue(&mut self) -> io::Result<ClosedFile> {
        let closed = ClosedFile::of(&self.path, self.first);
        if !self.is_rescued && closed.path.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        // Under another name until it is whole: a part of it would pass for all, and stand in the way of the next attempt.
        let part = files::rescued(&closed.path);
        remove_if_there(&part)?;
        let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        self.file.seek(SeekFrom::Start(0))?;
        io::copy(&mut (&self.file).take(self.bytes), &mut copy)?;
        copy.sync_all()?;
        std::fs::rename(&part, &closed.path)?;
        self.is_rescued = true;
        sync_folder(&closed.path)?;
        Ok(closed)
    }

    /// Gives the file the name of a closed one.
    ///
    /// # Errors
    ///
    /// What the system says, also when there is one of that name.
    pub fn close(&self) -> io::Result<ClosedFile> {
        let closed = ClosedFile::of(&self.path, self.first);
        if closed.path.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        // Frees the room that was kept beyond its end.
        self.cut()?;
        std::fs::rename(&self.path, &closed.path)?;
        sync_folder(&closed.path)?;
        Ok(closed)
    }
}

impl Tail {
    fn of(line: &[u8], instance: &Instance) -> Result<Self, OpenError> {
        let link = Link::of(line).ok_or(OpenError::NotATrail)?;
        if link.instance != instance.as_str() {
            let (found, own) = (link.instance.to_owned(), instance.as_str().to_owned());
            return Err(OpenError::OtherInstance { found, own });
        }
        let stopped = serde_json::from_slice::<Value>(line)
            .is_ok_and(|record| record.pointer("/unmapped/obo/mark").is_some_and(|mark| mark == "stop"));
        Ok(Self { sequence: link.sequence, hash: LineHash::of(line), stopped, torn_bytes: 0 })
    }
}

/// Locks the trail at `path` for this process. It is free again once what comes back is dropped.
///
/// # Errors
///
/// [`OpenError::Locked`] when somebody has it.
pub fn lock(path: &Path) -> Result<File, OpenError> {
    let lock = open(OpenOptions::new().write(true).create(true), &files::lock(path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::Locked),
        Err(std::fs::TryLockError::Error(source)) => Err(system("it cannot be locked")(source)),
    }
}

/// Opens a file of the trail: a regular one, never by way of a link.
pub fn open(options: &mut OpenOptions, path: &Path) -> Result<File, OpenError> {
    // Without waiting, should it be a pipe.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let flags = i32::try_from(flags).expect("flags of open are few");
    let opened = options.mode(0o600).custom_flags(flags).open(path);
    let file = opened.map_err(|source| match source.raw_os_error() {
        Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => OpenError::NotRegular,
        _ => system("it cannot be opened")(source),
    })?;
    let is_regular = file.metadata().map_err(system("it cannot be looked at"))?.is_file();
    if is_regular { Ok(file) } else { Err(OpenError::NotRegular) }
}

/// Removes a file, if there is one.
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Makes the names in the folder of `path` survive the machine.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(files::folder(path))?.sync_all()
}

/// What became of an attempt, when the system says no.
pub fn system(what: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::System { what, source }
}

/// Takes away what follows the last line break. Returns how many bytes are left, and how many are gone.
fn cut_unfinished_line(file: &File) -> io::Result<(u64, u64)> {
    let length = file.metadata()?.len();
    let whole = end_of_line_before(file, length)?;
    if whole < length {
        file.set_len(whole)?;
        file.sync_data()?;
    }
    Ok((whole, length - whole))
}

/// Where the last line break before `end` ends; 0 when there is none.
fn end_of_line_before(file: &File, end: u64) -> io::Result<u64> {
    let mut end = end;
    let mut chunk = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(CHUNK_BYTES);
        chunk.resize(usize::try_from(end - start).unwrap_or_default(), 0);
        file.read_exact_at(&mut chunk, start)?;
        if let Some(found) = chunk.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + found as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// The line that ends with the line break before `end`, without that.
fn last_line(file: &File, end: u64) -> io::Result<Vec<u8>> {
    let start = end_of_line_before(file, end - 1)?;
    if end - start > LINE_BYTES_MAX {
        return Err(io::Error::other("it is too long"));
    }
    let mut line = vec![0; usize::try_from(end - 1 - start).unwrap_or_default()];
    file.read_exact_at(&mut line, start)?;
    Ok(line)
}

/// The first line of what is read, without its line break.
pub fn first_line(mut reader: impl io::BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    line.pop_if(|byte| *byte == b'\n');
    Ok(line)
}

fn time(line: &[u8]) -> Option<Duration> {
    let record: Value = serde_json::from_slice(line).ok()?;
    record["time"].as_u64().map(Duration::from_millis)
}

/// How the last closed file of the trail at `path` ends.
fn closed_tail(path: &Path, instance: &Instance) -> Result<Tail, OpenError> {
    let closed = files::closed(path).map_err(system("the files beside it cannot be listed"))?;
    let Some(last) = closed.last() else { return Ok(Tail::NONE) };
    let read = system("the last closed file cannot be read");
    Tail::of(&last.last_line().map_err(read)?, instance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::link::Chain;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn instance() -> Instance {
        Instance::parse("gateway-1").expect("a name")
    }

    fn lines(chain: &mut Chain, count: usize) -> Vec<u8> {
        let mut lines = Vec::new();
        for _ in 0..count {
            let start = lines.len();
            lines.extend_from_slice(br#"{"time":1000,"metadata":{"uid":"a"}}"#);
            chain.close(&mut lines, start);
        }
        lines
    }

    fn opened(path: &Path) -> (Segment, Tail) {
        Segment::open(path, &instance(), Duration::ZERO).expect("a trail")
    }

    #[test]
    fn a_trail_goes_on_where_it_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let (segment, tail) = opened(&path);
        assert_eq!((segment.first(), tail), (1, Tail::NONE));
        assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        let mut chain = Chain::after(0, LineHash::NONE, instance(), 7);
        let mut text = lines(&mut chain, 3);
        text.extend_from_slice(b"{\"time\":10");
        std::fs::write(&path, &text).expect("written");
        let (segment, tail) = opened(&path);
        assert_eq!((tail.sequence, tail.hash, tail.torn_bytes), (3, chain.hash(), 10));
        assert_eq!((segment.first(), segment.begun(), tail.stopped), (1, Duration::from_secs(1), false));
        assert_eq!(std::fs::metadata(&path).expect("a file").len(), text.len() as u64 - 10);
        // What happened: the last closed file was read at every start, however large it was, and whether or not it was needed.
        let before = ClosedFile::of(&path, 0).compressed();
        std::fs::write(&before, "damaged").expect("written");
        assert_eq!(opened(&path).1.sequence, 3);
        std::fs::remove_file(&before).expect("removed");
        // A file that was closed, and no line after it yet.
        segment.close().expect("closed");
        let (segment, tail) = opened(&path);
        assert_eq!((segment.first(), tail.sequence, tail.hash), (4, 3, chain.hash()));
    }

    #[test]
    fn what_is_no_trail_is_not_gone_on_with() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let open = || Segment::open(&path, &instance(), Duration::ZERO).map(|_| ()).expect_err("no trail");
        std::fs::write(&path, "{\"time\":1}\n").expect("written");
        assert!(matches!(open(), OpenError::NotATrail));
        let mut chain = Chain::after(0, LineHash::NONE, Instance::parse("other").expect("a name"), 7);
        std::fs::write(&path, lines(&mut chain, 1)).expect("written");
        assert!(matches!(open(), OpenError::OtherInstance { .. }));
        // Nor when all of it is in closed files.
        std::fs::rename(&path, ClosedFile::of(&path, 1).path).expect("closed");
        assert!(matches!(open(), OpenError::OtherInstance { .. }));
        std::fs::remove_file(ClosedFile::of(&path, 1).path).expect("removed");
        std::fs::remove_file(&path).expect("removed");
        symlink("/dev/null", &path).expect("a link");
        assert!(matches!(open(), OpenError::NotRegular));
        std::fs::remove_file(&path).expect("removed");
        symlink(folder.path().join("elsewhere"), &path).expect("a link");
        assert!(matches!(open(), OpenError::NotRegular));
        assert!(!folder.path().join("elsewhere").exists());
    }

    #[test]
    fn one_process_writes_a_trail() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let held = lock(&path).expect("a lock");
        assert!(matches!(lock(&path), Err(OpenError::Locked)));
        drop(held);
        assert!(lock(&path).is_ok());
    }

    #[test]
    fn a_file_is_seen_to_be_moved_replaced_or_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let [path, moved] = ["audit.jsonl", "moved"].map(|name| folder.path().join(name));
        let (mut segment, _) = opened(&path);
        let place = |segment: &Segment| segment.place().expect("a place");
        assert_eq!(place(&segment), Place::Here);
        segment.write(b"a line\n").expect("written");
        segment.keep(7);
        std::fs::rename(&path, &moved).expect("moved");
        assert_eq!(place(&segment), Place::Moved);
        std::fs::write(&path, "").expect("written");
        assert_eq!(place(&segment), Place::Moved);
        std::fs::write(&path, "x").expect("written");
        assert_eq!(place(&segment), Place::Replaced);
        std::fs::remove_file(&path).expect("removed");
        symlink("/dev/null", &path).expect("a link");
        assert_eq!(place(&segment), Place::Replaced);
        std::fs::remove_file(&moved).expect("removed");
        assert_eq!(place(&segment), Place::Removed);
        // What happened: a copy that broke off, as for lack of room, stood in the way of every other.
        segment.rescue().expect("a copy");
        segment.write(b"another\n").expect("written");
        segment.keep(8);
        let rescued = segment.rescue().expect("a copy");
        assert_eq!(std::fs::read(&rescued.path).expect("a copy"), b"a line\nanother\n");
        // What is not ours is not written over.
        let (mut segment, _) = opened(&folder.path().join("other.jsonl"));
        std::fs::write(ClosedFile::of(&folder.path().join("other.jsonl"), 1).path, "x").expect("written");
        assert!(segment.rescue().is_err());
    }

    #[test]
    fn a_file_that_was_cut_is_not_filled_up() {
        // What happened: somebody emptied the file for want of room, and what was taken back came to be filled with zeros.
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let (mut segment, _) = opened(&path);
        segment.write(b"a line\n").expect("written");
        segment.keep(7);
        std::fs::write(&path, "").expect("emptied");
        segment.take_back().expect("taken back");
        assert_eq!(std::fs::read(&path).expect("a file"), b"");
        segment.write(b"x\n").expect("written");
        let closed = segment.close().expect("closed");
        assert_eq!(std::fs::read(closed.path).expect("a file"), b"x\n");
    }
}
