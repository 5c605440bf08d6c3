//! The demo notes connector: an MCP server over Streamable HTTP, of both eras, with everybody's own notes.
//!
//! It trusts nobody: it checks the token of every request in full, serves a person only what is theirs, knows
//! an application's token from a person's, and reads a modern request's mirrored headers against its body
//! itself. It records what it receives and can be scripted to misbehave, so that a test can ask what a gateway
//! sent and how it bears what comes back.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use rustls::{RootCertStore, ServerConfig};
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::asking::Asking;
use self::changes::{Change, Changes};
use self::counting::Counting;
use self::message::{Fault, Message, empty_response, json_response};
use self::notebook::Notebooks;
use self::session::Sessions;
use self::tasks::Tasks;
use super::authorization_server::{AuthorizationServer, NOTES_AUDIENCE};
use super::body::Body;
use super::connector::{BODY_BYTES_KEPT, Entry, Received, Requests, TokenFault, Verifier, bearer};
use super::host::{Answer, Host, Respond, Socket};
use super::kept::Kept;
use super::lock;
use super::people::Person;
use super::script::{Reply, Script};

mod asking;
mod catalogue;
mod changes;
mod counting;
mod events;
pub mod faults;
mod legacy;
mod message;
mod methods;
mod modern;
mod notebook;
mod reading;
mod session;
mod tasks;
mod tools;

#[cfg(test)]
mod tests;

pub use self::counting::{Count, CountEnd};
pub use self::notebook::Note;
pub use super::connector::{AnswerEnd, Caller, ReceivedRequest};

/// What a notes connector begins with.
#[derive(Clone)]
pub struct NotesSettings {
    /// Where it listens. Port 0 lets the system choose.
    pub address: SocketAddr,
    /// TLS, if it is to be served over https.
    pub tls: Option<Arc<ServerConfig>>,
    /// The issuer of the tokens it accepts.
    pub issuer: String,
    /// Where that issuer's keys are.
    pub jwks_uri: String,
    /// Whom it trusts when that address is https.
    pub roots: RootCertStore,
    /// The audience it answers to.
    pub audience: String,
    /// Whose notes it has from the start.
    pub people: Vec<Person>,
}

impl NotesSettings {
    /// A connector that trusts this server's tokens and has the notes of its people.
    pub fn trusting(server: &AuthorizationServer) -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: None,
            issuer: server.issuer(),
            jwks_uri: server.jwks_uri(),
            roots: RootCertStore::empty(),
            audience: NOTES_AUDIENCE.to_owned(),
            people: server.settings().people.clone(),
        }
    }
}

/// Something announced to everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// What was announced.
    pub text: String,
    /// Whom the connector saw announce it.
    pub by: Caller,
}

/// A running connector. Clones are handles to the same one; it stops when the last is dropped.
#[derive(Clone)]
pub struct NotesConnector {
    connector: Arc<Connector>,
    host: Arc<Host<Connector>>,
    /// Ends, with the last handle, what outlives the connection that asked for it.
    _stop: Arc<DropGuard>,
}

impl NotesConnector {
    /// Binds and serves.
    pub async fn start(settings: NotesSettings) -> io::Result<Self> {
        let jwks_uri = settings.jwks_uri.parse().map_err(io::Error::other)?;
        let (issuer, audience) = (settings.issuer.clone(), settings.audience.clone());
        let verifier = Verifier::new(issuer, audience, jwks_uri, settings.roots.clone());
        let socket = Socket::bind(settings.address).await?;
        let scheme = if settings.tls.is_some() { "https" } else { "http" };
        let stopping = CancellationToken::new();
        let connector = Arc::new(Connector {
            origin: format!("{scheme}://{}", socket.address()),
            verifier: verifier.map_err(io::Error::other)?,
            notebooks: Mutex::new(notebook::notebooks(&settings.people)),
            announcements: Mutex::default(),
            counting: Counting::default(),
            asking: Asking::default(),
            tasks: Tasks::default(),
            changes: changes::changes(),
            sessions: Sessions::default(),
            requests: Requests::default(),
            script: Script::default(),
            method_scripts: Mutex::default(),
            streams_always: AtomicBool::new(false),
            stopping: stopping.clone(),
        });
        let host = Arc::new(Host::serve(socket, settings.tls, Arc::clone(&connector)));
        Ok(Self { connector, host, _stop: Arc::new(stopping.drop_guard()) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.host.address()
    }

    /// `http://127.0.0.1:PORT`, or https if it has a certificate.
    pub fn origin(&self) -> &str {
        &self.connector.origin
    }

    /// `origin()` and `/mcp`: what a configuration calls the upstream.
    pub fn endpoint(&self) -> String {
        format!("{}/mcp", self.connector.origin)
    }

    /// Every request received, oldest first.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.connector.requests.to_vec()
    }

    /// The one request received.
    ///
    /// # Panics
    ///
    /// If there was none, or more than one: a test that calls this says that there was one.
    pub fn only_request(&self) -> ReceivedRequest {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "the connector received {requests:?}");
        requests.remove(0)
    }

