//! From a request's header to its caller.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Request};

use crate::clock::Now;
use crate::identity::{Caller, Peer};
use crate::oauth::claims::ClaimsError;
use crate::oauth::possession::{Presented, Scheme, read_token};
use crate::oauth::verifier::{Verifier, VerifyError};

/// An agent's own token, where the issuer is told at each exchange who acts (RFC 8693 section 2.1, `actor_token`).
const ACTOR_TOKEN: HeaderName = HeaderName::from_static("obo-actor-token");
/// The proof that goes with a token that is bound to a key (RFC 9449 section 4.1).
const DPOP: HeaderName = HeaderName::from_static("dpop");

/// Why the caller is not known.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// There is no `Authorization` header. Tokens elsewhere (query, cookie, form) are not looked for.
    #[error("the request has no Authorization header")]
    NoCredentials,
    /// Its scheme is neither Bearer nor DPoP.
    #[error("the Authorization header is of neither the Bearer nor the DPoP scheme")]
    OtherScheme,
    /// A header is there several times.
    #[error("the request has more than one {0} header")]
    Repeated(&'static str),
    /// A header does not hold one token.
    #[error("the {0} header does not hold one token")]
    Malformed(&'static str),
    /// The scheme is DPoP, and no proof came along.
    #[error("the request has no DPoP header")]
    NoProof,
    /// The token is refused.
    #[error(transparent)]
    Token(#[from] VerifyError),
}

/// The caller that the request's token speaks for (RFC 6750 section 2.1, RFC 9449 section 7.1).
///
/// # Errors
///
/// [`AuthenticateError`] when there is no token, or it is refused.
pub async fn authenticate(
    verifier: &Verifier,
    request: &Request<()>,
    peer: Peer,
    now: Now,
) -> Result<Arc<Caller>, AuthenticateError> {
    let headers = request.headers();
    let (token, scheme) = presented_bytes(headers)?;
    let presented = Presented {
        token,
        scheme,
        method: request.method(),
        path: request.uri().path(),
        certificate: peer.certificate,
        actor_token: match only(headers, &ACTOR_TOKEN, "Obo-Actor-Token")? {
            Some(token) if read_token(token.as_bytes()).is_none() => {
                return Err(AuthenticateError::Malformed("Obo-Actor-Token"));
            }
            actor_token => actor_token,
        },
    };
    Ok(verifier.verify(&presented, now).await?)
}

/// The agent that a request's token speaks for, when it speaks for nobody else.
///
/// # Errors
///
/// [`AuthenticateError`] when the token is refused.
pub async fn authenticate_agent_alone(
    verifier: &Verifier,
    request: &Request<()>,
    now: Now,
) -> Result<Arc<Caller>, AuthenticateError> {
    match presented_token(request.headers())? {
        (token, Scheme::Bearer) => Ok(verifier.verify_agent_alone(token, now).await?),
        // A token that is bound to a key would need the proof checked; no agent sends one to see a list.
        (_, Scheme::Dpop { .. }) => Err(AuthenticateError::OtherScheme),
    }
}

impl AuthenticateError {
    /// Whether the token is an application's, and nothing else was found wrong with it.
    pub fn is_for_no_person(&self) -> bool {
        matches!(self, Self::Token(VerifyError::Claims(ClaimsError::NoPerson)))
    }
}

/// The token in the one header that there is, and how it came.
///
/// # Errors
///
/// [`AuthenticateError`] when there is none, or not exactly one.
pub fn presented_token(headers: &HeaderMap) -> Result<(&str, Scheme<'_>), AuthenticateError> {
    let (token, scheme) = presented_bytes(headers)?;
    Ok((read_token(token).ok_or(AuthenticateError::Malformed("Authorization"))?, scheme))
}

/// What stands where the token belongs in the one header that there is, and how it came.
fn presented_bytes(headers: &HeaderMap) -> Result<(&[u8], Scheme<'_>), AuthenticateError> {
    let value =
        only_bytes(headers, &AUTHORIZATION, "Authorization")?.ok_or(AuthenticateError::NoCredentials)?;
    let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, token) = value.split_at(end);
    let scheme = match () {
        () if scheme.eq_ignore_ascii_case(b"Bearer") => Scheme::Bearer,
        () if scheme.eq_ignore_ascii_case(b"DPoP") => {
            Scheme::Dpop { proof: only(headers, &DPOP, "DPoP")?.ok_or(AuthenticateError::NoProof)? }
        }
        () => return Err(AuthenticateError::OtherScheme),
    };
    let blanks = token.iter().take_while(|byte| **byte == b' ').count();
    Ok((&token[blanks..], scheme))
}

/// The one value of a header, where there is one.
fn only<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    shown: &'static str,
) -> Result<Option<&'a str>, AuthenticateError> {
    let text = only_bytes(headers, name, shown)?.map(std::str::from_utf8).transpose();
    text.map_err(|_| AuthenticateError::Malformed(shown))
}

