//! The keys of an issuer, as its key set (RFC 7517) lists them: filtered when read, so that what is left can be
//! used without further thought.

use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use crate::digest::sha256;
use crate::strict_json;

/// Most keys that are read from one set. Entra publishes fewer than ten.
const KEYS_MAX: usize = 256;
/// Longest key id that is looked up. Real ones are thumbprints and UUIDs of some 40 bytes.
pub const KEY_ID_BYTES_MAX: usize = 512;
/// RSA keys below this are within reach of an attacker; above the other bound they cost too much to use.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The usable keys of one key set.
#[derive(Default)]
pub struct Keys {
    by_id: HashMap<String, VerifyingKey>,
    without_id: Vec<VerifyingKey>,
    digest: [u8; 32],
    unusable: usize,
}

/// A public key, and the algorithms that it may be used with.
pub struct VerifyingKey {
    key: DecodingKey,
    algorithms: Vec<Algorithm>,
    issuer: Option<String>,
    thumbprint: [u8; 32],
}

/// The answer is no key set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeysError {
    /// It is not JSON, or not of the right form.
    #[error("answered with something that is not a key set")]
    NotAKeySet,
    /// There is nothing in it that a signature could be checked with.
    #[error("its key set has no usable key")]
    Empty,
    /// It is larger than any honest one.
    #[error("its key set has more than {KEYS_MAX} keys")]
    TooMany,
}

/// Why one key of a set is left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unusable {
    NotForSignatures,
    UnsupportedKind,
    UnsupportedAlgorithm,
    Weak,
    Malformed,
}

impl Keys {
    /// Reads a key set. Keys that cannot verify a signature are left out; so are those that share a key id
    /// with another, since the id then tells nothing.
    ///
    /// # Errors
    ///
    /// [`KeysError`] when nothing usable is in it: the caller keeps what it has.
    pub fn parse(document: &[u8]) -> Result<Self, KeysError> {
        let members = strict_json::parse_object(document).map_err(|_| KeysError::NotAKeySet)?;
        let Some(Value::Array(listed)) = members.get("keys") else { return Err(KeysError::NotAKeySet) };
        if listed.len() > KEYS_MAX {
            return Err(KeysError::TooMany);
        }
        let mut keys = Self { digest: digest_of(&members), ..Self::default() };
        let mut shared_ids = Vec::new();
        for listed in listed {
            let Some((id, key)) = listed.as_object().and_then(|jwk| read_key(jwk).ok()) else {
                keys.unusable += 1;
                continue;
            };
            match id {
                None => keys.without_id.push(key),
                Some(id) => match keys.by_id.get(&id) {
                    Some(twin) if twin.thumbprint == key.thumbprint => {}
                    Some(_) => shared_ids.push(id),
                    None => drop(keys.by_id.insert(id, key)),
                },
            }
        }
        for id in shared_ids {
            keys.unusable += usize::from(keys.by_id.remove(&id).is_some()) + 1;
        }
        match keys.by_id.is_empty() && keys.without_id.is_empty() {
            true => Err(KeysError::Empty),
            false => Ok(keys),
        }
    }

    /// The key that a token's header names. A header that names none fits only a set of one key.
    pub fn find(&self, id: Option<&str>) -> Option<&VerifyingKey> {
        match id {
            Some(id) => self.by_id.get(id),
            None => {
                let mut all = self.by_id.values().chain(&self.without_id);
                all.next().filter(|_| all.next().is_none())
            }
        }
    }

    /// Whether both were read from the same document.
    pub fn same_as(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// How many keys of the set can be used.
    pub fn usable(&self) -> usize {
        self.by_id.len() + self.without_id.len()
    }

    /// How many keys of the set were left out.
    pub fn unusable(&self) -> usize {
        self.unusable
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("ids", &self.by_id.keys())
            .field("unusable", &self.unusable)
            .finish_non_exhaustive()
    }
}

impl VerifyingKey {
    /// Reads a single key that somebody shows as their own: a public one, and nothing more.
    ///
    /// `None` when it cannot verify a signature, or gives a private part away.
    pub fn from_public_jwk(jwk: &Map<String, Value>) -> Option<Self> {
        // RFC 7518 section 6: `d` is the private part of every asymmetric key, `k` the secret of a symmetric one.
        let is_private = jwk.contains_key("d") || jwk.contains_key("k");
        read_key(jwk).ok().filter(|_| !is_private).map(|(_, key)| key)
    }

