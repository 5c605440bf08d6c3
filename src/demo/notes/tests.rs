//! The connector over real sockets, with the real tokens of the authorization server beside it.

use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use super::*;
use crate::demo::authorization_server::{Settings, TokenBuilder};
use crate::demo::testing::{client, header, json};

mod changes;
mod counting;
mod legacy;
mod manners;
mod modern;
mod questions;
mod tasks;

/// An authorization server and a connector that trusts it.
struct Pair {
    server: AuthorizationServer,
    notes: NotesConnector,
}

impl Pair {
    async fn start() -> Self {
        let server = AuthorizationServer::start(Settings::default()).await.expect("a loopback port is free");
        let notes = NotesConnector::start(NotesSettings::trusting(&server)).await;
        Self { server, notes: notes.expect("a loopback port is free") }
    }

    /// A delegated token for a person's notes, as an exchange would give it.
    fn token(&self, who: &str, scopes: &str) -> TokenBuilder {
        let gateway = &self.server.settings().gateway.client_id;
        self.server.subject_token(who).audience(NOTES_AUDIENCE).scopes(scopes).agent(gateway)
    }

    /// The application's own token.
    fn application(&self) -> TokenBuilder {
        self.token("ada", "").app_only().claim("roles", json!(["Notes.Publish"]))
    }

    fn post(&self, token: &TokenBuilder) -> RequestBuilder {
        let request = client().post(self.notes.endpoint()).bearer_auth(token.mint());
        request.header("accept", "application/json, text/event-stream")
    }

    /// A modern request with the headers it should have.
    fn modern(&self, token: &TokenBuilder, method: &str, params: Value) -> RequestBuilder {
        let body = modern_body(method, params);
        let name = ["name", "uri", "taskId"].into_iter().find_map(|name| body["params"][name].as_str());
        let mut request = self.post(token).header("mcp-protocol-version", "2026-07-28");
        request = request.header("mcp-method", method);
        if let Some(name) = name {
            request = request.header("mcp-name", name);
        }
        request.json(&body)
    }

    /// The result of a modern request.
    async fn modern_result(&self, token: &TokenBuilder, method: &str, params: Value) -> Value {
        let response = self.modern(token, method, params).send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        json(response).await["result"].take()
    }

    /// A session of the legacy era.
    async fn session(&self, token: TokenBuilder, version: &str) -> Talk<'_> {
        let params = json!({
            "protocolVersion": version,
            "capabilities": { "elicitation": {} },
            "clientInfo": { "name": "test", "version": "0" },
        });
        let response = self.post(&token).json(&request(1, "initialize", params)).send().await;
        let response = response.expect("an answer");
        assert_eq!(response.status(), 200);
        let session = header(&response, "mcp-session-id");
        assert_eq!(json(response).await["result"]["protocolVersion"], version);
        let talk = Talk { pair: self, token, session, version: version.to_owned() };
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let response = talk.post(&initialized).await;
        assert_eq!((response.status().as_u16(), response.content_length()), (202, Some(0)));
        talk
    }
}

/// A client within its session.
struct Talk<'a> {
    pair: &'a Pair,
    token: TokenBuilder,
    session: String,
    version: String,
}

impl Talk<'_> {
    fn with_session(&self, request: RequestBuilder) -> RequestBuilder {
        request.header("mcp-session-id", &self.session).header("mcp-protocol-version", &self.version)
    }

    async fn post(&self, body: &Value) -> Response {
        self.with_session(self.pair.post(&self.token)).json(body).send().await.expect("an answer")
    }

    async fn call(&self, id: u64, method: &str, params: Value) -> Response {
        self.post(&request(id, method, params)).await
    }

    /// Calls and reads the answer as a stream.
    async fn stream(&self, id: u64, method: &str, params: Value) -> Stream {
        Stream::of(self.call(id, method, params).await)
    }

    async fn result(&self, method: &str, params: Value) -> Value {
        let response = self.call(7, method, params).await;
        assert_eq!(response.status(), 200);
        json(response).await["result"].take()
    }

    fn get(&self) -> RequestBuilder {
        let request = client().get(self.pair.notes.endpoint()).bearer_auth(self.token.mint());
        self.with_session(request.header("accept", "text/event-stream"))
    }
}

/// Events of an answer, one by one as they come.
struct Stream {
    response: Response,
    unread: String,
}

/// One event: its id, and its data if that is a message.
struct Event {
    id: Option<String>,
    message: Value,
}

impl Stream {
    fn of(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "content-type"), "text/event-stream");
        Self { response, unread: String::new() }
    }

    /// The next event, comments included; nothing at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                let id = field("id: ").map(str::to_owned);
                let message = field("data: ").and_then(|data| serde_json::from_str(data).ok());
                self.unread = rest.to_owned();
                return Some(Event { id, message: message.unwrap_or_default() });
            }
            let chunk = self.response.chunk().await.ok()??;
            self.unread.push_str(std::str::from_utf8(&chunk).expect("events are text"));
        }
    }

    /// The next message.
    async fn message(&mut self) -> Value {
        loop {
            let event = self.next().await.expect("there are more events");
            if !event.message.is_null() {
                return event.message;
            }
        }
    }
}

/// Waits until something is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn request(id: u64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

fn modern_body(method: &str, mut params: Value) -> Value {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({ "elicitation": { "form": {} } });
    request(7, method, params)
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|one| one["name"].as_str().expect("a name")).collect()
}
