//! A token bucket, in one number.
//!
//! What is kept is the moment at which the bucket is full again. Time is counted in parts of a microsecond, as many as the rate has
//! calls: so one call is worth a whole number of them, nothing is ever rounded, and nothing drifts.

use std::time::Duration;

use super::settings::Rate;

/// A bucket; a new one is full. Time is a number of microseconds of the monotonic clock, since whenever its owner began to count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bucket {
    /// When it is full again, in parts of a microsecond.
    full_at: u128,
}

impl Bucket {
    /// Takes a call out of it.
    ///
    /// # Errors
    ///
    /// How long until there is one in it.
    pub fn take(&mut self, rate: Rate, now: u64) -> Result<(), Duration> {
        match self.wait(rate, now) {
            Duration::ZERO => {
                self.full_at = self.full_at.max(parts(rate, now)) + cost(rate);
                Ok(())
            }
            wait => Err(wait),
        }
    }

    /// Puts a call back that was taken and not made.
    pub fn give_back(&mut self, rate: Rate) {
        self.full_at = self.full_at.saturating_sub(cost(rate));
    }

    /// How long until there is a call in it.
    pub fn wait(self, rate: Rate, now: u64) -> Duration {
        let room = cost(rate) * u128::from(rate.burst() - 1);
        let short = self.lacks(rate, now).saturating_sub(room);
        let micros = short.div_ceil(u128::from(rate.calls()));
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// What it lacks to be full, in parts of a microsecond.
    pub fn lacks(self, rate: Rate, now: u64) -> u128 {
        self.full_at.saturating_sub(parts(rate, now))
    }
}

/// A moment, in parts of a microsecond.
fn parts(rate: Rate, micros: u64) -> u128 {
    u128::from(micros) * u128::from(rate.calls())
}

/// What a call is worth: as many parts as flow in within the rate's time, divided by its calls.
fn cost(rate: Rate) -> u128 {
    rate.per().as_micros()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000;

    fn rate(calls: u32, seconds: u64, burst: u32) -> Rate {
        Rate::new(calls, Duration::from_secs(seconds), burst)
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_comes_evenly() {
        let (rate, mut bucket) = (rate(60, 60, 3), Bucket::default());
        for _ in 0..3 {
            assert_eq!(bucket.take(rate, 5 * SECOND), Ok(()));
        }
        assert_eq!(bucket.take(rate, 5 * SECOND), Err(Duration::from_secs(1)));
        assert_eq!(bucket.take(rate, 5 * SECOND + 400_000), Err(Duration::from_millis(600)));
        assert_eq!(bucket.take(rate, 6 * SECOND), Ok(()));
        assert_eq!(bucket.take(rate, 6 * SECOND), Err(Duration::from_secs(1)));
        // However long nobody called.
        for _ in 0..3 {
            assert_eq!(bucket.take(rate, u64::MAX), Ok(()));
        }
        assert!(bucket.take(rate, u64::MAX).is_err());
    }

    #[test]
    fn who_comes_back_when_told_is_let_through_and_not_before() {
        let (rate, mut bucket) = (rate(7, 1, 1), Bucket::default());
        let mut now = 0;
        for _ in 0..700 {
            assert_eq!(bucket.take(rate, now), Ok(()));
            let wait = bucket.wait(rate, now);
            let micros = u64::try_from(wait.as_micros()).expect("less than a second");
            assert!(bucket.take(rate, now + micros - 1).is_err());
            now += micros;
        }
        // 700 calls at seven a second: a hundred seconds. A wait is a whole number of microseconds, and the next call goes on from
        // what is exact.
        assert!((99 * SECOND..=100 * SECOND + 700).contains(&now), "{now}");
    }

    #[test]
    fn sevenths_do_not_drift() {
        let (rate, mut bucket) = (rate(7, 1, 7), Bucket::default());
        // Tried every millisecond for a thousand seconds.
        let let_through = (0..1_000_000_u64).filter(|now| bucket.take(rate, now * 1_000).is_ok()).count();
        assert_eq!(let_through, 7 + 6_999);
    }

    #[test]
    fn what_is_put_back_can_be_taken_and_no_more_than_was_there() {
        let (rate, mut bucket) = (rate(1, 60, 2), Bucket::default());
        assert_eq!((bucket.take(rate, 0), bucket.take(rate, 0)), (Ok(()), Ok(())));
        bucket.give_back(rate);
        assert_eq!(bucket.take(rate, 0), Ok(()));
        assert!(bucket.take(rate, 0).is_err());
        for _ in 0..5 {
            bucket.give_back(rate);
        }
        assert_eq!((bucket.take(rate, 0), bucket.take(rate, 0)), (Ok(()), Ok(())));
        assert!(bucket.take(rate, 0).is_err());
    }

    #[test]
    fn a_clock_that_others_read_later_gives_nothing_away() {
        let (rate, mut bucket) = (rate(1, 1, 1), Bucket::default());
        assert_eq!(bucket.take(rate, 10 * SECOND), Ok(()));
        // A reading that is older by the time it is looked at.
        assert_eq!(bucket.take(rate, 9 * SECOND), Err(Duration::from_secs(2)));
        assert_eq!(bucket.take(rate, 11 * SECOND), Ok(()));
        assert!(bucket.take(rate, 11 * SECOND).is_err());
    }

    proptest! {
        /// Whatever comes whenever: in no stretch of time more than the burst and what flows in meanwhile.
        #[test]
        fn never_more_than_the_burst_and_what_flows_in(
            calls in 1..1_000_u32,
            seconds in 1..100_u64,
            burst in 1..50_u32,
            pauses in prop::collection::vec(prop_oneof![Just(0_u64), 0..1_000_u64, 0..10_000_000_u64], 1..300),
        ) {
            let (rate, mut bucket, mut now) = (rate(calls, seconds, burst), Bucket::default(), 0_u64);
            let mut through: Vec<u64> = Vec::new();
            for pause in pauses {
                now += pause;
                let wait = bucket.wait(rate, now);
                prop_assert_eq!(bucket.take(rate, now).is_ok(), wait == Duration::ZERO);
                if wait == Duration::ZERO {
                    through.push(now);
                }
            }
            for (index, &began) in through.iter().enumerate() {
                for (count, &ended) in through[index..].iter().enumerate() {
                    // With whole numbers: (count + 1 - burst) × per ≤ elapsed × calls.
                    let beyond_burst = (count as u128 + 1).saturating_sub(u128::from(burst));
                    let flowed_in = u128::from(ended - began) * u128::from(calls);
                    prop_assert!(beyond_burst * u128::from(seconds) * 1_000_000 <= flowed_in);
                }
            }
        }

        /// And never less: who waits as long as they are told is let through.
        #[test]
        fn a_wait_is_enough(
            calls in 1..1_000_000_u32,
            seconds in 1..86_400_u64,
            burst in prop_oneof![1..50_u32, 1..1_000_000_u32],
            now in 0..u64::from(u32::MAX),
            taken in 1..100_u32,
        ) {
            let (rate, mut bucket) = (rate(calls, seconds, burst), Bucket::default());
            for _ in 0..taken {
                let _ = bucket.take(rate, now);
            }
            let micros = u64::try_from(bucket.wait(rate, now).as_micros()).expect("some days");
            prop_assert!(micros <= 86_400_000_000);
            prop_assert_eq!(bucket.take(rate, now + micros), Ok(()));
        }
    }
}
