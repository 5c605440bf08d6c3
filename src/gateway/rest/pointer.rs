//! Where in a JSON body an argument stands: a JSON pointer (RFC 6901) in which `*` stands for every element of a list.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde_json::Value;

use super::error::ArgumentFault;
use crate::gateway::tool_call::json_argument;
use crate::strict_json::same_but_for_case;
use crate::tool::{Argument, ArgumentType};

/// Most steps of a pointer: deeper than what agents are asked to fill in.
const STEPS_MAX: usize = 16;

/// A place in a JSON body, such as `/message/toRecipients/*/emailAddress/address`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BodyPointer(Arc<[Step]>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    /// A member of an object, or the element of a list with this number.
    Member(Box<str>),
    /// Every element of a list.
    Each,
}

/// Why a pointer cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BodyPointerError {
    /// It is not one.
    #[error("must be a JSON pointer like `/message/subject`, where `~1` stands for `/` and `~0` for `~`")]
    Form,
    /// It has too many steps.
    #[error("has more than {STEPS_MAX} steps")]
    TooDeep,
}

impl FromStr for BodyPointer {
    type Err = BodyPointerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let steps = text.strip_prefix('/').ok_or(BodyPointerError::Form)?;
        let steps = steps.split('/').map(Step::read).collect::<Result<Arc<[_]>, _>>()?;
        match steps.len() <= STEPS_MAX {
            true => Ok(Self(steps)),
            false => Err(BodyPointerError::TooDeep),
        }
    }
}

impl Step {
    fn read(text: &str) -> Result<Self, BodyPointerError> {
        if text == "*" {
            return Ok(Self::Each);
        }
        // RFC 6901 section 4.
        let mut rest = text;
        while let Some((_, after)) = rest.split_once('~') {
            if !after.starts_with(['0', '1']) {
                return Err(BodyPointerError::Form);
            }
            rest = after;
        }
        Ok(Self::Member(text.replace("~1", "/").replace("~0", "~").into()))
    }
}

impl fmt::Display for BodyPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| match step {
            Step::Member(name) => write!(f, "/{}", name.replace('~', "~0").replace('/', "~1")),
            Step::Each => f.write_str("/*"),
        })
    }
}

impl BodyPointer {
    /// A pointer to a member of the body itself.
    pub fn to_member(name: &str) -> Self {
        Self([Step::Member(name.into())].into())
    }

    /// Whether it can find several values.
    pub fn finds_several(&self) -> bool {
        self.0.contains(&Step::Each)
    }

    /// The argument that a body has here; `None` when it has none.
    ///
    /// # Errors
    ///
    /// [`ArgumentFault`] when it is of another kind, or a server could find another one.
    pub fn argument(&self, body: &Value, kind: ArgumentType) -> Result<Option<Argument>, ArgumentFault> {
        let mut found = Vec::new();
        find(body, &self.0, &mut found)?;
        let wrong = ArgumentFault::Type(kind.as_str());
        if self.finds_several() {
            let texts = found.iter().map(|value| value.as_str().map(str::to_owned));
            let texts = texts.collect::<Option<Vec<_>>>().filter(|_| kind == ArgumentType::Strings);
            let texts = texts.ok_or(wrong)?;
            return Ok((!texts.is_empty()).then_some(Argument::Strings(texts)));
        }
        match (found.as_slice(), kind) {
            ([], _) => Ok(None),
            ([Value::String(text)], ArgumentType::Strings) => Ok(Some(Argument::Strings(vec![text.clone()]))),
            ([value], _) => json_argument(kind, value).map(Some).ok_or(wrong),
            (_, _) => Err(wrong),
        }
    }
}

