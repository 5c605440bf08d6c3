//! `tools`: the operations of a connector, and whose identity each runs with.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::confirm::confirm;
use super::target::{Delegation, TargetNames};
use super::{application, arguments, connection, openapi, privacy, values};
use crate::config::at::At;
use crate::config::file::{self, ConnectorKind, Identity, Named};
use crate::gateway::rest::{Operations, ToolMatch, ToolMatchError};
use crate::gateway::{ListWithoutPerson, McpTools, Tools};
use crate::identity::{IssuerName, Scopes};
use crate::memo::Memo;
use crate::tool::{
    ANY_TOOL, Annotations, ConnectorName, IdentityMode, Primitive, RequiredSignIn, Target, Tool, ToolName,
};

/// A connector, as far as its tools need it.
pub struct Host<'a> {
    pub name: ConnectorName,
    /// `None` when they have faults of their own. So in the next one.
    pub issuers: Option<Arc<[IssuerName]>>,
    pub identity: IdentityMode,
    pub ways: Ways,
    pub names: TargetNames,
    pub connector: &'a file::Connector,
    /// As [`of`] says.
    pub tools: Option<Option<&'a Named<file::Tool>>>,
    pub at: &'a At<'a>,
}

/// How the tokens of a connector are obtained, by identity mode. `None` when none of its tools wants it so, or when that
/// has faults of its own.
pub struct Ways {
    pub delegation: Option<Delegation>,
    pub application: Option<Vec<application::Naming>>,
}

/// The tools that a connector lists: those that are written, and those that a document gives beside them. `None` when they
/// cannot be read.
pub fn of<'a>(
    connector: &'a file::Connector,
    kind: ConnectorKind,
    at: &At<'_>,
) -> Option<Option<Cow<'a, Named<file::Tool>>>> {
    let written = connector.tools.as_ref();
    let at = at.key("openapi");
    match (kind, &connector.openapi) {
        (ConnectorKind::Mcp, _) => Some(written.map(Cow::Borrowed)),
        (ConnectorKind::Rest, Some(openapi)) => {
            openapi::tools(openapi, written, &at).map(|all| Some(Cow::Owned(all)))
        }
        (ConnectorKind::Rest, None) => (!at.is_written()).then(|| written.map(Cow::Borrowed)),
    }
}

/// Checks the tools of a REST connector.
pub fn rest_tools(host: &Host<'_>) -> Option<Tools> {
    let at = host.at.key("tools");
    if host.at.key("list_without_person").is_written() {
        host.at
            .key("list_without_person")
            .fault("is for an MCP server: leave it out, since a REST API has no list of tools");
    }
    let scopes = host.scopes();
    match host.tools? {
        Some(tools) => listed(host, tools, &at, scopes),
        None if at.is_written() => None,
        None => Some(Tools::Any(Arc::new(host.unlisted(Primitive::Tool, scopes)?))),
    }
}

/// Checks the tools of an MCP server.
pub fn mcp_tools(host: &Host<'_>) -> Option<Tools> {
    let at = host.at.key("tools");
    if host.at.key("openapi").is_written() {
        host.at
            .key("openapi")
            .fault("is for a REST API: leave it out, since an MCP server lists its tools itself");
    }
    let scopes = host.scopes();
    let listed = match &host.connector.tools {
        Some(tools) if tools.0.is_empty() => {
            at.fault(
                "is empty, so no tool could be called; leave the key out to serve those that policy allows",
            );
            None
        }
        Some(tools) => {
            let checked: Vec<_> =
                tools.0.iter().map(|(name, tool)| mcp_tool(host, name, tool, &at, scopes.as_ref())).collect();
            checked.into_iter().collect::<Option<Vec<_>>>().map(Some)
        }
        None => (!at.is_written()).then_some(None),
    };
    let list_without_person = list_without_person(host);
    let unlisted = host.unlisted(Primitive::Method, scopes).map(Arc::new);
    Some(Tools::Mcp(McpTools {
        unlisted: unlisted?,
        listed: listed?,
        list_without_person: list_without_person?,
    }))
}

fn mcp_tool(
    host: &Host<'_>,
    name: &str,
    tool: &file::Tool,
    at: &At<'_>,
    scopes: Option<&Scopes>,
) -> Option<Arc<Tool>> {
    let at = at.key(name);
    check_tool_name(&at, name);
    if tool.matches.is_some() {
        at.key("match").fault("is for a REST API: leave it out, since an MCP tool is called by its name");
    }
    arguments::check_unplaced(tool, &at.key("arguments"));
    host.tool(name, tool, &at, scopes.cloned())
}

