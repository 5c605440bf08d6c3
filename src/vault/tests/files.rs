//! The file: whose it is, who has it open, and what is in it.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

#[tokio::test]
async fn the_file_is_for_this_user_alone_and_tells_nobody_who_is_in_it() {
    let bed = Bed::filled().await;
    assert_eq!(std::fs::metadata(bed.path()).expect("a file").permissions().mode() & 0o777, 0o600);
    let bytes = std::fs::read(bed.path()).expect("a file");
    for word in ["ada", "bob", "crm", "wiki", "issuer.example"] {
        assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word}");
    }
    let names: Vec<_> = std::fs::read_dir(bed.folder.path()).expect("a folder").flatten().collect();
    assert_eq!(names.len(), 2, "the file and its lock: {names:?}");
}

#[tokio::test]
async fn a_vault_is_open_once() {
    let bed = Bed::filled().await;
    let vault = bed.open().await;
    check_refused(bed.try_open(&[key("a", 1)]).await, "another process has it open");
    // Nor does it help to take the lock away: the engine has one of its own.
    std::fs::remove_file(bed.folder.path().join("vault.db.lock")).expect("removed");
    check_refused(bed.try_open(&[key("a", 1)]).await, "another process has it open");
    put(&vault, &owner("ada", "crm"), "still written").await;
    vault.close().await;
    bed.open().await;
}

#[tokio::test]
async fn what_is_no_file_of_its_own_or_is_open_to_others_is_not_used() {
    let bed = Bed::filled().await;
    let refused = async |expected: &str| check_refused(bed.try_open(&[key("a", 1)]).await, expected);
    let mode = |mode| std::fs::set_permissions(bed.path(), PermissionsExt::from_mode(mode)).expect("a mode");
    for open in [0o640, 0o604, 0o602] {
        mode(open);
        refused("chmod 600").await;
    }
    mode(0o600);
    let elsewhere = bed.folder.path().join("elsewhere");
    std::fs::hard_link(bed.path(), &elsewhere).expect("a second name");
    refused("no regular file of its own").await;
    std::fs::remove_file(bed.path()).expect("removed");
    symlink(&elsewhere, bed.path()).expect("a link");
    refused("no regular file of its own").await;
    std::fs::remove_file(bed.path()).expect("removed");
    std::fs::create_dir(bed.path()).expect("a folder");
    refused("it cannot be opened").await;
    std::fs::remove_dir(bed.path()).expect("removed");
    std::fs::rename(&elsewhere, bed.path()).expect("back");
    symlink("/etc/hostname", bed.folder.path().join("vault.db-journal")).expect("a link");
    refused("no regular file of its own").await;
}

#[tokio::test]
async fn another_file_or_one_with_more_in_it_is_no_vault() {
    let bed = Bed::new();
    std::fs::write(
        bed.path(),
        "not a vault, but a text of some length, longer than a head of the engine is, by far and more",
    )
    .expect("a file");
    std::fs::set_permissions(bed.path(), PermissionsExt::from_mode(0o600)).expect("a mode");
    check_refused(
        bed.try_open(&[key("a", 1)]).await,
        "it is no vault, or one of another version: move the file away",
    );
    for sql in [
        "CREATE TRIGGER t AFTER DELETE ON records BEGIN INSERT INTO records VALUES (old.name, old.person, old.generation, old.key_id, old.owner, old.record); END",
        "CREATE TABLE more (x)",
        "DROP INDEX records_by_person",
        "PRAGMA writable_schema = ON; INSERT INTO sqlite_master VALUES ('trigger', 'sqlite_autoindex_more_1', 'records', 0, 'CREATE TRIGGER sqlite_autoindex_more_1 AFTER DELETE ON records BEGIN SELECT 1; END')",
        "PRAGMA user_version = 2",
        "PRAGMA application_id = 1",
    ] {
        let bed = Bed::filled().await;
        bed.tamper(sql).await;
        check_refused(bed.try_open(&[key("a", 1)]).await, "no vault, or one of another version");
    }
}

#[tokio::test]
async fn a_vault_that_is_not_there_is_made_for_a_gateway_and_for_nobody_else() {
    let bed = Bed::new();
    let settings = VaultSettings { file: bed.path().into(), keys: vec![key("a", 1)] };
    let opened = Vault::open_existing(settings.clone(), Arc::clone(&bed.metrics)).await;
    check_refused(opened, "it is not there");
    assert_eq!(std::fs::read_dir(bed.folder.path()).expect("a folder").count(), 0, "nothing is made");
    bed.open().await.close().await;
    Vault::open_existing(settings, Arc::clone(&bed.metrics)).await.expect("it is there");
}
