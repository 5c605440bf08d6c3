//! Text from outside, made fit to be read: what agents, connectors and servers call themselves.
//!
//! Templates escape it for HTML. Here it is bounded, and loses what would make it look like something else.

use crate::unseen::{is_odd, is_unseen};

/// Most characters of a name. As many as servers let an agent's identifier have: people agree to an agent by it, and two of
/// which only the end differs must not look the same.
pub const NAME_CHARS_MAX: usize = 255;
/// Most entries of a list.
pub const LIST_MAX: usize = 24;

/// `text` without what cannot be seen or turns the direction of reading, and cut where it is longer than `chars_max`.
pub fn shown(text: &str, chars_max: usize) -> String {
    let mut characters = text.chars().filter(|character| !is_unseen(*character));
    let mut shown: String = characters.by_ref().take(chars_max).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    match shown.trim() {
        "" => "(no name)".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

/// All of `texts`, each made fit to be read.
pub fn all<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    texts.into_iter().map(|text| shown(text, NAME_CHARS_MAX)).collect()
}

/// The first of `texts`, each made fit to be read, and how many more there are.
pub fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> (Vec<String>, usize) {
    let mut texts = texts.into_iter();
    let first = texts.by_ref().take(LIST_MAX).map(|text| shown(text, NAME_CHARS_MAX)).collect();
    (first, texts.count())
}

/// Part of a text that is shown completely.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// What is shown.
    pub text: String,
    /// Whether it stands for a character that would not be seen as what it is.
    pub is_odd: bool,
}

/// How many lines a text may have where it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lines {
    /// One: a line break is shown as what it is.
    One,
    /// As many as it has.
    Many,
}

/// All of `text`: what reads as it is, and between that the code points of what does not. Nothing is left out.
pub fn runs(text: &str, lines: Lines) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let is_line_break = match character {
            '\n' | '\t' => true,
            '\r' => characters.peek() == Some(&'\n'),
            _ => false,
        };
        if is_odd(character) && !(is_line_break && lines == Lines::Many) {
            runs.push(Run { text: format!("U+{:04X}", u32::from(character)), is_odd: true });
            continue;
        }
        match runs.last_mut() {
            Some(Run { text, is_odd: false }) => text.push(character),
            Some(_) | None => runs.push(Run { text: character.into(), is_odd: false }),
        }
    }
    runs
}

/// The same as one text, for where nothing can be set apart: the code points stand in brackets.
pub fn plain(text: &str, lines: Lines) -> String {
    let as_text = |run: Run| if run.is_odd { format!("[{}]", run.text) } else { run.text };
    runs(text, lines).into_iter().map(as_text).collect()
}

/// A time of the wall clock, in seconds since 1970 UTC, to the minute.
pub fn time(unix_seconds: u64) -> String {
    let time = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(unix_seconds));
    // `Sat, 28 Nov 2026 22:47:26 GMT` (RFC 9110 section 5.6.7); it has no form for years beyond 9999.
    let Some(time) = time.filter(|_| unix_seconds < 253_402_300_800) else { return "unknown".to_owned() };
    let date = httpdate::fmt_http_date(time);
    match (date.get(5..16), date.get(17..22)) {
        (Some(day), Some(minute)) => format!("{day}, {minute} UTC"),
        (Some(_) | None, _) => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_bounded_and_reads_as_it_is() {
        assert_eq!(shown("Planner <b>", 80), "Planner <b>");
        assert_eq!(shown("\u{202e}gro.elpmaxe\u{200b}\n", 80), "gro.elpmaxe");
        assert_eq!(shown(&"é".repeat(100), 80), format!("{}…", "é".repeat(80)));
        assert_eq!(shown("\u{200b} \u{feff}", 80), "(no name)");
        assert_eq!(list(["b", "a"]), (vec!["b".to_owned(), "a".to_owned()], 0));
        assert_eq!(list(std::iter::repeat_n("a", LIST_MAX + 3)).1, 3);
    }

    #[test]
    fn a_text_is_shown_whole_and_what_cannot_be_seen_is_made_visible() {
        let written = |text: &str, lines| {
            let each = runs(text, lines).into_iter();
            each.map(|run| if run.is_odd { format!("[{}]", run.text) } else { run.text }).collect::<String>()
        };
        let many = |text: &str| written(text, Lines::Many);
        assert_eq!(many("a\tb\r\nc\nd"), "a\tb\r\nc\nd");
        assert_eq!(written("a\tb\r\nc", Lines::One), "a[U+0009]b[U+000D][U+000A]c");
        assert_eq!(many("a\rb\u{0}"), "a[U+000D]b[U+0000]");
        assert_eq!(many("pay \u{202e}00001\u{202c} to\u{a0}bob"), "pay [U+202E]00001[U+202C] to[U+00A0]bob");
        assert_eq!(
            many("\u{200b}\u{3164}\u{e0041}\u{fe0f}\u{feff}"),
            "[U+200B][U+3164][U+E0041][U+FE0F][U+FEFF]"
        );
        assert_eq!(many("<b>&é日本 🙂"), "<b>&é日本 🙂");
        let long = "é".repeat(100_000);
        assert_eq!(many(&long), long);
    }

    #[test]
    fn a_time_is_written_for_people() {
        assert_eq!(time(1_795_906_046), "28 Nov 2026, 22:47 UTC");
        assert_eq!(time(u64::MAX), "unknown");
    }
}
