//! The key set of one issuer, kept fresh.
//!
//! It is fetched before the first call and refreshed in the background. A token that names an unknown key makes
//! it fetch at once, within a cool-down and in one flight, so that a flood of invented key ids costs the issuer one
//! fetch in a cool-down. A failed refresh keeps what was there.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::keys::{Keys, KeysError};
use super::metadata::MetadataError;
use super::outbound::OutboundError;
use crate::checked_url::CheckedUrl;
use crate::error_chain::ErrorChain;
use crate::flight::{FlightLost, Flights};
use crate::identity::IssuerName;
use crate::metrics::{KeySetRefresh, Metrics};

/// Shortest time between two fetches that tokens with unknown keys bring about. Anybody can send such tokens, so this
/// bounds what strangers can make the issuer do.
const UNKNOWN_KEY_COOL_DOWN: Duration = Duration::from_secs(30);
/// How often keys are fetched when all is well. Issuers announce new keys hours before they sign with them.
const REFRESH_INTERVAL: Duration = Duration::from_secs(600);
/// How soon a failed refresh is tried again while there are keys to go on with.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);
/// How soon it is tried again while there are none: people wait.
const RETRY_INTERVAL_WITHOUT_KEYS: Duration = Duration::from_secs(2);

/// What an agent should wait before it asks again while there are no keys: by then they have been tried for twice.
pub const RETRY_AFTER_WITHOUT_KEYS: Duration = Duration::from_secs(5);

/// Why keys could not be fetched.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeySetError {
    /// The key set's address could not be learned.
    #[error("metadata at {url}: {source}")]
    Metadata {
        /// Where the metadata is.
        url: CheckedUrl,
        /// What is wrong with it.
        #[source]
        source: MetadataError,
    },
    /// There was no answer.
    #[error("key set at {url}: {source}")]
    Outbound {
        /// Where the key set is.
        url: CheckedUrl,
        /// Why there was none.
        #[source]
        source: OutboundError,
    },
    /// The answer was not a success.
    #[error("key set at {url}: answered {status}")]
    Status {
        /// Where the key set is.
        url: CheckedUrl,
        /// What it answered.
        status: http::StatusCode,
    },
    /// The answer was of no use.
    #[error("key set: {0}")]
    Keys(#[from] KeysError),
    /// The task that fetched it ended without a result.
    #[error("key set: {0}")]
    Lost(#[from] FlightLost),
}

/// One state of the key set. It changes as a whole, and each change has a number.
#[derive(Debug)]
pub struct Snapshot {
    /// The usable keys.
    pub keys: Keys,
    /// Counts the changes: what was verified under another number has to be verified again.
    pub generation: u64,
}

/// Fetches the key set's document once.
pub type Fetch =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Vec<u8>, KeySetError>> + Send>> + Send + Sync>;

/// The keys of one issuer.
pub struct KeySet {
    issuer: IssuerName,
    fetch: Fetch,
    current: ArcSwapOption<Snapshot>,
    flights: Flights<(), Result<(), KeySetError>>,
    last_unknown_key_fetch: Mutex<Option<Instant>>,
    metrics: Arc<Metrics>,
}

impl KeySet {
    /// A key set that is still to be fetched. Until then it has the keys of `previous`, if any.
    pub fn new(
        issuer: IssuerName,
        fetch: Fetch,
        previous: Option<Arc<Snapshot>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            issuer,
            fetch,
            current: ArcSwapOption::new(previous),
            flights: Flights::default(),
            last_unknown_key_fetch: Mutex::new(None),
            metrics,
        }
    }

    /// The keys as they are now; `None` until the first fetch has succeeded.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.current.load_full()
    }

    /// Whether there are keys.
    pub fn is_known(&self) -> bool {
        self.current.load().is_some()
    }

    /// The number of the present keys; 0 until there are some.
    pub fn generation(&self) -> u64 {
        self.current.load().as_ref().map_or(0, |snapshot| snapshot.generation)
    }

    /// Fetches the keys now, or waits for the fetch that is under way.
    ///
    /// # Errors
    ///
    /// [`KeySetError`]; the keys are then what they were.
    pub async fn refresh(self: &Arc<Self>) -> Result<(), KeySetError> {
        let start = || {
            let key_set = Arc::clone(self);
            async move { key_set.fetch_once().await }
        };
        match self.flights.join((), || None, start).await {
            Ok(result) => result,
            Err(lost) => Err(lost.into()),
        }
    }

    /// Called when a token names a key that is not there. Fetches at most once in a cool-down; within it, the
    /// caller waits for a fetch that is under way and otherwise returns at once.
    pub async fn refresh_for_unknown_key(self: &Arc<Self>, now: Instant) {
        let cooled_down = {
            let mut last = self.last_unknown_key_fetch.lock().unwrap_or_else(PoisonError::into_inner);
            let cooled_down =
                last.is_none_or(|last| now.saturating_duration_since(last) >= UNKNOWN_KEY_COOL_DOWN);
            if cooled_down {
                *last = Some(now);
            }
            cooled_down
        };
        match cooled_down {
            // Whatever goes wrong is logged and counted there; the caller looks at the keys again.
            true => drop(self.refresh().await),
            false => self.flights.wait_if_under_way(&()).await,
        }
    }

    /// Keeps the keys fresh until dropped.
    pub async fn keep_fresh(self: Arc<Self>) {
        loop {
            let pause = match self.refresh().await {
                Ok(()) => REFRESH_INTERVAL,
                Err(_) if self.is_known() => RETRY_INTERVAL,
                Err(_) => RETRY_INTERVAL_WITHOUT_KEYS,
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn fetch_once(&self) -> Result<(), KeySetError> {
        let fetched = match (self.fetch)().await {
            Ok(document) => Keys::parse(&document).map_err(KeySetError::from),
            Err(error) => Err(error),
        };
        match fetched {
            Ok(keys) => {
                self.take(keys);
                Ok(())
            }
            Err(error) => {
                self.metrics.key_set_refreshed(&self.issuer, KeySetRefresh::Failed);
                self.metrics.set_issuer_ready(&self.issuer, self.is_known());
                tracing::warn!(issuer = %self.issuer, error = %ErrorChain(&error), has_keys = self.is_known(), "Key set refresh failed");
                Err(error)
            }
        }
    }

    fn take(&self, keys: Keys) {
        self.metrics.set_unusable_keys(&self.issuer, keys.unusable());
        let current = self.snapshot();
        if current.as_ref().is_some_and(|current| current.keys.same_as(&keys)) {
            self.metrics.key_set_refreshed(&self.issuer, KeySetRefresh::Unchanged);
            self.metrics.set_issuer_ready(&self.issuer, true);
            return;
        }
        self.metrics.key_set_refreshed(&self.issuer, KeySetRefresh::Changed);
        tracing::info!(issuer = %self.issuer, usable = keys.usable(), unusable = keys.unusable(), "Key set changed");
        let generation = current.map_or(1, |current| current.generation + 1);
        self.current.store(Some(Arc::new(Snapshot { keys, generation })));
        self.metrics.set_issuer_ready(&self.issuer, true);
    }
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySet")
            .field("issuer", &self.issuer)
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}
