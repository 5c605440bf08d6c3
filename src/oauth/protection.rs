//! Keeps an authorization server from being asked more than it can bear, and the callers from waiting for one that is
//! down: a concurrency cap, one deadline for all attempts, a few retries, a circuit breaker, and obedience to
//! throttling.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::error_response::ErrorClass;
use super::exchange::ExchangeError;
use crate::identity::IssuerName;
use crate::metrics::Metrics;

/// Most exchanges at a time with one server. More wait for their turn, within the deadline.
const CONCURRENT_MAX: usize = 64;
/// Longest time for an exchange: the wait for a turn, all attempts, and the pauses between them.
pub(super) const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that had less time than this, because another one used it up, is not held to have failed.
const FAIR_TIME: Duration = Duration::from_secs(3);
/// Most attempts for one exchange.
const ATTEMPTS_MAX: u32 = 3;
/// The longest pause before the second attempt; it doubles with each. The pause is drawn evenly from nothing to that
/// (full jitter), so that callers who failed together do not come back together.
const FIRST_PAUSE_MAX: Duration = Duration::from_millis(100);
/// How many exchanges pay for one retry: retries add at most a tenth to what a struggling server is asked.
const EXCHANGES_PER_RETRY: u64 = 10;
/// How many retries can be saved up.
const SAVED_RETRIES_MAX: u64 = 10;
/// How many failures in a row open the circuit.
const FAILURES_TO_OPEN: u32 = 5;
/// How long an open circuit refuses before it lets one exchange try.
const OPEN_FOR: Duration = Duration::from_secs(5);
/// How long a server is left alone that throttles and does not say for how long.
const THROTTLED_FOR: Duration = Duration::from_secs(10);

/// The protection of one authorization server. It outlives reloads.
pub struct Protection {
    issuer: IssuerName,
    turns: Semaphore,
    /// Retries that have been paid for, in parts of [`EXCHANGES_PER_RETRY`].
    saved: AtomicU64,
    state: Mutex<State>,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protection").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    failures: u32,
    /// While set, the circuit is open; from then on one exchange may try.
    open_until: Option<Instant>,
    /// The server wants to be left alone until then.
    throttled_until: Option<Instant>,
}

/// What an attempt says about the server.
enum Verdict {
    /// It is there, whatever it said.
    Alive,
    /// It wants to be left alone.
    Throttles(Duration),
    /// It has a problem that may pass at once.
    Fails,
    /// It has a problem, and another attempt would only make callers wait longer.
    FailsSlowly,
}

impl Protection {
    /// For the server of this issuer.
    pub fn new(issuer: IssuerName, metrics: Arc<Metrics>) -> Self {
        metrics.set_circuit_open(&issuer, false);
        Self {
            issuer,
            turns: Semaphore::new(CONCURRENT_MAX),
            saved: AtomicU64::new(SAVED_RETRIES_MAX * EXCHANGES_PER_RETRY),
            state: Mutex::default(),
            metrics,
        }
    }

    /// Runs an exchange under protection. `attempt` makes one attempt, anew each time.
    ///
    /// # Errors
    ///
    /// That of the last attempt, [`ExchangeError::TimedOut`] at the deadline, and without any attempt
    /// [`ExchangeError::CircuitOpen`] or [`ExchangeError::LeftAlone`].
    pub async fn run<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, ExchangeError>
    where
        F: Future<Output = Result<T, ExchangeError>>,
    {
        self.run_within(EXCHANGE_TIMEOUT, attempt).await
    }

    /// Runs an exchange under protection as [`run`](Self::run) does, in the `time` that is left for it.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn run_within<T, F>(&self, time: Duration, attempt: impl Fn() -> F) -> Result<T, ExchangeError>
    where
        F: Future<Output = Result<T, ExchangeError>>,
    {
        let attempts = async {
            let _turn = self.turns.acquire().await.expect("nobody closes it");
            let probe = self.admit()?;
            let result = self.attempts(attempt).await;
            // The verdict is in: nobody has to hear that the probe was given up.
            probe.done();
            result
        };
        tokio::time::timeout(time, attempts).await.unwrap_or_else(|_| {
            if time >= FAIR_TIME {
                self.judge(&Verdict::FailsSlowly);
            }
            Err(ExchangeError::TimedOut { issuer: self.issuer.clone(), waited: time })
        })
    }

    async fn attempts<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, ExchangeError>
    where
        F: Future<Output = Result<T, ExchangeError>>,
    {
        self.save();
        for tried in 1.. {
            let result = attempt().await;
            let verdict = result.as_ref().err().map_or(Verdict::Alive, verdict);
            self.judge(&verdict);
            let again = matches!(verdict, Verdict::Fails) && tried < ATTEMPTS_MAX && self.spend();
            if !again {
                return result;
            }
            self.metrics.exchange_retried(&self.issuer);
            tokio::time::sleep(FIRST_PAUSE_MAX.mul_f64(f64::from(1 << (tried - 1)) * random_fraction()))
                .await;
        }
        unreachable!("the last attempt returns")
    }

