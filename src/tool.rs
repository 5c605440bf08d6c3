//! What a tool is, as its connector declares it: a name, whose identity it runs with, and what it may ask for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::identity::{Audience, IssuerName, Scopes, word};
use crate::memo::Memo;

word! {
    /// The configuration's name for a connector. Safe as a metric label.
    ConnectorName
}
word! {
    /// The name of a tool on its connector. Safe as a metric label where it is written in the configuration.
    ToolName
}
word! {
    /// The configuration's name for an authorization server that issues tokens for connectors. Safe as a metric label.
    ResourceAuthorizationServerName
}
word! {
    /// The target service's location, an absolute URI (RFC 8707 section 2).
    Resource
}

/// What everything is called on a connector that lists no tools: in the configuration, and in metrics.
pub const ANY_TOOL: &str = "any";

/// Who the connector sees. Declared for each tool; nothing ever falls back from one to another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IdentityMode {
    /// The signed-in user, by an exchange of the subject token.
    OnBehalfOf,
    /// The signed-in user, by a grant the user made once at a service with its own accounts.
    Connection,
    /// The gateway's application identity.
    AppOnly,
}

impl IdentityMode {
    /// Whether the connector takes tokens of the person's own issuer: what it demands of a token may then be theirs to fulfil by
    /// signing in there anew.
    pub const fn is_by_the_persons_issuer(self) -> bool {
        match self {
            Self::OnBehalfOf => true,
            Self::Connection | Self::AppOnly => false,
        }
    }

    /// As it stands in the configuration, in records, metrics and the `Obo-Identity-Mode` header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnBehalfOf => "on_behalf_of",
            Self::Connection => "connection",
            Self::AppOnly => "app_only",
        }
    }
}

impl fmt::Display for IdentityMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the person has to agree to each call of a tool before it runs, and where. The later, the stricter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Confirm {
    /// Nobody is asked.
    #[default]
    No,
    /// Yes: on the gateway's page, or in a form that the agent's client shows.
    Anywhere,
    /// Yes, on the gateway's page alone: the agent's client is not trusted to ask.
    OnPage,
}

/// What a credential for the tool has to be good for.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Target {
    /// The logical name of the target service (RFC 8693 section 2.1).
    pub audience: Option<Audience>,
    /// The location of the target service (RFC 8707 section 2).
    pub resource: Option<Resource>,
    /// Who issues the token, where that is not the issuer of the subject token: the second leg of an ID-JAG.
    pub authorization_server: Option<ResourceAuthorizationServerName>,
    /// The scopes to ask for: this tool's, and no more.
    pub scopes: Scopes,
}

/// What a name on a connector stands for. A REST API has tools alone; an MCP server has prompts and resources as well,
/// which are decided about in the same way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Primitive {
    /// An operation: `tools/call`, or a method and a path.
    Tool,
    /// A prompt: `prompts/get`.
    Prompt,
    /// A resource, named by its URI: `resources/read`.
    Resource,
    /// A method of the protocol that is about none of these, such as `initialize` or `tools/list`. It is for whoever may
    /// use something on the connector.
    Method,
}

impl Primitive {
    /// As it stands in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
            Self::Method => "method",
        }
    }
}

/// What a tool does, as its declaration says. `None`: it says nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Annotations {
    /// It changes nothing.
    pub read_only: Option<bool>,
    /// What it changes may be lost.
    pub destructive: Option<bool>,
    /// Calling it twice is as calling it once.
    pub idempotent: Option<bool>,
    /// It reaches beyond its connector.
    pub open_world: Option<bool>,
}

/// What kind of value an argument has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArgumentType {
    /// A text.
    String,
    /// A whole number of 64 bits.
    Integer,
    /// True or false.
    Boolean,
    /// Texts, in any order.
    Strings,
}

impl ArgumentType {
    /// As it stands in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Strings => "strings",
        }
    }
}

/// The value of an argument.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Argument {
    /// A text.
    String(String),
    /// A whole number.
    Integer(i64),
    /// True or false.
    Boolean(bool),
    /// Texts.
    Strings(Vec<String>),
}

/// The arguments of a call that policy may look at: those that its tool declares, as far as the call has them.
pub type Arguments = BTreeMap<Arc<str>, Argument>;

/// One named operation on a connector, with everything declared for it.
#[derive(Clone, Debug)]
pub struct Tool {
    /// The connector it is on.
    pub connector: ConnectorName,
    /// What it is.
    pub primitive: Primitive,
    /// Its name there.
    pub name: ToolName,
    /// What it does, in a sentence.
    pub description: Option<Arc<str>>,
    /// What it does.
    pub annotations: Annotations,
    /// The arguments that policy may look at.
    pub arguments: Arc<BTreeMap<Arc<str>, ArgumentType>>,
    /// Those of them that stand in records as they are. Of the rest, records have a digest alone.
    pub record_arguments: Arc<[Arc<str>]>,
    /// Who the connector sees.
    pub identity: IdentityMode,
    /// What its credential has to be good for.
    pub target: Target,
    /// The issuers whose people may call it.
    pub issuers: Arc<[IssuerName]>,
    /// Scopes that the subject token itself must hold.
    pub required_scopes: Scopes,
    /// How the person must have signed in.
    pub required_sign_in: RequiredSignIn,
    /// Whether the person has to agree to each call.
    pub confirm: Confirm,
    /// What records say of it.
    pub memo: Memo,
}

/// What is demanded of how the person signed in. By default, nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RequiredSignIn {
    /// Entra's authentication contexts, each of which must have been passed (`acrs`).
    pub acrs: Vec<Arc<str>>,
    /// Authentication context classes, one of which must be the token's (`acr`). Empty: any.
    pub acr: Vec<Arc<str>>,
    /// How long ago the person may have signed in (`auth_time`).
    pub max_age: Option<Duration>,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.connector, self.name)
    }
}

#[cfg(any(fuzzing, test))]
impl Tool {
    /// What a test needs of a tool without anything special: on behalf of the people of `contoso`.
    pub fn of(connector: &str, name: &str) -> Self {
        Self {
            connector: ConnectorName::new(connector),
            primitive: Primitive::Tool,
            name: ToolName::new(name),
            description: None,
            annotations: Annotations::default(),
            arguments: Arc::default(),
            record_arguments: Arc::default(),
            identity: IdentityMode::OnBehalfOf,
            target: Target::default(),
            issuers: [IssuerName::new("contoso")].into(),
            required_scopes: Scopes::default(),
            required_sign_in: RequiredSignIn::default(),
            confirm: Confirm::No,
            memo: Memo::default(),
        }
    }
}
