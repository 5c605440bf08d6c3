//! The test bed with an MCP server behind the gateway, and a client of each era in front.

use obo_gateway::demo::authorization_server::{AuthorizationServer, NOTES_AUDIENCE, Settings};
use obo_gateway::demo::mail::{MailConnector, MailSettings};
use obo_gateway::demo::notes::{NotesConnector, NotesSettings};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::bed::{Parts, TestBed};

/// The gateway in front of the demo's notes. Its configuration names no tools, unless a test says so: Ada may use
/// everything; Bob may read, and use one prompt and one resource.
pub struct McpBed {
    pub bed: TestBed,
    pub notes: NotesConnector,
}

/// What the connector's entry says beside what every one says.
const SCOPES: &str = "    scopes: [Notes.Read]\n";

impl McpBed {
    /// The usual one.
    pub async fn start() -> Self {
        Self::with(SCOPES).await
    }

    /// With these keys of the connector.
    pub async fn with(more: &str) -> Self {
        let more = format!("    audience: {NOTES_AUDIENCE}\n{more}");
        Self::between(Settings::default(), |_| (String::new(), more)).await
    }

    /// With these settings of the authorization server; what `written` gives stands before everything, and among the keys of the
    /// connector.
    pub async fn between(settings: Settings, written: impl FnOnce(&Parts<'_>) -> (String, String)) -> Self {
        let server = AuthorizationServer::start(settings).await.expect("an authorization server");
        let mail = MailConnector::start(MailSettings::trusting(&server)).await.expect("a mail connector");
        let notes = NotesConnector::start(NotesSettings::trusting(&server)).await.expect("a connector");
        let (ada, bob) = (server.person("ada").oid.clone(), server.person("bob").oid.clone());
        let endpoint = notes.endpoint();
        let bed = TestBed::between(server, mail, |parts| {
            let (before, more) = written(parts);
            let connector = format!(
                "  notes:
    kind: mcp
    path: /notes
    upstream: {endpoint}
    timeouts: {{ connect: 20s, response: 20s, idle: 20s }}
{more}"
            );
            let whole = parts.whole(&parts.issuer(), &connector);
            let everybody = "    - { name: everybody, tools: [\"*/*\"] }\n";
            assert!(whole.contains(everybody), "{whole}");
            let whole = whole.replace(
                everybody,
                &format!(
                    "    - name: ada
      subjects: {{ ids: [{ada}] }}
      tools: [\"notes/*\"]
      prompts: [\"notes/*\"]
      resources: [\"notes/*\"]
    - name: bob
      subjects: {{ ids: [{bob}] }}
      tools: [\"notes/list_notes\", \"notes/read_note\", \"notes/count_slowly\"]
"
                ),
            );
            format!("{before}{whole}")
        })
        .await;
        Self { bed, notes }
    }

    /// A POST of this text, with what every client sends.
    pub fn post(&self, who: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        let request = self.bed.request(Method::POST, "/notes").bearer_auth(self.bed.token(who));
        request
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(body)
    }

    /// A modern request, with the headers it should have.
    pub fn modern(&self, who: &str, method: &str, params: Value) -> RequestBuilder {
        let body = modern(method, params);
        let name = ["name", "uri", "taskId"].into_iter().find_map(|name| body["params"][name].as_str());
        let mut request = self.post(who, body.to_string()).header("mcp-protocol-version", "2026-07-28");
        request = request.header("mcp-method", method);
        if let Some(name) = name {
            request = request.header("mcp-name", name);
        }
        request
    }

    /// The message that answers a modern request.
    pub async fn modern_answer(&self, who: &str, method: &str, params: Value) -> (u16, Value) {
        answer(self.modern(who, method, params).send().await.expect("an answer")).await
    }

    /// A session of the legacy era.
    pub async fn session(&self, who: &str) -> Session<'_> {
        self.session_with(who, json!({ "elicitation": {} })).await
    }

    /// A session of a client that says that it can do this.
    pub async fn session_with(&self, who: &str, capabilities: Value) -> Session<'_> {
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": capabilities,
            "clientInfo": { "name": "test", "version": "0" },
        });
        let response = self.post(who, request(1, "initialize", params).to_string()).send().await;
        let response = response.expect("an answer");
        assert_eq!(response.status(), 200);
        let id = response.headers()["mcp-session-id"].to_str().expect("text").to_owned();
        response.bytes().await.expect("a body");
        let session = Session { bed: self, who: who.to_owned(), id };
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(session.post(&initialized).await.status(), 202);
        session
    }
}

/// A client within its session.
pub struct Session<'a> {
    bed: &'a McpBed,
    pub who: String,
    pub id: String,
}

impl Session<'_> {
    /// A request of this method, with the session's headers.
    pub fn request(&self, method: Method) -> RequestBuilder {
        let bed = &self.bed.bed;
        let request = bed.request(method, "/notes").bearer_auth(bed.token(&self.who));
        request.header("mcp-session-id", &self.id).header("mcp-protocol-version", "2025-11-25")
    }

    /// The answer to a message.
    pub async fn post(&self, message: &Value) -> Response {
        let request = self.request(Method::POST).header("accept", "application/json, text/event-stream");
        request.json(message).send().await.expect("an answer")
    }

    /// The message that answers a request.
    pub async fn answer(&self, method: &str, params: Value) -> (u16, Value) {
        answer(self.post(&request(7, method, params)).await).await
    }
}

/// A request.
pub fn request(id: u64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// A request of the modern era, with what its `_meta` must say.
pub fn modern(method: &str, mut params: Value) -> Value {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
    let capabilities = &mut params["_meta"]["io.modelcontextprotocol/clientCapabilities"];
    if capabilities.is_null() {
        *capabilities = json!({ "elicitation": { "form": {} } });
    }
    request(7, method, params)
}

/// Status and message of an answer that is one object, or a stream that ends with one.
pub async fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().expect("text").to_owned());
    let text = response.text().await.expect("a body");
    let message = match kind.as_deref() {
        Some("text/event-stream") => {
            text.lines().filter_map(|line| line.strip_prefix("data:")).next_back().unwrap_or_default()
        }
        _ => &text,
    };
    (status, serde_json::from_str(message).unwrap_or_else(|_| panic!("a message: {status} {text:?}")))
}

/// The names in a list.
pub fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|one| one["name"].as_str().expect("a name")).collect()
}
