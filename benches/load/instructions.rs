//! How many instructions a request takes in user space, counted by callgrind.
//!
//! Each proxy runs twice, with so many calls and with twice as many: what the second run took more is what the calls took,
//! and start, exchanges and end are left out. A count hardly depends on the machine or on what else runs there, so it is
//! held against a figure that is committed.

use std::path::{Path, PathBuf};

use obo_gateway::demo::jws::Algorithm;

use crate::agent::Agent;
use crate::calls::Call;
use crate::finding::Finding;
use crate::gateway::Setup;
use crate::goals::Goal;
use crate::proxy::Proxy;
use crate::running::Under;
use crate::scenario::Scenario;
use crate::table::{Table, thousands};
use crate::world::World;
use crate::{Outcome, nginx};

/// Calls of the shorter run.
const CALLS: usize = 2_000;
/// People whose tokens take turns. Few, because under callgrind each exchange takes long.
const PEOPLE: usize = 100;
/// The figures that are committed.
const COMMITTED: &str = include_str!("instructions.committed");
/// How far a count may be from the committed one, in either direction: one that is much better is to be committed.
const ROOM: f64 = 0.03;

pub async fn measure(scenario: &'static Scenario, world: &World) -> Outcome<Finding> {
    let mut finding = Finding::of(scenario);
    let tokens = world.tokens(Algorithm::Rs256);
    let tokens = &tokens[..PEOPLE.min(tokens.len())];
    let mut rows = Vec::new();
    for (name, call) in [("plain", Call::ListMessages), ("mcp", Call::UseTool)] {
        let mut counts = Vec::new();
        for calls in [CALLS, 2 * CALLS] {
            eprintln!("{}: {calls} {name} calls", scenario.name);
            counts.push(count_gateway(world, call, tokens, calls).await?);
        }
        let count = per_call(&counts);
        let committed = committed(name)?;
        rows.push(vec![
            name.to_owned(),
            thousands(count),
            thousands(committed),
            format!("{:+.1} %", (count / committed - 1.0) * 100.0),
        ]);
        if (count / committed - 1.0).abs() > ROOM {
            finding.faults.push(format!(
                "{name}: {count:.0} instructions per request, and {committed:.0} are committed: find out why, or write \
                 `{name} {count:.0}` into benches/load/instructions.committed"
            ));
        }
        if call == Call::ListMessages {
            finding.figures.insert(Goal::Instructions, count);
        }
    }
    let mut counts = Vec::new();
    for calls in [CALLS, 2 * CALLS] {
        eprintln!("{}: {calls} calls of nginx", scenario.name);
        counts.push(count_nginx(world, &tokens[0], calls).await?);
    }
    rows.push(vec!["plain, nginx".to_owned(), thousands(per_call(&counts)), String::new(), String::new()]);
    let heading = format!("One connection, {} people, {CALLS} calls", tokens.len());
    finding.tables.push(Table::new(heading, &["", "instructions/request", "committed", "change"], rows));
    Ok(finding)
}

async fn count_gateway(world: &World, call: Call, tokens: &[String], calls: usize) -> Outcome<f64> {
    let folder = world.folder().join(format!("callgrind-gateway-{}-{calls}", call.method()));
    let out = folder.join("callgrind.out");
    let setup = Setup { under: Under::Callgrind(&out), ..Setup::usual(world) };
    let proxy = setup.start(&folder).await?;
    // One call for each person first, which exchanges their token.
    call_in_turn(proxy, call, tokens, tokens.len() + calls).await?;
    total(&folder)
}

async fn count_nginx(world: &World, token: &str, calls: usize) -> Outcome<f64> {
    let folder = world.folder().join(format!("callgrind-nginx-{calls}"));
    std::fs::create_dir(&folder)?;
    let under = Under::Callgrind(&folder.join("callgrind.out"));
    let proxy = nginx::start_proxy(&folder, world.upstream.address, None, world.cores.proxy, under).await?;
    call_in_turn(proxy, Call::ListMessages, &[token.to_owned()], calls).await?;
    total(&folder)
}

/// Makes so many calls, one after another, and stops the proxy.
async fn call_in_turn(proxy: Proxy, call: Call, tokens: &[String], calls: usize) -> Outcome<()> {
    let mut agent = Agent::connect(proxy.address).await?;
    for token in tokens.iter().cycle().take(calls) {
        let answer = agent.call(call, token).await?;
        if answer.status != 200 || answer.body != call.answer().as_bytes() {
            let body = String::from_utf8_lossy(&answer.body);
            return Err(format!("{} answers something else than the upstream: {body}", proxy.name).into());
        }
    }
    drop(agent);
    proxy.running.stop().await
}

fn per_call(counts: &[f64]) -> f64 {
    (counts[1] - counts[0]) / CALLS as f64
}

/// All instructions that the files of callgrind in this folder tell of.
fn total(folder: &Path) -> Outcome<f64> {
    let mut sum = 0.0;
    for entry in std::fs::read_dir(folder)? {
        let path: PathBuf = entry?.path();
        if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("callgrind.out")) {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse::<f64>().ok());
        sum += total.ok_or_else(|| format!("{} has no total", path.display()))?;
    }
    match sum > 0.0 {
        true => Ok(sum),
        false => Err(format!("callgrind left nothing in {}", folder.display()).into()),
    }
}

fn committed(name: &str) -> Outcome<f64> {
    let line =
        COMMITTED.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok());
    line.ok_or_else(|| format!("instructions.committed has no figure for {name}").into())
}
