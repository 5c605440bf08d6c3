//! Flags and subcommands.

#[path = "main/audit.rs"]
mod audit_command;
#[path = "main/checkpoints.rs"]
mod checkpoints;
#[path = "main/vault.rs"]
mod vault_command;

use std::env::VarError;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use obo_gateway::config::{self, LoadError, NamedPerson};
use obo_gateway::error_chain::ErrorChain;
use obo_gateway::explain::{self, ExplainError, Verdict};
use obo_gateway::forget::{self, ForgetError};
use obo_gateway::process::{Process, StartError};
use obo_gateway::server::{self, PassedListeners};

use audit_command::AuditCommand;
use checkpoints::PrintedCheckpoints;
use vault_command::VaultCommand;

/// What calls allocate they free soon, among what is kept for many people: the system's allocator spreads the one over the gaps of the
/// other, so that little of it is in the processor's caches.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The configuration is bad (`EX_USAGE` of sysexits.h).
const BAD_CONFIGURATION: u8 = 64;

/// Nobody can tell what would become of a call, or the command line is bad (clap's code for that).
const CANNOT_TELL: u8 = 2;

/// A reverse proxy that makes every agent's tool call on behalf of a real user.
///
/// It validates the user's token, exchanges it for one that the connector takes, forwards the call with that and
/// nothing else of the agent's, and records who did what, by which agent, with whose permission.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  obo-gateway demo                                    see it work, with everything it needs on this machine
  obo-gateway check --config config/entra-graph.yaml  find every fault of a configuration at once
  obo-gateway tools --config config/entra-graph.yaml  see what can be called, as whom, and by whom
  obo-gateway explain --config gateway.yaml --token-file token --call mail/send_message
                                                      see what would become of a call, and why
  obo-gateway run --config /etc/obo-gateway.yaml      serve
  obo-gateway audit verify /var/log/obo-gateway       tell whether the audit trail is whole

Signals: SIGTERM and SIGINT finish what runs and exit 0, a second one ends at once. SIGHUP reads the
configuration, certificates and secrets again, and follows an audit file that was moved. SIGUSR1 closes the
audit file and begins the next one. Files that change are found without a signal, too (`reload`).";

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM
    Run {
        #[command(flatten)]
        config: ConfigFile,
        /// How to write the log, on standard error. What to log: OBO_GATEWAY_LOG, for example `info` or
        /// `obo_gateway=debug`
        #[arg(long, value_enum, default_value_t = LogFormat::Auto)]
        log_format: LogFormat,
    },
    /// Check a configuration and show what it comes to; exit 64 when it is bad
    ///
    /// Reads the file, the certificates, keys, secrets and policies it names, and reports every fault at once, each with
    /// its line, its place, and what to write instead. It makes no network calls.
    Check {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Show what can be called, as whom, with which scopes, and by whom
    ///
    /// One line for each tool, with the people, groups, roles and agents of each rule that may allow it. A tool that runs with the
    /// application's identity stands out. Reads what `check` reads, and makes no network calls.
    Tools {
        #[command(flatten)]
        config: ConfigFile,
        /// Print JSON, the same as the admin endpoint `/connectors`
        #[arg(long)]
        json: bool,
    },
    /// Say what would become of a call, and why, stage by stage
    ///
    /// Goes through the gateway's own stages with a person's token: which issuer it is from and which checks it passes, which
    /// tool is called, whose identity and which scopes it runs with, and which rule or policy decides. Makes no network calls
    /// and so does not check the signature, unless `--keys` or `--online` says with what; every claim is checked all the same.
    /// Nothing is recorded, the connector hears nothing of it, and no token is printed.
    ///
    /// Exits with 0 when the call would be allowed, 1 when it would be refused, 2 when nobody can tell or the command line is
    /// bad, and 64 when the configuration is. What was not checked is named as a condition of an allowed call: do not let
    /// somebody in because of this.
    Explain(Explain),
    /// Have the running gateway drop everything it holds for a person
    ///
    /// Kept tokens of theirs, remembered ones, and what is being obtained for them. Their next call is verified anew, and
    /// the authorization server decides. Prints what was dropped, as JSON; the audit trail has it, too.
    Forget {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        person: PersonArguments,
    },
    /// Read the audit trail: verify, query, follow, count, report
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Look after the vault with people's own connections, while the gateway is stopped
    Vault {
        #[command(subcommand)]
        command: VaultCommand,
    },
    /// Work with policies
    #[cfg(feature = "cedar")]
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Work with the configuration file
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Watch two people's tool calls go through the gateway, with everything needed on this machine
    ///
    /// Starts a development authorization server, a mail connector and the gateway on loopback, makes calls through
    /// it, and shows each with what the gateway did about it. Then it keeps running, for you to try.
    #[cfg(feature = "demo")]
    Demo {
        /// Exit after the story, with status 1 when a step went wrong
        #[arg(long)]
        once: bool,
    },
}

