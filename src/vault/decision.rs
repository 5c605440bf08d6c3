//! Whether a change of the vault comes about. Whoever makes it says yes just before it is committed; whoever waits for it says no
//! once that takes too long. The first word counts, and both hear it, so that what was done is never told as what was not.

use std::sync::OnceLock;

use super::{PATIENCE, VaultError};

/// What was decided, once it is.
#[derive(Default)]
pub struct Decision(OnceLock<Word>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Commit,
    GiveUp,
}

impl Decision {
    /// Decides that it comes about, unless whoever waits has given up.
    pub fn commit(&self) -> Result<(), VaultError> {
        match self.0.get_or_init(|| Word::Commit) {
            Word::Commit => Ok(()),
            Word::GiveUp => Err(VaultError::TimedOut(PATIENCE)),
        }
    }

    /// Decides that it does not come about. Returns whether that is so: it may be being committed.
    pub fn give_up(&self) -> bool {
        *self.0.get_or_init(|| Word::GiveUp) == Word::GiveUp
    }

    /// An error when it does not come about any more. There is nothing to begin then.
    pub fn check(&self) -> Result<(), VaultError> {
        match self.0.get() {
            Some(Word::GiveUp) => Err(VaultError::TimedOut(PATIENCE)),
            Some(Word::Commit) | None => Ok(()),
        }
    }
}
