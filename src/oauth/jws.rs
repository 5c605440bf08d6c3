//! The outer form of a signed token (RFC 7515 compact serialization): three parts, a header with nothing surprising.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::keys::{KEY_ID_BYTES_MAX, algorithm_named};
use crate::strict_json;

/// Largest token that is read, in bytes. Entra's with 200 groups stay below 10 kB.
pub const TOKEN_BYTES_MAX: usize = 16_384;

/// A token taken apart, not yet verified.
pub struct Jws<'a> {
    /// The algorithm its header names: asymmetric.
    pub algorithm: Algorithm,
    /// The key its header names.
    pub key_id: Option<String>,
    /// What is signed: header and payload, still encoded.
    pub signed: &'a str,
    /// The signature, still encoded.
    pub signature: &'a str,
    /// Whether its header says that it is an access token by RFC 9068.
    pub is_at_jwt: bool,
    /// The claims. Nobody has vouched for them yet.
    pub claims: Map<String, Value>,
}

/// Why a token's form is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JwsError {
    /// It is larger than any honest one.
    #[error("the token is larger than {TOKEN_BYTES_MAX} bytes")]
    TooLarge,
    /// It does not have three parts of base64url with JSON objects in the first two.
    #[error("the token is not a signed JWT")]
    Malformed,
    /// Its header or claims give a member twice, which two readers could take differently.
    #[error("the token gives a member twice")]
    Repeated,
    /// It is encrypted (RFC 7516).
    #[error("the token is encrypted; a signed one is needed")]
    Encrypted,
    /// Its algorithm is missing, `none`, symmetric or unknown.
    #[error("the token's signature algorithm is not accepted")]
    Algorithm,
    /// Its header asks for something that the gateway will not do: `crit`, `b64`, or keys of its own.
    #[error("the token's header has a parameter that is not accepted: {0}")]
    Header(&'static str),
    /// It is of another type than an access token.
    #[error("the token is {0}, not an access token")]
    Type(OtherToken),
}

/// A token that its issuer signed for another purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OtherToken {
    /// OpenID Connect Core section 2.
    Id,
    /// RFC 6749 section 1.5.
    Refresh,
    /// OpenID Connect Back-Channel Logout section 2.4.
    Logout,
    /// Something else.
    Other,
}

impl fmt::Display for OtherToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Id => "an ID token",
            Self::Refresh => "a refresh token",
            Self::Logout => "a logout token",
            Self::Other => "a token for another purpose",
        })
    }
}

/// A signed JWT in its three parts, with nothing but the header looked into.
pub struct Parts<'a> {
    /// The header.
    pub header: Map<String, Value>,
    /// The claims, still encoded.
    pub claims: &'a str,
    /// What is signed: header and claims, still encoded.
    pub signed: &'a str,
    /// The signature, still encoded. Not empty.
    pub signature: &'a str,
}

impl<'a> Parts<'a> {
    /// Takes a JWT of at most `bytes_max` bytes apart.
    ///
    /// # Errors
    ///
    /// [`JwsError`] when it is larger, or not a signed JWT.
    pub fn split(token: &'a str, bytes_max: usize) -> Result<Self, JwsError> {
        if token.len() > bytes_max {
            return Err(JwsError::TooLarge);
        }
        let mut parts = token.split('.');
        let (header, claims, signature) = match (parts.next(), parts.next(), parts.next(), parts.count()) {
            (Some(header), Some(claims), Some(signature), 0) => (header, claims, signature),
            (_, _, _, 2) => return Err(JwsError::Encrypted),
            _ => return Err(JwsError::Malformed),
        };
        if signature.is_empty() {
            return Err(JwsError::Algorithm);
        }
        let signed = &token[..header.len() + 1 + claims.len()];
        Ok(Self { header: decode_object(header)?, claims, signed, signature })
    }

    /// The algorithm that the header names, when it is accepted.
    ///
    /// # Errors
    ///
    /// [`JwsError::Algorithm`].
    pub fn algorithm(&self) -> Result<Algorithm, JwsError> {
        let name = self.header.get("alg").and_then(Value::as_str);
        name.and_then(algorithm_named).ok_or(JwsError::Algorithm)
    }

    /// The first parameter of the header that is never accepted.
    pub fn refused_parameter(&self) -> Option<&'static str> {
        REFUSED_PARAMETERS.into_iter().find(|name| self.header.contains_key(*name))
    }

    /// The claims. Nobody has vouched for them yet.
    ///
    /// # Errors
    ///
    /// [`JwsError`] when they are not a JSON object, or one that gives a member twice.
    pub fn claims(&self) -> Result<Map<String, Value>, JwsError> {
        decode_object(self.claims)
    }

    /// Whether the header's `typ` is `wanted`. The prefix may be spelled out, and case does not matter (RFC 7515
    /// section 4.1.9).
    pub fn is_of_type(&self, wanted: &str) -> bool {
        self.header
            .get("typ")
            .and_then(Value::as_str)
            .is_some_and(|typ| short_type(typ).eq_ignore_ascii_case(wanted))
    }
}

/// Header parameters that change how a token is read, or that bring a key or the address of one. A verifier that
/// heeds them lets the token's author choose the key (RFC 8725 section 3.10); one that ignores `crit` breaks RFC 7515.
const REFUSED_PARAMETERS: [&str; 7] = ["crit", "b64", "jku", "x5u", "x5c", "enc", "zip"];

