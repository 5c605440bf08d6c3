//! What a broken MCP server answers, to be scripted. Anything else is a `Reply` of its own: a 500, a hang, a reset.

use bytes::Bytes;

use crate::demo::script::Reply;

/// What a line without an end is made of.
const FILLER: u8 = b'x';

/// A stream whose one event is a line of so many bytes, without an end.
pub fn line_without_end(bytes: usize) -> Reply {
    let mut line = b"data: ".to_vec();
    line.resize(line.len() + bytes, FILLER);
    Reply::status(200).header("content-type", "text/event-stream").body(line)
}

/// The normal answer with its result broken off, so that it is JSON no more.
pub fn not_json() -> Reply {
    Reply::normal().altered(|body| body.slice(..body.len() / 2))
}

/// The normal answer with a list of tools in front of what its result has: two members of one name in a list of tools.
pub fn duplicate_member() -> Reply {
    Reply::normal().altered(|body| {
        let body = String::from_utf8_lossy(&body);
        let first = r#""result":{"tools":[{"name":"list_notes","inputSchema":{"type":"object"}}],"#;
        Bytes::from(body.replacen(r#""result":{"#, first, 1))
    })
}

/// A token that is not taken, whatever it is.
pub fn unauthorized() -> Reply {
    Reply::status(401).header("www-authenticate", "Bearer realm=\"notes\", error=\"invalid_token\"")
}

/// The normal answer under another session id.
pub fn another_session() -> Reply {
    Reply::normal().replacing_header("mcp-session-id", "another-session")
}

/// The normal answer that calls itself a page.
pub fn wrong_content_type() -> Reply {
    Reply::normal().replacing_header("content-type", "text/html")
}

/// The normal answer, broken off after so many events of its stream. They are sent as they come.
pub fn dies_after_events(events: usize) -> Reply {
    Reply::normal().cut_after_frames(events)
}
