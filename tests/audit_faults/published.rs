//! Checkpoints where they outlive the trail: on standard output, and at the admin endpoint.

use std::process::Command;

use obo_gateway::audit::checkpoint::{CheckpointPublicKey, notes};
use obo_gateway::audit::link::{Instance, LineHash};
use obo_gateway::trail::keys;

use crate::bed::{Bed, Heard};

#[tokio::test]
async fn a_checkpoint_that_was_printed_shows_that_the_end_was_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let (key, trail) = (folder.path().join("checkpoint.key"), folder.path().to_owned());
    let instance = Instance::parse("gateway-1").expect("a name");
    let public: CheckpointPublicKey = keys::generate(&key, instance).expect("a key");
    let audit = format!("  checkpoints: {{ key: {}, every_records: 3, every: 1s }}\n", key.display());
    let bed = Bed::in_folder(folder, trail, &audit).await;
    let mut gateway = bed.start().await;
    for _ in 0..10 {
        assert!(matches!(gateway.call(&bed.token()).await, Heard::Answered(_)));
    }
    let address = format!("http://{}/audit/checkpoint", gateway.admin);
    let note = reqwest::get(address).await.expect("an answer").text().await.expect("a note");
    assert!(public.verify(&note).expect("signed").sequence >= 3);
    assert!(gateway.stop().success());

    let printed = std::fs::read_to_string(bed.output()).expect("the output");
    let last = notes(&printed).last().map(|note| public.verify(note).expect("signed")).expect("a checkpoint");
    let text = std::fs::read_to_string(bed.trail_path()).expect("the trail");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(last.sequence, lines.len() as u64, "the last one is of the whole trail");
    assert_eq!(last.hash, LineHash::of(lines[lines.len() - 1].as_bytes()));

    // Whoever can write to the trail takes its last lines away, and what beside it speaks of them.
    std::fs::write(bed.trail_path(), format!("{}\n", lines[..lines.len() - 2].join("\n"))).expect("written");
    std::fs::remove_file(obo_gateway::audit::files::checkpoints(bed.trail_path())).expect("deleted");
    let verified = Command::new(env!("CARGO_BIN_EXE_obo-gateway"))
        .args(["audit", "verify", "--key", &public.to_string(), "--checkpoint"])
        .args([&bed.output(), bed.trail_path()])
        .output()
        .expect("a verdict");
    let said = String::from_utf8_lossy(&verified.stdout);
    assert_eq!(verified.status.code(), Some(1), "{said}");
    assert!(said.contains("the end is missing"), "{said}");
}
