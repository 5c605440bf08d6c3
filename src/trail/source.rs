//! Which files a trail is in, and its lines across them.

use std::cell::Cell;
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::lines::{Input, LineReader, Text};
use crate::audit::files::{self, ClosedFile, LINE_BYTES_MAX};
use crate::audit::link::Link;

/// Lines at the beginning of a file that are looked at for a number, when files have to be put in order.
const HEAD_LINES_MAX: usize = 100;

/// The files of a trail, in the order of their lines.
#[derive(Debug)]
pub struct Trail {
    sources: VecDeque<Source>,
    /// The files of checkpoints, and how long they were before any line was read: what they say is of lines that were there.
    checkpoints: Vec<(PathBuf, u64)>,
    /// The file that is being written, when it is the one trail that was named.
    live: Option<PathBuf>,
    /// Whether a file is in it whose name does not tell its place.
    has_moved: bool,
}

#[derive(Debug)]
struct Source {
    path: PathBuf,
    /// Opened before its closed neighbours were looked for, so that it is not missed when it becomes one of them meanwhile.
    file: Option<File>,
    bytes: u64,
    first: Option<u64>,
}

/// Why there is no trail to read.
#[derive(Debug, thiserror::Error)]
pub enum TrailError {
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is none in this folder.
    #[error("there is no trail in {}", .0.display())]
    Nothing(PathBuf),
    /// There are several in this folder.
    #[error("there are several trails in {}; name one: {}", folder.display(), .trails.join(", "))]
    Several {
        /// The folder.
        folder: PathBuf,
        /// Their files.
        trails: Vec<String>,
    },
}

impl TrailError {
    pub(super) fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Unreadable { path, source }
    }
}

impl Trail {
    /// Finds the files of a trail. A path is the file of a trail, which brings its closed files, those that logrotate moved away, and its
    /// checkpoints along; a folder with one trail in it; a closed file, for itself; or a file of checkpoints. A lock stands for nothing,
    /// so that `audit.jsonl*` can be said.
    ///
    /// # Errors
    ///
    /// [`TrailError`] when something that is named cannot be read, or is no trail.
    pub fn find(paths: &[PathBuf]) -> Result<Self, TrailError> {
        let mut trail =
            Self { sources: VecDeque::new(), checkpoints: Vec::new(), live: None, has_moved: false };
        let mut seen = HashSet::new();
        let mut named = 0_usize;
        for path in paths {
            if let Some(of) = files::stands_beside(path) {
                if *path == files::checkpoints(&of) {
                    trail.add_checkpoints(path.clone());
                }
                continue;
            }
            let metadata = fs::metadata(path);
            if metadata.as_ref().is_ok_and(fs::Metadata::is_dir) {
                trail.add(&only_trail_in(path)?, &mut seen)?;
            } else if ClosedFile::parse(path).is_some() {
                metadata.map_err(TrailError::unreadable(path))?;
                trail.add_closed(path.clone(), &mut seen)?;
            } else {
                trail.add(path, &mut seen)?;
            }
            named += 1;
        }
        if named > 1 {
            trail.live = None;
        }
        if named > 1 || trail.has_moved {
            trail.put_in_order()?;
        }
        Ok(trail)
    }

    fn add(&mut self, path: &Path, seen: &mut HashSet<(u64, u64)>) -> Result<(), TrailError> {
        self.add_checkpoints(files::checkpoints(path));
        let live = match File::open(path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(TrailError::unreadable(path)(error)),
        };
        let metadata = live.as_ref().map(File::metadata).transpose().map_err(TrailError::unreadable(path))?;
        let is_new = metadata.as_ref().is_some_and(|metadata| seen.insert((metadata.dev(), metadata.ino())));
        let closed = match files::closed(path) {
            Ok(closed) => closed,
            // Without its folder there is no file either.
            Err(_) if live.is_none() => Vec::new(),
            Err(error) => return Err(TrailError::unreadable(path)(error)),
        };
        if live.is_none() && closed.is_empty() {
            let missing = io::Error::new(io::ErrorKind::NotFound, "there is no such file");
            return Err(TrailError::unreadable(path)(missing));
        }
        for file in closed {
            self.add_closed(file.path, seen)?;
        }
        for moved in files::moved(path).unwrap_or_default() {
            self.add_moved(moved, seen);
        }
        if let Some(metadata) = metadata.filter(|_| is_new) {
            let bytes = metadata.len();
            self.sources.push_back(Source { path: path.to_owned(), file: live, bytes, first: None });
        }
        self.live = Some(path.to_owned());
        Ok(())
    }

