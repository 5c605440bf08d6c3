//! What a configuration serves, as a table for people.

use std::collections::BTreeSet;

use super::Config;
use crate::gateway::{McpTools, Tools};
use crate::policy::Policy;
use crate::tool::Tool;

const HEADINGS: [&str; 6] = ["CONNECTOR", "TOOL", "MATCH", "IDENTITY", "ALLOWED BY", "SCOPES"];
/// Between two columns.
const GAP: &str = "  ";

/// A table of the tools: connector, tool, what a request must look like, who the connector sees, the rules and policies
/// that may allow it, and the scopes that are asked for; then how much there is of everything. Each line ends with a line break.
pub fn summary(config: &Config, colour: bool) -> String {
    let rows: Vec<[String; 6]> = config
        .connectors
        .iter()
        .flat_map(|connector| match &connector.tools {
            Tools::Any(tool) => {
                vec![row(
                    tool,
                    format!("* {}/…", connector.path.as_str().trim_end_matches('/')),
                    &config.policy,
                )]
            }
            Tools::Listed(tools) => tools
                .iter()
                .map(|(operation, tool)| row(tool, operation.to_string(), &config.policy))
                .collect(),
            Tools::Mcp(McpTools { listed: Some(tools), .. }) => {
                tools.iter().map(|tool| row(tool, format!("MCP {}", tool.name), &config.policy)).collect()
            }
            Tools::Mcp(McpTools { unlisted, listed: None, .. }) => {
                vec![row(unlisted, "MCP *".to_owned(), &config.policy)]
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
        let [tool, operation, identity, rules, scopes] = rest;
        lines.push(line(&[shown, tool, operation, identity, rules, scopes], &widths));
    }
    let issuers: BTreeSet<_> = config.issuers.iter().map(|issuer| issuer.name.as_str()).collect();
    let policy = &config.policy;
    let mut counted = vec![
        count(issuers.len(), "issuer"),
        count(config.connectors.len(), "connector"),
        count(rows.len(), "tool"),
        count(policy.rules().len() + policy.denials().len(), "rule"),
    ];
    if let Some(policies) = policy.policy_count() {
        counted.push(match policies {
            1 => "1 policy".to_owned(),
            count => format!("{count} policies"),
        });
    }
    lines.extend([String::new(), format!("good: {}", counted.join(", "))]);
    lines.into_iter().map(|line| line + "\n").collect()
}

fn count(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn row(tool: &Tool, operation: String, policy: &Policy) -> [String; 6] {
    let scopes = match tool.target.scopes.canonical() {
        "" => "–".to_owned(),
        scopes => scopes.to_owned(),
    };
    let rules: Vec<_> = policy.permits_about(tool).into_iter().map(ToString::to_string).collect();
    let rules = if rules.is_empty() { "nobody".to_owned() } else { rules.join(", ") };
    [tool.connector.to_string(), tool.name.to_string(), operation, tool.identity.to_string(), rules, scopes]
}

fn line(cells: &[&str; 6], widths: &[usize; 6]) -> String {
    let cells: Vec<String> =
        cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    cells.join(GAP).trim_end().to_owned()
}
