//! Every metric the gateway has, in one place. Labels come from the configuration or from an enum, never from a
//! request, so the number of series is known when the configuration is.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use crate::identity::IssuerName;
use crate::tool::Tool;

mod queues;

pub use queues::{QueueCounts, QueueMetrics, Queues};

/// Edges for whole requests: from a cached read on the same machine to a long upload.
const REQUEST_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Edges for what the gateway adds: tens of microseconds when everything is remembered, up to a slow exchange.
const ADDED_SECONDS: &[f64] = &[
    0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0,
    10.0,
];
/// Edges for calls that wait for a place at their connector, up to the longest that they commonly do.
const QUEUE_SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Edges for calls to an authorization server, up to the deadline after which it is given up.
const EXCHANGE_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Label value where a request matched no connector or no tool.
const NONE: &str = "none";

/// What a key set refresh came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeySetRefresh {
    /// The keys are new.
    Changed,
    /// The keys are the same.
    Unchanged,
    /// There was no usable answer.
    Failed,
}

/// What looking for a credential in the cache came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CacheLookup {
    /// It was there.
    Hit,
    /// It had to be obtained.
    Miss,
    /// The authorization server has just refused it.
    Refused,
    /// The identity is incomplete, so nothing may be kept.
    Uncacheable,
}

/// Why a credential left the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CacheRemoval {
    /// Its time was over.
    Expired,
    /// Something better took its place.
    Replaced,
    /// It was turned away, withdrawn or forgotten.
    Dropped,
    /// There was no room for it.
    Full,
}

/// What renewing a credential ahead of its end came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CacheRefresh {
    /// There is a new one.
    Renewed,
    /// There is none for now; the old one serves on.
    Failed,
    /// The person may not have it any more; the old one was dropped.
    Withdrawn,
}

/// What is wrong with a record of the vault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VaultFault {
    /// It was changed, cut or moved.
    Damaged,
    /// It is sealed with a key that is not there.
    OtherKey,
    /// It was revoked, and has been put back.
    PutBack,
}

impl CacheRefresh {
    const ALL: [Self; 3] = [Self::Renewed, Self::Failed, Self::Withdrawn];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Renewed => "renewed",
            Self::Failed => "failed",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl VaultFault {
    const ALL: [Self; 3] = [Self::Damaged, Self::OtherKey, Self::PutBack];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::OtherKey => "other_key",
            Self::PutBack => "put_back",
        }
    }
}

impl CacheLookup {
    /// As it stands in metrics and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Refused => "refused",
            Self::Uncacheable => "uncacheable",
        }
    }
}

/// Handles to every metric.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_duration: HistogramVec,
    added_latency: HistogramVec,
    authentication_failures: IntCounterVec,
    exchanges: IntCounterVec,
    application_tokens: IntCounterVec,
    exchange_duration: HistogramVec,
    exchange_retries: IntCounterVec,
    circuit_open: IntGaugeVec,
    cache_hits: IntCounter,
    cache_misses: IntCounter,
    cache_refused: IntCounter,
    cache_uncacheable: IntCounter,
    connector_retries: IntCounterVec,
    connector_spared: IntCounterVec,
    connector_circuit_open: IntGaugeVec,
    cache_removals: IntCounterVec,
    cache_refreshes: IntCounterVec,
    key_set_refreshes: IntCounterVec,
    /// Calls denied because a policy could not be evaluated.
    pub policy_errors: IntCounter,
    /// Credentials held in the cache.
    pub cache_entries: IntGauge,
    /// Connections from agents.
    pub open_connections: IntGauge,
    /// Connections that could not be accepted, since descriptors or memory had run out.
    pub accept_failures: IntCounter,
    /// Calls that have begun and not ended.
    pub calls_in_progress: IntGauge,
    /// Audit records written.
    pub audit_records: IntCounter,
    /// Attempts to write audit records that failed.
    pub audit_write_failures: IntCounter,
    /// Times that the disk did not say that it has the records.
    pub audit_sync_failures: IntCounter,
    /// Files of the trail that were closed.
    pub audit_rotations: IntCounter,
    /// The number of the last line of the trail.
    pub audit_sequence: IntGauge,
    /// The number of the last line that a checkpoint states.
    pub audit_checkpoint_sequence: IntGauge,
    /// Whether records can be written, and there is room for them.
    pub audit_writable: IntGauge,
    connection_events: IntCounterVec,
    confirmations: IntCounterVec,
    limit_refusals: IntCounterVec,
    /// The queues before connectors.
    pub queues: Queues,
    vault_records: IntGauge,
    vault_faults: IntCounterVec,
    reload_success: IntGauge,
    issuer_ready: IntGaugeVec,
    unusable_keys: IntGaugeVec,
}

