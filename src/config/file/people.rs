//! `vault`, `pages` and `connection`: what people have at services of their own.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::ClientAuth;

/// Where people's own connections are kept: one file, sealed, of one gateway.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vault {
    /// The file. It is made when it is not there, for this user alone; a lock and, while something is written, a journal stand
    /// beside it. No link leads there.
    #[schemars(required)]
    pub file: Option<String>,
    /// The keys. The first seals; all of them open, so that an old one can go once `obo-gateway vault rotate` has been run.
    #[schemars(required, length(min = 1))]
    pub keys: Option<Vec<VaultKey>>,
}

/// A key of the vault.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VaultKey {
    /// Its name, such as `2026-11`: letters, digits, `_`, `-` and `.`. It stays the key's as long as there is one.
    #[schemars(required)]
    pub id: Option<String>,
    /// The file that holds it: 32 random bytes, as they are or in base64. `openssl rand -base64 32` makes one. Who loses it
    /// loses what it sealed.
    #[schemars(required)]
    pub file: Option<String>,
}

/// The pages on which people sign in, and see to their connections.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pages {
    /// The path of the pages under `public_url`. No connector may be there. Default: `/account`.
    pub path: Option<String>,
}

/// A service with accounts of its own, where each person signs in once (`identity: connection`). What they grant is kept in
/// the `vault`, and used for them alone, by the agents that they agreed to. The gateway's client there has the redirect
/// address `<public_url><pages.path>/callback/<connector>`, which `check` prints.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// The issuer identifier of the service's authorization server, whose metadata has its endpoints (OpenID Connect Discovery,
    /// RFC 8414). Required, unless `authorization_endpoint` and `token_endpoint` are given.
    pub issuer: Option<String>,
    /// Where people sign in and agree, in place of what discovery says.
    pub authorization_endpoint: Option<String>,
    /// Its token endpoint, in place of what discovery says.
    pub token_endpoint: Option<String>,
    /// Where tokens are given back when a person disconnects (RFC 7009), in place of what discovery says.
    pub revocation_endpoint: Option<String>,
    /// Where it says whose account it is, for the pages, in place of what discovery says.
    pub userinfo_endpoint: Option<String>,
    /// The gateway's own client identifier there.
    #[schemars(required)]
    pub client_id: Option<String>,
    /// How the gateway proves to be that client, as in `exchange`. Without it, it is a public client. PKCE is used in any case.
    pub client_auth: Option<ClientAuth>,
    /// The scopes that people are asked to grant. Those that tools name have to be among them. Many services give no refresh
    /// token without `offline_access`.
    #[schemars(length(min = 1))]
    pub scopes: Option<Vec<String>>,
    /// Further parameters of the authorization request, such as `access_type: offline`.
    pub extra: Option<BTreeMap<String, String>>,
    /// Which member of user-info, or of the ID token, names the account on the pages. Default: the first of `email`,
    /// `preferred_username`, `login`, `name` and `sub` that is there.
    pub account: Option<String>,
    /// PEM file with certificate authorities that are trusted for this server beside those of the system.
    pub ca_file: Option<String>,
    /// Talk to this server without TLS beyond loopback. Not for production.
    pub allow_plain_http: Option<bool>,
}
