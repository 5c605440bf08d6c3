//! Every way in which a call can end, made to happen: each leaves exactly one record, and that one tells how it was.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use obo_gateway::demo::authorization_server::{AuthorizationServer, NOTES_AUDIENCE, Settings};
use obo_gateway::demo::mail::{MailConnector, MailSettings};
use obo_gateway::demo::notes::{NotesConnector, NotesSettings};

use crate::bed::{ANYTHING, HASTY, PATIENT, TestBed, outcome};
use crate::mcp::bed::McpBed;

mod agents;
mod connectors;
mod gateway;
pub mod panics;

/// How many are walked at a time: they wait more than they work.
const LANES: usize = 4;
/// How long to wait for a second record of the same call, when everything about it is over.
const AFTERMATH: Duration = Duration::from_millis(100);

/// One way to end.
struct Way {
    /// What happens.
    name: &'static str,
    /// What the record may call it.
    outcomes: &'static [&'static str],
    /// With which deadlines for connectors.
    deadlines: &'static str,
    /// Brings it about, with one call.
    happen: for<'a> fn(&'a McpBed) -> LocalBoxFuture<'a, ()>,
}

impl Way {
    /// It happens in its own time.
    const fn new(
        name: &'static str,
        outcomes: &'static [&'static str],
        happen: for<'a> fn(&'a McpBed) -> LocalBoxFuture<'a, ()>,
    ) -> Self {
        Self { name, outcomes, deadlines: PATIENT, happen }
    }

    /// It happens when the connector's time is over.
    const fn in_haste(mut self) -> Self {
        self.deadlines = HASTY;
        self
    }

    /// Walks it, on a gateway that sees nothing else; says what was not as it should be.
    async fn walk(&self) -> Result<(), String> {
        let (_panics, _subscribed) = panics::Panics::here();
        let bed = bed(self.deadlines).await;
        (self.happen)(&bed).await;
        bed.bed.outcomes(1).await;
        tokio::time::sleep(AFTERMATH).await;
        // Whatever is still going on comes to its end.
        bed.bed.gateway.drain().await;
        let recorded: Vec<String> = bed.bed.records().await.iter().map(outcome).collect();
        match recorded.as_slice() {
            [one] if self.outcomes.contains(&one.as_str()) => Ok(()),
            _ => Err(format!("{recorded:?} was recorded, and not one of {:?}", self.outcomes)),
        }
    }
}

/// A gateway in front of mail and notes, which only Ada may use.
async fn bed(deadlines: &str) -> McpBed {
    let server = AuthorizationServer::start(Settings::default()).await.expect("an authorization server");
    let mail = MailConnector::start(MailSettings::trusting(&server)).await.expect("a mail connector");
    let notes = NotesConnector::start(NotesSettings::trusting(&server)).await.expect("a connector");
    let (ada, endpoint) = (server.person("ada").oid.clone(), notes.endpoint());
    let bed = TestBed::between(server, mail, |parts| {
        let notes = format!(
            "  notes:
    kind: mcp
    path: /notes
    upstream: {endpoint}
    audience: {NOTES_AUDIENCE}
    scopes: [Notes.Read]
    timeouts: {PATIENT}
"
        );
        let whole = parts.whole(&parts.issuer(), &format!("{}{notes}", parts.mail(ANYTHING)));
        let rule = format!("{{ name: ada, subjects: {{ ids: [{ada}] }}, tools: [\"*/*\"] }}");
        whole.replace("{ name: everybody, tools: [\"*/*\"] }", &rule).replace(PATIENT, deadlines)
    })
    .await;
    McpBed { bed, notes }
}

#[test]
fn however_a_call_ends_there_is_exactly_one_record_of_it() {
    let ways: Vec<&Way> =
        [agents::WAYS, connectors::WAYS, gateway::WAYS, panics::WAYS].into_iter().flatten().collect();
    let (left, wrong) = (Mutex::new(ways.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some(way) = left.lock().ok().and_then(|mut left| left.next()) {
                    // A runtime of one thread, so that this thread's subscriber sees this gateway alone: its workers have it from here.
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    let walk = || runtime.expect("a runtime").block_on(way.walk());
                    let walked = catch_unwind(AssertUnwindSafe(walk));
                    if let Err(why) = walked.unwrap_or_else(|panic| Err(message(panic.as_ref()))) {
                        wrong.lock().expect("whole").push(format!("{}: {why}", way.name));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("whole");
    assert!(wrong.is_empty(), "of {} ways to end:\n{}", ways.len(), wrong.join("\n"));
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Waits until something is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came about: {what}");
}
