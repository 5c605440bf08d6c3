//! Connections to connectors: used again, given up when the connector has closed them, and never held up by an agent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Client, Method};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::bed::{ANYTHING, Setup, TestBed, assert_refused, refusal};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
const OF_LENGTH: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
/// How long a call may take that has nothing to wait for.
const SOON: Duration = Duration::from_secs(20);
/// What is waited for so long did not come.
const IN_VAIN: Duration = Duration::from_millis(300);

/// A connector that counts its connections.
struct Connector {
    bed: TestBed,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    /// It answers from here on.
    answers: CancellationToken,
    /// It closes the connections that there are.
    closes: CancellationToken,
}

impl Connector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (answers, closes) = (CancellationToken::new(), CancellationToken::new());
        let bed = bed_before(&listener).await;
        let counts = (Arc::clone(&connections), Arc::clone(&requests));
        let (answering, closing) = (answers.clone(), closes.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                // One that comes later stays open.
                let closing = if closing.is_cancelled() { CancellationToken::new() } else { closing.clone() };
                counts.0.fetch_add(1, Ordering::SeqCst);
                let (requests, answering) = (Arc::clone(&counts.1), answering.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = answer(stream, &requests, &answering) => {}
                        () = closing.cancelled() => {}
                    }
                });
            }
        });
        Self { bed, connections, requests, answers, closes }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn bed_before(listener: &TcpListener) -> TestBed {
    let address = listener.local_addr().expect("an address");
    let config = Setup::default().config(move |parts| {
        let whole = parts.whole(&parts.issuer(), &parts.mail(ANYTHING));
        whole.replace(&parts.connector.base_url(), &format!("http://{address}"))
    });
    config.start().await
}

/// Answers one request after the other. Those of the test have no bodies to speak of.
async fn answer(mut stream: TcpStream, requests: &AtomicUsize, answering: &CancellationToken) {
    let mut read = vec![0; 65_536];
    while let Ok(1..) = stream.read(&mut read).await {
        requests.fetch_add(1, Ordering::SeqCst);
        answering.cancelled().await;
        let head = String::from_utf8_lossy(&read);
        let reply = if head.starts_with("GET /chunked") { CHUNKED } else { OF_LENGTH };
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_connection_is_used_again_however_the_answer_ends() {
    let connector = Connector::start().await;
    connector.answers.cancel();
    let token = connector.bed.token("ada");
    for path in ["/mail/chunked", "/mail/of-length", "/mail/chunked", "/mail/chunked", "/mail/of-length"] {
        let answer = connector.bed.get(path, &token).await;
        assert_eq!(answer.text().await.expect("a body"), "hello", "{path}");
    }
    assert_eq!(connector.connections(), 1);
}

#[tokio::test]
async fn connections_that_the_connector_has_closed_hold_up_nobody() {
    let connector = Connector::start().await;
    let token = connector.bed.token("ada");
    // All on one connection, and so on one worker.
    let client = Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    let url = connector.bed.url("/mail/of-length");
    let get = || async { client.get(&url).bearer_auth(&token).send().await.expect("an answer") };
    let release = async {
        while connector.requests.load(Ordering::SeqCst) < 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        connector.answers.cancel();
    };
    let (answers, ()) = tokio::join!(join_all((0..200).map(|_| get())), release);
    for answer in answers {
        assert_eq!(answer.text().await.expect("a body"), "hello");
    }
    assert_eq!(connector.connections(), 200);
    connector.closes.cancel();
    let post = client.post(&url).bearer_auth(&token).body("{}").send();
    let posted = tokio::time::timeout(SOON, post).await.expect("it is not held up").expect("an answer");
    assert_eq!(posted.status(), 200);
    let got = tokio::time::timeout(SOON, get()).await.expect("it is not held up");
    assert_eq!(got.status(), 200);
}

#[tokio::test]
async fn who_has_a_connection_made_takes_one_that_becomes_free_sooner() {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("an address");
    let listener = socket.listen(1).expect("a listener");
    let bed = bed_before(&listener).await;
    // All on one connection, and so on one worker.
    let client = Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    let call = client.get(bed.url("/mail/of-length")).bearer_auth(bed.token("ada"));
    let call = || tokio::spawn(call.try_clone().expect("no body").send());
    let first = call();
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let Ok(1..) = stream.read(&mut [0; 65_536]).await else { panic!("no request") };
    // Some may wait for the connector to take them, and whoever comes then is not answered.
    let address = listener.local_addr().expect("an address");
    let mut crowd = Vec::new();
    while let Ok(connected) = tokio::time::timeout(IN_VAIN, TcpStream::connect(address)).await {
        crowd.push(connected.expect("a connection"));
    }
    let second = call();
    tokio::time::sleep(IN_VAIN).await;
    for call in [first, second] {
        stream.write_all(OF_LENGTH.as_bytes()).await.expect("written");
        let answered = tokio::time::timeout(SOON / 2, call).await.expect("a connection is there");
        let answer = answered.expect("no panic").expect("an answer");
        assert_eq!(answer.text().await.expect("a body"), "hello");
        // The second request, or nothing more.
        let _ = tokio::time::timeout(IN_VAIN, stream.read(&mut [0; 65_536])).await;
    }
}

/// Reads a request of the next connection, and answers it with 200 and this.
async fn answer_next(listener: &TcpListener, answer: &str) -> TcpStream {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let Ok(1..) = stream.read(&mut [0; 65_536]).await else { panic!("no request") };
    stream.write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes()).await.expect("written");
    stream
}

#[tokio::test]
async fn an_answer_that_breaks_off_right_behind_its_head_is_not_taken_for_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let bed = bed_before(&listener).await;
    let token = bed.token("ada");
    for answer in [
        "transfer-encoding: chunked\r\n\r\nZZ\r\n",
        "transfer-encoding: chunked\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n5\r\nhel",
        "content-length: 5\r\n\r\n",
        "content-length: 5\r\n\r\nhel",
    ] {
        let answering = async { drop(answer_next(&listener, answer).await) };
        let asking = async {
            let answer = bed.get("/mail/x", &token).await;
            assert_eq!(answer.status(), 200);
            tokio::time::timeout(SOON, answer.text()).await.expect("it ends")
        };
        let (body, ()) = tokio::join!(asking, answering);
        assert!(body.is_err(), "{answer:?}: {body:?}");
    }
}

