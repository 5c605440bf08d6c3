//! The audit file, read as it grows.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::audit::AuditLog;

/// How often we look whether a record has been written. The record of a call is finished when its last byte has been
/// handed over, which the agent can see first.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The class of records that are about calls: API Activity.
const CALL: u64 = 6_003;
/// Where people's own pages are: what they do there is no call.
const PAGES: &str = "/account";
/// How often we look before we call it missing.
const LOOKS_MAX: usize = 300;

/// One record of the audit file.
#[derive(Clone, Debug, PartialEq)]
pub struct Record(Value);

impl Record {
    /// The whole of it.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// A text, by its JSON pointer.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.0.pointer(pointer)?.as_str()
    }

    /// A number, by its JSON pointer.
    pub fn number(&self, pointer: &str) -> Option<u64> {
        self.0.pointer(pointer)?.as_u64()
    }

    /// Which call it is about.
    pub fn request_id(&self) -> Option<&str> {
        self.text("/metadata/uid")
    }

    /// The object id of the person the call was made for.
    pub fn person(&self) -> Option<&str> {
        self.text("/actor/user/uid")
    }

    /// The agent that made it.
    pub fn agent(&self) -> Option<&str> {
        self.text("/actor/app_uid")
    }

    /// The tool it was for, with its connector.
    pub fn tool(&self) -> Option<&str> {
        self.text("/resources/0/name")
    }

    /// What it came to.
    pub fn outcome(&self) -> Option<&str> {
        self.text("/unmapped/obo/outcome")
    }

    /// The status that the agent got.
    pub fn status(&self) -> Option<u64> {
        self.number("/http_response/code")
    }

    /// Whether the credential was remembered.
    pub fn cache(&self) -> Option<&str> {
        self.text("/unmapped/obo/cache")
    }

    /// A time that the gateway measured, by the name of its member.
    pub fn microseconds(&self, name: &str) -> Option<Duration> {
        self.number(&format!("/unmapped/obo/{name}")).map(Duration::from_micros)
    }
}

/// The audit file as far as it has been read.
pub struct Trail {
    path: PathBuf,
    read_to: u64,
    text: String,
    records: Vec<Record>,
}

impl Trail {
    /// A trail to be read from its beginning.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), read_to: 0, text: String::new(), records: Vec::new() }
    }

    /// The record of every call, as far as they have been read.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The lines read so far, as they stand in the file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Lets go of what has been read, so that a demo that is left running does not grow.
    pub fn forget(&mut self) {
        self.text.clear();
        self.records.clear();
    }

    /// Reads the lines that have come since, and gives the records of calls among them.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a line is not JSON.
    pub fn read_on(&mut self) -> io::Result<&[Record]> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read_to))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        // A line that is being written is left for the next time.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let text = String::from_utf8(bytes[..whole].to_vec()).map_err(io::Error::other)?;
        let before = self.records.len();
        for line in text.lines() {
            let record: Value = serde_json::from_str(line)?;
            let path = record.pointer("/http_request/url/path").and_then(Value::as_str).unwrap_or_default();
            if record["class_uid"] == CALL && !path.starts_with(PAGES) {
                self.records.push(Record(record));
            }
        }
        self.read_to += whole as u64;
        self.text.push_str(&text);
        Ok(&self.records[before..])
    }

    /// The record of one call, once it is written.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a line is not JSON.
    pub async fn record_of(&mut self, request_id: &str, audit: &AuditLog) -> io::Result<Option<Record>> {
        for _ in 0..LOOKS_MAX {
            audit.flush().await;
            self.read_on()?;
            let found = self.records.iter().find(|record| record.request_id() == Some(request_id));
            if let Some(record) = found {
                return Ok(Some(record.clone()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_line_is_read_once_and_when_it_is_whole() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let mut trail = Trail::new(file.path());
        write!(file, "{{\"class_uid\":0}}\n{{\"class_uid\":6003,\"metadata\":{{\"uid\":\"a\"}}}}\n{{\"class_uid\":3002}}\n{{\"meta")
            .expect("writable");
        assert_eq!(trail.read_on().expect("JSON").len(), 1);
        assert_eq!(trail.read_on().expect("JSON").len(), 0);
        writeln!(file, "data\":{{\"uid\":\"b\"}},\"class_uid\":6003}}").expect("writable");
        let ids: Vec<_> = trail.read_on().expect("JSON").iter().map(Record::request_id).collect();
        assert_eq!(ids, [Some("b")]);
        assert_eq!(trail.records().len(), 2);
    }
}
