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

fn record() -> CallRecord {
    let request = http::Request::get("/mail").body(()).expect("a request of the test");
    let peer = Peer { address: ([127, 0, 0, 1], 1).into(), tls: false, certificate: None };
    CallRecord::begin(&request, peer, Duration::ZERO)
}

fn lines() -> Lines {
    let mut lines = Lines::default();
    lines.add(&Record::Call(&record()));
    lines
}

async fn write(log: &AuditLog, count: usize) {
    for _ in 0..count {
        log.reserve().expect("a place").write(&Record::Call(&record())).await.expect("recorded");
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
    let receipts: Vec<_> = places.into_iter().map(|place| place.write(&Record::Call(&record()))).collect();
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
            log.reserve().expect("a place").write(&Record::Call(&record())).await.expect("recorded");
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
    assert!((2..=3).contains(&closed.len()) && closed.iter().all(ClosedFile::is_compressed), "{closed:?}");
    let mut text = String::new();
    for file in &closed {
        io::Read::read_to_string(&mut file.reader().expect("a file"), &mut text).expect("text");
    }
    text.push_str(&std::fs::read_to_string(bed.path()).expect("the trail"));
    let links: Vec<Link<'_>> = text.lines().map(|line| Link::of(line.as_bytes()).expect("a link")).collect();
    assert!(links.windows(2).all(|pair| pair[0].sequence + 1 == pair[1].sequence));
    let first = links[0];
    let deleted = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let deleted: Vec<Value> = deleted.filter(|line| line["unmapped"]["obo"]["mark"] == "deleted").collect();
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
    let (state, metrics) = (State::of(bed.settings()), Arc::clone(&bed.metrics));
    let mut writer = Writer::open(Arc::clone(&state), metrics).expect("a trail");
    // It takes nothing, as a full disk does.
    let full = OpenOptions::new().write(true).open("/dev/full").expect("a full disk");
    writer.sink = Sink::Output(full);
    let settings = state.settings();
    let writing = thread::spawn(move || {
        writer.add_lines(lines());
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
        assert!(notes.len() > before + 1 && notes.iter().all(|note| public.verify(note).is_ok()), "{text}");
        assert_eq!(notes.iter().map(|note| note.len() + 1).sum::<usize>(), text.len(), "nothing else");
    }
}

#[tokio::test]
async fn a_trail_that_was_stopped_is_not_rotated_any_more() {
    let bed = Bed::new();
    let rotation = Rotation { bytes: 1, age: None };
    let log = bed.open(AuditSettings { rotation, ..bed.settings() });
    write(&log, 1).await;
    log.stop().await;
    // The process may end at any moment from here on, and the writer looks around still.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(bed.marks().last().expect("marks")["mark"], "stop");
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
    log.keep_by(AuditSettings { rotation: Rotation { bytes: 1, age: None }, ..(*log.settings()).clone() });
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
    let (state, metrics) = (State::of(bed.settings()), Arc::clone(&bed.metrics));
    let writer = Writer::open(Arc::clone(&state), Arc::clone(&metrics));
    let mut writer = writer.expect("a trail");
    let (mut reader, output) = io::pipe().expect("a pipe");
    writer.sink = Sink::Output(File::from(std::os::fd::OwnedFd::from(output)));
    thread::spawn(move || writer.run());
    let watched = Arc::clone(&state);
    thread::spawn(move || super::super::log::tick(&watched, &metrics, Duration::from_millis(500)));
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
    (0..200).for_each(|_| state.inbox.push(Message::Lines(lines())));
    eventually(false);
    assert_eq!(bed.metrics.audit_writable.get(), 0);
    thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
    eventually(true);
}
