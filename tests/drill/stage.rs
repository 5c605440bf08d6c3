//! The whole: authorization servers, connectors with a road before each, and the gateway between them.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use obo_gateway::audit::link::Instance;
use obo_gateway::trail::keys;
use tempfile::TempDir;

use crate::Outcome;
use crate::certificates::Certificates;
use crate::connector::{Connector, Tokens};
use crate::gateway::Gateway;
use crate::lane::{CONNECTORS, TOOLS};
use crate::road::Road;
use crate::world::{Grant, World, connector_name};

/// How every configuration goes on. Little is kept of tokens, of which there are always new ones: what grows after a minute or two is
/// something else.
const HEAD: &str = "timeouts: { drain: 10s }\nmemory: { delegated_tokens: 16MiB, verified_tokens: 16MiB }\n";

/// Longest wait for an answer. None takes as long, unless something hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to look for what a reload has to bring about.
const RELOAD_TRIES: usize = 100;

pub struct Stage {
    pub world: Arc<World>,
    pub roads: Vec<Road>,
    pub gateway: Gateway,
    pub certificates: Certificates,
    pub agents: SocketAddr,
    /// What the checkpoints of the trail are verified with.
    pub checkpoint_key: String,
    connectors: Vec<Connector>,
    admin: SocketAddr,
    /// Speaks plain HTTP to the admin endpoints.
    operator: reqwest::Client,
    /// Which of the certificates is shown, and how often the configuration has changed.
    shown: AtomicUsize,
    variant: AtomicUsize,
    /// Requests that only looked at the certificate, and are recorded like any other.
    pub looks: AtomicUsize,
    /// Files of the trail that were moved elsewhere.
    moved: Mutex<Vec<PathBuf>>,
    folder: TempDir,
    pub resident: Mutex<Vec<(f64, f64)>>,
}

impl Stage {
    pub async fn start(people: usize) -> Outcome<Self> {
        let world = Arc::new(World::start(people, &[Grant::TokenExchange, Grant::OnBehalfOf]).await?);
        let (mut connectors, mut roads, tokens) = (Vec::new(), Vec::new(), Arc::<Tokens>::default());
        for number in 0..CONNECTORS.len() {
            let shared = (Arc::clone(&world), Arc::clone(&tokens));
            let connector = Connector::start(number, shared, None, None).await?;
            roads.push(Road::open(connector.address).await?);
            connectors.push(connector);
        }
        let folder = tempfile::tempdir()?;
        let certificates = Certificates::make(folder.path())?;
        std::fs::write(folder.path().join("secret"), &world.tenants[0].server.settings().gateway.secret)?;
        std::fs::create_dir(folder.path().join("trail"))?;
        let instance = Instance::parse("drill").ok_or("no name")?;
        let checkpoint_key = keys::generate(&folder.path().join("checkpoint.key"), instance)?.to_string();
        let (agents, admin) = (free_address()?, free_address()?);
        let operator = reqwest::Client::builder().no_proxy().timeout(ANSWER_TIMEOUT).build()?;
        let path = folder.path().join("gateway.yaml");
        let head = format!("listen: {agents}\nadmin: {admin}\n{HEAD}");
        std::fs::write(
            &path,
            head + &certificates.configuration() + &configuration(&world, &roads, folder.path(), 0),
        )?;
        let readiness = format!("http://{admin}/readyz");
        let gateway = Gateway::start(&path, folder.path().join("log"), async || {
            operator.get(&readiness).send().await.is_ok_and(|answer| answer.status() == 200)
        })
        .await?;
        let (shown, variant, looks) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let (moved, resident) = (Mutex::default(), Mutex::default());
        Ok(Self {
            world,
            roads,
            gateway,
            certificates,
            agents,
            checkpoint_key,
            connectors,
            admin,
            operator,
            shown,
            variant,
            looks,
            moved,
            folder,
            resident,
        })
    }

    /// Where agents call.
    pub fn url(&self, target: &str) -> String {
        format!("https://localhost:{}{target}", self.agents.port())
    }

    /// An agent's way to the gateway, of its own: by HTTP/2, or by HTTP/1.1.
    pub fn client(&self, by_http2: bool) -> Outcome<reqwest::Client> {
        let builder = reqwest::Client::builder().no_proxy().timeout(ANSWER_TIMEOUT);
        let builder = if by_http2 { builder } else { builder.http1_only() };
        Ok(builder.tls_certs_only(self.certificates.authorities()?).build()?)
    }

