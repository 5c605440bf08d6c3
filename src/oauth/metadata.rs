//! OpenID Connect Discovery: where an authorization server's endpoints are, in its own words.

use serde_json::{Map, Value};

use super::outbound::{OutboundAnswer, OutboundClient, OutboundError};
use crate::checked_url::{CheckedUrl, PlainHttp, UrlError};
use crate::identity::Issuer;
use crate::strict_json;

/// What discovery says, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// The key set.
    pub jwks_uri: CheckedUrl,
    /// The token endpoint.
    pub token_endpoint: Option<CheckedUrl>,
    /// The authorization endpoint.
    pub authorization_endpoint: Option<CheckedUrl>,
    /// The introspection endpoint (RFC 8414 section 2).
    pub introspection_endpoint: Option<CheckedUrl>,
    /// Whether `sub` of the same person may differ from client to client (OpenID Connect Core section 8.1).
    pub pairwise_subjects: bool,
    /// Whether it says in each answer to a redirect address which server it is (RFC 9207 section 3).
    pub sends_issuer: bool,
}

/// Members that clients send something to, or fetch something from (RFC 8414 section 2, RFC 9126, RFC 8628, OpenID
/// Connect Discovery section 3).
const ENDPOINTS: [&str; 10] = [
    "authorization_endpoint",
    "token_endpoint",
    "jwks_uri",
    "registration_endpoint",
    "introspection_endpoint",
    "revocation_endpoint",
    "userinfo_endpoint",
    "end_session_endpoint",
    "pushed_authorization_request_endpoint",
    "device_authorization_endpoint",
];

/// Why discovery failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MetadataError {
    /// There was no answer.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// The answer was not a success.
    #[error("answered {0}")]
    Status(http::StatusCode),
    /// The answer is not a JSON object.
    #[error("answered with something that is not a JSON object")]
    NotJson,
    /// It speaks for somebody else (RFC 8414 section 3.3).
    #[error("its metadata is for another issuer")]
    OtherIssuer,
    /// A member is missing, of the wrong type, or an address that must not be used.
    #[error("its metadata has no usable `{name}`{}", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Member {
        /// The member.
        name: &'static str,
        /// What is wrong with the address, when it is one.
        reason: Option<UrlError>,
    },
}

/// Fetches and checks the discovery document of `issuer`.
///
/// # Errors
///
/// [`MetadataError`] when there is none that can be used.
pub async fn discover(
    client: &OutboundClient,
    url: &CheckedUrl,
    issuer: &Issuer,
    plain_http: PlainHttp,
) -> Result<Metadata, MetadataError> {
    let answer = client.get(url).await?;
    read(&answer, issuer, plain_http)
}

/// Fetches and checks the discovery document of `issuer`, and gives all of it: for somebody else to read, who goes to
/// every endpoint that it names.
///
/// # Errors
///
/// [`MetadataError`] when there is none that can be used.
pub async fn members(
    client: &OutboundClient,
    url: &CheckedUrl,
    issuer: &Issuer,
    plain_http: PlainHttp,
) -> Result<Map<String, Value>, MetadataError> {
    let answer = client.get(url).await?;
    read_members(&answer, issuer, plain_http)
}

fn read_members(
    answer: &OutboundAnswer,
    issuer: &Issuer,
    plain_http: PlainHttp,
) -> Result<Map<String, Value>, MetadataError> {
    let members = parse(answer, issuer)?;
    for name in ENDPOINTS {
        address(&members, name, plain_http)?;
    }
    Ok(members)
}

fn parse(answer: &OutboundAnswer, issuer: &Issuer) -> Result<Map<String, Value>, MetadataError> {
    if answer.status != http::StatusCode::OK {
        return Err(MetadataError::Status(answer.status));
    }
    let members = strict_json::parse_object(&answer.body).map_err(|_| MetadataError::NotJson)?;
    if members.get("issuer").and_then(Value::as_str) != Some(issuer.as_str()) {
        return Err(MetadataError::OtherIssuer);
    }
    Ok(members)
}

