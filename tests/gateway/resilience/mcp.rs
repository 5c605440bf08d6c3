//! The same of MCP servers, in the forms that MCP clients know.

use obo_gateway::demo::script::Reply;
use serde_json::{Value, json};

use crate::mcp::bed::{McpBed, answer};

/// What the connector says of two of its tools.
const DECLARED: &str = "    scopes: [Notes.Read]
    tools:
      list_notes: { annotations: { read_only: true } }
      read_note: {}
      count_slowly: {}
";

fn call(name: &str) -> Value {
    json!({ "name": name, "arguments": {} })
}

/// How often the server was asked for `method`, when a request for it is refused once, and what the agent hears at last.
async fn asked(bed: &McpBed, method: &str, params: Value) -> (usize, u16) {
    let before = bed.notes.requests().len();
    bed.notes.script_of(method).once(Reply::status(503));
    let response = bed.modern("ada", method, params).send().await.expect("an answer");
    (bed.notes.requests().len() - before, response.status().as_u16())
}

#[tokio::test]
async fn lists_reads_and_tools_that_say_so_are_tried_again() {
    let bed = McpBed::with(DECLARED).await;
    assert_eq!(asked(&bed, "tools/list", json!({})).await, (2, 200));
    assert_eq!(asked(&bed, "resources/list", json!({})).await, (2, 200));
    assert_eq!(asked(&bed, "server/discover", json!({})).await, (2, 200));
    assert_eq!(asked(&bed, "tools/call", call("list_notes")).await, (2, 200));
    assert_eq!(asked(&bed, "tools/call", call("read_note")).await, (1, 503));
}

#[tokio::test]
async fn a_model_reads_how_long_a_throttled_tool_is_not_to_be_called() {
    let bed = McpBed::with(DECLARED).await;
    bed.notes.script_of("tools/call").once(Reply::too_many_requests(600));
    for _ in 0..2 {
        let response = bed.modern("ada", "tools/call", call("read_note")).send().await.expect("an answer");
        let header: u64 = response.headers()["retry-after"].to_str().expect("text").parse().expect("seconds");
        let (status, told) = answer(response).await;
        let result = &told["result"];
        assert_eq!((status, &result["isError"]), (200, &json!(true)), "{told:#}");
        let refusal = &result["_meta"]["obo-gateway/refusal"];
        assert_eq!(
            (&refusal["code"], &refusal["retry_after_seconds"], &refusal["status"]),
            (&json!("connector_throttled"), &json!(header), &json!(429))
        );
        let text = result["content"][0]["text"].as_str().expect("a text");
        assert!(text.contains(&format!("in {header} s")), "{text}");
    }
    let before = bed.notes.requests().len();
    let (status, told) = bed.modern_answer("ada", "tools/list", json!({})).await;
    assert_eq!((status, &told["error"]["data"]["code"]), (429, &json!("connector_throttled")), "{told:#}");
    assert_eq!(bed.notes.requests().len(), before);
    assert_eq!(bed.modern_answer("bob", "tools/list", json!({})).await.0, 200);
}
