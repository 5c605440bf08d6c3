//! Talking to authorization servers: their keys, their metadata, and the grants asked of them.
//!
//! All outbound HTTP to authorization servers is here, behind one client that is built by hand.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use crate::checked_url::{CheckedUrl, PlainHttp};
use crate::identity::{Actor, Audience, Issuer, IssuerName, Scopes, SecretToken, Tenant};
use crate::tls::TlsIdentity;

pub mod assertion;
pub mod authorization_server;
pub mod claims;
pub mod claims_request;
pub mod code_client;
pub mod delegated;
pub mod dpop;
pub mod error_response;
pub mod exchange;
pub mod id_jag;
pub mod introspection;
pub mod jws;
pub mod key_set;
pub mod keys;
pub mod metadata;
pub mod outbound;
pub mod possession;
pub mod protection;
pub mod published_metadata;
pub mod resource_authorization_server;
pub mod sign_in;
pub mod verifier;

use assertion::AssertionKey;
use published_metadata::Publication;
use resource_authorization_server::ResourceAuthorizationServers;
use sign_in::SignInSettings;

/// Everything the configuration says about one issuer, checked.
///
/// An Entra entry with several tenants becomes several of these, under one name.
#[derive(Clone, Debug)]
pub struct IssuerSettings {
    /// Its name in the configuration.
    pub name: IssuerName,
    /// Which claims tell the person and the agent.
    pub kind: IssuerKind,
    /// The exact `iss` of its tokens.
    pub issuer: Issuer,
    /// Another `iss` of the same server: Entra's tokens of version 1 carry one, and mean the same people.
    pub other_issuer: Option<Issuer>,
    /// How much an access token has to be like RFC 9068 wants it.
    pub profile: Profile,
    /// Which claims say what, where that can be chosen.
    pub claim_names: ClaimNames,
    /// Whether it is asked what opaque tokens mean.
    pub introspects: bool,
    /// Where its endpoints are.
    pub endpoints: Endpoints,
    /// One of these must be in a token's `aud`. Never empty.
    pub audiences: Vec<Audience>,
    /// The agents that may call. `None`: any.
    pub agents: Option<Vec<Actor>>,
    /// Scopes that every subject token must hold.
    pub required_scopes: Scopes,
    /// Whether records say what people are called (`audit.display_names`), so that it is kept.
    pub keeps_display_names: bool,
    /// Certificate authorities trusted beside those of the system.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// As what its metadata is published anew for clients; `None`: they read its own.
    pub publication: Option<Publication>,
    /// How delegated tokens are obtained from it; `None`: its people cannot call `on_behalf_of` tools.
    pub exchange: Option<ExchangeSettings>,
    /// How the gateway's application tokens are obtained from it; `None`: no tool for its people is `app_only`, and
    /// none is ever asked for.
    pub application: Option<ApplicationSettings>,
    /// How its people sign in to the gateway's pages; `None`: they cannot.
    pub sign_in: Option<SignInSettings>,
}

impl IssuerSettings {
    /// The tenant of its people.
    pub fn tenant(&self) -> Tenant {
        match &self.kind {
            IssuerKind::Entra { tenant } => tenant.clone(),
            IssuerKind::Oidc => Tenant::Sole,
        }
    }

    /// Where its people's identifiers mean something: the tenant, or where there is none, the issuer.
    pub fn realm(&self) -> &str {
        match &self.kind {
            IssuerKind::Entra { tenant } => tenant.id().unwrap_or(self.issuer.as_str()),
            IssuerKind::Oidc => self.issuer.as_str(),
        }
    }
}

/// How much an access token has to be like RFC 9068 wants it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// Whatever is plainly a signed access token. Most servers' are not quite like the RFC.
    Lenient,
    /// `typ` is `at+jwt`, and every claim that the RFC requires is there.
    Rfc9068,
}

/// Where a claim is in a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClaimPath {
    /// The claim of this name.
    Name(Arc<str>),
    /// What this JSON Pointer (RFC 6901) leads to.
    Pointer(Arc<str>),
}

/// Which claims say what. `None`: as most servers have it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClaimNames {
    /// The person: a stable identifier that is never given to anybody else.
    pub subject: Option<ClaimPath>,
    /// The agent.
    pub agent: Option<ClaimPath>,
    /// The scopes.
    pub scopes: Option<ClaimPath>,
    /// The person's groups.
    pub groups: Option<ClaimPath>,
    /// The person's roles.
    pub roles: Option<ClaimPath>,
}

