//! Refresh tokens: each is used once, and when one comes a second time, somebody has stolen one, so that all of its family are
//! over (RFC 9700 section 4.14.2). And the endpoint where they are given back (RFC 7009).

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};

use super::authorization_code::{self, Code};
use super::client::Client;
use super::fault::Fault;
use super::form::Form;
use super::respond::json_response;
use super::tenant::Tenant;
use crate::demo::body::Body;
use crate::demo::{lock, random};

/// Refresh tokens in circulation. Used ones stay, so that their second use can be told from a guess.
#[derive(Default)]
pub(super) struct RefreshTokens(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    tokens: HashMap<String, Refresh>,
    /// Families that are over.
    over: HashSet<usize>,
    families: usize,
    reused: usize,
}

#[derive(Clone)]
struct Refresh {
    family: usize,
    code: Code,
    used: bool,
}

impl RefreshTokens {
    /// The first refresh token of what a code stood for.
    pub(super) fn begin(&self, code: &Code) -> String {
        let mut kept = lock(&self.0);
        kept.families += 1;
        let family = kept.families;
        kept.add(family, code.clone())
    }

    /// What a refresh token stands for, and the one that takes its place.
    fn redeem(&self, token: &str, client_id: &str, rotates: bool) -> Result<(Code, Option<String>), Fault> {
        let refused = |text: &str| Fault::coded("invalid_grant", 700_082, text);
        let mut kept = lock(&self.0);
        let found =
            kept.tokens.get(token).cloned().ok_or_else(|| refused("The refresh token is not known."))?;
        if found.code.client_id != client_id {
            return Err(refused("The refresh token was issued to another client."));
        }
        if kept.over.contains(&found.family) {
            return Err(refused("The grant has been revoked."));
        }
        if found.used {
            kept.reused += 1;
            kept.over.insert(found.family);
            return Err(refused("The refresh token has been used before, so all of its family are revoked."));
        }
        if !rotates {
            return Ok((found.code, None));
        }
        if let Some(token) = kept.tokens.get_mut(token) {
            token.used = true;
        }
        let next = kept.add(found.family, found.code.clone());
        Ok((found.code, Some(next)))
    }

    /// Ends the family of a refresh token. One that is not known is no news (RFC 7009 section 2.2).
    fn give_back(&self, token: &str) {
        let mut kept = lock(&self.0);
        if let Some(family) = kept.tokens.get(token).map(|token| token.family) {
            kept.over.insert(family);
        }
    }

    /// Ends all that a person has granted.
    pub(super) fn end_all_of(&self, person: &str) {
        let mut kept = lock(&self.0);
        let families: Vec<usize> = kept
            .tokens
            .values()
            .filter(|token| token.code.person == person)
            .map(|token| token.family)
            .collect();
        kept.over.extend(families);
    }

    /// How often a refresh token came a second time.
    pub(super) fn reused(&self) -> usize {
        lock(&self.0).reused
    }

    /// How many families there are that are not over.
    pub(super) fn alive(&self) -> usize {
        let kept = lock(&self.0);
        kept.families - kept.over.len()
    }
}

impl Kept {
    fn add(&mut self, family: usize, code: Code) -> String {
        let name = random::token();
        self.tokens.insert(name.clone(), Refresh { family, code, used: false });
        name
    }
}

/// Answers one refresh.
pub(super) fn redeem(tenant: &Tenant, client: &Client, form: &Form) -> Result<Value, Fault> {
    let token = form.required("refresh_token")?;
    let rotates = tenant.settings.rotates_refresh_tokens;
    let (code, next) = tenant.refresh_tokens.redeem(token, &client.id, rotates)?;
    let person = tenant
        .person(&code.person)
        .ok_or_else(|| Fault::coded("invalid_grant", 50034, "The user account does not exist."))?;
    let mut answer = authorization_code::tokens_for(tenant, person, &code);
    if let Some(next) = next {
        answer["refresh_token"] = json!(next);
    }
    Ok(answer)
}

impl Tenant {
    pub(super) fn revocation_endpoint(&self) -> String {
        format!("{}/{}/oauth2/v2.0/revoke", self.origin, self.settings.tenant)
    }

    pub(super) fn userinfo_endpoint(&self) -> String {
        format!("{}/{}/oidc/userinfo", self.origin, self.settings.tenant)
    }

    /// Takes a token back.
    pub(super) fn answer_revocation(&self, headers: &HeaderMap, form: &Form) -> Response<Body> {
        let taken = Client::authenticate(self, headers, form)
            .and_then(|_| form.required("token").map(|token| self.refresh_tokens.give_back(token)));
        match taken {
            Ok(()) => json_response(StatusCode::OK, &json!({})),
            Err(fault) => fault.without_code().answer(headers, &self.origin),
        }
    }

    /// Says whose token a request carries.
    pub(super) fn answer_userinfo(&self, headers: &HeaderMap) -> Response<Body> {
        let token = headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| value.strip_prefix("Bearer "));
        let verified = token.and_then(|token| self.verify(token, |_| true).ok());
        let person = verified.as_ref().and_then(|token| self.person(token.text("oid")?));
        match person {
            Some(person) => json_response(
                StatusCode::OK,
                &json!({ "sub": person.oid, "name": person.name, "email": person.user_name }),
            ),
            None => json_response(StatusCode::UNAUTHORIZED, &json!({ "error": "invalid_token" })),
        }
    }
}
