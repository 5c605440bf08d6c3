//! The development authorization server: an Entra-like tenant and an RFC 8693 server at one origin.
//!
//! It signs people in without passwords, gives agents tokens for the gateway, and exchanges those for tokens
//! to resources, with the parameters, answers and errors of the real things. Every endpoint counts its
//! requests and can be scripted to misbehave. It is for development and tests; nothing about it is fit to
//! face a network.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use self::tenant::{Condition, Tenant};
use super::host::{Host, Socket};
use super::jws::Algorithm;
use super::lock;
use super::people::Person;
use super::script::Script;

mod authorization_code;
mod authorize;
mod client;
mod client_credentials;
mod fault;
mod form;
mod id_jag;
mod interaction;
mod introspect;
mod keys;
mod on_behalf_of;
mod pages;
mod record;
mod refresh;
mod respond;
mod routes;
mod scopes;
mod settings;
mod tenant;
mod token;
mod token_exchange;
mod tokens;
mod verify;

#[cfg(test)]
mod tests;

pub use self::fault::Fault;
pub use self::record::{Exchange, GrantKind};
pub use self::settings::{
    AgentClient, AppRole, Consent, GatewayClient, MAIL_AUDIENCE, NOTES_AUDIENCE, Resource, Scope, Settings,
    TENANT, TrustedIssuer,
};
pub use self::tenant::Endpoint;
pub use self::tokens::TokenBuilder;

/// A running server. Clones are handles to the same one; it stops when the last is dropped.
#[derive(Clone)]
pub struct AuthorizationServer {
    tenant: Arc<Tenant>,
    host: Arc<Host<Tenant>>,
}

