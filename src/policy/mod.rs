//! Who may call what: a caller and a tool become a [`Permit`] or a [`Denial`].
//!
//! Pure: no HTTP, no clock, no I/O. Silence means no.

use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::Now;
use crate::identity::{Caller, RuleName, Scopes};
use crate::tool::{Arguments, IdentityMode, Primitive, RequiredSignIn, Target, Tool};

mod rules;

pub use rules::{Rule, Subjects, ToolPattern, ToolPatternError};

/// The rules of a site. Deny by default: what no rule allows is denied.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    allow: Vec<Rule>,
}

/// Proof that policy let this caller use this tool.
#[derive(Clone, Debug)]
pub struct Permit {
    caller: Arc<Caller>,
    tool: Arc<Tool>,
    policies: Arc<[RuleName]>,
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

impl Policy {
    /// A policy of these rules.
    pub fn new(allow: Vec<Rule>) -> Self {
        Self { allow }
    }

    /// Decides whether `caller` may use `tool`: first whom the tool is for, then the rules, and last what only another
    /// sign-in can mend.
    ///
    /// # Errors
    ///
    /// A [`Denial`] when the tool is not for this caller, or no rule covers the call.
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
        let rule = self.allow.iter().find(|rule| rule.covers(&caller, &tool)).ok_or(Denial::NoRule)?;
        check_sign_in(&tool.required_sign_in, &caller, circumstances.now)?;
        let policies = [rule.name.clone()].into();
        Ok(Permit { caller, tool, policies })
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
        Ok(Permit { caller: agent, tool: method, policies: Arc::default() })
    }

    /// Whether `caller` may call `tool` with some arguments or other: whether a list of tools shows it. `client` and
    /// `now` are of the call that asks for the list.
    pub fn shows(&self, caller: &Caller, tool: &Tool, _client: IpAddr, _now: Now) -> bool {
        tool.issuers.contains(caller.issuer_name()) && self.allow.iter().any(|rule| rule.covers(caller, tool))
    }

    /// The rules, in the order in which they are asked.
    pub fn rules(&self) -> &[Rule] {
        &self.allow
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
        caller.authenticated_at().is_some_and(|at| now.unix_seconds().saturating_sub(at) <= max_age.as_secs())
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Authentication;
    use crate::identity::{Actor, IssuerName, SecretToken, Subject, VerifiedClaims};
    use crate::tool::ANY_TOOL;
    use std::time::{Duration, Instant};

    const NOW: u64 = 1_800_000_000;

    fn now() -> Now {
        Now { wall: Duration::from_secs(NOW), monotonic: Instant::now() }
    }

    fn caller(subject: &str, actor: Option<&str>, groups: &[&str], roles: &[&str]) -> Arc<Caller> {
        let claims = VerifiedClaims {
            actor: actor.map(Actor::new),
            groups: groups.iter().map(|&group| group.into()).collect(),
            roles: roles.iter().map(|&role| role.into()).collect(),
            ..VerifiedClaims::of(subject)
        };
        Arc::new(Caller::verified(claims, SecretToken::new("token")))
    }

    fn tool(connector: &str, name: &str) -> Arc<Tool> {
        Arc::new(Tool::of(connector, name))
    }

    static NO_ARGUMENTS: Arguments = Arguments::new();

    fn circumstances() -> Circumstances<'static> {
        Circumstances { arguments: &NO_ARGUMENTS, client: [192, 0, 2, 1].into(), now: now() }
    }

    fn rule(subjects: Option<Subjects>, agents: Option<&[&str]>, tools: &[&str]) -> Rule {
        Rule {
            subjects,
            agents: agents.map(|agents| agents.iter().copied().map(Actor::new).collect()),
            tools: tools.iter().map(|tool| tool.parse().expect("a pattern of the test")).collect(),
            ..Rule::named(RuleName::new("allow[0]"))
        }
    }

    #[track_caller]
    fn check(rule: Rule, caller: Arc<Caller>, tool: Arc<Tool>, allowed: bool) {
        assert_eq!(Policy::new(vec![rule]).decide(caller, tool, circumstances()).is_ok(), allowed);
    }

    #[test]
    fn nothing_listed_means_nothing_allowed() {
        let denial =
            Policy::default().decide(caller("ada", None, &[], &[]), tool("mail", "read"), circumstances());
        assert_eq!(denial.expect_err("no rule"), Denial::NoRule);
        check(rule(None, None, &[]), caller("ada", None, &[], &[]), tool("mail", "read"), false);
        let nobody = Some(Subjects::default());
        check(
            rule(nobody, None, &["*/*"]),
            caller("ada", None, &["staff"], &[]),
            tool("mail", "read"),
            false,
        );
    }

    #[test]
    fn a_rule_covers_people_by_id_group_or_role() {
        let subjects = || {
            Some(Subjects {
                ids: vec![Subject::new("ada")],
                groups: vec!["staff".into()],
                roles: vec!["Mail.User".into()],
            })
        };
        let mail = || tool("mail", "read");
        check(rule(subjects(), None, &["mail/*"]), caller("ada", None, &[], &[]), mail(), true);
        check(rule(subjects(), None, &["mail/*"]), caller("bob", None, &["staff"], &[]), mail(), true);
        check(rule(subjects(), None, &["mail/*"]), caller("bob", None, &[], &["Mail.User"]), mail(), true);
        check(rule(subjects(), None, &["mail/*"]), caller("bob", None, &["Staff"], &[]), mail(), false);
        check(rule(subjects(), None, &["mail/*"]), caller("staff", None, &[], &["staff"]), mail(), false);
    }