    /// Counts an exchange. `outcome` is `issued`, or one of `ExchangeError::outcome`.
    pub fn exchanged(&self, outcome: &'static str, took: Duration) {
        self.metrics.exchanged(&self.issuer, outcome, took);
    }

    /// Whether an exchange would be let through now: whoever has something to do before it asks first.
    ///
    /// # Errors
    ///
    /// [`ExchangeError::CircuitOpen`] or [`ExchangeError::LeftAlone`].
    pub fn check(&self) -> Result<(), ExchangeError> {
        let now = Instant::now();
        self.refuses(&self.state(), now).map_or(Ok(()), Err)
    }

    fn refuses(&self, state: &State, now: Instant) -> Option<ExchangeError> {
        let issuer = self.issuer.clone();
        if let Some(until) = state.throttled_until.filter(|until| *until > now) {
            return Some(ExchangeError::LeftAlone { issuer, retry_after: until - now });
        }
        let until = state.open_until.filter(|until| *until > now)?;
        Some(ExchangeError::CircuitOpen { issuer, retry_after: until - now })
    }

    /// Lets an exchange through, unless the circuit is open or the server wants to be left alone.
    fn admit(&self) -> Result<Probe<'_>, ExchangeError> {
        let now = Instant::now();
        let mut state = self.state();
        if let Some(refused) = self.refuses(&state, now) {
            return Err(refused);
        }
        match state.open_until {
            None => Ok(Probe(None)),
            // This one tries; the others are refused until it has come back, or given up.
            Some(_) => {
                state.open_until = Some(now + EXCHANGE_TIMEOUT);
                Ok(Probe(Some(self)))
            }
        }
    }

    fn judge(&self, verdict: &Verdict) {
        let now = Instant::now();
        let mut state = self.state();
        match verdict {
            Verdict::Alive => *state = State { throttled_until: state.throttled_until, ..State::default() },
            Verdict::Throttles(pause) => {
                *state = State { throttled_until: Some(now + *pause), ..State::default() };
            }
            Verdict::Fails | Verdict::FailsSlowly => {
                state.failures = state.failures.saturating_add(1);
                if state.failures >= FAILURES_TO_OPEN {
                    state.open_until = Some(now + OPEN_FOR);
                }
            }
        }
        self.metrics.set_circuit_open(&self.issuer, state.open_until.is_some());
    }

    /// An exchange pays its part of a retry.
    fn save(&self) {
        let full = SAVED_RETRIES_MAX * EXCHANGES_PER_RETRY;
        let _ = self
            .saved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| Some((saved + 1).min(full)));
    }

    /// Whether a retry has been paid for. It is then spent.
    fn spend(&self) -> bool {
        let spent = |saved: u64| saved.checked_sub(EXCHANGES_PER_RETRY);
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent).is_ok()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is whole after every change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one exchange that tries whether an open circuit can be closed. When it is given up, the next one may.
struct Probe<'a>(Option<&'a Protection>);

impl Probe<'_> {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        if let Some(protection) = self.0 {
            let mut state = protection.state();
            if state.open_until.is_some() {
                state.open_until = Some(Instant::now());
            }
        }
    }
}

fn verdict(error: &ExchangeError) -> Verdict {
    match error {
        ExchangeError::Refused { refused, .. } => match refused.class {
            // Entra's 50196 is about one request that came too often, and not about the server.
            ErrorClass::Throttled { .. } if refused.is_about_one_request() => Verdict::Alive,
            ErrorClass::Throttled { retry_after } => Verdict::Throttles(retry_after.unwrap_or(THROTTLED_FOR)),
            ErrorClass::Unavailable { retry_after: Some(_) } => Verdict::FailsSlowly,
            ErrorClass::Unavailable { retry_after: None } => Verdict::Fails,
            ErrorClass::StepUp { .. }
            | ErrorClass::Consent
            | ErrorClass::AdminConsent
            | ErrorClass::SubjectToken
            | ErrorClass::SignIn
            | ErrorClass::Blocked
            | ErrorClass::Misconfigured => Verdict::Alive,
        },
        ExchangeError::Unreachable { .. } => Verdict::Fails,
        ExchangeError::TimedOut { .. } => Verdict::FailsSlowly,
        ExchangeError::Unusable { .. }
        | ExchangeError::ScopesNotGranted { .. }
        | ExchangeError::MoreScopesGranted { .. }
        | ExchangeError::NoTokenEndpoint { .. }
        | ExchangeError::CircuitOpen { .. }
        | ExchangeError::LeftAlone { .. }
        | ExchangeError::Unprepared { .. }
        | ExchangeError::NotRecorded(_) => Verdict::Alive,
    }
}

