//! What it costs to keep a million people's delegated tokens, and to find one among them: run it with
//! `cargo bench --bench kept`.
//!
//! Every person's token is obtained as for a call, from an authorization server in this process whose answers are as long
//! and as different as Entra's. Then people are drawn at random, and what is kept for them is looked up, key and all.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use futures_util::FutureExt as _;
use obo_gateway::audit::{AuditLog, AuditSettings, Durability, Exchanges, Privacy, Recorder, RequestId};
use obo_gateway::checked_url::{CheckedUrl, PlainHttp};
use obo_gateway::clock::Now;
use obo_gateway::credential::{CredentialCache, Credentials};
use obo_gateway::demo::authorization_server::MAIL_AUDIENCE;
use obo_gateway::identity::{Audience, Issuer, IssuerName, RuleName, Scopes, SecretToken};
use obo_gateway::memo::Memo;
use obo_gateway::metrics::{CacheLookup, Metrics};
use obo_gateway::oauth::authorization_server::{AuthorizationServer, AuthorizationServers};
use obo_gateway::oauth::possession::Presented;
use obo_gateway::oauth::verifier::Verifier;
use obo_gateway::oauth::{
    ClaimNames, ClientAuth, Endpoints, ExchangeSettings, Grant, IssuerKind, IssuerSettings, Profile, Reuse,
    TargetParameter,
};
use obo_gateway::policy::{Circumstances, Permit, Policy, Rule};
use obo_gateway::tool::{
    Annotations, Arguments, Confirm, ConnectorName, IdentityMode, Primitive, RequiredSignIn, Target, Tool,
    ToolName,
};

#[path = "load/authority.rs"]
#[allow(dead_code, reason = "the load bench needs more of it")]
mod authority;
#[path = "support/keys.rs"]
mod keys;

use authority::Authority;

/// Anything that goes wrong ends the benchmark, with a sentence for whoever started it.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// People whose tokens are obtained at a time.
const BATCH: usize = 1_000;
/// How often everybody who was drawn is looked up; the median counts.
const ROUNDS: usize = 9;

#[derive(Parser)]
struct Options {
    /// Entries to keep
    #[arg(long, default_value_t = 1_000_000)]
    entries: usize,
    /// Most bytes of the cache, in MiB
    #[arg(long, default_value_t = 16_384)]
    mebibytes: usize,
    /// For how many of them calls are made at a time, evenly spread and in a random order
    #[arg(long, default_value_t = 8_000)]
    callers: usize,
    /// For how many they are made when most are for somebody who has not called lately
    #[arg(long, default_value_t = 50_000)]
    drawn: usize,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    /// Cargo says so when it is to measure; without it, under `cargo test`, there is nothing to do.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Outcome<()> {
    let options = Options::parse();
    if !options.bench {
        println!("Nothing is measured without `--bench`: cargo bench --bench kept");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(&options))
}

async fn measure(options: &Options) -> Outcome<()> {
    let bed = Bed::start(options.mebibytes).await?;
    bed.keep(0..BATCH.min(options.entries)).await?;
    let (begun, base) = (bed.held(), resident()?);
    for begin in (BATCH..options.entries).step_by(BATCH) {
        if begin.is_multiple_of(BATCH * 50) {
            eprintln!("kept: {begin} of {}", options.entries);
        }
        bed.keep(begin..(begin + BATCH).min(options.entries)).await?;
    }
    let held = bed.held();
    let bytes = resident()?.saturating_sub(base) as f64 / (held - begun).max(1) as f64;

    let (mut lookups, mut hits) = (Vec::new(), 1.0);
    for drawn in [options.callers, options.drawn] {
        let lookup = bed.look_up(drawn, options.entries).await?;
        lookups.push(lookup.nanos);
        hits = lookup.hits.min(hits);
    }
    let (nanos, compact_nanos) = (lookups[0], lookups[1]);
    match options.json {
        true => println!(
            "{}",
            serde_json::json!({ "entries": held, "bytes": bytes, "nanos": nanos, "compact_nanos": compact_nanos, "hits": hits })
        ),
        false => println!(
            "{held} entries kept of {}: {bytes:.0} bytes each; a lookup for one of {} who call takes {nanos:.0} ns, for one of \
             {} {compact_nanos:.0} ns, and {:.1} % were hits",
            options.entries,
            options.callers,
            options.drawn,
            hits * 100.0
        ),
    }
    Ok(())
}

/// What looking up came to.
struct Lookup {
    nanos: f64,
    /// The part of them that found something.
    hits: f64,
}

/// The parts of a gateway that obtain and keep.
struct Bed {
    authority: Authority,
    servers: AuthorizationServers,
    policy: Policy,
    tool: Arc<Tool>,
    credentials: Credentials,
    metrics: Arc<Metrics>,
    _folder: tempfile::TempDir,
}

static NO_ARGUMENTS: Arguments = Arguments::new();

