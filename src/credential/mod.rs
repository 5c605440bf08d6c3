//! A permit becomes a credential: what the connector will see, and nothing else will do.
//!
//! Each identity mode has one way here. None falls back to another.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::audit::{CredentialNote, Recorder, RequestId};
use crate::clock::Now;
use crate::connections::{ConnectionError, Connections, Missing, OpenedGrant, TicketId};
use crate::identity::{IssuerName, Scopes, SecretToken};
use crate::metrics::{CacheLookup, Metrics};
use crate::oauth::authorization_server::AuthorizationServers;
use crate::oauth::exchange::{ExchangeError, IssuedToken};
use crate::policy::Permit;
use crate::tool::IdentityMode;

mod app_only;
mod cache;
mod connection;
mod key;
mod life;
mod mode;
mod on_behalf_of;
mod reason;
mod refusals;

use app_only::{AppOnly, ApplicationToken};
use cache::Entry;
pub use cache::{CACHE_BYTES_MAX, CredentialCache};
use connection::ByConnection;
pub use key::KeyFields;
use mode::ByMode;
use on_behalf_of::OnBehalfOf;

/// What stands before the token in the header (RFC 6750 section 2.1).
const SCHEME: &[u8] = b"Bearer ";

/// What a connector receives. Only this module makes one, and only for a permit.
#[derive(Clone, Debug)]
pub struct Credential {
    authorization: HeaderValue,
    identity: IdentityMode,
    lookup: CacheLookup,
    source: Source,
    note: Arc<CredentialNote>,
}

/// Whether a credential is kept for later calls.
#[derive(Clone, Debug)]
enum Source {
    /// It is, in this entry.
    Kept(Arc<Entry>),
    /// It is the application's, and no person's.
    Application(Arc<ApplicationToken>),
    /// It is the person's own, by this grant.
    Connection(Arc<OpenedGrant>),
    /// It was obtained for one call.
    Fresh {
        /// How long it lives, where its server says so.
        lifetime: Option<Duration>,
    },
}

