//! One connection from an agent: TLS, then HTTP/1.1 or HTTP/2, then each request to the gateway.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::HeaderValue;
use http::header::CONNECTION;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::activity::{Activity, GuardedBody};
use super::bounds::ConnectionBounds;
use super::deadlines::Deadlines;
use super::{ServerState, Stop};
use crate::digest::sha256;
use crate::gateway::Readers;
use crate::identity::Peer;

/// How often an HTTP/2 connection is asked whether anybody is there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long the answer to that may take, after which the connection is given up.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How many header lines hyper reads at most when it is not told, with room for them on the stack.
const HYPER_HEADERS_MAX: usize = 100;
/// How long an agent on an HTTP/2 connection has to hear that it goes, and for calls that were on their way then.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves a connection to its end, or to where `stop` wants it.
pub async fn serve(stream: TcpStream, address: SocketAddr, state: Arc<ServerState>, stop: Stop) {
    // An answer's last small piece must not wait for an acknowledgement. Without it the answer is only slower.
    let _ = stream.set_nodelay(true);
    state.metrics.open_connections.inc();
    let bounds = **state.bounds.load();
    // Most of its life a connection is idle, and there are thousands of them. So nothing that is over has room in it, and what is large is
    // in one place.
    match state.tls.load_full() {
        None => {
            let peer = Peer { address, tls: false, certificate: None };
            Box::pin(serve_http(stream, peer, bounds, &state, stop)).await;
        }
        Some(tls) => {
            if let Some(stream) = Box::pin(shake_hands(tls, stream, address, &bounds, &stop)).await {
                let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let certificate = shown.map(|certificate| sha256(certificate));
                let peer = Peer { address, tls: true, certificate };
                Box::pin(serve_http(stream, peer, bounds, &state, stop)).await;
            }
        }
    }
    state.metrics.open_connections.dec();
}

/// A TLS connection, where the handshake comes to one in time.
async fn shake_hands(
    tls: Arc<rustls::ServerConfig>,
    stream: TcpStream,
    address: SocketAddr,
    bounds: &ConnectionBounds,
    stop: &Stop,
) -> Option<Box<TlsStream<TcpStream>>> {
    let handshake = TlsAcceptor::from(tls).accept(stream);
    let handshake = tokio::time::timeout(bounds.handshake_timeout, handshake);
    let handshake = tokio::select! {
        done = handshake => done,
        () = stop.cut.cancelled() => Ok(Err(io::ErrorKind::ConnectionAborted.into())),
    };
    match handshake {
        Ok(Ok(stream)) => return Some(Box::new(stream)),
        Ok(Err(error)) => tracing::debug!(%address, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(%address, "TLS handshake took too long"),
    }
    None
}

async fn serve_http<S>(stream: S, peer: Peer, bounds: ConnectionBounds, state: &Arc<ServerState>, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (readers, activity) = (Arc::new(Readers::default()), Activity::new());
    let service = service_fn(|request: http::Request<Incoming>| {
        let (gateway, readers, call) = (state.gateway(), Arc::clone(&readers), activity.begin());
        let state = Arc::clone(state);
        if state.is_draining() {
            activity.spoke();
        }
        async move {
            let is_http1 = request.version() < http::Version::HTTP_2;
            let mut response = gateway.handle(request, peer, &readers).await;
            // So that the agent sends nothing more on a connection that is about to be closed.
            if is_http1 && state.is_draining() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response.map(|body| GuardedBody::new(body, call)))
        }
    });
    let builder = builder(&bounds);
    let stream = Deadlines::new(stream, bounds, Arc::clone(&activity));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // Each is looked at when its own time has come, and not with every piece of every call.
    let mut watches = FuturesUnordered::<BoxFuture<'_, Over>>::new();
    watches.push(Box::pin(async {
        tokio::select! {
            () = async { stop.finish.cancelled().await; activity.lingers().await } => {}
            () = stop.cut.cancelled() => {}
            () = activity.idle_for(bounds.idle_timeout) => {}
        }
        Over::Finish
    }));
    watches.push(Box::pin(async {
        unread(&readers, bounds.write_timeout).await;
        Over::Cut
    }));
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break Some(ended),
            Some(over) = watches.next() => match over {
                Over::Cut => break None,
                Over::Finish => {
                    connection.as_mut().graceful_shutdown();
                    watches.push(Box::pin(async {
                        tokio::select! {
                            () = farewell(&activity) => {}
                            () = stop.cut.cancelled() => {}
                        }
                        Over::Cut
                    }));
                }
            },
        }
    };
    if let Some(Err(error)) = ended {
        tracing::debug!(address = %peer.address, %error, "Connection ended early");
    }
}

