//! The one writer of a trail: a thread of its own that takes records in batches, formats them, and writes them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{Record, ocsf};
use crate::metrics::Metrics;

/// Most calls that may be under way or waiting for their record to be written: four for each connection there may be.
/// Beyond it calls are refused.
const SLOTS_MAX: usize = 65_536;
/// Most records formatted before they are written: enough to make writing cheap, little enough to stay in a cache.
const BATCH_MAX: usize = 512;
/// Longest wait for the writer to open its file anew.
const REOPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait before a write that failed is tried again. People wait for it, and it costs next to nothing.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// Where records go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuditFile {
    /// Standard output.
    StandardOutput,
    /// A file, appended to; made with mode 0600 when it is not there.
    Path(PathBuf),
}

/// A trail of records.
#[derive(Clone)]
pub struct AuditLog {
    messages: mpsc::Sender<Message>,
    writable: Arc<AtomicBool>,
    reopen_request: ReopenRequest,
}

/// Where the writer is asked to open its file anew. It looks here also while it cannot write, since a new file may be
/// just what helps.
type ReopenRequest = Arc<Mutex<Option<oneshot::Sender<io::Result<()>>>>>;

/// A place for one record. While it is held, its record can be written without waiting.
pub struct Slot(mpsc::OwnedPermit<Message>);

/// There is no place for another record: the trail cannot be written, or too many calls are under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no place for another audit record")]
pub struct AuditUnavailable;

enum Message {
    Record(Record),
    /// Look whether something is asked for.
    Wake,
    /// Write what came before, and say so.
    Flush(oneshot::Sender<()>),
}

impl AuditLog {
    /// Opens the trail and starts its writer.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or the thread cannot be started.
    pub fn open(file: &AuditFile, metrics: Arc<Metrics>) -> io::Result<Self> {
        let (messages, receiver) = mpsc::channel(SLOTS_MAX);
        let writable = Arc::new(AtomicBool::new(true));
        let reopen_request = ReopenRequest::default();
        let writer = Writer {
            sink: open_file(file)?,
            file: file.clone(),
            pending: Vec::new(),
            written: 0,
            records: 0,
            writable: Arc::clone(&writable),
            reopen_request: Arc::clone(&reopen_request),
            metrics,
        };
        thread::Builder::new().name("audit-writer".into()).spawn(move || writer.run(receiver))?;
        Ok(Self { messages, writable, reopen_request })
    }

    /// Reserves a place for a call's record.
    ///
    /// # Errors
    ///
    /// [`AuditUnavailable`] while the trail cannot be written; the call must then not be forwarded.
    pub fn reserve(&self) -> Result<Slot, AuditUnavailable> {
        if !self.writable.load(Ordering::Acquire) {
            return Err(AuditUnavailable);
        }
        self.messages.clone().try_reserve_owned().map(Slot).map_err(|_| AuditUnavailable)
    }

    /// Whether the last write succeeded, and there is a place for another record.
    pub fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Acquire) && self.messages.capacity() > 0
    }

    /// Opens the file anew, for when it was moved away to be kept. What is not written yet goes to the new file.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, or the writer does not get to it in time; records then go on to the old one.
    pub async fn reopen(&self) -> io::Result<()> {
        let (done, reopened) = oneshot::channel();
        *lock(&self.reopen_request) = Some(done);
        // When there is no room for the message, the writer is awake.
        let _ = self.messages.try_send(Message::Wake);
        match tokio::time::timeout(REOPEN_TIMEOUT, reopened).await {
            Ok(result) => result.unwrap_or_else(|_| Err(gone())),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Waits until everything sent before has been written.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.messages.send(Message::Flush(done)).await.is_ok() {
            // An error means that the writer is gone, which it never is while there is a sender.
            let _ = flushed.await;
        }
    }
}

impl Slot {
    /// Hands the record to the writer.
    pub fn write(self, record: Record) {
        self.0.send(Message::Record(record));
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Slot")
    }
}

fn gone() -> io::Error {
    io::Error::other("the audit writer is gone")
}

fn open_file(file: &AuditFile) -> io::Result<File> {
    match file {
        // Not `io::stdout()`: that one keeps part of what it could not write, and would write it twice.
        AuditFile::StandardOutput => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        AuditFile::Path(path) => open_append(path),
    }
}

fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// The map of requests is a plain value, whole after every operation.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Writer {
    sink: File,
    file: AuditFile,
    /// Lines that are formatted and not all written yet.
    pending: Vec<u8>,
    /// How much of that is written.
    written: usize,
    records: u64,
    writable: Arc<AtomicBool>,
    reopen_request: ReopenRequest,
    metrics: Arc<Metrics>,
}

