//! Lists show what their reader may use, whatever form they come in; what cannot be read is not passed on.

use bytes::Bytes;
use obo_gateway::demo::script::Reply;
use serde_json::{Value, json};

use super::bed::{McpBed, names};

#[tokio::test]
async fn every_list_is_filtered_in_both_eras_and_both_forms() {
    let bed = McpBed::start().await;
    let session = bed.session("bob").await;
    for streams in [false, true] {
        bed.notes.answer_with_streams(streams);
        for (method, member) in [
            ("prompts/list", "prompts"),
            ("resources/list", "resources"),
            ("resources/templates/list", "resourceTemplates"),
        ] {
            let (_, ada) = bed.modern_answer("ada", method, json!({})).await;
            assert!(!ada["result"][member].as_array().expect("a list").is_empty(), "{ada:#}");
            let (_, bob) = bed.modern_answer("bob", method, json!({})).await;
            assert_eq!(bob["result"][member], json!([]), "{method}, streams: {streams}");
            assert_eq!(bob["result"]["cacheScope"], "private");
            let (_, bob) = session.answer(method, json!({})).await;
            assert_eq!(bob["result"][member], json!([]), "{method}, streams: {streams}");
        }
        let (_, bob) = session.answer("tools/list", json!({})).await;
        assert_eq!(names(&bob["result"]["tools"]), ["list_notes", "read_note"], "streams: {streams}");
        let (_, bob) = bed.modern_answer("bob", "tools/list", json!({})).await;
        assert_eq!(names(&bob["result"]["tools"]), ["list_notes", "read_note"], "streams: {streams}");
    }
}

#[tokio::test]
async fn a_hidden_prompt_or_resource_is_answered_like_an_unknown_one() {
    let bed = McpBed::start().await;
    let session = bed.session("bob").await;
    let before = bed.notes.requests().len();
    for (method, member, there, missing, code) in [
        ("prompts/get", "name", "summarise", "nothing", -32602),
        ("resources/read", "uri", "note://n1", "note://nothing", -32002),
    ] {
        for name in [there, missing] {
            let (status, modern) = bed.modern_answer("bob", method, json!({ member: name })).await;
            assert_eq!((status, &modern["error"]["code"]), (200, &json!(-32602)), "{modern:#}");
            assert_eq!(modern["error"]["data"], Value::Null);
            let (status, legacy) = session.answer(method, json!({ member: name })).await;
            assert_eq!((status, &legacy["error"]["code"]), (200, &json!(code)), "{legacy:#}");
            assert!(
                legacy["error"]["message"].as_str().is_some_and(|text| text.ends_with(name)),
                "{legacy:#}"
            );
        }
    }
    assert_eq!(bed.notes.requests().len(), before);
}

#[tokio::test]
async fn a_list_that_nobody_can_read_is_not_passed_on() {
    let bed = McpBed::start().await;
    let canary = "delete_note";
    let list = |text: &str| {
        Reply::status(200).replacing_header("content-type", "application/json").body(text.to_owned())
    };
    let tools = r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"delete_note"}]}}"#;
    let large = format!(
        r#"{{"jsonrpc":"2.0","id":7,"result":{{"x":"{}","tools":[{{"name":"delete_note"}}]}}}}"#,
        "x".repeat(9 * 1_048_576)
    );
    let bad = [
        list("[delete_note"),
        list(&tools.replace(r#""result""#, r#""result":{},"result""#)),
        list(&tools.replace("tools", "Tools")),
        list(&tools.replace("result", "Result")),
        list(&tools.replace(r#""tools":["#, r#""tools":{"a":["#).replace("]}", "]}}")),
        Reply::status(206).replacing_header("content-type", "application/json").body(tools.to_owned()),
        Reply::status(200).replacing_header("content-type", "text/plain").body(tools.to_owned()),
        list(tools).replacing_header("content-encoding", "gzip"),
        list(&large),
    ];
    let count = bad.len();
    for (index, reply) in bad.into_iter().enumerate() {
        bed.notes.script_of("tools/list").once(reply);
        let (status, refused) = bed.modern_answer("bob", "tools/list", json!({})).await;
        assert_eq!((status, &refused["error"]["code"]), (502, &json!(-32603)), "{index}: {refused:#}");
        assert_eq!(refused["error"]["data"]["code"], "connector_answer_unreadable");
        assert!(!refused.to_string().contains(canary), "{index}");
    }
    assert_eq!(bed.bed.outcomes(count).await, vec!["connector_answer_unreadable"; count]);
    let event = Bytes::from(
        "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"tools\":[{\"name\":\"delete_note\"}],\"tools\":[]}}\n\n",
    );
    let stream = Reply::status(200).replacing_header("content-type", "text/event-stream").body(event);
    bed.notes.script_of("tools/list").once(stream);
    let passed = async { bed.modern("bob", "tools/list", json!({})).send().await?.text().await };
    assert!(passed.await.is_err(), "the stream breaks off");
}

#[tokio::test]
async fn a_connector_that_lists_its_tools_serves_those_alone() {
    let tools = "    scopes: [Notes.Read]
    tools:
      list_notes: {}
      read_note: {}
      count_slowly: {}
      write_note: { scopes: [Notes.ReadWrite], arguments: { title: { type: string } } }
";
    let bed = McpBed::with(tools).await;
    let (_, list) = bed.modern_answer("ada", "tools/list", json!({})).await;
    assert_eq!(names(&list["result"]["tools"]), ["list_notes", "read_note", "write_note"]);
    let (status, unlisted) = bed.modern_answer("ada", "tools/call", json!({ "name": "find_notes" })).await;
    assert_eq!(
        (status, &unlisted["error"]),
        (200, &json!({ "code": -32602, "message": "Unknown tool: find_notes" }))
    );
    let write = |title: Value| json!({ "name": "write_note", "arguments": { "title": title, "text": "x" } });
    let (status, refused) = bed.modern_answer("ada", "tools/call", write(json!(5))).await;
    assert_eq!((status, &refused["result"]["isError"]), (200, &json!(true)), "{refused:#}");
    let refusal = &refused["result"]["_meta"]["obo-gateway/refusal"];
    assert_eq!(refusal["code"], "argument_invalid");
    let (_, written) = bed.modern_answer("ada", "tools/call", write(json!("t"))).await;
    assert_eq!(written["result"]["isError"], false, "{written:#}");
    let scopes: Vec<_> = bed
        .bed
        .authorization_server
        .exchanges()
        .iter()
        .map(|exchange| exchange.parameter("scope").expect("a scope").to_owned())
        .collect();
    assert_eq!(
        scopes,
        ["api://notes/Notes.Read", "api://notes/Notes.ReadWrite"],
        "each tool has its own token"
    );
    let series = |text: String| text.lines().filter(|line| !line.starts_with('#')).count();
    let before = series(bed.bed.admin("/metrics").await.1);
    for number in 0..20 {
        bed.modern_answer("ada", "tools/call", json!({ "name": format!("tool{number}") })).await;
    }
    assert_eq!(series(bed.bed.admin("/metrics").await.1), before, "no name of a request is a label");
}
