//! Whom a connector throttles, and until when: in memory, bounded, and for an hour at most.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::Sender;
use crate::identity::{Issuer, Person, Tenant};
use crate::policy::Permit;
use crate::tool::IdentityMode;

/// Most that are remembered of one connector. Beyond it the one goes that has not been looked for the longest, and asks the
/// connector once more.
const REMEMBERED_MAX: u64 = 10_000;
/// How long one is remembered at most. Whoever is to wait longer asks once an hour.
const REMEMBERED_FOR: Duration = Duration::from_secs(3_600);

/// Whom the connector sees in a call, and so whom it throttles.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Seen {
    /// The person, by the kind of credential that says so: their own account at a service is another one than that at their
    /// issuer.
    Person(IdentityMode, Sender),
    /// The gateway's application, which has a token for each issuer, and for each tenant.
    Application(Issuer, Tenant),
}

impl Seen {
    /// Whom the connector sees in what is permitted.
    pub fn of(permit: &Permit) -> Self {
        match permit.tool().identity {
            identity @ (IdentityMode::OnBehalfOf | IdentityMode::Connection) => {
                Self::Person(identity, Sender::of(permit))
            }
            IdentityMode::AppOnly => {
                let Sender { issuer, tenant, .. } = Sender::of(permit);
                Self::Application(issuer, tenant)
            }
        }
    }
}

/// Who is throttled.
pub struct Throttled {
    until: moka::sync::Cache<Seen, Instant>,
    /// Milliseconds from `began` to when the last one is throttled no more. Until somebody was, nobody looks further.
    last: AtomicU64,
    began: Instant,
}

impl Throttled {
    /// Nobody yet.
    pub fn new() -> Self {
        let until = moka::sync::Cache::builder()
            .max_capacity(REMEMBERED_MAX)
            // Another policy may refuse what is new, and that is what counts here.
            .eviction_policy(moka::policy::EvictionPolicy::lru())
            .time_to_live(REMEMBERED_FOR)
            .support_invalidation_closures()
            .build();
        Self { until, last: AtomicU64::new(0), began: Instant::now() }
    }

    /// The connector wants to be left alone by this one for so long.
    pub fn remember(&self, seen: Seen, delay: Duration) {
        if delay.is_zero() {
            return;
        }
        let until = Instant::now() + delay.min(REMEMBERED_FOR);
        let milliseconds = u64::try_from((until - self.began).as_millis()).unwrap_or(u64::MAX);
        // A call that was under way may hear of a shorter delay than one before it.
        let later = |kept: Option<moka::Entry<Seen, Instant>>| {
            kept.map_or(until, |kept| kept.into_value().max(until))
        };
        self.until.entry(seen).and_upsert_with(later);
        self.last.fetch_max(milliseconds.saturating_add(1), Ordering::Release);
    }

    /// How long this one is still throttled; `None`: not at all.
    pub fn left(&self, seen: impl FnOnce() -> Seen) -> Option<Duration> {
        let last = self.last.load(Ordering::Acquire);
        if last == 0 {
            return None;
        }
        let now = Instant::now();
        if (now - self.began).as_millis() > u128::from(last) {
            return None;
        }
        let left = self.until.get(&seen())?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Drops what is remembered of a person. What is remembered of the application is nobody's.
    pub fn forget(&self, person: &Person) {
        let person = person.clone();
        let theirs = move |seen: &Seen, _: &Instant| match seen {
            Seen::Person(_, Sender { issuer, tenant, subject }) => person.is(issuer, tenant, subject),
            Seen::Application(..) => false,
        };
        self.until.invalidate_entries_if(theirs).expect("the cache was built to be invalidated by a closure");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Realm, Subject};

    fn person(subject: &str) -> Seen {
        let issuer = Issuer::new("https://issuer.example");
        let sender = Sender { issuer, tenant: Tenant::Sole, subject: Subject::new(subject) };
        Seen::Person(IdentityMode::OnBehalfOf, sender)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn one_is_remembered_until_then_and_nobody_else_is() {
        let throttled = Throttled::new();
        let left = |who: &str| throttled.left(|| person(who));
        assert_eq!(left("ada"), None);
        throttled.remember(person("ada"), seconds(7));
        assert_eq!((left("ada"), left("bob")), (Some(seconds(7)), None));
        tokio::time::sleep(seconds(5)).await;
        throttled.remember(person("bob"), seconds(10));
        assert_eq!((left("ada"), left("bob")), (Some(seconds(2)), Some(seconds(10))));
        tokio::time::sleep(seconds(2)).await;
        assert_eq!((left("ada"), left("bob")), (None, Some(seconds(8))));
        tokio::time::sleep(seconds(9)).await;
        assert_eq!(throttled.left(|| panic!("nobody is throttled any more")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn as_the_application_and_as_another_kind_of_person_it_is_somebody_else() {
        let throttled = Throttled::new();
        let Seen::Person(_, sender) = person("ada") else { unreachable!() };
        let connected = Seen::Person(IdentityMode::Connection, sender.clone());
        let application = Seen::Application(sender.issuer.clone(), Tenant::Sole);
        let other_tenant = Seen::Application(sender.issuer, Tenant::Named("two".into()));
        for seen in [person("ada"), connected, application, other_tenant] {
            assert_eq!(throttled.left(|| seen.clone()), None, "{seen:?}");
            throttled.remember(seen, seconds(7));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_an_hour_at_most_and_nothing_is_no_delay() {
        let throttled = Throttled::new();
        throttled.remember(person("ada"), Duration::MAX);
        assert_eq!(throttled.left(|| person("ada")), Some(REMEMBERED_FOR));
        throttled.remember(person("bob"), Duration::ZERO);
        assert_eq!(throttled.left(|| person("bob")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_forgotten_is_not_remembered() {
        let throttled = Throttled::new();
        let application = Seen::Application(Issuer::new("https://issuer.example"), Tenant::Sole);
        for seen in [person("ada"), person("bob"), application.clone()] {
            throttled.remember(seen, seconds(7));
        }
        let realm = Realm::Issuers([Issuer::new("https://issuer.example")].into());
        throttled.forget(&Person { realm, subject: Subject::new("ada") });
        let left = |seen: Seen| throttled.left(|| seen).is_some();
        assert_eq!((left(person("ada")), left(person("bob")), left(application)), (false, true, true));
    }

    #[test]
    fn there_is_a_bound() {
        let throttled = Throttled::new();
        for number in 0..REMEMBERED_MAX + 500 {
            throttled.remember(person(&number.to_string()), seconds(7));
        }
        throttled.until.run_pending_tasks();
        assert!(throttled.until.entry_count() <= REMEMBERED_MAX, "{}", throttled.until.entry_count());
        assert!(throttled.left(|| person(&(REMEMBERED_MAX + 499).to_string())).is_some());
    }
}
