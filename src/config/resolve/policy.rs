//! `policy`: who may call what.

use std::collections::HashMap;

use super::{Surroundings, values};
use crate::config::at::At;
use crate::config::file::{self, Confirm, ConnectorKind, File};
use crate::config::nearest::suggestion;
#[cfg(feature = "cedar")]
use crate::config::vocabulary::vocabulary;
use crate::gateway::ConnectorSettings;
use crate::identity::{Actor, RuleName, Subject};
use crate::oauth::IssuerSettings;
use crate::policy::{Policy, Rule, Subjects, ToolPattern};
use crate::tool::ANY_TOOL;

/// Longest name of a rule; it stands in every record that the rule is the reason for.
const RULE_NAME_CHARS_MAX: usize = 128;

/// Checks the rules and policies. `sound` is what they can be about, when all of it is.
pub fn policy(
    file: &File,
    root: &At<'_>,
    sound: Option<(&Vec<IssuerSettings>, &[ConnectorSettings])>,
    surroundings: &Surroundings<'_>,
) -> Option<Policy> {
    let at = root.key("policy");
    let written = file.policy.as_ref();
    let allow = written.and_then(|policy| policy.allow.as_deref()).unwrap_or_default();
    let deny = written.and_then(|policy| policy.deny.as_deref()).unwrap_or_default();
    if allow.is_empty() && !at.key("cedar").is_written() {
        at.warn("allows nothing, so every call is denied: add rules under `policy.allow`");
    }
    let known = Known::of(file, root, sound.map(|(_, connectors)| connectors));
    let mut names = Names::default();
    let allow = rules("allow", allow, &at, &known, &mut names);
    let deny = rules("deny", deny, &at, &known, &mut names);
    let confirm = written.and_then(|policy| policy.confirm.as_deref()).unwrap_or_default();
    let confirm = rules("confirm", confirm, &at, &known, &mut names);
    let cedar = written.and_then(|policy| policy.cedar.as_ref()).filter(|_| !surroundings.without_cedar);
    let cedar = with_cedar(cedar, &at.key("cedar"), sound, &mut names);
    Some(cedar?(Policy::new(allow?).denying(deny?).confirming(confirm?)))
}

/// What adds the Cedar policies to the rules.
type AddCedar = Box<dyn FnOnce(Policy) -> Policy>;

#[cfg(feature = "cedar")]
fn with_cedar(
    cedar: Option<&file::Cedar>,
    at: &At<'_>,
    sound: Option<(&Vec<IssuerSettings>, &[ConnectorSettings])>,
    names: &mut Names,
) -> Option<AddCedar> {
    let Some(cedar) = cedar else { return Some(Box::new(|policy| policy)) };
    let vocabulary = sound.map(|(issuers, connectors)| vocabulary(issuers, connectors));
    let policies = super::cedar::policies(cedar, at, vocabulary.as_ref(), names)?;
    Some(Box::new(|policy| policy.with_cedar(policies)))
}

#[cfg(not(feature = "cedar"))]
fn with_cedar(
    cedar: Option<&file::Cedar>,
    at: &At<'_>,
    _sound: Option<(&Vec<IssuerSettings>, &[ConnectorSettings])>,
    _names: &mut Names,
) -> Option<AddCedar> {
    if cedar.is_some() {
        at.fault(
            "is not served by this build, which was made without the cargo feature `cedar`: use one with it",
        );
        return None;
    }
    Some(Box::new(|policy| policy))
}

fn rules(
    list: &str,
    rules: &[file::Rule],
    at: &At<'_>,
    known: &Known,
    names: &mut Names,
) -> Option<Vec<Rule>> {
    let at = at.key(list);
    let checked: Vec<_> = rules
        .iter()
        .enumerate()
        .map(|(index, rule)| self::rule(rule, list, index, &at.index(index), known, names))
        .collect();
    checked.into_iter().collect()
}

