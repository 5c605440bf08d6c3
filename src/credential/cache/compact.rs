//! A token that takes less room than its text: base64 as bytes, and what other tokens have in common with it as a number.
//!
//! What comes out is what went in, to the last byte: that is tried out each time, and a token for which it does not hold is kept
//! as it came.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::phrases::Phrases;

/// The first byte: the text as it came, or a JWT written with no phrases, or with those that its kind of tokens has.
const AS_IT_CAME: u8 = 0;
const WITHOUT_PHRASES: u8 = 1;
const WITH_PHRASES: u8 = 2;
/// What base64 may take for a moment beyond its end.
pub const BASE64_MORE: usize = 3;

/// A token's text in less room. It is wiped when it is dropped, and shows nothing of itself.
pub struct Compact(Zeroizing<Box<[u8]>>);

impl Compact {
    /// Makes `token` compact. What says the same in all tokens of its kind is in `phrases`, once they have been learnt.
    pub fn new(token: &[u8], phrases: Option<&Phrases>) -> Self {
        let compact = jwt(token, phrases).map(|bytes| Self(Zeroizing::new(bytes.as_slice().into())));
        let whole = |compact: &Self| {
            let mut text = Zeroizing::new(Vec::with_capacity(token.len() + BASE64_MORE));
            compact.append_to(&mut text, phrases).is_some() && *text == *token
        };
        compact.filter(|compact| compact.byte_count() <= token.len() && whole(compact)).unwrap_or_else(|| {
            let mut bytes = Zeroizing::new(Vec::with_capacity(token.len() + 1));
            bytes.push(AS_IT_CAME);
            bytes.extend_from_slice(token);
            Self(Zeroizing::new(bytes.as_slice().into()))
        })
    }

    /// How much room it takes.
    pub fn byte_count(&self) -> usize {
        self.0.len()
    }

    /// Appends the token's text. `phrases` are those that it was made with.
    pub fn append_to(&self, text: &mut Vec<u8>, phrases: Option<&Phrases>) -> Option<()> {
        let (form, mut rest) = self.0.split_first()?;
        let none = Phrases::default();
        let phrases = match *form {
            AS_IT_CAME => {
                text.extend_from_slice(rest);
                return Some(());
            }
            WITHOUT_PHRASES => &none,
            _ => phrases?,
        };
        // It is shorter than the text, so it is not moved while it grows, which would leave a copy behind.
        let mut json = Zeroizing::new(Vec::with_capacity(text.capacity()));
        for _ in ["header", "claims"] {
            json.clear();
            rest = phrases.read(rest, &mut json)?;
            append_base64(&json, text);
            text.push(b'.');
        }
        append_base64(rest, text);
        Some(())
    }
}

/// The JSON of a JWT's header and claims, one after the other; `None`: it is none.
pub fn json_of(token: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut parts = token.split(|byte| *byte == b'.');
    let mut json = Zeroizing::new(Vec::with_capacity(token.len()));
    for _ in ["header", "claims"] {
        URL_SAFE_NO_PAD.decode_vec(parts.next()?, &mut json).ok()?;
    }
    Some(json)
}

fn jwt(token: &[u8], phrases: Option<&Phrases>) -> Option<Zeroizing<Vec<u8>>> {
    let mut parts = token.split(|byte| *byte == b'.');
    let none = Phrases::default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * token.len() + 8));
    bytes.push(if phrases.is_some() { WITH_PHRASES } else { WITHOUT_PHRASES });
    for _ in ["header", "claims"] {
        let mut json = Zeroizing::new(Vec::with_capacity(token.len()));
        URL_SAFE_NO_PAD.decode_vec(parts.next()?, &mut json).ok()?;
        phrases.unwrap_or(&none).write(&json, &mut bytes);
    }
    URL_SAFE_NO_PAD.decode_vec(parts.next()?, &mut bytes).ok()?;
    parts.next().is_none().then_some(bytes)
}

