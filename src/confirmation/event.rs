//! What happened to questions: counted and logged.

use std::sync::Arc;

use super::{Bound, By, QuestionId};
use crate::identity::Actor;
use crate::metrics::Metrics;

/// Something that happened to a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A call was held back until its person has seen it.
    Asked,
    /// The person agreed.
    Agreed(By),
    /// The person declined.
    Declined(By),
    /// The person did not answer in time, or what was agreed to was not called in time.
    Expired,
    /// The call ran. It does not run again by the same answer.
    Used(By),
}

impl Event {
    /// As it stands in metrics and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Agreed(_) => "agreed",
            Self::Declined(_) => "declined",
            Self::Expired => "expired",
            Self::Used(_) => "used",
        }
    }

    /// Where the person answered.
    pub const fn by(self) -> Option<By> {
        match self {
            Self::Agreed(by) | Self::Declined(by) | Self::Used(by) => Some(by),
            Self::Asked | Self::Expired => None,
        }
    }
}

/// What happened, and to which question.
pub struct Happened {
    /// What.
    pub event: Event,
    /// The question.
    pub id: QuestionId,
    /// What it is about.
    pub bound: Arc<Bound>,
}

/// Where events go.
pub struct Events(Arc<Metrics>);

impl Events {
    /// Counted here.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self(metrics)
    }

    /// Notes what happened. `request_id` names the record of the request that it came about by, where it was one.
    pub fn note(&self, happened: &Happened, request_id: Option<&str>) {
        let Happened { event, id, bound } = happened;
        self.0.confirmation(bound.connector.as_str(), event.as_str());
        // What the person does has a record where it is done, and the call's own record says which question it had.
        tracing::info!(
            request_id,
            question = %id,
            connector = %bound.connector,
            // Where no tools are listed, an agent chose the name.
            tool = bound.tool.as_str(),
            agent = bound.agent.as_ref().map(Actor::as_str),
            event = event.as_str(),
            by = event.by().map(By::as_str),
            "Confirmation changed"
        );
    }
}