#[tokio::test]
async fn an_answer_that_can_be_read_in_two_ways_is_none() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let bed = bed_before(&listener).await;
    let token = bed.token("ada");
    for fields in [
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: gzip, chunked",
    ] {
        let answer = format!("{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        // What is asked for is not asked for twice.
        let post = bed.request(Method::POST, "/mail/x").bearer_auth(&token).send();
        let (answer, mut stream) = tokio::join!(post, answer_next(&listener, &answer));
        assert_refused(&refusal(answer.expect("an answer")).await, 502, "connector_broke");
        let read = tokio::time::timeout(SOON, stream.read(&mut [0; 16])).await.expect("it is closed");
        assert!(matches!(read, Ok(0) | Err(_)), "{fields}: the connection goes on");
    }
}

#[tokio::test]
async fn an_agent_may_send_all_before_it_reads_though_the_connector_answers_at_once() {
    /// More than sockets keep.
    const BYTES: usize = 32 * 1_048_576;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let bed = bed_before(&listener).await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let (mut reader, mut writer) = stream.into_split();
        // Not before it is asked.
        reader.read_exact(&mut [0; 16]).await.expect("the head of a request");
        let answering = async move {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BYTES}\r\n\r\n");
            writer.write_all(head.as_bytes()).await.expect("written");
            writer.write_all(&vec![b'y'; BYTES]).await.expect("written");
            writer
        };
        let reading = async move {
            let mut read = vec![0; 65_536];
            while let Ok(1..) = reader.read(&mut read).await {}
        };
        let _ = tokio::join!(answering, reading);
    });
    let address = bed.url("").trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut agent = TcpStream::connect(address).await.expect("a connection");
    let head = format!(
        "POST /mail/upload HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-length: {BYTES}\r\n\r\n",
        bed.token("ada")
    );
    let whole = async {
        agent.write_all(head.as_bytes()).await.expect("written");
        let written = agent.write_all(&vec![b'x'; BYTES]).await;
        let (mut read, mut seen) = (vec![0; 1_048_576], 0);
        if let Err(error) = written {
            let count = agent.read(&mut read).await.unwrap_or_default();
            panic!("{error}, and the answer is {}", String::from_utf8_lossy(&read[..count.min(512)]));
        }
        while seen < BYTES {
            match agent.read(&mut read).await.expect("read") {
                0 => break,
                more => seen += more,
            }
        }
        seen
    };
    let seen = tokio::time::timeout(2 * SOON, whole).await.expect("nobody waits for the other");
    assert!(seen >= BYTES, "{seen}");
}
