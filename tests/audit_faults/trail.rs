//! A trail as its reader finds it: all files of it, and every line in its place.

use std::collections::HashSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use obo_gateway::audit::files;
use obo_gateway::audit::link::{LineHash, Link};
use serde_json::Value;

/// A whole trail.
pub struct Trail {
    lines: Vec<Value>,
}

impl Trail {
    /// Reads the trail at `path`, with files that somebody moved elsewhere. Its lines must be whole, and each hold on to the one
    /// before; nothing may be missing, or stand there twice.
    pub fn read(path: &Path, moved: &[PathBuf]) -> Self {
        let mut texts: Vec<String> =
            moved.iter().map(|file| std::fs::read_to_string(file).expect("a file")).collect();
        for closed in files::closed(path).expect("a folder") {
            let mut text = String::new();
            closed.reader().expect("a file").read_to_string(&mut text).expect("text");
            texts.push(text);
        }
        texts.push(std::fs::read_to_string(path).expect("the trail"));
        texts.retain(|text| !text.is_empty());
        texts.sort_by_key(|text| link(text.lines().next().unwrap_or_default()).sequence);
        let mut before = (0, LineHash::NONE);
        let mut lines = Vec::new();
        for text in &texts {
            assert!(text.ends_with('\n'), "a file ends within a line: {:?}", &text[text.len() - 80..]);
            for line in text.lines() {
                let link = link(line);
                assert_eq!((link.sequence, link.previous), (before.0 + 1, before.1), "{line}");
                before = (link.sequence, LineHash::of(line.as_bytes()));
                lines.push(serde_json::from_str(line).expect("JSON"));
            }
        }
        Self { lines }
    }

    /// How many lines it has.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// The identifiers of the calls that it has records of.
    pub fn calls(&self) -> Vec<&str> {
        let calls = self.lines.iter().filter(|line| line["class_uid"] == 6003);
        calls.filter_map(|line| line["metadata"]["uid"].as_str()).collect()
    }

    /// The marks of this name.
    pub fn marks(&self, name: &str) -> Vec<&Value> {
        let marks = self.lines.iter().map(|line| &line["unmapped"]["obo"]);
        marks.filter(|obo| obo["mark"] == name).collect()
    }

    /// Why files were closed, in order.
    pub fn rotations(&self) -> Vec<&str> {
        self.marks("rotated").into_iter().filter_map(|mark| mark["reason"].as_str()).collect()
    }

    /// Each of these calls was answered, so each has exactly one record, as every call has at most one.
    #[track_caller]
    pub fn assert_has(&self, answered: &[String]) {
        let calls = self.calls();
        let once: HashSet<&str> = calls.iter().copied().collect();
        assert_eq!(calls.len(), once.len(), "a call has two records");
        let lost: Vec<_> = answered.iter().filter(|id| !once.contains(id.as_str())).collect();
        assert!(
            lost.is_empty(),
            "{} of {} were answered and have no record: {lost:?}",
            lost.len(),
            answered.len()
        );
    }
}

fn link(line: &str) -> Link<'_> {
    Link::of(line.as_bytes()).unwrap_or_else(|| panic!("no line of a trail: {line:?}"))
}
