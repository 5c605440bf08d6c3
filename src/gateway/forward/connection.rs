//! One connection to a connector, and the answer that comes on it.
//!
//! Over HTTP/1 it belongs to the call that uses it. Over HTTP/2 many calls share one, and it has a task of its own.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

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

use super::http1::{Http1, Http1Error, Receiving};
use super::pool::Pool;
use super::sockets::{Placed, SocketPlace};
use super::{PING_INTERVAL, PING_TIMEOUT};
use crate::gateway::upload::UploadBody;

/// What connections are made of.
pub type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// How long the rest of a request is sent that has been answered already. Nobody waits for it, and meanwhile it takes a socket, and its agent's
/// other uploads over HTTP/2 have less of their window.
const REST_TIME_MAX: Duration = Duration::from_secs(30);

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
    /// The value of the `Host` field.
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
                    return Err(Unanswered { unsent: Some(request), error: Http1Error::Stale.into() });
                }
                let response = connection.send(request, &origin.host).await;
                let response = response.map_err(|error| Unanswered { unsent: None, error: error.into() })?;
                Ok(response.map(|receiving| ConnectorStream::of(receiving, Arc::clone(pool))))
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
    /// A connection over HTTP/1.
    Lent(Lent),
    /// Such a connection that a task has, since the request is still being sent.
    Relayed(Relayed),
    /// A connection over HTTP/2.
    Shared(Incoming),
    /// Nowhere: all of it has been read.
    Over,
    /// Nowhere: it has broken off, and nobody may take it for whole.
    Broken,
}

/// A connection that a call has for as long as its answer is read.
struct Lent {
    receiving: Receiving,
    pool: Arc<Pool>,
}

impl ConnectorStream {
    /// That of an answer over HTTP/1, whose connection goes back to `pool`. Where the connector has answered before it has all of the
    /// request, the rest is sent whether or not anybody reads the answer meanwhile.
    fn of(receiving: Receiving, pool: Arc<Pool>) -> Self {
        let mut stream = Self(match receiving.is_sending() {
            true => Source::Relayed(Relayed::of(receiving)),
            false => Source::Lent(Lent { receiving, pool }),
        });
        stream.end_if_over();
        stream
    }

    /// One that has been read.
    #[cfg(test)]
    pub fn over() -> Self {
        Self(Source::Over)
    }

    /// Once all of the answer has been read from the connection, others can have it.
    fn end_if_over(&mut self) {
        let is_over = match &self.0 {
            Source::Lent(lent) => lent.receiving.is_over(),
            Source::Relayed(relayed) => relayed.left == Some(0),
            Source::Shared(_) | Source::Over | Source::Broken => false,
        };
        if is_over
            && let Source::Lent(Lent { receiving, pool }) = std::mem::replace(&mut self.0, Source::Over)
            && let Some(connection) = receiving.into_connection()
        {
            pool.put(connection);
        }
    }
}

impl HttpBody for ConnectorStream {
    type Data = Bytes;
    type Error = ConnectionError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ConnectionError>>> {
        let frame = match &mut self.0 {
            Source::Lent(lent) => ready!(lent.receiving.poll_frame(cx)),
            Source::Relayed(relayed) => ready!(relayed.poll_frame(cx)),
            Source::Shared(body) => return Pin::new(body).poll_frame(cx).map_err(Into::into),
            Source::Over | Source::Broken => return Poll::Ready(None),
        };
        match &frame {
            Some(Err(_)) => self.0 = Source::Broken,
            Some(Ok(_)) | None => self.end_if_over(),
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Shared(body) => body.is_end_stream(),
            Source::Over => true,
            Source::Lent(_) | Source::Relayed(_) | Source::Broken => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Lent(lent) => lent.receiving.size_hint(),
            Source::Relayed(relayed) => relayed.left.map_or_else(SizeHint::default, SizeHint::with_exact),
            Source::Shared(body) => body.size_hint(),
            Source::Over => SizeHint::with_exact(0),
            Source::Broken => SizeHint::default(),
        }
    }
}

/// What a task hands on: a frame, or that there are no more.
type Handed = Option<Result<Frame<Bytes>, Http1Error>>;

/// An answer that a task reads, which sends the rest of the request as well.
struct Relayed {
    frames: mpsc::Receiver<Handed>,
    /// How many bytes are still to come, where that is known.
    left: Option<u64>,
}

impl Relayed {
    fn of(receiving: Receiving) -> Self {
        let (sender, frames) = mpsc::channel(1);
        let left = receiving.size_hint().exact();
        tokio::spawn(relay(receiving, sender));
        Self { frames, left }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Handed> {
        // Without a last word, the task has broken off.
        let frame = ready!(self.frames.poll_recv(cx)).unwrap_or(Some(Err(Http1Error::Incomplete)));
        let bytes = frame.as_ref().map(|frame| match frame {
            Ok(frame) => frame.data_ref().map_or(0, Bytes::len) as u64,
            Err(_) => 0,
        });
        self.left = bytes.map_or(Some(0), |bytes| self.left.map(|left| left.saturating_sub(bytes)));
        Poll::Ready(frame)
    }
}

/// Hands an answer on while the rest of the request is sent. The connection is not used again: the connector may take the rest for
/// another request.
async fn relay(mut receiving: Receiving, frames: mpsc::Sender<Handed>) {
    tokio::select! {
        () = hand_on(&mut receiving, &frames) => {}
        () = frames.closed() => {}
    }
    // Whoever hangs up on an answer wants nothing more. Who has all of it may have more to say, and would not hear the answer over a
    // connection that is closed meanwhile.
    if receiving.is_over() {
        let rest = std::future::poll_fn(|cx| receiving.poll_send(cx));
        // That all of it could be sent makes no difference to anybody.
        let _ = tokio::time::timeout(REST_TIME_MAX, rest).await;
    }
}

/// Reads an answer as fast as somebody takes it.
async fn hand_on(receiving: &mut Receiving, frames: &mpsc::Sender<Handed>) {
    loop {
        let mut room = std::pin::pin!(frames.reserve());
        let room = std::future::poll_fn(|cx| {
            // The request goes on meanwhile.
            let _ = receiving.poll_send(cx);
            room.as_mut().poll(cx)
        });
        let Ok(room) = room.await else { return };
        let frame = std::future::poll_fn(|cx| receiving.poll_frame(cx)).await;
        let is_last = !matches!(frame, Some(Ok(_)));
        room.send(frame);
        if is_last {
            return;
        }
    }
}
