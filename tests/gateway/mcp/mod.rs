//! MCP servers behind the gateway, in both eras.

pub mod bed;
mod elicitation;

mod app_only;
mod handles;
mod legacy;
mod lists;
mod modern;
mod streams;
