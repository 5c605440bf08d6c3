//! Everything at once: many people, agents that hang up, slow and failing exchanges, new keys, reloads, people who are
//! blocked and forgotten. Whatever happens, nobody is served somebody else's token.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::agents::{self, Begun, Notes};
use crate::disturbance::{self, disturb};
use crate::lane::{AGENTS, CONNECTORS, TOOLS};
use crate::random::Random;
use crate::report::{Faults, Lines, count};
use crate::stage::{Setup, Stage};
use crate::world::{Grant, World};
use crate::{Options, Outcome};

/// Two tenants of each kind.
const GRANTS: [Grant; 4] = [Grant::TokenExchange, Grant::TokenExchange, Grant::OnBehalfOf, Grant::OnBehalfOf];
/// How many tasks and descriptors there may be in the end beyond those of the beginning: what is shared by the whole
/// process, and is made when it is first needed.
const LEFT_MAX: usize = 8;

/// Calls at random while everything around is disturbed. Ends by itself.
pub async fn crosses_nobody(options: Options) -> Outcome<Lines> {
    let seed = options.seed.unwrap_or_default();
    let before = Held::now();
    let setup =
        Setup { people: usize::try_from(options.people)?, grants: &GRANTS, tls: false, manners: Some(seed) };
    let stage = Arc::new(Stage::start(setup).await?);
    let notes = Arc::<Notes>::default();
    let until = Instant::now() + Duration::from_secs(options.seconds);
    let disturbances = disturb_and_call(&options, &stage, &notes, Random::new(seed, 0), until).await?;
    stage.wait_for("calls_in_progress", "", |running| running == 0).await?;

    let mut faults = Faults::default();
    let mut lines = Lines::default();
    lines.say(
        "chaos",
        format!(
            "{} people, {} agents, {} tenants, 2 sign-ins, {} connectors, {} tools; seed {seed}, {} s",
            options.people,
            AGENTS.len(),
            GRANTS.len(),
            CONNECTORS.len(),
            TOOLS.len(),
            options.seconds,
        ),
    );
    tell_of_calls(&notes, &stage, &mut faults, &mut lines).await?;
    tell_of_records(&notes, &stage, &mut faults, &mut lines).await?;
    let happened: Vec<String> = disturbances.iter().map(|(what, times)| format!("{times} {what}")).collect();
    lines.say("disturbed by", happened.join(", "));
    let (at_connectors, described) = stage.crossings();
    let crossings = at_connectors + load(&notes.crossings);
    faults.same("crossings", crossings, 0);
    faults.extend(described);
    faults.extend(notes.faults.lock().expect("nobody panics here").drain(..));

    let stage = Arc::into_inner(stage).ok_or("somebody still holds the stage")?;
    stage.stop().await;
    let after = before.wait_for_return().await;
    faults.holds(after.is_near(&before), || format!("left behind: {before:?} became {after:?}"));
    lines.say(
        "left behind",
        format!(
            "{} tasks, {} descriptors more than before",
            after.tasks.saturating_sub(before.tasks),
            after.descriptors.saturating_sub(before.descriptors)
        ),
    );
    lines.say("crossings", crossings.to_string());
    faults.or_report(lines)
}

/// Runs agents and disturbances until it is time to stop, and waits for the last of them.
async fn disturb_and_call(
    options: &Options,
    stage: &Arc<Stage>,
    notes: &Arc<Notes>,
    random: Random,
    until: Instant,
) -> Outcome<disturbance::Tally> {
    let clients: Arc<[reqwest::Client]> = agents::clients()?.into();
    let disturbing = tokio::spawn(disturb(Arc::clone(stage), random, until));
    let mut working = JoinSet::new();
    for number in 1..=u64::from(options.concurrency) {
        let (stage, notes, clients) = (Arc::clone(stage), Arc::clone(notes), Arc::clone(&clients));
        let random = Random::new(options.seed.unwrap_or_default(), number);
        working.spawn(async move { agents::work(&stage, &clients, &notes, random, until).await });
    }
    while let Some(ended) = working.join_next().await {
        ended?;
    }
    disturbing.await?
}

