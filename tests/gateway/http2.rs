//! HTTP/2, where requests share a connection and a body may end in ways of its own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use obo_gateway::demo::certificates::DevelopmentCertificates;
use obo_gateway::demo::mail::{MailConnector, MailSettings};
use reqwest::Method;

use crate::bed::{ANYTHING, Setup, TestBed};

/// An agent that speaks nothing else.
pub fn client(window: Option<u32>) -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().http2_prior_knowledge();
    let builder = match window {
        Some(window) => builder.http2_initial_stream_window_size(window),
        None => builder,
    };
    builder.build().expect("a client")
}

#[tokio::test]
async fn refusals_that_nobody_reads_hold_nothing() {
    let bed = TestBed::start().await;
    let client = client(Some(0));
    let mut unread = Vec::new();
    for _ in 0..50 {
        unread.push(client.get(bed.url("/mail/me/messages")).send().await.expect("a head"));
    }
    assert_eq!(bed.outcomes(50).await, ["no_credentials"; 50]);
    assert_eq!(bed.metric("obo_gateway_calls_in_progress").await, Some(0.0));
}

#[tokio::test]
async fn calls_that_outlast_the_drain_are_all_recorded_before_it_ends() {
    let bed = Setup::default().tools(ANYTHING).start().await;
    let (client, token) = (client(None), bed.token("ada"));
    let mut held = Vec::new();
    for _ in 0..100 {
        let events = client.get(bed.url("/mail/events?count=10000&every_ms=100")).bearer_auth(&token);
        held.push(events.send().await.expect("a head"));
    }
    bed.gateway.drain().await;
    let trail = std::fs::read_to_string(bed.audit_path()).expect("a trail");
    assert_eq!(trail.matches(r#""outcome":"gateway_stopped""#).count(), 100);
}

#[tokio::test]
async fn a_refusal_of_head_is_a_head_alone() {
    let bed = TestBed::start().await;
    let reply = client(None).head(bed.url("/mail/me/messages")).send().await.expect("a head");
    assert_eq!(reply.status(), 401);
    assert!(reply.headers()["content-length"] != "0");
    assert!(reply.bytes().await.expect("the stream ends well").is_empty());
}

/// A connector over HTTP/2 that says with a frame of its own, and a moment later, that a body is over.
async fn hesitant_connector(tls: Arc<rustls::ServerConfig>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    let acceptor = tokio_rustls::TlsAcceptor::from(tls);
    let answer = |request: http::Request<hyper::body::Incoming>| async move {
        let without_body = request.uri().path().ends_with("/304") || request.method() == Method::HEAD;
        let piece = (!without_body).then(|| Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"hello"))));
        let end = stream::once(tokio::time::sleep(Duration::from_millis(50))).filter_map(async |()| None);
        let status = if request.uri().path().ends_with("/304") { 304 } else { 200 };
        let response = http::Response::builder().status(status).header("content-length", 5);
        Ok::<_, Infallible>(
            response.body(StreamBody::new(stream::iter(piece).chain(end))).expect("an answer"),
        )
    };
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.expect("a handshake");
                let executor = hyper_util::rt::TokioExecutor::new();
                let io = hyper_util::rt::TokioIo::new(stream);
                let service = hyper::service::service_fn(answer);
                // The gateway may leave first.
                let _ =
                    hyper::server::conn::http2::Builder::new(executor).serve_connection(io, service).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn an_answer_is_whole_when_its_last_byte_has_been_handed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificates = DevelopmentCertificates::ensure(folder.path()).expect("certificates");
    let address = hesitant_connector(certificates.server_config().expect("a server configuration")).await;
    let authority = certificates.authority_path;
    let bed = Setup::default()
        .config(move |parts| {
            let upstream =
                format!("https://localhost:{}\n    ca_file: {}", address.port(), authority.display());
            parts
                .whole(&parts.issuer(), &parts.mail(ANYTHING))
                .replace(&parts.connector.base_url(), &upstream)
        })
        .start()
        .await;
    let token = bed.token("ada");
    assert_eq!(bed.get("/mail/x", &token).await.bytes().await.expect("a body"), "hello");
    let head = bed.request(Method::HEAD, "/mail/x").bearer_auth(&token).send().await.expect("a head");
    assert_eq!(head.status(), 200);
    assert_eq!(bed.get("/mail/304", &token).await.status(), 304);
    assert_eq!(bed.outcomes(3).await, ["answered"; 3]);
}

#[tokio::test]
async fn trailers_of_the_agent_do_not_reach_a_connector_over_http2() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificates = DevelopmentCertificates::ensure(folder.path()).expect("certificates");
    let tls = certificates.server_config().expect("a server configuration");
    let authority = certificates.authority_path;
    let server = obo_gateway::demo::authorization_server::AuthorizationServer::start(Default::default());
    let server = server.await.expect("an authorization server");
    let connector = MailConnector::start(MailSettings { tls: Some(tls), ..MailSettings::trusting(&server) });
    let connector = connector.await.expect("a connector");
    let upstream = format!("{}\n    ca_file: {}", connector.base_url(), authority.display());
    let bed = Setup::default()
        .config(move |parts| {
            parts
                .whole(&parts.issuer(), &parts.mail(ANYTHING))
                .replace(&parts.connector.base_url(), &upstream)
        })
        .start()
        .await;
    let trailers = http::HeaderMap::from_iter([(
        http::HeaderName::from_static("x-agent"),
        "canary".parse().expect("a value"),
    )]);
    let frames =
        [Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"abc"))), Ok(Frame::trailers(trailers))];
    let body = reqwest::Body::wrap(StreamBody::new(stream::iter(frames)));
    let upload = client(None).post(bed.url("/mail/upload")).bearer_auth(bed.token("ada")).body(body);
    upload.send().await.expect("an answer");
    let received = connector.only_request();
    assert_eq!(received.body_bytes, 3);
    assert!(received.trailers.is_none() && !received.contains("canary"), "{received:?}");
}
