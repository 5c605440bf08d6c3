//! The figures, and whether they count.

use std::fmt::Write as _;
use std::time::Duration;

use crate::machine::{Cores, Machine};
use crate::trail::Trail;
use crate::wrk::Done;
use crate::{Calls, Outcome};

/// What one run came to.
#[derive(Clone, Copy)]
pub struct Sample {
    pub answers: u64,
    pub requests_per_second: f64,
    pub p50_micros: f64,
    pub p99_micros: f64,
    pub cpu_micros: f64,
    /// The part of its time that the proxy was busy. Near 1, it is the proxy that limits the requests per second;
    /// well below, the load does.
    pub busy: f64,
}

impl Sample {
    pub fn new(done: &Done, cpu_time: Duration) -> Self {
        let cpu_micros = cpu_time.as_secs_f64() * 1e6;
        Self {
            answers: done.answers,
            requests_per_second: done.answers as f64 * 1e6 / done.micros,
            p50_micros: done.p50,
            p99_micros: done.p99,
            cpu_micros: cpu_micros / done.answers as f64,
            busy: cpu_micros / done.micros,
        }
    }
}

/// All runs with so many connections.
pub struct Series {
    connections: u32,
    repeats: u32,
    seconds: u64,
    pub gateway: Vec<Sample>,
    pub nginx: Vec<Sample>,
    /// The upstream with nothing in front of it.
    pub direct: Vec<Sample>,
}

/// What the columns show.
const COLUMNS: [&str; 6] = ["", "requests/s", "p50 µs", "p99 µs", "CPU µs/request", "busy"];

impl Series {
    pub fn new(connections: u32, repeats: u32, seconds: u64) -> Self {
        let (gateway, nginx, direct) = (Vec::new(), Vec::new(), Vec::new());
        Self { connections, repeats, seconds, gateway, nginx, direct }
    }

    fn heading(&self) -> String {
        let Self { repeats, seconds, .. } = self;
        let runs = match repeats {
            1 => format!("one run of {seconds} s"),
            _ => format!("medians of {repeats} runs of {seconds} s each"),
        };
        format!("{}, {runs}", connections(self.connections))
    }

    fn rows(&self) -> Vec<[String; 6]> {
        let (gateway, nginx) = (median(&self.gateway), median(&self.nginx));
        let mut rows = vec![row("obo-gateway", &gateway), row("nginx", &nginx)];
        let ratio = |of: fn(&Sample) -> f64| format!("{:.2}", of(&gateway) / of(&nginx));
        rows.push([
            "ratio".to_owned(),
            ratio(|sample| sample.requests_per_second),
            ratio(|sample| sample.p50_micros),
            ratio(|sample| sample.p99_micros),
            ratio(|sample| sample.cpu_micros),
            String::new(),
        ]);
        if !self.direct.is_empty() {
            rows.push(row("no proxy", &median(&self.direct)));
        }
        rows
    }
}

fn row(name: &str, sample: &Sample) -> [String; 6] {
    [
        name.to_owned(),
        thousands(sample.requests_per_second),
        thousands(sample.p50_micros),
        thousands(sample.p99_micros),
        format!("{:.1}", sample.cpu_micros),
        format!("{:.0} %", sample.busy * 100.0),
    ]
}

/// The median of each figure by itself.
pub fn median(samples: &[Sample]) -> Sample {
    let of = |figure: fn(&Sample) -> f64| {
        let mut figures: Vec<f64> = samples.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        let upper = figures.len() / 2;
        let lower = (figures.len() - 1) / 2;
        (figures[lower] + figures[upper]) / 2.0
    };
    Sample {
        answers: samples.iter().map(|sample| sample.answers).sum(),
        requests_per_second: of(|sample| sample.requests_per_second),
        p50_micros: of(|sample| sample.p50_micros),
        p99_micros: of(|sample| sample.p99_micros),
        cpu_micros: of(|sample| sample.cpu_micros),
        busy: of(|sample| sample.busy),
    }
}

