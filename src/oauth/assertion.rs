//! Client authentication by a signed assertion (`private_key_jwt`, RFC 7523 section 2.2).

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Serialize;

use crate::clock::Now;
use crate::identity::SecretToken;

/// How long an assertion is good for. Entra accepts up to ten minutes; one is made for each request, so
/// the only thing this has to outlast is the difference between two clocks.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(300);

/// A private key, and the thumbprint of the certificate by which the authorization server knows it.
pub struct AssertionKey {
    key: EncodingKey,
    certificate_sha256: String,
}

/// Why a certificate and key cannot sign assertions.
#[derive(Debug, thiserror::Error)]
pub enum AssertionKeyError {
    /// There is no certificate in the file.
    #[error("holds no PEM certificate")]
    NoCertificate,
    /// There is no private key in the file.
    #[error("holds no PEM private key")]
    NoKey,
    /// The key is of a kind that PS256 cannot use.
    #[error("holds a key that cannot sign PS256: an RSA key of at least 2048 bits is needed")]
    NotRsa,
    /// The key does not belong to the certificate.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
}

impl AssertionKey {
    /// Reads a certificate and its RSA key, both PEM.
    ///
    /// # Errors
    ///
    /// [`AssertionKeyError`] when either cannot be read or they do not belong together.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, AssertionKeyError> {
        let certificate =
            CertificateDer::from_pem_slice(certificate).map_err(|_| AssertionKeyError::NoCertificate)?;
        let key_der = PrivateKeyDer::from_pem_slice(key).map_err(|_| AssertionKeyError::NoKey)?;
        let signing_key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key_der)
            .map_err(|_| AssertionKeyError::NotRsa)?;
        if signing_key.algorithm() != rustls::SignatureAlgorithm::RSA {
            return Err(AssertionKeyError::NotRsa);
        }
        let certificate_sha256 = thumbprint(&certificate);
        rustls::sign::CertifiedKey::new(vec![certificate], signing_key)
            .keys_match()
            .map_err(|_| AssertionKeyError::Mismatch)?;
        let key = EncodingKey::from_rsa_pem(key).map_err(|_| AssertionKeyError::NotRsa)?;
        Ok(Self { key, certificate_sha256 })
    }

    /// base64url of the certificate's SHA-256: what `x5t#S256` carries (RFC 7515 section 4.1.8).
    pub fn thumbprint(&self) -> &str {
        &self.certificate_sha256
    }

    /// A fresh assertion that the gateway is `client_id`, for `audience`. It is never used twice: servers may
    /// remember `jti` and refuse a repetition.
    ///
    /// # Errors
    ///
    /// When the key cannot sign.
    pub fn sign(
        &self,
        client_id: &str,
        audience: &str,
        now: Now,
    ) -> Result<SecretToken, jsonwebtoken::errors::Error> {
        let issued_at = now.unix_seconds();
        let claims = AssertionClaims {
            iss: client_id,
            sub: client_id,
            aud: audience,
            jti: fresh_id(),
            iat: issued_at,
            nbf: issued_at,
            exp: issued_at + ASSERTION_LIFETIME.as_secs(),
        };
        let mut header = Header::new(Algorithm::PS256);
        header.x5t_s256 = Some(self.certificate_sha256.clone());
        jsonwebtoken::encode(&header, &claims, &self.key).map(SecretToken::new)
    }
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionKey")
            .field("certificate_sha256", &self.certificate_sha256)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct AssertionClaims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: u64,
    nbf: u64,
    exp: u64,
}

fn thumbprint(certificate: &CertificateDer<'_>) -> String {
    URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate))
}

/// 128 random bits, as text.
fn fresh_id() -> String {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes)
        .expect("the system's random source works: TLS could not start without it");
    URL_SAFE_NO_PAD.encode(bytes)
}
