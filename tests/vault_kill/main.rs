//! Kills the gateway's process between the authorization server's answer and the vault's write, many times over. After each
//! death the vault must open, and hold the grant before or the newest one, whole; it must hold every token that anybody was given;
//! and whoever lost the newest one must be told.
//!
//! `cargo test --test vault_kill -- --kills 1000` kills more often.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use obo_gateway::audit::{PageVisit, Recorder, RequestId};
use obo_gateway::checked_url::{CheckedUrl, PlainHttp};
use obo_gateway::clock::Now;
use obo_gateway::connections::{
    Callback, ConnectionError, ConnectionSettings, Connections, Held, Links, Missing, Wanted,
};
use obo_gateway::demo::authorization_server::{AuthorizationServer, GrantKind, MAIL_AUDIENCE, Settings};
use obo_gateway::identity::{
    Actor, Issuer, IssuerName, Peer, PersonId, Scopes, SecretToken, Subject, Tenant,
};
use obo_gateway::metrics::Metrics;
use obo_gateway::oauth::ClientAuth;
use obo_gateway::oauth::code_client::{CodeClientSettings, CodeEndpoints};
use obo_gateway::tool::{ConnectorName, ToolName};
use obo_gateway::vault::{KeyId, Vault, VaultKey, VaultSettings};

/// How often a process is killed, unless the command line says otherwise.
const KILLS: usize = 30;
/// Longest time after the server's answer until the death. A write takes about as long.
const DELAY_MICROSECONDS_MAX: u64 = 12_000;
/// Longest wait for a process to do what it is for.
const PATIENCE: Duration = Duration::from_secs(30);
const BROWSER: &str = "a-cookie";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let after = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if let Some(issuer) = after("--child") {
        let file = PathBuf::from(after("--file").expect("a file"));
        return runtime.block_on(be_killed(issuer, &file));
    }
    // `cargo test` asks every test for its list.
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let kills = after("--kills").map_or(KILLS, |count| count.parse().expect("a number"));
    runtime.block_on(kill(kills))
}

