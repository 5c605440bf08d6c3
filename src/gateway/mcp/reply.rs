//! The answers in JSON-RPC that are ours and not the server's.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::era::Era;
use super::message::Id;

/// The person has to open an address first (2025-11-25, URL mode elicitation). No other revision has it.
const URL_REQUIRED: i32 = -32_042;

/// An error. `None` for an `id` that could not be read: then there is none, as the protocol's schema has it. JSON-RPC 2.0
/// wants `null`, which clients of MCP do not take for an answer.
pub fn error(id: Option<&Id>, code: i32, message: &str, data: Option<Value>) -> Bytes {
    let mut members = Map::new();
    members.insert("jsonrpc".to_owned(), "2.0".into());
    members.extend(id.map(|id| ("id".to_owned(), id.to_value())));
    let mut error = Map::new();
    error.insert("code".to_owned(), code.into());
    error.insert("message".to_owned(), message.into());
    error.extend(data.map(|data| ("data".to_owned(), data)));
    members.insert("error".to_owned(), error.into());
    written(&members.into())
}

/// The result of a tool that says what went wrong, so that the model reads it: the text, and the same for programs. That
/// goes into `_meta`: clients compare structured content with the tool's own schema.
pub fn tool_error(id: &Id, era: Era, text: &str, meta: Option<Value>) -> Bytes {
    let mut result = complete_result(era);
    result.insert("content".to_owned(), json!([{ "type": "text", "text": text }]));
    result.extend(meta.map(|meta| ("_meta".to_owned(), meta)));
    result.insert("isError".to_owned(), true.into());
    self::result(id, result)
}

/// A result that wants something of the person first, since 2026-07-28: one question under this name, and the state with which the
/// call goes on.
pub fn input_required(id: &Id, key: &str, params: Value, state: &str, meta: Value) -> Bytes {
    let mut result = Map::new();
    result.insert("resultType".to_owned(), "input_required".into());
    let question = json!({ "method": "elicitation/create", "params": params });
    result.insert("inputRequests".to_owned(), json!({ key: question }));
    result.insert("requestState".to_owned(), state.into());
    result.insert("_meta".to_owned(), meta);
    self::result(id, result)
}

/// The error that wants the person to open an address first. It is of 2025-11-25 alone.
pub fn url_required(id: &Id, elicitation: &str, url: &str, message: &str) -> Bytes {
    let elicitation = json!({ "mode": "url", "elicitationId": elicitation, "url": url, "message": message });
    error(Some(id), URL_REQUIRED, message, Some(json!({ "elicitations": [elicitation] })))
}

/// An empty result: the answer to `ping`, and the end of a stream that is closed before its time.
pub fn complete(id: &Id, era: Era) -> Bytes {
    result(id, complete_result(era))
}

/// A result.
pub fn result(id: &Id, result: Map<String, Value>) -> Bytes {
    written(&json!({ "jsonrpc": "2.0", "id": id.to_value(), "result": result }))
}

fn complete_result(era: Era) -> Map<String, Value> {
    match era {
        Era::Modern => Map::from_iter([("resultType".to_owned(), "complete".into())]),
        Era::Legacy => Map::new(),
    }
}

fn written(message: &Value) -> Bytes {
    serde_json::to_vec(message).expect("a JSON value can be written: its names are texts").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::mcp::message::Message;

    #[track_caller]
    fn check(written: &Bytes, expected: &str) {
        assert_eq!(written, expected);
        assert!(matches!(Message::parse(written), Ok(Message::Response(_))), "{expected}");
    }

    #[test]
    fn an_error_names_its_request() {
        check(
            &error(Some(&Id::Integer(7)), -32_020, "header mismatch", None),
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32020,"message":"header mismatch"}}"#,
        );
        check(
            &error(Some(&Id::String("a\"b".to_owned())), -32_022, "no", Some(json!({"requested": "x"}))),
            r#"{"jsonrpc":"2.0","id":"a\"b","error":{"code":-32022,"message":"no","data":{"requested":"x"}}}"#,
        );
        let unnamed = error(None, -32_700, "no JSON", None);
        assert_eq!(unnamed, r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"no JSON"}}"#);
    }

    #[test]
    fn a_tools_error_is_a_result_that_the_model_reads() {
        check(
            &tool_error(
                &Id::Integer(1),
                Era::Modern,
                "Ask your administrator.",
                Some(json!({"code": "denied"})),
            ),
            r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[{"type":"text","text":"Ask your administrator."}],"_meta":{"code":"denied"},"isError":true}}"#,
        );
        check(
            &tool_error(&Id::Integer(1), Era::Legacy, "line\nline", None),
            r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"line\nline"}],"isError":true}}"#,
        );
    }

    #[test]
    fn an_empty_result_is_complete() {
        let id = Id::String("s".to_owned());
        check(
            &complete(&id, Era::Modern),
            r#"{"jsonrpc":"2.0","id":"s","result":{"resultType":"complete"}}"#,
        );
        check(&complete(&id, Era::Legacy), r#"{"jsonrpc":"2.0","id":"s","result":{}}"#);
        let tools = Map::from_iter([("tools".to_owned(), json!([]))]);
        check(&result(&id, tools), r#"{"jsonrpc":"2.0","id":"s","result":{"tools":[]}}"#);
    }
}
