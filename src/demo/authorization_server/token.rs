//! The token endpoint: which grant it is, who asks, and the record of both.

use http::{HeaderMap, Response, StatusCode, header};
use serde_json::{Value, json};

use super::client::{Client, Proof};
use super::fault::Fault;
use super::form::Form;
use super::record::{Exchange, GrantKind};
use super::respond::json_response;
use super::tenant::Tenant;
use super::{authorization_code, id_jag, on_behalf_of, token_exchange, tokens};
use crate::demo::body::Body;
use crate::demo::jws::sha256_base64url;
use crate::demo::lock;

impl Tenant {
    /// Records that the token endpoint was asked, and gives the number of the record.
    pub(super) fn record_exchange(&self, headers: &HeaderMap, form: &Form) -> usize {
        lock(&self.exchanges).push(Exchange {
            grant: GrantKind::named(form.get("grant_type").unwrap_or_default()),
            form: form.parameters().to_vec(),
            headers: headers.clone(),
            status: None,
            error: None,
        })
    }

    /// Completes a record with what was answered.
    pub(super) fn record_status(&self, number: usize, status: StatusCode) {
        if let Some(exchange) = lock(&self.exchanges).get_mut(number) {
            exchange.status = Some(status);
        }
    }

    /// The normal answer of the token endpoint.
    pub(super) fn answer_token(&self, number: usize, headers: &HeaderMap, form: &Form) -> Response<Body> {
        let grant = GrantKind::named(form.get("grant_type").unwrap_or_default());
        match self.grant(grant, headers, &self.resolved(form)) {
            Ok(body) => json_response(StatusCode::OK, &body),
            Err(fault) => {
                let is_plain = match grant {
                    GrantKind::TokenExchange => true,
                    GrantKind::OnBehalfOf => id_jag::is_meant(self, form),
                    _ => false,
                };
                let fault = if is_plain { fault.without_code() } else { fault };
                if let Some(exchange) = lock(&self.exchanges).get_mut(number) {
                    exchange.error = Some(fault.error());
                }
                fault.answer(headers, &self.origin)
            }
        }
    }

    fn grant(&self, grant: GrantKind, headers: &HeaderMap, form: &Form) -> Result<Value, Fault> {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Fault::plain("invalid_request", "the body is not application/x-www-form-urlencoded"));
        }
        form.check_repetition()?;
        let grant_type = form.required("grant_type")?;
        if grant == GrantKind::Other {
            return Err(Fault::unsupported_grant(grant_type));
        }
        let client = Client::authenticate(self, headers, form)?;
        match grant {
            GrantKind::AuthorizationCode => authorization_code::redeem(self, &client, form),
            GrantKind::ClientCredentials => self.grant_to_client(&client, form),
            GrantKind::OnBehalfOf if id_jag::is_meant(self, form) => id_jag::redeem(self, &client, form),
            GrantKind::OnBehalfOf => on_behalf_of::exchange(self, &client, form),
            GrantKind::TokenExchange => token_exchange::exchange(self, &client, form),
            GrantKind::Other => Err(Fault::unsupported_grant(grant_type)),
        }
    }

    /// Client credentials: a token for the application itself, with roles where a person's would have scopes.
    fn grant_to_client(&self, client: &Client, form: &Form) -> Result<Value, Fault> {
        if client.proof == Proof::Nothing {
            return Err(Fault::credential_missing());
        }
        let scope = form.required("scope")?;
        let Some(resource) = scope.strip_suffix("/.default").filter(|resource| !resource.contains(' '))
        else {
            let text = format!(
                "The provided value for scope {scope} is not valid. Client credential flows must have a scope \
                 value with /.default suffixed to the resource identifier (application ID URI)."
            );
            return Err(Fault::coded("invalid_scope", 1_002_012, text));
        };
        let settings = &self.settings;
        let Some(resource) = settings.resource(resource) else {
            return Err(Fault::unknown_resource(resource, &settings.tenant));
        };
        let roles = settings.gateway.app_roles.iter().filter(|one| one.audience == resource.audience);
        let roles: Vec<&str> = roles.map(|one| one.role.as_str()).collect();
        let life = settings.access_token_lifespan;
        let mut claims = tokens::dated(&self.issuer(), &settings.tenant, &resource.audience, life);
        // The service principal: an object of the tenant that stands for the application.
        let principal = sha256_base64url(format!("service principal {}", client.id).as_bytes());
        claims["azp"] = json!(client.id);
        claims["azpacr"] = json!(client.proof.class());
        claims["idtyp"] = json!("app");
        claims["oid"] = json!(principal);
        claims["sub"] = json!(principal);
        claims["roles"] = json!(roles);
        Ok(json!({
            "token_type": "Bearer",
            "expires_in": life.as_secs(),
            "ext_expires_in": life.as_secs(),
            "access_token": self.issue_to_application(claims),
        }))
    }
}
