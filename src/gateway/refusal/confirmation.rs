//! Refusals of calls that their person has to agree to.

use http::StatusCode;

use crate::audit::Fault;
use crate::gateway::answer::Answer;
use crate::gateway::confirmation::ConfirmError;

/// What the agent hears.
pub(super) fn answer_to_confirmation(error: &ConfirmError) -> Answer {
    match error {
        ConfirmError::Required { url, .. } => Answer {
            confirm_url: Some(url.clone()),
            ..Answer::new(
                StatusCode::PRECONDITION_REQUIRED,
                "confirmation_required",
                Fault::User,
                "Open the link, read what the agent wants to do, and agree or decline; then have the agent try again.",
            )
        },
        ConfirmError::Declined => Answer::forbidden(
            "confirmation_declined",
            Fault::User,
            "You declined this call, so it did not run, and the agent should not try it again.",
        ),
        ConfirmError::Expired => Answer::forbidden(
            "confirmation_expired",
            Fault::User,
            "The time to agree to this call is over, so it did not run; if you still want it, have the agent try again.",
        ),
        ConfirmError::Unshowable(_) => Answer::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "confirmation_impossible",
            Fault::Agent,
            "You have to agree to this call, and it cannot be shown to you completely: the agent has to send it as JSON, a form or \
             text, in UTF-8, without a content encoding, and at most 64 KiB of it.",
        ),
        ConfirmError::NobodyToAsk => Answer::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "confirmation_unavailable",
            Fault::Gateway,
            "You have to agree to this call, and the gateway is not set up to ask you; give the request id to its operators.",
        ),
    }
}
