//! Everybody's mail, and the little of OData that listing it takes.

use std::collections::{HashMap, VecDeque};

use serde_json::{Map, Value, json};

use crate::demo::clock;
use crate::demo::jws::sha256_base64url;
use crate::demo::people::Person;

/// Most messages in a mailbox. The oldest give way.
const MESSAGES_MAX: usize = 500;

/// Most messages on a page.
const PAGE_MAX: usize = 1_000;

/// Messages on a page unless asked otherwise, as Graph has it.
const PAGE_DEFAULT: usize = 10;

/// Sender's name, sender's address, subject, text.
type Letter = (&'static str, &'static str, &'static str, &'static str);

const ADAS: [Letter; 4] = [
    (
        "Priya Raman",
        "priya.raman@demo.test",
        "Design review moved to Thursday",
        "The review of the ingest pipeline moves to Thursday at 14:00. Please bring the failure budget.",
    ),
    (
        "Build service",
        "builds@demo.test",
        "Nightly build 4182 is green again",
        "All 2,314 tests pass. The flaky one was a clock that ran backwards; it is fixed.",
    ),
    (
        "Bob Okafor",
        "bob.okafor@demo.test",
        "Travel budget for the Lisbon conference",
        "You have 1,840 EUR left. Send me the hotel invoice before the end of the month.",
    ),
    (
        "Jonas Weber",
        "jonas.weber@demo.test",
        "On-call swap next week?",
        "Could you take Tuesday night? I would take your Saturday in return.",
    ),
];

const BOBS: [Letter; 4] = [
    (
        "Mei Tanaka",
        "mei.tanaka@demo.test",
        "Quarter close: two accruals are missing",
        "Cloud hosting and the Lisbon office lease are not booked yet. Can you add them by Friday?",
    ),
    (
        "Ada Lindqvist",
        "ada.lindqvist@demo.test",
        "Re: Travel budget for the Lisbon conference",
        "The invoice is attached: 612 EUR for three nights.",
    ),
    (
        "Payroll",
        "payroll@demo.test",
        "November payslips are ready",
        "The payslips for November can be released. 143 employees, no exceptions.",
    ),
    (
        "Audit office",
        "audit@demo.test",
        "Sample for the yearly audit",
        "Please provide the approvals for the 25 payments listed below by 4 December.",
    ),
];

/// One person's messages, newest first.
pub(super) struct Mailbox {
    messages: VecDeque<Value>,
    next: usize,
}

/// Every mailbox, by its owner's object id.
pub(super) type Mailboxes = HashMap<String, Mailbox>;

/// The mailboxes of those who have one.
pub(super) fn mailboxes(people: &[Person]) -> Mailboxes {
    people
        .iter()
        .filter(|person| person.mailbox)
        .map(|person| (person.oid.clone(), Mailbox::of(person)))
        .collect()
}

impl Mailbox {
    fn of(person: &Person) -> Self {
        let mut mailbox = Self { messages: VecDeque::new(), next: 0 };
        let letters: &[Letter] = match person {
            person if *person == Person::ada() => &ADAS,
            person if *person == Person::bob() => &BOBS,
            _ => &[],
        };
        let mut age = 3_600 * 20;
        for (name, address, subject, text) in letters.iter().rev() {
            mailbox.deliver(person, (name, address), subject, text, clock::now() - age);
            age /= 3;
        }
        if letters.is_empty() {
            let (subject, text) =
                (format!("Welcome, {}", person.name), format!("This mailbox is {}'s alone.", person.name));
            mailbox.deliver(person, ("Help desk", "help@demo.test"), &subject, &text, clock::now() - age);
        }
        mailbox
    }

