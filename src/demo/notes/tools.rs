//! What the tools do.

use std::sync::Arc;

use serde_json::{Value, json};

use super::catalogue::Tool;
use super::message::{Fault, Members};
use super::methods::{Call, Outcome};
use super::notebook::{Note, Notebook};
use super::{Announcement, Connector, counting, tasks};
use crate::demo::lock;

impl Connector {
    pub(super) fn call_tool(self: &Arc<Self>, call: &Call) -> Result<Outcome, Fault> {
        let name = call.text("name")?;
        let tool = Tool::named(name)
            .ok_or_else(|| Fault::params(format!("Unknown tool: {}", name.escape_debug())))?;
        call.require(tool.permission())?;
        if tool != Tool::CountLater && tasks::is_wanted(call) {
            return Err(Fault::unknown_method("tools/call of this tool as a task"));
        }
        let none = Members::new();
        let arguments = match call.params.get("arguments") {
            None => &none,
            Some(Value::Object(arguments)) => arguments,
            Some(_) => return Err(Fault::params("arguments are an object")),
        };
        Ok(match tool {
            Tool::ListNotes => Outcome::Now(self.with_notebook(call, |notebook| {
                let notes: Vec<Value> = notebook.notes().iter().map(Note::summary).collect();
                succeeded(&json!({ "notes": notes }))
            })),
            Tool::FindNotes => {
                let word = argument(arguments, "word")?;
                Outcome::Now(self.with_notebook(call, |notebook| {
                    let found = notebook.notes().iter();
                    let found = found.filter(|note| note.title.contains(word) || note.text.contains(word));
                    let notes: Vec<Value> = found.map(Note::summary).collect();
                    succeeded(&json!({ "notes": notes }))
                }))
            }
            Tool::ReadNote => {
                let id = argument(arguments, "id")?;
                Outcome::Now(self.with_notebook(call, |notebook| match notebook.read(id) {
                    Some(note) => succeeded(&note.whole()),
                    None => failed("You have no such note."),
                }))
            }
            Tool::WriteNote => {
                let (title, text) = (argument(arguments, "title")?, argument(arguments, "text")?);
                Outcome::Now(self.change_notebook(call, |notebook| {
                    let id = notebook.write(title, text);
                    id.ok_or("You have too many notes. Delete one first.")
                }))
            }
            Tool::DeleteNote => {
                let id = argument(arguments, "id")?;
                Outcome::Now(self.change_notebook(call, |notebook| {
                    if notebook.delete(id) { Ok(id.to_owned()) } else { Err("You have no such note.") }
                }))
            }
            Tool::PublishAnnouncement => {
                let text = argument(arguments, "text")?.to_owned();
                let by = if call.caller.person.is_none() { "application" } else { "person" };
                lock(&self.announcements).push(Announcement { text, by: call.caller.clone() });
                self.tell_of_announcement();
                Outcome::Now(succeeded(&json!({ "published_by": by })))
            }
            Tool::CountSlowly => self.count_slowly(call, counting::Order::parse(arguments)?),
            Tool::AskBack => self.ask_back(call)?,
            Tool::CountLater => self.count_later(call, counting::Order::parse(arguments)?),
        })
    }

    /// Does something with the caller's notes. An application has none.
    fn with_notebook(&self, call: &Call, act: impl FnOnce(&mut Notebook) -> Value) -> Value {
        match &call.caller.person {
            Some(oid) => act(lock(&self.notebooks).entry(oid.clone()).or_default()),
            None => failed("An application has no notes of its own."),
        }
    }

    /// Changes one of the caller's notes, and tells of it under the id that the change gives.
    fn change_notebook(
        &self,
        call: &Call,
        act: impl FnOnce(&mut Notebook) -> Result<String, &'static str>,
    ) -> Value {
        let mut changed = None;
        let result = self.with_notebook(call, |notebook| match act(notebook) {
            Ok(id) => {
                changed = Some(id.clone());
                succeeded(&json!({ "id": id }))
            }
            Err(why) => failed(why),
        });
        if let (Some(owner), Some(id)) = (&call.caller.person, changed) {
            self.tell_of_note(owner, &id);
        }
        result
    }
}

/// An argument that is text.
fn argument<'a>(arguments: &'a Members, name: &str) -> Result<&'a str, Fault> {
    arguments
        .get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| Fault::params(format!("the argument {name} is not text")))
}

/// A tool's result, as a structure and as text.
pub(super) fn succeeded(content: &Value) -> Value {
    json!({
        "content": [{ "type": "text", "text": content.to_string() }],
        "structuredContent": content,
        "isError": false,
    })
}

/// A tool's own failure, which the model is to read.
pub(super) fn failed(why: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": why }], "isError": true })
}
