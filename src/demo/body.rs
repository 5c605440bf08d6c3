//! Response bodies: whole, paced, endless, cut short, or ending in trailers.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use tokio::time::{Sleep, sleep};

/// How long a cut answer waits before it breaks, so that what came before it is on the wire.
pub(super) const BEFORE_THE_CUT: Duration = Duration::from_millis(40);

/// The body of every answer here.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A body that is all there.
pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// The whole of a body whose size we chose ourselves.
pub(super) async fn collect(body: Body) -> io::Result<Bytes> {
    Ok(body.collect().await?.to_bytes())
}

/// What a paced body yields: frames, and perhaps a failure in the end.
pub(super) type Frames = Box<dyn Iterator<Item = io::Result<Frame<Bytes>>> + Send>;

/// Frames with a pause before each. The length is announced if it is given, whether or not it is kept.
pub(super) fn paced(frames: Frames, every: Duration, length: Option<u64>) -> Body {
    Paced { frames, every, length, pause: None }.boxed_unsync()
}

/// So many frames of a body, as they come, and then a failure.
pub(super) fn cut_after_frames(body: Body, frames: usize) -> Body {
    let frames = BodyStream::new(body).take(frames).chain(stream::once(async {
        sleep(BEFORE_THE_CUT).await;
        Err(cut())
    }));
    StreamBody::new(frames).boxed_unsync()
}

/// How a connection breaks in the middle of an answer.
pub(super) fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "cut short on purpose")
}

struct Paced {
    frames: Frames,
    every: Duration,
    length: Option<u64>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if !self.every.is_zero() {
            let every = self.every;
            ready!(self.pause.get_or_insert_with(|| Box::pin(sleep(every))).as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(self.frames.next())
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
