//! Who may call what: a caller and a tool become a [`Permit`] or a [`Denial`].
//!
//! Pure: no HTTP, no clock, no I/O. Silence means no.

use std::sync::Arc;

use crate::clock::Now;
use crate::identity::{Actor, Caller, RuleName, Scopes, Subject};
use crate::tool::{IdentityMode, RequiredSignIn, Target, Tool};

/// The rules of a site. Deny by default: what no rule allows is denied.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    allow: Vec<Rule>,
}

/// One line of policy. It covers a call when each of its parts does.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it is called in records.
    pub name: RuleName,
    /// Which people. `None`: any person who authenticated.
    pub subjects: Option<Subjects>,
    /// Which agents. `None`: any that the issuer lets in.
    pub agents: Option<Vec<Actor>>,
    /// Which tools. Empty: none.
    pub tools: Vec<ToolPattern>,
}

/// People, named one by one, by group or by role. One match is enough; nothing listed matches nobody.
#[derive(Clone, Debug, Default)]
pub struct Subjects {
    /// Subject identifiers.
    pub ids: Vec<Subject>,
    /// Groups, as the token names them.
    pub groups: Vec<Arc<str>>,
    /// Roles, as the token names them.
    pub roles: Vec<Arc<str>>,
}

/// `connector/tool`, where `*` stands for any run of characters within its part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToolPattern {
    connector: Arc<str>,
    tool: Arc<str>,
}

/// Why a pattern cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a tool pattern is `connector/tool`, where `*` stands for any run of characters within its part")]
pub struct ToolPatternError;

/// Proof that policy let this caller use this tool.
#[derive(Clone, Debug)]
pub struct Permit {
    caller: Arc<Caller>,
    tool: Arc<Tool>,
    rule: RuleName,
}

/// The no of a policy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Denial {
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
    pub fn decide(&self, caller: Arc<Caller>, tool: Arc<Tool>, now: Now) -> Result<Permit, Denial> {
        if !tool.issuers.contains(caller.issuer_name()) {
            return Err(Denial::IssuerNotAccepted);
        }
        if !caller.scopes().contains_all(&tool.required_scopes) {
            let missing = tool.required_scopes.missing_from(caller.scopes());
            return Err(Denial::ScopesMissing { required: tool.required_scopes.clone(), missing });
        }
        let rule = self.allow.iter().find(|rule| rule.covers(&caller, &tool)).ok_or(Denial::NoRule)?;
        check_sign_in(&tool.required_sign_in, &caller, now)?;
        Ok(Permit { caller, tool, rule: rule.name.clone() })
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

    /// The rule that said yes.
    pub fn rule(&self) -> &RuleName {
        &self.rule
    }
}

impl Rule {
    fn covers(&self, caller: &Caller, tool: &Tool) -> bool {
        self.tools.iter().any(|pattern| pattern.matches(tool))
            && self.subjects.as_ref().is_none_or(|subjects| subjects.include(caller))
            && self.agents.as_ref().is_none_or(|agents| includes_actor(agents, caller.actor()))
    }
}

/// An agent that the token does not name is on no list.
fn includes_actor(agents: &[Actor], actor: Option<&Actor>) -> bool {
    actor.is_some_and(|actor| agents.contains(actor))
}

impl Subjects {
    fn include(&self, caller: &Caller) -> bool {
        self.ids.contains(caller.subject())
            || caller.groups().iter().any(|group| self.groups.contains(group))
            || caller.roles().iter().any(|role| self.roles.contains(role))
    }
}

impl ToolPattern {
    /// Whether this pattern covers `tool`.
    pub fn matches(&self, tool: &Tool) -> bool {
        self.matches_names(tool.connector.as_str(), tool.name.as_str())
    }

    /// Whether this pattern covers the tool of these names.
    pub fn matches_names(&self, connector: &str, tool: &str) -> bool {
        glob(&self.connector, connector) && glob(&self.tool, tool)
    }
}

impl std::str::FromStr for ToolPattern {
    type Err = ToolPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((connector, tool)) if !connector.is_empty() && !tool.is_empty() && !tool.contains('/') => {
                Ok(Self { connector: connector.into(), tool: tool.into() })
            }
            _ => Err(ToolPatternError),
        }
    }
}

/// Whether `text` fits `pattern`, where `*` stands for any run of characters.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut pieces = rest.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return text.ends_with(piece);
        }
        // The leftmost fit leaves the most room for the pieces that follow.
        let Some(at) = text.find(piece) else { return false };
        text = &text[at + piece.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Authentication;
    use crate::identity::{IssuerName, SecretToken, VerifiedClaims};
    use crate::tool::{ANY_TOOL, ConnectorName, ToolName};
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
        Arc::new(Tool {
            connector: ConnectorName::new(connector),
            name: ToolName::new(name),
            identity: IdentityMode::OnBehalfOf,
            target: Target::default(),
            issuers: [IssuerName::new("contoso")].into(),
            required_scopes: Scopes::default(),
            required_sign_in: RequiredSignIn::default(),
        })
    }

    fn rule(subjects: Option<Subjects>, agents: Option<&[&str]>, tools: &[&str]) -> Rule {
        Rule {
            name: RuleName::new("allow[0]"),
            subjects,
            agents: agents.map(|agents| agents.iter().copied().map(Actor::new).collect()),
            tools: tools.iter().map(|tool| tool.parse().expect("a pattern of the test")).collect(),
        }
    }

    #[track_caller]
    fn check(rule: Rule, caller: Arc<Caller>, tool: Arc<Tool>, allowed: bool) {
        assert_eq!(Policy::new(vec![rule]).decide(caller, tool, now()).is_ok(), allowed);
    }

    #[test]
    fn nothing_listed_means_nothing_allowed() {
        let denial = Policy::default().decide(caller("ada", None, &[], &[]), tool("mail", "read"), now());
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
        let decide = |tool| policy.decide(caller("ada", None, &[], &[]), tool, now()).map(|_| ());
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
            policy.decide(caller, Arc::new(tool), now()).map(|_| ())
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
        let denial = nobody.decide(caller("ada", None, &[], &[]), Arc::new(tool), now());
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
