use std::time::Duration;

use super::*;
use crate::limit::{ConcurrencySettings, Each, Level, LimitSettings};

const GATEWAY: (&str, &str) =
    ("issuers:", "limits: { per_person: { calls: 600, per: 1m, burst: 100 } }\nissuers:");
const SEND: &str = "scopes: [Mail.Send]";

/// Among the keys of the connector.
fn connector(limits: &str) -> (&'static str, String) {
    ("    tools:", format!("    limits: {limits}\n    tools:"))
}

/// Among the keys of a tool.
fn tool(limits: &str) -> (&'static str, String) {
    (SEND, format!("{SEND}, limits: {limits}"))
}

fn limits(edits: &[(&str, &str)]) -> LimitSettings {
    config(edits).connectors.remove(0).limits
}

#[track_caller]
fn check_one((from, to): (&str, String), expected: &[&str]) {
    check(&[(from, &to)], expected);
}

#[test]
fn where_nothing_is_written_there_is_no_rate_and_a_bound_of_calls_at_a_time() {
    let limits = limits(&[]);
    assert_eq!(limits, LimitSettings::default());
    let ConcurrencySettings { concurrent, queue, timeout } = limits.concurrency;
    assert_eq!((concurrent, queue, timeout), (1_024, 1_024, Duration::from_secs(5)));
}

#[test]
fn limits_are_of_the_gateway_of_a_connector_and_of_a_tool() {
    let (from, crm) = connector(
        "{ total: { calls: 6000, per: 1m }, per_agent: { calls: 50, per: 1s, burst: 5 }, concurrent: 64, queue_timeout: 2s }",
    );
    let (send, of_tool) = tool("{ per_person: { calls: 5, per: 24h } }");
    let limits = limits(&[GATEWAY, (from, &crm), (send, &of_tool)]);
    let shown = |rates: &[std::sync::Arc<crate::limit::RateLimit>]| -> Vec<String> {
        rates.iter().map(|rate| format!("{rate}, {} {}", rate.level.as_str(), rate.each.as_str())).collect()
    };
    assert_eq!(
        shown(&limits.rates),
        [
            "limits.per_person (600 calls in 1m, 100 at once), gateway person",
            "connectors.mail.limits.total (6000 calls in 1m, 6000 at once), connector total",
            "connectors.mail.limits.per_agent (50 calls in 1s, 5 at once), connector agent",
        ]
    );
    let tools: Vec<_> = limits.tools.iter().collect();
    let [(name, rates)] = tools.as_slice() else { panic!("one tool has limits: {tools:?}") };
    assert_eq!(name.as_str(), "send");
    assert_eq!((rates[0].level, rates[0].each), (Level::Tool, Each::Person));
    assert_eq!(
        shown(rates),
        ["connectors.mail.tools.send.limits.per_person (5 calls in 24h, 5 at once), tool person"]
    );
    assert_eq!(
        limits.concurrency,
        ConcurrencySettings { concurrent: 64, queue: 64, timeout: Duration::from_secs(2) }
    );
    let (from, none_waits) = connector("{ concurrent: 1, queue: 0 }");
    assert_eq!(self::limits(&[(from, &none_waits)]).concurrency.queue, 0);
}

#[test]
fn tables_show_each_limit_once() {
    let (from, crm) =
        connector("{ total: { calls: 6000, per: 1m }, concurrent: 64, queue: 128, queue_timeout: 1500ms }");
    let (send, of_tool) = tool("{ per_person: { calls: 5, per: 1h } }");
    let config = config(&[GATEWAY, (from, &crm), (send, &of_tool)]);
    let expected = "\nLIMITED         FOR          CALLS                     AT A TIME\n\
                    all connectors  each person  600 in 1m                 100\n\
                    mail            all callers  6000 in 1m                6000\n\
                    mail            all callers  128 wait, 1500ms at most  64\n\
                    mail/send       each person  5 in 1h                   5\n";
    let (summary, tools) = (summary(&config, false), tools(&catalog(&config), false));
    assert!(tools.ends_with(expected), "{tools}");
    assert!(summary.contains(&format!("{expected}\ngood: ")), "{summary}");
    let catalog = serde_json::to_value(catalog(&config)).expect("JSON");
    let connector = &catalog["connectors"][0];
    assert_eq!(
        connector["concurrency"],
        serde_json::json!({ "concurrent": 64, "queue": 128, "queue_timeout_ms": 1500 })
    );
    let names = |tool: usize| -> Vec<_> {
        let limits = connector["tools"][tool]["limits"].as_array().expect("limits");
        limits.iter().map(|limit| limit["name"].as_str().expect("a name")).collect()
    };
    assert_eq!(names(0), ["limits.per_person", "connectors.mail.limits.total"]);
    assert_eq!(names(1)[0], "connectors.mail.tools.send.limits.per_person");
    assert_eq!(
        connector["tools"][1]["limits"][0],
        serde_json::json!({
            "name": "connectors.mail.tools.send.limits.per_person", "level": "tool", "each": "person",
            "calls": 5, "per_seconds": 3600, "burst": 5,
        })
    );
}

