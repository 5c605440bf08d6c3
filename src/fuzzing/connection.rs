//! The whole way in: bytes as they come on a connection, read by what reads them in service, and told as a call with everything
//! behind it: an authorization server, a connector, and the trail.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{cell, fs, process};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::upstream::{Seen, Upstream};
use crate::identity::Peer;
use crate::process::Process;
use crate::server::serve_in_memory;

/// What verifies the tokens of the corpus. Nobody has the private key any more.
const KEYS: &str = include_str!("../../fuzz/inbound/keys.json");
/// All that this key ever signed: two people's tokens, good until the year 2100.
const PEOPLE: [(&str, &str); 2] = [
    ("ada", include_str!("../../fuzz/inbound/ada.token")),
    ("bob", include_str!("../../fuzz/inbound/bob.token")),
];
/// What a connection of HTTP/2 begins with (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a connection is left open for calls that wait for more. A fuzzer has better things to do than to wait for deadlines.
const PATIENCE: Duration = if cfg!(fuzzing) { Duration::from_millis(20) } else { Duration::from_secs(20) };
/// How long anything may take that has to come to an end.
const DEADLINE: Duration = Duration::from_secs(60);

thread_local! {
    /// What this thread's connections come to. After a panic there is none.
    static BENCH: cell::Cell<Option<Bench>> = const { cell::Cell::new(None) };
}

/// The first byte says in what pieces a connection's bytes come (0: all at once); the rest are the bytes.
pub fn connection(data: &[u8]) -> &'static str {
    run(data, PATIENCE)
}

/// The same, with a connection that is left open for so long.
pub(super) fn run(data: &[u8], patience: Duration) -> &'static str {
    let Some((size, bytes)) = data.split_first() else { return "closed" };
    let size = if *size == 0 { bytes.len().max(1) } else { usize::from(*size) };
    let mut bench = BENCH.take().unwrap_or_else(Bench::start);
    let came = bench.connect(bytes, size, patience);
    let word = came.check(bytes);
    BENCH.set(Some(bench));
    word
}

/// A gateway, and what it stands between.
struct Bench {
    runtime: Runtime,
    process: Process,
    upstream: Upstream,
    folder: PathBuf,
    /// How much of the trail has been read.
    trail_read: u64,
}

/// What a connection came to.
struct Came {
    /// What the gateway answered.
    answers: Vec<u8>,
    /// What the connector has seen.
    seen: Vec<Seen>,
    /// The identifiers in the records.
    recorded: Vec<String>,
}

