//! A circuit breaker: a server that fails again and again is left alone for a moment, and then one request tries whether it is
//! back.
//!
//! Whoever can make their own requests fail must not take a server away from everybody. So one who fails alone, again and
//! again, is refused alone; all are, when several fail, or when it is no request's doing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many failures in a row open the circuit.
const FAILURES_TO_OPEN: u32 = 5;
/// How long an open circuit refuses before it lets one request try.
pub(super) const OPEN_FOR: Duration = Duration::from_secs(5);

/// The circuit of one server. `W` tells whose request it was, where that makes a difference.
pub struct Circuit<W> {
    /// Whether `state` has anything to say. While it has not, nobody looks, and nobody waits for a lock.
    troubled: AtomicBool,
    state: Mutex<State<W>>,
    probe_time: Duration,
    tell: Box<dyn Fn(bool) + Send + Sync>,
}

struct State<W> {
    /// Since the last success. Of several in a row by the same one, the first alone.
    failures: u32,
    /// Whose request failed last, and how many of theirs in a row.
    last: Option<(W, u32)>,
    open: Option<Open<W>>,
}

/// How much of a request that may try is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trial {
    /// All of it: what becomes of it is the server's doing alone.
    Whole,
    /// Its body is still to come. Whoever sends that slowly could try for ever, so it keeps nobody but its like from trying.
    Streamed,
}

/// The circuit is open.
struct Open<W> {
    /// From then on one request may try that is whole.
    until: Instant,
    /// And one that is not.
    until_streamed: Instant,
    /// For this one alone; `None`: for everybody.
    whom: Option<W>,
}

impl<W> Default for State<W> {
    fn default() -> Self {
        Self { failures: 0, last: None, open: None }
    }
}

impl<W: PartialEq + Clone> Circuit<W> {
    /// A closed one. A request that tries has `probe_time` before the next one may; `tell` hears whether the circuit is open,
    /// whenever that changes.
    pub fn new(probe_time: Duration, tell: impl Fn(bool) + Send + Sync + 'static) -> Self {
        tell(false);
        Self { troubled: AtomicBool::new(false), state: Mutex::default(), probe_time, tell: Box::new(tell) }
    }

    /// Whether a request would be let through now. One whose body is still to come may be whole by then.
    ///
    /// # Errors
    ///
    /// When it makes sense to ask again.
    pub fn check(&self, trial: Trial, who: impl FnOnce() -> W) -> Result<(), Duration> {
        if !self.troubled.load(Ordering::Acquire) {
            return Ok(());
        }
        let (state, now, who) = (self.state(), Instant::now(), who());
        match (trial, state.refuses(trial, now, &who)) {
            (_, None) => Ok(()),
            (Trial::Whole, Some(again)) => Err(again),
            // Its body may all be here by the time that it is sent.
            (Trial::Streamed, Some(again)) => {
                state.refuses(Trial::Whole, now, &who).map_or(Ok(()), |whole| Err(whole.min(again)))
            }
        }
    }

