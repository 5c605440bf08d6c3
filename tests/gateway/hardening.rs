//! What attackers write onto a socket: heads, bodies and frames that two readers could take differently, and floods. Each comes
//! to what its table says, and the connector behind sees only what was asked for, byte by byte; afterwards the next call is
//! served as if nothing had been, nothing is left under way, and every call that there was has one record.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bed::{ANYTHING, Setup, TestBed};
use upstream::{Seen, Upstream};

mod answers;
mod bounds;
mod frames;
mod http1;
mod http2;
mod idle;
#[path = "../../src/fuzzing/upstream.rs"]
mod upstream;

/// How long to wait for what must come: longer than any machine is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Stands at the end of a request whose body did not come whole.
const CUT: &str = "{cut}";

/// A gateway, with a connector behind that takes nothing but the plainest requests.
struct HardenedBed {
    bed: TestBed,
    upstream: Upstream,
    ada: String,
    bob: String,
    /// The identifiers of calls that somebody has heard of: the agent, or the connector.
    heard_of: Mutex<Vec<String>>,
}

impl HardenedBed {
    async fn start() -> Self {
        Self::within("drain: 2s", "streams: 256").await
    }

    /// With these timeouts and bounds.
    async fn within(timeouts: &'static str, bounds: &'static str) -> Self {
        Self::configured(move |config| {
            let written = format!("timeouts: {{ {timeouts} }}\nbounds: {{ {bounds} }}");
            config.replace("timeouts: { drain: 2s }", &written)
        })
        .await
    }

    async fn configured(change: impl Fn(String) -> String + Send + 'static) -> Self {
        let upstream = Upstream::start().await.expect("a connector");
        let address = format!("http://{}", upstream.address());
        let setup = Setup::default().config(move |parts| {
            let whole = parts.whole(&parts.issuer(), &parts.mail(ANYTHING));
            change(whole.replace(&parts.connector.base_url(), &address))
        });
        let bed = setup.start().await;
        let (ada, bob) = (bed.token("ada"), bed.token("bob"));
        Self { bed, upstream, ada, bob, heard_of: Mutex::default() }
    }

    async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.bed.gateway.agent_address()).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        stream
    }

    /// Writes bytes in pieces of this size, and reads until the gateway closes.
    async fn exchange(&self, bytes: &[u8], size: usize) -> Vec<u8> {
        let (mut reader, mut writer) = self.connect().await.into_split();
        let reading = tokio::spawn(async move {
            let mut answer = Vec::new();
            // A reset ends it as well: there was more than the gateway wanted to hear.
            let _ = reader.read_to_end(&mut answer).await;
            answer
        });
        for piece in bytes.chunks(size) {
            if writer.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let answer = tokio::time::timeout(PATIENCE, reading).await;
        answer.expect("the connection is open, and silent").expect("no panic")
    }

    /// What the connector has seen, with what differs from call to call in braces: who it was for is left.
    fn seen(&self) -> Vec<String> {
        let seen = self.upstream.take();
        seen.iter().map(|seen| self.shown(seen)).collect()
    }

    fn shown(&self, seen: &Seen) -> String {
        if let Some(fault) = &seen.fault {
            return format!("{}: not plain HTTP: {fault}", seen.line());
        }
        let [authorization] = *seen.values("authorization") else { return "no authorization".to_owned() };
        let token = authorization.strip_prefix("Bearer ").expect("a bearer token");
        let [id] = *seen.values("obo-request-id") else { return "no request id".to_owned() };
        self.heard_of.lock().expect("whole").push(id.to_owned());
        let head = seen
            .head
            .replace(token, &format!("{{{}}}", self.person(token)))
            .replace(id, "{id}")
            .replace(&self.upstream.address().to_string(), "{upstream}");
        let end = if seen.is_whole { "" } else { CUT };
        format!("{head}\r\n\r\n{}{end}", String::from_utf8_lossy(&seen.body))
    }

    /// For whom a delegated token is.
    fn person(&self, token: &str) -> &'static str {
        let server = &self.bed.authorization_server;
        assert!(server.issued().iter().any(|issued| issued == token), "a token from elsewhere: {token}");
        let claims = token.split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
        let claims: Value = serde_json::from_slice(&claims.expect("base64url")).expect("claims");
        let is = |who: &&str| claims["oid"] == server.person(who).oid;
        ["ada", "bob"].into_iter().find(is).expect("one of the two")
    }

    /// A plain call is served, and nothing else is under way or still to be seen.
    async fn assert_serves(&self, after: &str) {
        self.assert_idle(after).await;
        let fresh = format!(
            "GET /mail/fresh HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
            self.ada
        );
        let answer = self.exchange(fresh.as_bytes(), fresh.len()).await;
        let answers = answers::read(&answer).unwrap_or_else(|fault| panic!("{fault}, after {after}"));
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [200], "a fresh call after {after}");
        self.hear_of(&answers);
        // What broke off may be seen late. Nothing of it may be whole.
        let whole: Vec<_> = self.seen().into_iter().filter(|seen| !seen.ends_with(CUT)).collect();
        assert_eq!(whole, [http1::get("/fresh")], "what the connector sees of a fresh call after {after}");
        self.assert_idle(after).await;
    }

    /// No call is under way, or ends soon.
    async fn assert_idle(&self, after: &str) {
        for _ in 0..1_000 {
            if self.bed.metric("obo_gateway_calls_in_progress").await == Some(0.0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("calls are left under way by {after}");
    }

    fn hear_of(&self, answers: &[answers::Answer]) {
        let ids = answers.iter().filter_map(|answer| answer.request_id.clone());
        self.heard_of.lock().expect("whole").extend(ids);
    }

    /// Every call that somebody has heard of has its record, and none has two.
    async fn assert_recorded(&self) {
        let mut records = BTreeMap::<String, usize>::new();
        for record in self.bed.records().await {
            let id = record["metadata"]["uid"].as_str().expect("an identifier");
            *records.entry(id.to_owned()).or_default() += 1;
        }
        let doubled: Vec<_> = records.iter().filter(|(_, count)| **count > 1).collect();
        assert!(doubled.is_empty(), "calls with several records: {doubled:?}");
        let heard_of = self.heard_of.lock().expect("whole").clone();
        let missing: Vec<_> = heard_of.iter().filter(|id| !records.contains_key(*id)).collect();
        assert!(missing.is_empty() && !heard_of.is_empty(), "calls without a record: {missing:?}");
    }
}
