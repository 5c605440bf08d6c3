//! A connector that takes nothing but the plainest HTTP/1.1, and keeps what came as it came.
//!
//! It shares no code with the gateway, nor with the library that the gateway reads HTTP with, so that what one of them takes
//! for one request and the other for two is found out. The tests in `tests/gateway/hardening` use this same file.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How long the answer to a path that ends with `/large` is: longer than a window that nobody opens further.
pub const LARGE_BYTES: usize = 16 * 1_048_576;

/// How long it is between two pieces of an answer to a path that ends with `/drip`.
const DRIP_PAUSE: Duration = Duration::from_millis(20);

/// One request, as it came.
#[derive(Clone, Default, Debug)]
pub struct Seen {
    /// Its head: the request line and the header lines, without the blank line at the end.
    pub head: String,
    /// Its body, without the marks of the chunks.
    pub body: Vec<u8>,
    /// Whether the body came to its end.
    pub is_whole: bool,
    /// What is not as it should be.
    pub fault: Option<String>,
}

impl Seen {
    /// The request line.
    pub fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or_default()
    }

    /// The values of the header lines of this name.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let lines = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(its_name, _)| its_name.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

/// The requests of all connections, in the order in which they began.
type All = Arc<Mutex<Vec<Arc<Mutex<Seen>>>>>;

/// A connector that listens.
pub struct Upstream {
    address: SocketAddr,
    all: All,
    accepting: JoinHandle<()>,
}

