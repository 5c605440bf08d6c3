//! JSON Web Signatures from the primitives up, so that no part of the gateway signs or checks for its own
//! tests.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256,
    UnparsedPublicKey,
};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

/// A signature algorithm these servers know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    /// The name in a header's `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
        }
    }

    /// The algorithm of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Rs256, Self::Ps256, Self::Es256].into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// A private key and the id it is published under. Cloning shares the key.
#[derive(Clone)]
pub struct SigningKey {
    kid: String,
    pair: Pair,
}

#[derive(Clone)]
enum Pair {
    Rsa(Arc<RsaKeyPair>),
    P256(Arc<EcdsaKeyPair>),
}

impl SigningKey {
    /// A fresh RSA key of 2048 bits. Takes a good part of a second in an unoptimised build.
    pub fn rsa(kid: impl Into<String>) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("RSA-2048 keys can be generated");
        Self { kid: kid.into(), pair: Pair::Rsa(Arc::new(pair)) }
    }

    /// The RSA key that every server of this process may begin with, generated once.
    pub fn shared_rsa(kid: impl Into<String>) -> Self {
        static SHARED: OnceLock<SigningKey> = OnceLock::new();
        Self { kid: kid.into(), ..SHARED.get_or_init(|| Self::rsa("shared")).clone() }
    }

    /// An RSA key that no server of this process publishes, generated once.
    pub fn strange_rsa(kid: impl Into<String>) -> Self {
        static STRANGE: OnceLock<SigningKey> = OnceLock::new();
        Self { kid: kid.into(), ..STRANGE.get_or_init(|| Self::rsa("strange")).clone() }
    }

    /// A fresh ECDSA key on P-256.
    pub fn p256(kid: impl Into<String>) -> Self {
        let pair =
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("P-256 keys can be generated");
        Self { kid: kid.into(), pair: Pair::P256(Arc::new(pair)) }
    }

    /// An RSA key in PKCS#8, as a file holds it.
    pub fn from_rsa_pkcs8(kid: impl Into<String>, der: &[u8]) -> Option<Self> {
        let pair = RsaKeyPair::from_pkcs8(der).ok()?;
        Some(Self { kid: kid.into(), pair: Pair::Rsa(Arc::new(pair)) })
    }

    /// The same key under another id.
    pub fn with_kid(&self, kid: impl Into<String>) -> Self {
        Self { kid: kid.into(), pair: self.pair.clone() }
    }

    /// The id it is published under.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The algorithm it signs with unless told otherwise.
    pub fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Rsa(_) => Algorithm::Rs256,
            Pair::P256(_) => Algorithm::Es256,
        }
    }

    /// The public half as a member of a key set.
    pub fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => json!({
                "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid,
                "n": base64url(pair.public_key().modulus().big_endian_without_leading_zero()),
                "e": base64url(pair.public_key().exponent().big_endian_without_leading_zero()),
            }),
            Pair::P256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({
                    "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid,
                    "x": base64url(x), "y": base64url(y),
                })
            }
        }
    }

    /// The public half in PEM, which a confused reader may take for an HMAC secret.
    pub fn public_pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_der(),
            Pair::P256(pair) => pair.public_key().as_der(),
        }
        .expect("a public key can be encoded");
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der.as_ref()))
    }

    /// A compact JWS over exactly this header and these claims.
    pub fn sign(&self, algorithm: Algorithm, header: &str, claims: &str) -> String {
        let input = signing_input(header, claims);
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let padding = if algorithm == Algorithm::Ps256 { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, input.as_bytes(), &mut signature).expect("an RSA key signs");
                signature
            }
            Pair::P256(pair) => {
                pair.sign(&random, input.as_bytes()).expect("a P-256 key signs").as_ref().to_vec()
            }
        };
        format!("{input}.{}", base64url(&signature))
    }
}

/// A JWS "signed" with HMAC-SHA256, whatever its header says.
pub fn sign_hmac(secret: &[u8], header: &str, claims: &str) -> String {
    let input = signing_input(header, claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
    format!("{input}.{}", base64url(tag.as_ref()))
}

/// A JWS with an empty signature.
pub fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.", signing_input(header, claims))
}

/// A public key to check signatures with.
#[derive(Clone, Debug)]
pub enum PublicKey {
    /// Modulus and exponent, as a key set has them.
    Rsa {
        /// The modulus.
        n: Vec<u8>,
        /// The public exponent.
        e: Vec<u8>,
    },
    /// A subject public key info, as a certificate has it.
    RsaInfo(Vec<u8>),
    /// An uncompressed point on P-256.
    P256(Vec<u8>),
}

impl PublicKey {
    /// The key that a member of a key set describes.
    pub fn from_jwk(jwk: &Value) -> Option<Self> {
        let member = |name| URL_SAFE_NO_PAD.decode(jwk.get(name)?.as_str()?).ok();
        match jwk.get("kty")?.as_str()? {
            "RSA" => Some(Self::Rsa { n: member("n")?, e: member("e")? }),
            "EC" if jwk.get("crv")? == "P-256" => {
                Some(Self::P256([vec![4], member("x")?, member("y")?].concat()))
            }
            _ => None,
        }
    }

