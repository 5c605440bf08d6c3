//! What the gateway costs, beside nginx as a bare reverse proxy: run it with `benches/load/run`.
//!
//! ```text
//!                      core 0                   core 1
//!          ┌── gateway (release build) ──┐
//! wrk ─────┤                             ├──── nginx that answers 1 KiB of JSON
//!          └── nginx, `proxy_pass` ──────┘
//! ```
//!
//! Both proxies get the same requests, in turn: run after run, so that what else happens on the machine happens to
//! both. A thousand people call, each with a token of their own; their tokens are exchanged before the first run.
//! The gateway validates, decides, swaps the token and records each call; nginx does none of that.
//! Plain HTTP on loopback on both sides: TLS would cost both the same.
//!
//! A figure counts only if the work was done: every answer is a success, each person's token was exchanged once,
//! and the audit trail holds a record of every call that was answered or reached the upstream.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use obo_gateway::demo::authorization_server::{
    AuthorizationServer, Consent, Endpoint, MAIL_AUDIENCE, Settings,
};
use obo_gateway::demo::people::Person;
use tokio::signal::unix::{SignalKind, signal};

mod durability;
mod machine;
mod proxies;
mod report;
mod running;
mod trail;
mod wrk;

use machine::{Cores, Machine};
use proxies::{Gateway, Nginx, Records, Upstream};
use report::{Report, Sample, Series};
use trail::Trail;
use wrk::Load;

/// Anything that goes wrong ends the benchmark, with a sentence for whoever started it.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long the load runs on each proxy before anything is measured, in seconds.
const WARM_UP_SECONDS: u64 = 2;
/// How long proxies have to finish with what the load left behind, before their clocks are read.
const SETTLE: Duration = Duration::from_millis(100);
/// The path of every call.
const PATH: &str = "/mail/me/messages";

