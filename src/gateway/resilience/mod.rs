//! How a connector is treated that throttles or fails: what may be repeated is tried again, a person whom it throttles is answered
//! in its place until it wants to be asked again, and when it fails again and again nobody asks it for a moment.
//!
//! As long as nothing of this happens, a call pays for it with a look at a few numbers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};

use super::forward::ForwardError;
use super::tool_call::CallBody;
use super::upload::UploadBody;
use crate::identity::{Issuer, Person, Subject, Tenant};
use crate::metrics::ConnectorMetrics;
use crate::policy::Permit;
use crate::sparing::{Circuit, Probe, RetryBudget, Trial, retry_after};

mod attempts;
mod repeatable;
mod throttled;

pub use attempts::Attempts;
pub use repeatable::{is_idempotent_message, is_idempotent_operation};

use throttled::{Seen, Throttled};

/// How long a request that tries whether a connector is back has, before the next one may: no longer than the circuit is open
/// otherwise, since it may be a call that takes a minute.
const PROBE_TIME: Duration = Duration::from_secs(5);
/// How long the body of such a request is waited for. A message or a form comes right after its head.
const PROBE_BODY_TIME: Duration = Duration::from_millis(100);
/// Longest delay that is passed on. An agent that waits a day can as well ask again.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);

/// What is known of one connector's troubles. It outlives reloads while the connector stays the same.
pub struct Resilience {
    circuit: Circuit<Sender>,
    retries: RetryBudget,
    throttled: Throttled,
    metrics: Arc<ConnectorMetrics>,
}

/// Whose request it is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Sender {
    issuer: Issuer,
    tenant: Tenant,
    subject: Subject,
}

impl Sender {
    fn of(permit: &Permit) -> Self {
        let caller = permit.caller();
        Self {
            issuer: caller.issuer().clone(),
            tenant: caller.tenant().clone(),
            subject: caller.subject().clone(),
        }
    }
}

impl fmt::Debug for Resilience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resilience").finish_non_exhaustive()
    }
}

impl Resilience {
    /// Of a connector that nothing is known of.
    pub fn new(metrics: Arc<ConnectorMetrics>) -> Self {
        let told = Arc::clone(&metrics);
        Self {
            circuit: Circuit::new(PROBE_TIME, move |open| told.set_circuit_open(open)),
            retries: RetryBudget::new(),
            throttled: Throttled::new(),
            metrics,
        }
    }

    /// Whether the connector is to be asked for what is permitted, with this body: asked before anything is obtained for the call, or anybody.
    ///
    /// # Errors
    ///
    /// [`ForwardError::LeftAlone`] or [`ForwardError::CircuitOpen`].
    pub fn check(&self, permit: &Permit, body: &CallBody) -> Result<(), ForwardError> {
        self.leaves_alone(permit)?;
        let trial = if body.is_whole() { Trial::Whole } else { Trial::Streamed };
        self.circuit.check(trial, || Sender::of(permit)).map_err(|retry_after| self.circuit_open(retry_after))
    }

    /// Whether nobody asks the connector, or one person alone does not, since it has failed again and again.
    pub fn is_circuit_open(&self) -> bool {
        self.circuit.is_open()
    }

    /// Drops what is remembered of a person.
    pub fn forget(&self, person: &Person) {
        self.throttled.forget(person);
    }

    /// Whether another attempt would be let through, with the copy of its body.
    fn admits(&self, permit: &Permit) -> bool {
        self.circuit.check(Trial::Whole, || Sender::of(permit)).is_ok()
    }

    /// Lets an attempt through. What has been found out since it was checked, or while it waited, counts.
    async fn admit(&self, permit: &Permit, body: &mut UploadBody) -> Result<Probe<'_, Sender>, ForwardError> {
        self.leaves_alone(permit)?;
        // One that tries whether the connector is back should not depend on its agent.
        let is_whole = !self.circuit.is_open()
            || body.comes_within(PROBE_BODY_TIME).await.map_err(|_| ForwardError::UploadBroke)?;
        let trial = if is_whole { Trial::Whole } else { Trial::Streamed };
        self.circuit.admit(trial, || Sender::of(permit)).map_err(|retry_after| self.circuit_open(retry_after))
    }

    fn leaves_alone(&self, permit: &Permit) -> Result<(), ForwardError> {
        match self.throttled.left(|| Seen::of(permit)) {
            Some(retry_after) => {
                self.metrics.spared_throttled();
                Err(ForwardError::LeftAlone { retry_after })
            }
            None => Ok(()),
        }
    }

    fn circuit_open(&self, retry_after: Duration) -> ForwardError {
        self.metrics.spared_circuit_open();
        ForwardError::CircuitOpen { retry_after }
    }

    /// Takes note of what became of an attempt.
    fn judge<B>(
        &self,
        permit: &Permit,
        probe: Probe<'_, Sender>,
        result: &Result<Response<B>, ForwardError>,
    ) {
        match result.as_ref().err().map(ForwardError::blame) {
            // It is there, whatever it says.
            None | Some(Blame::Nothing) => self.circuit.succeeded(),
            Some(Blame::Connector) => self.circuit.failed(None),
            Some(Blame::ConnectorOrRequest) => self.circuit.failed(Some(Sender::of(permit))),
            // Nobody knows. The next one may try.
            Some(Blame::Agent) => return,
        }
        probe.done();
        let throttled = |response: &&Response<B>| response.status() == StatusCode::TOO_MANY_REQUESTS;
        let delay =
            result.as_ref().ok().filter(throttled).and_then(|response| retry_after(response.headers()));
        if let Some(delay) = delay {
            self.throttled.remember(Seen::of(permit), delay);
        }
    }
}

/// What it says about a connector that there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blame {
    /// Nothing: it is there.
    Nothing,
    /// It cannot be reached, whatever is asked.
    Connector,
    /// It failed when it had this request, and might not with another.
    ConnectorOrRequest,
    /// Nothing: it was the agent that failed, or the gateway itself.
    Agent,
}

impl ForwardError {
    /// What it says about the connector.
    fn blame(&self) -> Blame {
        match self {
            Self::Unreachable(_) | Self::ConnectTimedOut | Self::Unsent(_) => Blame::Connector,
            Self::ResponseTimedOut | Self::Broke(_) => Blame::ConnectorOrRequest,
            Self::Upgraded | Self::Throttled { .. } | Self::NotReady { .. } => Blame::Nothing,
            Self::Address
            | Self::Exhausted(_)
            | Self::UploadStalled
            | Self::UploadBroke
            | Self::Busy(_)
            | Self::LeftAlone { .. }
            | Self::CircuitOpen { .. } => Blame::Agent,
        }
    }
}

/// The delay for which the agent has to come back, where that is all that an answer comes to.
fn only_a_delay<B>(response: &Response<B>) -> Option<ForwardError> {
    let delay = retry_after(response.headers()).map(|delay| delay.min(RETRY_AFTER_MAX));
    match (response.status(), delay) {
        (StatusCode::TOO_MANY_REQUESTS, retry_after) => Some(ForwardError::Throttled { retry_after }),
        (StatusCode::SERVICE_UNAVAILABLE, Some(retry_after)) => Some(ForwardError::NotReady { retry_after }),
        _ => None,
    }
}
