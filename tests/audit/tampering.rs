//! What can be done to a trail, and what `verify` says of each: `cargo test --test audit tampering -- --nocapture` prints the table.

use std::fs;
use std::io::Write as _;

use obo_gateway::audit::checkpoint::CheckpointKey;
use obo_gateway::audit::files::{self, ClosedFile};
use obo_gateway::audit::link::{Chain, LineHash};
use proptest::prelude::*;

use crate::bed::{LINES, TrailBed, instance, split, text};
use crate::records::{Call, TIME, add, mark};

/// A deed, by its name; what is done before the trail is written, and after; what is said; and at which line first.
struct Deed {
    name: &'static str,
    before: fn(&mut TrailBed),
    after: fn(&TrailBed),
    faults: &'static [&'static str],
    first_bad: Option<u64>,
}

const fn deed(
    name: &'static str,
    before: fn(&mut TrailBed),
    faults: &'static [&'static str],
    first_bad: u64,
) -> Deed {
    Deed {
        name,
        before,
        after: |_| {},
        faults,
        first_bad: if first_bad == 0 { None } else { Some(first_bad) },
    }
}

const fn afterwards(
    name: &'static str,
    after: fn(&TrailBed),
    faults: &'static [&'static str],
    first_bad: u64,
) -> Deed {
    Deed {
        name,
        before: |_| {},
        after,
        faults,
        first_bad: if first_bad == 0 { None } else { Some(first_bad) },
    }
}

const DEEDS: &[Deed] = &[
    Deed { name: "nothing", before: |_| {}, after: |_| {}, faults: &[], first_bad: None },
    deed("one byte of a line changed", |bed| change(bed, 17, "\"time\":1", "\"time\":2"), &["changed"], 17),
    deed(
        "the outcome of a call changed",
        |bed| change(bed, 11, "policy_denied", "answered"),
        &["changed"],
        11,
    ),
    deed(
        "the number of a line changed",
        |bed| change(bed, 17, "\"sequence\":17", "\"sequence\":18"),
        &["changed"],
        17,
    ),
    deed("what a line says of the one before changed", flip_previous, &["changed"], 17),
    deed(
        "the name of the gateway in a line changed",
        |bed| change(bed, 17, "gateway-1", "gateway-2"),
        &["changed"],
        17,
    ),
    deed("one byte of the first line changed", |bed| change(bed, 1, "boot", "b00t"), &["changed"], 1),
    deed(
        "the number of the first line changed",
        |bed| change(bed, 1, "\"sequence\":1,", "\"sequence\":7,"),
        &["changed"],
        1,
    ),
    deed(
        "one byte of the last line changed",
        |bed| change(bed, 40, "\"time\":1", "\"time\":2"),
        &["changed"],
        40,
    ),
    deed(
        "one line replaced by something else",
        |bed| *bed.line(17) = b"nothing happened".to_vec(),
        &["no_record"],
        17,
    ),
    deed("the line break between two lines changed", join_lines, &["joined"], 17),
    deed("one line cut in two", cut_in_two, &["no_record"], 17),
    deed("one line removed", |bed| remove(bed, 17), &["missing"], 17),
    deed("the first line removed", |bed| remove(bed, 1), &["begins_late"], 1),
    deed("ten lines removed, over a checkpoint", remove_ten, &["missing"], 18),
    deed("a closed file removed", |bed| bed.files[1].clear(), &["missing"], 16),
    deed(
        "two lines exchanged",
        |bed| {
            let (lines, at) = bed.place(17);
            lines.swap(at, at + 1)
        },
        &["out_of_order"],
        17,
    ),
    deed("one line moved back by ten", |bed| move_line(bed, 28, 18), &["out_of_order"], 18),
    deed("one line moved on by ten", |bed| move_line(bed, 18, 28), &["out_of_order"], 18),
    deed(
        "one line written twice",
        |bed| {
            let (lines, at) = bed.place(17);
            let line = lines[at].clone();
            lines.insert(at, line)
        },
        &["duplicated"],
        17,
    ),
    deed(
        "an earlier line written once more",
        |bed| {
            let line = bed.line(17).clone();
            insert(bed, 25, line)
        },
        &["again"],
        17,
    ),
    deed("a made-up line inserted", insert_made_up, &["inserted"], 25),
    deed("a line of junk inserted", |bed| insert(bed, 25, b"junk".to_vec()), &["no_record"], 25),
    deed("another gateway's lines inserted", insert_foreign, &["foreign"], 31),
    deed("the last three lines removed", |bed| bed.files[2].truncate(7), &["cut"], 38),
    deed("the file that is written removed", |bed| bed.files[2].clear(), &["cut"], 31),
    deed("the last line left unfinished", leave_unfinished, &["cut"], 40),
    deed("written anew from a line on, all hashes fitting", write_anew, &["written_anew"], 40),
    deed("the last line written anew, fitting", write_last_anew, &["changed"], 40),
    deed(
        "written anew, and the checkpoints too, by another key",
        forge_checkpoints,
        &["checkpoint_of_another_key"],
        10,
    ),
    deed(
        "one byte of a checkpoint changed",
        |bed| bed.checkpoints[1] = bed.checkpoints[1].replace("\n20\n", "\n19\n"),
        &["checkpoint_signature_wrong"],
        19,
    ),
    deed(
        "a checkpoint damaged",
        |bed| bed.checkpoints[1] = bed.checkpoints[1].replace("\n\n", "\n"),
        &["checkpoint_unreadable"],
        0,
    ),
    deed("two checkpoints exchanged", |bed| bed.checkpoints.swap(1, 2), &["checkpoints_out_of_order"], 20),
    deed("the end lost when the machine died, and the trail gone on", lose_the_end, &["lost"], 37),
    afterwards(
        "one byte within a compressed file changed",
        |bed| damage_compressed(bed, 2),
        &["changed"],
        13,
    ),
    afterwards(
        "one byte at the head of a compressed file changed",
        |bed| damage_compressed(bed, usize::MAX),
        &["damaged"],
        1,
    ),
    afterwards("the end of a compressed file cut off", cut_compressed, &["damaged"], 1),
    afterwards("a closed file without its last line break", cut_line_break, &["unfinished"], 30),
];

