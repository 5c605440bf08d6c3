//! Refusals by an authorization server, remembered for a moment, so that an agent that tries again and again does not
//! have the server asked each time.

use std::time::{Duration, Instant};

use super::key::CacheKey;
use crate::clock::Now;
use crate::oauth::error_response::ErrorClass;
use crate::oauth::exchange::ExchangeError;

/// Most refusals kept. Each may hold a demand for claims of 4 KiB.
const REFUSALS_MAX: u64 = 4_096;
/// How long a person's own matter is remembered: they may be done with it soon, and with the same token.
const PERSON_ACTS: Duration = Duration::from_secs(2);
/// How long a subject token is remembered that the server does not take. It gets no better.
const DEAD_TOKEN: Duration = Duration::from_secs(30);

/// Longest time that one is remembered: what Entra wants when it has seen a request too often, and more.
const KEPT_MAX: Duration = Duration::from_secs(600);

/// The refusals, by the key of what was asked for, which holds the caller's tokens where any were sent.
pub struct Refusals(moka::sync::Cache<CacheKey, (ExchangeError, Instant)>);

impl Refusals {
    /// None yet.
    pub fn new() -> Self {
        Self(moka::sync::Cache::builder().max_capacity(REFUSALS_MAX).time_to_live(KEPT_MAX).build())
    }

    /// What the server said a moment ago to the same request.
    pub fn get(&self, key: &CacheKey, now: Now) -> Option<ExchangeError> {
        let (error, until) = self.0.get(key)?;
        (now.monotonic < until).then_some(error)
    }

    /// Remembers what the server said, for as long as that class of refusal is worth it.
    pub fn put(&self, key: &CacheKey, error: &ExchangeError, now: Now) {
        let until = remembered_for(error).and_then(|lifetime| now.monotonic.checked_add(lifetime));
        if let Some(until) = until {
            self.0.insert(*key, (error.clone(), until));
        }
    }
}

/// How long a refusal is remembered; `None`: not at all, because the next attempt may well succeed.
fn remembered_for(error: &ExchangeError) -> Option<Duration> {
    match error {
        ExchangeError::Refused { refused, .. } => match refused.class {
            // The others are left alone as a whole, and not for each person.
            ErrorClass::Throttled { retry_after } if refused.is_about_one_request() => retry_after,
            ErrorClass::Throttled { .. } | ErrorClass::Unavailable { .. } => None,
            ErrorClass::SubjectToken => Some(DEAD_TOKEN),
            ErrorClass::StepUp { .. }
            | ErrorClass::Consent
            | ErrorClass::AdminConsent
            | ErrorClass::SignIn
            | ErrorClass::Blocked
            | ErrorClass::Misconfigured => Some(PERSON_ACTS),
        },
        ExchangeError::ScopesNotGranted { .. } | ExchangeError::MoreScopesGranted { .. } => Some(PERSON_ACTS),
        ExchangeError::TimedOut { .. }
        | ExchangeError::CircuitOpen { .. }
        | ExchangeError::LeftAlone { .. }
        | ExchangeError::Unreachable { .. }
        | ExchangeError::Unusable { .. }
        | ExchangeError::NoTokenEndpoint { .. }
        | ExchangeError::Unprepared { .. }
        | ExchangeError::NotRecorded(_) => None,
    }
}

/// Whether the server says that a token may not be had any more, and not just that it cannot give one.
pub fn withdraws(error: &ExchangeError) -> bool {
    let ExchangeError::Refused { refused, .. } = error else { return false };
    match refused.class {
        ErrorClass::StepUp { .. }
        | ErrorClass::Consent
        | ErrorClass::AdminConsent
        | ErrorClass::SignIn
        | ErrorClass::Blocked => true,
        // Of the last but one: an access token that has expired says nothing about its person.
        ErrorClass::Throttled { .. }
        | ErrorClass::Unavailable { .. }
        | ErrorClass::SubjectToken
        | ErrorClass::Misconfigured => false,
    }
}
