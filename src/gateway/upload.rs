//! The agent's body on its way to the connector: streamed, never collected, and watched.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::body::BodyError;

/// Longest body that can be sent a second time. A longer one is streamed and gone.
const KEPT_BYTES_MAX: usize = 65_536;
/// Most bytes kept in this process for sending a second time. What comes beyond is not kept.
const ALL_KEPT_BYTES_MAX: usize = 64 * 1_048_576;
/// How many bytes are kept at the moment.
static ALL_KEPT_BYTES: AtomicUsize = AtomicUsize::new(0);

/// How much of the body of a refused request is read: as much as messages and forms have.
const REST_BYTES_MAX: usize = 65_536;
/// How long that may take. It is mostly there already.
const REST_TIME_MAX: Duration = Duration::from_millis(500);

/// How far the agent's body has come, for whoever waits for the answer.
#[derive(Debug)]
pub struct Upload {
    started: Instant,
    bytes: AtomicU64,
    /// Milliseconds from `started` to the last sign of life.
    last_progress: AtomicU64,
    /// Whether it is the agent that everybody waits for, and not the connector.
    waits_for_agent: AtomicBool,
    end: OnceLock<UploadEnd>,
    kept: Mutex<Kept>,
}

/// A copy of what has come from the agent, as long as it is small.
#[derive(Debug)]
enum Kept {
    /// So far.
    Part(Vec<u8>),
    /// All of it.
    Whole(Bytes),
    /// All of it. It was read before it went on, or kept before, and does not count as kept.
    AtHand(Bytes),
    /// It is too large, or it has been taken.
    Gone,
}

/// How the agent's body ended, when it did not come whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UploadEnd {
    /// The agent sent nothing for too long.
    Stalled,
    /// The agent broke off.
    Broke,
}

impl Upload {
    fn new(kept: Kept) -> Arc<Self> {
        Arc::new(Self {
            kept: Mutex::new(kept),
            started: Instant::now(),
            bytes: AtomicU64::new(0),
            last_progress: AtomicU64::new(0),
            waits_for_agent: AtomicBool::new(false),
            end: OnceLock::new(),
        })
    }

    /// How many bytes have been passed on.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// When the last piece was passed on, or the call began.
    pub fn last_progress(&self) -> Instant {
        let since = Duration::from_millis(self.last_progress.load(Ordering::Relaxed));
        self.started.checked_add(since).unwrap_or(self.started)
    }

    /// Whether it is the agent that everybody waits for: the connector would take more.
    pub fn waits_for_agent(&self) -> bool {
        self.waits_for_agent.load(Ordering::Relaxed)
    }

    /// How it ended, when it did not come whole.
    pub fn end(&self) -> Option<UploadEnd> {
        self.end.get().copied()
    }

    /// The whole body, for sending it a second time; `None` when it was not kept.
    pub fn take_whole(&self) -> Option<Bytes> {
        let mut kept = self.kept();
        match std::mem::replace(&mut *kept, Kept::Gone) {
            Kept::Whole(body) => {
                release(body.len());
                Some(body)
            }
            Kept::Part(part) => {
                release(part.len());
                None
            }
            Kept::AtHand(body) => Some(body),
            Kept::Gone => None,
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        // It is whole after every change.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keeps_more(&self) -> bool {
        matches!(*self.kept(), Kept::Part(_))
    }

    fn keep(&self, data: &[u8], is_last: bool) {
        let mut kept = self.kept();
        if let Kept::Part(part) = &mut *kept {
            if part.len() + data.len() > KEPT_BYTES_MAX || !reserve(data.len()) {
                release(part.len());
                *kept = Kept::Gone;
                return;
            }
            part.extend_from_slice(data);
            if is_last {
                *kept = Kept::Whole(std::mem::take(part).into());
            }
        }
    }

    fn progressed(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let since = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_progress.store(since, Ordering::Relaxed);
        self.waits_for_agent.store(false, Ordering::Relaxed);
    }

    fn ended(&self, end: UploadEnd) {
        // The first end is the true one.
        let _ = self.end.set(end);
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let _ = self.take_whole();
    }
}

fn reserve(bytes: usize) -> bool {
    let fits = |kept: usize| kept.checked_add(bytes).filter(|sum| *sum <= ALL_KEPT_BYTES_MAX);
    ALL_KEPT_BYTES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
}

fn release(bytes: usize) {
    ALL_KEPT_BYTES.fetch_sub(bytes, Ordering::Relaxed);
}

/// The agent's body on its way to the connector. Its trailers are dropped: nothing has judged them.
pub struct UploadBody {
    body: Source,
    idle: IdleDeadline,
    upload: Arc<Upload>,
}

/// Where the body comes from.
enum Source {
    /// From the agent. What was read ahead goes before the rest.
    Agent { ahead: BytesMut, rest: Incoming },
    /// It was read before, and this goes on in its place.
    Read(Option<Bytes>),
    /// The copy that was kept of it.
    Kept(Option<Bytes>),
}

impl UploadBody {
    /// Streams `body`, as long as something comes at least every `idle_timeout`.
    pub fn new(body: Incoming, idle_timeout: Duration) -> (Self, Arc<Upload>) {
        let kept = if body.is_end_stream() { Kept::Whole(Bytes::new()) } else { Kept::Part(Vec::new()) };
        Self::from(Source::Agent { ahead: BytesMut::new(), rest: body }, kept, idle_timeout)
    }

