//! Time, as an argument. Decisions take a [`Now`]; only the edges read a clock.

use std::sync::OnceLock;
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
    /// What both said when the process began.
    pub began: Beginning,
}

/// Both clocks when the process began to read them.
#[derive(Clone, Copy, Debug)]
pub struct Beginning {
    wall: Duration,
    monotonic: Instant,
}

impl Now {
    /// A reading of both clocks by a process that has just begun.
    pub fn new(wall: Duration, monotonic: Instant) -> Self {
        Self { wall, monotonic, began: Beginning { wall, monotonic } }
    }

    /// Reads both clocks.
    pub fn read() -> Self {
        static BEGAN: OnceLock<Beginning> = OnceLock::new();
        // A wall clock before 1970 reads as 1970: every token is then "not valid yet", which refuses.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let monotonic = Instant::now();
        Self { wall, monotonic, began: *BEGAN.get_or_init(|| Beginning { wall, monotonic }) }
    }

    /// Whole seconds since 1970-01-01 UTC: the unit of `exp`, `nbf` and `iat` (RFC 7519 section 2).
    pub fn unix_seconds(&self) -> u64 {
        self.wall.as_secs()
    }

    /// The same, for what ends: by the wall clock, or by what it said when the process began and what has passed since, whichever is
    /// later. Nobody can tell which of them is right once the wall clock has been set back, and what has ended must not hold again
    /// because of it. Where it was ahead at the start, tokens end early until the process is started again.
    pub fn latest_unix_seconds(&self) -> u64 {
        let passed = self.monotonic.saturating_duration_since(self.began.monotonic);
        self.wall.max(self.began.wall.saturating_add(passed)).as_secs()
    }

    /// This reading, moved forward on both clocks. What lies beyond the clocks' range stays put.
    pub fn after(&self, elapsed: Duration) -> Self {
        Self {
            wall: self.wall.saturating_add(elapsed),
            monotonic: self.monotonic.checked_add(elapsed).unwrap_or(self.monotonic),
            began: self.began,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn what_ends_does_not_hold_again_when_the_wall_clock_is_set_back() {
        let now = Now::new(10 * HOUR, Instant::now());
        let later = now.after(HOUR);
        assert_eq!((later.unix_seconds(), later.latest_unix_seconds()), (11 * 3_600, 11 * 3_600));
        let set_back = Now { wall: later.wall - HOUR, ..later };
        assert_eq!((set_back.unix_seconds(), set_back.latest_unix_seconds()), (10 * 3_600, 11 * 3_600));
        assert_eq!(set_back.after(HOUR).latest_unix_seconds(), 12 * 3_600);
        let set_forward = Now { wall: later.wall + HOUR, ..later };
        assert_eq!(set_forward.latest_unix_seconds(), 12 * 3_600);
        // Forward and back again: as if nothing had been.
        assert_eq!(Now { wall: later.wall, ..set_forward }.latest_unix_seconds(), 11 * 3_600);
    }

    #[test]
    fn no_clock_is_too_far_off() {
        let now = Now::read();
        for wall in [Duration::ZERO, Duration::MAX] {
            let off = Now { wall, ..now };
            assert!(off.latest_unix_seconds() >= now.unix_seconds());
            off.after(Duration::MAX).latest_unix_seconds();
        }
    }
}
