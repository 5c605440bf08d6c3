//! Policies in text, calls, and what comes of them.

use std::time::{Duration, Instant};

use cedar_policy::Schema;

use super::*;
use crate::clock::Now;
use crate::identity::{
    Actor, Authentication, Caller, IssuerName, Scopes, SecretToken, Subject, Tenant, VerifiedClaims,
};
use crate::policy::{Circumstances, Denial, Permit, Policy as SitePolicy, Rule};
use crate::tool::{Annotations, Argument, ArgumentType, Arguments, ConnectorName, Primitive, Tool, ToolName};

/// 2027-01-15 08:00:00 UTC, a Friday.
const NOW: u64 = 1_800_000_000;

fn now() -> Now {
    Now::new(Duration::from_secs(NOW), Instant::now())
}

fn caller(claims: VerifiedClaims) -> Arc<Caller> {
    Arc::new(Caller::verified(claims, SecretToken::new("token")))
}

fn ada() -> VerifiedClaims {
    VerifiedClaims {
        actor: Some(Actor::new("planner")),
        groups: vec!["staff".into(), "reading".into()],
        roles: vec!["Mail.User".into()],
        scopes: Scopes::parse("mail notes"),
        authentication: Arc::new(Authentication {
            acr: Some("high".into()),
            acrs: vec!["c1".into()],
            amr: vec!["mfa".into()],
        }),
        authenticated_at: Some(NOW - 600),
        ..VerifiedClaims::of("ada")
    }
}

fn send() -> Tool {
    let kinds =
        [("to", ArgumentType::Strings), ("subject", ArgumentType::String), ("copies", ArgumentType::Integer)];
    Tool {
        arguments: Arc::new(kinds.into_iter().map(|(name, kind)| (name.into(), kind)).collect()),
        annotations: Annotations {
            read_only: Some(false),
            destructive: Some(true),
            ..Annotations::default()
        },
        ..Tool::of("mail", "send")
    }
}

fn list() -> Tool {
    Tool {
        annotations: Annotations { read_only: Some(true), ..Annotations::default() },
        ..Tool::of("mail", "list")
    }
}

fn thing(primitive: Primitive, name: &str) -> Tool {
    Tool { primitive, name: ToolName::new(name), ..Tool::of("notes", "x") }
}

fn vocabulary() -> Vocabulary {
    let connector = |name: &str, tools: Vec<Tool>, has_prompts| KnownConnector {
        name: ConnectorName::new(name),
        has_prompts,
        tools: tools.into_iter().map(Arc::new).collect(),
        has_others: has_prompts,
    };
    Vocabulary {
        issuers: vec![(IssuerName::new("contoso"), Vec::new())],
        connectors: vec![
            connector("mail", vec![send(), list()], false),
            connector("notes", Vec::new(), true),
        ],
    }
}

fn compiled(text: &str, vocabulary: &Vocabulary) -> Result<CedarPolicies, Vec<PolicyFault>> {
    let (draft, faults) = Draft::read(vec![PolicyFile { name: "p.cedar".to_owned(), text: text.to_owned() }]);
    if !faults.is_empty() {
        return Err(faults);
    }
    draft.compile(vocabulary).map(|(policies, _)| policies)
}

#[track_caller]
fn site(text: &str) -> SitePolicy {
    SitePolicy::default().with_cedar(compiled(text, &vocabulary()).expect("policies of the test"))
}

fn decide(
    policy: &SitePolicy,
    claims: VerifiedClaims,
    tool: Tool,
    arguments: &Arguments,
) -> Result<Permit, Denial> {
    let circumstances = Circumstances { arguments, client: [192, 0, 2, 1].into(), now: now() };
    policy.decide(caller(claims), Arc::new(tool), circumstances)
}

fn names(policies: &[RuleName]) -> Vec<&str> {
    policies.iter().map(RuleName::as_str).collect()
}

/// Checks whether the policies let Ada do it.
#[track_caller]
fn check(text: &str, tool: Tool, arguments: &[(&str, Argument)], allowed: bool) {
    let arguments = arguments.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
    let decided = decide(&site(text), ada(), tool, &arguments);
    assert_eq!(decided.is_ok(), allowed, "{text} {decided:?}");
}

#[test]
fn nothing_said_means_nothing_allowed() {
    let denial = decide(&site(""), ada(), list(), &Arguments::new()).expect_err("nothing allows it");
    assert_eq!(denial, Denial::NoRule);
    check("forbid(principal, action, resource) when { context.hour == 3 };", list(), &[], false);
}

