//! Refusals of calls that their person has to agree to.

use http::StatusCode;

use crate::audit::Fault;
use crate::confirmation;
use crate::gateway::answer::Answer;
use crate::gateway::confirmation::{ConfirmError, form};
use crate::gateway::mcp::elicitation::{Elicits, Kind, Purpose, Question};
use crate::tool::Confirm;

/// The question as a client can ask it: by the page, where it can open one, and else in a form, where that is enough.
pub(super) fn question(asked: &confirmation::Question, url: &str, elicits: Elicits) -> Option<Question> {
    let purpose = |in_form| Purpose::Confirm { id: asked.id.to_string(), in_form };
    if elicits.url {
        let message = format!(
            "Read what the agent wants to do on \"{}\", and agree or decline.",
            asked.bound.connector
        );
        return Some(Question { purpose: purpose(false), kind: Kind::Url { url: url.to_owned(), message } });
    }
    let message = (asked.confirm == Confirm::Anywhere).then(|| form::text(asked))??;
    Some(Question { purpose: purpose(true), kind: Kind::Form { message, schema: form::schema() } })
}

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
        ConfirmError::Dismissed => Answer::forbidden(
            "confirmation_declined",
            Fault::User,
            "You closed the question about this call, so it did not run; have the agent try again to be asked again.",
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
