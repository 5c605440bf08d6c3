//! `obo-gateway vault`: what an operator does with the vault while the gateway is stopped. The file is of one process.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use crate::config::{self, Cell, Config, LoadError, NamedPerson};
use crate::connections::summary_of;
use crate::identity::{Issuer, Person, Realm, Subject};
use crate::metrics::Metrics;
use crate::unseen::clean;
use crate::vault::{KeyId, OpenError, Rotated, Vault, VaultError, VaultSettings};

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum VaultCommandError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// The configuration names no vault.
    #[error("the configuration {} has no `vault`", .0.display())]
    NoVault(PathBuf),
    /// A gateway has it open.
    #[error(
        "a gateway has the vault {0} open: stop it first, or have it forget a person with `obo-gateway forget`"
    )]
    InUse(String),
    /// It cannot be opened.
    #[error("cannot open the vault {file}")]
    Open {
        /// The file.
        file: String,
        /// Why.
        source: OpenError,
    },
    /// It cannot be read or written.
    #[error("cannot use the vault {file}")]
    Use {
        /// The file.
        file: String,
        /// Why.
        source: VaultError,
    },
    /// There is no such issuer.
    #[error("the configuration has no issuer {0:?}")]
    NoIssuer(String),
}

/// A connection, as it is listed. No token is in it.
#[derive(Debug, Serialize)]
pub struct ListedConnection {
    /// The issuer of the person, where it can be told.
    pub issuer: Option<String>,
    /// What the configuration calls it, where it is there.
    pub issuer_name: Option<String>,
    /// Their tenant there.
    pub tenant: Option<String>,
    /// Their identifier there.
    pub subject: Option<String>,
    /// The connector.
    pub connector: Option<String>,
    /// What the service calls the account.
    pub account: Option<String>,
    /// The agents that may use it.
    pub agents: Vec<String>,
    /// When it was made, in seconds since 1970 UTC.
    pub connected_at: Option<u64>,
    /// When it was last renewed, in seconds since 1970 UTC.
    pub refreshed_at: Option<u64>,
    /// The key that it is sealed with.
    pub key: String,
    /// Why it cannot be used, if it cannot.
    pub fault: Option<String>,
}

/// What the vault holds: whose, for what, and since when.
///
/// # Errors
///
/// [`VaultCommandError`] when it cannot be read.
pub async fn list(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<ListedConnection>, VaultCommandError> {
    let config = config::load(path, environment)?.config;
    let (vault, file) = open(path, config.vault).await?;
    let name = |of: &Issuer| {
        let mut issuers = config.issuers.iter();
        let called = issuers.find(|known| known.issuer == *of || known.other_issuer.as_ref() == Some(of));
        called.map(|known| known.name.to_string())
    };
    let mut listed = Vec::new();
    let done = vault
        .list(|one| {
            let summary = one.record.as_ref().ok().zip(one.owner.as_ref());
            let summary = summary.and_then(|(record, owner)| summary_of(&owner.connector, &record.bytes));
            let unreadable = summary.is_none().then(|| "it is of another version of the gateway".to_owned());
            listed.push(ListedConnection {
                issuer: one.owner.as_ref().map(|owner| owner.person.issuer.to_string()),
                issuer_name: one.owner.as_ref().and_then(|owner| name(&owner.person.issuer)),
                tenant: one.owner.as_ref().and_then(|owner| owner.person.tenant.id().map(str::to_owned)),
                subject: one.owner.as_ref().map(|owner| owner.person.subject.to_string()),
                connector: one.owner.as_ref().map(|owner| owner.connector.to_string()),
                account: summary.as_ref().and_then(|summary| summary.account.as_deref().map(str::to_owned)),
                agents: (summary.iter().flat_map(|summary| &summary.agents))
                    .map(|consent| consent.agent.to_string())
                    .collect(),
                connected_at: summary.as_ref().map(|summary| summary.connected_at),
                refreshed_at: summary.as_ref().map(|summary| summary.refreshed_at),
                key: one.key.to_string(),
                fault: one.record.err().map(|fault| fault.to_string()).or(unreadable),
            });
        })
        .await;
    close(vault, file, done).await?;
    listed.sort_by(|one, other| {
        (&one.connector, &one.issuer, &one.subject).cmp(&(&other.connector, &other.issuer, &other.subject))
    });
    Ok(listed)
}

/// The same as a table. Each line ends with a line break.
pub fn table(listed: &[ListedConnection], colour: bool) -> String {
    let text = |text: &Option<String>| Cell::from(clean(text.as_deref().unwrap_or("–")).into_owned());
    let rows: Vec<[Cell; 7]> = listed
        .iter()
        .map(|one| {
            // As the commands that forget a person take it.
            let realm = match (&one.issuer_name, &one.issuer, &one.tenant) {
                (Some(name), _, _) => clean(name).into_owned(),
                (None, Some(issuer), None) => clean(issuer).into_owned(),
                (None, Some(_), Some(tenant)) => format!("tenant {}", clean(tenant)),
                (None, None, _) => "–".to_owned(),
            };
            let since = match &one.fault {
                Some(fault) => Cell::notable(format!("cannot be used: {fault}")),
                None => one.connected_at.map_or_else(|| "–".to_owned(), date).into(),
            };
            [
                text(&one.connector),
                text(&one.subject),
                realm.into(),
                text(&one.account),
                clean(&one.agents.join(" ")).into_owned().into(),
                clean(&one.key).into_owned().into(),
                since,
            ]
        })
        .collect();
    let headings = ["CONNECTOR", "SUBJECT", "ISSUER", "ACCOUNT", "AGENTS", "KEY", "CONNECTED"];
    let count = match listed.len() {
        1 => "1 connection".to_owned(),
        count => format!("{count} connections"),
    };
    format!("{}\n{count}\n", config::table(headings, &rows, colour))
}

/// Takes away all that a person has connected; returns how many connections that were. The services are not told.
///
/// # Errors
///
/// [`VaultCommandError`] when nothing was done.
pub async fn forget(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    named: &NamedPerson,
) -> Result<usize, VaultCommandError> {
    let config = config::load(path, environment)?.config;
    if config.vault.is_none() {
        return Err(VaultCommandError::NoVault(path.to_owned()));
    }
    let person = person(&config, named)?;
    let (vault, file) = open(path, config.vault).await?;
    let forgotten = vault.forget(&person).await;
    Ok(close(vault, file, forgotten).await?.len())
}

/// What came of sealing everything with the first key.
#[derive(Debug)]
pub struct Sealed {
    /// How many connections.
    pub rotated: Rotated,
    /// The first key.
    pub key: KeyId,
    /// The others, which nothing is sealed with any more.
    pub unneeded: Vec<KeyId>,
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rotated { resealed, dropped } = self.rotated;
        let noun = if resealed == 1 { "connection" } else { "connections" };
        write!(f, "{resealed} {noun} sealed with \"{}\"; unreadable and removed: {dropped}", self.key)?;
        if self.unneeded.is_empty() {
            return Ok(());
        }
        let unneeded: Vec<_> = self.unneeded.iter().map(|key| format!("\"{key}\"")).collect();
        write!(f, "; {} can be taken out of vault.keys now", unneeded.join(", "))
    }
}

