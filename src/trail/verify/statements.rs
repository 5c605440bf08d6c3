//! What checkpoints say of a trail, in the order of its lines: those beside it, and those that were kept elsewhere.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::notes::{Note, Notes};
use crate::audit::checkpoint::{Checkpoint, CheckpointError, CheckpointPublicKey};
use crate::trail::TrailError;

/// Most bytes of checkpoints from elsewhere that are taken: they are put in order, and so held. A year's hourly ones have 2 MB.
const KEPT_BYTES_MAX: u64 = 67_108_864;
/// Most files whose trouble with checkpoints is told one by one.
const TROUBLES_MAX: usize = 32;

/// What is wrong with checkpoints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// It is none, or nobody vouches for it.
    Untrusted(CheckpointError),
    /// It is of an earlier line than the one before it.
    OutOfOrder,
}

/// Checkpoints of one file with the same trouble.
#[derive(Clone, Debug)]
pub struct Troubled {
    /// What is wrong.
    pub trouble: Trouble,
    /// The file.
    pub file: PathBuf,
    /// Which checkpoint of the file is the first one.
    pub number: u64,
    /// Which line it says something of, where that can be read.
    pub sequence: Option<u64>,
    /// How many there are.
    pub count: u64,
}

/// Checkpoints in the order of the lines that they are of.
pub struct Statements<'a> {
    keys: &'a [CheckpointPublicKey],
    beside: VecDeque<Beside>,
    /// From elsewhere, in order.
    kept: VecDeque<Checkpoint>,
    next: Option<Checkpoint>,
    /// What is wrong with some.
    pub troubles: Vec<Troubled>,
    /// How many there are in all, without those that are troubled.
    pub count: u64,
    /// Whether one is being written at the moment, or was when the gateway died.
    pub is_unfinished: bool,
}

struct Beside {
    path: PathBuf,
    notes: Notes<BufReader<io::Take<File>>>,
    next: Option<Upcoming>,
    last: u64,
}

/// A checkpoint that can be trusted.
struct Upcoming {
    checkpoint: Checkpoint,
    number: u64,
    /// Whether it is of an earlier line than the one before it.
    is_back: bool,
}

impl<'a> Statements<'a> {
    /// Reads the checkpoints in these files beside the trail, each up to a length, and in those from elsewhere; `-` is standard input.
    /// Without keys nobody's signature is looked at.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or is no file of checkpoints at all.
    pub fn read(
        beside: &[(PathBuf, u64)],
        elsewhere: &[PathBuf],
        keys: &'a [CheckpointPublicKey],
    ) -> Result<Self, TrailError> {
        let mut statements = Self {
            keys,
            beside: VecDeque::new(),
            kept: VecDeque::new(),
            next: None,
            troubles: Vec::new(),
            count: 0,
            is_unfinished: false,
        };
        for path in elsewhere {
            statements.keep(path)?;
        }
        statements.kept.make_contiguous().sort_by_key(|checkpoint| checkpoint.sequence);
        for (path, length) in beside {
            let file = File::open(path).map_err(TrailError::unreadable(path))?;
            let notes = Notes::new(BufReader::new(file.take(*length)));
            let mut beside = Beside { path: path.clone(), notes, next: None, last: 0 };
            statements.advance(&mut beside)?;
            statements.beside.push_back(beside);
        }
        statements.step()?;
        Ok(statements)
    }

    fn keep(&mut self, path: &Path) -> Result<(), TrailError> {
        let unreadable = || TrailError::unreadable(path);
        let input: Box<dyn io::Read> = match path.as_os_str() == "-" {
            true => Box::new(io::stdin()),
            false => Box::new(File::open(path).map_err(unreadable())?),
        };
        let mut notes = Notes::new(BufReader::new(input.take(KEPT_BYTES_MAX)));
        while let Some(note) = notes.next_note().map_err(unreadable())? {
            // One that is given by hand may lack the empty line.
            if let Some(checkpoint) = self.read_note(path, &note) {
                self.kept.push_back(checkpoint);
            }
        }
        Ok(())
    }

