//! Agents that call at the same time, for random people, and hang up now and then.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::header;
use reqwest::{Client, Response};
use serde_json::Value;

use crate::Outcome;
use crate::lane::{AGENTS, CONNECTORS, Echo, Lane, SignIn, TOOLS};
use crate::random::Random;
use crate::stage::Stage;

/// Longest wait for an answer. None takes as long, unless something hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest patience of an agent that is about to hang up.
const PATIENCE_MAX: Duration = Duration::from_millis(25);
/// People for whom half of all calls are made, so that tokens are kept and used again.
const BUSY_PEOPLE: usize = 4;
/// Most faults that are described.
const FAULTS_MAX: usize = 10;

/// What the chaos may bring upon an agent. Any other refusal is a fault.
const EXPECTED_REFUSALS: [&str; 12] = [
    "access_blocked",
    "call_not_repeated",
    "connector_broke",
    "connector_unreachable",
    "consent_required",
    "exchange_misconfigured",
    "issuer_answer_invalid",
    "issuer_throttled",
    "issuer_unavailable",
    "sign_in_required",
    "signing_key_unknown",
    "step_up_required",
];

/// What all agents together have noticed.
#[derive(Default)]
pub struct Notes {
    pub calls: AtomicUsize,
    pub answered: AtomicUsize,
    pub hung_up: AtomicUsize,
    pub broke_off: AtomicUsize,
    /// Answers that were for somebody else, or for another call.
    pub crossings: AtomicUsize,
    /// Refusals by code; those that are the connector's own, by status.
    pub refused: Mutex<BTreeMap<String, usize>>,
    /// What should not have happened.
    pub faults: Mutex<Vec<String>>,
    /// The calls whose answers began: what the gateway calls them, whose they are, and whether the connector answered.
    pub begun: Mutex<Vec<Begun>>,
}

/// A call whose answer began.
#[derive(Clone)]
pub struct Begun {
    pub id: String,
    pub lane: Lane,
    pub success: bool,
}

impl Notes {
    fn fault(&self, what: String) {
        let mut faults = self.faults.lock().expect("nobody panics here");
        if faults.len() < FAULTS_MAX {
            faults.push(what);
        }
    }
}

/// The ways to the gateway that all agents share: some speak HTTP/1.1, some HTTP/2.
pub fn clients() -> Outcome<Vec<Client>> {
    let mut clients = Vec::new();
    for number in 0..8 {
        let builder = Client::builder().no_proxy().timeout(ANSWER_TIMEOUT);
        let builder = if number % 2 == 0 { builder.http1_only() } else { builder.http2_prior_knowledge() };
        clients.push(builder.build()?);
    }
    Ok(clients)
}

/// Calls, one after another, until it is time to stop.
pub async fn work(stage: &Stage, clients: &[Client], notes: &Notes, mut random: Random, until: Instant) {
    while Instant::now() < until {
        let lane = lane(stage, &mut random);
        let token = stage.world.subject_token(&lane, random.once_in(50));
        let call = notes.calls.fetch_add(1, Ordering::Relaxed);
        let client = random.one_of(clients);
        let request = client.get(stage.url(&stage.world.target(&lane, call))).bearer_auth(token).send();
        let hangs_up = random.once_in(8).then(|| PATIENCE_MAX.mul_f64(random.below(1_000) as f64 / 1_000.0));
        let conversation = converse(request, call, lane, stage, notes);
        match hangs_up {
            None => conversation.await,
            Some(patience) => {
                // Dropped in the middle of whatever it is in the middle of.
                if tokio::time::timeout(patience, conversation).await.is_err() {
                    notes.hung_up.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

fn lane(stage: &Stage, random: &mut Random) -> Lane {
    let people = stage.world.people.len();
    let person = if random.once_in(2) { random.below(BUSY_PEOPLE.min(people)) } else { random.below(people) };
    Lane {
        person,
        agent: random.below(AGENTS.len()),
        tenant: random.below(stage.world.tenants.len()),
        sign_in: if random.once_in(2) { SignIn::Strong } else { SignIn::Plain },
        connector: random.below(CONNECTORS.len()),
        tool: random.below(TOOLS.len()),
    }
}

async fn converse(
    request: impl Future<Output = reqwest::Result<Response>>,
    call: usize,
    lane: Lane,
    stage: &Stage,
    notes: &Notes,
) {
    let answer = match request.await {
        Ok(answer) => answer,
        Err(error) => return notes.fault(format!("call {call} had no answer: {error:?}")),
    };
    let (status, id) = (answer.status(), answer.headers().get("obo-request-id").cloned());
    let is_problem =
        answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
    match id.as_ref().and_then(|id| id.to_str().ok()) {
        Some(id) => {
            let begun = Begun { id: id.to_owned(), lane, success: status.is_success() };
            notes.begun.lock().expect("nobody panics here").push(begun);
        }
        None => notes.fault(format!("call {call} was answered {status} without a request id")),
    }
    let Ok(text) = answer.text().await else {
        // As the connector's manners want.
        notes.broke_off.fetch_add(1, Ordering::Relaxed);
        return;
    };
    if status.is_success() {
        let expected = stage.world.whom(&lane);
        match serde_json::from_str::<Echo>(&text) {
            Ok(echo) if echo.call == call && echo.whom == expected => {
                notes.answered.fetch_add(1, Ordering::Relaxed);
            }
            Ok(echo) => {
                notes.crossings.fetch_add(1, Ordering::Relaxed);
                notes.fault(format!("call {call} for {expected:?} was answered {echo:?}"));
            }
            Err(error) => notes.fault(format!("call {call} was answered {text:?}: {error}")),
        }
        return;
    }
    let problem: Option<Value> = is_problem.then(|| serde_json::from_str(&text).ok()).flatten();
    let code = match problem.as_ref().map(|problem| problem["code"].as_str().unwrap_or_default()) {
        Some(code) => {
            if !EXPECTED_REFUSALS.contains(&code) {
                notes.fault(format!("call {call} of lane {lane} was refused: {status} {text}"));
            }
            code.to_owned()
        }
        // What the connector says itself is passed on.
        None => format!("connector's {}", status.as_u16()),
    };
    *notes.refused.lock().expect("nobody panics here").entry(code).or_default() += 1;
}
