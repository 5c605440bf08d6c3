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
    /// It closed the connection before anything was sent.
    #[error("the connector closed the connection before the request was sent: {0}")]
    Unsent(String),
    /// It broke off, or answered what is not HTTP.
    #[error("the connector broke off before it answered: {0}")]
    Broke(String),
    /// It wants to speak another protocol, which nobody asked for.
    #[error("the connector answered 101")]
    Upgraded,
    /// Its address with the request's path is no address.
    #[error("the address to forward to cannot be formed")]
    Address,
    /// It throttles this caller.
    #[error("the connector throttles this caller{}", wanted(.retry_after))]
    Throttled {
        /// When it wants to be asked again, where it says so.
        retry_after: Option<Duration>,
    },
    /// It throttled this caller a moment ago, and is not asked.
    #[error("the connector throttles this caller, and is not asked for {retry_after:?}")]
    LeftAlone {
        /// For how long still.
        retry_after: Duration,
    },
    /// It cannot serve for a while.
    #[error("the connector does not serve for {retry_after:?}, as it says")]
    Busy {
        /// For how long, as it says.
        retry_after: Duration,
    },
    /// It has failed again and again, and is not asked.
    #[error("the connector has failed again and again, and is not asked for {retry_after:?}")]
    CircuitOpen {
        /// For how long still.
        retry_after: Duration,
    },
    /// The agent stopped sending.
    #[error("the agent's body stalled")]
    UploadStalled,
    /// The agent broke off while sending.
    #[error("the agent's body broke off")]
    UploadBroke,
}

/// The delay that a connector wants, in a phrase.
fn wanted(retry_after: &Option<Duration>) -> String {
    retry_after.map(|delay| format!(", for {delay:?} as it says")).unwrap_or_default()
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

    /// Whether another way was made of the same settings.
    pub fn is_as(&self, other: &Self) -> bool {
        self.settings == other.settings
    }

    /// How long to wait for the connector.
    pub fn timeouts(&self) -> ConnectorTimeouts {
        self.settings.timeouts
    }

    /// Sends a request and waits for the head of the answer, for so much `time` from the last of the request on.
    ///
    /// # Errors
    ///
    /// [`ForwardError`] when there is none.
    pub async fn send(
        &self,
        delegated: Delegated,
        body: UploadBody,
        upload: &Upload,
        time: Duration,
    ) -> Result<Response<Incoming>, ForwardError> {
        let mut request = Request::new(body);
        *request.method_mut() = delegated.method().clone();
        *request.uri_mut() = self.address(delegated.target())?;
        *request.headers_mut() = delegated.into_headers();
        let response = tokio::select! {
            biased;
            answer = self.client.request(request) => answer.map_err(|error| classify(&error, upload))?,
            () = response_deadline(upload, time) => {
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
    // Of a request that was not begun, hyper says that it was cancelled. On a connection that was used before, it has tried again.
    let is_unsent = |cause: &(dyn StdError + 'static)| {
        cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled)
    };
    match error.is_connect() {
        true => ForwardError::Unreachable(cause),
        false if causes().any(is_unsent) => ForwardError::Unsent(cause),
        false => ForwardError::Broke(cause),
    }
}
