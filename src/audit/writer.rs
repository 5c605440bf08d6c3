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

use super::archive::Archive;
use super::files;
use super::gathering::Gathering;
use super::inbox::{Lines, Message};
use super::link::{Chain, LineHash};
use super::log::{Errand, State};
use super::mark::{Happening, Mark, RotationReason};
use super::record::Record;
use super::segment::{self, OpenError, Segment, Tail};
use super::settings::{AuditFile, AuditSettings, Durability};
use crate::clock::Now;
use crate::metrics::Metrics;

/// About how many lines are taken before they are written: enough to make writing cheap, little enough to stay in a cache.
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
    /// Lines that have their places, and are not as safe yet as they have to be.
    pending: Vec<u8>,
    /// How much of that is written.
    written: usize,
    records: u64,
    /// Who waits for what is pending.
    waiting: Vec<(Arc<Gathering>, u64)>,
    trouble: Option<Trouble>,
    /// What there is no room for is not lost, but it is not begun either.
    shortage: Option<Trouble>,
    since_checkpoint: u64,
    checkpointed_at: Instant,
    clock: Now,
    kept_at: Option<Instant>,
    /// When the file could not be closed.
    rotation_failed_at: Option<Instant>,
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
    /// Held as long as this is, also should the archive's thread panic, and until the archive has ended.
    _lock: Arc<File>,
}

/// Nothing could be written, since when, and why.
struct Trouble {
    error: String,
    since: Instant,
    failures: u64,
}

impl Writer {
    /// Opens the trail, and recovers its end.
    pub fn open(state: Arc<State>, metrics: Arc<Metrics>) -> Result<Self, OpenError> {
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
                let lock = Arc::new(segment::lock(path)?);
                let (segment, tail) = Segment::open(path, &settings.instance, now.wall)?;
                let archive = Archive::start(Arc::clone(&lock))
                    .map_err(segment::system("its archive cannot be started"))?;
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

    /// Writes until nothing more can come.
    pub fn run(mut self) {
        let (mut batch, state, mut has_stopped) = (Vec::new(), Arc::clone(&self.state), false);
        while state.inbox.take(&mut batch, BATCH_MAX) {
            self.state.beat();
            let mut settings = self.state.settings();
            let mut is_tick = false;
            for message in batch.drain(..) {
                match message {
                    Message::Lines(lines) => {
                        has_stopped = false;
                        self.add_lines(lines);
                    }
                    Message::Tick => is_tick = true,
                    Message::Flush(done) => {
                        self.settle(&settings);
                        // Whoever asked may have left.
                        let _ = done.send(());
                    }
                    Message::Stop(done) => {
                        has_stopped = true;
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
            // Whoever has stopped the trail ends the process, which must not be between two files then.
            if !has_stopped {
                self.rotate_if_due(&settings);
            }
            self.checkpoint_if_due(&settings);
            if settings.durability == Durability::Memory {
                thread::sleep(LINGER);
            }
        }
    }

    /// Gives lines their places.
    fn add_lines(&mut self, lines: Lines) {
        for line in lines.iter() {
            let start = self.pending.len();
            self.pending.extend_from_slice(line);
            self.chain.close(&mut self.pending, start);
        }
        self.records += lines.count() as u64;
        // Marks take no places.
        if lines.told.is_some() {
            self.state.free_slots(lines.count());
        }
        self.waiting.extend(lines.told);
    }

    fn mark(&mut self, happening: Happening) {
        let mut lines = Lines::default();
        lines.add(&Record::Mark(&Mark::new(happening, Now::read().wall)));
        self.add_lines(lines);
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
        self.waiting.drain(..).for_each(|(gathering, batch)| gathering.safe_up_to(batch));
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
        let needed = ROOM_BYTES + ROOM_BYTES_EACH * self.state.slots_taken() as u64;
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
            let by_ms = if now.wall < should { -by } else { by };
            tracing::warn!(by_ms, "Wall clock was set");
            self.mark(Happening::ClockStepped { by_ms });
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
mod tests;
