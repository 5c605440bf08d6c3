//! What an agent hears when its call was permitted, and the connector gave no answer.

use std::time::Duration;

use http::StatusCode;

use super::RETRY_AFTER_DEFAULT;
use super::limit::answer_to_busy;
use crate::audit::Fault;
use crate::gateway::answer::Answer;
use crate::gateway::forward::ForwardError;

/// What an agent hears when the connector gave no answer.
pub fn answer_to_forwarding(error: &ForwardError) -> Answer {
    match error {
        ForwardError::Exhausted(_) => Answer::later(
            StatusCode::SERVICE_UNAVAILABLE,
            "gateway_busy",
            Fault::Gateway,
            "The gateway has no room for one more connection to a service; the call was not made, so try again shortly.",
            RETRY_AFTER_DEFAULT,
        ),
        ForwardError::Unreachable(_) => Answer::later(
            StatusCode::BAD_GATEWAY,
            "connector_unreachable",
            Fault::Connector,
            "The service behind this tool cannot be reached; try again shortly.",
            RETRY_AFTER_DEFAULT,
        ),
        ForwardError::ConnectTimedOut => Answer::later(
            StatusCode::GATEWAY_TIMEOUT,
            "connector_timeout",
            Fault::Connector,
            "The service behind this tool could not be reached in time; the call was not made, so try again shortly.",
            RETRY_AFTER_DEFAULT,
        ),
        ForwardError::ResponseTimedOut => Answer::new(
            StatusCode::GATEWAY_TIMEOUT,
            "connector_timeout",
            Fault::Connector,
            "The service behind this tool did not answer in time; check whether the call took effect before repeating it.",
        ),
        ForwardError::Broke(_) => Answer::new(
            StatusCode::BAD_GATEWAY,
            "connector_broke",
            Fault::Connector,
            "The service behind this tool broke off; check whether the call took effect before repeating it.",
        ),
        ForwardError::Unsent(_) => Answer::later(
            StatusCode::BAD_GATEWAY,
            "connector_broke",
            Fault::Connector,
            "The service behind this tool closed the connection; the call was not made, so try again shortly.",
            RETRY_AFTER_DEFAULT,
        ),
        ForwardError::Throttled { retry_after } => throttled(retry_after.unwrap_or(RETRY_AFTER_DEFAULT)),
        ForwardError::LeftAlone { retry_after } => throttled(*retry_after),
        ForwardError::Busy(busy) => answer_to_busy(*busy),
        ForwardError::NotReady { retry_after } => Answer::later(
            StatusCode::SERVICE_UNAVAILABLE,
            "connector_not_ready",
            Fault::Connector,
            "The service behind this tool cannot serve anybody at the moment; try again when the time that it asks for is over.",
            *retry_after,
        ),
        ForwardError::CircuitOpen { retry_after } => Answer::later(
            StatusCode::SERVICE_UNAVAILABLE,
            "connector_unavailable",
            Fault::Connector,
            "The service behind this tool has failed again and again, and the call was not made; try again shortly.",
            *retry_after,
        ),
        ForwardError::Upgraded => Answer::new(
            StatusCode::BAD_GATEWAY,
            "connector_upgraded",
            Fault::Connector,
            "The service behind this tool answered in another protocol than HTTP; give the request id to the gateway's operators.",
        ),
        ForwardError::Address => {
            Answer::bad_request("request_target_invalid", "The agent has to send a shorter path and query.")
        }
        ForwardError::UploadStalled => Answer::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_stalled",
            Fault::Agent,
            "The agent has to send the body of its request without long pauses.",
        ),
        ForwardError::UploadBroke => Answer::bad_request(
            "request_broke_off",
            "The agent has to send the body of its request to its end.",
        ),
    }
}

/// The service throttles. The next call of the same person gets the same answer, whether or not the service was asked.
const fn throttled(retry_after: Duration) -> Answer {
    Answer::later(
        StatusCode::TOO_MANY_REQUESTS,
        "connector_throttled",
        Fault::Connector,
        "The service behind this tool has had too many requests; try again when the time that it asks for is over.",
        retry_after,
    )
}