/// Measures what the gateway costs.
#[derive(Parser)]
struct Options {
    /// Length of a run with many connections, in seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// How many connections that is
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Runs of each proxy; the medians are reported
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeats: u32,
    /// People who call in turn, each with a token of their own
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    people: u32,
    /// Compare what a record may have to survive (`audit.durability`), and not the gateway with nginx
    #[arg(long)]
    durability: bool,
    /// Cargo says so when it is to measure; without it, under `cargo test`, there is nothing to do.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        println!("Nothing is measured without `--bench`: use benches/load/run");
        return ExitCode::SUCCESS;
    }
    let measured = tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| {
        runtime.block_on(async {
            // Whatever ends the wait, what was started is stopped when `measure` is dropped.
            tokio::select! {
                measured = durability::measure(&options), if options.durability => measured,
                measured = measure(&options), if !options.durability => measured,
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
    let cores = Cores::choose();
    println!("{cores}");

    let output = target_folder().join("load");
    std::fs::create_dir_all(&output)?;
    let folder = tempfile::tempdir_in(&output)?;
    let authorization_server = AuthorizationServer::start(tenant(options.people)).await?;
    let upstream = Upstream::start(folder.path(), cores.load).await?;
    let nginx = Nginx::start(folder.path(), &upstream, cores.proxy).await?;
    let gateway_folder = folder.path().join("gateway");
    let records = Records { folder: &gateway_folder, durability: "process" };
    let gateway = Gateway::start(
        &gateway_binary()?,
        &gateway_folder,
        &authorization_server,
        &upstream,
        cores.proxy,
        &records,
    )
    .await?;

    let tokens = write_tokens(folder.path(), &authorization_server)?;
    let mut calls = call_for_each(&authorization_server, &gateway, options.people).await?;
    let answer = call(nginx.url(PATH), &authorization_server.subject_token(&object_id(0)).mint()).await?;
    if answer != proxies::ANSWER.as_str() {
        return Err("nginx answers something else than the upstream".into());
    }
    let load = |connections, seconds| Load { connections, seconds, tokens: tokens.clone(), core: cores.load };
    let warm_up = load(options.connections, WARM_UP_SECONDS);
    calls.add(&run_counted(&warm_up, &gateway, &upstream).await?, &warm_up);
    run(&warm_up, &nginx.url(PATH), || nginx.cpu_time()).await?;

    let mut series = Vec::new();
    // One connection waits for each answer, so its latencies are steady soon; three fifths of the time are enough.
    for (connections, seconds) in
        [(options.connections, options.seconds), (1, (options.seconds * 3).div_ceil(5))]
    {
        let load = load(connections, seconds);
        let mut measured = Series::new(connections, options.repeats, seconds);
        for repeat in 1..=options.repeats {
            eprintln!("Run {repeat} of {} with {}", options.repeats, report::connections(connections));
            let counted = run_counted(&load, &gateway, &upstream).await?;
            calls.add(&counted, &load);
            measured.gateway.push(counted.sample);
            measured.nginx.push(run(&load, &nginx.url(PATH), || nginx.cpu_time()).await?);
            if connections == 1 {
                measured.direct.push(run(&load, &upstream.url(PATH), || upstream.cpu_time()).await?);
            }
        }
        series.push(measured);
    }

    let trail = Trail::read(&gateway.stop().await?)?;
    let exchanges = authorization_server.fetches(Endpoint::Token);
    let report = Report { machine, cores: &cores, series, calls, trail, exchanges, people: options.people };
    println!("\n{}", report.text());
    let path = output.join("report.md");
    std::fs::write(&path, report.markdown())?;
    println!("Also in {}", path.display());
    report.check()
}

/// One run on one proxy.
async fn run(load: &Load, url: &str, cpu_time: impl Fn() -> Outcome<Duration>) -> Outcome<Sample> {
    let before = cpu_time()?;
    let done = load.put_on(url).await?;
    tokio::time::sleep(SETTLE).await;
    Ok(Sample::new(&done, cpu_time()?.saturating_sub(before)))
}

/// One run on the gateway, of which the upstream counts what reaches it.
async fn run_counted(load: &Load, gateway: &Gateway, upstream: &Upstream) -> Outcome<Counted> {
    let before = upstream.requests().await?;
    let sample = run(load, &gateway.url(PATH), || gateway.cpu_time()).await?;
    Ok(Counted { sample, forwarded: upstream.requests().await? - before })
}

/// A run, and how many of its requests reached the upstream.
struct Counted {
    sample: Sample,
    forwarded: u64,
}

/// What went to the gateway, counted by others than itself.
struct Calls {
    /// Answers that the load counted.
    answered: u64,
    /// Requests that the upstream counted.
    forwarded: u64,
    /// Most calls that were under way when wrk's time was up. It hangs up on them and does not count them.
    cut_max: u64,
}

impl Calls {
    fn add(&mut self, run: &Counted, load: &Load) {
        self.answered += run.sample.answers;
        self.forwarded += run.forwarded;
        self.cut_max += u64::from(load.connections);
    }
}

/// One call for each person, so that every token is exchanged, and a look at what comes back.
async fn call_for_each(
    authorization_server: &AuthorizationServer,
    gateway: &Gateway,
    people: u32,
) -> Outcome<Calls> {
    for number in 0..people {
        let token = authorization_server.subject_token(&object_id(number)).mint();
        let answer = call(gateway.url(PATH), &token).await?;
        if answer != proxies::ANSWER.as_str() {
            return Err(format!("the gateway answers something else than the upstream: {answer}").into());
        }
    }
    Ok(Calls { answered: people.into(), forwarded: people.into(), cut_max: 0 })
}

/// What is answered to a call with this token.
async fn call(url: String, token: &str) -> Outcome<String> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    Ok(client.get(url).bearer_auth(token).send().await?.error_for_status()?.text().await?)
}

fn write_tokens(folder: &Path, authorization_server: &AuthorizationServer) -> Outcome<PathBuf> {
    let path = folder.join("tokens");
    let people = &authorization_server.settings().people;
    let tokens = people.iter().map(|person| authorization_server.subject_token(&person.oid).mint() + "\n");
    std::fs::write(&path, tokens.collect::<String>())?;
    Ok(path)
}

/// A tenant of so many people who have all consented.
fn tenant(people: u32) -> Settings {
    let people: Vec<Person> = (0..people)
        .map(|number| {
            Person::new(&object_id(number), &format!("P{number} Load"), &format!("p{number}@load.demo.test"))
        })
        .collect();
    let client_id = Settings::default().gateway.client_id;
    let consent = |person: &Person| Consent::new(&person.oid, &client_id, MAIL_AUDIENCE, "Mail.Read");
    Settings { consents: people.iter().map(consent).collect(), people, ..Settings::default() }
}

fn object_id(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

fn target_folder() -> &'static Path {
    // Cargo gives benchmarks the folder `tmp` in the target folder.
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the folder that Cargo gives is in the target folder")
}

/// The gateway to measure: the one that `benches/load/run` built, or the one that `cargo bench` did.
fn gateway_binary() -> Outcome<PathBuf> {
    match std::env::var_os("OBO_GATEWAY_BINARY") {
        Some(path) => Ok(path.into()),
        None if cfg!(debug_assertions) => {
            Err("only a release build is measured: use benches/load/run".into())
        }
        None => Ok(env!("CARGO_BIN_EXE_obo-gateway").into()),
    }
}
