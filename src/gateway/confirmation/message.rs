//! A message to an MCP server, laid out for its person.

use serde_json::{Map, Value};

use super::headers::BoundHeaders;
use super::{BODY_BYTES_MAX, ConfirmError, Exhibit, Unshowable};
use crate::confirmation::{Content, Part, SHOWN_BYTES_MAX, Shown};
use crate::digest::FieldDigest;
use crate::gateway::canonical;
use crate::gateway::mcp::{META_CLIENT_CAPABILITIES, META_PROTOCOL_VERSION};
use crate::gateway::tool_call::ToolCall;

/// Members of `_meta` that differ from one try to the next, and say nothing about what is to be done: who the client is, what
/// it can do, how it hears of progress, and by what the request is traced (W3C Trace Context and Baggage).
const OF_THE_TRY: [&str; 8] = [
    META_PROTOCOL_VERSION,
    META_CLIENT_CAPABILITIES,
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/logLevel",
    "progressToken",
    "traceparent",
    "tracestate",
    "baggage",
];

/// What goes on to the server, and nothing else.
pub(super) fn exhibit(tool_call: &ToolCall, headers: &BoundHeaders) -> Result<Exhibit, ConfirmError> {
    let body = tool_call.body.read().map(AsRef::as_ref).unwrap_or_default();
    if body.len() > BODY_BYTES_MAX {
        return Err(Unshowable::TooLong.into());
    }
    // The gateway has written it itself.
    let Ok(Value::Object(mut message)) = serde_json::from_slice(body) else {
        return Err(Unshowable::MediaType.into());
    };
    let method = message.get("method").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut params = match message.remove("params") {
        Some(Value::Object(params)) => params,
        Some(_) | None => Map::new(),
    };
    leave_out_the_try(&mut params);
    let mut digest = FieldDigest::new("confirmed-message/1");
    digest.field(method.as_bytes());
    digest.field(&canonical::digest(&params));
    headers.add_to(&mut digest);
    let name = ["name", "uri"].into_iter().find_map(|member| match params.shift_remove(member) {
        Some(Value::String(name)) => Some(name),
        other => {
            params.extend(other.map(|other| (member.to_owned(), other)));
            None
        }
    });
    let mut shown = Shown { call: name.unwrap_or_else(|| method.clone()), parts: Vec::new() };
    let part = |heading: &str, content: &Value| Part {
        heading: heading.to_owned(),
        content: Content::Text(indented(content)),
    };
    match params.shift_remove("arguments") {
        Some(arguments) => shown.parts.push(part("Arguments", &arguments)),
        None if method == "tools/call" => shown.parts.push(part("Arguments", &Value::Object(Map::new()))),
        None => {}
    }
    if !params.is_empty() {
        shown.parts.push(part("Also sent", &Value::Object(params)));
    }
    shown.parts.extend(headers.shown());
    match shown.byte_count() > SHOWN_BYTES_MAX {
        true => Err(Unshowable::TooLong.into()),
        false => Ok(Exhibit { shown, digest: digest.finish() }),
    }
}

fn leave_out_the_try(params: &mut Map<String, Value>) {
    let Some(Value::Object(meta)) = params.get_mut("_meta") else { return };
    meta.retain(|name, _| !OF_THE_TRY.contains(&name.as_str()));
    if meta.is_empty() {
        params.shift_remove("_meta");
    }
}

