//! What `benches/kept.rs` found, which `benches/load/run` runs before this: it is another program, since it is made of the
//! gateway's parts, and has to be built like it.

use serde::Deserialize;

use crate::finding::Finding;
use crate::goals::Goal;
use crate::scenario::Scenario;
use crate::table::{Table, thousands};
use crate::{Options, Outcome};

/// Where the other program has left what it found.
const FOUND: &str = "OBO_KEPT";

#[derive(Deserialize)]
struct Found {
    entries: f64,
    bytes: f64,
    nanos: f64,
    compact_nanos: f64,
    hits: f64,
}

pub fn tell(scenario: &'static Scenario, options: &Options) -> Outcome<Finding> {
    let mut finding = Finding::of(scenario);
    let Some(path) = std::env::var_os(FOUND) else {
        finding
            .notes
            .push("Not measured: run it with benches/load/run, or with cargo bench --bench kept.".to_owned());
        return Ok(finding);
    };
    let found: Found = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let row = vec![
        thousands(found.entries),
        format!("{} bytes", thousands(found.bytes)),
        format!("{} ns", thousands(found.nanos)),
        format!("{} ns", thousands(found.compact_nanos)),
        format!("{:.1} %", found.hits * 100.0),
    ];
    let columns = [
        "kept",
        "resident for each",
        "lookup, key and all",
        "the same, for who has not called lately",
        "hits",
    ];
    finding.tables.push(Table::new("Delegated tokens", &columns, vec![row]));
    if found.entries >= f64::from(options.cached) {
        finding.figures.insert(Goal::KeptBytes, found.bytes);
        finding.figures.insert(Goal::HitNanos, found.nanos);
    } else {
        finding.notes.push("Not all of them fit into the cache, so the goals are not measured.".to_owned());
    }
    Ok(finding)
}
