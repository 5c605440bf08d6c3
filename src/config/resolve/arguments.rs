//! `arguments` of a tool: what policies can look at, and where a REST call has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::values;
use crate::config::at::At;
use crate::config::file::{self, Argument};
use crate::gateway::rest::ToolMatch;
use crate::gateway::rest::arguments::{ArgumentPlace, DeclaredArgument, DeclaredArguments};
use crate::gateway::rest::pointer::BodyPointer;
use crate::tool::ArgumentType;

const WHAT_TYPES: &str = "give `string`, `integer`, `boolean` or `strings`";
const WHAT_PLACES: &str = "say where it stands, with `query`, `path` or `body`";

/// The type of each argument.
pub fn types(tool: &file::Tool, at: &At<'_>) -> Option<BTreeMap<Arc<str>, ArgumentType>> {
    let checked: Vec<_> = given(tool)
        .iter()
        .map(|(name, argument)| {
            let at = at.key(name);
            values::check_name(&at, name);
            let kind = at.key("type").required(argument.kind, WHAT_TYPES)?;
            Some((Arc::from(name.as_str()), kind_of(kind)))
        })
        .collect();
    checked.into_iter().collect()
}

/// Where the arguments of a REST tool stand.
pub fn places(tool: &file::Tool, operation: &ToolMatch, at: &At<'_>) -> Option<DeclaredArguments> {
    let mut declared: Vec<DeclaredArgument> = Vec::new();
    let mut sound = true;
    for (name, argument) in given(tool) {
        let at = at.key(name);
        // That it has none has been noted with the types.
        let Some(kind) = argument.kind.map(kind_of) else { continue };
        let Some(place) = place(argument, kind, operation, &at) else {
            sound = false;
            continue;
        };
        if let Some(other) = declared.iter().find(|other| other.place == place) {
            at.fault(format_args!("stands where `{}` does: leave out one of the two", other.name));
            sound = false;
        }
        declared.push(DeclaredArgument { name: Arc::from(name.as_str()), kind, place });
    }
    sound.then(|| DeclaredArguments::new(declared))
}

/// Notes where an argument of an MCP tool says where it stands.
pub fn check_unplaced(tool: &file::Tool, at: &At<'_>) {
    for (name, argument) in given(tool) {
        let at = at.key(name);
        let Argument { kind: _, query, path, body } = argument;
        for (key, place) in [("query", query), ("path", path), ("body", body)] {
            if place.is_some() {
                at.key(key).fault(
                    "is for a REST API: leave it out, since a call of an MCP tool has its arguments by name",
                );
            }
        }
    }
}

fn given(tool: &file::Tool) -> &[(String, Argument)] {
    tool.arguments.as_ref().map(|arguments| arguments.0.as_slice()).unwrap_or_default()
}

fn kind_of(kind: file::ArgumentType) -> ArgumentType {
    match kind {
        file::ArgumentType::String => ArgumentType::String,
        file::ArgumentType::Integer => ArgumentType::Integer,
        file::ArgumentType::Boolean => ArgumentType::Boolean,
        file::ArgumentType::Strings => ArgumentType::Strings,
    }
}

fn place(
    argument: &Argument,
    kind: ArgumentType,
    operation: &ToolMatch,
    at: &At<'_>,
) -> Option<ArgumentPlace> {
    let Argument { kind: _, query, path, body } = argument;
    match (query, path, body) {
        (Some(query), None, None) => Some(ArgumentPlace::Query(query.as_str().into())),
        (None, Some(path), None) => path_place(path, kind, operation, &at.key("path")),
        (None, None, Some(body)) => body_place(body, kind, &at.key("body")),
        (None, None, None) => at.required(None, WHAT_PLACES),
        (_, _, _) => {
            at.fault("stands in several places: keep one of `query`, `path` and `body`");
            None
        }
    }
}

fn path_place(name: &str, kind: ArgumentType, operation: &ToolMatch, at: &At<'_>) -> Option<ArgumentPlace> {
    match operation.parameters_named(name) {
        1 if kind == ArgumentType::Strings => {
            at.fault("is one text: its type cannot be `strings`");
            None
        }
        1 => Some(ArgumentPlace::Path(name.into())),
        0 => {
            at.fault_found("is no parameter of `match`");
            None
        }
        _ => {
            at.fault_found("stands more than once in `match`: name its parameters differently");
            None
        }
    }
}

fn body_place(pointer: &str, kind: ArgumentType, at: &At<'_>) -> Option<ArgumentPlace> {
    let pointer: BodyPointer = at.checked(pointer.parse())?;
    if pointer.finds_several() && kind != ArgumentType::Strings {
        at.fault_found("can find several texts: its type has to be `strings`");
        return None;
    }
    Some(ArgumentPlace::Body(pointer))
}
