//! The headers of 2026-07-28 that repeat what is in the body (Streamable HTTP, "Request Metadata").
//!
//! Whatever stands between an agent and a server may go by these headers, and the server goes by the body. So both must say
//! the same; and what is sent on is written anew, from the body. Before 2026-07-28 there are none: what an agent sends
//! under these names then is not looked at and not sent on.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::message::{Notification, Request};
use super::{META_CLIENT_CAPABILITIES, META_PROTOCOL_VERSION};
use crate::strict_json::Decimal;

/// The revision of the protocol.
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The method.
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// The tool, prompt, resource or task.
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// How the headers begin that repeat arguments.
const PARAM: &str = "mcp-param-";
/// Most headers that repeat arguments. A tool has a few, for routing.
const PARAMS_MAX: usize = 32;
/// How a value begins that does not fit a header as it is, and how it ends.
const SENTINEL: (&str, &str) = ("=?base64?", "?=");

/// Headers that say what the body says, written anew from it. Only checking makes them.
#[derive(Clone, PartialEq, Debug)]
pub struct Mirrors(HeaderMap);

/// A header that repeats something of the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mirror {
    /// `MCP-Protocol-Version`.
    ProtocolVersion,
    /// `Mcp-Method`.
    Method,
    /// `Mcp-Name`.
    Name,
    /// One of `Mcp-Param-*`.
    Param,
}

/// Why headers and body do not go together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MirrorError {
    /// The header is not there.
    #[error("header mismatch: {0} is missing")]
    Missing(Mirror),
    /// It is there twice.
    #[error("header mismatch: {0} is there more than once")]
    Doubled(Mirror),
    /// It is not written as the protocol says.
    #[error("header mismatch: {0} is badly encoded")]
    Malformed(Mirror),
    /// It says something else than the body.
    #[error("header mismatch: {0} is not what the body says")]
    Mismatch(Mirror),
    /// There are too many `Mcp-Param-*` headers.
    #[error("header mismatch: there are more than {PARAMS_MAX} Mcp-Param headers")]
    TooMany,
    /// `_meta` lacks what every request says.
    #[error("`_meta` has no \"{0}\"")]
    MetaMissing(&'static str),
    /// What it says is not of the kind that the protocol wants.
    #[error("\"{0}\" in `_meta` is not {1}")]
    MetaWrongType(&'static str, &'static str),
}

impl MirrorError {
    /// The code of the error that answers it, with status 400: HeaderMismatch, or invalid parameters.
    pub const fn rpc_code(self) -> i32 {
        match self {
            Self::Missing(_) | Self::Doubled(_) | Self::Malformed(_) | Self::Mismatch(_) | Self::TooMany => {
                -32_020
            }
            Self::MetaMissing(_) | Self::MetaWrongType(..) => -32_602,
        }
    }
}

impl std::fmt::Display for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ProtocolVersion => "MCP-Protocol-Version",
            Self::Method => "Mcp-Method",
            Self::Name => "Mcp-Name",
            Self::Param => "an Mcp-Param header",
        })
    }
}

impl Mirrors {
    /// Checks a request of 2026-07-28 or later, and that its `_meta` says what every request must.
    ///
    /// An `Mcp-Param-*` header has to repeat some argument. Which one it repeats is in the tool's schema, which the server
    /// knows.
    ///
    /// # Errors
    ///
    /// [`MirrorError`] for what a header says and the body does not.
    pub fn of_request(headers: &HeaderMap, request: &Request) -> Result<Self, MirrorError> {
        let meta = |member| {
            let value = request.meta().and_then(|meta| meta.get(member));
            value.ok_or(MirrorError::MetaMissing(member))
        };
        let Value::String(version) = meta(META_PROTOCOL_VERSION)? else {
            return Err(MirrorError::MetaWrongType(META_PROTOCOL_VERSION, "a text"));
        };
        if !meta(META_CLIENT_CAPABILITIES)?.is_object() {
            return Err(MirrorError::MetaWrongType(META_CLIENT_CAPABILITIES, "an object"));
        }
        let mut mirrors = Self(HeaderMap::new());
        mirrors.repeat(headers, Mirror::ProtocolVersion, version)?;
        mirrors.repeat(headers, Mirror::Method, request.method_name())?;
        match request.name().or_else(|| request.uri()).or_else(|| request.task_id()) {
            Some(name) => mirrors.repeat(headers, Mirror::Name, name)?,
            None => absent(headers, Mirror::Name, &NAME)?,
        }
        mirrors.repeat_arguments(headers, request.arguments())?;
        Ok(mirrors)
    }

    /// Checks a notification of 2026-07-28 or later. It has to name its revision, in the header; what else it says in
    /// headers has to be what its body says.
    ///
    /// # Errors
    ///
    /// [`MirrorError`] for what a header says and the body does not.
    pub fn of_notification(headers: &HeaderMap, notification: &Notification) -> Result<Self, MirrorError> {
        let mut mirrors = Self(HeaderMap::new());
        match notification.meta().and_then(|meta| meta.get(META_PROTOCOL_VERSION)) {
            Some(Value::String(version)) => mirrors.repeat(headers, Mirror::ProtocolVersion, version)?,
            Some(_) => return Err(MirrorError::MetaWrongType(META_PROTOCOL_VERSION, "a text")),
            None => {
                let version = one(headers, Mirror::ProtocolVersion, &PROTOCOL_VERSION)?
                    .ok_or(MirrorError::Missing(Mirror::ProtocolVersion))?;
                mirrors.write(PROTOCOL_VERSION, version, Mirror::ProtocolVersion)?;
            }
        }
        if headers.contains_key(METHOD) {
            mirrors.repeat(headers, Mirror::Method, notification.method_name())?;
        }
        absent(headers, Mirror::Name, &NAME)?;
        mirrors.repeat_arguments(headers, None)?;
        Ok(mirrors)
    }

