//! Further attempts: how many there may be, and how long to wait before each.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::random;

/// The longest pause before the second attempt; it doubles with each. The pause is drawn evenly from nothing to that
/// (full jitter), so that callers who failed together do not come back together.
const FIRST_PAUSE_MAX: Duration = Duration::from_millis(100);
/// How many requests pay for one retry: retries add at most a tenth to what a struggling server is asked.
const REQUESTS_PER_RETRY: u64 = 10;
/// How many retries can be saved up.
const SAVED_RETRIES_MAX: u64 = 10;
/// All that can be saved up, in parts of a retry.
const SAVED_MAX: u64 = SAVED_RETRIES_MAX * REQUESTS_PER_RETRY;

/// The retries of one server that have been paid for.
pub struct RetryBudget {
    /// In parts of [`REQUESTS_PER_RETRY`].
    saved: AtomicU64,
}

impl RetryBudget {
    /// With as many as can be saved up.
    pub fn new() -> Self {
        Self { saved: AtomicU64::new(SAVED_MAX) }
    }

    /// A request pays its part of a retry.
    pub fn save(&self) {
        // Mostly all is saved that can be, and then nothing is written that other threads read.
        if self.saved.load(Ordering::Relaxed) < SAVED_MAX {
            let saved = |saved: u64| Some((saved + 1).min(SAVED_MAX));
            let _ = self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, saved);
        }
    }

    /// Whether a retry has been paid for. It is then spent.
    pub fn spend(&self) -> bool {
        let spent = |saved: u64| saved.checked_sub(REQUESTS_PER_RETRY);
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent).is_ok()
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new()
    }
}

/// How long to wait before another attempt, when `tried` have been made.
pub fn pause_before(tried: u32) -> Duration {
    let doublings = tried.saturating_sub(1).min(10);
    FIRST_PAUSE_MAX.mul_f64(f64::from(1_u32 << doublings) * random_fraction())
}

/// A fraction between 0 and 1, drawn evenly.
fn random_fraction() -> f64 {
    let mut bytes = [0; 2];
    random::fill(&mut bytes);
    f64::from(u16::from_be_bytes(bytes)) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_requests_pay_for_a_retry_and_ten_retries_are_saved_up() {
        let budget = RetryBudget::new();
        let spent =
            |budget: &RetryBudget| std::iter::repeat_with(|| budget.spend()).take_while(|x| *x).count();
        assert_eq!(spent(&budget), 10);
        (0..9).for_each(|_| budget.save());
        assert_eq!(spent(&budget), 0);
        budget.save();
        assert_eq!(spent(&budget), 1);
        (0..1_000).for_each(|_| budget.save());
        assert_eq!(spent(&budget), 10);
    }

    #[test]
    fn pauses_double_and_are_drawn_from_nothing_to_the_longest() {
        for (tried, longest) in [(1, 100), (2, 200), (3, 400), (99, 102_400)] {
            let longest = Duration::from_millis(longest);
            let pauses: Vec<_> = (0..200).map(|_| pause_before(tried)).collect();
            assert!(pauses.iter().all(|pause| *pause <= longest), "{pauses:?}");
            assert!(pauses.iter().any(|pause| *pause < longest / 2), "{pauses:?}");
            assert!(pauses.iter().any(|pause| *pause > longest / 2), "{pauses:?}");
        }
    }
}
