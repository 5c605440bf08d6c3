//! The gateway as a process of its own, between an authorization server and a mail connector in this one.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use obo_gateway::demo::authorization_server::{AuthorizationServer, MAIL_AUDIENCE, Settings};
use obo_gateway::demo::mail::{MailConnector, MailSettings};
use tempfile::TempDir;

use crate::faults::{self, Faults};
use crate::trail::Trail;

/// How long to wait for anything to come about: far longer than any of it takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a gateway stands between, its folder, and its configuration.
pub struct Bed {
    pub connector: MailConnector,
    pub server: AuthorizationServer,
    pub faults: Faults,
    pub folder: TempDir,
    trail: PathBuf,
    agents: SocketAddr,
    admin: SocketAddr,
}

/// A running gateway. It is killed with its test.
pub struct Gateway {
    child: Child,
    pub agents: SocketAddr,
    pub admin: SocketAddr,
    client: reqwest::Client,
    log: PathBuf,
}

/// What an agent hears.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// The whole of an answer, by the connector; and which call it was.
    Answered(String),
    /// A refusal, and its code.
    Refused(u16, String),
    /// No answer, or no end of one.
    Nothing,
}

impl Bed {
    /// With these keys of `audit`, beside `file`.
    pub async fn new(audit: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let trail = folder.path().join("trail");
        std::fs::create_dir(&trail).expect("a folder");
        Self::in_folder(folder, trail, audit).await
    }

    /// With a trail in a folder of its own.
    pub async fn in_folder(folder: TempDir, trail: PathBuf, audit: &str) -> Self {
        let server = AuthorizationServer::start(Settings::default()).await.expect("an authorization server");
        let connector =
            MailConnector::start(MailSettings::trusting(&server)).await.expect("a mail connector");
        let bed = Self {
            faults: Faults::new(folder.path()),
            agents: free_address(),
            admin: free_address(),
            connector,
            server,
            folder,
            trail: trail.join("audit.jsonl"),
        };
        std::fs::write(bed.config(), bed.configuration(audit, bed.agents, bed.admin)).expect("written");
        std::fs::write(bed.folder.path().join("secret"), &bed.server.settings().gateway.secret)
            .expect("written");
        bed
    }

    /// A configuration for this trail.
    pub fn configuration(&self, audit: &str, agents: SocketAddr, admin: SocketAddr) -> String {
        let settings = self.server.settings();
        format!(
            "listen: {agents}
admin: {admin}
timeouts: {{ drain: 5s }}
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
  mail:
    kind: rest
    path: /mail
    upstream: {upstream}
    audience: {MAIL_AUDIENCE}
    scopes: [Mail.Read]
    timeouts: {{ connect: 20s, response: 20s, idle: 20s }}
policy:
  allow:
    - {{ name: everybody, tools: [\"*/*\"] }}
audit:
  file: {trail}
  instance: gateway-1
{audit}",
            tenant = settings.tenant,
            issuer = self.server.issuer(),
            client_id = settings.gateway.client_id,
            app_id_uri = settings.gateway.app_id_uri,
            secret = self.folder.path().join("secret").display(),
            upstream = self.connector.base_url(),
            trail = self.trail.display(),
        )
    }

    /// Where the configuration is.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("gateway.yaml")
    }

    /// Where the gateway's standard output goes.
    pub fn output(&self) -> PathBuf {
        self.folder.path().join("output")
    }

    /// Where the trail is.
    pub fn trail_path(&self) -> &Path {
        &self.trail
    }

    /// The trail as it is now.
    pub fn trail(&self) -> Trail {
        Trail::read(&self.trail, &[])
    }

    /// A good token.
    pub fn token(&self) -> String {
        self.server.subject_token("ada").mint()
    }

    /// How many calls have reached the connector.
    pub fn reached(&self) -> usize {
        self.connector.requests().len()
    }

    /// Starts the gateway on a disk that fails when it is told to.
    pub async fn start(&self) -> Gateway {
        let log = self.folder.path().join("gateway.log");
        let output = std::fs::OpenOptions::new().append(true).create(true).open(&log).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_obo-gateway"))
            .args(["run", "--config"])
            .arg(self.config())
            .env("LD_PRELOAD", faults::shim())
            .env("AUDIT_FAULTS", &self.faults.path)
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(self.output()).expect("a file"))
            .stderr(output)
            .spawn()
            .expect("a gateway");
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        let mut gateway = Gateway { child, agents: self.agents, admin: self.admin, client, log };
        for _ in 0..PATIENCE.as_millis() / 20 {
            if gateway.is_ready().await {
                return gateway;
            }
            let ended = gateway.child.try_wait().expect("a state");
            assert!(
                ended.is_none(),
                "it ended: {ended:?}\n{}",
                gateway.log().lines().rev().take(8).collect::<Vec<_>>().join("\n")
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it is not ready:\n{}", gateway.log());
    }
}

impl Gateway {
    /// Whether it takes calls, as it says itself.
    pub async fn is_ready(&self) -> bool {
        let reply = self.client.get(format!("http://{}/readyz", self.admin)).send().await;
        reply.is_ok_and(|reply| reply.status() == 200)
    }

    /// The value of a metric.
    pub async fn metric(&self, series: &str) -> f64 {
        let reply =
            self.client.get(format!("http://{}/metrics", self.admin)).send().await.expect("an answer");
        let metrics = reply.text().await.expect("a text");
        let value =
            metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("no {series}:\n{metrics}"))
    }

    /// A call, and what its agent hears.
    pub async fn call(&self, token: &str) -> Heard {
        call(&self.client, self.agents, token).await
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, by its name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.id().to_string()]).status();
        assert!(sent.expect("kill").success());
    }

    /// Ends it where it stands.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("a status");
    }

    /// Stops it as operators do.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.child.wait().expect("a status")
    }

    /// All that the gateways of this test have logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A call, and what its agent hears.
pub async fn call(client: &reqwest::Client, agents: SocketAddr, token: &str) -> Heard {
    let call = client.get(format!("http://{agents}/mail/me/messages")).bearer_auth(token).send();
    let Ok(reply) = call.await else { return Heard::Nothing };
    let status = reply.status().as_u16();
    let id = reply.headers().get("obo-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let Ok(body) = reply.bytes().await else { return Heard::Nothing };
    match (status, id) {
        (200, Some(id)) => Heard::Answered(id),
        _ => {
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            Heard::Refused(status, problem["code"].as_str().unwrap_or_default().to_owned())
        }
    }
}

/// Waits until something is so.
pub async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    for _ in 0..PATIENCE.as_millis() / 20 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came about: {what}");
}

/// The refusal of a call whose record could not be written.
pub fn unavailable() -> Heard {
    Heard::Refused(503, "audit_unavailable".to_owned())
}

/// A loopback address that nobody uses: not one of those that the system gives to connections, since an agent that calls a gateway
/// which is not there might be given its very address.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_240 + (std::process::id() % 200) as u16 * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return ([127, 0, 0, 1], port).into();
        }
    }
}
