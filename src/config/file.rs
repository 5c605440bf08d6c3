//! The configuration as an operator writes it. The comments here are read by users: they become the
//! descriptions of the JSON Schema.
//!
//! Every key is an `Option`, also a required one: what is missing is noted while the rest is checked, so that
//! all faults are reported at once. `#[schemars(required)]` tells the schema.

mod audit;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

pub use audit::{Audit, AuditKey, Checkpoints, Durability, Keep, Rotate};

/// Configuration of obo-gateway.
///
/// Values can name environment variables as `${NAME}` or `${NAME:-default}`; `$${` stands for the characters
/// `${`. Durations are written `300ms`, `5s`, `2m` or `1h`. Relative file names start at the working
/// directory of the process.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The address that agents call: an IP address and a port, such as `0.0.0.0:8443`.
    #[schemars(required)]
    pub listen: Option<String>,
    /// The certificate and key that agents are shown. Required, unless `plain_http` is true or `listen` is a
    /// loopback address.
    pub tls: Option<Tls>,
    /// Serve agents without TLS, because something in front of the gateway ends it. Tokens then cross that
    /// network in the clear.
    pub plain_http: Option<bool>,
    /// The address by which agents reach the gateway, such as `https://gateway.example`. With it, each connector has
    /// metadata by which a client that knows only its address finds out where people sign in (RFC 9728), and tokens that
    /// are bound to a key are taken with a DPoP proof (RFC 9449), which has to be for this address and the path of the call.
    pub public_url: Option<String>,
    /// With `public_url`: demand a nonce of the gateway's in every DPoP proof, so that none can be made ahead of time.
    /// Each gateway knows its own nonces alone, so an agent's calls have to come to the same one. Default: false.
    pub require_dpop_nonce: Option<bool>,
    /// The pages in browsers that may call, by their origin, such as `https://app.example`; a connector can say otherwise.
    /// Calls from pages of any other origin are refused. Default: none may. What is no page sends no origin, and may call.
    pub allowed_origins: Option<Vec<String>>,
    /// The address of the admin endpoints (health, metrics, `forget`). Default: `127.0.0.1:9464`.
    pub admin: Option<String>,
    /// File with the bearer token by which someone on another machine may have a person forgotten at the admin
    /// endpoints. Without it, only this machine may.
    pub admin_token_file: Option<String>,
    /// How long the gateway waits for things of its own.
    pub timeouts: Option<Timeouts>,
    /// The authorization servers whose users may call, by a name of your choice.
    #[schemars(required)]
    pub issuers: Option<Named<Issuer>>,
    /// The systems that agents call, by a name of your choice.
    #[schemars(required)]
    pub connectors: Option<Named<Connector>>,
    /// Who may call what. What no rule allows is denied.
    pub policy: Option<Policy>,
    /// Where the record of every call goes.
    #[schemars(required)]
    pub audit: Option<Audit>,
}

/// A certificate and its key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate, followed by the intermediate ones.
    #[schemars(required)]
    pub certificate: Option<String>,
    /// PEM file with the private key of the certificate.
    #[schemars(required)]
    pub key: Option<String>,
    /// Whether agents are asked for a certificate of theirs, which tokens can be bound to (RFC 8705). `none`: no.
    /// `optional`: yes, and who has none is served as well. `required`: who has none is not served. Default: `none`.
    pub client_certificates: Option<ClientCertificates>,
    /// With `client_certificates`: PEM file with the certificate authorities that agents' certificates must be from. Without
    /// it any certificate will do, also a self-signed one: what counts is whether the token is bound to it.
    pub client_ca_file: Option<String>,
}

/// Whether agents are asked for certificates.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificates {
    None,
    Optional,
    Required,
}

/// How long the gateway waits for things of its own.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// How long running calls may take to finish when the gateway stops. Default: `30s`.
    #[schemars(regex(pattern = DURATION))]
    pub drain: Option<String>,
}

