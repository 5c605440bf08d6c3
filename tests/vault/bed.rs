//! A service that people have accounts at, people who have connected them, a vault, and the program itself.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use obo_gateway::audit::{PageVisit, Recorder, RequestId};
use obo_gateway::clock::Now;
use obo_gateway::config;
use obo_gateway::connections::{Callback, Connections, Held, Missing, Wanted};
use obo_gateway::demo::authorization_server::{
    AuthorizationServer, Exchange, GrantKind, MAIL_AUDIENCE, Settings,
};
use obo_gateway::demo::mail::{MailConnector, MailSettings};
use obo_gateway::identity::{Actor, Issuer, Peer, PersonId, Scopes, Subject, Tenant};
use obo_gateway::metrics::Metrics;
use obo_gateway::tool::{ConnectorName, ToolName};
use obo_gateway::vault::{Owner, Vault};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use crate::faults::{self, Faults};
use crate::leaks;

/// How long to wait for anything to come about: far longer than any of it takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an access token of the service lives. It is renewed ahead from three quarters on, and not handed out in the last one.
pub const LIFE: Duration = Duration::from_secs(4);
const BROWSER: &str = "a-cookie";

/// What a gateway stands between, and its folder.
pub struct Bed {
    pub issuer: AuthorizationServer,
    pub service: AuthorizationServer,
    pub folder: TempDir,
    pub faults: Faults,
    connector: MailConnector,
    vault: PathBuf,
}

/// A record, as it stands in the file: its name, its person, its generation, its key, whose it is, and what it says.
pub type RawRecord = (Vec<u8>, Vec<u8>, i64, String, Vec<u8>, Vec<u8>);

