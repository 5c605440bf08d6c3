//! What the development tenant holds: people, the two clients, resources, and who consented to what.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use serde_json::Value;

use crate::demo::people::Person;

/// The audience of the demo mail connector.
pub const MAIL_AUDIENCE: &str = "https://graph.demo.test";

/// The audience of the demo notes connector.
pub const NOTES_AUDIENCE: &str = "api://notes";

/// The tenant a server plays unless told otherwise.
pub const TENANT: &str = "7c1e5b0a-4b1d-4c59-9f43-2d6f1a8be100";

/// Everything a development authorization server begins with.
#[derive(Clone)]
pub struct Settings {
    /// Where it listens. Port 0 lets the system choose.
    pub address: SocketAddr,
    /// TLS, if it is to be served over https.
    pub tls: Option<Arc<ServerConfig>>,
    /// The tenant id.
    pub tenant: String,
    /// Who can sign in.
    pub people: Vec<Person>,
    /// The gateway's registration, a confidential client and itself a resource.
    pub gateway: GatewayClient,
    /// The agent's registration, a public client.
    pub agent: AgentClient,
    /// The resources that delegated tokens can be had for. A scope without a resource belongs to the first.
    pub resources: Vec<Resource>,
    /// Consents given before the server started.
    pub consents: Vec<Consent>,
    /// Other issuers whose ID-JAGs are taken. Their people go by the same object ids, or by their mail addresses.
    pub trusted_issuers: Vec<TrustedIssuer>,
    /// Whether `sub` is the object id. Otherwise it differs from audience to audience, as with Entra.
    pub public_subjects: bool,
    /// Whether its metadata says that it does PKCE. It does in any case; Entra does, and does not say so.
    pub advertises_pkce: bool,
    /// How long an access token lives.
    pub access_token_lifespan: Duration,
    /// How long an authorization code lives.
    pub code_lifespan: Duration,
    /// Whether a refresh token is used once, and leads to the next.
    pub rotates_refresh_tokens: bool,
    /// Whether whoever `login_hint` names is signed in without a page, for tests without a browser.
    pub signs_in_by_hint: bool,
    /// Whether a client assertion can be presented only once. Entra itself lets clients reuse one while it
    /// lives.
    pub single_use_assertions: bool,
    /// Whether the RSA key is this server's own. Otherwise all servers of a process begin with the same pair
    /// under different ids, because making one takes a while.
    pub own_rsa_key: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let gateway = GatewayClient::default();
        let people = vec![Person::ada(), Person::bob()];
        let consented = [
            (MAIL_AUDIENCE, "Mail.Read"),
            (MAIL_AUDIENCE, "User.Read"),
            (NOTES_AUDIENCE, "Notes.Read"),
            (NOTES_AUDIENCE, "Notes.ReadWrite"),
        ];
        let consents = people
            .iter()
            .flat_map(|person| consented.map(|consented| (person, consented)))
            .map(|(person, (audience, scope))| Consent::new(&person.oid, &gateway.client_id, audience, scope))
            .collect();
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: None,
            tenant: TENANT.to_owned(),
            people,
            gateway,
            agent: AgentClient::default(),
            resources: vec![Resource::mail(), Resource::notes()],
            consents,
            trusted_issuers: Vec::new(),
            public_subjects: false,
            advertises_pkce: true,
            access_token_lifespan: Duration::from_secs(3_600),
            code_lifespan: Duration::from_secs(60),
            rotates_refresh_tokens: true,
            signs_in_by_hint: false,
            single_use_assertions: true,
            own_rsa_key: false,
        }
    }
}

/// Another authorization server, as far as its assertions are believed.
#[derive(Clone, Debug)]
pub struct TrustedIssuer {
    /// Its `iss`.
    pub issuer: String,
    /// Its public keys, as a key set.
    pub key_set: Value,
}

