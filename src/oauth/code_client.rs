//! The gateway as a client of an authorization server where people sign in for themselves: authorization code with PKCE
//! (RFC 6749 section 4.1, RFC 7636), refresh, revocation, and user-info.
//!
//! Here is who the server is and where its endpoints are; what is sent there is in `exchange/code.rs`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rustls::pki_types::CertificateDer;
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::Url;

use super::ClientAuth;
use super::error_response::Word;
use super::exchange::ExchangeError;
use super::metadata::{self, MetadataError};
use super::outbound::OutboundClient;
use super::protection::Protection;
use crate::checked_url::{CheckedUrl, PlainHttp};
use crate::digest::FieldDigest;
use crate::identity::{Issuer, IssuerName, Scopes, SecretToken};
use crate::metrics::Metrics;
use crate::tool::Resource;

/// How long what discovery says is taken for granted. Endpoints hardly ever move.
const DISCOVERED_FOR: Duration = Duration::from_secs(3_600);
/// The scope by which an ID token is asked for (OpenID Connect Core section 3.1.2.1).
const OPENID: &str = "openid";

/// What the configuration says about such a server, checked.
#[derive(Clone, Debug)]
pub struct CodeClientSettings {
    /// What it is called in errors and metrics. No issuer has this name.
    pub label: IssuerName,
    /// Its issuer identifier, where it is given.
    pub issuer: Option<Issuer>,
    /// Where its metadata may be, in the order in which it is looked for. Empty: all endpoints are given.
    pub metadata: Vec<CheckedUrl>,
    /// Its endpoints, as far as they are given. They win over what discovery says.
    pub endpoints: CodeEndpoints,
    /// Whether endpoints that discovery names may use plain HTTP beyond loopback.
    pub plain_http: PlainHttp,
    /// The gateway's own client identifier there.
    pub client_id: Arc<str>,
    /// How the gateway proves to be that client; `None`: it is a public one, and PKCE is all there is.
    pub client_auth: Option<ClientAuth>,
    /// The scopes that are asked for.
    pub scopes: Scopes,
    /// The service that tokens are for (RFC 8707).
    pub resource: Option<Resource>,
    /// Further parameters of the authorization request.
    pub extra: Vec<(String, String)>,
    /// Certificate authorities trusted beside those of the system.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

/// The endpoints of such a server.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CodeEndpoints {
    /// Where people sign in and agree (RFC 6749 section 3.1).
    pub authorization: Option<CheckedUrl>,
    /// Where tokens are asked for (RFC 6749 section 3.2).
    pub token: Option<CheckedUrl>,
    /// Where tokens are given back (RFC 7009).
    pub revocation: Option<CheckedUrl>,
    /// Where it is said whose a token is (OpenID Connect Core section 5.3).
    pub userinfo: Option<CheckedUrl>,
}

/// What is known of the server.
#[derive(Debug)]
struct Discovered {
    endpoints: CodeEndpoints,
    /// Whether its answers name it (RFC 9207).
    names_itself: bool,
    found: Instant,
}

/// What an authorization request carries beside what every one of a client's does.
#[derive(Clone, Copy, Debug)]
pub struct AuthorizationRequest<'a> {
    /// Where the answer goes.
    pub redirect_uri: &'a str,
    /// Ties the answer to the request.
    pub state: &'a str,
    /// Ties the ID token to the request.
    pub nonce: &'a str,
    /// The SHA-256 of the verifier, as text (RFC 7636 section 4.2).
    pub code_challenge: &'a str,
}

/// Such a server, as the gateway asks it.
pub struct CodeClient {
    settings: CodeClientSettings,
    client: OutboundClient,
    protection: Arc<Protection>,
    discovered: ArcSwapOption<Discovered>,
    fingerprint: [u8; 32],
}

impl fmt::Debug for CodeClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeClient").field("label", &self.settings.label).finish_non_exhaustive()
    }
}

