//! MCP servers behind the gateway, in both eras.

mod bed;

mod app_only;
mod legacy;
mod modern;
mod streams;