    fn add_checkpoints(&mut self, path: PathBuf) {
        let is_known = self.checkpoints.iter().any(|(known, _)| *known == path);
        if let Some(metadata) = fs::metadata(&path).ok().filter(|_| !is_known) {
            self.checkpoints.push((path, metadata.len()));
        }
    }

    /// Takes a file along that is named as logrotate names it, when its lines are a trail's.
    fn add_moved(&mut self, path: PathBuf, seen: &mut HashSet<(u64, u64)>) {
        let Some(metadata) = fs::metadata(&path).ok().filter(fs::Metadata::is_file) else { return };
        let mut source = Source { path, file: None, bytes: metadata.len(), first: None };
        source.first = source.number().ok().flatten();
        if source.first.is_some() && seen.insert((metadata.dev(), metadata.ino())) {
            self.sources.push_back(source);
            self.has_moved = true;
        }
    }

    fn add_closed(&mut self, path: PathBuf, seen: &mut HashSet<(u64, u64)>) -> Result<(), TrailError> {
        let first = ClosedFile::parse(&path).map(|(_, file)| file.first);
        // One that was compressed or deleted since the folder was read is looked for again when its turn comes.
        let metadata = fs::metadata(&path);
        if metadata.as_ref().is_ok_and(|metadata| !seen.insert((metadata.dev(), metadata.ino()))) {
            return Ok(());
        }
        let bytes = metadata.map(|metadata| metadata.len()).unwrap_or_default();
        self.sources.push_back(Source { path, file: None, bytes, first });
        Ok(())
    }

    /// Puts the files in the order of their first lines; what has no number comes last.
    fn put_in_order(&mut self) -> Result<(), TrailError> {
        for source in &mut self.sources {
            if source.first.is_none() {
                source.first = source.number().map_err(TrailError::unreadable(&source.path))?;
            }
        }
        self.sources.make_contiguous().sort_by_key(|source| source.first.unwrap_or(u64::MAX));
        Ok(())
    }

    /// The file that is being written, when one trail was named.
    pub fn live(&self) -> Option<&Path> {
        self.live.as_deref()
    }

    /// The files of checkpoints, and how much of each counts.
    pub fn checkpoints(&self) -> &[(PathBuf, u64)] {
        &self.checkpoints
    }

    /// The files, in the order of their lines.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.sources.iter().map(|source| source.path.as_path())
    }

    /// How many bytes the files have.
    pub fn bytes(&self) -> u64 {
        self.sources.iter().map(|source| source.bytes).sum()
    }

    /// Takes the last file off, for whoever begins at the end.
    pub(super) fn take_last(&mut self) -> Option<Self> {
        let last = self.sources.pop_back()?;
        Some(Self { sources: [last].into(), checkpoints: Vec::new(), live: None, has_moved: false })
    }

    /// Leaves the file that is being written to whoever follows it.
    pub(super) fn without_live(mut self) -> Self {
        let live = self.live.as_deref();
        self.sources.retain(|source| Some(source.path.as_path()) != live);
        self
    }

    /// Reads the lines.
    pub fn lines(self) -> TrailLines {
        TrailLines { sources: self.sources, files: Vec::new(), reader: None, line: 0, read: Rc::default() }
    }
}

