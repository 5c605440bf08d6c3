//! Sparing servers that are in trouble: what is done alike for authorization servers and for connectors.

mod circuit;
mod retries;
mod retry_after;

pub use circuit::{Circuit, Probe, Trial};
pub use retries::{RetryBudget, pause_before};
pub use retry_after::retry_after;
