//! The authorization servers that issue tokens for connectors on the word of an issuer: the second leg of an ID-JAG
//! (identity assertion JWT authorization grant).
//!
//! Each has a client, a connection pool and a protection of its own. Nothing that proves the gateway to the issuer is
//! known here.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use super::ClientAuth;
use super::outbound::OutboundClient;
use super::protection::Protection;
use crate::checked_url::CheckedUrl;
use crate::identity::{Issuer, IssuerName};
use crate::metrics::Metrics;
use crate::tool::{ResourceAuthorizationServerName, Target};

/// What the configuration says about such a server, checked.
#[derive(Clone, Debug)]
pub struct ResourceAuthorizationServerSettings {
    /// Its name in the configuration.
    pub name: ResourceAuthorizationServerName,
    /// Its issuer identifier: the audience of the ID-JAGs that are for it.
    pub issuer: Issuer,
    /// Its token endpoint.
    pub token_endpoint: CheckedUrl,
    /// The gateway's own client identifier there.
    pub client_id: Arc<str>,
    /// How the gateway proves to be that client.
    pub client_auth: ClientAuth,
    /// Certificate authorities trusted beside those of the system.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

/// The servers of one issuer. Two lists are equal when they are the same one: nobody compares secrets.
#[derive(Clone, Debug)]
pub struct ResourceAuthorizationServers(Arc<[ResourceAuthorizationServerSettings]>);

impl PartialEq for ResourceAuthorizationServers {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ResourceAuthorizationServers {}

impl ResourceAuthorizationServers {
    /// These servers.
    pub fn new(servers: Vec<ResourceAuthorizationServerSettings>) -> Self {
        Self(servers.into())
    }

    /// Each of them, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &ResourceAuthorizationServerSettings> {
        self.0.iter()
    }

    /// The one that issues the tokens for `target`.
    pub fn of(&self, target: &Target) -> Option<&ResourceAuthorizationServerSettings> {
        let name = target.authorization_server.as_ref()?;
        self.0.iter().find(|server| server.name == *name)
    }
}

/// Such a server, as the gateway asks it.
#[derive(Debug)]
pub(super) struct ResourceAuthorizationServer {
    settings: ResourceAuthorizationServerSettings,
    label: IssuerName,
    client: OutboundClient,
    protection: Arc<Protection>,
}

impl ResourceAuthorizationServer {
    /// Prepares to ask it. What `previous` has learned of the same server is taken over.
    ///
    /// # Errors
    ///
    /// When one of its certificate authorities cannot be used.
    pub fn start(
        issuer: &IssuerName,
        settings: &ResourceAuthorizationServerSettings,
        previous: Option<&Self>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, rustls::Error> {
        // No name of an issuer has a slash, so this is nobody else's.
        let label = IssuerName::new(format!("{issuer}/{}", settings.name));
        let client = OutboundClient::new(
            &settings.extra_roots,
            settings.client_auth.tls_identity(),
            [&settings.token_endpoint],
        )?;
        let same = previous.filter(|previous| previous.is_at_the_place_of(settings));
        let protection = match same {
            Some(previous) => Arc::clone(&previous.protection),
            None => Arc::new(Protection::new(label.clone(), Arc::clone(metrics))),
        };
        Ok(Self { settings: settings.clone(), label, client, protection })
    }

    fn is_at_the_place_of(&self, settings: &ResourceAuthorizationServerSettings) -> bool {
        self.settings.issuer == settings.issuer
            && self.settings.token_endpoint == settings.token_endpoint
            && self.settings.extra_roots == settings.extra_roots
    }

    /// What the configuration says about it.
    pub fn settings(&self) -> &ResourceAuthorizationServerSettings {
        &self.settings
    }

    /// What it is called in errors and metrics: its issuer's name and its own, as `corp/crm`.
    pub fn label(&self) -> &IssuerName {
        &self.label
    }

    /// The client for calls to it.
    pub fn client(&self) -> &OutboundClient {
        &self.client
    }

    /// What keeps it from being asked too much.
    pub fn protection(&self) -> &Protection {
        &self.protection
    }
}
