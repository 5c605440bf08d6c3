//! What OCSF has no place for in the record of a call: delegation. That is on whose behalf, in which mode, and how the credential
//! came about; what of it is the same for each call of a caller on a tool is prepared (`prepared.rs`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use super::json::Object;
use super::parts::microseconds;
use super::prepared::Prepared;
use super::text::{ARGUMENT_BYTES_MAX, ARGUMENT_NAME_BYTES_MAX, Texts};
use crate::audit::record::{CallRecord, SecondTry};
use crate::tool::Argument;

/// Most arguments that are recorded, and most values of one that is a list.
const ARGUMENTS_MAX: usize = 32;
const ARGUMENT_VALUES_MAX: usize = 32;
/// Most bytes of them all.
const ARGUMENTS_BYTES_MAX: usize = 4_096;

/// The value of an argument.
#[derive(Serialize)]
#[serde(untagged)]
enum Value<'a> {
    Text(Cow<'a, str>),
    Integer(i64),
    Boolean(bool),
    Texts(Vec<Cow<'a, str>>),
}

/// Writes what the record says of it.
pub fn write(record: &CallRecord, texts: &Texts, prepared: &Prepared, object: &mut Object<'_>) {
    // It is no agent's call, but a person's browser asked for a page.
    object.optional_text("kind", record.is_page.then_some("page"));
    object.text("outcome", record.outcome());
    object.text("ending", record.ending.as_str());
    object.optional_text("fault", record.refusal.as_ref().map(|refusal| refusal.fault.as_str()));
    prepared.delegation().into_iter().for_each(|members| object.members(members));
    // As which client of the authorization server the gateway obtains credentials.
    object.optional_text("gateway_client_id", record.client_id.as_deref().map(|id| texts.name(id)));
    object.optional_text("cache", record.lookup.map(|lookup| lookup.as_str()));
    object.optional_text("second_try", record.second_try.map(SecondTry::as_str));
    // How often it was sent, when it was more than once, and how long it waited between that.
    object.optional_number("attempts", Some(record.attempts).filter(|attempts| *attempts > 1));
    let paused = Some(record.paused).filter(|paused| !paused.is_zero());
    object.optional_number("paused_us", paused.map(microseconds));
    let digest = record.arguments_digest.as_ref();
    object.optional_text("arguments_digest", digest.map(|digest| record.privacy.arguments(digest)));
    if !record.arguments.is_empty() {
        object.value("arguments", &arguments(record, texts));
    }
    if let Some(note) = &record.confirmation {
        // What the person was asked before it ran, and where they agreed: `page` or `form`.
        object.object("confirmation", |object| {
            object.text("question", &note.question);
            if let Some((at, by)) = note.agreed {
                object.number("agreed_at", u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
                object.text("agreed_by", by);
            }
        });
    }
    // The limit that refused the call.
    object.optional_text("limit", record.limit.as_deref().map(|limit| texts.name(limit)));
    if let Some(queue) = &record.queue {
        // How it waited for a place at its connector.
        object.object("queue", |object| {
            object.number("waited_us", microseconds(queue.waited));
            object.text("ended", queue.end.as_str());
        });
    }
    let stages = &record.stages;
    object.optional_number("authenticated_after_us", stages.authenticated.map(microseconds));
    object.optional_number("identified_after_us", stages.identified.map(microseconds));
    object.optional_number("decided_after_us", stages.decided.map(microseconds));
    object.optional_number("obtained_after_us", stages.obtained.map(microseconds));
    object.optional_number("connector_latency_us", record.connector_latency.map(microseconds));
    let connectors_id = record.connector_request_id.as_ref().map(|id| texts.header(id));
    object.optional_text("connector_request_id", connectors_id);
    object.number("duration_us", microseconds(record.duration));
}

/// Those arguments that are to be recorded, within bounds.
fn arguments<'a>(record: &'a CallRecord, texts: &Texts) -> BTreeMap<Cow<'a, str>, Value<'a>> {
    let mut bytes_left = ARGUMENTS_BYTES_MAX;
    let mut text = |text: &'a str| {
        let text = texts.within(text, ARGUMENT_BYTES_MAX.min(bytes_left));
        bytes_left = bytes_left.saturating_sub(text.len());
        text
    };
    let mut value = |argument: &'a Argument| match argument {
        Argument::String(value) => Value::Text(text(value)),
        Argument::Integer(number) => Value::Integer(*number),
        Argument::Boolean(value) => Value::Boolean(*value),
        Argument::Strings(values) => {
            let some = values.iter().take(ARGUMENT_VALUES_MAX).map(|value| text(value));
            let mut some: Vec<_> = some.collect();
            if values.len() > ARGUMENT_VALUES_MAX {
                some.push(texts.cut_mark());
            }
            Value::Texts(some)
        }
    };
    if record.arguments.len() > ARGUMENTS_MAX {
        // What is missing has no place for the mark; the record says that something is.
        let _ = texts.cut_mark();
    }
    let some = record.arguments.iter().take(ARGUMENTS_MAX);
    some.map(|(name, argument)| (texts.within(name, ARGUMENT_NAME_BYTES_MAX), value(argument))).collect()
}
