//! `obo-gateway audit stats`: how many calls, by whom, on what, with what outcome, and how long they took.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::ControlFlow;

use serde::Serialize;

use super::filter::Filter;
use super::record::{Kind, Record};
use super::scan::{ScanError, Scanned, scan};
use super::verify::counted;
use super::{Progress, Trail, date_time, paint};
use crate::unseen::clean;

/// Most names that are told apart in a group. What comes beyond is counted together.
const NAMES_MAX: usize = 100_000;
/// Steps of a duration between one power of two and the next: percentiles are right to 3 %.
const STEPS: usize = 32;
/// Powers of two up to 12 days in microseconds; longer ones count as that.
const POWERS: usize = 40;

/// What was counted.
#[derive(Default)]
pub struct Stats {
    /// Records of any kind.
    pub records: u64,
    /// Calls among them.
    pub calls: u64,
    /// Calls that the gateway refused.
    pub refused: u64,
    /// Records of exchanges, of revocations, and of what people do about them themselves.
    pub authentications: u64,
    /// Requests for the pages for people among them.
    pub pages: u64,
    /// Marks among them.
    pub marks: u64,
    /// When the first one ended, in milliseconds since 1970.
    pub from: Option<u64>,
    /// When the last one ended.
    pub to: Option<u64>,
    durations: Durations,
    people: Group,
    agents: Group,
    tools: Group,
    outcomes: Group,
    identities: Group,
}

/// Counts by name.
#[derive(Default)]
struct Group {
    counts: HashMap<Box<str>, u64>,
    others: u64,
}

impl Group {
    fn count(&mut self, name: &str) {
        self.count_up_to(name, NAMES_MAX);
    }

    fn count_up_to(&mut self, name: &str, names_max: usize) {
        if let Some(count) = self.counts.get_mut(name) {
            *count += 1;
        } else if self.counts.len() < names_max {
            self.counts.insert(name.into(), 1);
        } else {
            self.others += 1;
        }
    }

    /// The names that count most, and how much all others do.
    fn top(&self, count: usize) -> (Vec<(&str, u64)>, u64) {
        let mut names: Vec<_> = self.counts.iter().map(|(name, count)| (&**name, *count)).collect();
        names.sort_unstable_by(|(one, first), (other, second)| second.cmp(first).then(one.cmp(other)));
        let rest = names.split_off(count.min(names.len()));
        (names, self.others + rest.iter().map(|(_, count)| count).sum::<u64>())
    }
}

/// How many durations fell into each step.
struct Durations {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Durations {
    fn default() -> Self {
        Self { counts: vec![0; STEPS * POWERS], total: 0 }
    }
}

impl Durations {
    fn count(&mut self, us: u64) {
        let at = step(us).min(self.counts.len() - 1);
        self.counts[at] += 1;
        self.total += 1;
    }

