//! Hundreds of clients who say nothing, or stop in the middle of something: fresh ones are served beside them, and deadlines clear them
//! away.

use std::sync::Arc;

use obo_gateway::demo::certificates::DevelopmentCertificates;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{HardenedBed, PATIENCE};
use crate::bed::PATIENT;
use crate::clock::Clock;
use crate::command::Running;

/// Clients that are idle, and as many that have stalled.
const CLIENTS: usize = 300;
/// Fresh clients, before and after the others are gone.
const FRESH: usize = 50;
/// All deadlines.
const HOUR: i64 = 3_600;

/// Those who connect to a gateway of their own.
struct Clients {
    bed: HardenedBed,
    running: Running,
    clock: Clock,
    tls: TlsConnector,
}

impl Clients {
    async fn of_a_gateway() -> Self {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
            .expect("the tests have all that they may");
        let folder = tempfile::tempdir().expect("a folder");
        let certificates = DevelopmentCertificates::ensure(folder.path()).expect("certificates");
        let server = &certificates.server;
        let (certificate, key) = (server.certificate_path.display(), server.key_path.display());
        let written = format!(
            "tls: {{ certificate: {certificate}, key: {key} }}\n\
             timeouts: {{ handshake: 1h, opening: 1h, head: 1h, body: 1h, idle: 1h }}"
        );
        let bed = HardenedBed::configured(move |config| {
            config.replace("timeouts: { drain: 2s }", &written).replace(PATIENT, "{ idle: 1h }")
        })
        .await;
        let config = bed.bed.folder.path().join("own.yaml");
        let text = std::fs::read_to_string(bed.bed.config_path()).expect("a configuration");
        std::fs::write(&config, text.replace("audit.jsonl", "own.jsonl")).expect("written");
        let clock = Clock::new(bed.bed.folder.path());
        let running = Running::start_by(clock.gateway(&config)).await;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(certificates.roots().expect("an authority"))
            .with_no_client_auth();
        Self { bed, running, clock, tls: TlsConnector::from(Arc::new(tls)) }
    }

    async fn connect(&self) -> TcpStream {
        // From an address of their own: at the usual one, hundreds of them take ports that other tests are about to listen on again.
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 3], 0).into()).expect("a port");
        let gateway = self.running.address.parse().expect("an address");
        socket.connect(gateway).await.expect("a connection")
    }

    async fn connect_tls(&self) -> TlsStream<TcpStream> {
        let name = ServerName::try_from("localhost").expect("a name");
        self.tls.connect(name, self.connect().await).await.expect("a handshake")
    }

    fn request(&self, line: &str, header: &str) -> String {
        format!("{line} HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {}\r\n{header}\r\n", self.bed.ada)
    }

    /// A client after one call.
    async fn idle(&self) -> TcpStream {
        let mut stream = self.connect_tls().await;
        stream.write_all(self.request("GET /mail/me", "").as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok") {
            let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await;
            assert_ne!(read.expect("in time").expect("read"), 0, "{}", String::from_utf8_lossy(&answer));
        }
        stream.into_inner().0
    }

    /// A client that stops before or in its handshake, in a head, or in a body.
    async fn stalled(&self, number: usize) -> TcpStream {
        let request = self.request("POST /mail/me", "content-length: 10\r\n") + "abc";
        match number % 4 {
            0 => self.connect().await,
            1 => {
                let mut stream = self.connect().await;
                stream.write_all(b"\x16\x03\x01\x02\x00\x01").await.expect("sent");
                stream
            }
            place => {
                let mut stream = self.connect_tls().await;
                let sent = if place == 2 { request.len() / 2 } else { request.len() };
                stream.write_all(&request.as_bytes()[..sent]).await.expect("sent");
                stream.flush().await.expect("sent");
                stream.into_inner().0
            }
        }
    }

    /// So many clients, each of whom makes one call and goes.
    async fn fresh(&self) {
        for _ in 0..FRESH {
            drop(tokio::time::timeout(PATIENCE, self.idle()).await.expect("an answer in time"));
        }
    }
}

#[tokio::test]
async fn clients_that_say_nothing_or_stop_halfway_are_in_nobodys_way() {
    let clients = Clients::of_a_gateway().await;
    let mut others = Vec::new();
    for number in 0..CLIENTS {
        others.push(clients.idle().await);
        others.push(clients.stalled(number).await);
    }
    clients.fresh().await;
    let connected = clients.running.metric("obo_gateway_open_connections ").await;
    assert!(connected >= others.len() as f64, "{connected} are there");

    clients.clock.has_gone_on(HOUR + 1);
    clients.fresh().await;
    for mut stream in others {
        let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
        // A reset is an end as well.
        let _ = closed.expect("it stays open");
    }
    clients.fresh().await;
}
