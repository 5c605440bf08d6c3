//! The connections to one connector that a call can be sent on: idle ones, and over HTTP/2 one that is shared. Each worker has its own.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use hyper::client::conn::http2;
use tokio::sync::oneshot;
use tower::BoxError;

use super::connection::Connection;
use super::http1::Http1;
use super::sockets::ConnectorSockets;
use crate::gateway::upload::UploadBody;
use crate::worker::PerWorker;

/// How long a connection to a connector is kept when nobody uses it: less than the 60 seconds after which common
/// servers close it, so that the gateway closes first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// How long new calls are sent on a connection. Whoever moves a connector to another address is followed by then.
const AGE_MAX: Duration = Duration::from_secs(300);
/// Most idle connections that a worker keeps for one connector: as many calls at a time need no new handshake.
const IDLE_MAX: usize = 256;
/// Most connections that are made to their end on a worker though no call waits for them any more.
const SPARE_MAX: usize = 4;
/// From when on a connection that calls share is idle, where others wait for its place.
const SHARED_IDLE: Duration = Duration::from_secs(1);
/// How often idle connections are looked at that have become too old, or that the connector has closed.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Idle connections.
pub struct Pool {
    idle: PerWorker<Mutex<Idle>>,
    sockets: Arc<ConnectorSockets>,
    /// Itself, for the tasks that sweep it.
    this: Weak<Self>,
}

/// Those of one worker.
#[derive(Default)]
struct Idle {
    /// The last one used is at the end.
    http1: Vec<(Http1, Instant)>,
    http2: Option<Shared>,
    /// Calls that have a connection made, and can do with one that is there sooner. Who has waited longest comes first.
    waiting: VecDeque<oneshot::Sender<Connection>>,
    /// How many connections are being made that no call waits for any more.
    spare: usize,
    /// Whether a task looks after them.
    is_watched: bool,
}

/// A connection that calls share.
struct Shared {
    sender: http2::SendRequest<UploadBody>,
    made_at: Instant,
    used_at: Instant,
}

impl Pool {
    /// An empty one, whose connections are among `sockets`.
    pub fn new(sockets: Arc<ConnectorSockets>) -> Arc<Self> {
        let pool = Arc::new_cyclic(|this| Self {
            idle: PerWorker::new(Mutex::default),
            sockets: Arc::clone(&sockets),
            this: this.clone(),
        });
        sockets.register(&pool);
        pool
    }

    /// An idle connection, or the shared one. Whoever sends on it sees whether it is still open.
    pub fn take(&self) -> Option<Connection> {
        let mut idle = self.own();
        let now = Instant::now();
        if let Some(shared) = idle.http2.as_mut().filter(|shared| shared.is_usable(now)) {
            shared.used_at = now;
            return Some(Connection::Http2(shared.sender.clone()));
        }
        while let Some((connection, since)) = idle.http1.pop() {
            if is_fresh(&connection, since, now) {
                return Some(Connection::Http1(connection));
            }
        }
        None
    }

    /// The next connection of this worker that can be used: one that is given back, or made for another call.
    pub fn next(&self) -> oneshot::Receiver<Connection> {
        let (sender, next) = oneshot::channel();
        let mut idle = self.own();
        idle.waiting.retain(|waiting| !waiting.is_closed());
        idle.waiting.push_back(sender);
        next
    }

    /// Hands a connection to the call that has waited longest for one, or keeps it while there is room. One that has become too old is
    /// dropped.
    pub fn put(&self, connection: Http1) {
        let now = Instant::now();
        if !is_fresh(&connection, now, now) {
            return;
        }
        let mut idle = self.own();
        let mut connection = Connection::Http1(connection);
        while let Some(waiting) = idle.waiting.pop_front() {
            match waiting.send(connection) {
                Ok(()) => return,
                Err(unwanted) => connection = unwanted,
            }
        }
        let Connection::Http1(connection) = connection else { return };
        if idle.http1.len() < IDLE_MAX && !self.sockets.are_scarce() {
            idle.http1.push((connection, now));
            self.watch(&mut idle);
        }
    }

    /// Keeps a connection that others can use meanwhile, unless there is such a one.
    pub fn share(&self, sender: http2::SendRequest<UploadBody>) {
        let mut idle = self.own();
        let now = Instant::now();
        if idle.http2.as_ref().is_some_and(|shared| shared.is_usable(now)) {
            return;
        }
        for waiting in idle.waiting.drain(..) {
            // Who does not wait any more has one of their own.
            let _ = waiting.send(Connection::Http2(sender.clone()));
        }
        idle.http2 = Some(Shared { sender, made_at: now, used_at: now });
        self.watch(&mut idle);
    }

    /// Has a connection made to its end, though the call that it was for has another one by now, unless there are several such
    /// already: a connector that is slow to accept must not take all the sockets that there may be.
    pub fn finish(&self, connecting: impl Future<Output = Result<Connection, BoxError>> + Send + 'static) {
        let Some(pool) = self.this.upgrade().filter(|pool| pool.own().begin_spare()) else { return };
        tokio::spawn(async move {
            let made = connecting.await;
            // This task stays on the worker that it began on.
            pool.own().spare -= 1;
            if let Ok(Connection::Http1(connection)) = made {
                pool.put(connection);
            }
        });
    }

    /// Closes those that nobody uses, on whichever worker.
    pub fn close_idle(&self, now: Instant) {
        for idle in self.idle.all() {
            let mut idle = lock(idle);
            let closed = std::mem::take(&mut idle.http1);
            // One that calls share is used by the next one in a moment. It is closed once those that have it are over.
            let is_idle = |shared: &mut Shared| now.saturating_duration_since(shared.used_at) >= SHARED_IDLE;
            let shared = idle.http2.take_if(is_idle);
            drop(idle);
            drop((closed, shared));
        }
    }

    fn own(&self) -> MutexGuard<'_, Idle> {
        lock(self.idle.own())
    }

    /// Sees to it that somebody looks after them.
    fn watch(&self, idle: &mut Idle) {
        if std::mem::replace(&mut idle.is_watched, true) {
            return;
        }
        let pool = self.this.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP_INTERVAL).await;
                let Some(pool) = pool.upgrade() else { return };
                // This task stays on the worker that it began on.
                let mut idle = pool.own();
                idle.drop_what_is_over(Instant::now());
                if idle.is_empty() {
                    idle.is_watched = false;
                    return;
                }
            }
        });
    }
}

impl Idle {
    fn drop_what_is_over(&mut self, now: Instant) {
        self.http1
            .retain_mut(|(connection, since)| is_fresh(connection, *since, now) && connection.is_usable());
        self.http2.take_if(|shared| !shared.is_usable(now));
    }

    fn begin_spare(&mut self) -> bool {
        let has_room = self.spare < SPARE_MAX;
        self.spare += usize::from(has_room);
        has_room
    }

    fn is_empty(&self) -> bool {
        self.http1.is_empty() && self.http2.is_none()
    }
}

impl Shared {
    fn is_usable(&self, now: Instant) -> bool {
        !self.sender.is_closed()
            && now.duration_since(self.used_at) < IDLE_TIMEOUT
            && now.duration_since(self.made_at) < AGE_MAX
    }
}

fn is_fresh(connection: &Http1, idle_since: Instant, now: Instant) -> bool {
    now.duration_since(idle_since) < IDLE_TIMEOUT && now.duration_since(connection.made_at()) < AGE_MAX
}

/// It is whole after every change.
fn lock(idle: &Mutex<Idle>) -> MutexGuard<'_, Idle> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
