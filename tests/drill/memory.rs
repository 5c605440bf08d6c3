//! How the gateway's memory goes while the drill lasts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::report::Lines;
use crate::stage::Stage;

const EVERY: Duration = Duration::from_millis(500);

/// The gateway's resident memory, from time to time.
pub struct Memory;

impl Memory {
    /// Looks until it is aborted.
    pub async fn watch(stage: Arc<Stage>) {
        let started = Instant::now();
        loop {
            if let Some(kibibytes) = stage.gateway.resident_kibibytes() {
                let sample = (started.elapsed().as_secs_f64(), kibibytes as f64 / 1_024.0);
                stage.resident.lock().expect("nobody panics here").push(sample);
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// Says how it went: caches fill first, so what counts is the second half.
pub fn tell(stage: &Stage, lines: &mut Lines) {
    let samples = stage.resident.lock().expect("nobody panics here").clone();
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return };
    let most = samples.iter().map(|(_, mebibytes)| *mebibytes).fold(0.0, f64::max);
    let later = &samples[samples.len() / 2..];
    lines.say(
        "memory",
        format!(
            "{:.1} MiB at first, {:.1} at the end, {most:.1} at most; {:+.2} MiB a minute in the second half",
            first.1,
            last.1,
            slope(later) * 60.0
        ),
    );
}

/// By least squares, for each second.
fn slope(samples: &[(f64, f64)]) -> f64 {
    let count = samples.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let (over, under) = samples.iter().fold((0.0, 0.0), |(over, under), sample| {
        (over + (sample.0 - x) * (sample.1 - y), under + (sample.0 - x).powi(2))
    });
    if under > 0.0 { over / under } else { 0.0 }
}
