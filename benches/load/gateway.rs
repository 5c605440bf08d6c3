//! What is measured: the gateway's release build.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use obo_gateway::demo::authorization_server::{AuthorizationServer, MAIL_AUDIENCE, NOTES_AUDIENCE};
use obo_gateway::demo::certificates::KeyedCertificate;

use crate::Outcome;
use crate::authority::Authority;
use crate::calls::Call;
use crate::machine::Pin;
use crate::proxy::Proxy;
use crate::running::{self, Running, Under};
use crate::world::World;

/// How one gateway is set up.
pub struct Setup<'a> {
    pub name: &'static str,
    /// Whose people call.
    pub issuer: Issuer<'a>,
    pub upstream: SocketAddr,
    /// What agents are shown; without it they speak plain HTTP.
    pub certificate: Option<&'a KeyedCertificate>,
    /// `audit.durability`.
    pub durability: &'static str,
    /// `limits` of the connector that is called, or nothing.
    pub limits: &'a str,
    /// More keys of the configuration, as whole lines, or nothing.
    pub keys: &'a str,
    /// So many connectors that nobody calls.
    pub more_connectors: u32,
    pub pin: Pin,
    pub under: Under<'a>,
}

/// Where tokens are from.
#[derive(Clone, Copy)]
pub enum Issuer<'a> {
    Tenant(&'a AuthorizationServer),
    Authority(&'a Authority),
}

impl<'a> Setup<'a> {
    /// As most scenarios have it.
    pub fn usual(world: &'a World) -> Self {
        Self {
            name: "obo-gateway",
            issuer: Issuer::Tenant(&world.authorization_server),
            upstream: world.upstream.address,
            certificate: None,
            durability: "process",
            limits: "",
            keys: "",
            more_connectors: 0,
            pin: world.cores.proxy,
            under: Under::Nothing,
        }
    }
}

impl Setup<'_> {
    /// Starts it, with its files in a folder of its own.
    pub async fn start(&self, folder: &Path) -> Outcome<Proxy> {
        std::fs::create_dir_all(folder)?;
        let (address, admin) = (running::free_address()?, running::free_address()?);
        let trail = folder.join("audit.jsonl");
        let (config, secret) = (folder.join("gateway.yaml"), folder.join("secret"));
        let issuer = match self.issuer {
            Issuer::Tenant(server) => {
                std::fs::write(&secret, &server.settings().gateway.secret)?;
                tenant(server, &secret)
            }
            Issuer::Authority(authority) => {
                std::fs::write(&secret, "a secret that nobody looks at")?;
                authority.configuration(&secret)
            }
        };
        let tls = self.certificate.map(|certificate| {
            format!(
                "tls: {{ certificate: {}, key: {} }}\n",
                certificate.certificate_path.display(),
                certificate.key_path.display()
            )
        });
        let text = format!(
            "listen: {address}
admin: {admin}
{tls}{keys}issuers:
  load:
{issuer}connectors:
  mail:
    kind: rest
    path: /mail
    upstream: {upstream}
    audience: {MAIL_AUDIENCE}
    scopes: [Mail.Read]
{limits}    tools:
      list_messages: {{ match: GET {list} }}
      read_message: {{ match: 'GET {list}/{{id}}' }}
      send_message: {{ match: POST /me/sendMail }}
      put_content: {{ match: POST {upload} }}
      get_content: {{ match: GET {download} }}
      get_events: {{ match: GET {events} }}
  notes:
    kind: mcp
    path: {tools}
    upstream: {upstream}{tools}
    audience: {NOTES_AUDIENCE}
    scopes: [Notes.ReadWrite]
    tools:
      list_notes: {{}}
      find_notes: {{ annotations: {{ read_only: true }} }}
{more}policy:
  allow:
    - {{ name: anyone may use what is theirs, tools: [\"*/*\"] }}
audit: {{ file: {trail}, durability: {durability}, rotate: {{ size: 1024GiB }} }}
",
            tls = tls.unwrap_or_default(),
            keys = self.keys,
            upstream = format_args!("http://{}", self.upstream),
            limits = self.limits(),
            list = Call::ListMessages.upstream_path(),
            upload = Call::Upload.upstream_path(),
            download = Call::Download.upstream_path(),
            events = Call::Events.upstream_path(),
            tools = Call::UseTool.path(),
            more = self.more_connectors(),
            trail = trail.display(),
            durability = self.durability,
        );
        std::fs::write(&config, text)?;
        let mut command = self.under.command(self.pin, binary()?);
        command.arg("run").arg("--config").arg(config).env_remove("OBO_GATEWAY_LOG");
        let log = folder.join("log");
        let mut running = Running::start("the gateway", command, &log)?;
        running.listens(address, &log).await?;
        let tls = self.certificate.is_some();
        Ok(Proxy { name: self.name, address, tls, running, trail: Some(trail), admin: Some(admin) })
    }
}

impl Setup<'_> {
    fn limits(&self) -> String {
        if self.limits.is_empty() { String::new() } else { format!("    limits: {}\n", self.limits) }
    }

    fn more_connectors(&self) -> String {
        let connector = |number| {
            format!(
                "  more-{number}:
    kind: rest
    path: /more-{number}
    upstream: http://{}
    audience: api://more-{number}
    scopes: [Items.Read]
    tools:
      list_items: {{ match: GET /items }}
      read_item: {{ match: 'GET /items/{{id}}' }}
",
                self.upstream
            )
        };
        (0..self.more_connectors).map(connector).collect()
    }
}

/// What a configuration says of the development authorization server.
fn tenant(server: &AuthorizationServer, secret: &Path) -> String {
    let settings = server.settings();
    format!(
        "    kind: entra
    tenant: {tenant}
    issuer: {issuer}
    audiences: [\"{client_id}\", {app_id_uri}]
    exchange:
      grant: on_behalf_of
      client_id: {client_id}
      client_auth: {{ secret_file: {secret} }}
",
        tenant = settings.tenant,
        issuer = server.issuer(),
        client_id = settings.gateway.client_id,
        app_id_uri = settings.gateway.app_id_uri,
        secret = secret.display(),
    )
}

/// Whether the configuration of the gateway that is measured has such a key.
pub fn knows(key: &str) -> Outcome<bool> {
    let schema = Command::new(binary()?).args(["config", "schema"]).output()?;
    Ok(String::from_utf8_lossy(&schema.stdout).contains(&format!("\"{key}\"")))
}

/// The gateway to measure: the one that `benches/load/run` built, or the one that `cargo bench` did.
fn binary() -> Outcome<PathBuf> {
    match std::env::var_os("OBO_GATEWAY_BINARY") {
        Some(path) => Ok(path.into()),
        None if cfg!(debug_assertions) => {
            Err("only a release build is measured: use benches/load/run".into())
        }
        None => Ok(env!("CARGO_BIN_EXE_obo-gateway").into()),
    }
}
