//! What the person behind a call is asked by the gateway, and what becomes of their answer.

use std::time::Instant;

use bytes::Bytes;
use http::Response;

use super::Gateway;
use super::answer::Answer;
use super::call::Call;
use super::mcp::elicitation::{Action, Asker, Purpose};
use super::refusal::{Asks, Refusal};
use crate::audit::RefusalNote;
use crate::clock::Now;
use crate::credential::ObtainError;
use crate::policy::Permit;

impl Gateway {
    /// What the person answered about their connection before the call went on, and when it goes on. That they go to its page does not
    /// say that they are done there, so the call waits for them a little. Whether there is a connection then is seen when it is
    /// looked for.
    ///
    /// # Errors
    ///
    /// [`ObtainError::Declined`] and [`ObtainError::Dismissed`].
    pub(super) async fn heed(&self, permit: &Permit, call: &mut Call) -> Result<Now, ObtainError> {
        let (arrived, request_id) = (call.arrived(), call.request_id());
        let answer = call.mcp.as_ref().and_then(|spoken| spoken.answers.as_ref());
        match answer.map(|answer| (&answer.purpose, answer.action)) {
            Some((Purpose::Connect { ticket }, Some(Action::Decline))) => {
                self.credentials.decline(permit, ticket, request_id, arrived);
                Err(ObtainError::Declined)
            }
            Some((Purpose::Connect { .. }, Some(Action::Cancel))) => Err(ObtainError::Dismissed),
            Some((Purpose::Connect { ticket }, Some(Action::Accept))) => {
                let began = Instant::now();
                self.credentials.wait_for_person(permit, ticket, request_id, arrived).await;
                call.waited_for_person(began.elapsed());
                Ok(Now::read())
            }
            Some((Purpose::Connect { .. }, None) | (Purpose::Confirm { .. }, _)) | None => Ok(arrived),
        }
    }

    /// A refusal as the agent hears it: as a question to its person, where there is one and the agent can ask it.
    pub(super) fn told(
        &self,
        refusal: &Refusal,
        answer: &Answer,
        note: &RefusalNote,
        call: &Call,
    ) -> Response<Bytes> {
        let (mcp, request_id) = (call.mcp.as_ref(), call.request_id());
        let (Some(caller), Some(connector)) = (&call.record.caller, &call.record.connector) else {
            return refusal.response(answer, note, mcp, None, request_id);
        };
        let asker = Asker { key: &self.states, caller, connector, now: call.arrived() };
        let elicits = mcp.map(|spoken| spoken.elicits).unwrap_or_default();
        let question = refusal.question(connector, elicits);
        let asks = question.as_ref().map(|question| Asks { asker: &asker, question });
        refusal.response(answer, note, mcp, asks, request_id)
    }
}