fn rule(
    rule: &file::Rule,
    list: &str,
    index: usize,
    at: &At<'_>,
    known: &Known,
    names: &mut Names,
) -> Option<Rule> {
    let name = names.take(rule.name.as_deref(), format!("{list}[{index}]"), &at.key("name"));
    let subjects = subjects(rule, &at.key("subjects"));
    let agents = rule.agents.as_deref();
    let agents_sound = values::not_empty(
        &at.key("agents"),
        agents,
        "no agent fits it; leave the key out to cover any agent",
    );
    let lists = [("tools", &rule.tools), ("prompts", &rule.prompts), ("resources", &rule.resources)];
    if !lists.iter().any(|(key, _)| at.key(key).is_written()) {
        at.key("tools").fault(format_args!("is required: {WHAT_TOOLS}; or list `prompts` or `resources`"));
        return None;
    }
    let tools = patterns(&rule.tools, &at.key("tools"), WHAT_TOOLS, |text, at| known.tool(text, at));
    let prompts =
        patterns(&rule.prompts, &at.key("prompts"), WHAT_PROMPTS, |text, at| known.prompt(text, at));
    let resources =
        patterns(&rule.resources, &at.key("resources"), WHAT_RESOURCES, |text, at| known.resource(text, at));
    let on_page = on_page(rule, list, &at.key("confirm"));
    agents_sound.then_some(())?;
    Some(Rule {
        name: name?,
        subjects: subjects?,
        agents: agents.map(|agents| agents.iter().map(|agent| Actor::new(agent.as_str())).collect()),
        tools: tools?,
        prompts: prompts?,
        resources: resources?,
        on_page: on_page?,
    })
}

/// Whether a yes counts on the page alone.
fn on_page(rule: &file::Rule, list: &str, at: &At<'_>) -> Option<bool> {
    match rule.confirm {
        Some(_) if list != "confirm" => {
            at.fault(
                "is for rules of `policy.confirm`: write the rule there as well, and leave the key out here",
            );
            None
        }
        Some(Confirm::No) => {
            at.fault("must be `true` or `page`: whatever a rule of `policy.confirm` covers is asked about");
            None
        }
        Some(Confirm::OnPage) => Some(true),
        Some(Confirm::Anywhere) | None => Some(false),
    }
}

const WHAT_TOOLS: &str = "name the tools it is about, like `[\"mail/*\"]`";
const WHAT_PROMPTS: &str = "name the prompts it is about, like `[\"notes/*\"]`, or leave the key out";
const WHAT_RESOURCES: &str =
    "name the resources it is about, like `[\"notes/file:///shared/*\"]`, or leave the key out";

/// The names of what has been said about policy so far: records tell by them what decided.
#[derive(Default)]
pub struct Names(HashMap<RuleName, String>);

impl Names {
    /// The name that is given, or else the place.
    fn take(&mut self, name: Option<&str>, place: String, at: &At<'_>) -> Option<RuleName> {
        let name = RuleName::new(name.unwrap_or(&place));
        match self.claim(&name, place) {
            Ok(()) => {}
            Err(fault @ NameFault::TooLong) => {
                at.fault(fault);
                return None;
            }
            Err(fault @ NameFault::Taken(_)) => at.fault_found(fault),
        }
        Some(name)
    }

    /// Keeps a name for whatever is at a place.
    pub fn claim(&mut self, name: &RuleName, place: String) -> Result<(), NameFault> {
        if name.as_str().chars().count() > RULE_NAME_CHARS_MAX {
            return Err(NameFault::TooLong);
        }
        match self.0.insert(name.clone(), place) {
            Some(other) => Err(NameFault::Taken(other)),
            None => Ok(()),
        }
    }
}

/// Why a name cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NameFault {
    #[error("is longer than {RULE_NAME_CHARS_MAX} characters")]
    TooLong,
    #[error("is already the name of {0}: give each rule its own")]
    Taken(String),
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

