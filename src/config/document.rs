//! YAML as a tree in which every value knows its place in the file.
//!
//! A configuration needs little of YAML: mappings, lists, and text. What could make two readers see different
//! files is refused: a key written twice, anchors and aliases, tags, a second document. Nothing is guessed
//! from how a value looks; whether `0123` or `yes` is text is decided by who asks for it.
//!
//! The events are those of serde-saphyr's own parser. Its deserializer stops at the first fault and keeps places
//! only for what was read, while an operator wants all of them.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, StrInput};

use super::expand::{Environment, expand};
use super::fault::{Report, Severity, Span};

/// Largest file that is read. A thousand connectors fit.
pub(super) const FILE_BYTES_MAX: usize = 1_048_576;
/// Most text that variables may add up to, so that a file full of `${NAME}` cannot fill the memory.
const EXPANDED_BYTES_MAX: usize = 1_048_576;
/// Deepest nesting that is read; the deepest key of the configuration is at 7.
const DEPTH_MAX: usize = 16;

/// One value.
pub(super) struct Node {
    /// Tells it from every other value of the file.
    pub id: usize,
    /// Where it is written; for a value under a key that is no text, where the key is.
    pub span: Span,
    /// Where its key is written; for an element of a list, where the element is.
    pub key_span: Span,
    /// Its place in words: `policy.allow[0].tools[1]`.
    pub path: String,
    /// What it is.
    pub value: Value,
    /// What was taken out of it after a fault had been noted, so that its absence is no second fault.
    pub lost: Vec<Lost>,
}

/// What a value can be.
pub(super) enum Value {
    /// A scalar.
    Text(Text),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<(String, Node)>),
    /// A key without a value, `null` or `~`.
    Nothing,
}

/// A scalar's text.
pub(super) struct Text {
    /// With its variables, as it stands in the file. This is what faults show.
    pub written: String,
    /// With the variables' values.
    pub expanded: String,
    /// Whether it is without quotes: `true` is a boolean, `"true"` is not.
    pub plain: bool,
}

/// Something taken out of a mapping or a list.
#[derive(PartialEq, Eq)]
pub(super) enum Lost {
    /// The value of this key.
    Key(String),
    /// An element of a list.
    Element,
}

impl Node {
    /// What kind of value it is, for people.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Nothing => "nothing",
        }
    }

    /// Takes out the value with this id. When its key was probably meant to be another, that one's absence is
    /// no second fault either.
    pub fn take_out(&mut self, id: usize, meant: Option<&str>) -> Option<Node> {
        let lost = &mut self.lost;
        match &mut self.value {
            Value::Map(entries) => {
                if let Some(at) = entries.iter().position(|(_, node)| node.id == id) {
                    let (key, node) = entries.remove(at);
                    lost.push(Lost::Key(key));
                    lost.extend(meant.map(|meant| Lost::Key(meant.to_owned())));
                    return Some(node);
                }
                entries.iter_mut().find_map(|(_, node)| node.take_out(id, meant))
            }
            Value::List(elements) => {
                if let Some(at) = elements.iter().position(|node| node.id == id) {
                    lost.push(Lost::Element);
                    return Some(elements.remove(at));
                }
                elements.iter_mut().find_map(|node| node.take_out(id, meant))
            }
            Value::Text(_) | Value::Nothing => None,
        }
    }

    /// Where text is written in this value and all below it.
    pub fn text_spans(&self) -> Vec<Span> {
        match &self.value {
            Value::Text(_) => vec![self.span],
            Value::Nothing => Vec::new(),
            Value::Map(entries) => entries.iter().flat_map(|(_, node)| node.text_spans()).collect(),
            Value::List(elements) => elements.iter().flat_map(Node::text_spans).collect(),
        }
    }
}

