//! The records of one thread on their way to the writer, and whoever waits for them.
//!
//! Records that end in the same moment go together: the writer is woken once for all of them, and so is the thread once they are
//! written. What tells those who wait ([`Carry`]) is a task of that thread, since to wake somebody there costs next to nothing.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::inbox::{Inbox, Lines, Message};
use super::log::AuditUnavailable;
use super::record::Record;

/// The records of one thread.
pub struct Gathering {
    state: Mutex<State>,
    inbox: Arc<Inbox>,
}

struct State {
    /// What has not been sent.
    lines: Lines,
    /// The number of the batch that these will be.
    batch: u64,
    /// Every batch up to this one is as safe as it has to be.
    safe: u64,
    /// Up to this one nobody waits any more.
    given_up: u64,
    /// When the oldest batch was sent that is not safe.
    sent: Option<Instant>,
    waiting: Vec<(u64, Waker)>,
    carrier: Carrier,
    is_closed: bool,
}

/// The task that carries batches and tells those who wait.
enum Carrier {
    /// There is none.
    None,
    /// It has been started, or woken, and will look.
    Awake,
    /// It waits.
    Asleep(Waker),
}

impl Gathering {
    /// Of nothing, on its way to `inbox`.
    pub fn new(inbox: Arc<Inbox>) -> Arc<Self> {
        let state = State {
            lines: Lines::default(),
            batch: 1,
            safe: 0,
            given_up: 0,
            sent: None,
            waiting: Vec::new(),
            carrier: Carrier::None,
            is_closed: false,
        };
        Arc::new(Self { state: Mutex::new(state), inbox })
    }

    /// Adds a record, which goes to the writer soon, with others. Returns the number of their batch.
    pub fn add(self: &Arc<Self>, record: &Record<'_>) -> u64 {
        let mut state = self.state();
        state.lines.add(record);
        let batch = state.batch;
        if let Err(mut state) = wake_carrier(state) {
            match Handle::try_current() {
                Ok(runtime) => {
                    state.carrier = Carrier::Awake;
                    drop(state);
                    runtime.spawn(Carry(Arc::clone(self)));
                }
                // Nobody can wait here.
                Err(_) => self.send(state),
            }
        }
        batch
    }

    /// Sends what has been gathered at once.
    pub fn send_now(self: &Arc<Self>) {
        self.send(self.state());
    }

    /// Sends what has been gathered. The state stays locked until it is in the inbox, so batches stand there in their order; and is
    /// unlocked before the writer is woken, which asks for the same lock in a moment.
    fn send(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.lines.count() == 0 {
            return;
        }
        let next = Lines::as_large_as(&state.lines);
        let mut lines = std::mem::replace(&mut state.lines, next);
        lines.told = Some((Arc::clone(self), state.batch));
        state.batch += 1;
        state.sent.get_or_insert_with(Instant::now);
        let writer = self.inbox.push_unwoken(Message::Lines(lines));
        drop(state);
        writer.wake();
    }

    /// Every batch up to this one is as safe as it has to be.
    pub fn safe_up_to(&self, batch: u64) {
        self.tell(|state| {
            state.safe = state.safe.max(batch);
            // What has been sent since is not much younger.
            state.sent = (state.safe + 1 < state.batch).then(Instant::now);
        });
    }

    /// When the oldest batch that was sent has waited too long, has nobody wait any more for any that was sent.
    pub fn give_up_after(&self, patience: Duration) {
        if self.state().sent.is_some_and(|sent| sent.elapsed() >= patience) {
            self.tell(|state| {
                state.given_up = state.batch - 1;
                state.sent = None;
            });
        }
    }

    /// No more records come.
    pub fn close(&self) {
        self.tell(|state| state.is_closed = true);
    }

    /// Changes something that others wait for, and has them told.
    fn tell(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        if let Err(mut state) = wake_carrier(state) {
            state.wake_those_done();
        }
    }

    /// It is whole after every change.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake_those_done(&mut self) {
        let done = self.safe.max(self.given_up);
        self.waiting.extract_if(.., |(batch, _)| *batch <= done).for_each(|(_, waiting)| waiting.wake());
    }
}

/// Has the carrier look, if there is one; otherwise gives back what is locked.
fn wake_carrier(mut state: MutexGuard<'_, State>) -> Result<(), MutexGuard<'_, State>> {
    match std::mem::replace(&mut state.carrier, Carrier::None) {
        Carrier::None => return Err(state),
        Carrier::Awake => state.carrier = Carrier::Awake,
        Carrier::Asleep(carrier) => {
            state.carrier = Carrier::Awake;
            drop(state);
            carrier.wake();
        }
    }
    Ok(())
}

/// Carries batches, and tells those who wait, for as long as records may come.
struct Carry(Arc<Gathering>);

impl Future for Carry {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self(gathering) = &*self;
        let mut state = gathering.state();
        state.wake_those_done();
        let is_over = state.is_closed && state.waiting.is_empty();
        if !is_over {
            state.carrier = Carrier::Asleep(cx.waker().clone());
        }
        gathering.send(state);
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Carry {
    fn drop(&mut self) {
        // It may be the runtime that ends, and not the trail.
        let mut state = self.0.state();
        state.carrier = Carrier::None;
        self.0.send(state);
    }
}

/// Comes once a record is as safe as it has to be.
///
/// [`AuditUnavailable`] comes in its place when that takes too long. The record is not lost then: it is written once it can be.
pub struct Receipt {
    awaited: Option<Awaited>,
}

struct Awaited {
    gathering: Arc<Gathering>,
    batch: u64,
    /// Who will be woken.
    woken: Option<Waker>,
}

impl Receipt {
    /// For what has no record to wait for.
    pub fn none() -> Self {
        Self { awaited: None }
    }

    /// For a record of this batch.
    pub(super) fn of(gathering: &Arc<Gathering>, batch: u64) -> Self {
        Self { awaited: Some(Awaited { gathering: Arc::clone(gathering), batch, woken: None }) }
    }
}

impl Future for Receipt {
    type Output = Result<(), AuditUnavailable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(Awaited { gathering, batch, woken }) = &mut self.awaited else { return Poll::Ready(Ok(())) };
        let mut state = gathering.state();
        if *batch <= state.safe {
            return Poll::Ready(Ok(()));
        }
        if *batch <= state.given_up {
            return Poll::Ready(Err(AuditUnavailable));
        }
        if !woken.as_ref().is_some_and(|woken| woken.will_wake(cx.waker())) {
            state.waiting.push((*batch, cx.waker().clone()));
            *woken = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}
