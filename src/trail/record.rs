//! A record, as far as it is looked at. What it says beside is left alone, so that later records can be read as well.

use std::borrow::Cow;

use serde::Deserialize;

/// `status_id` of what went well.
const SUCCESS: u32 = 1;
/// `user.type_id` of what is no person, and of somebody of whom nothing is known.
const SERVICE: u32 = 4;
const UNKNOWN: u32 = 0;

/// `unmapped.obo.kind` of a request for a page.
const PAGE: &str = "page";

/// A text of a record, taken from its line where it stands there as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
pub struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What kind of a record it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A call (class 6003).
    Call,
    /// A request for one of the pages for people (class 6003 as well).
    Page,
    /// What happened to somebody's credentials (class 3002): an exchange, a revocation, what people do about them themselves.
    Authentication,
    /// What happened to the trail itself.
    Mark,
    /// Something else.
    Other,
}

impl Kind {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Page => "page",
            Self::Authentication => "authentication",
            Self::Mark => "mark",
            Self::Other => "other",
        }
    }
}

/// A record.
#[derive(Clone, Debug, Deserialize)]
pub struct Record<'a> {
    class_uid: u32,
    /// When it ended, in milliseconds since 1970 UTC.
    pub time: u64,
    status_id: Option<u32>,
    #[serde(borrow, default)]
    activity_name: Option<Text<'a>>,
    #[serde(borrow, default)]
    message: Option<Text<'a>>,
    #[serde(borrow, default)]
    status_code: Option<Text<'a>>,
    #[serde(borrow, default)]
    status_detail: Option<Text<'a>>,
    #[serde(borrow, default)]
    actor: Actor<'a>,
    #[serde(borrow, default)]
    user: Option<User<'a>>,
    #[serde(borrow, default)]
    session: Option<Session<'a>>,
    #[serde(borrow, default)]
    api: Api<'a>,
    #[serde(default)]
    http_request: Body,
    #[serde(default)]
    http_response: Body,
    #[serde(borrow, default)]
    authorizations: Vec<Authorization<'a>>,
    #[serde(borrow, default)]
    unmapped: Unmapped<'a>,
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Actor<'a> {
    #[serde(borrow, default)]
    user: Option<User<'a>>,
    #[serde(borrow, default)]
    app_uid: Option<Text<'a>>,
    #[serde(borrow, default)]
    session: Option<Session<'a>>,
    #[serde(borrow, default)]
    idp: Option<Idp<'a>>,
}

#[derive(Clone, Debug, Deserialize)]
struct User<'a> {
    #[serde(borrow, default)]
    uid: Option<Text<'a>>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    type_id: Option<u32>,
}

#[derive(Clone, Debug, Deserialize)]
struct Session<'a> {
    #[serde(borrow, default)]
    issuer: Option<Text<'a>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Idp<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    issuer: Option<Text<'a>>,
    #[serde(borrow, default)]
    tenant_uid: Option<Text<'a>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Api<'a> {
    #[serde(borrow, default)]
    operation: Option<Text<'a>>,
    #[serde(borrow, default)]
    request: Option<ApiRequest<'a>>,
}

#[derive(Clone, Debug, Deserialize)]
struct ApiRequest<'a> {
    #[serde(borrow, default)]
    uid: Option<Text<'a>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Body {
    code: Option<u16>,
    body_length: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
