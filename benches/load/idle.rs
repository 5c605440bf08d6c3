//! Many who say nothing: idle TLS connections, and as many clients that stop in the middle of something. What an idle one takes in
//! memory, how soon a fresh client is answered beside all of them, and whether deadlines clear them away.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use obo_gateway::demo::jws::Algorithm;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::agent::Agent;
use crate::calls::Call;
use crate::finding::Finding;
use crate::gateway::Setup;
use crate::goals::Goal;
use crate::proxy::Proxy;
use crate::scenario::Scenario;
use crate::table::{Table, thousands};
use crate::world::World;
use crate::wrk::Done;
use crate::{Options, Outcome};

/// Clients that are idle, and as many that have stalled.
const CLIENTS: u32 = 15_000;
/// Clients that are idle and speak HTTP/2, which have to answer pings, and so are all there to the last.
const CLIENTS_OF_HTTP2: u32 = 1_000;
/// Deadline for all that they do not do: long enough for all of them to be there at a time.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long after the last deadline all of them have to be gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a fresh client comes.
const FRESH_EVERY: Duration = Duration::from_millis(10);
/// Connections that are there beside those clients: fresh ones, and what is not closed yet.
const OTHERS: u32 = 64;
/// Clients that connect at a time. More than systems let wait would be lost, and come again a second later.
const CONNECTING: usize = 64;
/// Clients of one address: each has some 28,000 ports.
const CLIENTS_OF_ADDRESS: u32 = 10_000;
/// How long the gateway has to finish with what it was sent, before its memory is read.
const SETTLE: Duration = Duration::from_secs(1);

pub async fn measure(scenario: &'static Scenario, world: &World, options: &Options) -> Outcome<Finding> {
    let mut finding = Finding::of(scenario);
    let wanted = options.connections_of(&[CLIENTS])[0];
    let count = wanted.min(room_for(wanted)?);
    if count < wanted {
        finding.notes.push(format!(
            "{} clients of each kind, and not {}: this process may have no more file descriptors.",
            thousands(f64::from(count)),
            thousands(f64::from(wanted)),
        ));
    }
    let (seconds, most) = (DEADLINE.as_secs(), 2 * count + OTHERS);
    let bounds = format!(
        "timeouts: {{ handshake: {seconds}s, opening: {seconds}s, head: {seconds}s, body: {seconds}s, idle: {seconds}s }}
bounds: {{ connections: {most} }}
"
    );
    let setup = Setup {
        certificate: Some(&world.certificates.server),
        keys: &bounds,
        // Their memory is of interest, and not the upstream's.
        ..Setup::usual(world)
    };
    let proxy = setup.start(&world.folder().join(scenario.name)).await?;
    let clients = Arc::new(Clients::of(&proxy, world)?);
    let lasts = Duration::from_secs(options.seconds);

    clients.make_known(options.people).await?;
    clients.fresh_for(lasts).await?;
    let mut rows = Vec::new();
    let row = |name: String, resident: u64, each: Option<f64>, fresh: &Done| {
        let millis = |micros: f64| format!("{:.1}", micros / 1e3);
        vec![
            name,
            format!("{:.1}", resident as f64 / 1_048_576.0),
            each.map_or_else(|| "–".to_owned(), |bytes| format!("{:.1}", bytes / 1_024.0)),
            thousands(fresh.answers as f64),
            millis(fresh.p50),
            millis(fresh.p99),
        ]
    };
    closed(&proxy).await?;
    let empty = proxy.running.resident()?;
    rows.push(row("nobody else".to_owned(), empty, None, &clients.fresh_for(lasts).await?));

    let idle = clients.open(0..count, Kind::Idle).await?;
    tokio::time::sleep(SETTLE).await;
    let with_idle = proxy.running.resident()?;
    let each = with_idle.saturating_sub(empty) as f64 / f64::from(count);
    finding.figures.insert(Goal::IdleConnection, each / 1_024.0);
    let name = format!("{} idle", thousands(f64::from(count)));
    rows.push(row(name.clone(), with_idle, Some(each), &clients.fresh_for(lasts).await?));

    let stalled = clients.open(count..2 * count, Kind::Stalled).await?;
    let opened = Instant::now();
    tokio::time::sleep(SETTLE).await;
    let with_all = proxy.running.resident()?;
    let each = with_all.saturating_sub(with_idle) as f64 / f64::from(count);
    let beside_all = clients.fresh_for(lasts).await?;
    if proxy.metric("open_connections").await? < f64::from(2 * count) {
        finding.faults.push("some were gone before fresh clients came: the machine is too slow".to_owned());
    }
    finding.figures.insert(Goal::FreshP99, beside_all.p99 / 1e3);
    rows.push(row(format!("{name}, and as many stalled"), with_all, Some(each), &beside_all));

    // Fresh ones go on coming while all the others are sent away.
    let meanwhile = clients.fresh_until_others_are_gone(&proxy, opened).await?;
    let gone = opened.elapsed();
    drop((idle, stalled));
    closed(&proxy).await?;
    rows.push(row("while deadlines end them".to_owned(), proxy.running.resident()?, None, &meanwhile));
    // What they held is there for those who come next.
    let again = clients.open(0..count, Kind::Idle).await?;
    tokio::time::sleep(SETTLE).await;
    let resident = proxy.running.resident()?;
    rows.push(row("as many idle ones again".to_owned(), resident, None, &clients.fresh_for(lasts).await?));
    drop(again);
    let columns = ["beside", "resident MiB", "KiB each", "fresh clients", "p50 ms", "p99 ms"];
    let heading = format!(
        "{} of each kind, a fresh client every {} ms",
        thousands(f64::from(count)),
        FRESH_EVERY.as_millis()
    );
    finding.tables.push(Table::new(heading, &columns, rows));
    finding.notes.push(format!(
        "The last of them was gone {} s after it had come, with deadlines of {seconds} s.",
        gone.as_secs()
    ));
    proxy.running.stop().await?;
    finding.notes.push(format!(
        "An idle HTTP/2 connection takes {:.1} KiB ({} of them).",
        idle_http2(&setup, scenario, world, options).await? / 1_024.0,
        thousands(f64::from(CLIENTS_OF_HTTP2)),
    ));
    Ok(finding)
}

