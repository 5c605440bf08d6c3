//! Telling clients that something changed: on the stream of a legacy session, or on a modern subscription.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::catalogue::{ANNOUNCEMENTS, LATEST, MINE, RESOURCES};
use super::message;
use super::methods::{Call, Outcome};
use super::{Connector, Fault};
use crate::demo::connector::Caller;

/// Most changes that a subscription is behind. Beyond that it misses the oldest.
const CHANGES_MAX: usize = 256;

/// Where changes are told.
pub(super) type Changes = broadcast::Sender<Change>;

pub(super) fn changes() -> Changes {
    broadcast::Sender::new(CHANGES_MAX)
}

/// Something that a client may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The list of tools.
    Tools,
    /// The list of prompts.
    Prompts,
    /// The list of resources.
    Resources,
    /// A resource, of one person or of everybody.
    Resource { uri: String, owner: Option<String> },
    /// There are no more changes to be told.
    End,
}

impl Change {
    /// The method and the parameters that tell of it. An end is told by a result.
    fn notification(&self) -> Option<(&'static str, Value)> {
        match self {
            Self::Tools => Some(("notifications/tools/list_changed", json!({}))),
            Self::Prompts => Some(("notifications/prompts/list_changed", json!({}))),
            Self::Resources => Some(("notifications/resources/list_changed", json!({}))),
            Self::Resource { uri, .. } => Some(("notifications/resources/updated", json!({ "uri": uri }))),
            Self::End => None,
        }
    }

    /// Whether it is this caller's business.
    fn concerns(&self, caller: &Caller) -> bool {
        match self {
            Self::Resource { owner: Some(owner), .. } => caller.person.as_ref() == Some(owner),
            Self::Resource { owner: None, .. }
            | Self::Tools
            | Self::Prompts
            | Self::Resources
            | Self::End => true,
        }
    }
}

/// What a modern subscription is about.
struct Filter {
    tools: bool,
    prompts: bool,
    resources: bool,
    uris: Vec<String>,
}

impl Filter {
    fn parse(call: &Call) -> Result<Self, Fault> {
        let filter = call.params.get("notifications").filter(|filter| filter.is_object());
        let filter = filter.ok_or_else(|| Fault::params("notifications is not an object"))?;
        let wants = |name: &str| filter[name] == json!(true);
        let uris = filter["resourceSubscriptions"].as_array().into_iter().flatten();
        Ok(Self {
            tools: wants("toolsListChanged"),
            prompts: wants("promptsListChanged"),
            resources: wants("resourcesListChanged"),
            uris: uris.filter_map(Value::as_str).filter(|uri| exists(uri)).map(str::to_owned).collect(),
        })
    }

    fn wants(&self, change: &Change) -> bool {
        match change {
            Change::Tools => self.tools,
            Change::Prompts => self.prompts,
            Change::Resources => self.resources,
            Change::Resource { uri, .. } => self.uris.contains(uri),
            Change::End => true,
        }
    }

    /// What was agreed to.
    fn granted(&self) -> Value {
        let mut granted = json!({});
        for (name, wanted) in [
            ("toolsListChanged", self.tools),
            ("promptsListChanged", self.prompts),
            ("resourcesListChanged", self.resources),
        ] {
            if wanted {
                granted[name] = json!(true);
            }
        }
        if !self.uris.is_empty() {
            granted["resourceSubscriptions"] = json!(self.uris);
        }
        granted
    }
}

/// Whether a resource can be subscribed to.
pub(super) fn exists(uri: &str) -> bool {
    RESOURCES.contains(&uri) || uri.starts_with(MINE)
}

impl Connector {
    /// Tells of a change whoever wants to know.
    pub(super) fn tell(&self, change: Change) {
        let notification =
            change.notification().map(|(method, params)| message::notification(method, &params));
        self.sessions.each(|session| {
            let Some(notification) = &notification else { return };
            let wanted = match &change {
                Change::Tools | Change::Prompts | Change::Resources => true,
                Change::Resource { uri, .. } => {
                    session.is_subscribed(uri) && change.concerns(session.owner())
                }
                Change::End => false,
            };
            if wanted && let Some(standing) = session.standing() {
                standing.send(notification);
            }
        });
        // Without a subscription there is nobody to tell, and that is fine.
        _ = self.changes.send(change);
    }

    /// Tells that a person's notes changed.
    pub(super) fn tell_of_note(&self, owner: &str, id: &str) {
        for uri in [LATEST.to_owned(), format!("{MINE}{id}")] {
            self.tell(Change::Resource { uri, owner: Some(owner.to_owned()) });
        }
    }

    /// Tells that something was announced.
    pub(super) fn tell_of_announcement(&self) {
        self.tell(Change::Resource { uri: ANNOUNCEMENTS.to_owned(), owner: None });
    }

    /// Serves `subscriptions/listen`: a stream that says what was agreed to, and then what changes.
    pub(super) fn subscribe(self: &Arc<Self>, call: &Call) -> Result<Outcome, Fault> {
        let filter = Filter::parse(call)?;
        let mut changes = self.changes.subscribe();
        let (caller, id) = (call.caller.clone(), call.id.clone());
        Ok(Outcome::Later(Box::new(move |events, cancelled| {
            Box::pin(async move {
                let about = json!({ "io.modelcontextprotocol/subscriptionId": id });
                let granted = json!({ "_meta": about, "notifications": filter.granted() });
                events.send(&message::notification("notifications/subscriptions/acknowledged", &granted));
                loop {
                    let change = match cancelled.run_until_cancelled(changes.recv()).await? {
                        Ok(change) => change,
                        Err(broadcast::error::RecvError::Lagged(_)) => continue,
                        Err(broadcast::error::RecvError::Closed) => break,
                    };
                    let Some((method, mut params)) = change.notification() else { break };
                    if filter.wants(&change) && change.concerns(&caller) {
                        params["_meta"] = about.clone();
                        events.send(&message::notification(method, &params));
                    }
                }
                Some(Ok(json!({ "_meta": about })))
            })
        })))
    }
}
