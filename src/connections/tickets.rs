//! Tickets: the links that agents get. One says who asked for what; it carries no authority, works once, and not for long. For as
//! long as one lives, an agent whose person said no gets none.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;

use super::{Missing, Wanted};
use crate::clock::Now;
use crate::identity::{Actor, Person, PersonId, Scopes};
use crate::random;
use crate::tool::{ConnectorName, ToolName};

/// How long a ticket can be used: time to find the message, sign in, and read.
const TICKET_LIFETIME: Duration = Duration::from_secs(600);
/// How long the same ticket is given out again. Whoever gets it then has as long for it.
const FRESH_FOR: Duration = Duration::from_secs(300);
/// Most tickets at a time; the oldest gives way.
const TICKETS_MAX: usize = 10_000;
/// Most people's noes that are remembered; the oldest gives way, and that person is asked again.
const DECLINED_MAX: usize = 10_000;
/// How many answers of people are kept for those who wait for one of them.
const NEWS_KEPT: usize = 256;
/// Most tools that a ticket names. A page shows no more.
const TOOLS_MAX: usize = 32;

/// Names a ticket: 128 random bits.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TicketId(Arc<str>);

impl TicketId {
    /// Reads the name of a ticket, as it stands in a link. Whether there is one is another question.
    pub fn parse(text: &str) -> Option<Self> {
        random::is_text::<16>(text).then(|| Self(text.into()))
    }

    /// As it stands in links and records.
    pub fn as_str(&self) -> &Arc<str> {
        &self.0
    }
}

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an agent asked a person for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// The person, and nobody else, can use it.
    pub holder: PersonId,
    /// The agent.
    pub agent: Actor,
    /// The connector.
    pub connector: ConnectorName,
    /// The tools that the agent called so far.
    pub tools: BTreeSet<ToolName>,
    /// The scopes that the service is asked for.
    pub scopes: Scopes,
    /// What is missing.
    pub missing: Missing,
    born: Instant,
    /// Where it stands in line: how many were made before it.
    number: u64,
}

/// The tickets under way.
pub struct Tickets {
    kept: Mutex<Kept>,
    settled: broadcast::Sender<Asker>,
}

#[derive(Default)]
struct Kept {
    tickets: HashMap<TicketId, Ticket>,
    /// The newest one of each person, agent and connector.
    newest: HashMap<Asker, TicketId>,
    /// All tickets, the oldest first.
    order: BTreeMap<u64, TicketId>,
    /// How many were made so far.
    made: u64,
    /// Who said no to which agent at which connector, and when.
    declined: HashMap<Asker, Instant>,
}

/// An agent that asks a person for something at a connector.
pub type Asker = (PersonId, Actor, ConnectorName);

impl Default for Tickets {
    fn default() -> Self {
        Self { kept: Mutex::default(), settled: broadcast::Sender::new(NEWS_KEPT) }
    }
}

impl Tickets {
    /// The ticket for what is wanted, made if need be.
    pub fn ask(&self, wanted: &Wanted, scopes: Scopes, missing: Missing, now: Now) -> TicketId {
        let mut kept = self.lock();
        kept.drop_old(now);
        let Wanted { holder, agent, connector, tool, request: _, scopes: _ } = wanted;
        let asker = wanted.asker();
        if let Some(id) = kept.newest.get(&asker).cloned()
            && let Some(ticket) = kept.tickets.get_mut(&id)
            && ticket.age(now) < FRESH_FOR
        {
            if ticket.tools.len() < TOOLS_MAX {
                ticket.tools.insert(tool.clone());
            }
            ticket.missing = missing;
            ticket.scopes = scopes;
            return id;
        }
        while kept.tickets.len() >= TICKETS_MAX
            && let Some(oldest) = kept.oldest()
        {
            kept.drop_one(&oldest);
        }
        let id = TicketId(random::text::<16>().into());
        let ticket = Ticket {
            holder: holder.clone(),
            agent: agent.clone(),
            connector: connector.clone(),
            tools: BTreeSet::from([tool.clone()]),
            scopes,
            missing,
            born: now.monotonic,
            number: kept.made,
        };
        kept.made += 1;
        kept.newest.insert(asker, id.clone());
        kept.put(id.clone(), ticket);
        id
    }

    /// A ticket that can still be used.
    pub fn get(&self, id: &TicketId, now: Now) -> Option<Ticket> {
        self.lock().tickets.get(id).filter(|ticket| ticket.is_good(now)).cloned()
    }

