//! Whether a gateway keeps to its memory when far more people call than it has room for, and what that does to them.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::agent;
use crate::authority::Authority;
use crate::calls::Call;
use crate::finding::Finding;
use crate::gateway::{Issuer, Setup};
use crate::goals::Goal;
use crate::proxy::Proxy;
use crate::sample::{Sample, median};
use crate::scenario::Scenario;
use crate::table::{Table, thousands};
use crate::world::World;
use crate::{Options, Outcome};

/// `memory`: room for some 10,000 delegated tokens, and some 5,000 verified ones.
const MEMORY: &str = "{ delegated_tokens: 16MiB, verified_tokens: 32MiB }";
const MEMORY_BYTES: f64 = 48.0 * 1_048_576.0;
/// Most people who call, however many are asked for: more only take longer.
const PEOPLE_MAX: usize = 200_000;
/// People who call before anything counts.
const WARM_UP: usize = 500;
/// People of one run: of those before it is full there are no more.
const BATCH: usize = 1_000;
/// Runs before, and runs after.
const RUNS: usize = 4;
/// Connections that they share.
const CONNECTIONS: usize = 16;
/// How long the gateway has to finish with what the load left behind, before its clock is read.
const SETTLE: Duration = Duration::from_millis(200);

pub async fn measure(scenario: &'static Scenario, world: &World, options: &Options) -> Outcome<Finding> {
    let mut finding = Finding::of(scenario);
    let authority = Authority::start().await?;
    let memory = format!("memory: {MEMORY}\n");
    let setup = Setup { issuer: Issuer::Authority(&authority), keys: &memory, ..Setup::usual(world) };
    let proxy = setup.start(&world.folder().join(scenario.name)).await?;
    let people = (options.cached as usize).clamp(40 * BATCH, PEOPLE_MAX);
    let idle = proxy.running.resident()? as f64;
    let call = async |people: Range<usize>| call(&proxy, &authority, people).await;
    call(0..WARM_UP).await?;
    let (mut before, mut after, mut most) = (Vec::new(), Vec::new(), idle);
    let mut begin = WARM_UP;
    for _ in 0..RUNS {
        before.push(call(begin..begin + BATCH).await?);
        begin += BATCH;
    }
    while begin < people {
        eprintln!("{}: {} of {} people", scenario.name, thousands(begin as f64), thousands(people as f64));
        let end = (begin + 10 * BATCH).min(people);
        call(begin..end).await?;
        begin = end;
        most = most.max(proxy.running.resident()? as f64);
    }
    for _ in 0..RUNS {
        after.push(call(begin..begin + BATCH).await?);
        begin += BATCH;
        most = most.max(proxy.running.resident()? as f64);
    }
    // Those who came first have had to go, and come again.
    let exchanges = authority.issued();
    let again = call(0..BATCH).await?;
    let exchanged_again = authority.issued() - exchanges;
    let held = proxy.metric("credential_cache_entries").await?;

    let rows = [("not full yet", before.as_slice()), ("full", &after), ("the first ones again", &[again])];
    let rows = rows.map(|(name, samples)| {
        let sample = Sample::median(samples);
        vec![
            name.to_owned(),
            format!("{:.1}", sample.cpu_micros),
            thousands(sample.requests_per_second),
            thousands(sample.p50_micros),
            thousands(sample.p99_micros),
        ]
    });
    let columns = ["`memory`", "CPU µs/request", "requests/s", "p50 µs", "p99 µs"];
    finding.tables.push(Table::new(format!("First calls, {CONNECTIONS} connections"), &columns, rows.into()));
    finding.notes.push(format!(
        "{} people called, with `memory: {MEMORY}`; the tokens of {} were kept in the end, and {} of the first {} had to be exchanged \
         again. The gateway held {:.1} MiB when idle, and {:.1} MiB at most.",
        thousands(begin as f64),
        thousands(held),
        thousands(exchanged_again as f64),
        thousands(BATCH as f64),
        idle / 1_048_576.0,
        most / 1_048_576.0,
    ));
    let p99 = |samples: &[Sample]| median(samples.iter().map(|sample| sample.p99_micros));
    finding.figures.insert(Goal::FullMemory, (most - idle) / MEMORY_BYTES);
    finding.figures.insert(Goal::FullP99, p99(&after) / p99(&before));
    proxy.running.stop().await?;
    Ok(finding)
}

/// Has these people call once.
async fn call(proxy: &Proxy, authority: &Authority, people: Range<usize>) -> Outcome<Sample> {
    let tokens: Arc<[String]> = people.map(|number| authority.subject_token(number)).collect();
    let before = proxy.running.cpu_time()?;
    let done = agent::call_once_with_each(proxy.address, Call::ListMessages, tokens, CONNECTIONS).await?;
    tokio::time::sleep(SETTLE).await;
    Ok(Sample::new(&done, proxy.running.cpu_time()?.saturating_sub(before)))
}
