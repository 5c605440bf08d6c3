//! Signing people in at an issuer, for the gateway's own pages: OpenID Connect's authorization code flow, always with PKCE
//! (RFC 7636, S256), `state`, `nonce`, and the `iss` of RFC 9207 where it is sent.
//!
//! What comes of it is a [`SignedIn`]: the same person, by the same identifier, whom the verifier takes an agent's call to
//! be for. Nothing is kept of the tokens.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::Value;
use url::Url;

use super::ClientAuth;
use super::authorization_server::AuthorizationServer;
use super::claims::id_token::{self, IdTokenError};
use super::error_response::Word;
use super::exchange::request::{Redemption, Request, Surroundings};
use super::jws::{Jws, JwsError, OtherToken};
use super::outbound::OutboundError;
use super::verifier::{VerifyError, check_signature_with_keys_of};
use crate::clock::Now;
use crate::identity::{IssuerName, PersonId, Scopes, SecretToken};
use crate::random;
use crate::strict_json;

/// Longest authorization code that is passed on. Servers' longest are about 2 kB.
const CODE_BYTES_MAX: usize = 4_096;

/// How people sign in at an issuer for the gateway's pages.
#[derive(Clone, Debug)]
pub struct SignInSettings {
    /// The gateway's client identifier there.
    pub client_id: Arc<str>,
    /// How the gateway proves to be that client.
    pub client_auth: ClientAuth,
    /// The scopes that are asked for; `openid` is one of them.
    pub scopes: Scopes,
}

/// Someone who is signed in to the gateway's pages. There is one way to make one: an ID token in which every check has
/// passed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedIn {
    pub(super) issuer_name: IssuerName,
    pub(super) id: PersonId,
    pub(super) name: Option<Arc<str>>,
}

impl SignedIn {
    /// The configuration's name for the issuer.
    pub fn issuer_name(&self) -> &IssuerName {
        &self.issuer_name
    }

    /// Which person.
    pub fn id(&self) -> &PersonId {
        &self.id
    }

    /// What people call them, where the issuer says it: for reading, and for nothing else.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

/// A sign-in while the person is at the issuer. Whoever began it keeps it, out of everybody else's reach.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Comes back with the browser.
    pub state: SecretToken,
    /// Comes back in the ID token.
    pub nonce: SecretToken,
    /// What only whoever began it can show (RFC 7636 section 4.1).
    pub verifier: SecretToken,
}

