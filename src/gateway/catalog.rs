//! What a configuration serves, as whom, and to whom: for operators, in a table or as JSON. No secret is in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::settings::{ConnectorSettings, McpTools, Tools};
use crate::limit::{ConcurrencySettings, RateLimit, shown_duration};
use crate::policy::{Policy, Rule, ToolPattern};
use crate::tool::{Annotations, Confirm, Primitive, RequiredSignIn, Tool};

/// What stands for the names that only the connector knows.
const ANY_NAME: &str = "*";

/// Everything that can be called, in the order of the configuration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Catalog {
    /// The connectors.
    pub connectors: Vec<CatalogConnector>,
}

/// A connector.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CatalogConnector {
    /// Its name in the configuration.
    pub name: String,
    /// `rest` or `mcp`.
    pub kind: &'static str,
    /// The path under which agents call it.
    pub path: String,
    /// Where calls go.
    pub upstream: String,
    /// How many calls of it there are at a time.
    pub concurrency: CatalogConcurrency,
    /// What can be called on it.
    pub tools: Vec<CatalogTool>,
}

/// A tool; or all prompts, all resources, or all tools of an MCP server that are not listed one by one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CatalogTool {
    /// Its name; `*` for any that policy allows.
    pub name: String,
    /// What goes by that name: `tool`, `prompt` or `resource`.
    pub primitive: &'static str,
    /// What a request must look like: a method and a path within the connector (`* /…` for any), or the name that an MCP
    /// request gives.
    #[serde(rename = "match")]
    pub matches: String,
    /// What it does, in a sentence.
    pub description: Option<String>,
    /// Who the connector sees.
    pub identity: &'static str,
    /// The audience that tokens for it are asked for.
    pub audience: Option<String>,
    /// The resource that tokens for it are asked for.
    pub resource: Option<String>,
    /// Who issues the token, where that is not the person's issuer.
    pub authorization_server: Option<String>,
    /// The scopes that are asked for.
    pub scopes: Vec<String>,
    /// The issuers whose people may call it.
    pub issuers: Vec<String>,
    /// The scopes that the caller's own token must hold.
    pub required_scopes: Vec<String>,
    /// How the person must have signed in.
    pub required_sign_in: Option<CatalogSignIn>,
    /// How many calls there may be in a time: what counts for the tool, its connector and all.
    pub limits: Vec<CatalogLimit>,
    /// Whether the person has to agree to each call, as the configuration says it: `false`, `true`, or `page`.
    pub confirm: CatalogConfirm,
    /// What it does, as its declaration says.
    pub annotations: CatalogAnnotations,
    /// The arguments that policy may look at, and their types.
    pub arguments: BTreeMap<String, &'static str>,
    /// What may allow it. Empty: nobody may call it.
    pub allowed_by: Vec<CatalogRule>,
    /// What may deny it, whatever allows it.
    pub denied_by: Vec<CatalogRule>,
    /// By what else the person may have to agree to a call.
    pub confirmed_by: Vec<CatalogRule>,
}

/// How many calls of a connector there are at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct CatalogConcurrency {
    /// Calls under way.
    pub concurrent: usize,
    /// Calls that wait for one of these to end.
    pub queue: usize,
    /// How long each of them waits.
    pub queue_timeout_ms: u64,
}

impl CatalogConcurrency {
    /// As the configuration says it.
    pub fn of(settings: ConcurrencySettings) -> Self {
        let ConcurrencySettings { concurrent, queue, timeout } = settings;
        let queue_timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        Self { concurrent, queue, queue_timeout_ms }
    }
}

/// How many calls there may be in a time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CatalogLimit {
    /// Its place in the configuration.
    pub name: String,
    /// What it is of: `tool`, `connector` or `gateway`.
    pub level: &'static str,
    /// Whose calls are counted together: each `person`'s, each `agent`'s, or all (`total`).
    pub each: &'static str,
    /// How many calls.
    pub calls: u32,
    /// In which time.
    pub per_seconds: u64,
    /// How many at once.
    pub burst: u32,
}

