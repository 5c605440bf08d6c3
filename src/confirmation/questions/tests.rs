use std::io::{Read as _, Seek as _};

use super::*;
use crate::confirmation::{Content, Part};
use crate::identity::{Issuer, Realm, Subject, Tenant};
use crate::tool::{ConnectorName, IdentityMode, Primitive, ToolName};

fn holder(subject: &str) -> PersonId {
    PersonId {
        issuer: Issuer::new("https://issuer.example"),
        tenant: Tenant::Sole,
        subject: Subject::new(subject),
    }
}

fn bound() -> Bound {
    Bound {
        holder: holder("ada"),
        agent: Some(Actor::new("planner")),
        connector: ConnectorName::new("mail"),
        primitive: Primitive::Tool,
        tool: ToolName::new("send"),
        identity: IdentityMode::OnBehalfOf,
        digest: [7; 32],
    }
}

/// Of the same person and agent, the call of this number.
fn numbered(number: u16) -> Bound {
    let mut digest = [0; 32];
    digest[..2].copy_from_slice(&number.to_be_bytes());
    Bound { digest, ..bound() }
}

fn shown(bytes: usize) -> Shown {
    let part = Part { heading: String::new(), content: Content::Text("x".repeat(bytes)) };
    Shown { call: String::new(), parts: vec![part] }
}

struct Bed {
    questions: Questions,
    metrics: Arc<Metrics>,
    now: Now,
}

impl Bed {
    fn new() -> Self {
        let metrics = Arc::<Metrics>::default();
        Self { questions: Questions::new(Arc::clone(&metrics)), metrics, now: Now::read() }
    }

    fn later(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
    }

    fn meet(&self, bound: Bound) -> Standing {
        self.questions.meet(bound, shown(10), Confirm::Anywhere, self.now, "r")
    }

    #[track_caller]
    fn asked(&self, bound: Bound) -> QuestionId {
        match self.meet(bound) {
            Standing::Asked(id) => id,
            other => panic!("{other:?}"),
        }
    }

    fn answer(&self, id: &QuestionId, answer: Answer) -> Result<Question, AnswerError> {
        self.questions.answer(id, &holder("ada"), answer, By::Page, self.now, "r")
    }

    fn count(&self, outcome: &str) -> usize {
        let text = String::from_utf8(self.metrics.render().expect("metrics")).expect("text");
        let series = format!("obo_gateway_confirmations_total{{connector=\"mail\",outcome=\"{outcome}\"}} ");
        let count = text.lines().find_map(|line| line.strip_prefix(&series));
        count.map_or(0, |count| count.parse().expect("a number"))
    }

    #[track_caller]
    fn assert_whole(&self) {
        let kept = self.questions.lock();
        let count = kept.questions.len();
        assert_eq!((kept.by_bound.len(), kept.order.len()), (count, count));
        assert_eq!(kept.of_one.values().map(|of_one| of_one.numbers.len()).sum::<usize>(), count);
        assert!(kept.of_one.values().all(|of_one| !of_one.numbers.is_empty()));
        assert_eq!(kept.bytes, kept.questions.values().map(|kept| kept.shown.byte_count()).sum::<usize>());
        assert_eq!(kept.bytes, kept.of_one.values().map(|of_one| of_one.bytes).sum::<usize>());
    }
}

/// What a log of this kind has of a question about a tool of this name.
fn logged(is_json: bool, tool: &str) -> String {
    // Tests that have no log run beside this one; where one of them comes to the line in the same moment, `tracing` may switch it off.
    let mut logs = (0..10).map(|_| logged_once(is_json, tool));
    logs.find(|log| !log.is_empty()).expect("a line")
}

fn logged_once(is_json: bool, tool: &str) -> String {
    let mut file = tempfile::tempfile().expect("a file");
    let log = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(Mutex::new(file.try_clone().expect("a second handle")));
    let ask = || {
        Bed::new().asked(Bound { tool: ToolName::new(tool), ..bound() });
    };
    match is_json {
        true => tracing::subscriber::with_default(log.json().finish(), ask),
        false => tracing::subscriber::with_default(log.finish(), ask),
    }
    let mut text = String::new();
    file.rewind().expect("its beginning");
    file.read_to_string(&mut text).expect("a text");
    text
}

