//! How many instructions a request takes in user space, counted by callgrind.
//!
//! Each proxy runs twice, with so many calls and with twice as many: what the second run took more is what the calls took,
//! and start, exchanges and end are left out. A count hardly depends on the machine or on what else runs there, so it is
//! held against a figure that is committed.

use std::collections::HashSet;
use std::path::Path;

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
        let (count, committed) = (Count::per_call(&counts[0], &counts[1]), committed(name)?);
        let change = count.total / committed - 1.0;
        rows.push(vec![
            name.to_owned(),
            thousands(count.total),
            thousands(count.sha256),
            thousands(committed),
            format!("{:+.1} %", change * 100.0),
        ]);
        if change.abs() > ROOM {
            finding.faults.push(format!(
                "{name}: {total:.0} instructions per request, and {committed:.0} are committed: find out why, or write \
                 `{name} {total:.0}` into benches/load/instructions.committed",
                total = count.total,
            ));
        }
        if call == Call::ListMessages {
            finding.figures.insert(Goal::Instructions, count.total - count.sha256);
        }
    }
    let mut counts = Vec::new();
    for calls in [CALLS, 2 * CALLS] {
        eprintln!("{}: {calls} calls of nginx", scenario.name);
        counts.push(count_nginx(world, &tokens[0], calls).await?);
    }
    let nginx = thousands(Count::per_call(&counts[0], &counts[1]).total);
    rows.push(vec!["plain, nginx".to_owned(), nginx, String::new(), String::new(), String::new()]);
    let heading = format!("One connection, {} people, {CALLS} calls", tokens.len());
    let columns = ["", "instructions/request", "of these SHA-256", "committed", "change"];
    finding.tables.push(Table::new(heading, &columns, rows));
    finding.notes.push(
        "Valgrind shows programs a processor without instructions for SHA-256, so it counts some 2,000 for 64 bytes that \
         processors of today hash with some 150. The goal is about the others."
            .to_owned(),
    );
    Ok(finding)
}

async fn count_gateway(world: &World, call: Call, tokens: &[String], calls: usize) -> Outcome<Count> {
    let folder = world.folder().join(format!("callgrind-gateway-{}-{calls}", call.method()));
    let out = folder.join("callgrind.out");
    let setup = Setup { under: Under::Callgrind(&out), ..Setup::usual(world) };
    let proxy = setup.start(&folder).await?;
    // One call for each person first, which exchanges their token.
    call_in_turn(proxy, call, tokens, tokens.len() + calls).await?;
    Count::read(&out)
}

async fn count_nginx(world: &World, token: &str, calls: usize) -> Outcome<Count> {
    let folder = world.folder().join(format!("callgrind-nginx-{calls}"));
    std::fs::create_dir(&folder)?;
    let out = folder.join("callgrind.out");
    let under = Under::Callgrind(&out);
    let proxy = nginx::start_proxy(&folder, world.upstream.address, None, world.cores.proxy, under).await?;
    call_in_turn(proxy, Call::ListMessages, &[token.to_owned()], calls).await?;
    Count::read(&out)
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

/// What callgrind counted.
struct Count {
    total: f64,
    /// Of these, what SHA-256 took. Valgrind knows no processor with instructions for that, so it is done without them.
    sha256: f64,
}

impl Count {
    /// What all processes together took, each of which left a file beside this one.
    fn read(out: &Path) -> Outcome<Self> {
        let (folder, name) = (out.parent().ok_or("no folder")?, out.file_name().ok_or("no name")?);
        let (mut sum, mut files) = (Self { total: 0.0, sha256: 0.0 }, 0);
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.file_stem() != Some(name) {
                continue;
            }
            let text = std::fs::read_to_string(&path)?;
            let total =
                text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse::<f64>().ok());
            sum.total += total.ok_or_else(|| format!("{} has no total", path.display()))?;
            sum.sha256 += cost_of(&text, "sha256_block");
            files += 1;
        }
        match files {
            0 => Err(format!("callgrind left nothing at {}", out.display()).into()),
            _ => Ok(sum),
        }
    }

    /// What each call took more in the second run, which had twice as many.
    fn per_call(once: &Self, twice: &Self) -> Self {
        let each = |of: fn(&Self) -> f64| (of(twice) - of(once)) / CALLS as f64;
        Self { total: each(|count| count.total), sha256: each(|count| count.sha256) }
    }
}

/// What functions with such a name took themselves, by the profile in callgrind's format.
fn cost_of(profile: &str, name: &str) -> f64 {
    let (mut known, mut within, mut called, mut cost) = (HashSet::new(), false, false, 0.0);
    for line in profile.lines() {
        // "(12) name" where a function is named first, and "(12)" from then on.
        let function = line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn="));
        if let Some(function) = function {
            let (number, named) = function.split_once(' ').unwrap_or((function, ""));
            if named.contains(name) {
                known.insert(number);
            }
            // The other kind tells who is called.
            if line.starts_with("fn=") {
                within = known.contains(number);
            }
        } else if line.starts_with("calls=") {
            // What follows is what the called function took.
            called = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let own = if within && !called { line.split(' ').nth(1) } else { None };
            cost += own.and_then(|cost| cost.parse::<f64>().ok()).unwrap_or(0.0);
            called = false;
        }
    }
    cost
}

fn committed(name: &str) -> Outcome<f64> {
    let line =
        COMMITTED.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok());
    line.ok_or_else(|| format!("instructions.committed has no figure for {name}").into())
}
