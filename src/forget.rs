//! `obo-gateway forget`: asks the running gateway to drop all that it holds for a person.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use url::Url;

use crate::config::{self, LoadError, NamedPerson};

/// Longest wait for the gateway's answer, which waits for the disk of the vault and for that of the audit trail.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(45);

/// Why nobody was forgotten.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// The gateway could not be asked.
    #[error("no answer from the gateway at {address}: is it running?")]
    Unreachable {
        /// Its admin address.
        address: SocketAddr,
        /// Why.
        source: reqwest::Error,
    },
    /// The gateway said no.
    #[error("the gateway says {status}: {text}")]
    Refused {
        /// The status of its answer.
        status: u16,
        /// What it says.
        text: String,
    },
}

/// Asks the gateway that runs with the configuration at `path`, on this machine; returns its answer, as JSON.
///
/// # Errors
///
/// [`ForgetError`] when nobody was forgotten.
pub async fn forget(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    person: &NamedPerson,
) -> Result<String, ForgetError> {
    let address = reachable(config::load(path, environment)?.config.server.admin);
    let unreachable = |source| ForgetError::Unreachable { address, source };
    let mut url: Url = format!("http://{address}/forget").parse().expect("an address makes a URL");
    for (name, value) in [("issuer", &person.issuer), ("tenant", &person.tenant)] {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    url.query_pairs_mut().append_pair("subject", &person.subject);
    let client =
        reqwest::Client::builder().no_proxy().timeout(ANSWER_TIMEOUT).build().map_err(unreachable)?;
    let answer = client.post(url).send().await.map_err(unreachable)?;
    let status = answer.status();
    let text = answer.text().await.map_err(unreachable)?;
    match status.is_success() {
        true => Ok(text),
        false => Err(ForgetError::Refused { status: status.as_u16(), text: text.trim_end().to_owned() }),
    }
}

/// Where this machine reaches a listener that listens on every address.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}
