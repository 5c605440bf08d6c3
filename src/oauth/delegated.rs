//! Whether a delegated token is for whom it was asked, as far as one can see.
//!
//! A delegated token is opaque to us, and its signature is the connector's business. But many are JWTs, and one that
//! plainly speaks for somebody else, or to somebody else, is never used.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::claims::{CLOCK_SKEW_SECONDS, numeric_date};
use super::{ClaimPath, IssuerKind, IssuerSettings, TargetParameter};
use crate::clock::Now;
use crate::identity::{Caller, Issuer, Scopes};
use crate::strict_json;
use crate::tool::Target;

/// Checks what can be read of a delegated token against whom it was asked for. `pairwise` says whether the same person
/// may have another `sub` there.
///
/// # Errors
///
/// What is wrong with it. The token must then not be used.
pub fn check(
    token: &str,
    settings: &IssuerSettings,
    pairwise: bool,
    caller: &Caller,
    target: &Target,
) -> Result<(), &'static str> {
    let Some(claims) = readable_claims(token)? else { return Ok(()) };
    let text = |name| claims.get(name).and_then(Value::as_str);
    let same_issuer = text("iss") == Some(settings.issuer.as_str());
    match &settings.kind {
        // The tokens of every Entra resource name person and tenant alike, whatever their version and `iss`.
        IssuerKind::Entra { .. } => {
            if text("oid").is_some_and(|person| person != caller.subject().as_str()) {
                return Err("its token is for another person");
            }
            if text("tid").is_some_and(|tenant| Some(tenant) != caller.tenant().id()) {
                return Err("its token is for another tenant");
            }
        }
        IssuerKind::Oidc => {
            // The person is known by the claim that the configuration names, which a delegated token need not have.
            let named = match &settings.claim_names.subject {
                None => claims.get("sub").filter(|_| !pairwise),
                Some(ClaimPath::Name(name)) => claims.get(&**name),
                Some(ClaimPath::Pointer(_)) => None,
            };
            let another = |person: &Value| person.as_str() != Some(caller.subject().as_str());
            if same_issuer && named.is_some_and(another) {
                return Err("its token is for another person");
            }
        }
    }
    let by_audience = settings
        .exchange
        .as_ref()
        .is_some_and(|exchange| exchange.grant.target() == Some(TargetParameter::Audience));
    match &target.audience {
        // Elsewhere the target is named in other words than the token's: Entra's tokens may carry a GUID.
        Some(audience) if by_audience && same_issuer && !names(claims.get("aud"), audience.as_str()) => {
            Err("its token is for another audience")
        }
        Some(_) | None => Ok(()),
    }
}

/// How long a delegated token still lives by its own word (`exp`); `None` when it does not say in a way that can be read.
///
/// # Errors
///
/// When its time is over already, whatever the server said beside it.
pub fn life_left(token: &str, now: Now) -> Result<Option<Duration>, &'static str> {
    let claims = readable_claims(token)?;
    let Some(expires_at) = claims.and_then(|claims| numeric_date(claims.get("exp")?)) else {
        return Ok(None);
    };
    let seconds = now.latest_unix_seconds();
    match expires_at.saturating_add(CLOCK_SKEW_SECONDS) <= seconds {
        true => Err("its token has expired"),
        false => Ok(Some(Duration::from_secs(expires_at.saturating_sub(seconds)))),
    }
}

/// Checks what can be read of the audience of a token that `issuer` issued for `target`.
///
/// # Errors
///
/// That it is for another one. The token must then not be used.
pub fn check_audience(token: &str, issuer: &Issuer, target: &Target) -> Result<(), &'static str> {
    let Some(claims) = readable_claims(token)? else { return Ok(()) };
    let same_issuer = claims.get("iss").and_then(Value::as_str) == Some(issuer.as_str());
    match &target.audience {
        Some(audience) if same_issuer && !names(claims.get("aud"), audience.as_str()) => {
            Err("its token is for another audience")
        }
        Some(_) | None => Ok(()),
    }
}

/// The scopes that were asked for and not granted.
///
/// Servers write a scope with or without the resource in front of it, so `https://graph.example/Mail.Read` is
/// granted by `Mail.Read` as well. `…/.default` asks for whatever there is.
pub fn not_granted(asked: &Scopes, granted: &Scopes) -> Scopes {
    let short = |scope: &str| scope.rsplit('/').next().map(str::to_owned).unwrap_or_default();
    let is_granted = |scope: &str| {
        scope.ends_with("/.default")
            || granted.contains(scope)
            || granted.iter().any(|held| !held.contains('/') && held == short(scope))
            || (!scope.contains('/') && granted.iter().any(|held| short(held) == scope))
    };
    Scopes::new(asked.iter().filter(|scope| !is_granted(scope)))
}