fn change(bed: &mut TrailBed, number: u64, from: &str, to: &str) {
    let line = bed.line(number);
    let changed = text(line).replacen(from, to, 1);
    assert!(*line != changed.as_bytes(), "line {number} has no {from}");
    *line = changed.into_bytes();
}

fn flip_previous(bed: &mut TrailBed) {
    let line = bed.line(17);
    let at = line.len() - 10;
    line[at] = if line[at] == b'0' { b'1' } else { b'0' };
}

fn remove(bed: &mut TrailBed, number: u64) {
    let (lines, at) = bed.place(number);
    lines.remove(at);
}

fn insert(bed: &mut TrailBed, number: u64, line: Vec<u8>) {
    let (lines, at) = bed.place(number);
    lines.insert(at, line);
}

fn move_line(bed: &mut TrailBed, from: u64, to: u64) {
    let (lines, at) = bed.place(from);
    let line = lines.remove(at);
    let (lines, at) = bed.place(to);
    lines.insert(at, line);
}

fn remove_ten(bed: &mut TrailBed) {
    let (lines, at) = bed.place(18);
    lines.drain(at..at + 10);
}

fn join_lines(bed: &mut TrailBed) {
    let (lines, at) = bed.place(17);
    let next = lines.remove(at + 1);
    lines[at].push(b'x');
    lines[at].extend(next);
}

fn cut_in_two(bed: &mut TrailBed) {
    let (lines, at) = bed.place(17);
    let mut rest = lines[at].split_off(400);
    rest.remove(0);
    lines.insert(at + 1, rest);
}

fn insert_made_up(bed: &mut TrailBed) {
    let hash = LineHash::of(b"nothing");
    let mut lines = Vec::new();
    let mut chain = Chain::after(24, hash, instance("gateway-1"), 2);
    add(&mut chain, &Call::number(25).record(), &mut lines);
    insert(bed, 25, split(&lines).remove(0));
}

