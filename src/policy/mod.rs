//! Who may call what: a caller and a tool become a [`Permit`] or a [`Denial`].
//!
//! Pure: no HTTP, no clock, no I/O. Silence means no.

use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::Now;
use crate::identity::{Caller, RuleName, Scopes};
use crate::tool::{Arguments, Confirm, IdentityMode, Primitive, RequiredSignIn, Target, Tool};

#[cfg(feature = "cedar")]
pub mod cedar;
mod near_misses;
mod rule_index;
mod rules;

pub use near_misses::NearMiss;
pub use rules::{Rule, Subjects, ToolPattern, ToolPatternError, glob};

use rule_index::Rules;
use rules::Kind;

/// What a site has decided. Deny by default: what nothing allows is denied, and a no weighs more than any yes.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    allow: Rules,
    deny: Rules,
    confirm: Rules,
    #[cfg(feature = "cedar")]
    cedar: Option<cedar::CedarPolicies>,
}

/// Proof that policy let this caller use this tool.
#[derive(Clone, Debug)]
pub struct Permit {
    caller: Arc<Caller>,
    tool: Arc<Tool>,
    policies: Arc<[RuleName]>,
    confirm: Confirm,
}

/// What a decision looks at beside who calls what.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The arguments of the call that its tool declares.
    pub arguments: &'a Arguments,
    /// Where the call comes from.
    pub client: IpAddr,
    /// When.
    pub now: Now,
}

/// The no of a policy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Denial {
    /// There is no person behind the call.
    #[error("an agent without a person may see lists, where a connector lets it, and nothing else")]
    AgentAlone,
    /// The tool is for the people of other issuers.
    #[error("the tool is not for callers from this issuer")]
    IssuerNotAccepted,
    /// The subject token lacks scopes that the tool needs.
    #[error("the tool needs scopes that the token lacks: {}", missing.canonical())]
    ScopesMissing {
        /// All that the tool needs.
        required: Scopes,
        /// Those that are lacking.
        missing: Scopes,
    },
    /// No rule covers the call.
    #[error("no rule allows it")]
    NoRule,
    /// Rules say no.
    #[error("a rule forbids it")]
    Forbidden {
        /// Which ones. They are for the gateway's operators, not for the agent.
        policies: Arc<[RuleName]>,
    },
    /// A policy could not be evaluated. Nobody can tell what it would have said, so it is a no.
    #[error("a policy could not be evaluated: {failure}")]
    PolicyError {
        /// Which ones. They are for the gateway's operators, not for the agent.
        policies: Arc<[RuleName]>,
        /// What went wrong.
        failure: PolicyFailure,
    },
    /// The person has not passed every authentication context that the tool demands.
    #[error("the tool demands the authentication contexts {}", missing.join(", "))]
    ContextsMissing {
        /// Those that are lacking.
        missing: Vec<Arc<str>>,
    },
    /// The person has signed in too weakly, too long ago, or the token does not say how.
    #[error("the tool demands another sign-in{}", .0.why())]
    SignIn(RequiredSignIn),
}

/// Why a policy could not be evaluated. It never says with which values: they may be arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PolicyFailure {
    /// A sum or product is beyond 64 bits.
    #[error("a number became too large")]
    Overflow,
    /// It is nested too deeply.
    #[error("it is nested too deeply")]
    TooDeep,
    /// An operation has no result for these values.
    #[error("it has no result for this call")]
    Undefined,
    /// The call has something that policies have no words for, such as a time after the year 9999.
    #[error("the call cannot be put into its words")]
    Inexpressible,
}

impl Policy {
    /// A policy that allows what one of these rules covers.
    pub fn new(allow: Vec<Rule>) -> Self {
        Self { allow: Rules::new(allow), ..Self::default() }
    }

    /// The same policy, without what one of these rules covers.
    pub fn denying(self, deny: Vec<Rule>) -> Self {
        Self { deny: Rules::new(deny), ..self }
    }

    /// The same policy, where the person has to agree to each call that one of these rules covers.
    pub fn confirming(self, confirm: Vec<Rule>) -> Self {
        Self { confirm: Rules::new(confirm), ..self }
    }

    /// The same policy, with these policies beside the rules.
    #[cfg(feature = "cedar")]
    pub fn with_cedar(self, policies: cedar::CedarPolicies) -> Self {
        Self { cedar: Some(policies), ..self }
    }

