//! Tools of a REST connector: an operation is a method and a path template.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::Method;
use matchit::Params;
use percent_encoding::percent_decode_str;

use super::path::{CanonicalPath, PathError};
use super::request::METHODS;

pub mod arguments;
pub mod error;
pub mod identify;
pub mod pointer;
mod query;

use crate::strict_json::{folded, same_but_for_case};
use arguments::DeclaredArguments;
pub use query::plain_fields;

/// What a request must look like to be a certain tool: `GET /me/messages/{id}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToolMatch {
    method: Method,
    template: Arc<str>,
    arguments: DeclaredArguments,
}

/// Why a `match` cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ToolMatchError {
    /// It is not two words.
    #[error("must be a method and a path, like `GET /me/messages/{{id}}`")]
    Form,
    /// The method is unknown or cannot be proxied.
    #[error("has a method that is not served: {0:?}")]
    Method(String),
    /// No request could have such a path.
    #[error("has a path that no request can have: it {0}")]
    Path(#[from] PathError),
    /// A `{name}` is not a whole segment, or is not a name.
    #[error("has a parameter that is not a whole segment with a name of letters, digits and `_`: {0:?}")]
    Parameter(String),
}

impl std::str::FromStr for ToolMatch {
    type Err = ToolMatchError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split_whitespace();
        let (Some(method), Some(path), None) = (words.next(), words.next(), words.next()) else {
            return Err(ToolMatchError::Form);
        };
        let method = METHODS
            .into_iter()
            .find(|known| known.as_str() == method)
            .ok_or_else(|| ToolMatchError::Method(method.to_owned()))?;
        let plain: Vec<&str> = path.split('/').map(plain_segment).collect::<Result<_, _>>()?;
        CanonicalPath::parse(&plain.join("/"))?;
        Ok(Self { method, template: path.into(), arguments: DeclaredArguments::default() })
    }
}

impl ToolMatch {
    /// The same, with these arguments to be read from a request.
    pub fn with_arguments(self, arguments: DeclaredArguments) -> Self {
        Self { arguments, ..self }
    }

    /// The arguments to be read from a request.
    pub fn arguments(&self) -> &DeclaredArguments {
        &self.arguments
    }

    /// How often a parameter of this name stands in the path.
    pub fn parameters_named(&self, name: &str) -> usize {
        let is_named = |segment: &&str| {
            segment
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'))
                .is_some_and(|given| given == name)
        };
        self.template.split('/').filter(is_named).count()
    }

    /// Whether a segment of the path, decoded, is `name` to a reader that does not look at case.
    pub fn has_segment(&self, name: &str) -> bool {
        let decoded = percent_decode_str(&self.template).decode_utf8_lossy();
        decoded.split('/').any(|segment| same_but_for_case(segment, name))
    }
}

/// The segment itself, or for a parameter some plain text in its place.
fn plain_segment(segment: &str) -> Result<&str, ToolMatchError> {
    let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    match name {
        Some(name)
            if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') =>
        {
            Ok("x")
        }
        None if !segment.contains(['{', '}']) => Ok(segment),
        _ => Err(ToolMatchError::Parameter(segment.to_owned())),
    }
}

impl fmt::Display for ToolMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.template)
    }
}

/// The operations of one connector, ready to be looked up. A literal segment wins over a parameter.
///
/// Connectors decode what is percent-encoded, and many ignore case or cut off what ends a name. Templates are
/// therefore matched against the decoded path, and a request that a reader of that kind would take for another
/// operation is none.
#[derive(Debug)]
pub struct Operations<T> {
    by_method: HashMap<Method, Matchers>,
    operations: Vec<T>,
}

/// The same templates twice: as written, and without regard to case. Both lead to the operation's number.
#[derive(Debug, Default)]
struct Matchers {
    exact: matchit::Router<usize>,
    folded: matchit::Router<usize>,
}

/// Two templates that the same request could fit, neither more exact than the other.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("fits the same requests as `{other}`")]
pub struct OverlapError {
    /// The template that was there first.
    pub other: String,
}

