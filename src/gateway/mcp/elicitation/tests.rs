use super::*;
use crate::gateway::mcp::given::call_digest;
use crate::gateway::mcp::message::Message;
use crate::identity::{Actor, SecretToken, VerifiedClaims};
use std::sync::Arc;

struct Bed {
    key: StateKey,
    caller: Caller,
    connector: ConnectorName,
    now: Now,
}

const BOTH: Elicits = Elicits { form: true, url: true };

impl Bed {
    fn new() -> Self {
        let claims = VerifiedClaims { actor: Some(Actor::new("planner")), ..VerifiedClaims::of("ada") };
        let caller = Caller::verified(claims, SecretToken::new("token"));
        Self { key: StateKey::default(), caller, connector: ConnectorName::new("notes"), now: Now::read() }
    }

    fn asker(&self) -> Asker<'_> {
        Asker { key: &self.key, caller: &self.caller, connector: &self.connector, now: self.now }
    }

    /// A call with these parameters, heard.
    fn call(&self, params: Value) -> Result<(Request, McpCall), McpError> {
        self.call_of("tools/call", Era::Modern, params)
    }

    fn call_of(&self, method: &str, era: Era, params: Value) -> Result<(Request, McpCall), McpError> {
        let text = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }).to_string();
        let Ok(Message::Request(mut request)) = Message::parse(text.as_bytes()) else {
            panic!("a request: {text}")
        };
        let (id, method) = (request.id().clone(), request.method());
        let mut spoken = McpCall {
            era,
            said: Said::Request { id, method, name: None },
            session: None,
            digest: call_digest(method.as_str(), request.params()),
            elicits: BOTH,
            answers: None,
            brought: Brought::default(),
        };
        self.asker().hear(&mut request, &mut spoken)?;
        Ok((request, spoken))
    }

    /// The state with which a call is asked.
    fn state(&self, question: &Question, spoken: &McpCall) -> Option<String> {
        let asked = self.asker().ask(question, spoken, json!({}))?;
        let asked: Value = serde_json::from_slice(&asked).expect("JSON");
        Some(asked["result"]["requestState"].as_str().expect("a state").to_owned())
    }
}

fn connect() -> Question {
    let (url, message) = ("https://gateway.example/account/connect/t".to_owned(), "Connect.".to_owned());
    Question { purpose: Purpose::Connect { ticket: "t".to_owned() }, kind: Kind::Url { url, message } }
}

fn confirm() -> Question {
    let schema = json!({ "type": "object", "properties": { "agree": { "type": "boolean" } } });
    let schema = schema.as_object().cloned().expect("an object");
    let kind = Kind::Form { message: "Delete it?".to_owned(), schema };
    Question { purpose: Purpose::Confirm { id: "c".to_owned(), in_form: true }, kind }
}

fn with(more: Value) -> Value {
    let mut params = json!({ "name": "pay", "arguments": { "amount": 1.5 } });
    params.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
    params
}

