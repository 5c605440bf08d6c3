//! A trail that the gateway itself wrote, across runs, rotation, compression and deletion.

use std::sync::Arc;
use std::time::Duration;

use obo_gateway::audit::checkpoint::CheckpointKey;
use obo_gateway::audit::{
    AuditLog, AuditSettings, CallRecord, Checkpoints, Durability, Happening, Keep, Record, Rotation,
};
use obo_gateway::identity::Peer;
use obo_gateway::metrics::Metrics;

use crate::bed::{instance, run, text, verify};

fn record() -> CallRecord {
    let request = http::Request::get("/mail").body(()).expect("a request of the test");
    let peer = Peer { address: ([127, 0, 0, 1], 1).into(), tls: false, certificate: None };
    CallRecord::begin(&request, peer, Duration::from_secs(1_795_860_000))
}

/// The run before lets go of the trail a little after its end.
async fn open(settings: &AuditSettings) -> AuditLog {
    for _ in 0..200 {
        if let Ok(log) = AuditLog::open(settings.clone(), Arc::<Metrics>::default()) {
            return log;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the trail cannot be opened");
}

#[tokio::test]
async fn what_the_gateway_writes_is_whole_and_can_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.jsonl");
    let key = Arc::new(CheckpointKey::generate(instance("gateway-1")));
    let checkpoints =
        Checkpoints { key: Arc::clone(&key), every_records: 50, every: Duration::from_secs(3_600) };
    let settings = AuditSettings {
        rotation: Rotation { bytes: 100_000, age: None },
        keep: Keep { files: Some(2), age: None },
        checkpoints: Some(checkpoints),
        ..AuditSettings::of(&path)
    };
    for calls in [300, 100] {
        let log = open(&settings).await;
        let boot = Happening::Boot { configuration: "00".into(), durability: Durability::Process };
        log.mark(boot);
        for _ in 0..calls {
            log.reserve().expect("a place").write(&Record::Call(&record())).await.expect("recorded");
        }
        log.stop().await;
    }
    let (folder, key) = (folder.path().display().to_string(), key.public().to_string());
    let mut verified = verify(&[&folder, "--key", &key]);
    for _ in 0..40 {
        // What is compressed or deleted is so a little later.
        if verified.document["deleted_in"].is_u64() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
        verified = verify(&[&folder, "--key", &key]);
    }
    let document = &verified.document;
    assert_eq!((verified.code, document["fault_count"].as_u64()), (Some(0), Some(0)), "{document}");
    assert_eq!(document["checkpoints"]["lines_after"], 0, "{document}");
    assert!(document["deleted_in"].is_u64() && document["first"].as_u64() > Some(1), "{document}");
    let last = document["last"].as_u64().expect("a number");
    let shown = text(&run(&["tail", &folder, "-n", "1"]).stdout);
    assert!(last > 400 && shown.contains("stop"), "{last}: {shown}");
    let left = text(&run(&["query", &folder, "--outcome", "agent_left", "--format", "csv"]).stdout);
    assert!(left.lines().count() > 50, "{left}");
}
