//! A question about a call as a form, for clients that ask their person themselves (MCP elicitation).

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::confirmation::{Content, Question};
use crate::gateway::mcp::elicitation::OurAnswer;
use crate::identity::Actor;
use crate::pages::{Lines, plain};
use crate::tool::IdentityMode;

/// Longest text that a client is given to show. Whoever wants more is sent to the page.
const TEXT_BYTES_MAX: usize = 8_192;
/// The member of the form by which the person agrees.
const AGREE: &str = "agree";

/// All of a call, to be read before agreeing to it: who calls what, as whom, with what. `None`: it is too long for a form.
pub fn text(question: &Question) -> Option<String> {
    let bound = &question.bound;
    let agent = bound.agent.as_ref().map_or("An agent that does not say which it is", Actor::as_str);
    let identity = match bound.identity {
        IdentityMode::OnBehalfOf => "as you",
        IdentityMode::AppOnly => "as the application, and not as you",
        IdentityMode::Connection => "with your own account there",
    };
    let one = |text: &str| plain(text, Lines::One);
    let mut text = format!(
        "{} wants to call {} on {}, {identity}:\n\n{}\n",
        one(agent),
        one(bound.tool.as_str()),
        one(bound.connector.as_str()),
        one(&question.shown.call)
    );
    for part in &question.shown.parts {
        let _ = write!(text, "\n{}\n", one(&part.heading));
        match &part.content {
            Content::Text(content) => text.push_str(&plain(content, Lines::Many)),
            Content::Fields(fields) => {
                for (name, value) in fields {
                    let _ = writeln!(text, "{}: {}", one(name), plain(value, Lines::Many));
                }
            }
        }
        text.push('\n');
    }
    (text.len() <= TEXT_BYTES_MAX).then_some(text)
}

/// What the form asks for.
pub fn schema() -> Map<String, Value> {
    let agree = json!({
        "type": "boolean",
        "title": "I have read this call and agree to it, this once",
        "default": false,
    });
    let members =
        [("type", json!("object")), ("properties", json!({ AGREE: agree })), ("required", json!([AGREE]))];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Whether the person agreed in the form. `None`: it was sent without a word about that.
pub fn has_agreed(answer: &OurAnswer) -> Option<bool> {
    answer.content.get(AGREE)?.as_bool()
}
