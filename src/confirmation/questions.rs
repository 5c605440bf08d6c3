//! The questions under way: in memory, bounded, and for minutes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::event::{Event, Events, Happened};
use super::{Agreement, Answer, Bound, By, Question, QuestionId, SHOWN_BYTES_MAX, Shown};
use crate::clock::Now;
use crate::identity::{Actor, Person, PersonId};
use crate::metrics::Metrics;
use crate::patience;
use crate::tool::Confirm;

/// How long a question waits for its answer: time to find the message, sign in, and read.
pub const ANSWER_TIME: Duration = Duration::from_secs(600);
/// How long an agreement waits for its call. Beyond it, what the person saw may be of another hour.
pub const USE_TIME: Duration = Duration::from_secs(300);
/// How long an agent that tries a declined call again hears that it was declined.
const DECLINED_FOR: Duration = Duration::from_secs(600);
/// How long an agent that comes too late hears so, once. Whoever comes later than that asks anew.
const EXPIRED_FOR: Duration = Duration::from_secs(600);
/// Most questions at a time. Beyond it, one gives way of the person and agent with the most bytes, or else with the most questions.
const QUESTIONS_MAX: usize = 10_000;
/// Most bytes of all that is shown, at a time. Beyond it the same gives way.
const BYTES_MAX: usize = 64 * 1_048_576;
/// Most questions of one person by one agent. More nobody reads in ten minutes; beyond it an older one of theirs gives way, and
/// nobody else's.
const OF_ONE_MAX: usize = 16;
/// Most bytes of all that is shown of them: two of the longest calls, or many of the usual ones.
const BYTES_OF_ONE_MAX: usize = 2 * SHOWN_BYTES_MAX;

/// All questions.
pub struct Questions {
    kept: Mutex<Kept>,
    /// Tells those who wait for an answer that there is one, to some question.
    answered: Notify,
    events: Events,
}

/// How it stands with a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Its person has agreed, and it may run: this once.
    Agreed(Agreement),
    /// Its person has to be asked.
    Asked(QuestionId),
    /// Its person has declined.
    Declined(QuestionId),
    /// Its person did not answer in time, or it came too late after that. The next time it is asked anew.
    Expired(QuestionId),
}

/// Why an answer is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AnswerError {
    /// There is no such question, or not any more.
    #[error("the question is over, or never was one")]
    Over,
    /// It is somebody else's.
    #[error("the question is for another person")]
    OtherPerson,
    /// It has been answered otherwise.
    #[error("the question has been answered otherwise")]
    Answered,
    /// It is to be answered on the gateway's page.
    #[error("the question is to be answered on the page")]
    NotHere,
}

impl AnswerError {
    /// What it is called in records.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Over => "question_over",
            Self::OtherPerson => "other_person",
            Self::Answered => "answered_otherwise",
            Self::NotHere => "page_required",
        }
    }
}

#[derive(Default)]
struct Kept {
    questions: HashMap<QuestionId, Waiting>,
    by_bound: HashMap<Arc<Bound>, QuestionId>,
    /// In the order in which they were asked.
    order: BTreeMap<u64, QuestionId>,
    of_one: HashMap<Asker, OfOne>,
    bytes: usize,
    next: u64,
}

/// Whose questions give way to one another.
type Asker = (PersonId, Option<Actor>);

/// The questions of one person by one agent.
#[derive(Default)]
struct OfOne {
    numbers: Vec<u64>,
    /// Of all that is shown.
    bytes: usize,
}

struct Waiting {
    number: u64,
    bound: Arc<Bound>,
    shown: Arc<Shown>,
    confirm: Confirm,
    state: State,
    /// Since when it is in this state.
    since: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Asked,
    /// When, since 1970 UTC, and where.
    Agreed(Duration, By),
    Declined,
    Expired,
}

impl Waiting {
    /// Brings it to what it is by now. `None`: it is over, for good. Beside it, whether its time has just ended.
    fn settle(&mut self, now: Now) -> (bool, Option<State>) {
        let mut has_expired = false;
        loop {
            let limit = match self.state {
                State::Asked => ANSWER_TIME,
                State::Agreed(..) => USE_TIME,
                State::Declined => DECLINED_FOR,
                State::Expired => EXPIRED_FOR,
            };
            if now.monotonic.saturating_duration_since(self.since) < limit {
                return (has_expired, Some(self.state));
            }
            match self.state {
                State::Asked | State::Agreed(..) => {
                    has_expired = true;
                    self.since += limit;
                    self.state = State::Expired;
                }
                State::Declined | State::Expired => return (has_expired, None),
            }
        }
    }

    /// Which gives way first: what nobody waits for, and last what keeps an agent from asking again and again.
    const fn rank(&self) -> u8 {
        match self.state {
            State::Expired => 0,
            State::Asked => 1,
            State::Agreed(..) => 2,
            State::Declined => 3,
        }
    }

