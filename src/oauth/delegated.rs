//! Whether a delegated token is for whom it was asked, as far as one can see.
//!
//! A delegated token is opaque to us, and its signature is the connector's business. But many are JWTs, and one that
//! plainly speaks for somebody else, or to somebody else, is never used.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::claims::CLOCK_SKEW_SECONDS;
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
    let expires_at = readable_claims(token)?.and_then(|claims| claims.get("exp")?.as_f64());
    let Some(expires_at) = expires_at.filter(|at| *at >= 0.0) else { return Ok(None) };
    // The cast saturates.
    let expires_at = expires_at as u64;
    match expires_at.saturating_add(CLOCK_SKEW_SECONDS) <= now.unix_seconds() {
        true => Err("its token has expired"),
        false => Ok(Some(Duration::from_secs(expires_at.saturating_sub(now.unix_seconds())))),
    }
}

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
        let header = readable_part(id_jag, 0)?.ok_or("its ID-JAG is not a JWT")?;
        let claims = readable_claims(id_jag)?.ok_or("its ID-JAG is not a JWT")?;
        let text = |name| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        if !header.get("typ").and_then(Value::as_str).is_some_and(is_id_jag_type) {
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
        match claims.get("exp").and_then(Value::as_f64) {
            Some(end) if end > now.unix_seconds().saturating_sub(CLOCK_SKEW_SECONDS) as f64 => Ok(()),
            Some(_) => Err("its ID-JAG has expired"),
            None => Err("its ID-JAG does not say when it ends"),
        }
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

/// RFC 7515 section 4.1.9: a media type, whose `application/` may be left out, in any case.
fn is_id_jag_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    typ.strip_prefix("application/").unwrap_or(&typ) == "oauth-id-jag+jwt"
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
fn readable_claims(token: &str) -> Result<Option<Map<String, Value>>, &'static str> {
    readable_part(token, 1)
}

/// One of the three parts of a JWT: its header, its claims.
fn readable_part(token: &str, index: usize) -> Result<Option<Map<String, Value>>, &'static str> {
    let parts: Vec<&str> = token.split('.').take(4).collect();
    let [_, _, _] = parts.as_slice() else { return Ok(None) };
    let Ok(part) = URL_SAFE_NO_PAD.decode(parts[index]) else { return Ok(None) };
    match strict_json::parse_object(&part) {
        Ok(members) => Ok(Some(members)),
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
        let (caller, client_id) = (ada(Tenant::Sole), "gateway-at-crm");
        let expectations = ExpectedIdJag {
            issuer: &issuer,
            audience: &audience,
            client_id,
            caller: &caller,
            subject_token,
            pairwise,
        };
        let now = Now { wall: std::time::Duration::from_secs(1_100), ..Now::read() };
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
