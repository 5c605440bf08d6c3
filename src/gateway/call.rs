//! A call under way: what is known about it, and the promise that it is recorded and counted exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::{Method, Request, StatusCode};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::cors::CorsAccess;
use super::gate::Gate;
use super::mcp::McpCall;
use super::tool_call::ToolCall;
use super::upload::Upload;
use crate::audit::{
    CallRecord, Ending, Privacy, QueueEnd, QueueNote, Receipt, Record, RefusalNote, RequestId, Slot,
};
use crate::clock::Now;
use crate::credential::Credential;
use crate::identity::{Caller, Peer};
use crate::metrics::{Metrics, ToolMetrics};
use crate::policy::Permit;

/// A call from its arrival to its end. When it is dropped, however that came about, its record is written and its
/// metrics are counted.
pub struct Call {
    /// What is known about it. The stages fill it in.
    pub record: CallRecord,
    /// How the agent speaks, when it calls an MCP connector.
    pub mcp: Option<McpCall>,
    /// Which pages in browsers may read the answer.
    pub cors: CorsAccess,
    gate: Option<Arc<Gate>>,
    slot: Option<Slot>,
    peer: Peer,
    arrived: Now,
    /// How long it waited for its person, or for a place at its connector, which is not the gateway's latency.
    waited: Duration,
    /// Since when it waits for a place at its connector.
    waits_since: Option<Instant>,
    upload: Option<Arc<Upload>>,
    tool_metrics: Arc<ToolMetrics>,
    metrics: Arc<Metrics>,
    calls: Calls,
    /// Counts this call as long as its record may still be to come. The last field, so the last to go.
    _running: TaskTrackerToken,
}

/// All calls under way, for whoever waits for them or ends them.
#[derive(Clone, Default)]
pub struct Calls {
    running: TaskTracker,
    cut: Arc<AtomicBool>,
}

impl Calls {
    /// What still runs is about to be cut, and its records say so.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// Waits until the record of every call has been handed to the trail. Nothing must begin from here on.
    pub async fn wait(&self) {
        self.running.close();
        self.running.wait().await;
    }
}

impl Call {
    /// A call that has just arrived, with the place for its record, which may say of people what `privacy` says.
    pub fn begin<B>(
        request: &Request<B>,
        peer: Peer,
        slot: Slot,
        privacy: Arc<Privacy>,
        tool_metrics: Arc<ToolMetrics>,
        metrics: Arc<Metrics>,
        calls: &Calls,
    ) -> Self {
        let arrived = Now::read();
        metrics.calls_in_progress.inc();
        let record = CallRecord::begin_under(privacy, request, peer, arrived.wall);
        let (calls, running) = (calls.clone(), calls.running.token());
        Self {
            record,
            mcp: None,
            cors: CorsAccess::default(),
            gate: None,
            slot: Some(slot),
            peer,
            arrived,
            waited: Duration::ZERO,
            waits_since: None,
            upload: None,
            tool_metrics,
            metrics,
            calls,
            _running: running,
        }
    }

    /// Its identifier.
    pub fn request_id(&self) -> RequestId {
        self.record.request_id
    }

    /// Who sent it.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// When it arrived.
    pub fn arrived(&self) -> Now {
        self.arrived
    }

    /// How long it has been going on.
    pub fn elapsed(&self) -> Duration {
        self.arrived.monotonic.elapsed()
    }

    /// It is for what stands behind this gate.
    pub fn comes_to(&mut self, gate: &Arc<Gate>) {
        self.gate = Some(Arc::clone(gate));
    }

    /// The gate that it came to.
    pub fn gate(&self) -> Option<&Gate> {
        self.gate.as_deref()
    }

    /// Its caller is known.
    pub fn authenticated(&mut self, caller: &Arc<Caller>) {
        self.record.stages.authenticated = Some(self.elapsed());
        self.record.caller = Some(Arc::clone(caller));
    }

    /// What it is about is known.
    pub fn identified(&mut self, tool_call: &ToolCall) {
        self.record.stages.identified = Some(self.elapsed());
        self.record.tool = Some(Arc::clone(&tool_call.tool.tool));
        self.record.arguments_digest = tool_call.arguments_digest;
        self.record.arguments = tool_call.recorded_arguments();
        self.counts_as(&tool_call.tool.metrics);
    }

    /// Policy allows it.
    pub fn decided(&mut self, permit: &Permit) {
        self.record.stages.decided = Some(self.elapsed());
        self.record.policies = Arc::clone(permit.policies());
    }

    /// It has waited for its person for so long.
    pub fn waited_for_person(&mut self, waited: Duration) {
        self.waited += waited;
    }

