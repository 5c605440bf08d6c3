//! The test bed: an authorization server, a mail connector, and the gateway between them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use obo_gateway::demo::authorization_server::{AuthorizationServer, MAIL_AUDIENCE, Settings};
use obo_gateway::demo::mail::{MailConnector, MailSettings};
use obo_gateway::process::{Environment, Process};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;

use crate::leaks;
use crate::log::Log;
use crate::ocsf;

/// A gateway with what it stands between.
pub struct TestBed {
    pub authorization_server: AuthorizationServer,
    pub connector: MailConnector,
    pub gateway: Process,
    pub folder: TempDir,
    client: Client,
    /// The tokens that were sent.
    sent: Mutex<Vec<String>>,
    /// How much had been logged before.
    logged: usize,
}

/// A test bed about to be started.
pub struct Setup {
    server: Settings,
    config: Box<dyn Fn(&Parts) -> String + Send>,
    hasty: bool,
    issuer_is_down: bool,
}

/// What a configuration of a test can name.
pub struct Parts<'a> {
    pub authorization_server: &'a AuthorizationServer,
    pub connector: &'a MailConnector,
    pub folder: &'a std::path::Path,
}

impl Parts<'_> {
    /// The issuer entry that most tests use.
    pub fn issuer(&self) -> String {
        let settings = self.authorization_server.settings();
        format!(
            "  contoso:
    kind: entra
    tenant: {tenant}
    issuer: {issuer}
    audiences: [\"{client_id}\", {app_id_uri}]
    exchange:
      grant: on_behalf_of
      client_id: {client_id}
      client_auth: {{ secret_file: {secret} }}
",
            tenant = settings.tenant,
            issuer = self.authorization_server.issuer(),
            client_id = settings.gateway.client_id,
            app_id_uri = settings.gateway.app_id_uri,
            secret = self.folder.join("secret").display(),
        )
    }

    /// The connector entry that most tests use, with `more` keys.
    pub fn mail(&self, more: &str) -> String {
        format!(
            "  mail:
    kind: rest
    path: /mail
    upstream: {upstream}
    audience: {MAIL_AUDIENCE}
    timeouts: {PATIENT}
{more}",
            upstream = self.connector.base_url(),
        )
    }

    /// A whole configuration of these issuers and connectors.
    pub fn whole(&self, issuers: &str, connectors: &str) -> String {
        format!(
            "listen: 127.0.0.1:0
admin: 127.0.0.1:0
timeouts: {{ drain: 2s }}
issuers:
{issuers}
connectors:
{connectors}
policy:
  allow:
    - {{ name: everybody, tools: [\"*/*\"] }}
audit: {{ file: {audit} }}
",
            audit = self.folder.join("audit.jsonl").display(),
        )
    }
}

/// How long to wait for a connector: longer than any machine is busy, so that time decides no test.
pub const PATIENT: &str = "{ connect: 20s, response: 20s, idle: 20s }";
/// The same for tests of those deadlines themselves.
pub const HASTY: &str = "{ connect: 500ms, response: 700ms, idle: 700ms }";

/// The tools that most tests use.
pub const TOOLS: &str = "    tools:
      list_messages: { match: GET /me/messages, scopes: [Mail.Read] }
      read_message: { match: 'GET /me/messages/{id}', scopes: [Mail.Read] }
      send_message: { match: POST /me/sendMail, scopes: [Mail.Send] }
";

/// All of the connector as one tool, for tests of what is forwarded.
pub const ANYTHING: &str = "    scopes: [Mail.Read]\n";

impl Default for Setup {
    fn default() -> Self {
        Self {
            server: Settings::default(),
            config: Box::new(|parts| parts.whole(&parts.issuer(), &parts.mail(TOOLS))),
            hasty: false,
            issuer_is_down: false,
        }
    }
}

impl Setup {
    /// With another authorization server than the usual one.
    pub fn server(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.server);
        self
    }

    /// With a configuration of its own.
    pub fn config(mut self, config: impl Fn(&Parts) -> String + Send + 'static) -> Self {
        self.config = Box::new(config);
        self
    }

    /// With the usual configuration, but `tools` in place of the usual tools.
    pub fn tools(self, tools: &'static str) -> Self {
        self.config(move |parts| parts.whole(&parts.issuer(), &parts.mail(tools)))
    }

    /// With short deadlines for the connector.
    pub fn hasty(mut self) -> Self {
        self.hasty = true;
        self
    }

    /// With an authorization server that does not listen yet.
    pub fn issuer_is_down(mut self) -> Self {
        self.issuer_is_down = true;
        self
    }

    pub async fn start(self) -> TestBed {
        let authorization_server =
            AuthorizationServer::start(self.server).await.expect("an authorization server");
        let connector =
            MailConnector::start(MailSettings::trusting(&authorization_server)).await.expect("a connector");
        if self.issuer_is_down {
            authorization_server.stop_listening().await;
        }
        let config = |parts: &Parts<'_>| {
            let config = (self.config)(parts);
            if self.hasty { config.replace(PATIENT, HASTY) } else { config }
        };
        TestBed::between(authorization_server, connector, config).await
    }
}

/// A client that goes nowhere but where it is told.
pub fn client() -> Client {
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(20))
        .build()
        .expect("a client")
}

impl TestBed {
    /// The usual one.
    pub async fn start() -> Self {
        Setup::default().start().await
    }