    /// Has the gateway read another configuration, in which exchanges are sent something else: all kept tokens are of no
    /// use then.
    pub fn reload(&self) -> Outcome<()> {
        let variant = self.variant.fetch_add(1, Ordering::Relaxed) + 1;
        let path = self.folder.path().join("gateway.yaml");
        let head = format!("listen: {}\nadmin: {}\n{HEAD}", self.agents, self.admin);
        let rest = configuration(&self.world, &self.roads, self.folder.path(), variant);
        let beside = path.with_extension("new");
        std::fs::write(&beside, head + &self.certificates.configuration() + &rest)?;
        std::fs::rename(beside, path)?;
        self.gateway.signal("HUP")
    }

    /// Puts another certificate in the place of the one that agents are shown, and waits until they are shown it.
    pub async fn swap_certificates(&self) -> Outcome<()> {
        let number = self.shown.fetch_add(1, Ordering::Relaxed) + 1;
        self.certificates.show(number)?;
        self.gateway.signal("HUP")?;
        for _ in 0..RELOAD_TRIES {
            let builder = reqwest::Client::builder().no_proxy().timeout(ANSWER_TIMEOUT);
            let client = builder.tls_certs_only([self.certificates.authority(number)?]).build()?;
            // No connector's path, so that it is no call of anybody's.
            if client.get(self.url("/.well-known/oauth-protected-resource")).send().await.is_ok() {
                self.looks.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err("agents are never shown the new certificate".into())
    }

    /// Moves the file of the trail away, as logrotate does, and waits until there is another.
    pub async fn move_trail(&self) -> Outcome<()> {
        let live = self.trail().join("audit.jsonl");
        let elsewhere = {
            let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
            let elsewhere = self.folder.path().join(format!("moved-{}.jsonl", moved.len()));
            moved.push(elsewhere.clone());
            elsewhere
        };
        std::fs::rename(&live, elsewhere)?;
        self.gateway.signal("HUP")?;
        for _ in 0..RELOAD_TRIES {
            if live.exists() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err("the trail that was moved is followed by no other".into())
    }

    /// The folder of the trail.
    pub fn trail(&self) -> PathBuf {
        self.folder.path().join("trail")
    }

    /// All files of the trail: the folder that it is in, and those that were moved elsewhere.
    pub fn trail_paths(&self) -> Vec<PathBuf> {
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.iter().cloned().chain([self.trail()]).collect()
    }

    /// How many calls the gateway has counted, once none is under way.
    pub async fn counted_calls(&self) -> Outcome<u64> {
        for _ in 0..RELOAD_TRIES * 4 {
            if self.metric("calls_in_progress").await? == 0 {
                return self.metric("requests_total").await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err("there is always a call in progress".into())
    }

    /// The sum of a metric over all its series.
    async fn metric(&self, name: &str) -> Outcome<u64> {
        let text = self.operator.get(format!("http://{}/metrics", self.admin)).send().await?.text().await?;
        let series = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("obo_gateway_")?.strip_prefix(name)?;
            rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
        });
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "these metrics are counts"
        )]
        Ok(series.sum::<f64>() as u64)
    }

    /// How many requests came to a connector with somebody else's token, and the first of them.
    pub fn crossings(&self) -> (usize, Vec<String>) {
        let seen = || self.connectors.iter().map(|connector| &connector.seen);
        let described = seen().flat_map(|seen| seen.described.lock().expect("nobody panics here").clone());
        (seen().map(|seen| seen.crossings.load(Ordering::Relaxed)).sum(), described.collect())
    }
}

/// A loopback address that nobody uses.
fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// All but where the gateway listens, and what it shows.
fn configuration(world: &World, roads: &[Road], folder: &Path, variant: usize) -> String {
    let mut text = world.issuers(folder, variant);
    let write = "memory takes any text";
    text.push_str("connectors:\n");
    for tenant in &world.tenants {
        for ((name, audience), road) in CONNECTORS.iter().zip(roads) {
            write!(
                text,
                "  {entry}:
    kind: rest
    path: /{entry}
    upstream: http://{road}
    issuers: [{issuer}]
    audience: {audience}
    tools:
",
                entry = connector_name(name, tenant.grant),
                road = road.address,
                issuer = tenant.name,
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
        "policy:\n  allow:\n    - {{ name: everybody, tools: [\"*/*\"] }}\n\
         audit:\n  file: {}\n  durability: process\n  instance: drill\n  \
         checkpoints: {{ key: {}, every_records: 1000, every: 5s }}",
        folder.join("trail/audit.jsonl").display(),
        folder.join("checkpoint.key").display()
    )
    .expect(write);
    text
}
