//! The record of a call: class API Activity (6003).

use std::borrow::Cow;
use std::io::Write;

use http::{HeaderValue, Method, Version};
use serde::Serialize;

use super::Metadata;
use super::delegation::Delegation;
use super::parts::{Endpoint, Idp, Service, Session, Unmapped, User, milliseconds, status, tenant};
use super::text::Texts;
use crate::audit::record::{CallRecord, Ending, Fault};

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
///
/// # Errors
///
/// When it cannot be written.
pub fn append(record: &CallRecord, line: impl Write) -> serde_json::Result<()> {
    let mut texts = Texts::about(record.caller.as_deref(), &record.privacy);
    texts.hide_tokens(&record.token_headers, record.caller.as_deref());
    serde_json::to_writer(line, &Event::of(record, &texts))
}

/// The event that a call's record is.
#[derive(Serialize)]
struct Event<'a> {
    class_uid: u32,
    class_name: &'static str,
    category_uid: u32,
    activity_id: u32,
    activity_name: Cow<'a, str>,
    type_uid: u32,
    type_name: &'static str,
    severity_id: u32,
    time: u64,
    start_time: u64,
    end_time: u64,
    duration: u64,
    status_id: u32,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_detail: Option<Cow<'a, str>>,
    message: Cow<'static, str>,
    actor: Actor<'a>,
    api: Api<'a>,
    src_endpoint: Endpoint<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dst_endpoint: Option<Endpoint<'a>>,
    http_request: HttpRequest<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_response: Option<HttpResponse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<Trace<'a>>,
    action_id: u32,
    disposition_id: u32,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    authorizations: Vec<Authorization<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    resources: Vec<Resource<'a>>,
    unmapped: Unmapped<Delegation<'a>>,
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
struct Actor<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<User<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_uid: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Session<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idp: Option<Idp<'a>>,
}

#[derive(Serialize)]
struct Api<'a> {
    operation: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Service<'a>>,
    request: ApiRequest,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<ApiResponse<'a>>,
}

#[derive(Serialize)]
struct ApiRequest {
    uid: String,
}

#[derive(Serialize)]
struct ApiResponse<'a> {
    code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct HttpRequest<'a> {
    /// OCSF knows a closed set of them. Any other stands in `api.operation`.
    #[serde(skip_serializing_if = "Option::is_none")]
    http_method: Option<&'a str>,
    version: &'static str,
    url: Url<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cow<'a, str>>,
    body_length: u64,
}

#[derive(Serialize)]
struct Url<'a> {
    path: Cow<'a, str>,
    scheme: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct HttpResponse {
    code: u16,
    body_length: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<u64>,
}

#[derive(Serialize)]
struct Trace<'a> {
    uid: &'a str,
}

#[derive(Serialize)]
struct Authorization<'a> {
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Policy<'a>>,
}

#[derive(Serialize)]
struct Policy<'a> {
    name: Cow<'a, str>,
}

#[derive(Serialize)]
struct Resource<'a> {
    name: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    namespace: Cow<'a, str>,
    role_id: u32,
}

impl<'a> Event<'a> {
    fn of(record: &'a CallRecord, texts: &Texts) -> Self {
        let (activity_id, activity) = activity(record);
        let refusal = record.refusal.as_ref();
        let caller = record.caller.as_deref();
        let tool = record.tool.as_deref();
        let end = record.arrived_at.saturating_add(record.duration);
        let succeeded =
            record.ending == Ending::Answered && record.status.is_some_and(|status| status.as_u16() < 400);
        let (status_id, status) = status(succeeded);
        let operation = operation(record, texts);
        let actor = actor(record, texts);
        let message = message(record, &actor, &operation, texts);
        let connector = record.connector.as_ref().map(|connector| connector.as_str());
        Self {
            class_uid: 6003,
            class_name: "API Activity",
            category_uid: 6,
            activity_id,
            activity_name: activity.map_or_else(|| texts.name(other_activity(record)), Cow::Borrowed),
            type_uid: 600_300 + activity_id,
            type_name: type_name(activity_id),
            severity_id: severity(record),
            time: milliseconds(end),
            start_time: milliseconds(record.arrived_at),
            end_time: milliseconds(end),
            duration: milliseconds(record.duration),
            status_id,
            status,
            status_code: refusal.map(|refusal| refusal.code),
            status_detail: refusal.map(|refusal| texts.text(&refusal.detail)),
            message,
            actor,
            api: Api {
                operation,
                service: connector.map(|connector| Service { name: texts.name(connector), uid: None }),
                request: ApiRequest { uid: record.request_id.to_string() },
                response: record.status.map(|status| ApiResponse {
                    code: status.as_u16(),
                    error: refusal.map(|refusal| refusal.code),
                }),
            },
            src_endpoint: Endpoint::of_peer(record.peer.address),
            dst_endpoint: record
                .destination
                .as_deref()
                .map(|destination| Endpoint::of(destination, connector, texts)),
            http_request: HttpRequest {
                http_method: METHODS.contains(&record.method).then(|| record.method.as_str()),
                version: version(record.version),
                url: Url {
                    path: texts.text(record.address.path()),
                    scheme: if record.peer.tls { "https" } else { "http" },
                    hostname: record.address.host().map(|host| texts.name(host)),
                },
                user_agent: record.user_agent.as_ref().map(|agent| texts.header(agent)),
                body_length: record.request_bytes,
            },
            http_response: record.status.map(|status| HttpResponse {
                code: status.as_u16(),
                body_length: record.response_bytes,
                latency: record.connector_latency.map(milliseconds),
            }),
            trace: record.traceparent.as_ref().and_then(trace_id).map(|uid| Trace { uid }),
            action_id: if record.ending == Ending::Refused { 2 } else { 1 },
            disposition_id: disposition(record),
            authorizations: authorizations(record, texts),
            resources: tool
                .map(|tool| Resource {
                    name: texts.made(tool.to_string()),
                    kind: tool.primitive.as_str(),
                    namespace: texts.name(tool.connector.as_str()),
                    role_id: 1,
                })
                .into_iter()
                .collect(),
            unmapped: Unmapped { obo: Delegation::of(record, texts) },
            metadata: Metadata {
                correlation_uid: refusal
                    .and_then(|refusal| refusal.issuer_correlation_id.as_deref())
                    .map(|id| texts.name(id)),
                tenant_uid: tenant(caller, texts),
                profiles: &["security_control", "trace"],
                ..Metadata::of(record.request_id, texts)
            },
        }
    }
}

