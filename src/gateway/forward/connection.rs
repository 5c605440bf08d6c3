//! One connection to a connector.
//!
//! Over HTTP/1 it is driven by the call that uses it, in the call's own task: nothing is handed to another task and back for a
//! request. Over HTTP/2 many calls share one, and it has a task of its own.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::unconstrained;

use super::pool::Pool;
use super::sockets::{Placed, SocketPlace};
use super::{PING_INTERVAL, PING_TIMEOUT};
use crate::gateway::upload::UploadBody;

/// What connections are made of.
pub type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// What reads and writes an HTTP/1.1 connection.
type Driver = Box<http1::Connection<Placed, UploadBody>>;

/// A connection that a request can be sent on.
pub enum Connection {
    /// HTTP/1.1: nobody else's meanwhile.
    Http1(Http1),
    /// HTTP/2: shared.
    Http2(http2::SendRequest<UploadBody>),
}

/// An HTTP/1.1 connection. It goes on only while somebody drives it.
pub struct Http1 {
    sender: http1::SendRequest<UploadBody>,
    /// `None`: it was closed.
    driver: Option<Driver>,
    /// Since when it has been there.
    pub made_at: Instant,
}

impl Connection {
    /// Speaks HTTP on a stream that has its place: the version that both sides agreed on.
    pub async fn open(stream: Stream, place: SocketPlace) -> hyper::Result<Self> {
        let is_http2 = stream.connected().is_negotiated_h2();
        let stream = Placed::new(stream, place);
        if is_http2 {
            let (sender, driver) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT)
                .handshake(stream)
                .await?;
            // How it ends, each of its calls hears.
            tokio::spawn(async move { _ = driver.await });
            return Ok(Self::Http2(sender));
        }
        let (sender, driver) = http1::handshake(stream).await?;
        Ok(Self::Http1(Http1 { sender, driver: Some(Box::new(driver)), made_at: Instant::now() }))
    }

    /// Sends a request and waits for the head of the answer. Once that has been read to its end, the connection goes back to `pool`,
    /// if it can be used again.
    ///
    /// # Errors
    ///
    /// Why there is no answer; with the request, when nothing of it was sent.
    pub async fn send(
        self,
        request: Request<UploadBody>,
        pool: &Arc<Pool>,
    ) -> Result<Response<ConnectorStream>, TrySendError<Request<UploadBody>>> {
        match self {
            Self::Http1(connection) => connection.send(request, pool).await,
            Self::Http2(mut sender) => {
                let response = sender.try_send_request(request).await?;
                Ok(response.map(|body| ConnectorStream { body, connection: None }))
            }
        }
    }
}

impl Http1 {
    async fn send(
        mut self,
        request: Request<UploadBody>,
        pool: &Arc<Pool>,
    ) -> Result<Response<ConnectorStream>, TrySendError<Request<UploadBody>>> {
        // Only the connection brings the answer, so to be woken for the answer as well would be once too often. Nor does the answer have a
        // budget of its own, by which it could have somebody wait.
        let mut answer = std::pin::pin!(unconstrained(self.sender.try_send_request(request)));
        let response = std::future::poll_fn(|cx| {
            poll_driven(&mut self.driver, cx, |unwoken| answer.as_mut().poll(unwoken))
        });
        let response = response.await?;
        let connection = self.driver.is_some().then(|| Lent { connection: self, pool: Arc::clone(pool) });
        Ok(response.map(|body| ConnectorStream::of(body, connection)))
    }

    /// Whether another request can be sent on it, as far as is known.
    pub fn is_usable(&mut self) -> bool {
        // It may have been closed meanwhile, and nobody has looked. A look is no work, whatever else the task has done before.
        let look = std::pin::pin!(unconstrained(std::future::poll_fn(|cx| {
            Poll::Ready(drive(&mut self.driver, cx) && self.sender.is_ready())
        })));
        look.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(true)
    }
}

/// What `poll` gives once the connection has been driven.
///
/// Whoever takes what a connection has brought wakes whoever has driven it, so that it brings more. That is the same task, which would run
/// once more for nothing. So the first drive leaves no waker; only where it has brought nothing is there another one with the task's.
fn poll_driven<T>(
    driver: &mut Option<Driver>,
    cx: &mut Context<'_>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    let mut unwoken = Context::from_waker(Waker::noop());
    drive(driver, &mut unwoken);
    if let Poll::Ready(brought) = poll(&mut unwoken) {
        return Poll::Ready(brought);
    }
    drive(driver, cx);
    poll(&mut unwoken)
}

/// Drives a connection. Returns whether it is still open. One that is not is dropped, by which it hands back what it has not sent.
fn drive(driver: &mut Option<Driver>, cx: &mut Context<'_>) -> bool {
    driver.take_if(|driver| Pin::new(driver).poll(cx).is_ready());
    driver.is_some()
}

/// A connection that a call has for as long as its answer is read.
struct Lent {
    connection: Http1,
    pool: Arc<Pool>,
}

impl Lent {
    fn give_back(mut self) {
        if self.connection.is_usable() {
            self.pool.put(self.connection);
        }
    }
}

/// The body of a connector's answer. Dropped before its end, it takes the connection with it: nobody else gets one with bytes left
/// in it.
pub struct ConnectorStream {
    body: Incoming,
    /// What brings it, over HTTP/1.
    connection: Option<Lent>,
}

impl ConnectorStream {
    fn of(body: Incoming, connection: Option<Lent>) -> Self {
        let mut stream = Self { body, connection };
        if stream.body.is_end_stream() {
            stream.give_back();
        }
        stream
    }

    /// Has the rest of the request sent whether or not anybody reads the answer meanwhile, for a connector that answers before it has all
    /// of it.
    pub fn while_request_goes_on(mut self) -> Self {
        if let Some(mut lent) = self.connection.take() {
            tokio::spawn(async move {
                std::future::poll_fn(|cx| {
                    let Http1 { sender, driver, .. } = &mut lent.connection;
                    let is_under_way = drive(driver, cx) && !sender.is_ready();
                    if is_under_way { Poll::Pending } else { Poll::Ready(()) }
                })
                .await;
                lent.give_back();
            });
        }
        self
    }

    /// All of the answer has been read from the connection: others can have it.
    fn give_back(&mut self) {
        self.connection.take().into_iter().for_each(Lent::give_back);
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Some(Lent { connection, .. }) = &mut self.connection else {
            return Pin::new(&mut self.body).poll_frame(cx);
        };
        let mut unwoken = Context::from_waker(Waker::noop());
        // What is there already first: the connection is asked for more only when that is used up.
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(&mut unwoken) {
            return Poll::Ready(frame);
        }
        let body = &mut self.body;
        let polled =
            poll_driven(&mut connection.driver, cx, |unwoken| Pin::new(&mut *body).poll_frame(unwoken));
        self.connection.take_if(|lent| lent.connection.driver.is_none());
        polled
    }
}

impl HttpBody for ConnectorStream {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(self.poll_body(cx));
        // One of unknown length is over with its trailers, or when there is nothing more.
        let is_last = frame.as_ref().is_none_or(|frame| frame.as_ref().is_ok_and(Frame::is_trailers));
        if is_last || self.body.is_end_stream() {
            self.give_back();
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
