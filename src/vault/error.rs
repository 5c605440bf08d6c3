//! What can be wrong: with a vault, with a record, with the disk.

use std::sync::Arc;
use std::time::Duration;

use super::key::KeyId;
use crate::metrics::VaultFault;

/// Why a vault cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system says no.
    #[error("{what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// The engine says no.
    #[error("{what}")]
    Store {
        /// What was tried.
        what: &'static str,
        /// What the engine says.
        source: Arc<sqlx::Error>,
    },
    /// There is none.
    #[error(
        "it is not there: the gateway makes it when it first runs; relative names start at the working directory"
    )]
    NotThere,
    /// Another process has it.
    #[error(
        "another process has it open: a vault is for one gateway at a time, so stop that one, or give each its own file"
    )]
    Locked,
    /// It is a link, a pipe, a device, or a folder, or has a second name.
    #[error("it is no regular file of its own: name one, and not a link to it")]
    NotRegular,
    /// Others may read or write it.
    #[error("other users of this machine may read or write it: `chmod 600` it")]
    Exposed,
    /// Something else is in the file.
    #[error("it is no vault, or one of another version: move the file away, or name another")]
    NotAVault,
    /// A key is another one than the vault was sealed with.
    #[error(
        "the key {0:?} is another one than the vault was sealed with: give the file of the key that has this id"
    )]
    WrongKey(KeyId),
    /// A key is not there.
    #[error(
        "records are sealed with the key {0:?}, which the configuration does not have: add it to `vault.keys`, below the first, until `obo-gateway vault rotate` has been run; where it is lost, move the file away, and people connect anew"
    )]
    KeyMissing(KeyId),
    /// It knows as many keys as it takes.
    #[error(
        "it knows {0} keys already, and takes no more: run `obo-gateway vault rotate` with those that it has, and then give it the new one"
    )]
    KeysFull(usize),
    /// Something else than the gateway has changed it.
    #[error(
        "{0} was changed by something else than the gateway: put the whole file back from where it is good, or move it away, so that people connect anew"
    )]
    Changed(&'static str),
    /// The system has no randomness.
    #[error("the system's random source does not work")]
    NoRandomness,
}

/// What is wrong with a record. It is never used then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordFault {
    /// It was changed, cut, or belongs elsewhere.
    #[error("it is damaged, or is another's")]
    Damaged,
    /// It is sealed with a key that the vault does not have.
    #[error("it is sealed with another key")]
    OtherKey,
    /// It was taken away before, and somebody put it back.
    #[error("it was revoked, and has been put back")]
    PutBack,
}

impl RecordFault {
    pub(super) fn counted(self) -> VaultFault {
        match self {
            Self::Damaged => VaultFault::Damaged,
            Self::OtherKey => VaultFault::OtherKey,
            Self::PutBack => VaultFault::PutBack,
        }
    }
}

/// Why something was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VaultError {
    /// The record cannot be used.
    #[error("the record cannot be used: {0}")]
    Record(#[from] RecordFault),
    /// What it was to replace has been taken away meanwhile, or its person has been forgotten.
    #[error("what it was to replace has been taken away meanwhile")]
    Superseded,
    /// It is larger than any honest one.
    #[error("the record is too large")]
    TooLarge,
    /// The engine says no: the disk is full, or fails.
    #[error("{what}")]
    Store {
        /// What was tried.
        what: &'static str,
        /// What the engine says.
        #[source]
        source: Arc<sqlx::Error>,
    },
    /// Another process has taken it.
    #[error("another process has the vault open")]
    Locked,
    /// What is in the file is not what the gateway has written.
    #[error("{0} was changed by something else than the gateway")]
    Changed(&'static str),
    /// The system has no randomness.
    #[error("the system's random source does not work")]
    NoRandomness,
    /// It could not be written for a while, and takes no more.
    #[error("too many records wait to be written to the vault")]
    Waiting,
    /// The disk did not answer in time. What was to be done is not done later either.
    #[error("the vault's disk did not answer in {0:?}")]
    TimedOut(Duration),
    /// The disk had begun to commit a change, and did not say in time whether it is done.
    #[error("the vault's disk did not say in {0:?} whether it was done, which is not known")]
    InDoubt(Duration),
    /// The gateway is stopping.
    #[error("the vault is closed")]
    Closed,
    /// The task that was to do it ended without a result.
    #[error("the work on the vault broke off")]
    BrokeOff,
}

/// What is wrong with a vault that is open already.
pub(super) fn in_use(error: OpenError) -> VaultError {
    match error {
        OpenError::Store { what, source } => VaultError::Store { what, source },
        OpenError::Changed(what) => VaultError::Changed(what),
        OpenError::NoRandomness => VaultError::NoRandomness,
        OpenError::Locked => VaultError::Locked,
        OpenError::System { .. }
        | OpenError::NotThere
        | OpenError::NotRegular
        | OpenError::Exposed
        | OpenError::NotAVault
        | OpenError::WrongKey(_)
        | OpenError::KeyMissing(_)
        | OpenError::KeysFull(_) => VaultError::Changed("the vault file"),
    }
}
