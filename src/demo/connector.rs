//! What the demo connectors have in common: the record of what they receive, and their own check of tokens.

mod record;
mod verify;

pub use self::record::{AnswerEnd, Caller, ReceivedRequest};

pub(super) use self::record::{BODY_BYTES_KEPT, Entry, Received, Requests, bearer};
pub(super) use self::verify::{TokenFault, Verifier};
