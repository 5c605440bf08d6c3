//! Opaque access tokens, and what they mean (RFC 7662).

use http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};

use super::client::{Client, Proof};
use super::fault::Fault;
use super::form::Form;
use super::respond::json_response;
use super::tenant::Tenant;
use crate::demo::body::Body;
use crate::demo::jws::Jws;
use crate::demo::{clock, lock, random};

impl Tenant {
    pub(super) fn introspection_endpoint(&self) -> String {
        format!("{}/{}/oauth2/v2.0/introspect", self.origin, self.settings.tenant)
    }

    /// An opaque token that stands for a signed one.
    pub(super) fn opaque(&self, signed: &str) -> String {
        let opaque = random::token();
        lock(&self.opaque).insert(opaque.clone(), signed.to_owned());
        opaque
    }

    /// Forgets an opaque token.
    pub(super) fn revoke(&self, opaque: &str) {
        lock(&self.opaque).remove(opaque);
    }

    /// The form with the signed token in place of an opaque subject token.
    pub(super) fn resolved(&self, form: &Form) -> Form {
        let known = lock(&self.opaque);
        form.map("subject_token", |token| known.get(token).cloned())
    }

    /// Says what a token means, to a client that has proved itself.
    pub(super) fn answer_introspection(&self, headers: &HeaderMap, form: &Form) -> Response<Body> {
        match self.introspect(headers, form) {
            Ok(body) => json_response(StatusCode::OK, &body),
            Err(fault) => fault.without_code().answer(headers, &self.origin),
        }
    }

    fn introspect(&self, headers: &HeaderMap, form: &Form) -> Result<Value, Fault> {
        let client = Client::authenticate(self, headers, form)?;
        if client.proof == Proof::Nothing {
            return Err(Fault::plain("invalid_client", "a public client may not ask"));
        }
        let signed = lock(&self.opaque).get(form.required("token")?).cloned();
        let claims = signed.as_deref().and_then(Jws::parse).map(|jws| jws.claims);
        let active = claims.filter(|claims| claims["exp"].as_i64().is_some_and(|exp| exp > clock::now()));
        Ok(match active {
            Some(claims) => {
                let mut answer = Value::from(claims);
                answer["active"] = json!(true);
                answer
            }
            None => json!({ "active": false }),
        })
    }
}
