//! A place in the file, as the checks walk through it.

use std::fmt;
use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use super::document::{Lost, Node, Value};
use super::fault::{NamedText, Report, Severity, Span};

/// A key or an element, whether it is there or not, and the way to note a fault about it.
#[derive(Clone)]
pub(super) struct At<'a> {
    report: &'a Report,
    node: Option<&'a Node>,
    span: Span,
    path: String,
    /// Something here was taken out with a fault of its own: what follows from its absence is no news.
    hushed: bool,
}

impl<'a> At<'a> {
    /// The whole file.
    pub fn root(node: &'a Node, report: &'a Report) -> Self {
        Self { report, node: Some(node), span: Span::TOP, path: String::new(), hushed: false }
    }

    /// What is, or would be, under `key`.
    pub fn key(&self, key: &str) -> Self {
        let child = match self.node.map(|node| &node.value) {
            Some(Value::Map(entries)) => entries.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        };
        match child {
            Some(node) => self.present(node),
            None => Self {
                node: None,
                path: if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) },
                hushed: self.lost(key) || (self.node.is_none() && self.hushed),
                ..self.clone()
            },
        }
    }

    /// The element at `index` of those that were read.
    pub fn index(&self, index: usize) -> Self {
        match self.node.map(|node| &node.value) {
            Some(Value::List(elements)) if index < elements.len() => self.present(&elements[index]),
            _ => self.clone(),
        }
    }

    fn present(&self, node: &'a Node) -> Self {
        Self {
            report: self.report,
            node: Some(node),
            span: node.span,
            path: node.path.clone(),
            hushed: !node.lost.is_empty(),
        }
    }

    /// Whether `key` was there, but was taken out with a fault of its own.
    pub fn lost(&self, key: &str) -> bool {
        self.node
            .is_some_and(|node| node.lost.iter().any(|lost| matches!(lost, Lost::Key(lost) if lost == key)))
    }

    /// The place, as faults name it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether there is something here, also when it was taken out.
    pub fn is_written(&self) -> bool {
        self.node.is_some() || self.hushed
    }

    /// The keys here, also those whose values were taken out.
    pub fn names(&self) -> Vec<&'a str> {
        let Some(node) = self.node else { return Vec::new() };
        let kept = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        let lost = node.lost.iter().filter_map(|lost| match lost {
            Lost::Key(key) => Some(key.as_str()),
            Lost::Element => None,
        });
        kept.iter().map(|(key, _)| key.as_str()).chain(lost).collect()
    }

    /// The text here as it is written in the file, in quotes: never a value from the environment.
    pub fn written(&self) -> String {
        match self.node.map(|node| &node.value) {
            Some(Value::Text(text)) => format!("{:?}", text.written),
            Some(_) | None => "nothing".to_owned(),
        }
    }

    /// Notes what keeps the file from being used.
    pub fn fault(&self, message: impl fmt::Display) {
        if !self.hushed {
            self.report.note(Severity::Error, self.span, &self.path, message);
        }
    }

    /// Notes a fault of the text here, and shows the text.
    pub fn fault_found(&self, message: impl fmt::Display) {
        self.fault(format_args!("{message} (found {})", self.written()));
    }

    /// Notes a fault that passes by itself where files are swapped one after the other, and shows the text.
    pub fn fault_while_swapped(&self, message: impl fmt::Display) {
        if !self.hushed {
            let message = format!("{message} (found {})", self.written());
            self.report.note_while_swapped(self.span, &self.path, message);
        }
    }

    /// Notes what was read of a file that is named here.
    pub fn note_source(&self, path: &Path, bytes_max: usize, read: &io::Result<Zeroizing<Vec<u8>>>) {
        self.report.note_source(path, bytes_max, read);
    }

    /// Notes what someone should look at.
    pub fn warn(&self, message: impl fmt::Display) {
        if !self.hushed {
            self.report.note(Severity::Warning, self.span, &self.path, message);
        }
    }

    /// Notes something about a file that is named here.
    #[cfg_attr(not(feature = "cedar"), expect(dead_code, reason = "only policies are in files of their own"))]
    pub fn note_in(&self, file: &NamedText, severity: Severity, span: Span, message: impl fmt::Display) {
        self.report.note_in(file, severity, span, message);
    }

    /// Keeps what is written here out of the pictures of faults.
    pub fn hide(&self) {
        self.report.hide(self.node.map(Node::text_spans).unwrap_or_default());
    }

    /// `value`, or a fault that says what is missing.
    pub fn required<T>(&self, value: Option<T>, what: &str) -> Option<T> {
        if value.is_none() {
            self.fault(format_args!("is required: {what}"));
        }
        value
    }

    /// Whether the text here has values from the environment in it.
    pub fn has_variables(&self) -> bool {
        matches!(self.node.map(|node| &node.value), Some(Value::Text(text)) if text.written != text.expanded)
    }

    /// The result's value, or a fault that says what is wrong with the text here.
    pub fn checked<T, E: fmt::Display>(&self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.fault_found(error)).ok()
    }
}
