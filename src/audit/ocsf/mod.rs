//! A record as one JSON object: an event of OCSF 1.8.0, with what OCSF has no place for (delegation) under `unmapped.obo`.
//!
//! `metadata` is the last member of each, where the trail adds the record's place (`link.rs`).

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;

use super::record::{Record, RequestId};

mod authentication;
mod call;
mod delegation;
mod json;
mod mark;
mod parts;
mod prepared;
#[cfg(test)]
mod tests;
mod text;

use text::Texts;

/// Longest record, in bytes, without its place in the trail. Every text in one has a bound of its own, and every list; this is
/// more than they can come to together, whatever agents, people and servers send.
pub const RECORD_BYTES_MAX: usize = 131_072;
/// The version of OCSF that records are of.
const OCSF_VERSION: &str = "1.8.0";
/// What writes them.
const PRODUCT: Product =
    Product { name: "obo-gateway", vendor_name: "obo-gateway", version: env!("CARGO_PKG_VERSION") };

/// Appends `record` to `line`.
pub fn append(record: &Record<'_>, line: &mut Vec<u8>) {
    append_or_name(record.id(), line, |line| match *record {
        Record::Call(call) => {
            call::append(call, line);
            Ok(())
        }
        Record::Authentication(authentication) => authentication::append(authentication, line),
        Record::Mark(mark) => serde_json::to_writer(line, &mark::Event::of(mark)),
    });
}

/// Appends what `write` writes. Writing into memory does not fail and the types have no failing parts; were it to fail or to panic
/// all the same, the record still has a line that names it, and neither the call nor the trail is the worse for it.
fn append_or_name(
    id: RequestId,
    line: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>,
) {
    let before = line.len();
    let written = catch_unwind(AssertUnwindSafe(|| write(line)));
    if !matches!(written, Ok(Ok(()))) {
        tracing::error!(%id, "Audit record cannot be formatted, its line has nothing but its name");
        line.truncate(before);
        line.extend_from_slice(format!(r#"{{"metadata":{{"uid":"{id}"}}}}"#).as_bytes());
    }
}

/// What every event says of itself.
#[derive(Serialize)]
struct Metadata<'a> {
    version: &'static str,
    uid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_uid: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_uid: Option<Cow<'a, str>>,
    /// Whether a text or a list was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_truncated: Option<bool>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    profiles: &'static [&'static str],
    product: Product,
}

impl Metadata<'_> {
    /// Of a record whose texts have all been made.
    fn of(id: RequestId, texts: &Texts) -> Self {
        Self {
            version: OCSF_VERSION,
            uid: id.to_string(),
            correlation_uid: None,
            tenant_uid: None,
            is_truncated: texts.is_cut().then_some(true),
            profiles: &[],
            product: PRODUCT,
        }
    }
}

#[derive(Serialize)]
struct Product {
    name: &'static str,
    vendor_name: &'static str,
    version: &'static str,
}
