//! MCP connectors: Streamable HTTP of both eras.

#[cfg_attr(not(test), expect(dead_code, reason = "the stages that use it come with the next change"))]
pub mod era;
#[cfg_attr(not(test), expect(dead_code, reason = "the stages that use it come with the next change"))]
pub mod event_stream;
#[cfg_attr(not(test), expect(dead_code, reason = "the stages that use it come with the next change"))]
pub mod handles;
#[cfg_attr(not(test), expect(dead_code, reason = "the stages that use it come with the next change"))]
pub mod lists;
#[cfg_attr(not(test), expect(dead_code, reason = "the stages that use it come with the next change"))]
pub mod message;
pub mod method;
#[cfg_attr(not(test), expect(dead_code, reason = "the stages that use it come with the next change"))]
pub mod mirror;
pub mod params;
#[cfg_attr(not(test), expect(dead_code, reason = "the stages that use it come with the next change"))]
pub mod reply;

/// The member of `_meta` with the revision of the protocol, since 2026-07-28.
pub const META_PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The member of `_meta` with what the client can do, since 2026-07-28.
pub const META_CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
