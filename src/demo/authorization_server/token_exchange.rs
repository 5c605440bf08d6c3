//! RFC 8693 token exchange, as a server does it that follows the RFC and adds nothing.

use serde_json::{Value, json};

use super::client::{Client, Proof};
use super::fault::Fault;
use super::form::Form;
use super::id_jag;
use super::scopes::Asked;
use super::tenant::{Condition, Tenant};
use crate::demo::jws::Jws;
use crate::demo::people::Person;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// Answers one token exchange of an authenticated client.
pub(super) fn exchange(tenant: &Tenant, client: &Client, form: &Form) -> Result<Value, Fault> {
    if client.proof == Proof::Nothing {
        return Err(Fault::plain("invalid_client", "a public client may not exchange tokens"));
    }
    let issued_token_type = form.get("requested_token_type").unwrap_or(ACCESS_TOKEN);
    let vouching = issued_token_type == id_jag::TOKEN_TYPE;
    if !vouching {
        check_type("requested_token_type", issued_token_type)?;
    }
    let subject = subject(tenant, form)?;
    let person = subject
        .text("oid")
        .and_then(|oid| tenant.person(oid))
        .ok_or_else(|| invalid_request("the subject is not known here"))?;
    let actor = actor(tenant, client, form)?;
    if subject.claims.get("may_act").is_some_and(|may_act| may_act["sub"] != actor) {
        return Err(invalid_request("the subject token lets somebody else act"));
    }
    if vouching {
        check_condition(tenant, person)?;
        return id_jag::issue(tenant, person, form);
    }
    let (audience, scopes) = target(tenant, form)?;
    check_condition(tenant, person)?;
    let consented = tenant.consented(&person.oid, &client.id, &audience);
    let granted = if scopes.is_empty() { consented.clone() } else { scopes };
    if granted.is_empty() || granted.iter().any(|scope| !consented.contains(scope)) {
        return Err(Fault::plain("invalid_scope", "the subject has not agreed to every scope"));
    }

    let scope = granted.join(" ");
    let mut claims = tenant.person_claims(person, &client.id, &audience);
    let members = claims.as_object_mut().expect("claims are an object");
    // The names of RFC 9068 and RFC 8693 in place of Entra's.
    for entra in ["azp", "ver", "uti"] {
        members.remove(entra);
    }
    members.insert("jti".to_owned(), json!(crate::demo::random::guid()));
    members.insert("client_id".to_owned(), json!(client.id));
    members.insert("scope".to_owned(), json!(scope));
    let mut act = json!({ "sub": actor });
    if let Some(earlier) = subject.claims.get("act") {
        act["act"] = earlier.clone();
    }
    members.insert("act".to_owned(), act);
    Ok(json!({
        "access_token": tenant.issue_delegated(claims),
        "issued_token_type": issued_token_type,
        "token_type": "Bearer",
        "expires_in": tenant.settings.access_token_lifespan.as_secs(),
        "scope": scope,
    }))
}

fn check_condition(tenant: &Tenant, person: &Person) -> Result<(), Fault> {
    match tenant.condition(&person.oid) {
        Some(Condition::Refuse(fault)) => Err(fault),
        // RFC 8693 has no word for a step-up.
        Some(Condition::StepUp { .. }) => Err(invalid_request("the subject must sign in again")),
        None => Ok(()),
    }
}

fn subject<'a>(tenant: &Tenant, form: &'a Form) -> Result<Jws<'a>, Fault> {
    let token = form.get("subject_token").ok_or_else(|| invalid_request("subject_token is missing"))?;
    let kind =
        form.get("subject_token_type").ok_or_else(|| invalid_request("subject_token_type is missing"))?;
    check_type("subject_token_type", kind)?;
    let gateway = &tenant.settings.gateway;
    let is_ours = |jws: &Jws<'_>| {
        jws.is_for(&gateway.client_id)
            || jws.is_for(&gateway.app_id_uri)
            || gateway.identifier_uris.iter().any(|uri| jws.is_for(uri))
    };
    let jws = tenant
        .verify(token, is_ours)
        .map_err(|fault| invalid_request(format!("the subject token is not acceptable: {}", fault.text())))?;
    if jws.scopes().is_empty() {
        return Err(invalid_request("the subject token is not a person's access token"));
    }
    Ok(jws)
}

/// Who acts: the subject of the actor token, or else the client itself.
fn actor(tenant: &Tenant, client: &Client, form: &Form) -> Result<String, Fault> {
    let (token, kind) = match (form.get("actor_token"), form.get("actor_token_type")) {
        (None, None) => return Ok(client.id.clone()),
        (Some(token), Some(kind)) => (token, kind),
        (Some(_), None) => return Err(invalid_request("actor_token_type is missing")),
        (None, Some(_)) => return Err(invalid_request("actor_token_type without actor_token")),
    };
    check_type("actor_token_type", kind)?;
    let jws = tenant
        .verify(token, |_| true)
        .map_err(|fault| invalid_request(format!("the actor token is not acceptable: {}", fault.text())))?;
    // An application is named by its client id; only a person is named by `sub`.
    let name = jws.text("azp").filter(|_| jws.text("idtyp") == Some("app")).or_else(|| jws.text("sub"));
    name.map(str::to_owned).ok_or_else(|| invalid_request("the actor token names nobody"))
}

/// The one resource that the token will be for, and the scopes asked for.
fn target(tenant: &Tenant, form: &Form) -> Result<(String, Vec<String>), Fault> {
    let mut audience: Option<String> = None;
    for resource in form.all("resource") {
        let is_absolute = url::Url::parse(resource).is_ok_and(|url| url.fragment().is_none());
        if !is_absolute {
            return Err(invalid_target("resource is not an absolute URI without a fragment"));
        }
    }
    for identifier in form.all("audience").chain(form.all("resource")) {
        let resource = tenant.settings.resource(identifier).ok_or_else(|| invalid_target("it is unknown"))?;
        if audience.as_ref().is_some_and(|earlier| *earlier != resource.audience) {
            return Err(invalid_target("one token is for one target"));
        }
        audience = Some(resource.audience);
    }
    let implied = audience.clone().unwrap_or_default();
    let asked =
        Asked::parse(form.get("scope").unwrap_or_default(), &tenant.settings, &implied).map_err(|fault| {
            match fault.error() {
                "invalid_scope" => fault.without_code(),
                _ => invalid_target("a scope names a target that is unknown, or another one"),
            }
        })?;
    if let (Some(named), Some(by_scope)) = (&audience, &asked.audience)
        && named != by_scope
    {
        return Err(invalid_target("audience and scope name two targets"));
    }
    let audience = audience.or(asked.audience).ok_or_else(|| invalid_target("none is named"))?;
    if audience == tenant.settings.gateway.client_id {
        return Err(invalid_target("it is the client itself"));
    }
    Ok((audience, asked.names))
}

fn check_type(parameter: &str, kind: &str) -> Result<(), Fault> {
    if kind == ACCESS_TOKEN || kind == JWT {
        return Ok(());
    }
    Err(invalid_request(format!("{parameter} is not one that this server knows")))
}

pub(super) fn invalid_request(text: impl Into<String>) -> Fault {
    Fault::plain("invalid_request", text)
}

pub(super) fn invalid_target(why: &str) -> Fault {
    Fault::plain("invalid_target", format!("the target is refused: {why}"))
}