impl Bed {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = folder.path().join("vault.db");
        Self::in_folder(folder, vault).await
    }

    /// With its vault at this place.
    pub async fn in_folder(folder: TempDir, vault: PathBuf) -> Self {
        let mut settings =
            Settings { signs_in_by_hint: true, access_token_lifespan: LIFE, ..Settings::default() };
        settings.gateway.redirect_uris.push("https://gateway.example/account/callback/mail".to_owned());
        let service = AuthorizationServer::start(settings).await.expect("a service");
        let issuer = AuthorizationServer::start(Settings::default()).await.expect("an issuer");
        let connector = MailConnector::start(MailSettings::trusting(&service)).await.expect("a connector");
        let faults = Faults::new(folder.path());
        let bed = Self { issuer, service, folder, faults, connector, vault };
        for (file, secret) in [("secret", &bed.issuer), ("service-secret", &bed.service)] {
            bed.write(file, secret.settings().gateway.secret.as_bytes());
        }
        bed.write("a.key", &[7; 31].iter().copied().chain([1]).collect::<Vec<u8>>());
        bed.write("b.key", &[8; 31].iter().copied().chain([1]).collect::<Vec<u8>>());
        bed.configure("gateway", &bed.settings("a"));
        bed
    }

    /// Makes a file that is for this user alone.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        fs::set_permissions(path, PermissionsExt::from_mode(0o600)).expect("a mode");
    }

    /// The lines of `vault` with these keys, the first of which seals.
    pub fn settings(&self, keys: &str) -> String {
        let key = |id: &str| {
            format!("{{ id: {id}, file: {} }}", self.folder.path().join(format!("{id}.key")).display())
        };
        let keys: Vec<String> = keys.split(' ').map(key).collect();
        format!("vault: {{ file: {}, keys: [{}] }}\n", self.vault.display(), keys.join(", "))
    }

    /// Writes a configuration of this name, with these lines on the vault.
    pub fn configure(&self, name: &str, vault: &str) -> PathBuf {
        let (path, folder) = (self.config(name), self.folder.path().display());
        let (settings, service) = (self.issuer.settings(), self.service.settings());
        let configuration = format!(
            "listen: {agents}
admin: {admin}
timeouts: {{ drain: 2s }}
public_url: https://gateway.example
{vault}issuers:
  contoso:
    kind: entra
    tenant: {tenant}
    issuer: {issuer}
    audiences: [\"{client_id}\", {app_id_uri}]
    exchange:
      grant: on_behalf_of
      client_id: {client_id}
      client_auth: {{ secret_file: {folder}/secret }}
connectors:
  mail:
    kind: rest
    path: /mail
    upstream: {upstream}
    timeouts: {{ connect: 20s, response: 20s, idle: 20s }}
    {mode}
    tools:
      list_messages: {{ match: GET /me/messages }}
policy:
  allow:
    - {{ name: everybody, tools: [\"*/*\"] }}
audit: {{ file: {folder}/{name}.jsonl }}
",
            agents = free_address(),
            admin = free_address(),
            tenant = settings.tenant,
            issuer = self.issuer.issuer(),
            client_id = settings.gateway.client_id,
            app_id_uri = settings.gateway.app_id_uri,
            upstream = self.connector.base_url(),
            mode = match vault {
                "" => format!("audience: {MAIL_AUDIENCE}"),
                _ => format!(
                    "identity: connection
    connection:
      issuer: {service_issuer}
      client_id: {service_client}
      client_auth: {{ secret_file: {folder}/service-secret }}
      scopes: [openid, offline_access, \"{MAIL_AUDIENCE}/Mail.Read\"]",
                    service_issuer = self.service.issuer(),
                    service_client = service.gateway.client_id,
                ),
            },
        );
        let configuration = match vault {
            "" => configuration
                .replace("{ match: GET /me/messages }", "{ match: GET /me/messages, scopes: [Mail.Read] }"),
            _ => configuration,
        };
        fs::write(&path, configuration).expect("written");
        path
    }

    pub fn config(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.yaml"))
    }

    /// Where the vault is.
    pub fn vault(&self) -> &Path {
        &self.vault
    }

    /// A person of the issuer.
    pub fn subject(&self, who: &str) -> String {
        self.issuer.person(who).oid.clone()
    }

    /// A good token of a person.
    pub fn token(&self, who: &str) -> String {
        self.issuer.subject_token(who).mint()
    }

    /// A person signs in at the service, as with a gateway that runs. None does.
    pub async fn connect(&self, who: &str) {
        let config = config::load(&self.config("gateway"), &|_| None).expect("a configuration").config;
        let metrics = Arc::<Metrics>::default();
        let vault =
            Vault::open(config.vault.expect("a vault"), Arc::clone(&metrics)).await.expect("it opens");
        let held = Arc::new(Held::new(vault));
        let links = config.links.expect("pages");
        let connections =
            Connections::new(held, config.connections, links, None, Recorder::for_rehearsal(), &metrics)
                .expect("connections");
        let token = self.token(who);
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).expect("a JWT")).expect("base64");
        let claims: Value = serde_json::from_slice(&claims).expect("JSON");
        let holder = PersonId {
            issuer: Issuer::new(self.issuer.issuer()),
            tenant: Tenant::Named(self.issuer.settings().tenant.as_str().into()),
            subject: Subject::new(self.subject(who)),
        };
        let wanted = Wanted {
            request: RequestId::next(),
            holder: holder.clone(),
            agent: Actor::new(claims["azp"].as_str().expect("an agent")),
            connector: ConnectorName::new("mail"),
            tool: ToolName::new("list_messages"),
            scopes: Scopes::default(),
        };
        let ticket = connections.ask(&wanted, Missing::Connection, Now::read());
        let page = connections.begin(&ticket, &holder, BROWSER, &visit(), Now::read()).await.expect("begun");
        let client =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build();
        let url = format!("{page}&login_hint={who}");
        let answer = client.expect("a client").get(url).send().await.expect("an answer");
        let location = answer.headers()["location"].to_str().expect("ASCII");
        let location: reqwest::Url = location.parse().expect("a URL");
        let part = |name: &str| {
            let found = location.query_pairs().find(|(key, _)| key == name);
            found.map(|(_, value)| value.into_owned()).expect("a part of the answer")
        };
        let (state, code, iss) = (part("state"), part("code"), part("iss"));
        let connector = "mail";
        let callback = Callback { connector, state: &state, code: Some(&code), error: None, iss: Some(&iss) };
        connections.complete(&callback, &holder, BROWSER, &visit(), Now::read()).await.expect("connected");
        connections.close().await;
    }

    /// Keeps something for somebody.
    pub async fn put(&self, owner: &Owner, bytes: &[u8]) {
        let config = config::load(&self.config("gateway"), &|_| None).expect("a configuration").config;
        let vault = Vault::open(config.vault.expect("a vault"), Arc::default()).await.expect("it opens");
        vault.replace(owner, vault.forgettings(&owner.person), bytes).await.expect("kept");
        vault.close().await;
    }

    /// Runs SQL on the vault, as somebody would who has no key. Returns how many rows it touched.
    pub async fn tamper(&self, sql: &str) -> u64 {
        let mut connection = self.open().await;
        let done = sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.expect("SQL of the test");
        connection.close().await.expect("closed");
        done.rows_affected()
    }

    /// Every record, as it stands in the file.
    pub async fn records(&self) -> Vec<RawRecord> {
        let mut connection = self.open().await;
        let all = sqlx::query_as("SELECT * FROM records ORDER BY name").fetch_all(&mut connection).await;
        connection.close().await.expect("closed");
        all.expect("records")
    }

    /// Puts records back into the file.
    pub async fn put_back(&self, records: &[RawRecord]) {
        let mut connection = self.open().await;
        for (name, person, generation, id, owner, record) in records {
            sqlx::query("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?)")
                .bind(name)
                .bind(person)
                .bind(generation)
                .bind(id)
                .bind(owner)
                .bind(record)
                .execute(&mut connection)
                .await
                .expect("put back");
        }
        connection.close().await.expect("closed");
    }

    pub async fn open(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(&self.vault).connect().await.expect("the file")
    }

    /// What the trail says came of each request to forget somebody.
    pub fn forgettings(&self) -> Vec<String> {
        let trail = fs::read_to_string(self.folder.path().join("gateway.jsonl")).expect("a trail");
        let records = trail.lines().map(|line| serde_json::from_str::<Value>(line).expect("a record"));
        let revocations = records.filter(|record| record["unmapped"]["obo"]["kind"] == "revocation");
        revocations
            .map(|record| record["unmapped"]["obo"]["outcome"].as_str().expect("an outcome").to_owned())
            .collect()
    }

    /// How many refreshes the service was asked for.
    pub fn refreshes(&self) -> usize {
        self.service.exchanges().iter().filter(|exchange| exchange.grant == GrantKind::RefreshToken).count()
    }

    /// Runs a command with the configuration of this name. Nothing secret is in what it prints.
    pub fn run(&self, arguments: &[&str], config: &str) -> Ran {
        let mut command = program();
        command.args(arguments).arg("--config").arg(self.config(config));
        let ran = Ran::of(command.stdin(Stdio::null()).output().expect("the program runs"));
        leaks::assert_none("output", &format!("{}{}", ran.out, ran.err), &self.secrets());
        ran
    }

    /// The tokens of the service, as far as they are known, and the gateway's secret there.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets = self.service.issued();
        let exchanges = self.service.exchanges();
        let refresh_token = |asked: &Exchange| asked.parameter("refresh_token").map(str::to_owned);
        secrets.extend(exchanges.iter().filter_map(refresh_token));
        secrets.push(self.service.settings().gateway.secret.clone());
        secrets
    }

    /// Starts the gateway with the configuration of this name.
    pub async fn gateway(&self, config: &str) -> Gateway {
        let started = self.try_gateway(config).await;
        started.unwrap_or_else(|ended| panic!("it ended: {:?}\n{}", ended.0, ended.1))
    }

    /// The same. When it ends by itself: how, and what it said.
    pub async fn try_gateway(&self, config: &str) -> Result<Gateway, (ExitStatus, String)> {
        let text = fs::read_to_string(self.config(config)).expect("a configuration");
        let address = |key: &str| -> SocketAddr {
            let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("an address");
            line.trim().parse().expect("an address")
        };
        let log = self.folder.path().join(format!("{config}.log"));
        let output = fs::OpenOptions::new().append(true).create(true).open(&log).expect("a log");
        let child = program()
            .args(["run", "--log-format", "json", "--config"])
            .arg(self.config(config))
            .env("LD_PRELOAD", faults::shim())
            .env("AUDIT_FAULTS", &self.faults.path)
            .env("AUDIT_FAULTS_FILE", "/vault.db")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .expect("a gateway");
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        let mut gateway =
            Gateway { child, agents: address("listen:"), admin: address("admin:"), client, log };
        for _ in 0..PATIENCE.as_millis() / 20 {
            if gateway.is_ready().await {
                return Ok(gateway);
            }
            if let Some(ended) = gateway.child.try_wait().expect("a state") {
                return Err((ended, gateway.log()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it is not ready:\n{}", gateway.log());
    }
}

/// What came of a command.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// A running gateway. It is killed with its test.
pub struct Gateway {
    child: Child,
    agents: SocketAddr,
    admin: SocketAddr,
    client: reqwest::Client,
    log: PathBuf,
}

impl Gateway {
    async fn is_ready(&self) -> bool {
        let reply = self.client.get(format!("http://{}/readyz", self.admin)).send().await;
        reply.is_ok_and(|reply| reply.status() == 200)
    }

    /// A call, and the status and code that its agent hears. The code of a good answer is empty.
    pub async fn call(&self, token: &str) -> (u16, String) {
        let url = format!("http://{}/mail/me/messages", self.agents);
        let reply = self.client.get(url).bearer_auth(token).send().await.expect("an answer");
        let status = reply.status().as_u16();
        let problem: Value = reply.json().await.unwrap_or_default();
        (status, problem["code"].as_str().unwrap_or_default().to_owned())
    }

    /// Has a person forgotten; returns the status.
    pub async fn forget(&self, subject: &str) -> u16 {
        self.forget_and_read(subject).await.0
    }

    /// The same, and what is said.
    pub async fn forget_and_read(&self, subject: &str) -> (u16, String) {
        let url = format!("http://{}/forget?issuer=contoso&subject={subject}", self.admin);
        let answer = self.client.post(url).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a text"))
    }

    /// The value of a metric; none: there is no such series.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let reply =
            self.client.get(format!("http://{}/metrics", self.admin)).send().await.expect("an answer");
        let metrics = reply.text().await.expect("a text");
        metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    /// All that the gateways of this configuration have logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Stops it as operators do.
    pub fn stop(mut self) -> ExitStatus {
        let sent = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status();
        assert!(sent.expect("kill").success());
        self.child.wait().expect("a status")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, without what the environment of the test says.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_obo-gateway"));
    command.env_remove("OBO_GATEWAY_CONFIG").env_remove("OBO_GATEWAY_LOG").env_remove("COLUMNS");
    command
}

/// What is recorded of a visit is others' to test.
fn visit() -> PageVisit {
    PageVisit {
        request: RequestId::next(),
        person: None,
        peer: Peer { address: ([127, 0, 0, 1], 1).into(), tls: false, certificate: None },
        method: reqwest::Method::GET,
        path: "/account/callback/mail".into(),
        user_agent: None,
    }
}

/// What an agent hears whose person has to sign in.
pub fn asked_to_connect() -> (u16, String) {
    (401, "connection_required".to_owned())
}

/// What an agent hears while the vault cannot be written.
pub fn unavailable() -> (u16, String) {
    (503, "vault_unavailable".to_owned())
}

/// What an agent hears when all is well.
pub fn answered() -> (u16, String) {
    (200, String::new())
}

/// Waits until something is so.
pub async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    for _ in 0..PATIENCE.as_millis() / 50 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never came about: {what}");
}

/// A loopback address that nobody uses, and that the system gives to no connection.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_240 + (std::process::id() % 200) as u16 * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return ([127, 0, 0, 1], port).into();
        }
    }
}