/// How many bytes each idle connection takes over HTTP/2, after one call.
async fn idle_http2(
    setup: &Setup<'_>,
    scenario: &Scenario,
    world: &World,
    options: &Options,
) -> Outcome<f64> {
    let proxy = setup.start(&world.folder().join(scenario.name).join("http2")).await?;
    let clients = Arc::new(Clients::of(&proxy, world)?);
    clients.make_known(options.people).await?;
    closed(&proxy).await?;
    let empty = proxy.running.resident()?;
    let mut idle = Vec::new();
    for number in 0..CLIENTS_OF_HTTP2 {
        idle.push(clients.call_once_by_http2(number).await?);
    }
    tokio::time::sleep(SETTLE).await;
    let each = proxy.running.resident()?.saturating_sub(empty) as f64 / f64::from(CLIENTS_OF_HTTP2);
    drop(idle);
    proxy.running.stop().await?;
    Ok(each)
}

/// How many clients of each kind this process and the gateway may have, of so many wanted. The gateway inherits what is raised here, and
/// keeps a descriptor towards a connector for each connection of an agent.
fn room_for(wanted: u32) -> Outcome<u32> {
    /// What either process has beside its connections.
    const OTHERS_MAX: u64 = 512;
    let needed = u64::from(2 * wanted + OTHERS) * 2 + OTHERS_MAX;
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = maximum.map(|maximum| maximum.max(needed));
    // Only root may have more than the maximum.
    if setrlimit(Resource::Nofile, Rlimit { current: raised, maximum: raised }).is_err() {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    let Some(descriptors) = getrlimit(Resource::Nofile).current else { return Ok(wanted) };
    let connections = descriptors.saturating_sub(OTHERS_MAX) / 2;
    Ok(u32::try_from(connections.saturating_sub(OTHERS.into()) / 2)?)
}

/// Waits until nobody is connected but perhaps who has just come.
async fn closed(proxy: &Proxy) -> Outcome<()> {
    let began = Instant::now();
    while proxy.metric("open_connections").await? > 0.0 {
        if began.elapsed() > PATIENCE {
            return Err("connections are left that nobody has".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What they held is given back a moment later.
    tokio::time::sleep(SETTLE).await;
    Ok(())
}

/// What a client does before it says nothing any more.
#[derive(Clone, Copy)]
enum Kind {
    /// It makes one whole call.
    Idle,
    /// It stops in one of four places.
    Stalled,
}

/// Those who connect to a gateway.
struct Clients {
    gateway: SocketAddr,
    tls: TlsConnector,
    tls_for_http2: TlsConnector,
    tokens: Box<[String]>,
}

impl Clients {
    fn of(proxy: &Proxy, world: &World) -> Outcome<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(world.certificates.roots()?)
            .with_no_client_auth();
        // Nobody has been here before.
        config.resumption = Resumption::disabled();
        let mut config_for_http2 = config.clone();
        config_for_http2.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            gateway: proxy.address,
            tls: TlsConnector::from(Arc::new(config)),
            tls_for_http2: TlsConnector::from(Arc::new(config_for_http2)),
            tokens: world.tokens(Algorithm::Rs256).into(),
        })
    }

    /// Has so many people call once: their tokens are known then, and the memory that calls take is there, before any is read.
    async fn make_known(self: &Arc<Self>, people: u32) -> Outcome<()> {
        for number in 0..people {
            self.fresh(number).await??;
        }
        Ok(())
    }

    /// Has these clients come, a few at a time, and gives their connections. Nobody reads from those any more.
    async fn open(self: &Arc<Self>, numbers: Range<u32>, kind: Kind) -> Outcome<Vec<TcpStream>> {
        let (connecting, mut opening) = (Arc::new(Semaphore::new(CONNECTING)), JoinSet::new());
        for number in numbers {
            let (clients, connecting) = (Arc::clone(self), Arc::clone(&connecting));
            opening.spawn(async move {
                let _permit = connecting.acquire().await?;
                match kind {
                    Kind::Idle => clients.call_once(number).await,
                    Kind::Stalled => clients.stall(number).await,
                }
            });
        }
        let mut streams = Vec::new();
        while let Some(opened) = opening.join_next().await {
            streams.push(opened??);
        }
        Ok(streams)
    }

    async fn connect(&self, number: u32) -> Outcome<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        let address = u8::try_from(number / CLIENTS_OF_ADDRESS)?.saturating_add(2);
        socket.bind((Ipv4Addr::new(127, 0, 0, address), 0).into())?;
        let stream = socket.connect(self.gateway).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn connect_tls(&self, number: u32) -> Outcome<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost")?;
        Ok(self.tls.connect(name, self.connect(number).await?).await?)
    }

    /// A whole call. The connection stays, without what the client has to have for TLS.
    async fn call_once(&self, number: u32) -> Outcome<TcpStream> {
        let mut agent = Agent::over(self.connect_tls(number).await?, self.gateway);
        let answer = agent.call(Call::ListMessages, self.token(number)).await?;
        if answer.status != 200 || answer.body != Call::ListMessages.answer().as_bytes() {
            return Err(format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body)).into());
        }
        Ok(agent.into_stream().into_inner().0)
    }

    /// A whole call by HTTP/2. The connection stays for as long as what is returned.
    async fn call_once_by_http2(&self, number: u32) -> Outcome<SendRequest<Empty<Bytes>>> {
        let name = ServerName::try_from("localhost")?;
        let stream = self.tls_for_http2.connect(name, self.connect(number).await?).await?;
        let (mut sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        let request = Request::get(format!("https://localhost{}", Call::ListMessages.path()))
            .header(AUTHORIZATION, format!("Bearer {}", self.token(number)))
            .body(Empty::new())?;
        let answer = sender.send_request(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(format!("{}", answer.status()).into());
        }
        let body = answer.into_body().collect().await?.to_bytes();
        match body == Call::ListMessages.answer().as_bytes() {
            true => Ok(sender),
            false => Err("another answer".into()),
        }
    }

    /// Stops before or in the handshake, in a head, or in a body that is read before anything is forwarded.
    async fn stall(&self, number: u32) -> Outcome<TcpStream> {
        let mut request = Vec::new();
        Call::UseTool.write_request("localhost", self.token(number), &mut request);
        match number % 4 {
            0 => self.connect(number).await,
            1 => {
                let mut stream = self.connect(number).await?;
                stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await?;
                Ok(stream)
            }
            place => {
                let body = Call::UseTool.body().len();
                let sent = if place == 2 { (request.len() - body) / 2 } else { request.len() - body / 2 };
                let mut stream = self.connect_tls(number).await?;
                stream.write_all(&request[..sent]).await?;
                stream.flush().await?;
                Ok(stream.into_inner().0)
            }
        }
    }

    fn token(&self, number: u32) -> &str {
        &self.tokens[number as usize % self.tokens.len()]
    }

    /// A client that comes, calls, and goes: how long that takes.
    fn fresh(self: &Arc<Self>, number: u32) -> JoinHandle<Outcome<f64>> {
        let clients = Arc::clone(self);
        tokio::spawn(async move {
            let began = Instant::now();
            clients.call_once(number).await?;
            Ok(began.elapsed().as_secs_f64() * 1e6)
        })
    }

    /// Fresh clients come for so long.
    async fn fresh_for(self: &Arc<Self>, lasts: Duration) -> Outcome<Done> {
        let began = Instant::now();
        self.fresh_while(async || Ok(began.elapsed() < lasts)).await
    }

    /// Fresh clients come until the others are gone, which they have to be in time.
    async fn fresh_until_others_are_gone(self: &Arc<Self>, proxy: &Proxy, opened: Instant) -> Outcome<Done> {
        self.fresh_while(async || {
            if opened.elapsed() > DEADLINE + PATIENCE {
                return Err("some are there after their deadlines".into());
            }
            Ok(proxy.metric("open_connections").await? > f64::from(OTHERS))
        })
        .await
    }

    async fn fresh_while(self: &Arc<Self>, goes_on: impl AsyncFn() -> Outcome<bool>) -> Outcome<Done> {
        let (began, mut fresh, mut number) = (Instant::now(), Vec::new(), 0_u32);
        let mut due = tokio::time::interval(FRESH_EVERY);
        // Asked about once a second, since it takes the gateway's time as well.
        let every = 1_000 / u32::try_from(FRESH_EVERY.as_millis())?;
        while !number.is_multiple_of(every) || goes_on().await? {
            due.tick().await;
            fresh.push(self.fresh(number));
            number += 1;
        }
        let mut latencies = Vec::new();
        for client in fresh {
            latencies.push(client.await??);
        }
        Ok(Done::of(latencies, began.elapsed()))
    }
}