    fn question(&self, id: &QuestionId) -> Question {
        Question {
            id: id.clone(),
            bound: Arc::clone(&self.bound),
            shown: Arc::clone(&self.shown),
            confirm: self.confirm,
            answer: match self.state {
                State::Agreed(..) => Some(Answer::Agree),
                State::Declined => Some(Answer::Decline),
                State::Asked | State::Expired => None,
            },
        }
    }
}

impl Questions {
    /// None yet. What happens to them is counted there.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { kept: Mutex::default(), answered: Notify::new(), events: Events::new(metrics) }
    }

    /// How it stands with a call that is to be confirmed as `confirm` says: an agreement is used up by it, and where there is
    /// no question yet, there is one from then on, with what is `shown`. `request_id` names the call's record.
    pub fn meet(&self, bound: Bound, shown: Shown, confirm: Confirm, now: Now, request_id: &str) -> Standing {
        let mut happened = Vec::new();
        let standing = self.lock().meet(bound, shown, confirm, now, &mut happened);
        self.note(&happened, request_id);
        standing
    }

    /// A question that has not ended, with its answer where it has one.
    pub fn get(&self, id: &QuestionId, now: Now, request_id: &str) -> Option<Question> {
        let mut happened = Vec::new();
        let question = match self.lock().get(id, now, &mut happened) {
            Some(kept) if kept.state != State::Expired => Some(kept.question(id)),
            Some(_) | None => None,
        };
        self.note(&happened, request_id);
        question
    }

    /// Takes an answer of `holder`, given there. The same answer can be given again.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when it is not theirs to give, or not any more.
    pub fn answer(
        &self,
        id: &QuestionId,
        holder: &PersonId,
        answer: Answer,
        by: By,
        now: Now,
        request_id: &str,
    ) -> Result<Question, AnswerError> {
        let mut happened = Vec::new();
        let answered = self.lock().answer(id, holder, (answer, by), now, &mut happened);
        self.note(&happened, request_id);
        self.answered.notify_waiters();
        answered
    }

    /// The person is at the page of a question: waits for them, for some seconds at most. What they said, if anything, is found
    /// when the call is met again.
    pub async fn wait_for_answer(&self, id: &QuestionId, request_id: &str) {
        patience::for_person(id.as_str(), async {
            loop {
                let mut answered = std::pin::pin!(self.answered.notified());
                answered.as_mut().enable();
                match self.get(id, Now::read(), request_id) {
                    Some(Question { answer: None, .. }) => answered.await,
                    Some(_) | None => return,
                }
            }
        })
        .await;
    }

    /// Drops the questions of a person. Returns how many there were.
    pub fn forget(&self, person: &Person) -> usize {
        let mut kept = self.lock();
        let theirs: Vec<QuestionId> = kept
            .questions
            .iter()
            .filter(|(_, question)| question.bound.holder.is(person))
            .map(|(id, _)| id.clone())
            .collect();
        for id in &theirs {
            kept.drop_one(id);
        }
        theirs.len()
    }

    fn note(&self, happened: &[Happened], request_id: &str) {
        for happened in happened {
            // That time is over is found by whatever request comes next, which may be anybody's.
            let request_id = (happened.event != Event::Expired).then_some(request_id);
            self.events.note(happened, request_id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // It is whole after every change.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn meet(
        &mut self,
        bound: Bound,
        shown: Shown,
        confirm: Confirm,
        now: Now,
        happened: &mut Vec<Happened>,
    ) -> Standing {
        self.drop_old(now, happened);
        if let Some(id) = self.by_bound.get(&bound).cloned()
            && let Some(kept) = self.get(&id, now, happened)
        {
            match kept.state {
                State::Asked => {
                    // A stricter configuration may have come since.
                    kept.confirm = kept.confirm.max(confirm);
                    return Standing::Asked(id);
                }
                State::Declined => return Standing::Declined(id),
                State::Agreed(at, by) if by.is_enough_for(confirm) => {
                    let bound = Arc::clone(&kept.bound);
                    happened.push(Happened { event: Event::Used(by), id: id.clone(), bound });
                    self.drop_one(&id);
                    return Standing::Agreed(Agreement { id, at, by });
                }
                // It was answered where that does not count.
                State::Agreed(..) => self.drop_one(&id),
                State::Expired => {
                    self.drop_one(&id);
                    return Standing::Expired(id);
                }
            }
        }
        Standing::Asked(self.ask(bound, shown, confirm, now, happened))
    }

    fn ask(
        &mut self,
        bound: Bound,
        shown: Shown,
        confirm: Confirm,
        now: Now,
        happened: &mut Vec<Happened>,
    ) -> QuestionId {
        let (id, bound, number) = (QuestionId::random(), Arc::new(bound), self.next);
        self.next += 1;
        let bytes = shown.byte_count();
        self.make_room(&asker(&bound), bytes);
        self.bytes += bytes;
        let of_one = self.of_one.entry(asker(&bound)).or_default();
        of_one.numbers.push(number);
        of_one.bytes += bytes;
        self.by_bound.insert(Arc::clone(&bound), id.clone());
        self.order.insert(number, id.clone());
        happened.push(Happened { event: Event::Asked, id: id.clone(), bound: Arc::clone(&bound) });
        let (shown, state, since) = (Arc::new(shown), State::Asked, now.monotonic);
        self.questions.insert(id.clone(), Waiting { number, bound, shown, confirm, state, since });
        id
    }

    /// The question, as it is by now. `None`: there is none any more.
    fn get(&mut self, id: &QuestionId, now: Now, happened: &mut Vec<Happened>) -> Option<&mut Waiting> {
        let kept = self.questions.get_mut(id)?;
        let (has_expired, state) = kept.settle(now);
        if has_expired {
            let bound = Arc::clone(&kept.bound);
            happened.push(Happened { event: Event::Expired, id: id.clone(), bound });
            self.show_no_more(id);
        }
        if state.is_none() {
            self.drop_one(id);
        }
        self.questions.get_mut(id)
    }

    fn answer(
        &mut self,
        id: &QuestionId,
        holder: &PersonId,
        (answer, by): (Answer, By),
        now: Now,
        happened: &mut Vec<Happened>,
    ) -> Result<Question, AnswerError> {
        let kept = self.get(id, now, happened).ok_or(AnswerError::Over)?;
        if kept.bound.holder != *holder {
            return Err(AnswerError::OtherPerson);
        }
        // A no counts wherever it was said.
        if answer == Answer::Agree && !by.is_enough_for(kept.confirm) {
            return Err(AnswerError::NotHere);
        }
        let event = match (kept.state, answer) {
            (State::Asked, Answer::Agree) => {
                kept.state = State::Agreed(now.wall, by);
                Event::Agreed(by)
            }
            (State::Asked, Answer::Decline) => {
                kept.state = State::Declined;
                Event::Declined(by)
            }
            (State::Agreed(..), Answer::Agree) | (State::Declined, Answer::Decline) => {
                return Ok(kept.question(id));
            }
            (State::Agreed(..), Answer::Decline) | (State::Declined, Answer::Agree) => {
                return Err(AnswerError::Answered);
            }
            (State::Expired, _) => return Err(AnswerError::Over),
        };
        kept.since = now.monotonic;
        happened.push(Happened { event, id: id.clone(), bound: Arc::clone(&kept.bound) });
        let answered = kept.question(id);
        self.show_no_more(id);
        Ok(answered)
    }

    /// Of what has been answered, or is over, nobody is shown anything.
    fn show_no_more(&mut self, id: &QuestionId) {
        let Some(kept) = self.questions.get_mut(id) else { return };
        let bytes = std::mem::take(&mut kept.shown).byte_count();
        self.bytes -= bytes;
        if let Some(of_one) = self.of_one.get_mut(&asker(&kept.bound)) {
            of_one.bytes -= bytes;
        }
    }

    /// Drops what is over. Each ends within this time of being asked; what ends sooner is found when it is looked for.
    fn drop_old(&mut self, now: Now, happened: &mut Vec<Happened>) {
        while let Some((_, oldest)) = self.order.first_key_value() {
            let oldest = oldest.clone();
            if self.get(&oldest, now, happened).is_some() {
                return;
            }
        }
    }

    fn make_room(&mut self, asker: &Asker, bytes: usize) {
        while let Some(of_one) = self.of_one.get(asker)
            && (of_one.numbers.len() >= OF_ONE_MAX || of_one.bytes + bytes > BYTES_OF_ONE_MAX)
            && let Some(id) = self.first_to_go(of_one)
        {
            self.drop_one(&id);
        }
        while self.questions.len() >= QUESTIONS_MAX || self.bytes + bytes > BYTES_MAX {
            // Of equals, whose is the oldest.
            let holds = |of_one: &&OfOne| {
                (of_one.bytes, of_one.numbers.len(), Reverse(of_one.numbers.first().copied()))
            };
            let Some(most) = self.of_one.values().max_by_key(holds) else { return };
            let Some(id) = self.first_to_go(most) else { return };
            self.drop_one(&id);
        }
    }

    fn first_to_go(&self, of_one: &OfOne) -> Option<QuestionId> {
        let ranked = of_one.numbers.iter().filter_map(|number| {
            let id = self.order.get(number)?;
            Some((self.questions.get(id)?.rank(), number, id))
        });
        ranked.min_by_key(|(rank, number, _)| (*rank, *number)).map(|(.., id)| id.clone())
    }

    fn drop_one(&mut self, id: &QuestionId) {
        self.show_no_more(id);
        let Some(kept) = self.questions.remove(id) else { return };
        self.by_bound.remove(&kept.bound);
        self.order.remove(&kept.number);
        let asker = asker(&kept.bound);
        if let Some(theirs) = self.of_one.get_mut(&asker) {
            theirs.numbers.retain(|number| *number != kept.number);
            if theirs.numbers.is_empty() {
                self.of_one.remove(&asker);
            }
        }
    }
}

fn asker(bound: &Bound) -> Asker {
    (bound.holder.clone(), bound.agent.clone())
}

#[cfg(test)]
mod tests;
