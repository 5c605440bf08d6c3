//! The arguments of a call that policy may look at.

use serde_json::{Map, Value};

use super::McpError;
use crate::gateway::tool_call::json_argument;
use crate::strict_json::same_but_for_case;
use crate::tool::{Arguments, Tool};

/// The arguments that `tool` declares, as far as the call has them.
///
/// # Errors
///
/// [`McpError::Argument`] when one is of another kind than declared: nobody could say what policy would make of it.
pub fn declared_arguments(tool: &Tool, given: Option<&Map<String, Value>>) -> Result<Arguments, McpError> {
    let Some(given) = given else { return Ok(Arguments::new()) };
    let mut arguments = Arguments::new();
    for (name, &expected) in tool.arguments.iter() {
        let refused = || McpError::Argument { name: name.clone(), expected: expected.as_str() };
        // There are servers to whom a name in another case is the same.
        if given.keys().any(|given| **given != **name && same_but_for_case(given, name)) {
            return Err(refused());
        }
        if let Some(value) = given.get(name.as_ref()) {
            arguments.insert(name.clone(), json_argument(expected, value).ok_or_else(refused)?);
        }
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::{Argument, ArgumentType};
    use serde_json::json;
    use std::sync::Arc;

    #[track_caller]
    fn check(expected: ArgumentType, value: Value, argument: Option<Argument>) {
        let declared = Arc::new([(Arc::from("a"), expected)].into());
        let tool = Tool { arguments: declared, ..Tool::of("notes", "read") };
        let given = json!({ "a": value, "b": 1 });
        let read = declared_arguments(&tool, given.as_object());
        match (read, argument) {
            (Ok(read), Some(argument)) => assert_eq!(read, Arguments::from([(Arc::from("a"), argument)])),
            (Err(McpError::Argument { name, .. }), None) => assert_eq!(&*name, "a"),
            (read, argument) => panic!("{read:?}, {argument:?} was expected"),
        }
    }

    #[test]
    fn an_argument_is_of_its_kind_or_the_call_is_refused() {
        let text = |text: &str| Argument::String(text.to_owned());
        check(ArgumentType::String, json!("x"), Some(text("x")));
        check(ArgumentType::Integer, json!(-5), Some(Argument::Integer(-5)));
        check(ArgumentType::Boolean, json!(false), Some(Argument::Boolean(false)));
        check(ArgumentType::Strings, json!([]), Some(Argument::Strings(Vec::new())));
        check(
            ArgumentType::Strings,
            json!(["x", "y"]),
            Some(Argument::Strings(vec!["x".into(), "y".into()])),
        );
        for (expected, value) in [
            (ArgumentType::String, json!(null)),
            (ArgumentType::String, json!(["x"])),
            (ArgumentType::Integer, json!(5.0)),
            (ArgumentType::Integer, json!("5")),
            (ArgumentType::Boolean, json!("true")),
            (ArgumentType::Strings, json!("x")),
            (ArgumentType::Strings, json!(["x", 1])),
        ] {
            check(expected, value, None);
        }
    }

    #[test]
    fn a_name_in_another_case_does_not_pass_by() {
        let declared = Arc::new([(Arc::from("folder"), ArgumentType::String)].into());
        let tool = Tool { arguments: declared, ..Tool::of("notes", "read") };
        for twin in ["Folder", "FOLDER"] {
            let given = json!({ twin: "x" });
            assert!(declared_arguments(&tool, given.as_object()).is_err(), "{twin}");
        }
    }

    #[test]
    fn what_is_not_declared_is_not_looked_at() {
        let tool = Tool::of("notes", "read");
        let given = json!({ "a": 1 });
        assert_eq!(declared_arguments(&tool, given.as_object()).expect("nothing"), Arguments::new());
        assert_eq!(declared_arguments(&tool, None).expect("nothing"), Arguments::new());
    }
}
