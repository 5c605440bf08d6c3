//! The one writer of a trail: a thread of its own that takes records in batches, chains them, writes them, and says so to whoever
//! waits. It never gives up a record: what cannot be written now is written later, and until then calls are refused.

mod checkpoints;
mod rotation;

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::archive::Archive;
use super::files;
use super::link::{Chain, LineHash};
use super::log::{Errand, Message, State};
use super::mark::{Happening, Mark, RotationReason};
use super::ocsf;
use super::record::Record;
use super::segment::{self, OpenError, Segment, Tail};
use super::settings::{AuditFile, AuditSettings, Durability};
use crate::clock::Now;
use crate::metrics::Metrics;

/// Most records formatted before they are written: enough to make writing cheap, little enough to stay in a cache.
const BATCH_MAX: usize = 512;
/// How long to wait before what failed is tried again. People wait for it, and it costs next to nothing.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// With [`Durability::Memory`] nobody waits, so records are collected for this long, and written at once.
const LINGER: Duration = Duration::from_millis(2);
/// Room on the disk for what comes beside the calls under way: marks, and calls that begin before more room is asked for.
const ROOM_BYTES: u64 = 256 * 1_024;
/// Room on the disk for each call under way. Few records are longer.
const ROOM_BYTES_EACH: u64 = 4 * 1_024;
/// From how far on the wall clock counts as set: nobody slews it that fast.
const CLOCK_STEP: Duration = Duration::from_secs(1);
/// How often closed files are looked at that may have become too old.
const KEEP_INTERVAL: Duration = Duration::from_secs(3_600);

/// Takes records and writes them.
pub struct Writer {
    sink: Sink,
    chain: Chain,
    /// Lines that are formatted, and not as safe yet as they have to be.
    pending: Vec<u8>,
    /// How much of that is written.
    written: usize,
    records: u64,
    /// Who waits for what is pending.
    waiting: Vec<oneshot::Sender<()>>,
    trouble: Option<Trouble>,
    /// What there is no room for is not lost, but it is not begun either.
    shortage: Option<Trouble>,
    since_checkpoint: u64,
    checkpointed_at: Instant,
    clock: Now,
    kept_at: Option<Instant>,
    /// When the file could not be closed.
    rotation_failed_at: Option<Instant>,
    /// Holds a place in the channel for each call under way.
    messages: mpsc::WeakSender<Message>,
    state: Arc<State>,
    metrics: Arc<Metrics>,
}

enum Sink {
    /// Not `io::stdout()`: that one keeps part of what it could not write, and would write it twice.
    Output(File),
    Trail(Box<Trail>),
}

/// A trail in a file, and what stands beside it.
struct Trail {
    path: PathBuf,
    segment: Segment,
    archive: Archive,
    /// Held as long as this is.
    _lock: File,
}

/// Nothing could be written, since when, and why.
struct Trouble {
    error: String,
    since: Instant,
    failures: u64,
}

