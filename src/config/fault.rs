//! What is wrong with a configuration, and where: one line for a log, or a picture for a terminal.

use std::cell::RefCell;
use std::fmt;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::sources::Sources;

/// Widest piece of a source line that is shown around a fault.
const SOURCE_CHARS_MAX: usize = 120;
/// Longest run of arrows under a source line: enough to say which word is meant.
const ARROWS_MAX: usize = 60;

/// One thing wrong with a configuration: where it is, and what to write instead.
///
/// It shows the file as it is written. Values that come from the environment are never shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    severity: Severity,
    file: Arc<str>,
    span: Span,
    path: String,
    message: String,
    source: String,
    /// Whether it is in a file that the configuration names, and not in the configuration itself.
    in_named_file: bool,
    passes_when_swapped: bool,
}

/// Whether the gateway can run regardless.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can be used; someone should look.
    Warning,
}

/// A stretch of the file. Lines and columns begin at 1; columns count characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub line: usize,
    pub column: usize,
    pub end_line: usize,
    pub end_column: usize,
}

impl Span {
    /// The beginning of the file, for faults of the whole of it.
    pub const TOP: Self = Self { line: 1, column: 1, end_line: 1, end_column: 1 };
}

impl Fault {
    /// Whether it keeps the configuration from being used.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.span.line
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> usize {
        self.span.column
    }

    /// The place in the file: `policy.allow[0].tools[1]`. Empty for the whole file.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it passes by itself when the other one of two files is swapped, too: a certificate, and its key.
    pub fn passes_when_swapped(&self) -> bool {
        self.passes_when_swapped
    }

    /// What is wrong, and what to write instead.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The fault with its source line and an arrow to the place, for a terminal. It ends with a line break.
    pub fn render(&self, colour: bool) -> String {
        let paint = Paint { colour };
        let (word, accent) = match self.severity {
            Severity::Error => ("error", RED),
            Severity::Warning => ("warning", YELLOW),
        };
        let number = self.span.line.to_string();
        let margin = " ".repeat(number.len());
        let bar = paint.with(BLUE, "|");
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}: {}", paint.with(accent, word), paint.with(BOLD, &self.sentence()));
        let arrow = paint.with(BLUE, "-->");
        let _ =
            writeln!(out, "{margin}{arrow} {}:{}:{}", clean(&self.file), self.span.line, self.span.column);
        // What is missing from the whole file is nowhere in it.
        if self.span == Span::TOP || self.source.trim().is_empty() {
            return out;
        }
        let (line, arrows) = self.picture();
        let _ = writeln!(out, "{margin} {bar}");
        let _ = writeln!(out, "{} {bar} {line}", paint.with(BLUE, &number));
        let _ = writeln!(out, "{margin} {bar} {}", paint.with(accent, &arrows));
        out
    }

    fn sentence(&self) -> String {
        if self.path.is_empty() {
            return clean(&self.message);
        }
        format!("{}: {}", clean(&self.path), clean(&self.message))
    }

    /// The source line, cut to a readable width, and the arrows that go under it.
    fn picture(&self) -> (String, String) {
        let characters: Vec<char> = self.source.chars().collect();
        let start = self.span.column.saturating_sub(1).min(characters.len());
        let end = if self.span.end_line == self.span.line { self.span.end_column - 1 } else { usize::MAX };
        let end = end.clamp(start, characters.len());
        let from = if end <= SOURCE_CHARS_MAX { 0 } else { start.saturating_sub(SOURCE_CHARS_MAX / 4) };
        let to = characters.len().min(from + SOURCE_CHARS_MAX);
        let mut line = String::new();
        if from > 0 {
            line.push('…');
        }
        line.extend(characters[from..to].iter().map(|&character| printable(character)));
        if to < characters.len() {
            line.push('…');
        }
        let indent = start - from + usize::from(from > 0);
        let length = (end.min(to) - start).clamp(1, ARROWS_MAX);
        (line.trim_end().to_owned(), format!("{}{}", " ".repeat(indent), "^".repeat(length)))
    }
}

