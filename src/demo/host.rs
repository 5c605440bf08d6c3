//! A socket that listens, serves HTTP/1.1 and HTTP/2 with or without TLS, and can misbehave on purpose.
//!
//! Each connection is a task in a set that the accept task owns, so that stopping is one abort and leaves no
//! connection behind.

use std::convert::Infallible;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::body::Body;
use super::lock;

/// Most header fields read on one request: enough for a caller that tests limits, and still an end.
const HEADERS_MAX: usize = 1_000;

/// Pause after a failed accept, which is nearly always a want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// What becomes of a request.
pub(super) enum Answer {
    /// An ordinary response.
    Response(Box<Response<Body>>),
    /// These bytes as they are, under any HTTP and TLS, and then the end of the connection.
    Raw(Bytes),
    /// A TCP reset.
    Reset,
}

impl From<Response<Body>> for Answer {
    fn from(response: Response<Body>) -> Self {
        Self::Response(Box::new(response))
    }
}

/// Who answers the requests of a host.
pub(super) trait Respond: Send + Sync + 'static {
    /// Answers one request.
    fn respond(self: Arc<Self>, request: Request<Incoming>) -> impl Future<Output = Answer> + Send;
}

/// A bound socket that nobody serves yet: its address is known before who answers is made.
pub(super) struct Socket {
    listener: TcpListener,
    address: SocketAddr,
}

impl Socket {
    pub(super) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A served socket. Dropping it closes the listener and every connection.
pub(super) struct Host<R> {
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    responder: Arc<R>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl<R: Respond> Host<R> {
    pub(super) fn serve(socket: Socket, tls: Option<Arc<ServerConfig>>, responder: Arc<R>) -> Self {
        let accepting = tokio::spawn(accept(socket.listener, tls.clone(), Arc::clone(&responder)));
        Self { address: socket.address, tls, responder, accepting: Mutex::new(Some(accepting)) }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener and every connection: from now on callers are refused.
    pub(super) async fn stop_listening(&self) {
        let accepting = lock(&self.accepting).take();
        if let Some(accepting) = accepting {
            accepting.abort();
            // Only when the task is gone is its socket closed.
            _ = accepting.await;
        }
    }

    /// Listens again, on the same port.
    pub(super) async fn listen_again(&self) -> io::Result<()> {
        self.stop_listening().await;
        let listener = TcpListener::bind(self.address).await?;
        let accepting = tokio::spawn(accept(listener, self.tls.clone(), Arc::clone(&self.responder)));
        *lock(&self.accepting) = Some(accepting);
        Ok(())
    }
}

impl<R> Drop for Host<R> {
    fn drop(&mut self) {
        if let Some(accepting) = lock(&self.accepting).take() {
            accepting.abort();
        }
    }
}

async fn accept<R: Respond>(listener: TcpListener, tls: Option<Arc<ServerConfig>>, responder: Arc<R>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, tls.clone(), Arc::clone(&responder)));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection<R: Respond>(stream: TcpStream, tls: Option<Arc<ServerConfig>>, responder: Arc<R>) {
    _ = stream.set_nodelay(true);
    let stream = Arc::new(stream);
    let (end, ending) = oneshot::channel();
    let end = Arc::new(Mutex::new(Some(end)));
    let socket = SharedStream(Arc::clone(&stream));
    let serving = async {
        match tls {
            Some(config) => {
                let Ok(socket) = TlsAcceptor::from(config).accept(socket).await else { return };
                serve(socket, responder, end).await;
            }
            None => serve(socket, responder, end).await,
        }
    };
    // Whatever HTTP is in the middle of when an end is called, it is left in the middle of it.
    tokio::select! {
        () = serving => {}
        Ok(last) = ending => last.play(&stream).await,
    }
}

async fn serve<R: Respond>(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    responder: Arc<R>,
    end: Arc<Mutex<Option<oneshot::Sender<LastAct>>>>,
) {
    let tasks = CancellationToken::new();
    let _stop_streams_with_the_connection = tasks.clone().drop_guard();
    let service = service_fn(|request| {
        let (responder, end) = (Arc::clone(&responder), Arc::clone(&end));
        async move {
            let last = match responder.respond(request).await {
                Answer::Response(response) => return Ok::<_, Infallible>(*response),
                Answer::Raw(bytes) => LastAct::Raw(bytes),
                Answer::Reset => LastAct::Reset,
            };
            if let Some(end) = lock(&end).take() {
                _ = end.send(last);
            }
            std::future::pending().await
        }
    });
    let mut builder = auto::Builder::new(Streams(tasks));
    builder.http1().timer(TokioTimer::new()).max_headers(HEADERS_MAX);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(1 << 20);
    // How a connection ends is its peer's affair; there is nobody here to tell.
    _ = builder.serve_connection(TokioIo::new(socket), service).await;
}

/// What a connection does last, beneath HTTP.
enum LastAct {
    Raw(Bytes),
    Reset,
}

impl LastAct {
    async fn play(self, stream: &TcpStream) {
        match self {
            Self::Reset => {
                // A socket that does not linger says RST when it closes.
                _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            }
            Self::Raw(mut bytes) => {
                while !bytes.is_empty() && stream.writable().await.is_ok() {
                    match stream.try_write(&bytes) {
                        Ok(written) => _ = bytes.split_to(written),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(_) => return,
                    }
                }
                _ = SockRef::from(stream).shutdown(Shutdown::Write);
            }
        }
    }
}

/// Runs the streams of one HTTP/2 connection, and ends them with it: a hung answer must not outlive its
/// caller.
#[derive(Clone)]
struct Streams(CancellationToken);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let ended = self.0.clone();
        tokio::spawn(async move { ended.run_until_cancelled(stream).await.map(drop) });
    }
}

/// A stream that leaves us a hand on the socket while hyper owns the other.
struct SharedStream(Arc<TcpStream>);

impl AsyncRead for SharedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buf.initialize_unfilled()) {
                Ok(read) => {
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for SharedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.0).shutdown(Shutdown::Write))
    }
}
