//! What a configuration serves, as a table for people.

use super::Config;
use crate::gateway::Tools;
use crate::tool::Tool;

const HEADINGS: [&str; 5] = ["CONNECTOR", "TOOL", "MATCH", "IDENTITY", "SCOPES"];
/// Between two columns.
const GAP: &str = "  ";

/// A table of the tools: connector, tool, what a request must look like, who the connector sees, and the
/// scopes that are asked for. Each line ends with a line break.
pub fn summary(config: &Config, colour: bool) -> String {
    let rows: Vec<[String; 5]> = config
        .connectors
        .iter()
        .flat_map(|connector| match &connector.tools {
            Tools::Any(tool) => {
                vec![row(tool, format!("* {}/…", connector.path.as_str().trim_end_matches('/')))]
            }
            Tools::Listed(tools) => {
                tools.iter().map(|(operation, tool)| row(tool, operation.to_string())).collect()
            }
        })
        .collect();
    let mut widths = HEADINGS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let heading = line(&HEADINGS, &widths);
    let heading = if colour { format!("\x1b[1m{heading}\x1b[0m") } else { heading };
    let mut lines = vec![heading];
    let mut before = "";
    for row in &rows {
        let [connector, rest @ ..] = row.each_ref().map(String::as_str);
        // A connector is named once, above its tools.
        let shown = if connector == before { "" } else { connector };
        before = connector;
        let [tool, operation, identity, scopes] = rest;
        lines.push(line(&[shown, tool, operation, identity, scopes], &widths));
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

fn row(tool: &Tool, operation: String) -> [String; 5] {
    let scopes = match tool.target.scopes.canonical() {
        "" => "–".to_owned(),
        scopes => scopes.to_owned(),
    };
    [tool.connector.to_string(), tool.name.to_string(), operation, tool.identity.to_string(), scopes]
}

fn line(cells: &[&str; 5], widths: &[usize; 5]) -> String {
    let cells: Vec<String> =
        cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    cells.join(GAP).trim_end().to_owned()
}
