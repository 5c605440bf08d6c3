//! The certificate that agents are shown, and the one that takes its place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use obo_gateway::demo::certificates::DevelopmentCertificates;
use reqwest::Certificate;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::Outcome;

/// Two certificates, each of an authority of its own, and the files that the gateway reads.
pub struct Certificates {
    both: [DevelopmentCertificates; 2],
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificates {
    pub fn make(folder: &Path) -> Outcome<Self> {
        let make = |name| DevelopmentCertificates::ensure(&folder.join(name));
        let both = [make("first")?, make("second")?];
        let (certificate, key) = (folder.join("gateway.pem"), folder.join("gateway.key"));
        let certificates = Self { both, certificate, key };
        certificates.show(0)?;
        Ok(certificates)
    }

    /// What the configuration says of them.
    pub fn configuration(&self) -> String {
        format!("tls: {{ certificate: {}, key: {} }}\n", self.certificate.display(), self.key.display())
    }

    /// Puts one of them where the gateway reads it.
    pub fn show(&self, number: usize) -> Outcome<()> {
        let shown = &self.both[number % 2].server;
        // Each file appears whole, as deployments do it.
        for (from, to) in [(&shown.certificate_path, &self.certificate), (&shown.key_path, &self.key)] {
            let beside = to.with_extension("new");
            std::fs::copy(from, &beside)?;
            std::fs::rename(beside, to)?;
        }
        Ok(())
    }

    /// The authority of one of them.
    pub fn authority(&self, number: usize) -> Outcome<Certificate> {
        Ok(Certificate::from_der(&self.both[number % 2].authority)?)
    }

    /// For agents that speak TLS by themselves.
    pub fn connector(&self) -> Outcome<TlsConnector> {
        let mut roots = RootCertStore::empty();
        for certificates in &self.both {
            roots.add(certificates.authority.clone())?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// Both authorities.
    pub fn authorities(&self) -> Outcome<[Certificate; 2]> {
        Ok([self.authority(0)?, self.authority(1)?])
    }
}