struct Authorization<'a> {
    #[serde(borrow, default)]
    policy: Option<Policy<'a>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Policy<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Unmapped<'a> {
    #[serde(borrow, default)]
    obo: Delegation<'a>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Delegation<'a> {
    #[serde(borrow, default)]
    outcome: Option<Text<'a>>,
    #[serde(borrow, default)]
    mark: Option<Text<'a>>,
    #[serde(borrow, default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    agent: Option<Text<'a>>,
    #[serde(borrow, default)]
    connector: Option<Text<'a>>,
    #[serde(borrow, default)]
    tool: Option<Text<'a>>,
    #[serde(borrow, default)]
    identity: Option<Text<'a>>,
    #[serde(borrow, default)]
    scopes_requested: Vec<Text<'a>>,
    #[serde(borrow, default)]
    scopes_granted: Vec<Text<'a>>,
    #[serde(borrow, default)]
    exchange: Option<Text<'a>>,
    #[serde(borrow, default)]
    for_request: Option<Text<'a>>,
    #[serde(borrow, default)]
    forgotten: Option<Forgotten<'a>>,
    #[serde(borrow, default)]
    owner: Option<Text<'a>>,
    #[serde(borrow, default)]
    account: Option<Text<'a>>,
    duration_us: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
struct Forgotten<'a> {
    #[serde(borrow, default)]
    pseudonyms: Vec<Text<'a>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    uid: Option<Text<'a>>,
    #[serde(borrow, default)]
    tenant_uid: Option<Text<'a>>,
    sequence: Option<u64>,
}

fn text<'r>(text: &'r Option<Text<'_>>) -> Option<&'r str> {
    text.as_ref().map(Text::as_str)
}

impl<'a> Record<'a> {
    /// Reads a line; `None` when it is no record.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        // What is no UTF-8 is no JSON, and is told sooner this way.
        serde_json::from_str(std::str::from_utf8(line).ok()?).ok()
    }

    /// What kind it is.
    pub fn kind(&self) -> Kind {
        match self.class_uid {
            6003 if text(&self.unmapped.obo.kind) == Some(PAGE) => Kind::Page,
            6003 => Kind::Call,
            3002 => Kind::Authentication,
            0 if self.unmapped.obo.mark.is_some() => Kind::Mark,
            _ => Kind::Other,
        }
    }

    /// Its number in the trail.
    pub fn sequence(&self) -> Option<u64> {
        self.metadata.sequence
    }

    fn user(&self) -> Option<&User<'a>> {
        // The gateway's application obtains tokens of its own, and is nobody.
        let user = self.actor.user.as_ref().or(self.user.as_ref());
        user.filter(|user| !matches!(user.type_id, Some(SERVICE | UNKNOWN)))
    }

    /// For whom: the identifier, or the pseudonym.
    pub fn person(&self) -> Option<&str> {
        self.user().and_then(|user| text(&user.uid))
    }

    /// What the person is called, where records say so.
    pub fn name(&self) -> Option<&str> {
        self.user().and_then(|user| text(&user.name))
    }

    /// Under which other pseudonyms the person stands in records, where they were forgotten.
    pub fn pseudonyms(&self) -> impl Iterator<Item = &str> {
        self.unmapped.obo.forgotten.iter().flat_map(|forgotten| &forgotten.pseudonyms).map(Text::as_str)
    }

    /// Who else it is about: whose link somebody opened.
    pub fn owner(&self) -> Option<&str> {
        text(&self.unmapped.obo.owner)
    }

    /// What a service calls the person's account.
    pub fn account(&self) -> Option<&str> {
        text(&self.unmapped.obo.account)
    }

    /// The person's tenant.
    pub fn tenant(&self) -> Option<&str> {
        let of_issuer = self.actor.idp.as_ref().and_then(|idp| text(&idp.tenant_uid));
        text(&self.metadata.tenant_uid).or(of_issuer)
    }

    /// The person's issuer, by its `iss`.
    pub fn issuer(&self) -> Option<&str> {
        let session = self.actor.session.as_ref().or(self.session.as_ref());
        let of_issuer = self.actor.idp.as_ref().and_then(|idp| text(&idp.issuer).or(text(&idp.name)));
        session.and_then(|session| text(&session.issuer)).or(of_issuer)
    }

    /// By which agent.
    pub fn agent(&self) -> Option<&str> {
        match self.kind() {
            // There the gateway itself is who acts.
            Kind::Authentication => text(&self.unmapped.obo.agent),
            Kind::Call | Kind::Page | Kind::Mark | Kind::Other => text(&self.actor.app_uid),
        }
    }

    /// On which connector.
    pub fn connector(&self) -> Option<&str> {
        text(&self.unmapped.obo.connector)
    }

    /// On which tool of it.
    pub fn tool(&self) -> Option<&str> {
        text(&self.unmapped.obo.tool)
    }

    /// `connector/tool`, as far as that is known; for what is no call, what it was.
    pub fn target(&self) -> Cow<'_, str> {
        match (self.kind(), self.connector(), self.tool()) {
            (Kind::Authentication, Some(connector), Some(tool)) => {
                format!("{} for {connector}/{tool}", self.deed()).into()
            }
            (Kind::Authentication, Some(connector), None) => {
                format!("{} for {connector}", self.deed()).into()
            }
            (Kind::Authentication, None, _) => self.deed().into(),
            (_, Some(connector), Some(tool)) => format!("{connector}/{tool}").into(),
            (_, Some(one), None) | (_, None, Some(one)) => one.into(),
            (Kind::Page, None, None) => format!("page {}", self.operation().unwrap_or("")).into(),
            (_, None, None) => text(&self.message).or(self.operation()).unwrap_or("").into(),
        }
    }

    /// What was done about credentials: `exchange`, `revocation`, `sign_in`, `connect`.
    fn deed(&self) -> &str {
        text(&self.unmapped.obo.kind).or(text(&self.activity_name)).unwrap_or("authentication")
    }

    /// The request line of a call, or what else was done.
    pub fn operation(&self) -> Option<&str> {
        text(&self.api.operation).or(text(&self.activity_name))
    }

    /// What came of it: `answered`, a refusal's code, or how it ended; of a mark its name.
    pub fn outcome(&self) -> &str {
        let own = text(&self.unmapped.obo.outcome).or(text(&self.unmapped.obo.mark));
        own.or(text(&self.status_code)).unwrap_or("")
    }

    /// The code of a refusal.
    pub fn code(&self) -> Option<&str> {
        text(&self.status_code)
    }

    /// What exactly was wrong.
    pub fn detail(&self) -> Option<&str> {
        text(&self.status_detail)
    }

    /// The status that the agent got.
    pub fn status(&self) -> Option<u16> {
        self.http_response.code
    }

    /// In which mode the connector saw whom.
    pub fn identity(&self) -> Option<&str> {
        text(&self.unmapped.obo.identity)
    }

    /// The scopes that the tool needs.
    pub fn scopes_requested(&self) -> impl Iterator<Item = &str> {
        self.unmapped.obo.scopes_requested.iter().map(Text::as_str)
    }

    /// The scopes that were granted.
    pub fn scopes_granted(&self) -> impl Iterator<Item = &str> {
        self.unmapped.obo.scopes_granted.iter().map(Text::as_str)
    }

    /// The rules and policies that decided.
    pub fn policies(&self) -> impl Iterator<Item = &str> {
        self.authorizations.iter().filter_map(|decision| text(&decision.policy.as_ref()?.name))
    }

    /// Body bytes from the agent, and from the connector.
    pub fn bytes(&self) -> (Option<u64>, Option<u64>) {
        (self.http_request.body_length, self.http_response.body_length)
    }

    /// How long it took, in microseconds.
    pub fn duration_us(&self) -> Option<u64> {
        self.unmapped.obo.duration_us
    }

    /// Its identifier; of a call the same as in `Obo-Request-Id`.
    pub fn request_id(&self) -> &str {
        let of_call = self.api.request.as_ref().and_then(|request| text(&request.uid));
        of_call.or(text(&self.metadata.uid)).unwrap_or("")
    }

    /// The exchange that a call's token is from.
    pub fn exchange(&self) -> Option<&str> {
        text(&self.unmapped.obo.exchange)
    }

    /// The call that an exchange was made for.
    pub fn for_request(&self) -> Option<&str> {
        text(&self.unmapped.obo.for_request)
    }

    /// Whether it has this identifier, or belongs to what has it: to a call, or to the exchange that the call's token is from.
    pub fn is_of_request(&self, id: &str) -> bool {
        self.request_id() == id || self.for_request() == Some(id) || self.exchange() == Some(id)
    }

    /// Whether it went well: of a call, that the connector answered without an error.
    pub fn is_success(&self) -> bool {
        self.status_id == Some(SUCCESS)
    }
}