fn list_without_person(host: &Host<'_>) -> Option<ListWithoutPerson> {
    match host.connector.list_without_person {
        None | Some(file::ListWithoutPerson::Refuse) => Some(ListWithoutPerson::Refuse),
        Some(file::ListWithoutPerson::AppOnly) => Some(ListWithoutPerson::AppOnly(host.target_alone()?)),
        Some(file::ListWithoutPerson::Configured) if host.connector.tools.is_some() => {
            Some(ListWithoutPerson::Configured)
        }
        Some(file::ListWithoutPerson::Configured) => {
            let at = host.at.key("list_without_person");
            at.fault("is `configured`, and no tools are: list them under `tools`");
            None
        }
    }
}

fn listed(host: &Host<'_>, tools: &Named<file::Tool>, at: &At<'_>, scopes: Option<Scopes>) -> Option<Tools> {
    if tools.0.is_empty() {
        at.fault("is empty, so nothing could be called; leave the key out to serve all of the connector");
        return None;
    }
    let mut operations = Operations::default();
    let mut names: HashMap<String, &str> = HashMap::new();
    let mut checked = Vec::new();
    for (name, tool) in &tools.0 {
        let at = at.key(name);
        check_tool_name(&at, name);
        let operation = operation(tool, &at.key("match"));
        if operation.as_ref().is_some_and(|operation| operation.has_segment("$batch")) {
            at.key("match").fault_found(
                "is a batch: it hides other calls, which nothing would judge, so agents have to send those one by one",
            );
        }
        if let Some(operation) = &operation {
            if let Err(overlap) = operations.add(operation, ()) {
                let other = names.get(&overlap.other).map(|name| format!(" of `{name}`")).unwrap_or_default();
                at.key("match").fault_found(format_args!("{overlap}{other}"));
            }
            names.entry(operation.to_string()).or_insert(name);
        }
        let places =
            operation.as_ref().and_then(|operation| arguments::places(tool, operation, &at.key("arguments")));
        let tool = host.tool(name, tool, &at, scopes.clone());
        let operation = operation.zip(places).map(|(operation, places)| operation.with_arguments(places));
        checked.push(operation.zip(tool));
    }
    let checked: Option<Vec<_>> = checked.into_iter().collect();
    checked.map(Tools::Listed)
}

fn check_tool_name(at: &At<'_>, name: &str) {
    values::check_name(at, name);
    if name == ANY_TOOL {
        at.fault("is what tools are called that are not listed: choose another name");
    }
}

fn operation(tool: &file::Tool, at: &At<'_>) -> Option<ToolMatch> {
    let text =
        at.required(tool.matches.as_deref(), "give the method and the path, like `GET /me/messages/{id}`")?;
    // Some of these errors quote what they are about, which may have come from the environment.
    let quiet = |error| if at.has_variables() { ToolMatchError::Form } else { error };
    at.checked(text.parse().map_err(quiet))
}

