//! A reverse proxy that makes every agent's tool call on behalf of a real user.

#[cfg(feature = "demo")]
pub mod demo;
