//! A connection, as a connector sees it that says what it wants.

use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper_rustls::MaybeHttpsStream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::gateway::forward::connection::{Connection, ConnectorStream, Origin};
use crate::gateway::forward::{ConnectorSockets, pool::Pool};

/// A connection, and the other end of it.
async fn connection() -> (Http1, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
    let place = ConnectorSockets::new(1).acquire().await;
    let stream = MaybeHttpsStream::Http(TokioIo::new(ours.expect("connected")));
    (Http1::new(Placed::new(stream, place)), theirs.expect("accepted").0)
}

fn request(method: Method, body: &'static str) -> Request<UploadBody> {
    let (body, _) = UploadBody::read(Bytes::from_static(body.as_bytes()));
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = "/me?a=b".parse().expect("a target");
    request
}

/// How long what has nothing to wait for may take.
const SOON: Duration = Duration::from_secs(20);
static HOST: HeaderValue = HeaderValue::from_static("connector:80");

/// What a connector reads until it has all of a request that ends so.
async fn heard(connector: &mut TcpStream, end: &str) -> String {
    let mut heard = Vec::new();
    while !heard.ends_with(end.as_bytes()) {
        assert_ne!(connector.read_buf(&mut heard).await.expect("a request"), 0, "{heard:?}");
    }
    String::from_utf8(heard).expect("text")
}

