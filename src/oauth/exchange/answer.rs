//! What comes back from the token endpoint.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::audit::RequestId;
use crate::identity::{Caller, Scopes, SecretToken};
use crate::oauth::error_response::{Word, correlation_id};
use crate::oauth::outbound::OutboundAnswer;
use crate::oauth::{ACCESS_TOKEN_TYPE, Grant, ID_JAG_TYPE, JWT_TYPE};
use crate::strict_json;

/// Largest delegated token that is used. A header of that size is more than most servers take.
const DELEGATED_TOKEN_BYTES_MAX: usize = 65_536;
/// Longest list of granted scopes that is taken. All of Microsoft Graph's are 20 kB.
const SCOPE_LIST_BYTES_MAX: usize = 32_768;

/// What an authorization server yields: a token that a connector takes.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// The token. Opaque to us (RFC 6749 section 1.4).
    pub token: SecretToken,
    /// The scopes it was granted, where the server says so.
    pub granted: Option<Scopes>,
    /// How long it lives, counted from when it was asked for; `None` when the server does not say.
    pub lifetime: Option<Duration>,
    /// The identifier by which the server's operators find the request, where it gave one.
    pub correlation_id: Option<Word>,
    /// The record of how it was obtained.
    pub recorded_as: Option<RequestId>,
}

/// Reads a success. Whatever is not plainly a bearer access token is refused.
///
/// # Errors
///
/// Why it is of no use.
pub fn read(answer: &OutboundAnswer, grant: &Grant, caller: &Caller) -> Result<IssuedToken, &'static str> {
    let delegated = read_bearer(answer)?;
    if caller.has_token_within(delegated.token.expose().as_bytes()) {
        return Err("its token is the caller's own");
    }
    if let Grant::TokenExchange { .. } = grant {
        let members = strict_json::parse_object(&answer.body).map_err(|_| "it is not a JSON object")?;
        match members.get("issued_token_type").map(Value::as_str) {
            Some(Some(ACCESS_TOKEN_TYPE | JWT_TYPE)) => {}
            Some(_) => return Err("its token is not an access token"),
            None => return Err("it does not say what type its token has (`issued_token_type`)"),
        }
    }
    Ok(delegated)
}

/// Reads a bearer access token (RFC 6749 section 5.1).
///
/// # Errors
///
/// Why it is of no use.
pub fn read_bearer(answer: &OutboundAnswer) -> Result<IssuedToken, &'static str> {
    read_token(answer, "Bearer", "its token is not a bearer token")
}

/// Reads an ID-JAG (draft-ietf-oauth-identity-assertion-authz-grant section 4.3.3). It says by every word that it is no
/// access token, so that nobody takes it for one.
///
/// # Errors
///
/// Why it is of no use.
pub fn read_id_jag(answer: &OutboundAnswer) -> Result<IssuedToken, &'static str> {
    let id_jag = read_token(answer, "N_A", "its token is not marked as one for no direct use (`N_A`)")?;
    let members = strict_json::parse_object(&answer.body).map_err(|_| "it is not a JSON object")?;
    match members.get("issued_token_type").map(Value::as_str) {
        Some(Some(ID_JAG_TYPE)) => Ok(id_jag),
        Some(_) => Err("its token is not an ID-JAG"),
        None => Err("it does not say what type its token has (`issued_token_type`)"),
    }
}

fn read_token(
    answer: &OutboundAnswer,
    token_type: &str,
    another: &'static str,
) -> Result<IssuedToken, &'static str> {
    let members = strict_json::parse_object(&answer.body).map_err(|_| "it is not a JSON object")?;
    let text = |name| match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err("a member has the wrong type"),
    };
    if members.contains_key("error") {
        return Err("it is a success that carries an error");
    }
    let token = text("access_token")?.filter(|token| !token.is_empty()).ok_or("it has no access token")?;
    if token.len() > DELEGATED_TOKEN_BYTES_MAX {
        return Err("its token is too large");
    }
    // RFC 6750 section 2.1: nothing else can be put into a header, and a line break there would be a second header.
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("its token has characters that no token has");
    }
    if !text("token_type")?.is_some_and(|kind| kind.eq_ignore_ascii_case(token_type)) {
        return Err(another);
    }
    Ok(IssuedToken {
        token: SecretToken::new(token),
        granted: granted_scopes(text("scope")?)?,
        lifetime: lifetime(&members)?,
        correlation_id: correlation_id(answer),
        recorded_as: None,
    })
}

fn granted_scopes(list: Option<&str>) -> Result<Option<Scopes>, &'static str> {
    match list {
        Some(list) if list.len() > SCOPE_LIST_BYTES_MAX => Err("its list of scopes is too long"),
        list => Ok(list.map(Scopes::parse)),
    }
}

