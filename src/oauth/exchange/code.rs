//! What a client of authorization codes sends: the code, the refresh token, what is given back, and the question whose a
//! token is.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Map, Value};

use super::request::{Request, Surroundings};
use super::{ExchangeError, answer, post};
use crate::checked_url::CheckedUrl;
use crate::clock::Now;
use crate::identity::SecretToken;
use crate::oauth::code_client::{CodeClient, GrantedTokens};
use crate::oauth::error_response::{ErrorClass, ErrorResponse};
use crate::oauth::outbound::OutboundAnswer;
use crate::strict_json;

/// Largest refresh token that is kept. Entra's are about 2 kB.
const REFRESH_TOKEN_BYTES_MAX: usize = 32_768;

impl CodeClient {
    /// Redeems a code, once: a second attempt would be a replay, for which servers take everything back (RFC 6749 section
    /// 4.1.2).
    ///
    /// # Errors
    ///
    /// [`ExchangeError`] when there are no tokens.
    pub async fn redeem(
        &self,
        code: &SecretToken,
        verifier: &SecretToken,
        redirect_uri: &str,
        nonce: &str,
        now: Now,
    ) -> Result<GrantedTokens, ExchangeError> {
        self.protection().check()?;
        let endpoint = self.known_token_endpoint().await?;
        let surroundings = self.surroundings().await?;
        let request =
            Request::code(self.settings(), &endpoint, code, verifier, redirect_uri, &surroundings, now);
        let request = request.map_err(|why| self.unprepared(why))?;
        let answer = post(self.client(), &endpoint, request, &self.settings().label).await?;
        let tokens = self.read_tokens(&answer)?;
        match tokens.id_claims.as_ref().map(|claims| self.check_id_token(claims, nonce)) {
            Some(Err(why)) => Err(self.unusable(why)),
            Some(Ok(())) | None => Ok(tokens),
        }
    }

    /// Obtains the next access token.
    ///
    /// # Errors
    ///
    /// [`ExchangeError`] when there is none; [`is_over`] says whether there will never be one.
    pub async fn refresh(
        &self,
        refresh_token: &SecretToken,
        now: Now,
    ) -> Result<GrantedTokens, ExchangeError> {
        let endpoint = self.known_token_endpoint().await?;
        let attempt = || async {
            let surroundings = self.surroundings().await?;
            let request = Request::refresh(self.settings(), &endpoint, refresh_token, &surroundings, now);
            let request = request.map_err(|why| self.unprepared(why))?;
            let answer = post(self.client(), &endpoint, request, &self.settings().label).await?;
            self.read_tokens(&answer)
        };
        self.protection().run(attempt).await
    }

    /// Whether it may take tokens back: it does not say that it takes none.
    pub async fn may_take_tokens_back(&self) -> bool {
        self.endpoints().await.map_or(true, |endpoints| endpoints.revocation.is_some())
    }

    /// Gives a token back (RFC 7009). Returns whether the server takes any.
    ///
    /// # Errors
    ///
    /// [`ExchangeError`] when it takes some, and did not take this.
    pub async fn revoke(
        &self,
        token: &SecretToken,
        kind: TokenKind,
        now: Now,
    ) -> Result<bool, ExchangeError> {
        let endpoints = self.endpoints().await?;
        let Some(endpoint) = endpoints.revocation else { return Ok(false) };
        let surroundings = self.surroundings().await?;
        // What many servers know themselves by in assertions, whichever endpoint those come to (RFC 7523 section 3).
        let token_endpoint = endpoints.token.as_ref().unwrap_or(&endpoint);
        let request =
            Request::revocation(self.settings(), token_endpoint, token, kind.as_str(), &surroundings, now);
        let request = request.map_err(|why| self.unprepared(why))?;
        let answer = post(self.client(), &endpoint, request, &self.settings().label).await?;
        match answer.status.is_success() {
            true => Ok(true),
            false => Err(self.refused(&answer)),
        }
    }

    /// What the server says of the person whose token this is; `None`: it cannot be asked. For showing the account, and for
    /// nothing else.
    ///
    /// # Errors
    ///
    /// [`ExchangeError`] when it does not say.
    pub async fn user_info(
        &self,
        access_token: &SecretToken,
    ) -> Result<Option<Map<String, Value>>, ExchangeError> {
        let Some(endpoint) = self.endpoints().await?.userinfo else { return Ok(None) };
        let header = super::request::bearer(access_token).map_err(|why| self.unprepared(why))?;
        let label = &self.settings().label;
        let answer = self.client().get_as(&endpoint, header).await;
        let answer = answer.map_err(|source| ExchangeError::Unreachable { issuer: label.clone(), source })?;
        if answer.status != StatusCode::OK {
            return Err(self.refused(&answer));
        }
        let said = strict_json::parse_object(&answer.body);
        said.map(Some).map_err(|_| self.unusable("it is not a JSON object"))
    }

