//! That nobody is ever served somebody else's token: shown with the whole gateway on real sockets.
//!
//! Its connectors verify the token of every request themselves, and compare whom it is for with whom the call is for.
//!
//! ```text
//! cargo test --test isolation -- --people 200 --seconds 60
//! ```

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;

mod agents;
mod chaos;
mod connector;
mod crowd;
mod disturbance;
mod lane;
mod matrix;
mod random;
mod report;
mod stage;
mod world;

/// Anything that goes wrong fails a part, with a sentence that says what.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long all parts together may take beyond the time that was asked for: a part that hangs fails.
const PATIENCE: Duration = Duration::from_secs(600);

/// Shows that no identity is ever served another's token.
#[derive(Parser, Clone)]
struct Options {
    /// People in the chaos
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(2..=2_000))]
    people: u32,
    /// How long the chaos lasts, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Calls at a time in the chaos
    #[arg(long, default_value_t = 48, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    concurrency: u32,
    /// What decides the random choices of the chaos; as they meet, the machine has its say too [default: the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Callers in the crowd
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=12_000))]
    callers: u32,
    /// Run only the parts whose names contain one of these
    filter: Vec<String>,
    /// For `cargo test`, which hands it to every test
    #[arg(long, hide = true)]
    nocapture: bool,
    /// For `cargo test` too
    #[arg(long, short, hide = true)]
    quiet: bool,
    /// For `cargo test` too; parts run one after another in any case
    #[arg(long, hide = true)]
    test_threads: Option<u32>,
}

/// One part: its name, and what it is.
macro_rules! parts {
    ($options:expr, $($part:path),+ $(,)?) => {{
        let mut tally = Tally::default();
        $(
            let name = stringify!($part).replace("::", " ");
            if $options.wants(&name) {
                tally.run(&name, $part($options.clone())).await;
            }
        )+
        tally
    }};
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = *options.seed.get_or_insert(clock.as_secs());
    // First of all: whatever happens, what was chosen can be chosen again.
    println!("seed {seed}\n");
    let runtime = tokio::runtime::Runtime::new().expect("threads can be had");
    let tally = runtime.block_on(async {
        parts![
            options,
            matrix::by_token_exchange,
            matrix::on_behalf_of,
            crowd::shares_one_exchange,
            crowd::outlives_its_first_caller,
            chaos::crosses_nobody,
        ]
    });
    println!("\n{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|part| name.contains(part.as_str()))
    }
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
}

impl Tally {
    /// Runs a part as a task of its own, so that a panic fails that part and no other.
    async fn run(&mut self, name: &str, part: impl Future<Output = Outcome<report::Lines>> + Send + 'static) {
        let started = Instant::now();
        let mut task = tokio::spawn(part);
        let ended = tokio::time::timeout(PATIENCE, &mut task).await;
        task.abort();
        let took = started.elapsed().as_secs_f64();
        let lines = match ended {
            Ok(Ok(Ok(lines))) => {
                self.passed += 1;
                println!("ok      {name} ({took:.1} s)");
                lines.to_string()
            }
            Ok(Ok(Err(error))) => self.fail(name, took, &error.to_string()),
            Ok(Err(panic)) => self.fail(name, took, &panic.to_string()),
            Err(_) => self.fail(name, took, "it did not come to its end"),
        };
        for line in lines.lines() {
            println!("        {line}");
        }
    }

    fn fail(&mut self, name: &str, took: f64, why: &str) -> String {
        self.failed += 1;
        println!("FAILED  {name} ({took:.1} s)");
        why.to_owned()
    }
}
