//! The road from the gateway to a connector: what goes wrong on it, the connector knows nothing of.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::Outcome;

/// Longest request or piece of an answer that is carried at a time.
const PIECE_BYTES: usize = 16 * 1_024;
/// How long a listener that was closed may be kept from opening again by what is left of it.
const OPENING_TRIES: usize = 100;

/// What becomes of those who are on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// They arrive.
    Good,
    /// Each piece of an answer takes so much longer.
    Slow(Duration),
    /// Each request is answered with this status, and with a `Retry-After` of one second.
    Answers(u16),
    /// Each connection is cut within its first answer.
    Breaks,
}

/// A listener that stands before a connector.
pub struct Road {
    pub address: SocketAddr,
    to: SocketAddr,
    condition: Arc<Mutex<Condition>>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl Road {
    pub async fn open(to: SocketAddr) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let condition = Arc::new(Mutex::new(Condition::Good));
        let accepting = tokio::spawn(accept(listener, to, Arc::clone(&condition)));
        Ok(Self { address, to, condition, accepting: Mutex::new(Some(accepting)) })
    }

    /// From now on it is like this, for those who are on it already as well.
    pub fn set(&self, condition: Condition) {
        *self.condition.lock().unwrap_or_else(PoisonError::into_inner) = condition;
    }

    /// Closes it, and every connection on it.
    pub async fn close(&self) {
        let accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(accepting) = accepting {
            accepting.abort();
            // Only when the task is gone are its sockets closed.
            let _ = accepting.await;
        }
    }

    /// Opens it again, where it was.
    pub async fn open_again(&self) -> Outcome<()> {
        self.close().await;
        let mut tries = 0;
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(_) if tries < OPENING_TRIES => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(error) => return Err(error.into()),
            }
            tries += 1;
        };
        let accepting = tokio::spawn(accept(listener, self.to, Arc::clone(&self.condition)));
        *self.accepting.lock().unwrap_or_else(PoisonError::into_inner) = Some(accepting);
        Ok(())
    }
}

impl Drop for Road {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take() {
            accepting.abort();
        }
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, condition: Arc<Mutex<Condition>>) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                connections.spawn(carry(stream, to, Arc::clone(&condition)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Carries one connection. However it ends, the gateway has to bear it.
async fn carry(near: TcpStream, to: SocketAddr, condition: Arc<Mutex<Condition>>) {
    let Ok(far) = TcpStream::connect(to).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let near_out = Arc::new(tokio::sync::Mutex::new(near_out));
    // Whichever ends first ends the other.
    tokio::select! {
        () = requests(near_in, far_out, Arc::clone(&near_out), &condition) => {}
        () = answers(far_in, near_out, &condition) => {}
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    back: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    condition: &Mutex<Condition>,
) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(length) = from.read(&mut piece).await {
        if length == 0 {
            return;
        }
        if let Condition::Answers(status) = now(condition) {
            // Whole requests come in one piece here: they have no body.
            let answer = format!(
                "HTTP/1.1 {status} Trouble\r\ncontent-length: 0\r\nretry-after: 1\r\nconnection: close\r\n\r\n"
            );
            let mut back = back.lock().await;
            let _ = back.write_all(answer.as_bytes()).await;
            let _ = back.shutdown().await;
            return;
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    to: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    condition: &Mutex<Condition>,
) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(length) = from.read(&mut piece).await {
        if length == 0 {
            return;
        }
        let carried = match now(condition) {
            Condition::Good | Condition::Answers(_) => length,
            Condition::Slow(delay) => {
                tokio::time::sleep(delay).await;
                length
            }
            // Within the head, or within the body that comes in the same piece.
            Condition::Breaks => length - length / 8 - 1,
        };
        if to.lock().await.write_all(&piece[..carried]).await.is_err() || carried < length {
            return;
        }
    }
}

fn now(condition: &Mutex<Condition>) -> Condition {
    *condition.lock().unwrap_or_else(PoisonError::into_inner)
}