#[derive(clap::Args)]
struct Explain {
    #[command(flatten)]
    config: ConfigFile,
    /// The file with the person's access token for the gateway; `-` for standard input
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// What is called: `mail/send_message`, `notes/prompts/NAME`, `notes/resources/URI`, or a request line such as
    /// "GET /mail/me/messages"
    #[arg(long, value_name = "CALL")]
    call: String,
    /// An argument of the call; once for each, and once for each text of a list
    #[arg(long = "argument", value_name = "NAME=VALUE", value_parser = argument)]
    arguments: Vec<(String, String)>,
    /// The issuer's keys, as a JWKS file, to check the signature with
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Fetch the issuer's keys, and try the exchange; the connector is not called
    #[arg(long, conflicts_with = "keys")]
    online: bool,
    /// Where the call comes from, for policies that look at it
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    client: IpAddr,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn argument(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print the JSON Schema of the configuration file
    Schema,
}

#[cfg(feature = "cedar")]
#[derive(Subcommand)]
enum PolicyCommand {
    /// Print the Cedar schema of what policies can speak of, made from the configuration
    ///
    /// The people, agents, connectors and tools, and what a call has to look at: for editors, and for `cedar validate`.
    /// `check` validates the policies themselves.
    Schema {
        #[command(flatten)]
        config: ConfigFile,
    },
}

#[derive(clap::Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(long = "config", value_name = "FILE", env = "OBO_GATEWAY_CONFIG")]
    path: PathBuf,
}

#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("realm").required(true))]
struct PersonArguments {
    /// The issuer: its name in the configuration, or its `iss`
    #[arg(long, value_name = "NAME", group = "realm")]
    issuer: Option<String>,
    /// The tenant, in place of the issuer
    #[arg(long, value_name = "ID", group = "realm")]
    tenant: Option<String>,
    /// The person: Entra's object id (`oid`), elsewhere `sub`
    #[arg(long, value_name = "ID")]
    subject: String,
}

impl From<PersonArguments> for NamedPerson {
    fn from(PersonArguments { issuer, tenant, subject }: PersonArguments) -> Self {
        Self { issuer, tenant, subject }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// Text on a terminal, JSON elsewhere
    Auto,
    /// Lines for people
    Text,
    /// A JSON object a line
    Json,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { config, log_format } => run(&config.path, log_format),
        Command::Check { config } => check(&config.path),
        Command::Tools { config, json } => tools(&config.path, json),
        Command::Explain(arguments) => explain(arguments),
        Command::Forget { config, person } => forget(&config.path, &person.into()),
        Command::Audit { command } => audit_command::run(command),
        Command::Vault { command } => vault_command::run(command),
        #[cfg(feature = "cedar")]
        Command::Policy { command: PolicyCommand::Schema { config } } => {
            match config::policy_schema(&config.path, &environment) {
                Ok(schema) => print(&schema),
                Err(error) => bad_configuration(&error),
            }
        }
        Command::Config { command: ConfigCommand::Schema } => {
            print(&format!("{:#}", config::schema().as_value()))
        }
        #[cfg(feature = "demo")]
        Command::Demo { once } => demo(once),
    }
}

