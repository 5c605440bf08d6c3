//! A fault drill: the gateway's own process under load, while every few seconds something around it breaks.
//!
//! Whatever happens, nobody is served somebody else's token, no call is without its record, nothing panics, and every call that
//! fails fails for a reason that was there at the time. The report says what was injected and what came of it.
//!
//! ```text
//! OBO_GATEWAY_BINARY=target/release/obo-gateway cargo test --test drill -- --seconds 120
//! ```
//!
//! Without that variable it drills the build of the tests.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use tokio::task::JoinSet;

mod agents;
mod certificates;
// What the isolation tests have: connectors that verify each token and compare whom it is for with whom the call is for.
#[path = "../isolation/connector.rs"]
mod connector;
mod crowd;
mod faults;
mod gateway;
#[path = "../isolation/lane.rs"]
mod lane;
mod memory;
mod notes;
#[path = "../isolation/random.rs"]
mod random;
#[path = "../isolation/report.rs"]
mod report;
mod road;
mod stage;
mod trail;
#[path = "../isolation/world.rs"]
#[expect(dead_code, reason = "the isolation tests ask more of it")]
mod world;

use faults::Deck;
use memory::Memory;
use notes::Notes;
use random::Random;
use report::{Faults, Lines, count};
use stage::Stage;

/// Anything that goes wrong ends the drill, with a sentence that says what.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long after the last fault everything has to be as it was: longer than a circuit stays open, and than anybody
/// who was throttled is left alone.
const RECOVERY: Duration = Duration::from_secs(15);
/// Calls that all have to succeed then.
const CALLS_AFTERWARDS: usize = 200;
/// How long the drill may take beyond its time: one that hangs fails.
const PATIENCE: Duration = Duration::from_secs(240);

/// Breaks what is around the gateway, one thing after another, while agents call.
#[derive(Parser)]
struct Options {
    /// How long faults are injected, in seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// What decides the random choices; as they meet, the machine has its say too [default: the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// People for whom calls are made
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=2_000))]
    people: u32,
    /// Agents that call all the time
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    agents: u32,
    /// For `cargo test`, which hands it to every test
    #[arg(long, hide = true)]
    nocapture: bool,
    /// For `cargo test` too
    #[arg(long, short, hide = true)]
    quiet: bool,
    /// For `cargo test` too
    #[arg(long, hide = true)]
    list: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        return ExitCode::SUCCESS;
    }
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = options.seed.unwrap_or(clock.as_secs());
    // First of all: whatever happens, what was chosen can be chosen again.
    println!("seed {seed}\n");
    let runtime = tokio::runtime::Runtime::new().expect("threads can be had");
    let patience = Duration::from_secs(options.seconds) + RECOVERY + PATIENCE;
    let drilled = runtime.block_on(async { tokio::time::timeout(patience, drill(&options, seed)).await });
    match drilled {
        Ok(Ok(lines)) => {
            println!("{lines}\n1 passed, 0 failed");
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => failed(&error.to_string()),
        Err(_) => failed("it did not come to its end"),
    }
}

fn failed(why: &str) -> ExitCode {
    println!("FAILED\n{why}\n0 passed, 1 failed");
    ExitCode::FAILURE
}

async fn drill(options: &Options, seed: u64) -> Outcome<Lines> {
    let stage = Arc::new(Stage::start(usize::try_from(options.people)?).await?);
    let notes = Arc::<Notes>::default();
    let until = Instant::now() + Duration::from_secs(options.seconds);

    let memory = tokio::spawn(Memory::watch(Arc::clone(&stage)));
    let mut working = JoinSet::new();
    for number in 1..=u64::from(options.agents) {
        let (stage, notes, random) = (Arc::clone(&stage), Arc::clone(&notes), Random::new(seed, number));
        // They go on until everything is well again.
        working.spawn(async move { agents::work(&stage, &notes, random, until + RECOVERY).await });
    }
    let (mut deck, mut random) = (Deck::default(), Random::new(seed, 0));
    while Instant::now() < until {
        deck.inject(&stage, &notes, &mut random).await?;
    }
    while let Some(ended) = working.join_next().await {
        ended??;
    }
    memory.abort();

    let mut faults = Faults::default();
    let afterwards = agents::call_for_everybody(&stage, &notes, CALLS_AFTERWARDS).await?;
    faults.same("calls that succeeded when all was well again", afterwards, CALLS_AFTERWARDS);
    let mut lines = Lines::default();
    lines.say(
        "drill",
        format!(
            "{} s, {} people, {} agents, seed {seed}; {}",
            options.seconds,
            options.people,
            options.agents,
            stage.gateway.describe()
        ),
    );
    notes.tell(&mut faults, &mut lines);
    memory::tell(&stage, &mut lines);
    let (crossings, described) = stage.crossings();
    let crossings = crossings + notes.crossings();
    faults.same("crossings", crossings, 0);
    faults.extend(described);
    let counted = stage.counted_calls().await?;
    stage.gateway.stop().await?;
    trail::tell(&stage, &notes, counted, &mut faults, &mut lines)?;
    let panics = stage.gateway.panics()?;
    faults.same("panics", panics.len(), 0);
    lines.say("crossings", count(crossings));
    lines.say("panics", count(panics.len()));
    faults.extend(panics.into_iter().take(5));
    faults.or_report(lines)
}
