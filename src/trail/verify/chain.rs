//! Follows the chain of a trail, line by line, and finds its way back after a fault.
//!
//! Two ends are kept at any time: the one that the last line was added to, and, after a line that did not fit, the one before
//! it. A line that fits neither is a fault; a line that fits the other one tells what the last fault was: a line that is only
//! missing here and stands elsewhere, or one that was inserted. So one deed is one fault, and nothing else has to be remembered.

use memchr::memmem;

use super::fault::{Fault, FaultKind, Witness};
use crate::audit::link::{LineHash, Link};
use crate::trail::source::At;

/// Most faults that are told one by one.
pub const FAULTS_MAX: usize = 100;
/// Most names of gateways that are told.
const INSTANCES_MAX: usize = 16;
/// Hexadecimal digits in which two hashes of different lines agree by chance: four of 64 on average, and never half of them.
const ALIKE_DIGITS_MIN: usize = 32;
/// Stands once in each line.
const PREVIOUS: &[u8] = br#"{"name":"previous","value":""#;

/// The end of a chain.
#[derive(Clone, Debug)]
struct End {
    /// The number of the next line.
    next: u64,
    /// The hash of the last one.
    hash: LineHash,
    instance: Box<str>,
    boot: [u8; 16],
    /// Whether the last line is known to be wrong, so that what is said of it is no other fault.
    is_blamed: bool,
    /// What the last line, which is wrong, would have the next one be called.
    renumbered: Option<u64>,
    /// Whether something stands behind the last line that is no record: nobody knows in the place of how many lines.
    is_lost: bool,
}

impl End {
    fn fits(&self, link: &Link<'_>) -> bool {
        link.previous == self.hash && link.sequence == self.next
    }

    /// Whether a line takes the place after what is known to be wrong.
    fn excuses(&self, link: &Link<'_>) -> bool {
        let is_renumbered = self.renumbered == Some(link.sequence) && link.previous == self.hash;
        let is_next = link.sequence == self.next || is_renumbered;
        *link.instance == *self.instance
            && (self.is_blamed && is_next || self.is_lost && link.sequence >= self.next)
    }
}

/// What the trail says of its first line.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// Its number.
    pub first: u64,
    /// The hash of the line before it; `None` where that cannot be read.
    pub previous: Option<LineHash>,
    /// Where it stands.
    pub at: At,
}

/// How a line was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Its number.
    pub sequence: u64,
    /// Its hash.
    pub hash: LineHash,
    /// Whether it does not fit, so that what else is said of it is no other fault.
    pub is_doubtful: bool,
}

/// A line that a checkpoint alone says is another one.
struct Doubted {
    fault: usize,
    since: Option<u64>,
}

/// Follows a chain.
pub struct ChainReader {
    end: End,
    other: Option<End>,
    /// The faults that are told.
    pub faults: Vec<Fault>,
    /// How many there are.
    pub fault_count: u64,
    /// The last fault, while what comes may still tell more of it.
    open: Option<usize>,
    doubted: Option<Doubted>,
    /// Whether the chain goes on from a line that a checkpoint says is another one.
    pub is_rewritten: bool,
    /// The first line, once there is one.
    pub beginning: Option<Beginning>,
    /// Lines before the first record that are none.
    junk_before: u64,
    /// Where the last line stands.
    last_at: Option<At>,
    /// The gateways that wrote it.
    pub instances: Vec<String>,
    /// How many runs of gateways wrote it.
    pub runs: u64,
    /// The highest number of a line; 0 before the first.
    pub last: u64,
}

impl Default for ChainReader {
    /// Before the first line.
    fn default() -> Self {
        let end = End {
            next: 1,
            hash: LineHash::NONE,
            instance: "".into(),
            boot: [0; 16],
            is_blamed: false,
            renumbered: None,
            is_lost: false,
        };
        Self {
            end,
            other: None,
            faults: Vec::new(),
            fault_count: 0,
            open: None,
            doubted: None,
            is_rewritten: false,
            beginning: None,
            junk_before: 0,
            last_at: None,
            instances: Vec::new(),
            runs: 0,
            last: 0,
        }
    }
}

impl ChainReader {
    /// The hash of the last line.
    pub fn hash(&self) -> LineHash {
        self.end.hash
    }

    /// The run that wrote the last line.
    pub fn boot(&self) -> u64 {
        let boot = std::str::from_utf8(&self.end.boot).ok();
        boot.and_then(|boot| u64::from_str_radix(boot, 16).ok()).unwrap_or_default()
    }

    /// Whether a line is the next one.
    pub fn is_next(&self, line: &[u8]) -> bool {
        Link::of(line).is_some_and(|link| self.end.fits(&link))
    }

