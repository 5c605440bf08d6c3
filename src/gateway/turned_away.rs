//! A connector's 401: it does not take the delegated token, and perhaps says what another one must have.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::WWW_AUTHENTICATE;
use http::{Response, StatusCode};

use crate::audit::SecondTry;
use crate::strict_json;

/// Longest demand that is read. Real ones are below 1 kB.
const CLAIMS_BYTES_MAX: usize = 4_096;
/// Longest challenge that is looked into.
const CHALLENGE_BYTES_MAX: usize = 16_384;
/// With or without padding: both are in use.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// The connector did not take the delegated token.
#[derive(Debug, PartialEq, Eq)]
pub struct TurnedAway {
    /// What it demands of another one, as JSON, when it is a claims challenge.
    pub claims: Option<String>,
}

impl TurnedAway {
    /// Reads an answer; `None` when the token was taken.
    pub fn read<B>(response: &Response<B>) -> Option<Self> {
        if response.status() != StatusCode::UNAUTHORIZED {
            return None;
        }
        let claims = response.headers().get_all(WWW_AUTHENTICATE).iter().find_map(|challenges| {
            let challenges = challenges.to_str().ok().filter(|text| text.len() <= CHALLENGE_BYTES_MAX)?;
            demanded_claims(&bearer_parameters(challenges))
        });
        Some(Self { claims })
    }

    /// Why the call is sent a second time, if it is.
    pub fn second_try(&self) -> SecondTry {
        if self.claims.is_some() { SecondTry::Claims } else { SecondTry::Unauthorized }
    }
}

/// The demand of a claims challenge. One that cannot be read is none: the call is then a plain 401.
fn demanded_claims(parameters: &[(&str, String)]) -> Option<String> {
    let value = |wanted| {
        let named = parameters.iter().find(|(name, _)| str::eq_ignore_ascii_case(name, wanted));
        named.map(|(_, value)| value.as_str())
    };
    value("error").filter(|error| *error == "insufficient_claims")?;
    let encoded = value("claims")?;
    let decoded = STANDARD.decode(encoded).or_else(|_| URL_SAFE.decode(encoded)).ok()?;
    let claims = String::from_utf8(decoded).ok().filter(|claims| claims.len() <= CLAIMS_BYTES_MAX)?;
    strict_json::parse_object(claims.as_bytes()).ok()?;
    Some(claims)
}

/// The parameters of the `Bearer` challenges in a list of challenges (RFC 9110 section 11.6.1), read leniently:
/// connectors differ in what they quote and where they put commas.
fn bearer_parameters(challenges: &str) -> Vec<(&str, String)> {
    let mut parameters = Vec::new();
    let mut is_bearer = false;
    let mut rest = challenges;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() && after.is_empty() {
            return parameters;
        }
        match after.trim_start_matches([' ', '\t']).strip_prefix('=') {
            Some(after) => {
                let (value, after) = parameter_value(after.trim_start_matches([' ', '\t']));
                if is_bearer {
                    parameters.push((word, value));
                }
                rest = after;
            }
            None => {
                is_bearer = word.eq_ignore_ascii_case("Bearer");
                rest = after;
            }
        }
    }
}

/// A value, quoted or not, and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            character => value.push(character),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    /// `{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`
    const C1: &str = "eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJlc3NlbnRpYWwiOnRydWUsInZhbHVlIjoiYzEifX19";

    fn read(status: u16, challenges: &[&str]) -> Option<TurnedAway> {
        let mut response = Response::builder().status(status).body(()).expect("an answer of the test");
        for challenge in challenges {
            let value = HeaderValue::from_str(challenge).expect("a header of the test");
            response.headers_mut().append(WWW_AUTHENTICATE, value);
        }
        TurnedAway::read(&response)
    }

    #[track_caller]
    fn check(challenges: &[&str], demands: bool) {
        let claims =
            demands.then(|| r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#.to_owned());
        assert_eq!(read(401, challenges), Some(TurnedAway { claims }), "{challenges:?}");
    }

    #[test]
    fn claims_challenges_are_read_as_connectors_write_them() {
        let entra = format!(
            r#"Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="{C1}", cc_type="authcontext""#
        );
        check(&[&entra], true);
        check(&[&format!(r#"bearer claims={C1},error=insufficient_claims"#)], true);
        check(&[&format!(r#"Bearer Error = "insufficient_claims" , Claims = "{C1}==""#)], false);
        check(
            &[
                "Negotiate",
                &format!(r#"Basic realm="x, y", Bearer error="insufficient_claims", claims="{C1}""#),
            ],
            true,
        );
        check(&[&format!(r#"Bearer error="insufficient_claims" claims="{C1}""#)], true);
    }

    #[test]
    fn what_is_no_demand_is_a_plain_401() {
        check(&[], false);
        check(&["", ",,,", "=", "Bearer", "Bearer =\"", "Bearer a=\"\\"], false);
        check(&[r#"Bearer error="invalid_token""#], false);
        check(&[&format!(r#"Bearer error="invalid_token", claims="{C1}""#)], false);
        check(&[&format!(r#"DPoP error="insufficient_claims", claims="{C1}""#)], false);
        check(&[r#"Bearer error="insufficient_claims", claims="W10""#], false);
        check(&[&format!(r#"Bearer error="insufficient_claims", claims="{}""#, "e".repeat(20_000))], false);
        assert_eq!(read(403, &[&format!(r#"Bearer error="insufficient_claims", claims="{C1}""#)]), None);
    }
}
