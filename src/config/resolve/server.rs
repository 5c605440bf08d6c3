//! `listen`, `tls`, `plain_http`, `public_url`, `admin` and `timeouts.drain`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use url::Url;

use super::files::{self, NamedFile};
use super::{Surroundings, bounds, values};
use crate::checked_url::{CheckedUrl, PlainHttp, UrlError};
use crate::config::at::At;
use crate::config::file::{self, ConnectorKind, File, Tls};
use crate::gateway::PublicSettings;
use crate::gateway::path::CanonicalPath;
use crate::server::ServerSettings;
use crate::tls::{self, ClientCertificates};

/// Port 9464 is where OpenTelemetry's Prometheus exporters listen; loopback, since anyone who reaches it may
/// ask.
const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);
/// Shorter than the grace that orchestrators commonly give, and longer than most calls.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Checks where the gateway listens.
pub fn settings(file: &File, root: &At<'_>, surroundings: &Surroundings<'_>) -> Option<ServerSettings> {
    let listen = listen(file, root);
    let admin = admin(file, root);
    let tls = tls(file, root, listen, surroundings);
    let at = root.key("timeouts").key("drain");
    let drain = file.timeouts.as_ref().and_then(|timeouts| timeouts.drain.as_deref());
    let drain_timeout = values::duration(&at, drain, DRAIN_TIMEOUT);
    let bounds = bounds::of_connections(file, root);
    let admin_token_at = root.key("admin_token_file");
    let admin_token = match file.admin_token_file.as_deref() {
        Some(path) => Some(files::secret(NamedFile { at: &admin_token_at, path })?),
        None => None,
    };
    let settings = ServerSettings {
        listen: listen?,
        tls: tls?,
        admin: admin?,
        admin_token,
        drain_timeout: drain_timeout?,
        bounds: bounds?,
    };
    if is_same(settings.listen, settings.admin) {
        root.key("admin").fault("is the same address as `listen`: agents must not reach the admin endpoints");
        return None;
    }
    Some(settings)
}

/// Checks how agents reach the gateway. `listen` is where it listens, where that is known.
pub fn public(file: &File, root: &At<'_>, listen: Option<SocketAddr>) -> Option<PublicSettings> {
    let requires_dpop_nonce = file.require_dpop_nonce == Some(true);
    let at = root.key("public_url");
    let public_url = match file.public_url.as_deref() {
        Some(text) => Some(public_url(&at, text)?),
        None if at.is_written() => return None,
        None => None,
    };
    if public_url.is_none() {
        if requires_dpop_nonce {
            root.key("require_dpop_nonce").fault(
                "goes with `public_url`, without which no proofs are taken: add it, or leave this out",
            );
            return None;
        }
        let connectors = file.connectors.iter().flat_map(|connectors| &connectors.0);
        if connectors.into_iter().any(|(_, connector)| connector.kind == Some(ConnectorKind::Mcp)) {
            at.warn(
                "is not given, so MCP clients that know only a connector's address are not told where people sign in: \
                 give the address by which they reach the gateway, like `public_url: https://gateway.example`",
            );
        }
    }
    let client_certificates = file.tls.as_ref().and_then(|tls| tls.client_certificates);
    Some(PublicSettings {
        requires_dpop_nonce,
        takes_certificates: match client_certificates {
            Some(file::ClientCertificates::Optional | file::ClientCertificates::Required) => true,
            Some(file::ClientCertificates::None) | None => false,
        },
        // Whoever gives an address for agents may have something in front that names the gateway as it likes.
        is_loopback_alone: public_url.is_none() && listen.is_some_and(|listen| listen.ip().is_loopback()),
        public_url,
        pages: None,
    })
}