#[test]
fn a_log_has_a_tools_name_once_in_quotes_and_nothing_that_speaks_to_terminals() {
    // What happened: in JSON it was quoted twice.
    let json = logged(true, "send");
    let line: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(line["fields"]["tool"], "send", "{json}");
    for is_json in [true, false] {
        let text = logged(is_json, "se\u{1b}[2J\nnd");
        assert!(!text.contains('\u{1b}') && text.lines().count() == 1, "{text}");
    }
}

#[test]
fn a_call_runs_once_after_its_person_has_agreed() {
    let bed = Bed::new();
    let id = bed.asked(bound());
    assert_eq!(bed.asked(bound()), id, "who asks again gets the same link");
    let agreed = bed.answer(&id, Answer::Agree).expect("an answer");
    assert_eq!(agreed.answer, Some(Answer::Agree));
    let Standing::Agreed(agreement) = bed.meet(bound()) else { panic!("agreed") };
    assert_eq!(agreement, Agreement { id: id.clone(), at: bed.now.wall, by: By::Page });
    assert_ne!(bed.asked(bound()), id, "a second run has a question of its own");
    assert_eq!(["asked", "agreed", "used"].map(|outcome| bed.count(outcome)), [2, 1, 1]);
    assert_eq!(bed.answer(&id, Answer::Agree), Err(AnswerError::Over));
    bed.assert_whole();
}

#[test]
fn an_answer_is_for_the_call_that_was_shown_and_for_no_other() {
    let others = [
        Bound { holder: holder("bob"), ..bound() },
        Bound { holder: PersonId { tenant: Tenant::Named("t".into()), ..holder("ada") }, ..bound() },
        Bound {
            holder: PersonId { issuer: Issuer::new("https://other.example"), ..holder("ada") },
            ..bound()
        },
        Bound { agent: Some(Actor::new("other")), ..bound() },
        Bound { agent: None, ..bound() },
        Bound { connector: ConnectorName::new("wiki"), ..bound() },
        Bound { primitive: Primitive::Prompt, ..bound() },
        Bound { tool: ToolName::new("delete"), ..bound() },
        Bound { identity: IdentityMode::AppOnly, ..bound() },
        Bound { digest: [8; 32], ..bound() },
    ];
    for other in others {
        let bed = Bed::new();
        bed.answer(&bed.asked(bound()), Answer::Agree).expect("an answer");
        bed.asked(other);
        assert!(matches!(bed.meet(bound()), Standing::Agreed(_)));
    }
}

#[test]
fn nobody_answers_for_another() {
    let bed = Bed::new();
    let id = bed.asked(bound());
    for answer in [Answer::Agree, Answer::Decline] {
        let bobs = bed.questions.answer(&id, &holder("bob"), answer, By::Page, bed.now, "r");
        assert_eq!(bobs, Err(AnswerError::OtherPerson));
    }
    assert_eq!(bed.asked(bound()), id);
    let unknown = QuestionId::random();
    assert_eq!(bed.answer(&unknown, Answer::Agree), Err(AnswerError::Over));
}

#[test]
fn what_was_declined_stays_so_for_a_while_and_cannot_be_agreed_to() {
    let mut bed = Bed::new();
    let id = bed.asked(bound());
    bed.later(599);
    bed.answer(&id, Answer::Decline).expect("an answer");
    bed.later(599);
    assert_eq!(bed.meet(bound()), Standing::Declined(id.clone()));
    assert_eq!(bed.meet(bound()), Standing::Declined(id.clone()), "however often it is tried");
    assert_eq!(bed.answer(&id, Answer::Agree), Err(AnswerError::Answered));
    assert!(bed.answer(&id, Answer::Decline).is_ok(), "the same answer changes nothing");
    bed.later(1);
    assert_ne!(bed.asked(bound()), id);
    assert_eq!(["asked", "declined", "expired"].map(|outcome| bed.count(outcome)), [2, 1, 0]);
    bed.assert_whole();
}

#[test]
fn what_was_agreed_to_cannot_be_declined_any_more() {
    let bed = Bed::new();
    let id = bed.asked(bound());
    bed.answer(&id, Answer::Agree).expect("an answer");
    assert_eq!(bed.answer(&id, Answer::Decline), Err(AnswerError::Answered));
    assert!(bed.answer(&id, Answer::Agree).is_ok());
    assert_eq!(bed.count("agreed"), 1);
}

