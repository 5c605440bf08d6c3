//! Whatever agents, people and servers send, a record is one valid line within its bound.

use http::HeaderValue;
use proptest::prelude::*;

use super::authentication::{exchange, record_of};
use super::*;
use crate::audit::authentication::{Authentication, ExchangeEnd, ExchangeReason, Failure, Whom};
use crate::audit::deed::{Deed, DeedEnd, DeedKind, DeedServer, KnownPerson, PageVisit};
use crate::audit::mark::{Happening, Mark, RotationReason};
use crate::audit::ocsf::RECORD_BYTES_MAX;
use crate::audit::ocsf::text::{CUT_MARK, Texts};
use crate::audit::settings::Durability;
use crate::identity::{Issuer, IssuerName, PersonId, Subject};
use crate::tool::{ResourceAuthorizationServerName, ToolName};
use crate::unseen::disturbs;

/// One valid line within its bound, that steers no terminal.
#[track_caller]
fn check(record: &Record) -> (String, Value) {
    let (line, value) = written(record);
    assert!(line.len() <= RECORD_BYTES_MAX, "{}", line.len());
    assert!(line.chars().all(|c| !disturbs(c)), "{line}");
    (line, value)
}

/// A call in which everything that can be a text is this one.
fn call_of(text: &str, count: usize) -> CallRecord {
    let header = || {
        let bytes: Vec<u8> = text.bytes().filter(|byte| *byte >= 0x20 && *byte != 0x7f).collect();
        HeaderValue::from_bytes(&bytes).ok()
    };
    let texts = |prefix: &str| {
        (0..count).map(|number| Arc::from(format!("{prefix}{number}{text}"))).collect::<Vec<Arc<str>>>()
    };
    let claims = VerifiedClaims {
        issuer_name: IssuerName::new(text),
        issuer: Issuer::new(text),
        tenant: Tenant::Named(text.into()),
        subject: Subject::new(text),
        actor: Some(Actor::new(text)),
        token_id: Some(text.into()),
        session: Some(text.into()),
        display_name: Some(text.into()),
        ..claims()
    };
    let tool = Tool {
        connector: ConnectorName::new(text),
        name: ToolName::new(text),
        target: Target {
            audience: Some(Audience::new(text)),
            authorization_server: Some(ResourceAuthorizationServerName::new(text)),
            scopes: Scopes::new(texts("s")),
            ..Target::default()
        },
        ..Tool::of("mail", "list_messages")
    };
    CallRecord {
        connector: Some(ConnectorName::new(text)),
        destination: Some(Arc::new(Destination { host: text.into(), port: 443 })),
        operation: Some(McpOperation { method: "tools/call", name: Some(text.into()) }),
        caller: Some(caller(claims)),
        tool: Some(Arc::new(tool)),
        arguments_digest: Some([9; 32]),
        arguments: texts("a")
            .into_iter()
            .map(|name| (name, Argument::Strings(vec![text.to_owned(); count.min(40)])))
            .collect(),
        policies: texts("p").into_iter().map(RuleName::new).collect(),
        client_id: Some(text.into()),
        credential: Some(note(Some(Scopes::new(texts("g"))))),
        user_agent: header(),
        traceparent: header(),
        connector_request_id: header(),
        refusal: Some(RefusalNote {
            code: "path_not_canonical",
            fault: Fault::Agent,
            detail: text.to_owned(),
            denied: true,
            issuer_correlation_id: Some(text.to_owned()),
        }),
        ending: Ending::Refused,
        ..answered()
    }
}

fn failure_of(text: &str) -> Failure {
    Failure {
        code: "consent",
        fault: Fault::User,
        detail: text.to_owned(),
        error: Some(text.to_owned()),
        error_codes: vec![u64::from(u32::MAX); 8],
        correlation_id: Some(text.to_owned()),
    }
}

