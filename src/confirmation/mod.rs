//! Calls that a person has to see before they run: what was asked, and what came of it.
//!
//! An answer is bound to all that makes up a call: for whom, by which agent, on which tool, with whose identity, and with
//! what exactly. The same call, tried again, finds its answer by itself; the link that leads to the question carries no
//! authority. An answer is good for one call. How the question is shown, and how an agent hears of it, are others' business.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::Deed;
use crate::identity::{Actor, PersonId};
use crate::random;
use crate::tool::{Confirm, ConnectorName, IdentityMode, Primitive, ToolName};

mod event;
mod questions;

pub use questions::{ANSWER_TIME, AnswerError, Questions, Standing, USE_TIME};

/// Largest call that is shown to a person, in bytes, as it is laid out for reading. What is longer nobody reads.
pub const SHOWN_BYTES_MAX: usize = 262_144;

/// A call, as far as an answer is bound to it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Bound {
    /// For whom. Nobody else can answer.
    pub holder: PersonId,
    /// By which agent. `None`: the token names none, and the answer is for calls whose token names none.
    pub agent: Option<Actor>,
    /// On which connector.
    pub connector: ConnectorName,
    /// What is called there: by its kind,
    pub primitive: Primitive,
    /// and its name.
    pub tool: ToolName,
    /// With whose identity.
    pub identity: IdentityMode,
    /// With what exactly: a digest of all that the connector acts on.
    pub digest: [u8; 32],
}

/// Names a question: 128 random bits. It carries no authority.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct QuestionId(Arc<str>);

impl QuestionId {
    fn random() -> Self {
        Self(random::text::<16>().into())
    }

    /// Reads the name of a question, as it stands in a link. Whether there is one is another question.
    pub fn parse(text: &str) -> Option<Self> {
        random::is_text::<16>(text).then(|| Self(text.into()))
    }

    /// As it stands in links and records.
    pub fn as_str(&self) -> &Arc<str> {
        &self.0
    }
}

impl fmt::Display for QuestionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a person is shown of a call: all of it. It may hold anything, so it has no Debug form of its own.
#[derive(PartialEq, Eq, Default)]
pub struct Shown {
    /// What is called, in one line: a method and a path, or the name of a tool.
    pub call: String,
    /// With what.
    pub parts: Vec<Part>,
}

/// Something that goes with a call.
#[derive(PartialEq, Eq)]
pub struct Part {
    /// What it is, such as `Arguments` or `Body (application/json)`.
    pub heading: String,
    /// What it says.
    pub content: Content,
}

/// How a part is laid out.
#[derive(PartialEq, Eq)]
pub enum Content {
    /// Text, line by line, as it stands.
    Text(String),
    /// Names and values.
    Fields(Vec<(String, String)>),
}

impl Shown {
    /// How many bytes it has.
    pub fn byte_count(&self) -> usize {
        let of = |part: &Part| match &part.content {
            Content::Text(text) => text.len(),
            Content::Fields(fields) => fields.iter().map(|(name, value)| name.len() + value.len()).sum(),
        };
        self.call.len() + self.parts.iter().map(|part| part.heading.len() + of(part)).sum::<usize>()
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes of a call]", self.byte_count())
    }
}

/// A question that can be looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// What it is called.
    pub id: QuestionId,
    /// About which call.
    pub bound: Arc<Bound>,
    /// What its person is shown.
    pub shown: Arc<Shown>,
    /// Where it may be answered.
    pub confirm: Confirm,
    /// What it was answered with so far.
    pub answer: Option<Answer>,
}

impl Question {
    /// Says in a record what it is about.
    pub fn tell(&self, deed: &mut Deed) {
        deed.question = Some(Arc::clone(self.id.as_str()));
        deed.agent = self.bound.agent.clone();
        deed.connector = Some(self.bound.connector.clone());
        deed.tool = Some(self.bound.tool.clone());
    }
}

/// What a person says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// This call may run, once.
    Agree,
    /// It may not.
    Decline,
}

/// Where a person answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// On the gateway's page, signed in.
    Page,
    /// In a form that the agent's client showed.
    Form,
}

impl By {
    /// As it stands in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Form => "form",
        }
    }

    /// Whether that is where a call wants it.
    const fn is_enough_for(self, confirm: Confirm) -> bool {
        match (self, confirm) {
            (Self::Page, _) | (Self::Form, Confirm::No | Confirm::Anywhere) => true,
            (Self::Form, Confirm::OnPage) => false,
        }
    }
}

/// That a person agreed to a call, for its record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agreement {
    /// The question.
    pub id: QuestionId,
    /// When, since 1970 UTC.
    pub at: Duration,
    /// Where.
    pub by: By,
}
