//! Prompts and resources.

use serde_json::{Value, json};

use super::Connector;
use super::catalogue::{ANNOUNCEMENTS, HANDBOOK, LATEST, MINE, READ};
use super::message::Fault;
use super::methods::{Call, Party};
use crate::demo::lock;

const HANDBOOK_TEXT: &str = "One thought, one note. Titles that you will search for. No passwords.";

impl Connector {
    pub(super) fn prompt(&self, call: &Call) -> Result<Value, Fault> {
        let argument = |name: &str| call.params.get("arguments").and_then(|all| all.get(name)?.as_str());
        let text = match call.text("name")? {
            "summarise_notes" => {
                format!("Summarise my notes {}.", argument("style").unwrap_or("in five lines"))
            }
            "draft_announcement" => {
                let subject =
                    argument("subject").ok_or_else(|| Fault::params("the argument subject is missing"))?;
                format!("Draft an announcement about {subject}.")
            }
            _ => return Err(Fault::params("there is no such prompt")),
        };
        Ok(json!({ "messages": [{ "role": "user", "content": { "type": "text", "text": text } }] }))
    }

    pub(super) fn resource(&self, call: &Call) -> Result<Value, Fault> {
        let uri = call.text("uri")?;
        let text = match uri {
            HANDBOOK => Some(HANDBOOK_TEXT.to_owned()),
            ANNOUNCEMENTS => {
                let announcements = lock(&self.announcements).to_vec();
                Some(announcements.iter().map(|one| format!("{}\n", one.text)).collect())
            }
            _ => {
                call.require(READ)?;
                self.own_note(call, uri)
            }
        };
        let text = text.ok_or_else(|| match &call.party {
            Party::Modern { .. } => Fault::params("there is no such resource"),
            Party::Legacy(_) => Fault::no_such_resource(uri),
        })?;
        Ok(json!({ "contents": [{ "uri": uri, "mimeType": "text/plain", "text": text }] }))
    }

    fn own_note(&self, call: &Call, uri: &str) -> Option<String> {
        let notebooks = lock(&self.notebooks);
        let notebook = notebooks.get(call.caller.person.as_ref()?)?;
        let note = match uri {
            LATEST => notebook.notes().last(),
            _ => notebook.read(uri.strip_prefix(MINE)?),
        };
        note.map(|note| format!("{}\n\n{}", note.title, note.text))
    }
}
