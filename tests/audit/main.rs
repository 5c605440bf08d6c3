//! The commands that read an audit trail: the real program, on trails that were made and tampered with here.

mod bed;
mod gateway;
mod query;
mod records;
mod report;
mod stats;
mod tail;
mod tampering;
mod verify;
