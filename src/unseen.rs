//! Characters that a reader does not see, or not as what they are. Three questions, each wider than the one before: what is a
//! danger to every reader, what a short name is better without, and what has to be set apart where people agree to what they read.

use std::borrow::Cow;

/// Stands for characters that disturb.
const REPLACED: char = char::REPLACEMENT_CHARACTER;

/// Whether a character ends a line, steers a terminal, or turns the direction of what follows (UAX 9): one of those before
/// `gro.elpmaxe` has it read as another name.
///
/// Nothing that is only invisible: records keep what was sent, and some names are not written without a joiner.
pub fn disturbs(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character disturbs, or takes no room: two names that differ by it alone look the same.
pub fn is_unseen(character: char) -> bool {
    disturbs(character)
        || matches!(character, '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether a character is unseen, or cannot be told from another one by its width: blanks that are no blank, what fills or
/// joins, what only changes another character, and what has no meaning but by private agreement.
pub fn is_odd(character: char) -> bool {
    is_unseen(character)
        || (character.is_whitespace() && character != ' ')
        || matches!(character, '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{2800}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{10ffff}')
}

/// A text from outside as a terminal can show it: what disturbs is replaced.
pub fn clean(text: &str) -> Cow<'_, str> {
    match text.chars().any(disturbs) {
        true => Cow::Owned(text.chars().map(cleaned).collect()),
        false => Cow::Borrowed(text),
    }
}

/// A character of a text that is made clean.
pub fn cleaned(character: char) -> char {
    if disturbs(character) { REPLACED } else { character }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(characters: &str, disturbing: bool, unseen: bool, odd: bool) {
        for character in characters.chars() {
            let answers = [disturbs(character), is_unseen(character), is_odd(character)];
            assert_eq!(answers, [disturbing, unseen, odd], "{}", character.escape_unicode());
        }
    }

    #[test]
    fn each_question_is_wider_than_the_one_before() {
        check("a Zé日🙂<", false, false, false);
        check("\u{a0}\u{3164}\u{2800}\u{fe0f}\u{e000}\u{10ffff}", false, false, true);
        check(
            "\u{ad}\u{180e}\u{200b}\u{200d}\u{2060}\u{2065}\u{206f}\u{feff}\u{fff9}\u{e0041}",
            false,
            true,
            true,
        );
        check("\0\n\r\t\u{1b}\u{7f}\u{9b}\u{61c}\u{200e}\u{200f}", true, true, true);
        check("\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}", true, true, true);
    }

    #[test]
    fn nothing_that_steers_a_terminal_is_shown() {
        assert_eq!(clean("Zoë"), "Zoë");
        assert_eq!(clean("a\x1b[31m\u{202e}b\r\n"), "a\u{fffd}[31m\u{fffd}b\u{fffd}\u{fffd}");
    }
}
