//! `policy`: who may call what.

use std::collections::HashMap;

use super::values;
use crate::config::at::At;
use crate::config::file::{self, ConnectorKind, File};
use crate::config::nearest::suggestion;
use crate::identity::RuleName;
use crate::identity::{Actor, Subject};
use crate::policy::{Policy, Rule, Subjects, ToolPattern};
use crate::tool::ANY_TOOL;

/// Longest name of a rule; it stands in every record that the rule is the reason for.
const RULE_NAME_CHARS_MAX: usize = 128;

/// Checks the rules.
pub fn policy(file: &File, root: &At<'_>) -> Option<Policy> {
    let at = root.key("policy");
    let allow_at = at.key("allow");
    let rules = file.policy.as_ref().and_then(|policy| policy.allow.as_deref()).unwrap_or_default();
    if rules.is_empty() {
        at.warn("allows nothing, so every call is denied: add rules under `policy.allow`");
    }
    let known = KnownTools::of(file, root);
    let mut names: HashMap<RuleName, usize> = HashMap::new();
    let mut checked = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let at = allow_at.index(index);
        let name = name(rule, index, &at);
        if let Some(name) = &name
            && let Some(other) = names.insert(name.clone(), index)
        {
            at.key("name")
                .fault_found(format_args!("is already the name of allow[{other}]: give each rule its own"));
        }
        checked.push(self::rule(rule, name, &at, &known));
    }
    let checked: Option<Vec<Rule>> = checked.into_iter().collect();
    checked.map(Policy::new)
}

fn rule(rule: &file::Rule, name: Option<RuleName>, at: &At<'_>, known: &KnownTools) -> Option<Rule> {
    let subjects = subjects(rule, &at.key("subjects"));
    let agents = rule.agents.as_deref();
    let agents_sound = values::not_empty(
        &at.key("agents"),
        agents,
        "no agent fits it; leave the key out to cover any agent",
    );
    let tools = tools(rule, &at.key("tools"), known);
    agents_sound.then_some(())?;
    Some(Rule {
        name: name?,
        subjects: subjects?,
        agents: agents.map(|agents| agents.iter().map(|agent| Actor::new(agent.as_str())).collect()),
        tools: tools?,
        prompts: Vec::new(),
        resources: Vec::new(),
    })
}

fn name(rule: &file::Rule, index: usize, at: &At<'_>) -> Option<RuleName> {
    let Some(name) = rule.name.as_deref() else { return Some(RuleName::new(format!("allow[{index}]"))) };
    if name.chars().count() > RULE_NAME_CHARS_MAX {
        at.key("name").fault(format_args!("is longer than {RULE_NAME_CHARS_MAX} characters"));
        return None;
    }
    Some(RuleName::new(name))
}

fn subjects(rule: &file::Rule, at: &At<'_>) -> Option<Option<Subjects>> {
    let Some(subjects) = &rule.subjects else { return Some(None) };
    let lists = [("ids", &subjects.ids), ("groups", &subjects.groups), ("roles", &subjects.roles)];
    if lists.iter().all(|(_, list)| list.is_none()) {
        at.fault("is empty, so it matches nobody; leave the key out to cover any person");
        return None;
    }
    let mut sound = true;
    for (key, list) in lists {
        sound &= values::not_empty(&at.key(key), list.as_deref(), "it matches nobody; leave the key out");
    }
    sound.then_some(())?;
    let texts = |list: &Option<Vec<String>>| -> Vec<_> {
        list.iter().flatten().map(|text| text.as_str().into()).collect()
    };
    Some(Some(Subjects {
        ids: subjects.ids.iter().flatten().map(|id| Subject::new(id.as_str())).collect(),
        groups: texts(&subjects.groups),
        roles: texts(&subjects.roles),
    }))
}

fn tools(rule: &file::Rule, at: &At<'_>, known: &KnownTools) -> Option<Vec<ToolPattern>> {
    const WHAT: &str = "name the tools it allows, like `[\"mail/*\"]`";
    let patterns = at.required(rule.tools.as_deref(), WHAT)?;
    if !values::not_empty(at, Some(patterns), WHAT) {
        return None;
    }
    let patterns = patterns.iter().enumerate();
    let checked: Vec<_> = patterns.map(|(index, text)| known.pattern(text, &at.index(index))).collect();
    checked.into_iter().collect()
}

/// The tools that are written in the file, sound or not, so that a pattern for a faulty tool is no fault.
struct KnownTools {
    /// Connector and tool; without a tool, any name may be one.
    tools: Vec<(String, Option<String>)>,
    /// Whether connectors are missing that were written.
    unclear: bool,
}

impl KnownTools {
    fn of(file: &File, root: &At<'_>) -> Self {
        let at = root.key("connectors");
        let connectors = file.connectors.iter().flat_map(|connectors| &connectors.0);
        let kinds: HashMap<&str, Option<ConnectorKind>> =
            connectors.map(|(name, connector)| (name.as_str(), connector.kind)).collect();
        let mut tools = Vec::new();
        for connector in at.names() {
            let tools_at = at.key(connector).key("tools");
            let names = tools_at.names();
            if !names.is_empty() {
                tools.extend(names.into_iter().map(|tool| (connector.to_owned(), Some(tool.to_owned()))));
            } else if kinds.get(connector) == Some(&Some(ConnectorKind::Rest)) && !tools_at.is_written() {
                tools.push((connector.to_owned(), Some(ANY_TOOL.to_owned())));
            } else {
                tools.push((connector.to_owned(), None));
            }
        }
        Self { unclear: tools.is_empty(), tools }
    }

    /// Reads a pattern. One that covers nothing is a typing error, which would deny what someone meant to
    /// allow.
    fn pattern(&self, text: &str, at: &At<'_>) -> Option<ToolPattern> {
        let pattern: ToolPattern = at.checked(text.parse())?;
        if !self.unclear
            && !self.tools.iter().any(|(connector, tool)| covers(&pattern, text, connector, tool))
        {
            let candidates: Vec<String> = self.candidates().collect();
            let near = suggestion(text, candidates.iter().map(String::as_str));
            at.fault_found(format_args!("covers no tool{near}"));
            return None;
        }
        Some(pattern)
    }

    fn candidates(&self) -> impl Iterator<Item = String> {
        self.tools
            .iter()
            .flat_map(|(connector, tool)| {
                [Some(format!("{connector}/*")), tool.as_ref().map(|tool| format!("{connector}/{tool}"))]
            })
            .flatten()
    }
}

fn covers(pattern: &ToolPattern, text: &str, connector: &str, tool: &Option<String>) -> bool {
    match tool {
        Some(tool) => pattern.matches_names(connector, tool),
        // Whatever the tool part is, it covers itself.
        None => pattern.matches_names(connector, text.split_once('/').map_or("", |(_, tool)| tool)),
    }
}
