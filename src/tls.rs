//! TLS: which servers the gateway trusts when it calls them, and which certificates of agents it takes.

use std::fmt;
use std::sync::{Arc, LazyLock};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
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

/// Which certificates agents may show.
#[derive(Clone, Debug)]
pub enum ClientCertificates {
    /// None is asked for.
    NotAsked,
    /// One is asked for.
    Asked {
        /// Whether agents without one are turned away.
        required: bool,
        /// Whose certificates are taken. Empty: anybody's, also self-signed ones.
        authorities: Vec<CertificateDer<'static>>,
    },
}

/// What decides about agents' certificates. That an agent holds the key of the one it shows is always checked.
///
/// # Errors
///
/// When the authorities cannot be used.
pub fn client_verifier(
    certificates: ClientCertificates,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    let (required, authorities) = match certificates {
        ClientCertificates::NotAsked => return Ok(WebPkiClientVerifier::no_client_auth()),
        ClientCertificates::Asked { required, authorities } => (required, authorities),
    };
    if authorities.is_empty() {
        return Ok(Arc::new(AnyCertificate { required }));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities);
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    if required { builder.build() } else { builder.allow_unauthenticated().build() }
}

/// Takes every certificate whose key the agent holds: tokens are bound to certificates by their digest, and who signed
/// those does not matter then (RFC 8705 section 3).
#[derive(Debug)]
struct AnyCertificate {
    required: bool,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn trusting(verifier: Verifier) -> ClientConfig {
    builder().dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites for TLS 1.2 and 1.3")
}
