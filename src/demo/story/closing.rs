//! What remains of the calls: the records, one of them in full, and the metrics.

use std::io::{self, Write};

use super::StoryError;
use super::call::Call;
use super::stage::Stage;
use super::steps::Faults;
use super::telling::{self, first_name, indented, milliseconds};
use super::terminal::{Paragraph, Style, Terminal, columns};
use super::trail::{Record, Trail};
use crate::demo::clock;

/// What the last step is called.
pub const TITLE: &str = "The trail has exactly these calls, and no token";
/// The metrics that are worth a look here.
const METRICS: [&str; 5] = [
    "obo_gateway_requests_total",
    "obo_gateway_exchanges_total",
    "obo_gateway_credential_cache_lookups_total",
    "obo_gateway_authentication_failures_total",
    "obo_gateway_audit_records_total",
];
/// Columns of the table of records.
const HEADINGS: [&str; 9] = ["utc", "who", "agent", "tool", "identity", "outcome", "http", "cache", "ms"];
/// Where numbers stand, which are aligned to the right.
const NUMBERS: [usize; 2] = [6, 8];
/// Columns that give way in a narrow terminal, first the time of day, then the agent, then the identity.
const GIVE_WAY: [usize; 3] = [0, 2, 4];
/// Where the table begins.
const INDENT: usize = 4;

/// Tells what remains of these calls, and what is wrong with it.
///
/// # Errors
///
/// When the trail or the metrics cannot be read, or nothing can be told any more.
pub async fn tell<W: Write>(
    terminal: &mut Terminal<W>,
    number: usize,
    calls: &[Call],
    client: &reqwest::Client,
    stage: &Stage,
    trail: &mut Trail,
) -> Result<bool, StoryError> {
    stage.process.audit().flush().await;
    trail.read_on().map_err(StoryError::Trail)?;
    let metrics = client.get(format!("{}/metrics", stage.admin_origin())).send().await?.text().await?;
    let mut faults = Faults::default();
    let mut ids: Vec<_> = trail.records().iter().filter_map(Record::request_id).collect();
    ids.sort_unstable();
    ids.dedup();
    faults.compare("records of calls in the audit file", calls.len(), trail.records().len());
    faults.compare("different calls they are about", calls.len(), ids.len());
    faults.compare("tokens in the audit file", 0, tokens_in(trail.text(), calls, stage));
    faults.compare("tokens in the metrics", 0, tokens_in(&metrics, calls, stage));
    let went_well = faults.0.is_empty();

    terminal.title(&number.to_string(), TITLE, Some(went_well))?;
    let table = Table::of(trail.records(), terminal.width(), stage);
    table.head(terminal)?;
    for record in trail.records() {
        table.row(terminal, record, stage)?;
    }
    terminal.blank()?;
    if let Some(first) = trail.records().first() {
        let about =
            "The first of them in full, in the schema that security tools know (OCSF 1.8.0, API Activity):";
        terminal.text(INDENT, Style::Plain, about)?;
        for paragraph in indented(first.value(), terminal.width() - INDENT) {
            terminal.paragraph(INDENT, &paragraph)?;
        }
        terminal.blank()?;
    }
    terminal.text(INDENT, Style::Plain, "And some of the metrics that count them:")?;
    for line in metrics.lines().filter(|line| is_worth_a_look(line)) {
        terminal.paragraph(INDENT, &Paragraph::plain(line).hanging(2))?;
    }
    telling::wrong(terminal, &faults.0)?;
    terminal.blank()?;
    Ok(went_well)
}

/// Whether a line of the metrics counts calls, and has counted one.
fn is_worth_a_look(line: &str) -> bool {
    METRICS.iter().any(|name| line.starts_with(name)) && !line.ends_with(" 0")
}

/// How many of the tokens that were about, the agents' and the connector's, are somewhere in a text.
fn tokens_in(text: &str, calls: &[Call], stage: &Stage) -> usize {
    let issued = stage.issued();
    let tokens = calls.iter().map(|call| &call.token).chain(&issued);
    // A signature is enough to know a token by, and the claims are enough to know too much.
    tokens.flat_map(|token| token.split('.').skip(1)).filter(|part| text.contains(part)).count()
}

/// Records, one on each line. In a narrow terminal the columns move closer, and then some give way.
pub struct Table {
    columns: Vec<usize>,
    widths: Vec<usize>,
    gap: &'static str,
}

impl Table {
    /// A table wide enough for these records.
    pub fn of(records: &[Record], width: usize, stage: &Stage) -> Self {
        let mut widths: Vec<usize> = HEADINGS.iter().map(|heading| columns(heading)).collect();
        for record in records {
            for (width, cell) in widths.iter_mut().zip(cells(record, stage)) {
                *width = (*width).max(columns(&cell));
            }
        }
        let mut columns: Vec<usize> = (0..HEADINGS.len()).collect();
        let whole = |columns: &[usize], gap: &str| {
            INDENT + columns.iter().map(|&column| widths[column] + gap.len()).sum::<usize>() - gap.len()
        };
        let gap = if whole(&columns, "  ") <= width { "  " } else { " " };
        for column in GIVE_WAY {
            if whole(&columns, gap) > width {
                columns.retain(|kept| *kept != column);
            }
        }
        Self { columns, widths, gap }
    }

    /// The names of the columns.
    pub fn head<W: Write>(&self, terminal: &mut Terminal<W>) -> io::Result<()> {
        let line = self.line(&HEADINGS.map(str::to_owned));
        terminal.line(INDENT, Style::Dim, &line)
    }

    /// One record.
    pub fn row<W: Write>(
        &self,
        terminal: &mut Terminal<W>,
        record: &Record,
        stage: &Stage,
    ) -> io::Result<()> {
        let is_success = record.status().is_some_and(|status| status < 400);
        let style = if is_success { Style::Plain } else { Style::Notable };
        terminal.line(INDENT, style, &self.line(&cells(record, stage)))
    }

    fn line(&self, cells: &[String; 9]) -> String {
        let padded = self.columns.iter().map(|&column| {
            let (cell, width) = (&cells[column], self.widths[column]);
            if NUMBERS.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        padded.collect::<Vec<_>>().join(self.gap)
    }
}

fn cells(record: &Record, stage: &Stage) -> [String; 9] {
    let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let seconds = record.number("/start_time").and_then(|time| i64::try_from(time / 1_000).ok());
    let moment = clock::rfc3339(seconds.unwrap_or_default());
    [
        moment.get(11..19).unwrap_or_default().to_owned(),
        or_dash(record.person().map(|person| first_name(person, stage))),
        or_dash(record.agent()),
        or_dash(record.tool()),
        or_dash(record.text("/unmapped/obo/identity")),
        or_dash(record.outcome()),
        record.status().map_or_else(|| "-".to_owned(), |status| status.to_string()),
        or_dash(record.cache()),
        record.microseconds("duration_us").map(milliseconds).unwrap_or_default(),
    ]
}
