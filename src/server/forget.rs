//! `POST /forget`: everything that is held for one person is dropped, and the trail says who had it done.

use std::borrow::Cow;
use std::net::SocketAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;

use super::ServerState;
use super::admin::{response, text};
use crate::audit::{Forgotten, Receipt};
use crate::connections::DisconnectError;
use crate::digest::sha256;
use crate::gateway::{Gateway, NotForgotten, PartlyForgotten};
use crate::identity::{Peer, Person, Realm, SecretToken, Subject};

/// Longest identifier that is taken. Real ones are below 256 bytes.
const IDENTIFIER_BYTES_MAX: usize = 1_024;

/// What can be wrong with a request, for whoever sent it.
#[derive(Debug, thiserror::Error)]
enum Unknown {
    /// It names no person.
    #[error("name the person: /forget?issuer=NAME&subject=SUB, or /forget?tenant=TENANT&subject=OID\n")]
    Person,
    /// It names one of an issuer that there is not.
    #[error(
        "the gateway's configuration has no issuer {0:?}: give the name of one that it has, or its `iss`\n"
    )]
    Issuer(String),
}

/// The answer to a request to forget someone, to be given once the record is safe that comes beside it.
pub async fn answer<B>(
    request: &Request<B>,
    peer: SocketAddr,
    state: &ServerState,
) -> (Response<Full<Bytes>>, Receipt) {
    match forget(request, peer, state).await {
        Ok((Ok(dropped), receipt)) => {
            // Numbers only: writing them into memory does not fail.
            let body = serde_json::to_vec(&dropped).unwrap_or_default();
            (response(StatusCode::OK, "application/json", body), receipt)
        }
        Ok((Err(partly), receipt)) => (in_part(&partly), receipt),
        Err(refusal) => (*refusal, Receipt::none()),
    }
}

/// What was done, what was not, and what to do.
fn in_part(PartlyForgotten { dropped, source }: &PartlyForgotten) -> Response<Full<Bytes>> {
    let why = match source {
        DisconnectError::Vault(_) => "the vault cannot be written at the moment; the log says why",
        DisconnectError::NotRecorded(_) => "it cannot be recorded at the moment",
    };
    let Forgotten { credentials, remembered_tokens, connections: _ } = dropped;
    response(
        StatusCode::SERVICE_UNAVAILABLE,
        "text/plain; charset=utf-8",
        format!(
            "done in part: {credentials} kept and {remembered_tokens} remembered tokens were dropped, and what the person has \
             connected may still be in the vault: {why}; ask again until it is done\n"
        ),
    )
}

/// What is answered in place of it when there is no telling that the record is safe.
pub(super) fn unrecorded() -> Response<Full<Bytes>> {
    text(StatusCode::SERVICE_UNAVAILABLE, "done, but not recorded yet: the audit trail cannot be written\n")
}

async fn forget<B>(
    request: &Request<B>,
    peer: SocketAddr,
    state: &ServerState,
) -> Result<(Result<Forgotten, PartlyForgotten>, Receipt), Box<Response<Full<Bytes>>>> {
    if request.method() != Method::POST {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "use POST\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return Err(response.into());
    }
    if is_from_a_page(request.headers()) {
        return Err(text(StatusCode::FORBIDDEN, "no page in a browser may ask for this\n").into());
    }
    if let Some(no) = turned_away(request.headers(), peer, state) {
        return Err(no.into());
    }
    let gateway = state.gateway();
    let person = person(request.uri().query().unwrap_or_default(), &gateway).map_err(|unknown| {
        let body = unknown.to_string().into_bytes();
        response(StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", body)
    })?;
    let peer = Peer { address: peer, tls: false, certificate: None };
    gateway.forget(&person, request, peer).await.map_err(|error| {
        let why = match error {
            NotForgotten::Audit(_) => "not done: it cannot be recorded at the moment\n",
            NotForgotten::BrokeOff => "perhaps done in part: it broke off; ask again until it is done\n",
        };
        text(StatusCode::SERVICE_UNAVAILABLE, why).into()
    })
}

/// Whether a browser sent it for a page: those say where the page is from, and our own callers do not.
fn is_from_a_page(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site")
}

/// The answer to those who are neither on this machine nor hold the token: they may not change anything, nor learn who may
/// do what.
pub(super) fn turned_away(
    headers: &HeaderMap,
    peer: SocketAddr,
    state: &ServerState,
) -> Option<Response<Full<Bytes>>> {
    if is_operator(headers, peer, state.admin_token.load().as_deref()) {
        return None;
    }
    let mut response =
        text(StatusCode::UNAUTHORIZED, "call from this machine, or with the token of `admin_token_file`\n");
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    Some(response)
}

/// Whether the caller is on this machine, or holds the token.
fn is_operator(headers: &HeaderMap, peer: SocketAddr, token: Option<&SecretToken>) -> bool {
    if peer.ip().to_canonical().is_loopback() {
        return true;
    }
    let presented = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    match (token, presented) {
        // Digests are of one length, whatever was presented.
        (Some(token), Some(presented)) => {
            verify_slices_are_equal(&token.digest(), &sha256(presented)).is_ok()
        }
        (Some(_), None) | (None, _) => false,
    }
}

/// The person that a query names: by the issuer's name or `iss`, or by the tenant. Each part once.
fn person(query: &str, gateway: &Gateway) -> Result<Person, Unknown> {
    let (mut issuer, mut tenant, mut subject) = (None, None, None);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let part: &mut Option<Cow<'_, str>> = match &*name {
            "issuer" => &mut issuer,
            "tenant" => &mut tenant,
            "subject" => &mut subject,
            _ => return Err(Unknown::Person),
        };
        if value.is_empty() || value.len() > IDENTIFIER_BYTES_MAX || part.replace(value).is_some() {
            return Err(Unknown::Person);
        }
    }
    let subject = Subject::new(&*subject.ok_or(Unknown::Person)?);
    let realm = match (issuer, tenant) {
        (Some(issuer), None) => match gateway.issuers_called(&issuer) {
            called if called.is_empty() => return Err(Unknown::Issuer(issuer.into_owned())),
            called => Realm::Issuers(called.into()),
        },
        (None, Some(tenant)) => Realm::Tenant((&*tenant).into()),
        (Some(_), Some(_)) | (None, None) => return Err(Unknown::Person),
    };
    Ok(Person { realm, subject })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn who_may_change_something_is_on_this_machine_or_holds_the_token() {
        let token = SecretToken::new("s3cret");
        let check = |peer: &str, authorization: &'static str, token, expected: bool| {
            let headers = headers(&[("authorization", authorization)]);
            let peer = SocketAddr::new(peer.parse().expect("an address"), 1);
            assert_eq!(is_operator(&headers, peer, token), expected, "{peer} {authorization}");
        };
        check("127.0.0.1", "", None, true);
        check("::1", "", Some(&token), true);
        check("::ffff:127.0.0.1", "", None, true);
        check("10.0.0.1", "", None, false);
        check("10.0.0.1", "Bearer ", None, false);
        check("10.0.0.1", "Bearer ", Some(&token), false);
        check("10.0.0.1", "Bearer s3cre", Some(&token), false);
        check("10.0.0.1", "s3cret", Some(&token), false);
        check("10.0.0.1", "Bearer s3cret", Some(&token), true);
    }

    #[test]
    fn a_page_in_a_browser_may_not() {
        assert!(is_from_a_page(&headers(&[("origin", "null")])));
        assert!(is_from_a_page(&headers(&[("sec-fetch-site", "same-origin")])));
        assert!(!is_from_a_page(&headers(&[("user-agent", "curl")])));
    }
}
