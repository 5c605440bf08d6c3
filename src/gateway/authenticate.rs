//! From a request's header to its caller.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::clock::Now;
use crate::identity::Caller;
use crate::oauth::verifier::{Verifier, VerifyError};

/// Why the caller is not known.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// There is no `Authorization` header. Tokens elsewhere (query, cookie, form) are not looked for.
    #[error("the request has no Authorization header")]
    NoCredentials,
    /// Its scheme is not Bearer.
    #[error("the Authorization header is not of the Bearer scheme")]
    OtherScheme,
    /// There are several.
    #[error("the request has more than one Authorization header")]
    Repeated,
    /// It does not hold one token.
    #[error("the Authorization header does not hold one bearer token")]
    Malformed,
    /// The token is refused.
    #[error(transparent)]
    Token(#[from] VerifyError),
}

/// The caller that the request's bearer token speaks for (RFC 6750 section 2.1).
///
/// # Errors
///
/// [`AuthenticateError`] when there is no token, or it is refused.
pub async fn authenticate(
    verifier: &Verifier,
    headers: &HeaderMap,
    now: Now,
) -> Result<Arc<Caller>, AuthenticateError> {
    Ok(verifier.verify(bearer_token(headers)?, now).await?)
}

/// The token in the one header that there is.
///
/// # Errors
///
/// [`AuthenticateError`] when there is none, or not exactly one.
pub fn bearer_token(headers: &HeaderMap) -> Result<&str, AuthenticateError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthenticateError::NoCredentials)?;
    if values.next().is_some() {
        return Err(AuthenticateError::Repeated);
    }
    let value = value.to_str().map_err(|_| AuthenticateError::Malformed)?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(AuthenticateError::OtherScheme);
    }
    let token = token.trim_start_matches(' ');
    match !token.is_empty() && token.bytes().all(is_b64token) {
        true => Ok(token),
        false => Err(AuthenticateError::Malformed),
    }
}

/// RFC 6750 section 2.1: `b64token`.
fn is_b64token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[track_caller]
    fn check(values: &[&'static [u8]], expected: Result<&str, AuthenticateError>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).expect("a value of the test"));
        }
        assert_eq!(bearer_token(&headers), expected, "{values:?}");
    }

    #[test]
    fn one_bearer_token_in_one_header() {
        check(&[b"Bearer abc.def-_~+/="], Ok("abc.def-_~+/="));
        check(&[b"bEARER   abc"], Ok("abc"));
        check(&[], Err(AuthenticateError::NoCredentials));
        check(&[b"Basic YTpi"], Err(AuthenticateError::OtherScheme));
        check(&[b"DPoP abc"], Err(AuthenticateError::OtherScheme));
        check(&[b"abc"], Err(AuthenticateError::OtherScheme));
        check(&[b""], Err(AuthenticateError::OtherScheme));
        check(&[b"Bearer"], Err(AuthenticateError::Malformed));
        check(&[b"Bearer "], Err(AuthenticateError::Malformed));
        check(&[b"Bearer a b"], Err(AuthenticateError::Malformed));
        check(&[b"Bearer a, Bearer b"], Err(AuthenticateError::Malformed));
        check(&[b"Bearer a\tb"], Err(AuthenticateError::Malformed));
        check(&[b"Bearer \xff"], Err(AuthenticateError::Malformed));
        check(&[b"Bearer a", b"Bearer a"], Err(AuthenticateError::Repeated));
    }
}
