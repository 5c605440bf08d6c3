//! Whether a call costs more when tokens of very many people are kept.

use std::sync::Arc;

use crate::agent;
use crate::authority::Authority;
use crate::calls::Call;
use crate::finding::Finding;
use crate::gateway::{Issuer, Setup};
use crate::goals::Goal;
use crate::matrix::run;
use crate::proxy::Proxy;
use crate::sample::{Sample, median};
use crate::scenario::Scenario;
use crate::table::{Table, thousands};
use crate::world::World;
use crate::wrk::Load;
use crate::{Options, Outcome};

/// People who call for the first time in one go: their tokens are in memory meanwhile.
const BATCH: usize = 20_000;
/// Connections that bring them.
const CONNECTIONS: usize = 32;
/// People among all those who are kept, evenly spread, for whom calls are made when it counts.
const CALLERS: usize = 10_000;

pub async fn measure(scenario: &'static Scenario, world: &World, options: &Options) -> Outcome<Finding> {
    let mut finding = Finding::of(scenario);
    let folder = world.folder().join(scenario.name);
    let authority = Authority::start().await?;
    let setup = Setup { issuer: Issuer::Authority(&authority), ..Setup::usual(world) };
    let people = options.cached as usize;
    // A kilobyte and a quarter for each, and what is ready.
    let memory = format!("memory: {{ delegated_tokens: {}KiB }}\n", people * 5 / 4 + 128 * 1_024);
    let (few, many) = (setup.start(&folder.join("few")).await?, Setup { keys: &memory, ..setup });
    let many = many.start(&folder.join("many")).await?;
    let empty = many.running.resident()?;
    let callers = fill(&many, &authority, people, scenario.name).await?;
    let (held, resident) = (many.metric("credential_cache_entries").await?, many.running.resident()?);
    let each = resident.saturating_sub(empty) as f64 / held.max(1.0);

    let one: Arc<[String]> = [authority.subject_token(0)].into();
    let load = |name: &str, tokens: &[String]| -> Outcome<Load> {
        let path = folder.join(name);
        std::fs::write(&path, tokens.join("\n") + "\n")?;
        let call = Call::ListMessages.write(world.folder())?;
        Ok(Load { connections: 64, seconds: options.seconds, tokens: path, call, core: world.cores.load })
    };
    let of_one = load("token-of-one", &one)?;
    let cases = [
        ("1 person kept".to_owned(), &few, of_one.clone()),
        (format!("{} kept, 1 calls", thousands(held)), &many, of_one),
        (
            format!("{} kept, {} call", thousands(held), thousands(callers.len() as f64)),
            &many,
            load("tokens-of-many", &callers)?,
        ),
    ];
    // Their tokens are verified once more, where they have been forgotten since.
    agent::call_once_with_each(many.address, Call::ListMessages, callers.into(), CONNECTIONS).await?;
    for proxy in [&few, &many] {
        agent::call_once_with_each(proxy.address, Call::ListMessages, Arc::clone(&one), 1).await?;
    }
    let exchanges = authority.issued();
    let mut samples = [Vec::new(), Vec::new(), Vec::new()];
    for repeat in 1..=options.repeats {
        eprintln!("{}: run {repeat} of {}", scenario.name, options.repeats);
        for ((_, proxy, load), samples) in cases.iter().zip(&mut samples) {
            samples.push(run(load, &proxy.url(Call::ListMessages), &proxy.running).await?);
        }
    }
    let again = authority.issued() - exchanges;
    let ratio = |of: &[Sample]| {
        median(of.iter().zip(&samples[0]).map(|(sample, base)| sample.cpu_micros / base.cpu_micros))
    };
    let rows = cases.iter().zip(&samples).map(|((name, ..), samples)| {
        let sample = Sample::median(samples);
        vec![
            name.clone(),
            format!("{:.1}", sample.cpu_micros),
            format!("{:.2}", ratio(samples)),
            thousands(sample.requests_per_second),
            thousands(sample.p50_micros),
            thousands(sample.p99_micros),
        ]
    });
    let columns = ["", "CPU µs/request", "ratio", "requests/s", "p50 µs", "p99 µs"];
    finding.tables.push(Table::new("64 connections", &columns, rows.collect()));
    finding.notes.push(format!(
        "{} people called once, and the tokens of {} were kept: the gateway grew by {} bytes for each. {} of the tokens were \
         exchanged again while it was measured.",
        thousands(people as f64),
        thousands(held),
        thousands(each),
        thousands(again as f64),
    ));
    if held < people as f64 {
        finding
            .notes
            .push("Not all of them fit into the gateway's cache, so the goal is not measured.".to_owned());
    } else {
        finding.figures.insert(Goal::People, ratio(&samples[2]));
    }
    for proxy in [few, many] {
        proxy.running.stop().await?;
    }
    Ok(finding)
}

/// Has so many people call once. Gives the tokens of some, evenly spread.
async fn fill(proxy: &Proxy, authority: &Authority, people: usize, name: &str) -> Outcome<Vec<String>> {
    let mut callers = Vec::new();
    let every = (people / CALLERS).max(1);
    for begin in (0..people).step_by(BATCH) {
        eprintln!("{name}: {} of {} people", thousands(begin as f64), thousands(people as f64));
        let batch = begin..(begin + BATCH).min(people);
        let tokens: Arc<[String]> = batch.clone().map(|number| authority.subject_token(number)).collect();
        let chosen = batch.zip(tokens.iter()).filter(|(number, _)| number.is_multiple_of(every));
        callers.extend(chosen.map(|(_, token)| token.clone()));
        agent::call_once_with_each(proxy.address, Call::ListMessages, Arc::clone(&tokens), CONNECTIONS)
            .await?;
    }
    Ok(callers)
}
