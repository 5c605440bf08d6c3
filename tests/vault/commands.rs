//! `obo-gateway vault`: list, forget and rotate, and why each does nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use obo_gateway::identity::{Issuer, PersonId, Subject, Tenant};
use obo_gateway::tool::ConnectorName;
use obo_gateway::vault::Owner;
use serde_json::{Value, json};

use crate::bed::{Bed, Ran, answered, program};

fn owner(issuer: &str, tenant: Tenant, subject: &str, connector: &str) -> Owner {
    Owner {
        person: PersonId { issuer: Issuer::new(issuer), tenant, subject: Subject::new(subject) },
        connector: ConnectorName::new(connector),
    }
}

/// A grant, as the gateway writes it, with tokens that must never be seen.
fn grant(account: &str, agents: &[&str]) -> Vec<u8> {
    let agents: Vec<Value> = agents
        .iter()
        .map(|agent| json!({ "agent": agent, "since": 1_700_000_000, "last_used": null }))
        .collect();
    let grant = json!({
        "version": 1,
        "fingerprint": "A".repeat(43),
        "access_token": "canary-access-token",
        "refresh_token": "canary-refresh-token",
        "granted": "Mail.Read",
        "obtained_at": 1_700_003_600,
        "expires_at": 1_700_007_200,
        "account": account,
        "connected_at": 1_700_000_000,
        "recorded_as": "0000000000000001-00000001",
        "agents": agents,
    });
    serde_json::to_vec(&grant).expect("JSON")
}

/// A vault with three connections: one of a person whose identifiers speak to terminals, and two of one who has done nothing odd.
async fn filled() -> Bed {
    let bed = Bed::start().await;
    let tenant = || Tenant::Named("5b1c".into());
    let odd = owner("https://issuer.example", Tenant::Sole, "eve\u{1b}[2J\u{202e}\n", "crm");
    bed.put(&odd, &grant("e\u{7}ve@example", &["pla\u{9b}nner", "other"])).await;
    for connector in ["mail", "wiki"] {
        let ada = owner("https://login.example/5b1c", tenant(), "ada", connector);
        bed.put(&ada, &grant("ada@example", &["planner"])).await;
    }
    bed
}

#[track_caller]
fn check_refused(ran: &Ran, code: i32, says: &str) {
    assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{ran:?}");
    assert!(ran.err.contains(says), "{says}: {}", ran.err);
}

#[track_caller]
fn check_said(ran: &Ran, says: &str) {
    assert_eq!((ran.code, ran.out.trim(), ran.err.as_str()), (Some(0), says, ""));
}