fn insert_foreign(bed: &mut TrailBed) {
    let mut lines = Vec::new();
    let mut chain = Chain::after(0, LineHash::NONE, instance("gateway-9"), 9);
    for number in 1..=20 {
        add(&mut chain, &Call::number(number).record(), &mut lines);
    }
    bed.files[1].extend(split(&lines));
}

fn leave_unfinished(bed: &mut TrailBed) {
    bed.unfinished = bed.files[2].pop().expect("a line");
}

/// Whoever does this has no key, so the checkpoints stay.
fn write_anew(bed: &mut TrailBed) {
    let checkpoints = bed.checkpoints.clone();
    bed.write_anew_from(33, |call| call.person = "somebody.else");
    // More than one line is after what the checkpoint is of, which tells a chain that goes on.
    let mut lines = Vec::new();
    let last = bed.lines().last().expect("a line").clone();
    let mut chain = Chain::after(LINES, LineHash::of(&last), instance("gateway-1"), 2);
    add(&mut chain, &Call::number(41).record(), &mut lines);
    bed.files[2].extend(split(&lines));
    bed.checkpoints = checkpoints;
}

fn write_last_anew(bed: &mut TrailBed) {
    let checkpoints = bed.checkpoints.clone();
    bed.write_anew_from(40, |call| call.person = "somebody.else");
    bed.checkpoints = checkpoints;
}

fn forge_checkpoints(bed: &mut TrailBed) {
    let own = std::mem::replace(&mut bed.key, CheckpointKey::generate(instance("gateway-1")));
    bed.write_anew_from(1, |call| call.person = "somebody.else");
    bed.key = own;
}

