//! What is sent to the token endpoint.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use super::{id_jag, platform_token};
use crate::checked_url::CheckedUrl;
use crate::clock::Now;
use crate::identity::{Caller, Scopes, SecretToken};
use crate::oauth::claims_request;
use crate::oauth::code_client::CodeClientSettings;
use crate::oauth::resource_authorization_server::ResourceAuthorizationServerSettings;
use crate::oauth::{
    ACCESS_TOKEN_TYPE, ActorToken, ApplicationSettings, ClientAuth, ExchangeSettings, Grant, ID_JAG_TYPE,
    TargetParameter,
};
use crate::tool::Target;

/// RFC 7523 section 2.1.
const JWT_BEARER_GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// RFC 7523 section 2.2.
const JWT_BEARER_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// RFC 6749 section 4.4.2.
const CLIENT_CREDENTIALS: &str = "client_credentials";

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

    fn secret(name: &str, value: &SecretToken) -> Self {
        Self { name: name.to_owned(), value: value.clone() }
    }

    /// Its value, for the form.
    pub fn value(&self) -> &str {
        self.value.expose()
    }
}

/// What an exchange needs beside its settings: fetched before the request is written.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// The platform's token, where the client proves itself by one.
    pub platform_token: Option<SecretToken>,
    /// The actor token, where one is sent.
    pub actor_token: Option<SecretToken>,
}

impl Surroundings {
    /// What these settings need, without an actor token.
    ///
    /// # Errors
    ///
    /// What cannot be had.
    pub async fn of(settings: &ExchangeSettings) -> Result<Self, &'static str> {
        Self::of_client(&settings.client_auth).await
    }

    /// What a client needs that proves itself so.
    ///
    /// # Errors
    ///
    /// What cannot be had.
    pub async fn of_client(client_auth: &ClientAuth) -> Result<Self, &'static str> {
        let platform_token = match client_auth {
            ClientAuth::TokenFile(path) => Some(platform_token::read(path).await?),
            ClientAuth::SecretPost(_)
            | ClientAuth::SecretBasic(_)
            | ClientAuth::PrivateKeyJwt { .. }
            | ClientAuth::Tls(_) => None,
        };
        Ok(Self { platform_token, actor_token: None })
    }
}

/// An authorization code, and what proves whose it is.
pub struct Redemption<'a> {
    /// The code that the browser came back with.
    pub code: &'a SecretToken,
    /// What its challenge was made from (RFC 7636 section 4.1).
    pub verifier: &'a SecretToken,
    /// Where the browser came back to (RFC 6749 section 4.1.3).
    pub redirect_uri: &'a str,
}

