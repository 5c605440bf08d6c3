//! A process that may have few file descriptors, and many who want some.

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use obo_gateway::demo::script::Reply;
use reqwest::Client;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Running;
use crate::bed::{Setup, TOOLS, TestBed, assert_refused, client, refusal};

/// How many descriptors the gateway may have.
const DESCRIPTORS: u64 = 256;

/// A gateway of its own that may have so few, and counterparts that may have as many as they like.
async fn gateway_of_few(bed: &TestBed) -> Running {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .expect("the tests have all that they may");
    let config = bed.folder.path().join("own.yaml");
    let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
    std::fs::write(&config, text.replace("audit.jsonl", "own.jsonl")).expect("written");
    let mut program = Command::new("sh");
    program.args(["-c", &format!("ulimit -n {DESCRIPTORS} && exec \"$@\""), "sh"]);
    program
        .arg(env!("CARGO_BIN_EXE_obo-gateway"))
        .env_remove("OBO_GATEWAY_CONFIG")
        .env_remove("OBO_GATEWAY_LOG");
    Running::start_as(program, &config).await
}

impl Running {
    async fn call(&self, bed: &TestBed, client: &Client) -> reqwest::Response {
        let call =
            client.get(format!("http://{}/mail/me/messages", self.address)).bearer_auth(bed.token("ada"));
        call.timeout(Duration::from_secs(20)).send().await.expect("an answer")
    }

    /// Serves it, and leaves it its connection.
    async fn serves(&self, bed: &TestBed, client: &Client) {
        let answer = self.call(bed, client).await;
        assert_eq!(answer.status(), 200);
        answer.bytes().await.expect("a body");
    }

    pub async fn metric(&self, name: &str) -> f64 {
        let metrics = client().get(format!("http://{}/metrics", self.admin)).timeout(Duration::from_secs(20));
        let metrics = metrics.send().await.expect("an answer").text().await.expect("a text");
        let value = metrics.lines().find_map(|line| line.strip_prefix(name));
        value.expect("it is there").trim().parse().expect("a number")
    }

    /// How much of a second of a processor it uses in a second.
    async fn busy(&self) -> f64 {
        let ticks = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("a process");
            // Behind the name, which may have spaces: fields 14 and 15 are the time of the process and the system's for it.
            let fields: Vec<_> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
            fields[11..13].iter().map(|ticks| ticks.parse::<f64>().expect("a number")).sum::<f64>()
        };
        let (before, began) = (ticks(), Instant::now());
        tokio::time::sleep(Duration::from_secs(1)).await;
        (ticks() - before) / 100.0 / began.elapsed().as_secs_f64()
    }

    fn lines_with(&self, words: &str) -> usize {
        self.log.lock().expect("nobody panics here").iter().filter(|line| line.contains(words)).count()
    }

    /// From now on it may have so many.
    fn may_have(&self, descriptors: u64) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a number")).expect("a process");
        let limit = Rlimit { current: Some(descriptors), maximum: Some(DESCRIPTORS) };
        prlimit(Some(pid), Resource::Nofile, limit).expect("it is ours");
    }
}

#[tokio::test]
async fn a_crowd_takes_no_descriptors_from_operators_and_connectors_and_has_its_turn() {
    let bed = Setup::default().start().await;
    let running = gateway_of_few(&bed).await;
    let connected = client();
    running.serves(&bed, &connected).await;
    // Some wait at the system's door, and the others before it.
    let mut crowd = JoinSet::new();
    for _ in 0..1_000 {
        let connecting = tokio::net::TcpStream::connect(running.address.clone());
        crowd.spawn(async move {
            let _connected = connecting.await;
            std::future::pending::<()>().await;
        });
    }
    while running.metric("obo_gateway_open_connections ").await < 64.0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let busy = running.busy().await;
    assert!(busy < 0.5, "{busy} of a processor");
    assert_eq!(running.metric("obo_gateway_open_connections ").await, 64.0);
    // It has a connection; and another one to the connector is found.
    bed.connector.stop_listening().await;
    bed.connector.listen_again().await.expect("listening");
    running.serves(&bed, &connected).await;
    drop(crowd);
    running.serves(&bed, &client()).await;
    assert_eq!(running.metric("obo_gateway_accept_failures_total ").await, 0.0);
}

#[tokio::test]
async fn without_descriptors_it_waits_says_so_once_and_goes_on_when_there_are_some() {
    let bed = Setup::default().start().await;
    let running = gateway_of_few(&bed).await;
    let connected = client();
    running.serves(&bed, &connected).await;
    running.may_have(3);
    let waiting: Vec<_> =
        (0..10).map(|_| TcpStream::connect(&running.address).expect("the system lets them wait")).collect();
    let busy = running.busy().await;
    assert!(busy < 0.5, "{busy} of a processor");
    assert_eq!(running.lines_with("Connections cannot be accepted"), 1);
    // Who is connected hears that the gateway has no room, where there is no connection to the connector yet.
    bed.connector.stop_listening().await;
    bed.connector.listen_again().await.expect("listening");
    assert_refused(&refusal(running.call(&bed, &connected).await).await, 503, "gateway_busy");
    running.may_have(DESCRIPTORS);
    running.serves(&bed, &connected).await;
    running.serves(&bed, &client()).await;
    assert!(running.metric("obo_gateway_accept_failures_total ").await > 1.0);
    assert_eq!(running.lines_with("Connections are accepted again"), 1);
    drop(waiting);
}

#[tokio::test]
async fn one_agent_with_many_calls_takes_no_descriptors_from_others() {
    /// Half of the descriptors is for others, and half of the rest for connections to connectors.
    const CONNECTIONS: usize = 64;
    let setup = Setup::default().config(|parts| {
        parts.whole(&parts.issuer(), &parts.mail(TOOLS)).replace("connect: 20s", "connect: 3s")
    });
    let bed = setup.start().await;
    let running = gateway_of_few(&bed).await;
    let agent = Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    running.serves(&bed, &agent).await;
    let release = CancellationToken::new();
    bed.connector.script().always(Reply::normal().held_until(release.clone()));
    let calls = (0..2 * CONNECTIONS).map(|_| running.call(&bed, &agent));
    let mut calls: FuturesUnordered<_> = calls.collect();
    // What cannot be made is refused first, since all others are held.
    for _ in 0..CONNECTIONS {
        let refused = calls.next().await.expect("an answer");
        assert_eq!(refused.headers()["retry-after"], "10");
        assert_refused(&refusal(refused).await, 503, "gateway_busy");
    }
    assert_eq!(bed.connector.in_flight(), CONNECTIONS);
    release.cancel();
    while let Some(answer) = calls.next().await {
        assert_eq!(answer.status(), 200);
        answer.bytes().await.expect("a body");
    }
    // All connections are idle, and of one worker. They go where another one is needed.
    bed.connector.script().clear();
    running.serves(&bed, &client()).await;
    running.serves(&bed, &agent).await;
}
