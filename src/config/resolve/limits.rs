//! `limits`: how many calls there may be, of the gateway, of a connector, and of a tool.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::values;
use crate::config::at::At;
use crate::config::file::{self, Named};
use crate::limit::{ConcurrencySettings, Each, Level, LimitSettings, Rate, RateLimit};
use crate::tool::ToolName;

/// Most calls at a time, and most that wait: as many as there can be in the whole gateway, since each has a record to come.
const CALLS_MAX: u32 = 65_536;

/// Rates, by whose calls are counted together.
type Rates<'a> = [(Each, Option<&'a file::Rate>); 3];

/// The rates that count for all calls. `None` when they have faults.
pub fn of_gateway(limits: Option<&file::Limits>, at: &At<'_>) -> Option<Vec<Arc<RateLimit>>> {
    of(limits, at, Level::Gateway)
}

/// The limits of a connector, beside the gateway's. `tools` are those that it lists.
pub fn of_connector(
    connector: &file::Connector,
    tools: Option<&Named<file::Tool>>,
    at: &At<'_>,
    gateways: Option<&[Arc<RateLimit>]>,
) -> Option<LimitSettings> {
    let limits_at = at.key("limits");
    let own = match &connector.limits {
        None => (!limits_at.is_written()).then(|| (Vec::new(), ConcurrencySettings::default())),
        Some(limits) => {
            let file::ConnectorLimits { total, per_person, per_agent, .. } = limits;
            check_not_empty(&limits_at);
            let own = rates(by_whom(total, per_person, per_agent), &limits_at, Level::Connector);
            own.zip(concurrency(limits, &limits_at))
        }
    };
    let mut by_tool = BTreeMap::new();
    let mut sound = true;
    for (name, tool) in tools.iter().flat_map(|tools| &tools.0) {
        match of(tool.limits.as_ref(), &at.key("tools").key(name).key("limits"), Level::Tool) {
            Some(rates) if rates.is_empty() => {}
            Some(rates) => drop(by_tool.insert(ToolName::new(name.as_str()), rates)),
            None => sound = false,
        }
    }
    let (own, concurrency) = own?;
    let rates = gateways?.iter().cloned().chain(own).collect();
    sound.then_some(LimitSettings { rates, tools: by_tool, concurrency })
}

fn of(limits: Option<&file::Limits>, at: &At<'_>, level: Level) -> Option<Vec<Arc<RateLimit>>> {
    let Some(file::Limits { total, per_person, per_agent }) = limits else {
        return (!at.is_written()).then(Vec::new);
    };
    check_not_empty(at);
    rates(by_whom(total, per_person, per_agent), at, level)
}

fn check_not_empty(at: &At<'_>) {
    if at.names().is_empty() {
        at.fault("is empty, so nothing is limited by it: say how much, like `per_person: { calls: 600, per: 1m }`, or leave the key out");
    }
}

const fn by_whom<'a>(
    total: &'a Option<file::Rate>,
    per_person: &'a Option<file::Rate>,
    per_agent: &'a Option<file::Rate>,
) -> Rates<'a> {
    [(Each::Total, total.as_ref()), (Each::Person, per_person.as_ref()), (Each::Agent, per_agent.as_ref())]
}

fn rates(rates: Rates<'_>, at: &At<'_>, level: Level) -> Option<Vec<Arc<RateLimit>>> {
    let mut checked = Vec::new();
    let mut sound = true;
    for (each, given) in rates {
        let at = at.key(match each {
            Each::Total => "total",
            Each::Person => "per_person",
            Each::Agent => "per_agent",
        });
        match given.map(|given| rate(given, &at)) {
            Some(Some(rate)) => {
                checked.push(Arc::new(RateLimit { name: at.path().into(), level, each, rate }));
            }
            Some(None) => sound = false,
            None => sound &= !at.is_written(),
        }
    }
    sound.then_some(checked)
}

fn rate(rate: &file::Rate, at: &At<'_>) -> Option<Rate> {
    let calls = at.key("calls").required(rate.calls, "say how many calls, like `600`");
    let calls = calls.and_then(|calls| number(calls, 1, Rate::CALLS_MAX, &at.key("calls")));
    let per_at = at.key("per");
    let per = per_at.required(rate.per.as_deref(), "say in which time, like `1m`");
    let per = per.and_then(|text| match values::parse_duration(text) {
        Some(per) if (1..=Rate::SECONDS_MAX).contains(&per.as_secs()) && per.subsec_nanos() == 0 => Some(per),
        _ => {
            per_at.fault_found(
                "must be a whole number of seconds, minutes or hours, from `1s` to `24h`, like `1m`",
            );
            None
        }
    });
    let burst_at = at.key("burst");
    let burst = match rate.burst {
        Some(burst) => number(burst, 1, Rate::CALLS_MAX, &burst_at),
        None if burst_at.is_written() => None,
        None => calls,
    };
    Some(Rate::new(calls?, per?, burst?))
}

fn concurrency(limits: &file::ConnectorLimits, at: &At<'_>) -> Option<ConcurrencySettings> {
    let default = ConcurrencySettings::default();
    let given = |key: &str, given: Option<u32>, least: u32| match given {
        Some(given) => number(given, least, CALLS_MAX, &at.key(key)).map(|given| Some(given as usize)),
        None => (!at.key(key).is_written()).then_some(None),
    };
    let concurrent = given("concurrent", limits.concurrent, 1);
    let queue = given("queue", limits.queue, 0);
    let timeout_at = at.key("queue_timeout");
    if timeout_at.is_written() && limits.queue == Some(0) {
        timeout_at.fault("is how long calls wait, and with `queue: 0` none does: leave one of the two out");
        return None;
    }
    let timeout: Option<Duration> =
        values::duration(&timeout_at, limits.queue_timeout.as_deref(), default.timeout);
    let concurrent = concurrent?.unwrap_or(default.concurrent);
    Some(ConcurrencySettings { concurrent, queue: queue?.unwrap_or(concurrent), timeout: timeout? })
}

fn number(number: u32, least: u32, most: u32, at: &At<'_>) -> Option<u32> {
    let fits = (least..=most).contains(&number);
    if !fits {
        at.fault_found(format_args!("must be a whole number from {least} to {most}"));
    }
    fits.then_some(number)
}
