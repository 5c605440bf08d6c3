//! A trail of forty lines in three files, and the program that reads it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use obo_gateway::audit::checkpoint::{Checkpoint, CheckpointKey};
use obo_gateway::audit::files::{self, ClosedFile};
use obo_gateway::audit::link::{Chain, Instance, LineHash, Link};
use serde_json::Value;
use tempfile::TempDir;

use crate::records::{Call, TIME, add, mark};

/// The first lines of the files.
pub const FIRSTS: [u64; 3] = [1, 16, 31];
/// How many lines there are.
pub const LINES: u64 = 40;
/// A checkpoint is made after so many lines.
const CHECKPOINT_STEP: u64 = 10;

pub fn instance(name: &str) -> Instance {
    Instance::parse(name).expect("a name")
}

/// The lines of a file, without line breaks.
pub type Lines = Vec<Vec<u8>>;

/// A trail that can be tampered with before it is written.
pub struct TrailBed {
    pub folder: TempDir,
    pub key: CheckpointKey,
    /// Two closed files, of which the first is compressed, and the one that is being written.
    pub files: Vec<Lines>,
    /// What stands behind the last line break.
    pub unfinished: Vec<u8>,
    pub checkpoints: Vec<String>,
}

impl TrailBed {
    /// A good one: 1 is the mark of a start, 21 the mark of another one.
    pub fn new() -> Self {
        let mut bed = Self {
            folder: tempfile::tempdir().expect("a folder"),
            key: CheckpointKey::generate(instance("gateway-1")),
            files: Vec::new(),
            unfinished: Vec::new(),
            checkpoints: Vec::new(),
        };
        bed.write_anew_from(1, |_| {});
        bed
    }

    /// Writes the trail again from a line on, with other calls, as somebody could who knows the form.
    pub fn write_anew_from(&mut self, first: u64, change: impl Fn(&mut Call<'_>)) {
        let kept: Lines = self.lines().filter(|line| sequence(line) < first).cloned().collect();
        let hash = kept.last().map_or(LineHash::NONE, |line| LineHash::of(line));
        let mut lines: Vec<u8> = kept.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect();
        let mut chain = Chain::after(first - 1, hash, instance("gateway-1"), if first > 21 { 2 } else { 1 });
        self.checkpoints.truncate(usize::try_from((first - 1) / CHECKPOINT_STEP).expect("a small number"));
        for number in first..=LINES {
            let start = || r#","configuration":"00","durability":"process""#;
            let record = match number {
                1 => mark("boot", start(), TIME),
                21 => {
                    chain = Chain::after(20, chain.hash(), instance("gateway-1"), 2);
                    mark("boot", start(), TIME + 21 * 250)
                }
                _ => {
                    let mut call = Call::number(number);
                    change(&mut call);
                    call.record()
                }
            };
            add(&mut chain, &record, &mut lines);
            if number % CHECKPOINT_STEP == 0 {
                self.checkpoints.push(self.checkpoint(number, chain.hash()));
            }
        }
        let mut lines: Lines = split(&lines);
        let last = lines.split_off(30);
        let middle = lines.split_off(15);
        self.files = vec![lines, middle, last];
    }

    /// A checkpoint by the gateway's own key.
    pub fn checkpoint(&self, sequence: u64, hash: LineHash) -> String {
        self.checkpoint_of_run(if sequence > 20 { 2 } else { 1 }, sequence, hash)
    }

    /// A checkpoint that this run made.
    pub fn checkpoint_of_run(&self, boot: u64, sequence: u64, hash: LineHash) -> String {
        let time = Duration::from_millis(TIME + sequence * 250);
        self.key.sign(&Checkpoint { instance: instance("gateway-1"), sequence, hash, boot, time })
    }

    pub fn lines(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.files.iter().flatten()
    }

    /// The line of this number, where it was at first.
    pub fn line(&mut self, number: u64) -> &mut Vec<u8> {
        let file = FIRSTS.iter().rposition(|first| *first <= number).expect("a line of the trail");
        &mut self.files[file][usize::try_from(number - FIRSTS[file]).expect("a small number")]
    }

    /// The file that a line is in, and where it is there.
    pub fn place(&mut self, number: u64) -> (&mut Lines, usize) {
        let file = FIRSTS.iter().rposition(|first| *first <= number).expect("a line of the trail");
        (&mut self.files[file], usize::try_from(number - FIRSTS[file]).expect("a small number"))
    }

    pub fn trail(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    /// Writes the files that there are.
    pub fn write(&self) {
        for (lines, first) in self.files.iter().zip(FIRSTS).filter(|(lines, _)| !lines.is_empty()) {
            let mut text: Vec<u8> = lines.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect();
            let closed = ClosedFile::of(&self.trail(), first);
            match first {
                1 => {
                    let compressed = zstd::encode_all(text.as_slice(), 3).expect("it is compressed");
                    fs::write(closed.compressed(), compressed).expect("written");
                }
                31 => {
                    text.extend_from_slice(&self.unfinished);
                    fs::write(self.trail(), text).expect("written");
                }
                _ => fs::write(&closed.path, text).expect("written"),
            }
        }
        let notes: String = self.checkpoints.iter().map(|note| format!("{note}\n")).collect();
        if !notes.is_empty() {
            fs::write(files::checkpoints(&self.trail()), notes).expect("written");
        }
    }

    /// What `verify` makes of the trail with the gateway's key.
    pub fn verify(&self) -> Verified {
        let key = self.key.public().to_string();
        let trail = self.trail().display().to_string();
        verify(&[&trail, "--key", &key])
    }
}

/// What `verify` says.
pub struct Verified {
    pub code: Option<i32>,
    pub document: Value,
}

impl Verified {
    /// What is wrong, in a word each.
    pub fn faults(&self) -> Vec<&str> {
        let faults = self.document["faults"].as_array().expect("a list");
        faults.iter().map(|fault| fault["fault"].as_str().expect("a word")).collect()
    }

    /// What is wrong, in sentences.
    pub fn says(&self) -> Vec<&str> {
        let faults = self.document["faults"].as_array().expect("a list");
        faults.iter().map(|fault| fault["says"].as_str().expect("a sentence")).collect()
    }

    pub fn first_bad(&self) -> Option<u64> {
        self.document["first_bad"].as_u64()
    }
}

pub fn verify(arguments: &[&str]) -> Verified {
    let output = run(&[&["verify", "--json"], arguments].concat());
    let document =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| Value::String(text(&output.stderr)));
    Verified { code: output.status.code(), document }
}

/// Runs a command of `obo-gateway audit`.
pub fn run(arguments: &[&str]) -> Output {
    let mut command = program();
    command.args(arguments).stdin(Stdio::null()).output().expect("the program runs")
}

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_obo-gateway"));
    command.arg("audit").env_remove("COLUMNS");
    command
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Lines without their line breaks.
pub fn split(lines: &[u8]) -> Lines {
    let lines = lines.strip_suffix(b"\n").unwrap_or(lines);
    lines.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

pub fn sequence(line: &[u8]) -> u64 {
    Link::of(line).expect("a link").sequence
}
