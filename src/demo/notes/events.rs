//! A stream of server-sent events that remembers them, so that it can be read again from any of them.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::demo::body::Body;

/// Most events remembered of one stream. The oldest give way.
const EVENTS_MAX: usize = 2_000;

/// Milliseconds after which a client comes back to a stream that broke.
const RETRY_MS: u32 = 50;

/// What has been sent on a stream so far.
pub(super) struct Events {
    log: watch::Sender<Log>,
    /// The name that event ids begin with; none in the modern era, which has no ids.
    name: Option<u64>,
}

#[derive(Default)]
struct Log {
    /// The number of the oldest event that is remembered.
    first: usize,
    events: VecDeque<Bytes>,
    /// Where whoever read last has come to.
    read: usize,
    ended: bool,
}

impl Log {
    fn end(&self) -> usize {
        self.first + self.events.len()
    }
}

impl Events {
    /// A stream without event ids.
    pub(super) fn nameless() -> Self {
        Self { log: watch::Sender::new(Log::default()), name: None }
    }

    /// A stream whose event ids begin with this number.
    pub(super) fn named(name: u64) -> Self {
        Self { log: watch::Sender::new(Log::default()), name: Some(name) }
    }

    /// Sends a message.
    pub(super) fn send(&self, message: &Value) {
        self.push(&format!("event: message\ndata: {message}\n\n"));
    }

    /// Sends an event that holds nothing but its id and when to come back.
    pub(super) fn prime(&self) {
        self.push(&format!("retry: {RETRY_MS}\ndata: \n\n"));
    }

    /// Sends a comment, which clients skip.
    pub(super) fn comment(&self, text: &str) {
        self.append(format!(": {text}\n\n"));
    }

    /// Ends the stream.
    pub(super) fn end(&self) {
        self.log.send_modify(|log| log.ended = true);
    }

    fn push(&self, event: &str) {
        // The number is taken and used under one lock, so no two events share it.
        self.log.send_modify(|log| {
            let id = self.name.map(|name| format!("id: {name}-{}\n", log.end()));
            append(log, format!("{}{event}", id.unwrap_or_default()));
        });
    }

    fn append(&self, event: String) {
        self.log.send_modify(|log| append(log, event));
    }

    /// The events from this number on, as an answer. Without a number: those that nobody has read.
    ///
    /// The answer ends when `displaced` is cancelled; `reader` is dropped with it, however it ends.
    pub(super) fn answer(
        &self,
        from: Option<usize>,
        displaced: CancellationToken,
        reader: Option<DropGuard>,
    ) -> Response<Body> {
        let from = from.unwrap_or_else(|| self.log.borrow().read);
        let (log, read) = (self.log.subscribe(), self.log.clone());
        let events = stream::unfold((log, from, reader), move |(mut log, at, reader)| {
            let read = read.clone();
            async move {
                let (event, next) = {
                    let log = log.wait_for(|log| log.end() > at || log.ended).await.ok()?;
                    let at = at.max(log.first);
                    (log.events.get(at - log.first)?.clone(), at + 1)
                };
                // Readers are not woken by each other.
                read.send_if_modified(|log| {
                    log.read = log.read.max(next);
                    false
                });
                Some((Ok(Frame::data(event)), (log, next, reader)))
            }
        });
        let events = events.take_until(displaced.cancelled_owned());
        let mut response = Response::new(StreamBody::new(events).boxed_unsync());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }
}

fn append(log: &mut Log, event: String) {
    if log.events.len() == EVENTS_MAX {
        log.events.pop_front();
        log.first += 1;
    }
    log.events.push_back(Bytes::from(event));
}

/// The stream and the number that an event id names.
pub(super) fn parse_event_id(id: &str) -> Option<(u64, usize)> {
    let (stream, number) = id.split_once('-')?;
    Some((stream.parse().ok()?, number.parse().ok()?))
}
