//! Why a call of a REST connector cannot be judged.

use std::sync::Arc;

use crate::gateway::json_body::JsonBodyError;
use crate::strict_json::ExactError;

/// Why a call of a REST connector cannot be judged.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RestError {
    /// The connector lists its tools, and this is none of them.
    #[error("the connector lists no tool for this request")]
    ToolUnlisted,
    /// The query could be read in more than one way, and the tool has arguments in it.
    #[error("the query {0}")]
    Query(&'static str),
    /// An argument is not what its declaration says, or could be read in more than one way.
    #[error("the argument `{name}` {fault}")]
    Argument {
        /// Which.
        name: Arc<str>,
        /// What is wrong with it.
        fault: ArgumentFault,
    },
    /// The body of a tool with arguments in it is not one that is read.
    #[error(transparent)]
    Body(#[from] JsonBodyError),
    /// The body is not JSON that everybody reads alike.
    #[error("the body is not JSON that everybody reads alike: {0}")]
    Json(#[from] ExactError),
    /// The body, or what was written anew from the query, carries the caller's own token.
    #[error("the call carries the access token")]
    TokenMisplaced,
}

/// What is wrong with an argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ArgumentFault {
    /// It is of another type than declared.
    #[error("is not of the declared type {0}")]
    Type(&'static str),
    /// It is given more than once.
    #[error("is given more than once")]
    Repeated,
    /// Something has a name that some servers take for the argument's, and others do not.
    #[error("is given by a name that readers take differently")]
    Name,
    /// What it is percent-encoded from could be read in more than one way.
    #[error("is encoded in a way that readers take differently")]
    Encoding,
    /// What it would be part of is not there to be part of: a text in place of an object.
    #[error("would stand in something of another kind")]
    Place,
}
