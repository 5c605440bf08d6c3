//! A list of tools that is served from the configuration, to an agent that asks for it without a person.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::era::{Era, ProtocolVersion};
use super::method::Method;
use super::served::Served;
use super::{McpCall, McpError, Said, reply};
use crate::clock::Now;
use crate::identity::Caller;
use crate::policy::Policy;
use crate::tool::{ArgumentType, Tool};
use std::net::IpAddr;

/// How long a client may keep the list, in milliseconds: a change of the configuration is seen within a minute.
const LIST_LIFE_MILLISECONDS: u32 = 60_000;

/// Who asks, and from where.
pub struct Asking<'a> {
    /// The agent.
    pub agent: &'a Caller,
    /// From where.
    pub client: IpAddr,
    /// When.
    pub now: Now,
}

/// What the gateway answers in the server's place.
///
/// # Errors
///
/// [`McpError`] for what is not answered from the configuration.
pub fn answer(
    spoken: &McpCall,
    served: &Served,
    policy: &Policy,
    asking: &Asking<'_>,
) -> Result<Response<Bytes>, McpError> {
    let (id, method) = match &spoken.said {
        Said::Request { id, method, .. } => (id, *method),
        Said::Nothing | Said::Unread(_) => {
            let mut accepted = Response::new(Bytes::new());
            *accepted.status_mut() = StatusCode::ACCEPTED;
            return Ok(accepted);
        }
        Said::Stream | Said::End => return Err(McpError::HttpMethod),
    };
    let server = json!({ "name": served.connector().as_str(), "version": env!("CARGO_PKG_VERSION") });
    let mut result = match method {
        Method::Initialize => json!({
            "protocolVersion": ProtocolVersion::V2025_11_25.as_str(),
            "capabilities": { "tools": {} },
            "serverInfo": server,
        }),
        Method::ServerDiscover => json!({
            "supportedVersions": ProtocolVersion::SERVED.map(ProtocolVersion::as_str),
            "capabilities": { "tools": {} },
            "serverInfo": server,
        }),
        Method::Ping => json!({}),
        Method::ToolsList => {
            let shown =
                |tool: &&&std::sync::Arc<Tool>| policy.shows(asking.agent, tool, asking.client, asking.now);
            let tools: Vec<Value> =
                served.listed().iter().filter(shown).map(|tool| described(tool)).collect();
            json!({ "tools": tools })
        }
        Method::ToolsCall
        | Method::PromptsList
        | Method::PromptsGet
        | Method::ResourcesList
        | Method::ResourceTemplatesList
        | Method::ResourcesRead
        | Method::ResourcesSubscribe
        | Method::ResourcesUnsubscribe
        | Method::CompletionComplete
        | Method::LoggingSetLevel
        | Method::TasksGet
        | Method::TasksList
        | Method::TasksResult
        | Method::TasksCancel
        | Method::TasksUpdate
        | Method::SubscriptionsListen
        | Method::Unknown => return Err(McpError::MethodUnknown),
    };
    if spoken.era == Era::Modern {
        result["resultType"] = "complete".into();
        result["ttlMs"] = LIST_LIFE_MILLISECONDS.into();
        result["cacheScope"] = "private".into();
    }
    let members = result.as_object().cloned().unwrap_or_default();
    let mut response = Response::new(reply::result(id, members));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// A tool as a list shows it. Of its arguments those are known that policies can look at; it may take others.
fn described(tool: &Tool) -> Value {
    let properties: Map<String, Value> = tool
        .arguments
        .iter()
        .map(|(name, kind)| {
            let schema = match kind {
                ArgumentType::String => json!({ "type": "string" }),
                ArgumentType::Integer => json!({ "type": "integer" }),
                ArgumentType::Boolean => json!({ "type": "boolean" }),
                ArgumentType::Strings => json!({ "type": "array", "items": { "type": "string" } }),
            };
            (name.to_string(), schema)
        })
        .collect();
    let mut described = json!({
        "name": tool.name.as_str(),
        "inputSchema": { "type": "object", "properties": properties },
    });
    if let Some(description) = &tool.description {
        described["description"] = description.as_ref().into();
    }
    let hints = [
        ("readOnlyHint", tool.annotations.read_only),
        ("destructiveHint", tool.annotations.destructive),
        ("idempotentHint", tool.annotations.idempotent),
        ("openWorldHint", tool.annotations.open_world),
    ];
    let hints: Map<String, Value> = hints
        .into_iter()
        .filter_map(|(name, hint)| hint.map(|hint| (name.to_owned(), hint.into())))
        .collect();
    if !hints.is_empty() {
        described["annotations"] = Value::Object(hints);
    }
    described
}
