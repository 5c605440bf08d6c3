//! Tokens that are bound to a key: whoever sends one has to prove to hold it, by a DPoP proof (RFC 9449) or by the
//! certificate of the connection (RFC 8705). Without the proof such a token is worth nothing, also as a plain bearer.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::Value;

use super::claims::ClaimsError;
use super::dpop::{ProofChecker, ProofError, ProvedRequest};
use crate::clock::Now;
use crate::identity::Confirmation;

/// A token as a request presents it, with what the request shows to prove that it is the sender's.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// The token, as it came.
    pub token: &'a [u8],
    /// How it came.
    pub scheme: Scheme<'a>,
    /// The method of the request.
    pub method: &'a Method,
    /// The path of the request.
    pub path: &'a str,
    /// The SHA-256 of the certificate that the sender's connection was made with.
    pub certificate: Option<[u8; 32]>,
    /// The agent's own token, where one came along.
    pub actor_token: Option<&'a str>,
}

/// The authentication scheme that a token came with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme<'a> {
    /// RFC 6750 section 2.1.
    Bearer,
    /// RFC 9449 section 7.1.
    Dpop {
        /// What the one `DPoP` header holds.
        proof: &'a str,
    },
}

impl<'a> Presented<'a> {
    /// A token, and nothing that proves anything.
    pub fn bearer(token: &'a str) -> Self {
        let (token, method, path) = (token.as_bytes(), &Method::GET, "/");
        Self { token, scheme: Scheme::Bearer, method, path, certificate: None, actor_token: None }
    }
}

/// What was sent as a token, where it has the form that all of them have.
///
/// They are long, and all of them are looked at to their end: so there is no branch at each byte.
pub fn read_token(bytes: &[u8]) -> Option<&str> {
    let is_one = !bytes.is_empty() && bytes.iter().fold(true, |is_one, byte| is_one & is_b64token(*byte));
    std::str::from_utf8(bytes).ok().filter(|_| is_one)
}

/// RFC 6750 section 2.1: `b64token`.
const fn is_b64token(byte: u8) -> bool {
    // `-`, `.`, `/` and the digits are neighbours.
    (byte >= b'-') & (byte <= b'9')
        | (byte >= b'A') & (byte <= b'Z')
        | (byte >= b'a') & (byte <= b'z')
        | (byte == b'_')
        | (byte == b'~')
        | (byte == b'+')
        | (byte == b'=')
}

/// Why a token is not taken to be its sender's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PossessionError {
    /// It is bound to a key, and came as a plain bearer token.
    #[error("the token is bound to a key, and came without a DPoP proof")]
    CameAsBearer,
    /// The configuration does not say for which address proofs have to be.
    #[error("the token is bound to a key, and without `public_url` the gateway cannot check proofs")]
    ProofsNotServed,
    /// The proof is refused.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// It is a plain bearer token, and came with a proof of nothing.
    #[error("the token came with the DPoP scheme and is not bound to a key")]
    NotBound,
    /// It is bound to a certificate, and the connection was made without one.
    #[error("the token is bound to a client certificate, and the connection was made without one")]
    NoCertificate,
    /// The connection was made with another certificate.
    #[error("the token is bound to another client certificate than the connection was made with")]
    OtherCertificate,
}

/// Reads what a token is bound to (`cnf`, RFC 7800 section 3.1).
///
/// # Errors
///
/// [`ClaimsError`] when it cannot be read, or is bound in a way that nothing here can check.
pub fn confirmation(cnf: Option<&Value>) -> Result<Option<Confirmation>, ClaimsError> {
    let Some(cnf) = cnf else { return Ok(None) };
    let members =
        cnf.as_object().filter(|members| !members.is_empty()).ok_or(ClaimsError::WrongType("cnf"))?;
    let mut confirmation = Confirmation::default();
    for (name, value) in members {
        let place = match name.as_str() {
            "jkt" => &mut confirmation.key,
            "x5t#S256" => &mut confirmation.certificate,
            _ => return Err(ClaimsError::ConfirmationUnsupported),
        };
        let bytes = value.as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let digest = bytes.and_then(|bytes| bytes.try_into().ok());
        *place = Some(digest.ok_or(ClaimsError::WrongType("cnf"))?);
    }
    Ok(Some(confirmation))
}

