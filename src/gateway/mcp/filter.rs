//! A list on its way to the agent: what its caller may not use is taken out.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::era::Era;
use super::given::Given;
use super::lists::{List, ListError};
use super::served::Served;
use crate::clock::Now;
use crate::policy::Policy;
use crate::strict_json;
use crate::tool::Primitive;

/// A list of the server's that cannot be read, so that nobody can say what is in it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UnreadableList {
    /// It is not one JSON-RPC message that everybody reads alike.
    #[error("the MCP server's list is not one JSON-RPC message that everybody reads alike")]
    Json,
    /// It is not what the protocol says.
    #[error("the MCP server's list cannot be read: {0}")]
    List(#[from] ListError),
    /// It is not one answer of at most this many bytes in a form that is known.
    #[error("the MCP server's list is not a JSON answer of at most {LIST_BYTES_MAX} bytes")]
    Form,
}

/// The members that a message may have (JSON-RPC 2.0 sections 4 and 5).
const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
/// Largest list in one piece. A thousand tools with their schemas are below 4 MiB.
pub const LIST_BYTES_MAX: usize = 8 * 1_048_576;

/// Takes out of a list what its caller may not use.
pub struct ListFilter {
    /// What the connector serves.
    pub served: Arc<Served>,
    /// Who may use what.
    pub policy: Arc<Policy>,
    /// For whom, and which tasks are theirs.
    pub given: Given,
    /// Where the caller is.
    pub client: IpAddr,
    /// When the caller asked.
    pub now: Now,
    /// In which era, which differ in what a list says of itself.
    pub era: Era,
    /// Which list was asked for. `None`: whatever comes is judged by what it holds, since a stream that is resumed repeats
    /// the answers to earlier requests.
    pub list: Option<List>,
}

impl ListFilter {
    /// The message without what its caller may not use; `None` when it is no list, and goes on as it is.
    ///
    /// # Errors
    ///
    /// [`UnreadableList`] when nobody can say what is in it.
    pub fn without_hidden(&self, message: &[u8]) -> Result<Option<Bytes>, UnreadableList> {
        let mut message = strict_json::parse_object(message).map_err(|_| UnreadableList::Json)?;
        // There are agents to whom `Result` is `result`.
        if message.keys().any(|name| !MEMBERS.contains(&name.as_str())) {
            return Err(UnreadableList::Json);
        }
        let Some(result) = message.get_mut("result") else { return Ok(None) };
        let held =
            |members: &Map<String, Value>| List::ALL.into_iter().filter(|list| list.is_in(members)).collect();
        let lists: Vec<List> = match self.list {
            Some(list) => vec![list],
            None => result.as_object().map(held).unwrap_or_default(),
        };
        let is_task_list = result.as_object_mut().is_some_and(|members| self.keep_own_tasks(members));
        if lists.is_empty() && !is_task_list {
            return Ok(None);
        }
        for list in lists {
            list.filter(result, self.era, |primitive, name| self.shows(primitive, name))?;
        }
        let written = serde_json::to_vec(&message).map_err(|_| UnreadableList::Json)?;
        Ok(Some(written.into()))
    }

    fn shows(&self, primitive: Primitive, name: &str) -> bool {
        let found = self.served.find(primitive, name);
        found.is_some_and(|found| self.policy.shows(&self.given.caller, &found.tool, self.client, self.now))
    }

    /// Whether this is a list of tasks. One that was not given to the caller is none of theirs.
    fn keep_own_tasks(&self, result: &mut Map<String, Value>) -> bool {
        let Some(Value::Array(tasks)) = result.get_mut("tasks") else { return false };
        tasks.retain(|task| {
            task.get("taskId").and_then(Value::as_str).is_some_and(|task| self.given.has_task(task))
        });
        true
    }
}
