//! What the tests of ID-JAG run in: an issuer, a resource authorization server, a connector that trusts the latter, and the gateway.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use obo_gateway::demo::authorization_server::{AuthorizationServer, Endpoint, Settings, TokenBuilder};
use obo_gateway::demo::certificates::DevelopmentCertificates;
use obo_gateway::demo::mail::{MailConnector, MailSettings};
use obo_gateway::demo::script::Reply;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::bed::{Parts, TOOLS, TestBed};

pub const ID_JAG_TYPE: &str = "urn:ietf:params:oauth:token-type:id-jag";
pub const CLIENT_AT_CRM: &str = "obo-gateway-at-crm";
pub const SECRET_AT_CORP: &str = "secretOfTheGatewayAtCorp";
pub const SECRET_AT_CRM: &str = "secretOfTheGatewayAtCrm";

/// A gateway whose people are at `corp` and whose connector takes the tokens of `crm`.
pub struct Bed {
    pub bed: TestBed,
    pub crm: AuthorizationServer,
    /// What went to the token endpoint of each.
    pub to_corp: Wire,
    pub to_crm: Wire,
}

/// What a test changes of it.
pub struct Setup {
    /// Whether the issuer's `sub` is the same for everybody.
    pub public_subjects: bool,
    /// More keys of the connector.
    pub connector: &'static str,
    /// What `crm` is served with over https.
    pub tls: Option<DevelopmentCertificates>,
    /// More keys of the issuer.
    pub issuer: String,
    /// More keys of `crm`.
    pub resource_authorization_server: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            public_subjects: true,
            connector: "",
            tls: None,
            issuer: String::new(),
            resource_authorization_server: String::new(),
        }
    }
}

impl Bed {
    pub async fn start() -> Self {
        Setup::default().start().await
    }
}

impl Setup {
    pub async fn start(self) -> Bed {
        let Self {
            public_subjects,
            connector: more,
            tls,
            issuer: more_of_issuer,
            resource_authorization_server,
        } = self;
        let mut settings = Settings { public_subjects, ..Settings::default() };
        settings.gateway.secret = SECRET_AT_CORP.to_owned();
        let corp = AuthorizationServer::start(settings).await.expect("an issuer");
        let mut settings = Settings {
            tenant: "8d2f6c1b-5c2e-4d6a-a054-3e7a2b9cf200".to_owned(),
            trusted_issuers: vec![corp.as_trusted()],
            tls: tls.as_ref().map(|tls| tls.server_config().expect("a server configuration")),
            ..Settings::default()
        };
        settings.gateway.client_id = CLIENT_AT_CRM.to_owned();
        settings.gateway.secret = SECRET_AT_CRM.to_owned();
        let crm = AuthorizationServer::start(settings).await.expect("a resource authorization server");
        corp.vouch_to(&crm.issuer(), CLIENT_AT_CRM);
        let mut settings = MailSettings::trusting(&crm);
        if let Some(tls) = &tls {
            settings.roots.add(tls.authority.clone()).expect("an authority");
        }
        let connector = MailConnector::start(settings).await.expect("a connector");
        let (to_corp, to_crm) = (Wire::to(&corp).await, Wire::to(&crm).await);
        let config = |parts: &Parts<'_>| {
            let secret = parts.folder.join("secret-at-crm");
            std::fs::write(&secret, SECRET_AT_CRM).expect("a secret file");
            let issuer = parts
                .issuer()
                .replace("kind: entra", "kind: oidc")
                .replace(&format!("    tenant: {}\n", corp.settings().tenant), "")
                .replace("  contoso:", "  corp:")
                .replace(
                    "    exchange:",
                    &format!("    token_endpoint: {}\n{more_of_issuer}    exchange:", to_corp.url(&corp)),
                )
                .replace(
                    "grant: on_behalf_of",
                    &format!(
                        "grant: id_jag
      resource_authorization_servers:
        crm:
          issuer: {issuer}
          token_endpoint: {token_endpoint}
          client_id: {CLIENT_AT_CRM}
          client_auth: {{ secret_file: {secret}, method: basic }}
{resource_authorization_server}",
                        issuer = crm.issuer(),
                        token_endpoint = to_crm.url(&crm),
                        secret = secret.display(),
                    ),
                );
            parts.whole(&issuer, &parts.mail(&format!("    authorization_server: crm\n{more}{TOOLS}")))
        };
        let bed = TestBed::between(corp.clone(), connector, config).await;
        Bed { bed, crm, to_corp, to_crm }
    }
}