/// Which claims tell the person and the agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IssuerKind {
    /// Microsoft Entra ID: `oid` in this `tid`, `azp` or `appid`, `scp`.
    Entra {
        /// The tenant (`tid`) whose people this entry lets in.
        tenant: Tenant,
    },
    /// OpenID Connect and RFC 9068: `sub`, `azp` or `client_id`, `scope`.
    Oidc,
}

/// Where an authorization server's endpoints are. What is given wins over what discovery says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoints {
    /// The OpenID Connect Discovery document, read when one of the others is missing.
    pub metadata: Option<CheckedUrl>,
    /// The key set (RFC 7517).
    pub jwks_uri: Option<CheckedUrl>,
    /// The token endpoint (RFC 6749 section 3.2).
    pub token_endpoint: Option<CheckedUrl>,
    /// The authorization endpoint (RFC 6749 section 3.1), for consent links.
    pub authorization_endpoint: Option<CheckedUrl>,
    /// The introspection endpoint (RFC 7662 section 2).
    pub introspection_endpoint: Option<CheckedUrl>,
    /// Whether endpoints that discovery names may use plain HTTP beyond loopback.
    pub plain_http: PlainHttp,
}

/// How delegated tokens are obtained from an authorization server.
#[derive(Clone, Debug)]
pub struct ExchangeSettings {
    /// The grant to use.
    pub grant: Grant,
    /// The gateway's own client identifier there.
    pub client_id: Arc<str>,
    /// How the gateway proves to be that client.
    pub client_auth: ClientAuth,
    /// Static form fields sent with every request. Some servers take a secret there.
    pub extra: Vec<(String, SecretToken)>,
    /// What a delegated token is kept for.
    pub reuse: Reuse,
    /// Whether a token is refused that was granted more scopes than were asked for.
    pub refuses_more_scopes: bool,
    /// What the gateway says it can do about a demand for claims: `cp1` where it may be asked for them at any time
    /// (Entra's continuous access evaluation).
    pub client_capabilities: Vec<Arc<str>>,
}

/// How the gateway obtains tokens of its own, which speak for the application and for no person, by its client
/// credentials (RFC 6749 section 4.4).
#[derive(Clone, Debug)]
pub struct ApplicationSettings {
    /// The application's client identifier.
    pub client_id: Arc<str>,
    /// How the gateway proves to be that client.
    pub client_auth: ClientAuth,
    /// How the request names the target.
    pub target: TargetParameter,
    /// Static form fields sent with every request.
    pub extra: Vec<(String, SecretToken)>,
    /// Whether a token is refused that was granted more scopes than were asked for.
    pub refuses_more_scopes: bool,
}

/// Who may be served a delegated token that is kept: always the same person through the same agent, and perhaps less.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reuse {
    /// Whatever subject token of theirs a call carries.
    Identity,
    /// Calls of the same sign-in session (`sid`). Nothing is kept for tokens that do not name one.
    Session,
    /// Calls with the very same subject token.
    Token,
}

/// The way an authorization server is asked for a delegated token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Grant {
    /// Entra on-behalf-of: an RFC 7523 assertion with `requested_token_use=on_behalf_of`; the target is in the scopes.
    OnBehalfOf,
    /// RFC 7523 section 2.1: the subject token is an assertion, and nothing more is said about it.
    JwtBearer {
        /// How the request names the target.
        target: TargetParameter,
    },
    /// RFC 8693: the subject token is exchanged.
    TokenExchange {
        /// How the request names the target.
        target: TargetParameter,
        /// What the subject token is called (`subject_token_type`).
        subject_token_type: Arc<str>,
        /// What is asked for (`requested_token_type`).
        requested_token_type: Arc<str>,
        /// Who acts for the subject.
        actor: ActorToken,
    },
    /// ID-JAG (draft-ietf-oauth-identity-assertion-authz-grant), in two legs: the subject token is exchanged for an
    /// assertion that another authorization server takes, and that one issues the token.
    IdJag {
        /// What the subject token is called (`subject_token_type`).
        subject_token_type: Arc<str>,
        /// Who takes such assertions.
        resource_authorization_servers: ResourceAuthorizationServers,
    },
}

