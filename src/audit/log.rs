//! The trail, as those see it who have something to record.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::oneshot;

use super::gathering::{Gathering, Receipt};
use super::inbox::{Inbox, Lines, Message};
use super::mark::{Happening, Mark};
use super::record::Record;
use super::segment::OpenError;
use super::settings::{AuditSettings, Durability};
use super::writer::Writer;
use crate::clock::Now;
use crate::metrics::Metrics;
use crate::worker::PerWorker;

/// Most calls that may be under way or waiting for their record to be written: four for each connection there may be.
/// Beyond it calls are refused.
const SLOTS_MAX: usize = 65_536;
/// How often the writer looks after its file, the clock and the next checkpoint when nobody calls.
const TICK: Duration = Duration::from_millis(250);
/// Longest wait for the writer to do what an operator asks for.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest that the end of an answer waits for its record. Then the call is broken off: nobody is told that it ended well.
const RECORD_TIMEOUT: Duration = Duration::from_secs(10);

/// A trail of records. It is closed with the last copy of this and of its slots.
#[derive(Clone)]
pub struct AuditLog(Arc<Opened>);

/// Closes the trail with the last copy of it.
struct Opened {
    state: Arc<State>,
}

/// What the writer tells, and is told, beside the records.
pub(super) struct State {
    /// Whether records can be written, and there is room for those to come.
    writable: AtomicBool,
    settings: ArcSwap<AuditSettings>,
    /// What the writer is told.
    pub(super) inbox: Arc<Inbox>,
    /// What is on its way there from each thread.
    gatherings: PerWorker<Arc<Gathering>>,
    /// How many places for records are taken: by calls under way, and by records that the writer has not come to.
    slots: AtomicUsize,
    /// The newest checkpoint, as a signed note.
    pub(super) checkpoint: ArcSwapOption<String>,
    /// The number of the last line that is written.
    pub(super) sequence: AtomicU64,
    /// Goes on as long as the writer does.
    pulse: AtomicU64,
    /// What an operator asked for. The writer looks here also while it cannot write, since a new file may be just what helps.
    order: Mutex<Option<Order>>,
}

/// What an operator asks of the writer.
pub(super) struct Order {
    pub(super) what: Errand,
    pub(super) done: oneshot::Sender<io::Result<()>>,
}

/// What there is to be asked of the writer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    /// Look whether the file was moved.
    Look,
    /// Close the file and begin the next one.
    Rotate,
}

/// A place for one record. While it is held, its record can be written without waiting.
pub struct Slot {
    log: AuditLog,
    durability: Durability,
    is_used: bool,
}

/// There is no place for another record: the trail cannot be written, or too many calls are under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no place for another audit record")]
pub struct AuditUnavailable;

impl AuditLog {
    /// Opens the trail and starts its writer.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, or a thread cannot be started.
    pub fn open(settings: AuditSettings, metrics: Arc<Metrics>) -> Result<Self, OpenError> {
        let state = State::of(settings);
        let writer = Writer::open(Arc::clone(&state), Arc::clone(&metrics))?;
        let spawn = |name: &str| thread::Builder::new().name(name.into());
        let failed = |source| OpenError::System { what: "its writer cannot be started", source };
        spawn("audit-writer").spawn(move || writer.run()).map_err(failed)?;
        let log = Self(Arc::new(Opened { state: Arc::clone(&state) }));
        let tick = move || tick(&state, &metrics, RECORD_TIMEOUT);
        spawn("audit-clock").spawn(tick).map_err(failed)?;
        Ok(log)
    }

    /// Reserves a place for a call's record.
    ///
    /// # Errors
    ///
    /// [`AuditUnavailable`] while the trail cannot be written, or has no room; the call must then not be forwarded. With
    /// [`Durability::Memory`] only when there are too many records in memory.
    pub fn reserve(&self) -> Result<Slot, AuditUnavailable> {
        let (state, durability) = (self.state(), self.durability());
        if !state.is_writable() && durability != Durability::Memory {
            return Err(AuditUnavailable);
        }
        let slot = Slot { log: self.clone(), durability, is_used: false };
        match state.slots.fetch_add(1, Ordering::Relaxed) < SLOTS_MAX {
            true => Ok(slot),
            // And gives back what it took too much.
            false => Err(AuditUnavailable),
        }
    }

    /// What a record has to survive before the end of its call's answer is released.
    pub fn durability(&self) -> Durability {
        self.state().settings.load().durability
    }

    /// How the trail is kept.
    pub fn settings(&self) -> Arc<AuditSettings> {
        self.state().settings.load_full()
    }

    /// From here on the trail is kept like this. File and instance stay as they are.
    pub fn keep_by(&self, settings: AuditSettings) {
        let AuditSettings { file, instance, .. } = (*self.settings()).clone();
        self.state().settings.store(Arc::new(AuditSettings { file, instance, ..settings }));
    }

    /// Whether the last write succeeded, there is room on the disk, and a place for another record.
    pub fn is_writable(&self) -> bool {
        self.state().is_writable() && self.state().slots_taken() < SLOTS_MAX
    }

    /// The newest checkpoint, as a signed note. `None`: there is no key, or nothing has been written yet.
    pub fn checkpoint(&self) -> Option<Arc<String>> {
        self.state().checkpoint.load_full()
    }

    /// Adds a mark.
    pub fn mark(&self, happening: Happening) {
        let mut lines = Lines::default();
        lines.add(&Record::Mark(&Mark::new(happening, Now::read().wall)));
        self.state().send_what_is_gathered();
        self.state().inbox.push(Message::Lines(lines));
    }

