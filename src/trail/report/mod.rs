//! `obo-gateway audit report`: all that a trail says of one person, as a page to be read, printed and kept.
//!
//! The page stands for itself: no scripts, nothing from elsewhere. The trail is read three times: to verify it, to count, and to write
//! the records down one by one, so that a page of any length takes no memory. It has the lines that were verified, and no later ones.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use askama::Template;

use super::filter::Filter;
use super::record::{Kind, Record};
use super::scan::{ScanError, Scanned, scan};
use super::stats::{Stats, milliseconds};
use super::verify::{self, Fault, Options, Verdict, Verification, counted};
use super::{Progress, Trail, TrailError, date_time};
use crate::unseen::clean;

/// Most names of a group on the page; the others are counted together.
const NAMES_SHOWN: usize = 12;
/// Most names, issuers and tenants that are told.
const REALMS_MAX: usize = 8;
/// Most faults of the trail on the page.
const FAULTS_SHOWN: usize = 10;

/// What is reported.
pub struct Request {
    /// Where the trail is.
    pub paths: Vec<PathBuf>,
    /// The person, by the identifier that records have for them, or by their pseudonyms.
    pub person: Vec<String>,
    /// Not before this time, in milliseconds since 1970.
    pub since: Option<u64>,
    /// Before this time, in milliseconds since 1970.
    pub until: Option<u64>,
    /// What the trail is held against.
    pub options: Options,
    /// When the report is made, in milliseconds since 1970.
    pub now: u64,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The trail cannot be read.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The page cannot be written.
    #[error("cannot write {}", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It was deleted, or tampered with, just now.
    #[error("the trail changed while it was read; try again")]
    Changed,
}

impl From<TrailError> for ReportError {
    fn from(error: TrailError) -> Self {
        Self::Scan(error.into())
    }
}

impl Request {
    fn filter(&self) -> Filter {
        Filter::default().people(self.person.clone()).period(self.since, self.until)
    }

    /// Verifies the trail and writes the page, for its owner alone to read. It is there as a whole or not at all.
    ///
    /// # Errors
    ///
    /// [`ReportError`]. A trail that is not whole is none: the page says so.
    pub fn write(&self, path: &Path) -> Result<(Verification, Scanned), ReportError> {
        let failed = |source| ReportError::Output { path: path.to_owned(), source };
        let mut begun = path.as_os_str().to_owned();
        begun.push(".part");
        let begun = PathBuf::from(begun);
        // What an interrupted run left behind.
        let _ = fs::remove_file(&begun);
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&begun).map_err(failed)?;
        let mut output = BufWriter::new(file);
        let written = self.write_to(&mut output).and_then(|written| {
            output.flush().and_then(|()| fs::rename(&begun, path)).map_err(failed)?;
            Ok(written)
        });
        if written.is_err() {
            let _ = fs::remove_file(&begun);
        }
        written
    }

    fn write_to(&self, output: &mut dyn Write) -> Result<(Verification, Scanned), ReportError> {
        let trail = Trail::find(&self.paths)?;
        let mut progress = Progress::new(trail.bytes());
        let verified = verify::verify(trail, &self.options, &mut progress)?;
        drop(progress);
        let (filter, last) = (self.filter(), Some(verified.lines));
        let hidden = &mut Progress::hidden();
        let mut realms = Realms::default();
        let trail = Trail::find(&self.paths)?;
        let mut stats = Stats::default();
        let counted = scan(trail, &filter, last, hidden, |record, _| {
            stats.count(record);
            realms.note(record);
            Ok(ControlFlow::Continue(()))
        })?;
        Head::new(self, &verified, &stats, &realms, counted).write_into(output).map_err(ScanError::Output)?;
        let mut day = String::new();
        let written = scan(Trail::find(&self.paths)?, &filter, last, hidden, |record, _| {
            Row::new(record, &mut day).write_into(output)?;
            Ok(ControlFlow::Continue(()))
        })?;
        if written != counted {
            return Err(ReportError::Changed);
        }
        Foot { records: counted_records(written.found), is_empty: written.found == 0 }
            .write_into(output)
            .map_err(ScanError::Output)?;
        Ok((verified, written))
    }
}

fn counted_records(count: u64) -> String {
    counted(count, "record", "records")
}

/// Where the person is known, and as whom.
#[derive(Default)]
struct Realms {
    names: Vec<String>,
    issuers: Vec<String>,
    tenants: Vec<String>,
}

