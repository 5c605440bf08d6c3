//! What a connector received and how its answers ended, kept for tests to search.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode, Uri, Version, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::demo::body::Body;
use crate::demo::host::Answer;
use crate::demo::jws::base64url;
use crate::demo::kept::Kept;
use crate::demo::lock;

/// Most bytes of one body that are kept: more than a tool call may have.
pub(in crate::demo) const BODY_BYTES_KEPT: usize = 1 << 20;

/// One request. Its `Debug` shows names, not values.
#[derive(Clone)]
pub struct ReceivedRequest {
    /// The method.
    pub method: Method,
    /// The target, as it came.
    pub uri: Uri,
    /// The version of HTTP.
    pub version: Version,
    /// Every header field.
    pub headers: HeaderMap,
    /// The beginning of the body. Uploads are counted and not kept.
    pub body: Bytes,
    /// How long the body was.
    pub body_bytes: u64,
    /// Whether the body came to its proper end.
    pub body_complete: bool,
    /// The trailers, if any came.
    pub trailers: Option<HeaderMap>,
    /// Who the token spoke for, if there was a good one.
    pub caller: Option<Caller>,
    /// What it was answered, once it was: nothing while it waits, or if a script broke the connection.
    pub status: Option<StatusCode>,
    /// How the answer ended.
    pub answer_end: AnswerEnd,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerEnd {
    /// It has not: the request is being read, or the answer is under way.
    Pending,
    /// With its last byte.
    Whole,
    /// Before that: the other side went away, or a script broke the connection.
    Cut,
}

/// Who a verified token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The person's object id; none for an application.
    pub person: Option<String>,
    /// The client the token was issued to.
    pub client_id: Option<String>,
    /// Delegated scopes, or the application's roles.
    pub permissions: Vec<String>,
}

impl ReceivedRequest {
    /// The token after `Bearer`, if there is exactly one Authorization header and it has one.
    pub fn bearer(&self) -> Option<String> {
        bearer(&self.headers).map(str::to_owned)
    }

    /// A header field that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether these bytes are anywhere in it: target, header names and values, body, trailers.
    pub fn contains(&self, needle: impl AsRef<[u8]>) -> bool {
        let needle = needle.as_ref();
        let is_in = |hay: &[u8]| {
            needle.is_empty() || hay.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle))
        };
        let fields = self.headers.iter().chain(self.trailers.iter().flatten());
        is_in(self.uri.to_string().as_bytes())
            || is_in(&self.body)
            || fields.into_iter().any(|(name, value)| is_in(name.as_ref()) || is_in(value.as_bytes()))
    }
}

pub(in crate::demo) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then_some(token)
}

impl fmt::Debug for ReceivedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedRequest")
            .field("method", &self.method)
            .field("path", &self.uri.path())
            .field("version", &self.version)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("body_bytes", &self.body_bytes)
            .field("body_complete", &self.body_complete)
            .field("caller", &self.caller)
            .field("status", &self.status)
            .field("answer_end", &self.answer_end)
            .finish_non_exhaustive()
    }
}

/// Everything a connector received.
#[derive(Default)]
pub(in crate::demo) struct Requests {
    list: Arc<Mutex<Kept<ReceivedRequest>>>,
    /// Nothing but a count of who holds it: this, and each request until its answer has ended.
    in_flight: Arc<()>,
}

impl Requests {
    /// Records that a request begins.
    pub(in crate::demo) fn begin(&self, head: &Parts) -> Entry {
        let number = lock(&self.list).push(ReceivedRequest {
            method: head.method.clone(),
            uri: head.uri.clone(),
            version: head.version,
            headers: head.headers.clone(),
            body: Bytes::new(),
            body_bytes: 0,
            body_complete: false,
            trailers: None,
            caller: None,
            status: None,
            answer_end: AnswerEnd::Pending,
        });
        Entry { list: Arc::clone(&self.list), number, _in_flight: Arc::clone(&self.in_flight) }
    }

