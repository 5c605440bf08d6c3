//! Tables for people: columns as wide as what stands in them.

/// Between two columns.
const GAP: &str = "  ";

/// A cell, and how it stands out where colour is shown.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    stands_out: bool,
}

impl Cell {
    /// A cell that is to be noticed.
    pub fn notable(text: impl Into<String>) -> Self {
        Self { text: text.into(), stands_out: true }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), stands_out: false }
    }
}

/// The lines of a table, each with its line break. Colours are those of "select graphic rendition" (ECMA-48 section
/// 8.3.117): bold headings, yellow for what is to be noticed.
pub fn table<const COLUMNS: usize>(
    headings: [&str; COLUMNS],
    rows: &[[Cell; COLUMNS]],
    colour: bool,
) -> String {
    let mut widths = headings.map(|heading| heading.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.text.chars().count().max(*width);
        }
    }
    let paint = |text: &str, code: &str| match colour && !text.is_empty() {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let heading = line(&headings.map(|heading| (heading.to_owned(), heading.chars().count())), &widths);
    let mut lines = paint(&heading, "1") + "\n";
    for row in rows {
        let cells = row.each_ref().map(|cell| {
            let shown = if cell.stands_out { paint(&cell.text, "33") } else { cell.text.clone() };
            (shown, cell.text.chars().count())
        });
        lines.push_str(&line(&cells, &widths));
        lines.push('\n');
    }
    lines
}

/// One line of cells, each as it is shown, with the number of columns that it takes.
fn line<const COLUMNS: usize>(cells: &[(String, usize); COLUMNS], widths: &[usize; COLUMNS]) -> String {
    let padded = cells
        .iter()
        .zip(widths)
        .map(|((shown, taken), width)| format!("{shown}{}", " ".repeat(width.saturating_sub(*taken))));
    padded.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
}
