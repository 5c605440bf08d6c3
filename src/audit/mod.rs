//! The record of what happened: one for each call, whatever happened.
//!
//! A call begins by reserving a place for its record, so that at its end the record is written without waiting and
//! without failing. When no place can be had, the call is refused. The end of an answer is released once its record is as
//! safe as the operator wants it.

mod archive;
pub mod checkpoint;
pub mod files;
pub mod link;
mod log;
mod mark;
mod ocsf;
mod record;
mod segment;
mod settings;
mod writer;

pub use log::{AuditLog, AuditUnavailable, Receipt, Slot};
pub use mark::{Happening, Mark};
pub use record::{CallRecord, Ending, Fault, Forgotten, Record, RefusalNote, RequestId};
pub use segment::OpenError;
pub use settings::{AuditFile, AuditSettings, Checkpoints, Durability, Keep, Rotation};