/// Seals everything with the first key of the configuration.
///
/// # Errors
///
/// [`VaultCommandError`] when nothing was done.
pub async fn rotate(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Sealed, VaultCommandError> {
    let settings = config::load(path, environment)?.config.vault;
    let mut keys = settings.iter().flat_map(|settings| &settings.keys).map(|key| key.id().clone());
    let (key, unneeded) = (keys.next(), keys.collect());
    let (vault, file) = open(path, settings).await?;
    let rotated = vault.rotate().await;
    let rotated = close(vault, file, rotated).await?;
    let key = key.expect("a vault has a key: resolve() refuses an empty list");
    Ok(Sealed { rotated, key, unneeded })
}

/// Opens the vault of the configuration at `path`.
async fn open(path: &Path, settings: Option<VaultSettings>) -> Result<(Vault, String), VaultCommandError> {
    let settings = settings.ok_or_else(|| VaultCommandError::NoVault(path.to_owned()))?;
    let file = settings.file.display().to_string();
    match Vault::open_existing(settings, Arc::<Metrics>::default()).await {
        Ok(vault) => Ok((vault, file)),
        Err(OpenError::Locked) => Err(VaultCommandError::InUse(file)),
        Err(source) => Err(VaultCommandError::Open { file, source }),
    }
}

async fn close<T>(vault: Vault, file: String, done: Result<T, VaultError>) -> Result<T, VaultCommandError> {
    vault.close().await;
    done.map_err(|source| VaultCommandError::Use { file, source })
}

fn person(config: &Config, named: &NamedPerson) -> Result<Person, VaultCommandError> {
    let realm = match (&named.tenant, &named.issuer) {
        (Some(tenant), _) => Realm::Tenant(tenant.as_str().into()),
        (None, issuer) => {
            let called = issuer.as_deref().unwrap_or_default();
            let issuers: Vec<Issuer> = (config.issuers.iter())
                .filter(|issuer| issuer.name.as_str() == called || issuer.issuer.as_str() == called)
                .map(|issuer| issuer.issuer.clone())
                .collect();
            if issuers.is_empty() {
                return Err(VaultCommandError::NoIssuer(called.to_owned()));
            }
            Realm::Issuers(issuers.into())
        }
    };
    Ok(Person { realm, subject: Subject::new(named.subject.as_str()) })
}

/// A time in seconds since 1970 UTC, as HTTP writes it, without the day of the week.
fn date(seconds: u64) -> String {
    let Some(time) = UNIX_EPOCH.checked_add(Duration::from_secs(seconds.min(253_402_300_799))) else {
        return seconds.to_string();
    };
    let text = httpdate::fmt_http_date(time);
    text.split_once(", ").map_or(text.as_str(), |(_, rest)| rest).to_owned()
}