#[test]
fn a_question_that_nobody_answers_is_told_once_and_then_asked_anew() {
    let mut bed = Bed::new();
    let id = bed.asked(bound());
    bed.later(600);
    assert_eq!(bed.answer(&id, Answer::Agree), Err(AnswerError::Over));
    assert_eq!(bed.meet(bound()), Standing::Expired(id.clone()));
    assert_ne!(bed.asked(bound()), id);
    assert_eq!(bed.count("expired"), 1);
    bed.assert_whole();
}

#[test]
fn what_was_agreed_to_does_not_run_hours_later() {
    let mut bed = Bed::new();
    let first = bed.asked(bound());
    bed.answer(&first, Answer::Agree).expect("an answer");
    bed.later(299);
    assert!(matches!(bed.meet(bound()), Standing::Agreed(_)));
    let second = bed.asked(bound());
    bed.later(599);
    bed.answer(&second, Answer::Agree).expect("an answer");
    bed.later(300);
    assert_eq!(bed.meet(bound()), Standing::Expired(second));
    let third = bed.asked(bound());
    bed.later(7_200);
    assert_ne!(bed.asked(bound()), third, "nobody remembers that it came too late");
    assert_eq!(bed.count("expired"), 2);
    bed.assert_whole();
}

#[test]
fn a_page_that_is_wanted_is_not_had_from_a_form() {
    let bed = Bed::new();
    let form =
        |id: &QuestionId| bed.questions.answer(id, &holder("ada"), Answer::Agree, By::Form, bed.now, "r");
    let on_page = || bed.questions.meet(bound(), shown(1), Confirm::OnPage, bed.now, "r");
    let id = bed.asked(bound());
    // The configuration has become stricter since.
    assert_eq!(on_page(), Standing::Asked(id.clone()));
    assert_eq!(form(&id), Err(AnswerError::NotHere));
    bed.questions.forget(&person("ada"));
    let id = bed.asked(bound());
    form(&id).expect("an answer");
    assert!(matches!(on_page(), Standing::Asked(other) if other != id));
}

#[test]
fn of_many_who_try_at_once_one_runs() {
    let bed = Bed::new();
    bed.answer(&bed.asked(bound()), Answer::Agree).expect("an answer");
    let ran = std::thread::scope(|scope| {
        let tries: Vec<_> =
            (0..8).map(|_| scope.spawn(|| matches!(bed.meet(bound()), Standing::Agreed(_)))).collect();
        tries.into_iter().map(|one| one.join().expect("no panic")).filter(|ran| *ran).count()
    });
    assert_eq!(ran, 1);
}

#[test]
fn an_agent_that_asks_and_asks_pushes_nobody_elses_out() {
    let bed = Bed::new();
    let bobs = bed.asked(Bound { holder: holder("bob"), ..bound() });
    let other_agents = bed.asked(Bound { agent: Some(Actor::new("other")), ..bound() });
    let declined = bed.asked(numbered(0));
    bed.answer(&declined, Answer::Decline).expect("an answer");
    let agreed = bed.asked(numbered(1));
    bed.answer(&agreed, Answer::Agree).expect("an answer");
    let first = bed.asked(numbered(2));
    for number in 3..200 {
        bed.asked(numbered(number));
    }
    let is_there = |id: &QuestionId| bed.questions.get(id, bed.now, "r").is_some();
    assert!(is_there(&bobs) && is_there(&other_agents));
    assert!(!is_there(&first), "its own oldest gave way");
    assert_eq!(bed.meet(numbered(0)), Standing::Declined(declined), "a no is not pushed out");
    assert!(matches!(bed.meet(numbered(1)), Standing::Agreed(_)), "nor a yes");
    assert!(bed.questions.lock().questions.len() <= OF_ONE_MAX + 2);
    bed.assert_whole();
}

