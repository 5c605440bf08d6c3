//! TLS towards servers that the gateway calls: whom it trusts.

use std::fmt;
use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));

/// Trust in the system's authorities alone: read once, since most connectors share it.
static SYSTEM_TRUST: LazyLock<ClientConfig> = LazyLock::new(|| match Verifier::new(provider()) {
    Ok(verifier) => trusting(verifier),
    Err(error) => {
        tracing::warn!(%error, "No system certificate authorities, so every TLS connection without a ca_file fails");
        builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
    }
});

/// The one crypto provider of the process.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

/// A certificate that the gateway shows to servers, and its key.
pub struct TlsIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl TlsIdentity {
    /// The identity of the first certificate in the chain.
    ///
    /// # Errors
    ///
    /// When the key is of no use, or is not that certificate's.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        builder()
            .with_root_certificates(RootCertStore::empty())
            .with_client_auth_cert(chain.clone(), key.clone_key())?;
        Ok(Self { chain, key })
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity").finish_non_exhaustive()
    }
}

/// A client configuration that trusts the system's certificate authorities and those given.
///
/// # Errors
///
/// When a certificate cannot be used as an authority.
pub fn client_config(extra_roots: &[CertificateDer<'static>]) -> Result<ClientConfig, rustls::Error> {
    if extra_roots.is_empty() {
        return Ok(SYSTEM_TRUST.clone());
    }
    Verifier::new_with_extra_roots(extra_roots.iter().cloned(), provider()).map(trusting)
}

/// The same, which shows a certificate to servers that ask for one.
///
/// # Errors
///
/// As [`client_config`].
pub fn client_config_with(
    identity: &TlsIdentity,
    extra_roots: &[CertificateDer<'static>],
) -> Result<ClientConfig, rustls::Error> {
    let verifier = Verifier::new_with_extra_roots(extra_roots.iter().cloned(), provider())?;
    builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
}

fn trusting(verifier: Verifier) -> ClientConfig {
    builder().dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites for TLS 1.2 and 1.3")
}
