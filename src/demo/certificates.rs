//! Certificates for development: made at first use, kept while they last, and never in place of somebody's
//! own.
//!
//! A certificate authority signs a server certificate for this machine's own names and a client certificate
//! for client assertions. The authority's key is not kept, so that nobody who trusts it can be shown anything
//! else.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, date_time_ymd,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore, ServerConfig};

use super::{clock, random};

/// How long new certificates last.
const LIFE_DAYS: i64 = 365;

/// Certificates that end sooner than this are made anew.
const LEFT_AT_LEAST: Duration = Duration::from_secs(86_400);

/// What the server certificate is for.
const SERVER_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A certificate and the key to it.
#[derive(Clone, Debug)]
pub struct KeyedCertificate {
    /// The certificate, in PEM.
    pub certificate_path: PathBuf,
    /// The private key, PKCS#8 in PEM, readable by its owner alone.
    pub key_path: PathBuf,
    /// The certificate, in DER.
    pub certificate: CertificateDer<'static>,
}

/// The certificates of one directory.
#[derive(Clone, Debug)]
pub struct DevelopmentCertificates {
    /// The authority's certificate, in PEM: what clients are to trust.
    pub authority_path: PathBuf,
    /// The authority's certificate, in DER.
    pub authority: CertificateDer<'static>,
    /// ECDSA on P-256, for `localhost`, `127.0.0.1` and `::1`.
    pub server: KeyedCertificate,
    /// RSA-2048, for client assertions by PS256.
    pub client: KeyedCertificate,
}

impl DevelopmentCertificates {
    /// The certificates in this directory, made if there are none or if they end within a day.
    ///
    /// What is there but is not a whole set of ours is an error, and stays as it is. This blocks: it reads
    /// and writes files, and makes an RSA key.
    pub fn ensure(directory: &Path) -> io::Result<Self> {
        if !directory.exists() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        // Two processes that begin together must not each write half of the set.
        let guard = File::open(directory)?;
        guard.lock()?;
        let files = Files::of(directory);
        if files.all().iter().all(|path| !path.exists()) {
            files.make()?;
        }
        let certificates = files.load()?;
        match certificates.check() {
            Ok(()) => Ok(certificates),
            Err(rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            )) => {
                files.make()?;
                files.load()
            }
            Err(error) => Err(not_ours(directory, &error.to_string())),
        }
    }

    /// A TLS configuration with the server certificate, for HTTP/2 and HTTP/1.1.
    pub fn server_config(&self) -> io::Result<Arc<ServerConfig>> {
        let key = read_key(&self.server.key_path)?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![self.server.certificate.clone()], key)
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// A trust store with the authority alone.
    pub fn roots(&self) -> io::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).map_err(io::Error::other)?;
        Ok(roots)
    }

    /// Whether the set belongs together and will for a day more.
    fn check(&self) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone())?;
        let roots = Arc::new(roots);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let tomorrow = UnixTime::since_unix_epoch(since + LEFT_AT_LEAST);
        let general = |error: &dyn std::error::Error| rustls::Error::General(error.to_string());
        let name = ServerName::try_from("localhost").map_err(|error| general(&error))?;
        WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider())
            .build()
            .map_err(|error| general(&error))?
            .verify_server_cert(&self.server.certificate, &[], &name, &[], tomorrow)?;
        WebPkiClientVerifier::builder_with_provider(roots, provider())
            .build()
            .map_err(|error| general(&error))?
            .verify_client_cert(&self.client.certificate, &[], tomorrow)?;
        for keyed in [&self.server, &self.client] {
            let key = read_key(&keyed.key_path).map_err(|error| general(&error))?;
            // Refuses a key that is another certificate's.
            CertifiedKey::from_der(vec![keyed.certificate.clone()], key, &provider())?;
        }
        Ok(())
    }
}

/// Where each part is.
struct Files {
    authority: PathBuf,
    server: PathBuf,
    server_key: PathBuf,
    client: PathBuf,
    client_key: PathBuf,
}