    /// Looks whether the file was moved away, and begins a new one then. What is not written yet goes to the new file.
    ///
    /// # Errors
    ///
    /// When there can be no new file, or the writer does not get to it in time; records then go on to the old one.
    pub async fn reopen(&self) -> io::Result<()> {
        self.order(Errand::Look).await
    }

    /// Closes the file and begins the next one.
    ///
    /// # Errors
    ///
    /// As for [`Self::reopen`].
    pub async fn rotate(&self) -> io::Result<()> {
        self.order(Errand::Rotate).await
    }

    async fn order(&self, what: Errand) -> io::Result<()> {
        let (done, finished) = oneshot::channel();
        *lock(&self.state().order) = Some(Order { what, done });
        self.state().inbox.nudge();
        match tokio::time::timeout(ORDER_TIMEOUT, finished).await {
            Ok(result) => result.unwrap_or_else(|_| Err(io::Error::other("the audit writer is gone"))),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Waits until everything sent before has been written.
    pub async fn flush(&self) {
        self.wait_for(Message::Flush).await;
    }

    /// Ends the trail with a mark and a checkpoint, and waits until everything has been written.
    pub async fn stop(&self) {
        self.wait_for(Message::Stop).await;
    }

    async fn wait_for(&self, message: impl FnOnce(oneshot::Sender<()>) -> Message) {
        let (done, finished) = oneshot::channel();
        self.state().send_what_is_gathered();
        self.state().inbox.push(message(done));
        // An error means that the writer is gone, which it never is while this is there.
        let _ = finished.await;
    }

    fn state(&self) -> &Arc<State> {
        &self.0.state
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.state.send_what_is_gathered();
        self.state.gatherings.all().iter().for_each(|gathering| gathering.close());
        self.state.inbox.close();
    }
}

impl State {
    /// Of a trail that is just being opened.
    pub(super) fn of(settings: AuditSettings) -> Arc<Self> {
        let inbox = Arc::<Inbox>::default();
        Arc::new(Self {
            writable: AtomicBool::new(true),
            settings: ArcSwap::from_pointee(settings),
            gatherings: PerWorker::new(|| Gathering::new(Arc::clone(&inbox))),
            inbox,
            slots: AtomicUsize::new(0),
            checkpoint: ArcSwapOption::empty(),
            sequence: AtomicU64::new(0),
            pulse: AtomicU64::new(0),
            order: Mutex::new(None),
        })
    }

    pub(super) fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Acquire)
    }

    /// Whether records can be written from here on.
    pub(super) fn set_writable(&self, writable: bool) {
        self.writable.store(writable, Ordering::Release);
    }

    pub(super) fn settings(&self) -> Arc<AuditSettings> {
        self.settings.load_full()
    }

    /// The writer goes on.
    pub(super) fn beat(&self) {
        self.pulse.fetch_add(1, Ordering::Relaxed);
    }

    /// How many places for records are taken.
    pub(super) fn slots_taken(&self) -> usize {
        self.slots.load(Ordering::Relaxed)
    }

    /// The writer has come to so many records.
    pub(super) fn free_slots(&self, count: usize) {
        self.slots.fetch_sub(count, Ordering::Relaxed);
    }

    fn send_what_is_gathered(&self) {
        self.gatherings.all().iter().for_each(|gathering| gathering.send_now());
    }

    pub(super) fn take_order(&self) -> Option<Order> {
        lock(&self.order).take()
    }
}

impl Slot {
    /// Hands the record to the writer. What comes back tells when it is as safe as it has to be.
    ///
    /// Records of calls go there with others of their thread. All others go at once: they stand before those of the calls that come
    /// after them, whatever thread that is on.
    pub fn write(mut self, record: &Record<'_>) -> Receipt {
        self.is_used = true;
        let state = self.log.state();
        let gathering = state.gatherings.own();
        let batch = gathering.add(record);
        if !matches!(record, Record::Call(_)) {
            gathering.send_now();
        }
        match self.durability {
            Durability::Memory => Receipt::none(),
            Durability::Process | Durability::Disk => Receipt::of(gathering, batch),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.is_used {
            self.log.state().free_slots(1);
        }
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Slot")
    }
}

/// Has the writer look around now and then, and has calls refused when it hangs: neither a full pipe nor a file system that is far
/// away need ever say that they do not take a record. Ends with the trail.
pub(super) fn tick(state: &State, metrics: &Metrics, patience: Duration) {
    let (mut pulse, mut silence, mut hangs) = (state.pulse.load(Ordering::Relaxed), Duration::ZERO, false);
    while !state.inbox.is_closed() {
        state.inbox.nudge();
        thread::sleep(TICK);
        state.gatherings.all().iter().for_each(|gathering| gathering.give_up_after(patience));
        let now = state.pulse.load(Ordering::Relaxed);
        if now != pulse {
            (pulse, silence, hangs) = (now, Duration::ZERO, false);
            continue;
        }
        silence = silence.saturating_add(TICK);
        if silence >= patience {
            if !std::mem::replace(&mut hangs, true) {
                tracing::error!("Audit writer hangs, so calls are refused until it goes on");
            }
            // The writer takes it back, once it has written what it hangs on.
            metrics.audit_writable.set(0);
            state.set_writable(false);
        }
    }
}

/// The order is a plain value, whole after every operation.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