#[test]
fn questions_are_bounded_by_number_and_by_what_is_shown() {
    let bed = Bed::new();
    let people = |n: usize| Bound { holder: holder(&n.to_string()), ..bound() };
    let first = bed.asked(people(0));
    for n in 1..=QUESTIONS_MAX {
        bed.asked(people(n));
    }
    assert_eq!(bed.questions.lock().questions.len(), QUESTIONS_MAX);
    assert!(bed.questions.get(&first, bed.now, "r").is_none(), "the oldest gave way");
    bed.assert_whole();
    for n in 0..=BYTES_MAX / SHOWN_BYTES_MAX {
        bed.questions.meet(people(20_000 + n), shown(SHOWN_BYTES_MAX), Confirm::Anywhere, bed.now, "r");
    }
    assert!(bed.questions.lock().bytes <= BYTES_MAX);
    bed.assert_whole();
}

#[test]
fn when_it_is_full_whoever_asks_most_gives_way() {
    let bed = Bed::new();
    let ask = |bound: Bound, bytes: usize| match bed.questions.meet(
        bound,
        shown(bytes),
        Confirm::Anywhere,
        bed.now,
        "r",
    ) {
        Standing::Asked(id) => id,
        other => panic!("{other:?}"),
    };
    let is_there = |id: &QuestionId| bed.questions.get(id, bed.now, "r").is_some();
    let small = ask(bound(), 10);
    let by_many_agents = |n: usize| Bound { agent: Some(Actor::new(n.to_string())), ..numbered(1) };
    for n in 0..2 * BYTES_MAX / SHOWN_BYTES_MAX {
        ask(by_many_agents(n), SHOWN_BYTES_MAX);
    }
    assert!(is_there(&small), "what fills the room makes it");
    bed.assert_whole();
}

#[test]
fn of_one_person_and_agent_so_much_is_shown_and_no_more() {
    let bed = Bed::new();
    let ask = |number: u16, bytes: usize| match bed.questions.meet(
        numbered(number),
        shown(bytes),
        Confirm::Anywhere,
        bed.now,
        "r",
    ) {
        Standing::Asked(id) => id,
        other => panic!("{other:?}"),
    };
    let is_there = |id: &QuestionId| bed.questions.get(id, bed.now, "r").is_some();
    let [first, second, third] = [0, 1, 2].map(|number| ask(number, SHOWN_BYTES_MAX));
    assert!(!is_there(&first) && is_there(&second) && is_there(&third));
    bed.answer(&second, Answer::Agree).expect("an answer");
    let fourth = ask(3, SHOWN_BYTES_MAX);
    assert!(is_there(&third) && is_there(&fourth), "what is answered takes no room");
    assert!(matches!(bed.meet(numbered(1)), Standing::Agreed(_)));
    bed.assert_whole();
}

#[test]
fn what_is_over_is_not_kept_for_ever() {
    let mut bed = Bed::new();
    for number in 0..10 {
        bed.asked(numbered(number));
    }
    bed.later(2 * 3_600);
    bed.asked(numbered(100));
    assert_eq!(bed.questions.lock().questions.len(), 1);
    assert_eq!(bed.count("expired"), 10);
    bed.assert_whole();
}

fn person(subject: &str) -> Person {
    let realm = Realm::Issuers([Issuer::new("https://issuer.example")].into());
    Person { realm, subject: Subject::new(subject) }
}

#[test]
fn who_is_forgotten_has_no_questions() {
    let bed = Bed::new();
    let id = bed.asked(bound());
    bed.answer(&id, Answer::Agree).expect("an answer");
    let bobs = bed.asked(Bound { holder: holder("bob"), ..bound() });
    assert_eq!(bed.questions.forget(&person("ada")), 1);
    assert_ne!(bed.asked(bound()), id, "what was agreed to is forgotten as well");
    assert!(bed.questions.get(&bobs, bed.now, "r").is_some());
    bed.assert_whole();
}

#[test]
fn only_what_can_be_a_question_is_looked_up_and_nothing_shows_what_is_asked() {
    let bed = Bed::new();
    let id = bed.asked(bound());
    assert_eq!(QuestionId::parse(&id.to_string()), Some(id.clone()));
    for no in ["", "short", "../../../../etc/passwd", "aaaaaaaaaaaaaaaaaaaaa%", "aaaaaaaaaaaaaaaaaaaaaaa"] {
        assert_eq!(QuestionId::parse(no), None, "{no}");
    }
    let question = bed.questions.get(&id, bed.now, "r").expect("a question");
    assert!(!format!("{question:?}").contains("xxx"), "{question:?}");
}