fn read(answer: &OutboundAnswer, issuer: &Issuer, plain_http: PlainHttp) -> Result<Metadata, MetadataError> {
    let members = parse(answer, issuer)?;
    let endpoint = |name| address(&members, name, plain_http);
    Ok(Metadata {
        jwks_uri: endpoint("jwks_uri")?.ok_or(MetadataError::Member { name: "jwks_uri", reason: None })?,
        token_endpoint: endpoint("token_endpoint")?,
        authorization_endpoint: endpoint("authorization_endpoint")?,
        introspection_endpoint: endpoint("introspection_endpoint")?,
        pairwise_subjects: match members.get("subject_types_supported") {
            Some(Value::Array(types)) => types.iter().any(|kind| kind == "pairwise"),
            _ => false,
        },
        sends_issuer: members.get("authorization_response_iss_parameter_supported")
            == Some(&Value::Bool(true)),
    })
}

fn address(
    members: &Map<String, Value>,
    name: &'static str,
    plain_http: PlainHttp,
) -> Result<Option<CheckedUrl>, MetadataError> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => CheckedUrl::parse(text, plain_http)
            .map(Some)
            .map_err(|reason| MetadataError::Member { name, reason: Some(reason) }),
        Some(_) => Err(MetadataError::Member { name, reason: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(body: &str) -> Result<Metadata, MetadataError> {
        let answer = OutboundAnswer {
            status: http::StatusCode::OK,
            headers: http::HeaderMap::new(),
            body: body.into(),
        };
        read(&answer, &Issuer::new("https://issuer.example"), PlainHttp::LoopbackOnly)
    }

    #[test]
    fn a_document_for_another_issuer_is_refused() {
        for other in ["https://issuer.example/", "https://ISSUER.example", "https://evil.example"] {
            let body = format!(r#"{{"issuer":"{other}","jwks_uri":"https://issuer.example/keys"}}"#);
            assert!(matches!(read_text(&body), Err(MetadataError::OtherIssuer)), "{other}");
        }
    }

    #[test]
    fn endpoints_that_must_not_be_used_are_refused() {
        for bad in [r#""http://issuer.example/keys""#, "7", "null", r#""https://a:b@issuer.example/keys""#] {
            let body = format!(r#"{{"issuer":"https://issuer.example","jwks_uri":{bad}}}"#);
            let error = read_text(&body).expect_err(bad);
            assert!(matches!(error, MetadataError::Member { name: "jwks_uri", .. }), "{error}");
        }
    }

    #[test]
    fn a_document_for_others_to_read_has_no_endpoint_that_must_not_be_used() {
        let answer = |body: String| OutboundAnswer {
            status: http::StatusCode::OK,
            headers: http::HeaderMap::new(),
            body: body.into(),
        };
        let issuer = Issuer::new("https://issuer.example");
        let read = |body| read_members(&answer(body), &issuer, PlainHttp::LoopbackOnly);
        for name in ENDPOINTS {
            for bad in [r#""http://issuer.example/x""#, r#""javascript:alert(1)""#, "7"] {
                let error = read(format!(r#"{{"issuer":"https://issuer.example","{name}":{bad}}}"#));
                assert!(
                    matches!(error, Err(MetadataError::Member { name: n, .. }) if n == name),
                    "{name} {bad}"
                );
            }
        }
        let members = read(r#"{"issuer":"https://issuer.example","anything":[1]}"#.to_owned());
        assert_eq!(members.expect("a document")["anything"], serde_json::json!([1]));
        assert!(matches!(
            read(r#"{"issuer":"https://other.example"}"#.to_owned()),
            Err(MetadataError::OtherIssuer)
        ));
    }

    #[test]
    fn garbage_is_refused() {
        for bad in
            ["", "<html>", "[]", r#"{"issuer":"https://issuer.example","issuer":"https://issuer.example"}"#]
        {
            assert!(matches!(read_text(bad), Err(MetadataError::NotJson)), "{bad}");
        }
    }
}
