//! `connectors`: the systems that agents call.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Confirm, Connection, ConnectorLimits, DURATION, Named, Tool};

/// A system that agents call.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Connector {
    /// `rest`: an HTTP API. `mcp`: an MCP server (Streamable HTTP).
    #[schemars(required)]
    pub kind: Option<ConnectorKind>,
    /// The path under which agents call it, such as `/mail`.
    #[schemars(required)]
    pub path: Option<String>,
    /// Where calls go. REST: what follows `path` in a call is appended to this address. MCP: the server's endpoint.
    #[schemars(required)]
    pub upstream: Option<String>,
    /// The issuer whose users may call it. Can be left out when the file has one issuer.
    pub issuer: Option<String>,
    /// Several issuers, in place of `issuer`.
    #[schemars(length(min = 1))]
    pub issuers: Option<Vec<String>>,
    /// Who the connector sees. `on_behalf_of`: the signed-in user. `app_only`: the gateway's application, for shared work;
    /// the user still has to sign in, and policy decides. `connection`: the signed-in user, at a service with accounts of its
    /// own, where they sign in once (`connection`). A tool can say otherwise; nothing falls back from one to another.
    /// Default: `on_behalf_of`.
    pub identity: Option<Identity>,
    /// What the authorization server calls this connector: for Entra the application ID URI, such as
    /// `api://notes`; for RFC 8693 the `audience`. With `grant: id_jag` it is not sent; a token that plainly names
    /// another one is not used. A service where people sign in (`connection`) is named by `resource` instead.
    pub audience: Option<String>,
    /// The connector's address as a resource indicator (RFC 8707), for exchanges with `target: resource`. With
    /// `grant: id_jag`, and to the service of a `connection`, it is sent where it is given.
    pub resource: Option<String>,
    /// With `grant: id_jag`: which of the issuer's `resource_authorization_servers` issues the tokens for this connector.
    pub authorization_server: Option<String>,
    /// With `identity: connection`: the service where people sign in for themselves.
    pub connection: Option<Connection>,
    /// Scopes that tokens for this connector are asked for, where a tool names none of its own.
    #[schemars(length(min = 1))]
    pub scopes: Option<Vec<String>>,
    /// Scopes that the caller's own token must hold; a tool can say otherwise.
    pub required_scopes: Option<Vec<String>>,
    /// Entra: authentication contexts that the caller must have passed (`acrs`), such as `c1`; a tool can say otherwise.
    pub required_acrs: Option<Vec<String>>,
    /// Authentication context classes (`acr`), one of which the caller's sign-in must have; a tool can say otherwise.
    pub required_acr: Option<Vec<String>>,
    /// How long ago the caller may have signed in (`auth_time`), such as `15m` or `12h`; a tool can say otherwise.
    #[schemars(regex(pattern = DURATION))]
    pub max_age: Option<String>,
    /// Whether the person has to see each call of a tool and agree to it before it runs; a tool can say otherwise. `true`: on the
    /// gateway's page, or in a form of the agent's client where that can show one. `page`: on the gateway's page alone.
    /// Default: false.
    pub confirm: Option<Confirm>,
    /// What agents can call, by name. Without the key, all of a REST connector is one tool that is called `any`, and
    /// an MCP connector serves what policy allows by name.
    #[schemars(extend("minProperties" = 1))]
    pub tools: Option<Named<Tool>>,
    /// REST: tools that are taken from an OpenAPI 3 document. Those under `tools` come beside them, or in their place, key
    /// by key.
    pub openapi: Option<OpenApi>,
    /// PEM file with certificate authorities that are trusted for this connector beside those of the system.
    pub ca_file: Option<String>,
    /// Talk to this connector without TLS beyond loopback. Not for production.
    pub allow_plain_http: Option<bool>,
    /// Request headers that are let through to the connector beside the standard ones.
    pub pass_headers: Option<Vec<String>>,
    /// The pages in browsers that may call it, in place of the gateway's `allowed_origins`.
    pub allowed_origins: Option<Vec<String>>,
    /// How long to wait for the connector.
    pub timeouts: Option<ConnectorTimeouts>,
    /// Whether a call is sent again, within bounds, that the connector throttles (429), cannot serve for a moment (503) or breaks
    /// off, where that cannot do a thing twice: GET, HEAD, PUT, DELETE and OPTIONS, lists and reads of MCP, and tools whose
    /// `annotations` say `read_only` or `idempotent`. Default: true.
    pub retries: Option<bool>,
    /// How many calls of it there may be, in a time and at a time.
    pub limits: Option<ConnectorLimits>,
    /// MCP: what an agent gets that asks for a list without a person, with a token of its own. `refuse`: nothing.
    /// `app_only`: the server's list, got with the application's identity. `configured`: the tools that are written
    /// here. Default: `refuse`.
    pub list_without_person: Option<ListWithoutPerson>,
}

/// What an agent gets that asks for a list without a person.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListWithoutPerson {
    Refuse,
    AppOnly,
    Configured,
}

/// An OpenAPI 3 document, and which of its operations are tools.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenApi {
    /// The document, in JSON or YAML.
    #[schemars(required)]
    pub file: Option<String>,
    /// Which operations: an `operationId`, `tag:` and a tag, or a method and a path; `*` stands for any characters. Without
    /// the key: all.
    #[schemars(length(min = 1))]
    pub include: Option<Vec<String>>,
    /// Which of them not.
    #[schemars(length(min = 1))]
    pub exclude: Option<Vec<String>>,
}

/// How a connector is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectorKind {
    Rest,
    Mcp,
}

/// Who a connector sees.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    OnBehalfOf,
    Connection,
    AppOnly,
}

/// How long to wait for a connector.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectorTimeouts {
    /// To be connected, TLS included. Default: `5s`.
    #[schemars(regex(pattern = DURATION))]
    pub connect: Option<String>,
    /// From the end of the request to the first of the answer. Default: `60s`.
    #[schemars(regex(pattern = DURATION))]
    pub response: Option<String>,
    /// Between two pieces of a body, in either direction. Default: `5m`.
    #[schemars(regex(pattern = DURATION))]
    pub idle: Option<String>,
}
