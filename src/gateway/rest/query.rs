//! The query of a call whose tool has arguments in it: read once, strictly, and written anew.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::arguments::{ArgumentPlace, DeclaredArgument, text_argument};
use super::error::{ArgumentFault, RestError};
use crate::strict_json::fold;
use crate::tool::{Argument, ArgumentType, Arguments};

/// What is percent-encoded in a value: all but what RFC 3986 section 2.3 leaves as it is, and `$`, by which OData's own
/// parameters begin.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'$');

/// Reads the declared arguments of a query into `arguments`, and writes the query anew: those from what was read, and other
/// parameters as they came, none of which a server could take for one of them.
///
/// # Errors
///
/// [`RestError`] when an argument, or a name, could be read in more than one way, or is of another type.
pub fn read(
    query: &str,
    declared: &[DeclaredArgument],
    arguments: &mut Arguments,
) -> Result<String, RestError> {
    let declared: Vec<_> = declared.iter().filter_map(Parameter::of).collect();
    let mut given: Vec<Vec<String>> = vec![Vec::new(); declared.len()];
    let mut written = String::with_capacity(query.len());
    for piece in query.split('&') {
        // To some servers it separates parameters.
        if piece.contains(';') {
            return Err(RestError::Query("has a `;`, which some servers take for a separator"));
        }
        let (name, value) = piece.split_once('=').map_or((piece, None), |(name, value)| (name, Some(value)));
        let decoded = decode(name).ok_or(RestError::Query("has a name that is not plainly encoded"))?;
        let mut anew = None;
        if let Some(at) = declared.iter().position(|parameter| parameter.is_named(&decoded)) {
            let refused = |fault| declared[at].refused(fault);
            if encodes_needlessly(name) {
                return Err(refused(ArgumentFault::Name));
            }
            let value = value.ok_or(refused(ArgumentFault::Encoding))?;
            let value = decode(value).ok_or(refused(ArgumentFault::Encoding))?.into_owned();
            anew = Some(format!("{}={}", encode(&decoded), encode(&value)));
            given[at].push(value);
        } else if let Some(twin) = declared.iter().find(|parameter| parameter.could_be_named(&decoded)) {
            return Err(twin.refused(ArgumentFault::Name));
        }
        if !written.is_empty() {
            written.push('&');
        }
        written.push_str(anew.as_deref().unwrap_or(piece));
    }
    for (parameter, values) in declared.iter().zip(given) {
        if let Some(argument) = parameter.argument(values)? {
            arguments.insert(parameter.declared.name.clone(), argument);
        }
    }
    Ok(written)
}

/// The names and values of a query or a form; `None` when readers could take it differently.
pub fn plain_fields(text: &str) -> Option<Vec<(String, String)>> {
    if text.contains(';') {
        return None;
    }
    let field = |piece: &str| {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        Some((decode(name)?.into_owned(), decode(value)?.into_owned()))
    };
    text.split('&').filter(|piece| !piece.is_empty()).map(field).collect()
}

/// A parameter of the query that is an argument.
struct Parameter<'a> {
    declared: &'a DeclaredArgument,
    name: &'a str,
}

impl<'a> Parameter<'a> {
    fn of(declared: &'a DeclaredArgument) -> Option<Self> {
        match &declared.place {
            ArgumentPlace::Query(name) => Some(Self { declared, name }),
            ArgumentPlace::Path(_) | ArgumentPlace::Body(_) => None,
        }
    }

    fn is_named(&self, given: &str) -> bool {
        self.name == given
    }

    /// Whether there are servers that take a parameter of this name for the argument.
    fn could_be_named(&self, given: &str) -> bool {
        // PHP, Rails and others make a list or a mapping of `name[]` and `name[x]`.
        let given = match self.name.contains('[') {
            true => given,
            false => given.split('[').next().unwrap_or_default(),
        };
        simplified(self.name).eq(simplified(given))
    }