/// Whether a record is about a person, by the identifier or a pseudonym that records have for them. The one place that decides it.
pub fn is_person(record: &Record<'_>, person: &str) -> bool {
    record.person() == Some(person)
        || record.owner() == Some(person)
        || record.pseudonyms().any(|pseudonym| pseudonym == person)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_record_says_beside_is_left_alone() {
        let line = br#"{"class_uid":6003,"time":5,"status_id":1,"later":{"a":[1]},"actor":{"user":{"uid":"o-1","mail":3},"app_uid":"planner"},
            "unmapped":{"obo":{"outcome":"answered","connector":"mail","tool":"send","duration_us":7,"new":null}},
            "http_response":{"code":200},"metadata":{"uid":"a-1","sequence":9}}"#;
        let record = Record::parse(line).expect("a record");
        assert_eq!((record.kind(), record.time, record.sequence()), (Kind::Call, 5, Some(9)));
        assert_eq!(
            (record.person(), record.agent(), &*record.target()),
            (Some("o-1"), Some("planner"), "mail/send")
        );
        assert!(record.is_success() && record.is_of_request("a-1") && is_person(&record, "o-1"));
    }

    #[test]
    fn people_are_found_in_every_kind_of_record() {
        let exchange = br#"{"class_uid":3002,"time":1,"user":{"uid":"o-1","type_id":1},"actor":{"app_uid":"gateway"},
            "unmapped":{"obo":{"kind":"exchange","connector":"mail","agent":"planner","for_request":"a"}},"metadata":{"uid":"b"}}"#;
        let exchange = Record::parse(exchange).expect("a record");
        assert!(is_person(&exchange, "o-1") && !is_person(&exchange, "o-2"));
        assert!(exchange.is_of_request("a") && exchange.is_of_request("b"));
        assert_eq!((&*exchange.target(), exchange.agent()), ("exchange for mail", Some("planner")));
        let application =
            br#"{"class_uid":3002,"time":1,"user":{"uid":"gateway","type_id":4},"metadata":{"uid":"b"}}"#;
        assert_eq!(Record::parse(application).expect("a record").person(), None);
        let revocation = br#"{"class_uid":3002,"time":1,"user":{"uid":"p-2"},
            "unmapped":{"obo":{"kind":"revocation","forgotten":{"pseudonyms":["p-2","p-1"]}}},"metadata":{}}"#;
        let revocation = Record::parse(revocation).expect("a record");
        assert!(is_person(&revocation, "p-1") && is_person(&revocation, "p-2"));
        assert_eq!(&*revocation.target(), "revocation");
    }

    #[test]
    fn what_people_do_themselves_is_told_from_what_agents_call() {
        let foreign = br#"{"class_uid":3002,"time":1,"status_code":"other_person","user":{"uid":"o-1","type_id":1},
            "unmapped":{"obo":{"kind":"foreign_link","outcome":"other_person","connector":"crm","agent":"planner","owner":"o-2"}},
            "metadata":{"uid":"b"}}"#;
        let foreign = Record::parse(foreign).expect("a record");
        assert!(is_person(&foreign, "o-1") && is_person(&foreign, "o-2") && !is_person(&foreign, "o-3"));
        assert_eq!((foreign.kind(), &*foreign.target()), (Kind::Authentication, "foreign_link for crm"));
        let confirmed = br#"{"class_uid":3002,"time":1,"user":{"name":"unknown","type_id":0},
            "unmapped":{"obo":{"kind":"confirmation","connector":"crm","tool":"send","account":"ada@crm.example"}},"metadata":{}}"#;
        let confirmed = Record::parse(confirmed).expect("a record");
        assert_eq!((confirmed.person(), confirmed.name()), (None, None));
        assert_eq!(
            (&*confirmed.target(), confirmed.account()),
            ("confirmation for crm/send", Some("ada@crm.example"))
        );
        let page = br#"{"class_uid":6003,"time":1,"api":{"operation":"GET /account/"},"actor":{"app_name":"browser"},
            "unmapped":{"obo":{"kind":"page","outcome":"answered"}},"metadata":{}}"#;
        let page = Record::parse(page).expect("a record");
        assert_eq!((page.kind(), &*page.target(), page.agent()), (Kind::Page, "page GET /account/", None));
    }

    #[test]
    fn what_is_no_record_is_none() {
        for line in [
            &b""[..],
            b"{}",
            b"[]",
            b"\xff",
            br#"{"class_uid":6003,"time":-1,"metadata":{}}"#,
            b"{\"class_uid\":6003",
        ] {
            assert!(Record::parse(line).is_none(), "{}", String::from_utf8_lossy(line));
        }
    }
}
