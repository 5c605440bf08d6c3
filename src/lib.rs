//! A reverse proxy that makes every agent's tool call on behalf of a real user.

pub mod audit;
pub mod checked_url;
pub mod clock;
pub mod config;
pub mod confirmation;
pub mod connections;
pub mod credential;
#[cfg(feature = "demo")]
pub mod demo;
pub mod digest;
pub mod error_chain;
pub mod explain;
pub mod flight;
pub mod forget;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
pub mod gateway;
pub mod identity;
pub mod limit;
pub mod memo;
pub mod metrics;
pub mod oauth;
pub mod pages;
mod patience;
pub mod policy;
pub mod process;
pub mod pseudonym;
pub mod random;
pub mod regular_file;
mod second_chance;
pub mod server;
mod sparing;
pub mod strict_json;
pub mod tls;
pub mod tool;
pub mod trail;
mod unique;
pub mod unseen;
pub mod vault;
pub mod vault_command;
mod worker;