impl Writer {
    /// Opens the trail, and recovers its end.
    pub fn open(
        state: Arc<State>,
        messages: mpsc::WeakSender<Message>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, OpenError> {
        let (settings, now) = (state.settings(), Now::read());
        let (sink, tail) = match &settings.file {
            AuditFile::StandardOutput => {
                let output = io::stdout()
                    .as_fd()
                    .try_clone_to_owned()
                    .map_err(segment::system("it cannot be opened"))?;
                (Sink::Output(File::from(output)), None)
            }
            AuditFile::Path(path) => {
                let lock = segment::lock(path)?;
                let (segment, tail) = Segment::open(path, &settings.instance, now.wall)?;
                let archive = Archive::start().map_err(segment::system("its archive cannot be started"))?;
                (
                    Sink::Trail(Box::new(Trail { path: path.clone(), segment, archive, _lock: lock })),
                    Some(tail),
                )
            }
        };
        let end = tail.map_or((0, LineHash::NONE), |tail| (tail.sequence, tail.hash));
        let mut writer = Self {
            sink,
            chain: Chain::after(end.0, end.1, settings.instance.clone(), super::record::boot()),
            pending: Vec::new(),
            written: 0,
            records: 0,
            waiting: Vec::new(),
            trouble: None,
            shortage: None,
            since_checkpoint: 0,
            checkpointed_at: now.monotonic,
            clock: now,
            kept_at: None,
            rotation_failed_at: None,
            messages,
            state,
            metrics,
        };
        if let Some(tail) = tail {
            writer.recover(tail, &settings);
        }
        Ok(writer)
    }

    /// Looks at what ran before.
    fn recover(&mut self, tail: Tail, settings: &AuditSettings) {
        let Sink::Trail(trail) = &self.sink else { return };
        if settings.compresses {
            let plain = files::closed(&trail.path)
                .unwrap_or_default()
                .into_iter()
                .filter(|file| !file.is_compressed());
            plain.for_each(|file| trail.archive.compress(file));
        }
        let key = settings.checkpoints.as_ref().map(|checkpoints| &*checkpoints.key);
        let stated = key
            .and_then(|key| checkpoints::last_stated(&files::checkpoints(&trail.path), key))
            .unwrap_or_default();
        let lost_lines = stated.saturating_sub(tail.sequence);
        if !tail.stopped || tail.torn_bytes > 0 || lost_lines > 0 {
            let torn_bytes = tail.torn_bytes;
            tracing::warn!(torn_bytes, lost_lines, "Audit trail was not ended as it should be, it goes on");
            self.mark(Happening::Recovered { torn_bytes, lost_lines });
        }
    }

    /// Writes until nobody can send any more.
    pub fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while messages.blocking_recv_many(&mut batch, BATCH_MAX) > 0 {
            self.state.beat();
            let mut settings = self.state.settings();
            let mut is_tick = false;
            for message in batch.drain(..) {
                match message {
                    Message::Record(record, waiting) => {
                        self.add(&record);
                        self.waiting.extend(waiting);
                    }
                    Message::Tick => is_tick = true,
                    Message::Flush(done) => {
                        self.settle(&settings);
                        // Whoever asked may have left.
                        let _ = done.send(());
                    }
                    Message::Stop(done) => {
                        self.mark(Happening::Stop);
                        self.settle(&settings);
                        self.checkpoint(&settings);
                        let _ = done.send(());
                    }
                }
            }
            self.settle(&settings);
            if is_tick {
                settings = self.state.settings();
                self.look_after(&settings);
            }
            self.rotate_if_due(&settings);
            self.checkpoint_if_due(&settings);
            if settings.durability == Durability::Memory {
                thread::sleep(LINGER);
            }
        }
    }

    /// Formats a record and gives it its place.
    fn add(&mut self, record: &Record) {
        let start = self.pending.len();
        ocsf::append(record, &mut self.pending);
        self.chain.close(&mut self.pending, start);
        self.records += 1;
    }

    fn mark(&mut self, happening: Happening) {
        self.add(&Record::Mark(Mark::new(happening, Now::read().wall)));
    }

    /// Makes all that is pending as safe as it has to be, however long it takes, and tells whoever waits. While it fails, new
    /// calls are refused.
    fn settle(&mut self, settings: &AuditSettings) {
        loop {
            self.state.beat();
            self.write_pending();
            if settings.durability == Durability::Disk && !self.pending.is_empty() && !self.sync() {
                continue;
            }
            self.sink.keep(self.pending.len());
            self.pending.clear();
            self.written = 0;
            match self.trouble.take() {
                Some(trouble) => {
                    tracing::info!("Audit trail is written again");
                    self.mark(trouble.over());
                }
                None => break,
            }
        }
        for waiting in self.waiting.drain(..) {
            // Whoever waited may have left.
            let _ = waiting.send(());
        }
        let records = std::mem::take(&mut self.records);
        self.since_checkpoint += records;
        self.metrics.audit_records.inc_by(records);
        self.state.sequence.store(self.chain.sequence(), Ordering::Release);
        self.metrics.audit_sequence.set(i64::try_from(self.chain.sequence()).unwrap_or(i64::MAX));
        self.make_room();
    }

