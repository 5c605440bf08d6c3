//! What agents have noticed, and what went on around them at the time.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::RECOVERY;
use crate::faults::Fault;
use crate::lane::Lane;
use crate::report::{Faults, Lines, count};

/// Most of what should not have happened that is described; all of it is counted.
const DESCRIBED_MAX: usize = 10;

/// What all agents together have noticed.
#[derive(Default)]
pub struct Notes {
    calls: AtomicUsize,
    answered: AtomicUsize,
    left: AtomicUsize,
    /// Answers that were for somebody else, or for another call.
    crossings: AtomicUsize,
    unexplained: AtomicUsize,
    /// Failures by their cause: the code of a refusal, what the connector said, or what became of the connection.
    failures: Mutex<BTreeMap<String, usize>>,
    described: Mutex<Vec<String>>,
    /// The calls whose answers began, by what the gateway calls them.
    begun: Mutex<Vec<Begun>>,
    injected: Mutex<Vec<Injected>>,
}

/// A call whose answer began.
#[derive(Clone)]
pub struct Begun {
    pub id: String,
    pub lane: Lane,
    pub success: bool,
}

/// How a call ended.
pub enum End {
    /// By the connector's answer, for whom it was.
    Answered,
    /// By an answer that was for somebody else.
    Crossed(String),
    /// The agent went away on purpose.
    Left,
    /// Otherwise, for this cause.
    Failed(String),
}

struct Injected {
    fault: Fault,
    from: Instant,
    /// When it was over; none while it lasts.
    until: Option<Instant>,
}

impl Notes {
    /// A call begins. Gives its number.
    pub fn call(&self) -> usize {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// Its answer began.
    pub fn begun(&self, begun: Begun) {
        self.begun.lock().expect("nobody panics here").push(begun);
    }

    /// It ended. `began` is when it had begun.
    pub fn end(&self, lane: Lane, began: Instant, end: End) {
        match end {
            End::Answered => _ = self.answered.fetch_add(1, Ordering::Relaxed),
            End::Left => _ = self.left.fetch_add(1, Ordering::Relaxed),
            End::Crossed(what) => {
                self.crossings.fetch_add(1, Ordering::Relaxed);
                self.describe(what);
            }
            End::Failed(cause) => {
                if !self.explains(&cause, began) {
                    self.unexplained.fetch_add(1, Ordering::Relaxed);
                    self.describe(format!("a call of lane {lane} failed and nothing explains it: {cause}"));
                }
                *self.failures.lock().expect("nobody panics here").entry(cause).or_default() += 1;
            }
        }
    }

    pub fn describe(&self, what: String) {
        let mut described = self.described.lock().expect("nobody panics here");
        if described.len() < DESCRIBED_MAX {
            described.push(what);
        }
    }

    /// A fault is injected. Gives its number.
    pub fn inject(&self, fault: Fault) -> usize {
        let mut injected = self.injected.lock().expect("nobody panics here");
        injected.push(Injected { fault, from: Instant::now(), until: None });
        injected.len() - 1
    }

    /// The fault of this number is over.
    pub fn over(&self, number: usize) {
        self.injected.lock().expect("nobody panics here")[number].until = Some(Instant::now());
    }

    /// Whether some fault between the call's begin and now can be the cause, or one that was over shortly before.
    fn explains(&self, cause: &str, began: Instant) -> bool {
        let injected = self.injected.lock().expect("nobody panics here");
        let lasted = |fault: &Injected| fault.until.is_none_or(|until| until + after(cause) >= began);
        injected.iter().any(|fault| {
            lasted(fault) && fault.fault.causes().contains(&cause) && fault.from <= Instant::now()
        })
    }

    pub fn crossings(&self) -> usize {
        self.crossings.load(Ordering::Relaxed)
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// How many calls may have no record: those whose agent went away may never have arrived.
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    pub fn all_begun(&self) -> Vec<Begun> {
        self.begun.lock().expect("nobody panics here").clone()
    }

    pub fn tell(&self, faults: &mut Faults, lines: &mut Lines) {
        let mut injected = BTreeMap::<&str, usize>::new();
        for fault in self.injected.lock().expect("nobody panics here").iter() {
            *injected.entry(fault.fault.name()).or_default() += 1;
        }
        lines.say("injected", joined(injected.iter().map(|(name, times)| format!("{times} × {name}"))));
        let failures = self.failures.lock().expect("nobody panics here").clone();
        let failed: usize = failures.values().sum();
        let (calls, answered, left) = (self.calls(), self.answered.load(Ordering::Relaxed), self.left());
        lines.say(
            "calls",
            format!(
                "{}: {} answered, {} failed, {} left by their agent",
                count(calls),
                count(answered),
                count(failed),
                count(left)
            ),
        );
        lines.say(
            "failures",
            joined(failures.iter().map(|(cause, times)| format!("{} {cause}", count(*times)))),
        );
        let unexplained = self.unexplained.load(Ordering::Relaxed);
        lines.say("unexplained", count(unexplained));
        faults.same("calls and their ends", answered + failed + left + self.crossings(), calls);
        faults.same("failures that nothing explains", unexplained, 0);
        // Whether anything of what it is about took place at all.
        faults.holds(answered * 2 > calls, || format!("{answered} of {calls} calls were answered"));
        faults.extend(self.described.lock().expect("nobody panics here").iter().cloned());
    }
}

/// How long after its fault a failure can still be its doing.
fn after(cause: &str) -> Duration {
    match cause {
        // A circuit stays open, and whoever was throttled is left alone.
        "connector_unavailable"
        | "connector_not_ready"
        | "connector_throttled"
        | "issuer_unavailable"
        | "issuer_throttled" => RECOVERY,
        // What was under way.
        _ => Duration::from_secs(2),
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    let text = parts.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "none".to_owned() } else { text }
}
