//! Whether the files of the configuration have changed, and whether what is in them now is to be taken.
//!
//! Files are written piece by piece, and swapped one after the other. So what one look finds is taken when the next one finds the
//! same; and a certificate that does not go with its key has a while until that is called a fault.

use std::time::{Duration, Instant};

use crate::config::Sources;

/// How long the key may be behind its certificate, or the other way round.
const SWAP_TIMEOUT: Duration = Duration::from_secs(60);

/// What was read last, and what has been seen since.
pub struct Watch {
    settled: Sources,
    found: Option<Found>,
}

/// What the look before found, and since when it has been so.
struct Found {
    sources: Sources,
    since: Instant,
}

/// What a look comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finding {
    /// Somebody may still be writing.
    Unfinished,
    /// This is what is to be taken, or what is wrong.
    Settled,
}

impl Watch {
    /// Begins with what has been read.
    pub fn new(settled: Sources) -> Self {
        Self { settled, found: None }
    }

    /// What was read last.
    pub fn settled(&self) -> &Sources {
        &self.settled
    }

    /// Takes note that this has been taken, or that it was found to be bad: either way it is no news any more.
    pub fn settle(&mut self, sources: Sources) {
        *self = Self::new(sources);
    }

    /// Takes note that nothing is new.
    pub fn nothing_new(&mut self) {
        self.found = None;
    }

    /// What it comes to that a look has found something new. `may_pass`: all that is wrong with it passes once files are swapped.
    pub fn found(&mut self, sources: &Sources, may_pass: bool, now: Instant) -> Finding {
        match &self.found {
            Some(before) if before.sources == *sources => {
                match may_pass && now.saturating_duration_since(before.since) < SWAP_TIMEOUT {
                    true => Finding::Unfinished,
                    false => Finding::Settled,
                }
            }
            Some(_) | None => {
                self.found = Some(Found { sources: sources.clone(), since: now });
                Finding::Unfinished
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What is read of a configuration in this file. Whether it can be used is of no matter here.
    fn read(path: &Path) -> Sources {
        crate::config::load_with_sources(path, &|_| None).1
    }

    fn write(path: &Path, text: &str) -> Sources {
        std::fs::write(path, text).expect("written");
        read(path)
    }

    #[test]
    fn what_two_looks_in_a_row_find_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, now) = (folder.path().join("gateway.yaml"), Instant::now());
        let mut watch = Watch::new(write(&path, "old"));
        assert!(!watch.settled().have_changed());
        let begun = write(&path, "n");
        assert!(watch.settled().have_changed());
        assert_eq!(watch.found(&begun, false, now), Finding::Unfinished, "who writes may not be done");
        let whole = write(&path, "new");
        assert_eq!(
            watch.found(&whole, false, now),
            Finding::Unfinished,
            "it was something else a moment ago"
        );
        assert_eq!(watch.found(&whole, false, now), Finding::Settled);
        watch.settle(whole.clone());
        assert!(!watch.settled().have_changed());
        write(&path, "newer");
        assert_eq!(watch.found(&read(&path), false, now), Finding::Unfinished);
        write(&path, "new");
        watch.nothing_new();
        write(&path, "newer");
        assert_eq!(watch.found(&read(&path), false, now), Finding::Unfinished, "it was gone in between");
    }

    #[test]
    fn a_certificate_without_its_key_has_a_while() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, now) = (folder.path().join("gateway.yaml"), Instant::now());
        let mut watch = Watch::new(write(&path, "old"));
        let half = write(&path, "half");
        let soon = now + SWAP_TIMEOUT - Duration::from_millis(1);
        for at in [now, now, soon] {
            assert_eq!(watch.found(&half, true, at), Finding::Unfinished);
        }
        assert_eq!(watch.found(&half, true, now + SWAP_TIMEOUT), Finding::Settled);
    }
}