    /// The next checkpoint that can be trusted of a file beside the trail.
    fn advance(&mut self, beside: &mut Beside) -> Result<(), TrailError> {
        beside.next = None;
        while let Some(note) = beside.notes.next_note().map_err(TrailError::unreadable(&beside.path))? {
            if !note.is_finished {
                self.is_unfinished = true;
                continue;
            }
            let Some(checkpoint) = self.read_note(&beside.path, &note) else { continue };
            let is_back = checkpoint.sequence < beside.last;
            beside.last = checkpoint.sequence;
            beside.next = Some(Upcoming { checkpoint, number: note.number, is_back });
            break;
        }
        Ok(())
    }

    fn read_note(&mut self, path: &Path, note: &Note) -> Option<Checkpoint> {
        match self.verify(&note.text) {
            Ok(checkpoint) => Some(checkpoint),
            Err(error) => {
                let sequence = Checkpoint::unverified(&note.text).ok().map(|checkpoint| checkpoint.sequence);
                self.trouble(Trouble::Untrusted(error), path, note.number, sequence);
                None
            }
        }
    }

    fn verify(&self, note: &str) -> Result<Checkpoint, CheckpointError> {
        let mut refused = CheckpointError::OtherKey;
        let unverified = Checkpoint::unverified(note)?;
        if self.keys.is_empty() {
            return Ok(unverified);
        }
        for key in self.keys {
            match key.verify(note) {
                Ok(checkpoint) => return Ok(checkpoint),
                Err(CheckpointError::OtherKey) => {}
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn trouble(&mut self, trouble: Trouble, file: &Path, number: u64, sequence: Option<u64>) {
        let is_same = |known: &&mut Troubled| known.trouble == trouble && known.file == file;
        if let Some(known) = self.troubles.iter_mut().find(is_same) {
            known.count += 1;
        } else if self.troubles.len() < TROUBLES_MAX {
            self.troubles.push(Troubled { trouble, file: file.to_owned(), number, sequence, count: 1 });
        }
    }

    /// Leaves out what was said of the lines from `first` to `last` before they were lost, by other runs than `boot`. Those that come
    /// after may be of earlier lines again.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub fn forget(&mut self, first: u64, last: u64, boot: u64) -> Result<(), TrailError> {
        let is_lost = |checkpoint: &Checkpoint| {
            (first..=last).contains(&checkpoint.sequence) && checkpoint.boot != boot
        };
        // The next one goes back to where it came from; nobody minds if that is among those from elsewhere.
        if let Some(next) = self.next.take() {
            self.count -= 1;
            self.kept.push_front(next);
        }
        self.kept.retain(|checkpoint| !is_lost(checkpoint));
        for at in 0..self.beside.len() {
            let Some(mut beside) = self.beside.remove(at) else { continue };
            while beside.next.as_ref().is_some_and(|next| is_lost(&next.checkpoint)) {
                self.advance(&mut beside)?;
            }
            if let Some(next) = &mut beside.next {
                next.is_back = false;
            }
            self.beside.insert(at, beside);
        }
        self.step()?;
        Ok(())
    }

    /// The next checkpoint, in the order of the lines.
    pub fn peek(&self) -> Option<&Checkpoint> {
        self.next.as_ref()
    }

    /// Goes on to the one after it.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub fn step(&mut self) -> Result<Option<Checkpoint>, TrailError> {
        let next = loop {
            let kept = self.kept.front().map(|checkpoint| checkpoint.sequence);
            let sequence = |at: usize| Some(self.beside[at].next.as_ref()?.checkpoint.sequence);
            let first = (0..self.beside.len()).filter_map(|at| Some((sequence(at)?, at))).min();
            let Some((_, at)) = first.filter(|(sequence, _)| kept.is_none_or(|kept| *sequence < kept)) else {
                break self.kept.pop_front();
            };
            let Some(mut beside) = self.beside.remove(at) else { break None };
            let upcoming = beside.next.take();
            self.advance(&mut beside)?;
            match upcoming {
                Some(Upcoming { checkpoint, number, is_back: true }) => {
                    self.trouble(Trouble::OutOfOrder, &beside.path, number, Some(checkpoint.sequence));
                    self.beside.insert(at, beside);
                }
                upcoming => {
                    self.beside.insert(at, beside);
                    break upcoming.map(|upcoming| upcoming.checkpoint);
                }
            }
        };
        self.count += u64::from(next.is_some());
        Ok(std::mem::replace(&mut self.next, next))
    }
}
