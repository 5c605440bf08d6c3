//! The attempts of one call: the first, and a few more where the connector throttles or fails and the call may be repeated.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use tokio::time::Instant;

use super::only_a_delay;
use crate::gateway::admission;
use crate::gateway::call::Call;
use crate::gateway::forward::ForwardError;
use crate::gateway::refusal::Refusal;
use crate::gateway::request::RequestError;
use crate::gateway::rewrite::Delegated;
use crate::gateway::routes::{AnswerBody, Connector, ConnectorAnswer};
use crate::gateway::tool_call::CallBody;
use crate::gateway::upload::{Upload, UploadBody};
use crate::limit::Admitted;
use crate::policy::Permit;
use crate::sparing::{pause_before, retry_after};

/// Most attempts for one call.
const ATTEMPTS_MAX: u32 = 3;
/// Longest that a call waits between its attempts, all pauses together. A person waits for it.
const PAUSES_MAX: Duration = Duration::from_secs(5);

/// How far the attempts of one call have come.
#[derive(Clone, Copy, Debug)]
pub struct Attempts {
    /// Whether what the call does is done once, however often it is made.
    is_idempotent: bool,
    /// Whether the connector is heard to the end though the agent leaves.
    outlives_agent: bool,
    made: u32,
    paused: Duration,
    /// From forwarding to the answer's first byte.
    latency: Duration,
}

/// Why there may be another attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setback {
    /// 429, with the delay where the connector says one.
    Throttled(Option<Duration>),
    /// 503, with the delay where the connector says one.
    Unavailable(Option<Duration>),
    /// No connection could be made.
    Unreachable,
    /// The connection was closed before anything was sent.
    Unsent,
    /// The connection broke, and nobody knows what the connector did before.
    Broke,
}

impl Setback {
    /// What went wrong; `None`: nothing, or nothing that another attempt could mend in time.
    fn of<B>(result: &Result<Response<B>, ForwardError>) -> Option<Self> {
        match result {
            Ok(response) if response.status() == StatusCode::TOO_MANY_REQUESTS => {
                Some(Self::Throttled(retry_after(response.headers())))
            }
            Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => {
                Some(Self::Unavailable(retry_after(response.headers())))
            }
            Ok(_) => None,
            Err(ForwardError::Unreachable(_)) => Some(Self::Unreachable),
            Err(ForwardError::Unsent(_)) => Some(Self::Unsent),
            Err(ForwardError::Broke(_)) => Some(Self::Broke),
            // The time is over, or it is not the connector that failed.
            Err(
                ForwardError::ConnectTimedOut
                | ForwardError::ResponseTimedOut
                | ForwardError::Upgraded
                | ForwardError::Address
                | ForwardError::Exhausted(_)
                | ForwardError::UploadStalled
                | ForwardError::UploadBroke
                | ForwardError::Throttled { .. }
                | ForwardError::NotReady { .. }
                | ForwardError::Busy(_)
                | ForwardError::LeftAlone { .. }
                | ForwardError::CircuitOpen { .. },
            ) => None,
        }
    }

    /// As it stands in metrics.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Throttled(_) => "throttled",
            Self::Unavailable(_) => "unavailable",
            Self::Unreachable => "unreachable",
            Self::Unsent => "unsent",
            Self::Broke => "broke",
        }
    }

    /// Whether the connector may have begun with what the call asks for.
    const fn may_have_begun(self) -> bool {
        match self {
            Self::Throttled(_) | Self::Unavailable(_) | Self::Broke => true,
            Self::Unreachable | Self::Unsent => false,
        }
    }

    /// How many attempts there may be at most. A connection that fails twice will fail again.
    const fn attempts_max(self) -> u32 {
        match self {
            Self::Throttled(_) | Self::Unavailable(_) => ATTEMPTS_MAX,
            Self::Unreachable | Self::Unsent | Self::Broke => 2,
        }
    }

    /// The delay that the connector wants.
    const fn delay(self) -> Duration {
        match self {
            Self::Throttled(Some(delay)) | Self::Unavailable(Some(delay)) => delay,
            Self::Throttled(None)
            | Self::Unavailable(None)
            | Self::Unreachable
            | Self::Unsent
            | Self::Broke => Duration::ZERO,
        }
    }
}

