//! Random bits of the system's source, which works: TLS could not start without it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Fills all of `bytes`.
pub fn fill(bytes: &mut [u8]) {
    aws_lc_rs::rand::fill(bytes).expect("the system's random source works: TLS could not start without it");
}

/// As many random bytes, as text that needs no encoding anywhere. Nobody guesses one of 16.
pub fn text<const BYTES: usize>() -> String {
    let mut bytes = [0_u8; BYTES];
    fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Whether `text` can be one of those: only what can be is looked up.
pub fn is_text<const BYTES: usize>(text: &str) -> bool {
    text.len() == (BYTES * 4).div_ceil(3)
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_as_long_as_its_bytes_make_it_and_another_each_time() {
        assert_eq!((text::<16>().len(), text::<32>().len()), (22, 43));
        assert_ne!(text::<16>(), text::<16>());
        assert!(is_text::<16>(&text::<16>()) && is_text::<32>(&text::<32>()));
    }

    #[test]
    fn only_what_can_be_a_text_is_taken_for_one() {
        for no in ["", "short", "../../../../etc/passwd", "aaaaaaaaaaaaaaaaaaaaa%", "aaaaaaaaaaaaaaaaaaaaaaa"]
        {
            assert!(!is_text::<16>(no), "{no}");
        }
    }
}
