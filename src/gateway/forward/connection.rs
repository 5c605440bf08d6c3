//! One connection to a connector, and the answer that comes on it.
//!
//! Over HTTP/1 it belongs to the call that uses it. Over HTTP/2 many calls share one, and it has a task of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, Parts, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

use super::http1::{Http1, Http1Error, Receiving};
use super::pool::Pool;
use super::sockets::{Placed, SocketPlace};
use super::{PING_INTERVAL, PING_TIMEOUT};
use crate::gateway::upload::UploadBody;

/// What connections are made of.
pub type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// A connection that a request can be sent on.
pub enum Connection {
    /// HTTP/1.1: nobody else's meanwhile.
    Http1(Http1),
    /// HTTP/2: shared.
    Http2(http2::SendRequest<UploadBody>),
}

/// Where a connector is, as requests say it.
pub struct Origin {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: Authority,
    /// The same, as HTTP/1 has it.
    pub host: HeaderValue,
}

/// Why an answer did not come, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// Over HTTP/1.
    #[error(transparent)]
    Http1(#[from] Http1Error),
    /// Over HTTP/2.
    #[error(transparent)]
    Http2(#[from] hyper::Error),
}

/// A request that got no answer.
pub struct Unanswered {
    /// The request, when nothing of it was sent.
    pub unsent: Option<Request<UploadBody>>,
    /// Why.
    pub error: ConnectionError,
}

impl Connection {
    /// Speaks HTTP on a stream that has its place: the version that both sides agreed on.
    pub async fn open(stream: Stream, place: SocketPlace) -> hyper::Result<Self> {
        let is_http2 = stream.connected().is_negotiated_h2();
        let stream = Placed::new(stream, place);
        if !is_http2 {
            return Ok(Self::Http1(Http1::new(stream)));
        }
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .handshake(stream)
            .await?;
        // How it ends, each of its calls hears.
        tokio::spawn(async move { _ = driver.await });
        Ok(Self::Http2(sender))
    }

    /// Sends a request to `origin` and waits for the head of the answer. Once that has been read to its end, the connection goes back to
    /// `pool`, if it can be used again.
    ///
    /// # Errors
    ///
    /// [`Unanswered`] when there is no answer.
    pub async fn send(
        self,
        request: Request<UploadBody>,
        origin: &Origin,
        pool: &Arc<Pool>,
    ) -> Result<Response<ConnectorStream>, Unanswered> {
        match self {
            Self::Http1(mut connection) => {
                // It may have been closed meanwhile, and nobody has looked.
                if !connection.is_usable() {
                    return Err(Unanswered { unsent: Some(request), error: Http1Error::Closed.into() });
                }
                let response = connection.send(request, &origin.host).await;
                let response = response.map_err(|error| Unanswered { unsent: None, error: error.into() })?;
                Ok(response.map(|receiving| ConnectorStream::lent(receiving, Arc::clone(pool))))
            }
            Self::Http2(mut sender) => {
                let response = sender.try_send_request(origin.address(request)).await;
                let response = response.map_err(|mut error| Unanswered {
                    unsent: error.take_message(),
                    error: error.into_error().into(),
                })?;
                Ok(response.map(|body| ConnectorStream(Source::Shared(body))))
            }
        }
    }
}

impl Origin {
    /// Says where a request goes in the way of HTTP/2, which has it all in the target (RFC 9113 section 8.3.1).
    fn address(&self, mut request: Request<UploadBody>) -> Request<UploadBody> {
        let mut parts = Parts::default();
        parts.path_and_query = request.uri().path_and_query().cloned();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        *request.uri_mut() =
            Uri::from_parts(parts).expect("with a scheme comes an authority, and a path is there");
        request.headers_mut().remove(HOST);
        request
    }
}

/// The body of a connector's answer. Dropped before its end, it takes the connection with it: nobody else gets one with bytes left
/// in it.
pub struct ConnectorStream(Source);

/// Where it is read from.
enum Source {
    /// A connection over HTTP/1; `None` once it is over.
    Lent(Option<Lent>),
    /// Such a connection that a task has, since the request is still being sent.
    Relayed(Relayed),
    /// A connection over HTTP/2.
    Shared(Incoming),
}

/// A connection that a call has for as long as its answer is read.
struct Lent {
    receiving: Receiving,
    pool: Arc<Pool>,
}

impl Lent {
    fn give_back(self) {
        if let Some(connection) = self.receiving.into_connection() {
            self.pool.put(connection);
        }
    }
}

impl ConnectorStream {
    /// That of an answer over HTTP/1, whose connection goes back to `pool`.
    pub fn lent(receiving: Receiving, pool: Arc<Pool>) -> Self {
        let mut lent = Some(Lent { receiving, pool });
        give_back_if_over(&mut lent);
        Self(Source::Lent(lent))
    }

    /// Has the rest of the request sent whether or not anybody reads the answer meanwhile, for a connector that answers before it has all
    /// of it.
    pub fn while_request_goes_on(self) -> Self {
        match self.0 {
            Source::Lent(Some(lent)) => Self(Source::Relayed(Relayed::from(lent))),
            source => Self(source),
        }
    }
}

/// All of the answer has been read from the connection: others can have it.
fn give_back_if_over(lent: &mut Option<Lent>) {
    lent.take_if(|lent| lent.receiving.is_over()).into_iter().for_each(Lent::give_back);
}

impl HttpBody for ConnectorStream {
    type Data = Bytes;
    type Error = ConnectionError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ConnectionError>>> {
        match &mut self.0 {
            Source::Lent(lent) => {
                let Some(Lent { receiving, .. }) = lent else { return Poll::Ready(None) };
                let frame = ready!(receiving.poll_frame(cx));
                give_back_if_over(lent);
                // What is not over by now breaks off.
                lent.take_if(|_| !matches!(frame, Some(Ok(_))));
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Source::Relayed(relayed) => {
                relayed.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            Source::Shared(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Lent(lent) => lent.is_none(),
            Source::Relayed(relayed) => relayed.left == Some(0),
            Source::Shared(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Lent(lent) => {
                lent.as_ref().map_or(SizeHint::with_exact(0), |lent| lent.receiving.size_hint())
            }
            Source::Relayed(relayed) => relayed.left.map_or_else(SizeHint::default, SizeHint::with_exact),
            Source::Shared(body) => body.size_hint(),
        }
    }
}

/// What a task hands on: a frame, or that there are no more.
type Handed = Result<Option<Frame<Bytes>>, Http1Error>;

/// An answer that a task reads, which sends the rest of the request as well.
struct Relayed {
    frames: mpsc::Receiver<Handed>,
    /// How many bytes are still to come, where that is known.
    left: Option<u64>,
}

impl From<Lent> for Relayed {
    fn from(mut lent: Lent) -> Self {
        let (sender, frames) = mpsc::channel(1);
        let left = lent.receiving.size_hint().exact();
        let mut sender = PollSender::new(sender);
        tokio::spawn(async move {
            std::future::poll_fn(|cx| {
                let is_sent = lent.receiving.poll_send(cx).is_ready();
                let is_read = hand_on(&mut lent.receiving, &mut sender, cx).is_ready();
                if is_sent && is_read { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            lent.give_back();
        });
        Self { frames, left }
    }
}

impl Relayed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Http1Error>>> {
        if self.left == Some(0) {
            return Poll::Ready(None);
        }
        // Without a last word, the task has broken off.
        let handed = ready!(self.frames.poll_recv(cx)).unwrap_or(Err(Http1Error::Cut));
        let frame = handed.transpose();
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.left = self.left.map(|left| left.saturating_sub(bytes));
            }
            Some(Err(_)) | None => self.left = Some(0),
        }
        Poll::Ready(frame)
    }
}

/// Reads what somebody takes. Ready at the end, or when nobody does.
fn hand_on(receiving: &mut Receiving, frames: &mut PollSender<Handed>, cx: &mut Context<'_>) -> Poll<()> {
    while ready!(frames.poll_reserve(cx)).is_ok() {
        let frame = ready!(receiving.poll_frame(cx)).transpose();
        let is_last = !matches!(frame, Ok(Some(_)));
        // Who has gone does not want it.
        let _ = frames.send_item(frame);
        if is_last {
            frames.close();
        }
    }
    Poll::Ready(())
}