    /// Decides whether `caller` may use `tool`: first whom the tool is for, then the rules, and last what only another
    /// sign-in can mend.
    ///
    /// # Errors
    ///
    /// A [`Denial`] when the tool is not for this caller, something forbids the call, nothing allows it, or a policy could not
    /// be evaluated.
    pub fn decide(
        &self,
        caller: Arc<Caller>,
        tool: Arc<Tool>,
        circumstances: Circumstances<'_>,
    ) -> Result<Permit, Denial> {
        if caller.is_agent_alone() {
            return Err(Denial::AgentAlone);
        }
        if !tool.issuers.contains(caller.issuer_name()) {
            return Err(Denial::IssuerNotAccepted);
        }
        if !caller.scopes().contains_all(&tool.required_scopes) {
            let missing = tool.required_scopes.missing_from(caller.scopes());
            return Err(Denial::ScopesMissing { required: tool.required_scopes.clone(), missing });
        }
        let Circumstances { arguments, client, now } = circumstances;
        let policies = self.judge(&caller, &tool, Some(arguments), client, now)?;
        check_sign_in(&tool.required_sign_in, &caller, now)?;
        let confirm = self.confirm(&caller, &tool, &policies);
        Ok(Permit { caller, tool, policies, confirm })
    }

    /// Decides whether an agent without a person may ask for lists by `method`, with the application's identity and no other.
    ///
    /// # Errors
    ///
    /// A [`Denial`] when that is not what is asked for, or the connector is for agents of other issuers.
    pub fn decide_list(&self, agent: Arc<Caller>, method: Arc<Tool>) -> Result<Permit, Denial> {
        let lists_alone = agent.is_agent_alone()
            && method.identity == IdentityMode::AppOnly
            && method.primitive == Primitive::Method;
        if !lists_alone {
            return Err(Denial::AgentAlone);
        }
        if !method.issuers.contains(agent.issuer_name()) {
            return Err(Denial::IssuerNotAccepted);
        }
        Ok(Permit { caller: agent, tool: method, policies: Arc::default(), confirm: Confirm::No })
    }

    /// Whether `caller` may call `tool` with some arguments or other: whether a list of tools shows it. `client` and
    /// `now` are of the call that asks for the list.
    pub fn shows(&self, caller: &Caller, tool: &Tool, client: IpAddr, now: Now) -> bool {
        if caller.is_agent_alone() {
            return self.shows_to_agent_alone(caller, tool);
        }
        // A tool that declares no arguments shows none to policies, so all is known already.
        let no_arguments = Arguments::new();
        let arguments = tool.arguments.is_empty().then_some(&no_arguments);
        tool.issuers.contains(caller.issuer_name())
            && self.judge(caller, tool, arguments, client, now).is_ok()
    }

    /// Whether somebody or other may call `tool` through this agent.
    fn shows_to_agent_alone(&self, agent: &Caller, tool: &Tool) -> bool {
        let is_through_it = |rule: &&Rule| rule.is_about(tool) && rule.is_for_agent(agent);
        let is_denied_to_all = |rule: &Rule| rule.subjects.is_none();
        let allowed = self.allow.all().iter().any(|rule| is_through_it(&rule));
        #[cfg(feature = "cedar")]
        let allowed =
            allowed || self.cedar.as_ref().is_some_and(|cedar| !cedar.permits_about(tool).is_empty());
        tool.issuers.contains(agent.issuer_name())
            && allowed
            && !self.deny.all().iter().filter(is_through_it).any(is_denied_to_all)
    }

    /// The rules that allow, in the order in which they are asked.
    pub fn rules(&self) -> &[Rule] {
        self.allow.all()
    }

    /// The rules that deny.
    pub fn denials(&self) -> &[Rule] {
        self.deny.all()
    }

    /// The rules by which the person has to agree.
    pub fn confirmations(&self) -> &[Rule] {
        self.confirm.all()
    }

    /// Whether the person has to agree to a call that these said yes to: because of the tool, of a rule that covers it, or of
    /// one of those. What the protocol needs besides does nothing, and nobody is asked about it.
    fn confirm(&self, caller: &Caller, tool: &Tool, policies: &[RuleName]) -> Confirm {
        let of_tool = match tool.primitive {
            Primitive::Tool => tool.confirm,
            Primitive::Prompt | Primitive::Resource => Confirm::No,
            Primitive::Method => return Confirm::No,
        };
        let by_rules = self.confirm.every(caller, tool).map(Rule::confirm);
        of_tool.max(by_rules.max().unwrap_or_default()).max(self.confirm_by_cedar(policies))
    }

