//! To the connector: pooled connections, streamed both ways, within deadlines.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tower::timeout::error::Elapsed;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder};

use super::rewrite::Delegated;
use super::settings::{ConnectorSettings, ConnectorTimeouts};
use super::upload::{Upload, UploadBody, UploadEnd};
use crate::checked_url::CheckedUrl;
use crate::limit::Busy;
use crate::tls;

/// How long a connection to a connector is kept when nobody uses it: less than the 60 seconds after which common
/// servers close it, so that the gateway closes first.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// Most idle connections kept for one connector: as many calls at a time need no new handshake.
const POOL_IDLE_MAX: usize = 256;

/// Why the connector gave no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ForwardError {
    /// No connection could be made.
    #[error("could not connect to the connector: {0}")]
    Unreachable(String),
    /// A connection was not made in time.
    #[error("the connector did not accept a connection in time")]
    ConnectTimedOut,
    /// It did not begin to answer in time.
    #[error("the connector did not answer in time")]
    ResponseTimedOut,
    /// It broke off, or answered what is not HTTP.
    #[error("the connector broke off before it answered: {0}")]
    Broke(String),
    /// It wants to speak another protocol, which nobody asked for.
    #[error("the connector answered 101")]
    Upgraded,
    /// Its address with the request's path is no address.
    #[error("the address to forward to cannot be formed")]
    Address,
    /// It has too many calls already, and this one was not sent.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The agent stopped sending.
    #[error("the agent's body stalled")]
    UploadStalled,
    /// The agent broke off while sending.
    #[error("the agent's body broke off")]
    UploadBroke,
}

/// The way to one connector, with its pool of connections.
#[derive(Clone)]
pub struct Upstream {
    client: Client<Connect, UploadBody>,
    scheme: Scheme,
    authority: Authority,
    base_path: Arc<str>,
    settings: UpstreamSettings,
}

/// Makes connections, TLS included, within a deadline.
type Connect = BoxCloneSyncService<Uri, MaybeHttpsStream<TokioIo<TcpStream>>, BoxError>;

/// What shapes a way to a connector. While it stays the same, a reload keeps the connections.
#[derive(Clone, PartialEq, Eq)]
struct UpstreamSettings {
    address: CheckedUrl,
    extra_roots: Vec<CertificateDer<'static>>,
    timeouts: ConnectorTimeouts,
}

/// Why a way to a connector cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// One of its certificate authorities cannot be used.
    #[error("its certificate authorities cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    /// Its address is not one that HTTP can use.
    #[error("its address cannot be used: {0}")]
    Address(#[from] http::uri::InvalidUri),
}

impl Upstream {
    /// The way to a connector; `previous` is taken over when nothing about it has changed.
    ///
    /// # Errors
    ///
    /// [`UpstreamError`] when its address or certificate authorities cannot be used.
    pub fn new(connector: &ConnectorSettings, previous: Option<&Self>) -> Result<Self, UpstreamError> {
        let settings = UpstreamSettings {
            address: connector.upstream.clone(),
            extra_roots: connector.extra_roots.clone(),
            timeouts: connector.timeouts,
        };
        if let Some(previous) = previous.filter(|previous| previous.settings == settings) {
            return Ok(previous.clone());
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls::client_config(&settings.extra_roots)?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        let connect = ServiceBuilder::new().timeout(settings.timeouts.connect).service(https);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(POOL_IDLE_MAX)
            .build(Connect::new(connect));
        let address = settings.address.as_url();
        let authority = match address.port() {
            Some(port) => format!("{}:{port}", settings.address.host()),
            None => settings.address.host().to_owned(),
        };
        Ok(Self {
            client,
            scheme: if address.scheme() == "http" { Scheme::HTTP } else { Scheme::HTTPS },
            authority: authority.parse()?,
            base_path: address.path().trim_end_matches('/').into(),
            settings,
        })
    }

    /// How long to wait for the connector.
    pub fn timeouts(&self) -> ConnectorTimeouts {
        self.settings.timeouts
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    ///
    /// [`ForwardError`] when there is none.
    pub async fn send(
        &self,
        delegated: Delegated,
        body: UploadBody,
        upload: &Upload,
    ) -> Result<Response<Incoming>, ForwardError> {
        let mut request = Request::new(body);
        *request.method_mut() = delegated.method().clone();
        *request.uri_mut() = self.address(delegated.target())?;
        *request.headers_mut() = delegated.into_headers();
        let response = tokio::select! {
            biased;
            answer = self.client.request(request) => answer.map_err(|error| classify(&error, upload))?,
            () = response_deadline(upload, self.settings.timeouts.response) => {
                return Err(ForwardError::ResponseTimedOut);
            }
        };
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => Err(ForwardError::Upgraded),
            _ => Ok(response),
        }
    }

    /// The address of `target` on this connector.
    fn address(&self, target: &str) -> Result<Uri, ForwardError> {
        let target = match [&*self.base_path, target].concat() {
            empty if empty.is_empty() => "/".to_owned(),
            target => target,
        };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(|_| ForwardError::Address)?);
        Uri::from_parts(parts).map_err(|_| ForwardError::Address)
    }
}

/// Ends when the connector has had its time to answer, counted from the last piece of the request. While the agent
/// is still to send more, it is the upload's own deadline that counts.
async fn response_deadline(upload: &Upload, timeout: Duration) {
    loop {
        let now = Instant::now();
        let last_progress = if upload.waits_for_agent() { now } else { upload.last_progress() };
        match last_progress.checked_add(timeout) {
            Some(deadline) if deadline > now => tokio::time::sleep_until(deadline.into()).await,
            Some(_) | None => return,
        }
    }
}

fn classify(error: &ClientError, upload: &Upload) -> ForwardError {
    match upload.end() {
        Some(UploadEnd::Stalled) => return ForwardError::UploadStalled,
        Some(UploadEnd::Broke) => return ForwardError::UploadBroke,
        None => {}
    }
    let causes = || std::iter::successors(Some(error as &(dyn StdError + 'static)), |&error| error.source());
    if causes().any(|cause| cause.is::<Elapsed>()) {
        return ForwardError::ConnectTimedOut;
    }
    // The last cause is the plain one: "connection refused", not "client error (Connect)".
    let cause = causes().last().map(ToString::to_string).unwrap_or_default();
    match error.is_connect() {
        true => ForwardError::Unreachable(cause),
        false => ForwardError::Broke(cause),
    }
}