fn public_url(at: &At<'_>, text: &str) -> Option<Url> {
    // Something in front may end TLS; what agents call is an https address all the same, or loopback.
    let url = match CheckedUrl::parse(text, PlainHttp::LoopbackOnly) {
        Ok(url) => url.as_url().clone(),
        Err(UrlError::PlainHttp) => {
            at.fault_found(
                "must be https, unless its host is loopback: tokens must not cross a network in the clear",
            );
            return None;
        }
        Err(error) => {
            at.fault_found(format_args!(
                "{error}: give the address by which agents and browsers reach the gateway, like `https://gateway.example`"
            ));
            return None;
        }
    };
    if url.query().is_some() {
        at.fault_found("must not have a query (?…): it is where all paths of the gateway begin");
        return None;
    }
    // Metadata is asked for by this path, and then it has to be one that is answered.
    if let Err(error) = CanonicalPath::parse(url.path()) {
        at.fault_found(format_args!("has a path that {error}"));
        return None;
    }
    Some(url)
}

/// Whether two listeners would be one. `0.0.0.0` is every address; port 0 is one that the system chooses.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && overlap
}

fn listen(file: &File, root: &At<'_>) -> Option<SocketAddr> {
    let at = root.key("listen");
    let text =
        at.required(file.listen.as_deref(), "give an address and a port, like `listen: 127.0.0.1:8080`")?;
    values::address(&at, text)
}

fn admin(file: &File, root: &At<'_>) -> Option<SocketAddr> {
    let at = root.key("admin");
    let Some(text) = file.admin.as_deref() else { return Some(ADMIN) };
    let address = values::address(&at, text)?;
    if !address.ip().is_loopback() {
        at.warn(
            "lets other machines read health and metrics, for which no credentials are asked: use 127.0.0.1",
        );
    }
    Some(address)
}

/// TLS or plain HTTP: an operator decides, and says so. Loopback alone needs no decision.
fn tls(
    file: &File,
    root: &At<'_>,
    listen: Option<SocketAddr>,
    surroundings: &Surroundings<'_>,
) -> Option<Option<Arc<ServerConfig>>> {
    let at = root.key("tls");
    let plain_http = file.plain_http == Some(true);
    match &file.tls {
        Some(_) if plain_http => {
            root.key("plain_http").fault("cannot be true beside `tls`: leave out one of the two");
            None
        }
        Some(tls) => certificate_and_key(tls, &at, surroundings).map(Some),
        None if plain_http => Some(None),
        None if root.lost("plain_http") => None,
        None => match listen {
            Some(address) if address.ip().is_loopback() => Some(None),
            Some(_) => {
                at.fault(
                    "is required: give `tls: { certificate: …, key: … }`, or write `plain_http: true` when \
                     something in front of the gateway ends TLS",
                );
                None
            }
            None => None,
        },
    }
}

fn certificate_and_key(tls: &Tls, at: &At<'_>, surroundings: &Surroundings<'_>) -> Option<Arc<ServerConfig>> {
    let (certificate_at, key_at) = (at.key("certificate"), at.key("key"));
    let certificate =
        certificate_at.required(tls.certificate.as_deref(), "name the PEM file with the certificate");
    let key = key_at.required(tls.key.as_deref(), "name the PEM file with the certificate's private key");
    let clients = client_certificates(tls, at);
    let config = files::server_tls(
        NamedFile { at: &certificate_at, path: certificate? },
        NamedFile { at: &key_at, path: key? },
        clients.clone().unwrap_or_else(WebPkiClientVerifier::no_client_auth),
        surroundings.now,
    );
    clients.and(config)
}

/// What decides about agents' certificates.
fn client_certificates(tls: &Tls, at: &At<'_>) -> Option<Arc<dyn ClientCertVerifier>> {
    let authorities_at = at.key("client_ca_file");
    let required = match tls.client_certificates {
        Some(file::ClientCertificates::Optional) => Some(false),
        Some(file::ClientCertificates::Required) => Some(true),
        Some(file::ClientCertificates::None) | None => None,
    };
    if required.is_none() && tls.client_ca_file.is_some() {
        authorities_at
            .fault("goes with `client_certificates`: add `optional` or `required` there, or leave this out");
        return None;
    }
    let authorities = files::authorities(&authorities_at, tls.client_ca_file.as_deref())?;
    let certificates = match required {
        Some(required) => ClientCertificates::Asked { required, authorities },
        None => ClientCertificates::NotAsked,
    };
    match tls::client_verifier(certificates) {
        Ok(verifier) => Some(verifier),
        Err(error) => {
            authorities_at.fault_found(format_args!("cannot be used: {error}"));
            None
        }
    }
}