impl Source {
    fn open(&mut self) -> io::Result<Option<File>> {
        if let Some(file) = self.file.take() {
            return Ok(Some(file));
        }
        match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened.map(Some),
        }
        // It was compressed since, or deleted: whether the trail says that it was, its reader will see.
        if let Some((trail, file)) = ClosedFile::parse(&self.path).filter(|(_, file)| !file.is_compressed()) {
            let compressed = ClosedFile::of(&trail, file.first).compressed();
            match File::open(&compressed) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                opened => {
                    self.path = compressed;
                    return opened.map(Some);
                }
            }
        }
        Ok(None)
    }

    /// The number of its first line that has one.
    fn number(&mut self) -> io::Result<Option<u64>> {
        let mut file = match self.file.as_ref() {
            Some(file) => file.try_clone()?,
            None => File::open(&self.path)?,
        };
        let input = Input::open(file.try_clone()?, is_named_compressed(&self.path), Rc::default())?;
        let mut reader = LineReader::new(input);
        let mut number = None;
        for _ in 0..HEAD_LINES_MAX {
            match reader.next_text()? {
                Some(Text::Line(line)) => number = Link::of(line).map(|link| link.sequence),
                Some(Text::TooLong) => {}
                Some(Text::Unfinished(_) | Text::Damaged(_)) | None => break,
            }
            if number.is_some() {
                break;
            }
        }
        file.rewind()?;
        Ok(number)
    }
}

fn is_named_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "zst")
}

/// Whether the first line of a file is a record of a trail.
fn begins_as_trail(path: &Path) -> bool {
    let mut line = Vec::new();
    let mut read = |file| BufReader::new(file).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
    path.is_file()
        && File::open(path).and_then(&mut read).is_ok()
        && Link::of(line.trim_ascii_end()).is_some()
}

/// The file of the one trail in a folder.
fn only_trail_in(folder: &Path) -> Result<PathBuf, TrailError> {
    let unreadable = || TrailError::unreadable(folder);
    let mut trails = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(unreadable())? {
        let path = entry.map_err(unreadable())?.path();
        // Others lock as well, a vault for one.
        let stands_beside =
            files::stands_beside(&path).filter(|trail| path != files::lock(trail) || begins_as_trail(trail));
        let of_another = ClosedFile::parse(&path).map(|(trail, _)| trail).or(stands_beside);
        let own = path.extension().is_some_and(|ending| ending == "jsonl").then(|| path.clone());
        trails.extend(of_another.or(own));
    }
    let only = trails.pop_first().ok_or_else(|| TrailError::Nothing(folder.to_owned()))?;
    if trails.is_empty() {
        return Ok(only);
    }
    let names = [only].into_iter().chain(trails).map(|path| path.display().to_string()).collect();
    Err(TrailError::Several { folder: folder.to_owned(), trails: names })
}

/// The lines of a trail.
pub struct TrailLines {
    sources: VecDeque<Source>,
    /// The files that have been begun.
    files: Vec<PathBuf>,
    reader: Option<LineReader<Input>>,
    /// The number of the last line within its file.
    line: u64,
    read: Rc<Cell<u64>>,
}

/// Where a line stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct At {
    /// Which file, counted from 1.
    pub file: usize,
    /// Which line of it, counted from 1.
    pub line: u64,
    /// Whether there are no files after it.
    pub is_last_file: bool,
}

impl TrailLines {
    /// What comes next, and where it stands; `None` after the last line.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub fn next_text(&mut self) -> Result<Option<(Text<'_>, At)>, TrailError> {
        let found = loop {
            if self.reader.is_none() && !self.open_next()? {
                return Ok(None);
            }
            let found = self.reader.as_mut().map(LineReader::find).transpose();
            match found.map_err(TrailError::unreadable(self.path()))?.flatten() {
                Some(found) => break found,
                None => self.reader = None,
            }
        };
        self.line += 1;
        let at = At { file: self.files.len(), line: self.line, is_last_file: self.sources.is_empty() };
        Ok(self.reader.as_ref().map(|reader| (reader.text(found), at)))
    }

    fn open_next(&mut self) -> Result<bool, TrailError> {
        while let Some(mut source) = self.sources.pop_front() {
            let opened = source.open().map_err(TrailError::unreadable(&source.path))?;
            let Some(file) = opened else { continue };
            let input = Input::open(file, is_named_compressed(&source.path), Rc::clone(&self.read));
            let input = input.map_err(TrailError::unreadable(&source.path))?;
            self.reader = Some(LineReader::new(input));
            self.files.push(source.path);
            self.line = 0;
            return Ok(true);
        }
        Ok(false)
    }

    /// The file that is being read.
    fn path(&self) -> &Path {
        self.files.last().map_or(Path::new(""), PathBuf::as_path)
    }

    /// The files that have been begun, in the order of their lines.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// How many bytes of the files have been read.
    pub fn bytes(&self) -> u64 {
        self.read.get()
    }
}