/// The handles that one tool needs on every call, looked up once.
pub struct ToolMetrics {
    answered: IntCounter,
    request_duration: Histogram,
    added_latency: Histogram,
    labels: [Arc<str>; 3],
    requests: IntCounterVec,
}

/// The handles for what one connector's troubles come to.
pub struct ConnectorMetrics {
    name: Arc<str>,
    retries: IntCounterVec,
    spared_throttled: IntCounter,
    spared_circuit_open: IntCounter,
    circuit_open: IntGauge,
}

impl Metrics {
    /// Registers every metric, under the prefix `obo_gateway_`, beside those of the process.
    ///
    /// # Panics
    ///
    /// Never: names and labels are constants, and each is registered once in a registry of its own.
    pub fn new() -> Self {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        registry
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
            .expect("each metric is registered once");
        let counter = |name: &str, help: &str| {
            register(
                &registry,
                IntCounter::with_opts(opts(name, help)).expect("a constant is a valid metric"),
            )
        };
        let gauge = |name: &str, help: &str| {
            register(&registry, IntGauge::with_opts(opts(name, help)).expect("a constant is a valid metric"))
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(
                &registry,
                IntCounterVec::new(opts(name, help), labels).expect("a constant is a valid metric"),
            )
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            register(
                &registry,
                IntGaugeVec::new(opts(name, help), labels).expect("a constant is a valid metric"),
            )
        };
        let histograms = |name: &str, help: &str, labels: &[&str], edges: &[f64]| {
            let opts = HistogramOpts::from(opts(name, help)).buckets(edges.to_vec());
            register(&registry, HistogramVec::new(opts, labels).expect("a constant is a valid metric"))
        };
        let build_info = gauges("build_info", "1, with the version of the gateway as a label.", &["version"]);
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let cache_lookups =
            counters("credential_cache_lookups_total", "Look-ups of a credential in the cache.", &["result"]);
        Self {
            requests: counters(
                "requests_total",
                "Requests by connector, tool, identity mode and outcome: `answered`, a refusal code, or how it broke off.",
                &["connector", "tool", "identity", "outcome"],
            ),
            request_duration: histograms(
                "request_duration_seconds",
                "From the first byte of a request to the last of its answer.",
                &["connector"],
                REQUEST_SECONDS,
            ),
            added_latency: histograms(
                "added_latency_seconds",
                "What the gateway added before the answer's first byte: the time until then, less the connector's share.",
                &["connector"],
                ADDED_SECONDS,
            ),
            authentication_failures: counters(
                "authentication_failures_total",
                "Requests refused because of their token, by refusal code.",
                &["reason"],
            ),
            exchanges: counters(
                "exchanges_total",
                "Exchanges of a subject token for a delegated one, by issuer and outcome.",
                &["issuer", "outcome"],
            ),
            application_tokens: counters(
                "application_tokens_total",
                "Requests for a token of the application's own, by issuer and outcome.",
                &["issuer", "outcome"],
            ),
            exchange_duration: histograms(
                "exchange_duration_seconds",
                "How long exchanges took, by issuer.",
                &["issuer"],
                EXCHANGE_SECONDS,
            ),
            exchange_retries: counters(
                "exchange_retries_total",
                "Further attempts at an exchange, or at an application token, after one that failed for a passing reason, by issuer.",
                &["issuer"],
            ),
            circuit_open: gauges(
                "issuer_circuit_open",
                "Whether the issuer has failed again and again and is not asked for a moment.",
                &["issuer"],
            ),
            cache_hits: cache_lookups.with_label_values(&[CacheLookup::Hit.as_str()]),
            cache_misses: cache_lookups.with_label_values(&[CacheLookup::Miss.as_str()]),
            cache_refused: cache_lookups.with_label_values(&[CacheLookup::Refused.as_str()]),
            cache_uncacheable: cache_lookups.with_label_values(&[CacheLookup::Uncacheable.as_str()]),
            connector_retries: counters(
                "connector_retries_total",
                "Calls sent again, by connector and reason: `unauthorized` or `claims` (with a new credential), `throttled`, `unavailable`, `unreachable`, `unsent` or `broke`.",
                &["connector", "reason"],
            ),
            connector_spared: counters(
                "connector_spared_total",
                "Calls refused without asking the connector, by connector and reason: `throttled` (it throttled the caller a moment ago) or `circuit_open`.",
                &["connector", "reason"],
            ),
            connector_circuit_open: gauges(
                "connector_circuit_open",
                "Whether the connector has failed again and again, is not asked for a moment, and has not answered since.",
                &["connector"],
            ),
            cache_removals: counters(
                "credential_cache_removals_total",
                "Credentials that left the cache, by cause: `expired`, `replaced`, `dropped` or `full`.",
                &["cause"],
            ),
            cache_refreshes: counters(
                "credential_cache_refreshes_total",
                "Credentials renewed ahead of their end, by result: `renewed`, `failed` or `withdrawn`.",
                &["result"],
            ),
            key_set_refreshes: counters(
                "key_set_refreshes_total",
                "Fetches of an issuer's key set, by result.",
                &["issuer", "result"],
            ),
            policy_errors: counter(
                "policy_errors_total",
                "Calls denied because a policy could not be evaluated. Each is in the log, with the policy.",
            ),
            cache_entries: gauge("credential_cache_entries", "Credentials held in the cache."),
            open_connections: gauge("open_connections", "Connections from agents that are open."),
            accept_failures: counter(
                "accept_failures_total",
                "Connections that could not be accepted, since file descriptors or memory had run out.",
            ),
            calls_in_progress: gauge("calls_in_progress", "Calls that have begun and not ended."),
            audit_records: counter("audit_records_total", "Audit records written."),
            audit_write_failures: counter(
                "audit_write_failures_total",
                "Failed attempts to write audit records. Nothing is forwarded until one succeeds.",
            ),
            audit_sync_failures: counter(
                "audit_sync_failures_total",
                "Times that the disk did not say that it has the audit records.",
            ),
            audit_rotations: counter("audit_rotations_total", "Files of the audit trail that were closed."),
            audit_sequence: gauge("audit_sequence", "The number of the last line of the audit trail."),
            audit_checkpoint_sequence: gauge(
                "audit_checkpoint_sequence",
                "The number of the last line of the audit trail that a signed checkpoint states.",
            ),
            audit_writable: gauge(
                "audit_writable",
                "Whether audit records can be written, and there is room for them. If not, calls are refused.",
            ),
            connection_events: counters(
                "connection_events_total",
                "What happened to people's connections, by connector and event: `connected`, `consented`, `declined`, `refused`, `refreshed`, `refresh_failed`, `withdrawn`, `disconnected`, `forgotten`, `revoked` or `revocation_failed`.",
                &["connector", "event"],
            ),
            confirmations: counters(
                "confirmations_total",
                "What happened to calls that their person has to agree to, by connector and outcome: `asked`, `agreed`, `declined`, `expired` or `used`.",
                &["connector", "outcome"],
            ),
            limit_refusals: counters(
                "limit_refusals_total",
                "Calls refused by a limit, by connector and limit: `tool_`, `connector_` or `gateway_` with `per_person`, `per_agent` or `total`; `queue_full`, `queue_slow` or `queue_timeout`.",
                &["connector", "limit"],
            ),
            queues: Queues::new(
                gauges(
                    "connector_calls_in_progress",
                    "Calls under way at the connector that take one of its places.",
                    &["connector"],
                ),
                gauges(
                    "connector_queue_entries",
                    "Calls that wait for a place at the connector.",
                    &["connector"],
                ),
                histograms(
                    "connector_queue_wait_seconds",
                    "How long calls waited for a place at the connector, of those that had to.",
                    &["connector"],
                    QUEUE_SECONDS,
                ),
            ),
            vault_records: gauge("vault_records", "Records in the vault: people's connections."),
            vault_faults: counters(
                "vault_faults_total",
                "Records of the vault that were not used, by fault: `damaged`, `other_key` or `put_back`.",
                &["fault"],
            ),
            reload_success: gauge(
                "config_last_reload_success",
                "Whether the last reload of the configuration was taken.",
            ),
            unusable_keys: gauges(
                "key_set_unusable_keys",
                "Keys in an issuer's key set that the gateway skips: too weak, of another kind, or without a name of their own.",
                &["issuer"],
            ),
            issuer_ready: gauges("issuer_ready", "Whether the issuer's keys are known.", &["issuer"]),
            registry,
        }
        .with_series_at_zero()
    }

