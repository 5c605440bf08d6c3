//! The record of what happened: one for each call, whatever happened.
//!
//! A call begins by reserving a place for its record, so that at its end the record is written without waiting and
//! without failing. When no place can be had, the call is refused.

mod ocsf;
mod record;
mod writer;

pub use record::{CallRecord, Ending, Fault, Forgotten, RefusalNote, RequestId};
pub use writer::{AuditFile, AuditLog, AuditUnavailable, Slot};
