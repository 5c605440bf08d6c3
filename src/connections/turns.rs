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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Issuer, PersonId, Subject, Tenant};
    use crate::tool::ConnectorName;

    fn owner(n: usize) -> Owner {
        let person = PersonId {
            issuer: Issuer::new("https://issuer.example"),
            tenant: Tenant::Sole,
            subject: Subject::new(n.to_string()),
        };
        Owner::new(&person, &ConnectorName::new("crm"))
    }

    #[tokio::test]
    async fn turns_that_nobody_waits_for_are_cleared_away_and_no_other_is() {
        let turns = Turns::default();
        let held = turns.take(&owner(0)).await;
        for n in 1..=3 * CLEARED_FROM {
            drop(turns.take(&owner(n)).await);
            assert!(turns.0.lock().expect("no panic").len() <= CLEARED_FROM);
        }
        // Whoever comes now still waits for the one that has it.
        let waits =
            async { tokio::time::timeout(std::time::Duration::from_millis(20), turns.take(&owner(0))).await };
        assert!(waits.await.is_err());
        drop(held);
        turns.take(&owner(0)).await;
    }
}