impl Upstream {
    /// Listens, and answers whatever comes with 200; but nothing to a path that ends with `/never`, and without an end to one
    /// that ends with `/drip`.
    ///
    /// # Errors
    ///
    /// When there is no port to listen on.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, all) = (listener.local_addr()?, All::default());
        let kept = Arc::clone(&all);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Connection { stream, unread: Vec::new(), all: Arc::clone(&kept) }.serve());
            }
        });
        Ok(Self { address, all, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has come since it was last asked.
    pub fn take(&self) -> Vec<Seen> {
        let taken = std::mem::take(&mut *lock(&self.all));
        taken.iter().map(|seen| lock(seen).clone()).collect()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Every change leaves what is locked whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection from the gateway.
struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    all: All,
}

/// Why a connection is not served on.
enum End {
    /// The other side left.
    Closed,
    /// What came is not plain HTTP.
    Fault(String),
}

/// How a head says where the body ends.
enum Framing {
    Length(usize),
    Chunked,
}

impl Connection {
    async fn serve(mut self) {
        loop {
            let seen = Arc::<Mutex<Seen>>::default();
            let end = self.serve_one(&seen).await;
            let Err(end) = end else { continue };
            if let End::Fault(fault) = end {
                lock(&seen).fault = Some(fault);
                // A head that cannot be read has not been listed.
                if lock(&seen).head.is_empty() {
                    lock(&self.all).push(seen);
                }
            }
            return;
        }
    }

    async fn serve_one(&mut self, seen: &Arc<Mutex<Seen>>) -> Result<(), End> {
        let head = self.head().await?;
        let framing = framing(&head);
        lock(seen).head.clone_from(&head);
        lock(&self.all).push(Arc::clone(seen));
        match framing.map_err(End::Fault)? {
            Framing::Length(length) => self.pass(length, seen).await?,
            Framing::Chunked => loop {
                let size = self.line().await?;
                let is_size = size.len() <= 8 && size.bytes().all(|byte| byte.is_ascii_hexdigit());
                let bytes = usize::from_str_radix(&size, 16).ok().filter(|_| is_size);
                let bytes = bytes.ok_or_else(|| End::Fault(format!("a chunk of the size {size:?}")))?;
                self.pass(bytes, seen).await?;
                match self.line().await?.as_str() {
                    "" if bytes == 0 => break,
                    "" => {}
                    other => return Err(End::Fault(format!("{other:?} behind a chunk"))),
                }
            },
        }
        lock(seen).is_whole = true;
        self.answer(&head).await.map_err(|_| End::Closed)
    }

    async fn answer(&mut self, head: &str) -> io::Result<()> {
        let mut line = head.split(' ');
        let (method, path) = (line.next().unwrap_or_default(), line.next().unwrap_or_default());
        if path.ends_with("/never") {
            std::future::pending::<()>().await;
        }
        if path.ends_with("/drip") {
            self.stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            loop {
                self.stream.write_all(b"1\r\n.\r\n").await?;
                tokio::time::sleep(DRIP_PAUSE).await;
            }
        }
        let body = if path.ends_with("/large") { vec![b'x'; LARGE_BYTES] } else { b"ok".to_vec() };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        self.stream.write_all(head.as_bytes()).await?;
        match method {
            "HEAD" => Ok(()),
            _ => self.stream.write_all(&body).await,
        }
    }

    /// The next head, without the blank line at its end.
    async fn head(&mut self) -> Result<String, End> {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if self.more().await.is_err() {
                return Err(match self.unread.is_empty() {
                    true => End::Closed,
                    false => End::Fault("a head that breaks off".to_owned()),
                });
            }
        };
        let head: Vec<u8> = self.unread.drain(..end + 4).collect();
        let head = String::from_utf8_lossy(&head[..end]).into_owned();
        Ok(head)
    }

    /// The next line, without its end.
    async fn line(&mut self) -> Result<String, End> {
        let end = loop {
            if let Some(end) = self.unread.windows(2).position(|window| window == b"\r\n") {
                break end;
            }
            self.more().await?;
        };
        let line: Vec<u8> = self.unread.drain(..end + 2).collect();
        Ok(String::from_utf8_lossy(&line[..end]).into_owned())
    }

    /// So many bytes of a body.
    async fn pass(&mut self, mut bytes: usize, seen: &Mutex<Seen>) -> Result<(), End> {
        while bytes > 0 {
            if self.unread.is_empty() {
                self.more().await?;
            }
            let come = self.unread.len().min(bytes);
            lock(seen).body.extend(self.unread.drain(..come));
            bytes -= come;
        }
        Ok(())
    }

    async fn more(&mut self) -> Result<(), End> {
        match self.stream.read_buf(&mut self.unread).await {
            Ok(0) | Err(_) => Err(End::Closed),
            Ok(_) => Ok(()),
        }
    }
}

/// Checks a head by the grammar of RFC 9112, without any of its allowances.
fn framing(head: &str) -> Result<Framing, String> {
    let fault = |what: &str| Err(format!("{what}: {head:?}"));
    let mut lines = head.split("\r\n");
    let mut parts = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1"), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return fault("a request line that is none");
    };
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return fault("a method that is none");
    }
    if !target.starts_with('/') || !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return fault("a target that is no path");
    }
    let (mut lengths, mut codings, mut hosts, mut authorizations) = (Vec::new(), Vec::new(), 0, 0);
    for line in lines {
        let Some((name, value)) = line.split_once(": ") else { return fault("a line without a name") };
        // A tab may stand in a value, and nothing else that steers (RFC 9110 section 5.5).
        let steers = |character: char| character.is_control() && character != '\t';
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_name) || value.chars().any(steers) {
            return fault("a header line that is none");
        }
        match name.to_ascii_lowercase().as_str() {
            "content-length" => lengths.push(value),
            "transfer-encoding" => codings.push(value),
            "host" => hosts += 1,
            "authorization" => authorizations += 1,
            _ => {}
        }
    }
    if (hosts, authorizations) != (1, 1) {
        return fault("not one host and one authorization");
    }
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(Framing::Length(0)),
        ([], ["chunked"]) => Ok(Framing::Chunked),
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            length.parse().map(Framing::Length).map_err(|error| format!("{error}: {head:?}"))
        }
        _ => fault("not one way to tell where the body ends"),
    }
}
