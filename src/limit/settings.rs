//! What the configuration says about limits, checked.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::tool::ToolName;

/// What the configuration says about the limits of one connector.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LimitSettings {
    /// The rates of all its calls: the gateway's, and its own.
    pub rates: Vec<Arc<RateLimit>>,
    /// Those that single tools have beside.
    pub tools: BTreeMap<ToolName, Vec<Arc<RateLimit>>>,
    /// How many calls there are at a time.
    pub concurrency: ConcurrencySettings,
}

/// How many calls of a connector there are at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConcurrencySettings {
    /// Calls under way at the connector.
    pub concurrent: usize,
    /// Calls that wait for a place.
    pub queue: usize,
    /// How long each of them waits.
    pub timeout: Duration,
}

impl LimitSettings {
    /// The rates that calls of a tool come under: its own, and those of all.
    pub fn rates_of(&self, tool: &str) -> impl Iterator<Item = &Arc<RateLimit>> {
        self.tools.get(tool).into_iter().flatten().chain(&self.rates)
    }
}

impl ConcurrencySettings {
    /// Calls under way at one connector, where nothing is configured. One that hangs then takes up a sixteenth of the
    /// connections that agents can have, and leaves the others theirs.
    pub const CONCURRENT: usize = 1_024;
    /// Calls that wait for a place, where nothing is configured: another round of those that have one.
    pub const QUEUE: usize = 1_024;
    /// How long each of them waits, where nothing is configured: agents give up after some ten seconds, and want to hear before that.
    pub const TIMEOUT: Duration = Duration::from_secs(5);
}

impl Default for ConcurrencySettings {
    fn default() -> Self {
        Self { concurrent: Self::CONCURRENT, queue: Self::QUEUE, timeout: Self::TIMEOUT }
    }
}

/// A rate, what it is about, and of whom calls are counted together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RateLimit {
    /// Its place in the configuration, such as `connectors.crm.limits.per_person`.
    pub name: Arc<str>,
    /// What its calls are of.
    pub level: Level,
    /// Whose calls are counted together.
    pub each: Each,
    /// How many.
    pub rate: Rate,
}

/// What calls a limit is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Those of one tool.
    Tool,
    /// Those of one connector.
    Connector,
    /// All.
    Gateway,
}

/// Whose calls are counted together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Each {
    /// Those of one person, through whichever agents.
    Person,
    /// Those of one agent, for whomever.
    Agent,
    /// Everybody's.
    Total,
}

impl Level {
    /// As it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Connector => "connector",
            Self::Gateway => "gateway",
        }
    }
}

impl Each {
    /// As it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Agent => "agent",
            Self::Total => "total",
        }
    }
}

impl RateLimit {
    /// As it stands in metrics.
    pub const fn label(&self) -> &'static str {
        match (self.level, self.each) {
            (Level::Tool, Each::Person) => "tool_per_person",
            (Level::Tool, Each::Agent) => "tool_per_agent",
            (Level::Tool, Each::Total) => "tool_total",
            (Level::Connector, Each::Person) => "connector_per_person",
            (Level::Connector, Each::Agent) => "connector_per_agent",
            (Level::Connector, Each::Total) => "connector_total",
            (Level::Gateway, Each::Person) => "gateway_per_person",
            (Level::Gateway, Each::Agent) => "gateway_per_agent",
            (Level::Gateway, Each::Total) => "gateway_total",
        }
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.rate)
    }
}

/// So many calls in a time; and how many of them at once, after a time without any.
///
/// A bucket that holds `burst` calls, into which `calls` flow in each `per`, evenly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    calls: u32,
    per: Duration,
    burst: u32,
}

impl Rate {
    /// Most calls of a rate, and most at once.
    pub const CALLS_MAX: u32 = 1_000_000;
    /// Longest time of a rate.
    pub const SECONDS_MAX: u64 = 24 * 3_600;

    /// A rate within the bounds above, none of whose numbers is zero; its time is of whole seconds.
    pub const fn new(calls: u32, per: Duration, burst: u32) -> Self {
        Self { calls, per, burst }
    }

    /// How many calls.
    pub const fn calls(self) -> u32 {
        self.calls
    }

    /// In which time.
    pub const fn per(self) -> Duration {
        self.per
    }

    /// How many at once.
    pub const fn burst(self) -> u32 {
        self.burst
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = if self.calls == 1 { "call" } else { "calls" };
        write!(f, "{} {calls} in {}, {} at once", self.calls, shown_duration(self.per), self.burst)
    }
}

/// A duration as the configuration has it, in its largest whole unit.
pub fn shown_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (duration.subsec_millis(), seconds) {
        (0, 1..) if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        (0, 1..) if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        (0, _) => format!("{seconds}s"),
        (_, _) => format!("{}ms", duration.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_shown_as_it_is_written() {
        let rate = |calls, seconds, burst| Rate::new(calls, Duration::from_secs(seconds), burst).to_string();
        assert_eq!(rate(600, 60, 100), "600 calls in 1m, 100 at once");
        assert_eq!(rate(1, 7_200, 1), "1 call in 2h, 1 at once");
        assert_eq!(rate(5, 90, 5), "5 calls in 90s, 5 at once");
        assert_eq!(shown_duration(Duration::from_millis(1_500)), "1500ms");
    }
}
