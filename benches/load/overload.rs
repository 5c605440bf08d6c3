//! Three times as many calls as a connector can serve: what it can serve has to be served, and the rest refused at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use obo_gateway::demo::jws::Algorithm;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::agent::Agent;
use crate::calls::{ANSWER, Call};
use crate::finding::Finding;
use crate::gateway::{self, Setup};
use crate::goals::Goal;
use crate::scenario::Scenario;
use crate::table::{Table, thousands};
use crate::world::World;
use crate::wrk::Done;
use crate::{Options, Outcome};

/// Calls at a time that the connector is said to be good for, and as many more that may wait for their turn.
const CONCURRENT: usize = 32;
/// How long the connector takes for each: it can serve 1,600 a second.
const WORK: Duration = Duration::from_millis(20);
/// Agents in the overload. They do not wait for each other, so that calls come at their own pace.
const AGENTS: usize = 512;
/// How many times as many calls come as can be served.
const TIMES: u32 = 3;

pub async fn measure(scenario: &'static Scenario, world: &World, options: &Options) -> Outcome<Finding> {
    let mut finding = Finding::of(scenario);
    if !gateway::knows("queue_timeout")? {
        finding.notes.push("Not measured: this build knows no limits of a connector.".to_owned());
        return Ok(finding);
    }
    let source = Source::start().await?;
    let limits = format!("{{ concurrent: {CONCURRENT}, queue: {CONCURRENT}, queue_timeout: 100ms }}");
    let setup = Setup { upstream: source.address, limits: &limits, ..Setup::usual(world) };
    let proxy = setup.start(&world.folder().join(scenario.name)).await?;
    let tokens: Arc<[String]> = world.tokens(Algorithm::Rs256).into();
    crate::agent::call_once_with_each(proxy.address, Call::ListMessages, Arc::clone(&tokens), 8).await?;

    let lasts = Duration::from_secs(options.seconds);
    let peak = load(proxy.address, &tokens, CONCURRENT, Duration::ZERO, lasts).await?;
    let most = peak.served.answers as f64 / (peak.served.micros / 1e6);
    let every = Duration::from_secs_f64(AGENTS as f64 / (most * f64::from(TIMES)));
    let over = load(proxy.address, &tokens, AGENTS, every, lasts).await?;
    let goodput = over.served.answers as f64 / (over.served.micros / 1e6);
    finding.figures.insert(Goal::Goodput, goodput / most);
    let row = |name: &str, heard: &Heard| {
        let rate = |done: &Done| thousands(done.answers as f64 / (done.micros / 1e6));
        let millis = |micros: f64| format!("{:.1}", micros / 1e3);
        vec![
            name.to_owned(),
            rate(&heard.served),
            rate(&heard.refused),
            millis(heard.served.p50),
            millis(heard.served.p99),
            millis(heard.refused.p50),
            millis(heard.refused.p99),
        ]
    };
    let columns = ["", "served/s", "refused/s", "served p50 ms", "p99 ms", "refused p50 ms", "p99 ms"];
    let rows = vec![row("as many as it can serve", &peak), row("three times as many", &over)];
    let heading = format!("{CONCURRENT} calls at a time, each takes {} ms", WORK.as_millis());
    finding.tables.push(Table::new(heading, &columns, rows));
    proxy.running.stop().await?;
    Ok(finding)
}

/// What agents heard.
struct Heard {
    served: Done,
    refused: Done,
}

/// So many agents, each of whom calls so often, or as often as it is answered; for so long.
async fn load(
    address: SocketAddr,
    tokens: &Arc<[String]>,
    agents: usize,
    every: Duration,
    lasts: Duration,
) -> Outcome<Heard> {
    let (started, mut calling) = (Instant::now(), JoinSet::new());
    for number in 0..agents {
        let tokens = Arc::clone(tokens);
        calling.spawn(async move {
            let mut agent = Agent::connect(address).await?;
            let (mut served, mut refused, mut calls) = (Vec::new(), Vec::new(), 0);
            // Evenly spread over the time between two calls.
            let mut due = started + every.mul_f64(number as f64 / agents as f64);
            while started.elapsed() < lasts {
                tokio::time::sleep_until(due.into()).await;
                due += every;
                calls += 1;
                let (began, token) = (Instant::now(), &tokens[(number + calls * agents) % tokens.len()]);
                let answer = agent.call(Call::ListMessages, token).await?;
                let took = began.elapsed().as_secs_f64() * 1e6;
                match answer.status {
                    200 => served.push(took),
                    429 | 503 => refused.push(took),
                    status => {
                        return Err(format!("{status}: {}", String::from_utf8_lossy(&answer.body)).into());
                    }
                }
            }
            Outcome::Ok((served, refused))
        });
    }
    let (mut served, mut refused) = (Vec::new(), Vec::new());
    while let Some(called) = calling.join_next().await {
        let (more_served, more_refused) = called??;
        served.extend(more_served);
        refused.extend(more_refused);
    }
    let took = started.elapsed();
    Ok(Heard { served: Done::of(served, took), refused: Done::of(refused, took) })
}

/// A connector that takes its time for each call.
struct Source {
    address: SocketAddr,
    serving: AbortHandle,
}

impl Source {
    async fn start() -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        Ok(Self { address, serving: tokio::spawn(accept(listener)).abort_handle() })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn accept(listener: TcpListener) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream));
    }
}

/// Answers one request after another. How the connection ends is the gateway's affair.
async fn serve(stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut stream, mut line) = (BufReader::new(stream), Vec::new());
    loop {
        // To the end of the head; there is no body.
        loop {
            line.clear();
            match stream.read_until(b'\n', &mut line).await? {
                0 => return Ok(()),
                1 | 2 => break,
                _ => {}
            }
        }
        tokio::time::sleep(WORK).await;
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            ANSWER.len()
        );
        stream.write_all((head + &ANSWER).as_bytes()).await?;
    }
}
