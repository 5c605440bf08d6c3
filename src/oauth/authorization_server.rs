//! One authorization server as the gateway knows it: its settings, its keys, and where its endpoints are.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::task::AbortHandle;

use super::exchange::OwnToken;
use super::key_set::{Fetch, KeySet, KeySetError};
use super::metadata::{Metadata, discover};
use super::outbound::OutboundClient;
use super::protection::Protection;
use super::published_metadata::PublishedMetadata;
use super::resource_authorization_server::{
    ResourceAuthorizationServer, ResourceAuthorizationServerSettings,
};
use super::{ActorToken, ApplicationSettings, ExchangeSettings, Grant, IssuerSettings};
use crate::checked_url::CheckedUrl;
use crate::digest::FieldDigest;
use crate::identity::{Caller, Issuer, PersonId, SecretToken};
use crate::metrics::Metrics;
use crate::tool::{ResourceAuthorizationServerName, Target};
use crate::unique::Unique;

/// All authorization servers, by the exact `iss` of their tokens.
pub type AuthorizationServers = Arc<HashMap<Issuer, Arc<AuthorizationServer>, foldhash::fast::RandomState>>;

/// The person behind a caller. `None` when the caller's issuer is not configured any more, or when there is no person.
pub fn person_of(caller: &Caller, servers: &AuthorizationServers) -> Option<PersonId> {
    let server = servers.get(caller.issuer()).filter(|_| !caller.is_agent_alone())?;
    Some(PersonId {
        issuer: server.settings().issuer.clone(),
        tenant: caller.tenant().clone(),
        subject: caller.subject().clone(),
    })
}

/// One authorization server. Its keys, and what is published of it, are kept fresh until it is dropped.
#[derive(Debug)]
pub struct AuthorizationServer {
    location: Arc<Location>,
    key_set: Arc<KeySet>,
    protection: Arc<Protection>,
    own_token: OwnToken,
    application: Option<Application>,
    /// Its connections show the certificate of the client of sign-ins, where it has one.
    sign_in_client: Option<OutboundClient>,
    resource_authorization_servers: HashMap<ResourceAuthorizationServerName, ResourceAuthorizationServer>,
    published: Option<Arc<PublishedMetadata>>,
    fingerprint: [u8; 32],
    unique: Unique,
    refreshers: Vec<AbortHandle>,
}

/// What it takes to ask for application tokens.
#[derive(Debug)]
struct Application {
    /// Its connections show the application's certificate, where it has one, and never the one of the exchange.
    client: OutboundClient,
    fingerprint: [u8; 32],
}

/// What it takes to find the server's endpoints.
#[derive(Debug)]
struct Location {
    settings: IssuerSettings,
    client: OutboundClient,
    discovered: ArcSwapOption<Metadata>,
}

