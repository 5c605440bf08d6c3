//! Files that only the gateway writes: regular ones, its own alone, never reached by way of a link.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Why such a file is not opened.
#[derive(Debug, thiserror::Error)]
pub enum RegularFileError {
    /// It is a link, a pipe, a device, or a folder.
    #[error("it is no regular file: name one, and not a link to it")]
    NotRegular,
    /// The system says no.
    #[error("it cannot be opened")]
    System(#[from] io::Error),
}

/// Opens a regular file. One that is made is for this user alone.
///
/// # Errors
///
/// [`RegularFileError`] when it is none, or when the system says no.
pub fn open(options: &mut OpenOptions, path: &Path) -> Result<File, RegularFileError> {
    // Without waiting, should it be a pipe.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let flags = i32::try_from(flags).expect("flags of open are few");
    let opened = options.mode(0o600).custom_flags(flags).open(path);
    let file = opened.map_err(|source| match source.raw_os_error() {
        Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => RegularFileError::NotRegular,
        _ => RegularFileError::System(source),
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(RegularFileError::NotRegular) }
}
