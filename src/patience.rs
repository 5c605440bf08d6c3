//! Waiting for a person who is at one of the gateway's pages while the call that needs them stays open.

use std::time::Duration;

use tokio::sync::Semaphore;

/// How long a call waits. A person reads and signs in within some times that; a client that waits for its answer gives up after a
/// minute.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most calls that wait at a time. Others are answered at once.
static WAITING: Semaphore = Semaphore::const_new(1_000);

/// Waits until something was heard of the person, for some seconds at most. What it was is another question.
pub async fn for_person(heard: impl Future<Output = ()>) {
    let Ok(_waits) = WAITING.try_acquire() else { return };
    // That nobody has said anything is what the caller finds, too.
    let _ = tokio::time::timeout(PATIENCE, heard).await;
}
