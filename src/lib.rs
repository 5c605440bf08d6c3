//! A reverse proxy that makes every agent's tool call on behalf of a real user.

pub mod audit;
pub mod checked_url;
pub mod clock;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod gateway;
pub mod identity;
pub mod oauth;
pub mod policy;
pub mod server;
pub mod tool;
