//! Asking an authorization server for a delegated token.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value};

use super::authorization_server::AuthorizationServer;
use super::claims_request;
use super::delegated;
use super::error_response::{ErrorClass, ErrorResponse};
use super::outbound::{OutboundAnswer, OutboundError};
use super::{ClientAuth, ExchangeSettings, Grant, TargetParameter};
use crate::checked_url::CheckedUrl;
use crate::clock::Now;
use crate::identity::{Caller, IssuerName, Scopes, SecretToken};
use crate::strict_json;
use crate::tool::Target;

/// Largest delegated token that is used. A header of that size is more than most servers take.
const DELEGATED_TOKEN_BYTES_MAX: usize = 65_536;
/// Longest list of granted scopes that is taken. All of Microsoft Graph's are 20 kB.
const SCOPE_LIST_BYTES_MAX: usize = 32_768;
/// RFC 8693 section 3.
const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";
/// RFC 8693 section 3: an access token that is a JWT may be labelled so.
const JWT_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";

/// What an exchange yields.
#[derive(Clone, Debug)]
pub struct DelegatedToken {
    /// The token. Opaque to us (RFC 6749 section 1.4).
    pub token: SecretToken,
    /// The scopes it was granted, where the server says so.
    pub granted: Option<Scopes>,
    /// How long it lives, counted from when it was asked for; `None` when the server does not say.
    pub lifetime: Option<Duration>,
}

/// Why there is no delegated token. None of these ever leads to another kind of token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The authorization server said no.
    #[error("{issuer} refused the exchange: {refused}")]
    Refused {
        /// Who.
        issuer: IssuerName,
        /// What it said.
        refused: Box<ErrorResponse>,
        /// Where the person, or an administrator, can agree, when that is what is missing.
        consent_url: Option<String>,
    },
    /// The authorization server did not answer in time.
    #[error("{issuer} gave no answer in {waited:?}")]
    TimedOut {
        /// Who.
        issuer: IssuerName,
        /// How long the gateway waited.
        waited: Duration,
    },
    /// The authorization server could not be reached.
    #[error("could not reach {issuer}")]
    Unreachable {
        /// Who.
        issuer: IssuerName,
        /// Why.
        #[source]
        source: OutboundError,
    },
    /// The authorization server's answer is of no use.
    #[error("{issuer} gave an answer that cannot be used: {why}")]
    Unusable {
        /// Who.
        issuer: IssuerName,
        /// Why.
        why: &'static str,
    },
    /// The token may do less than the tool needs.
    #[error("{issuer} granted less than was asked for: {} is missing", missing.canonical())]
    ScopesNotGranted {
        /// Who.
        issuer: IssuerName,
        /// All that was asked for.
        asked: Scopes,
        /// What of it was not granted.
        missing: Scopes,
    },
    /// Where to ask is not known: the server's metadata has not been read yet, or names no token endpoint.
    #[error("the token endpoint of {issuer} is not known")]
    NoTokenEndpoint {
        /// Who.
        issuer: IssuerName,
    },
    /// The gateway cannot ask: nothing says how, or its own key does not sign.
    #[error("the gateway cannot ask {issuer}: {why}")]
    Unprepared {
        /// Who.
        issuer: IssuerName,
        /// Why.
        why: &'static str,
    },
}

impl ExchangeError {
    /// The outcome as a metric label: one of a closed set.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Refused { refused, .. } => refused.class.as_str(),
            Self::TimedOut { .. } => "timed_out",
            Self::Unreachable { .. } => "unreachable",
            Self::Unusable { .. } => "unusable_answer",
            Self::ScopesNotGranted { .. } => "scopes_not_granted",
            Self::NoTokenEndpoint { .. } => "no_token_endpoint",
            Self::Unprepared { .. } => "unprepared",
        }
    }
}

