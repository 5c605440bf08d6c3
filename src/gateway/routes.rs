//! From a request line to the tool it calls: the connector by the longest path prefix, then the tool.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, Method, Response};
use hyper::body::Incoming;

use super::body::Body;
use super::call::Call;
use super::forward::{ForwardError, Upstream, UpstreamError};
use super::path::{CanonicalPath, ConnectorPath};
use super::readers::Reader;
use super::rest::Operations;
use super::rewrite::Delegated;
use super::settings::{ConnectorSettings, McpTools, Tools};
use super::tool_call::{CallBody, ToolCall};
use super::upload::{Upload, UploadBody};
use crate::metrics::{Metrics, ToolMetrics};
use crate::tool::{Arguments, ConnectorName, Tool};

/// All connectors, by path.
pub struct Routes {
    by_path: HashMap<Arc<str>, Arc<Connector>>,
}

/// One connector, ready for calls.
pub struct Connector {
    /// Its name.
    pub name: ConnectorName,
    upstream: Upstream,
    /// Headers that it gets beside the standard ones.
    pub pass_headers: Vec<HeaderName>,
    /// How calls are counted that match none of its tools.
    pub metrics: Arc<ToolMetrics>,
    path: ConnectorPath,
    tools: ConnectorTools,
}

/// A tool, and the metric handles for calls of it.
pub struct CountedTool {
    /// The tool.
    pub tool: Arc<Tool>,
    /// The handles.
    pub metrics: Arc<ToolMetrics>,
}

enum ConnectorTools {
    Any(CountedTool),
    Listed(Operations<CountedTool>),
    Mcp(#[expect(dead_code, reason = "the stages that use it come with the next change")] McpTools),
}

impl Routes {
    /// The routes to these connectors. Connections of `previous` are taken over where nothing has changed.
    ///
    /// # Errors
    ///
    /// The connector's name and what is wrong with it.
    pub fn new(
        connectors: Vec<ConnectorSettings>,
        metrics: &Metrics,
        previous: Option<&Self>,
    ) -> Result<Self, (ConnectorName, UpstreamError)> {
        let mut by_path = HashMap::with_capacity(connectors.len());
        for settings in connectors {
            let before = previous.and_then(|routes| routes.named(&settings.name));
            let upstream = Upstream::new(&settings, before.map(|connector| &connector.upstream))
                .map_err(|error| (settings.name.clone(), error))?;
            let connector = Connector {
                upstream,
                metrics: metrics.no_tool(settings.name.as_str()),
                tools: ConnectorTools::new(settings.tools, metrics),
                name: settings.name,
                pass_headers: settings.pass_headers,
                path: settings.path,
            };
            by_path.insert(connector.path.as_str().into(), Arc::new(connector));
        }
        Ok(Self { by_path })
    }

    /// The connector that a path belongs to: the one with the longest prefix of whole segments.
    pub fn connector(&self, path: CanonicalPath<'_>) -> Option<&Arc<Connector>> {
        path.prefixes().find_map(|prefix| self.by_path.get(prefix))
    }

    fn named(&self, name: &ConnectorName) -> Option<&Arc<Connector>> {
        self.by_path.values().find(|connector| connector.name == *name)
    }
}

impl ConnectorTools {
    fn new(tools: Tools, metrics: &Metrics) -> Self {
        let counted = |tool: Arc<Tool>| CountedTool { metrics: metrics.tool(&tool), tool };
        match tools {
            Tools::Any(tool) => Self::Any(counted(tool)),
            Tools::Listed(listed) => {
                let mut operations = Operations::default();
                for (operation, tool) in listed {
                    operations
                        .add(&operation, counted(tool))
                        .expect("no two tools overlap: resolve() refuses them");
                }
                Self::Listed(operations)
            }
            Tools::Mcp(tools) => Self::Mcp(tools),
        }
    }
}

impl Connector {
    /// What of `path` the connector itself sees.
    pub fn path_within<'a>(&self, path: CanonicalPath<'a>) -> CanonicalPath<'a> {
        path.under(&self.path).expect("the path was routed here by this prefix")
    }

    /// The tool that a request calls; `None` when the connector lists its tools and this is none of them.
    pub fn identify(&self, method: &Method, path: CanonicalPath<'_>, body: Incoming) -> Option<ToolCall> {
        let CountedTool { tool, metrics } = match &self.tools {
            ConnectorTools::Any(tool) => tool,
            ConnectorTools::Listed(operations) => operations.find(method, path)?,
            ConnectorTools::Mcp(_) => return None,
        };
        Some(ToolCall {
            tool: Arc::clone(tool),
            metrics: Arc::clone(metrics),
            arguments: Arguments::new(),
            body: CallBody::Streamed(body),
        })
    }

    /// Forwards a request with this body, and waits for the head of the answer.
    ///
    /// # Errors
    ///
    /// [`ForwardError`] when there is none.
    pub async fn forward(
        &self,
        delegated: Delegated,
        body: CallBody,
        call: &mut Call,
    ) -> Result<ConnectorAnswer, ForwardError> {
        let (body, upload) = match body {
            CallBody::Streamed(body) => UploadBody::new(body, self.upstream.timeouts().idle),
            CallBody::Read(body) => UploadBody::read(body),
        };
        call.track_upload(&upload);
        self.send(delegated, body, upload, Duration::ZERO, call).await
    }

    /// Forwards a request a second time, with the copy of its body that was kept; `turned_away` is the answer to the
    /// first.
    ///
    /// # Errors
    ///
    /// [`ForwardError`] when there is none.
    pub async fn forward_again(
        &self,
        delegated: Delegated,
        body: Bytes,
        turned_away: ConnectorAnswer,
        call: &mut Call,
    ) -> Result<ConnectorAnswer, ForwardError> {
        let (body, upload) = UploadBody::again(body);
        self.send(delegated, body, upload, turned_away.latency, call).await
    }

    async fn send(
        &self,
        delegated: Delegated,
        body: UploadBody,
        upload: Arc<Upload>,
        latency_before: Duration,
        call: &mut Call,
    ) -> Result<ConnectorAnswer, ForwardError> {
        let forwarded = Instant::now();
        let response = self.upstream.send(delegated, body, &upload).await?;
        call.record.connector_request_id = response.headers().get("request-id").cloned();
        let latency = latency_before + forwarded.elapsed();
        Ok(ConnectorAnswer { response, upload, latency, idle_timeout: self.upstream.timeouts().idle })
    }
}

/// The connector's answer, on its way to the agent.
pub struct ConnectorAnswer {
    /// Its head, and its body still to come.
    pub response: Response<Incoming>,
    upload: Arc<Upload>,
    latency: Duration,
    idle_timeout: Duration,
}

impl ConnectorAnswer {
    /// The body of the request that it answers, for sending it a second time; `None` when it was too large to keep,
    /// or has not come to its end.
    pub fn take_request_body(&self) -> Option<Bytes> {
        self.upload.take_whole()
    }

    /// The answer for the agent. Its body carries the call to its end.
    pub fn into_response(self, mut call: Box<Call>, reader: Option<Reader>) -> Response<Body> {
        call.answered(self.response.status(), self.latency);
        self.response.map(|body| Body::from_connector(body, self.idle_timeout, call, reader))
    }
}