    /// Has every series whose labels are known from the start: `increase()` does not see the first value of a series.
    fn with_series_at_zero(self) -> Self {
        VaultFault::ALL.iter().for_each(|fault| _ = self.vault_faults.with_label_values(&[fault.as_str()]));
        CacheRefresh::ALL
            .iter()
            .for_each(|come| _ = self.cache_refreshes.with_label_values(&[come.as_str()]));
        self
    }

    /// This issuer is asked for tokens: its retries are counted from 0 on.
    pub fn add_issuer(&self, issuer: &IssuerName) {
        self.exchange_retries.with_label_values(&[issuer.as_str()]);
    }

    /// The handles for one tool.
    pub fn tool(&self, tool: &Tool) -> Arc<ToolMetrics> {
        self.labelled([tool.connector.as_str(), tool.name.as_str(), tool.identity.as_str()])
    }

    /// The handles for what a connector's troubles come to.
    pub fn connector(&self, connector: &str) -> Arc<ConnectorMetrics> {
        let spared = |reason| self.connector_spared.with_label_values(&[connector, reason]);
        Arc::new(ConnectorMetrics {
            name: connector.into(),
            retries: self.connector_retries.clone(),
            spared_throttled: spared("throttled"),
            spared_circuit_open: spared("circuit_open"),
            circuit_open: self.connector_circuit_open.with_label_values(&[connector]),
        })
    }

