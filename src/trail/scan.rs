//! Goes through a trail for the records that are asked for, without holding them.
//!
//! A line is parsed only when it holds what a record that is asked for has to hold: that is what makes it fast.

use std::io;
use std::ops::ControlFlow;

use super::filter::Filter;
use super::lines::Text;
use super::record::Record;
use super::{Progress, Trail, TrailError};

/// After how many lines the bar is drawn anew.
const PROGRESS_LINES: u64 = 4_096;

/// Why a trail was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// It cannot be read.
    #[error(transparent)]
    Trail(#[from] TrailError),
    /// What was found cannot be written.
    #[error("cannot write")]
    Output(#[from] io::Error),
}

/// What was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scanned {
    /// Lines.
    pub lines: u64,
    /// Records that were asked for.
    pub found: u64,
    /// Lines that are no records, among those that had to be looked at; and what cannot be decompressed.
    pub unreadable: u64,
}

impl Scanned {
    /// What somebody who relies on the result has to know of it, if anything.
    pub fn warning(&self) -> Option<String> {
        (self.unreadable > 0).then(|| {
            format!(
                "{} could not be read, so something may be missing here; `obo-gateway audit verify` tells more",
                super::verify::counted(self.unreadable, "line", "lines")
            )
        })
    }
}

/// Gives each record that is asked for, with its line, to `each`, up to line `last`, until that breaks off.
///
/// # Errors
///
/// [`ScanError`].
pub fn scan(
    trail: Trail,
    filter: &Filter,
    last: Option<u64>,
    progress: &mut Progress,
    mut each: impl FnMut(&Record<'_>, &[u8]) -> io::Result<ControlFlow<()>>,
) -> Result<Scanned, ScanError> {
    let mut scanned = Scanned::default();
    let mut lines = trail.lines();
    while last.is_none_or(|last| scanned.lines < last) {
        match lines.next_text()? {
            None => break,
            Some((Text::Line(line), _)) => {
                scanned.lines += 1;
                if is_cut(line) {
                    scanned.unreadable += 1;
                } else if filter.may_match(line) {
                    match Record::parse(line) {
                        Some(record) if filter.matches(&record) => {
                            scanned.found += 1;
                            if each(&record, line)?.is_break() {
                                break;
                            }
                        }
                        Some(_) => {}
                        None => scanned.unreadable += 1,
                    }
                }
            }
            Some((Text::TooLong | Text::Damaged(_), _)) => scanned.unreadable += 1,
            // It is being written, or was when the gateway died: nobody had been answered on its account.
            Some((Text::Unfinished(_), _)) => {}
        }
        if scanned.lines.is_multiple_of(PROGRESS_LINES) {
            progress.show(lines.bytes());
        }
    }
    Ok(scanned)
}

/// Whether a line is no object, as far as its ends tell.
fn is_cut(line: &[u8]) -> bool {
    !line.starts_with(b"{") || !line.ends_with(b"}")
}
