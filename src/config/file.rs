//! The configuration as an operator writes it. The comments here are read by users: they become the
//! descriptions of the JSON Schema.
//!
//! Every key is an `Option`, also a required one: what is missing is noted while the rest is checked, so that
//! all faults are reported at once. `#[schemars(required)]` tells the schema.

mod audit;
mod bounds;
mod client_auth;
mod connectors;
mod exchange;
mod issuers;
mod limits;
mod named;
mod people;
mod policy;
mod tools;

use schemars::JsonSchema;
use serde::Deserialize;

pub use audit::{Audit, AuditKey, Checkpoints, Durability, Keep, Rotate};
pub use bounds::{Bounds, Memory, Timeouts};
pub use client_auth::{AssertionAlgorithm, ClientAuth, KeyName, SecretMethod};
pub use connectors::{Connector, ConnectorKind, Identity, ListWithoutPerson, OpenApi};
pub use exchange::{
    ActorToken, ClientCapability, Exchange, Grant, MoreScopes, RequestedTokenType,
    ResourceAuthorizationServer, Reuse, Target,
};
pub use issuers::{Cloud, Issuer, IssuerKind, Profile};
pub use limits::{ConnectorLimits, Limits, Rate};
pub use named::Named;
pub use people::{Connection, Pages, Vault, VaultKey};
pub use policy::{Cedar, Policy, Rule};
pub use tools::{Annotations, Argument, ArgumentType, Confirm, Tool};

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
    /// When files are read again: this one, and those that it names.
    pub reload: Option<Reload>,
    /// How long the gateway waits for agents, and how long they may have it wait.
    pub timeouts: Option<Timeouts>,
    /// How much agents may have open, and how much they may send at once.
    pub bounds: Option<Bounds>,
    /// How much memory people's tokens may take.
    pub memory: Option<Memory>,
    /// How many calls there may be in a time, of all connectors together.
    pub limits: Option<Limits>,
    /// The authorization servers whose users may call, by a name of your choice.
    #[schemars(required)]
    pub issuers: Option<Named<Issuer>>,
    /// The systems that agents call, by a name of your choice.
    #[schemars(required)]
    pub connectors: Option<Named<Connector>>,
    /// Who may call what. What no rule allows is denied.
    pub policy: Option<Policy>,
    /// Where people's own connections are kept (`identity: connection`).
    pub vault: Option<Vault>,
    /// The pages on which people sign in, and see to their connections.
    pub pages: Option<Pages>,
    /// Where the record of every call goes.
    #[schemars(required)]
    pub audit: Option<Audit>,
}

/// When files are read again. SIGHUP always has them read at once.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// Whether the gateway reads its configuration again, with all that it names, once something else is in one of the files:
    /// certificates, keys, secrets, policies, descriptions of APIs. What two looks in a row find is taken. Default: true.
    pub on_change: Option<bool>,
    /// How often it looks, at least every `100ms`. Default: `5s`.
    #[schemars(regex(pattern = DURATION))]
    pub every: Option<String>,
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

/// As `resolve` reads it, for editors.
const DURATION: &str = r"^[0-9]+(ms|s|m|h)$";
/// The same of sizes.
const SIZE: &str = r"^[0-9]+(KiB|MiB|GiB)$";