    /// Puts a message on top.
    pub(super) fn deliver(
        &mut self,
        owner: &Person,
        from: (&str, &str),
        subject: &str,
        text: &str,
        received: i64,
    ) {
        let digest = sha256_base64url(format!("{} {}", owner.oid, self.next).as_bytes());
        self.next += 1;
        let preview: String = text.chars().take(255).collect();
        let address =
            |name: &str, address: &str| json!({ "emailAddress": { "name": name, "address": address } });
        self.messages.push_front(json!({
            "@odata.etag": format!("W/\"{}\"", &digest[..16]),
            "id": format!("AAMkAG{digest}="),
            "receivedDateTime": clock::rfc3339(received),
            "subject": subject,
            "bodyPreview": preview,
            "importance": "normal",
            "isRead": false,
            "hasAttachments": false,
            "body": { "contentType": "text", "content": text },
            "from": address(from.0, from.1),
            "toRecipients": [address(&owner.name, &owner.user_name)],
        }));
        self.messages.truncate(MESSAGES_MAX);
    }

    /// The message with this id.
    pub(super) fn message(&self, id: &str) -> Option<&Value> {
        self.messages.iter().find(|message| message["id"] == id)
    }

    /// One page, and whether there are more.
    pub(super) fn page(&self, page: &Page) -> (Vec<Value>, bool) {
        let messages =
            self.messages.iter().skip(page.skip).take(page.top).map(|one| page.select(one)).collect();
        (messages, self.messages.len() > page.skip.saturating_add(page.top))
    }
}

/// What a list request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) top: usize,
    pub(super) skip: usize,
    pub(super) select: Vec<String>,
}

impl Page {
    /// Reads `$top`, `$skip` and `$select`; the name of a parameter that makes no sense is the error.
    pub(super) fn parse(query: &str) -> Result<Self, &'static str> {
        let mut page = Self { top: PAGE_DEFAULT, skip: 0, select: Vec::new() };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "$top" => {
                    let top = value.parse().ok().filter(|top| (1..=PAGE_MAX).contains(top));
                    page.top = top.ok_or("$top")?;
                }
                "$skip" => page.skip = value.parse().map_err(|_| "$skip")?,
                "$select" => page.select = value.split(',').map(|name| name.trim().to_owned()).collect(),
                _ => {}
            }
        }
        Ok(page)
    }

    /// The chosen properties of a message, or all of them. The id always comes along.
    pub(super) fn select(&self, message: &Value) -> Value {
        if self.select.is_empty() {
            return message.clone();
        }
        let Value::Object(members) = message else { return message.clone() };
        let chosen: Map<String, Value> = members
            .iter()
            .filter(|(name, _)| *name == "id" || *name == "@odata.etag" || self.select.contains(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Value::Object(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_with_their_bounds() {
        check_page("", Ok((10, 0, &[])));
        check_page("$top=3&$skip=2&$select=subject,%20from", Ok((3, 2, &["subject", "from"])));
        check_page("%24top=1000", Ok((1000, 0, &[])));
        check_page("$top=0", Err("$top"));
        check_page("$top=1001", Err("$top"));
        check_page("$top=many", Err("$top"));
        check_page("$skip=-1", Err("$skip"));
    }

    #[track_caller]
    fn check_page(query: &str, expected: Result<(usize, usize, &[&str]), &str>) {
        let select = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let expected = expected.map(|(top, skip, names)| Page { top, skip, select: select(names) });
        assert_eq!(Page::parse(query), expected, "{query}");
    }

    #[test]
    fn a_full_mailbox_keeps_its_newest() {
        let ada = Person::ada();
        let mut mailbox = Mailbox::of(&ada);
        for number in 0..=MESSAGES_MAX {
            mailbox.deliver(&ada, ("n", "n@demo.test"), &format!("number {number}"), "", 0);
        }
        let page = Page { top: PAGE_MAX, skip: 0, select: Vec::new() };
        let (messages, more) = mailbox.page(&page);
        assert_eq!((messages.len(), more), (MESSAGES_MAX, false));
        assert_eq!(messages[0]["subject"], format!("number {MESSAGES_MAX}"));
    }
}