/// The scopes that were granted and not asked for. `…/.default` asks for whatever there is.
pub fn not_asked(granted: &Scopes, asked: &Scopes) -> Scopes {
    match asked.iter().any(|scope| scope.ends_with("/.default")) {
        true => Scopes::default(),
        false => not_granted(granted, asked),
    }
}

/// The claims of a JWT, unverified. `None` when it is none that can be read.
///
/// # Errors
///
/// When it gives a member twice: the connector could take it for somebody else's than we would.
pub(super) fn readable_claims(token: &str) -> Result<Option<Map<String, Value>>, &'static str> {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Ok(None);
    };
    let Ok(claims) = URL_SAFE_NO_PAD.decode(claims) else { return Ok(None) };
    match strict_json::parse_object(&claims) {
        Ok(claims) => Ok(Some(claims)),
        Err(error) if strict_json::is_repetition(&error) => Err("its token gives a member twice"),
        Err(_) => Ok(None),
    }
}

fn names(aud: Option<&Value>, audience: &str) -> bool {
    match aud {
        // A token that names no audience is for the connector to judge.
        None => true,
        Some(Value::String(named)) => named == audience,
        Some(Value::Array(named)) => named.iter().any(|named| named == audience),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Audience, SecretToken, Tenant, VerifiedClaims};
    use crate::oauth::{ClientAuth, ExchangeSettings, Grant, Reuse};
    use serde_json::json;

    fn settings(kind: IssuerKind, grant: Grant) -> IssuerSettings {
        let exchange = ExchangeSettings {
            grant,
            client_id: "gateway".into(),
            client_auth: ClientAuth::SecretPost(SecretToken::new("s3cret")),
            extra: Vec::new(),
            reuse: Reuse::Identity,
            refuses_more_scopes: false,
            client_capabilities: Vec::new(),
        };
        IssuerSettings { exchange: Some(exchange), ..IssuerSettings::of(kind) }
    }

    fn ada(tenant: Tenant) -> Caller {
        let claims = VerifiedClaims { tenant, ..VerifiedClaims::of("ada") };
        Caller::verified(claims, SecretToken::new("subject-token"))
    }

    fn jwt(claims: Value) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    #[track_caller]
    fn check_entra(token: &str, good: bool) {
        let tenant = Tenant::Named("t-1".into());
        let settings = settings(IssuerKind::Entra { tenant: tenant.clone() }, Grant::OnBehalfOf);
        assert_eq!(check(token, &settings, true, &ada(tenant), &Target::default()).is_ok(), good, "{token}");
    }

    #[test]
    fn a_token_for_another_person_or_tenant_is_never_used() {
        check_entra("opaque", true);
        check_entra("a.b.c", true);
        check_entra(&jwt(json!({"oid": "ada", "tid": "t-1", "iss": "https://sts.windows.net/t-1/"})), true);
        check_entra(&jwt(json!({"oid": "bob", "tid": "t-1"})), false);
        check_entra(&jwt(json!({"oid": "ada", "tid": "t-2"})), false);
        check_entra(&jwt(json!({"sub": "pairwise"})), true);
        let twice = r#"{"oid": "bob", "tid": "t-1", "oid": "ada"}"#;
        check_entra(&format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(twice)), false);
    }

    #[track_caller]
    fn check_oidc(claims: Value, good: bool) {
        let settings = settings(IssuerKind::Oidc, Grant::JwtBearer { target: TargetParameter::Audience });
        let target = Target { audience: Some(Audience::new("mail")), ..Target::default() };
        let token = jwt(claims);
        assert_eq!(check(&token, &settings, false, &ada(Tenant::Sole), &target).is_ok(), good, "{token}");
    }

    #[test]
    fn a_token_for_another_audience_is_never_used() {
        let iss = "https://issuer.example";
        check_oidc(json!({"iss": iss, "sub": "ada", "aud": ["mail", "more"]}), true);
        check_oidc(json!({"iss": iss, "sub": "ada", "aud": "mail"}), true);
        check_oidc(json!({"iss": iss, "sub": "ada", "aud": "notes"}), false);
        check_oidc(json!({"iss": iss, "sub": "ada", "aud": 7}), false);
        check_oidc(json!({"iss": iss, "sub": "bob", "aud": "mail"}), false);
        // Where each client has its own name for a person, names say nothing.
        let (settings, other) =
            (settings(IssuerKind::Oidc, Grant::OnBehalfOf), jwt(json!({"iss": iss, "sub": "x"})));
        assert_eq!(check(&other, &settings, true, &ada(Tenant::Sole), &Target::default()), Ok(()));
        let settings = IssuerSettings {
            claim_names: crate::oauth::ClaimNames {
                subject: Some(ClaimPath::Name("uid".into())),
                ..Default::default()
            },
            ..settings
        };
        for (claims, good) in [
            (json!({"iss": iss, "sub": "elsewhere", "uid": "ada"}), true),
            (json!({"iss": iss, "sub": "ada", "uid": "bob"}), false),
            (json!({"iss": iss, "sub": "elsewhere"}), true),
        ] {
            let checked = check(&jwt(claims), &settings, false, &ada(Tenant::Sole), &Target::default());
            assert_eq!(checked.is_ok(), good);
        }
        // Another issuer's words are its own.
        check_oidc(json!({"iss": "https://other.example", "sub": "x", "aud": "y"}), true);
    }

    #[test]
    fn a_token_lives_no_longer_than_it_says_itself() {
        let now = Now::read();
        let left = |exp: Value| life_left(&jwt(json!({ "exp": exp })), now);
        assert_eq!(left(json!(now.unix_seconds() + 90)), Ok(Some(Duration::from_secs(90))));
        assert_eq!(left(json!(now.unix_seconds() - 5)), Ok(Some(Duration::ZERO)), "clocks differ");
        assert_eq!(left(json!(now.unix_seconds() - 60)), Err("its token has expired"));
        assert_eq!(left(json!(1e300)), Ok(Some(Duration::from_secs(u64::MAX - now.unix_seconds()))));
        for unreadable in [json!("soon"), json!(-1), json!(null)] {
            assert_eq!(left(unreadable), Ok(None));
        }
        assert_eq!(life_left("opaque", now), Ok(None));
        // The wall clock is set back by an hour, and the token lives no longer for it.
        let set_back = Now { wall: now.wall - Duration::from_secs(3_600), ..now };
        let left = life_left(&jwt(json!({ "exp": now.unix_seconds() + 90 })), set_back);
        assert!(left.is_ok_and(|left| left.is_some_and(|left| left <= Duration::from_secs(91))));
    }

    #[test]
    fn an_audience_is_checked_where_its_issuer_names_it() {
        let target = Target { audience: Some(Audience::new("mail")), ..Target::default() };
        let crm = Issuer::new("https://crm.example");
        let check = |claims: Value, good: bool| {
            assert_eq!(check_audience(&jwt(claims.clone()), &crm, &target).is_ok(), good, "{claims}");
        };
        check(json!({"iss": "https://crm.example", "aud": "mail"}), true);
        check(json!({"iss": "https://crm.example", "aud": "notes"}), false);
        check(json!({"iss": "https://crm.example"}), true);
        check(json!({"iss": "https://other.example", "aud": "notes"}), true);
        assert_eq!(check_audience("opaque", &crm, &target), Ok(()));
        let any = jwt(json!({"iss": "https://crm.example", "aud": "notes"}));
        assert_eq!(check_audience(&any, &crm, &Target::default()), Ok(()));
    }

    #[track_caller]
    fn check_scopes(asked: &str, granted: &str, expected: &str) {
        assert_eq!(
            not_granted(&Scopes::parse(asked), &Scopes::parse(granted)).canonical(),
            expected,
            "{asked}"
        );
    }

    #[test]
    fn a_scope_is_granted_with_or_without_its_resource_in_front() {
        check_scopes("https://graph.example/Mail.Read", "https://graph.example/Mail.Read more", "");
        check_scopes("https://graph.example/Mail.Read", "Mail.Read", "");
        check_scopes("Mail.Read", "https://graph.example/Mail.Read", "");
        check_scopes(
            "https://graph.example/Mail.Read",
            "https://other.example/Mail.Read",
            "https://graph.example/Mail.Read",
        );
        check_scopes("https://graph.example/.default", "User.Read", "");
        check_scopes("mail.read mail.send", "mail.read", "mail.send");
        check_scopes("mail.read", "mail.readwrite", "mail.read");
    }

    #[test]
    fn what_nobody_asked_for_is_noticed() {
        let check = |granted, asked, more| {
            assert_eq!(
                not_asked(&Scopes::parse(granted), &Scopes::parse(asked)).canonical(),
                more,
                "{granted}"
            );
        };
        check("mail.read", "mail.read", "");
        check("mail.read profile email", "mail.read", "email profile");
        check("https://graph.example/Mail.Read", "Mail.Read", "");
        check("User.Read Mail.Read", "https://graph.example/.default", "");
        check("mail.read", "", "mail.read");
    }
}
