//! The vault's file: another gateway that wants it, and what is no vault of ours.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::bed::{Bed, LIFE, answered};
use crate::leaks;

/// The gateway does not start, says why, and leaves the file as it is.
async fn check_refused(bed: &Bed, config: &str, says: &str) {
    let before = fs::read(bed.vault()).ok();
    let Err((status, log)) = bed.try_gateway(config).await else { panic!("it starts: {says}") };
    assert_eq!(status.code(), Some(64), "trying again does not help: {log}");
    assert!(log.contains("cannot open the vault") && log.contains(says), "{says}: {log}");
    assert!(before == fs::read(bed.vault()).ok(), "the file was touched: {says}");
}

#[tokio::test]
async fn a_second_gateway_on_the_same_vault_does_not_start() {
    let bed = Bed::start().await;
    bed.connect("ada").await;
    let gateway = bed.gateway("gateway").await;
    bed.configure("second", &bed.settings("a"));
    check_refused(&bed, "second", "another process has it open: a vault is for one gateway at a time").await;
    // Nor when somebody has taken the lock out of its way.
    let lock = bed.folder.path().join("vault.db.lock");
    fs::rename(&lock, bed.folder.path().join("elsewhere")).expect("moved");
    check_refused(&bed, "second", "another process has it open").await;
    assert_eq!(gateway.call(&bed.token("ada")).await, answered());
    assert!(gateway.stop().success());
    let second = bed.gateway("second").await;
    assert_eq!(second.call(&bed.token("ada")).await, answered());
}

#[tokio::test]
async fn what_is_no_vault_of_ours_keeps_the_gateway_from_starting() {
    let bed = Bed::start().await;
    bed.connect("ada").await;
    let whole = fs::read(bed.vault()).expect("a vault");
    let mode = |mode| fs::set_permissions(bed.vault(), PermissionsExt::from_mode(mode)).expect("a mode");
    for open in [0o604, 0o640, 0o620] {
        mode(open);
        check_refused(&bed, "gateway", "other users of this machine may read or write it: `chmod 600` it")
            .await;
    }
    mode(0o600);
    bed.tamper("PRAGMA application_id = 7").await;
    check_refused(&bed, "gateway", "it is no vault, or one of another version").await;
    // The whole file, cut short and overwritten.
    for length in [whole.len() / 2, 4_096, 5_000, 100] {
        fs::write(bed.vault(), &whole[..length]).expect("written");
        check_refused(&bed, "gateway", "it cannot be").await;
    }
    fs::write(bed.vault(), vec![b'x'; whole.len()]).expect("written");
    check_refused(
        &bed,
        "gateway",
        "it is no vault, or one of another version: move the file away, or name another",
    )
    .await;
    // A link is a fault of the configuration already.
    fs::write(bed.vault(), &whole).expect("written");
    let elsewhere = bed.folder.path().join("elsewhere");
    fs::rename(bed.vault(), &elsewhere).expect("moved");
    symlink(&elsewhere, bed.vault()).expect("a link");
    let Err((status, log)) = bed.try_gateway("gateway").await else { panic!("it starts") };
    assert_eq!(status.code(), Some(64));
    assert!(log.contains("vault.file: is a link, a pipe or a device: name a regular file"), "{log}");
    fs::remove_file(bed.vault()).expect("removed");
    fs::rename(&elsewhere, bed.vault()).expect("back");
    let gateway = bed.gateway("gateway").await;
    assert_eq!(gateway.call(&bed.token("ada")).await, answered(), "nothing was lost by all that");
}

/// What is in the vault's file and in whatever the engine keeps beside it.
fn written(bed: &Bed) -> String {
    let files = fs::read_dir(bed.folder.path()).expect("a folder").flatten();
    let of_the_vault = files.filter(|file| file.file_name().to_string_lossy().starts_with("vault.db"));
    // A journal may be gone by now.
    of_the_vault
        .map(|file| String::from_utf8_lossy(&fs::read(file.path()).unwrap_or_default()).into_owned())
        .collect()
}

#[tokio::test]
async fn no_token_stands_in_the_file_or_beside_it_in_any_form() {
    let bed = Bed::start().await;
    for who in ["ada", "bob"] {
        bed.connect(who).await;
    }
    let gateway = bed.gateway("gateway").await;
    let mut all = Vec::new();
    for _ in 0..3 {
        for who in ["ada", "bob"] {
            assert_eq!(gateway.call(&bed.token(who)).await, answered());
            all.push(written(&bed));
        }
        tokio::time::sleep(LIFE).await;
    }
    assert!(gateway.stop().success());
    // What a change leaves beside the file while it is under way.
    let mut connection = bed.open().await;
    for sql in ["BEGIN IMMEDIATE", "UPDATE records SET record = zeroblob(9)"] {
        sqlx::query(sql).execute(&mut connection).await.expect("SQL of the test");
    }
    let journal = fs::read(bed.folder.path().join("vault.db-journal")).expect("a journal");
    assert!(journal.len() > 4_096, "what the records were before");
    all.push(written(&bed));
    drop(connection);
    // By now every refresh token but the last has come back.
    let gateway = bed.gateway("gateway").await;
    for who in ["ada", "bob"] {
        assert_eq!(gateway.call(&bed.token(who)).await, answered());
        all.push(written(&bed));
    }
    let secrets = bed.secrets();
    assert!(bed.refreshes() >= 6 && secrets.len() >= 14, "{} {}", bed.refreshes(), secrets.len());
    for written in all {
        leaks::assert_none("vault", &written, &secrets);
    }
}