fn run(path: &Path, log_format: LogFormat) -> ExitCode {
    // Before there is another thread: it changes the environment.
    let passed = match PassedListeners::take() {
        Ok(passed) => passed,
        Err(error) => {
            failed(&ErrorChain(&error).to_string());
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    start_log(log_format);
    server::raise_descriptor_limit();
    in_runtime(async {
        let started = match signals() {
            Ok(signals) => {
                Process::start_on(path, Arc::new(environment), passed).await.map(|started| (started, signals))
            }
            Err(error) => return failed(&format!("cannot listen for signals: {error}")),
        };
        match started {
            Ok(((process, warnings), signals)) => {
                for warning in warnings {
                    tracing::warn!(%warning, "Configuration warning");
                }
                let process = Arc::new(process);
                let watched = Arc::clone(&process);
                // It ends when the gateway drains.
                tokio::spawn(async move { watched.watch().await });
                serve(&process, signals).await
            }
            Err(StartError::Config(error)) => bad_configuration(&error),
            // Trying again does not help until somebody has made the folder, or changed the name or the address.
            Err(error @ (StartError::Audit { .. } | StartError::Vault { .. } | StartError::Passed(_))) => {
                failed(&ErrorChain(&error).to_string());
                ExitCode::from(BAD_CONFIGURATION)
            }
            Err(error) => failed(&ErrorChain(&error).to_string()),
        }
    })
}

/// The signals that a running gateway heeds.
struct Signals {
    stop: StopSignals,
    reload: Signal,
    rotate: Signal,
}

/// The signals to stop.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

/// A signal to stop that comes sooner than this after the first is the first, told twice: `timeout` signals a process and then its group.
const SECOND_SIGNAL_AFTER: Duration = Duration::from_millis(100);

fn signals() -> io::Result<Signals> {
    Ok(Signals {
        stop: StopSignals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        },
        reload: signal(SignalKind::hangup())?,
        rotate: signal(SignalKind::user_defined1())?,
    })
}

impl StopSignals {
    /// Waits for one.
    async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Waits for another one, after the first has come.
    async fn recv_second(&mut self, first: Instant) {
        loop {
            self.recv().await;
            if first.elapsed() >= SECOND_SIGNAL_AFTER {
                return;
            }
        }
    }
}

async fn serve(process: &Process, mut signals: Signals) -> ExitCode {
    let mut checkpoints = PrintedCheckpoints::default();
    let mut looks = tokio::time::interval(checkpoints::LOOK_EVERY);
    loop {
        tokio::select! {
            _ = looks.tick() => checkpoints.print_newest(process),
            () = signals.stop.recv() => break,
            _ = signals.rotate.recv() => tokio::select! {
                // What went wrong is in the log; the old file serves on.
                _ = process.rotate_audit() => {}
                // Nothing that waits for a disk, or for keys, keeps anybody from stopping.
                () = signals.stop.recv() => break,
            },
            _ = signals.reload.recv() => tokio::select! {
                reloaded = process.reload() => {
                    for warning in reloaded.unwrap_or_default() {
                        tracing::warn!(%warning, "Configuration warning");
                    }
                }
                () = signals.stop.recv() => break,
            },
        }
    }
    let stopped_at = Instant::now();
    tracing::info!("Gateway draining");
    let mut drain = std::pin::pin!(process.drain());
    tokio::select! {
        _ = drain.as_mut() => {
            checkpoints.finish(process).await;
            return ExitCode::SUCCESS;
        }
        () = signals.stop.recv_second(stopped_at) => {}
    }
    process.cut();
    drain.await;
    failed("stopped at once by a second signal")
}

fn check(path: &Path) -> ExitCode {
    let colour = io::stdout().is_terminal();
    match config::load(path, &environment) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("{}", warning.render(io::stderr().is_terminal()));
            }
            print(&config::summary(&loaded.config, colour))
        }
        Err(error) => bad_configuration(&error),
    }
}

fn tools(path: &Path, json: bool) -> ExitCode {
    let colour = io::stdout().is_terminal();
    match config::load(path, &environment).map(|loaded| config::catalog(&loaded.config)) {
        Ok(catalog) if json => print_json(&catalog),
        Ok(catalog) => print(&config::tools(&catalog, colour)),
        Err(error) => bad_configuration(&error),
    }
}