    /// The rules and policies by which the person has to agree to a call that these said yes to, each with what it wants. The
    /// tool may want it as well.
    pub fn confirmed_by(
        &self,
        caller: &Caller,
        tool: &Tool,
        policies: &[RuleName],
    ) -> Vec<(RuleName, Confirm)> {
        if tool.primitive == Primitive::Method {
            return Vec::new();
        }
        let rules = self.confirm.every(caller, tool).map(|rule| (rule.name.clone(), rule.confirm()));
        let policies = policies.iter().map(|name| {
            let wanted = self.confirm_by_cedar(std::slice::from_ref(name));
            (name.clone(), wanted)
        });
        let mut wanting: Vec<_> =
            rules.chain(policies).filter(|(_, confirm)| *confirm != Confirm::No).collect();
        wanting.sort();
        wanting.dedup();
        wanting
    }

    #[cfg(feature = "cedar")]
    fn confirm_by_cedar(&self, policies: &[RuleName]) -> Confirm {
        self.cedar.as_ref().map(|cedar| cedar.confirm(policies)).unwrap_or_default()
    }

    #[cfg(not(feature = "cedar"))]
    fn confirm_by_cedar(&self, _policies: &[RuleName]) -> Confirm {
        Confirm::No
    }

    /// The Cedar policies.
    #[cfg(feature = "cedar")]
    pub fn cedar(&self) -> Option<&cedar::CedarPolicies> {
        self.cedar.as_ref()
    }

    /// How many Cedar policies there are, where there are any to speak of.
    pub fn policy_count(&self) -> Option<usize> {
        #[cfg(feature = "cedar")]
        let count = self.cedar.as_ref().map(cedar::CedarPolicies::count);
        #[cfg(not(feature = "cedar"))]
        let count = None;
        count
    }

    /// The rules and policies that allow this tool to somebody, as far as their heads tell.
    pub fn permits_about(&self, tool: &Tool) -> Vec<&RuleName> {
        let rules = self.allow.all().iter().filter(|rule| rule.is_about(tool)).map(|rule| &rule.name);
        #[cfg(feature = "cedar")]
        let rules = rules.chain(self.cedar.iter().flat_map(|cedar| cedar.permits_about(tool)));
        rules.collect()
    }

    /// What allows this call. Silence means no. Without arguments: what may allow it with some.
    fn judge(
        &self,
        caller: &Caller,
        tool: &Tool,
        arguments: Option<&Arguments>,
        client: IpAddr,
        now: Now,
    ) -> Result<Arc<[RuleName]>, Denial> {
        let Some(kind) = Kind::of(tool.primitive) else {
            return self.judge_method(caller, tool, client, now);
        };
        let deny = self.deny.first(caller, tool).map(|rule| rule.name.clone());
        if let Some(deny) = deny {
            return Voices { forbids: vec![deny], ..Voices::default() }.verdict();
        }
        let allow = self.allow.first(caller, tool).map(|rule| rule.name.clone());
        let rules = Voices { permits: allow.into_iter().collect(), ..Voices::default() };
        rules.and(self.cedar_voices(Call { caller, tool, kind, arguments, client, now })).verdict()
    }

    /// What allows a method of the protocol. It is for whoever may use something on the connector, so it takes a yes to
    /// something of a kind of which not everything is forbidden.
    fn judge_method(
        &self,
        caller: &Caller,
        method: &Tool,
        client: IpAddr,
        now: Now,
    ) -> Result<Arc<[RuleName]>, Denial> {
        let connector = method.connector.as_str();
        let mut denial = Denial::NoRule;
        for kind in Kind::ALL {
            let deny = self.deny.first_naming_all(caller, kind, connector).map(|rule| rule.name.clone());
            let allow = self.allow.first_naming_some(caller, kind, connector).map(|rule| rule.name.clone());
            let rules = Voices {
                permits: allow.into_iter().collect(),
                forbids: deny.into_iter().collect(),
                ..Voices::default()
            };
            let call = Call { caller, tool: method, kind, arguments: None, client, now };
            match rules.and(self.cedar_voices_about_connector(call)).verdict() {
                Ok(policies) => return Ok(policies),
                Err(weaker) if weaker.weight() <= denial.weight() => {}
                Err(stronger) => denial = stronger,
            }
        }
        Err(denial)
    }

    #[cfg(feature = "cedar")]
    fn cedar_voices(&self, call: Call<'_>) -> Voices {
        self.cedar.as_ref().map(|cedar| cedar.voices(&call)).unwrap_or_default()
    }

    #[cfg(feature = "cedar")]
    fn cedar_voices_about_connector(&self, call: Call<'_>) -> Voices {
        self.cedar.as_ref().map(|cedar| cedar.voices_about_connector(&call)).unwrap_or_default()
    }

    #[cfg(not(feature = "cedar"))]
    fn cedar_voices(&self, _call: Call<'_>) -> Voices {
        Voices::default()
    }

    #[cfg(not(feature = "cedar"))]
    fn cedar_voices_about_connector(&self, _call: Call<'_>) -> Voices {
        Voices::default()
    }
}