/// A fraction between 0 and 1, drawn evenly. When the system has no randomness, the longest pause.
fn random_fraction() -> f64 {
    let mut bytes = [0; 2];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => f64::from(u16::from_be_bytes(bytes)) / f64::from(u16::MAX),
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::error_response::{ErrorResponse, Word};
    use http::StatusCode;
    use std::sync::atomic::AtomicUsize;

    fn protection() -> Protection {
        Protection::new(IssuerName::new("contoso"), Arc::default())
    }

    fn refused(class: ErrorClass) -> ExchangeError {
        let (status, error) = (StatusCode::BAD_REQUEST, Word::new("error"));
        let refused = ErrorResponse { class, status, error, codes: Vec::new(), correlation_id: None };
        let issuer = IssuerName::new("contoso");
        ExchangeError::Refused { issuer, refused: Box::new(refused), consent_url: None }
    }

    fn down() -> ExchangeError {
        refused(ErrorClass::Unavailable { retry_after: None })
    }

    /// Runs exchanges that all end with `error`; how many attempts they made.
    async fn attempts(protection: &Protection, exchanges: usize, error: &ExchangeError) -> usize {
        let made = AtomicUsize::new(0);
        for _ in 0..exchanges {
            let attempt = || async {
                made.fetch_add(1, Ordering::Relaxed);
                Err::<(), _>(error.clone())
            };
            protection.run(attempt).await.expect_err("an error of the test");
        }
        made.into_inner()
    }

    async fn succeed(protection: &Protection) -> Result<(), ExchangeError> {
        protection.run(|| async { Ok(()) }).await
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_may_pass_at_once_is_tried_again() {
        assert_eq!(attempts(&protection(), 1, &down()).await, 3);
        for error in [
            refused(ErrorClass::Blocked),
            refused(ErrorClass::Throttled { retry_after: None }),
            refused(ErrorClass::Unavailable { retry_after: Some(Duration::from_secs(1)) }),
            ExchangeError::TimedOut { issuer: IssuerName::new("contoso"), waited: Duration::ZERO },
            ExchangeError::Unusable { issuer: IssuerName::new("contoso"), why: "of the test" },
        ] {
            assert_eq!(attempts(&protection(), 1, &error).await, 1, "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retries_are_a_tenth_of_exchanges_at_most() {
        let protection = protection();
        let mut made = 0;
        for _ in 0..100 {
            made += attempts(&protection, 1, &down()).await;
            succeed_once_closed(&protection).await;
        }
        // 200 exchanges, what they pay for, and what was saved before.
        assert!((100..=100 + 20 + 10).contains(&made), "{made}");
    }

    async fn succeed_once_closed(protection: &Protection) {
        tokio::time::sleep(OPEN_FOR).await;
        succeed(protection).await.expect("the circuit is closed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_fails_again_and_again_is_left_alone_until_a_probe_succeeds() {
        let protection = protection();
        attempts(&protection, 2, &down()).await;
        let open = succeed(&protection).await.expect_err("the circuit is open");
        assert!(matches!(open, ExchangeError::CircuitOpen { .. }), "{open}");
        tokio::time::sleep(OPEN_FOR).await;
        // The probe fails, and everybody waits again.
        attempts(&protection, 1, &down()).await;
        succeed(&protection).await.expect_err("the circuit is open");
        tokio::time::sleep(OPEN_FOR).await;
        succeed(&protection).await.expect("the probe");
        succeed(&protection).await.expect("the circuit is closed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_another_one_left_no_time_has_not_failed() {
        async fn times_out_within(protection: &Protection, time: Duration) {
            for _ in 0..FAILURES_TO_OPEN {
                let attempt = std::future::pending::<Result<(), ExchangeError>>;
                let error = protection.run_within(time, attempt).await.expect_err("too late");
                assert!(matches!(error, ExchangeError::TimedOut { waited, .. } if waited == time), "{error}");
            }
        }
        let protection = protection();
        times_out_within(&protection, Duration::from_secs(1)).await;
        protection.check().expect("it is asked as before");
        succeed(&protection).await.expect("it is asked as before");
        times_out_within(&protection, FAIR_TIME).await;
        protection.check().expect_err("it had its time");
        succeed(&protection).await.expect_err("it had its time");
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_at_a_time_and_one_that_is_given_up_is_not_waited_for() {
        let protection = protection();
        attempts(&protection, 2, &down()).await;
        tokio::time::sleep(OPEN_FOR).await;
        {
            let mut probe = std::pin::pin!(protection.run(std::future::pending::<Result<(), ExchangeError>>));
            assert!(futures_util::poll!(probe.as_mut()).is_pending());
            succeed(&protection).await.expect_err("there is a probe already");
        }
        succeed(&protection).await.expect("the next probe");
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_is_obeyed_and_never_opens_the_circuit() {
        let protection = protection();
        let throttled = refused(ErrorClass::Throttled { retry_after: Some(Duration::from_secs(7)) });
        for _ in 0..20 {
            assert_eq!(attempts(&protection, 1, &throttled).await, 1);
            let left_alone = succeed(&protection).await.expect_err("it wants to be left alone");
            assert!(matches!(left_alone, ExchangeError::LeftAlone { .. }), "{left_alone}");
            tokio::time::sleep(Duration::from_secs(7)).await;
        }
        succeed(&protection).await.expect("the circuit is closed");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_deadline() {
        let protection = protection();
        let started = Instant::now();
        let error = protection.run(std::future::pending::<Result<(), _>>).await.expect_err("too slow");
        assert!(matches!(error, ExchangeError::TimedOut { .. }), "{error}");
        assert_eq!(started.elapsed(), EXCHANGE_TIMEOUT);
    }
}
