//! What an ID token says about who signed in (OpenID Connect Core section 3.1.3.7), read as strictly as access tokens are.
//!
//! The person is found by the same claims as in an access token, so that both are the same person or neither is.

use serde_json::{Map, Value};

use super::{CLOCK_SKEW_SECONDS, ClaimsError, Reader};
use crate::clock::Now;
use crate::identity::{PersonId, Subject, Tenant};
use crate::oauth::sign_in::SignedIn;
use crate::oauth::{IssuerKind, IssuerSettings};

/// Why an ID token is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IdTokenError {
    /// A claim that every token has is refused.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// It is from another issuer.
    #[error("it is from another issuer")]
    Issuer,
    /// It is for another client, or for several.
    #[error("it is for another client")]
    Audience,
    /// It was issued to another client.
    #[error("it was issued to another client")]
    AuthorizedParty,
    /// It is for another sign-in.
    #[error("it is for another sign-in")]
    Nonce,
    /// It is no ID token.
    #[error("it is no ID token")]
    Purpose,
}

/// Checks the claims of an ID token whose signature is this issuer's. `nonce` is what the sign-in was begun with.
///
/// # Errors
///
/// [`IdTokenError`] says what is wrong; nothing is repaired.
pub fn check(
    claims: &Map<String, Value>,
    settings: &IssuerSettings,
    client_id: &str,
    nonce: &str,
    now: Now,
) -> Result<SignedIn, IdTokenError> {
    let reader = Reader(claims);
    if reader.text("iss")? != settings.issuer.as_str() {
        return Err(IdTokenError::Issuer);
    }
    check_purpose(reader)?;
    // A second audience could have passed it on; nobody here trusts one.
    if reader.texts_or_text("aud")? != [client_id] {
        return Err(IdTokenError::Audience);
    }
    if reader.optional_text("azp")?.is_some_and(|azp| azp != client_id) {
        return Err(IdTokenError::AuthorizedParty);
    }
    if reader.text("nonce")? != nonce {
        return Err(IdTokenError::Nonce);
    }
    check_times(reader, now)?;
    let (tenant, subject) = person(reader, settings)?;
    let name = reader
        .optional_text("name")?
        .map_or_else(|| reader.optional_text("preferred_username"), |name| Ok(Some(name)))?;
    Ok(SignedIn {
        issuer_name: settings.name.clone(),
        id: PersonId { issuer: settings.issuer.clone(), tenant, subject },
        name: name.map(Into::into),
    })
}

/// Other tokens are signed by the same keys.
fn check_purpose(reader: Reader<'_>) -> Result<(), IdTokenError> {
    // OpenID Connect Back-Channel Logout section 2.4; RFC 7800: what is bound to a key is nobody's ID token.
    if reader.has("events") || reader.has("cnf") {
        return Err(IdTokenError::Purpose);
    }
    // Scopes are an access token's.
    if reader.has("scp") || reader.has("scope") {
        return Err(IdTokenError::Purpose);
    }
    match reader.optional_text("typ")? {
        Some(typ) if !typ.eq_ignore_ascii_case("ID") => Err(IdTokenError::Purpose),
        Some(_) | None => Ok(()),
    }
}

fn check_times(reader: Reader<'_>, now: Now) -> Result<(), ClaimsError> {
    let seconds = now.unix_seconds();
    let expires_at = reader.time("exp")?.ok_or(ClaimsError::Missing("exp"))?;
    if expires_at.saturating_add(CLOCK_SKEW_SECONDS) <= now.latest_unix_seconds() {
        return Err(ClaimsError::Expired);
    }
    let issued_at = reader.time("iat")?.ok_or(ClaimsError::Missing("iat"))?;
    let latest_start = reader.time("nbf")?.unwrap_or(0).max(issued_at);
    match latest_start > seconds.saturating_add(CLOCK_SKEW_SECONDS) {
        true => Err(ClaimsError::NotYetValid),
        false => Ok(()),
    }
}

