//! What is wrong with a trail.

use std::fmt;
use std::path::PathBuf;

use crate::audit::checkpoint::CheckpointError;
use crate::trail::date_time;
use crate::trail::source::At;
use crate::unseen::clean;

use super::statements::{Trouble, Troubled};

/// Something that is wrong with a trail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The number of the first line that it concerns, as `metadata.sequence` would have it.
    pub sequence: u64,
    /// Where it was noticed; `None` for what is missing at the end, and for checkpoints.
    pub at: Option<At>,
    /// What is wrong.
    pub kind: FaultKind,
}

/// Who says that a line was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Witness {
    /// The line after it.
    Next,
    /// The line itself: its place does not fit.
    Itself,
    /// A checkpoint of this time, in milliseconds since 1970.
    Checkpoint(u64),
}

/// What is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// A line was changed.
    Changed(Witness),
    /// Lines up to this one stand in one, without their line breaks.
    Joined(u64),
    /// Lines up to this one are missing.
    Missing {
        /// The last one.
        last: u64,
        /// Whether a file ends where they should be.
        is_between_files: bool,
    },
    /// A line comes after this one, which should come after it.
    OutOfOrder(u64),
    /// A line stands here although it, or another one of its number, was there before this one.
    Again {
        /// The last line before it.
        after: u64,
        /// Whether it is that line once more.
        is_same: bool,
    },
    /// A line that does not belong here.
    Inserted,
    /// Lines of another gateway.
    Foreign(String),
    /// Something that is no record.
    NoRecord,
    /// Something without an end, of more than a megabyte.
    TooLong,
    /// A line that is not finished, although another file comes after its own.
    Unfinished,
    /// The rest of a file cannot be decompressed.
    Damaged(String),
    /// The trail begins with this line, and does not say why.
    Begins {
        /// Its first line.
        first: u64,
        /// Whether it says something that does not fit.
        is_said_otherwise: bool,
    },
    /// The trail fits together, but it is another one than this checkpoint was made of.
    Rewritten {
        /// When the checkpoint was made, in milliseconds since 1970.
        time: u64,
        /// The last line that a checkpoint before it still fits.
        since: Option<u64>,
    },
    /// The trail ends before a line that this checkpoint was made of.
    Cut {
        /// Its last line.
        last: u64,
        /// The line of the checkpoint.
        checkpoint: u64,
        /// When the checkpoint was made, in milliseconds since 1970.
        time: u64,
    },
    /// Lines up to this one are lost, as the gateway found when it started, and others have their numbers.
    Lost(u64),
    /// A checkpoint of another gateway's trail.
    OtherTrail(String),
    /// Checkpoints that nobody can go by.
    Checkpoints {
        /// What is wrong with them.
        trouble: Trouble,
        /// Which one of the file is the first.
        number: u64,
        /// How many there are.
        count: u64,
        /// The file.
        file: PathBuf,
    },
}

impl Fault {
    pub(super) fn of_checkpoints(troubled: &Troubled) -> Self {
        let Troubled { trouble, file, number, sequence, count } = troubled;
        let kind =
            FaultKind::Checkpoints { trouble: *trouble, number: *number, count: *count, file: file.clone() };
        Self { sequence: sequence.unwrap_or_default(), at: None, kind }
    }
}

impl FaultKind {
    /// Its name, for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Changed(_) => "changed",
            Self::Joined(_) => "joined",
            Self::Missing { .. } => "missing",
            Self::OutOfOrder(_) => "out_of_order",
            Self::Again { is_same: true, .. } => "duplicated",
            Self::Again { .. } => "again",
            Self::Inserted => "inserted",
            Self::Foreign(_) => "foreign",
            Self::NoRecord => "no_record",
            Self::TooLong => "too_long",
            Self::Unfinished => "unfinished",
            Self::Damaged(_) => "damaged",
            Self::Begins { .. } => "begins_late",
            Self::Rewritten { .. } => "written_anew",
            Self::Cut { .. } => "cut",
            Self::Lost(_) => "lost",
            Self::OtherTrail(_) => "checkpoint_of_another_trail",
            Self::Checkpoints { trouble: Trouble::OutOfOrder, .. } => "checkpoints_out_of_order",
            Self::Checkpoints { trouble: Trouble::Untrusted(error), .. } => match error {
                CheckpointError::BadSignature => "checkpoint_signature_wrong",
                CheckpointError::OtherKey => "checkpoint_of_another_key",
                _ => "checkpoint_unreadable",
            },
        }
    }
}

