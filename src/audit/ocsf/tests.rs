//! Every kind of record in every variant, held against OCSF's definitions.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{append, append_or_name};
use crate::audit::keyed::{AuditKey, Epoch, KEY_BYTES_MIN, Privacy};
use crate::audit::record::{
    CallRecord, CredentialNote, Destination, Ending, Fault, McpOperation, QueueEnd, QueueNote, Record,
    RefusalNote, RequestId, StageTimes,
};
use crate::identity::{
    Actor, Audience, Authentication as SignIn, Caller, Peer, RuleName, Scopes, SecretToken, Tenant,
    VerifiedClaims,
};
use crate::metrics::CacheLookup;
use crate::tool::{Annotations, Argument, ConnectorName, IdentityMode, Primitive, Target, Tool};

mod authentication;
mod deed;
mod hostile;
#[path = "../../../tests/ocsf/validator.rs"]
mod validator;

/// What a record becomes, which is always valid.
fn written(record: &Record) -> (String, Value) {
    let mut line = Vec::new();
    append(record, &mut line);
    let line = String::from_utf8(line).expect("UTF-8");
    validator::assert_valid(&line);
    let value = serde_json::from_str(&line).expect("JSON");
    (line, value)
}

fn call(record: &CallRecord) -> (String, Value) {
    written(&Record::Call(record))
}

#[track_caller]
fn expect(value: &Value, pointer: &str, expected: Value) {
    assert_eq!(value.pointer(pointer), Some(&expected), "{pointer} in {value:#}");
}

#[test]
fn what_cannot_be_formatted_has_a_line_that_names_it() {
    let id = RequestId::next();
    let named = |write: fn(&mut Vec<u8>) -> serde_json::Result<()>| {
        let mut line = b"the line before\n".to_vec();
        append_or_name(id, &mut line, write);
        String::from_utf8(line).expect("UTF-8")
    };
    let expected = format!("the line before\n{{\"metadata\":{{\"uid\":\"{id}\"}}}}");
    let panics = named(|line| {
        line.extend_from_slice(b"{\"half");
        panic!("as the test wants")
    });
    assert_eq!(panics, expected);
    assert_eq!(named(|line| serde_json::from_slice(line)), expected);
}

fn peer() -> Peer {
    let address = "192.0.2.7:40000".parse().expect("an address of the test");
    Peer { address, tls: true, certificate: None }
}

fn arrived() -> CallRecord {
    let request = http::Request::get("/mail/me/messages?token=query-canary")
        .header("user-agent", "planner/1.0")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .body(())
        .expect("a request of the test");
    CallRecord::begin(&request, peer(), Duration::from_millis(1_800_000_000_123))
}

fn claims() -> VerifiedClaims {
    let authentication = SignIn { amr: ["mfa", "pwd"].map(Arc::from).to_vec(), ..SignIn::default() };
    VerifiedClaims {
        tenant: Tenant::Named("t-1".into()),
        actor: Some(Actor::new("planner")),
        token_id: Some("uti-1".into()),
        session: Some("sid-1".into()),
        display_name: Some("Ada Lovelace".into()),
        authentication: Arc::new(authentication),
        authenticated_at: Some(1_799_999_000),
        expires_at: 1_800_000_300,
        ..VerifiedClaims::of("o-1-ada")
    }
}

fn caller(claims: VerifiedClaims) -> Arc<Caller> {
    Arc::new(Caller::verified(claims, SecretToken::new("token-canary")))
}

fn pseudonymous() -> Arc<Privacy> {
    let epoch = Epoch::parse("2026-11").expect("a name of the test");
    let key = AuditKey::new(epoch, &[b'k'; KEY_BYTES_MIN]).expect("a key of the test");
    Arc::new(Privacy::new(vec![key], true).expect("a key"))
}

fn note(granted: Option<Scopes>) -> Arc<CredentialNote> {
    Arc::new(CredentialNote::new([7; 32], None, granted.map(Arc::new)))
}