/// `expires_in`: whole seconds, as a number or, from some servers, as text. A fraction is cut off; nothing that is
/// already over is taken.
fn lifetime(members: &Map<String, Value>) -> Result<Option<Duration>, &'static str> {
    let seconds = match members.get("expires_in") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.parse::<u64>().ok().map(|seconds| seconds as f64),
        Some(_) => None,
    };
    match seconds {
        // The cast saturates; the cache caps what it keeps.
        Some(seconds) if seconds >= 1.0 => Ok(Some(Duration::from_secs(seconds as u64))),
        _ => Err("its `expires_in` is not a number of seconds to come"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::VerifiedClaims;
    use crate::oauth::{ActorToken, TargetParameter};
    use http::StatusCode;
    use serde_json::json;

    fn caller() -> Caller {
        Caller::verified(VerifiedClaims::of("ada"), SecretToken::new("subject-token"))
    }

    fn exchange_by(target: TargetParameter) -> Grant {
        Grant::TokenExchange {
            target,
            subject_token_type: ACCESS_TOKEN_TYPE.into(),
            requested_token_type: ACCESS_TOKEN_TYPE.into(),
            actor: ActorToken::None,
        }
    }

    fn read(grant: &Grant, body: &Value) -> Result<IssuedToken, &'static str> {
        let answer = OutboundAnswer {
            status: StatusCode::OK,
            headers: http::HeaderMap::new(),
            body: body.to_string().into_bytes(),
        };
        super::read(&answer, grant, &caller())
    }

    fn good() -> Value {
        json!({"access_token": "delegated", "token_type": "bearer", "expires_in": 300, "scope": "b a",
               "issued_token_type": ACCESS_TOKEN_TYPE})
    }

    #[track_caller]
    fn check_refused(name: &str, value: Value) {
        let mut body = good();
        match value {
            Value::Null => drop(body.as_object_mut().expect("an object of the test").remove(name)),
            value => body[name] = value,
        }
        assert!(read(&exchange_by(TargetParameter::Scope), &body).is_err(), "{body}");
    }

    #[test]
    fn a_good_answer_is_read() {
        let token = read(&Grant::OnBehalfOf, &good()).expect("a good answer");
        assert_eq!(token.token.expose(), "delegated");
        assert_eq!(token.granted.map(|scopes| scopes.canonical().to_owned()), Some("a b".to_owned()));
        assert_eq!(token.lifetime, Some(Duration::from_secs(300)));
    }

    #[test]
    fn what_is_not_plainly_a_bearer_access_token_is_refused() {
        check_refused("access_token", Value::Null);
        check_refused("access_token", json!(""));
        check_refused("access_token", json!(7));
        check_refused("access_token", json!("a\r\nX-Evil: 1"));
        check_refused("access_token", json!("a b"));
        check_refused("access_token", json!("é"));
        check_refused("access_token", json!("subject-token"));
        check_refused("access_token", json!("x".repeat(DELEGATED_TOKEN_BYTES_MAX + 1)));
        check_refused("token_type", Value::Null);
        check_refused("token_type", json!("DPoP"));
        check_refused("token_type", json!("N_A"));
        check_refused("issued_token_type", Value::Null);
        check_refused("issued_token_type", json!("urn:ietf:params:oauth:token-type:refresh_token"));
        check_refused("error", json!("invalid_grant"));
        check_refused("scope", json!(["a"]));
        check_refused("scope", json!("x".repeat(SCOPE_LIST_BYTES_MAX + 1)));
    }

    #[track_caller]
    fn check_id_jag(change: &[(&str, Value)], good: bool) {
        let mut body =
            json!({"access_token": "a.b.c", "token_type": "N_A", "issued_token_type": ID_JAG_TYPE});
        for (name, value) in change {
            body[*name] = value.clone();
        }
        let body = body.to_string().into_bytes();
        let answer = OutboundAnswer { status: StatusCode::OK, headers: http::HeaderMap::new(), body };
        assert_eq!(read_id_jag(&answer).is_ok(), good, "{change:?}");
    }

    #[test]
    fn what_is_not_plainly_an_id_jag_is_refused() {
        check_id_jag(&[], true);
        check_id_jag(&[("token_type", json!("n_a"))], true);
        check_id_jag(&[("token_type", json!("Bearer"))], false);
        check_id_jag(&[("token_type", Value::Null)], false);
        check_id_jag(&[("issued_token_type", json!(ACCESS_TOKEN_TYPE))], false);
        check_id_jag(&[("issued_token_type", json!(7))], false);
        check_id_jag(&[("access_token", json!("a.b.c\r\nX: 1"))], false);
        check_id_jag(&[("access_token", json!("x".repeat(DELEGATED_TOKEN_BYTES_MAX + 1)))], false);
        check_id_jag(&[("error", json!("invalid_grant"))], false);
    }

    #[track_caller]
    fn check_lifetime(expires_in: Value, expected: Option<Option<u64>>) {
        let mut body = good();
        body["expires_in"] = expires_in;
        let lifetime =
            read(&Grant::OnBehalfOf, &body).ok().map(|token| token.lifetime.map(|time| time.as_secs()));
        assert_eq!(lifetime, expected, "{body}");
    }

    #[test]
    fn each_form_of_expires_in_has_a_rule() {
        check_lifetime(json!(3600), Some(Some(3600)));
        check_lifetime(json!("3600"), Some(Some(3600)));
        check_lifetime(json!(1), Some(Some(1)));
        check_lifetime(json!(1.9), Some(Some(1)));
        check_lifetime(Value::Null, Some(None));
        check_lifetime(json!(u64::MAX), Some(Some(u64::MAX)));
        for bad in [json!(0), json!(-1), json!(0.5), json!("soon"), json!("-1"), json!([1]), json!(true)] {
            check_lifetime(bad, None);
        }
    }
}
