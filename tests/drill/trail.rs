//! The audit trail at the end: whole, as `audit verify` says, and with a record of each call.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::sync::atomic::Ordering;

use obo_gateway::audit::files;
use serde::Deserialize;

use crate::Outcome;
use crate::lane::AGENTS;
use crate::notes::{Begun, Notes};
use crate::report::{Faults, Lines, count};
use crate::stage::Stage;

/// Most records that are described because they are not their call's.
const DESCRIBED_MAX: usize = 5;

/// What matters here of a record of a call.
#[derive(Deserialize)]
struct Record {
    class_uid: u32,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    actor: Actor,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    uid: String,
}

#[derive(Deserialize, Default)]
struct Actor {
    #[serde(default)]
    user: User,
    #[serde(default)]
    app_uid: String,
}

#[derive(Deserialize, Default)]
struct User {
    #[serde(default)]
    uid: String,
}

/// Reads it all, when the gateway has stopped.
pub fn tell(
    stage: &Stage,
    notes: &Notes,
    counted: u64,
    faults: &mut Faults,
    lines: &mut Lines,
) -> Outcome<()> {
    let verified = stage
        .gateway
        .command()
        .args(["audit", "verify"])
        .args(stage.trail_paths())
        .args(["--key", &stage.checkpoint_key])
        .output()?;
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    faults.holds(verified.status.success(), || {
        format!("audit verify: {}\n{said}{}", verified.status, String::from_utf8_lossy(&verified.stderr))
    });

    let (mut records, mut all) = (HashMap::new(), 0_usize);
    for path in stage.trail_paths() {
        if path.is_dir() {
            let live = path.join("audit.jsonl");
            for closed in files::closed(&live)? {
                read(closed.reader()?, &mut records, &mut all)?;
            }
            read_file(&live, &mut records, &mut all)?;
        } else {
            read_file(&path, &mut records, &mut all)?;
        }
    }
    faults.same("records of calls that have an id of their own", records.len(), all);
    faults.same("records of calls, and calls that the gateway counted", all as u64, counted);
    let (calls, left) = (notes.calls() + stage.looks.load(Ordering::Relaxed), notes.left());
    faults.holds(all <= calls && calls - all <= left, || {
        format!("{all} records of {calls} requests, of which {left} were left by their agent")
    });
    let begun = notes.all_begun();
    let wrong: Vec<String> = begun.iter().filter_map(|call| mismatch(call, &records, stage)).collect();
    faults.same("records that are not their call's", wrong.len(), 0);
    faults.extend(wrong.into_iter().take(DESCRIBED_MAX));
    lines.say(
        "records",
        format!(
            "{} for {} calls; {} that had an answer, each in a record of its own; {}",
            count(all),
            count(calls),
            count(begun.len()),
            said.lines().next().unwrap_or_default()
        ),
    );
    Ok(())
}

fn read_file(path: &Path, records: &mut HashMap<String, [String; 2]>, all: &mut usize) -> Outcome<()> {
    let file = std::fs::File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    read(file, records, all)
}

fn read(from: impl Read, records: &mut HashMap<String, [String; 2]>, all: &mut usize) -> Outcome<()> {
    for line in BufReader::new(from).lines() {
        let record: Record = serde_json::from_str(&line?)?;
        // The other classes are of exchanges, and of the trail itself.
        if record.class_uid == 6_003 {
            *all += 1;
            records.insert(record.metadata.uid, [record.actor.user.uid, record.actor.app_uid]);
        }
    }
    Ok(())
}

fn mismatch(call: &Begun, records: &HashMap<String, [String; 2]>, stage: &Stage) -> Option<String> {
    let Some(found) = records.get(&call.id) else { return Some(format!("{} has no record", call.id)) };
    let expected = [stage.world.subject(&call.lane), AGENTS[call.lane.agent].to_owned()];
    // Who was refused for their token is not known.
    let unknown = !call.success && found[0].is_empty();
    (*found != expected && !unknown).then(|| format!("{}: {found:?}, and not {expected:?}", call.id))
}
