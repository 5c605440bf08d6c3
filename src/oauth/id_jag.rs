//! Whether an ID-JAG (identity assertion JWT authorization grant) is for whom it was asked: for this person, this
//! authorization server, and the gateway's client there. One for anybody else is never sent on.

use serde_json::Value;

use super::claims::{CLOCK_SKEW_SECONDS, numeric_date};
use super::delegated::readable_claims;
use super::jws::{JwsError, Parts};
use crate::clock::Now;
use crate::identity::{Caller, Issuer};

/// Largest ID-JAG that is read. What goes into a form has more room than a header, and still an end.
const ID_JAG_BYTES_MAX: usize = 65_536;

/// What an ID-JAG has to say (draft-ietf-oauth-identity-assertion-authz-grant section 3.1).
pub struct ExpectedIdJag<'a> {
    /// Who vouches for the person.
    pub issuer: &'a Issuer,
    /// The authorization server that it is for, and nobody else.
    pub audience: &'a Issuer,
    /// The gateway's client identifier there.
    pub client_id: &'a str,
    /// The person.
    pub caller: &'a Caller,
    /// The token that it was exchanged for.
    pub subject_token: &'a str,
    /// Whether the same person may have another `sub` for each audience.
    pub pairwise: bool,
}

impl ExpectedIdJag<'_> {
    /// Checks what an ID-JAG says. Its signature is the business of whom it is for; but unlike a delegated token it is
    /// never opaque, so that here what cannot be read is refused.
    ///
    /// # Errors
    ///
    /// What is wrong with it. It must then not be sent on.
    pub fn check(&self, id_jag: &str, now: Now) -> Result<(), &'static str> {
        let unreadable = |error| match error {
            JwsError::Repeated => "its ID-JAG gives a member twice",
            _ => "its ID-JAG is not a JWT",
        };
        let parts = Parts::split(id_jag, ID_JAG_BYTES_MAX).map_err(unreadable)?;
        let claims = parts.claims().map_err(unreadable)?;
        let text = |name| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        if !parts.is_of_type("oauth-id-jag+jwt") {
            return Err("its ID-JAG is of another type than `oauth-id-jag+jwt`");
        }
        if text("iss") != Some(self.issuer.as_str()) {
            return Err("its ID-JAG is from another issuer");
        }
        let is_audience = match claims.get("aud") {
            Some(Value::Array(audiences)) => audiences.as_slice() == [self.audience.as_str()],
            Some(audience) => audience == self.audience.as_str(),
            None => false,
        };
        if !is_audience {
            return Err("its ID-JAG is for another audience");
        }
        if text("client_id") != Some(self.client_id) {
            return Err("its ID-JAG is for another client");
        }
        let subject = text("sub").ok_or("its ID-JAG is for nobody")?;
        // `claims.subject` can name the person by another claim; the subject token has both.
        let claims_of_caller = readable_claims(self.subject_token)?;
        let caller = claims_of_caller.as_ref().and_then(|claims| claims.get("sub")?.as_str());
        if !self.pairwise && subject != caller.unwrap_or(self.caller.subject().as_str()) {
            return Err("its ID-JAG is for another person");
        }
        match claims.get("exp").and_then(numeric_date) {
            Some(end) if end.saturating_add(CLOCK_SKEW_SECONDS) > now.latest_unix_seconds() => Ok(()),
            Some(_) => Err("its ID-JAG has expired"),
            None => Err("its ID-JAG does not say when it ends"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{SecretToken, VerifiedClaims};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    fn ada() -> Caller {
        Caller::verified(VerifiedClaims::of("ada"), SecretToken::new("subject-token"))
    }

    fn jwt(claims: Value) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    #[track_caller]
    fn check_id_jag(
        typ: Value,
        change: &[(&str, Value)],
        pairwise: bool,
        expected: Result<(), &'static str>,
    ) {
        let mut claims = json!({"iss": "https://issuer.example", "sub": "ada", "aud": "https://crm.example",
            "client_id": "gateway-at-crm", "jti": "j-1", "iat": 1_000, "exp": 1_300});
        for (name, value) in change {
            claims[*name] = value.clone();
        }
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let id_jag = format!("{}.{}.c2ln", encode(&json!({"alg": "RS256", "typ": typ})), encode(&claims));
        check_as_id_jag(&id_jag, "opaque", pairwise, expected);
    }

    #[track_caller]
    fn check_as_id_jag(
        id_jag: &str,
        subject_token: &str,
        pairwise: bool,
        expected: Result<(), &'static str>,
    ) {
        let (issuer, audience) = (Issuer::new("https://issuer.example"), Issuer::new("https://crm.example"));
        let (caller, client_id) = (ada(), "gateway-at-crm");
        let expectations = ExpectedIdJag {
            issuer: &issuer,
            audience: &audience,
            client_id,
            caller: &caller,
            subject_token,
            pairwise,
        };
        let now = Now::new(std::time::Duration::from_secs(1_100), std::time::Instant::now());
        assert_eq!(expectations.check(id_jag, now), expected, "{id_jag}");
    }

    #[test]
    fn an_id_jag_for_somebody_else_is_never_sent_on() {
        let good = || json!("oauth-id-jag+jwt");
        let check = |change: &[(&str, Value)], expected| check_id_jag(good(), change, false, expected);
        check(&[], Ok(()));
        check_id_jag(json!("application/OAuth-ID-JAG+jwt"), &[], false, Ok(()));
        for typ in [json!("JWT"), json!("at+jwt"), json!(7), Value::Null] {
            check_id_jag(typ, &[], false, Err("its ID-JAG is of another type than `oauth-id-jag+jwt`"));
        }
        for token in ["opaque", "a.b", "a.b.c", "e30.e30.e30.e30", "e30.e30.e30.e30.e30"] {
            check_as_id_jag(token, "opaque", false, Err("its ID-JAG is not a JWT"));
        }
        for iss in [json!("https://issuer.example/"), json!(["https://issuer.example"]), Value::Null] {
            check(&[("iss", iss)], Err("its ID-JAG is from another issuer"));
        }
        check(&[("aud", json!(["https://crm.example"]))], Ok(()));
        for aud in [
            json!("https://crm.example/"),
            json!("https://erp.example"),
            json!(["https://crm.example", "https://erp.example"]),
            json!([]),
            json!(7),
            Value::Null,
        ] {
            check(&[("aud", aud)], Err("its ID-JAG is for another audience"));
        }
        for client_id in [json!("gateway"), json!(["gateway-at-crm"]), Value::Null] {
            check(&[("client_id", client_id)], Err("its ID-JAG is for another client"));
        }
        check(&[("sub", json!("bob"))], Err("its ID-JAG is for another person"));
        for sub in [json!(""), json!(7), Value::Null] {
            check_id_jag(good(), &[("sub", sub)], true, Err("its ID-JAG is for nobody"));
        }
        // Where each client has its own name for a person, names say nothing.
        check_id_jag(good(), &[("sub", json!("x"))], true, Ok(()));
        check(&[("exp", json!(1_040))], Err("its ID-JAG has expired"));
        check(&[("exp", json!(1_041))], Ok(()));
        for exp in [json!("1300"), Value::Null] {
            check(&[("exp", exp)], Err("its ID-JAG does not say when it ends"));
        }
    }

    #[test]
    fn an_id_jag_names_the_person_as_the_subject_token_does() {
        // `claims.subject` of the configuration can be another claim than `sub`, by which the caller goes then.
        let encode = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let id_jag = |sub: &str| {
            let claims = json!({"iss": "https://issuer.example", "sub": sub, "aud": "https://crm.example",
                "client_id": "gateway-at-crm", "exp": 1_300});
            format!("{}.{}.c2ln", encode(json!({"typ": "oauth-id-jag+jwt"})), encode(claims))
        };
        let subject_token = jwt(json!({"uid": "ada", "sub": "ada@corp.example"}));
        check_as_id_jag(&id_jag("ada@corp.example"), &subject_token, false, Ok(()));
        let another = Err("its ID-JAG is for another person");
        check_as_id_jag(&id_jag("ada"), &subject_token, false, another);
    }
}
