//! `policy`: who may call what.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Confirm;

/// Who may call what.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What is allowed: a call that one of these rules covers, unless something denies it.
    pub allow: Option<Vec<Rule>>,
    /// What is denied, whatever allows it: a call that one of these rules covers.
    pub deny: Option<Vec<Rule>>,
    /// What the person has to see and agree to before it runs, though it is allowed: each call that one of these rules covers.
    pub confirm: Option<Vec<Rule>>,
    /// Policies in the Cedar language, beside the rules: one that forbids weighs more than anything that allows.
    pub cedar: Option<Cedar>,
}

/// Policies in the Cedar language. `obo-gateway policy schema` says what they can speak of.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cedar {
    /// The files that they are in.
    #[schemars(required, length(min = 1))]
    #[cfg_attr(
        not(feature = "cedar"),
        expect(dead_code, reason = "without Cedar the key itself is refused")
    )]
    pub files: Option<Vec<String>>,
}

/// Some people, through some agents, and some of what connectors have: a call is covered when all three fit. A rule names
/// tools, prompts or resources, or several of them.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [{ "required": ["tools"] }, { "required": ["prompts"] }, { "required": ["resources"] }]))]
pub struct Rule {
    /// What the rule is called in records. Default: its place, such as `allow[0]`.
    #[schemars(length(min = 1, max = 128))]
    pub name: Option<String>,
    /// Which people. Without the key: any person who authenticated.
    pub subjects: Option<Subjects>,
    /// Which agents. Without the key: any that the issuer lets in.
    #[schemars(length(min = 1))]
    pub agents: Option<Vec<String>>,
    /// Which tools: `connector/tool`, where `*` stands for any characters within its part.
    #[schemars(length(min = 1))]
    pub tools: Option<Vec<String>>,
    /// Which prompts of MCP servers: `connector/prompt`, where `*` stands for any characters within its part.
    #[schemars(length(min = 1))]
    pub prompts: Option<Vec<String>>,
    /// Which resources of MCP servers: `connector/uri`, such as `notes/file:///shared/*`, where `*` stands for any
    /// characters within its part; in the URI for slashes, too.
    #[schemars(length(min = 1))]
    pub resources: Option<Vec<String>>,
    /// In `policy.confirm`: where the person agrees. `true`: on the gateway's page, or in a form of the agent's client; `page`: on
    /// the page alone. Default: `true`.
    pub confirm: Option<Confirm>,
}

/// People: to be in one of the lists is enough.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subjects {
    /// Subject identifiers: Entra's `oid`, elsewhere `sub`.
    #[schemars(length(min = 1))]
    pub ids: Option<Vec<String>>,
    /// Groups, as the token names them (`groups`).
    #[schemars(length(min = 1))]
    pub groups: Option<Vec<String>>,
    /// Roles, as the token names them (`roles`).
    #[schemars(length(min = 1))]
    pub roles: Option<Vec<String>>,
}
