//! What the templates are filled with. Askama escapes every value for HTML.

use askama::Template;

use super::text::Run;

/// What every page has around it.
pub struct Frame {
    /// The path of the pages, as browsers have it.
    pub base: String,
    /// Which stylesheet it is.
    pub style: &'static str,
    /// The host that serves it.
    pub host: String,
    /// Who is signed in.
    pub who: Option<Who>,
}

/// Who is signed in.
pub struct Who {
    /// What they are called.
    pub name: String,
    /// What the form carries that signs them out.
    pub sign_out: String,
}

/// Someone has to sign in first.
#[derive(Template)]
#[template(path = "sign_in.html")]
pub struct SignInPage {
    /// Around it.
    pub frame: Frame,
    /// Its heading.
    pub title: &'static str,
    /// Whether it is for an agent's sake.
    pub is_asked: bool,
    /// Where they can.
    pub ways: Vec<Way>,
}

/// A place to sign in at.
pub struct Way {
    /// Where the link leads.
    pub href: String,
    /// What the place is called.
    pub name: String,
    /// Where it is.
    pub place: String,
}

/// An agent asks for a connection.
#[derive(Template)]
#[template(path = "connect.html")]
pub struct ConnectPage {
    /// Around it.
    pub frame: Frame,
    /// Its heading.
    pub title: String,
    /// The link's own identifier.
    pub ticket: String,
    /// Which agent.
    pub agent: String,
    /// For which connector.
    pub connector: String,
    /// Where the person signs in for it.
    pub place: Option<String>,
    /// Why the person is asked again.
    pub why: Option<&'static str>,
    /// As whom the person is connected.
    pub account: Option<String>,
    /// What it may call, as far as there is room.
    pub tools: Vec<String>,
    /// How many more there are.
    pub more_tools: usize,
    /// What is asked for there.
    pub scopes: Vec<String>,
    /// How many more there are.
    pub more_scopes: usize,
    /// Whether there is a connection already, so that the agent is all that is new.
    pub is_connected: bool,
    /// What the link carries that begins.
    pub begin: String,
    /// What the form carries that agrees.
    pub agree: String,
    /// What the form carries that declines.
    pub decline: String,
}

/// An agent wants to make a call that its person has to agree to.
#[derive(Template)]
#[template(path = "confirm.html")]
pub struct ConfirmPage {
    /// Around it.
    pub frame: Frame,
    /// The link's own identifier.
    pub question: String,
    /// Which agent.
    pub agent: String,
    /// On which connector.
    pub connector: String,
    /// What is called: a tool, a prompt or a resource.
    pub what: &'static str,
    /// Its name.
    pub tool: Vec<Run>,
    /// With whose identity it runs.
    pub identity: String,
    /// Whether that is not the person's.
    pub is_of_application: bool,
    /// The call, in one line.
    pub call: Vec<Run>,
    /// With what.
    pub parts: Vec<PartView>,
    /// What the form carries that agrees.
    pub agree: String,
    /// What the form carries that declines.
    pub decline: String,
}

/// Something that goes with a call: text, or fields.
pub struct PartView {
    /// What it is.
    pub heading: String,
    /// What it says.
    pub text: Vec<Run>,
    /// Names and values; empty where it is text.
    pub fields: Vec<FieldView>,
}

/// A name and its value.
pub struct FieldView {
    /// The name.
    pub name: Vec<Run>,
    /// The value.
    pub value: Vec<Run>,
}

/// It is done, and there is nothing more to do here.
#[derive(Template)]
#[template(path = "done.html")]
pub struct DonePage {
    /// Around it.
    pub frame: Frame,
    /// Its heading.
    pub title: String,
    /// `good`, or `stopped`.
    pub kind: &'static str,
    /// What it says.
    pub lines: Vec<String>,
}

/// What a person has connected.
#[derive(Template)]
#[template(path = "connections.html")]
pub struct ConnectionsPage {
    /// Around it.
    pub frame: Frame,
    /// What has just happened.
    pub notice: Option<String>,
    /// The connections.
    pub connections: Vec<ConnectionView>,
}

/// One connection.
pub struct ConnectionView {
    /// The connector, as forms name it.
    pub id: String,
    /// The connector, as people read it.
    pub connector: String,
    /// As whom the person is known there.
    pub account: Option<String>,
    /// What was granted.
    pub scopes: Vec<String>,
    /// Who may use it.
    pub agents: Vec<String>,
    /// When it was made.
    pub connected: String,
    /// When it was last used.
    pub used: String,
    /// Whether it was made under other settings.
    pub is_unusable: bool,
    /// What the form carries that disconnects it.
    pub disconnect: String,
}

/// Something is not as it should be.
#[derive(Template)]
#[template(path = "problem.html")]
pub struct ProblemPage {
    /// Around it.
    pub frame: Frame,
    /// Its heading.
    pub title: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: &'static str,
    /// Where the person can sign in as somebody else, when that helps.
    pub as_another: Option<String>,
    /// What somebody else said, for whoever helps.
    pub detail: Option<String>,
    /// By what its record is found.
    pub reference: String,
}
