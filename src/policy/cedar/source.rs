//! Cedar text as it is written: where each policy begins and ends, and what each names.
//!
//! Only as much of the language as tells strings and comments from the rest. What a policy means, Cedar reads.

use std::ops::Range;

/// A place in a policy file. Lines and columns begin at 1; columns count characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// Which of the files.
    pub file: usize,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
    /// How many characters, on that line.
    pub length: usize,
}

impl Place {
    /// The place of a stretch of bytes. What goes on beyond its first line is left out.
    pub fn of(file: usize, text: &str, span: Range<usize>) -> Self {
        let start =
            (0..=span.start.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or_default();
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = text[start..].lines().next().unwrap_or_default();
        let length = rest.char_indices().take_while(|(at, _)| start + at < span.end).count();
        Self {
            file,
            line: before.matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            length: length.max(1),
        }
    }
}

/// The stretches of a text that are policies, each with the `;` that ends it. What follows the last one is a stretch as
/// well, unless it is nothing but blanks and comments.
pub fn policies(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = None;
    for Token { kind, span } in tokens(text) {
        let begun = *start.get_or_insert(span.start);
        if kind == TokenKind::Other(';') {
            found.push(begun..span.end);
            start = None;
        }
    }
    found.extend(start.map(|start| start..text.trim_end().len()));
    found
}

/// The entities that are named in a text, such as `Tool::"mail/send"`: type, id and place.
pub fn entities(text: &str) -> Vec<(String, String, Range<usize>)> {
    let mut found = Vec::new();
    // The type so far, where it began, and whether `::` came last.
    let mut path: Option<(String, usize, bool)> = None;
    for Token { kind, span } in tokens(text) {
        path = match (kind, path) {
            (TokenKind::Word, Some((path, start, true))) => {
                Some((format!("{path}::{}", &text[span]), start, false))
            }
            (TokenKind::Word, _) => Some((text[span.clone()].to_owned(), span.start, false)),
            (TokenKind::PathSeparator, Some((path, start, false))) => Some((path, start, true)),
            (TokenKind::Text, Some((path, start, true))) => {
                let quoted = text[span.clone()].trim_matches('"');
                found.push((path, unescaped(quoted), start..span.end));
                None
            }
            (TokenKind::PathSeparator | TokenKind::Text | TokenKind::Other(_), _) => None,
        };
    }
    found
}

/// The annotations of a policy, such as `@id("readers")`: name and place.
pub fn annotations(text: &str) -> Vec<(String, Range<usize>)> {
    let mut found: Vec<(String, Range<usize>)> = Vec::new();
    let mut tokens = tokens(text).peekable();
    while let Some(token) = tokens.next() {
        let Some(name) = (token.kind == TokenKind::Other('@'))
            .then(|| tokens.next_if(|next| next.kind == TokenKind::Word))
            .flatten()
        else {
            continue;
        };
        let mut end = name.span.end;
        for kind in [TokenKind::Other('('), TokenKind::Text, TokenKind::Other(')')] {
            let Some(part) = tokens.next_if(|next| next.kind == kind) else { break };
            end = part.span.end;
        }
        found.push((text[name.span].to_owned(), token.span.start..end));
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TokenKind {
    Word,
    PathSeparator,
    Text,
    Other(char),
}

struct Token {
    kind: TokenKind,
    span: Range<usize>,
}

fn tokens(text: &str) -> impl Iterator<Item = Token> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = &text[at..];
            let first = rest.chars().next()?;
            let start = at;
            let (kind, length) = if first.is_whitespace() {
                (None, first.len_utf8())
            } else if rest.starts_with("//") {
                (None, rest.find('\n').unwrap_or(rest.len()))
            } else if first == '"' {
                (Some(TokenKind::Text), text_length(rest))
            } else if rest.starts_with("::") {
                (Some(TokenKind::PathSeparator), 2)
            } else if is_word(first) {
                (Some(TokenKind::Word), rest.find(|c| !is_word(c)).unwrap_or(rest.len()))
            } else {
                (Some(TokenKind::Other(first)), first.len_utf8())
            };
            at += length;
            if let Some(kind) = kind {
                return Some(Token { kind, span: start..at });
            }
        }
    })
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The length of the text in quotes that `rest` begins with, quotes included. One without an end goes to the end.
fn text_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// What stands for itself in a text. It serves to find places: escapes that are rare in names stay as they are.
fn unescaped(quoted: &str) -> String {
    quoted.replace("\\\"", "\"").replace("\\'", "'").replace("\\\\", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_policies(text: &str, expected: &[&str]) {
        let found: Vec<&str> = policies(text).into_iter().map(|span| &text[span]).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_semicolon_ends_a_policy_unless_it_is_in_a_text_or_a_comment() {
        check_policies("", &[]);
        check_policies(" // nothing; but talk\n", &[]);
        check_policies("a \"; \\\"; \" b; // c;\n@id(\"x\")\nd;\n", &["a \"; \\\"; \" b;", "@id(\"x\")\nd;"]);
        check_policies("a; b ", &["a;", "b"]);
        check_policies("a \"unclosed; b;", &["a \"unclosed; b;"]);
        check_policies("é;ü", &["é;", "ü"]);
    }

    #[track_caller]
    fn check_entities(text: &str, expected: &[(&str, &str, &str)]) {
        let found = entities(text);
        let found: Vec<_> =
            found.iter().map(|(kind, id, span)| (kind.as_str(), id.as_str(), &text[span.clone()])).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn entities_are_found_where_they_are_named() {
        check_entities(
            "x in [Tool::\"a/b\", A :: B::\"c\\\"d\"] // Tool::\"no\"\n && y == \"Tool::z\"",
            &[("Tool", "a/b", "Tool::\"a/b\""), ("A::B", "c\"d", "A :: B::\"c\\\"d\"")],
        );
        check_entities("ip(\"1\") a: \"b\" c \"d\" :: \"e\" Tool::", &[]);
    }

    #[test]
    fn annotations_are_found_where_they_are_written() {
        let found = |text: &str| -> Vec<(String, String)> {
            let found = annotations(text).into_iter();
            found.map(|(name, span)| (name, text[span].to_owned())).collect()
        };
        let of = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        assert_eq!(
            found(
                "@id(\"a @b(\\\"\") // @no(\"x\")\n@ if @confirm ( \"page\" )\npermit(x) when { y == \"@z\" };"
            ),
            [of("id", "@id(\"a @b(\\\"\")"), of("if", "@ if"), of("confirm", "@confirm ( \"page\" )")]
        );
        assert_eq!(found("@ @é(\"x\" @"), [of("é", "@é(\"x\"")]);
    }

    #[test]
    fn a_place_counts_lines_and_characters() {
        let text = "é\n  ö Tool::\"x\"\nmore";
        let at = text.find("Tool").expect("there");
        let place = Place::of(2, text, at..at + 40);
        assert_eq!(place, Place { file: 2, line: 2, column: 5, length: 9 });
        assert_eq!(Place::of(0, "", 5..9), Place { file: 0, line: 1, column: 1, length: 1 });
        assert_eq!(Place::of(0, "é", 1..1).column, 1);
    }
}