impl Host<'_> {
    fn scopes(&self) -> Option<Scopes> {
        scopes(&self.at.key("scopes"), self.connector.scopes.as_deref())
    }

    /// What holds for whatever is not listed.
    fn unlisted(&self, primitive: Primitive, scopes: Option<Scopes>) -> Option<Tool> {
        Some(Tool {
            connector: self.name.clone(),
            primitive,
            name: ToolName::new(ANY_TOOL),
            description: None,
            annotations: Annotations::default(),
            arguments: Arc::default(),
            record_arguments: Arc::default(),
            identity: self.identity,
            target: self.target(self.identity, scopes?, &self.at.key("scopes"))?,
            issuers: self.issuers.clone()?,
            required_scopes: self.required_scopes(None)?,
            required_sign_in: self.required_sign_in(None)?,
            confirm: confirm(self.connector.confirm),
            memo: Memo::default(),
        })
    }

    fn tool(
        &self,
        name: &str,
        tool: &file::Tool,
        at: &At<'_>,
        inherited: Option<Scopes>,
    ) -> Option<Arc<Tool>> {
        let scopes_at = at.key("scopes");
        let scopes = match &tool.scopes {
            Some(own) => scopes(&scopes_at, Some(own)),
            None if scopes_at.is_written() => None,
            None => inherited,
        };
        let identity = match tool.identity {
            Some(own) => identity(Some(own)),
            None => self.identity,
        };
        let required_scopes = self.required_scopes(Some((tool, at)));
        let required_sign_in = self.required_sign_in(Some((tool, at)));
        let target = scopes.and_then(|scopes| self.target(identity, scopes, &scopes_at));
        let arguments = arguments::types(tool, &at.key("arguments"));
        let record_arguments = privacy::record_arguments(tool, &at.key("record_arguments"));
        Some(Arc::new(Tool {
            connector: self.name.clone(),
            primitive: Primitive::Tool,
            name: ToolName::new(name),
            description: tool.description.as_deref().map(Into::into),
            annotations: annotations(tool),
            arguments: Arc::new(arguments?),
            record_arguments: record_arguments?,
            identity,
            target: target?,
            issuers: self.issuers.clone()?,
            required_scopes: required_scopes?,
            required_sign_in: required_sign_in?,
            confirm: confirm(tool.confirm.or(self.connector.confirm)),
            memo: Memo::default(),
        }))
    }

    fn required_scopes(&self, tool: Option<(&file::Tool, &At<'_>)>) -> Option<Scopes> {
        let (scopes, at) = match tool {
            Some((tool, at)) if at.key("required_scopes").is_written() => (&tool.required_scopes, at),
            Some(_) | None => (&self.connector.required_scopes, self.at),
        };
        values::scopes(&at.key("required_scopes"), scopes.as_deref())
    }

    /// What is demanded of how the caller signed in: of each key the tool's own, or else the connector's.
    fn required_sign_in(&self, tool: Option<(&file::Tool, &At<'_>)>) -> Option<RequiredSignIn> {
        let own = |key| tool.filter(|(_, at)| at.key(key).is_written());
        let (acrs, acrs_at) = match own("required_acrs") {
            Some((tool, at)) => (&tool.required_acrs, at),
            None => (&self.connector.required_acrs, self.at),
        };
        let (acr, acr_at) = match own("required_acr") {
            Some((tool, at)) => (&tool.required_acr, at),
            None => (&self.connector.required_acr, self.at),
        };
        let (max_age, max_age_at) = match own("max_age") {
            Some((tool, at)) => (&tool.max_age, at),
            None => (&self.connector.max_age, self.at),
        };
        let acrs = words(&acrs_at.key("required_acrs"), acrs.as_deref());
        let acr = words(&acr_at.key("required_acr"), acr.as_deref());
        let max_age = values::age(&max_age_at.key("max_age"), max_age.as_deref());
        Some(RequiredSignIn { acrs: acrs?, acr: acr?, max_age: max_age? })
    }

    /// What the application's token has to be good for when an agent lists without a person: what the connector's own
    /// scopes say, or for Entra, where those are people's, all that the application was granted.
    fn target_alone(&self) -> Option<Target> {
        let is_entra = |naming: &application::Naming| *naming == application::Naming::DefaultScope;
        let scopes = match self.ways.application.as_ref()?.iter().all(is_entra) {
            true => Scopes::default(),
            false => self.scopes()?,
        };
        self.target(IdentityMode::AppOnly, scopes, &self.at.key("scopes"))
    }

    fn target(&self, mode: IdentityMode, scopes: Scopes, at: &At<'_>) -> Option<Target> {
        match mode {
            IdentityMode::OnBehalfOf => {
                self.names.target(self.ways.delegation.as_ref()?, scopes, at, self.at)
            }
            IdentityMode::AppOnly => {
                self.names.application_target(self.ways.application.as_ref()?, scopes, at, self.at)
            }
            IdentityMode::Connection => {
                let scopes =
                    connection::tool_scopes(self.connector.connection.as_ref(), &scopes, at, self.at)?;
                Some(Target { scopes, ..Target::default() })
            }
        }
    }
}

/// Reads who the connector sees. There is no fallback.
pub const fn identity(identity: Option<Identity>) -> IdentityMode {
    match identity {
        Some(Identity::OnBehalfOf) | None => IdentityMode::OnBehalfOf,
        Some(Identity::AppOnly) => IdentityMode::AppOnly,
        Some(Identity::Connection) => IdentityMode::Connection,
    }
}

fn annotations(tool: &file::Tool) -> Annotations {
    tool.annotations.map_or_else(Annotations::default, |given| {
        let file::Annotations { read_only, destructive, idempotent, open_world } = given;
        Annotations { read_only, destructive, idempotent, open_world }
    })
}

/// Values of `acr` and `acrs`: they are sent in one text, separated by spaces.
fn words(at: &At<'_>, words: Option<&[String]>) -> Option<Vec<Arc<str>>> {
    let words = words.unwrap_or_default();
    let mut sound = true;
    for (index, word) in words.iter().enumerate() {
        if word.is_empty()
            || !word.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
        {
            at.index(index).fault_found("must be one word without quotes, such as `c1`");
            sound = false;
        }
    }
    sound.then(|| words.iter().map(|word| Arc::from(word.as_str())).collect())
}

fn scopes(at: &At<'_>, scopes: Option<&[String]>) -> Option<Scopes> {
    if !values::not_empty(at, scopes, "name the scopes to ask for, or leave the key out") {
        return None;
    }
    values::scopes(at, scopes)
}