/// `config/gateway.yaml:12: issuers.contoso.token_endpoint: must be https (found "http://login.example")`, or
/// `policies.cedar:3:14: …` in a file that the configuration names.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", clean(&self.file), self.span.line)?;
        // A place in the configuration has a path; elsewhere the column has to do.
        if self.in_named_file {
            write!(f, ":{}", self.span.column)?;
        }
        f.write_str(": ")?;
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        f.write_str(&self.sentence())
    }
}

const RED: &str = "1;31";
const YELLOW: &str = "1;33";
const BLUE: &str = "1;34";
const BOLD: &str = "1";

struct Paint {
    colour: bool,
}

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A character as a terminal may see it: a file must not be able to move the cursor or change colours.
fn printable(character: char) -> char {
    match character {
        '\t' => ' ',
        _ if character.is_control() => char::REPLACEMENT_CHARACTER,
        _ => character,
    }
}

fn clean(text: &str) -> String {
    text.chars().map(printable).collect()
}

/// Where faults are noted while a configuration is read.
#[derive(Default)]
pub(super) struct Report {
    notes: RefCell<Vec<Note>>,
    hidden: RefCell<Vec<Span>>,
    sources: RefCell<Sources>,
}

struct Note {
    severity: Severity,
    span: Span,
    path: String,
    message: String,
    /// `None`: in the configuration itself.
    file: Option<NamedText>,
    passes_when_swapped: bool,
}

/// A file that the configuration names, with what is in it.
#[derive(Clone)]
pub(super) struct NamedText {
    /// Its path, as the configuration has it.
    pub path: Arc<str>,
    pub text: Arc<str>,
}

impl Note {
    fn order(&self) -> (Option<&str>, usize, usize, &str, &str) {
        let file = self.file.as_ref().map(|file| file.path.as_ref());
        (file, self.span.line, self.span.column, &self.path, &self.message)
    }
}

impl Report {
    pub fn note(&self, severity: Severity, span: Span, path: &str, message: impl fmt::Display) {
        let (path, message) = (path.to_owned(), message.to_string());
        let note = Note { severity, span, path, message, file: None, passes_when_swapped: false };
        self.notes.borrow_mut().push(note);
    }

    /// Notes a fault that passes by itself where files are swapped one after the other.
    pub fn note_while_swapped(&self, span: Span, path: &str, message: String) {
        let (severity, path) = (Severity::Error, path.to_owned());
        let note = Note { severity, span, path, message, file: None, passes_when_swapped: true };
        self.notes.borrow_mut().push(note);
    }

    /// Notes what was read of a file.
    pub fn note_source(&self, path: &Path, bytes_max: usize, read: &io::Result<Zeroizing<Vec<u8>>>) {
        self.sources.borrow_mut().note(path, bytes_max, read);
    }

    /// The files that were read.
    pub fn sources(&self) -> Sources {
        self.sources.borrow().clone()
    }

    /// Notes something about a file that the configuration names.
    pub fn note_in(&self, file: &NamedText, severity: Severity, span: Span, message: impl fmt::Display) {
        let (path, message) = (String::new(), message.to_string());
        let file = Some(file.clone());
        self.notes.borrow_mut().push(Note {
            severity,
            span,
            path,
            message,
            file,
            passes_when_swapped: false,
        });
    }

    /// Keeps a stretch of the file out of all pictures: it may be a secret in the wrong place.
    pub fn hide(&self, spans: impl IntoIterator<Item = Span>) {
        self.hidden.borrow_mut().extend(spans);
    }

    pub fn has_errors(&self) -> bool {
        self.notes.borrow().iter().any(|note| note.severity == Severity::Error)
    }