    pub(in crate::demo) fn to_vec(&self) -> Vec<ReceivedRequest> {
        lock(&self.list).to_vec()
    }

    pub(in crate::demo) fn clear(&self) {
        lock(&self.list).clear();
    }

    /// How many requests have no end yet.
    pub(in crate::demo) fn in_flight(&self) -> usize {
        Arc::strong_count(&self.in_flight) - 1
    }
}

/// One request's place in the list. Dropped before the answer's end, it says that the answer was cut.
pub(in crate::demo) struct Entry {
    list: Arc<Mutex<Kept<ReceivedRequest>>>,
    number: usize,
    _in_flight: Arc<()>,
}

/// A request body, read to its end.
#[derive(Default)]
pub(in crate::demo) struct Received {
    pub(in crate::demo) kept: Bytes,
    pub(in crate::demo) bytes: u64,
    pub(in crate::demo) sha256: String,
    pub(in crate::demo) complete: bool,
}

impl Entry {
    /// Reads a body to its end, keeps its beginning, and records what came of it.
    pub(in crate::demo) async fn receive(&self, mut body: Incoming, keep: usize) -> Received {
        let mut kept = BytesMut::new();
        let mut received = Received { complete: true, ..Received::default() };
        let mut sum = digest::Context::new(&digest::SHA256);
        let mut trailers = None;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                received.complete = false;
                break;
            };
            match frame.into_data() {
                Ok(data) => {
                    received.bytes += data.len() as u64;
                    sum.update(&data);
                    kept.extend_from_slice(&data[..data.len().min(keep - kept.len())]);
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        received.sha256 = base64url(sum.finish().as_ref());
        received.kept = kept.freeze();
        self.change(|request| {
            request.body = received.kept.clone();
            request.body_bytes = received.bytes;
            request.body_complete = received.complete;
            request.trailers = trailers;
        });
        received
    }

    /// Records who the token spoke for.
    pub(in crate::demo) fn caller(&self, caller: &Caller) {
        self.change(|request| request.caller = Some(caller.clone()));
    }

    /// Records the answer, and goes along with its body to the end.
    pub(in crate::demo) fn answered(self, answer: Answer) -> Answer {
        match answer {
            Answer::Response(response) => {
                self.change(|request| request.status = Some(response.status()));
                let (parts, body) = response.into_parts();
                let announced = body.size_hint().exact();
                let mut recorded = Recorded { body, announced, sent: 0, entry: self };
                recorded.look_for_the_end();
                Response::from_parts(parts, recorded.boxed_unsync()).into()
            }
            Answer::Raw(bytes) => Answer::Raw(bytes),
            Answer::Reset => Answer::Reset,
        }
    }

    fn change(&self, change: impl FnOnce(&mut ReceivedRequest)) {
        if let Some(request) = lock(&self.list).get_mut(self.number) {
            change(request);
        }
    }

    fn end(&self, end: AnswerEnd) {
        self.change(|request| {
            if request.answer_end == AnswerEnd::Pending {
                request.answer_end = end;
            }
        });
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.end(AnswerEnd::Cut);
    }
}

/// The body of an answer, with the place where its end is written down.
struct Recorded {
    body: Body,
    announced: Option<u64>,
    sent: u64,
    entry: Entry,
}

impl Recorded {
    // Nobody asks for more than was announced, so the last announced byte is an end as well.
    fn look_for_the_end(&mut self) {
        if self.body.is_end_stream() || self.announced.is_some_and(|announced| self.sent >= announced) {
            self.entry.end(AnswerEnd::Whole);
        }
    }
}

impl http_body::Body for Recorded {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                self.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                self.look_for_the_end();
            }
            Some(Err(_)) => self.entry.end(AnswerEnd::Cut),
            None => self.entry.end(AnswerEnd::Whole),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