impl Attempts {
    /// None yet, of such a call.
    pub fn of(is_idempotent: bool, outlives_agent: bool) -> Self {
        let (paused, latency) = (Duration::ZERO, Duration::ZERO);
        Self { is_idempotent, outlives_agent, made: 0, paused, latency }
    }

    /// From forwarding to the answer's first byte, in all attempts, with the pauses that the connector wanted.
    pub fn latency(&self) -> Duration {
        self.latency
    }

    /// How long to wait before another attempt; `None`: there is none. `left` is what the call still has of its time, `jitter`
    /// what is drawn so that not all come back together.
    fn pause(&self, setback: Setback, left: Duration, jitter: Duration) -> Option<Duration> {
        let may_repeat = self.is_idempotent || !setback.may_have_begun();
        let pause = setback.delay().saturating_add(jitter);
        let fits = pause < left && pause.saturating_add(self.paused) <= PAUSES_MAX;
        (may_repeat && fits && self.made < setback.attempts_max()).then_some(pause)
    }
}

impl Connector {
    /// Forwards a request with this body when it has a place at the connector, and waits for the head of the answer; where the connector
    /// throttles or fails, more than once, within `attempts`. `delegate` makes the request, anew each time.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when there is no answer, or none but that the agent has to come back later.
    pub async fn forward(
        &self,
        permit: &Permit,
        admitted: &Admitted<'_>,
        delegate: impl Fn() -> Result<Delegated, RequestError>,
        body: CallBody,
        attempts: Attempts,
        call: &mut Call,
    ) -> Result<ConnectorAnswer, Refusal> {
        let (body, upload) = match body {
            CallBody::Streamed(body) => UploadBody::new(body, self.body_timeout()),
            CallBody::Read(body) => UploadBody::read(body),
        };
        call.track_upload(&upload);
        self.resilience.retries.save();
        self.attempt(permit, admitted, delegate, (body, upload), attempts, call).await
    }

    /// Forwards a request with another credential, and the copy of its body that was kept, after so many `attempts` without it.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward).
    pub async fn forward_again(
        &self,
        permit: &Permit,
        admitted: &Admitted<'_>,
        delegate: impl Fn() -> Result<Delegated, RequestError>,
        body: Bytes,
        attempts: Attempts,
        call: &mut Call,
    ) -> Result<ConnectorAnswer, Refusal> {
        self.attempt(permit, admitted, delegate, UploadBody::again(body), attempts, call).await
    }

    async fn attempt(
        &self,
        permit: &Permit,
        admitted: &Admitted<'_>,
        delegate: impl Fn() -> Result<Delegated, RequestError>,
        (mut body, mut upload): (UploadBody, Arc<Upload>),
        mut attempts: Attempts,
        call: &mut Call,
    ) -> Result<ConnectorAnswer, Refusal> {
        let mut place = admission::place(admitted, &mut body, call).await?;
        let (began, time) = (Instant::now(), self.response_timeout());
        let mut left = time;
        let result = loop {
            let delegated = delegate()?;
            let probe = self.resilience.admit(permit, &mut body).await?;
            attempts.made += 1;
            call.record.attempts += 1;
            let mut result = self.send(delegated, body, &upload, left, attempts.outlives_agent, place).await;
            self.resilience.judge(permit, probe, &result);
            let Some((setback, pause)) = self.before_another(&attempts, &result, permit, began) else {
                break result;
            };
            let Some(kept) = upload.take_whole().filter(|_| self.resilience.retries.spend()) else {
                break result;
            };
            // Others have the place meanwhile; and where one of them has it still, the connector has answered all that it can.
            if let Ok(response) = &mut result {
                response.body_mut().leave_place();
            }
            tokio::time::sleep(pause).await;
            attempts.paused += pause;
            call.record.paused += pause;
            let Some(again) = admitted.again() else { break result };
            place = again;
            drop(result);
            self.resilience.metrics.retried(setback.as_str());
            left = time.saturating_sub(began.elapsed());
            (body, upload) = UploadBody::again(kept);
        };
        attempts.latency += began.elapsed();
        let response = result?;
        call.record.connector_request_id = request_id(response.headers());
        match only_a_delay(&response) {
            Some(delay) => Err(delay.into()),
            None => Ok(ConnectorAnswer::of(response, upload, attempts, self.idle_timeout())),
        }
    }

