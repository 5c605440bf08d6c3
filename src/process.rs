//! The gateway as a process: started from a configuration file, reloaded from it, and drained.
//!
//! Only this and `main` know the configuration; everything below gets what was made from it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::audit::{AuditFile, AuditLog, AuditSettings, Exchanges, Happening, OpenError, Recorder};
use crate::config::{self, Config, Fault, LoadError, Loaded, Sources};
use crate::confirmation::Questions;
use crate::connections::{Connections, Held};
use crate::credential::CredentialCache;
use crate::error_chain::ErrorChain;
use crate::gateway::{Calls, ConnectorSockets, Gateway, Setup, Shared, UpstreamError};
use crate::identity::IssuerName;
use crate::metrics::Metrics;
use crate::oauth::IssuerSettings;
use crate::oauth::authorization_server::{AuthorizationServer, AuthorizationServers};
use crate::server::{self, PassedError, PassedListeners, Server, ServerState};
use crate::tool::ConnectorName;
use crate::vault::{self, Vault, VaultSettings};
use crate::worker::Workers;

mod watch;

use watch::{Finding, Watch};

/// Longest wait for the keys of all issuers before the first call is taken. An issuer that is down by then keeps
/// its own people waiting, not everybody's.
const FIRST_KEYS_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the last records to be written: the disk is given up before whoever stops us gives us up.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Looks up a variable of the environment.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Why the gateway did not start, or did not take a new configuration.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// The audit trail cannot be opened.
    #[error("cannot open the audit trail {file}")]
    Audit {
        /// The file.
        file: String,
        /// Why.
        source: OpenError,
    },
    /// The audit trail cannot go on in a new file.
    #[error("cannot open the audit trail {file} anew")]
    AuditReopen {
        /// The file.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// The vault cannot be opened.
    #[error("cannot open the vault {file}")]
    Vault {
        /// The file.
        file: String,
        /// Why.
        source: vault::OpenError,
    },
    /// The certificate authorities of a service where people sign in cannot be used.
    #[error("connectors.{connector}.connection.ca_file cannot be used")]
    Connection {
        /// The connector.
        connector: ConnectorName,
        /// What is wrong with them.
        source: rustls::Error,
    },
    /// An issuer's certificate authorities cannot be used.
    #[error("issuers.{issuer}.ca_file cannot be used")]
    Issuer {
        /// The issuer.
        issuer: IssuerName,
        /// What is wrong with them.
        source: rustls::Error,
    },
    /// A connector cannot be reached as configured.
    #[error("connectors.{connector} cannot be reached as configured")]
    Connector {
        /// The connector.
        connector: ConnectorName,
        /// What is wrong with it.
        source: UpstreamError,
    },
    /// The threads that calls run on cannot be started.
    #[error("cannot start the threads that calls run on")]
    Workers(#[source] io::Error),
    /// An address cannot be listened on.
    #[error("cannot listen on the address of `{key}`, {address}")]
    Bind {
        /// The key of the configuration that names it.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// What the service manager passes cannot be listened on.
    #[error(transparent)]
    Passed(#[from] PassedError),
    /// The new configuration changes what only a restart can change.
    #[error("`{key}` has changed; that takes a restart")]
    NeedsRestart {
        /// The key.
        key: &'static str,
    },
    /// The gateway is stopping.
    #[error("the gateway is stopping")]
    Stopping,
}

impl StartError {
    /// Whether only other files, or a restart, can mend it. The others pass: a disk is full, or there are no file descriptors.
    fn is_about_files(&self) -> bool {
        match self {
            Self::Config(_)
            | Self::Connection { .. }
            | Self::Issuer { .. }
            | Self::Connector { .. }
            | Self::NeedsRestart { .. }
            | Self::Stopping => true,
            Self::Audit { .. }
            | Self::AuditReopen { .. }
            | Self::Vault { .. }
            | Self::Workers(_)
            | Self::Bind { .. }
            | Self::Passed(_) => false,
        }
    }
}

/// A running gateway.
pub struct Process {
    path: PathBuf,
    environment: Environment,
    state: Arc<ServerState>,
    current: tokio::sync::Mutex<Current>,
    metrics: Arc<Metrics>,
    agent_address: SocketAddr,
    admin_address: SocketAddr,
    drain: CancellationToken,
    at_once: CancellationToken,
    /// Tells whoever watches files that there is another configuration.
    reloaded: Notify,
    serving: Mutex<Option<JoinHandle<usize>>>,
    /// What calls run on. Exchanges that nobody waits for any more run there as well, so it ends last.
    _workers: Arc<Workers>,
}

/// What a reload compares with, and what it takes over.
struct Current {
    listen: SocketAddr,
    admin: SocketAddr,
    audit_file: AuditFile,
    shared: Shared,
    /// What people's connections outlive a reload with, where there is a vault.
    held: Option<Arc<Held>>,
    /// Trails of earlier configurations. Calls that began under them are recorded there.
    earlier_trails: Vec<AuditLog>,
    watch: Watch,
    /// `None`: files are not watched.
    look_every: Option<Duration>,
}

impl Process {
    /// Starts the gateway: when this returns, it takes calls. Warnings about the configuration come beside it.
    ///
    /// # Errors
    ///
    /// [`StartError`] when it cannot.
    pub async fn start(path: &Path, environment: Environment) -> Result<(Self, Vec<Fault>), StartError> {
        Self::start_on(path, environment, PassedListeners::default()).await
    }

    /// Does the same, on the listeners that the service manager has passed, as far as it has.
    ///
    /// # Errors
    ///
    /// [`StartError`] when it cannot.
    pub async fn start_on(
        path: &Path,
        environment: Environment,
        passed: PassedListeners,
    ) -> Result<(Self, Vec<Fault>), StartError> {
        let (loaded, sources) = config::load_with_sources(path, &*environment);
        let Loaded { config, warnings, digest } = loaded?;
        let held_listeners = passed.held(&config.server)?;
        let metrics = Arc::<Metrics>::default();
        let audit_settings = config.audit.clone();
        let shared = Shared {
            cache: Arc::new(CredentialCache::new(config.memory.delegated_bytes_max, Arc::clone(&metrics))),
            audit: open_audit(config.audit.clone(), &digest, &metrics).await?,
            exchanges: Exchanges::default(),
            metrics: Arc::clone(&metrics),
            calls: Calls::default(),
            sockets: ConnectorSockets::new(server::connector_connections_max()),
            proofs: Arc::default(),
            handles: Arc::default(),
            states: Arc::default(),
            browsers: Arc::default(),
            questions: Arc::new(Questions::new(Arc::clone(&metrics))),
        };
        let server_settings = config.server.clone();
        let held = match &config.vault {
            Some(vault) => Some(Arc::new(open_vault(vault.clone(), &metrics).await?)),
            None => None,
        };
        let current = Current {
            held: held.clone(),
            listen: server_settings.listen,
            admin: server_settings.admin,
            audit_file: audit_settings.file.clone(),
            shared: shared.clone(),
            earlier_trails: Vec::new(),
            watch: Watch::new(sources),
            look_every: config.look_every,
        };
        let gateway = Arc::new(build(config, shared, held, None).await?);
        let state = Arc::new(ServerState::new(gateway, &server_settings, Arc::clone(&metrics)));
        let bind = |(key, source)| StartError::Bind {
            key,
            address: if key == "admin" { server_settings.admin } else { server_settings.listen },
            source,
        };
        let workers = Arc::new(Workers::start().map_err(StartError::Workers)?);
        let server = Server::bind(&server_settings, held_listeners, Arc::clone(&state), Arc::clone(&workers));
        let server = server.await.map_err(bind)?;
        let agent_address = server.agent_address().map_err(|error| bind(("listen", error)))?;
        let admin_address = server.admin_address().map_err(|error| bind(("admin", error)))?;
        let (drain, at_once) = (CancellationToken::new(), CancellationToken::new());
        let serving = tokio::spawn(server.serve(drain.clone(), at_once.clone()));
        metrics.set_reload_success(true);
        tracing::info!(agents = %agent_address, admin = %admin_address, "Gateway started");
        let process = Self {
            path: path.to_owned(),
            environment,
            state,
            current: tokio::sync::Mutex::new(current),
            metrics,
            agent_address,
            admin_address,
            drain,
            at_once,
            reloaded: Notify::new(),
            serving: Mutex::new(Some(serving)),
            _workers: workers,
        };
        Ok((process, warnings))
    }

    /// The address that agents call.
    pub fn agent_address(&self) -> SocketAddr {
        self.agent_address
    }

    /// The address of the admin endpoints.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// What connections are served with.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn state(&self) -> &Arc<ServerState> {
        &self.state
    }

    /// The metrics.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The audit trail.
    pub fn audit(&self) -> AuditLog {
        self.state.gateway().audit().clone()
    }

    /// People's own connections, where there is a vault.
    pub fn connections(&self) -> Option<Arc<Connections>> {
        self.state.gateway().connections().cloned()
    }

    /// What people are asked before it runs.
    pub fn questions(&self) -> Arc<Questions> {
        Arc::clone(self.state.gateway().questions())
    }

    /// Reads the configuration again and swaps it in whole; opens the audit file anew. When anything is wrong, all
    /// stays as it was.
    ///
    /// # Errors
    ///
    /// [`StartError`] says what is wrong with the new configuration.
    pub async fn reload(&self) -> Result<Vec<Fault>, StartError> {
        let mut current = self.current.lock().await;
        let read = config::load_with_sources(&self.path, &*self.environment);
        self.settle(&mut current, read).await
    }

    /// Reloads whenever something else is in the configuration file, or in one that it names, until the gateway drains. What was
    /// wrong is logged; the configuration that is there serves on.
    pub async fn watch(&self) {
        let watching = async {
            loop {
                let look_every = self.current.lock().await.look_every;
                let pause = async {
                    match look_every {
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = pause => self.look().await,
                    // The next pause may be another one.
                    () = self.reloaded.notified() => {}
                }
            }
        };
        // A reload that waits for keys, or for a disk, does not keep anybody from stopping.
        tokio::select! {
            () = self.drain.cancelled() => {}
            () = watching => {}
        }
    }

    /// Looks once whether files have changed, and takes what is in them when the look before has found the same.
    async fn look(&self) {
        // Whoever has the files read meanwhile waits, and then reads what is newer.
        let mut current = self.current.lock().await;
        let (settled, path) = (current.watch.settled().clone(), self.path.clone());
        let environment = Arc::clone(&self.environment);
        // Apart from calls: files may be large, and disks slow.
        let read = tokio::task::spawn_blocking(move || {
            settled.have_changed().then(|| config::load_with_sources(&path, &*environment))
        });
        let (loaded, sources) = match read.await {
            Ok(Some(read)) => read,
            Ok(None) => return current.watch.nothing_new(),
            Err(error) => {
                self.metrics.set_reload_success(false);
                return tracing::error!(%error, "Configuration not read");
            }
        };
        let may_pass = loaded.as_ref().is_err_and(LoadError::passes_when_swapped);
        if current.watch.found(&sources, may_pass, Instant::now()) == Finding::Unfinished {
            return;
        }
        for warning in self.settle(&mut current, (loaded, sources)).await.unwrap_or_default() {
            tracing::warn!(%warning, "Configuration warning");
        }
    }

    /// Takes what was read, or says what is wrong with it.
    async fn settle(
        &self,
        current: &mut Current,
        (loaded, sources): (Result<Loaded, LoadError>, Sources),
    ) -> Result<Vec<Fault>, StartError> {
        let reloaded = match loaded {
            Ok(loaded) => self.take(current, loaded).await,
            Err(error) => Err(error.into()),
        };
        // What a full disk has refused may be taken at the next look, though nothing else is in the files.
        if reloaded.as_ref().err().is_none_or(StartError::is_about_files) {
            current.watch.settle(sources);
        }
        self.metrics.set_reload_success(reloaded.is_ok());
        match &reloaded {
            Ok(_) => tracing::info!("Configuration reloaded"),
            Err(error) => {
                tracing::error!(error = %ErrorChain(error), "Configuration not reloaded, the old one serves on")
            }
        }
        reloaded
    }

    /// Swaps a configuration in.
    async fn take(&self, current: &mut Current, loaded: Loaded) -> Result<Vec<Fault>, StartError> {
        if self.drain.is_cancelled() {
            return Err(StartError::Stopping);
        }
        let Loaded { config, warnings, digest } = loaded;
        if config.server.listen != current.listen {
            return Err(StartError::NeedsRestart { key: "listen" });
        }
        if config.server.admin != current.admin {
            return Err(StartError::NeedsRestart { key: "admin" });
        }
        if !is_same_vault(current.held.as_deref(), config.vault.as_ref()) {
            return Err(StartError::NeedsRestart { key: "vault" });
        }
        let (look_every, memory) = (config.look_every, config.memory);
        let previous = self.state.gateway();
        let mut shared = current.shared.clone();
        let (audit, server_settings) = (config.audit.clone(), config.server.clone());
        let is_same_trail = audit.file == current.audit_file;
        // An earlier one is still open: calls that began under it may be under way.
        let is_it = |trail: &&AuditLog| trail.settings().file == audit.file;
        let open = current.earlier_trails.iter().chain([&current.shared.audit]).find(is_it).cloned();
        shared.audit = match open {
            Some(trail) if trail.settings().instance != audit.instance => {
                return Err(StartError::NeedsRestart { key: "audit.instance" });
            }
            Some(trail) => trail,
            None => open_audit(audit.clone(), &digest, &self.metrics).await?,
        };
        let gateway = Arc::new(build(config, shared.clone(), current.held.clone(), Some(&previous)).await?);
        if is_same_trail {
            let failed = |source| StartError::AuditReopen { file: describe(&audit.file), source };
            previous.audit().reopen().await.map_err(failed)?;
        }
        self.state.replace(Arc::clone(&gateway), &server_settings);
        gateway.take_effect();
        shared.cache.set_bytes_max(memory.delegated_bytes_max);
        if !is_same_trail {
            current.earlier_trails.retain(|trail| trail.settings().file != audit.file);
            current.earlier_trails.push(previous.audit().clone());
        }
        shared.audit.keep_by(audit.clone());
        shared.audit.mark(Happening::Reloaded { configuration: digest });
        current.audit_file = audit.file;
        current.look_every = look_every;
        self.reloaded.notify_one();
        current.shared = shared;
        Ok(warnings)
    }

    /// Closes the file of the audit trail, and begins the next one.
    ///
    /// # Errors
    ///
    /// What the system says; records then go on to the old one.
    pub async fn rotate_audit(&self) -> io::Result<()> {
        let rotated = self.audit().rotate().await;
        if let Err(error) = &rotated {
            tracing::error!(%error, "Audit file not closed");
        }
        rotated
    }

    /// Cuts what a drain still waits for. What is cut is recorded before the drain ends.
    pub fn cut(&self) {
        self.at_once.cancel();
    }

    /// Stops: not ready any more, nothing new accepted, what runs is finished within its deadline, records written.
    /// Returns how many connections were cut at the deadline.
    pub async fn drain(&self) -> usize {
        self.drain.cancel();
        let serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner).take();
        let cut = match serving {
            Some(serving) => serving.await.unwrap_or_default(),
            None => 0,
        };
        let (exchanges, held) = {
            let current = self.current.lock().await;
            (current.shared.exchanges.clone(), current.held.clone())
        };
        // What is asked of others gets its grace, and is broken off. Whatever came of it is in the vault before that is closed, and
        // in the trail before that ends.
        if tokio::time::timeout(FLUSH_TIMEOUT, exchanges.end()).await.is_err() {
            tracing::error!("Exchanges could not be ended as they should be");
        }
        if let Some(held) = held
            && tokio::time::timeout(FLUSH_TIMEOUT, held.close()).await.is_err()
        {
            tracing::error!("Vault could not be closed as it should be");
        }
        let flushed = async {
            let current = self.current.lock().await;
            // Side by side: one that cannot be written keeps no other from its end.
            let trails = current.earlier_trails.iter().chain([&current.shared.audit]);
            futures_util::future::join_all(trails.map(AuditLog::stop)).await;
        };
        if tokio::time::timeout(FLUSH_TIMEOUT, flushed).await.is_err() {
            tracing::error!("Audit trail could not be written to its end");
        }
        tracing::info!(cut, "Gateway stopped");
        cut
    }
}

/// Makes a gateway from a configuration. Its issuers' keys are fetched before it is returned, as far as they can be.
async fn build(
    config: Config,
    shared: Shared,
    held: Option<Arc<Held>>,
    previous: Option<&Gateway>,
) -> Result<Gateway, StartError> {
    let servers = start_servers(config.issuers, previous, &shared.metrics)?;
    let connections = match held {
        Some(held) => {
            // Without them nobody who is forgotten would be so in the vault.
            let links = config.links.expect("a vault has pages: resolve() refuses one without `public_url`");
            let before = previous.and_then(Gateway::connections).map(Arc::as_ref);
            let (trail, privacy) = (shared.audit.clone(), Arc::clone(&config.privacy));
            let recorder = Recorder::new(trail, privacy, shared.exchanges.clone());
            let connections =
                Connections::new(held, config.connections, links, before, recorder, &shared.metrics);
            let connections =
                connections.map_err(|(connector, source)| StartError::Connection { connector, source })?;
            connections.warn_of_what_is_left(before).await;
            Some(Arc::new(connections))
        }
        None => None,
    };
    fetch_first_keys(&servers).await;
    let Config { connectors, policy, public, memory, bounds, privacy, .. } = config;
    let setup = Setup { servers, connectors, policy, public, memory, bounds, privacy, connections };
    Gateway::new(setup, shared, previous)
        .map_err(|(connector, source)| StartError::Connector { connector, source })
}

fn start_servers(
    issuers: Vec<IssuerSettings>,
    previous: Option<&Gateway>,
    metrics: &Arc<Metrics>,
) -> Result<AuthorizationServers, StartError> {
    authorization_servers(issuers, |settings| {
        let before = previous.and_then(|gateway| gateway.authorization_servers().get(&settings.issuer));
        AuthorizationServer::start(settings, before.map(Arc::as_ref), Arc::clone(metrics))
    })
}

/// The authorization servers of these issuers, each made by `make`, by every `iss` that its tokens have.
///
/// # Errors
///
/// [`StartError::Issuer`] when one cannot be made.
pub fn authorization_servers(
    issuers: Vec<IssuerSettings>,
    make: impl Fn(IssuerSettings) -> Result<AuthorizationServer, rustls::Error>,
) -> Result<AuthorizationServers, StartError> {
    let mut servers = HashMap::with_capacity_and_hasher(issuers.len(), Default::default());
    for settings in issuers {
        let (issuer, name) = (settings.issuer.clone(), settings.name.clone());
        let other_issuer = settings.other_issuer.clone();
        let server = make(settings).map_err(|source| StartError::Issuer { issuer: name, source })?;
        let server = Arc::new(server);
        servers.extend(other_issuer.map(|other| (other, Arc::clone(&server))));
        servers.insert(issuer, server);
    }
    Ok(Arc::new(servers))
}

async fn fetch_first_keys(servers: &AuthorizationServers) {
    let mut fetches: JoinSet<()> = servers
        .values()
        .map(|server| Arc::clone(server.key_set()))
        .filter(|key_set| key_set.snapshot().is_none())
        .map(|key_set| async move {
            // A failure is logged and counted where it happens, and tried again in the background.
            let _ = key_set.refresh().await;
        })
        .collect();
    let all = async { while fetches.join_next().await.is_some() {} };
    if tokio::time::timeout(FIRST_KEYS_TIMEOUT, all).await.is_err() {
        tracing::warn!(
            "Not all issuers' keys are known yet; their people's calls are refused until they are"
        );
    }
}

/// Opens the trail, and marks that a gateway with this configuration writes it from here on.
async fn open_audit(
    settings: AuditSettings,
    configuration: &str,
    metrics: &Arc<Metrics>,
) -> Result<AuditLog, StartError> {
    let (file, durability) = (settings.file.clone(), settings.durability);
    let log = AuditLog::open(settings, Arc::clone(metrics))
        .map_err(|source| StartError::Audit { file: describe(&file), source })?;
    log.mark(Happening::Boot { configuration: configuration.to_owned(), durability });
    Ok(log)
}

async fn open_vault(settings: VaultSettings, metrics: &Arc<Metrics>) -> Result<Held, StartError> {
    let file = settings.file.display().to_string();
    let vault = Vault::open(settings, Arc::clone(metrics)).await;
    let vault = vault.map_err(|source| StartError::Vault { file, source })?;
    Ok(Held::new(vault))
}

fn is_same_vault(held: Option<&Held>, settings: Option<&VaultSettings>) -> bool {
    match (held, settings) {
        (None, None) => true,
        (Some(held), Some(settings)) => held.vault().settings().is(settings),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn describe(file: &AuditFile) -> String {
    match file {
        AuditFile::StandardOutput => "on standard output".to_owned(),
        AuditFile::Path(path) => path.display().to_string(),
    }
}
