//! Shared work: many callers want the same thing, one task gets it.
//!
//! The task is its own: a caller that goes away cancels nothing, and neither does the first one.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// At most one running task for each key; its result goes to all who wait for it.
pub struct Flights<K, V> {
    running: Arc<Mutex<HashMap<K, watch::Receiver<Option<V>>>>>,
}

/// The task ended without a result: it panicked, or the runtime is shutting down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the shared task ended without a result")]
pub struct FlightLost;

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self { running: Arc::default() }
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Waits for the task of `key` when there is one, and starts none.
    pub async fn wait_if_under_way(&self, key: &K) {
        let flight = lock(&self.running).get(key).cloned();
        if let Some(mut flight) = flight {
            // An error says that the task ended without a result: it has ended.
            let _ = flight.wait_for(Option::is_some).await;
        }
    }

    /// Waits until no task is under way.
    pub async fn settle(&self) {
        loop {
            let flight = lock(&self.running).values().next().cloned();
            let Some(mut flight) = flight else { return };
            // An error says that the task ended without a result: it has ended.
            let _ = flight.wait_for(Option::is_some).await;
        }
    }

    /// Waits for the task of `key`; starts it when there is none.
    ///
    /// `landed` is asked while nobody can start or finish a task: it looks whether one has finished since the
    /// caller last looked. What `start` returns runs to its end, whoever still waits for it.
    ///
    /// # Errors
    ///
    /// [`FlightLost`] when the task ends without a result.
    pub async fn join<F>(
        &self,
        key: K,
        landed: impl FnOnce() -> Option<V>,
        start: impl FnOnce() -> F,
    ) -> Result<V, FlightLost>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut flight = match self.board(key, landed, start) {
            Ok(flight) => flight,
            Err(value) => return Ok(value),
        };
        let value = flight.wait_for(Option::is_some).await.map_err(|_| FlightLost)?.clone();
        value.ok_or(FlightLost)
    }

    /// Starts a task for `key` unless there is one. Nobody waits for it here.
    pub fn start_unless_under_way<F>(&self, key: K, start: impl FnOnce() -> F)
    where
        F: Future<Output = V> + Send + 'static,
    {
        let _ = self.board(key, || None, start);
    }

    /// The flight of `key`, begun if need be, or the value that has landed.
    fn board<F>(
        &self,
        key: K,
        landed: impl FnOnce() -> Option<V>,
        start: impl FnOnce() -> F,
    ) -> Result<watch::Receiver<Option<V>>, V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let (sender, flight) = {
            let mut running = lock(&self.running);
            if let Some(flight) = running.get(&key) {
                return Ok(flight.clone());
            }
            if let Some(value) = landed() {
                return Err(value);
            }
            let (sender, flight) = watch::channel(None);
            running.insert(key.clone(), flight.clone());
            (sender, flight)
        };
        let landing = Landing { running: Arc::clone(&self.running), key };
        let work = start();
        // The list is not locked here: a runtime that is shutting down drops the task at once, landing and all.
        tokio::spawn(async move {
            let value = work.await;
            // Off the list first: who comes from here on finds what the task left behind.
            drop(landing);
            sender.send_replace(Some(value));
        });
        Ok(flight)
    }
}

/// Takes a flight off the list, also when its task panics.
struct Landing<K: Eq + Hash, V> {
    running: Arc<Mutex<HashMap<K, watch::Receiver<Option<V>>>>>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.key);
    }
}

/// The map is whole after every operation on it, so a panic elsewhere while it was locked says nothing about it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    #[tokio::test]
    async fn ten_thousand_callers_make_one_flight() {
        let flights = Arc::new(Flights::<u8, usize>::default());
        let starts = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Notify::new());
        let callers: Vec<_> = (0..10_000)
            .map(|_| {
                let (flights, starts, gate) = (Arc::clone(&flights), Arc::clone(&starts), Arc::clone(&gate));
                tokio::spawn(async move {
                    let work = async move {
                        gate.notified().await;
                        7
                    };
                    let start = || {
                        starts.fetch_add(1, Ordering::Relaxed);
                        work
                    };
                    flights.join(1, || None, start).await
                })
            })
            .collect();
        tokio::task::yield_now().await;
        gate.notify_one();
        for caller in callers {
            // A caller that came after the landing would start anew and wait for ever: they all came before.
            assert_eq!(caller.await.expect("no panic"), Ok(7));
        }
        assert_eq!(starts.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn the_first_caller_may_leave() {
        let flights = Arc::new(Flights::<u8, usize>::default());
        let gate = Arc::new(Notify::new());
        let work = {
            let gate = Arc::clone(&gate);
            async move {
                gate.notified().await;
                7
            }
        };
        let first = {
            let flights = Arc::clone(&flights);
            tokio::spawn(async move { flights.join(1, || None, || work).await })
        };
        tokio::task::yield_now().await;
        first.abort();
        assert!(first.await.expect_err("aborted").is_cancelled());
        gate.notify_one();
        let second =
            flights.join(1, || None, || async { unreachable!("the first flight is in the air") }).await;
        assert_eq!(second, Ok(7));
    }

    #[tokio::test]
    async fn a_panic_reaches_the_waiters_and_clears_the_key() {
        let flights = Flights::<u8, usize>::default();
        let work = async { panic!("as the test wants") };
        assert_eq!(flights.join(1, || None, || work).await, Err(FlightLost));
        assert_eq!(flights.join(1, || None, || async { 8 }).await, Ok(8));
    }

    #[tokio::test]
    async fn what_has_landed_meanwhile_is_not_fetched_again() {
        let flights = Flights::<u8, usize>::default();
        let landed = flights.join(1, || Some(9), || async { unreachable!("there is a value already") }).await;
        assert_eq!(landed, Ok(9));
    }
}
