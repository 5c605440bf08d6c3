//! What is told of a call that was gone through. No token is in it, and nothing that was obtained.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::audit::Fault;
use crate::clock::Now;
use crate::error_chain::ErrorChain;
use crate::gateway::catalog::CatalogLimit;
use crate::gateway::rehearsal::Obtained;
use crate::gateway::{Catalog, Refusal};
use crate::identity::{Caller, RuleName, Scopes};
use crate::oauth::verifier::{Checked, Outcome, TokenCheck, Unchecked};
use crate::policy::NearMiss;
use crate::tool::{Argument, Arguments, Confirm, Primitive, Tool};

/// What would become of a call, and why.
#[derive(Default, Debug, Serialize)]
pub struct Report {
    /// What would become of it.
    pub verdict: Verdict,
    /// What has to hold beside, where it is allowed.
    pub provided: Vec<String>,
    /// Why it is refused, and what the agent would hear.
    pub refusal: Option<RefusalReport>,
    /// What was found out about the token.
    pub token: TokenReport,
    /// Whom the token speaks for.
    pub caller: Option<CallerReport>,
    /// What would be called.
    pub tool: Option<ToolReport>,
    /// Who the connector would see.
    pub identity: Option<IdentityReport>,
    /// What policy says. `None`: it is not asked.
    pub policy: Option<PolicyReport>,
    /// Arguments that were given, and that policy does not look at because the tool does not declare them.
    pub unseen_arguments: Vec<String>,
    /// What came of obtaining the credential.
    pub exchange: ExchangeReport,
}

/// What would become of a call.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It would be allowed.
    Allowed,
    /// It would be refused.
    Refused,
    /// It depends on what was not looked at, or on somebody who could not be asked.
    #[default]
    CannotTell,
}

/// A stage of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The token is checked.
    Token,
    /// It is found out what is called.
    Tool,
    /// Its arguments are read.
    Arguments,
    /// Policy decides.
    Policy,
    /// The credential is obtained.
    Exchange,
}

/// A refusal, as the record and the agent have it.
#[derive(Debug, Serialize)]
pub struct RefusalReport {
    /// At which stage.
    pub stage: Stage,
    /// The stable code.
    pub code: &'static str,
    /// The status of the answer.
    pub status: u16,
    /// Who can do something about it.
    pub fault: &'static str,
    /// What happened.
    pub detail: String,
    /// What the agent can repeat to the person.
    pub remedy: &'static str,
}

/// What was found out about a token.
#[derive(Default, Debug, Serialize)]
pub struct TokenReport {
    /// The issuer's name in the configuration.
    pub issuer: Option<String>,
    /// The checks, in the order in which they are made.
    pub checks: Vec<CheckReport>,
}

/// One check of a token.
#[derive(Debug, Serialize)]
pub struct CheckReport {
    /// What was looked at.
    pub check: &'static str,
    /// `passed`, `failed` or `not_checked`.
    pub outcome: &'static str,
    /// Why, where it has not passed.
    pub why: Option<String>,
}

/// Whom a token speaks for.
#[derive(Debug, Serialize)]
pub struct CallerReport {
    /// The person's stable identifier.
    pub subject: String,
    /// The person's tenant, where the issuer has several.
    pub tenant: Option<String>,
    /// The agent, where the token names one.
    pub agent: Option<String>,
    /// The scopes of the token.
    pub scopes: Vec<String>,
    /// The person's groups.
    pub groups: Vec<String>,
    /// The person's roles.
    pub roles: Vec<String>,
    /// The authentication context class of the sign-in.
    pub acr: Option<String>,
    /// Entra's authentication contexts that were passed.
    pub acrs: Vec<String>,
    /// In how many seconds the token expires.
    pub expires_in_seconds: u64,
}

/// What would be called.
#[derive(Debug, Serialize)]
pub struct ToolReport {
    /// Its connector.
    pub connector: String,
    /// Its name there.
    pub name: String,
    /// `tool`, `prompt` or `resource`.
    pub primitive: &'static str,
    /// What a request must look like to be it.
    #[serde(rename = "match")]
    pub matches: Option<String>,
    /// How many calls of it there may be in a time. Only the running gateway knows how many there have been.
    pub limits: Vec<CatalogLimit>,
}