    /// The key's SHA-256 thumbprint (RFC 7638 section 3).
    pub fn thumbprint(&self) -> [u8; 32] {
        self.thumbprint
    }

    /// Whether `signature` (base64url) is this key's, over `message`, with an algorithm that belongs to the key.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &str) -> bool {
        self.algorithms.contains(&algorithm)
            && jsonwebtoken::crypto::verify(signature, message, &self.key, algorithm).unwrap_or(false)
    }

    /// The issuer that this key is bound to, where the key says so itself (Entra does).
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }
}

/// The digest of a document's meaning: members in order, whatever their order on the wire.
fn digest_of(members: &Map<String, Value>) -> [u8; 32] {
    sha256(&serde_json::to_vec(members).unwrap_or_default())
}

fn read_key(jwk: &Map<String, Value>) -> Result<(Option<String>, VerifyingKey), Unusable> {
    if text(jwk, "use")?.is_some_and(|usage| usage != "sig") {
        return Err(Unusable::NotForSignatures);
    }
    match jwk.get("key_ops") {
        None => {}
        Some(Value::Array(operations)) if operations.iter().any(|operation| operation == "verify") => {}
        Some(_) => return Err(Unusable::NotForSignatures),
    }
    let (key, mut algorithms, canonical) = match text(jwk, "kty")? {
        Some("RSA") => rsa_key(jwk)?,
        Some("EC") => ec_key(jwk)?,
        Some("OKP") => ed25519_key(jwk)?,
        _ => return Err(Unusable::UnsupportedKind),
    };
    if let Some(stated) = text(jwk, "alg")? {
        algorithms.retain(|algorithm| algorithm_named(stated) == Some(*algorithm));
    }
    if algorithms.is_empty() {
        return Err(Unusable::UnsupportedAlgorithm);
    }
    let id = text(jwk, "kid")?.map(str::to_owned);
    if id.as_ref().is_some_and(|id| id.len() > KEY_ID_BYTES_MAX) {
        return Err(Unusable::Malformed);
    }
    let issuer = text(jwk, "issuer")?.map(str::to_owned);
    let thumbprint = sha256(canonical.as_bytes());
    Ok((id, VerifyingKey { key, algorithms, issuer, thumbprint }))
}

/// A key, the algorithms of its kind, and the JSON that its thumbprint is taken of (RFC 7638 section 3.2). What goes into
/// that has been read as base64url before, so nothing in it needs escaping.
type KeyParts = (DecodingKey, Vec<Algorithm>, String);

fn rsa_key(jwk: &Map<String, Value>) -> Result<KeyParts, Unusable> {
    let (n, e) = (required(jwk, "n")?, required(jwk, "e")?);
    let (modulus, exponent) = (octets(n)?, octets(e)?);
    let leading_zeros = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    if modulus.first() == Some(&0) || !RSA_BITS.contains(&(modulus.len() * 8 - leading_zeros)) {
        return Err(Unusable::Weak);
    }
    // An exponent of 1 signs nothing, an even one is none, and a huge one is only there to cost time.
    let odd = exponent.last().is_some_and(|byte| byte % 2 == 1);
    if !odd || exponent.len() > 4 || exponent.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte)) < 3
    {
        return Err(Unusable::Weak);
    }
    let key = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
    let algorithms = vec![
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
    ];
    Ok((key, algorithms, format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)))
}

