//! What reaches a terminal beside text: colours, and how far a long piece of work has come.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often the bar is drawn; work that is done sooner has none.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);
/// How many characters the bar has.
const BAR_WIDTH: u64 = 30;

/// A text with a colour of "select graphic rendition" (ECMA-48 section 8.3.117), where colours are shown.
pub fn paint(text: &str, code: &str, colour: bool) -> String {
    match colour && !text.is_empty() && !code.is_empty() {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}

/// How far a long piece of work has come: a bar on standard error, where that is a terminal.
pub struct Progress {
    total: u64,
    drawn: Instant,
    is_drawn: bool,
    is_shown: bool,
}

impl Progress {
    /// Of work with so many bytes.
    pub fn new(total: u64) -> Self {
        Self { total, drawn: Instant::now(), is_drawn: false, is_shown: io::stderr().is_terminal() }
    }

    /// Nobody looks.
    pub fn hidden() -> Self {
        Self { total: 0, drawn: Instant::now(), is_drawn: false, is_shown: false }
    }

    /// So many bytes are done.
    pub fn show(&mut self, done: u64) {
        if !self.is_shown || self.drawn.elapsed() < REDRAW_INTERVAL {
            return;
        }
        (self.drawn, self.is_drawn) = (Instant::now(), true);
        let percent = done.min(self.total).saturating_mul(100) / self.total.max(1);
        let full = "█".repeat(usize::try_from(percent * BAR_WIDTH / 100).unwrap_or_default());
        let width = usize::try_from(BAR_WIDTH).unwrap_or_default();
        // A bar that cannot be drawn keeps nobody from the work.
        let _ = write!(io::stderr(), "\r\x1b[2K{full:░<width$} {percent:>3} %");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_drawn {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_a_colour_where_colours_are_shown() {
        assert_eq!(paint("a", "31", false), "a");
        assert_eq!(paint("a", "31", true), "\x1b[31ma\x1b[0m");
    }
}
