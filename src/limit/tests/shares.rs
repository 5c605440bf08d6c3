//! How many of the places one person or agent can have, with calls that never end, and who is served as soon as any of them does.

use super::*;

/// So many places, none of which anybody gives back, and nobody waits for one.
fn places(concurrent: usize) -> Arc<Queue> {
    queue(ConcurrencySettings { concurrent, queue: 0, ..CONCURRENCY }).0
}

/// The places that these get, one call after the other.
fn taken(queue: &Arc<Queue>, calls: usize, who: impl Fn(usize) -> Who) -> Vec<Place> {
    let ask = |call| match queue.ask(|| who(call)) {
        Ok(Asked::Place(place)) => Some(place),
        Ok(Asked::Waiting(_)) => panic!("nobody may wait"),
        Err(_) => None,
    };
    (0..calls).filter_map(ask).collect()
}

/// How many of all places somebody alone gets.
#[track_caller]
fn check_alone(who: impl Fn(usize) -> Who, expected: &[(usize, usize)]) {
    for (concurrent, most) in expected {
        assert_eq!(taken(&places(*concurrent), 2 * concurrent, &who).len(), *most, "of {concurrent}");
    }
}

#[test]
fn one_person_has_three_quarters_of_the_places_at_most_through_whichever_agents() {
    let expected = [(1, 1), (2, 2), (3, 2), (4, 3), (16, 12), (64, 48), (1_024, 768)];
    check_alone(|_| who("ada", "planner"), &expected);
    check_alone(|call| who("ada", &format!("agent {call}")), &expected);
}

#[test]
fn one_agent_leaves_some_to_others_whomever_it_acts_for() {
    let expected = [(1, 1), (8, 8), (12, 11), (64, 59), (1_024, 939)];
    check_alone(|call| who(&format!("person {call}"), "planner"), &expected);
}

#[test]
fn there_is_a_place_for_who_has_none_however_many_hold_all_that_they_get() {
    for crowd in [1, 2, 5, 20] {
        let queue = places(1_024);
        let people = taken(&queue, 20_000, |call| who(&format!("person {}", call % crowd), "planner"));
        assert!(people.len() > 700);
        let more = taken(&queue, 2, |call| who(&format!("bob {call}"), "planner"));
        assert_eq!(more.len(), 2, "another person of that agent, beside {crowd}");
        drop(people);
        drop(more);
        let _agents =
            taken(&queue, 20_000, |call| who(&format!("{call}"), &format!("agent {}", call % crowd)));
        assert_eq!(taken(&queue, 2, |call| who(&format!("bob {call}"), "helper")).len(), 2, "beside {crowd}");
    }
}

#[test]
fn what_has_been_given_back_counts_for_nobody() {
    let queue = places(64);
    for _ in 0..3 {
        assert_eq!(taken(&queue, 100, |_| ada()).len(), 48);
    }
    assert_eq!(queue.lock().remembered(), 0);
}

#[tokio::test]
async fn who_holds_most_is_served_after_those_who_hold_less_and_as_soon_as_there_is_enough() {
    let queue = queue(ConcurrencySettings { concurrent: 8, queue: 100, ..CONCURRENCY }).0;
    let mut held = Vec::new();
    let adas = loop {
        match queue.ask(ada).expect("there is room to wait") {
            Asked::Place(place) => held.push(place),
            Asked::Waiting(waiting) => break waiting,
        }
    };
    assert_eq!(held.len(), 6);
    let mut adas = Box::pin(adas.turn());
    let others = ["bob", "cleo"].map(|person| {
        let Ok(Asked::Place(place)) = queue.ask(|| who(person, "helper")) else { panic!("two are left") };
        place
    });
    // They come after her, one of them by her own agent, and have what she gives back.
    let [bob, cleo] = [("bob", "helper"), ("cleo", "planner")].map(|(person, agent)| {
        let Ok(Asked::Waiting(waiting)) = queue.ask(|| who(person, agent)) else { panic!("all are taken") };
        waiting
    });
    drop(held.pop());
    let cleo = cleo.turn().now_or_never().expect("her turn").expect("a place");
    drop(held.pop());
    let bob = bob.turn().now_or_never().expect("his turn").expect("a place");
    assert!(adas.as_mut().now_or_never().is_none(), "others have too few");
    drop((bob, cleo));
    assert!(adas.now_or_never().is_some(), "there is enough for others beside");
    drop((held, others));
}
