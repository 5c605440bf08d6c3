//! Thousands of callers of one person who all come while there is no token yet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use obo_gateway::demo::authorization_server::Endpoint;
use obo_gateway::demo::script::Reply;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::lane::{Echo, Lane, SignIn, Whom};
use crate::report::{Faults, Lines, count};
use crate::stage::{Setup, Stage};
use crate::world::Grant;
use crate::{Options, Outcome};

/// Callers on one connection: fewer than the gateway lets one have at a time.
const CALLERS_PER_CONNECTION: usize = 200;
/// Subject tokens of that person that are around.
const TOKENS: usize = 16;
/// How long the exchange is held for callers that are still on their way. The gateway gives it up after 10 seconds; on
/// a machine that is too slow for everybody to come within that time, the rest find the token kept.
const HELD_MAX: Duration = Duration::from_secs(6);
/// Callers of the crowd whose first one leaves.
const SMALL_CROWD: usize = 500;

/// The one who is called for, and somebody else whose call opens the way to the connector before.
const ADA: Lane = Lane { person: 0, agent: 0, tenant: 0, sign_in: SignIn::Plain, connector: 0, tool: 0 };
const BOB: Lane = Lane { person: 1, ..ADA };

/// Everybody waits for one exchange, and everybody is served.
pub async fn shares_one_exchange(options: Options) -> Outcome<Lines> {
    let callers = usize::try_from(options.callers)?;
    let crowd = Crowd::gather(callers).await?;
    let calls = crowd.call();
    let waiting = crowd.hold(callers).await?;
    let (served, took) = crowd.let_go(calls).await;
    let mut faults = Faults::default();
    faults.extend(served.iter().filter_map(|answer| answer.clone().err()).take(5));
    let served = served.iter().filter(|answer| answer.is_ok()).count();
    faults.same("callers served", served, callers);
    let mut lines = Lines::default();
    lines.say(
        "crowd",
        format!(
            "{} callers of one person on {} connections: {} exchange, {} served",
            count(callers),
            crowd.connections.len(),
            crowd.exchanges(),
            count(served)
        ),
    );
    lines.say(
        "",
        format!("{} waited when it came back; all had their answers {took:.1?} later", count(waiting)),
    );
    crowd.end(callers + 1, 0, faults, lines).await
}

