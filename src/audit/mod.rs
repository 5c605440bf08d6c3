//! The record of what happened.

use std::path::PathBuf;

/// Where records go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuditFile {
    /// Standard output.
    StandardOutput,
    /// A file, appended to; made with mode 0600 when it is not there.
    Path(PathBuf),
}
