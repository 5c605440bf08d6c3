//! What happens in the story, and how each step has to come out.

use http::Method;
use serde_json::json;

use super::call::{APPLICATION, Call, Seen};
use super::stage::Stage;
use crate::demo::script::Reply;

/// What the connector tells a caller who is to come back later, in seconds.
const RETRY_AFTER_SECONDS: u64 = 7;
/// The subjects of the newest messages: what an assistant asks for first.
const LIST: &str = "/mail/me/messages?$top=3&$select=subject";
/// The same, at a company where people have accounts of their own.
const WEBMAIL: &str = "/webmail/me/messages?$top=3&$select=subject";

/// One step.
pub struct Step {
    /// What it shows.
    pub title: &'static str,
    /// The call that is made.
    pub call: Call,
    /// What has to come of it.
    pub expected: Expected,
    /// What is arranged beforehand.
    pub arrange: fn(&Stage),
    /// What the last page is called of those that the person sees who opens the link in the answer before, and does what each
    /// page asks for; without it, nobody opens one.
    pub visit: Option<&'static str>,
}

/// How a step has to come out.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The status of the answer.
    pub status: u16,
    /// The code in the answer, the gateway's or the connector's.
    pub code: Option<&'static str>,
    /// How often the authorization server is asked for a token.
    pub exchanges: usize,
    /// Whose token the connector gets, by object id; without one it gets no request.
    pub connector_sees: Option<String>,
    /// Who the record says the call was for, by object id.
    pub person: Option<String>,
    /// What the record says came of it.
    pub outcome: &'static str,
    /// What the record says of the cache.
    pub cache: Option<&'static str>,
    /// What the agent is told about when to come back.
    pub retry_after: Option<String>,
    /// The link for the person that the answer has, by the name of its member.
    pub link: Option<&'static str>,
}

/// Every step with a call, in the order of the story.
pub fn all(stage: &Stage) -> Vec<Step> {
    let server = &stage.authorization_server;
    let ada = Some(server.person("Ada").oid.clone());
    let ada_at_fabrikam = Some(stage.webmail_server.person("Ada").oid.clone());
    let bob = Some(server.person("Bob").oid.clone());
    let list = |token| Call::new(Method::GET, LIST, token);
    let for_ada = || server.subject_token("Ada");
    let answered = |status, person: &Option<String>| Expected {
        status,
        outcome: "answered",
        connector_sees: person.clone(),
        person: person.clone(),
        ..Expected::default()
    };
    let refused = |status, code| Expected { status, code: Some(code), outcome: code, ..Expected::default() };
    let step = |title, call, expected| Step { title, call, expected, arrange: |_| {}, visit: None };
    vec![
        step(
            "Ada's agent reads her mail",
            list(for_ada().mint()),
            Expected { exchanges: 1, cache: Some("miss"), ..answered(200, &ada) },
        ),
        step(
            "The same call again is a cache hit",
            list(for_ada().mint()),
            Expected { cache: Some("hit"), ..answered(200, &ada) },
        ),
        step(
            "Bob has no mailbox, and is told what to do",
            list(server.subject_token("Bob").mint()),
            Expected {
                code: Some("MailboxNotEnabledForRESTAPI"),
                exchanges: 1,
                cache: Some("miss"),
                ..answered(404, &bob)
            },
        ),
        step(
            "A token for another audience is refused",
            list(for_ada().audience("api://payroll").mint()),
            refused(401, "audience_mismatch"),
        ),
        step("So is one that has expired", list(for_ada().expired().mint()), refused(401, "token_expired")),
        step(
            "Consent is missing, and the answer carries the link",
            send_message(for_ada().mint()),
            Expected {
                exchanges: 1,
                person: ada.clone(),
                link: Some("consent_url"),
                ..refused(403, "consent_required")
            },
        ),
        step(
            "A tool that is not listed is denied",
            Call::new(Method::DELETE, "/mail/me/messages/1", for_ada().mint()),
            Expected { person: ada.clone(), ..refused(403, "tool_unlisted") },
        ),
        Step {
            arrange: |stage| _ = stage.mail.script().once(throttled()),
            ..step(
                "The connector throttles, and the agent learns when to come back",
                list(for_ada().mint()),
                Expected {
                    code: Some("connector_throttled"),
                    outcome: "connector_throttled",
                    cache: Some("hit"),
                    retry_after: Some(RETRY_AFTER_SECONDS.to_string()),
                    ..answered(429, &ada)
                },
            )
        },
        step(
            "A service with accounts of its own: the answer carries the link",
            Call::new(Method::GET, WEBMAIL, for_ada().mint()),
            Expected {
                person: ada.clone(),
                link: Some("connect_url"),
                ..refused(401, "connection_required")
            },
        ),
        Step {
            visit: Some("webmail is connected"),
            ..step(
                "She signs in there once, and the same call is answered",
                Call::new(Method::GET, WEBMAIL, for_ada().mint()),
                Expected { cache: Some("hit"), connector_sees: ada_at_fabrikam, ..answered(200, &ada) },
            )
        },
        step(
            "An MCP client asks what Ada can do with her notes",
            list_tools(for_ada().mint()),
            Expected { exchanges: 1, cache: Some("miss"), ..answered(200, &ada) },
        ),
        step(
            "Bob's list of the same server is another one",
            list_tools(server.subject_token("Bob").mint()),
            Expected { exchanges: 1, cache: Some("miss"), ..answered(200, &bob) },
        ),
        step(
            "Ada's agent reads a note of hers",
            call_tool("read_note", &json!({ "id": "n1" }), for_ada().mint()),
            Expected { cache: Some("hit"), ..answered(200, &ada) },
        ),
        step(
            "A tool that Bob may not use does not exist for him",
            call_tool("delete_note", &json!({ "id": "n1" }), server.subject_token("Bob").mint()),
            Expected { status: 200, outcome: "policy_denied", person: bob.clone(), ..Expected::default() },
        ),
        step(
            "What the application would publish waits until Ada has seen it",
            publish(for_ada().mint()),
            Expected {
                status: 200,
                exchanges: 1,
                cache: Some("miss"),
                outcome: "confirmation_required",
                person: ada.clone(),
                link: Some("confirm_url"),
                ..Expected::default()
            },
        ),
        Step {
            visit: Some("You have agreed"),
            ..step(
                "She reads it and agrees, and it is published, in the application's name",
                publish(for_ada().mint()),
                Expected {
                    cache: Some("hit"),
                    connector_sees: Some(APPLICATION.to_owned()),
                    ..answered(200, &ada)
                },
            )
        },
    ]
}

