//! The admin endpoints: is it alive, is it ready, what does it measure, what does it serve, and forget someone. On a
//! listener of their own, loopback by default.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt as _};

use super::activity::Activity;
use super::bounds::ConnectionBounds;
use super::connection_limit::ConnectionLimit;
use super::deadlines::Deadlines;
use super::{Door, ServerState, forget};
use crate::audit::Receipt;
use crate::metrics::Metrics;
use crate::tool::ConnectorName;

/// Most requests answered at a time; more are turned away rather than queued. Some probes and a scraper or two call.
const REQUESTS_MAX: usize = 32;
/// Most connections at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// Longest time for one answer: more than the vault's disk is waited for when somebody is forgotten.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);
/// Longest time for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The text format of Prometheus.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves the admin endpoints for ever.
pub async fn serve(listener: TcpListener, state: Arc<ServerState>) {
    let metrics = Arc::clone(&state.metrics);
    let guarded = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let service =
        ServiceBuilder::new().load_shed().concurrency_limit(REQUESTS_MAX).timeout(ANSWER_TIMEOUT).service_fn(
            move |(request, peer): (Request<Incoming>, SocketAddr)| {
                let state = Arc::clone(&state);
                async move {
                    let (answer, receipt) = answer(&request, peer, &state, guarded).await;
                    Ok::<_, Infallible>(receipt.await.map_or_else(|_| forget::unrecorded(), |()| answer))
                }
            },
        );
    let mut door = Door::new(listener, Arc::new(ConnectionLimit::new(CONNECTIONS_MAX)), &metrics);
    loop {
        let Some((stream, peer, permit)) = door.accept().await else { continue };
        let service = TowerToHyperService::new(service.clone().map_request(move |request| (request, peer)));
        tokio::spawn(async move {
            // HTTP/1 has deadlines for whoever says nothing; nobody needs more here. Its own is that of heads as well, so for
            // `Deadlines` there is always something under way.
            let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
            builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            let activity = Activity::new();
            let _busy = activity.begin();
            let stream = Deadlines::new(stream, ConnectionBounds::DEFAULT, activity);
            // A scraper that leaves early is no news.
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            drop(permit);
        });
    }
}

/// The answer, to be given once the record is safe that comes beside it, where there is one.
async fn answer(
    request: &Request<Incoming>,
    peer: SocketAddr,
    state: &ServerState,
    guarded: bool,
) -> (Response<Full<Bytes>>, Receipt) {
    if guarded && !names_loopback(request.uri(), request.headers()) {
        // A page in a browser could otherwise reach this port under a name of its own (DNS rebinding).
        let refusal =
            text(StatusCode::MISDIRECTED_REQUEST, "call the admin endpoints by a loopback address\n");
        return (refusal, Receipt::none());
    }
    let allowed = matches!(*request.method(), Method::GET | Method::HEAD);
    let answer = match request.uri().path() {
        "/healthz" | "/readyz" | "/metrics" | "/connectors" | "/audit/checkpoint" if !allowed => {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => ready(state),
        "/metrics" => metrics(&state.metrics),
        "/connectors" => {
            forget::turned_away(request.headers(), peer, state).unwrap_or_else(|| connectors(state))
        }
        "/audit/checkpoint" => checkpoint(state),
        "/forget" => return forget::answer(request, peer, state).await,
        _ => text(
            StatusCode::NOT_FOUND,
            "not found; there are /healthz, /readyz, /metrics, /connectors, /audit/checkpoint and /forget\n",
        ),
    };
    (answer, Receipt::none())
}

/// What `/readyz` says.
#[derive(Serialize)]
struct Readiness<'a> {
    ready: bool,
    draining: bool,
    audit_writable: bool,
    /// Whether the keys of each issuer are known.
    issuers: BTreeMap<&'a str, bool>,
    /// The connectors that are left alone for a moment. They are no reason to send agents elsewhere.
    open_circuits: Vec<&'a str>,
}

/// Ready: not stopping, able to record, and with keys of at least one issuer. One issuer that is down must not take
/// the others' people down with it, and neither must a connector.
fn ready(state: &ServerState) -> Response<Full<Bytes>> {
    let gateway = state.gateway();
    let mut issuers = BTreeMap::new();
    for (name, ready) in gateway.issuers() {
        *issuers.entry(name.as_str()).or_insert(true) &= ready;
    }
    let (draining, audit_writable) = (state.is_draining(), gateway.audit().is_writable());
    let ready = !draining && audit_writable && issuers.values().any(|ready| *ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let open_circuits = gateway.open_circuits().into_iter().map(ConnectorName::as_str).collect();
    let readiness = Readiness { ready, draining, audit_writable, issuers, open_circuits };
    // Texts and booleans only: writing them into memory does not fail.
    let body = serde_json::to_vec(&readiness).unwrap_or_default();
    response(status, "application/json", body)
}

/// What the configuration that serves now can do, and for whom.
fn connectors(state: &ServerState) -> Response<Full<Bytes>> {
    // Texts, numbers and booleans only: writing them into memory does not fail.
    let body = serde_json::to_vec(state.gateway().catalog()).unwrap_or_default();
    response(StatusCode::OK, "application/json", body)
}

/// How far the audit trail has come, as a signed note. It says nothing of what is in it, so it is for everybody to keep.
fn checkpoint(state: &ServerState) -> Response<Full<Bytes>> {
    match state.gateway().audit().checkpoint() {
        Some(note) => response(StatusCode::OK, "text/plain; charset=utf-8", (*note).clone()),
        None => text(
            StatusCode::NOT_FOUND,
            "there is no checkpoint: nothing has been signed yet, or `audit.checkpoints` names no key\n",
        ),
    }
}

fn metrics(metrics: &Metrics) -> Response<Full<Bytes>> {
    match metrics.render() {
        Ok(body) => response(StatusCode::OK, METRICS_TYPE, body),
        Err(error) => {
            tracing::error!(%error, "Metrics cannot be rendered");
            text(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be rendered\n")
        }
    }
}

pub(super) fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", body)
}

pub(super) fn response(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Whether a request calls this port by `localhost` or a loopback address, not by some other name.
fn names_loopback(uri: &Uri, headers: &HeaderMap) -> bool {
    let named = match uri.authority() {
        Some(authority) => Some(authority.clone()),
        None => headers.get(HOST).and_then(|host| host.to_str().ok()).and_then(|host| host.parse().ok()),
    };
    named.is_some_and(|authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, expected: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().expect("a host of the test"));
        assert_eq!(names_loopback(&Uri::from_static("/metrics"), &headers), expected, "{host}");
    }

    #[test]
    fn only_loopback_names_reach_a_loopback_port() {
        check("localhost:9464", true);
        check("127.0.0.1:9464", true);
        check("[::1]:9464", true);
        check("gateway.example:9464", false);
        check("localhost.example", false);
        check("10.0.0.1", false);
        assert!(!names_loopback(&Uri::from_static("/metrics"), &HeaderMap::new()));
    }
}
