//! The modern era (2026-07-28): every request describes itself, and mirrors a part of its body in headers.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::catalogue::Tool;
use super::events::Events;
use super::message::{self, Fault, Members, Message, empty_response, json_response};
use super::methods::{Call, Outcome, Party};
use super::{Connector, legacy, tasks, text};
use crate::demo::body::Body;
use crate::demo::connector::Caller;

/// The versions spoken.
pub(super) const VERSIONS: [&str; 1] = ["2026-07-28"];

const VERSION_HEADER: &str = "mcp-protocol-version";
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";

/// How long clients may keep lists.
const TTL_MS: u32 = 60_000;

/// Whether a request says in its header that it is of this era.
pub(super) fn version_is_modern(headers: &HeaderMap) -> bool {
    // Versions are dates and compare as text.
    text(headers, VERSION_HEADER).is_some_and(|version| version >= VERSIONS[0])
}

/// Whether a message is of this era.
pub(super) fn is_modern(headers: &HeaderMap, message: &Message) -> bool {
    match message {
        Message::Request { method, .. } if method == "initialize" => false,
        Message::Request { params, .. } | Message::Notification { params, .. } => {
            version_is_modern(headers) || meta(params, VERSION_KEY).is_some()
        }
        Message::Response { .. } => version_is_modern(headers),
    }
}

fn meta<'a>(params: &'a Members, key: &str) -> Option<&'a Value> {
    params.get("_meta")?.get(key)
}

impl Connector {
    pub(super) fn post_modern(
        self: &Arc<Self>,
        caller: Caller,
        headers: &HeaderMap,
        message: Message,
    ) -> Response<Body> {
        let (id, method, params) = match message {
            Message::Request { id, method, params } => (id, method, params),
            Message::Notification { .. } => return empty_response(StatusCode::ACCEPTED),
            Message::Response { .. } => {
                return Fault::invalid("clients send no responses in this version").modern(&Value::Null);
            }
        };
        let answer = check(headers, &method, &params).and_then(|capabilities| {
            let call = Call { caller, id: id.clone(), method, params, party: Party::Modern { capabilities } };
            let outcome = match call.method.as_str() {
                "server/discover" => Outcome::Now(discover()),
                "subscriptions/listen" => self.subscribe(&call)?,
                _ => self.serve(&call)?,
            };
            Ok(self.answer_modern(&call, outcome))
        });
        answer.unwrap_or_else(|fault| fault.modern(&id))
    }

    fn answer_modern(self: &Arc<Self>, call: &Call, outcome: Outcome) -> Response<Body> {
        let method = call.method.clone();
        match outcome {
            Outcome::Now(result) => {
                let answer = message::result(&call.id, &completed(&method, result));
                if !self.always_streams() {
                    return json_response(StatusCode::OK, &answer);
                }
                let events = Events::nameless();
                events.send(&answer);
                events.end();
                events.answer(Some(0), CancellationToken::new(), None)
            }
            Outcome::Later(work) => {
                let events = Arc::new(Events::nameless());
                // In this era who stops reading has cancelled the call.
                let cancelled = self.stopping.child_token();
                let response =
                    events.answer(Some(0), CancellationToken::new(), Some(cancelled.clone().drop_guard()));
                let id = call.id.clone();
                tokio::spawn(async move {
                    match work(Arc::clone(&events), cancelled).await {
                        Some(Ok(result)) => events.send(&message::result(&id, &completed(&method, result))),
                        Some(Err(fault)) => events.send(&fault.message(&id)),
                        None => {}
                    }
                    events.end();
                });
                response
            }
        }
    }
}

/// Compares headers and body, and gives the client's capabilities.
fn check(headers: &HeaderMap, method: &str, params: &Members) -> Result<Value, Fault> {
    let stated = text(headers, VERSION_HEADER)
        .ok_or_else(|| Fault::header_mismatch("MCP-Protocol-Version is missing"))?;
    let version =
        meta(params, VERSION_KEY).and_then(Value::as_str).ok_or_else(|| Fault::missing_meta(VERSION_KEY))?;
    if stated != version {
        return Err(Fault::header_mismatch("MCP-Protocol-Version differs from _meta"));
    }
    if !VERSIONS.contains(&version) {
        let supported: Vec<&str> = VERSIONS.into_iter().chain(legacy::VERSIONS).collect();
        return Err(Fault::unsupported_version(version, &supported));
    }
    let capabilities = meta(params, CAPABILITIES_KEY)
        .filter(|capabilities| capabilities.is_object())
        .ok_or_else(|| Fault::missing_meta(CAPABILITIES_KEY))?;
    if text(headers, "mcp-method") != Some(method) {
        return Err(Fault::header_mismatch("Mcp-Method differs from method"));
    }
    let named = match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        _ if method.starts_with("tasks/") => Some("taskId"),
        _ => None,
    };
    if let Some(name) = named.and_then(|member| params.get(member)) {
        mirrors(headers, "mcp-name", name)?;
    }
    let tool = params.get("name").and_then(Value::as_str).filter(|_| method == "tools/call");
    if tool.and_then(Tool::named) == Some(Tool::FindNotes)
        && let Some(word) = params.get("arguments").and_then(|arguments| arguments.get("word"))
        && !word.is_null()
    {
        mirrors(headers, "mcp-param-word", word)?;
    }
    Ok(capabilities.clone())
}

/// Checks that a header field says what a member of the body says.
fn mirrors(headers: &HeaderMap, field: &str, member: &Value) -> Result<(), Fault> {
    let mismatch = |what: &str| Fault::header_mismatch(format!("{field} {what}"));
    let stated = text(headers, field).ok_or_else(|| mismatch("is missing"))?;
    let stated = decode(stated).ok_or_else(|| mismatch("is badly encoded"))?;
    if member.as_str() == Some(stated.as_str()) { Ok(()) } else { Err(mismatch("differs from the body")) }
}

/// The text that a mirrored header carries: as it is, or in base64 between markers.
fn decode(value: &str) -> Option<String> {
    let Some(encoded) = value.strip_prefix("=?base64?").and_then(|value| value.strip_suffix("?=")) else {
        return Some(value.to_owned());
    };
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}

fn discover() -> Value {
    json!({
        "supportedVersions": VERSIONS,
        "capabilities": {
            "tools": { "listChanged": true },
            "prompts": { "listChanged": true },
            "resources": { "listChanged": true, "subscribe": true },
            "extensions": { tasks::EXTENSION: {} },
        },
        "_meta": { "io.modelcontextprotocol/serverInfo": super::methods::server_info() },
        "instructions": super::methods::INSTRUCTIONS,
    })
}

/// A result with the members that this era adds.
fn completed(method: &str, mut result: Value) -> Value {
    if result.get("resultType").is_none() {
        result["resultType"] = json!("complete");
    }
    // As if nobody filtered anything: a gateway that does must say otherwise.
    let scope = match method {
        "server/discover" | "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list" => {
            "public"
        }
        "resources/read" => "private",
        _ => return result,
    };
    if result["resultType"] == "complete" {
        result["ttlMs"] = json!(TTL_MS);
        result["cacheScope"] = json!(scope);
    }
    result
}
