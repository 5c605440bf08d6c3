//! The queue before a connector: places, and those who wait for one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::fair_queue::{Busy, BusyReason, FairQueue};
use super::places::Places;
use super::settings::ConcurrencySettings;
use super::who::Who;
use crate::metrics::{Metrics, QueueCounts, QueueMetrics};

type Ticket = oneshot::Sender<Place>;

/// Which part of the places nobody counts for anybody: a connector that has so little to do has room for all. So one person can have
/// this quarter, and two thirds of the rest.
const UNCOUNTED: usize = 4;

/// The queue before one connector. It outlives reloads, as the calls do that are under way.
pub struct Queue {
    places: Places,
    /// Of those under way it knows only while `places` leave them to it.
    turns: Mutex<FairQueue<Ticket>>,
    metrics: QueueMetrics,
}

/// A place at a connector, until it is dropped. `None`: the call needs none.
pub struct Place(Option<Held>);

struct Held {
    queue: Arc<Queue>,
    /// For whom it is counted. `None`: for nobody. Boxed, since every call carries its place about, and few are counted.
    who: Option<Box<Who>>,
}

impl Place {
    /// What is held by a call that needs no place.
    pub const NONE: Self = Self(None);
}

/// What came of asking for a place.
pub enum Asked {
    /// One was free.
    Place(Place),
    /// None was.
    Waiting(Waiting),
}

/// A call that waits for its turn, until it is dropped.
pub struct Waiting {
    queue: Arc<Queue>,
    who: Who,
    /// By which it leaves the queue. `None`: it has had its turn.
    number: Option<u64>,
    timeout: Duration,
    turn: oneshot::Receiver<Place>,
}

impl Queue {
    /// Nobody is there yet. The metrics show how many there are as long as the queue exists.
    pub fn new(settings: ConcurrencySettings, connector: &str, metrics: &Metrics) -> Arc<Self> {
        let queue = Arc::new(Self {
            places: Places::new(settings.concurrent / UNCOUNTED),
            turns: Mutex::new(FairQueue::new(settings, Instant::now())),
            metrics: metrics.queues.of(connector),
        });
        let watched = Arc::downgrade(&queue);
        metrics.queues.watch(connector, move || watched.upgrade().map(|queue| queue.counts()));
        queue
    }

    /// Other settings.
    pub fn set(self: &Arc<Self>, settings: ConcurrencySettings) {
        let now = Instant::now();
        let turns = self.change(|turns| {
            turns.set(settings, now);
            all_whose_turn_it_is(turns, now)
        });
        self.hand_over(turns);
    }

    /// Whether a call that asks now could get a place in time.
    ///
    /// # Errors
    ///
    /// [`Busy`] when there is none, and none to be expected.
    pub fn has_room(&self, who: impl FnOnce() -> Who) -> Result<(), Busy> {
        if self.places.taken().is_some() {
            return Ok(());
        }
        let (who, now) = (who(), Instant::now());
        self.change(|turns| if turns.may_have(&who) { Ok(()) } else { turns.has_room(&who, now) })
    }

    /// Takes a place, or stands in the queue for one.
    ///
    /// # Errors
    ///
    /// [`Busy`] when there is none, and none to be expected in time.
    pub fn ask(self: &Arc<Self>, who: impl FnOnce() -> Who) -> Result<Asked, Busy> {
        if self.places.take() {
            return Ok(Asked::Place(self.place(None)));
        }
        let (who, now) = (who(), Instant::now());
        self.change(|turns| {
            if turns.may_have(&who) {
                turns.take(&who, now);
                return Ok(Asked::Place(self.place(Some(who))));
            }
            turns.has_room(&who, now)?;
            let (ticket, turn) = oneshot::channel();
            let number = Some(turns.join(&who, ticket, now));
            let timeout = turns.timeout();
            Ok(Asked::Waiting(Waiting { queue: Arc::clone(self), who, number, timeout, turn }))
        })
    }

    /// Takes a place if one is free that this one may have.
    pub fn take_free(self: &Arc<Self>, who: impl FnOnce() -> Who) -> Option<Place> {
        if self.places.take() {
            return Some(self.place(None));
        }
        let who = who();
        let is_taken = self.change(|turns| {
            let may_have = turns.may_have(&who);
            if may_have {
                turns.take(&who, Instant::now());
            }
            may_have
        });
        is_taken.then(|| self.place(Some(who)))
    }

