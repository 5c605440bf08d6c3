//! To the connector: pooled connections, streamed both ways, within deadlines.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::io::Errno;
use rustls::pki_types::CertificateDer;
use tower::timeout::error::Elapsed;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder, ServiceExt as _};

use super::rewrite::Delegated;
use super::settings::ConnectorSettings;
use super::upload::{Upload, UploadBody, UploadEnd};
use crate::checked_url::CheckedUrl;
use crate::limit::Busy;
use crate::tls;

mod connection;
mod http1;
mod pool;
mod sockets;

use connection::{Connection, ConnectionError, Origin, Stream, Unanswered};
use pool::Pool;
use sockets::SocketPlace;

pub use connection::ConnectorStream;
#[cfg(any(fuzzing, test))]
pub(crate) use http1::read_connector_answer;
pub use sockets::ConnectorSockets;

/// How often an HTTP/2 connection is asked whether the connector is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long the answer to that may take, after which the connection is given up.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Why the connector gave no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ForwardError {
    /// No connection could be made.
    #[error("could not connect to the connector: {0}")]
    Unreachable(String),
    /// No connection could be made, since the gateway has no file descriptors or memory for it, or as many as there may be.
    #[error("the gateway could not open a connection to the connector: {0}")]
    Exhausted(String),
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
    #[error("the connector gave no answer that can be used: {0}")]
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
    #[error("the connector throttles this caller, and is not asked for {retry_after:.0?}")]
    LeftAlone {
        /// For how long still.
        retry_after: Duration,
    },
    /// It cannot serve for a while.
    #[error("the connector does not serve for {retry_after:.0?}, as it says")]
    NotReady {
        /// For how long, as it says.
        retry_after: Duration,
    },
    /// It has failed again and again, and is not asked.
    #[error("the connector has failed again and again, and is not asked for {retry_after:.0?}")]
    CircuitOpen {
        /// For how long still.
        retry_after: Duration,
    },
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

/// The delay that a connector wants, in a phrase.
fn wanted(retry_after: &Option<Duration>) -> String {
    retry_after.map(|delay| format!(", for {delay:.0?} as it says")).unwrap_or_default()
}

/// One connector over the network, with its pool of connections.
pub struct Upstream {
    connect: Connect,
    pool: Arc<Pool>,
    sockets: Arc<ConnectorSockets>,
    origin: Origin,
    base_path: String,
    settings: UpstreamSettings,
}

/// Makes connections, TLS included, within a deadline.
type Connect = BoxCloneSyncService<Uri, Stream, BoxError>;

/// What shapes connections to a connector. While it stays the same, a reload keeps them.
#[derive(PartialEq, Eq)]
struct UpstreamSettings {
    address: CheckedUrl,
    extra_roots: Vec<CertificateDer<'static>>,
    connect_timeout: Duration,
}

