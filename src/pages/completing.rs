//! How many sign-ins are completed: at a time, and of one address.
//!
//! Whoever makes up codes must not be able to make up load for an issuer, nor to keep others from signing in. Who it is nobody knows
//! before the issuer has said so; where they are, the connection says. A company behind one address is not hurt: those who do
//! sign in are only counted for as long as that takes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::problem::Problem;

/// Most sign-ins that are completed at a time.
const COMPLETING_MAX: usize = 32;
/// Most of one place. An issuer answers within a second, so that this is hundreds of people a minute.
const COMPLETING_OF_ONE_MAX: usize = 8;
/// How many of one place may come to nothing one after the other.
const FAILING_MAX: u32 = 30;
/// How soon one of them is forgiven: thirty a minute.
const FORGIVEN_AFTER: Duration = Duration::from_secs(2);
/// Most places that are remembered, some 1 MB; the one gives way that is soonest forgiven all.
const PLACES_MAX: usize = 10_000;

/// The sign-ins that are being completed.
#[derive(Default)]
pub struct Completing(Mutex<Places>);

/// One of them. When it is dropped, the next one can begin; it counts as come to nothing, unless it says otherwise.
pub struct Turn<'a> {
    all: &'a Completing,
    place: Place,
}

/// Where somebody is: an IPv4 address, or the network of an IPv6 address (RFC 6177: nobody has less than a /64).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Place(IpAddr);

#[derive(Default)]
struct Places {
    completing: usize,
    known: HashMap<Place, Count>,
}

#[derive(Clone, Copy)]
struct Count {
    completing: usize,
    /// When all that came to nothing is forgiven. What is being completed counts as that until it is known.
    forgiven: Instant,
}

impl Completing {
    /// Begins one of this address.
    ///
    /// # Errors
    ///
    /// [`Problem::TooMany`] when there are too many of the address, [`Problem::Busy`] when there are too many of all.
    pub fn begin(&self, address: IpAddr, now: Instant) -> Result<Turn<'_>, Problem> {
        let place = Place::of(address);
        let mut places = self.lock();
        let count = places.known.get(&place).copied().unwrap_or(Count { completing: 0, forgiven: now });
        let forgiven = count.forgiven.max(now) + FORGIVEN_AFTER;
        if count.completing >= COMPLETING_OF_ONE_MAX || forgiven > now + FORGIVEN_AFTER * FAILING_MAX {
            return Err(Problem::TooMany);
        }
        if places.completing >= COMPLETING_MAX {
            return Err(Problem::Busy);
        }
        places.make_room(now);
        places.completing += 1;
        places.known.insert(place, Count { completing: count.completing + 1, forgiven });
        Ok(Turn { all: self, place })
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        // It is whole after every change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Somebody was signed in.
    pub fn came_to_something(self) {
        if let Some(count) = self.all.lock().known.get_mut(&self.place) {
            count.forgiven -= FORGIVEN_AFTER;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut places = self.all.lock();
        places.completing -= 1;
        if let Some(count) = places.known.get_mut(&self.place) {
            count.completing -= 1;
        }
    }
}

impl Place {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.into()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
        }
    }
}

impl Places {
    fn make_room(&mut self, now: Instant) {
        if self.known.len() >= PLACES_MAX {
            self.known.retain(|_, count| count.completing > 0 || count.forgiven > now);
        }
        let idle = self.known.iter().filter(|(_, count)| count.completing == 0);
        if self.known.len() >= PLACES_MAX
            && let Some(place) = idle.min_by_key(|(_, count)| count.forgiven).map(|(place, _)| *place)
        {
            self.known.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "192.0.2.1";

    fn at(address: &str) -> IpAddr {
        address.parse().expect("an address")
    }

    #[track_caller]
    fn check_same(one: &str, other: &str, is_same: bool) {
        assert_eq!(Place::of(at(one)) == Place::of(at(other)), is_same, "{one} {other}");
    }

    #[test]
    fn a_place_is_an_address_or_the_network_of_one() {
        check_same(ONE, ONE, true);
        check_same(ONE, "192.0.2.2", false);
        check_same(ONE, "::ffff:192.0.2.1", true);
        check_same("::ffff:192.0.2.1", "::ffff:192.0.2.2", false);
        check_same("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true);
        check_same("2001:db8:0:1::1", "2001:db8:0:2::1", false);
    }

    #[test]
    fn one_place_leaves_turns_to_others_and_all_have_so_many() {
        let (all, now) = (Completing::default(), Instant::now());
        let begin = |address: &str| all.begin(at(address), now);
        let mut turns: Vec<_> = (0..COMPLETING_OF_ONE_MAX).map(|_| begin(ONE).ok()).collect();
        assert_eq!(begin(ONE).err(), Some(Problem::TooMany));
        for n in 2.. {
            match begin(&format!("192.0.2.{n}")) {
                Ok(turn) => turns.push(Some(turn)),
                Err(problem) => {
                    assert_eq!(problem, Problem::Busy);
                    break;
                }
            }
        }
        assert_eq!(turns.iter().flatten().count(), COMPLETING_MAX);
        turns.remove(0);
        assert!(begin("192.0.2.200").is_ok(), "there is one again");
        assert!(begin(ONE).is_ok(), "of that place as well");
    }

    #[test]
    fn what_comes_to_nothing_is_forgiven_after_a_while_and_the_rest_at_once() {
        let (all, now) = (Completing::default(), Instant::now());
        for _ in 0..FAILING_MAX * 2 {
            all.begin(at(ONE), now).expect("a turn").came_to_something();
        }
        for _ in 0..FAILING_MAX {
            drop(all.begin(at(ONE), now).expect("a turn"));
        }
        assert_eq!(all.begin(at(ONE), now).err(), Some(Problem::TooMany));
        assert!(all.begin(at("192.0.2.2"), now).is_ok());
        assert_eq!(
            all.begin(at(ONE), now + FORGIVEN_AFTER - Duration::from_millis(1)).err(),
            Some(Problem::TooMany)
        );
        drop(all.begin(at(ONE), now + FORGIVEN_AFTER).expect("a turn"));
        assert_eq!(all.begin(at(ONE), now + FORGIVEN_AFTER).err(), Some(Problem::TooMany));
        let later = now + FORGIVEN_AFTER * FAILING_MAX * 10;
        let turns = (0..FAILING_MAX * 2).filter(|_| all.begin(at(ONE), later).is_ok()).count();
        assert_eq!(turns, FAILING_MAX as usize, "nobody saves turns up");
    }

    #[test]
    fn places_are_bounded_and_those_that_failed_most_are_kept() {
        let (all, now) = (Completing::default(), Instant::now());
        let fail = |address: IpAddr, at| all.begin(address, at).map(drop);
        for _ in 0..FAILING_MAX {
            assert!(fail(at(ONE), now).is_ok());
        }
        let held = all.begin(at("192.0.2.2"), now).expect("a turn");
        let others = (0..PLACES_MAX as u32 + 100).map(|n| IpAddr::from(n.to_be_bytes()));
        for other in others {
            assert!(fail(other, now).is_ok());
        }
        assert_eq!(all.lock().known.len(), PLACES_MAX);
        assert_eq!(fail(at(ONE), now), Err(Problem::TooMany));
        drop(held);
        assert_eq!(all.lock().completing, 0);
        assert!(all.lock().known.values().all(|count| count.completing == 0));
        assert!(fail(at("198.51.100.1"), now + FORGIVEN_AFTER * FAILING_MAX).is_ok());
        assert_eq!(all.lock().known.len(), 1, "who is forgiven all is not remembered");
    }
}
