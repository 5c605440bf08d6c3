//! What a server does instead of, or before, its normal answer.
//!
//! A script is a queue of replies for the next requests and at most one standing reply for the rest. Every
//! handle to it is the same script, so a test changes a server's manners while it runs.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::body::{self, BEFORE_THE_CUT, Body};
use super::host::Answer;
use super::{clock, lock};

/// The manners of one endpoint. Cloning gives another handle to the same script.
#[derive(Clone, Default)]
pub struct Script(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    once: VecDeque<Reply>,
    always: Option<Reply>,
}

impl Script {
    /// Plays this reply once, after those already queued.
    pub fn once(&self, reply: Reply) -> &Self {
        lock(&self.0).once.push_back(reply);
        self
    }

    /// Plays this reply for the next `times` requests.
    pub fn times(&self, times: usize, reply: &Reply) -> &Self {
        lock(&self.0).once.extend(std::iter::repeat_n(reply.clone(), times));
        self
    }

    /// Plays this reply whenever none is queued, until told otherwise.
    pub fn always(&self, reply: Reply) -> &Self {
        lock(&self.0).always = Some(reply);
        self
    }

    /// Forgets everything: normal answers from now on.
    pub fn clear(&self) -> &Self {
        *lock(&self.0) = Lines::default();
        self
    }

    /// How many one-time replies have not been played yet.
    pub fn queued(&self) -> usize {
        lock(&self.0).once.len()
    }

    /// The next reply, which is the normal one if nothing was said.
    pub(super) fn next(&self) -> Reply {
        self.take().unwrap_or_else(Reply::normal)
    }

    /// The next reply, if anything was said about it.
    pub(super) fn take(&self) -> Option<Reply> {
        let mut lines = lock(&self.0);
        lines.once.pop_front().or_else(|| lines.always.clone())
    }
}

/// One scripted reply.
#[derive(Clone, Debug)]
pub struct Reply {
    act: Act,
    headers: HeaderMap,
    replaced: HeaderMap,
    alteration: Option<fn(Bytes) -> Bytes>,
    delay: Duration,
    held: Option<CancellationToken>,
    before_body: bool,
    pace: Option<Pace>,
    cut_after: Option<usize>,
    cut_after_frames: Option<usize>,
}

#[derive(Clone, Debug)]
enum Act {
    Normal,
    Respond { status: StatusCode, body: Bytes, endless: bool },
    Hang,
    Raw(Bytes),
    Reset,
}

#[derive(Clone, Copy, Debug)]
struct Pace {
    chunk: usize,
    every: Duration,
}

impl Reply {
    /// The normal answer, to be delayed, dripped or cut.
    pub fn normal() -> Self {
        Self::acting(Act::Normal)
    }