fn ec_key(jwk: &Map<String, Value>) -> Result<KeyParts, Unusable> {
    let (algorithm, curve, size) = match text(jwk, "crv")? {
        Some(curve @ "P-256") => (Algorithm::ES256, curve, 32),
        Some(curve @ "P-384") => (Algorithm::ES384, curve, 48),
        _ => return Err(Unusable::UnsupportedKind),
    };
    let (x, y) = (required(jwk, "x")?, required(jwk, "y")?);
    if octets(x)?.len() != size || octets(y)?.len() != size {
        return Err(Unusable::Malformed);
    }
    let key = DecodingKey::from_ec_components(x, y).map_err(|_| Unusable::Malformed)?;
    Ok((key, vec![algorithm], format!(r#"{{"crv":"{curve}","kty":"EC","x":"{x}","y":"{y}"}}"#)))
}

fn ed25519_key(jwk: &Map<String, Value>) -> Result<KeyParts, Unusable> {
    if text(jwk, "crv")? != Some("Ed25519") {
        return Err(Unusable::UnsupportedKind);
    }
    let x = required(jwk, "x")?;
    if octets(x)?.len() != 32 {
        return Err(Unusable::Malformed);
    }
    let key = DecodingKey::from_ed_components(x).map_err(|_| Unusable::Malformed)?;
    Ok((key, vec![Algorithm::EdDSA], format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)))
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Unusable> {
    match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Unusable::Malformed),
    }
}

fn required<'a>(jwk: &'a Map<String, Value>, name: &str) -> Result<&'a str, Unusable> {
    text(jwk, name)?.ok_or(Unusable::Malformed)
}

fn octets(text: &str) -> Result<Vec<u8>, Unusable> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Unusable::Malformed)
}

/// The algorithms that are accepted, by their registered names (RFC 7518 section 3.1, RFC 8037 section 3.1):
/// asymmetric ones only.
const ACCEPTED: [(Algorithm, &str); 9] = [
    (Algorithm::RS256, "RS256"),
    (Algorithm::RS384, "RS384"),
    (Algorithm::RS512, "RS512"),
    (Algorithm::PS256, "PS256"),
    (Algorithm::PS384, "PS384"),
    (Algorithm::PS512, "PS512"),
    (Algorithm::ES256, "ES256"),
    (Algorithm::ES384, "ES384"),
    (Algorithm::EdDSA, "EdDSA"),
];

/// The names of all of them, separated by spaces.
pub fn accepted_algorithms() -> String {
    ACCEPTED.map(|(_, name)| name).join(" ")
}

