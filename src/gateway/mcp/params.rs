//! What the protocol wants of a message's `params`, and what can be read of them once they are as it wants.

use serde_json::{Map, Value};

use super::message::{ID_BYTES_MAX, Id, MessageFault};
use super::method::{Method, NotificationKind};
use super::uri;
use crate::strict_json::{folded, same_but_for_case};

/// Longest name of a tool or a prompt. The protocol counsels 128 at most; there are servers with longer ones.
pub const NAME_BYTES_MAX: usize = 256;
/// Longest URI of a resource, and longest `taskId`. In the `Mcp-Name` header they grow by a third, and still fit where
/// servers take 8 KiB.
pub const URI_BYTES_MAX: usize = 4_096;

/// The members of `params` that the protocol knows. One that is written otherwise is refused, because there are servers
/// that would take it for this one.
const PARAMS: [&str; 20] = [
    "_meta",
    "argument",
    "arguments",
    "capabilities",
    "clientInfo",
    "context",
    "cursor",
    "inputResponses",
    "level",
    "name",
    "notifications",
    "progress",
    "progressToken",
    "protocolVersion",
    "ref",
    "requestId",
    "requestState",
    "task",
    "taskId",
    "uri",
];
/// The members of `_meta` that the gateway or servers act on.
const META: [&str; 6] = [
    super::META_PROTOCOL_VERSION,
    super::META_CLIENT_CAPABILITIES,
    "io.modelcontextprotocol/clientInfo",
    RELATED_TASK,
    RELATED_TASKS,
    "progressToken",
];
/// The member of `_meta` with the task that a message belongs to, in 2025-11-25.
const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";
/// The member of `_meta` with tasks that have to do with a request, in the Tasks extension.
const RELATED_TASKS: &str = "io.modelcontextprotocol/relatedTaskIds";
/// The members of `ref` in `completion/complete`.
const REF: [&str; 3] = ["type", "name", "uri"];
/// The members of `notifications` in `subscriptions/listen`.
const NOTIFICATIONS: [&str; 5] =
    ["toolsListChanged", "promptsListChanged", "resourcesListChanged", "resourceSubscriptions", "taskIds"];

const AN_OBJECT: &str = "an object";
const A_TEXT: &str = "a text";

/// Whose arguments are to be completed (`completion/complete`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Completed<'a> {
    /// The prompt's of this name.
    Prompt(&'a str),
    /// The resource template's of this URI.
    Template(&'a str),
}

impl<'a> Completed<'a> {
    /// What `params.ref` names. `None`: nothing that is known.
    pub(super) fn of(params: &'a Map<String, Value>) -> Option<Self> {
        let reference = params.get("ref")?.as_object()?;
        match reference.get("type")?.as_str()? {
            "ref/prompt" => Some(Self::Prompt(reference.get("name")?.as_str()?)),
            "ref/resource" => Some(Self::Template(reference.get("uri")?.as_str()?)),
            _ => None,
        }
    }
}

/// What a list within `params.notifications` names.
pub(super) fn subscriptions<'a>(params: &'a Map<String, Value>, list: &str) -> impl Iterator<Item = &'a str> {
    let list = params.get("notifications").and_then(|wanted| wanted.get(list));
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The tasks that `_meta` names.
pub(super) fn related_tasks(meta: Option<&Map<String, Value>>) -> impl Iterator<Item = &str> {
    let task = meta.and_then(|meta| meta.get(RELATED_TASK)?.get("taskId"));
    let tasks = meta.and_then(|meta| meta.get(RELATED_TASKS)?.as_array());
    task.into_iter().chain(tasks.into_iter().flatten()).filter_map(Value::as_str)
}

/// Checks what the protocol wants of a request's parameters.
pub(super) fn check_request(method: Method, params: Option<&Map<String, Value>>) -> Result<(), MessageFault> {
    let nothing = Map::new();
    let params = params.unwrap_or(&nothing);
    check_common(params)?;
    match method {
        Method::ToolsCall | Method::PromptsGet => {
            required_text(params, "name", "params.name", NAME_BYTES_MAX)?;
            if let Some(arguments) = object(params, "arguments", "params.arguments")? {
                check_distinct(arguments, &[], "params.arguments")?;
            }
            Ok(())
        }
        Method::ResourcesRead | Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => {
            required_uri(params, "params.uri")
        }
        Method::TasksGet | Method::TasksResult | Method::TasksCancel | Method::TasksUpdate => {
            required_text(params, "taskId", "params.taskId", URI_BYTES_MAX)
        }
        Method::Initialize => {
            required_text(params, "protocolVersion", "params.protocolVersion", NAME_BYTES_MAX)
        }
        Method::CompletionComplete => check_completion(params),
        Method::SubscriptionsListen => check_subscriptions(params),
        Method::Ping
        | Method::ToolsList
        | Method::PromptsList
        | Method::ResourcesList
        | Method::ResourceTemplatesList
        | Method::LoggingSetLevel
        | Method::TasksList
        | Method::ServerDiscover
        | Method::Unknown => Ok(()),
    }
}