impl<T> Default for Operations<T> {
    fn default() -> Self {
        Self { by_method: HashMap::new(), operations: Vec::new() }
    }
}

impl<T> Operations<T> {
    /// Adds an operation.
    ///
    /// # Errors
    ///
    /// [`OverlapError`] when a request could not tell it from one that is there already.
    pub fn add(&mut self, operation: &ToolMatch, value: T) -> Result<(), OverlapError> {
        let matchers = self.by_method.entry(operation.method.clone()).or_default();
        let number = self.operations.len();
        let template = matchable(&operation.template);
        let overlap = |error| match error {
            matchit::InsertError::Conflict { with } => {
                OverlapError { other: format!("{} {with}", operation.method) }
            }
            // ToolMatch let the template through: parameters are whole segments and have names.
            other => OverlapError { other: other.to_string() },
        };
        matchers.folded.insert(folded(&template).into_owned(), number).map_err(overlap)?;
        matchers.exact.insert(template, number).map_err(overlap)?;
        self.operations.push(value);
        Ok(())
    }

    /// All of them, in the order in which they were added.
    pub fn all(&self) -> &[T] {
        &self.operations
    }

    /// The operation that a request is, to every reader; `None` when it is none, or not the same one to all.
    pub fn find(&self, method: &Method, path: CanonicalPath<'_>) -> Option<&T> {
        self.find_decoded(method, &path.decoded()).map(|(operation, _)| operation)
    }

    /// The same for a canonical path that has been decoded, and what its parameters stand for.
    pub fn find_decoded<'p>(&self, method: &Method, path: &'p str) -> Option<(&T, Params<'_, 'p>)> {
        let matchers = self.by_method.get(method)?;
        let exact = matchers.exact.at(path).ok()?;
        if !exact.params.iter().all(|(_, value)| is_plain_value(value)) {
            return None;
        }
        let number = *matchers.folded.at(&folded(path)).ok()?.value;
        (number == *exact.value).then(|| (&self.operations[number], exact.params))
    }
}

