//! MCP servers behind the gateway, in both eras.

mod bed;

mod legacy;
mod modern;
