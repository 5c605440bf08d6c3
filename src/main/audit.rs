//! The commands that read an audit trail, and make its keys.

use std::io::{self, BufWriter, IsTerminal as _};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Subcommand, ValueEnum};
use rustix::termios::tcgetwinsize;

use obo_gateway::audit::checkpoint::CheckpointPublicKey;
use obo_gateway::audit::link::Instance;
use obo_gateway::clock::Now;
use obo_gateway::error_chain::ErrorChain;
use obo_gateway::policy::ToolPattern;
use obo_gateway::pseudonym::{self, PseudonymError};
use obo_gateway::trail::filter::Filter;
use obo_gateway::trail::keys::{self, KeyError};
use obo_gateway::trail::query::{self, Format};
use obo_gateway::trail::report::Request;
use obo_gateway::trail::scan::{ScanError, Scanned};
use obo_gateway::trail::stats::Stats;
use obo_gateway::trail::tail::{self, Tail};
use obo_gateway::trail::verify::{self, Verdict};
use obo_gateway::trail::{Progress, Trail, parse_time};

use super::{
    CANNOT_TELL, ConfigFile, PersonArguments, bad_configuration, environment, failed, print, print_json,
};

/// Columns where what is written goes to no terminal: enough for all of a record that a table shows.
const COLUMNS_DEFAULT: usize = 200;
/// How many a table can have.
const COLUMNS: RangeInclusive<usize> = 40..=1_000;

#[derive(Subcommand)]
pub enum AuditCommand {
    /// Tell whether a trail is whole, and if not, where it is not
    ///
    /// Follows the chain from line to line, across files and restarts, and compares every checkpoint. Finds changed, removed, inserted,
    /// duplicated and moved lines, missing files, lines of other gateways, and, with checkpoints, an end that was cut and a trail
    /// that was written anew. Works offline, in one pass, whatever the size. A line that is being written at the moment is no fault.
    ///
    /// Exits with 0 when the trail is whole, 1 when it is not, and 2 when nobody can tell: a file cannot be read, there is no line, no
    /// checkpoint is signed by the key that was given, or the command line is bad.
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify {
        #[command(flatten)]
        trail: Paths,
        /// The key that checkpoints are verified with: the line that `audit keygen` printed, or a file with such lines. Again for more
        /// keys. Without it anybody could have made the checkpoints
        #[arg(long = "key", value_name = "PUB")]
        keys: Vec<String>,
        /// Checkpoints that were kept elsewhere, as a file, or `-` for standard input. Again for more files
        #[arg(long = "checkpoint", value_name = "FILE")]
        checkpoints: Vec<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Find records: as a table, as the lines they are, or as CSV
    ///
    /// Filters hold together; each can be given several times, and then takes any of its values. Values are compared in full, letter by
    /// letter; only `--tool` has stars. Reads the trail from beginning to end without holding it; it does not verify it.
    ///
    /// Exits with 0 when the trail was read, 1 when some lines could not be read, so that something may be missing, and 2 when the trail
    /// cannot be read or the command line is bad.
    #[command(after_help = QUERY_EXAMPLES)]
    Query {
        #[command(flatten)]
        trail: Paths,
        #[command(flatten)]
        filters: Filters,
        /// Stop after so many records
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        /// How to write them
        #[arg(long, value_enum, default_value_t = QueryFormat::Table)]
        format: QueryFormat,
    },
    /// Show the last records, one line each, and follow those that are added
    ///
    /// Follows across rotation, also by logrotate. Ends on Ctrl-C, or when its reader goes away.
    #[command(after_help = TAIL_EXAMPLES)]
    Tail {
        /// The file of the trail, or the folder that it is in
        #[arg(value_name = "PATH")]
        path: PathBuf,
        /// Show what is added, too
        #[arg(short, long)]
        follow: bool,
        /// How many of the records that are there
        #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 10)]
        count: usize,
        #[command(flatten)]
        filters: Filters,
    },
    /// Count calls by person, agent, tool, outcome and identity mode, with the median and 95th percentile of their duration
    ///
    /// Exits as `audit query` does.
    #[command(after_help = STATS_EXAMPLES)]
    Stats {
        #[command(flatten)]
        trail: Paths,
        #[command(flatten)]
        filters: Filters,
        /// How many names of each group
        #[arg(long, value_name = "N", default_value_t = 10)]
        top: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write a page with all that the trail says of a person: to be read, printed and kept
    ///
    /// Verifies the trail first, and says at the top of the page what came of it. The page is one HTML file without scripts that loads
    /// nothing; its owner alone can read it.
    ///
    /// Exits with 0 when the trail is whole, 1 when it is not (the page is written all the same, and says so), and 2 when nobody can tell.
    #[command(after_help = REPORT_EXAMPLES)]
    Report {
        #[command(flatten)]
        trail: Paths,
        /// The person, by the identifier that records have for them: Entra's object id (`oid`), elsewhere `sub`. Where records have
        /// pseudonyms, what `audit pseudonym` prints, once for each
        #[arg(long, value_name = "ID", required = true)]
        person: Vec<String>,
        #[command(flatten)]
        period: Period,
        /// The key that checkpoints are verified with, as for `audit verify`
        #[arg(long = "key", value_name = "PUB")]
        keys: Vec<String>,
        /// Checkpoints that were kept elsewhere, as for `audit verify`
        #[arg(long = "checkpoint", value_name = "FILE")]
        checkpoints: Vec<PathBuf>,
        /// The file of the page
        #[arg(short, long = "output", value_name = "FILE")]
        output: PathBuf,
    },
    /// Print under which pseudonyms a person stands in the trail, one for each key
    ///
    /// For whoever has the keys of `audit.keys`, and knows whom to look for. Nobody else can tell who a pseudonym is, not even
    /// by trying everybody in a directory.
    Pseudonym {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        person: PersonArguments,
    },
    /// Make a key that checkpoints are signed with, and print what they are verified with
    ///
    /// Writes an Ed25519 key (PKCS#8, PEM) into a new file that only its owner can read; a file that is there is never written over.
    /// The line that is printed is no secret: keep it where those who verify the trail find it, and not beside the trail.
    #[command(
        after_help = "Example:\n  obo-gateway audit keygen --instance gateway-1 -o checkpoint.key >checkpoint.pub"
    )]
    Keygen {
        /// The name of the gateway, as in its configuration
        #[arg(long, value_name = "NAME", value_parser = instance)]
        instance: Instance,
        /// The file of the key
        #[arg(short, long = "output", value_name = "KEYFILE")]
        output: PathBuf,
    },
    /// Print what the checkpoints of a key are verified with
    Pubkey {
        /// The name of the gateway, as in its configuration
        #[arg(long, value_name = "NAME", value_parser = instance)]
        instance: Instance,
        /// The file of the key
        #[arg(value_name = "KEYFILE")]
        key: PathBuf,
    },
}

