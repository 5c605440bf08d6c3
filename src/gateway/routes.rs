//! From a request line to the tool it calls: the connector by the longest path prefix, then the tool.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, Method, Response};
use tokio::sync::oneshot;

use super::body::{Body, ConnectorBody, read_on};
use super::call::Call;
use super::forward::{ConnectorSockets, ConnectorStream, ForwardError, Upstream, UpstreamError};
use super::gate::Gate;
use super::mcp::Served;
use super::path::{CanonicalPath, ConnectorPath};
use super::readers::Reader;
use super::resilience::{Attempts, Resilience};
use super::rest::Operations;
use super::rest::identify::{RestTool, RestTools};
use super::rewrite::Delegated;
use super::settings::{ConnectorSettings, ConnectorTimeouts, Tools};
use super::tool_call::CountedTool;
use super::upload::{Upload, UploadBody};
use crate::audit::{Destination, Ending};
use crate::limit::{ConnectorLimits, Limits, Place};
use crate::metrics::{Metrics, ToolMetrics};
use crate::tool::ConnectorName;

/// All connectors, by path.
pub struct Routes {
    by_path: HashMap<Arc<str>, Arc<Connector>, foldhash::fast::RandomState>,
}

/// One connector, ready for calls.
pub struct Connector {
    /// Its name.
    pub name: ConnectorName,
    upstream: Arc<Upstream>,
    timeouts: ConnectorTimeouts,
    body_timeout: Duration,
    /// What is known of its troubles.
    pub resilience: Arc<Resilience>,
    /// Whether a call that may be repeated is, where it throttles or fails.
    pub repeats: bool,
    /// Headers that it gets beside the standard ones.
    pub pass_headers: Vec<HeaderName>,
    /// How calls are counted that match none of its tools.
    pub metrics: Arc<ToolMetrics>,
    /// What stands before it.
    pub gate: Arc<Gate>,
    /// How many calls there may be.
    pub limits: Arc<ConnectorLimits>,
    /// The path under which agents call it.
    pub path: ConnectorPath,
    /// Where it is, for records.
    pub destination: Arc<Destination>,
    tools: ConnectorTools,
}

/// What a connector serves.
pub enum ConnectorTools {
    /// Operations of a REST API.
    Rest(RestTools),
    /// What an MCP server has.
    Mcp(Arc<Served>),
}

impl Routes {
    /// The routes to these connectors, with a gate and limits before each. What `previous` has of connections and knows of troubles is taken
    /// over where nothing has changed.
    ///
    /// # Errors
    ///
    /// The connector's name and what is wrong with it.
    pub fn new(
        connectors: Vec<ConnectorSettings>,
        gate: impl Fn(&ConnectorSettings) -> Gate,
        limits: &Limits,
        metrics: &Metrics,
        sockets: &Arc<ConnectorSockets>,
        previous: Option<&Self>,
    ) -> Result<Self, (ConnectorName, UpstreamError)> {
        let mut by_path =
            HashMap::with_capacity_and_hasher(connectors.len(), foldhash::fast::RandomState::default());
        for settings in connectors {
            let before = previous.and_then(|routes| routes.named(&settings.name));
            let upstream = Upstream::of(&settings, sockets, before.map(|connector| &connector.upstream))
                .map_err(|error| (settings.name.clone(), error))?;
            let resilience = match before.filter(|before| Arc::ptr_eq(&before.upstream, &upstream)) {
                Some(before) => Arc::clone(&before.resilience),
                None => Arc::new(Resilience::new(metrics.connector(settings.name.as_str()))),
            };
            let connector = Connector {
                upstream,
                timeouts: settings.timeouts,
                body_timeout: settings.body_timeout,
                resilience,
                repeats: settings.repeats,
                gate: Arc::new(gate(&settings)),
                limits: limits.of(&settings.name),
                metrics: metrics.no_tool(settings.name.as_str()),
                tools: ConnectorTools::new(settings.tools, metrics),
                name: settings.name,
                pass_headers: settings.pass_headers,
                path: settings.path,
                destination: Arc::new(Destination::of(&settings.upstream)),
            };
            by_path.insert(connector.path.as_str().into(), Arc::new(connector));
        }
        let routes = Self { by_path };
        for gone in previous.into_iter().flat_map(Self::connectors) {
            if routes.named(&gone.name).is_none() {
                metrics.connector_gone(gone.name.as_str());
            }
        }
        Ok(routes)
    }

