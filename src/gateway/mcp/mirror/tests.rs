use super::*;
use crate::gateway::mcp::message::Message;

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).expect("a name"),
            HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
        );
    }
    headers
}

/// What comes of a request with these parameters and headers, beside those of a revision and a method as they should be.
fn check(method: &str, params: &str, lines: &[(&str, &str)]) -> Result<HeaderMap, MirrorError> {
    let mut all = vec![("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", method)];
    all.extend(lines);
    check_all(method, params, &all)
}

#[track_caller]
fn check_all(method: &str, params: &str, lines: &[(&str, &str)]) -> Result<HeaderMap, MirrorError> {
    let separator = if params.is_empty() { "" } else { "," };
    let text =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}{separator}{META}}}}}"#);
    match Message::parse(text.as_bytes()) {
        Ok(Message::Request(request)) => {
            Mirrors::of_request(&headers(lines), &request).map(|mirrors| mirrors.headers().clone())
        }
        other => panic!("{text}: {other:?}"),
    }
}

#[track_caller]
fn sent_on(checked: Result<HeaderMap, MirrorError>, name: &str) -> String {
    let headers = checked.expect("headers that go with the body");
    headers.get(name).expect(name).to_str().expect("a text").to_owned()
}

#[test]
fn headers_that_say_what_the_body_says_are_written_anew() {
    let call = check("tools/call", r#""name":"mail.list""#, &[("mcp-name", "mail.list"), ("X-Other", "x")]);
    let expected = headers(&[
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "mail.list"),
    ]);
    assert_eq!(call, Ok(expected));
    for (method, member) in [
        ("prompts/get", "name"),
        ("resources/read", "uri"),
        ("tasks/get", "taskId"),
        ("tasks/update", "taskId"),
        ("tasks/cancel", "taskId"),
    ] {
        let params = format!(r#""{member}":"a:b""#);
        assert_eq!(sent_on(check(method, &params, &[("Mcp-Name", "a:b")]), "mcp-name"), "a:b");
        assert_eq!(check(method, &params, &[]), Err(MirrorError::Missing(Mirror::Name)), "{method}");
    }
    assert_eq!(check("tools/list", "", &[]).map(|headers| headers.len()), Ok(2));
}

#[test]
fn a_missing_wrong_or_doubled_header_is_a_mismatch() {
    let (version, method, name) =
        (("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", "a"));
    let call = |lines: &[(&str, &str)]| check_all("tools/call", r#""name":"a""#, lines);
    assert!(call(&[version, method, name]).is_ok());
    for (lines, mirror) in [
        ([method, name], Mirror::ProtocolVersion),
        ([version, name], Mirror::Method),
        ([version, method], Mirror::Name),
    ] {
        assert_eq!(call(&lines), Err(MirrorError::Missing(mirror)));
        assert_eq!(MirrorError::Missing(mirror).rpc_code(), -32_020);
    }
    for wrong in ["2025-11-25", "2026-07-28 ", "", "=?base64?MjAyNi0wNy0yOA==?="] {
        let wrong = ("MCP-Protocol-Version", wrong);
        assert_eq!(call(&[wrong, method, name]), Err(MirrorError::Mismatch(Mirror::ProtocolVersion)));
    }
    for wrong in ["tools/list", "Tools/Call", "tools/call, tools/list", "", "=?base64?dG9vbHMvY2FsbA==?="] {
        let wrong = ("Mcp-Method", wrong);
        assert_eq!(call(&[version, wrong, name]), Err(MirrorError::Mismatch(Mirror::Method)));
    }
    for wrong in ["b", "A", "a, b", "", "a ", "=?base64?Yg==?=", "=?BASE64?YQ==?="] {
        let wrong = ("Mcp-Name", wrong);
        assert_eq!(call(&[version, method, wrong]), Err(MirrorError::Mismatch(Mirror::Name)));
    }
    for (twice, mirror) in
        [(version, Mirror::ProtocolVersion), (method, Mirror::Method), (name, Mirror::Name)]
    {
        assert_eq!(call(&[version, method, name, twice]), Err(MirrorError::Doubled(mirror)));
    }
    let named = check("tools/list", "", &[("Mcp-Name", "a")]);
    assert_eq!(named, Err(MirrorError::Mismatch(Mirror::Name)), "the body names nothing");
}

#[test]
fn a_name_that_fits_no_header_is_encoded() {
    let greeting = "=?base64?SGVsbG8sIOS4lueVjA==?=";
    let call = |name: &str, header: &str| {
        check("tools/call", &format!(r#""name":{}"#, Value::from(name)), &[("Mcp-Name", header)])
    };
    assert_eq!(sent_on(call("Hello, 世界", greeting), "mcp-name"), greeting);
    // Needlessly encoded, and sent on as it should be.
    assert_eq!(sent_on(call("a", "=?base64?YQ==?="), "mcp-name"), "a");
    let literal = "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=";
    assert_eq!(sent_on(call("=?base64?literal?=", literal), "mcp-name"), literal);
    assert_eq!(sent_on(call(" padded ", "=?base64?IHBhZGRlZCA=?="), "mcp-name"), "=?base64?IHBhZGRlZCA=?=");
    let lines = "=?base64?bGluZTEKbGluZTI=?=";
    assert_eq!(sent_on(call("line1\nline2", lines), "mcp-name"), lines);
    for bad in [
        "=?base64?YQ=?=",
        "=?base64?YQ?=",
        "=?base64?YR==?=",
        "=?base64?Y Q==?=",
        "=?base64?_w==?=",
        "=?base64?/w==?=",
        "=?base64?=",
        "=?base64?literal?=",
        "Hello, 世界",
    ] {
        assert_eq!(call("a", bad), Err(MirrorError::Malformed(Mirror::Name)), "{bad}");
    }
}

#[test]
fn what_is_written_is_read_as_the_same() {
    for text in
        ["", "a", " a", "a ", "a\tb", "\u{7f}", "ä", "a b", "=?base64?x?=", "=?BASE64?x?=", "=?base64?="]
    {
        let written = encode(text);
        assert!(HeaderValue::from_str(&written).is_ok_and(|value| value.to_str().is_ok()), "{text:?}");
        assert_eq!(decode(&written).as_deref(), Some(text), "{text:?}");
    }
}

#[test]
fn meta_says_revision_and_capabilities() {
    let check = |meta: &str| {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{meta}}}}}"#);
        let Ok(Message::Request(request)) = Message::parse(text.as_bytes()) else { panic!("{text}") };
        let lines = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list")];
        Mirrors::of_request(&headers(&lines), &request).map(|_| ())
    };
    let (version, capabilities) = (META_PROTOCOL_VERSION, META_CLIENT_CAPABILITIES);
    assert_eq!(check("{}"), Err(MirrorError::MetaMissing(version)));
    let without = format!(r#"{{"{version}":"2026-07-28"}}"#);
    assert_eq!(check(&without), Err(MirrorError::MetaMissing(capabilities)));
    let number = format!(r#"{{"{version}":20260728,"{capabilities}":{{}}}}"#);
    assert_eq!(check(&number), Err(MirrorError::MetaWrongType(version, "a text")));
    let list = format!(r#"{{"{version}":"2026-07-28","{capabilities}":[]}}"#);
    assert_eq!(check(&list), Err(MirrorError::MetaWrongType(capabilities, "an object")));
    assert_eq!(MirrorError::MetaMissing(version).rpc_code(), -32_602);
}

#[test]
fn a_param_header_repeats_some_argument() {
    let arguments = r#""name":"a","arguments":{"region":"us-west1","n":42,"big":9007199254740993,"f":0.5,"yes":true,"in":{"deep":{"x":"ä"}},"list":["hidden"],"null":null}"#;
    let call =
        |lines: &[(&str, &str)]| check("tools/call", arguments, &[&[("Mcp-Name", "a")], lines].concat());
    for (given, written) in [
        ("us-west1", "us-west1"),
        ("42", "42"),
        ("42.0", "42"),
        ("4.2e1", "42"),
        ("9007199254740993", "9007199254740993"),
        ("0.50", "0.5"),
        ("true", "true"),
        ("=?base64?w6Q=?=", "=?base64?w6Q=?="),
        ("=?base64?dXMtd2VzdDE=?=", "us-west1"),
    ] {
        assert_eq!(sent_on(call(&[("Mcp-Param-Any", given)]), "mcp-param-any"), written, "{given}");
    }
    for wrong in
        ["eu-west1", "US-WEST1", "43", "042", "9007199254740992", "True", "false", "null", "", "hidden", "ae"]
    {
        assert_eq!(call(&[("Mcp-Param-X", wrong)]), Err(MirrorError::Mismatch(Mirror::Param)), "{wrong}");
    }
    for bad in ["=?base64?w6Q?=", "ä", "=?base64?/w==?="] {
        assert_eq!(call(&[("Mcp-Param-X", bad)]), Err(MirrorError::Malformed(Mirror::Param)), "{bad}");
    }
    assert_eq!(call(&[("Mcp-Param-", "42")]), Err(MirrorError::Malformed(Mirror::Param)));
    let twice = [("Mcp-Param-Region", "us-west1"), ("mcp-param-region", "us-west1")];
    assert_eq!(call(&twice), Err(MirrorError::Doubled(Mirror::Param)));
    let both = call(&[("Mcp-Param-Region", "us-west1"), ("mcp-param-n", "42")]);
    assert_eq!(both.map(|headers| headers.len()), Ok(5));
    let listed = check("tools/list", "", &[("Mcp-Param-Region", "us-west1")]);
    assert_eq!(listed, Err(MirrorError::Mismatch(Mirror::Param)), "there are no arguments");
}

#[test]
fn the_bound_on_param_headers_holds() {
    let call = |count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("mcp-param-{n}")).collect();
        let mut lines = vec![("Mcp-Name", "a")];
        lines.extend(names.iter().map(|name| (name.as_str(), "x")));
        check("tools/call", r#""name":"a","arguments":{"x":"x"}"#, &lines).map(|headers| headers.len())
    };
    assert_eq!(call(PARAMS_MAX), Ok(PARAMS_MAX + 3));
    assert_eq!(call(PARAMS_MAX + 1), Err(MirrorError::TooMany));
    assert_eq!(MirrorError::TooMany.rpc_code(), -32_020);
}

#[test]
fn a_notification_names_its_revision() {
    let check = |params: &str, lines: &[(&str, &str)]| {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{{params}}}}}"#);
        let Ok(Message::Notification(told)) = Message::parse(text.as_bytes()) else { panic!("{text}") };
        Mirrors::of_notification(&headers(lines), &told).map(|mirrors| mirrors.headers().len())
    };
    let version = ("MCP-Protocol-Version", "2026-07-28");
    assert_eq!(check("", &[version]), Ok(1));
    assert_eq!(check("", &[version, ("Mcp-Method", "notifications/progress")]), Ok(2));
    assert_eq!(check(META, &[version]), Ok(1));
    assert_eq!(check("", &[]), Err(MirrorError::Missing(Mirror::ProtocolVersion)));
    let older = ("MCP-Protocol-Version", "2025-11-25");
    assert_eq!(check(META, &[older]), Err(MirrorError::Mismatch(Mirror::ProtocolVersion)));
    let other = ("Mcp-Method", "tools/call");
    assert_eq!(check("", &[version, other]), Err(MirrorError::Mismatch(Mirror::Method)));
    assert_eq!(check("", &[version, ("Mcp-Name", "a")]), Err(MirrorError::Mismatch(Mirror::Name)));
    assert_eq!(check("", &[version, ("Mcp-Param-A", "a")]), Err(MirrorError::Mismatch(Mirror::Param)));
}