    /// Goes on with a line. `None` when it is none of the trail's.
    pub fn line(&mut self, line: &[u8], at: At) -> Option<Taken> {
        let Some(link) = Link::of(line).filter(|_| line.starts_with(b"{")) else {
            self.no_record(FaultKind::NoRecord, at);
            return None;
        };
        let hash = LineHash::of(line);
        let taken = if self.end.fits(&link) {
            Some(self.fitting(&link, hash, at))
        } else if self.other.as_ref().is_some_and(|other| other.fits(&link)) {
            self.turn_back();
            Some(self.take(&link, link.sequence, hash))
        } else {
            self.misfit(line, &link, hash, at)
        };
        self.last_at = Some(at);
        taken
    }

    /// A line that stands where it should.
    fn fitting(&mut self, link: &Link<'_>, hash: LineHash, at: At) -> Taken {
        if let Some(Doubted { fault, since }) = self.doubted.take()
            && let Some(fault) = self.faults.get_mut(fault)
            && let FaultKind::Changed(Witness::Checkpoint(time)) = fault.kind
        {
            // A checkpoint is of another line than the one that the chain goes on from.
            fault.kind = FaultKind::Rewritten { time, since };
            self.is_rewritten = true;
        }
        if let Some(fault) = self.open.and_then(|open| self.faults.get_mut(open))
            && fault.kind == FaultKind::OutOfOrder(link.sequence)
            && self.other.is_some()
        {
            // What was taken for a line in the wrong place was one more of its number.
            let after = fault.sequence.saturating_sub(1);
            (fault.sequence, fault.kind) = (link.sequence, FaultKind::Again { after, is_same: false });
            self.other = None;
        }
        let is_first = self.beginning.is_none();
        let is_another = !is_first && *link.instance != *self.end.instance;
        if is_first {
            self.begin_with(link.sequence, link.previous, at);
        } else if is_another && link.boot.as_bytes() == self.end.boot {
            // Within one run nobody changes its name.
            self.fault(link.sequence, FaultKind::Changed(Witness::Itself), at);
            return self.take_blamed(link, link.sequence, hash);
        }
        if is_first || link.boot.as_bytes() != self.end.boot {
            self.runs += 1;
        }
        if is_first || is_another {
            self.know(link.instance);
        }
        self.take(link, link.sequence, hash)
    }

    fn know(&mut self, instance: &str) {
        let is_known = self.instances.iter().any(|known| known == instance);
        if !is_known && self.instances.len() < INSTANCES_MAX {
            self.instances.push(instance.to_owned());
        }
    }

    /// Makes a line the last one.
    fn take(&mut self, link: &Link<'_>, sequence: u64, hash: LineHash) -> Taken {
        let end = &mut self.end;
        if *link.instance != *end.instance {
            end.instance = link.instance.into();
        }
        end.boot.copy_from_slice(link.boot.as_bytes());
        (end.next, end.hash) = (sequence.saturating_add(1), hash);
        (end.is_blamed, end.renumbered, end.is_lost) = (false, None, false);
        self.last = self.last.max(sequence);
        if self.other.as_ref().is_some_and(|other| (other.next, other.hash) == (end.next, end.hash)) {
            self.other = None;
        }
        Taken { sequence, hash, is_doubtful: false }
    }

    /// Makes a line the last one that is known to be wrong. Who wrote it is not taken from it.
    fn take_blamed(&mut self, link: &Link<'_>, sequence: u64, hash: LineHash) -> Taken {
        let (instance, boot) = (self.end.instance.clone(), self.end.boot);
        let taken = self.take(link, sequence, hash);
        (self.end.instance, self.end.boot, self.end.is_blamed) = (instance, boot, true);
        Taken { is_doubtful: true, ..taken }
    }

    /// A line that fits neither end.
    fn misfit(&mut self, line: &[u8], link: &Link<'_>, hash: LineHash, at: At) -> Option<Taken> {
        self.doubted = None;
        if self.beginning.is_none() {
            return Some(self.begin(link, hash, at));
        }
        let (number, next) = (link.sequence, self.end.next);
        if self.end.excuses(link) {
            return Some(self.take(link, number, hash));
        }
        if link.previous == self.end.hash {
            // It stands where it should, and has another number.
            self.fault(next, FaultKind::Changed(Witness::Itself), at);
            let taken = self.take_blamed(link, next, hash);
            self.end.renumbered = Some(number.saturating_add(1));
            return Some(taken);
        }
        if number < next && *link.instance == *self.end.instance {
            let after = next - 1;
            self.fault(number, FaultKind::Again { after, is_same: hash == self.end.hash }, at);
            // The trail goes on from where it was, or from here.
            let mut other = self.end.clone();
            (other.next, other.hash, other.is_blamed) = (number.saturating_add(1), hash, false);
            self.other = Some(other).filter(|other| (other.next, other.hash) != (next, self.end.hash));
            return None;
        }
        let (sequence, kind, where_at) = match number {
            _ if *link.instance != *self.end.instance => {
                (next, FaultKind::Foreign(link.instance.to_owned()), at)
            }
            _ if number > next && memmem::find_iter(line, PREVIOUS).nth(1).is_some() => {
                self.fault(next, FaultKind::Joined(number), at);
                return Some(self.take_blamed(link, number, hash));
            }
            _ if number > next => {
                let is_between_files = at.line == 1 && at.file > 1;
                (next, FaultKind::Missing { last: number - 1, is_between_files }, at)
            }
            _ if are_alike(link.previous, self.end.hash) => {
                self.fault(number, FaultKind::Changed(Witness::Itself), at);
                return Some(self.take_blamed(link, number, hash));
            }
            _ => (number - 1, FaultKind::Changed(Witness::Next), self.last_at.unwrap_or(at)),
        };
        let before = self.end.clone();
        self.fault(sequence, kind, where_at);
        let taken = self.take(link, number, hash);
        self.other = Some(before);
        Some(Taken { is_doubtful: true, ..taken })
    }

