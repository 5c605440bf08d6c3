//! Sockets, TLS, limits, drain, and the admin endpoints.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Where the gateway listens, and its limits there.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address that agents call.
    pub listen: SocketAddr,
    /// The certificate and key shown to agents; `None`: plain HTTP.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The address of the admin endpoints.
    pub admin: SocketAddr,
    /// How long running calls may take to finish when the gateway stops.
    pub drain_timeout: Duration,
}
