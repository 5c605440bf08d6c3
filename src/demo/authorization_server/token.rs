//! The token endpoint: which grant it is, who asks, and the record of both.

use http::{HeaderMap, Response, StatusCode, header};
use serde_json::Value;

use super::client::Client;
use super::fault::Fault;
use super::form::Form;
use super::record::{Exchange, GrantKind};
use super::respond::json_response;
use super::tenant::Tenant;
use super::{authorization_code, client_credentials, id_jag, on_behalf_of, refresh, token_exchange};
use crate::demo::body::Body;
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
                    GrantKind::ClientCredentials => client_credentials::is_plain(form),
                    GrantKind::AuthorizationCode | GrantKind::RefreshToken | GrantKind::Other => false,
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
            GrantKind::RefreshToken => refresh::redeem(self, &client, form),
            GrantKind::ClientCredentials => client_credentials::grant(self, &client, form),
            GrantKind::OnBehalfOf if id_jag::is_meant(self, form) => id_jag::redeem(self, &client, form),
            GrantKind::OnBehalfOf => on_behalf_of::exchange(self, &client, form),
            GrantKind::TokenExchange => token_exchange::exchange(self, &client, form),
            GrantKind::Other => Err(Fault::unsupported_grant(grant_type)),
        }
    }
}