/// Checks that a token which is bound to `confirmation`, or to nothing, is its sender's.
///
/// # Errors
///
/// [`PossessionError`] when that is not proved.
pub fn check(
    confirmation: Option<&Confirmation>,
    presented: &Presented<'_>,
    proofs: Option<&ProofChecker>,
    now: Now,
) -> Result<(), PossessionError> {
    let Confirmation { key, certificate } = confirmation.copied().unwrap_or_default();
    match (key, presented.scheme) {
        (None, Scheme::Bearer) => {}
        (None, Scheme::Dpop { .. }) => return Err(PossessionError::NotBound),
        (Some(_), Scheme::Bearer) => return Err(PossessionError::CameAsBearer),
        (Some(key), Scheme::Dpop { proof }) => {
            let Presented { method, path, token, .. } = *presented;
            let proofs = proofs.ok_or(PossessionError::ProofsNotServed)?;
            proofs.check(proof, &ProvedRequest { method, path, token, key: &key }, now)?;
        }
    }
    match (certificate, presented.certificate) {
        (None, _) => Ok(()),
        (Some(_), None) => Err(PossessionError::NoCertificate),
        // Digests of what anybody may see: how long comparing them takes tells nothing.
        (Some(bound), Some(shown)) if bound == shown => Ok(()),
        (Some(_), Some(_)) => Err(PossessionError::OtherCertificate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check_confirmation(cnf: Value, expected: Result<(bool, bool), ClaimsError>) {
        let read = confirmation(Some(&cnf)).map(|read| {
            let read = read.expect("bound");
            (read.key.is_some(), read.certificate.is_some())
        });
        assert_eq!(read, expected, "{cnf}");
    }

    #[test]
    fn what_a_token_is_bound_to_is_read_or_refused() {
        let thumbprint = URL_SAFE_NO_PAD.encode([7; 32]);
        assert_eq!(confirmation(None), Ok(None));
        check_confirmation(json!({"jkt": thumbprint}), Ok((true, false)));
        check_confirmation(json!({"x5t#S256": thumbprint}), Ok((false, true)));
        check_confirmation(json!({"jkt": thumbprint, "x5t#S256": thumbprint}), Ok((true, true)));
        for other in ["jwk", "jwe", "kid", "jku", "x5t", "osc"] {
            check_confirmation(json!({ other: "x" }), Err(ClaimsError::ConfirmationUnsupported));
            check_confirmation(
                json!({"jkt": thumbprint, other: "x"}),
                Err(ClaimsError::ConfirmationUnsupported),
            );
        }
        let short = URL_SAFE_NO_PAD.encode([7; 20]);
        for bad in [json!({}), json!(null), json!("x"), json!({"jkt": 7}), json!({"jkt": short})] {
            check_confirmation(bad, Err(ClaimsError::WrongType("cnf")));
        }
    }

    #[track_caller]
    fn check_certificate(bound: Option<u8>, shown: Option<u8>, expected: Result<(), PossessionError>) {
        let confirmation = bound.map(|byte| Confirmation { key: None, certificate: Some([byte; 32]) });
        let certificate = shown.map(|byte| [byte; 32]);
        let presented = Presented { certificate, ..Presented::bearer("token") };
        let now = Now::read();
        assert_eq!(check(confirmation.as_ref(), &presented, None, now), expected, "{bound:?} {shown:?}");
        // A bound key is missed before anything else, and a proof of nothing is none.
        let bound_to_key = Confirmation { key: Some([1; 32]), ..confirmation.unwrap_or_default() };
        let missed = check(Some(&bound_to_key), &presented, None, now);
        assert_eq!(missed, Err(PossessionError::CameAsBearer));
        let presented = Presented { scheme: Scheme::Dpop { proof: "proof" }, ..presented };
        assert_eq!(check(confirmation.as_ref(), &presented, None, now), Err(PossessionError::NotBound));
        let not_served = check(Some(&bound_to_key), &presented, None, now);
        assert_eq!(not_served, Err(PossessionError::ProofsNotServed));
    }

    #[test]
    fn a_certificate_is_the_connections_own() {
        check_certificate(None, None, Ok(()));
        check_certificate(None, Some(1), Ok(()));
        check_certificate(Some(1), Some(1), Ok(()));
        check_certificate(Some(1), None, Err(PossessionError::NoCertificate));
        check_certificate(Some(1), Some(2), Err(PossessionError::OtherCertificate));
    }
}