fn answered() -> CallRecord {
    let tool = Tool {
        target: Target {
            audience: Some(Audience::new("https://graph.example")),
            scopes: Scopes::parse("Mail.Read"),
            ..Target::default()
        },
        ..Tool::of("mail", "list_messages")
    };
    let microseconds = |count| Some(Duration::from_micros(count));
    CallRecord {
        connector: Some(ConnectorName::new("mail")),
        destination: Some(Arc::new(Destination { host: "graph.example".into(), port: 443 })),
        caller: Some(caller(claims())),
        tool: Some(Arc::new(tool)),
        policies: [RuleName::new("staff")].into(),
        client_id: Some("gateway-client".into()),
        lookup: Some(CacheLookup::Hit),
        credential: Some(note(Some(Scopes::parse("Mail.Read User.Read")))),
        status: Some(StatusCode::OK),
        ending: Ending::Answered,
        duration: Duration::from_micros(84_500),
        stages: StageTimes {
            authenticated: microseconds(11),
            identified: microseconds(12),
            decided: microseconds(13),
            obtained: microseconds(14),
        },
        connector_latency: Some(Duration::from_millis(80)),
        response_bytes: 7,
        ..arrived()
    }
}

fn refused(code: &'static str, denied: bool) -> CallRecord {
    CallRecord {
        refusal: Some(RefusalNote {
            code,
            fault: Fault::User,
            detail: "as the test wants".into(),
            denied,
            issuer_correlation_id: Some("c-1".into()),
        }),
        status: Some(StatusCode::FORBIDDEN),
        ending: Ending::Refused,
        ..arrived()
    }
}

#[test]
fn an_answered_call_tells_who_what_and_with_whose_permission() {
    let record = answered();
    let (line, value) = call(&record);
    assert!(!line.contains("canary"), "{line}");
    for (pointer, expected) in [
        ("/class_uid", json!(6003)),
        ("/type_uid", json!(600_302)),
        ("/type_name", json!("API Activity: Read")),
        ("/time", json!(1_800_000_000_207_u64)),
        ("/start_time", json!(1_800_000_000_123_u64)),
        ("/status", json!("Success")),
        ("/message", json!("Ada Lovelace called mail/list_messages by planner: answered 200")),
        ("/metadata/version", json!("1.8.0")),
        ("/metadata/tenant_uid", json!("t-1")),
        ("/actor/user/uid", json!("o-1-ada")),
        // Claims have it only where the configuration wants it.
        ("/actor/user/name", json!("Ada Lovelace")),
        ("/actor/user/credential_uid", json!("uti-1")),
        ("/actor/app_uid", json!("planner")),
        ("/actor/session/created_time", json!(1_799_999_000_000_u64)),
        ("/actor/session/expiration_time", json!(1_800_000_300_000_u64)),
        ("/actor/session/is_mfa", json!(true)),
        ("/actor/idp/issuer", json!("https://issuer.example")),
        ("/api/operation", json!("GET /mail/me/messages")),
        ("/api/service/name", json!("mail")),
        ("/src_endpoint/ip", json!("192.0.2.7")),
        ("/dst_endpoint", json!({"hostname": "graph.example", "port": 443, "svc_name": "mail"})),
        ("/trace/uid", json!("4bf92f3577b34da6a3ce929d0e0e4736")),
        ("/authorizations/0", json!({"decision": "Allowed", "policy": {"name": "staff"}})),
        ("/resources/0/name", json!("mail/list_messages")),
        ("/unmapped/obo/identity", json!("on_behalf_of")),
        ("/unmapped/obo/gateway_client_id", json!("gateway-client")),
        ("/unmapped/obo/scopes_granted", json!(["Mail.Read", "User.Read"])),
        ("/unmapped/obo/cache", json!("hit")),
        ("/unmapped/obo/outcome", json!("answered")),
        ("/unmapped/obo/authenticated_after_us", json!(11)),
        ("/unmapped/obo/identified_after_us", json!(12)),
        ("/unmapped/obo/decided_after_us", json!(13)),
        ("/unmapped/obo/obtained_after_us", json!(14)),
        ("/unmapped/obo/delegated_token", json!(record.privacy.token(&[7; 32]))),
        (
            "/unmapped/obo/subject_token",
            json!(record.privacy.token(&SecretToken::new("token-canary").digest())),
        ),
        ("/action_id", json!(1)),
    ] {
        expect(&value, pointer, expected);
    }
}

