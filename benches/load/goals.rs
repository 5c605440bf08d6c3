//! The goals: for each figure what has to be reached, and what is aimed at.

use std::collections::BTreeMap;

use crate::table::{Table, thousands};

/// A figure that there is a goal for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Goal {
    PlainCpu,
    TlsCpu,
    HaproxyRs256,
    HaproxyEs256,
    AddedP50,
    P99,
    Instructions,
    MissCpu,
    DiskRate,
    IdleMemory,
    BusyMemory,
    Connectors,
    People,
    FullMemory,
    FullP99,
    KeptBytes,
    HitNanos,
    Goodput,
    IdleConnection,
    FreshP99,
}

/// What a goal asks for.
pub struct Terms {
    what: &'static str,
    wanted: Wanted,
    reach: f64,
    aim: f64,
    unit: &'static str,
    decimals: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    AtMost,
    AtLeast,
}

/// How far a figure came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Aimed,
    Reached,
    Missed,
}

/// The figures of a run that goals are about.
pub type Figures = BTreeMap<Goal, f64>;

impl Goal {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 20] = [
        Self::PlainCpu,
        Self::TlsCpu,
        Self::HaproxyRs256,
        Self::HaproxyEs256,
        Self::AddedP50,
        Self::P99,
        Self::Instructions,
        Self::KeptBytes,
        Self::HitNanos,
        Self::MissCpu,
        Self::DiskRate,
        Self::IdleMemory,
        Self::BusyMemory,
        Self::People,
        Self::FullMemory,
        Self::FullP99,
        Self::Connectors,
        Self::Goodput,
        Self::IdleConnection,
        Self::FreshP99,
    ];

    pub fn terms(self) -> Terms {
        let at_most =
            |what, reach, aim| Terms { what, wanted: Wanted::AtMost, reach, aim, unit: "", decimals: 2 };
        match self {
            Self::PlainCpu => at_most("CPU per request, to nginx: plain, 64 connections", 1.20, 1.00),
            Self::TlsCpu => at_most("CPU per request, to nginx: TLS inbound, 64 connections", 1.10, 0.95),
            Self::HaproxyRs256 => at_most("CPU per request, to haproxy with jwt_verify, RS256", 0.28, 0.22),
            Self::HaproxyEs256 => at_most("CPU per request, to haproxy with jwt_verify, ES256", 0.15, 0.12),
            Self::AddedP50 => at_most("p50 added to nginx's, 1 connection", 4.0, 1.0).in_units(" µs", 1),
            Self::P99 => at_most("p99, to nginx: 64 connections", 1.20, 1.00),
            Self::Instructions => {
                at_most("instructions per request in user space, without SHA-256", 45_000.0, 30_000.0)
                    .in_units("", 0)
            }
            Self::MissCpu => at_most("CPU of a first call, ES256", 95.0, 80.0).in_units(" µs", 1),
            Self::People => at_most("CPU per request, 1,000,000 people kept to 1", 1.10, 1.10),
            Self::FullMemory => at_most(
                "resident memory beyond that of an idle gateway, to `memory`, when it is full",
                1.10,
                1.00,
            ),
            Self::FullP99 => at_most("p99 of first calls, `memory` full to not yet full", 1.50, 1.10),
            Self::KeptBytes => {
                at_most("resident bytes per token of 1.8 KB, 1,000,000 kept", 1_000.0, 650.0).in_units("", 0)
            }
            Self::HitNanos => {
                at_most("lookup for one of 8,000 who call, 1,000,000 kept, key and all", 500.0, 250.0)
                    .in_units(" ns", 0)
            }
            Self::Goodput => Terms {
                wanted: Wanted::AtLeast,
                ..at_most("calls served at three times the capacity, to at capacity", 0.90, 0.90)
            },
            Self::IdleConnection => {
                at_most("resident memory of an idle TLS connection", 40.0, 20.0).in_units(" KiB", 1)
            }
            Self::FreshP99 => {
                at_most("p99 of a fresh client beside idle and stalled ones", 100.0, 50.0).in_units(" ms", 1)
            }
            Self::Connectors => at_most("CPU per request, 500 connectors to 2", 1.10, 1.10),
            Self::DiskRate => Terms {
                wanted: Wanted::AtLeast,
                ..at_most("requests/s, audit on disk to audit in memory, 64 connections", 0.80, 0.90)
            },
            Self::IdleMemory => at_most("resident memory, idle", 12.0, 8.0).in_units(" MiB", 1),
            Self::BusyMemory => {
                at_most("resident memory, 256 connections and 1,000 people", 24.0, 16.0).in_units(" MiB", 1)
            }
        }
    }
}

impl Terms {
    const fn in_units(mut self, unit: &'static str, decimals: usize) -> Self {
        (self.unit, self.decimals) = (unit, decimals);
        self
    }

    pub fn judge(&self, figure: f64) -> Verdict {
        let meets = |goal: f64| match self.wanted {
            Wanted::AtMost => figure <= goal,
            Wanted::AtLeast => figure >= goal,
        };
        match (meets(self.aim), meets(self.reach)) {
            (true, _) => Verdict::Aimed,
            (false, true) => Verdict::Reached,
            (false, false) => Verdict::Missed,
        }
    }

    fn show(&self, figure: f64) -> String {
        match self.decimals {
            0 => format!("{}{}", thousands(figure), self.unit),
            decimals => format!("{figure:.decimals$}{}", self.unit),
        }
    }

    fn show_bound(&self, bound: f64) -> String {
        let sign = if self.wanted == Wanted::AtMost { "≤" } else { "≥" };
        format!("{sign} {}", self.show(bound))
    }
}

impl Verdict {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Aimed => "aim met",
            Self::Reached => "reached",
            Self::Missed => "missed",
        }
    }
}

/// Every goal, with what was measured for it in this run.
pub fn table(figures: &Figures) -> Table {
    let rows = Goal::ALL.iter().map(|goal| {
        let terms = goal.terms();
        let (measured, verdict) = match figures.get(goal) {
            Some(figure) => (terms.show(*figure), terms.judge(*figure).word()),
            None => ("–".to_owned(), "not measured"),
        };
        vec![
            terms.what.to_owned(),
            terms.show_bound(terms.reach),
            terms.show_bound(terms.aim),
            measured,
            verdict.to_owned(),
        ]
    });
    Table::new("Goals", &["", "reach", "aim", "measured", "verdict"], rows.collect())
}
