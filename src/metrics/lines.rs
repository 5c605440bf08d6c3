//! The lines before connectors: what changes with every call there is counted when somebody looks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntGaugeVec};

/// The metrics of all lines.
pub struct Lines {
    under_way: IntGaugeVec,
    waiting: IntGaugeVec,
    waited: HistogramVec,
    watched: Mutex<BTreeMap<Arc<str>, Count>>,
}

/// Counts the calls before one connector. `None`: the line is gone.
type Count = Box<dyn Fn() -> Option<LineCounts> + Send + Sync>;

/// How many calls of one connector there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineCounts {
    /// Those that have a place there.
    pub under_way: usize,
    /// Those that wait for one.
    pub waiting: usize,
}

/// The handle for how long calls wait in one line.
pub struct LineMetrics(Histogram);

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl Lines {
    /// No line yet. The metrics are how many calls have a place, how many wait for one, and how long they do.
    pub(super) fn new(under_way: IntGaugeVec, waiting: IntGaugeVec, waited: HistogramVec) -> Self {
        Self { under_way, waiting, waited, watched: Mutex::default() }
    }

    /// The handle for the line before a connector.
    pub fn of(&self, connector: &str) -> LineMetrics {
        LineMetrics(self.waited.with_label_values(&[connector]))
    }

    /// Shows how many calls are in the line before a connector, until `count` says that it is gone.
    pub fn watch(&self, connector: &str, count: impl Fn() -> Option<LineCounts> + Send + Sync + 'static) {
        self.watched().insert(connector.into(), Box::new(count));
    }

    /// Counts the calls of all lines.
    pub(super) fn count(&self) {
        let shown = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.watched().retain(|connector, count| {
            let (labels, counts) = ([&**connector], count());
            match counts {
                Some(LineCounts { under_way, waiting }) => {
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

impl LineMetrics {
    /// Notes how long a call waited.
    pub fn waited(&self, waited: Duration) {
        self.0.observe(waited.as_secs_f64());
    }
}
