//! `${NAME}` and `${NAME:-default}` in values. Expanded after the YAML is read, so that a value from the
//! environment is only ever text and can never become a key, a list or a second value.

use std::borrow::Cow;

/// Looks up an environment variable.
pub(super) type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Why a value cannot be expanded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum ExpandError {
    #[error(
        "names the environment variable {0}, which is not set: set it, or give a default with \
         `${{{0}:-value}}`"
    )]
    Unset(String),
    #[error("has `${{` without `}}`: write `${{NAME}}`, or `$${{` for the characters themselves")]
    Unclosed,
    #[error(
        "has `${{{0}}}`, which names no variable: write `${{NAME}}` or `${{NAME:-default}}`, or `$${{` for \
         the \
         characters themselves"
    )]
    Name(String),
    #[error("has `${{` within a default: defaults are plain text")]
    Nested,
}

/// Expands the variables in `text`. As in a shell, `:-` gives what is used when the variable is unset or
/// empty.
pub(super) fn expand<'a>(text: &'a str, environment: &Environment<'_>) -> Result<Cow<'a, str>, ExpandError> {
    if !text.contains("${") {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, reference) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = reference;
            continue;
        }
        let Some(end) = reference.find('}') else { return Err(ExpandError::Unclosed) };
        out.push_str(before);
        out.push_str(&value(&reference[..end], environment)?);
        rest = &reference[end + 1..];
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

fn value(reference: &str, environment: &Environment<'_>) -> Result<String, ExpandError> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    if !is_variable_name(name) {
        return Err(ExpandError::Name(reference.to_owned()));
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err(ExpandError::Nested);
    }
    match (environment(name), default) {
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(ExpandError::Unset(name.to_owned())),
    }
}

/// POSIX.1 section 8.1: letters, digits and `_`, not beginning with a digit.
pub(super) fn is_variable_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, ExpandError>) {
        let environment = |name: &str| match name {
            "HOST" => Some("issuer.example".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("a: b\n- ${HOST}".to_owned()),
            _ => None,
        };
        assert_eq!(expand(text, &environment), expected.map(Cow::Borrowed), "{text}");
    }

    #[test]
    fn variables_are_expanded_once_and_as_text() {
        check("plain", Ok("plain"));
        check("$HOST and $5", Ok("$HOST and $5"));
        check("https://${HOST}/a", Ok("https://issuer.example/a"));
        check("${HOST}${HOST}", Ok("issuer.exampleissuer.example"));
        check("${TRICK}", Ok("a: b\n- ${HOST}"));
        check("${EMPTY}", Ok(""));
    }

    #[test]
    fn a_default_is_used_when_the_variable_is_unset_or_empty() {
        check("${HOST:-other}", Ok("issuer.example"));
        check("${NONE:-127.0.0.1:8080}", Ok("127.0.0.1:8080"));
        check("${EMPTY:-other}", Ok("other"));
        check("${NONE:-}", Ok(""));
    }

    #[test]
    fn a_doubled_dollar_stands_for_itself() {
        check("$${HOST}", Ok("${HOST}"));
        check("a$${x}${HOST}", Ok("a${x}issuer.example"));
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        check("${NONE}", Err(ExpandError::Unset("NONE".to_owned())));
        check("${HOST", Err(ExpandError::Unclosed));
        check("${}", Err(ExpandError::Name(String::new())));
        check("${1A}", Err(ExpandError::Name("1A".to_owned())));
        check("${A B}", Err(ExpandError::Name("A B".to_owned())));
        check("${HOST-x}", Err(ExpandError::Name("HOST-x".to_owned())));
        check("${NONE:-${HOST}}", Err(ExpandError::Nested));
    }

    #[test]
    fn an_unset_variable_is_named_with_its_remedy() {
        assert_eq!(
            ExpandError::Unset("NONE".to_owned()).to_string(),
            "names the environment variable NONE, which is not set: set it, or give a default with \
             `${NONE:-value}`"
        );
    }
}
