//! What is sent to the token endpoint.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use super::ACCESS_TOKEN_TYPE;
use crate::checked_url::CheckedUrl;
use crate::clock::Now;
use crate::identity::{Caller, SecretToken};
use crate::oauth::claims_request;
use crate::oauth::{ClientAuth, ExchangeSettings, Grant, TargetParameter};
use crate::tool::Target;

/// A request to the token endpoint, ready to be sent.
pub struct Request {
    /// The header, where the client proves itself by one.
    pub authorization: Option<HeaderValue>,
    /// The form.
    pub form: Vec<Field>,
}

/// One field of a form. Its value may be a secret, so it is kept as one.
pub struct Field {
    /// Its name.
    pub name: String,
    value: SecretToken,
}

impl Field {
    fn new(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), value: SecretToken::new(value) }
    }

    /// Its value, for the form.
    pub fn value(&self) -> &str {
        self.value.expose()
    }
}

impl Request {
    /// The request for a token that is good for `target`.
    ///
    /// # Errors
    ///
    /// What the gateway lacks for it.
    pub fn build(
        settings: &ExchangeSettings,
        endpoint: &CheckedUrl,
        caller: &Caller,
        target: &Target,
        claims: Option<&str>,
        now: Now,
    ) -> Result<Self, &'static str> {
        let subject_token = caller.subject_token().expose();
        let mut form = match settings.grant {
            Grant::OnBehalfOf => vec![
                Field::new("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                Field::new("requested_token_use", "on_behalf_of"),
                Field::new("assertion", subject_token),
            ],
            Grant::TokenExchange { target: parameter } => {
                let mut form = vec![
                    Field::new("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                    Field::new("subject_token", subject_token),
                    Field::new("subject_token_type", ACCESS_TOKEN_TYPE),
                ];
                // Some servers have to be asked for a JWT instead (ZITADEL); the configuration then says so.
                if settings.extra.iter().all(|(name, _)| name != "requested_token_type") {
                    form.push(Field::new("requested_token_type", ACCESS_TOKEN_TYPE));
                }
                form.extend(target_field(parameter, target)?);
                form
            }
        };
        if !target.scopes.is_empty() {
            form.push(Field::new("scope", target.scopes.canonical()));
        }
        if let Some(claims) = claims_request::merged(&settings.client_capabilities, claims)? {
            form.push(Field::new("claims", &claims));
        }
        form.extend(
            settings.extra.iter().map(|(name, value)| Field { name: name.clone(), value: value.clone() }),
        );
        form.push(Field::new("client_id", &settings.client_id));
        let mut authorization = None;
        match &settings.client_auth {
            ClientAuth::SecretPost(secret) => form.push(Field::new("client_secret", secret.expose())),
            ClientAuth::SecretBasic(secret) => authorization = Some(basic(&settings.client_id, secret)?),
            ClientAuth::PrivateKeyJwt(key) => {
                let assertion = key
                    .sign(&settings.client_id, endpoint.as_str(), now)
                    .map_err(|_| "its client key does not sign")?;
                form.push(Field::new(
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                ));
                form.push(Field { name: "client_assertion".to_owned(), value: assertion });
            }
        }
        Ok(Self { authorization, form })
    }
}

fn target_field(parameter: TargetParameter, target: &Target) -> Result<Option<Field>, &'static str> {
    match parameter {
        TargetParameter::Scope => Ok(None),
        TargetParameter::Audience => {
            let audience = target.audience.as_ref().ok_or("the connector has no `audience`")?;
            Ok(Some(Field::new("audience", audience.as_str())))
        }
        TargetParameter::Resource => {
            let resource = target.resource.as_ref().ok_or("the connector has no `resource`")?;
            Ok(Some(Field::new("resource", resource.as_str())))
        }
    }
}

