//! The story of a tool call.
//!
//! One function tells it ([`Gateway::tell`]); each stage returns a value that only it can make, and the next one
//! asks for that value. Around it, [`Gateway::handle`] begins the record, turns a refusal into an answer, and lets
//! the record ride in the answer's body, so that it is written exactly once, even when the agent hangs up.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use http::{HeaderName, Request, Response};
use hyper::body::Incoming;
use rustls::pki_types::CertificateDer;

use crate::audit::{AuditLog, Ending, RequestId};
use crate::checked_url::CheckedUrl;
use crate::clock::Now;
use crate::credential::{CredentialCache, Credentials};
use crate::identity::{Issuer, IssuerName, Peer};
use crate::metrics::{Metrics, ToolMetrics};
use crate::oauth::authorization_server::AuthorizationServer;
use crate::oauth::verifier::Verifier;
use crate::policy::Policy;
use crate::tool::{ConnectorName, Tool};

mod authenticate;
mod body;
mod call;
mod forward;
pub mod path;
mod refusal;
mod request;
pub mod rest;
pub mod rewrite;
mod routes;

pub use authenticate::AuthenticateError;
pub use body::{Body, BodyError};
pub use forward::{ForwardError, UpstreamError};
pub use refusal::{Answer, Challenge, Refusal};
pub use request::RequestError;

use body::UploadBody;
use call::Call;
use path::{CanonicalPath, ConnectorPath};
use rest::ToolMatch;
use routes::{Routes, accepts_issuer};

/// Everything a call needs, made from one configuration. A reload makes a new one; a call keeps the one it began
/// with.
pub struct Gateway {
    verifier: Verifier,
    routes: Routes,
    policy: Policy,
    credentials: Credentials,
    audit: AuditLog,
    metrics: Arc<Metrics>,
    /// How calls are counted that reach no connector.
    no_connector: Arc<ToolMetrics>,
    servers: AuthorizationServers,
    cut: Arc<AtomicBool>,
}

/// What outlives a reload.
#[derive(Clone)]
pub struct Shared {
    /// Delegated tokens. Their keys hold the settings they were obtained under, so a new configuration finds only
    /// those that it would have obtained itself.
    pub cache: Arc<CredentialCache>,
    /// The audit trail.
    pub audit: AuditLog,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Whether the gateway ends calls that still run, because its time to stop is over.
    pub cut: Arc<AtomicBool>,
}

/// Authorization servers by the exact `iss` of their tokens.
pub type AuthorizationServers = Arc<HashMap<Issuer, Arc<AuthorizationServer>>>;

impl Gateway {
    /// A gateway for these connectors and this policy. Connections of `previous` are taken over where nothing about
    /// a connector has changed.
    ///
    /// # Errors
    ///
    /// The connector that cannot be reached as configured, and why.
    pub fn new(
        servers: AuthorizationServers,
        connectors: Vec<ConnectorSettings>,
        policy: Policy,
        shared: Shared,
        previous: Option<&Self>,
    ) -> Result<Self, (ConnectorName, UpstreamError)> {
        let Shared { cache, audit, metrics, cut } = shared;
        Ok(Self {
            routes: Routes::new(connectors, &metrics, previous.map(|previous| &previous.routes))?,
            verifier: Verifier::new(Arc::clone(&servers)),
            policy,
            credentials: Credentials::new(Arc::clone(&servers), cache, Arc::clone(&metrics)),
            audit,
            no_connector: metrics.no_connector(),
            metrics,
            servers,
            cut,
        })
    }

    /// The issuers, and whether the keys of each are known.
    pub fn issuers(&self) -> impl Iterator<Item = (&IssuerName, bool)> {
        self.servers.values().map(|server| (&server.settings().name, server.key_set().generation() > 0))
    }

    /// The authorization servers, by issuer.
    pub fn authorization_servers(&self) -> &AuthorizationServers {
        &self.servers
    }

    /// What still runs is cut from here on, and its records say so.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// Where calls are recorded.
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// Answers one request. It always answers, and what happened is recorded exactly once.
    pub async fn handle(&self, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let arrived = Now::read();
        let slot = match self.audit.reserve() {
            Ok(slot) => slot,
            Err(unavailable) => return self.refuse_unrecorded(&unavailable.into()),
        };
        let (no_connector, metrics) = (Arc::clone(&self.no_connector), Arc::clone(&self.metrics));
        let cut = Arc::clone(&self.cut);
        let mut call = Box::new(Call::begin(&request, peer, arrived, slot, no_connector, metrics, cut));
        match AssertUnwindSafe(self.tell(request, &mut call)).catch_unwind().await {
            Ok(Ok(answer)) => answer.into_response(call),
            Ok(Err(refusal)) => self.refuse(&refusal, call, Ending::Refused),
            Err(_) => self.refuse(&Refusal::Panicked, call, Ending::Panicked),
        }
    }