impl AuthorizationServer {
    /// Exchanges the caller's token for one that is good for `target`. `claims` is what the connector demands beside
    /// (OpenID Connect Core section 5.5), as JSON.
    ///
    /// # Errors
    ///
    /// [`ExchangeError`] when there is none; the call it was for is then refused.
    pub async fn exchange(
        &self,
        caller: &Caller,
        target: &Target,
        claims: Option<&str>,
        now: Now,
    ) -> Result<DelegatedToken, ExchangeError> {
        let issuer = || self.settings().name.clone();
        let settings = self.settings().exchange.as_ref().ok_or_else(|| ExchangeError::Unprepared {
            issuer: issuer(),
            why: "its entry has no `exchange`",
        })?;
        let endpoint =
            self.token_endpoint().ok_or_else(|| ExchangeError::NoTokenEndpoint { issuer: issuer() })?;
        let request = Request::build(settings, &endpoint, caller, target, claims, now)
            .map_err(|why| ExchangeError::Unprepared { issuer: issuer(), why })?;
        let form: Vec<(&str, &str)> =
            request.form.iter().map(|field| (field.name.as_str(), field.value())).collect();
        let answer =
            self.client().post_form(&endpoint, request.authorization, &form).await.map_err(|error| {
                match error {
                    OutboundError::TimedOut { waited } => {
                        ExchangeError::TimedOut { issuer: issuer(), waited }
                    }
                    OutboundError::TooLarge => {
                        ExchangeError::Unusable { issuer: issuer(), why: "it is too large" }
                    }
                    source => ExchangeError::Unreachable { issuer: issuer(), source },
                }
            })?;
        if answer.status != StatusCode::OK {
            let refused = Box::new(ErrorResponse::read(&answer));
            let consent_url = self.consent_url(&refused.class, settings, target);
            return Err(ExchangeError::Refused { issuer: issuer(), refused, consent_url });
        }
        let unusable = |why| ExchangeError::Unusable { issuer: issuer(), why };
        let delegated = read_token(&answer, &settings.grant, caller).map_err(unusable)?;
        let pairwise = self.has_pairwise_subjects();
        delegated::check(delegated.token.expose(), self.settings(), pairwise, caller, target)
            .map_err(unusable)?;
        // RFC 6749 section 5.1: a server that does not say what it granted has granted what was asked for.
        let missing =
            delegated.granted.as_ref().map(|granted| delegated::not_granted(&target.scopes, granted));
        match missing.filter(|missing| !missing.is_empty()) {
            Some(missing) => Err(ExchangeError::ScopesNotGranted {
                issuer: issuer(),
                asked: target.scopes.clone(),
                missing,
            }),
            None => Ok(delegated),
        }
    }

    /// Where the missing consent can be given: an authorization request of the gateway's own client. It carries no
    /// authority; whoever opens it signs in and agrees for themselves.
    fn consent_url(
        &self,
        class: &ErrorClass,
        settings: &ExchangeSettings,
        target: &Target,
    ) -> Option<String> {
        let mut url = self.authorization_endpoint()?.as_url().clone();
        match class {
            ErrorClass::Consent => {
                url.query_pairs_mut().append_pair("response_type", "code").append_pair("prompt", "consent");
            }
            ErrorClass::AdminConsent => {
                // Entra's page for administrators lies beside the authorization endpoint.
                let path = url.path().strip_suffix("/oauth2/v2.0/authorize")?.to_owned();
                url.set_path(&format!("{path}/v2.0/adminconsent"));
            }
            ErrorClass::Throttled { .. }
            | ErrorClass::Unavailable { .. }
            | ErrorClass::StepUp { .. }
            | ErrorClass::SubjectToken
            | ErrorClass::SignIn
            | ErrorClass::Blocked
            | ErrorClass::Misconfigured => return None,
        }
        url.query_pairs_mut()
            .append_pair("client_id", &settings.client_id)
            .append_pair("scope", target.scopes.canonical());
        Some(url.into())
    }
}

/// A request to the token endpoint, ready to be sent.
struct Request {
    authorization: Option<HeaderValue>,
    form: Vec<Field>,
}

/// One field of a form. Its value may be a secret, so it is kept as one.
struct Field {
    name: String,
    value: SecretToken,
}

impl Field {
    fn new(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), value: SecretToken::new(value) }
    }

    fn value(&self) -> &str {
        self.value.expose()
    }
}

impl Request {
    fn build(
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

/// Reads a success. Whatever is not plainly a bearer access token is refused.
fn read_token(
    answer: &OutboundAnswer,
    grant: &Grant,
    caller: &Caller,
) -> Result<DelegatedToken, &'static str> {
    let members = strict_json::parse_object(&answer.body).map_err(|_| "it is not a JSON object")?;
    let text = |name| match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err("a member has the wrong type"),
    };
    if members.contains_key("error") {
        return Err("it is a success that carries an error");
    }
    let token = text("access_token")?.filter(|token| !token.is_empty()).ok_or("it has no access token")?;
    if token.len() > DELEGATED_TOKEN_BYTES_MAX {
        return Err("its token is too large");
    }
    // RFC 6750 section 2.1: nothing else can be put into a header, and a line break there would be a second header.
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("its token has characters that no token has");
    }
    if token == caller.subject_token().expose() {
        return Err("its token is the caller's own");
    }
    if !text("token_type")?.is_some_and(|kind| kind.eq_ignore_ascii_case("Bearer")) {
        return Err("its token is not a bearer token");
    }
    if let Grant::TokenExchange { .. } = grant {
        match text("issued_token_type")? {
            Some(ACCESS_TOKEN_TYPE | JWT_TYPE) => {}
            Some(_) => return Err("its token is not an access token"),
            None => return Err("it does not say what type its token has (`issued_token_type`)"),
        }
    }
    Ok(DelegatedToken {
        token: SecretToken::new(token),
        granted: granted_scopes(text("scope")?)?,
        lifetime: lifetime(&members)?,
    })
}

