//! The record of what happened: one for each call, whatever happened.
//!
//! A call begins by reserving a place for its record, so that at its end the record is written without waiting and
//! without failing. When no place can be had, the call is refused.

pub mod checkpoint;
pub mod files;
pub mod link;
mod mark;
mod ocsf;
mod record;
mod writer;

pub use mark::{Happening, Mark};
pub use record::{CallRecord, Ending, Fault, Forgotten, Record, RefusalNote, RequestId};
pub use writer::{AuditFile, AuditLog, AuditUnavailable, Slot};