#[tokio::test]
async fn list_shows_whose_connections_there_are_and_no_token() {
    let bed = filled().await;
    // Of the connection to the wiki, which is the last by name, nobody can tell what it says.
    let damaged = "UPDATE records SET record = CAST(substr(record, 2) AS BLOB) WHERE rowid = 3";
    assert_eq!(bed.tamper(damaged).await, 1);
    let listed = bed.run(&["vault", "list"], "gateway");
    assert_eq!((listed.code, listed.err.as_str()), (Some(0), ""), "{listed:?}");
    let lines: Vec<Vec<&str>> = listed
        .out
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert_eq!(
        lines,
        [
            vec!["CONNECTOR", "SUBJECT", "ISSUER", "ACCOUNT", "AGENTS", "KEY", "CONNECTED"],
            vec![
                "crm",
                "eve\u{fffd}[2J\u{fffd}\u{fffd}",
                "https://issuer.example",
                "e\u{fffd}ve@example",
                "pla\u{fffd}nner other",
                "a",
                "14 Nov 2023 22:13:20 GMT"
            ],
            vec!["mail", "ada", "tenant 5b1c", "ada@example", "planner", "a", "14 Nov 2023 22:13:20 GMT"],
            vec!["wiki", "ada", "tenant 5b1c", "–", "a", "cannot be used: it is damaged, or is another's"],
            vec!["3 connections"],
        ]
    );
    let printed = bed.run(&["vault", "list", "--json"], "gateway");
    let listed: Value = serde_json::from_str(&printed.out).expect("JSON");
    assert_eq!(
        listed[0],
        json!({
            "issuer": "https://issuer.example", "issuer_name": null, "tenant": null, "subject": "eve\u{1b}[2J\u{202e}\n", "connector": "crm",
            "account": "e\u{7}ve@example", "agents": ["pla\u{9b}nner", "other"], "connected_at": 1_700_000_000,
            "refreshed_at": 1_700_003_600, "key": "a", "fault": null,
        })
    );
    assert_eq!(listed[1]["subject"], "ada");
    assert_eq!((&listed[2]["connector"], &listed[2]["account"]), (&json!("wiki"), &Value::Null));
    assert_eq!(listed[2]["fault"], "it is damaged, or is another's");
    for text in [&printed.out, &printed.err] {
        assert!(!text.contains("canary"), "{text}");
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{text}");
    }
    bed.put(&owner("https://issuer.example", Tenant::Sole, "bob", "crm"), br#"{"version":2}"#).await;
    let listed = bed.run(&["vault", "list"], "gateway");
    assert!(listed.out.contains("cannot be used: it is of another version of the gateway"), "{}", listed.out);
    bed.tamper("UPDATE records SET owner = x'00'").await;
    let listed = bed.run(&["vault", "list"], "gateway");
    assert_eq!(listed.out.matches("cannot be used: it is damaged").count(), 4, "{}", listed.out);
    bed.tamper("DELETE FROM records").await;
    assert!(bed.run(&["vault", "list"], "gateway").out.ends_with("0 connections\n"));
    // Whose issuer is in the configuration is listed as `vault forget --issuer` takes it.
    bed.connect("ada").await;
    let listed: Value =
        serde_json::from_str(&bed.run(&["vault", "list", "--json"], "gateway").out).expect("JSON");
    assert_eq!(
        (&listed[0]["issuer_name"], &listed[0]["issuer"]),
        (&json!("contoso"), &json!(bed.issuer.issuer()))
    );
    let listed = bed.run(&["vault", "list"], "gateway").out;
    assert!(listed.contains(&format!("{}  contoso  ", bed.subject("ada"))), "{listed}");
    bed.tamper("DELETE FROM records").await;
    check_said(&bed.run(&["vault", "list", "--json"], "gateway"), "[]");
}

#[tokio::test]
async fn forget_takes_a_person_away_by_issuer_or_by_tenant() {
    let bed = filled().await;
    let forget = |arguments: &[&str]| bed.run(&[&["vault", "forget"], arguments].concat(), "gateway");
    check_said(&forget(&["--tenant", "5b1c", "--subject", "bob"]), "connections removed: 0");
    check_said(&forget(&["--tenant", "other", "--subject", "ada"]), "connections removed: 0");
    check_said(&forget(&["--tenant", "5b1c", "--subject", "ada"]), "connections removed: 2");
    check_said(&forget(&["--tenant", "5b1c", "--subject", "ada"]), "connections removed: 0");
    check_refused(
        &forget(&["--issuer", "nobody", "--subject", "ada"]),
        1,
        r#"the configuration has no issuer "nobody""#,
    );
    // By the name in the configuration, and by the identifier.
    for called in ["contoso", &bed.issuer.issuer()] {
        bed.connect("ada").await;
        check_said(
            &forget(&["--issuer", called, "--subject", &bed.subject("bob")]),
            "connections removed: 0",
        );
        check_said(
            &forget(&["--issuer", called, "--subject", &bed.subject("ada")]),
            "connections removed: 1",
        );
    }
    assert!(bed.run(&["vault", "list"], "gateway").out.ends_with("1 connection\n"));
    assert_eq!(forget(&["--subject", "ada"]).code, Some(2), "whose identifier it is has to be said");
    assert_eq!(forget(&["--tenant", "5b1c"]).code, Some(2));
}

#[tokio::test]
async fn rotate_seals_everything_with_the_first_key_so_that_the_old_one_can_go() {
    let bed = filled().await;
    bed.connect("ada").await;
    bed.run(&["vault", "forget", "--tenant", "5b1c", "--subject", "ada"], "gateway");
    for (name, keys) in [("both", "b a"), ("new", "b"), ("wrong way round", "a b")] {
        bed.configure(name, &bed.settings(keys));
    }
    check_refused(
        &bed.run(&["vault", "list"], "new"),
        1,
        r#"records are sealed with the key "a", which the configuration does not have: add it to `vault.keys`, below the first"#,
    );
    check_refused(&bed.run(&["vault", "rotate"], "new"), 1, r#"sealed with the key "a""#);
    // With both it is read as it was, and the old one is still needed.
    assert!(bed.run(&["vault", "list"], "both").out.ends_with("2 connections\n"));
    check_refused(&bed.run(&["vault", "list"], "new"), 1, r#"sealed with the key "a""#);
    check_said(
        &bed.run(&["vault", "rotate"], "wrong way round"),
        r#"2 connections sealed with "a"; unreadable and removed: 0; "b" can be taken out of vault.keys now"#,
    );
    check_refused(&bed.run(&["vault", "list"], "new"), 1, r#"sealed with the key "a""#);
    check_said(
        &bed.run(&["vault", "rotate"], "both"),
        r#"2 connections sealed with "b"; unreadable and removed: 0; "a" can be taken out of vault.keys now"#,
    );
    let listed: Value =
        serde_json::from_str(&bed.run(&["vault", "list", "--json"], "new").out).expect("JSON");
    assert_eq!((&listed[0]["key"], &listed[1]["key"]), (&json!("b"), &json!("b")));
    check_refused(&bed.run(&["vault", "list"], "gateway"), 1, r#"sealed with the key "b""#);
    // What nobody could use is dropped, and counted.
    bed.tamper("UPDATE records SET owner = x'00' WHERE rowid = (SELECT min(rowid) FROM records)").await;
    check_said(
        &bed.run(&["vault", "rotate"], "new"),
        r#"1 connection sealed with "b"; unreadable and removed: 1"#,
    );
    // And the connection still works, with the new key alone.
    let gateway = bed.gateway("new").await;
    assert_eq!(gateway.call(&bed.token("ada")).await, answered());
}

#[tokio::test]
async fn a_vault_that_a_gateway_has_open_is_left_to_it() {
    let bed = Bed::start().await;
    bed.connect("ada").await;
    let gateway = bed.gateway("gateway").await;
    let subject = bed.subject("ada");
    let before = fs::read(bed.vault()).expect("a vault");
    for command in [
        &["list"][..],
        &["list", "--json"],
        &["rotate"],
        &["forget", "--issuer", "contoso", "--subject", &subject],
    ] {
        check_refused(
            &bed.run(&[&["vault"], command].concat(), "gateway"),
            1,
            "open: stop it first, or have it forget a person with `obo-gateway forget`",
        );
    }
    assert!(before == fs::read(bed.vault()).expect("a vault"), "nothing was touched");
    assert_eq!(gateway.call(&bed.token("ada")).await, answered());
    assert!(gateway.stop().success());
    assert!(bed.run(&["vault", "list"], "gateway").out.ends_with("1 connection\n"));
}

#[tokio::test]
async fn what_cannot_be_opened_is_told_and_nothing_is_made() {
    let bed = Bed::start().await;
    let list = |config: &str| bed.run(&["vault", "list"], config);
    check_refused(&list("gateway"), 1, "it is not there: the gateway makes it when it first runs");
    let made = fs::read_dir(bed.folder.path()).expect("a folder").flatten();
    assert!(
        !made.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("vault")),
        "nothing is made"
    );
    bed.connect("ada").await;
    bed.configure("none", "");
    // What happened: of an issuer that is not there, forget told before it looked for the vault.
    for command in [&["list"][..], &["rotate"], &["forget", "--issuer", "nobody", "--subject", "ada"]] {
        let says = format!("the configuration {} has no `vault`", bed.config("none").display());
        check_refused(&bed.run(&[&["vault"], command].concat(), "none"), 1, &says);
    }
    fs::write(bed.config("bad"), "vault: 1\n").expect("written");
    check_refused(&list("bad"), 64, "vault");
    check_refused(&list("nowhere"), 64, "nowhere.yaml");
    bed.write("a.key", &[9; 31].iter().copied().chain([1]).collect::<Vec<u8>>());
    check_refused(&list("gateway"), 1, r#"the key "a" is another one than the vault was sealed with"#);
    bed.configure("lost", &bed.settings("b"));
    check_refused(&list("lost"), 1, "where it is lost, move the file away, and people connect anew");
    for (key, says) in [
        (&[7; 31][..], "vault.keys[0].file: names a file that is not a key: 32 random bytes"),
        (&[7; 32], "vault.keys[0].file: names a file that holds the same byte over and over"),
        (b"", "vault.keys[0].file: names an empty file"),
    ] {
        bed.write("a.key", key);
        check_refused(&list("gateway"), 64, says);
    }
    fs::remove_file(bed.folder.path().join("a.key")).expect("removed");
    check_refused(&list("gateway"), 64, "vault.keys[0].file: names a file that is not there");
}

#[tokio::test]
async fn a_key_that_others_may_read_is_warned_of_and_the_same_key_twice_is_refused() {
    let bed = Bed::start().await;
    let key = bed.folder.path().join("a.key");
    fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).expect("a mode");
    let checked = bed.run(&["check"], "gateway");
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let says = "vault.keys[0].file: can be read by every user of this machine: `chmod o-r` it";
    assert!(format!("{}{}", checked.out, checked.err).contains(says), "{checked:?}");
    fs::copy(&key, bed.folder.path().join("b.key")).expect("copied");
    bed.configure("twice", &bed.settings("b a"));
    let says = "vault.keys[1].file: holds the same key as `vault.keys[0]`: draw a new one";
    check_refused(&bed.run(&["vault", "rotate"], "twice"), 64, says);
}

#[test]
fn help_says_what_each_does_and_what_it_does_not() {
    for (arguments, words) in [
        (&["vault", "--help"][..], &["list", "forget", "rotate", "while the gateway is stopped"][..]),
        (&["vault", "list", "--help"], &["--json", "No token is shown", "--config"]),
        (
            &["vault", "forget", "--help"],
            &["--issuer", "--tenant", "--subject", "`obo-gateway forget` does it"],
        ),
        (&["vault", "rotate", "--help"], &["above the old one", "dropped, and counted", "--config"]),
    ] {
        let output = program().args(arguments).output().expect("the program runs");
        let help =
            String::from_utf8(output.stdout).expect("UTF-8").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(output.status.success());
        for word in words {
            assert!(help.contains(word), "{word}: {help}");
        }
    }
    assert_eq!(program().arg("vault").output().expect("the program runs").status.code(), Some(2));
}
