//! The record of a call: class API Activity (6003).

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderValue, Method, Version};
use serde::Serialize;

use super::Metadata;
use super::text::{clean, clean_header, clean_owned};
use crate::audit::record::{CallRecord, Ending, Fault, Forgotten};
use crate::identity::{Caller, Person, Realm};

/// The event that a call's record is.
#[derive(Serialize)]
pub struct Event<'a> {
    class_uid: u32,
    class_name: &'static str,
    category_uid: u32,
    activity_id: u32,
    type_uid: u32,
    severity_id: u32,
    time: u64,
    start_time: u64,
    end_time: u64,
    duration: u64,
    status_id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_detail: Option<Cow<'a, str>>,
    actor: Actor<'a>,
    api: Api<'a>,
    src_endpoint: Endpoint,
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
    unmapped: Unmapped<'a>,
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
struct User<'a> {
    uid: Cow<'a, str>,
    type_id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_uid: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct Session<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<Cow<'a, str>>,
    issuer: &'a str,
    expiration_time: u64,
}

#[derive(Serialize)]
struct Idp<'a> {
    name: &'a str,
    issuer: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_uid: Option<&'a str>,
}

#[derive(Serialize)]
struct Api<'a> {
    operation: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Service<'a>>,
    request: ApiRequest,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<ApiResponse<'a>>,
}

#[derive(Serialize)]
struct Service<'a> {
    name: &'a str,
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
struct Endpoint {
    ip: String,
    port: u16,
}

#[derive(Serialize)]
struct HttpRequest<'a> {
    http_method: &'a str,
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
    name: &'a str,
}

#[derive(Serialize)]
struct Resource<'a> {
    name: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    namespace: &'a str,
    role_id: u32,
}

#[derive(Serialize)]
struct Unmapped<'a> {
    obo: Delegation<'a>,
}

/// Who was forgotten, and what was dropped.
#[derive(Serialize)]
struct ForgottenPerson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    issuers: Vec<&'a str>,
    subject: Cow<'a, str>,
    #[serde(flatten)]
    dropped: Forgotten,
}

fn forgotten<'a>((person, dropped): &'a (Person, Forgotten)) -> ForgottenPerson<'a> {
    let (tenant, issuers) = match &person.realm {
        Realm::Tenant(tenant) => (Some(clean(tenant)), Vec::new()),
        Realm::Issuers(issuers) => (None, issuers.iter().map(|issuer| issuer.as_str()).collect()),
    };
    ForgottenPerson { tenant, issuers, subject: clean(person.subject.as_str()), dropped: *dropped }
}

/// What OCSF has no place for: on whose behalf, in which mode, and how the credential came about.
#[derive(Serialize)]
struct Delegation<'a> {
    outcome: &'static str,
    ending: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connector: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'static str>,
    /// What the caller proved beside having the token.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    proofs: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes_requested: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes_granted: Option<Vec<Cow<'a, str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_server: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forgotten: Option<ForgottenPerson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    second_try: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    obtained_after_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connector_latency_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connector_request_id: Option<Cow<'a, str>>,
    duration_us: u64,
}

