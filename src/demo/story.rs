//! The story that the `demo` command tells in the terminal.

use std::process::ExitCode;

/// Tells the story, and then keeps running, or exits when `once` is set.
pub async fn run(_once: bool) -> ExitCode {
    ExitCode::FAILURE
}
