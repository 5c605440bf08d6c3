//! ID-JAG (draft-ietf-oauth-identity-assertion-authz-grant), from both sides: this server vouches for its people to
//! another one, and takes the word of another one for people that both know.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, Proof};
use super::fault::Fault;
use super::form::Form;
use super::tenant::{Condition, Tenant};
use super::token_exchange::{invalid_request, invalid_target};
use super::tokens::TokenBuilder;
use crate::demo::jws::{Algorithm, Jws, PublicKey};
use crate::demo::people::Person;
use crate::demo::{clock, lock, random};

/// What it is called in a token exchange.
pub(super) const TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// What it is called in its own header.
const TYP: &str = "oauth-id-jag+jwt";

/// How long one lives.
const LIFE: Duration = Duration::from_secs(300);

/// Seconds by which two clocks may differ.
const SKEW_SECONDS: i64 = 60;

impl Tenant {
    /// An ID-JAG about to be signed.
    pub(super) fn id_jag(
        &self,
        person: &Person,
        audience: &str,
        client_id: &str,
        scope: &str,
    ) -> TokenBuilder {
        let (keys, now) = (self.keys(), clock::now());
        let mut claims = json!({
            "iss": self.issuer(),
            "sub": self.subject_at(person, audience),
            "aud": audience,
            "client_id": client_id,
            "jti": random::guid(),
            "iat": now,
            "exp": now + LIFE.as_secs() as i64,
            "email": person.user_name,
        });
        if !scope.is_empty() {
            claims["scope"] = json!(scope);
        }
        TokenBuilder::new(claims, keys.signing(Algorithm::Rs256), keys.signing(Algorithm::Es256))
            .header("typ", TYP)
    }
}

/// The first leg: vouches for a person to the server that `audience` names.
pub(super) fn issue(tenant: &Tenant, person: &Person, form: &Form) -> Result<Value, Fault> {
    let audiences: Vec<&str> = form.all("audience").collect();
    let [audience] = audiences.as_slice() else { return Err(invalid_request("there must be one audience")) };
    let client_id = lock(&tenant.vouched_to).get(*audience).cloned();
    let client_id = client_id.ok_or_else(|| invalid_target("nobody is vouched for there"))?;
    let resources: Vec<&str> = form.all("resource").collect();
    if resources.iter().any(|resource| url::Url::parse(resource).is_err()) {
        return Err(invalid_target("resource is not an absolute URI"));
    }
    let scope = form.get("scope").unwrap_or_default();
    let mut id_jag = tenant.id_jag(person, audience, &client_id, scope);
    if let [resource] = resources.as_slice() {
        id_jag = id_jag.claim("resource", *resource);
    }
    Ok(json!({
        "access_token": id_jag.mint(),
        "issued_token_type": TOKEN_TYPE,
        "token_type": "N_A",
        "expires_in": LIFE.as_secs(),
        "scope": scope,
    }))
}

/// Whether a request with an assertion (RFC 7523) is about an ID-JAG, and not Entra's on-behalf-of.
pub(super) fn is_meant(tenant: &Tenant, form: &Form) -> bool {
    !tenant.settings.trusted_issuers.is_empty() && form.get("requested_token_use").is_none()
}

/// The second leg: a token for a person that a trusted issuer vouches for.
pub(super) fn redeem(tenant: &Tenant, client: &Client, form: &Form) -> Result<Value, Fault> {
    if client.proof == Proof::Nothing {
        return Err(Fault::plain("invalid_client", "a public client may not use this grant"));
    }
    let token = form.get("assertion").ok_or_else(|| invalid_request("assertion is missing"))?;
    let id_jag = verify(tenant, client, token).map_err(|why| Fault::plain("invalid_grant", why))?;
    let named = |person: &&Person| {
        id_jag.text("sub") == Some(&person.oid) || id_jag.text("email") == Some(&person.user_name)
    };
    let person = tenant.settings.people.iter().find(named);
    let person = person.ok_or_else(|| Fault::plain("invalid_grant", "the person is not known here"))?;
    match tenant.condition(&person.oid) {
        Some(Condition::Refuse(fault)) => return Err(fault),
        Some(Condition::StepUp { .. }) => {
            let text = "the person has to prove more to the issuer";
            return Err(Fault::plain("insufficient_user_authentication", text));
        }
        None => {}
    }
    let resource = &tenant.settings.resources.first().ok_or_else(|| invalid_target("there is none"))?;
    let scopes: Vec<&str> =
        form.get("scope").unwrap_or_default().split(' ').filter(|s| !s.is_empty()).collect();
    let vouched = id_jag.scopes();
    let is_had =
        |scope: &&str| resource.scopes.iter().any(|one| one.name == *scope) && vouched.contains(scope);
    if scopes.is_empty() || !scopes.iter().all(is_had) {
        return Err(Fault::plain("invalid_scope", "a scope is unknown, or the issuer does not vouch for it"));
    }
    let scope = scopes.join(" ");
    let mut claims = tenant.person_claims(person, &client.id, &resource.audience);
    let members = claims.as_object_mut().expect("claims are an object");
    for entra in ["azp", "ver", "uti"] {
        members.remove(entra);
    }
    members.insert("jti".to_owned(), json!(random::guid()));
    members.insert("client_id".to_owned(), json!(client.id));
    members.insert("scope".to_owned(), json!(scope));
    Ok(json!({
        "access_token": tenant.issue_delegated(claims),
        "token_type": "Bearer",
        "expires_in": tenant.settings.access_token_lifespan.as_secs(),
        "scope": scope,
    }))
}

fn verify<'a>(tenant: &Tenant, client: &Client, token: &'a str) -> Result<Jws<'a>, &'static str> {
    let jws = Jws::parse(token).ok_or("the assertion is malformed")?;
    if jws.header("typ") != Some(TYP) || jws.header.contains_key("crit") {
        return Err("the assertion is no ID-JAG");
    }
    let issuers = &tenant.settings.trusted_issuers;
    let issuer = issuers.iter().find(|one| jws.text("iss") == Some(&one.issuer));
    let keys =
        issuer.and_then(|issuer| issuer.key_set["keys"].as_array()).ok_or("the issuer is not trusted")?;
    let key = keys.iter().find(|key| jws.header("kid").is_some_and(|kid| key["kid"] == kid));
    let key = key.and_then(PublicKey::from_jwk).ok_or("the key is not known")?;
    let algorithm = jws.header("alg").and_then(Algorithm::named).ok_or("the algorithm is not known")?;
    if !key.verifies(algorithm, &jws) {
        return Err("the signature does not verify");
    }
    if jws.text("aud") != Some(tenant.issuer().as_str()) {
        return Err("the assertion is for somebody else");
    }
    if jws.text("client_id") != Some(client.id.as_str()) {
        return Err("the assertion is for another client");
    }
    let now = clock::now();
    let (Some(expires), Some(issued)) = (jws.number("exp"), jws.number("iat")) else {
        return Err("the assertion has no times");
    };
    if expires <= now - SKEW_SECONDS || issued > now + SKEW_SECONDS {
        return Err("the assertion is out of its time");
    }
    let jti = jws.text("jti").ok_or("the assertion has no id")?;
    if !tenant.is_new_assertion(jti, expires.saturating_add(SKEW_SECONDS), now) {
        return Err("the assertion was presented before");
    }
    Ok(jws)
}