impl CodeClient {
    /// Prepares to ask it. What `previous` has learned of the same server is taken over.
    ///
    /// # Errors
    ///
    /// When one of its certificate authorities cannot be used.
    pub fn new(
        settings: CodeClientSettings,
        previous: Option<&Self>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, rustls::Error> {
        let CodeEndpoints { authorization: _, token, revocation, userinfo } = &settings.endpoints;
        let named = settings.metadata.iter().chain([token, revocation, userinfo].into_iter().flatten());
        let identity = settings.client_auth.as_ref().and_then(ClientAuth::tls_identity);
        let client = OutboundClient::new(&settings.extra_roots, identity, named)?;
        let previous = previous.filter(|previous| previous.is_at_the_place_of(&settings));
        let protection = match previous {
            Some(previous) => Arc::clone(&previous.protection),
            None => Arc::new(Protection::new(settings.label.clone(), Arc::clone(metrics))),
        };
        let discovered = ArcSwapOption::new(previous.and_then(|previous| previous.discovered.load_full()));
        let fingerprint = fingerprint(&settings);
        Ok(Self { settings, client, protection, discovered, fingerprint })
    }

    fn is_at_the_place_of(&self, settings: &CodeClientSettings) -> bool {
        let own = &self.settings;
        own.issuer == settings.issuer
            && own.metadata == settings.metadata
            && own.endpoints == settings.endpoints
            && own.extra_roots == settings.extra_roots
    }

    /// What the configuration says about it.
    pub fn settings(&self) -> &CodeClientSettings {
        &self.settings
    }

    /// A digest of every setting that shapes what a person grants: what was granted under others is not used. How the
    /// client proves itself is none of them.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Its token endpoint, as far as that is known without asking.
    pub fn token_endpoint(&self) -> Option<CheckedUrl> {
        let given = self.settings.endpoints.token.clone();
        given.or_else(|| self.discovered.load().as_ref()?.endpoints.token.clone())
    }

    /// The client for calls to it.
    pub(super) fn client(&self) -> &OutboundClient {
        &self.client
    }

    /// What keeps it from being asked too much.
    pub(super) fn protection(&self) -> &Protection {
        &self.protection
    }

    /// Whether people are signed in with an ID token.
    pub fn asks_for_id_token(&self) -> bool {
        self.settings.scopes.contains(OPENID)
    }

    /// Its endpoints. Its metadata is read when one of them is not given, and has not been read a while ago.
    ///
    /// # Errors
    ///
    /// [`ExchangeError::NoTokenEndpoint`] when they cannot be found out.
    pub(super) async fn endpoints(&self) -> Result<CodeEndpoints, ExchangeError> {
        Ok(match self.discovered().await? {
            None => self.settings.endpoints.clone(),
            Some(discovered) => {
                let (given, found) = (self.settings.endpoints.clone(), discovered.endpoints.clone());
                CodeEndpoints {
                    authorization: given.authorization.or(found.authorization),
                    token: given.token.or(found.token),
                    revocation: given.revocation.or(found.revocation),
                    userinfo: given.userinfo.or(found.userinfo),
                }
            }
        })
    }

    async fn discovered(&self) -> Result<Option<Arc<Discovered>>, ExchangeError> {
        let Some(issuer) = self.settings.issuer.as_ref().filter(|_| !self.settings.metadata.is_empty())
        else {
            return Ok(None);
        };
        let known = self.discovered.load_full();
        if let Some(known) = known.as_ref().filter(|known| known.found.elapsed() < DISCOVERED_FOR) {
            return Ok(Some(Arc::clone(known)));
        }
        match (self.discover(issuer).await, known) {
            (Ok(discovered), _) => {
                let discovered = Arc::new(discovered);
                self.discovered.store(Some(Arc::clone(&discovered)));
                Ok(Some(discovered))
            }
            // What was true an hour ago is better than nothing.
            (Err(error), Some(known)) => {
                tracing::warn!(server = %self.settings.label, %error, "Metadata of an authorization server not read anew");
                Ok(Some(known))
            }
            (Err(error), None) => {
                tracing::warn!(server = %self.settings.label, %error, "Metadata of an authorization server not read");
                Err(ExchangeError::NoTokenEndpoint { issuer: self.settings.label.clone() })
            }
        }
    }

    async fn discover(&self, issuer: &Issuer) -> Result<Discovered, MetadataError> {
        let mut last = MetadataError::NotJson;
        for url in &self.settings.metadata {
            match metadata::members(&self.client, url, issuer, self.settings.plain_http).await {
                Ok(members) => return Ok(self.read(&members)),
                // It may be at the other place.
                Err(error @ (MetadataError::Status(_) | MetadataError::NotJson)) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    fn read(&self, members: &Map<String, Value>) -> Discovered {
        // Each address was checked when the members were read.
        let address = |name: &str| {
            let text = members.get(name).and_then(Value::as_str)?;
            CheckedUrl::parse(text, self.settings.plain_http).ok()
        };
        let endpoints = CodeEndpoints {
            authorization: address("authorization_endpoint"),
            token: address("token_endpoint"),
            revocation: address("revocation_endpoint"),
            userinfo: address("userinfo_endpoint"),
        };
        let names_itself = members.get("authorization_response_iss_parameter_supported");
        let names_itself = names_itself == Some(&Value::Bool(true));
        Discovered { endpoints, names_itself, found: Instant::now() }
    }

    /// Where a person signs in and agrees: an authorization request of the gateway's own.
    ///
    /// # Errors
    ///
    /// [`ExchangeError`] when that is not known.
    pub async fn authorization_url(&self, request: AuthorizationRequest<'_>) -> Result<Url, ExchangeError> {
        let unprepared = || ExchangeError::Unprepared {
            issuer: self.settings.label.clone(),
            why: "its authorization endpoint is not known",
        };
        let mut url = self.endpoints().await?.authorization.ok_or_else(unprepared)?.as_url().clone();
        let AuthorizationRequest { redirect_uri, state, nonce, code_challenge } = request;
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("state", state)
            .append_pair("code_challenge", code_challenge)
            .append_pair("code_challenge_method", "S256");
        if !self.settings.scopes.is_empty() {
            query.append_pair("scope", self.settings.scopes.canonical());
        }
        if self.asks_for_id_token() {
            query.append_pair("nonce", nonce);
        }
        if let Some(resource) = &self.settings.resource {
            query.append_pair("resource", resource.as_str());
        }
        query.extend_pairs(self.settings.extra.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        drop(query);
        Ok(url)
    }

    /// Whether an answer that names `iss` may be this server's (RFC 9207 section 2.4).
    pub fn may_have_answered(&self, iss: Option<&str>) -> bool {
        let names_itself = self.discovered.load().as_ref().is_some_and(|known| known.names_itself);
        match (iss, &self.settings.issuer) {
            (Some(named), Some(issuer)) => named == issuer.as_str(),
            (Some(_), None) => true,
            (None, _) => !names_itself,
        }
    }
}

fn fingerprint(settings: &CodeClientSettings) -> [u8; 32] {
    let mut digest = FieldDigest::new("connection-settings/1");
    digest.optional(settings.issuer.as_ref().map(Issuer::as_str));
    for endpoint in [&settings.endpoints.authorization, &settings.endpoints.token] {
        digest.optional(endpoint.as_ref().map(CheckedUrl::as_str));
    }
    digest.field(settings.client_id.as_bytes());
    digest.field(settings.scopes.canonical().as_bytes());
    digest.optional(settings.resource.as_ref().map(Resource::as_str));
    digest.finish()
}

/// What a server yields for a code, or for a refresh token.
#[derive(Clone, Debug)]
pub struct GrantedTokens {
    /// The access token.
    pub access_token: SecretToken,
    /// The token by which the next one is obtained. After a refresh `None` says that the old one stays good.
    pub refresh_token: Option<SecretToken>,
    /// The scopes that were granted, where the server says so.
    pub granted: Option<Scopes>,
    /// How long the access token lives, counted from when it was asked for; `None`: the server does not say.
    pub lifetime: Option<Duration>,
    /// The identifier by which the server's operators find the request, where it gave one.
    pub correlation_id: Option<Word>,
    /// What the ID token says, where there is one: for showing the account, and for nothing else.
    pub id_claims: Option<Map<String, Value>>,
}

#[cfg(test)]
impl CodeClientSettings {
    /// What a test needs of a server without anything special.
    pub fn for_tests() -> Self {
        let url = |text: &str| CheckedUrl::parse(text, PlainHttp::LoopbackOnly).ok();
        Self {
            label: IssuerName::new("connections/crm"),
            issuer: Some(Issuer::new("https://login.crm.example")),
            metadata: Vec::new(),
            endpoints: CodeEndpoints {
                authorization: url("https://login.crm.example/authorize?x=1"),
                token: url("https://login.crm.example/token"),
                ..CodeEndpoints::default()
            },
            plain_http: PlainHttp::LoopbackOnly,
            client_id: "gateway".into(),
            client_auth: None,
            scopes: Scopes::parse("openid contacts.read"),
            resource: Some(Resource::new("https://crm.example")),
            extra: vec![("access_type".to_owned(), "offline".to_owned())],
            extra_roots: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(change: impl FnOnce(&mut CodeClientSettings)) -> CodeClient {
        let mut settings = CodeClientSettings::for_tests();
        change(&mut settings);
        CodeClient::new(settings, None, &Arc::default()).expect("a client")
    }

    #[tokio::test]
    async fn an_authorization_request_has_a_challenge_and_no_secret() {
        let request = AuthorizationRequest {
            redirect_uri: "https://gateway.example/account/callback",
            state: "s",
            nonce: "n",
            code_challenge: "c",
        };
        let url = client(|_| {}).authorization_url(request).await.expect("a URL");
        assert_eq!(
            url.as_str(),
            "https://login.crm.example/authorize?x=1&response_type=code&client_id=gateway\
             &redirect_uri=https%3A%2F%2Fgateway.example%2Faccount%2Fcallback&state=s&code_challenge=c\
             &code_challenge_method=S256&scope=contacts.read+openid&nonce=n&resource=https%3A%2F%2Fcrm.example\
             &access_type=offline"
        );
        let nowhere = client(|settings| settings.endpoints.authorization = None);
        nowhere.authorization_url(request).await.expect_err("nobody knows where");
    }

    #[test]
    fn an_answer_of_another_server_is_none() {
        let check = |names_itself: bool, iss: Option<&str>, expected: bool| {
            let client = client(|_| {});
            let (endpoints, found) = (CodeEndpoints::default(), Instant::now());
            client.discovered.store(Some(Arc::new(Discovered { endpoints, names_itself, found })));
            assert_eq!(client.may_have_answered(iss), expected, "{iss:?}");
        };
        check(false, None, true);
        check(true, None, false);
        for names_itself in [false, true] {
            check(names_itself, Some("https://login.crm.example"), true);
            check(names_itself, Some("https://login.crm.example/"), false);
            check(names_itself, Some("https://evil.example"), false);
        }
    }

    #[test]
    fn what_was_granted_under_other_settings_is_told_by_the_fingerprint() {
        let fingerprint = |change: fn(&mut CodeClientSettings)| *client(change).fingerprint();
        let same = fingerprint(|_| {});
        assert_eq!(
            same,
            fingerprint(|settings| settings.client_auth = Some(ClientAuth::SecretPost(SecretToken::new("x"))))
        );
        assert_eq!(same, fingerprint(|settings| settings.extra.clear()));
        let changes: [fn(&mut CodeClientSettings); 6] = [
            |settings| settings.issuer = Some(Issuer::new("https://other.example")),
            |settings| settings.endpoints.token = None,
            |settings| settings.endpoints.authorization = None,
            |settings| settings.client_id = "other".into(),
            |settings| settings.scopes = Scopes::parse("contacts.read contacts.write openid"),
            |settings| settings.resource = None,
        ];
        for change in changes {
            assert_ne!(same, fingerprint(change));
        }
    }
}