impl Realms {
    fn note(&mut self, record: &Record<'_>) {
        let lists = [
            (&mut self.names, record.name()),
            (&mut self.issuers, record.issuer()),
            (&mut self.tenants, record.tenant()),
        ];
        for (list, value) in lists {
            let Some(value) = value else { continue };
            if list.len() < REALMS_MAX && !list.iter().any(|known| known == value) {
                list.push(clean(value).into_owned());
            }
        }
    }
}

/// All before the records.
#[derive(Template)]
#[template(path = "head.html", config = "src/trail/report/askama.toml")]
struct Head {
    person: String,
    realms: Vec<(&'static str, String)>,
    period: String,
    made: String,
    version: &'static str,
    /// `good`, `open` or `bad`.
    verdict: &'static str,
    verdict_mark: &'static str,
    verdict_text: String,
    evidence: Vec<(&'static str, String)>,
    faults: Vec<String>,
    more_faults: u64,
    unreadable: Option<String>,
    totals: Vec<(String, &'static str)>,
    groups: Vec<Group>,
}

struct Group {
    name: &'static str,
    rows: Vec<GroupRow>,
}

struct GroupRow {
    name: String,
    count: u64,
    percent: u64,
}

impl Head {
    fn new(
        request: &Request,
        verified: &Verification,
        stats: &Stats,
        realms: &Realms,
        scanned: Scanned,
    ) -> Self {
        let is_open = !verified.is_signature_checked || verified.fitting == 0;
        let (verdict, verdict_mark) = match verified.verdict() {
            Verdict::NotWhole => ("bad", "✗"),
            Verdict::Whole if !is_open => ("good", "✓"),
            Verdict::Whole | Verdict::Empty | Verdict::Unsigned => ("open", "!"),
        };
        let verdict_text = match verified.verdict() {
            Verdict::NotWhole => format!("{}. What stands below may have been tampered with.", verified.sentence()),
            Verdict::Whole if verified.fitting == 0 => {
                "The chain of the trail is whole, but no checkpoint covers it, so nobody vouches for it.".to_owned()
            }
            Verdict::Whole if is_open => {
                "The trail is whole, but the signatures of its checkpoints were not checked: no key was given.".to_owned()
            }
            Verdict::Whole => "The trail is whole, and its checkpoints are signed by the key that was given.".to_owned(),
            Verdict::Empty | Verdict::Unsigned => format!("{}.", verified.sentence()),
        };
        let mut realm_rows = Vec::new();
        for (name, values) in
            [("Name", &realms.names), ("Issuer", &realms.issuers), ("Tenant", &realms.tenants)]
        {
            realm_rows.extend(values.iter().map(|value| (name, value.clone())));
        }
        let fault = |fault: &Fault| {
            let place = fault.at.map(|at| format!(" ({})", verified.place(at))).unwrap_or_default();
            format!("{fault}{place}")
        };
        let faults: Vec<_> = verified.faults.iter().take(FAULTS_SHOWN).map(fault).collect();
        Self {
            person: clean(&request.person.join(", ")).into_owned(),
            realms: realm_rows,
            period: period(request, stats),
            made: shown_time(request.now),
            version: env!("CARGO_PKG_VERSION"),
            verdict,
            verdict_mark,
            verdict_text,
            evidence: verified.rows(),
            more_faults: verified.fault_count - faults.len() as u64,
            faults,
            unreadable: scanned.warning(),
            totals: totals(stats),
            groups: groups(stats),
        }
    }
}

/// What was asked for; where that is all, from when to when there are records.
fn period(request: &Request, stats: &Stats) -> String {
    let (since, until) = (request.since.map(shown_time), request.until.map(shown_time));
    match (since, until, stats.from.zip(stats.to)) {
        (Some(since), Some(until), _) => format!("{since} – {until}"),
        (Some(since), None, _) => format!("{since} – end of the trail"),
        (None, Some(until), _) => format!("beginning of the trail – {until}"),
        (None, None, Some((from, to))) => {
            format!("all of the trail; records from {} to {}", shown_time(from), shown_time(to))
        }
        (None, None, None) => "all of the trail".to_owned(),
    }
}

fn totals(stats: &Stats) -> Vec<(String, &'static str)> {
    let others = stats.records - stats.calls;
    let mut totals = vec![
        (stats.calls.to_string(), if stats.calls == 1 { "call" } else { "calls" }),
        (stats.refused.to_string(), "refused"),
    ];
    if others > 0 {
        totals.push((others.to_string(), "exchanges, sign-ins and others"));
    }
    if let (Some(p50), Some(p95)) = (stats.percentile(50), stats.percentile(95)) {
        totals.push((milliseconds(p50), "median duration"));
        totals.push((milliseconds(p95), "95th percentile"));
    }
    totals
}

fn groups(stats: &Stats) -> Vec<Group> {
    let groups = [("tool", "Tools"), ("outcome", "Outcomes"), ("agent", "Agents")];
    let group = |(group, name)| {
        let (names, others) = stats.top(group, NAMES_SHOWN);
        let all = names.iter().map(|(_, count)| count).sum::<u64>() + others;
        let row = |name: &str, count: u64| GroupRow {
            name: clean(name).into_owned(),
            count,
            percent: count.saturating_mul(100) / all.max(1),
        };
        let mut rows: Vec<_> = names.into_iter().map(|(name, count)| row(name, count)).collect();
        rows.extend((others > 0).then(|| row("(others)", others)));
        Group { name, rows }
    };
    groups.into_iter().map(group).filter(|group| !group.rows.is_empty()).collect()
}

/// One record.
#[derive(Template)]
#[template(path = "record.html", config = "src/trail/report/askama.toml")]
struct Row {
    day: Option<String>,
    sequence: String,
    clock: String,
    target: String,
    outcome: String,
    /// `good`, `bad` or `open`.
    outcome_class: &'static str,
    status: Option<u16>,
    identity: String,
    identity_class: &'static str,
    agent: String,
    took: String,
    refusal: Option<String>,
    details: Vec<(&'static str, String)>,
}

impl Row {
    /// The row of this record. It begins a new day where `day` is another one.
    fn new(record: &Record<'_>, day: &mut String) -> Self {
        let time = date_time(record.time);
        let (date, clock) = time.trim_end_matches('Z').split_once('T').unwrap_or((&time, ""));
        let is_new_day = *day != date;
        if is_new_day {
            date.clone_into(day);
        }
        let text = |text: Option<&str>| clean(text.unwrap_or("–")).into_owned();
        let outcome_class = match (record.is_success(), record.code().is_some()) {
            (true, _) => "good",
            (_, true) => "bad",
            _ => "open",
        };
        Self {
            day: is_new_day.then(|| day.clone()),
            sequence: record.sequence().map(|sequence| sequence.to_string()).unwrap_or_default(),
            clock: clock.to_owned(),
            target: clean(&record.target()).into_owned(),
            outcome: clean(record.outcome()).into_owned(),
            outcome_class,
            status: record.status(),
            identity: text(record.identity()).replace('_', " "),
            identity_class: if record.identity() == Some("app_only") { "notable" } else { "" },
            agent: text(record.agent()),
            took: record.duration_us().map_or_else(|| "–".to_owned(), milliseconds),
            refusal: record.detail().map(|detail| clean(detail).into_owned()),
            details: details(record),
        }
    }
}

fn details(record: &Record<'_>) -> Vec<(&'static str, String)> {
    let list = |values: &mut dyn Iterator<Item = &str>| {
        let values: Vec<_> = values.map(clean).collect();
        (!values.is_empty()).then(|| values.join(" "))
    };
    let (sent, received) = record.bytes();
    let operation = record.operation().filter(|_| record.kind() == Kind::Call);
    [
        (
            if matches!(record.kind(), Kind::Call | Kind::Page) { "request" } else { "record" },
            Some(clean(record.request_id()).into_owned()),
        ),
        ("token from exchange", record.exchange().map(|exchange| clean(exchange).into_owned())),
        ("for request", record.for_request().map(|request| clean(request).into_owned())),
        ("operation", operation.map(|operation| clean(operation).into_owned())),
        ("account", record.account().map(|account| clean(account).into_owned())),
        ("of", record.owner().map(|owner| clean(owner).into_owned())),
        ("scopes asked", list(&mut record.scopes_requested())),
        ("granted", list(&mut record.scopes_granted())),
        ("policy", list(&mut record.policies())),
        ("sent", sent.map(bytes)),
        ("received", received.map(bytes)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)))
    .collect()
}

fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{}.{} kB", count / 1_000, count % 1_000 / 100),
        _ => format!("{}.{} MB", count / 1_000_000, count % 1_000_000 / 100_000),
    }
}

/// All after the records.
#[derive(Template)]
#[template(path = "foot.html", config = "src/trail/report/askama.toml")]
struct Foot {
    records: String,
    is_empty: bool,
}

/// A time for people, in UTC, to the second.
fn shown_time(milliseconds: u64) -> String {
    let time = date_time(milliseconds);
    match time.get(..19) {
        Some(shown) => format!("{} UTC", shown.replace('T', " ")),
        None => time,
    }
}