    /// The first record, when it is not number 1 after nothing.
    fn begin(&mut self, link: &Link<'_>, hash: LineHash, at: At) -> Taken {
        self.runs = 1;
        self.know(link.instance);
        if link.previous != LineHash::NONE && link.sequence != 1 {
            self.begin_with(link.sequence, link.previous, at);
            return self.take(link, link.sequence, hash);
        }
        // It is the first of all, and says it wrongly.
        self.end.instance = link.instance.into();
        self.begin_with(1, LineHash::NONE, at);
        self.fault(1, FaultKind::Changed(Witness::Itself), at);
        let taken = self.take_blamed(link, 1, hash);
        self.end.renumbered = Some(link.sequence.saturating_add(1));
        taken
    }

    fn begin_with(&mut self, number: u64, previous: LineHash, at: At) {
        let first = number.saturating_sub(self.junk_before).max(1);
        let previous = (self.junk_before == 0).then_some(previous);
        self.beginning = Some(Beginning { first, previous, at });
    }

    /// What fits the other end turns the last fault into what it was.
    fn turn_back(&mut self) {
        let Some(other) = self.other.as_mut() else { return };
        std::mem::swap(&mut self.end, other);
        let early = other.next.saturating_sub(1);
        let Some(fault) = self.open.and_then(|open| self.faults.get_mut(open)) else { return };
        match &fault.kind {
            FaultKind::Missing { .. } => fault.kind = FaultKind::OutOfOrder(early),
            FaultKind::Changed(Witness::Next) => {
                (fault.sequence, fault.kind) = (early, FaultKind::Inserted);
                fault.at = self.last_at;
            }
            _ => {}
        }
    }

    /// What stands here is no record, for one reason or the other. Several of the kind in a row are one fault.
    pub fn no_record(&mut self, kind: FaultKind, at: At) {
        self.doubted = None;
        if self.beginning.is_none() {
            // Nobody knows how many lines there were in what cannot be decompressed.
            let lines = if matches!(kind, FaultKind::Damaged(_)) { u64::MAX } else { 1 };
            self.junk_before = self.junk_before.saturating_add(lines);
        }
        if !self.end.is_lost {
            self.fault(self.end.next, kind, at);
        }
        (self.end.is_lost, self.end.is_blamed) = (true, true);
        self.last_at = Some(at);
    }

    /// A checkpoint was made of another line than the last one. The one before it that fits is of line `since`.
    pub fn contradicted(&mut self, sequence: u64, time: u64, since: Option<u64>, at: At) {
        self.fault(sequence, FaultKind::Changed(Witness::Checkpoint(time)), at);
        self.end.is_blamed = true;
        self.doubted = self.open.map(|fault| Doubted { fault, since });
    }

    fn fault(&mut self, sequence: u64, kind: FaultKind, at: At) {
        self.add(Fault { sequence, at: Some(at), kind });
        self.open = (self.faults.len() as u64 == self.fault_count).then(|| self.faults.len() - 1);
        self.other = None;
    }

    /// Adds a fault that no line can tell more of.
    pub fn add(&mut self, fault: Fault) {
        self.fault_count += 1;
        self.open = None;
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }

    /// Adds a fault that stands before all others.
    pub fn add_first(&mut self, fault: Fault) {
        self.fault_count += 1;
        self.open = None;
        self.faults.insert(0, fault);
        self.faults.truncate(FAULTS_MAX);
    }
}

/// Whether two hashes are the same but for a few digits: then one of the texts was changed, and not what it is the hash of.
fn are_alike(one: LineHash, other: LineHash) -> bool {
    let (one, other) = (one.to_string(), other.to_string());
    one.bytes().zip(other.bytes()).filter(|(one, other)| one == other).count() >= ALIKE_DIGITS_MIN
}
