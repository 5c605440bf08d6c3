//! Streams of events: what it costs to pass one on, and how much later it arrives.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use obo_gateway::demo::jws::Algorithm;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::agent::Agent;
use crate::calls::Call;
use crate::finding::{Finding, Work};
use crate::gateway::Setup;
use crate::proxy::Proxy;
use crate::running::Under;
use crate::sample::{Sample, median};
use crate::scenario::Scenario;
use crate::table::{Table, thousands};
use crate::trail::Trail;
use crate::world::World;
use crate::wrk::Done;
use crate::{Options, Outcome, nginx};

/// Streams at a time.
const STREAMS: usize = 64;
/// How often each has an event, and how long an event is.
const EVERY: Duration = Duration::from_millis(10);
const EVENT_BYTES: usize = 256;
/// What times are counted from, on both sides of a proxy.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
/// How long proxies have to finish with what the load left behind, before their clocks are read.
const SETTLE: Duration = Duration::from_millis(100);

pub async fn measure(scenario: &'static Scenario, world: &World, options: &Options) -> Outcome<Finding> {
    let mut finding = Finding::of(scenario);
    let (source, folder) = (Source::start().await?, world.folder().join(scenario.name));
    let setup = Setup { upstream: source.address, ..Setup::usual(world) };
    let gateway = setup.start(&folder.join("gateway")).await?;
    let nginx = nginx::start_proxy(&folder, source.address, None, world.cores.proxy, Under::Nothing).await?;
    let tokens: Arc<[String]> = world.tokens(Algorithm::Rs256).into_iter().take(STREAMS).collect();
    let (mut samples, mut work) = ([Vec::new(), Vec::new()], Work::default());
    let events = usize::try_from(options.seconds)? * 1_000 / EVERY.as_millis() as usize;
    for repeat in 0..=options.repeats as usize {
        eprintln!("{}: run {repeat} of {}", scenario.name, options.repeats);
        for (proxy, samples) in [&gateway, &nginx].into_iter().zip(&mut samples) {
            // The first run warms up, and does not count.
            let events = if repeat == 0 { 50 } else { events };
            source.events.store(events, Ordering::Relaxed);
            let sample = run(proxy, &tokens).await?;
            if repeat > 0 {
                samples.push(sample);
            }
        }
        work.add_calls(tokens.len() as u64);
    }
    let ratio =
        median(samples[0].iter().zip(&samples[1]).map(|(one, other)| one.cpu_micros / other.cpu_micros));
    let rows =
        [("obo-gateway", ratio), ("nginx", 1.0)].into_iter().zip(&samples).map(|((name, ratio), samples)| {
            let sample = Sample::median(samples);
            vec![
                name.to_owned(),
                format!("{:.1}", sample.cpu_micros),
                format!("{ratio:.2}"),
                thousands(sample.requests_per_second),
                thousands(sample.p50_micros),
                thousands(sample.p99_micros),
                format!("{:.0} %", sample.busy * 100.0),
            ]
        });
    let heading = format!(
        "{STREAMS} streams, each with an event of {EVENT_BYTES} bytes every {} ms",
        EVERY.as_millis()
    );
    let columns = ["", "CPU µs/event", "ratio", "events/s", "p50 µs", "p99 µs", "busy"];
    finding.tables.push(Table::new(heading, &columns, rows.collect()));
    nginx.running.stop().await?;
    gateway.running.stop().await?;
    let trail = gateway.trail.ok_or("a gateway has a trail")?;
    let (told, faults) = work.compare(&Trail::read(&trail)?);
    finding.notes.push(format!("obo-gateway: {told}."));
    finding.faults.extend(faults);
    Ok(finding)
}

/// Reads all streams to their ends; the latency is that of an event.
async fn run(proxy: &Proxy, tokens: &Arc<[String]>) -> Outcome<Sample> {
    let (address, mut reading) = (proxy.address, JoinSet::new());
    let (before, started) = (proxy.running.cpu_time()?, Instant::now());
    for number in 0..STREAMS {
        let tokens = Arc::clone(tokens);
        reading.spawn(async move {
            let (mut agent, mut latencies) = (Agent::connect(address).await?, Vec::new());
            agent.send(Call::Events, &tokens[number % tokens.len()]).await?;
            let (head, mut event) = (agent.head().await?, Vec::new());
            if head.status != 200 {
                return Err(format!("a stream was answered {}", head.status).into());
            }
            while agent.chunk(&mut event).await? {
                for sent in str::from_utf8(&event)?.split("\n\n").filter_map(sent_at) {
                    latencies.push(micros().saturating_sub(sent) as f64);
                }
                event.clear();
            }
            Outcome::Ok(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(read) = reading.join_next().await {
        latencies.extend(read??);
    }
    let done = Done::of(latencies, started.elapsed());
    tokio::time::sleep(SETTLE).await;
    Ok(Sample::new(&done, proxy.running.cpu_time()?.saturating_sub(before)))
}

/// A connector whose every answer is a stream of events, each with the time at which it was sent.
struct Source {
    address: SocketAddr,
    /// How many events the streams have that begin from now on.
    events: Arc<AtomicUsize>,
    serving: AbortHandle,
}

impl Source {
    async fn start() -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, events) = (listener.local_addr()?, Arc::new(AtomicUsize::new(0)));
        let serving = tokio::spawn(accept(listener, Arc::clone(&events))).abort_handle();
        Ok(Self { address, events, serving })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn accept(listener: TcpListener, events: Arc<AtomicUsize>) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(&events)));
    }
}

/// Answers each request with a stream. How the connection ends is the proxy's affair.
async fn serve(stream: TcpStream, events: Arc<AtomicUsize>) -> std::io::Result<()> {
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
        // nginx passes such a stream on as it comes.
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Accel-Buffering: no\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        let mut ticks = tokio::time::interval(EVERY);
        for _ in 0..events.load(Ordering::Relaxed) {
            ticks.tick().await;
            let begin = format!("data: {} ", micros());
            let event = format!("{begin}{}\n\n", "x".repeat(EVENT_BYTES - begin.len() - 2));
            stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?;
        }
        stream.write_all(b"0\r\n\r\n").await?;
    }
}

/// When an event was sent, in microseconds.
fn sent_at(event: &str) -> Option<u64> {
    event.strip_prefix("data: ")?.split(' ').next()?.parse().ok()
}

fn micros() -> u64 {
    u64::try_from(BEGINNING.elapsed().as_micros()).unwrap_or(u64::MAX)
}