const VERIFY_EXAMPLES: &str = "\
Examples:
  obo-gateway audit verify /var/log/obo-gateway/audit.jsonl --key checkpoint.pub
  obo-gateway audit verify /var/log/obo-gateway --key checkpoint.pub --checkpoint kept-elsewhere
  obo-gateway audit verify audit.jsonl.2 audit.jsonl.1 audit.jsonl    a trail that logrotate rotates";

const QUERY_EXAMPLES: &str = "\
Examples:
  obo-gateway audit query /var/log/obo-gateway --person 6a4f7c9e-… --since 7d
  obo-gateway audit query audit.jsonl --tool 'mail/*' --code 403 --code policy_denied
  obo-gateway audit query audit.jsonl --since 2026-11-28 --format csv >calls.csv
  obo-gateway audit query audit.jsonl --request-id 3f0c9a1be2d45678-0000002a --format json";

const TAIL_EXAMPLES: &str = "\
Examples:
  obo-gateway audit tail -f /var/log/obo-gateway/audit.jsonl
  obo-gateway audit tail -n 50 audit.jsonl --connector mail";

const STATS_EXAMPLES: &str = "\
Examples:
  obo-gateway audit stats /var/log/obo-gateway --since 24h
  obo-gateway audit stats audit.jsonl --tool 'mail/*' --top 3 --json";

const REPORT_EXAMPLES: &str = "\
Example:
  obo-gateway audit report /var/log/obo-gateway --person 6a4f7c9e-… --key checkpoint.pub -o ada.html";

#[derive(clap::Args)]
pub struct Filters {
    /// For this person: Entra's object id (`oid`), elsewhere `sub`, or their pseudonym
    #[arg(long = "person", value_name = "ID", help_heading = "Filters")]
    people: Vec<String>,
    /// By this agent
    #[arg(long = "agent", value_name = "ID", help_heading = "Filters")]
    agents: Vec<String>,
    /// On this tool; `*` stands for any run of characters within its part
    #[arg(long = "tool", value_name = "CONNECTOR/TOOL", value_parser = ToolPattern::of_resource, help_heading = "Filters")]
    tools: Vec<ToolPattern>,
    /// On this connector
    #[arg(long = "connector", value_name = "NAME", help_heading = "Filters")]
    connectors: Vec<String>,
    /// With this outcome: `answered`, a refusal's code, `agent_left` …; for marks their name, for example `boot`
    #[arg(long = "outcome", value_name = "OUTCOME", help_heading = "Filters")]
    outcomes: Vec<String>,
    /// With this refusal code, or this HTTP status
    #[arg(long = "code", value_name = "CODE", help_heading = "Filters")]
    codes: Vec<String>,
    /// Of this request (`Obo-Request-Id`), with the exchange that was made for it; or of this exchange, with the calls it served
    #[arg(long = "request-id", value_name = "ID", help_heading = "Filters")]
    request_ids: Vec<String>,
    #[command(flatten)]
    period: Period,
}

