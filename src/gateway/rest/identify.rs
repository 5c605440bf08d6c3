//! From a request to the REST tool that it calls, and to the arguments that policy may look at.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderValue, Request};
use http_body::Body as _;
use hyper::body::Incoming;

use super::Operations;
use super::arguments::DeclaredArguments;
use super::error::RestError;
use crate::gateway::canonical;
use crate::gateway::json_body::{self, JsonBodyError};
use crate::gateway::path::CanonicalPath;
use crate::gateway::resilience::is_idempotent_operation;
use crate::gateway::tool_call::{CallBody, CountedTool, Onward, ToolCall};
use crate::identity::Caller;
use crate::strict_json::parse_exact;
use crate::tool::Arguments;

/// Longest body that is read for its arguments, in bytes. They are JSON text; files travel by reference, or are sent to tools
/// that have no arguments in the body.
const BODY_BYTES_MAX: usize = 1_048_576;
/// Deepest body that is read for its arguments: as for MCP messages.
const BODY_DEPTH_MAX: usize = 64;

/// The tools of a REST connector.
pub enum RestTools {
    /// All of it is one tool.
    Any(CountedTool),
    /// These alone.
    Listed(Operations<RestTool>),
}

/// A tool of a REST connector, and the arguments that it declares.
pub struct RestTool {
    /// The tool.
    pub tool: CountedTool,
    /// Its arguments.
    pub arguments: DeclaredArguments,
}

/// A request to a REST connector.
pub struct RestArrival<'a> {
    /// Its head.
    pub request: &'a Request<()>,
    /// What of its path the connector sees.
    pub path: CanonicalPath<'a>,
    /// Who sent it.
    pub caller: &'a Caller,
    /// How long nothing may come of its body.
    pub idle_timeout: Duration,
}

impl RestArrival<'_> {
    /// Finds out which of `tools` the request calls, and with what.
    ///
    /// # Errors
    ///
    /// [`RestError`] when it is none of them, or cannot be judged.
    pub async fn identify(&self, tools: &RestTools, body: Incoming) -> Result<ToolCall, RestError> {
        let operations = match tools {
            RestTools::Any(tool) => {
                return Ok(self.call(tool, Arguments::new(), None, CallBody::Streamed(body)));
            }
            RestTools::Listed(operations) => operations,
        };
        let path = self.path.decoded();
        let found = operations.find_decoded(self.request.method(), &path);
        let (RestTool { tool, arguments: declared }, segments) = found.ok_or(RestError::ToolUnlisted)?;
        let mut arguments = Arguments::new();
        declared.read_path(|name| segments.get(name), &mut arguments)?;
        let query = declared.read_query(self.request.uri().query(), &mut arguments)?;
        let body = match declared.read_body() && !body.is_end_stream() {
            true => CallBody::Read(self.read_body(declared, body, &mut arguments).await?),
            false => CallBody::Streamed(body),
        };
        Ok(self.call(tool, arguments, query, body))
    }

    /// Reads the body, and writes it anew.
    async fn read_body(
        &self,
        declared: &DeclaredArguments,
        body: Incoming,
        arguments: &mut Arguments,
    ) -> Result<Bytes, RestError> {
        let headers = self.request.headers();
        // A part of a document that is somewhere else says nothing about the whole.
        if headers.contains_key(CONTENT_RANGE) {
            return Err(JsonBodyError::MediaType.into());
        }
        let text = json_body::read(headers, body, BODY_BYTES_MAX, self.idle_timeout).await?;
        let read = parse_exact(&text, BODY_DEPTH_MAX)?;
        declared.read_json(&read, arguments)?;
        let written = read.to_string();
        match self.caller.has_token_within(written.as_bytes()) {
            true => Err(RestError::TokenMisplaced),
            false => Ok(written.into()),
        }
    }

    fn call(
        &self,
        tool: &CountedTool,
        arguments: Arguments,
        query: Option<String>,
        body: CallBody,
    ) -> ToolCall {
        let mut onward = Onward { query, ..Onward::to(self.path.as_str()) };
        if let CallBody::Read(_) = body {
            onward.headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
            onward.body_is_anew = true;
        }
        let arguments_digest =
            (!tool.tool.arguments.is_empty()).then(|| canonical::digest_of_declared(&arguments));
        let is_idempotent = is_idempotent_operation(self.request.method(), tool.tool.annotations);
        let (tool, also) = (tool.clone(), Vec::new());
        ToolCall {
            tool,
            arguments,
            arguments_digest,
            also,
            onward,
            body,
            is_idempotent,
            outlives_agent: false,
        }
    }
}