    fn place(self: &Arc<Self>, who: Option<Who>) -> Place {
        Place(Some(Held { queue: Arc::clone(self), who: who.map(Box::new) }))
    }

    /// Gives a place back, and on to whose turn it is. In between nobody else can take it.
    fn release(&self, who: Option<&Who>) -> Vec<(Who, Ticket)> {
        if who.is_none() && self.places.give_back() {
            return Vec::new();
        }
        let now = Instant::now();
        self.change(|turns| {
            turns.release(who, now);
            all_whose_turn_it_is(turns, now)
        })
    }

    /// Whoever has left since gets nothing, and the next one does.
    fn hand_over(self: &Arc<Self>, mut turns: Vec<(Who, Ticket)>) {
        while let Some((who, ticket)) = turns.pop() {
            if let Err(mut unwanted) = ticket.send(self.place(Some(who))) {
                unwanted.0 = None;
                turns.extend(self.release(Some(&who)));
            }
        }
    }

    /// Changes what the queue knows. From before that until few are taken, and nobody waits, it alone counts places.
    fn change<T>(&self, change: impl FnOnce(&mut FairQueue<Ticket>) -> T) -> T {
        let mut turns = self.lock();
        if let Some(taken) = self.places.close() {
            turns.begin(taken);
        }
        let changed = change(&mut turns);
        let uncounted = turns.concurrent() / UNCOUNTED;
        if turns.under_way() < uncounted && turns.waiting() == 0 {
            self.places.open(turns.under_way(), uncounted);
        }
        changed
    }

    /// How many calls have a place, and how many wait for one.
    fn counts(&self) -> QueueCounts {
        let turns = self.lock();
        let under_way = self.places.taken().unwrap_or_else(|| turns.under_way());
        QueueCounts { under_way, waiting: turns.waiting() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, FairQueue<Ticket>> {
        // Numbers and lines are changed together, and nothing in between can panic.
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(Held { queue, who }) = self.0.take() else { return };
        let turns = queue.release(who.as_deref());
        queue.hand_over(turns);
    }
}

fn all_whose_turn_it_is(turns: &mut FairQueue<Ticket>, now: Instant) -> Vec<(Who, Ticket)> {
    std::iter::from_fn(|| turns.next(now)).collect()
}

impl Waiting {
    /// Waits for the turn, and no longer than calls wait.
    ///
    /// # Errors
    ///
    /// [`Busy`] when it does not come in time.
    pub async fn turn(mut self) -> Result<Place, Busy> {
        let began = Instant::now();
        let turn = match tokio::time::timeout(self.timeout, &mut self.turn).await {
            Ok(turn) => turn.ok(),
            // It may have come at the last moment.
            Err(_) => {
                self.turn.close();
                self.turn.try_recv().ok()
            }
        };
        self.queue.metrics.waited(began.elapsed());
        let Some(place) = turn else {
            return Err(self.queue.change(|turns| turns.busy(BusyReason::TimedOut)));
        };
        self.number = None;
        Ok(place)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.queue.change(|turns| turns.leave(&self.who, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::limit::testing::who;

    #[tokio::test]
    async fn who_gives_up_in_the_moment_of_its_turn_is_passed_over() {
        let settings = ConcurrencySettings { concurrent: 1, ..ConcurrencySettings::default() };
        let queue = Queue::new(settings, "crm", &Metrics::new());
        let waiting = || match queue.ask(|| who("ada", "planner")) {
            Ok(Asked::Waiting(waiting)) => waiting,
            Ok(Asked::Place(_)) | Err(_) => panic!("the place is taken, and there is room"),
        };
        let first = queue.take_free(|| who("ada", "planner")).expect("a place");
        let (mut gives_up, stays) = (waiting(), waiting());
        gives_up.turn.close();
        drop(first);
        assert_eq!(queue.counts(), QueueCounts { under_way: 1, waiting: 0 });
        drop(stays.turn().now_or_never().expect("its turn").expect("a place"));
        drop(gives_up);
        assert_eq!(queue.counts(), QueueCounts { under_way: 0, waiting: 0 });
    }
}
