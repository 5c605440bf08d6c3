//! Texts from outside, made safe for one line: nothing that ends it, nothing that steers a terminal, not too long.

use std::borrow::Cow;

use http::HeaderValue;

/// Longest text from outside that a record takes: addresses fit, and a flood of long ones does not fill the disk. Longer
/// ones are cut, and marked.
const TEXT_BYTES_MAX: usize = 2_048;
/// What marks a text that was cut.
pub const CUT_MARK: &str = "…[cut]";
/// Stands for characters that could end a line or disturb a terminal.
const REPLACED: char = '\u{fffd}';

/// The text of a header.
pub fn clean_header(value: &HeaderValue) -> Cow<'_, str> {
    match value.to_str() {
        Ok(text) => clean(text),
        Err(_) => clean_owned(String::from_utf8_lossy(value.as_bytes()).into_owned()),
    }
}

/// A text from outside, made safe for one line: nothing that ends it, nothing that steers a terminal, not too long.
pub fn clean(text: &str) -> Cow<'_, str> {
    match text.len() <= TEXT_BYTES_MAX && !text.chars().any(disturbs) {
        true => Cow::Borrowed(text),
        false => clean_owned(text.to_owned()),
    }
}

/// A text from outside that is made here.
pub fn clean_owned(text: String) -> Cow<'static, str> {
    if text.len() <= TEXT_BYTES_MAX && !text.chars().any(disturbs) {
        return Cow::Owned(text);
    }
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    let mut cleaned: String = text[..end].chars().map(|c| if disturbs(c) { REPLACED } else { c }).collect();
    if end < text.len() {
        cleaned.push_str(CUT_MARK);
    }
    Cow::Owned(cleaned)
}

/// Control characters, line and paragraph separators, and marks that turn the direction of text.
pub fn disturbs(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