/// What is being decided.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "cedar"), expect(dead_code, reason = "rules look at less than policies do"))]
struct Call<'a> {
    caller: &'a Caller,
    tool: &'a Tool,
    kind: Kind,
    /// `None`: not known yet.
    arguments: Option<&'a Arguments>,
    client: IpAddr,
    now: Now,
}

/// What rules and policies say about a call, each for itself.
#[derive(Default)]
struct Voices {
    permits: Vec<RuleName>,
    forbids: Vec<RuleName>,
    /// Those that could not be evaluated.
    failed: Vec<RuleName>,
    /// Why something could not be evaluated.
    failure: Option<PolicyFailure>,
}

impl Voices {
    fn and(mut self, others: Self) -> Self {
        self.permits.extend(others.permits);
        self.forbids.extend(others.forbids);
        self.failed.extend(others.failed);
        self.failure = self.failure.or(others.failure);
        self
    }

    /// A failure weighs more than any word, and a no more than any yes.
    fn verdict(self) -> Result<Arc<[RuleName]>, Denial> {
        if let Some(failure) = self.failure {
            return Err(Denial::PolicyError { policies: self.failed.into(), failure });
        }
        if !self.forbids.is_empty() {
            return Err(Denial::Forbidden { policies: self.forbids.into() });
        }
        if self.permits.is_empty() {
            return Err(Denial::NoRule);
        }
        Ok(self.permits.into())
    }
}

impl Denial {
    /// The rules and policies that said no, or failed to say anything.
    pub fn policies(&self) -> Arc<[RuleName]> {
        match self {
            Self::Forbidden { policies } | Self::PolicyError { policies, .. } => Arc::clone(policies),
            Self::AgentAlone
            | Self::IssuerNotAccepted
            | Self::ScopesMissing { .. }
            | Self::NoRule
            | Self::ContextsMissing { .. }
            | Self::SignIn(_) => Arc::default(),
        }
    }

    /// Of several reasons, the one that weighs most is told.
    const fn weight(&self) -> u8 {
        match self {
            Self::AgentAlone
            | Self::IssuerNotAccepted
            | Self::ScopesMissing { .. }
            | Self::NoRule
            | Self::ContextsMissing { .. }
            | Self::SignIn(_) => 0,
            Self::Forbidden { .. } => 1,
            Self::PolicyError { .. } => 2,
        }
    }
}

fn check_sign_in(required: &RequiredSignIn, caller: &Caller, now: Now) -> Result<(), Denial> {
    let RequiredSignIn { acrs, acr, max_age } = required;
    let passed = caller.authentication();
    let missing: Vec<_> = acrs.iter().filter(|acr| !passed.acrs.contains(acr)).cloned().collect();
    if !missing.is_empty() {
        return Err(Denial::ContextsMissing { missing });
    }
    let strong_enough = acr.is_empty() || passed.acr.as_ref().is_some_and(|passed| acr.contains(passed));
    // A token that does not say when its person signed in cannot tell, and cannot tell means no.
    let recent_enough = max_age.is_none_or(|max_age| {
        caller
            .authenticated_at()
            .is_some_and(|at| now.latest_unix_seconds().saturating_sub(at) <= max_age.as_secs())
    });
    match strong_enough && recent_enough {
        true => Ok(()),
        false => Err(Denial::SignIn(required.clone())),
    }
}

impl RequiredSignIn {
    /// For people: what is demanded.
    fn why(&self) -> String {
        let acr = match self.acr.as_slice() {
            [] => String::new(),
            acr => format!(", of class {}", acr.join(" or ")),
        };
        let age = self.max_age.map(|age| format!(", at most {} seconds ago", age.as_secs()));
        format!("{acr}{}", age.unwrap_or_default())
    }
}

impl Permit {
    /// Who may.
    pub fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    /// What they may use.
    pub fn tool(&self) -> &Arc<Tool> {
        &self.tool
    }

    /// What the credential has to be good for.
    pub fn target(&self) -> &Target {
        &self.tool.target
    }

    /// Whose identity the connector will see.
    pub fn identity(&self) -> IdentityMode {
        self.tool.identity
    }

    /// The rules and policies that said yes.
    pub fn policies(&self) -> &Arc<[RuleName]> {
        &self.policies
    }

    /// Whether the person has to agree to this call.
    pub fn confirm(&self) -> Confirm {
        self.confirm
    }

    /// The same, at least as strict about that as `other`, which the call is about as well.
    pub fn as_strict_as(self, other: Confirm) -> Self {
        Self { confirm: self.confirm.max(other), ..self }
    }
}

#[cfg(test)]
mod tests;