/// Reads `text`. What is wrong is noted in `report`; `None` when there is no tree to speak of.
pub(super) fn parse(text: &str, environment: &Environment<'_>, report: &Report) -> Option<Node> {
    let options = granit_parser::options! {
        emit_comments: false,
        disallow_directives: true,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    let parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder { parser, text, environment, report, ids: 0, expanded_bytes: 0 };
    builder.document().ok().flatten()
}

/// The file cannot be read on; the fault has been noted.
struct Stop;

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    text: &'a str,
    environment: &'a Environment<'a>,
    report: &'a Report,
    ids: usize,
    expanded_bytes: usize,
}

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Option<Node>, Stop> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                _ if root.is_some() => {
                    self.note(span, "", "a configuration is one document: leave out what follows `---`");
                    return Err(Stop);
                }
                _ => root = Some(self.node(event, span, String::new())?),
            }
        }
        match root.map(|root| root.filter(|root| !matches!(root.value, Value::Nothing))) {
            Some(Some(root)) if matches!(root.value, Value::Map(_)) => Ok(Some(root)),
            Some(Some(root)) => {
                self.note(
                    root.span,
                    "",
                    "must be a mapping of keys and values, like `listen: 127.0.0.1:8080`",
                );
                Ok(None)
            }
            Some(None) | None => {
                self.note(
                    Span::TOP,
                    "",
                    "is empty: `listen`, `issuers`, `connectors` and `audit` are required",
                );
                Ok(None)
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Stop> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, place(&span))),
            Some(Err(error)) => {
                let at = place(&granit_parser::Span::empty(*error.marker()));
                self.note(at, "", format_args!("is not valid YAML: {}{}", error.info(), self.hint(at.line)));
                Err(Stop)
            }
            None => Err(Stop),
        }
    }

    /// `{ match: GET /messages/{id} }` and `{ issuer: ${NAME} }` have a mapping within a mapping for YAML,
    /// and what it says about that is hard to read.
    fn hint(&self, line: usize) -> &'static str {
        let line = self.text.lines().nth(line - 1).unwrap_or_default();
        if line.contains("${") || line.matches('{').count() > 1 {
            return "; within `{ }` and `[ ]`, write values that have braces in quotes";
        }
        ""
    }

    /// The value that begins with `event`; `None` when it is unusable, which has then been noted.
    fn node(&mut self, event: Event<'a>, span: Span, path: String) -> Result<Option<Node>, Stop> {
        self.ids += 1;
        let id = self.ids;
        let mut lost = Vec::new();
        let value = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.check_plain_yaml(span, &path, anchor, tag.is_some());
                self.scalar(&text, style, span, &path)?
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_plain_yaml(span, &path, anchor, tag.is_some());
                Some(Value::List(self.elements(&path, &mut lost)?))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_plain_yaml(span, &path, anchor, tag.is_some());
                Some(Value::Map(self.entries(&path, &mut lost)?))
            }
            // The only other event at the place of a value is an alias.
            _ => {
                self.note(
                    span,
                    &path,
                    "is an alias (`*name`), which is not supported: write the value itself",
                );
                None
            }
        };
        Ok(value.map(|value| Node { id, span, key_span: span, path, value, lost }))
    }

    fn elements(&mut self, path: &str, lost: &mut Vec<Lost>) -> Result<Vec<Node>, Stop> {
        let mut elements = Vec::new();
        for index in 0.. {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                break;
            }
            match self.node(event, span, format!("{path}[{index}]"))? {
                Some(node) => elements.push(node),
                None => lost.push(Lost::Element),
            }
        }
        Ok(elements)
    }

    fn entries(&mut self, path: &str, lost: &mut Vec<Lost>) -> Result<Vec<(String, Node)>, Stop> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        let mut lines = HashMap::new();
        loop {
            let (event, key_span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let key = self.key(event, key_span, path)?;
            let (event, span) = self.next()?;
            let Some(key) = key else {
                self.node(event, span, path.to_owned())?;
                continue;
            };
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let node = self.node(event, span, path.clone())?;
            if let Some(first) = lines.insert(key.clone(), key_span.line) {
                self.note(key_span, &path, format_args!("is written twice; the first is on line {first}"));
                continue;
            }
            match node {
                Some(mut node) => {
                    node.key_span = key_span;
                    if !matches!(node.value, Value::Text(_)) {
                        node.span = key_span;
                    }
                    entries.push((key, node));
                }
                None => lost.push(Lost::Key(key)),
            }
        }
    }

    /// The text of a key, or `None` after a fault when it cannot be one.
    fn key(&mut self, event: Event<'a>, span: Span, path: &str) -> Result<Option<String>, Stop> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.check_plain_yaml(span, path, anchor, tag.is_some());
                if text == "<<" && style == ScalarStyle::Plain {
                    self.note(span, path, "merges another mapping (`<<`): write its keys out");
                    return Ok(None);
                }
                if text.is_empty() || text.chars().any(char::is_control) {
                    self.note(span, path, "has a key that is empty or has control characters");
                    return Ok(None);
                }
                Ok(Some(text.into_owned()))
            }
            other => {
                self.node(other, span, path.to_owned())?;
                self.note(span, path, "has a key that is not text");
                Ok(None)
            }
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        span: Span,
        path: &str,
    ) -> Result<Option<Value>, Stop> {
        let plain = style == ScalarStyle::Plain;
        // YAML 1.2.2 section 10.3.2: the core schema's spellings of null.
        if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            return Ok(Some(Value::Nothing));
        }
        let expanded = match expand(text, self.environment) {
            Ok(expanded) => expanded.into_owned(),
            Err(error) => {
                self.note(span, path, error);
                return Ok(None);
            }
        };
        self.expanded_bytes = self.expanded_bytes.saturating_add(expanded.len());
        if self.expanded_bytes > EXPANDED_BYTES_MAX {
            let message = format_args!("is more than {EXPANDED_BYTES_MAX} bytes with its variables' values");
            self.note(Span::TOP, "", message);
            return Err(Stop);
        }
        if expanded.chars().any(char::is_control) {
            self.note(span, path, "has a line break or another control character: values are single lines");
            return Ok(None);
        }
        Ok(Some(Value::Text(Text { written: text.to_owned(), expanded, plain })))
    }

    fn check_plain_yaml(&self, span: Span, path: &str, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.note(span, path, "has an anchor (`&name`), which is not supported: leave it out");
        }
        if tagged {
            self.note(span, path, "has a tag (`!name`), which is not supported: leave it out");
        }
    }

    fn note(&self, span: Span, path: &str, message: impl std::fmt::Display) {
        self.report.note(Severity::Error, span, path, message);
    }
}

fn place(span: &granit_parser::Span) -> Span {
    Span {
        line: span.start.line().max(1),
        column: span.start.col() + 1,
        end_line: span.end.line().max(1),
        end_column: span.end.col() + 1,
    }
}