/// An authorization server whose users may call.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// `entra`: Microsoft Entra ID, where the endpoints follow from the tenant. `oidc`: any other server.
    #[schemars(required)]
    pub kind: Option<IssuerKind>,
    /// Entra: the tenant whose users may call, as a GUID.
    pub tenant: Option<String>,
    /// Entra: several tenants, in place of `tenant`.
    #[schemars(length(min = 1))]
    pub tenants: Option<Vec<String>>,
    /// The exact `iss` of its tokens, compared byte for byte. Required for `oidc`. For `entra` it replaces
    /// the address that follows from the tenant (`https://login.microsoftonline.com/{tenant}/v2.0`), for
    /// example in a national cloud; `{tenantid}` in it stands for each tenant.
    pub issuer: Option<String>,
    /// Entra: the cloud that the tenant is in. Default: `global`.
    pub cloud: Option<Cloud>,
    /// OIDC: how much its access tokens are like RFC 9068. `lenient`: whatever is plainly a signed access token.
    /// `rfc9068`: `typ` is `at+jwt`, and `sub`, `client_id`, `jti` and `iat` are there. Default: `lenient`.
    pub profile: Option<Profile>,
    /// OIDC: which claims say what, where this server has its own names.
    pub claims: Option<Claims>,
    /// OIDC: ask this server what opaque tokens mean (RFC 7662), as the client of `exchange`. One issuer of the
    /// file can. Its word holds for 30 seconds. Default: false, and opaque tokens are refused.
    pub introspect: Option<bool>,
    /// Its introspection endpoint, in place of what discovery says.
    pub introspection_endpoint: Option<String>,
    /// Where its key set is, in place of what discovery says.
    pub jwks_uri: Option<String>,
    /// Its token endpoint, in place of what discovery says.
    pub token_endpoint: Option<String>,
    /// What `aud` of a token must name: the gateway, as this server knows it. One of them is enough.
    #[schemars(required, length(min = 1))]
    pub audiences: Option<Vec<String>>,
    /// The agents that may call: their `azp`, `appid` or `client_id`, in the person's token, or in their own with
    /// `actor_token: agent`. Without the key, any agent may.
    #[schemars(length(min = 1))]
    pub agents: Option<Vec<String>>,
    /// Scopes that every token must hold.
    pub required_scopes: Option<Vec<String>>,
    /// PEM file with certificate authorities that are trusted for this server beside those of the system.
    pub ca_file: Option<String>,
    /// Talk to this server without TLS beyond loopback. Not for production.
    pub allow_plain_http: Option<bool>,
    /// With `public_url`: publish this server's metadata anew, as issuer `<public_url>/issuers/<name>`, with what MCP
    /// clients look for and this server leaves out (`code_challenge_methods_supported: [S256]`). For servers that do
    /// PKCE with S256 and do not say so, such as Entra, or whose metadata is not where clients look. Default: false.
    pub publish_metadata: Option<bool>,
    /// How tokens for connectors are obtained here on behalf of the user. Without it, its users cannot call
    /// tools with `identity: on_behalf_of`.
    pub exchange: Option<Exchange>,
    /// How the gateway obtains tokens of its own here, for tools with `identity: app_only` (client credentials). Without
    /// it, by the client of `exchange`.
    pub application: Option<Application>,
}

/// How the gateway obtains tokens that speak for its application and for no user.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// The application's client identifier, where it is another one than that of `exchange`: the identity that
    /// connectors see.
    pub client_id: Option<String>,
    /// With `client_id`: how the gateway proves to be that client, as in `exchange`.
    pub client_auth: Option<ClientAuth>,
    /// OIDC: which parameter names the connector to the server, as in `exchange`. Default: that of `exchange`, or
    /// `audience`.
    pub target: Option<Target>,
    /// Further form fields, sent with every request as they are.
    pub extra: Option<BTreeMap<String, String>>,
}

/// A cloud of Microsoft's.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cloud {
    Global,
    UsGovernment,
    China,
}

/// How much access tokens are like RFC 9068.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    Lenient,
    Rfc9068,
}

/// Which claims say what: the name of a claim, or a JSON Pointer such as `/realm_access/roles` to what is within one.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The person: an identifier that never changes and is never given to anybody else. Default: `sub`.
    pub subject: Option<String>,
    /// The agent. Default: whichever of `azp`, `client_id`, `appid` and `cid` is there.
    pub agent: Option<String>,
    /// The scopes, as a list in one text or an array. Default: `scp` and `scope`.
    pub scopes: Option<String>,
    /// The person's groups. Default: `groups`.
    pub groups: Option<String>,
    /// The person's roles. Default: `roles`.
    pub roles: Option<String>,
}

/// What kind of authorization server it is.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IssuerKind {
    Entra,
    Oidc,
}

