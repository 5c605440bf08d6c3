//! A record as one JSON object: an event of OCSF 1.8.0, with what OCSF has no place for (delegation) under `unmapped.obo`.
//!
//! `metadata` is the last member of each, where the trail adds the record's place (`link.rs`).

use serde::Serialize;

use super::record::{Record, RequestId};

mod call;
mod mark;
mod text;

/// Appends `record` to `line`.
pub fn append(record: &Record, line: &mut Vec<u8>) {
    let before = line.len();
    let written = match record {
        Record::Call(call) => serde_json::to_writer(&mut *line, &call::Event::of(call)),
        Record::Mark(mark) => serde_json::to_writer(&mut *line, &mark::Event::of(mark)),
    };
    if written.is_err() {
        // Writing into memory does not fail and the types have no failing parts. Were it to happen all the same,
        // the call still has its line.
        line.truncate(before);
        line.extend_from_slice(format!(r#"{{"metadata":{{"uid":"{}"}}}}"#, record.id()).as_bytes());
    }
}

/// What every event says of itself.
#[derive(Serialize)]
struct Metadata<'a> {
    version: &'static str,
    uid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_uid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_uid: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    profiles: &'static [&'static str],
    product: Product,
}

impl Metadata<'_> {
    fn of(id: RequestId) -> Self {
        Self {
            version: "1.8.0",
            uid: id.to_string(),
            correlation_uid: None,
            tenant_uid: None,
            profiles: &[],
            product: Product {
                name: "obo-gateway",
                vendor_name: "obo-gateway",
                version: env!("CARGO_PKG_VERSION"),
            },
        }
    }
}

#[derive(Serialize)]
struct Product {
    name: &'static str,
    vendor_name: &'static str,
    version: &'static str,
}
