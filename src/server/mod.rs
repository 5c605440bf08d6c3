//! Sockets, TLS, limits, drain, and the admin endpoints. A connection becomes a peer; its requests go to the gateway.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use futures_util::FutureExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::gateway::Gateway;
use crate::identity::SecretToken;
use crate::metrics::Metrics;
use crate::worker::Workers;

mod activity;
mod admin;
mod bounds;
mod connection;
mod connection_limit;
mod deadlines;
mod descriptors;
mod forget;
mod passed;

#[cfg(any(fuzzing, test))]
pub(crate) use connection::serve_in_memory;

pub use bounds::ConnectionBounds;
pub use descriptors::{connector_connections_max, raise_descriptor_limit};
pub use passed::{HeldListeners, PassedError, PassedListeners};

use connection_limit::{ConnectionLimit, ConnectionPermit};
use descriptors::connections_max;

/// How long to wait after an accept that failed, which is when descriptors or memory have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long connections may take to end once they are cut: they only have to be dropped.
const CUT_TIMEOUT: Duration = Duration::from_secs(1);

/// Where the gateway listens, and its limits there.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The address that agents call.
    pub listen: SocketAddr,
    /// The certificate and key shown to agents; `None`: plain HTTP.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The address of the admin endpoints.
    pub admin: SocketAddr,
    /// What lets someone on another machine change something there.
    pub admin_token: Option<SecretToken>,
    /// How long running calls may take to finish when the gateway stops.
    pub drain_timeout: Duration,
    /// How much connections of agents may be, and how long what on them.
    pub bounds: ConnectionBounds,
}

/// What connections look at anew each time, so that a reload reaches them.
pub struct ServerState {
    gateway: ArcSwap<Gateway>,
    tls: ArcSwapOption<rustls::ServerConfig>,
    admin_token: ArcSwapOption<SecretToken>,
    drain_timeout: ArcSwap<Duration>,
    bounds: ArcSwap<ConnectionBounds>,
    connection_limit: Arc<ConnectionLimit>,
    draining: AtomicBool,
    metrics: Arc<Metrics>,
}

impl ServerState {
    /// The state of a server that has just started.
    pub fn new(gateway: Arc<Gateway>, settings: &ServerSettings, metrics: Arc<Metrics>) -> Self {
        Self {
            gateway: ArcSwap::new(gateway),
            tls: ArcSwapOption::new(settings.tls.clone()),
            admin_token: ArcSwapOption::new(settings.admin_token.clone().map(Arc::new)),
            drain_timeout: ArcSwap::from_pointee(settings.drain_timeout),
            bounds: ArcSwap::from_pointee(settings.bounds),
            connection_limit: Arc::new(ConnectionLimit::new(connections_max(
                settings.bounds.connections_max,
            ))),
            draining: AtomicBool::new(false),
            metrics,
        }
    }

    /// The gateway that calls go to.
    pub fn gateway(&self) -> Arc<Gateway> {
        self.gateway.load_full()
    }