fn append_base64(bytes: &[u8], text: &mut Vec<u8>) {
    let begin = text.len();
    text.resize(begin + bytes.len().div_ceil(3) * 4, 0);
    let written = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text[begin..]);
    text.truncate(begin + written.expect("base64 is at most four characters for three bytes"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn phrases() -> Phrases {
        let one = br#"{"alg":"RS256","kid":"k1"}{"aud":"api://mail","exp":1,"oid":"ada","scp":"Mail.Read"}"#;
        let other =
            br#"{"alg":"RS256","kid":"k1"}{"aud":"api://mail","exp":2,"oid":"bob","scp":"Mail.Read"}"#;
        Phrases::common_to(one, other)
    }

    fn check(token: &[u8]) {
        let learnt = phrases();
        for phrases in [None, Some(&learnt)] {
            let compact = Compact::new(token, phrases);
            let mut text = b"Bearer ".to_vec();
            compact.append_to(&mut text, phrases).expect("what was written can be read");
            assert_eq!(text, [b"Bearer ", token].concat());
            assert!(compact.byte_count() <= token.len() + 1);
        }
    }

    fn jwt_of(header: &str, claims: &str, signature: &[u8]) -> String {
        let [header, claims] = [header, claims].map(|json| URL_SAFE_NO_PAD.encode(json));
        format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn odd_tokens_come_out_as_they_went_in() {
        let claims = r#"{"aud":"api://mail","exp":12,"oid":"0f3e8a52-1b2c-4d5e-8f90-a1b2c3d4e5f6"}"#;
        let good = jwt_of(r#"{"alg":"RS256","kid":"k1"}"#, claims, &[7; 256]);
        let long = format!(r#"{{"aud":"{}","x":["{}"]}}"#, "a".repeat(300), "é, \"quoted\"".repeat(9_000));
        let [header, claims, signature] = [0, 1, 2].map(|part| good.split('.').nth(part).expect("three"));
        for token in [
            "".to_owned(),
            ".".to_owned(),
            "..".to_owned(),
            "...".to_owned(),
            "opaque".to_owned(),
            "2|opaque/with+other=characters".to_owned(),
            format!("{good}=="),
            format!("{good}."),
            format!("{good}.more.parts"),
            format!("{header}.{claims}"),
            format!("{header}.{claims}."),
            format!(".{claims}.{signature}"),
            format!("{header}..{signature}"),
            // The last character of each has bits that mean nothing, and here they are not zero.
            format!("{header}.{claims}.AB"),
            format!("eyB.{claims}.{signature}"),
            format!("{header}.{claims}.{}", "A".repeat(60_000)),
            jwt_of("not JSON", ",\",\",\":\"", b""),
            jwt_of("{}", "{\"a\":\"\",\"b\":\"=\",\"c\":\"0\",\"d\":[\"\"]}", b"x"),
            jwt_of("{}", &long, b"x"),
            good.clone(),
        ] {
            check(token.as_bytes());
        }
    }

    #[test]
    fn what_is_a_persons_own_is_most_of_what_is_kept() {
        let learnt = phrases();
        let claims = r#"{"aud":"api://mail","exp":1764457200,"oid":"0f3e8a52-1b2c-4d5e-8f90-a1b2c3d4e5f6","scp":"Mail.Read"}"#;
        let token = jwt_of(r#"{"alg":"RS256","kid":"k1"}"#, claims, &[7; 256]);
        let compact = Compact::new(token.as_bytes(), Some(&learnt));
        assert!(
            compact.byte_count() < 256 + 16 + 5 + 20,
            "{} bytes of {}",
            compact.byte_count(),
            token.len()
        );
    }

    proptest! {
        #[test]
        fn whatever_goes_in_comes_out(text in "[ -~]{0,300}") {
            check(text.as_bytes());
        }

        #[test]
        fn whatever_the_claims_they_come_out(
            claims in r#"(\{|"|,"|":|"\}|[0-9a-f]{1,40}|[A-Za-z0-9_-]{1,70}|[A-Za-z0-9+/]{1,70}=?|0f3e8a52-1b2c-4d5e-8f90-[0-9a-f]{12}|é){0,40}"#,
            signature in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            check(jwt_of(r#"{"alg":"RS256"}"#, &claims, &signature).as_bytes());
        }
    }
}
