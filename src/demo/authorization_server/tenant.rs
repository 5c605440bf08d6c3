//! The tenant's state, shared by every request and every test handle.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::authorization_code::Codes;
use super::fault::Fault;
use super::interaction::Interactions;
use super::keys::Keys;
use super::record::Exchange;
use super::refresh::RefreshTokens;
use super::settings::{Consent, Settings};
use super::tokens::{self, TokenBuilder};
use crate::demo::jws::Algorithm;
use crate::demo::kept::Kept;
use crate::demo::lock;
use crate::demo::people::Person;
use crate::demo::script::Script;

/// An endpoint that is counted and can be scripted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The metadata documents.
    Discovery,
    /// The key set.
    Jwks,
    /// The token endpoint.
    Token,
    /// The authorization endpoint and the pages behind it.
    Authorize,
    /// The introspection endpoint.
    Introspection,
    /// The revocation endpoint.
    Revocation,
    /// The user-info endpoint.
    UserInfo,
}

/// What stands between one person and a delegated token, or between the gateway and a token of its own.
#[derive(Clone)]
pub(super) enum Condition {
    /// This refusal, always.
    Refuse(Fault),
    /// A claims challenge, until the assertion has this authentication context in `acrs`.
    StepUp { acrs: String },
}

/// The tenant.
pub(super) struct Tenant {
    pub(super) settings: Settings,
    pub(super) origin: String,
    pub(super) codes: Codes,
    pub(super) refresh_tokens: RefreshTokens,
    pub(super) interactions: Interactions,
    pub(super) exchanges: Mutex<Kept<Exchange>>,
    keys: Mutex<Arc<Keys>>,
    consents: Mutex<BTreeSet<Consent>>,
    /// By the object id of a person, or the id of a client.
    conditions: Mutex<HashMap<String, Condition>>,
    presented_assertions: Mutex<HashMap<String, i64>>,
    issued: Mutex<Kept<String>>,
    issued_to_application: Mutex<Kept<String>>,
    /// Opaque tokens, and the signed ones that they stand for.
    pub(super) opaque: Mutex<HashMap<String, String>>,
    /// The authorization servers that ID-JAGs are issued for, and the gateway's client id at each.
    pub(super) vouched_to: Mutex<HashMap<String, String>>,
    fetches: [AtomicUsize; 7],
    scripts: [Script; 7],
}

impl Tenant {
    pub(super) fn new(settings: Settings, origin: String) -> Self {
        Self {
            origin,
            codes: Codes::default(),
            refresh_tokens: RefreshTokens::default(),
            interactions: Interactions::default(),
            exchanges: Mutex::default(),
            keys: Mutex::new(Arc::new(Keys::begin(settings.own_rsa_key))),
            consents: Mutex::new(settings.consents.iter().cloned().collect()),
            conditions: Mutex::default(),
            presented_assertions: Mutex::default(),
            issued: Mutex::default(),
            issued_to_application: Mutex::default(),
            opaque: Mutex::default(),
            vouched_to: Mutex::default(),
            fetches: Default::default(),
            scripts: Default::default(),
            settings,
        }
    }

    pub(super) fn issuer(&self) -> String {
        format!("{}/{}/v2.0", self.origin, self.settings.tenant)
    }

    pub(super) fn jwks_uri(&self) -> String {
        format!("{}/{}/discovery/v2.0/keys", self.origin, self.settings.tenant)
    }

    pub(super) fn token_endpoint(&self) -> String {
        format!("{}/{}/oauth2/v2.0/token", self.origin, self.settings.tenant)
    }

    pub(super) fn authorization_endpoint(&self) -> String {
        format!("{}/{}/oauth2/v2.0/authorize", self.origin, self.settings.tenant)
    }