    /// Lets a request through, unless the circuit is open. What comes back is kept until it is known how the request ended.
    ///
    /// # Errors
    ///
    /// When it makes sense to ask again.
    pub fn admit(&self, trial: Trial, who: impl FnOnce() -> W) -> Result<Probe<'_, W>, Duration> {
        if !self.troubled.load(Ordering::Acquire) {
            return Ok(Probe(None));
        }
        let (who, now) = (who(), Instant::now());
        let mut state = self.state();
        if let Some(again) = state.refuses(trial, now, &who) {
            return Err(again);
        }
        match &mut state.open {
            // This one tries; the others are refused until it has come back, given up, or had its time.
            Some(open) if open.is_for(&who) => {
                let until = now + self.probe_time;
                *open.until(trial) = until;
                Ok(Probe(Some((self, trial, until))))
            }
            Some(_) | None => Ok(Probe(None)),
        }
    }

    /// The server is there, whatever it said.
    pub fn succeeded(&self) {
        if self.troubled.load(Ordering::Acquire) {
            let mut state = self.state();
            if state.open.is_some() {
                (self.tell)(false);
            }
            *state = State::default();
            self.troubled.store(false, Ordering::Release);
        }
    }

    /// The server failed, in a request of this one. `None`: whatever the request was, it would have failed.
    pub fn failed(&self, who: Option<W>) {
        let mut state = self.state();
        let alone = state.count(who);
        let whom = match (state.failures, alone) {
            (FAILURES_TO_OPEN.., _) => Some(None),
            (_, Some((who, FAILURES_TO_OPEN..))) => Some(Some(who)),
            _ => None,
        };
        if let Some(whom) = whom {
            if state.open.is_none() {
                (self.tell)(true);
            }
            let until = Instant::now() + OPEN_FOR;
            state.open = Some(Open { until, until_streamed: until, whom });
        }
        self.troubled.store(true, Ordering::Release);
    }

    /// Whether the circuit is open, and no request has succeeded since.
    pub fn is_open(&self) -> bool {
        self.troubled.load(Ordering::Acquire) && self.state().open.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State<W>> {
        // It is whole after every change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: PartialEq + Clone> State<W> {
    fn refuses(&self, trial: Trial, now: Instant, who: &W) -> Option<Duration> {
        let open = self.open.as_ref().filter(|open| open.is_for(who))?;
        let until = match trial {
            Trial::Whole => open.until,
            Trial::Streamed => open.until_streamed,
        };
        let left = until.saturating_duration_since(now);
        (!left.is_zero()).then_some(left.min(OPEN_FOR))
    }

    /// Counts a failure. Returns whose it was, and how many of theirs there have been in a row.
    fn count(&mut self, who: Option<W>) -> Option<(W, u32)> {
        let own = match (&who, &mut self.last) {
            (Some(who), Some((last, failures))) if who == last => {
                *failures = failures.saturating_add(1);
                *failures
            }
            _ => {
                self.failures = self.failures.saturating_add(1);
                1
            }
        };
        let who = who?;
        self.last = Some((who.clone(), own));
        Some((who, own))
    }
}

impl<W: PartialEq> Open<W> {
    fn is_for(&self, who: &W) -> bool {
        self.whom.as_ref().is_none_or(|whom| whom == who)
    }

    fn until(&mut self, trial: Trial) -> &mut Instant {
        match trial {
            Trial::Whole => &mut self.until,
            Trial::Streamed => &mut self.until_streamed,
        }
    }
}

/// A request that was let through; perhaps the one that tries whether an open circuit can be closed. When that one is given up,
/// the next one may.
pub struct Probe<'a, W: PartialEq + Clone>(Option<(&'a Circuit<W>, Trial, Instant)>);

impl<W: PartialEq + Clone> Probe<'_, W> {
    /// The circuit knows how it ended.
    pub fn done(mut self) {
        self.0 = None;
    }
}

