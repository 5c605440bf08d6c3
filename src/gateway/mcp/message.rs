//! One JSON-RPC message, read strictly: what two readers could take differently is no message.
//!
//! A message is parsed once. Policy, the record and the connector get the same parsed value; what goes out is written anew
//! from it. What the protocol wants of `params` is checked here as well, so that nothing later has to ask what it means
//! when a name is missing. What a method is and who may use it is the business of others.

use std::fmt;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::elicitation::Brought;
use super::era::ProtocolVersion;
use super::method::{Method, NotificationKind};
use super::params::{self, Completed};
use crate::strict_json::{ExactError, parse_exact};

/// Largest message that is read before it is judged. Arguments are JSON text; files travel by reference.
pub const MESSAGE_BYTES_MAX: usize = 1_048_576;
/// Most arrays and objects that are open at once. Schemas, the deepest of what servers send, stay below half of it.
const DEPTH_MAX: usize = 64;
/// Longest `id` that is a text. Clients send counters or UUIDs.
pub const ID_BYTES_MAX: usize = 256;
/// Longest name of a method. The longest known one has 31 bytes.
const METHOD_BYTES_MAX: usize = 128;

/// The members that a message may have (JSON-RPC 2.0 sections 4 and 5).
const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

/// A message.
#[derive(Clone, PartialEq, Debug)]
pub enum Message {
    /// Something is wanted, and an answer to it.
    Request(Request),
    /// Something is told.
    Notification(Notification),
    /// The answer to a request that the other end made.
    Response(Response),
}

/// What ties an answer to its request.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Id {
    /// A whole number of 64 bits.
    Integer(i64),
    /// A text of at most [`ID_BYTES_MAX`].
    String(String),
}

/// Something is wanted.
#[derive(Clone, PartialEq)]
pub struct Request {
    id: Id,
    method: Method,
    members: Map<String, Value>,
}

/// Something is told.
#[derive(Clone, PartialEq)]
pub struct Notification {
    kind: NotificationKind,
    members: Map<String, Value>,
}

/// The answer to a request that the other end made.
#[derive(Clone, PartialEq)]
pub struct Response {
    id: Id,
    members: Map<String, Value>,
}

/// Why a message is refused, and its `id` where that could be read: the answer carries it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{fault}")]
pub struct MessageError {
    /// What is wrong with it.
    pub fault: MessageFault,
    /// What it calls itself.
    pub id: Option<Id>,
}

