//! A tool that asks the person something: in the modern era by a result that wants input, in the legacy era by a
//! request on the stream.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::message::{Fault, Members};
use super::methods::{Call, Outcome, Party};
use super::session::Session;
use super::tools::{failed, succeeded};
use super::{Connector, message};
use crate::demo::connector::Caller;
use crate::demo::{lock, random};

/// Most questions that wait for a retry. The oldest give way.
const WAITING_MAX: usize = 1_000;

/// What the question is called, and the member that answers it.
const NAME: &str = "name";

/// What each question that waits for a retry belongs to.
#[derive(Default)]
pub(super) struct Asking(Mutex<VecDeque<(String, Caller)>>);

impl Asking {
    /// A new state that only this caller can bring back, and only once.
    fn wait(&self, caller: &Caller) -> String {
        let state = format!("notes.{}", random::token());
        let mut waiting = lock(&self.0);
        if waiting.len() == WAITING_MAX {
            waiting.pop_front();
        }
        waiting.push_back((state.clone(), caller.clone()));
        state
    }

    /// Whether this caller was waiting under this state. Nobody is afterwards.
    fn resume(&self, state: &str, caller: &Caller) -> bool {
        let mut waiting = lock(&self.0);
        let found = waiting.iter().position(|(one, owner)| {
            one == state && owner.person == caller.person && owner.client_id == caller.client_id
        });
        found.and_then(|index| waiting.remove(index)).is_some()
    }
}

fn question() -> Value {
    json!({
        "mode": "form",
        "message": "What shall I call you?",
        "requestedSchema": {
            "type": "object",
            "properties": { NAME: { "type": "string", "title": "Name" } },
            "required": [NAME],
        },
    })
}

/// Whether a client shows forms. An empty object of the first days means that it does.
fn shows_forms(capabilities: &Value) -> bool {
    match capabilities.get("elicitation").and_then(Value::as_object) {
        Some(modes) => modes.is_empty() || modes.contains_key("form"),
        None => false,
    }
}

/// The tool's result, when the question was answered like this.
fn greeting(answer: &Value) -> Value {
    match (answer["action"].as_str(), answer["content"][NAME].as_str()) {
        (Some("accept"), Some(name)) => succeeded(&json!({ "greeting": format!("Good day, {name}.") })),
        _ => failed("Nobody said what to call them."),
    }
}

impl Connector {
    pub(super) fn ask_back(self: &Arc<Self>, call: &Call) -> Result<Outcome, Fault> {
        match &call.party {
            Party::Modern { capabilities } if shows_forms(capabilities) => self.ask_by_result(call),
            Party::Modern { .. } => Err(Fault::missing_capability(&json!({ "elicitation": { "form": {} } }))),
            Party::Legacy(session) if shows_forms(&session.capabilities) => Ok(ask_on_stream(session)),
            Party::Legacy(_) => Ok(Outcome::Now(failed("This client cannot ask anybody anything."))),
        }
    }

    fn ask_by_result(&self, call: &Call) -> Result<Outcome, Fault> {
        let answer = match call.params.get("requestState") {
            None => None,
            Some(state) if state.as_str().is_some_and(|state| self.asking.resume(state, &call.caller)) => {
                call.params.get("inputResponses").and_then(|answers| answers.get(NAME))
            }
            Some(_) => return Err(Fault::params("the requestState is not one that this caller was given")),
        };
        Ok(Outcome::Now(match answer {
            Some(answer) => greeting(answer),
            None => json!({
                "resultType": "input_required",
                "inputRequests": { NAME: { "method": "elicitation/create", "params": question() } },
                "requestState": self.asking.wait(&call.caller),
            }),
        }))
    }
}

fn ask_on_stream(session: &Arc<Session>) -> Outcome {
    let session = Arc::clone(session);
    Outcome::Later(Box::new(move |events, cancelled| {
        Box::pin(async move {
            let (id, answer) = session.ask();
            let mut question = question();
            if session.version == "2025-06-18" {
                // That version has forms alone, and no word for them.
                question.as_object_mut().and_then(|question: &mut Members| question.remove("mode"));
            }
            events.send(&message::request(&json!(id), "elicitation/create", &question));
            let answer = cancelled.run_until_cancelled(answer).await;
            session.forget_asking(&id);
            // Cancelled, or the session ended: either way nobody waits for a result.
            Some(Ok(greeting(&answer?.ok()?)))
        })
    }))
}
