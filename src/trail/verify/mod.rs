//! `obo-gateway audit verify`: whether a trail is whole, offline, in one pass, however long it is.
//!
//! Each line is hashed and compared with what the next line says of it, and with every checkpoint. What the chain alone shows is a
//! trail in which something was changed; that its end was cut, or that all of it was written anew, only checkpoints show, and best
//! those that were kept elsewhere.

mod chain;
mod fault;
mod notes;
mod statements;
mod text;

use std::path::PathBuf;

use serde::Deserialize;

use crate::audit::checkpoint::{Checkpoint, CheckpointPublicKey};
use crate::audit::link::LineHash;

pub use fault::{Fault, FaultKind, Witness};
pub use notes::{Note, Notes};
pub use statements::Trouble;
pub use text::counted;

use super::lines::Text;
use super::source::{At, TrailLines};
use super::{Progress, Trail, TrailError};
use chain::{ChainReader, Taken};
use statements::Statements;

/// After how many lines the bar is drawn anew.
const PROGRESS_LINES: u64 = 4_096;
/// Begins each mark and no other record: the members of a record are written in one order.
const MARK: &[u8] = br#"{"class_uid":0,"#;

/// What a trail is held against, beside itself and the checkpoints beside it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whose signatures count. Empty: nobody looks at signatures.
    pub keys: Vec<CheckpointPublicKey>,
    /// Files of checkpoints that were kept elsewhere; `-` is standard input.
    pub checkpoints: Vec<PathBuf>,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing is wrong.
    Whole,
    /// Something is.
    NotWhole,
    /// There is no line.
    Empty,
    /// Nothing is wrong, and nothing is signed, although there is a key.
    Unsigned,
}

/// What is known of a trail.
#[derive(Clone, Debug)]
pub struct Verification {
    /// Its files, in the order of their lines.
    pub files: Vec<PathBuf>,
    /// How many lines it has.
    pub lines: u64,
    /// How many bytes its files have.
    pub bytes: u64,
    /// The number of its first line.
    pub first: Option<u64>,
    /// The number of its last line.
    pub last: Option<u64>,
    /// The hash of its last line.
    pub last_hash: LineHash,
    /// The gateways that wrote it.
    pub instances: Vec<String>,
    /// How many runs of them wrote it.
    pub runs: u64,
    /// The line in which the trail says that those before its first one were deleted.
    pub deleted_in: Option<u64>,
    /// What is wrong, as far as it is told.
    pub faults: Vec<Fault>,
    /// How many faults there are.
    pub fault_count: u64,
    /// Whether there were keys to check signatures with.
    pub is_signature_checked: bool,
    /// How many checkpoints there are that can be read and, where signatures are checked, are signed.
    pub checkpoints: u64,
    /// How many of them fit.
    pub fitting: u64,
    /// How many are of lines before the first one.
    pub older: u64,
    /// The last one that fits.
    pub last_checkpoint: Option<Checkpoint>,
    /// How many bytes of an unfinished line stand at the end.
    pub unfinished_bytes: usize,
}

impl Verification {
    /// What came of it.
    pub fn verdict(&self) -> Verdict {
        match self {
            _ if self.fault_count > 0 => Verdict::NotWhole,
            _ if self.lines == 0 => Verdict::Empty,
            _ if self.is_signature_checked && self.fitting == 0 => Verdict::Unsigned,
            _ => Verdict::Whole,
        }
    }

    /// How many lines there are after the last checkpoint that fits.
    pub fn lines_after_checkpoint(&self) -> u64 {
        let signed = self.last_checkpoint.as_ref().map(|checkpoint| checkpoint.sequence);
        match (self.last, signed) {
            (Some(last), Some(signed)) => last.saturating_sub(signed),
            _ => self.lines,
        }
    }
}

