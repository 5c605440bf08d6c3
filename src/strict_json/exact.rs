//! JSON that is going to be written anew, and has to be the same to whoever reads it then.

use serde_json::Value;
use std::borrow::Cow;

use super::{is_repetition, parse};

/// Digits beyond which no reader of 64-bit floating point numbers can tell two numbers apart (IEEE 754-2019 section 5.12.2).
const SIGNIFICANT_DIGITS_MAX: usize = 17;
/// Largest exponent that is counted with. Floating point numbers of 64 bits end far below it.
const EXPONENT_MAX: i64 = 1_000_000;
/// Digits that floating point numbers of 64 bits always hold.
const DIGITS_ALWAYS_KEPT: usize = 15;

/// Why a text is not read that has to be written anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExactError {
    /// It is not one JSON value in UTF-8.
    #[error("it is not one JSON value")]
    NotJson,
    /// A member is given twice in one object.
    #[error("a member is given twice")]
    Repeated,
    /// It is nested more deeply than is read.
    #[error("it is nested too deeply")]
    TooDeep,
    /// A number has more digits than are kept.
    #[error("a number has more digits than are kept")]
    Inexact,
}

/// Reads one JSON value, with nothing after it, that is going to be written anew. Whoever reads what is written reads the
/// same value as whoever would have read `text`.
///
/// The caller bounds the length. `depth_max` is how many arrays and objects may be open at once.
///
/// # Errors
///
/// [`ExactError`] for what another reader could take differently, or would be written with another value: whole numbers
/// beyond 64 bits, and fractions with more digits than floating point numbers of 64 bits hold.
pub fn parse_exact(text: &[u8], depth_max: usize) -> Result<Value, ExactError> {
    let all_kept = scan(text, depth_max)?;
    let value = parse(text).map_err(|error| match is_repetition(&error) {
        true => ExactError::Repeated,
        false => ExactError::NotJson,
    })?;
    match all_kept {
        true => Ok(value),
        false => Err(ExactError::Inexact),
    }
}

/// Whether two names are the same to a reader that does not look at case, as Go's `encoding/json` does not.
pub fn same_but_for_case(one: &str, other: &str) -> bool {
    match one.is_ascii() && other.is_ascii() {
        true => one.eq_ignore_ascii_case(other),
        false => fold(one).eq(fold(other)),
    }
}

/// The text without case, as [`fold`] has it. Most names and paths are so already.
pub fn folded(text: &str) -> Cow<'_, str> {
    match text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(fold(text).collect()),
    }
}

