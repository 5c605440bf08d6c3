//! The queues before connectors: what changes with every call there is counted when somebody looks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntGaugeVec};

/// The metrics of all queues.
pub struct Queues {
    under_way: IntGaugeVec,
    waiting: IntGaugeVec,
    waited: HistogramVec,
    watched: Mutex<BTreeMap<Arc<str>, Count>>,
}

/// Counts the calls before one connector. `None`: the queue is gone.
type Count = Box<dyn Fn() -> Option<QueueCounts> + Send + Sync>;

/// How many calls of one connector there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueCounts {
    /// Those that have a place there.
    pub under_way: usize,
    /// Those that wait for one.
    pub waiting: usize,
}

/// The handle for how long calls wait in one queue.
pub struct QueueMetrics(Histogram);

impl fmt::Debug for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queues").finish_non_exhaustive()
    }
}

impl Queues {
    /// No queue yet. The metrics are how many calls have a place, how many wait for one, and how long they do.
    pub(super) fn new(under_way: IntGaugeVec, waiting: IntGaugeVec, waited: HistogramVec) -> Self {
        Self { under_way, waiting, waited, watched: Mutex::default() }
    }

    /// The handle for the queue before a connector.
    pub fn of(&self, connector: &str) -> QueueMetrics {
        QueueMetrics(self.waited.with_label_values(&[connector]))
    }

    /// Shows how many calls are in the queue before a connector, until `count` says that it is gone.
    pub fn watch(&self, connector: &str, count: impl Fn() -> Option<QueueCounts> + Send + Sync + 'static) {
        self.watched().insert(connector.into(), Box::new(count));
    }

    /// Counts the calls of all queues.
    pub(super) fn count(&self) {
        let shown = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.watched().retain(|connector, count| {
            let (labels, counts) = ([&**connector], count());
            match counts {
                Some(QueueCounts { under_way, waiting }) => {
                    self.under_way.with_label_values(&labels).set(shown(under_way));
                    self.waiting.with_label_values(&labels).set(shown(waiting));
                }
                None => {
                    // One that nobody looked at is gone as well.
                    let _ = self.under_way.remove_label_values(&labels);
                    let _ = self.waiting.remove_label_values(&labels);
                }
            }
            counts.is_some()
        });
    }

    fn watched(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Count>> {
        // It is whole after every change.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueMetrics {
    /// Notes how long a call waited.
    pub fn waited(&self, waited: Duration) {
        self.0.observe(waited.as_secs_f64());
    }
}
