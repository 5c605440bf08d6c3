//! Text for people: painted when a terminal shows it, wrapped to its width, in the same columns throughout.

use std::env;
use std::io::{self, IsTerminal as _, Stdout, Write};
use std::process::{Command, Stdio};

/// Width where nobody tells.
const WIDTH_DEFAULT: usize = 100;
/// Below this, texts would be columns of single words.
const WIDTH_MIN: usize = 60;
/// Beyond this, lines are too long to be followed.
const WIDTH_MAX: usize = 120;
/// Where labels begin.
const MARGIN: usize = 4;
/// Where texts begin, to the right of their labels.
const GUTTER: usize = 15;
/// Where a word that is longer than a line is best broken: after one of these.
const BREAK_AFTER: [char; 5] = ['/', '?', '&', ',', '-'];

/// How a text stands out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Style {
    /// Not at all.
    #[default]
    Plain,
    /// As a title.
    Bold,
    /// As something that stands back.
    Dim,
    /// As something that went well.
    Good,
    /// As something that went wrong.
    Bad,
    /// As something to notice: a refusal, or what to do.
    Notable,
    /// As something to be used: an address, a request.
    Usable,
}

impl Style {
    /// The parameters of "select graphic rendition" (ECMA-48 section 8.3.117).
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Bad => "1;31",
            Self::Notable => "33",
            Self::Usable => "36",
        }
    }
}

/// One text within an entry. What leads it is repeated as blanks where the text goes on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Paragraph {
    lead: String,
    text: String,
    style: Style,
    /// How many columns further in the text goes on.
    hang: usize,
}

impl Paragraph {
    /// A text.
    pub fn new(style: Style, text: impl Into<String>) -> Self {
        Self { lead: String::new(), text: text.into(), style, hang: 0 }
    }

    /// A text that does not stand out.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::new(Style::Plain, text)
    }

    /// The same, with something in front of it.
    pub fn led_by(self, lead: impl Into<String>) -> Self {
        Self { lead: lead.into(), ..self }
    }

    /// The same, going on so many columns further in than it begins.
    pub fn hanging(self, hang: usize) -> Self {
        Self { hang, ..self }
    }
}

/// Where the story is told.
pub struct Terminal<W> {
    out: W,
    width: usize,
    colour: bool,
}

impl Terminal<Stdout> {
    /// Standard output: in colour if it is a terminal and nobody objects (<https://no-color.org>).
    pub fn standard_output() -> Self {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
        let is_terminal = io::stdout().is_terminal();
        let colour = is_terminal && !is_dumb && !is_set("NO_COLOR");
        let columns = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let width = columns.or_else(|| if is_terminal { columns_of_terminal() } else { None });
        Self::new(io::stdout(), width.unwrap_or(WIDTH_DEFAULT), colour)
    }
}

/// What the terminal says of itself. Shells seldom export `COLUMNS`, and asking by ourselves takes unsafe code.
fn columns_of_terminal() -> Option<usize> {
    let asked =
        Command::new("stty").arg("size").stdin(Stdio::inherit()).stderr(Stdio::null()).output().ok()?;
    let size = String::from_utf8(asked.stdout).ok()?;
    size.split_whitespace().nth(1)?.parse().ok().filter(|columns| *columns > 0)
}

impl<W: Write> Terminal<W> {
    /// A terminal of this width.
    pub fn new(out: W, width: usize, colour: bool) -> Self {
        Self { out, width: width.clamp(WIDTH_MIN, WIDTH_MAX), colour }
    }

    /// How many columns it has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many columns the texts of entries have.
    pub fn text_width(&self) -> usize {
        self.width - GUTTER
    }

    /// An empty line.
    pub fn blank(&mut self) -> io::Result<()> {
        writeln!(self.out)
    }

    /// One line, as long as it is: for what is to be copied.
    pub fn line(&mut self, indent: usize, style: Style, text: &str) -> io::Result<()> {
        let text = self.paint(style, &visible(text));
        writeln!(self.out, "{:indent$}{text}", "")?;
        self.out.flush()
    }