impl Request {
    /// The request for a token that is good for `target`. `claims` is what the connector demands beside.
    ///
    /// # Errors
    ///
    /// What the gateway lacks for it.
    pub fn exchange(
        settings: &ExchangeSettings,
        endpoint: &CheckedUrl,
        caller: &Caller,
        target: &Target,
        claims: Option<&str>,
        surroundings: &Surroundings,
        now: Now,
    ) -> Result<Self, &'static str> {
        let subject_token = caller.subject_token();
        let mut form = match &settings.grant {
            Grant::OnBehalfOf => vec![
                Field::new("grant_type", JWT_BEARER_GRANT),
                Field::new("requested_token_use", "on_behalf_of"),
                Field::secret("assertion", subject_token),
            ],
            Grant::JwtBearer { .. } => {
                vec![Field::new("grant_type", JWT_BEARER_GRANT), Field::secret("assertion", subject_token)]
            }
            Grant::TokenExchange { subject_token_type, requested_token_type, actor, target: _ } => {
                let mut form = vec![
                    Field::new("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                    Field::secret("subject_token", subject_token),
                    Field::new("subject_token_type", subject_token_type),
                    Field::new("requested_token_type", requested_token_type),
                ];
                let actor_token = match actor {
                    ActorToken::None => None,
                    ActorToken::Gateway { .. } => {
                        Some(surroundings.actor_token.as_ref().ok_or("it has no actor token")?)
                    }
                    ActorToken::Agent => {
                        Some(caller.actor_token().ok_or("the agent sent no token of its own")?)
                    }
                };
                if let Some(token) = actor_token {
                    form.push(Field::secret("actor_token", token));
                    form.push(Field::new("actor_token_type", ACCESS_TOKEN_TYPE));
                }
                form
            }
            // The first leg.
            Grant::IdJag { subject_token_type, resource_authorization_servers } => {
                let server = resource_authorization_servers
                    .of(target)
                    .ok_or(id_jag::NO_RESOURCE_AUTHORIZATION_SERVER)?;
                let mut form = vec![
                    Field::new("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                    Field::secret("subject_token", subject_token),
                    Field::new("subject_token_type", subject_token_type),
                    Field::new("requested_token_type", ID_JAG_TYPE),
                    Field::new("audience", server.issuer.as_str()),
                ];
                form.extend(
                    target.resource.as_ref().map(|resource| Field::new("resource", resource.as_str())),
                );
                form
            }
        };
        if let Some(parameter) = settings.grant.target() {
            form.extend(target_field(parameter, target)?);
        }
        if !target.scopes.is_empty() {
            form.push(Field::new("scope", target.scopes.canonical()));
        }
        if let Some(claims) = claims_request::merged(&settings.client_capabilities, claims)? {
            form.push(Field::new("claims", &claims));
        }
        form.extend(settings.extra.iter().map(|(name, value)| Field::secret(name, value)));
        Self { authorization: None, form }.proved(settings, endpoint, surroundings, now)
    }

    /// The request for a token that speaks for the application alone (RFC 6749 section 4.4). `claims` is what the
    /// connector demands beside.
    ///
    /// # Errors
    ///
    /// What the gateway lacks for it.
    pub fn application(
        settings: &ApplicationSettings,
        endpoint: &CheckedUrl,
        target: &Target,
        claims: Option<&str>,
        surroundings: &Surroundings,
        now: Now,
    ) -> Result<Self, &'static str> {
        let mut form = vec![Field::new("grant_type", CLIENT_CREDENTIALS)];
        form.extend(target_field(settings.target, target)?);
        if !target.scopes.is_empty() {
            form.push(Field::new("scope", target.scopes.canonical()));
        }
        form.extend(claims_request::merged(&[], claims)?.map(|claims| Field::new("claims", &claims)));
        form.extend(settings.extra.iter().map(|(name, value)| Field::secret(name, value)));
        let request = Self { authorization: None, form };
        request.proved_by(&settings.client_id, &settings.client_auth, endpoint, surroundings, now)
    }