impl<'a> Event<'a> {
    /// The record of this call.
    pub fn of(record: &'a CallRecord) -> Self {
        let activity_id = activity(&record.method);
        let refusal = record.refusal.as_ref();
        let caller = record.caller.as_deref();
        let tool = record.tool.as_deref();
        let end = record.arrived_at.saturating_add(record.duration);
        let succeeded =
            record.ending == Ending::Answered && record.status.is_some_and(|status| status.as_u16() < 400);
        Self {
            class_uid: 6003,
            class_name: "API Activity",
            category_uid: 6,
            activity_id,
            type_uid: 600_300 + activity_id,
            severity_id: severity(record),
            time: milliseconds(end),
            start_time: milliseconds(record.arrived_at),
            end_time: milliseconds(end),
            duration: milliseconds(record.duration),
            status_id: if succeeded { 1 } else { 2 },
            status_code: refusal.map(|refusal| refusal.code),
            status_detail: refusal.map(|refusal| clean(&refusal.detail)),
            actor: actor(record),
            api: Api {
                operation: clean_owned(format!("{} {}", record.method, record.uri.path())),
                service: record.connector.as_ref().map(|connector| Service { name: connector.as_str() }),
                request: ApiRequest { uid: record.request_id.to_string() },
                response: record.status.map(|status| ApiResponse {
                    code: status.as_u16(),
                    error: refusal.map(|refusal| refusal.code),
                }),
            },
            src_endpoint: Endpoint {
                ip: record.peer.address.ip().to_string(),
                port: record.peer.address.port(),
            },
            http_request: HttpRequest {
                http_method: record.method.as_str(),
                version: version(record.version),
                url: Url {
                    path: clean(record.uri.path()),
                    scheme: if record.peer.tls { "https" } else { "http" },
                    hostname: record.uri.host().map(clean),
                },
                user_agent: record.user_agent.as_ref().map(clean_header),
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
            authorizations: authorizations(record),
            resources: tool
                .map(|tool| Resource {
                    name: clean_owned(tool.to_string()),
                    kind: tool.primitive.as_str(),
                    namespace: tool.connector.as_str(),
                    role_id: 1,
                })
                .into_iter()
                .collect(),
            unmapped: Unmapped {
                obo: Delegation {
                    outcome: record.outcome(),
                    ending: record.ending.as_str(),
                    fault: refusal.map(|refusal| refusal.fault.as_str()),
                    connector: record.connector.as_ref().map(|connector| connector.as_str()),
                    tool: tool.map(|tool| clean(tool.name.as_str())),
                    identity: tool.map(|tool| tool.identity.as_str()),
                    proofs: caller.map(proofs).unwrap_or_default(),
                    scopes_requested: tool.map(|tool| tool.target.scopes.iter().collect()),
                    scopes_granted: record
                        .granted
                        .as_ref()
                        .map(|granted| granted.iter().map(clean).collect()),
                    audience: tool
                        .and_then(|tool| tool.target.audience.as_ref())
                        .map(|audience| audience.as_str()),
                    authorization_server: tool
                        .and_then(|tool| tool.target.authorization_server.as_ref())
                        .map(|server| server.as_str()),
                    cache: record.lookup.map(|lookup| lookup.as_str()),
                    forgotten: record.forgotten.as_ref().map(forgotten),
                    second_try: record.second_try,
                    obtained_after_us: record.obtained_after.map(microseconds),
                    connector_latency_us: record.connector_latency.map(microseconds),
                    connector_request_id: record.connector_request_id.as_ref().map(clean_header),
                    duration_us: microseconds(record.duration),
                },
            },
            metadata: Metadata {
                correlation_uid: refusal.and_then(|refusal| refusal.issuer_correlation_id.as_deref()),
                tenant_uid: caller.and_then(|caller| caller.tenant().id()),
                profiles: &["security_control", "trace"],
                ..Metadata::of(record.request_id)
            },
        }
    }
}

/// There is no caller before these have been checked.
fn proofs(caller: &Caller) -> Vec<&'static str> {
    let confirmation = caller.confirmation().copied().unwrap_or_default();
    let proved = [
        (confirmation.key.is_some(), "dpop"),
        (confirmation.certificate.is_some(), "certificate"),
        (caller.actor_token().is_some(), "actor_token"),
    ];
    proved.into_iter().filter_map(|(proved, name)| proved.then_some(name)).collect()
}

fn actor(record: &CallRecord) -> Actor<'_> {
    let Some(caller) = record.caller.as_deref() else {
        // OCSF wants at least one of the actor's members.
        return Actor {
            user: None,
            app_uid: None,
            app_name: Some("unauthenticated"),
            session: None,
            idp: None,
        };
    };
    Actor {
        user: Some(User {
            uid: clean(caller.subject().as_str()),
            type_id: 1,
            credential_uid: caller.token_id().map(clean),
        }),
        app_uid: caller.actor().map(|actor| clean(actor.as_str())),
        app_name: None,
        session: Some(Session {
            uid: caller.session().map(clean),
            issuer: caller.issuer().as_str(),
            expiration_time: caller.expires_at().saturating_mul(1_000),
        }),
        idp: Some(Idp {
            name: caller.issuer_name().as_str(),
            issuer: caller.issuer().as_str(),
            tenant_uid: caller.tenant().id(),
        }),
    }
}

fn authorizations(record: &CallRecord) -> Vec<Authorization<'_>> {
    let denied = record.refusal.as_ref().is_some_and(|refusal| refusal.denied);
    let decision = if denied { "Denied" } else { "Allowed" };
    if denied && record.policies.is_empty() {
        return vec![Authorization { decision, policy: None }];
    }
    let policies = record.policies.iter().map(|policy| Policy { name: policy.as_str() });
    policies.map(|policy| Authorization { decision, policy: Some(policy) }).collect()
}

/// Create, Read, Update, Delete, Other.
fn activity(method: &Method) -> u32 {
    match *method {
        Method::POST => 1,
        Method::GET | Method::HEAD => 2,
        Method::PUT | Method::PATCH => 3,
        Method::DELETE => 4,
        _ => 99,
    }
}

