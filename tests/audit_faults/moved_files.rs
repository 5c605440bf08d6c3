//! Files that others move, delete, or put in place of the trail's, while agents call; and what operators ask for.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use obo_gateway::audit::files;

use crate::bed::{Bed, Gateway, Heard, free_address, until};
use crate::faults;
use crate::load::Load;
use crate::trail::Trail;

const AUDIT: &str = "  durability: process\n  compress: false\n";

/// What somebody does to the file, with what they leave elsewhere; and what the trail says of it.
async fn check(reason: &str, interfere: impl AsyncFn(&Bed, &Gateway) -> Vec<PathBuf>) -> Bed {
    let bed = Bed::new(AUDIT).await;
    let mut gateway = bed.start().await;
    let load = Load::start(&bed, gateway.agents, 3);
    let mut moved = Vec::new();
    for round in 1..=3 {
        let before = load.answered();
        until("some are answered", || async { load.answered() > before + 20 }).await;
        moved.extend(interfere(&bed, &gateway).await);
        let rotations = "obo_gateway_audit_rotations_total";
        until("it goes on elsewhere", async || gateway.metric(rotations).await >= f64::from(round)).await;
    }
    let heard = load.end().await;
    assert_eq!((heard.nothing, heard.refused), (0, 0), "agents notice nothing");
    assert!(gateway.stop().success());
    let trail = Trail::read(bed.trail_path(), &moved);
    trail.assert_has(&heard.answered);
    assert_eq!(trail.rotations(), [reason; 3]);
    assert!(trail.marks("recovered").is_empty());
    bed
}

/// Another name in the folder of the trail.
fn beside(bed: &Bed, name: &str) -> PathBuf {
    let taken = std::fs::read_dir(bed.folder.path()).expect("a folder").count();
    bed.folder.path().join(format!("{name}-{taken}"))
}

/// What was put aside because it had taken the trail's place.
fn put_aside(bed: &Bed) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(bed.trail_path().parent().expect("a folder")).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.to_string_lossy().contains(".foreign-")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_logrotate_moves_is_followed_by_another() {
    check("moved", async |bed, gateway| {
        let moved = beside(bed, "moved");
        std::fs::rename(bed.trail_path(), &moved).expect("moved");
        gateway.signal("HUP");
        vec![moved]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_deleted_is_written_again_with_all_that_it_had() {
    check("removed", async |bed, _| {
        std::fs::remove_file(bed.trail_path()).expect("deleted");
        Vec::new()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_takes_its_place_is_put_aside() {
    let bed = check("replaced", async |bed, _| {
        let moved = beside(bed, "moved");
        std::fs::rename(bed.trail_path(), &moved).expect("moved");
        std::fs::write(bed.trail_path(), "forged\n").expect("written");
        vec![moved]
    })
    .await;
    let aside = put_aside(&bed);
    assert_eq!(aside.len(), 3, "{aside:?}");
    for forged in aside {
        assert_eq!(std::fs::read_to_string(forged).expect("a file"), "forged\n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_moved_over_it_does_not_take_its_lines_away() {
    let bed = check("removed", async |bed, _| {
        let forged = beside(bed, "forged");
        std::fs::write(&forged, "forged\n").expect("written");
        std::fs::rename(forged, bed.trail_path()).expect("moved");
        Vec::new()
    })
    .await;
    assert_eq!(put_aside(&bed).len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_is_never_followed() {
    let bed = check("replaced", async |bed, _| {
        let (moved, secret) = (beside(bed, "moved"), bed.folder.path().join("elsewhere"));
        std::fs::write(&secret, "as it was").expect("written");
        std::fs::rename(bed.trail_path(), &moved).expect("moved");
        symlink(&secret, bed.trail_path()).expect("a link");
        vec![moved]
    })
    .await;
    let elsewhere = std::fs::read_to_string(bed.folder.path().join("elsewhere")).expect("a file");
    assert_eq!(elsewhere, "as it was");
    assert_eq!(put_aside(&bed).len(), 3);
    assert!(bed.trail_path().symlink_metadata().expect("the trail").is_file());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigusr1_closes_the_file_and_begins_the_next() {
    let bed = check("signal", async |_, gateway| {
        gateway.signal("USR1");
        Vec::new()
    })
    .await;
    assert_eq!(files::closed(bed.trail_path()).expect("a folder").len(), 3);
}

#[tokio::test]
async fn a_second_gateway_on_the_same_trail_does_not_start() {
    let bed = Bed::new(AUDIT).await;
    let mut first = bed.start().await;
    let config = bed.folder.path().join("second.yaml");
    std::fs::write(&config, bed.configuration(AUDIT, free_address(), free_address())).expect("written");
    let second = ended(&config);
    assert_eq!(second.status.code(), Some(64));
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("another gateway is writing this trail"), "{said}");
    // It has changed nothing for the first.
    let Heard::Answered(id) = first.call(&bed.token()).await else { panic!("no answer") };
    assert!(first.stop().success());
    let trail = bed.trail();
    trail.assert_has(&[id]);
    assert_eq!(trail.marks("boot").len(), 1);
    // The lock goes with who held it, however it ends.
    let mut killed = bed.start().await;
    killed.kill();
    let mut next = bed.start().await;
    assert!(next.stop().success());
    assert_eq!(bed.trail().marks("recovered").len(), 1);
}

#[tokio::test]
async fn a_trail_behind_a_link_is_not_begun() {
    let bed = Bed::new(AUDIT).await;
    let elsewhere = bed.folder.path().join("elsewhere");
    std::fs::write(&elsewhere, "").expect("written");
    symlink(&elsewhere, bed.trail_path()).expect("a link");
    let ended = ended(&bed.config());
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && said.contains("name a regular file, and not a link to it"), "{said}");
    assert_eq!(std::fs::read(elsewhere).expect("a file"), b"");
}

/// What comes of a gateway that does not start.
fn ended(config: &Path) -> Output {
    let mut gateway = Command::new("timeout");
    gateway.args(["30", env!("CARGO_BIN_EXE_obo-gateway"), "run", "--config"]).arg(config);
    gateway.output().expect("a gateway")
}

/// The faults above are real ones: without the shim there would be none.
#[tokio::test]
async fn the_failing_disk_fails() {
    let bed = Bed::new(AUDIT).await;
    let gateway = bed.start().await;
    assert!(faults::shim().exists());
    bed.faults.fail_writes(faults::EIO, 1);
    gateway.call(&bed.token()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bed.faults.failed(), 1);
}
