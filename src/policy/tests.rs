use super::*;
use crate::identity::Authentication;
use crate::identity::{Actor, IssuerName, SecretToken, Subject, VerifiedClaims};
use crate::tool::{ANY_TOOL, Confirm, Primitive};
use std::time::{Duration, Instant};

const NOW: u64 = 1_800_000_000;

fn now() -> Now {
    Now::new(Duration::from_secs(NOW), Instant::now())
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
    check(rule(nobody, None, &["*/*"]), caller("ada", None, &["staff"], &[]), tool("mail", "read"), false);
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
    check(rule(None, agents, &["*/*"]), caller("ada", Some("planner"), &[], &[]), tool("mail", "read"), true);
    check(rule(None, agents, &["*/*"]), caller("ada", Some("other"), &[], &[]), tool("mail", "read"), false);
    check(rule(None, agents, &["*/*"]), caller("ada", None, &[], &[]), tool("mail", "read"), false);
}

#[test]
fn a_tool_is_for_its_own_issuers_and_scopes_whatever_the_rules_say() {
    let policy = Policy::new(vec![rule(None, None, &["*/*"])]);
    let strict = |issuer: &str, scopes: &str| {
        let tool = Tool { issuers: [IssuerName::new(issuer)].into(), ..Tool::clone(&tool("mail", "read")) };
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

fn named(name: &str, subjects: &[&str], tools: &[&str]) -> Rule {
    let ids = subjects.iter().map(|&id| Subject::new(id)).collect();
    let subjects = (!subjects.is_empty()).then(|| Subjects { ids, ..Subjects::default() });
    Rule { name: RuleName::new(name), ..rule(subjects, None, tools) }
}

fn decided(policy: &Policy, subject: &str, tool: Arc<Tool>) -> Result<Vec<String>, Denial> {
    let permit = policy.decide(caller(subject, None, &[], &[]), tool, circumstances());
    permit.map(|permit| permit.policies().iter().map(ToString::to_string).collect())
}

fn forbidden(by: &str) -> Denial {
    Denial::Forbidden { policies: [RuleName::new(by)].into() }
}

#[test]
fn a_no_weighs_more_than_any_yes() {
    let policy = Policy::new(vec![named("all", &[], &["*/*"]), named("ada", &["ada"], &["mail/send"])])
        .denying(vec![named("no sending", &["ada"], &["mail/send"])]);
    assert_eq!(decided(&policy, "ada", tool("mail", "send")), Err(forbidden("no sending")));
    assert_eq!(decided(&policy, "bob", tool("mail", "send")), Ok(vec!["all".to_owned()]));
    assert_eq!(decided(&policy, "ada", tool("mail", "read")), Ok(vec!["all".to_owned()]));
    let denials_alone = Policy::default().denying(vec![named("no", &["bob"], &["*/*"])]);
    assert_eq!(decided(&denials_alone, "ada", tool("mail", "read")), Err(Denial::NoRule));
}

#[test]
fn the_first_rule_that_covers_a_call_is_the_one_that_is_named() {
    let policy = Policy::new(vec![
        named("wide", &["bob"], &["*/*"]),
        named("ada twice", &["ada", "ada"], &["mail/*", "mail/read"]),
        named("any", &[], &["m*/*"]),
    ]);
    assert_eq!(decided(&policy, "ada", tool("mail", "read")), Ok(vec!["ada twice".to_owned()]));
    assert_eq!(decided(&policy, "bob", tool("mail", "read")), Ok(vec!["wide".to_owned()]));
    assert_eq!(decided(&policy, "eve", tool("mail", "read")), Ok(vec!["any".to_owned()]));
    assert_eq!(decided(&policy, "eve", tool("crm", "read")), Err(Denial::NoRule));
}

#[test]
fn of_all_rules_that_have_a_call_confirmed_the_strictest_counts() {
    let on_page = Rule { on_page: true, ..named("on the page", &["ada"], &["mail/send"]) };
    let policy = Policy::new(vec![named("all", &[], &["*/*"])])
        .confirming(vec![named("everything of mail", &[], &["mail/*"]), on_page]);
    let confirm = |subject: &str, tool: Arc<Tool>| {
        policy.decide(caller(subject, None, &[], &[]), tool, circumstances()).expect("a permit").confirm()
    };
    assert_eq!(confirm("ada", tool("mail", "send")), Confirm::OnPage);
    assert_eq!(confirm("bob", tool("mail", "send")), Confirm::Anywhere);
    assert_eq!(confirm("ada", tool("mail", "read")), Confirm::Anywhere);
    assert_eq!(confirm("ada", tool("crm", "read")), Confirm::No);
    let by = |subject: &str, tool: Arc<Tool>| {
        let said = policy.confirmed_by(&caller(subject, None, &[], &[]), &tool, &[]);
        said.iter().map(|(name, confirm)| (name.to_string(), *confirm)).collect::<Vec<_>>()
    };
    let everything = || ("everything of mail".to_owned(), Confirm::Anywhere);
    assert_eq!(by("ada", tool("mail", "send")), [everything(), ("on the page".to_owned(), Confirm::OnPage)]);
    assert_eq!(by("bob", tool("mail", "send")), [everything()]);
    assert_eq!(by("ada", tool("crm", "read")), []);
}

fn primitive(primitive: Primitive, name: &str) -> Arc<Tool> {
    Arc::new(Tool { primitive, ..Tool::of("notes", name) })
}

#[test]
fn prompts_and_resources_are_named_apart_from_tools() {
    let tools = named("tools", &["tools"], &["notes/*"]);
    let prompts =
        Rule { tools: Vec::new(), prompts: tools.tools.clone(), ..named("prompts", &["prompts"], &[]) };
    let pattern = ToolPattern::of_resource("notes/file:///shared/*").expect("a pattern of the test");
    let resources = Rule { resources: vec![pattern], ..named("resources", &["resources"], &[]) };
    let policy = Policy::new(vec![tools, prompts, resources]);
    let shared = || primitive(Primitive::Resource, "file:///shared/a/b.txt");
    for (primitive, whose) in [
        (primitive(Primitive::Tool, "x"), "tools"),
        (primitive(Primitive::Prompt, "x"), "prompts"),
        (shared(), "resources"),
    ] {
        for subject in ["tools", "prompts", "resources"] {
            let decided = decided(&policy, subject, Arc::clone(&primitive));
            assert_eq!(decided.is_ok(), subject == whose, "{subject} {primitive:?}");
        }
    }
    assert!(decided(&policy, "resources", primitive(Primitive::Resource, "file:///private/a")).is_err());
}

#[test]
fn the_protocol_itself_is_for_whoever_may_use_something() {
    let method = || primitive(Primitive::Method, "tools/list");
    let allow = || vec![named("some", &["ada"], &["notes/read"]), named("all", &["bob"], &["mail/*"])];
    let policy = Policy::new(allow());
    assert_eq!(decided(&policy, "ada", method()), Ok(vec!["some".to_owned()]));
    assert_eq!(decided(&policy, "bob", method()), Err(Denial::NoRule));
    // Denied some of it, she may use the rest; denied all of it, she has no business there.
    let policy = Policy::new(allow()).denying(vec![named("part", &["ada"], &["notes/delete", "mail/*"])]);
    assert!(decided(&policy, "ada", method()).is_ok());
    let policy = Policy::new(allow()).denying(vec![named("whole", &["ada"], &["n*/*"])]);
    assert_eq!(decided(&policy, "ada", method()), Err(forbidden("whole")));
}

#[test]
fn a_list_shows_what_may_be_called() {
    let policy =
        Policy::new(vec![named("all", &[], &["*/*"])]).denying(vec![named("no", &["ada"], &["mail/send"])]);
    let shows = |subject, tool: Arc<Tool>| {
        let Circumstances { client, now, .. } = circumstances();
        policy.shows(&caller(subject, None, &[], &[]), &tool, client, now)
    };
    assert!(shows("ada", tool("mail", "read")) && shows("bob", tool("mail", "send")));
    assert!(!shows("ada", tool("mail", "send")));
    let foreign = Tool { issuers: [IssuerName::new("fabrikam")].into(), ..Tool::of("mail", "read") };
    assert!(!shows("ada", Arc::new(foreign)));
}
