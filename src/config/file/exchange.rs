//! `exchange` of an issuer: how tokens for connectors are obtained there on behalf of the user.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{ClientAuth, Named};

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
