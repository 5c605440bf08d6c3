//! A file system that is full, and then has room again.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::bed::{Bed, Heard, unavailable, until};

/// Says that this process has mounts of its own.
const OWN_MOUNTS: &str = "AUDIT_FAULTS_OWN_MOUNTS";

/// Runs the test of this name again where it may mount; returns whether this is there already.
fn may_mount(test: &str) -> bool {
    if std::env::var_os(OWN_MOUNTS).is_some() {
        return true;
    }
    let run = |flags: &str, command: &[&str]| {
        Command::new("unshare").args([flags, "--"]).args(command).env(OWN_MOUNTS, "yes").status()
    };
    let works = |flags: &&&str| {
        let mount = ["sh", "-c", "mount -t tmpfs none /tmp"];
        run(flags, &mount).is_ok_and(|status| status.success())
    };
    // As root, or as who is root in a namespace of its own.
    let Some(flags) = ["-m", "-rm"].iter().find(works) else {
        let why = "no file system can be mounted here (unshare -m, unshare -rm): a full disk is not tested";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
        eprintln!("\n{why}\n");
        return false;
    };
    let program = std::env::current_exe().expect("this program");
    let program = program.to_str().expect("a path of text");
    let again = run(flags, &[program, test, "--exact", "--nocapture"]).expect("unshare");
    assert!(again.success(), "it failed where it may mount");
    false
}

fn mount(folder: &Path, size: &str) {
    std::fs::create_dir(folder).expect("a folder");
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(folder);
    assert!(mount.status().expect("mount").success(), "{mount:?}");
}

/// Takes all the room that is left.
fn fill(filler: &Path) {
    let mut file = File::create(filler).expect("a file");
    for size in [64 * 1_024, 4 * 1_024] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

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
