//! One connection from an agent: TLS, then HTTP/1.1 or HTTP/2, then each request to the gateway.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::deadlines::{Deadlines, WRITE_TIMEOUT};
use super::{ServerState, Stop};
use crate::digest::sha256;
use crate::gateway::Readers;
use crate::identity::Peer;

/// Longest time for a TLS handshake: some round trips on a bad line, and no more.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time from the first byte of a request's head to its last, and between two requests on one connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest head of a request. A token of 16 KiB has room in it, and so have generous cookies.
const HEAD_BYTES_MAX: usize = 65_536;
/// Most headers of a request. Real ones have some twenty.
const HEADERS_MAX: usize = 128;
/// Most requests at a time on one HTTP/2 connection: what RFC 9113 section 6.5.2 recommends at least, and some more.
const STREAMS_MAX: u32 = 256;
/// How often an HTTP/2 connection is asked whether anybody is there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long the answer to that may take, after which the connection is given up.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves a connection to its end, or to where `stop` wants it.
pub async fn serve(stream: TcpStream, address: SocketAddr, state: Arc<ServerState>, stop: Stop) {
    // An answer's last small piece must not wait for an acknowledgement. Without it the answer is only slower.
    let _ = stream.set_nodelay(true);
    state.metrics.open_connections.inc();
    match state.tls.load_full() {
        None => {
            let peer = Peer { address, tls: false, certificate: None };
            serve_http(Deadlines::new(stream), peer, &state, stop).await;
        }
        Some(tls) => {
            let handshake = TlsAcceptor::from(tls).accept(stream);
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
                Ok(Ok(stream)) => {
                    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                    let certificate = shown.map(|certificate| sha256(certificate));
                    let peer = Peer { address, tls: true, certificate };
                    serve_http(Deadlines::new(stream), peer, &state, stop).await;
                }
                Ok(Err(error)) => tracing::debug!(%address, %error, "TLS handshake failed"),
                Err(_) => tracing::debug!(%address, "TLS handshake took too long"),
            }
        }
    }
    state.metrics.open_connections.dec();
}

async fn serve_http<S>(stream: S, peer: Peer, state: &Arc<ServerState>, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let readers = Arc::new(Readers::default());
    let service = service_fn(|request: http::Request<Incoming>| {
        let (gateway, readers) = (state.gateway(), Arc::clone(&readers));
        async move { Ok::<_, Infallible>(gateway.handle(request, peer, &readers).await) }
    });
    let builder = builder();
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = unread(&readers) => None,
        () = stop.finish.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => Some(ended),
                () = unread(&readers) => None,
                () = stop.cut.cancelled() => None,
            }
        }
    };
    if let Some(Err(error)) = ended {
        tracing::debug!(address = %peer.address, %error, "Connection ended early");
    }
}

/// Serves a connection that is no socket, in plain HTTP.
#[cfg(any(fuzzing, test))]
pub async fn serve_in_memory(stream: tokio::io::DuplexStream, peer: Peer, state: &Arc<ServerState>) {
    serve_http(Deadlines::new(stream), peer, state, Stop::default()).await;
}

/// What tells HTTP/1 from HTTP/2 and reads either, within its bounds. Its deadlines are silently off without a timer.
fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Ends when one of the connection's answers has been left unread for too long.
async fn unread(readers: &Readers) {
    let mut look = tokio::time::interval(WRITE_TIMEOUT / 4);
    loop {
        look.tick().await;
        if readers.longest_wait(Instant::now()) > WRITE_TIMEOUT {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    /// A connection whose every request is answered with 200. The clock of these tests goes on when everybody waits.
    fn connection() -> (DuplexStream, tokio::task::JoinHandle<()>) {
        let (client, server) = tokio::io::duplex(4_096);
        let serving = tokio::spawn(async move {
            let answer = service_fn(|_: http::Request<Incoming>| async {
                Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from_static(b"ok"))))
            });
            let io = TokioIo::new(Deadlines::new(server));
            // How it ends is for the test to see.
            let _ = builder().serve_connection(io, answer).await;
        });
        (client, serving)
    }

    /// Writes a byte a second until nobody takes them any more, and says how many.
    async fn drip(client: &mut DuplexStream, bytes: &[u8]) -> usize {
        for (count, byte) in bytes.iter().enumerate() {
            if client.write_all(&[*byte]).await.is_err() {
                return count;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        bytes.len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_ends_in_time() {
        let (mut client, serving) = connection();
        let begun = tokio::time::Instant::now();
        let head = format!("GET / HTTP/1.1\r\nhost: gw\r\nx: {}\r\n\r\n", "y".repeat(100));
        client.write_all(&head.as_bytes()[..24]).await.expect("the first words");
        assert!(drip(&mut client, &head.as_bytes()[24..]).await < 50, "it came whole");
        serving.await.expect("no panic");
        assert!(begun.elapsed() <= HEAD_TIMEOUT + Duration::from_secs(2), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_next_request_ends_in_time() {
        let (mut client, serving) = connection();
        client.write_all(b"GET / HTTP/1.1\r\nhost: gw\r\n\r\n").await.expect("sent");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("an answer, and the end");
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
        serving.await.expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn an_http2_connection_on_which_nobody_answers_pings_ends_in_time() {
        let (mut client, serving) = connection();
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("sent");
        let begun = tokio::time::Instant::now();
        let mut answers = Vec::new();
        client.read_to_end(&mut answers).await.expect("settings, a ping, and the end");
        serving.await.expect("no panic");
        let longest = PING_INTERVAL + PING_TIMEOUT + Duration::from_secs(2);
        assert!(begun.elapsed() <= longest, "{:?}", begun.elapsed());
    }
}
