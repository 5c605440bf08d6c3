//! Agents, each with its own connections, who call for random people.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header;
use reqwest::Client;
use serde_json::Value;

use crate::Outcome;
use crate::lane::{AGENTS, CONNECTORS, Echo, Lane, SignIn, TOOLS};
use crate::notes::{Begun, End, Notes};
use crate::random::Random;
use crate::stage::Stage;

/// Longest pause between two calls of an agent: together they keep the gateway busy without filling the disk.
const PAUSE_MAX: Duration = Duration::from_millis(60);
/// How often an agent begins on new connections.
const CALLS_OF_A_CLIENT: usize = 200;

/// Calls, one after another, until it is time to stop.
pub async fn work(stage: &Stage, notes: &Notes, mut random: Random, until: Instant) -> Outcome<()> {
    while Instant::now() < until {
        let client = stage.client(random.once_in(2))?;
        for _ in 0..CALLS_OF_A_CLIENT {
            if Instant::now() >= until {
                break;
            }
            let lane = any_lane(stage, &mut random);
            // Now and then with a token that nobody has seen yet, as when its agent refreshed it.
            call(stage, notes, &client, lane, random.once_in(20)).await;
            tokio::time::sleep(PAUSE_MAX.mul_f64(random.below(1_000) as f64 / 1_000.0)).await;
        }
    }
    Ok(())
}

/// Calls for one person after another. Returns how many calls were answered.
pub async fn call_for_everybody(stage: &Stage, notes: &Notes, calls: usize) -> Outcome<usize> {
    let (client, mut random, mut answered) = (stage.client(true)?, Random::new(0, 0), 0);
    for _ in 0..calls {
        let lane = any_lane(stage, &mut random);
        answered += usize::from(call(stage, notes, &client, lane, false).await);
    }
    Ok(answered)
}

/// Calls all at once, each on a connection of its own.
pub async fn burst(stage: &Arc<Stage>, notes: &Arc<Notes>, random: &mut Random, calls: usize) -> Outcome<()> {
    let mut calling = tokio::task::JoinSet::new();
    for _ in 0..calls {
        let (stage, notes, client) = (Arc::clone(stage), Arc::clone(notes), stage.client(random.once_in(2))?);
        let lane = any_lane(&stage, random);
        calling.spawn(async move { call(&stage, &notes, &client, lane, false).await });
    }
    calling.join_all().await;
    Ok(())
}

/// Calls, and goes away after a moment, wherever the call is then.
pub async fn leave(stage: &Arc<Stage>, notes: &Arc<Notes>, random: &mut Random, calls: usize) -> Outcome<()> {
    let mut calling = tokio::task::JoinSet::new();
    let client = stage.client(random.once_in(2))?;
    for _ in 0..calls {
        let (stage, notes, client) = (Arc::clone(stage), Arc::clone(notes), client.clone());
        let (lane, patience) = (any_lane(&stage, random), Duration::from_micros(random.below(12_000) as u64));
        calling.spawn(async move {
            let (number, began) = (notes.call(), Instant::now());
            let conversation = converse(&stage, &notes, &client, lane, number, false);
            let end = tokio::time::timeout(patience, conversation).await.unwrap_or(End::Left);
            notes.end(lane, began, end);
        });
    }
    calling.join_all().await;
    Ok(())
}

pub fn any_lane(stage: &Stage, random: &mut Random) -> Lane {
    Lane {
        person: random.below(stage.world.people.len()),
        agent: random.below(AGENTS.len()),
        tenant: random.below(stage.world.tenants.len()),
        sign_in: if random.once_in(2) { SignIn::Strong } else { SignIn::Plain },
        connector: random.below(CONNECTORS.len()),
        tool: random.below(TOOLS.len()),
    }
}

/// One call. Returns whether it was answered.
async fn call(stage: &Stage, notes: &Notes, client: &Client, lane: Lane, anew: bool) -> bool {
    let (number, began) = (notes.call(), Instant::now());
    let end = converse(stage, notes, client, lane, number, anew).await;
    let answered = matches!(end, End::Answered);
    notes.end(lane, began, end);
    answered
}

async fn converse(
    stage: &Stage,
    notes: &Notes,
    client: &Client,
    lane: Lane,
    number: usize,
    anew: bool,
) -> End {
    let token = stage.world.subject_token(&lane, anew);
    let target = stage.world.target(&lane, number);
    let answer = match client.get(stage.url(&target)).bearer_auth(token).send().await {
        Ok(answer) => answer,
        // An answer that is broken off right after its head can be lost with it.
        Err(error) if was_broken_off(&error) => return End::Failed("broken_off_before_its_head".to_owned()),
        Err(error) => return End::Failed(format!("no answer: {error:?}")),
    };
    let (status, headers) = (answer.status(), answer.headers().clone());
    let Some(id) = headers.get("obo-request-id").and_then(|id| id.to_str().ok()) else {
        return End::Failed(format!("{status} without a request id"));
    };
    notes.begun(Begun { id: id.to_owned(), lane, success: status.is_success() });
    let Ok(text) = answer.text().await else { return End::Failed("answer_broken_off".to_owned()) };
    if status.is_success() {
        return judge(stage, lane, number, &text);
    }
    let is_problem = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
    let problem: Option<Value> = is_problem.then(|| serde_json::from_str(&text).ok()).flatten();
    let code = problem.as_ref().and_then(|problem| problem["code"].as_str());
    // What the connector says itself is passed on.
    End::Failed(code.map_or_else(|| format!("connector_said_{}", status.as_u16()), str::to_owned))
}

/// Whether the gateway gave up the stream (HTTP/2), or the connection (HTTP/1.1).
fn was_broken_off(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let said = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    said.contains("stream error received")
        || said.contains("peer closed connection")
        || said.contains("message completed")
}

/// Whether an answer is for whom the call was.
pub fn judge(stage: &Stage, lane: Lane, number: usize, text: &str) -> End {
    let expected = stage.world.whom(&lane);
    match serde_json::from_str::<Echo>(text) {
        Ok(echo) if echo.call == number && echo.whom == expected => End::Answered,
        Ok(echo) => End::Crossed(format!("call {number} for {expected:?} was answered {echo:?}")),
        Err(error) => End::Failed(format!("no echo: {text:?}: {error}")),
    }
}
