//! A connector that moves to another address: `names.c` is preloaded into the gateway, and has the connector's name say what the test
//! wants.

use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::bed::{ANYTHING, Setup};
use crate::clock::{Clock, shim};
use crate::command::Running;

/// How long new calls may go to the old address, on connections that are in use.
const FOLLOWED_WITHIN: i64 = 300;
/// Less than what a connection may be idle.
const STEP: i64 = 40;

/// The address of a name.
struct Name(PathBuf);

impl Name {
    fn new(folder: &Path, address: &str) -> Self {
        let name = Self(folder.join("address"));
        name.moves_to(address);
        name
    }

    fn moves_to(&self, address: &str) {
        // Whoever reads it meanwhile reads the one or the other.
        let written = self.0.with_extension("new");
        std::fs::write(&written, address).expect("written");
        std::fs::rename(written, &self.0).expect("renamed");
    }

    fn known_to(&self, command: &mut Command, others: PathBuf) {
        let preload = format!("{}:{}", others.display(), shim("names").display());
        command.env("LD_PRELOAD", preload).env("NAMES_FILE", &self.0);
    }
}

/// A connector that says who it is. Once it closes, it closes the connections that there are.
fn serve(listener: TcpListener, who: &'static str, closes: CancellationToken) {
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let closes = closes.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = answer(stream, who) => {}
                    () = closes.cancelled() => {}
                }
            });
        }
    });
}

async fn answer(mut stream: TcpStream, who: &str) {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{who}", who.len());
    while let Ok(1..) = stream.read(&mut [0; 65_536]).await {
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A gateway, and a connector that is at one address and moves to another one.
struct Bed {
    bed: crate::bed::TestBed,
    running: Running,
    clock: Clock,
    name: Name,
    old_closes: CancellationToken,
    client: Client,
}

impl Bed {
    async fn start() -> Self {
        let old = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let port = old.local_addr().expect("an address").port();
        let new = TcpListener::bind(("127.0.0.2", port)).await.expect("the same port at another address");
        let old_closes = CancellationToken::new();
        serve(old, "old", old_closes.clone());
        serve(new, "new", CancellationToken::new());
        let setup = Setup::default().config(move |parts| {
            let more = format!("    allow_plain_http: true\n{ANYTHING}");
            // The agent's connection stays on its worker.
            let whole = parts.whole(&parts.issuer(), &parts.mail(&more));
            let whole = whole.replace("timeouts: { drain: 2s }", "timeouts: { drain: 2s, idle: 1h }");
            whole.replace(&parts.connector.base_url(), &format!("http://connector.test:{port}"))
        });
        let bed = setup.start().await;
        let config = bed.folder.path().join("own.yaml");
        let text = std::fs::read_to_string(bed.config_path()).expect("a configuration");
        std::fs::write(&config, text.replace("audit.jsonl", "own.jsonl")).expect("written");
        let (clock, name) = (Clock::new(bed.folder.path()), Name::new(bed.folder.path(), "127.0.0.1"));
        let mut command = clock.gateway(&config);
        name.known_to(&mut command, shim("clock"));
        let running = Running::start_by(command).await;
        Self { bed, running, clock, name, old_closes, client: crate::bed::client() }
    }

    /// Who answers a call.
    async fn who(&self) -> String {
        let url = format!("http://{}/mail/me", self.running.address);
        let answer = self.client.get(url).bearer_auth(self.bed.token("ada")).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.text().await.expect("a body")
    }
}

#[tokio::test]
async fn a_new_connection_goes_where_the_connectors_name_points_by_then() {
    let bed = Bed::start().await;
    assert_eq!(bed.who().await, "old");
    bed.name.moves_to("127.0.0.2");
    bed.old_closes.cancel();
    assert_eq!(bed.who().await, "new");
}

#[tokio::test]
async fn a_connection_that_is_always_in_use_is_followed_by_one_to_the_connectors_new_address() {
    let bed = Bed::start().await;
    assert_eq!(bed.who().await, "old");
    bed.name.moves_to("127.0.0.2");
    let mut gone_on = 0;
    while gone_on + STEP < FOLLOWED_WITHIN {
        assert_eq!(bed.who().await, "old", "it was given up after {gone_on} s");
        gone_on += STEP;
        bed.clock.has_gone_on(gone_on);
    }
    assert_eq!(bed.who().await, "old");
    bed.clock.has_gone_on(FOLLOWED_WITHIN);
    assert_eq!(bed.who().await, "new");
}
