//! The files that a configuration names: certificates, keys, secrets.
//!
//! Relative names start at the working directory of the process, as most servers have it.

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use jsonwebtoken::Algorithm;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use zeroize::Zeroizing;

use super::validity::Validity;
use crate::config::at::At;
use crate::config::sources;
use crate::identity::SecretToken;
use crate::oauth::assertion::{AssertionKey, AssertionKeyError, KeyNaming};
use crate::tls::{self, TlsIdentity};

/// Largest file of certificates or keys that is read: a bundle of all public authorities has about 250 kB.
const PEM_BYTES_MAX: usize = 4_194_304;
/// Largest client secret that is read. Real ones have tens of characters.
const SECRET_BYTES_MAX: usize = 4_096;

/// A file, and the place that names it.
#[derive(Clone, Copy)]
pub struct NamedFile<'a> {
    pub at: &'a At<'a>,
    pub path: &'a str,
}

/// Reads a bundle of certificate authorities, when one is named.
pub fn authorities(at: &At<'_>, path: Option<&str>) -> Option<Vec<CertificateDer<'static>>> {
    let Some(path) = path else { return Some(Vec::new()) };
    let (certificates, _) = NamedFile { at, path }.certificates()?;
    let mut trusted = rustls::RootCertStore::empty();
    if certificates.iter().any(|certificate| trusted.add(certificate.clone()).is_err()) {
        at.fault_found("names a file with a certificate that cannot be read");
        return None;
    }
    Some(certificates)
}

/// Reads the certificate and the key that agents are shown.
pub fn server_tls(
    certificate: NamedFile<'_>,
    key: NamedFile<'_>,
    clients: Arc<dyn ClientCertVerifier>,
    now: u64,
) -> Option<Arc<ServerConfig>> {
    let chain = certificate.certificates();
    let private_key = key.private_key();
    let (chain, _) = chain?;
    certificate.warn_unless_valid(&chain[0], now);
    let config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites for TLS 1.2 and 1.3")
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, private_key?);
    match config {
        Ok(mut config) => {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            Some(Arc::new(config))
        }
        Err(rustls::Error::InconsistentKeys(_)) => {
            key.at.fault_while_swapped("is not the key of the certificate");
            None
        }
        Err(rustls::Error::InvalidCertificate(_)) => {
            certificate.at.fault_found("names a file with a certificate that cannot be read");
            None
        }
        Err(error) => {
            key.at.fault_found(format_args!("cannot be used: {error}"));
            None
        }
    }
}

/// Reads the key that signs client assertions, and its certificate, where it has one.
pub fn assertion_key(
    certificate: Option<NamedFile<'_>>,
    key: NamedFile<'_>,
    algorithm: Option<Algorithm>,
    naming: &KeyNaming,
    now: u64,
) -> Option<Arc<AssertionKey>> {
    let key_pem = key.read(PEM_BYTES_MAX);
    let certificate_pem = match certificate {
        Some(certificate) => {
            let (chain, pem) = certificate.certificates()?;
            certificate.warn_unless_valid(&chain[0], now);
            Some(pem)
        }
        None => None,
    };
    let certificate_pem = certificate_pem.as_ref().map(|pem| pem.as_slice());
    match AssertionKey::from_pem(certificate_pem, &key_pem?, algorithm, naming) {
        Ok(signer) => {
            key.warn_if_open();
            Some(Arc::new(signer))
        }
        Err(error) => {
            let at = match (&error, certificate) {
                (AssertionKeyError::NoCertificate, Some(certificate)) => certificate.at,
                _ => key.at,
            };
            match error {
                AssertionKeyError::Mismatch => at.fault_while_swapped(error),
                _ => at.fault_found(error),
            }
            None
        }
    }
}

/// Reads the certificate and the key that servers are shown.
pub fn tls_identity(certificate: NamedFile<'_>, key: NamedFile<'_>, now: u64) -> Option<TlsIdentity> {
    let chain = certificate.certificates();
    let private_key = key.private_key();
    let (chain, _) = chain?;
    certificate.warn_unless_valid(&chain[0], now);
    match TlsIdentity::new(chain, private_key?) {
        Ok(identity) => Some(identity),
        Err(rustls::Error::InconsistentKeys(_)) => {
            key.at.fault_while_swapped("is not the key of the certificate");
            None
        }
        Err(error) => {
            key.at.fault_found(format_args!("cannot be used: {error}"));
            None
        }
    }
}

/// Reads a private key as it is, in PEM form.
pub fn private_pem(file: NamedFile<'_>) -> Option<Zeroizing<Vec<u8>>> {
    let pem = file.read(PEM_BYTES_MAX)?;
    file.warn_if_open();
    Some(pem)
}

