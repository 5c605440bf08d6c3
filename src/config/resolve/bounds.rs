//! `timeouts`, `bounds` and `memory`: what agents may have open and send, and how long, and how much is kept of people's tokens.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::values;
use crate::config::at::At;
use crate::config::file::{self, File};
use crate::gateway::{CallBounds, MemoryBounds};
use crate::server::ConnectionBounds;

/// No head is read whole that is larger, and HTTP/1 wants room for some of it.
const HEAD_BYTES: RangeInclusive<u64> = 8_192..=1_048_576;
/// No target is read that is longer.
const TARGET_BYTES: RangeInclusive<u64> = 1_024..=65_536;

/// What holds a few of the largest tokens in each of a cache's parts, and more than a machine has.
const MEMORY_BYTES: RangeInclusive<u64> = 16 * 1_048_576..=1 << 40;

/// How long nothing may come of an agent's body unless it is configured. An agent may send on what it gets from somewhere else, piece
/// by piece.
const BODY_TIMEOUT: Duration = Duration::from_secs(300);

/// The bounds of connections.
pub fn of_connections(file: &File, root: &At<'_>) -> Option<ConnectionBounds> {
    let defaults = ConnectionBounds::DEFAULT;
    let bounds = file.bounds.as_ref();
    let at = |key| root.key("bounds").key(key);
    let connections = bounds.and_then(|bounds| bounds.connections);
    let connections_max = count(&at("connections"), connections, defaults.connections_max, 1..=1_000_000);
    let streams = bounds.and_then(|bounds| bounds.streams);
    let streams_max = count(&at("streams"), streams, defaults.streams_max as usize, 1..=65_536);
    let head_bytes = bounds.and_then(|bounds| bounds.head_bytes.as_deref());
    let head_bytes_max = values::size_within(&at("head_bytes"), head_bytes, HEAD_BYTES);
    let duration = |key, of: fn(&file::Timeouts) -> &Option<String>, default| {
        let given = file.timeouts.as_ref().and_then(|timeouts| of(timeouts).as_deref());
        values::duration(&root.key("timeouts").key(key), given, default)
    };
    let headers = bounds.and_then(|bounds| bounds.headers);
    let headers_max = count(&at("headers"), headers, defaults.headers_max, 16..=1_024);
    let handshake = duration("handshake", |given| &given.handshake, defaults.handshake_timeout);
    let opening = duration("opening", |given| &given.opening, defaults.opening_timeout);
    let head = duration("head", |given| &given.head, defaults.head_timeout);
    let idle = duration("idle", |given| &given.idle, defaults.idle_timeout);
    let write = duration("write", |given| &given.write, defaults.write_timeout);
    Some(ConnectionBounds {
        connections_max: connections_max?,
        streams_max: u32::try_from(streams_max?).ok()?,
        head_bytes_max: head_bytes_max?
            .map_or(Some(defaults.head_bytes_max), |bytes| u32::try_from(bytes).ok())?,
        headers_max: headers_max?,
        handshake_timeout: handshake?,
        opening_timeout: opening?,
        head_timeout: head?,
        idle_timeout: idle?,
        write_timeout: write?,
    })
}

/// The bounds of calls. `headers_max` is that of their connections.
pub fn of_calls(file: &File, root: &At<'_>, headers_max: Option<usize>) -> Option<CallBounds> {
    let defaults = CallBounds::DEFAULT;
    let target_bytes = file.bounds.as_ref().and_then(|bounds| bounds.target_bytes.as_deref());
    let target_bytes_max =
        values::size_within(&root.key("bounds").key("target_bytes"), target_bytes, TARGET_BYTES);
    let call = file.timeouts.as_ref().and_then(|timeouts| timeouts.call.as_deref());
    let call_timeout = values::age(&root.key("timeouts").key("call"), call);
    Some(CallBounds {
        target_bytes_max: target_bytes_max?
            .map_or(Some(defaults.target_bytes_max), |bytes| usize::try_from(bytes).ok())?,
        headers_max: headers_max?,
        call_timeout: call_timeout?.unwrap_or(defaults.call_timeout),
    })
}

/// How much memory people's tokens may take.
pub fn of_memory(file: &File, root: &At<'_>) -> Option<MemoryBounds> {
    let defaults = MemoryBounds::DEFAULT;
    let size = |key, of: fn(&file::Memory) -> &Option<String>, default| {
        let given = file.memory.as_ref().and_then(|memory| of(memory).as_deref());
        let bytes = values::size_within(&root.key("memory").key(key), given, MEMORY_BYTES);
        bytes?.map_or(Some(default), |bytes| usize::try_from(bytes).ok())
    };
    let delegated = size("delegated_tokens", |memory| &memory.delegated_tokens, defaults.delegated_bytes_max);
    let verified = size("verified_tokens", |memory| &memory.verified_tokens, defaults.verified_bytes_max);
    Some(MemoryBounds { delegated_bytes_max: delegated?, verified_bytes_max: verified? })
}

/// How long nothing may come of a request's body, whatever the connector.
pub fn body_timeout(file: &File, root: &At<'_>) -> Option<Duration> {
    let given = file.timeouts.as_ref().and_then(|timeouts| timeouts.body.as_deref());
    values::duration(&root.key("timeouts").key("body"), given, BODY_TIMEOUT)
}

fn count(at: &At<'_>, given: Option<u32>, default: usize, range: RangeInclusive<u32>) -> Option<usize> {
    match given {
        None => (!at.is_written()).then_some(default),
        Some(count) if range.contains(&count) => usize::try_from(count).ok(),
        Some(_) => {
            at.fault(format_args!("must be at least {} and at most {}", range.start(), range.end()));
            None
        }
    }
}
