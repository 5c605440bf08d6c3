//! The canonical form of a call's arguments, so that the same ones always have the same digest: JSON without white space, the
//! members of each object in the order of their names' bytes, and numbers as they are written when they go on.

use std::io::Write as _;

use serde_json::{Map, Value};

use crate::digest::sha256;
use crate::tool::{Argument, Arguments};

/// The SHA-256 of the canonical form of these members.
pub fn digest(members: &Map<String, Value>) -> [u8; 32] {
    let mut form = Vec::new();
    write_object(members, &mut form);
    sha256(&form)
}

/// The canonical form itself.
pub fn form(value: &Value) -> Vec<u8> {
    let mut form = Vec::new();
    write(value, &mut form);
    form
}

/// The SHA-256 of the canonical form of arguments that were read by what their tool declares.
pub fn digest_of_declared(arguments: &Arguments) -> [u8; 32] {
    let value = |argument: &Argument| match argument {
        Argument::String(text) => text.as_str().into(),
        Argument::Integer(number) => (*number).into(),
        Argument::Boolean(value) => (*value).into(),
        Argument::Strings(texts) => texts.as_slice().into(),
    };
    digest(&arguments.iter().map(|(name, argument)| (name.to_string(), value(argument))).collect())
}

/// Messages are of bounded depth, so this is, too.
fn write(value: &Value, form: &mut Vec<u8>) {
    match value {
        Value::Object(members) => write_object(members, form),
        Value::Array(values) => {
            form.push(b'[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    form.push(b',');
                }
                write(value, form);
            }
            form.push(b']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            write!(form, "{value}").expect("memory takes any bytes");
        }
    }
}

fn write_object(members: &Map<String, Value>, form: &mut Vec<u8>) {
    let mut names: Vec<&String> = members.keys().collect();
    names.sort_unstable();
    form.push(b'{');
    for (index, name) in names.into_iter().enumerate() {
        if index > 0 {
            form.push(b',');
        }
        write!(form, "{}:", Value::from(name.as_str())).expect("memory takes any bytes");
        write(&members[name], form);
    }
    form.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn of(value: &Value) -> [u8; 32] {
        digest(value.as_object().expect("an object of the test"))
    }

    #[test]
    fn the_order_of_members_makes_no_difference_and_anything_else_does() {
        let one: Value = serde_json::from_str(r#"{"b":[1,{"y":null,"x":"é\""}],"a":true}"#).expect("JSON");
        let other: Value =
            serde_json::from_str(r#"{ "a": true, "b": [1, {"x": "é\"", "y": null}] }"#).expect("JSON");
        assert_eq!(of(&one), of(&other));
        assert_eq!(of(&one), sha256(r#"{"a":true,"b":[1,{"x":"é\"","y":null}]}"#.as_bytes()));
        for changed in [
            json!({"a": true, "b": [{"x": "é\"", "y": null}, 1]}),
            json!({"a": "true", "b": [1, {"x": "é\"", "y": null}]}),
            json!({"a": true, "b": [1, {"x": "é\""}]}),
        ] {
            assert_ne!(of(&one), of(&changed), "{changed}");
        }
    }

    #[test]
    fn declared_arguments_have_the_form_of_the_same_members() {
        let arguments = Arguments::from([
            (Arc::from("top"), Argument::Integer(-5)),
            (Arc::from("folder"), Argument::String("in\nbox".to_owned())),
            (Arc::from("to"), Argument::Strings(vec!["b".to_owned(), "a".to_owned()])),
            (Arc::from("urgent"), Argument::Boolean(false)),
        ]);
        let members = json!({"folder": "in\nbox", "to": ["b", "a"], "top": -5, "urgent": false});
        assert_eq!(digest_of_declared(&arguments), of(&members));
    }
}
