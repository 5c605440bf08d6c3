//! A connection that does not wait for ever: for a client's first words, for the rest of a head, or for a client that does not
//! read.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::activity::Activity;
use super::bounds::ConnectionBounds;

/// What an HTTP/2 connection begins with (RFC 9113 section 3.4). No request of HTTP/1 is shorter.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream with deadlines.
pub struct Deadlines<S> {
    stream: S,
    bounds: ConnectionBounds,
    activity: Arc<Activity>,
    stage: Stage,
    writing: Option<Pin<Box<Sleep>>>,
}

/// What is read at the moment.
enum Stage {
    /// So many of the first bytes have come, all of them those of the preface or not.
    Opening { bytes: usize, is_preface: bool, deadline: Pin<Box<Sleep>> },
    /// HTTP/1, which says nothing between two requests.
    Http1 { head: Option<Head>, calls: u64 },
    /// HTTP/2, where heads and all else come as they like. A client that sends no whole one has no call, and is idle.
    Http2,
}

/// A head that has begun to come.
#[derive(Default)]
struct Head {
    /// Set once the rest of it has to be waited for.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Deadlines<S> {
    /// Sets the deadlines. The first begins now.
    pub fn new(stream: S, bounds: ConnectionBounds, activity: Arc<Activity>) -> Self {
        let deadline = Box::pin(tokio::time::sleep(bounds.opening_timeout));
        let stage = Stage::Opening { bytes: 0, is_preface: true, deadline };
        Self { stream, bounds, activity, stage, writing: None }
    }

    /// Notes what has come.
    fn came(&mut self, came: &[u8]) {
        if let Stage::Opening { bytes, is_preface, .. } = &mut self.stage {
            let expected = PREFACE.get(*bytes..).unwrap_or_default();
            let compared = expected.len().min(came.len());
            *is_preface &= came[..compared] == expected[..compared];
            *bytes += came.len();
            if *bytes < PREFACE.len() {
                return;
            }
            self.stage = match is_preface {
                true => {
                    self.activity.speaks_http2();
                    Stage::Http2
                }
                false => Stage::Http1 { head: None, calls: 0 },
            };
        }
        if let Stage::Http1 { head, .. } = &mut self.stage
            && self.activity.is_idle()
            && !came.is_empty()
        {
            head.get_or_insert_default();
            self.activity.heard();
        }
    }

    /// Ends when what is waited for has not come in time.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.stage {
            Stage::Opening { deadline, .. } => deadline.as_mut().poll(cx),
            Stage::Http1 { head: Some(head), .. } if self.activity.is_idle() => {
                let timeout = self.bounds.head_timeout;
                head.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout))).as_mut().poll(cx)
            }
            Stage::Http1 { .. } | Stage::Http2 => Poll::Pending,
        }
    }

    /// Passes on what a write came to, and begins or ends the wait for the reader.
    fn watch_write<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.writing = None;
            return polled;
        }
        let timeout = self.bounds.write_timeout;
        let deadline = self.writing.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Deadlines<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Stage::Http1 { head, calls } = &mut this.stage
            && *calls != this.activity.begun()
        {
            // The head that was waited for has become a call.
            (*head, *calls) = (None, this.activity.begun());
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        this.came(&buffer.filled()[before..]);
        if polled.is_pending() {
            ready!(this.poll_deadline(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Deadlines<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.watch_write(cx, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.watch_write(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_flush(cx);
        this.watch_write(cx, polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.watch_write(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    fn connection() -> (DuplexStream, Deadlines<DuplexStream>, Arc<Activity>) {
        let ((client, server), activity) = (tokio::io::duplex(64), Activity::new());
        (client, Deadlines::new(server, ConnectionBounds::DEFAULT, Arc::clone(&activity)), activity)
    }

    /// What comes of waiting for more, ten times as long as any deadline.
    async fn wait(server: &mut Deadlines<DuplexStream>) -> Option<io::ErrorKind> {
        let read = tokio::time::timeout(Duration::from_secs(600), server.read_u8()).await;
        read.ok().map(|read| read.expect_err("no more bytes").kind())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_not_waited_for() {
        for first in [&b""[..], b"GET /", b"PRI * HTTP"] {
            let (mut client, mut server, _) = connection();
            client.write_all(first).await.expect("written");
            server.read_exact(&mut [0; 64][..first.len()]).await.expect("the first words");
            assert_eq!(wait(&mut server).await, Some(io::ErrorKind::TimedOut));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_of_a_head_is_not_waited_for_for_ever() {
        let (mut client, mut server, activity) = connection();
        for _ in 0..3 {
            // A head of two pieces, and its call.
            client.write_all(b"GET / HTTP/1.1\r\nhost: gw\r\n\r\n").await.expect("written");
            server.read_exact(&mut [0; 28]).await.expect("a head");
            drop(activity.begin());
            assert_eq!(wait(&mut server).await, None, "between two heads nothing has to come");
        }
        client.write_all(b"GET").await.expect("written");
        server.read_exact(&mut [0; 3]).await.expect("the beginning of a head");
        assert_eq!(wait(&mut server).await, Some(io::ErrorKind::TimedOut));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_slow_is_not_taken_for_a_head() {
        let (mut client, mut server, activity) = connection();
        client.write_all(b"POST / HTTP/1.1\r\nhost: gw\r\n\r\n").await.expect("written");
        server.read_exact(&mut [0; 29]).await.expect("a head");
        let _busy = activity.begin();
        client.write_all(b"abc").await.expect("written");
        server.read_exact(&mut [0; 3]).await.expect("the beginning of a body");
        assert_eq!(wait(&mut server).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_http2_client_that_has_spoken_may_be_silent() {
        let (mut client, mut server, _) = connection();
        client.write_all(PREFACE).await.expect("written");
        server.read_exact(&mut [0; 24]).await.expect("the preface");
        client.write_all(b"a frame").await.expect("written");
        server.read_exact(&mut [0; 7]).await.expect("a frame");
        assert_eq!(wait(&mut server).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_not_waited_for() {
        let (client, mut server, _) = connection();
        let error = server.write_all(&[b'x'; 1_000]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(client);
    }
}
