//! The record of what happened: one for each call, whatever happened, one for whatever authorization servers were asked for
//! meanwhile, and one for whatever people do about it themselves.
//!
//! A call begins by reserving a place for its record, so that at its end the record is written without waiting and
//! without failing. When no place can be had, the call is refused. The end of an answer is released once its record is as
//! safe as the operator wants it.

mod archive;
mod authentication;
pub mod checkpoint;
mod deed;
pub mod files;
mod gathering;
mod inbox;
mod keyed;
pub mod link;
mod log;
mod mark;
mod ocsf;
mod record;
mod recorder;
mod segment;
mod settings;
mod writer;

pub use authentication::{
    Authentication, AuthenticationRecord, Exchange, ExchangeEnd, ExchangeReason, Failure, Forgotten, Issued,
    Occasion, Revocation, Whom,
};
pub use deed::{Deed, DeedEnd, DeedKind, DeedServer, KnownPerson, PageVisit};
pub use gathering::Receipt;
pub use keyed::{AuditKey, Epoch, KEY_BYTES_MIN, Privacy};
pub use log::{AuditLog, AuditUnavailable, Slot};
pub use mark::{Happening, Mark, RotationReason};
pub use ocsf::RECORD_BYTES_MAX;
pub use record::{
    Address, CallRecord, ConfirmationNote, CredentialNote, Destination, Ending, Fault, McpOperation,
    QueueEnd, QueueNote, Record, RefusalNote, RequestId, SecondTry, StageTimes,
};
pub use recorder::{DeedRecording, Exchanges, Place, Recorder, Recording, UnderWay};
pub use segment::OpenError;
pub use settings::{AuditFile, AuditSettings, Checkpoints, Durability, Keep, Rotation};
