//! What agents call, and what the upstream answers.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::Outcome;

/// Length of most answers.
const ANSWER_BYTES: usize = 1_024;
/// Length of large bodies.
const LARGE_BYTES: usize = 64 * 1_024;

/// The upstream's answer. Nothing in it means anything to nginx's configuration.
pub static ANSWER: LazyLock<String> =
    LazyLock::new(|| filled(r#"{"value":[{"id":"1","subject":"Load","body":""#, r#""}]}"#, ANSWER_BYTES));
/// The answer of a tool.
pub static RESULT: LazyLock<String> = LazyLock::new(|| {
    let begin = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":""#;
    filled(begin, r#""}],"isError":false}}"#, ANSWER_BYTES)
});
/// A large answer.
pub static LARGE: LazyLock<String> = LazyLock::new(|| filled(r#"{"value":""#, r#""}"#, LARGE_BYTES));

/// The call of a tool by MCP.
const TOOL_CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"find_notes","arguments":{"words":"quarterly report","most":20,"folders":["inbox","archive"]},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"load","version":"1.0"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#;

/// One kind of call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// A GET, answered with 1 KiB.
    ListMessages,
    /// `tools/call`, answered with 1 KiB.
    UseTool,
    /// A POST of 64 KiB, answered with 1 KiB.
    Upload,
    /// A GET, answered with 64 KiB.
    Download,
    /// A GET, answered with a stream of events.
    Events,
}

impl Call {
    /// Where it goes, at every proxy.
    pub const fn path(self) -> &'static str {
        match self {
            Self::ListMessages => "/mail/me/messages",
            Self::UseTool => "/notes",
            Self::Upload => "/mail/me/drive",
            Self::Download => "/mail/me/content",
            Self::Events => "/mail/me/events",
        }
    }

    /// Where it goes at the upstream.
    pub fn upstream_path(self) -> &'static str {
        let path = self.path();
        path.strip_prefix("/mail").unwrap_or(path)
    }

    pub const fn method(self) -> &'static str {
        match self {
            Self::ListMessages | Self::Download | Self::Events => "GET",
            Self::UseTool | Self::Upload => "POST",
        }
    }

    pub const fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::ListMessages | Self::Download => &[],
            Self::Events => &[("Accept", "text/event-stream")],
            Self::Upload => &[("Content-Type", "application/json")],
            Self::UseTool => &[
                ("Content-Type", "application/json"),
                ("Accept", "application/json, text/event-stream"),
                ("MCP-Protocol-Version", "2026-07-28"),
                ("Mcp-Method", "tools/call"),
                ("Mcp-Name", "find_notes"),
            ],
        }
    }

    pub fn body(self) -> &'static str {
        match self {
            Self::ListMessages | Self::Download | Self::Events => "",
            Self::UseTool => TOOL_CALL,
            Self::Upload => &LARGE,
        }
    }

    pub fn answer(self) -> &'static str {
        match self {
            Self::ListMessages | Self::Upload => &ANSWER,
            Self::UseTool => &RESULT,
            Self::Download => &LARGE,
            // Each is different.
            Self::Events => "",
        }
    }

    /// Writes the whole request.
    pub fn write_request(self, host: &str, token: &str, request: &mut Vec<u8>) {
        let (method, path, body) = (self.method(), self.path(), self.body());
        let write = "writing to memory does not fail";
        write!(request, "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n")
            .expect(write);
        for (name, value) in self.headers() {
            write!(request, "{name}: {value}\r\n").expect(write);
        }
        if !body.is_empty() {
            write!(request, "Content-Length: {}\r\n", body.len()).expect(write);
        }
        write!(request, "\r\n{body}").expect(write);
    }

    /// Writes it as `load.lua` reads it: the method, a line for each header, an empty line, and the body.
    pub fn write(self, folder: &Path) -> Outcome<PathBuf> {
        let path = folder.join(format!("call{}", self.path().replace('/', "-")));
        let headers: String =
            self.headers().iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        std::fs::write(&path, format!("{}\n{headers}\n{}", self.method(), self.body()))?;
        Ok(path)
    }
}

/// So many bytes of JSON.
fn filled(begin: &str, end: &str, bytes: usize) -> String {
    format!("{begin}{}{end}", "x".repeat(bytes - begin.len() - end.len()))
}
