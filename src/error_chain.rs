//! An error with its causes, in one line: an operator wants to read "certificate not trusted", not "could not connect".

use std::error::Error;
use std::fmt;

/// Shows an error followed by its causes, each after a colon.
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.to_string();
        f.write_str(&shown)?;
        for cause in std::iter::successors(self.0.source(), |&cause| cause.source()) {
            let cause = cause.to_string();
            // Many errors repeat the text of their cause.
            if !shown.ends_with(&cause) {
                write!(f, ": {cause}")?;
                shown = cause;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("could not reach contoso")]
    struct Outer(#[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error("could not connect: {0}")]
    struct Middle(#[source] std::io::Error);

    #[test]
    fn causes_are_shown_once_each() {
        let error = Outer(Middle(std::io::ErrorKind::ConnectionRefused.into()));
        assert_eq!(
            ErrorChain(&error).to_string(),
            "could not reach contoso: could not connect: connection refused"
        );
    }
}
