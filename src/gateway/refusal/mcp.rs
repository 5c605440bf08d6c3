//! Refusals of calls to an MCP connector, and the forms in which MCP clients hear of them.
//!
//! Clients act on HTTP challenges, models read the results of tools, and everything else is a JSON-RPC error. To no client
//! is a status without a JSON-RPC error answered: one of 2026-07-28 would take it for a server of an older revision.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::{Refusal, answer_to_forwarding, answer_to_request, answer_to_rest};
use crate::audit::{Fault, RefusalNote, RequestId};
use crate::credential::ObtainError;
use crate::gateway::answer::{Answer, Challenge};
use crate::gateway::forward::ForwardError;
use crate::gateway::mcp::elicitation::{Asker, Question};
use crate::gateway::mcp::era::Era;
use crate::gateway::mcp::message::{Id, MessageFault};
use crate::gateway::mcp::method::Method;
use crate::gateway::mcp::{McpCall, McpError, Said, reply};
use crate::gateway::request::RequestError;
use crate::gateway::rest::error::RestError;
use crate::policy::Denial;

/// JSON-RPC 2.0 section 5.1: the method does not exist.
const METHOD_NOT_FOUND: i32 = -32_601;
/// JSON-RPC 2.0 section 5.1: the parameters are not valid. MCP answers so to unknown tools and prompts.
const INVALID_PARAMS: i32 = -32_602;
/// JSON-RPC 2.0 section 5.1: something failed that is not the client's.
const INTERNAL_ERROR: i32 = -32_603;
/// MCP up to 2025-11-25: there is no such resource. Later it is [`INVALID_PARAMS`].
const RESOURCE_NOT_FOUND: i32 = -32_002;
/// The member of `_meta` under which a tool's result says that it is a refusal, and which.
const REFUSAL_META: &str = "obo-gateway/refusal";

/// What the agent hears, whatever the form.
pub(super) fn answer_to_mcp(error: &McpError) -> Answer {
    let unreadable = "The service behind this tool answered what cannot be judged; give the request id to the gateway's operators.";
    match error {
        McpError::Address => Answer::new(
            StatusCode::NOT_FOUND,
            "connector_unknown",
            Fault::Agent,
            "Check the address: that of an MCP connector is its path, without a query.",
        ),
        McpError::HttpMethod => Answer::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            Fault::Agent,
            "The agent has to send its MCP messages with POST.",
        ),
        McpError::MediaType => Answer::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "media_type_refused",
            Fault::Agent,
            "The agent has to send its messages as `application/json`, without a content encoding.",
        ),
        McpError::Stalled => answer_to_forwarding(&ForwardError::UploadStalled),
        McpError::BrokeOff => answer_to_forwarding(&ForwardError::UploadBroke),
        McpError::TooManySubscriptions => message_too_large(),
        McpError::Message(error) if error.fault == MessageFault::TooLarge => message_too_large(),
        McpError::Message(_) => Answer::bad_request(
            "message_malformed",
            "The agent has to send one JSON-RPC message that everybody reads alike.",
        ),
        McpError::Era(_) => Answer::bad_request(
            "mcp_version_refused",
            "The agent has to speak a revision of MCP that is served, and the same one in header and message.",
        ),
        McpError::Mirror(_) => Answer::bad_request(
            "mcp_headers_mismatch",
            "The agent has to repeat in the headers what its message says, as MCP 2026-07-28 demands.",
        ),
        McpError::TokenMisplaced => answer_to_request(RequestError::TokenMisplaced),
        McpError::MethodUnknown => Answer::new(
            StatusCode::NOT_FOUND,
            "mcp_method_unknown",
            Fault::Agent,
            "The agent has to use the methods of MCP.",
        ),
        McpError::ToolUnlisted => answer_to_rest(&RestError::ToolUnlisted),
        McpError::Argument { .. } => Answer::bad_request(
            "argument_invalid",
            "The agent has to give the arguments of this tool in the types that it declares.",
        ),
        McpError::SessionMissing => Answer::bad_request(
            "session_missing",
            "The agent has to name its session in the `Mcp-Session-Id` header.",
        ),
        McpError::SessionUnknown => Answer::new(
            StatusCode::NOT_FOUND,
            "session_unknown",
            Fault::Agent,
            "The agent has to begin a new session: this one is over, or belongs to somebody else.",
        ),
        McpError::Task => Answer::new(
            StatusCode::NOT_FOUND,
            "task_unknown",
            Fault::Agent,
            "The agent has to begin the task anew: this one is over, or belongs to somebody else.",
        ),
        // Clients read the JSON-RPC error of a 400, and not each of them that of a 403.
        McpError::State(_) => Answer::bad_request(
            "state_refused",
            "The agent has to begin the call anew: what it goes on with was given out for another call, for somebody else, \
             or too long ago.",
        ),
        McpError::AgentAlone => Refusal::Denied(Denial::AgentAlone).answer(None),
        McpError::Hidden => Refusal::Denied(Denial::NoRule).answer(None),
        McpError::List(_) | McpError::Answer(_) => {
            Answer::new(StatusCode::BAD_GATEWAY, "connector_answer_unreadable", Fault::Connector, unreadable)
        }
    }
}