#[test]
fn what_earlier_calls_of_a_caller_on_a_tool_left_changes_no_record() {
    let exchange = RequestId::parse("0123456789abcdef-00000007").expect("an identifier of the test");
    let pseudonymous = pseudonymous();
    type Change<'a> = (&'static str, &'a dyn Fn(&mut CallRecord));
    let changes: [Change; 12] = [
        ("nothing", &|_| ()),
        ("another token", &|record| {
            record.credential = Some(Arc::new(CredentialNote::new([8; 32], Some(exchange), None)));
        }),
        ("no token", &|record| record.credential = None),
        ("other scopes", &|record| record.credential = Some(note(Some(Scopes::parse("Mail.Send"))))),
        ("scopes that are cut", &|record| {
            record.credential = Some(note(Some(Scopes::new(["s".repeat(2_000)]))));
        }),
        ("another client", &|record| record.client_id = Some("another-client".into())),
        ("pseudonyms", &|record| record.privacy = Arc::clone(&pseudonymous)),
        ("another address", &|record| {
            record.destination = Some(Arc::new(Destination { host: "192.0.2.9".into(), port: 8_443 }));
        }),
        ("no address", &|record| record.destination = None),
        ("another method", &|record| record.method = Method::DELETE),
        ("an agent that is cut", &|record| {
            record.user_agent = http::HeaderValue::from_str(&"a".repeat(3_000)).ok();
        }),
        ("a refusal", &|record| {
            let CallRecord { refusal, status, ending, .. } = refused("policy_forbidden", true);
            (record.refusal, record.status, record.ending) = (refusal, status, ending);
        }),
    ];
    let earlier = answered();
    // Each after each other one, and after itself.
    for (_, before) in &changes {
        for (what, change) in &changes {
            let [mut again, mut after] = [earlier.clone(), earlier.clone()];
            before(&mut again);
            call(&again);
            change(&mut after);
            // This one has a caller and a tool that nobody has seen.
            let mut first = CallRecord { request_id: after.request_id, ..answered() };
            change(&mut first);
            assert_eq!(call(&after).1, call(&first).1, "{what}");
        }
    }
}

#[test]
fn what_is_shared_names_nobody_who_is_hidden() {
    let privacy = pseudonymous();
    let tool = Tool {
        target: Target { scopes: Scopes::parse("read.o-1-ada write.O-2-BOB"), ..Target::default() },
        ..Tool::of("mail", "list_messages")
    };
    let (tool, granted) = (Arc::new(tool), note(Some(Scopes::parse("read.o-1-ada"))));
    let of = |subject: &str, tool: &Arc<Tool>, credential: &Arc<CredentialNote>| {
        let claims = VerifiedClaims { subject: crate::identity::Subject::new(subject), ..claims() };
        let record = CallRecord {
            privacy: Arc::clone(&privacy),
            caller: Some(caller(claims)),
            tool: Some(Arc::clone(tool)),
            credential: Some(Arc::clone(credential)),
            ..answered()
        };
        call(&record).1["unmapped"]["obo"].clone()
    };
    // Whoever was there before, each has the record that they would have alone.
    for subject in ["o-1-ada", "o-2-bob", "o-3-carol", "o-1-ada", "o-2-bob"] {
        let alone = of(subject, &Arc::new(Tool::clone(&tool)), &Arc::new(CredentialNote::clone(&granted)));
        let shared = of(subject, &tool, &granted);
        assert_eq!(shared, alone, "{subject}");
        let named = shared.to_string().to_ascii_lowercase().contains(subject);
        assert!(!named, "{subject} in {shared}");
    }
}

#[test]
fn no_name_or_token_stands_where_a_shared_text_is_cut() {
    let (subject, token) =
        ("0f8fad5b-d9cb-469f-a165-70867728950e", "opaque-token-of-forty-characters-and-more");
    for hidden in [subject, token] {
        for before in (980..1_030).chain(2_000..2_060) {
            let name = format!("{}{hidden}{}", "x".repeat(before), "y".repeat(40));
            let tool = Tool { name: crate::tool::ToolName::new(name), ..Tool::of("mail", "list") };
            let claims = VerifiedClaims { subject: crate::identity::Subject::new(subject), ..claims() };
            let sent = http::Request::get("/mail").header("authorization", format!("Bearer {token}"));
            let sent = sent.body(()).expect("a request of the test");
            let record = CallRecord {
                caller: Some(Arc::new(Caller::verified(claims, SecretToken::new(token)))),
                tool: Some(Arc::new(tool)),
                ..CallRecord::begin_under(
                    pseudonymous(),
                    &sent,
                    peer(),
                    Duration::from_millis(1_800_000_000_123),
                )
            };
            // The second time, what others share is there.
            for _ in 0..2 {
                let (line, _) = call(&record);
                assert!(!line.contains(&hidden[..12]), "{before}: {line}");
            }
        }
    }
}

