//! Agents that are slow on purpose, which needs a connection of one's own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

use crate::Outcome;
use crate::agents::{any_lane, judge};
use crate::lane::Lane;
use crate::notes::{Begun, End, Notes};
use crate::random::Random;
use crate::stage::Stage;

/// How much a slow reader's connection holds for it, and how much it takes at a time, with a pause before each.
const HELD_BYTES: u32 = 8 * 1_024;
const PIECE_BYTES: usize = 16 * 1_024;
const PIECE_EVERY: Duration = Duration::from_millis(15);
/// How long its answers are made: much longer than all that is held on the way.
const ANSWER_BYTES: usize = 1_024 * 1_024;

/// So many connections that say half a request, or nothing at all, and stay.
pub async fn stalls(stage: &Arc<Stage>, connections: usize, lasts: Duration) -> Outcome<()> {
    let mut waiting = Vec::new();
    for number in 0..connections {
        if number % 2 == 0 {
            // Nothing: not even a handshake.
            waiting.push((Some(TcpStream::connect(stage.agents).await?), None));
            continue;
        }
        let mut stream = connect(stage).await?;
        stream.write_all(b"GET /mail/read HTTP/1.1\r\nhost: localhost\r\nauthoriz").await?;
        waiting.push((None, Some(stream)));
    }
    tokio::time::sleep(lasts).await;
    Ok(())
}

/// Calls whose agents take their long answers in small pieces, with pauses between them.
pub async fn reads_slowly(
    stage: &Arc<Stage>,
    notes: &Arc<Notes>,
    random: &mut Random,
    calls: usize,
) -> Outcome<()> {
    let mut reading = JoinSet::new();
    for _ in 0..calls {
        let (stage, notes, lane) = (Arc::clone(stage), Arc::clone(notes), any_lane(stage, random));
        reading.spawn(async move {
            let (number, began) = (notes.call(), Instant::now());
            let read = read_slowly(&stage, &notes, lane, number).await;
            let end = read.unwrap_or_else(|error| End::Failed(format!("no answer: {error}")));
            notes.end(lane, began, end);
        });
    }
    reading.join_all().await;
    Ok(())
}

async fn read_slowly(stage: &Stage, notes: &Notes, lane: Lane, number: usize) -> Outcome<End> {
    let mut stream = connect(stage).await?;
    let (target, token) = (stage.world.target(&lane, number), stage.world.subject_token(&lane, false));
    let request = format!(
        "GET {target}&filler={ANSWER_BYTES} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let (mut answer, mut piece) = (Vec::new(), vec![0; PIECE_BYTES]);
    let broken_off = loop {
        match stream.read(&mut piece).await {
            Ok(0) => break false,
            Ok(length) => answer.extend_from_slice(&piece[..length]),
            Err(_) => break true,
        }
        tokio::time::sleep(PIECE_EVERY).await;
    };
    let text = String::from_utf8(answer)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or("not even a head")?;
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let status: u16 = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
    let id = header("obo-request-id").ok_or("no request id")?;
    notes.begun(Begun { id, lane, success: status == 200 });
    let length: usize = header("content-length").and_then(|length| length.parse().ok()).ok_or("no length")?;
    Ok(match (status, broken_off || body.len() < length) {
        (_, true) => End::Failed("answer_broken_off".to_owned()),
        (200, false) => judge(stage, lane, number, body),
        (status, false) => {
            let problem: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
            let code = problem["code"].as_str().map(str::to_owned);
            End::Failed(code.unwrap_or_else(|| format!("connector_said_{status}")))
        }
    })
}

/// A connection with TLS, that holds little of what has come.
async fn connect(stage: &Stage) -> Outcome<TlsStream<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(HELD_BYTES)?;
    let stream = socket.connect(stage.agents).await?;
    let name = ServerName::try_from("localhost")?;
    Ok(stage.certificates.connector()?.connect(name, stream).await?)
}