impl Writer {
    fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while messages.blocking_recv_many(&mut batch, BATCH_MAX) > 0 {
            for message in batch.drain(..) {
                match message {
                    Message::Record(record) => {
                        ocsf::append(&record, &mut self.pending);
                        self.pending.push(b'\n');
                        self.records += 1;
                    }
                    Message::Wake => {}
                    Message::Flush(done) => {
                        self.write_pending();
                        // Whoever asked may have left.
                        let _ = done.send(());
                    }
                }
            }
            self.write_pending();
            self.reopen_if_asked();
        }
    }

    /// Writes all that is pending, however long it takes. While it fails, new calls are refused.
    fn write_pending(&mut self) {
        while self.written < self.pending.len() {
            match self.sink.write(&self.pending[self.written..]) {
                Ok(0) => self.wait_after(&io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.wait_after(&error),
            }
        }
        self.pending.clear();
        self.written = 0;
        self.metrics.audit_records.inc_by(std::mem::take(&mut self.records));
        if !self.writable.swap(true, Ordering::Release) {
            tracing::info!("Audit trail is written again");
        }
    }

    fn wait_after(&mut self, error: &io::Error) {
        self.metrics.audit_write_failures.inc();
        if self.writable.swap(false, Ordering::Release) {
            tracing::error!(%error, "Audit trail cannot be written, so calls are refused until it can");
        }
        thread::sleep(RETRY_PAUSE);
        self.reopen_if_asked();
    }

    fn reopen_if_asked(&mut self) {
        let Some(done) = lock(&self.reopen_request).take() else { return };
        let reopened = open_file(&self.file).map(|file| {
            self.sink = file;
            // A line that was begun in the old file stands whole in the new one.
            let line = self.pending[..self.written].iter().rposition(|byte| *byte == b'\n');
            self.written = line.map_or(0, |end| end + 1);
        });
        // Whoever asked may have left; the file is open either way.
        let _ = done.send(reopened);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Nobody writes from here on, also after a panic.
        self.writable.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::CallRecord;
    use crate::identity::Peer;
    use std::os::unix::fs::PermissionsExt as _;

    fn record() -> Record {
        let request = http::Request::get("/mail").body(()).expect("a request of the test");
        let peer = Peer { address: ([127, 0, 0, 1], 1).into(), tls: false, certificate: None };
        Record::Call(Box::new(CallRecord::begin(&request, peer, Duration::ZERO)))
    }

    fn lines(path: &Path) -> usize {
        std::fs::read_to_string(path).expect("the trail").lines().count()
    }

    #[tokio::test]
    async fn every_record_is_a_line_in_a_private_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let log = AuditLog::open(&AuditFile::Path(path.clone()), Arc::default()).expect("a trail");
        for _ in 0..2_000 {
            log.reserve().expect("a place").write(record());
        }
        log.flush().await;
        assert_eq!(lines(&path), 2_000);
        assert_eq!(std::fs::metadata(&path).expect("the trail").permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_moved_file_is_followed_by_a_new_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, moved) = (folder.path().join("audit.jsonl"), folder.path().join("audit.1.jsonl"));
        let log = AuditLog::open(&AuditFile::Path(path.clone()), Arc::default()).expect("a trail");
        log.reserve().expect("a place").write(record());
        log.flush().await;
        std::fs::rename(&path, &moved).expect("moved");
        log.reserve().expect("a place").write(record());
        log.flush().await;
        log.reopen().await.expect("opened anew");
        log.reserve().expect("a place").write(record());
        log.flush().await;
        assert_eq!((lines(&moved), lines(&path)), (2, 1));
    }

    #[tokio::test]
    async fn a_new_file_helps_when_the_old_one_is_full() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        std::os::unix::fs::symlink("/dev/full", &path).expect("a link to a full disk");
        let log = AuditLog::open(&AuditFile::Path(path.clone()), Arc::default()).expect("a trail");
        log.reserve().expect("a place").write(record());
        std::fs::remove_file(&path).expect("removed");
        log.reopen().await.expect("opened anew, although nothing could be written");
        log.flush().await;
        assert_eq!(lines(&path), 1);
        assert!(log.is_writable());
    }

    #[tokio::test]
    async fn a_full_disk_refuses_calls_and_loses_nothing() {
        // /dev/full takes nothing, as a full disk does.
        let full = AuditFile::Path("/dev/full".into());
        let metrics = Arc::<Metrics>::default();
        let log = AuditLog::open(&full, Arc::clone(&metrics)).expect("a trail");
        log.reserve().expect("the first call finds out").write(record());
        for _ in 0..400 {
            if !log.is_writable() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(log.reserve().is_err());
        assert_eq!(metrics.audit_records.get(), 0);
        assert!(metrics.audit_write_failures.get() > 0);
    }
}
