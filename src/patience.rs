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

/// Calls that wait.
static WAITING: Waiting = Waiting(Mutex::new(BTreeMap::new()));

/// Waits until something was heard of the person who is at the page `at`, for some seconds at most. What it was is another question.
pub async fn for_person(at: &Arc<str>, heard: impl Future<Output = ()>) {
    let Some(_place) = WAITING.take_place(at) else { return };
    // That nobody has said anything is what the caller finds, too.
    let _ = tokio::time::timeout(PATIENCE, heard).await;
}

/// How many calls wait, by the identifier of the page that they wait for.
struct Waiting(Mutex<BTreeMap<Arc<str>, usize>>);

/// That of a call that waits, until it is dropped.
struct Place<'a> {
    among: &'a Waiting,
    at: &'a Arc<str>,
}

impl Waiting {
    fn take_place<'a>(&'a self, at: &'a Arc<str>) -> Option<Place<'a>> {
        let mut waiting = self.lock();
        if waiting.values().sum::<usize>() >= WAITING_MAX {
            return None;
        }
        let for_one = waiting.entry(Arc::clone(at)).or_default();
        if *for_one >= FOR_ONE_MAX {
            return None;
        }
        *for_one += 1;
        Some(Place { among: self, at })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, usize>> {
        // It is whole after every change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.among.lock();
        let Some(for_one) = waiting.get_mut(self.at) else { return };
        *for_one -= 1;
        if *for_one == 0 {
            waiting.remove(self.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_one_page_two_calls_wait_and_others_are_not_held_up_by_them() {
        let [one, other] = ["one of two", "the other"].map(Arc::<str>::from);
        let waiting = Waiting(Mutex::default());
        let first = waiting.take_place(&one).expect("a place");
        let second = waiting.take_place(&one).expect("a place for another try");
        assert!(waiting.take_place(&one).is_none(), "two wait for it");
        assert!(waiting.take_place(&other).is_some());
        drop(first);
        let third = waiting.take_place(&one).expect("the place of the first");
        drop((second, third));
        assert!(waiting.lock().is_empty(), "nothing is left of them");
    }

    #[test]
    fn so_many_calls_wait_and_no_more() {
        let waiting = Waiting(Mutex::default());
        let pages: Vec<Arc<str>> = (0..=WAITING_MAX).map(|n| n.to_string().into()).collect();
        let mut places: Vec<_> = pages.iter().map_while(|page| waiting.take_place(page)).collect();
        assert_eq!(places.len(), WAITING_MAX);
        assert!(waiting.take_place(&pages[0]).is_none(), "nor is there one for another try");
        places.pop();
        assert!(waiting.take_place(&pages[WAITING_MAX]).is_some());
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
