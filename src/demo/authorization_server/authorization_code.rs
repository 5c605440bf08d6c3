//! Authorization codes: given out at sign-in, redeemed once, by whoever holds the PKCE verifier.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use serde_json::{Value, json};

use super::client::Client;
use super::fault::Fault;
use super::form::Form;
use super::scopes::Asked;
use super::tenant::Tenant;
use super::tokens;
use crate::demo::jws::sha256_base64url;
use crate::demo::people::Person;
use crate::demo::{lock, random};

/// What a code stands for.
#[derive(Clone)]
pub(super) struct Code {
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) code_challenge: String,
    pub(super) person: String,
    pub(super) asked: Asked,
    pub(super) nonce: Option<String>,
    pub(super) born: Instant,
}

/// Codes in circulation. A redeemed one stays as a tombstone, so that its second use can be told from a
/// guess.
#[derive(Default)]
pub(super) struct Codes(Mutex<HashMap<String, (Instant, Option<Code>)>>);

impl Codes {
    pub(super) fn issue(&self, code: Code, tenant: &Tenant) -> String {
        let mut codes = lock(&self.0);
        let kept = tenant.settings.code_lifespan * 2;
        codes.retain(|_, (born, _)| born.elapsed() < kept);
        let name = random::token();
        codes.insert(name.clone(), (code.born, Some(code)));
        name
    }

    fn take(&self, name: &str) -> Result<Code, Fault> {
        match lock(&self.0).get_mut(name) {
            None => {
                Err(Fault::coded("invalid_grant", 70000, "The provided authorization code is not valid."))
            }
            Some((_, code)) => code.take().ok_or_else(|| {
                let text =
                    "OAuth2 Authorization code was already redeemed, please retry with a new valid code.";
                Fault::coded("invalid_grant", 54005, text)
            }),
        }
    }
}

/// Answers one redemption. Whatever is wrong with it, the code is used up.
pub(super) fn redeem(tenant: &Tenant, client: &Client, form: &Form) -> Result<Value, Fault> {
    let code = tenant.codes.take(form.required("code")?)?;
    let verifier = form.required("code_verifier")?;
    if code.client_id != client.id {
        return Err(Fault::coded("invalid_grant", 70000, "The code was issued to another client."));
    }
    if code.born.elapsed() >= tenant.settings.code_lifespan {
        return Err(Fault::coded("invalid_grant", 70008, "The provided authorization code has expired."));
    }
    if form.required("redirect_uri")? != code.redirect_uri {
        let text = "The reply address does not match the one provided when requesting the code.";
        return Err(Fault::coded("invalid_grant", 500_112, text));
    }
    // RFC 7636 section 4.1 bounds the verifier's length.
    if !(43..=128).contains(&verifier.len()) || sha256_base64url(verifier.as_bytes()) != code.code_challenge {
        let text =
            "The Code_Verifier does not match the code_challenge supplied in the authorization request.";
        return Err(Fault::coded("invalid_grant", 501_481, text));
    }
    let person = tenant
        .person(&code.person)
        .ok_or_else(|| Fault::coded("invalid_grant", 50034, "The user account does not exist."))?;
    let mut answer = tokens_for(tenant, person, &code);
    if code.asked.offline && code.client_id == tenant.settings.gateway.client_id {
        answer["refresh_token"] = json!(tenant.refresh_tokens.begin(&code));
    }
    Ok(answer)
}

/// What a code stands for; so does each refresh token that it led to.
pub(super) fn tokens_for(tenant: &Tenant, person: &Person, code: &Code) -> Value {
    let gateway = &tenant.settings.gateway;
    if code.client_id == gateway.client_id {
        return tokens_for_the_gateway(tenant, person, code);
    }
    let every_scope = || gateway.scopes.iter().map(|scope| scope.name.clone()).collect();
    let scopes: Vec<String> =
        if code.asked.names.is_empty() { every_scope() } else { code.asked.names.clone() };
    let full_names: Vec<String> =
        scopes.iter().map(|name| format!("{}/{name}", gateway.app_id_uri)).collect();
    let life = tenant.settings.access_token_lifespan.as_secs();
    let mut answer = json!({
        "token_type": "Bearer",
        "scope": full_names.join(" "),
        "expires_in": life,
        "ext_expires_in": life,
        "access_token": tenant.sign(tenant.subject_claims(person, &scopes.join(" "))),
    });
    if code.asked.openid {
        answer["id_token"] = json!(id_token(tenant, person, &code.client_id, code.nonce.as_deref()));
    }
    answer
}

/// What the gateway gets as a client of its own: for a resource that the person let it use, or to know who signed in.
fn tokens_for_the_gateway(tenant: &Tenant, person: &Person, code: &Code) -> Value {
    let audience = code.asked.audience.clone().unwrap_or_else(|| tenant.userinfo_endpoint());
    let names =
        if code.asked.names.is_empty() { vec!["openid".to_owned()] } else { code.asked.names.clone() };
    let mut claims = tenant.person_claims(person, &code.client_id, &audience);
    claims["scp"] = json!(names.join(" "));
    let full_names: Vec<String> = match &code.asked.audience {
        Some(audience) => names.iter().map(|name| format!("{audience}/{name}")).collect(),
        None => names,
    };
    let mut answer = json!({
        "token_type": "Bearer",
        "scope": full_names.join(" "),
        "expires_in": tenant.settings.access_token_lifespan.as_secs(),
        "access_token": tenant.issue_delegated(claims),
    });
    if code.asked.openid {
        answer["id_token"] = json!(id_token(tenant, person, &code.client_id, code.nonce.as_deref()));
    }
    answer
}

/// An ID token: it says to the agent who signed in, and is of no use anywhere else.
pub(super) fn id_token(tenant: &Tenant, person: &Person, client_id: &str, nonce: Option<&str>) -> String {
    let settings = &tenant.settings;
    let mut claims =
        tokens::dated(&tenant.issuer(), &settings.tenant, client_id, settings.access_token_lifespan);
    claims["name"] = json!(person.name);
    claims["oid"] = json!(person.oid);
    claims["preferred_username"] = json!(person.user_name);
    claims["sub"] = json!(tenant.subject_at(person, client_id));
    if let Some(nonce) = nonce {
        claims["nonce"] = json!(nonce);
    }
    tenant.sign(claims)
}