impl Bed {
    async fn start(mebibytes: usize) -> Outcome<Self> {
        let authority = Authority::start().await?;
        let metrics = Arc::<Metrics>::default();
        let settings = settings(&authority.issuer());
        let name = settings.issuer.clone();
        let server = Arc::new(AuthorizationServer::start(settings, None, Arc::clone(&metrics))?);
        keys::until_keys_are_known(&server).await;
        let servers: AuthorizationServers = Arc::new([(name, server)].into_iter().collect());
        let cache = Arc::new(CredentialCache::new(mebibytes << 20, Arc::clone(&metrics)));
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let kept = AuditSettings {
            durability: Durability::Memory,
            ..AuditSettings::of(folder.path().join("audit.jsonl"))
        };
        let audit = AuditLog::open(kept, Arc::clone(&metrics))?;
        let recorder = Recorder::new(audit, Privacy::of_this_run(), Exchanges::default());
        let credentials = Credentials::new(Arc::clone(&servers), cache, recorder, Arc::clone(&metrics));
        let tools = vec!["mail/*".parse()?];
        let policy = Policy::new(vec![Rule { tools, ..Rule::named(RuleName::new("staff")) }]);
        Ok(Self { authority, servers, policy, tool: Arc::new(tool()), credentials, metrics, _folder: folder })
    }

    /// Obtains the tokens of these people.
    async fn keep(&self, people: std::ops::Range<usize>) -> Outcome<()> {
        let permits = self.permits(people).await?;
        let now = Now::read();
        let obtained = futures_util::future::join_all(
            permits.iter().map(|permit| self.credentials.obtain(permit, RequestId::next(), now)),
        );
        for obtained in obtained.await {
            obtained?;
        }
        Ok(())
    }

    /// Permits for these people to use the tool. Verified tokens are forgotten at once, so that they take no memory.
    async fn permits(&self, people: impl Iterator<Item = usize>) -> Outcome<Vec<Permit>> {
        let (mut verifier, mut permits) = (None, Vec::new());
        for (number, person) in people.enumerate() {
            if number.is_multiple_of(BATCH) {
                verifier = Some(Verifier::new(Arc::clone(&self.servers), None, usize::MAX));
            }
            let (token, now) = (self.authority.subject_token(person), Now::read());
            let verifier = verifier.as_ref().ok_or("the first number is a multiple of everything")?;
            let caller = verifier.verify(&Presented::bearer(&token), now).await?;
            let circumstances =
                Circumstances { arguments: &NO_ARGUMENTS, client: [127, 0, 0, 1].into(), now };
            permits.push(self.policy.decide(caller, Arc::clone(&self.tool), circumstances)?);
        }
        Ok(permits)
    }

    /// Looks up what is kept for so many people, evenly spread among all, several times.
    async fn look_up(&self, drawn: usize, all: usize) -> Outcome<Lookup> {
        let every = (all / drawn.max(1)).max(1);
        let permits = self.permits((0..all).step_by(every)).await?;
        let (mut nanos, mut hits) = (Vec::new(), 0);
        for round in 0..ROUNDS {
            let (started, now, call) = (Instant::now(), Now::read(), RequestId::next());
            hits = 0;
            for number in 0..permits.len() {
                // A stride without a common divisor goes everywhere, and no prefetcher follows it.
                let permit = &permits[(number * 7_919 + round) % permits.len()];
                let obtained = self.credentials.obtain(permit, call, now).now_or_never();
                hits +=
                    usize::from(matches!(obtained, Some(Ok(found)) if found.lookup() == CacheLookup::Hit));
            }
            nanos.push(started.elapsed().as_secs_f64() * 1e9 / permits.len() as f64);
        }
        nanos.sort_by(f64::total_cmp);
        Ok(Lookup { nanos: nanos[ROUNDS / 2], hits: hits as f64 / permits.len() as f64 })
    }

    fn held(&self) -> i64 {
        self.metrics.cache_entries.get()
    }
}

fn settings(issuer: &str) -> IssuerSettings {
    let url = |path: &str| CheckedUrl::parse(&format!("{issuer}{path}"), PlainHttp::LoopbackOnly).ok();
    IssuerSettings {
        name: IssuerName::new("load"),
        kind: IssuerKind::Oidc,
        issuer: Issuer::new(issuer.to_owned()),
        other_issuer: None,
        profile: Profile::Lenient,
        claim_names: ClaimNames::default(),
        introspects: false,
        endpoints: Endpoints {
            metadata: None,
            jwks_uri: url("/keys"),
            token_endpoint: url("/token"),
            authorization_endpoint: None,
            introspection_endpoint: None,
            plain_http: PlainHttp::LoopbackOnly,
        },
        audiences: vec![Audience::new("obo-gateway")],
        agents: None,
        required_scopes: Scopes::default(),
        keeps_display_names: false,
        extra_roots: Vec::new(),
        publication: None,
        exchange: Some(ExchangeSettings {
            grant: Grant::JwtBearer { target: TargetParameter::Audience },
            client_id: "obo-gateway".into(),
            client_auth: ClientAuth::SecretPost(SecretToken::new("a secret that nobody looks at")),
            extra: Vec::new(),
            reuse: Reuse::Identity,
            refuses_more_scopes: false,
            client_capabilities: Vec::new(),
        }),
        application: None,
        sign_in: None,
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
            scopes: Scopes::new(["Mail.Read"]),
        },
        issuers: [IssuerName::new("load")].into(),
        required_scopes: Scopes::default(),
        required_sign_in: RequiredSignIn::default(),
        confirm: Confirm::No,
        memo: Memo::default(),
    }
}

/// What this process holds, in bytes.
fn resident() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1_024)
}
