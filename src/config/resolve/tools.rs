//! `tools`: the operations of a connector, and whose identity each runs with.

use std::collections::HashMap;
use std::sync::Arc;

use super::target::{Delegation, TargetNames};
use super::values;
use crate::config::at::At;
use crate::config::file::{self, Identity, Named};
use crate::gateway::Tools;
use crate::gateway::rest::{Operations, ToolMatch, ToolMatchError};
use crate::identity::{IssuerName, Scopes};
use crate::tool::{
    ANY_TOOL, Annotations, ConnectorName, IdentityMode, Primitive, RequiredSignIn, Target, Tool, ToolName,
};

/// A connector, as far as its tools need it.
pub struct Host<'a> {
    pub name: ConnectorName,
    /// `None` when they have faults of their own. So in the next three.
    pub issuers: Option<Arc<[IssuerName]>>,
    pub identity: Option<IdentityMode>,
    pub delegation: Option<Delegation>,
    pub names: TargetNames,
    pub connector: &'a file::Connector,
    pub at: &'a At<'a>,
}

/// Checks the tools of a connector.
pub fn tools(host: &Host<'_>) -> Option<Tools> {
    let at = host.at.key("tools");
    let scopes_at = host.at.key("scopes");
    let scopes = scopes(&scopes_at, host.connector.scopes.as_deref());
    match &host.connector.tools {
        Some(tools) => listed(host, tools, &at, scopes),
        None if at.is_written() => None,
        None => {
            let tool = Tool {
                connector: host.name.clone(),
                primitive: Primitive::Tool,
                name: ToolName::new(ANY_TOOL),
                annotations: Annotations::default(),
                arguments: Arc::default(),
                identity: host.identity?,
                target: host.target(scopes?, &scopes_at)?,
                issuers: host.issuers.clone()?,
                required_scopes: host.required_scopes(None)?,
                required_sign_in: host.required_sign_in(None)?,
            };
            Some(Tools::Any(Arc::new(tool)))
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
        values::check_name(&at, name);
        if name == ANY_TOOL {
            at.fault("is what the one tool of a connector without `tools` is called: choose another name");
        }
        let operation = operation(tool, &at.key("match"));
        if let Some(operation) = &operation {
            if let Err(overlap) = operations.add(operation, ()) {
                let other = names.get(&overlap.other).map(|name| format!(" of `{name}`")).unwrap_or_default();
                at.key("match").fault_found(format_args!("{overlap}{other}"));
            }
            names.entry(operation.to_string()).or_insert(name);
        }
        checked.push(operation.zip(host.tool(name, tool, &at, scopes.clone())));
    }
    let checked: Option<Vec<_>> = checked.into_iter().collect();
    checked.map(Tools::Listed)
}

fn operation(tool: &file::Tool, at: &At<'_>) -> Option<ToolMatch> {
    let text =
        at.required(tool.matches.as_deref(), "give the method and the path, like `GET /me/messages/{id}`")?;
    // Some of these errors quote what they are about, which may have come from the environment.
    let quiet = |error| if at.has_variables() { ToolMatchError::Form } else { error };
    at.checked(text.parse().map_err(quiet))
}

impl Host<'_> {
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
            Some(own) => identity(&at.key("identity"), Some(own)),
            None => self.identity,
        };
        let required_scopes = self.required_scopes(Some((tool, at)));
        let required_sign_in = self.required_sign_in(Some((tool, at)));
        // Only an exchange asks for a target; what is not served needs no second fault.
        let target = identity.and(scopes).and_then(|scopes| self.target(scopes, &scopes_at));
        let served = is_served(tool, at);
        served.then_some(())?;
        Some(Arc::new(Tool {
            connector: self.name.clone(),
            primitive: Primitive::Tool,
            name: ToolName::new(name),
            annotations: Annotations::default(),
            arguments: Arc::default(),
            identity: identity?,
            target: target?,
            issuers: self.issuers.clone()?,
            required_scopes: required_scopes?,
            required_sign_in: required_sign_in?,
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

    fn target(&self, scopes: Scopes, at: &At<'_>) -> Option<Target> {
        self.names.target(self.delegation.as_ref()?, scopes, at, self.at)
    }
}

/// Reads who the connector sees. There is no fallback, so a mode that cannot be served is a fault.
pub fn identity(at: &At<'_>, identity: Option<Identity>) -> Option<IdentityMode> {
    let mode = match identity {
        Some(Identity::OnBehalfOf) | None => return Some(IdentityMode::OnBehalfOf),
        Some(Identity::Connection) => IdentityMode::Connection,
        Some(Identity::AppOnly) => IdentityMode::AppOnly,
    };
    at.fault(format_args!("`{mode}` is not served by this version, only `on_behalf_of` is"));
    None
}

/// What a tool asks for and would not get must be refused: ignored, it would be weaker than it says.
fn is_served(tool: &file::Tool, at: &At<'_>) -> bool {
    let confirm = tool.confirm == Some(true);
    if confirm {
        at.key("confirm")
            .fault("is not served by this version: leave the tool out, or write `confirm: false`");
    }
    !confirm
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