    /// The connector that a path belongs to: the one with the longest prefix of whole segments.
    pub fn connector(&self, path: CanonicalPath<'_>) -> Option<&Arc<Connector>> {
        path.prefixes().find_map(|prefix| self.by_path.get(prefix))
    }

    /// All connectors, in no order.
    pub fn connectors(&self) -> impl Iterator<Item = &Arc<Connector>> {
        self.by_path.values()
    }

    /// The connector of this name.
    pub fn named(&self, name: &ConnectorName) -> Option<&Arc<Connector>> {
        self.by_path.values().find(|connector| connector.name == *name)
    }
}

impl ConnectorTools {
    fn new(tools: Tools, metrics: &Metrics) -> Self {
        match tools {
            Tools::Any(tool) => Self::Rest(RestTools::Any(CountedTool::new(tool, metrics))),
            Tools::Listed(listed) => {
                let mut operations = Operations::default();
                for (operation, tool) in listed {
                    let tool = CountedTool::new(tool, metrics);
                    operations
                        .add(&operation, RestTool { tool, arguments: operation.arguments().clone() })
                        .expect("no two tools overlap: resolve() refuses them");
                }
                Self::Rest(RestTools::Listed(operations))
            }
            Tools::Mcp(tools) => Self::Mcp(Arc::new(Served::new(tools, metrics))),
        }
    }
}

impl Connector {
    /// What of `path` the connector itself sees.
    pub fn path_within<'a>(&self, path: CanonicalPath<'a>) -> CanonicalPath<'a> {
        path.under(&self.path).expect("the path was routed here by this prefix")
    }

    /// What it serves, where it is an MCP server.
    pub fn mcp(&self) -> Option<&Arc<Served>> {
        match &self.tools {
            ConnectorTools::Rest(_) => None,
            ConnectorTools::Mcp(served) => Some(served),
        }
    }

    /// What it serves.
    pub fn tools(&self) -> &ConnectorTools {
        &self.tools
    }

    /// The REST tool that a method and a path are; `None` when they are none.
    pub fn operation(&self, method: &Method, path: CanonicalPath<'_>) -> Option<&CountedTool> {
        match &self.tools {
            ConnectorTools::Rest(RestTools::Any(tool)) => Some(tool),
            ConnectorTools::Rest(RestTools::Listed(operations)) => {
                operations.find_decoded(method, &path.decoded()).map(|(found, _)| &found.tool)
            }
            ConnectorTools::Mcp(_) => None,
        }
    }

    /// The REST tools.
    pub fn operations(&self) -> Vec<&CountedTool> {
        match &self.tools {
            ConnectorTools::Rest(RestTools::Any(tool)) => vec![tool],
            ConnectorTools::Rest(RestTools::Listed(operations)) => {
                operations.all().iter().map(|operation| &operation.tool).collect()
            }
            ConnectorTools::Mcp(_) => Vec::new(),
        }
    }

    /// How long nothing may come of an agent's body.
    pub fn body_timeout(&self) -> Duration {
        self.body_timeout
    }

    /// How long nothing may come of an answer's body.
    pub fn idle_timeout(&self) -> Duration {
        self.timeouts.idle
    }

    /// How long it has for its answer.
    pub fn response_timeout(&self) -> Duration {
        self.timeouts.response
    }

    /// Sends a request once, and waits for the head of the answer for so much `time`. How often that is done, `forward` decides. The
    /// call has its `place` until the answer has been read, or there is none.
    ///
    /// # Errors
    ///
    /// [`ForwardError`] when there is none.
    pub async fn send(
        &self,
        delegated: Delegated,
        body: UploadBody,
        upload: &Arc<Upload>,
        time: Duration,
        outlives_agent: bool,
        place: Place,
    ) -> Result<Response<AnswerBody>, ForwardError> {
        let (response, place) = match outlives_agent {
            true => self.send_detached(delegated, body, Arc::clone(upload), time, place).await?,
            false => (self.upstream.send(delegated, body, upload, time).await?, place),
        };
        Ok(response.map(|body| {
            // Boxed, since it is moved often from here to where it is read.
            let mut body = Box::new(ConnectorBody::new(body, self.idle_timeout(), place));
            if outlives_agent {
                body.outlives_agent();
            }
            AnswerBody::Connector(body)
        }))
    }

    /// Sends a request that goes on though the agent leaves while it waits, and keeps its place then.
    async fn send_detached(
        &self,
        delegated: Delegated,
        body: UploadBody,
        upload: Arc<Upload>,
        time: Duration,
        place: Place,
    ) -> Result<(Response<ConnectorStream>, Place), ForwardError> {
        let (upstream, idle_timeout) = (Arc::clone(&self.upstream), self.idle_timeout());
        let (answered, answer) = oneshot::channel();
        tokio::spawn(async move {
            let response = upstream.send(delegated, body, &upload, time).await;
            if let Err(Ok((response, place))) = answered.send(response.map(|response| (response, place))) {
                read_on(response.into_body(), idle_timeout, place);
            }
        });
        answer.await.unwrap_or_else(|_| Err(ForwardError::Broke("the request's task failed".to_owned())))
    }
}

