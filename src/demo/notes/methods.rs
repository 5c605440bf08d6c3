//! The methods that both eras have.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::events::Events;
use super::message::{Fault, Members};
use super::session::Session;
use super::{Connector, catalogue};
use crate::demo::connector::Caller;

/// What the server says about itself to models.
pub(super) const INSTRUCTIONS: &str = "Everybody's own notes, and announcements for all.";

/// One request, and who made it.
pub(super) struct Call {
    pub(super) caller: Caller,
    pub(super) id: Value,
    pub(super) method: String,
    pub(super) params: Members,
    pub(super) party: Party,
}

/// What is known of the client.
pub(super) enum Party {
    Modern { capabilities: Value },
    Legacy(Arc<Session>),
}

/// How a request is answered.
pub(super) enum Outcome {
    /// With this result.
    Now(Value),
    /// With a stream, on which this work tells of itself.
    Later(Work),
}

/// Work that sends events, heeds a cancellation, and comes to a result; to none when it was cancelled.
pub(super) type Work = Box<dyn FnOnce(Arc<Events>, CancellationToken) -> Working + Send>;
type Working = Pin<Box<dyn Future<Output = Option<Result<Value, Fault>>> + Send>>;

impl Call {
    /// A parameter that is text.
    pub(super) fn text(&self, name: &str) -> Result<&str, Fault> {
        self.params
            .get(name)
            .and_then(Value::as_str)
            .ok_or_else(|| Fault::params(format!("{name} is not text")))
    }

    /// Checks that the token has a permission.
    pub(super) fn require(&self, permission: &'static str) -> Result<(), Fault> {
        let had = |name: &str| self.caller.permissions.iter().any(|had| had == name);
        // Who may write may read.
        if had(permission) || permission == catalogue::READ && had(catalogue::READ_WRITE) {
            Ok(())
        } else {
            Err(Fault::insufficient_scope(permission))
        }
    }
}

impl Connector {
    /// Serves a request of either era.
    pub(super) fn serve(self: &Arc<Self>, call: &Call) -> Result<Outcome, Fault> {
        match call.method.as_str() {
            "tools/list" => {
                let page = catalogue::tools(call.params.get("cursor"));
                page.map(Outcome::Now).ok_or_else(|| Fault::params("the cursor is unknown"))
            }
            "tools/call" => self.call_tool(call),
            "prompts/list" => Ok(Outcome::Now(catalogue::prompts())),
            "prompts/get" => self.prompt(call).map(Outcome::Now),
            "resources/list" => Ok(Outcome::Now(catalogue::resources())),
            "resources/templates/list" => Ok(Outcome::Now(catalogue::resource_templates())),
            "resources/read" => self.resource(call).map(Outcome::Now),
            method if method.starts_with("tasks/") => self.serve_task(call),
            method => Err(Fault::unknown_method(method)),
        }
    }

    pub(super) fn always_streams(&self) -> bool {
        self.streams_always.load(Ordering::Relaxed)
    }
}

pub(super) fn server_info() -> Value {
    json!({ "name": "demo-notes", "version": env!("CARGO_PKG_VERSION") })
}