    /// The request for a token of the gateway's own, to be sent as an actor token (RFC 6749 section 4.4).
    ///
    /// # Errors
    ///
    /// What the gateway lacks for it.
    pub fn client_credentials(
        settings: &ExchangeSettings,
        endpoint: &CheckedUrl,
        scopes: &Scopes,
        surroundings: &Surroundings,
        now: Now,
    ) -> Result<Self, &'static str> {
        let mut form = vec![Field::new("grant_type", CLIENT_CREDENTIALS)];
        if !scopes.is_empty() {
            form.push(Field::new("scope", scopes.canonical()));
        }
        Self { authorization: None, form }.proved(settings, endpoint, surroundings, now)
    }

    /// The request for the tokens that a code stands for (RFC 6749 section 4.1.3, RFC 7636 section 4.5).
    ///
    /// # Errors
    ///
    /// What the gateway lacks for it.
    pub fn code(
        settings: &CodeClientSettings,
        endpoint: &CheckedUrl,
        code: &SecretToken,
        verifier: &SecretToken,
        redirect_uri: &str,
        surroundings: &Surroundings,
        now: Now,
    ) -> Result<Self, &'static str> {
        let form = vec![
            Field::new("grant_type", "authorization_code"),
            Field::secret("code", code),
            Field::new("redirect_uri", redirect_uri),
            Field::secret("code_verifier", verifier),
        ];
        Self::of_code_client(form, settings, endpoint, surroundings, now)
    }

    /// The request for the next access token (RFC 6749 section 6). No scopes are named: they stay what they were.
    ///
    /// # Errors
    ///
    /// What the gateway lacks for it.
    pub fn refresh(
        settings: &CodeClientSettings,
        endpoint: &CheckedUrl,
        refresh_token: &SecretToken,
        surroundings: &Surroundings,
        now: Now,
    ) -> Result<Self, &'static str> {
        let form =
            vec![Field::new("grant_type", "refresh_token"), Field::secret("refresh_token", refresh_token)];
        Self::of_code_client(form, settings, endpoint, surroundings, now)
    }

    fn of_code_client(
        mut form: Vec<Field>,
        settings: &CodeClientSettings,
        endpoint: &CheckedUrl,
        surroundings: &Surroundings,
        now: Now,
    ) -> Result<Self, &'static str> {
        form.extend(settings.resource.as_ref().map(|resource| Field::new("resource", resource.as_str())));
        Self { authorization: None, form }.proved_as(settings, endpoint, surroundings, now)
    }

    /// The request to take a token back (RFC 7009 section 2.1). An assertion in it is for the token endpoint.
    ///
    /// # Errors
    ///
    /// What the gateway lacks for it.
    pub fn revocation(
        settings: &CodeClientSettings,
        token_endpoint: &CheckedUrl,
        token: &SecretToken,
        kind: &str,
        surroundings: &Surroundings,
        now: Now,
    ) -> Result<Self, &'static str> {
        let form = vec![Field::secret("token", token), Field::new("token_type_hint", kind)];
        Self { authorization: None, form }.proved_as(settings, token_endpoint, surroundings, now)
    }

    fn proved_as(
        mut self,
        settings: &CodeClientSettings,
        endpoint: &CheckedUrl,
        surroundings: &Surroundings,
        now: Now,
    ) -> Result<Self, &'static str> {
        match &settings.client_auth {
            Some(client_auth) => {
                self.proved_by(&settings.client_id, client_auth, endpoint, surroundings, now)
            }
            // A public client names itself, and PKCE is its proof.
            None => {
                self.form.push(Field::new("client_id", &settings.client_id));
                Ok(self)
            }
        }
    }

    /// The question what `token` means (RFC 7662 section 2.1).
    ///
    /// # Errors
    ///
    /// What the gateway lacks for it.
    pub fn introspection(
        settings: &ExchangeSettings,
        endpoint: &CheckedUrl,
        token: &SecretToken,
        surroundings: &Surroundings,
        now: Now,
    ) -> Result<Self, &'static str> {
        let form = vec![Field::secret("token", token), Field::new("token_type_hint", "access_token")];
        Self { authorization: None, form }.proved(settings, endpoint, surroundings, now)
    }

    /// The second leg of an ID-JAG: a token of `server` on the word of the issuer (RFC 7523 section 2.1).
    ///
    /// # Errors
    ///
    /// What the gateway lacks for it.
    pub fn redemption(
        server: &ResourceAuthorizationServerSettings,
        id_jag: &SecretToken,
        target: &Target,
        surroundings: &Surroundings,
        now: Now,
    ) -> Result<Self, &'static str> {
        let mut form = vec![Field::new("grant_type", JWT_BEARER_GRANT), Field::secret("assertion", id_jag)];
        if !target.scopes.is_empty() {
            form.push(Field::new("scope", target.scopes.canonical()));
        }
        let request = Self { authorization: None, form };
        request.proved_by(&server.client_id, &server.client_auth, &server.token_endpoint, surroundings, now)
    }

    /// The redemption of an authorization code by `client`, its identifier and how it proves itself (RFC 6749 section
    /// 4.1.3).
    ///
    /// # Errors
    ///
    /// What the gateway lacks for it.
    pub fn authorization_code(
        client: (&str, &ClientAuth),
        endpoint: &CheckedUrl,
        redemption: &Redemption<'_>,
        surroundings: &Surroundings,
        now: Now,
    ) -> Result<Self, &'static str> {
        let form = vec![
            Field::new("grant_type", "authorization_code"),
            Field::secret("code", redemption.code),
            Field::new("redirect_uri", redemption.redirect_uri),
            Field::secret("code_verifier", redemption.verifier),
        ];
        let (client_id, client_auth) = client;
        Self { authorization: None, form }.proved_by(client_id, client_auth, endpoint, surroundings, now)
    }

    /// With the proof of which client asks.
    fn proved(
        self,
        settings: &ExchangeSettings,
        endpoint: &CheckedUrl,
        surroundings: &Surroundings,
        now: Now,
    ) -> Result<Self, &'static str> {
        self.proved_by(&settings.client_id, &settings.client_auth, endpoint, surroundings, now)
    }

    fn proved_by(
        mut self,
        client_id: &str,
        client_auth: &ClientAuth,
        endpoint: &CheckedUrl,
        surroundings: &Surroundings,
        now: Now,
    ) -> Result<Self, &'static str> {
        self.form.push(Field::new("client_id", client_id));
        let assertion = match client_auth {
            ClientAuth::SecretPost(secret) => {
                self.form.push(Field::secret("client_secret", secret));
                None
            }
            ClientAuth::SecretBasic(secret) => {
                self.authorization = Some(basic(client_id, secret)?);
                None
            }
            ClientAuth::PrivateKeyJwt { key, audience } => {
                let audience = audience.as_deref().unwrap_or(endpoint.as_str());
                Some(key.sign(client_id, audience, now).map_err(|_| "its client key does not sign")?)
            }
            ClientAuth::TokenFile(_) => {
                Some(surroundings.platform_token.clone().ok_or("it has no token of the platform")?)
            }
            // The connection proves it.
            ClientAuth::Tls(_) => None,
        };
        if let Some(assertion) = assertion {
            self.form.push(Field::new("client_assertion_type", JWT_BEARER_ASSERTION));
            self.form.push(Field::secret("client_assertion", &assertion));
        }
        Ok(self)
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

