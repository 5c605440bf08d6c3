//! What an MCP connector serves: the tools that its configuration lists, or else whatever policy allows by name.

use std::collections::HashMap;
use std::sync::Arc;

use super::method::Method;
use crate::gateway::settings::{ListWithoutPerson, McpTools};
use crate::gateway::tool_call::CountedTool;
use crate::metrics::{Metrics, ToolMetrics};
use crate::tool::{ConnectorName, IdentityMode, Primitive, Tool, ToolName};

/// The tools, prompts, resources and methods of a connector. Those that no configuration names are counted together:
/// what a request calls them is no metric label.
pub struct Served {
    unlisted: Arc<Tool>,
    listed: Option<HashMap<Arc<str>, CountedTool>>,
    unlisted_metrics: Arc<ToolMetrics>,
    prompt_metrics: Arc<ToolMetrics>,
    resource_metrics: Arc<ToolMetrics>,
    purposes: HashMap<Purpose, CountedTool>,
    /// The same for an agent without a person. Empty: it gets nothing.
    purposes_alone: HashMap<Purpose, CountedTool>,
    /// What an agent gets that asks for a list without a person.
    pub list_without_person: ListWithoutPerson,
}

/// What a request is when it is about neither a tool nor a prompt nor a resource.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Purpose {
    /// A request of this method.
    Request(Method),
    /// A notification.
    Notification,
    /// The answer to a request of the server's.
    Response,
    /// GET: what else the server has to say.
    Stream,
    /// DELETE: the end of a session.
    End,
}

impl Purpose {
    /// What it is called in policy, records and metrics.
    const fn name(self) -> &'static str {
        match self {
            Self::Request(method) => method.as_str(),
            Self::Notification => "notification",
            Self::Response => "response",
            Self::Stream => "stream",
            Self::End => "end_session",
        }
    }

    /// Whether it is needed to see what there is, and changes nothing.
    const fn is_discovery(self) -> bool {
        match self {
            Self::Request(method) => matches!(
                method,
                Method::Initialize
                    | Method::Ping
                    | Method::ServerDiscover
                    | Method::ToolsList
                    | Method::PromptsList
                    | Method::ResourcesList
                    | Method::ResourceTemplatesList
            ),
            Self::Notification | Self::Stream | Self::End => true,
            Self::Response => false,
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        let others = [Self::Notification, Self::Response, Self::Stream, Self::End];
        Method::KNOWN.into_iter().map(Self::Request).chain(others)
    }
}

impl Served {
    /// What these settings say is served.
    pub fn new(settings: McpTools, metrics: &Metrics) -> Self {
        let McpTools { unlisted, listed, list_without_person } = settings;
        let named = |primitive, name: &str| renamed(&unlisted, primitive, name);
        let counted = |primitive, name: &str| metrics.tool(&named(primitive, name));
        let listed = listed.map(|tools| {
            tools
                .into_iter()
                .map(|tool| (tool.name.as_str().into(), CountedTool::new(tool, metrics)))
                .collect()
        });
        let purposes = |template: &Tool, wanted: fn(&Purpose) -> bool| {
            let tool = |purpose: Purpose| Arc::new(renamed(template, Primitive::Method, purpose.name()));
            let counted = |purpose| (purpose, CountedTool::new(tool(purpose), metrics));
            Purpose::all().filter(wanted).map(counted).collect()
        };
        let alone = Tool { identity: IdentityMode::AppOnly, ..Tool::clone(&unlisted) };
        Self {
            purposes_alone: match list_without_person {
                ListWithoutPerson::Refuse => HashMap::new(),
                ListWithoutPerson::AppOnly | ListWithoutPerson::Configured => {
                    purposes(&alone, |purpose| purpose.is_discovery())
                }
            },
            unlisted_metrics: metrics.tool(&unlisted),
            prompt_metrics: counted(Primitive::Prompt, Method::PromptsGet.as_str()),
            resource_metrics: counted(Primitive::Resource, Method::ResourcesRead.as_str()),
            purposes: purposes(&unlisted, |_| true),
            listed,
            list_without_person,
            unlisted,
        }
    }

    /// The tool of this name; `None` when tools are listed and this is none of them.
    pub fn tool(&self, name: &str) -> Option<CountedTool> {
        match &self.listed {
            Some(listed) => listed.get(name).cloned(),
            None => Some(self.unlisted(Primitive::Tool, name)),
        }
    }

    /// Whether an agent without a person gets anything.
    pub fn lists_without_person(&self) -> bool {
        !self.purposes_alone.is_empty()
    }

    /// The connector.
    pub fn connector(&self) -> &ConnectorName {
        &self.unlisted.connector
    }

    /// The tools that the configuration lists, in the order of their names.
    pub fn listed(&self) -> Vec<&Arc<Tool>> {
        let mut tools: Vec<_> = self.listed.iter().flatten().map(|(_, counted)| &counted.tool).collect();
        tools.sort_by_key(|tool| tool.name.as_str());
        tools
    }

    /// What goes by this name, or this URI.
    pub fn unlisted(&self, primitive: Primitive, name: &str) -> CountedTool {
        let metrics = match primitive {
            Primitive::Tool | Primitive::Method => &self.unlisted_metrics,
            Primitive::Prompt => &self.prompt_metrics,
            Primitive::Resource => &self.resource_metrics,
        };
        CountedTool { tool: Arc::new(renamed(&self.unlisted, primitive, name)), metrics: Arc::clone(metrics) }
    }

    /// The tool, prompt or resource of this name; `None` when tools are listed and this is none of them.
    pub fn find(&self, primitive: Primitive, name: &str) -> Option<CountedTool> {
        match primitive {
            Primitive::Tool => self.tool(name),
            Primitive::Prompt | Primitive::Resource | Primitive::Method => {
                Some(self.unlisted(primitive, name))
            }
        }
    }

    /// The same for an agent without a person; `None`: it is not for one.
    pub fn purpose_alone(&self, purpose: Purpose) -> Option<CountedTool> {
        self.purposes_alone.get(&purpose).cloned()
    }

    /// A request that is about none of these.
    pub fn purpose(&self, purpose: Purpose) -> CountedTool {
        self.purposes
            .get(&purpose)
            .cloned()
            .unwrap_or_else(|| self.unlisted(Primitive::Method, purpose.name()))
    }
}

fn renamed(tool: &Tool, primitive: Primitive, name: &str) -> Tool {
    Tool { primitive, name: ToolName::new(name), ..tool.clone() }
}