fn list_tools(token: String) -> Call {
    Call::mcp("/notes", "tools/list", json!({}), token)
}

fn call_tool(name: &str, arguments: &serde_json::Value, token: String) -> Call {
    Call::mcp("/notes", "tools/call", json!({ "name": name, "arguments": arguments }), token)
}

fn publish(token: String) -> Call {
    call_tool("publish_announcement", &json!({ "text": "The office is closed on Monday." }), token)
}

/// A mail from Ada to Bob.
pub fn mail_to_bob() -> serde_json::Value {
    json!({ "message": {
        "subject": "Hotel invoice",
        "body": { "contentType": "Text", "content": "612 EUR for three nights." },
        "toRecipients": [{ "emailAddress": { "address": "bob.okafor@demo.test" } }],
    }})
}

fn send_message(token: String) -> Call {
    Call { body: Some(mail_to_bob()), ..Call::new(Method::POST, "/mail/me/sendMail", token) }
}

fn throttled() -> Reply {
    let message = "Application is over its MailboxConcurrency limit.";
    Reply::json(429, &json!({ "error": { "code": "ApplicationThrottled", "message": message } }))
        .header("retry-after", RETRY_AFTER_SECONDS.to_string())
}

/// What is not as it has to be, each as a sentence.
pub fn faults(step: &Step, seen: &Seen, stage: &Stage) -> Vec<String> {
    let expected = &step.expected;
    let mut faults = Faults::default();
    faults.compare("the status", expected.status, seen.answer.status.as_u16());
    faults.compare("the code", or_none(expected.code), or_none(seen.answer.code().as_deref()));
    faults.compare(
        "Retry-After",
        or_none(expected.retry_after.as_deref()),
        or_none(seen.answer.header("retry-after")),
    );
    let link = seen.answer.link();
    let pages = format!("{}/account/", stage.origin());
    let leads_to = |name| match name {
        "consent_url" => stage.authorization_server.authorization_endpoint(),
        _ => pages,
    };
    faults.compare(
        "the link for the person",
        or_none(expected.link),
        or_none(link.as_ref().map(|link| link.0)),
    );
    if let Some((name, link)) = link {
        faults.compare("that the link leads where it should", true, link.starts_with(&leads_to(name)));
    }
    let last = seen.visit.as_ref().and_then(|visit| visit.pages.last());
    faults.compare("the last page", or_none(step.visit), or_none(last.map(|(_, heading)| heading.as_str())));
    faults.compare(
        "requests for a token at the authorization server",
        expected.exchanges,
        seen.exchanges.len(),
    );

    faults.compare(
        "requests at the connector",
        usize::from(expected.connector_sees.is_some()),
        seen.received.len(),
    );
    let saw = seen.connector_saw();
    faults.compare(
        "whose token the connector got",
        or_none(expected.connector_sees.as_deref()),
        or_none(saw.as_deref()),
    );
    let issued = stage.issued();
    let delegated =
        seen.received.iter().all(|request| request.bearer().is_some_and(|token| issued.contains(&token)));
    faults.compare("that what the connector got is a token made for it", true, delegated);
    let leaked = seen.received.iter().any(|request| request.contains(&step.call.token));
    faults.compare("that the agent's own token reached the connector", false, leaked);

    let Some(record) = &seen.record else {
        faults.0.push("expected an audit record of this call, found none".to_owned());
        return faults.0;
    };
    faults.compare(
        "the status in the record",
        u64::from(expected.status),
        record.status().unwrap_or_default(),
    );
    faults.compare("the outcome in the record", expected.outcome, record.outcome().unwrap_or(NONE));
    faults.compare("the person in the record", or_none(expected.person.as_deref()), or_none(record.person()));
    faults.compare("the cache in the record", or_none(expected.cache), or_none(record.cache()));
    faults.0
}

const NONE: &str = "none";

fn or_none(text: Option<&str>) -> &str {
    text.unwrap_or(NONE)
}

/// Sentences about what is not as expected.
#[derive(Default)]
pub struct Faults(pub Vec<String>);

impl Faults {
    /// Notes it when the two differ.
    pub fn compare<T: PartialEq + std::fmt::Display>(&mut self, what: &str, expected: T, found: T) {
        if expected != found {
            self.0.push(format!("{what}: expected {expected}, found {found}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_a_fault() {
        let mut faults = Faults::default();
        faults.compare("the status", 200, 200);
        faults.compare("the code", "none", "token_expired");
        assert_eq!(faults.0, ["the code: expected none, found token_expired"]);
    }
}