/// Lines 37 to 40 never reached the disk, and their checkpoint did. What comes after has their numbers.
fn lose_the_end(bed: &mut TrailBed) {
    bed.files[2].truncate(6);
    let last = bed.files[2][5].clone();
    let (mut chain, mut lines) =
        (Chain::after(36, LineHash::of(&last), instance("gateway-1"), 3), Vec::new());
    add(&mut chain, &mark("recovered", r#","torn_bytes":0,"lost_lines":4"#, TIME), &mut lines);
    add(&mut chain, &mark("boot", r#","configuration":"00","durability":"process""#, TIME), &mut lines);
    for number in [38, 45] {
        while chain.sequence() < number {
            let call = Call::number(chain.sequence() + 1);
            add(&mut chain, &call.record(), &mut lines);
        }
        bed.checkpoints.push(bed.checkpoint_of_run(3, number, chain.hash()));
    }
    bed.files[2].extend(split(&lines));
}

fn compressed(bed: &TrailBed) -> std::path::PathBuf {
    ClosedFile::of(&bed.trail(), 1).compressed()
}

fn damage_compressed(bed: &TrailBed, part: usize) {
    let mut bytes = fs::read(compressed(bed)).expect("a file");
    let at = bytes.len() / part;
    bytes[at] ^= 0x10;
    fs::write(compressed(bed), bytes).expect("written");
}

fn cut_compressed(bed: &TrailBed) {
    let bytes = fs::read(compressed(bed)).expect("a file");
    fs::write(compressed(bed), &bytes[..bytes.len() / 2]).expect("written");
}

fn cut_line_break(bed: &TrailBed) {
    let path = ClosedFile::of(&bed.trail(), 16).path;
    let bytes = fs::read(&path).expect("a file");
    fs::write(path, &bytes[..bytes.len() - 1]).expect("written");
}

#[test]
fn whatever_is_done_to_a_trail_is_found_and_named() {
    let mut wrong = Vec::new();
    let mut table = String::from("manipulation | what verify says | first bad line\n--- | --- | ---\n");
    for Deed { name, before, after, faults, first_bad } in DEEDS {
        let mut bed = TrailBed::new();
        before(&mut bed);
        bed.write();
        after(&bed);
        let verified = bed.verify();
        let says =
            if faults.is_empty() { "The trail is whole".to_owned() } else { verified.says().join("; ") };
        let shown = verified.first_bad().map(|number| number.to_string()).unwrap_or_default();
        table +=
            &format!("{name} | {} | {shown}\n", says.replace(&bed.folder.path().display().to_string(), "…"));
        let code = i32::from(!faults.is_empty());
        let found = verified.faults();
        if found != *faults || verified.first_bad() != *first_bad || verified.code != Some(code) {
            wrong.push(format!(
                "{name}: {found:?} at {shown}, exit {:?}: {}",
                verified.code, verified.document
            ));
        }
    }
    // Past the harness, which shows only what failing tests print.
    let _ = writeln!(std::io::stdout(), "{table}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn lines_that_were_deleted_as_they_should_be_are_no_fault() {
    for (hash_fits, faults) in [(true, &[][..]), (false, &["begins_late"])] {
        let mut bed = TrailBed::new();
        let last = bed.line(15).clone();
        let hash = if hash_fits { LineHash::of(&last) } else { LineHash::of(b"another") };
        let members = format!(r#","first":1,"last":15,"last_hash":"{hash}""#);
        let mut lines = Vec::new();
        let end = bed.line(LINES).clone();
        let mut chain = Chain::after(LINES, LineHash::of(&end), instance("gateway-1"), 2);
        add(&mut chain, &mark("deleted", &members, TIME), &mut lines);
        bed.files[2].extend(split(&lines));
        bed.files[0].clear();
        bed.write();
        let verified = bed.verify();
        assert_eq!(verified.faults(), faults, "{}", verified.document);
        assert_eq!(verified.document["deleted_in"].as_u64(), hash_fits.then_some(41));
        assert_eq!(verified.document["checkpoints"]["older"], 1, "the one of line 10");
    }
}

#[test]
fn a_trail_that_is_older_than_a_checkpoint_kept_elsewhere_is_not_whole() {
    let bed = TrailBed::new();
    bed.write();
    let (trail, key) = (bed.trail().display().to_string(), bed.key.public().to_string());
    let kept = bed.folder.path().join("kept");
    let kept_name = kept.display().to_string();
    fs::write(&kept, bed.checkpoint(55, LineHash::of(b"line 55"))).expect("written");
    let verified = crate::bed::verify(&[&trail, "--key", &key, "--checkpoint", &kept_name]);
    assert_eq!((verified.faults(), verified.first_bad(), verified.code), (vec!["cut"], Some(41), Some(1)));
    // And one that says the same is none the worse for it.
    fs::write(&kept, &bed.checkpoints[3]).expect("written");
    let verified = crate::bed::verify(&[&trail, "--key", &key, "--checkpoint", &kept_name]);
    assert_eq!((verified.faults().len(), verified.code), (0, Some(0)));
    assert_eq!(verified.document["checkpoints"]["fitting"], 5);
    // Without those beside the trail, a chain written anew is found by the one that was kept.
    let mut bed = bed;
    bed.write_anew_from(20, |call| call.person = "somebody.else");
    bed.checkpoints.clear();
    bed.write();
    fs::remove_file(files::checkpoints(&bed.trail())).expect("removed");
    let verified = crate::bed::verify(&[&trail, "--key", &key, "--checkpoint", &kept_name]);
    assert_eq!((verified.faults(), verified.first_bad()), (vec!["changed"], Some(40)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn any_byte_changed_in_any_line_is_found(line in 1..=LINES, at in any::<proptest::sample::Index>(), flipped in 1..=255_u8) {
        let mut bed = TrailBed::new();
        let bytes = bed.line(line);
        // One more than it has: its line break.
        bytes.push(b'\n');
        let at = at.index(bytes.len());
        bytes[at] ^= flipped;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        } else if line == LINES {
            bed.unfinished = bed.files[2].pop().expect("a line");
        } else if ![15, 30].contains(&line) {
            let (lines, at) = bed.place(line);
            let next = lines.remove(at + 1);
            lines[at].extend(next);
        }
        bed.write();
        let verified = bed.verify();
        prop_assert_eq!(verified.code, Some(1), "{}", verified.document);
        let first_bad = verified.first_bad().expect("a number");
        prop_assert!(first_bad == line, "line {} was changed, {}", line, verified.document);
    }
}
