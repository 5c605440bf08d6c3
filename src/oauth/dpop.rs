//! DPoP (RFC 9449): a proof, signed for one request, that the caller holds the key that its token is bound to.

use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Map, Value};
use url::Url;

use super::claims::{CLOCK_SKEW_SECONDS, numeric_date};
use super::jws::Parts;
use super::keys::VerifyingKey;
use crate::clock::Now;
use crate::digest::{FieldDigest, sha256};

mod nonces;
mod used_proofs;

use nonces::Nonces;
use used_proofs::{Taken, UsedProofs};

/// Largest proof that is read. One with an RSA key of 4096 bits has about 2 kB.
const PROOF_BYTES_MAX: usize = 8_192;
/// Longest `jti` that is read. Real ones are UUIDs, or random bytes of that size.
const ID_BYTES_MAX: usize = 256;
/// How old a proof may be, beside the difference between two clocks: it is made for the request it comes with.
const PROOF_AGE_SECONDS_MAX: u64 = 60;

/// Why a proof is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProofError {
    /// A claim is missing, or of the wrong type.
    #[error("the DPoP proof has no `{0}`")]
    Missing(&'static str),
    /// It is not a JWT of type `dpop+jwt` with a public key in its header.
    #[error("the DPoP proof is not one by RFC 9449: {0}")]
    Malformed(&'static str),
    /// Its signature is not that of the key it shows.
    #[error("the DPoP proof's signature is not valid")]
    Signature,
    /// The token is bound to another key.
    #[error("the DPoP proof is made with another key than the token is bound to")]
    OtherKey,
    /// It is for another token.
    #[error("the DPoP proof is for another token")]
    OtherToken,
    /// It is for another method or address.
    #[error("the DPoP proof is for another request: {0} differs")]
    OtherRequest(&'static str),
    /// It is too old, or from the future.
    #[error("the DPoP proof is not of this moment")]
    OutOfTime,
    /// It has been used before.
    #[error("the DPoP proof has been used before")]
    Replayed,
    /// No more proofs can be told from used ones.
    #[error("more DPoP proofs came than the gateway can remember")]
    TooMany,
    /// It lacks the gateway's nonce, or has an old one.
    #[error("the DPoP proof lacks the gateway's current nonce")]
    Nonce {
        /// The nonce that the next one needs.
        next: String,
    },
}

/// How the gateway checks proofs.
pub struct ProofChecker {
    /// The address by which agents reach the gateway, without a slash at its end.
    public_url: String,
    requires_nonce: bool,
    memory: Arc<ProofMemory>,
}

/// What the gateway remembers of proofs. It outlives reloads: a proof is good once, whatever the configuration.
#[derive(Default)]
pub struct ProofMemory {
    used: UsedProofs,
    nonces: Nonces,
}

/// What a proof has to be for.
pub struct ProvedRequest<'a> {
    /// The method of the request.
    pub method: &'a Method,
    /// The path of the request.
    pub path: &'a str,
    /// The token it came with, in its bytes.
    pub token: &'a [u8],
    /// The thumbprint of the key that the token is bound to.
    pub key: &'a [u8; 32],
}

impl ProofChecker {
    /// Checks proofs for requests to `public_url`, which has neither query nor fragment.
    pub fn new(public_url: &Url, requires_nonce: bool, memory: Arc<ProofMemory>) -> Self {
        Self { public_url: public_url.as_str().trim_end_matches('/').to_owned(), requires_nonce, memory }
    }

    /// Checks a proof in full (RFC 9449 section 4.3), and uses it up.
    ///
    /// # Errors
    ///
    /// [`ProofError`] says what is wrong with it.
    pub fn check(&self, proof: &str, expected: &ProvedRequest<'_>, now: Now) -> Result<(), ProofError> {
        let Proof { key, claims } = Proof::read(proof)?;
        if key != *expected.key {
            return Err(ProofError::OtherKey);
        }
        let text = |name| text(&claims, name);
        if text("ath")? != URL_SAFE_NO_PAD.encode(sha256(expected.token)) {
            return Err(ProofError::OtherToken);
        }
        if text("htm")? != expected.method.as_str() {
            return Err(ProofError::OtherRequest("the method (`htm`)"));
        }
        if !self.is_address_of(text("htu")?, expected.path) {
            return Err(ProofError::OtherRequest("the address (`htu`)"));
        }
        let made_at = claims.get("iat").and_then(numeric_date).ok_or(ProofError::Missing("iat"))?;
        let (seconds, latest) = (now.unix_seconds(), now.latest_unix_seconds());
        if made_at > seconds.saturating_add(CLOCK_SKEW_SECONDS)
            || latest > made_at.saturating_add(PROOF_AGE_SECONDS_MAX + CLOCK_SKEW_SECONDS)
        {
            return Err(ProofError::OutOfTime);
        }
        if self.requires_nonce {
            let nonce = claims.get("nonce").and_then(Value::as_str).unwrap_or_default();
            if !self.memory.nonces.is_current(nonce, latest) {
                return Err(ProofError::Nonce { next: self.memory.nonces.issue(latest) });
            }
        }
        // Last: what is refused for another reason may be repaired and sent again under the same identifier.
        self.use_up(&key, text("jti")?, now.monotonic)
    }

    /// The nonce for the next proof, where one is needed.
    pub fn next_nonce(&self, now: Now) -> Option<String> {
        self.requires_nonce.then(|| self.memory.nonces.issue(now.latest_unix_seconds()))
    }

    /// Whether `htu` is the address of the request, query and fragment aside (RFC 9449 section 4.3).
    fn is_address_of(&self, htu: &str, path: &str) -> bool {
        let (Ok(mut claimed), Ok(own)) = (Url::parse(htu), Url::parse(&format!("{}{path}", self.public_url)))
        else {
            return false;
        };
        claimed.set_query(None);
        claimed.set_fragment(None);
        claimed == own
    }

    fn use_up(&self, key: &[u8; 32], id: &str, now: Instant) -> Result<(), ProofError> {
        if id.len() > ID_BYTES_MAX {
            return Err(ProofError::Malformed("`jti` is too long"));
        }
        let mut digest = FieldDigest::new("dpop-proof/1");
        digest.field(key);
        digest.field(id.as_bytes());
        match self.memory.used.take(digest.finish(), now) {
            Taken::ForTheFirstTime => Ok(()),
            Taken::Before => Err(ProofError::Replayed),
            Taken::NoRoom => Err(ProofError::TooMany),
        }
    }
}

/// A proof whose signature is that of the key it shows.
struct Proof {
    /// The thumbprint of that key.
    key: [u8; 32],
    claims: Map<String, Value>,
}

impl Proof {
    fn read(proof: &str) -> Result<Self, ProofError> {
        let malformed = |_| ProofError::Malformed("it is not a signed JWT");
        let parts = Parts::split(proof, PROOF_BYTES_MAX).map_err(malformed)?;
        if !parts.is_of_type("dpop+jwt") {
            return Err(ProofError::Malformed("its `typ` is not `dpop+jwt`"));
        }
        if parts.refused_parameter().is_some() {
            return Err(ProofError::Malformed("its header has a parameter that is not accepted"));
        }
        let algorithm =
            parts.algorithm().map_err(|_| ProofError::Malformed("its algorithm is not accepted"))?;
        let shown =
            parts.header.get("jwk").and_then(Value::as_object).and_then(VerifyingKey::from_public_jwk);
        let key = shown.ok_or(ProofError::Malformed("its `jwk` is not a public key that can be used"))?;
        if !key.verifies(algorithm, parts.signed.as_bytes(), parts.signature) {
            return Err(ProofError::Signature);
        }
        Ok(Self { key: key.thumbprint(), claims: parts.claims().map_err(malformed)? })
    }
}

fn text<'a>(claims: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, ProofError> {
    let text = claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or(ProofError::Missing(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{Algorithm, EncodingKey};
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
    use serde_json::json;
    use std::time::Duration;

    const NOW: u64 = 1_800_000_000;

    fn now() -> Now {
        Now::new(Duration::from_secs(NOW), Instant::now())
    }

    /// An agent's key.
    struct Holder(KeyPair);

    impl Holder {
        fn new() -> Self {
            Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key"))
        }

        fn jwk(&self) -> Value {
            // An uncompressed point: 4, x, y.
            let point = self.0.der_bytes();
            let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]));
            json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })
        }

        fn thumbprint(&self) -> [u8; 32] {
            VerifyingKey::from_public_jwk(self.jwk().as_object().expect("an object"))
                .expect("a key")
                .thumbprint()
        }

        fn sign(&self, header: &Value, claims: &Value) -> String {
            let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
            let key = EncodingKey::from_ec_pem(self.0.serialize_pem().as_bytes()).expect("a key");
            let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::ES256);
            format!("{signed}.{}", signature.expect("a signature"))
        }

        fn header(&self) -> Value {
            json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk() })
        }
    }

    fn claims() -> Value {
        json!({
            "jti": "proof-1", "htm": "GET", "htu": "https://gw.example/mail/me", "iat": NOW,
            "ath": URL_SAFE_NO_PAD.encode(sha256(b"the-token")),
        })
    }

    fn with(mut claims: Value, name: &str, value: Value) -> Value {
        claims[name] = value;
        claims
    }

    fn checker(requires_nonce: bool) -> ProofChecker {
        let url = Url::parse("https://gw.example/").expect("an address");
        ProofChecker::new(&url, requires_nonce, Arc::default())
    }

    fn check(checker: &ProofChecker, holder: &Holder, proof: &str) -> Result<(), ProofError> {
        let key = holder.thumbprint();
        let expected =
            ProvedRequest { method: &Method::GET, path: "/mail/me", token: b"the-token", key: &key };
        checker.check(proof, &expected, now())
    }

    #[track_caller]
    fn check_claim(name: &str, value: Value, expected: Result<(), ProofError>) {
        let holder = Holder::new();
        let proof = holder.sign(&holder.header(), &with(claims(), name, value.clone()));
        assert_eq!(check(&checker(false), &holder, &proof), expected, "{name}: {value}");
    }

    #[test]
    fn a_proof_is_for_one_request_with_one_token_at_one_moment() {
        use ProofError::{Malformed, Missing, OtherRequest, OtherToken, OutOfTime};
        check_claim("extra", json!(1), Ok(()));
        check_claim("ath", json!(URL_SAFE_NO_PAD.encode(sha256(b"another"))), Err(OtherToken));
        check_claim("ath", Value::Null, Err(Missing("ath")));
        check_claim("htm", json!("POST"), Err(OtherRequest("the method (`htm`)")));
        check_claim("htm", json!("get"), Err(OtherRequest("the method (`htm`)")));
        for good in ["https://gw.example/mail/me?x=1#y", "HTTPS://GW.example:443/mail/me"] {
            check_claim("htu", json!(good), Ok(()));
        }
        for bad in [
            "http://gw.example/mail/me",
            "https://gw.example/mail",
            "https://gw.example/mail/me/",
            "https://gw.example:8443/mail/me",
            "https://other.example/mail/me",
            "https://a@gw.example/mail/me",
            "/mail/me",
        ] {
            check_claim("htu", json!(bad), Err(OtherRequest("the address (`htu`)")));
        }
        check_claim("iat", json!(NOW - 120), Ok(()));
        check_claim("iat", json!(NOW + 60), Ok(()));
        check_claim("iat", json!(NOW - 121), Err(OutOfTime));
        check_claim("iat", json!(NOW + 61), Err(OutOfTime));
        check_claim("iat", json!(u64::MAX), Err(OutOfTime));
        check_claim("iat", json!("1800000000"), Err(Missing("iat")));
        check_claim("jti", json!(7), Err(Missing("jti")));
        check_claim("jti", json!("j".repeat(300)), Err(Malformed("`jti` is too long")));
    }

    #[test]
    fn a_proof_that_was_used_is_not_good_again_when_the_wall_clock_is_set_back() {
        let (checker, holder) = (checker(false), Holder::new());
        let proof = holder.sign(&holder.header(), &claims());
        let key = holder.thumbprint();
        let expected =
            ProvedRequest { method: &Method::GET, path: "/mail/me", token: b"the-token", key: &key };
        checker.check(&proof, &expected, now()).expect("a good proof");
        // By then nobody remembers that it was used.
        let an_hour = Duration::from_secs(3_600);
        let set_back = Now { wall: Duration::from_secs(NOW), ..now().after(an_hour) };
        assert_eq!(checker.check(&proof, &expected, set_back), Err(ProofError::OutOfTime));
    }

    #[track_caller]
    fn check_header(name: &str, value: Value, expected: &ProofError) {
        let holder = Holder::new();
        let proof = holder.sign(&with(holder.header(), name, value.clone()), &claims());
        assert_eq!(check(&checker(false), &holder, &proof).as_ref(), Err(expected), "{name}: {value}");
    }

    #[test]
    fn a_proof_shows_the_public_key_that_the_token_is_bound_to() {
        use ProofError::Malformed;
        check_header("typ", json!("JWT"), &Malformed("its `typ` is not `dpop+jwt`"));
        check_header("alg", json!("none"), &Malformed("its algorithm is not accepted"));
        check_header("alg", json!("HS256"), &Malformed("its algorithm is not accepted"));
        check_header("alg", json!("RS256"), &ProofError::Signature);
        check_header("crit", json!([]), &Malformed("its header has a parameter that is not accepted"));
        let no_key = Malformed("its `jwk` is not a public key that can be used");
        check_header("jwk", Value::Null, &no_key);
        check_header("jwk", json!({"kty": "oct", "k": "AAAA"}), &no_key);
        check_header("jwk", with(Holder::new().jwk(), "d", json!("AAAA")), &no_key);
        check_header("jwk", Holder::new().jwk(), &ProofError::Signature);
        let (holder, thief) = (Holder::new(), Holder::new());
        let proof = thief.sign(&thief.header(), &claims());
        assert_eq!(check(&checker(false), &holder, &proof), Err(ProofError::OtherKey));
        for bad in ["", "a.b", "a.b.c", &"a".repeat(PROOF_BYTES_MAX + 1)] {
            let refused = check(&checker(false), &holder, bad).expect_err("no proof");
            assert_eq!(refused, Malformed("it is not a signed JWT"));
        }
    }

    #[test]
    fn a_proof_is_good_once() {
        let (holder, other, checker) = (Holder::new(), Holder::new(), checker(false));
        let proof = holder.sign(&holder.header(), &claims());
        assert_eq!(check(&checker, &holder, &proof), Ok(()));
        assert_eq!(check(&checker, &holder, &proof), Err(ProofError::Replayed));
        // Signed anew, and the same proof nonetheless.
        let again = holder.sign(&holder.header(), &with(claims(), "iat", json!(NOW + 1)));
        assert_eq!(check(&checker, &holder, &again), Err(ProofError::Replayed));
        let anothers = other.sign(&other.header(), &claims());
        assert_eq!(check(&checker, &other, &anothers), Ok(()), "an identifier is its key's own");
    }

    #[test]
    fn a_nonce_is_demanded_where_that_is_wanted() {
        let (holder, checker) = (Holder::new(), checker(true));
        let proof = |nonce: Value| holder.sign(&holder.header(), &with(claims(), "nonce", nonce));
        let refused = check(&checker, &holder, &proof(Value::Null)).expect_err("no nonce");
        let ProofError::Nonce { next } = refused else { panic!("{refused}") };
        for bad in ["", "x", &next[1..], &next.replace(&next[..1], "_")] {
            let refused = check(&checker, &holder, &proof(json!(bad))).expect_err("a bad nonce");
            assert!(matches!(refused, ProofError::Nonce { .. }), "{bad}: {refused}");
        }
        // What lacked the nonce was not used up.
        assert_eq!(check(&checker, &holder, &proof(json!(next))), Ok(()));
    }
}
