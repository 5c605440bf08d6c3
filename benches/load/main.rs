//! What the gateway costs, beside nginx as a bare reverse proxy and haproxy as one that verifies tokens: run it with
//! `benches/load/run`.
//!
//! ```text
//!                      core 0                   core 1
//!          ┌── gateway (release build) ──┐
//! load ────┤                             ├──── nginx that answers
//!          └── nginx or haproxy ─────────┘
//! ```
//!
//! All proxies get the same requests, in turn: run after run, so that what else happens on the machine happens to
//! all of them. A thousand people call, each with a token of their own; their tokens are exchanged before the first run.
//! The gateway validates, decides, swaps the token and records each call; nginx does none of that.
//!
//! A figure counts only if the work was done: every answer is a success, each person's token was exchanged once,
//! and the audit trail holds a record of every call that was answered or reached the upstream.
//!
//! `scenario.rs` says what is measured, `goals.rs` what for. `world.rs` is what stands around the proxies, `matrix.rs`
//! runs them, `report.rs` shows what was found.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

mod agent;
mod authority;
mod calls;
mod chart;
mod events;
mod finding;
mod full;
mod gateway;
mod goals;
mod haproxy;
mod herd;
mod idle;
mod instructions;
mod kept;
mod machine;
mod matrix;
mod misses;
mod nginx;
mod overload;
mod page;
mod people;
mod proxy;
mod report;
mod running;
mod sample;
mod scenario;
mod table;
mod trail;
mod world;
mod wrk;

use machine::Machine;
use report::Report;
use scenario::{Kind, SCENARIOS, Scenario};
use world::World;

/// Anything that goes wrong ends the benchmark, with a sentence for whoever started it.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Measures what the gateway costs.
#[derive(Parser)]
#[command(name = "benches/load/run")]
struct Options {
    /// What to measure; without one, everything
    #[arg(value_parser = scenario, value_name = "SCENARIO")]
    scenarios: Vec<&'static Scenario>,
    /// Length of a run, in seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Connections, in place of each scenario's own; several with commas between them
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: Vec<u32>,
    /// Runs of each proxy; the medians are reported
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeats: u32,
    /// People who call in turn, each with a token of their own
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    people: u32,
    /// People whose tokens are kept in the scenarios `kept` and `people`; in `full`, those who call (40,000 to 200,000)
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    cached: u32,
    /// Name the scenarios, and measure nothing
    #[arg(long)]
    list: bool,
    /// Cargo says so when it is to measure; without it, under `cargo test`, there is nothing to do.
    #[arg(long, hide = true)]
    bench: bool,
}

fn scenario(name: &str) -> Result<&'static Scenario, String> {
    let names = || SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
    Scenario::named(name).ok_or_else(|| format!("it is one of {}", names()))
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        for Scenario { name, title, .. } in SCENARIOS {
            println!("{name:<16}{title}");
        }
        return ExitCode::SUCCESS;
    }
    if !options.bench {
        println!("Nothing is measured without `--bench`: use benches/load/run");
        return ExitCode::SUCCESS;
    }
    let measured = tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| {
        runtime.block_on(async {
            // Whatever ends the wait, what was started is stopped when `measure` is dropped.
            tokio::select! {
                measured = measure(&options) => measured,
                stopped = stopped() => Err(stopped),
            }
        })
    });
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Ends when somebody wants the benchmark to end.
async fn stopped() -> Box<dyn Error + Send + Sync> {
    let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = signals else {
        return "cannot listen for signals".into();
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    "stopped by a signal".into()
}

async fn measure(options: &Options) -> Outcome<()> {
    let machine = Machine::look()?;
    println!("{machine}");
    let world = World::start(options.people).await?;
    println!("{}", world.cores);
    let mut report = Report { machine, cores: &world.cores, findings: Vec::new() };
    for scenario in options.scenarios() {
        let finding = match &scenario.kind {
            Kind::Proxied(proxied) => matrix::measure(scenario, proxied, &world, options).await?,
            Kind::Events => events::measure(scenario, &world, options).await?,
            Kind::Herd => herd::measure(scenario, &world, options).await?,
            Kind::Misses => misses::measure(scenario, &world, options).await?,
            Kind::People => people::measure(scenario, &world, options).await?,
            Kind::Idle => idle::measure(scenario, &world, options).await?,
            Kind::Full => full::measure(scenario, &world, options).await?,
            Kind::Overload => overload::measure(scenario, &world, options).await?,
            Kind::Kept => kept::tell(scenario, options)?,
            Kind::Instructions => instructions::measure(scenario, &world).await?,
        };
        world.clean_up(scenario.name)?;
        // Shown at once: the last of them is minutes away.
        print!("{}", finding.text());
        report.findings.push(finding);
    }
    println!("{}", report.goals().text());
    let (text, page) = (world::output_folder().join("report.md"), world::output_folder().join("report.html"));
    std::fs::write(&text, report.markdown())?;
    std::fs::write(&page, report.page())?;
    println!("Also in {} and, with charts, in {}", text.display(), page.display());
    report.check()
}

impl Options {
    fn scenarios(&self) -> Vec<&'static Scenario> {
        match self.scenarios.is_empty() {
            true => SCENARIOS.iter().collect(),
            false => self.scenarios.clone(),
        }
    }

    /// The numbers of connections of a scenario, or those that were asked for.
    fn connections_of(&self, own: &[u32]) -> Vec<u32> {
        if self.connections.is_empty() { own.to_vec() } else { self.connections.clone() }
    }

    /// How long the load runs on each proxy before anything is measured, in seconds.
    fn warm_up(&self) -> u64 {
        self.seconds.min(2)
    }
}
