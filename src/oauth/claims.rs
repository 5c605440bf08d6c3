//! What a verified token says about the caller: read strictly, refused when in doubt.
//!
//! Absent, of the wrong type, and given twice are errors of their own. The JWT crate would accept all three
//! (it compares `iss` and `aud` only when they are there), so it checks signatures and the claims are read here.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::jws::OtherToken;
use super::possession;
use super::{ClaimPath, IssuerKind, IssuerSettings, Profile};
use crate::clock::Now;
use crate::identity::{Actor, Authentication, Scopes, Subject, Tenant, VerifiedClaims};

mod checks;
pub mod id_token;

pub use checks::{ClaimCheck, ClaimsExamined, examine};

/// How far the clocks of an issuer and the gateway may be apart, in seconds: more than any clock that is kept in step
/// drifts, and little enough not to matter for a token that lives minutes.
pub const CLOCK_SKEW_SECONDS: u64 = 60;
/// Longest text that is taken from a claim. Identifiers are tens of bytes.
const CLAIM_BYTES_MAX: usize = 1_024;

/// Why the claims of a token are refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClaimsError {
    /// A claim that must be there is not.
    #[error("the token has no `{0}`")]
    Missing(&'static str),
    /// A claim is of the wrong type, or is longer than any honest one.
    #[error("the token's `{0}` is not of the right type")]
    WrongType(&'static str),
    /// Two claims name the agent, and not the same one.
    #[error("the token names two agents")]
    ActorsDiffer,
    /// It is meant for somebody else.
    #[error("the token is for another audience; this gateway accepts {accepted}")]
    Audience {
        /// What the configuration accepts.
        accepted: String,
    },
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Its person belongs to a tenant that the configuration does not let in.
    #[error("the token is from another tenant")]
    Tenant,
    /// It is an ID token, a refresh token, or one for another purpose.
    #[error("the token is {0}, not an access token")]
    NotAnAccessToken(OtherToken),
    /// It speaks for an application, and no person stands behind it.
    #[error("the token speaks for an application; a signed-in person's token is needed")]
    NoPerson,
    /// It speaks for a person, and was sent as an agent's own.
    #[error("the token speaks for a person; the agent's own is needed")]
    NoApplication,
    /// It is bound to a key (RFC 7800) in a way that nothing here can check.
    #[error("the token is bound to a key in a way that this gateway cannot check")]
    ConfirmationUnsupported,
    /// The configuration does not let this agent call.
    #[error("the agent is not allowed to call")]
    Agent,
    /// The token lacks scopes that every caller needs.
    #[error("the token lacks scopes: {}", missing.canonical())]
    Scopes {
        /// All of them.
        required: Scopes,
        /// Those that are lacking.
        missing: Scopes,
    },
}

/// Checks the claims of a token whose signature is good and whose `iss` is this issuer's.
///
/// # Errors
///
/// [`ClaimsError`] says what is wrong; nothing is repaired.
pub fn check(
    claims: &Map<String, Value>,
    settings: &IssuerSettings,
    now: Now,
) -> Result<VerifiedClaims, ClaimsError> {
    checks::examine(claims, settings, now).verified
}

/// Checks the claims of a token that an agent sends for itself, without a person. The subject is the agent.
///
/// # Errors
///
/// [`ClaimsError`] says what is wrong with it.
pub fn check_agent_alone(
    claims: &Map<String, Value>,
    settings: &IssuerSettings,
    now: Now,
) -> Result<VerifiedClaims, ClaimsError> {
    let (actor, expires_at) = check_agents_token(claims, settings, now)?;
    let reader = Reader(claims);
    Ok(VerifiedClaims {
        issuer_name: settings.name.clone(),
        issuer: settings.issuer.clone(),
        tenant: settings.tenant(),
        subject: Subject::new(actor.as_str()),
        actor: Some(actor),
        may_act: None,
        confirmation: None,
        scopes: Scopes::default(),
        groups: Vec::new(),
        roles: Vec::new(),
        token_id: reader.optional_text("jti")?.map(Into::into),
        session: None,
        display_name: None,
        authentication: Arc::default(),
        authenticated_at: None,
        issued_at: reader.time("iat")?,
        expires_at,
        handles_claims_challenges: false,
        is_agent_alone: true,
    })
}

/// Checks the claims of an agent's own token: which agent it is, and until when that holds, in seconds since 1970 UTC.
///
/// # Errors
///
/// [`ClaimsError`] says what is wrong with it.
pub fn check_agents_token(
    claims: &Map<String, Value>,
    settings: &IssuerSettings,
    now: Now,
) -> Result<(Actor, u64), ClaimsError> {
    let reader = Reader(claims);
    check_purpose(reader)?;
    // Nobody asks for a proof that goes with it.
    if reader.has("cnf") {
        return Err(ClaimsError::ConfirmationUnsupported);
    }
    let named = agent(reader, settings)?;
    let is_named = named.is_some();
    let actor = named.map_or_else(|| reader.text("sub").map(Actor::new), Ok)?;
    // A person's token was issued to an agent as well, and to the authorization server it would make them the actor.
    let is_an_applications = match settings.kind {
        // Every access token of Entra's names the application that it was issued to; an ID token does not.
        IssuerKind::Entra { .. } if !is_named => false,
        IssuerKind::Entra { .. } if scopes(reader)?.is_empty() && reader.has("roles") => true,
        IssuerKind::Entra { .. } | IssuerKind::Oidc => {
            speaks_for_an_application(reader, reader.text("sub")?, Some(&actor))?
        }
    };
    if !is_an_applications {
        return Err(ClaimsError::NoApplication);
    }
    check_audience(reader, settings)?;
    let expires_at = check_times(reader, settings, now)?;
    check_agent(Some(&actor), settings)?;
    Ok((actor, expires_at))
}

fn check_agent(actor: Option<&Actor>, settings: &IssuerSettings) -> Result<(), ClaimsError> {
    let is_let_in = |agents: &Vec<Actor>| actor.is_some_and(|actor| agents.contains(actor));
    match settings.agents.as_ref().is_none_or(is_let_in) {
        true => Ok(()),
        false => Err(ClaimsError::Agent),
    }
}

/// Who else may act for the person (RFC 8693 section 4.4).
fn may_act(reader: Reader<'_>) -> Result<Option<Actor>, ClaimsError> {
    match reader.0.get("may_act") {
        None => Ok(None),
        // Another issuer's names say nothing about the agents here.
        Some(Value::Object(may_act))
            if may_act.get("iss").is_some_and(|iss| Some(iss) != reader.0.get("iss")) =>
        {
            Ok(None)
        }
        Some(Value::Object(may_act)) => {
            may_act.get("sub").map(|sub| as_text(sub, "may_act").map(Actor::new)).transpose()
        }
        Some(_) => Err(ClaimsError::WrongType("may_act")),
    }
}

fn shared(texts: Vec<&str>) -> Vec<Arc<str>> {
    texts.into_iter().map(Arc::from).collect()
}

fn authentication(reader: Reader<'_>) -> Result<Authentication, ClaimsError> {
    let set = |mut texts: Vec<&str>| {
        texts.sort_unstable();
        texts.dedup();
        shared(texts)
    };
    Ok(Authentication {
        acr: reader.optional_text("acr")?.map(Into::into),
        acrs: set(reader.texts_or_text("acrs")?),
        amr: set(reader.texts_or_text("amr")?),
    })
}

fn check_audience(reader: Reader<'_>, settings: &IssuerSettings) -> Result<(), ClaimsError> {
    let audiences = reader.texts_or_text("aud")?;
    if audiences.is_empty() {
        return Err(ClaimsError::Missing("aud"));
    }
    let ours =
        audiences.iter().any(|audience| settings.audiences.iter().any(|ours| ours.as_str() == *audience));
    if ours {
        return Ok(());
    }
    let accepted = settings.audiences.iter().map(|audience| audience.as_str()).collect::<Vec<_>>().join(", ");
    Err(ClaimsError::Audience { accepted })
}

fn check_times(reader: Reader<'_>, settings: &IssuerSettings, now: Now) -> Result<u64, ClaimsError> {
    let seconds = now.unix_seconds();
    let expires_at = reader.time("exp")?.ok_or(ClaimsError::Missing("exp"))?;
    if expires_at.saturating_add(CLOCK_SKEW_SECONDS) <= now.latest_unix_seconds() {
        return Err(ClaimsError::Expired);
    }
    let not_before = reader.time("nbf")?;
    // Entra always says `nbf`; other servers, Keycloak among them, need not (RFC 9068 section 2.2).
    if not_before.is_none() && matches!(settings.kind, IssuerKind::Entra { .. }) {
        return Err(ClaimsError::Missing("nbf"));
    }
    let latest_start = not_before.into_iter().chain(reader.time("iat")?).max().unwrap_or(0);
    match latest_start > seconds.saturating_add(CLOCK_SKEW_SECONDS) {
        true => Err(ClaimsError::NotYetValid),
        false => Ok(expires_at),
    }
}

/// Tokens for another purpose are signed by the same keys; what gives them away differs from server to server.
fn check_purpose(reader: Reader<'_>) -> Result<(), ClaimsError> {
    // OpenID Connect Back-Channel Logout section 2.4.
    if reader.has("events") {
        return Err(ClaimsError::NotAnAccessToken(OtherToken::Logout));
    }
    // OpenID Connect Core sections 3.1.3.6 and 3.3.2.11: hashes of what an ID token came with.
    if reader.has("at_hash") || reader.has("c_hash") || reader.has("s_hash") {
        return Err(ClaimsError::NotAnAccessToken(OtherToken::Id));
    }
    // Keycloak says in the claims what each token is for.
    let other = match reader.optional_text("typ")? {
        None => None,
        Some(typ) if typ.eq_ignore_ascii_case("Bearer") => None,
        Some(typ) if typ.eq_ignore_ascii_case("ID") => Some(OtherToken::Id),
        Some(typ) if typ.eq_ignore_ascii_case("Refresh") || typ.eq_ignore_ascii_case("Offline") => {
            Some(OtherToken::Refresh)
        }
        Some(_) => Some(OtherToken::Other),
    };
    // Cognito does so as well, and Hydra when it is asked about an opaque token: a refresh token is active, too.
    let used_as = match reader.optional_text("token_use")? {
        None | Some("access" | "access_token") => None,
        Some("id" | "id_token") => Some(OtherToken::Id),
        Some("refresh" | "refresh_token") => Some(OtherToken::Refresh),
        Some(_) => Some(OtherToken::Other),
    };
    other.or(used_as).map_or(Ok(()), |other| Err(ClaimsError::NotAnAccessToken(other)))
}

fn entra_person(
    reader: Reader<'_>,
    tenant: &Tenant,
    scopes: &Scopes,
    actor: Option<&Actor>,
) -> Result<(Tenant, Subject), ClaimsError> {
    if Some(reader.text("tid")?) != tenant.id() {
        return Err(ClaimsError::Tenant);
    }
    // Delegated scopes are only ever in the access token of a person; roles alone are an application's permissions. ID
    // tokens may have a person's roles, and name no application.
    let has_roles_alone = scopes.is_empty() && reader.has("roles") && actor.is_some();
    if reader.optional_text("idtyp")? == Some("app") || has_roles_alone {
        return Err(ClaimsError::NoPerson);
    }
    if scopes.is_empty() {
        return Err(ClaimsError::NotAnAccessToken(OtherToken::Id));
    }
    Ok((tenant.clone(), Subject::new(reader.text("oid")?)))
}

fn oidc_person(
    reader: Reader<'_>,
    path: Option<&ClaimPath>,
    actor: Option<&Actor>,
) -> Result<(Tenant, Subject), ClaimsError> {
    let subject = match path {
        Some(path) => {
            reader.text_at(path, "claims.subject")?.ok_or(ClaimsError::Missing("claims.subject"))?
        }
        None => reader.text("sub")?,
    };
    // Wherever people are named, an application is seen by its `sub`.
    for subject in [Some(subject), reader.optional_text("sub")?].into_iter().flatten() {
        if speaks_for_an_application(reader, subject, actor)? {
            return Err(ClaimsError::NoPerson);
        }
    }
    Ok((Tenant::Sole, Subject::new(subject)))
}

/// RFC 9068 section 2.2: without a person, `sub` is the client itself. Others say it in their own ways: Auth0 by the grant
/// and the form of `sub`, Keycloak by the name and address of a service account, Entra by `idtyp`.
fn speaks_for_an_application(
    reader: Reader<'_>,
    subject: &str,
    actor: Option<&Actor>,
) -> Result<bool, ClaimsError> {
    Ok(actor.is_some_and(|actor| actor.as_str() == subject)
        || subject.ends_with("@clients")
        || reader.optional_text("gty")? == Some("client-credentials")
        || reader.optional_text("idtyp")? == Some("app")
        || reader
            .optional_text("preferred_username")?
            .is_some_and(|name| name.starts_with("service-account-"))
        || ["clientHost", "clientAddress"].iter().any(|name| reader.has(name)))
}

/// The agent, by the claim that the configuration names, or those that servers have.
fn agent(reader: Reader<'_>, settings: &IssuerSettings) -> Result<Option<Actor>, ClaimsError> {
    match &settings.claim_names.agent {
        Some(path) => Ok(reader.text_at(path, "claims.agent")?.map(Actor::new)),
        None => actor(reader),
    }
}

/// The agent: `azp` (OpenID Connect, Entra v2, Keycloak), `client_id` (RFC 9068), `appid` (Entra v1), `cid` (Okta).
/// Two that disagree leave it open which one acts.
fn actor(reader: Reader<'_>) -> Result<Option<Actor>, ClaimsError> {
    let mut actor = None;
    for name in ["azp", "client_id", "appid", "cid"] {
        match (reader.optional_text(name)?, actor) {
            (Some(found), None) => actor = Some(found),
            (Some(found), Some(before)) if found != before => return Err(ClaimsError::ActorsDiffer),
            _ => {}
        }
    }
    Ok(actor.map(Actor::new))
}

/// `scp` is a list in one text (Entra) or an array (Okta); `scope` is a list in one text (RFC 9068 section 2.2.3).
fn scopes(reader: Reader<'_>) -> Result<Scopes, ClaimsError> {
    let mut listed = reader.texts_or_text("scp")?;
    listed.extend(reader.optional_text("scope")?);
    Ok(scopes_of(listed))
}

fn scopes_of(lists: Vec<&str>) -> Scopes {
    Scopes::new(lists.into_iter().flat_map(|list| list.split(' ')).filter(|scope| !scope.is_empty()))
}

/// Claims by name, each with the one type it may have.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a Map<String, Value>);

impl<'a> Reader<'a> {
    fn has(self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn text(self, name: &'static str) -> Result<&'a str, ClaimsError> {
        self.optional_text(name)?.ok_or(ClaimsError::Missing(name))
    }

    fn optional_text(self, name: &'static str) -> Result<Option<&'a str>, ClaimsError> {
        self.0.get(name).map(|value| as_text(value, name)).transpose()
    }

    /// What is at `path`.
    fn at(self, path: &ClaimPath) -> Option<&'a Value> {
        match path {
            ClaimPath::Name(name) => self.0.get(&**name),
            ClaimPath::Pointer(pointer) => {
                let mut parts =
                    pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"));
                let first = self.0.get(&parts.next()?)?;
                parts.try_fold(first, |value, part| value.as_object()?.get(&part))
            }
        }
    }

    fn text_at(self, path: &ClaimPath, key: &'static str) -> Result<Option<&'a str>, ClaimsError> {
        self.at(path).map(|value| as_text(value, key)).transpose()
    }

    fn texts_at(self, path: &ClaimPath, key: &'static str) -> Result<Vec<&'a str>, ClaimsError> {
        match self.at(path) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => values.iter().map(|value| as_text(value, key)).collect(),
            Some(value) => Ok(vec![as_text(value, key)?]),
        }
    }

    fn texts(self, name: &'static str) -> Result<Vec<Arc<str>>, ClaimsError> {
        match self.0.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => {
                values.iter().map(|value| as_text(value, name).map(Into::into)).collect()
            }
            Some(_) => Err(ClaimsError::WrongType(name)),
        }
    }

    fn texts_or_text(self, name: &'static str) -> Result<Vec<&'a str>, ClaimsError> {
        match self.0.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => values.iter().map(|value| as_text(value, name)).collect(),
            Some(value) => Ok(vec![as_text(value, name)?]),
        }
    }

    fn time(self, name: &'static str) -> Result<Option<u64>, ClaimsError> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        numeric_date(value).map(Some).ok_or(ClaimsError::WrongType(name))
    }
}

/// A NumericDate (RFC 7519 section 2), in whole seconds. It may have a fraction; it may not be negative.
pub fn numeric_date(value: &Value) -> Option<u64> {
    // The cast saturates, and a time that far ahead is as good as any other.
    let from_fraction = |seconds: f64| (seconds.is_finite() && seconds >= 0.0).then_some(seconds as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(from_fraction))
}

fn as_text<'a>(value: &'a Value, name: &'static str) -> Result<&'a str, ClaimsError> {
    match value {
        Value::String(text) if !text.is_empty() && text.len() <= CLAIM_BYTES_MAX => Ok(text),
        _ => Err(ClaimsError::WrongType(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Audience, Issuer};
    use crate::oauth::ClaimNames;
    use serde_json::json;
    use std::time::{Duration, Instant};

    const NOW: u64 = 1_800_000_000;

    fn settings(kind: IssuerKind) -> IssuerSettings {
        let audiences = vec![Audience::new("api://gateway"), Audience::new("https://gateway.example/")];
        IssuerSettings { audiences, ..IssuerSettings::of(kind) }
    }

    fn entra() -> IssuerSettings {
        settings(IssuerKind::Entra { tenant: Tenant::Named("t-1".into()) })
    }

    fn oidc() -> IssuerSettings {
        settings(IssuerKind::Oidc)
    }

    fn entra_claims() -> Value {
        json!({"iss": "https://issuer.example", "aud": "api://gateway", "exp": NOW + 300, "nbf": NOW - 5,
               "iat": NOW - 5, "tid": "t-1", "oid": "o-1", "sub": "pairwise", "azp": "planner", "scp": "access_as_user"})
    }

    fn oidc_claims() -> Value {
        json!({"iss": "https://issuer.example", "aud": ["api://gateway", "account"], "exp": NOW + 300,
               "sub": "u-1", "client_id": "planner", "scope": "openid tools"})
    }

    fn run(settings: &IssuerSettings, claims: &Value) -> Result<VerifiedClaims, ClaimsError> {
        let now = Now::new(Duration::from_secs(NOW), Instant::now());
        check(claims.as_object().expect("an object of the test"), settings, now)
    }

    /// Changes one claim (`Value::Null` removes it) and checks what comes of it.
    #[track_caller]
    fn check_refused(
        settings: &IssuerSettings,
        mut claims: Value,
        name: &str,
        value: Value,
        expected: ClaimsError,
    ) {
        match value {
            Value::Null => drop(claims.as_object_mut().expect("an object of the test").remove(name)),
            value => claims[name] = value,
        }
        assert_eq!(run(settings, &claims).expect_err("refused"), expected, "{claims}");
    }

    #[test]
    fn an_entra_token_names_person_tenant_and_agent() {
        let verified = run(&entra(), &entra_claims()).expect("a good token");
        assert_eq!(verified.subject.as_str(), "o-1");
        assert_eq!(verified.tenant.id(), Some("t-1"));
        assert_eq!(verified.actor.as_ref().map(Actor::as_str), Some("planner"));
        assert!(verified.scopes.contains("access_as_user"));
        assert_eq!(verified.expires_at, NOW + 300);
    }

    #[test]
    fn an_oidc_token_names_person_and_agent() {
        let verified = run(&oidc(), &oidc_claims()).expect("a good token");
        assert_eq!(verified.subject.as_str(), "u-1");
        assert_eq!(verified.tenant, Tenant::Sole);
        assert_eq!(verified.scopes.canonical(), "openid tools");
    }

    #[test]
    fn how_the_person_signed_in_is_read() {
        let mut claims = oidc_claims();
        claims["acr"] = json!("urn:example:loa2");
        claims["acrs"] = json!(["c3", "c1", "c3"]);
        claims["amr"] = json!(["pwd", "mfa"]);
        claims["auth_time"] = json!(NOW - 60);
        claims["iat"] = json!(NOW - 5);
        let verified = run(&oidc(), &claims).expect("a good token");
        let Authentication { acr, acrs, amr } = &*verified.authentication;
        assert_eq!(acr.as_deref(), Some("urn:example:loa2"));
        assert_eq!((acrs.join(" "), amr.join(" ")), ("c1 c3".to_owned(), "mfa pwd".to_owned()));
        assert_eq!((verified.authenticated_at, verified.issued_at), (Some(NOW - 60), Some(NOW - 5)));
        check_refused(&oidc(), oidc_claims(), "acr", json!(1), ClaimsError::WrongType("acr"));
    }

    #[test]
    fn both_versions_of_a_persons_entra_token_are_one_person() {
        let settings =
            IssuerSettings { other_issuer: Some(Issuer::new("https://sts.example/t-1/")), ..entra() };
        let mut v1 = entra_claims();
        v1["iss"] = json!("https://sts.example/t-1/");
        v1["appid"] = v1.as_object_mut().expect("an object").remove("azp").expect("an agent");
        let (v1, v2) = (run(&settings, &v1).expect("good"), run(&settings, &entra_claims()).expect("good"));
        assert_eq!((&v1.issuer, &v1.tenant, &v1.subject), (&v2.issuer, &v2.tenant, &v2.subject));
        assert_eq!(v1.actor, v2.actor);
        let other = json!("https://sts.example/t-2/");
        check_refused(&settings, entra_claims(), "iss", other, ClaimsError::WrongType("iss"));
    }

    #[test]
    fn the_strict_profile_wants_what_rfc_9068_requires() {
        let settings = IssuerSettings { profile: Profile::Rfc9068, ..oidc() };
        let mut claims = oidc_claims();
        claims["jti"] = json!("t-1");
        claims["iat"] = json!(NOW);
        run(&settings, &claims).expect("a good token");
        for name in ["sub", "client_id", "jti", "iat"] {
            check_refused(&settings, claims.clone(), name, Value::Null, ClaimsError::Missing(name));
        }
    }

    #[test]
    fn claims_are_where_the_configuration_says() {
        let name = |name: &str| Some(ClaimPath::Name(name.into()));
        let pointer = |pointer: &str| Some(ClaimPath::Pointer(pointer.into()));
        let claim_names = ClaimNames {
            subject: name("https://example.com/uid"),
            agent: name("bot"),
            scopes: pointer("/rights/scopes"),
            groups: pointer("/a~1b/~0c"),
            roles: pointer("/realm_access/roles"),
        };
        let settings = IssuerSettings { claim_names, ..oidc() };
        let mut claims = oidc_claims();
        claims["https://example.com/uid"] = json!("p-1");
        claims["bot"] = json!("robot");
        claims["rights"] = json!({ "scopes": ["a b", "c"] });
        claims["a/b"] = json!({ "~c": "staff" });
        claims["realm_access"] = json!({ "roles": ["admin", "reader"] });
        let verified = run(&settings, &claims).expect("a good token");
        assert_eq!((verified.subject.as_str(), verified.scopes.canonical()), ("p-1", "a b c"));
        assert_eq!(verified.actor.as_ref().map(Actor::as_str), Some("robot"));
        assert_eq!(
            (verified.groups.join(" "), verified.roles.join(" ")),
            ("staff".into(), "admin reader".into())
        );
        let missing = ClaimsError::Missing("claims.subject");
        check_refused(&settings, claims.clone(), "https://example.com/uid", Value::Null, missing);
        check_refused(
            &settings,
            claims,
            "realm_access",
            json!({"roles": [1]}),
            ClaimsError::WrongType("claims.roles"),
        );
    }

    #[test]
    fn issuer_and_audience_are_exact_and_required() {
        use ClaimsError::{Missing, WrongType};
        let accepted =
            || ClaimsError::Audience { accepted: "api://gateway, https://gateway.example/".into() };
        for (settings, claims) in [(entra(), entra_claims()), (oidc(), oidc_claims())] {
            let check =
                |name, value, expected| check_refused(&settings, claims.clone(), name, value, expected);
            check("iss", Value::Null, Missing("iss"));
            check("iss", json!(7), WrongType("iss"));
            check("iss", json!(["https://issuer.example"]), WrongType("iss"));
            check("iss", json!("https://issuer.example/"), WrongType("iss"));
            check("aud", Value::Null, Missing("aud"));
            check("aud", json!([]), Missing("aud"));
            check("aud", json!(""), WrongType("aud"));
            check("aud", json!({"api://gateway": true}), WrongType("aud"));
            check("aud", json!(["api://gateway", 7]), WrongType("aud"));
            check("aud", json!("api://gateway/"), accepted());
            check("aud", json!("https://gateway.example"), accepted());
            check("aud", json!(["api://other"]), accepted());
        }
    }

    #[test]
    fn times_are_numbers_and_now_is_between_them() {
        use ClaimsError::{Expired, Missing, NotYetValid, WrongType};
        let check = |name, value, expected| check_refused(&entra(), entra_claims(), name, value, expected);
        check("exp", Value::Null, Missing("exp"));
        check("exp", json!("1900000000"), WrongType("exp"));
        check("exp", json!(-1), WrongType("exp"));
        check("exp", json!(-1.5), WrongType("exp"));
        check("exp", json!([1]), WrongType("exp"));
        check("exp", json!(NOW - CLOCK_SKEW_SECONDS), Expired);
        check("nbf", Value::Null, Missing("nbf"));
        check("nbf", json!("0"), WrongType("nbf"));
        check("nbf", json!(NOW + CLOCK_SKEW_SECONDS + 1), NotYetValid);
        check("nbf", json!(u64::MAX), NotYetValid);
        check("iat", json!(NOW + 3_600), NotYetValid);
        for good in
            [json!(NOW - CLOCK_SKEW_SECONDS + 1), json!(u64::MAX), json!(1e30), json!(NOW as f64 + 0.5)]
        {
            let mut claims = entra_claims();
            claims["exp"] = good;
            run(&entra(), &claims).expect("within its time");
        }
    }

    #[test]
    fn the_tenant_is_the_issuers_own() {
        use ClaimsError::{Missing, Tenant, WrongType};
        check_refused(&entra(), entra_claims(), "tid", Value::Null, Missing("tid"));
        check_refused(&entra(), entra_claims(), "tid", json!("t-2"), Tenant);
        check_refused(&entra(), entra_claims(), "tid", json!("{tenantid}"), Tenant);
        check_refused(&entra(), entra_claims(), "tid", json!(1), WrongType("tid"));
        check_refused(&entra(), entra_claims(), "oid", Value::Null, Missing("oid"));
        check_refused(&oidc(), oidc_claims(), "sub", Value::Null, Missing("sub"));
        check_refused(&oidc(), oidc_claims(), "sub", json!(""), WrongType("sub"));
    }

    #[test]
    fn only_access_tokens_of_people_are_taken() {
        use ClaimsError::{ConfirmationUnsupported, NoPerson, NotAnAccessToken, WrongType};
        check_refused(&entra(), entra_claims(), "idtyp", json!("app"), NoPerson);
        let mut application = entra_claims();
        application["roles"] = json!(["Mail.Read.All"]);
        check_refused(&entra(), application, "scp", Value::Null, NoPerson);
        assert!(matches!(
            run(&entra(), &{
                let mut id_token = entra_claims();
                id_token.as_object_mut().expect("an object of the test").remove("scp");
                id_token
            }),
            Err(NotAnAccessToken(_))
        ));
        check_refused(&oidc(), oidc_claims(), "sub", json!("planner"), NoPerson);
        check_refused(&oidc(), oidc_claims(), "sub", json!("abc@clients"), NoPerson);
        check_refused(&oidc(), oidc_claims(), "gty", json!("client-credentials"), NoPerson);
        check_refused(&oidc(), oidc_claims(), "preferred_username", json!("service-account-x"), NoPerson);
        check_refused(&oidc(), oidc_claims(), "clientHost", json!("10.0.0.1"), NoPerson);
        check_refused(&oidc(), oidc_claims(), "typ", json!("ID"), NotAnAccessToken(OtherToken::Id));
        check_refused(&oidc(), oidc_claims(), "typ", json!("Refresh"), NotAnAccessToken(OtherToken::Refresh));
        check_refused(&oidc(), oidc_claims(), "typ", json!("Logout"), NotAnAccessToken(OtherToken::Other));
        let used_as = |what: &str, other| {
            check_refused(&oidc(), oidc_claims(), "token_use", json!(what), NotAnAccessToken(other));
        };
        used_as("id", OtherToken::Id);
        used_as("refresh_token", OtherToken::Refresh);
        used_as("anything", OtherToken::Other);
        check_refused(&oidc(), oidc_claims(), "token_use", json!(1), WrongType("token_use"));
        check_refused(&oidc(), oidc_claims(), "at_hash", json!("x"), NotAnAccessToken(OtherToken::Id));
        check_refused(&oidc(), oidc_claims(), "events", json!({}), NotAnAccessToken(OtherToken::Logout));
        check_refused(&oidc(), oidc_claims(), "cnf", json!({"kid": "x"}), ConfirmationUnsupported);
        check_refused(&oidc(), oidc_claims(), "cnf", json!({"jkt": "x"}), WrongType("cnf"));
        check_refused(&oidc(), oidc_claims(), "may_act", json!("x"), WrongType("may_act"));
        check_refused(&oidc(), oidc_claims(), "groups", json!("staff"), WrongType("groups"));
        check_refused(&oidc(), oidc_claims(), "roles", json!([1]), WrongType("roles"));
        check_refused(&oidc(), oidc_claims(), "scope", json!(["a"]), WrongType("scope"));
        check_refused(
            &oidc(),
            oidc_claims(),
            "jti",
            json!("j".repeat(CLAIM_BYTES_MAX + 1)),
            WrongType("jti"),
        );
    }

    #[test]
    fn a_token_says_that_it_is_used_as_an_access_token() {
        for used_as in ["access", "access_token"] {
            let mut claims = oidc_claims();
            claims["token_use"] = json!(used_as);
            run(&oidc(), &claims).expect("a good token");
        }
    }

    #[test]
    fn a_token_that_has_expired_stays_so_when_the_wall_clock_is_set_back() {
        let began = Now::new(Duration::from_secs(NOW), Instant::now());
        let run = |now: Now| check(entra_claims().as_object().expect("an object"), &entra(), now).map(drop);
        let late = began.after(Duration::from_secs(300 + CLOCK_SKEW_SECONDS));
        assert_eq!(run(late), Err(ClaimsError::Expired));
        for back in [60, 3_600, NOW] {
            let set_back = Now { wall: late.wall.saturating_sub(Duration::from_secs(back)), ..late };
            assert_eq!(run(set_back), Err(ClaimsError::Expired), "{back} s");
        }
        let back = Now { wall: began.wall - Duration::from_secs(3_600), ..began };
        assert_eq!(run(back), Err(ClaimsError::NotYetValid), "what begins goes by the wall clock alone");
        let forward = Now { wall: began.wall + Duration::from_secs(3_600), ..began };
        assert_eq!(run(forward), Err(ClaimsError::Expired));
        assert_eq!(run(began), Ok(()));
    }

    #[test]
    fn a_persons_id_token_with_roles_is_no_applications() {
        // Entra puts the roles of a person into ID tokens as well, which name no agent and have no scopes.
        let mut id_token = entra_claims();
        id_token["roles"] = json!(["Notes.Admin"]);
        for name in ["scp", "azp"] {
            id_token.as_object_mut().expect("an object of the test").remove(name);
        }
        let now = Now::new(Duration::from_secs(NOW), Instant::now());
        let alone = |claims: &Value| {
            check_agent_alone(claims.as_object().expect("an object"), &entra(), now).map(drop)
        };
        assert!(matches!(run(&entra(), &id_token), Err(ClaimsError::NotAnAccessToken(OtherToken::Id))));
        assert_eq!(alone(&id_token), Err(ClaimsError::NoApplication));
        id_token["azp"] = json!("planner");
        assert_eq!(run(&entra(), &id_token).expect_err("an application's"), ClaimsError::NoPerson);
        assert_eq!(alone(&id_token), Ok(()));
    }

    #[test]
    fn an_application_is_seen_by_its_sub_wherever_people_are_named() {
        let claim_names =
            ClaimNames { subject: Some(ClaimPath::Name("uid".into())), ..ClaimNames::default() };
        let settings = IssuerSettings { claim_names, ..oidc() };
        let mut claims = oidc_claims();
        claims["uid"] = json!("p-1");
        run(&settings, &claims).expect("a person's token");
        check_refused(&settings, claims, "sub", json!("planner"), ClaimsError::NoPerson);
    }

    #[test]
    fn an_agent_off_the_list_is_refused() {
        let listed = IssuerSettings { agents: Some(vec![Actor::new("planner")]), ..entra() };
        run(&listed, &entra_claims()).expect("on the list");
        check_refused(&listed, entra_claims(), "azp", json!("other"), ClaimsError::Agent);
        check_refused(&listed, entra_claims(), "azp", Value::Null, ClaimsError::Agent);
        check_refused(&entra(), entra_claims(), "appid", json!("other"), ClaimsError::ActorsDiffer);
    }

    #[test]
    fn required_scopes_are_whole_words_and_named_all_at_once() {
        let required = Scopes::parse("access_as_user admin audit");
        let strict = IssuerSettings { required_scopes: required.clone(), ..entra() };
        let missing = Scopes::parse("admin audit");
        let expected = ClaimsError::Scopes { required, missing };
        check_refused(&strict, entra_claims(), "scp", json!("access_as_user admin_more audits"), expected);
    }
}
