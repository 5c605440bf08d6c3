//! A file system that is full, and then has room again.

use std::time::Duration;

use crate::bed::{Bed, Heard, unavailable, until};
use crate::small_disk::{fill, may_mount, mount};

#[test]
fn a_full_disk_refuses_calls_before_they_reach_anybody_and_loses_no_record() {
    if !may_mount("full_disk::a_full_disk_refuses_calls_before_they_reach_anybody_and_loses_no_record") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        for durability in ["process", "disk"] {
            fill_and_empty(durability).await;
        }
    });
}

async fn fill_and_empty(durability: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("disk");
    mount(&disk, "2M");
    let audit = format!("  durability: {durability}\n");
    let bed = Bed::in_folder(folder, disk.clone(), &audit).await;
    let mut gateway = bed.start().await;
    let (token, filler) = (bed.token(), disk.join("filler"));
    let mut answered = Vec::new();
    for round in 0..3 {
        fill(&filler);
        // The room that was kept ahead is used up first; at its edge there may be some for the last call, and none for the next.
        let (mut refused, mut reached) = (0, 0);
        while refused < 20 {
            match gateway.call(&token).await {
                Heard::Answered(id) => {
                    answered.push(id);
                    (refused, reached) = (0, bed.reached());
                }
                other => {
                    assert_eq!(other, unavailable(), "round {round}");
                    refused += 1;
                }
            }
        }
        assert_eq!(bed.reached(), reached, "a call was forwarded that could not be recorded");
        assert_eq!(reached, answered.len(), "a call was forwarded and not answered");
        assert!(!gateway.is_ready().await);
        assert_eq!(gateway.metric("obo_gateway_audit_writable").await, 0.0);
        std::fs::remove_file(&filler).expect("removed");
        until("it is ready again", || gateway.is_ready()).await;
        for _ in 0..20 {
            match gateway.call(&token).await {
                Heard::Answered(id) => answered.push(id),
                other => panic!("{other:?}"),
            }
        }
        // The disk is small, so the trail begins anew: what was is read before it goes.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let trail = bed.trail();
        trail.assert_has(&answered);
        assert_eq!(trail.calls().len(), answered.len());
        assert!(trail.marks("sink_trouble").len() > round);
        println!("{durability}: {} answered, {} lines", answered.len(), trail.len());
    }
    assert!(gateway.stop().success());
    bed.trail().assert_has(&answered);
}
