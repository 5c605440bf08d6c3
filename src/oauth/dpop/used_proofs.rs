//! Which DPoP proofs have been used: remembered for as long as one could be used again, in bounded room.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::oauth::claims::CLOCK_SKEW_SECONDS;

/// How long a proof could be used: from a clock that is behind to one that is ahead. See `PROOF_AGE_SECONDS_MAX`.
const USABLE_FOR: Duration = Duration::from_secs(super::PROOF_AGE_SECONDS_MAX + 2 * CLOCK_SKEW_SECONDS + 1);
/// Into how many parts the memory is divided, so that the cores do not wait for one another.
const SHARDS: usize = 16;
/// Most proofs that one part remembers of one period: with all parts, 5,000 calls a second. That many fit a table of
/// 65,536 places of 33 bytes; of both periods, all parts take 70 MB at most.
const SHARD_PROOFS_MAX: usize = 57_344;

/// The proofs of the last minutes.
pub struct UsedProofs([Mutex<Shard>; SHARDS]);

/// What became of an attempt to use a proof.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// It was unused, and now it is used.
    ForTheFirstTime,
    /// It was used already.
    Before,
    /// There is no room to remember it, so it cannot be let through.
    NoRoom,
}

/// Two periods: what has been used in the present one, and in the one before. What is older could not be used again.
#[derive(Default)]
struct Shard {
    present: HashSet<[u8; 32]>,
    before: HashSet<[u8; 32]>,
    began: Option<Instant>,
}

impl Default for UsedProofs {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl UsedProofs {
    /// Uses up the proof of this digest.
    pub fn take(&self, digest: [u8; 32], now: Instant) -> Taken {
        let shard = &self.0[usize::from(digest[0]) % SHARDS];
        // A panic in between leaves it whole: one proof more or less.
        shard.lock().unwrap_or_else(PoisonError::into_inner).take(digest, now)
    }
}

impl Shard {
    fn take(&mut self, digest: [u8; 32], now: Instant) -> Taken {
        let age = now.saturating_duration_since(*self.began.get_or_insert(now));
        if age >= USABLE_FOR {
            self.before = std::mem::take(&mut self.present);
            if age >= 2 * USABLE_FOR {
                self.before.clear();
            }
            self.began = Some(now);
        }
        if self.present.contains(&digest) || self.before.contains(&digest) {
            return Taken::Before;
        }
        if self.present.len() >= SHARD_PROOFS_MAX {
            return Taken::NoRoom;
        }
        self.present.insert(digest);
        Taken::ForTheFirstTime
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_remembered_for_as_long_as_it_could_be_used() {
        let (used, start) = (UsedProofs::default(), Instant::now());
        for begun in [0, 100, 180] {
            // Whenever in a period it is first used.
            let (proof, first) = ([begun as u8; 32], start + Duration::from_secs(begun));
            assert_eq!(used.take(proof, first), Taken::ForTheFirstTime);
            assert_eq!(used.take(proof, first), Taken::Before);
            assert_eq!(used.take(proof, first + USABLE_FOR - Duration::from_secs(1)), Taken::Before);
        }
        assert_eq!(used.take([0; 32], start + 4 * USABLE_FOR), Taken::ForTheFirstTime);
    }

    #[test]
    fn what_cannot_be_remembered_is_not_let_through() {
        let (mut shard, now) = (Shard::default(), Instant::now());
        let proof = |number: usize| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            digest
        };
        for number in 0..SHARD_PROOFS_MAX {
            assert_eq!(shard.take(proof(number), now), Taken::ForTheFirstTime);
        }
        assert_eq!(shard.take(proof(SHARD_PROOFS_MAX), now), Taken::NoRoom);
        assert_eq!(shard.take(proof(0), now), Taken::Before);
        assert_eq!(shard.take(proof(SHARD_PROOFS_MAX), now + USABLE_FOR), Taken::ForTheFirstTime);
    }
}
