//! `client_auth`: how the gateway proves which client it is.

use schemars::JsonSchema;
use serde::Deserialize;

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
