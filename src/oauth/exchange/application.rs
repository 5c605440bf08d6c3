//! Tokens of the gateway's own application, by its client credentials (RFC 6749 section 4.4): what `app_only` tools use.
//!
//! No caller comes in here, and no token of anybody's.

use http::StatusCode;
use serde_json::{Map, Value};

use super::request::{Request, Surroundings};
use super::{Asking, CLIENT_CREDENTIALS, ExchangeError, IssuedToken, answer, fit_for, post};
use crate::checked_url::CheckedUrl;
use crate::clock::Now;
use crate::identity::Tenant;
use crate::oauth::authorization_server::AuthorizationServer;
use crate::oauth::delegated;
use crate::oauth::error_response::ErrorResponse;
use crate::oauth::outbound::OutboundClient;
use crate::oauth::{ApplicationSettings, IssuerKind, IssuerSettings, TargetParameter};
use crate::tool::Target;

/// The claims by which servers name the client that a token was issued to.
const CLIENT_CLAIMS: [&str; 4] = ["azp", "client_id", "appid", "cid"];

impl AuthorizationServer {
    /// Obtains a token that speaks for the gateway's application and for no person, good for `target`. `claims` is what
    /// the connector demands beside, as JSON. `asking` says why, and keeps the record.
    ///
    /// # Errors
    ///
    /// [`ExchangeError`] when there is none; the call it was for is then refused.
    pub async fn application_token(
        &self,
        target: &Target,
        claims: Option<&str>,
        asking: Asking<'_>,
        now: Now,
    ) -> Result<IssuedToken, ExchangeError> {
        let issuer = || self.settings().name.clone();
        let (Some(settings), Some(client)) = (&self.settings().application, self.application_client()) else {
            let why = "its entry names no client for application tokens";
            return Err(ExchangeError::Unprepared { issuer: issuer(), why });
        };
        let endpoint = self.token_endpoint();
        let asked = self.asked(CLIENT_CREDENTIALS, endpoint.as_ref(), &settings.client_id);
        let exchange = async {
            let endpoint =
                endpoint.as_ref().ok_or_else(|| ExchangeError::NoTokenEndpoint { issuer: issuer() })?;
            let attempt = || self.attempt_application(client, settings, endpoint, target, claims, now);
            self.protection().run(attempt).await
        };
        asking.recorded(asked, None, target, exchange).await
    }

    async fn attempt_application(
        &self,
        client: &OutboundClient,
        settings: &ApplicationSettings,
        endpoint: &CheckedUrl,
        target: &Target,
        claims: Option<&str>,
        now: Now,
    ) -> Result<IssuedToken, ExchangeError> {
        let name = &self.settings().name;
        let unprepared = |why| ExchangeError::Unprepared { issuer: name.clone(), why };
        let surroundings = Surroundings::of_client(&settings.client_auth).await.map_err(unprepared)?;
        let request = Request::application(settings, endpoint, target, claims, &surroundings, now)
            .map_err(unprepared)?;
        let answer = post(client, endpoint, request, name).await?;
        if answer.status != StatusCode::OK {
            let refused = Box::new(ErrorResponse::read(&answer));
            return Err(ExchangeError::Refused { issuer: name.clone(), refused, consent_url: None });
        }
        let unusable = |why| ExchangeError::Unusable { issuer: name.clone(), why };
        let issued = answer::read_bearer(&answer).map_err(unusable)?;
        check(issued.token.expose(), self.settings(), settings, target).map_err(unusable)?;
        fit_for(target, issued, settings.refuses_more_scopes, name, now)
    }
}