/// The header that shows a bearer token (RFC 6750 section 2.1).
///
/// # Errors
///
/// When the token does not fit in one.
pub fn bearer(token: &SecretToken) -> Result<HeaderValue, &'static str> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
        .map_err(|_| "its token does not fit in a header")?;
    value.set_sensitive(true);
    Ok(value)
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
    use crate::identity::{Audience, VerifiedClaims};
    use crate::oauth::JWT_TYPE;
    use crate::oauth::Reuse;
    use crate::tool::Resource;
    use std::sync::Arc;

    fn caller() -> Caller {
        Caller::verified(VerifiedClaims::of("ada"), SecretToken::new("subject-token"))
    }

    fn exchange_by(target: TargetParameter) -> Grant {
        Grant::TokenExchange {
            target,
            subject_token_type: ACCESS_TOKEN_TYPE.into(),
            requested_token_type: ACCESS_TOKEN_TYPE.into(),
            actor: ActorToken::None,
        }
    }

    fn form(settings: &ExchangeSettings, target: &Target) -> (Vec<(String, String)>, Option<HeaderValue>) {
        let surroundings = Surroundings {
            platform_token: Some(SecretToken::new("platform-token")),
            actor_token: Some(SecretToken::new("actor-token")),
        };
        let endpoint =
            CheckedUrl::parse("https://issuer.example/token", crate::checked_url::PlainHttp::LoopbackOnly)
                .expect("an address of the test");
        let request =
            Request::exchange(settings, &endpoint, &caller(), target, None, &surroundings, Now::read())
                .expect("a request");
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
            refuses_more_scopes: false,
            client_capabilities: Vec::new(),
        }
    }

    fn target() -> Target {
        Target {
            audience: Some(Audience::new("mail-connector")),
            resource: Some(Resource::new("https://mail.example")),
            authorization_server: None,
            scopes: Scopes::parse("mail.read"),
        }
    }

    #[test]
    fn dialects_are_settings() {
        let settings = settings(
            Grant::TokenExchange {
                target: TargetParameter::Audience,
                subject_token_type: "urn:params:oauth:token-type:jwt".into(),
                requested_token_type: JWT_TYPE.into(),
                actor: ActorToken::Gateway { scopes: Scopes::default() },
            },
            ClientAuth::TokenFile(std::path::Path::new("token").into()),
        );
        let expected = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", "subject-token"),
            ("subject_token_type", "urn:params:oauth:token-type:jwt"),
            ("requested_token_type", JWT_TYPE),
            ("actor_token", "actor-token"),
            ("actor_token_type", ACCESS_TOKEN_TYPE),
            ("audience", "mail-connector"),
            ("scope", "mail.read"),
            ("x", "y"),
            ("client_id", "gate way"),
            ("client_assertion_type", JWT_BEARER_ASSERTION),
            ("client_assertion", "platform-token"),
        ];
        assert_eq!(form(&settings, &target()).0, pairs(&expected));
    }

    #[test]
    fn a_plain_assertion_grant_says_nothing_of_entra() {
        let grant = Grant::JwtBearer { target: TargetParameter::Resource };
        let settings = settings(grant, ClientAuth::SecretPost(SecretToken::new("s3cret")));
        let expected = [
            ("grant_type", JWT_BEARER_GRANT),
            ("assertion", "subject-token"),
            ("resource", "https://mail.example"),
            ("scope", "mail.read"),
            ("x", "y"),
            ("client_id", "gate way"),
            ("client_secret", "s3cret"),
        ];
        assert_eq!(form(&settings, &target()).0, pairs(&expected));
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