impl AuthorizationServer {
    /// Binds, makes its keys, and serves.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        let is_path_segment = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if settings.tenant.is_empty() || !settings.tenant.chars().all(is_path_segment) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the tenant id is not a GUID"));
        }
        let socket = Socket::bind(settings.address).await?;
        let tls = settings.tls.clone();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let origin = format!("{scheme}://{}", socket.address());
        let tenant = tokio::task::spawn_blocking(move || Arc::new(Tenant::new(settings, origin)))
            .await
            .map_err(io::Error::other)?;
        let host = Arc::new(Host::serve(socket, tls, Arc::clone(&tenant)));
        Ok(Self { tenant, host })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.host.address()
    }

    /// `http://127.0.0.1:PORT`, or https if it has a certificate.
    pub fn origin(&self) -> &str {
        &self.tenant.origin
    }

    /// The `iss` of every token.
    pub fn issuer(&self) -> String {
        self.tenant.issuer()
    }

    /// Where the key set is.
    pub fn jwks_uri(&self) -> String {
        self.tenant.jwks_uri()
    }

    /// The public key that verifies this algorithm at the moment, in PEM, for who reads no key sets.
    pub fn public_pem(&self, algorithm: Algorithm) -> String {
        self.tenant.keys().signing(algorithm).public_pem()
    }

    /// The token endpoint.
    pub fn token_endpoint(&self) -> String {
        self.tenant.token_endpoint()
    }

    /// The authorization endpoint.
    pub fn authorization_endpoint(&self) -> String {
        self.tenant.authorization_endpoint()
    }

    /// What it was started with.
    pub fn settings(&self) -> &Settings {
        &self.tenant.settings
    }

    /// One of its people, by object id, user name, full name or first name.
    ///
    /// # Panics
    ///
    /// If there is nobody of that name: a test or a demo that names a stranger is wrong.
    pub fn person(&self, who: &str) -> &Person {
        let found = self.tenant.settings.people.iter().find(|person| person.is(who));
        found.unwrap_or_else(|| panic!("nobody in the tenant is called {who}"))
    }

    /// A token that an agent would send to the gateway for a person, to be minted as it is or altered first.
    pub fn subject_token(&self, who: &str) -> TokenBuilder {
        self.tenant.subject_token(self.person(who))
    }

    /// An opaque token that stands for a signed one (RFC 7662).
    pub fn opaque_token(&self, signed: &str) -> String {
        self.tenant.opaque(signed)
    }

    /// Revokes an opaque token.
    pub fn revoke(&self, opaque: &str) {
        self.tenant.revoke(opaque);
    }

    /// An ID token for the agent, which no gateway should accept.
    pub fn id_token(&self, who: &str) -> String {
        let client_id = &self.tenant.settings.agent.client_id;
        authorization_code::id_token(&self.tenant, self.person(who), client_id, None)
    }

    /// This server as another one trusts it, by its present keys.
    pub fn as_trusted(&self) -> TrustedIssuer {
        TrustedIssuer { issuer: self.issuer(), key_set: self.tenant.keys().key_set(&self.issuer()) }
    }

    /// Issues ID-JAGs from now on for the authorization server of this issuer, which knows the gateway by this client
    /// id.
    pub fn vouch_to(&self, issuer: &str, client_id: &str) {
        lock(&self.tenant.vouched_to).insert(issuer.to_owned(), client_id.to_owned());
    }

    /// An ID-JAG that vouches for a person, to be minted as it is or altered first.
    pub fn id_jag(&self, who: &str, audience: &str, client_id: &str, scope: &str) -> TokenBuilder {
        self.tenant.id_jag(self.person(who), audience, client_id, scope)
    }

    /// Everything the token endpoint received, oldest first.
    pub fn exchanges(&self) -> Vec<Exchange> {
        lock(&self.tenant.exchanges).to_vec()
    }

    /// Every delegated token issued, oldest first.
    pub fn issued(&self) -> Vec<String> {
        self.tenant.issued()
    }

    /// The delegated token issued last.
    pub fn last_issued(&self) -> Option<String> {
        self.tenant.last_issued()
    }

    /// Every app-only token issued, oldest first.
    pub fn issued_to_application(&self) -> Vec<String> {
        self.tenant.issued_to_application()
    }

    /// How many requests an endpoint received.
    pub fn fetches(&self, endpoint: Endpoint) -> usize {
        self.tenant.fetches(endpoint)
    }

    /// The manners of an endpoint.
    pub fn script(&self, endpoint: Endpoint) -> &Script {
        self.tenant.script(endpoint)
    }

    /// Ends all that a person has granted to clients that act without them.
    pub fn end_grants(&self, who: &str) {
        self.tenant.refresh_tokens.end_all_of(&self.person(who).oid);
    }

    /// How often a refresh token came a second time.
    pub fn reused_refresh_tokens(&self) -> usize {
        self.tenant.refresh_tokens.reused()
    }

    /// How many grants there are that clients can renew.
    pub fn living_grants(&self) -> usize {
        self.tenant.refresh_tokens.alive()
    }

    /// Signs with new keys from now on. The old ones stay in the key set, or leave it.
    pub fn rotate_keys(&self, keep_old: bool) {
        self.tenant.rotate_keys(keep_old);
    }

    /// Records that a person lets the gateway have a scope of a resource.
    pub fn grant_consent(&self, who: &str, audience: &str, scope: &str) {
        self.tenant.grant_consent(self.consent(who, audience, scope));
    }

    /// Takes such a consent back.
    pub fn withdraw_consent(&self, who: &str, audience: &str, scope: &str) {
        self.tenant.withdraw_consent(&self.consent(who, audience, scope));
    }

    /// The link at which a person can consent to scopes for the gateway.
    pub fn consent_link(&self, scope: &str) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", &self.tenant.settings.gateway.client_id)
            .append_pair("scope", scope)
            .append_pair("prompt", "consent")
            .finish();
        format!("{}?{query}", self.authorization_endpoint())
    }

    /// Refuses every exchange of a person's tokens with this fault.
    pub fn refuse_exchanges(&self, who: &str, fault: Fault) {
        self.tenant.set_condition(&self.person(who).oid, Some(Condition::Refuse(fault)));
    }

    /// Answers exchanges of a person's tokens with a claims challenge, until a token has this value in
    /// `acrs`.
    pub fn require_step_up(&self, who: &str, acrs: &str) {
        self.tenant.set_condition(&self.person(who).oid, Some(Condition::StepUp { acrs: acrs.to_owned() }));
    }

    /// Takes back what `refuse_exchanges` or `require_step_up` said.
    pub fn allow_exchanges(&self, who: &str) {
        self.tenant.set_condition(&self.person(who).oid, None);
    }

    /// Refuses the gateway every token of its own with this fault.
    pub fn refuse_application(&self, fault: Fault) {
        let client_id = &self.tenant.settings.gateway.client_id;
        self.tenant.set_condition(client_id, Some(Condition::Refuse(fault)));
    }

    /// Takes back what `refuse_application` said.
    pub fn allow_application(&self) {
        self.tenant.set_condition(&self.tenant.settings.gateway.client_id, None);
    }

    /// Closes the listener and every connection.
    pub async fn stop_listening(&self) {
        self.host.stop_listening().await;
    }

    /// Listens again, on the same port.
    pub async fn listen_again(&self) -> io::Result<()> {
        self.host.listen_again().await
    }

    fn consent(&self, who: &str, audience: &str, scope: &str) -> Consent {
        Consent::new(&self.person(who).oid, &self.tenant.settings.gateway.client_id, audience, scope)
    }
}
