//! `issuers`: the authorization servers whose users may call.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{ClientAuth, Exchange, Target};

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
    /// With `pages` or a `vault`: how this server's users sign in to the pages. Without it, by the client of `exchange`. The
    /// client has the redirect address `<public_url><pages.path>/signed-in`.
    pub sign_in: Option<SignIn>,
}

/// How users sign in to the gateway's pages (OpenID Connect, authorization code with PKCE).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The gateway's client identifier for signing people in, where it is another one than that of `exchange`.
    pub client_id: Option<String>,
    /// With `client_id`: how the gateway proves to be that client, as in `exchange`.
    pub client_auth: Option<ClientAuth>,
    /// The scopes that are asked for; `openid` must be one of them. Default: `[openid, profile]`.
    #[schemars(length(min = 1))]
    pub scopes: Option<Vec<String>>,
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
