//! Many agents who call for the same person at once, when nothing is kept for them yet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use obo_gateway::demo::authorization_server::Endpoint;
use obo_gateway::demo::jws::Algorithm;
use obo_gateway::demo::script::Reply;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::agent::Agent;
use crate::calls::Call;
use crate::finding::{Finding, Work};
use crate::gateway::Setup;
use crate::sample::Sample;
use crate::scenario::Scenario;
use crate::table::{Table, thousands};
use crate::trail::Trail;
use crate::world::World;
use crate::wrk::Done;
use crate::{Options, Outcome};

/// Agents that call at once.
const AGENTS: usize = 256;
/// How long the authorization server takes for an exchange: long enough for all of them to come meanwhile.
const EXCHANGE: Duration = Duration::from_millis(100);
/// How long the gateway has to finish with what the herd left behind, before its clock is read.
const SETTLE: Duration = Duration::from_millis(100);

pub async fn measure(scenario: &'static Scenario, world: &World, options: &Options) -> Outcome<Finding> {
    let mut finding = Finding::of(scenario);
    let setup = Setup::usual(world);
    let proxy = setup.start(&world.folder().join(scenario.name)).await?;
    let script = world.authorization_server.script(Endpoint::Token);
    script.always(Reply::normal().after(EXCHANGE));
    let (mut samples, mut work, mut most_exchanges) = (Vec::new(), Work::default(), 0);
    let herds = options.repeats as usize;
    for token in world.tokens(Algorithm::Rs256).into_iter().take(herds) {
        let (before, exchanges) = (proxy.running.cpu_time()?, world.exchanges());
        let done = herd(&proxy.address, token.into()).await?;
        tokio::time::sleep(SETTLE).await;
        most_exchanges = most_exchanges.max(world.exchanges() - exchanges);
        work.add_calls(done.answers);
        samples.push(Sample::new(&done, proxy.running.cpu_time()?.saturating_sub(before)));
    }
    script.clear();
    let sample = Sample::median(&samples);
    let millis = |micros: f64| format!("{:.1}", micros / 1e3);
    let row = vec![
        "obo-gateway".to_owned(),
        most_exchanges.to_string(),
        millis(sample.p50_micros - EXCHANGE.as_secs_f64() * 1e6),
        millis(sample.p99_micros - EXCHANGE.as_secs_f64() * 1e6),
        format!("{:.1}", sample.cpu_micros),
    ];
    let heading = format!("{AGENTS} agents at once, {} of exchange, {herds} herds", humane(EXCHANGE));
    let columns = ["", "exchanges", "p50 ms beyond it", "p99 ms beyond it", "CPU µs/request"];
    finding.tables.push(Table::new(heading, &columns, vec![row]));
    if most_exchanges != 1 {
        finding.faults.push(format!("{most_exchanges} exchanges for one person at one time"));
    }
    proxy.running.stop().await?;
    let trail = proxy.trail.ok_or("a gateway has a trail")?;
    let (told, faults) = work.compare(&Trail::read(&trail)?);
    finding.notes.push(format!("{told}, for {} people.", thousands(herds as f64)));
    finding.faults.extend(faults);
    Ok(finding)
}

/// All connect, wait for each other, and call.
async fn herd(address: &std::net::SocketAddr, token: Arc<str>) -> Outcome<Done> {
    let (start, mut calling) = (Arc::new(Barrier::new(AGENTS + 1)), JoinSet::new());
    for _ in 0..AGENTS {
        let (start, token, address) = (Arc::clone(&start), Arc::clone(&token), *address);
        calling.spawn(async move {
            let mut agent = Agent::connect(address).await?;
            start.wait().await;
            let began = Instant::now();
            let answer = agent.call(Call::ListMessages, &token).await?;
            match answer.status {
                200 => Outcome::Ok(began.elapsed().as_secs_f64() * 1e6),
                status => Err(format!("{status}: {}", String::from_utf8_lossy(&answer.body)).into()),
            }
        });
    }
    start.wait().await;
    let (started, mut latencies) = (Instant::now(), Vec::new());
    while let Some(called) = calling.join_next().await {
        latencies.push(called??);
    }
    Ok(Done::of(latencies, started.elapsed()))
}

fn humane(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}
