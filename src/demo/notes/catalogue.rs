//! What there is to list: tools, prompts, resources and a template.

use serde_json::{Value, json};

/// Tools on a page of the list, so that the list has two.
const TOOLS_ON_A_PAGE: usize = 5;

/// The scope that reading takes.
pub(super) const READ: &str = "Notes.Read";
/// The scope that writing takes. Who may write may read.
pub(super) const READ_WRITE: &str = "Notes.ReadWrite";
/// The application permission that publishing takes.
pub(super) const PUBLISH: &str = "Notes.Publish";

/// One tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    ListNotes,
    ReadNote,
    WriteNote,
    DeleteNote,
    PublishAnnouncement,
    FindNotes,
    CountSlowly,
    AskBack,
    CountLater,
}

/// Every tool, in the order of the list.
pub(super) const TOOLS: [Tool; 9] = [
    Tool::ListNotes,
    Tool::ReadNote,
    Tool::WriteNote,
    Tool::DeleteNote,
    Tool::PublishAnnouncement,
    Tool::FindNotes,
    Tool::CountSlowly,
    Tool::AskBack,
    Tool::CountLater,
];

impl Tool {
    pub(super) fn named(name: &str) -> Option<Self> {
        TOOLS.into_iter().find(|tool| tool.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ListNotes => "list_notes",
            Self::ReadNote => "read_note",
            Self::WriteNote => "write_note",
            Self::DeleteNote => "delete_note",
            Self::PublishAnnouncement => "publish_announcement",
            Self::FindNotes => "find_notes",
            Self::CountSlowly => "count_slowly",
            Self::AskBack => "ask_back",
            Self::CountLater => "count_later",
        }
    }

    /// The permission that calling it takes.
    pub(super) fn permission(self) -> &'static str {
        match self {
            Self::ListNotes | Self::ReadNote | Self::FindNotes => READ,
            Self::CountSlowly | Self::AskBack | Self::CountLater => READ,
            Self::WriteNote | Self::DeleteNote => READ_WRITE,
            Self::PublishAnnouncement => PUBLISH,
        }
    }

    fn definition(self) -> Value {
        let text = |description: &str| json!({ "type": "string", "description": description });
        let number = |most: u64| json!({ "type": "integer", "minimum": 1, "maximum": most });
        let (description, properties, required, annotations) = match self {
            Self::ListNotes => {
                ("Lists your notes: ids and titles", json!({}), json!([]), json!({ "readOnlyHint": true }))
            }
            Self::ReadNote => (
                "Reads one of your notes",
                json!({ "id": text("The note's id") }),
                json!(["id"]),
                json!({ "readOnlyHint": true }),
            ),
            Self::WriteNote => (
                "Writes a new note",
                json!({ "title": text("The title"), "text": text("The text") }),
                json!(["title", "text"]),
                json!({ "readOnlyHint": false, "destructiveHint": false }),
            ),
            Self::DeleteNote => (
                "Deletes one of your notes for ever",
                json!({ "id": text("The note's id") }),
                json!(["id"]),
                json!({ "readOnlyHint": false, "destructiveHint": true, "idempotentHint": true }),
            ),
            Self::PublishAnnouncement => (
                "Publishes an announcement to everybody, in the application's name",
                json!({ "text": text("What to announce") }),
                json!(["text"]),
                json!({ "readOnlyHint": false, "destructiveHint": false, "openWorldHint": true }),
            ),
            Self::FindNotes => (
                "Finds your notes that contain a word",
                json!({ "word": {
                    "type": "string", "description": "What to look for", "x-mcp-header": "Word",
                } }),
                json!(["word"]),
                json!({ "readOnlyHint": true }),
            ),
            Self::CountSlowly => (
                "Counts from one, and tells of each number as it comes",
                json!({ "to": number(super::counting::TO_MAX), "every_ms": number(super::counting::EVERY_MS_MAX) }),
                json!(["to"]),
                json!({ "readOnlyHint": true }),
            ),
            Self::AskBack => {
                ("Asks for a name and greets by it", json!({}), json!([]), json!({ "readOnlyHint": true }))
            }
            Self::CountLater => (
                "Counts in the background, as a task",
                json!({ "to": number(super::counting::TO_MAX), "every_ms": number(super::counting::EVERY_MS_MAX) }),
                json!(["to"]),
                json!({ "readOnlyHint": true }),
            ),
        };
        let mut definition = json!({
            "name": self.name(),
            "description": description,
            "inputSchema": { "type": "object", "properties": properties, "required": required },
            "annotations": annotations,
        });
        if self == Self::CountLater {
            definition["execution"] = json!({ "taskSupport": "optional" });
        }
        definition
    }
}

/// A page of the list of tools, or nothing if the cursor is not one of ours.
pub(super) fn tools(cursor: Option<&Value>) -> Option<Value> {
    match cursor.map(Value::as_str) {
        None => {
            let page: Vec<Value> = TOOLS[..TOOLS_ON_A_PAGE].iter().map(|tool| tool.definition()).collect();
            Some(json!({ "tools": page, "nextCursor": "page-2" }))
        }
        Some(Some("page-2")) => {
            let page: Vec<Value> = TOOLS[TOOLS_ON_A_PAGE..].iter().map(|tool| tool.definition()).collect();
            Some(json!({ "tools": page }))
        }
        Some(_) => None,
    }
}

/// The list of prompts.
pub(super) fn prompts() -> Value {
    json!({ "prompts": [
        {
            "name": "summarise_notes",
            "description": "Summarises your notes",
            "arguments": [{ "name": "style", "description": "How, such as: briefly", "required": false }],
        },
        {
            "name": "draft_announcement",
            "description": "Drafts an announcement about a subject",
            "arguments": [{ "name": "subject", "description": "About what", "required": true }],
        },
    ] })
}

/// The list of resources.
pub(super) fn resources() -> Value {
    json!({ "resources": [
        { "uri": HANDBOOK, "name": "handbook", "mimeType": "text/plain" },
        { "uri": ANNOUNCEMENTS, "name": "announcements", "mimeType": "text/plain" },
        { "uri": LATEST, "name": "latest", "description": "Your latest note", "mimeType": "text/plain" },
    ] })
}

/// The list of resource templates.
pub(super) fn resource_templates() -> Value {
    json!({ "resourceTemplates": [
        { "uriTemplate": "note://mine/{id}", "name": "note", "description": "One of your notes", "mimeType": "text/plain" },
    ] })
}

/// The addresses in the list of resources.
pub(super) const RESOURCES: [&str; 3] = [HANDBOOK, ANNOUNCEMENTS, LATEST];

/// How to keep notes; the same for everybody.
pub(super) const HANDBOOK: &str = "note://shared/handbook";
/// What was announced; the same for everybody.
pub(super) const ANNOUNCEMENTS: &str = "note://shared/announcements";
/// The caller's latest note.
pub(super) const LATEST: &str = "note://mine/latest";
/// What the addresses of the caller's notes begin with.
pub(super) const MINE: &str = "note://mine/";