impl Files {
    fn of(directory: &Path) -> Self {
        Self {
            authority: directory.join("ca.pem"),
            server: directory.join("gateway.pem"),
            server_key: directory.join("gateway.key"),
            client: directory.join("client.pem"),
            client_key: directory.join("client.key"),
        }
    }

    fn all(&self) -> [&PathBuf; 5] {
        [&self.authority, &self.server, &self.server_key, &self.client, &self.client_key]
    }

    fn load(&self) -> io::Result<DevelopmentCertificates> {
        let keyed = |certificate: &Path, key: &Path| -> io::Result<KeyedCertificate> {
            read_key(key)?;
            Ok(KeyedCertificate {
                certificate_path: certificate.to_owned(),
                key_path: key.to_owned(),
                certificate: read_certificate(certificate)?,
            })
        };
        Ok(DevelopmentCertificates {
            authority_path: self.authority.clone(),
            authority: read_certificate(&self.authority)?,
            server: keyed(&self.server, &self.server_key)?,
            client: keyed(&self.client, &self.client_key)?,
        })
    }

    fn make(&self) -> io::Result<()> {
        let authority_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(io::Error::other)?;
        let mut authority = parameters("obo-gateway development authority", &[])?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_pem = authority.self_signed(&authority_key).map_err(io::Error::other)?.pem();
        let authority = Issuer::new(authority, authority_key);

        let server_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(io::Error::other)?;
        let mut server = parameters("obo-gateway development server", &SERVER_NAMES)?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server = server.signed_by(&server_key, &authority).map_err(io::Error::other)?;

        let client_key = KeyPair::generate_for(&PKCS_RSA_SHA256).map_err(io::Error::other)?;
        let mut client = parameters("obo-gateway development client", &[])?;
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let client = client.signed_by(&client_key, &authority).map_err(io::Error::other)?;

        write_atomically(&self.server_key, &server_key.serialize_pem(), 0o600)?;
        write_atomically(&self.client_key, &client_key.serialize_pem(), 0o600)?;
        write_atomically(&self.server, &server.pem(), 0o644)?;
        write_atomically(&self.client, &client.pem(), 0o644)?;
        write_atomically(&self.authority, &authority_pem, 0o644)
    }
}

fn parameters(common_name: &str, names: &[&str]) -> io::Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names).map_err(io::Error::other)?;
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.use_authority_key_identifier_extension = true;
    // From yesterday, so that a clock a little behind does not refuse them.
    let day = |days: i64| {
        let (year, month, day) = clock::date(clock::now() + days * 86_400);
        date_time_ymd(year, month, day)
    };
    parameters.not_before = day(-1);
    parameters.not_after = day(LIFE_DAYS);
    Ok(parameters)
}

fn read_certificate(path: &Path) -> io::Result<CertificateDer<'static>> {
    let pem = fs::read(path).map_err(|error| not_ours(path, &error.to_string()))?;
    CertificateDer::from_pem_slice(&pem).map_err(|_| not_ours(path, "it holds no certificate in PEM"))
}

fn read_key(path: &Path) -> io::Result<PrivateKeyDer<'static>> {
    let pem = fs::read(path).map_err(|error| not_ours(path, &error.to_string()))?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| not_ours(path, "it holds no private key in PEM"))
}