/// Checks what can be read of an application token: one that plainly speaks for a person, for another application or to
/// another audience is never used.
///
/// # Errors
///
/// What is wrong with it.
fn check(
    token: &str,
    settings: &IssuerSettings,
    application: &ApplicationSettings,
    target: &Target,
) -> Result<(), &'static str> {
    let Some(claims) = delegated::readable_claims(token)? else { return Ok(()) };
    let is_its_own = match &settings.kind {
        // Entra's tokens look alike, whatever their version and `iss`.
        IssuerKind::Entra { tenant } => {
            check_entra(&claims, tenant)?;
            true
        }
        IssuerKind::Oidc => claims.get("iss").and_then(Value::as_str) == Some(settings.issuer.as_str()),
    };
    let of_another = |name: &&str| {
        let client = claims.get(*name).and_then(Value::as_str);
        client.is_some_and(|client| !client.eq_ignore_ascii_case(&application.client_id))
    };
    if is_its_own && CLIENT_CLAIMS.iter().any(of_another) {
        return Err("its token is for another application");
    }
    match application.target {
        TargetParameter::Audience => delegated::check_audience(token, &settings.issuer, target),
        TargetParameter::Scope | TargetParameter::Resource => Ok(()),
    }
}

/// An application's token has roles in place of scopes, and `idtyp`, where it is there, says what it is.
fn check_entra(claims: &Map<String, Value>, tenant: &Tenant) -> Result<(), &'static str> {
    let text = |name| claims.get(name).and_then(Value::as_str);
    if claims.contains_key("scp") || text("idtyp").is_some_and(|kind| kind != "app") {
        return Err("its token speaks for a person");
    }
    match text("tid").is_some_and(|named| Some(named) != tenant.id()) {
        true => Err("its token is for another tenant"),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Audience, SecretToken};
    use crate::oauth::ClientAuth;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    #[track_caller]
    fn check_token(kind: IssuerKind, claims: Value, expected: Result<(), &'static str>) {
        let application = ApplicationSettings {
            client_id: "9D2a".into(),
            client_auth: ClientAuth::SecretPost(SecretToken::new("s3cret")),
            target: match kind {
                IssuerKind::Entra { .. } => TargetParameter::Scope,
                IssuerKind::Oidc => TargetParameter::Audience,
            },
            extra: Vec::new(),
            refuses_more_scopes: false,
        };
        let target = Target { audience: Some(Audience::new("mail")), ..Target::default() };
        let token = match claims {
            Value::String(opaque) => opaque,
            claims => format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string())),
        };
        assert_eq!(check(&token, &IssuerSettings::of(kind), &application, &target), expected, "{token}");
    }

    #[test]
    fn a_token_of_entras_speaks_for_this_application_and_nobody_else() {
        let check = |claims, expected| {
            check_token(IssuerKind::Entra { tenant: Tenant::Named("t-1".into()) }, claims, expected);
        };
        check(json!("opaque"), Ok(()));
        check(
            json!({"tid": "t-1", "azp": "9d2a", "idtyp": "app", "roles": ["Mail.Send"], "oid": "x"}),
            Ok(()),
        );
        check(json!({"tid": "t-1", "appid": "9d2a"}), Ok(()));
        check(json!({"tid": "t-1", "azp": "9d2a", "scp": "Mail.Read"}), Err("its token speaks for a person"));
        check(json!({"tid": "t-1", "azp": "9d2a", "idtyp": "user"}), Err("its token speaks for a person"));
        check(json!({"tid": "t-2", "azp": "9d2a"}), Err("its token is for another tenant"));
        check(json!({"tid": "t-1", "azp": "agent"}), Err("its token is for another application"));
        check(json!({"tid": "t-1", "appid": "agent"}), Err("its token is for another application"));
    }

    #[test]
    fn a_token_of_another_server_is_for_this_application_and_the_connector() {
        let check = |claims, expected| check_token(IssuerKind::Oidc, claims, expected);
        let iss = "https://issuer.example";
        check(json!("opaque"), Ok(()));
        check(json!({"iss": iss, "azp": "9d2a", "aud": ["mail"]}), Ok(()));
        check(
            json!({"iss": iss, "client_id": "agent", "aud": "mail"}),
            Err("its token is for another application"),
        );
        check(json!({"iss": iss, "cid": "9d2a", "aud": "notes"}), Err("its token is for another audience"));
        check(json!({"iss": "https://other.example", "azp": "agent", "aud": "notes"}), Ok(()));
    }
}