impl CatalogLimit {
    fn of(limit: &RateLimit) -> Self {
        let RateLimit { name, level, each, rate } = limit;
        Self {
            name: name.to_string(),
            level: level.as_str(),
            each: each.as_str(),
            calls: rate.calls(),
            per_seconds: rate.per().as_secs(),
            burst: rate.burst(),
        }
    }

    /// Whose calls are counted together, in words.
    pub fn whose(&self) -> String {
        match self.each {
            "total" => "all callers".to_owned(),
            each => format!("each {each}"),
        }
    }

    /// How many in which time, in words.
    pub fn how_many(&self) -> String {
        format!("{} in {}", self.calls, shown_duration(Duration::from_secs(self.per_seconds)))
    }
}

/// Whether the person has to agree to each call of a tool.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum CatalogConfirm {
    /// Whether, at all.
    Asked(bool),
    /// `page`: on the gateway's page alone.
    Where(&'static str),
}

impl CatalogConfirm {
    fn of(tool: &Tool) -> Self {
        match tool.primitive {
            Primitive::Tool => Self::said(tool.confirm),
            Primitive::Prompt | Primitive::Resource | Primitive::Method => Self::said(Confirm::No),
        }
    }

    const fn said(confirm: Confirm) -> Self {
        match confirm {
            Confirm::No => Self::Asked(false),
            Confirm::Anywhere => Self::Asked(true),
            Confirm::OnPage => Self::Where("page"),
        }
    }
}

/// How the person must have signed in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CatalogSignIn {
    /// Entra's authentication contexts, each of which must have been passed.
    pub acrs: Vec<String>,
    /// Authentication context classes, one of which must be the token's.
    pub acr: Vec<String>,
    /// How long ago it may be.
    pub max_age_seconds: Option<u64>,
}

/// What a tool does. What its declaration does not say is left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct CatalogAnnotations {
    /// It changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// What it changes may be lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destructive: Option<bool>,
    /// Calling it twice is as calling it once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
    /// It reaches beyond its connector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_world: Option<bool>,
}

/// A rule or policy that is about a tool, and about whom.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CatalogRule {
    /// What it is called in records.
    pub name: String,
    /// `rule` or `cedar`.
    pub kind: &'static str,
    /// Which of the names it is about, where the tool stands for several. `None`: about all that the tool is, or, with
    /// Cedar, about some of it.
    pub names: Option<Vec<String>>,
    /// Which people. `None`: any person who authenticated, or `principal`.
    pub subjects: Option<CatalogSubjects>,
    /// Which people, in Cedar's words.
    pub principal: Option<String>,
    /// Which agents. `None`: any that the issuer lets in.
    pub agents: Option<Vec<String>>,
    /// Whether a Cedar policy has conditions, so that it may have nothing to say about a call.
    pub conditional: bool,
    /// Of one by which people have to agree: whether anywhere (`true`), or on the gateway's page alone (`page`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm: Option<CatalogConfirm>,
}

/// People: one match is enough.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CatalogSubjects {
    /// Subject identifiers.
    pub ids: Vec<String>,
    /// Groups.
    pub groups: Vec<String>,
    /// Roles.
    pub roles: Vec<String>,
}

impl Catalog {
    /// What these connectors serve under this policy.
    pub fn of(connectors: &[ConnectorSettings], policy: &Policy) -> Self {
        Self { connectors: connectors.iter().map(|settings| connector(settings, policy)).collect() }
    }

    /// All tools, each with its connector.
    pub fn tools(&self) -> impl Iterator<Item = (&CatalogConnector, &CatalogTool)> {
        self.connectors.iter().flat_map(|connector| connector.tools.iter().map(move |tool| (connector, tool)))
    }
}