    /// A text on its own, wrapped.
    pub fn text(&mut self, indent: usize, style: Style, text: &str) -> io::Result<()> {
        for line in wrap(&visible(text), self.width.saturating_sub(indent), 0) {
            self.line(indent, style, &line)?;
        }
        Ok(())
    }

    /// A title with a rule to the edge, and a mark at its end.
    pub fn title(&mut self, number: &str, title: &str, went_well: Option<bool>) -> io::Result<()> {
        let (mark, style) = match went_well {
            Some(true) => (" ✓", Style::Good),
            Some(false) => (" ✗", Style::Bad),
            None => ("", Style::Plain),
        };
        let space = self.width - MARGIN - 1 - columns(mark);
        let title = shorten(title, space - 2);
        let rule = "─".repeat(space - columns(&title));
        let number = self.paint(Style::Dim, &format!("{number:>2}"));
        let (title, rule) = (self.paint(Style::Bold, &title), self.paint(Style::Dim, &rule));
        let mark = self.paint(style, mark);
        writeln!(self.out, "{number}  {title} {rule}{mark}")
    }

    /// A label, and what there is to say under it.
    pub fn entry(&mut self, label: &str, style: Style, paragraphs: &[Paragraph]) -> io::Result<()> {
        let label_width = GUTTER - MARGIN;
        let mut label = self.paint(style, &format!("{label:<label_width$}"));
        for paragraph in paragraphs {
            for line in self.lines(paragraph, self.text_width()) {
                writeln!(self.out, "{:MARGIN$}{label}{line}", "")?;
                label = " ".repeat(label_width);
            }
        }
        self.out.flush()
    }

    /// A paragraph without a label.
    pub fn paragraph(&mut self, indent: usize, paragraph: &Paragraph) -> io::Result<()> {
        for line in self.lines(paragraph, self.width.saturating_sub(indent)) {
            writeln!(self.out, "{:indent$}{line}", "")?;
        }
        self.out.flush()
    }

    /// The painted lines of a paragraph.
    fn lines(&self, paragraph: &Paragraph, width: usize) -> Vec<String> {
        let (lead, lead_width) = (visible(&paragraph.lead), columns(&paragraph.lead));
        let lead_style = match paragraph.style {
            Style::Notable | Style::Bad => paragraph.style,
            Style::Plain | Style::Bold | Style::Dim | Style::Good | Style::Usable => Style::Dim,
        };
        let (first, again) = (self.paint(lead_style, &lead), " ".repeat(lead_width + paragraph.hang));
        let lines = wrap(&visible(&paragraph.text), width.saturating_sub(lead_width), paragraph.hang);
        let painted = lines.iter().enumerate().map(|(index, line)| {
            format!("{}{}", if index == 0 { &first } else { &again }, self.paint(paragraph.style, line))
        });
        painted.collect()
    }

    /// A command to be copied: on one line, or with each argument on its own where it is too long.
    pub fn command(&mut self, about: &str, arguments: &[String]) -> io::Result<()> {
        self.line(MARGIN, Style::Dim, &format!("# {about}"))?;
        let whole = arguments.join(" ");
        if MARGIN + columns(&whole) <= self.width {
            return self.line(MARGIN, Style::Usable, &whole);
        }
        for (index, argument) in arguments.iter().enumerate() {
            let (indent, end) = (MARGIN + if index > 0 { 5 } else { 0 }, index + 1 == arguments.len());
            let argument = if end { argument.clone() } else { format!("{argument} \\") };
            self.line(indent, Style::Usable, &argument)?;
        }
        Ok(())
    }

    fn paint(&self, style: Style, text: &str) -> String {
        match style.code() {
            code if self.colour && !code.is_empty() && !text.trim().is_empty() => {
                format!("\x1b[{code}m{text}\x1b[0m")
            }
            _ => text.to_owned(),
        }
    }
}

