//! What is known of a trail, in words and as a document.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Fault, Verdict, Verification, milliseconds};
use crate::trail::source::At;
use crate::trail::{date_time, paint};
use crate::unseen::clean;

const GREEN: &str = "1;32";
const RED: &str = "1;31";
const YELLOW: &str = "33";
const BOLD: &str = "1";

impl Verification {
    /// In one sentence.
    pub fn sentence(&self) -> String {
        match self.verdict() {
            Verdict::Whole => "The trail is whole".to_owned(),
            Verdict::NotWhole => match self.first_bad() {
                Some(fault) => format!("The trail is not whole; the first fault is at line {}", fault.sequence),
                None => "The trail is not whole".to_owned(),
            },
            Verdict::Empty => "There is no line, so there is nothing to verify".to_owned(),
            Verdict::Unsigned => {
                "Nothing is wrong with the chain, but no checkpoint of this key covers it, so nobody vouches for it".to_owned()
            }
        }
    }

    /// The fault of the line with the lowest number; checkpoints that nobody can go by count last.
    pub fn first_bad(&self) -> Option<&Fault> {
        let numbered = || self.faults.iter().filter(|fault| fault.sequence > 0);
        let of_lines = numbered().filter(|fault| fault.at.is_some());
        of_lines.min_by_key(|fault| fault.sequence).or_else(|| numbered().next())
    }

    /// For people.
    pub fn render(&self, colour: bool) -> String {
        let mut text = String::new();
        let code = match self.verdict() {
            Verdict::Whole => GREEN,
            Verdict::NotWhole => RED,
            Verdict::Empty | Verdict::Unsigned => YELLOW,
        };
        for fault in &self.faults {
            let place = fault.at.map(|at| format!(" ({})", self.place(at))).unwrap_or_default();
            // Writing into memory does not fail, here and below.
            let _ = writeln!(text, "{}{place}", paint(&format!("  {fault}"), RED, colour));
        }
        if self.fault_count > self.faults.len() as u64 {
            let _ = writeln!(text, "  and {} more", self.fault_count - self.faults.len() as u64);
        }
        for (label, value) in self.rows() {
            let _ = writeln!(text, "  {}{value}", paint(&format!("{label:<13}"), BOLD, colour));
        }
        format!("{}\n{text}", paint(&self.sentence(), code, colour))
    }

