//! A gateway that is killed where it stands, many times over, while agents call.

use std::time::Duration;

use crate::bed::{Bed, Heard, until};
use crate::faults::ENOSPC;
use crate::load::Load;

/// How often it is killed, unless `AUDIT_FAULTS_KILLS` says otherwise.
const KILLS: usize = 20;
/// Agents at a time.
const AGENTS: usize = 3;

fn kills() -> usize {
    let kills = std::env::var("AUDIT_FAULTS_KILLS").ok().map(|kills| kills.parse().expect("a number"));
    kills.unwrap_or(KILLS)
}

async fn check(audit: &str, kills: usize) {
    let bed = Bed::new(audit).await;
    let mut gateway = bed.start().await;
    let load = Load::start(&bed, gateway.agents, AGENTS);
    for round in 0..kills {
        let before = load.answered();
        until("some are answered", || async { load.answered() > before + AGENTS }).await;
        // Each time after another while: at a write, a sync, a rotation, or between them.
        tokio::time::sleep(Duration::from_millis(37 * (round as u64 % 11))).await;
        gateway.kill();
        gateway = bed.start().await;
    }
    let heard = load.end().await;
    assert!(gateway.stop().success());
    let trail = bed.trail();
    println!(
        "{} kills: {} answered, {} without an end, {} refused; {} lines, {} calls, {} files closed",
        kills,
        heard.answered.len(),
        heard.nothing,
        heard.refused,
        trail.len(),
        trail.calls().len(),
        trail.rotations().len(),
    );
    trail.assert_has(&heard.answered);
    assert_eq!(trail.marks("recovered").len(), kills, "each unclean stop is marked, and no other");
    assert_eq!((trail.marks("boot").len(), trail.marks("stop").len()), (kills + 1, 1));
    assert_eq!(trail.marks("sink_trouble").len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_answered_for_is_recorded_however_often_it_is_killed() {
    // Files are closed all the time, and compressed.
    check("  durability: process\n  rotate: { size: 64KiB }\n", kills()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_is_when_records_wait_for_the_disk() {
    check("  durability: disk\n  rotate: { size: 64KiB }\n  compress: false\n", kills().div_ceil(2)).await;
}

#[tokio::test]
async fn a_line_that_its_end_tore_is_taken_away_and_nobody_was_answered_for_it() {
    let bed = Bed::new("  durability: process\n").await;
    let mut gateway = bed.start().await;
    let token = bed.token();
    let first = gateway.call(&token).await;
    let before = std::fs::metadata(bed.trail_path()).expect("the trail").len();
    bed.faults.cut_writes_short(1);
    bed.faults.fail_writes(ENOSPC, 1_000);
    let (heard, ()) = tokio::join!(gateway.call(&token), async {
        until("half a line", async || std::fs::metadata(bed.trail_path()).expect("the trail").len() > before)
            .await;
        gateway.signal("KILL");
    });
    assert_eq!(heard, Heard::Nothing);
    let torn = std::fs::metadata(bed.trail_path()).expect("the trail").len() - before;
    gateway.kill();
    bed.faults.fail_writes(ENOSPC, 0);
    let mut gateway = bed.start().await;
    let second = gateway.call(&token).await;
    assert!(gateway.stop().success());
    let trail = bed.trail();
    let [recovered] = trail.marks("recovered").try_into().expect("one mark");
    assert_eq!(recovered["torn_bytes"], torn, "{recovered}");
    let ids = [first, second].map(|heard| match heard {
        Heard::Answered(id) => id,
        other => panic!("{other:?}"),
    });
    assert_eq!(trail.calls(), ids);
}
