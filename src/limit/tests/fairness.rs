//! Who waits how long, counted in turns, and not in time: a connector that takes one call at a time, and ends one in each step.

use std::collections::VecDeque;

use super::*;

/// Ten callers, each of whom has one call every ten steps: all that the connector can do.
const CALLERS: usize = 10;
const STEPS: usize = 10_000;

/// How many steps the calls of all but the first one wait, in order. That one has `heavy` calls where the others have one.
fn waits(heavy: usize, who: impl Fn(usize) -> Who, turn: fn(usize) -> usize) -> Vec<usize> {
    let now = Now::read();
    let settings = ConcurrencySettings { concurrent: 1, queue: 256, timeout: Duration::from_secs(3_600) };
    let mut turns: FairQueue<(usize, usize)> = FairQueue::new(settings, now.monotonic);
    turns.begin(1);
    let (mut held, mut waits) = (None, Vec::new());
    for step in 0..STEPS {
        for caller in (0..CALLERS).filter(|caller| turn(*caller) == step % CALLERS) {
            let identity = who(caller);
            for _ in 0..if caller == 0 { heavy } else { 1 } {
                match turns.has_room(&identity, now.monotonic) {
                    Ok(()) => drop(turns.join(&identity, (caller, step), now.monotonic)),
                    Err(busy) => assert_eq!((caller, busy.reason), (0, BusyReason::Full), "nobody else"),
                }
            }
        }
        match next(&mut turns, &mut held, now.monotonic) {
            Some((0, _)) => {}
            Some((_, came)) => waits.push(step - came + 1),
            None => turns.begin(1),
        }
    }
    waits.sort_unstable();
    waits
}

/// Thirty callers have three calls in each tenth of a second, of which the connector ends one: how many tenths those wait that it
/// serves, in order, and how many are refused.
fn overloaded(timeout: u64, queue: usize, who: impl Fn(usize) -> Who) -> (Vec<usize>, usize) {
    let began = Now::read();
    let settings = ConcurrencySettings { concurrent: CALLERS, queue, timeout: Duration::from_secs(timeout) };
    let mut turns = busy(settings, began);
    let (mut waits, mut refused) = (Vec::new(), 0);
    let mut held: VecDeque<_> = std::iter::repeat_n(None, CALLERS).collect();
    for step in 0..STEPS {
        let now = began.after(Duration::from_millis(100 * step as u64)).monotonic;
        for call in 0..3 {
            let identity = who((3 * step + call) % (3 * CALLERS));
            match turns.has_room(&identity, now) {
                Ok(()) => drop(turns.join(&identity, step, now)),
                Err(_) => refused += 1,
            }
        }
        turns.release(held.pop_front().expect("some are under way").as_ref(), now);
        while let Some((who, came)) = turns.next(now) {
            held.push_back(Some(who));
            waits.push(step + 1 - came);
        }
    }
    waits.sort_unstable();
    (waits, refused)
}

fn p99(waits: &[usize]) -> usize {
    waits[waits.len() * 99 / 100]
}

#[test]
fn at_three_times_what_a_connector_can_do_the_others_hear_so_before_they_wait() {
    let agents = |caller: usize| who("ada", &format!("agent {caller}"));
    let people = |caller: usize| who(&format!("person {caller}"), "planner");
    // Where the queue is long, the time bounds it: five seconds are fifty tenths. Where the time is long, the queue does: who has more
    // calls in it than others waits longer than if it were one queue for all.
    for (timeout, queue, most) in [(5, 1_000, 50), (3_600, 60, 120)] {
        for (waits, refused) in [overloaded(timeout, queue, agents), overloaded(timeout, queue, people)] {
            println!(
                "{} in the middle, {} mostly, {:?} at most",
                waits[STEPS / 2],
                p99(&waits),
                waits.last()
            );
            assert!(waits.last() <= Some(&most), "{:?} of {most}", waits.last());
            assert!((2 * STEPS - queue.min(50 * 3)..=2 * STEPS).contains(&refused), "{refused}");
        }
    }
}

fn at_once(_: usize) -> usize {
    0
}

fn spread(caller: usize) -> usize {
    caller
}

#[track_caller]
fn check(who: impl Fn(usize) -> Who) {
    for turn in [at_once as fn(usize) -> usize, spread] {
        let (even, uneven) = (waits(1, &who, turn), waits(10, &who, turn));
        println!("{} before, {} now", p99(&even), p99(&uneven));
        // Each of the others had all of its calls served, but for some in the last round.
        assert!(uneven.len() + CALLERS > (CALLERS - 1) * STEPS / CALLERS, "{}", uneven.len());
        assert!(p99(&uneven) < 2 * p99(&even), "{} before, {} now", p99(&even), p99(&uneven));
    }
}

#[test]
fn an_agent_at_ten_times_its_share_does_not_double_what_others_wait() {
    check(|caller| who("ada", &format!("agent {caller}")));
}

#[test]
fn nor_does_a_person_with_one_agent() {
    check(|caller| who(&format!("person {caller}"), "planner"));
}

#[test]
fn nor_do_many_people_of_one_agent() {
    // A hundred people of the heavy one take turns with each other, and not with those of the others.
    let calls = std::cell::Cell::new(0);
    check(|caller| {
        calls.set(calls.get() + 1);
        let person = if caller == 0 { format!("person {}", calls.get() % 100) } else { "ada".to_owned() };
        who(&person, &format!("agent {caller}"))
    });
}
