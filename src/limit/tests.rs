use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;

use super::fair_queue::FairQueue;
use super::testing::{caller, limit, who};
use super::*;
use crate::clock::Now;

mod fairness;
mod shares;

const CONCURRENCY: ConcurrencySettings =
    ConcurrencySettings { concurrent: 1, queue: 8, timeout: Duration::from_secs(5) };

/// FairQueue with every place taken, by nobody that it knows.
fn busy<T>(settings: ConcurrencySettings, now: Now) -> FairQueue<T> {
    let mut turns = FairQueue::new(settings, now.monotonic);
    turns.begin(settings.concurrent);
    turns
}

/// Whose turn it is when the one call ends that is under way, `held` by whoever had the last turn.
fn next<T>(turns: &mut FairQueue<T>, held: &mut Option<Who>, now: Instant) -> Option<T> {
    turns.release(held.take().as_ref(), now);
    let (who, call) = turns.next(now)?;
    *held = Some(who);
    Some(call)
}

/// Whose turn it is, one after the other, as the calls before them end.
fn served(turns: &mut FairQueue<&'static str>, held: &mut Option<Who>, now: Now) -> Vec<&'static str> {
    std::iter::from_fn(|| next(turns, held, now.monotonic)).collect()
}

#[test]
fn agents_take_turns_and_so_do_the_people_of_each() {
    let now = Now::read();
    let mut turns = busy(CONCURRENCY, now);
    for (person, agent, call) in [
        ("ada", "planner", "a1"),
        ("ada", "planner", "a2"),
        ("ada", "planner", "a3"),
        ("bob", "planner", "b1"),
        ("bob", "planner", "b2"),
        ("cleo", "helper", "c1"),
        ("cleo", "helper", "c2"),
    ] {
        turns.join(&who(person, agent), call, now.monotonic);
    }
    assert_eq!(served(&mut turns, &mut None, now), ["a1", "c1", "b1", "c2", "a2", "b2", "a3"]);
    assert_eq!((turns.under_way(), turns.waiting()), (0, 0));
}

#[test]
fn who_leaves_is_not_served_and_holds_nobody_up() {
    let now = Now::read();
    let mut turns = busy(CONCURRENCY, now);
    let (ada, bob) = (who("ada", "planner"), who("bob", "planner"));
    let first = turns.join(&ada, "a1", now.monotonic);
    turns.join(&ada, "a2", now.monotonic);
    let alone = turns.join(&bob, "b1", now.monotonic);
    turns.leave(&ada, first);
    turns.leave(&bob, alone);
    // Twice is once, and whoever was never there leaves nothing behind.
    turns.leave(&bob, alone);
    turns.leave(&who("cleo", "helper"), 77);
    assert_eq!(turns.waiting(), 1);
    assert_eq!(served(&mut turns, &mut None, now), ["a2"]);
}

#[test]
fn who_leaves_and_comes_again_is_not_first_again() {
    let now = Now::read();
    let (ada, bob) = (who("ada", "planner"), who("bob", "helper"));
    let mut turns = busy(CONCURRENCY, now);
    for (who, call) in [(&ada, "a1"), (&ada, "a2"), (&bob, "b1"), (&bob, "b2")] {
        turns.join(who, call, now.monotonic);
    }
    let mut held = None;
    for expected in ["a1", "b1", "a2"] {
        assert_eq!(next(&mut turns, &mut held, now.monotonic), Some(expected));
    }
    let number = turns.join(&ada, "a3", now.monotonic);
    turns.leave(&ada, number);
    turns.join(&ada, "a3", now.monotonic);
    turns.join(&who("cleo", "writer"), "c1", now.monotonic);
    assert_eq!(served(&mut turns, &mut held, now), ["c1", "b2", "a3"]);
}

#[test]
fn a_crowd_of_whom_each_comes_once_holds_nobody_up_for_ever_and_is_not_remembered() {
    let now = Now::read();
    for crowd in
        [|call: usize| who(&format!("{call}"), "planner"), |call: usize| who("ada", &format!("{call}"))]
    {
        let mut turns = busy(ConcurrencySettings { queue: 1_000, ..CONCURRENCY }, now);
        let heavy = who("ada", "planner");
        for _ in 0..10 {
            turns.join(&heavy, "heavy", now.monotonic);
        }
        let (mut held, mut between, mut since) = (None, Vec::new(), 0);
        for call in 0..10_000 {
            turns.join(&crowd(call), "one of many", now.monotonic);
            since += 1;
            if next(&mut turns, &mut held, now.monotonic) == Some("heavy") {
                between.push(since);
                since = 0;
            }
        }
        assert_eq!(between.len(), 10);
        assert!(between.iter().all(|turns| *turns <= 17), "{between:?}");
        assert!(turns.remembered() <= 100, "{}", turns.remembered());
    }
}

/// How many calls of these may wait, one agent or person after the other, until there is no room for any.
#[track_caller]
fn check_room(queue: usize, callers: &[(&str, &str)], expected: &[usize]) {
    let now = Now::read();
    let mut turns = busy(ConcurrencySettings { queue, ..CONCURRENCY }, now);
    let mut counts = vec![0; callers.len()];
    loop {
        let before = turns.waiting();
        for ((person, agent), count) in callers.iter().zip(&mut counts) {
            let who = who(person, agent);
            if turns.has_room(&who, now.monotonic).is_ok() {
                turns.join(&who, "call", now.monotonic);
                *count += 1;
            }
        }
        if turns.waiting() == before {
            break;
        }
    }
    assert_eq!(counts, expected, "of {queue}");
}

#[test]
fn nobody_takes_up_all_the_room() {
    check_room(0, &[("ada", "planner")], &[0]);
    check_room(1, &[("ada", "planner")], &[1]);
    check_room(128, &[("ada", "planner")], &[43]);
    check_room(128, &[("ada", "planner"), ("bob", "planner")], &[26, 26]);
    check_room(128, &[("ada", "planner"), ("bob", "helper")], &[32, 32]);
    // Whoever comes last finds some.
    let now = Now::read();
    let mut turns = busy(ConcurrencySettings { queue: 128, ..CONCURRENCY }, now);
    let heavy = who("ada", "planner");
    while turns.has_room(&heavy, now.monotonic).is_ok() {
        turns.join(&heavy, "call", now.monotonic);
    }
    assert_eq!(turns.has_room(&heavy, now.monotonic).expect_err("no room").reason, BusyReason::Full);
    assert_eq!(turns.has_room(&who("bob", "planner"), now.monotonic), Ok(()));
    assert_eq!(turns.has_room(&who("cleo", "helper"), now.monotonic), Ok(()));
    // Whoever comes by many agents is one person, though each agent has room of its own.
    let by_many = |agent: usize| who("ada", &format!("agent {agent}"));
    let mut turns = busy(ConcurrencySettings { queue: 128, ..CONCURRENCY }, now);
    for agent in 0..1_000 {
        if turns.has_room(&by_many(agent), now.monotonic).is_ok() {
            turns.join(&by_many(agent), "call", now.monotonic);
        }
    }
    assert_eq!(turns.waiting(), 64);
}

#[test]
fn nobody_is_let_wait_in_vain() {
    let began = Now::read();
    let mut turns = busy(CONCURRENCY, began);
    let ada = who("ada", "planner");
    let room = |turns: &FairQueue<_>, after: u64| {
        let now = began.after(Duration::from_millis(after)).monotonic;
        turns.has_room(&ada, now).map_err(|busy| (busy.reason, busy.retry_after.as_secs()))
    };
    assert_eq!(room(&turns, 4_999), Ok(()));
    // No place has become free for as long as a call would wait.
    assert_eq!(room(&turns, 5_000), Err((BusyReason::Slow, 1)));
    // One did after six seconds: the next one is not to be expected within five.
    let after = |seconds| began.after(Duration::from_secs(seconds)).monotonic;
    turns.join(&ada, "a1", began.monotonic);
    let mut held = None;
    assert_eq!(next(&mut turns, &mut held, after(6)), Some("a1"));
    assert_eq!(room(&turns, 6_001), Err((BusyReason::Slow, 6)));
    // As soon as all have gone, nothing is known any more.
    assert_eq!(next(&mut turns, &mut held, after(7)), None);
    assert!(turns.may_have(&ada));
    turns.take(&ada, after(8));
    assert_eq!(room(&turns, 8_001), Ok(()));
}

#[test]
fn with_fewer_places_than_calls_a_turn_is_waited_for_as_before() {
    let began = Now::read();
    let mut turns: FairQueue<&str> =
        FairQueue::new(ConcurrencySettings { concurrent: 3, ..CONCURRENCY }, began.monotonic);
    turns.begin(2);
    let later = began.after(Duration::from_secs(3_600)).monotonic;
    turns.set(CONCURRENCY, later);
    let ada = who("ada", "planner");
    assert!(!turns.may_have(&ada));
    assert_eq!(turns.has_room(&ada, later), Ok(()), "an hour ago nobody waited");
    turns.join(&ada, "a1", later);
    assert_eq!(next(&mut turns, &mut None, later), None, "there is still one more than there may be");
    assert_eq!(next(&mut turns, &mut None, later), Some("a1"));
}

#[test]
fn a_line_is_as_long_as_can_be_served_in_time() {
    let began = Now::read();
    let mut turns = busy(ConcurrencySettings { queue: 100, ..CONCURRENCY }, began);
    let (ada, bob) = (who("ada", "planner"), who("bob", "helper"));
    turns.join(&ada, "a0", began.monotonic);
    // One second each.
    let now = began.after(Duration::from_secs(1)).monotonic;
    assert_eq!(next(&mut turns, &mut None, now), Some("a0"));
    let mut waiting = 0;
    while turns.has_room(&ada, now).is_ok() {
        turns.join(&ada, "a", now);
        waiting += 1;
    }
    // The fourth would be expected after four of the five seconds, and what is expected is not certain.
    assert_eq!((waiting, turns.has_room(&ada, now).expect_err("none").reason), (3, BusyReason::Slow));
    // Another agent's turn is the next but one, whatever stands there.
    assert_eq!(turns.has_room(&bob, now), Ok(()));
}

fn queue(settings: ConcurrencySettings) -> (Arc<Queue>, Arc<Metrics>) {
    let metrics = Arc::<Metrics>::default();
    (Queue::new(settings, "crm", &metrics), metrics)
}

fn ask(queue: &Arc<Queue>, person: &str) -> Result<Asked, Busy> {
    queue.ask(|| who(person, "planner"))
}

#[track_caller]
fn place(queue: &Arc<Queue>) -> Place {
    match ask(queue, "ada") {
        Ok(Asked::Place(place)) => place,
        Ok(Asked::Waiting(_)) => panic!("a place was free"),
        Err(busy) => panic!("{busy}"),
    }
}

#[track_caller]
fn waiting(queue: &Arc<Queue>) -> Waiting {
    match ask(queue, "bob") {
        Ok(Asked::Waiting(waiting)) => waiting,
        Ok(Asked::Place(_)) => panic!("no place was free"),
        Err(busy) => panic!("{busy}"),
    }
}

fn ada() -> Who {
    who("ada", "planner")
}

/// What the metrics show: calls under way, and waiting.
#[track_caller]
fn check_shown(metrics: &Metrics, under_way: usize, waiting: usize) {
    let text = String::from_utf8(metrics.render().expect("metrics")).expect("text");
    for (name, value) in [("calls_in_progress", under_way), ("queue_entries", waiting)] {
        let expected = format!("obo_gateway_connector_{name}{{connector=\"crm\"}} {value}\n");
        assert!(text.contains(&expected), "{expected} in {text}");
    }
}

#[tokio::test]
async fn a_place_that_is_given_back_goes_to_whose_turn_it_is() {
    let (queue, metrics) = queue(CONCURRENCY);
    let first = place(&queue);
    let (mut second, third) = (Box::pin(waiting(&queue).turn()), waiting(&queue));
    check_shown(&metrics, 1, 2);
    assert!(second.as_mut().now_or_never().is_none(), "it is still held");
    drop(first);
    let second = second.now_or_never().expect("its turn").expect("a place");
    check_shown(&metrics, 1, 1);
    drop(second);
    drop(third.turn().now_or_never().expect("its turn").expect("a place"));
    check_shown(&metrics, 0, 0);
}

#[tokio::test]
async fn who_hangs_up_while_waiting_leaves_the_line_at_once() {
    let (queue, metrics) = queue(CONCURRENCY);
    let first = place(&queue);
    let mut leaves = Box::pin(waiting(&queue).turn());
    assert!(leaves.as_mut().now_or_never().is_none());
    let stays = waiting(&queue);
    drop(leaves);
    check_shown(&metrics, 1, 1);
    drop(first);
    drop(stays.turn().now_or_never().expect("its turn").expect("a place"));
    check_shown(&metrics, 0, 0);
}

#[tokio::test]
async fn a_place_that_nobody_takes_any_more_goes_on() {
    let (queue, metrics) = queue(CONCURRENCY);
    let first = place(&queue);
    let (leaves, stays) = (waiting(&queue), waiting(&queue));
    // It has its turn, and has not noticed.
    drop(first);
    check_shown(&metrics, 1, 1);
    drop(leaves);
    drop(stays.turn().now_or_never().expect("its turn").expect("a place"));
    check_shown(&metrics, 0, 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_calls_wait() {
    let (queue, metrics) = queue(CONCURRENCY);
    let first = place(&queue);
    let began = tokio::time::Instant::now();
    let Err(busy) = waiting(&queue).turn().await else { panic!("no place was free") };
    assert_eq!((busy.reason, began.elapsed().as_secs()), (BusyReason::TimedOut, 5));
    check_shown(&metrics, 1, 0);
    drop(first);
    check_shown(&metrics, 0, 0);
}

#[tokio::test]
async fn where_nobody_waits_the_answer_is_no_at_once() {
    let (queue, _) = queue(ConcurrencySettings { queue: 0, ..CONCURRENCY });
    let first = place(&queue);
    let Err(busy) = ask(&queue, "bob") else { panic!("there is no room") };
    assert_eq!(busy.reason, BusyReason::Full);
    assert!(queue.has_room(|| who("bob", "planner")).is_err());
    drop(first);
    drop(place(&queue));
}

#[tokio::test]
async fn more_places_are_given_to_those_who_wait_and_fewer_take_nobodys() {
    let (queue, metrics) = queue(CONCURRENCY);
    let (first, second) = (place(&queue), waiting(&queue));
    queue.set(ConcurrencySettings { concurrent: 2, ..CONCURRENCY });
    let second = second.turn().now_or_never().expect("its turn").expect("a place");
    queue.set(CONCURRENCY);
    check_shown(&metrics, 2, 0);
    let third = waiting(&queue);
    drop(first);
    check_shown(&metrics, 1, 1);
    drop(second);
    drop(third.turn().now_or_never().expect("its turn").expect("a place"));
    check_shown(&metrics, 0, 0);
}

#[test]
fn a_call_of_few_meets_no_lock_and_nobody_asks_whose_it_is() {
    let (queue, metrics) = queue(ConcurrencySettings { concurrent: 8, ..CONCURRENCY });
    // Many were taken a moment ago.
    drop([place(&queue), place(&queue), place(&queue)]);
    let locked = queue.lock();
    let (done, is_done) = std::sync::mpsc::channel();
    let other = Arc::clone(&queue);
    let calls = std::thread::spawn(move || {
        let who = || panic!("nobody needs to know");
        other.has_room(who).expect("there is room");
        let first = other.ask(who).expect("there is room");
        let second = other.take_free(who);
        let were_free = (matches!(first, Asked::Place(_)), second.is_some());
        drop((first, second));
        done.send(were_free).expect("the test listens");
    });
    assert_eq!(is_done.recv_timeout(Duration::from_secs(20)), Ok((true, true)), "it waits at a lock");
    drop(locked);
    calls.join().expect("all is well");
    check_shown(&metrics, 0, 0);
}

#[test]
fn a_place_is_taken_once_more_where_one_is_free_and_otherwise_others_go_first() {
    let (queue, metrics) = queue(ConcurrencySettings { concurrent: 2, ..CONCURRENCY });
    let first = place(&queue);
    check_shown(&metrics, 1, 0);
    let second = queue.take_free(ada);
    assert!(second.is_some() && queue.take_free(ada).is_none());
    let waiting = waiting(&queue);
    drop(first);
    // Its turn has come, though it has not noticed.
    assert!(queue.take_free(ada).is_none());
    check_shown(&metrics, 2, 0);
    drop((second, waiting));
    drop(queue.take_free(ada).expect("all are free"));
    check_shown(&metrics, 0, 0);
}

#[test]
fn a_line_that_is_gone_is_no_longer_shown() {
    let (queue, metrics) = queue(CONCURRENCY);
    check_shown(&metrics, 0, 0);
    drop(queue);
    let text = String::from_utf8(metrics.render().expect("metrics")).expect("text");
    assert!(!text.contains("calls_in_progress{") && !text.contains("queue_entries{"), "{text}");
}

/// How many calls are at work at a time, for a connector with eight places.
#[derive(Default)]
struct AtWork(AtomicUsize);

impl AtWork {
    const PLACES: usize = 8;

    fn begin(&self) {
        assert!(self.0.fetch_add(1, Ordering::SeqCst) < Self::PLACES, "one more than there are places");
    }

    fn end(&self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn there_are_never_more_calls_than_places_however_they_come_and_go() {
    let settings = ConcurrencySettings { concurrent: AtWork::PLACES, queue: 0, ..CONCURRENCY };
    let (queue, metrics) = queue(settings);
    let at_work = AtWork::default();
    std::thread::scope(|scope| {
        for thread in 0..12 {
            let (queue, at_work, who) = (&queue, &at_work, who(&format!("person {thread}"), "planner"));
            scope.spawn(move || {
                for round in 0..5_000 {
                    let place = match round % 2 {
                        0 => queue.take_free(|| who),
                        _ => match queue.ask(|| who) {
                            Ok(Asked::Place(place)) => Some(place),
                            Ok(Asked::Waiting(_)) => panic!("none waits"),
                            Err(_) => None,
                        },
                    };
                    let Some(place) = place else { continue };
                    at_work.begin();
                    at_work.end();
                    drop(place);
                }
            });
        }
        scope.spawn(|| {
            for round in 0..500 {
                queue.set(ConcurrencySettings { concurrent: 1 + round % AtWork::PLACES, ..settings });
            }
            queue.set(settings);
        });
    });
    check_shown(&metrics, 0, 0);
    let others = |other: usize| who(&format!("person {other}"), "planner");
    let all: Vec<_> = (0..100).filter_map(|other| queue.take_free(|| others(other))).collect();
    assert_eq!(all.len(), AtWork::PLACES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_who_waits_is_missed_however_many_leave() {
    const CALLS: usize = 100;
    let (queue, metrics) = queue(ConcurrencySettings {
        concurrent: AtWork::PLACES,
        queue: 1_000,
        timeout: Duration::from_secs(3_600),
    });
    let at_work = Arc::new(AtWork::default());
    let callers = (0..32).map(|caller| {
        let (queue, at_work) = (Arc::clone(&queue), Arc::clone(&at_work));
        let who = who(&format!("person {caller}"), "planner");
        tokio::spawn(async move {
            for call in 0..CALLS {
                let place = match queue.ask(|| who).expect("there is room for all") {
                    Asked::Place(place) => place,
                    // Some leave before their turn, or in the moment in which it comes.
                    Asked::Waiting(waiting) if call % 3 == 0 => {
                        tokio::task::yield_now().await;
                        drop(waiting);
                        continue;
                    }
                    Asked::Waiting(waiting) => waiting.turn().await.expect("its turn"),
                };
                at_work.begin();
                tokio::task::yield_now().await;
                at_work.end();
                drop(place);
            }
        })
    });
    let all = futures_util::future::try_join_all(callers);
    tokio::time::timeout(Duration::from_secs(60), all)
        .await
        .expect("somebody waits for ever")
        .expect("all well");
    check_shown(&metrics, 0, 0);
}

/// Limits of `crm` and of its tool `export`.
fn limits(rates: &[Arc<RateLimit>], tool: &[Arc<RateLimit>], previous: Option<&Limits>) -> Limits {
    let tools = BTreeMap::from([(ToolName::new("export"), tool.to_vec())]);
    let settings = LimitSettings { rates: rates.to_vec(), tools, concurrency: CONCURRENCY };
    let name = ConnectorName::new("crm");
    Limits::new([(&name, &settings)], previous, &Arc::default())
}

fn count(limits: &Limits, tool: &str, who: &Who, now: Instant) -> Result<(), (String, Duration)> {
    let of_connector = limits.of(&ConnectorName::new("crm"));
    let tool = Tool::of("crm", tool);
    of_connector.count(of_connector.limiters_of(&tool), who, now).map_err(|error| match error {
        LimitError::Used { limit, retry_after } => (limit.name.to_string(), retry_after),
        LimitError::Busy(busy) => panic!("{busy}"),
    })
}

#[test]
fn a_call_counts_in_every_limit_or_in_none() {
    let limits = limits(&[limit(Each::Total, 3), limit(Each::Person, 2)], &[], None);
    let now = Instant::now();
    let (ada, bob) = (who("ada", "planner"), who("bob", "planner"));
    assert_eq!((count(&limits, "list", &ada, now), count(&limits, "list", &ada, now)), (Ok(()), Ok(())));
    for _ in 0..10 {
        let (name, _) = count(&limits, "list", &ada, now).expect_err("hers is used up");
        assert_eq!(name, "connectors.crm.limits.person");
    }
    assert_eq!(count(&limits, "list", &bob, now), Ok(()), "she took nothing from the others' one");
    for _ in 0..10 {
        let (name, _) = count(&limits, "list", &bob, now).expect_err("nothing is left of the common one");
        assert_eq!(name, "connectors.crm.limits.total");
    }
    // Nor did his own count while the other one refused.
    assert_eq!(count(&limits, "list", &bob, now + Duration::from_secs(20)), Ok(()));
}

#[test]
fn what_is_somebodys_own_is_asked_before_what_is_common() {
    let limits = limits(&[limit(Each::Total, 1), limit(Each::Agent, 1), limit(Each::Person, 1)], &[], None);
    let of_connector = limits.of(&ConnectorName::new("crm"));
    let asked: Vec<_> = of_connector.limiters.iter().map(|limiter| limiter.limit().each).collect();
    assert_eq!(asked, [Each::Person, Each::Agent, Each::Total]);
}

#[test]
fn who_comes_back_when_told_is_let_through_by_every_limit() {
    let limits = limits(&[limit(Each::Person, 60), limit(Each::Agent, 60), limit(Each::Total, 1)], &[], None);
    let now = Instant::now();
    let ada = who("ada", "planner");
    assert_eq!(count(&limits, "list", &ada, now), Ok(()));
    for _ in 1..60 {
        limits.limiters["connectors.crm.limits.person"].take(&ada, now).expect("some are left");
    }
    // Her own is used up for a second, and the common one for a minute.
    let (name, wait) = count(&limits, "list", &ada, now).expect_err("used up");
    assert_eq!((name.as_str(), wait.as_secs_f64().ceil()), ("connectors.crm.limits.total", 60.0));
    assert_eq!(count(&limits, "list", &ada, now + wait), Ok(()));
}

#[test]
fn a_tool_has_limits_beside_its_connectors() {
    let now = Instant::now();
    let tool = RateLimit { level: Level::Tool, name: "tool".into(), ..(*limit(Each::Person, 1)).clone() };
    let limits = limits(&[limit(Each::Person, 2)], &[Arc::new(tool)], None);
    let ada = who("ada", "planner");
    assert_eq!(count(&limits, "export", &ada, now), Ok(()));
    assert_eq!(count(&limits, "export", &ada, now).expect_err("used up").0, "tool");
    assert_eq!(count(&limits, "list", &ada, now), Ok(()));
    assert_eq!(count(&limits, "list", &ada, now).expect_err("used up").0, "connectors.crm.limits.person");
    // A prompt of that name is no such tool.
    let of_connector = limits.of(&ConnectorName::new("crm"));
    let prompt = Tool { primitive: Primitive::Prompt, ..Tool::of("crm", "export") };
    assert_eq!(of_connector.limiters_of(&prompt).len(), 1);
}

#[test]
fn a_reload_keeps_the_counts_of_limits_that_have_not_changed() {
    let (now, ada) = (Instant::now(), who("ada", "planner"));
    let before = limits(&[limit(Each::Person, 1), limit(Each::Agent, 1)], &[], None);
    assert_eq!(count(&before, "list", &ada, now), Ok(()));
    let same = limits(&[limit(Each::Person, 1), limit(Each::Agent, 1)], &[], Some(&before));
    assert_eq!(count(&same, "list", &ada, now).expect_err("as before").0, "connectors.crm.limits.person");
    let changed = limits(&[limit(Each::Person, 2), limit(Each::Agent, 1)], &[], Some(&before));
    assert_eq!(count(&changed, "list", &ada, now).expect_err("as before").0, "connectors.crm.limits.agent");
    let gone = limits(&[limit(Each::Person, 2)], &[], Some(&changed));
    assert_eq!(count(&gone, "list", &ada, now), Ok(()));
}

#[tokio::test]
async fn a_reload_keeps_the_calls_that_are_under_way() {
    let before = limits(&[], &[], None);
    let crm = ConnectorName::new("crm");
    let place = place(&before.of(&crm).queue);
    let after = limits(&[], &[], Some(&before));
    let waiting = waiting(&after.of(&crm).queue);
    drop(place);
    assert!(waiting.turn().now_or_never().expect("its turn").is_ok());
}

#[test]
fn a_person_is_forgotten_where_they_are_known() {
    use crate::identity::{Realm, Subject};
    let (now, ada) = (Instant::now(), who("ada", "planner"));
    let limits = limits(&[limit(Each::Person, 1)], &[], None);
    let issuer = caller("ada", "planner").issuer().clone();
    let issuers = [(issuer.clone(), Tenant::Sole)];
    let person = |subject, issuer: &Issuer| Person {
        realm: Realm::Issuers([issuer.clone()].into()),
        subject: Subject::new(subject),
    };
    assert_eq!(count(&limits, "list", &ada, now), Ok(()));
    limits.forget(&person("bob", &issuer), issuers.clone());
    limits.forget(&person("ada", &Issuer::new("https://other.example")), issuers.clone());
    assert!(count(&limits, "list", &ada, now).is_err());
    limits.forget(&person("ada", &issuer), issuers);
    assert_eq!(count(&limits, "list", &ada, now), Ok(()));
}
