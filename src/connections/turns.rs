//! Turns: what changes a person's grant for a connector happens one after the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::vault::Owner;

/// From how many on those that nobody waits for are cleared away.
const CLEARED_FROM: usize = 1_024;

/// A turn for each owner.
#[derive(Default)]
pub struct Turns(Mutex<HashMap<Owner, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits for the turn of whoever changes what `owner` has. It is over when what comes back is dropped.
    pub async fn take(&self, owner: &Owner) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if turns.len() >= CLEARED_FROM {
                turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            }
            Arc::clone(turns.entry(owner.clone()).or_default())
        };
        turn.lock_owned().await
    }
}
