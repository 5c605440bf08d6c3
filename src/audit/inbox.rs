//! What the writer of a trail is told: lines to be written, and what else there is to do.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::gathering::Gathering;
use super::ocsf;
use super::record::Record;

/// Something for the writer.
pub enum Message {
    /// To be written.
    Lines(Lines),
    /// Look after the file, the clock, and what is asked for.
    Tick,
    /// Write what came before, and say so.
    Flush(oneshot::Sender<()>),
    /// The same, with a mark and a checkpoint at the end.
    Stop(oneshot::Sender<()>),
}

/// Records as lines, without their places in the trail.
#[derive(Default)]
pub struct Lines {
    text: Vec<u8>,
    /// Where each line ends.
    ends: Vec<usize>,
    /// Who is told once they are as safe as they have to be, and which batch of theirs this is.
    pub told: Option<(Arc<Gathering>, u64)>,
}

impl Lines {
    /// None yet, with room for as much as these are.
    pub fn as_large_as(others: &Self) -> Self {
        let (text, ends) = (Vec::with_capacity(others.text.len()), Vec::with_capacity(others.ends.len()));
        Self { text, ends, told: None }
    }

    /// Adds a record.
    pub fn add(&mut self, record: &Record<'_>) {
        ocsf::append(record, &mut self.text);
        self.ends.push(self.text.len());
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.text[start..*end])
    }
}

/// A wake-up owed to the writer, if it slept when a message came.
#[must_use = "the writer sleeps on until it is woken"]
pub struct Wakeup<'a>(Option<&'a Condvar>);

impl Wakeup<'_> {
    /// Wakes it. Where it has the same core it may run at once, before this returns.
    pub fn wake(self) {
        self.0.into_iter().for_each(Condvar::notify_one);
    }
}

/// The messages, in the order in which they came.
#[derive(Default)]
pub struct Inbox {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Message>,
    /// Whether the writer sleeps until something comes.
    is_awaited: bool,
    is_closed: bool,
}

impl Inbox {
    /// Adds a message, and wakes the writer.
    pub fn push(&self, message: Message) {
        self.push_unwoken(message).wake();
    }

    /// Adds a message. The writer is still to be woken, by whoever has unlocked what the writer would ask for.
    pub fn push_unwoken(&self, message: Message) -> Wakeup<'_> {
        let mut queue = self.queue();
        queue.messages.push_back(message);
        self.wakeup(queue)
    }

    /// Has the writer look around, if it has nothing else to do. When it has, it does so anyway.
    pub fn nudge(&self) {
        let mut queue = self.queue();
        if queue.messages.is_empty() {
            queue.messages.push_back(Message::Tick);
            self.wakeup(queue).wake();
        }
    }

    /// Nothing more comes.
    pub fn close(&self) {
        let mut queue = self.queue();
        queue.is_closed = true;
        self.wakeup(queue).wake();
    }

    /// Whether nothing more comes.
    pub fn is_closed(&self) -> bool {
        self.queue().is_closed
    }

    /// Waits for messages, and adds to `batch` what is there, until it has `lines_max` lines or more. Returns `false` once it is closed
    /// and empty.
    pub fn take(&self, batch: &mut Vec<Message>, lines_max: usize) -> bool {
        let mut queue = self.queue();
        while queue.messages.is_empty() && !queue.is_closed {
            queue.is_awaited = true;
            queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.is_awaited = false;
        let mut lines = 0;
        while lines < lines_max
            && let Some(message) = queue.messages.pop_front()
        {
            if let Message::Lines(more) = &message {
                lines += more.count();
            }
            batch.push(message);
        }
        !batch.is_empty()
    }

    /// Unlocks the queue. To wake somebody costs a call of the system, so it is done only where somebody sleeps.
    fn wakeup(&self, mut queue: MutexGuard<'_, Queue>) -> Wakeup<'_> {
        Wakeup(std::mem::take(&mut queue.is_awaited).then_some(&self.arrived))
    }

    /// It is whole after every change.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
