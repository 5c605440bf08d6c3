//! Tasks: counting that goes on without a stream. In 2025-11-25 the client asks for a task; in the modern era it
//! says that it knows tasks, and the server makes one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::counting::{Order, counted};
use super::message::Fault;
use super::methods::{Call, Outcome, Party};
use super::{Connector, legacy};
use crate::demo::connector::Caller;
use crate::demo::{clock, lock, random};

/// Most tasks remembered. The oldest give way.
const TASKS_MAX: usize = 1_000;

/// How long clients may count on a task, in milliseconds.
const TTL_MS: u32 = 3_600_000;

/// How often clients are to ask, in milliseconds.
const POLL_INTERVAL_MS: u32 = 50;

/// The capability that says a modern client knows tasks.
pub(super) const EXTENSION: &str = "io.modelcontextprotocol/tasks";

struct Task {
    id: String,
    owner: Caller,
    created: i64,
    state: watch::Sender<State>,
    cancelled: CancellationToken,
}

/// Where a task is, and since when.
#[derive(Clone, Copy)]
struct State {
    status: Status,
    since: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Working,
    Completed { to: u64 },
    Cancelled,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Completed { .. } => "completed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Task {
    fn status(&self) -> Status {
        self.state.borrow().status
    }

    /// Ends it like this, if it has not ended yet.
    fn end(&self, status: Status) -> bool {
        self.state.send_if_modified(|state| {
            let working = state.status == Status::Working;
            if working {
                *state = State { status, since: clock::now() };
            }
            working
        })
    }

    /// What clients see of it. The eras spell durations differently.
    fn shown(&self, party: &Party) -> Value {
        let State { status, since } = *self.state.borrow();
        let mut shown = json!({
            "taskId": self.id,
            "status": status.name(),
            "createdAt": clock::rfc3339(self.created),
            "lastUpdatedAt": clock::rfc3339(since),
        });
        let (ttl, interval) = match party {
            Party::Modern { .. } => ("ttlMs", "pollIntervalMs"),
            Party::Legacy(_) => ("ttl", "pollInterval"),
        };
        shown[ttl] = json!(TTL_MS);
        shown[interval] = json!(POLL_INTERVAL_MS);
        shown
    }
}

/// Every task, oldest first.
#[derive(Default)]
pub(super) struct Tasks(Mutex<VecDeque<Arc<Task>>>);

impl Tasks {
    fn keep(&self, task: Arc<Task>) {
        let mut tasks = lock(&self.0);
        if tasks.len() == TASKS_MAX
            && let Some(oldest) = tasks.pop_front()
        {
            oldest.cancelled.cancel();
        }
        tasks.push_back(task);
    }

    fn of(&self, caller: &Caller) -> Vec<Arc<Task>> {
        let is_own = |task: &&Arc<Task>| {
            task.owner.person == caller.person && task.owner.client_id == caller.client_id
        };
        lock(&self.0).iter().filter(is_own).cloned().collect()
    }

    fn find(&self, call: &Call) -> Result<Arc<Task>, Fault> {
        let id = call.text("taskId")?;
        let task = self.of(&call.caller).into_iter().find(|task| task.id == id);
        task.ok_or_else(|| Fault::params("there is no such task"))
    }
}

impl Connector {
    /// Counts as a task if the client is fit for one, and on a stream if not.
    pub(super) fn count_later(self: &Arc<Self>, call: &Call, order: Order) -> Outcome {
        let knows_tasks = match &call.party {
            Party::Modern { capabilities } => capabilities["extensions"][EXTENSION].is_object(),
            Party::Legacy(_) => is_wanted(call),
        };
        if !knows_tasks {
            return self.count_slowly(call, order);
        }
        let now = clock::now();
        let task = Arc::new(Task {
            id: random::guid(),
            owner: call.caller.clone(),
            created: now,
            state: watch::Sender::new(State { status: Status::Working, since: now }),
            cancelled: self.stopping.child_token(),
        });
        self.tasks.keep(Arc::clone(&task));
        let shown = task.shown(&call.party);
        let connector = Arc::clone(self);
        tokio::spawn(async move {
            let finished = connector.counting.count(task.owner.clone(), order, &task.cancelled, |_| {}).await;
            task.end(if finished { Status::Completed { to: order.to() } } else { Status::Cancelled });
        });
        Outcome::Now(match &call.party {
            Party::Modern { .. } => {
                let mut result = shown;
                result["resultType"] = json!("task");
                result
            }
            Party::Legacy(_) => json!({ "task": shown }),
        })
    }

    /// Serves the methods that both eras have, in their own ways, and those that one has.
    pub(super) fn serve_task(self: &Arc<Self>, call: &Call) -> Result<Outcome, Fault> {
        let is_legacy = match &call.party {
            Party::Modern { .. } => false,
            Party::Legacy(session) if session.version == legacy::VERSION_WITH_TASKS => true,
            Party::Legacy(_) => return Err(Fault::unknown_method(&call.method)),
        };
        match (call.method.as_str(), is_legacy) {
            ("tasks/get", _) => {
                let task = self.tasks.find(call)?;
                let mut shown = task.shown(&call.party);
                if let (Status::Completed { to }, false) = (task.status(), is_legacy) {
                    shown["result"] = counted(to);
                }
                Ok(Outcome::Now(shown))
            }
            ("tasks/cancel", _) => {
                let task = self.tasks.find(call)?;
                let was_working = task.end(Status::Cancelled);
                task.cancelled.cancel();
                match (is_legacy, was_working) {
                    (true, true) => Ok(Outcome::Now(task.shown(&call.party))),
                    (true, false) => Err(Fault::params("the task has ended already")),
                    (false, _) => Ok(Outcome::Now(json!({}))),
                }
            }
            ("tasks/list", true) => {
                let tasks = self.tasks.of(&call.caller);
                let tasks: Vec<Value> = tasks.iter().map(|task| task.shown(&call.party)).collect();
                Ok(Outcome::Now(json!({ "tasks": tasks })))
            }
            ("tasks/result", true) => Ok(wait_for_result(self.tasks.find(call)?)),
            // No task of ours ever asks for anything, so there is nothing to update.
            ("tasks/update", false) => self.tasks.find(call).map(|_| Outcome::Now(json!({}))),
            (method, _) => Err(Fault::unknown_method(method)),
        }
    }
}

/// Whether a client asks in so many words for a task.
pub(super) fn is_wanted(call: &Call) -> bool {
    match &call.party {
        Party::Modern { .. } => false,
        Party::Legacy(session) => {
            session.version == legacy::VERSION_WITH_TASKS && call.params.contains_key("task")
        }
    }
}

/// An answer that comes when the task has ended.
fn wait_for_result(task: Arc<Task>) -> Outcome {
    Outcome::Later(Box::new(move |_, cancelled| {
        Box::pin(async move {
            let mut state = task.state.subscribe();
            let ended = state.wait_for(|state| state.status != Status::Working);
            let status = cancelled.run_until_cancelled(ended).await?.ok()?.status;
            Some(match status {
                Status::Completed { to } => {
                    let mut result = counted(to);
                    result["_meta"] =
                        json!({ "io.modelcontextprotocol/related-task": { "taskId": task.id } });
                    Ok(result)
                }
                Status::Cancelled | Status::Working => Err(Fault::params("the task was cancelled")),
            })
        })
    }))
}
