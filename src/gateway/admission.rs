//! Whether the limits let a permitted call through, and its place at the connector when all else is ready.

use super::call::Call;
use super::forward::ForwardError;
use super::mcp::Said;
use super::routes::Connector;
use super::upload::UploadBody;
use crate::audit::QueueEnd;
use crate::limit::{Admitted, Asked, LimitError, Place};
use crate::policy::Permit;

/// Lets a permitted call through, before anything is obtained for it.
///
/// # Errors
///
/// [`LimitError`] when a limit is used up, or the call could not be expected to get a place at the connector in time.
pub fn admit<'a>(
    connector: &'a Connector,
    permit: &Permit,
    call: &mut Call,
) -> Result<Admitted<'a>, LimitError> {
    let admitted = connector.limits.admit(permit, takes_place(call));
    if let Err(LimitError::Used { limit, .. }) = &admitted {
        call.record.limit = Some(limit.name.clone());
    }
    admitted
}

/// Waits for a place at the connector, where none is free, with this `body` of the agent's to come.
///
/// # Errors
///
/// [`ForwardError`] when there is none in time, or the agent breaks off.
pub async fn place(
    admitted: &Admitted<'_>,
    body: &mut UploadBody,
    call: &mut Call,
) -> Result<Place, ForwardError> {
    let waiting = match admitted.ask()? {
        Asked::Place(place) => return Ok(place),
        Asked::Waiting(waiting) => waiting,
    };
    call.waits_for_place();
    let place = tokio::select! {
        biased;
        place = admitted.wait(waiting) => place.map_err(ForwardError::from),
        () = body.read_ahead() => Err(ForwardError::UploadBroke),
    };
    call.waited_for_place(match &place {
        Ok(_) => QueueEnd::Served,
        Err(ForwardError::Busy(_)) => QueueEnd::TimedOut,
        Err(_) => QueueEnd::Left,
    });
    body.set_out();
    place
}

/// Whether a call is work for its connector. What ends work there, or tells of an answer that work waits for, must not wait for
/// that work; and a stream that is kept open to hear of news would keep its place for hours.
fn takes_place(call: &Call) -> bool {
    match call.mcp.as_ref().map(|spoken| &spoken.said) {
        None => true,
        Some(Said::Request { method, .. }) => method.is_work(),
        Some(Said::Nothing | Said::Unread(_) | Said::Stream | Said::End) => false,
    }
}
