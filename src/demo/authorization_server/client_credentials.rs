//! Client credentials: a token for the application itself, and for no person (RFC 6749 section 4.4). As Entra has it, or,
//! for who names the target by `audience` or `resource`, as a server that follows the RFCs and adds nothing.

use serde_json::{Value, json};

use super::client::{Client, Proof};
use super::fault::Fault;
use super::form::Form;
use super::scopes::Asked;
use super::settings::Resource;
use super::tenant::{Condition, Tenant};
use super::token_exchange::invalid_target;
use super::tokens;
use crate::demo::jws::sha256_base64url;

/// Whether a request is one of the plain kind, and is to be answered so.
pub(super) fn is_plain(form: &Form) -> bool {
    form.get("audience").is_some() || form.get("resource").is_some()
}

/// Answers one request of an authenticated client.
pub(super) fn grant(tenant: &Tenant, client: &Client, form: &Form) -> Result<Value, Fault> {
    if client.proof == Proof::Nothing {
        return Err(Fault::credential_missing());
    }
    if let Some(Condition::Refuse(fault)) = tenant.condition(&client.id) {
        return Err(fault);
    }
    match is_plain(form) {
        true => plain(tenant, client, form),
        false => entra(tenant, client, form),
    }
}

/// With roles where a person's token would have scopes.
fn entra(tenant: &Tenant, client: &Client, form: &Form) -> Result<Value, Fault> {
    let scope = form.required("scope")?;
    let Some(resource) = scope.strip_suffix("/.default").filter(|resource| !resource.contains(' ')) else {
        let text = format!(
            "The provided value for scope {scope} is not valid. Client credential flows must have a scope \
             value with /.default suffixed to the resource identifier (application ID URI)."
        );
        return Err(Fault::coded("invalid_scope", 1_002_012, text));
    };
    let settings = &tenant.settings;
    let Some(resource) = settings.resource(resource) else {
        return Err(Fault::unknown_resource(resource, &settings.tenant));
    };
    let mut claims = dated(tenant, &resource);
    // The service principal: an object of the tenant that stands for the application.
    let principal = sha256_base64url(format!("service principal {}", client.id).as_bytes());
    claims["azp"] = json!(client.id);
    claims["azpacr"] = json!(client.proof.class());
    claims["idtyp"] = json!("app");
    claims["oid"] = json!(principal);
    claims["sub"] = json!(principal);
    claims["roles"] = json!(roles(tenant, &resource));
    let life = settings.access_token_lifespan.as_secs();
    Ok(json!({
        "token_type": "Bearer",
        "expires_in": life,
        "ext_expires_in": life,
        "access_token": tenant.issue_to_application(claims),
    }))
}

/// In the form of RFC 9068: the client is its own subject, and its permissions are scopes.
fn plain(tenant: &Tenant, client: &Client, form: &Form) -> Result<Value, Fault> {
    let settings = &tenant.settings;
    let identifiers: Vec<&str> = form.all("audience").chain(form.all("resource")).collect();
    let mut resources = identifiers.iter().map(|identifier| settings.resource(identifier));
    let resource = resources.next().flatten().ok_or_else(|| invalid_target("it is unknown"))?;
    if resources.any(|other| other.is_none_or(|other| other.audience != resource.audience)) {
        return Err(invalid_target("one token is for one target"));
    }
    let granted = roles(tenant, &resource);
    let asked = Asked::parse(form.get("scope").unwrap_or_default(), settings, &resource.audience)
        .map_err(Fault::without_code)?;
    if asked.names.iter().any(|name| !granted.contains(&name.as_str())) {
        return Err(Fault::plain("invalid_scope", "the client may not have every scope"));
    }
    let scope = if asked.names.is_empty() { granted.join(" ") } else { asked.names.join(" ") };
    let mut claims = dated(tenant, &resource);
    let members = claims.as_object_mut().expect("claims are an object");
    for entra in ["ver", "uti", "tid"] {
        members.remove(entra);
    }
    members.insert("jti".to_owned(), json!(crate::demo::random::guid()));
    members.insert("client_id".to_owned(), json!(client.id));
    members.insert("sub".to_owned(), json!(client.id));
    members.insert("scope".to_owned(), json!(scope));
    Ok(json!({
        "access_token": tenant.issue_to_application(claims),
        "token_type": "Bearer",
        "expires_in": settings.access_token_lifespan.as_secs(),
        "scope": scope,
    }))
}

fn dated(tenant: &Tenant, resource: &Resource) -> Value {
    let settings = &tenant.settings;
    tokens::dated(&tenant.issuer(), &settings.tenant, &resource.audience, settings.access_token_lifespan)
}

/// What the application may do at a resource.
fn roles<'a>(tenant: &'a Tenant, resource: &Resource) -> Vec<&'a str> {
    let roles = tenant.settings.gateway.app_roles.iter();
    roles.filter(|one| one.audience == resource.audience).map(|one| one.role.as_str()).collect()
}
