//! What a decision costs: run it with `cargo bench --bench policy`.
//!
//! With 10, 100 and 1,000 rules or policies, for a person in 50 groups. Spread: each is for one of 1,000 groups, on one of
//! ten connectors, as sites write them; their heads tell which can apply: one of 10 or 100, five of 1,000. Crowded: all have
//! the same head, so that each has to be evaluated.

use std::sync::{Arc, LazyLock};

use divan::{Bencher, black_box};
use obo_gateway::clock::Now;
use obo_gateway::demo::authorization_server as demo;
use obo_gateway::gateway::MemoryBounds;
use obo_gateway::identity::{Caller, IssuerName, RuleName, Scopes};
use obo_gateway::memo::Memo;
use obo_gateway::metrics::Metrics;
use obo_gateway::oauth::authorization_server::{AuthorizationServer, AuthorizationServers};
use obo_gateway::oauth::possession::Presented;
use obo_gateway::oauth::verifier::Verifier;
use obo_gateway::policy::cedar::{Draft, KnownConnector, PolicyFile, Vocabulary};
use obo_gateway::policy::{Circumstances, Policy, Rule, Subjects};
use obo_gateway::tool::{
    Annotations, Argument, ArgumentType, Arguments, Confirm, ConnectorName, IdentityMode, Primitive,
    RequiredSignIn, Target, Tool, ToolName,
};

#[path = "support/issuer.rs"]
mod issuer;
#[path = "support/keys.rs"]
mod keys;

use issuer::issuer_settings;
use keys::until_keys_are_known;

const COUNTS: [usize; 3] = [10, 100, 1_000];
/// Groups that the person is in.
const GROUPS: usize = 50;
/// The person is in every so-manieth group.
const GROUP_STEP: usize = 20;
/// Connectors that the rules and policies are about.
const CONNECTORS: usize = 10;

fn main() {
    divan::main();
}

/// Somebody in 50 groups, every 20th of which some of 1,000 policies are for.
static CALLER: LazyLock<Arc<Caller>> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        let demo = demo::AuthorizationServer::start(demo::Settings::default());
        let demo = demo.await.expect("the development authorization server starts");
        let groups: Vec<String> = (0..GROUPS).map(|group| format!("group-{}", group * GROUP_STEP)).collect();
        let token = demo.subject_token("ada").claim("groups", groups).mint();
        let settings = issuer_settings(&demo);
        let issuer = settings.issuer.clone();
        let server = AuthorizationServer::start(settings, None, Arc::<Metrics>::default());
        let server = Arc::new(server.expect("no authority of its own"));
        until_keys_are_known(&server).await;
        let servers: AuthorizationServers = Arc::new([(issuer, server)].into_iter().collect());
        Verifier::new(servers, None, MemoryBounds::DEFAULT.verified_bytes_max)
            .verify(&Presented::bearer(&token), Now::read())
            .await
            .expect("a good token")
    })
});

fn tool(connector: usize) -> Arc<Tool> {
    Arc::new(Tool {
        connector: ConnectorName::new(format!("connector-{connector}")),
        primitive: Primitive::Tool,
        name: ToolName::new("send"),
        description: None,
        annotations: Annotations { destructive: Some(false), ..Annotations::default() },
        arguments: Arc::new([("to".into(), ArgumentType::String)].into()),
        record_arguments: Arc::default(),
        identity: IdentityMode::OnBehalfOf,
        target: Target::default(),
        issuers: [IssuerName::new("contoso")].into(),
        required_scopes: Scopes::default(),
        required_sign_in: RequiredSignIn::default(),
        confirm: Confirm::No,
        memo: Memo::default(),
    })
}

fn rules(count: usize, spread: bool) -> Policy {
    let rule = |number: usize| {
        let (group, connector) = if spread { (number, number / GROUP_STEP % CONNECTORS) } else { (0, 0) };
        // Of a crowd the last one alone is about the tool.
        let tool = if spread || number + 1 == count { "send" } else { "receive" };
        let groups = vec![format!("group-{group}").into()];
        Rule {
            subjects: Some(Subjects { groups, ..Subjects::default() }),
            tools: vec![format!("connector-{connector}/{tool}").parse().expect("a pattern")],
            ..Rule::named(RuleName::new(format!("allow[{number}]")))
        }
    };
    Policy::new((0..count).map(rule).collect())
}

fn cedar(count: usize, spread: bool) -> Policy {
    let policy = |number: usize| {
        let (group, connector) = if spread { (number, number / GROUP_STEP % CONNECTORS) } else { (0, 0) };
        // Of a crowd the last one alone says yes.
        let destructive = spread || number + 1 == count;
        format!(
            "permit(principal in Group::\"contoso/group-{group}\", action == Action::\"call\", \
             resource in Connector::\"connector-{connector}\") when {{ resource has destructive && \
             resource.destructive != {destructive} && context.arguments has to && \
             context.arguments.to like \"*@contoso.example\" }};\n"
        )
    };
    let connectors = (0..CONNECTORS).map(|connector| KnownConnector {
        name: ConnectorName::new(format!("connector-{connector}")),
        has_prompts: false,
        tools: vec![tool(connector)],
        has_others: false,
    });
    let vocabulary = Vocabulary {
        issuers: vec![(IssuerName::new("contoso"), Vec::new())],
        connectors: connectors.collect(),
    };
    let text = (0..count).map(policy).collect();
    let (draft, faults) = Draft::read(vec![PolicyFile { name: "policies.cedar".to_owned(), text }]);
    assert!(faults.is_empty(), "{faults:?}");
    let (policies, _) = draft.compile(&vocabulary).expect("good policies");
    Policy::default().with_cedar(policies)
}

fn decide(bencher: Bencher<'_, '_>, policy: &Policy) {
    let (caller, tool, now) = (&*CALLER, tool(0), Now::read());
    let arguments = Arguments::from([("to".into(), Argument::String("bob@contoso.example".to_owned()))]);
    let circumstances = Circumstances { arguments: &arguments, client: [192, 0, 2, 1].into(), now };
    bencher.bench(|| {
        policy.decide(Arc::clone(black_box(caller)), Arc::clone(&tool), circumstances).expect("a permit")
    });
}

#[divan::bench(args = COUNTS)]
fn rules_spread(bencher: Bencher<'_, '_>, count: usize) {
    decide(bencher, &rules(count, true));
}

#[divan::bench(args = COUNTS)]
fn rules_crowded(bencher: Bencher<'_, '_>, count: usize) {
    decide(bencher, &rules(count, false));
}

#[divan::bench(args = COUNTS)]
fn cedar_spread(bencher: Bencher<'_, '_>, count: usize) {
    decide(bencher, &cedar(count, true));
}

#[divan::bench(args = COUNTS)]
fn cedar_crowded(bencher: Bencher<'_, '_>, count: usize) {
    decide(bencher, &cedar(count, false));
}

/// Whether a list shows a tool, before there are arguments.
#[divan::bench(args = COUNTS)]
fn cedar_listed(bencher: Bencher<'_, '_>, count: usize) {
    let (policy, caller, tool, now) = (cedar(count, true), &*CALLER, tool(0), Now::read());
    bencher.bench(|| assert!(policy.shows(black_box(caller), &tool, [192, 0, 2, 1].into(), now)));
}
