//! Challenges as a client reads them (RFC 9110 section 11.6.1), without the help of what writes them.

use reqwest::Response;

/// One challenge: its scheme and its parameters.
#[derive(PartialEq, Eq, Debug)]
pub struct Challenge {
    pub scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The one challenge of an answer.
    pub fn of(response: &Response) -> Self {
        let mut headers = response.headers().get_all("www-authenticate").iter();
        let header = headers.next().expect("a challenge").to_str().expect("text");
        assert!(headers.next().is_none(), "one challenge");
        Self::parse(header)
    }

    fn parse(header: &str) -> Self {
        let (scheme, mut rest) = header.split_once(' ').unwrap_or((header, ""));
        let mut parameters = Vec::new();
        while !rest.is_empty() {
            let (name, after) =
                rest.split_once("=\"").unwrap_or_else(|| panic!("a quoted parameter: {rest}"));
            let (value, after) = quoted(after);
            let name = name.trim().to_ascii_lowercase();
            assert!(!parameters.iter().any(|(other, _)| *other == name), "{name} once: {header}");
            parameters.push((name, value));
            rest = after.trim_start().strip_prefix(',').unwrap_or_else(|| {
                assert!(after.trim().is_empty(), "a comma between parameters: {header}");
                ""
            });
        }
        Self { scheme: scheme.to_owned(), parameters }
    }

    /// A parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// The text up to the closing quote, and what comes after it.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(characters.next().expect("an escaped character").1),
            _ => value.push(character),
        }
    }
    panic!("a closing quote: {text}")
}

#[test]
fn a_challenge_is_read_with_what_its_quotes_hold() {
    let challenge = Challenge::parse(r#"Bearer realm="a, b=\"c\"", Scope="x y",error="e""#);
    assert_eq!(challenge.scheme, "Bearer");
    assert_eq!(challenge.get("realm"), Some(r#"a, b="c""#));
    assert_eq!((challenge.get("scope"), challenge.get("error")), (Some("x y"), Some("e")));
    assert_eq!(challenge.get("nothing"), None);
}