    /// Sends a body that has been read.
    pub fn read(body: Bytes) -> (Self, Arc<Upload>) {
        let kept = Kept::AtHand(body.clone());
        Self::from(Source::Read(Some(body).filter(|body| !body.is_empty())), kept, Duration::MAX)
    }

    /// Sends the kept copy of a body.
    pub fn again(body: Bytes) -> (Self, Arc<Upload>) {
        let kept = Kept::AtHand(body.clone());
        Self::from(Source::Kept(Some(body).filter(|body| !body.is_empty())), kept, Duration::MAX)
    }

    fn from(body: Source, kept: Kept, idle_timeout: Duration) -> (Self, Arc<Upload>) {
        let upload = Upload::new(kept);
        (Self { body, idle: IdleDeadline::new(idle_timeout), upload: Arc::clone(&upload) }, upload)
    }

    /// Reads the agent's body ahead while its call waits, as far as it is kept: a message or a form is all there then, and what comes next on
    /// the connection is that the agent leaves. Over HTTP/1 nobody would notice that otherwise before the body is wanted.
    ///
    /// It ends when the agent breaks off, and then alone.
    pub async fn read_ahead(&mut self) {
        if self.read_kept().await.is_ok() {
            std::future::pending().await
        }
    }

    /// Whether all of the agent's body is here, or comes within this time. No more is read than is kept.
    ///
    /// # Errors
    ///
    /// The agent breaks off.
    pub async fn comes_within(&mut self, time: Duration) -> Result<bool, UploadEnd> {
        // Out of time: what is kept says whether it is whole.
        tokio::time::timeout(time, self.read_kept()).await.unwrap_or(Ok(()))?;
        Ok(matches!(*self.upload.kept(), Kept::Whole(_) | Kept::AtHand(_)))
    }

    /// Reads as much of the agent's body as is kept, or fails when the agent breaks off.
    async fn read_kept(&mut self) -> Result<(), UploadEnd> {
        let Source::Agent { ahead, rest } = &mut self.body else { return Ok(()) };
        while self.upload.keeps_more() {
            match rest.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.upload.keep(&data, rest.is_end_stream());
                        // In one piece: many small ones would take many times what they hold.
                        ahead.extend_from_slice(&data);
                    }
                }
                Some(Err(_)) => {
                    self.upload.ended(UploadEnd::Broke);
                    return Err(UploadEnd::Broke);
                }
                None => self.upload.keep(&[], true),
            }
        }
        Ok(())
    }

    /// The call has waited: the connector's time begins.
    pub fn set_out(&self) {
        self.upload.progressed(0);
    }
}

impl Drop for UploadBody {
    fn drop(&mut self) {
        // What nobody passes on, nobody waits for.
        self.upload.waits_for_agent.store(false, Ordering::Relaxed);
    }
}

