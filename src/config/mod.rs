//! The configuration: as an operator writes it, and as each module wants it.
//!
//! One YAML file, read in stages. `document` makes a tree of it that knows every place; `shape` fits the tree
//! to what can be written, which is [`schema()`]; `resolve` checks what it means. Each stage notes every fault
//! that it finds, with its place and what to write instead. Afterwards nothing about configuration can fail.

mod at;
mod document;
mod expand;
mod fault;
mod file;
mod nearest;
mod resolve;
mod schema;
mod shape;
mod sources;
mod summary;
mod table;
#[cfg(test)]
mod tests;
#[cfg(feature = "cedar")]
mod vocabulary;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

pub use fault::{Fault, Severity};
#[cfg(any(fuzzing, test))]
pub(crate) use resolve::openapi_tools;
pub use schema::schema;
pub use sources::Sources;
pub use summary::{catalog, summary, tools};
pub use table::{Cell, table};
#[cfg(feature = "cedar")]
pub use vocabulary::policy_schema;

use at::At;
use fault::{Report, Span};
use resolve::Surroundings;

use crate::clock::Now;
use crate::digest::{Hex, sha256};

/// Everything the gateway needs to know, checked.
#[derive(Debug)]
pub struct Config {
    /// Where the gateway listens.
    pub server: crate::server::ServerSettings,
    /// How agents reach the gateway.
    pub public: crate::gateway::PublicSettings,
    /// What a call may be at most.
    pub bounds: crate::gateway::CallBounds,
    /// How much memory people's tokens may take.
    pub memory: crate::gateway::MemoryBounds,
    /// Whose users may call: one for each issuer, and for Entra one for each tenant. Never empty.
    pub issuers: Vec<crate::oauth::IssuerSettings>,
    /// What agents can call, in the order of the file. Never empty.
    pub connectors: Vec<crate::gateway::ConnectorSettings>,
    /// Who may call what.
    pub policy: crate::policy::Policy,
    /// Where people's own connections are kept.
    pub vault: Option<crate::vault::VaultSettings>,
    /// Where people's pages are, as browsers reach them.
    pub links: Option<crate::connections::Links>,
    /// The services where people sign in for themselves, one for each connector that needs it.
    pub connections: Vec<crate::connections::ConnectionSettings>,
    /// Where records go, and how they are kept.
    pub audit: crate::audit::AuditSettings,
    /// What records may say of people.
    pub privacy: std::sync::Arc<crate::audit::Privacy>,
    /// How often it is looked whether something else is in the file, or in one that it names. `None`: never.
    pub look_every: Option<Duration>,
}

/// A person, as an operator names them: by the issuer or the tenant that the configuration has.
#[derive(Clone, Debug)]
pub struct NamedPerson {
    /// The issuer's name in the configuration, or its `iss`.
    pub issuer: Option<String>,
    /// The tenant, in place of the issuer.
    pub tenant: Option<String>,
    /// The person's identifier: Entra's `oid`, elsewhere `sub`.
    pub subject: String,
}

/// A configuration that can be used, and what someone should look at regardless.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is odd about it, in the order of the file.
    pub warnings: Vec<Fault>,
    /// The SHA-256 of the file, in hexadecimal: records say by it which configuration they were made under.
    pub digest: String,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file has faults.
    #[error("{}", OneEach(faults))]
    Faulty {
        /// What keeps it from being used, in the order of the file. Never empty.
        faults: Vec<Fault>,
        /// What is odd beside that.
        warnings: Vec<Fault>,
    },
}

impl LoadError {
    /// Whether it passes by itself when somebody who swaps files one after the other is done.
    pub fn passes_when_swapped(&self) -> bool {
        match self {
            Self::Unreadable { .. } => false,
            Self::Faulty { faults, .. } => faults.iter().all(Fault::passes_when_swapped),
        }
    }

    /// The error for a terminal: each fault with its source line, and then their number.
    pub fn render(&self, colour: bool) -> String {
        match self {
            Self::Unreadable { source, .. } => format!("error: {self}: {source}\n"),
            Self::Faulty { faults, warnings } => {
                let mut pictures: Vec<String> =
                    warnings.iter().chain(faults).map(|fault| fault.render(colour)).collect();
                let count = match faults.len() {
                    1 => "1 fault".to_owned(),
                    count => format!("{count} faults"),
                };
                pictures.push(format!("{count}: the configuration cannot be used\n"));
                pictures.join("\n")
            }
        }
    }
}

/// Reads and checks a configuration. `environment` looks up the variables that it names.
///
/// Certificates, keys and secrets are read as well; relative file names start at the working directory.
///
/// # Errors
///
/// [`LoadError`] holds every fault of the file.
pub fn load(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, LoadError> {
    load_with(path, environment, false).0
}

/// Does the same, and tells which files were read, also those of a configuration that cannot be used.
pub fn load_with_sources(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> (Result<Loaded, LoadError>, Sources) {
    load_with(path, environment, false)
}

fn load_with(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    without_cedar: bool,
) -> (Result<Loaded, LoadError>, Sources) {
    let mut own = Sources::default();
    let text = read_own(path);
    // What comes out of a pipe is there once.
    if !std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        own.note(path, document::FILE_BYTES_MAX, &text);
    }
    let bytes = match text {
        Ok(bytes) => bytes,
        Err(source) => return (Err(LoadError::Unreadable { path: path.to_owned(), source }), own),
    };
    let surroundings = Surroundings { environment, now: Now::read().unix_seconds(), without_cedar };
    let (loaded, named) = read(&path.display().to_string(), &bytes, &surroundings);
    (loaded, own.and(named))
}

fn read_own(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::default();
    File::open(path)?.take(document::FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read(name: &str, bytes: &[u8], surroundings: &Surroundings<'_>) -> (Result<Loaded, LoadError>, Sources) {
    let report = Report::default();
    let text = read_text(bytes, &report);
    let config = text.and_then(|text| {
        let mut root = document::parse(text, surroundings.environment, &report)?;
        let file = shape::read(&mut root, &report)?;
        resolve::resolve(&file, &At::root(&root, &report), surroundings)
    });
    if config.is_none() && !report.has_errors() {
        report.note(
            Severity::Error,
            Span::TOP,
            "",
            "cannot be used, and nobody noted why: please report this",
        );
    }
    let (sound, sources) = (!report.has_errors(), report.sources());
    let (faults, warnings) = report.finish(name, text.unwrap_or_default());
    let loaded = match config {
        Some(config) if sound => Ok(Loaded { config, warnings, digest: Hex(&sha256(bytes)).to_string() }),
        Some(_) | None => Err(LoadError::Faulty { faults, warnings }),
    };
    (loaded, sources)
}

fn read_text<'a>(bytes: &'a [u8], report: &Report) -> Option<&'a str> {
    let fault = |line: usize, message: String| {
        report.note(Severity::Error, Span { line, end_line: line, ..Span::TOP }, "", message);
        None
    };
    if bytes.len() > document::FILE_BYTES_MAX {
        return fault(1, format!("is larger than {} bytes", document::FILE_BYTES_MAX));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) => {
            let line = bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
            fault(line, "is not UTF-8 text".to_owned())
        }
    }
}

/// Faults, one on each line.
struct OneEach<'a>(&'a [Fault]);

impl fmt::Display for OneEach<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}
