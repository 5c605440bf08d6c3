//! From a request to the tool, prompt or resource that it is about: the message is read once, strictly, and what goes on to
//! the server is written anew from what was read.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method as HttpMethod, Request as HttpRequest};
use hyper::body::Incoming;
use serde_json::{Map, Value};

use super::arguments::declared_arguments;
use super::elicitation::{Asker, Elicits};
use super::era::{self, Era, EraError, ProtocolVersion};
use super::given::call_digest;
use super::handles::{HANDLE_BYTES_MAX, Handle, Handles};
use super::message::{MESSAGE_BYTES_MAX, Message, MessageError, MessageFault, Notification, Request};
use super::method::{Method, NotificationKind};
use super::mirror::{Mirrors, PROTOCOL_VERSION};
use super::params::Completed;
use super::sealed_state::{StateFault, StateKey};
use super::served::{Purpose, Served};
use super::{META_CLIENT_CAPABILITIES, McpCall, McpError, Said};
use crate::clock::Now;
use crate::gateway::canonical;
use crate::gateway::json_body::{self, JsonBodyError};
use crate::gateway::resilience::is_idempotent_message;
use crate::gateway::tool_call::{CallBody, CountedTool, Onward, ToolCall};
use crate::identity::Caller;
use crate::policy::Policy;
use crate::tool::{Arguments, ConnectorName, Primitive, Tool};

/// The header of a session, in revisions up to 2025-11-25.
pub const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// Where a stream is resumed (HTML Living Standard, section 9.2.4).
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Most resources whose changes one request may ask to hear of. Each is decided about.
const SUBSCRIPTIONS_MAX: usize = 256;

/// Whom a request is from, and where it came in.
pub struct Arrival<'a> {
    /// Its head.
    pub request: &'a HttpRequest<()>,
    /// Who sent it.
    pub caller: &'a Caller,
    /// Which connector it is for.
    pub connector: &'a ConnectorName,
    /// The path of that one.
    pub endpoint: &'a str,
    /// What that one serves.
    pub served: &'a Served,
    /// Whose handles are whose.
    pub handles: &'a Handles,
    /// What opens the states of the gateway's own questions.
    pub states: &'a StateKey,
    /// Who may use what.
    pub policy: &'a Policy,
    /// From where it comes.
    pub client: IpAddr,
    /// When it came.
    pub now: Now,
    /// How long nothing may come of its body.
    pub idle_timeout: Duration,
}