    /// The duration that so many of a hundred calls did not exceed, in microseconds.
    fn percentile(&self, percent: u64) -> Option<u64> {
        let rank = self.total.checked_mul(percent)?.div_ceil(100).max(1);
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(middle(at))
    }
}

/// The step that a duration falls into: below 32 one for each microsecond, above 32 between one power of two and the next.
fn step(us: u64) -> usize {
    let steps = STEPS as u64;
    if us < steps {
        return usize::try_from(us).unwrap_or_default();
    }
    let shift = us.ilog2() - steps.ilog2();
    let within = (us >> shift) - steps;
    (shift as usize + 1) * STEPS + usize::try_from(within).unwrap_or_default()
}

/// A duration in the middle of a step.
fn middle(step: usize) -> u64 {
    let (power, within) = (step / STEPS, (step % STEPS) as u64);
    match power.checked_sub(1) {
        None => within,
        Some(shift) => ((STEPS as u64 + within) << shift) + ((1_u64 << shift) >> 1),
    }
}

impl Stats {
    /// Counts the records that are asked for, up to line `last`.
    ///
    /// # Errors
    ///
    /// [`ScanError`].
    pub fn of(
        trail: Trail,
        filter: &Filter,
        last: Option<u64>,
        progress: &mut Progress,
    ) -> Result<(Self, Scanned), ScanError> {
        let mut stats = Self::default();
        let scanned = scan(trail, filter, last, progress, |record, _| {
            stats.count(record);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((stats, scanned))
    }

    /// Counts a record.
    pub fn count(&mut self, record: &Record<'_>) {
        self.records += 1;
        self.from = Some(self.from.map_or(record.time, |from| from.min(record.time)));
        self.to = Some(self.to.map_or(record.time, |to| to.max(record.time)));
        match record.kind() {
            Kind::Call => self.calls += 1,
            Kind::Page => self.pages += 1,
            Kind::Mark => self.marks += 1,
            Kind::Authentication => self.authentications += 1,
            Kind::Other => {}
        }
        if record.kind() != Kind::Call {
            return;
        }
        self.refused += u64::from(record.code().is_some());
        self.people.count(record.person().unwrap_or("(nobody)"));
        self.agents.count(record.agent().unwrap_or("(unknown)"));
        let target = record.connector().map(|_| record.target());
        self.tools.count(target.as_deref().unwrap_or("(none)"));
        self.outcomes.count(record.outcome());
        self.identities.count(record.identity().unwrap_or("(none)"));
        if let Some(duration) = record.duration_us() {
            self.durations.count(duration);
        }
    }

    /// The groups, with what each is called.
    fn groups(&self) -> [(&'static str, &Group); 5] {
        [
            ("person", &self.people),
            ("agent", &self.agents),
            ("tool", &self.tools),
            ("outcome", &self.outcomes),
            ("identity", &self.identities),
        ]
    }

    /// The names of a group that count most, and how much all others do: `person`, `agent`, `tool`, `outcome`, `identity`.
    pub fn top(&self, group: &str, count: usize) -> (Vec<(&str, u64)>, u64) {
        let group = self.groups().into_iter().find(|(name, _)| *name == group);
        group.map(|(_, group)| group.top(count)).unwrap_or_default()
    }

    /// The duration that so many of a hundred calls did not exceed, in microseconds.
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        self.durations.percentile(percent)
    }

    /// For people, with the `top` names of each group.
    pub fn render(&self, top: usize, colour: bool) -> String {
        let mut text = counted(self.records, "record", "records");
        if let (Some(from), Some(to)) = (self.from, self.to) {
            // Writing into memory does not fail, here and below.
            let _ = write!(text, ", {} to {}", date_time(from), date_time(to));
        }
        let (calls, marks) = (counted(self.calls, "call", "calls"), counted(self.marks, "mark", "marks"));
        let others = counted(
            self.authentications,
            "exchange, sign-in or the like",
            "exchanges, sign-ins and the like",
        );
        let pages = match self.pages {
            0 => String::new(),
            pages => format!("; {}", counted(pages, "request for a page", "requests for pages")),
        };
        let _ = writeln!(text, "\n{calls}, {} of them refused; {others}{pages}; {marks}", self.refused);
        if let (Some(p50), Some(p95)) = (self.percentile(50), self.percentile(95)) {
            let _ = writeln!(text, "duration of calls: p50 {}, p95 {}", milliseconds(p50), milliseconds(p95));
        }
        for (name, group) in self.groups() {
            let (names, others) = group.top(top);
            let _ = writeln!(text, "\n{}", paint(&format!("calls by {name}"), "1", colour));
            let others = (others > 0).then_some(("(others)", others));
            for (name, count) in names.into_iter().chain(others) {
                let percent = count as f64 * 100.0 / self.calls.max(1) as f64;
                let _ = writeln!(text, "{count:>12}  {percent:>5.1} %  {}", clean(name));
            }
        }
        text
    }

    /// For programs, with the `top` names of each group.
    pub fn document(&self, top: usize) -> impl Serialize + use<'_> {
        let group = |(name, group): (&'static str, &Group)| {
            let (names, others) = group.top(top);
            let names = names.into_iter().map(|(name, count)| NameDocument { name: name.to_owned(), count });
            GroupDocument { by: name, names: names.collect(), others }
        };
        Document {
            records: self.records,
            calls: self.calls,
            refused: self.refused,
            authentications: self.authentications,
            pages: self.pages,
            marks: self.marks,
            from: self.from,
            to: self.to,
            p50_us: self.percentile(50),
            p95_us: self.percentile(95),
            groups: self.groups().into_iter().map(group).collect(),
        }
    }
}

/// A duration, given in microseconds.
pub fn milliseconds(us: u64) -> String {
    format!("{}.{} ms", us / 1_000, us % 1_000 / 100)
}

#[derive(Serialize)]
struct Document {
    records: u64,
    calls: u64,
    refused: u64,
    authentications: u64,
    pages: u64,
    marks: u64,
    from: Option<u64>,
    to: Option<u64>,
    p50_us: Option<u64>,
    p95_us: Option<u64>,
    groups: Vec<GroupDocument>,
}

#[derive(Serialize)]
struct GroupDocument {
    by: &'static str,
    names: Vec<NameDocument>,
    others: u64,
}

#[derive(Serialize)]
struct NameDocument {
    name: String,
    count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_a_few_percent() {
        let mut durations = Durations::default();
        assert_eq!(durations.percentile(50), None);
        (1..=10_000).for_each(|us| durations.count(us * 10));
        for (percent, exact) in [(1, 1_000.0), (50, 50_000.0), (95, 95_000.0), (100, 100_000.0)] {
            let told = durations.percentile(percent).expect("there are some") as f64;
            assert!((told - exact).abs() / exact < 0.03, "{percent} %: {told}");
        }
        durations.count(u64::MAX);
        assert!(durations.percentile(100).expect("one") > 1 << 39);
    }

    #[test]
    fn steps_go_up_with_durations_and_hold_their_middle() {
        for us in (0..5_000).chain([1 << 20, (1 << 20) + 1, 1 << 39]) {
            assert!(step(us) <= step(us + 1));
            assert_eq!(step(middle(step(us))), step(us), "{us}");
        }
    }

    #[test]
    fn names_beyond_the_bound_are_counted_together() {
        let mut group = Group::default();
        for name in ["a", "b", "c", "b", "d", "a", "b"] {
            group.count_up_to(name, 2);
        }
        assert_eq!(group.top(10), (vec![("b", 3), ("a", 2)], 2));
        assert_eq!(group.top(1), (vec![("b", 3)], 4));
    }
}
