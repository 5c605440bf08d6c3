//! Keeps an authorization server from being asked more than it can bear, and the callers from waiting for one that is
//! down: a concurrency cap, one deadline for all attempts, a few retries, a circuit breaker, and obedience to
//! throttling.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::error_response::ErrorClass;
use super::exchange::ExchangeError;
use crate::identity::IssuerName;
use crate::metrics::Metrics;
use crate::sparing::{Circuit, Probe, RetryBudget, Trial, pause_before};

/// Most exchanges at a time with one server. More wait for their turn, within the deadline.
const CONCURRENT_MAX: usize = 64;
/// Longest time for an exchange: the wait for a turn, all attempts, and the pauses between them.
pub(super) const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that had less time than this, because another one used it up, is not held to have failed.
const FAIR_TIME: Duration = Duration::from_secs(3);
/// Most attempts for one exchange.
const ATTEMPTS_MAX: u32 = 3;
/// How long a server is left alone that throttles and does not say for how long.
const THROTTLED_FOR: Duration = Duration::from_secs(10);

/// The protection of one authorization server. It outlives reloads.
pub struct Protection {
    issuer: IssuerName,
    turns: Semaphore,
    retries: RetryBudget,
    circuit: Circuit<()>,
    /// The server wants to be left alone until then.
    throttled_until: Mutex<Option<Instant>>,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protection").field("issuer", &self.issuer).finish_non_exhaustive()
    }
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
        let (watched, told) = (issuer.clone(), Arc::clone(&metrics));
        metrics.add_issuer(&issuer);
        Self {
            issuer,
            turns: Semaphore::new(CONCURRENT_MAX),
            retries: RetryBudget::new(),
            // The gateway asks with one identity: all exchanges fail alike.
            circuit: Circuit::new(EXCHANGE_TIMEOUT, move |open| told.set_circuit_open(&watched, open)),
            throttled_until: Mutex::default(),
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
        self.retries.save();
        for tried in 1.. {
            let result = attempt().await;
            let verdict = result.as_ref().err().map_or(Verdict::Alive, verdict);
            self.judge(&verdict);
            let again = matches!(verdict, Verdict::Fails) && tried < ATTEMPTS_MAX && self.retries.spend();
            if !again {
                return result;
            }
            self.metrics.exchange_retried(&self.issuer);
            tokio::time::sleep(pause_before(tried)).await;
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
        self.leaves_alone()?;
        self.circuit.check(Trial::Whole, || ()).map_err(|retry_after| self.circuit_open(retry_after))
    }

    /// Lets an exchange through, unless the circuit is open or the server wants to be left alone.
    fn admit(&self) -> Result<Probe<'_, ()>, ExchangeError> {
        self.leaves_alone()?;
        self.circuit.admit(Trial::Whole, || ()).map_err(|retry_after| self.circuit_open(retry_after))
    }

    fn leaves_alone(&self) -> Result<(), ExchangeError> {
        let now = Instant::now();
        match *self.throttled_until() {
            Some(until) if until > now => {
                Err(ExchangeError::LeftAlone { issuer: self.issuer.clone(), retry_after: until - now })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn circuit_open(&self, retry_after: Duration) -> ExchangeError {
        ExchangeError::CircuitOpen { issuer: self.issuer.clone(), retry_after }
    }

    fn judge(&self, verdict: &Verdict) {
        match verdict {
            Verdict::Alive => self.circuit.succeeded(),
            Verdict::Throttles(pause) => {
                *self.throttled_until() = Some(Instant::now() + *pause);
                self.circuit.succeeded();
            }
            Verdict::Fails | Verdict::FailsSlowly => self.circuit.failed(None),
        }
    }

    fn throttled_until(&self) -> MutexGuard<'_, Option<Instant>> {
        // It is whole after every change.
        self.throttled_until.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::error_response::{ErrorResponse, Word};
    use http::StatusCode;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// How many failures in a row open the circuit, and for how long.
    const FAILURES_TO_OPEN: u32 = 5;
    const OPEN_FOR: Duration = Duration::from_secs(5);

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