fn exchange_of(text: &str, count: usize) -> Authentication {
    let end = ExchangeEnd::Failed(failure_of(text));
    let CallRecord { caller, tool, .. } = call_of(text, count);
    let mut exchange = exchange(ExchangeReason::Needed, end);
    exchange.whom = caller.map_or(Whom::Application, Whom::Caller);
    exchange.server = IssuerName::new(text);
    exchange.issuer = Some(Issuer::new(text));
    exchange.endpoint = Some(Destination { host: text.into(), port: 443 });
    exchange.client_id = text.into();
    exchange.target = tool.expect("a tool").target.clone();
    exchange.occasion.connector = ConnectorName::new(text);
    Authentication::Exchange(exchange)
}

/// A deed in which everything that can be a text is this one.
fn deed_of(text: &str, count: usize) -> Authentication {
    let CallRecord { user_agent, .. } = call_of(text, count);
    let scopes = Scopes::new((0..count).map(|number| format!("{number}{text}")));
    let person = || KnownPerson {
        issuer_name: Some(IssuerName::new(text)),
        id: PersonId {
            issuer: Issuer::new(text),
            tenant: Tenant::Named(text.into()),
            subject: Subject::new(text),
        },
        name: Some(text.into()),
    };
    Authentication::Deed(Box::new(Deed {
        person: Some(person()),
        owner: Some(person()),
        agent: Some(Actor::new(text)),
        connector: Some(ConnectorName::new(text)),
        tool: Some(ToolName::new(text)),
        question: Some("q-1".into()),
        account: Some(text.into()),
        requested: Some(scopes),
        server: Some(DeedServer {
            name: IssuerName::new(text),
            issuer: Some(Issuer::new(text)),
            endpoint: Some(Destination { host: text.into(), port: 443 }),
            client_id: text.into(),
        }),
        visit: Some(PageVisit {
            request: RequestId::next(),
            person: Some(person()),
            peer: peer(),
            method: Method::GET,
            path: text.into(),
            user_agent,
        }),
        end: DeedEnd::Failed(failure_of(text)),
        ..Deed::of(DeedKind::Connect)
    }))
}

fn check_all(text: &str, count: usize) {
    let mut cut = Vec::new();
    for privacy in [Privacy::of_this_run(), pseudonymous()] {
        let record = CallRecord { privacy: Arc::clone(&privacy), ..call_of(text, count) };
        cut.push(check(&Record::Call(&record)));
        let record = record_of(exchange_of(text, count), Arc::clone(&privacy));
        cut.push(check(&Record::Authentication(&record)));
        let record = record_of(deed_of(text, count), privacy);
        cut.push(check(&Record::Authentication(&record)));
    }
    let at = Duration::from_millis(1_800_000_000_000);
    let trouble = Happening::SinkTrouble { error: text.to_owned(), lasted_ms: 1, failures: 1 };
    cut.push(check(&Record::Mark(&Mark::new(trouble, at))));
    for (line, value) in cut {
        assert_eq!(
            line.contains(CUT_MARK) && !text.contains(CUT_MARK),
            value.pointer("/metadata/is_truncated").is_some() && !text.contains(CUT_MARK),
            "{line}"
        );
    }
}

#[test]
fn text_from_outside_stays_on_one_line_and_within_bounds() {
    for text in [
        String::new(),
        "a\nb\r\u{1b}[31m\0\u{7f}\u{9b}\u{2028}\u{2029}\u{202e}\u{2066}\u{200f}".to_owned(),
        "\"}],\"sequence\":7,\\".repeat(1_000),
        "\"".repeat(1_000_000),
        "\\".repeat(100_000),
        "é".repeat(500_000),
        "\n".repeat(100_000),
        "\u{10ffff}".repeat(10_000),
    ] {
        check_all(&text, 1);
    }
}

#[test]
fn long_lists_are_cut_and_marked() {
    for text in ["x", "\"", "\n", &"\"".repeat(2_000), &"é".repeat(2_000)] {
        check_all(text, 300);
    }
    let (_, value) = check(&Record::Call(&call_of("x", 300)));
    for pointer in ["/unmapped/obo/scopes_granted", "/unmapped/obo/scopes_requested", "/authorizations"] {
        let list = value.pointer(pointer).and_then(Value::as_array).expect("a list");
        assert_eq!(list.len(), 65, "{pointer}");
        assert!(list[64].to_string().contains(CUT_MARK), "{pointer}");
    }
    expect(&value, "/metadata/is_truncated", json!(true));
}