    async fn known_token_endpoint(&self) -> Result<CheckedUrl, ExchangeError> {
        let missing = || ExchangeError::NoTokenEndpoint { issuer: self.settings().label.clone() };
        self.endpoints().await?.token.ok_or_else(missing)
    }

    async fn surroundings(&self) -> Result<Surroundings, ExchangeError> {
        match &self.settings().client_auth {
            Some(client_auth) => {
                Surroundings::of_client(client_auth).await.map_err(|why| self.unprepared(why))
            }
            None => Ok(Surroundings::default()),
        }
    }

    fn read_tokens(&self, answer: &OutboundAnswer) -> Result<GrantedTokens, ExchangeError> {
        // Some servers say no with a 200 (GitHub).
        let is_no =
            || strict_json::parse_object(&answer.body).is_ok_and(|members| members.contains_key("error"));
        if answer.status != StatusCode::OK || is_no() {
            return Err(self.refused(answer));
        }
        read(answer).map_err(|why| self.unusable(why))
    }

    /// An ID token that came from the token endpoint itself needs no signature (OpenID Connect Core section 3.1.3.7), but it
    /// has to be for this request.
    fn check_id_token(&self, claims: &Map<String, Value>, nonce: &str) -> Result<(), &'static str> {
        let settings = self.settings();
        let text = |name| claims.get(name).and_then(Value::as_str);
        let is_for_us = match claims.get("aud") {
            Some(Value::String(audience)) => **audience == *settings.client_id,
            Some(Value::Array(audiences)) => {
                audiences.iter().any(|one| one.as_str() == Some(&settings.client_id))
            }
            Some(_) | None => false,
        };
        if !is_for_us {
            return Err("its ID token is for another client");
        }
        if settings.issuer.as_ref().is_some_and(|issuer| text("iss") != Some(issuer.as_str())) {
            return Err("its ID token is another server's");
        }
        match self.asks_for_id_token() && text("nonce") != Some(nonce) {
            true => Err("its ID token is for another request"),
            false => Ok(()),
        }
    }

    fn refused(&self, answer: &OutboundAnswer) -> ExchangeError {
        let refused = Box::new(ErrorResponse::read(answer));
        ExchangeError::Refused { issuer: self.settings().label.clone(), refused, consent_url: None }
    }

    fn unprepared(&self, why: &'static str) -> ExchangeError {
        ExchangeError::Unprepared { issuer: self.settings().label.clone(), why }
    }

    fn unusable(&self, why: &'static str) -> ExchangeError {
        ExchangeError::Unusable { issuer: self.settings().label.clone(), why }
    }
}

/// What kind of token is given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenKind {
    /// The token itself.
    Access,
    /// The one by which the next is obtained.
    Refresh,
}

impl TokenKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access_token",
            Self::Refresh => "refresh_token",
        }
    }
}

/// Whether a refresh was refused for good: the refresh token is used up, withdrawn, or over. The person has to sign in anew.
pub fn is_over(error: &ExchangeError) -> bool {
    let ExchangeError::Refused { refused, .. } = error else { return false };
    let is_grant = matches!(refused.error.as_str(), "invalid_grant" | "bad_refresh_token");
    let passes = matches!(refused.class, ErrorClass::Throttled { .. } | ErrorClass::Unavailable { .. });
    is_grant && !passes
}

fn read(answer: &OutboundAnswer) -> Result<GrantedTokens, &'static str> {
    let issued = answer::read_bearer(answer)?;
    let members = strict_json::parse_object(&answer.body).map_err(|_| "it is not a JSON object")?;
    let text = |name| match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err("a member has the wrong type"),
    };
    let refresh_token = text("refresh_token")?;
    if refresh_token.is_some_and(|token| token.len() > REFRESH_TOKEN_BYTES_MAX) {
        return Err("its refresh token is too large");
    }
    Ok(GrantedTokens {
        access_token: issued.token,
        refresh_token: refresh_token.map(SecretToken::new),
        granted: issued.granted,
        lifetime: issued.lifetime,
        correlation_id: issued.correlation_id,
        id_claims: text("id_token")?.map(claims).transpose()?,
    })
}