/// What the process does that is killed: it renews the token of a grant, again and again, and says which one it was given.
async fn be_killed(issuer: &str, file: &Path) -> ExitCode {
    let connections = connections(issuer, file).await;
    say("open");
    loop {
        match connections.credential(&wanted(), later()).await {
            Ok((grant, _)) => say(grant.access_token().expose()),
            Err(error) => {
                eprintln!("the process that is to be killed: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
}

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().expect("a pipe");
}

/// What came of it.
#[derive(Debug, Default)]
struct Counts {
    kills: usize,
    opened: usize,
    /// The vault held the newest grant that the service has given.
    new: usize,
    /// It held the one before: death came between the answer and the write.
    old: usize,
    /// The person was told then.
    asked_anew: usize,
    /// Somebody was given a token that the vault did not hold.
    given_and_not_kept: usize,
    /// Something else was lost.
    lost: usize,
}

async fn kill(kills: usize) -> ExitCode {
    let mut settings = Settings { signs_in_by_hint: true, ..Settings::default() };
    settings.gateway.redirect_uris.push("https://gateway.example/account/callback/mail".to_owned());
    let server = AuthorizationServer::start(settings).await.expect("a service");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("vault.db");
    let mut counts = Counts::default();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    connect(&server, &file).await;
    while counts.kills < kills {
        let before = refreshes(&server);
        let mut child = start(&server.issuer(), &file);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // Of some refreshes in a row, at one, and there at any moment from its answer on.
        let answers = before + 1 + usize::try_from(random % 3).expect("a small number");
        let begun = Instant::now();
        while refreshes(&server) < answers {
            assert!(begun.elapsed() < PATIENCE, "the process does not renew its token");
            std::hint::spin_loop();
        }
        std::thread::sleep(Duration::from_micros((random >> 8) % DELAY_MICROSECONDS_MAX));
        child.process.kill().expect("killed");
        child.process.wait().expect("dead");
        counts.kills += 1;
        let given = child.given();
        look(&server, &file, given.as_deref(), &mut counts).await;
    }
    let Counts { opened, new, old, asked_anew, given_and_not_kept, lost, .. } = counts;
    println!(
        "vault killed {kills} times: opened afterwards {opened} times; held the newest grant {new} times, and the one before {old} times, \
         whose person was asked anew {asked_anew} times; tokens given to somebody and not kept: {given_and_not_kept}; lost silently: {lost}"
    );
    let is_good = counts.opened == counts.kills
        && counts.new + counts.old == counts.kills
        && counts.asked_anew == counts.old
        && counts.given_and_not_kept == 0
        && counts.lost == 0;
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the vault holds after a death, and what becomes of it. `given` is the last token that somebody was given before.
async fn look(server: &AuthorizationServer, file: &Path, given: Option<&str>, counts: &mut Counts) {
    let connections = connections(&server.issuer(), file).await;
    counts.opened += 1;
    let held = connections.credential(&wanted(), Now::read()).await;
    let Ok((grant, _)) = held else {
        println!("lost after death {}: {:?}", counts.kills, held.err());
        counts.lost += 1;
        return;
    };
    // The death may have been before the answer of one more refresh was read, so it is one of the last.
    let issued = server.issued();
    let place = |token: &str| issued.iter().position(|one| one == token).expect("the service issued it");
    let held = place(grant.access_token().expose());
    let is_new = held + 1 == issued.len();
    if given.is_some_and(|given| place(given) > held) {
        println!("given to somebody and not kept at death {}", counts.kills);
        counts.given_and_not_kept += 1;
    }
    match is_new {
        true => counts.new += 1,
        false => counts.old += 1,
    }
    match connections.credential(&wanted(), later()).await {
        Ok(_) if is_new => {}
        Ok(_) => {
            println!("the old refresh token was taken after death {}", counts.kills);
            counts.lost += 1;
        }
        Err(ConnectionError::Missing(Missing::Withdrawn)) if !is_new => {
            counts.asked_anew += 1;
            connections.close().await;
            drop(connections);
            connect(server, file).await;
            return;
        }
        Err(error) => {
            println!("after death {}: {error}", counts.kills);
            counts.lost += 1;
        }
    }
    connections.close().await;
}

/// A process that is to be killed, and what it says.
struct Doomed {
    process: Child,
    said: BufReader<ChildStdout>,
}

impl Doomed {
    /// The last token that somebody was given there. A line that was cut off was given to nobody.
    fn given(&mut self) -> Option<String> {
        let mut said = String::new();
        self.said.read_to_string(&mut said).expect("text");
        let (whole, _) = said.rsplit_once('\n')?;
        whole.lines().last().map(str::to_owned)
    }
}

fn start(issuer: &str, file: &Path) -> Doomed {
    let own = std::env::current_exe().expect("a name");
    let mut command = Command::new(own);
    command.args(["--child", issuer, "--file"]).arg(file).stdout(Stdio::piped());
    let mut process = command.spawn().expect("a process");
    let mut said = BufReader::new(process.stdout.take().expect("a pipe"));
    let mut line = String::new();
    said.read_line(&mut line).expect("a line");
    assert_eq!(line.trim(), "open");
    Doomed { process, said }
}

/// How many refreshes the server has answered.
fn refreshes(server: &AuthorizationServer) -> usize {
    let exchanges = server.exchanges();
    exchanges
        .iter()
        .filter(|exchange| exchange.grant == GrantKind::RefreshToken && exchange.status.is_some())
        .count()
}

/// Ada connects an account.
async fn connect(server: &AuthorizationServer, file: &Path) {
    let connections = connections(&server.issuer(), file).await;
    let ticket = connections.ask(&wanted(), Missing::Connection, Now::read());
    let holder = wanted().holder;
    let page = connections.begin(&ticket, &holder, BROWSER, &visit(), Now::read()).await.expect("begun");
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build();
    let url = format!("{page}&login_hint=ada");
    let answer = client.expect("a client").get(url).send().await.expect("an answer");
    let location = answer.headers()["location"].to_str().expect("ASCII");
    let location: reqwest::Url = location.parse().expect("a URL");
    let part = |name: &str| {
        let found = location.query_pairs().find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned()).expect("a part of the answer")
    };
    let (state, code, iss) = (part("state"), part("code"), part("iss"));
    let connector = "mail";
    let callback = Callback { connector, state: &state, code: Some(&code), error: None, iss: Some(&iss) };
    connections.complete(&callback, &holder, BROWSER, &visit(), Now::read()).await.expect("connected");
    connections.close().await;
}

async fn connections(issuer: &str, file: &Path) -> Connections {
    let metrics = Arc::<Metrics>::default();
    let bytes: Vec<u8> = (0..32).collect();
    let key = VaultKey::read(KeyId::new("a"), &bytes).expect("a key");
    let settings = VaultSettings { file: file.into(), keys: vec![key] };
    let vault = Vault::open(settings, Arc::clone(&metrics)).await.expect("the vault opens");
    let gateway = Settings::default().gateway;
    let metadata = format!("{issuer}/.well-known/openid-configuration");
    let service = ConnectionSettings {
        connector: wanted().connector,
        client: CodeClientSettings {
            label: IssuerName::new("connections/mail"),
            issuer: Some(Issuer::new(issuer)),
            metadata: vec![CheckedUrl::parse(&metadata, PlainHttp::LoopbackOnly).expect("a URL")],
            endpoints: CodeEndpoints::default(),
            plain_http: PlainHttp::LoopbackOnly,
            client_id: gateway.client_id.as_str().into(),
            client_auth: Some(ClientAuth::SecretPost(SecretToken::new(gateway.secret.as_str()))),
            scopes: Scopes::parse(&format!("offline_access {MAIL_AUDIENCE}/Mail.Read")),
            resource: None,
            extra: Vec::new(),
            extra_roots: Vec::new(),
        },
        account: None,
    };
    let links = Links::new(&"https://gateway.example".parse().expect("a URL"), "/account");
    let held = Arc::new(Held::new(vault));
    // What is recorded is others' to test.
    let recorder = Recorder::for_rehearsal();
    Connections::new(held, vec![service], links, None, recorder, &metrics).expect("connections")
}

fn visit() -> PageVisit {
    PageVisit {
        request: RequestId::next(),
        person: None,
        peer: Peer { address: ([127, 0, 0, 1], 1).into(), tls: false, certificate: None },
        method: reqwest::Method::GET,
        path: "/account/callback/mail".into(),
        user_agent: None,
    }
}

fn wanted() -> Wanted {
    Wanted {
        request: RequestId::next(),
        holder: PersonId {
            issuer: Issuer::new("https://issuer.example"),
            tenant: Tenant::Sole,
            subject: Subject::new("ada"),
        },
        agent: Actor::new("planner"),
        connector: ConnectorName::new("mail"),
        tool: ToolName::new("list_messages"),
        scopes: Scopes::default(),
    }
}

/// Later than any access token lives.
fn later() -> Now {
    Now::read().after(Duration::from_secs(7_200))
}
