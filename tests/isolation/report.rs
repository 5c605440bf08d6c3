//! What a part has to say: lines of figures, and what is wrong with them.

use std::fmt;

use crate::Outcome;

/// Lines of a report, each a name and what there is to say of it.
#[derive(Default)]
pub struct Lines(Vec<(&'static str, String)>);

impl Lines {
    pub fn say(&mut self, name: &'static str, text: impl Into<String>) {
        self.0.push((name, text.into()));
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        self.0.iter().try_for_each(|(name, text)| writeln!(f, "{name:width$}  {text}"))
    }
}

/// What must hold at the end of a part. All that does not is told, and not the first alone.
#[derive(Default)]
pub struct Faults(Vec<String>);

impl Faults {
    /// Two counts have to be the same.
    pub fn same<T: PartialEq + fmt::Debug>(&mut self, what: &str, found: T, expected: T) {
        if found != expected {
            self.0.push(format!("{what}: {found:?}, and not {expected:?}"));
        }
    }

    /// A condition has to hold.
    pub fn holds(&mut self, condition: bool, otherwise: impl FnOnce() -> String) {
        if !condition {
            self.0.push(otherwise());
        }
    }

    /// Adds what was noticed on the way.
    pub fn extend(&mut self, more: impl IntoIterator<Item = String>) {
        self.0.extend(more);
    }

    /// The report, when nothing is wrong.
    pub fn or_report(self, lines: Lines) -> Outcome<Lines> {
        if self.0.is_empty() {
            return Ok(lines);
        }
        Err(format!("{}\n{lines}", self.0.join("\n")).into())
    }
}

/// A count as people read it: `12,345`.
pub fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
