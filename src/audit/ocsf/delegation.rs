//! What OCSF has no place for in the record of a call: delegation.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use super::parts::microseconds;
use super::text::{ARGUMENT_BYTES_MAX, ARGUMENT_NAME_BYTES_MAX, Texts};
use crate::audit::record::{CallRecord, SecondTry};
use crate::identity::Caller;
use crate::tool::Argument;

/// Most arguments that are recorded, and most values of one that is a list.
const ARGUMENTS_MAX: usize = 32;
const ARGUMENT_VALUES_MAX: usize = 32;
/// Most bytes of them all.
const ARGUMENTS_BYTES_MAX: usize = 4_096;

/// What OCSF has no place for: on whose behalf, in which mode, and how the credential came about.
#[derive(Serialize)]
pub struct Delegation<'a> {
    /// `page`: it is no agent's call, but a person's browser asked for a page.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    outcome: &'static str,
    ending: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connector: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'static str>,
    /// What the caller proved beside having the token.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    proofs: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway_client_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes_requested: Option<Vec<Cow<'a, str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes_granted: Option<Vec<Cow<'a, str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_server: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'static str>,
    /// The record of the exchange that the token is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    exchange: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    second_try: Option<&'static str>,
    /// How often it was sent, when it was more than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    /// How long it waited between that.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delegated_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments_digest: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    arguments: BTreeMap<Cow<'a, str>, Value<'a>>,
    /// What the person was asked, and where they agreed.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmation: Option<Confirmation<'a>>,
    /// The limit that refused the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Cow<'a, str>>,
    /// How it waited for a place at its connector.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<Queue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authenticated_after_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identified_after_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_after_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    obtained_after_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connector_latency_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connector_request_id: Option<Cow<'a, str>>,
    duration_us: u64,
}

/// What a person was asked about a call before it ran.
#[derive(Serialize)]
struct Confirmation<'a> {
    question: &'a str,
    /// Milliseconds since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    agreed_at: Option<u64>,
    /// `page` or `form`.
    #[serde(skip_serializing_if = "Option::is_none")]
    agreed_by: Option<&'static str>,
}

/// How a call waited for a place at its connector.
#[derive(Serialize)]
struct Queue {
    waited_us: u64,
    /// `served`, `timed_out` or `left`.
    ended: &'static str,
}

/// The value of an argument.
#[derive(Serialize)]
#[serde(untagged)]
enum Value<'a> {
    Text(Cow<'a, str>),
    Integer(i64),
    Boolean(bool),
    Texts(Vec<Cow<'a, str>>),
}

impl<'a> Delegation<'a> {
    /// What the record says of it.
    pub fn of(record: &'a CallRecord, texts: &Texts) -> Self {
        let (caller, tool) = (record.caller.as_deref(), record.tool.as_deref());
        let (privacy, stages) = (&record.privacy, &record.stages);
        let target = tool.map(|tool| &tool.target);
        Self {
            kind: record.is_page.then_some("page"),
            outcome: record.outcome(),
            ending: record.ending.as_str(),
            fault: record.refusal.as_ref().map(|refusal| refusal.fault.as_str()),
            connector: record.connector.as_ref().map(|connector| texts.name(connector.as_str())),
            tool: tool.map(|tool| texts.name(tool.name.as_str())),
            identity: tool.map(|tool| tool.identity.as_str()),
            proofs: caller.map(proofs).unwrap_or_default(),
            gateway_client_id: record.client_id.as_deref().map(|id| texts.name(id)),
            scopes_requested: target.map(|target| texts.list(target.scopes.iter())),
            scopes_granted: record.granted.as_ref().map(|granted| texts.list(granted.iter())),
            audience: target
                .and_then(|target| target.audience.as_ref())
                .map(|audience| texts.name(audience.as_str())),
            authorization_server: target
                .and_then(|target| target.authorization_server.as_ref())
                .map(|server| texts.name(server.as_str())),
            cache: record.lookup.map(|lookup| lookup.as_str()),
            exchange: record.exchange.map(|exchange| exchange.to_string()),
            second_try: record.second_try.map(SecondTry::as_str),
            attempts: Some(record.attempts).filter(|attempts| *attempts > 1),
            paused_us: Some(record.paused).filter(|paused| !paused.is_zero()).map(microseconds),
            subject_token: caller.map(|caller| privacy.token(&caller.subject_token().digest())),
            delegated_token: record.delegated_token.as_ref().map(|digest| privacy.token(digest)),
            arguments_digest: record.arguments_digest.as_ref().map(|digest| privacy.arguments(digest)),
            arguments: arguments(record, texts),
            confirmation: record.confirmation.as_ref().map(|note| Confirmation {
                question: &note.question,
                agreed_at: note.agreed.map(|(at, _)| u64::try_from(at.as_millis()).unwrap_or(u64::MAX)),
                agreed_by: note.agreed.map(|(_, by)| by),
            }),
            limit: record.limit.as_deref().map(|limit| texts.name(limit)),
            queue: record
                .queue
                .map(|queue| Queue { waited_us: microseconds(queue.waited), ended: queue.end.as_str() }),
            authenticated_after_us: stages.authenticated.map(microseconds),
            identified_after_us: stages.identified.map(microseconds),
            decided_after_us: stages.decided.map(microseconds),
            obtained_after_us: stages.obtained.map(microseconds),
            connector_latency_us: record.connector_latency.map(microseconds),
            connector_request_id: record.connector_request_id.as_ref().map(|id| texts.header(id)),
            duration_us: microseconds(record.duration),
        }
    }
}

/// There is no caller before these have been checked.
fn proofs(caller: &Caller) -> Vec<&'static str> {
    let confirmation = caller.confirmation().copied().unwrap_or_default();
    let proved = [
        (confirmation.key.is_some(), "dpop"),
        (confirmation.certificate.is_some(), "certificate"),
        (caller.actor_token().is_some(), "actor_token"),
    ];
    proved.into_iter().filter_map(|(proved, name)| proved.then_some(name)).collect()
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
