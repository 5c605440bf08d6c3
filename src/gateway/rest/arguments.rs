//! The arguments of a REST call that policy may look at: segments of its path, parameters of its query, members of its body.

use std::sync::Arc;

use serde_json::Value;

use super::error::{ArgumentFault, RestError};
use super::pointer::BodyPointer;
use super::query;
use crate::tool::{Argument, ArgumentType, Arguments};

/// An argument that a REST tool declares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeclaredArgument {
    /// What policies call it.
    pub name: Arc<str>,
    /// What kind of value it has.
    pub kind: ArgumentType,
    /// Where it stands.
    pub place: ArgumentPlace,
}

/// Where an argument stands in a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ArgumentPlace {
    /// In this segment of the tool's path.
    Path(Arc<str>),
    /// In this parameter of the query.
    Query(Arc<str>),
    /// In the body, here.
    Body(BodyPointer),
}

/// The arguments that a tool declares.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeclaredArguments(Arc<[DeclaredArgument]>);

impl DeclaredArgument {
    pub(super) fn refused(&self, fault: ArgumentFault) -> RestError {
        RestError::Argument { name: self.name.clone(), fault }
    }
}

impl DeclaredArguments {
    /// These.
    pub fn new(declared: Vec<DeclaredArgument>) -> Self {
        Self(declared.into())
    }

    /// Whether some of them stand in the body.
    pub fn read_body(&self) -> bool {
        self.0.iter().any(|argument| matches!(argument.place, ArgumentPlace::Body(_)))
    }

    /// Reads those that stand in the path; `segment` gives what a segment of the template stands for, decoded.
    ///
    /// # Errors
    ///
    /// [`RestError`] when one is of another type.
    pub fn read_path<'a>(
        &self,
        segment: impl Fn(&str) -> Option<&'a str>,
        arguments: &mut Arguments,
    ) -> Result<(), RestError> {
        for declared in self.0.iter() {
            let ArgumentPlace::Path(name) = &declared.place else { continue };
            let Some(text) = segment(name) else { continue };
            let argument = text_argument(declared.kind, text).map_err(|fault| declared.refused(fault))?;
            arguments.insert(declared.name.clone(), argument);
        }
        Ok(())
    }

    /// Reads those that stand in the query, and writes it anew. `None`: there are none, and the query goes on as it is.
    ///
    /// # Errors
    ///
    /// [`RestError`] when one is of another type, or could be read in more than one way.
    pub fn read_query(
        &self,
        query: Option<&str>,
        arguments: &mut Arguments,
    ) -> Result<Option<String>, RestError> {
        let in_query = |argument: &DeclaredArgument| matches!(argument.place, ArgumentPlace::Query(_));
        match query.filter(|_| self.0.iter().any(in_query)) {
            Some(query) => query::read(query, &self.0, arguments).map(Some),
            None => Ok(None),
        }
    }

    /// Reads those that stand in the body.
    ///
    /// # Errors
    ///
    /// [`RestError`] when one is of another type, or could be read in more than one way.
    pub fn read_json(&self, body: &Value, arguments: &mut Arguments) -> Result<(), RestError> {
        for declared in self.0.iter() {
            let ArgumentPlace::Body(pointer) = &declared.place else { continue };
            let argument = pointer.argument(body, declared.kind).map_err(|fault| declared.refused(fault))?;
            arguments.extend(argument.map(|argument| (declared.name.clone(), argument)));
        }
        Ok(())
    }
}

/// An argument that is given as text, in the one way of writing it.
pub(super) fn text_argument(kind: ArgumentType, text: &str) -> Result<Argument, ArgumentFault> {
    let wrong = ArgumentFault::Type(kind.as_str());
    match kind {
        ArgumentType::String => Ok(Argument::String(text.to_owned())),
        ArgumentType::Integer => {
            let number = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
            number.map(Argument::Integer).ok_or(wrong)
        }
        ArgumentType::Boolean => text.parse().map(Argument::Boolean).map_err(|_| wrong),
        ArgumentType::Strings => Ok(Argument::Strings(vec![text.to_owned()])),
    }
}