/// What is wrong with a message. Places are those of the protocol; nothing that was sent is repeated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MessageFault {
    /// It is larger than [`MESSAGE_BYTES_MAX`].
    #[error("the message is larger than {MESSAGE_BYTES_MAX} bytes")]
    TooLarge,
    /// It is not JSON that can be written anew.
    #[error("the message cannot be read in one way: {0}")]
    Json(ExactError),
    /// It is an array. Only 2025-03-26 had batches, and one call in them could hide behind another.
    #[error("batches are not served; send each message by itself")]
    BatchRefused,
    /// It is no object.
    #[error("the message is not an object")]
    NotAnObject,
    /// It has a member that JSON-RPC does not know, perhaps one that differs in case.
    #[error("the message has a member that is not of JSON-RPC 2.0")]
    UnknownMember,
    /// `jsonrpc` is not `2.0`.
    #[error("`jsonrpc` is not \"2.0\"")]
    Version,
    /// It is neither a request nor a notification nor a response, or several of them.
    #[error("the message is not one of request, notification and response")]
    Kind,
    /// `id` is neither a text nor a whole number.
    #[error("`id` is not a text of at most {ID_BYTES_MAX} bytes or a whole number of 64 bits")]
    Id,
    /// `method` is not a text.
    #[error("`method` is not a text of 1 to {METHOD_BYTES_MAX} bytes")]
    Method,
    /// `error` is not an object with an integer `code` and a text `message`.
    #[error("`error` is not an object with `code` and `message`")]
    Error,
    /// Something that the method needs is not there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// Something is not of the kind that the protocol wants.
    #[error("`{0}` is not {1}")]
    WrongType(&'static str, &'static str),
    /// Something is longer than is read.
    #[error("`{0}` is longer than {1} bytes")]
    TooLong(&'static str, usize),
    /// A member differs in nothing but case from another one, or from one of the protocol's. There are readers to whom it
    /// is the same.
    #[error("a member of `{0}` differs from another one in case alone")]
    CaseTwin(&'static str),
    /// A URI is written in a way that some readers take for that of something else.
    #[error("`{0}` is not written in the one way that everybody reads alike")]
    Ambiguous(&'static str),
}

impl MessageFault {
    /// The code of the error that answers it (JSON-RPC 2.0 section 5.1).
    pub const fn rpc_code(self) -> i32 {
        match self {
            Self::Json(ExactError::NotJson) => -32_700,
            Self::Json(ExactError::Repeated | ExactError::TooDeep | ExactError::Inexact)
            | Self::TooLarge
            | Self::BatchRefused
            | Self::NotAnObject
            | Self::UnknownMember
            | Self::Version
            | Self::Kind
            | Self::Id
            | Self::Method
            | Self::Error => -32_600,
            Self::Missing(_)
            | Self::WrongType(..)
            | Self::TooLong(..)
            | Self::CaseTwin(_)
            | Self::Ambiguous(_) => -32_602,
        }
    }
}

impl MessageError {
    /// The code of the error that answers it (JSON-RPC 2.0 section 5.1).
    pub const fn rpc_code(&self) -> i32 {
        self.fault.rpc_code()
    }
}

impl Message {
    /// Reads one message, with nothing after it.
    ///
    /// # Errors
    ///
    /// [`MessageError`] for what is not one message that everybody reads alike, and for a known method whose `params` are
    /// not what the protocol says.
    pub fn parse(text: &[u8]) -> Result<Self, MessageError> {
        let unnamed = |fault| MessageError { fault, id: None };
        if text.len() > MESSAGE_BYTES_MAX {
            return Err(unnamed(MessageFault::TooLarge));
        }
        match parse_exact(text, DEPTH_MAX) {
            Ok(Value::Object(members)) => {
                let id = members.get("id").and_then(Id::read);
                Self::from_members(members).map_err(|fault| MessageError { fault, id })
            }
            Ok(Value::Array(_)) => Err(unnamed(MessageFault::BatchRefused)),
            Ok(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                Err(unnamed(MessageFault::NotAnObject))
            }
            Err(error) => Err(unnamed(MessageFault::Json(error))),
        }
    }

    fn from_members(members: Map<String, Value>) -> Result<Self, MessageFault> {
        if members.keys().any(|name| !MEMBERS.contains(&name.as_str())) {
            return Err(MessageFault::UnknownMember);
        }
        if members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Err(MessageFault::Version);
        }
        let id = members.get("id").map(|id| Id::read(id).ok_or(MessageFault::Id)).transpose()?;
        let params = params::object(&members, "params", "params")?;
        let has = |name| members.contains_key(name);
        match (members.get("method"), id, has("result"), has("error")) {
            (Some(method), Some(id), false, false) => {
                let method = method_in_its_era(Method::named(method_name(method)?), params);
                params::check_request(method, params)?;
                Ok(Self::Request(Request { id, method, members }))
            }
            (Some(method), None, false, false) => {
                let kind = NotificationKind::named(method_name(method)?);
                params::check_notification(kind, params)?;
                Ok(Self::Notification(Notification { kind, members }))
            }
            (None, Some(id), true, false) if params.is_none() => {
                if let Some(Value::Object(result)) = members.get("result") {
                    params::check_meta(result, "result._meta")?;
                }
                Ok(Self::Response(Response { id, members }))
            }
            (None, Some(id), false, true) if params.is_none() => {
                let error = members.get("error").and_then(Value::as_object).ok_or(MessageFault::Error)?;
                match (error.get("code"), error.get("message")) {
                    (Some(Value::Number(code)), Some(Value::String(_))) if code.is_i64() => {
                        Ok(Self::Response(Response { id, members }))
                    }
                    (_, _) => Err(MessageFault::Error),
                }
            }
            (Some(_), _, _, _) | (None, _, _, _) => Err(MessageFault::Kind),
        }
    }

    /// The message, written anew from what was read.
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Request(request) => request.to_bytes(),
            Self::Notification(notification) => notification.to_bytes(),
            Self::Response(response) => response.to_bytes(),
        }
    }
}

/// What a message of the modern era asks for that this era has no more is not known, whatever it lacks besides.
fn method_in_its_era(method: Method, params: Option<&Map<String, Value>>) -> Method {
    let version = params.and_then(|params| params.get("_meta")?.get(super::META_PROTOCOL_VERSION));
    let is_modern = version.is_some_and(ProtocolVersion::is_meant_as_modern);
    if is_modern && method.is_of_legacy_alone() { Method::Unknown } else { method }
}

fn method_name(method: &Value) -> Result<&str, MessageFault> {
    let name = method.as_str().filter(|name| (1..=METHOD_BYTES_MAX).contains(&name.len()));
    name.ok_or(MessageFault::Method)
}

fn method_of(members: &Map<String, Value>) -> &str {
    members.get("method").and_then(Value::as_str).unwrap_or_default()
}

fn written(members: &Map<String, Value>) -> Bytes {
    serde_json::to_vec(members).expect("a JSON value can be written: its names are texts").into()
}