/// Adds what stands at the end of these steps to `found`.
fn find<'a>(value: &'a Value, steps: &[Step], found: &mut Vec<&'a Value>) -> Result<(), ArgumentFault> {
    let Some((step, steps)) = steps.split_first() else {
        found.push(value);
        return Ok(());
    };
    match (step, value) {
        (Step::Each, Value::Array(elements)) => {
            elements.iter().try_for_each(|element| find(element, steps, found))
        }
        (Step::Member(name), Value::Object(members)) => {
            // There are servers to whom a name in another case is the same.
            if members.keys().any(|given| **given != **name && same_but_for_case(given, name)) {
                return Err(ArgumentFault::Name);
            }
            members.get(&**name).map_or(Ok(()), |value| find(value, steps, found))
        }
        (Step::Member(number), Value::Array(elements)) => {
            let number = number.parse::<usize>().ok().filter(|read| read.to_string() == **number);
            let element = elements.get(number.ok_or(ArgumentFault::Place)?);
            element.map_or(Ok(()), |value| find(value, steps, found))
        }
        (Step::Each | Step::Member(_), _) => Err(ArgumentFault::Place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pointer(text: &str) -> BodyPointer {
        text.parse().expect("a pointer of the test")
    }

    #[track_caller]
    fn check(text: &str, kind: ArgumentType, expected: Result<Option<Argument>, ArgumentFault>) {
        let body = json!({
            "subject": "hello",
            "count": 3,
            "nothing": null,
            "a/b": { "m~n": true },
            "to": [{ "address": "ada" }, {}, { "address": "bob" }],
            "cc": ["eve"],
            "Twin": 1,
        });
        assert_eq!(pointer(text).argument(&body, kind), expected, "{text}");
    }

    fn text(text: &str) -> Argument {
        Argument::String(text.to_owned())
    }

    fn texts(texts: &[&str]) -> Argument {
        Argument::Strings(texts.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_argument_is_found_where_its_pointer_says() {
        use ArgumentType::{Boolean, Integer, String, Strings};
        check("/subject", String, Ok(Some(text("hello"))));
        check("/count", Integer, Ok(Some(Argument::Integer(3))));
        check("/a~1b/m~0n", Boolean, Ok(Some(Argument::Boolean(true))));
        check("/to/0/address", String, Ok(Some(text("ada"))));
        check("/to/0/address", Strings, Ok(Some(texts(&["ada"]))));
        check("/to/*/address", Strings, Ok(Some(texts(&["ada", "bob"]))));
        check("/cc", Strings, Ok(Some(texts(&["eve"]))));
        check("/cc/*", Strings, Ok(Some(texts(&["eve"]))));
    }

    #[test]
    fn what_is_not_there_is_no_argument() {
        check("/bcc/*", ArgumentType::Strings, Ok(None));
        for absent in ["/body", "/to/1/address", "/to/7/address", "/a~1b/x/y"] {
            check(absent, ArgumentType::String, Ok(None));
        }
    }

    #[test]
    fn what_is_of_another_kind_is_not_absent() {
        use ArgumentType::{Integer, String, Strings};
        check("/count", String, Err(ArgumentFault::Type("string")));
        check("/nothing", String, Err(ArgumentFault::Type("string")));
        check("/subject", Integer, Err(ArgumentFault::Type("integer")));
        check("/cc/*", String, Err(ArgumentFault::Type("string")));
        check("/to/*", Strings, Err(ArgumentFault::Type("strings")));
        check("/subject/x", String, Err(ArgumentFault::Place));
        check("/nothing/x", String, Err(ArgumentFault::Place));
        check("/to/address", String, Err(ArgumentFault::Place));
        check("/to/00/address", String, Err(ArgumentFault::Place));
        check("/a~1b/*", Strings, Err(ArgumentFault::Place));
    }

    #[test]
    fn a_name_in_another_case_does_not_pass_by() {
        check("/twin", ArgumentType::Integer, Err(ArgumentFault::Name));
        check("/SUBJECT", ArgumentType::String, Err(ArgumentFault::Name));
    }

    #[test]
    fn a_pointer_reads_as_it_is_written() {
        for good in ["/a", "/a~1b/~0", "/to/*/x", "/", "/0"] {
            assert_eq!(pointer(good).to_string(), good);
        }
        for bad in ["", "a", "/~", "/~2", "/a~"] {
            assert_eq!(bad.parse::<BodyPointer>(), Err(BodyPointerError::Form), "{bad}");
        }
        assert!("/a".repeat(STEPS_MAX).parse::<BodyPointer>().is_ok());
        assert_eq!("/a".repeat(STEPS_MAX + 1).parse::<BodyPointer>(), Err(BodyPointerError::TooDeep));
    }
}