fn explain(arguments: Explain) -> ExitCode {
    let Explain { config, token_file, call, arguments, keys, online, client, json } = arguments;
    let request = explain::Request { config: config.path, token_file, call, arguments, keys, client, online };
    in_runtime(async {
        let report = match explain::explain(&request, &environment).await {
            Ok(report) => report,
            Err(ExplainError::Config(error)) => return bad_configuration(&error),
            Err(error) => {
                failed(&ErrorChain(&error).to_string());
                return ExitCode::from(CANNOT_TELL);
            }
        };
        let printed = match json {
            true => print_json(&report),
            false => print(&report.render(io::stdout().is_terminal())),
        };
        match (printed == ExitCode::SUCCESS, report.verdict) {
            (true, Verdict::Allowed) => ExitCode::SUCCESS,
            (true, Verdict::Refused) => ExitCode::FAILURE,
            (true, Verdict::CannotTell) | (false, _) => ExitCode::from(CANNOT_TELL),
        }
    })
}

fn forget(path: &Path, person: &NamedPerson) -> ExitCode {
    in_runtime(async {
        match forget::forget(path, &environment, person).await {
            Ok(dropped) => print(&dropped),
            Err(ForgetError::Config(error)) => bad_configuration(&error),
            Err(error) => failed(&ErrorChain(&error).to_string()),
        }
    })
}

#[cfg(feature = "demo")]
fn demo(once: bool) -> ExitCode {
    in_runtime(obo_gateway::demo::run(once))
}

fn in_runtime(work: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(work);
            // Name look-ups under way cannot be ended, and nobody waits for them.
            runtime.shutdown_background();
            code
        }
        Err(error) => failed(&format!("cannot start the runtime: {error}")),
    }
}

fn start_log(format: LogFormat) {
    let (filter, fault) = log_filter();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let text = match format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    match text {
        true => log.with_ansi(io::stderr().is_terminal()).init(),
        false => log.json().init(),
    }
    if let Some(error) = fault {
        tracing::warn!(%error, variable = LOG_VARIABLE, "Log filter cannot be read, the default is used");
    }
}

/// What to log, in place of `info`.
const LOG_VARIABLE: &str = "OBO_GATEWAY_LOG";

/// What is logged, and why that is not what [`LOG_VARIABLE`] says.
fn log_filter() -> (EnvFilter, Option<String>) {
    let default = EnvFilter::new("info");
    match std::env::var(LOG_VARIABLE) {
        Ok(filter) if filter.is_empty() => (default, None),
        Ok(filter) => match EnvFilter::try_new(filter) {
            Ok(filter) => (filter, None),
            Err(error) => (default, Some(error.to_string())),
        },
        Err(VarError::NotPresent) => (default, None),
        Err(error @ VarError::NotUnicode(_)) => (default, Some(error.to_string())),
    }
}

/// A variable of the process's environment. One that is not UTF-8 counts as not set, and is then named as such.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn bad_configuration(error: &LoadError) -> ExitCode {
    eprint!("{}", error.render(io::stderr().is_terminal()));
    ExitCode::from(BAD_CONFIGURATION)
}

fn failed(why: &str) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::FAILURE
}

/// Prints a JSON document to standard output.
fn print_json(document: &impl serde::Serialize) -> ExitCode {
    match serde_json::to_string_pretty(document) {
        Ok(text) => print(&text),
        Err(error) => failed(&format!("cannot print: {error}")),
    }
}

/// Prints to standard output. A reader that has left (`| head`) is no failure.
fn print(text: &str) -> ExitCode {
    match writeln!(io::stdout(), "{}", text.trim_end()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => failed(&format!("cannot print: {error}")),
        _ => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_a_second_signal_until_it_comes() {
        let mut stop = signals().expect("signals can be listened for").stop;
        // A drain whose first step took long was cut, as if there had been another signal.
        let first = Instant::now() - 2 * SECOND_SIGNAL_AFTER;
        let second = tokio::time::timeout(SECOND_SIGNAL_AFTER, stop.recv_second(first)).await;
        assert!(second.is_err(), "there was no signal at all");
    }
}