fn claims(id_token: &str) -> Result<Map<String, Value>, &'static str> {
    let unreadable = "its ID token cannot be read";
    let payload = id_token.split('.').nth(1).ok_or(unreadable)?;
    let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| unreadable)?;
    strict_json::parse_object(&payload).map_err(|_| unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::code_client::CodeClientSettings;
    use serde_json::json;
    use std::sync::Arc;
    use std::time::Duration;

    fn answer(status: u16, body: &Value) -> OutboundAnswer {
        let status = StatusCode::from_u16(status).expect("a status of the test");
        OutboundAnswer { status, headers: http::HeaderMap::new(), body: body.to_string().into_bytes() }
    }

    fn client() -> CodeClient {
        CodeClient::new(CodeClientSettings::for_tests(), None, &Arc::default()).expect("a client")
    }

    fn id_token(claims: &Value) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    #[test]
    fn a_good_answer_is_read() {
        let body = json!({"access_token": "a", "token_type": "bearer", "expires_in": 300, "refresh_token": "r",
            "scope": "b a", "id_token": id_token(&json!({"email": "ada@crm.example"}))});
        let tokens = client().read_tokens(&answer(200, &body)).expect("tokens");
        assert_eq!(tokens.refresh_token.map(|token| token.byte_count()), Some(1));
        assert_eq!(tokens.granted.map(|scopes| scopes.canonical().to_owned()).as_deref(), Some("a b"));
        assert_eq!(tokens.lifetime, Some(Duration::from_secs(300)));
        assert_eq!(tokens.id_claims.expect("claims")["email"], "ada@crm.example");
        for none in [json!(null), json!("")] {
            let body = json!({"access_token": "a", "token_type": "bearer", "refresh_token": none});
            assert!(client().read_tokens(&answer(200, &body)).expect("tokens").refresh_token.is_none());
        }
    }

    #[test]
    fn a_bad_answer_is_not() {
        let long = "x".repeat(REFRESH_TOKEN_BYTES_MAX + 1);
        for (name, value) in [
            ("refresh_token", json!(7)),
            ("refresh_token", json!(long)),
            ("id_token", json!("no JWT")),
            ("id_token", json!("e30.W10.c2ln")),
            ("token_type", json!("DPoP")),
        ] {
            let mut body = json!({"access_token": "a", "token_type": "bearer"});
            body[name] = value;
            let error = client().read_tokens(&answer(200, &body)).expect_err(name);
            assert!(matches!(error, ExchangeError::Unusable { .. }), "{error}");
        }
    }

    #[test]
    fn only_a_grant_that_will_never_be_good_again_is_over() {
        let check = |status, body: Value, over| {
            let error = client().read_tokens(&answer(status, &body)).expect_err("no tokens");
            assert_eq!(is_over(&error), over, "{body}");
        };
        check(400, json!({"error": "invalid_grant"}), true);
        check(200, json!({"error": "bad_refresh_token"}), true);
        check(400, json!({"error": "invalid_client"}), false);
        check(401, json!({"error": "invalid_client"}), false);
        check(429, json!({"error": "invalid_grant"}), false);
        check(503, json!({"error": "invalid_grant"}), false);
        check(400, json!({"error": "invalid_grant", "error_codes": [50196]}), false);
        check(400, json!({}), false);
    }

    #[test]
    fn an_id_token_is_for_this_client_and_this_request() {
        let check = |claims: Value, expected| {
            let claims = claims.as_object().expect("an object of the test").clone();
            assert_eq!(client().check_id_token(&claims, "n-1"), expected, "{claims:?}");
        };
        let iss = "https://login.crm.example";
        check(json!({"iss": iss, "aud": "gateway", "nonce": "n-1"}), Ok(()));
        check(json!({"iss": iss, "aud": ["other", "gateway"], "nonce": "n-1"}), Ok(()));
        check(json!({"iss": iss, "aud": "other", "nonce": "n-1"}), Err("its ID token is for another client"));
        check(json!({"iss": iss, "nonce": "n-1"}), Err("its ID token is for another client"));
        check(
            json!({"iss": "https://evil.example", "aud": "gateway", "nonce": "n-1"}),
            Err("its ID token is another server's"),
        );
        check(
            json!({"iss": iss, "aud": "gateway", "nonce": "n-2"}),
            Err("its ID token is for another request"),
        );
        check(json!({"iss": iss, "aud": "gateway"}), Err("its ID token is for another request"));
    }
}
