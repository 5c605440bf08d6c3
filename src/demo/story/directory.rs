//! What one run of the demo writes: in a directory of its own, for its owner alone, gone when the run ends.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::demo::random;

/// A directory that is removed with everything in it when this is dropped.
#[derive(Debug)]
pub struct RunDirectory(PathBuf);

impl RunDirectory {
    /// Makes one where the system keeps temporary files.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn create() -> io::Result<Self> {
        let name: String = random::token().chars().filter(char::is_ascii_alphanumeric).take(6).collect();
        let path = std::env::temp_dir().join(format!("obo-demo-{name}"));
        // Fails when it is there, so nobody can have prepared it for us.
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file that only its owner can read.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or is there already.
    pub fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        Ok(path)
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        // What cannot be removed stays for the system to clear away.
        _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_its_owners_alone_and_gone_in_the_end() {
        let directory = RunDirectory::create().expect("a directory");
        let path = directory.path().to_owned();
        let file = directory.write("ada.token", "secret").expect("a file");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&file)), (0o700, 0o600));
        drop(directory);
        assert!(!path.exists());
    }
}