fn granted_scopes(list: Option<&str>) -> Result<Option<Scopes>, &'static str> {
    match list {
        Some(list) if list.len() > SCOPE_LIST_BYTES_MAX => Err("its list of scopes is too long"),
        list => Ok(list.map(Scopes::parse)),
    }
}

/// `expires_in`: whole seconds, as a number or, from some servers, as text. A fraction is cut off; nothing that is
/// already over is taken.
fn lifetime(members: &Map<String, Value>) -> Result<Option<Duration>, &'static str> {
    let seconds = match members.get("expires_in") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.parse::<u64>().ok().map(|seconds| seconds as f64),
        Some(_) => None,
    };
    match seconds {
        // The cast saturates; the cache caps what it keeps.
        Some(seconds) if seconds >= 1.0 => Ok(Some(Duration::from_secs(seconds as u64))),
        _ => Err("its `expires_in` is not a number of seconds to come"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Audience, VerifiedClaims};
    use crate::oauth::Reuse;
    use crate::tool::Resource;
    use serde_json::json;
    use std::sync::Arc;

    fn caller() -> Caller {
        let claims = VerifiedClaims::of("ada");
        Caller::verified(claims, SecretToken::new("subject-token"))
    }

    fn exchange_by(target: TargetParameter) -> Grant {
        Grant::TokenExchange { target }
    }

    fn read(grant: &Grant, body: &Value) -> Result<DelegatedToken, &'static str> {
        let answer = OutboundAnswer {
            status: StatusCode::OK,
            headers: http::HeaderMap::new(),
            body: body.to_string().into_bytes(),
        };
        read_token(&answer, grant, &caller())
    }

    fn good() -> Value {
        json!({"access_token": "delegated", "token_type": "bearer", "expires_in": 300, "scope": "b a",
               "issued_token_type": ACCESS_TOKEN_TYPE})
    }

    #[track_caller]
    fn check_refused(name: &str, value: Value) {
        let mut body = good();
        match value {
            Value::Null => drop(body.as_object_mut().expect("an object of the test").remove(name)),
            value => body[name] = value,
        }
        assert!(read(&exchange_by(TargetParameter::Scope), &body).is_err(), "{body}");
    }

    #[test]
    fn a_good_answer_is_read() {
        let token = read(&Grant::OnBehalfOf, &good()).expect("a good answer");
        assert_eq!(token.token.expose(), "delegated");
        assert_eq!(token.granted.map(|scopes| scopes.canonical().to_owned()), Some("a b".to_owned()));
        assert_eq!(token.lifetime, Some(Duration::from_secs(300)));
    }

    #[test]
    fn what_is_not_plainly_a_bearer_access_token_is_refused() {
        check_refused("access_token", Value::Null);
        check_refused("access_token", json!(""));
        check_refused("access_token", json!(7));
        check_refused("access_token", json!("a\r\nX-Evil: 1"));
        check_refused("access_token", json!("a b"));
        check_refused("access_token", json!("é"));
        check_refused("access_token", json!("subject-token"));
        check_refused("access_token", json!("x".repeat(DELEGATED_TOKEN_BYTES_MAX + 1)));
        check_refused("token_type", Value::Null);
        check_refused("token_type", json!("DPoP"));
        check_refused("token_type", json!("N_A"));
        check_refused("issued_token_type", Value::Null);
        check_refused("issued_token_type", json!("urn:ietf:params:oauth:token-type:refresh_token"));
        check_refused("error", json!("invalid_grant"));
        check_refused("scope", json!(["a"]));
        check_refused("scope", json!("x".repeat(SCOPE_LIST_BYTES_MAX + 1)));
    }

    #[track_caller]
    fn check_lifetime(expires_in: Value, expected: Option<Option<u64>>) {
        let mut body = good();
        body["expires_in"] = expires_in;
        let lifetime =
            read(&Grant::OnBehalfOf, &body).ok().map(|token| token.lifetime.map(|time| time.as_secs()));
        assert_eq!(lifetime, expected, "{body}");
    }

    #[test]
    fn each_form_of_expires_in_has_a_rule() {
        check_lifetime(json!(3600), Some(Some(3600)));
        check_lifetime(json!("3600"), Some(Some(3600)));
        check_lifetime(json!(1), Some(Some(1)));
        check_lifetime(json!(1.9), Some(Some(1)));
        check_lifetime(Value::Null, Some(None));
        check_lifetime(json!(u64::MAX), Some(Some(u64::MAX)));
        for bad in [json!(0), json!(-1), json!(0.5), json!("soon"), json!("-1"), json!([1]), json!(true)] {
            check_lifetime(bad, None);
        }
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