/// What comes of watching a connection.
enum Over {
    /// It takes no more calls.
    Finish,
    /// It is closed at once.
    Cut,
}

/// Serves a connection that is no socket, in plain HTTP.
#[cfg(any(fuzzing, test))]
pub async fn serve_in_memory(stream: tokio::io::DuplexStream, peer: Peer, state: &Arc<ServerState>) {
    serve_http(stream, peer, **state.bounds.load(), state, Stop::default()).await;
}

/// What tells HTTP/1 from HTTP/2 and reads either, within bounds. Its deadlines are silently off without a timer; that of heads
/// is ours (`Deadlines`), since hyper's runs between two requests as well.
fn builder(bounds: &ConnectionBounds) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .header_read_timeout(None::<Duration>)
        .max_buf_size(bounds.head_bytes_max as usize)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(bounds.head_bytes_max)
        .max_concurrent_streams(bounds.streams_max)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    // Told so, it asks for memory for as many at each request.
    if bounds.headers_max != HYPER_HEADERS_MAX {
        builder.http1().max_headers(bounds.headers_max);
    }
    builder
}

/// Ends when there are no calls any more on a connection that goes, and there has been time to hear of it. An agent may never say
/// that it has.
async fn farewell(activity: &Activity) {
    loop {
        tokio::time::sleep(FAREWELL).await;
        if activity.is_idle() {
            return;
        }
    }
}

/// Ends when one of the connection's answers has been left unread for too long.
async fn unread(readers: &Readers, write_timeout: Duration) {
    let mut look = tokio::time::interval(write_timeout / 4);
    loop {
        look.tick().await;
        if readers.longest_wait(Instant::now()) > write_timeout {
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

    const BOUNDS: ConnectionBounds = ConnectionBounds {
        head_timeout: Duration::from_secs(20),
        // Longer than any test: these are for the bounds of what is served, and not of what is not.
        idle_timeout: Duration::from_secs(3_600),
        ..ConnectionBounds::DEFAULT
    };

    /// A connection whose every request is answered with 200. The clock of these tests goes on when everybody waits.
    fn connection() -> (DuplexStream, tokio::task::JoinHandle<()>) {
        let (client, server) = tokio::io::duplex(4_096);
        let serving = tokio::spawn(async move {
            let activity = Activity::new();
            let answer = service_fn(|_: http::Request<Incoming>| {
                let busy = activity.begin();
                let body = GuardedBody::new(Full::new(Bytes::from_static(b"ok")), busy);
                async { Ok::<_, Infallible>(http::Response::new(body)) }
            });
            let io = TokioIo::new(Deadlines::new(server, BOUNDS, Arc::clone(&activity)));
            // How it ends is for the test to see.
            let _ = builder(&BOUNDS).serve_connection(io, answer).await;
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
        assert!(begun.elapsed() <= BOUNDS.head_timeout + Duration::from_secs(2), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_may_begin_late_and_still_has_its_time() {
        let (mut client, _serving) = connection();
        for _ in 0..3 {
            client.write_all(b"GET / HTTP/1.1\r\nhost: gw\r\n").await.expect("sent");
            tokio::time::sleep(BOUNDS.head_timeout - Duration::from_secs(1)).await;
            client.write_all(b"\r\n").await.expect("sent");
            let mut answer = Vec::new();
            while !answer.ends_with(b"ok") {
                assert_ne!(client.read_buf(&mut answer).await.expect("an answer"), 0, "it was closed");
            }
            tokio::time::sleep(10 * BOUNDS.head_timeout).await;
        }
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

    #[test]
    fn what_an_idle_connection_takes_of_its_own_is_small() {
        fn of_all<A, B, C, D, F>(_: impl Fn(A, B, C, D) -> F) -> usize {
            size_of::<F>()
        }
        fn of_http<S, F>(
            _: impl Fn(S, Peer, ConnectionBounds, &'static Arc<ServerState>, Stop) -> F,
        ) -> usize {
            size_of::<F>()
        }
        let http = of_http(serve_http::<Box<TlsStream<TcpStream>>>);
        let (all, tls) = (of_all(serve), size_of::<TlsStream<TcpStream>>());
        assert!(all + http + tls <= 5_000, "{all} + {http} + {tls} bytes");
    }
}
