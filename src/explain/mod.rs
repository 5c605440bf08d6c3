//! `obo-gateway explain`: what would become of a call, and why. The gateway's own stages are asked, one by one, and no
//! connector hears of it. Offline nobody is asked for anything; online, the authorization server is.

mod report;
mod text;

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

pub use report::{Report, Verdict};

use report::{
    CallerReport, CheckReport, ConfirmReport, ExchangeReport, IdentityReport, PolicyReport, Stage,
    ToolReport, told_check,
};

use crate::clock::Now;
use crate::config::{self, Config, LoadError};
use crate::gateway::rehearsal::{
    Allowed, CallName, CallNameError, Identified, Rehearsal, Unidentified, Who, keys_unavailable,
    refused_token,
};
use crate::gateway::{Catalog, Refusal};
use crate::metrics::Metrics;
use crate::oauth::authorization_server::AuthorizationServer;
use crate::oauth::keys::{Keys, KeysError};
use crate::oauth::verifier::{Examination, Outcome, Unchecked};
use crate::process::{StartError, authorization_servers};
use crate::tool::{Arguments, IdentityMode};

/// Largest file of a token that is read. The largest token that is taken has a quarter of it.
const TOKEN_FILE_BYTES_MAX: u64 = 65_536;
/// Largest key set that is read. Entra's are 20 kB.
const KEYS_FILE_BYTES_MAX: u64 = 1_048_576;

/// What is to be explained.
#[derive(Clone, Debug)]
pub struct Request {
    /// The configuration file.
    pub config: PathBuf,
    /// The file that holds the subject token; `-`: standard input.
    pub token_file: PathBuf,
    /// What is called: see [`CallName`].
    pub call: String,
    /// The arguments of the call, by name.
    pub arguments: Vec<(String, String)>,
    /// The keys of the token's issuer, as a JWKS file.
    pub keys: Option<PathBuf>,
    /// The address of the agent.
    pub client: IpAddr,
    /// Whether the authorization server is asked for keys, for what an opaque token means, and for the credential.
    pub online: bool,
}

/// Why nothing can be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// What the configuration names cannot be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file of the token holds none.
    #[error("{} holds no token", .0.display())]
    NoToken(PathBuf),
    /// The file of the keys holds none.
    #[error("{} is no use as a key set", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeysError,
    },
    /// Nobody knows what is to be called.
    #[error(transparent)]
    Call(#[from] CallNameError),
}

/// Explains what would become of a call.
///
/// # Errors
///
/// [`ExplainError`] when it cannot be told what is asked.
pub async fn explain(
    request: &Request,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Report, ExplainError> {
    let config = config::load(&request.config, environment)?.config;
    let call: CallName = request.call.parse()?;
    let token = read_token(&request.token_file)?;
    let keys = request.keys.as_deref().map(read_keys).transpose()?;
    let catalog = config::catalog(&config);
    let rehearsal = rehearsal(config)?;
    Explaining { request, rehearsal: &rehearsal, catalog: &catalog, now: Now::read() }
        .all(&token, keys.as_ref(), &call)
        .await
}

fn rehearsal(config: Config) -> Result<Rehearsal, ExplainError> {
    let metrics = Arc::<Metrics>::default();
    let servers = authorization_servers(config.issuers, |settings| {
        AuthorizationServer::idle(settings, None, Arc::clone(&metrics))
    })?;
    let rehearsal = Rehearsal::new(servers, config.connectors, config.policy, &config.public, &metrics);
    Ok(rehearsal.map_err(|(connector, source)| StartError::Connector { connector, source })?)
}

/// The token in a file, without the blanks around it.
fn read_token(path: &Path) -> Result<Zeroizing<String>, ExplainError> {
    let unreadable = |source| ExplainError::Unreadable { path: path.to_owned(), source };
    let mut text = Zeroizing::new(String::new());
    let read = match path.as_os_str() == "-" {
        true => io::stdin().take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text),
        false => File::open(path).map_err(unreadable)?.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text),
    };
    read.map_err(unreadable)?;
    match text.trim() {
        "" => Err(ExplainError::NoToken(path.to_owned())),
        token => Ok(Zeroizing::new(token.to_owned())),
    }
}

