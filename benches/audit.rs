//! What reading a trail costs: run it with `cargo bench --bench audit`.
//!
//! Over 200,000 lines as the gateway writes them, on one thread, from the file system's cache: verifying them, as they are and
//! compressed, and asking for one person, for one refusal code, for one tool, for a period (where every line has to be parsed), and
//! counting. Throughput is in lines and, in the other column, in bytes.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::LazyLock;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use obo_gateway::audit::files::ClosedFile;
use obo_gateway::audit::link::{Chain, Instance, LineHash};
use obo_gateway::policy::ToolPattern;
use obo_gateway::trail::filter::Filter;
use obo_gateway::trail::scan::scan;
use obo_gateway::trail::stats::Stats;
use obo_gateway::trail::verify::{Options, Verdict, verify};
use obo_gateway::trail::{Progress, Trail};

#[path = "../tests/audit/records.rs"]
mod records;

use records::{Call, TIME, add, mark};

const LINES: u64 = 200_000;

fn main() {
    println!("{LINES} lines of {} bytes on average", TRAILS.bytes / LINES);
    divan::main();
}

struct Trails {
    _folder: tempfile::TempDir,
    plain: PathBuf,
    compressed: PathBuf,
    bytes: u64,
}

static TRAILS: LazyLock<Trails> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let instance = Instance::parse("gateway-1.contoso.example").expect("a name");
    let (mut chain, mut lines) = (Chain::after(0, LineHash::NONE, instance, 1), Vec::new());
    add(&mut chain, &mark("boot", "", TIME), &mut lines);
    for number in 2..=LINES {
        add(&mut chain, &Call::number(number).record(), &mut lines);
    }
    let bytes = lines.len() as u64;
    let plain = folder.path().join("plain.jsonl");
    fs::write(&plain, &lines).expect("written");
    let compressed = ClosedFile::of(&folder.path().join("compressed.jsonl"), 1).compressed();
    fs::write(&compressed, zstd::encode_all(lines.as_slice(), 3).expect("compressed")).expect("written");
    Trails { _folder: folder, plain, compressed, bytes }
});

fn trail(path: &PathBuf) -> Trail {
    Trail::find(std::slice::from_ref(path)).expect("a trail")
}

fn bench(bencher: Bencher<'_, '_>, run: impl Fn() + Sync) {
    let bytes = TRAILS.bytes;
    bencher.counter(ItemsCount::new(LINES)).counter(BytesCount::new(bytes)).bench(run);
}

fn verified(path: &PathBuf) {
    let verified = verify(trail(path), &Options::default(), &mut Progress::hidden()).expect("it is read");
    assert_eq!((verified.verdict(), verified.lines), (Verdict::Whole, LINES));
}

#[divan::bench(sample_count = 10)]
fn verify_plain(bencher: Bencher<'_, '_>) {
    bench(bencher, || verified(&TRAILS.plain));
}

#[divan::bench(sample_count = 10)]
fn verify_compressed(bencher: Bencher<'_, '_>) {
    bench(bencher, || verified(&TRAILS.compressed));
}

fn found(filter: &Filter) -> u64 {
    let scanned = scan(trail(&TRAILS.plain), filter, None, &mut Progress::hidden(), |record, _| {
        black_box(record);
        Ok(ControlFlow::Continue(()))
    });
    let scanned = scanned.expect("it is read");
    assert_eq!(scanned.lines, LINES);
    scanned.found
}

/// A third of all.
#[divan::bench(sample_count = 10)]
fn query_person(bencher: Bencher<'_, '_>) {
    let filter = Filter::default().people(vec!["ada@contoso.example".to_owned()]);
    bench(bencher, || assert!(found(&filter) > LINES / 4));
}

/// Somebody who called once.
#[divan::bench(sample_count = 10)]
fn query_request(bencher: Bencher<'_, '_>) {
    let filter = Filter::default().request_ids(vec![Call::number(150_000).request_id]);
    bench(bencher, || assert_eq!(found(&filter), 1));
}

/// An eighth of all.
#[divan::bench(sample_count = 10)]
fn query_code(bencher: Bencher<'_, '_>) {
    let filter = Filter::default().codes(vec!["consent_required".to_owned()]);
    bench(bencher, || assert!(found(&filter) > LINES / 10));
}

/// Half of all.
#[divan::bench(sample_count = 10)]
fn query_tool(bencher: Bencher<'_, '_>) {
    let filter = Filter::default().tools(vec![ToolPattern::of_resource("mail/*").expect("a pattern")]);
    bench(bencher, || assert!(found(&filter) > LINES / 3));
}

#[divan::bench(sample_count = 10)]
fn query_period(bencher: Bencher<'_, '_>) {
    let filter = Filter::default().period(Some(TIME + 150_000 * 250), None);
    bench(bencher, || assert!(found(&filter) > LINES / 5));
}

#[divan::bench(sample_count = 10)]
fn stats(bencher: Bencher<'_, '_>) {
    bench(bencher, || {
        let counted = Stats::of(trail(&TRAILS.plain), &Filter::default(), None, &mut Progress::hidden());
        assert_eq!(counted.expect("it is read").0.records, LINES);
    });
}