    /// Why there is to be another attempt, and after which pause; `None`: there is none.
    fn before_another(
        &self,
        attempts: &Attempts,
        result: &Result<Response<AnswerBody>, ForwardError>,
        permit: &Permit,
        began: Instant,
    ) -> Option<(Setback, Duration)> {
        let setback = Setback::of(result).filter(|_| self.repeats)?;
        let left = self.response_timeout().saturating_sub(began.elapsed());
        let pause = attempts.pause(setback, left, pause_before(attempts.made))?;
        let is_admitted = self.resilience.admits(permit);
        is_admitted.then_some((setback, pause))
    }
}

/// The names that connectors have for the identifier of a request, the best first.
const REQUEST_IDS: [HeaderName; 3] = [
    HeaderName::from_static("request-id"),
    HeaderName::from_static("x-ms-request-id"),
    HeaderName::from_static("x-request-id"),
];

/// The identifier that a connector gives to a request.
fn request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let rank = |name: &HeaderName| REQUEST_IDS.iter().position(|known| known == name);
    let found = headers.iter().filter_map(|(name, value)| Some((rank(name)?, value)));
    found.min_by_key(|(rank, _)| *rank).map(|(_, value)| value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest that is drawn before the second attempt.
    const JITTER: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(60);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn made(made: u32, is_idempotent: bool) -> Attempts {
        Attempts { made, ..Attempts::of(is_idempotent, false) }
    }

    #[track_caller]
    fn check(setback: Setback, made_before: u32, idempotent: bool, other: bool) {
        let is_tried =
            |is_idempotent| made(made_before, is_idempotent).pause(setback, LONG, JITTER).is_some();
        assert_eq!((is_tried(true), is_tried(false)), (idempotent, other), "{setback:?} after {made_before}");
    }

    #[test]
    fn what_is_not_idempotent_is_tried_again_only_where_nothing_was_sent() {
        for setback in [Setback::Throttled(None), Setback::Unavailable(None)] {
            check(setback, 1, true, false);
            check(setback, 2, true, false);
            check(setback, 3, false, false);
        }
        check(Setback::Broke, 1, true, false);
        check(Setback::Broke, 2, false, false);
        for setback in [Setback::Unreachable, Setback::Unsent] {
            check(setback, 1, true, true);
            check(setback, 2, false, false);
        }
    }

    #[test]
    fn a_delay_is_waited_for_that_is_short_and_fits_into_the_time_that_is_left() {
        let pause = |setback, left| made(1, true).pause(setback, left, JITTER);
        for of in [Setback::Throttled, Setback::Unavailable] {
            assert_eq!(pause(of(None), LONG), Some(JITTER));
            assert_eq!(pause(of(Some(Duration::ZERO)), LONG), Some(JITTER));
            assert_eq!(pause(of(Some(seconds(4))), LONG), Some(seconds(4) + JITTER));
            assert_eq!(pause(of(Some(seconds(5))), LONG), None, "it is too long");
            assert_eq!(pause(of(Some(Duration::MAX)), LONG), None);
            assert_eq!(pause(of(Some(seconds(4))), seconds(4)), None, "there is no time for the attempt");
            assert_eq!(pause(of(None), Duration::ZERO), None);
        }
    }

    #[test]
    fn all_pauses_together_are_short() {
        let waited = Attempts { paused: seconds(3), ..made(2, true) };
        assert!(waited.pause(Setback::Throttled(Some(seconds(1))), LONG, JITTER).is_some());
        assert_eq!(waited.pause(Setback::Throttled(Some(seconds(2))), LONG, JITTER), None);
    }

    #[test]
    fn what_no_attempt_can_mend_in_time_is_no_setback() {
        let answered = |status: u16| {
            let response = Response::builder().status(status).body(()).expect("an answer of the test");
            Setback::of(&Ok(response))
        };
        assert_eq!(answered(429), Some(Setback::Throttled(None)));
        assert_eq!(answered(503), Some(Setback::Unavailable(None)));
        for status in [200, 302, 401, 404, 408, 500, 502, 504] {
            assert_eq!(answered(status), None, "{status}");
        }
        let late = [ForwardError::ConnectTimedOut, ForwardError::ResponseTimedOut, ForwardError::UploadBroke];
        assert!(late.into_iter().all(|error| Setback::of::<()>(&Err(error)).is_none()));
    }
}
