//! `audit verify`: what it takes, what it says beside faults, and its exit codes.

use std::fs;

use obo_gateway::audit::checkpoint::CheckpointKey;
use obo_gateway::audit::files::{self, ClosedFile};
use obo_gateway::audit::link::Chain;

use crate::bed::{TrailBed, instance, run, text, verify};
use crate::records::{Call, add};

#[test]
fn a_whole_trail_is_told_in_words() {
    let bed = TrailBed::new();
    bed.write();
    let (trail, key) = (bed.trail().display().to_string(), bed.key.public().to_string());
    let output = run(&["verify", &trail, "--key", &key]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    for words in [
        "The trail is whole\n",
        "1 to 40: 40 lines in 3 files",
        "gateway-1, in 2 runs",
        "4 of 4 fit; the last is of line 40, 2026-11-28T10:00:10.000Z",
        "checked, with the key that was given",
        "none: the last checkpoint is of the last line",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(!shown.contains('\u{1b}'), "colour on something that is no terminal");
    assert!(output.stderr.is_empty(), "a bar on something that is no terminal");
}

#[test]
fn what_is_not_checked_or_not_signed_is_said() {
    let mut bed = TrailBed::new();
    bed.checkpoints.truncate(3);
    bed.write();
    let trail = bed.trail().display().to_string();
    let shown = text(&run(&["verify", &trail]).stdout);
    assert!(
        shown.contains("NOT CHECKED: without --key anybody could have made these checkpoints"),
        "{shown}"
    );
    assert!(shown.contains("10 lines after the last checkpoint: chained, but not signed"), "{shown}");
    fs::remove_file(files::checkpoints(&bed.trail())).expect("removed");
    let verified = verify(&[&trail]);
    assert_eq!((verified.code, &verified.document["checkpoints"]["lines_after"]), (Some(0), &40.into()));
    assert!(
        text(&run(&["verify", &trail]).stdout).contains("none, so nobody can tell whether the end was cut")
    );
    // With a key somebody expects signatures: whoever removed them all is not believed.
    let verified = bed.verify();
    assert_eq!((verified.code, verified.document["verdict"].as_str()), (Some(2), Some("unsigned")));
}

#[test]
fn an_unfinished_line_at_the_end_of_a_trail_is_no_fault() {
    let mut bed = TrailBed::new();
    bed.unfinished = b"{\"class_uid\":6003,\"cla".to_vec();
    bed.write();
    let verified = bed.verify();
    assert_eq!((verified.code, &verified.document["unfinished_bytes"]), (Some(0), &22.into()));
    let shown = text(&run(&["verify", &bed.trail().display().to_string()]).stdout);
    assert!(shown.contains("22 bytes of a line that is being written"), "{shown}");
}

#[test]
fn a_line_that_was_begun_in_a_full_file_stands_whole_in_the_next_one() {
    let bed = TrailBed::new();
    bed.write();
    let path = ClosedFile::of(&bed.trail(), 16).path;
    let begun = [fs::read(&path).expect("a file"), b"{\"class_uid\":6003,\"cla".to_vec()].concat();
    fs::write(path, begun).expect("written");
    assert_eq!(bed.verify().code, Some(0));
}

#[test]
fn a_trail_is_found_by_its_file_its_folder_or_its_files() {
    let bed = TrailBed::new();
    bed.write();
    let (folder, trail) = (bed.folder.path().display().to_string(), bed.trail().display().to_string());
    let names = |path: std::path::PathBuf| path.display().to_string();
    let (first, second) =
        (ClosedFile::of(&bed.trail(), 1).compressed(), ClosedFile::of(&bed.trail(), 16).path);
    let (first, second, notes) = (names(first), names(second), names(files::checkpoints(&bed.trail())));
    for paths in
        [vec![&folder], vec![&trail], vec![&trail, &second, &notes, &first], vec![&second, &folder, &trail]]
    {
        let paths: Vec<&str> = paths.into_iter().map(String::as_str).collect();
        let verified = verify(&paths);
        assert_eq!((verified.code, &verified.document["lines"]), (Some(0), &40.into()), "{paths:?}");
    }
    // Closed files for themselves are a part of the trail, without the checkpoints of all of it.
    assert_eq!(verify(&[&second, &first]).document["last"], 30);
    assert_eq!(verify(&[&second]).faults(), ["begins_late"]);
}

#[test]
fn files_that_logrotate_has_renamed_are_put_in_order() {
    let bed = TrailBed::new();
    let folder = bed.folder.path();
    let write = |name: &str, lines: &[Vec<u8>]| {
        let text: Vec<u8> = lines.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect();
        fs::write(folder.join(name), text).expect("written");
        folder.join(name).display().to_string()
    };
    let paths = [
        write("audit.jsonl", &bed.files[2]),
        write("audit.jsonl.1", &bed.files[1]),
        write("audit.jsonl.2", &bed.files[0]),
    ];
    let verified = verify(&[&paths[0], &paths[1], &paths[2]]);
    assert_eq!((verified.code, &verified.document["lines"]), (Some(0), &40.into()));
    // Beside the trail they are found by the names that logrotate gives; what has another name, or is no part of it, is not.
    assert_eq!(verify(&[&paths[0]]).document["lines"], 40);
    write("audit.jsonl.3", &[b"no line of a trail".to_vec()]);
    assert_eq!(
        (verify(&[&folder.display().to_string()]).code, verify(&[&paths[0]]).code),
        (Some(0), Some(0))
    );
    fs::rename(&paths[2], folder.join("audit.jsonl.old")).expect("moved");
    assert_eq!(verify(&[&paths[0]]).faults(), ["begins_late"]);
}

#[test]
fn what_cannot_be_told_exits_with_2() {
    let mut bed = TrailBed::new();
    let folder = bed.folder.path().display().to_string();
    let said = |arguments: &[&str]| {
        let output = run(&[&["verify"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        format!("{}{}", text(&output.stdout), text(&output.stderr))
    };
    assert!(said(&[&folder]).contains("there is no trail in"));
    for lock in ["vault.db.lock", "app.lock"] {
        fs::write(bed.folder.path().join(lock), "").expect("written");
    }
    // A vault beside it made two trails of one.
    assert!(said(&[&folder]).contains("there is no trail in"), "others lock as well");
    fs::write(bed.trail(), "").expect("written");
    assert!(said(&[&folder]).contains("There is no line"));
    fs::write(bed.folder.path().join("other.jsonl"), "").expect("written");
    let several = said(&[&folder]);
    assert!(several.contains("several trails") && several.contains("other.jsonl"), "{several}");
    fs::remove_file(bed.folder.path().join("other.jsonl")).expect("removed");
    let line = bed.line(1).clone();
    fs::write(bed.folder.path().join("app"), [line.as_slice(), b"\n"].concat()).expect("written");
    let several = said(&[&folder]);
    assert!(several.contains("several trails") && several.contains("/app, "), "{several}");
    assert!(said(&["/nowhere/audit.jsonl"]).contains("cannot read /nowhere/audit.jsonl"));
    assert!(said(&[&folder, "--key", "/nowhere/key"]).contains("cannot read /nowhere/key"));
    assert!(said(&[&folder, "--key", &bed.trail().display().to_string()]).contains("is no key"));
    said(&[]);
}

#[test]
fn a_trail_that_went_on_under_another_name_needs_both_keys() {
    let mut bed = TrailBed::new();
    let end = bed.line(40).clone();
    let hash = obo_gateway::audit::link::LineHash::of(&end);
    let (mut chain, mut lines) = (Chain::after(40, hash, instance("gateway-2"), 3), Vec::new());
    add(&mut chain, &Call::number(41).record(), &mut lines);
    bed.files[2].extend(crate::bed::split(&lines));
    let other = CheckpointKey::generate(instance("gateway-2"));
    let checkpoint = obo_gateway::audit::checkpoint::Checkpoint {
        instance: instance("gateway-2"),
        sequence: 41,
        hash: chain.hash(),
        boot: 3,
        time: std::time::Duration::from_millis(crate::records::TIME),
    };
    bed.checkpoints.push(other.sign(&checkpoint));
    bed.write();
    assert_eq!(bed.verify().faults(), ["checkpoint_of_another_key"]);
    let (trail, one, two) =
        (bed.trail().display().to_string(), bed.key.public().to_string(), other.public().to_string());
    let verified = verify(&[&trail, "--key", &one, "--key", &two]);
    assert_eq!((verified.code, &verified.document["checkpoints"]["fitting"]), (Some(0), &5.into()));
    let keys = bed.folder.path().join("keys");
    fs::write(&keys, format!("{one}\n{two}\n")).expect("written");
    assert_eq!(verify(&[&trail, "--key", &keys.display().to_string()]).code, Some(0));
}

#[test]
fn a_key_is_made_once_and_told_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("checkpoint.key").display().to_string();
    let made = run(&["keygen", "--instance", "gateway-1", "-o", &path]);
    let key = text(&made.stdout);
    assert!(key.starts_with("obo-gateway.audit/gateway-1+"), "{key}");
    assert_eq!(text(&run(&["pubkey", "--instance", "gateway-1", &path]).stdout), key);
    let again = run(&["keygen", "--instance", "gateway-1", "-o", &path]);
    assert!(
        !again.status.success() && text(&again.stderr).contains("is there already"),
        "{}",
        text(&again.stderr)
    );
    assert_eq!(run(&["keygen", "--instance", "a b", "-o", &path]).status.code(), Some(2));
}
