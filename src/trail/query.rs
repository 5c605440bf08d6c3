//! `obo-gateway audit query`: records as a table, as the lines they are, or as CSV.

use std::io::{self, Write};
use std::ops::ControlFlow;

use super::filter::Filter;
use super::record::Record;
use super::scan::{ScanError, Scanned, scan};
use super::{Progress, Trail, date_time, paint};
use crate::unseen::clean;

/// How many rows are looked at before columns get their widths; the rest fits in.
const ROWS_MEASURED: usize = 200;
/// Columns are not made narrower than this.
const WIDTH_MIN: usize = 8;
/// Between columns.
const GAP: &str = "  ";
/// From this width on the identifier of a request has a column.
const WIDTH_WITH_ID: usize = 150;

/// How records are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// For people, fitting this many columns, in colour or not.
    Table {
        /// Columns of the terminal.
        width: usize,
        /// Whether it shows colours.
        colour: bool,
    },
    /// The lines as they are.
    Json,
    /// Comma-separated values (RFC 4180).
    Csv,
}

/// Writes the records that are asked for, at most `limit`.
///
/// # Errors
///
/// [`ScanError`].
pub fn query(
    trail: Trail,
    filter: &Filter,
    limit: Option<u64>,
    format: Format,
    progress: &mut Progress,
    output: &mut dyn Write,
) -> Result<Scanned, ScanError> {
    let mut table = match format {
        Format::Table { width, colour } => Some(Table::new(width, colour)),
        Format::Json => None,
        Format::Csv => {
            write_csv(output, CSV_HEADER.iter().map(|name| (*name).to_owned()))?;
            None
        }
    };
    let mut left = limit.unwrap_or(u64::MAX);
    if left == 0 {
        return Ok(Scanned::default());
    }
    let scanned = scan(trail, filter, None, progress, |record, line| {
        match (&mut table, format) {
            (Some(table), _) => table.row(record, output)?,
            (None, Format::Csv) => write_csv(output, csv_row(record).into_iter())?,
            (None, _) => {
                output.write_all(line)?;
                output.write_all(b"\n")?;
            }
        }
        left -= 1;
        Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    if let Some(table) = &mut table {
        table.finish(output)?;
    }
    output.flush()?;
    Ok(scanned)
}

const HEADINGS: [&str; COLUMNS] = ["TIME", "OUTCOME", "PERSON", "AGENT", "TOOL", "IDENTITY", "MS", "REQUEST"];
const COLUMNS: usize = 8;
/// Outcome, person, agent and tool can be cut: the other columns are short, and of no use when they are.
const CUT: [usize; 4] = [1, 2, 3, 4];
const MILLISECONDS: usize = 6;

struct Row {
    cells: [String; COLUMNS],
    code: &'static str,
}

/// Rows that wait for the widths of their columns, and then none.
struct Table {
    width: usize,
    colour: bool,
    waiting: Vec<Row>,
    widths: Option<[usize; COLUMNS]>,
}

impl Table {
    fn new(width: usize, colour: bool) -> Self {
        Self { width, colour, waiting: Vec::new(), widths: None }
    }

    fn row(&mut self, record: &Record<'_>, output: &mut dyn Write) -> io::Result<()> {
        let row = Row { cells: cells(record), code: colour_of(record) };
        match self.widths {
            Some(widths) => self.write(&row, &widths, output),
            None => {
                self.waiting.push(row);
                if self.waiting.len() == ROWS_MEASURED { self.measure(output) } else { Ok(()) }
            }
        }
    }

    /// Gives the columns their widths, and writes what waits.
    fn measure(&mut self, output: &mut dyn Write) -> io::Result<()> {
        let rows = std::mem::take(&mut self.waiting);
        let mut widths = HEADINGS.map(str::len);
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(&row.cells) {
                *width = cell.chars().count().max(*width);
            }
        }
        if self.width < WIDTH_WITH_ID {
            widths[COLUMNS - 1] = 0;
        }
        loop {
            let shown = widths.iter().filter(|width| **width > 0).count();
            let taken: usize = widths.iter().sum::<usize>() + GAP.len() * shown.saturating_sub(1);
            let widest = CUT.into_iter().max_by_key(|column| widths[*column]);
            match widest.filter(|column| taken > self.width && widths[*column] > WIDTH_MIN) {
                Some(column) => widths[column] -= 1,
                None => break,
            }
        }
        self.widths = Some(widths);
        let heading = Row { cells: HEADINGS.map(str::to_owned), code: "" };
        writeln!(output, "{}", paint(&line(&heading, &widths, false), "1", self.colour))?;
        rows.iter().try_for_each(|row| self.write(row, &widths, output))
    }

    fn write(&self, row: &Row, widths: &[usize; COLUMNS], output: &mut dyn Write) -> io::Result<()> {
        writeln!(output, "{}", line(row, widths, self.colour))
    }

    fn finish(&mut self, output: &mut dyn Write) -> io::Result<()> {
        match self.widths {
            None if !self.waiting.is_empty() => self.measure(output),
            _ => Ok(()),
        }
    }
}

fn line(row: &Row, widths: &[usize; COLUMNS], colour: bool) -> String {
    let cells = row.cells.iter().zip(widths).enumerate().filter(|(_, (_, width))| **width > 0);
    let cells = cells.map(|(column, (cell, width))| {
        let cell = cut(cell, *width);
        let blanks = " ".repeat(width.saturating_sub(cell.chars().count()));
        let shown = if column == 1 { paint(&cell, row.code, colour) } else { cell };
        if column == MILLISECONDS { blanks + &shown } else { shown + &blanks }
    });
    cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
}

fn cut(text: &str, width: usize) -> String {
    match text.chars().count() > width {
        true => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

fn cells(record: &Record<'_>) -> [String; COLUMNS] {
    let text = |text: Option<&str>| clean(text.unwrap_or("-")).into_owned();
    let time = date_time(record.time);
    let time = time.get(..19).map_or_else(|| time.clone(), |time| time.replace('T', " "));
    let milliseconds = record.duration_us().map(|us| (us / 1_000).to_string());
    [
        time,
        clean(record.outcome()).into_owned(),
        text(record.person()),
        text(record.agent()),
        clean(&record.target()).into_owned(),
        text(record.identity()),
        milliseconds.unwrap_or_else(|| "-".to_owned()),
        clean(record.request_id()).into_owned(),
    ]
}

/// Green went well, red was refused, yellow is something else, and what is no call stands back.
pub fn colour_of(record: &Record<'_>) -> &'static str {
    match (record.kind(), record.is_success(), record.code().is_some()) {
        (super::record::Kind::Mark | super::record::Kind::Page, ..) => "2",
        (_, true, _) => "32",
        (_, _, true) => "31",
        _ => "33",
    }
}

const CSV_HEADER: [&str; 21] = [
    "time",
    "sequence",
    "kind",
    "person",
    "tenant",
    "issuer",
    "agent",
    "connector",
    "tool",
    "identity",
    "outcome",
    "code",
    "status",
    "detail",
    "policies",
    "scopes_requested",
    "scopes_granted",
    "request_bytes",
    "response_bytes",
    "duration_us",
    "request_id",
];

fn csv_row(record: &Record<'_>) -> [String; 21] {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let (request_bytes, response_bytes) = record.bytes();
    [
        date_time(record.time),
        number(record.sequence()),
        record.kind().as_str().to_owned(),
        text(record.person()),
        text(record.tenant()),
        text(record.issuer()),
        text(record.agent()),
        text(record.connector()),
        text(record.tool()),
        text(record.identity()),
        record.outcome().to_owned(),
        text(record.code()),
        number(record.status().map(u64::from)),
        text(record.detail()),
        record.policies().collect::<Vec<_>>().join(" "),
        record.scopes_requested().collect::<Vec<_>>().join(" "),
        record.scopes_granted().collect::<Vec<_>>().join(" "),
        number(request_bytes),
        number(response_bytes),
        number(record.duration_us()),
        record.request_id().to_owned(),
    ]
}

/// Writes a row (RFC 4180).
fn write_csv(output: &mut dyn Write, values: impl Iterator<Item = String>) -> io::Result<()> {
    let row: Vec<_> = values.map(|value| csv_value(&value)).collect();
    write!(output, "{}\r\n", row.join(","))
}

fn csv_value(value: &str) -> String {
    let value = clean(value);
    // A spreadsheet would take it for a formula, and agents choose some of these texts.
    let is_formula = value.starts_with(['=', '+', '-', '@']);
    let value = if is_formula { format!("'{value}") } else { value.into_owned() };
    match value.contains([',', '"']) {
        true => format!("\"{}\"", value.replace('"', "\"\"")),
        false => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_where_they_have_to_be_and_are_never_formulas() {
        for (value, expected) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"a\"", "\"say \"\"a\"\"\""),
            ("a\nb\u{1b}", "a\u{fffd}b\u{fffd}"),
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("-1,2", "\"'-1,2\""),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("+1", "'+1"),
            ("", ""),
        ] {
            assert_eq!(csv_value(value), expected);
        }
    }

    #[test]
    fn columns_are_cut_until_the_table_fits() {
        let row = |person: &str| {
            let mut cells = HEADINGS.map(str::to_owned);
            cells[2] = person.to_owned();
            Row { cells, code: "32" }
        };
        let mut table = Table::new(70, false);
        table.waiting.push(row(&"p".repeat(100)));
        let mut output = Vec::new();
        table.finish(&mut output).expect("written");
        table.write(&row("später"), &table.widths.expect("widths"), &mut output).expect("written");
        let text = String::from_utf8(output).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= 70), "{text}");
        assert!(lines[1].contains("ppp…") && lines[2].contains("später  "), "{text}");
        assert!(!text.contains("REQUEST"), "there is no room for it");
    }
}
