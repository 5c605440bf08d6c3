//! The audit trail, read back.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use serde::Deserialize;

use crate::Outcome;

/// What the records say.
pub struct Trail {
    pub records: u64,
    /// How many calls ended how.
    pub outcomes: BTreeMap<String, u64>,
    pub bytes: u64,
}

#[derive(Deserialize)]
struct Record {
    class_uid: u32,
    unmapped: Unmapped,
}

#[derive(Deserialize)]
struct Unmapped {
    obo: Delegation,
}

#[derive(Deserialize)]
struct Delegation {
    outcome: Option<String>,
}

impl Trail {
    pub fn read(path: &Path) -> Outcome<Self> {
        let file = File::open(path)?;
        let mut trail = Self { records: 0, outcomes: BTreeMap::new(), bytes: file.metadata()?.len() };
        for line in BufReader::new(file).lines() {
            let record: Record = serde_json::from_str(&line?)
                .map_err(|error| format!("what follows record {} is no record: {error}", trail.records))?;
            // Others are about the trail itself, and about exchanges.
            if let Some(outcome) = record.unmapped.obo.outcome.filter(|_| record.class_uid == 6_003) {
                trail.records += 1;
                *trail.outcomes.entry(outcome).or_default() += 1;
            }
        }
        Ok(trail)
    }
}