/// How tokens for connectors are obtained on behalf of the user.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// `on_behalf_of`: Entra. `token_exchange`: RFC 8693, as Keycloak, Okta, Auth0, ZITADEL and others have
    /// it. `jwt_bearer`: RFC 7523, the user's token as an assertion. `id_jag`: this server vouches for the user to the
    /// authorization server of the connector (`resource_authorization_servers`), which issues the token.
    #[schemars(required)]
    pub grant: Option<Grant>,
    /// The gateway's own client identifier at this server.
    #[schemars(required)]
    pub client_id: Option<String>,
    /// How the gateway proves to be that client. One of: `key` (with `certificate`, or with `key_id`),
    /// `secret_file`, `secret_env`, `token_file`, `tls_certificate` with `tls_key`. Secrets are never written in the configuration itself.
    #[schemars(required)]
    pub client_auth: Option<ClientAuth>,
    /// With `token_exchange` or `jwt_bearer`: which parameter names the connector to the server. `audience` sends the
    /// connector's `audience`, `resource` its `resource`, `scope` its scopes alone. Default: `audience`.
    pub target: Option<Target>,
    /// With `token_exchange` or `id_jag`: what the user's token is called (`subject_token_type`): `access_token`, `jwt`,
    /// `id_token`, or a URN. Default: `access_token`.
    pub subject_token_type: Option<String>,
    /// With `token_exchange`: what is asked for (`requested_token_type`): `access_token`, or `jwt` where the
    /// server gives an opaque token otherwise (ZITADEL). Default: `access_token`.
    pub requested_token_type: Option<RequestedTokenType>,
    /// With `token_exchange`: whose token is sent as the `actor_token`. `gateway`: one that the gateway obtains
    /// with its client credentials. `agent`: the agent's own, which it has to send in the header `Obo-Actor-Token`, issued
    /// by the same server for the gateway. Without the key none is sent, and the gateway's client is who acts.
    pub actor_token: Option<ActorToken>,
    /// With `actor_token: gateway`: the scopes that the gateway's own token is asked for.
    pub actor_scopes: Option<Vec<String>>,
    /// With `id_jag`: the authorization servers that issue tokens for connectors on the word of this one, by a name of
    /// your choice.
    pub resource_authorization_servers: Option<Named<ResourceAuthorizationServer>>,
    /// Further form fields, sent with every request as they are.
    pub extra: Option<BTreeMap<String, String>>,
    /// What becomes of a token that was granted more scopes than were asked for, as Keycloak adds its default ones.
    /// `allow`: it is used, and its record says what was granted. `refuse`: it is not, and the call is refused. Entra
    /// grants all that was consented to, whatever is asked for. Default: `allow`.
    pub more_scopes: Option<MoreScopes>,
    /// What a kept token may be used for again. `identity`: all calls of that person through that agent. `session`:
    /// those of the same sign-in session (`sid`); nothing is kept for tokens that do not name theirs. `token`: those
    /// with the very same subject token. Default: `identity`.
    pub reuse: Option<Reuse>,
    /// With `on_behalf_of`: what the gateway says it can do. `cp1`: a connector may demand claims of a token that was
    /// issued already (continuous access evaluation), and Entra's tokens then live longer.
    pub client_capabilities: Option<Vec<ClientCapability>>,
}

/// An authorization server that issues tokens for connectors on the word of the users' own (ID-JAG).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceAuthorizationServer {
    /// Its issuer identifier: what the assertions that it takes name as their audience.
    #[schemars(required)]
    pub issuer: Option<String>,
    /// Its token endpoint.
    #[schemars(required)]
    pub token_endpoint: Option<String>,
    /// The gateway's own client identifier at this server.
    #[schemars(required)]
    pub client_id: Option<String>,
    /// How the gateway proves to be that client.
    #[schemars(required)]
    pub client_auth: Option<ClientAuth>,
    /// PEM file with certificate authorities that are trusted for this server beside those of the system.
    pub ca_file: Option<String>,
    /// Talk to this server without TLS beyond loopback. Not for production.
    pub allow_plain_http: Option<bool>,
}

/// What a kept token may be used for again.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reuse {
    Identity,
    Session,
    Token,
}

/// What becomes of a token that was granted more scopes than were asked for.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MoreScopes {
    Allow,
    Refuse,
}

/// What the gateway says it can do.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientCapability {
    Cp1,
}

/// What an exchange asks for.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestedTokenType {
    AccessToken,
    Jwt,
}

/// Whose token is sent as the actor token.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorToken {
    Gateway,
    Agent,
}

/// The way the server is asked.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    OnBehalfOf,
    TokenExchange,
    JwtBearer,
    IdJag,
}

impl Grant {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnBehalfOf => "on_behalf_of",
            Self::TokenExchange => "token_exchange",
            Self::JwtBearer => "jwt_bearer",
            Self::IdJag => "id_jag",
        }
    }
}