    #[test]
    fn a_rule_for_agents_does_not_cover_an_unnamed_agent() {
        let agents: Option<&[&str]> = Some(&["planner"]);
        check(
            rule(None, agents, &["*/*"]),
            caller("ada", Some("planner"), &[], &[]),
            tool("mail", "read"),
            true,
        );
        check(
            rule(None, agents, &["*/*"]),
            caller("ada", Some("other"), &[], &[]),
            tool("mail", "read"),
            false,
        );
        check(rule(None, agents, &["*/*"]), caller("ada", None, &[], &[]), tool("mail", "read"), false);
    }

    #[test]
    fn a_tool_is_for_its_own_issuers_and_scopes_whatever_the_rules_say() {
        let policy = Policy::new(vec![rule(None, None, &["*/*"])]);
        let strict = |issuer: &str, scopes: &str| {
            let tool =
                Tool { issuers: [IssuerName::new(issuer)].into(), ..Tool::clone(&tool("mail", "read")) };
            Arc::new(Tool { required_scopes: Scopes::parse(scopes), ..tool })
        };
        let decide = |tool| policy.decide(caller("ada", None, &[], &[]), tool, circumstances()).map(|_| ());
        assert_eq!(decide(strict("contoso", "")), Ok(()));
        assert_eq!(decide(strict("fabrikam", "")), Err(Denial::IssuerNotAccepted));
        let (required, missing) = (Scopes::parse("a b"), Scopes::parse("a b"));
        assert_eq!(decide(strict("contoso", "a b")), Err(Denial::ScopesMissing { required, missing }));
    }

    #[test]
    fn a_tool_may_demand_how_the_person_signed_in() {
        let policy = Policy::new(vec![rule(None, None, &["*/*"])]);
        let text = |texts: &[&str]| texts.iter().map(|text| Arc::from(*text)).collect::<Vec<Arc<str>>>();
        let decide = |required: &RequiredSignIn, acr: Option<&str>, acrs: &[&str], at: Option<u64>| {
            let claims = VerifiedClaims {
                authentication: Arc::new(Authentication {
                    acr: acr.map(Into::into),
                    acrs: text(acrs),
                    amr: Vec::new(),
                }),
                authenticated_at: at,
                ..VerifiedClaims::of("ada")
            };
            let caller = Arc::new(Caller::verified(claims, SecretToken::new("token")));
            let tool = Tool { required_sign_in: required.clone(), ..Tool::clone(&tool("mail", "read")) };
            policy.decide(caller, Arc::new(tool), circumstances()).map(|_| ())
        };
        let contexts = RequiredSignIn { acrs: text(&["c1", "c2"]), ..RequiredSignIn::default() };
        assert_eq!(decide(&contexts, None, &["c2", "c1"], None), Ok(()));
        assert_eq!(
            decide(&contexts, None, &["c2"], None),
            Err(Denial::ContextsMissing { missing: text(&["c1"]) })
        );
        let class = RequiredSignIn { acr: text(&["high", "higher"]), ..RequiredSignIn::default() };
        assert_eq!(decide(&class, Some("higher"), &[], None), Ok(()));
        for acr in [None, Some("low"), Some("")] {
            assert_eq!(decide(&class, acr, &["high"], None), Err(Denial::SignIn(class.clone())));
        }
        let recent = RequiredSignIn { max_age: Some(Duration::from_secs(300)), ..RequiredSignIn::default() };
        assert_eq!(decide(&recent, None, &[], Some(NOW - 300)), Ok(()));
        for at in [None, Some(NOW - 301), Some(0)] {
            assert_eq!(decide(&recent, None, &[], at), Err(Denial::SignIn(recent.clone())), "{at:?}");
        }
        // Who may not call at all is not sent to sign in again for nothing.
        let nobody = Policy::default();
        let tool = Tool { required_sign_in: contexts, ..Tool::clone(&tool("mail", "read")) };
        let denial = nobody.decide(caller("ada", None, &[], &[]), Arc::new(tool), circumstances());
        assert_eq!(denial.expect_err("no rule"), Denial::NoRule);
    }

    #[track_caller]
    fn check_pattern(pattern: &str, connector: &str, name: &str, matches: bool) {
        let pattern: ToolPattern = pattern.parse().expect("a pattern of the test");
        assert_eq!(pattern.matches(&tool(connector, name)), matches, "{pattern:?} on {connector}/{name}");
    }

    #[test]
    fn a_star_stays_within_its_part() {
        check_pattern("mail/*", "mail", "send", true);
        check_pattern("mail/*", "mail2", "send", false);
        check_pattern("mail/list_*", "mail", "list_messages", true);
        check_pattern("mail/list_*", "mail", "list", false);
        check_pattern("*/read*ed*", "crm", "read_needed_items", true);
        check_pattern("*/a*a", "crm", "a", false);
        check_pattern("*/a*b*c", "crm", "a-b-b-c", true);
        check_pattern("mail/any", "mail", ANY_TOOL, true);
        check_pattern("Mail/*", "mail", "send", false);
    }

    #[test]
    fn a_pattern_has_two_parts() {
        for bad in ["mail", "/x", "mail/", "mail/a/b", "", "/"] {
            assert_eq!(bad.parse::<ToolPattern>(), Err(ToolPatternError), "{bad:?}");
        }
    }
}
