//! What Cedar policies can speak of: the people, agents and tools that a configuration knows, as entities, and the
//! schema that policies are validated against.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use crate::identity::{IssuerName, Tenant};
use crate::policy::rules::Kind;
use crate::tool::{ArgumentType, ConnectorName, Tool};

/// Who and what a configuration knows.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    /// The issuers, each with the tenants whose people it vouches for, where it names any.
    pub issuers: Vec<(IssuerName, Vec<Arc<str>>)>,
    /// The connectors.
    pub connectors: Vec<KnownConnector>,
}

/// A connector, as far as policies can name what it has.
#[derive(Clone, Debug)]
pub struct KnownConnector {
    /// Its name.
    pub name: ConnectorName,
    /// Whether it has prompts and resources as well: whether it is an MCP server.
    pub has_prompts: bool,
    /// The tools that the configuration lists.
    pub tools: Vec<Arc<Tool>>,
    /// Whether there may be others.
    pub has_others: bool,
}

/// Where the identifiers of people, groups and roles mean something: at an issuer or, where that vouches for the people of
/// several tenants, in one of them.
#[derive(Clone, Debug, Default)]
pub struct Realms {
    divided: HashSet<IssuerName>,
}

impl Realms {
    /// Those of the issuers.
    pub fn of(issuers: &[(IssuerName, Vec<Arc<str>>)]) -> Self {
        let divided = issuers.iter().filter(|(_, tenants)| tenants.len() > 1);
        Self { divided: divided.map(|(name, _)| name.clone()).collect() }
    }

    /// `issuer`, or `issuer/tenant`.
    pub fn name(&self, issuer: &IssuerName, tenant: &Tenant) -> String {
        match tenant.id() {
            Some(tenant) if self.divided.contains(issuer) => format!("{issuer}/{tenant}"),
            Some(_) | None => issuer.to_string(),
        }
    }
}

/// The type of entity that a kind of thing is, the action on it, and what it takes of its name.
pub const fn entity_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Tool => "Tool",
        Kind::Prompt => "Prompt",
        Kind::Resource => "Resource",
    }
}

/// The action on a kind of thing.
pub const fn action(kind: Kind) -> &'static str {
    match kind {
        Kind::Tool => "call",
        Kind::Prompt => "get",
        Kind::Resource => "read",
    }
}

/// The group of all actions.
pub const ACTIONS: &str = "use";

/// What an argument is called in `context.arguments`: by its name, or `name:type` where tools give arguments of that name
/// different types. A name has no `:`.
#[derive(Clone, Debug, Default)]
pub struct ArgumentNames {
    ambiguous: HashMap<(Arc<str>, &'static str), Arc<str>>,
}

impl ArgumentNames {
    fn of(types: &BTreeMap<Arc<str>, BTreeSet<&'static str>>) -> Self {
        let ambiguous = types.iter().filter(|(_, types)| types.len() > 1);
        let names =
            ambiguous.flat_map(|(name, types)| types.iter().map(move |&kind| (Arc::clone(name), kind)));
        Self {
            ambiguous: names
                .map(|(name, kind)| ((Arc::clone(&name), kind), format!("{name}:{kind}").into()))
                .collect(),
        }
    }

    /// The name of an argument of this type.
    pub fn get(&self, name: &Arc<str>, kind: ArgumentType) -> Arc<str> {
        if self.ambiguous.is_empty() {
            return Arc::clone(name);
        }
        Arc::clone(self.ambiguous.get(&(Arc::clone(name), kind.as_str())).unwrap_or(name))
    }
}

impl Vocabulary {
    /// What the arguments of tools are called.
    pub fn argument_names(&self) -> ArgumentNames {
        ArgumentNames::of(&self.argument_types())
    }

    fn argument_types(&self) -> BTreeMap<Arc<str>, BTreeSet<&'static str>> {
        let mut types: BTreeMap<Arc<str>, BTreeSet<&'static str>> = BTreeMap::new();
        for (name, kind) in self.arguments() {
            types.entry(Arc::clone(name)).or_default().insert(kind.as_str());
        }
        types
    }

    fn arguments(&self) -> impl Iterator<Item = (&Arc<str>, ArgumentType)> {
        let tools = self.connectors.iter().flat_map(|connector| &connector.tools);
        tools.flat_map(|tool| tool.arguments.iter()).map(|(name, &kind)| (name, kind))
    }

    /// The Cedar schema of what policies can speak of.
    pub fn schema(&self) -> String {
        let mut schema = HEAD.to_owned();
        for kind in Kind::ALL {
            let (action, resource) = (action(kind), entity_type(kind));
            let arguments = if kind == Kind::Tool { self.argument_attributes() } else { String::new() };
            // Writing to a String cannot fail.
            let _ = write!(
                schema,
                "action \"{action}\" in [\"{ACTIONS}\"] appliesTo {{\n  principal: [Person],\n  resource: [{resource}],\n  \
                 context: {{\n    arguments: {{{arguments}}},\n{CONTEXT}  }},\n}};\n"
            );
        }
        schema
    }

    fn argument_attributes(&self) -> String {
        let names = self.argument_names();
        let attributes: BTreeMap<Arc<str>, &str> =
            self.arguments().map(|(name, kind)| (names.get(name, kind), cedar_type(kind))).collect();
        let lines = attributes.iter().map(|(name, kind)| format!("\n      \"{name}\"?: {kind},"));
        let lines: String = lines.collect();
        if lines.is_empty() { lines } else { format!("{lines}\n    ") }
    }
}

fn cedar_type(kind: ArgumentType) -> &'static str {
    match kind {
        ArgumentType::String => "String",
        ArgumentType::Integer => "Long",
        ArgumentType::Boolean => "Bool",
        ArgumentType::Strings => "Set<String>",
    }
}

/// The entities are the same for every configuration: what there is of them, the identifiers tell.
const HEAD: &str = r#"// What the policies of this gateway can speak of: Cedar schema, generated from its configuration.

// Groups and roles as tokens name them: Group::"issuer/name", with the issuer's name in the configuration. An issuer
// that vouches for several tenants has "issuer/tenant/name" here and for people.
entity Group;
entity Role;
// A person: Person::"issuer/subject".
entity Person in [Group, Role] = {
  issuer: String,
  tenant?: String,
  subject: String,
};
// An agent, as its issuer knows it: Agent::"issuer/client-id".
entity Agent;
// A system that agents call: Connector::"mail".
entity Connector;
// What it has: Tool::"mail/send_message", Prompt::"notes/summary", Resource::"notes/file:///a.txt". What a tool does is as
// the configuration says; what it says nothing of is not there.
entity Tool in [Connector] = {
  name: String,
  identity: String,
  read_only?: Bool,
  destructive?: Bool,
  idempotent?: Bool,
  open_world?: Bool,
};
entity Prompt in [Connector] = {
  name: String,
  identity: String,
};
entity Resource in [Connector] = {
  uri: String,
  identity: String,
};

// Calling tools, getting prompts, reading resources; "use" is all of these.
action "use";
"#;

/// What every action's context has beside the arguments.
const CONTEXT: &str = "    // The agent, where the token names one.
    agent?: Agent,
    // The scopes of the person's token, and how and when the person signed in.
    scopes: Set<String>,
    acr?: String,
    acrs: Set<String>,
    amr: Set<String>,
    auth_time?: datetime,
    // Now; the hour from 0 to 23 and the day from 1, Monday, to 7, in UTC.
    time: datetime,
    hour: Long,
    weekday: Long,
    // Where the call comes from.
    client: ipaddr,
";
