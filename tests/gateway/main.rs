//! The gateway between a development authorization server and a mail connector, all on real sockets in one process.

mod bed;
mod leaks;
#[path = "../ocsf/validator.rs"]
mod ocsf;

mod agents;
mod app_only;
mod authentications;
mod bodies;
mod browser;
mod canary;
mod catalog;
mod challenge;
mod clock;
mod command;
mod confirmation;
mod connections;
mod cors;
mod draining;
mod endings;
mod exchange;
mod explain;
mod forgetting;
mod handover;
mod hardening;
mod http;
mod http2;
mod id_jag;
mod lifecycle;
mod limits;
mod log;
mod mcp;
mod metadata;
mod names;
mod pages;
#[cfg(feature = "cedar")]
mod policy;
mod pools;
mod possession;
mod records;
mod reloading;
mod resilience;
mod rest;
mod second_try;
mod story;
mod tokens;