impl<W: PartialEq + Clone> Drop for Probe<'_, W> {
    fn drop(&mut self) {
        // The circuit may have been opened anew since, or another one may try by now: that is not for this one to end.
        if let Some((circuit, trial, until)) = self.0
            && let Some(open) = &mut circuit.state().open
            && *open.until(trial) == until
        {
            *open.until(trial) = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Whoever it was who asked.
    type Who = &'static str;

    fn circuit() -> Circuit<Who> {
        Circuit::new(OPEN_FOR, |_| ())
    }

    fn fail(circuit: &Circuit<Who>, who: &[Option<Who>]) {
        who.iter().for_each(|who| circuit.failed(*who));
    }

    #[track_caller]
    fn check(circuit: &Circuit<Who>, who: Who, is_let_through: bool) {
        assert_eq!(circuit.check(Trial::Whole, || who).is_ok(), is_let_through, "{who}");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_that_are_no_requests_doing_open_it_for_everybody() {
        let circuit = circuit();
        fail(&circuit, &[None; 4]);
        check(&circuit, "ada", true);
        circuit.succeeded();
        fail(&circuit, &[None; 4]);
        check(&circuit, "ada", true);
        fail(&circuit, &[None]);
        check(&circuit, "ada", false);
        check(&circuit, "bob", false);
        assert!(circuit.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn one_whose_requests_alone_fail_is_refused_alone() {
        let circuit = circuit();
        fail(&circuit, &[Some("eve"); 4]);
        fail(&circuit, &[None]);
        fail(&circuit, &[Some("eve"); 96]);
        check(&circuit, "eve", false);
        check(&circuit, "ada", true);
        assert!(circuit.is_open());
        let ada = circuit.admit(Trial::Whole, || "ada").expect("she has done nothing");
        drop(ada);
        check(&circuit, "eve", false);
    }

    #[tokio::test(start_paused = true)]
    async fn several_whose_requests_fail_open_it_for_everybody() {
        let circuit = circuit();
        fail(&circuit, &[Some("ada"), Some("ada"), Some("bob"), Some("ada"), Some("bob")]);
        check(&circuit, "cid", true);
        fail(&circuit, &[Some("ada")]);
        check(&circuit, "cid", false);
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_tries_and_the_next_when_that_one_is_given_up_or_has_had_its_time() {
        let circuit = circuit();
        fail(&circuit, &[None; 5]);
        tokio::time::sleep(OPEN_FOR).await;
        let probe = circuit.admit(Trial::Whole, || "ada").expect("the first to try");
        let again = circuit.admit(Trial::Whole, || "bob").err().expect("somebody tries already");
        assert_eq!(again, OPEN_FOR);
        drop(probe);
        let _probe = circuit.admit(Trial::Whole, || "bob").expect("the first one was given up");
        tokio::time::sleep(OPEN_FOR).await;
        circuit.admit(Trial::Whole, || "cid").expect("that one has had its time").done();
        check(&circuit, "dan", false);
        circuit.succeeded();
        check(&circuit, "dan", true);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_given_up_late_does_not_end_the_time_of_another() {
        let circuit = circuit();
        fail(&circuit, &[None; 5]);
        tokio::time::sleep(OPEN_FOR).await;
        let late = circuit.admit(Trial::Whole, || "ada").expect("the first to try");
        tokio::time::sleep(OPEN_FOR).await;
        let _second = circuit.admit(Trial::Whole, || "bob").expect("that one has had its time");
        drop(late);
        check(&circuit, "cid", false);
    }

    #[tokio::test(start_paused = true)]
    async fn one_whose_body_is_still_to_come_keeps_nobody_from_trying_but_its_like() {
        let circuit = circuit();
        fail(&circuit, &[None; 5]);
        tokio::time::sleep(OPEN_FOR).await;
        let drips = circuit.admit(Trial::Streamed, || "eve").expect("the first to try");
        assert!(circuit.admit(Trial::Streamed, || "eve").is_err());
        check(&circuit, "ada", true);
        assert!(circuit.check(Trial::Streamed, || "bob").is_ok(), "it may be whole by then");
        let whole = circuit.admit(Trial::Whole, || "ada").expect("nobody like her tries");
        assert!(circuit.check(Trial::Streamed, || "bob").is_err());
        drop(drips);
        check(&circuit, "bob", false);
        drop(circuit.admit(Trial::Streamed, || "bob").expect("the first one was given up"));
        drop(whole);
        check(&circuit, "bob", true);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_tries_and_fails_opens_it_again() {
        let circuit = circuit();
        fail(&circuit, &[None; 5]);
        tokio::time::sleep(OPEN_FOR).await;
        let probe = circuit.admit(Trial::Whole, || "ada").expect("the first to try");
        fail(&circuit, &[Some("ada")]);
        probe.done();
        check(&circuit, "bob", false);
    }

    #[test]
    fn whoever_listens_hears_of_each_change_once() {
        let heard = Arc::<Mutex<Vec<bool>>>::default();
        let hears = Arc::clone(&heard);
        let circuit =
            Circuit::new(OPEN_FOR, move |open| hears.lock().expect("nobody panics here").push(open));
        fail(&circuit, &[None; 7]);
        circuit.succeeded();
        circuit.succeeded();
        assert_eq!(*heard.lock().expect("nobody panics here"), [false, true, false]);
    }
}