impl Grant {
    /// As it stands in the configuration and in records.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::OnBehalfOf => "on_behalf_of",
            Self::JwtBearer { .. } => "jwt_bearer",
            Self::TokenExchange { .. } => "token_exchange",
            Self::IdJag { .. } => "id_jag",
        }
    }

    /// Whether the agent has to send a token of its own, to be the actor token.
    pub fn wants_agents_token(&self) -> bool {
        matches!(self, Self::TokenExchange { actor: ActorToken::Agent, .. })
    }

    /// The parameter that names the target, where the grant has one.
    pub fn target(&self) -> Option<TargetParameter> {
        match self {
            Self::OnBehalfOf | Self::IdJag { .. } => None,
            Self::JwtBearer { target } | Self::TokenExchange { target, .. } => Some(*target),
        }
    }
}

/// Where the actor token of an RFC 8693 request comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ActorToken {
    /// None is sent: the client is who acts.
    None,
    /// The gateway's own, obtained with its client credentials (RFC 6749 section 4.4).
    Gateway {
        /// The scopes it is asked for.
        scopes: Scopes,
    },
    /// The agent's own, which it sends along with each call.
    Agent,
}

/// RFC 8693 section 3: an access token.
pub const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";
/// RFC 8693 section 3: a JWT. An access token that is one may be labelled so.
pub const JWT_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";

/// An identity assertion JWT authorization grant (draft-ietf-oauth-identity-assertion-authz-grant).
pub const ID_JAG_TYPE: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// The parameter of an RFC 8693 request that names the target. Scopes are sent beside it when there are any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TargetParameter {
    /// The scopes alone name it.
    Scope,
    /// `audience`: the connector's `audience`.
    Audience,
    /// `resource`: the connector's `resource`.
    Resource,
}

impl TargetParameter {
    /// The parameter's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scope => "scope",
            Self::Audience => "audience",
            Self::Resource => "resource",
        }
    }
}

/// How the gateway proves to an authorization server which client it is.
#[derive(Clone, Debug)]
pub enum ClientAuth {
    /// `client_secret_post` (RFC 6749 section 2.3.1).
    SecretPost(SecretToken),
    /// `client_secret_basic` (RFC 6749 section 2.3.1).
    SecretBasic(SecretToken),
    /// `private_key_jwt` (RFC 7523 section 2.2).
    PrivateKeyJwt {
        /// The key.
        key: Arc<AssertionKey>,
        /// What the assertions are for; `None`: the token endpoint.
        audience: Option<Arc<str>>,
    },
    /// A token of the platform that the gateway runs on, sent as the assertion (workload identity federation). The
    /// platform replaces it, so the file is read for every request.
    TokenFile(Arc<Path>),
    /// `tls_client_auth` (RFC 8705 section 2): the certificate of the connection.
    Tls(Arc<TlsIdentity>),
}

impl ClientAuth {
    /// The certificate that connections show, where that is the proof.
    pub fn tls_identity(&self) -> Option<&TlsIdentity> {
        match self {
            Self::Tls(identity) => Some(identity),
            Self::SecretPost(_) | Self::SecretBasic(_) | Self::PrivateKeyJwt { .. } | Self::TokenFile(_) => {
                None
            }
        }
    }
}

#[cfg(any(fuzzing, test))]
impl IssuerSettings {
    /// What a test needs of an issuer without anything special, at `https://issuer.example`.
    pub(crate) fn of(kind: IssuerKind) -> Self {
        Self {
            name: IssuerName::new("contoso"),
            kind,
            issuer: Issuer::new("https://issuer.example"),
            other_issuer: None,
            profile: Profile::Lenient,
            claim_names: ClaimNames::default(),
            introspects: false,
            endpoints: Endpoints {
                metadata: None,
                jwks_uri: None,
                token_endpoint: None,
                authorization_endpoint: None,
                introspection_endpoint: None,
                plain_http: PlainHttp::LoopbackOnly,
            },
            audiences: Vec::new(),
            agents: None,
            required_scopes: Scopes::default(),
            keeps_display_names: false,
            extra_roots: Vec::new(),
            publication: None,
            exchange: None,
            application: None,
            sign_in: None,
        }
    }
}
