//! A call under way: what is known about it, and the promise that it is recorded and counted exactly once.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};

use super::body::Upload;
use crate::audit::{CallRecord, Ending, RefusalNote, RequestId, Slot};
use crate::clock::Now;
use crate::identity::Peer;
use crate::metrics::{Metrics, ToolMetrics};

/// A call from its arrival to its end. When it is dropped, however that came about, its record is written and its
/// metrics are counted.
pub struct Call {
    /// What is known about it. The stages fill it in.
    pub record: CallRecord,
    slot: Option<Slot>,
    arrived: Now,
    upload: Option<Arc<Upload>>,
    tool_metrics: Arc<ToolMetrics>,
    metrics: Arc<Metrics>,
}

impl Call {
    /// A call that has just arrived, with the place for its record.
    pub fn begin<B>(
        request: &Request<B>,
        peer: Peer,
        arrived: Now,
        slot: Slot,
        tool_metrics: Arc<ToolMetrics>,
        metrics: Arc<Metrics>,
    ) -> Self {
        metrics.calls_in_progress.inc();
        let record = CallRecord::begin(request, peer, arrived.wall);
        Self { record, slot: Some(slot), arrived, upload: None, tool_metrics, metrics }
    }

    /// Its identifier.
    pub fn request_id(&self) -> RequestId {
        self.record.request_id
    }

    /// When it arrived.
    pub fn arrived(&self) -> Now {
        self.arrived
    }

    /// How long it has been going on.
    pub fn elapsed(&self) -> Duration {
        self.arrived.monotonic.elapsed()
    }

    /// From here on it is counted under these labels.
    pub fn counts_as(&mut self, tool_metrics: &Arc<ToolMetrics>) {
        self.tool_metrics = Arc::clone(tool_metrics);
    }

    /// The agent's body is passed on from here on.
    pub fn uploads(&mut self, upload: &Arc<Upload>) {
        self.upload = Some(Arc::clone(upload));
    }

    /// The connector's answer has begun.
    pub fn answered(&mut self, status: StatusCode, connector_latency: Duration) {
        self.record.status = Some(status);
        self.record.connector_latency = Some(connector_latency);
        self.tool_metrics.added(self.elapsed().saturating_sub(connector_latency));
    }

    /// The gateway says no.
    pub fn refused(&mut self, note: RefusalNote, status: StatusCode, ending: Ending) {
        self.record.refusal = Some(note);
        self.record.status = Some(status);
        self.record.ending = ending;
    }

    /// Bytes of the answer have been passed on.
    pub fn passed_on(&mut self, bytes: usize) {
        self.record.response_bytes += bytes as u64;
    }

    /// It is over, in this way.
    pub fn end(&mut self, ending: Ending) {
        self.record.ending = ending;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.record.ending = Ending::Panicked;
        }
        self.record.duration = self.elapsed();
        self.record.request_bytes = self.upload.as_ref().map_or(0, |upload| upload.bytes());
        self.tool_metrics.ended(self.record.outcome(), self.record.duration);
        self.metrics.calls_in_progress.dec();
        if let Some(slot) = self.slot.take() {
            slot.write(self.record.clone());
        }
    }
}
