//! `timeouts`, `bounds` and `memory`: how long the gateway waits for agents, how much they may have open and send, and how much is
//! kept of people's tokens.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{DURATION, SIZE};

/// How long the gateway waits for agents, and how long they may have it wait. What is open when they are changed by a reload
/// keeps those that it began with, but for `drain` and `call`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// How long running calls may take to finish when the gateway stops. Default: `30s`.
    #[schemars(regex(pattern = DURATION))]
    pub drain: Option<String>,
    /// How long a TLS handshake may take. Default: `10s`.
    #[schemars(regex(pattern = DURATION))]
    pub handshake: Option<String>,
    /// How long the first 24 bytes of a connection may take. Default: `10s`.
    #[schemars(regex(pattern = DURATION))]
    pub opening: Option<String>,
    /// How long the head of a request may take, from its first byte to its last. Default: `30s`.
    #[schemars(regex(pattern = DURATION))]
    pub head: Option<String>,
    /// How long nothing may come of a request's body; a connector's `timeouts.idle` counts where it is shorter. Default:
    /// `5m`.
    #[schemars(regex(pattern = DURATION))]
    pub body: Option<String>,
    /// How long a connection is kept on which there is no call (keep-alive). Behind a load balancer: longer than that keeps
    /// its own. Default: `30s`.
    #[schemars(regex(pattern = DURATION))]
    pub idle: Option<String>,
    /// How long an agent may leave unread what there is to read. Default: `1m`.
    #[schemars(regex(pattern = DURATION))]
    pub write: Option<String>,
    /// How long a call may take from its arrival to the end of its answer, event streams too. Default: `1h`.
    #[schemars(regex(pattern = DURATION))]
    pub call: Option<String>,
}

/// How much agents may have open, and how much they may send at once.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// Most connections at a time; who comes then waits. Each takes a file descriptor, and another towards a connector,
    /// and there are no more than there are descriptors for.
    /// Default: 16384.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: Option<u32>,
    /// Most calls at a time on one HTTP/2 connection. Default: 256.
    #[schemars(range(min = 1, max = 65_536))]
    pub streams: Option<u32>,
    /// Largest head of a request, its token included. Default: `64KiB`.
    #[schemars(regex(pattern = SIZE))]
    pub head_bytes: Option<String>,
    /// Most header lines of a request. Default: 100. With any other number, each request costs one allocation more.
    #[schemars(range(min = 16, max = 1_024))]
    pub headers: Option<u32>,
    /// Longest target of a request: its path, at most 8 KiB, and its query. Default: `16KiB`.
    #[schemars(regex(pattern = SIZE))]
    pub target_bytes: Option<String>,
}

/// How much memory people's tokens may take. Who has none there is served all the same: their token is verified and exchanged
/// again, which takes the time of a question to the authorization server.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// For delegated tokens, at least `16MiB`: 1 KiB for each person and connector. At most half of it, and at most 32 MiB,
    /// holds those ready whose people call at the moment. Default: `64MiB`.
    #[schemars(regex(pattern = SIZE))]
    pub delegated_tokens: Option<String>,
    /// For tokens that agents sent and that were verified, at least `16MiB`: some 6 KiB for each of 1.7 KB. Default: `128MiB`.
    #[schemars(regex(pattern = SIZE))]
    pub verified_tokens: Option<String>,
}