    fn argument(&self, mut values: Vec<String>) -> Result<Option<Argument>, RestError> {
        let kind = self.declared.kind;
        if kind == ArgumentType::Strings {
            // Servers that do not read a parameter twice read a list with commas.
            if values.iter().any(|value| value.contains(',')) {
                return Err(self.refused(ArgumentFault::Type("strings, one to each parameter")));
            }
            return Ok(
                Some(Argument::Strings(values)).filter(|texts| *texts != Argument::Strings(Vec::new()))
            );
        }
        let Some(value) = values.pop() else { return Ok(None) };
        if !values.is_empty() {
            return Err(self.refused(ArgumentFault::Repeated));
        }
        text_argument(kind, &value).map(Some).map_err(|fault| self.refused(fault))
    }

    fn refused(&self, fault: ArgumentFault) -> RestError {
        self.declared.refused(fault)
    }
}

/// The name as the most lenient of servers compare it: without case, blanks around it, and the `$` that OData 4.01 lets
/// agents leave out; PHP makes a `_` of blanks and dots.
fn simplified(name: &str) -> impl Iterator<Item = char> {
    let name = name.trim();
    let plain = |character| if matches!(character, '.' | ' ') { '_' } else { character };
    fold(name.strip_prefix('$').unwrap_or(name)).map(plain)
}

/// What a name or a value says, by the rules of HTML forms, under which `+` is a blank; `None` when readers could differ.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    let is_hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
    if !text.split('%').skip(1).all(|rest| rest.as_bytes().get(..2).is_some_and(is_hex)) {
        return None;
    }
    let spaced = match text.contains('+') {
        true => Cow::Owned(text.replace('+', " ")),
        false => Cow::Borrowed(text),
    };
    let decoded = match spaced {
        Cow::Borrowed(text) => percent_decode_str(text).decode_utf8().ok()?,
        Cow::Owned(text) => Cow::Owned(percent_decode_str(&text).decode_utf8().ok()?.into_owned()),
    };
    let is_plain = |character: char| !character.is_control() || matches!(character, '\t' | '\n' | '\r');
    decoded.chars().all(is_plain).then_some(decoded)
}

/// Whether something is encoded that needs no encoding: servers that compare before they decode take it for another name.
fn encodes_needlessly(name: &str) -> bool {
    let octets = name.split('%').skip(1).filter_map(|rest| u8::from_str_radix(rest.get(..2)?, 16).ok());
    octets.into_iter().any(|octet| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet))
}

