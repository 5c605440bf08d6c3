//! The test bed: an authorization server, the server of the SDK, the gateway between them, and clients of the SDK.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use obo_gateway::audit::{PageVisit, RequestId};
use obo_gateway::clock::Now;
use obo_gateway::connections::{Callback, Connections, TicketId};
use obo_gateway::demo::authorization_server::{AuthorizationServer, MAIL_AUDIENCE, Settings};
use obo_gateway::demo::people::Person;
use obo_gateway::identity::{Issuer, Peer, PersonId, Subject, Tenant};
use obo_gateway::process::{Environment, Process};
use rmcp::handler::client::progress::{ProgressDispatcher, ProgressSubscriber};
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, ClientConfig, ClientRequest, ElicitRequestParams,
    ElicitResult, ElicitationAction, ElicitationCapability, FormElicitationCapability,
    ProgressNotificationParam, ProtocolVersion, ServerResult, UrlElicitationCapability,
};
use rmcp::service::{NotificationContext, PeerRequestOptions, RequestContext, RequestHandle, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt as _, ErrorData, RoleClient};
use serde_json::Value;
use tempfile::TempDir;

use crate::server;

/// The address that browsers know the gateway by.
pub const PUBLIC: &str = "https://gateway.example";
/// Longest wait for what takes milliseconds: long enough that time decides no test.
const PATIENCE: Duration = Duration::from_secs(60);

/// What stands between a client and the server. Without a gateway: nothing.
pub struct Bed {
    authorization_server: AuthorizationServer,
    gateway: Option<Process>,
    server: String,
    _folder: TempDir,
}

/// What the gateway is, where there is one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    Nothing,
    Gateway,
    /// `whoami` is at a service that people have accounts at: the authorization server again. `next_step` is agreed to.
    GatewayWithAccounts,
}

impl Bed {
    pub async fn without_gateway() -> Self {
        Self::with(Between::Nothing).await
    }

    pub async fn start() -> Self {
        Self::with(Between::Gateway).await
    }

    pub async fn with_accounts() -> Self {
        Self::with(Between::GatewayWithAccounts).await
    }

