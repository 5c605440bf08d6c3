//! The load, put on by wrk.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::Outcome;
use crate::machine::Pin;
use crate::running::Running;

/// What wrk is told to do.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/load/load.lua");
/// How much longer than asked for wrk may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many connections, each sending its next request as soon as the last is answered, for so long.
#[derive(Clone)]
pub struct Load {
    pub connections: u32,
    pub seconds: u64,
    /// A file with a token a line.
    pub tokens: PathBuf,
    /// The file with the call.
    pub call: PathBuf,
    pub core: Pin,
}

/// What came of it.
#[derive(Deserialize)]
pub struct Done {
    pub answers: u64,
    /// How long it really took, in microseconds.
    pub micros: f64,
    /// Latencies, in microseconds.
    pub p50: f64,
    pub p99: f64,
    failed: u64,
}

impl Done {
    /// What came of calls that all succeeded, with the latency of each.
    pub fn of(mut latencies: Vec<f64>, took: Duration) -> Self {
        latencies.sort_by(f64::total_cmp);
        let at = |percent: usize| latencies.get(latencies.len() * percent / 100).copied().unwrap_or(0.0);
        let (p50, p99) = (at(50), at(99));
        Self { answers: latencies.len() as u64, micros: took.as_secs_f64() * 1e6, p50, p99, failed: 0 }
    }
}

impl Load {
    /// Puts it on this address.
    ///
    /// Every answer must be a success: a proxy that refuses is a fast one.
    pub async fn put_on(&self, url: &str) -> Outcome<Done> {
        let mut command = self.core.command("wrk");
        command.arg("--threads=1").arg(format!("--connections={}", self.connections));
        command.arg(format!("--duration={}", self.seconds));
        command.args(["--timeout=5s", "--script", SCRIPT, url]).arg(&self.tokens).arg(&self.call);
        let log = self.tokens.with_file_name("wrk");
        let status =
            Running::start("wrk", command, &log)?.ends(Duration::from_secs(self.seconds) + PATIENCE).await?;
        let said = std::fs::read_to_string(log.with_extension("out"))?;
        let done = said.lines().find(|line| line.starts_with('{')).filter(|_| status.success());
        let done = done.ok_or_else(|| {
            let error = std::fs::read_to_string(log.with_extension("err")).unwrap_or_default();
            format!("wrk failed with {status}:\n{said}{error}")
        })?;
        let done: Done = serde_json::from_str(done)?;
        match done.failed {
            0 if done.answers > 0 => Ok(done),
            failed => Err(format!(
                "{failed} of {} requests to {url} failed, so its figures mean nothing:\n{said}",
                done.answers
            )
            .into()),
        }
    }
}
