//! The files that a configuration was read from: its own, and those that it names. Whether one has changed is told by what is
//! in it, since mounted secrets are swapped by links, and neither names nor times tell of that.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::digest::sha256;

/// What a configuration was read from, and what was in it then.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sources(Vec<Source>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Source {
    path: PathBuf,
    /// Most bytes of it that are read.
    bytes_max: usize,
    content: Content,
}

/// What was in a file, without keeping it.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Content {
    Digest([u8; 32]),
    Unreadable(ErrorKind),
}

impl Content {
    fn of(read: &io::Result<Zeroizing<Vec<u8>>>) -> Self {
        match read {
            Ok(bytes) => Self::Digest(sha256(bytes)),
            Err(error) => Self::Unreadable(error.kind()),
        }
    }
}

impl Sources {
    /// Notes what was read of a file.
    pub(super) fn note(&mut self, path: &Path, bytes_max: usize, read: &io::Result<Zeroizing<Vec<u8>>>) {
        // Of a file that several keys name, what came first: where another read found something else, it has changed since.
        if !self.0.iter().any(|source| source.path == path) {
            let (path, content) = (path.to_owned(), Content::of(read));
            self.0.push(Source { path, bytes_max, content });
        }
    }

    /// These, and others.
    pub(super) fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Whether something else is in one of the files by now. This reads them.
    pub fn have_changed(&self) -> bool {
        let has_changed =
            |source: &Source| Content::of(&read(&source.path, source.bytes_max)) != source.content;
        self.0.iter().any(has_changed)
    }
}

/// Reads at most one byte more than `bytes_max` of a regular file.
pub fn read(path: &Path, bytes_max: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    // A pipe or a device could keep us waiting for ever, so it is not even opened.
    let length = match std::fs::metadata(path)? {
        metadata if metadata.is_file() => usize::try_from(metadata.len()).unwrap_or(usize::MAX),
        _ => return Err(ErrorKind::InvalidInput.into()),
    };
    // Room for all of it from the start: no copy of a key is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.min(bytes_max).saturating_add(64)));
    File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn sources(path: &Path) -> Sources {
        let mut sources = Sources::default();
        sources.note(path, 8, &read(path, 8));
        sources
    }

    #[test]
    fn what_is_in_a_file_counts_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, "one").expect("written");
        let written = std::fs::metadata(&path).expect("metadata").modified().expect("a time");
        let before = sources(&path);
        std::fs::write(&path, "one").expect("written");
        assert!(!before.have_changed(), "the same again");
        std::fs::write(&path, "two").expect("written");
        File::options().append(true).open(&path).expect("a file").set_modified(written).expect("set");
        assert!(before.have_changed(), "as long as before, and at the same time");
        std::fs::remove_file(&path).expect("removed");
        assert!(before.have_changed(), "nothing");
        let gone = sources(&path);
        assert!(!gone.have_changed());
        std::fs::write(&path, "more than eight bytes").expect("written");
        assert!(gone.have_changed());
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_a_change() {
        // As Kubernetes mounts secrets: `tls.key` leads to `..data/tls.key`, and `..data` to a folder of the day.
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for (day, text) in [("monday", "one"), ("tuesday", "two")] {
            std::fs::create_dir(at(day)).expect("a folder");
            std::fs::write(at(day).join("tls.key"), text).expect("written");
        }
        symlink("monday", at("..data")).expect("a link");
        symlink("..data/tls.key", at("tls.key")).expect("a link");
        let monday = sources(&at("tls.key"));
        symlink("tuesday", at("..new")).expect("a link");
        std::fs::rename(at("..new"), at("..data")).expect("renamed");
        assert!(monday.have_changed());
    }

    #[test]
    fn of_a_file_that_is_read_twice_the_first_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, "one").expect("written");
        let mut sources = sources(&path);
        std::fs::write(&path, "two").expect("written");
        sources.note(&path, 8, &read(&path, 8));
        assert!(sources.have_changed());
    }
}
