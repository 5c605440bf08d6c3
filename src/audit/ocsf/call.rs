//! The record of a call: class API Activity (6003).

use std::borrow::Cow;
use std::net::SocketAddr;

use http::{HeaderValue, Method, Version};

use super::delegation;
use super::json::Object;
use super::parts::{milliseconds, status};
use super::prepared::Prepared;
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
    let mut event = Object::begin(line);
    write_event(record, &texts, &Prepared::of(record, &texts), &mut event);
    event.end();
}

fn write_event(record: &CallRecord, texts: &Texts, prepared: &Prepared, event: &mut Object<'_>) {
    let refusal = record.refusal.as_ref();
    let code = refusal.map(|refusal| refusal.code);
    let end = milliseconds(record.arrived_at.saturating_add(record.duration));
    let succeeded =
        record.ending == Ending::Answered && record.status.is_some_and(|status| status.as_u16() < 400);
    let (status_id, status) = status(succeeded);
    let request_id = record.request_id.text();
    write_class(record, texts, event);
    event.number("time", end);
    event.number("start_time", milliseconds(record.arrived_at));
    event.number("end_time", end);
    event.number("duration", milliseconds(record.duration));
    event.number("status_id", status_id);
    event.text("status", status);
    event.optional_text("status_code", code);
    event.optional_text("status_detail", refusal.map(|refusal| texts.text(&refusal.detail)));
    write_message(record, prepared.sentence(), event);
    event.members(prepared.actor());
    event.members(prepared.destination());
    event.object("api", |api| {
        api.text("operation", &operation(record, texts));
        api.members(prepared.api());
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
    write_authorizations(record, texts, event);
    event.object("unmapped", |unmapped| {
        unmapped.object("obo", |obo| delegation::write(record, texts, prepared, obo));
    });
    let correlation_id = refusal.and_then(|refusal| refusal.issuer_correlation_id.as_deref());
    let correlation_id = correlation_id.map(|id| texts.name(id));
    // From here on no text can be cut any more.
    event.object("metadata", |metadata| {
        metadata.text("uid", request_id.as_ref());
        metadata.optional_text("correlation_uid", correlation_id);
        prepared.metadata().into_iter().for_each(|members| metadata.members(members));
        if prepared.is_cut() || texts.is_cut() {
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

/// One sentence for people, of what stands in the record elsewhere. `sentence` is how it begins.
fn write_message(record: &CallRecord, sentence: [&[u8]; 4], event: &mut Object<'_>) {
    let mut status = itoa::Buffer::new();
    let status = status.format(record.status.map(|status| status.as_u16()).unwrap_or_default());
    let end = match record.ending {
        Ending::Answered => ["answered ", status, "", ""],
        Ending::Refused => ["refused with ", status, ", ", record.outcome()],
        Ending::AgentLeft => ["the agent left", "", "", ""],
        Ending::ConnectorBroke => ["the connector broke off", "", "", ""],
        Ending::TokenExpired => ["it ended with the caller's token", "", "", ""],
        Ending::CallTimedOut => ["it took too long", "", "", ""],
        Ending::GatewayStopped => ["the gateway stopped", "", "", ""],
        Ending::Panicked => ["the gateway failed", "", "", ""],
    };
    let parts = sentence.into_iter().chain([&b": "[..]]).chain(end.map(str::as_bytes));
    event.escaped("message", parts);
}

/// Of which class it is, in which activity, and how bad.
fn write_class(record: &CallRecord, texts: &Texts, event: &mut Object<'_>) {
    event.members(br#""class_uid":6003,"class_name":"API Activity","category_uid":6"#);
    match activity(record) {
        Activity::Known(members) => event.members(members.as_bytes()),
        Activity::Other(name) => {
            event.members(br#""activity_id":99,"type_uid":600399,"type_name":"API Activity: Other""#);
            event.text("activity_name", &texts.name(name));
        }
    }
    event.number("severity_id", severity(record));
}

/// What a call does.
enum Activity<'r> {
    /// What OCSF has a number for: the members that say so.
    Known(&'static str),
    /// Anything else, by its name.
    Other(&'r str),
}

const CREATE: Activity<'_> = Activity::Known(
    r#""activity_id":1,"activity_name":"Create","type_uid":600301,"type_name":"API Activity: Create""#,
);
const READ: Activity<'_> = Activity::Known(
    r#""activity_id":2,"activity_name":"Read","type_uid":600302,"type_name":"API Activity: Read""#,
);
const UPDATE: Activity<'_> = Activity::Known(
    r#""activity_id":3,"activity_name":"Update","type_uid":600303,"type_name":"API Activity: Update""#,
);
const DELETE: Activity<'_> = Activity::Known(
    r#""activity_id":4,"activity_name":"Delete","type_uid":600304,"type_name":"API Activity: Delete""#,
);

/// Create, Read, Update, Delete; and Other, which is called by what was asked for.
fn activity(record: &CallRecord) -> Activity<'_> {
    match &record.operation {
        Some(operation) if reads(record, operation) => READ,
        Some(operation) => Activity::Other(operation.method),
        None => match record.method {
            Method::POST => CREATE,
            Method::GET | Method::HEAD => READ,
            Method::PUT | Method::PATCH => UPDATE,
            Method::DELETE => DELETE,
            _ => Activity::Other(record.method.as_str()),
        },
    }
}

/// Whether what is asked of an MCP server changes nothing. What a tool does, its declaration says, if anything.
fn reads(record: &CallRecord, operation: &McpOperation) -> bool {
    match operation.method {
        "tools/call" => record.tool.as_ref().is_some_and(|tool| tool.annotations.read_only == Some(true)),
        method => method.ends_with("/list") || method.ends_with("/read") || method.ends_with("/get"),
    }
}

/// What policy decided, and by which rules and policies.
fn write_authorizations(record: &CallRecord, texts: &Texts, event: &mut Object<'_>) {
    let denied = record.refusal.as_ref().is_some_and(|refusal| refusal.denied);
    let (policies, decision) = (&record.policies, if denied { "Denied" } else { "Allowed" });
    if policies.is_empty() && !denied {
        return;
    }
    event.list("authorizations", |list| {
        if policies.is_empty() {
            list.object(|authorization| authorization.text("decision", decision));
        }
        texts.each_of_list(policies.iter().map(|policy| policy.as_str()), |policy| {
            list.object(|authorization| {
                authorization.text("decision", decision);
                authorization.object("policy", |object| object.text("name", &policy));
            });
        });
    });
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
