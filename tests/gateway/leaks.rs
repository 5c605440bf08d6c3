//! Looks for secrets in what the gateway puts out: as they are, in base64 wherever they may begin in it, and as URLs have them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Shortest part of a secret that is looked for: what is shorter may be there by chance.
const PART_BYTES_MIN: usize = 16;

/// Every form in which a secret could stand somewhere. Of a JWT the claims and the signature are enough to know too much.
pub fn forms(secret: &str) -> Vec<String> {
    let parts: Vec<&str> = secret.split('.').collect();
    let parts = if parts.len() == 3 { &parts[1..] } else { &[secret][..] };
    parts.iter().filter(|part| part.len() >= PART_BYTES_MIN).flat_map(|part| forms_of(part)).collect()
}

fn forms_of(part: &str) -> Vec<String> {
    let mut forms = vec![part.to_owned()];
    let encoded: String = url::form_urlencoded::byte_serialize(part.as_bytes()).collect();
    for form in [encoded.clone(), encoded.to_ascii_lowercase(), part.escape_debug().to_string()] {
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    for before in 0..3 {
        // What stands before and after shares a character with the secret at either end, so these are left out.
        let shifted = [&vec![b'x'; before], part.as_bytes()].concat();
        let from = if before == 0 { 0 } else { before + 1 };
        for text in [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
            let inner = &text[from..text.len() - 2];
            if !forms.iter().any(|form| form == inner) {
                forms.push(inner.to_owned());
            }
        }
    }
    forms
}

/// Fails when one of these secrets is in an output.
#[track_caller]
pub fn assert_none(name: &str, output: &str, secrets: &[String]) {
    for form in secrets.iter().flat_map(|secret| forms(secret)) {
        assert!(!output.contains(&form), "a secret is in the {name}, as {form}");
    }
}

#[test]
fn a_secret_is_found_in_whatever_form() {
    let secret = "s3cret/with+odd&characters=";
    for before in ["", "a", "ab", "abc", "abcd"] {
        for after in ["", "z", "zy"] {
            let text = format!("{before}{secret}{after}");
            let percent: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
            for form in [
                text.clone(),
                percent,
                base64::engine::general_purpose::STANDARD.encode(&text),
                base64::engine::general_purpose::URL_SAFE.encode(&text),
                URL_SAFE_NO_PAD.encode(&text),
            ] {
                let output = format!("{{\"x\":\"{form}\"}}");
                assert!(forms(secret).iter().any(|found| output.contains(found)), "{output}");
            }
        }
    }
    assert!(!forms(secret).iter().any(|form| "nothing of it".contains(form)));
    assert!(forms("short").is_empty());
}