impl AuthorizationServer {
    /// Begins to fetch the server's keys and keeps them fresh from then on. What `previous` has learned is taken
    /// over, when it was learned at the same place. Must be called within a runtime.
    ///
    /// # Errors
    ///
    /// When one of the entry's certificate authorities cannot be used.
    pub fn start(
        settings: IssuerSettings,
        previous: Option<&Self>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, rustls::Error> {
        let mut server = Self::idle(settings, previous, metrics)?;
        server.refreshers.push(tokio::spawn(Arc::clone(&server.key_set).keep_fresh()).abort_handle());
        if let Some(published) = &server.published {
            let Location { settings, client, .. } = &*server.location;
            let (name, issuer) = (settings.name.clone(), settings.issuer.clone());
            let plain_http = settings.endpoints.plain_http;
            let keep_fresh = Arc::clone(published).keep_fresh(name, client.clone(), issuer, plain_http);
            server.refreshers.push(tokio::spawn(keep_fresh).abort_handle());
        }
        Ok(server)
    }

    /// The same, but nobody is asked for anything as long as nobody asks for that.
    ///
    /// # Errors
    ///
    /// When one of the entry's certificate authorities cannot be used.
    pub fn idle(
        settings: IssuerSettings,
        previous: Option<&Self>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, rustls::Error> {
        let resource_authorization_servers = resource_authorization_servers(&settings, previous, &metrics)?;
        let previous = previous.filter(|previous| previous.is_at_the_place_of(&settings));
        let endpoints = &settings.endpoints;
        let named = [
            &endpoints.metadata,
            &endpoints.jwks_uri,
            &endpoints.token_endpoint,
            &endpoints.authorization_endpoint,
            &endpoints.introspection_endpoint,
            &settings.publication.as_ref().map(|publication| publication.metadata.clone()),
        ];
        let identity = settings.exchange.as_ref().and_then(|exchange| exchange.client_auth.tls_identity());
        let client =
            |identity| OutboundClient::new(&settings.extra_roots, identity, named.into_iter().flatten());
        let application = match &settings.application {
            Some(application) => Some(Application {
                client: client(application.client_auth.tls_identity())?,
                fingerprint: application_fingerprint(&settings, application),
            }),
            None => None,
        };
        let sign_in_client = match &settings.sign_in {
            Some(sign_in) => Some(client(sign_in.client_auth.tls_identity())?),
            None => None,
        };
        let client = client(identity)?;
        let fingerprint = fingerprint(&settings);
        let name = settings.name.clone();
        let discovered =
            ArcSwapOption::new(previous.and_then(|previous| previous.location.discovered.load_full()));
        let protection = match previous {
            Some(previous) => Arc::clone(&previous.protection),
            None => Arc::new(Protection::new(name.clone(), Arc::clone(&metrics))),
        };
        let known_keys = previous.and_then(|previous| previous.key_set.snapshot());
        let published = settings.publication.clone().map(|publication| {
            let previous = previous.and_then(|previous| previous.published.as_deref());
            Arc::new(PublishedMetadata::new(publication, previous))
        });
        let location = Arc::new(Location { settings, client, discovered });
        let fetch: Fetch = {
            let location = Arc::clone(&location);
            Arc::new(move || {
                let location = Arc::clone(&location);
                Box::pin(async move { location.fetch_keys().await })
            })
        };
        let key_set = Arc::new(KeySet::new(name, fetch, known_keys, metrics));
        let own_token = OwnToken::default();
        Ok(Self {
            location,
            key_set,
            protection,
            own_token,
            application,
            sign_in_client,
            resource_authorization_servers,
            published,
            fingerprint,
            unique: Unique::default(),
            refreshers: Vec::new(),
        })
    }

    fn is_at_the_place_of(&self, settings: &IssuerSettings) -> bool {
        let own = self.settings();
        own.issuer == settings.issuer
            && own.endpoints == settings.endpoints
            && own.extra_roots == settings.extra_roots
    }

    /// Tells it from all others, also from what it was under an earlier configuration.
    pub fn number(&self) -> u64 {
        self.unique.number()
    }

    /// What the configuration says about it.
    pub fn settings(&self) -> &IssuerSettings {
        &self.location.settings
    }

    /// Its keys.
    pub fn key_set(&self) -> &Arc<KeySet> {
        &self.key_set
    }

    /// Its metadata as it is published for clients; `None` when they read its own.
    pub fn published(&self) -> Option<&PublishedMetadata> {
        self.published.as_deref()
    }

    /// The issuer by which clients know it.
    pub fn issuer_for_clients(&self) -> &Issuer {
        self.published.as_deref().map_or(&self.settings().issuer, PublishedMetadata::issuer)
    }

    /// What keeps it from being asked too much.
    pub(super) fn protection(&self) -> &Protection {
        &self.protection
    }

    /// The gateway's own token there, where it has one.
    pub(super) fn kept_own_token(&self) -> &OwnToken {
        &self.own_token
    }

    /// The server that issues the tokens for `target` in its stead.
    pub(super) fn resource_authorization_server(
        &self,
        target: &Target,
    ) -> Option<&ResourceAuthorizationServer> {
        self.resource_authorization_servers.get(target.authorization_server.as_ref()?)
    }

    /// The client for calls to it.
    pub(super) fn client(&self) -> &OutboundClient {
        &self.location.client
    }

    /// The client by which application tokens are asked for, where there is anything to ask for.
    pub(super) fn application_client(&self) -> Option<&OutboundClient> {
        self.application.as_ref().map(|application| &application.client)
    }

    /// Where tokens are asked for; `None` while it is not known.
    pub fn token_endpoint(&self) -> Option<CheckedUrl> {
        self.location
            .endpoint(|endpoints| &endpoints.token_endpoint, |metadata| metadata.token_endpoint.as_ref())
    }

    /// Where people agree to things; `None` when it is not known.
    pub fn authorization_endpoint(&self) -> Option<CheckedUrl> {
        self.location.endpoint(
            |endpoints| &endpoints.authorization_endpoint,
            |metadata| metadata.authorization_endpoint.as_ref(),
        )
    }

    /// Where it says what opaque tokens mean; `None` when it is not known.
    pub fn introspection_endpoint(&self) -> Option<CheckedUrl> {
        self.location.endpoint(
            |endpoints| &endpoints.introspection_endpoint,
            |metadata| metadata.introspection_endpoint.as_ref(),
        )
    }

    /// The client by which people's sign-ins are completed, where they sign in there.
    pub(super) fn sign_in_client(&self) -> Option<&OutboundClient> {
        self.sign_in_client.as_ref()
    }

    /// Whether it says in each answer to a redirect address which server it is (RFC 9207).
    pub fn sends_issuer(&self) -> bool {
        self.location.discovered.load().as_ref().is_some_and(|metadata| metadata.sends_issuer)
    }

    /// Whether `sub` of the same person may differ from client to client here.
    pub fn has_pairwise_subjects(&self) -> bool {
        self.location.discovered.load().as_ref().is_some_and(|metadata| metadata.pairwise_subjects)
    }

    /// A digest of every setting that shapes a delegated token. It is part of the cache key, so that a token
    /// obtained under other settings is not found again.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// The same of every setting that shapes an application token; `None` when none can be had.
    pub fn application_fingerprint(&self) -> Option<&[u8; 32]> {
        self.application.as_ref().map(|application| &application.fingerprint)
    }
}

fn resource_authorization_servers(
    settings: &IssuerSettings,
    previous: Option<&AuthorizationServer>,
    metrics: &Arc<Metrics>,
) -> Result<HashMap<ResourceAuthorizationServerName, ResourceAuthorizationServer>, rustls::Error> {
    let Some(Grant::IdJag { resource_authorization_servers, .. }) =
        settings.exchange.as_ref().map(|exchange| &exchange.grant)
    else {
        return Ok(HashMap::new());
    };
    let start = |server: &ResourceAuthorizationServerSettings| {
        let previous =
            previous.and_then(|previous| previous.resource_authorization_servers.get(&server.name));
        Ok((
            server.name.clone(),
            ResourceAuthorizationServer::start(&settings.name, server, previous, metrics)?,
        ))
    };
    resource_authorization_servers.iter().map(start).collect()
}

impl Drop for AuthorizationServer {
    fn drop(&mut self) {
        self.refreshers.iter().for_each(AbortHandle::abort);
    }
}

impl Location {
    fn endpoint(
        &self,
        given: impl Fn(&super::Endpoints) -> &Option<CheckedUrl>,
        found: impl Fn(&Metadata) -> Option<&CheckedUrl>,
    ) -> Option<CheckedUrl> {
        given(&self.settings.endpoints)
            .clone()
            .or_else(|| self.discovered.load().as_ref().and_then(|metadata| found(metadata).cloned()))
    }

    async fn fetch_keys(&self) -> Result<Vec<u8>, KeySetError> {
        let endpoints = &self.settings.endpoints;
        if let Some(metadata) = &endpoints.metadata {
            let found = discover(&self.client, metadata, &self.settings.issuer, endpoints.plain_http)
                .await
                .map_err(|source| KeySetError::Metadata { url: metadata.clone(), source })?;
            self.discovered.store(Some(Arc::new(found)));
        }
        let jwks_uri = self
            .endpoint(|endpoints| &endpoints.jwks_uri, |metadata| Some(&metadata.jwks_uri))
            .expect("an issuer has a given jwks_uri or a metadata address: resolve() refuses neither");
        match self.client.get(&jwks_uri).await {
            Ok(answer) if answer.status == http::StatusCode::OK => Ok(answer.body),
            Ok(answer) => Err(KeySetError::Status { url: jwks_uri, status: answer.status }),
            Err(source) => Err(KeySetError::Outbound { url: jwks_uri, source }),
        }
    }
}

/// Digests the settings that shape a delegated token. How the client proves itself is none of them: another secret
/// of the same client yields the same token. Whom it is kept for is part of the key itself.
fn fingerprint(settings: &IssuerSettings) -> [u8; 32] {
    let mut digest = FieldDigest::new("exchange-settings/2");
    digest_place(&mut digest, settings);
    if let Some(exchange) = &settings.exchange {
        let ExchangeSettings {
            grant,
            client_id,
            client_auth: _,
            extra,
            reuse: _,
            refuses_more_scopes,
            client_capabilities,
        } = exchange;
        // What was let through without the check must not be found by those who want it.
        digest.field(&[u8::from(*refuses_more_scopes)]);
        match grant {
            Grant::OnBehalfOf => digest.field(b"on_behalf_of"),
            Grant::JwtBearer { target } => {
                digest.field(b"jwt_bearer");
                digest.field(target.name().as_bytes());
            }
            Grant::TokenExchange { target, subject_token_type, requested_token_type, actor } => {
                digest.field(b"token_exchange");
                digest.field(target.name().as_bytes());
                digest.field(subject_token_type.as_bytes());
                digest.field(requested_token_type.as_bytes());
                match actor {
                    ActorToken::None => digest.field(b"no actor"),
                    ActorToken::Agent => digest.field(b"the agent"),
                    ActorToken::Gateway { scopes } => {
                        digest.field(b"the gateway");
                        digest.field(scopes.canonical().as_bytes());
                    }
                }
            }
            Grant::IdJag { subject_token_type, resource_authorization_servers } => {
                digest.field(b"id_jag");
                digest.field(subject_token_type.as_bytes());
                digest.field(&(resource_authorization_servers.iter().count() as u64).to_be_bytes());
                for server in resource_authorization_servers.iter() {
                    let ResourceAuthorizationServerSettings {
                        name,
                        issuer,
                        token_endpoint,
                        client_id,
                        client_auth: _,
                        extra_roots: _,
                    } = server;
                    for part in [name.as_str(), issuer.as_str(), token_endpoint.as_str(), client_id] {
                        digest.field(part.as_bytes());
                    }
                }
            }
        }
        digest.field(client_id.as_bytes());
        digest.list(client_capabilities);
        digest_fields(&mut digest, extra);
    }
    digest.finish()
}

/// Digests the settings that shape an application token. As above, how the client proves itself is none of them.
fn application_fingerprint(settings: &IssuerSettings, application: &ApplicationSettings) -> [u8; 32] {
    let mut digest = FieldDigest::new("application-settings/1");
    digest_place(&mut digest, settings);
    let ApplicationSettings { client_id, client_auth: _, target, extra, refuses_more_scopes } = application;
    digest.field(client_id.as_bytes());
    digest.field(target.name().as_bytes());
    digest.field(&[u8::from(*refuses_more_scopes)]);
    digest_fields(&mut digest, extra);
    digest.finish()
}

/// Where the server is.
fn digest_place(digest: &mut FieldDigest, settings: &IssuerSettings) {
    digest.field(settings.issuer.as_str().as_bytes());
    for endpoint in [&settings.endpoints.metadata, &settings.endpoints.token_endpoint] {
        digest.optional(endpoint.as_ref().map(CheckedUrl::as_str));
    }
}

/// Static form fields, which come last.
fn digest_fields(digest: &mut FieldDigest, fields: &[(String, SecretToken)]) {
    for (name, value) in fields {
        digest.field(name.as_bytes());
        digest.field(value.expose().as_bytes());
    }
}