#[test]
fn what_is_cut_is_marked_and_what_disturbs_is_replaced() {
    let record = CallRecord {
        refusal: Some(RefusalNote {
            detail: format!("x\n\u{1b}[31m\u{2028}\u{202e}{}", "é".repeat(1_000_000)),
            ..refused("path_not_canonical", false).refusal.expect("a refusal")
        }),
        user_agent: HeaderValue::from_bytes(b"a\xff\tb").ok(),
        ..refused("path_not_canonical", false)
    };
    let (line, value) = check(&Record::Call(&record));
    assert!(line.len() < 8_192, "{}", line.len());
    let detail = value["status_detail"].as_str().expect("a text");
    assert!(
        detail.starts_with("x\u{fffd}\u{fffd}[31m\u{fffd}\u{fffd}é") && detail.ends_with(CUT_MARK),
        "{detail:.20}"
    );
    expect(&value, "/http_request/user_agent", json!("a\u{fffd}\u{fffd}b"));
    expect(&value, "/metadata/is_truncated", json!(true));
}

#[test]
fn every_mark_is_an_event() {
    let hash = "0".repeat(64);
    for happening in [
        Happening::Boot { configuration: hash.clone(), durability: Durability::Process },
        Happening::Stop,
        Happening::Recovered { torn_bytes: 17, lost_lines: 3 },
        Happening::Reloaded { configuration: hash.clone() },
        Happening::ClockStepped { by_ms: -5 },
        Happening::SinkTrouble { error: "no space".to_owned(), lasted_ms: 1, failures: 2 },
        Happening::Rotated { first: 1, last: 2, reason: RotationReason::Size },
        Happening::Deleted { first: 1, last: 2, last_hash: hash.clone() },
    ] {
        let name = happening.name();
        let (_, value) =
            check(&Record::Mark(&Mark::new(happening, Duration::from_millis(1_800_000_000_000))));
        expect(&value, "/unmapped/obo/mark", json!(name));
    }
}

#[test]
fn a_token_is_hidden_wherever_it_was_put() {
    // What happened: an agent sent its token in the path as well, which was refused, and recorded.
    let jwt = format!("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIn0.{}", "s".repeat(300));
    for token in [jwt.as_str(), "an/opaque+token==", "0123456789abcdef"] {
        let request = http::Request::get(format!("/mail/{token}/x"))
            .header("authorization", format!("Bearer {token}"))
            .header("user-agent", format!("planner {token}"))
            .body(())
            .expect("a request of the test");
        let at = Duration::from_millis(1_800_000_000_123);
        let record = CallRecord { caller: None, ..CallRecord::begin(&request, peer(), at) };
        assert!(!format!("{record:?}").contains(token), "{record:?}");
        let (line, value) = check(&Record::Call(&record));
        assert!(!line.contains(token), "{line}");
        expect(&value, "/http_request/url/path", json!("/mail/[token]/x"));
        expect(&value, "/http_request/user_agent", json!("planner [token]"));
    }
    // Anybody's that looks like one, also when it was cut before.
    let texts = Texts::default();
    assert_eq!(texts.text(&format!("a {jwt}, b")), "a [token], b");
    assert_eq!(texts.text(&jwt[..64]), "[token]");
    assert_eq!(texts.text("eyJust a name, eyJ"), "eyJust a name, eyJ");
}

