//! Sessions of the legacy era, and the streams in them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::events::Events;
use crate::demo::connector::Caller;
use crate::demo::{lock, random};

/// Most open sessions. The oldest give way.
const SESSIONS_MAX: usize = 2_000;

/// Most streams of one session that can be read again. The oldest give way.
const STREAMS_MAX: usize = 64;

/// The name of the stream that a GET without an event id reads.
const STANDING: u64 = 0;

/// One client's session.
pub(super) struct Session {
    pub(super) id: String,
    pub(super) version: &'static str,
    /// What the client said it can do.
    pub(super) capabilities: Value,
    owner: Caller,
    next: AtomicU64,
    streams: Mutex<BTreeMap<u64, Arc<Events>>>,
    /// Ends the answer to whoever reads a stream, when somebody else comes to read it.
    readers: Mutex<HashMap<u64, CancellationToken>>,
    /// Ends the work on a request, by the request's id.
    working: Mutex<HashMap<String, CancellationToken>>,
    /// Who waits for the client's answer to a request of ours, by that request's id.
    asked: Mutex<HashMap<String, oneshot::Sender<Value>>>,
    subscriptions: Mutex<HashSet<String>>,
}

impl Session {
    fn new(owner: &Caller, version: &'static str, capabilities: Value) -> Self {
        Self {
            id: random::token(),
            version,
            capabilities,
            owner: owner.clone(),
            next: AtomicU64::new(STANDING + 1),
            streams: Mutex::new(BTreeMap::from([(STANDING, Arc::new(Events::named(STANDING)))])),
            readers: Mutex::default(),
            working: Mutex::default(),
            asked: Mutex::default(),
            subscriptions: Mutex::default(),
        }
    }

    /// Whether a caller may use it: the client that opened it, for the person it was opened for. The client's own
    /// token goes too, because some calls are made with that and none of them sees more of the person for it.
    fn is_of(&self, caller: &Caller) -> bool {
        self.owner.client_id == caller.client_id
            && (caller.person.is_none() || self.owner.person == caller.person)
    }

    /// A number that no other stream or request of ours in this session has.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A new stream, for the answer to one request.
    pub(super) fn open_stream(&self) -> Arc<Events> {
        let name = self.number();
        let events = Arc::new(Events::named(name));
        let mut streams = lock(&self.streams);
        if streams.len() == STREAMS_MAX
            && let Some(oldest) = streams.keys().copied().find(|name| *name != STANDING)
        {
            streams.remove(&oldest);
        }
        streams.insert(name, Arc::clone(&events));
        events
    }

    /// The stream for what belongs to no request.
    pub(super) fn standing(&self) -> Option<Arc<Events>> {
        self.stream(STANDING)
    }

    pub(super) fn stream(&self, name: u64) -> Option<Arc<Events>> {
        lock(&self.streams).get(&name).cloned()
    }

    /// Displaces whoever reads a stream, and says when the new reader is displaced.
    pub(super) fn displace_reader(&self, stream: u64) -> CancellationToken {
        let displaced = CancellationToken::new();
        if let Some(before) = lock(&self.readers).insert(stream, displaced.clone()) {
            before.cancel();
        }
        displaced
    }

    /// Records that work on a request begins, which this token cancels.
    pub(super) fn begin(&self, request: &Value, cancelled: &CancellationToken) {
        lock(&self.working).insert(request.to_string(), cancelled.clone());
    }

    pub(super) fn finish(&self, request: &Value) {
        lock(&self.working).remove(&request.to_string());
    }

    /// Cancels the work on a request, if there is any.
    pub(super) fn cancel(&self, request: &Value) {
        if let Some(cancelled) = lock(&self.working).remove(&request.to_string()) {
            cancelled.cancel();
        }
    }

    /// The id of a new request to the client, and where its answer comes.
    pub(super) fn ask(&self) -> (String, oneshot::Receiver<Value>) {
        let (sender, receiver) = oneshot::channel();
        let id = format!("notes-{}", self.number());
        lock(&self.asked).insert(id.clone(), sender);
        (id, receiver)
    }

    /// Hands the client's answer to who asked. Whether anybody had.
    pub(super) fn answered(&self, id: &Value, answer: Value) -> bool {
        let asked = id.as_str().and_then(|id| lock(&self.asked).remove(id));
        asked.is_some_and(|asked| asked.send(answer).is_ok())
    }

    /// Asks no longer.
    pub(super) fn forget_asking(&self, id: &str) {
        lock(&self.asked).remove(id);
    }

    pub(super) fn owner(&self) -> &Caller {
        &self.owner
    }

    pub(super) fn is_subscribed(&self, uri: &str) -> bool {
        lock(&self.subscriptions).contains(uri)
    }

    pub(super) fn subscribe(&self, uri: &str) {
        lock(&self.subscriptions).insert(uri.to_owned());
    }

    pub(super) fn unsubscribe(&self, uri: &str) {
        lock(&self.subscriptions).remove(uri);
    }

    /// Ends every stream and all work.
    fn close(&self) {
        lock(&self.streams).values().for_each(|events| events.end());
        lock(&self.working).drain().for_each(|(_, cancelled)| cancelled.cancel());
        lock(&self.asked).clear();
    }
}

/// Every open session, oldest first.
#[derive(Default)]
pub(super) struct Sessions(Mutex<Vec<Arc<Session>>>);

impl Sessions {
    pub(super) fn open(&self, owner: &Caller, version: &'static str, capabilities: Value) -> Arc<Session> {
        let session = Arc::new(Session::new(owner, version, capabilities));
        let mut sessions = lock(&self.0);
        if sessions.len() == SESSIONS_MAX {
            sessions.remove(0).close();
        }
        sessions.push(Arc::clone(&session));
        session
    }

    /// The session of this id, if it is the caller's.
    pub(super) fn find(&self, id: &str, caller: &Caller) -> Option<Arc<Session>> {
        let sessions = lock(&self.0);
        sessions.iter().find(|session| session.id == id && session.is_of(caller)).cloned()
    }

    pub(super) fn end(&self, session: &Session) {
        lock(&self.0).retain(|one| one.id != session.id);
        session.close();
    }

    pub(super) fn each(&self, act: impl FnMut(&Arc<Session>)) {
        let sessions = lock(&self.0).clone();
        sessions.iter().for_each(act);
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.0).len()
    }

    pub(super) fn clear(&self) {
        lock(&self.0).drain(..).for_each(|session| session.close());
    }
}