/// Verifies a trail.
///
/// # Errors
///
/// When a file cannot be read.
pub fn verify(trail: Trail, options: &Options, progress: &mut Progress) -> Result<Verification, TrailError> {
    let statements = Statements::read(trail.checkpoints(), &options.checkpoints, &options.keys)?;
    let mut verifier = Verifier {
        chain: ChainReader::default(),
        statements,
        lines: 0,
        fitting: 0,
        older: 0,
        last_fitting: None,
        deleted: None,
        lost: 0,
        unfinished: None,
    };
    let mut lines = trail.lines();
    while let Some((text, at)) = lines.next_text()? {
        verifier.text(text, at)?;
        if verifier.lines.is_multiple_of(PROGRESS_LINES) {
            progress.show(lines.bytes());
        }
    }
    verifier.finish(&lines, !options.keys.is_empty())
}

struct Verifier<'a> {
    chain: ChainReader,
    statements: Statements<'a>,
    lines: u64,
    fitting: u64,
    older: u64,
    last_fitting: Option<Checkpoint>,
    /// The line that says that those before the first one were deleted, and whether it fits.
    deleted: Option<(u64, bool)>,
    /// The highest number of a line that the trail says was lost; 0 for none.
    lost: u64,
    /// An unfinished line: where, and how many bytes. It is no fault at the end of a trail, and none where the next file has it whole.
    unfinished: Option<(At, usize)>,
}

