//! MCP connectors: Streamable HTTP of both eras.
//!
//! A request becomes a tool call in `identify`, and the server's answer goes through `answer`. Everything else here is what
//! these two lean on.

mod answer;
mod arguments;
mod configured;
pub mod elicitation;
pub mod era;
pub mod event_stream;
mod filter;
mod given;
pub mod handles;
mod identify;
mod lists;
pub mod message;
pub mod method;
mod mirror;
mod params;
pub mod reply;
pub mod screen;
pub mod sealed_state;
mod served;
mod uri;

use std::sync::Arc;

use http::Request;

pub use answer::Answering;
pub use arguments::declared_arguments;
pub use configured::{Asking, answer as answer_from_configuration};
pub use identify::Arrival;
pub use served::Served;

use elicitation::{Brought, Elicits, OurAnswer};
use era::{Era, EraError};
use filter::UnreadableList;
use message::{Id, MessageError};
use method::Method;
use mirror::MirrorError;
use sealed_state::StateFault;

use crate::audit::McpOperation;

/// The member of `_meta` with the revision of the protocol, since 2026-07-28.
pub const META_PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The member of `_meta` with what the client can do, since 2026-07-28.
pub const META_CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// A request, as far as it has been read: how it wants to be answered.
#[derive(Clone, Debug)]
pub struct McpCall {
    /// In which era the agent speaks.
    pub era: Era,
    /// What it says.
    pub said: Said,
    /// The session that it belongs to.
    pub session: Option<Arc<str>>,
    /// What the call is, apart from what may differ when it goes on after its person was asked.
    pub digest: [u8; 32],
    /// What its client can show to its person.
    pub elicits: Elicits,
    /// What the person answered to the gateway's question, when the call goes on after one.
    pub answers: Option<OurAnswer>,
    /// What it brings along for the server.
    pub brought: Brought,
}

/// What a request says.
#[derive(Clone, Debug)]
pub enum Said {
    /// Nothing that has been read, or nothing that is answered.
    Nothing,
    /// Something with this id that cannot be read.
    Unread(Id),
    /// This is wanted.
    Request {
        /// What ties the answer to it.
        id: Id,
        /// What it asks for.
        method: Method,
        /// Of what: a name or a URI.
        name: Option<Arc<str>>,
    },
    /// GET: what else the server has to say.
    Stream,
    /// DELETE: the end of the session.
    End,
}

impl McpCall {
    /// A request whose head alone is known.
    pub fn unread<B>(request: &Request<B>) -> Self {
        let era = match era::of_headers(request.headers()) {
            Ok(version) => version.era(),
            Err(EraError::Unsupported { era, .. } | EraError::Header(era)) => era,
            Err(EraError::Mismatch | EraError::Initialize | EraError::Response) => Era::Modern,
        };
        Self {
            era,
            said: Said::Nothing,
            session: None,
            digest: [0; 32],
            elicits: Elicits::default(),
            answers: None,
            brought: Brought::default(),
        }
    }

    /// What ties an answer to the request.
    pub fn id(&self) -> Option<&Id> {
        match &self.said {
            Said::Unread(id) | Said::Request { id, .. } => Some(id),
            Said::Nothing | Said::Stream | Said::End => None,
        }
    }

    /// What is asked for, as records say it. `None`: nothing that has been read, or nothing that is known.
    pub fn operation(&self) -> Option<McpOperation> {
        match &self.said {
            Said::Request { method: Method::Unknown, .. }
            | Said::Nothing
            | Said::Unread(_)
            | Said::Stream
            | Said::End => None,
            Said::Request { method, name, .. } => {
                Some(McpOperation { method: method.as_str(), name: name.clone() })
            }
        }
    }

    /// What is asked for.
    pub fn method(&self) -> Option<Method> {
        match self.said {
            Said::Request { method, .. } => Some(method),
            Said::Nothing | Said::Unread(_) | Said::Stream | Said::End => None,
        }
    }
}

/// Why a request to an MCP connector is refused, or its answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum McpError {
    /// The address goes beyond the connector's path. An MCP server has one address.
    #[error("the address of an MCP connector is its path, without a query")]
    Address,
    /// POST, and in revisions up to 2025-11-25 GET and DELETE, are the methods there are.
    #[error("the endpoint does not take this HTTP method in this revision of MCP")]
    HttpMethod,
    /// The body is not said to be plain JSON.
    #[error("the body is not `application/json` without an encoding")]
    MediaType,
    /// Nothing came of the body for too long.
    #[error("the agent's body stalled")]
    Stalled,
    /// The body broke off.
    #[error("the agent's body broke off")]
    BrokeOff,
    /// The message cannot be read.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The revision is not served, or not the one that the message is of.
    #[error(transparent)]
    Era(#[from] EraError),
    /// The headers do not say what the message says.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// It asks to hear of the changes of more resources than are decided about at once.
    #[error("the request names more resources than one may")]
    TooManySubscriptions,
    /// The message carries the caller's own token.
    #[error("the message carries the access token")]
    TokenMisplaced,
    /// Nobody knows what the method does.
    #[error("the method is not one of MCP's")]
    MethodUnknown,
    /// The connector lists its tools, and this is none of them.
    #[error("the connector lists no tool of this name")]
    ToolUnlisted,
    /// A declared argument is of another kind, and the caller may not know that there is such a tool.
    #[error("an argument is not of the declared type, and the tool is not shown to this caller")]
    Hidden,
    /// A declared argument is of another kind.
    #[error("the argument `{name}` is not of the declared type {expected}")]
    Argument {
        /// Which.
        name: Arc<str>,
        /// What was declared.
        expected: &'static str,
    },
    /// What was sent belongs to a session, and names none.
    #[error("the request names no session")]
    SessionMissing,
    /// The session is not the caller's.
    #[error("the session was not given to this caller")]
    SessionUnknown,
    /// The task is not the caller's.
    #[error("the task was not given to this caller")]
    Task,
    /// The state of a waiting call is not the caller's, of another call, or over.
    #[error(transparent)]
    State(#[from] StateFault),
    /// There is no person behind the request, and it asks for more than a list.
    #[error("an agent without a person may see lists, and nothing else")]
    AgentAlone,
    /// The server's list cannot be read.
    #[error(transparent)]
    List(#[from] UnreadableList),
    /// The server's answer is in a form in which nobody can say what is in it.
    #[error("the MCP server's answer is {0}")]
    Answer(&'static str),
}