fn person(reader: Reader<'_>, settings: &IssuerSettings) -> Result<(Tenant, Subject), ClaimsError> {
    // It is demanded of every ID token, whoever is known by something else here.
    let sub = reader.text("sub")?;
    match &settings.kind {
        IssuerKind::Entra { tenant } if Some(reader.text("tid")?) != tenant.id() => Err(ClaimsError::Tenant),
        IssuerKind::Entra { tenant } => Ok((tenant.clone(), Subject::new(reader.text("oid")?))),
        IssuerKind::Oidc => {
            let subject = match settings.claim_names.subject.as_ref() {
                Some(path) => {
                    reader.text_at(path, "claims.subject")?.ok_or(ClaimsError::Missing("claims.subject"))?
                }
                None => sub,
            };
            Ok((Tenant::Sole, Subject::new(subject)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::{Duration, Instant};

    const NOW: u64 = 1_800_000_000;

    fn entra() -> IssuerSettings {
        IssuerSettings::of(IssuerKind::Entra { tenant: Tenant::Named("t-1".into()) })
    }

    fn oidc() -> IssuerSettings {
        IssuerSettings::of(IssuerKind::Oidc)
    }

    fn claims() -> Value {
        json!({"iss": "https://issuer.example", "aud": "gateway", "exp": NOW + 300, "iat": NOW - 5,
               "nonce": "n-1", "sub": "u-1", "tid": "t-1", "oid": "o-1", "name": "Ada"})
    }

    fn run(settings: &IssuerSettings, claims: &Value) -> Result<SignedIn, IdTokenError> {
        let now = Now::new(Duration::from_secs(NOW), Instant::now());
        check(claims.as_object().expect("an object of the test"), settings, "gateway", "n-1", now)
    }

    /// Changes one claim (`Value::Null` removes it) and checks what comes of it.
    #[track_caller]
    fn check_refused(settings: &IssuerSettings, name: &str, value: Value, expected: IdTokenError) {
        let mut claims = claims();
        match value {
            Value::Null => drop(claims.as_object_mut().expect("an object of the test").remove(name)),
            value => claims[name] = value,
        }
        assert_eq!(run(settings, &claims).expect_err("refused"), expected, "{claims}");
    }

    #[test]
    fn the_person_is_found_by_what_access_tokens_are_found_by() {
        let person = run(&entra(), &claims()).expect("a good token");
        assert_eq!((person.id().tenant.id(), person.id().subject.as_str()), (Some("t-1"), "o-1"));
        let person = run(&oidc(), &claims()).expect("a good token");
        assert_eq!((&person.id().tenant, person.id().subject.as_str()), (&Tenant::Sole, "u-1"));
        assert_eq!(person.name(), Some("Ada"));
        let subject = Some(crate::oauth::ClaimPath::Name("employee".into()));
        let claim_names = crate::oauth::ClaimNames { subject, ..Default::default() };
        let other = IssuerSettings { claim_names, ..oidc() };
        let missing = ClaimsError::Missing("claims.subject");
        assert_eq!(run(&other, &claims()).expect_err("no such claim"), missing.into());
        let mut with_employee = claims();
        with_employee["employee"] = json!("e-7");
        assert_eq!(run(&other, &with_employee).expect("a good token").id().subject.as_str(), "e-7");
    }

    #[test]
    fn a_token_for_somebody_else_is_refused() {
        check_refused(&oidc(), "iss", json!("https://issuer.example/"), IdTokenError::Issuer);
        check_refused(&oidc(), "aud", json!("agent"), IdTokenError::Audience);
        check_refused(&oidc(), "aud", json!(["gateway", "agent"]), IdTokenError::Audience);
        check_refused(&oidc(), "aud", json!([]), IdTokenError::Audience);
        check_refused(&oidc(), "aud", Value::Null, IdTokenError::Audience);
        check_refused(&oidc(), "azp", json!("agent"), IdTokenError::AuthorizedParty);
        check_refused(&entra(), "tid", json!("t-2"), ClaimsError::Tenant.into());
    }

    #[test]
    fn a_token_of_another_sign_in_is_refused() {
        check_refused(&oidc(), "nonce", json!("n-2"), IdTokenError::Nonce);
        check_refused(&oidc(), "nonce", Value::Null, ClaimsError::Missing("nonce").into());
    }

    #[test]
    fn a_token_for_another_purpose_is_refused() {
        check_refused(&oidc(), "events", json!({}), IdTokenError::Purpose);
        check_refused(&oidc(), "cnf", json!({}), IdTokenError::Purpose);
        check_refused(&oidc(), "scope", json!("openid"), IdTokenError::Purpose);
        check_refused(&entra(), "scp", json!("access"), IdTokenError::Purpose);
        check_refused(&oidc(), "typ", json!("Bearer"), IdTokenError::Purpose);
        let mut keycloaks = claims();
        keycloaks["typ"] = json!("ID");
        assert!(run(&oidc(), &keycloaks).is_ok());
    }

    #[test]
    fn a_token_has_its_time_and_its_subject() {
        check_refused(&oidc(), "exp", json!(NOW - 61), ClaimsError::Expired.into());
        check_refused(&oidc(), "exp", Value::Null, ClaimsError::Missing("exp").into());
        check_refused(&oidc(), "iat", Value::Null, ClaimsError::Missing("iat").into());
        check_refused(&oidc(), "iat", json!(NOW + 61), ClaimsError::NotYetValid.into());
        check_refused(&oidc(), "nbf", json!(NOW + 61), ClaimsError::NotYetValid.into());
        check_refused(&oidc(), "sub", Value::Null, ClaimsError::Missing("sub").into());
        check_refused(&oidc(), "sub", json!(7), ClaimsError::WrongType("sub").into());
        check_refused(&entra(), "oid", Value::Null, ClaimsError::Missing("oid").into());
    }
}