fn read_keys(path: &Path) -> Result<Keys, ExplainError> {
    let unreadable = |source| ExplainError::Unreadable { path: path.to_owned(), source };
    let mut document = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(KEYS_FILE_BYTES_MAX).read_to_end(&mut document).map_err(unreadable)?;
    Keys::parse(&document).map_err(|source| ExplainError::Keys { path: path.to_owned(), source })
}

/// What it takes to explain a call.
struct Explaining<'a> {
    request: &'a Request,
    rehearsal: &'a Rehearsal,
    catalog: &'a Catalog,
    now: Now,
}

/// Who calls, as far as the token says it.
struct Called {
    who: Option<Who>,
    /// What a call with this token is refused for.
    refusal: Option<Refusal>,
    /// What is not known to be good.
    provided: Vec<String>,
}

impl Explaining<'_> {
    async fn all(&self, token: &str, keys: Option<&Keys>, call: &CallName) -> Result<Report, ExplainError> {
        let mut report = Report::default();
        // What is no call at all is said before anybody is asked for anything.
        let identified = match self.rehearsal.identify(call) {
            Ok(identified) => Ok(identified),
            Err(Unidentified::Refused(refusal)) => Err(refusal),
            Err(Unidentified::Name(error)) => return Err(error.into()),
        };
        let arguments = match identified.as_ref().map(|identified| &identified.tool) {
            Ok(tool) => match self.rehearsal.arguments(tool, &self.request.arguments) {
                Ok(arguments) => Ok(arguments),
                Err(Unidentified::Refused(refusal)) => Err(refusal),
                Err(Unidentified::Name(error)) => return Err(error.into()),
            },
            Err(_) => Ok((Arguments::new(), Vec::new())),
        };
        let Called { who, refusal, provided } = self.authenticate(token, keys, &mut report).await;
        report.provided = provided;
        let caller = who.as_ref().map(Who::caller);
        report.caller = caller.map(|caller| CallerReport::of(caller, self.now));
        report.refuse(Stage::Token, refusal.as_ref(), caller);
        let identified = match identified {
            Ok(identified) => identified,
            Err(refusal) => {
                report.refuse(Stage::Tool, Some(&refusal), caller);
                return Ok(report.judged(who.is_some()));
            }
        };
        report.tool = Some(ToolReport::of(&identified.tool, self.catalog));
        report.identity = Some(IdentityReport::of(&identified.tool));
        let arguments = match arguments {
            Ok((arguments, unseen)) => {
                report.unseen_arguments = unseen;
                arguments
            }
            Err(refusal) => {
                report.refuse(Stage::Arguments, Some(&refusal), caller);
                return Ok(report.judged(who.is_some()));
            }
        };
        if let Some(who) = &who
            && let Some(allowed) = self.decide(who, &identified, &arguments, &mut report)
        {
            self.obtain(who, &identified, &allowed, &mut report).await;
        }
        Ok(report.judged(who.is_some()))
    }

    async fn authenticate(&self, token: &str, keys: Option<&Keys>, report: &mut Report) -> Called {
        let refused = |refusal| Called { who: None, refusal: Some(refusal), provided: Vec::new() };
        if let Err(refusal) = self.rehearsal.present(token) {
            return refused(refusal);
        }
        let (examination, unfetched) = match (self.request.online, keys) {
            (true, None) => self.rehearsal.examine_online(token, self.now).await,
            (true | false, _) => (self.rehearsal.examine(token, keys, self.now), None),
        };
        report.token.issuer = examination.issuer.as_ref().map(ToString::to_string);
        let without_keys = match (&unfetched, self.request.online) {
            (Some(why), _) => why.clone(),
            (None, true) => "the issuer's keys are not known".to_owned(),
            (None, false) => {
                "offline: give the issuer's keys by --keys, or --online to fetch them".to_owned()
            }
        };
        report.token.checks =
            examination.checks.iter().map(|checked| CheckReport::of(checked, &without_keys)).collect();
        if let Some(error) = examination.first_failure() {
            return refused(refused_token(error.clone()));
        }
        if let (Some(_), Some(issuer)) = (&unfetched, &examination.issuer) {
            return refused(keys_unavailable(issuer.clone()));
        }
        let provided = conditions(&examination);
        // What only the sender can show, is not shown here; whoever is only supposed to call gets no credential.
        let is_senders =
            examination.checks.iter().any(|checked| is_unchecked(&checked.outcome, Unchecked::SendersToShow));
        if !self.request.online || is_senders {
            return Called { who: examination.supposed.map(Who::Supposed), refusal: None, provided };
        }
        match self.rehearsal.authenticate(token, self.now).await {
            Ok(caller) => {
                // Whoever the issuer vouched for needs no further proof of it.
                report.token.vouched_for();
                Called { who: Some(Who::Verified(caller)), refusal: None, provided: Vec::new() }
            }
            Err(refusal) => refused(refusal),
        }
    }

    fn decide(
        &self,
        who: &Who,
        identified: &Identified,
        arguments: &Arguments,
        report: &mut Report,
    ) -> Option<Allowed> {
        let Request { client, .. } = self.request;
        let decided = self.rehearsal.decide(who, identified, arguments, *client, self.now);
        let mut policy = PolicyReport::seeing(arguments, *client);
        match decided {
            Ok(allowed) => {
                policy.allowed_by(&allowed.policies);
                let tool = &identified.tool;
                let confirmed_by = self.rehearsal.confirmed_by(who, tool, &allowed);
                policy.confirm = ConfirmReport::of(allowed.confirm, tool, &confirmed_by);
                report.provided.extend(policy.confirm.as_ref().map(ConfirmReport::condition));
                report.policy = Some(policy);
                Some(allowed)
            }
            Err(refusal) => {
                policy.denied(&refusal, &self.rehearsal.near_misses(who, &identified.tool));
                report.policy = Some(policy);
                report.refuse(Stage::Policy, Some(&refusal), Some(who.caller()));
                None
            }
        }
    }

    async fn obtain(&self, who: &Who, identified: &Identified, allowed: &Allowed, report: &mut Report) {
        let issuer = who.caller().issuer_name();
        let mode = identified.tool.identity;
        let condition = match mode {
            IdentityMode::OnBehalfOf => format!("{issuer} grants the exchange"),
            IdentityMode::AppOnly => format!("{issuer} gives the application a token"),
            IdentityMode::Connection => "the person has connected their account".to_owned(),
        };
        // The vault is open in the gateway that runs, and nobody connects for the sake of a question.
        let is_tried = self.request.online && mode != IdentityMode::Connection;
        let obtained = match is_tried {
            true => self.rehearsal.obtain(allowed, self.now).await,
            false => None,
        };
        report.exchange = match obtained {
            None => {
                report.provided.push(condition);
                ExchangeReport::not_tried(match self.request.online {
                    true if mode == IdentityMode::Connection => {
                        "only the running gateway knows people's connections"
                    }
                    true => "what only the sender can prove is not proved",
                    false => "offline",
                })
            }
            Some(Ok(obtained)) => ExchangeReport::obtained(&obtained),
            Some(Err(refusal)) => {
                report.refuse(Stage::Exchange, Some(&refusal), Some(who.caller()));
                ExchangeReport::failed(&refusal)
            }
        };
    }
}

/// What has to hold beside what was checked.
fn conditions(examination: &Examination) -> Vec<String> {
    let unchecked = examination.checks.iter().filter_map(|checked| match checked.outcome {
        Outcome::Passed | Outcome::Failed(_) => None,
        Outcome::Unchecked(_) => Some(told_check(checked.check)),
    });
    unchecked.map(str::to_owned).collect()
}

fn is_unchecked(outcome: &Outcome, why: Unchecked) -> bool {
    match outcome {
        Outcome::Passed | Outcome::Failed(_) => false,
        Outcome::Unchecked(unchecked) => *unchecked == why,
    }
}