/// The caller that started the exchange hangs up; the others are served by that same exchange.
pub async fn outlives_its_first_caller(_: Options) -> Outcome<Lines> {
    let crowd = Crowd::gather(SMALL_CROWD).await?;
    let (address, token) = (crowd.stage.gateway.agent_address(), crowd.stage.world.subject_token(&ADA, true));
    let (target, expected) =
        (crowd.stage.world.target(&ADA, usize::MAX), Arc::new(crowd.stage.world.whom(&ADA)));
    let first: JoinHandle<Outcome<()>> = tokio::spawn(async move {
        let (connection, driving) = connect(address).await?;
        tokio::select! {
            answered = call(connection, usize::MAX, target, token, expected) => answered,
            ended = driving => Err(format!("the connection ended: {ended:?}").into()),
        }
    });
    crowd.exchange_begins().await?;
    let calls = crowd.call();
    let waiting = crowd.hold(SMALL_CROWD + 1).await?;
    first.abort();
    let mut faults = Faults::default();
    faults.holds(first.await.is_err_and(|ended| ended.is_cancelled()), || {
        "the first caller did not hang up".to_owned()
    });
    // That the gateway has noticed is part of the point.
    crowd.stage.wait_for("requests_total", r#"outcome="agent_left""#, |left| left == 1).await?;
    faults.same("exchanges under way", crowd.exchanges(), 1);
    let (served, _) = crowd.let_go(calls).await;
    faults.extend(served.iter().filter_map(|answer| answer.clone().err()).take(5));
    let served = served.iter().filter(|answer| answer.is_ok()).count();
    faults.same("callers served", served, SMALL_CROWD);
    let mut lines = Lines::default();
    lines.say(
        "crowd",
        format!(
            "{waiting} waited, the first hung up: {} exchange, the other {served} served",
            crowd.exchanges()
        ),
    );
    crowd.end(SMALL_CROWD + 2, 1, faults, lines).await
}

/// Callers about to call, and an exchange that waits for them.
struct Crowd {
    stage: Stage,
    callers: usize,
    connections: Vec<SendRequest<Empty<Bytes>>>,
    /// What drives them; dropped with the crowd.
    _driving: JoinSet<()>,
    release: CancellationToken,
}

type Calls = Vec<JoinHandle<Outcome<()>>>;

impl Crowd {
    async fn gather(callers: usize) -> Outcome<Self> {
        let setup = Setup { people: 2, grants: &[Grant::TokenExchange], tls: true, manners: None };
        let stage = Stage::start(setup).await?;
        let address = stage.gateway.agent_address();
        let (mut connections, mut driving) = (Vec::new(), JoinSet::new());
        for _ in 0..callers.div_ceil(CALLERS_PER_CONNECTION) {
            let (connection, drive) = connect(address).await?;
            connections.push(connection);
            driving.spawn(async move { drop(drive.await) });
        }
        let (token, expected) = (stage.world.subject_token(&BOB, false), Arc::new(stage.world.whom(&BOB)));
        let target = stage.world.target(&BOB, 0);
        call(connections[0].clone(), 0, target, token, expected).await?;
        let release = CancellationToken::new();
        let script = stage.world.tenants[0].server.script(Endpoint::Token);
        script.once(Reply::normal().held_until(release.clone()));
        Ok(Self { stage, callers, connections, _driving: driving, release })
    }

    /// All call.
    fn call(&self) -> Calls {
        let tokens: Vec<String> = (0..TOKENS).map(|_| self.stage.world.subject_token(&ADA, true)).collect();
        let expected = Arc::new(self.stage.world.whom(&ADA));
        (0..self.callers)
            .map(|number| {
                let connection = self.connections[number % self.connections.len()].clone();
                let (token, expected) = (tokens[number % TOKENS].clone(), Arc::clone(&expected));
                let target = self.stage.world.target(&ADA, number);
                tokio::spawn(call(connection, number, target, token, expected))
            })
            .collect()
    }

    /// How many exchanges were for the one who is called for: the other had one before.
    fn exchanges(&self) -> usize {
        self.stage.world.exchanges() - 1
    }

    async fn exchange_begins(&self) -> Outcome<()> {
        for _ in 0..1_200 {
            if self.exchanges() > 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err("the exchange never began".into())
    }

    /// Waits until all are waiting for the exchange. Returns how many are.
    async fn hold(&self, expected: usize) -> Outcome<usize> {
        self.exchange_begins().await?;
        let began = Instant::now();
        loop {
            let waiting = usize::try_from(self.stage.metric("calls_in_progress", "").await?)?;
            if waiting >= expected || began.elapsed() > HELD_MAX {
                return Ok(waiting);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets the exchange come back. Returns what each caller got, and how long all of it took.
    async fn let_go(&self, calls: Calls) -> (Vec<Result<(), String>>, Duration) {
        let began = Instant::now();
        self.release.cancel();
        let mut answers = Vec::new();
        for call in calls {
            answers.push(match call.await {
                Ok(answer) => answer.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            });
        }
        (answers, began.elapsed())
    }

    /// The checks that both crowds have in common. Each call has one record.
    async fn end(self, calls: usize, left: usize, mut faults: Faults, lines: Lines) -> Outcome<Lines> {
        faults.same("exchanges", self.exchanges(), 1);
        let (crossings, described) = self.stage.crossings();
        faults.same("crossings", crossings, 0);
        faults.extend(described);
        faults.same("requests of the connector", self.stage.connector_requests(), calls - left);
        faults.same("tokens that the connector saw", self.stage.connector_tokens(), 2);
        self.stage.wait_for("calls_in_progress", "", |running| running == 0).await?;
        faults.same("records", self.stage.records().await?.len(), calls);
        self.stage.stop().await;
        faults.or_report(lines)
    }
}

type Driving = http2::Connection<TokioIo<TcpStream>, Empty<Bytes>, TokioExecutor>;

async fn connect(address: std::net::SocketAddr) -> Outcome<(SendRequest<Empty<Bytes>>, Driving)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (connection, driving): (_, Driving) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    Ok((connection, driving))
}

/// One call, and whether its answer is for whom it was made.
async fn call(
    mut connection: SendRequest<Empty<Bytes>>,
    number: usize,
    target: String,
    token: String,
    expected: Arc<Whom>,
) -> Outcome<()> {
    let request = Request::get(format!("http://gateway.test{target}"))
        .header("authorization", format!("Bearer {token}"))
        .body(Empty::new())?;
    let answer = connection.send_request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    let echo: Echo =
        serde_json::from_slice(&body).map_err(|_| format!("{status}: {}", String::from_utf8_lossy(&body)))?;
    match echo.call == number && echo.whom == *expected {
        true => Ok(()),
        false => Err(format!("call {number} was answered {echo:?}").into()),
    }
}