#[track_caller]
fn assert_fault(heard: Result<(Request, McpCall), McpError>, expected: StateFault) {
    match heard {
        Err(McpError::State(fault)) => assert_eq!(fault, expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_client_can_show_is_what_it_says() {
    let none = Elicits::default();
    for (said, expected) in [
        (json!({}), none),
        (json!({ "elicitation": {} }), Elicits { form: true, url: false }),
        (json!({ "elicitation": { "form": {} } }), Elicits { form: true, url: false }),
        (json!({ "elicitation": { "url": {} } }), Elicits { form: false, url: true }),
        (json!({ "elicitation": { "form": {}, "url": {} } }), BOTH),
        (json!({ "elicitation": { "url": false } }), none),
        (json!({ "elicitation": true }), none),
        (json!({ "Elicitation": { "url": {} } }), none),
        (json!([]), none),
    ] {
        assert_eq!(Elicits::of(Some(&said)), expected, "{said}");
    }
    assert_eq!(Elicits::of(None), none);
}

#[test]
fn a_page_and_a_form_are_asked_for_by_a_result_and_its_answer_is_heard() {
    let bed = Bed::new();
    let (_, spoken) = bed.call(with(json!({}))).expect("a call");
    let asked = bed.asker().ask(&connect(), &spoken, json!({ "a": 1 })).expect("a question");
    let asked: Value = serde_json::from_slice(&asked).expect("JSON");
    let state = asked["result"]["requestState"].as_str().expect("a state");
    let expected = json!({ "jsonrpc": "2.0", "id": 7, "result": {
        "resultType": "input_required",
        "inputRequests": { "obo.connect": { "method": "elicitation/create", "params": {
            "mode": "url", "url": "https://gateway.example/account/connect/t", "message": "Connect.",
        } } },
        "requestState": state,
        "_meta": { "a": 1 },
    } });
    assert_eq!(asked, expected);
    let answer = json!({ "obo.connect": { "action": "accept" } });
    let heard = bed.call(with(json!({ "requestState": state, "inputResponses": answer })));
    let (request, heard) = heard.expect("an answer");
    let answer = heard.answers.expect("an answer");
    assert_eq!((answer.purpose, answer.action), (connect().purpose, Some(Action::Accept)));
    assert_eq!(request.params(), with(json!({})).as_object(), "nothing of ours goes on");

    let asked = bed.asker().ask(&confirm(), &spoken, json!({})).expect("a question");
    let asked: Value = serde_json::from_slice(&asked).expect("JSON");
    let form = &asked["result"]["inputRequests"]["obo.confirm"]["params"];
    assert_eq!((&form["mode"], &form["requestedSchema"]["type"]), (&json!("form"), &json!("object")));
    let answer = json!({ "obo.confirm": { "action": "accept", "content": { "agree": true } } });
    let state = &asked["result"]["requestState"];
    let (_, heard) =
        bed.call(with(json!({ "requestState": state, "inputResponses": answer }))).expect("an answer");
    let answer = heard.answers.expect("an answer");
    assert_eq!((&answer.purpose, &answer.content["agree"]), (&confirm().purpose, &json!(true)));
    assert!(!format!("{answer:?}").contains("agree"), "{answer:?}");
}

#[test]
fn an_answer_can_be_no_or_neither_and_nothing_else() {
    let bed = Bed::new();
    let (_, spoken) = bed.call(with(json!({}))).expect("a call");
    let state = bed.state(&connect(), &spoken).expect("a state");
    let heard = |responses: Value| {
        let params = with(json!({ "requestState": state, "inputResponses": responses }));
        bed.call(params).map(|(_, spoken)| spoken.answers.expect("an answer").action)
    };
    for (action, expected) in [("decline", Action::Decline), ("cancel", Action::Cancel)] {
        let answer = heard(json!({ "obo.connect": { "action": action } }));
        assert_eq!(answer.expect("an answer"), Some(expected));
    }
    for without in [json!({}), json!({ "obo.confirm": { "action": "accept" } })] {
        assert_eq!(heard(without).expect("no answer"), None);
    }
    for malformed in [
        json!("accept"),
        json!({}),
        json!({ "action": "ACCEPT" }),
        json!({ "action": true }),
        json!({ "action": "accept", "content": [] }),
    ] {
        let answer = heard(json!({ "obo.connect": malformed }));
        assert!(matches!(answer, Err(McpError::Message(_))), "{answer:?}");
    }
}

#[test]
fn a_state_of_ours_is_for_the_call_that_it_was_given_out_for() {
    let bed = Bed::new();
    let (_, spoken) = bed.call(with(json!({}))).expect("a call");
    let state = bed.state(&connect(), &spoken).expect("a state");
    let other_arguments = with(json!({ "requestState": state, "arguments": { "amount": 2 } }));
    assert_fault(bed.call(other_arguments), StateFault::NotGiven);
    let other_method = json!({ "name": "pay", "arguments": { "amount": 1.5 }, "requestState": state });
    assert_fault(bed.call_of("prompts/get", Era::Modern, other_method.clone()), StateFault::NotGiven);
    assert_fault(bed.call_of("tools/call", Era::Legacy, other_method), StateFault::NotGiven);
    assert_fault(
        bed.call_of("tools/list", Era::Modern, json!({ "requestState": state })),
        StateFault::NotGiven,
    );
    assert_fault(bed.call(with(json!({ "requestState": "obo1.AAAA" }))), StateFault::NotGiven);
    let mut later = bed;
    later.now = later.now.after(super::super::sealed_state::STATE_LIFETIME);
    assert_fault(later.call(with(json!({ "requestState": state }))), StateFault::Over);
}

#[test]
fn an_answer_without_a_question_of_ours_is_refused() {
    let bed = Bed::new();
    for key in KEYS {
        let responses = json!({ "name": { "action": "accept" }, key: { "action": "accept" } });
        for state in [json!({}), json!({ "requestState": "theirs" })] {
            let mut params = with(state);
            params["inputResponses"] = responses.clone();
            assert_fault(bed.call(params), StateFault::NotAsked);
        }
        let listing = json!({ "inputResponses": responses });
        assert_fault(bed.call_of("tools/list", Era::Legacy, listing), StateFault::NotAsked);
    }
}

#[test]
fn what_was_brought_for_the_server_waits_with_the_call_and_goes_on_as_it_came() {
    let bed = Bed::new();
    let theirs = json!({
        "requestState": "theirs",
        "inputResponses": { "name": { "action": "accept", "content": { "name": "Ada", "half": 0.5 } } },
    });
    let (_, mut spoken) = bed.call(with(theirs.clone())).expect("a call");
    for _ in 0..3 {
        let state = bed.state(&connect(), &spoken).expect("a state");
        assert!(!state.contains("theirs"));
        // Whatever else is sent beside the answer was not asked for.
        let answers = json!({ "obo.connect": { "action": "accept" }, "name": { "action": "decline" } });
        let heard = bed.call(with(json!({ "requestState": state, "inputResponses": answers })));
        let (request, heard) = heard.expect("an answer");
        assert_eq!(request.params(), with(theirs.clone()).as_object());
        assert_eq!(request.request_state(), Some("theirs"));
        spoken = heard;
    }
}

#[test]
fn a_call_is_asked_about_so_often_and_no_more() {
    let bed = Bed::new();
    let (_, mut spoken) = bed.call(with(json!({}))).expect("a call");
    for _ in 0..ASKED_MAX {
        let state = bed.state(&connect(), &spoken).expect("a state");
        spoken = bed.call(with(json!({ "requestState": state }))).expect("a call").1;
    }
    assert_eq!(bed.state(&connect(), &spoken), None);
    assert_eq!(bed.state(&confirm(), &spoken), None, "whatever the question is");
}

#[test]
fn who_cannot_be_asked_is_not() {
    let bed = Bed::new();
    let (_, spoken) = bed.call(with(json!({}))).expect("a call");
    let ask = |question: &Question, spoken: &McpCall| bed.asker().ask(question, spoken, json!({}));
    let forms = McpCall { elicits: Elicits { form: true, url: false }, ..spoken.clone() };
    assert!(ask(&connect(), &forms).is_none() && ask(&confirm(), &forms).is_some());
    let pages = McpCall { elicits: Elicits { form: false, url: true }, ..spoken.clone() };
    assert!(ask(&connect(), &pages).is_some() && ask(&confirm(), &pages).is_none());
    let large = Brought { state: Some("x".repeat(65_536)), responses: None };
    assert!(ask(&connect(), &McpCall { brought: large, ..spoken.clone() }).is_none());
    assert!(ask(&connect(), &McpCall { said: Said::Stream, ..spoken }).is_none());
    for method in [
        "tools/list",
        "prompts/list",
        "resources/list",
        "completion/complete",
        "subscriptions/listen",
        "server/discover",
    ] {
        let params = json!({ "ref": { "type": "ref/prompt", "name": "x" } });
        let (_, spoken) = bed.call_of(method, Era::Modern, params).expect("a call");
        assert!(ask(&connect(), &spoken).is_none(), "{method}");
    }
    for (method, params) in
        [("prompts/get", json!({ "name": "x" })), ("resources/read", json!({ "uri": "note://x" }))]
    {
        let (_, spoken) = bed.call_of(method, Era::Modern, params).expect("a call");
        assert!(ask(&connect(), &spoken).is_some(), "{method}");
    }
}

#[test]
fn in_the_legacy_era_a_page_is_asked_for_by_an_error_and_within_a_session_alone() {
    let bed = Bed::new();
    let (_, spoken) = bed.call_of("tools/call", Era::Legacy, with(json!({}))).expect("a call");
    assert!(bed.asker().ask(&connect(), &spoken, json!({})).is_none(), "no session");
    let spoken = McpCall { session: Some(Arc::from("s")), ..spoken };
    assert!(bed.asker().ask(&confirm(), &spoken, json!({})).is_none(), "there is no error for a form");
    let asked = bed.asker().ask(&connect(), &spoken, json!({})).expect("a question");
    let asked: Value = serde_json::from_slice(&asked).expect("JSON");
    let elicitation = json!({
        "mode": "url",
        "elicitationId": "t",
        "url": "https://gateway.example/account/connect/t",
        "message": "Connect.",
    });
    let error = json!({ "code": -32_042, "message": "Connect.", "data": { "elicitations": [elicitation] } });
    assert_eq!(asked, json!({ "jsonrpc": "2.0", "id": 7, "error": error }));
}

#[test]
fn a_server_that_asks_in_our_name_is_found_out() {
    let asks = |result: Value| is_in_our_name(result.as_object().expect("an object"));
    assert!(asks(json!({ "requestState": "obo1.x" })));
    assert!(asks(json!({ "inputRequests": { "obo.confirm": {} } })));
    assert!(!asks(json!({ "requestState": "obo.x", "inputRequests": { "name": {} } })));
    assert!(!asks(json!({ "content": [{ "text": "obo1.x" }] })));
}
