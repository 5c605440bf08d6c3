//! The line before a connector: places, and those who wait for one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::settings::LineSettings;
use super::turns::{Busy, BusyReason, Turns};
use super::who::Who;
use crate::metrics::LineMetrics;

/// The line before one connector. It outlives reloads, as the calls do that are under way.
pub struct Line {
    turns: Mutex<Turns<oneshot::Sender<Held>>>,
    metrics: LineMetrics,
}

/// A place at a connector. The last of its copies gives it back.
#[derive(Clone)]
pub struct Place(#[expect(dead_code, reason = "it is held, and let go")] Option<Arc<Held>>);

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
    line: Arc<Line>,
    who: Who,
    number: u64,
    timeout: Duration,
    turn: oneshot::Receiver<Held>,
}

/// A place that is taken.
struct Held {
    /// `None`: it has been given back otherwise.
    line: Option<Arc<Line>>,
}

impl Line {
    /// Nobody is there yet.
    pub fn new(settings: LineSettings, metrics: LineMetrics) -> Self {
        Self { turns: Mutex::new(Turns::new(settings, Instant::now())), metrics }
    }

    /// Other settings.
    pub fn set(self: &Arc<Self>, settings: LineSettings) {
        let mut turns = self.lock();
        turns.set(settings, Instant::now());
        let tickets: Vec<_> = std::iter::from_fn(|| turns.next()).collect();
        self.show(&turns);
        drop(turns);
        tickets.into_iter().for_each(|ticket| self.hand_over(ticket));
    }

    /// Whether a call that asks now could get a place in time.
    ///
    /// # Errors
    ///
    /// [`Busy`] when there is none, and none to be expected.
    pub fn has_room(&self, who: impl FnOnce() -> Who, now: Instant) -> Result<(), Busy> {
        let turns = self.lock();
        if turns.is_free() { Ok(()) } else { turns.has_room(&who(), now) }
    }

    /// Takes a place, or stands in line for one.
    ///
    /// # Errors
    ///
    /// [`Busy`] when there is none, and none to be expected in time.
    pub fn ask(self: &Arc<Self>, who: impl FnOnce() -> Who, now: Instant) -> Result<Asked, Busy> {
        let mut turns = self.lock();
        // Whoever waits while a place is free has it already: it is given as soon as it is.
        if turns.is_free() {
            turns.take(now);
            self.show(&turns);
            return Ok(Asked::Place(self.place()));
        }
        let who = who();
        turns.has_room(&who, now)?;
        let (ticket, turn) = oneshot::channel();
        let number = turns.join(&who, ticket);
        let timeout = turns.timeout();
        self.show(&turns);
        drop(turns);
        Ok(Asked::Waiting(Waiting { line: Arc::clone(self), who, number, timeout, turn }))
    }

    fn place(self: &Arc<Self>) -> Place {
        Place(Some(Arc::new(self.held())))
    }

    fn held(self: &Arc<Self>) -> Held {
        Held { line: Some(Arc::clone(self)) }
    }

    /// Gives a place back, and on to whose turn it is. In between nobody else can take it.
    fn release(&self) -> Option<oneshot::Sender<Held>> {
        let mut turns = self.lock();
        turns.release(Instant::now());
        let next = turns.next();
        self.show(&turns);
        next
    }

    /// Whoever has left since gets nothing, and the next one does.
    fn hand_over(self: &Arc<Self>, ticket: oneshot::Sender<Held>) {
        let mut next = Some(ticket);
        while let Some(ticket) = next.take() {
            if let Err(mut unwanted) = ticket.send(self.held()) {
                unwanted.line = None;
                next = self.release();
            }
        }
    }

    fn show(&self, turns: &Turns<oneshot::Sender<Held>>) {
        self.metrics.show(turns.under_way(), turns.waiting());
    }

    fn lock(&self) -> MutexGuard<'_, Turns<oneshot::Sender<Held>>> {
        // Numbers and lines are changed together, and nothing in between can panic.
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(line) = self.line.take() else { return };
        if let Some(next) = line.release() {
            line.hand_over(next);
        }
    }
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
        self.line.metrics.waited(began.elapsed());
        match turn {
            Some(held) => Ok(Place(Some(Arc::new(held)))),
            None => Err(self.line.lock().busy(BusyReason::TimedOut)),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut turns = self.line.lock();
        turns.leave(&self.who, self.number);
        self.line.show(&turns);
    }
}
