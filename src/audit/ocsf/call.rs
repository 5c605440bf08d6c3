//! The record of a call: class API Activity (6003).

use std::borrow::Cow;
use std::net::SocketAddr;

use http::{HeaderValue, Method, Version};

use super::delegation;
use super::json::Object;
use super::parts::{milliseconds, status};
use super::prepared::{Kind, Prepared};
use super::text::Texts;
use crate::audit::record::{CallRecord, Ending, Fault, McpOperation};

/// The methods of HTTP that OCSF knows.
const METHODS: [Method; 9] = [
    Method::CONNECT,
    Method::DELETE,
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::POST,
    Method::PUT,
    Method::TRACE,
];

/// Appends the record of a call.
pub fn append(record: &CallRecord, line: &mut Vec<u8>) {
    let mut texts = Texts::about(record.caller.as_deref(), &record.privacy);
    texts.hide_tokens(&record.token_headers, record.caller.as_deref());
    Prepared::with(record, &texts, |prepared| {
        let mut event = Object::begin(line);
        write_event(record, &texts, prepared, &mut event);
        event.end();
    });
}

fn write_event(record: &CallRecord, texts: &Texts, prepared: &mut Prepared, event: &mut Object<'_>) {
    let refusal = record.refusal.as_ref();
    let code = refusal.map(|refusal| refusal.code);
    let end = milliseconds(record.arrived_at.saturating_add(record.duration));
    let succeeded =
        record.ending == Ending::Answered && record.status.is_some_and(|status| status.as_u16() < 400);
    let (status_id, status) = status(succeeded);
    let request_id = record.request_id.text();
    event.members(prepared.opening(kind(record, texts)));
    event.number("time", end);
    event.number("start_time", milliseconds(record.arrived_at));
    event.number("end_time", end);
    event.number("duration", milliseconds(record.duration));
    event.number("status_id", status_id);
    event.text("status", status);
    event.optional_text("status_code", code);
    event.optional_text("status_detail", refusal.map(|refusal| texts.text(&refusal.detail)));
    event.text("message", &message(record, &prepared.sentence));
    event.members(&prepared.members);
    event.object("api", |api| {
        api.text("operation", &operation(record, texts));
        api.members(&prepared.api);
        api.object("request", |request| request.text("uid", request_id.as_ref()));
        if let Some(status) = record.status {
            api.object("response", |response| {
                response.number("code", status.as_u16());
                response.optional_text("error", code);
            });
        }
    });
    event.object("src_endpoint", |endpoint| write_peer(record.peer.address, endpoint));
    event.object("http_request", |request| write_http_request(record, texts, request));
    if let Some(status) = record.status {
        event.object("http_response", |response| {
            response.number("code", status.as_u16());
            response.number("body_length", record.response_bytes);
            response.optional_number("latency", record.connector_latency.map(milliseconds));
        });
    }
    if let Some(trace) = record.traceparent.as_ref().and_then(trace_id) {
        event.object("trace", |object| object.text("uid", trace));
    }
    event.number("action_id", if record.ending == Ending::Refused { 2 } else { 1 });
    event.number("disposition_id", disposition(record));
    event.members(prepared.authorizations(record, texts));
    event.object("unmapped", |unmapped| {
        unmapped.object("obo", |obo| delegation::write(record, texts, prepared, obo));
    });
    let correlation_id = refusal.and_then(|refusal| refusal.issuer_correlation_id.as_deref());
    let correlation_id = correlation_id.map(|id| texts.name(id));
    // From here on no text can be cut any more.
    event.object("metadata", |metadata| {
        metadata.text("uid", request_id.as_ref());
        metadata.optional_text("correlation_uid", correlation_id);
        metadata.members(&prepared.metadata);
        if prepared.is_cut || texts.is_cut() {
            metadata.value("is_truncated", &true);
        }
    });
}

fn write_http_request(record: &CallRecord, texts: &Texts, request: &mut Object<'_>) {
    // OCSF knows a closed set of them. Any other stands in `api.operation`.
    let method = METHODS.contains(&record.method).then(|| record.method.as_str());
    request.optional_text("http_method", method);
    request.text("version", version(record.version));
    request.object("url", |url| {
        url.text("path", &texts.text(record.address.path()));
        url.text("scheme", if record.peer.tls { "https" } else { "http" });
        url.optional_text("hostname", record.address.host().map(|host| texts.name(host)));
    });
    request.optional_text("user_agent", record.user_agent.as_ref().map(|agent| texts.header(agent)));
    request.number("body_length", record.request_bytes);
}