/// Which parameter names the connector to the server.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Scope,
    Audience,
    Resource,
}

/// How the gateway proves which client it is.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientAuth {
    /// File that holds the client secret. One line break at its end is left out.
    pub secret_file: Option<String>,
    /// Name of the environment variable that holds the client secret.
    pub secret_env: Option<String>,
    /// How a secret is sent: in the form (`post`) or in the Authorization header (`basic`). Default: `post`.
    pub method: Option<SecretMethod>,
    /// PEM file with the certificate that the server knows the gateway by (`private_key_jwt`), followed by
    /// those above it where `name_key_by` has `x5c`.
    pub certificate: Option<String>,
    /// PEM file with the private key (`private_key_jwt`): RSA, or P-256 in PKCS #8 form.
    pub key: Option<String>,
    /// With `key`: the algorithm. Default: `ps256` for an RSA key, `es256` for a P-256 key.
    pub algorithm: Option<AssertionAlgorithm>,
    /// With `certificate`: how assertions name the key. Default: `[x5t_s256]`.
    #[schemars(length(min = 1))]
    pub name_key_by: Option<Vec<KeyName>>,
    /// With `key`: the name that the server gave to it (`kid`).
    pub key_id: Option<String>,
    /// With `key`: whom assertions are for. Default: the token endpoint. Some servers want their issuer.
    pub audience: Option<String>,
    /// File with a token of the platform (workload identity federation), such as a projected service account
    /// token of Kubernetes. It is read for each request, since the platform replaces it.
    pub token_file: Option<String>,
    /// PEM file with the certificate that is shown on the connection (`tls_client_auth`, RFC 8705).
    pub tls_certificate: Option<String>,
    /// PEM file with the key of that certificate.
    pub tls_key: Option<String>,
}

/// An algorithm for assertions.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AssertionAlgorithm {
    Ps256,
    Rs256,
    Es256,
}

/// How an assertion names its key by the certificate.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyName {
    /// The SHA-256 of the certificate (`x5t#S256`).
    X5tS256,
    /// Its SHA-1 (`x5t`).
    X5t,
    /// The certificate itself, and those above it (`x5c`).
    X5c,
}

/// How a client secret is sent.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretMethod {
    Post,
    Basic,
}

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
    /// the user still has to sign in, and policy decides. `connection` is not served by this version. A tool can say
    /// otherwise; nothing falls back from one to another. Default: `on_behalf_of`.
    pub identity: Option<Identity>,
    /// What the authorization server calls this connector: for Entra the application ID URI, such as
    /// `api://notes`; for RFC 8693 the `audience`. With `grant: id_jag` it is not sent; a token that plainly names
    /// another one is not used.
    pub audience: Option<String>,
    /// The connector's address as a resource indicator (RFC 8707), for exchanges with `target: resource`. With
    /// `grant: id_jag` it is sent where it is given.
    pub resource: Option<String>,
    /// With `grant: id_jag`: which of the issuer's `resource_authorization_servers` issues the tokens for this connector.
    pub authorization_server: Option<String>,
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
    /// Ask the user before the call is made. `true` is not served by this version.
    pub confirm: Option<bool>,
    /// Scopes that the caller's own token must hold, in place of the connector's setting.
    pub required_scopes: Option<Vec<String>>,
    /// Entra: authentication contexts that the caller must have passed (`acrs`), such as `c1`, in place of the connector's setting.
    pub required_acrs: Option<Vec<String>>,
    /// Authentication context classes (`acr`), one of which the caller's sign-in must have, in place of the connector's setting.
    pub required_acr: Option<Vec<String>>,
    /// How long ago the caller may have signed in (`auth_time`), such as `15m` or `12h`, in place of the connector's setting.
    #[schemars(regex(pattern = DURATION))]
    pub max_age: Option<String>,
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

/// Who may call what.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What is allowed: a call that one of these rules covers, unless something denies it.
    pub allow: Option<Vec<Rule>>,
    /// What is denied, whatever allows it: a call that one of these rules covers.
    pub deny: Option<Vec<Rule>>,
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

/// As `resolve` reads it, for editors.
const DURATION: &str = r"^[0-9]+(ms|s|m|h)$";

/// A mapping from names to entries, in the order of the file.
#[derive(Clone)]
pub struct Named<T>(pub Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamedVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for NamedVisitor<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Named(entries))
            }
        }

        deserializer.deserialize_map(NamedVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Named_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": { "pattern": r"^[A-Za-z0-9_.-]{1,128}$" },
            "additionalProperties": generator.subschema_for::<T>(),
        })
    }
}
