//! Keys for checkpoints: made, read, and told as what others verify with.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::audit::checkpoint::{CheckpointError, CheckpointKey, CheckpointPublicKey};
use crate::audit::link::Instance;

/// Largest file of a key that is read. One has 119 bytes.
const KEY_FILE_BYTES_MAX: u64 = 65_536;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file cannot be read, or written.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A key is never written over.
    #[error("{} is there already, and a key is never written over: give another name", .0.display())]
    Exists(PathBuf),
    /// What stands in the file, or was given in its place, is no key.
    #[error("{named} is no key")]
    NoKey {
        /// The file, or the text.
        named: String,
        /// What is wrong with it.
        source: CheckpointError,
    },
    /// The system has no randomness to give.
    #[error("the system has no randomness for a key")]
    NoRandomness,
}

impl KeyError {
    fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { doing, path, source }
    }

    fn no_key(path: &Path) -> impl FnOnce(CheckpointError) -> Self {
        let named = path.display().to_string();
        |source| Self::NoKey { named, source }
    }
}

/// Makes a key, writes it into a new file that its owner alone can read, and gives what its checkpoints are verified with.
///
/// # Errors
///
/// [`KeyError`], also when the file is there already.
pub fn generate(path: &Path, instance: Instance) -> Result<CheckpointPublicKey, KeyError> {
    let pem = CheckpointKey::generate_pem().map_err(|_| KeyError::NoRandomness)?;
    let key = CheckpointKey::from_pem(pem.as_bytes(), instance).map_err(KeyError::no_key(path))?;
    let writing = || KeyError::file("write", path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(
        |error| match error.kind() {
            io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
            _ => writing()(error),
        },
    )?;
    file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).map_err(writing())?;
    Ok(key.public().clone())
}

/// What the checkpoints of a key are verified with.
///
/// # Errors
///
/// [`KeyError`] when the file cannot be read, or holds no key.
pub fn public(path: &Path, instance: Instance) -> Result<CheckpointPublicKey, KeyError> {
    let pem = read(path)?;
    let key = CheckpointKey::from_pem(pem.as_bytes(), instance).map_err(KeyError::no_key(path))?;
    Ok(key.public().clone())
}

/// Reads what checkpoints are verified with: a key as it is, or a file with keys, one a line.
///
/// # Errors
///
/// [`KeyError`] when it is neither.
pub fn verifiers(named: &str) -> Result<Vec<CheckpointPublicKey>, KeyError> {
    if let Ok(key) = CheckpointPublicKey::parse(named) {
        return Ok(vec![key]);
    }
    let path = Path::new(named);
    let text = read(path)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys: Result<Vec<_>, _> = lines.map(CheckpointPublicKey::parse).collect();
    let keys =
        keys.and_then(|keys| if keys.is_empty() { Err(CheckpointError::NoPublicKey) } else { Ok(keys) });
    keys.map_err(KeyError::no_key(path))
}

fn read(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let reading = || KeyError::file("read", path);
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path).map_err(reading())?;
    file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(reading())?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("checkpoint.key");
        let instance = || Instance::parse("gateway-1").expect("a name");
        let made = generate(&path, instance()).expect("a key");
        assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        assert_eq!(public(&path, instance()).expect("a key"), made);
        let before = std::fs::read(&path).expect("a file");
        assert!(matches!(generate(&path, instance()), Err(KeyError::Exists(_))));
        assert_eq!(std::fs::read(&path).expect("a file"), before, "it was written over");
    }

    #[test]
    fn verifier_keys_are_given_as_they_are_or_in_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = |name| CheckpointKey::generate(Instance::parse(name).expect("a name")).public().clone();
        let (one, two) = (key("one"), key("two"));
        assert_eq!(verifiers(&one.to_string()).expect("a key"), std::slice::from_ref(&one));
        let path = folder.path().join("keys");
        std::fs::write(&path, format!("# ours\n{one}\n\n{two}\n")).expect("written");
        let named = path.display().to_string();
        assert_eq!(verifiers(&named).expect("keys"), [one, two]);
        std::fs::write(&path, "# none\n").expect("written");
        assert!(matches!(verifiers(&named), Err(KeyError::NoKey { .. })));
        assert!(matches!(verifiers("/nowhere/keys"), Err(KeyError::File { .. })));
    }
}
