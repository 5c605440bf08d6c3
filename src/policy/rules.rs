//! Simple rules: some people, through some agents, some tools.

use std::sync::Arc;

use crate::identity::{Actor, Caller, RuleName, Subject};
use crate::tool::{Confirm, Primitive, Tool};

/// One line of policy. It covers a call when each of its parts does.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it is called in records.
    pub name: RuleName,
    /// Which people. `None`: any person who authenticated.
    pub subjects: Option<Subjects>,
    /// Which agents. `None`: any that the issuer lets in.
    pub agents: Option<Vec<Actor>>,
    /// Which tools. Empty: none.
    pub tools: Vec<ToolPattern>,
    /// Which prompts. Empty: none.
    pub prompts: Vec<ToolPattern>,
    /// Which resources, by their URIs. Empty: none.
    pub resources: Vec<ToolPattern>,
    /// Of a rule by which people are asked: their yes counts on the gateway's page alone.
    pub on_page: bool,
}

/// People, named one by one, by group or by role. One match is enough; nothing listed matches nobody.
#[derive(Clone, Debug, Default)]
pub struct Subjects {
    /// Subject identifiers.
    pub ids: Vec<Subject>,
    /// Groups, as the token names them.
    pub groups: Vec<Arc<str>>,
    /// Roles, as the token names them.
    pub roles: Vec<Arc<str>>,
}

/// `connector/tool`, where `*` stands for any run of characters within its part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToolPattern {
    connector: Arc<str>,
    tool: Arc<str>,
}

/// Why a pattern cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a tool pattern is `connector/tool`, where `*` stands for any run of characters within its part")]
pub struct ToolPatternError;

impl Rule {
    /// A rule of this name, for any person through any agent, that names nothing yet.
    pub fn named(name: RuleName) -> Self {
        Self {
            name,
            subjects: None,
            agents: None,
            tools: Vec::new(),
            prompts: Vec::new(),
            resources: Vec::new(),
            on_page: false,
        }
    }

    /// Of a rule by which people are asked: where their yes counts.
    pub fn confirm(&self) -> Confirm {
        match self.on_page {
            true => Confirm::OnPage,
            false => Confirm::Anywhere,
        }
    }

    /// Whether it is about this call.
    pub(super) fn covers(&self, caller: &Caller, tool: &Tool) -> bool {
        self.is_about(tool) && self.is_for(caller)
    }

    /// Whether it is about this caller.
    pub(super) fn is_for(&self, caller: &Caller) -> bool {
        self.is_for_person(caller) && self.is_for_agent(caller)
    }

    /// Whether it is about this caller's person, whatever the agent is.
    pub(super) fn is_for_person(&self, caller: &Caller) -> bool {
        self.subjects.as_ref().is_none_or(|subjects| subjects.include(caller))
    }

    /// Whether it is about this caller's agent, whoever the person is.
    pub(super) fn is_for_agent(&self, caller: &Caller) -> bool {
        self.agents.as_ref().is_none_or(|agents| includes_actor(agents, caller.actor()))
    }

    /// Whether it names this tool. What a protocol needs besides is for whoever may use something on the connector.
    pub fn is_about(&self, tool: &Tool) -> bool {
        let connector = tool.connector.as_str();
        match Kind::of(tool.primitive) {
            Some(kind) => self.patterns(kind).iter().any(|pattern| pattern.matches(tool)),
            None => Kind::ALL.into_iter().any(|kind| self.names_some(kind, connector)),
        }
    }

    /// Whether it names something of this kind on the connector.
    pub(super) fn names_some(&self, kind: Kind, connector: &str) -> bool {
        self.patterns(kind).iter().any(|pattern| pattern.matches_connector(connector))
    }

    /// Whether it names everything of this kind on the connector.
    pub(super) fn names_all(&self, kind: Kind, connector: &str) -> bool {
        self.patterns(kind).iter().any(|pattern| {
            pattern.tool.bytes().all(|byte| byte == b'*') && pattern.matches_connector(connector)
        })
    }

    fn patterns(&self, kind: Kind) -> &[ToolPattern] {
        match kind {
            Kind::Tool => &self.tools,
            Kind::Prompt => &self.prompts,
            Kind::Resource => &self.resources,
        }
    }

    /// The connectors that it names, as they are written. One with a `*` may stand for any.
    pub(super) fn connectors(&self) -> impl Iterator<Item = &Arc<str>> {
        Kind::ALL.into_iter().flat_map(|kind| self.patterns(kind)).map(|pattern| &pattern.connector)
    }
}

/// What a connector has that a rule can name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Tool,
    Prompt,
    Resource,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Tool, Self::Prompt, Self::Resource];

    /// A method of the protocol is of no kind: it serves all of them.
    pub const fn of(primitive: Primitive) -> Option<Self> {
        match primitive {
            Primitive::Tool => Some(Self::Tool),
            Primitive::Prompt => Some(Self::Prompt),
            Primitive::Resource => Some(Self::Resource),
            Primitive::Method => None,
        }
    }
}

/// An agent that the token does not name is on no list.
fn includes_actor(agents: &[Actor], actor: Option<&Actor>) -> bool {
    actor.is_some_and(|actor| agents.contains(actor))
}

impl Subjects {
    fn include(&self, caller: &Caller) -> bool {
        self.ids.contains(caller.subject())
            || caller.groups().iter().any(|group| self.groups.contains(group))
            || caller.roles().iter().any(|role| self.roles.contains(role))
    }
}

impl ToolPattern {
    /// Reads a pattern for resources: `connector/uri`, where `*` in the URI stands for any run of characters, slashes
    /// among them.
    ///
    /// # Errors
    ///
    /// When it does not have two parts.
    pub fn of_resource(text: &str) -> Result<Self, ToolPatternError> {
        match text.split_once('/') {
            Some((connector, uri)) if !connector.is_empty() && !uri.is_empty() => {
                Ok(Self { connector: connector.into(), tool: uri.into() })
            }
            _ => Err(ToolPatternError),
        }
    }

    /// Whether this pattern covers `tool`.
    pub fn matches(&self, tool: &Tool) -> bool {
        self.matches_names(tool.connector.as_str(), tool.name.as_str())
    }

    /// Whether this pattern covers something on this connector.
    pub fn matches_connector(&self, connector: &str) -> bool {
        glob(&self.connector, connector)
    }

    /// What it says about connectors, as it is written.
    pub fn connector(&self) -> &str {
        &self.connector
    }

    /// What it says about names on the connector, as it is written.
    pub fn name(&self) -> &str {
        &self.tool
    }

    /// Whether this pattern covers the tool of these names.
    pub fn matches_names(&self, connector: &str, tool: &str) -> bool {
        glob(&self.connector, connector) && glob(&self.tool, tool)
    }
}

impl std::str::FromStr for ToolPattern {
    type Err = ToolPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((connector, tool)) if !connector.is_empty() && !tool.is_empty() && !tool.contains('/') => {
                Ok(Self { connector: connector.into(), tool: tool.into() })
            }
            _ => Err(ToolPatternError),
        }
    }
}

/// Whether `text` fits `pattern`, where `*` stands for any run of characters.
pub fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut pieces = rest.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return text.ends_with(piece);
        }
        // The leftmost fit leaves the most room for the pieces that follow.
        let Some(at) = text.find(piece) else { return false };
        text = &text[at + piece.len()..];
    }
    true
}