/// What comes of a request that is answered in such pieces, after which the connector closes the connection or leaves it open.
async fn answered(
    method: Method,
    pieces: &[&str],
    closes: bool,
) -> Result<(u16, String, Option<Http1>), Http1Error> {
    let (connection, mut connector) = connection().await;
    let answering = async {
        heard(&mut connector, "\r\n\r\n").await;
        for piece in pieces {
            connector.write_all(piece.as_bytes()).await.expect("they are read");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if closes { None } else { Some(connector) }
    };
    let asking = async {
        let response = connection.send(request(method, ""), &HOST).await?;
        let (head, mut receiving) = response.into_parts();
        let mut body = Vec::new();
        while let Some(frame) = std::future::poll_fn(|cx| receiving.poll_frame(cx)).await.transpose()? {
            body.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
        Ok((head.status.as_u16(), String::from_utf8(body).expect("text"), receiving.into_connection()))
    };
    let (answer, _open) = tokio::join!(asking, answering);
    answer
}

#[tokio::test]
async fn host_and_framing_are_ours_and_other_fields_keep_their_order() {
    for (method, body, fields, expected) in [
        (Method::GET, "", "", ""),
        (Method::POST, "", "content-length: 0\r\n", ""),
        (Method::PUT, "hello", "content-length: 5\r\n", "hello"),
        (Method::DELETE, "hello", "content-length: 5\r\n", "hello"),
    ] {
        let (connection, mut connector) = connection().await;
        let mut request = request(method.clone(), body);
        for (name, value) in
            [("x-a", "1"), ("host", "elsewhere"), ("x-a", "2"), ("transfer-encoding", "chunked")]
        {
            request.headers_mut().append(name, HeaderValue::from_static(value));
        }
        let expected = format!(
            "{method} /me?a=b HTTP/1.1\r\nhost: connector:80\r\n{fields}x-a: 1\r\nx-a: 2\r\n\r\n{expected}"
        );
        let asking = connection.send(request, &HOST);
        let hearing = heard(&mut connector, &expected[expected.len() - 5..]);
        let heard = tokio::select! {
            _ = asking => panic!("nobody answered"),
            heard = hearing => heard,
        };
        assert_eq!(heard, expected);
    }
}

#[tokio::test]
async fn a_length_that_the_agent_gave_is_not_believed_over_the_body() {
    let (connection, mut connector) = connection().await;
    let mut request = request(Method::GET, "");
    request.headers_mut().insert("content-length", HeaderValue::from_static("7"));
    let heard = tokio::select! {
        _ = connection.send(request, &HOST) => panic!("nobody answered"),
        heard = heard(&mut connector, "\r\n\r\n") => heard,
    };
    assert!(!heard.contains("content-length"), "{heard}");
}

#[tokio::test]
async fn a_connection_is_used_again_when_all_has_been_said_and_no_more() {
    let length = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let until_close = "HTTP/1.1 200 OK\r\n\r\nhello";
    for (pieces, closes, is_reused) in [
        (&[length] as &[&str], false, true),
        (&[chunked], false, true),
        (&["HTTP/1.1 100 Continue\r\n\r\n", length], false, true),
        (
            &["HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"],
            false,
            true,
        ),
        (&["HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"], false, false),
        (&["HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello"], false, false),
        (&["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n"], false, false),
        (&["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nX"], false, false),
        (&[until_close], true, false),
    ] {
        let (status, body, connection) = answered(Method::GET, pieces, closes).await.expect("an answer");
        assert_eq!((status, &*body, connection.is_some()), (200, "hello", is_reused), "{pieces:?}");
    }
    // What should have no body, and has one.
    let (status, body, connection) = answered(Method::HEAD, &[length], false).await.expect("an answer");
    assert_eq!((status, &*body, connection.is_some()), (200, "", false));
    // What is no HTTP any more.
    let upgrade = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n";
    let (status, _, connection) = answered(Method::GET, &[upgrade], false).await.expect("an answer");
    assert_eq!((status, connection.is_some()), (101, false));
}

#[tokio::test]
async fn the_next_request_on_a_connection_gets_its_own_answer() {
    let (mut connection, mut connector) = connection().await;
    for word in ["first", "other"] {
        let (response, ()) = tokio::join!(connection.send(request(Method::GET, ""), &HOST), async {
            heard(&mut connector, "\r\n\r\n").await;
            let answer =
                format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{word}\r\n0\r\n\r\n");
            connector.write_all(answer.as_bytes()).await.expect("sent");
        });
        let mut receiving = response.expect("an answer").into_body();
        let frame =
            std::future::poll_fn(|cx| receiving.poll_frame(cx)).await.expect("a frame").expect("no error");
        assert_eq!(frame.into_data().expect("data"), word);
        connection = receiving.into_connection().expect("all has been said");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_none() {
    for pieces in [
        &["HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello"] as &[&str],
        &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"],
    ] {
        let broken = answered(Method::GET, pieces, true).await.map(drop);
        assert!(matches!(broken, Err(Http1Error::Incomplete)), "{broken:?}");
    }
    for pieces in [&[] as &[&str], &["HTTP/1.1 200 OK\r\ncontent-"], &["HTTP/1.1 100 Continue\r\n\r\n"]] {
        let broken = answered(Method::GET, pieces, true).await.map(drop);
        assert!(matches!(broken, Err(Http1Error::Closed)), "{broken:?}");
    }
}

#[tokio::test]
async fn interim_answers_are_bounded() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    let then = |count: usize| [interim.repeat(count), "HTTP/1.1 204 None\r\n\r\n".to_owned()].concat();
    let (status, _, _) = answered(Method::GET, &[&then(INTERIM_MAX)], false).await.expect("an answer");
    assert_eq!(status, 204);
    let broken = answered(Method::GET, &[&then(INTERIM_MAX + 1)], false).await.map(drop);
    assert!(matches!(broken, Err(Http1Error::TooManyInterim)), "{broken:?}");
}

#[tokio::test]
async fn a_connection_is_not_usable_once_the_connector_has_said_something_or_gone() {
    let (mut idle, mut connector) = connection().await;
    assert!(idle.is_usable());
    connector.write_all(b"HTTP/1.1 408 Too late\r\n\r\n").await.expect("sent");
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!idle.is_usable());

    let (mut idle, connector) = connection().await;
    assert!(idle.is_usable());
    drop(connector);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!idle.is_usable());
}

/// A request whose body is more than sockets hold, so that it cannot all be sent before somebody reads.
fn large_request() -> Request<UploadBody> {
    let (body, _) = UploadBody::read(Bytes::from(vec![b'x'; LARGE]));
    request(Method::POST, "").map(|_| body)
}
const LARGE: usize = 16 * 1_048_576;

/// Such a request, that a connector answers so before it has all of it.
async fn answered_early(answer: &str) -> (ConnectorStream, TcpStream, Arc<Pool>) {
    let (connection, mut connector) = connection().await;
    let pool = Pool::new(ConnectorSockets::new(1));
    let origin = Origin {
        scheme: Scheme::HTTP,
        authority: Authority::from_static("connector:80"),
        host: HOST.clone(),
    };
    let sending = Connection::Http1(connection).send(large_request(), &origin, &pool);
    let (response, ()) = tokio::join!(sending, async {
        connector.read_exact(&mut [0; 64]).await.expect("the beginning");
        connector.write_all(answer.as_bytes()).await.expect("sent");
    });
    let Ok(response) = response else { panic!("no answer") };
    (response.into_body(), connector, pool)
}

/// How much a connector reads until the other side closes.
async fn heard_to_the_end(connector: &mut TcpStream) -> usize {
    let (mut heard, mut piece) = (0, vec![0; 65_536]);
    let reading = async {
        while let Ok(bytes @ 1..) = connector.read(&mut piece).await {
            heard += bytes;
        }
    };
    tokio::time::timeout(SOON, reading).await.expect("the connection is closed");
    heard
}

#[tokio::test]
async fn an_early_answer_is_heard_while_the_rest_is_sent() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let (mut answer, mut connector, pool) = answered_early(head).await;
    let frame = answer.frame().await.expect("a frame").expect("no error");
    assert_eq!(frame.into_data().expect("data"), "hello");
    // Nobody reads the answer meanwhile.
    let (mut heard, mut piece) = (0, vec![0; 65_536]);
    while heard < LARGE {
        let bytes = tokio::time::timeout(SOON, connector.read(&mut piece)).await.expect("it goes on");
        heard += bytes.expect("the request");
    }
    connector.write_all(b"6\r\n world\r\n0\r\nx-sum: 11\r\n\r\n").await.expect("sent");
    let rest = answer.collect().await.expect("the rest");
    assert_eq!(rest.trailers().expect("trailers")["x-sum"], "11");
    assert_eq!(rest.to_bytes(), " world");
    // The connector may have taken the rest for another request.
    heard_to_the_end(&mut connector).await;
    assert!(pool.take().is_none(), "it is used again");
}