/// Why no connections to a connector can be made.
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
    /// That of a connector, with connections among `sockets`; `previous` is taken over when nothing has changed that shapes them.
    ///
    /// # Errors
    ///
    /// [`UpstreamError`] when its address or certificate authorities cannot be used.
    pub fn of(
        connector: &ConnectorSettings,
        sockets: &Arc<ConnectorSockets>,
        previous: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, UpstreamError> {
        let settings = UpstreamSettings {
            address: connector.upstream.clone(),
            extra_roots: connector.extra_roots.clone(),
            connect_timeout: connector.timeouts.connect,
        };
        if let Some(previous) = previous.filter(|previous| previous.settings == settings) {
            return Ok(Arc::clone(previous));
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls::client_config(&settings.extra_roots)?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        let connect = ServiceBuilder::new().timeout(settings.connect_timeout).service(https);
        let address = settings.address.as_url();
        let authority = match address.port() {
            Some(port) => format!("{}:{port}", settings.address.host()),
            None => settings.address.host().to_owned(),
        };
        let authority: Authority = authority.parse()?;
        Ok(Arc::new(Self {
            connect: Connect::new(connect),
            pool: Pool::new(Arc::clone(sockets)),
            sockets: Arc::clone(sockets),
            origin: Origin {
                scheme: if address.scheme() == "http" { Scheme::HTTP } else { Scheme::HTTPS },
                host: HeaderValue::from_str(authority.as_str()).expect("an authority is plain ASCII"),
                authority,
            },
            base_path: address.path().trim_end_matches('/').to_owned(),
            settings,
        }))
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
    ) -> Result<Response<ConnectorStream>, ForwardError> {
        let mut request = Request::new(body);
        *request.method_mut() = delegated.method().clone();
        *request.uri_mut() = self.target(delegated.target())?;
        *request.headers_mut() = delegated.into_headers();
        let response = tokio::select! {
            biased;
            answer = self.send_on_some_connection(request) => answer.map_err(|error| error.classify(upload))?,
            () = response_deadline(upload, time) => {
                return Err(ForwardError::ResponseTimedOut);
            }
        };
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => Err(ForwardError::Upgraded),
            _ => Ok(response),
        }
    }

    /// Sends a request on a connection that is there, or on a new one. One that was closed before anything was sent is no answer:
    /// the next one is tried.
    async fn send_on_some_connection(
        &self,
        mut request: Request<UploadBody>,
    ) -> Result<Response<ConnectorStream>, SendError> {
        loop {
            let (connection, is_new) = match self.pool.take() {
                Some(connection) => (connection, false),
                // Seldom, and large: the future of a call must not have room for it.
                None => Box::pin(self.connect_or_next()).await.map_err(SendError::Connect)?,
            };
            let Unanswered { unsent, error } = match connection.send(request, &self.origin, &self.pool).await
            {
                Ok(response) => return Ok(response),
                Err(unanswered) => unanswered,
            };
            request = match unsent {
                Some(request) if !is_new => request,
                Some(_) => return Err(SendError::Unsent(error)),
                None => return Err(SendError::Broke(error)),
            };
        }
    }

    /// A new connection, or one that others are done with sooner; and whether it is new.
    async fn connect_or_next(&self) -> Result<(Connection, bool), BoxError> {
        let mut next = self.pool.next();
        let place = tokio::time::timeout(self.settings.connect_timeout, self.sockets.acquire());
        let place = tokio::select! {
            biased;
            Ok(connection) = &mut next => return Ok((connection, false)),
            place = place => place.map_err(|_| NoSocket)?,
        };
        let mut connecting = Box::pin(self.connect(place)?);
        tokio::select! {
            biased;
            Ok(connection) = &mut next => {
                // The new one is for whoever comes next.
                self.pool.finish(connecting);
                Ok((connection, false))
            }
            connected = &mut connecting => {
                next.close();
                // Another may have come in the same moment.
                if let Ok(Connection::Http1(other)) = next.try_recv() {
                    self.pool.put(other);
                }
                Ok((connected?, true))
            }
        }
    }

    /// Has a connection made in this place. It goes on whoever waits for it.
    fn connect(
        &self,
        place: SocketPlace,
    ) -> Result<impl Future<Output = Result<Connection, BoxError>> + Send + use<>, http::Error> {
        let Origin { scheme, authority, .. } = &self.origin;
        let address = Uri::builder().scheme(scheme.clone()).authority(authority.clone());
        let connecting = self.connect.clone().oneshot(address.path_and_query("/").build()?);
        let pool = Arc::clone(&self.pool);
        Ok(async move {
            let connection = Connection::open(connecting.await?, place).await?;
            if let Connection::Http2(sender) = &connection {
                pool.share(sender.clone());
            }
            Ok(connection)
        })
    }

    /// The address of `target` on this connector, as HTTP/1 has it.
    fn target(&self, target: &str) -> Result<Uri, ForwardError> {
        let target = match [&*self.base_path, target].concat() {
            target if target.starts_with('/') => target,
            target => format!("/{target}"),
        };
        PathAndQuery::try_from(target).map(Uri::from).map_err(|_| ForwardError::Address)
    }
}

/// There may be no other connection to a connector, and none has gone in time.
#[derive(Debug, thiserror::Error)]
#[error("there are as many as there may be")]
struct NoSocket;

/// Why a connector gave no answer, as those say it who have asked.
enum SendError {
    /// There is no connection.
    Connect(BoxError),
    /// It was closed before anything was sent.
    Unsent(ConnectionError),
    /// It was closed, and nobody knows how much was sent.
    Broke(ConnectionError),
}

impl SendError {
    fn classify(self, upload: &Upload) -> ForwardError {
        match (upload.end(), self) {
            (Some(UploadEnd::Stalled), _) => ForwardError::UploadStalled,
            (Some(UploadEnd::Broke), _) => ForwardError::UploadBroke,
            (None, Self::Connect(error)) if error.is::<Elapsed>() => ForwardError::ConnectTimedOut,
            (None, Self::Connect(error)) if error.is::<NoSocket>() || is_exhausted(&*error) => {
                ForwardError::Exhausted(plain_cause(&*error))
            }
            (None, Self::Connect(error)) => ForwardError::Unreachable(plain_cause(&*error)),
            (None, Self::Unsent(error)) => ForwardError::Unsent(plain_cause(&error)),
            (None, Self::Broke(error)) => ForwardError::Broke(plain_cause(&error)),
        }
    }
}

/// Whether it is the gateway's own system that has no more of something.
fn is_exhausted(error: &(dyn StdError + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |cause| (*cause).source());
    let mut errors = causes.filter_map(|cause| cause.downcast_ref::<io::Error>());
    errors.any(|error| {
        matches!(
            Errno::from_io_error(error),
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
        )
    })
}

/// The last cause is the plain one: "connection refused", not "tcp connect error".
fn plain_cause(error: &dyn StdError) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_without_descriptors_does_not_blame_the_connector() {
        let connect = |errno: Errno| SendError::Connect(Box::new(io::Error::from(errno)));
        let (_, upload) = UploadBody::read(bytes::Bytes::new());
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            let error = connect(errno).classify(&upload);
            assert!(matches!(error, ForwardError::Exhausted(_)), "{error}");
        }
        let refused = connect(Errno::CONNREFUSED).classify(&upload);
        assert!(matches!(refused, ForwardError::Unreachable(_)), "{refused}");
    }
}
