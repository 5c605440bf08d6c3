//! The one client for calls to authorization servers, built by hand.
//!
//! It follows no redirects (a 307 would post the client's secret to wherever it points), reads no proxy from the
//! environment, decompresses nothing, waits and reads within bounds, and reaches private addresses only when the
//! operator named the host.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::pki_types::CertificateDer;
use url::Host;

use crate::checked_url::{CheckedUrl, is_public};
use crate::tls::{self, TlsIdentity};

/// Longest wait for a connection to an authorization server, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for a whole answer. A person's agent waits behind it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept when nobody uses it: less than servers commonly do, so that the gateway closes first.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// Largest answer that is read. Entra's key sets are about 20 kB and its metadata 2 kB; a token answer is less.
const ANSWER_BYTES_MAX: usize = 1_048_576;

/// A client for one authorization server.
#[derive(Clone, Debug)]
pub struct OutboundClient {
    client: reqwest::Client,
    named_hosts: Arc<HashSet<String>>,
}

/// An answer, whole.
pub struct OutboundAnswer {
    /// Its status code.
    pub status: http::StatusCode,
    /// Its header.
    pub headers: HeaderMap,
    /// Its body, at most 1 MiB.
    pub body: Vec<u8>,
}

impl fmt::Debug for OutboundAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.body.len();
        f.debug_struct("OutboundAnswer")
            .field("status", &self.status)
            .field("bytes", &bytes)
            .finish_non_exhaustive()
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OutboundError {
    /// The server took too long.
    #[error("no answer in {waited:?}")]
    TimedOut {
        /// How long the gateway waited.
        waited: Duration,
    },
    /// The server could not be reached, or the connection broke.
    #[error("could not be reached")]
    Unreachable(#[source] Arc<reqwest::Error>),
    /// The answer is larger than any honest one.
    #[error("answered with more than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    /// Its metadata points at a private address.
    #[error(
        "its metadata names {0:?}, which is not on the public internet; name the endpoint in the configuration if that is meant"
    )]
    PrivateAddress(String),
}

impl OutboundClient {
    /// A client that trusts `extra_roots` beside the system's authorities. `named` are the addresses that the
    /// operator wrote down: their hosts may be anywhere, all others must be public. `identity` is shown to servers that
    /// ask for a certificate.
    ///
    /// # Errors
    ///
    /// When a certificate cannot be used as an authority.
    pub fn new<'a>(
        extra_roots: &[CertificateDer<'static>],
        identity: Option<&TlsIdentity>,
        named: impl IntoIterator<Item = &'a CheckedUrl>,
    ) -> Result<Self, rustls::Error> {
        let named_hosts: Arc<HashSet<String>> =
            Arc::new(named.into_iter().map(|url| url.host().to_ascii_lowercase()).collect());
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(match identity {
                Some(identity) => tls::client_config_with(identity, extra_roots)?,
                None => tls::client_config(extra_roots)?,
            })
            .dns_resolver(Arc::new(GuardedResolver { named_hosts: Arc::clone(&named_hosts) }))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .user_agent(concat!("obo-gateway/", env!("CARGO_PKG_VERSION")))
            .build()
            .expect("the client is built from parts that were checked before");
        Ok(Self { client, named_hosts })
    }

    /// Asks for a document.
    ///
    /// # Errors
    ///
    /// [`OutboundError`] when no whole answer came. An answer with an error status is not an error here.
    pub async fn get(&self, url: &CheckedUrl) -> Result<OutboundAnswer, OutboundError> {
        self.send(url, self.client.get(url.as_url().clone())).await
    }

    /// Asks for a document, with a ready-made `Authorization` header.
    ///
    /// # Errors
    ///
    /// As [`OutboundClient::get`].
    pub async fn get_as(
        &self,
        url: &CheckedUrl,
        authorization: HeaderValue,
    ) -> Result<OutboundAnswer, OutboundError> {
        self.send(url, self.client.get(url.as_url().clone()).header(AUTHORIZATION, authorization)).await
    }

