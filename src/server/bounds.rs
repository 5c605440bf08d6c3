//! What one connection from an agent may have, and how long it may take. All of it can be configured; the defaults are what an
//! ordinary agent never comes near.

use std::time::Duration;

/// The bounds of agents' connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionBounds {
    /// Most connections at a time.
    pub connections_max: usize,
    /// Most calls at a time on one HTTP/2 connection.
    pub streams_max: u32,
    /// Largest head of a request.
    pub head_bytes_max: u32,
    /// Most header lines of a request.
    pub headers_max: usize,
    /// Longest time for a TLS handshake.
    pub handshake_timeout: Duration,
    /// Longest wait for the first words of a connection.
    pub opening_timeout: Duration,
    /// Longest time from the first byte of a request's head to its last.
    pub head_timeout: Duration,
    /// How long a connection without a call is kept.
    pub idle_timeout: Duration,
    /// Longest wait for an agent that reads nothing while there is something to read.
    pub write_timeout: Duration,
}

impl ConnectionBounds {
    /// What holds unless the configuration says otherwise.
    pub const DEFAULT: Self = Self {
        // Each takes a file descriptor, and another towards a connector.
        connections_max: 16_384,
        // What RFC 9113 section 6.5.2 recommends at least, and some more.
        streams_max: 256,
        // A token of 16 KiB has room in it, and so have generous cookies.
        head_bytes_max: 65_536,
        // Real requests have some twenty.
        // As many as hyper has room for on the stack.
        headers_max: 100,
        // Some round trips on a bad line, and no more.
        handshake_timeout: Duration::from_secs(10),
        // Telling HTTP/1 from HTTP/2 takes 24 bytes, which every client sends at once.
        opening_timeout: Duration::from_secs(10),
        // 64 KiB over a slow line.
        head_timeout: Duration::from_secs(30),
        // Between two calls of an agent at work.
        idle_timeout: Duration::from_secs(30),
        // An agent that is busy with what it has read so far.
        write_timeout: Duration::from_secs(60),
    };
}
