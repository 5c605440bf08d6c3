//! The story that the `demo` command tells in the terminal: calls of two people through the gateway as it is, what
//! became of each, and what was recorded.
//!
//! Every call goes through the gateway's own socket, and every word about it is read from the answer, the audit
//! record and what the counterparts saw.

use std::io::{self, Write};
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use self::call::Seen;
use self::stage::{Setting, Stage};
use self::steps::Step;
use self::terminal::{Paragraph, Style, Terminal};
use self::trail::Trail;
use crate::demo::browser::{Browser, BrowserError};
use crate::process::StartError;

mod by_hand;
mod call;
mod closing;
mod directory;
mod json;
mod stage;
mod steps;
mod telling;
mod terminal;
mod trail;
mod visit;

/// Why the story cannot be told to its end.
#[derive(Debug, thiserror::Error)]
enum StoryError {
    #[error("cannot {what}: {source}")]
    Stage { what: &'static str, source: io::Error },
    #[error("{name} is {address}, which other machines can reach; the demo is for this machine alone")]
    NotLoopback { name: &'static str, address: String },
    #[error(transparent)]
    Gateway(#[from] StartError),
    #[error("there was no answer")]
    NoAnswer(#[from] reqwest::Error),
    #[error("no page in the browser")]
    Browser(#[from] BrowserError),
    #[error("the answer before has no link to open")]
    NoLink,
    #[error("the audit trail cannot be read: {0}")]
    Trail(#[source] io::Error),
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
    #[error("stopped by a signal")]
    Stopped,
}

impl StoryError {
    /// Names what could not be done.
    fn stage(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Stage { what, source }
    }
}

/// Tells the story, and then keeps running, or exits when `once` is set: with a failure when a step went wrong.
pub async fn run(once: bool) -> ExitCode {
    match play(&mut Terminal::standard_output(), Setting::from_environment(), once).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // A reader that has left (`| head`) is no failure.
        Err(StoryError::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", Causes(&error));
            ExitCode::FAILURE
        }
    }
}

async fn play<W: Write>(
    terminal: &mut Terminal<W>,
    setting: Setting,
    once: bool,
) -> Result<bool, StoryError> {
    let mut stop = Stop::listen().map_err(StoryError::stage("listen for signals"))?;
    // Whatever a signal interrupts is dropped, and with it go the files.
    let (stage, mut trail, went_well) = tokio::select! {
        told = begin(terminal, setting) => told?,
        () = stop.requested() => return Err(StoryError::Stopped),
    };
    if !once {
        by_hand::show(terminal, &stage)?;
        tokio::select! {
            ended = by_hand::watch(terminal, &stage, &mut trail) => ended?,
            () = stop.requested() => terminal.line(0, Style::Plain, "")?,
        }
        terminal.line(
            4,
            Style::Dim,
            "Stopping: what runs is finished, and the files of this run are removed.",
        )?;
    }
    tokio::select! {
        () = stage.strike() => Ok(went_well),
        () = stop.requested() => Err(StoryError::Stopped),
    }
}

/// Sets the stage and tells the story, and says whether every step went as it should.
async fn begin<W: Write>(
    terminal: &mut Terminal<W>,
    setting: Setting,
) -> Result<(Stage, Trail, bool), StoryError> {
    terminal.blank()?;
    terminal.title("", "obo-gateway demo", None)?;
    terminal.blank()?;
    let stage = Stage::set(setting).await?;
    introduce(terminal, &stage)?;
    let client = stage.client()?;
    let mut trail = Trail::new(&stage.audit_path);
    let steps = steps::all(&stage);
    let mut as_they_should = 0;
    let (mut browser, mut link) = (Browser::new(client.clone()), None);
    for (index, step) in steps.iter().enumerate() {
        (step.arrange)(&stage);
        let seen = take(step, &mut browser, link.take(), &client, &stage, &mut trail).await;
        as_they_should += usize::from(match seen {
            Ok(seen) => {
                link = seen.answer.link().map(|(_, link)| link);
                let faults = steps::faults(step, &seen, &stage);
                telling::tell(terminal, index + 1, step, &seen, &faults, &stage)?;
                faults.is_empty()
            }
            Err(error) => {
                terminal.title(&(index + 1).to_string(), step.title, Some(false))?;
                telling::wrong(terminal, &[Causes(&error).to_string()])?;
                terminal.blank()?;
                false
            }
        });
    }
    let calls: Vec<_> = steps.into_iter().map(|step| step.call).collect();
    let number = calls.len() + 1;
    as_they_should +=
        usize::from(closing::tell(terminal, number, &calls, &client, &stage, &mut trail).await?);
    let went_well = as_they_should == number;
    let (mark, style) = if went_well { ("✓", Style::Good) } else { ("✗", Style::Bad) };
    terminal.line(0, style, &format!(" {mark}  {as_they_should} of {number} steps went as they should"))?;
    terminal.blank()?;
    Ok((stage, trail, went_well))
}

/// Takes one step: what the person does with the link of the answer before, where it is theirs, and the call.
async fn take(
    step: &Step,
    browser: &mut Browser,
    link: Option<String>,
    client: &reqwest::Client,
    stage: &Stage,
    trail: &mut Trail,
) -> Result<Seen, StoryError> {
    let visit = match (step.visit, link) {
        (None, _) => None,
        (Some(_), None) => return Err(StoryError::NoLink),
        (Some(_), Some(link)) => Some(visit::make(&link, "Ada", browser, stage).await?),
    };
    Ok(Seen { visit, ..call::make(&step.call, client, stage, trail).await? })
}

/// Says what runs, and where.
fn introduce<W: Write>(terminal: &mut Terminal<W>, stage: &Stage) -> io::Result<()> {
    let about = "Agents call tools through the gateway; the tools see the person who is signed in, never the agent \
                 and never the gateway. All of it runs in this process, on loopback.";
    terminal.text(4, Style::Plain, about)?;
    terminal.blank()?;
    let certificate = stage.certificates.server.certificate_path.display();
    let part = |address: String, about: String| {
        [Paragraph::new(Style::Usable, address), Paragraph::new(Style::Dim, about)]
    };
    let people: Vec<_> = stage
        .people()
        .iter()
        .map(|person| format!("{}{}", person.name, if person.mailbox { "" } else { ", who has no mailbox" }))
        .collect();
    let about = format!("from config/demo.yaml; its certificate is {certificate}");
    terminal.entry("gateway", Style::Bold, &part(stage.origin(), about))?;
    let about = "a development authorization server that plays Microsoft Entra ID";
    let origin = stage.authorization_server.origin().to_owned();
    terminal.entry("sign-in", Style::Bold, &part(origin, about.to_owned()))?;
    let about =
        "a mail connector with Microsoft Graph's shapes; it trusts nobody, and checks every token itself";
    terminal.entry("mail", Style::Bold, &part(stage.mail.base_url(), about.to_owned()))?;
    let about = "an MCP server with everybody's own notes; it trusts nobody either";
    terminal.entry("notes", Style::Bold, &part(stage.notes.endpoint(), about.to_owned()))?;
    let about = "mail at another company, where people have accounts of their own";
    terminal.entry("webmail", Style::Bold, &part(stage.webmail.base_url(), about.to_owned()))?;
    let about = "its /metrics, /healthz and /readyz, for operators alone";
    terminal.entry("admin", Style::Bold, &part(stage.admin_origin(), about.to_owned()))?;
    terminal.entry("people", Style::Bold, &[Paragraph::plain(people.join("; and "))])?;
    terminal.blank()
}

/// The signals that end the demo.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn requested(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// An error and what caused it, on one line.
struct Causes<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut shown = self.0.to_string();
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // Some say the text of their cause themselves.
            if !shown.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            shown = text;
            next = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_step_goes_as_it_should() {
        let certificates = tempfile::TempDir::new().expect("a directory");
        let mut shown = Vec::new();
        let mut terminal = Terminal::new(&mut shown, 80, false);
        let told = begin(&mut terminal, Setting::with_certificates(certificates.path())).await;
        let (stage, _, went_well) = told.expect("the story is told to its end");
        let titles: Vec<&str> = steps::all(&stage).iter().map(|step| step.title).collect();
        let directory = stage.directory.path().to_owned();
        by_hand::show(&mut terminal, &stage).expect("there is something to try");
        stage.strike().await;

        let shown = String::from_utf8(shown).expect("text");
        assert!(went_well, "{shown}");
        assert!(shown.contains("17 of 17 steps went as they should"), "{shown}");
        for title in titles.iter().chain([&closing::TITLE]) {
            assert!(shown.contains(title), "{title} is not in\n{shown}");
        }
        assert!(!shown.contains('\x1b'), "colour is for terminals");
        assert!(!directory.exists(), "the files of the run are removed");
    }
}