#[test]
fn an_encoded_token_that_is_cut_leaves_nothing_of_it() {
    // What happened: what is farther behind than a text may be long was looked at as far as the token is long, and encoded it is longer.
    let token = "a+/=".repeat(100);
    let encoded: String = token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let headers = [HeaderValue::from_str(&format!("Bearer {token}")).ok(), None];
    let mut texts = Texts::default();
    texts.hide_tokens(&headers, None);
    for before in [0, 1_500, 2_000, 2_040, 2_047] {
        let text = format!("{}{encoded}{}", "x".repeat(before), "y".repeat(3_000));
        let shown = texts.text(&text);
        let left = shown.trim_start_matches('x').trim_end_matches(CUT_MARK).trim_end_matches('y');
        assert!("[token]".starts_with(left), "{left}");
    }
}

#[test]
fn no_header_hides_what_a_call_was_about() {
    // What happened: an agent sent the name of a tool where agents' own tokens go. Nobody looked at it there, and the record
    // had a mark in place of the tool.
    let request = http::Request::post("/mail/me/messages/AAMkAGI2TG93AAA")
        .header("authorization", "Bearer a-token-of-a-person")
        .header("obo-actor-token", "list_messages")
        .body(())
        .expect("a request of the test");
    let at = Duration::from_millis(1_800_000_000_123);
    let known =
        CallRecord { token_headers: CallRecord::begin(&request, peer(), at).token_headers, ..answered() };
    let (_, shown) = check(&Record::Call(&answered()));
    let (_, value) = check(&Record::Call(&known));
    for pointer in
        ["/unmapped/obo/tool", "/resources", "/message", "/actor/user/uid", "/http_request/url/path"]
    {
        expect(&value, pointer, shown.pointer(pointer).expect("it is there").clone());
    }
    // Whoever is not known is refused, and hides nothing that is as short as a name either.
    let unknown = CallRecord { caller: None, ..CallRecord::begin(&request, peer(), at) };
    let unknown = CallRecord { tool: answered().tool, ..unknown };
    let (_, value) = check(&Record::Call(&unknown));
    expect(&value, "/unmapped/obo/tool", json!("list_messages"));
}

#[test]
fn what_is_hidden_is_found_in_little_time() {
    // What happened: text and token of one letter, each as long as a head may be, kept the writer of the trail busy for seconds.
    let token = format!("{}b", "a".repeat(30_000));
    let request = http::Request::get(format!("/{}", "a".repeat(60_000)))
        .header("authorization", format!("Bearer {token}"))
        .header("user-agent", "a".repeat(60_000))
        .body(())
        .expect("a request of the test");
    let record = CallRecord::begin(&request, peer(), Duration::from_millis(1_800_000_000_123));
    let begun = std::time::Instant::now();
    check(&Record::Call(&CallRecord { caller: None, ..record }));
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[test]
fn a_name_is_hidden_in_whatever_case_and_encoding_and_leaves_what_is_around_it() {
    let mut texts = Texts::default();
    texts.hide(Some("auth0|Ada@x.example"), Some("P".to_owned()));
    texts.hide(Some("abc"), Some("Q".to_owned()));
    let check = |text: &str, expected: &str| assert_eq!(texts.text(text), expected);
    check("/users/auth0|ada@x.example/", "/users/P/");
    check("/users/auth0%7cAda%40x.example", "/users/P");
    check("auth0|ada@x.exampleAUTH0|ADA@X.EXAMPLE", "PP");
    check("éauth0|ada@x.exampleé", "éPé");
    // What is as short as this names nobody, and is everywhere.
    check("abc", "abc");
    assert!(!texts.is_cut());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_text_makes_one_valid_line_within_its_bound(text in any::<String>(), size in 1_usize..1_500, count in 0_usize..100) {
        check_all(&text.repeat(size / (count * count + 1) + 1), count);
    }

    #[test]
    fn a_hidden_name_is_nowhere(before in ".{0,40}", name in "[a-zA-Z0-9@|.%é-]{4,40}", after in ".{0,300}") {
        let mut texts = Texts::default();
        texts.hide(Some(&name), Some("\u{1}".to_owned()));
        let shown = texts.text(&format!("{before}{name}{after}")).to_ascii_lowercase();
        prop_assert!(!shown.contains(&name.to_ascii_lowercase()), "{}", shown);
    }
}
