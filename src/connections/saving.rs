//! Grants on their way into the vault, and those that it could not take: they are kept in memory until it can.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{ConnectionError, Grant, Held, OpenedGrant};
use crate::error_chain::ErrorChain;
use crate::vault::{Generation, Owner, VaultError};

/// How long to wait after one attempt to write what waits before the next.
const SAVE_PAUSE: Duration = Duration::from_secs(2);

impl Held {
    /// Keeps a grant: when this returns it, the disk has it. `None` when what it was to replace has been taken away meanwhile.
    pub(super) async fn save(
        self: &Arc<Self>,
        owner: &Owner,
        generation: Generation,
        grant: Grant,
    ) -> Result<Option<Arc<OpenedGrant>>, ConnectionError> {
        let saved = self.vault.put(owner, generation, &grant.write()).await;
        match saved {
            Ok(()) => {
                self.unsaved().remove(owner);
                let opened = OpenedGrant::new(generation, grant);
                self.opened.insert(owner.clone(), Arc::clone(&opened));
                Ok(Some(opened))
            }
            Err(VaultError::Superseded) => {
                self.unsaved().remove(owner);
                self.opened.invalidate(owner);
                Ok(None)
            }
            Err(error) => {
                tracing::error!(connector = %owner.connector, error = %ErrorChain(&error), "Connection not written to the vault");
                self.opened.invalidate(owner);
                if matches!(error, VaultError::TooLarge) {
                    // It never will be.
                    return Err(error.into());
                }
                let mut unsaved = self.unsaved();
                unsaved.insert(owner.clone(), (generation, grant));
                if !self.is_saving.swap(true, Ordering::Relaxed) {
                    tokio::spawn(save_later(Arc::downgrade(self)));
                }
                Err(error.into())
            }
        }
    }

    /// Tries to write what waits, until something cannot be. Returns how many are left.
    async fn save_unsaved(self: &Arc<Self>) -> usize {
        let owners: Vec<Owner> = self.unsaved().keys().cloned().collect();
        for owner in owners {
            let _turn = self.turns.take(&owner).await;
            if self.open_in_turn(&owner).await.is_err() {
                break;
            }
        }
        self.unsaved().len()
    }

    /// Ends what is under way, writes what waits to be written, and closes the vault.
    pub async fn close(self: &Arc<Self>) {
        self.is_closing.store(true, Ordering::Relaxed);
        self.flights.settle().await;
        let lost = self.save_unsaved().await;
        if lost > 0 {
            tracing::error!(lost, "Connections lost whose renewed tokens the vault could not take");
        }
        self.vault.close().await;
    }

    pub(super) fn unsaved(&self) -> MutexGuard<'_, HashMap<Owner, (Generation, Grant)>> {
        // It is whole after every change.
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tries from time to time to write what the vault could not take, until nothing of it is left.
fn save_later(held: Weak<Held>) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        loop {
            tokio::time::sleep(SAVE_PAUSE).await;
            let Some(held) = held.upgrade() else { return };
            held.save_unsaved().await;
            // Whoever adds to it while this is looked at begins anew.
            let unsaved = held.unsaved();
            if unsaved.is_empty() || held.is_closing.load(Ordering::Relaxed) {
                held.is_saving.store(false, Ordering::Relaxed);
                return;
            }
        }
    })
}
