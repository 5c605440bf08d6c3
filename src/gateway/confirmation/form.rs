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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confirmation::{Bound, Part, QuestionId, Shown};
    use crate::identity::{Issuer, PersonId, Subject, Tenant};
    use crate::tool::{Confirm, ConnectorName, Primitive, ToolName};
    use std::sync::Arc;

    fn text_of(content: &str) -> Option<String> {
        let holder = PersonId {
            issuer: Issuer::new("https://issuer.example"),
            tenant: Tenant::Sole,
            subject: Subject::new("ada"),
        };
        let bound = Bound {
            holder,
            agent: Some(Actor::new("planner")),
            connector: ConnectorName::new("notes"),
            primitive: Primitive::Tool,
            tool: ToolName::new("write"),
            identity: IdentityMode::OnBehalfOf,
            digest: [0; 32],
        };
        let parts = vec![Part { heading: "Arguments".into(), content: Content::Text(content.into()) }];
        text(&Question {
            id: QuestionId::parse("AAAAAAAAAAAAAAAAAAAAAA").expect("a name"),
            bound: Arc::new(bound),
            shown: Arc::new(Shown { call: "write".into(), parts }),
            confirm: Confirm::Anywhere,
            answer: None,
        })
    }

    #[test]
    fn a_form_shows_all_of_a_call_or_none_of_it() {
        let frame = text_of("").expect("a text").len();
        let longest = "x".repeat(TEXT_BYTES_MAX - frame);
        let shown = text_of(&longest).expect("a text");
        assert_eq!((shown.len(), shown.contains(&longest)), (TEXT_BYTES_MAX, true));
        assert_eq!(text_of(&format!("{longest}x")), None);
        // What is made visible takes room as well.
        assert_eq!(text_of(&"\u{202e}".repeat(TEXT_BYTES_MAX / 4)), None);
    }
}