/// What was asked for: MCP's method and what it is about, or HTTP's method and the path.
pub(super) fn operation(record: &CallRecord, texts: &Texts) -> Cow<'static, str> {
    texts.made(match &record.operation {
        Some(operation) => match &operation.name {
            Some(name) => format!("{} {name}", operation.method),
            None => operation.method.to_owned(),
        },
        None => [record.method.as_str(), " ", record.address.path()].concat(),
    })
}

/// One sentence for people, of what stands in the record elsewhere. It begins with `sentence`.
fn message(record: &CallRecord, sentence: &str) -> String {
    let status = record.status.map(|status| status.as_u16()).unwrap_or_default();
    let end = match record.ending {
        Ending::Answered => return [sentence, "answered ", itoa::Buffer::new().format(status)].concat(),
        Ending::Refused => return format!("{sentence}refused with {status}, {}", record.outcome()),
        Ending::AgentLeft => "the agent left",
        Ending::ConnectorBroke => "the connector broke off",
        Ending::TokenExpired => "it ended with the caller's token",
        Ending::CallTimedOut => "it took too long",
        Ending::GatewayStopped => "the gateway stopped",
        Ending::Panicked => "the gateway failed",
    };
    [sentence, end].concat()
}

/// Create, Read, Update, Delete; and Other, which is called by what was asked for.
fn kind(record: &CallRecord, texts: &Texts) -> Kind {
    let (activity_id, activity, type_name) = match &record.operation {
        Some(operation) if reads(record, operation) => READ,
        Some(operation) => (99, operation.method, OTHER),
        None => match record.method {
            Method::POST => (1, "Create", "API Activity: Create"),
            Method::GET | Method::HEAD => READ,
            Method::PUT | Method::PATCH => (3, "Update", "API Activity: Update"),
            Method::DELETE => (4, "Delete", "API Activity: Delete"),
            _ => {
                let activity = texts.name(record.method.as_str()).into_owned().into();
                return Kind { activity_id: 99, activity, type_name: OTHER, severity_id: severity(record) };
            }
        },
    };
    Kind { activity_id, activity: activity.into(), type_name, severity_id: severity(record) }
}

const READ: (u32, &str, &str) = (2, "Read", "API Activity: Read");
const OTHER: &str = "API Activity: Other";

/// Whether what is asked of an MCP server changes nothing. What a tool does, its declaration says, if anything.
fn reads(record: &CallRecord, operation: &McpOperation) -> bool {
    match operation.method {
        "tools/call" => record.tool.as_ref().is_some_and(|tool| tool.annotations.read_only == Some(true)),
        method => method.ends_with("/list") || method.ends_with("/read") || method.ends_with("/get"),
    }
}

/// Who connected.
fn write_peer(peer: SocketAddr, endpoint: &mut Object<'_>) {
    endpoint.ip("ip", peer.ip());
    endpoint.number("port", peer.port());
}

/// Informational, Low (somebody was refused), Medium (something is broken), High (the gateway itself).
fn severity(record: &CallRecord) -> u32 {
    match (record.ending, record.refusal.as_ref().map(|refusal| refusal.fault)) {
        (Ending::Panicked, _) | (_, Some(Fault::Gateway)) => 4,
        (Ending::ConnectorBroke | Ending::CallTimedOut, _)
        | (_, Some(Fault::AuthorizationServer | Fault::Connector)) => 3,
        (Ending::Refused, _) => 2,
        (Ending::Answered | Ending::AgentLeft | Ending::TokenExpired | Ending::GatewayStopped, _) => 1,
    }
}

/// Allowed, Blocked, Unauthorized, Error.
fn disposition(record: &CallRecord) -> u32 {
    match (record.ending, record.refusal.as_ref().map(|refusal| refusal.fault)) {
        (Ending::Answered | Ending::AgentLeft | Ending::TokenExpired | Ending::GatewayStopped, _) => 1,
        (Ending::Refused, Some(Fault::Agent | Fault::User)) if record.caller.is_none() => 26,
        (Ending::Refused, Some(Fault::Agent | Fault::User)) => 2,
        _ => 27,
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_11 => "1.1",
        Version::HTTP_2 => "2",
        _ => "other",
    }
}

/// The trace id of a W3C `traceparent`, when it is a valid one.
pub(super) fn trace_id(traceparent: &HeaderValue) -> Option<&str> {
    let mut parts = traceparent.to_str().ok()?.split('-');
    let (version, id) = (parts.next()?, parts.next()?);
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (version.len() == 2
        && hex(version)
        && version != "ff"
        && id.len() == 32
        && hex(id)
        && id.bytes().any(|b| b != b'0'))
    .then_some(id)
}