    /// From here on, new requests go to this gateway, and new connections are made by these settings.
    pub fn replace(&self, gateway: Arc<Gateway>, settings: &ServerSettings) {
        self.gateway.store(gateway);
        self.tls.store(settings.tls.clone());
        self.admin_token.store(settings.admin_token.clone().map(Arc::new));
        self.drain_timeout.store(Arc::new(settings.drain_timeout));
        self.bounds.store(Arc::new(settings.bounds));
        self.connection_limit.set_max(connections_max(settings.bounds.connections_max));
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// The two listeners, bound.
pub struct Server {
    agents: TcpListener,
    /// Whether somebody else listens there as well: the service manager.
    agents_are_held: bool,
    admin: TcpListener,
    state: Arc<ServerState>,
    workers: Arc<Workers>,
    stop: Stop,
    connections: TaskTracker,
}

/// How connections are told to end.
#[derive(Clone, Default)]
struct Stop {
    /// Finish what has begun, and nothing more.
    finish: CancellationToken,
    /// End now.
    cut: CancellationToken,
}

impl Server {
    /// Binds both listeners, except those that are held already. Connections of agents go to `workers`.
    ///
    /// # Errors
    ///
    /// The key of the configuration whose address cannot be bound, and why.
    pub async fn bind(
        settings: &ServerSettings,
        held: HeldListeners,
        state: Arc<ServerState>,
        workers: Arc<Workers>,
    ) -> Result<Self, (&'static str, io::Error)> {
        let bind = async |key: &'static str, held: Option<std::net::TcpListener>, address: SocketAddr| {
            let listener = match held {
                Some(held) => {
                    tracing::info!(key, %address, "Listening on what the service manager passed");
                    held.set_nonblocking(true).and_then(|()| TcpListener::from_std(held))
                }
                None => TcpListener::bind(address).await,
            };
            listener.map_err(|error| (key, error))
        };
        Ok(Self {
            agents_are_held: held.agents.is_some(),
            agents: bind("listen", held.agents, settings.listen).await?,
            admin: bind("admin", held.admin, settings.admin).await?,
            state,
            workers,
            stop: Stop::default(),
            connections: TaskTracker::new(),
        })
    }

    /// The address that agents call, with the port that the system chose when none was given.
    ///
    /// # Errors
    ///
    /// When the system does not tell.
    pub fn agent_address(&self) -> io::Result<SocketAddr> {
        self.agents.local_addr()
    }

    /// The address of the admin endpoints.
    ///
    /// # Errors
    ///
    /// When the system does not tell.
    pub fn admin_address(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Serves until `drain` is cancelled; then says that it is not ready, accepts nothing more, and waits until the
    /// running calls have ended, within the deadline of the settings or until `at_once` is cancelled. Returns how many
    /// connections were cut.
    pub async fn serve(self, drain: CancellationToken, at_once: CancellationToken) -> usize {
        let admin = tokio::spawn(admin::serve(self.admin, Arc::clone(&self.state)));
        let hand_over = |stream: io::Result<std::net::TcpStream>, address, permit: ConnectionPermit| {
            let (state, stop) = (Arc::clone(&self.state), self.stop.clone());
            self.workers.spawn(self.connections.track_future(async move {
                match stream.and_then(TcpStream::from_std) {
                    Ok(stream) => connection::serve(stream, address, state, stop).await,
                    Err(error) => tracing::warn!(%error, "Serving a connection failed"),
                }
                drop(permit);
            }));
        };
        let mut door = Door::new(self.agents, Arc::clone(&self.state.connection_limit), &self.state.metrics);
        loop {
            let accepted = tokio::select! {
                biased;
                () = drain.cancelled() => break,
                accepted = door.accept() => accepted,
            };
            let Some((stream, address, permit)) = accepted else { continue };
            // It leaves this runtime's reactor, and joins its worker's.
            hand_over(stream.into_std(), address, permit);
        }
        self.state.draining.store(true, Ordering::Relaxed);
        // Nobody connects any more; those who are connected finish what they have begun. What comes to a listener that is held
        // elsewhere waits there for the next gateway.
        match self.agents_are_held {
            true => drop(door),
            // That there are no more is no trouble, and whatever else it says cannot be helped.
            false => _ = door.last_ones(&hand_over),
        }
        self.stop.finish.cancel();
        self.connections.close();
        let drain_timeout = **self.state.drain_timeout.load();
        let drained = tokio::select! {
            () = self.connections.wait() => true,
            () = tokio::time::sleep(drain_timeout) => false,
            () = at_once.cancelled() => false,
        };
        let cut = if drained { 0 } else { cut(&self.connections, &self.stop, &self.state).await };
        // The calls of an HTTP/2 connection are tasks of their own, and outlive it by a little.
        let calls = self.state.gateway().calls().clone();
        if tokio::time::timeout(CUT_TIMEOUT, calls.wait()).await.is_err() {
            tracing::error!("Calls left without their records");
        }
        admin.abort();
        cut
    }
}

/// Ends the connections that are left, and waits until their calls have been recorded.
async fn cut(connections: &TaskTracker, stop: &Stop, state: &ServerState) -> usize {
    let cut = connections.len();
    state.gateway().calls().cut();
    stop.cut.cancel();
    if tokio::time::timeout(CUT_TIMEOUT, connections.wait()).await.is_err() {
        tracing::error!(left = connections.len(), "Connections could not be cut");
    }
    cut
}

/// Most connections that are taken when no more are to come: as many as systems let wait (`net.core.somaxconn`). They come as fast as
/// they are taken, if somebody wants that.
const BACKLOG_MAX: usize = 4_096;

/// Where connections come in.
struct Door {
    listener: TcpListener,
    limit: Arc<ConnectionLimit>,
    metrics: Arc<Metrics>,
    /// Whether the last one could not be accepted, which has been said then.
    fails: bool,
}

impl Door {
    fn new(listener: TcpListener, limit: Arc<ConnectionLimit>, metrics: &Arc<Metrics>) -> Self {
        Self { listener, limit, metrics: Arc::clone(metrics), fails: false }
    }

    /// The next connection, once there is room for one.
    async fn accept(&mut self) -> Option<(TcpStream, SocketAddr, ConnectionPermit)> {
        let permit = self.limit.acquire().await;
        match self.listener.accept().await {
            Ok((stream, address)) => {
                if std::mem::take(&mut self.fails) {
                    tracing::info!("Connections are accepted again");
                }
                Some((stream, address, permit))
            }
            Err(error) => {
                self.metrics.accept_failures.inc();
                if !std::mem::replace(&mut self.fails, true) {
                    tracing::error!(%error, "Connections cannot be accepted");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }

    /// Closes it, after the connections that have come by now, as far as there is room: that would break them off. The system itself
    /// is asked, and not the reactor, which may not have heard of them yet.
    fn last_ones(
        self,
        mut hand_over: impl FnMut(io::Result<std::net::TcpStream>, SocketAddr, ConnectionPermit),
    ) -> io::Result<()> {
        let listener = self.listener.into_std()?;
        for _ in 0..BACKLOG_MAX {
            let Some(permit) = self.limit.acquire().now_or_never() else { break };
            // It ends with an error once nobody is left.
            let (stream, address) = listener.accept()?;
            hand_over(stream.set_nonblocking(true).map(|()| stream), address, permit);
        }
        Ok(())
    }
}
