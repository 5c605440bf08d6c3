//! The file of a vault: its own, of one process.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::OpenError;
use crate::regular_file::{self, RegularFileError};

/// What others may do with a file, as bits of its mode.
const FOR_OTHERS: u32 = 0o077;

/// Locks the vault at `path` for this process, and sees to it that its file is there and is nobody else's. The lock is free
/// again once what comes back is dropped.
pub fn claim(path: &Path) -> Result<File, OpenError> {
    let lock = open(OpenOptions::new().write(true).create(true), &beside(path, ".lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => return Err(OpenError::Locked),
        Err(std::fs::TryLockError::Error(source)) => {
            return Err(OpenError::System { what: "it cannot be locked", source });
        }
    }
    let file = open(OpenOptions::new().read(true).write(true).create(true), path)?;
    check(&file)?;
    // The engine writes it before it changes the file, and reads it after a crash.
    let journal = beside(path, "-journal");
    match journal.symlink_metadata() {
        Ok(_) => check(&open(OpenOptions::new().read(true), &journal)?)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(OpenError::System { what: "its journal cannot be looked at", source }),
    }
    Ok(lock)
}

fn open(options: &mut OpenOptions, path: &Path) -> Result<File, OpenError> {
    regular_file::open(options, path).map_err(|error| match error {
        RegularFileError::NotRegular => OpenError::NotRegular,
        RegularFileError::System(source) => OpenError::System { what: "it cannot be opened", source },
    })
}

fn check(file: &File) -> Result<(), OpenError> {
    let there =
        file.metadata().map_err(|source| OpenError::System { what: "it cannot be looked at", source })?;
    match (there.nlink(), there.permissions().mode() & FOR_OTHERS) {
        (0 | 1, 0) => Ok(()),
        (0 | 1, _) => Err(OpenError::Exposed),
        (_, _) => Err(OpenError::NotRegular),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
