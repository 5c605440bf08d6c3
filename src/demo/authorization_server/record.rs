//! What the token endpoint received, kept for tests to look at.

use std::collections::VecDeque;
use std::fmt;

use http::{HeaderMap, StatusCode};

/// Most requests and tokens kept: more than a load test makes, and still a bound for a server left running.
const KEPT_MAX: usize = 20_000;

/// A list that forgets its oldest entries.
pub(super) struct Kept<T> {
    entries: VecDeque<T>,
    forgotten: usize,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), forgotten: 0 }
    }
}

impl<T: Clone> Kept<T> {
    /// Keeps an entry and gives its number.
    pub(super) fn push(&mut self, entry: T) -> usize {
        if self.entries.len() == KEPT_MAX {
            self.entries.pop_front();
            self.forgotten += 1;
        }
        self.entries.push_back(entry);
        self.forgotten + self.entries.len() - 1
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        self.entries.get_mut(number.checked_sub(self.forgotten)?)
    }

    pub(super) fn last(&self) -> Option<T> {
        self.entries.back().cloned()
    }

    pub(super) fn to_vec(&self) -> Vec<T> {
        self.entries.iter().cloned().collect()
    }
}

/// How the token endpoint was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantKind {
    /// An authorization code.
    AuthorizationCode,
    /// The client for itself.
    ClientCredentials,
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
