//! How much one may call: so many calls in a time, for each person, for each agent and together, and so many at a time at each
//! connector. Who has to wait for a place there stands in a queue that takes turns between agents, and between their people.
//!
//! Identities are counted, never tokens. No HTTP, and nothing is locked while somebody waits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::identity::{Caller, Issuer, Person, Tenant};
use crate::metrics::Metrics;
use crate::policy::Permit;
use crate::tool::{ConnectorName, Primitive, Tool, ToolName};

mod bucket;
mod fair_queue;
mod limiter;
mod places;
mod queue;
mod settings;
mod who;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use fair_queue::{Busy, BusyReason};
pub use queue::{Asked, Place, Waiting};
pub use settings::{ConcurrencySettings, Each, Level, LimitSettings, Rate, RateLimit, shown_duration};

use limiter::Limiter;
use queue::Queue;
use who::{Who, person_key};

/// Why a call is not let through, for now.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LimitError {
    /// So many calls have been made already.
    #[error("the limit {limit} is used up")]
    Used {
        /// Which limit.
        limit: Arc<RateLimit>,
        /// When the next call of this caller is let through, as far as limits go.
        retry_after: Duration,
    },
    /// There is no place at the connector, and none to be expected in time.
    #[error(transparent)]
    Busy(#[from] Busy),
}

/// The limits of one configuration, with what has been counted.
pub struct Limits {
    limiters: BTreeMap<Arc<str>, Arc<Limiter>>,
    connectors: HashMap<ConnectorName, Arc<ConnectorLimits>>,
}

/// The limits that calls of one connector come under.
pub struct ConnectorLimits {
    connector: ConnectorName,
    /// What counts for every call of it, in the order in which it is asked.
    limiters: Box<[Arc<Limiter>]>,
    /// The same for tools that have limits of their own.
    by_tool: HashMap<ToolName, Box<[Arc<Limiter>]>>,
    queue: Arc<Queue>,
    settings: ConcurrencySettings,
    metrics: Arc<Metrics>,
}

/// Proof that the limits let a call through, and that it may ask for a place at its connector.
pub struct Admitted<'a> {
    limits: &'a ConnectorLimits,
    /// What it was counted by.
    limiters: &'a [Arc<Limiter>],
    caller: Arc<Caller>,
    takes_place: bool,
}

impl Limits {
    /// The limits of these connectors. Of `previous`, limits that have not changed keep their counts, and connectors their queues, with
    /// the calls that are under way there.
    pub fn new<'a>(
        connectors: impl IntoIterator<Item = (&'a ConnectorName, &'a LimitSettings)>,
        previous: Option<&Self>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let mut limits = Self { limiters: BTreeMap::new(), connectors: HashMap::new() };
        for (name, settings) in connectors {
            let queue = previous.and_then(|previous| previous.connectors.get(name));
            let queue = match queue {
                Some(before) => Arc::clone(&before.queue),
                None => Queue::new(settings.concurrency, name.as_str(), metrics),
            };
            let mut limiters = |rates: &[Arc<RateLimit>]| limits.limiters(rates, previous);
            let by_tool = settings.tools.iter().map(|(tool, own)| {
                let all: Vec<_> = own.iter().chain(&settings.rates).cloned().collect();
                (tool.clone(), limiters(&all))
            });
            let by_tool = by_tool.collect();
            let of_connector = ConnectorLimits {
                connector: name.clone(),
                limiters: limiters(&settings.rates),
                by_tool,
                queue,
                settings: settings.concurrency,
                metrics: Arc::clone(metrics),
            };
            limits.connectors.insert(name.clone(), Arc::new(of_connector));
        }
        limits
    }

    /// The limiters of these rates, each of them once for all connectors. Those of persons come first: who is over a limit of their own
    /// takes nothing from one that others share.
    fn limiters(&mut self, rates: &[Arc<RateLimit>], previous: Option<&Self>) -> Box<[Arc<Limiter>]> {
        let mut limiters: Vec<Arc<Limiter>> = Vec::with_capacity(rates.len());
        for rate in rates {
            let limiter = self.limiters.entry(Arc::clone(&rate.name)).or_insert_with(|| {
                let before = previous.and_then(|previous| previous.limiters.get(&rate.name));
                match before.filter(|before| before.limit() == rate) {
                    Some(before) => Arc::clone(before),
                    None => Arc::new(Limiter::new(Arc::clone(rate))),
                }
            });
            limiters.push(Arc::clone(limiter));
        }
        limiters.sort_by_key(|limiter| (limiter.limit().each, limiter.limit().level));
        limiters.into()
    }

    /// What calls of a connector come under.
    ///
    /// # Panics
    ///
    /// When it is none that this was made for.
    pub fn of(&self, connector: &ConnectorName) -> Arc<ConnectorLimits> {
        Arc::clone(self.connectors.get(connector).expect("each connector was given with its limits"))
    }

    /// From now on this configuration says how many calls there are at a time. Whoever has a place keeps it.
    pub fn take_effect(&self) {
        for limits in self.connectors.values() {
            limits.queue.set(limits.settings);
        }
    }

    /// Drops what was counted of a person. `issuers` are those that people are of, each with its tenant.
    pub fn forget(&self, person: &Person, issuers: impl IntoIterator<Item = (Issuer, Tenant)>) {
        for (issuer, tenant) in issuers {
            if person.is(&issuer, &tenant, &person.subject) {
                let key = person_key(&issuer, &tenant, &person.subject);
                self.limiters.values().for_each(|limiter| limiter.forget(&key));
            }
        }
    }
}