fn connector(settings: &ConnectorSettings, policy: &Policy) -> CatalogConnector {
    let (kind, mut tools) = match &settings.tools {
        Tools::Any(any) => ("rest", vec![tool(any, "* /…".to_owned(), policy)]),
        Tools::Listed(listed) => (
            "rest",
            listed.iter().map(|(operation, listed)| tool(listed, operation.to_string(), policy)).collect(),
        ),
        Tools::Mcp(served) => ("mcp", mcp_tools(served, policy)),
    };
    for tool in &mut tools {
        let own = if tool.primitive == Primitive::Tool.as_str() { tool.name.as_str() } else { ANY_NAME };
        tool.limits = settings.limits.rates_of(own).map(|limit| CatalogLimit::of(limit)).collect();
    }
    CatalogConnector {
        name: settings.name.to_string(),
        kind,
        path: settings.path.as_str().to_owned(),
        upstream: settings.upstream.to_string(),
        concurrency: CatalogConcurrency::of(settings.limits.concurrency),
        tools,
    }
}

/// The tools of an MCP server, and its prompts and resources where policy names some.
fn mcp_tools(served: &McpTools, policy: &Policy) -> Vec<CatalogTool> {
    let unlisted = |primitive| {
        let all = Tool { primitive, ..Tool::clone(&served.unlisted) };
        let said = Said::about_some(&all, policy);
        CatalogTool { name: ANY_NAME.to_owned(), ..row(&all, ANY_NAME.to_owned(), said) }
    };
    let mut tools: Vec<_> = match &served.listed {
        Some(listed) => listed.iter().map(|listed| tool(listed, listed.name.to_string(), policy)).collect(),
        None => vec![unlisted(Primitive::Tool)],
    };
    let others = [Primitive::Prompt, Primitive::Resource].map(unlisted);
    tools.extend(others.into_iter().filter(|other| !other.allowed_by.is_empty()));
    tools
}

fn tool(tool: &Tool, matches: String, policy: &Policy) -> CatalogTool {
    row(tool, matches, Said::about(tool, policy))
}

fn row(tool: &Tool, matches: String, said: Said) -> CatalogTool {
    let Tool { name, primitive, description, annotations, arguments, identity, target, .. } = tool;
    let text = |text: Option<&str>| text.map(str::to_owned);
    CatalogTool {
        name: name.to_string(),
        primitive: primitive.as_str(),
        matches,
        description: text(description.as_deref()),
        identity: identity.as_str(),
        audience: text(target.audience.as_ref().map(|audience| audience.as_str())),
        resource: text(target.resource.as_ref().map(|resource| resource.as_str())),
        authorization_server: text(target.authorization_server.as_ref().map(|server| server.as_str())),
        scopes: target.scopes.iter().map(str::to_owned).collect(),
        issuers: tool.issuers.iter().map(ToString::to_string).collect(),
        required_scopes: tool.required_scopes.iter().map(str::to_owned).collect(),
        required_sign_in: sign_in(&tool.required_sign_in),
        limits: Vec::new(),
        confirm: CatalogConfirm::of(tool),
        annotations: annotations_of(*annotations),
        arguments: arguments.iter().map(|(name, kind)| (name.to_string(), kind.as_str())).collect(),
        allowed_by: said.allowed_by,
        denied_by: said.denied_by,
        confirmed_by: said.confirmed_by,
    }
}

fn sign_in(required: &RequiredSignIn) -> Option<CatalogSignIn> {
    if *required == RequiredSignIn::default() {
        return None;
    }
    let RequiredSignIn { acrs, acr, max_age } = required;
    Some(CatalogSignIn {
        acrs: texts(acrs),
        acr: texts(acr),
        max_age_seconds: max_age.map(|max_age| max_age.as_secs()),
    })
}

fn annotations_of(annotations: Annotations) -> CatalogAnnotations {
    let Annotations { read_only, destructive, idempotent, open_world } = annotations;
    CatalogAnnotations { read_only, destructive, idempotent, open_world }
}

