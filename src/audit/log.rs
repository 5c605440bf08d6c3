//! The trail, as those see it who have something to record.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;

use super::mark::{Happening, Mark};
use super::record::Record;
use super::segment::OpenError;
use super::settings::{AuditSettings, Durability};
use super::writer::Writer;
use crate::clock::Now;
use crate::metrics::Metrics;

/// Most calls that may be under way or waiting for their record to be written: four for each connection there may be.
/// Beyond it calls are refused.
const SLOTS_MAX: usize = 65_536;
/// How often the writer looks after its file, the clock and the next checkpoint when nobody calls.
const TICK: Duration = Duration::from_millis(250);
/// Longest wait for the writer to do what an operator asks for.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest that the end of an answer waits for its record. Then the call is broken off: nobody is told that it ended well.
const RECORD_TIMEOUT: Duration = Duration::from_secs(10);

/// A trail of records.
#[derive(Clone)]
pub struct AuditLog {
    messages: mpsc::Sender<Message>,
    state: Arc<State>,
}

/// What the writer tells, and is told, beside the records.
pub(super) struct State {
    /// Whether records can be written, and there is room for those to come.
    writable: AtomicBool,
    settings: ArcSwap<AuditSettings>,
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

pub(super) enum Message {
    /// To be written; and whom to tell once it is as safe as it has to be.
    Record(Record, Option<oneshot::Sender<()>>),
    /// Look after the file, the clock, and what is asked for.
    Tick,
    /// Write what came before, and say so.
    Flush(oneshot::Sender<()>),
    /// The same, with a mark and a checkpoint at the end.
    Stop(oneshot::Sender<()>),
}

/// A place for one record. While it is held, its record can be written without waiting.
pub struct Slot {
    place: mpsc::OwnedPermit<Message>,
    durability: Durability,
}

/// Comes once a record is as safe as it has to be.
///
/// [`AuditUnavailable`] comes in its place when that takes too long. The record is not lost then: it is written once it can be.
pub struct Receipt {
    written: Option<oneshot::Receiver<()>>,
    deadline: Option<Pin<Box<Sleep>>>,
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
        let (messages, receiver) = mpsc::channel(SLOTS_MAX);
        let state = State::of(settings);
        let writer = Writer::open(Arc::clone(&state), messages.downgrade(), Arc::clone(&metrics))?;
        let spawn = |name: &str| thread::Builder::new().name(name.into());
        let failed = |source| OpenError::System { what: "its writer cannot be started", source };
        spawn("audit-writer").spawn(move || writer.run(receiver)).map_err(failed)?;
        let (ticking, watched) = (messages.downgrade(), Arc::clone(&state));
        let tick = move || tick(&ticking, &watched, &metrics, RECORD_TIMEOUT);
        spawn("audit-clock").spawn(tick).map_err(failed)?;
        Ok(Self { messages, state })
    }

    /// Reserves a place for a call's record.
    ///
    /// # Errors
    ///
    /// [`AuditUnavailable`] while the trail cannot be written, or has no room; the call must then not be forwarded. With
    /// [`Durability::Memory`] only when there are too many records in memory.
    pub fn reserve(&self) -> Result<Slot, AuditUnavailable> {
        let durability = self.durability();
        if !self.state.is_writable() && durability != Durability::Memory {
            return Err(AuditUnavailable);
        }
        let place = self.messages.clone().try_reserve_owned().map_err(|_| AuditUnavailable)?;
        Ok(Slot { place, durability })
    }

    /// What a record has to survive before the end of its call's answer is released.
    pub fn durability(&self) -> Durability {
        self.state.settings.load().durability
    }

    /// How the trail is kept.
    pub fn settings(&self) -> Arc<AuditSettings> {
        self.state.settings.load_full()
    }

    /// From here on the trail is kept like this. File and instance stay as they are.
    pub fn keep_by(&self, settings: AuditSettings) {
        let AuditSettings { file, instance, .. } = (*self.settings()).clone();
        self.state.settings.store(Arc::new(AuditSettings { file, instance, ..settings }));
    }

    /// Whether the last write succeeded, there is room on the disk, and a place for another record.
    pub fn is_writable(&self) -> bool {
        self.state.is_writable() && self.messages.capacity() > 0
    }

    /// The newest checkpoint, as a signed note. `None`: there is no key, or nothing has been written yet.
    pub fn checkpoint(&self) -> Option<Arc<String>> {
        self.state.checkpoint.load_full()
    }

    /// Adds a mark.
    pub async fn mark(&self, happening: Happening) {
        let mark = Mark::new(happening, Now::read().wall);
        // An error means that the writer is gone, and has said so.
        let _ = self.messages.send(Message::Record(Record::Mark(mark), None)).await;
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
        *lock(&self.state.order) = Some(Order { what, done });
        // When there is no room for the message, the writer is awake.
        let _ = self.messages.try_send(Message::Tick);
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
        if self.messages.send(message(done)).await.is_ok() {
            // An error means that the writer is gone, which it never is while there is a sender.
            let _ = finished.await;
        }
    }
}

impl State {
    /// Of a trail that is just being opened.
    pub(super) fn of(settings: AuditSettings) -> Arc<Self> {
        Arc::new(Self {
            writable: AtomicBool::new(true),
            settings: ArcSwap::from_pointee(settings),
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

    pub(super) fn take_order(&self) -> Option<Order> {
        lock(&self.order).take()
    }
}

impl Slot {
    /// Hands the record to the writer. What comes back tells when it is as safe as it has to be.
    pub fn write(self, record: Record) -> Receipt {
        let (waiting, written) = match self.durability {
            Durability::Memory => (None, None),
            Durability::Process | Durability::Disk => {
                let (waiting, written) = oneshot::channel();
                (Some(waiting), Some(written))
            }
        };
        self.place.send(Message::Record(record, waiting));
        Receipt { written, deadline: None }
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Slot")
    }
}

impl Receipt {
    /// For what has no record to wait for.
    pub fn none() -> Self {
        Self { written: None, deadline: None }
    }
}

impl Future for Receipt {
    type Output = Result<(), AuditUnavailable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(written) = &mut this.written else { return Poll::Ready(Ok(())) };
        if let Poll::Ready(written) = Pin::new(written).poll(cx) {
            this.written = None;
            return Poll::Ready(written.map_err(|_| AuditUnavailable));
        }
        let deadline = this.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(RECORD_TIMEOUT)));
        ready!(deadline.as_mut().poll(cx));
        this.written = None;
        Poll::Ready(Err(AuditUnavailable))
    }
}

/// Has the writer look around now and then, and has calls refused when it hangs: neither a full pipe nor a file system that is far
/// away need ever say that they do not take a record. Ends with the last sender.
pub(super) fn tick(
    ticking: &mpsc::WeakSender<Message>,
    state: &State,
    metrics: &Metrics,
    patience: Duration,
) {
    let (mut pulse, mut silence, mut hangs) = (state.pulse.load(Ordering::Relaxed), Duration::ZERO, false);
    // While there is no room for the message, the writer is awake.
    while let Some(messages) = ticking.upgrade() {
        let _ = messages.try_send(Message::Tick);
        drop(messages);
        thread::sleep(TICK);
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