/// Who the connector would see, and what its credential would be good for.
#[derive(Debug, Serialize)]
pub struct IdentityReport {
    /// The identity mode.
    pub mode: &'static str,
    /// The audience that is asked for.
    pub audience: Option<String>,
    /// The resource that is asked for.
    pub resource: Option<String>,
    /// Who issues the token, where that is not the person's issuer.
    pub authorization_server: Option<String>,
    /// The scopes that are asked for.
    pub scopes: Vec<String>,
}

/// What policy says.
#[derive(Debug, Serialize)]
pub struct PolicyReport {
    /// `allowed` or `denied`.
    pub outcome: &'static str,
    /// The rules and policies that decided.
    pub policies: Vec<String>,
    /// Whether the person has to agree to the call, and by what. `None`: they need not.
    pub confirm: Option<ConfirmReport>,
    /// Why it is a no.
    pub why: Option<String>,
    /// Whether lists do not show the tool to the caller.
    pub hidden: bool,
    /// The rules that allow the tool to others.
    pub near_misses: Vec<NearMissReport>,
    /// The arguments that policy saw.
    pub arguments: BTreeMap<String, Value>,
    /// The address that policy saw the call come from.
    pub client: IpAddr,
}

/// That the person has to agree to a call.
#[derive(Debug, Serialize)]
pub struct ConfirmReport {
    /// Whether on the gateway's page alone.
    pub on_page: bool,
    /// Whether the tool itself wants it.
    pub by_tool: bool,
    /// The rules and policies that want it.
    pub by: Vec<String>,
}

/// A rule that allows the tool, and not to this caller.
#[derive(Debug, Serialize)]
pub struct NearMissReport {
    /// The rule.
    pub rule: String,
    /// Whom it is for, where the person is none of them.
    pub for_others: Option<String>,
    /// Which agents it is for, where the agent is none of them.
    pub through_others: Option<String>,
}

/// What came of obtaining the credential.
#[derive(Debug, Serialize)]
pub struct ExchangeReport {
    /// `not_tried`, `obtained` or `failed`.
    pub outcome: &'static str,
    /// Why, where there is none.
    pub why: Option<String>,
    /// The scopes that were granted, where the authorization server said so.
    pub granted: Option<Vec<String>>,
    /// How long the token lives, where the authorization server said so.
    pub lifetime_seconds: Option<u64>,
}

impl Default for ExchangeReport {
    fn default() -> Self {
        Self::not_tried("a stage before it says no, or cannot tell")
    }
}

impl Report {
    /// Notes why the call is refused. The first reason stands: it is what the agent hears.
    pub fn refuse(&mut self, stage: Stage, refusal: Option<&Refusal>, caller: Option<&Caller>) {
        let (Some(refusal), None) = (refusal, &self.refusal) else { return };
        let answer = refusal.answer(caller);
        self.refusal = Some(RefusalReport {
            stage,
            code: answer.code,
            status: answer.status.as_u16(),
            fault: answer.fault.as_str(),
            detail: ErrorChain(refusal).to_string(),
            remedy: answer.remedy,
        });
        // A server that does not answer says nothing about the call.
        self.verdict = match answer.fault {
            Fault::AuthorizationServer => Verdict::CannotTell,
            Fault::Agent | Fault::User | Fault::Connector | Fault::Gateway => Verdict::Refused,
        };
    }

    /// The report, with what it comes to.
    pub fn judged(mut self, is_caller_known: bool) -> Self {
        if self.refusal.is_none() {
            self.verdict = if is_caller_known { Verdict::Allowed } else { Verdict::CannotTell };
        }
        self
    }
}

impl TokenReport {
    /// The issuer itself was asked, and said yes.
    pub fn vouched_for(&mut self) {
        for check in self.checks.iter_mut().filter(|check| check.outcome == NOT_CHECKED) {
            (check.outcome, check.why) = (PASSED, None);
        }
    }
}