    pub(super) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&lock(&self.keys))
    }

    pub(super) fn rotate_keys(&self, keep_old: bool) {
        let rotated = Arc::new(self.keys().rotated(keep_old));
        *lock(&self.keys) = rotated;
    }

    pub(super) fn script(&self, endpoint: Endpoint) -> &Script {
        &self.scripts[endpoint as usize]
    }

    pub(super) fn count_fetch(&self, endpoint: Endpoint) {
        self.fetches[endpoint as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn fetches(&self, endpoint: Endpoint) -> usize {
        self.fetches[endpoint as usize].load(Ordering::Relaxed)
    }

    /// The person with this object id.
    pub(super) fn person(&self, oid: &str) -> Option<&Person> {
        self.settings.people.iter().find(|person| person.oid == oid)
    }

    /// The scopes of a resource that a person has consented to for a client.
    pub(super) fn consented(&self, person: &str, client_id: &str, audience: &str) -> Vec<String> {
        lock(&self.consents)
            .iter()
            .filter(|one| one.person == person && one.client_id == client_id && one.audience == audience)
            .map(|one| one.scope.clone())
            .collect()
    }

    pub(super) fn grant_consent(&self, consent: Consent) {
        lock(&self.consents).insert(consent);
    }

    pub(super) fn withdraw_consent(&self, consent: &Consent) {
        lock(&self.consents).remove(consent);
    }

    pub(super) fn condition(&self, person: &str) -> Option<Condition> {
        lock(&self.conditions).get(person).cloned()
    }

    pub(super) fn set_condition(&self, person: &str, condition: Option<Condition>) {
        let mut conditions = lock(&self.conditions);
        match condition {
            Some(condition) => _ = conditions.insert(person.to_owned(), condition),
            None => _ = conditions.remove(person),
        }
    }

    /// Remembers a client assertion's id until it expires; false if it was presented before.
    pub(super) fn is_new_assertion(&self, jti: &str, expires: i64, now: i64) -> bool {
        let mut presented = lock(&self.presented_assertions);
        presented.retain(|_, expires| *expires > now);
        presented.insert(jti.to_owned(), expires).is_none()
    }

    pub(super) fn issued(&self) -> Vec<String> {
        lock(&self.issued).to_vec()
    }

    pub(super) fn last_issued(&self) -> Option<String> {
        lock(&self.issued).last()
    }

    /// Signs an access token.
    pub(super) fn sign(&self, claims: Value) -> String {
        let keys = self.keys();
        TokenBuilder::new(claims, keys.signing(Algorithm::Rs256), keys.signing(Algorithm::Es256)).mint()
    }

    /// Signs a delegated token, and remembers it.
    pub(super) fn issue_delegated(&self, claims: Value) -> String {
        let token = self.sign(claims);
        lock(&self.issued).push(token.clone());
        token
    }

    /// Signs an app-only token, and remembers it apart.
    pub(super) fn issue_to_application(&self, claims: Value) -> String {
        let token = self.sign(claims);
        lock(&self.issued_to_application).push(token.clone());
        token
    }

    pub(super) fn issued_to_application(&self) -> Vec<String> {
        lock(&self.issued_to_application).to_vec()
    }

    /// What a person is called in tokens for some audience.
    pub(super) fn subject_at(&self, person: &Person, audience: &str) -> String {
        if self.settings.public_subjects {
            return person.oid.clone();
        }
        tokens::pairwise_subject(&person.oid, audience)
    }

    /// Claims of a token for a person at some audience, issued to some client.
    pub(super) fn person_claims(&self, person: &Person, client_id: &str, audience: &str) -> Value {
        let settings = &self.settings;
        let life = settings.access_token_lifespan;
        let mut claims = tokens::dated(&self.issuer(), &settings.tenant, audience, life);
        claims["azp"] = json!(client_id);
        claims["name"] = json!(person.name);
        claims["oid"] = json!(person.oid);
        claims["preferred_username"] = json!(person.user_name);
        claims["sub"] = json!(self.subject_at(person, audience));
        claims
    }

    /// Claims of the token that an agent sends to the gateway.
    pub(super) fn subject_claims(&self, person: &Person, scopes: &str) -> Value {
        let gateway = &self.settings.gateway;
        let mut claims = self.person_claims(person, &self.settings.agent.client_id, &gateway.client_id);
        claims["azpacr"] = json!("0");
        claims["scp"] = json!(scopes);
        for (name, values) in [("groups", &person.groups), ("roles", &person.roles)] {
            // Entra leaves an empty list out.
            if !values.is_empty() {
                claims[name] = json!(values);
            }
        }
        claims["sid"] = json!(crate::demo::random::guid());
        claims
    }

    pub(super) fn subject_token(&self, person: &Person) -> TokenBuilder {
        let scopes: Vec<&str> =
            self.settings.gateway.scopes.iter().map(|scope| scope.name.as_str()).collect();
        let keys = self.keys();
        let claims = self.subject_claims(person, &scopes.join(" "));
        TokenBuilder::new(claims, keys.signing(Algorithm::Rs256), keys.signing(Algorithm::Es256))
    }
}