/// `client_secret_basic`: both parts are form-encoded before they are joined (RFC 6749 section 2.3.1).
fn basic(client_id: &str, secret: &SecretToken) -> Result<HeaderValue, &'static str> {
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = SecretToken::new(format!("{}:{}", encode(client_id), encode(secret.expose())));
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair.expose())))
        .map_err(|_| "its client secret does not fit in a header")?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Audience, Scopes, VerifiedClaims};
    use crate::oauth::Reuse;
    use crate::oauth::exchange::JWT_TYPE;
    use crate::tool::Resource;
    use std::sync::Arc;

    fn caller() -> Caller {
        Caller::verified(VerifiedClaims::of("ada"), SecretToken::new("subject-token"))
    }

    fn exchange_by(target: TargetParameter) -> Grant {
        Grant::TokenExchange { target }
    }

    fn form(settings: &ExchangeSettings, target: &Target) -> (Vec<(String, String)>, Option<HeaderValue>) {
        let endpoint =
            CheckedUrl::parse("https://issuer.example/token", crate::checked_url::PlainHttp::LoopbackOnly)
                .expect("an address of the test");
        let request =
            Request::build(settings, &endpoint, &caller(), target, None, Now::read()).expect("a request");
        (
            request.form.iter().map(|field| (field.name.clone(), field.value().to_owned())).collect(),
            request.authorization,
        )
    }

    fn settings(grant: Grant, client_auth: ClientAuth) -> ExchangeSettings {
        ExchangeSettings {
            grant,
            client_id: Arc::from("gate way"),
            client_auth,
            extra: vec![("x".into(), SecretToken::new("y"))],
            reuse: Reuse::Identity,
            client_capabilities: Vec::new(),
        }
    }

    fn target() -> Target {
        Target {
            audience: Some(Audience::new("mail-connector")),
            resource: Some(Resource::new("https://mail.example")),
            scopes: Scopes::parse("mail.read"),
        }
    }

    #[test]
    fn another_type_is_asked_for_where_the_configuration_says_so() {
        let secret = ClientAuth::SecretPost(SecretToken::new("s3cret"));
        let mut settings = settings(exchange_by(TargetParameter::Audience), secret);
        settings.extra = vec![("requested_token_type".into(), SecretToken::new(JWT_TYPE))];
        let (form, _) = form(&settings, &target());
        let asked: Vec<_> = form.iter().filter(|(name, _)| name == "requested_token_type").collect();
        assert_eq!(asked, [&("requested_token_type".to_owned(), JWT_TYPE.to_owned())]);
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn on_behalf_of_asks_as_entra_wants_it() {
        let (form, authorization) =
            form(&settings(Grant::OnBehalfOf, ClientAuth::SecretPost(SecretToken::new("s3cret"))), &target());
        let expected = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("requested_token_use", "on_behalf_of"),
            ("assertion", "subject-token"),
            ("scope", "mail.read"),
            ("x", "y"),
            ("client_id", "gate way"),
            ("client_secret", "s3cret"),
        ];
        assert_eq!(form, pairs(&expected));
        assert!(authorization.is_none());
    }

    #[test]
    fn token_exchange_names_its_target_as_configured() {
        let secret = || ClientAuth::SecretBasic(SecretToken::new("a:b c"));
        let named = |parameter| {
            let (form, authorization) = form(&settings(exchange_by(parameter), secret()), &target());
            let named = form.into_iter().find(|(name, _)| name == "audience" || name == "resource");
            (named.map(|(name, value)| format!("{name}={value}")), authorization)
        };
        let (audience, authorization) = named(TargetParameter::Audience);
        assert_eq!(audience.as_deref(), Some("audience=mail-connector"));
        assert_eq!(named(TargetParameter::Resource).0.as_deref(), Some("resource=https://mail.example"));
        assert_eq!(named(TargetParameter::Scope).0, None);
        // base64("gate+way:a%3Ab+c")
        let authorization = authorization.expect("basic");
        assert_eq!(authorization, "Basic Z2F0ZSt3YXk6YSUzQWIrYw==");
        assert!(authorization.is_sensitive());
    }
}