impl HttpBody for UploadBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let body = match &mut this.body {
            Source::Agent { ahead, rest } => {
                if !ahead.is_empty() {
                    let data = ahead.split().freeze();
                    this.upload.progressed(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                rest
            }
            Source::Read(body) => {
                let body = body.take();
                this.upload.progressed(body.as_ref().map_or(0, Bytes::len));
                return Poll::Ready(body.map(|body| Ok(Frame::data(body))));
            }
            Source::Kept(body) => {
                this.upload.progressed(0);
                return Poll::Ready(body.take().map(|body| Ok(Frame::data(body))));
            }
        };
        loop {
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.idle.restart();
                    if let Some(data) = frame.data_ref() {
                        this.upload.progressed(data.len());
                        this.upload.keep(data, body.is_end_stream());
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    this.upload.ended(UploadEnd::Broke);
                    return Poll::Ready(Some(Err(BodyError::Broke(error.into()))));
                }
                Poll::Ready(None) => {
                    this.upload.progressed(0);
                    this.upload.keep(&[], true);
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    this.upload.waits_for_agent.store(true, Ordering::Relaxed);
                    ready!(this.idle.poll(cx));
                    this.upload.ended(UploadEnd::Stalled);
                    return Poll::Ready(Some(Err(BodyError::Stalled(this.idle.timeout))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Source::Agent { ahead, rest } => ahead.is_empty() && rest.is_end_stream(),
            Source::Read(body) | Source::Kept(body) => body.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Source::Agent { ahead, rest } => {
                let ahead = ahead.len() as u64;
                let (rest, mut hint) = (rest.size_hint(), SizeHint::new());
                hint.set_lower(rest.lower().saturating_add(ahead));
                rest.upper().into_iter().for_each(|upper| hint.set_upper(upper.saturating_add(ahead)));
                hint
            }
            Source::Read(body) | Source::Kept(body) => {
                SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len) as u64)
            }
        }
    }
}

/// Reads the rest of a body that nobody wants, as long as it is little and comes soon.
pub async fn read_rest(mut body: Incoming) {
    let reading = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > REST_BYTES_MAX {
                return;
            }
        }
    };
    // Whether it came to its end, the connection knows.
    let _ = tokio::time::timeout(REST_TIME_MAX, reading).await;
}

/// A deadline that begins anew with every piece. The timer is only set once something has to be waited for.
pub struct IdleDeadline {
    /// How long nothing may come.
    pub timeout: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl IdleDeadline {
    /// A deadline that has not begun.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, sleep: None }
    }

    /// Something came.
    pub fn restart(&mut self) {
        self.sleep = None;
    }

    /// Whether nothing has come for too long.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_within(Duration::MAX, cx)
    }

    /// The same, where there is only so much time left when something begins to be waited for.
    pub fn poll_within(&mut self, left: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.timeout.min(left);
        self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout))).as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::StreamBody;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;

    use super::*;

    /// What `look` makes of the body of a request in such pieces.
    async fn received<T, L: Future<Output = T>>(
        pieces: impl Iterator<Item = &'static [u8]> + Send + 'static,
        look: impl Fn(UploadBody) -> L,
    ) -> T {
        let (client, server) = tokio::io::duplex(1_024);
        let (seen, see) = std::sync::mpsc::channel();
        let service = service_fn(move |request: http::Request<Incoming>| {
            let (body, _) = UploadBody::new(request.into_body(), Duration::from_secs(60));
            let (seen, look) = (seen.clone(), look(body));
            async move {
                seen.send(look.await).expect("the test waits");
                Ok::<_, Infallible>(http::Response::new(String::new()))
            }
        });
        let serving = async {
            let served =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service);
            served.await.expect("served");
        };
        let calling = async {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(client)).await.expect("a connection");
            let frames = pieces.map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from_static(piece))));
            let body = StreamBody::new(futures_util::stream::iter(frames));
            let request = http::Request::post("/").body(body).expect("a request of the test");
            // With the sender, the connection ends.
            let sending = async move { sender.send_request(request).await.map(drop) };
            let (sent, _) = tokio::join!(sending, connection);
            sent.expect("an answer");
        };
        tokio::join!(serving, calling);
        see.recv().expect("it was looked at")
    }

    #[tokio::test]
    async fn what_is_read_ahead_in_the_smallest_pieces_takes_no_more_room_than_in_one() {
        const PIECES: usize = 20_000;
        let (here, room, frames) =
            received(std::iter::repeat_n(b"x".as_slice(), PIECES), |mut body| async move {
                let here = body.comes_within(Duration::from_secs(60)).await;
                let Source::Agent { ahead, .. } = &body.body else { panic!("it comes from the agent") };
                let room = ahead.capacity();
                let mut frames = Vec::new();
                while let Some(frame) = body.frame().await {
                    frames.extend(frame.expect("all of it").data_ref().map(Bytes::len));
                }
                (here, room, frames)
            })
            .await;
        assert_eq!(here, Ok(true));
        assert_eq!(frames, [PIECES], "pieces of their own would keep much more than themselves");
        assert!(room <= 2 * PIECES, "{room}");
    }
}
