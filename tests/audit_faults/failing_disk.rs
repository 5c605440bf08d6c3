//! A disk that fails: nothing is forwarded that cannot be recorded, nothing that was answered for is lost, and all heals by itself.

use std::time::{Duration, Instant};

use crate::bed::{Bed, Gateway, Heard, unavailable, until};
use crate::faults::{EIO, ENOSPC};
use crate::load::Load;

/// Makes writes fail so often that it takes a while (they are tried four times a second), and shows that calls are refused meanwhile
/// and reach nobody.
async fn check_writes(error: u32, times: u32, short: u32) {
    let bed = Bed::new("  durability: process\n").await;
    let mut gateway = bed.start().await;
    let token = bed.token();
    assert!(matches!(gateway.call(&token).await, Heard::Answered(_)));
    bed.faults.cut_writes_short(short);
    bed.faults.fail_writes(error, times);
    let (waiting, ()) = tokio::join!(gateway.call(&token), async {
        until("it is not ready", || async { !gateway.is_ready().await }).await;
        let before = bed.reached();
        for _ in 0..5 {
            assert_eq!(gateway.call(&token).await, unavailable());
        }
        assert_eq!(bed.reached(), before, "a call was forwarded that could not be recorded");
    });
    until("it is ready again", || gateway.is_ready()).await;
    let after = gateway.call(&token).await;
    let answered = answered([waiting, after]);
    assert_eq!(bed.faults.failed(), times);
    assert!(gateway.stop().success());
    let trail = bed.trail();
    trail.assert_has(&answered);
    let [trouble] = trail.marks("sink_trouble").try_into().expect("one mark");
    assert_eq!(trouble["failures"], times, "{trouble}");
    assert!(trail.marks("recovered").is_empty());
}

/// Those that were answered, which all of them were.
fn answered<const COUNT: usize>(heard: [Heard; COUNT]) -> Vec<String> {
    let id = |heard| match heard {
        Heard::Answered(id) => id,
        other => panic!("{other:?}"),
    };
    heard.map(id).into()
}

#[tokio::test]
async fn a_full_disk_at_write_refuses_calls_until_there_is_room() {
    check_writes(ENOSPC, 8, 0).await;
}

#[tokio::test]
async fn a_write_that_fails_in_the_middle_of_a_line_is_gone_on_with() {
    check_writes(EIO, 8, 1).await;
}

#[tokio::test]
async fn an_answer_whose_record_is_not_written_in_time_has_no_end() {
    let bed = Bed::new("  durability: process\n").await;
    let mut gateway = bed.start().await;
    let token = bed.token();
    assert!(matches!(gateway.call(&token).await, Heard::Answered(_)));
    // Twelve seconds.
    bed.faults.fail_writes(EIO, 48);
    let started = Instant::now();
    assert_eq!(gateway.call(&token).await, Heard::Nothing);
    assert!(started.elapsed() > Duration::from_secs(9), "after {:?}", started.elapsed());
    until("it is ready again", || gateway.is_ready()).await;
    assert!(matches!(gateway.call(&token).await, Heard::Answered(_)));
    assert!(gateway.stop().success());
    assert_eq!(bed.trail().calls().len(), 3, "its record is there all the same");
    assert_eq!(bed.reached(), 3);
}

#[tokio::test]
async fn an_answer_waits_for_the_disk() {
    let bed = Bed::new("  durability: disk\n").await;
    let mut gateway = bed.start().await;
    let token = bed.token();
    let first = gateway.call(&token).await;
    bed.faults.slow_syncs(400);
    // One after another, and some that are as long together as one alone.
    let started = Instant::now();
    let slow = gateway.call(&token).await;
    assert!(started.elapsed() >= Duration::from_millis(400), "after {:?}", started.elapsed());
    let started = Instant::now();
    let together = futures_util::future::join_all((0..20).map(|_| gateway.call(&token))).await;
    assert!(started.elapsed() < Duration::from_secs(4), "20 calls took {:?}", started.elapsed());
    bed.faults.slow_syncs(0);
    assert!(gateway.stop().success());
    let all: Vec<Heard> = together.into_iter().chain([first, slow]).collect();
    bed.trail().assert_has(&answered::<22>(all.try_into().expect("22 calls")));
}

/// Lets syncs fail under load. What was answered for was synced before, or is in the next file.
async fn check_syncs(times: u32) {
    let bed = Bed::new("  durability: disk\n  compress: false\n").await;
    let mut gateway = bed.start().await;
    let load = Load::start(&bed, gateway.agents, 3);
    until("some are answered", || async { load.answered() > 20 }).await;
    bed.faults.fail_syncs(EIO, times);
    until("all have failed", || async { bed.faults.failed() == times }).await;
    until("it is ready again", || gateway.is_ready()).await;
    let before = load.answered();
    until("more are answered", || async { load.answered() > before + 20 }).await;
    let heard = load.end().await;
    assert_eq!(gateway.metric("obo_gateway_audit_sync_failures_total").await, f64::from(times));
    let rotations = gateway.metric("obo_gateway_audit_rotations_total").await;
    assert!(gateway.stop().success());
    let trail = bed.trail();
    trail.assert_has(&heard.answered);
    let reasons = trail.rotations();
    assert!(!reasons.is_empty() && reasons.iter().all(|reason| *reason == "sync_failed"), "{reasons:?}");
    assert_eq!(reasons.len() as f64, rotations);
    assert!(!trail.marks("sink_trouble").is_empty());
}

#[tokio::test]
async fn a_file_that_the_disk_did_not_take_is_followed_by_another() {
    check_syncs(1).await;
}

#[tokio::test]
async fn a_disk_that_keeps_failing_loses_nothing_either() {
    check_syncs(6).await;
}

#[tokio::test]
async fn what_the_disk_did_not_take_is_never_taken_for_kept() {
    let bed = Bed::new("  durability: disk\n  compress: false\n").await;
    let mut gateway: Gateway = bed.start().await;
    let token = bed.token();
    let first = gateway.call(&token).await;
    let before = std::fs::read(bed.trail_path()).expect("the trail");
    bed.faults.fail_syncs(EIO, 1);
    let second = gateway.call(&token).await;
    let closed = obo_gateway::audit::files::closed(bed.trail_path()).expect("a folder");
    let [closed] = closed.try_into().expect("one file");
    assert_eq!(std::fs::read(closed.path).expect("a file"), before, "what it had before, and nothing since");
    assert!(gateway.stop().success());
    bed.trail().assert_has(&answered([first, second]));
}