    /// Takes a ticket that can still be used: nobody else can use it from then on.
    pub fn take(&self, id: &TicketId, now: Now) -> Option<Ticket> {
        let mut kept = self.lock();
        kept.tickets.get(id).filter(|ticket| ticket.is_good(now))?;
        kept.drop_one(id)
    }

    /// Takes a ticket to which its person says no, and remembers that they did.
    pub fn decline(&self, id: &TicketId, now: Now) -> Option<Ticket> {
        let taken = self.take(id, now)?;
        let declined = &mut self.lock().declined;
        if declined.len() >= DECLINED_MAX {
            declined.retain(|_, at| is_young(*at, now));
        }
        if declined.len() >= DECLINED_MAX
            && let Some(oldest) = declined.iter().min_by_key(|(_, at)| **at).map(|(asker, _)| asker.clone())
        {
            declined.remove(&oldest);
        }
        declined.insert(taken.asker(), now.monotonic);
        self.tell(&taken);
        Some(taken)
    }

    /// Whether the person said no to this agent at this connector, no longer ago than a ticket lives.
    pub fn is_declined(&self, wanted: &Wanted, now: Now) -> bool {
        self.lock().declined.get(&wanted.asker()).is_some_and(|at| is_young(*at, now))
    }

    /// The person agreed, perhaps after all, on another page that was still open.
    pub fn agreed_to(&self, ticket: &Ticket) {
        self.lock().declined.remove(&ticket.asker());
        self.tell(ticket);
    }

    /// What people say from now on, yes or no.
    pub fn news(&self) -> broadcast::Receiver<Asker> {
        self.settled.subscribe()
    }

    fn tell(&self, ticket: &Ticket) {
        // That nobody waits for it is the usual case.
        let _ = self.settled.send(ticket.asker());
    }

    /// Puts a ticket back that was taken and came to nothing: in line where it stood.
    pub fn put_back(&self, id: TicketId, ticket: Ticket) {
        let mut kept = self.lock();
        if kept.tickets.len() < TICKETS_MAX {
            let asker = ticket.asker();
            kept.newest.entry(asker).or_insert_with(|| id.clone());
            kept.put(id, ticket);
        }
    }

    /// Drops the tickets of a person, and what they said no to.
    pub fn forget(&self, person: &Person) {
        let mut kept = self.lock();
        let theirs: Vec<TicketId> = kept
            .tickets
            .iter()
            .filter(|(_, ticket)| ticket.holder.is(person))
            .map(|(id, _)| id.clone())
            .collect();
        for id in theirs {
            kept.drop_one(&id);
        }
        kept.declined.retain(|(holder, _, _), _| !holder.is(person));
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // It is whole after every change.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn drop_old(&mut self, now: Now) {
        while let Some(oldest) = self.oldest()
            && self.tickets.get(&oldest).is_some_and(|ticket| !ticket.is_good(now))
        {
            self.drop_one(&oldest);
        }
    }

    fn oldest(&self) -> Option<TicketId> {
        self.order.values().next().cloned()
    }

    fn put(&mut self, id: TicketId, ticket: Ticket) {
        self.order.insert(ticket.number, id.clone());
        self.tickets.insert(id, ticket);
    }

    fn drop_one(&mut self, id: &TicketId) -> Option<Ticket> {
        let ticket = self.tickets.remove(id)?;
        self.order.remove(&ticket.number);
        let asker = ticket.asker();
        if self.newest.get(&asker) == Some(id) {
            self.newest.remove(&asker);
        }
        Some(ticket)
    }
}

impl Wanted {
    /// Who asks.
    pub fn asker(&self) -> Asker {
        (self.holder.clone(), self.agent.clone(), self.connector.clone())
    }
}

impl Ticket {
    /// Who asked.
    pub fn asker(&self) -> Asker {
        (self.holder.clone(), self.agent.clone(), self.connector.clone())
    }

    fn age(&self, now: Now) -> Duration {
        now.monotonic.saturating_duration_since(self.born)
    }

    fn is_good(&self, now: Now) -> bool {
        is_young(self.born, now)
    }
}

