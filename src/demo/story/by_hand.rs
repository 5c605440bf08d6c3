//! What there is to try by hand while the demo keeps running, and the calls that come of it.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::StoryError;
use super::call::Call;
use super::closing::Table;
use super::stage::Stage;
use super::steps::mail_to_bob;
use super::terminal::{Style, Terminal};
use super::trail::Trail;
use crate::demo::authorization_server::MAIL_AUDIENCE;
use crate::demo::people::Person;

/// How often we look for new calls.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Where it all begins.
const INDENT: usize = 4;

/// Shows what to try.
///
/// # Errors
///
/// When the files for it cannot be written.
pub fn show<W: Write>(terminal: &mut Terminal<W>, stage: &Stage) -> io::Result<()> {
    let server = &stage.authorization_server;
    let token = |who| stage.directory.write(&format!("{who}.token"), &server.subject_token(who).mint());
    let (ada, bob) = (token("ada")?, token("bob")?);
    let mail = stage.directory.write("mail.json", &mail_to_bob().to_string())?;
    let list = format!("{}/mail/me/messages", stage.origin());
    let curl = |token: &Path, more: &[String]| {
        let trust = format!("--cacert {}", quoted(&stage.certificates.authority_path));
        let bearer = format!("-H \"Authorization: Bearer $(cat {})\"", quoted(token));
        [&["curl".to_owned() + " " + &trust, bearer], more].concat()
    };

    terminal.title("", "Try it by hand", None)?;
    terminal.text(
        INDENT,
        Style::Plain,
        "Everything keeps running until Ctrl-C. The tokens are good for an hour.",
    )?;
    terminal.blank()?;
    terminal.command("Ada's mail", &curl(&ada, std::slice::from_ref(&list)))?;
    terminal.command("Bob's, if he had any", &curl(&bob, &[list]))?;
    let send = [
        "-H \"Content-Type: application/json\"".to_owned(),
        format!("-d @{}", quoted(&mail)),
        format!("{}/mail/me/sendMail", stage.origin()),
    ];
    terminal.command("A mail from Ada: refused, until she has agreed to it", &curl(&ada, &send))?;
    terminal.line(
        INDENT,
        Style::Dim,
        "# In a browser: sign in as Ada, agree, and then send the mail again",
    )?;
    let link = server.consent_link(&format!("{MAIL_AUDIENCE}/Mail.Send"));
    terminal.line(INDENT, Style::Usable, &format!("# {link}"))?;
    let webmail = format!("{}/webmail/me/messages", stage.origin());
    terminal
        .command("Bob's mail at the other company: the answer has a link for him", &curl(&bob, &[webmail]))?;
    terminal.line(
        INDENT,
        Style::Dim,
        "# In a browser: open it (the certificate is the demo's own), sign in as Bob, connect, and call again. What is connected:",
    )?;
    terminal.line(INDENT, Style::Usable, &format!("# {}/account/", stage.origin()))?;
    let announcement = json!({ "name": "publish_announcement", "arguments": { "text": "Lunch is at one." } });
    let announce = Call::mcp("/notes", "tools/call", announcement, String::new());
    terminal.command(
        "An announcement: the answer has a link, on which Ada reads it and agrees",
        &curl(&ada, &mcp(&announce, "announce.json", stage)?),
    )?;
    let tools = Call::mcp("/notes", "tools/list", json!({}), String::new());
    terminal
        .command("What Bob can do with his notes, by MCP", &curl(&bob, &mcp(&tools, "tools.json", stage)?))?;
    terminal.command("What is counted", &["curl".to_owned(), format!("{}/metrics", stage.admin_origin())])?;
    // `cargo run` has not put it where the shell finds it.
    let program = std::env::current_exe().map_or_else(|_| "obo-gateway".to_owned(), |path| quoted(&path));
    for (about, command) in [
        ("What is recorded, as it is recorded", "audit tail -f"),
        ("Whether anybody has changed it", "audit verify"),
    ] {
        terminal.command(about, &[format!("{program} {command}"), quoted(&stage.audit_path)])?;
    }
    let config = format!("--config {}", quoted(&stage.configuration));
    terminal
        .command("What can be called, as whom, and by whom", &[format!("{program} tools"), config.clone()])?;
    let explained = ["--call notes/delete_note --argument id=n1".to_owned(), config.clone()];
    terminal.command(
        "Why Bob may not delete a note",
        &[&[format!("{program} explain --token-file {}", quoted(&bob))], &explained[..]].concat(),
    )?;
    let forgotten = format!("{program} forget --issuer demo --subject {}", Person::bob().oid);
    terminal.command("Have the gateway forget all that it holds for Bob", &[forgotten, config])?;
    terminal.blank()?;
    terminal.text(INDENT, Style::Plain, "Calls appear here as they are recorded.")?;
    terminal.blank()
}

/// What `curl` is told of an MCP request, whose message is written to a file of this name.
fn mcp(call: &Call, file: &str, stage: &Stage) -> io::Result<Vec<String>> {
    let message = call.body.as_ref().map(ToString::to_string).unwrap_or_default();
    let file = stage.directory.write(file, &message)?;
    let mut arguments: Vec<String> =
        call.headers.iter().map(|(name, value)| format!("-H \"{name}: {value}\"")).collect();
    arguments.extend([
        "-H \"Content-Type: application/json\"".to_owned(),
        format!("-d @{}", quoted(&file)),
        format!("{}{}", stage.origin(), call.target),
    ]);
    Ok(arguments)
}

/// Shows calls as they are recorded, for as long as it is polled.
///
/// # Errors
///
/// When the trail cannot be read, or nothing can be shown any more.
pub async fn watch<W: Write>(
    terminal: &mut Terminal<W>,
    stage: &Stage,
    trail: &mut Trail,
) -> Result<(), StoryError> {
    // As wide as before: the calls of the story are still in the trail.
    let table = Table::of(trail.records(), terminal.width(), stage);
    let mut is_first = true;
    loop {
        trail.forget();
        for record in trail.read_on().map_err(StoryError::Trail)? {
            if std::mem::take(&mut is_first) {
                table.head(terminal)?;
            }
            table.row(terminal, record, stage)?;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,".contains(c);
    if path.chars().all(is_plain) { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_when_a_shell_would_misread_it() {
        assert_eq!(quoted(Path::new("/tmp/a-b/c.pem")), "/tmp/a-b/c.pem");
        assert_eq!(quoted(Path::new("/tmp/it's $HOME")), r"'/tmp/it'\''s $HOME'");
    }
}
