//! Refusals of calls to a REST connector that cannot be judged.

use http::StatusCode;

use super::{answer_to_forwarding, answer_to_request};
use crate::audit::Fault;
use crate::gateway::answer::Answer;
use crate::gateway::forward::ForwardError;
use crate::gateway::json_body::JsonBodyError;
use crate::gateway::request::RequestError;
use crate::gateway::rest::error::RestError;

/// What the agent hears.
pub(super) fn answer_to_rest(error: &RestError) -> Answer {
    match error {
        RestError::ToolUnlisted => Answer::forbidden(
            "tool_unlisted",
            Fault::Agent,
            "This operation is not among the tools of the connector; use one that is, or ask an administrator to add it.",
        ),
        RestError::Query(_) => Answer::bad_request(
            "query_not_canonical",
            "The agent has to send a query that everybody reads alike: plainly percent-encoded, `;` as `%3B`.",
        ),
        RestError::Argument { .. } => Answer::bad_request(
            "argument_invalid",
            "The agent has to give the arguments of this tool once, by their names, and in the types that it declares.",
        ),
        RestError::Body(JsonBodyError::MediaType) => Answer::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "media_type_refused",
            Fault::Agent,
            "The agent has to send the body of this tool whole, as `application/json`, without a content encoding.",
        ),
        RestError::Body(JsonBodyError::TooLarge) => Answer::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            Fault::Agent,
            "The agent has to send less than a megabyte to this tool; files travel by reference.",
        ),
        RestError::Body(JsonBodyError::Stalled) => answer_to_forwarding(&ForwardError::UploadStalled),
        RestError::Body(JsonBodyError::BrokeOff) => answer_to_forwarding(&ForwardError::UploadBroke),
        RestError::Json(_) => Answer::bad_request(
            "body_malformed",
            "The agent has to send JSON that everybody reads alike: no member twice, no number that cannot be kept.",
        ),
        RestError::TokenMisplaced => answer_to_request(RequestError::TokenMisplaced),
    }
}
