//! Checking the tokens that come in: subject tokens, actor tokens, and nothing else.

use super::tenant::Tenant;
use crate::demo::clock;
use crate::demo::jws::{Algorithm, Jws};

/// Seconds by which two clocks may differ.
const SKEW_SECONDS: i64 = 60;

/// Why a token is not one of ours, or not one for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenFault {
    Malformed,
    UnknownKey,
    BadSignature,
    OtherIssuer,
    OtherAudience,
    OutOfTime,
}

impl TokenFault {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Malformed => "The token is malformed.",
            Self::UnknownKey => "The key was not found.",
            Self::BadSignature => "The signature does not verify.",
            Self::OtherIssuer => "The issuer is another.",
            Self::OtherAudience => "The audience is another.",
            Self::OutOfTime => "The token has expired or is not valid yet.",
        }
    }
}

impl Tenant {
    /// Checks signature, issuer, audience and time of a token that this tenant is said to have issued.
    pub(super) fn verify<'a>(
        &self,
        token: &'a str,
        is_audience: impl FnOnce(&Jws<'a>) -> bool,
    ) -> Result<Jws<'a>, TokenFault> {
        let jws = Jws::parse(token).ok_or(TokenFault::Malformed)?;
        if jws.header.contains_key("crit") {
            return Err(TokenFault::Malformed);
        }
        let algorithm = jws
            .header("alg")
            .and_then(Algorithm::named)
            .filter(|algorithm| *algorithm != Algorithm::Ps256)
            .ok_or(TokenFault::Malformed)?;
        let key = jws.header("kid").and_then(|kid| self.keys().public(kid)).ok_or(TokenFault::UnknownKey)?;
        if !key.verifies(algorithm, &jws) {
            return Err(TokenFault::BadSignature);
        }
        if jws.text("iss") != Some(self.issuer().as_str()) {
            return Err(TokenFault::OtherIssuer);
        }
        if !is_audience(&jws) {
            return Err(TokenFault::OtherAudience);
        }
        let now = clock::now();
        let expires = jws.number("exp").ok_or(TokenFault::Malformed)?;
        let begins = match jws.claims.get("nbf") {
            None => now,
            Some(nbf) => nbf.as_i64().ok_or(TokenFault::Malformed)?,
        };
        if expires <= now.saturating_sub(SKEW_SECONDS) || begins > now.saturating_add(SKEW_SECONDS) {
            return Err(TokenFault::OutOfTime);
        }
        Ok(jws)
    }
}
