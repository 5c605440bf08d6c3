//! The test bed: an authorization server, the server of the SDK, the gateway between them, and clients of the SDK.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use obo_gateway::demo::authorization_server::{AuthorizationServer, MAIL_AUDIENCE, Settings};
use obo_gateway::demo::people::Person;
use obo_gateway::process::{Environment, Process};
use rmcp::handler::client::progress::{ProgressDispatcher, ProgressSubscriber};
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, ClientRequest, ProgressNotificationParam,
    ProtocolVersion, ServerResult,
};
use rmcp::service::{NotificationContext, PeerRequestOptions, RequestHandle, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt as _, RoleClient};
use serde_json::Value;
use tempfile::TempDir;

use crate::server;

/// Longest wait for what takes milliseconds: long enough that time decides no test.
const PATIENCE: Duration = Duration::from_secs(60);

/// What stands between a client and the server. Without a gateway: nothing.
pub struct Bed {
    authorization_server: AuthorizationServer,
    gateway: Option<Process>,
    server: String,
    _folder: TempDir,
}

impl Bed {
    pub async fn without_gateway() -> Self {
        Self::with(|_| None).await
    }

    pub async fn start() -> Self {
        Self::with(Some).await
    }

    async fn with(configured: impl FnOnce(String) -> Option<String>) -> Self {
        let authorization_server =
            AuthorizationServer::start(Settings::default()).await.expect("an authorization server");
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
        let gateway = match configured(config) {
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
        let agent = Agent::default();
        let progress = agent.progress.clone();
        let client = agent.serve_with_lifecycle(transport, mode).await.expect("a connection");
        Visitor { client, progress }
    }
}

fn person(who: &str) -> Person {
    match who {
        "ada" => Person::ada(),
        "bob" => Person::bob(),
        _ => panic!("{who} is nobody"),
    }
}

/// An agent that listens to progress.
#[derive(Clone, Default)]
pub struct Agent {
    progress: ProgressDispatcher,
}

impl ClientHandler for Agent {
    async fn on_progress(&self, told: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.progress.handle_notification(told).await;
    }
}

/// A client that is connected.
pub struct Visitor {
    pub client: RunningService<RoleClient, Agent>,
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

fn params(name: &'static str, arguments: Value) -> CallToolRequestParams {
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