    /// Forgets the requests received so far.
    pub fn forget_requests(&self) {
        self.connector.requests.clear();
    }

    /// A person's notes, oldest first. The person is named by object id.
    pub fn notes(&self, oid: &str) -> Vec<Note> {
        let notebooks = lock(&self.connector.notebooks);
        notebooks.get(oid).map(|notebook| notebook.notes().to_vec()).unwrap_or_default()
    }

    /// Everything announced, oldest first.
    pub fn announcements(&self) -> Vec<Announcement> {
        lock(&self.connector.announcements).to_vec()
    }

    /// Every count that was begun, oldest first.
    pub fn counts(&self) -> Vec<Count> {
        self.connector.counting.counts()
    }

    /// Lets no count go beyond the number it has come to, or beyond its first, until `go_on_counting`.
    pub fn hold_counting(&self) {
        self.connector.counting.hold(true);
    }

    /// Lets every held count go on.
    pub fn go_on_counting(&self) {
        self.connector.counting.hold(false);
    }

    /// How many sessions of the legacy era are open.
    pub fn sessions(&self) -> usize {
        self.connector.sessions.len()
    }

    /// Forgets every session, as a server that was restarted has.
    pub fn forget_sessions(&self) {
        self.connector.sessions.clear();
    }

    /// Tells every session and subscription that wants to know that the list of tools changed.
    pub fn tell_of_tools(&self) {
        self.connector.tell(Change::Tools);
    }

    /// The same for the list of prompts.
    pub fn tell_of_prompts(&self) {
        self.connector.tell(Change::Prompts);
    }

    /// The same for the list of resources.
    pub fn tell_of_resources(&self) {
        self.connector.tell(Change::Resources);
    }

    /// How many subscriptions of the modern era are open.
    pub fn subscriptions(&self) -> usize {
        self.connector.changes.receiver_count()
    }

    /// Ends every subscription of the modern era as a server that shuts down does.
    pub fn end_subscriptions(&self) {
        self.connector.tell(Change::End);
    }

    /// How many requests are being answered, streams included.
    pub fn in_flight(&self) -> usize {
        self.connector.requests.in_flight()
    }

    /// Answers every request with a stream of events, also where one JSON object would do; or no longer.
    pub fn answer_with_streams(&self, always: bool) {
        self.connector.streams_always.store(always, Ordering::Relaxed);
    }

    /// Its manners.
    pub fn script(&self) -> &Script {
        &self.connector.script
    }

    /// Its manners towards requests of one JSON-RPC method, for when `script` has nothing to say.
    pub fn script_of(&self, method: &str) -> Script {
        lock(&self.connector.method_scripts).entry(method.to_owned()).or_default().clone()
    }

    /// Closes the listener and every connection.
    pub async fn stop_listening(&self) {
        self.host.stop_listening().await;
    }

    /// Listens again, on the same port.
    pub async fn listen_again(&self) -> io::Result<()> {
        self.host.listen_again().await
    }
}

/// The connector's state.
struct Connector {
    origin: String,
    verifier: Verifier,
    notebooks: Mutex<Notebooks>,
    announcements: Mutex<Kept<Announcement>>,
    counting: Counting,
    asking: Asking,
    tasks: Tasks,
    changes: Changes,
    sessions: Sessions,
    requests: Requests,
    script: Script,
    method_scripts: Mutex<HashMap<String, Script>>,
    streams_always: AtomicBool,
    stopping: CancellationToken,
}