const PASSED: &str = "passed";
const FAILED: &str = "failed";
const NOT_CHECKED: &str = "not_checked";

impl CheckReport {
    /// `without_keys` is why no signature is checked, where none is.
    pub fn of(checked: &Checked, without_keys: &str) -> Self {
        let (outcome, why) = match &checked.outcome {
            Outcome::Passed => (PASSED, None),
            Outcome::Failed(error) => (FAILED, Some(ErrorChain(error).to_string())),
            Outcome::Unchecked(Unchecked::NoKeys) => (NOT_CHECKED, Some(without_keys.to_owned())),
            Outcome::Unchecked(Unchecked::Opaque) => {
                (NOT_CHECKED, Some("its issuer alone knows what it means; --online asks".to_owned()))
            }
            Outcome::Unchecked(Unchecked::SendersToShow) => {
                (NOT_CHECKED, Some("only whoever sends the token can show it".to_owned()))
            }
        };
        Self { check: checked.check.as_str(), outcome, why }
    }
}

/// What has to hold where a check was not made.
pub const fn told_check(check: TokenCheck) -> &'static str {
    match check {
        TokenCheck::Form | TokenCheck::Issuer => "the token is one that its issuer knows",
        TokenCheck::Signature => "the token's signature is good",
        TokenCheck::Type | TokenCheck::Claim(_) => "the token's claims are good",
        TokenCheck::Possession => "the agent proves to hold the key that the token is bound to",
        TokenCheck::AgentsToken => "the agent sends a token of its own, and is the one that may act",
    }
}

impl CallerReport {
    /// What a token says.
    pub fn of(caller: &Caller, now: Now) -> Self {
        let authentication = caller.authentication();
        Self {
            subject: caller.subject().to_string(),
            tenant: caller.tenant().id().map(str::to_owned),
            agent: caller.actor().map(ToString::to_string),
            scopes: scopes(caller.scopes()),
            groups: texts(caller.groups()),
            roles: texts(caller.roles()),
            acr: authentication.acr.as_deref().map(str::to_owned),
            acrs: texts(&authentication.acrs),
            expires_in_seconds: caller.expires_at().saturating_sub(now.unix_seconds()),
        }
    }
}

impl ToolReport {
    /// What is told of a tool that stands in the catalog, by its own name or as one of many.
    pub fn of(tool: &Tool, catalog: &Catalog) -> Self {
        let mut rows = catalog.tools().filter(|(connector, row)| {
            connector.name == tool.connector.as_str() && row.primitive == tool.primitive.as_str()
        });
        let row = rows.find(|(_, row)| row.name == tool.name.as_str() || row.name == "*");
        Self {
            connector: tool.connector.to_string(),
            name: tool.name.to_string(),
            primitive: tool.primitive.as_str(),
            matches: row.map(|(_, row)| row.matches.clone()),
            limits: row.map(|(_, row)| row.limits.clone()).unwrap_or_default(),
        }
    }

    /// As calls are named.
    pub fn call_name(&self) -> String {
        let Self { connector, name, .. } = self;
        match self.primitive == Primitive::Tool.as_str() {
            true => format!("{connector}/{name}"),
            false => format!("{connector}/{}s/{name}", self.primitive),
        }
    }
}

impl IdentityReport {
    /// What is declared for a tool.
    pub fn of(tool: &Tool) -> Self {
        let target = &tool.target;
        Self {
            mode: tool.identity.as_str(),
            audience: target.audience.as_ref().map(ToString::to_string),
            resource: target.resource.as_ref().map(ToString::to_string),
            authorization_server: target.authorization_server.as_ref().map(ToString::to_string),
            scopes: scopes(&target.scopes),
        }
    }
}

