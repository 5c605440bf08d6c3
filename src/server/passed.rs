//! Listeners that the service manager holds and passes on (`sd_listen_fds(3)`): connections that come while the gateway is restarted
//! wait there, and none is turned away.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

use super::ServerSettings;

/// Most listeners that are passed: one for each address of the configuration.
const LISTENERS_MAX: usize = 2;

/// The listeners that were passed, each with the name that it has, if any.
#[derive(Debug, Default)]
pub struct PassedListeners(Vec<(Option<String>, TcpListener)>);

/// Why what was passed cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PassedError {
    /// The variables contradict themselves, or there are too many.
    #[error("{0}")]
    Variables(String),
    /// It is something else, or nothing.
    #[error(
        "descriptor {descriptor} that the service manager passes is no listener for TCP: have one made with `ListenStream=`, and without `Accept=yes`"
    )]
    NoListener {
        /// Which one.
        descriptor: usize,
        /// What the system says, where it says something.
        source: Option<io::Error>,
    },
    /// The configuration has another address for it, or none.
    #[error(
        "the service manager passes a listener{name} on {address}, and the configuration has {configured}: write the same address in both"
    )]
    Elsewhere {
        /// Its name.
        name: Named,
        /// Its address.
        address: SocketAddr,
        /// The keys and addresses of the configuration that it could be.
        configured: String,
    },
    /// Two are for one address.
    #[error("the service manager passes two listeners for `{key}`")]
    Twice {
        /// The key of the configuration.
        key: &'static str,
    },
}

/// A name, as it stands in a sentence.
#[derive(Debug)]
pub struct Named(Option<String>);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(name) => write!(f, " that is called {name:?}"),
            None => Ok(()),
        }
    }
}

/// The listeners that are not to be bound any more.
#[derive(Debug, Default)]
pub struct HeldListeners {
    /// The one that agents call.
    pub agents: Option<TcpListener>,
    /// The one of the admin endpoints.
    pub admin: Option<TcpListener>,
}

impl PassedListeners {
    /// Takes over what was passed to this process, and unsets `LISTEN_PID` and `LISTEN_FDS`, so that nobody takes it twice. None of
    /// the descriptors goes on to another program. This is for the beginning of `main`, where there is one thread.
    ///
    /// # Errors
    ///
    /// [`PassedError`] when it is not what the gateway can listen on.
    pub fn take() -> Result<Self, PassedError> {
        let variable = |name| std::env::var(name).ok();
        let own = std::process::id().to_string();
        // What was passed to whoever started us is not ours.
        if variable("LISTEN_PID").as_ref() != Some(&own) {
            return Ok(Self::default());
        }
        let names = names(variable("LISTEN_FDS").as_deref(), variable("LISTEN_FDNAMES").as_deref())?;
        let mut passed = ListenFd::from_env();
        let mut listeners = Vec::new();
        for (index, name) in names.into_iter().enumerate() {
            let no_listener = |source| PassedError::NoListener { descriptor: 3 + index, source };
            let listener = passed.take_tcp_listener(index).map_err(|error| no_listener(Some(error)))?;
            let listener = listener.ok_or_else(|| no_listener(None))?;
            // A connection is such a socket, too.
            match rustix::net::sockopt::socket_acceptconn(&listener) {
                Ok(true) => listeners.push((name, listener)),
                Ok(false) => return Err(no_listener(None)),
                Err(error) => return Err(no_listener(Some(error.into()))),
            }
        }
        Ok(Self(listeners))
    }

