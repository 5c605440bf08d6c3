//! Waiting for a person who is at one of the gateway's pages while the call that needs them stays open.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a call waits. A person reads and signs in within some times that; a client that waits for its answer gives up after a
/// minute.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most calls that wait at a time. Others are answered at once.
const WAITING_MAX: usize = 1_000;
/// Most of them for one page: the call, and another try of it whose client has lost patience. So nobody takes all the places.
const FOR_ONE_MAX: usize = 2;

/// Calls that wait, by the identifier of the page that they wait for.
static WAITING: Mutex<BTreeMap<Arc<str>, usize>> = Mutex::new(BTreeMap::new());

/// Waits until something was heard of the person who is at the page `at`, for some seconds at most. What it was is another question.
pub async fn for_person(at: &Arc<str>, heard: impl Future<Output = ()>) {
    let Some(_waits) = Waits::begin(at) else { return };
    // That nobody has said anything is what the caller finds, too.
    let _ = tokio::time::timeout(PATIENCE, heard).await;
}

/// A call that waits, until it is dropped.
struct Waits<'a>(&'a Arc<str>);

impl<'a> Waits<'a> {
    fn begin(at: &'a Arc<str>) -> Option<Self> {
        let mut waiting = lock();
        if waiting.values().sum::<usize>() >= WAITING_MAX {
            return None;
        }
        let for_one = waiting.entry(Arc::clone(at)).or_default();
        if *for_one >= FOR_ONE_MAX {
            return None;
        }
        *for_one += 1;
        Some(Self(at))
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut waiting = lock();
        let Some(for_one) = waiting.get_mut(self.0) else { return };
        *for_one -= 1;
        if *for_one == 0 {
            waiting.remove(self.0);
        }
    }
}

fn lock() -> MutexGuard<'static, BTreeMap<Arc<str>, usize>> {
    // It is whole after every change.
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_one_page_two_calls_wait_and_others_are_not_held_up_by_them() {
        let [one, other] = ["one of two", "the other"].map(Arc::<str>::from);
        let first = Waits::begin(&one).expect("a place");
        let second = Waits::begin(&one).expect("a place for another try");
        assert!(Waits::begin(&one).is_none(), "two wait for it");
        assert!(Waits::begin(&other).is_some());
        drop(first);
        let third = Waits::begin(&one).expect("the place of the first");
        drop((second, third));
        assert!(!lock().contains_key(&one) && !lock().contains_key(&other), "nothing is left of them");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever_and_nobody_waits_who_finds_no_place() {
        let page: Arc<str> = "a page that nobody answers".into();
        let began = tokio::time::Instant::now();
        let never = || for_person(&page, std::future::pending());
        let third = async {
            tokio::task::yield_now().await;
            never().await;
            began.elapsed()
        };
        let (.., third) = tokio::join!(never(), never(), third);
        assert_eq!((third, began.elapsed()), (Duration::ZERO, PATIENCE));
    }
}
