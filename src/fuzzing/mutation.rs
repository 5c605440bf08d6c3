//! Where there is no fuzzer, a poor man's: the corpora of the whole way in and of connectors' answers, changed at random, some
//! hundred times in each run of the tests. `FUZZ_MUTATIONS=100000 cargo test --lib mutations` looks for longer, and `FUZZ_SEED` elsewhere; what is found is kept in
//! `fuzz/artifacts`, where the fuzzer keeps its own.

use std::fs;
use std::panic::{RefUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{connection, connector_answer};

/// How many inputs are tried, unless the environment says otherwise.
const MUTATIONS: u64 = 400;
/// How many are tried at a time. Most of the time each waits for something.
const LANES: u64 = 16;
/// How long a connection is left open for calls that wait for more.
const PATIENCE: Duration = Duration::from_millis(20);
/// Longest input: nothing beyond is another than below.
const INPUT_BYTES_MAX: usize = 8_192;

/// What a request may have in it, and what a reader may stumble over.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"\0",
    b"\x7f",
    b"\xff",
    b"#",
    b"?",
    b"..",
    b"%2e",
    b"//",
    b"@",
    b"chunked",
    b"identity",
    b"0x3",
    b"+3",
    b"-1",
    b"18446744073709551615",
    b"close",
    b"transfer-encoding: chunked\r\n",
    b"content-length: 3\r\n",
    b"content-length: 0\r\n",
    b"connection: close\r\n",
    b"connection: authorization\r\n",
    b"expect: 100-continue\r\n",
    b"upgrade: h2c\r\n",
    b"host: gw\r\n",
    b"GET /mail/x HTTP/1.1\r\nhost: gw\r\n\r\n",
    b"POST ",
    b"HEAD ",
    b"CONNECT ",
    b"OPTIONS ",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"\0\0\0\x04\x01\0\0\0\0",
    b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08",
    b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0",
    b"\0\0\x04\x08\0\0\0\0\0\x7f\xff\xff\xff",
    b"\0\0\0\x09\x04\0\0\0\x01",
    b"\0\0\0\0\x01\0\0\0\x01",
];

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 where there is none.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).expect("it is below a usize")
    }

    /// A part of something so long: where it begins, and where it ends.
    fn part(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let bytes = 1 << self.below(8);
        start..(start + self.below(bytes) + 1).min(length).max(start)
    }
}

/// One input, made of those in the corpus.
fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..1 + random.below(4) {
        let at = random.below(input.len());
        match random.below(8) {
            0 if !input.is_empty() => input[at] ^= 1 << random.below(8),
            1 if !input.is_empty() => input[at] = random.below(256) as u8,
            2 => drop(input.drain(random.part(input.len()))),
            3 => {
                let part = input[random.part(input.len())].to_vec();
                drop(input.splice(at..at, part));
            }
            4 | 5 => {
                let word = WORDS[random.below(WORDS.len())];
                let end = if random.below(2) == 0 { at } else { (at + word.len()).min(input.len()) };
                drop(input.splice(at..end, word.iter().copied()));
            }
            6 => {
                let other = &corpus[random.below(corpus.len())];
                input.truncate(at);
                input.extend_from_slice(&other[random.below(other.len())..]);
            }
            _ => {
                // Behind one another, but for the byte that says in what pieces they come.
                let other = &corpus[random.below(corpus.len())];
                input.extend_from_slice(other.get(1..).unwrap_or_default());
            }
        }
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

fn number(name: &str, otherwise: u64) -> u64 {
    let written = std::env::var(name);
    written.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Runs mutations of a target's corpus, so many unless it is said otherwise. What breaks is kept.
fn assert_nothing_breaks(target: &str, count: u64, run: impl Fn(&[u8]) + Sync + RefUnwindSafe) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let files = fs::read_dir(fuzz.join("corpus").join(target)).expect("a corpus");
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("an entry").path()).collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).expect("a file")).collect();
    let (count, seed) = (number("FUZZ_MUTATIONS", count), number("FUZZ_SEED", 1));
    let (next, found) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let mut random = Random(seed << 32 ^ number);
                    let input = mutated(&corpus, &mut random);
                    if catch_unwind(|| run(&input)).is_err() {
                        let kept = fuzz.join(format!("artifacts/{target}/{seed}-{number}"));
                        fs::create_dir_all(kept.parent().expect("a folder")).expect("a folder");
                        fs::write(&kept, &input).expect("a file");
                        found.lock().expect("whole").push(kept);
                    }
                }
            });
        }
    });
    let found = found.into_inner().expect("whole");
    assert!(found.is_empty(), "{} of {count} inputs break something: {found:#?}", found.len());
}

#[test]
fn mutations_of_connections_break_nothing() {
    assert_nothing_breaks("connection", MUTATIONS, |input| _ = connection::run(input, PATIENCE));
}

#[test]
fn mutations_of_connectors_answers_break_nothing() {
    assert_nothing_breaks("connector_answer", 100 * MUTATIONS, |input| _ = connector_answer(input));
}