/// Everything there is to say.
pub struct Report<'a> {
    pub machine: Machine,
    pub cores: &'a Cores,
    pub series: Vec<Series>,
    pub calls: Calls,
    pub trail: Trail,
    pub exchanges: usize,
    pub people: u32,
}

impl Report<'_> {
    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for series in &self.series {
            let rows = series.rows();
            line(&mut text, &series.heading());
            for cells in std::iter::once(&COLUMNS.map(str::to_owned)).chain(&rows) {
                let [name, figures @ ..] = cells;
                let figures: String = figures
                    .iter()
                    .zip([12, 9, 9, 16, 8])
                    .map(|(cell, width)| format!("{cell:>width$}"))
                    .collect();
                line(&mut text, format!("  {name:<12}{figures}").trim_end());
            }
            text.push('\n');
        }
        line(&mut text, &self.work());
        text
    }

    /// For a page.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for series in &self.series {
            line(&mut text, &format!("{}:\n", series.heading()));
            line(&mut text, &format!("| {} |", COLUMNS.join(" | ")));
            line(&mut text, &format!("| --- |{}", " ---: |".repeat(COLUMNS.len() - 1)));
            for cells in series.rows() {
                line(&mut text, &format!("| {} |", cells.join(" | ")));
            }
            text.push('\n');
        }
        line(&mut text, &format!("```text\n{}\n{}\n{}\n```", self.machine, self.cores, self.work()));
        text
    }

    /// What the gateway did for its figures.
    fn work(&self) -> String {
        let Self { calls, trail, exchanges, people, .. } = self;
        let outcomes: Vec<String> = trail
            .outcomes
            .iter()
            .map(|(outcome, count)| format!("{} {outcome}", thousands(*count as f64)))
            .collect();
        format!(
            "Done:    {} people, {} exchanges; {} calls answered, {} forwarded, {} recorded ({}; {} bytes each)",
            thousands(f64::from(*people)),
            thousands(*exchanges as f64),
            thousands(calls.answered as f64),
            thousands(calls.forwarded as f64),
            thousands(trail.records as f64),
            outcomes.join(", "),
            trail.bytes.checked_div(trail.records).unwrap_or(0),
        )
    }

    /// Whether all that the figures stand for was done.
    pub fn check(&self) -> Outcome<()> {
        let Self { calls, trail, .. } = self;
        let mut faults = Vec::new();
        if self.exchanges != self.people as usize {
            faults.push(format!("{} exchanges for {} people", self.exchanges, self.people));
        }
        faults.extend(unrecorded(calls, trail));
        match faults.is_empty() {
            true => Ok(()),
            false => Err(format!("the figures do not count: {}", faults.join("; ")).into()),
        }
    }
}

/// What the trail says that does not fit the calls.
pub fn unrecorded(calls: &Calls, trail: &Trail) -> Vec<String> {
    let mut faults = Vec::new();
    // When its time is up, wrk hangs up on the call that each connection has under way, and does not count it.
    // The gateway records it: as answered, as left by the agent, or not at all when it had not begun to read.
    let recorded_max = calls.answered + calls.cut_max;
    if !(calls.answered.max(calls.forwarded)..=recorded_max).contains(&trail.records) {
        faults.push(format!(
            "{} records of {} calls answered, {} forwarded, and at most {} cut off",
            trail.records, calls.answered, calls.forwarded, calls.cut_max,
        ));
    }
    for outcome in trail.outcomes.keys() {
        if !["answered", "agent_left"].contains(&outcome.as_str()) {
            faults.push(format!("calls ended as {outcome}"));
        }
    }
    faults
}

/// `1 connection`, `64 connections`.
pub fn connections(count: u32) -> String {
    format!("{count} connection{}", if count == 1 { "" } else { "s" })
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a string does not fail");
}

/// `12,345`.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
