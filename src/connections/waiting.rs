//! Waiting for a person who is at the page of a ticket.

use std::time::Duration;

use tokio::sync::Semaphore;

use super::{Connections, TicketId, Wanted};
use crate::clock::Now;

/// How long a call waits. A person signs in within some times that; a client that waits for its answer gives up after a minute.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most calls that wait at a time. Others are answered at once.
static WAITING: Semaphore = Semaphore::const_new(1_000);

impl Connections {
    /// Waits until the person says yes or no to what a ticket asks for, for some seconds at most. Which it was is another question.
    pub async fn wait_for_person(&self, wanted: &Wanted, ticket: &TicketId, now: Now) {
        let Ok(_waits) = WAITING.try_acquire() else { return };
        let (mut news, asker) = (self.held.tickets.news(), wanted.asker());
        if self.ticket(ticket, now).is_none() {
            return;
        }
        // Whoever has missed some of the news looks for themselves.
        let heard = async { while news.recv().await.is_ok_and(|settled| settled != asker) {} };
        // Nobody has said anything: that is what the caller finds, too.
        let _ = tokio::time::timeout(PATIENCE, heard).await;
    }
}