impl Arrival<'_> {
    /// Finds out what the request is about. What has been learned of it stands in `spoken`, also when it is refused.
    ///
    /// # Errors
    ///
    /// [`McpError`] when the request is not one that can be judged.
    pub async fn identify(&self, body: Incoming, spoken: &mut McpCall) -> Result<ToolCall, McpError> {
        if self.request.uri().path() != self.endpoint || self.request.uri().query().is_some() {
            return Err(McpError::Address);
        }
        match *self.request.method() {
            HttpMethod::POST => self.message(&self.read(body).await?, spoken),
            HttpMethod::GET if spoken.era == Era::Legacy => self.stream(spoken),
            HttpMethod::DELETE if spoken.era == Era::Legacy => self.end(spoken),
            _ => Err(McpError::HttpMethod),
        }
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, McpError> {
        let headers = self.request.headers();
        json_body::read(headers, body, MESSAGE_BYTES_MAX, self.idle_timeout).await.map_err(
            |error| match error {
                JsonBodyError::MediaType => McpError::MediaType,
                JsonBodyError::Stalled => McpError::Stalled,
                JsonBodyError::BrokeOff => McpError::BrokeOff,
                JsonBodyError::TooLarge => {
                    McpError::Message(MessageError { fault: MessageFault::TooLarge, id: None })
                }
            },
        )
    }

    fn message(&self, text: &[u8], spoken: &mut McpCall) -> Result<ToolCall, McpError> {
        let mut message = Message::parse(text).map_err(|error| {
            spoken.said = error.id.clone().map_or(Said::Nothing, Said::Unread);
            McpError::Message(error)
        })?;
        if let Message::Request(request) = &message {
            let name = request.name().or_else(|| request.uri()).map(Arc::from);
            spoken.said = Said::Request { id: request.id().clone(), method: request.method(), name };
        }
        let version = era::of_message(self.request.headers(), &message)?;
        spoken.era = version.era();
        if let Message::Request(request) = &mut message {
            spoken.digest = call_digest(request.method().as_str(), request.params());
            self.asker().hear(request, spoken)?;
            spoken.elicits = Elicits::of(capabilities(request, spoken.era));
        }
        let body = message.to_bytes();
        if self.caller.has_token_within(&body) {
            return Err(McpError::TokenMisplaced);
        }
        let mut headers = match (spoken.era, &message) {
            (Era::Legacy, _) => {
                self.check_session(spoken, matches!(message, Message::Response(_)), version)?;
                self.copied(&[PROTOCOL_VERSION, SESSION])
            }
            (Era::Modern, Message::Request(request)) => {
                written(&Mirrors::of_request(self.request.headers(), request)?)
            }
            (Era::Modern, Message::Notification(told)) => {
                written(&Mirrors::of_notification(self.request.headers(), told)?)
            }
            (Era::Modern, Message::Response(_)) => return Err(EraError::Response.into()),
        };
        headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
        headers.push((ACCEPT_ENCODING, HeaderValue::from_static("identity")));
        let (tool, arguments, also) = match &message {
            Message::Request(request) => self.request(request, spoken)?,
            Message::Notification(told) => (self.notification(told)?, Arguments::new(), Vec::new()),
            Message::Response(_) => (self.purpose(Purpose::Response)?, Arguments::new(), Vec::new()),
        };
        Ok(ToolCall {
            is_idempotent: match &message {
                Message::Request(request) => is_idempotent_message(request.method(), tool.tool.annotations),
                Message::Notification(_) | Message::Response(_) => false,
            },
            tool,
            arguments,
            arguments_digest: match &message {
                Message::Request(request) => arguments_digest(request),
                Message::Notification(_) | Message::Response(_) => None,
            },
            also,
            onward: Onward { headers, body_is_anew: true, is_message: true, ..Onward::to("") },
            body: CallBody::Read(body),
            outlives_agent: spoken.era == Era::Legacy,
        })
    }

    fn request(
        &self,
        request: &Request,
        spoken: &McpCall,
    ) -> Result<(CountedTool, Arguments, Vec<Arc<Tool>>), McpError> {
        if let Some(state) = request.request_state() {
            self.check_handle(Handle::State(state, spoken.digest)).ok_or(StateFault::NotGiven)?;
        }
        for task in request.tasks() {
            self.check_handle(Handle::Task(task)).ok_or(McpError::Task)?;
        }
        let prompt = |name| self.served.unlisted(Primitive::Prompt, name);
        let resource = |uri| self.served.unlisted(Primitive::Resource, uri);
        let alone = |tool| Ok((tool, Arguments::new(), Vec::new()));
        let purpose = || self.purpose(Purpose::Request(request.method()));
        if self.caller.is_agent_alone() {
            return alone(purpose()?);
        }
        match (request.method(), request.name(), request.uri()) {
            (Method::ToolsCall, Some(name), _) => {
                let tool = self.served.tool(name).ok_or(McpError::ToolUnlisted)?;
                let arguments = declared_arguments(&tool.tool, request.arguments());
                // Whoever is not told that there is such a tool is not told what it takes either.
                let is_shown = || self.policy.shows(self.caller, &tool.tool, self.client, self.now);
                let arguments =
                    arguments.map_err(|error| if is_shown() { error } else { McpError::Hidden })?;
                Ok((tool, arguments, Vec::new()))
            }
            (Method::PromptsGet, Some(name), _) => alone(prompt(name)),
            (
                Method::ResourcesRead | Method::ResourcesSubscribe | Method::ResourcesUnsubscribe,
                _,
                Some(uri),
            ) => alone(resource(uri)),
            (Method::CompletionComplete, _, _) => alone(match request.completes() {
                Some(Completed::Prompt(name)) => prompt(name),
                Some(Completed::Template(uri)) => resource(uri),
                None => purpose()?,
            }),
            (Method::SubscriptionsListen, _, _) => {
                if request.resource_subscriptions().nth(SUBSCRIPTIONS_MAX).is_some() {
                    return Err(McpError::TooManySubscriptions);
                }
                let also = request.resource_subscriptions().map(|uri| resource(uri).tool).collect();
                Ok((purpose()?, Arguments::new(), also))
            }
            (Method::Unknown, _, _) => Err(McpError::MethodUnknown),
            (
                Method::ToolsCall
                | Method::PromptsGet
                | Method::ResourcesRead
                | Method::ResourcesSubscribe
                | Method::ResourcesUnsubscribe
                | Method::Initialize
                | Method::Ping
                | Method::ToolsList
                | Method::PromptsList
                | Method::ResourcesList
                | Method::ResourceTemplatesList
                | Method::LoggingSetLevel
                | Method::TasksGet
                | Method::TasksList
                | Method::TasksResult
                | Method::TasksCancel
                | Method::TasksUpdate
                | Method::ServerDiscover,
                _,
                _,
            ) => alone(purpose()?),
        }
    }

    fn notification(&self, told: &Notification) -> Result<CountedTool, McpError> {
        match told.kind() {
            NotificationKind::Unknown => Err(McpError::MethodUnknown),
            NotificationKind::Initialized
            | NotificationKind::Cancelled
            | NotificationKind::Progress
            | NotificationKind::RootsListChanged
            | NotificationKind::TaskStatus => self.purpose(Purpose::Notification),
        }
    }

    /// GET: what else the server has to say, and what of a stream was missed.
    fn stream(&self, spoken: &mut McpCall) -> Result<ToolCall, McpError> {
        spoken.said = Said::Stream;
        let version = era::of_headers(self.request.headers())?;
        // Whose events are whose is known by the session alone.
        self.check_session(spoken, self.request.headers().contains_key(LAST_EVENT_ID), version)?;
        self.bodyless(Purpose::Stream, &[PROTOCOL_VERSION, SESSION, LAST_EVENT_ID])
    }

    /// DELETE: the end of a session.
    fn end(&self, spoken: &mut McpCall) -> Result<ToolCall, McpError> {
        spoken.said = Said::End;
        let version = era::of_headers(self.request.headers())?;
        self.check_session(spoken, true, version)?;
        self.bodyless(Purpose::End, &[PROTOCOL_VERSION, SESSION])
    }

    fn bodyless(&self, purpose: Purpose, copied: &[HeaderName]) -> Result<ToolCall, McpError> {
        let mut headers = self.copied(copied);
        headers.push((ACCEPT_ENCODING, HeaderValue::from_static("identity")));
        Ok(ToolCall {
            tool: self.purpose(purpose)?,
            arguments: Arguments::new(),
            arguments_digest: None,
            also: Vec::new(),
            onward: Onward { headers, is_message: true, ..Onward::to("") },
            body: CallBody::Read(Bytes::new()),
            // A stream is opened again by its client, which knows where it stopped.
            is_idempotent: false,
            outlives_agent: false,
        })
    }

    fn purpose(&self, purpose: Purpose) -> Result<CountedTool, McpError> {
        match self.caller.is_agent_alone() {
            true => self.served.purpose_alone(purpose).ok_or(McpError::AgentAlone),
            false => Ok(self.served.purpose(purpose)),
        }
    }

    /// The session that the request names has to be the caller's. One that is somebody else's does not exist.
    fn check_session(
        &self,
        spoken: &mut McpCall,
        required: bool,
        version: ProtocolVersion,
    ) -> Result<(), McpError> {
        let mut sessions = self.request.headers().get_all(SESSION).iter();
        let session = match (sessions.next(), sessions.next()) {
            (None, _) if required => return Err(McpError::SessionMissing),
            (None, _) => return Ok(()),
            (Some(session), None) => session.to_str().map_err(|_| McpError::SessionUnknown)?,
            (Some(_), Some(_)) => return Err(McpError::SessionUnknown),
        };
        let elicits = self.handles.session(self.connector, session, self.caller);
        let elicits = elicits.ok_or(McpError::SessionUnknown)?;
        // Earlier revisions have no form for the gateway's questions.
        if version == ProtocolVersion::V2025_11_25 {
            spoken.elicits = elicits;
        }
        spoken.session = Some(Arc::from(session));
        Ok(())
    }

    fn asker(&self) -> Asker<'_> {
        let Self { caller, connector, now, .. } = *self;
        Asker { key: self.states, caller, connector, now }
    }

    fn check_handle(&self, handle: Handle<'_>) -> Option<()> {
        self.handles.is_of(self.connector, handle, self.caller).then_some(())
    }

    /// The headers under these names, as they were checked. One that is there twice is none.
    fn copied(&self, names: &[HeaderName]) -> Vec<(HeaderName, HeaderValue)> {
        let headers = self.request.headers();
        let only = |name: &HeaderName| {
            let mut values = headers.get_all(name).iter();
            let is_fit = |value: &&HeaderValue| {
                value.len() <= HANDLE_BYTES_MAX && !self.caller.has_token_within(value.as_bytes())
            };
            let value = values.next().filter(is_fit)?;
            values.next().is_none().then(|| (name.clone(), value.clone()))
        };
        names.iter().filter_map(only).collect()
    }
}

/// What the client says that it can do: with each request, or when a session begins.
fn capabilities(request: &Request, era: Era) -> Option<&Value> {
    match (era, request.method()) {
        (Era::Modern, _) => request.meta()?.get(META_CLIENT_CAPABILITIES),
        (Era::Legacy, Method::Initialize) => request.params()?.get("capabilities"),
        (Era::Legacy, _) => None,
    }
}

/// The digest of whatever a tool or a prompt is called with, declared or not.
fn arguments_digest(request: &Request) -> Option<[u8; 32]> {
    matches!(request.method(), Method::ToolsCall | Method::PromptsGet)
        .then(|| request.arguments().map_or_else(|| canonical::digest(&Map::new()), canonical::digest))
}

fn written(mirrors: &Mirrors) -> Vec<(HeaderName, HeaderValue)> {
    mirrors.headers().iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}
