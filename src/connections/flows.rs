//! Sign-ins at a service that are under way: each has a state that comes back once, to the browser that it was begun in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Service;
use super::tickets::TicketId;
use crate::clock::Now;
use crate::digest::sha256;
use crate::identity::{Person, PersonId, SecretToken};
use crate::random;
use crate::vault::Forgettings;

/// How long a person may take at the service: another factor, a forgotten password.
const FLOW_LIFETIME: Duration = Duration::from_secs(600);
/// Most sign-ins at a time; the oldest gives way.
pub(super) const FLOWS_MAX: usize = 10_000;
/// Most sign-ins of one person: so many windows nobody has open. Beyond it, their own oldest gives way, and nobody else's.
const FLOWS_OF_ONE_MAX: usize = 8;

/// One sign-in under way.
pub struct Flow {
    /// The ticket that it was begun with.
    pub ticket: TicketId,
    /// The person.
    pub holder: PersonId,
    /// The service that was asked.
    pub service: Arc<Service>,
    /// What proves that who redeems the code is who asked for it (RFC 7636).
    pub verifier: SecretToken,
    /// What ties the ID token to the request.
    pub nonce: String,
    /// How often the person had been forgotten when they began it.
    pub forgettings: Forgettings,
    browser: [u8; 32],
    born: Instant,
}

/// The sign-ins under way, by their state.
#[derive(Default)]
pub struct Flows(Mutex<HashMap<String, Flow>>);

impl Flow {
    /// One that begins now, in this browser.
    pub fn begin(
        ticket: TicketId,
        holder: PersonId,
        service: Arc<Service>,
        forgettings: Forgettings,
        browser: &str,
        now: Now,
    ) -> Self {
        Self {
            ticket,
            holder,
            service,
            forgettings,
            // 256 bits make 43 characters, as RFC 7636 section 4.1 recommends.
            verifier: SecretToken::new(random::text::<32>()),
            nonce: random::text::<16>(),
            browser: sha256(browser.as_bytes()),
            born: now.monotonic,
        }
    }

    /// Whether it was begun in this browser.
    pub fn is_in(&self, browser: &str) -> bool {
        self.browser == sha256(browser.as_bytes())
    }

    fn is_good(&self, now: Now) -> bool {
        now.monotonic.saturating_duration_since(self.born) < FLOW_LIFETIME
    }
}

impl Flows {
    /// Remembers a sign-in, and gives its state.
    pub fn put(&self, flow: Flow, now: Now) -> String {
        let mut flows = self.lock();
        if flows.values().filter(|other| other.holder == flow.holder).count() >= FLOWS_OF_ONE_MAX {
            remove_oldest(&mut flows, |other| other.holder == flow.holder);
        }
        if flows.len() >= FLOWS_MAX {
            flows.retain(|_, flow| flow.is_good(now));
        }
        if flows.len() >= FLOWS_MAX {
            remove_oldest(&mut flows, |_| true);
        }
        let state = random::text::<32>();
        flows.insert(state.clone(), flow);
        state
    }

    /// The sign-in of a state: once, whatever comes of it.
    pub fn take(&self, state: &str, now: Now) -> Option<Flow> {
        self.lock().remove(state).filter(|flow| flow.is_good(now))
    }

    /// Drops the sign-ins of a person.
    pub fn forget(&self, person: &Person) {
        self.lock().retain(|_, flow| !flow.holder.is(person));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Flow>> {
        // It is whole after every change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove_oldest(flows: &mut HashMap<String, Flow>, is_one: impl Fn(&Flow) -> bool) {
    let of_them = flows.iter().filter(|(_, flow)| is_one(flow));
    if let Some(oldest) = of_them.min_by_key(|(_, flow)| flow.born).map(|(state, _)| state.clone()) {
        flows.remove(&oldest);
    }
}
