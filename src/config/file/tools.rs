//! `tools` of a connector: the operations that agents can call.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::{DURATION, Identity, Limits, Named};

/// One operation that agents can call.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// REST: the method and the path after the connector's, such as `GET /me/messages/{id}`. A `{name}`
    /// stands for one segment. An MCP tool has none: its name is the server's.
    #[serde(rename = "match")]
    #[schemars(regex(pattern = r"^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)\s+/\S*$"))]
    pub matches: Option<String>,
    /// Scopes that its token is asked for, in place of the connector's.
    #[schemars(length(min = 1))]
    pub scopes: Option<Vec<String>>,
    /// Who the connector sees, in place of the connector's setting.
    pub identity: Option<Identity>,
    /// Whether the person has to see each call and agree to it before it runs, in place of the connector's setting. `true`: on the
    /// gateway's page, or in a form of the agent's client where that can show one. `page`: on the gateway's page alone.
    pub confirm: Option<Confirm>,
    /// Scopes that the caller's own token must hold, in place of the connector's setting.
    pub required_scopes: Option<Vec<String>>,
    /// Entra: authentication contexts that the caller must have passed (`acrs`), such as `c1`, in place of the connector's setting.
    pub required_acrs: Option<Vec<String>>,
    /// Authentication context classes (`acr`), one of which the caller's sign-in must have, in place of the connector's setting.
    pub required_acr: Option<Vec<String>>,
    /// How long ago the caller may have signed in (`auth_time`), such as `15m` or `12h`, in place of the connector's setting.
    #[schemars(regex(pattern = DURATION))]
    pub max_age: Option<String>,
    /// How many calls of it there may be in a time, beside what its connector and the gateway say.
    pub limits: Option<Limits>,
    /// What the tool does, in a sentence: for people, and for a list that is served from configuration.
    pub description: Option<String>,
    /// What the tool does, for policies. What an MCP server says of itself is not relied on.
    pub annotations: Option<Annotations>,
    /// The arguments that policies can look at, by name. MCP: members of the call's `arguments`. REST: each says where it
    /// stands, with `query`, `path` or `body`.
    pub arguments: Option<Named<Argument>>,
    /// Those of `arguments` that stand in records as they are, up to 512 bytes each. Of the others, and of all together, records
    /// have a digest alone.
    #[schemars(length(min = 1))]
    pub record_arguments: Option<Vec<String>>,
}

impl Tool {
    /// This tool, with what it does not say as `other` says it.
    pub fn over(&self, other: &Self) -> Self {
        let (this, other) = (self.clone(), other.clone());
        Self {
            matches: this.matches.or(other.matches),
            scopes: this.scopes.or(other.scopes),
            identity: this.identity.or(other.identity),
            confirm: this.confirm.or(other.confirm),
            required_scopes: this.required_scopes.or(other.required_scopes),
            required_acrs: this.required_acrs.or(other.required_acrs),
            required_acr: this.required_acr.or(other.required_acr),
            max_age: this.max_age.or(other.max_age),
            limits: this.limits.or(other.limits),
            description: this.description.or(other.description),
            annotations: match (this.annotations, other.annotations) {
                (Some(this), Some(other)) => Some(this.over(other)),
                (this, other) => this.or(other),
            },
            arguments: this.arguments.or(other.arguments),
            record_arguments: this.record_arguments.or(other.record_arguments),
        }
    }
}

/// Whether the person has to agree.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Confirm {
    #[serde(rename = "false")]
    No,
    #[serde(rename = "true")]
    Anywhere,
    #[serde(rename = "page")]
    OnPage,
}

impl JsonSchema for Confirm {
    fn schema_name() -> Cow<'static, str> {
        "Confirm".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["boolean", "string"], "enum": [true, false, "page"] })
    }
}

/// What a tool does.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
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

impl Annotations {
    /// These, with what they do not say as `other` says it.
    fn over(self, other: Self) -> Self {
        Self {
            read_only: self.read_only.or(other.read_only),
            destructive: self.destructive.or(other.destructive),
            idempotent: self.idempotent.or(other.idempotent),
            open_world: self.open_world.or(other.open_world),
        }
    }
}

/// An argument that policies can look at.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Argument {
    /// What kind of value it has. A call that gives another kind is refused.
    #[serde(rename = "type")]
    #[schemars(required)]
    pub kind: Option<ArgumentType>,
    /// REST: the parameter of the query that it is, such as `$filter`. Given twice it is refused, unless its type is `strings`.
    pub query: Option<String>,
    /// REST: the parameter of `match` that it is, without the braces.
    pub path: Option<String>,
    /// REST: where in a JSON body it stands, as a JSON pointer (RFC 6901) such as `/message/subject`. A `*` in it stands for every
    /// element of a list, and then the type is `strings`. The body is read whole, up to 1 MiB.
    pub body: Option<String>,
}

/// A kind of value: a text, a whole number, true or false, a list of texts.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArgumentType {
    String,
    Integer,
    Boolean,
    Strings,
}