    /// A gateway with this configuration between servers that run already.
    pub async fn between(
        authorization_server: AuthorizationServer,
        connector: MailConnector,
        config: impl FnOnce(&Parts) -> String,
    ) -> Self {
        let logged = Log::of_all().bytes();
        let folder = tempfile::tempdir().expect("a folder");
        let secret = &authorization_server.settings().gateway.secret;
        std::fs::write(folder.path().join("secret"), secret).expect("a secret file");
        let parts = Parts {
            authorization_server: &authorization_server,
            connector: &connector,
            folder: folder.path(),
        };
        let path = folder.path().join("gateway.yaml");
        std::fs::write(&path, config(&parts)).expect("a configuration file");
        let environment: Environment = Arc::new(|_| None);
        let (gateway, _) = Process::start(&path, environment).await.expect("a gateway");
        let sent = Mutex::default();
        Self { authorization_server, connector, gateway, folder, client: client(), sent, logged }
    }

    /// The address of something on the gateway.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.agent_address())
    }

    /// A request without credentials.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// A GET with this token.
    pub async fn get(&self, path: &str, token: &str) -> Response {
        self.sent(token);
        self.request(Method::GET, path).bearer_auth(token).send().await.expect("an answer")
    }

    /// A good token of a person.
    pub fn token(&self, who: &str) -> String {
        let token = self.authorization_server.subject_token(who).mint();
        self.sent(&token);
        token
    }

    fn sent(&self, token: &str) {
        self.sent.lock().expect("nobody panics here").push(token.to_owned());
    }

    /// Everything that the gateway was told or given, and that it must not show: tokens, and what proves it to the
    /// authorization server.
    pub fn secrets(&self) -> Vec<String> {
        let server = &self.authorization_server;
        let mut secrets = vec![server.settings().gateway.secret.clone()];
        secrets.extend(self.sent.lock().expect("nobody panics here").iter().cloned());
        secrets.extend(server.issued());
        secrets.extend(server.issued_to_application());
        let names = [
            "assertion",
            "subject_token",
            "actor_token",
            "client_assertion",
            "client_secret",
            "code",
            "code_verifier",
            "refresh_token",
        ];
        for exchange in server.exchanges() {
            secrets.extend(names.iter().filter_map(|name| exchange.parameter(name)).map(str::to_owned));
        }
        secrets.sort_unstable();
        secrets.dedup();
        secrets
    }

    /// How many exchanges the authorization server has seen.
    pub fn exchanges(&self) -> usize {
        self.authorization_server.exchanges().len()
    }

    /// What an admin endpoint says.
    pub async fn admin(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.gateway.admin_address());
        let response = self.client.get(url).send().await.expect("an answer");
        (response.status().as_u16(), response.text().await.expect("a text"))
    }

    /// The value of a metric with these labels.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let (_, metrics) = self.admin("/metrics").await;
        let line = metrics
            .lines()
            .find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Every line written so far: of calls, of exchanges, and of what happened to the trail itself.
    pub async fn all_records(&self) -> Vec<Value> {
        self.gateway.audit().flush().await;
        let trail = std::fs::read_to_string(self.audit_path()).expect("a trail");
        // Of a line that is being written at this moment the beginning may be seen.
        let whole = trail.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
    }

    /// The records of all calls written so far.
    pub async fn records(&self) -> Vec<Value> {
        self.of_class(6003).await
    }

    /// The records of all exchanges, and of people who were forgotten, written so far.
    pub async fn authentications(&self) -> Vec<Value> {
        self.of_class(3002).await
    }

    async fn of_class(&self, class: u64) -> Vec<Value> {
        self.all_records().await.into_iter().filter(|record| record["class_uid"] == class).collect()
    }

    /// The outcomes of all calls, once there are `count` records of them.
    pub async fn outcomes(&self, count: usize) -> Vec<String> {
        self.calls(count).await.iter().map(outcome).collect()
    }

    /// The records of all calls, once there are `count` of them.
    pub async fn calls(&self, count: usize) -> Vec<Value> {
        for _ in 0..200 {
            let records = self.records().await;
            if records.len() >= count {
                return records;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{count} records were expected: {:#?}", self.records().await);
    }

    pub fn audit_path(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("gateway.yaml")
    }
}

/// At the end of each test, whatever it was about: every line of its trail is an event as OCSF wants it, and no secret is in any.
impl Drop for TestBed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let Ok(trail) = std::fs::read_to_string(self.audit_path()) else { return };
        // A line that is being written has no end yet.
        let whole = trail.rfind('\n').map_or("", |end| &trail[..end]);
        whole.lines().for_each(ocsf::assert_valid);
        let secrets = self.secrets();
        leaks::assert_none("trail", &trail, &secrets);
        leaks::assert_none("log", &Log::of_all().since(self.logged), &secrets);
    }
}

/// The outcome in a record.
pub fn outcome(record: &Value) -> String {
    record.pointer("/unmapped/obo/outcome").and_then(Value::as_str).expect("an outcome").to_owned()
}

/// A refusal: its status, its code, and the whole problem.
pub async fn refusal(response: Response) -> (u16, String, Value) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let problem: Value = response.json().await.expect("a problem");
    assert_eq!(problem["status"], status);
    assert!(problem["remedy"].as_str().is_some_and(|remedy| remedy.ends_with('.')), "{problem}");
    (status, problem["code"].as_str().expect("a code").to_owned(), problem)
}

#[track_caller]
pub fn assert_refused(refused: &(u16, String, Value), status: u16, code: &str) {
    assert_eq!((refused.0, refused.1.as_str()), (status, code), "{:#}", refused.2);
}