/// One sentence, without its full stop.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.sequence;
        match &self.kind {
            FaultKind::Changed(Witness::Next) => {
                write!(
                    f,
                    "line {line} was changed: line {} was written after another one",
                    line.saturating_add(1)
                )
            }
            FaultKind::Changed(Witness::Itself) => {
                write!(f, "line {line} was changed: what it says of its own place does not fit")
            }
            FaultKind::Changed(Witness::Checkpoint(time)) => {
                write!(
                    f,
                    "line {line} was changed: the checkpoint of {} was made of another one",
                    date_time(*time)
                )
            }
            FaultKind::Joined(last) => {
                write!(f, "lines {line} to {last} were changed: the line breaks between them are gone")
            }
            FaultKind::Missing { last, is_between_files } => {
                let where_from =
                    if *is_between_files { ", as if a file between two others were missing" } else { "" };
                match line == *last {
                    true => write!(f, "line {line} is missing{where_from}"),
                    false => write!(f, "lines {line} to {last} are missing{where_from}"),
                }
            }
            FaultKind::OutOfOrder(after) => write!(f, "line {line} comes after line {after}"),
            FaultKind::Again { is_same: true, .. } => write!(f, "line {line} stands here twice"),
            FaultKind::Again { after, .. } => {
                write!(f, "a line {line} stands here once more, after line {after}")
            }
            FaultKind::Inserted => {
                write!(
                    f,
                    "a line was inserted that calls itself line {line} and does not belong to the trail"
                )
            }
            FaultKind::Foreign(instance) => {
                write!(
                    f,
                    "from here on stand lines of another gateway, {}, where line {line} should be",
                    clean(instance)
                )
            }
            FaultKind::NoRecord => {
                write!(f, "something that is no record stands where line {line} should be")
            }
            FaultKind::TooLong => {
                write!(
                    f,
                    "something of more than 1 MiB without a line break stands where line {line} should be"
                )
            }
            FaultKind::Unfinished => write!(f, "line {line} is not finished, although another file follows"),
            FaultKind::Damaged(why) => {
                write!(f, "from line {line} on the file cannot be decompressed: {}", clean(why))
            }
            FaultKind::Begins { first, is_said_otherwise } => {
                let said = match is_said_otherwise {
                    true => "and what the trail says of the lines it deleted does not fit",
                    false => "and nothing in the trail says that the lines before it were deleted",
                };
                write!(f, "the trail begins with line {first}, {said}")
            }
            FaultKind::Rewritten { time, since } => {
                let time = date_time(*time);
                write!(
                    f,
                    "the trail was written anew: the checkpoint of {time} was made of another line {line}"
                )?;
                match since {
                    Some(since) => write!(f, "; the last checkpoint that fits is of line {since}"),
                    None => f.write_str("; no checkpoint before it fits"),
                }
            }
            FaultKind::Cut { last, checkpoint, time } => {
                let time = date_time(*time);
                write!(
                    f,
                    "the end is missing: the trail had {checkpoint} lines, says the checkpoint of {time}, and ends with line {last}"
                )
            }
            FaultKind::Lost(last) => {
                let lines =
                    if line == *last { format!("line {line}") } else { format!("lines {line} to {last}") };
                write!(
                    f,
                    "{lines} were there when a checkpoint was made, and were lost when the gateway started, as it says itself"
                )
            }
            FaultKind::OtherTrail(instance) => {
                write!(f, "a checkpoint for line {line} is of another gateway's trail, {}", clean(instance))
            }
            FaultKind::Checkpoints { trouble, number, count, file } => {
                let what = match trouble {
                    Trouble::Untrusted(error) => error.to_string(),
                    Trouble::OutOfOrder => "it is of an earlier line than the one before it".to_owned(),
                };
                write!(
                    f,
                    "checkpoint {number} in {} cannot be trusted: {what}",
                    clean(&file.to_string_lossy())
                )?;
                match count {
                    0 | 1 => Ok(()),
                    _ => write!(f, "; {} more like it", count - 1),
                }
            }
        }
    }
}
