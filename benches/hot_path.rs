//! What a call costs once its caller is remembered and its delegated token is kept: run it with
//! `cargo bench --bench hot_path`.
//!
//! Each stage of such a call stands alone, with its time and with what it allocates. What all calls share runs on one
//! thread and on two: a stage behind a lock that all cores share takes as long on two threads as one after the other.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use divan::{AllocProfiler, Bencher, black_box};
use futures_util::FutureExt as _;
use obo_gateway::audit::{
    AuditLog, AuditSettings, CallRecord, Durability, Exchanges, Privacy, Record, Recorder, RequestId,
};
use obo_gateway::clock::Now;
use obo_gateway::credential::{CredentialCache, Credentials, KeyFields};
use obo_gateway::demo::authorization_server::{self as demo, MAIL_AUDIENCE};
use obo_gateway::gateway::MemoryBounds;
use obo_gateway::identity::{Audience, Caller, IssuerName, Peer, RuleName, Scopes};
use obo_gateway::limit::{Asked, Each, Level, LimitSettings, Limits, Rate, RateLimit};
use obo_gateway::memo::Memo;
use obo_gateway::metrics::{CacheLookup, Metrics};
use obo_gateway::oauth::authorization_server::{AuthorizationServer, AuthorizationServers};
use obo_gateway::oauth::possession::Presented;
use obo_gateway::oauth::verifier::Verifier;
use obo_gateway::policy::{Circumstances, Permit, Policy, Rule};
use obo_gateway::tool::{
    Annotations, Arguments, Confirm, ConnectorName, IdentityMode, Primitive, RequiredSignIn, Target, Tool,
    ToolName,
};
use tokio::runtime::Runtime;

#[path = "support/issuer.rs"]
mod issuer;
#[path = "support/keys.rs"]
mod keys;

use issuer::issuer_settings;
use keys::until_keys_are_known;

/// Counts what each stage allocates.
#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// One thread, and two at once.
const THREADS: [usize; 2] = [1, 2];
/// Records written between two looks at the clock, and how often: all of them on two threads together find a place even
/// if the trail's writer does nothing meanwhile.
const RECORDS: u32 = 512;
const RECORD_SAMPLES: u32 = 40;

fn main() {
    divan::main();
}

/// A gateway's parts, with Ada's token verified and her delegated token kept.
struct Bed {
    runtime: Runtime,
    servers: AuthorizationServers,
    verifier: Verifier,
    policy: Policy,
    tool: Arc<Tool>,
    credentials: Credentials,
    audit: AuditLog,
    rs256: String,
    es256: String,
    permit: Permit,
    _authorization_server: demo::AuthorizationServer,
    _folder: tempfile::TempDir,
}

static BED: LazyLock<Bed> = LazyLock::new(Bed::start);

impl Bed {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let demo = runtime.block_on(demo::AuthorizationServer::start(demo::Settings::default()));
        let demo = demo.expect("the development authorization server starts");
        let (rs256, es256) = (demo.subject_token("ada").mint(), demo.subject_token("ada").es256().mint());
        let metrics = Arc::<Metrics>::default();
        let settings = issuer_settings(&demo);
        let issuer = settings.issuer.clone();
        let server =
            runtime.block_on(async { AuthorizationServer::start(settings, None, Arc::clone(&metrics)) });
        let server = Arc::new(server.expect("no authority of its own"));
        runtime.block_on(until_keys_are_known(&server));
        let servers: AuthorizationServers = Arc::new([(issuer, server)].into_iter().collect());
        let verifier = Verifier::new(Arc::clone(&servers), None, MemoryBounds::DEFAULT.verified_bytes_max);
        let cache =
            Arc::new(CredentialCache::new(MemoryBounds::DEFAULT.delegated_bytes_max, Arc::clone(&metrics)));
        let folder = tempfile::tempdir().expect("a folder");
        // What the call itself pays: the writer has a thread of its own.
        let kept = AuditSettings {
            durability: Durability::Memory,
            ..AuditSettings::of(folder.path().join("audit.jsonl"))
        };
        let audit = AuditLog::open(kept, Arc::clone(&metrics)).expect("a trail");
        let recorder = Recorder::new(audit.clone(), Privacy::of_this_run(), Exchanges::default());
        let credentials = Credentials::new(Arc::clone(&servers), cache, recorder, metrics);
        let (policy, tool) = (policy(), Arc::new(tool()));
        let now = Now::read();
        let caller =
            runtime.block_on(verifier.verify(&Presented::bearer(&rs256), now)).expect("a good token");
        let permit = policy.decide(caller, Arc::clone(&tool), circumstances(now)).expect("a permit");
        runtime.block_on(credentials.obtain(&permit, RequestId::next(), now)).expect("a delegated token");
        Self {
            runtime,
            servers,
            verifier,
            policy,
            tool,
            credentials,
            audit,
            rs256,
            es256,
            permit,
            _authorization_server: demo,
            _folder: folder,
        }
    }

    fn remembered(&self, now: Now) -> Arc<Caller> {
        let verified = self.verifier.verify(&Presented::bearer(&self.rs256), now).now_or_never();
        verified.expect("nothing to wait for: it is remembered").expect("a good token")
    }
}

fn tool() -> Tool {
    Tool {
        connector: ConnectorName::new("mail"),
        primitive: Primitive::Tool,
        name: ToolName::new("list_messages"),
        description: None,
        annotations: Annotations::default(),
        arguments: Arc::default(),
        record_arguments: Arc::default(),
        identity: IdentityMode::OnBehalfOf,
        target: Target {
            audience: Some(Audience::new(MAIL_AUDIENCE)),
            resource: None,
            authorization_server: None,
            scopes: Scopes::new([format!("{MAIL_AUDIENCE}/Mail.Read")]),
        },
        issuers: [IssuerName::new("contoso")].into(),
        required_scopes: Scopes::parse("access_as_user"),
        required_sign_in: RequiredSignIn::default(),
        confirm: Confirm::No,
        memo: Memo::default(),
    }
}