/// Why there is no credential. The call is then refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ObtainError {
    /// The exchange failed.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The application got no token of its own.
    #[error("there is no application token")]
    Application(#[source] ExchangeError),
    /// The caller's issuer is not part of the configuration any more.
    #[error("issuer {0} is not configured")]
    UnknownIssuer(IssuerName),
    /// The person has to sign in at the service behind the connector, or to agree that this agent may use what they have there.
    #[error("{missing}")]
    NotConnected {
        /// What is missing.
        missing: Missing,
        /// The ticket by which the person does something about it.
        ticket: TicketId,
        /// The page on which it is used.
        url: String,
    },
    /// The person does not want the agent to use an account of theirs.
    #[error("the person declined to let the agent use an account of theirs")]
    Declined,
    /// The person was asked, and said neither yes nor no.
    #[error("the person closed the question about their account without an answer")]
    Dismissed,
    /// The person's own connection yields no token.
    #[error("the person's connection yields no token")]
    Connection(#[source] ConnectionError),
    /// The caller's token names no agent, so nobody can have agreed to it.
    #[error("the token names no agent, so the person cannot have agreed to it")]
    AgentUnknown,
    /// The tool's identity mode is not served.
    #[error("the identity mode {0} is not served")]
    NotServed(IdentityMode),
    /// The task that was to obtain it ended without a result.
    #[error("obtaining the credential broke off")]
    BrokeOff,
}

/// Obtains credentials.
pub struct Credentials {
    on_behalf_of: OnBehalfOf,
    connection: ByConnection,
    app_only: AppOnly,
}

impl Credentials {
    /// Obtains tokens from these authorization servers, and keeps them in `cache`. `recorder` records each exchange.
    pub fn new(
        servers: AuthorizationServers,
        cache: Arc<CredentialCache>,
        recorder: Recorder,
        metrics: Arc<Metrics>,
    ) -> Self {
        let app_only =
            AppOnly::new(Arc::clone(&servers), Arc::clone(&cache), recorder.clone(), Arc::clone(&metrics));
        let connection = ByConnection::new(Arc::clone(&servers), None);
        Self { on_behalf_of: OnBehalfOf::new(servers, cache, recorder, metrics), connection, app_only }
    }

    /// The same, with people's own connections.
    pub fn with_connections(
        self,
        servers: AuthorizationServers,
        connections: Option<Arc<Connections>>,
    ) -> Self {
        Self { connection: ByConnection::new(servers, connections), ..self }
    }

    /// Obtains the credential for a permitted call, in the identity mode that its tool declares. `call` is the call, which the
    /// record of an exchange names.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] when there is none.
    pub async fn obtain(
        &self,
        permit: &Permit,
        call: RequestId,
        now: Now,
    ) -> Result<Credential, ObtainError> {
        match ByMode::of(permit) {
            ByMode::OnBehalfOf(permit) => self.on_behalf_of.obtain(permit, call, now).await,
            ByMode::Connection(permit) => Box::pin(self.connection.obtain(permit, call, now)).await,
            ByMode::AppOnly(permit) => self.app_only.obtain(permit, call, now).await,
        }
    }

    /// The person was asked to do something about this ticket, so that a permitted call can be made, and said no.
    pub fn decline(&self, permit: &Permit, ticket: &str, call: RequestId, now: Now) {
        match ByMode::of(permit) {
            ByMode::Connection(permit) => self.connection.decline(permit, ticket, call, now),
            ByMode::OnBehalfOf(_) | ByMode::AppOnly(_) => {}
        }
    }

    /// The person was asked the same, and is at the page: waits for them, for some seconds at most.
    pub async fn wait_for_person(&self, permit: &Permit, ticket: &str, call: RequestId, now: Now) {
        match ByMode::of(permit) {
            ByMode::Connection(permit) => self.connection.wait_for_person(permit, ticket, call, now).await,
            ByMode::OnBehalfOf(_) | ByMode::AppOnly(_) => {}
        }
    }

    /// As which client the gateway obtains the credential for a permitted call.
    pub fn client_id(&self, permit: &Permit) -> Option<&Arc<str>> {
        match ByMode::of(permit) {
            ByMode::OnBehalfOf(permit) => self.on_behalf_of.client_id(permit),
            ByMode::Connection(permit) => self.connection.client_id(permit),
            ByMode::AppOnly(permit) => self.app_only.client_id(permit),
        }
    }

    /// Obtains another credential in place of one that the connector did not take; `claims` is what it demanded, as
    /// JSON. `None` when another one would not help.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] when there is none.
    pub async fn renew(
        &self,
        permit: &Permit,
        turned_away: &Credential,
        claims: Option<&str>,
        call: RequestId,
        now: Now,
    ) -> Result<Option<Credential>, ObtainError> {
        match ByMode::of(permit) {
            ByMode::OnBehalfOf(permit) => {
                self.on_behalf_of.renew(permit, turned_away, claims, call, now).await
            }
            ByMode::Connection(permit) => self.connection.renew(permit, turned_away, call, now).await,
            ByMode::AppOnly(permit) => self.app_only.renew(permit, turned_away, claims, call, now).await,
        }
    }
}

impl Credential {
    fn new(
        identity: IdentityMode,
        authorization: HeaderValue,
        lookup: CacheLookup,
        source: Source,
        note: Arc<CredentialNote>,
    ) -> Self {
        Credential { authorization, identity, lookup, source, note }
    }

    /// The `Authorization` header for the connector. Marked sensitive, so that it is neither shown by `Debug` nor
    /// put into a compression table (RFC 7541 section 7.1.3).
    pub fn authorization(&self) -> &HeaderValue {
        &self.authorization
    }

    /// Whose identity it carries.
    pub fn identity(&self) -> IdentityMode {
        self.identity
    }

    /// The scopes that were granted, where the authorization server said so.
    pub fn granted(&self) -> Option<&Scopes> {
        self.note.granted.as_deref()
    }

    /// How long it lives from when it was asked for, where the authorization server said so.
    pub fn lifetime(&self) -> Option<Duration> {
        match &self.source {
            Source::Kept(entry) => entry.lifetime(),
            Source::Application(token) => token.life.lifetime(),
            Source::Connection(grant) => grant.lifetime(),
            Source::Fresh { lifetime } => *lifetime,
        }
    }

    /// Where it came from.
    pub fn lookup(&self) -> CacheLookup {
        self.lookup
    }

    /// What records say of it.
    pub fn note(&self) -> &Arc<CredentialNote> {
        &self.note
    }
}

/// What records say of a token that has been issued.
fn note_of(issued: &IssuedToken) -> Arc<CredentialNote> {
    let granted = issued.granted.clone().map(Arc::new);
    Arc::new(CredentialNote::new(issued.token.digest(), issued.recorded_as, granted))
}

/// `Bearer`, and the token. `None` when the token cannot stand in a header; the exchange refuses such tokens before.
/// Its bytes are wiped when the last copy of the value is dropped.
fn bearer(token: &SecretToken) -> Option<HeaderValue> {
    let mut text = Zeroizing::new(Vec::with_capacity(SCHEME.len() + token.byte_count()));
    text.extend_from_slice(SCHEME);
    text.extend_from_slice(token.expose().as_bytes());
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(text)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(all(test, feature = "demo"))]
mod testing;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_not_shown() {
        let authorization = bearer(&SecretToken::new("canary")).expect("a header");
        assert!(authorization.is_sensitive());
        let (identity, lookup) = (IdentityMode::OnBehalfOf, CacheLookup::Hit);
        let source = Source::Fresh { lifetime: None };
        let note = Arc::new(CredentialNote::new([0; 32], None, None));
        let credential = Credential { authorization, identity, lookup, source, note };
        assert!(!format!("{credential:?}").contains("canary"));
        assert!(bearer(&SecretToken::new("a\r\nb")).is_none());
    }
}
