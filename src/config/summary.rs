//! What a configuration comes to, for people.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Config;
use super::table::{Cell, table};
use crate::gateway::Catalog;
use crate::gateway::catalog::{
    CatalogConcurrency, CatalogConfirm, CatalogConnector, CatalogRule, CatalogSubjects, CatalogTool,
};
use crate::limit::{ConcurrencySettings, Level, shown_duration};
use crate::tool::IdentityMode;

/// Most people, groups, roles or agents that a cell names one by one.
const NAMED_MAX: usize = 4;

/// A table of the tools: connector, tool, what a request must look like, who the connector sees, the rules and policies
/// that may allow it, and the scopes that are asked for; the addresses that are to be registered elsewhere; then how much there is of everything. Each line ends with a line break.
pub fn summary(config: &Config, colour: bool) -> String {
    let catalog = catalog(config);
    let rows: Vec<[Cell; 6]> = once_for_each_connector(&catalog)
        .map(|(shown, connector, tool)| {
            let rules: Vec<_> = tool.allowed_by.iter().map(|rule| rule.name.as_str()).collect();
            let rules = if rules.is_empty() { "nobody".to_owned() } else { rules.join(", ") };
            let operation = match connector.kind {
                "mcp" => format!("MCP {}", tool.matches),
                _ => tool.matches.replace("* /", &format!("* {}/", connector.path.trim_end_matches('/'))),
            };
            [
                shown.into(),
                name(tool).into(),
                operation.into(),
                format!("{}{}", tool.identity, asks(tool)).into(),
                rules.into(),
                scopes(tool).into(),
            ]
        })
        .collect();
    let issuers: BTreeSet<_> = config.issuers.iter().map(|issuer| issuer.name.as_str()).collect();
    let policy = &config.policy;
    let mut counted = vec![
        count(issuers.len(), "issuer"),
        count(config.connectors.len(), "connector"),
        count(rows.len(), "tool"),
        count(policy.rules().len() + policy.denials().len() + policy.confirmations().len(), "rule"),
    ];
    if let Some(policies) = policy.policy_count() {
        counted.push(match policies {
            1 => "1 policy".to_owned(),
            count => format!("{count} policies"),
        });
    }
    let headings = ["CONNECTOR", "TOOL", "MATCH", "IDENTITY", "ALLOWED BY", "SCOPES"];
    format!(
        "{}{}\n{}good: {}\n",
        table(headings, &rows, colour),
        limits(&catalog, colour),
        redirect_addresses(config),
        counted.join(", ")
    )
}

/// Where each service sends people back to, which has to be registered there. Each line ends with a line break.
fn redirect_addresses(config: &Config) -> String {
    let Some(links) = &config.links else { return String::new() };
    let line = |connector| {
        format!("redirect address of the client for {connector}: {}\n", links.callback(connector))
    };
    config.connections.iter().map(|connection| line(&connection.connector)).collect()
}

/// A table of the tools for those who want to know who may do what as whom. Each line ends with a line break.
pub fn tools(catalog: &Catalog, colour: bool) -> String {
    let mut rows: Vec<[Cell; 7]> = Vec::new();
    for (shown, connector, tool) in once_for_each_connector(catalog) {
        let operation = match connector.kind {
            "mcp" => format!("MCP {}", tool.matches),
            _ => tool.matches.clone(),
        };
        let mut said = who_may_call(tool).into_iter();
        let who = said.next().unwrap_or_else(|| Cell::notable("nobody"));
        let scopes = scopes(tool).into();
        rows.push([
            shown.into(),
            name(tool).into(),
            operation.into(),
            identity(tool),
            scopes,
            confirm(tool).into(),
            who,
        ]);
        // Each rule has a line of its own, so that none hides behind another.
        let blank = || Cell::from("");
        rows.extend(said.map(|who| [blank(), blank(), blank(), blank(), blank(), blank(), who]));
    }
    let headings = ["CONNECTOR", "TOOL", "MATCH", "IDENTITY", "SCOPES", "CONFIRM", "WHO MAY CALL"];
    table(headings, &rows, colour) + &limits(catalog, colour)
}

/// A table of the limits after an empty line; nothing where there are none but what every connector has.
fn limits(catalog: &Catalog, colour: bool) -> String {
    let mut rows: Vec<[Cell; 4]> = Vec::new();
    let mut shown = BTreeSet::new();
    let mut of = |rows: &mut Vec<[Cell; 4]>, what: &str, tool: &CatalogTool, level: &str| {
        for limit in tool.limits.iter().filter(|limit| limit.level == level) {
            if shown.insert(limit.name.clone()) {
                let at_once = limit.burst.to_string();
                rows.push([what.into(), limit.whose().into(), limit.how_many().into(), at_once.into()]);
            }
        }
    };
    for (_, tool) in catalog.tools() {
        of(&mut rows, "all connectors", tool, Level::Gateway.as_str());
    }
    for connector in &catalog.connectors {
        for tool in &connector.tools {
            of(&mut rows, &connector.name, tool, Level::Connector.as_str());
        }
        let CatalogConcurrency { concurrent, queue, queue_timeout_ms } = connector.concurrency;
        if connector.concurrency != CatalogConcurrency::of(ConcurrencySettings::default()) {
            let timeout = shown_duration(Duration::from_millis(queue_timeout_ms));
            let waiting = match queue {
                0 => "none waits".to_owned(),
                queue => format!("{queue} wait, {timeout} at most"),
            };
            let name = connector.name.as_str();
            rows.push([name.into(), "all callers".into(), waiting.into(), concurrent.to_string().into()]);
        }
        for tool in &connector.tools {
            let name = format!("{}/{}", connector.name, tool.name);
            of(&mut rows, &name, tool, Level::Tool.as_str());
        }
    }
    match rows.is_empty() {
        true => String::new(),
        false => format!("\n{}", table(["LIMITED", "FOR", "CALLS", "AT A TIME"], &rows, colour)),
    }
}

