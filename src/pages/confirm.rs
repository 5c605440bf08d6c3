//! From the link of an agent to a yes or a no: what exactly would happen, and whether it may.
//!
//! Before anybody is signed in, a link shows nothing but where to sign in; to anybody but its person, nothing at all. What is
//! shown is all of the call, with what cannot be seen made visible, and the answer comes after it.

use http::StatusCode;

use super::fields::Fields;
use super::link::{Link, LinkPage};
use super::problem::Problem;
use super::reply::Reply;
use super::sessions::Session;
use super::text::{self, Lines, NAME_CHARS_MAX};
use super::view::{ConfirmPage, DonePage, FieldView, PartView};
use super::{Visit, rendered};
use crate::audit::{DeedKind, KnownPerson};
use crate::confirmation::{Answer, AnswerError, By, Content, Part, Question, QuestionId};
use crate::tool::{IdentityMode, Primitive};

impl Visit<'_> {
    /// `GET …/confirm/{question}`: what would happen.
    pub(super) fn question(&self, id: &str) -> Result<Reply, Problem> {
        let question = self.asked_question(id)?;
        let Some(session) = &self.session else {
            let link = Link::new(LinkPage::Confirm, id);
            return Ok(self.ask_to_sign_in(link.as_ref(), Some(&question.bound.holder.issuer), false));
        };
        self.check_asked(&question, session)?;
        if let Some(answer) = question.answer {
            return Ok(self.answered(&question, answer));
        }
        let (id, bound) = (&question.id, &question.bound);
        let connector = text::shown(bound.connector.as_str(), NAME_CHARS_MAX);
        let page = ConfirmPage {
            frame: self.frame(),
            agent: agent(&question),
            what: match bound.primitive {
                Primitive::Tool | Primitive::Method => "Tool",
                Primitive::Prompt => "Prompt",
                Primitive::Resource => "Resource",
            },
            tool: text::runs(bound.tool.as_str(), Lines::One),
            call: text::runs(&question.shown.call, Lines::One),
            identity: match bound.identity {
                IdentityMode::OnBehalfOf => "As you, with what you are allowed to do there".to_owned(),
                IdentityMode::AppOnly => "As the application, and not as you".to_owned(),
                IdentityMode::Connection => format!("With your own account at {connector}"),
            },
            is_of_application: bound.identity == IdentityMode::AppOnly,
            connector,
            parts: question.shown.parts.iter().map(view).collect(),
            agree: session.token(&purpose("agree", id)),
            decline: session.token(&purpose("decline", id)),
            question: id.to_string(),
        };
        Ok(Reply::page(StatusCode::OK, rendered(&page)))
    }

    /// `POST …/confirm/{question}/agree` and `…/decline`.
    pub(super) fn answer_question(&self, id: &str, answer: Answer, form: &Fields) -> Result<Reply, Problem> {
        let question = self.asked_question(id)?;
        let step = match answer {
            Answer::Agree => "agree",
            Answer::Decline => "decline",
        };
        let session = self.session_for(&purpose(step, &question.id), form.get("token"))?;
        self.check_asked(&question, session)?;
        let mut happening = self.begins(match answer {
            Answer::Agree => DeedKind::Confirm,
            Answer::Decline => DeedKind::DeclineCall,
        })?;
        happening.add(|deed| question.tell(deed));
        let (holder, questions) = (session.person().id(), &self.pages.questions);
        let answered = questions.answer(&question.id, holder, answer, By::Page, self.now, &self.reference);
        match answered.map_err(Problem::from) {
            Ok(question) => {
                happening.done();
                Ok(self.answered(&question, answer))
            }
            Err(problem) => {
                happening.failed(&problem);
                Err(problem)
            }
        }
    }

    fn asked_question(&self, id: &str) -> Result<Question, Problem> {
        let id = QuestionId::parse(id).ok_or(Problem::QuestionOver)?;
        let question = self.pages.questions.get(&id, self.now, &self.reference);
        question.ok_or(Problem::QuestionOver)
    }

    fn check_asked(&self, question: &Question, session: &Session) -> Result<(), Problem> {
        if question.bound.holder == *session.person().id() {
            return Ok(());
        }
        let mut happening = self.begins(DeedKind::ForeignLink)?;
        happening.add(|deed| {
            question.tell(deed);
            deed.owner = Some(KnownPerson::of(&question.bound.holder));
        });
        happening.failed(&Problem::OtherPerson);
        Err(Problem::OtherPerson)
    }

    fn answered(&self, question: &Question, answer: Answer) -> Reply {
        let (agent, connector) =
            (agent(question), text::shown(question.bound.connector.as_str(), NAME_CHARS_MAX));
        let (title, kind, lines) = match answer {
            Answer::Agree => (
                "You have agreed",
                "good",
                vec![
                    format!(
                        "{agent} can make this one call on {connector} now: once, as you have seen it, and within five minutes."
                    ),
                    "Go back to your agent, and let it try again. You can close this window.".to_owned(),
                ],
            ),
            Answer::Decline => (
                "Declined",
                "stopped",
                vec![
                    format!(
                        "{agent} cannot make this call on {connector}. If it tries it again now, it hears that you said no."
                    ),
                    "You can close this window.".to_owned(),
                ],
            ),
        };
        let page = DonePage { frame: self.frame(), title: title.to_owned(), kind, lines };
        Reply::page(StatusCode::OK, rendered(&page))
    }
}

fn purpose(step: &str, id: &QuestionId) -> String {
    format!("confirm:{step}:{id}")
}

fn agent(question: &Question) -> String {
    match &question.bound.agent {
        Some(agent) => text::shown(agent.as_str(), NAME_CHARS_MAX),
        None => "An agent that does not say which it is".to_owned(),
    }
}

fn view(part: &Part) -> PartView {
    let (text, fields) = match &part.content {
        Content::Text(text) => (text::runs(text, Lines::Many), Vec::new()),
        Content::Fields(fields) => {
            let field = |(name, value): &(String, String)| FieldView {
                name: text::runs(name, Lines::One),
                value: text::runs(value, Lines::Many),
            };
            (Vec::new(), fields.iter().map(field).collect())
        }
    };
    PartView { heading: part.heading.clone(), text, fields }
}

impl From<AnswerError> for Problem {
    fn from(error: AnswerError) -> Self {
        match error {
            // Where it is to be answered is here.
            AnswerError::Over | AnswerError::NotHere => Self::QuestionOver,
            AnswerError::OtherPerson => Self::OtherPerson,
            AnswerError::Answered => Self::Answered,
        }
    }
}
