//! What a request asks for, once that is known.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use http_body::Body as _;
use hyper::body::Incoming;
use serde_json::Value;

use crate::metrics::{Metrics, ToolMetrics};
use crate::tool::{Argument, ArgumentType, Arguments, Tool};

/// A request for one tool, ready to be decided about.
pub struct ToolCall {
    /// The tool, and how calls of it are counted.
    pub tool: CountedTool,
    /// The arguments that the tool declares, as far as the call has them.
    pub arguments: Arguments,
    /// The SHA-256 of the canonical form of its arguments, where it has any that were read.
    pub arguments_digest: Option<[u8; 32]>,
    /// What the call is about besides. Policy has to allow each.
    pub also: Vec<Arc<Tool>>,
    /// How it goes on.
    pub onward: Onward,
    /// What goes on to the connector.
    pub body: CallBody,
    /// What it does is done once, however often it is made, so that it may be repeated.
    pub is_idempotent: bool,
    /// The connector is heard to the end though the agent leaves: to hang up would tell it to stop.
    pub outlives_agent: bool,
}

impl ToolCall {
    /// Those of its arguments that its tool says are to be recorded.
    pub fn recorded_arguments(&self) -> Vec<(Arc<str>, Argument)> {
        let named = self.tool.tool.record_arguments.iter();
        named.filter_map(|name| Some((Arc::clone(name), self.arguments.get(name)?.clone()))).collect()
    }
}

/// How a call goes on to its connector: what takes the place of what the agent sent.
pub struct Onward {
    /// What of the request's path the connector sees: a canonical path, or nothing where its address is the whole of it.
    pub path: Arc<str>,
    /// The query, where it was written anew. `None`: as it came.
    pub query: Option<String>,
    /// Headers in place of what the agent sent under these names.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body is not the bytes that the agent sent, so that what the agent says of those is not true of it.
    pub body_is_anew: bool,
    /// It is a message of MCP: the server answers all of it, whatever the agent's headers ask for.
    pub is_message: bool,
}

impl Onward {
    /// To this path, and otherwise as it came.
    pub fn to(path: &str) -> Self {
        Self { path: path.into(), query: None, headers: Vec::new(), body_is_anew: false, is_message: false }
    }
}

/// A tool, and the metric handles for calls of it.
#[derive(Clone)]
pub struct CountedTool {
    /// The tool.
    pub tool: Arc<Tool>,
    /// The handles.
    pub metrics: Arc<ToolMetrics>,
}

impl CountedTool {
    /// A tool whose name is written in the configuration, or is one of a closed set.
    pub fn new(tool: Arc<Tool>, metrics: &Metrics) -> Self {
        Self { metrics: metrics.tool(&tool), tool }
    }
}

/// The body of a request.
pub enum CallBody {
    /// As it comes from the agent. Nothing in it was looked at.
    Streamed(Incoming),
    /// It was read to be judged, and this was written anew from what was read.
    Read(Bytes),
}

impl CallBody {
    /// The body, where it was read.
    pub fn read(&self) -> Option<&Bytes> {
        match self {
            Self::Streamed(_) => None,
            Self::Read(body) => Some(body),
        }
    }

    /// Whether nothing of it is still to come.
    pub fn is_whole(&self) -> bool {
        match self {
            Self::Streamed(body) => body.is_end_stream(),
            Self::Read(_) => true,
        }
    }
}

/// An argument that a call gives as JSON; `None` when it is of another kind than declared.
pub fn json_argument(expected: ArgumentType, value: &Value) -> Option<Argument> {
    match expected {
        ArgumentType::String => value.as_str().map(|text| Argument::String(text.to_owned())),
        ArgumentType::Integer => value.as_i64().map(Argument::Integer),
        ArgumentType::Boolean => value.as_bool().map(Argument::Boolean),
        ArgumentType::Strings => {
            let texts = value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().map(Argument::Strings)
        }
    }
}
