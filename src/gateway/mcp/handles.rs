//! Whose the handles are that an MCP server gives out: sessions, tasks, and the state of a call that waits for its person.
//!
//! A handle is no proof of who somebody is. Whoever brings one must be the person, through the agent, that it was given
//! to; to anybody else it does not exist. What is not known here, because another gateway saw it, because it is too old,
//! or because it was never given out, does not exist either.

use std::sync::Arc;
use std::time::Duration;

use super::elicitation::Elicits;
use crate::digest::FieldDigest;
use crate::identity::{Actor, Caller, Issuer, Person, Subject, Tenant};
use crate::tool::ConnectorName;

/// Most handles that are remembered; the one that nobody has used for longest goes first. A hundred thousand agents with a
/// session each, in some 30 MiB.
const HANDLES_MAX: u64 = 100_000;
/// How long a handle is remembered that nobody uses. Servers end sessions earlier.
const IDLE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How long a handle is remembered at all.
const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Longest handle that is taken. Servers' are below 100 bytes, but for states, which may hold what they stand for.
pub const HANDLE_BYTES_MAX: usize = 65_536;

/// What a server calls something that outlasts a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handle<'a> {
    /// A session (`Mcp-Session-Id`).
    Session(&'a str),
    /// A task (`taskId`).
    Task(&'a str),
    /// A call that waits for its person (`requestState`), and the digest of that call: it goes on with the same arguments.
    State(&'a str, [u8; 32]),
}

/// Who was given what.
pub struct Handles {
    given: moka::sync::Cache<[u8; 32], Arc<Given>>,
}

/// What is remembered of a handle.
#[derive(PartialEq, Eq, Debug)]
struct Given {
    to: Owner,
    /// Of a session: what the client said that it can show to its person.
    elicits: Elicits,
}

/// To whom a handle was given.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Owner {
    issuer: Issuer,
    tenant: Tenant,
    subject: Subject,
    actor: Option<Actor>,
}

impl Owner {
    fn of(caller: &Caller) -> Self {
        Self {
            issuer: caller.issuer().clone(),
            tenant: caller.tenant().clone(),
            subject: caller.subject().clone(),
            actor: caller.actor().cloned(),
        }
    }
}

impl Default for Handles {
    fn default() -> Self {
        let given = moka::sync::Cache::builder()
            .max_capacity(HANDLES_MAX)
            // Another policy may refuse what is new, and a session would end where it begins.
            .eviction_policy(moka::policy::EvictionPolicy::lru())
            .time_to_idle(IDLE_MAX)
            .time_to_live(AGE_MAX)
            .support_invalidation_closures()
            .build();
        Self { given }
    }
}

impl Handles {
    /// `caller` was given this one. One that somebody else was given before is left as it was: a server that gives the same
    /// handle to two people must not take it away from the first.
    pub fn given(&self, connector: &ConnectorName, handle: Handle<'_>, caller: &Caller) {
        self.remember(connector, handle, Given { to: Owner::of(caller), elicits: Elicits::default() });
    }

    /// `caller` was given this session, in which the client can show this much to its person. Otherwise as [`given`](Self::given).
    pub fn opened(&self, connector: &ConnectorName, session: &str, caller: &Caller, elicits: Elicits) {
        self.remember(connector, Handle::Session(session), Given { to: Owner::of(caller), elicits });
    }

    /// What the client of a session can show to its person; `None`: the session is not `caller`'s.
    pub fn session(&self, connector: &ConnectorName, session: &str, caller: &Caller) -> Option<Elicits> {
        self.of(connector, Handle::Session(session), caller).map(|given| given.elicits)
    }

    /// Whether `caller` was given this one.
    pub fn is_of(&self, connector: &ConnectorName, handle: Handle<'_>, caller: &Caller) -> bool {
        self.of(connector, handle, caller).is_some()
    }

    /// It is over.
    pub fn ended(&self, connector: &ConnectorName, handle: Handle<'_>) {
        self.given.invalidate(&key(connector, handle));
    }

    /// Drops all that a person was given.
    pub fn forget(&self, person: &Person) {
        let person = person.clone();
        let theirs = move |_: &[u8; 32], given: &Arc<Given>| {
            let Owner { issuer, tenant, subject, .. } = &given.to;
            person.is(issuer, tenant, subject)
        };
        self.given.invalidate_entries_if(theirs).expect("the cache was built to be invalidated by a closure");
    }

    fn remember(&self, connector: &ConnectorName, handle: Handle<'_>, given: Given) {
        if handle.text().len() <= HANDLE_BYTES_MAX {
            let (key, given) = (key(connector, handle), Arc::new(given));
            let before = self.given.get_with(key, || Arc::clone(&given));
            if before.to == given.to && before.elicits != given.elicits {
                self.given.insert(key, given);
            }
        }
    }

    fn of(&self, connector: &ConnectorName, handle: Handle<'_>, caller: &Caller) -> Option<Arc<Given>> {
        let taken = handle.text().len() <= HANDLE_BYTES_MAX;
        let given = self.given.get(&key(connector, handle)).filter(|_| taken)?;
        (given.to == Owner::of(caller)).then_some(given)
    }
}

impl Handle<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Session(text) | Self::Task(text) | Self::State(text, _) => text,
        }
    }
}

