//! Client authentication by a signed assertion (`private_key_jwt`, RFC 7523 section 2.2).

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::SignatureAlgorithm;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Serialize;

use crate::clock::Now;
use crate::identity::SecretToken;
use crate::random;

/// How long an assertion is good for. Entra accepts up to ten minutes, others no more than two (navikt's TokenX and
/// mock-oauth2-server). One is made for each request, so the only thing this has to outlast is the difference between two
/// clocks; what is missing from two minutes is for a server whose clock is late.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(100);

/// A private key by which an authorization server knows the gateway, and how its assertions say which key it is.
pub struct AssertionKey {
    key: EncodingKey,
    header: Header,
}

/// How an assertion says which key it is signed with (RFC 7515 section 4.1). At least one way is needed, and those about
/// a certificate need one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeyNaming {
    /// `x5t#S256`: the SHA-256 of the certificate.
    pub sha256_thumbprint: bool,
    /// `x5t`: its SHA-1, for servers that know nothing else.
    pub sha1_thumbprint: bool,
    /// `x5c`: the certificate and those above it, for servers that trust its subject and issuer.
    pub chain: bool,
    /// `kid`: the name that the server gave to the key.
    pub key_id: Option<String>,
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
    /// The key is of a kind that no algorithm here can use.
    #[error(
        "holds a key that cannot sign: an RSA key of at least 2048 bits, or a P-256 key in PKCS #8 form, is needed"
    )]
    Unsuitable,
    /// The key is of another kind than the algorithm wants.
    #[error("holds a key that cannot sign {0:?}")]
    OtherAlgorithm(Algorithm),
    /// The key does not belong to the certificate.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
}