/// The gateway's registration.
#[derive(Clone)]
pub struct GatewayClient {
    /// The client id, which is the audience of the tokens that agents send.
    pub client_id: String,
    /// What the consent page calls it.
    pub name: String,
    /// The App ID URI, under which agents ask for its scopes.
    pub app_id_uri: String,
    /// More identifier URIs, such as the public address of each connector.
    pub identifier_uris: Vec<String>,
    /// The scopes that agents can ask for.
    pub scopes: Vec<Scope>,
    /// Where people are sent back to who sign in for the gateway itself. Each is matched exactly.
    pub redirect_uris: Vec<String>,
    /// The client secret.
    pub secret: String,
    /// Certificates registered for client assertions, in DER.
    pub certificates: Vec<Vec<u8>>,
    /// Tokens of a platform that stand for this client (federated credentials).
    pub workload_tokens: Vec<String>,
    /// Application permissions: the roles that its app-only tokens carry, by resource.
    pub app_roles: Vec<AppRole>,
}

impl Default for GatewayClient {
    fn default() -> Self {
        Self {
            client_id: "9d2a6f8e-1c34-4e0b-8f57-6a0b9c3de200".to_owned(),
            name: "obo-gateway".to_owned(),
            app_id_uri: "api://obo-gateway".to_owned(),
            identifier_uris: Vec::new(),
            redirect_uris: Vec::new(),
            scopes: vec![Scope::new("access_as_user", "Let agents call tools on your behalf")],
            secret: "development-secret-not-for-production".to_owned(),
            certificates: Vec::new(),
            workload_tokens: Vec::new(),
            app_roles: vec![
                AppRole { audience: MAIL_AUDIENCE.to_owned(), role: "Mail.Send".to_owned() },
                AppRole { audience: NOTES_AUDIENCE.to_owned(), role: "Notes.Publish".to_owned() },
            ],
        }
    }
}

/// The agent's registration.
#[derive(Clone, Debug)]
pub struct AgentClient {
    /// The client id.
    pub client_id: String,
    /// What the sign-in page calls it.
    pub name: String,
    /// Redirect addresses besides the loopback ones, each matched exactly.
    pub redirect_uris: Vec<String>,
}

impl Default for AgentClient {
    fn default() -> Self {
        Self { client_id: "demo-agent".to_owned(), name: "Demo agent".to_owned(), redirect_uris: Vec::new() }
    }
}

/// Something that tokens are for.
#[derive(Clone, Debug)]
pub struct Resource {
    /// The identifier: the token's audience, and what a scope begins with.
    pub audience: String,
    /// What the consent page calls it.
    pub name: String,
    /// The scopes it declares.
    pub scopes: Vec<Scope>,
}

impl Resource {
    /// The demo mail connector.
    pub fn mail() -> Self {
        Self {
            audience: MAIL_AUDIENCE.to_owned(),
            name: "Demo mail".to_owned(),
            scopes: vec![
                Scope::new("User.Read", "Read your profile"),
                Scope::new("Mail.Read", "Read your mail"),
                Scope::new("Mail.Send", "Send mail as you"),
                Scope::new("MailboxSettings.Read", "Read your mailbox settings"),
            ],
        }
    }

    /// The demo notes connector.
    pub fn notes() -> Self {
        Self {
            audience: NOTES_AUDIENCE.to_owned(),
            name: "Demo notes".to_owned(),
            scopes: vec![
                Scope::new("Notes.Read", "Read your notes"),
                Scope::new("Notes.ReadWrite", "Read, write and delete your notes"),
            ],
        }
    }
}

/// A delegated permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The name in `scp`.
    pub name: String,
    /// What the consent page says it allows.
    pub meaning: String,
}

impl Scope {
    /// A scope and what it allows.
    pub fn new(name: &str, meaning: &str) -> Self {
        Self { name: name.to_owned(), meaning: meaning.to_owned() }
    }
}

/// An application permission.
#[derive(Clone, Debug)]
pub struct AppRole {
    /// The resource's audience.
    pub audience: String,
    /// The role in `roles`.
    pub role: String,
}

/// One person's agreement that one client may have one scope of one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consent {
    /// The person's object id.
    pub person: String,
    /// The client's id.
    pub client_id: String,
    /// The resource's audience.
    pub audience: String,
    /// The scope's name.
    pub scope: String,
}

impl Consent {
    /// An agreement.
    pub fn new(person: &str, client_id: &str, audience: &str, scope: &str) -> Self {
        Self {
            person: person.to_owned(),
            client_id: client_id.to_owned(),
            audience: audience.to_owned(),
            scope: scope.to_owned(),
        }
    }
}
