//! What a person's first call costs: a token that has never been seen, and an exchange.

use std::sync::Arc;
use std::time::Duration;

use crate::agent;
use crate::authority::Authority;
use crate::calls::Call;
use crate::finding::{Finding, Work};
use crate::gateway::{Issuer, Setup};
use crate::goals::Goal;
use crate::sample::{Sample, median};
use crate::scenario::Scenario;
use crate::table::{Table, thousands};
use crate::trail::Trail;
use crate::world::World;
use crate::{Options, Outcome};

/// People of one run, each of whom calls once.
const PEOPLE: usize = 5_000;
/// Connections that they share.
const CONNECTIONS: usize = 16;
/// How long the gateway has to finish with what the load left behind, before its clock is read.
const SETTLE: Duration = Duration::from_millis(200);

pub async fn measure(scenario: &'static Scenario, world: &World, options: &Options) -> Outcome<Finding> {
    let mut finding = Finding::of(scenario);
    let folder = world.folder().join(scenario.name);
    let authority = Authority::start().await?;
    let setup = Setup { issuer: Issuer::Authority(&authority), ..Setup::usual(world) };
    let proxy = setup.start(&folder.join("gateway")).await?;
    let (mut samples, mut work) = (Vec::new(), Work::default());
    // The first run warms up, and does not count.
    for repeat in 0..=options.repeats as usize {
        eprintln!("{}: run {repeat} of {}", scenario.name, options.repeats);
        let people = repeat * PEOPLE..(repeat + 1) * PEOPLE;
        let tokens: Arc<[String]> = people.map(|number| authority.subject_token(number)).collect();
        let before = proxy.running.cpu_time()?;
        let done = agent::call_once_with_each(proxy.address, Call::ListMessages, tokens, CONNECTIONS).await?;
        tokio::time::sleep(SETTLE).await;
        work.add_calls(done.answers);
        samples.push(Sample::new(&done, proxy.running.cpu_time()?.saturating_sub(before)));
    }
    if authority.issued() != work.answered {
        finding.faults.push(format!("{} exchanges for {} people", authority.issued(), work.answered));
    }
    let counted = &samples[1..];
    let sample = Sample::median(counted);
    finding.figures.insert(Goal::MissCpu, median(counted.iter().map(|sample| sample.cpu_micros)));
    let row = vec![
        "obo-gateway".to_owned(),
        format!("{:.1}", sample.cpu_micros),
        thousands(sample.requests_per_second),
        thousands(sample.p50_micros),
        thousands(sample.p99_micros),
        format!("{:.0} %", sample.busy * 100.0),
    ];
    let heading = format!("{CONNECTIONS} connections, {} people who call once", thousands(PEOPLE as f64));
    let columns = ["", "CPU µs/miss", "misses/s", "p50 µs", "p99 µs", "busy"];
    finding.tables.push(Table::new(heading, &columns, vec![row]));
    proxy.running.stop().await?;
    let trail = proxy.trail.ok_or("a gateway has a trail")?;
    let (told, faults) = work.compare(&Trail::read(&trail)?);
    finding.notes.push(format!("{told}."));
    finding.faults.extend(faults);
    Ok(finding)
}