    /// There is no connector of this name any more, and so no circuit of its.
    pub fn connector_gone(&self, connector: &str) {
        // One that was never there is gone as well.
        let _ = self.connector_circuit_open.remove_label_values(&[connector]);
    }

    /// The handles for requests that reached a connector but none of its tools.
    pub fn no_tool(&self, connector: &str) -> Arc<ToolMetrics> {
        self.labelled([connector, NONE, NONE])
    }

    /// The handles for requests that reached no connector.
    pub fn no_connector(&self) -> Arc<ToolMetrics> {
        self.labelled([NONE, NONE, NONE])
    }

    fn labelled(&self, labels: [&str; 3]) -> Arc<ToolMetrics> {
        let [connector, tool, identity] = labels;
        Arc::new(ToolMetrics {
            answered: self.requests.with_label_values(&[connector, tool, identity, ANSWERED]),
            request_duration: self.request_duration.with_label_values(&[connector]),
            added_latency: self.added_latency.with_label_values(&[connector]),
            labels: labels.map(Arc::from),
            requests: self.requests.clone(),
        })
    }

    /// Counts a request refused because of its token.
    pub fn authentication_failed(&self, code: &'static str) {
        self.authentication_failures.with_label_values(&[code]).inc();
    }

    /// Counts an exchange. `outcome` is `issued`, or one of `ExchangeError::outcome`.
    pub fn exchanged(&self, issuer: &IssuerName, outcome: &'static str, took: Duration) {
        self.exchanges.with_label_values(&[issuer.as_str(), outcome]).inc();
        self.exchange_duration.with_label_values(&[issuer.as_str()]).observe(took.as_secs_f64());
    }

    /// Counts a request for an application token. `outcome` is `issued`, or one of `ExchangeError::outcome`.
    pub fn application_token_asked(&self, issuer: &IssuerName, outcome: &'static str) {
        self.application_tokens.with_label_values(&[issuer.as_str(), outcome]).inc();
    }

    /// Counts a further attempt at an exchange, or at an application token.
    pub fn exchange_retried(&self, issuer: &IssuerName) {
        self.exchange_retries.with_label_values(&[issuer.as_str()]).inc();
    }

    /// Says whether an issuer is not asked for a moment.
    pub fn set_circuit_open(&self, issuer: &IssuerName, open: bool) {
        self.circuit_open.with_label_values(&[issuer.as_str()]).set(open.into());
    }

    /// Counts a look-up in the credential cache.
    pub fn cache_looked_up(&self, lookup: CacheLookup) {
        match lookup {
            CacheLookup::Hit => self.cache_hits.inc(),
            CacheLookup::Miss => self.cache_misses.inc(),
            CacheLookup::Refused => self.cache_refused.inc(),
            CacheLookup::Uncacheable => self.cache_uncacheable.inc(),
        }
    }

    /// Counts a call that is sent a second time.
    pub fn connector_retried(&self, connector: &str, reason: &'static str) {
        self.connector_retries.with_label_values(&[connector, reason]).inc();
    }

    /// Counts a credential that left the cache.
    pub fn cache_removed(&self, cause: CacheRemoval) {
        let label = match cause {
            CacheRemoval::Expired => "expired",
            CacheRemoval::Replaced => "replaced",
            CacheRemoval::Dropped => "dropped",
            CacheRemoval::Full => "full",
        };
        self.cache_removals.with_label_values(&[label]).inc();
    }

    /// Counts an attempt to renew a credential ahead of its end.
    pub fn cache_refreshed(&self, result: CacheRefresh) {
        self.cache_refreshes.with_label_values(&[result.as_str()]).inc();
    }

