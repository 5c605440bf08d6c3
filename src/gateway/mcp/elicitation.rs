//! Questions of the gateway's own to the person behind a call, in the form that the client's protocol has for them (elicitation).
//!
//! In 2026-07-28 a call is answered with the question and a state, and the client sends it again with the person's answer and that
//! state. In 2025-11-25 it is answered with an error that names the address to open, and is simply sent again. To clients of other
//! revisions, and to those that do not say that they can show the question, the refusal is told as it is.
//!
//! Nothing of this reaches the server. What a call brings along for the server, whose own questions work in the same way, is
//! sealed into our state, and goes on to the server as it came once our question is answered.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::era::Era;
use super::message::{MessageError, MessageFault, Request};
use super::sealed_state::{Bound, StateFault, StateKey, Waiting, is_ours};
use super::{McpCall, McpError, Said, reply};
use crate::clock::Now;
use crate::identity::Caller;
use crate::tool::ConnectorName;

/// How often one call is answered with questions. Clients say that the person goes to the page, and not that they are done there.
const ASKED_MAX: u8 = 5;
/// What a question about a connection is called, and the member that answers it.
const CONNECT: &str = "obo.connect";
/// What a question about the call itself is called, and the member that answers it.
const CONFIRM: &str = "obo.confirm";
/// The members that answer the gateway's questions.
pub const KEYS: [&str; 2] = [CONNECT, CONFIRM];

/// What a client can show to its person.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Elicits {
    /// Forms.
    pub form: bool,
    /// Pages, by their address.
    pub url: bool,
}

/// A question to a person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// What it is about.
    pub purpose: Purpose,
    /// What the person sees of it.
    pub kind: Kind,
}

/// What a question is about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Purpose {
    /// An account that is to be connected, or that another agent is to use.
    Connect {
        /// The ticket by which the person does it.
        ticket: String,
    },
    /// The call itself, which is not made unless its person agrees.
    Confirm {
        /// Under which name it is remembered what exactly they were asked.
        id: String,
        /// Whether they were asked in a form: what they say to a page is not the client's to tell.
        in_form: bool,
    },
}

/// What a person sees of a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A page that is opened.
    Url {
        /// Its address. It carries no authority.
        url: String,
        /// Why it should be opened.
        message: String,
    },
    /// A form that the client shows.
    Form {
        /// What is asked.
        message: String,
        /// A JSON Schema of an object whose members are plain values.
        schema: Map<String, Value>,
    },
}

/// What a person did about a question, as the client says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// They sent the form, or went to the page. What they do there the client does not know.
    Accept,
    /// They said no.
    Decline,
    /// They said neither.
    Cancel,
}

/// The answer to a question of the gateway's, to this call.
#[derive(Clone, PartialEq)]
pub struct OurAnswer {
    /// What was asked.
    pub purpose: Purpose,
    /// `None`: the client goes on without an answer.
    pub action: Option<Action>,
    /// What they filled in. The client's word, and of whatever form.
    pub content: Map<String, Value>,
    /// How often the call has been answered with a question by now.
    asked: u8,
}

/// What a call brings along for the server, which asked for it: as it came.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Brought {
    /// `requestState`.
    pub state: Option<String>,
    /// `inputResponses`.
    pub responses: Option<Map<String, Value>>,
}

/// Asks the person of one call, and takes their answers out of it.
pub struct Asker<'a> {
    /// Seals what the client keeps.
    pub key: &'a StateKey,
    /// Whose call it is.
    pub caller: &'a Caller,
    /// At which connector.
    pub connector: &'a ConnectorName,
    /// When.
    pub now: Now,
}

impl Elicits {
    /// What a client's capabilities say. With an empty object a client says that it shows forms, which is all that there was at first.
    pub fn of(capabilities: Option<&Value>) -> Self {
        let modes = capabilities.and_then(|capabilities| capabilities.get("elicitation")?.as_object());
        let Some(modes) = modes else { return Self::default() };
        let has = |mode| modes.get(mode).is_some_and(Value::is_object);
        Self { form: modes.is_empty() || has("form"), url: has("url") }
    }

    const fn shows(self, kind: &Kind) -> bool {
        match kind {
            Kind::Url { .. } => self.url,
            Kind::Form { .. } => self.form,
        }
    }
}

impl Purpose {
    /// What the question is called, and the member that answers it.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Connect { .. } => CONNECT,
            Self::Confirm { .. } => CONFIRM,
        }
    }

    fn id(&self) -> &str {
        match self {
            Self::Connect { ticket } => ticket,
            Self::Confirm { id, .. } => id,
        }
    }
}