/// Reads a key that is no PEM.
pub fn key(file: NamedFile<'_>) -> Option<Zeroizing<Vec<u8>>> {
    let bytes = file.read(SECRET_BYTES_MAX)?;
    file.warn_if_open();
    Some(bytes)
}

/// Reads a client secret.
pub fn secret(file: NamedFile<'_>) -> Option<SecretToken> {
    let bytes = file.read(SECRET_BYTES_MAX)?;
    file.warn_if_open();
    let Ok(text) = std::str::from_utf8(&bytes) else {
        file.at.fault_found("names a file that is not text");
        return None;
    };
    // Editors and `echo` end a file with a line break, which is no part of the secret.
    let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    checked_secret(file.at, text)
}

/// Reads a text.
pub fn text(file: NamedFile<'_>, bytes_max: usize) -> Option<String> {
    let bytes = file.read(bytes_max)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Some(text.to_owned()),
        Err(_) => {
            file.at.fault_found("names a file that is not UTF-8 text");
            None
        }
    }
}

/// Reads secret bytes, taken as they are.
pub fn bytes(file: NamedFile<'_>, bytes_max: usize) -> Option<Zeroizing<Vec<u8>>> {
    let bytes = file.read(bytes_max)?;
    file.warn_if_open();
    Some(bytes)
}

/// Takes a secret from wherever it was, unless it cannot be one.
pub fn checked_secret(at: &At<'_>, text: &str) -> Option<SecretToken> {
    if text.is_empty() {
        at.fault_found("names an empty secret");
        return None;
    }
    if text.len() > SECRET_BYTES_MAX {
        at.fault_found(format_args!("names a secret of more than {SECRET_BYTES_MAX} bytes"));
        return None;
    }
    if text.chars().any(char::is_control) {
        at.fault_found("names a secret with a line break or another control character within");
        return None;
    }
    Some(SecretToken::new(text))
}

impl NamedFile<'_> {
    fn read(self, bytes_max: usize) -> Option<Zeroizing<Vec<u8>>> {
        let path = Path::new(self.path);
        let read = sources::read(path, bytes_max);
        self.at.note_source(path, bytes_max, &read);
        match read {
            Ok(bytes) if bytes.is_empty() => {
                self.at.fault_found("names an empty file");
                None
            }
            Ok(bytes) if bytes.len() > bytes_max => {
                self.at.fault_found(format_args!("names a file of more than {bytes_max} bytes"));
                None
            }
            Ok(bytes) => Some(bytes),
            Err(error) => {
                self.at.fault_found(unreadable(&error));
                None
            }
        }
    }

    /// The certificates in the file, at least one, and the PEM they came from.
    fn certificates(self) -> Option<(Vec<CertificateDer<'static>>, Zeroizing<Vec<u8>>)> {
        let pem = self.read(PEM_BYTES_MAX)?;
        match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
            Ok(certificates) if !certificates.is_empty() => Some((certificates, pem)),
            Ok(_) | Err(_) => {
                self.at
                    .fault_found("names a file without a PEM certificate (`-----BEGIN CERTIFICATE-----` …)");
                None
            }
        }
    }

    fn private_key(self) -> Option<PrivateKeyDer<'static>> {
        let pem = self.read(PEM_BYTES_MAX)?;
        let Ok(key) = PrivateKeyDer::from_pem_slice(&pem) else {
            self.at.fault_found("names a file without an unencrypted private key in PEM form");
            return None;
        };
        self.warn_if_open();
        Some(key)
    }

    fn warn_unless_valid(self, certificate: &CertificateDer<'_>, now: u64) {
        // One that we cannot read is judged by those who use it.
        let Some(validity) = Validity::of(certificate) else { return };
        if now < validity.not_before {
            self.at.warn(format_args!("is not valid yet (found {})", self.at.written()));
        }
        if now > validity.not_after {
            self.at.warn(format_args!("has expired: renew it (found {})", self.at.written()));
        }
    }

    /// Warns when anyone on the machine can read a file that only the gateway should.
    #[cfg(unix)]
    fn warn_if_open(self) {
        use std::os::unix::fs::PermissionsExt;

        const READABLE_BY_OTHERS: u32 = 0o004;
        let open = |metadata: Metadata| metadata.permissions().mode() & READABLE_BY_OTHERS != 0;
        if std::fs::metadata(self.path).is_ok_and(open) {
            self.at.warn(format_args!(
                "can be read by every user of this machine: `chmod o-r` it (found {})",
                self.at.written()
            ));
        }
    }

    #[cfg(not(unix))]
    fn warn_if_open(self) {}
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => {
            "names a file that is not there; relative names start at the working directory".to_owned()
        }
        ErrorKind::PermissionDenied => "names a file that this user may not read".to_owned(),
        ErrorKind::InvalidInput => "does not name a regular file".to_owned(),
        _ => format!("names a file that cannot be read: {error}"),
    }
}
