//! The pages for people: signing in, connecting an account of their own, seeing what is connected, and agreeing to calls.
//!
//! Plain HTML, made here, without scripts. Who somebody is, their issuer says (`sign_in`); what they have connected,
//! [`crate::connections`] knows. Every way to go wrong is a `problem::Problem`, and a page that says what to do.

use std::sync::Arc;

use askama::Template;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;

use crate::audit::{Recorder, RequestId};
use crate::clock::Now;
use crate::confirmation::{Answer, QuestionId, Questions};
use crate::connections::Connections;
use crate::identity::{Issuer, Peer, Person};
use crate::oauth::authorization_server::AuthorizationServers;

mod account;
mod completing;
mod confirm;
mod connect;
mod cookies;
mod fields;
mod flow;
mod happening;
mod link;
mod problem;
mod reply;
mod sessions;
mod settings;
mod sign_in;
mod text;
mod view;

pub use settings::PagesSettings;
pub use text::{Lines, plain};

use completing::Completing;
use cookies::Cookie;
use fields::{Fields, check_origin};
use flow::FlowKey;
use link::{Link, LinkPage};
use problem::Problem;
use reply::Reply;
use sessions::{Session, Sessions};
use view::{Frame, ProblemPage, Who};

/// Names the stylesheet in its address, so that a browser fetches it anew when it has changed.
const STYLE_BYTES: usize = 6;

/// What outlives a reload: who is signed in.
pub struct Browsers {
    sessions: Sessions,
    flows: FlowKey,
    completing: Completing,
}

impl Default for Browsers {
    fn default() -> Self {
        Self { sessions: Sessions::default(), flows: FlowKey::new(), completing: Completing::default() }
    }
}

impl Browsers {
    /// Signs a person out everywhere. Returns of how many sessions.
    pub fn forget(&self, person: &Person) -> usize {
        self.sessions.forget(person)
    }
}

/// The pages, under one configuration.
pub struct Pages {
    settings: PagesSettings,
    servers: AuthorizationServers,
    browsers: Arc<Browsers>,
    questions: Arc<Questions>,
    /// `None`: no connector has connections.
    connections: Option<Arc<Connections>>,
    recorder: Recorder,
}

/// Who asks for a page, as far as that is known without reading the request.
#[derive(Clone, Copy, Debug)]
pub struct Visitor {
    /// The request, which has a record.
    pub request: RequestId,
    /// Who connected.
    pub peer: Peer,
}