fn is_young(born: Instant, now: Now) -> bool {
    now.monotonic.saturating_duration_since(born) < TICKET_LIFETIME
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Issuer, Realm, Subject, Tenant};

    fn wanted(subject: &str, agent: &str, connector: &str, tool: &str) -> Wanted {
        Wanted {
            request: crate::audit::RequestId::next(),
            holder: PersonId {
                issuer: Issuer::new("https://issuer.example"),
                tenant: Tenant::Sole,
                subject: Subject::new(subject),
            },
            agent: Actor::new(agent),
            connector: ConnectorName::new(connector),
            tool: ToolName::new(tool),
            scopes: Scopes::default(),
        }
    }

    fn ask(tickets: &Tickets, wanted: &Wanted, now: Now) -> TicketId {
        tickets.ask(wanted, Scopes::parse("contacts.read"), Missing::Connection, now)
    }

    #[test]
    fn the_same_agent_gets_the_same_ticket_for_a_person_and_connector_while_it_is_fresh() {
        let (tickets, now) = (Tickets::default(), Now::read());
        let id = ask(&tickets, &wanted("ada", "planner", "crm", "list"), now);
        let later = now.after(FRESH_FOR - Duration::from_secs(1));
        assert_eq!(ask(&tickets, &wanted("ada", "planner", "crm", "read"), later), id);
        let ticket = tickets.get(&id, later).expect("a ticket");
        assert_eq!(ticket.tools.iter().map(ToolName::as_str).collect::<Vec<_>>(), ["list", "read"]);
        for other in [
            wanted("bob", "planner", "crm", "list"),
            wanted("ada", "other", "crm", "list"),
            wanted("ada", "planner", "wiki", "list"),
        ] {
            assert_ne!(ask(&tickets, &other, now), id, "{other:?}");
        }
        assert_ne!(ask(&tickets, &wanted("ada", "planner", "crm", "list"), now.after(FRESH_FOR)), id);
        assert!(
            tickets.get(&id, now.after(FRESH_FOR)).is_some(),
            "whoever has the old link can still use it"
        );
        assert!(tickets.get(&id, now.after(TICKET_LIFETIME)).is_none());
    }

    #[test]
    fn a_ticket_is_over_in_time_whatever_the_wall_clock_says() {
        let (tickets, now) = (Tickets::default(), Now::read());
        let id = ask(&tickets, &wanted("ada", "planner", "crm", "list"), now);
        let hour = Duration::from_secs(3_600);
        for wall in [now.wall + hour, now.wall - hour] {
            assert!(tickets.get(&id, Now { wall, ..now }).is_some());
            assert!(tickets.get(&id, Now { wall, ..now.after(TICKET_LIFETIME) }).is_none());
        }
    }

    #[test]
    fn a_ticket_names_so_many_tools_and_no_more() {
        let (tickets, now) = (Tickets::default(), Now::read());
        let asked = |n: usize| ask(&tickets, &wanted("ada", "planner", "crm", &format!("tool-{n}")), now);
        let id = asked(0);
        for n in 1..=TOOLS_MAX {
            assert_eq!(asked(n), id, "the link stays the same");
        }
        assert_eq!(tickets.get(&id, now).expect("a ticket").tools.len(), TOOLS_MAX);
    }

    #[test]
    fn a_ticket_is_taken_once() {
        let (tickets, now) = (Tickets::default(), Now::read());
        let id = ask(&tickets, &wanted("ada", "planner", "crm", "list"), now);
        let ticket = tickets.take(&id, now).expect("a ticket");
        assert!(tickets.take(&id, now).is_none());
        tickets.put_back(id.clone(), ticket);
        assert_eq!(ask(&tickets, &wanted("ada", "planner", "crm", "list"), now), id);
        assert!(tickets.take(&id, now.after(TICKET_LIFETIME)).is_none());
    }

    #[test]
    fn who_said_no_is_not_asked_again_by_the_same_agent_for_a_while() {
        let (tickets, now) = (Tickets::default(), Now::read());
        let adas = wanted("ada", "planner", "crm", "list");
        let id = ask(&tickets, &adas, now);
        assert!(!tickets.is_declined(&adas, now));
        assert!(tickets.decline(&id, now).is_some());
        assert!(tickets.decline(&id, now).is_none() && tickets.get(&id, now).is_none(), "it is used up");
        let last = now.after(TICKET_LIFETIME - Duration::from_secs(1));
        assert!(tickets.is_declined(&wanted("ada", "planner", "crm", "another tool"), last));
        assert!(!tickets.is_declined(&adas, now.after(TICKET_LIFETIME)));
        for other in [
            wanted("bob", "planner", "crm", "list"),
            wanted("ada", "other", "crm", "list"),
            wanted("ada", "planner", "wiki", "list"),
        ] {
            assert!(!tickets.is_declined(&other, now), "{other:?}");
        }
        let again = tickets.get(&ask(&tickets, &adas, now), now).expect("a ticket");
        tickets.agreed_to(&again);
        assert!(!tickets.is_declined(&adas, now));
    }

    #[test]
    fn noes_are_bounded_and_a_forgotten_person_has_none() {
        let (tickets, now) = (Tickets::default(), Now::read());
        let decline = |agent: &str, now| {
            let id = ask(&tickets, &wanted("ada", agent, "crm", "list"), now);
            assert!(tickets.decline(&id, now).is_some());
        };
        decline("first", now);
        for n in 0..DECLINED_MAX {
            decline(&n.to_string(), now.after(Duration::from_secs(1)));
        }
        let is_declined = |agent| tickets.is_declined(&wanted("ada", agent, "crm", "list"), now);
        assert!(!is_declined("first") && is_declined("0"), "the oldest gave way");
        assert_eq!(tickets.lock().declined.len(), DECLINED_MAX);
        let realm = Realm::Issuers([Issuer::new("https://issuer.example")].into());
        tickets.forget(&Person { realm, subject: Subject::new("ada") });
        assert!(!is_declined("0"));
    }

    #[test]
    fn tickets_are_bounded_and_a_forgotten_person_has_none() {
        let (tickets, now) = (Tickets::default(), Now::read());
        let first = ask(&tickets, &wanted("ada", "planner", "crm", "list"), now);
        for n in 0..TICKETS_MAX {
            ask(&tickets, &wanted("bob", &n.to_string(), "crm", "list"), now);
        }
        assert!(tickets.get(&first, now).is_none(), "the oldest gave way");
        assert_eq!(tickets.lock().tickets.len(), TICKETS_MAX);
        let realm = Realm::Issuers([Issuer::new("https://issuer.example")].into());
        tickets.forget(&Person { realm, subject: Subject::new("bob") });
        assert!(tickets.lock().tickets.is_empty());
        assert!(tickets.lock().newest.is_empty());
        ask(&tickets, &wanted("ada", "planner", "crm", "list"), now);
        assert_eq!(tickets.lock().order.len(), 1, "what is gone is not kept in line");
    }

    #[test]
    fn a_ticket_that_is_used_does_not_stay_in_line() {
        // What happened: it stayed there behind any older one that was still good, so that the line was longer than all bounds.
        let (tickets, now) = (Tickets::default(), Now::read());
        ask(&tickets, &wanted("bob", "planner", "crm", "list"), now);
        for _ in 0..3 {
            let id = ask(&tickets, &wanted("ada", "planner", "crm", "list"), now);
            assert!(tickets.take(&id, now).is_some());
        }
        assert_eq!(tickets.lock().order.len(), 1);
    }

    #[test]
    fn a_ticket_that_is_put_back_stands_in_line_where_it_stood_and_once() {
        // What happened: each time that somebody came to nothing at the service, their ticket stood in line once more, and first.
        let (tickets, now) = (Tickets::default(), Now::read());
        let later = now.after(Duration::from_secs(60));
        let older = ask(&tickets, &wanted("bob", "planner", "crm", "list"), now);
        let id = ask(&tickets, &wanted("ada", "planner", "crm", "list"), later);
        for _ in 0..3 {
            let ticket = tickets.take(&id, later).expect("a ticket");
            tickets.put_back(id.clone(), ticket);
        }
        assert_eq!(tickets.lock().order.len(), 2);
        let after = now.after(TICKET_LIFETIME);
        ask(&tickets, &wanted("eve", "planner", "crm", "list"), after);
        assert!(!tickets.lock().tickets.contains_key(&older), "the one behind it is dropped when it is old");
        assert!(tickets.get(&id, after).is_some());
    }

    #[test]
    fn only_what_can_be_a_ticket_is_looked_up() {
        let id = ask(&Tickets::default(), &wanted("ada", "planner", "crm", "list"), Now::read());
        assert_eq!(TicketId::parse(&id.to_string()), Some(id));
        assert_eq!(TicketId::parse("../../../../etc/passwd"), None);
    }
}