/// The text without case. Upper case first: some letters have a lower case of their own and share the upper one (`ſ`, the
/// Kelvin sign).
pub fn fold(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// Looks at what is outside strings: how deep it goes, and whether every number can be kept. Of a text that is not JSON it
/// may find anything.
fn scan(text: &[u8], depth_max: usize) -> Result<bool, ExactError> {
    let (mut at, mut depth, mut all_kept) = (0, 0_usize, true);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => at = end_of_string(text, at + 1),
            b'[' | b'{' => {
                depth += 1;
                if depth > depth_max {
                    return Err(ExactError::TooDeep);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'-' | b'0'..=b'9' => {
                let is_of_number = |byte: &&u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
                let length = text[at..].iter().take_while(is_of_number).count();
                let number = std::str::from_utf8(&text[at..at + length]);
                all_kept &= is_kept(number.expect("ASCII: each of its bytes was looked at"));
                at += length - 1;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(all_kept)
}

/// Where the string ends that has begun before `at`: at its closing quote, or with the text.
fn end_of_string(text: &[u8], mut at: usize) -> usize {
    loop {
        match text.get(at) {
            Some(b'\\') => at += 2,
            None | Some(b'"') => return at,
            Some(_) => at += 1,
        }
    }
}

/// Whether a JSON number is still the same once it has been read and written.
fn is_kept(number: &str) -> bool {
    if number.len() <= DIGITS_ALWAYS_KEPT && !number.contains(['e', 'E']) {
        return true;
    }
    if !number.contains(['.', 'e', 'E']) {
        return number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok();
    }
    let Some(given) = Decimal::read(number) else { return false };
    let written = number.parse::<f64>().ok().and_then(|value| Decimal::read(&format!("{value:e}")));
    match written {
        Some(written) if written == given => true,
        // A fraction is near enough where floating point numbers can hold its digits (RFC 8259 section 6).
        Some(written) => {
            given.exponent < 0 && !written.digits.is_empty() && given.digits.len() <= SIGNIFICANT_DIGITS_MAX
        }
        None => false,
    }
}

/// The value of a JSON number: its digits as a whole number, without zeros at either end, times a power of ten. Two are
/// equal when they are the same number, however it is written.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Decimal {
    is_negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// Reads a number as JSON has it. `None`: it is none, or its exponent is beyond all reason.
    pub fn read(number: &str) -> Option<Self> {
        let magnitude = number.strip_prefix('-').unwrap_or(number);
        let (mantissa, exponent) = magnitude.split_once(['e', 'E']).unwrap_or((magnitude, "0"));
        let exponent: i64 =
            exponent.parse().ok().filter(|exponent| (-EXPONENT_MAX..=EXPONENT_MAX).contains(exponent))?;
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !are_digits(whole)
            || (whole.len() > 1 && whole.starts_with('0'))
            || !fraction.is_none_or(are_digits)
        {
            return None;
        }
        let fraction = fraction.unwrap_or_default();
        let digits = format!("{whole}{fraction}");
        let trimmed = digits.trim_end_matches('0');
        let dropped = i64::try_from(digits.len() - trimmed.len()).ok()?;
        let exponent = exponent - i64::try_from(fraction.len()).ok()? + dropped;
        let digits = trimmed.trim_start_matches('0').to_owned();
        match digits.is_empty() {
            true => Some(Self { is_negative: false, digits, exponent: 0 }),
            false => Some(Self { is_negative: number.starts_with('-'), digits, exponent }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_number(number: &str, expected: Result<&str, ExactError>) {
        let read =
            parse_exact(format!(r#"["1e999 in a string \" 99999999999999999999",{number}]"#).as_bytes(), 1);
        let written = read.map(|value| value[1].to_string());
        assert_eq!(written, expected.map(str::to_owned), "{number}");
    }

    #[test]
    fn a_number_is_written_as_it_was_read_or_not_read() {
        for number in
            ["0", "-7", "9223372036854775807", "18446744073709551615", "-9223372036854775808", "0.1"]
        {
            check_number(number, Ok(number));
        }
        check_number("1.0", Ok("1.0"));
        check_number("1e2", Ok("100.0"));
        check_number("1E+2", Ok("100.0"));
        check_number("25.50e-1", Ok("2.55"));
        check_number("0e5", Ok("0.0"));
        check_number("0.30000000000000004", Ok("0.30000000000000004"));
        check_number("1e22", Ok("1e+22"));
        // As `printf("%.17g")` has it: the same number to whoever reads 64 bits.
        check_number("0.10000000000000001", Ok("0.1"));
        for beyond in [
            "18446744073709551616",
            "-9223372036854775809",
            "99999999999999999999",
            "0.123456789012345678901",
            "1.00000000000000000001",
            "9007199254740993.0",
            "9007199254740993e0",
            "1e-400",
            "0.1e-99999999999999999999",
            "1e-9223372036854775808",
        ] {
            check_number(beyond, Err(ExactError::Inexact));
        }
        check_number("1e400", Err(ExactError::NotJson));
        for bad in ["01", "+1", "1.", ".5", "1e", "0x10", "1-2", "--1", "Infinity"] {
            check_number(bad, Err(ExactError::NotJson));
        }
    }

    #[test]
    fn nesting_ends_at_the_bound() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse_exact(nested(64).as_bytes(), 64).is_ok());
        assert_eq!(parse_exact(nested(65).as_bytes(), 64), Err(ExactError::TooDeep));
        let beside = format!("[{}]", vec![nested(63); 10].join(","));
        assert!(parse_exact(beside.as_bytes(), 64).is_ok(), "what is closed does not count");
        assert!(parse_exact(br#"["[[[[\"[[[["]"#, 1).is_ok(), "what is in a string does not count");
        assert_eq!(parse_exact(br#"[{"a":1,"a":2}]"#, 2), Err(ExactError::Repeated));
        assert_eq!(parse_exact(b"\"\xff\"", 2), Err(ExactError::NotJson));
        assert_eq!(parse_exact(b"[] []", 2), Err(ExactError::NotJson));
    }

    #[test]
    fn names_are_compared_as_readers_without_case_do() {
        for twin in ["Name", "NAME", "name"] {
            assert!(same_but_for_case("name", twin), "{twin}");
        }
        assert!(same_but_for_case("taskId", "ta\u{17f}\u{212a}id"));
        assert!(!same_but_for_case("name", "names"));
    }

    #[test]
    fn numbers_are_equal_however_they_are_written() {
        for same in ["42", "42.0", "42.000", "4.2e1", "420E-1", "0.42e+2"] {
            assert_eq!(Decimal::read(same), Decimal::read("42"), "{same}");
        }
        assert_eq!(Decimal::read("-0.0"), Decimal::read("0"));
        for other in ["-42", "420", "4.2", "0"] {
            assert!(Decimal::read(other).is_some());
            assert_ne!(Decimal::read(other), Decimal::read("42"), "{other}");
        }
        for none in
            ["", "-", ".", "4.", ".4", "042", "+42", "--42", " 42", "42 ", "4e", "0x2a", "1e9999999", "NaN"]
        {
            assert_eq!(Decimal::read(none), None, "{none:?}");
        }
    }
}
