//! What a scenario came to.

use crate::chart::Chart;
use crate::goals::Figures;
use crate::sample::Sample;
use crate::scenario::Scenario;
use crate::table::{Table, thousands};
use crate::trail::Trail;

pub struct Finding {
    pub scenario: &'static Scenario,
    pub tables: Vec<Table>,
    pub charts: Vec<Chart>,
    /// What counts towards the goals.
    pub figures: Figures,
    /// What a reader has to know.
    pub notes: Vec<String>,
    /// Why the figures do not count.
    pub faults: Vec<String>,
}

impl Finding {
    pub fn of(scenario: &'static Scenario) -> Self {
        Self {
            scenario,
            tables: Vec::new(),
            charts: Vec::new(),
            figures: Figures::new(),
            notes: Vec::new(),
            faults: Vec::new(),
        }
    }
}

/// What went to a gateway, counted by others than itself.
#[derive(Default)]
pub struct Work {
    /// Answers that the load counted.
    pub answered: u64,
    /// Requests that the upstream counted.
    pub forwarded: u64,
    /// Most calls that were under way when wrk's time was up. It hangs up on them and does not count them.
    cut_max: u64,
}

impl Work {
    pub fn add_calls(&mut self, calls: u64) {
        self.answered += calls;
        self.forwarded += calls;
    }

    pub fn add_run(&mut self, sample: &Sample, forwarded: u64, connections: u32) {
        self.answered += sample.answers;
        self.forwarded += forwarded;
        self.cut_max += u64::from(connections);
    }

    /// What the gateway did, in a sentence, and what its trail says that does not fit.
    pub fn compare(&self, trail: &Trail) -> (String, Vec<String>) {
        let Self { answered, forwarded, cut_max } = self;
        let outcomes =
            trail.outcomes.iter().map(|(name, count)| format!("{} {name}", thousands(*count as f64)));
        let told = format!(
            "{} calls answered, {} forwarded, {} recorded ({}; {} bytes each)",
            thousands(*answered as f64),
            thousands(*forwarded as f64),
            thousands(trail.records as f64),
            outcomes.collect::<Vec<_>>().join(", "),
            trail.bytes.checked_div(trail.records).unwrap_or(0),
        );
        let mut faults = Vec::new();
        // When its time is up, wrk hangs up on the call that each connection has under way, and does not count it.
        // The gateway records it: as answered, as left by the agent, or not at all when it had not begun to read.
        if !((*answered).max(*forwarded)..=answered + cut_max).contains(&trail.records) {
            faults.push(format!(
                "{} records of {answered} calls answered, {forwarded} forwarded, and at most {cut_max} cut off",
                trail.records,
            ));
        }
        let strange =
            trail.outcomes.keys().filter(|outcome| !["answered", "agent_left"].contains(&outcome.as_str()));
        faults.extend(strange.map(|outcome| format!("calls ended as {outcome}")));
        (told, faults)
    }
}
