//! The methods of the protocol, of every revision that is served.

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Method {
    /// Begins a session, in revisions up to 2025-11-25.
    Initialize,
    /// Asks whether the other end is there, in revisions up to 2025-11-25.
    Ping,
    /// Lists tools.
    ToolsList,
    /// Calls a tool.
    ToolsCall,
    /// Lists prompts.
    PromptsList,
    /// Fills a prompt in.
    PromptsGet,
    /// Lists resources.
    ResourcesList,
    /// Lists templates of resources' URIs.
    ResourceTemplatesList,
    /// Reads a resource.
    ResourcesRead,
    /// Asks to hear of a resource's changes, in revisions up to 2025-11-25.
    ResourcesSubscribe,
    /// Ends that.
    ResourcesUnsubscribe,
    /// Asks what an argument of a prompt or of a template could be.
    CompletionComplete,
    /// Says which log messages to send, in revisions up to 2025-11-25.
    LoggingSetLevel,
    /// Asks how a task stands.
    TasksGet,
    /// Lists tasks, in 2025-11-25.
    TasksList,
    /// Waits for a task's result, in 2025-11-25.
    TasksResult,
    /// Cancels a task.
    TasksCancel,
    /// Answers what a task asks, in the Tasks extension of 2026-07-28.
    TasksUpdate,
    /// Asks what the server can do, since 2026-07-28.
    ServerDiscover,
    /// Asks to hear of changes, since 2026-07-28.
    SubscriptionsListen,
    /// None of these. What it does is not known, so nobody can say who may do it.
    Unknown,
}

impl Method {
    /// Every method that is known.
    pub const KNOWN: [Self; 20] = [
        Self::Initialize,
        Self::Ping,
        Self::ToolsList,
        Self::ToolsCall,
        Self::PromptsList,
        Self::PromptsGet,
        Self::ResourcesList,
        Self::ResourceTemplatesList,
        Self::ResourcesRead,
        Self::ResourcesSubscribe,
        Self::ResourcesUnsubscribe,
        Self::CompletionComplete,
        Self::LoggingSetLevel,
        Self::TasksGet,
        Self::TasksList,
        Self::TasksResult,
        Self::TasksCancel,
        Self::TasksUpdate,
        Self::ServerDiscover,
        Self::SubscriptionsListen,
    ];

    /// The method by this name, which is compared as it stands.
    pub fn named(name: &str) -> Self {
        Self::KNOWN.into_iter().find(|method| method.as_str() == name).unwrap_or(Self::Unknown)
    }

    /// As it stands in messages. Safe as a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Ping => "ping",
            Self::ToolsList => "tools/list",
            Self::ToolsCall => "tools/call",
            Self::PromptsList => "prompts/list",
            Self::PromptsGet => "prompts/get",
            Self::ResourcesList => "resources/list",
            Self::ResourceTemplatesList => "resources/templates/list",
            Self::ResourcesRead => "resources/read",
            Self::ResourcesSubscribe => "resources/subscribe",
            Self::ResourcesUnsubscribe => "resources/unsubscribe",
            Self::CompletionComplete => "completion/complete",
            Self::LoggingSetLevel => "logging/setLevel",
            Self::TasksGet => "tasks/get",
            Self::TasksList => "tasks/list",
            Self::TasksResult => "tasks/result",
            Self::TasksCancel => "tasks/cancel",
            Self::TasksUpdate => "tasks/update",
            Self::ServerDiscover => "server/discover",
            Self::SubscriptionsListen => "subscriptions/listen",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it is of revisions up to 2025-11-25 alone: 2026-07-28 has it no more, or never had it.
    pub const fn is_of_legacy_alone(self) -> bool {
        match self {
            Self::Initialize
            | Self::Ping
            | Self::ResourcesSubscribe
            | Self::ResourcesUnsubscribe
            | Self::LoggingSetLevel
            | Self::TasksList
            | Self::TasksResult => true,
            Self::ToolsList
            | Self::ToolsCall
            | Self::PromptsList
            | Self::PromptsGet
            | Self::ResourcesList
            | Self::ResourceTemplatesList
            | Self::ResourcesRead
            | Self::CompletionComplete
            | Self::TasksGet
            | Self::TasksCancel
            | Self::TasksUpdate
            | Self::ServerDiscover
            | Self::SubscriptionsListen
            | Self::Unknown => false,
        }
    }

    /// Whether it is work for the server, as far as how much there is of that at a time goes: no look whether it is there, no end of
    /// other work, and no stream that is kept open to hear of news.
    pub const fn is_work(self) -> bool {
        !matches!(self, Self::Ping | Self::TasksCancel | Self::SubscriptionsListen)
    }

    /// Whether it may be answered with a question to the person, since 2026-07-28 (Multi Round-Trip Requests).
    pub const fn may_want_input(self) -> bool {
        matches!(self, Self::ToolsCall | Self::PromptsGet | Self::ResourcesRead)
    }

    /// The member of `params` that names what the request is about, which it must have.
    pub const fn subject(self) -> Option<&'static str> {
        match self {
            Self::ToolsCall | Self::PromptsGet => Some("name"),
            Self::ResourcesRead | Self::ResourcesSubscribe | Self::ResourcesUnsubscribe => Some("uri"),
            Self::TasksGet | Self::TasksResult | Self::TasksCancel | Self::TasksUpdate => Some("taskId"),
            Self::Initialize
            | Self::Ping
            | Self::ToolsList
            | Self::PromptsList
            | Self::ResourcesList
            | Self::ResourceTemplatesList
            | Self::CompletionComplete
            | Self::LoggingSetLevel
            | Self::TasksList
            | Self::ServerDiscover
            | Self::SubscriptionsListen
            | Self::Unknown => None,
        }
    }
}

/// What a client notifies of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NotificationKind {
    /// It has taken note of the answer to `initialize`, in revisions up to 2025-11-25.
    Initialized,
    /// It no longer wants the answer to a request, in revisions up to 2025-11-25.
    Cancelled,
    /// How far it is with a request of the server's.
    Progress,
    /// Its roots have changed, in revisions up to 2025-11-25.
    RootsListChanged,
    /// How a task of its own stands, in 2025-11-25.
    TaskStatus,
    /// None of these.
    Unknown,
}

impl NotificationKind {
    /// Every kind that is known.
    pub const KNOWN: [Self; 5] =
        [Self::Initialized, Self::Cancelled, Self::Progress, Self::RootsListChanged, Self::TaskStatus];

    /// The kind by this name, which is compared as it stands.
    pub fn named(name: &str) -> Self {
        Self::KNOWN.into_iter().find(|kind| kind.as_str() == name).unwrap_or(Self::Unknown)
    }

    /// As it stands in messages. Safe as a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initialized => "notifications/initialized",
            Self::Cancelled => "notifications/cancelled",
            Self::Progress => "notifications/progress",
            Self::RootsListChanged => "notifications/roots/list_changed",
            Self::TaskStatus => "notifications/tasks/status",
            Self::Unknown => "unknown",
        }
    }
}