#[test]
fn a_refusal_tells_why_and_whose_fault() {
    let (_, value) =
        call(&CallRecord { status: Some(StatusCode::UNAUTHORIZED), ..refused("token_expired", false) });
    for (pointer, expected) in [
        ("/status", json!("Failure")),
        ("/status_code", json!("token_expired")),
        ("/message", json!("somebody unknown called GET /mail/me/messages: refused with 401, token_expired")),
        ("/action_id", json!(2)),
        ("/disposition_id", json!(26)),
        ("/actor/app_name", json!("unauthenticated")),
        ("/metadata/correlation_uid", json!("c-1")),
        ("/unmapped/obo/fault", json!("user")),
        ("/unmapped/obo/outcome", json!("token_expired")),
    ] {
        expect(&value, pointer, expected);
    }
    assert_eq!(value.pointer("/unmapped/obo/subject_token"), None);
}

#[test]
fn a_denial_names_the_rules_that_denied() {
    let denied = |policies: &[&str]| {
        let policies = policies.iter().map(|&policy| RuleName::new(policy)).collect();
        let (_, value) = call(&CallRecord { policies, ..refused("policy_forbidden", true) });
        value["authorizations"].clone()
    };
    let by = |name: &str| json!({"decision": "Denied", "policy": {"name": name}});
    assert_eq!(denied(&["a", "b"]), json!([by("a"), by("b")]));
    assert_eq!(denied(&[]), json!([{"decision": "Denied"}]));
}

#[test]
fn each_ending_is_an_event() {
    for ending in [
        Ending::Answered,
        Ending::Refused,
        Ending::AgentLeft,
        Ending::ConnectorBroke,
        Ending::TokenExpired,
        Ending::CallTimedOut,
        Ending::GatewayStopped,
        Ending::Panicked,
    ] {
        for record in [arrived(), answered(), refused("token_expired", false)] {
            let (_, value) = call(&CallRecord { ending, ..record });
            expect(&value, "/unmapped/obo/ending", json!(ending.as_str()));
        }
    }
    let (_, left) = call(&arrived());
    expect(&left, "/unmapped/obo/outcome", json!("agent_left"));
    assert_eq!(left.pointer("/http_response"), None);
}

#[test]
fn each_method_is_an_event() {
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "BREW"] {
        let method: Method = method.parse().expect("a method of the test");
        let (_, value) = call(&CallRecord { method: method.clone(), ..answered() });
        expect(&value, "/api/operation", json!(format!("{method} /mail/me/messages")));
    }
}

#[test]
fn a_message_of_mcp_is_named_by_what_it_asks_for() {
    let asks = |method: &'static str, name: Option<&str>, read_only: Option<bool>| {
        let annotations = Annotations { read_only, ..Annotations::default() };
        let tool = Tool { annotations, ..Tool::of("notes", name.unwrap_or("any")) };
        let operation = Some(McpOperation { method, name: name.map(Arc::from) });
        let (_, value) = call(&CallRecord { operation, tool: Some(Arc::new(tool)), ..answered() });
        (value["api"]["operation"].clone(), value["activity_name"].clone())
    };
    assert_eq!(
        asks("tools/call", Some("read_note"), Some(true)),
        (json!("tools/call read_note"), json!("Read"))
    );
    assert_eq!(
        asks("tools/call", Some("read_note"), None),
        (json!("tools/call read_note"), json!("tools/call"))
    );
    assert_eq!(
        asks("resources/read", Some("file:///a"), None),
        (json!("resources/read file:///a"), json!("Read"))
    );
    assert_eq!(asks("tools/list", None, None), (json!("tools/list"), json!("Read")));
    assert_eq!(asks("initialize", None, None), (json!("initialize"), json!("initialize")));
}

