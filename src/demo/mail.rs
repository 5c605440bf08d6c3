//! The demo mail connector: Microsoft Graph's shapes over everybody's own mail.
//!
//! It trusts nobody: it fetches the authorization server's keys itself, checks the token of every Graph
//! request in full, and serves a person only what is theirs. It records what it receives and can be scripted
//! to misbehave, so that a test can ask what a gateway sent and how it bears what comes back.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use rustls::{RootCertStore, ServerConfig};

use self::mailbox::Mailboxes;
use super::authorization_server::{AuthorizationServer, MAIL_AUDIENCE};
use super::body::{self, Body};
use super::connector::{BODY_BYTES_KEPT, Entry, Received, Requests, Verifier};
use super::host::{Answer, Host, Respond, Socket};
use super::kept::Kept;
use super::lock;
use super::people::Person;
use super::script::Script;

mod graph;
mod mailbox;
mod plain;

#[cfg(test)]
mod tests;

pub use super::connector::{AnswerEnd, Caller, ReceivedRequest};

/// What a mail connector begins with.
#[derive(Clone)]
pub struct MailSettings {
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
    /// Whose mail it has.
    pub people: Vec<Person>,
}

impl MailSettings {
    /// A connector that trusts this server's tokens and has the mail of its people.
    pub fn trusting(server: &AuthorizationServer) -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: None,
            issuer: server.issuer(),
            jwks_uri: server.jwks_uri(),
            roots: RootCertStore::empty(),
            audience: MAIL_AUDIENCE.to_owned(),
            people: server.settings().people.clone(),
        }
    }
}

/// A mail that somebody, or some application, sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentMail {
    /// The object id of the person it is from.
    pub from: String,
    /// The addresses it went to.
    pub to: Vec<String>,
    /// The subject.
    pub subject: String,
    /// The text.
    pub text: String,
    /// Whether the application sent it, and not the person through it.
    pub by_application: bool,
}

/// A running connector. Clones are handles to the same one; it stops when the last is dropped.
#[derive(Clone)]
pub struct MailConnector {
    connector: Arc<Connector>,
    host: Arc<Host<Connector>>,
}

impl MailConnector {
    /// Binds and serves.
    pub async fn start(settings: MailSettings) -> io::Result<Self> {
        let jwks_uri = settings.jwks_uri.parse().map_err(io::Error::other)?;
        let (issuer, audience) = (settings.issuer.clone(), settings.audience.clone());
        let verifier = Verifier::new(issuer, audience, jwks_uri, settings.roots.clone());
        let socket = Socket::bind(settings.address).await?;
        let tls = settings.tls.clone();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let connector = Arc::new(Connector {
            origin: format!("{scheme}://{}", socket.address()),
            verifier: verifier.map_err(io::Error::other)?,
            mailboxes: Mutex::new(mailbox::mailboxes(&settings.people)),
            sent: Mutex::default(),
            requests: Requests::default(),
            script: Script::default(),
            settings,
        });
        let host = Arc::new(Host::serve(socket, tls, Arc::clone(&connector)));
        Ok(Self { connector, host })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.host.address()
    }

    /// `http://127.0.0.1:PORT`, or https if it has a certificate.
    pub fn origin(&self) -> &str {
        &self.connector.origin
    }

    /// `origin()` and `/v1.0`: what a configuration calls the upstream.
    pub fn base_url(&self) -> String {
        format!("{}/v1.0", self.connector.origin)
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

    /// Every mail sent, oldest first.
    pub fn sent(&self) -> Vec<SentMail> {
        lock(&self.connector.sent).to_vec()
    }

    /// How many requests are being answered, streams of events and downloads included.
    pub fn in_flight(&self) -> usize {
        self.connector.requests.in_flight()
    }

    /// Its manners.
    pub fn script(&self) -> &Script {
        &self.connector.script
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
    settings: MailSettings,
    origin: String,
    verifier: Verifier,
    mailboxes: Mutex<Mailboxes>,
    sent: Mutex<Kept<SentMail>>,
    requests: Requests,
    script: Script,
}

impl Respond for Connector {
    async fn respond(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let entry = self.requests.begin(&head);
        let reply = self.script.next();
        let body = if reply.is_before_the_body() {
            Received { complete: true, ..Received::default() }
        } else {
            let keep = if head.uri.path() == "/v1.0/upload" { 0 } else { BODY_BYTES_KEPT };
            entry.receive(body, keep).await
        };
        if !body.complete {
            // Who broke off in the middle of a request gets no answer, and nothing is done for them.
            return Answer::Reset;
        }
        let answer = reply.play(self.answer(&entry, &head, &body)).await;
        entry.answered(answer)
    }
}

impl Connector {
    async fn answer(&self, entry: &Entry, head: &Parts, body: &Received) -> Response<Body> {
        let path: Vec<&str> = head.uri.path().trim_start_matches('/').split('/').collect();
        let ["v1.0", path @ ..] = path.as_slice() else { return not_found() };
        if let Some(response) = plain::answer(head, path, body) {
            return response;
        }
        self.answer_graph(entry, head, path, &body.kept).await
    }
}

fn not_found() -> Response<Body> {
    let mut response = Response::new(body::full(r#"{"error":{"code":"NotFound","message":"Not found."}}"#));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}