/// What policy has to say about a tool.
struct Said {
    allowed_by: Vec<CatalogRule>,
    denied_by: Vec<CatalogRule>,
    confirmed_by: Vec<CatalogRule>,
}

impl Said {
    /// About this tool.
    fn about(tool: &Tool, policy: &Policy) -> Self {
        let about = |rules: &[Rule]| {
            rules.iter().filter(|about| about.is_about(tool)).map(|about| rule(about, None)).collect()
        };
        Self::each(policy, about).and_cedar(policy, tool, false)
    }

    /// About some of what only the connector knows the names of.
    fn about_some(all: &Tool, policy: &Policy) -> Self {
        let about = |rules: &[Rule]| rules.iter().filter_map(|about| rule_about_some(about, all)).collect();
        Self::each(policy, about).and_cedar(policy, all, true)
    }

    fn each(policy: &Policy, about: impl Fn(&[Rule]) -> Vec<CatalogRule>) -> Self {
        let asking = |rule: &Rule| {
            let confirm = Some(CatalogConfirm::said(rule.confirm()));
            about(std::slice::from_ref(rule)).into_iter().map(move |said| CatalogRule { confirm, ..said })
        };
        Self {
            allowed_by: about(policy.rules()),
            denied_by: about(policy.denials()),
            confirmed_by: policy.confirmations().iter().flat_map(asking).collect(),
        }
    }

    #[cfg(feature = "cedar")]
    fn and_cedar(mut self, policy: &Policy, tool: &Tool, all: bool) -> Self {
        for head in policy.cedar().into_iter().flat_map(|cedar| cedar.heads_about(tool, all)) {
            let said = CatalogRule {
                name: head.name.to_string(),
                kind: "cedar",
                names: None,
                subjects: None,
                principal: head.principal.clone(),
                agents: None,
                conditional: head.is_conditional,
                confirm: None,
            };
            if head.confirm != Confirm::No {
                let confirm = Some(CatalogConfirm::said(head.confirm));
                self.confirmed_by.push(CatalogRule { confirm, ..said.clone() });
            }
            if head.forbids { &mut self.denied_by } else { &mut self.allowed_by }.push(said);
        }
        self
    }

    #[cfg(not(feature = "cedar"))]
    fn and_cedar(self, _policy: &Policy, _tool: &Tool, _all: bool) -> Self {
        self
    }
}

fn rule(rule: &Rule, names: Option<Vec<String>>) -> CatalogRule {
    let subjects = rule.subjects.as_ref().map(|subjects| CatalogSubjects {
        ids: subjects.ids.iter().map(ToString::to_string).collect(),
        groups: texts(&subjects.groups),
        roles: texts(&subjects.roles),
    });
    let agents = rule.agents.as_ref().map(|agents| agents.iter().map(ToString::to_string).collect());
    CatalogRule {
        name: rule.name.to_string(),
        kind: "rule",
        names,
        subjects,
        principal: None,
        agents,
        conditional: false,
        confirm: None,
    }
}

/// The rule, where it is about some of what only the connector knows the names of.
fn rule_about_some(about: &Rule, all: &Tool) -> Option<CatalogRule> {
    let patterns: &[ToolPattern] = match all.primitive {
        Primitive::Tool => &about.tools,
        Primitive::Prompt => &about.prompts,
        Primitive::Resource => &about.resources,
        Primitive::Method => &[],
    };
    let here = patterns.iter().filter(|pattern| pattern.matches_connector(all.connector.as_str()));
    let names: Vec<_> = here.map(|pattern| pattern.name().to_owned()).collect();
    match names.as_slice() {
        [] => None,
        names if names.iter().any(|name| name == ANY_NAME) => Some(rule(about, None)),
        _ => Some(rule(about, Some(names))),
    }
}

fn texts(texts: &[Arc<str>]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}
