//! The vault's file: another gateway that wants it, and what is no vault of ours.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::bed::{Bed, answered};

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
