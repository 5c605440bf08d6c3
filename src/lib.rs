//! A reverse proxy that makes every agent's tool call on behalf of a real user.

pub mod audit;
pub mod checked_url;
pub mod clock;
#[cfg(feature = "demo")]
pub mod demo;
pub mod credential;
pub mod flight;
pub mod gateway;
pub mod identity;
pub mod metrics;
pub mod config;
pub mod oauth;
pub mod process;
pub mod policy;
pub mod server;
pub mod strict_json;
pub mod tls;
pub mod tool;