    /// The faults and the warnings, each in the order of the file.
    pub fn finish(self, file: &str, source: &str) -> (Vec<Fault>, Vec<Fault>) {
        let file: Arc<str> = file.into();
        let mut source: Vec<String> = source.lines().map(str::to_owned).collect();
        self.hidden.into_inner().into_iter().for_each(|span| hide(&mut source, span));
        let mut notes = self.notes.into_inner();
        notes.sort_by(|a, b| a.order().cmp(&b.order()));
        notes.dedup_by(|a, b| a.order() == b.order());
        let faults = notes.into_iter().map(|note| {
            let line = note.span.line - 1;
            let (file, source, in_named_file) = match &note.file {
                None => (Arc::clone(&file), source.get(line).cloned(), false),
                Some(named) => {
                    (Arc::clone(&named.path), named.text.lines().nth(line).map(str::to_owned), true)
                }
            };
            Fault {
                severity: note.severity,
                file,
                span: note.span,
                path: note.path,
                message: note.message,
                source: source.unwrap_or_default(),
                in_named_file,
                passes_when_swapped: note.passes_when_swapped,
            }
        });
        faults.partition(|fault| fault.severity == Severity::Error)
    }
}

/// Takes text out of the source that faults show.
fn hide(source: &mut [String], span: Span) {
    for line in span.line..=span.end_line {
        let Some(text) = source.get_mut(line - 1) else { return };
        let from = if line == span.line { span.column - 1 } else { 0 };
        let to = if line == span.end_line { span.end_column - 1 } else { usize::MAX };
        let hidden = |(at, character): (usize, char)| {
            if (from..to).contains(&at) && !character.is_whitespace() { '…' } else { character }
        };
        *text = text.chars().enumerate().map(hidden).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(source: &str, column: usize, end_column: usize) -> Fault {
        Fault {
            severity: Severity::Error,
            file: "config/gateway.yaml".into(),
            span: Span { line: 12, column, end_line: 12, end_column },
            path: "issuers.contoso.token_endpoint".to_owned(),
            message: "must be https (found \"http://login.example\")".to_owned(),
            source: source.to_owned(),
            in_named_file: false,
            passes_when_swapped: false,
        }
    }

    #[test]
    fn a_fault_is_one_line_in_a_log() {
        assert_eq!(
            fault("", 1, 1).to_string(),
            "config/gateway.yaml:12: issuers.contoso.token_endpoint: must be https \
             (found \"http://login.example\")"
        );
    }

    #[test]
    fn a_fault_is_a_picture_on_a_terminal() {
        let picture = fault("    token_endpoint: http://login.example", 21, 41).render(false);
        assert_eq!(
            picture,
            "error: issuers.contoso.token_endpoint: must be https (found \"http://login.example\")\n\
             \x20 --> config/gateway.yaml:12:21\n\
             \x20  |\n\
             12 |     token_endpoint: http://login.example\n\
             \x20  |                     ^^^^^^^^^^^^^^^^^^^^\n"
        );
    }

    #[test]
    fn a_fault_in_another_file_is_shown_there() {
        let file = NamedText { path: "p.cedar".into(), text: "permit(\n  x);".into() };
        let report = Report::default();
        let span = Span { line: 2, column: 3, end_line: 2, end_column: 4 };
        report.note_in(&file, Severity::Error, span, "is odd");
        report.note(Severity::Error, span, "policy", "is odd as well");
        let (faults, _) = report.finish("gateway.yaml", "a: b\nc: d");
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["gateway.yaml:2: policy: is odd as well", "p.cedar:2:3: is odd"]);
        let picture = faults[1].render(false);
        assert_eq!(picture, "error: is odd\n --> p.cedar:2:3\n  |\n2 |   x);\n  |   ^\n");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let source = format!("{}HERE{}", "a".repeat(5_000), "b".repeat(5_000));
        let picture = fault(&source, 5_001, 5_005).render(false);
        let lines: Vec<&str> = picture.lines().collect();
        assert!(lines[3].chars().count() < SOURCE_CHARS_MAX + 10, "{picture}");
        let at = lines[4].find('^').expect("an arrow");
        assert_eq!(lines[3].chars().skip(at).take(4).collect::<String>(), "HERE", "{picture}");
    }

    #[test]
    fn a_file_cannot_write_to_the_terminal() {
        let picture = fault("a\x1b[2Jb\tc", 1, 2).render(false);
        assert!(!picture.contains('\x1b') && !picture.contains('\t'), "{picture:?}");
    }
}