/// JSON as people read it.
pub(super) fn indented(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("a JSON value can be written: its names are texts")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::tool_call::{CallBody, CountedTool, Onward};
    use crate::metrics::Metrics;
    use crate::tool::{Arguments, Tool};
    use serde_json::json;
    use std::sync::Arc;

    fn of(message: &Value) -> Result<Exhibit, ConfirmError> {
        let tool_call = ToolCall {
            tool: CountedTool::new(Arc::new(Tool::of("notes", "delete")), &Metrics::new()),
            arguments: Arguments::new(),
            arguments_digest: None,
            also: Vec::new(),
            onward: Onward::to(""),
            body: CallBody::Read(message.to_string().into()),
            is_idempotent: false,
            outlives_agent: false,
        };
        exhibit(&tool_call, &BoundHeaders::none())
    }

    fn call(params: Value) -> Value {
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params })
    }

    fn digest(message: &Value) -> [u8; 32] {
        of(message).expect("an exhibit").digest
    }

    #[test]
    fn what_differs_from_try_to_try_makes_no_difference_and_anything_else_does() {
        let params = json!({ "name": "delete", "arguments": { "id": "n1", "deep": true } });
        let one = digest(&call(params.clone()));
        let mut other_id = call(params.clone());
        other_id["id"] = json!("another");
        assert_eq!(digest(&other_id), one);
        let reordered = json!({ "arguments": { "deep": true, "id": "n1" }, "name": "delete" });
        assert_eq!(digest(&call(reordered)), one);
        let with = |member: &str, value: Value| {
            let mut params = params.clone();
            params[member] = value;
            call(params)
        };
        let meta = json!({ "progressToken": 7, "traceparent": "00-1", META_PROTOCOL_VERSION: "2026-07-28" });
        assert_eq!(digest(&with("_meta", meta)), one);
        for changed in [
            with("name", json!("create")),
            with("arguments", json!({ "id": "n2", "deep": true })),
            with("arguments", json!({ "id": "n1", "deep": "true" })),
            with("arguments", json!({ "id": "n1" })),
            with("_meta", json!({ "com.example/for-real": true })),
            with("task", json!({ "ttl": 60_000 })),
            with("inputResponses", json!({ "sure": { "action": "accept" } })),
            with("requestState", json!("opaque")),
            with("anything", json!(1)),
        ] {
            assert_ne!(digest(&changed), one, "{changed}");
        }
        let mut other_method = call(params.clone());
        other_method["method"] = json!("prompts/get");
        assert_ne!(digest(&other_method), one);
    }

    #[test]
    fn all_that_goes_on_is_shown() {
        let exhibit = of(&call(json!({
            "name": "delete", "arguments": { "id": "n1" }, "_meta": { "com.example/x": 1, "progressToken": 1 },
            "inputResponses": { "sure": true }
        })));
        let Ok(Exhibit { shown, .. }) = exhibit else { panic!("an exhibit") };
        assert_eq!(shown.call, "delete");
        let parts: Vec<_> = shown.parts.iter().map(|part| (part.heading.as_str(), &part.content)).collect();
        let [("Arguments", Content::Text(arguments)), ("Also sent", Content::Text(also))] = parts[..] else {
            panic!("two parts")
        };
        assert_eq!(arguments, "{\n  \"id\": \"n1\"\n}");
        assert_eq!(
            also,
            "{\n  \"_meta\": {\n    \"com.example/x\": 1\n  },\n  \"inputResponses\": {\n    \"sure\": true\n  }\n}"
        );
        let Ok(Exhibit { shown, .. }) = of(&call(json!({ "name": "delete" }))) else { panic!("an exhibit") };
        assert!(
            shown.parts.len() == 1 && matches!(&shown.parts[0].content, Content::Text(text) if text == "{}")
        );
    }

    #[test]
    fn what_nobody_would_read_is_not_asked_about() {
        let long = call(json!({ "name": "delete", "arguments": { "id": "x".repeat(BODY_BYTES_MAX) } }));
        assert_eq!(of(&long).err(), Some(Unshowable::TooLong.into()));
        let deep = (0..50).fold(json!(vec![0; 9_000]), |inner, _| json!([inner]));
        let deep = call(json!({ "name": "delete", "arguments": { "a": deep } }));
        assert!(deep.to_string().len() < BODY_BYTES_MAX);
        assert_eq!(of(&deep).err(), Some(Unshowable::TooLong.into()), "it is short, and long on paper");
    }
}