/// Checks what the protocol wants of a notification's parameters.
pub(super) fn check_notification(
    kind: NotificationKind,
    params: Option<&Map<String, Value>>,
) -> Result<(), MessageFault> {
    let Some(params) = params else { return Ok(()) };
    check_common(params)?;
    match (kind, params.get("requestId")) {
        (NotificationKind::Cancelled, Some(id)) => match Id::read(id) {
            Some(_) => Ok(()),
            None if id.is_string() => Err(MessageFault::TooLong("params.requestId", ID_BYTES_MAX)),
            None => Err(MessageFault::WrongType("params.requestId", "a text or a whole number")),
        },
        (NotificationKind::Cancelled, None)
        | (
            NotificationKind::Initialized
            | NotificationKind::Progress
            | NotificationKind::RootsListChanged
            | NotificationKind::TaskStatus
            | NotificationKind::Unknown,
            _,
        ) => Ok(()),
    }
}

fn check_common(params: &Map<String, Value>) -> Result<(), MessageFault> {
    check_distinct(params, &PARAMS, "params")?;
    check_meta(params, "params._meta")?;
    object(params, "inputResponses", "params.inputResponses")?;
    match params.get("requestState") {
        None | Some(Value::String(_)) => Ok(()),
        Some(_) => Err(MessageFault::WrongType("params.requestState", A_TEXT)),
    }
}

/// Checks what the protocol wants of `_meta`.
pub(super) fn check_meta(members: &Map<String, Value>, place: &'static str) -> Result<(), MessageFault> {
    let Some(meta) = object(members, "_meta", place)? else { return Ok(()) };
    check_distinct(meta, &META, place)?;
    if let Some(task) = object(meta, RELATED_TASK, RELATED_TASK)? {
        check_distinct(task, &["taskId"], RELATED_TASK)?;
        required_text(task, "taskId", RELATED_TASK, URI_BYTES_MAX)?;
    }
    check_texts(meta, RELATED_TASKS, RELATED_TASKS)
}

fn check_completion(params: &Map<String, Value>) -> Result<(), MessageFault> {
    let reference = object(params, "ref", "params.ref")?.ok_or(MessageFault::Missing("params.ref"))?;
    check_distinct(reference, &REF, "params.ref")?;
    match reference.get("type").and_then(Value::as_str) {
        Some("ref/prompt") => required_text(reference, "name", "params.ref.name", NAME_BYTES_MAX),
        Some("ref/resource") => required_uri(reference, "params.ref.uri"),
        Some(_) | None => {
            Err(MessageFault::WrongType("params.ref.type", "\"ref/prompt\" or \"ref/resource\""))
        }
    }
}

fn check_subscriptions(params: &Map<String, Value>) -> Result<(), MessageFault> {
    let Some(wanted) = object(params, "notifications", "params.notifications")? else { return Ok(()) };
    check_distinct(wanted, &NOTIFICATIONS, "params.notifications")?;
    let place = "params.notifications.resourceSubscriptions";
    check_texts(wanted, "resourceSubscriptions", place)?;
    check_texts(wanted, "taskIds", "params.notifications.taskIds")?;
    match subscriptions(params, "resourceSubscriptions").all(uri::is_canonical) {
        true => Ok(()),
        false => Err(MessageFault::Ambiguous(place)),
    }
}

/// Whether a member, if there is one, is an array of URIs or of tasks.
fn check_texts(members: &Map<String, Value>, member: &str, place: &'static str) -> Result<(), MessageFault> {
    let texts = match members.get(member) {
        None => return Ok(()),
        Some(Value::Array(texts)) if texts.iter().all(Value::is_string) => texts,
        Some(_) => return Err(MessageFault::WrongType(place, "an array of texts")),
    };
    match texts.iter().filter_map(Value::as_str).all(|text| text.len() <= URI_BYTES_MAX) {
        true => Ok(()),
        false => Err(MessageFault::TooLong(place, URI_BYTES_MAX)),
    }
}

/// The object that a member is, if there is such a member.
pub(super) fn object<'a>(
    members: &'a Map<String, Value>,
    member: &str,
    place: &'static str,
) -> Result<Option<&'a Map<String, Value>>, MessageFault> {
    match members.get(member) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(MessageFault::WrongType(place, AN_OBJECT)),
    }
}

fn required_uri(members: &Map<String, Value>, place: &'static str) -> Result<(), MessageFault> {
    required_text(members, "uri", place, URI_BYTES_MAX)?;
    match members.get("uri").and_then(Value::as_str).is_some_and(uri::is_canonical) {
        true => Ok(()),
        false => Err(MessageFault::Ambiguous(place)),
    }
}

fn required_text(
    members: &Map<String, Value>,
    member: &str,
    place: &'static str,
    bytes_max: usize,
) -> Result<(), MessageFault> {
    match members.get(member) {
        None => Err(MessageFault::Missing(place)),
        Some(Value::String(text)) if text.is_empty() => Err(MessageFault::Missing(place)),
        Some(Value::String(text)) if text.len() > bytes_max => Err(MessageFault::TooLong(place, bytes_max)),
        Some(Value::String(_)) => Ok(()),
        Some(_) => Err(MessageFault::WrongType(place, A_TEXT)),
    }
}

/// No two members, nor one and one of the protocol's, may differ in case alone: there are servers to whom they are the same
/// (CVE-2026-27896), and which of the two they take is not known here.
fn check_distinct(
    members: &Map<String, Value>,
    known: &[&str],
    place: &'static str,
) -> Result<(), MessageFault> {
    let mut seen = std::collections::HashSet::with_capacity(members.len());
    for name in members.keys() {
        let is_twin = |known: &&str| **known != *name && same_but_for_case(known, name);
        if known.iter().any(is_twin) || !seen.insert(folded(name)) {
            return Err(MessageFault::CaseTwin(place));
        }
    }
    Ok(())
}