impl<'a> Jws<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    ///
    /// [`JwsError`] when its form or header is refused.
    pub fn parse(token: &'a str) -> Result<Self, JwsError> {
        let parts = Parts::split(token, TOKEN_BYTES_MAX)?;
        // A DPoP proof shows its key here; an access token has none to show.
        let own_key = parts.header.contains_key("jwk").then_some("jwk");
        if let Some(refused) = parts.refused_parameter().or(own_key) {
            return Err(JwsError::Header(refused));
        }
        let algorithm = parts.algorithm()?;
        let key_id = match parts.header.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= KEY_ID_BYTES_MAX => Some(id.clone()),
            Some(_) => return Err(JwsError::Header("kid")),
        };
        let is_at_jwt = match parts.header.get("typ") {
            None => false,
            Some(_) if parts.is_of_type("JWT") => false,
            // RFC 9068 section 2.1.
            Some(_) if parts.is_of_type("at+jwt") => true,
            // OpenID Connect Back-Channel Logout section 2.4.
            Some(_) if parts.is_of_type("logout+jwt") => return Err(JwsError::Type(OtherToken::Logout)),
            Some(_) => return Err(JwsError::Type(OtherToken::Other)),
        };
        let claims = parts.claims()?;
        Ok(Self { algorithm, key_id, signed: parts.signed, signature: parts.signature, is_at_jwt, claims })
    }
}

impl fmt::Debug for Jws<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jws")
            .field("algorithm", &self.algorithm)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

fn short_type(typ: &str) -> &str {
    let prefix = typ.get(..12).filter(|prefix| prefix.eq_ignore_ascii_case("application/"));
    prefix.map_or(typ, |prefix| &typ[prefix.len()..])
}

fn decode_object(part: &str) -> Result<Map<String, Value>, JwsError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Malformed)?;
    strict_json::parse_object(&bytes).map_err(|error| match strict_json::is_repetition(&error) {
        true => JwsError::Repeated,
        false => JwsError::Malformed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    #[track_caller]
    fn check_header(header: &str, expected: Option<JwsError>) {
        assert_eq!(Jws::parse(&token(header, "{}")).err(), expected, "{header}");
    }

    #[test]
    fn an_ordinary_header_is_read() {
        check_header(r#"{"alg":"RS256","kid":"a","typ":"JWT","x5t":"abc"}"#, None);
        check_header(r#"{"alg":"ES256","typ":"application/at+JWT"}"#, None);
        check_header(r#"{"alg":"PS256"}"#, None);
    }

    #[test]
    fn a_token_does_not_choose_its_own_key_or_rules() {
        for name in REFUSED_PARAMETERS.into_iter().chain(["jwk"]) {
            check_header(&format!(r#"{{"alg":"RS256","{name}":["x"]}}"#), Some(JwsError::Header(name)));
        }
        check_header(r#"{"alg":"RS256","kid":7}"#, Some(JwsError::Header("kid")));
        check_header(
            &format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "k".repeat(10_000)),
            Some(JwsError::Header("kid")),
        );
    }

    #[test]
    fn unsigned_and_symmetric_algorithms_are_refused() {
        for alg in ["none", "None", "NONE", "nOnE", "HS256", "HS512", "rs256", "dir", ""] {
            check_header(&format!(r#"{{"alg":"{alg}"}}"#), Some(JwsError::Algorithm));
        }
        check_header("{}", Some(JwsError::Algorithm));
        check_header(r#"{"alg":["RS256"]}"#, Some(JwsError::Algorithm));
        check_header(r#"{"alg":"RS256","alg":"none"}"#, Some(JwsError::Repeated));
        let unsigned = token(r#"{"alg":"RS256"}"#, "{}");
        let unsigned = unsigned.strip_suffix("c2ln").expect("the signature of the test");
        assert_eq!(Jws::parse(unsigned).err(), Some(JwsError::Algorithm));
    }

    #[test]
    fn tokens_for_another_purpose_are_refused() {
        for typ in ["dpop+jwt", "secevent+jwt", "oauth-id-jag+jwt", "application/", "", "JWTx"] {
            check_header(
                &format!(r#"{{"alg":"RS256","typ":"{typ}"}}"#),
                Some(JwsError::Type(OtherToken::Other)),
            );
        }
        let logout = Some(JwsError::Type(OtherToken::Logout));
        check_header(r#"{"alg":"RS256","typ":"application/logout+jwt"}"#, logout);
        check_header(r#"{"alg":"RS256","typ":7}"#, Some(JwsError::Type(OtherToken::Other)));
    }

    #[test]
    fn what_is_no_signed_token_is_refused() {
        let good = token(r#"{"alg":"RS256"}"#, "{}");
        for bad in ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", "\u{e9}.b.c"] {
            assert!(matches!(Jws::parse(bad), Err(JwsError::Malformed | JwsError::Algorithm)), "{bad}");
        }
        assert_eq!(Jws::parse(&format!("{good}.a.b")).err(), Some(JwsError::Encrypted));
        assert_eq!(Jws::parse(&format!("{good}.a")).err(), Some(JwsError::Malformed));
        assert_eq!(Jws::parse(&token(r#"{"alg":"RS256"}"#, "[]")).err(), Some(JwsError::Malformed));
        assert_eq!(Jws::parse(&token(r#"{"alg":"RS256"}"#, "{} {}")).err(), Some(JwsError::Malformed));
        let large = "a".repeat(TOKEN_BYTES_MAX + 1);
        assert_eq!(Jws::parse(&large).err(), Some(JwsError::TooLarge));
    }
}