fn encode(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, ENCODED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(name: &str, kind: ArgumentType) -> DeclaredArgument {
        let argument = name.trim_start_matches('$');
        DeclaredArgument { name: argument.into(), kind, place: ArgumentPlace::Query(name.into()) }
    }

    fn read_query(query: &str) -> Result<(Arguments, String), RestError> {
        let declared = [
            declared("folder", ArgumentType::String),
            declared("top", ArgumentType::Integer),
            declared("deep", ArgumentType::Boolean),
            declared("to", ArgumentType::Strings),
            declared("$filter", ArgumentType::String),
        ];
        let mut arguments = Arguments::new();
        read(query, &declared, &mut arguments).map(|written| (arguments, written))
    }

    #[track_caller]
    fn check(query: &str, name: &str, expected: Argument, written: &str) {
        let expected = Arguments::from([(name.into(), expected)]);
        assert_eq!(read_query(query), Ok((expected, written.to_owned())), "{query}");
    }

    #[track_caller]
    fn check_refused(query: &str, name: &str, fault: ArgumentFault) {
        assert_eq!(read_query(query), Err(RestError::Argument { name: name.into(), fault }), "{query}");
    }

    fn text(text: &str) -> Argument {
        Argument::String(text.to_owned())
    }

    #[test]
    fn an_argument_is_decoded_once_and_written_anew() {
        check("folder=inbox", "folder", text("inbox"), "folder=inbox");
        check("folder=", "folder", text(""), "folder=");
        check("folder=a+b%20c%2Bd", "folder", text("a b c+d"), "folder=a%20b%20c%2Bd");
        check("folder=caf%c3%a9", "folder", text("café"), "folder=caf%C3%A9");
        check("folder=a%26top=1", "folder", text("a&top=1"), "folder=a%26top%3D1");
        check("folder=x%252Fy", "folder", text("x%2Fy"), "folder=x%252Fy");
        check("folder=a%0D%0AHost:%20b", "folder", text("a\r\nHost: b"), "folder=a%0D%0AHost%3A%20b");
        check("top=-5", "top", Argument::Integer(-5), "top=-5");
        check("deep=true", "deep", Argument::Boolean(true), "deep=true");
        check("to=a&to=b", "to", Argument::Strings(vec!["a".into(), "b".into()]), "to=a&to=b");
        check("$filter=a%20eq%201", "filter", text("a eq 1"), "$filter=a%20eq%201");
        check("%24filter=x", "filter", text("x"), "$filter=x");
        check("a=%zz&folder=x&b", "folder", text("x"), "a=%zz&folder=x&b");
    }

    #[test]
    fn fields_are_read_where_everybody_reads_them_alike() {
        let fields = |text| plain_fields(text).map(|fields| format!("{fields:?}"));
        let plain = r#"[("to", "a b@c"), ("to", "é"), ("draft", "")]"#;
        assert_eq!(fields("to=a+b%40c&to=%C3%A9&&draft").as_deref(), Some(plain));
        assert_eq!(fields("").as_deref(), Some("[]"));
        for odd in ["a=1;b=2", "a=%", "a=%ff", "a=%00", "%zz=1"] {
            assert_eq!(fields(odd), None, "{odd}");
        }
    }

    #[test]
    fn what_is_not_declared_goes_on_as_it_came() {
        for query in ["", "a=b", "a=%2f&a=+&b", "files[]=x", "x=folder"] {
            assert_eq!(read_query(query), Ok((Arguments::new(), query.to_owned())));
        }
    }

    #[test]
    fn an_argument_that_is_given_twice_is_refused() {
        check_refused("folder=a&folder=b", "folder", ArgumentFault::Repeated);
        check_refused("folder=a&folder=a", "folder", ArgumentFault::Repeated);
        check_refused("folder=a&%66older=b", "folder", ArgumentFault::Name);
    }

    #[test]
    fn a_name_that_some_server_takes_for_an_arguments_is_refused() {
        for twin in [
            "Folder=x",
            "FOLDER=x",
            "folder[]=x",
            "folder[0]=x",
            "folder%5B%5D=x",
            "+folder=x",
            "folder%20=x",
            "$folder=x",
            "f%6flder=x",
            "%66older=x",
        ] {
            check_refused(twin, "folder", ArgumentFault::Name);
            check_refused(&format!("folder=inbox&{twin}"), "folder", ArgumentFault::Name);
        }
        check_refused("filter=x", "filter", ArgumentFault::Name);
        check_refused("to[]=x", "to", ArgumentFault::Name);
    }

    #[test]
    fn an_argument_is_of_its_type() {
        for wrong in ["5.0", "05", "+5", "-0", "", "0x5", "9223372036854775808", "%205"] {
            check_refused(&format!("top={wrong}"), "top", ArgumentFault::Type("integer"));
        }
        for wrong in ["True", "1", "", "yes"] {
            check_refused(&format!("deep={wrong}"), "deep", ArgumentFault::Type("boolean"));
        }
        check_refused("to=a,b", "to", ArgumentFault::Type("strings, one to each parameter"));
        check_refused("to=a%2Cb", "to", ArgumentFault::Type("strings, one to each parameter"));
    }

    #[test]
    fn what_is_encoded_so_that_readers_differ_is_refused() {
        for wrong in ["%", "%4", "%zz", "%c0%ae", "%ff", "%00", "a%00b", "%1b"] {
            check_refused(&format!("folder={wrong}"), "folder", ArgumentFault::Encoding);
        }
        check_refused("folder", "folder", ArgumentFault::Encoding);
        for query in ["folder=a;folder=b", "a=b;c=d", "%zz=x", "fol%00der=x", "%ff=x"] {
            assert!(matches!(read_query(query), Err(RestError::Query(_))), "{query}");
        }
    }
}