    fn write_pending(&mut self) {
        while self.written < self.pending.len() {
            self.state.beat();
            match self.sink.write(&self.pending[self.written..]) {
                Ok(0) => self.wait_after(&io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.wait_after(&error),
            }
        }
    }

    /// Waits until the disk has everything. When it says no, nobody knows what it has: the file is closed with what it had
    /// before, and what is pending is for the next one to write. Returns whether the disk has it.
    fn sync(&mut self) -> bool {
        let Sink::Trail(trail) = &mut self.sink else { return true };
        let Err(error) = trail.segment.sync() else { return true };
        self.metrics.audit_sync_failures.inc();
        self.wait_after(&error);
        // There is another file already when somebody asked for one meanwhile, or moved the old one away.
        let is_lost = matches!(&self.sink, Sink::Trail(trail) if trail.segment.is_lost());
        if is_lost && let Err(error) = self.begin_next(RotationReason::SyncFailed) {
            self.wait_after(&error);
        }
        false
    }

    /// Says that nothing can be written, and waits a little. A new file may help, when there is one.
    fn wait_after(&mut self, error: &io::Error) {
        self.metrics.audit_write_failures.inc();
        let trouble = self.trouble.get_or_insert_with(|| {
            tracing::error!(%error, "Audit trail cannot be written, so calls are refused until it can");
            Trouble::begins_with(error)
        });
        trouble.failures += 1;
        self.set_writable(false);
        thread::sleep(RETRY_PAUSE);
        // What goes wrong is in the log, and tried again.
        let _ = self.follow_file();
        self.obey();
    }

    fn set_writable(&self, writable: bool) {
        self.metrics.audit_writable.set(i64::from(writable));
        self.state.set_writable(writable);
    }

    /// Sees to it that there is room on the disk for the records of the calls under way, and some more.
    fn make_room(&mut self) {
        let under_way =
            self.messages.upgrade().map_or(0, |messages| messages.max_capacity() - messages.capacity());
        let needed = ROOM_BYTES + ROOM_BYTES_EACH * under_way as u64;
        let made = match &mut self.sink {
            Sink::Output(_) => Ok(()),
            Sink::Trail(trail) => trail.segment.make_room(needed),
        };
        match made {
            Ok(()) => {
                self.set_writable(true);
                if let Some(shortage) = self.shortage.take() {
                    tracing::info!("There is room for the audit trail again");
                    self.mark(shortage.over());
                }
            }
            Err(error) => {
                self.metrics.audit_write_failures.inc();
                self.set_writable(false);
                let shortage = self.shortage.get_or_insert_with(|| {
                    tracing::error!(%error, "No room for the audit trail, so calls are refused until there is");
                    Trouble::begins_with(&error)
                });
                shortage.failures += 1;
            }
        }
    }

    /// What is looked at four times a second.
    fn look_after(&mut self, settings: &AuditSettings) {
        let now = Now::read();
        let before = std::mem::replace(&mut self.clock, now);
        let should = before.wall + now.monotonic.duration_since(before.monotonic);
        if now.wall.abs_diff(should) > CLOCK_STEP {
            let by = i64::try_from(now.wall.abs_diff(should).as_millis()).unwrap_or(i64::MAX);
            self.mark(Happening::ClockStepped { by_ms: if now.wall < should { -by } else { by } });
        }
        // What goes wrong is in the log, and tried again.
        let _ = self.follow_file();
        self.obey();
        if self.kept_at.is_none_or(|kept_at| kept_at.elapsed() > KEEP_INTERVAL) {
            self.delete_what_is_not_kept(settings);
        }
        self.settle(settings);
    }

    /// Does what an operator asked for.
    fn obey(&mut self) {
        let Some(order) = self.state.take_order() else { return };
        let obeyed = match order.what {
            Errand::Look => self.follow_file(),
            Errand::Rotate => self.begin_next(RotationReason::Signal),
        };
        // Whoever asked may have left; it is done either way.
        let _ = order.done.send(obeyed);
    }
}

impl Trail {
    /// Whether something stands where the file belongs that cannot be gone on in.
    fn is_place_taken(&self) -> bool {
        self.path.symlink_metadata().is_ok_and(|there| !there.is_file() || there.len() > 0)
    }

    /// Puts aside what took the file's place. Whatever it is, it is none of ours, and it is evidence.
    fn put_aside(&self, now: Duration) -> io::Result<()> {
        let mut aside = self.path.clone().into_os_string();
        aside.push(format!(".foreign-{}", now.as_millis()));
        std::fs::rename(&self.path, aside)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Nobody writes from here on, also after a panic.
        self.state.set_writable(false);
    }
}

impl Trouble {
    fn begins_with(error: &io::Error) -> Self {
        Self { error: error.to_string(), since: Instant::now(), failures: 0 }
    }

