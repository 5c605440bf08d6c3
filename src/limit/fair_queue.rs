//! Whose turn it is at a connector that takes so many calls at a time.
//!
//! Those who wait stand in queues by agent and, within an agent's, by person. Each agent has a turn after the other, whatever they have
//! waiting, and so has each person of an agent. Who comes along and had nothing waiting goes first, once in each round: so those with
//! few calls hardly notice one with many, and it still has its turns (as new flows do in FQ-CoDel, RFC 8290 section 4.2).
//!
//! No agent takes up the whole room for waiting: one more of its calls may wait as long as it has fewer waiting than there is room left,
//! and so with a person within that. One agent alone can fill half of the room, two a third each; whoever comes last always finds some. So
//! nobody who waits is ever sent away for somebody else.
//!
//! Nor does anyone take up all the places, however slow their calls are: whoever has some gets one more only as long as enough are free
//! for others ([`may_have`](FairQueue::may_have)). So places go first to those who have few, and there is nearly always one for who has
//! none. A person counts once there, through whichever agents.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::settings::ConcurrencySettings;
use super::who::{Key, Who};

/// What an agent waits that was sent away, while nobody knows how long the connector takes.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);
/// The longest that it is told to wait. A connector that hangs may be well again by then.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// How much of the pace is what it was before: short enough to follow a connector within some ten calls.
const PACE_WEIGHT: u32 = 7;
/// How much of the time for which calls wait theirs may be expected to take. The rest is for what nobody foresees: others who come
/// and go first, and a connector that takes longer than it did.
const EXPECTED_MAX: (u32, u32) = (3, 4);
/// Most turns in a row of those who have just come, while others wait: a crowd of whom each comes once would otherwise hold up for
/// ever whoever has two calls waiting, and those who were there would be remembered as long.
const FRESH_IN_A_ROW_MAX: usize = 16;

/// A person may have another place while they have fewer than so many times what is free: alone two thirds, two of them two fifths each.
const FREE_PER_PERSON: usize = 2;
/// The same for an agent, most of which act for many people: alone eight ninths. Where there are few places, it can have them all.
const FREE_PER_AGENT: usize = 8;

/// A call has no place at its connector.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Busy {
    /// Why.
    pub reason: BusyReason,
    /// When to come back.
    pub retry_after: Duration,
}

/// Why a call has no place at its connector.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BusyReason {
    /// There is no room to wait, for this agent and person.
    #[error("the connector has as many calls under way as it may, and as many of this caller wait as may")]
    Full,
    /// The turn would not come in time.
    #[error("the connector has as many calls under way as it may, and ends them too slowly to wait")]
    Slow,
    /// The turn did not come in time.
    #[error("the connector had as many calls under way as it may, for as long as calls wait")]
    TimedOut,
}

impl BusyReason {
    /// As it stands in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Full => "queue_full",
            Self::Slow => "queue_slow",
            Self::TimedOut => "queue_timeout",
        }
    }
}

/// The calls of one connector: those under way, by number, and those that wait, with a ticket each.
pub struct FairQueue<T> {
    settings: ConcurrencySettings,
    /// All of them, whoever's they are.
    under_way: usize,
    /// How many of them each agent has, of those that are known to be somebody's.
    under_way_by_agent: HashMap<Key, usize>,
    waiting: usize,
    agents: RoundRobin<OfAgent<T>>,
    people: HashMap<Key, OfPerson>,
    next_number: u64,
    /// When a place was last given back, or it became crowded.
    freed: Instant,
    /// How long it takes until the next one is, while it is crowded.
    pace: Option<Duration>,
}

/// How many calls one person has, through whichever agents.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct OfPerson {
    /// Those that are known to be theirs.
    under_way: usize,
    waiting: usize,
}

/// The waiting calls of one agent.
struct OfAgent<T> {
    waiting: usize,
    people: RoundRobin<VecDeque<Ticket<T>>>,
}

impl<T> Default for OfAgent<T> {
    fn default() -> Self {
        Self { waiting: 0, people: RoundRobin::default() }
    }
}

struct Ticket<T> {
    number: u64,
    bears: T,
}

impl<T> FairQueue<T> {
    /// Nobody is there yet.
    pub fn new(settings: ConcurrencySettings, now: Instant) -> Self {
        Self {
            settings,
            under_way: 0,
            under_way_by_agent: HashMap::new(),
            waiting: 0,
            agents: RoundRobin::default(),
            people: HashMap::new(),
            next_number: 0,
            freed: now,
            pace: None,
        }
    }

    /// So many are under way: they were counted elsewhere until now. Whose those are that it has not given itself, it never knows.
    pub fn begin(&mut self, under_way: usize) {
        self.under_way = under_way;
    }

    /// How many there are at a time.
    pub fn concurrent(&self) -> usize {
        self.settings.concurrent
    }

