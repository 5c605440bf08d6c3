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
    unmapped: Unmapped,
}

#[derive(Deserialize)]
struct Unmapped {
    obo: Delegation,
}

#[derive(Deserialize)]
struct Delegation {
    outcome: String,
}

impl Trail {
    pub fn read(path: &Path) -> Outcome<Self> {
        let file = File::open(path)?;
        let mut trail = Self { records: 0, outcomes: BTreeMap::new(), bytes: file.metadata()?.len() };
        for line in BufReader::new(file).lines() {
            trail.records += 1;
            let record: Record = serde_json::from_str(&line?)
                .map_err(|error| format!("record {} is no record: {error}", trail.records))?;
            *trail.outcomes.entry(record.unmapped.obo.outcome).or_default() += 1;
        }
        Ok(trail)
    }
}
