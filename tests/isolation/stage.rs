//! The whole: authorization servers, connectors, and the gateway between them, on sockets of their own.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use obo_gateway::demo::certificates::DevelopmentCertificates;
use obo_gateway::process::{Environment, Process};
use serde_json::Value;
use tempfile::TempDir;

use crate::Outcome;
use crate::connector::{Connector, Tokens};
use crate::lane::{CONNECTORS, TOOLS};
use crate::random::Random;
use crate::world::{Grant, World, connector_name};

/// A gateway with what it stands between.
pub struct Stage {
    pub world: Arc<World>,
    pub connectors: Vec<Connector>,
    pub gateway: Arc<Process>,
    tokens: Arc<Tokens>,
    client: reqwest::Client,
    folder: TempDir,
    certificates: Option<DevelopmentCertificates>,
    writing: Mutex<()>,
}

/// What a stage begins with.
pub struct Setup<'a> {
    pub people: usize,
    pub grants: &'a [Grant],
    /// Whether connectors are spoken to with TLS, and so with HTTP/2.
    pub tls: bool,
    /// What makes the connectors misbehave.
    pub manners: Option<u64>,
}

/// What changes from one configuration to the next.
#[derive(Clone, Copy, Default)]
pub struct Variant {
    /// Seconds to wait for a connector beyond the usual: another pool of connections.
    pub patience: usize,
    /// Something that exchanges are sent: other keys in the cache.
    pub exchange: usize,
}

impl Stage {
    pub async fn start(setup: Setup<'_>) -> Outcome<Self> {
        let world = Arc::new(World::start(setup.people, setup.grants).await?);
        let folder = tempfile::tempdir()?;
        let certificates = match setup.tls {
            true => Some(DevelopmentCertificates::ensure(&folder.path().join("certs"))?),
            false => None,
        };
        let (mut connectors, tokens) = (Vec::new(), Arc::<Tokens>::default());
        for number in 0..CONNECTORS.len() {
            let tls = certificates.as_ref().map(DevelopmentCertificates::server_config).transpose()?;
            let manners = setup.manners.map(|seed| Random::new(seed, 1_000 + number as u64));
            let shared = (Arc::clone(&world), Arc::clone(&tokens));
            connectors.push(Connector::start(number, shared, tls, manners).await?);
        }
        std::fs::write(folder.path().join("secret"), &world.tenants[0].server.settings().gateway.secret)?;
        let path = folder.path().join("gateway.yaml");
        std::fs::write(
            &path,
            configuration(&world, &connectors, &folder, certificates.as_ref(), Variant::default()),
        )?;
        let environment: Environment = Arc::new(|_| None);
        let (gateway, _) = Process::start(&path, environment).await?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build()?;
        let (gateway, writing) = (Arc::new(gateway), Mutex::default());
        Ok(Self { world, connectors, gateway, tokens, client, folder, certificates, writing })
    }

    /// Has the gateway take another configuration.
    pub async fn reload(&self, variant: Variant) -> Outcome<()> {
        {
            let _whole = self.writing.lock().expect("nobody panics here");
            let text = configuration(
                &self.world,
                &self.connectors,
                &self.folder,
                self.certificates.as_ref(),
                variant,
            );
            std::fs::write(self.folder.path().join("gateway.yaml"), text)?;
        }
        self.gateway.reload().await?;
        Ok(())
    }

    /// Has the gateway forget a person of a tenant. Returns how many credentials it dropped.
    pub async fn forget(&self, tenant: &str, subject: &str) -> Outcome<u64> {
        let mut url = self.admin_url("/forget").parse::<url::Url>()?;
        url.query_pairs_mut().append_pair("issuer", tenant).append_pair("subject", subject);
        let answer: Value = self.client.post(url).send().await?.error_for_status()?.json().await?;
        answer["credentials"].as_u64().ok_or_else(|| format!("forgetting was answered {answer}").into())
    }

    fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.admin_address())
    }

    /// Where agents call.
    pub fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.gateway.agent_address())
    }

    /// The sum of a metric over all its series whose labels hold `label`.
    pub async fn metric(&self, name: &str, label: &str) -> Outcome<u64> {
        let text = self.client.get(self.admin_url("/metrics")).send().await?.text().await?;
        let series = text.lines().filter(|line| {
            let rest = line.strip_prefix("obo_gateway_").and_then(|line| line.strip_prefix(name));
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
        });
        let values = series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "these metrics are counts"
        )]
        Ok(values.sum::<f64>() as u64)
    }

    /// Waits until a metric satisfies a condition.
    pub async fn wait_for(&self, name: &str, label: &str, is: impl Fn(u64) -> bool) -> Outcome<()> {
        for _ in 0..1_200 {
            if is(self.metric(name, label).await?) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(format!("{name} never came to what was expected: {}", self.metric(name, label).await?).into())
    }

    /// The records of all calls, once there are as many as the gateway counted calls, or after a while in which there
    /// are not: a call is counted a moment before its record is handed over.
    pub async fn records(&self) -> Outcome<Vec<Value>> {
        let counted = usize::try_from(self.metric("requests_total", "").await?)?;
        let mut records = self.records_now().await?;
        for _ in 0..100 {
            if records.len() >= counted {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            records = self.records_now().await?;
        }
        Ok(records)
    }

    async fn records_now(&self) -> Outcome<Vec<Value>> {
        self.gateway.audit().flush().await;
        let trail = std::fs::read_to_string(self.audit_path())?;
        let mut records = Vec::new();
        for line in trail.lines() {
            let record: Value = serde_json::from_str(line)?;
            // The other classes are of exchanges, of people who were forgotten, and of the trail itself.
            if record["class_uid"] == 6003 {
                records.push(record);
            }
        }
        Ok(records)
    }

    fn audit_path(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    /// How many requests the connectors have received.
    pub fn connector_requests(&self) -> usize {
        self.connectors.iter().map(|connector| connector.seen.requests.load(Ordering::Relaxed)).sum()
    }

    /// How many tokens the connectors have seen.
    pub fn connector_tokens(&self) -> usize {
        self.tokens.lock().expect("nobody panics here").len()
    }

    /// How many requests came to a connector with somebody else's token, and the first of them.
    pub fn crossings(&self) -> (usize, Vec<String>) {
        let count = |connector: &Connector| connector.seen.crossings.load(Ordering::Relaxed);
        let described =
            |connector: &Connector| connector.seen.described.lock().expect("nobody panics here").clone();
        (self.connectors.iter().map(count).sum(), self.connectors.iter().flat_map(described).collect())
    }

    /// Stops the gateway, and with it all the rest.
    pub async fn stop(self) {
        self.gateway.drain().await;
    }
}

fn configuration(
    world: &World,
    connectors: &[Connector],
    folder: &TempDir,
    certificates: Option<&DevelopmentCertificates>,
    variant: Variant,
) -> String {
    let mut text = String::from("listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ntimeouts: { drain: 5s }\n");
    text.push_str(&world.issuers(folder.path(), variant.exchange));
    let write = "memory takes any text";
    text.push_str("connectors:\n");
    for grant in [Grant::TokenExchange, Grant::OnBehalfOf] {
        let issuers = world.tenants.iter().filter(|tenant| tenant.grant == grant);
        let issuers: Vec<&str> = issuers.map(|tenant| tenant.name.as_str()).collect();
        if issuers.is_empty() {
            continue;
        }
        for ((name, audience), connector) in CONNECTORS.iter().zip(connectors) {
            let upstream = match certificates {
                None => format!("http://{}", connector.address),
                Some(certificates) => format!(
                    "https://localhost:{}\n    ca_file: {}",
                    connector.address.port(),
                    certificates.authority_path.display()
                ),
            };
            write!(
                text,
                "  {entry}:
    kind: rest
    path: /{entry}
    upstream: {upstream}
    issuers: [{issuers}]
    audience: {audience}
    timeouts: {{ connect: 60s, response: {response}s, idle: 60s }}
    limits: {{ concurrent: 65536 }}
    tools:
",
                entry = connector_name(name, grant),
                issuers = issuers.join(", "),
                response = 60 + variant.patience,
            )
            .expect(write);
            for (tool, scopes) in TOOLS {
                let scopes = scopes.replace(' ', ", ");
                writeln!(text, "      {tool}: {{ match: GET /{tool}, scopes: [{scopes}] }}").expect(write);
            }
        }
    }
    writeln!(
        text,
        "policy:\n  allow:\n    - {{ name: everybody, tools: [\"*/*\"] }}\naudit: {{ file: {} }}",
        folder.path().join("audit.jsonl").display()
    )
    .expect(write);
    text
}