#[test]
fn what_an_agent_calls_a_resource_disturbs_no_line() {
    let uri = format!("notes:\u{202e}\u{7f}\n{}", "a".repeat(4_000));
    let tool = Tool { primitive: Primitive::Resource, ..Tool::of("notes", &uri) };
    let (_, value) = call(&CallRecord { tool: Some(Arc::new(tool)), ..answered() });
    for pointer in ["/resources/0/name", "/unmapped/obo/tool"] {
        let name = value.pointer(pointer).and_then(Value::as_str).expect("a name");
        assert!(name.ends_with(super::text::CUT_MARK) && name.len() < 3_000, "{name}");
    }
    expect(&value, "/resources/0/type", json!("resource"));
}

#[test]
fn whose_identity_the_connector_saw_stands_there_and_an_agent_alone_is_no_user() {
    let tool =
        Tool { identity: IdentityMode::AppOnly, primitive: Primitive::Method, ..Tool::of("notes", "any") };
    let alone = VerifiedClaims { is_agent_alone: true, session: None, token_id: None, ..claims() };
    let record = CallRecord {
        tool: Some(Arc::new(tool)),
        caller: Some(caller(alone)),
        operation: Some(McpOperation { method: "tools/list", name: None }),
        ..answered()
    };
    for privacy in [Privacy::of_this_run(), pseudonymous()] {
        let (_, value) = call(&CallRecord { privacy, ..record.clone() });
        expect(&value, "/unmapped/obo/identity", json!("app_only"));
        expect(&value, "/actor/app_uid", json!("planner"));
        expect(&value, "/message", json!("planner called notes/any: answered 200"));
        assert_eq!(value.pointer("/actor/user"), None);
    }
}

#[test]
fn arguments_that_are_to_be_recorded_stand_there_and_of_all_a_digest() {
    let record = CallRecord {
        arguments_digest: Some([9; 32]),
        arguments: vec![
            ("folder".into(), Argument::String("inbox".to_owned())),
            ("top".into(), Argument::Integer(5)),
            ("unread".into(), Argument::Boolean(true)),
            ("to".into(), Argument::Strings(vec!["a".to_owned(), "b".to_owned()])),
        ],
        ..answered()
    };
    let (_, value) = call(&record);
    expect(
        &value,
        "/unmapped/obo/arguments",
        json!({"folder": "inbox", "top": 5, "unread": true, "to": ["a", "b"]}),
    );
    expect(&value, "/unmapped/obo/arguments_digest", json!(record.privacy.arguments(&[9; 32])));
}

#[test]
fn under_pseudonyms_nothing_names_the_person_wherever_they_are_named() {
    let request = http::Request::get("/mail/users/O-1-ada/sessions/sid-1")
        .header("user-agent", "planner for o-1-ada")
        .body(())
        .expect("a request of the test");
    let record = CallRecord {
        privacy: pseudonymous(),
        address: CallRecord::begin(&request, peer(), Duration::ZERO).address,
        user_agent: request.headers().get("user-agent").cloned(),
        arguments: vec![("mailbox".into(), Argument::Strings(vec!["me or o-1-ada".to_owned()]))],
        refusal: Some(RefusalNote {
            code: "internal_error",
            fault: Fault::Gateway,
            detail: "nobody called o-1-ada with uti-1 is known".into(),
            denied: false,
            issuer_correlation_id: None,
        }),
        ..answered()
    };
    let (line, value) = call(&record);
    for named in ["o-1-ada", "O-1-ada", "sid-1", "uti-1", "Lovelace"] {
        assert!(!line.contains(named), "{named} in {line}");
    }
    let pseudonym = record.privacy.person("t-1", "o-1-ada").expect("a pseudonym");
    expect(&value, "/actor/user/uid", json!(pseudonym));
    expect(&value, "/metadata/tenant_uid", json!("t-1"));
    expect(&value, "/unmapped/obo/arguments/mailbox", json!([format!("me or {pseudonym}")]));
    assert!(value["message"].as_str().is_some_and(|message| message.starts_with(&pseudonym)), "{value:#}");
    assert_eq!(value.pointer("/actor/user/name"), None);
}

#[test]
fn a_person_is_the_same_pseudonym_in_all_records_and_nobody_elses() {
    let uid = |claims: VerifiedClaims| {
        let record = CallRecord { privacy: pseudonymous(), caller: Some(caller(claims)), ..answered() };
        call(&record).1["actor"]["user"]["uid"].clone()
    };
    let of_v1 = crate::identity::Issuer::new("https://sts.example/t-1/");
    assert_eq!(uid(claims()), uid(VerifiedClaims { issuer: of_v1, session: None, ..claims() }));
    let other = VerifiedClaims { tenant: Tenant::Named("t-2".into()), ..claims() };
    assert_ne!(uid(claims()), uid(other));
    assert_ne!(uid(claims()), uid(VerifiedClaims { tenant: Tenant::Sole, ..claims() }));
}