    /// Counts what happened to somebody's connection. `event` is one of `connections::event::Event`.
    pub fn connection_changed(&self, connector: &str, event: &'static str) {
        self.connection_events.with_label_values(&[connector, event]).inc();
    }

    /// Counts what happened to a call that its person has to agree to.
    pub fn confirmation(&self, connector: &str, outcome: &'static str) {
        self.confirmations.with_label_values(&[connector, outcome]).inc();
    }

    /// Counts a call that a limit refuses. `limit` is one of `limit::RateLimit::label` or `limit::BusyReason::label`.
    pub fn limited(&self, connector: &str, limit: &'static str) {
        self.limit_refusals.with_label_values(&[connector, limit]).inc();
    }

    /// Says how many records the vault has.
    pub fn set_vault_records(&self, count: i64) {
        self.vault_records.set(count);
    }

    /// Says that the vault has one record more.
    pub fn add_vault_record(&self) {
        self.vault_records.inc();
    }

    /// Counts a record of the vault that is not used.
    pub fn vault_faulted(&self, fault: VaultFault) {
        self.vault_faults.with_label_values(&[fault.as_str()]).inc();
    }

    /// Counts a fetch of an issuer's keys.
    pub fn key_set_refreshed(&self, issuer: &IssuerName, result: KeySetRefresh) {
        let label = match result {
            KeySetRefresh::Changed => "changed",
            KeySetRefresh::Unchanged => "unchanged",
            KeySetRefresh::Failed => "failed",
        };
        self.key_set_refreshes.with_label_values(&[issuer.as_str(), label]).inc();
    }

    /// Says how many keys of an issuer are skipped.
    pub fn set_unusable_keys(&self, issuer: &IssuerName, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.unusable_keys.with_label_values(&[issuer.as_str()]).set(count);
    }

    /// Says whether an issuer's keys are known.
    pub fn set_issuer_ready(&self, issuer: &IssuerName, ready: bool) {
        self.issuer_ready.with_label_values(&[issuer.as_str()]).set(ready.into());
    }

    /// Says whether the last reload was taken.
    pub fn set_reload_success(&self, success: bool) {
        self.reload_success.set(success.into());
    }

    /// All metrics in the text form that Prometheus scrapes (version 0.0.4).
    ///
    /// # Errors
    ///
    /// When the encoder fails, which would be a defect.
    pub fn render(&self) -> prometheus::Result<Vec<u8>> {
        self.queues.count();
        let mut text = Vec::with_capacity(16_384);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The outcome label of a call that the connector answered, whatever its status.
pub const ANSWERED: &str = "answered";

impl ToolMetrics {
    /// Counts a call at its end. `outcome` is [`ANSWERED`], a refusal code, or the way it broke off.
    pub fn ended(&self, outcome: &'static str, took: Duration) {
        if outcome == ANSWERED {
            self.answered.inc();
        } else {
            let [connector, tool, identity] = &self.labels;
            self.requests.with_label_values(&[connector.as_ref(), tool, identity, outcome]).inc();
        }
        self.request_duration.observe(took.as_secs_f64());
    }

    /// Notes what the gateway added to an answered call.
    pub fn added(&self, latency: Duration) {
        self.added_latency.observe(latency.as_secs_f64());
    }
}

impl ConnectorMetrics {
    /// Counts a call that is sent again.
    pub fn retried(&self, reason: &'static str) {
        self.retries.with_label_values(&[&self.name, reason]).inc();
    }

    /// Counts a call that the connector is not asked for, since it throttles the caller.
    pub fn spared_throttled(&self) {
        self.spared_throttled.inc();
    }

    /// Counts a call that the connector is not asked for, since it has failed again and again.
    pub fn spared_circuit_open(&self) {
        self.spared_circuit_open.inc();
    }

    /// Says whether the connector is not asked for a moment.
    pub fn set_circuit_open(&self, open: bool) {
        self.circuit_open.set(open.into());
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("obo_gateway")
}

fn register<C: prometheus::core::Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect("each metric is registered once");
    collector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hoped_never_to_happen_is_counted_from_the_start() {
        let metrics = String::from_utf8(Metrics::new().render().expect("metrics")).expect("text");
        for series in [
            r#"vault_faults_total{fault="damaged"} 0"#,
            r#"vault_faults_total{fault="other_key"} 0"#,
            r#"vault_faults_total{fault="put_back"} 0"#,
            r#"credential_cache_refreshes_total{result="failed"} 0"#,
            r#"credential_cache_refreshes_total{result="withdrawn"} 0"#,
        ] {
            assert!(metrics.contains(&format!("obo_gateway_{series}\n")), "{series}\n{metrics}");
        }
    }
}