impl Verifier<'_> {
    fn text(&mut self, text: Text<'_>, at: At) -> Result<(), TrailError> {
        if let Some((unfinished, _)) = self.unfinished.take() {
            let is_whole_here = matches!(&text, Text::Line(line) if self.chain.is_next(line));
            if !is_whole_here {
                self.chain.no_record(FaultKind::Unfinished, unfinished);
            }
        }
        match text {
            Text::Line(line) => {
                self.lines += 1;
                if let Some(taken) = self.chain.line(line, at) {
                    if line.starts_with(MARK) {
                        self.mark(line, taken.sequence, at)?;
                    }
                    self.compare(taken, at)?;
                }
            }
            Text::TooLong => self.chain.no_record(FaultKind::TooLong, at),
            Text::Damaged(why) => self.chain.no_record(FaultKind::Damaged(why), at),
            Text::Unfinished(rest) => self.unfinished = Some((at, rest.len())),
        }
        Ok(())
    }

    /// Looks whether a mark says what became of lines that are not there.
    fn mark(&mut self, line: &[u8], sequence: u64, at: At) -> Result<(), TrailError> {
        let (Some(beginning), Ok(mark)) = (&self.chain.beginning, serde_json::from_slice::<MarkLine>(line))
        else {
            return Ok(());
        };
        let mark = mark.unmapped.obo;
        if mark.mark == "deleted" && mark.last == Some(beginning.first - 1) {
            let hash = mark.last_hash.as_deref().and_then(|hash| LineHash::parse(hash.as_bytes()));
            let fits = hash.is_some_and(|hash| beginning.previous.is_none_or(|previous| previous == hash));
            self.deleted = Some((sequence, fits));
        }
        let lost = mark.lost_lines.filter(|lines| mark.mark == "recovered" && *lines > 0);
        let Some(last) = lost.map(|lines| sequence.saturating_add(lines - 1)) else { return Ok(()) };
        // The next start may find the same once more.
        if last > self.lost {
            self.lost = last;
            self.statements.forget(sequence, last, self.chain.boot())?;
            self.chain.add(Fault { sequence, at: Some(at), kind: FaultKind::Lost(last) });
        }
        Ok(())
    }

    /// Compares a line with what checkpoints say of it.
    fn compare(&mut self, taken: Taken, at: At) -> Result<(), TrailError> {
        let mut is_contradicted = false;
        while let Some(checkpoint) = self.statements.peek().filter(|next| next.sequence <= taken.sequence) {
            let before_first =
                self.chain.beginning.as_ref().filter(|first| checkpoint.sequence < first.first);
            if let Some(beginning) = before_first {
                self.older += 1;
                let is_said_of = beginning.previous.filter(|_| checkpoint.sequence + 1 == beginning.first);
                if is_said_of.is_some_and(|previous| previous != checkpoint.hash) {
                    let time = milliseconds(checkpoint);
                    let kind = FaultKind::Rewritten { time, since: None };
                    self.chain.add(Fault { sequence: checkpoint.sequence, at: Some(beginning.at), kind });
                }
            } else if checkpoint.sequence == taken.sequence {
                let is_same = checkpoint.hash == taken.hash;
                if !is_same && taken.is_doubtful {
                    // The line of this number may still come.
                    break;
                }
                if is_same {
                    self.fitting += 1;
                    self.last_fitting = Some(checkpoint.clone());
                    self.chain.is_rewritten = false;
                } else if !self.is_of_this_trail(checkpoint) {
                    self.chain.add(other_trail(checkpoint));
                } else if !self.chain.is_rewritten && !is_contradicted {
                    is_contradicted = true;
                    let since = self.last_fitting.as_ref().map(|checkpoint| checkpoint.sequence);
                    self.chain.contradicted(taken.sequence, milliseconds(checkpoint), since, at);
                }
            }
            self.statements.step()?;
        }
        Ok(())
    }

    fn is_of_this_trail(&self, checkpoint: &Checkpoint) -> bool {
        let own = &self.chain.instances;
        own.is_empty() || own.iter().any(|instance| instance == checkpoint.instance.as_str())
    }

    fn finish(mut self, read: &TrailLines, is_signature_checked: bool) -> Result<Verification, TrailError> {
        if let Some(beginning) = self.chain.beginning.clone().filter(|beginning| beginning.first > 1)
            && self.deleted.is_none_or(|(_, fits)| !fits)
        {
            let kind =
                FaultKind::Begins { first: beginning.first, is_said_otherwise: self.deleted.is_some() };
            self.chain.add_first(Fault { sequence: 1, at: Some(beginning.at), kind });
        }
        let mut furthest = None;
        while let Some(checkpoint) = self.statements.step()? {
            if checkpoint.sequence > self.chain.last {
                match self.is_of_this_trail(&checkpoint) {
                    true => furthest = Some(checkpoint),
                    false => self.chain.add(other_trail(&checkpoint)),
                }
            }
        }
        if let Some(checkpoint) = furthest {
            let (last, time) = (self.chain.last, milliseconds(&checkpoint));
            let kind = FaultKind::Cut { last, checkpoint: checkpoint.sequence, time };
            self.chain.add(Fault { sequence: last + 1, at: None, kind });
        }
        for troubled in &self.statements.troubles {
            self.chain.add(Fault::of_checkpoints(troubled));
        }
        let chain = self.chain;
        Ok(Verification {
            files: read.files().to_vec(),
            lines: self.lines,
            bytes: read.bytes(),
            first: chain.beginning.as_ref().map(|beginning| beginning.first),
            last: chain.beginning.as_ref().map(|_| chain.last),
            last_hash: chain.hash(),
            deleted_in: self.deleted.filter(|(_, fits)| *fits).map(|(sequence, _)| sequence),
            instances: chain.instances,
            runs: chain.runs,
            faults: chain.faults,
            fault_count: chain.fault_count,
            is_signature_checked,
            checkpoints: self.statements.count,
            fitting: self.fitting,
            older: self.older,
            last_checkpoint: self.last_fitting,
            unfinished_bytes: self.unfinished.map_or(0, |(_, bytes)| bytes),
        })
    }
}

fn milliseconds(checkpoint: &Checkpoint) -> u64 {
    u64::try_from(checkpoint.time.as_millis()).unwrap_or(u64::MAX)
}

fn other_trail(checkpoint: &Checkpoint) -> Fault {
    let kind = FaultKind::OtherTrail(checkpoint.instance.as_str().to_owned());
    Fault { sequence: checkpoint.sequence, at: None, kind }
}

#[derive(Deserialize)]
struct MarkLine {
    unmapped: MarkUnmapped,
}

#[derive(Deserialize)]
struct MarkUnmapped {
    obo: MarkDetail,
}

#[derive(Deserialize)]
struct MarkDetail {
    mark: String,
    last: Option<u64>,
    last_hash: Option<String>,
    lost_lines: Option<u64>,
}