#[test]
fn nothing_secret_is_in_the_debug_form_of_a_record() {
    let record = CallRecord { privacy: pseudonymous(), ..answered() };
    let shown = format!("{record:?} {:?}", Record::Call(&record));
    assert!(shown.contains(&format!("{:?}", record.request_id)), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn what_is_broken_is_found() {
    let exchanged = CredentialNote::new([7; 32], Some(arrived().request_id), None);
    let (_, good) = call(&CallRecord { credential: Some(Arc::new(exchanged)), ..answered() });
    let broken = |change: &dyn Fn(&mut Value)| {
        let mut event = good.clone();
        change(&mut event);
        validator::faults(&event)
    };
    assert_eq!(broken(&|_| {}), Vec::<String>::new());
    let changes: [(&str, Value); 16] = [
        ("/class_uid", json!(6004)),
        ("/type_uid", json!(600_301)),
        ("/type_name", json!("API Activity: Create")),
        ("/activity_id", json!(7)),
        ("/severity_id", json!("1")),
        ("/time", json!(1_800_000_000)),
        ("/status", json!("Fine")),
        ("/actor", json!({})),
        ("/actor/user/type_id", json!(5)),
        ("/src_endpoint/ip", json!("nowhere")),
        ("/src_endpoint/port", json!(65_536)),
        ("/http_request/http_method", json!("BREW")),
        ("/http_request/url", json!({"scheme": "https"})),
        ("/resources", json!({"name": "x"})),
        ("/authorizations/0/policy", json!({"is_applied": true})),
        ("/metadata/profiles", json!(["trace"])),
    ];
    for (pointer, value) in changes {
        let faults = broken(&|event| *event.pointer_mut(pointer).expect("it is there") = value.clone());
        assert!(!faults.is_empty(), "{pointer}: {value}");
    }
    for pointer in ["", "/actor", "/api", "/metadata", "/actor/session", "/src_endpoint", "/trace"] {
        let faults = broken(&|event| event.pointer_mut(pointer).expect("it is there")["surprise"] = json!(1));
        assert_eq!(faults.len(), 1, "{pointer}: {faults:?}");
    }
    for (pointer, required) in [
        ("", "time"),
        ("", "metadata"),
        ("", "api"),
        ("/api", "operation"),
        ("/metadata", "product"),
        ("/trace", "uid"),
    ] {
        let faults = broken(&|event| {
            let members = event.pointer_mut(pointer).and_then(Value::as_object_mut).expect("an object");
            members.remove(required);
        });
        assert!(
            faults.iter().any(|fault| fault.ends_with(&format!("lacks {required}"))),
            "{required}: {faults:?}"
        );
    }
}

#[test]
fn a_record_says_which_limit_refused_the_call_and_how_it_waited() {
    let (_, limited) = call(&CallRecord {
        limit: Some("connectors.mail.limits.per_person".into()),
        ..refused("rate_limited", false)
    });
    expect(&limited, "/unmapped/obo/limit", json!("connectors.mail.limits.per_person"));
    for (end, ended) in
        [(QueueEnd::Served, "served"), (QueueEnd::TimedOut, "timed_out"), (QueueEnd::Left, "left")]
    {
        let queue = Some(QueueNote { waited: Duration::from_micros(1_234), end });
        let (_, value) = call(&CallRecord { queue, ..answered() });
        expect(&value, "/unmapped/obo/queue", json!({ "waited_us": 1_234, "ended": ended }));
    }
    assert_eq!(call(&answered()).1.pointer("/unmapped/obo/queue"), None);
}

#[test]
fn a_trace_id_is_taken_only_when_it_is_one() {
    let id = |text| super::call::trace_id(&http::HeaderValue::from_static(text)).map(str::to_owned);
    assert!(id("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").is_some());
    assert_eq!(id("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None);
    assert_eq!(id("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), None);
    assert_eq!(id("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"), None);
    assert_eq!(id("junk"), None);
}
