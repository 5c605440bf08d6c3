//! How long a token is kept, and when it is renewed before anybody has to wait.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::key::CacheKey;
use crate::clock::Now;

/// Longest time that a token is reused. Someone who is locked out keeps access until then, or until their own token
/// expires, whichever is first.
pub const REUSE_CAP: Duration = Duration::from_secs(3_600);
/// How long before its end a token is no longer handed out: time for the call to arrive and be checked.
const REUSE_MARGIN: Duration = Duration::from_secs(30);
/// The parts of its life after which a token that is in use is renewed, in thousandths: spread between them by key,
/// so that what was obtained at the same time is not renewed at the same time.
const REFRESH_FROM: f64 = 0.70;
const REFRESH_SPREAD: f64 = 0.10;
/// How long to wait after one attempt to renew before the next.
const REFRESH_PAUSE: Duration = Duration::from_secs(30);
/// The lifetime of a token whose server says none: longer than any.
const UNSAID: u32 = u32::MAX;

/// The life of a token that is kept: there may be a million of them.
#[derive(Debug)]
pub struct Life {
    asked: Instant,
    /// How long the token lives, in whole seconds, or [`UNSAID`].
    lifetime: u32,
    /// Milliseconds after `asked` from which on it is to be renewed.
    refresh_due: AtomicU32,
}

impl Life {
    /// The life of a token that was asked for at `asked`, is kept under `key`, and lives for `lifetime`, where its
    /// server says so.
    pub fn new(lifetime: Option<Duration>, key: &CacheKey, asked: Now) -> Self {
        // A server that does not say how long its token lives gets asked each time.
        let seconds =
            |lifetime: Duration| u32::try_from(lifetime.as_secs()).unwrap_or(UNSAID).min(UNSAID - 1);
        let lifetime = lifetime.map_or(UNSAID, seconds);
        let life = Self { asked: asked.monotonic, lifetime, refresh_due: AtomicU32::default() };
        let refresh_after = life.reusable_for().mul_f64(REFRESH_FROM + REFRESH_SPREAD * key.fraction());
        life.refresh_due.store(milliseconds(refresh_after), Ordering::Relaxed);
        life
    }

    /// How long the token lives from when it was asked for, where its server says so.
    pub fn lifetime(&self) -> Option<Duration> {
        (self.lifetime != UNSAID).then(|| Duration::from_secs(self.lifetime.into()))
    }

    /// When it was asked for.
    pub fn asked(&self) -> Instant {
        self.asked
    }

    /// How long ago it was asked for.
    pub fn age(&self, now: Now) -> Duration {
        now.monotonic.saturating_duration_since(self.asked)
    }

    /// Whether it may still be handed out.
    pub fn is_reusable(&self, now: Now) -> bool {
        self.age(now) < self.reusable_for()
    }

    /// Whether it is time to renew it, and nobody else has been told so.
    pub fn is_to_be_renewed(&self, now: Now) -> bool {
        let (age, due) = (milliseconds(self.age(now)), self.refresh_due.load(Ordering::Relaxed));
        if age < due {
            return false;
        }
        let next = age.saturating_add(milliseconds(REFRESH_PAUSE));
        self.refresh_due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn reusable_for(&self) -> Duration {
        self.lifetime().map_or(Duration::ZERO, |lifetime| reusable_for(lifetime, REUSE_CAP))
    }
}

/// How long a token may be reused: its own life, capped, less a margin.
fn reusable_for(lifetime: Duration, cap: Duration) -> Duration {
    lifetime.min(cap).saturating_sub(REUSE_MARGIN)
}

/// 49 days at most, which no token is kept for.
fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_reuse(lifetime: u64, cap: u64, expected: u64) {
        let reusable = reusable_for(Duration::from_secs(lifetime), Duration::from_secs(cap));
        assert_eq!(reusable, Duration::from_secs(expected));
    }

    #[test]
    fn the_wall_clock_has_no_part_in_it() {
        let asked = Now::read();
        let key = crate::credential::key::tests::fields().key();
        let life = Life::new(Some(Duration::from_secs(600)), &key, asked);
        let set = |now: Now, wall: Duration| Now { wall, ..now };
        let hour = Duration::from_secs(3_600);
        let (last, late) = (asked.after(Duration::from_secs(569)), asked.after(Duration::from_secs(570)));
        for step in [|wall: Duration, by| wall + by, |wall: Duration, by| wall - by] {
            assert!(life.is_reusable(set(last, step(last.wall, hour))));
            assert!(!life.is_reusable(set(late, step(late.wall, hour))));
            assert!(!life.is_to_be_renewed(set(asked, step(asked.wall, hour))));
        }
        assert!(life.is_to_be_renewed(set(last, Duration::ZERO)));
    }

    #[test]
    fn a_token_is_reused_for_its_own_life_capped_less_a_margin() {
        check_reuse(3600, 600, 570);
        check_reuse(300, 600, 270);
        check_reuse(30, 600, 0);
        check_reuse(10, 600, 0);
        check_reuse(u64::MAX, 600, 570);
    }
}