/// Why nobody is signed in.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SignInError {
    /// The configuration has people of this issuer not sign in, or not any more.
    #[error("{0} is not one that people sign in at")]
    NotOffered(IssuerName),
    /// It is not known yet where people sign in there.
    #[error("the endpoints of {0} are not known yet")]
    EndpointUnknown(IssuerName),
    /// The gateway cannot ask.
    #[error("the code could not be redeemed: {0}")]
    NotAsked(&'static str),
    /// No answer came.
    #[error("{issuer}: {source}")]
    Outbound {
        /// The issuer.
        issuer: IssuerName,
        /// Why.
        #[source]
        source: OutboundError,
    },
    /// It refused the code: it is another's, was used, or is too old.
    #[error("{issuer} refused the code: {status} {error}")]
    Refused {
        /// The issuer.
        issuer: IssuerName,
        /// With this status.
        status: StatusCode,
        /// Its `error`.
        error: Word,
    },
    /// Its answer has no ID token, or is none that can be read.
    #[error("{0} answered without an ID token")]
    NoIdToken(IssuerName),
    /// The ID token's form or signature is refused.
    #[error("the ID token is refused: {0}")]
    Token(#[from] VerifyError),
    /// What the ID token says is refused.
    #[error("the ID token is refused: {0}")]
    IdToken(#[from] IdTokenError),
}

impl Attempt {
    /// A new one, which nobody can guess.
    pub fn begin() -> Self {
        let fresh = || SecretToken::new(random::text::<32>());
        Self { state: fresh(), nonce: fresh(), verifier: fresh() }
    }
}

impl AuthorizationServer {
    /// Whether people sign in there for the gateway's pages.
    pub fn offers_sign_in(&self) -> bool {
        self.settings().sign_in.is_some()
    }

    /// Where the browser goes to have the person signed in. It comes back to `redirect_uri`. `anew`: also where somebody is
    /// signed in already, who may not be the one that is wanted.
    ///
    /// # Errors
    ///
    /// [`SignInError::NotOffered`] and [`SignInError::EndpointUnknown`].
    pub fn sign_in_url(&self, attempt: &Attempt, redirect_uri: &str, anew: bool) -> Result<Url, SignInError> {
        let settings = self.sign_in_settings()?;
        let unknown = || SignInError::EndpointUnknown(self.settings().name.clone());
        let mut url = self.authorization_endpoint().ok_or_else(unknown)?.as_url().clone();
        let challenge = URL_SAFE_NO_PAD.encode(attempt.verifier.digest());
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &settings.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", settings.scopes.canonical())
            .append_pair("state", attempt.state.expose())
            .append_pair("nonce", attempt.nonce.expose())
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            // OpenID Connect Core section 3.1.2.1.
            .extend_pairs(anew.then_some(("prompt", "login")));
        Ok(url)
    }

    /// Whether an answer that came to the redirect address can be this server's: `iss` is what came with it (RFC 9207
    /// section 2.4).
    pub fn answers_as(&self, iss: Option<&str>) -> bool {
        match iss {
            Some(iss) => iss == self.settings().issuer.as_str(),
            None => !self.sends_issuer(),
        }
    }

    /// Redeems the code that the browser came back with, and finds out who that is.
    ///
    /// # Errors
    ///
    /// [`SignInError`] says why nobody is signed in.
    pub async fn sign_in(
        &self,
        attempt: &Attempt,
        redirect_uri: &str,
        code: &SecretToken,
        now: Now,
    ) -> Result<SignedIn, SignInError> {
        let issuer = || self.settings().name.clone();
        let settings = self.sign_in_settings()?;
        let client = self.sign_in_client().ok_or_else(|| SignInError::NotOffered(issuer()))?;
        let endpoint = self.token_endpoint().ok_or_else(|| SignInError::EndpointUnknown(issuer()))?;
        if code.byte_count() > CODE_BYTES_MAX {
            return Err(SignInError::NotAsked("the code is longer than any honest one"));
        }
        let surroundings =
            Surroundings::of_client(&settings.client_auth).await.map_err(SignInError::NotAsked)?;
        let redemption = Redemption { code, verifier: &attempt.verifier, redirect_uri };
        let request = Request::authorization_code(
            (&settings.client_id, &settings.client_auth),
            &endpoint,
            &redemption,
            &surroundings,
            now,
        )
        .map_err(SignInError::NotAsked)?;
        let form: Vec<(&str, &str)> =
            request.form.iter().map(|field| (field.name.as_str(), field.value())).collect();
        let answer = client
            .post_form(&endpoint, request.authorization.clone(), &form)
            .await
            .map_err(|source| SignInError::Outbound { issuer: issuer(), source })?;
        if answer.status != StatusCode::OK {
            let members = strict_json::parse_object(&answer.body).unwrap_or_default();
            let error = members.get("error").and_then(Value::as_str).unwrap_or_default();
            return Err(SignInError::Refused {
                issuer: issuer(),
                status: answer.status,
                error: Word::new(error),
            });
        }
        let members = strict_json::parse_object(&answer.body).ok();
        let id_token = members.as_ref().and_then(|members| members.get("id_token")?.as_str());
        let id_token = id_token.ok_or_else(|| SignInError::NoIdToken(issuer()))?;
        self.check_id_token(id_token, &settings.client_id, &attempt.nonce, now).await
    }

    async fn check_id_token(
        &self,
        id_token: &str,
        client_id: &str,
        nonce: &SecretToken,
        now: Now,
    ) -> Result<SignedIn, SignInError> {
        let jws = Jws::parse(id_token).map_err(VerifyError::from)?;
        if jws.is_at_jwt {
            return Err(VerifyError::Form(JwsError::Type(OtherToken::Other)).into());
        }
        check_signature_with_keys_of(self, &jws, now).await?;
        Ok(id_token::check(&jws.claims, self.settings(), client_id, nonce.expose(), now)?)
    }

    fn sign_in_settings(&self) -> Result<&SignInSettings, SignInError> {
        let settings = self.settings();
        settings.sign_in.as_ref().ok_or_else(|| SignInError::NotOffered(settings.name.clone()))
    }
}

/// For tests of what comes after a sign-in.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::identity::{Issuer, Subject, Tenant};

    /// Someone of this name, signed in at `https://issuer.example`.
    pub(crate) fn signed_in(who: &str) -> SignedIn {
        SignedIn {
            issuer_name: IssuerName::new("contoso"),
            id: PersonId {
                issuer: Issuer::new("https://issuer.example"),
                tenant: Tenant::Sole,
                subject: Subject::new(who),
            },
            name: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checked_url::{CheckedUrl, PlainHttp};
    use crate::oauth::{Endpoints, IssuerKind, IssuerSettings};
    use std::sync::Arc;

    #[tokio::test]
    async fn a_code_that_is_longer_than_any_honest_one_goes_nowhere() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}/token", listener.local_addr().expect("an address"));
        let settings = IssuerSettings::of(IssuerKind::Oidc);
        let token_endpoint = CheckedUrl::parse(&endpoint, PlainHttp::LoopbackOnly).ok();
        let settings = IssuerSettings {
            sign_in: Some(SignInSettings {
                client_id: "pages".into(),
                client_auth: ClientAuth::SecretPost(SecretToken::new("secret")),
                scopes: Scopes::parse("openid"),
            }),
            endpoints: Endpoints { token_endpoint, ..settings.endpoints.clone() },
            ..settings
        };
        let server = AuthorizationServer::idle(settings, None, Arc::default()).expect("a server");
        let attempt = Attempt::begin();
        let sign_in = async |bytes: usize| {
            let code = SecretToken::new("c".repeat(bytes));
            server.sign_in(&attempt, "https://gateway.example/account/signed-in", &code, Now::read()).await
        };
        let refused = sign_in(CODE_BYTES_MAX + 1).await;
        assert!(matches!(refused, Err(SignInError::NotAsked(_))), "{refused:?}");
        let asked = async { listener.accept().await.map(drop) };
        let (refused, asked) = tokio::join!(sign_in(CODE_BYTES_MAX), asked);
        assert!(matches!(refused, Err(SignInError::Outbound { .. })), "{refused:?}");
        asked.expect("that one is sent, and it is the first that is");
    }
}
