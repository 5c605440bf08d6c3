//! Calls that their person has to agree to: held back with a question, and let through once, when it has been answered.
//!
//! The person is shown what the connector would get: the request is laid out from what will go on, and what cannot be shown
//! completely is not asked about. A flag in the arguments is an argument like any other.

use std::sync::Arc;
use std::time::Instant;

use http::Request;

use super::Gateway;
use super::call::Call;
use super::forward::ForwardError;
use super::json_body::JsonBodyError;
use super::mcp::elicitation::{Action, Purpose};
use super::refusal::Refusal;
use super::routes::Connector;
use super::tool_call::ToolCall;
use crate::audit::{ConfirmationNote, Deed, DeedEnd, DeedKind, Failure, Fault, KnownPerson};
use crate::clock::Now;
use crate::confirmation::{Answer, Bound, By, Question, QuestionId, Shown, Standing};
use crate::identity::PersonId;
use crate::oauth::authorization_server::person_of;
use crate::policy::Permit;
use crate::strict_json::ExactError;
use crate::tool::Confirm;

pub mod form;
mod headers;
mod message;
mod request;

use headers::BoundHeaders;

/// Largest body of a call that is shown to a person, in bytes. Nobody reads more in ten minutes.
const BODY_BYTES_MAX: usize = 65_536;

/// Proof that a call may run: nobody has to be asked, or the person has agreed to this one. Only [`Gateway::clear`] makes one.
pub struct Cleared {
    permit: Permit,
}

impl Cleared {
    /// What policy said.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }
}

/// Why a call does not run that its person has to agree to.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfirmError {
    /// The person has to be asked.
    #[error("the person has to agree to this call")]
    Required {
        /// Which question it is, with all that is shown.
        question: Box<Question>,
        /// Where it is answered.
        url: String,
    },
    /// The person said no.
    #[error("the person declined this call")]
    Declined,
    /// The person closed the question without an answer.
    #[error("the person closed the question about this call without an answer")]
    Dismissed,
    /// The person said nothing, or the call came too late after that.
    #[error("the person did not agree in time, or the call came too late after that")]
    Expired,
    /// The person could not be shown what would happen.
    #[error("the call cannot be shown to the person: {0}")]
    Unshowable(#[from] Unshowable),
    /// There is no page, or the person cannot sign in there.
    #[error("the person cannot be asked: there are no pages where they could sign in")]
    NobodyToAsk,
}

/// Why a call cannot be shown completely.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unshowable {
    /// It is longer than anybody reads.
    #[error("it is too long")]
    TooLong,
    /// Its body is of a type that is not shown.
    #[error("its body is of a type that is not shown")]
    MediaType,
    /// What its body says depends on more than UTF-8 text.
    #[error("its body is encoded, or in another character set than UTF-8")]
    Encoded,
    /// It is a part of something that is elsewhere.
    #[error("its body is part of something else")]
    Part,
    /// Readers could take its body differently.
    #[error("its body could be read in more than one way: {0}")]
    Json(#[from] ExactError),
}

/// A call, laid out for its person.
struct Exhibit {
    shown: Shown,
    /// Of all that the connector acts on.
    digest: [u8; 32],
}

impl Gateway {
    /// Lets a permitted call through: at once, or when its person has agreed to it.
    ///
    /// # Errors
    ///
    /// [`ConfirmError`] when the person has to be asked first, said no, or cannot be asked.
    pub(super) async fn clear(
        &self,
        permit: Permit,
        connector: &Connector,
        request: &Request<()>,
        tool_call: &mut ToolCall,
        call: &mut Call,
    ) -> Result<Cleared, Refusal> {
        if permit.confirm() != Confirm::No {
            Box::pin(self.confirm(&permit, connector, request, tool_call, call)).await?;
        }
        Ok(Cleared { permit })
    }