    /// An empty answer with this status.
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("a script names a status of three digits");
        Self::acting(Act::Respond { status, body: Bytes::new(), endless: false })
    }

    /// A JSON answer.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::status(status).header("content-type", "application/json").body(body.to_string())
    }

    /// No answer, and the connection stays open.
    pub fn hang() -> Self {
        Self::acting(Act::Hang)
    }

    /// No answer: the connection is reset.
    pub fn reset() -> Self {
        Self::acting(Act::Reset)
    }

    /// These bytes straight onto the TCP connection, whatever HTTP or TLS would say, and then its end.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::acting(Act::Raw(bytes.into()))
    }

    /// A throttled caller: 429 and the seconds to wait.
    pub fn too_many_requests(retry_after_seconds: u64) -> Self {
        Self::status(429).header("retry-after", retry_after_seconds.to_string())
    }

    /// A throttled caller: 429 and the date to wait for.
    pub fn too_many_requests_until(retry_after: i64) -> Self {
        Self::status(429).header("retry-after", clock::http_date(retry_after))
    }

    /// A resource that wants more of the token: 401 with the claims challenge `claims`, a JSON text.
    pub fn claims_challenge(claims: &str) -> Self {
        use base64::Engine as _;
        let claims = base64::engine::general_purpose::STANDARD.encode(claims);
        let challenge = format!(
            "Bearer realm=\"\", authorization_uri=\"https://login.demo.test/common/oauth2/authorize\", \
             error=\"insufficient_claims\", claims=\"{claims}\""
        );
        Self::status(401).header("www-authenticate", challenge)
    }

    /// One more header field, on the normal answer too. A name may be given more than once.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::from_bytes(name.as_ref()).expect("a script names a header field");
        let value = HeaderValue::from_bytes(value.as_ref()).expect("a script's header value can be sent");
        self.headers.append(name, value);
        self
    }

    /// A header field in place of whatever the answer had under its name.
    pub fn replacing_header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::from_bytes(name.as_ref()).expect("a script names a header field");
        let value = HeaderValue::from_bytes(value.as_ref()).expect("a script's header value can be sent");
        self.replaced.insert(name, value);
        self
    }

    /// The body as this makes it of what it would have been.
    pub fn altered(mut self, alteration: fn(Bytes) -> Bytes) -> Self {
        self.alteration = Some(alteration);
        self
    }

    /// So many more header fields, each with a value of so many bytes.
    pub fn padded_with_headers(mut self, count: usize, value_bytes: usize) -> Self {
        for index in 0..count {
            self = self.header(format!("x-padding-{index}"), "p".repeat(value_bytes));
        }
        self
    }

    /// The body.
    ///
    /// # Panics
    ///
    /// If the reply has no status of its own, and so no place for a body.
    pub fn body(mut self, bytes: impl Into<Bytes>) -> Self {
        let Act::Respond { body, .. } = &mut self.act else {
            panic!("only a reply with a status has a body")
        };
        *body = bytes.into();
        self
    }

    /// Repeats the body for as long as the caller reads.
    ///
    /// # Panics
    ///
    /// If the reply has no status of its own, and so no body.
    pub fn endless(mut self) -> Self {
        let Act::Respond { endless, .. } = &mut self.act else {
            panic!("only a reply with a status has a body")
        };
        *endless = true;
        self
    }

    /// Waits before doing any of it.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Waits until `release` is cancelled before doing any of it: a test says when.
    pub fn held_until(mut self, release: CancellationToken) -> Self {
        self.held = Some(release);
        self
    }

    /// Sends the body in pieces of `chunk` bytes, with a pause before each.
    pub fn dripping(mut self, chunk: usize, every: Duration) -> Self {
        self.pace = Some(Pace { chunk: chunk.max(1), every });
        self
    }

    /// Announces the whole body, sends this many bytes of it, and breaks off.
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.cut_after = Some(bytes);
        self
    }

    /// Sends this many frames of the body as they come, such as the events of a stream, and breaks off.
    pub fn cut_after_frames(mut self, frames: usize) -> Self {
        self.cut_after_frames = Some(frames);
        self
    }

    /// Replies when the head of the request is in, and leaves its body unread.
    pub fn without_reading_the_body(mut self) -> Self {
        self.before_body = true;
        self
    }

    pub(super) fn is_before_the_body(&self) -> bool {
        self.before_body
    }

    /// Does what the script says, asking for the normal answer only if that is what it says.
    pub(super) async fn play(self, normal: impl Future<Output = Response<Body>> + Send) -> Answer {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        if let Some(release) = &self.held {
            release.cancelled().await;
        }
        let (mut response, endless) = match self.act {
            // Ends when the caller gives up and this future is dropped.
            Act::Hang => return std::future::pending().await,
            Act::Reset => return Answer::Reset,
            Act::Raw(bytes) => return Answer::Raw(bytes),
            Act::Normal => (normal.await, false),
            Act::Respond { status, body, endless } => {
                let mut response = Response::new(body::full(body));
                *response.status_mut() = status;
                (response, endless)
            }
        };
        for (name, value) in &self.headers {
            response.headers_mut().append(name, value.clone());
        }
        for (name, value) in &self.replaced {
            response.headers_mut().insert(name, value.clone());
        }
        if let Some(alteration) = self.alteration {
            let (parts, body) = response.into_parts();
            let Ok(bytes) = body::collect(body).await else { return Answer::Reset };
            response = Response::from_parts(parts, body::full(alteration(bytes)));
        }
        if let Some(frames) = self.cut_after_frames {
            return response.map(|body| body::cut_after_frames(body, frames)).into();
        }
        if self.pace.is_none() && self.cut_after.is_none() && !endless {
            return response.into();
        }
        let (mut parts, body) = response.into_parts();
        let Ok(bytes) = body::collect(body).await else { return Answer::Reset };
        let body =
            if endless { repeat(bytes, self.pace) } else { deliver(&bytes, self.pace, self.cut_after) };
        parts.headers.remove(header::CONTENT_LENGTH);
        Response::from_parts(parts, body).into()
    }

    fn acting(act: Act) -> Self {
        let headers = HeaderMap::new();
        let (delay, held) = (Duration::ZERO, None);
        Self {
            act,
            headers,
            replaced: HeaderMap::new(),
            alteration: None,
            delay,
            held,
            before_body: false,
            pace: None,
            cut_after: None,
            cut_after_frames: None,
        }
    }
}

fn repeat(bytes: Bytes, pace: Option<Pace>) -> Body {
    let every = pace.map_or(Duration::ZERO, |pace| pace.every);
    let bytes = if bytes.is_empty() { Bytes::from_static(b"\n") } else { bytes };
    body::paced(Box::new(std::iter::repeat_with(move || Ok(Frame::data(bytes.clone())))), every, None)
}

fn deliver(bytes: &Bytes, pace: Option<Pace>, cut_after: Option<usize>) -> Body {
    let length = bytes.len() as u64;
    let sent = bytes.slice(..cut_after.unwrap_or(bytes.len()).min(bytes.len()));
    let pace = pace.unwrap_or(Pace { chunk: sent.len().max(1), every: BEFORE_THE_CUT });
    let mut frames: Vec<io::Result<Frame<Bytes>>> = (0..sent.len())
        .step_by(pace.chunk)
        .map(|start| Ok(Frame::data(sent.slice(start..(start + pace.chunk).min(sent.len())))))
        .collect();
    if cut_after.is_some() {
        frames.push(Err(body::cut()));
    }
    body::paced(Box::new(frames.into_iter()), pace.every, Some(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn queued_replies_come_first_and_in_order_then_the_standing_one() {
        let script = Script::default();
        script.always(Reply::status(503)).once(Reply::status(500)).times(2, &Reply::status(502));
        assert_eq!(script.queued(), 3);
        for expected in [500, 502, 502, 503, 503] {
            assert_eq!(played_status(&script).await, expected);
        }
        script.clear();
        assert_eq!(played_status(&script).await, 200);
    }

    async fn played_status(script: &Script) -> u16 {
        match script.next().play(async { Response::new(body::full("normal")) }).await {
            Answer::Response(response) => response.status().as_u16(),
            Answer::Raw(_) | Answer::Reset => panic!("these replies are ordinary responses"),
        }
    }
}
