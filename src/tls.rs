//! TLS towards servers that the gateway calls: whom it trusts.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
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

fn trusting(verifier: Verifier) -> ClientConfig {
    builder().dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites for TLS 1.2 and 1.3")
}