fn actor<'a>(record: &'a CallRecord, texts: &Texts) -> Actor<'a> {
    let Some(caller) = record.caller.as_deref() else {
        // OCSF wants at least one of the actor's members.
        return Actor {
            user: None,
            app_uid: None,
            app_name: Some(if record.is_page { "browser" } else { "unauthenticated" }),
            session: None,
            idp: None,
        };
    };
    Actor {
        user: User::of(caller, &record.privacy, texts),
        app_uid: caller.actor().map(|actor| texts.name(actor.as_str())),
        app_name: None,
        session: Some(Session::of(caller, &record.privacy, texts)),
        idp: Some(Idp::of(caller, texts)),
    }
}

/// What was asked for: MCP's method and what it is about, or HTTP's method and the path.
fn operation(record: &CallRecord, texts: &Texts) -> Cow<'static, str> {
    texts.made(match &record.operation {
        Some(operation) => match &operation.name {
            Some(name) => format!("{} {name}", operation.method),
            None => operation.method.to_owned(),
        },
        None => format!("{} {}", record.method, record.address.path()),
    })
}

/// One sentence for people, of what stands in the record elsewhere.
fn message(record: &CallRecord, actor: &Actor<'_>, operation: &str, texts: &Texts) -> Cow<'static, str> {
    let agent = actor.app_uid.as_deref().map(|agent| texts.phrase(agent));
    let who = match (&actor.user, &agent) {
        (Some(user), _) => texts.phrase(user.called()),
        (None, Some(agent)) => Cow::Borrowed(&**agent),
        (None, None) if record.is_page => Cow::Borrowed("a browser"),
        (None, None) => Cow::Borrowed("somebody unknown"),
    };
    let what = match &record.tool {
        Some(tool) => texts.phrase(&tool.to_string()).into_owned(),
        None => texts.phrase(operation).into_owned(),
    };
    let by = match (&actor.user, &agent) {
        (Some(_), Some(agent)) => format!(" by {agent}"),
        (Some(_), None) | (None, _) => String::new(),
    };
    let status = record.status.map(|status| status.as_u16()).unwrap_or_default();
    let end = match record.ending {
        Ending::Answered => format!("answered {status}"),
        Ending::Refused => format!("refused with {status}, {}", record.outcome()),
        Ending::AgentLeft => "the agent left".to_owned(),
        Ending::ConnectorBroke => "the connector broke off".to_owned(),
        Ending::TokenExpired => "it ended with the caller's token".to_owned(),
        Ending::CallTimedOut => "it took too long".to_owned(),
        Ending::GatewayStopped => "the gateway stopped".to_owned(),
        Ending::Panicked => "the gateway failed".to_owned(),
    };
    texts.made(format!("{who} called {what}{by}: {end}"))
}

fn authorizations<'a>(record: &'a CallRecord, texts: &Texts) -> Vec<Authorization<'a>> {
    let denied = record.refusal.as_ref().is_some_and(|refusal| refusal.denied);
    let decision = if denied { "Denied" } else { "Allowed" };
    if denied && record.policies.is_empty() {
        return vec![Authorization { decision, policy: None }];
    }
    let policies = texts.list(record.policies.iter().map(|policy| policy.as_str()));
    let by = |name| Authorization { decision, policy: Some(Policy { name }) };
    policies.into_iter().map(by).collect()
}

/// Create, Read, Update, Delete, Other; and OCSF's name for it, where it has one.
fn activity(record: &CallRecord) -> (u32, Option<&'static str>) {
    if let Some(operation) = &record.operation {
        // What a tool does, its declaration says, if anything.
        let reads = match operation.method {
            "tools/call" => record.tool.as_ref().is_some_and(|tool| tool.annotations.read_only == Some(true)),
            method => method.ends_with("/list") || method.ends_with("/read") || method.ends_with("/get"),
        };
        return if reads { (2, Some("Read")) } else { (99, None) };
    }
    match record.method {
        Method::POST => (1, Some("Create")),
        Method::GET | Method::HEAD => (2, Some("Read")),
        Method::PUT | Method::PATCH => (3, Some("Update")),
        Method::DELETE => (4, Some("Delete")),
        _ => (99, None),
    }
}

/// What an activity is called that OCSF has no name for.
fn other_activity(record: &CallRecord) -> &str {
    record.operation.as_ref().map_or_else(|| record.method.as_str(), |operation| operation.method)
}

fn type_name(activity_id: u32) -> &'static str {
    match activity_id {
        1 => "API Activity: Create",
        2 => "API Activity: Read",
        3 => "API Activity: Update",
        4 => "API Activity: Delete",
        _ => "API Activity: Other",
    }
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