#[tokio::test]
async fn the_rest_is_sent_when_an_early_answer_has_been_read() {
    let (mut answer, mut connector, _) =
        answered_early("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    let frame = answer.frame().await.expect("a frame").expect("no error");
    assert_eq!(frame.into_data().expect("data"), "hello");
    assert!(answer.is_end_stream());
    drop(answer);
    assert!(heard_to_the_end(&mut connector).await > LARGE - 64, "the request was cut");
}

#[tokio::test]
async fn who_hangs_up_on_an_early_answer_takes_the_connection_along() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello";
    let (mut answer, mut connector, _) = answered_early(head).await;
    answer.frame().await.expect("a frame").expect("no error");
    // By now the task waits for more, and nothing comes.
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(answer);
    assert!(heard_to_the_end(&mut connector).await < LARGE, "all of it was sent");
}

#[tokio::test]
async fn a_body_that_breaks_off_does_not_look_whole() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n",
    ] {
        let (mut body, connector, _) = answered_early(answer).await;
        drop(connector);
        body.frame().await.expect("an error").map(drop).expect_err("an error");
        assert!(!body.is_end_stream() && body.size_hint().exact().is_none(), "{answer}");
    }
}

#[tokio::test]
async fn a_connection_is_not_used_again_when_something_is_left_of_a_call() {
    let whole = "HTTP/1.1 413 Too much\r\ncontent-length: 5\r\n\r\nhello";
    // Of the request.
    let (connection, mut connector) = connection().await;
    let (response, ()) = tokio::join!(connection.send(large_request(), &HOST), async {
        connector.read_exact(&mut [0; 64]).await.expect("the beginning");
        connector.write_all(whole.as_bytes()).await.expect("sent");
    });
    let mut receiving = response.expect("an early answer").into_body();
    assert!(receiving.is_sending());
    std::future::poll_fn(|cx| receiving.poll_frame(cx)).await.expect("a frame").expect("no error");
    // Even when it has been sent by now: the connector may have taken it for another request.
    let rest = std::future::poll_fn(|cx| receiving.poll_send(cx));
    tokio::join!(rest, async {
        let (mut heard, mut piece) = (64, vec![0; 65_536]);
        while heard < LARGE {
            heard += connector.read(&mut piece).await.expect("the request");
        }
    });
    assert!(!receiving.is_sending() && receiving.is_over());
    assert!(receiving.into_connection().is_none());
    // Of the request, which cannot be sent any more; and of the answer.
    for (request, answer) in
        [(large_request(), whole), (request(Method::GET, ""), "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")]
    {
        let (connection, mut connector) = self::connection().await;
        let (response, ()) = tokio::join!(connection.send(request, &HOST), async {
            connector.read_exact(&mut [0; 32]).await.expect("the beginning");
            connector.write_all(answer.as_bytes()).await.expect("sent");
        });
        let mut receiving = response.expect("an answer").into_body();
        drop(connector);
        // Written into a connection that is closed, it comes to its end soon.
        let sent = std::future::poll_fn(|cx| receiving.poll_send(cx));
        tokio::time::timeout(SOON, sent).await.expect("nothing more can be sent");
        assert!(receiving.into_connection().is_none(), "{answer}");
    }
}

#[tokio::test]
async fn who_refuses_a_request_and_closes_is_heard() {
    let (connection, mut connector) = connection().await;
    let (response, ()) = tokio::join!(connection.send(large_request(), &HOST), async {
        connector.read_exact(&mut [0; 64]).await.expect("the beginning");
        let answer = "HTTP/1.1 413 Too much\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
        connector.write_all(answer.as_bytes()).await.expect("sent");
        connector.shutdown().await.expect("no more");
    });
    let (head, mut receiving) = response.expect("an early answer").into_parts();
    assert_eq!(head.status, 413);
    let frame =
        std::future::poll_fn(|cx| receiving.poll_frame(cx)).await.expect("a frame").expect("no error");
    assert_eq!(frame.into_data().expect("data"), "hello");
    assert!(receiving.into_connection().is_none());
}