    /// How many are under way.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// How many agents and people it knows of.
    #[cfg(test)]
    pub fn remembered(&self) -> usize {
        let of_agents: usize = self.agents.lines.values().map(|agent| 1 + agent.people.lines.len()).sum();
        of_agents + self.people.len() + self.under_way_by_agent.len()
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// How long each of them waits.
    pub fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    /// Other settings. Places that there are more then are given by [`next`](Self::next).
    pub fn set(&mut self, settings: ConcurrencySettings, now: Instant) {
        self.settings = settings;
        (self.freed, self.pace) = (now, None);
    }

    /// How many places are free.
    fn free(&self) -> usize {
        self.settings.concurrent.saturating_sub(self.under_way)
    }

    /// Whether somebody would have to wait, or does.
    fn is_crowded(&self) -> bool {
        self.free() == 0 || self.waiting > 0
    }

    /// Whether a place is free that this one may have. None of those who wait may: they are given theirs as soon as they may.
    pub fn may_have(&self, who: &Who) -> bool {
        let of_agent = self.under_way_by_agent.get(&who.agent).copied().unwrap_or_default();
        let (free, of_person) = (self.free(), self.of_person(who).under_way);
        // What an agent may have, its people share as everybody shares the whole: who has some leaves as much to the others.
        let left_to_agent = (FREE_PER_AGENT * free).saturating_sub(of_agent);
        of_person < left_to_agent.min(FREE_PER_PERSON * free)
    }

    fn of_person(&self, who: &Who) -> OfPerson {
        self.people.get(&who.person).copied().unwrap_or_default()
    }

    fn change_person(&mut self, person: Key, change: impl FnOnce(&mut OfPerson)) {
        let of_person = self.people.entry(person).or_default();
        change(of_person);
        if *of_person == OfPerson::default() {
            self.people.remove(&person);
        }
    }

    /// Takes a place that is free.
    pub fn take(&mut self, who: &Who, now: Instant) {
        let was_crowded = self.is_crowded();
        self.under_way += 1;
        *self.under_way_by_agent.entry(who.agent).or_default() += 1;
        self.change_person(who.person, |person| person.under_way += 1);
        self.crowded(was_crowded, now);
    }

    /// Begins to measure the pace, where it has just become crowded.
    fn crowded(&mut self, was_crowded: bool, now: Instant) {
        if !was_crowded && self.is_crowded() {
            (self.freed, self.pace) = (now, None);
        }
    }

    /// Whether one more call may wait.
    ///
    /// # Errors
    ///
    /// [`Busy`] when there is no room for it, or its turn would not come in time.
    pub fn has_room(&self, who: &Who, now: Instant) -> Result<(), Busy> {
        let ConcurrencySettings { queue, timeout, .. } = self.settings;
        let agent = self.agents.get(&who.agent);
        let of_agent = agent.map_or(0, |agent| agent.waiting);
        let room = queue.saturating_sub(self.waiting);
        let fits = of_agent < room && self.of_person(who).waiting < room - of_agent;
        if !fits {
            return Err(self.busy(BusyReason::Full));
        }
        if !self.is_crowded() {
            return Ok(());
        }
        // How many turns there are until this one, itself included, while the others go on as they do.
        let of_person = agent.and_then(|agent| agent.people.get(&who.person)).map_or(0, VecDeque::len);
        let of_agents = agent.map_or(1, |agent| agent.people.turns_until(&who.person, of_person + 1));
        let turns = self.agents.turns_until(&who.agent, of_agents);
        let expected = self.pace.map(|pace| pace.saturating_mul(u32::try_from(turns).unwrap_or(u32::MAX)));
        let stands_still = now.saturating_duration_since(self.freed) >= timeout;
        if stands_still
            || expected.is_some_and(|expected| expected > timeout * EXPECTED_MAX.0 / EXPECTED_MAX.1)
        {
            return Err(self.busy(BusyReason::Slow));
        }
        Ok(())
    }

    /// Puts a call in the queue, for which there is room. The number is what it leaves by.
    pub fn join(&mut self, who: &Who, bears: T, now: Instant) -> u64 {
        let was_crowded = self.is_crowded();
        let number = self.next_number;
        self.next_number += 1;
        let agent = self.agents.entry(who.agent);
        agent.people.entry(who.person).push_back(Ticket { number, bears });
        agent.waiting += 1;
        self.waiting += 1;
        self.change_person(who.person, |person| person.waiting += 1);
        self.crowded(was_crowded, now);
        number
    }

    /// Takes a call out of the queue, unless it has had its turn.
    pub fn leave(&mut self, who: &Who, number: u64) {
        let Some(agent) = self.agents.get_mut(&who.agent) else { return };
        let Some(person) = agent.people.get_mut(&who.person) else { return };
        let before = person.len();
        person.retain(|ticket| ticket.number != number);
        let left = before - person.len();
        if person.is_empty() {
            agent.people.leave(&who.person);
        }
        agent.waiting -= left;
        if agent.waiting == 0 {
            self.agents.leave(&who.agent);
        }
        self.waiting -= left;
        self.change_person(who.person, |person| person.waiting -= left);
    }

    /// Gives a place back; whose it was, where it was counted for somebody.
    pub fn release(&mut self, who: Option<&Who>, now: Instant) {
        if self.is_crowded() {
            let took = now.saturating_duration_since(self.freed);
            self.pace = Some(match self.pace {
                Some(pace) => (pace * PACE_WEIGHT + took) / (PACE_WEIGHT + 1),
                None => took,
            });
            self.freed = now;
        }
        self.under_way -= 1;
        let Some(who) = who else { return };
        self.change_person(who.person, |person| person.under_way -= 1);
        if let Some(of_agent) = self.under_way_by_agent.get_mut(&who.agent) {
            *of_agent -= 1;
            if *of_agent == 0 {
                self.under_way_by_agent.remove(&who.agent);
            }
        }
    }

    /// Gives a place that is free to whose turn it is, of those who may have it. `None`: none is free, or nobody waits who may.
    ///
    /// One that was given back can be for two: for who has it now, and for who gave it, and may have another one now.
    pub fn next(&mut self, now: Instant) -> Option<(Who, T)> {
        if self.waiting == 0 || self.free() == 0 {
            return None;
        }
        let mut agents = std::mem::take(&mut self.agents);
        let next = agents.turn(|agent, of_agent| {
            let next = of_agent.people.turn(|person, tickets| {
                let who = Who { person, agent };
                match tickets.front() {
                    None => Turn::Nobody,
                    Some(_) if !self.may_have(&who) => Turn::Later,
                    Some(_) => tickets.pop_front().map_or(Turn::Nobody, |ticket| Turn::Taken((who, ticket))),
                }
            });
            if let Some(taken) = next {
                of_agent.waiting -= 1;
                return Turn::Taken(taken);
            }
            if of_agent.waiting > 0 { Turn::Later } else { Turn::Nobody }
        });
        self.agents = agents;
        let (who, ticket) = next?;
        self.take(&who, now);
        self.waiting -= 1;
        self.change_person(who.person, |person| person.waiting -= 1);
        Some((who, ticket.bears))
    }

    /// What is told to who has no place.
    pub fn busy(&self, reason: BusyReason) -> Busy {
        let waiting = u32::try_from(self.waiting).unwrap_or(u32::MAX).max(1);
        let retry_after = self.pace.map_or(RETRY_AFTER_DEFAULT, |pace| pace.saturating_mul(waiting));
        Busy { reason, retry_after: retry_after.clamp(RETRY_AFTER_DEFAULT, RETRY_AFTER_MAX) }
    }
}

/// Queues that take turns.
struct RoundRobin<V> {
    /// Those who have just come, and go first.
    fresh: VecDeque<Key>,
    /// How many of them have had their turns since one of the others had.
    in_a_row: usize,
    /// The others in their order. Who has been served stays there until its next turn, though its queue may be empty: so it is not
    /// fresh again before all others have had theirs.
    order: VecDeque<Key>,
    lines: HashMap<Key, V>,
}

impl<V> Default for RoundRobin<V> {
    fn default() -> Self {
        Self { fresh: VecDeque::new(), in_a_row: 0, order: VecDeque::new(), lines: HashMap::new() }
    }
}

impl<V: Default> RoundRobin<V> {
    /// How many turns there are until this queue has had so many, or if there is none, its first.
    fn turns_until(&self, key: &Key, count: usize) -> usize {
        match self.lines.contains_key(key) {
            true => self.lines.len() * count,
            false => self.fresh.len() + 1,
        }
    }