const fn message_too_large() -> Answer {
    Answer::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "message_too_large",
        Fault::Agent,
        "The agent has to send smaller messages; files travel by reference.",
    )
}

/// How a refusal is told.
enum Form<'a> {
    /// A JSON-RPC error.
    Error { status: StatusCode, code: i32, message: String, data: Option<Value> },
    /// The result of a tool that failed, for the model to read.
    ToolResult(&'a Id),
}

/// What its person can be asked about a refused call.
#[derive(Clone, Copy)]
pub struct Asks<'a> {
    /// Who asks.
    pub asker: &'a Asker<'a>,
    /// What.
    pub question: &'a Question,
}

/// The refusal as an MCP client hears it: as a question to its person, where there is one and the client can show it.
pub(super) fn mcp_response(
    refusal: &Refusal,
    answer: &Answer,
    note: &RefusalNote,
    spoken: &McpCall,
    asks: Option<Asks<'_>>,
    request_id: RequestId,
) -> Response<Bytes> {
    let problem = answer.problem(note, request_id);
    let meta = json!({ REFUSAL_META: problem });
    let asked = asks.and_then(|Asks { asker, question }| asker.ask(question, spoken, meta.clone()));
    let (status, body) = match (asked, form(refusal, answer, spoken, problem)) {
        (Some(asked), _) => (StatusCode::OK, asked),
        (None, Form::Error { status, code, message, data }) => {
            (status, reply::error(spoken.id(), code, &message, data))
        }
        (None, Form::ToolResult(id)) => {
            let wait = answer.retry_after_seconds();
            let wait =
                wait.map(|seconds| format!(" It may be tried again in {seconds} s.")).unwrap_or_default();
            let text = format!("{}{wait} ({}, request {request_id})", remedy(answer), answer.code);
            (StatusCode::OK, reply::tool_error(id, spoken.era, &text, Some(meta)))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    // The unknown must not be told from the hidden.
    if !is_unknown(refusal) {
        answer.add_headers(note, response.headers_mut());
    }
    // A challenge is for a status that has one.
    if answer.challenge == Challenge::Connect {
        response.headers_mut().remove(WWW_AUTHENTICATE);
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(
            ALLOW,
            HeaderValue::from_static(match spoken.era {
                Era::Modern => "POST",
                Era::Legacy => "POST, GET, DELETE",
            }),
        );
    }
    response
}

/// Whether the agent hears that what it asks for is not there, whether or not it is.
fn is_unknown(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Hidden(_) | Refusal::Mcp(McpError::ToolUnlisted | McpError::Hidden))
}

fn form<'a>(refusal: &Refusal, answer: &Answer, spoken: &'a McpCall, problem: Value) -> Form<'a> {
    let error = |code: i32| Form::Error {
        status: answer.status,
        code,
        message: answer.remedy.to_owned(),
        data: Some(problem.clone()),
    };
    if is_unknown(refusal)
        && let Some(unknown) = unknown(spoken)
    {
        return unknown;
    }
    match refusal {
        Refusal::Mcp(McpError::Message(error)) => Form::Error {
            status: answer.status,
            code: error.rpc_code(),
            message: error.to_string(),
            data: Some(problem),
        },
        Refusal::Mcp(McpError::Era(era)) => Form::Error {
            status: answer.status,
            code: era.rpc_code(),
            message: era.to_string(),
            data: Some(era.data().unwrap_or(problem)),
        },
        Refusal::Mcp(McpError::Mirror(mirror)) => Form::Error {
            status: answer.status,
            code: mirror.rpc_code(),
            message: mirror.to_string(),
            data: Some(problem),
        },
        Refusal::Mcp(McpError::MethodUnknown) => Form::Error {
            // In older revisions an error is an answer like any other.
            status: if spoken.era == Era::Modern { answer.status } else { StatusCode::OK },
            code: METHOD_NOT_FOUND,
            message: "Method not found".to_owned(),
            data: None,
        },
        Refusal::Mcp(McpError::Task | McpError::State(_) | McpError::TooManySubscriptions) => {
            error(INVALID_PARAMS)
        }
        // The protocol's own refusals are for the client, not for the model.
        Refusal::Mcp(
            McpError::Address
            | McpError::HttpMethod
            | McpError::MediaType
            | McpError::Stalled
            | McpError::BrokeOff
            | McpError::TokenMisplaced
            | McpError::SessionMissing
            | McpError::SessionUnknown,
        ) => error(http_code(answer)),
        // Whose client cannot be asked to open the link reads it. A 401 would have it sign in at the gateway's issuer, which does not
        // help.
        Refusal::Obtain(ObtainError::NotConnected { .. }) => match &spoken.said {
            Said::Request { id, method: Method::ToolsCall, .. } => Form::ToolResult(id),
            Said::Request { .. } | Said::Nothing | Said::Unread(_) | Said::Stream | Said::End => {
                Form::Error {
                    status: if spoken.era == Era::Modern { StatusCode::FORBIDDEN } else { StatusCode::OK },
                    code: StatusCode::FORBIDDEN.as_u16().into(),
                    message: remedy(answer),
                    data: Some(problem),
                }
            }
        },
        Refusal::Unconfirmed(_) => match &spoken.said {
            Said::Request { id, method: Method::ToolsCall, .. } => Form::ToolResult(id),
            Said::Request { .. } | Said::Nothing | Said::Unread(_) | Said::Stream | Said::End => {
                Form::Error {
                    status: if spoken.era == Era::Modern { answer.status } else { StatusCode::OK },
                    code: http_code(answer),
                    message: remedy(answer),
                    data: Some(problem),
                }
            }
        },
        _ if answer.challenge != Challenge::None || answer.status == StatusCode::UNAUTHORIZED => {
            error(http_code(answer))
        }
        _ if answer.status.is_server_error() => error(INTERNAL_ERROR),
        _ => match &spoken.said {
            Said::Request { id, method: Method::ToolsCall, .. } => Form::ToolResult(id),
            Said::Request { .. } | Said::Nothing | Said::Unread(_) | Said::Stream | Said::End => {
                error(http_code(answer))
            }
        },
    }
}

/// What an unknown tool, prompt or resource is answered with. `None`: the request is about none of these.
fn unknown(spoken: &McpCall) -> Option<Form<'static>> {
    let Said::Request { method, name: Some(name), .. } = &spoken.said else { return None };
    let (code, what) = match (method, spoken.era) {
        (Method::ToolsCall, _) => (INVALID_PARAMS, "tool"),
        (Method::PromptsGet, _) => (INVALID_PARAMS, "prompt"),
        (_, Era::Modern) => (INVALID_PARAMS, "resource"),
        (_, Era::Legacy) => (RESOURCE_NOT_FOUND, "resource"),
    };
    let message = format!("Unknown {what}: {name}");
    Some(Form::Error { status: StatusCode::OK, code, message, data: None })
}

/// What the person can do, with the link where they do it.
fn remedy(answer: &Answer) -> String {
    match answer.connect_url.as_ref().or(answer.confirm_url.as_ref()) {
        Some(url) => format!("{} {url}", answer.remedy),
        None => answer.remedy.to_owned(),
    }
}

/// The HTTP status as an error code: those of our own lie outside of what JSON-RPC reserves.
fn http_code(answer: &Answer) -> i32 {
    answer.status.as_u16().into()
}