/// The connector's answer, on its way to the agent.
pub struct ConnectorAnswer {
    /// Its head, and its body.
    pub response: Response<AnswerBody>,
    upload: Arc<Upload>,
    attempts: Attempts,
    idle_timeout: Duration,
}

/// The body of a connector's answer.
pub enum AnswerBody {
    /// Still to come.
    Connector(Box<ConnectorBody>),
    /// It was read, and this was written anew from it.
    Written(Bytes),
}

impl AnswerBody {
    /// Gives its place back, though it has not been read: nothing more is wanted of the connector.
    pub fn leave_place(&mut self) {
        match self {
            Self::Connector(body) => body.leave_place(),
            Self::Written(_) => {}
        }
    }
}

impl ConnectorAnswer {
    /// What a connector answered to the last of these attempts.
    pub fn of(
        response: Response<AnswerBody>,
        upload: Arc<Upload>,
        attempts: Attempts,
        idle_timeout: Duration,
    ) -> Self {
        Self { response, upload, attempts, idle_timeout }
    }

    /// An answer that the gateway gives in the connector's place.
    pub fn written(response: Response<Bytes>) -> Self {
        Self {
            response: response.map(AnswerBody::Written),
            upload: UploadBody::read(Bytes::new()).1,
            attempts: Attempts::of(false, false),
            idle_timeout: Duration::MAX,
        }
    }

    /// The body of the request that it answers, for sending it a second time; `None` when it was too large to keep,
    /// or has not come to its end.
    pub fn take_request_body(&self) -> Option<Bytes> {
        self.upload.take_whole()
    }

    /// The attempts after which it came.
    pub fn attempts(&self) -> Attempts {
        self.attempts
    }

    /// How long nothing may come of its body.
    pub fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// The answer for the agent. Its body carries the call to its end.
    pub fn into_response(
        self,
        mut call: Box<Call>,
        reader: Option<Reader>,
        deadline: Instant,
    ) -> Response<Body> {
        call.answered(self.response.status(), self.attempts.latency());
        // Nothing is sent again from here on, and the answer may be a stream of hours.
        drop(self.upload.take_whole());
        self.response.map(|body| match body {
            AnswerBody::Connector(mut body) => {
                body.cut_at(deadline);
                Body::from_connector(body, call, reader)
            }
            AnswerBody::Written(bytes) => {
                call.end(Ending::Answered);
                Body::whole(bytes, Some(call))
            }
        })
    }
}