impl Bench {
    fn start() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("obo-gateway-fuzzing-{}-{count}", process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("secret"), "a secret of the target").expect("a secret");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (process, upstream) = runtime.block_on(async {
            let upstream = Upstream::start().await.expect("a connector");
            let issuer = authorization_server().await;
            let path = folder.join("gateway.yaml");
            let folder = folder.display();
            let config = format!(
                "listen: 127.0.0.1:0
admin: 127.0.0.1:0
issuers:
  idp:
    kind: oidc
    issuer: https://idp.example
    jwks_uri: http://{issuer}/keys
    token_endpoint: http://{issuer}/token
    audiences: [gateway]
    exchange:
      grant: token_exchange
      client_id: gateway
      client_auth: {{ secret_file: {folder}/secret }}
connectors:
  mail:
    kind: rest
    path: /mail
    upstream: http://{upstream}
    audience: mail
    scopes: [read]
    timeouts: {{ connect: 20s, response: 20s, idle: 1s }}
  notes:
    kind: mcp
    path: /notes
    upstream: http://{upstream}/mcp
    audience: notes
    scopes: [read]
    timeouts: {{ connect: 20s, response: 20s, idle: 1s }}
policy:
  allow:
    - {{ name: everybody, tools: [\"*/*\"] }}
audit: {{ file: {folder}/audit.jsonl, durability: memory }}
",
                upstream = upstream.address(),
            );
            fs::write(&path, config).expect("a configuration");
            let started = Process::start(&path, Arc::new(|_| None)).await;
            (started.unwrap_or_else(|error| panic!("{error:?}")).0, upstream)
        });
        Self { runtime, process, upstream, folder, trail_read: 0 }
    }

    /// Sends bytes in pieces of this size on a connection of their own, and waits until everything about it is over.
    fn connect(&mut self, bytes: &[u8], size: usize, patience: Duration) -> Came {
        let Self { runtime, process, upstream, folder, trail_read } = self;
        runtime.block_on(async {
            let (client, server) = tokio::io::duplex(16_384);
            let peer = Peer { address: ([127, 0, 0, 1], 1).into(), tls: false, certificate: None };
            let state = Arc::clone(process.state());
            let serving = tokio::spawn(async move { serve_in_memory(server, peer, &state).await });
            let (mut reader, mut writer) = tokio::io::split(client);
            let answers = Arc::<Mutex<Vec<u8>>>::default();
            let taken = Arc::clone(&answers);
            let reading = tokio::spawn(async move {
                let mut piece = vec![0; 16_384];
                while let Ok(read @ 1..) = reader.read(&mut piece).await {
                    lock(&taken).extend_from_slice(&piece[..read]);
                }
            });
            let under_way = || process.metrics().calls_in_progress.get();
            let sent = async {
                for piece in bytes.chunks(size) {
                    if writer.write_all(piece).await.is_err() {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
                let (mut quiet, mut answered) = (0, 0);
                while quiet < 32 {
                    let now = lock(&answers).len();
                    let is_quiet = now == answered && under_way() == 0;
                    (quiet, answered) = (if is_quiet { quiet + 1 } else { 0 }, now);
                    match under_way() {
                        0 => tokio::task::yield_now().await,
                        _ => tokio::time::sleep(Duration::from_millis(1)).await,
                    }
                }
            };
            // Whoever waits for more than comes is told that this was all.
            let _ = tokio::time::timeout(patience, sent).await;
            let _ = writer.shutdown().await;
            let ended = tokio::time::timeout(DEADLINE, serving).await;
            ended.expect("the connection outlives its bytes").expect("the gateway does not panic");
            drop(writer);
            reading.await.expect("the reader does not panic");
            let idle = async {
                while under_way() != 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(DEADLINE, idle).await.expect("a call outlives its connection");
            process.audit().flush().await;
            let mut trail = fs::File::open(folder.join("audit.jsonl")).expect("a trail");
            let mut lines = String::new();
            trail.seek(SeekFrom::Start(*trail_read)).expect("a file");
            *trail_read += trail.read_to_string(&mut lines).expect("text") as u64;
            let records = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
            let calls = records.filter(|record| record["class_uid"] == 6003);
            let recorded = calls.map(|call| call["metadata"]["uid"].as_str().unwrap_or_default().to_owned());
            let answers = std::mem::take(&mut *lock(&answers));
            Came { recorded: recorded.collect(), answers, seen: upstream.take() }
        })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // What is left in the folder for temporary files is nobody's loss.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Every change leaves what is locked whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Came {
    /// What must hold, whatever the bytes were.
    fn check(&self, bytes: &[u8]) -> &'static str {
        let recorded: BTreeSet<&str> = self.recorded.iter().map(String::as_str).collect();
        assert_eq!(recorded.len(), self.recorded.len(), "a call has two records");
        let is_http2 = bytes.starts_with(PREFACE);
        if !is_http2 {
            for (at, name) in text(&self.answers).match_indices("\r\nobo-request-id: ") {
                let id = text(&self.answers)[at + name.len()..]
                    .split("\r\n")
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                assert!(recorded.contains(id.as_str()), "an answer without a record");
            }
        }
        assert!(!contains(&self.answers, b"for-ada"), "a delegated token in an answer");
        assert!(self.seen.len() <= requests(bytes), "more requests than came");
        for seen in &self.seen {
            seen.check(bytes, is_http2, &recorded);
        }
        // Of what breaks off, the connector may have seen a part or nothing.
        match (self.seen.iter().any(|seen| seen.is_whole), recorded.is_empty()) {
            (true, _) => "answered",
            (false, false) => "refused",
            (false, true) => "closed",
        }
    }
}

impl Seen {
    /// What must hold of a request that the connector has seen.
    fn check(&self, bytes: &[u8], is_http2: bool, recorded: &BTreeSet<&str>) {
        assert_eq!(self.fault, None, "it is not plain HTTP");
        let [id] = *self.values("obo-request-id") else { panic!("{self:?} has no request id") };
        assert!(recorded.contains(id), "a request without a record");
        let authorization = self.values("authorization");
        let of_caller = |(who, token): &&(&str, &str)| {
            authorization == [format!("Bearer for-{who}")] && contains(bytes, token.as_bytes())
        };
        let (_, token) = PEOPLE.iter().find(of_caller).expect("it is for nobody who called");
        assert!(!self.head.contains(token), "the caller's own token at the connector");
        if is_http2 {
            return;
        }
        let mut line = self.line().split(' ');
        let (method, target) = (line.next().unwrap_or_default(), line.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let is_of_mail = contains(bytes, format!("/mail{}", path.trim_end_matches('/')).as_bytes());
        let is_of_notes = path == "/mcp" && contains(bytes, b"/notes");
        assert!(is_of_mail || is_of_notes, "another path than was called");
        assert!(contains(bytes, query.as_bytes()), "another query than was called");
        assert!(contains(bytes, format!("{method} ").as_bytes()), "another method than was called");
        let is_streamed = is_of_mail && self.values("transfer-encoding").is_empty();
        assert!(!is_streamed || contains(bytes, &self.body), "another body than was sent");
    }
}

/// At most how many requests there are in the bytes of a connection.
fn requests(bytes: &[u8]) -> usize {
    let Some(mut frames) = bytes.strip_prefix(PREFACE) else {
        return bytes.windows(7).filter(|window| window == b"HTTP/1.").count();
    };
    let mut heads = 0;
    while let [a, b, c, kind, ..] = *frames {
        heads += usize::from(kind == 1);
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        frames = frames.get(9 + length..).unwrap_or_default();
    }
    heads
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(bytes, wanted).is_some()
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// An authorization server that has one key, and gives whoever's token comes a token for that person.
async fn authorization_server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    let answer = |request: http::Request<Incoming>| async move {
        let (head, body) = request.into_parts();
        let form = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let is_for = |(_, token): &&(&str, &str)| contains(&form, token.as_bytes());
        let person = PEOPLE.iter().find(is_for).map_or("nobody", |(who, _)| *who);
        let body = match head.uri.path() {
            "/keys" => KEYS.to_owned(),
            _ => json!({
                "access_token": format!("for-{person}"),
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "token_type": "Bearer",
                "expires_in": 86_400,
            })
            .to_string(),
        };
        let response = http::Response::builder().header("content-type", "application/json");
        Ok::<_, Infallible>(response.body(Full::new(Bytes::from(body))).expect("an answer"))
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::spawn(serving);
        }
    });
    address
}
