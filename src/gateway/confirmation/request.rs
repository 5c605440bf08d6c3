//! A request to a REST API, laid out for its person.
//!
//! Its body is read whole, and what goes on is what was shown: JSON is written anew from what was read, and text goes on with
//! the character set that it was shown in.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request};
use http_body::Body as _;

use super::headers::BoundHeaders;
use super::message::indented;
use super::{BODY_BYTES_MAX, ConfirmError, Exhibit, Unshowable, refused_body};
use crate::confirmation::{Content, Part, SHOWN_BYTES_MAX, Shown};
use crate::digest::FieldDigest;
use crate::gateway::canonical;
use crate::gateway::json_body;
use crate::gateway::path::CanonicalPath;
use crate::gateway::refusal::Refusal;
use crate::gateway::request::RequestError;
use crate::gateway::rest::plain_fields;
use crate::gateway::rewrite;
use crate::gateway::routes::Connector;
use crate::gateway::tool_call::{CallBody, ToolCall};
use crate::identity::Caller;
use crate::strict_json::parse_exact;

/// Deepest JSON that is shown: as for MCP messages.
const DEPTH_MAX: usize = 64;

/// What goes on to the connector, and nothing else. The body is read, and goes on as it is shown.
pub(super) async fn exhibit(
    request: &Request<()>,
    connector: &Connector,
    caller: &Caller,
    tool_call: &mut ToolCall,
) -> Result<Exhibit, Refusal> {
    let target = rewrite::target(request, &tool_call.onward);
    if caller.has_token_within(target.as_bytes()) {
        return Err(RequestError::TokenMisplaced.into());
    }
    let headers = BoundHeaders::of(request, connector, caller, tool_call);
    let body = body(request.headers(), connector, tool_call).await?;
    if caller.has_token_within(&body.onward) {
        return Err(RequestError::TokenMisplaced.into());
    }

    let mut digest = FieldDigest::new("confirmed-request/1");
    digest.field(request.method().as_str().as_bytes());
    digest.field(target.as_bytes());
    headers.add_to(&mut digest);
    digest.optional(body.content_type.as_ref().and_then(|value| value.to_str().ok()));
    digest.field(&body.digested);

    let mut shown = Shown { call: format!("{} {target}", request.method()), parts: Vec::new() };
    shown.parts.extend(decoded_path(&tool_call.onward.path));
    let query = target.split_once('?').map(|(_, query)| query);
    // Where readers could take the query differently, the line above says all that there is to say.
    shown.parts.extend(query.and_then(plain_fields).filter(|fields| !fields.is_empty()).map(|fields| Part {
        heading: "Parameters of the address".to_owned(),
        content: Content::Fields(fields),
    }));
    shown.parts.extend(headers.shown());
    shown.parts.extend(body.shown);
    if shown.byte_count() > SHOWN_BYTES_MAX {
        return Err(ConfirmError::from(Unshowable::TooLong).into());
    }

    let own = &mut tool_call.onward.headers;
    own.retain(|(name, _)| name != CONTENT_TYPE);
    own.extend(body.content_type.map(|value| (CONTENT_TYPE, value)));
    tool_call.onward.body_is_anew |= body.is_anew;
    tool_call.body = CallBody::Read(body.onward);
    Ok(Exhibit { shown, digest: digest.finish() })
}

/// The path in plain text, where it is not so already.
fn decoded_path(path: &str) -> Option<Part> {
    let decoded = CanonicalPath::parse(path).ok()?.decoded();
    (decoded != path).then(|| Part {
        heading: "The address in plain text".to_owned(),
        content: Content::Text(decoded.into_owned()),
    })
}

/// The body of a request, as it is shown and as it goes on.
struct ShownBody {
    shown: Option<Part>,
    digested: Vec<u8>,
    onward: Bytes,
    /// `None`: there is no body.
    content_type: Option<HeaderValue>,
    /// It is not the bytes that the agent sent.
    is_anew: bool,
}

