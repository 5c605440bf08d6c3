//! The legacy era (2025-06-18 and 2025-11-25): sessions, a stream to listen on, streams that can be resumed.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::message::{self, Fault, Members, Message, empty_response, json_response};
use super::methods::{Call, INSTRUCTIONS, Outcome, Party, server_info};
use super::session::Session;
use super::{Connector, accepts, changes, events, text};
use crate::demo::body::Body;
use crate::demo::connector::Caller;

/// The versions spoken, newest first.
pub(super) const VERSIONS: [&str; 2] = ["2025-11-25", "2025-06-18"];

/// The one version of this era that has tasks.
pub(super) const VERSION_WITH_TASKS: &str = VERSIONS[0];

/// What a client speaks that names no version after `initialize`.
const VERSION_UNNAMED: &str = "2025-03-26";

const SESSION_HEADER: &str = "mcp-session-id";

impl Connector {
    pub(super) fn post_legacy(
        self: &Arc<Self>,
        caller: Caller,
        headers: &HeaderMap,
        message: Message,
    ) -> Response<Body> {
        if let Message::Request { id, method, params } = &message
            && method == "initialize"
        {
            return self.initialize(&caller, id, params);
        }
        let session = match self.session(&caller, headers) {
            Ok(session) => session,
            Err(fault) => return fault.legacy(&Value::Null),
        };
        match message {
            Message::Request { id, method, params } => {
                let call = Call { caller, id, method, params, party: Party::Legacy(Arc::clone(&session)) };
                match self.serve_legacy(&call, &session) {
                    Ok(outcome) => self.answer_legacy(&call, &session, outcome),
                    Err(fault) => fault.legacy(&call.id),
                }
            }
            Message::Notification { method, params } => {
                if method == "notifications/cancelled"
                    && let Some(request) = params.get("requestId")
                {
                    session.cancel(request);
                }
                empty_response(StatusCode::ACCEPTED)
            }
            Message::Response { id, answer } => {
                if session.answered(&id, answer) {
                    empty_response(StatusCode::ACCEPTED)
                } else {
                    Fault::invalid("nothing was asked under this id").legacy(&id)
                }
            }
        }
    }

    fn initialize(&self, caller: &Caller, id: &Value, params: &Members) -> Response<Body> {
        let Some(requested) = params.get("protocolVersion").and_then(Value::as_str) else {
            return Fault::params("protocolVersion is missing").legacy(id);
        };
        let version = VERSIONS.into_iter().find(|version| *version == requested).unwrap_or(VERSIONS[0]);
        let capabilities = params.get("capabilities").cloned().unwrap_or_else(|| json!({}));
        let session = self.sessions.open(caller, version, capabilities);
        let mut offered = json!({
            "tools": { "listChanged": true },
            "prompts": { "listChanged": true },
            "resources": { "listChanged": true, "subscribe": true },
        });
        if version == VERSION_WITH_TASKS {
            offered["tasks"] = json!({ "list": {}, "cancel": {}, "requests": { "tools": { "call": {} } } });
        }
        let result = json!({
            "protocolVersion": version,
            "capabilities": offered,
            "serverInfo": server_info(),
            "instructions": INSTRUCTIONS,
        });
        let mut response = json_response(StatusCode::OK, &message::result(id, &result));
        let session = HeaderValue::from_str(&session.id).expect("a token of ours is ASCII");
        response.headers_mut().insert(SESSION_HEADER, session);
        response
    }

    fn serve_legacy(self: &Arc<Self>, call: &Call, session: &Session) -> Result<Outcome, Fault> {
        match call.method.as_str() {
            "ping" => Ok(Outcome::Now(json!({}))),
            "resources/subscribe" => {
                let uri = call.text("uri")?;
                if !changes::exists(uri) {
                    return Err(Fault::no_such_resource(uri));
                }
                session.subscribe(uri);
                Ok(Outcome::Now(json!({})))
            }
            "resources/unsubscribe" => {
                session.unsubscribe(call.text("uri")?);
                Ok(Outcome::Now(json!({})))
            }
            _ => self.serve(call),
        }
    }

    fn answer_legacy(
        self: &Arc<Self>,
        call: &Call,
        session: &Arc<Session>,
        outcome: Outcome,
    ) -> Response<Body> {
        let work = match outcome {
            Outcome::Now(result) => {
                let answer = message::result(&call.id, &result);
                if !self.always_streams() {
                    return json_response(StatusCode::OK, &answer);
                }
                let events = session.open_stream();
                events.send(&answer);
                events.end();
                return events.answer(Some(0), CancellationToken::new(), None);
            }
            Outcome::Later(work) => work,
        };
        let events = session.open_stream();
        if session.version == VERSIONS[0] {
            events.prime();
        }
        let response = events.answer(Some(0), CancellationToken::new(), None);
        // In this era who stops reading has not cancelled anything, and may come back.
        let cancelled = self.stopping.child_token();
        session.begin(&call.id, &cancelled);
        let (id, session) = (call.id.clone(), Arc::clone(session));
        tokio::spawn(async move {
            match work(Arc::clone(&events), cancelled).await {
                Some(Ok(result)) => events.send(&message::result(&id, &result)),
                Some(Err(fault)) => events.send(&fault.message(&id)),
                None => {}
            }
            session.finish(&id);
            events.end();
        });
        response
    }

    /// Answers a GET: the session's own stream, or the rest of one that broke.
    pub(super) fn listen(&self, caller: &Caller, headers: &HeaderMap) -> Response<Body> {
        if !accepts(headers, "text/event-stream") {
            return empty_response(StatusCode::NOT_ACCEPTABLE);
        }
        let session = match self.session(caller, headers) {
            Ok(session) => session,
            Err(fault) => return fault.legacy(&Value::Null),
        };
        let (name, from) = match text(headers, "last-event-id") {
            None => (0, None),
            Some(id) => match events::parse_event_id(id) {
                Some((name, number)) => (name, Some(number.saturating_add(1))),
                None => return empty_response(StatusCode::NOT_FOUND),
            },
        };
        match session.stream(name) {
            Some(events) => events.answer(from, session.displace_reader(name), None),
            None => empty_response(StatusCode::NOT_FOUND),
        }
    }

    /// Answers a DELETE.
    pub(super) fn end_session(&self, caller: &Caller, headers: &HeaderMap) -> Response<Body> {
        match self.session(caller, headers) {
            Ok(session) => {
                self.sessions.end(&session);
                empty_response(StatusCode::NO_CONTENT)
            }
            Err(fault) => fault.legacy(&Value::Null),
        }
    }

    fn session(&self, caller: &Caller, headers: &HeaderMap) -> Result<Arc<Session>, Fault> {
        let version = text(headers, "mcp-protocol-version");
        let known = |version: &str| VERSIONS.contains(&version) || version == VERSION_UNNAMED;
        if headers.contains_key("mcp-protocol-version") && !version.is_some_and(known) {
            return Err(Fault::invalid("the protocol version is not supported"));
        }
        if !headers.contains_key(SESSION_HEADER) {
            return Err(Fault::invalid("Mcp-Session-Id is missing"));
        }
        let session = text(headers, SESSION_HEADER).and_then(|id| self.sessions.find(id, caller));
        session.ok_or_else(Fault::unknown_session)
    }
}