impl Kind {
    /// The parameters of `elicitation/create`.
    fn params(&self) -> Value {
        match self {
            Self::Url { url, message } => json!({ "mode": "url", "url": url, "message": message }),
            Self::Form { message, schema } => {
                json!({ "mode": "form", "message": message, "requestedSchema": schema })
            }
        }
    }
}

impl Asker<'_> {
    /// The message that asks the question in place of an answer to the call, with HTTP status 200; `meta` goes with it where it can.
    /// `None`: this client cannot be asked, or has been often enough.
    pub fn ask(&self, question: &Question, spoken: &McpCall, meta: Value) -> Option<Bytes> {
        let Said::Request { id, method, .. } = &spoken.said else { return None };
        if !spoken.elicits.shows(&question.kind) {
            return None;
        }
        match (spoken.era, &question.kind) {
            (Era::Modern, kind) => {
                let asked = spoken.answers.as_ref().map_or(0, |answer| answer.asked);
                if !method.may_want_input() || asked >= ASKED_MAX {
                    return None;
                }
                let (purpose, brought) = (question.purpose.clone(), spoken.brought.clone());
                let waiting = Waiting { purpose, asked: asked + 1, brought };
                let state = self.key.seal(waiting, self.bound(&spoken.digest), self.now)?;
                Some(reply::input_required(id, question.purpose.key(), kind.params(), &state, meta))
            }
            // Before there is a session, its revision is not agreed upon.
            (Era::Legacy, Kind::Url { url, message }) if spoken.session.is_some() => {
                Some(reply::url_required(id, question.purpose.id(), url, message))
            }
            (Era::Legacy, Kind::Url { .. } | Kind::Form { .. }) => None,
        }
    }

    /// Takes the answer to a question of ours out of a request, and puts back what the call had brought along for the server before it
    /// was asked. `spoken` hears of both.
    ///
    /// # Errors
    ///
    /// [`McpError::State`] when this call was asked nothing of the kind, and [`McpError::Message`] when the answer is none.
    pub fn hear(&self, request: &mut Request, spoken: &mut McpCall) -> Result<(), McpError> {
        let takes_part = spoken.era == Era::Modern && request.method().may_want_input();
        let Some(state) = request.request_state().filter(|state| is_ours(state)) else {
            let answers =
                |responses: &Map<String, Value>| KEYS.iter().any(|key| responses.contains_key(*key));
            if request.input_responses().is_some_and(answers) {
                return Err(StateFault::NotAsked.into());
            }
            if takes_part {
                spoken.brought = Brought {
                    state: request.request_state().map(str::to_owned),
                    responses: request.input_responses().cloned(),
                };
            }
            return Ok(());
        };
        if !takes_part {
            return Err(StateFault::NotGiven.into());
        }
        let waiting = self.key.open(state, self.bound(&spoken.digest), self.now)?;
        spoken.answers = Some(OurAnswer::read(waiting.purpose, waiting.asked, request)?);
        request.bring(&waiting.brought);
        spoken.brought = waiting.brought;
        Ok(())
    }

    fn bound(&self, call: &[u8; 32]) -> Bound {
        Bound::to(self.caller, self.connector, call)
    }
}

impl OurAnswer {
    fn read(purpose: Purpose, asked: u8, request: &Request) -> Result<Self, McpError> {
        const PLACE: &str = "params.inputResponses";
        let malformed = |what| {
            let fault = MessageFault::WrongType(PLACE, what);
            McpError::Message(MessageError { fault, id: Some(request.id().clone()) })
        };
        let answer = request.input_responses().and_then(|responses| responses.get(purpose.key()));
        let Some(answer) = answer else {
            return Ok(Self { purpose, action: None, content: Map::new(), asked });
        };
        let action = match answer.get("action").and_then(Value::as_str) {
            Some("accept") => Action::Accept,
            Some("decline") => Action::Decline,
            Some("cancel") => Action::Cancel,
            Some(_) | None => return Err(malformed("an answer that accepts, declines or cancels")),
        };
        let content = match answer.get("content") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(content)) => content.clone(),
            Some(_) => return Err(malformed("an answer whose `content` is an object")),
        };
        Ok(Self { purpose, action: Some(action), content, asked })
    }
}

/// Whether a server's result asks in the gateway's name: a client that brought it back would bring it to us.
pub fn is_in_our_name(result: &Map<String, Value>) -> bool {
    let state = result.get("requestState").and_then(Value::as_str);
    let asked = result.get("inputRequests").and_then(Value::as_object);
    state.is_some_and(is_ours) || asked.is_some_and(|asked| KEYS.iter().any(|key| asked.contains_key(*key)))
}

// What people fill in is no business of a log's.
impl fmt::Debug for OurAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { purpose, action, asked, .. } = self;
        f.debug_struct("OurAnswer")
            .field("purpose", purpose)
            .field("action", action)
            .field("asked", asked)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Brought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Brought").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