#[test]
fn a_head_says_who_may_do_what_on_which_thing() {
    let permit = |head: &str| format!("permit({head});");
    for (head, allowed) in [
        ("principal, action, resource", true),
        ("principal == Person::\"contoso/ada\", action, resource", true),
        ("principal == Person::\"contoso/bob\", action, resource", false),
        ("principal == Person::\"fabrikam/ada\", action, resource", false),
        ("principal in Group::\"contoso/staff\", action, resource", true),
        ("principal in Group::\"contoso/boss\", action, resource", false),
        ("principal in Group::\"fabrikam/staff\", action, resource", false),
        ("principal in Role::\"contoso/staff\", action, resource", false),
        ("principal in Role::\"contoso/Mail.User\", action, resource", true),
        ("principal is Person in Group::\"contoso/staff\", action, resource", true),
        ("principal, action == Action::\"call\", resource", true),
        ("principal, action in Action::\"use\", resource", true),
        ("principal, action in [Action::\"call\", Action::\"read\"], resource", true),
        ("principal, action in [Action::\"get\", Action::\"read\"], resource", false),
        ("principal, action, resource == Tool::\"mail/list\"", true),
        ("principal, action, resource == Tool::\"mail/send\"", false),
        ("principal, action, resource in Connector::\"mail\"", true),
        ("principal, action, resource in Connector::\"notes\"", false),
        ("principal, action, resource is Tool in Connector::\"mail\"", true),
        ("principal, action, resource is Prompt in Connector::\"mail\"", false),
    ] {
        check(&permit(head), list(), &[], allowed);
    }
}

#[test]
fn conditions_look_at_the_person_the_tool_and_the_circumstances() {
    let when = |condition: &str| {
        format!("permit(principal, action == Action::\"call\", resource) when {{ {condition} }};")
    };
    for (condition, allowed) in [
        ("principal.issuer == \"contoso\" && principal.subject == \"ada\"", true),
        ("principal has tenant", false),
        ("resource has read_only && resource.read_only", true),
        ("resource has destructive", false),
        ("resource.name == \"list\" && resource.identity == \"on_behalf_of\"", true),
        ("context has agent && context.agent == Agent::\"contoso/planner\"", true),
        ("context has agent && context.agent == Agent::\"contoso/other\"", false),
        ("context.scopes.contains(\"mail\")", true),
        ("context.scopes.contains(\"mai\")", false),
        (
            "context has acr && context.acr == \"high\" && context.acrs.contains(\"c1\") && context.amr.contains(\"mfa\")",
            true,
        ),
        ("context has auth_time && context.time.durationSince(context.auth_time) <= duration(\"10m\")", true),
        (
            "context has auth_time && context.time.durationSince(context.auth_time) <= duration(\"599s\")",
            false,
        ),
        (
            "context.time == datetime(\"2027-01-15T08:00:00Z\") && context.hour == 8 && context.weekday == 5",
            true,
        ),
        ("context.client.isInRange(ip(\"192.0.2.0/24\"))", true),
        ("context.client.isInRange(ip(\"10.0.0.0/8\"))", false),
        ("[context].contains(context) && context has hour", true),
    ] {
        check(&when(condition), list(), &[], allowed);
    }
    let other = VerifiedClaims {
        actor: None,
        tenant: Tenant::Named("t1".into()),
        authentication: Arc::default(),
        authenticated_at: None,
        ..ada()
    };
    let absent = "!(context has agent) && !(context has acr) && !(context has auth_time) && principal has tenant && \
                  principal.tenant == \"t1\"";
    assert!(decide(&site(&when(absent)), other, list(), &Arguments::new()).is_ok());
}

#[test]
fn an_ipv4_address_in_ipv6_clothes_is_an_ipv4_address() {
    let policy =
        site("permit(principal, action, resource) when { context.client.isInRange(ip(\"192.0.2.0/24\")) };");
    let mapped = std::net::Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped();
    let circumstances = Circumstances { arguments: &Arguments::new(), client: mapped.into(), now: now() };
    assert!(policy.decide(caller(ada()), Arc::new(list()), circumstances).is_ok());
}

fn to(addresses: &[&str]) -> (&'static str, Argument) {
    ("to", Argument::Strings(addresses.iter().map(ToString::to_string).collect()))
}

