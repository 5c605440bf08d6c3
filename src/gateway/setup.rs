//! A gateway, made from one configuration and from what outlives it.

use std::sync::Arc;

use super::forward::ConnectorSockets;
use super::gate::Gate;
use super::routes::Routes;
use super::well_known::WellKnown;
use super::{
    CallBounds, Calls, Catalog, ConnectorSettings, Gateway, Handles, MemoryBounds, PublicSettings, StateKey,
    UpstreamError,
};
use crate::audit::{AuditLog, Exchanges, Privacy, Recorder};
use crate::confirmation::Questions;
use crate::connections::Connections;
use crate::credential::{CredentialCache, Credentials};
use crate::limit::Limits;
use crate::metrics::Metrics;
use crate::oauth::authorization_server::AuthorizationServers;
use crate::oauth::dpop::{ProofChecker, ProofMemory};
use crate::oauth::verifier::Verifier;
use crate::pages::{Browsers, Pages};
use crate::policy::Policy;
use crate::tool::ConnectorName;

/// What outlives a reload.
#[derive(Clone)]
pub struct Shared {
    /// Delegated tokens. Their keys hold the settings they were obtained under, so a new configuration finds only
    /// those that it would have obtained itself.
    pub cache: Arc<CredentialCache>,
    /// The audit trail.
    pub audit: AuditLog,
    /// The exchanges under way.
    pub exchanges: Exchanges,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The calls under way.
    pub calls: Calls,
    /// The connections to connectors.
    pub sockets: Arc<ConnectorSockets>,
    /// Which DPoP proofs have been used.
    pub proofs: Arc<ProofMemory>,
    /// Whose sessions and tasks at MCP servers are whose.
    pub handles: Arc<Handles>,
    /// What seals the calls at MCP servers that wait for their person.
    pub states: Arc<StateKey>,
    /// Who is signed in to the pages.
    pub browsers: Arc<Browsers>,
    /// What people are asked before it runs.
    pub questions: Arc<Questions>,
}

/// What one configuration comes to.
pub struct Setup {
    /// The authorization servers, by issuer.
    pub servers: AuthorizationServers,
    /// The connectors.
    pub connectors: Vec<ConnectorSettings>,
    /// Who may call what.
    pub policy: Policy,
    /// How the gateway is reached.
    pub public: PublicSettings,
    /// How much memory people's tokens may take.
    pub memory: MemoryBounds,
    /// What a call may be at most.
    pub bounds: CallBounds,
    /// What records say of people.
    pub privacy: Arc<Privacy>,
    /// People's own connections; `None`: there is no vault.
    pub connections: Option<Arc<Connections>>,
}

impl Gateway {
    /// A gateway for one configuration. What `previous` has open to connectors is taken over where nothing about one has changed.
    ///
    /// # Errors
    ///
    /// The connector that cannot be reached as configured, and why.
    pub fn new(
        setup: Setup,
        shared: Shared,
        previous: Option<&Self>,
    ) -> Result<Self, (ConnectorName, UpstreamError)> {
        let Setup { servers, connectors, policy, public, memory, bounds, privacy, connections } = setup;
        let Shared {
            cache,
            audit,
            exchanges,
            metrics,
            calls,
            sockets,
            proofs: used_proofs,
            handles,
            states,
            browsers,
            questions,
        } = shared;
        let recorder = Recorder::new(audit.clone(), privacy, exchanges);
        let requires_nonce = public.requires_dpop_nonce;
        let proofs =
            public.public_url.as_ref().map(|url| ProofChecker::new(url, requires_nonce, used_proofs));
        let gate = |connector: &ConnectorSettings| Gate::new(connector, &servers, &public);
        let catalog = Catalog::of(&connectors, &policy);
        let limited = connectors.iter().map(|connector| (&connector.name, &connector.limits));
        let limits = Limits::new(limited, previous.map(|previous| &previous.limits), &metrics);
        let routes = Routes::new(
            connectors,
            gate,
            &limits,
            &metrics,
            &sockets,
            previous.map(|previous| &previous.routes),
        )?;
        let pages = public.pages.map(|settings| {
            let (servers, browsers, questions) =
                (Arc::clone(&servers), Arc::clone(&browsers), Arc::clone(&questions));
            Pages::new(settings, servers, browsers, questions, connections.clone(), recorder.clone())
        });
        Ok(Self {
            well_known: WellKnown::new(&routes, &servers),
            pages,
            browsers,
            questions,
            routes,
            limits,
            verifier: Verifier::new(Arc::clone(&servers), proofs, memory.verified_bytes_max),
            policy: Arc::new(policy),
            handles,
            states,
            credentials: Credentials::new(
                Arc::clone(&servers),
                Arc::clone(&cache),
                recorder.clone(),
                Arc::clone(&metrics),
            )
            .with_connections(Arc::clone(&servers), connections.clone()),
            connections,
            cache,
            bounds,
            audit,
            recorder,
            no_connector: metrics.no_connector(),
            catalog,
            metrics,
            servers,
            calls,
        })
    }
}