fn key(connector: &ConnectorName, handle: Handle<'_>) -> [u8; 32] {
    let mut digest = FieldDigest::new("mcp-handle/1");
    digest.field(connector.as_str().as_bytes());
    match handle {
        Handle::Session(id) => {
            digest.field(b"session");
            digest.field(id.as_bytes());
        }
        Handle::Task(id) => {
            digest.field(b"task");
            digest.field(id.as_bytes());
        }
        Handle::State(state, call) => {
            digest.field(b"state");
            digest.field(state.as_bytes());
            digest.field(&call);
        }
    }
    digest.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Realm, SecretToken, VerifiedClaims};

    fn caller(subject: &str, actor: &str) -> Caller {
        let claims = VerifiedClaims { actor: Some(Actor::new(actor)), ..VerifiedClaims::of(subject) };
        Caller::verified(claims, SecretToken::new("token"))
    }

    #[test]
    fn a_handle_is_only_for_whom_it_was_given_to() {
        let (handles, notes) = (Handles::default(), ConnectorName::new("notes"));
        let (ada, bob) = (caller("ada", "planner"), caller("bob", "planner"));
        let session = Handle::Session("s-1");
        assert!(!handles.is_of(&notes, session, &ada), "never given out");
        handles.given(&notes, session, &ada);
        assert!(handles.is_of(&notes, session, &ada));
        assert!(!handles.is_of(&notes, session, &bob));
        assert!(!handles.is_of(&notes, session, &caller("ada", "other")), "another agent of hers");
        assert!(!handles.is_of(&ConnectorName::new("crm"), session, &ada));
        assert!(!handles.is_of(&notes, Handle::Task("s-1"), &ada));
        handles.given(&notes, session, &bob);
        assert!(handles.is_of(&notes, session, &ada) && !handles.is_of(&notes, session, &bob));
        handles.ended(&notes, session);
        assert!(!handles.is_of(&notes, session, &ada));
    }

    #[test]
    fn a_session_remembers_what_its_client_can_show() {
        let (handles, notes) = (Handles::default(), ConnectorName::new("notes"));
        let (ada, bob) = (caller("ada", "planner"), caller("bob", "planner"));
        let (forms, both) = (Elicits { form: true, url: false }, Elicits { form: true, url: true });
        assert_eq!(handles.session(&notes, "s-1", &ada), None);
        handles.opened(&notes, "s-1", &ada, forms);
        assert_eq!(handles.session(&notes, "s-1", &ada), Some(forms));
        handles.opened(&notes, "s-1", &bob, both);
        assert_eq!(
            (handles.session(&notes, "s-1", &ada), handles.session(&notes, "s-1", &bob)),
            (Some(forms), None)
        );
        handles.opened(&notes, "s-1", &ada, both);
        assert_eq!(
            handles.session(&notes, "s-1", &ada),
            Some(both),
            "a client that begins anew says anew what it can"
        );
    }

    #[test]
    fn a_state_goes_with_its_call() {
        let (handles, notes, ada) =
            (Handles::default(), ConnectorName::new("notes"), caller("ada", "planner"));
        handles.given(&notes, Handle::State("x", [1; 32]), &ada);
        assert!(handles.is_of(&notes, Handle::State("x", [1; 32]), &ada));
        assert!(!handles.is_of(&notes, Handle::State("x", [2; 32]), &ada));
        assert!(!handles.is_of(&notes, Handle::State("y", [1; 32]), &ada));
    }

    #[test]
    fn what_is_too_long_is_nobodys() {
        let (handles, notes, ada) =
            (Handles::default(), ConnectorName::new("notes"), caller("ada", "planner"));
        let long = "x".repeat(HANDLE_BYTES_MAX + 1);
        handles.given(&notes, Handle::Task(&long), &ada);
        assert!(!handles.is_of(&notes, Handle::Task(&long), &ada));
    }

    #[test]
    fn whoever_is_forgotten_has_no_handles_left() {
        let (handles, notes) = (Handles::default(), ConnectorName::new("notes"));
        let (ada, bob) = (caller("ada", "planner"), caller("bob", "planner"));
        handles.given(&notes, Handle::Session("a"), &ada);
        handles.given(&notes, Handle::Session("b"), &bob);
        let realm = Realm::Issuers([Issuer::new("https://issuer.example")].into());
        handles.forget(&Person { realm, subject: Subject::new("ada") });
        assert!(!handles.is_of(&notes, Handle::Session("a"), &ada));
        assert!(handles.is_of(&notes, Handle::Session("b"), &bob));
    }
}
