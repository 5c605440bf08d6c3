//! What an MCP server gives out in its answers, remembered for whom it was given to.

use std::sync::{Arc, LazyLock};

use memchr::memmem::Finder;
use serde_json::{Map, Value};

use super::elicitation::is_in_our_name;
use super::handles::{Handle, Handles};
use crate::digest::FieldDigest;
use crate::identity::Caller;
use crate::strict_json;
use crate::tool::ConnectorName;

/// Members of results that give something out, or ask something. A message that holds none of these words does neither.
const WORDS: [&str; 3] = ["\"taskId\"", "\"requestState\"", "\"inputRequests\""];
/// Finds them: every answer is looked through, so what finds them is made once.
static FIND_WORDS: LazyLock<[Finder<'static>; 3]> = LazyLock::new(|| WORDS.map(Finder::new));
/// What of a call's parameters may differ when it goes on after its person was asked.
const CHANGING: [&str; 3] = ["_meta", "requestState", "inputResponses"];

/// A server's answer would make its client take a question or a state for the gateway's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the MCP server asks in the gateway's name")]
pub struct InOurName;

/// To whom what an answer gives out is given.
#[derive(Clone)]
pub struct Given {
    /// Where it is remembered.
    pub handles: Arc<Handles>,
    /// The connector.
    pub connector: ConnectorName,
    /// Who.
    pub caller: Arc<Caller>,
    /// The call that it is the answer to.
    pub call: [u8; 32],
}

impl Given {
    /// Remembers what a message gives out.
    ///
    /// # Errors
    ///
    /// [`InOurName`] when it must not reach the client.
    pub fn read(&self, message: &[u8]) -> Result<(), InOurName> {
        if FIND_WORDS.iter().all(|word| word.find(message).is_none()) {
            return Ok(());
        }
        // What cannot be read gives nothing out: whoever brings it is then refused.
        let Ok(message) = strict_json::parse_object(message) else { return Ok(()) };
        let Some(result) = message.get("result").and_then(Value::as_object) else { return Ok(()) };
        if is_in_our_name(result) {
            return Err(InOurName);
        }
        let text = |of: &Map<String, Value>, member: &str| of.get(member)?.as_str().map(str::to_owned);
        if let Some(state) = text(result, "requestState") {
            self.handles.given(&self.connector, Handle::State(&state, self.call), &self.caller);
        }
        let task = result.get("task").and_then(Value::as_object).and_then(|task| text(task, "taskId"));
        if let Some(task) = task.or_else(|| text(result, "taskId")) {
            self.handles.given(&self.connector, Handle::Task(&task), &self.caller);
        }
        Ok(())
    }

    /// Whether a task is the caller's.
    pub fn has_task(&self, task: &str) -> bool {
        self.handles.is_of(&self.connector, Handle::Task(task), &self.caller)
    }
}

/// What a call is, apart from what may differ when it goes on after its person was asked. The order of members makes no
/// difference.
pub fn call_digest(method: &str, params: Option<&Map<String, Value>>) -> [u8; 32] {
    let mut digest = FieldDigest::new("mcp-call/2");
    digest.field(method.as_bytes());
    for (name, value) in sorted(params.into_iter().flatten()) {
        if !CHANGING.contains(&name.as_str()) {
            digest.field(name.as_bytes());
            add(&mut digest, value);
        }
    }
    digest.finish()
}

fn sorted<'a>(members: impl Iterator<Item = (&'a String, &'a Value)>) -> Vec<(&'a String, &'a Value)> {
    let mut members: Vec<_> = members.collect();
    members.sort_by_key(|(name, _)| *name);
    members
}

/// The depth is bounded: the message was read. How many members and items there are stands before them: no name or text in
/// one can then be taken for its end.
fn add(digest: &mut FieldDigest, value: &Value) {
    let count = |digest: &mut FieldDigest, length: usize| digest.field(&(length as u64).to_be_bytes());
    match value {
        Value::Object(members) => {
            digest.field(b"{");
            count(digest, members.len());
            for (name, value) in sorted(members.iter()) {
                digest.field(name.as_bytes());
                add(digest, value);
            }
        }
        Value::Array(items) => {
            digest.field(b"[");
            count(digest, items.len());
            items.iter().for_each(|item| add(digest, item));
        }
        Value::String(text) => {
            digest.field(b"\"");
            digest.field(text.as_bytes());
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => digest.field(value.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn digest(arguments: Value) -> [u8; 32] {
        call_digest("tools/call", json!({ "name": "pay", "arguments": arguments }).as_object())
    }

    #[test]
    fn the_order_of_members_makes_no_difference_and_anything_else_does() {
        let one: Value = serde_json::from_str(r#"{"a":1,"b":{"c":[true,null]}}"#).expect("JSON");
        let other: Value = serde_json::from_str(r#"{"b":{"c":[true,null]},"a":1}"#).expect("JSON");
        assert_eq!(digest(one), digest(other));
        let different = [
            json!({}),
            json!({ "a": 1 }),
            json!({ "a": "1" }),
            json!({ "a": [1] }),
            json!({ "a": { "1": 1 } }),
            json!({ "a": {}, "b": {} }),
            json!({ "a": { "b": {} } }),
            // Names that look like the end of an object, and texts like its beginning.
            json!({ "!": { "}": "{" } }),
            json!({ "!": {}, "\"": {} }),
            json!({ "a": ["]"] }),
            json!({ "a": [], "]": 1 }),
        ];
        for (i, one) in different.iter().enumerate() {
            for (j, other) in different.iter().enumerate() {
                assert_eq!(digest(one.clone()) == digest(other.clone()), i == j, "{one} and {other}");
            }
        }
    }
}
