//! The upstream, and the two proxies in front of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use obo_gateway::demo::authorization_server::{AuthorizationServer, MAIL_AUDIENCE};

use crate::Outcome;
use crate::machine::Pin;
use crate::running::{self, Running};

/// Length of the upstream's answer.
const ANSWER_BYTES: usize = 1_024;

/// The upstream's answer. Nothing in it means anything to nginx's configuration.
pub static ANSWER: LazyLock<String> = LazyLock::new(|| {
    let (begin, end) = (r#"{"value":[{"id":"1","subject":"Load","body":""#, r#""}]}"#);
    format!("{begin}{}{end}", "x".repeat(ANSWER_BYTES - begin.len() - end.len()))
});

/// What both nginx have: one worker, in the foreground, all files in one folder, connections kept for good.
fn nginx_config(folder: &Path, http: &str) -> String {
    format!(
        "daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  default_type application/json;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
{http}}}
",
        folder = folder.display(),
    )
}

async fn start_nginx(
    name: &'static str,
    folder: &Path,
    http: &str,
    address: SocketAddr,
    pin: Pin,
) -> Outcome<Running> {
    std::fs::create_dir(folder)?;
    let config = folder.join("nginx.conf");
    std::fs::write(&config, nginx_config(folder, http))?;
    let mut command = pin.command("nginx");
    // `-e`: the log until the configuration is read, which would else be one that only root may write.
    command.arg("-e").arg("stderr").arg("-p").arg(folder).arg("-c").arg(config);
    let log = folder.join("log");
    let mut running = Running::start(name, command, &log)?;
    running.listens(address, &log).await?;
    Ok(running)
}

/// The connector: an nginx that answers 1 KiB of JSON.
pub struct Upstream {
    address: SocketAddr,
    running: Running,
    client: reqwest::Client,
    /// How often it was asked how many requests it has had.
    asked: AtomicU64,
}

impl Upstream {
    pub async fn start(folder: &Path, pin: Pin) -> Outcome<Self> {
        let address = running::free_address()?;
        let http = format!(
            "  server {{
    listen {address};
    location / {{ return 200 '{}'; }}
    location = /requests {{ stub_status; }}
  }}
",
            *ANSWER
        );
        let running = start_nginx("the upstream", &folder.join("upstream"), &http, address, pin).await?;
        let client = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { address, running, client, asked: AtomicU64::new(0) })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn cpu_time(&self) -> Outcome<Duration> {
        self.running.cpu_time()
    }

    /// How many requests it has had, besides the ones that ask for this.
    pub async fn requests(&self) -> Outcome<u64> {
        let page = self.client.get(self.url("/requests")).send().await?.error_for_status()?.text().await?;
        let asked = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        // "server accepts handled requests", and below it these three numbers.
        let counts = page.lines().nth(2).and_then(|line| line.split_whitespace().nth(2)?.parse().ok());
        let requests: u64 = counts.ok_or_else(|| format!("not a status page of nginx: {page}"))?;
        Ok(requests.saturating_sub(asked))
    }
}

/// The measure: nginx that passes on what it gets.
pub struct Nginx {
    address: SocketAddr,
    running: Running,
}

impl Nginx {
    pub async fn start(folder: &Path, upstream: &Upstream, pin: Pin) -> Outcome<Self> {
        let address = running::free_address()?;
        let http = format!(
            "  upstream connector {{
    server {upstream};
    keepalive 256;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
  }}
  server {{
    listen {address};
    location /mail/ {{
      proxy_pass http://connector/;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
    }}
  }}
",
            upstream = upstream.address,
        );
        let running = start_nginx("nginx", &folder.join("nginx"), &http, address, pin).await?;
        Ok(Self { address, running })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn cpu_time(&self) -> Outcome<Duration> {
        self.running.cpu_time()
    }
}

/// What becomes of a gateway's records.
pub struct Records<'a> {
    /// The folder of the trail.
    pub folder: &'a Path,
    /// `audit.durability`.
    pub durability: &'static str,
}

/// What is measured: the gateway's release build.
pub struct Gateway {
    address: SocketAddr,
    running: Running,
    trail: PathBuf,
}

impl Gateway {
    pub async fn start(
        binary: &Path,
        folder: &Path,
        authorization_server: &AuthorizationServer,
        upstream: &Upstream,
        pin: Pin,
        records: &Records<'_>,
    ) -> Outcome<Self> {
        std::fs::create_dir(folder)?;
        let (address, trail) = (running::free_address()?, records.folder.join("audit.jsonl"));
        let (config, secret) = (folder.join("gateway.yaml"), folder.join("secret"));
        let settings = authorization_server.settings();
        std::fs::write(&secret, &settings.gateway.secret)?;
        let text = format!(
            "listen: {address}
admin: 127.0.0.1:0
issuers:
  load:
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
    tools:
      list_messages: {{ match: GET /me/messages, scopes: [Mail.Read] }}
      read_message: {{ match: 'GET /me/messages/{{id}}', scopes: [Mail.Read] }}
      send_message: {{ match: POST /me/sendMail, scopes: [Mail.Send] }}
policy:
  allow:
    - {{ name: anyone may use their own mail, tools: [\"mail/*\"] }}
audit: {{ file: {trail}, durability: {durability} }}
",
            tenant = settings.tenant,
            issuer = authorization_server.issuer(),
            client_id = settings.gateway.client_id,
            app_id_uri = settings.gateway.app_id_uri,
            secret = secret.display(),
            upstream = upstream.url(""),
            trail = trail.display(),
            durability = records.durability,
        );
        std::fs::write(&config, text)?;
        let mut command = pin.command(binary);
        command.arg("run").arg("--config").arg(config).env_remove("OBO_GATEWAY_LOG");
        let log = folder.join("log");
        let mut running = Running::start("the gateway", command, &log)?;
        running.listens(address, &log).await?;
        Ok(Self { address, running, trail })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn cpu_time(&self) -> Outcome<Duration> {
        self.running.cpu_time()
    }

    /// Stops it as an operator would, so that every record is written. Gives its audit trail.
    pub async fn stop(self) -> Outcome<PathBuf> {
        self.running.stop().await?;
        Ok(self.trail)
    }
}