    /// The story.
    async fn tell(&self, request: Request<Incoming>, call: &mut Call) -> Result<ConnectorAnswer, Refusal> {
        let now = call.arrived();
        let (head, body) = request.into_parts();
        let request = Request::from_parts(head, ());
        request::check(&request)?;
        let path = CanonicalPath::parse(request.uri().path())?;
        let connector = self.routes.connector(path).ok_or(Refusal::NoConnector)?;
        call.record.connector = Some(connector.name.clone());
        call.counts_as(&connector.metrics);

        let caller = authenticate::authenticate(&self.verifier, request.headers(), now).await?;
        call.record.caller = Some(Arc::clone(&caller));

        let rest = connector.rest_of(path);
        let found = connector.identify(request.method(), rest).ok_or(Refusal::NoTool)?;
        call.record.tool = Some(Arc::clone(&found.tool));
        call.counts_as(&found.metrics);

        require(&found.tool, &caller)?;
        let permit = self.policy.decide(caller, Arc::clone(&found.tool))?;
        call.record.rule = Some(permit.rule().clone());

        let credential = self.credentials.obtain(&permit, now).await?;
        call.record.lookup = Some(credential.lookup());
        call.record.granted = credential.granted().cloned();
        call.record.obtained_after = Some(call.elapsed());

        let headers = rewrite::request_headers(
            request.headers(),
            request.version(),
            &connector.pass_headers,
            &credential,
            call.request_id(),
        );
        let upstream = &connector.upstream;
        let (body, upload) = UploadBody::new(body, upstream.timeouts().idle);
        call.uploads(&upload);
        let forwarded = Instant::now();
        let (method, query) = (request.method().clone(), request.uri().query());
        let mut response = upstream.send(method, rest, query, headers, body, &upload).await?;
        call.record.connector_request_id = response.headers().get("request-id").cloned();
        let status = response.status();
        rewrite::answer_headers(response.headers_mut(), status, credential.identity(), call.request_id());
        Ok(ConnectorAnswer {
            response,
            connector_latency: forwarded.elapsed(),
            idle_timeout: upstream.timeouts().idle,
        })
    }

    fn refuse(&self, refusal: &Refusal, mut call: Box<Call>, ending: Ending) -> Response<Body> {
        let answer = refusal.answer();
        let note = refusal.note(&answer);
        if let Refusal::Unauthenticated(_) = refusal {
            self.metrics.authentication_failed(answer.code);
        }
        tracing::debug!(request_id = %call.request_id(), code = answer.code, detail = %note.detail, "Call refused");
        let request_id = call.request_id();
        let mut response = answer.response(&note, request_id);
        rewrite::mark(response.headers_mut(), request_id);
        call.refused(note, answer.status, ending);
        response.map(|bytes| Body::whole(bytes, Some(call)))
    }

    /// The one answer without a record: that there can be none.
    fn refuse_unrecorded(&self, refusal: &Refusal) -> Response<Body> {
        let answer = refusal.answer();
        self.no_connector.ended(answer.code, Duration::ZERO);
        let request_id = RequestId::next();
        let mut response = answer.response(&refusal.note(&answer), request_id);
        rewrite::mark(response.headers_mut(), request_id);
        response.map(|bytes| Body::whole(bytes, None))
    }
}

/// The connector's answer, on its way to the agent.
struct ConnectorAnswer {
    response: Response<Incoming>,
    connector_latency: Duration,
    idle_timeout: Duration,
}

impl ConnectorAnswer {
    fn into_response(self, mut call: Box<Call>) -> Response<Body> {
        call.answered(self.response.status(), self.connector_latency);
        self.response.map(|body| Body::from_connector(body, self.idle_timeout, call))
    }
}

/// What a tool asks of the caller's token, before policy is asked about the person.
fn require(tool: &Tool, caller: &crate::identity::Caller) -> Result<(), Refusal> {
    if !accepts_issuer(tool, caller) {
        return Err(Refusal::IssuerNotAccepted);
    }
    let missing = tool.required_scopes.missing_from(caller.scopes());
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Refusal::Scopes { required: tool.required_scopes.clone(), missing }),
    }
}

/// Everything the configuration says about one connector, checked.
#[derive(Clone, Debug)]
pub struct ConnectorSettings {
    /// Its name in the configuration.
    pub name: ConnectorName,
    /// The path under which agents call it.
    pub path: ConnectorPath,
    /// Where calls go. What follows the connector's path in a request is appended to this address's path.
    pub upstream: CheckedUrl,
    /// Certificate authorities trusted beside those of the system.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// What agents can call.
    pub tools: Tools,
    /// Request headers that are let through beside the standard ones.
    pub pass_headers: Vec<HeaderName>,
    /// How long to wait for it.
    pub timeouts: ConnectorTimeouts,
}

/// What agents can call on a connector.
#[derive(Clone, Debug)]
pub enum Tools {
    /// The connector lists no tools: all of it is one tool.
    Any(Arc<Tool>),
    /// These alone.
    Listed(Vec<(ToolMatch, Arc<Tool>)>),
}

/// How long to wait for a connector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectorTimeouts {
    /// To be connected, TLS included.
    pub connect: Duration,
    /// From the last byte of the request to the first of the answer.
    pub response: Duration,
    /// Between two pieces of a body, in either direction.
    pub idle: Duration,
}

impl Default for ConnectorTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            response: Duration::from_secs(60),
            // Longer than the keep-alive comments that event streams send, commonly every 15 to 60 seconds.
            idle: Duration::from_secs(300),
        }
    }
}