static NO_ARGUMENTS: Arguments = Arguments::new();

fn circumstances(now: Now) -> Circumstances<'static> {
    Circumstances { arguments: &NO_ARGUMENTS, client: [127, 0, 0, 1].into(), now }
}

fn policy() -> Policy {
    let tools = vec!["mail/*".parse().expect("a pattern")];
    Policy::new(vec![Rule { tools, ..Rule::named(RuleName::new("staff")) }])
}

fn record() -> CallRecord {
    let request = http::Request::get("/mail/me/messages").body(()).expect("a request");
    let peer = Peer { address: ([127, 0, 0, 1], 1).into(), tls: false, certificate: None };
    CallRecord::begin(&request, peer, Now::read().wall)
}

/// A token that is seen for the first time.
#[divan::bench(args = ["RS256", "ES256"])]
fn verify(bencher: Bencher<'_, '_>, algorithm: &str) {
    let bed = &*BED;
    let token = if algorithm == "RS256" { &bed.rs256 } else { &bed.es256 };
    // Each time another verifier, which remembers nothing.
    bencher
        .with_inputs(|| {
            (
                Verifier::new(Arc::clone(&bed.servers), None, MemoryBounds::DEFAULT.verified_bytes_max),
                Now::read(),
            )
        })
        .bench_local_refs(|(verifier, now)| {
            bed.runtime
                .block_on(verifier.verify(&Presented::bearer(black_box(token)), *now))
                .expect("a good token")
        });
}

#[divan::bench(threads = THREADS)]
fn remembered_verify(bencher: Bencher<'_, '_>) {
    let (bed, now) = (&*BED, Now::read());
    bencher.bench(|| bed.remembered(black_box(now)));
}

#[divan::bench(threads = THREADS)]
fn decide(bencher: Bencher<'_, '_>) {
    let (bed, now) = (&*BED, Now::read());
    let caller = bed.remembered(now);
    bencher.bench(|| {
        bed.policy.decide(Arc::clone(&caller), Arc::clone(&bed.tool), circumstances(now)).expect("a permit")
    });
}

/// What the limits add to a call, without rates and with one for its person and one for its agent: it is let through, has a place,
/// and gives that back.
#[divan::bench(args = ["without rates", "within rates"], threads = THREADS)]
fn admit(bencher: Bencher<'_, '_>, limited: &str) {
    let bed = &*BED;
    let rate = Rate::new(Rate::CALLS_MAX, Duration::from_secs(1), Rate::CALLS_MAX);
    let each =
        |each: Each| Arc::new(RateLimit { name: each.as_str().into(), level: Level::Connector, each, rate });
    let rates = match limited {
        "within rates" => vec![each(Each::Person), each(Each::Agent)],
        _ => Vec::new(),
    };
    let settings = LimitSettings { rates, ..LimitSettings::default() };
    let limits = Limits::new([(&bed.tool.connector, &settings)], None, &Arc::default());
    let of_connector = limits.of(&bed.tool.connector);
    bencher.bench(|| match of_connector.admit(black_box(&bed.permit), true).map(|admitted| admitted.ask()) {
        Ok(Ok(Asked::Place(place))) => drop(place),
        // More than a million a second.
        Ok(Ok(Asked::Waiting(_)) | Err(_)) | Err(_) => {}
    });
}

#[divan::bench]
fn key(bencher: Bencher<'_, '_>) {
    let bed = &*BED;
    let server = bed.servers.values().next().expect("one server");
    // As for a call: what is the caller's is digested once.
    bencher.bench(|| KeyFields::of(black_box(&bed.permit), server).expect("a whole identity").0);
}

#[divan::bench(threads = THREADS)]
fn cache_hit(bencher: Bencher<'_, '_>) {
    let (bed, now, call) = (&*BED, Now::read(), RequestId::next());
    bencher.bench(|| {
        let obtained = bed.credentials.obtain(black_box(&bed.permit), call, now).now_or_never();
        let credential = obtained.expect("nothing to wait for: it is kept").expect("a credential");
        assert_eq!(credential.lookup(), CacheLookup::Hit);
        credential
    });
}

/// A place for a record, and the record handed to the writer.
#[divan::bench(threads = THREADS, sample_size = RECORDS, sample_count = RECORD_SAMPLES)]
fn record_call(bencher: Bencher<'_, '_>) {
    let bed = &*BED;
    bencher
        .with_inputs(record)
        .bench_values(|record| bed.audit.reserve().expect("a place").write(&Record::Call(&record)));
}

/// All that a call goes through here besides HTTP.
#[divan::bench(threads = THREADS, sample_size = RECORDS, sample_count = RECORD_SAMPLES)]
fn whole_call(bencher: Bencher<'_, '_>) {
    let bed = &*BED;
    bencher.bench(|| {
        let (now, slot, mut record) = (Now::read(), bed.audit.reserve().expect("a place"), record());
        let caller = bed.remembered(now);
        record.caller = Some(Arc::clone(&caller));
        let permit = bed.policy.decide(caller, Arc::clone(&bed.tool), circumstances(now)).expect("a permit");
        record.tool = Some(Arc::clone(permit.tool()));
        record.policies = Arc::clone(permit.policies());
        let obtained = bed.credentials.obtain(&permit, record.request_id, now).now_or_never();
        let credential = obtained.expect("nothing to wait for: it is kept").expect("a credential");
        record.credential = Some(Arc::clone(credential.note()));
        // Nobody waits for it.
        drop(slot.write(&Record::Call(&record)));
    });
}