fn patterns(
    list: &Option<Vec<String>>,
    at: &At<'_>,
    what: &str,
    read: impl Fn(&str, &At<'_>) -> Option<ToolPattern>,
) -> Option<Vec<ToolPattern>> {
    if !values::not_empty(at, list.as_deref(), what) {
        return None;
    }
    let texts = list.iter().flatten().enumerate();
    let checked: Vec<_> = texts.map(|(index, text)| read(text, &at.index(index))).collect();
    checked.into_iter().collect()
}

/// What is written in the file, sound or not, so that a pattern for a faulty tool is no fault.
struct Known<'a> {
    /// Connector and tool; without a tool, any name may be one.
    tools: Vec<(String, Option<String>)>,
    /// Each connector, and whether it is known to be a REST API.
    connectors: Vec<(&'a str, bool)>,
    /// Whether connectors are missing that were written.
    unclear: bool,
}

impl<'a> Known<'a> {
    /// `sound` are all connectors, when they are.
    fn of(file: &File, root: &At<'a>, sound: Option<&[ConnectorSettings]>) -> Self {
        let at = root.key("connectors");
        let written = file.connectors.iter().flat_map(|connectors| &connectors.0);
        let kinds: HashMap<&str, Option<ConnectorKind>> =
            written.map(|(name, connector)| (name.as_str(), connector.kind)).collect();
        let (mut tools, mut connectors) = (Vec::new(), Vec::new());
        for connector in at.names() {
            let tools_at = at.key(connector).key("tools");
            let names = tools_at.names();
            // An OpenAPI document may have others beside.
            let imports = at.key(connector).key("openapi").is_written();
            if imports {
                let settings =
                    sound.and_then(|all| all.iter().find(|known| known.name.as_str() == connector));
                let names = settings.map(|settings| {
                    settings.tools.declared().into_iter().map(|tool| Some(tool.name.to_string())).collect()
                });
                let names: Vec<_> = names.unwrap_or_else(|| vec![None]);
                tools.extend(names.into_iter().map(|name| (connector.to_owned(), name)));
            }
            let rest = kinds.get(connector) == Some(&Some(ConnectorKind::Rest));
            connectors.push((connector, rest));
            if !names.is_empty() {
                tools.extend(names.into_iter().map(|tool| (connector.to_owned(), Some(tool.to_owned()))));
            } else if rest && !tools_at.is_written() && !imports {
                tools.push((connector.to_owned(), Some(ANY_TOOL.to_owned())));
            } else if !imports {
                tools.push((connector.to_owned(), None));
            }
        }
        Self { unclear: tools.is_empty(), tools, connectors }
    }

    fn prompt(&self, text: &str, at: &At<'_>) -> Option<ToolPattern> {
        self.of_mcp(at.checked(text.parse())?, "prompts", text, at)
    }

    fn resource(&self, text: &str, at: &At<'_>) -> Option<ToolPattern> {
        self.of_mcp(at.checked(ToolPattern::of_resource(text))?, "resources", text, at)
    }

    /// Which prompts and resources there are, only the MCP server knows. Its name must be right.
    fn of_mcp(&self, pattern: ToolPattern, what: &str, text: &str, at: &At<'_>) -> Option<ToolPattern> {
        let mut covered =
            self.connectors.iter().filter(|(name, _)| pattern.matches_connector(name)).peekable();
        if self.unclear {
            return Some(pattern);
        }
        if covered.peek().is_none() {
            let connector = text.split('/').next().unwrap_or_default();
            let near = suggestion(connector, self.connectors.iter().map(|(name, _)| *name));
            at.fault_found(format_args!("covers no connector{near}"));
            return None;
        }
        if covered.all(|(_, rest)| *rest) {
            at.fault_found(format_args!("covers REST connectors alone, and only MCP servers have {what}"));
            return None;
        }
        Some(pattern)
    }

    /// Reads a pattern. One that covers nothing is a typing error, which would deny what someone meant to
    /// allow.
    fn tool(&self, text: &str, at: &At<'_>) -> Option<ToolPattern> {
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