/// One request for a page.
struct Visit<'a> {
    pages: &'a Pages,
    request: &'a Request<()>,
    /// What of the path follows that of the pages.
    rest: &'a str,
    visitor: Visitor,
    /// By what the record of the request is found.
    reference: String,
    session: Option<Session>,
    now: Now,
}

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Route<'a> {
    Account,
    Style,
    SignIn,
    SignedIn,
    SignOut,
    Connect(&'a str),
    Begin(&'a str),
    Agree(&'a str),
    Decline(&'a str),
    Question(&'a str),
    Answer(&'a str, Answer),
    Callback(&'a str),
    Disconnect,
}

impl<'a> Route<'a> {
    fn of(rest: &'a str) -> Option<Self> {
        let mut parts = rest.strip_prefix('/').unwrap_or(rest).split('/');
        let route = match (parts.next()?, parts.next(), parts.next()) {
            ("", None, _) => Self::Account,
            ("style.css", None, _) => Self::Style,
            ("sign-in", None, _) => Self::SignIn,
            ("signed-in", None, _) => Self::SignedIn,
            ("sign-out", None, _) => Self::SignOut,
            ("callback", Some(connector), None) => Self::Callback(connector),
            ("disconnect", None, _) => Self::Disconnect,
            ("connect", Some(ticket), None) => Self::Connect(ticket),
            ("connect", Some(ticket), Some("begin")) => Self::Begin(ticket),
            ("connect", Some(ticket), Some("agree")) => Self::Agree(ticket),
            ("connect", Some(ticket), Some("decline")) => Self::Decline(ticket),
            ("confirm", Some(question), None) => Self::Question(question),
            ("confirm", Some(question), Some("agree")) => Self::Answer(question, Answer::Agree),
            ("confirm", Some(question), Some("decline")) => Self::Answer(question, Answer::Decline),
            _ => return None,
        };
        parts.next().is_none().then_some(route)
    }

    fn check(self, method: &Method) -> Result<(), Problem> {
        let is_form = match self {
            Self::SignOut | Self::Agree(_) | Self::Decline(_) | Self::Answer(..) | Self::Disconnect => true,
            Self::Account
            | Self::Style
            | Self::SignIn
            | Self::SignedIn
            | Self::Connect(_)
            | Self::Begin(_)
            | Self::Question(_)
            | Self::Callback(_) => false,
        };
        match (is_form, method) {
            (true, &Method::POST) | (false, &Method::GET | &Method::HEAD) => Ok(()),
            (true, _) => Err(Problem::Method("POST")),
            (false, _) => Err(Problem::Method("GET, HEAD")),
        }
    }
}

impl Pages {
    /// The pages where `settings` say, for the people of these issuers and their connections. `recorder` records what people do.
    pub fn new(
        settings: PagesSettings,
        servers: AuthorizationServers,
        browsers: Arc<Browsers>,
        questions: Arc<Questions>,
        connections: Option<Arc<Connections>>,
        recorder: Recorder,
    ) -> Self {
        Self { settings, servers, browsers, questions, connections, recorder }
    }

    /// Whether the people of this issuer can sign in.
    pub fn lets_in(&self, issuer: &Issuer) -> bool {
        self.servers.get(issuer).is_some_and(|server| server.offers_sign_in())
    }

    /// Where a person answers a question.
    pub fn confirm_address(&self, question: &QuestionId) -> String {
        self.settings.address(&format!("/{}/{question}", LinkPage::Confirm.path()))
    }

    /// The path that requests for pages have.
    pub fn path(&self) -> &str {
        self.settings.path()
    }

    /// Answers a request for a page. `rest` is what of its path follows that of the pages.
    pub async fn answer<B>(
        &self,
        request: &Request<()>,
        rest: &str,
        body: B,
        visitor: Visitor,
        now: Now,
    ) -> Response<Bytes>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (session, reference) = (self.session(request, now), visitor.request.to_string());
        let visit = Visit { pages: self, request, rest, visitor, reference, session, now };
        let reply = match visit.tell(body).await {
            Ok(reply) => reply,
            Err(problem) => visit.say(&problem),
        };
        reply.into_response()
    }

    /// What somebody hears whose request cannot be recorded. `was_done`: it may have been done before that was noticed.
    pub fn unrecorded(&self, reference: &str, was_done: bool) -> Response<Bytes> {
        let problem = if was_done { Problem::NotRecordedYet } else { Problem::Unrecorded };
        self.problem(&problem, None, None, reference).into_response()
    }

    /// What somebody hears whose request brought something of the gateway's own down.
    pub fn broken(&self, reference: &str) -> Response<Bytes> {
        self.problem(&Problem::Broken, None, None, reference).into_response()
    }

    /// The page about a problem. `as_another` is where to sign in under another name, where that helps.
    fn problem(
        &self,
        problem: &Problem,
        session: Option<&Session>,
        as_another: Option<String>,
        reference: &str,
    ) -> Reply {
        let heard = problem.heard();
        let page = ProblemPage {
            frame: self.frame(session),
            title: heard.title,
            what: heard.what.to_owned(),
            remedy: heard.remedy,
            as_another,
            detail: problem.detail(),
            reference: reference.to_owned(),
        };
        let allow = if let Problem::Method(allow) = problem { Some(*allow) } else { None };
        Reply::page(heard.status, rendered(&page)).allowing(allow).after(problem.retry_after())
    }

    fn frame(&self, session: Option<&Session>) -> Frame {
        let settings = &self.settings;
        Frame {
            base: settings.base().to_owned(),
            style: style_name(),
            host: settings.host().to_owned(),
            who: session.map(|session| Who {
                name: text::shown(session.person().name().unwrap_or("Signed in"), text::NAME_CHARS_MAX),
                sign_out: session.token("sign-out"),
            }),
        }
    }

    /// The session that the browser has, as long as its person could still sign in.
    fn session(&self, request: &Request<()>, now: Now) -> Option<Session> {
        let id = Cookie::Session.read(request.headers(), &self.settings)?;
        let session = self.browsers.sessions.open(&id, now.monotonic)?;
        self.lets_in(&session.person().id().issuer).then_some(session)
    }
}

impl Visit<'_> {
    /// The story.
    async fn tell<B>(&self, body: B) -> Result<Reply, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let route = Route::of(self.rest).ok_or(Problem::NotFound)?;
        route.check(self.request.method())?;
        match route {
            Route::Account => self.account().await,
            Route::Style => Ok(Reply::style()),
            Route::SignIn => self.begin_sign_in(),
            Route::SignedIn => self.complete_sign_in().await,
            Route::SignOut => self.sign_out(&self.form(body).await?),
            Route::Connect(ticket) => self.connect(ticket).await,
            Route::Begin(ticket) => self.begin(ticket).await,
            Route::Agree(ticket) => self.agree(ticket, &self.form(body).await?).await,
            Route::Decline(ticket) => self.decline(ticket, &self.form(body).await?),
            Route::Question(question) => self.question(question),
            Route::Answer(question, answer) => {
                self.answer_question(question, answer, &self.form(body).await?)
            }
            Route::Callback(connector) => self.callback(connector).await,
            Route::Disconnect => self.disconnect(&self.form(body).await?).await,
        }
    }

    /// The form that a page of ours sent for somebody who is signed in. Nobody else's is waited for: the request holds a place in
    /// the trail.
    async fn form<B>(&self, body: B) -> Result<Fields, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let headers = self.request.headers();
        check_origin(headers, self.pages.settings.origin())?;
        if self.session.is_none() {
            return Err(Problem::SignedOut);
        }
        Fields::of_form(headers, body).await
    }

    fn query(&self) -> Result<Fields, Problem> {
        Fields::parse(self.request.uri().query().unwrap_or_default().as_bytes())
    }

    /// The session, which there has to be, and which the form or link has to be of: `given` is the token that it carries for
    /// `purpose`.
    fn session_for(&self, purpose: &str, given: Option<&str>) -> Result<&Session, Problem> {
        let session = self.session.as_ref().ok_or(Problem::SignedOut)?;
        match session.has_token(purpose, given.unwrap_or_default()) {
            true => Ok(session),
            false => Err(Problem::NotOurs),
        }
    }

    /// The page about a problem.
    fn say(&self, problem: &Problem) -> Reply {
        tracing::debug!(request_id = self.reference, ?problem, "Page not shown");
        self.pages.problem(problem, self.session.as_ref(), self.as_another(problem), &self.reference)
    }

    /// Where somebody signs in who opened a link of theirs under another name: the issuer would sign the same one in again,
    /// unless it is asked to begin anew.
    fn as_another(&self, problem: &Problem) -> Option<String> {
        let route = Route::of(self.rest).filter(|_| *problem == Problem::OtherPerson)?;
        let link = match route {
            Route::Connect(id) | Route::Begin(id) | Route::Agree(id) | Route::Decline(id) => {
                Link::new(LinkPage::Connect, id)?
            }
            Route::Question(id) | Route::Answer(id, _) => Link::new(LinkPage::Confirm, id)?,
            Route::Account
            | Route::Style
            | Route::SignIn
            | Route::SignedIn
            | Route::SignOut
            | Route::Callback(_)
            | Route::Disconnect => return None,
        };
        let (base, parameter) = (self.pages.settings.base(), link.page().parameter());
        Some(format!("{base}/sign-in?anew=1&{parameter}={}", link.id()))
    }

    fn frame(&self) -> Frame {
        self.frame_of(self.session.as_ref())
    }

    fn frame_of(&self, session: Option<&Session>) -> Frame {
        self.pages.frame(session)
    }
}

fn rendered(page: &impl Template) -> String {
    page.render().expect("templates are filled with text, and a String takes all of it")
}

/// Which stylesheet it is, by its digest.
fn style_name() -> &'static str {
    use std::sync::LazyLock;
    static NAME: LazyLock<String> = LazyLock::new(|| {
        let digest = crate::digest::sha256(reply::STYLE.as_bytes());
        digest[..STYLE_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
    });
    &NAME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_page_or_none() {
        assert_eq!(Route::of(""), Some(Route::Account));
        assert_eq!(Route::of("/"), Some(Route::Account));
        assert_eq!(Route::of("/connect/abc"), Some(Route::Connect("abc")));
        assert_eq!(Route::of("/connect/abc/begin"), Some(Route::Begin("abc")));
        assert_eq!(Route::of("/callback/crm"), Some(Route::Callback("crm")));
        assert_eq!(Route::of("/confirm/abc"), Some(Route::Question("abc")));
        assert_eq!(Route::of("/confirm/abc/agree"), Some(Route::Answer("abc", Answer::Agree)));
        for none in [
            "/confirm",
            "/confirm/abc/begin",
            "/confirm/abc/agree/x",
            "/callback",
            "/callback/crm/x",
            "/connect",
            "/connect/abc/",
            "/connect/abc/begin/x",
            "/sign-in/",
            "/style.css/x",
            "/x",
        ] {
            assert_eq!(Route::of(none), None, "{none}");
        }
    }
}
