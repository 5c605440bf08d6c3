//! Counting: slow work that tells of itself and can be cancelled.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Connector;
use super::message::{self, Fault, Members};
use super::methods::{Call, Outcome};
use super::tools::succeeded;
use crate::demo::connector::Caller;
use crate::demo::kept::Kept;
use crate::demo::lock;

/// Where a count ends at the latest: its events are remembered.
pub(super) const TO_MAX: u64 = 1_000;
/// Longest pause between two numbers, in milliseconds.
pub(super) const EVERY_MS_MAX: u64 = 10_000;
/// The pause unless asked otherwise, in milliseconds.
const EVERY_MS_DEFAULT: u64 = 10;

/// One count that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// Who had it counted.
    pub caller: Caller,
    /// Where it was to end.
    pub to: u64,
    /// Where it is, or came to.
    pub reached: u64,
    /// How it ended.
    pub end: CountEnd,
}

/// How a count ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountEnd {
    /// It has not.
    Counting,
    /// At its last number.
    Finished,
    /// Before that, because whoever asked for it did not want it any more.
    Cancelled,
}

/// What is to be counted, and how.
#[derive(Clone, Copy)]
pub(super) struct Order {
    to: u64,
    every: Duration,
}

impl Order {
    pub(super) fn parse(arguments: &Members) -> Result<Self, Fault> {
        let number = |name: &str, most: u64| match arguments.get(name).map(Value::as_u64) {
            Some(Some(number)) if (1..=most).contains(&number) => Ok(Some(number)),
            Some(_) => Err(Fault::params(format!("the argument {name} is not from 1 to {most}"))),
            None => Ok(None),
        };
        let to = number("to", TO_MAX)?.ok_or_else(|| Fault::params("the argument to is missing"))?;
        let every = number("every_ms", EVERY_MS_MAX)?.unwrap_or(EVERY_MS_DEFAULT);
        Ok(Self { to, every: Duration::from_millis(every) })
    }

    pub(super) fn to(self) -> u64 {
        self.to
    }
}

/// Every count, and whether they are held.
pub(super) struct Counting {
    counts: Mutex<Kept<Count>>,
    held: watch::Sender<bool>,
}

impl Default for Counting {
    fn default() -> Self {
        Self { counts: Mutex::default(), held: watch::Sender::new(false) }
    }
}

impl Counting {
    pub(super) fn counts(&self) -> Vec<Count> {
        lock(&self.counts).to_vec()
    }

    pub(super) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Counts, calling `tell` with each number. Whether it came to the end.
    pub(super) async fn count(
        &self,
        caller: Caller,
        order: Order,
        cancelled: &CancellationToken,
        tell: impl Fn(u64),
    ) -> bool {
        let Order { to, every } = order;
        let number = lock(&self.counts).push(Count { caller, to, reached: 0, end: CountEnd::Counting });
        let counting = async {
            for reached in 1..=to {
                tokio::time::sleep(every).await;
                if reached > 1 {
                    // The sender is ours, so it is there for as long as we are.
                    _ = self.held.subscribe().wait_for(|held| !held).await;
                }
                self.change(number, |count| count.reached = reached);
                tell(reached);
            }
        };
        let finished = cancelled.run_until_cancelled(counting).await.is_some();
        let end = if finished { CountEnd::Finished } else { CountEnd::Cancelled };
        self.change(number, |count| count.end = end);
        finished
    }

    fn change(&self, number: usize, change: impl FnOnce(&mut Count)) {
        if let Some(count) = lock(&self.counts).get_mut(number) {
            change(count);
        }
    }
}

impl Connector {
    /// Counts on a stream: with progress notifications if the client gave a token for them, and with comments if not.
    pub(super) fn count_slowly(self: &Arc<Self>, call: &Call, order: Order) -> Outcome {
        let connector = Arc::clone(self);
        let caller = call.caller.clone();
        let progress = call.params.get("_meta").and_then(|meta| meta.get("progressToken")).cloned();
        Outcome::Later(Box::new(move |events, cancelled| {
            Box::pin(async move {
                let to = order.to;
                let tell = |reached: u64| match &progress {
                    Some(token) => events.send(&message::notification(
                        "notifications/progress",
                        &json!({ "progressToken": token, "progress": reached, "total": to }),
                    )),
                    None => events.comment(&reached.to_string()),
                };
                let finished = connector.counting.count(caller, order, &cancelled, tell).await;
                finished.then(|| Ok(counted(to)))
            })
        }))
    }
}

/// The result of a count.
pub(super) fn counted(to: u64) -> Value {
    succeeded(&json!({ "counted": to }))
}
