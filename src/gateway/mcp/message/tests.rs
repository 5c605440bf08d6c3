use super::*;

fn parse(text: &str) -> Result<Message, MessageFault> {
    Message::parse(text.as_bytes()).map_err(|error| error.fault)
}

#[track_caller]
fn request(method: &str, params: &str) -> Request {
    let text = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{params}}}"#);
    match parse(&text) {
        Ok(Message::Request(request)) => request,
        other => panic!("{text}: {other:?}"),
    }
}

#[track_caller]
fn check_refused(text: &str, expected: MessageFault) {
    assert_eq!(parse(text), Err(expected), "{text:.100}");
}

#[track_caller]
fn check_params(method: &str, params: &str, expected: MessageFault) {
    let text = format!(r#"{{"jsonrpc":"2.0","id":"i-1","method":"{method}","params":{params}}}"#);
    let error = Message::parse(text.as_bytes()).expect_err(&text);
    assert_eq!((error.fault, error.rpc_code()), (expected, -32_602), "{text}");
    assert_eq!(error.id, Some(Id::String("i-1".to_owned())), "the answer can name its request");
}

#[test]
fn a_message_is_written_as_it_was_read() {
    for text in [
        r#"{"method":"tools/call","id":7,"jsonrpc":"2.0","params":{"name":"z","arguments":{"b":[1.5,{"d":1,"c":2}],"a":null}}}"#,
        r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","id":-1,"result":{"roots":[]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"User rejected","data":[1]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"vendor/own","params":{"any":18446744073709551615}}"#,
    ] {
        let message = parse(text).expect(text);
        assert_eq!(message.to_bytes(), text);
    }
    let spaced = "\t{ \"jsonrpc\" : \"2.0\",\r\n\"id\":1, \"method\":\"\\u0070ing\" }\n";
    assert_eq!(parse(spaced).expect("a ping").to_bytes(), r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
}

#[test]
fn what_is_no_json_is_a_parse_error() {
    for text in ["", "{", "nul", r#"{"jsonrpc":"2.0","id":1,"method":"ping"}{}"#, "\u{feff}{}", "{}x"] {
        check_refused(text, MessageFault::Json(ExactError::NotJson));
    }
    let error = Message::parse(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}").expect_err("no UTF-8");
    assert_eq!((error.rpc_code(), error.id), (-32_700, None));
    check_refused(r#"{"jsonrpc":"2.0","id":1,"method":"\ud800"}"#, MessageFault::Json(ExactError::NotJson));
}

#[test]
fn a_member_given_twice_is_refused_at_any_depth() {
    for text in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","n\u0061me":"b"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":[{"y":1,"y":2}]}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
    ] {
        check_refused(text, MessageFault::Json(ExactError::Repeated));
    }
    assert_eq!(MessageFault::Json(ExactError::Repeated).rpc_code(), -32_600);
}

#[test]
fn a_batch_is_refused() {
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for text in ["[]".to_owned(), format!("[{call}]"), format!("[{call},{call}]")] {
        check_refused(&text, MessageFault::BatchRefused);
    }
    for text in ["1", "null", "\"ping\"", "true"] {
        check_refused(text, MessageFault::NotAnObject);
    }
}

#[test]
fn a_case_twin_of_the_envelope_is_refused() {
    for member in ["Method", "METHOD", "ID", "Params", "Jsonrpc", "re\u{17f}ult", "extra", ""] {
        check_refused(
            &format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","{member}":"tools/call"}}"#),
            MessageFault::UnknownMember,
        );
    }
}

#[test]
fn a_resource_is_named_in_one_way() {
    let (up, plain) = ("file:///shared/../private", "file:///shared/a");
    for method in ["resources/read", "resources/subscribe", "resources/unsubscribe"] {
        check_params(method, &format!(r#"{{"uri":"{up}"}}"#), MessageFault::Ambiguous("params.uri"));
        request(method, &format!(r#"{{"uri":"{plain}"}}"#));
    }
    let completed = format!(r#"{{"ref":{{"type":"ref/resource","uri":"{up}"}}}}"#);
    check_params("completion/complete", &completed, MessageFault::Ambiguous("params.ref.uri"));
    let wanted = format!(r#"{{"notifications":{{"resourceSubscriptions":["{plain}","{up}"]}}}}"#);
    let place = "params.notifications.resourceSubscriptions";
    check_params("subscriptions/listen", &wanted, MessageFault::Ambiguous(place));
}

#[test]
fn a_case_twin_in_the_params_is_refused() {
    for member in ["Name", "NAME", "Arguments", "ta\u{17f}kId", "tas\u{212a}Id", "_Meta", "URI"] {
        check_params(
            "tools/call",
            &format!(r#"{{"name":"a","{member}":"b"}}"#),
            MessageFault::CaseTwin("params"),
        );
    }
    check_params("resources/read", r#"{"uri":"a:b","Uri":"a:c"}"#, MessageFault::CaseTwin("params"));
    check_params("tools/call", r#"{"name":"a","x":1,"X":1}"#, MessageFault::CaseTwin("params"));
    check_params(
        "tools/call",
        r#"{"name":"a","arguments":{"path":"/mine","Path":"/theirs"}}"#,
        MessageFault::CaseTwin("params.arguments"),
    );
    check_params(
        "ping",
        r#"{"_meta":{"io.modelcontextprotocol/ProtocolVersion":"2026-07-28"}}"#,
        MessageFault::CaseTwin("params._meta"),
    );
    check_params(
        "completion/complete",
        r#"{"ref":{"type":"ref/prompt","name":"a","Name":"b"}}"#,
        MessageFault::CaseTwin("params.ref"),
    );
    check_params(
        "subscriptions/listen",
        r#"{"notifications":{"ResourceSubscriptions":["a:b"]}}"#,
        MessageFault::CaseTwin("params.notifications"),
    );
    request("tools/call", r#"{"name":"a","arguments":{"Path":"/x","deep":{"a":1,"A":2}}}"#);
}

#[test]
fn what_is_not_one_kind_of_message_is_refused() {
    for text in [
        r#"{"jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","result":{}}"#,
        r#"{"jsonrpc":"2.0","error":{"code":1,"message":""}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"},"result":{}}"#,
        r#"{"jsonrpc":"2.0","method":"tools/call","error":{"code":1,"message":""}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"params":{}}"#,
    ] {
        check_refused(text, MessageFault::Kind);
    }
    for version in [r#""jsonrpc":"1.0","#, r#""jsonrpc":2.0,"#, ""] {
        check_refused(&format!(r#"{{{version}"id":1,"method":"ping"}}"#), MessageFault::Version);
    }
    for error in
        ["{}", "null", r#"{"code":"1","message":""}"#, r#"{"code":1.5,"message":""}"#, r#"{"code":1}"#]
    {
        check_refused(&format!(r#"{{"jsonrpc":"2.0","id":1,"error":{error}}}"#), MessageFault::Error);
    }
    let long = format!("\"{}\"", "m".repeat(METHOD_BYTES_MAX + 1));
    for method in ["null", "1", "\"\"", "[]", &long] {
        check_refused(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":{method}}}"#), MessageFault::Method);
    }
}

#[test]
fn an_id_is_a_text_or_a_whole_number() {
    let long = format!("\"{}\"", "i".repeat(ID_BYTES_MAX + 1));
    for id in ["null", "1.5", "1.0", "1e3", "true", "{}", "[1]", "9223372036854775808", &long] {
        check_refused(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#), MessageFault::Id);
        check_refused(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#), MessageFault::Id);
    }
    let ping = |id: &str| match parse(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#)) {
        Ok(Message::Request(request)) => request.id().clone(),
        other => panic!("{id}: {other:?}"),
    };
    assert_eq!(ping("-3"), Id::Integer(-3));
    assert_eq!(ping("\"3\""), Id::String("3".to_owned()), "a text is not the number");
    assert_eq!(ping("\"\"").to_value(), "");
}

#[test]
fn every_bound_holds() {
    let filled = |bytes: usize| {
        let frame =
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":""}}}"#;
        frame.replace(r#""x":"""#, &format!(r#""x":"{}""#, "x".repeat(bytes - frame.len())))
    };
    assert!(parse(&filled(MESSAGE_BYTES_MAX)).is_ok());
    check_refused(&filled(MESSAGE_BYTES_MAX + 1), MessageFault::TooLarge);

    let nested = |depth: usize| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"a":{}{}}}}}"#,
            "[".repeat(depth - 2),
            "]".repeat(depth - 2)
        )
    };
    assert!(parse(&nested(DEPTH_MAX)).is_ok());
    check_refused(&nested(DEPTH_MAX + 1), MessageFault::Json(ExactError::TooDeep));
    check_refused(&nested(100_000), MessageFault::Json(ExactError::TooDeep));

    let (name, uri) = (params::NAME_BYTES_MAX, params::URI_BYTES_MAX);
    request("tools/call", &format!(r#"{{"name":"{}"}}"#, "n".repeat(name)));
    check_params(
        "tools/call",
        &format!(r#"{{"name":"{}"}}"#, "n".repeat(name + 1)),
        MessageFault::TooLong("params.name", name),
    );
    for (method, member, place) in
        [("resources/read", "uri", "params.uri"), ("tasks/get", "taskId", "params.taskId")]
    {
        request(method, &format!(r#"{{"{member}":"{}"}}"#, "u".repeat(uri)));
        let long = format!(r#"{{"{member}":"{}"}}"#, "u".repeat(uri + 1));
        check_params(method, &long, MessageFault::TooLong(place, uri));
    }
}

#[test]
fn a_number_that_would_be_written_as_another_is_refused() {
    for number in ["99999999999999999999", "18446744073709551616", "0.123456789012345678901"] {
        check_refused(
            &format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"a","arguments":{{"n":{number}}}}}}}"#
            ),
            MessageFault::Json(ExactError::Inexact),
        );
    }
    check_refused(
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"n":1e400}}"#,
        MessageFault::Json(ExactError::NotJson),
    );
}

#[test]
fn params_are_an_object() {
    for params in ["null", "[]", "[\"a\"]", "\"a\"", "1"] {
        let fault = MessageFault::WrongType("params", "an object");
        check_params("tools/call", params, fault);
        check_params("vendor/own", params, fault);
        check_refused(
            &format!(r#"{{"jsonrpc":"2.0","method":"notifications/initialized","params":{params}}}"#),
            fault,
        );
    }
}

#[test]
fn what_a_method_is_about_must_be_there() {
    for (method, place) in [
        ("tools/call", "params.name"),
        ("prompts/get", "params.name"),
        ("resources/read", "params.uri"),
        ("resources/subscribe", "params.uri"),
        ("resources/unsubscribe", "params.uri"),
        ("tasks/get", "params.taskId"),
        ("tasks/result", "params.taskId"),
        ("tasks/cancel", "params.taskId"),
        ("tasks/update", "params.taskId"),
        ("initialize", "params.protocolVersion"),
    ] {
        let member = place.trim_start_matches("params.");
        check_params(method, "{}", MessageFault::Missing(place));
        check_params(method, &format!(r#"{{"{member}":""}}"#), MessageFault::Missing(place));
        for wrong in ["null", "1", "[\"a\"]", "{}"] {
            let params = format!(r#"{{"{member}":{wrong}}}"#);
            check_params(method, &params, MessageFault::WrongType(place, "a text"));
        }
        let without = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
        check_refused(&without, MessageFault::Missing(place));
    }
}

#[test]
fn what_else_the_params_hold_is_of_its_kind() {
    for wrong in ["null", "[]", "\"{}\"", "1"] {
        for (member, place) in [
            ("arguments", "params.arguments"),
            ("_meta", "params._meta"),
            ("inputResponses", "params.inputResponses"),
        ] {
            let params = format!(r#"{{"name":"a","{member}":{wrong}}}"#);
            check_params("tools/call", &params, MessageFault::WrongType(place, "an object"));
        }
    }
    check_params(
        "tools/call",
        r#"{"name":"a","requestState":1}"#,
        MessageFault::WrongType("params.requestState", "a text"),
    );
    let reference = MessageFault::WrongType("params.ref.type", "\"ref/prompt\" or \"ref/resource\"");
    check_params("completion/complete", r#"{"ref":{"type":"ref/tool","name":"a"}}"#, reference);
    check_params("completion/complete", "{}", MessageFault::Missing("params.ref"));
    check_params(
        "completion/complete",
        r#"{"ref":{"type":"ref/prompt","uri":"a"}}"#,
        MessageFault::Missing("params.ref.name"),
    );
    let long = format!("[\"{}\"]", "u".repeat(params::URI_BYTES_MAX + 1));
    for (list, place) in [
        ("resourceSubscriptions", "params.notifications.resourceSubscriptions"),
        ("taskIds", "params.notifications.taskIds"),
    ] {
        let listen = |list_value: &str, fault| {
            let params = format!(r#"{{"notifications":{{"{list}":{list_value}}}}}"#);
            check_params("subscriptions/listen", &params, fault);
        };
        for wrong in ["{}", "\"a:b\"", "[1]", "[\"a:b\",null]"] {
            listen(wrong, MessageFault::WrongType(place, "an array of texts"));
        }
        listen(&long, MessageFault::TooLong(place, params::URI_BYTES_MAX));
    }
    let related = "io.modelcontextprotocol/related-task";
    let with_meta = |meta: &str, fault| {
        check_params("tools/call", &format!(r#"{{"name":"a","_meta":{{{meta}}}}}"#), fault);
    };
    with_meta(&format!(r#""{related}":"t""#), MessageFault::WrongType(related, "an object"));
    with_meta(&format!(r#""{related}":{{"taskId":1}}"#), MessageFault::WrongType(related, "a text"));
    with_meta(&format!(r#""{related}":{{"taskId":"a","TaskID":"b"}}"#), MessageFault::CaseTwin(related));
    with_meta(
        r#""io.modelcontextprotocol/relatedTaskIds":"t""#,
        MessageFault::WrongType("io.modelcontextprotocol/relatedTaskIds", "an array of texts"),
    );
}

#[test]
fn a_request_says_what_it_is_about() {
    let call = request(
        "tools/call",
        r#"{"name":"n","uri":"a:b","arguments":{"x":1},"requestState":"s","_meta":{"k":1}}"#,
    );
    assert_eq!((call.method(), call.name(), call.uri()), (Method::ToolsCall, Some("n"), None));
    assert_eq!(call.arguments().and_then(|arguments| arguments.get("x")), Some(&1.into()));
    assert_eq!(call.request_state(), Some("s"));
    assert_eq!(call.meta().map(Map::len), Some(1));
    let read = request("resources/read", r#"{"uri":"a:b","name":"n","arguments":{}}"#);
    assert_eq!((read.name(), read.uri(), read.arguments()), (None, Some("a:b"), None));
    assert_eq!(request("tasks/cancel", r#"{"taskId":"t"}"#).task_id(), Some("t"));
    assert_eq!(request("tasks/list", r#"{"taskId":"t"}"#).task_id(), None);
    let complete = request("completion/complete", r#"{"ref":{"type":"ref/resource","uri":"a:{b}"}}"#);
    assert_eq!(complete.completes(), Some(Completed::Template("a:{b}")));
    let listen =
        request("subscriptions/listen", r#"{"notifications":{"resourceSubscriptions":["a:b","a:c"]}}"#);
    assert_eq!(listen.resource_subscriptions().collect::<Vec<_>>(), ["a:b", "a:c"]);
}

#[test]
fn a_message_says_which_tasks_it_names() {
    let tasks =
        |method: &str, params: &str| request(method, params).tasks().map(str::to_owned).collect::<Vec<_>>();
    let related = r#""_meta":{"io.modelcontextprotocol/related-task":{"taskId":"r"},"io.modelcontextprotocol/relatedTaskIds":["x","y"]}"#;
    assert_eq!(tasks("tasks/get", &format!(r#"{{"taskId":"t",{related}}}"#)), ["t", "r", "x", "y"]);
    assert_eq!(tasks("subscriptions/listen", r#"{"notifications":{"taskIds":["a","b"]}}"#), ["a", "b"]);
    assert!(tasks("tools/call", r#"{"name":"n","taskId":"t","notifications":{"taskIds":["a"]}}"#).is_empty());
    let wrong = r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{"io.modelcontextprotocol/related-task":[]}}}"#;
    let fault = MessageFault::WrongType("io.modelcontextprotocol/related-task", "an object");
    check_refused(wrong, fault);
}

#[test]
fn methods_are_known_by_their_exact_name() {
    for method in Method::KNOWN {
        assert_eq!(Method::named(method.as_str()), method);
    }
    for kind in NotificationKind::KNOWN {
        assert_eq!(NotificationKind::named(kind.as_str()), kind);
    }
    for other in ["Tools/Call", "tools/call ", "tools", "unknown", "notifications/initialized"] {
        let request = request(other, r#"{"name":"a"}"#);
        assert_eq!((request.method(), request.method_name()), (Method::Unknown, other));
    }
    assert_eq!(NotificationKind::named("tools/call"), NotificationKind::Unknown);
}

#[test]
fn what_cancels_a_request_names_it_by_an_id() {
    let cancelled = |params: &str| {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{params}}}"#);
        match parse(&text) {
            Ok(Message::Notification(cancelled)) => {
                assert_eq!(cancelled.kind().as_str(), cancelled.method_name());
                Ok(cancelled.meta().is_some())
            }
            Ok(other) => panic!("{other:?}"),
            Err(fault) => Err(fault),
        }
    };
    assert_eq!(cancelled(r#"{"requestId":7}"#), Ok(false));
    assert_eq!(cancelled(r#"{"_meta":{}}"#), Ok(true));
    let wrong = MessageFault::WrongType("params.requestId", "a text or a whole number");
    for id in ["null", "1.5", "{}"] {
        assert_eq!(cancelled(&format!(r#"{{"requestId":{id}}}"#)), Err(wrong));
    }
}

#[test]
fn nothing_that_was_sent_is_in_an_error_or_in_a_debug_form() {
    let canary = "canary-4711";
    for text in [
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","{canary}":1}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":"{canary}"}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":["{canary}"]}}}}"#),
        format!(r#"{{"{canary}":1,"{canary}":2}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{canary}","params":{{"{canary}":"{canary}"}}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":"{canary}"}}"#),
        format!(r#"{{"jsonrpc":"2.0","method":"{canary}"}}"#),
    ] {
        let shown = match Message::parse(text.as_bytes()) {
            Ok(message) => format!("{message:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!shown.contains(canary), "{shown}");
    }
}

#[test]
fn what_the_modern_era_has_no_more_is_not_known_whatever_it_lacks() {
    let asked = |method, version| {
        let params = format!(r#"{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"{version}"}}}}"#);
        request(method, &params)
    };
    for method in ["initialize", "ping", "resources/subscribe", "resources/unsubscribe", "tasks/result"] {
        let modern = asked(method, "2026-07-28");
        assert_eq!((modern.method(), modern.method_name()), (Method::Unknown, method));
    }
    assert_eq!(asked("tools/list", "2026-07-28").method(), Method::ToolsList);
    // Up to 2025-11-25 it is what it was, and must not lack what it needs.
    assert_eq!(asked("ping", "2025-11-25").method(), Method::Ping);
    let legacy = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2025-11-25"}}"#;
    check_params("resources/subscribe", legacy, MessageFault::Missing("params.uri"));
    check_params("initialize", "{}", MessageFault::Missing("params.protocolVersion"));
}