    /// Which is for which address of the configuration: the one that its name says (`listen`, `admin`), or else the one that it has.
    /// What it listens on decides whether TLS is needed, so it has to be what the configuration says.
    ///
    /// # Errors
    ///
    /// [`PassedError`] when there is one for none of them, or two for one.
    pub fn held(self, settings: &ServerSettings) -> Result<HeldListeners, PassedError> {
        let configured = [("listen", settings.listen), ("admin", settings.admin)];
        let mut held = HeldListeners::default();
        for (index, (name, listener)) in self.0.into_iter().enumerate() {
            let no_listener =
                |source| PassedError::NoListener { descriptor: 3 + index, source: Some(source) };
            let address = listener.local_addr().map_err(no_listener)?;
            let is_named = |key: &str| name.as_deref() == Some(key);
            let candidates = match configured.iter().position(|(key, _)| is_named(key)) {
                Some(named) => &configured[named..=named],
                None => &configured[..],
            };
            let Some((key, _)) = candidates.iter().find(|(_, configured)| is_on(address, *configured)) else {
                let configured: Vec<String> =
                    candidates.iter().map(|(key, address)| format!("`{key}: {address}`")).collect();
                return Err(PassedError::Elsewhere {
                    name: Named(name),
                    address,
                    configured: configured.join(" and "),
                });
            };
            let place = if *key == "listen" { &mut held.agents } else { &mut held.admin };
            if place.replace(listener).is_some() {
                return Err(PassedError::Twice { key });
            }
        }
        Ok(held)
    }
}

/// Whether a listener is on the address that is configured. Every address of one family may stand for every address of both; port 0
/// is any.
fn is_on(address: SocketAddr, configured: SocketAddr) -> bool {
    let is_host = address.ip() == configured.ip()
        || (address.ip().is_unspecified() && configured.ip().is_unspecified());
    is_host && (address.port() == configured.port() || configured.port() == 0)
}

/// A name for each descriptor, or none, by the variables that tell of them.
fn names(count: Option<&str>, names: Option<&str>) -> Result<Vec<Option<String>>, PassedError> {
    let Some(count) = count else { return Ok(Vec::new()) };
    let Ok(count) = count.parse::<usize>() else {
        return Err(PassedError::Variables(format!("LISTEN_FDS must be a number (found {count:?})")));
    };
    if count > LISTENERS_MAX {
        return Err(PassedError::Variables(format!(
            "the service manager passes {count} listeners, and the gateway has two addresses: `listen` and `admin`"
        )));
    }
    let Some(names) = names else { return Ok(vec![None; count]) };
    let names: Vec<Option<String>> = names.split(':').map(|name| Some(name.to_owned())).collect();
    if names.len() != count {
        return Err(PassedError::Variables(format!(
            "LISTEN_FDNAMES has {} names for {count} listeners",
            names.len()
        )));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_names(count: Option<&str>, given: Option<&str>, expected: Result<&[&str], &str>) {
        let found = names(count, given).map_err(|error| error.to_string());
        let found =
            found.map(|names| names.into_iter().map(Option::unwrap_or_default).collect::<Vec<String>>());
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, expected) => panic!("{found:?} in place of {expected:?}"),
        }
    }

    #[test]
    fn there_is_a_name_for_each_or_none() {
        check_names(None, None, Ok(&[]));
        check_names(Some("0"), None, Ok(&[]));
        check_names(Some("1"), None, Ok(&[""]));
        check_names(Some("2"), Some("listen:admin"), Ok(&["listen", "admin"]));
        check_names(Some("2"), Some("listen"), Err("1 names for 2 listeners"));
        check_names(Some("1"), Some("listen:admin"), Err("2 names for 1 listeners"));
        check_names(Some("3"), None, Err("passes 3 listeners"));
        check_names(Some("18446744073709551615"), None, Err("has two addresses"));
        check_names(Some("-1"), None, Err("must be a number (found \"-1\")"));
        check_names(Some(""), None, Err("must be a number"));
    }

    #[track_caller]
    fn check_is_on(address: &str, configured: &str, expected: bool) {
        let parse = |text: &str| text.parse().expect("an address");
        assert_eq!(is_on(parse(address), parse(configured)), expected, "{address} {configured}");
    }

    #[test]
    fn a_listener_is_where_the_configuration_says() {
        check_is_on("127.0.0.1:8443", "127.0.0.1:8443", true);
        check_is_on("127.0.0.1:8443", "127.0.0.1:0", true);
        check_is_on("127.0.0.1:8443", "127.0.0.1:8444", false);
        check_is_on("[::]:8443", "0.0.0.0:8443", true);
        // TLS may be left out on loopback alone.
        check_is_on("0.0.0.0:8443", "127.0.0.1:8443", false);
        check_is_on("[::]:8443", "[::1]:8443", false);
        check_is_on("[::]:8443", "[::1]:0", false);
    }
}