impl Respond for Connector {
    async fn respond(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let entry = self.requests.begin(&head);
        let reply = self.script.take();
        let body = if reply.as_ref().is_some_and(Reply::is_before_the_body) {
            Received { complete: true, ..Received::default() }
        } else {
            entry.receive(body, BODY_BYTES_KEPT).await
        };
        if !body.complete {
            // Who broke off in the middle of a request gets no answer, and nothing is done for them.
            return Answer::Reset;
        }
        let reply = reply.or_else(|| self.script_for(&body.kept)?.take()).unwrap_or_else(Reply::normal);
        let answer = reply.play(self.answer(&entry, &head.method, head.uri.path(), &head.headers, &body));
        let answer = answer.await;
        entry.answered(answer)
    }
}

impl Connector {
    /// What was said about requests of this body's method.
    fn script_for(&self, body: &[u8]) -> Option<Script> {
        let body: Value = serde_json::from_slice(body).ok()?;
        lock(&self.method_scripts).get(body.get("method")?.as_str()?).cloned()
    }

    async fn answer(
        self: &Arc<Self>,
        entry: &Entry,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: &Received,
    ) -> Response<Body> {
        if path != "/mcp" {
            return empty_response(StatusCode::NOT_FOUND);
        }
        if headers.get(header::ORIGIN).is_some_and(|origin| !is_local(origin)) {
            return empty_response(StatusCode::FORBIDDEN);
        }
        let caller = match self.authenticate(headers).await {
            Ok(caller) => caller,
            Err(refusal) => return refusal,
        };
        entry.caller(&caller);
        let is_modern = modern::version_is_modern(headers);
        match *method {
            Method::POST => self.post(caller, headers, &body.kept),
            Method::GET if !is_modern => self.listen(&caller, headers),
            Method::DELETE if !is_modern => self.end_session(&caller, headers),
            _ => {
                let mut response = empty_response(StatusCode::METHOD_NOT_ALLOWED);
                let allowed = if is_modern { "POST" } else { "POST, GET, DELETE" };
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
                response
            }
        }
    }

    async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Response<Body>> {
        let Some(token) = bearer(headers) else { return Err(challenge("Bearer realm=\"notes\"")) };
        self.verifier.verify(token).await.map_err(|fault| {
            let why = match fault {
                TokenFault::Malformed => "the token is malformed",
                TokenFault::BadSignature => "the signature is wrong",
                TokenFault::OtherIssuer => "the token is from another issuer",
                TokenFault::OtherAudience => "the token is for another audience",
                TokenFault::OutOfTime => "the token is expired or not valid yet",
                TokenFault::NoPermissions => "the token has no scopes and no roles",
                TokenFault::KeysUnavailable => return empty_response(StatusCode::SERVICE_UNAVAILABLE),
            };
            challenge(&format!(
                "Bearer realm=\"notes\", error=\"invalid_token\", error_description=\"{why}\""
            ))
        })
    }

    fn post(self: &Arc<Self>, caller: Caller, headers: &HeaderMap, body: &[u8]) -> Response<Body> {
        let is_json =
            |value: &str| value.split(';').next().is_some_and(|kind| kind.trim() == "application/json");
        if !text(headers, header::CONTENT_TYPE.as_str()).is_some_and(is_json) {
            return empty_response(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        if !(accepts(headers, "application/json") && accepts(headers, "text/event-stream")) {
            return empty_response(StatusCode::NOT_ACCEPTABLE);
        }
        let message = match Message::parse(body) {
            Ok(message) => message,
            Err(fault) => return fault.modern(&Value::Null),
        };
        if modern::is_modern(headers, &message) {
            self.post_modern(caller, headers, message)
        } else {
            self.post_legacy(caller, headers, message)
        }
    }
}

fn challenge(challenge: &str) -> Response<Body> {
    let mut response =
        json_response(StatusCode::UNAUTHORIZED, &serde_json::json!({ "error": "invalid_token" }));
    let challenge = HeaderValue::from_str(challenge).expect("a challenge of ours is ASCII");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// Whether an Origin is on this machine. Any other would be a page that a browser was lured from.
fn is_local(origin: &HeaderValue) -> bool {
    let host = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    host.is_some_and(|host| {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        matches!(name, "localhost" | "127.0.0.1" | "[::1]")
    })
}

/// Whether the client takes this kind of answer.
fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let mut fields = headers.get_all(header::ACCEPT).iter().peekable();
    let range = |range: &str| {
        let range = range.split(';').next().unwrap_or_default().trim();
        range == "*/*" || range.eq_ignore_ascii_case(kind)
    };
    fields.peek().is_none()
        || fields.any(|field| field.to_str().is_ok_and(|field| field.split(',').any(range)))
}

/// The one value of a header field.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    value.to_str().ok()
}