#[test]
fn arguments_decide() {
    let text = "permit(principal, action == Action::\"call\", resource == Tool::\"mail/send\") when { \
                context.arguments has to && [\"bob@contoso.example\", \"eve@contoso.example\"].containsAll(context.arguments.to) \
                && (if context.arguments has copies then context.arguments.copies < 3 else true) };";
    check(text, send(), &[to(&["bob@contoso.example"])], true);
    check(text, send(), &[to(&["bob@contoso.example", "mallory@evil.example"])], false);
    check(text, send(), &[], false);
    check(text, send(), &[to(&[]), ("copies", Argument::Integer(2))], true);
    check(text, send(), &[to(&[]), ("copies", Argument::Integer(3))], false);
    let like = "permit(principal, action == Action::\"call\", resource) when { context.arguments has subject && \
                context.arguments.subject like \"Re: *\" };";
    check(like, send(), &[("subject", Argument::String("Re: lunch".to_owned()))], true);
    check(like, send(), &[("subject", Argument::String("lunch".to_owned()))], false);
}

#[test]
fn prompts_and_resources_have_actions_of_their_own() {
    let text = "permit(principal, action == Action::\"get\", resource in Connector::\"notes\");
                permit(principal, action == Action::\"read\", resource) when { resource.uri like \"file:///shared/*\" };
                permit(principal, action == Action::\"call\", resource == Tool::\"notes/x\");";
    check(text, thing(Primitive::Prompt, "summary"), &[], true);
    check(text, thing(Primitive::Resource, "file:///shared/a"), &[], true);
    check(text, thing(Primitive::Resource, "file:///private/a"), &[], false);
    check(text, thing(Primitive::Tool, "x"), &[], true);
    check(text, thing(Primitive::Tool, "y"), &[], false);
}

#[test]
fn a_no_weighs_more_than_any_yes_whoever_says_it() {
    let text = "@id(\"all\") permit(principal, action, resource);
                @id(\"b\") forbid(principal in Group::\"contoso/reading\", action, resource) unless { resource has read_only && resource.read_only };
                @id(\"a\") forbid(principal, action, resource == Tool::\"mail/send\");";
    let denial = decide(&site(text), ada(), send(), &Arguments::new()).expect_err("forbidden");
    assert!(matches!(&denial, Denial::Forbidden { policies } if names(policies) == ["a", "b"]), "{denial:?}");
    let permit = decide(&site(text), ada(), list(), &Arguments::new()).expect("a permit");
    assert_eq!(names(permit.policies()), ["all"]);
    // Rules and policies speak alike.
    let rule = |name: &str, tool: &str| Rule {
        tools: vec![tool.parse().expect("a pattern")],
        ..Rule::named(RuleName::new(name))
    };
    let both = site(text).denying(vec![rule("rule", "mail/list")]);
    let denial = decide(&both, ada(), list(), &Arguments::new()).expect_err("forbidden by a rule");
    assert!(matches!(&denial, Denial::Forbidden { policies } if names(policies) == ["rule"]), "{denial:?}");
    let forbids =
        compiled("@id(\"no\") forbid(principal, action, resource == Tool::\"mail/send\");", &vocabulary());
    let both = SitePolicy::new(vec![rule("rule", "mail/*")]).with_cedar(forbids.expect("policies"));
    let denial = decide(&both, ada(), send(), &Arguments::new()).expect_err("forbidden by a policy");
    assert!(matches!(&denial, Denial::Forbidden { policies } if names(policies) == ["no"]), "{denial:?}");
    assert_eq!(
        names(decide(&both, ada(), list(), &Arguments::new()).expect("a permit").policies()),
        ["rule"]
    );
}

#[test]
fn a_policy_without_a_name_is_called_by_its_place() {
    let text = "\n\npermit(principal, action, resource);";
    let permit = decide(&site(text), ada(), list(), &Arguments::new()).expect("a permit");
    assert_eq!(names(permit.policies()), ["p.cedar:3"]);
    let text = "permit(principal, action, resource); forbid(principal, action, resource);";
    let denial = decide(&site(text), ada(), list(), &Arguments::new()).expect_err("forbidden");
    assert_eq!(names(&denial.policies()), ["p.cedar:1:38"]);
}

#[test]
fn a_policy_that_fails_is_a_no_even_if_another_says_yes() {
    let text = "@id(\"yes\") permit(principal, action, resource);
                @id(\"sum\") forbid(principal, action == Action::\"call\", resource == Tool::\"mail/send\") when { \
                context.arguments has copies && context.arguments.copies + 1 > 10 };";
    let copies = |copies| Arguments::from([("copies".into(), Argument::Integer(copies))]);
    assert!(decide(&site(text), ada(), send(), &copies(1)).is_ok());
    let denial = decide(&site(text), ada(), send(), &copies(i64::MAX)).expect_err("cannot tell");
    let Denial::PolicyError { policies, failure } = &denial else { panic!("{denial:?}") };
    assert_eq!((names(policies), *failure), (vec!["sum"], PolicyFailure::Overflow));
    // Nothing that the agent hears or the log shows has the argument or the policy in it.
    let shown = denial.to_string();
    assert!(!shown.contains("sum") && !shown.contains(&i64::MAX.to_string()), "{shown}");
}

#[test]
fn what_cannot_be_put_into_words_is_a_no() {
    let text = "permit(principal, action, resource) when { context.hour < 24 || context has auth_time };";
    let late = VerifiedClaims { authenticated_at: Some(u64::MAX), ..ada() };
    let denial = decide(&site(text), late, list(), &Arguments::new()).expect_err("cannot tell");
    assert!(
        matches!(denial, Denial::PolicyError { failure: PolicyFailure::Inexpressible, .. }),
        "{denial:?}"
    );
}

#[test]
fn issuers_of_several_tenants_keep_their_people_apart() {
    let tenants = vec!["t1".into(), "t2".into()];
    let vocabulary = Vocabulary { issuers: vec![(IssuerName::new("contoso"), tenants)], ..vocabulary() };
    let text = "permit(principal in Group::\"contoso/t1/staff\", action, resource);
                permit(principal == Person::\"contoso/t2/bob\", action, resource);";
    let policy = SitePolicy::default().with_cedar(compiled(text, &vocabulary).expect("policies"));
    let of = |tenant: &str, subject: &str, group: &str| {
        let claims = VerifiedClaims {
            tenant: Tenant::Named(tenant.into()),
            subject: Subject::new(subject),
            groups: vec![group.into()],
            ..ada()
        };
        decide(&policy, claims, list(), &Arguments::new()).is_ok()
    };
    assert!(of("t1", "ada", "staff") && of("t2", "bob", "x"));
    assert!(!of("t2", "ada", "staff") && !of("t1", "bob", "x") && !of("t2", "ada", "t1/staff"));
}

fn shows(text: &str, tool: &Tool) -> bool {
    site(text).shows(&caller(ada()), tool, [192, 0, 2, 1].into(), now())
}

#[test]
fn a_list_shows_what_some_arguments_would_be_allowed_with() {
    let permit = |condition: &str| {
        format!("permit(principal, action == Action::\"call\", resource) when {{ {condition} }};")
    };
    assert!(shows(&permit("context.arguments has to && context.arguments.to.contains(\"bob\")"), &send()));
    assert!(!shows(&permit("context.arguments has to && context.hour == 3"), &send()));
    assert!(!shows(&permit("context.hour == 3"), &send()));
    // A tool without arguments has said everything.
    assert!(!shows(&permit("context.arguments has to"), &list()));
    let all = "permit(principal, action, resource);";
    assert!(shows(
        &format!(
            "{all} forbid(principal, action == Action::\"call\", resource) when {{ context.arguments has to }};"
        ),
        &send()
    ));
    assert!(!shows(&format!("{all} forbid(principal, action, resource in Connector::\"mail\");"), &send()));
    // What may fail may also not.
    assert!(shows(&permit("context.arguments has to && context.hour + 9223372036854775807 > 0"), &send()));
    assert!(!shows(&permit("context.hour + 9223372036854775807 > 0"), &send()));
}

#[track_caller]
fn check_method(text: &str, allowed: bool) {
    let decided = decide(&site(text), ada(), thing(Primitive::Method, "tools/list"), &Arguments::new());
    assert_eq!(decided.is_ok(), allowed, "{text} {decided:?}");
}

#[test]
fn the_protocol_itself_is_for_whoever_may_use_something() {
    check_method("permit(principal, action, resource);", true);
    check_method("permit(principal, action, resource == Tool::\"notes/x\");", true);
    check_method(
        "permit(principal, action, resource in Connector::\"notes\") when { resource is Prompt };",
        true,
    );
    check_method(
        "permit(principal, action == Action::\"read\", resource) when { resource.uri like \"a*\" };",
        true,
    );
    check_method("permit(principal, action, resource in Connector::\"mail\");", false);
    check_method("permit(principal == Person::\"contoso/bob\", action, resource);", false);
    check_method("permit(principal, action, resource) when { context.hour == 3 };", false);
    let all = "permit(principal, action, resource);";
    check_method(&format!("{all} forbid(principal, action, resource);"), false);
    check_method(&format!("{all} forbid(principal, action, resource in Connector::\"notes\");"), false);
    check_method(&format!("{all} forbid(principal, action, resource in Connector::\"mail\");"), true);
    check_method(&format!("{all} forbid(principal, action == Action::\"call\", resource);"), true);
    check_method(&format!("{all} forbid(principal, action, resource is Tool);"), true);
    check_method(&format!("{all} forbid(principal, action, resource == Tool::\"notes/x\");"), true);
    check_method(
        &format!("{all} forbid(principal, action, resource) when {{ resource in Connector::\"notes\" }};"),
        true,
    );
    check_method(&format!("{all} forbid(principal, action, resource) when {{ context.hour == 8 }};"), false);
}

#[test]
fn what_calls_are_turned_into_is_what_the_schema_says() {
    let vocabulary = vocabulary();
    let (schema, warnings) = Schema::from_cedarschema_str(&vocabulary.schema()).expect("a schema");
    assert_eq!(warnings.count(), 0);
    let arguments = Arguments::from([
        ("to".into(), Argument::Strings(vec!["bob".to_owned()])),
        ("subject".into(), Argument::String("x".to_owned())),
        ("copies".into(), Argument::Integer(1)),
    ]);
    let looks = Looks { whole_context: true, principal: true, resource: true, ..Looks::default() };
    let requests = Requests::new(&vocabulary, looks, &HashSet::new()).expect("tools that can be told");
    let plain = VerifiedClaims::of("bob");
    for claims in [ada(), plain, VerifiedClaims { tenant: Tenant::Named("t1".into()), ..ada() }] {
        let caller = caller(claims);
        // One that the configuration does not list, or declares otherwise, is made for the call.
        let otherwise = Tool { annotations: Annotations::default(), ..list() };
        for tool in [
            send(),
            list(),
            otherwise,
            thing(Primitive::Prompt, "p"),
            thing(Primitive::Resource, "file:///a"),
        ] {
            let kind = Kind::of(tool.primitive).expect("a kind");
            let arguments = if tool.arguments.is_empty() { Arguments::new() } else { arguments.clone() };
            let call = Call {
                caller: &caller,
                tool: &tool,
                kind,
                arguments: Some(&arguments),
                client: [192, 0, 2, 1].into(),
                now: now(),
            };
            let parties = requests.parties(&call);
            let Asked { request, entities } = requests.about_thing(&call, &parties).expect("a request");
            let [principal, action, resource] = [request.principal(), request.action(), request.resource()];
            let context = request.context().expect("a context").clone();
            let [principal, action, resource] =
                [principal, action, resource].map(|uid| uid.expect("known").clone());
            cedar_policy::Request::new(principal, action, resource, context, Some(&schema))
                .expect("as the schema says");
            let entities: Vec<_> = entities.into_iter().collect();
            cedar_policy::Entities::from_entities(entities, Some(&schema)).expect("as the schema says");
        }
    }
}

#[test]
fn arguments_of_one_name_and_several_types_are_told_apart() {
    let other = Tool {
        arguments: Arc::new([("copies".into(), ArgumentType::Boolean)].into()),
        ..Tool::of("notes", "print")
    };
    let mut vocabulary = vocabulary();
    vocabulary.connectors[1].tools.push(Arc::new(other.clone()));
    let schema = vocabulary.schema();
    for line in ["\"copies:boolean\"?: Bool,", "\"copies:integer\"?: Long,", "\"to\"?: Set<String>,"] {
        assert!(schema.contains(line), "{line} {schema}");
    }
    let text = "permit(principal, action == Action::\"call\", resource) when { context.arguments has \"copies:integer\" && \
                context.arguments[\"copies:integer\"] == 2 };
                permit(principal, action == Action::\"call\", resource) when { context.arguments has \"copies:boolean\" && \
                context.arguments[\"copies:boolean\"] };";
    let policy = SitePolicy::default().with_cedar(compiled(text, &vocabulary).expect("policies"));
    let with = |tool: Tool, value| {
        decide(&policy, ada(), tool, &Arguments::from([("copies".into(), value)])).is_ok()
    };
    assert!(with(send(), Argument::Integer(2)) && with(other.clone(), Argument::Boolean(true)));
    assert!(!with(send(), Argument::Integer(3)) && !with(other, Argument::Boolean(false)));
}

#[track_caller]
fn check_faults(text: &str, expected: &[&str]) {
    let faults = compiled(text, &vocabulary()).err().unwrap_or_default();
    let said: Vec<String> = faults
        .iter()
        .map(|PolicyFault { place, message, .. }| {
            format!("{}:{}+{}: {message}", place.line, place.column, place.length)
        })
        .collect();
    assert_eq!(said, expected);
}

#[test]
fn what_is_wrong_with_a_policy_is_said_with_its_place() {
    let missing = |what: &str| {
        format!(
            "5:7+1: this policy is missing the `{what}` variable in the scope; policy scopes must contain a `principal`, \
             `action`, and `resource` element in that order"
        )
    };
    let [principal, action, resource] = ["principal", "action", "resource"].map(missing);
    check_faults(
        "permit(principal, action, resource)\nwhen { true };\n\n  permit(principal action, resource);\npermit();",
        &["4:20+6: unexpected token `action`", &principal, &action, &resource],
    );
    check_faults(
        "permit(principal, action, resource == ?resource);",
        &[
            "1:39+9: expected a static policy, got a template containing the slot ?resource; try removing the template \
           slot(s) from this policy",
        ],
    );
    check_faults(
        "permit(principal, action, resource) when { context.huor == 1 };",
        &["1:44+12: attribute `huor` in context not found; did you mean `hour`?"],
    );
    check_faults(
        "permit(principal, action, resource) when { context.arguments has to && context.arguments.to.contains(\"x\") };\n\
         permit(principal, action != Action::\"call\", resource);",
        &[
            "2:19+24: invalid operator in the action scope: !=; action scope clauses can only use `==` or `in`",
        ],
    );
    check_faults(
        "permit(principal, action in [Action::\"get\", Action::\"call\"], resource) when { context.arguments.to.contains(\"x\") };",
        &[
            "1:79+34: attribute `arguments.to` in context for Action::\"get\" not found",
            "1:79+34: unable to guarantee safety of access to optional attribute `arguments.to` in context for \
             Action::\"call\"; try testing for the attribute's presence with `context.arguments has to && ..`",
        ],
    );
    check_faults(
        "permit(principal, action == Action::\"cal\", resource);",
        &["1:29+13: unrecognized action `Action::\"cal\"`; did you mean `Action::\"call\"`?"],
    );
    check_faults(
        "permit(principal is Persn, action, resource);",
        &["1:21+5: unrecognized entity type `Persn`; did you mean `Person`?"],
    );
    check_faults(
        "permit(principal, action, resource)\n  when { context.acr == \"high\" };",
        &[
            "2:10+11: unable to guarantee safety of access to optional attribute `acr` in context; try testing for the \
           attribute's presence with `context has acr && ..`",
        ],
    );
    check_faults(
        "forbid(principal, action == Action::\"get\", resource is Tool);",
        &[
            "1:1+61: can never apply: there is no call with such an action on such a resource; `call` is for tools, `get` \
           for prompts, `read` for resources",
        ],
    );
    check_faults(
        "forbid(principal, action == Action::\"call\", resource) when { context.arguments has ot };",
        &["1:1+88: can never apply: what it says is false for every call"],
    );
}

#[test]
fn every_entity_that_is_named_is_found() {
    let text = "permit(principal in Group::\"contoso/staff\", action, resource)\n  when { resource in [Connector::\"mail\", \
                Tool::\"mail/x\\\"y\"] } // Tool::\"no\"\n  unless { resource == Tool::\"mail/\\u{7a}\" };";
    let (draft, faults) = Draft::read(vec![PolicyFile { name: "p.cedar".to_owned(), text: text.to_owned() }]);
    assert_eq!(faults, []);
    let mentions = draft.mentions();
    let said: Vec<String> = mentions
        .iter()
        .map(|Mention { kind, id, place }| format!("{}:{} {kind} {id}", place.line, place.column))
        .collect();
    assert_eq!(
        said,
        ["1:1 Tool mail/z", "1:21 Group contoso/staff", "2:23 Connector mail", "2:42 Tool mail/x\"y"]
    );
}
