//! The threads that calls run on: one for each core, each with a runtime of its own.
//!
//! A connection stays on the thread it was given to, and its calls run there. What every call needs, each thread has for itself
//! (`PerWorker`); what calls share (an exchange under way, the trail's writer) may be elsewhere.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;

use tokio::runtime;
use tokio_util::sync::CancellationToken;

/// How many there are: as many as cores that this process may use.
static COUNT: LazyLock<usize> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, NonZeroUsize::get));

thread_local! {
    /// The number of this thread among them, from 1 on; 0: it is none of them.
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// The threads. They end once this is dropped.
pub struct Workers {
    workers: Vec<Worker>,
    stop: CancellationToken,
}

struct Worker {
    runtime: runtime::Handle,
    /// How many tasks it was given that have not ended.
    tasks: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts them.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn start() -> io::Result<Self> {
        let stop = CancellationToken::new();
        let workers = (1..=*COUNT).map(|number| Worker::start(number, stop.clone()));
        Ok(Self { workers: workers.collect::<io::Result<_>>()?, stop: stop.clone() })
    }

    /// Gives a task to the thread that has the fewest.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let tasks = |worker: &&Worker| worker.tasks.load(Ordering::Relaxed);
        let worker = self.workers.iter().min_by_key(tasks).expect("there is at least one core");
        // An `async` block would hold the task twice, as its capture and as what it awaits.
        let (task, counted) = (Box::pin(task), Counted::one_more(&worker.tasks));
        worker.runtime.spawn(async move {
            task.await;
            drop(counted);
        });
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Worker {
    fn start(number: usize, stop: CancellationToken) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let log = tracing::dispatcher::get_default(Clone::clone);
        thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            NUMBER.set(number);
            // It logs where whoever started it does.
            let _log = tracing::dispatcher::set_default(&log);
            runtime.block_on(stop.cancelled());
            // Whatever still looks up a name or reads a file on a thread of its own is for nobody any more.
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, tasks: Arc::default() })
    }
}

/// Counts a task for as long as it is there.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn one_more(tasks: &Arc<AtomicUsize>) -> Self {
        tasks.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(tasks))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Something that each of the threads has for itself. All others share one.
pub struct PerWorker<T>(Box<[T]>);

impl<T> PerWorker<T> {
    /// One for each.
    pub fn new(make: impl Fn() -> T) -> Self {
        Self((0..=*COUNT).map(|_| make()).collect())
    }

    /// This thread's.
    pub fn own(&self) -> &T {
        &self.0[NUMBER.get()]
    }

    /// Everybody's.
    pub fn all(&self) -> &[T] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn tasks_go_where_there_are_fewest_and_stay_there() {
        let workers = Workers::start().expect("threads");
        let (told, mut numbers) = mpsc::unbounded_channel();
        let hold = CancellationToken::new();
        for _ in 0..2 * *COUNT {
            let (told, hold) = (told.clone(), hold.clone());
            workers.spawn(async move {
                let _ = told.send(NUMBER.get());
                hold.cancelled().await;
            });
        }
        let mut seen = Vec::new();
        for _ in 0..2 * *COUNT {
            seen.push(numbers.recv().await.expect("a number"));
        }
        seen.sort_unstable();
        assert_eq!(seen, (1..=*COUNT).flat_map(|number| [number, number]).collect::<Vec<_>>());
        hold.cancel();
    }

    #[tokio::test]
    async fn each_thread_has_its_own() {
        let workers = Workers::start().expect("threads");
        let counts = Arc::new(PerWorker::new(AtomicUsize::default));
        counts.own().store(7, Ordering::Relaxed);
        let (told, mut seen) = mpsc::unbounded_channel();
        let theirs = Arc::clone(&counts);
        workers.spawn(async move {
            let before = theirs.own().fetch_add(1, Ordering::Relaxed);
            let _ = told.send(before);
        });
        assert_eq!(seen.recv().await, Some(0));
        assert_eq!(counts.own().load(Ordering::Relaxed), 7);
        assert_eq!(counts.all().iter().map(|count| count.load(Ordering::Relaxed)).sum::<usize>(), 8);
    }

    #[tokio::test]
    async fn tasks_end_with_the_threads() {
        let workers = Workers::start().expect("threads");
        let (held, mut ended) = mpsc::channel::<()>(1);
        workers.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        drop(workers);
        assert_eq!(ended.recv().await, None);
    }
}