async fn body(
    headers: &HeaderMap,
    connector: &Connector,
    tool_call: &mut ToolCall,
) -> Result<ShownBody, Refusal> {
    let nothing = CallBody::Read(Bytes::new());
    let bytes = match std::mem::replace(&mut tool_call.body, nothing) {
        CallBody::Streamed(body) if body.is_end_stream() => Bytes::new(),
        CallBody::Streamed(body) => {
            // What could not be shown anyway is not waited for.
            kind(headers)?;
            json_body::collect(body, BODY_BYTES_MAX, connector.body_timeout()).await.map_err(refused_body)?
        }
        CallBody::Read(read) => read,
    };
    Ok(read(headers, bytes)?)
}

fn read(headers: &HeaderMap, bytes: Bytes) -> Result<ShownBody, ConfirmError> {
    if bytes.len() > BODY_BYTES_MAX {
        return Err(Unshowable::TooLong.into());
    }
    if bytes.is_empty() {
        let (shown, digested, content_type) = (None, b"none".to_vec(), None);
        return Ok(ShownBody { shown, digested, onward: bytes, content_type, is_anew: false });
    }
    let (kind, content_type) = kind(headers)?;
    let heading = format!("Body ({})", content_type.to_str().unwrap_or_default());
    let shown = |content| Some(Part { heading, content });
    if kind == Kind::Json {
        let read = parse_exact(&bytes, DEPTH_MAX).map_err(Unshowable::from)?;
        return Ok(ShownBody {
            shown: shown(Content::Text(indented(&read))),
            digested: canonical::form(&read),
            onward: read.to_string().into(),
            content_type: Some(content_type),
            is_anew: true,
        });
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Unshowable::Encoded)?;
    let fields = if kind == Kind::Form { plain_fields(text) } else { None };
    Ok(ShownBody {
        shown: shown(fields.map_or_else(|| Content::Text(text.to_owned()), Content::Fields)),
        digested: bytes.to_vec(),
        content_type: Some(content_type),
        is_anew: false,
        onward: bytes,
    })
}

/// What a body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Json,
    Form,
    Text,
}

/// What the body is said to be, and the content type that goes on with it. It leaves nothing to guess.
fn kind(headers: &HeaderMap) -> Result<(Kind, HeaderValue), ConfirmError> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Unshowable::Encoded.into());
    }
    // A part of a document that is somewhere else says nothing about the whole.
    if headers.contains_key(CONTENT_RANGE) {
        return Err(Unshowable::Part.into());
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else { return Err(Unshowable::MediaType.into()) };
    let value = value.to_str().map_err(|_| Unshowable::MediaType)?.to_ascii_lowercase();
    let (media_type, parameters) = match value.split_once(';') {
        Some((media_type, parameters)) => (media_type.trim(), parameters.trim()),
        None => (value.trim(), ""),
    };
    if !matches!(parameters, "" | "charset=utf-8" | "charset=\"utf-8\"") {
        return Err(Unshowable::Encoded.into());
    }
    let kind = match media_type {
        "application/json" => Kind::Json,
        "application/x-www-form-urlencoded" => Kind::Form,
        "application/xml" | "application/graphql" | "application/x-ndjson" => Kind::Text,
        other if other.starts_with("application/") && other.ends_with("+json") => Kind::Json,
        other if other.starts_with("application/") && other.ends_with("+xml") => Kind::Text,
        other if other.starts_with("text/") => Kind::Text,
        _ => return Err(Unshowable::MediaType.into()),
    };
    let written = match kind {
        // Neither has a parameter for it (RFC 8259 section 11; URL Standard).
        Kind::Json | Kind::Form => media_type.to_owned(),
        Kind::Text => format!("{media_type}; charset=utf-8"),
    };
    let written = HeaderValue::try_from(written).map_err(|_| Unshowable::MediaType)?;
    Ok((kind, written))
}
