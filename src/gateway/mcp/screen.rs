//! An MCP server's answer on its way to the agent, event by event.
//!
//! Events are passed on as they came. Only a list is written anew, without what its caller may not use; and what the
//! server gives out is remembered for whom it was given to.

use std::collections::VecDeque;

use bytes::Bytes;

use super::event_stream::{EventError, EventReader};
use super::filter::{LIST_BYTES_MAX, ListFilter, UnreadableList};
use super::given::{Given, InOurName};

/// Largest answer in one piece that is searched for what it gives out. A handle in a larger one is not remembered, and so
/// cannot be used.
const ANSWER_BYTES_MAX: usize = 1_048_576;

/// Why an answer is cut.
#[derive(Debug, thiserror::Error)]
pub enum ScreenError {
    /// Its events cannot be read.
    #[error("the MCP server's event stream cannot be read: {0}")]
    Events(#[from] EventError),
    /// It has a list that cannot be read, so nobody can say what is in it.
    #[error(transparent)]
    List(#[from] UnreadableList),
    /// It asks in the gateway's name.
    #[error(transparent)]
    InOurName(#[from] InOurName),
}

/// Looks at an answer on its way.
pub struct Screen {
    form: Form,
    ready: VecDeque<Bytes>,
    given: Given,
}

enum Form {
    /// Events.
    Events(Box<Events>),
    /// One message. `None`: it is too large to be searched.
    Whole(Option<Vec<u8>>),
}

/// A stream of events.
struct Events {
    reader: EventReader,
    /// Takes out of lists what the caller may not use.
    filter: Option<ListFilter>,
    /// What the agent hears when the stream ends before its time.
    farewell: Option<Bytes>,
}

impl Screen {
    /// For an event stream. `filter` is for one that may hold a list; `farewell` is the event with which the stream ends
    /// when it ends before its time.
    pub fn events(given: Given, filter: Option<ListFilter>, farewell: Option<Bytes>) -> Self {
        let events = Events { reader: EventReader::bounded(LIST_BYTES_MAX), filter, farewell };
        Self { form: Form::Events(Box::new(events)), ready: VecDeque::new(), given }
    }

    /// For one message that is passed on as it is.
    pub fn whole(given: Given) -> Self {
        Self { form: Form::Whole(Some(Vec::new())), ready: VecDeque::new(), given }
    }

    /// Whether the answer may have another length than it had.
    pub fn rewrites(&self) -> bool {
        matches!(self.form, Form::Events(_))
    }

    /// Whether there is nothing to be taken.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// A piece of the answer has come.
    ///
    /// # Errors
    ///
    /// [`ScreenError`] when nobody can say what is in it.
    pub fn push(&mut self, data: &Bytes, is_last: bool) -> Result<(), ScreenError> {
        match &mut self.form {
            Form::Events(events) => {
                events.reader.push(data);
                if is_last {
                    events.reader.close();
                }
                self.pass_events()
            }
            Form::Whole(seen) => {
                match seen {
                    Some(bytes) if bytes.len() + data.len() <= ANSWER_BYTES_MAX => {
                        bytes.extend_from_slice(data)
                    }
                    Some(_) | None => *seen = None,
                }
                // What is given out has to be known before the agent can use it.
                if is_last && let Some(message) = seen.take() {
                    self.given.read(&message)?;
                }
                self.ready.push_back(data.clone());
                Ok(())
            }
        }
    }

    /// A piece for the agent.
    pub fn take(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }

    /// The answer has come to its end.
    ///
    /// # Errors
    ///
    /// [`ScreenError`] when it ends in what cannot be read.
    pub fn finish(&mut self) -> Result<(), ScreenError> {
        match &mut self.form {
            // An event that is not finished is none (HTML Living Standard, section 9.2.6).
            Form::Events(events) => {
                events.reader.close();
                self.pass_events()
            }
            Form::Whole(seen) => {
                if let Some(message) = seen.take() {
                    self.given.read(&message)?;
                }
                Ok(())
            }
        }
    }

    /// The answer ends here, before its time.
    pub fn expire(&mut self) {
        if let Form::Events(events) = &mut self.form {
            self.ready.extend(events.farewell.take());
        }
    }

    fn pass_events(&mut self) -> Result<(), ScreenError> {
        let Form::Events(events) = &mut self.form else { return Ok(()) };
        let Events { reader, filter, .. } = &mut **events;
        while let Some(event) = reader.next_event()? {
            // Servers send events without data, from which a stream can be resumed.
            let message = event.data.as_ref().filter(|data| !data.is_empty());
            let filtered = match (filter.as_ref(), message) {
                (Some(filter), Some(message)) => filter.without_hidden(message)?,
                (Some(_), None) | (None, _) => None,
            };
            if let Some(message) = message {
                self.given.read(message)?;
            }
            self.ready.push_back(match filtered {
                Some(list) => event.with_data(&list).raw,
                None => event.raw,
            });
        }
        Ok(())
    }
}