    /// The headers to send on.
    pub fn headers(&self) -> &HeaderMap {
        &self.0
    }

    fn repeat(&mut self, headers: &HeaderMap, mirror: Mirror, body: &str) -> Result<(), MirrorError> {
        let (name, may_be_encoded) = match mirror {
            Mirror::ProtocolVersion => (PROTOCOL_VERSION, false),
            Mirror::Method => (METHOD, false),
            Mirror::Name | Mirror::Param => (NAME, true),
        };
        let header = one(headers, mirror, &name)?.ok_or(MirrorError::Missing(mirror))?;
        let is_same = match may_be_encoded {
            true => decode(header).ok_or(MirrorError::Malformed(mirror))? == body,
            false => header == body,
        };
        match is_same {
            true => self.write(name, body, mirror),
            false => Err(MirrorError::Mismatch(mirror)),
        }
    }

    fn repeat_arguments(
        &mut self,
        headers: &HeaderMap,
        arguments: Option<&Map<String, Value>>,
    ) -> Result<(), MirrorError> {
        let mut sent = Vec::new();
        for name in headers.keys().filter(|name| name.as_str().starts_with(PARAM)) {
            if name.as_str().len() == PARAM.len() {
                return Err(MirrorError::Malformed(Mirror::Param));
            }
            let header = one(headers, Mirror::Param, name)?.unwrap_or_default();
            sent.push((name, decode(header).ok_or(MirrorError::Malformed(Mirror::Param))?));
        }
        if sent.is_empty() {
            return Ok(());
        }
        if sent.len() > PARAMS_MAX {
            return Err(MirrorError::TooMany);
        }
        let mut wanted = HashMap::new();
        for (_, text) in &sent {
            wanted.extend(Scalar::read(text).map(|scalar| (scalar, None)));
        }
        if let Some(arguments) = arguments {
            find(arguments, &mut wanted);
        }
        for (name, text) in &sent {
            let body = Scalar::read(text).find_map(|scalar| wanted.get(&scalar).cloned().flatten());
            let body = body.ok_or(MirrorError::Mismatch(Mirror::Param))?;
            self.write((*name).clone(), &body, Mirror::Param)?;
        }
        Ok(())
    }

    fn write(&mut self, name: HeaderName, body: &str, mirror: Mirror) -> Result<(), MirrorError> {
        let value = HeaderValue::from_str(&encode(body)).map_err(|_| MirrorError::Malformed(mirror))?;
        self.0.insert(name, value);
        Ok(())
    }
}

/// The one value of a header, of the characters that a value may have.
fn one<'a>(
    headers: &'a HeaderMap,
    mirror: Mirror,
    name: &HeaderName,
) -> Result<Option<&'a str>, MirrorError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some(value.to_str().map_err(|_| MirrorError::Malformed(mirror))?)),
        (Some(_), Some(_)) => Err(MirrorError::Doubled(mirror)),
    }
}

fn absent(headers: &HeaderMap, mirror: Mirror, name: &HeaderName) -> Result<(), MirrorError> {
    match headers.contains_key(name) {
        true => Err(MirrorError::Mismatch(mirror)),
        false => Ok(()),
    }
}

/// An argument that a header can repeat.
#[derive(PartialEq, Eq, Hash)]
enum Scalar {
    Text(String),
    Number(Decimal),
    Boolean(bool),
}

impl Scalar {
    /// All that a header's value may stand for.
    fn read(text: &str) -> impl Iterator<Item = Self> {
        let boolean = match text {
            "true" => Some(Self::Boolean(true)),
            "false" => Some(Self::Boolean(false)),
            _ => None,
        };
        let number = Decimal::read(text).map(Self::Number);
        [Some(Self::Text(text.to_owned())), number, boolean].into_iter().flatten()
    }

    /// What an argument is, and how it is written in a header.
    fn of(argument: &Value) -> Option<(Self, String)> {
        match argument {
            Value::String(text) => Some((Self::Text(text.clone()), text.clone())),
            Value::Number(number) => {
                let text = number.to_string();
                Some((Self::Number(Decimal::read(&text)?), text))
            }
            Value::Bool(value) => Some((Self::Boolean(*value), value.to_string())),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

/// Looks for what headers repeat, in objects within objects: a schema can name no argument within an array for a header.
/// The nesting is bounded, by how messages are read.
fn find(arguments: &Map<String, Value>, wanted: &mut HashMap<Scalar, Option<String>>) {
    for argument in arguments.values() {
        match argument {
            Value::Object(arguments) => find(arguments, wanted),
            argument => {
                let Some((scalar, text)) = Scalar::of(argument) else { continue };
                if let Some(found) = wanted.get_mut(&scalar) {
                    *found = Some(text);
                }
            }
        }
    }
}

/// The text that a header's value stands for. `None`: it is badly encoded.
fn decode(value: &str) -> Option<String> {
    let (start, end) = SENTINEL;
    if !(value.starts_with(start) && value.ends_with(end)) {
        return Some(value.to_owned());
    }
    let encoded = value.strip_prefix(start)?.strip_suffix(end)?;
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}

/// The header's value that stands for a text.
fn encode(text: &str) -> String {
    let (start, end) = SENTINEL;
    let is_printable = text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
    let is_padded = text.starts_with(' ') || text.ends_with(' ');
    // In any case: there may be a reader that does not look at it.
    let looks_encoded = text.to_ascii_lowercase().starts_with(start) && text.ends_with(end);
    match is_printable && !is_padded && !looks_encoded {
        true => text.to_owned(),
        false => format!("{start}{}{end}", STANDARD.encode(text)),
    }
}

#[cfg(test)]
mod tests;