#[derive(clap::Args)]
pub struct Period {
    /// Ended at this time or later: `2026-11-28T10:00:00Z`, `2026-11-28` (UTC), or how long ago: `90s`, `15m`, `2h`, `7d`, `4w`
    #[arg(long, value_name = "TIME", value_parser = past_time, help_heading = "Filters")]
    since: Option<u64>,
    /// Ended before this time
    #[arg(long, value_name = "TIME", value_parser = past_time, help_heading = "Filters")]
    until: Option<u64>,
}

fn past_time(text: &str) -> Result<u64, &'static str> {
    parse_time(text, Now::read().wall)
}

impl Filters {
    fn filter(self) -> Filter {
        Filter::default()
            .people(self.people)
            .agents(self.agents)
            .tools(self.tools)
            .connectors(self.connectors)
            .outcomes(self.outcomes)
            .codes(self.codes)
            .request_ids(self.request_ids)
            .period(self.period.since, self.period.until)
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub enum QueryFormat {
    /// Columns for people
    Table,
    /// The lines as they are, one JSON object each
    Json,
    /// Comma-separated values with a header (RFC 4180)
    Csv,
}

#[derive(clap::Args)]
pub struct Paths {
    /// The file of the trail (its closed files and checkpoints beside it are taken along), the folder that it is in, or several files, in
    /// any order
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

fn instance(name: &str) -> Result<Instance, &'static str> {
    Instance::parse(name).ok_or("a name has up to 64 letters, digits, `.`, `_` and `-`")
}

/// Runs a command.
pub fn run(command: AuditCommand) -> ExitCode {
    match command {
        AuditCommand::Verify { trail, keys, checkpoints, json } => {
            verify(&trail, &keys, checkpoints, json).unwrap_or_else(|error| cannot_tell(&*error))
        }
        AuditCommand::Query { trail, filters, limit, format } => {
            ended(query(&trail, &filters.filter(), limit, format))
        }
        AuditCommand::Tail { path, follow, count, filters } => {
            ended(tail(path, follow, count, &filters.filter()))
        }
        AuditCommand::Stats { trail, filters, top, json } => {
            stats(&trail, &filters.filter(), top, json).unwrap_or_else(|error| cannot_tell(&*error))
        }
        AuditCommand::Report { trail, person, period, keys, checkpoints, output } => {
            let Period { since, until } = period;
            let request = Reported { paths: trail.paths, person, since, until, checkpoints };
            report(request, &keys, &output).unwrap_or_else(|error| cannot_tell(&*error))
        }
        AuditCommand::Pseudonym { config, person } => {
            match pseudonym::pseudonyms(&config.path, &environment, &person.into()) {
                Ok(pseudonyms) => print(&pseudonyms.join("\n")),
                Err(PseudonymError::Config(error)) => bad_configuration(&error),
                Err(error) => failed(&ErrorChain(&error).to_string()),
            }
        }
        AuditCommand::Keygen { instance, output } => print_key(keys::generate(&output, instance)),
        AuditCommand::Pubkey { instance, key } => print_key(keys::public(&key, instance)),
    }
}

type Failure = Box<dyn std::error::Error>;

fn cannot_tell(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    failed(&ErrorChain(error).to_string());
    ExitCode::from(CANNOT_TELL)
}

fn verify(
    paths: &Paths,
    keys: &[String],
    checkpoints: Vec<PathBuf>,
    json: bool,
) -> Result<ExitCode, Failure> {
    let keys = verifiers(keys)?;
    let trail = Trail::find(&paths.paths)?;
    let (began, mut progress) = (Instant::now(), Progress::new(trail.bytes()));
    let verified = verify::verify(trail, &verify::Options { keys, checkpoints }, &mut progress)?;
    drop(progress);
    let printed = match json {
        true => print_json(&verified.document()),
        false => {
            let seconds = began.elapsed().as_secs_f64();
            let rate = verified.lines as f64 / seconds.max(0.001);
            let text = verified.render(io::stdout().is_terminal());
            // What takes no time has no rate that means anything.
            let took = format!("  took         {seconds:.2} s, {rate:.0} lines a second");
            print(&if seconds >= 1.0 { text + &took } else { text })
        }
    };
    match printed == ExitCode::SUCCESS {
        true => Ok(exit_code(verified.verdict())),
        false => Ok(ExitCode::from(CANNOT_TELL)),
    }
}

fn exit_code(verdict: Verdict) -> ExitCode {
    match verdict {
        Verdict::Whole => ExitCode::SUCCESS,
        Verdict::NotWhole => ExitCode::FAILURE,
        Verdict::Empty | Verdict::Unsigned => ExitCode::from(CANNOT_TELL),
    }
}

fn verifiers(keys: &[String]) -> Result<Vec<CheckpointPublicKey>, KeyError> {
    Ok(keys.iter().map(|key| keys::verifiers(key)).collect::<Result<Vec<_>, _>>()?.concat())
}

fn query(
    paths: &Paths,
    filter: &Filter,
    limit: Option<u64>,
    format: QueryFormat,
) -> Result<Scanned, ScanError> {
    let colour = io::stdout().is_terminal();
    let format = match format {
        QueryFormat::Table => Format::Table { width: columns(), colour },
        QueryFormat::Json => Format::Json,
        QueryFormat::Csv => Format::Csv,
    };
    let trail = Trail::find(&paths.paths)?;
    // A bar among rows on one terminal helps nobody.
    let mut progress = if colour { Progress::hidden() } else { Progress::new(trail.bytes()) };
    let mut output = BufWriter::new(io::stdout().lock());
    let scanned = query::query(trail, filter, limit, format, &mut progress, &mut output)?;
    if scanned.found == 0 {
        nothing_found();
    }
    Ok(scanned)
}

/// An empty page is easily taken for an answer.
fn nothing_found() {
    eprintln!(
        "no record fits. Where `audit.pseudonyms` is on, people stand under pseudonyms, which `obo-gateway audit pseudonym` prints"
    );
}

/// How many columns there are: `COLUMNS` goes before the terminal's own width.
fn columns() -> usize {
    let told = environment("COLUMNS").and_then(|columns| columns.parse().ok());
    let measured = || {
        let columns = usize::from(tcgetwinsize(io::stdout()).ok()?.ws_col);
        (columns > 0).then(|| columns.clamp(*COLUMNS.start(), *COLUMNS.end()))
    };
    told.filter(|columns| COLUMNS.contains(columns)).or_else(measured).unwrap_or(COLUMNS_DEFAULT)
}

fn tail(path: PathBuf, follow: bool, count: usize, filter: &Filter) -> Result<Scanned, ScanError> {
    let tail = Tail { filter, count: count.min(tail::COUNT_MAX), colour: io::stdout().is_terminal() };
    let trail = Trail::find(&[path])?;
    let mut output = BufWriter::new(io::stdout().lock());
    match follow {
        true => tail.follow(trail, &mut output)?,
        false => tail.last(trail, &mut output)?,
    }
    Ok(Scanned::default())
}

/// How a command ends that writes what it reads. A reader that has left (`| head`) is no failure.
fn ended(result: Result<Scanned, ScanError>) -> ExitCode {
    match result {
        Ok(scanned) => warned(scanned),
        Err(ScanError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => cannot_tell(&error),
    }
}

fn warned(scanned: Scanned) -> ExitCode {
    match scanned.warning() {
        Some(warning) => {
            eprintln!("warning: {warning}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

fn stats(paths: &Paths, filter: &Filter, top: usize, json: bool) -> Result<ExitCode, Failure> {
    let trail = Trail::find(&paths.paths)?;
    let mut progress = Progress::new(trail.bytes());
    let (stats, scanned) = Stats::of(trail, filter, None, &mut progress)?;
    drop(progress);
    let printed = match json {
        true => print_json(&stats.document(top)),
        false => print(&stats.render(top, io::stdout().is_terminal())),
    };
    Ok(if printed == ExitCode::SUCCESS { warned(scanned) } else { printed })
}

struct Reported {
    paths: Vec<PathBuf>,
    person: Vec<String>,
    since: Option<u64>,
    until: Option<u64>,
    checkpoints: Vec<PathBuf>,
}

fn report(reported: Reported, keys: &[String], output: &Path) -> Result<ExitCode, Failure> {
    let Reported { paths, person, since, until, checkpoints } = reported;
    let options = verify::Options { keys: verifiers(keys)?, checkpoints };
    let now = u64::try_from(Now::read().wall.as_millis()).unwrap_or(u64::MAX);
    let request = Request { paths, person, since, until, options, now };
    let (verified, scanned) = request.write(output)?;
    eprintln!("{}.", verified.sentence());
    if scanned.found == 0 {
        nothing_found();
    }
    let records = verify::counted(scanned.found, "record", "records");
    let printed = print(&format!("{records} in {}", output.display()));
    let read = warned(scanned);
    Ok(match exit_code(verified.verdict()) {
        code if code != ExitCode::SUCCESS => code,
        _ if printed != ExitCode::SUCCESS => printed,
        _ => read,
    })
}

fn print_key(key: Result<impl std::fmt::Display, KeyError>) -> ExitCode {
    match key {
        Ok(key) => print(&key.to_string()),
        Err(error) => failed(&ErrorChain(&error).to_string()),
    }
}
