//! Refusals of calls that are too many: of one person or agent, of all together, or at a time.

use http::StatusCode;

use crate::audit::Fault;
use crate::gateway::answer::Answer;
use crate::limit::{Busy, Each, LimitError};

pub(super) fn answer_to_limit(error: &LimitError) -> Answer {
    match error {
        LimitError::Used { limit, retry_after } => Answer::later(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            Fault::Agent,
            match limit.each {
                Each::Person => {
                    "You have made as many of these calls as you may for now; try again after the time given in this answer."
                }
                Each::Agent => {
                    "The agent has made as many of these calls as it may for now; it can try again after the time given in this answer."
                }
                Each::Total => {
                    "As many of these calls have been made as there may be for now; try again after the time given in this answer."
                }
            },
            *retry_after,
        ),
        LimitError::Busy(busy) => answer_to_busy(*busy),
    }
}

pub(super) fn answer_to_busy(busy: Busy) -> Answer {
    Answer::later(
        StatusCode::SERVICE_UNAVAILABLE,
        "connector_busy",
        Fault::Connector,
        "The service behind this tool has as many calls to do as it may have at a time; the call was not made, so try again shortly.",
        busy.retry_after,
    )
}