/// The algorithm with this registered name, when it is accepted.
pub fn algorithm_named(name: &str) -> Option<Algorithm> {
    ACCEPTED.iter().find(|(_, accepted)| *accepted == name).map(|(algorithm, _)| *algorithm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rsa(kid: &str, bits: usize, exponent: &[u8]) -> Value {
        let mut modulus = vec![0xa5_u8; bits / 8];
        modulus[bits / 8 - 1] = 1;
        json!({"kty": "RSA", "kid": kid, "n": URL_SAFE_NO_PAD.encode(modulus), "e": URL_SAFE_NO_PAD.encode(exponent)})
    }

    fn ec(kid: &str, curve: &str, size: usize) -> Value {
        let coordinate = URL_SAFE_NO_PAD.encode(vec![7_u8; size]);
        json!({"kty": "EC", "kid": kid, "crv": curve, "x": coordinate, "y": coordinate})
    }

    fn with(mut jwk: Value, name: &str, value: Value) -> Value {
        jwk[name] = value;
        jwk
    }

    fn parse(keys: Vec<Value>) -> Result<Keys, KeysError> {
        Keys::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[track_caller]
    fn check_left_out(jwk: Value) {
        let keys = parse(vec![rsa("good", 2048, &[1, 0, 1]), jwk.clone()]).expect("one key is good");
        assert_eq!((keys.usable(), keys.unusable()), (1, 1), "{jwk}");
        assert!(keys.find(Some("good")).is_some());
    }

    #[test]
    fn keys_that_must_not_verify_are_left_out_and_the_rest_is_fine() {
        check_left_out(json!({"kty": "oct", "kid": "bad", "k": "c2VjcmV0"}));
        check_left_out(with(rsa("bad", 2048, &[1, 0, 1]), "use", json!("enc")));
        check_left_out(with(rsa("bad", 2048, &[1, 0, 1]), "key_ops", json!(["encrypt"])));
        check_left_out(with(rsa("bad", 2048, &[1, 0, 1]), "key_ops", json!("verify")));
        check_left_out(with(rsa("bad", 2048, &[1, 0, 1]), "alg", json!("HS256")));
        check_left_out(with(rsa("bad", 2048, &[1, 0, 1]), "alg", json!("RSA-OAEP")));
        check_left_out(with(rsa("bad", 2048, &[1, 0, 1]), "kid", json!(7)));
        check_left_out(rsa("bad", 1024, &[1, 0, 1]));
        check_left_out(rsa("bad", 16_384, &[1, 0, 1]));
        check_left_out(rsa("bad", 2048, &[1]));
        check_left_out(rsa("bad", 2048, &[2]));
        check_left_out(rsa("bad", 2048, &[1, 0, 0, 0, 1]));
        check_left_out(ec("bad", "P-521", 66));
        check_left_out(ec("bad", "secp256k1", 32));
        check_left_out(ec("bad", "P-256", 48));
        check_left_out(
            json!({"kty": "OKP", "kid": "bad", "crv": "X25519", "x": URL_SAFE_NO_PAD.encode([7; 32])}),
        );
        check_left_out(json!("not an object"));
        check_left_out(rsa(&"k".repeat(KEY_ID_BYTES_MAX + 1), 2048, &[1, 0, 1]));
    }

    #[test]
    fn two_keys_under_one_id_are_both_left_out() {
        let keys = parse(vec![
            rsa("good", 2048, &[1, 0, 1]),
            rsa("twice", 2048, &[1, 0, 1]),
            rsa("twice", 3072, &[1, 0, 1]),
        ])
        .expect("one key is good");
        assert!(keys.find(Some("twice")).is_none());
        assert_eq!((keys.usable(), keys.unusable()), (1, 2));
    }

    #[test]
    fn the_same_key_listed_twice_is_one_key() {
        let keys =
            parse(vec![rsa("twice", 2048, &[1, 0, 1]), rsa("twice", 2048, &[1, 0, 1])]).expect("a key");
        assert!(keys.find(Some("twice")).is_some());
    }

    #[test]
    fn a_header_without_key_id_fits_only_a_set_of_one() {
        let one = parse(vec![rsa("a", 2048, &[1, 0, 1])]).expect("a key");
        assert!(one.find(None).is_some());
        let two = parse(vec![rsa("a", 2048, &[1, 0, 1]), ec("b", "P-256", 32)]).expect("two keys");
        assert!(two.find(None).is_none());
    }

    #[test]
    fn a_set_without_usable_keys_is_an_error() {
        assert_eq!(parse(vec![]).err(), Some(KeysError::Empty));
        assert_eq!(parse(vec![rsa("weak", 1024, &[1, 0, 1])]).err(), Some(KeysError::Empty));
        assert_eq!(parse(vec![json!({}); KEYS_MAX + 1]).err(), Some(KeysError::TooMany));
        for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "<html>"] {
            assert_eq!(Keys::parse(bad.as_bytes()).err(), Some(KeysError::NotAKeySet), "{bad}");
        }
    }

    #[test]
    fn a_key_has_the_thumbprint_of_rfc_7638() {
        // The example of RFC 7638 section 3.1.
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let jwk = json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"});
        let key = VerifyingKey::from_public_jwk(jwk.as_object().expect("an object")).expect("a key");
        assert_eq!(URL_SAFE_NO_PAD.encode(key.thumbprint()), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        for secret in ["d", "k"] {
            let shown = with(jwk.clone(), secret, json!("x"));
            assert!(
                VerifyingKey::from_public_jwk(shown.as_object().expect("an object")).is_none(),
                "{secret}"
            );
        }
    }

    #[test]
    fn only_asymmetric_algorithms_are_known() {
        for name in ["none", "None", "HS256", "hs256", "rs256", "ES512", "RSA-OAEP", ""] {
            assert_eq!(algorithm_named(name), None, "{name}");
        }
        assert_eq!(algorithm_named("PS256"), Some(Algorithm::PS256));
    }
}