impl PolicyReport {
    /// What policy says of a call with these arguments, from this address.
    pub fn seeing(arguments: &Arguments, client: IpAddr) -> Self {
        let arguments = arguments.iter().map(|(name, argument)| (name.to_string(), json(argument)));
        Self {
            outcome: "denied",
            policies: Vec::new(),
            confirm: None,
            why: None,
            hidden: false,
            near_misses: Vec::new(),
            arguments: arguments.collect(),
            client,
        }
    }

    /// It is a yes of these.
    pub fn allowed_by(&mut self, policies: &[RuleName]) {
        self.outcome = "allowed";
        self.policies = policies.iter().map(ToString::to_string).collect();
    }

    /// It is a no.
    pub fn denied(&mut self, refusal: &Refusal, near_misses: &[NearMiss<'_>]) {
        // Policy says no in no other way.
        let (Refusal::Denied(denial) | Refusal::Hidden(denial)) = refusal else { return };
        self.hidden = matches!(refusal, Refusal::Hidden(_));
        self.why = Some(denial.to_string());
        self.policies = denial.policies().iter().map(ToString::to_string).collect();
        self.near_misses = near_misses.iter().map(NearMissReport::of).collect();
    }
}

impl ConfirmReport {
    /// What is asked of the person, because of the tool and of these.
    pub fn of(confirm: Confirm, tool: &Tool, by: &[(RuleName, Confirm)]) -> Option<Self> {
        (confirm != Confirm::No).then(|| Self {
            on_page: confirm == Confirm::OnPage,
            by_tool: tool.primitive == Primitive::Tool && tool.confirm != Confirm::No,
            by: by.iter().map(|(name, _)| name.to_string()).collect(),
        })
    }

    /// What has to hold for the call to run.
    pub fn condition(&self) -> String {
        let on_page = if self.on_page { " on the gateway's page" } else { "" };
        let tool = self.by_tool.then(|| "the tool's own `confirm`".to_owned());
        let by: Vec<_> = tool.into_iter().chain(self.by.iter().map(|name| format!("\"{name}\""))).collect();
        format!("the person agrees to this call{on_page}, once they have seen it (by {})", by.join(", "))
    }
}

impl NearMissReport {
    fn of(missed: &NearMiss<'_>) -> Self {
        let NearMiss { rule, is_for_others, is_through_others } = missed;
        let people = rule.subjects.as_ref().map(|subjects| {
            let ids = subjects.ids.iter().map(|id| format!("person {id}"));
            let groups = subjects.groups.iter().map(|group| format!("group {group}"));
            let roles = subjects.roles.iter().map(|role| format!("role {role}"));
            ids.chain(groups).chain(roles).collect::<Vec<_>>().join(", ")
        });
        let agents = rule
            .agents
            .as_ref()
            .map(|agents| agents.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
        Self {
            rule: rule.name.to_string(),
            for_others: people.filter(|_| *is_for_others),
            through_others: agents.filter(|_| *is_through_others),
        }
    }
}

impl ExchangeReport {
    /// It was not tried.
    pub fn not_tried(why: &str) -> Self {
        Self { outcome: "not_tried", why: Some(why.to_owned()), granted: None, lifetime_seconds: None }
    }

    /// There was a credential.
    pub fn obtained(obtained: &Obtained) -> Self {
        Self {
            outcome: "obtained",
            why: None,
            granted: obtained.granted.as_ref().map(scopes),
            lifetime_seconds: obtained.lifetime.map(|lifetime| lifetime.as_secs()),
        }
    }

    /// There was none.
    pub fn failed(refusal: &Refusal) -> Self {
        Self { outcome: "failed", ..Self::not_tried(&ErrorChain(refusal).to_string()) }
    }
}

fn json(argument: &Argument) -> Value {
    match argument {
        Argument::String(text) => text.as_str().into(),
        Argument::Integer(number) => (*number).into(),
        Argument::Boolean(truth) => (*truth).into(),
        Argument::Strings(texts) => texts.as_slice().into(),
    }
}

fn scopes(scopes: &Scopes) -> Vec<String> {
    scopes.iter().map(str::to_owned).collect()
}

fn texts(texts: &[Arc<str>]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}