/// A template as the router takes it: what is text is decoded, and braces in it are doubled, or they would make a parameter
/// of it.
fn matchable(template: &str) -> String {
    let segment = |segment: &str| match segment.starts_with('{') {
        true => segment.to_owned(),
        false => {
            let text = percent_decode_str(segment).decode_utf8_lossy();
            text.replace('{', "{{").replace('}', "}}")
        }
    };
    template.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// Whether a parameter's value names a thing, to every reader: `$count` and the like are operations of OData, and
/// some servers cut off blanks and dots at the end of a name.
fn is_plain_value(value: &str) -> bool {
    !value.starts_with('$') && !value.ends_with(['.', ' ']) && !value.starts_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations(matches: &[&str]) -> Operations<String> {
        let mut operations = Operations::default();
        for text in matches {
            let operation: ToolMatch = text.parse().expect("a match of the test");
            operations.add(&operation, operation.to_string()).expect("no overlap in the test");
        }
        operations
    }

    #[track_caller]
    fn check(operations: &Operations<String>, method: Method, path: &str, expected: Option<&str>) {
        let path = CanonicalPath::parse(path).expect("a path of the test");
        assert_eq!(operations.find(&method, path).map(String::as_str), expected, "{method} {path:?}");
    }

    #[test]
    fn a_request_is_the_tool_whose_template_it_fits() {
        let mail = operations(&[
            "GET /me/messages",
            "GET /me/messages/{id}",
            "GET /me/messages/delta",
            "POST /me/sendMail",
            "GET /{collection}/count",
        ]);
        check(&mail, Method::GET, "/me/messages", Some("GET /me/messages"));
        check(&mail, Method::GET, "/me/messages/AAMk=", Some("GET /me/messages/{id}"));
        check(&mail, Method::GET, "/me/messages/delta", Some("GET /me/messages/delta"));
        check(&mail, Method::GET, "/me/count", Some("GET /{collection}/count"));
        check(&mail, Method::GET, "/others/count", Some("GET /{collection}/count"));
        check(&mail, Method::POST, "/me/messages", None);
        check(&mail, Method::GET, "/me/messages/", None);
        check(&mail, Method::GET, "/me/messages/a/b", None);
        check(&mail, Method::GET, "/ME/messages", None);
        check(&mail, Method::GET, "/", None);
        check(&mail, Method::HEAD, "/me/messages", None);
    }

    #[test]
    fn what_another_reader_would_take_for_another_tool_is_none() {
        let mail = operations(&[
            "GET /me/messages/{id}",
            "GET /me/messages/$count",
            "GET /me/messages/delta",
            "GET /files/caf%C3%A9",
        ]);
        check(&mail, Method::GET, "/me/messages/$count", Some("GET /me/messages/$count"));
        check(&mail, Method::GET, "/me/messages/%24count", Some("GET /me/messages/$count"));
        check(&mail, Method::GET, "/me/messages/%24value", None);
        check(&mail, Method::GET, "/me/messages/$value", None);
        check(&mail, Method::GET, "/me/messages/Delta", None);
        check(&mail, Method::GET, "/me/messages/DELTA", None);
        check(&mail, Method::GET, "/me/messages/delta%20", None);
        check(&mail, Method::GET, "/me/messages/delta.", None);
        check(&mail, Method::GET, "/me/messages/%20delta", None);
        check(&mail, Method::GET, "/me/messages/AAMkAD%3D%3D", Some("GET /me/messages/{id}"));
        check(&mail, Method::GET, "/me/messages/ada%40example.test", Some("GET /me/messages/{id}"));
        check(&mail, Method::GET, "/files/caf%c3%a9", Some("GET /files/caf%C3%A9"));
    }

    #[test]
    fn what_is_encoded_in_a_template_is_text_and_no_parameter() {
        let files =
            operations(&["GET /a/%7Bid%7D", "GET /b/%7B*rest%7D", "GET /c/%7Bid%7D/{id}", "GET /d/%7B"]);
        check(&files, Method::GET, "/a/%7Bid%7D", Some("GET /a/%7Bid%7D"));
        check(&files, Method::GET, "/a/secrets", None);
        check(&files, Method::GET, "/b/%7B*rest%7D", Some("GET /b/%7B*rest%7D"));
        check(&files, Method::GET, "/b/x/$batch/y", None);
        check(&files, Method::GET, "/c/%7Bid%7D/1", Some("GET /c/%7Bid%7D/{id}"));
        check(&files, Method::GET, "/c/x/1", None);
        check(&files, Method::GET, "/d/%7B", Some("GET /d/%7B"));
    }

    #[test]
    fn a_letter_that_shares_its_upper_case_with_another_is_that_one_to_many_a_reader() {
        let people = operations(&["GET /people/{id}", "GET /people/secrets"]);
        check(&people, Method::GET, "/people/%C5%BFecrets", None);
        check(&people, Method::GET, "/people/stra%C3%9Fe", Some("GET /people/{id}"));
    }

    #[test]
    fn templates_that_differ_in_case_alone_overlap() {
        let mut operations = operations(&["GET /me/messages/delta"]);
        let twin: ToolMatch = "GET /me/messages/Delta".parse().expect("a match of the test");
        operations.add(&twin, String::new()).expect_err("the same requests to many a reader");
    }

    #[test]
    fn templates_that_cannot_be_told_apart_are_refused() {
        let mut operations = operations(&["GET /me/messages/{id}"]);
        let twin: ToolMatch = "GET /me/messages/{other}".parse().expect("a match of the test");
        let error = operations.add(&twin, String::new()).expect_err("the same requests");
        assert!(error.other.starts_with("GET /me/messages/{id}"), "{error}");
    }

    #[test]
    fn a_match_is_a_method_and_a_canonical_path() {
        for bad in [
            "/me",
            "GET",
            "GET /me /you",
            "get /me",
            "TRACE /me",
            "CONNECT /me",
            "GET me",
            "GET /me//x",
            "GET /me/{id",
            "GET /me/x{id}",
            "GET /me/{}",
            "GET /me/{*rest}",
            "GET /me/../x",
            "GET /me/{a b}",
        ] {
            assert!(bad.parse::<ToolMatch>().is_err(), "{bad}");
        }
    }
}