#[test]
fn the_gateways_are_the_same_for_all_connectors() {
    let second = "  other:\n    kind: rest\n    path: /other\n    upstream: https://graph.microsoft.com/beta\n    scopes: [Mail.Read]\npolicy:";
    let config = config(&[GATEWAY, ("policy:", second)]);
    let [mail, other] = config.connectors.as_slice() else { panic!("two connectors") };
    assert_eq!(mail.limits.rates, other.limits.rates);
}

#[test]
fn a_limit_that_limits_nothing_or_cannot_be_is_refused() {
    let empty = "is empty, so nothing is limited by it: say how much, like `per_person: { calls: 600, per: 1m }`, or leave the \
                 key out";
    check(&[("issuers:", "limits: {}\nissuers:")], &[&format!("2: limits: {empty}")]);
    check_one(connector("{}"), &[&format!("16: connectors.mail.limits: {empty}")]);
    check_one(tool("{}"), &[&format!("18: connectors.mail.tools.send.limits: {empty}")]);
    check_one(
        connector(
            "{ per_person: {}, total: { calls: 0, per: 1500ms }, per_agent: { calls: 5, per: 25h, burst: 2000000 } }",
        ),
        &[
            "16: connectors.mail.limits.per_person.calls: is required: say how many calls, like `600`",
            "16: connectors.mail.limits.per_person.per: is required: say in which time, like `1m`",
            "16: connectors.mail.limits.total.calls: must be a whole number from 1 to 1000000 (found \"0\")",
            "16: connectors.mail.limits.total.per: must be a whole number of seconds, minutes or hours, from `1s` to `24h`, like `1m` (found \"1500ms\")",
            "16: connectors.mail.limits.per_agent.per: must be a whole number of seconds, minutes or hours, from `1s` to `24h`, like `1m` (found \"25h\")",
            "16: connectors.mail.limits.per_agent.burst: must be a whole number from 1 to 1000000 (found \"2000000\")",
        ],
    );
    check_one(
        connector("{ concurrent: 0, queue: 70000, queue_timeout: 2h }"),
        &[
            "16: connectors.mail.limits.concurrent: must be a whole number from 1 to 65536 (found \"0\")",
            "16: connectors.mail.limits.queue: must be a whole number from 0 to 65536 (found \"70000\")",
            "16: connectors.mail.limits.queue_timeout: must be more than zero and at most `1h` (found \"2h\")",
        ],
    );
    check_one(
        connector("{ queue: 0, queue_timeout: 2s }"),
        &[
            "16: connectors.mail.limits.queue_timeout: is how long calls wait, and with `queue: 0` none does: leave one of the two out",
        ],
    );
}

#[test]
fn keys_of_another_place_are_named() {
    check_one(
        tool("{ concurrent: 5 }"),
        &[
            "18: connectors.mail.tools.send.limits.concurrent: is not a key here; the keys are `total`, `per_person`, `per_agent`",
        ],
    );
    check_one(
        connector("{ per_user: { calls: 5, per: 1m } }"),
        &[
            "16: connectors.mail.limits.per_user: is not a key here; the keys are `total`, `per_person`, `per_agent`, `concurrent`, `queue`, `queue_timeout`",
        ],
    );
    check_one(
        connector("{ total: { calls: 5, per: 1m, brust: 5 } }"),
        &["16: connectors.mail.limits.total.brust: is not a key here; did you mean `burst`?"],
    );
    check_one(
        connector("{ total: 600 }"),
        &[
            "16: connectors.mail.limits.total: must be a mapping of keys and values, like `{ calls: …, per: …, … }` (found text)",
        ],
    );
}
