//! Time, as an argument. Decisions take a [`Now`]; only the edges read a clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One reading of both clocks.
///
/// The wall clock is compared with the claims of a token and is written into records; it can be set
/// back and forth by an operator. The monotonic clock measures lifetimes.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Time since 1970-01-01 UTC by the wall clock.
    pub wall: Duration,
    /// The monotonic clock.
    pub monotonic: Instant,
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Self {
        // A wall clock before 1970 reads as 1970: every token is then "not valid yet", which refuses.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall, monotonic: Instant::now() }
    }

    /// Whole seconds since 1970-01-01 UTC: the unit of `exp`, `nbf` and `iat` (RFC 7519 section 2).
    pub fn unix_seconds(&self) -> u64 {
        self.wall.as_secs()
    }

    /// This reading, moved forward on both clocks. What lies beyond the clocks' range stays put.
    pub fn after(&self, elapsed: Duration) -> Self {
        Self {
            wall: self.wall.saturating_add(elapsed),
            monotonic: self.monotonic.checked_add(elapsed).unwrap_or(self.monotonic),
        }
    }
}
