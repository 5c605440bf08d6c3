//! Entra's on-behalf-of: an agent's token for the gateway in, the gateway's token for a resource out.

use serde_json::{Value, json};

use super::client::{Client, Proof};
use super::fault::Fault;
use super::form::Form;
use super::scopes::Asked;
use super::tenant::{Condition, Tenant};
use super::verify::TokenFault;
use crate::demo::jws::Jws;
use crate::demo::people::Person;

/// Answers one on-behalf-of request of an authenticated client.
pub(super) fn exchange(tenant: &Tenant, client: &Client, form: &Form) -> Result<Value, Fault> {
    if client.proof == Proof::Nothing {
        return Err(Fault::credential_missing());
    }
    if form.required("requested_token_use")? != "on_behalf_of" {
        return Err(malformed());
    }
    if form.get("resource").is_some() {
        let text = "The 'resource' request parameter is not supported.";
        return Err(Fault::coded("invalid_request", 901_002, text));
    }
    let assertion = check_assertion(tenant, client, form.required("assertion")?)?;
    let person = assertion.text("oid").and_then(|oid| tenant.person(oid)).ok_or_else(|| {
        Fault::coded("invalid_grant", 50034, "The user account does not exist in the directory.")
    })?;
    let demands = Demands::parse(form.get("claims"))?;
    let implied = tenant.settings.resources.first().map_or("", |resource| resource.audience.as_str());
    let scope = form.required("scope")?;
    let asked = Asked::parse(scope, &tenant.settings, implied)?;
    let Some(audience) = asked.audience.as_deref() else { return Err(Fault::bad_scope(scope)) };
    check_conditions(tenant, person, &assertion, audience, &demands)?;
    let consented = tenant.consented(&person.oid, &client.id, audience);
    let is_consented = asked.names.iter().all(|name| consented.contains(name));
    if !is_consented || consented.is_empty() {
        return Err(Fault::consent_missing(&client.id, &tenant.settings.gateway.name));
    }

    let mut claims = tenant.person_claims(person, &client.id, audience);
    claims["azpacr"] = json!(client.proof.class());
    // Not only what was asked for: every scope of the resource that the person has consented to.
    claims["scp"] = json!(consented.join(" "));
    if let Some(session) = assertion.text("sid") {
        claims["sid"] = json!(session);
    }
    if !demands.acrs.is_empty() {
        claims["acrs"] = json!(demands.acrs);
    }
    if !demands.capabilities.is_empty() {
        claims["xms_cc"] = json!(demands.capabilities);
    }
    let full_names: Vec<String> = consented.iter().map(|name| format!("{audience}/{name}")).collect();
    let life = tenant.settings.access_token_lifespan.as_secs();
    Ok(json!({
        "token_type": "Bearer",
        "scope": full_names.join(" "),
        "expires_in": life,
        "ext_expires_in": life,
        "access_token": tenant.issue_delegated(claims),
    }))
}

fn check_assertion<'a>(tenant: &Tenant, client: &Client, assertion: &'a str) -> Result<Jws<'a>, Fault> {
    let jws = tenant.verify(assertion, |_| true).map_err(|fault| match fault {
        TokenFault::OutOfTime => Fault::assertion_out_of_time(),
        TokenFault::OtherAudience => Fault::wrong_assertion_audience(),
        TokenFault::Malformed
        | TokenFault::UnknownKey
        | TokenFault::BadSignature
        | TokenFault::OtherIssuer => Fault::bad_assertion(fault.text()),
    })?;
    if jws.text("idtyp") == Some("app") {
        return Err(Fault::app_only_assertion(&client.id));
    }
    // An ID token's audience is the agent, so this has to be asked before the audience is.
    if jws.scopes().is_empty() {
        return Err(Fault::id_token_used());
    }
    if !jws.text("aud").is_some_and(|audience| tenant.settings.gateway.goes_by(audience)) {
        return Err(Fault::wrong_assertion_audience());
    }
    Ok(jws)
}

fn check_conditions(
    tenant: &Tenant,
    person: &Person,
    assertion: &Jws<'_>,
    audience: &str,
    demands: &Demands,
) -> Result<(), Fault> {
    let satisfied = assertion.list("acrs");
    if demands.acrs.iter().any(|demanded| !satisfied.contains(&demanded.as_str())) {
        return Err(Fault::multi_factor_required(audience, demands.text.clone()));
    }
    match tenant.condition(&person.oid) {
        None => Ok(()),
        Some(Condition::Refuse(fault)) => Err(fault),
        Some(Condition::StepUp { acrs }) if satisfied.contains(&acrs.as_str()) => Ok(()),
        Some(Condition::StepUp { acrs }) => {
            let claims = json!({ "access_token": { "acrs": { "essential": true, "value": acrs } } });
            Err(Fault::multi_factor_required(audience, claims.to_string()))
        }
    }
}

/// What the `claims` parameter asks of the new token.
#[derive(Default)]
struct Demands {
    text: String,
    acrs: Vec<String>,
    capabilities: Vec<String>,
}

impl Demands {
    fn parse(claims: Option<&str>) -> Result<Self, Fault> {
        let Some(text) = claims else { return Ok(Self::default()) };
        let claims: Value = serde_json::from_str(text).map_err(|_| malformed())?;
        if !claims.is_object() {
            return Err(malformed());
        }
        Ok(Self {
            text: text.to_owned(),
            acrs: values(&claims["access_token"]["acrs"]),
            capabilities: values(&claims["access_token"]["xms_cc"]),
        })
    }
}

/// `value` and `values` of one claim of a claims request (OpenID Connect Core section 5.5.1).
fn values(claim: &Value) -> Vec<String> {
    let many = claim["values"].as_array().into_iter().flatten();
    many.chain([&claim["value"]]).filter_map(Value::as_str).map(str::to_owned).collect()
}

fn malformed() -> Fault {
    Fault::coded("invalid_request", 9_002_313, "Invalid request. Request is malformed or invalid.")
}