    /// What the trail says of it afterwards.
    fn over(self) -> Happening {
        let Self { error, since, failures } = self;
        Happening::SinkTrouble { error, lasted_ms: milliseconds(since.elapsed()), failures }
    }
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Output(output) => output.write(bytes),
            Self::Trail(trail) => trail.segment.write(bytes),
        }
    }

    fn keep(&mut self, bytes: usize) {
        if let Self::Trail(trail) = self {
            trail.segment.keep(bytes);
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::checkpoint::{CheckpointKey, CheckpointPublicKey};
    use crate::audit::files::ClosedFile;
    use crate::audit::link::Link;
    use crate::audit::{AuditLog, CallRecord, Checkpoints, Keep, Rotation};
    use crate::identity::Peer;
    use serde_json::Value;
    use std::fs::OpenOptions;
    use std::path::Path;

    struct Bed {
        folder: tempfile::TempDir,
        metrics: Arc<Metrics>,
    }

    impl Bed {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().expect("a folder"), metrics: Arc::default() }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("audit.jsonl")
        }

        fn settings(&self) -> AuditSettings {
            AuditSettings::of(self.path())
        }

        fn open(&self, settings: AuditSettings) -> AuditLog {
            AuditLog::open(settings, Arc::clone(&self.metrics)).expect("a trail")
        }

        /// All lines of the trail, in order, and whole: each holds on to the one before.
        fn lines(&self) -> Vec<String> {
            let mut text = String::new();
            for closed in files::closed(&self.path()).expect("a list") {
                io::Read::read_to_string(&mut closed.reader().expect("a file"), &mut text).expect("text");
            }
            text.push_str(&std::fs::read_to_string(self.path()).expect("the trail"));
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let mut previous = (0, LineHash::NONE);
            for line in &lines {
                let link = Link::of(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
                assert_eq!((link.sequence, link.previous), (previous.0 + 1, previous.1), "{line}");
                previous = (link.sequence, LineHash::of(line.as_bytes()));
            }
            lines
        }

        fn marks(&self) -> Vec<Value> {
            let records =
                self.lines().into_iter().map(|line| serde_json::from_str::<Value>(&line).expect("JSON"));
            records
                .map(|record| record["unmapped"]["obo"].clone())
                .filter(|obo| obo["mark"].is_string())
                .collect()
        }
    }

    fn record() -> Record {
        let request = http::Request::get("/mail").body(()).expect("a request of the test");
        let peer = Peer { address: ([127, 0, 0, 1], 1).into(), tls: false, certificate: None };
        Record::Call(Box::new(CallRecord::begin(&request, peer, Duration::ZERO)))
    }

    async fn write(log: &AuditLog, count: usize) {
        for _ in 0..count {
            log.reserve().expect("a place").write(record()).await.expect("recorded");
        }
    }

    fn count(path: &Path) -> usize {
        std::fs::read_to_string(path).expect("the trail").lines().count()
    }

    #[tokio::test]
    async fn every_record_is_a_line_that_holds_on_to_the_one_before() {
        let bed = Bed::new();
        let log = bed.open(bed.settings());
        let places: Vec<_> = (0..2_000).map(|_| log.reserve().expect("a place")).collect();
        let receipts: Vec<_> = places.into_iter().map(|place| place.write(record())).collect();
        for receipt in receipts {
            receipt.await.expect("recorded");
        }
        assert_eq!(bed.lines().len(), 2_000);
        assert_eq!(bed.metrics.audit_records.get(), 2_000);
    }

    #[tokio::test]
    async fn a_record_is_in_the_file_before_its_receipt_comes() {
        for durability in [Durability::Process, Durability::Disk] {
            let bed = Bed::new();
            let log = bed.open(AuditSettings { durability, ..bed.settings() });
            for number in 1..=50 {
                log.reserve().expect("a place").write(record()).await.expect("recorded");
                assert_eq!(count(&bed.path()), number, "{durability:?}");
            }
        }
    }

    #[tokio::test]
    async fn in_memory_nobody_waits_and_nothing_is_lost() {
        let bed = Bed::new();
        let log = bed.open(AuditSettings { durability: Durability::Memory, ..bed.settings() });
        write(&log, 1_000).await;
        log.flush().await;
        assert_eq!(bed.lines().len(), 1_000);
    }

    #[tokio::test]
    async fn a_trail_goes_on_over_a_stop_and_tells_of_a_death() {
        let bed = Bed::new();
        let log = bed.open(bed.settings());
        write(&log, 2).await;
        log.stop().await;
        drop(log);
        let log = reopened(&bed).await;
        write(&log, 1).await;
        drop(log);
        // It was not stopped: as if it had been killed, in the middle of a line.
        let mut trail = OpenOptions::new().append(true).open(bed.path()).expect("the trail");
        trail.write_all(b"{\"time\":1").expect("written");
        let log = reopened(&bed).await;
        log.flush().await;
        assert_eq!(bed.lines().len(), 5);
        let marks = bed.marks();
        assert_eq!(marks[0]["mark"], "stop");
        assert_eq!((&marks[1]["mark"], &marks[1]["torn_bytes"]), (&"recovered".into(), &9.into()));
    }

    /// The thread of the one before lets go of the lock when it ends.
    async fn reopened(bed: &Bed) -> AuditLog {
        for _ in 0..200 {
            match AuditLog::open(bed.settings(), Arc::clone(&bed.metrics)) {
                Ok(log) => return log,
                Err(OpenError::Locked) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error}"),
            }
        }
        panic!("still locked")
    }

    #[tokio::test]
    async fn a_moved_file_is_followed_by_a_new_one() {
        let bed = Bed::new();
        let moved = bed.folder.path().join("audit.jsonl.1");
        let log = bed.open(bed.settings());
        write(&log, 1).await;
        std::fs::rename(bed.path(), &moved).expect("moved");
        write(&log, 1).await;
        log.reopen().await.expect("opened anew");
        write(&log, 1).await;
        // Three records and the mark. The writer may have looked by itself before it was asked.
        assert_eq!(count(&moved) + count(&bed.path()), 4);
        assert!(count(&moved) >= 1 && count(&bed.path()) >= 2);
        let first = std::fs::read_to_string(bed.path()).expect("the trail");
        let link = Link::of(first.lines().next().expect("a line").as_bytes()).expect("a link");
        let last = std::fs::read_to_string(&moved).expect("the old file");
        assert_eq!(link.previous, LineHash::of(last.lines().last().expect("a line").as_bytes()));
    }

    #[tokio::test]
    async fn a_deleted_file_is_written_again() {
        let bed = Bed::new();
        let log = bed.open(AuditSettings { compresses: false, ..bed.settings() });
        write(&log, 3).await;
        std::fs::remove_file(bed.path()).expect("deleted");
        log.reopen().await.expect("opened anew");
        write(&log, 1).await;
        assert_eq!(bed.lines().len(), 5);
        assert_eq!(bed.marks()[0]["reason"], "removed");
    }

    #[tokio::test]
    async fn what_takes_the_files_place_is_put_aside() {
        let bed = Bed::new();
        let (moved, secret) = (bed.folder.path().join("moved"), bed.folder.path().join("secret"));
        std::fs::write(&secret, "a secret").expect("written");
        let log = bed.open(bed.settings());
        write(&log, 1).await;
        std::fs::rename(bed.path(), &moved).expect("moved");
        std::os::unix::fs::symlink(&secret, bed.path()).expect("a link");
        log.reopen().await.expect("opened anew");
        write(&log, 1).await;
        assert!(std::fs::symlink_metadata(bed.path()).expect("the trail").is_file());
        assert_eq!(std::fs::read_to_string(&secret).expect("the secret"), "a secret");
        let names = std::fs::read_dir(bed.folder.path()).expect("a folder");
        let names: Vec<_> = names.map(|entry| entry.expect("an entry").file_name()).collect();
        assert!(names.iter().any(|name| name.to_string_lossy().contains(".foreign-")), "{names:?}");
    }

    #[tokio::test]
    async fn files_are_closed_by_size_compressed_and_deleted_with_a_mark() {
        let bed = Bed::new();
        let settings = AuditSettings {
            rotation: Rotation { bytes: 64 * 1_024, age: None },
            keep: Keep { files: Some(2), age: None },
            ..bed.settings()
        };
        let log = bed.open(settings);
        for _ in 0..6 {
            write(&log, 100).await;
        }
        log.rotate().await.expect("rotated");
        log.flush().await;
        for _ in 0..200 {
            let closed = files::closed(&bed.path()).expect("a list");
            if closed.len() <= 3 && closed.iter().all(ClosedFile::is_compressed) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let closed = files::closed(&bed.path()).expect("a list");
        assert!(
            (2..=3).contains(&closed.len()) && closed.iter().all(ClosedFile::is_compressed),
            "{closed:?}"
        );
        let mut text = String::new();
        for file in &closed {
            io::Read::read_to_string(&mut file.reader().expect("a file"), &mut text).expect("text");
        }
        text.push_str(&std::fs::read_to_string(bed.path()).expect("the trail"));
        let links: Vec<Link<'_>> =
            text.lines().map(|line| Link::of(line.as_bytes()).expect("a link")).collect();
        assert!(links.windows(2).all(|pair| pair[0].sequence + 1 == pair[1].sequence));
        let first = links[0];
        let deleted = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let deleted: Vec<Value> =
            deleted.filter(|line| line["unmapped"]["obo"]["mark"] == "deleted").collect();
        let last = &deleted.last().expect("a mark")["unmapped"]["obo"];
        assert_eq!(last["last"], first.sequence - 1);
        assert_eq!(last["last_hash"], first.previous.to_string());
    }

    #[tokio::test]
    async fn checkpoints_state_how_far_the_trail_has_come() {
        let bed = Bed::new();
        let settings = bed.settings();
        let key = Arc::new(CheckpointKey::generate(settings.instance.clone()));
        let checkpoints = Checkpoints { key, every_records: 10, every: Duration::from_secs(3_600) };
        let public: CheckpointPublicKey = checkpoints.key.public().clone();
        let log = bed.open(AuditSettings { checkpoints: Some(checkpoints), ..settings });
        assert_eq!(log.checkpoint(), None);
        write(&log, 25).await;
        log.stop().await;
        let newest = public.verify(&log.checkpoint().expect("a checkpoint")).expect("signed");
        let lines = bed.lines();
        assert_eq!((newest.sequence, newest.hash), (26, LineHash::of(lines[25].as_bytes())));
        let kept = std::fs::read_to_string(files::checkpoints(&bed.path())).expect("checkpoints");
        let stated: Vec<_> = super::super::checkpoint::notes(&kept).map(|note| public.verify(note)).collect();
        assert!(stated.len() >= 3, "{kept}");
        for checkpoint in stated {
            let checkpoint = checkpoint.expect("signed");
            let line = &lines[usize::try_from(checkpoint.sequence).expect("a number") - 1];
            assert_eq!(checkpoint.hash, LineHash::of(line.as_bytes()));
        }
    }

    #[test]
    fn what_cannot_be_written_is_tried_again_and_calls_are_refused_meanwhile() {
        let bed = Bed::new();
        let (messages, _receiver) = mpsc::channel(8);
        let (state, metrics) = (State::of(bed.settings()), Arc::clone(&bed.metrics));
        let mut writer = Writer::open(Arc::clone(&state), messages.downgrade(), metrics).expect("a trail");
        // It takes nothing, as a full disk does.
        let full = OpenOptions::new().write(true).open("/dev/full").expect("a full disk");
        writer.sink = Sink::Output(full);
        let settings = state.settings();
        let writing = thread::spawn(move || {
            writer.add(&record());
            writer.settle(&settings);
        });
        thread::sleep(Duration::from_millis(100));
        assert!(!state.is_writable() && !writing.is_finished());
    }

    #[tokio::test]
    async fn a_second_writer_is_turned_away() {
        let bed = Bed::new();
        let log = bed.open(bed.settings());
        write(&log, 1).await;
        assert!(matches!(AuditLog::open(bed.settings(), Arc::default()), Err(OpenError::Locked)));
    }

    #[tokio::test]
    async fn a_checkpoint_that_broke_off_takes_no_other_along() {
        // What happened: the disk was full within a checkpoint, and the next one went on in the middle of its line.
        let bed = Bed::new();
        let settings = bed.settings();
        let key = Arc::new(CheckpointKey::generate(settings.instance.clone()));
        let public = key.public().clone();
        let checkpoints = Some(Checkpoints { key, every_records: 1, every: Duration::from_secs(3_600) });
        let log = bed.open(AuditSettings { checkpoints, ..settings });
        write(&log, 1).await;
        log.flush().await;
        let path = files::checkpoints(&bed.path());
        let kept = || std::fs::read_to_string(&path).expect("checkpoints");
        for cut in [10, 150, 3] {
            log.flush().await;
            let text = kept();
            let before = super::super::checkpoint::notes(&text).count();
            std::fs::write(&path, format!("{text}{}", &text[..cut])).expect("written");
            write(&log, 1).await;
            log.flush().await;
            write(&log, 1).await;
            log.flush().await;
            let text = kept();
            let notes: Vec<_> = super::super::checkpoint::notes(&text).collect();
            assert!(
                notes.len() > before + 1 && notes.iter().all(|note| public.verify(note).is_ok()),
                "{text}"
            );
            assert_eq!(notes.iter().map(|note| note.len() + 1).sum::<usize>(), text.len(), "nothing else");
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_closed_is_not_tried_all_the_time() {
        let bed = Bed::new();
        let rotation = Rotation { bytes: 1, age: None };
        let log = bed.open(AuditSettings { rotation, compresses: false, ..bed.settings() });
        std::fs::write(ClosedFile::of(&bed.path(), 1).path, "in the way").expect("written");
        write(&log, 50).await;
        assert_eq!(count(&bed.path()), 50);
        assert_eq!(bed.metrics.audit_write_failures.get(), 1);
    }

    #[tokio::test]
    async fn both_forms_of_a_file_are_deleted() {
        let bed = Bed::new();
        let keep = Keep { files: Some(1), age: None };
        let log = bed.open(AuditSettings { keep, compresses: false, ..bed.settings() });
        write(&log, 1).await;
        log.rotate().await.expect("rotated");
        // What a gateway left that died while it compressed.
        let first = ClosedFile::of(&bed.path(), 1);
        std::fs::write(first.compressed(), "half").expect("written");
        write(&log, 1).await;
        log.keep_by(AuditSettings {
            rotation: Rotation { bytes: 1, age: None },
            ..(*log.settings()).clone()
        });
        write(&log, 1).await;
        log.flush().await;
        for path in [first.compressed(), first.path] {
            assert!(!path.exists(), "{}", path.display());
        }
    }

    #[test]
    fn calls_are_refused_while_the_writer_hangs() {
        // What happened: whoever read the trail from standard output had stopped. Calls were forwarded, and their records waited.
        let bed = Bed::new();
        let (messages, receiver) = mpsc::channel(1_024);
        let (state, metrics) = (State::of(bed.settings()), Arc::clone(&bed.metrics));
        let writer = Writer::open(Arc::clone(&state), messages.downgrade(), Arc::clone(&metrics));
        let mut writer = writer.expect("a trail");
        let (mut reader, output) = io::pipe().expect("a pipe");
        writer.sink = Sink::Output(File::from(std::os::fd::OwnedFd::from(output)));
        thread::spawn(move || writer.run(receiver));
        let (ticking, watched) = (messages.downgrade(), Arc::clone(&state));
        thread::spawn(move || {
            super::super::log::tick(&ticking, &watched, &metrics, Duration::from_millis(500))
        });
        let eventually = |writable: bool| {
            let due = Instant::now() + Duration::from_secs(20);
            while state.is_writable() != writable {
                assert!(Instant::now() < due, "writable: {}", !writable);
                thread::sleep(Duration::from_millis(10));
            }
        };
        thread::sleep(Duration::from_millis(1_500));
        assert!(state.is_writable(), "it is idle, and hangs not");
        // More than a pipe holds.
        (0..200).for_each(|_| messages.blocking_send(Message::Record(record(), None)).expect("sent"));
        eventually(false);
        assert_eq!(bed.metrics.audit_writable.get(), 0);
        thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
        eventually(true);
    }
}
