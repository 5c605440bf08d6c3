//! What runs come to.

use std::time::Duration;

use crate::wrk::Done;

/// What one run came to.
#[derive(Clone, Copy)]
pub struct Sample {
    pub answers: u64,
    pub requests_per_second: f64,
    pub p50_micros: f64,
    pub p99_micros: f64,
    pub cpu_micros: f64,
    /// The part of its time that the proxy was busy. Near 1, it is the proxy that limits the requests per second;
    /// well below, the load does.
    pub busy: f64,
}

impl Sample {
    pub fn new(done: &Done, cpu_time: Duration) -> Self {
        let cpu_micros = cpu_time.as_secs_f64() * 1e6;
        Self {
            answers: done.answers,
            requests_per_second: done.answers as f64 * 1e6 / done.micros,
            p50_micros: done.p50,
            p99_micros: done.p99,
            cpu_micros: cpu_micros / done.answers as f64,
            busy: cpu_micros / done.micros,
        }
    }

    /// The median of each figure by itself.
    pub fn median(samples: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(samples.iter().map(figure));
        Self {
            answers: samples.iter().map(|sample| sample.answers).sum(),
            requests_per_second: of(|sample| sample.requests_per_second),
            p50_micros: of(|sample| sample.p50_micros),
            p99_micros: of(|sample| sample.p99_micros),
            cpu_micros: of(|sample| sample.cpu_micros),
            busy: of(|sample| sample.busy),
        }
    }
}

pub fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    (figures[(figures.len() - 1) / 2] + figures[figures.len() / 2]) / 2.0
}