/// Informational, Low (somebody was refused), Medium (something is broken), High (the gateway itself).
fn severity(record: &CallRecord) -> u32 {
    match (record.ending, record.refusal.as_ref().map(|refusal| refusal.fault)) {
        (Ending::Panicked, _) | (_, Some(Fault::Gateway)) => 4,
        (Ending::ConnectorBroke, _) | (_, Some(Fault::AuthorizationServer | Fault::Connector)) => 3,
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

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The trace id of a W3C `traceparent`, when it is a valid one.
fn trace_id(traceparent: &HeaderValue) -> Option<&str> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::ocsf::text::{CUT_MARK, disturbs};
    use crate::audit::{Record, RefusalNote};
    use crate::identity::RuleName;
    use crate::identity::{Actor as Agent, Peer, Scopes, SecretToken, Tenant, VerifiedClaims};
    use crate::identity::{Audience, Caller};
    use crate::metrics::CacheLookup;
    use crate::tool::{ConnectorName, Primitive, Target, Tool};
    use http::StatusCode;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn record() -> CallRecord {
        let request = http::Request::get("/mail/me/messages?token=query-canary")
            .header("user-agent", "planner/1.0")
            .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
            .body(())
            .expect("a request of the test");
        let peer = Peer {
            address: "192.0.2.7:40000".parse().expect("an address of the test"),
            tls: true,
            certificate: None,
        };
        CallRecord::begin(&request, peer, Duration::from_millis(1_800_000_000_123))
    }

    fn answered() -> CallRecord {
        let claims = VerifiedClaims {
            tenant: Tenant::Named("t-1".into()),
            actor: Some(Agent::new("planner")),
            token_id: Some("uti-1".into()),
            session: Some("sid-1".into()),
            expires_at: 1_800_000_300,
            ..VerifiedClaims::of("o-1")
        };
        let tool = Tool {
            target: Target {
                audience: Some(Audience::new("https://graph.example")),
                scopes: Scopes::parse("Mail.Read"),
                ..Target::default()
            },
            ..Tool::of("mail", "list_messages")
        };
        CallRecord {
            connector: Some(ConnectorName::new("mail")),
            caller: Some(Arc::new(Caller::verified(claims, SecretToken::new("token-canary")))),
            tool: Some(Arc::new(tool)),
            policies: [RuleName::new("staff")].into(),
            lookup: Some(CacheLookup::Hit),
            granted: Some(Scopes::parse("Mail.Read User.Read")),
            status: Some(StatusCode::OK),
            ending: Ending::Answered,
            duration: Duration::from_micros(84_500),
            connector_latency: Some(Duration::from_millis(80)),
            response_bytes: 7,
            ..record()
        }
    }

    fn line(record: &CallRecord) -> (String, Value) {
        let mut line = Vec::new();
        super::super::append(&Record::Call(Box::new(record.clone())), &mut line);
        let line = String::from_utf8(line).expect("UTF-8");
        let value = serde_json::from_str(&line).expect("JSON");
        (line, value)
    }

    #[test]
    fn an_answered_call_tells_who_what_and_with_whose_permission() {
        let (line, value) = line(&answered());
        assert!(!line.contains('\n'));
        assert!(!line.contains("canary"), "{line}");
        let expect =
            |pointer: &str, expected: Value| assert_eq!(value.pointer(pointer), Some(&expected), "{pointer}");
        expect("/class_uid", json!(6003));
        expect("/type_uid", json!(600_302));
        expect("/time", json!(1_800_000_000_207_u64));
        expect("/start_time", json!(1_800_000_000_123_u64));
        expect("/status_id", json!(1));
        expect("/metadata/version", json!("1.8.0"));
        expect("/metadata/tenant_uid", json!("t-1"));
        expect("/actor/user/uid", json!("o-1"));
        expect("/actor/user/credential_uid", json!("uti-1"));
        expect("/actor/app_uid", json!("planner"));
        expect("/actor/session/expiration_time", json!(1_800_000_300_000_u64));
        expect("/api/operation", json!("GET /mail/me/messages"));
        expect("/api/service/name", json!("mail"));
        expect("/src_endpoint/ip", json!("192.0.2.7"));
        expect("/trace/uid", json!("4bf92f3577b34da6a3ce929d0e0e4736"));
        expect("/authorizations/0", json!({"decision": "Allowed", "policy": {"name": "staff"}}));
        expect("/resources/0/name", json!("mail/list_messages"));
        expect("/unmapped/obo/identity", json!("on_behalf_of"));
        expect("/unmapped/obo/scopes_granted", json!(["Mail.Read", "User.Read"]));
        expect("/unmapped/obo/cache", json!("hit"));
        expect("/unmapped/obo/outcome", json!("answered"));
        expect("/action_id", json!(1));
    }

    #[test]
    fn what_an_agent_calls_a_resource_disturbs_no_line() {
        let uri = format!("notes:\u{202e}\u{7f}\n{}", "a".repeat(4_000));
        let tool = Tool { primitive: Primitive::Resource, ..Tool::of("notes", &uri) };
        let (line, value) = line(&CallRecord { tool: Some(Arc::new(tool)), ..answered() });
        assert!(!line.trim_end().chars().any(disturbs), "{line}");
        for pointer in ["/resources/0/name", "/unmapped/obo/tool"] {
            let name = value.pointer(pointer).and_then(Value::as_str).expect("a name");
            assert!(name.ends_with(CUT_MARK) && name.len() < 3_000, "{name}");
        }
        assert_eq!(value.pointer("/resources/0/type"), Some(&json!("resource")));
    }

    #[test]
    fn a_refusal_tells_why_and_whose_fault() {
        let refused = CallRecord {
            refusal: Some(RefusalNote {
                code: "token_expired",
                fault: Fault::User,
                detail: "the token has expired".into(),
                denied: false,
                issuer_correlation_id: Some("c-1".into()),
            }),
            status: Some(StatusCode::UNAUTHORIZED),
            ending: Ending::Refused,
            ..record()
        };
        let (_, value) = line(&refused);
        let expect =
            |pointer: &str, expected: Value| assert_eq!(value.pointer(pointer), Some(&expected), "{pointer}");
        expect("/status_id", json!(2));
        expect("/status_code", json!("token_expired"));
        expect("/action_id", json!(2));
        expect("/disposition_id", json!(26));
        expect("/actor/app_name", json!("unauthenticated"));
        expect("/metadata/correlation_uid", json!("c-1"));
        expect("/unmapped/obo/fault", json!("user"));
        expect("/unmapped/obo/outcome", json!("token_expired"));
    }

    #[test]
    fn a_denial_names_the_rules_that_denied() {
        let denied = |policies: &[&str]| {
            let refusal = RefusalNote {
                code: "policy_forbidden",
                fault: Fault::User,
                detail: "policy: a rule forbids it".into(),
                denied: true,
                issuer_correlation_id: None,
            };
            let policies = policies.iter().map(|&policy| RuleName::new(policy)).collect();
            let (_, value) = line(&CallRecord { refusal: Some(refusal), policies, ..record() });
            value["authorizations"].clone()
        };
        let by = |name: &str| json!({"decision": "Denied", "policy": {"name": name}});
        assert_eq!(denied(&["a", "b"]), json!([by("a"), by("b")]));
        assert_eq!(denied(&[]), json!([{"decision": "Denied"}]));
    }

    #[test]
    fn a_call_that_nobody_ended_was_left_by_the_agent() {
        let (_, value) = line(&record());
        assert_eq!(value.pointer("/unmapped/obo/outcome"), Some(&json!("agent_left")));
        assert_eq!(value.pointer("/http_response"), None);
    }

    #[test]
    fn text_from_outside_stays_on_one_line_and_within_bounds() {
        let bad = CallRecord {
            user_agent: Some(
                HeaderValue::from_bytes(b"a\xff\x1b\t").unwrap_or(HeaderValue::from_static("a\tb")),
            ),
            refusal: Some(RefusalNote {
                code: "path_not_canonical",
                fault: Fault::Agent,
                detail: format!("x\n\u{1b}[31m\u{2028}\u{202e}{}", "é".repeat(1_000_000)),
                denied: false,
                issuer_correlation_id: None,
            }),
            ..record()
        };
        let (line, value) = line(&bad);
        assert!(line.len() < 8_192, "{}", line.len());
        assert!(line.trim_end_matches('\n').chars().all(|c| !disturbs(c)));
        let detail = value.pointer("/status_detail").and_then(Value::as_str).expect("a text");
        assert!(
            detail.starts_with("x\u{fffd}\u{fffd}[31m\u{fffd}\u{fffd}é") && detail.ends_with(CUT_MARK),
            "{detail:.20}"
        );
    }

    #[test]
    fn a_trace_id_is_taken_only_when_it_is_one() {
        let id = |text| trace_id(&HeaderValue::from_static(text)).map(str::to_owned);
        assert!(id("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").is_some());
        assert_eq!(id("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None);
        assert_eq!(id("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), None);
        assert_eq!(id("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"), None);
        assert_eq!(id("junk"), None);
    }
}
