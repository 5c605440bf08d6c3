//! A disk that is full, or fails, when a renewed token comes in: nobody gets what the vault does not have, nothing is lost, and it
//! heals by itself.

use std::fs;

use crate::bed::{Bed, Gateway, LIFE, answered, asked_to_connect, unavailable, until};
use crate::faults::{EIO, ENOSPC};
use crate::small_disk::{fill, may_mount, mount};

/// The token that was obtained last is over, or nearly so, and is not handed out any more.
async fn token_is_over() {
    tokio::time::sleep(LIFE).await;
}

/// One refresh is kept when there is room again, without anybody's call, and the next one shows that nothing was lost.
async fn check_healed(bed: &Bed, gateway: &Gateway) {
    let before = bed.refreshes();
    until("what waited is written", || async {
        gateway.log().contains("Renewed connection written to the vault after all")
    })
    .await;
    assert_eq!(bed.refreshes(), before, "what was rotated was asked for again");
    token_is_over().await;
    assert_eq!(gateway.call(&bed.token("ada")).await, answered());
    assert_eq!((bed.refreshes(), bed.service.reused_refresh_tokens()), (before + 1, 0));
}

#[test]
fn a_full_disk_loses_no_renewed_token() {
    if !may_mount("disks::a_full_disk_loses_no_renewed_token") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(fill_and_empty());
}

async fn fill_and_empty() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("disk");
    mount(&disk, "1M");
    let (vault, filler) = (disk.join("vault.db"), disk.join("filler"));
    let bed = Bed::in_folder(folder, vault).await;
    bed.connect("ada").await;
    bed.connect("bob").await;
    let gateway = bed.gateway("gateway").await;
    let (ada, bob) = (bed.token("ada"), bed.token("bob"));
    let before = bed.refreshes();
    fill(&filler);
    token_is_over().await;
    for _ in 0..5 {
        assert_eq!(gateway.call(&ada).await, unavailable());
    }
    assert_eq!(bed.refreshes(), before + 1, "what was rotated was asked for again");
    assert_eq!(gateway.forget(&bed.subject("bob")).await, 503, "nothing is forgotten that could not be");
    fs::remove_file(&filler).expect("removed");
    check_healed(&bed, &gateway).await;
    assert_eq!(gateway.call(&bob).await, answered());
    assert_eq!(gateway.forget(&bed.subject("bob")).await, 200, "changes in several steps work again as well");
    assert_eq!(gateway.call(&bob).await, asked_to_connect());
    // A gateway that has written once keeps the room that it needs to write again, so each time it is another one. At a stop,
    // what waits is written when there is room by then.
    let unsaved = async |gateway: Gateway| {
        assert!(gateway.stop().success());
        let gateway = bed.gateway("gateway").await;
        fill(&filler);
        token_is_over().await;
        assert_eq!(gateway.call(&ada).await, unavailable());
        gateway
    };
    let gateway = unsaved(gateway).await;
    fs::remove_file(&filler).expect("removed");
    assert!(gateway.stop().success());
    let gateway = bed.gateway("gateway").await;
    token_is_over().await;
    assert_eq!(gateway.call(&ada).await, answered());
    assert_eq!(bed.service.reused_refresh_tokens(), 0);
    // Without room it is lost, which is said, and the person is asked again.
    let gateway = unsaved(gateway).await;
    const LOST: &str = "Connections lost whose renewed tokens the vault could not take";
    assert!(!gateway.log().contains(LOST));
    assert!(gateway.stop().success());
    fs::remove_file(&filler).expect("removed");
    let gateway = bed.gateway("gateway").await;
    assert!(gateway.log().contains(LOST));
    assert_eq!(gateway.call(&ada).await, asked_to_connect());
    assert_eq!(bed.service.reused_refresh_tokens(), 1);
}

/// Lets system calls on the vault fail, for as long as `times` of them take.
async fn check_failing(fail: impl Fn(&Bed)) {
    let bed = Bed::start().await;
    bed.connect("ada").await;
    bed.connect("bob").await;
    let gateway = bed.gateway("gateway").await;
    let (ada, bob) = (bed.token("ada"), bed.token("bob"));
    token_is_over().await;
    fail(&bed);
    assert_eq!(gateway.call(&ada).await, unavailable());
    assert_eq!(bed.refreshes(), 1);
    // Whoever is to be forgotten is so in memory, whatever the vault's disk does. What happened: its failure came first, and all
    // that was held in memory stayed.
    assert_eq!(gateway.call(&bob).await.0, 503);
    let (status, said) = gateway.forget_and_read(&bed.subject("bob")).await;
    assert_eq!(status, 503);
    assert!(said.starts_with("done in part: 0 kept and 1 remembered tokens were dropped"), "{said}");
    assert_eq!(bed.forgettings(), ["vault_unavailable"]);
    // So that none is left on the order.
    bed.faults.fail_writes(EIO, 0);
    bed.faults.fail_syncs(EIO, 0);
    assert!(bed.faults.failed() > 0);
    check_healed(&bed, &gateway).await;
    assert_eq!(gateway.call(&bob).await, answered(), "what he has connected is still there");
    assert_eq!(gateway.forget(&bed.subject("bob")).await, 200);
    assert_eq!(bed.forgettings(), ["vault_unavailable", "forgotten"]);
    assert_eq!(gateway.call(&bob).await, asked_to_connect());
    assert!(gateway.stop().success());
    let gateway = bed.gateway("gateway").await;
    token_is_over().await;
    assert_eq!(gateway.call(&ada).await, answered());
    assert_eq!(bed.service.reused_refresh_tokens(), 0);
}

#[tokio::test]
async fn writes_that_fail_lose_no_renewed_token() {
    for error in [EIO, ENOSPC] {
        check_failing(|bed| bed.faults.fail_writes(error, 1_000)).await;
    }
}

#[tokio::test]
async fn syncs_that_fail_lose_no_renewed_token() {
    check_failing(|bed| bed.faults.fail_syncs(EIO, 1_000)).await;
}