fn not_ours(path: &Path, why: &str) -> io::Error {
    let text = format!(
        "{}: {why}; move what is there away, and development certificates will be made",
        path.display()
    );
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Writes beside the file, and puts it in its place whole.
fn write_atomically(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let beside = path.with_extension(format!("{}.tmp", &random::token()[..8]));
    let written =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, path)
        });
    if written.is_err() {
        // The first fault is the one worth telling.
        _ = fs::remove_file(&beside);
    }
    written
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;
    use crate::demo::jws::{Algorithm, Jws, PublicKey, SigningKey};

    #[test]
    fn they_are_made_once_and_then_left_alone() {
        let directory = TempDir::new().expect("a directory");
        let inside = directory.path().join("deep/certs");
        let first = DevelopmentCertificates::ensure(&inside).expect("certificates");
        let written = contents(&inside);
        assert_eq!(written.len(), 5, "no temporary file and no authority key is left: {written:?}");
        let second = DevelopmentCertificates::ensure(&inside).expect("certificates");
        assert_eq!(first.server.certificate, second.server.certificate);
        assert_eq!(contents(&inside), written);
    }

    fn contents(directory: &Path) -> Vec<(PathBuf, String)> {
        let entries = fs::read_dir(directory).expect("a directory");
        let mut contents: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .map(|path| (path.clone(), fs::read_to_string(path).expect("text")))
            .collect();
        contents.sort();
        contents
    }

    #[test]
    fn keys_are_their_owners_alone() {
        let directory = TempDir::new().expect("a directory");
        let certificates = DevelopmentCertificates::ensure(directory.path()).expect("certificates");
        for key in [&certificates.server.key_path, &certificates.client.key_path] {
            let mode = fs::metadata(key).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", key.display());
        }
    }

    #[test]
    fn a_set_that_ends_within_a_day_is_made_anew() {
        let directory = TempDir::new().expect("a directory");
        let certificates = DevelopmentCertificates::ensure(directory.path()).expect("certificates");
        let key = KeyPair::generate().expect("a key");
        let mut authority = parameters("a", &[]).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let authority_pem = authority.self_signed(&key).expect("a certificate").pem();
        let authority = Issuer::new(authority, key);
        let server_key = KeyPair::generate().expect("a key");
        let mut server = parameters("s", &SERVER_NAMES).expect("parameters");
        let (year, month, day) = clock::date(clock::now());
        server.not_after = date_time_ymd(year, month, day);
        let server = server.signed_by(&server_key, &authority).expect("a certificate");
        fs::write(&certificates.authority_path, authority_pem).expect("writable");
        fs::write(&certificates.server.certificate_path, server.pem()).expect("writable");
        fs::write(&certificates.server.key_path, server_key.serialize_pem()).expect("writable");

        let renewed = DevelopmentCertificates::ensure(directory.path()).expect("certificates");
        assert_ne!(renewed.server.certificate, *server.der());
        renewed.check().expect("a good set");
    }

    #[test]
    fn what_is_not_a_whole_set_of_ours_is_named_and_left_as_it_is() {
        type Damage = fn(&DevelopmentCertificates, &DevelopmentCertificates);
        let damages: [(&str, Damage); 4] = [
            ("gateway.key", |ours, _| fs::remove_file(&ours.server.key_path).expect("removable")),
            ("client.pem", |ours, _| fs::write(&ours.client.certificate_path, "mine").expect("writable")),
            ("", |ours, other| {
                fs::copy(&other.server.certificate_path, &ours.server.certificate_path).expect("a copy");
            }),
            ("", |ours, other| {
                fs::copy(&other.client.key_path, &ours.client.key_path).expect("a copy");
            }),
        ];
        let elsewhere = TempDir::new().expect("a directory");
        let other = DevelopmentCertificates::ensure(elsewhere.path()).expect("certificates");
        for (named, damage) in damages {
            let directory = TempDir::new().expect("a directory");
            let ours = DevelopmentCertificates::ensure(directory.path()).expect("certificates");
            damage(&ours, &other);
            let before = contents(directory.path());
            let error = DevelopmentCertificates::ensure(directory.path()).expect_err("not a whole set");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains(named), "{error}");
            assert_eq!(contents(directory.path()), before);
        }
    }

    #[test]
    fn the_client_key_signs_what_its_certificate_verifies() {
        let directory = TempDir::new().expect("a directory");
        let certificates = DevelopmentCertificates::ensure(directory.path()).expect("certificates");
        let key = read_key(&certificates.client.key_path).expect("a key");
        let key = SigningKey::from_rsa_pkcs8("k", key.secret_der()).expect("an RSA key in PKCS#8");
        let token = key.sign(Algorithm::Ps256, "{}", "{}");
        let parsed = rustls::server::ParsedCertificate::try_from(&certificates.client.certificate);
        let info = parsed.expect("a certificate").subject_public_key_info().to_vec();
        assert!(PublicKey::RsaInfo(info).verifies(Algorithm::Ps256, &Jws::parse(&token).expect("a token")));
    }
}
