//! What a request asks for, once that is known.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;

use crate::metrics::ToolMetrics;
use crate::tool::{Arguments, Tool};

/// A request for one tool, ready to be decided about.
pub struct ToolCall {
    /// The tool.
    pub tool: Arc<Tool>,
    /// How calls of it are counted.
    pub metrics: Arc<ToolMetrics>,
    /// The arguments that the tool declares, as far as the call has them.
    pub arguments: Arguments,
    /// What goes on to the connector.
    pub body: CallBody,
}

/// The body of a request.
pub enum CallBody {
    /// As it comes from the agent. Nothing in it was looked at.
    Streamed(Incoming),
    /// It was read to be judged, and this was written anew from what was read.
    #[expect(dead_code, reason = "the readers that make it come with the next change")]
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
}