    /// Posts a form, with a ready-made `Authorization` header where the client authenticates by one.
    ///
    /// # Errors
    ///
    /// As [`OutboundClient::get`].
    pub async fn post_form(
        &self,
        url: &CheckedUrl,
        authorization: Option<HeaderValue>,
        form: &[(&str, &str)],
    ) -> Result<OutboundAnswer, OutboundError> {
        let mut request = self.client.post(url.as_url().clone()).form(form);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        self.send(url, request).await
    }

    async fn send(
        &self,
        url: &CheckedUrl,
        request: reqwest::RequestBuilder,
    ) -> Result<OutboundAnswer, OutboundError> {
        self.check_literal(url)?;
        let started = Instant::now();
        let failed = |error: reqwest::Error| match error.is_timeout() {
            true => OutboundError::TimedOut { waited: started.elapsed() },
            false => OutboundError::Unreachable(Arc::new(error.without_url())),
        };
        let mut response = request
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .send()
            .await
            .map_err(failed)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(OutboundError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(OutboundAnswer {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body,
        })
    }

    /// An address given as a number is never resolved, so the resolver cannot judge it.
    fn check_literal(&self, url: &CheckedUrl) -> Result<(), OutboundError> {
        let public = match url.as_url().host() {
            Some(Host::Ipv4(address)) => is_public(address.into()),
            Some(Host::Ipv6(address)) => is_public(address.into()),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        match public || self.named_hosts.contains(&url.host().to_ascii_lowercase()) {
            true => Ok(()),
            false => Err(OutboundError::PrivateAddress(url.host().to_owned())),
        }
    }
}

/// Resolves names, and leaves out private addresses unless the operator named the host. The connection is made to
/// the very addresses that were judged.
struct GuardedResolver {
    named_hosts: Arc<HashSet<String>>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let named = self.named_hosts.contains(&name.as_str().to_ascii_lowercase());
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| named || is_public(address.ip())).collect();
            if allowed.is_empty() {
                return Err(OutboundError::PrivateAddress(name.as_str().to_owned()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checked_url::PlainHttp;
    use rcgen::{CertificateParams, KeyPair};
    use rustls::RootCertStore;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::server::WebPkiClientVerifier;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn certified(name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().expect("a key");
        let certificate =
            CertificateParams::new(vec![name.to_owned()]).expect("parameters").self_signed(&key);
        (certificate.expect("a certificate").der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }

    #[tokio::test]
    async fn a_server_that_asks_for_a_certificate_is_shown_it() {
        let (client_certificate, client_key) = certified("gateway");
        let (server_certificate, server_key) = certified("localhost");
        let mut clients = RootCertStore::empty();
        clients.add(client_certificate.clone()).expect("an authority");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(clients), tls::provider());
        let config = rustls::ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier.build().expect("a verifier"))
            .with_single_cert(vec![server_certificate.clone()], server_key)
            .expect("a certificate and its key");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://localhost:{}/token", listener.local_addr().expect("an address").port());
        let url = CheckedUrl::parse(&url, PlainHttp::LoopbackOnly).expect("a URL");
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a connection");
            let mut stream =
                tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await.expect("a handshake");
            let _ = stream.read(&mut [0; 4_096]).await.expect("a request");
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.expect("written");
            let shown = stream.get_ref().1.peer_certificates().map(<[_]>::to_vec);
            stream.shutdown().await.expect("closed");
            shown
        });
        let identity = TlsIdentity::new(vec![client_certificate.clone()], client_key).expect("an identity");
        let client = OutboundClient::new(&[server_certificate], Some(&identity), [&url]).expect("a client");
        let answer = client.post_form(&url, None, &[("a", "b")]).await.expect("an answer");
        assert_eq!(answer.status, 200);
        assert_eq!(server.await.expect("no panic"), Some(vec![client_certificate.into_owned()]));
    }
}
