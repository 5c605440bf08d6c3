//! One tool call, made as an agent makes it, and everything that was seen of it: by the agent, by the authorization
//! server, by the connector, and in the audit trail.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::StoryError;
use super::stage::Stage;
use super::trail::{Record, Trail};
use super::visit::Visit;
use crate::demo::authorization_server::Exchange;
use crate::demo::connector::ReceivedRequest;
use crate::demo::jws::Jws;

/// A request that an agent makes for somebody.
#[derive(Clone)]
pub struct Call {
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub target: &'static str,
    /// The subject token that goes with it.
    pub token: String,
    /// Its body.
    pub body: Option<Value>,
    /// Header fields of its own.
    pub headers: Vec<(&'static str, String)>,
}

/// What an application's token is called, which speaks for nobody.
pub const APPLICATION: &str = "the application";
/// The links that a refusal can carry, by the names of their members.
const LINKS: [&str; 3] = ["consent_url", "connect_url", "confirm_url"];
/// Where a refusal is in an MCP tool's result.
const REFUSAL: &str = "/result/_meta/obo-gateway~1refusal";
/// The revision of MCP that the story's agent speaks.
const REVISION: &str = "2026-07-28";

impl Call {
    /// A request without a body.
    pub fn new(method: Method, target: &'static str, token: String) -> Self {
        Self { method, target, token, body: None, headers: Vec::new() }
    }

    /// An MCP request of this method, with the header fields that repeat what it says.
    pub fn mcp(target: &'static str, method: &str, mut params: Value, token: String) -> Self {
        let name = params.get("name").and_then(Value::as_str).map(|name| ("mcp-name", name.to_owned()));
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": REVISION,
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let headers = [
            ("accept", "application/json, text/event-stream".to_owned()),
            ("mcp-protocol-version", REVISION.to_owned()),
            ("mcp-method", method.to_owned()),
        ];
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        Self {
            body: Some(body),
            headers: headers.into_iter().chain(name).collect(),
            ..Self::new(Method::POST, target, token)
        }
    }
}

/// What the agent got.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// A header field that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, if it is JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The code of a refusal: the gateway's, or the connector's in Graph's form.
    pub fn code(&self) -> Option<String> {
        let body = self.json()?;
        let code = body.get("code").or_else(|| body.pointer("/error/code"))?;
        code.as_str().map(str::to_owned)
    }

    /// The link for the person that a refusal of the gateway's carries, and the name of its member.
    pub fn link(&self) -> Option<(&'static str, String)> {
        let body = self.json()?;
        let refusal = body.pointer(REFUSAL).unwrap_or(&body);
        LINKS.into_iter().find_map(|name| Some((name, refusal.get(name)?.as_str()?.to_owned())))
    }
}

/// What was seen of one call.
pub struct Seen {
    /// What the agent got.
    pub answer: Answer,
    /// What the trail says.
    pub record: Option<Record>,
    /// What the authorization server was asked meanwhile.
    pub exchanges: Vec<Exchange>,
    /// What the connectors received meanwhile.
    pub received: Vec<ReceivedRequest>,
    /// What the person did in their browser before.
    pub visit: Option<Visit>,
}

impl Seen {
    /// The object id of the person whose token the connector was sent.
    pub fn connector_saw(&self) -> Option<String> {
        self.received.iter().find_map(|request| Some(Token::read(&request.bearer()?)?.person))
    }

    /// How long the gateway itself took: all of it, less the connector's share.
    pub fn added(&self) -> Option<Duration> {
        let record = self.record.as_ref()?;
        let connector = record.microseconds("connector_latency_us").unwrap_or_default();
        record.microseconds("duration_us").map(|took| took.saturating_sub(connector))
    }
}

/// Makes a call, and gathers what was seen of it.
///
/// # Errors
///
/// When there was no answer at all, or the trail cannot be read.
pub async fn make(
    call: &Call,
    client: &reqwest::Client,
    stage: &Stage,
    trail: &mut Trail,
) -> Result<Seen, StoryError> {
    let exchanges_before = stage.authorization_server.exchanges().len();
    let before = [stage.mail.requests().len(), stage.notes.requests().len(), stage.webmail.requests().len()];
    let address = format!("{}{}", stage.origin(), call.target);
    let mut request = client.request(call.method.clone(), address).bearer_auth(&call.token);
    for (name, value) in &call.headers {
        request = request.header(*name, value);
    }
    if let Some(body) = &call.body {
        request = request.json(body);
    }
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let answer = Answer { status, headers, body: response.bytes().await? };
    let record = match answer.header("obo-request-id") {
        Some(id) => trail.record_of(id, &stage.process.audit()).await.map_err(StoryError::Trail)?,
        None => None,
    };
    Ok(Seen {
        answer,
        record,
        exchanges: stage.authorization_server.exchanges().split_off(exchanges_before),
        received: [
            stage.mail.requests().split_off(before[0]),
            stage.notes.requests().split_off(before[1]),
            stage.webmail.requests().split_off(before[2]),
        ]
        .concat(),
        visit: None,
    })
}

/// What a token says, unchecked.
pub struct Token {
    /// The object id of the person it speaks for, or [`APPLICATION`].
    pub person: String,
    /// Whom it is for.
    pub audience: String,
    /// The agent it was issued to.
    pub agent: Option<String>,
    /// When it ends, in seconds since 1970.
    pub expires: i64,
}

impl Token {
    /// Reads a token as the demo's authorization server makes them.
    pub fn read(token: &str) -> Option<Self> {
        let jws = Jws::parse(token)?;
        let is_application = jws.text("idtyp") == Some("app");
        Some(Self {
            person: if is_application { APPLICATION } else { jws.text("oid")? }.to_owned(),
            audience: jws.text("aud")?.to_owned(),
            agent: jws.text("azp").map(str::to_owned),
            expires: jws.number("exp")?,
        })
    }
}
