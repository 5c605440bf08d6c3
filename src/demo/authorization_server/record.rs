//! What the token endpoint received, kept for tests to look at.

use std::fmt;

use http::{HeaderMap, StatusCode};

/// How the token endpoint was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantKind {
    /// An authorization code.
    AuthorizationCode,
    /// The client for itself.
    ClientCredentials,
    /// A refresh token.
    RefreshToken,
    /// Entra's on-behalf-of.
    OnBehalfOf,
    /// RFC 8693.
    TokenExchange,
    /// Anything else, or nothing.
    Other,
}

impl GrantKind {
    pub(super) fn named(grant_type: &str) -> Self {
        match grant_type {
            "authorization_code" => Self::AuthorizationCode,
            "client_credentials" => Self::ClientCredentials,
            "refresh_token" => Self::RefreshToken,
            "urn:ietf:params:oauth:grant-type:jwt-bearer" => Self::OnBehalfOf,
            "urn:ietf:params:oauth:grant-type:token-exchange" => Self::TokenExchange,
            _ => Self::Other,
        }
    }
}

/// One request to the token endpoint. Its `Debug` shows names, not values.
#[derive(Clone)]
pub struct Exchange {
    /// The grant it asked for.
    pub grant: GrantKind,
    /// Every form parameter, in order.
    pub form: Vec<(String, String)>,
    /// Every header field.
    pub headers: HeaderMap,
    /// What it was answered, once it was: nothing while it waits, or if a script broke the connection.
    pub status: Option<StatusCode>,
    /// The `error` it was answered, if the answer was this server's own.
    pub error: Option<&'static str>,
}

impl Exchange {
    /// A form parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The names of the header fields.
    pub fn header_names(&self) -> Vec<&str> {
        self.headers.keys().map(http::HeaderName::as_str).collect()
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("grant", &self.grant)
            .field("parameters", &self.form.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("headers", &self.header_names())
            .field("status", &self.status)
            .field("error", &self.error)
            .finish()
    }
}