    /// What is known, in rows with a label each.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![("lines", self.lines_row())];
        if let Some(last) = self.last {
            let runs = counted(self.runs, "run", "runs");
            rows.push(("written by", format!("{}, in {runs}", clean(&self.instances.join(", ")))));
            rows.push(("last line", format!("{last}, SHA-256 {}", self.last_hash)));
        }
        rows.push(("checkpoints", self.checkpoints_row()));
        rows.push(("signatures", self.signatures_row().to_owned()));
        if self.last.is_some() {
            rows.push(("not signed", self.not_signed_row()));
        }
        if self.unfinished_bytes > 0 {
            let bytes = counted(self.unfinished_bytes as u64, "byte", "bytes");
            let unfinished = format!("{bytes} of a line that is being written, or was when the gateway died");
            rows.push(("unfinished", unfinished));
        }
        rows
    }

    fn lines_row(&self) -> String {
        let files = counted(self.files.len() as u64, "file", "files");
        let count = counted(self.lines, "line", "lines");
        let (Some(first), Some(last)) = (self.first, self.last) else { return format!("{count} in {files}") };
        let signed = self.last_checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.sequence);
        let before = match self.deleted_in {
            Some(line) if line > signed => {
                format!("; line {line}, which no checkpoint covers yet, says that those before were deleted")
            }
            Some(line) => format!("; those before were deleted, says line {line}"),
            None => String::new(),
        };
        format!("{first} to {last}: {count} in {files}, {} bytes{before}", self.bytes)
    }

    fn checkpoints_row(&self) -> String {
        if self.checkpoints == 0 {
            return "none, so nobody can tell whether the end was cut, or all of it was written anew"
                .to_owned();
        }
        let older = match self.older {
            0 => String::new(),
            older => format!("; {older} of lines before the first one"),
        };
        let fitting = format!("{} of {} fit{older}", self.fitting, self.checkpoints);
        match &self.last_checkpoint {
            Some(last) => {
                format!("{fitting}; the last is of line {}, {}", last.sequence, date_time(milliseconds(last)))
            }
            None => fitting,
        }
    }

    fn signatures_row(&self) -> &'static str {
        match (self.checkpoints, self.is_signature_checked) {
            (0, _) => "none",
            (_, true) => "checked, with the key that was given",
            (_, false) => "NOT CHECKED: without --key anybody could have made these checkpoints",
        }
    }

    fn not_signed_row(&self) -> String {
        match (self.lines_after_checkpoint(), &self.last_checkpoint) {
            (0, _) => "none: the last checkpoint is of the last line".to_owned(),
            (count, Some(_)) => {
                let lines = counted(count, "line", "lines");
                format!("{lines} after the last checkpoint: chained, but not signed")
            }
            (count, None) => format!("{}: chained, but not signed", counted(count, "line", "lines")),
        }
    }

    /// Where a line stands, as `file:line`.
    pub fn place(&self, at: At) -> String {
        let file = self.files.get(at.file.saturating_sub(1)).map(|file| file.display().to_string());
        format!("{}:{}", clean(&file.unwrap_or_default()), at.line)
    }

    /// For programs.
    pub fn document(&self) -> impl Serialize + use<'_> {
        let verdict = match self.verdict() {
            Verdict::Whole => "whole",
            Verdict::NotWhole => "not_whole",
            Verdict::Empty => "empty",
            Verdict::Unsigned => "unsigned",
        };
        let fault = |fault: &Fault| FaultDocument {
            fault: fault.kind.name(),
            sequence: fault.sequence,
            file: fault
                .at
                .and_then(|at| Some(self.files.get(at.file.checked_sub(1)?)?.display().to_string())),
            line: fault.at.map(|at| at.line),
            says: fault.to_string(),
        };
        Document {
            verdict,
            says: self.sentence(),
            first_bad: self.first_bad().map(|fault| fault.sequence),
            files: self.files.iter().map(|file| file.display().to_string()).collect(),
            lines: self.lines,
            bytes: self.bytes,
            first: self.first,
            last: self.last,
            last_hash: self.last.map(|_| self.last_hash.to_string()),
            instances: &self.instances,
            runs: self.runs,
            deleted_in: self.deleted_in,
            unfinished_bytes: self.unfinished_bytes,
            checkpoints: CheckpointsDocument {
                count: self.checkpoints,
                fitting: self.fitting,
                older: self.older,
                signatures_checked: self.is_signature_checked,
                last: self.last_checkpoint.as_ref().map(|checkpoint| checkpoint.sequence),
                last_time: self.last_checkpoint.as_ref().map(milliseconds),
                lines_after: self.lines_after_checkpoint(),
            },
            fault_count: self.fault_count,
            faults: self.faults.iter().map(fault).collect(),
        }
    }
}

/// A number and what is counted.
pub fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

#[derive(Serialize)]
struct Document<'a> {
    verdict: &'static str,
    says: String,
    first_bad: Option<u64>,
    files: Vec<String>,
    lines: u64,
    bytes: u64,
    first: Option<u64>,
    last: Option<u64>,
    last_hash: Option<String>,
    instances: &'a [String],
    runs: u64,
    deleted_in: Option<u64>,
    unfinished_bytes: usize,
    checkpoints: CheckpointsDocument,
    fault_count: u64,
    faults: Vec<FaultDocument>,
}

#[derive(Serialize)]
struct CheckpointsDocument {
    count: u64,
    fitting: u64,
    older: u64,
    signatures_checked: bool,
    last: Option<u64>,
    last_time: Option<u64>,
    lines_after: u64,
}

#[derive(Serialize)]
struct FaultDocument {
    fault: &'static str,
    sequence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    says: String,
}