    fn get(&self, key: &Key) -> Option<&V> {
        self.lines.get(key)
    }

    fn get_mut(&mut self, key: &Key) -> Option<&mut V> {
        self.lines.get_mut(key)
    }

    /// The queue of this key.
    fn entry(&mut self, key: Key) -> &mut V {
        self.lines.entry(key).or_insert_with(|| {
            self.fresh.push_back(key);
            V::default()
        })
    }

    /// Nobody waits in this queue any more. One that is in the order stays there, or who left could come again and be first.
    fn leave(&mut self, key: &Key) {
        if let Some(place) = self.fresh.iter().position(|fresh| fresh == key) {
            self.fresh.remove(place);
            self.lines.remove(key);
        }
    }

    /// What `take` takes from the queue whose turn it is. One that cannot be served now is passed over, and keeps its place.
    fn turn<T>(&mut self, mut take: impl FnMut(Key, &mut V) -> Turn<T>) -> Option<T> {
        let others_first = self.in_a_row >= FRESH_IN_A_ROW_MAX && !self.order.is_empty();
        for is_fresh in [!others_first, others_first] {
            let mut place = 0;
            loop {
                let queues = if is_fresh { &mut self.fresh } else { &mut self.order };
                let Some(key) = queues.get(place).copied() else { break };
                let taken = self.lines.get_mut(&key).map_or(Turn::Nobody, |queue| take(key, queue));
                if let Turn::Later = taken {
                    place += 1;
                    continue;
                }
                queues.remove(place);
                let Turn::Taken(taken) = taken else {
                    self.lines.remove(&key);
                    continue;
                };
                self.in_a_row = if is_fresh { self.in_a_row + 1 } else { 0 };
                self.order.push_back(key);
                return Some(taken);
            }
        }
        None
    }
}

/// What comes of a queue's turn.
enum Turn<T> {
    Taken(T),
    /// Whoever stands there cannot be served now.
    Later,
    /// Nobody stands there.
    Nobody,
}
