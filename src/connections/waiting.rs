//! Waiting for a person who is at the page of a ticket.

use super::{Connections, TicketId, Wanted};
use crate::clock::Now;
use crate::patience;

impl Connections {
    /// Waits until the person says yes or no to what a ticket asks for, for some seconds at most. Which it was is another question.
    pub async fn wait_for_person(&self, wanted: &Wanted, ticket: &TicketId, now: Now) {
        let (mut news, asker) = (self.held.tickets.news(), wanted.asker());
        if self.ticket(ticket, now).is_none() {
            return;
        }
        // Whoever has missed some of the news looks for themselves.
        let settled = async { while news.recv().await.is_ok_and(|settled| settled != asker) {} };
        patience::for_person(ticket.as_str(), settled).await;
    }
}