fn only_bytes<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    shown: &'static str,
) -> Result<Option<&'a [u8]>, AuthenticateError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    match values.next() {
        Some(_) => Err(AuthenticateError::Repeated(shown)),
        None => Ok(value.map(HeaderValue::as_bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(values: &[(&HeaderName, &'static [u8])]) -> HeaderMap {
        let value = |bytes| HeaderValue::from_bytes(bytes).expect("a value of the test");
        values.iter().map(|(name, bytes)| (HeaderName::clone(name), value(bytes))).collect()
    }

    #[track_caller]
    fn check(values: &[&'static [u8]], expected: Result<&str, AuthenticateError>) {
        let values: Vec<_> = values.iter().map(|value| (&AUTHORIZATION, *value)).collect();
        let read = headers(&values);
        assert_eq!(presented_token(&read).map(|(token, _)| token), expected, "{values:?}");
    }

    #[test]
    fn one_bearer_token_in_one_header() {
        let malformed = || Err(AuthenticateError::Malformed("Authorization"));
        check(&[b"Bearer abc.def-_~+/="], Ok("abc.def-_~+/="));
        check(&[b"bEARER   abc"], Ok("abc"));
        check(&[], Err(AuthenticateError::NoCredentials));
        check(&[b"Basic YTpi"], Err(AuthenticateError::OtherScheme));
        check(&[b"abc"], Err(AuthenticateError::OtherScheme));
        check(&[b""], Err(AuthenticateError::OtherScheme));
        check(&[b"Bearer"], malformed());
        check(&[b"Bearer "], malformed());
        check(&[b"Bearer a b"], malformed());
        check(&[b"Bearer a, Bearer b"], malformed());
        check(&[b"Bearer a\tb"], malformed());
        check(&[b"Bearer \xff"], malformed());
        check(&[b"Bearer a", b"Bearer a"], Err(AuthenticateError::Repeated("Authorization")));
    }

    #[test]
    fn a_dpop_token_comes_with_one_proof() {
        check(&[b"DPoP abc"], Err(AuthenticateError::NoProof));
        let one = headers(&[(&AUTHORIZATION, b"dpop abc"), (&DPOP, b"a.b.c")]);
        assert_eq!(presented_token(&one), Ok(("abc", Scheme::Dpop { proof: "a.b.c" })));
        let two = headers(&[(&AUTHORIZATION, b"DPoP abc"), (&DPOP, b"a.b.c"), (&DPOP, b"a.b.c")]);
        assert_eq!(presented_token(&two), Err(AuthenticateError::Repeated("DPoP")));
        // Beside a plain bearer token it is of no interest.
        let bearer = headers(&[(&AUTHORIZATION, b"Bearer abc"), (&DPOP, b"x"), (&DPOP, b"y")]);
        assert_eq!(presented_token(&bearer), Ok(("abc", Scheme::Bearer)));
    }
}
