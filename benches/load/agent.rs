//! An agent that sends one call after another on one connection, for what wrk cannot do: each call once, so many calls and
//! no more, and answers that are looked at.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Outcome;
use crate::calls::Call;
use crate::wrk::Done;

/// Has as many agents as there are connections call with each of these tokens once. Every answer must be the upstream's.
pub async fn call_once_with_each(
    address: SocketAddr,
    call: Call,
    tokens: Arc<[String]>,
    connections: usize,
) -> Outcome<Done> {
    let (started, mut calling) = (Instant::now(), JoinSet::new());
    for number in 0..connections {
        let tokens = Arc::clone(&tokens);
        calling.spawn(async move {
            let (mut agent, mut latencies) = (Agent::connect(address).await?, Vec::new());
            for token in tokens.iter().skip(number).step_by(connections) {
                let began = Instant::now();
                let answer = agent.call(call, token).await?;
                latencies.push(began.elapsed().as_secs_f64() * 1e6);
                if answer.status != 200 || answer.body != call.answer().as_bytes() {
                    return Err(
                        format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body)).into()
                    );
                }
            }
            Outcome::Ok(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(called) = calling.join_next().await {
        latencies.extend(called??);
    }
    Ok(Done::of(latencies, started.elapsed()))
}

/// A connection to a proxy.
pub struct Agent<S = TcpStream> {
    stream: BufReader<S>,
    address: SocketAddr,
    /// What was sent or received last. Kept, so that calling allocates nothing.
    buffer: Vec<u8>,
}

/// An answer, but for its headers.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Agent {
    pub async fn connect(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream, address))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Agent<S> {
    /// Calls over a connection to there that somebody has made.
    pub fn over(stream: S, address: SocketAddr) -> Self {
        Self { stream: BufReader::new(stream), address, buffer: Vec::new() }
    }

    /// The connection, once all that has come was read.
    pub fn into_stream(self) -> S {
        self.stream.into_inner()
    }

    /// Calls, and reads the answer to its end.
    pub async fn call(&mut self, call: Call, token: &str) -> Outcome<Answer> {
        self.send(call, token).await?;
        let head = self.head().await?;
        let mut body = Vec::new();
        match head.length {
            Length::Known(length) => {
                body.resize(length, 0);
                self.stream.read_exact(&mut body).await?;
            }
            Length::Chunks => while self.chunk(&mut body).await? {},
        }
        Ok(Answer { status: head.status, body })
    }

    /// Sends a call.
    pub async fn send(&mut self, call: Call, token: &str) -> Outcome<()> {
        self.buffer.clear();
        call.write_request(&self.address.to_string(), token, &mut self.buffer);
        self.stream.get_mut().write_all(&self.buffer).await?;
        // TLS may keep what it has not been able to send.
        self.stream.get_mut().flush().await?;
        Ok(())
    }

    /// Reads the head of an answer.
    pub async fn head(&mut self) -> Outcome<Head> {
        let mut head = Head { status: 0, length: Length::Known(0) };
        loop {
            self.buffer.clear();
            if self.stream.read_until(b'\n', &mut self.buffer).await? == 0 {
                return Err("the connection was closed before an answer".into());
            }
            let line = str::from_utf8(&self.buffer)?.trim_end();
            if line.is_empty() {
                return Ok(head);
            }
            match line.split_once(':') {
                None => {
                    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
                    head.status = status.ok_or_else(|| format!("no status: {line}"))?;
                }
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    head.length = Length::Known(value.trim().parse()?);
                }
                Some((name, _)) if name.eq_ignore_ascii_case("transfer-encoding") => {
                    head.length = Length::Chunks
                }
                Some(_) => {}
            }
        }
    }

    /// Reads one chunk onto the body. Returns whether there may be another.
    pub async fn chunk(&mut self, body: &mut Vec<u8>) -> Outcome<bool> {
        self.buffer.clear();
        self.stream.read_until(b'\n', &mut self.buffer).await?;
        let size = usize::from_str_radix(str::from_utf8(&self.buffer)?.trim(), 16)?;
        let begun = body.len();
        // Two more, for the end of the line.
        body.resize(begun + size + 2, 0);
        self.stream.read_exact(&mut body[begun..]).await?;
        body.truncate(begun + size);
        Ok(size > 0)
    }
}

/// What matters here of an answer's head.
pub struct Head {
    pub status: u16,
    pub length: Length,
}

/// How an answer's end is told.
pub enum Length {
    Known(usize),
    Chunks,
}