    /// Whether the signature is this key's, by this algorithm. The wrong kind of key is a plain no.
    pub fn verifies(&self, algorithm: Algorithm, jws: &Jws<'_>) -> bool {
        let (input, signature) = (jws.signing_input.as_bytes(), jws.signature.as_slice());
        let rsa = match algorithm {
            Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Algorithm::Es256 => {
                let Self::P256(point) = self else { return false };
                return UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .verify(input, signature)
                    .is_ok();
            }
        };
        match self {
            Self::Rsa { n, e } => PublicKeyComponents { n, e }.verify(rsa, input, signature).is_ok(),
            Self::RsaInfo(der) => UnparsedPublicKey::new(rsa, der).verify(input, signature).is_ok(),
            Self::P256(_) => false,
        }
    }
}

/// A compact JWS taken apart, and nothing about it believed yet.
pub struct Jws<'a> {
    /// The protected header.
    pub header: Map<String, Value>,
    /// The claims.
    pub claims: Map<String, Value>,
    signing_input: &'a str,
    signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// Takes a token apart, if it has three parts and two of them are JSON objects.
    pub fn parse(token: &'a str) -> Option<Self> {
        let (signing_input, signature) = token.rsplit_once('.')?;
        let (header, claims) = signing_input.split_once('.')?;
        let object = |part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        Some(Self {
            header: object(header)?,
            claims: object(claims)?,
            signing_input,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// A header member that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header.get(name)?.as_str()
    }

    /// A claim that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name)?.as_str()
    }

    /// A claim that is a number, without its fraction: a time may have one (RFC 7519 section 2), and MSAL for Python's do.
    pub fn number(&self, name: &str) -> Option<i64> {
        let claim = self.claims.get(name)?;
        claim.as_i64().or_else(|| Some(claim.as_f64()?.floor() as i64))
    }

    /// Whether `aud` is this audience, or a list that has it.
    pub fn is_for(&self, audience: &str) -> bool {
        match self.claims.get("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(many)) => many.iter().any(|one| one == audience),
            _ => false,
        }
    }

    /// What `scp` or `scope` lists.
    pub fn scopes(&self) -> Vec<&str> {
        let scopes = self.text("scp").or_else(|| self.text("scope")).unwrap_or_default();
        scopes.split(' ').filter(|scope| !scope.is_empty()).collect()
    }

    /// The values of a claim that is a list of texts.
    pub fn list(&self, name: &str) -> Vec<&str> {
        let values = self.claims.get(name).and_then(Value::as_array);
        values.into_iter().flatten().filter_map(Value::as_str).collect()
    }
}

/// SHA-256, in base64url without padding.
pub fn sha256_base64url(bytes: &[u8]) -> String {
    base64url(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// SHA-1, in base64url without padding: only for the legacy `x5t`.
pub fn sha1_base64url(bytes: &[u8]) -> String {
    base64url(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref())
}

/// Base64url without padding.
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn signing_input(header: &str, claims: &str) -> String {
    format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_own_key_algorithm_and_text_alone() {
        let (rsa, ec) = (SigningKey::shared_rsa("r"), SigningKey::p256("e"));
        check_signature(&rsa, Algorithm::Rs256, &SigningKey::strange_rsa("r"));
        check_signature(&rsa, Algorithm::Ps256, &SigningKey::strange_rsa("r"));
        check_signature(&ec, Algorithm::Es256, &SigningKey::p256("e"));
    }

    #[track_caller]
    fn check_signature(key: &SigningKey, algorithm: Algorithm, stranger: &SigningKey) {
        let token = key.sign(algorithm, r#"{"alg":"any"}"#, r#"{"sub":"ada"}"#);
        let jws = Jws::parse(&token).expect("three parts");
        let public = |key: &SigningKey| PublicKey::from_jwk(&key.jwk()).expect("our own key set is readable");
        assert!(public(key).verifies(algorithm, &jws));
        assert!(!public(stranger).verifies(algorithm, &jws));
        for other in [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256] {
            assert_eq!(public(key).verifies(other, &jws), other == algorithm, "{other:?}");
        }
        let altered = token.replace(&base64url(br#"{"sub":"ada"}"#), &base64url(br#"{"sub":"bob"}"#));
        assert_ne!(altered, token);
        assert!(!public(key).verifies(algorithm, &Jws::parse(&altered).expect("three parts")));
    }

    #[test]
    fn what_is_not_a_token_is_not_read() {
        for token in ["", "a.b", "a.b.c.d", "e30.e30", "e30.WzFd.AA", "e30.e30.!", "e30.e30.e30.e30"] {
            assert!(Jws::parse(token).is_none(), "{token}");
        }
    }
}