impl Bed {
    pub fn corp(&self) -> &AuthorizationServer {
        &self.bed.authorization_server
    }

    pub async fn read_mail(&self, who: &str) -> reqwest::Response {
        self.bed.get("/mail/me/messages", &self.bed.token(who)).await
    }

    /// An ID-JAG as the issuer makes them for the gateway's connector.
    pub fn id_jag(&self, who: &str) -> TokenBuilder {
        self.corp().id_jag(who, &self.crm.issuer(), CLIENT_AT_CRM, "Mail.Read")
    }

    /// Has the issuer answer once with this.
    pub fn corp_answers(&self, id_jag: &str, change: &[(&str, Value)]) {
        let mut answer = json!({"access_token": id_jag, "issued_token_type": ID_JAG_TYPE, "token_type": "N_A",
            "expires_in": 300});
        for (name, value) in change {
            answer[*name] = value.clone();
        }
        self.corp().script(Endpoint::Token).once(Reply::json(200, &answer));
    }

    /// How often the token endpoints of the two have been asked.
    pub fn asked(&self) -> [usize; 2] {
        [self.corp(), &self.crm].map(|server| server.fetches(Endpoint::Token))
    }
}

/// A relay to a server that keeps every byte the server receives. It stops when it is dropped.
pub struct Wire {
    port: u16,
    seen: Arc<Mutex<Vec<u8>>>,
    _relay: JoinSet<()>,
}

impl Wire {
    async fn to(server: &AuthorizationServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (seen, address) = (Arc::new(Mutex::new(Vec::new())), server.address());
        let mut relay = JoinSet::new();
        let kept = Arc::clone(&seen);
        relay.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((agent, _)) = listener.accept().await {
                let seen = Arc::clone(&kept);
                connections.spawn(async move {
                    let Ok(server) = TcpStream::connect(address).await else { return };
                    let (mut from_agent, mut to_agent) = agent.into_split();
                    let (mut from_server, mut to_server) = server.into_split();
                    let there = async {
                        let mut piece = [0; 4_096];
                        while let Ok(count @ 1..) = from_agent.read(&mut piece).await {
                            seen.lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .extend_from_slice(&piece[..count]);
                            if to_server.write_all(&piece[..count]).await.is_err() {
                                break;
                            }
                        }
                    };
                    // When one side has ended, so has the connection.
                    tokio::select! {
                        () = there => {}
                        _ = tokio::io::copy(&mut from_server, &mut to_agent) => {}
                    }
                });
            }
        });
        Self { port, seen, _relay: relay }
    }

    /// The token endpoint of a server, by way of here.
    pub fn url(&self, server: &AuthorizationServer) -> String {
        server.token_endpoint().replace(&server.address().to_string(), &format!("127.0.0.1:{}", self.port))
    }

    /// Everything the server received, and once more what was encoded in it.
    pub fn seen(&self) -> String {
        let raw = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let raw = String::from_utf8(raw).expect("requests with forms are text");
        let decoded: Vec<String> = raw
            .lines()
            .filter_map(|line| line.split_once("Basic ").or_else(|| line.split_once("basic ")))
            .map(|(_, pair)| String::from_utf8(STANDARD.decode(pair.trim()).expect("base64")).expect("text"))
            .collect();
        format!("{raw}\n{}", decoded.join("\n"))
    }
}
