//! A connection that does not wait for ever: for a client's first words, or for a client that does not read.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Longest wait for the first words of a connection. Telling HTTP/1 from HTTP/2 takes the first 24 bytes, and that
/// is before any other deadline begins.
const OPENING_TIMEOUT: Duration = Duration::from_secs(10);
/// The length of the HTTP/2 preface (RFC 9113 section 3.4). No request is shorter.
const OPENING_BYTES: usize = 24;
/// Longest wait for a client that reads nothing while there is something to write.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// A stream with deadlines.
pub struct Deadlines<S> {
    stream: S,
    opening: Option<Opening>,
    writing: Option<Pin<Box<Sleep>>>,
}

struct Opening {
    bytes: usize,
    deadline: Pin<Box<Sleep>>,
}

impl<S> Deadlines<S> {
    /// Sets the deadlines. The first begins now.
    pub fn new(stream: S) -> Self {
        let opening = Opening { bytes: 0, deadline: Box::pin(tokio::time::sleep(OPENING_TIMEOUT)) };
        Self { stream, opening: Some(opening), writing: None }
    }

    /// Passes on what a write came to, and begins or ends the wait for the reader.
    fn watch_write<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.writing = None;
            return polled;
        }
        let deadline = self.writing.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_TIMEOUT)));
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
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let Some(opening) = &mut this.opening else { return polled };
        opening.bytes += buffer.filled().len() - before;
        if opening.bytes >= OPENING_BYTES {
            this.opening = None;
            return polled;
        }
        if polled.is_pending() {
            ready!(opening.deadline.as_mut().poll(cx));
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_not_waited_for() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = Deadlines::new(server);
        client.write_all(b"PRI * HTTP").await.expect("written");
        let mut buffer = [0; 64];
        assert_eq!(server.read(&mut buffer).await.expect("the first words"), 10);
        let error = server.read(&mut buffer).await.expect_err("no more words");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_spoken_may_be_silent() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = Deadlines::new(server);
        client.write_all(&[b'x'; OPENING_BYTES]).await.expect("written");
        let mut buffer = [0; 64];
        server.read_exact(&mut buffer[..OPENING_BYTES]).await.expect("the first words");
        let silence = tokio::time::timeout(10 * OPENING_TIMEOUT, server.read(&mut buffer)).await;
        assert!(silence.is_err(), "still waiting");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_not_waited_for() {
        let (client, server) = tokio::io::duplex(64);
        let mut server = Deadlines::new(server);
        let error = server.write_all(&[b'x'; 1_000]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(client);
    }
}
