//! The records of exchanges while these are under way.
//!
//! An exchange begins by taking a place for its record, as a call does, and its record is handed over before anybody gets what
//! it yielded: in the trail it stands before the records of the calls that used it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::authentication::{Authentication, AuthenticationRecord, Exchange, ExchangeEnd};
use super::keyed::Privacy;
use super::log::{AuditLog, AuditUnavailable, Slot};
use super::record::{Record, RequestId};
use crate::clock::Now;

/// The exchanges under way, for whoever ends them: some are for nobody who waits.
#[derive(Clone, Default)]
pub struct Exchanges {
    running: TaskTracker,
    over: CancellationToken,
}

impl Exchanges {
    /// Breaks off what is under way, and waits until all of it has been handed to the trail.
    pub async fn end(&self) {
        self.over.cancel();
        self.running.close();
        self.running.wait().await;
    }
}

/// Where records go, and what they may say of people.
#[derive(Clone)]
pub struct Recorder {
    trail: Option<AuditLog>,
    privacy: Arc<Privacy>,
    exchanges: Exchanges,
}

impl Recorder {
    /// To this trail.
    pub fn new(trail: AuditLog, privacy: Arc<Privacy>, exchanges: Exchanges) -> Self {
        Self { trail: Some(trail), privacy, exchanges }
    }

    /// Nowhere, for a rehearsal: it asks authorization servers at somebody's own wish, and serves nobody. A test holds that
    /// nothing else makes this.
    pub fn for_rehearsal() -> Self {
        Self { trail: None, privacy: Privacy::of_this_run(), exchanges: Exchanges::default() }
    }

    /// Waits until exchanges are to be broken off.
    pub async fn exchanges_are_over(&self) {
        self.exchanges.over.cancelled().await;
    }

    /// What records may say of people.
    pub fn privacy(&self) -> &Arc<Privacy> {
        &self.privacy
    }

    /// Begins the record of an exchange.
    ///
    /// # Errors
    ///
    /// [`AuditUnavailable`] while there is no place for it; the exchange must then not be made.
    pub fn begin(&self, exchange: Exchange) -> Result<Recording, AuditUnavailable> {
        let slot = self.trail.as_ref().map(AuditLog::reserve).transpose()?;
        let now = Now::read();
        let record = AuthenticationRecord {
            id: RequestId::next(),
            privacy: Arc::clone(&self.privacy),
            began_at: now.wall,
            duration: Duration::ZERO,
            what: Authentication::Exchange(exchange),
        };
        let running = self.exchanges.running.token();
        Ok(Recording { slot, record: Some(Box::new(record)), began: now.monotonic, _running: running })
    }
}

/// The record of an exchange that is under way. When it is dropped, however that came about, it is written.
#[derive(Debug)]
pub struct Recording {
    slot: Option<Slot>,
    record: Option<Box<AuthenticationRecord>>,
    began: Instant,
    /// Counts it as long as its record may still be to come.
    _running: TaskTrackerToken,
}

impl Recording {
    /// It has come to this end. Returns the record's identifier.
    pub fn end(mut self, end: ExchangeEnd) -> RequestId {
        let record = self.record.as_mut().expect("it is taken when this is dropped, and not before");
        if let Authentication::Exchange(exchange) = &mut record.what {
            exchange.end = end;
        }
        record.id
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let (Some(slot), Some(mut record)) = (self.slot.take(), self.record.take()) {
            record.duration = self.began.elapsed();
            // Nobody waits for it: the records of the calls that it was made for come later, and those are waited for.
            drop(slot.write(Record::Authentication(record)));
        }
    }
}
