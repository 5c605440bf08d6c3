//! What records may say of people and of arguments.

use std::path::Path;

use super::*;

/// A key of this many bytes, in a file.
fn key(folder: &Path, name: &str, bytes: usize) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join(name);
    std::fs::write(&path, vec![b'k'; bytes]).expect("a key");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("for its owner alone");
    path.display().to_string()
}

#[track_caller]
fn check_audit(keys: &str, expected: &[&str]) {
    check(&[("audit.jsonl }", &format!("audit.jsonl, {keys} }}"))], expected);
}

#[test]
fn without_keys_digests_are_of_one_run_and_people_stand_as_they_are() {
    let loaded = read_text(SOUND).expect("it is sound").config;
    assert!(!loaded.privacy.is_configured() && !loaded.privacy.has_pseudonyms());
    assert!(!loaded.issuers[0].keeps_display_names);
}

#[test]
fn the_first_key_is_used_and_the_others_are_for_looking_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let (new, old) = (key(folder.path(), "new", 32), key(folder.path(), "old", 64));
    let keys = format!(
        "keys: [{{ epoch: 2026-11, file: {new} }}, {{ epoch: 2025, file: {old} }}], pseudonyms: true"
    );
    let text = edited(&[("audit.jsonl }", &format!("audit.jsonl, {keys} }}"))]);
    let privacy = read_text(&text).expect("it is sound").config.privacy;
    let epochs: Vec<&str> = privacy.keys().iter().map(|key| key.epoch().as_str()).collect();
    assert_eq!(epochs, ["2026-11", "2025"]);
    let pseudonym = privacy.person("t-1", "ada").expect("a pseudonym");
    assert!(pseudonym.starts_with("2026-11:"), "{pseudonym}");
    let names = edited(&[("audit.jsonl }", "audit.jsonl, display_names: true }")]);
    assert!(read_text(&names).expect("it is sound").config.issuers[0].keeps_display_names);
}

#[test]
fn keys_are_long_and_have_names_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let (good, short) = (key(folder.path(), "good", 32), key(folder.path(), "short", 31));
    check_audit(
        &format!("keys: [{{ epoch: a, file: {short} }}]"),
        &[&format!(
            "22: audit.keys[0].file: names a key of 31 bytes: it takes at least 32, as `openssl rand 32` makes them \
             (found \"{short}\")"
        )],
    );
    check_audit(
        &format!("keys: [{{ epoch: a, file: {good} }}, {{ epoch: a, file: {good} }}]"),
        &["22: audit.keys[1].epoch: is the name of another key, too: give each its own (found \"a\")"],
    );
    check_audit(
        &format!("keys: [{{ epoch: 'a b', file: {good} }}]"),
        &[
            "22: audit.keys[0].epoch: must be 1 to 32 letters, digits, `.` or `-`, such as `2026-11` (found \"a b\")",
        ],
    );
    check_audit(
        "keys: [{ epoch: a, file: /nowhere/key }]",
        &[
            "22: audit.keys[0].file: names a file that is not there; relative names start at the working directory \
           (found \"/nowhere/key\")",
        ],
    );
    check_audit("keys: []", &["22: audit.keys: is empty: name a key, or leave the key out"]);
    check_audit(
        "keys: [{}]",
        &[
            "22: audit.keys[0].epoch: is required: say what the time is called in which it is used, like `2026-11`",
            "22: audit.keys[0].file: is required: name the file with the key",
        ],
    );
}

#[test]
fn pseudonyms_need_keys_and_stand_beside_no_names() {
    check_audit(
        "pseudonyms: true",
        &[
            "22: audit.pseudonyms: needs `keys`, without which nobody could find a person again: add `keys: [{ epoch: …, \
           file: … }]` to `audit`",
        ],
    );
    let folder = tempfile::tempdir().expect("a folder");
    let good = key(folder.path(), "good", 32);
    check_audit(
        &format!("keys: [{{ epoch: a, file: {good} }}], pseudonyms: true, display_names: true"),
        &["22: audit.display_names: cannot be true beside `pseudonyms`: leave out one of the two"],
    );
}

#[test]
fn recorded_arguments_are_declared() {
    let list = "list: { match: GET /me/messages, scopes: [Mail.Read] }";
    let tool = |recorded: &str| {
        format!(
            "list:\n        match: GET /me/messages\n        scopes: [a]\n        arguments: {{ top: {{ type: integer, query: top }} \
             }}\n        record_arguments: {recorded}"
        )
    };
    let faults = |recorded: &str, expected: &[&str]| check(&[(list, &tool(recorded))], expected);
    faults("[top]", &[]);
    faults(
        "[folder]",
        &[
            "21: connectors.mail.tools.list.record_arguments[0]: is not declared: add it to the tool's `arguments`, or leave it \
           out (found \"folder\")",
        ],
    );
    faults(
        "[top, top]",
        &[
            "21: connectors.mail.tools.list.record_arguments[1]: is named twice: leave out one of the two (found \"top\")",
        ],
    );
    faults(
        "[]",
        &[
            "21: connectors.mail.tools.list.record_arguments: is an empty list: name the arguments to record, or leave the \
           key out",
        ],
    );
}