/// Whether the person has to agree to each call: everybody, on the gateway's page alone, or some people or to some calls.
fn asks(tool: &CatalogTool) -> &'static str {
    let of_all = tool.confirmed_by.iter().filter(|rule| is_of_all(rule)).filter_map(|rule| rule.confirm);
    let wanted: Vec<_> = of_all.chain([tool.confirm]).collect();
    let is_on_page = |confirm: &CatalogConfirm| matches!(confirm, CatalogConfirm::Where(_));
    let is_asked = |confirm: &CatalogConfirm| *confirm != CatalogConfirm::Asked(false);
    match tool.confirmed_by.is_empty() {
        _ if wanted.iter().any(is_on_page) => ", asks on the page",
        _ if wanted.iter().any(is_asked) => ", asks first",
        false => ", asks some",
        true => "",
    }
}

/// Whether a rule is about every call of its tool, whoever makes it.
fn is_of_all(rule: &CatalogRule) -> bool {
    let CatalogRule { kind, names, subjects, agents, .. } = rule;
    *kind == "rule" && names.is_none() && subjects.is_none() && agents.is_none()
}

/// Whether the person has to agree to each call, and the rules and policies by which more is asked than the tool says.
fn confirm(tool: &CatalogTool) -> String {
    let on_page = |rule: &&CatalogRule| matches!(rule.confirm, Some(CatalogConfirm::Where(_)));
    let by = |rules: Vec<&CatalogRule>| {
        let named = rules.iter().map(|rule| match on_page(rule) {
            true => format!("{} (page)", rule.name),
            false => rule.name.clone(),
        });
        named.collect::<Vec<_>>().join(", ")
    };
    let all: Vec<_> = tool.confirmed_by.iter().collect();
    let stricter: Vec<_> = tool.confirmed_by.iter().filter(on_page).collect();
    match tool.confirm {
        CatalogConfirm::Where(place) => place.to_owned(),
        CatalogConfirm::Asked(true) if stricter.is_empty() => "yes".to_owned(),
        CatalogConfirm::Asked(true) => format!("yes; by {}", by(stricter)),
        CatalogConfirm::Asked(false) if all.is_empty() => "no".to_owned(),
        // To some calls.
        CatalogConfirm::Asked(false) => format!("by {}", by(all)),
    }
}

/// What this configuration serves, and to whom.
pub fn catalog(config: &Config) -> Catalog {
    Catalog::of(&config.connectors, &config.policy)
}

/// The tools, each with its connector, which is named above the first of its tools alone.
fn once_for_each_connector(
    catalog: &Catalog,
) -> impl Iterator<Item = (&str, &CatalogConnector, &CatalogTool)> {
    let mut before = None;
    catalog.tools().map(move |(connector, tool)| {
        let first = before.replace(&connector.name) != Some(&connector.name);
        (if first { connector.name.as_str() } else { "" }, connector, tool)
    })
}

fn count(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// The name, as policy patterns and `explain` have it: what is no tool says so.
fn name(tool: &CatalogTool) -> String {
    match tool.primitive {
        "tool" => tool.name.clone(),
        other => format!("{other}s/{}", tool.name),
    }
}

/// Who the connector sees. That it is no person has to be noticed, in black and white as well.
fn identity(tool: &CatalogTool) -> Cell {
    match tool.identity == IdentityMode::AppOnly.as_str() {
        true => Cell::notable(format!("{} (no person)", tool.identity)),
        false => tool.identity.into(),
    }
}

fn scopes(tool: &CatalogTool) -> String {
    if tool.scopes.is_empty() { "–".to_owned() } else { tool.scopes.join(" ") }
}

/// What policy says about a tool, a line for each rule. Nothing where nobody may call it.
fn who_may_call(tool: &CatalogTool) -> Vec<Cell> {
    let mut said: Vec<Cell> = Vec::new();
    for rule in &tool.allowed_by {
        let or = if said.is_empty() { "" } else { "or " };
        said.push(format!("{or}{}", who(rule)).into());
    }
    if !said.is_empty() {
        said.extend(tool.denied_by.iter().map(|rule| Cell::from(format!("but not {}", who(rule)))));
    }
    said
}

/// Whom a rule is about, and its name.
fn who(rule: &CatalogRule) -> String {
    let CatalogRule { name, subjects, principal, agents, names, conditional, .. } = rule;
    let people = subjects.as_ref().map(people).or_else(|| principal.clone());
    let agents = agents.as_ref().map(|agents| format!(" through {}", some_of(agents, "agent")));
    let names = names.as_ref().map(|names| format!(", {} alone", names.join(" ")));
    let conditions = if *conditional { ", on conditions" } else { "" };
    format!(
        "{}{}{}{conditions} ({name})",
        people.unwrap_or_else(|| "anyone".to_owned()),
        agents.unwrap_or_default(),
        names.unwrap_or_default()
    )
}

fn people(subjects: &CatalogSubjects) -> String {
    let CatalogSubjects { ids, groups, roles } = subjects;
    let lists = [(ids, "person"), (groups, "group"), (roles, "role")];
    let named: Vec<_> = lists
        .into_iter()
        .filter(|(list, _)| !list.is_empty())
        .map(|(list, noun)| some_of(list, noun))
        .collect();
    if named.is_empty() { "nobody".to_owned() } else { named.join(" or ") }
}

/// The noun and the first names; how many more there are.
fn some_of(names: &[String], noun: &str) -> String {
    let shown = names.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = match names.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{noun} {shown}{more}")
}