async fn tell_of_calls(notes: &Notes, stage: &Stage, faults: &mut Faults, lines: &mut Lines) -> Outcome<()> {
    let calls = load(&notes.calls);
    let (answered, hung_up, broke_off) =
        (load(&notes.answered), load(&notes.hung_up), load(&notes.broke_off));
    let refused = notes.refused.lock().expect("nobody panics here").clone();
    let no = refused.values().sum::<usize>();
    lines.say(
        "calls",
        format!(
            "{}: {} answered, {} refused, {} hung up by the agent, {} broken off by the connector",
            count(calls),
            count(answered),
            count(no),
            count(hung_up),
            count(broke_off)
        ),
    );
    let codes: Vec<String> = refused.iter().map(|(code, times)| format!("{times} {code}")).collect();
    lines.say("refused", codes.join(", "));
    let metric = async |name, label| Outcome::Ok(usize::try_from(stage.metric(name, label).await?)?);
    let (hits, misses) = (
        metric("credential_cache_lookups_total", "\"hit\"").await?,
        metric("credential_cache_lookups_total", "\"miss\"").await?,
    );
    let (exchanges, issued) =
        (metric("exchanges_total", "").await?, metric("exchanges_total", "\"issued\"").await?);
    lines.say(
        "tokens",
        format!(
            "{} hits, {} misses, {} exchanges of which {} gave a token; connectors saw {} tokens in {} requests",
            count(hits),
            count(misses),
            count(exchanges),
            count(issued),
            count(stage.connector_tokens()),
            count(stage.connector_requests())
        ),
    );
    // Whether anything of what it is about took place at all.
    faults
        .holds(answered > 0 && hits > 0, || format!("{answered} calls were answered, {hits} hit the cache"));
    faults.holds(answered * 4 > calls, || format!("{answered} of {calls} calls were answered"));
    faults.holds(calls < 1_000 || (no > 0 && hung_up > 0), || {
        format!("{no} calls were refused, {hung_up} hung up")
    });
    faults.same("calls and their ends", answered + no + hung_up + broke_off, calls);
    Ok(())
}

/// Each call that reached the gateway has one record, and the record names whom the call was for.
async fn tell_of_records(
    notes: &Notes,
    stage: &Stage,
    faults: &mut Faults,
    lines: &mut Lines,
) -> Outcome<()> {
    let records = stage.records().await?;
    let counted = usize::try_from(stage.metric("requests_total", "").await?)?;
    faults.same("records of calls", records.len(), counted);
    let by_id: HashMap<&str, &Value> =
        records.iter().filter_map(|record| Some((record["metadata"]["uid"].as_str()?, record))).collect();
    faults.same("records with an id of their own", by_id.len(), records.len());
    // One that is missing belongs to an agent that hung up before the gateway had its request.
    let (calls, hung_up) = (load(&notes.calls), load(&notes.hung_up));
    faults.holds(records.len() <= calls && calls - records.len() <= hung_up, || {
        format!("{} records for {calls} calls, of which {hung_up} were hung up", records.len())
    });
    let by_http2 = records.iter().filter(|record| record["http_request"]["version"] == "2").count();
    let begun = notes.begun.lock().expect("nobody panics here").clone();
    let wrong: Vec<String> = begun.iter().filter_map(|call| mismatch(call, &by_id, &stage.world)).collect();
    faults.same("records that are not their call's", wrong.len(), 0);
    faults.extend(wrong.into_iter().take(5));
    lines.say(
        "records",
        format!(
            "{} for {} calls that the gateway counted, {} of them by HTTP/2; {} calls that had an answer, each in a record of its own",
            count(records.len()),
            count(counted),
            count(by_http2),
            count(begun.len())
        ),
    );
    Ok(())
}

fn mismatch(call: &Begun, by_id: &HashMap<&str, &Value>, world: &World) -> Option<String> {
    let Some(record) = by_id.get(call.id.as_str()) else { return Some(format!("{} has no record", call.id)) };
    let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let lane = &call.lane;
    let found =
        [text("/actor/user/uid"), text("/actor/app_uid"), text("/actor/idp/name"), text("/api/service/name")];
    let expected = [
        world.subject(lane),
        AGENTS[lane.agent].to_owned(),
        world.tenants[lane.tenant].name.clone(),
        world.connector(lane),
    ];
    // Who was refused for their token is not known.
    let unknown = !call.success && found[0].is_empty();
    (found != expected && !unknown).then(|| format!("{}: {found:?}, and not {expected:?}", call.id))
}

/// What the process holds.
#[derive(Debug)]
struct Held {
    tasks: usize,
    descriptors: usize,
}

impl Held {
    fn now() -> Self {
        let descriptors = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        Self { tasks: Handle::current().metrics().num_alive_tasks(), descriptors }
    }

    fn is_near(&self, before: &Self) -> bool {
        self.tasks <= before.tasks + LEFT_MAX && self.descriptors <= before.descriptors + LEFT_MAX
    }

    /// What is held once all of it is back, or near it after a while.
    async fn wait_for_return(&self) -> Self {
        for round in 0..400 {
            let now = Self::now();
            let all = now.tasks <= self.tasks && now.descriptors <= self.descriptors;
            if all || (round >= 60 && now.is_near(self)) {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Self::now()
    }
}

fn load(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::Relaxed)
}
