use std::time::Duration;

use super::*;
use crate::gateway::{CallBounds, MemoryBounds};
use crate::server::ConnectionBounds;

const ALL: &str =
    "timeouts: { drain: 1s, handshake: 2s, opening: 3s, head: 4s, body: 5s, idle: 6s, write: 7s, call: 8s }
bounds: { connections: 10, streams: 11, head_bytes: 16KiB, headers: 17, target_bytes: 2KiB }
memory: { delegated_tokens: 1GiB, verified_tokens: 16MiB }
issuers:";

#[test]
fn what_is_not_written_has_safe_defaults() {
    let config = config(&[]);
    assert_eq!((config.server.bounds, config.bounds), (ConnectionBounds::DEFAULT, CallBounds::DEFAULT));
    assert_eq!(config.memory, MemoryBounds::DEFAULT);
    assert_eq!(config.connectors[0].body_timeout, Duration::from_secs(300));
}

#[test]
fn everything_can_be_written() {
    let config = config(&[("issuers:", ALL)]);
    let seconds = Duration::from_secs;
    let connections = ConnectionBounds {
        connections_max: 10,
        streams_max: 11,
        head_bytes_max: 16_384,
        headers_max: 17,
        handshake_timeout: seconds(2),
        opening_timeout: seconds(3),
        head_timeout: seconds(4),
        idle_timeout: seconds(6),
        write_timeout: seconds(7),
    };
    let calls = CallBounds { target_bytes_max: 2_048, headers_max: 17, call_timeout: seconds(8) };
    assert_eq!((config.server.bounds, config.bounds), (connections, calls));
    let memory = MemoryBounds { delegated_bytes_max: 1 << 30, verified_bytes_max: 1 << 24 };
    assert_eq!(config.memory, memory);
    assert_eq!((config.server.drain_timeout, config.connectors[0].body_timeout), (seconds(1), seconds(5)));
}

#[test]
fn a_connector_may_be_less_patient_with_bodies_and_not_more() {
    let idle = |idle: &str| {
        let connector = format!("kind: rest\n    timeouts: {{ idle: {idle} }}");
        let connector = &config(&[("issuers:", ALL), ("kind: rest", &connector)]).connectors[0];
        (connector.timeouts.idle.as_secs(), connector.body_timeout.as_secs())
    };
    assert_eq!((idle("1s"), idle("9s")), ((1, 1), (9, 5)));
}

#[test]
fn bounds_have_bounds() {
    let bounds = |key: &str| format!("bounds: {{ {key} }}\nissuers:");
    let sizes = "must be a whole number with a unit, like `64MiB`: at least";
    for (written, key, fault) in [
        ("connections: 0", "connections", "must be at least 1 and at most 1000000".to_owned()),
        ("streams: 65537", "streams", "must be at least 1 and at most 65536".to_owned()),
        ("headers: 15", "headers", "must be at least 16 and at most 1024".to_owned()),
        ("head_bytes: 4KiB", "head_bytes", format!("{sizes} `8KiB`, at most `1MiB` (found \"4KiB\")")),
        ("head_bytes: 2MiB", "head_bytes", format!("{sizes} `8KiB`, at most `1MiB` (found \"2MiB\")")),
        ("target_bytes: 65KiB", "target_bytes", format!("{sizes} `1KiB`, at most `64KiB` (found \"65KiB\")")),
    ] {
        check(&[("issuers:", &bounds(written))], &[&format!("2: bounds.{key}: {fault}")]);
    }
    for key in ["delegated_tokens", "verified_tokens"] {
        let memory = format!("memory: {{ {key}: 15MiB }}\nissuers:");
        let fault = format!("2: memory.{key}: {sizes} `16MiB`, at most `1024GiB` (found \"15MiB\")");
        check(&[("issuers:", &memory)], &[&fault]);
    }
    let timeouts = |key: &str| format!("timeouts: {{ {key} }}\nissuers:");
    let durations = "must be more than zero and at most `1h`";
    for key in ["handshake", "opening", "head", "body", "idle", "write"] {
        let fault = format!("2: timeouts.{key}: {durations} (found \"0s\")");
        check(&[("issuers:", &timeouts(&format!("{key}: 0s")))], &[&fault]);
    }
    check(
        &[("issuers:", &timeouts("call: 0s"))],
        &[
            "2: timeouts.call: must be a whole number with a unit, like `15m` or `12h`, and at most `720h` (found \"0s\")",
        ],
    );
}