    async fn with(between: Between) -> Self {
        let mut settings = Settings { signs_in_by_hint: true, ..Settings::default() };
        let back = ["callback/rmcp", "signed-in"].map(|rest| format!("{PUBLIC}/account/{rest}"));
        settings.gateway.redirect_uris.extend(back);
        let authorization_server =
            AuthorizationServer::start(settings).await.expect("an authorization server");
        let server = server::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let settings = authorization_server.settings();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, &settings.gateway.secret).expect("a secret file");
        let config = format!(
            "listen: 127.0.0.1:0
admin: 127.0.0.1:0
timeouts: {{ drain: 2s }}
issuers:
  contoso:
    kind: entra
    tenant: {tenant}
    issuer: {issuer}
    audiences: [\"{client_id}\", {app_id_uri}]
    exchange:
      grant: on_behalf_of
      client_id: {client_id}
      client_auth: {{ secret_file: {secret} }}
connectors:
  rmcp:
    kind: mcp
    path: /rmcp
    upstream: {server}
    allow_plain_http: true
    identity: on_behalf_of
    audience: {MAIL_AUDIENCE}
    scopes: [Mail.Read]
    timeouts: {{ connect: 20s, response: 20s, idle: 60s }}
policy:
  allow:
    - {{ name: everybody, tools: [rmcp/whoami, rmcp/in_steps, rmcp/next_step] }}
    - {{ name: bob, subjects: {{ ids: [{bob}] }}, tools: [rmcp/delete_everything] }}
audit: {{ file: {audit} }}
",
            tenant = settings.tenant,
            issuer = authorization_server.issuer(),
            client_id = settings.gateway.client_id,
            app_id_uri = settings.gateway.app_id_uri,
            secret = secret.display(),
            bob = Person::bob().oid,
            audit = folder.path().join("audit.jsonl").display(),
        );
        let config = match between {
            Between::Nothing => None,
            Between::Gateway => Some(config),
            Between::GatewayWithAccounts => {
                let (key, vault) = (folder.path().join("vault.key"), folder.path().join("vault.db"));
                std::fs::write(&key, (0..32).collect::<Vec<u8>>()).expect("a key file");
                let (key, vault, secret) = (key.display(), vault.display(), secret.display());
                let accounts = format!(
                    "    scopes: [Mail.Read]
    connection:
      issuer: {issuer}
      client_id: {client_id}
      client_auth: {{ secret_file: {secret} }}
      scopes: [openid, offline_access, \"{MAIL_AUDIENCE}/Mail.Read\"]
    tools:
      whoami: {{ identity: connection, scopes: [\"{MAIL_AUDIENCE}/Mail.Read\"] }}
      in_steps: {{ identity: on_behalf_of }}
      next_step: {{ identity: on_behalf_of, confirm: true }}
      delete_everything: {{ identity: on_behalf_of }}
",
                    issuer = authorization_server.issuer(),
                    client_id = settings.gateway.client_id,
                );
                let vault = format!("vault: {{ file: {vault}, keys: [{{ id: a, file: {key} }}] }}");
                let config = config.replace("    scopes: [Mail.Read]\n", &accounts);
                Some(format!("public_url: {PUBLIC}\n{vault}\n{config}"))
            }
        };
        let gateway = match config {
            Some(config) => {
                let path = folder.path().join("gateway.yaml");
                std::fs::write(&path, config).expect("a configuration file");
                let environment: Environment = Arc::new(|_| None);
                Some(Process::start(&path, environment).await.expect("a gateway").0)
            }
            None => None,
        };
        Self { authorization_server, gateway, server, _folder: folder }
    }

    /// A good token of a person.
    pub fn token(&self, who: &str) -> String {
        self.authorization_server.subject_token(&person(who).oid).mint()
    }

    /// Whom a token for the server is for, by its claims.
    pub fn person_of(&self, token: &str) -> &'static str {
        let claims = token.split('.').nth(1).expect("a payload");
        let claims = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims);
        let claims: Value = serde_json::from_slice(&claims.expect("base64url")).expect("claims");
        assert_eq!(claims["aud"], MAIL_AUDIENCE);
        assert_eq!(claims["iss"], self.authorization_server.issuer());
        let found = ["ada", "bob"].into_iter().find(|who| claims["oid"] == person(who).oid);
        found.expect("somebody we know")
    }

    /// A client, through the gateway where there is one, as this person where there is one.
    pub async fn connect(&self, era: ProtocolVersion, who: Option<&str>) -> Visitor {
        self.connect_agent(era, who, Agent::default()).await
    }

    /// Ada's client, which opens pages for her. This is what she says when she is asked.
    pub async fn connect_with_pages(&self, era: ProtocolVersion, action: ElicitationAction) -> Visitor {
        let pages = Pages { ada: self.ada(), action, asked: Arc::default() };
        self.connect_agent(era, Some("ada"), Agent { pages: Some(pages), ..Agent::default() }).await
    }

    /// Ada's client, which shows her forms. This is how she sends them.
    pub async fn connect_with_forms(&self, era: ProtocolVersion, answer: ElicitResult) -> Visitor {
        let forms = Forms { answer, asked: Arc::default() };
        self.connect_agent(era, Some("ada"), Agent { forms: Some(forms), ..Agent::default() }).await
    }

    /// Ada, in her browser.
    pub fn ada(&self) -> Ada {
        let gateway = self.gateway.as_ref().expect("a gateway");
        let holder = PersonId {
            issuer: Issuer::new(self.authorization_server.issuer()),
            tenant: Tenant::Named(self.authorization_server.settings().tenant.as_str().into()),
            subject: Subject::new(person("ada").oid.as_str()),
        };
        Ada { connections: gateway.connections().expect("a vault"), holder }
    }

    async fn connect_agent(&self, era: ProtocolVersion, who: Option<&str>, agent: Agent) -> Visitor {
        let url = match &self.gateway {
            Some(gateway) => format!("http://{}/rmcp", gateway.agent_address()),
            None => self.server.clone(),
        };
        let mut config = StreamableHttpClientTransportConfig::with_uri(url);
        if let Some(who) = who {
            config = config.auth_header(self.token(who));
        }
        let transport = StreamableHttpClientTransport::from_config(config);
        let mode = if era >= ProtocolVersion::V_2026_07_28 {
            ClientLifecycleMode::Discover { preferred_versions: vec![era] }
        } else {
            ClientLifecycleMode::Initialize
        };
        let (progress, pages, forms) = (agent.progress.clone(), agent.pages.clone(), agent.forms.clone());
        let client = agent.serve_with_lifecycle(transport, mode).await.expect("a connection");
        Visitor { client, progress, pages, forms }
    }
}

fn person(who: &str) -> Person {
    match who {
        "ada" => Person::ada(),
        "bob" => Person::bob(),
        _ => panic!("{who} is nobody"),
    }
}

/// An agent that listens to progress, and may open pages or show forms.
#[derive(Clone, Default)]
pub struct Agent {
    progress: ProgressDispatcher,
    pages: Option<Pages>,
    forms: Option<Forms>,
}

/// Shows forms to Ada.
#[derive(Clone)]
pub struct Forms {
    /// How she sends them.
    answer: ElicitResult,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Forms {
    /// What they said.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panics here").clone()
    }
}

/// Opens pages for Ada.
#[derive(Clone)]
pub struct Pages {
    ada: Ada,
    /// What she says when she is asked whether to open one.
    action: ElicitationAction,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Pages {
    /// The addresses that she was asked to open.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panics here").clone()
    }
}

/// Ada, in her browser.
#[derive(Clone)]
pub struct Ada {
    connections: Arc<Connections>,
    holder: PersonId,
}

impl Ada {
    /// Opens an agent's link, signs in at the service, and is back.
    pub async fn connect(&self, link: &str) {
        const BROWSER: &str = "what-the-cookie-says";
        let ticket = link.rsplit('/').next().and_then(TicketId::parse).expect("a link of ours");
        let visit = PageVisit {
            request: RequestId::next(),
            person: None,
            peer: Peer { address: ([127, 0, 0, 1], 1).into(), tls: false, certificate: None },
            method: reqwest::Method::GET,
            path: "/account/callback/rmcp".into(),
            user_agent: None,
        };
        let begun = self.connections.begin(&ticket, &self.holder, BROWSER, &visit, Now::read()).await;
        let address = format!("{}&login_hint=ada", begun.expect("a page of the service"));
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        let answer = browser.build().expect("a browser").get(address).send().await.expect("an answer");
        let back = answer.headers()["location"].to_str().expect("text").parse::<reqwest::Url>();
        let back: HashMap<String, String> = back.expect("an address").query_pairs().into_owned().collect();
        let part = |name: &str| back.get(name).map(String::as_str);
        let callback = Callback {
            connector: "rmcp",
            state: part("state").expect("a state"),
            code: part("code"),
            error: part("error"),
            iss: part("iss"),
        };
        let done = self.connections.complete(&callback, &self.holder, BROWSER, &visit, Now::read()).await;
        done.expect("a connection");
    }
}

impl ClientHandler for Agent {
    fn get_info(&self) -> ClientConfig {
        let mut info = ClientConfig::default();
        let shows = ElicitationCapability::new();
        info.capabilities.elicitation = match (&self.pages, &self.forms) {
            (Some(_), _) => Some(shows.with_url(UrlElicitationCapability::new())),
            (None, Some(_)) => Some(shows.with_form(FormElicitationCapability::new())),
            (None, None) => None,
        };
        info
    }

    async fn create_elicitation(
        &self,
        asked: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let (pages, url) = match (&self.pages, &self.forms, asked) {
            (Some(pages), _, ElicitRequestParams::UrlElicitationParams { url, .. }) => (pages, url),
            (_, Some(forms), ElicitRequestParams::FormElicitationParams { message, .. }) => {
                forms.asked.lock().expect("nobody panics here").push(message);
                return Ok(forms.answer.clone());
            }
            (_, _, other) => panic!("it shows nothing of the kind: {other:?}"),
        };
        pages.asked.lock().expect("nobody panics here").push(url.clone());
        if pages.action == ElicitationAction::Accept {
            // The SDK hears at once that she went there, and sends the call again while she signs in.
            let ada = pages.ada.clone();
            tokio::spawn(async move { ada.connect(&url).await });
        }
        Ok(ElicitResult::new(pages.action.clone()))
    }

    async fn on_progress(&self, told: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.progress.handle_notification(told).await;
    }
}

/// A client that is connected.
pub struct Visitor {
    pub client: RunningService<RoleClient, Agent>,
    pub pages: Option<Pages>,
    pub forms: Option<Forms>,
    progress: ProgressDispatcher,
}

impl Visitor {
    pub fn protocol(&self) -> ProtocolVersion {
        self.client.peer().peer_info().expect("a server that said who it is").protocol_version.clone()
    }

    /// The names of the tools, in order.
    pub async fn tools(&self) -> Vec<String> {
        let tools = self.client.list_all_tools().await.expect("a list");
        let mut names: Vec<String> = tools.into_iter().map(|tool| tool.name.into_owned()).collect();
        names.sort();
        names
    }

    /// What a tool answers.
    pub async fn call(&self, name: &'static str, arguments: Value) -> String {
        text_of(&self.client.call_tool(params(name, arguments)).await.expect("a result"))
    }

    /// A call whose progress is listened to.
    pub async fn begin(&self, name: &'static str, arguments: Value) -> UnderWay {
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params(name, arguments)));
        let sent = self.client.send_cancellable_request(request, PeerRequestOptions::no_options()).await;
        let handle = sent.expect("a request");
        let progress = self.progress.subscribe(handle.progress_token.clone()).await;
        UnderWay { handle, progress }
    }
}

pub fn params(name: &'static str, arguments: Value) -> CallToolRequestParams {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    CallToolRequestParams::new(name).with_arguments(arguments)
}

/// A call that has not ended.
pub struct UnderWay {
    handle: RequestHandle<RoleClient>,
    progress: ProgressSubscriber,
}

impl UnderWay {
    /// The next progress.
    pub async fn progress(&mut self) -> f64 {
        let told = tokio::time::timeout(PATIENCE, self.progress.next()).await;
        told.expect("progress in time").expect("progress").progress
    }

    pub async fn text(self) -> String {
        let ended = tokio::time::timeout(PATIENCE, self.handle.await_response()).await;
        match ended.expect("a result in time").expect("a result") {
            ServerResult::CallToolResult(result) => text_of(&result),
            other => panic!("{other:?}"),
        }
    }
}

fn text_of(result: &CallToolResult) -> String {
    assert_ne!(result.is_error, Some(true), "{result:?}");
    let [content] = result.content.as_slice() else { panic!("{result:?}") };
    content.as_text().expect("a text").text.clone()
}
