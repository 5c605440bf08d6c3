//! MCP connectors: Streamable HTTP of both eras.

#[cfg_attr(not(test), expect(dead_code, reason = "the stages that use it come with the next change"))]
pub mod handles;