impl AssertionKey {
    /// Reads a key and its certificate, both PEM. Without an `algorithm`, an RSA key signs PS256 and a P-256 key ES256.
    ///
    /// # Errors
    ///
    /// [`AssertionKeyError`] when either cannot be read or they do not belong together.
    pub fn from_pem(
        certificates: Option<&[u8]>,
        key: &[u8],
        algorithm: Option<Algorithm>,
        naming: &KeyNaming,
    ) -> Result<Self, AssertionKeyError> {
        let key_der = PrivateKeyDer::from_pem_slice(key).map_err(|_| AssertionKeyError::NoKey)?;
        let signing_key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key_der)
            .map_err(|_| AssertionKeyError::Unsuitable)?;
        let (algorithm, key) = match (signing_key.algorithm(), algorithm) {
            (SignatureAlgorithm::RSA, None | Some(Algorithm::PS256)) => {
                (Algorithm::PS256, EncodingKey::from_rsa_pem(key))
            }
            (SignatureAlgorithm::RSA, Some(Algorithm::RS256)) => {
                (Algorithm::RS256, EncodingKey::from_rsa_pem(key))
            }
            (SignatureAlgorithm::ECDSA, None | Some(Algorithm::ES256)) => {
                (Algorithm::ES256, EncodingKey::from_ec_pem(key))
            }
            (_, Some(algorithm)) => return Err(AssertionKeyError::OtherAlgorithm(algorithm)),
            (_, None) => return Err(AssertionKeyError::Unsuitable),
        };
        let key = key.map_err(|_| AssertionKeyError::Unsuitable)?;
        // Finds out whether the key is of the size that the algorithm wants.
        jsonwebtoken::crypto::sign(b"probe", &key, algorithm).map_err(|_| AssertionKeyError::Unsuitable)?;
        let mut header = Header::new(algorithm);
        header.kid.clone_from(&naming.key_id);
        if let Some(certificates) = certificates {
            let chain = CertificateDer::pem_slice_iter(certificates).collect::<Result<Vec<_>, _>>();
            let chain =
                chain.ok().filter(|chain| !chain.is_empty()).ok_or(AssertionKeyError::NoCertificate)?;
            let leaf = &chain[0];
            header.x5t_s256 = naming.sha256_thumbprint.then(|| URL_SAFE_NO_PAD.encode(digest(&SHA256, leaf)));
            header.x5t = naming
                .sha1_thumbprint
                .then(|| URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, leaf)));
            header.x5c =
                naming.chain.then(|| chain.iter().map(|certificate| STANDARD.encode(certificate)).collect());
            rustls::sign::CertifiedKey::new(chain, signing_key)
                .keys_match()
                .map_err(|_| AssertionKeyError::Mismatch)?;
        }
        Ok(Self { key, header })
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
            jti: random::text::<16>(),
            iat: issued_at,
            nbf: issued_at,
            exp: issued_at + ASSERTION_LIFETIME.as_secs(),
        };
        jsonwebtoken::encode(&self.header, &claims, &self.key).map(SecretToken::new)
    }
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionKey").field("algorithm", &self.header.alg).finish_non_exhaustive()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
    use serde_json::Value;

    fn certified(kind: &'static rcgen::SignatureAlgorithm) -> (String, String) {
        // rustls takes the provider from where it is given; rcgen has its own.
        let _ = tls::provider();
        let key = KeyPair::generate_for(kind).expect("a key");
        let certificate = CertificateParams::new(Vec::new()).expect("parameters").self_signed(&key);
        (certificate.expect("a certificate").pem(), key.serialize_pem())
    }

    fn thumbprint() -> KeyNaming {
        KeyNaming { sha256_thumbprint: true, ..KeyNaming::default() }
    }

    fn header_of(key: &AssertionKey) -> Value {
        let assertion = key.sign("gateway", "https://issuer.example", Now::read()).expect("an assertion");
        let part = |at| assertion.expose().split('.').nth(at).expect("a part").to_owned();
        let read = |part: String| -> Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
        };
        let claims = read(part(1));
        assert_eq!((&claims["iss"], &claims["sub"]), (&"gateway".into(), &"gateway".into()));
        assert_eq!(claims["aud"], "https://issuer.example");
        let [issued_at, expires_at] = ["iat", "exp"].map(|name| claims[name].as_u64().expect("a time"));
        assert!((60..120).contains(&(expires_at - issued_at)), "some servers refuse more than two minutes");
        read(part(0))
    }

    #[test]
    fn the_algorithm_follows_from_the_key_unless_it_is_given() {
        let (rsa, p256) = (certified(&PKCS_RSA_SHA256), certified(&PKCS_ECDSA_P256_SHA256));
        let algorithm = |(certificate, key): &(String, String), algorithm| {
            AssertionKey::from_pem(Some(certificate.as_bytes()), key.as_bytes(), algorithm, &thumbprint())
                .map(|key| header_of(&key)["alg"].as_str().expect("text").to_owned())
                .map_err(|error| error.to_string())
        };
        assert_eq!(algorithm(&rsa, None), Ok("PS256".to_owned()));
        assert_eq!(algorithm(&rsa, Some(Algorithm::RS256)), Ok("RS256".to_owned()));
        assert_eq!(algorithm(&p256, None), Ok("ES256".to_owned()));
        assert_eq!(
            algorithm(&p256, Some(Algorithm::PS256)),
            Err("holds a key that cannot sign PS256".to_owned())
        );
        assert_eq!(
            algorithm(&rsa, Some(Algorithm::ES256)),
            Err("holds a key that cannot sign ES256".to_owned())
        );
        assert_eq!(
            algorithm(&(rsa.0.clone(), p256.1.clone()), None),
            Err("the private key does not belong to the certificate".to_owned())
        );
    }

    #[test]
    fn the_key_is_named_as_the_server_wants_it() {
        let (certificate, key) = certified(&PKCS_ECDSA_P256_SHA256);
        let header = |certificate: Option<&str>, naming: KeyNaming| {
            let certificate = certificate.map(str::as_bytes);
            header_of(&AssertionKey::from_pem(certificate, key.as_bytes(), None, &naming).expect("a key"))
        };
        let names = |header: &Value| {
            let names = ["kid", "x5t", "x5t#S256", "x5c"];
            names.into_iter().filter(|name| header.get(name).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(names(&header(Some(&certificate), thumbprint())), ["x5t#S256"]);
        let all = KeyNaming {
            sha1_thumbprint: true,
            chain: true,
            key_id: Some("key-1".to_owned()),
            ..thumbprint()
        };
        assert_eq!(names(&header(Some(&certificate), all)), ["kid", "x5t", "x5t#S256", "x5c"]);
        let named = KeyNaming { key_id: Some("key-1".to_owned()), ..KeyNaming::default() };
        assert_eq!(header(None, named)["kid"], "key-1");
    }
}