impl ConnectorLimits {
    /// Lets a permitted call through, or says why not. `takes_place`: it is work for the connector, and not just a sign to it or a
    /// stream that is kept open to hear of news.
    ///
    /// # Errors
    ///
    /// [`LimitError`] when a limit is used up, or the call could not be expected to get a place in time.
    pub fn admit(&self, permit: &Permit, takes_place: bool) -> Result<Admitted<'_>, LimitError> {
        let caller = permit.caller();
        // First, since a call that is refused for want of a place counts towards no limit.
        if takes_place {
            self.queue.has_room(|| Who::of(caller)).map_err(|busy| self.refused(busy))?;
        }
        let limiters = self.limiters_of(permit.tool());
        if !limiters.is_empty() {
            self.count(limiters, &Who::of(caller), Instant::now())?;
        }
        Ok(Admitted { limits: self, limiters, caller: Arc::clone(caller), takes_place })
    }

    fn limiters_of(&self, tool: &Tool) -> &[Arc<Limiter>] {
        if self.by_tool.is_empty() || tool.primitive != Primitive::Tool {
            return &self.limiters;
        }
        self.by_tool.get(&tool.name).unwrap_or(&self.limiters)
    }

    /// Counts a call in all of these, or in none of them.
    fn count(&self, limiters: &[Arc<Limiter>], who: &Who, now: Instant) -> Result<(), LimitError> {
        let used_up = limiters
            .iter()
            .enumerate()
            .find_map(|(index, limiter)| limiter.take(who, now).err().map(|wait| (index, limiter, wait)));
        let Some((index, mut limiter, mut retry_after)) = used_up else { return Ok(()) };
        limiters[..index].iter().for_each(|taken| taken.give_back(who));
        // Who comes back in time for this one should not hear of the next one.
        for other in &limiters[index + 1..] {
            let wait = other.wait(who, now);
            if wait > retry_after {
                (limiter, retry_after) = (other, wait);
            }
        }
        let limit = Arc::clone(limiter.limit());
        self.metrics.limited(self.connector.as_str(), limit.label());
        Err(LimitError::Used { limit, retry_after })
    }

    fn refused(&self, busy: Busy) -> Busy {
        self.metrics.limited(self.connector.as_str(), busy.reason.label());
        busy
    }
}

impl Admitted<'_> {
    /// Asks for a place at the connector, now that all else is ready.
    ///
    /// # Errors
    ///
    /// [`Busy`] when there is none, and none to be expected in time.
    pub fn ask(&self) -> Result<Asked, Busy> {
        if !self.takes_place {
            return Ok(Asked::Place(Place::NONE));
        }
        let limits = self.limits;
        limits.queue.ask(|| Who::of(&self.caller)).map_err(|busy| self.refused(busy))
    }

    /// A place for sending the call again, where one is free. `None`: there is none, and others wait for one who have not had any.
    pub fn again(&self) -> Option<Place> {
        if !self.takes_place {
            return Some(Place::NONE);
        }
        self.limits.queue.take_free(|| Who::of(&self.caller))
    }

    /// Waits for the turn.
    ///
    /// # Errors
    ///
    /// [`Busy`] when it does not come in time.
    pub async fn wait(&self, waiting: Waiting) -> Result<Place, Busy> {
        waiting.turn().await.map_err(|busy| self.refused(busy))
    }

    /// There is no place for it after all, so it counts towards no limit.
    fn refused(&self, busy: Busy) -> Busy {
        let who = Who::of(&self.caller);
        self.limiters.iter().for_each(|limiter| limiter.give_back(&who));
        self.limits.refused(busy)
    }
}