    /// It waits for a place at its connector.
    pub fn waits_for_place(&mut self) {
        self.waits_since = Some(Instant::now());
    }

    /// It does so no more.
    pub fn waited_for_place(&mut self, end: QueueEnd) {
        let Some(since) = self.waits_since.take() else { return };
        let waited = since.elapsed();
        self.waited += waited;
        // A call that is sent again with another credential may wait again.
        let before = self.record.queue.map_or(Duration::ZERO, |queue| queue.waited);
        self.record.queue = Some(QueueNote { waited: before + waited, end });
    }

    /// There is a credential for it.
    pub fn obtained(&mut self, credential: &Credential) {
        self.record.stages.obtained = Some(self.elapsed());
        self.record.lookup = Some(credential.lookup());
        self.carries(credential);
    }

    /// This is what the connector gets.
    pub fn carries(&mut self, credential: &Credential) {
        self.record.credential = Some(Arc::clone(credential.note()));
    }

    /// From here on it is counted under these labels.
    pub fn counts_as(&mut self, tool_metrics: &Arc<ToolMetrics>) {
        self.tool_metrics = Arc::clone(tool_metrics);
    }

    /// The agent's body is passed on from here on.
    pub fn track_upload(&mut self, upload: &Arc<Upload>) {
        self.upload = Some(Arc::clone(upload));
    }

    /// The connector's answer has begun.
    pub fn answered(&mut self, status: StatusCode, connector_latency: Duration) {
        self.record.status = Some(status);
        self.record.connector_latency = Some(connector_latency);
        let not_ours = connector_latency.saturating_add(self.waited);
        self.tool_metrics.added(self.elapsed().saturating_sub(not_ours));
    }

    /// Whether an answer with this method and status has no body (RFC 9110 section 6.4.1).
    pub fn has_bodyless_answer(&self) -> bool {
        let status = self.record.status.unwrap_or_default();
        self.record.method == Method::HEAD
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::RESET_CONTENT)
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

    /// Nothing more happens to it: its record goes to the trail. What comes back tells when the record is safe.
    pub fn finish(mut self: Box<Self>) -> Receipt {
        self.hand_over()
    }

    /// Hands its record over and counts it, once.
    fn hand_over(&mut self) -> Receipt {
        let Some(slot) = self.slot.take() else { return Receipt::none() };
        if std::thread::panicking() {
            self.record.ending = Ending::Panicked;
        } else if self.record.ending == Ending::AgentLeft && self.calls.cut.load(Ordering::Relaxed) {
            self.record.ending = Ending::GatewayStopped;
        }
        self.waited_for_place(QueueEnd::Left);
        self.record.duration = self.elapsed();
        self.record.operation = self.mcp.as_ref().and_then(McpCall::operation);
        self.record.request_bytes = self.upload.as_ref().map_or(0, |upload| upload.bytes());
        self.tool_metrics.ended(self.record.outcome(), self.record.duration);
        self.metrics.calls_in_progress.dec();
        slot.write(&Record::Call(&self.record))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Whoever would have waited for the record is gone.
        drop(self.hand_over());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{AuditLog, AuditSettings};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    fn call(log: &AuditLog, metrics: &Arc<Metrics>) -> Call {
        let request = Request::get("/mail").body(()).expect("a request of the test");
        let peer = Peer { address: ([127, 0, 0, 1], 1).into(), tls: false, certificate: None };
        let slot = log.reserve().expect("a place");
        let (privacy, calls) = (Privacy::of_this_run(), Calls::default());
        Call::begin(&request, peer, slot, privacy, metrics.no_connector(), Arc::clone(metrics), &calls)
    }

    async fn outcomes(log: &AuditLog, path: &Path) -> Vec<String> {
        log.flush().await;
        let trail = std::fs::read_to_string(path).expect("a trail");
        let outcome = |line: &str| {
            let record: serde_json::Value = serde_json::from_str(line).expect("a JSON line");
            record["unmapped"]["obo"]["outcome"].as_str().expect("an outcome").to_owned()
        };
        trail.lines().map(outcome).collect()
    }

    #[tokio::test]
    async fn a_panic_ends_one_call_with_its_record() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let metrics = Arc::<Metrics>::default();
        let log = AuditLog::open(AuditSettings::of(&path), Arc::clone(&metrics)).expect("a trail");
        let panicking = call(&log, &metrics);
        let result = catch_unwind(AssertUnwindSafe(move || {
            let _ends_with_this_block = panicking;
            panic!("as the test wants");
        }));
        assert!(result.is_err());
        drop(call(&log, &metrics));
        assert_eq!(outcomes(&log, &path).await, ["panicked", "agent_left"]);
        assert_eq!(metrics.calls_in_progress.get(), 0);
    }
}