    async fn confirm(
        &self,
        permit: &Permit,
        connector: &Connector,
        request: &Request<()>,
        tool_call: &mut ToolCall,
        call: &mut Call,
    ) -> Result<(), Refusal> {
        let holder = person_of(permit.caller(), &self.servers);
        let (holder, pages) = holder
            .zip(self.pages.as_ref())
            .filter(|(holder, pages)| pages.lets_in(&holder.issuer))
            .ok_or(ConfirmError::NobodyToAsk)?;
        let Exhibit { shown, digest } = match &call.mcp {
            Some(_) => {
                let headers = BoundHeaders::of(request, connector, permit.caller(), tool_call);
                message::exhibit(tool_call, &headers)?
            }
            None => request::exhibit(request, connector, permit.caller(), tool_call).await?,
        };
        let tool = permit.tool();
        let bound = Bound {
            holder,
            agent: permit.caller().actor().cloned(),
            connector: tool.connector.clone(),
            primitive: tool.primitive,
            tool: tool.name.clone(),
            identity: tool.identity,
            digest,
        };
        self.take_answer(&bound.holder, call).await?;
        let request_id = call.request_id().to_string();
        // The body may have been long in coming.
        let now = Now::read();
        let standing = self.questions.meet(bound, shown, permit.confirm(), now, &request_id);
        let (id, refused) = match standing {
            Standing::Agreed(agreement) => {
                call.record.confirmation = Some(ConfirmationNote {
                    question: Arc::clone(agreement.id.as_str()),
                    agreed: Some((agreement.at, agreement.by.as_str())),
                });
                return Ok(());
            }
            Standing::Asked(id) => {
                let question = self.questions.get(&id, now, &request_id).ok_or(ConfirmError::Expired)?;
                let url = pages.confirm_address(&id);
                (id, ConfirmError::Required { question: Box::new(question), url })
            }
            Standing::Declined(id) => (id, ConfirmError::Declined),
            Standing::Expired(id) => (id, ConfirmError::Expired),
        };
        call.record.confirmation = Some(ConfirmationNote { question: Arc::clone(id.as_str()), agreed: None });
        Err(refused.into())
    }
}

impl Gateway {
    /// Takes what the person answered in their client, or waits for them where they went to the page. Whether that lets the call
    /// through is seen when it is met.
    async fn take_answer(&self, holder: &PersonId, call: &mut Call) -> Result<(), Refusal> {
        let Some(given) = call.mcp.as_ref().and_then(|spoken| spoken.answers.as_ref()) else { return Ok(()) };
        let Purpose::Confirm { id, in_form } = &given.purpose else { return Ok(()) };
        let Some(id) = QuestionId::parse(id) else { return Ok(()) };
        let answer = match (given.action, in_form) {
            (Some(Action::Decline), _) => Answer::Decline,
            (Some(Action::Accept), true) => match form::has_agreed(given) {
                Some(true) => Answer::Agree,
                Some(false) => Answer::Decline,
                None => return Ok(()),
            },
            (Some(Action::Accept), false) => {
                let began = Instant::now();
                self.questions.wait_for_answer(&id, &call.request_id().to_string()).await;
                call.waited_for_person(began.elapsed());
                return Ok(());
            }
            (Some(Action::Cancel), _) => return Err(ConfirmError::Dismissed.into()),
            (None, _) => return Ok(()),
        };
        let (now, request) = (Now::read(), call.request_id());
        let Some(question) = self.questions.get(&id, now, &request.to_string()) else { return Ok(()) };
        let kind = match answer {
            Answer::Agree => DeedKind::Confirm,
            Answer::Decline => DeedKind::DeclineCall,
        };
        let mut deed =
            Deed { person: Some(KnownPerson::of(holder)), request: Some(request), ..Deed::of(kind) };
        question.tell(&mut deed);
        let recording = self.recorder.begin_deed(deed)?;
        let answered = self.questions.answer(&id, holder, answer, By::Form, now, &request.to_string());
        recording.end(match answered {
            Ok(_) => DeedEnd::Done(None),
            // What becomes of the call is found when it is met.
            Err(error) => DeedEnd::Failed(Failure::of(error.code(), Fault::User, error.to_string())),
        });
        Ok(())
    }
}

/// What the body of a call turns out not to be.
fn refused_body(error: JsonBodyError) -> Refusal {
    match error {
        JsonBodyError::MediaType => ConfirmError::Unshowable(Unshowable::MediaType).into(),
        JsonBodyError::TooLarge => ConfirmError::Unshowable(Unshowable::TooLong).into(),
        JsonBodyError::Stalled => ForwardError::UploadStalled.into(),
        JsonBodyError::BrokeOff => ForwardError::UploadBroke.into(),
    }
}