/// How many columns a text takes. Nothing here is written in letters that take two.
pub fn columns(text: &str) -> usize {
    text.chars().count()
}

/// The text without what could steer a terminal: some of it comes from servers.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// At most so many columns of a text, with an ellipsis where it was cut.
pub fn shorten(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Breaks a text into lines of at most so many columns, the first so much longer than the others, between words where
/// that is possible.
pub fn wrap(text: &str, width: usize, hang: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    let room = |lines: &[String]| if lines.is_empty() { width } else { width.saturating_sub(hang) }.max(1);
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 && columns(&line) + 1 + columns(word) <= room(&lines) {
            line.push(' ');
        } else if index > 0 {
            lines.push(std::mem::take(&mut line));
        }
        let mut rest = word;
        while let Some((piece, more)) = break_word(rest, room(&lines).saturating_sub(columns(&line)).max(1)) {
            line.push_str(piece);
            lines.push(std::mem::take(&mut line));
            rest = more;
        }
        line.push_str(rest);
    }
    lines.push(line);
    lines
}

/// The part of a word that goes on a line, and the rest; nothing if it goes there whole.
fn break_word(word: &str, width: usize) -> Option<(&str, &str)> {
    let (end, _) = word.char_indices().nth(width)?;
    let good = word[..end].rfind(BREAK_AFTER).map(|at| at + 1).filter(|at| *at > end / 2);
    Some(word.split_at(good.unwrap_or(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_wrap(text: &str, width: usize, expected: &[&str]) {
        assert_eq!(wrap(text, width, 0), expected, "{text}");
    }

    #[test]
    fn a_text_is_wrapped_between_words() {
        check_wrap("", 10, &[""]);
        check_wrap("one two three", 13, &["one two three"]);
        check_wrap("one two three", 12, &["one two", "three"]);
        check_wrap("één twee", 4, &["één", "twee"]);
    }

    #[test]
    fn a_long_word_is_broken_where_an_address_has_its_joints() {
        check_wrap("http://a.test/one/two?three=four", 18, &["http://a.test/one/", "two?three=four"]);
        check_wrap("abcdefghij", 4, &["abcd", "efgh", "ij"]);
        assert_eq!(wrap("abcdefghij kl", 4, 1), ["abcd", "efg", "hij", "kl"]);
        check_wrap("see http://a.test/one", 14, &["see", "http://a.test/", "one"]);
    }

    #[test]
    fn what_is_too_long_is_shortened() {
        assert_eq!(shorten("short", 5), "short");
        assert_eq!(shorten("longer", 5), "long…");
    }

    #[test]
    fn labels_and_texts_keep_their_columns_and_their_width() {
        let mut terminal = Terminal::new(Vec::new(), 60, false);
        let long = Paragraph::plain("word ".repeat(30).trim_end()).led_by("code  ");
        terminal.entry("answer", Style::Dim, &[Paragraph::plain("200 OK"), long]).expect("memory takes it");
        terminal.title("1", "A title", Some(true)).expect("memory takes it");
        let shown = String::from_utf8(terminal.out).expect("text");
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "    answer     200 OK");
        assert!(lines[1].starts_with("               code  word"), "{shown}");
        assert!(lines[2].starts_with("                     word"), "{shown}");
        assert!(lines.iter().all(|line| columns(line) <= 60), "{shown}");
        assert_eq!(lines.last().map(|line| columns(line)), Some(60));
    }

    #[test]
    fn colours_are_for_terminals_and_nothing_from_outside_steers_one() {
        let shown = |colour| {
            let mut terminal = Terminal::new(Vec::new(), 80, colour);
            terminal.line(0, Style::Good, "fine\x1b[31m").expect("memory takes it");
            String::from_utf8(terminal.out).expect("text")
        };
        assert_eq!(shown(false), "fine\u{fffd}[31m\n");
        assert_eq!(shown(true), "\x1b[32mfine\u{fffd}[31m\x1b[0m\n");
    }
}
