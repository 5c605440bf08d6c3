//! Routes outside Graph and without tokens: streams, sizes and trailers, for those who test what carries
//! them.

use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body::Frame;
use serde_json::{Value, json};

use crate::demo::body::{self, Body};
use crate::demo::connector::Received;

/// Bytes of one frame of a download.
const FRAME_BYTES: usize = 65_536;

static FRAME: [u8; FRAME_BYTES] = [b'd'; FRAME_BYTES];

/// Answers a request outside Graph, if it is one.
pub(super) fn answer(head: &Parts, path: &[&str], body: &Received) -> Option<Response<Body>> {
    let query = head.uri.query().unwrap_or_default();
    let get = head.method == Method::GET;
    Some(match path {
        ["events"] if get => events(query),
        ["download"] if get => download(query),
        ["trailers"] if get => trailers(),
        ["upload"] if head.method == Method::POST => json_response(&json!({
            "bytes": body.bytes,
            "sha256": body.sha256,
        })),
        ["echo"] if head.method == Method::POST => echo(head, body),
        _ => return None,
    })
}

/// `count` events, each after a pause of `every_ms`.
fn events(query: &str) -> Response<Body> {
    let count: u64 = number(query, "count").unwrap_or(5);
    let every = Duration::from_millis(number(query, "every_ms").unwrap_or(10));
    let frames = (1..=count).map(move |id| {
        let event = format!("id: {id}\nevent: tick\ndata: {{\"number\":{id},\"of\":{count}}}\n\n");
        Ok(Frame::data(Bytes::from(event)))
    });
    let mut response = Response::new(body::paced(Box::new(frames), every, None));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// `bytes` bytes, made as they are read.
fn download(query: &str) -> Response<Body> {
    let bytes: u64 = number(query, "bytes").unwrap_or(0);
    let mut left = bytes;
    let frames = std::iter::from_fn(move || {
        let size = usize::try_from(left).unwrap_or(FRAME_BYTES).min(FRAME_BYTES);
        left -= size as u64;
        (size > 0).then(|| Ok(Frame::data(Bytes::from_static(&FRAME[..size]))))
    });
    let mut response = Response::new(body::paced(Box::new(frames), Duration::ZERO, Some(bytes)));
    let octets = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, octets);
    response
}

/// A body and, after it, trailers.
fn trailers() -> Response<Body> {
    let mut fields = HeaderMap::new();
    fields.insert(HeaderName::from_static("x-demo-checksum"), HeaderValue::from_static("c0ffee"));
    let frames = [Frame::data(Bytes::from_static(b"trailers follow\n")), Frame::trailers(fields)];
    let frames = Box::new(frames.into_iter().map(Ok));
    let mut response = Response::new(body::paced(frames, Duration::ZERO, None));
    response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("x-demo-checksum"));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// What came in, as JSON. Header values that are not text are shown escaped.
fn echo(head: &Parts, body: &Received) -> Response<Body> {
    let show = |value: &HeaderValue| value.as_bytes().escape_ascii().to_string();
    let headers: Vec<Value> =
        head.headers.iter().map(|(name, value)| json!([name.as_str(), show(value)])).collect();
    json_response(&json!({
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "version": format!("{:?}", head.version),
        "headers": headers,
        "body_bytes": body.bytes,
    }))
}

fn json_response(value: &Value) -> Response<Body> {
    let mut response = Response::new(body::full(value.to_string()));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn number<T: FromStr>(query: &str, name: &str) -> Option<T> {
    url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name)?.1.parse().ok()
}