impl Id {
    /// The id that a value is. `None`: it is none.
    pub fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => number.as_i64().map(Self::Integer),
            Value::String(text) => (text.len() <= ID_BYTES_MAX).then(|| Self::String(text.clone())),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// As it stands in messages.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Integer(number) => (*number).into(),
            Self::String(text) => text.as_str().into(),
        }
    }
}

impl Request {
    /// What ties the answer to it.
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// What it asks for.
    pub fn method(&self) -> Method {
        self.method
    }

    /// What it asks for, as it was sent. Never a metric label.
    pub fn method_name(&self) -> &str {
        method_of(&self.members)
    }

    /// The parameters, if it has any.
    pub fn params(&self) -> Option<&Map<String, Value>> {
        self.members.get("params").and_then(Value::as_object)
    }

    /// The tool or the prompt that it is about (`tools/call`, `prompts/get`).
    pub fn name(&self) -> Option<&str> {
        self.subject_named("name")
    }

    /// The resource that it is about (`resources/read`, `resources/subscribe`, `resources/unsubscribe`).
    pub fn uri(&self) -> Option<&str> {
        self.subject_named("uri")
    }

    /// The task that it is about (`tasks/get`, `tasks/result`, `tasks/cancel`, `tasks/update`).
    pub fn task_id(&self) -> Option<&str> {
        self.subject_named("taskId")
    }

    fn subject_named(&self, member: &str) -> Option<&str> {
        self.method.subject().filter(|subject| *subject == member)?;
        self.params()?.get(member)?.as_str()
    }

    /// The arguments of a tool or a prompt (`tools/call`, `prompts/get`), if it has any.
    pub fn arguments(&self) -> Option<&Map<String, Value>> {
        match self.method.subject() {
            Some("name") => self.params()?.get("arguments")?.as_object(),
            Some(_) | None => None,
        }
    }

    /// Whose arguments are to be completed (`completion/complete`).
    pub fn completes(&self) -> Option<Completed<'_>> {
        Completed::of(self.params().filter(|_| self.method == Method::CompletionComplete)?)
    }

    /// The resources whose changes it asks to hear of (`subscriptions/listen`).
    pub fn resource_subscriptions(&self) -> impl Iterator<Item = &str> {
        let params = self.params().filter(|_| self.method == Method::SubscriptionsListen);
        params.into_iter().flat_map(|params| params::subscriptions(params, "resourceSubscriptions"))
    }

    /// The tasks that it names: the one that it is about, those whose changes it asks to hear of (`subscriptions/listen`),
    /// and those that it says it belongs to.
    pub fn tasks(&self) -> impl Iterator<Item = &str> {
        let params = self.params().filter(|_| self.method == Method::SubscriptionsListen);
        let subscribed = params.into_iter().flat_map(|params| params::subscriptions(params, "taskIds"));
        self.task_id().into_iter().chain(subscribed).chain(params::related_tasks(self.meta()))
    }

    /// What is said beside the parameters.
    pub fn meta(&self) -> Option<&Map<String, Value>> {
        self.params()?.get("_meta")?.as_object()
    }

    /// The state of a call that waited for its person, and now goes on.
    pub fn request_state(&self) -> Option<&str> {
        self.params()?.get("requestState")?.as_str()
    }

    /// What its person answered meanwhile.
    pub fn input_responses(&self) -> Option<&Map<String, Value>> {
        self.params()?.get("inputResponses")?.as_object()
    }

    /// Has it go on with these in place of what it came with.
    pub fn bring(&mut self, brought: &Brought) {
        let Some(Value::Object(params)) = self.members.get_mut("params") else { return };
        let Brought { state, responses } = brought.clone();
        for (member, value) in
            [("requestState", state.map(Value::from)), ("inputResponses", responses.map(Value::from))]
        {
            match value {
                Some(value) => drop(params.insert(member.to_owned(), value)),
                None => drop(params.shift_remove(member)),
            }
        }
    }

    /// The message, written anew from what was read.
    pub fn to_bytes(&self) -> Bytes {
        written(&self.members)
    }
}

impl Notification {
    /// What it tells of.
    pub fn kind(&self) -> NotificationKind {
        self.kind
    }

    /// What it tells of, as it was sent. Never a metric label.
    pub fn method_name(&self) -> &str {
        method_of(&self.members)
    }

    /// The parameters, if it has any.
    pub fn params(&self) -> Option<&Map<String, Value>> {
        self.members.get("params").and_then(Value::as_object)
    }

    /// What is said beside the parameters.
    pub fn meta(&self) -> Option<&Map<String, Value>> {
        self.params()?.get("_meta")?.as_object()
    }

    /// The message, written anew from what was read.
    pub fn to_bytes(&self) -> Bytes {
        written(&self.members)
    }
}

impl Response {
    /// The message, written anew from what was read.
    pub fn to_bytes(&self) -> Bytes {
        written(&self.members)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("id", &self.id).field("method", &self.method).finish_non_exhaustive()
    }
}

impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
